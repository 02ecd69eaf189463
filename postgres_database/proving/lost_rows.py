"""The rows of a scratch database after a script: which values are lost, or not those of defaults and casts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import reduce

import psycopg2

from postgres_database.proving.constraints import Sandbox, name_in_sql
from postgres_database.proving.contents import MOST, Contents, Row, Rows, Source, Values
from postgres_database.schema import alter, catalog
from postgres_database.schema.catalog import Catalog
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name

MANY = 16  # evaluations of a default; one that gives the same value in all of them is treated as constant
WHOLE_NUMBERS = ("smallint", "integer", "bigint")

Cast = Mapping[str, str | None] | None
"""What each value of a column becomes; None if they stay."""


@dataclass(frozen=True)
class Compared:
    """What became of rows and sequences, a line each."""

    lost: tuple[str, ...]
    """Rows and values that are gone or changed."""
    unknown: tuple[str, ...] = ()
    """Values of which that cannot be told."""


def compare(before: Contents, after: Contents) -> Compared:
    """Compare the rows of a database before and after a script, each column by value.

    In a column of another type the values are compared with what a cast makes of them. Values of generated columns may
    change as long as they are generated.

    Args:
        before: The contents before the script, by the names that tables and columns have after it.
        after: The contents after it. Tables and columns that are not there are skipped: they were dropped on purpose.
    """
    unread = before.tables.keys() & after.unread.keys()
    lost = [
        f"all rows of table {_dotted(name)}, which cannot be read: {after.unread[name]}"
        for name in sorted(unread)
    ]
    unknown = [
        f"rows of table {_dotted(name)}, which cannot be read: {error}"
        for name, error in before.unread.items()
    ]
    for names in _groups(before, after):
        rows = _together(names, before, after.roots), _together(names, after, before.roots)
        table = _Table(" and ".join(map(_dotted, names)), *rows, after.source)
        table.compare()
        lost += table.lost
        unknown += table.unknown
    return Compared((*sorted(lost), *_numbers_lost(before, after)), tuple(sorted(unknown)))


def _groups(before: Contents, after: Contents) -> Iterable[Sequence[Name]]:
    """Return the tables at both times; those between which a partition moved are one."""
    found = {name: frozenset([name]) for name in before.tables.keys() & after.tables.keys()}
    for part, root in before.roots.items():
        other = after.roots.get(part, root)
        if root in found and other in found:
            group = found[root] | found[other]
            found |= dict.fromkeys(group, group)
    return map(sorted, {*found.values()})


def _together(names: Sequence[Name], contents: Contents, roots: Mapping[Name, Name]) -> Rows:
    return reduce(Rows.joined, (contents.together(name, roots) for name in names))


@dataclass
class _Table:
    """A table, its rows before a script and after it, and what became of them."""

    name: str
    before: Rows
    after: Rows
    source: Source
    """Where they are after the script."""
    lost: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    _right: dict[str, Cast] = field(default_factory=dict)
    """The columns whose values are as they should be, and what these become."""

    def compare(self) -> None:
        """Find what became of the rows."""
        old, new = self.before.number, self.after.number
        if self.before == self.after:
            return
        if new < old:
            self.lost.append(f"{old - new} of {old} rows of table {self.name}")
        elif new > old:
            self.lost.append(f"the number of rows of table {self.name}: {old}, now {new}")
        else:
            for column, values in self.before.columns.items():
                now = self.after.columns.get(column)
                if now and not now.generated:
                    self._compare_column(column, values, now)
            self._find_moved()

    def _compare_column(self, column: str, old: Values, new: Values) -> None:
        some = f"{old.filled - new.filled} of {old.filled} " if new.filled < old.filled else ""
        same_type = (old.type, old.attributes) == (new.type, new.attributes)
        if old.filled != new.filled or (same_type and old.digest != new.digest):
            self.lost.append(f"{some}values of column {self.name}.{column}")
        elif same_type:
            self._right[column] = None
        elif old.attributes and new.attributes and _names(old) != _names(new):
            place = f"values of column {self.name}.{column}"  # texts have attributes by position
            self.unknown.append(f"{place}: the attributes of {new.type} are others than before")
        elif self.before.number:
            self._compare_casts(column, old.type, new.type)

    def _compare_casts(self, column: str, old: str, new: str) -> None:
        place = f"values of column {self.name}.{column}"
        if self.before.each is None or self.after.each is None:
            self.unknown.append(f"{place}: there are more than {MOST} rows")
            return
        before, after = self.before.column(column), self.after.column(column)
        if not before.keys() - {None}:
            self.unknown.append(f"{place}: no row has any")
            return
        casts = [*_casts(self.source, old, new, before)]
        right = [cast for cast in casts if _cast(before, cast) == after]
        if right:
            self._right[column] = right[0]
        elif casts:
            self.lost.append(f"{place}: not what a cast to {new} gives")
        else:
            self.unknown.append(f"{place}: nothing casts {old} to {new}")

    def _find_moved(self) -> None:
        """Find values that are in another row."""
        before, after = (rows.project([*self._right]) for rows in (self.before, self.after))
        if before.each is None or after.each is None:
            return
        expected = replace(before, each=_cast_rows(before.each, [*self._right.values()]))
        if expected.each == after.each:
            return
        blamed = [
            column
            for column in self._right
            if (others := [other for other in self._right if other != column])
            and expected.project(others).each == after.project(others).each
        ]
        what = f"column {self.name}.{blamed[0]}" if len(blamed) == 1 else f"table {self.name}"
        self.lost.append(f"values of {what}: they are in other rows")


def _names(values: Values) -> list[str]:
    return [each.partition(" ")[0] for each in values.attributes]


def _cast(values: Counter[str | None], cast: Cast) -> Counter[str | None]:
    rows = _cast_rows(Counter({(text,): times for text, times in values.items()}), [cast])
    return Counter({text: times for (text,), times in rows.items()})


def _cast_rows(rows: Counter[Row], casts: Sequence[Cast]) -> Counter[Row]:
    found = Counter[Row]()
    for row, times in rows.items():
        values = zip(row, casts, strict=True)
        found[
            tuple(text if cast is None or text is None else cast[text] for text, cast in values)
        ] += times
    return found


def _casts(
    source: Source, here: str, goal: str, values: Iterable[str | None]
) -> Iterator[dict[str, str | None]]:
    """Yield what values may become when the type of their column changes, for each cast that a script may use.

    Args:
        source: A database that has the new type. Where it no longer has the old one, the values are cast from text.
        here: The old type.
        goal: The new type.
        values: The values as text.
    """
    texts = [text for text in values if text is not None]
    with source.open() as sandbox:
        sandbox.run(alter.ELEMENTS)
        for type_ in (here, "text"):
            for cast in alter.casts("value", type_, goal):
                made = f"({cast or 'value'})::{goal}::text".replace("%", "%%")
                value = f"text::{type_}".replace("%", "%%")
                query = f"""
                    SELECT array_agg({made} ORDER BY place) FROM unnest(%s::text[]) WITH ORDINALITY AS t (text, place)
                    CROSS JOIN LATERAL (SELECT {value} AS value) AS v
                """  # noqa: S608 - types as the server prints them
                with suppress(
                    psycopg2.Error
                ):  # PostgreSQL has no such cast, or not of these values
                    ((found,),) = sandbox.run(query, [texts])
                    yield dict(zip(texts, found, strict=True))


def _numbers_lost(before: Contents, after: Contents) -> Iterator[str]:
    """Yield a line for each sequence that will return values which it returned before.

    A column may have another sequence now: then that one must not be behind the old one, nor behind the rows.
    """
    successors = {(name, name) for name in before.numbers}
    successors |= {
        (sequence, after.numbered[place])
        for place, sequence in before.numbered.items()
        if place in after.numbered and after.numbered[place] not in before.numbers
    }
    behind = {
        now
        for old, now in successors
        if old in before.numbers
        and before.numbers[old] > after.numbers.get(now, before.numbers[old])
    }
    new = {
        place: sequence
        for place, sequence in after.numbered.items()
        if sequence in after.numbers and sequence not in before.numbers
    }
    for (name, column), sequence in new.items():
        if name in before.tables and column in before.tables[name].columns:
            numbers = _whole_numbers(after.tables.get(name), column)
            if sequence in after.falling:
                numbers = [-number for number in numbers]
            if max(numbers, default=after.numbers[sequence]) > after.numbers[sequence]:
                behind.add(sequence)
    for name in sorted(behind):
        yield f"the value of sequence {_dotted(name)}: it gives numbers that were given before"


def _whole_numbers(rows: Rows | None, column: str) -> list[int]:
    if rows is None or column not in rows.columns or rows.columns[column].type not in WHOLE_NUMBERS:
        return []
    return [int(text) for text in rows.column(column) if text is not None]


def _dotted(name: Name) -> str:
    return f"{name.schema}.{name.name}"


def not_given(
    database: Database, models: Database, before: Catalog, goal: Catalog
) -> tuple[str, ...]:
    """Return a line for each new column with existing rows that did not get its default.

    Skips defaults that vary within a transaction or between two, such as random() or now().

    Args:
        database: A scratch database with rows, after the scripts.
        models: A database from the models, in which the defaults are evaluated.
        before: The catalog before the scripts, with the names that tables and columns have after them.
        goal: The catalog of the models.
    """
    new = [*_new_defaults(before, goal)]
    made = catalog.take(database).tables if new else {}
    # A script that is not complete may lack some; that is said elsewhere.
    new = [(table, column) for table, column in new if _has(made.get(table.name), column.name)]
    if not new:
        return ()
    first, second = _evaluated(models, new), _evaluated(models, new)
    lines = []
    with database.connect() as connection, connection.begin():
        sandbox = Sandbox(connection)
        for table, column in new:
            place = table.name, column.name
            if place not in first or first[place] != second.get(place, first):
                continue
            where = f"{name_in_sql(column.name)}::text IS DISTINCT FROM %s"
            sql = table.name.sql.replace("%", "%%")
            query = f"SELECT count(*) FROM {sql} WHERE {where}"  # noqa: S608 - of quoted names
            ((rows,),) = sandbox.run(query, [first[place]])
            if rows:
                lines.append(
                    f"the default of column {table.name}.{column.name}: {rows} rows have another value"
                )
    return tuple(lines)


def _has(table: catalog.Table | None, column: str) -> bool:
    return table is not None and column in table.columns


def _new_defaults(before: Catalog, goal: Catalog) -> Iterator[tuple[catalog.Table, catalog.Column]]:
    """Yield the new columns with a default of tables that existed before."""
    for name, table in goal.tables.items():
        if name not in before.tables or table.kind not in {"r", "p"}:
            continue
        for column in table.columns.values():
            is_new = column.name not in before.tables[name].columns
            if is_new and column.default and not column.generated and not column.serial:
                yield table, column


def _evaluated(
    models: Database, columns: list[tuple[catalog.Table, catalog.Column]]
) -> dict[tuple[Name, str], str | None]:
    """Return the values of defaults as text, evaluated in one transaction; skips those that vary in it or fail."""
    found: dict[tuple[Name, str], str | None] = {}
    with models.connect() as connection, connection.begin():
        sandbox = Sandbox(connection)
        for table, column in columns:
            value = f"(({column.default})::{column.type})::text".replace("%", "%%")
            query = f"SELECT DISTINCT {value} FROM generate_series(1, {MANY})"  # noqa: S608 - the catalog's
            with suppress(psycopg2.Error):
                values = sandbox.run(query)
                if len(values) == 1:
                    found[table.name, column.name] = values[0][0]
    return found

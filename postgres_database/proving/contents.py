"""The rows of a scratch database and the values of its sequences, held for a comparison."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count

import psycopg2

from postgres_database.proving.constraints import RowTable, Sandbox, name_in_sql
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name

ROOTS = """
    SELECT n.nspname, c.relname, m.nspname, r.relname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class r ON r.oid = pg_partition_root(c.oid)
    JOIN pg_namespace m ON m.oid = r.relnamespace
    WHERE c.relispartition AND c.relkind <> 'I' AND c.relkind <> 'i'
"""
TOGETHER = 100
"""How many tables or sequences one statement reads."""
MOST = 10_000
"""Rows of a table that are compared one by one; of more, each column is compared by a digest."""

SEQUENCES = """
    SELECT n.nspname, c.relname, s.seqincrement
    FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384
"""
# A default depends on the sequence it names; the sequence of an identity depends on its column.
NUMBERED = """
    SELECT tn.nspname, t.relname, a.attname, sn.nspname, s.relname
    FROM (SELECT f.adrelid, f.adnum, d.refobjid
          FROM pg_attrdef f JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
          WHERE d.refclassid = 'pg_class'::regclass
          UNION ALL
          SELECT refobjid, refobjsubid, objid FROM pg_depend
          WHERE classid = 'pg_class'::regclass AND refclassid = classid AND deptype = 'i' AND refobjsubid > 0
    ) AS u (relation, number, sequence)
    JOIN pg_class s ON s.oid = u.sequence AND s.relkind = 'S'
    JOIN pg_class t ON t.oid = u.relation
    JOIN pg_namespace sn ON sn.oid = s.relnamespace
    JOIN pg_namespace tn ON tn.oid = t.relnamespace
    JOIN pg_attribute a ON a.attrelid = u.relation AND a.attnum = u.number
"""

Row = tuple[str | None, ...]
"""The values of a row as text, in the order of the columns."""


@dataclass(frozen=True, slots=True)
class Values:
    """The values of a column, all together."""

    type: str
    attributes: tuple[str, ...]
    """Its attributes and their types, if the type is composite; those within attributes, too."""
    generated: bool
    filled: int
    """How many are not NULL."""
    digest: str | None
    """A sum, which does not depend on the order of the rows."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table."""

    number: int
    columns: Mapping[str, Values]
    each: Counter[Row] | None
    """Each row and how often it is there; None if there are more than MOST."""

    def project(self, columns: Sequence[str]) -> "Rows":
        """Return the rows with these columns only, in this order."""
        places = [[*self.columns].index(column) for column in columns]
        each = None
        if self.each is not None:
            each = Counter[Row]()
            for row, times in self.each.items():
                each[tuple(row[place] for place in places)] += times
        return Rows(self.number, {column: self.columns[column] for column in columns}, each)

    def column(self, name: str) -> Counter[str | None]:
        """Return each value of a column and how often it is there."""
        place = [*self.columns].index(name)
        found = Counter[str | None]()
        for row, times in (self.each or {}).items():
            found[row[place]] += times
        return found

    def joined(self, other: "Rows") -> "Rows":
        """Return these rows and those of another table, with the columns that both have."""
        columns = [column for column in self.columns if column in other.columns]
        one, two = self.project(columns), other.project(columns)
        values = {
            column: replace(
                mine,
                filled=mine.filled + two.columns[column].filled,
                digest=_sum(mine.digest, two.columns[column].digest),
            )
            for column, mine in one.columns.items()
        }
        each = None if one.each is None or two.each is None else one.each + two.each
        return Rows(one.number + two.number, values, each)


@dataclass(frozen=True)
class Source:
    """A database, and statements that give its tables and columns other names."""

    database: Database
    renames: tuple[str, ...] = ()

    @contextmanager
    def open(self) -> Iterator[Sandbox]:
        """Yield a sandbox with the other names; all is rolled back.

        Raises:
            psycopg2.Error: A statement fails.
        """
        with (
            self.database.connect(usual_path=True) as connection,
            connection.begin() as transaction,
        ):
            cursor = connection.connection.cursor()
            for rename in self.renames:
                cursor.execute(rename)
            yield Sandbox(connection)
            transaction.rollback()


@dataclass(frozen=True)
class Contents:
    """The rows of a database and the values of its sequences."""

    source: Source = field(compare=False)
    """Where they were read."""
    tables: Mapping[Name, Rows]
    unread: Mapping[Name, str] = field(default_factory=dict)
    """Tables that cannot be read → the error."""
    numbers: Mapping[Name, int] = field(default_factory=dict)
    """Sequence → its last value, negated if it counts down; of an unused one the value before its first."""
    numbered: Mapping[tuple[Name, str], Name] = field(default_factory=dict)
    """(table, column) → the sequence that its default or identity uses."""
    falling: frozenset[Name] = frozenset()
    """The sequences that count down."""
    roots: Mapping[Name, Name] = field(default_factory=dict)
    """Partition → the topmost partitioned table."""

    def together(self, name: Name, roots: Mapping[Name, Name]) -> Rows:
        """Return the rows of a table together with those of its partitions at another time.

        Args:
            name: The table.
            roots: The partitions at that time. One that is attached or detached since is a table of its own here.
        """
        rows = self.tables[name]
        for part, root in roots.items():
            if root == name and part in self.tables:
                rows = rows.joined(self.tables[part])
        return rows


def take(database: Database, renames: Sequence[str] = ()) -> Contents:
    """Read all rows and sequences of a scratch database, after `renames`, which are rolled back.

    Raises:
        psycopg2.Error: One of the renames fails.
    """
    source = Source(database, tuple(renames))
    with source.open() as sandbox:
        # A scratch database has no statistics on its catalogs: joins would be planned for one row. Rolled back.
        sandbox.run("SET LOCAL enable_nestloop = off")
        inhabited = sandbox.inhabited()
        found, unread = _read(
            sandbox, {name: table for name, table in sandbox.tables.items() if name in inhabited}
        )
        empty = sandbox.tables.keys() - inhabited
        found |= {name: _no_rows(sandbox.tables[name]) for name in empty}
        steps = {Name(schema, name): step for schema, name, step in sandbox.run(SEQUENCES)}
        numbers = dict(_last(sandbox, steps))
        numbered = {
            (Name(schema, table), column): Name(*sequence)
            for schema, table, column, *sequence in sandbox.run(NUMBERED)
        }
        roots = {Name(*row[:2]): Name(*row[2:]) for row in sandbox.run(ROOTS)}
    falling = frozenset(name for name, step in steps.items() if step < 0)
    words = {name: database.words(error).partition("\n")[0] for name, error in unread.items()}
    return Contents(source, found, words, numbers, numbered, falling, roots)


def remove(database: Database) -> None:
    """Truncate all tables of a scratch database; they keep their rows if the server rejects that."""
    with database.connect(usual_path=True) as connection, connection.begin():
        sandbox = Sandbox(connection)
        inhabited = sandbox.inhabited()
        if filled := inhabited and inhabited & sandbox.tables.keys():
            with suppress(psycopg2.Error):
                sandbox.run(
                    f"TRUNCATE {', '.join(sandbox.tables[name].sql for name in filled)} CASCADE"
                )


def differences(before: Contents, after: Contents) -> Iterator[str]:
    """Yield in what the rows and sequences of a second database differ from those of a first, which has them all."""
    for name, rows in before.tables.items():
        if after.tables.get(name) != rows:
            yield f"the rows of table {name.schema}.{name.name} are others"
    for name, number in before.numbers.items():
        if after.numbers.get(name) != number:
            yield f"the sequence {name.schema}.{name.name} is at another value"


def _read(
    sandbox: Sandbox, tables: Mapping[Name, RowTable]
) -> tuple[dict[Name, Rows], dict[Name, psycopg2.Error]]:
    """Return the rows of tables, and the errors of those that cannot be read."""
    found: dict[Name, Rows] = {}
    unread: dict[Name, psycopg2.Error] = {}
    for names in batched([*tables], TOGETHER):
        try:
            found |= _rows(sandbox, {name: tables[name] for name in names})
        except psycopg2.Error:  # of one of them: one by one
            for name in names:
                try:
                    found |= _rows(sandbox, {name: tables[name]})
                except psycopg2.Error as error:
                    unread[name] = error
    return found, unread


def _rows(sandbox: Sandbox, tables: Mapping[Name, RowTable]) -> dict[Name, Rows]:
    """Read the rows of tables by two statements."""
    names = [*tables]
    query = " UNION ALL ".join(map(_digests, count(), tables.values()))
    facts = {names[place]: found for place, *found in sandbox.run(query)}
    few = {name: number for name, (number, *_) in facts.items() if number <= MOST}
    query = " UNION ALL ".join(
        f"SELECT {place}, {table.texts} FROM {table.rows}"  # noqa: S608 - quoted
        for place, (name, table) in enumerate(tables.items())
        if name in few
    )
    rows: dict[Name, Counter[Row]] = {name: Counter() for name in few}
    for place, row in sandbox.run(query) if few else ():
        rows[names[place]][tuple(row)] += 1
    return {
        name: Rows(facts[name][0], _values(table, *facts[name][1:]), rows.get(name))
        for name, table in tables.items()
    }


def _digests(place: int, table: RowTable) -> str:
    texts = [f"{name_in_sql(column)}::text" for column in table.columns]
    counts = ", ".join(f"count({text})" for text in texts)
    # A sum does not depend on the order of rows; collation "C" treats only identical texts as equal.
    sums = ", ".join(f'sum(hashtextextended({text} COLLATE "C", 0))' for text in texts)
    what = f"{place}, count(*), ARRAY[{counts}]::bigint[], ARRAY[{sums}]::text[]"
    return f"SELECT {what} FROM {table.rows}"  # noqa: S608 - quoted


def _no_rows(table: RowTable) -> Rows:
    """Return the rows of an empty table."""
    columns = len(table.columns)
    return Rows(0, _values(table, [0] * columns, [None] * columns), Counter())


def _values(
    table: RowTable, filled: Sequence[int], digests: Sequence[str | None]
) -> dict[str, Values]:
    facts = zip(table.columns.values(), filled, digests, strict=True)
    return {
        column.name: Values(
            column.type, tuple(column.attributes), bool(column.generated), number, digest
        )
        for column, number, digest in facts
    }


def _sum(*digests: str | None) -> str | None:
    numbers = [int(each) for each in digests if each is not None]
    return str(sum(numbers)) if numbers else None


def _last(sandbox: Sandbox, steps: Mapping[Name, int]) -> Iterator[tuple[Name, int]]:
    """Yield the last value of sequences; negated if they count down, so that later values are larger.

    Of an unused one, the value is just before its first, by one: its steps may have been others before.
    """
    for names in batched([*steps], TOGETHER):
        query = " UNION ALL ".join(
            f"SELECT {place}, last_value, is_called FROM {'.'.join(map(name_in_sql, name))}"  # noqa: S608
            for place, name in enumerate(names)
        )
        for place, last, is_called in sandbox.run(query):
            up = steps[names[place]] > 0
            number = last if is_called else last - (1 if up else -1)
            yield names[place], number if up else -number


def batched(names: Sequence[Name], number: int) -> Iterator[Sequence[Name]]:
    """Yield so many names at once."""
    return (names[start : start + number] for start in range(0, len(names), number))

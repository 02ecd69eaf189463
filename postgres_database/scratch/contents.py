"""Counts and digests of the rows of a scratch database, and what a script lost of them."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg2

from postgres_database.schema import catalog
from postgres_database.schema.catalog import Catalog
from postgres_database.scratch.constraints import Sandbox, name_in_sql
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
MANY = 16  # evaluations of a default; one that gives the same value in all of them is treated as constant

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


@dataclass(frozen=True)
class Contents:
    """Counts and digests of the rows of a database, by which a lost row or value is noticed."""

    tables: Mapping[Name, tuple[int, Mapping[str, tuple[str, int, str | None]]]]
    """The number of rows; for each column its type, the number of values that are not NULL, and their digest."""
    unread: Mapping[Name, str] = field(default_factory=dict)
    """Tables that cannot be read → the error."""
    numbers: Mapping[Name, int] = field(default_factory=dict)
    """Sequence → its last value, negated if it counts down; of an unused one the value before its first."""
    numbered: Mapping[tuple[Name, str], Name] = field(default_factory=dict)
    """(table, column) → the sequence that its default or identity uses."""
    roots: Mapping[Name, Name] = field(default_factory=dict)
    """Partition → the topmost partitioned table."""

    def lost(self, after: "Contents") -> tuple[str, ...]:
        """Return a line for each table or column with rows or values that are gone or changed.

        Args:
            after: The contents of the same database now. Tables and columns that it does not have are skipped: they
                were dropped on purpose, or renamed. In a column of another type, only the number of values counts.
        """
        unread = self.tables.keys() & after.unread.keys()
        lines = [
            f"all rows of table {name.schema}.{name.name}, which cannot be read: {after.unread[name]}"
            for name in sorted(unread)
        ]
        for name in self.tables:
            schema, table = name
            rows, columns = self._together(name, after.roots)
            rows_now, columns_now = (
                after._together(name, self.roots)  # noqa: SLF001 - of the same class
                if name in after.tables
                else (rows, {})
            )
            if rows_now < rows:
                lines.append(f"{rows - rows_now} of {rows} rows of table {schema}.{table}")
            elif rows_now > rows:
                lines.append(
                    f"the number of rows of table {schema}.{table}: {rows}, now {rows_now}"
                )
            for column, before in columns.items() if rows_now == rows else ():
                now = columns_now.get(column, before)
                if now[1] != before[1] or (now[0] == before[0] and now != before):
                    some = f"{before[1] - now[1]} of {before[1]} " if now[1] < before[1] else ""
                    lines.append(f"{some}values of column {schema}.{table}.{column}")
        return (*lines, *self._numbers_lost(after))

    def _together(
        self, name: Name, roots: Mapping[Name, Name]
    ) -> tuple[int, Mapping[str, tuple[str, int, str | None]]]:
        """Return the contents of a table together with those of its partitions at another time.

        Args:
            name: The table.
            roots: The partitions at that time. One that is attached or detached since is a table of its own here.
        """
        rows, columns = self.tables[name]
        for part, root in roots.items():
            if root != name or part not in self.tables:
                continue
            more, others = self.tables[part]
            rows += more
            columns = {
                column: (type_, filled + others[column][1], _sum(digest, others[column][2]))
                for column, (type_, filled, digest) in columns.items()
                if column in others
            }
        return rows, columns

    def _numbers_lost(self, after: "Contents") -> Iterator[str]:
        """Yield a line for each sequence that will return values which it returned before.

        A column may have another sequence now: then that one must not be behind the old one.
        """
        successors = {(name, name) for name in self.numbers}
        successors |= {
            (sequence, after.numbered[place])
            for place, sequence in self.numbered.items()
            if place in after.numbered and after.numbered[place] not in self.numbers
        }
        for before, now in sorted(successors):
            if before in self.numbers and self.numbers[before] > after.numbers.get(
                now, self.numbers[before]
            ):
                yield f"the value of sequence {now.schema}.{now.name}: it gives numbers that were given before"


def take(database: Database) -> Contents:
    """Read all rows of a scratch database, and return their counts and digests."""
    found: dict[Name, tuple[int, Mapping[str, tuple[str, int, str | None]]]] = {}
    unread: dict[Name, str] = {}
    with database.connect(usual_path=True) as connection, connection.begin():
        sandbox = Sandbox(connection)
        for name, table in sandbox.tables.items():
            columns = [column for column in table.columns.values() if not column.generated]
            texts = [f"{name_in_sql(column.name)}::text" for column in columns]
            counts = ", ".join(f"count({text})" for text in texts)
            # A sum does not depend on the order of rows; collation "C" treats only identical texts as equal.
            sums = ", ".join(f'sum(hashtextextended({text} COLLATE "C", 0))' for text in texts)
            query = f"SELECT count(*), ARRAY[{counts}]::bigint[], ARRAY[{sums}]::text[] FROM {table.rows}"  # noqa: S608
            try:
                ((rows, filled, digests),) = sandbox.run(query)
            except psycopg2.Error as error:
                unread[name] = database.words(error).partition("\n")[0]
                continue
            found[name] = (
                rows,
                {
                    column.name: (" ".join([column.type, *column.attributes]), *facts)
                    for column, *facts in zip(columns, filled, digests, strict=True)
                },
            )
        numbers = {
            Name(schema, name): _last(sandbox, name_in_sql(schema), name_in_sql(name), step)
            for schema, name, step in sandbox.run(SEQUENCES)
        }
        numbered = {
            (Name(schema, table), column): Name(*sequence)
            for schema, table, column, *sequence in sandbox.run(NUMBERED)
        }
        roots = {Name(*row[:2]): Name(*row[2:]) for row in sandbox.run(ROOTS)}
    return Contents(found, unread, numbers, numbered, roots)


def _sum(*digests: str | None) -> str | None:
    numbers = [int(each) for each in digests if each is not None]
    return str(sum(numbers)) if numbers else None


def _last(sandbox: Sandbox, schema: str, name: str, step: int) -> int:
    """Return the last value of a sequence; negated if it counts down, so that later values are larger."""
    number = "last_value - CASE WHEN is_called THEN 0 ELSE %s END"
    ((last,),) = sandbox.run(f"SELECT {number} FROM {schema}.{name}", [step])  # noqa: S608
    return int(last) if step > 0 else -int(last)


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

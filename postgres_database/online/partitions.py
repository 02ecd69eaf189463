"""Attaches and detaches partitions beside live traffic.

While it holds its locks, ATTACH PARTITION scans the new partition and the default partition, and builds the indexes
that the new one lacks. CHECK constraints that imply the partition bounds, and equal indexes, spare it that
(PostgreSQL manual, ALTER TABLE, "ATTACH PARTITION"): so these are added first. DETACH PARTITION CONCURRENTLY locks
neither readers nor writers out; the CHECK that it leaves on the partition is dropped. A partition that gets other
bounds is detached and attached in one transaction.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Any, Self

from postgres_database.online import forms, safe_forms
from postgres_database.online.forms import Statement
from postgres_database.online.safe_forms import ATTACHED, FOREIGN_KEYS, LiveTable
from postgres_database.online.tables import CONSTRAINT, SKETCH, TABLE
from postgres_database.running.autocommit import Autocommit
from postgres_database.server.transactions import asked
from postgres_database.sql.names import Name, bare, identifier

FORMS = ("attach", "detach")
CONCURRENTLY = 140000
"""The version since which a partition may be detached beside live traffic."""
STATE = """
    SELECT coalesce(to_jsonb(i) ->> 'inhdetachpending', 'false') = 'true', pg_get_partition_constraintdef(i.inhrelid)
    FROM pg_inherits i WHERE i.inhparent = %s AND i.inhrelid = %s
"""
DEFAULT = """
    SELECT c.oid, c.relkind::text, c.relname, n.nspname
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE i.inhparent = %s AND pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
"""
BOUNDS = """
    SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = %s AND c.oid <> %s ORDER BY c.oid
"""
PARENT = "SELECT pg_get_partkeydef(oid), pg_get_partition_constraintdef(oid) FROM pg_class WHERE oid = %s"
# What a new partition gets from the table: keys and foreign keys first, then other indexes.
PARTS = """
    SELECT 'ALTER TABLE ' || %s || ' ADD CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE conrelid = %s AND contype IN ('p', 'u', 'f')
        AND (contype <> 'f' OR conparentid = 0 OR (SELECT relispartition FROM pg_class WHERE oid = conrelid))
    UNION ALL
    SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i
    WHERE i.indrelid = %s AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
"""
# The CHECK that DETACH CONCURRENTLY adds to the partition: its OID is above that of the mark that was added before.
LEFT = """
    SELECT quote_ident(k.conname) FROM pg_constraint k JOIN pg_constraint m ON m.conrelid = k.conrelid
    WHERE k.conrelid = %s AND m.conname = %s AND k.oid > m.oid AND k.contype = 'c' AND k.conname ~ 'check[0-9]*$'
"""
SKETCHED = "SELECT to_regclass(%s)::oid::text, pg_get_partition_constraintdef(to_regclass(%s))"


def run(session: Autocommit, statement: Statement) -> None:
    """Run the steps of a statement's safe form that are not finished yet, of every form; see `safe_forms.run`."""
    if statement.form not in FORMS:
        safe_forms.run(session, statement)
        return
    names = (statement.table, statement.name)
    rows = [row for name in names for row in session.rows(TABLE, session.find(name))]
    tables = [Partition(session, *row) for row in rows]
    if len(tables) < len(names) or any(each.has_foreign_partitions() for each in tables):
        session.execute(statement.sql)  # the server raises the error, or has no safe form
    elif statement.form == "attach":
        tables[1].attach(tables[0], statement)
    else:
        tables[1].detach(tables[0])


def parse_move(pieces: Sequence[str]) -> list[Statement]:
    """Return the attachments of an operation that attaches all partitions again that it detaches, or else none."""
    parsed = [each for piece in pieces if (each := forms.parse(piece))]
    places = [
        {(Name.read(each.table), Name.read(each.name)) for each in parsed if each.form == form}
        for form in FORMS
    ]
    same = places[0] == places[1]
    return [each for each in parsed if each.form == "attach" and same]


def move(
    session: Autocommit,
    pieces: Sequence[str],
    attached: Sequence[Statement],
    did: Callable[[], None],
) -> None:
    """Run statements that detach partitions and attach them again in one transaction, which calls `did`.

    So the rows are never absent from the table.

    Args:
        session: The session.
        pieces: The statements.
        attached: Those that attach.
        did: Called at the end of the transaction.
    """
    with ExitStack() as stack:
        drops: list[str] = []
        for each in attached:
            names = (each.table, each.name)
            rows = [row for name in names for row in session.rows(TABLE, session.find(name))]
            tables = [Partition(session, *row) for row in rows]
            foreign = any(one.has_foreign_partitions() for one in tables)
            if len(tables) == len(names) and not foreign:  # else the server raises the error
                drops += stack.enter_context(tables[1].prepared(tables[0], each))
        with session.transaction() as cursor:
            for sql in (*pieces, *drops):
                cursor.execute(sql)
            did()


def earlier_names(session: Autocommit, index: Statement) -> list[tuple[str, str, list[str]]]:
    """Return the parts of an index of a partitioned table that could not get the name of PostgreSQL's first choice.

    When an index replaces another one, both exist for a while, and the parts of the old one have these names.

    Returns:
        The schema and the name of each part, for SQL, and the names that PostgreSQL would prefer, unquoted, the first
        choice first.
    """
    tables = [Partition(session, *row) for row in session.rows(TABLE, session.find(index.table))]
    return [
        part
        for each in tables
        for part in each.parts_named_late(index, f"{each.schema}.{index.name}")
    ]


def take_earlier_names(cursor: Any, parts: Sequence[tuple[str, str, list[str]]]) -> None:
    """Rename parts of indexes to the first of their preferred names that is free now; see `earlier_names`."""
    for schema, part, names in parts:
        for name in names:
            place = f"{schema}.{identifier(name)}"
            if asked(cursor, "SELECT to_regclass(%s) IS NULL", (place,)) == [(True,)]:
                cursor.execute(f"ALTER INDEX {schema}.{part} RENAME TO {identifier(name)}")
                break


class Partition(LiveTable):
    """A table that is attached or detached, and the partitioned table that it is attached to."""

    def attach(self, parent: Self, wanted: Statement) -> None:
        """Attach it to a partitioned table, after adding the CHECK constraints and indexes that spare a scan."""
        if not self.session.rows(STATE, parent.oid, self.oid):
            with self.prepared(parent, wanted):
                for part in self._parts(parent):
                    self.make(part)
                self.session.execute(wanted.sql)
        checks = self._checks(parent)
        for (table, name), drop in zip(checks, _drops(checks), strict=True):
            if self.session.rows(CONSTRAINT, table.oid, bare(name)):
                self.session.execute(drop)

    @contextmanager
    def prepared(self, parent: Self, wanted: Statement) -> Iterator[list[str]]:
        """Add the CHECK constraints that spare a scan when the block attaches it; yield what drops them."""
        checks = self._checks(parent)
        drops = _drops(checks)
        with self._undone_by(self.session.execute, "; ".join(drops)):
            conditions = self._conditions(parent, wanted)
            for (table, name), condition in zip(checks, conditions, strict=False):
                body = f"CHECK ({condition})"
                table.add_constraint(Statement("constraint", "", table.sql, name, "CHECK", body))
            yield drops

    def _checks(self, parent: Self) -> list[tuple[Self, str]]:
        """Return the tables that attaching it would scan, and the name of a temporary CHECK for each."""
        defaults = [
            type(self)(self.session, *row) for row in self.session.rows(DEFAULT, parent.oid)
        ]
        without = self._constraint_name("is_without")
        others = [(each, without) for each in defaults if each.oid != self.oid]
        return [(self, self._constraint_name("is_within")), *others]

    def detach(self, parent: Self) -> None:
        """Detach it, or finish a detachment that was interrupted.

        A CHECK constraint marks the beginning: without it, a second run could not tell the CHECK that PostgreSQL
        leaves from one of the application.
        """
        mark = self._constraint_name("was_within")
        drop = f"ALTER TABLE {self.sql} DROP CONSTRAINT {mark}"
        for pending, check in self.session.rows(STATE, parent.oid, self.oid):
            detach = f"ALTER TABLE {parent.sql} DETACH PARTITION {self.sql}"
            if pending:
                self.session.without_time_limits(f"{detach} FINALIZE")
            elif self.session.version < CONCURRENTLY or self.session.rows(DEFAULT, parent.oid):
                self.session.execute(detach)  # beside a default partition, CONCURRENTLY is an error
            else:
                if not self.session.rows(CONSTRAINT, self.oid, bare(mark)):
                    add = f"ADD CONSTRAINT {mark} CHECK ({check}) NOT VALID"
                    self.session.execute(f"ALTER TABLE {self.sql} {add}")
                with self._undone_by(self.session.execute, drop):
                    self.session.without_time_limits(f"{detach} CONCURRENTLY")
        if self.session.rows(CONSTRAINT, self.oid, bare(mark)):
            left = self.session.rows(LEFT, self.oid, bare(mark))
            self.session.execute(
                ", ".join([drop, *(f"DROP CONSTRAINT {name}" for (name,) in left)])
            )

    def parts_named_late(
        self, index: Statement, whole: str
    ) -> Iterator[tuple[str, str, list[str]]]:
        """Yield the parts of an index of this table; see `earlier_names`."""
        for child in self.children():
            for (name,) in self.session.rows(ATTACHED, self.session.find(whole), child.oid):
                part = identifier(name)
                if names := child.earlier_names(index, name):
                    yield child.schema, part, names
                yield from child.parts_named_late(index, f"{child.schema}.{part}")

    def _constraint_name(self, ending: str) -> str:
        name = f"{bare(self.name)}_{ending}"
        if len(name.encode()) > forms.LONGEST_NAME:
            name = f"{sha256(name.encode()).hexdigest()[:16]}_{ending}"
        return identifier(name)

    def _conditions(self, parent: Self, wanted: Statement) -> Iterator[str]:
        """Yield the condition for rows of the new partition, and that for rows of the default partition.

        Both as PostgreSQL prints them for a sketch of the partitioned table. Nothing if there is no condition.
        """
        ((key, above),) = self.session.rows(PARENT, parent.oid)
        others = [bound for (bound,) in self.session.rows(BOUNDS, parent.oid, self.oid)]
        with self.session.transaction(end="ROLLBACK") as cursor:
            cursor.execute(f"CREATE TEMP TABLE {SKETCH} (LIKE {parent.sql}) PARTITION BY {key}")
            bounds = [*others, wanted.body] if wanted.body.upper() == "DEFAULT" else [wanted.body]
            for number, bound in enumerate(bounds):
                cursor.execute(
                    f"CREATE TEMP TABLE {SKETCH}_{number} PARTITION OF pg_temp.{SKETCH} {bound}"
                )
            check = _sketched(cursor, parent.oid, len(bounds) - 1)
        if check:
            yield f"({check}) AND ({above})" if above else check
            yield f"NOT ({check})"

    def _parts(self, parent: Self) -> Iterator[Statement]:
        """Yield the statements for the indexes, keys and foreign keys that the new partition needs."""
        keys = [text for (text,) in self.session.rows(FOREIGN_KEYS, self.oid)]
        for (sql,) in self.session.rows(PARTS, self.sql, parent.oid, parent.oid):
            found = forms.parse(sql)
            if found is None or (
                found.form == "constraint" and any(sql.endswith(f" {each}") for each in keys)
            ):
                continue
            part = replace(found, table=self.sql, only=False)
            if part.form == "index" and not self.partitioned and self.equal_part(part):
                continue
            yield part if found.form == "constraint" else replace(part, name=self.part_name(part))


def _drops(checks: Sequence[tuple[Partition, str]]) -> list[str]:
    return [f"ALTER TABLE {each.sql} DROP CONSTRAINT IF EXISTS {name}" for each, name in checks]


def _sketched(cursor: Any, parent: int, number: int) -> str:
    """Return the condition of a partition of the sketch, for the real table: that of HASH contains the table's OID."""
    ((oid, _),) = asked(cursor, SKETCHED, (f"pg_temp.{SKETCH}",) * 2)
    ((_, check),) = asked(cursor, SKETCHED, (f"pg_temp.{SKETCH}_{number}",) * 2)
    return (check or "").replace(f"'{oid}'::oid", f"'{parent}'::oid")

"""Operations in blocks: what commits by itself, and what belongs together so that no rule is lost in between."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby

import sqlalchemy as sa
from alembic.operations import MigrateOperation

from postgres_database.drafting import swaps
from postgres_database.drafting.trial import run
from postgres_database.history.operations import Note, Online, Outside, RunSql
from postgres_database.history.project_models import Models
from postgres_database.online import dropped, forms
from postgres_database.online.steps import text
from postgres_database.schema import catalog
from postgres_database.schema.catalog import Catalog
from postgres_database.scratch import enforced
from postgres_database.scratch.effects import Effects, measuring, tables
from postgres_database.scratch.enforced import Gap
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name, bare
from postgres_database.sql.syntax import statements

ELSEWHERE = "SET LOCAL TimeZone = 1"
"""In UTC alone timestamp becomes timestamptz without a rewrite; the target may have another time zone."""
Tables = AbstractSet[tuple[str, str]]
"""Schemas and names."""
Operations = Sequence[MigrateOperation]
READS_ROWS = ("index", "key", "rule", "not null")
"""Forms of statements that read a table from end to end."""
EMPTY_ROOT = """
    SELECT relkind = 'p' AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid)
    FROM pg_class c WHERE oid = to_regclass(%s)
"""
Ends = tuple[Catalog, Catalog]
"""Where a way begins and where it ends, under the names of afterwards."""


def measure(
    database: Database, ops: Operations, models: Models, there: Tables
) -> Iterator[tuple[MigrateOperation, Effects]]:
    """Run operations, each in a transaction, and yield what each does to tables that were there before."""
    with database.connect(usual_path=True) as connection:
        for op in ops:
            yield op, _effects(database, connection, op, models).of(there)


def _effects(
    database: Database, connection: sa.Connection, op: MigrateOperation, models: Models
) -> Effects:
    try:
        if isinstance(op, Outside):
            run_outside(database, op, models)
            return Effects()
        with connection.begin(), measuring(connection) as effects:
            if " TYPE " in text(op, models):
                connection.exec_driver_sql(ELSEWHERE)
            run(connection, op, models)
            effects.scanned |= _of_unknown_partitions(connection, text(op, models))
    except Exception as error:  # noqa: BLE001 - what it needs may be missing on a copy
        return Effects(unknown=database.words(error).partition("\n")[0] or type(error).__name__)
    return effects


def _of_unknown_partitions(connection: sa.Connection, sql: str) -> set[tuple[str, str]]:
    """Return partitioned tables without partitions whose rows a statement would read: others make the partitions."""
    found = [each for piece in statements(sql) if (each := forms.parse(piece))]
    tables = {Name.read(each.table) for each in found if each.form in READS_ROWS}
    return {
        (name.schema, name.name)
        for name in tables
        if connection.exec_driver_sql(EMPTY_ROOT, (name.sql,)).scalar()
    }


def run_outside(database: Database, op: Outside, models: Models) -> None:
    """Run what commits at once."""
    with database.connect(autocommit=True, usual_path=True) as connection:
        for each in op.statements:
            run(connection, each, models)


def has_safe_form(op: MigrateOperation, models: Models, effects: Effects, ends: Ends) -> bool:
    """Tell whether an operation is better done beside live traffic, and can be: not on a table that goes."""
    if isinstance(op, (Note, Outside)):
        return False
    sql = text(op, models)
    old = dropped.read(sql, ends[0])
    if old and old.table in ends[0].tables and old.table not in ends[1].tables:
        return False
    found = [each for piece in statements(sql) if (each := forms.parse(piece))]
    return any(each.form == "drop index" or effects.blocking for each in found)


def blocks(
    database: Database, ops: Operations, models: Models, ends: Ends, *, online: bool = False
) -> list[MigrateOperation]:
    """Put operations into online blocks, in the order that there is, but for those that belong together.

    What is enforced at both ends stays enforced: from an operation that ends it to the one that brings it back, all
    are one transaction, in which a foreign key or check comes back for new rows alone; it is validated afterwards. A
    comment goes with what follows it.

    Args:
        database: A scratch database, on which they are run.
        ops: The operations.
        models: They say how constraints are named.
        ends: What is enforced at both.
        online: Whether all belong into online blocks, or only those for which others would wait.
    """
    parts: list[tuple[MigrateOperation, bool]] = []
    missing: list[Gap] = []
    later: list[MigrateOperation] = []
    with database.connect() as connection, connection.begin():
        there = tables(connection)
    with database.connect(usual_path=True) as connection:
        for each in swaps.applied(ops, models, catalog.take(database), ends[1]):
            op, validation = _believed(each, missing, models)
            effects = _effects(database, connection, op, models).of(there)
            together = bool(missing)
            if together or "DROP" in text(op, models):
                missing = enforced.gaps(*ends, catalog.take(database))
            together = together or bool(missing)
            parts.append(
                (op, not together and (online or has_safe_form(op, models, effects, ends)))
            )
            later += validation
            if not missing:
                parts += [(step, True) for step in later]
                later = []
    parts += [(step, True) for step in later]
    return _grouped(parts)


def _runs(
    parts: Sequence[tuple[MigrateOperation, bool]],
) -> Iterator[tuple[bool, bool, list[MigrateOperation]]]:
    """Yield comments, and operations that are alike in whether they are online."""
    for (is_note, alone), group in groupby(
        parts, key=lambda part: (isinstance(part[0], Note), part[1])
    ):
        yield is_note, alone, [op for op, _ in group]


def _grouped(parts: Sequence[tuple[MigrateOperation, bool]]) -> list[MigrateOperation]:
    """Put what belongs there into online blocks; a comment goes with what follows it."""
    found: list[MigrateOperation] = []
    notes: list[MigrateOperation] = []
    for is_note, alone, group in _runs(parts):
        if is_note:
            notes = group
            continue
        found += [Online([*notes, *group])] if alone else [*notes, *group]
        notes = []
    return [*found, *notes]


def _believed(
    op: MigrateOperation, missing: Sequence[Gap], models: Models
) -> tuple[MigrateOperation, list[MigrateOperation]]:
    """Return what brings a foreign key or check back for new rows alone, and what looks at the others later."""
    soft = {(gap.table, gap.name) for gap in missing if gap.soft}
    for piece in statements(text(op, models)) if soft else ():
        statement = forms.parse(piece)
        if (
            statement
            and statement.form == "rule"
            and (Name.read(statement.table), bare(statement.name)) in soft
        ):
            validate = f"ALTER TABLE {statement.table} VALIDATE CONSTRAINT {statement.name};"
            return RunSql(f"{statement.sql} NOT VALID;"), [RunSql(validate)]
    return op, []

"""Operations grouped into online blocks and transactions, so that what is enforced is enforced at every moment."""

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby

import sqlalchemy as sa
from alembic.operations import MigrateOperation

from postgres_database.drafting.trial import run
from postgres_database.history.operations import Note, Online, Outside, RunSql
from postgres_database.history.project_models import Models
from postgres_database.online import dropped, enforced, forms, swaps
from postgres_database.online.enforced import Gap
from postgres_database.online.steps import text
from postgres_database.proving.effects import Effects, measuring, names, tables
from postgres_database.schema import catalog
from postgres_database.schema.catalog import Catalog
from postgres_database.server.connection import Database
from postgres_database.sql.names import NAME, Name, bare
from postgres_database.sql.syntax import statements

ELSEWHERE = "SET LOCAL TimeZone = 1"
"""Any zone but UTC: in UTC, a change of timestamp to timestamptz needs no rewrite, elsewhere it does."""
ALTER_COLUMN = re.compile(
    rf"ALTER TABLE (?P<table>{NAME})\s+(?P<change>ALTER COLUMN .*?);?\s*$", re.DOTALL
)
IN_STEPS = """Others can neither read nor write {table} while this rewrites it. Where that takes too long, do it in
steps, each a revision of its own: add a second column; let the application, or a trigger, write both; give the rows
their values by op.backfill; let the application read the new column; drop the old one."""
Tables = AbstractSet[tuple[str, str]]
"""Schemas and names."""
Operations = Sequence[MigrateOperation]
Measured = tuple[MigrateOperation, Effects]
Part = tuple[MigrateOperation, bool]
"""An operation, and whether it is online."""
READS_ROWS = ("index", "key", "constraint", "not null")
"""Forms of statements (`forms.Statement.form`) that read all rows of a table."""
PARTITIONED = "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)"
Ends = tuple[Catalog, Catalog]
"""The catalogs before and after a script, both with the new names of what the script renames."""


def measure(
    database: Database, ops: Operations, models: Models, existing: Tables
) -> Iterator[Measured]:
    """Run operations on a scratch database, each in a transaction of its own, and yield their effects.

    The effects of an operation that fails are unknown; the next ones are run all the same.

    Args:
        database: The scratch database; the operations are committed there.
        ops: The operations.
        models: Their naming convention names constraints.
        existing: The tables of which effects are reported: those that may have rows.
    """
    with database.connect(usual_path=True) as connection:
        for op in ops:
            yield op, _effects(database, connection, op, models).of(existing)


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
    except Exception as error:  # noqa: BLE001 - what it needs may be missing on a scratch database
        return Effects(unknown=database.words(error).partition("\n")[0] or type(error).__name__)
    return effects


def _of_unknown_partitions(connection: sa.Connection, sql: str) -> set[tuple[str, str]]:
    """Return the partitioned tables that a statement reads: on the target they may have other partitions."""
    parsed = [each for piece in statements(sql) if (each := forms.parse(piece))]
    tables = {Name.read(each.table) for each in parsed if each.form in READS_ROWS}
    return {
        (name.schema, name.name)
        for name in tables
        if connection.exec_driver_sql(PARTITIONED, (name.sql,)).scalar()
    }


def run_outside(database: Database, op: Outside, models: Models) -> None:
    """Run the statements of `op`, each of which is committed at once."""
    with database.connect(autocommit=True, usual_path=True) as connection:
        for each in op.statements:
            run(connection, each, models)


def has_safe_form(op: MigrateOperation, models: Models, effects: Effects, ends: Ends) -> bool:
    """Tell whether an operation should be, and can be, done online; on a table that is dropped it need not be."""
    if isinstance(op, (Note, Outside)):
        return False
    sql = text(op, models)
    old = dropped.read(sql, ends[0])
    if old and old.table in ends[0].tables and old.table not in ends[1].tables:
        return False
    parsed = [each for piece in statements(sql) if (each := forms.parse(piece))]
    return any(each.form in ("drop index", "detach") or effects.blocking for each in parsed)


def joined(ops: Operations, models: Models) -> RunSql | None:
    """Return changes of one table's columns as one statement, which rewrites it once; None if others are among them."""
    tried = [ALTER_COLUMN.match(each) for op in ops for each in statements(text(op, models))]
    matches = [each for each in tried if each]
    tables = {Name.read(each["table"]).sql for each in matches}
    if len(tables) != 1 or len(matches) < len(tried):
        return None
    changes = ",\n    ".join(each["change"] for each in matches)
    return RunSql(f"ALTER TABLE {tables.pop()}\n    {changes};")


def rewrite_notes(effects: Effects) -> list[Note]:
    """Return the comments to put above an operation that rewrites tables."""
    return [Note(IN_STEPS.format(table=name)) for name in names(effects.rewritten)]


def group(
    database: Database, ops: Operations, models: Models, ends: Ends, *, online: bool = False
) -> list[MigrateOperation]:
    """Group operations, in their order, into online blocks and transactions.

    What is enforced before and after a script stays enforced within it. If an operation drops such a constraint, all
    from there to the operation that recreates it are one transaction; a foreign key or check is recreated NOT VALID
    there, and validated online afterwards. A comment stays with the operation that it precedes. Operations in sequence
    that rewrite one table become one statement, in a transaction and with a comment above it.

    Args:
        database: A scratch database, on which the operations are run.
        ops: The operations.
        models: Their naming convention names constraints.
        ends: The catalogs before and after.
        online: Whether all other operations go into online blocks, or only those that would make others wait.
    """
    parts: list[Part] = []
    missing: list[Gap] = []
    validations: list[Part] = []
    rewriting: list[MigrateOperation] = []
    with database.connect() as connection, connection.begin():
        existing = tables(connection)
    if any("DROP" in text(op, models) for op in ops[:-1]):  # else nothing is swapped for another
        ops = swaps.applied(ops, models, catalog.take(database), ends[1])
    with database.connect(usual_path=True) as connection:
        for each in ops:
            op, validation = _not_valid(each, missing, models)
            effects = _effects(database, connection, op, models).of(existing)
            together = bool(missing)
            if together or "DROP" in text(op, models):
                missing = enforced.gaps(*ends, catalog.take(database))
            together = together or bool(missing)
            if rewriting and (whole := joined([*rewriting, op], models)):
                parts[-1] = whole, False
                rewriting.append(op)
                continue
            parts += [(note, False) for note in rewrite_notes(effects)]
            if together:
                parts += [(Note(line), False) for line in effects.scans()]
            safe = has_safe_form(op, models, effects, ends)
            parts.append((op, not together and (safe or (online and not effects.rewritten))))
            rewriting = [op] if effects.rewritten and not validations else []
            validations += [(step, True) for step in validation]
            if not missing:
                parts += validations
                validations = []
    return _grouped([*parts, *validations])


def _grouped(parts: Sequence[Part]) -> list[MigrateOperation]:
    """Put adjacent online operations into one block; comments go with what follows them."""
    result: list[MigrateOperation] = []
    notes: list[MigrateOperation] = []
    for (is_note, online), adjacent in groupby(
        parts, key=lambda part: (isinstance(part[0], Note), part[1])
    ):
        ops = [op for op, _ in adjacent]
        if is_note:
            notes = ops
            continue
        result += [Online([*notes, *ops])] if online else [*notes, *ops]
        notes = []
    return [*result, *notes]


def _not_valid(
    op: MigrateOperation, missing: Sequence[Gap], models: Models
) -> tuple[MigrateOperation, list[MigrateOperation]]:
    """Return the operation with a missing foreign key or check as NOT VALID, and what validates that later.

    Alembic's change of a column's type adds the check of the new type as well.
    """
    soft = {(gap.table, gap.name) for gap in missing if gap.not_valid}
    validations: list[MigrateOperation] = []
    pieces = []
    for piece in statements(text(op, models)) if soft else ():
        each = forms.parse(piece)
        is_soft = (
            each and each.form == "constraint" and (Name.read(each.table), bare(each.name)) in soft
        )
        pieces.append(f"{each.sql} NOT VALID;" if each and is_soft else f"{piece};")
        if each and is_soft:
            validate = f"ALTER TABLE {each.table} VALIDATE CONSTRAINT {each.name};"
            validations.append(RunSql(validate))
    return (RunSql("\n".join(pieces)) if validations else op), validations

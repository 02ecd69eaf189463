"""The implementation of `op.backfill`, as a step of the journal."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations

from postgres_database.errors import ExpectedError
from postgres_database.history.operations import UNFILLED, FillColumns
from postgres_database.online import backfill
from postgres_database.online.backfill import Backfill
from postgres_database.online.steps import autocommit, is_outside
from postgres_database.running.autocommit import Autocommit
from postgres_database.running.context import of as context_of
from postgres_database.running.journal import Journal
from postgres_database.server.transactions import is_ours

LOG = logging.getLogger("alembic.op.backfill")


def register() -> None:
    """Register the implementation with Alembic (Alembic documentation, "Operation Plugins")."""
    Operations.implementation_for(FillColumns, replace=True)(_fill)


class _JournalCheckpoint:
    """A `backfill.Checkpoint` in the journal; without a journal it saves nothing."""

    def __init__(self, journal: Journal | None, sql: str) -> None:
        self._journal = journal
        self._sql = sql

    def load(self) -> Sequence[str] | None:
        return self._journal.position(self._sql) if self._journal else None

    def save(self, cursor: Any, place: Sequence[str]) -> None:
        if self._journal:
            self._journal.move(cursor, self._sql, place)


def _fill(on: Operations, operation: FillColumns) -> None:
    context = on.get_context()
    work = Backfill(
        operation.schema or "",
        operation.table_name,
        {column: value or "NULL" for column, value in operation.values.items()},
        operation.where,
        operation.milliseconds,
    )
    if empty := [column for column, value in operation.values.items() if value is None]:
        _require_values(on, operation, work, ", ".join(empty))
        return
    sql = backfill.statement(work)
    if context.as_sql:
        context.impl.static_output(f"{sql};\n")
        return
    if not is_ours(on.get_bind()):
        LOG.warning("one UPDATE, whose rows stay locked to its end: the driver is not psycopg2")
        on.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})
        return
    journal = context_of(on.get_bind()).journal
    if journal and journal.take(sql):
        return
    with nullcontext() if is_outside(on.get_bind()) else autocommit(context):
        backfill.run(Autocommit(on.get_bind()), work, _JournalCheckpoint(journal, sql))
        if journal:
            journal.did(sql)
            journal.write()


def _require_values(on: Operations, operation: FillColumns, work: Backfill, columns: str) -> None:
    """Raise ExpectedError if the table has rows: the script has no expression for these columns.

    In offline mode the error goes to the option UNFILLED of the context, if it is set.
    """
    context = on.get_context()
    error = ExpectedError(
        f"the script has no values for the rows of {operation.table_name} in {columns}",
        cause="its op.backfill has None instead of an expression",
        hint='invoke edit   (write a SQL expression there, such as "lower(name)" or "\'none\'")',
    )
    if context.as_sql:
        if not (note := context.opts.get(UNFILLED)):
            raise error
        note(work.sql, error)
        return
    table = sa.table(operation.table_name, schema=operation.schema)
    rows = sa.select(sa.literal(1)).select_from(table).limit(1)
    if on.get_bind().execute(rows).first():
        raise error
    if not is_ours(on.get_bind()):
        return
    with nullcontext() if is_outside(on.get_bind()) else autocommit(context):
        backfill.require_key_or_pages(Autocommit(on.get_bind()), work)

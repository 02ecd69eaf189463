"""Every operation of a script is a step: `register` wraps what Alembic does for its operations.

In an online block, a step is a transaction of its own, or a statement in its safe form that commits by itself. The
commit of a step also records it in the journal, and a recorded step is not run again. So a script with several
transactions can be interrupted at any time and run again.
"""

import io
import logging
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy as sa
from alembic.operations import BatchOperations, MigrateOperation, Operations, ops, toimpl
from alembic.runtime.migration import MigrationContext
from psycopg2.errors import ActiveSqlTransaction, InvalidTransactionTermination
from sqlalchemy.exc import DBAPIError

from postgres_database.errors import ExpectedError
from postgres_database.history import operations
from postgres_database.history.env_script import EnvError
from postgres_database.history.operations import ExecuteFile, Online, RunSql
from postgres_database.online import forms, partitions
from postgres_database.online.forms import Statement
from postgres_database.running import guard
from postgres_database.running.autocommit import Autocommit
from postgres_database.running.context import of as context_of
from postgres_database.running.journal import Journal
from postgres_database.server.transactions import is_ours
from postgres_database.sql.names import bare, literal
from postgres_database.sql.syntax import statements

IMPLEMENTATIONS: dict[type[MigrateOperation], Any] = {
    ops.AddColumnOp: toimpl.add_column,
    ops.AddConstraintOp: toimpl.create_constraint,
    ops.AlterColumnOp: toimpl.alter_column,
    ops.BulkInsertOp: toimpl.bulk_insert,
    ops.CreateIndexOp: toimpl.create_index,
    ops.CreateTableCommentOp: toimpl.create_table_comment,
    ops.CreateTableOp: toimpl.create_table,
    ops.DropColumnOp: toimpl.drop_column,
    ops.DropConstraintOp: toimpl.drop_constraint,
    ops.DropIndexOp: toimpl.drop_index,
    ops.DropTableCommentOp: toimpl.drop_table_comment,
    ops.DropTableOp: toimpl.drop_table,
    ops.ExecuteSQLOp: toimpl.execute_sql,
    ops.RenameTableOp: toimpl.rename_table,
    ExecuteFile: operations.execute_file,
    RunSql: operations.run_sql,
}
"""The wrapped implementation of each operation (Alembic documentation, "Extending Existing Operations")."""
SQL = (ops.ExecuteSQLOp, ExecuteFile, RunSql)
"""Operations with handwritten SQL."""
ONLINE = ContextVar("ONLINE", default=False)
"""Whether an online block is open."""
INVALID = """
    SELECT indexrelid::pg_catalog.regclass::pg_catalog.text
    FROM pg_catalog.pg_index JOIN pg_catalog.pg_class ON pg_class.oid OPERATOR(pg_catalog.=) indexrelid
    WHERE indrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass({}) AND relname OPERATOR(pg_catalog.=) {}
      AND relkind OPERATOR(pg_catalog.=) 'i' AND NOT indisvalid
"""
OF_SESSION = ("SET", "RESET", "SHOW", "DISCARD", "LISTEN", "SAVEPOINT", "RELEASE", "ROLLBACK")
"""Statements that concern only the session: no steps, so they also run again when a script is resumed."""


def register() -> None:
    """Register the wrapped implementations and that of `op.online` with Alembic."""
    Operations.implementation_for(Online, replace=True)(_online)
    for kind, implementation in IMPLEMENTATIONS.items():
        Operations.implementation_for(kind, replace=True)(partial(_step, implementation))


def _step(implementation: Any, on: Any, operation: MigrateOperation) -> Any:
    """Run an operation; as a step of the journal if it commits by itself or the script can be resumed."""
    context = on.get_context()
    run = partial(implementation, on, operation)
    models = context.opts.get("target_metadata")
    if isinstance(operation, SQL):
        guard.require_no_control(text(operation, models))
    if isinstance(on, BatchOperations) or (context.as_sql and not ONLINE.get()):
        return run()
    if context.as_sql:
        for each in _offline(statements(text(operation, models))):
            context.impl.static_output(f"{each};\n")
        return None
    return (_with_journal if is_ours(on.get_bind()) else _elsewhere)(on, operation, run)


def _with_journal(on: Any, operation: MigrateOperation, run: Callable[[], Any]) -> Any:
    """Run an operation on a connection of psycopg2."""
    context, connection = on.get_context(), on.get_bind()
    models = context.opts.get("target_metadata")
    journal = context_of(connection).journal
    outside = is_outside(connection)
    if not outside and not (journal and journal.resumable):
        return run()
    sql = text(operation, models)
    if sql.lstrip().partition(" ")[0].rstrip(";\n").upper() in OF_SESSION:
        return run()
    if outside:
        _outside(Autocommit(connection), journal, sql, run)
    elif journal and not journal.take(sql):
        made = run()
        journal.did(sql)
        return made
    return operation.to_table(context) if isinstance(operation, ops.CreateTableOp) else None


def _offline(pieces: Sequence[str]) -> Iterator[str]:
    """Yield statements in their safe forms, for Alembic's offline mode."""
    builds, rest = forms.parse_swap(pieces)
    if partitions.parse_move(pieces):
        yield from ["BEGIN", *map(str.strip, pieces), "COMMIT"]
        return
    for piece in [each.sql for each in builds] or pieces:
        statement = forms.parse(piece)
        yield from forms.offline(statement) if statement else [piece.strip()]
    yield from ["BEGIN", *rest, "COMMIT"] if builds else []


def _elsewhere(on: Any, operation: MigrateOperation, run: Callable[[], Any]) -> Any:
    """Run an operation where plain Alembic uses another driver: in an online block as offline mode prints it.

    Raises:
        ExpectedError: An index that is there is not valid: it was left by a build that was interrupted.
    """
    models = on.get_context().opts.get("target_metadata")
    pieces = statements(text(operation, models)) if ONLINE.get() else []
    if not (partitions.parse_move(pieces) or any(map(forms.parse, pieces))):
        return run()
    send = partial(on.get_bind().exec_driver_sql, execution_options={"no_parameters": True})
    for each in _offline(pieces):
        send(each)
        built = forms.parse(each)
        if built and built.form == "index":
            names = literal(built.table), literal(bare(built.name))
            if invalid := send(INVALID.format(*names)).scalar():
                drop = shlex.quote(f"DROP INDEX {invalid}")
                raise ExpectedError(
                    f"the index {invalid} is not valid: an earlier build of it was interrupted",
                    hint=f"invoke psql --command {drop}   (then the same command again)",
                )
    return None


def _outside(
    session: Autocommit, journal: Journal | None, sql: str, run: Callable[[], Any]
) -> None:
    """Run the statements of an operation outside of a transaction: each in its safe form, or else as a step.

    If no statement has a safe form, the operation is one step, which `run` runs.
    """
    pieces = statements(sql)
    builds, rest = forms.parse_swap(pieces) if ONLINE.get() else ([], [])
    if builds:
        _swap(session, journal, sql, builds, rest)
        return
    if ONLINE.get() and (moved := partitions.parse_move(pieces)):
        if not (journal and journal.take(sql)):
            partitions.move(session, pieces, moved, partial(_record, journal, sql))
        return
    parsed = [(piece, forms.parse(piece)) for piece in pieces]
    safe = [each for _, each in parsed if each and (ONLINE.get() or each.concurrent)]
    if not safe:
        _run_once(session, journal, sql, run)
    for piece, statement in parsed if safe else ():
        if statement in safe:
            partitions.run(session, statement)
        else:
            _run_once(session, journal, piece, partial(session.run, piece))


def _swap(
    session: Autocommit,
    journal: Journal | None,
    sql: str,
    builds: Sequence[Statement],
    rest: Sequence[str],
) -> None:
    """Build indexes and replace old ones by them.

    Recorded in the journal: after the renames, the catalog does not show whether the swap is finished.
    """
    if journal and journal.take(sql):
        return
    for each in builds:
        partitions.run(session, each)
    parts = [part for each in builds for part in partitions.earlier_names(session, each)]
    with session.transaction() as cursor:
        for piece in rest:
            cursor.execute(piece)
        partitions.take_earlier_names(cursor, parts)
        _record(journal, sql)


def _record(journal: Journal | None, sql: str) -> None:
    if journal:
        journal.did(sql)
        journal.write()


def _run_once(
    session: Autocommit, journal: Journal | None, sql: str, run: Callable[[], Any]
) -> None:
    """Run a step that the journal does not have, in a transaction of its own if PostgreSQL allows that."""
    if journal and journal.take(sql):
        return

    def step() -> None:
        run()
        _record(journal, sql)

    try:
        with session.transaction():
            step()
    except (DBAPIError, psycopg2.Error) as error:
        original = error.orig if isinstance(error, DBAPIError) else error
        # VACUUM and others do not run in a transaction block; a procedure may commit
        if not isinstance(original, (ActiveSqlTransaction, InvalidTransactionTermination)):
            raise
        with session.unlimited():
            step()


def text(operation: MigrateOperation, models: Any) -> str:
    """Return the SQL of an operation.

    Args:
        operation: From a script or a draft.
        models: Alembic's `target_metadata`: its naming convention names constraints.

    Returns:
        The SQL of Alembic's offline mode; the name of the operation's class if it cannot be printed without a database.

    Raises:
        ExpectedError: The models cannot be loaded.
    """
    if isinstance(operation, RunSql):
        return operation.text
    if isinstance(operation, ExecuteFile):
        return operation.path.read_bytes().decode()
    context, output = _printer(models)
    try:
        _implementation(operation)(Operations(context), operation)
    except ExpectedError:
        raise
    except Exception:  # noqa: BLE001 - whatever a type of the application may raise
        return type(operation).__name__
    return output.getvalue().strip()


def _printer(models: Any) -> tuple[MigrationContext, io.StringIO]:
    """Return a context in Alembic's offline mode, without its log message, and the buffer that it prints to."""
    output = io.StringIO()
    log = logging.getLogger("alembic.runtime.migration")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        context = MigrationContext.configure(
            dialect_name="postgresql",
            dialect_opts={"paramstyle": "named"},
            opts={
                "as_sql": True,
                "literal_binds": True,
                "output_buffer": output,
                "target_metadata": models,
            },
        )
    finally:
        log.setLevel(level)
    return context, output


def _implementation(operation: MigrateOperation) -> Any:
    return next(
        IMPLEMENTATIONS[kind] for kind in type(operation).__mro__ if kind in IMPLEMENTATIONS
    )


def is_outside(connection: sa.Connection) -> bool:
    """Tell whether the connection is in autocommit mode, outside of the script's transaction."""
    driver: Any = connection.connection.driver_connection
    return bool(driver.autocommit)


def _online(on: Operations, _operation: Online) -> AbstractContextManager[None]:
    return _block(on.get_context())


@contextmanager
def autocommit(context: MigrationContext) -> Iterator[None]:
    """Commit each statement of the block by itself.

    Raises:
        EnvError: env.py began the transaction, so that nobody else may commit it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(context.autocommit_block())
        except AssertionError as error:  # Alembic has no transaction to commit
            env = _env_script(context)
            raise EnvError(
                f"{env} leaves no room for what is done beside live traffic",
                cause="it begins a transaction itself, and op.online and op.backfill commit what is before them",
                hint=f"${{EDITOR:-vi}} {env}   (run context.run_migrations() in context.begin_transaction(), and"
                " begin no other; or online = false in alembic.ini, so that no such script is written)",
            ) from error
        yield


def _env_script(context: MigrationContext) -> str:
    """Return the path of env.py from the project's root."""
    if not (around := context.environment_context):
        return "env.py"
    root = Path(around.config.config_file_name or "").parent
    return os.path.relpath(around.script.env_py_location, root)


@contextmanager
def _block(context: MigrationContext) -> Iterator[None]:
    with autocommit(context):
        token = ONLINE.set(True)
        try:
            yield
        finally:
            ONLINE.reset(token)

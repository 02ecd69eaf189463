"""What `migration/env.py` does: run migrations for our commands and for plain `alembic`.

Our commands hand over a connection in `config.attributes` (Alembic cookbook, "Sharing a
Connection"); plain `alembic` finds its target by the same settings as they do.
"""

import logging.config
from functools import partial
from pathlib import Path
from typing import Any

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import UpgradeOps
from alembic.util import CommandError, DispatchPriority, PriorityDispatchResult

from postgres_database.errors import ExpectedError
from postgres_database.history import project as projects
from postgres_database.history.project import Project
from postgres_database.online import filling, steps
from postgres_database.running import execution, journal, stamped
from postgres_database.server import embedded, transactions
from postgres_database.server import environment as environments
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.server.version_table import VersionTable


def register() -> None:
    """Implement `op.online` and `op.backfill`, and make each operation a step; an env.py of your own calls this."""
    steps.register()
    filling.register()


def run(context: Any) -> None:
    """Run the migrations that Alembic's `context` asks for."""
    register()
    attributes = context.config.attributes
    if "project" in attributes:
        _run(context, attributes["project"])
        return
    logging.config.fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    try:
        environment = environments.load(root=Path(context.config.config_file_name).resolve().parent)
        project = projects.load(environment.root, environment.models)
        attributes["target_metadata"] = project.models()
        _run(context, project, environment)
    except ExpectedError as error:
        raise CommandError(str(error)) from error  # alembic shows it without a traceback


def _run(context: Any, project: Project, environment: Environment | None = None) -> None:
    if context.is_offline_mode():
        # The pyformat style of psycopg2 would double every % in the script that is printed.
        _migrate(
            context,
            dialect_name="postgresql",
            literal_binds=True,
            version_table=project.versions.name,
            version_table_schema=project.versions.schema or None,
            dialect_opts={"paramstyle": "named"},
        )
    elif connected := context.config.attributes.get("connection"):
        _migrate(context, connection=connected)
    elif environment:
        target = embedded.target(environment, project.versions)
        with target.connect() as connected:
            transactions.limit_waits(connected, environment)
            with connected.begin(), transactions.driven(connected) as ours:
                where = stamped.placement(target, *ours).options
            settle = partial(_settle, project, target)
            _migrate(context, connection=connected, on_version_apply=settle, **where)


def _settle(
    project: Project, database: Database, *, ctx: Any, heads: set[str], step: Any, **_: Any
) -> None:
    """Write into the log that plain Alembic has brought the database to another revision."""
    scripts = project.history
    with transactions.driven(ctx.connection) as ours:
        journal.settle(
            database,
            *ours,
            execution.adjacent(scripts, (head for head in heads if head in scripts)),
            step.up_revision_ids,
        )


@comparators.dispatch_for("autogenerate", priority=DispatchPriority.LAST)
def _all_but_ours(autogen: AutogenContext, upgrade: UpgradeOps) -> PriorityDispatchResult:
    """Keep the tables of Alembic and ours out of what plain `alembic` compares with the models.

    Alembic itself leaves out its own only if it was given no schema.
    """
    versions = VersionTable(autogen.migration_context.version_table)
    ours = {versions.name, versions.log}
    upgrade.ops = [
        operation for operation in upgrade.ops if getattr(operation, "table_name", "") not in ours
    ]
    return PriorityDispatchResult.CONTINUE


def _migrate(context: Any, **how: Any) -> None:
    attributes = context.config.attributes
    options = {
        "target_metadata": attributes["target_metadata"],
        "transaction_per_migration": True,
        "compare_server_default": True,
        **how,
    }
    context.configure(**options)
    if "project" not in attributes and (connected := how.get("connection")):
        steps_of = context.get_context().opts["fn"]  # of Alembic's own command

        def scripts(*arguments: Any) -> Any:
            with transactions.scripted(
                connected
            ):  # autogenerate compares here, in the usual schema
                steps = [*steps_of(*arguments)]
            return transactions.scripts(connected, steps)

        context.configure(**options, fn=scripts)
    with context.begin_transaction():
        context.run_migrations()

"""The commands for the embedded server, and psql."""

import os
import sys

from invoke import Context

from postgres_database.commands.command import command
from postgres_database.tasks.shared import ENV, project_alone, project_and_environment


@command()
def start(c: Context) -> None:
    """Start the embedded PostgreSQL, unless it runs."""
    from postgres_database.console import show
    from postgres_database.server import embedded

    _, environment = project_alone()
    show.servers([("running", embedded.server_at(environment.root).ensure_running())])


@command()
def stop(c: Context) -> None:
    """Stop the embedded PostgreSQL; its data stays."""
    from postgres_database.console import show
    from postgres_database.server import embedded

    _, environment = project_alone()
    servers = [embedded.server_at(environment.root, durable=durable) for durable in (True, False)]
    stopped = [one for one in servers if one.stop()]
    show.servers([("stopped", one.home) for one in stopped] or [("stopped", "nothing was running")])


@command(
    help={
        "env": ENV,
        "command": "run this SQL and exit (default: interactive)",
        "database": "another database of the same server (default: the target)",
        "user": "another role, whose password psql asks for (default: that of the DSN)",
    }
)
def psql(c: Context, env: str = "", command: str = "", database: str = "", user: str = "") -> None:
    """Open psql on the target."""
    from postgres_database.console import terminal
    from postgres_database.server import programs

    project, environment = project_and_environment(env)
    target = terminal.open_target(
        environment, project.versions, quiet=True, name=database, user=user
    )
    program = str(programs.BINARIES / "psql")
    arguments = ["--set=ON_ERROR_STOP=1", f"--command={command}"] if command else []
    sys.stdout.flush()
    variables = programs.encrypting(target.dsn.child_environment())
    os.execve(program, [program, *arguments], variables)  # noqa: S606

"""The commands. Each body is: project and environment, one call, show.

The `tasks.py` of a project imports them by name. What a command needs is imported when it runs, so that `--list` and
`--help` answer at once.
"""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from invoke import Collection, Context, Exit, Program, Task, task

from postgres_database import __version__
from postgres_database.console import command_line
from postgres_database.console.advice import as_typed
from postgres_database.errors import ExpectedError
from postgres_database.history import library_versions
from postgres_database.server import root

# invoke turns this off for everything that it loads; compiling anew would slow each command down.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

INTERRUPTED = 130
FAILED = 1
DIFFERENT = 2
FULL_OR_READ_ONLY = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM)


class Command(Task[Any]):
    """A task that shows an expected failure in three lines; with DEBUG=1 as a traceback."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body; invoke's own --dry becomes the command's dry run, if it has one."""
        context: Context = args[0]
        if context.config.run.dry:
            if "dry_run" not in self.argspec(self.body).parameters:
                raise Exit(as_typed(str(ExpectedError(f"{self.name} has no dry run"))), code=1)
            kwargs["dry_run"] = True
        try:
            library_versions.check()
            here = Path.cwd()
            home = root.find(here) or here if self.name == "init" else root.require_root(here)
            library_versions.check_engine(home / "alembic.ini")
            if not os.environ.get("DEBUG"):  # an env.py may let Alembic log what our commands say
                logging.disable(logging.INFO)
            with contextlib.chdir(home):  # relative paths in alembic.ini and env.py begin there
                return super().__call__(*args, **kwargs)
        except ExpectedError as error:
            if os.environ.get("DEBUG"):
                raise
            raise Exit(as_typed(str(error)), code=1) from error
        except OSError as error:
            if os.environ.get("DEBUG") or error.errno not in FULL_OR_READ_ONLY:
                raise
            raise Exit(as_typed(str(_unwritable(error))), code=FAILED) from error
        except KeyboardInterrupt as error:
            resumed = self.name in {"upgrade", "downgrade"}
            more = "; what is done stays, the same command goes on where it was" if resumed else ""
            raise Exit(f"interrupted{more}", code=INTERRUPTED) from error


def _unwritable(error: OSError) -> ExpectedError:
    """Say which file cannot be written."""
    place = error.filename or "a file"
    return ExpectedError(
        f"{place} cannot be written",
        cause=error.strerror or str(error),
        hint=f"df -h {Path(str(place)).parent}   (the same command again, once there is room and it may be written)",
    )


# invoke takes --help for the value of a required parameter and hands out short flags by itself.
command = partial(task, klass=Command, positional=[], auto_shortflags=False)

ENV = (
    "environment: reads .env.NAME (default: the variable ENV, else .env, else the embedded server)"
)
YES = "answer every question with yes"
JSON = "print one JSON object"
DRY_RUN = "show the plan and change nothing"
SKIP = "do not look beforehand for rows that violate what is required, which reads whole tables"
WAIT = (
    "how long to wait for another command, such as 30s or 5min; 0 does not wait (default: for ever)"
)
SQL = "print SQL instead of running it"


def _project(metadata: str = "") -> Any:
    from postgres_database.history import project

    return project.load(Path.cwd(), metadata)


def _both(env: str = "") -> tuple[Any, Any]:
    """Return the project and the environment."""
    from postgres_database.console import terminal
    from postgres_database.server import environment

    loaded = environment.load(env, root=Path.cwd())
    terminal.warn(loaded)
    return _project(loaded.models), loaded


def _alone() -> tuple[Any, Any]:
    """Return the project, and the environment of a command that works on none: none is read."""
    from postgres_database.server.environment import Environment

    project = _project()
    return project, Environment(project.root)


@command(
    help={
        "fresh": "remove the history that is there and start one of your own",
        "models": "whose models these are, as package.module:name, where alembic.ini does not say it",
        "yes": YES,
    }
)
def init(c: Context, fresh: bool = False, models: str = "", yes: bool = False) -> None:
    """Write what is missing of a project, and nothing else; --fresh starts a history of your own."""
    from postgres_database.console import show_init, terminal
    from postgres_database.server.environment import Environment
    from postgres_database.workflows import initialise

    environment = Environment(Path.cwd())
    result = initialise.init(
        environment.root,
        terminal.Terminal(environment, "init --fresh" if fresh else "init", yes=yes),
        models=models,
        fresh=fresh,
    )
    show_init.show(result)
    if result.left or result.by_hand:
        raise Exit(code=DIFFERENT)


@command(
    aliases=["migrate"],
    iterable=["rename"],
    help={
        "env": "environment: whose models and scratch server (default: the variable ENV)",
        "msg": "what the script is for",
        "empty": "write a script without content, to be filled by hand",
        "rename": "what was renamed: table.column:new, old:new or type.value:new; may be repeated",
        "no_renames": "what was dropped and added at once is no rename",
        "drop_adopted": "drop tables that an adopted database brought, without a question",
        "sql": "also print the script as SQL",
        "json": JSON,
    },
)
def revision(
    c: Context,
    env: str = "",
    msg: str = "",
    empty: bool = False,
    rename: Sequence[str] | None = None,
    no_renames: bool = False,
    drop_adopted: bool = False,
    sql: bool = False,
    json: bool = False,
) -> None:
    """Write the next script from the models and prove it on scratch databases."""
    from postgres_database.console import report, show, terminal
    from postgres_database.workflows import revision as workflow

    project, environment = _alone() if empty and not env else _both(env)
    result = workflow.revision(
        project,
        environment,
        msg,
        empty=empty,
        sql=sql,
        rename=rename or (),
        no_renames=no_renames,
        drop_adopted=drop_adopted,
        listener=terminal.Terminal(environment, "revision", asks=not json),
    )
    if json:
        terminal.raw(report.revision_json(result))
    else:
        show.revision(result)
    if not result.proved:
        raise Exit(code=DIFFERENT if result.path else FAILED)


MOVE = {
    "env": ENV,
    "dry_run": DRY_RUN,
    "sql": SQL + "; --target may be start:end, then no database is asked",
    "skip_row_checks": SKIP,
    "wait": WAIT,
    "yes": YES,
}


@command(help=MOVE | {"target": "a revision, head, or +1 (default head)"})
def upgrade(
    c: Context,
    env: str = "",
    target: str = "head",
    dry_run: bool = False,
    sql: bool = False,
    skip_row_checks: bool = False,
    wait: str = "",
    yes: bool = False,
) -> None:
    """Bring the target to --target, revision by revision."""
    _move("upgrade", env, target, sql, wait, yes, dry_run, skip_row_checks)


@command(help=MOVE | {"target": "a revision, base, or -1; write --target=-1 (default -1)"})
def downgrade(
    c: Context,
    env: str = "",
    target: str = "-1",
    dry_run: bool = False,
    sql: bool = False,
    skip_row_checks: bool = False,
    wait: str = "",
    yes: bool = False,
) -> None:
    """Undo revisions on the target, down to --target; asks first."""
    _move("downgrade", env, target, sql, wait, yes, dry_run, skip_row_checks)


def _move(
    verb: str,
    env: str,
    target: str,
    sql: bool,
    wait: str,
    yes: bool,
    dry_run: bool,
    skip_row_checks: bool,
) -> None:
    from postgres_database.console import show, terminal
    from postgres_database.running import lock
    from postgres_database.workflows import upgrade as workflow

    move = workflow.Move(verb, target, dry_run, skip_row_checks, lock.parse_wait(wait))
    project, environment = _both(env)
    if sql:
        open_target = partial(terminal.open_target, environment, project.versions, quiet=True)
        terminal.raw(workflow.offline(project, environment, open_target, move))
        return
    listener = terminal.Terminal(environment, verb, yes=yes)
    database = terminal.open_target(environment, project.versions)
    result = workflow.perform(project, environment, database, move, listener)
    if move.dry_run:
        show.plan(result, verb)
        if result.violations:
            raise Exit(code=DIFFERENT)
    else:
        show.upgrade(result, verb)


@command(
    help={
        "env": ENV,
        "msg": "what the revision is called (default: Init tables)",
        "with_models": "write the next revision at once, if the models differ",
        "wait": WAIT,
        "yes": YES,
    }
)
def baseline_existing(
    c: Context,
    env: str = "",
    msg: str = "Init tables",
    with_models: bool = False,
    wait: str = "",
    yes: bool = False,
) -> None:
    """Adopt a database that is online: its schema becomes the first revision, its data stays."""
    from postgres_database.console import show, terminal
    from postgres_database.running import lock
    from postgres_database.workflows import baseline
    from postgres_database.workflows import revision as workflow

    seconds, (project, environment) = lock.parse_wait(wait), _both(env)
    database = terminal.open_target(environment, project.versions)
    listener = terminal.Terminal(environment, "baseline-existing", yes=yes)
    result = baseline.baseline(
        project,
        environment,
        database,
        msg,
        wait=seconds,
        with_models=with_models,
        listener=listener,
    )
    show.baseline(result, environment)
    if not result.revision:
        raise Exit(code=DIFFERENT)
    if with_models and (result.unlike_models or result.path is None) and not result.pending:
        written = workflow.revision(
            project.anew(),
            environment,
            "What the models say",
            listener=listener,
        )
        show.revision(written)
        if not written.proved:
            raise Exit(code=DIFFERENT)


@command(
    help={
        "env": "also compare the target of this environment with its revision (default: the variable ENV)",
        "fresh": "run the whole history again: forget what is kept of it on the scratch server",
        "json": JSON,
    }
)
def check(c: Context, env: str = "", fresh: bool = False, json: bool = False) -> None:
    """Tell whether models and history agree, and the target with its revision; exit code 2 if not."""
    from postgres_database.console import report, show, terminal
    from postgres_database.server import embedded
    from postgres_database.workflows import check as workflow

    project, environment = _both(env)
    target = embedded.target(environment, project.versions) if environment.name else None
    result = workflow.check(project, environment, target, fresh=fresh)
    if json:
        terminal.raw(report.check_json(result))
    else:
        show.check(result)
    if not result.clean:
        raise Exit(code=DIFFERENT)


@command(
    help={
        "env": "only this environment (default: all that have a file, and the default one)",
        "json": JSON,
    }
)
def status(c: Context, env: str = "", json: bool = False) -> None:
    """Show where the target of each environment stands and what is pending."""
    from postgres_database.console import report, show, terminal
    from postgres_database.server import environment
    from postgres_database.workflows import status as workflow

    named = env or os.environ.get("ENV", "")
    environments = (
        [env] if env else list(dict.fromkeys([named, *environment.env_files(Path.cwd())]))
    )
    # The history is in the repository: no environment's faults keep us from reading it.
    project = _project()
    scripts = project.history
    result = workflow.status(scripts, environments, project.root)
    if json:
        terminal.raw(report.status_json(result))
    else:
        show.status(result, scripts.heads)


@command(help={"env": ENV})
def current(c: Context, env: str = "") -> None:
    """Show the revision that the target is at."""
    from postgres_database.console import show, terminal
    from postgres_database.running import missing_scripts, runner

    project, environment = _both(env)
    scripts = project.history
    target = terminal.open_target(environment, project.versions)
    with runner.open_runner(project, target) as run:
        ids = run.current()
    missing_scripts.require_scripts(scripts, target, ids)
    show.current([scripts[revision_id] for revision_id in ids], scripts.heads)


def _alembic(name: str, *args: Any, **options: Any) -> None:
    """Run a command of Alembic that needs no database, and print what it prints."""
    from postgres_database.console import terminal
    from postgres_database.running import runner

    terminal.raw(runner.alembic(_project(), name, *args, **options))


@command(
    help={
        "env": "show instead what was run on the target of this environment, when, by whom and how it ended",
        "range": "from:to (default: all)",
        "verbose": "show all of each script's header",
    }
)
def history(c: Context, env: str = "", range: str = "", verbose: bool = False) -> None:  # noqa: A002
    """List the revisions, newest first; with --env what was run on a target."""
    if not env:
        _alembic("history", rev_range=range or None, verbose=verbose)
        return
    from postgres_database.console import show, terminal
    from postgres_database.running import journal

    project, environment = _both(env)
    target = terminal.open_target(environment, project.versions)
    show.log(journal.read(target), project.history)


@command(help={"verbose": "show all of each script's header"})
def heads(c: Context, verbose: bool = False) -> None:
    """Show the end of the history; several heads need a merge."""
    _alembic("heads", verbose=verbose)


@command(help={"verbose": "show all of each script's header"})
def branches(c: Context, verbose: bool = False) -> None:
    """Show the revisions that more than one follows."""
    _alembic("branches", verbose=verbose)


@command(help={"target": "a revision (default head)"})
def show(c: Context, target: str = "head") -> None:
    """Show the header of a script."""
    _alembic("show", target)


@command(help={"target": "a revision (default head)"})
def edit(c: Context, target: str = "head") -> None:
    """Open a script in $EDITOR."""
    _alembic("edit", target)


@command(
    help={
        "msg": "what is merged (default: Merge the heads)",
        "target": "revisions, with commas (default heads)",
    }
)
def merge(c: Context, msg: str = "Merge the heads", target: str = "heads") -> None:
    """Join several heads by a revision that runs nothing."""
    from postgres_database.console import terminal
    from postgres_database.history import script_files

    project, environment = _alone()
    listener = terminal.Terminal(environment, "merge")
    path = script_files.merge(project, msg, target.split(","), listener.wait)
    terminal.say(f"wrote     {path}")


@command(
    help={
        "env": ENV,
        "target": "a revision or base (default head)",
        "purge": "forget what is stamped before; for a revision whose script is lost",
        "wait": WAIT,
        "yes": YES,
    }
)
def stamp(
    c: Context,
    env: str = "",
    target: str = "head",
    purge: bool = False,
    wait: str = "",
    yes: bool = False,
) -> None:
    """Write a revision into the target without running anything."""
    from postgres_database.console import terminal
    from postgres_database.running import lock
    from postgres_database.workflows import stamp as workflow

    seconds, (project, environment) = lock.parse_wait(wait), _both(env)
    done = workflow.stamp(
        project,
        environment,
        terminal.open_target(environment, project.versions),
        target,
        purge=purge,
        wait=seconds,
        listener=terminal.Terminal(environment, "stamp", yes=yes),
    )
    terminal.say(f"stamped   {done}")


@command()
def start(c: Context) -> None:
    """Start the embedded PostgreSQL, unless it runs."""
    from postgres_database.console import show
    from postgres_database.server import embedded

    _, environment = _alone()
    show.servers([("running", embedded.server_at(environment.root).ensure_running())])


@command()
def stop(c: Context) -> None:
    """Stop the embedded PostgreSQL; its data stays."""
    from postgres_database.console import show
    from postgres_database.server import embedded

    _, environment = _alone()
    servers = [embedded.server_at(environment.root, durable=durable) for durable in (True, False)]
    stopped = [one for one in servers if one.stop()]
    show.servers([("stopped", one.home) for one in stopped] or [("stopped", "nothing was running")])


@command(
    help={
        "env": ENV,
        "command": "run this SQL and exit (default: interactive)",
        "database": "another database of the same server (default: the target)",
    }
)
def psql(c: Context, env: str = "", command: str = "", database: str = "") -> None:
    """Open psql on the target."""
    from postgres_database.console import terminal
    from postgres_database.server import programs

    project, environment = _both(env)
    target = terminal.open_target(environment, project.versions, quiet=True, name=database)
    program = str(programs.BINARIES / "psql")
    arguments = ["--set=ON_ERROR_STOP=1", f"--command={command}"] if command else []
    sys.stdout.flush()
    variables = programs.encrypting(target.dsn.child_environment())
    os.execve(program, [program, *arguments], variables)  # noqa: S606


def understand(name: str) -> None:
    """End a command that Invoke would not understand, with what was probably meant; nothing is run then.

    Invoke itself answers "No idea what 'production' is!", and takes a second command for meant.

    Args:
        name: Of the module that has the commands.
    """
    if "invoke" in sys.argv[0] or Path(sys.argv[0]).name == "inv":
        _require_understood(Collection.from_module(sys.modules[name]))


def main() -> None:
    """Run `postgres-database`: the same commands where there is no tasks.py."""
    commands = Collection.from_module(sys.modules[__name__])
    try:
        _require_understood(commands)
    except Exit as error:
        sys.exit(f"{error}")
    Program(namespace=commands, name="postgres-database", version=__version__).run()


def _require_understood(commands: Collection) -> None:
    try:
        command_line.require_understood(sys.argv[1:], commands, root.find(Path.cwd()) or Path.cwd())
    except ExpectedError as error:
        raise Exit(as_typed(str(error)), code=FAILED) from error

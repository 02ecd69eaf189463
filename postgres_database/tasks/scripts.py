"""The commands for scripts: none of them touches a target, but `history --env`, which reads its log."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from invoke import Context, Exit

from postgres_database.commands.command import DIFFERENT, FAILED, command
from postgres_database.errors import without_blanks_at_ends
from postgres_database.tasks.shared import (
    JSON,
    YES,
    project_alone,
    project_and_environment,
    project_here,
)


@command(
    help={
        "fresh": "remove the history that is there and start one of your own",
        "models": "the models, as package.module:name, if alembic.ini does not name them",
        "yes": YES,
    }
)
def init(c: Context, fresh: bool = False, models: str = "", yes: bool = False) -> None:
    """Write what is missing of a project, and nothing else; --fresh starts a history of your own."""
    from postgres_database.console import show_init, terminal
    from postgres_database.server.environment import Environment
    from postgres_database.workflows import init as workflow

    environment = Environment(Path.cwd())
    result = workflow.set_up(
        environment.root,
        terminal.Terminal(environment, yes=yes),
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
        "env": "environment: its models and scratch server are used (default: the variable ENV)",
        "msg": "what the script is for",
        "empty": "write a script without content, to be filled by hand",
        "rename": "what was renamed: table.column:new, old:new or type.value:new; may be repeated",
        "no_renames": "take nothing that was dropped and added for a rename",
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

    project, environment = project_alone() if empty and not env else project_and_environment(env)
    result = workflow.write(
        project,
        environment,
        msg,
        empty=empty,
        sql=sql,
        rename=rename or (),
        no_renames=no_renames,
        drop_adopted=drop_adopted,
        listener=terminal.Terminal(environment, asks=not json),
    )
    if json:
        terminal.raw(report.revision_json(result))
    else:
        show.revision(result)
    if not result.proved:
        raise Exit(code=DIFFERENT if result.path else FAILED)


def _alembic(name: str, *args: Any, **options: Any) -> None:
    """Run a command of Alembic that needs no database, and print what it prints."""
    from postgres_database.console import terminal
    from postgres_database.running import runner

    printed = runner.alembic(project_here(), name, *args, **options)
    terminal.raw(without_blanks_at_ends(printed))


@command(
    help={
        "env": "show instead what was run on the target of this environment, when, by whom and how it ended",
        "range": "from:to (default: all)",
        "verbose": "show all of each script's header",
        "json": JSON,
    }
)
def history(
    c: Context,
    env: str = "",
    range: str = "",  # noqa: A002
    verbose: bool = False,
    json: bool = False,
) -> None:
    """List the revisions, newest first; with --env what was run on a target."""
    if not env and not json:
        _alembic("history", rev_range=range or None, verbose=verbose)
        return
    from postgres_database.console import report, show, terminal
    from postgres_database.reviewing import durations
    from postgres_database.running import log

    if not env:
        terminal.raw(report.history_json(project_here().history.between(range)))
        return
    project, environment = project_and_environment(env)
    target = terminal.open_target(environment, project.versions, quiet=json)
    entries = log.read(target)
    estimates, fault = durations.kept(project.root, target.dsn.place)
    if fault:
        terminal.Terminal(environment, quiet=json).note(fault)
    if json:
        terminal.raw(report.log_json(entries, estimates))
    else:
        show.log(entries, project.history, estimates)


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

    project, environment = project_alone()
    listener = terminal.Terminal(environment)
    path = script_files.merge(project, msg, target.split(","), listener.wait)
    terminal.say(f"wrote     {path}")


@command(
    help={
        "env": "environment: its models and scratch server are used (default: the variable ENV)",
        "revision": "the first revision that is moved (default: the first one that git's main branch has not)",
        "json": JSON,
    }
)
def rebase(c: Context, env: str = "", revision: str = "", json: bool = False) -> None:
    """Put my revisions on top of the other head and prove them there, instead of a merge."""
    from postgres_database.console import report, show, terminal
    from postgres_database.workflows import rebase as workflow

    project, environment = project_and_environment(env)
    listener = terminal.Terminal(environment, asks=not json)
    result = workflow.perform(project, environment, revision, listener)
    if json:
        terminal.raw(report.rebase_json(result))
    else:
        show.rebase(result)


@command(
    help={
        "env": "environment: its scratch server is used (default: the variable ENV)",
        "target": "the last revision that is replaced (default head)",
        "msg": "what the new revision is called (default: as the last one that it replaces)",
        "json": JSON,
    }
)
def squash(
    c: Context, env: str = "", target: str = "head", msg: str = "", json: bool = False
) -> None:
    """Put one revision in place of a long history, proved equal; keep the others."""
    from postgres_database.console import report, show, terminal
    from postgres_database.workflows import squash as workflow

    project, environment = project_and_environment(env)
    listener = terminal.Terminal(environment, asks=not json)
    result = workflow.perform(project, environment, target, msg, listener)
    if json:
        terminal.raw(report.squash_json(result))
    else:
        show.squash(result)

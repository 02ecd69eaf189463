"""The commands for databases."""

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from invoke import Context, Exit

from postgres_database.commands.command import DIFFERENT, command
from postgres_database.errors import ExpectedError
from postgres_database.tasks.shared import (
    DRY_RUN,
    ENV,
    JSON,
    SKIP,
    SQL,
    WAIT,
    YES,
    parse_wait,
    project_and_environment,
    project_here,
)

MOVE = {
    "env": ENV,
    "dry_run": DRY_RUN,
    "sql": SQL + "; with --target start:end no database is needed",
    "skip_row_checks": SKIP,
    "wait": WAIT,
    "yes": YES,
    "json": JSON,
}


@command(
    help=MOVE
    | {
        "target": "a revision, head, or +1 (default head)",
        "plan": "run exactly what `review --plan` wrote to this file; nothing, if anything has changed since",
        "all_envs": "upgrade every environment that has a file .env.NAME; one that fails does not stop the others",
        "fast": "on an empty database: restore a dump that is proved equal to what the revisions make",
        "at_once": "with --all-envs: how many are upgraded at the same time (default 4)",
    }
)
def upgrade(
    c: Context,
    env: str = "",
    all_envs: bool = False,
    at_once: str = "4",
    target: str = "",
    plan: str = "",
    fast: bool = False,
    dry_run: bool = False,
    sql: bool = False,
    skip_row_checks: bool = False,
    wait: str = "",
    yes: bool = False,
    json: bool = False,
) -> None:
    """Bring the target to --target, revision by revision."""
    if plan and (target or sql or fast):
        other = "--target" if target else "--sql" if sql else "--fast"
        raise ExpectedError(
            f"--plan does not go with {other}",
            cause="a plan runs all revisions that were reviewed, where the target is as it was then",
            hint=f"invoke upgrade --plan {plan}",
        )
    if all_envs:
        switches = {
            "--fast": fast,
            "--dry-run": dry_run,
            "--skip-row-checks": skip_row_checks,
            "--yes": yes,
        }
        options = [name for name, chosen in switches.items() if chosen]
        options += [f"--wait={wait}"] if wait else []
        options += [f"--target={target}"] if target else []
        options += [f"--plan={plan}"] if plan else []
        command = ["upgrade", *options]
        _upgrade_all(command, at_once, env or sql or json, whole=dry_run)
        return
    _move(
        "upgrade", env, target or "head", sql, wait, yes, dry_run, skip_row_checks, json, plan, fast
    )


def _upgrade_all(command: Sequence[str], at_once: str, others: object, *, whole: bool) -> None:
    """Run a command on all environments that have a file."""
    from postgres_database.console import each
    from postgres_database.server import environment

    names = [*environment.env_files(Path.cwd())]
    hint = "invoke upgrade --all-envs"
    if others:
        raise ExpectedError("--all-envs does not go with --env, --sql and --json", hint=hint)
    if not re.fullmatch(r"[1-9]\d{0,3}", at_once):
        raise ExpectedError(
            f"--at-once {at_once} is not a number of environments", hint=f"{hint} --at-once 4"
        )
    if not names:
        raise ExpectedError(
            "there is no environment with a file",
            cause="no .env.NAME is in the root of the project",
            hint="cp .env.example .env.production   (and its POSTGRES_DSN)",
        )
    if code := each.run(names, command, int(at_once), whole=whole):
        raise Exit(code=code)


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
    json: bool = False,
) -> None:
    """Undo revisions on the target, down to --target; asks first."""
    _move("downgrade", env, target, sql, wait, yes, dry_run, skip_row_checks, json)


def _move(
    verb: str,
    env: str,
    target: str,
    sql: bool,
    wait: str,
    yes: bool,
    dry_run: bool,
    skip_row_checks: bool,
    json: bool,
    plan: str = "",
    fast: bool = False,
) -> None:
    from postgres_database.console import report, show_standing, terminal
    from postgres_database.workflows import standing

    seconds, (project, environment) = parse_wait(wait), project_and_environment(env)
    reviewed = None
    if plan:
        from postgres_database.reviewing import pins

        reviewed = pins.load(Path(plan), environment.env_option)
    how = target, dry_run, skip_row_checks, reviewed, fast, seconds
    if sql:
        from postgres_database.workflows import upgrade as workflow

        open_target = partial(terminal.open_target, environment, project.versions, quiet=True)
        move = workflow.Move(verb, *how)
        terminal.raw(workflow.offline(project, environment, open_target, move))
        return
    database = terminal.open_target(environment, project.versions, quiet=json)
    result = None
    if verb == "upgrade" and not reviewed:
        result = standing.at_head(project, database, target, dry_run=dry_run)
    if result is None:
        from postgres_database.workflows import upgrade as workflow

        listener = terminal.Terminal(environment, yes=yes, quiet=json)
        move = workflow.Move(verb, *how)
        result = workflow.perform(project, environment, database, move, listener)
    if json:
        terminal.raw(report.upgrade_json(result, str(database.dsn)))
    elif dry_run:
        show_standing.plan(result, verb)
    else:
        show_standing.upgrade(result, verb)
    for step in result.steps if dry_run else ():
        if step.refusal:
            raise step.refusal
    if result.violations:
        raise Exit(code=DIFFERENT)


@command(
    help={
        "env": "also compare the target of this environment with its revision (default: the variable ENV)",
        "target_only": "with --env: do not compare the models, such as while they are still missing",
        "fresh": "run the whole history again: forget what is kept of it on the scratch server",
        "json": JSON,
    }
)
def check(
    c: Context, env: str = "", target_only: bool = False, fresh: bool = False, json: bool = False
) -> None:
    """Tell whether models and history agree, and the target with its revision; exit code 2 if not."""
    from postgres_database.console import report, show_state, terminal
    from postgres_database.server import embedded
    from postgres_database.workflows import check as workflow

    project, environment = project_and_environment(env)
    target = embedded.target(environment, project.versions) if environment.name else None
    if target_only and not target:
        raise ExpectedError(
            "check --target-only compares the target of an environment",
            cause="no environment is named",
            hint="invoke check --env production --target-only",
        )
    with terminal.watched("compare"):
        if target_only and target:
            result = workflow.compare_target(project, environment, target, fresh=fresh)
        else:
            result = workflow.compare(project, environment, target, fresh=fresh)
    if json:
        terminal.raw(report.check_json(result))
    else:
        show_state.check(result)
    if not result.clean:
        raise Exit(code=DIFFERENT)


@command(
    help={
        "env": "only this environment (default: all that have a file, and the default one)",
        "exit_code": "end with exit code 2 if something is pending, has drifted, is unfinished or unknown",
        "json": JSON,
    }
)
def status(c: Context, env: str = "", exit_code: bool = False, json: bool = False) -> None:
    """Show where the target of each environment stands and what is pending."""
    from postgres_database.console import report, show_state, terminal
    from postgres_database.server import environment
    from postgres_database.workflows import standing
    from postgres_database.workflows import status as workflow

    named = env or os.environ.get("ENV", "")
    environments = (
        [env] if env else list(dict.fromkeys([named, *environment.env_files(Path.cwd())]))
    )
    # The history is in the repository: no environment's faults keep us from reading it.
    project = project_here()
    heads = standing.heads(project)
    with terminal.watched("look at each environment"):
        result = workflow.collect(project, environments)
    if json:
        terminal.raw(report.status_json(result))
    else:
        show_state.status(result, heads)
    if exit_code and not all(each.clean for each in result):
        raise Exit(code=DIFFERENT)


@command(help={"env": ENV, "json": JSON})
def current(c: Context, env: str = "", json: bool = False) -> None:
    """Show the revision that the target is at."""
    from postgres_database.console import report, show_standing, terminal
    from postgres_database.workflows import standing

    project, environment = project_and_environment(env)
    heads = standing.heads(project)
    target = terminal.open_target(environment, project.versions, quiet=json)
    at = standing.revisions(project, target)
    if json:
        terminal.raw(report.current_json(at, heads, str(target.dsn)))
    else:
        show_standing.current(at, heads)


@command(
    help={
        "env": ENV,
        "target": "a revision or base (default head)",
        "purge": "forget the previous stamp; for a revision whose script is lost",
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
    from postgres_database.workflows import stamp as workflow

    seconds, (project, environment) = parse_wait(wait), project_and_environment(env)
    done = workflow.write(
        project,
        environment,
        terminal.open_target(environment, project.versions),
        target,
        purge=purge,
        wait=seconds,
        listener=terminal.Terminal(environment, yes=yes),
    )
    terminal.say(f"stamped   {done}")

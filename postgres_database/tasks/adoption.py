"""The commands for databases that were online before they had scripts."""

from invoke import Context, Exit

from postgres_database.commands.command import DIFFERENT, command
from postgres_database.tasks.shared import ENV, JSON, WAIT, YES, parse_wait, project_and_environment


@command(
    help={
        "env": ENV,
        "msg": "what the revision is called (default: Init tables)",
        "with_models": "write the next revision at once, if the models differ",
        "wait": WAIT,
        "yes": YES,
        "json": JSON,
    }
)
def baseline_existing(
    c: Context,
    env: str = "",
    msg: str = "Init tables",
    with_models: bool = False,
    wait: str = "",
    yes: bool = False,
    json: bool = False,
) -> None:
    """Adopt a database that is online: its schema becomes the first revision, its data stays."""
    from postgres_database.console import report, show, terminal
    from postgres_database.workflows import baseline, revision

    seconds, (project, environment) = parse_wait(wait), project_and_environment(env)
    database = terminal.open_target(environment, project.versions, quiet=json)
    listener = terminal.Terminal(environment, yes=yes, quiet=json)
    result = baseline.adopt(
        project,
        environment,
        database,
        msg,
        wait=seconds,
        with_models=with_models,
        listener=listener,
    )
    unlike = bool(result.unlike_models or result.path is None)
    goes_on = bool(result.revision) and with_models and unlike and not result.pending
    if not json:
        show.baseline(result, environment, goes_on=goes_on)
    written = None
    if goes_on:
        written = revision.write(
            project.anew(),
            environment,
            "What the models say",
            listener=listener,
        )
        if not json:
            show.revision(written)
    if json:
        terminal.raw(report.baseline_json(result, str(database.dsn), written))
    if not result.revision or (written and not written.proved):
        raise Exit(code=DIFFERENT)


@command(
    help={
        "env": ENV,
        "into": "the file that is written, from the root of the project (default: the models are printed)",
        "tables": "write tables (`Table`) and no classes",
        "yes": YES,
        "json": JSON,
    }
)
def models(
    c: Context,
    env: str = "",
    into: str = "",
    tables: bool = False,
    yes: bool = False,
    json: bool = False,
) -> None:
    """Write SQLAlchemy models of the target and prove them; exit code 2 if they make other tables."""
    from postgres_database.console import report, show_models, terminal
    from postgres_database.workflows import written_models as workflow

    quiet = json or not into
    project, environment = project_and_environment(env)
    result = workflow.write(
        project,
        environment,
        terminal.open_target(environment, project.versions, quiet=quiet),
        workflow.Form(into, tables),
        terminal.Terminal(environment, yes=yes, quiet=quiet),
    )
    if json:
        terminal.raw(report.models_json(result))
    else:
        show_models.written(result, project.root)
    if result.unlike:
        raise Exit(code=DIFFERENT)

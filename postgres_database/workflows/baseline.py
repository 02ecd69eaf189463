"""Adopt a database that is online: its schema becomes the first revision, its data stays."""

import sqlalchemy as sa

from postgres_database.errors import ExpectedError
from postgres_database.history import script_files
from postgres_database.history.graph import History
from postgres_database.history.project import Project
from postgres_database.modelling import strangers
from postgres_database.running import runner, stamped
from postgres_database.running.listener import SILENT, Listener
from postgres_database.running.missing_scripts import forgetting, origin
from postgres_database.running.runner import Runner
from postgres_database.schema import snapshot
from postgres_database.scratch import databases
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.server.privileges import OF_OURS, Grantor
from postgres_database.sql.names import identifier, quoted
from postgres_database.workflows import drift, stamp
from postgres_database.workflows.adoption import Adoption, BaselineResult
from postgres_database.workflows.stamp import Match

# Whether the version table is there, and its schema; whether it may be written or made.
ALLOWED = sa.text("""
    SELECT t IS NOT NULL, s IS NOT NULL, CASE
        WHEN t IS NOT NULL THEN has_table_privilege(t, 'SELECT') AND has_table_privilege(t, 'INSERT')
        WHEN s IS NOT NULL THEN has_schema_privilege(s, 'CREATE')
        ELSE :schema <> '""' AND has_database_privilege(current_database(), 'CREATE') END
    FROM (SELECT to_regclass(:table)::oid, to_regnamespace(:schema)::oid) AS found (t, s)
""")


def adopt(  # noqa: PLR0913
    project: Project,
    environment: Environment,
    database: Database,
    message: str,
    *,
    wait: float | None = None,
    with_models: bool = False,
    listener: Listener = SILENT,
) -> BaselineResult:
    """Write the target's schema as the first revision, prove it, and stamp the target with it.

    Where there is a history already, find which of its revisions the target is, and stamp that. The
    only write to the target is the table alembic_version, after the proof, in one transaction. Killed
    at any point, the command can be run again.

    Args:
        project: Where the scripts and the models are.
        environment: Where the scratch server is, and whether it is protected.
        database: The target; it is only read until the stamp.
        message: The message of the revision.
        listener: Asked before the stamp if the environment is protected, two revisions are possible, or the target
            is stamped with another one.
        wait: How many seconds to wait at most for another command; None: for ever.
        with_models: Refuse models that know no table of the target.

    Raises:
        ExpectedError: The target is not stamped, and no script is left behind that is not proved.
    """
    reader = database.read_only()
    with runner.open_runner(project, database) as writer:
        writer.require_writable()
    with (
        script_files.staging(project, listener.wait, wait) as staged,
        runner.open_runner(project, reader) as run,
        run.alone(listener, wait),
    ):
        _require_stampable(run, database)
        current, scripts = run.current(), project.history
        _require_known(database, current, project.route(current)[0].history)
        if with_models:
            strangers.require_same(project, database)
        if scripts.revisions:
            return _match_and_stamp(project, environment, database, current, listener)
        return Adoption(project, environment, database, staged).adopt(message, listener)


def _require_stampable(run: Runner, database: Database) -> None:
    """Raise ExpectedError if the version table cannot be written."""
    with run.ours() as ours:
        table = stamped.placement(database, *ours)
        table.require_schema(*ours)
        names = {"schema": quoted(table.schema or ""), "table": table.sql}
        is_there, has_schema, allowed = run.connection.execute(ALLOWED, names).one()
    if allowed:
        return
    schema = table.schema or "public"
    if is_there:
        what, may = "written", "write it"
        grantor = Grantor(database, OF_OURS, table.sql)
        grant = f"GRANT ALL ON {table.shown} TO {grantor.user}"
    elif has_schema or not table.schema:
        where = (
            f"in the schema {identifier(schema)}"
            if table.schema
            else "in any schema of the search path"
        )
        what, may = "made", f"create tables {where}"
        grantor = Grantor(database, "schema", schema)
        grant = f"GRANT USAGE, CREATE ON SCHEMA {grantor.objects} TO {grantor.user}"
    else:
        what, may = "made", f"create its schema {identifier(schema)}"
        grantor = Grantor(database, "database", database.dsn.database)
        grant = f"CREATE SCHEMA {identifier(schema)} AUTHORIZATION {grantor.user}"
    raise ExpectedError(
        f"{database.dsn} cannot be stamped: the table {database.versions.name} cannot be {what}",
        cause=f"the user of the DSN may not {may}",
        hint=grantor.runs(grant),
    )


def _require_known(database: Database, current: tuple[str, ...], scripts: History) -> None:
    """Raise ExpectedError for a database of another history; name the commands that were probably meant."""
    if unknown := [revision for revision in current if revision not in scripts]:
        env = database.env_option
        raise ExpectedError(
            f"{database.dsn} already is at revision {', '.join(unknown)}",
            cause="the scripts that brought it there are in another repository or checkout\n"
            + origin(database, unknown),
            hint=f"invoke upgrade{env}   (with those scripts beside those of this checkout;"
            f" if they are lost for good: {forgetting(env)};"
            f" if another application keeps {database.versions.name}: another version_table in alembic.ini)",
        )


def _match(
    project: Project, database: Database, current: tuple[str, ...], session: Scratch
) -> tuple[Project, Match]:
    """Return where in the history the target is: where it is stamped, unless another revision is nearer.

    Its scripts are those of the project, or those that a squash has replaced.
    """
    if not current:
        return stamp.best_of_all(project, database, session)
    here = project.route(current)[0]
    stamped_as = Match(current, drift.find(here, database, session.at(here, current), session))
    if not stamped_as.drifts.objects:
        return here, stamped_as
    at, best = stamp.best_of_all(project, database, session)
    nearer = len(best.drifts.objects) < len(stamped_as.drifts.objects)
    return (at, best) if nearer else (here, stamped_as)


def _match_and_stamp(
    project: Project,
    environment: Environment,
    database: Database,
    current: tuple[str, ...],
    listener: Listener,
) -> BaselineResult:
    """Find which revision of the history the target is, and stamp it, unless that is what it is stamped with."""
    with databases.session(project, environment) as session:
        at, match = _match(project, database, current, session)
        objects = len(snapshot.take(session.at(at, match.state)).objects)
    where = ", ".join(match.state) or "base"
    result = BaselineResult(
        "" if match.drifts.objects else where,
        objects=objects,
        notes=tuple(f"not compared: {note}" for note in match.drifts.notes),
        match=match,
        pending=match.state != project.history.heads,
    )
    if match.drifts.objects or (current and {*match.state} == {*current}):
        return result
    if not match.state and not current:
        raise ExpectedError(
            f"{database.dsn} is empty: there is nothing to adopt",
            cause="the history has scripts, and the database has none of their objects",
            hint=f"invoke upgrade{environment.env_option}",
        )
    if match.ties or environment.protected or current:
        details = _details(at.history, match, current, environment.env_option)
        listener.require_yes(f"stamp {database.dsn} as {where}", details)
    with runner.open_runner(at, database) as run:
        run.stamp(match.state or ("base",), purge=bool(current))
    return result


def _details(
    scripts: History, match: Match, current: tuple[str, ...], env_option: str
) -> list[str]:
    """Return what is shown before a target is stamped with what it matches."""
    lines = [str(scripts[revision]) for revision in match.state]
    lines = lines or ["base: nothing of the history is there"]
    if current:
        wrong = f"stamped as {', '.join(current)}, which it is not; it is"
        lines = [wrong, *(f"  {line}" for line in lines)]
    if match.ties:
        lines += [
            f"the schema is the same before {' and '.join(tie.id for tie in match.ties)}:",
            "  stamped with it, what it does to rows is not done again;",
            f"  say no and invoke stamp{env_option} --target …, if it was not done yet",
        ]
    return lines

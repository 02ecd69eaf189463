"""What revisions make of an empty database, as SQL that makes the same at once: proved once, and kept in a file."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from postgres_database.errors import ExpectedError
from postgres_database.history import graph, script_texts
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.history.script_texts import Line
from postgres_database.running import journal, lock, log, stamped
from postgres_database.running.listener import SILENT, Listener
from postgres_database.running.log import Log
from postgres_database.scratch import recipes
from postgres_database.server import transactions
from postgres_database.server.connection import Database, cancelled_by_ctrl_c
from postgres_database.server.environment import Environment

if TYPE_CHECKING:  # where an image is kept, nothing is proved
    from postgres_database.proving import contents

FOLDER = Path(".postgres") / "images"
KEPT_IMAGES = 8
OUTSIDE = re.compile(
    r"\b(?:(?:CREATE|ALTER|DROP)\s+(?:ROLE|USER(?!\s+MAPPING)|GROUP|DATABASE|SUBSCRIPTION|TABLESPACE)"
    r"|ALTER\s+SYSTEM|OWNER\s+TO|REASSIGN\s+OWNED)\b",
    re.IGNORECASE,
)
"""What scripts say and no dump of a scratch database shows."""
CLUSTER = re.compile(rb"^(?:roles|tablespaces)\b", re.MULTILINE)
"""What scripts say of what a server must have; see `Revision`."""
LARGE_OBJECTS = "SELECT EXISTS (SELECT FROM pg_largeobject_metadata), current_user"
# A dump does not say whose an object is.
OF_OTHERS = """
    SELECT DISTINCT 'an object belongs to ' || r.rolname
    FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
    WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.deptype = 'o'
      AND r.rolname <> current_user AND s.classid <> 'pg_extension'::regclass
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE (d.classid, d.objid) = (s.classid, s.objid) AND d.deptype = 'e')
    ORDER BY 1
"""


def of(
    project: Project, environment: Environment, revisions: Sequence[Revision], listener: Listener
) -> str:
    """Return SQL that makes of an empty database what these revisions make of it, rows included.

    It is made on a scratch database and compared with what the revisions made there: schema, rows, sequences. What
    scripts compute, such as now(), is as it was then.

    Args:
        project: Has the scripts, which its history begins with.
        environment: Where the scratch server is.
        revisions: All from the base up, in order.
        listener: Hears what is done.

    Raises:
        ExpectedError: A script does what no dump carries, or the SQL would not make the same.
    """
    scripts = ((each.id, each.path) for each in revisions)
    path = project.root / FOLDER / f"{script_texts.fingerprints(scripts)[-1]}.json"
    if (kept := _kept(path, project)) is not None:
        return kept

    from postgres_database.proving import contents, round_trip  # noqa: PLC0415 - see above
    from postgres_database.schema import dump  # noqa: PLC0415 - see above
    from postgres_database.scratch import databases  # noqa: PLC0415 - see above

    if reasons := [f"{words} in {each}" for each in revisions for words in outside(each)]:
        raise _not_carried(reasons)
    ids = [each.id for each in revisions]
    with databases.session(project, environment) as session:
        with listener.at_work("run the revisions on a scratch database"):
            made = session.at(project, ids)
        with listener.at_work("prove their image"):
            dumped, held = dump.take(made), contents.take(made)
            with made.connect() as connection, connection.begin():
                others = [*connection.exec_driver_sql(OF_OTHERS).scalars()]
            if reasons := [*lacking(made, dumped, held), *dump.omissions(dumped), *others]:
                raise _not_carried(reasons)
            sql = dump.restorable(dumped, dump.rows(made))
            again = session.empty()
            with again.connect() as connection, connection.begin():
                connection.connection.cursor().execute(sql)
            faults = [
                *round_trip.unlike(session, "restored", again, made),
                *contents.differences(held, contents.take(again)),
            ]
        recipe = session.recipe(project, made)
    if faults:
        raise _not_carried(faults)
    if recipe:
        try:
            _keep(path, recipe.text(), sql)
        except OSError as error:
            listener.note(
                f"the dump is made anew each time: {path} cannot be written: {error.strerror}"
            )
    return sql


def put(
    project: Project, line: Line, environment: Environment, database: Database
) -> tuple[tuple[Revision, ...], float] | None:
    """Restore what is kept of a whole history in an empty target: no script is executed, and SQLAlchemy not needed.

    Returns:
        The revisions, and how many seconds that took. None, and nothing is made but the log, where nothing is kept or
        anything is unusual: another command is at work, there are tables, or the server refuses something.
    """
    texts = line.texts.values()
    # The embedded server must first have what scripts name.
    needs = environment.target is None and any(map(CLUSTER.search, texts))
    if needs or len(texts) < len(line.scripts):
        return None
    last = script_texts.fingerprints(line.scripts.items(), texts=line.texts)[-1]
    sql = _kept(project.root / FOLDER / f"{last}.json", project)
    if sql is None:
        return None
    plan = line.revisions
    with (
        suppress(ExpectedError, psycopg2.Error),
        database.session() as driver,
        lock.one_command_at_a_time(database, driver, SILENT, 0),
    ):
        with transactions.ours(driver) as (cursor, path):
            revisions = stamped.read(database, cursor, path)
            empty = not revisions and not stamped.unmarked(database, cursor, path)
        into = log.made(database, driver) if empty else None
        if empty and not (into and into.fault):
            started = time.monotonic()
            limits = transactions.limits(environment)
            restore(sql, database, driver, plan, into=into, limits=limits)
            return plan, time.monotonic() - started
    return None


def restore(  # noqa: PLR0913 - what is made, where, and what is written of it
    sql: str,
    database: Database,
    driver: Any,
    plan: Sequence[Revision],
    *,
    into: Log | None,
    limits: Sequence[str],
) -> None:
    """Run SQL that makes what revisions make, in one transaction with their stamp and their rows in the log.

    Args:
        sql: As `of` returns it.
        database: The target, in which there is nothing.
        driver: A connection of the driver, in no transaction.
        plan: All revisions from the base up.
        into: The log, if there is one.
        limits: See `transactions.limits`.

    Raises:
        ExpectedError: PostgreSQL refuses it, or there is no schema for the version table; nothing was done.
        psycopg2.Error: The connection is lost.
    """
    started = time.monotonic()
    try:
        with cancelled_by_ctrl_c(driver), transactions.ours(driver, *limits) as (cursor, path):
            stamped.ready(database, cursor, path)
            transactions.run_script(cursor, path, sql)
            stamped.first(database, cursor, path, graph.tips(plan))
            if into:
                journal.restored(cursor, into, plan, time.monotonic() - started)
    except psycopg2.Error as error:
        if driver.closed:
            raise
        raise ExpectedError(
            f"{database.dsn} refuses what the revisions make",
            cause=database.words(error),
            hint="invoke upgrade   (runs them)",
        ) from error


def outside(revision: Revision) -> list[str]:
    """Return what a script says that no dump of a scratch database shows."""
    beside = revision.path.with_suffix(".sql")
    text = revision.text + (beside.read_text(encoding="utf-8") if beside.exists() else "")
    return [*dict.fromkeys(" ".join(match[0].upper().split()) for match in OUTSIDE.finditer(text))]


def lacking(made: Database, dumped: str, held: contents.Contents) -> Iterator[str]:
    """Yield what a dump of a scratch database lacks of what scripts make elsewhere, a line each."""
    from postgres_database.schema import masks, sections  # noqa: PLC0415 - see above

    yield from (
        f"{name.schema}.{name.name} cannot be read: {why}" for name, why in held.unread.items()
    )
    if masks.is_masked(dumped):
        yield "the passwords of foreign servers, which the scripts give, stand in no dump"
    with made.connect() as connection, connection.begin():
        large, user = connection.exec_driver_sql(LARGE_OBJECTS).one()
    if large:
        yield "large objects stand in no dump"
    role = made.alias[1] or user
    if sections.names_role(dumped, role):
        yield f"grants, default privileges or policies are of {role}, who runs scripts here, and not everywhere"


def _not_carried(reasons: Sequence[str]) -> ExpectedError:
    return ExpectedError(
        "no dump makes what the revisions make",
        cause="\n".join(reasons),
        hint="invoke upgrade   (runs them)",
    )


def _kept(path: Path, project: Project) -> str | None:
    """Return the SQL that a file has, if all that its scripts read is as it was."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        facts = json.loads(path.read_text(encoding="utf-8"))
        recipe = recipes.parse(facts["recipe"])
        if recipe and recipe.is_current(project):
            sql = str(facts["sql"])
            with suppress(OSError):  # another command has just removed it, or it is another's
                os.utime(path)
            return sql
    return None


def _keep(path: Path, recipe: str, sql: str) -> None:
    """Write a file, all of it or nothing, and remove those that were not used for longest; others may do the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, new = tempfile.mkstemp(dir=path.parent)  # for its owner only
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"recipe": recipe, "sql": sql}, file)
    Path(new).replace(path)
    used = {}
    for each in path.parent.iterdir():  # also what a killed command has left
        with suppress(FileNotFoundError):
            used[each] = each.stat().st_mtime
    for each in sorted(used, key=used.__getitem__)[:-KEPT_IMAGES]:
        each.unlink(missing_ok=True)

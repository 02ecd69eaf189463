"""Adopt a database that is online: its schema becomes the first revision, its data stays."""

from dataclasses import dataclass
from pathlib import Path

from postgres_database import (
    autogenerate,
    comparison,
    dump,
    history,
    runner,
    scratch,
    script,
    snapshot,
)
from postgres_database.comparison import Frame
from postgres_database.connection import Database
from postgres_database.errors import ExpectedError
from postgres_database.history import History, Revision
from postgres_database.scratch import Scratch
from postgres_database.settings import Settings
from postgres_database.spelling import in_words_of
from postgres_database.tokens import stable
from postgres_database.upgrade import Confirm

UPGRADE = 'op.execute_file(__file__.removesuffix(".py") + ".sql")'
DOWNGRADE = """raise ExpectedError(
        "the first revision of an adopted database is not undone",
        cause="it is the database as it was before it had scripts; undoing it would drop its data",
        hint="invoke current",
    )"""


@dataclass(frozen=True)
class BaselineResult:
    """What was adopted."""

    revision: str
    path: Path
    objects: int
    """How many objects the schema has; every one was found equal in a database made by the script."""
    differences: comparison.Comparison
    """What the models say differently; empty if models and database agree."""


def baseline(
    settings: Settings, database: Database, message: str, confirm: Confirm
) -> BaselineResult:
    """Write the target's schema as the first revision, prove it, and stamp the target with it.

    The only write to the target is the table alembic_version, after the proof.

    Args:
        settings: Where the scripts, the models and the scratch server are.
        database: The target; it is only read until the stamp.
        message: What the revision is called.
        confirm: Asked before the stamp if the environment is protected.

    Raises:
        ExpectedError: The target is not stamped and no script is left behind.
    """
    with runner.open_runner(settings, database) as run:
        _refuse(settings, database, run.current(), history.read(settings))
        run.require_writable()
        with run.connection.begin():
            roles = tuple(run.connection.execute(runner.ROLES).scalars())
    metadata = scratch.load_metadata(settings)
    dumped = dump.dump(database)
    path, revision_id = _write(settings, message, stable(dump.restorable(dumped)), roles)
    try:
        with scratch.session(settings) as session:
            scripts = history.read(settings)
            rebuilt = _rebuild(settings, scripts, session)
            _require_equal(database, rebuilt, session)
            from_models = session.from_models(metadata)
            left, right = comparison.sides(rebuilt, from_models)
            right = in_words_of(left, right, (rebuilt, from_models), session)
            frame = Frame(settings, left, right, ())
            differences = autogenerate.compare(frame, rebuilt, metadata)
        _stamp(settings, database, scripts[revision_id], confirm)
    except BaseException:
        path.unlink(missing_ok=True)
        path.with_suffix(".sql").unlink(missing_ok=True)
        raise
    return BaselineResult(revision_id, path, len(snapshot.parse(dumped).objects), differences)


def _refuse(
    settings: Settings, database: Database, stamped: tuple[str, ...], scripts: History
) -> None:
    """Refuse what has a revision or a history already; name the command that was probably meant."""
    upgrade = f"invoke upgrade{settings.env_option}"
    if any(revision in scripts for revision in stamped):
        raise ExpectedError(
            f"{database.dsn} already is at revision {', '.join(stamped)} of this history",
            cause="it was adopted or upgraded before",
            hint=upgrade,
        )
    if stamped:
        raise ExpectedError(
            f"{database.dsn} already is at revision {', '.join(stamped)}",
            cause="the scripts of a database with a revision are in some repository, but not in this one",
            hint=f"{upgrade}   (with those scripts in migration/versions)",
        )
    if scripts.revisions:
        raise ExpectedError(
            f"migration/versions is not empty: its head is {', '.join(scripts.heads)}",
            cause="a baseline is the first revision of a history",
            hint=f"invoke init --fresh   (to start a history of your own; or {upgrade})",
        )


def _write(settings: Settings, message: str, sql: str, roles: tuple[str, ...]) -> tuple[Path, str]:
    written = script.write(
        settings,
        message,
        "base",
        upgrade=UPGRADE,
        downgrade=DOWNGRADE,
        imports=["", "from postgres_database.errors import ExpectedError"],
        roles=roles,
    )
    path = Path(written.path)
    path.with_suffix(".sql").write_bytes(sql.encode())
    return path, written.revision


def _stamp(settings: Settings, database: Database, revision: Revision, confirm: Confirm) -> None:
    what = f"{revision}  (runs nothing; writes the table alembic_version)"
    if settings.protected and not confirm(f"stamp {database.dsn}", [what]):
        raise ExpectedError("not confirmed: nothing was written")
    with runner.open_runner(settings, database) as run, run.alone(lambda _: None):
        _refuse(settings, database, run.current(), History())  # nobody else was faster
        run.stamp(revision.id)


def _rebuild(settings: Settings, scripts: History, session: Scratch) -> Database:
    try:
        return session.at(scripts, scripts.heads)
    except ExpectedError as error:
        raise ExpectedError(
            "the online schema cannot be rebuilt on the scratch server; nothing was written",
            cause=error.cause,
            hint=f"SCRATCH_DSN=… invoke baseline-existing{settings.env_option}"
            "   (a server of the same version with the same extensions and locales)",
        ) from error


def _require_equal(database: Database, rebuilt: Database, session: Scratch) -> None:
    different = snapshot.compare(database, rebuilt, session)
    if different:
        raise ExpectedError(
            "a database made by the baseline would not equal the online one; nothing was written",
            cause="\n".join(str(difference.key) for difference in different),
            hint=f"invoke psql{database.env_option}   (look at these objects)",
        )

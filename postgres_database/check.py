"""Where things stand: models against history, and every environment against its head."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from postgres_database import autogenerate, comparison, history, runner, scratch, server
from postgres_database import settings as settings_module
from postgres_database.comparison import Comparison, Frame
from postgres_database.errors import ExpectedError
from postgres_database.history import History
from postgres_database.settings import Settings
from postgres_database.spelling import in_words_of


@dataclass(frozen=True)
class CheckResult:
    """Whether the history has one head and leads to the models."""

    heads: tuple[str, ...]
    differences: Comparison | None
    """None if there are several heads: then there is nothing to compare with."""

    @property
    def clean(self) -> bool:
        """Whether there is nothing to do."""
        return self.differences is not None and not self.differences.objects


@dataclass(frozen=True)
class EnvironmentStatus:
    """Where the target of an environment stands."""

    environment: str
    target: str = ""
    version: str = ""
    """The server's version."""
    size: str = ""
    revision: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    fault: str = ""
    """Why there is nothing to tell."""
    env_option: str = ""
    """What to add to a command so that it works on this environment."""


def check(settings: Settings) -> CheckResult:
    """Compare the models with the history on scratch databases; no target is needed."""
    metadata = scratch.load_metadata(settings)
    with scratch.session(settings) as session:
        from_models = session.from_models(
            metadata
        )  # before a script is imported, which may change them
        scripts = history.read(settings)
        if len(scripts.heads) > 1:
            return CheckResult(scripts.heads, None)
        at_head = session.at(scripts, scripts.heads)
        left, right = comparison.sides(at_head, from_models)
        right = in_words_of(left, right, (at_head, from_models), session)
        frame = Frame(settings, left, right, scripts.objects)
        return CheckResult(scripts.heads, autogenerate.compare(frame, at_head, metadata))


def status(
    scripts: History, environments: Sequence[str], root: Path
) -> tuple[EnvironmentStatus, ...]:
    """Look at the environments of a repository in parallel; the empty name is the default one."""

    def look(environment: str) -> EnvironmentStatus:
        try:
            return _look(settings_module.load(environment, root=root), scripts)
        except ExpectedError as error:
            return EnvironmentStatus(environment or "default", fault=error.cause or error.what)

    with ThreadPoolExecutor() as pool:
        return tuple(pool.map(look, environments))


def _look(settings: Settings, scripts: History) -> EnvironmentStatus:
    database = server.target(settings)
    label, target = settings.label, str(database.dsn)
    try:
        with runner.open_runner(settings, database) as run:
            current = run.current()
            with run.connection.begin():
                version, size = run.connection.execute(
                    sa.text(
                        "SELECT split_part(current_setting('server_version'), ' ', 1),"
                        " pg_size_pretty(pg_database_size(current_database()))"
                    )
                ).one()
    except ExpectedError as error:
        return EnvironmentStatus(label, target, fault=error.cause)
    unknown = [revision for revision in current if revision not in scripts]
    pending = () if unknown else scripts.pending(current, "heads")
    return EnvironmentStatus(
        label,
        target,
        version,
        size,
        current,
        pending=tuple(str(revision) for revision in pending),
        fault=f"revision {', '.join(unknown)} is not in migration/versions" if unknown else "",
        env_option=settings.env_option,
    )

"""What was found to be equal, kept until anything changes that it was made of: the next command need not compare.

A verdict is a file in `.postgres`, named by a hash of what is in no file of the project: the engine, the installed
packages, the scratch server, the settings, the process environment, the machine, the user and the day. It has digests
of all files that the project has read, and holds while these are the same, as are the files of packages that were
loaded. Without it everything is compared, so it is safe to delete.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from postgres_database import __version__
from postgres_database.errors import ExpectedError
from postgres_database.history import reads
from postgres_database.history.project import Project
from postgres_database.server import embedded
from postgres_database.server.environment import Environment

if TYPE_CHECKING:  # a command that has nothing to do does without it
    from postgres_database.scratch.templates import Recipe

FOLDER = Path(".postgres", "verdicts")
MOST = 16
"""Verdicts that are kept, and dumps in each."""
# The first columns tell users of a server apart; the last one tells whether the server may lose data in a crash.
ME = """
    SELECT current_database(), current_user, pg_encoding_to_char(encoding),
           (SELECT string_agg(name || ' ' || default_version, ',' ORDER BY name) FROM pg_available_extensions),
           current_setting('fsync') = 'off' AND current_setting('server_version_num')::int >= 150000
    FROM pg_database WHERE datname = 'template0'
"""
# With what an administrator has set, which may be the default of what a schema does not say.
SERVER = """
    SELECT version(), (SELECT string_agg(name || '=' || coalesce(setting, ''), ',' ORDER BY name) FROM pg_settings
                       WHERE source NOT IN ('default', 'override', 'client', 'session'))
"""
UNKNOWN = AttributeError, ExpectedError, KeyError, OSError, TypeError, ValueError, psycopg2.Error
"""What reading a verdict may raise, whatever is in the file."""
OF_SHELLS = frozenset((
    "_", "COLUMNS", "LINES", "OLDPWD", "SHLVL", "SSH_AUTH_SOCK", "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY", "TERM",
    "WINDOWID",
))  # fmt: skip
"""Variables that differ from one terminal to the next."""
FOUND_BY = (".dist-info", ".egg-info", ".egg-link", ".pth", ".py")
"""How names end in a folder of packages by which Python finds them, and their versions."""

MAKES = re.compile(
    r"\s*(?:(?:ALTER|COMMENT|CREATE|DROP|GRANT|INSERT|RELEASE|REVOKE|ROLLBACK|SAVEPOINT|SET)\b|"
    r"SELECT pg_catalog\.pg_(?:class|type)\.)",
    re.IGNORECASE,
)
"""Statements of models whose outcome depends on what they have made before, such as those of SQLAlchemy."""


@dataclass(frozen=True)
class Verdict:
    """What was found to be equal to the head of a history."""

    files: Mapping[str, str]
    """Path from the root of the project → digest of a file or folder that it has read."""
    installed: Mapping[str, str]
    """Path of a file of the engine or a package → what tells one state of it from another."""
    scripts: Mapping[str, list[str]]
    """Revision → the digests of scripts that are as good as its own (`Revision.digest` and `replaces`)."""
    dumps: tuple[str, ...]
    """Digests of dumps of targets."""
    kept: tuple[tuple[str, str, str], ...] | None = None
    """Kind, schema and name of what the history has and the models do not manage; None: models were not compared."""


def any_kept(project: Project) -> bool:
    """Tell whether there may be a verdict."""
    return (project.root / FOLDER).is_dir()


def find(project: Project, environment: Environment) -> Verdict | None:
    """Return what is known of a project; None if nothing is, or something has changed."""
    with suppress(*UNKNOWN):
        return _current(project, _place(project, environment))
    return None


def keep(
    project: Project,
    environment: Environment,
    recipe: Callable[[], Recipe | None],
    dump: str,
    kept: Iterable[tuple[str, str, str]] | None = None,
) -> None:
    """Keep that a target with this dump is equal to the head of the history, unless that may depend on more than files.

    Args:
        project: Has the scripts; they and all that this process has read are what the verdict depends on.
        environment: Says which scratch server was used.
        recipe: Tells what the template of the head is made of, of the scripts as they are now (`Scratch.recipe`).
        dump: The digest of the dump.
        kept: As in `Verdict`, if the models were compared, too; None if they were not.
    """
    before = recipe()
    read, steady = reads.everything()
    module = project.target_metadata.partition(":")[0]
    if not steady or before is None or reads.is_installed(module) or _today() != TODAY:
        return
    with suppress(OSError):
        (project.root / FOLDER).mkdir(parents=True, exist_ok=True)  # it is in a folder that counts
    files = {_name(project, path): reads.digest(path) for path in {*read, *_more(project, read)}}
    # The template is that of the files as they are now, and so is what was read.
    if recipe() != before or not reads.everything()[1]:
        return
    scripts = {each.id: [each.digest, *each.replaces] for each in project.history.revisions}
    with suppress(*UNKNOWN):
        place = _place(project, environment)
        packages = {name: _state(name) for name in reads.installed()}
        dumps, agreed = [dump], None if kept is None else tuple(kept)
        if known := _current(project, place):
            files = {**known.files, **files}
            dumps = [dump, *(each for each in known.dumps if each != dump)][:MOST]
            agreed = known.kept if agreed is None else agreed
            packages = {**known.installed, **packages}
        _write(place, Verdict({**files, **before.files}, packages, scripts, tuple(dumps), agreed))


def attentive(usual: type[Any]) -> type[Any]:
    """Return a class of cursors that notices if models may ask a database for what they have not made in it."""

    class Attentive(usual):  # type: ignore[misc]
        def execute(self, query: Any, values: Any = None) -> None:
            if not MAKES.match(str(query)):
                reads.asked_outside("the models")
            super().execute(query, values)

    return Attentive


def forget(project: Project) -> None:
    """Delete all verdicts."""
    for path in (project.root / FOLDER).glob("*"):
        path.unlink(missing_ok=True)


def _name(project: Project, path: Path) -> str:
    return os.path.relpath(path, project.root)


def _more(project: Project, read: Iterable[Path]) -> Iterator[Path]:
    """Yield what a history and models depend on besides what was read: settings, and where a file would be found."""
    yield from (project.root / "alembic.ini", project.folders.home, project.folders.home / "env.py")
    yield from reads.places()
    for path in read:
        yield path.parent
        yield from (each for each in path.parents if each.is_relative_to(project.root))
    for folder in project.folders.versions:
        yield folder
        yield from (path for path in folder.iterdir() if path.is_file())
    yield from _beside(project.target_metadata.partition(":")[0])


def _beside(name: str) -> Iterator[Path]:
    """Yield what is in the package of the models, imported or not: what defines tables must be."""
    package = name if hasattr(sys.modules.get(name), "__path__") else name.rpartition(".")[0]
    for folder in map(Path, getattr(sys.modules.get(package), "__path__", ())):
        for path in folder.rglob("*"):
            if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__"):
                yield path


def _current(project: Project, place: Path) -> Verdict | None:
    """Read a verdict; None if there is none, or a file has changed."""
    if not place.exists():
        return None
    facts = json.loads(place.read_bytes())
    kept = facts["kept"]
    agreed = None if kept is None else tuple((str(a), str(b), str(c)) for a, b, c in kept)
    verdict = Verdict(
        facts["files"], facts["installed"], facts["scripts"], tuple(facts["dumps"]), agreed
    )
    same = all(
        reads.digest(project.root / name) == digest for name, digest in verdict.files.items()
    )
    same = same and all(_state(name) == state for name, state in verdict.installed.items())
    return verdict if same else None


def _write(place: Path, verdict: Verdict) -> None:
    """Write a verdict: the whole file or nothing of it; the oldest ones are deleted."""
    with tempfile.NamedTemporaryFile("w", dir=place.parent, delete=False) as file:
        json.dump(asdict(verdict), file)
    Path(file.name).replace(place)
    eldest = sorted(place.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for path in eldest[:-MOST]:
        path.unlink(missing_ok=True)


def _place(project: Project, environment: Environment) -> Path:
    """Return the file of the verdict under what is in no file of the project."""
    maintenance = embedded.scratch_server(environment)
    with maintenance.reading() as (cursor, _):
        cursor.execute(ME)
        server = [cursor.fetchone()]
        cursor.execute(SERVER)
        server.append(cursor.fetchone())
    settings = (
        project.root,
        project.target_metadata,
        project.scope,
        project.online,
        project.versions,
    )
    installed = [[place, _listed(place)] for place in reads.FOREIGN if Path(place).is_dir()]
    process = ENVIRON, os.uname(), os.getuid(), sys.version, sys.flags, time.tzname
    address = sorted(item for item in maintenance.dsn.parts.items() if "password" not in item[0])
    facts = address, server, settings, installed, process, __version__, _today()
    return project.root / FOLDER / f"{sha256(repr(facts).encode()).hexdigest()[:32]}.json"


def _listed(place: str) -> list[tuple[str, str]]:
    """Return by what the packages in a folder are found; another installation of the same version is another one."""
    names = sorted(name for name in os.listdir(place) if name.endswith(FOUND_BY))  # noqa: PTH208
    return [(name, _state(f"{place}{name}")) for name in names]


def _state(name: str) -> str:
    """Return what tells one state of a file or folder from another: nobody can set the time of its last change."""
    try:
        facts = os.stat(name)  # noqa: PTH116 - no Path: this is called often
    except OSError:
        return ""
    return f"{facts.st_ctime_ns} {facts.st_size} {facts.st_ino}"


def _today() -> str:
    """Return the day: models may depend on it."""
    return f"{datetime.now(UTC).date()} {datetime.now().astimezone().date()}"


ENVIRON = sorted(item for item in os.environ.items() if item[0] not in OF_SHELLS)
TODAY = _today()
"""As they were before the project was loaded, which may change the environment."""

"""Set up a project: write the files that it lacks, and nothing else; or start a history of its own."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from postgres_database.errors import ExpectedError
from postgres_database.history import env_script, project_files
from postgres_database.history import project as projects
from postgres_database.history.env_text import Option
from postgres_database.history.project_files import EnvFile, File
from postgres_database.running.listener import Listener
from postgres_database.server.environment import METADATA

NEW = Path("migration")
"""Where the scripts of a new project are."""
SCRIPTS = ("*.py", "*.sql")
FORM = "--models package.module:name"


@dataclass(frozen=True)
class InitResult:
    """What was done to a project; paths are from its root."""

    created: tuple[Path, ...] = ()
    removed: tuple[Path, ...] = ()
    changed: tuple[Path, ...] = ()
    left: tuple[Path, ...] = ()
    """Files whose change was not confirmed."""
    by_hand: tuple[str, ...] = ()
    """What else is missing and must be written by hand, a line each."""
    env: Path = NEW / "env.py"
    options: tuple[Option, ...] = ()
    """The options that an existing env.py gives to Alembic."""


def set_up(root: Path, listener: Listener, *, models: str = "", fresh: bool = False) -> InitResult:
    """Write what is missing of a project; touches no database.

    Args:
        root: The project.
        listener: Asked before scripts are removed, before an existing file is changed (shown the difference), and
            for the name of the models.
        models: The name of the models, as package.module:name.
        fresh: Remove all scripts, so that the history starts anew.

    Raises:
        ExpectedError: It was not confirmed, the name of the models of a new project is not known, or an existing
            file cannot be read; nothing was changed.
    """
    migration, versions, paths = _folders(root)
    has_env = (root / migration / "env.py").exists()
    env = project_files.env_file(root, migration, paths) if has_env else None
    models = _models(root, models, env, listener)
    missing = [*project_files.missing(root, migration, models)]
    changes = _changes(root, models, env, missing)
    removed = _scripts(root, versions, listener) if fresh else ()
    _write(root, missing)
    _make_folder(root / versions[0])
    for path in removed:
        path.unlink()
    written = [file for file in changes if listener.offer(f"change {file.path}", file.diff)]
    _write(root, written)
    return InitResult(
        tuple(file.path for file in missing),
        tuple(Path(os.path.relpath(path, root)) for path in removed),
        tuple(file.path for file in written),
        tuple(file.path for file in changes if file not in written),
        tuple(_by_hand(root, models, env)),
        migration / "env.py",
        env.options if env else (),
    )


def _folders(root: Path) -> tuple[Path, list[Path], list[str]]:
    """Return the folder of env.py, those of the scripts, and where modules are imported from, all from the root.

    Raises:
        ExpectedError: alembic.ini names none, or one in a package; or there is none, but a history.
    """
    if not (root / "alembic.ini").exists():
        _require_no_history(root)
        return NEW, [NEW / "versions"], []
    config = projects.load(root).alembic_config()
    named = config.get_alembic_option("script_location") or ""
    if not named or (":" in named and not Path(named).is_absolute()):
        raise ExpectedError(
            "alembic.ini names no folder for the scripts",
            cause=f"script_location = {named}",
            hint=f"${{EDITOR:-vi}} alembic.ini   (script_location = %(here)s/{_in_package(root, named)})",
        )
    migration = Path(os.path.relpath(root / named, root))
    known = config.get_version_locations_list()
    versions = [Path(os.path.relpath(root / each, root)) for each in known or ()]
    versions = versions or [migration / "versions"]
    if config.get_alembic_boolean_option("recursive_version_locations"):
        inner = (path for each in versions for path in sorted((root / each).rglob("*/")))
        versions += [path.relative_to(root) for path in inner if path.name != "__pycache__"]
    return migration, versions, config.get_prepend_sys_paths_list() or []


def _in_package(root: Path, named: str) -> Path:
    """Return the folder of `package:folder`, from the root; that of a new project where it is not below the root."""
    parts = Path(*re.split("[.:]", named))
    places = (Path(*parts.parts[number:]) for number in range(len(parts.parts)))
    return next((place for place in places if (root / place / "env.py").is_file()), NEW)


def _require_no_history(root: Path) -> None:
    """Raise ExpectedError if a folder has scripts that no alembic.ini of the root names, as with Flask-Migrate."""
    folders = [
        path.parent for path in sorted(root.glob("*/env.py")) if path.parent.name != NEW.name
    ]
    if found := next((folder for folder in folders if (folder / "versions").is_dir()), None):
        name = found.name
        lines = rf"\nscript_location = %(here)s/{name}\nprepend_sys_path = %(here)s"
        ini = found / "alembic.ini"
        said = ini.read_text(encoding="utf-8", errors="replace") if ini.exists() else ""
        lines += "" if "\npath_separator" in said else r"\npath_separator = os"
        own = f"sed 's|^\\[alembic\\]|&{lines}|' {name}/alembic.ini > alembic.ini"
        plain = f"printf '[alembic]{lines}\\n' > alembic.ini".replace("%", "%%")
        raise ExpectedError(
            f"there is a history in {name}/ already; nothing was written",
            cause="no alembic.ini in this folder names it, so that a second one would begin",
            hint=f"{own if said else plain}   (then the same command again)",
        )


def _models(root: Path, models: str, env: EnvFile | None, listener: Listener) -> str:
    """Return the name of the models, from alembic.ini, the command line, env.py or an answer; may be empty."""
    is_new = not (root / "alembic.ini").exists()
    if named := "" if is_new else project_files.models_named(root):
        if models not in {"", named}:
            raise ExpectedError(
                "alembic.ini names other models; nothing was written",
                hint=f"${{EDITOR:-vi}} alembic.ini   (target_metadata = {models})",
            )
        return named
    models = models or (env.models if env else "")
    models = models or listener.words(
        "what are the models called (package.module:name, such as shop.models:Base)? "
    )
    if (models or is_new) and not METADATA.fullmatch(models):
        raise ExpectedError(
            "the name of the models is not known; nothing was written",
            cause=f"{models!r} is not of the form package.module:name"
            if models
            else "neither this folder nor one above it has an alembic.ini, and a new project needs models",
            hint=f"invoke init {FORM}",
        )
    return models


def _changes(root: Path, models: str, env: EnvFile | None, missing: list[File]) -> list[File]:
    new = {file.path.name for file in missing}
    changes = [
        None if "alembic.ini" in new else project_files.ini(root, models),
        None if ".gitignore" in new else project_files.gitignore(root),
        env.file if env else None,
    ]
    return [file for file in changes if file and file.diff]


def _by_hand(root: Path, models: str, env: EnvFile | None) -> Iterator[str]:
    if not models:
        made = "where it puts several together, or changes one, let a module of yours do that and name what it makes"
        yield f"target_metadata in alembic.ini   (env.py names none; {made}: invoke init {FORM})"
    if env and env.by_hand:
        yield f"{env.file.path}   (add these lines; in place of ... goes what it does now:\n{env_script.SHARE})"
    if "postgres_database.tasks" not in (root / "tasks.py").read_text(encoding="utf-8"):
        yield (
            "tasks.py   (from postgres_database.tasks import init, revision, upgrade, …;"
            " or type postgres-database instead of invoke)"
        )


def _scripts(root: Path, versions: list[Path], listener: Listener) -> tuple[Path, ...]:
    found = sorted(
        path for each in versions for pattern in SCRIPTS for path in (root / each).glob(pattern)
    )
    scripts = tuple(path for path in found if path.name != "__init__.py")
    if scripts and not listener.confirm(
        "remove the whole history of this repository (databases stay as they are)",
        [os.path.relpath(path, root) for path in scripts],
    ):
        raise ExpectedError("not confirmed: nothing was changed")
    return scripts


def _make_folder(path: Path) -> None:
    """Make a folder that git keeps, unless there is one."""
    if not path.exists():
        path.mkdir(parents=True)
        (path / ".gitkeep").touch()


def _write(root: Path, files: Sequence[File]) -> None:
    """Write files, each whole or not at all, with the line ends and the mode that it has."""
    for file in files:
        path = (root / file.path).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.new")
        windows = path.exists() and b"\r\n" in path.read_bytes()
        aside.write_text(file.text, encoding="utf-8", newline="\r\n" if windows else "\n")
        if path.exists():
            aside.chmod(path.stat().st_mode & 0o777)
        aside.replace(path)

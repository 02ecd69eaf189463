"""The files of a project besides its scripts: which are missing or incomplete. Nothing is written here."""

import configparser
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from postgres_database.errors import ExpectedError
from postgres_database.history import env_text, library_versions
from postgres_database.history.env_text import Option
from postgres_database.history.project import SECTION

TEMPLATE = Path(__file__).parents[1] / "template"
FILES = ("tasks.py", "Makefile", ".env.example")
"""What a project has besides alembic.ini and its scripts."""
MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
"""What make looks for (GNU make manual, "What Name to Give Your Makefile")."""
IGNORED = (".env*", "!.env.example", ".postgres/", ".staged*")
"""What git must ignore: connection strings, the embedded server, scripts of a command that was killed."""
ONE_DATABASE = {"databases", "upgrade_token", "run_migrations in a loop"}


@dataclass(frozen=True)
class File:
    """A file as it should be."""

    path: Path
    """From the root of the project."""
    text: str
    before: str | None = None
    """What is there; None: nothing."""

    @property
    def diff(self) -> list[str]:
        """The lines that would change."""
        lines = (self.before or "").splitlines(), self.text.splitlines()
        return [*difflib.unified_diff(*lines, str(self.path), str(self.path), lineterm="")]


def missing(root: Path, migration: Path, models: str) -> Iterator[File]:
    """Yield the files that a project needs and this one lacks; its env.py is in `migration`, from the root."""
    if not (root / "alembic.ini").exists():
        text = _template("alembic.ini")
        yield File(
            Path("alembic.ini"),
            re.sub(
                "^target_metadata = .*", f"target_metadata = {models}", text, flags=re.MULTILINE
            ),
        )
    for name in ("env.py", "script.py.mako"):
        if not (root / migration / name).exists():
            yield File(migration / name, _template(name))
    for name in FILES:
        others = MAKEFILES if name == "Makefile" else (name,)
        if not any((root / other).exists() for other in others):
            yield File(Path(name), _template(name))
    if not (root / ".gitignore").exists():
        yield File(Path(".gitignore"), "".join(f"{line}\n" for line in IGNORED))


def _template(name: str) -> str:
    return (TEMPLATE / name.removeprefix(".")).read_text(encoding="utf-8")


def ini(root: Path, models: str) -> File | None:
    """Return alembic.ini with the settings that our commands need; None if it has them."""
    file = _read(root, Path("alembic.ini"))
    lacking = {name: value for name, value in _needed(models).items() if name not in _said(file)}
    if not lacking:
        return None
    lines = "".join(f"{name} = {value}\n" for name, value in lacking.items())
    before, header, after = file.text.partition(f"[{SECTION}]\n")
    text = (
        f"{before}{header}{lines}{after}"
        if header
        else f"{file.text.rstrip()}\n\n[{SECTION}]\n{lines}"
    )
    return File(file.path, text, file.text)


def models_named(root: Path) -> str:
    """Return the name of the models in alembic.ini; empty if it has none."""
    return _said(_read(root, Path("alembic.ini"))).get("target_metadata", "")


def _needed(models: str) -> dict[str, str]:
    return {"engine": library_versions.ENGINE} | ({"target_metadata": models} if models else {})


def _said(file: File) -> dict[str, str]:
    parsed = configparser.ConfigParser(interpolation=None)
    try:
        parsed.read_string(file.text)
    except configparser.Error as error:
        raise _unreadable(file.path, str(error).partition("\n")[0]) from error
    return {**parsed[SECTION]} if parsed.has_section(SECTION) else {}


def gitignore(root: Path) -> File | None:
    """Return .gitignore with the lines that it needs; None if it has them."""
    file = _read(root, Path(".gitignore"))
    lacking = [line for line in IGNORED if line not in file.text.splitlines()]
    if not lacking:
        return None
    head = f"{file.text.rstrip()}\n\n" if file.text.strip() else ""
    return File(file.path, head + "".join(f"{line}\n" for line in lacking), file.text)


@dataclass(frozen=True)
class EnvFile:
    """The env.py of a project."""

    file: File
    """As it should be; unchanged if it lacks nothing, or if `by_hand`."""
    options: tuple[Option, ...]
    models: str
    """The name of the models that it hands to Alembic; empty if that is not clear."""
    by_hand: bool
    """Whether it lacks lines for which there is no obvious place."""


def env_file(root: Path, migration: Path, paths: list[str]) -> EnvFile:
    """Read the env.py of a project, in a folder from the root, which imports modules from these paths.

    Raises:
        ExpectedError: It is not valid Python.
    """
    file = _read(root, migration / "env.py")

    def is_module(name: str) -> bool:
        places = [root / path / name.replace(".", "/") for path in ("", *paths)]
        return any(place.is_dir() or place.with_suffix(".py").is_file() for place in places)

    try:
        models = env_text.models(file.text, is_module)
        several = ONE_DATABASE & {each.name for each in env_text.options(file.text, file.text)}
        text = file.text if several else env_text.with_connection(file.text)
        options = tuple(env_text.options(file.text, text or file.text))
    except SyntaxError as error:
        raise _unreadable(file.path, f"line {error.lineno}: {error.msg}") from error
    return EnvFile(File(file.path, text or file.text, file.text), options, models, text is None)


def _read(root: Path, path: Path) -> File:
    try:
        return File(path, (root / path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, cause: str) -> ExpectedError:
    return ExpectedError(
        f"{path} cannot be read; nothing was written",
        cause=cause,
        hint=f"${{EDITOR:-vi}} {path}   (it must be UTF-8, and without errors)",
    )

"""Whether the libraries are new enough, and the engine fits the project; this imports none of them."""

import configparser
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from postgres_database import __version__
from postgres_database.errors import ExpectedError

NEEDED = {"alembic": "1.20", "sqlalchemy": "2.0.41"}
"""The oldest versions that work, as in pyproject.toml."""
ENGINE = ".".join(__version__.split(".")[:2])
"""The version of the engine as a project names it: without the last number, which stands for fixes."""


def require_libraries(needed: Mapping[str, str] = NEEDED) -> None:
    """Raise ExpectedError if a library is missing or older than this version."""
    faults = [fault for name, least in needed.items() if (fault := _fault(name, least))]
    if faults:
        wanted = " ".join(f"'{name}>={least}'" for name, least in needed.items())
        raise ExpectedError(
            "the libraries that are installed are not those that are needed",
            cause="\n".join(faults),
            hint=f"python -m pip install {wanted}   (or make install)",
        )


def require_engine(ini: Path) -> None:
    """Raise ExpectedError if a project was set up for another engine than this one.

    An alembic.ini that names no engine, or cannot be read, is accepted here.
    """
    parsed = configparser.ConfigParser(interpolation=None)
    try:
        parsed.read(ini, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return
    wanted = parsed.get("postgres_database", "engine", fallback=ENGINE).strip()
    named, ours = _parts(wanted)[:2], _parts(ENGINE)
    if named == ours:
        return
    newer = named > ours
    raise ExpectedError(
        "this project and the engine that is installed do not fit together",
        cause=f"alembic.ini says engine = {wanted}, the engine is {__version__}",
        hint=f"python -m pip install 'postgres-database=={wanted}.*'   (in a clone: git pull)"
        if newer
        else f"${{EDITOR:-vi}} alembic.ini   (engine = {ENGINE}, once you have read in CHANGELOG.md what has changed;"
        f" or python -m pip install 'postgres-database=={wanted}.*')",
    )


def _fault(name: str, least: str) -> str:
    try:
        installed = version(name)
    except PackageNotFoundError:
        return f"{name} is not installed; {least} or later is needed"
    return (
        f"{name} is {installed}; {least} or later is needed"
        if _parts(installed) < _parts(least)
        else ""
    )


def _parts(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]

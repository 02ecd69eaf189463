"""The table in which Alembic keeps the revision of a database: its name and schema."""

import ast
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from postgres_database.server.root import tool_alembic

NAME, SCHEMA = OPTIONS = ("version_table", "version_table_schema")
"""As Alembic calls them (Alembic documentation, `EnvironmentContext.configure`)."""


@dataclass(frozen=True)
class VersionTable:
    """The version table of a project."""

    name: str = "alembic_version"
    schema: str = ""
    """Empty: found by the search path, or made in its first schema."""

    @property
    def log(self) -> str:
        """The name of the log, a table in the same schema."""
        return f"{self.name}_log"


ALEMBICS = VersionTable()
"""Alembic's default."""


def given(text: str) -> dict[str, str]:
    """Return which of the OPTIONS an env.py gives to Alembic.

    Raises:
        ValueError: It computes one; the message is the name of the option.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError:  # reported when it is run
        return {}
    constants = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    options = {}
    for option, value in _keywords(tree):
        if option in OPTIONS:
            meant = constants.get(value.id, value) if isinstance(value, ast.Name) else value
            if not isinstance(meant, ast.Constant):
                raise ValueError(option)
            options[str(option)] = str(meant.value or "")
    return options


def _keywords(tree: ast.Module) -> Iterator[tuple[object, ast.expr]]:
    """Yield the keyword arguments of all calls, and the keys and values of all dictionaries."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from ((keyword.arg, keyword.value) for keyword in node.keywords)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                yield key.value if isinstance(key, ast.Constant) else None, value


def env_path(ini: ConfigParser, root: Path) -> Path:
    """Return where the env.py of a project is, by its alembic.ini, without interpolation, or pyproject.toml."""
    other = tool_alembic(root).get("script_location", "migration")
    place = ini.get("alembic", "script_location", fallback=str(other))
    return root / place.replace("%(here)s", str(root)) / "env.py"


def read(ini: ConfigParser, root: Path) -> VersionTable:
    """Return what alembic.ini says, or else what env.py gives to Alembic.

    Args:
        ini: alembic.ini, without interpolation.
        root: The folder that it is in.

    Raises:
        ValueError: env.py computes it, and alembic.ini does not say it; the message is for people.
        ExpectedError: pyproject.toml cannot be read.
    """
    given_here = ini["postgres_database"] if ini.has_section("postgres_database") else {}
    options = {option: given_here[option].strip() for option in OPTIONS if option in given_here}
    with suppress(OSError, UnicodeDecodeError):  # reported when it is run
        text = env_path(ini, root).read_text(encoding="utf-8")
        try:
            options = given(text) | options
        except ValueError as error:
            if str(error) not in options:
                raise ValueError(
                    f"alembic.ini: [postgres_database] lacks {error}, which env.py computes;"
                    f" write its value there, as {error} = app, or {error} = where it is None"
                ) from error
    return VersionTable(options.get(NAME) or ALEMBICS.name, options.get(SCHEMA, ""))

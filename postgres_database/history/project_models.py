"""The models of the project: imported by name, and only when something asks for them."""

import configparser
import importlib
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.util import OrderedSet

from postgres_database.errors import ExpectedError
from postgres_database.history import env_text, script_errors
from postgres_database.server import version_table
from postgres_database.server.connection import Database

Models = sa.MetaData | tuple[sa.MetaData, ...]
"""What Alembic takes for `target_metadata`: one MetaData, or several."""
UNDEFINED_TABLE = "42P01"
DUPLICATE = ("42P07", "42710")
"""SQLSTATE of a relation and of another object, such as a type, that is there already."""
MISSING = re.compile(r'(?P<kind>role|schema) "(?P<name>.*)" does not exist')


def load(root: Path, target_metadata: str) -> Models:
    """Import the models of a project.

    Args:
        root: The repository.
        target_metadata: The name of the models: package.module:name.

    Returns:
        The MetaData, or a tuple where the name stands for a list or a tuple, also of one: Alembic takes no naming
        convention from these.

    Raises:
        ExpectedError: They cannot be imported, are no MetaData, or two of them have the same table.
    """
    what, name = f"the models {target_metadata} cannot be loaded", target_metadata
    try:
        value = _imported(name if ":" in name else f"{name}:")
        # A MetaData has the tables of what was imported, as env.py may do beside it.
        for name in imports_of_env(root):
            _imported(name)
    except (Exception, SystemExit) as error:
        left = script_errors.conflict(error)
        package = name.partition(":")[0]
        beside = f"python -c 'import {package}'   (env.py imports it)"
        hint = _naming(name) if name == target_metadata else beside
        if left:
            hint = "git status   (then keep one version of each part)"
        elif (name := _variable(error)) and (file := _file_with(name, root)):
            hint = f"set -a; . ./{file}; set +a   (then the same command again: {file} is not exported to the models)"
        elif name:
            hint = f"export {name}=…   (the models read the process environment)"
        raise ExpectedError(what, cause=_why(error, left, root), hint=hint) from error
    given: list[object] = [*value] if isinstance(value, (list, tuple)) else [value]
    models = tuple(dict.fromkeys(one for one in map(_metadata, given) if one is not None))
    if cause := _unfit(value, given, models):
        raise ExpectedError(what, cause=cause, hint=_naming(target_metadata))
    return models if isinstance(value, (list, tuple)) else models[0]


def _naming(target_metadata: str) -> str:
    """Return what to type where a name does not lead to models: of a module that can be imported, another name."""
    package = target_metadata.partition(":")[0]
    if module := sys.modules.get(package):
        right = next((name for name, value in vars(module).items() if _is_all(value)), "…")
        return (
            f"${{EDITOR:-vi}} alembic.ini   (target_metadata = {package}:{right}; or TARGET_METADATA, if an env file"
            " has it)"
        )
    return f"python -c 'import {package}'   (TARGET_METADATA, in alembic.ini or an env file, names package.module:name)"


def _unfit(value: object, given: list[object], models: Sequence[sa.MetaData]) -> str:
    """Return why what a name stands for cannot be the models; empty if it can."""
    if not given or None in map(_metadata, given):
        kinds = ", ".join(dict.fromkeys(type(one).__name__ for one in given)) or "nothing"
        kind = kinds if given == [value] else f"{type(value).__name__} of {kinds}"
        return f"it is a {kind}, not a MetaData or a declarative base, nor a list of these"
    count = Counter(name for metadata in models for name in metadata.tables)
    twice = sorted(name for name, times in count.items() if times > 1)
    return f"more than one MetaData of the list has the table {', '.join(twice)}" if twice else ""


def imports_of_env(root: Path) -> list[str]:
    """Return the modules that env.py imports; none where it cannot be read, which is reported when it is run."""
    ini = configparser.ConfigParser(interpolation=None)
    with suppress(OSError, UnicodeDecodeError, configparser.Error):
        ini.read(root / "alembic.ini", encoding="utf-8")
        return env_text.imported(version_table.env_path(ini, root).read_text(encoding="utf-8"))
    return []


def folders(name: str) -> list[Path]:
    """Return the folders of the package in which a loaded module is; one by itself has none."""
    module = sys.modules[name]
    package = name if hasattr(module, "__path__") else name.rpartition(".")[0]
    return [Path(folder) for folder in getattr(sys.modules.get(package), "__path__", ())]


def _imported(name: str) -> Any:
    """Import a module, or what `package.module:name` says."""
    module_name, colon, attribute = name.partition(":")
    with redirect_stdout(sys.stderr):  # stdout is for results
        value: Any = importlib.import_module(module_name)
        for part in attribute.split(".") if colon else ():
            if isinstance(value, ModuleType) and not hasattr(value, part):
                _import_inner(f"{value.__name__}.{part}")  # as `from package import module` does
            value = getattr(value, part)
    return value


def _import_inner(module_name: str) -> None:
    try:
        importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:  # what it imports is not there
            raise


def _why(error: BaseException, left: int, root: Path) -> str:
    """Say why models cannot be imported, and where; `left` is the line where git left a conflict, or 0."""
    if not isinstance(error, SyntaxError) or not error.filename:
        where = script_errors.line_of_project(error, root)
        return f"{type(error).__name__}: {error}" + (f"\n(in {where})" if where else "")
    words = "git could not merge it and left its conflict markers there" if left else error.msg
    return f"{os.path.relpath(error.filename, root)}, line {left or error.lineno}: {words}"


def _variable(error: BaseException) -> str:
    """Return the environment variable that models ask for and that is not set; empty if that is not what failed."""
    frames = traceback.extract_tb(error.__traceback__)
    asked = (
        isinstance(error, KeyError)
        and frames
        and frames[-1].filename in {os.__file__, "<frozen os>"}
    )
    return str(error.args[0]) if asked else ""


def _file_with(name: str, root: Path) -> str:
    """Return the settings file in which a variable stands; empty if it stands in none."""
    lines = re.compile(rf"^\s*(?:export\s+)?{re.escape(name)}\s*=", re.MULTILINE)
    files = (path for path in sorted(root.glob(".env*")) if path.name != ".env.example")
    with suppress(OSError):
        return next(
            (file.name for file in files if lines.search(file.read_text(errors="replace"))), ""
        )
    return ""


def _is_all(value: object) -> bool:
    """Tell whether something is a MetaData or a declarative base, and no single model."""
    is_base = isinstance(value, type) and not hasattr(value, "__table__")
    return _metadata(value) is not None and (is_base or isinstance(value, sa.MetaData))


def _metadata(given: object) -> sa.MetaData | None:
    metadata = given if isinstance(given, sa.MetaData) else getattr(given, "metadata", None)
    return metadata if isinstance(metadata, sa.MetaData) else None


def each_metadata(models: Models) -> tuple[sa.MetaData, ...]:
    """Return the one MetaData, or all of them."""
    return models if isinstance(models, tuple) else (models,)


def tables(models: Models) -> list[sa.Table]:
    """Return the tables of all models."""
    return [table for metadata in each_metadata(models) for table in metadata.tables.values()]


@contextmanager
def unchanged(models: Models) -> Iterator[None]:
    """Restore the names of constraints and the `concurrently` option of indexes at the end of the block."""
    names = [
        (constraint, constraint.name)
        for table in tables(models)
        for constraint in table.constraints
    ]
    options = [
        index.dialect_options["postgresql"] for table in tables(models) for index in table.indexes
    ]
    concurrently = [(option, option["concurrently"]) for option in options]
    try:
        yield
    finally:
        for constraint, name in names:
            constraint.name = name
        for option, value in concurrently:
            option["concurrently"] = value


@contextmanager
def creatable(models: Models) -> Iterator[None]:
    """Let the models be created in a transaction, in which no index is built concurrently; then restore them."""
    with unchanged(models):
        for index in (index for table in tables(models) for index in table.indexes):
            index.dialect_options["postgresql"]["concurrently"] = False
        yield


def create(
    connection: sa.Connection, models: Models, made: Collection[tuple[str, str]]
) -> tuple[str, str] | None:
    """Create the models in one transaction.

    Args:
        connection: A connection to the database.
        models: The models.
        made: What earlier attempts returned: schemas among it are created first.

    Returns:
        The kind and name of a missing role or schema, for which nothing was created; None if all was created.
    """
    try:
        with connection.begin(), redirect_stdout(sys.stderr):
            for schema in (name for kind, name in made if kind == "schema"):
                connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
            _create_all(connection, models)
    except DBAPIError as error:
        missing = MISSING.match(str(error.orig))
        if missing is None or missing.groups() in made:
            raise
        return missing["kind"], missing["name"]
    return None


def _create_all(connection: sa.Connection, models: Models) -> None:
    """Create the tables of several MetaData, which may reference each other's, in an order that works.

    The indexes of a table are a set, which has another order each time; PostgreSQL names their parts on partitions in
    the order in which they are made. So they are ordered by their names.
    """
    for table in tables(models):
        table.indexes = OrderedSet(sorted(table.indexes, key=lambda each: str(each.name)))
    waiting = each_metadata(models)
    while waiting:
        later: list[sa.MetaData] = []
        for metadata in waiting:
            try:
                _create_tables(connection, metadata)
            except DBAPIError as error:
                if getattr(error.orig, "pgcode", "") != UNDEFINED_TABLE or len(waiting) == 1:
                    raise
                later.append(metadata)
                refused = error
        if len(later) == len(waiting):
            raise refused
        waiting = tuple(later)


def _create_tables(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Create what a MetaData has; a query for each table and type, whether it is there, only where some of it is."""
    try:
        with connection.begin_nested():
            metadata.create_all(connection, checkfirst=False)
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", "") not in DUPLICATE:
            raise
        with connection.begin_nested():
            metadata.create_all(connection)


UNDEFINED = (UNDEFINED_TABLE, "42704", "42883", "3F000")
"""SQLSTATEs of a missing relation, other object (type, collation, operator class, …), function, or schema."""
LACKING = (
    "invoke revision --empty --msg '…'   (where no revision makes it yet, as op.execute('CREATE EXTENSION …') does;"
    " else mend the models, then invoke check)"
)


class MissingError(ExpectedError):
    """Models use an object that does not exist and that they do not create."""


def uncreated(what: str, database: Database, error: Exception) -> ExpectedError:
    """Return the error for models that cannot be created: a MissingError if something that they use is not there."""
    cause = words(database, error)
    if getattr(getattr(error, "orig", None), "pgcode", "") in UNDEFINED:
        return MissingError(what, cause=cause, hint=LACKING)
    return ExpectedError(what, cause=cause, hint="invoke check   (once the models are mended)")


def words(database: Database, error: Exception) -> str:
    """Return the text of an error, and in a second line the statement or the source line that raised it."""
    if isinstance(error, SQLAlchemyError):
        statement = " ".join((getattr(error, "statement", None) or "").split())
        place = shorten(statement, 120, placeholder=" …")
        said = database.words(error)
    else:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename}, line {frame.lineno}"
        said = f"{type(error).__name__}: {database.words(error)}"
    return f"{said}\n(in {place})" if place else said


class Deferred:
    """Stands for the models where scripts run: loaded when Alembic asks how constraints are named.

    Alembic asks this for each operation that makes a table, a constraint or an index (Alembic documentation, "The
    Importance of Naming Constraints"); scripts that only execute SQL need no models.
    """

    def __init__(self, root: Path, target_metadata: str) -> None:
        """Remember the name of the models."""
        self._named = root, target_metadata
        self.asked = False
        """Whether the models were needed."""

    @property
    def naming_convention(self) -> Mapping[str, Any]:
        """How constraints are named; a list of MetaData has no such attribute, and this has none then either.

        Raises:
            ExpectedError: The models cannot be loaded.
        """
        self.asked = True
        convention: Mapping[str, Any] = self._models.naming_convention
        return convention

    @cached_property
    def _models(self) -> Any:
        return load(*self._named)

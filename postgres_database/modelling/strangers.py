"""Models that are perhaps not those of the database: no tables, none in common with it, or not all imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postgres_database.errors import ExpectedError
from postgres_database.history import project_models, reads
from postgres_database.history.project import Project
from postgres_database.history.project_models import Models
from postgres_database.schema import catalog
from postgres_database.server.connection import Database
from postgres_database.sql.names import DEFAULT_SCHEMA, Name

if TYPE_CHECKING:  # a check that finds nothing to compare does without it
    from postgres_database.drafting.matching import Decisions
    from postgres_database.schema.comparison import Comparison
    from postgres_database.scratch.databases import Scratch

SHOWN = 10
UNREADABLE = "what cannot be read"
"""The tables of a module that is not valid Python."""
TABLE_ARGUMENTS = 2
"""How many arguments a call of `Table` has at least that defines one: its name and its MetaData."""


@dataclass(frozen=True)
class Unread:
    """A module in the package of the models that was not imported."""

    path: Path
    tables: tuple[str, ...]
    """The tables that it defines."""


def require_whole(project: Project, models: Models, made: Comparison) -> None:
    """Raise ExpectedError if the models are certainly incomplete; `made` is their schema beside the history's."""
    unread = unimported(project, models)
    empty = not project_models.tables(models) and not made.models.snapshot.objects
    if not (unread or empty):
        return
    lines = [
        f"{_relative(module.path, project.root)} was not imported; it defines {', '.join(module.tables)}"
        for module in unread[:SHOWN]
    ]
    more = [f"and {len(unread) - SHOWN} more"] if len(unread) > SHOWN else []
    fault = "have no tables" if empty else "do not have every table that is defined beside them"
    package = project.target_metadata.partition(":")[0]
    tables = [name for module in unread for name in module.tables if name != UNREADABLE]
    exclude = f"or exclude = {_listed(tables)} in alembic.ini, if not theirs" if tables else ""
    hint = (
        f"import {'these modules' if unread else 'the modules with the tables'} in {package}, then the same"
        f" command again   ({exclude or 'TARGET_METADATA, or target_metadata in alembic.ini, names the models'})"
    )
    raise ExpectedError(
        f"the models {project.target_metadata} {fault}",
        cause="\n".join([*lines, *more]) or "nothing is defined where they are loaded from",
        hint=hint,
    )


def require_partitioning(made: Comparison) -> None:
    """Raise ExpectedError if the models have a partitioned table of the history as a plain one.

    PostgreSQL cannot change that of a table, and what remains of the model has an index, a key and a definition that
    differ for that reason alone.
    """
    history, models = made.before.catalog.tables, made.models.catalog.tables
    plain = {
        name: table.partitioned_by
        for name, table in history.items()
        if table.partitioned_by and name in models and not models[name].partitioned_by
    }
    if not plain:
        return
    (first, key), *_ = plain.items()
    listed = _listed([str(name) for name in plain])
    raise ExpectedError(
        f"the models do not say that {listed} {'are' if plain.keys() - {first} else 'is'} partitioned",
        cause="\n".join(
            f"{name} is PARTITION BY {each} in the history" for name, each in plain.items()
        ),
        hint=f"add postgresql_partition_by={key!r} to the table arguments of {first}, then the same command again"
        "   (or invoke revision --empty --msg '…', if its rows are to move into a plain table)",
    )


def unimported(project: Project, models: Models) -> list[Unread]:
    """Return the modules of the models' package that define tables and were not imported.

    A module whose tables are known from elsewhere or excluded does not count; nor does a script of Alembic.
    """
    known = {table.name for table in project_models.tables(models)}
    loaded = {
        Path(file).resolve()
        for module in [*sys.modules.values()]
        if (file := reads.file_of(module))
    }
    unread = []
    folders = project_models.folders(project.target_metadata.partition(":")[0])
    for path in (each for folder in folders for each in sorted(folder.rglob("*.py"))):
        if path.resolve() in loaded:
            continue
        tables = [
            str(name)
            for name in _defined(path)
            if name.name not in known and project.scope.includes(name.schema, name.name)
        ]
        if tables:
            unread.append(Unread(path, tuple(tables)))
    return unread


def _defined(path: Path) -> Iterator[Name]:
    """Yield the tables that a file defines, by `__tablename__`, `Table(...)` or `table=True`."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if "down_revision" in text or not any(
        sign in text for sign in ("__tablename__", "Table(", "table=True")
    ):
        return
    try:
        tree = ast.parse(text)
    except SyntaxError:
        yield Name(DEFAULT_SCHEMA, UNREADABLE)
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from _by_class(node)
        elif isinstance(node, ast.Call) and len(node.args) >= TABLE_ARGUMENTS:
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0]
            if (
                called == "Table"
                and isinstance(first, ast.Constant)
                and isinstance(first.value, str)
            ):
                yield Name.of(_text(node.keywords, "schema"), first.value)


def _by_class(node: ast.ClassDef) -> Iterator[Name]:
    names = [
        statement.value.value
        for statement in node.body
        if isinstance(statement, (ast.Assign, ast.AnnAssign))
        and "__tablename__" in {getattr(target, "id", "") for target in _targets(statement)}
        and isinstance(statement.value, ast.Constant)
    ]
    if not names and any(
        keyword.arg == "table" and getattr(keyword.value, "value", False) is True
        for keyword in node.keywords
    ):
        names = [node.name.lower()]  # as SQLModel does
    yield from (Name.of(None, str(name)) for name in names)


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _text(keywords: Collection[ast.keyword], name: str) -> str | None:
    values = (keyword.value for keyword in keywords if keyword.arg == name)
    return next((str(value.value) for value in values if isinstance(value, ast.Constant)), None)


def share_nothing(models: Models, tables: Collection[Name]) -> bool:
    """Tell whether the models know none of these tables of a database."""
    theirs = {Name.of(table.schema, table.name) for table in project_models.tables(models)}
    return bool(tables) and theirs.isdisjoint(tables)


def require_same(project: Project, database: Database) -> None:
    """Raise ExpectedError if the models know none of the tables of a database."""
    tables = catalog.take(database.read_only()).tables
    if share_nothing(project.models(), tables):
        raise ExpectedError(
            f"the models {project.target_metadata} know none of the tables of {database.dsn}; nothing was written",
            cause=f"a script that leads to them would drop {_some(tables)}",
            hint=f"invoke baseline-existing{database.env_option}   (without --with-models; target_metadata in"
            " alembic.ini names the models)",
        )


def require_known(project: Project, models: Models, compared: Comparison) -> None:
    """Raise ExpectedError if the models know none of the tables of a history that began with an adoption."""
    tables = compared.before.catalog.tables
    if _adopted(project) and project_models.tables(models) and share_nothing(models, tables):
        raise ExpectedError(
            f"the models {project.target_metadata} know none of the tables of the history: they belong to another"
            " database",
            cause=f"the history has {_some(tables)}",
            hint="${EDITOR:-vi} alembic.ini   (target_metadata names the models; then: invoke check)",
        )


def _adopted(project: Project) -> list[str]:
    """Return the revisions that an adoption wrote: their SQL is in a file beside them."""
    return [
        revision.id
        for revision in project.history.revisions
        if revision.path.with_suffix(".sql").exists()
    ]


def require_dropped(
    compared: Comparison, project: Project, session: Scratch, decisions: Decisions
) -> None:
    """Raise ExpectedError if tables of an adopted database would be dropped, unless that is wanted.

    No script says whether the models ever had them. `compared` is the comparison after renames.
    """
    gone = compared.before.catalog.tables.keys() - compared.goal.catalog.tables.keys()
    adopted = _adopted(project)
    if not gone or not adopted or decisions.drop_adopted:
        return
    tables = sorted(gone & catalog.take(session.at(project, adopted)).tables.keys())
    if not tables:
        return
    question = (
        f"drop {_some(tables)}, which the adopted database brought and the models do not have?"
    )
    answer = decisions.choose(question)
    if answer:
        return
    raise ExpectedError(
        f"the models do not have {_some(tables)}, which the adopted database brought; nothing was written",
        cause="the answer was no"
        if answer is False
        else "a script would drop them with their rows, and there is no terminal to ask on",
        hint=f"invoke revision --msg '…' --drop-adopted   (to drop them;"
        f" exclude = {_listed(tables)} in alembic.ini keeps them; or put them into the models)",
    )


def _listed(tables: Sequence[object]) -> str:
    """Return what alembic.ini takes for some tables."""
    return ", ".join([*map(str, tables[:SHOWN]), *(["…"] if tables[SHOWN:] else [])])


def _some(tables: Collection[Name]) -> str:
    names = sorted(map(str, tables))
    more = f" and {len(names) - SHOWN} more" if names[SHOWN:] else ""
    counted = "the table" if len(names) == 1 else f"{len(names)} tables:"
    return f"{counted} {', '.join(names[:SHOWN])}{more}"


def _relative(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path

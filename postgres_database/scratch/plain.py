"""Models that are made of their files alone, so that unchanged files have the same naming convention: none is imported.

These use SQLAlchemy and what of Python asks nothing of the process, the machine or the moment. Any others are imported
each time, and asked. It is the convention only that is known in this way: what else models make is not (`recording`).
"""

import ast
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from postgres_database.history import reads
from postgres_database.history.project import Project

LIBRARIES = frozenset((
    "__future__", "abc", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools",
    "itertools", "math", "numbers", "operator", "re", "sqlalchemy", "string", "textwrap", "types", "typing",
    "typing_extensions", "uuid",
))  # fmt: skip
"""What plain models import besides each other."""
NAMING = "postgres_database.naming"
"""And this of the engine."""
BUILTINS = frozenset((
    "__builtins__", "__file__", "__import__", "breakpoint", "compile", "delattr", "eval", "exec", "getattr", "globals",
    "input", "locals", "open", "setattr", "vars",
))  # fmt: skip
"""What they do not use of Python: it asks for more than the files."""
UNORDERED = frozenset(("frozenset", "hash", "id", "set"))
"""What they do not call: it is another one each time."""
ASKING = frozenset((
    "__dict__", "__globals__", "__subclasses__", "_os", "_sys", "argv", "builtins", "create_engine", "environ",
    "engine_from_config", "getenv", "getnode", "now", "os", "sys", "today", "utcnow", "uuid1", "uuid4",
    "uuid6", "uuid7", "uuid8",
))  # fmt: skip
"""What they do not use of what they import."""
INSTALLED = ("built-in", "frozen")
"""Where Python finds what is no file (Python documentation, `ModuleSpec.origin`)."""
ELSE = ""
"""The key of what is no file and no module."""


def facts(project: Project) -> Mapping[str, str]:
    """Return what the naming convention of the models depends on, which are loaded; empty where only they can tell.

    Returns:
        Path from the root of the repository → digest of the file or folder; name of a module → where it is.
    """
    from postgres_database.history import project_models  # noqa: PLC0415 - here they are loaded

    names = _above(project.target_metadata.partition(":")[0])
    beside = [name.replace(":", ".") for name in project_models.imports_of_env(project.root)]
    names += [each for name in beside for each in _above(name) if each in sys.modules]
    with suppress(KeyError, TypeError, OSError, SyntaxError, ValueError):
        files = [str(sys.modules[name].__file__) for name in names]
        starts = [Path(file) for file in files if not reads.is_foreign(file)]
        needed, steady = reads.closure(starts)
        paths = {Path(os.path.abspath(path)) for path in {*starts, *needed}}  # noqa: PTH100 - as `reads` has them
        modules = reads.modules_in(paths)
        known = LIBRARIES | {NAMING} | modules
        # A package without a file may be in several places, and become another one by any of them.
        steady &= all(sys.modules[each].__file__ for name in modules for each in _above(name))
        imported: set[str] = set()
        for path in paths:
            if path.suffix != ".py" or reads.is_foreign(str(path)):
                return {}
            tree = ast.parse(path.read_bytes())
            imported.update(_imported(tree))
            if not _asks_nothing(tree):
                return {}
        if starts and steady and all(known.intersection(_above(name)) for name in imported):
            folders = {path.parent for path in paths if (path.parent / "__init__.py").exists()}
            digests = {_relative(each, project): reads.digest(each) for each in paths | folders}
            tops = {name.partition(".")[0] for name in {*imported, *names}}
            places = {name: _place(name, project) for name in sorted(tops)}
            return digests | places | {ELSE: _else(project)}
    return {}


def hold(facts: Mapping[str, str], project: Project) -> bool:
    """Tell whether the models still depend on the same."""
    project.find_modules()
    return bool(facts) and all(_fact(key, project) == said for key, said in facts.items())


def _fact(key: str, project: Project) -> str:
    if key == ELSE:
        return _else(project)
    return _place(key, project) if key.isidentifier() else reads.digest(project.root / key)


def _else(project: Project) -> str:
    return f"{project.target_metadata}, Python {sys.version}"


def _relative(path: Path, project: Project) -> str:
    """Return a path from the root, which is no name of a module."""
    return f".{os.sep}{os.path.relpath(path, project.root)}"


def _place(name: str, project: Project) -> str:
    """Return where Python finds a module, from the root of the repository; empty for what is installed."""
    spec = find_spec(name)
    origin = (spec and spec.origin) or "nowhere"
    return (
        "" if origin in INSTALLED or reads.is_foreign(origin) else _relative(Path(origin), project)
    )


def _above(name: str) -> list[str]:
    """Return the names of a module and of the packages that it is in."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the modules that a source imports; not what it imports by its place in its package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)


def _asks_nothing(tree: ast.Module) -> bool:
    """Tell whether a source uses nothing whose value its files do not say; `func.now()` is a text of SQL."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Set | ast.SetComp):
            return False
        if (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Load)
            and node.id in BUILTINS | ASKING
        ):
            return False
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in UNORDERED:
            return False
        if isinstance(node, ast.Attribute) and node.attr in ASKING and not _is_func(node.value):
            return False
        names: Iterable[ast.alias] = (
            node.names if isinstance(node, ast.Import | ast.ImportFrom) else ()
        )
        if any(part in ASKING for alias in names for part in alias.name.split(".")):
            return False
    return True


def _is_func(node: ast.expr) -> bool:
    return getattr(node, "attr", getattr(node, "id", "")) == "func"

"""Models that are made of their files alone, so that unchanged files make the same models: none is imported.

These use SQLAlchemy and what of Python asks nothing of the process, the machine or the moment. Any others are imported
each time, and asked.
"""

import ast
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
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
SETS = frozenset(("frozenset", "set"))
"""What they hand to nothing either, and use no method of; as a type, `set[str]` means nothing of that."""
MOMENTS = frozenset((
    "getnode", "now", "today", "utcnow", "uuid1", "uuid4", "uuid6", "uuid7", "uuid8",
))  # fmt: skip
"""What is another value each time: it may only be what a row gets."""
ASKING = MOMENTS | frozenset((
    "__dict__", "__globals__", "__subclasses__", "_os", "_sys", "argv", "astimezone", "builtins", "create_engine",
    "environ", "engine_from_config", "fromtimestamp", "getenv", "os", "sys",
))  # fmt: skip
"""What they do not use of what they import."""
COLUMNS = frozenset(("Column", "mapped_column"))
OF_ROWS = frozenset(("default", "insert_default", "onupdate"))
"""Arguments of a column that are not in its definition (SQLAlchemy documentation, "Column INSERT/UPDATE Defaults")."""
INSTALLED = ("built-in", "frozen")
"""Where Python finds what is no file (Python documentation, `ModuleSpec.origin`)."""
ELSE = ""
"""The key of what is no file and no module."""
TREE = f"{os.sep}**"
"""How the key ends of all modules in a folder."""
COMMANDS = sys.stdlib_module_names | {"invoke", "postgres_database"}
"""What the modules import that a process loads besides the models, such as tasks.py, if they do not change models."""


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
            tree = _parsed(path)
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


def everything(project: Project) -> Mapping[str, str]:
    """Return what all that the models make depends on, which are loaded; empty where only they can tell.

    That is more than `facts`: what defines tables in their package and was not imported (`strangers.unimported`), and
    what else this process has loaded, if it cannot change models.
    """
    from postgres_database.history import project_models  # noqa: PLC0415 - here they are loaded

    found = facts(project)
    modules = {_relative(Path(path), project): name for name, path in reads.loaded().items()}
    others = {path: project.root / path for path in modules if path not in found}
    known = COMMANDS | {modules[path] for path in others}
    with suppress(OSError, SyntaxError, ValueError):
        reached, steady = reads.closure(others.values())
        apart = not any(_relative(path, project) in found for path in reached)
        apart &= all(
            known.intersection(_above(name))
            for path in others.values()
            for name in _imported(_parsed(path))
        )
        if found and steady and apart:
            folders = project_models.folders(project.target_metadata.partition(":")[0])
            trees = {f"{_relative(each, project)}{TREE}": _tree(each) for each in folders}
            digests = {name: reads.digest(path) for name, path in others.items()}
            return {**found, **digests, **trees}
    return {}


def all_hold(facts: Mapping[str, str], project: Project) -> bool:
    """Tell whether the models, which are not loaded, still depend on the same; `facts` is from `everything`."""
    loaded = {_relative(Path(path), project) for path in reads.loaded().values()}
    return loaded <= facts.keys() and hold(facts, project)


def _fact(key: str, project: Project) -> str:
    if key == ELSE:
        return _else(project)
    if key.endswith(TREE):
        return _tree(project.root / key.removesuffix(TREE))
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


def _tree(folder: Path) -> str:
    """Return a digest of the modules in a folder and in those below."""
    digest = sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0{reads.digest(path)}\0".encode())
    return digest.hexdigest()[:32]


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


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
    return not any(map(_asks, _defining(tree)))


def _asks(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return isinstance(node.ctx, ast.Load) and node.id in BUILTINS | ASKING
    if isinstance(node, ast.Attribute):
        return (node.attr in ASKING and not _is_func(node.value)) or _name(node.value) in SETS
    if isinstance(node, ast.Call):
        return _name(node.func) in UNORDERED or any(_name(each) in SETS for each in node.args)
    if isinstance(node, ast.BinOp):
        return any(map(_is_view, (node.left, node.right)))
    if isinstance(node, ast.Import | ast.ImportFrom):
        return any(map(_is_asking, node.names))
    return isinstance(node, ast.Set | ast.SetComp)


def _defining(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes of a source but for what a column gives to rows."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        of_column = isinstance(node, ast.Call) and _last(node.func) in COLUMNS
        waiting += (
            child
            for child in ast.iter_child_nodes(node)
            if not (of_column and isinstance(child, ast.keyword) and child.arg in OF_ROWS)
        )


def _is_asking(imported: ast.alias) -> bool:
    """Tell whether an import asks, or gives what does another name; what is used by its own name is seen there."""
    parts = {*imported.name.split(".")}
    return bool(parts & (ASKING - MOMENTS) or (imported.asname and parts & MOMENTS))


def _is_view(node: ast.expr) -> bool:
    """Tell whether this is `x.keys()` or `x.items()`, of which operators make sets."""
    return isinstance(node, ast.Call) and _last(node.func) in {"items", "keys"}


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _last(node: ast.expr) -> str:
    """Return the last part of `a.b`."""
    return node.attr if isinstance(node, ast.Attribute) else _name(node)


def _is_func(node: ast.expr) -> bool:
    return _last(node) == "func"

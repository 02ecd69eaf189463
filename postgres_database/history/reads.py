"""Which files of the project a script depends on: what it imports, and what it opens while it is loaded or runs.

Python reports each file that is opened (Python documentation, "Audit events table"); the stack shows which sources
were running. A module is opened once in a process, so its importers are read from their sources.
"""

import ast
import importlib.util
import inspect
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGE = Path(__file__).parents[1]
MODELS = PACKAGE / "models"
"""The only part of the engine that is the project's."""
LISTINGS = ("os.listdir", "os.scandir")
DYNAMIC = frozenset(("importlib", "__import__", "runpy", "exec", "eval", "pkgutil"))
"""Names in a source that may import what is not written there."""
ALEMBIC = getattr(importlib.util.find_spec("alembic"), "submodule_search_locations", None) or ()
"""Where Alembic is; it is not imported for that."""
# Between these and what they call, nothing is read on behalf of the script or env.py that called them.
BORDERS = (
    *(f"{place}{os.sep}{part}{os.sep}" for place in ALEMBIC for part in ("runtime", "script")),
    str(PACKAGE / "history" / "project_models.py"),
)


def _foreign() -> tuple[str, ...]:
    """Return the folders of installed packages: their versions tell their content, also the engine's own."""
    paths = sysconfig.get_paths()
    names = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
    names += [*site.getsitepackages(), site.getusersitepackages()]
    places = dict.fromkeys(place for name in names for place in (name, os.path.realpath(name)))
    return "<", *(f"{place}{os.sep}" for place in places)


FOREIGN = _foreign()
Facts = tuple[int, int] | None
"""When a file was changed, and which one it is; None if there is none."""
_opened: dict[str, dict[str, Facts]] = {}
"""Files and folders, and their facts then, by the source whose code opened them, directly or by what it called."""
_loaded: dict[str, Facts] = {}
"""Modules, and their facts when they were imported: they are not opened again when they change."""


def is_foreign(name: str) -> bool:
    """Tell whether the version of what is installed, or of the engine, tells the content of a file."""
    if name.startswith(FOREIGN):
        return True
    return name.startswith(f"{PACKAGE}{os.sep}") and not name.startswith(f"{MODELS}{os.sep}")


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """Remember what is read; Python calls this for every event."""
    if event not in LISTINGS and (event != "open" or _writes(*arguments[1:])):
        return
    path = arguments[0] if arguments[0] is not None else "."
    if isinstance(path, int):  # it was opened before
        return
    name = _source(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - no Path: this is called often
    if is_foreign(name):
        return
    frame = inspect.currentframe()
    frame = frame.f_back if frame else None
    importing = frame is not None and frame.f_code.co_filename.startswith("<frozen importlib")
    if importing and event in LISTINGS:
        return
    facts = _stat(name)
    if importing:
        _loaded[name] = facts
    for reader in _readers(frame):
        _opened.setdefault(reader, {})[name] = facts


def _writes(mode: str | None, flags: int) -> bool:
    return "+" not in mode and "r" not in mode if mode else bool(flags & os.O_WRONLY)


def _source(name: str) -> str:
    """Return the source of a compiled file, any other as it is."""
    if name.endswith(".pyc"):
        with suppress(ValueError):
            return importlib.util.source_from_cache(name)
    return name


def _readers(frame: FrameType | None) -> Iterator[str]:
    """Yield the sources of the project that are running."""
    while frame:
        name = frame.f_code.co_filename
        if name.startswith(BORDERS):
            return
        if not is_foreign(name):
            yield os.path.abspath(name)  # noqa: PTH100
        frame = frame.f_back


def _stat(name: str) -> Facts:
    try:
        facts = os.stat(name)  # noqa: PTH116
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_ino


def closure(starts: Iterable[Path], *, leave: Iterable[Path] = ()) -> tuple[set[Path], bool]:
    """Return the files that these sources depend on, and whether all are unchanged since they were read.

    Args:
        starts: Sources; they are returned only if another one needs them.
        leave: Sources that are neither returned nor followed.
    """
    left = {os.path.abspath(path) for path in leave}  # noqa: PTH100
    modules = loaded()
    files: set[str] = set()
    waiting = [os.path.abspath(path) for path in starts]  # noqa: PTH100
    seen, steady = {*waiting}, True
    while waiting:
        name = waiting.pop()
        opened = _opened.get(name, {})
        needed = (opened.keys() | _imported(name, modules)) - left
        steady &= all(_stat(path) == opened[path] for path in needed & opened.keys())
        files |= needed - {name}
        waiting += needed - seen
        seen |= needed
    steady &= all(_loaded[name] == _stat(name) for name in files & _loaded.keys())
    return {Path(name) for name in files}, steady


def modules_in(paths: Iterable[Path]) -> set[str]:
    """Return the names of the loaded modules whose files these are."""
    files = {str(path) for path in paths}
    return {name for name, path in loaded().items() if path in files}


def find_modules(folders: list[str]) -> None:
    """Let Python find modules in these folders first, but no library in one of its name, where scripts may be."""
    for name in ("sqlalchemy", "mako", "alembic"):
        if any(Path(folder, name, "__init__.py").exists() for folder in folders):
            importlib.import_module(name)
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]


def file_of(module: object) -> str:
    """Return the file of a loaded module; empty if it has none, as what stands in for one and imports it when asked."""
    try:
        file = getattr(module, "__file__", None)
    except Exception:  # noqa: BLE001 - whatever it raises for a module that is not there
        return ""
    return file if isinstance(file, str) else ""


def loaded() -> dict[str, str]:
    """Return the files of all modules that are not installed, by name."""
    files = ((name, file_of(module)) for name, module in [*sys.modules.items()])
    paths = ((name, os.path.abspath(file)) for name, file in files if file)  # noqa: PTH100
    return {name: path for name, path in paths if not is_foreign(path)}


def _imported(name: str, modules: dict[str, str]) -> set[str]:
    """Return the files of the loaded modules that a source names."""
    if not name.endswith(".py"):
        return set()
    known = next((module for module, path in modules.items() if path == name), "")
    package = known if name.endswith("__init__.py") else known.rpartition(".")[0]
    named, dynamic = _named(name, _stat(name), package)
    if dynamic:
        return {*modules.values()}
    return {modules[module] for module in named if module in modules}


@cache
def _named(name: str, _facts: object, package: str) -> tuple[frozenset[str], bool]:
    """Return the modules that a source may import, with their packages; and whether it may import others as well."""
    try:
        nodes = [*ast.walk(ast.parse(Path(name).read_bytes()))]
    except (OSError, SyntaxError, ValueError):
        return frozenset(), False
    names = {name for node in nodes for name in _modules_of(node, package)}
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    parts = [name.split(".") for name in names]
    packages = {".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)}
    return frozenset(packages), bool(DYNAMIC & (used | {part[0] for part in parts}))


def _modules_of(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the names of modules, or of what is in one, that stand in a node of a source in a package."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        parts = [*above, node.module or ""] if node.level else [node.module or ""]
        base = ".".join(filter(None, parts))
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Attribute):
        yield _dotted(node)


def _dotted(node: ast.AST) -> str:
    """Return `a.b.c` as it stands in the source; empty if it is no plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def digest(path: Path) -> str:
    """Return a digest of the content of a file, or of the names in a folder; empty if there is neither."""
    if path.is_file():
        return sha256(path.read_bytes()).hexdigest()[:32]
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir() if entry.name != "__pycache__")
        return sha256("\0".join(names).encode()).hexdigest()[:32]
    return ""


sys.addaudithook(_hear)

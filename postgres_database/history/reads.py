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
OUTSIDE = frozenset((
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "socket.connect", "socket.getaddrinfo",
    "sqlite3.connect", "subprocess.Popen",
))  # fmt: skip
"""Events after which the project may know what stands in no file."""
UNHEARD = frozenset((
    "MySQLdb", "asyncpg", "cffi", "ctypes", "cx_Oracle", "dbm", "duckdb", "h5py", "lxml", "multiprocessing", "oracledb",
    "polars", "psycopg", "psycopg2", "pyarrow", "pygit2", "pymssql", "pyodbc", "shelve",
))  # fmt: skip
"""What opens connections or files without an event."""
LOOKING = frozenset((
    "access", "exists", "getmtime", "getsize", "is_dir", "is_file", "is_symlink", "isdir", "isfile", "islink",
    "lexists", "lstat", "stat",
))  # fmt: skip
"""Attributes by which a source may ask whether there is a file, which is no event either."""
NO_FILES = frozenset(("sa.exists", "sqlalchemy.exists"))
"""What they are in SQL."""
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
    names = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    names += [*site.getsitepackages(), site.getusersitepackages()]
    places = dict.fromkeys(place for name in names for place in (name, os.path.realpath(name)))
    return "<", *(f"{place}{os.sep}" for place in places)


FOREIGN = _foreign()
PACKAGES = tuple(
    place
    for place in FOREIGN
    if place.endswith(("site-packages" + os.sep, "dist-packages" + os.sep))
)
Facts = tuple[int, int] | None
"""When a file was changed, and which one it is; None if there is none."""
_opened: dict[str, dict[str, Facts]] = {}
"""Files and folders, and their facts then, by the source whose code opened them, directly or by what it called."""
_loaded: dict[str, Facts] = {}
"""Modules, and their facts when they were imported: they are not opened again when they change."""
_installed: set[str] = set()
"""Files of installed packages that were opened."""
_outside: set[str] = set()
"""Sources that have asked others than files, such as a database."""


def _is_foreign(name: str) -> bool:
    if name.startswith(FOREIGN):
        return True
    return name.startswith(f"{PACKAGE}{os.sep}") and not name.startswith(f"{MODELS}{os.sep}")


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """Remember what is read; Python calls this for every event."""
    if event in OUTSIDE:
        asked_outside()
        return
    if event not in LISTINGS and (event != "open" or _writes(*arguments[1:])):
        return
    path = arguments[0] if arguments[0] is not None else "."
    if isinstance(path, int):  # it was opened before
        return
    name = _source(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - no Path: this is called often
    if _is_foreign(name):
        if event == "open":
            _installed.add(name)
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


def asked_outside(who: str = "") -> None:
    """Remember who asks something that is no file: the sources of the project that are running, unless it is said."""
    frame = inspect.currentframe()
    caller = frame.f_back if frame else None  # which is a border itself
    _outside.update([who] if who else _readers(caller.f_back if caller else None))


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
        if not _is_foreign(name):
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
    modules = _modules()
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


def everything() -> tuple[set[Path], bool]:
    """Return all files that the project has read in this process, and whether it depends on these, as they are, alone.

    Not if one has changed since, or if a source has asked a database, a program or the network, or may have asked them,
    or whether there is a file, without an event; nor if sources ran before they were heard, or are in an archive.
    """
    modules = _modules()
    facts = [*_loaded.items(), *(item for each in _opened.values() for item in each.items())]
    steady = not (_outside or _unheard) and all(_stat(name) == known for name, known in facts)
    for path in modules.values():
        named, _, looks = _named(path, _stat(path), "")
        steady &= not (looks or UNHEARD & named) and os.path.isfile(path)  # noqa: PTH113
    return {Path(name) for name in (*modules.values(), *(name for name, _ in facts))}, steady


def is_installed(module: str) -> bool:
    """Tell whether a loaded module is in a folder of installed packages, whose sources are not looked at."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return isinstance(file, str) and _is_foreign(os.path.abspath(file))  # noqa: PTH100


def installed() -> set[str]:
    """Return the files of the engine and of installed packages that were imported or opened in this process."""
    files = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
    names = {*_installed, *(file for file in files if isinstance(file, str))}
    return {name for name in names if name.startswith((*PACKAGES, f"{PACKAGE}{os.sep}"))}


def places() -> set[Path]:
    """Return the folders in which a new module would be found, without those of installed packages."""
    paths = (getattr(module, "__path__", ()) for module in [*sys.modules.values()])
    names = {os.path.abspath(name) for path in (sys.path, *paths) for name in path}  # noqa: PTH100
    return {Path(name) for name in names if not _is_foreign(f"{name}{os.sep}")}


def _modules() -> dict[str, str]:
    """Return the files of all modules that are not installed, by name."""
    files = ((name, getattr(module, "__file__", None)) for name, module in [*sys.modules.items()])
    paths = ((name, os.path.abspath(file)) for name, file in files if isinstance(file, str))  # noqa: PTH100
    return {name: path for name, path in paths if not _is_foreign(path)}


def _imported(name: str, modules: dict[str, str]) -> set[str]:
    """Return the files of the loaded modules that a source names."""
    if not name.endswith(".py"):
        return set()
    known = next((module for module, path in modules.items() if path == name), "")
    package = known if name.endswith("__init__.py") else known.rpartition(".")[0]
    named, dynamic, _ = _named(name, _stat(name), package)
    if dynamic:
        return {*modules.values()}
    return {modules[module] for module in named if module in modules}


@cache
def _named(name: str, _facts: object, package: str) -> tuple[frozenset[str], bool, bool]:
    """Return the modules that a source may import, with their packages, and whether it may import others as well.

    The last value tells whether it may ask for files by `LOOKING`.
    """
    try:
        nodes = [*ast.walk(ast.parse(Path(name).read_bytes()))]
    except (OSError, SyntaxError, ValueError):
        return frozenset(), False, False
    names = {name for node in nodes for name in _modules_of(node, package)}
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    parts = [name.split(".") for name in names]
    packages = {".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)}
    dynamic = bool(DYNAMIC & (used | {part[0] for part in parts}))
    return frozenset(packages), dynamic, any(map(_looks, nodes))


def _looks(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        names = {alias.name for alias in node.names}
        return node.module in {"os", "os.path", "posixpath"} and bool(LOOKING & names)
    return (
        isinstance(node, ast.Attribute) and node.attr in LOOKING and _dotted(node) not in NO_FILES
    )


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


def _ran_before() -> bool:
    """Tell whether sources of the project have run, other than those that are running."""
    frame, running = inspect.currentframe(), set()
    while frame:
        running.add(os.path.abspath(frame.f_code.co_filename))  # noqa: PTH100
        frame = frame.f_back
    return not running.issuperset(_modules().values())


_unheard = _ran_before()
"""Whether something may have been read before this."""
sys.addaudithook(_hear)

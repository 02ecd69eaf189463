"""Scripts as texts, none of them executed: their headers, and digests by which an edited one is known.

Alembic executes every script to learn how they follow each other. Where they are a line, which is the usual case, their
headers say it. Python's own cache of compiled files, which is keyed by their size and time, makes it cheap to know that
each of them compiles. Beside it is an index of the headers, which may be deleted at any time.
"""

import ast
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from importlib import metadata
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from postgres_database import __version__
from postgres_database.history import staged
from postgres_database.history.graph import Revision, message
from postgres_database.server.root import tool_alembic

MARK = b"\xef\xbb\xbf"
"""What some editors write at the beginning of UTF-8."""
ENDS = re.compile(rb"[ \t]*(?:\r\n|\r|\n)")

NAMES = frozenset({"revision", "down_revision", "branch_labels", "depends_on"})
"""What Alembic reads of a script (Alembic documentation, "Create a Migration Script")."""
COMMENT = re.compile(rb"\n#.*")
HEADER = re.compile(
    rb"\n((?:down_)?revision|branch_labels|depends_on)[ \t]*(?::[^=\n]*)?="
    rb"[ \t]*(?:None|'(\w+)'|\"(\w+)\")[ \t]*(?=\r?\n)"
)
"""An assignment of a literal to one of the NAMES."""
OTHER_WAYS = frozenset({"globals", "locals", "vars", "exec", "eval", "setattr", "__dict__"})
"""Names in the code of a script that may mean that a header is set in another way than by an assignment."""
SYMBOLS = (None, "head", "heads", "base")
SCRIPT = re.compile(r"(?!\.#|__init__).*\.py")
"""The names of the files that Alembic takes for scripts."""
Header = Mapping[str, str | None]
INDEX = "headers.json"
SETTLED = 2 * 10**9
"""Nanoseconds after which a file has another time when it is changed again, on any file system."""


class NotPlainError(Exception):
    """Only Alembic can tell."""


@dataclass(frozen=True)
class Line:
    """A history in which each revision follows the one before, and nothing else."""

    scripts: Mapping[str, str]
    """The path of each by its revision, the first one first."""

    @property
    def head(self) -> str:
        """The last revision."""
        return [*self.scripts][-1]

    @cached_property
    def texts(self) -> Mapping[str, bytes]:
        """The text of each script that can be read by its path; whoever needs them reads them once."""
        texts = {}
        for path in self.scripts.values():
            with suppress(OSError):
                texts[path] = _read(path)
        return texts

    def revision(self, revision_id: str) -> Revision:
        """Return a revision, without what else its script says of itself."""
        path = Path(self.scripts[revision_id])
        ids = [*self.scripts]
        parents = tuple(ids[: ids.index(revision_id)][-1:])
        return Revision(revision_id, message(path.read_bytes()), path, parents)

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """All revisions, with their digests, without what else their scripts say of themselves."""
        digested = digests(map(Path, self.scripts.values()), self.texts).items()
        parents = [(), *((each,) for each in self.scripts)]
        return tuple(
            Revision(each, message(self.texts[str(path)]), path, above, digest=digest)
            for each, above, (path, digest) in zip(self.scripts, parents, digested, strict=False)
        )


def read_line(root: Path) -> Line | None:
    """Read the headers of all scripts of a project; None where they are no line, or not plainly one.

    Such are branches, labels, dependencies, values that are computed, a script that cannot be compiled or whose parent
    is missing, scripts in subfolders, and settings of alembic.ini that are not read here.
    """
    above: dict[str | None, tuple[str, str]] = {}
    try:
        found = [
            each for folder in _folders(root) for each in _headers(folder.resolve(strict=True))
        ]
        for path, revision, parent in found:
            above[parent] = revision, path
    except (NotPlainError, ConfigError, OSError, SyntaxError, ValueError, TypeError, EOFError):
        return None
    scripts: dict[str, str] = {}
    step = above.get(None)
    while step and step[0] not in scripts:
        scripts.update([step])
        step = above.get(step[0])
    return Line(scripts) if scripts and len(scripts) == len(found) else None


def _folders(root: Path) -> list[Path]:
    """Return the folders of the scripts as Alembic does, but by no setting that may mean other files."""
    ini, toml = _ini(root), tool_alembic(root)

    def said(option: str) -> str:
        return ini.get("alembic", option, fallback=str(toml.get(option, "")) % ini.defaults())

    place, given = said("script_location"), said("version_locations")
    if not place or ":" in place or said("sourceless") or said("recursive_version_locations"):
        raise NotPlainError
    if given and said("path_separator") != "os":
        raise NotPlainError
    if (root / place / staged.DONE).exists():
        raise NotPlainError
    places = [each.strip() for each in given.split(os.pathsep) if each]
    return [root / each for each in places or [f"{place}/versions"]]


def module_place(root: Path) -> str:
    """Return `prepend_sys_path` of alembic.ini if that is one path, however it is split; else only Alembic can tell."""
    try:
        place = _ini(root).get("alembic", "prepend_sys_path", fallback="")
    except (ConfigError, ValueError):
        return ""
    return place if re.fullmatch(r"[\w./-]+", place) else ""


def _ini(root: Path) -> ConfigParser:
    ini = ConfigParser({"here": root.absolute().as_posix()})
    ini.read(root / "alembic.ini", encoding="utf-8")
    return ini


def _headers(folder: Path) -> Iterator[tuple[str, str, str | None]]:
    """Yield the path, the revision and the parent of each script of a folder; those in the index are not read."""
    place = Path(cache_from_source(str(folder / "x"))).with_name(INDEX)
    way = f"{sys.version} {sha256(Path(__file__).read_bytes()).hexdigest()}"
    known = _index(place, way)
    there: dict[str, list[Any]] = {}
    for path in _scripts(folder):
        stat = os.stat(path)  # noqa: PTH116 - a thousand of them
        facts = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        entry = known.get(path)
        if entry is None or entry[2:] != facts:
            header = _header(path)
            entry = [header["revision"], header["down_revision"], *facts]
        if time.time_ns() - max(facts[1:3]) > SETTLED:
            there[path] = entry
        yield path, entry[0], entry[1]
    if there != known and not sys.dont_write_bytecode:
        with suppress(OSError):  # it may be nobody's to write
            _write(place, json.dumps([way, there]))


def _index(place: Path, way: str) -> dict[str, list[Any]]:
    """Return what was written of each script the last time, by its path, if it was found out in the same way."""
    try:
        before, known = json.loads(place.read_bytes())
    except (OSError, ValueError, TypeError):
        return {}
    return known if before == way and isinstance(known, dict) else {}


def _write(place: Path, text: str) -> None:
    """Write a file that others may be reading."""
    place.parent.mkdir(exist_ok=True)
    own = place.with_suffix(f".{os.getpid()}")
    own.write_text(text)
    own.replace(place)


def _scripts(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if not entry.name.endswith("__pycache__") and any(Path(entry).rglob("*.py")):
                    raise NotPlainError
            elif SCRIPT.fullmatch(entry.name):
                yield os.path.realpath(entry) if entry.is_symlink() else entry.path


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a thousand of them, without a Path for each
        return file.read()


def _header(path: str) -> Header:
    """Return what a script assigns to the NAMES: once, by a literal, and in no other way.

    Raises:
        NotPlainError: It does something else.
        SyntaxError: It cannot be compiled; OSError and others: it cannot be read.
    """
    text = _read(path)
    code = SourceFileLoader("script", path).get_code("script")  # as Alembic imports it
    if code is None or OTHER_WAYS.intersection(code.co_names) or ("*",) in code.co_consts:
        raise NotPlainError
    bare = COMMENT.sub(b"", text)
    found = HEADER.findall(bare)
    header: Header = {
        name.decode(): (single or double).decode() or None for name, single, double in found
    }
    mentions = sum(map(bare.count, (b"revision", b"branch_labels", b"depends_on")))
    if len(header) != mentions or not header.keys() <= {*code.co_names}:
        header = _parsed(text)  # it mentions them elsewhere, too, which may be in a text
    plain = {"revision", "down_revision"} <= header.keys() and header["revision"] not in SYMBOLS
    if not plain or header.get("branch_labels") or header.get("depends_on"):
        raise NotPlainError
    return header


def _parsed(text: bytes) -> dict[str, str | None]:
    """Return the same, slowly, of a script that mentions the NAMES elsewhere, too."""
    header: dict[str, str | None] = {}
    for node in ast.parse(text).body:
        target = None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        if isinstance(target, ast.Name) and target.id in NAMES - header.keys():
            value = getattr(node, "value", None)
            if not isinstance(value, ast.Constant) or not isinstance(value.value, str | None):
                raise NotPlainError
            if isinstance(value.value, str) and not re.fullmatch(r"\w+", value.value, re.ASCII):
                raise NotPlainError
            header[target.id] = value.value
        elif any(map(_binds, _global_scope(node))):
            raise NotPlainError
    return header


def _global_scope(node: ast.stmt) -> Iterator[ast.AST]:
    """Yield the nodes of a statement that may bind a global name; a function binds its own."""
    inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    yield node
    yield from (child for child in ast.walk(node) if not inner or isinstance(child, ast.Global))


def _binds(node: ast.AST) -> bool:
    if isinstance(node, ast.Global):
        return bool(NAMES.intersection(node.names))
    if isinstance(node, ast.Name):
        return node.id in NAMES and not isinstance(node.ctx, ast.Load)
    names = (getattr(node, field, None) for field in ("name", "asname", "rest"))
    return any(isinstance(name, str) and name in NAMES for name in names)


def fingerprints(
    scripts: Iterable[tuple[str, Path | str]], *more: str, texts: Mapping[str, bytes] | None = None
) -> list[str]:
    """Return a hash of no script, of the first one, of the first two, … with the SQL files beside them.

    Databases with the same hash and the same recipe have the same schema.

    Args:
        scripts: The id and the path of each in the order in which they run.
        more: Whatever else the schema depends on.
        texts: What was read of the scripts already, by path.
    """
    versions = __version__, metadata.version("alembic"), metadata.version("sqlalchemy")
    digest = sha256("\0".join([*versions, *more]).encode())
    hashes = [digest.hexdigest()[:32]]
    names = cache(_names)
    for revision_id, script in scripts:
        digest.update(f"\0{revision_id}\0".encode())
        path = os.fspath(script)
        folder, name = os.path.split(path)  # no Path: a thousand of them
        beside = f"{os.path.splitext(name)[0]}.sql"  # noqa: PTH122
        sql = _content(os.path.join(folder, beside)) if beside in names(folder) else None  # noqa: PTH118
        for text in ((texts or {}).get(path) or _content(path), sql):
            # What stands at the end of one file is not what stands at the beginning of the next.
            digest.update(b"-" if text is None else b"%d %b" % (len(text), text))
        hashes.append(digest.hexdigest()[:32])
    return hashes


def _names(folder: str) -> frozenset[str]:
    """Return what is in a folder; nothing if there is none."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208
    except FileNotFoundError:
        return frozenset()


def _content(path: str) -> bytes | None:
    try:
        return _read(path)
    except FileNotFoundError:
        return None


def digests(paths: Iterable[Path], texts: Mapping[str, bytes] | None = None) -> Mapping[Path, str]:
    """Return a digest (SHA-256) of each script, with the files of its folder that it names or that have its name.

    Where there is none of these, it is that of the script's text. What git and editors change by themselves does not
    count: line ends, blanks at the end of lines, and empty lines at the end of the file. `texts` are those that were
    read already, by path.
    """
    others = cache(_others)
    return {
        path: _digest(path, others(path.parent), (texts or {}).get(str(path))) for path in paths
    }


def _digest(script: Path, others: Iterable[str], read: bytes | None) -> str:
    text = _normal(script, read)
    digest = sha256(text)
    for name in others:
        if name.encode() in text or name == f"{script.stem}.sql":
            digest.update(f"\0{name}\0".encode() + _normal(script.with_name(name)))
    return digest.hexdigest()


def _normal(file: Path, read: bytes | None = None) -> bytes:
    """Return what counts of a file; nothing of one that may not be read, with which no script runs."""
    try:
        text = (_read(str(file)) if read is None else read).removeprefix(MARK)
    except OSError:
        return b""
    if any(end in text for end in (b"\r", b" \n", b"\t\n")):
        text = ENDS.sub(b"\n", text)
    return text.rstrip() + b"\n"


def _others(folder: Path) -> list[str]:
    """Return the names of the files of a folder that are no scripts, sorted."""
    with os.scandir(folder) as entries:
        files = [entry.name for entry in entries if entry.is_file()]
    return sorted(name for name in files if not name.endswith((".py", ".pyc")))

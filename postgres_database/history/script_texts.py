"""Scripts as texts, none of them executed: their headers, and digests by which an edited one is known.

Alembic executes every script to learn how they follow each other. Where they are a line, which is the usual case, their
headers say it. Python's own cache of compiled files, which is keyed by their size and time, makes it cheap to know that
each of them compiles.
"""

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from hashlib import sha256
from importlib.machinery import SourceFileLoader
from pathlib import Path

from postgres_database.history import staged
from postgres_database.history.graph import Revision

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
SYMBOLS = ("head", "heads", "base")
SCRIPT = re.compile(r"(?!\.#|__init__).*\.py")
"""The names of the files that Alembic takes for scripts."""
Header = Mapping[str, str | None]


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

    def revision(self, revision_id: str) -> Revision:
        """Return a revision, without what else its script says of itself."""
        path = Path(self.scripts[revision_id])
        ids = [*self.scripts]
        parents = tuple(ids[: ids.index(revision_id)][-1:])
        doc = ast.get_docstring(ast.parse(path.read_bytes()), clean=False) or ""
        return Revision(revision_id, doc.strip().split("\n\n")[0], path, parents)


def read_line(root: Path) -> Line | None:
    """Read the headers of all scripts of a project; None where they are no line, or not plainly one.

    Such are branches, labels, dependencies, values that are computed, a script that cannot be compiled or whose parent
    is missing, scripts in subfolders, and settings of alembic.ini that are not read here.
    """
    above: dict[str | None, tuple[str, str]] = {}
    try:
        paths = [path for folder in _folders(root) for path in _scripts(folder)]
        for path in paths:
            header = _header(path)
            above[header["down_revision"]] = str(header["revision"]), path
    except (NotPlainError, ConfigError, OSError, SyntaxError, ValueError, TypeError, EOFError):
        return None
    scripts: dict[str, str] = {}
    step = above.get(None)
    while step and step[0] not in scripts:
        scripts.update([step])
        step = above.get(step[0])
    return Line(scripts) if scripts and len(scripts) == len(paths) else None


def _folders(root: Path) -> list[Path]:
    """Return the folders of the scripts as Alembic does, but by no setting that may mean other files."""
    ini = _ini(root)

    def said(option: str) -> str:
        return ini.get("alembic", option, fallback="")

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


def _scripts(folder: Path) -> Iterator[str]:
    with os.scandir(folder.resolve(strict=True)) as entries:
        for entry in entries:
            if entry.is_dir():
                if not entry.name.endswith("__pycache__") and any(Path(entry).rglob("*.py")):
                    raise NotPlainError
            elif SCRIPT.fullmatch(entry.name):
                yield os.path.realpath(entry) if entry.is_symlink() else entry.path


def _header(path: str) -> Header:
    """Return what a script assigns to the NAMES: once, by a literal, and in no other way.

    Raises:
        NotPlainError: It does something else.
        SyntaxError: It cannot be compiled; OSError and others: it cannot be read.
    """
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a thousand of them, without a Path for each
        text = file.read()
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
    if (
        not {"revision", "down_revision"} <= header.keys()
        or not header["revision"]
        or header["revision"] in SYMBOLS
        or header.get("branch_labels")
        or header.get("depends_on")
    ):
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


def digests(paths: Iterable[Path]) -> Mapping[Path, str]:
    """Return a digest (SHA-256) of each script, with the files of its folder that it names or that have its name.

    Where there is none of these, it is that of the script's text. What git and editors change by themselves does not
    count: line ends, blanks at the end of lines, and empty lines at the end of the file.
    """
    paths = [*paths]
    others = {folder: _others(folder) for folder in {path.parent for path in paths}}
    return {path: _digest(path, others[path.parent]) for path in paths}


def _digest(script: Path, others: Iterable[str]) -> str:
    text = _normal(script)
    digest = sha256(text)
    for name in others:
        if name.encode() in text or name == f"{script.stem}.sql":
            digest.update(f"\0{name}\0".encode() + _normal(script.with_name(name)))
    return digest.hexdigest()


def _normal(file: Path) -> bytes:
    """Return what counts of a file; nothing of one that may not be read, with which no script runs."""
    try:
        with open(file, "rb", buffering=0) as opened:  # noqa: PTH123 - a thousand of them
            text = opened.read().removeprefix(MARK)
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

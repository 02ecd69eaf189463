"""Errors in scripts, with file and line."""

from __future__ import annotations

import os
import re
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postgres_database.errors import ExpectedError

if TYPE_CHECKING:  # a command that has nothing to do does without it
    from alembic.script import Script

IDENTITY = re.compile(r"^revision\b[^=\n]*=\s*['\"]([^'\"]+)", re.MULTILINE)
BELOW = re.compile(r"^down_revision\b[^=\n]*=\s*(.*)", re.MULTILINE)
QUOTED = re.compile(r"['\"]([^'\"]+)['\"]")
MARKER = re.compile(r"<{7} |={7}$|>{7} |\|{7} ")
"""What git writes where it cannot merge."""

UNFIT = re.compile(
    r"Revision (?P<id>.*) (?:is present more than once|referenced from (?P<by>.*) is not present)"
)
"""Warnings of Alembic, which goes on with one of two scripts, or ends with a KeyError."""

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Folders:
    """Where the scripts of a project are."""

    root: Path
    """The project: files are named from there."""
    home: Path
    """The folder of env.py."""
    versions: tuple[Path, ...]
    """The folders of the scripts."""

    def name(self, path: Path) -> str:
        """Return a path as people see it."""
        return os.path.relpath(path, self.root)

    def __contains__(self, path: Path) -> bool:
        """Tell whether a file is a script, or stands beside them."""
        return path.name != "env.py" and any(
            path.is_relative_to(folder) for folder in (self.home, *self.versions)
        )


@contextmanager
def explained(folders: Folders) -> Iterator[None]:
    """Turn errors in reading scripts into an ExpectedError that names file and line."""
    from alembic.script.revision import RevisionError
    from alembic.util import CommandError

    mended = "invoke history   (once the script is mended)"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", UNFIT.pattern, UserWarning)
            yield
    except (CommandError, RevisionError) as error:
        missing = not (folders.home / "env.py").exists()
        raise ExpectedError(
            "the scripts cannot be read",
            cause=str(error),
            hint="invoke init" if missing else mended,
        ) from error
    except ExpectedError:
        raise
    except UserWarning as warning:
        if not (match := UNFIT.match(str(warning))):
            raise
        raise _unfit(match["id"], match["by"] or "", folders, mended) from warning
    except (Exception, SystemExit) as error:
        if (where := file_and_line(error, folders)) and (left := conflict(error)):
            file, _, _ = where.partition(",")
            raise ExpectedError(
                f"{file}, line {left} has the markers of a merge conflict",
                cause="git could not merge it and left both versions there",
                hint="git status   (then keep one version of each part, or git mergetool)",
            ) from error
        if where:
            raise ExpectedError(
                f"{where} cannot be read", cause=f"{type(error).__name__}: {error}", hint=mended
            ) from error
        name = str(error.args[0]) if isinstance(error, KeyError) and error.args else ""
        if not (name and (places := _naming(name, folders))):  # else it is what a script depends on
            raise
        raise _unfit(name, ", ".join(places), folders, mended) from error


def _unfit(name: str, by: str, folders: Folders, mended: str) -> ExpectedError:
    """Return the error for a revision that there are two scripts of, or none where `by` names it."""
    if not by:
        places = _naming(name, folders, r"revision\b.*")
        return ExpectedError(
            f"two scripts are revision {name}", cause="\n".join(places), hint=mended
        )
    if not name:
        places = _naming(name, folders, r"(?:down_revision|depends_on)\b[^'\"]*")
        return ExpectedError(
            "a script follows a revision without a name",
            cause=f"it is named '' in {', '.join(places) or by}; a script that follows none has None there",
            hint=mended,
        )
    return ExpectedError(
        f"there is no script for revision {name}",
        cause=f"it is named in {', '.join(_naming(name, folders)) or by}",
        hint="git pull   (or name a revision there is; invoke history tells whether all fit)",
    )


def require_all_read(folders: Folders, scripts: Iterable[Script]) -> None:
    """Raise ExpectedError if a script in a subfolder, which Alembic does not read, belongs to the history.

    Scripts that follow none of those that were read, such as archived ones, are ignored, unless none was read.
    """
    below_them = [
        path
        for folder in folders.versions
        for path in sorted(folder.glob("*/**/*.py"))
        if "__pycache__" not in path.parts
    ]
    if not below_them:
        return
    known = {script.revision: Path(script.path).resolve() for script in scripts}
    read = {*known.values()}
    lines, places = [], []
    for path in (path for path in below_them if path.resolve() not in read):
        text = path.read_text(encoding="utf-8", errors="replace")
        named, below = IDENTITY.search(text), BELOW.search(text)
        if named and below and (not known or known.keys() & set(QUOTED.findall(below[1]))):
            lines.append(f"{folders.name(path)} is revision {named[1]}")
            places.append(folders.name(path.parent))
    if lines:
        one = f"; version_locations = %(here)s/{places[0]}, those of one folder"
        one = one if len({*places}) > 1 else ""
        raise ExpectedError(
            "scripts in subfolders are not read",
            cause="\n".join(lines),
            hint=f"${{EDITOR:-vi}} alembic.ini   (recursive_version_locations = true reads them{one})",
        )


def _naming(revision_id: str, folders: Folders, before: str = ".*") -> list[str]:
    """Return file and line of each place in the scripts where this id stands in quotes."""
    quoted = re.compile(rf"{before}['\"]{re.escape(revision_id)}['\"]")
    return [
        f"{folders.name(path)}, line {number}"
        for folder in folders.versions
        for path in sorted(folder.glob("*.py"))
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if quoted.match(line)
    ]


def conflict(error: BaseException) -> int:
    """Return the line where a file that cannot be compiled has the first marker of a merge conflict; else 0."""
    path = Path(error.filename or "") if isinstance(error, SyntaxError) else Path()
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    marked = (number for number, line in enumerate(lines, start=1) if MARKER.match(line))
    return next(marked, 0)


def running_line(script: Path) -> int:
    """Return the line of a script that is being run; 0 if it is not."""
    return next(iter(running_lines(script)), 0)


def running_lines(script: Path) -> tuple[int, ...]:
    """Return the lines of a script that are being run, the innermost call first; none if it is not."""
    path = str(script)
    frames = traceback.walk_stack(None)
    return tuple(line for frame, line in frames if frame.f_code.co_filename == path)


def file_and_line(error: BaseException, folders: Folders) -> str:
    """Return the file and line of a script where an error arose, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [(frame.filename, frame.lineno) for frame in reversed(frames)]
    if isinstance(error, SyntaxError):
        places.insert(0, (error.filename or "", error.lineno))
    # A script without down_revision: Alembic asks the module for it.
    places.append((getattr(getattr(error, "obj", None), "__file__", None) or "", None))
    for filename, line in places:
        path = Path(filename)
        if path in folders:
            return folders.name(path) + (f", line {line}" if line else "")
    return ""


def own_file_and_line(error: BaseException, folders: Folders) -> str:
    """Return file and line of the project's own code where an error arose, such as an event listener."""
    return line_of_project(error, folders.root) or file_and_line(error, folders)


def line_of_project(error: BaseException, root: Path) -> str:
    """Return file and line of a project's own code, such as its models, where an error arose; or nothing."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        ours = PACKAGE in path.parents and PACKAGE / "models" not in path.parents
        if ours or not path.is_relative_to(root) or path.name in {"env.py", "tasks.py"}:
            continue
        inside = path.relative_to(root)
        if not {"site-packages", ".venv"}.intersection(inside.parts):
            return f"{inside}, line {frame.lineno}"
    return ""


def located(error: ExpectedError, folders: Folders, script: Path) -> ExpectedError:
    """Return an error that a script raised, with its file and, if known, the line in the cause."""
    where = file_and_line(error, folders) or folders.name(script)
    more = "" if where in error.cause else f"\n(in {where})"
    return error.with_(cause=f"{error.cause}{more}".strip())

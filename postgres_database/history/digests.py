"""A script and the files that it names → a digest, by which an edited one is known."""

import os
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

MARK = b"\xef\xbb\xbf"
"""What some editors write at the beginning of UTF-8."""
ENDS = re.compile(rb"[ \t]*(?:\r\n|\r|\n)")


def of_scripts(paths: Iterable[Path]) -> Mapping[Path, str]:
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
        return ENDS.sub(b"\n", file.read_bytes().removeprefix(MARK)).rstrip() + b"\n"
    except OSError:
        return b""


def _others(folder: Path) -> list[str]:
    """Return the names of the files of a folder that are no scripts, sorted."""
    with os.scandir(folder) as entries:
        files = [entry.name for entry in entries if entry.is_file()]
    return sorted(name for name in files if not name.endswith((".py", ".pyc")))

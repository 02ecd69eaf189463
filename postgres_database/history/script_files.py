"""Write scripts of the history, or rewrite what they follow: aside, and into their places once they are proved."""

import ast
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from alembic.script import Script
from alembic.util import rev_id

from postgres_database.errors import ExpectedError
from postgres_database.history import script_errors, staged
from postgres_database.history.project import Project

ATTRIBUTES = {
    "roles": "Grants and policies name these; scratch servers create them without login.",
    "tablespaces": "Tables and indexes are in these; scratch servers create them.",
    "replaces": "Digests of scripts that had this id: a database that ran one is up to here.",
    "objects": "From the models, besides tables; what they no longer have is dropped.",
}
REVISES = re.compile(rb"^(Revises:[ \t]*)[^\r\n]*", re.MULTILINE)
"""The line of Alembic's template that names what a script follows."""
TOKEN = re.compile(r"%\((\w+)\)[-#0 +\d.]*[sd]")
"""A part of `file_template` (Alembic documentation, tutorial, "Editing the .ini File")."""
DATES = ("year", "month", "day", "hour", "minute", "second", "epoch")


@contextmanager
def staging(
    project: Project, on_wait: Callable[[str], None], wait: float | None = None
) -> Iterator[Project]:
    """Yield the project with a folder in which scripts are written aside, and read besides those of the history.

    What is not published is gone when the block ends; nothing else writes scripts in this checkout meanwhile.
    `on_wait` is called once if another command must be waited for, for `wait` seconds at most; None: for ever.

    Raises:
        ExpectedError: Another command still works in this checkout, or nothing can be written here.
    """
    with script_errors.explained(project.folders):
        home = Path(project.scripts.dir)
    with staged.folder(home, on_wait, wait) as folder:
        yield replace(project, staged=folder)


def copied(project: Project) -> Project:
    """Copy the scripts of the history into the folder of `staging`; return the project that reads the copies alone.

    Raises:
        ExpectedError: They cannot be copied.
    """
    folders = project.folders.versions
    # What a script opens may be named from its own place.
    places = [
        project.aside / str(number) if folders[1:] else project.aside
        for number in range(len(folders))
    ]
    with staged.explained(project.aside.parent):
        for folder, place in zip(folders, places, strict=True):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(folder, place, ignore=ignored, dirs_exist_ok=True)
    return replace(project, places=tuple(places))


def copies_of(project: Project, path: Path) -> list[Path]:
    """Return the copies that `copied` made of a file: several where a folder is in another."""
    pairs = zip(project.places, project.folders.versions, strict=True)
    copies = [
        place / path.relative_to(folder) for place, folder in pairs if path.is_relative_to(folder)
    ]
    return [copy for copy in copies if copy.exists()]


def as_original(project: Project, text: str) -> str:
    """Return a text in which copies that `copied` made have the names of the originals, and new scripts their own."""
    pairs = [*zip(project.places, project.folders.versions, strict=bool(project.places))]
    if project.staged and not pairs:
        new = [each for each in project.history.revisions if project.aside in each.path.parents]
        before = {parent for each in new for parent in each.parents}.difference(
            each.id for each in new
        )
        heads = [project.history[head].path.resolve() for head in before]
        pairs = [(project.aside, _versions(project, heads))]
    for place, folder in pairs:
        text = text.replace(str(place), str(folder))
        text = text.replace(project.folders.name(place), project.folders.name(folder))
    return text


def require_unchanged(project: Project) -> None:
    """Raise ExpectedError if a script of the history was written or edited since it was read."""
    before, now = (
        {each.id: (each.path, each.digest) for each in history.revisions}
        for history in (project.history, replace(project, staged=None).history)
    )
    if before != now:
        changed = sorted(
            name for name in before.keys() | now.keys() if before.get(name) != now.get(name)
        )
        raise ExpectedError(
            "the history has changed meanwhile; nothing was written",
            cause=f"these scripts were written or edited: {', '.join(changed)}",
            hint="the same command again",
        )


def publish(project: Project, heads: Sequence[str]) -> list[Path]:
    """Put the scripts that were written aside among the others, all at one moment; return where they are.

    `project` is what `staging` yielded, `heads` what the history ended with when they were written.

    Raises:
        ExpectedError: The history has changed meanwhile, or they cannot be written; nothing was written.
    """
    aside = project.aside.resolve()
    folders = {each.path.parent for each in project.history.revisions}
    places = {folder: folder.resolve() for folder in folders}
    new = (places[each.path.parent] / each.path.name for each in project.history.revisions)
    written = [path for path in new if aside in path.parents]
    now = replace(project, staged=None).ends
    if [*now] != [*heads]:
        raise ExpectedError(
            "the history has changed meanwhile; nothing was written",
            cause=f"its head was {', '.join(heads) or 'base'}, now it is {', '.join(now) or 'base'}",
            hint="the same command again",
        )
    versions = _versions(project, [now[head].resolve() for head in heads])
    pairs = []
    for path in written:
        place = versions / path.relative_to(aside)
        beside = path.with_suffix(".sql")
        pairs += [(beside, place.with_suffix(".sql"))] if beside.exists() else []
        pairs.append((path, place))
    staged.publish(project.aside, pairs)
    return [place for _, place in pairs if place.suffix == ".py"]


def _versions(project: Project, heads: Sequence[Path]) -> Path:
    """Return the folder that new scripts belong to: where there are several, the innermost that holds a head."""
    places = project.folders.versions
    holding = [place for place in places if any(place.resolve() in path.parents for path in heads)]
    return max(holding or places[:1], key=lambda folder: len(folder.parts))


def write(  # noqa: PLR0913 - each is a place in the template
    project: Project,
    message: str,
    heads: Sequence[str],
    *,
    revision: str = "",
    upgrade: str = "",
    downgrade: str = "",
    imports: Iterable[str] = (),
    **attributes: Sequence[str],
) -> tuple[Script, Project]:
    """Write a script from the template `migration/script.py.mako`; return it, and the project that has it.

    Args:
        project: What `staging` yielded.
        message: What the script is for.
        heads: What it follows; nothing: it is the first.
        revision: Its id; a new one if there is none.
        upgrade: The body of `upgrade()`, indented; `pass` if empty.
        downgrade: The same of `downgrade()`.
        imports: Statements that the bodies need.
        attributes: `roles`, `tablespaces` and `objects`, as `history.Revision` explains them.

    Raises:
        ExpectedError: It cannot be written, or is no Python; it is not among the scripts.
    """
    blocks = list(imports)
    for name, values in attributes.items():
        if values:
            lines = "".join(f"    {value!r},\n" for value in values)
            blocks.append(f"\n# {ATTRIBUTES[name]}\n{name} = (\n{lines})")
    _ = project.history  # without the script, which Alembic adds to what it has read
    with staged.explained(project.root), script_errors.explained(project.folders):
        script = project.scripts.generate_revision(
            revision or rev_id(),
            message,
            head=[*heads] or "base",
            version_path=project.staged,
            upgrades=upgrade,
            downgrades=downgrade,
            imports="\n".join(blocks),
        )
    if script is None:
        raise ExpectedError("Alembic wrote no script", hint="invoke history")
    return script, project.having_written(script)


def merge(
    project: Project, message: str, revisions: Sequence[str], on_wait: Callable[[str], None]
) -> Path:
    """Write a revision that joins several heads, and return its path from the root of the repository.

    Raises:
        ExpectedError: There is nothing to merge.
    """
    scripts = project.history
    if list(revisions) == ["heads"]:
        revisions = scripts.heads
    if len(revisions) <= 1:
        raise ExpectedError(
            "there is nothing to merge",
            cause=f"the history has one head: {', '.join(scripts.heads) or 'base'}",
            hint="invoke heads",
        )
    with staging(project, on_wait) as aside:
        _, whole = write(aside, message, [scripts.resolve(revision) for revision in revisions])
        (path,) = publish(whole, scripts.heads)
    return path.relative_to(project.root)


def followed(script: bytes, parent: str) -> bytes:
    """Return the text of a script with another `down_revision`, in code and docstring.

    Raises:
        ValueError: It does not give one as a literal; the message is for people.
    """
    tree = ast.parse(script)
    values = [
        node.value
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id == "down_revision"
    ]
    value = values[0] if len(values) == 1 else None
    if value is None or not _is_literal(value):
        raise ValueError("its down_revision is not given once, as a literal")
    start, end = _span(script, value)
    mark = script[start : start + 1] if script[start : start + 1] in {b"'", b'"'} else b'"'
    changed = script[:start] + mark + parent.encode() + mark + script[end:]
    first = tree.body[0]
    if isinstance(first, ast.Expr) and ast.get_docstring(tree, clean=False) is not None:
        begin, stop = _span(script, first)  # before the value: its place is the same
        header = REVISES.sub(lambda match: match[1] + parent.encode(), script[begin:stop], count=1)
        changed = changed[:begin] + header + changed[stop:]
    return changed


def _is_literal(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Tuple):
        return all(map(_is_literal, value.elts))
    return isinstance(value, ast.Constant) and isinstance(value.value, str | None)


def _span(script: bytes, node: ast.expr | ast.stmt) -> tuple[int, int]:
    """Return where a node begins and ends in its text, in bytes, as Python counts columns."""
    lines = script.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
    mark = 3 if script.startswith(b"\xef\xbb\xbf") else 0
    first, last = (mark if line == 1 else 0 for line in (node.lineno, end_line))
    return (
        starts[node.lineno - 1] + node.col_offset + first,
        starts[end_line - 1] + end_column + last,
    )


def renamed(name: str, template: str, when: datetime) -> str:
    """Return the name of a script with another date, by Alembic's `file_template`; unchanged if it holds none."""
    if not {match[1] for match in TOKEN.finditer(template)}.intersection(DATES):
        return name
    stem, pattern, end = name.removesuffix(".py"), "", 0
    for match in TOKEN.finditer(template):
        pattern += re.escape(template[end : match.start()])
        pattern += r"(\d+)" if match[1] in DATES else "(.*)"
        end = match.end()
    found = re.fullmatch(pattern + re.escape(template[end:]), stem)
    if found is None:
        return name
    parts = iter(found.groups())

    def part(match: re.Match[str]) -> str:
        old = next(parts)
        if match[1] not in DATES:
            return old
        value = int(when.timestamp()) if match[1] == "epoch" else getattr(when, match[1])
        return match[0] % {match[1]: value}

    return f"{TOKEN.sub(part, template)}.py"

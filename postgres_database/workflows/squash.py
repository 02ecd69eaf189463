"""Put one revision in place of a long history, proved equal; the scripts that it replaces are kept beside it."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from postgres_database.errors import ExpectedError
from postgres_database.history import graph, script_files, staged
from postgres_database.history.graph import History, Revision
from postgres_database.history.project import Project
from postgres_database.proving import contents, image, round_trip
from postgres_database.running.listener import SILENT, Listener
from postgres_database.schema import dump, snapshot
from postgres_database.scratch import databases
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.sql.tokens import printed_unchanged
from postgres_database.workflows.adoption import UPGRADE

MOST_ROWS = 1000
"""How many rows a script may carry."""
FEWEST = 2
"""How many revisions are worth it."""
DOWNGRADE = """op.refuse(
        "what was squashed is not undone at once",
        cause="this revision stands for all before it; undoing it would drop all that they made",
        hint="invoke current",
    )"""


@dataclass(frozen=True)
class SquashResult:
    """What stands for what."""

    revision: Revision
    """The one that is left; it has the id of the last one that it replaces."""
    replaced: tuple[Revision, ...]
    """Those that it replaces, in order, as they were."""
    kept: Path
    """The folder in which they are now."""
    objects: int
    """How many objects of the schema were compared."""
    rows: tuple[tuple[str, int], ...] = ()
    """The tables in which they left rows, which the new script inserts, and how many."""
    notes: tuple[str, ...] = ()
    """What is not in the new script, and what else a human should look at, a line each."""


def perform(
    project: Project,
    environment: Environment,
    target: str = "head",
    message: str = "",
    listener: Listener = SILENT,
) -> SquashResult:
    """Write one revision that makes what all up to a target make, and prove it; move those into a folder beside.

    It has the id of the last one, so that each database that has run that one stays as it is. A database in the
    middle is upgraded by the scripts that are kept (`Project.route`).

    Args:
        project: Has the history.
        environment: Where the scratch server is.
        target: The last revision that is replaced.
        message: What the new one is called; empty: the message of the last one.
        listener: Hears what is done, and which command it waits for.

    Raises:
        ExpectedError: The history up to there is no line, or the new revision would not be equal; nothing was changed.
    """
    with script_files.staging(project, listener.wait) as aside:
        here = replace(aside, staged=None)  # read before anything is copied, and not again
        replaced = _line(here.history, target)
        last = replaced[-1]
        with databases.session(here, environment) as session:
            with listener.at_work("run the revisions"):
                before = session.at(here, [last.id]), session.at_head(here)
            dumped, held = dump.take(before[0]), contents.take(before[0])
            counted = ((name, held.tables[name].number) for name in sorted(held.tables))
            rows = tuple(
                (f"{name.schema}.{name.name}", number) for name, number in counted if number
            )
            _require_few(rows, last)
            _require_whole([*image.lacking(before[0], dumped, held)])
            sql = printed_unchanged(dump.restorable(dumped, dump.rows(before[0])))
            copy = _write(aside, replaced, message or last.message, sql)
            with listener.at_work("prove the new revision"):
                faults = [*_faults(copy, session, last, before)]
        if faults:
            raise ExpectedError(
                f"one revision in place of {len(replaced)} would not be equal; nothing was changed",
                cause=script_files.as_original(copy, "\n".join(faults)),
                hint="invoke squash --target …   (a revision before what cannot be carried)",
            )
        kept = here.kept_in(last.id)
        notes = tuple(_notes(replaced, rows, dumped))
        script_files.require_unchanged(here)
        staged.publish(aside.aside, *_moves(copy, replaced, kept))
    now = project.anew().history[last.id]
    objects = len(snapshot.parse(dumped).objects)
    return SquashResult(now, replaced, kept, objects, rows, notes)


def _line(scripts: History, target: str) -> tuple[Revision, ...]:
    """Return the revisions up to a target.

    Raises:
        ExpectedError: They are not a line that begins at the one base, or others refer to one in its middle.
    """
    goal = scripts.resolve(target)
    line = scripts.upto([goal])
    if len(line) < FEWEST:
        raise ExpectedError(
            "there is nothing to squash",
            cause=f"up to {goal} there are {len(line)} revisions",
            hint="invoke history",
        )
    inside = {each.id for each in line[:-1]}
    needed = [(), *((each.id,) for each in line)]
    reasons = [
        f"{each} follows {', '.join(each.needed) or 'none'}, and not the one before it alone"
        for each, before in zip(line, needed, strict=False)
        if each.needed != before
    ]
    reasons += [
        f"{each} has the label {', '.join(sorted(each.labels))}" for each in line if each.labels
    ]
    reasons += [
        f"{each}, which would stay, follows {', '.join(sorted(inside.intersection(each.needed)))}"
        for each in scripts.revisions
        if each not in line and inside.intersection(each.needed)
    ]
    if reasons:
        raise ExpectedError(
            f"the history up to {goal} is not one line; nothing was changed",
            cause="\n".join(reasons),
            hint="invoke squash --target …   (a revision before the first branch, label or dependency)",
        )
    return line


def _require_few(rows: Sequence[tuple[str, int]], last: Revision) -> None:
    if (count := sum(number for _, number in rows)) > MOST_ROWS:
        raise ExpectedError(
            f"the revisions up to {last.id} leave {count} rows, which are too many for a script; nothing was changed",
            cause=", ".join(f"{name}: {number}" for name, number in rows),
            hint="invoke squash --target …   (a revision before they are inserted)",
        )


def _require_whole(lacks: Sequence[str]) -> None:
    """Raise ExpectedError if a dump does not hold all that a new script would need."""
    if lacks:
        raise ExpectedError(
            "what the revisions made cannot be written as one script; nothing was changed",
            cause="\n".join(lacks),
            hint="invoke squash --target …   (a revision before that)",
        )


def _write(aside: Project, replaced: Sequence[Revision], message: str, sql: str) -> Project:
    """Write the new revision into a copy of the history, without those that it replaces; return the copy."""
    folder = aside.aside / "new"
    with staged.explained(aside.root):
        folder.mkdir()
    roles, tablespaces = graph.cluster_names(replaced)
    written, _ = script_files.write(
        replace(aside, staged=folder, places=(folder,)),
        message,
        (),
        revision=replaced[-1].id,
        upgrade=UPGRADE,
        downgrade=DOWNGRADE,
        roles=sorted(roles),
        tablespaces=sorted(tablespaces),
        replaces=(replaced[-1].digest, *replaced[-1].replaces),
        objects=sorted({name for each in replaced for name in each.objects}),
    )
    text = Path(written.path).read_bytes()
    copy = script_files.copied(aside)
    with staged.explained(aside.root):
        shutil.rmtree(folder)
        places = script_files.copies_of(copy, replaced[-1].path)
        for each in replaced:
            for file in script_files.copies_of(copy, each.path):
                file.unlink()
                file.with_suffix(".sql").unlink(missing_ok=True)
        for place in places:
            place.write_bytes(text)
            place.with_suffix(".sql").write_bytes(sql.encode())
    return copy.anew()


def _faults(
    copy: Project, session: Scratch, last: Revision, before: tuple[Database, Database]
) -> Iterator[str]:
    """Yield in what the new history differs from the old one: at the new revision, with its rows, and at the end."""
    try:
        now = session.at(copy, [last.id]), session.at_head(copy)
    except ExpectedError as error:
        yield f"{error.what}\n{error.cause}"
        return
    yield from round_trip.unlike(session, f"at {last.id}", now[0], before[0])
    for line in contents.differences(contents.take(before[0]), contents.take(now[0])):
        yield f"at {last.id}: {line}"
    yield from round_trip.unlike(session, "at the end of the history", now[1], before[1])


def _moves(
    copy: Project, replaced: Sequence[Revision], kept: Path
) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Return which file is put where, and which are removed."""
    last = replaced[-1].path
    scripts = [each.path for each in replaced]
    places = [(path, kept / _within(copy, path)) for path in scripts]
    removed = [path for path in scripts if path != last]
    for folder in sorted({path.parent for path in scripts}):
        there = [path for path in scripts if path.parent == folder]
        for file in sorted(folder.iterdir()):
            own = file.suffix == ".sql" and file.with_suffix(".py") in there
            if file.suffix == ".py" or not file.is_file():
                continue
            if own or any(file.name in path.read_text(encoding="utf-8") for path in there):
                places.append((file, kept / _within(copy, file)))
            if own and file != last.with_suffix(".sql"):
                removed.append(file)
    new = script_files.copies_of(copy, last)[0]
    places += [(new.with_suffix(".sql"), last.with_suffix(".sql")), (new, last)]
    return places, removed


def _within(project: Project, path: Path) -> Path:
    """Return the path of a file from the folder of scripts that it is in."""
    folders = [each for each in project.folders.versions if path.is_relative_to(each)]
    return path.relative_to(max(folders, key=lambda folder: len(folder.parts)))


def _notes(
    replaced: Sequence[Revision], rows: Sequence[tuple[str, int]], dumped: str
) -> Iterator[str]:
    if rows:
        yield (
            "rows that scripts insert stand in the new one as a scratch database had them: values that they compute,"
            " such as now() or a random UUID, are those of today"
        )
    for each in replaced:
        if said := image.outside(each):
            yield f"not in the new script, if it is meant for every database: {', '.join(said)} in {each}"
    yield from (f"not in the new script: {line}" for line in dump.omissions(dumped))

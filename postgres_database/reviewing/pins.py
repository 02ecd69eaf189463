"""What a review pins of scripts and of a target, as a file (the plan); and what of it is no longer so."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from postgres_database.errors import ExpectedError
from postgres_database.history import reads, script_texts
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.preflight import preview
from postgres_database.reviewing.durations import Ranges
from postgres_database.schema import snapshot
from postgres_database.server.connection import Database

KIND = "plan of postgres-database, 1"
"""By which a plan is known among other JSON files, with the version of its keys."""
SHOWN = 10  # differences


@dataclass(frozen=True)
class Pinned:
    """A revision of a plan."""

    revision: str
    message: str
    statements: tuple[str, ...] | None
    """For people, without values of rows; None if they are not the same each time, or only a run shows them."""
    digest: str
    """Of the statements with their values; empty if there are none."""


@dataclass(frozen=True)
class State:
    """What is read of a target before its review begins, and again before a plan is run."""

    before: tuple[str, ...]
    """Its revisions."""
    server: int
    """The major version of its server."""
    schema: Mapping[str, str] = field(repr=False)
    """Each object → a digest of its canonical text."""


@dataclass(frozen=True)
class Plan:
    """What was reviewed: an upgrade runs exactly that, or nothing."""

    target: str
    """Its DSN, for people; another database in the same state does as well."""
    verdict: str
    state: State
    revisions: tuple[Pinned, ...]
    files: Mapping[str, str]
    """Each file that the scripts are, import or open, from the root of the project → a digest of its bytes."""
    estimates: Ranges = field(default_factory=dict)
    """How long they were estimated to take there."""


def state(project: Project, target: Database, before: Sequence[str]) -> State:
    """Read the state of a target, of what the project manages of it.

    Raises:
        ExpectedError: It cannot be read.
    """
    reader = target.read_only()
    with reader.connect() as connection:
        number = connection.exec_driver_sql("SHOW server_version_num").scalar_one()
    objects = snapshot.take(reader, project.scope).objects
    schema = {
        str(key): _digest(texts)
        for key, texts in sorted(objects.items())
        if project.scope.manages(key.kind, key.schema, key.name)
    }
    return State(tuple(sorted(before)), int(number) // 10000, schema)


def _digest(texts: Sequence[str]) -> str:
    return sha256("\0".join(texts).encode()).hexdigest()[:32]


def pin(  # noqa: PLR0913, PLR0917 - what goes into the plan
    project: Project,
    target: Database,
    verdict: str,
    found: State,
    plan: Sequence[Revision],
    estimates: Ranges,
) -> Plan:
    """Pin scripts that were just run on a scratch database, so that all is known that they import and open.

    Args:
        project: Has the scripts.
        target: The database for which they were reviewed.
        verdict: The answer of the review.
        found: Its state before the review.
        plan: The scripts, in order.
        estimates: How long they would take.

    Raises:
        ExpectedError: A file was changed in the meantime.
    """
    paths = [revision.path for revision in plan]
    needed, steady = reads.closure(paths)
    now = script_texts.digests(paths)
    if not steady or any(now[revision.path] != revision.digest for revision in plan):
        raise ExpectedError(
            "no plan was written: a script, or a file that one imports or opens, was changed during the review",
            hint="the same command again",
        )
    files = {*needed, *paths, project.folders.home / "env.py"} if plan else set()
    names = {os.path.relpath(path, project.root): reads.digest(path) for path in sorted(files)}
    return Plan(str(target.dsn), verdict, found, _pinned(project, plan), names, estimates)


def _pinned(project: Project, plan: Sequence[Revision]) -> tuple[Pinned, ...]:
    """Print the statements of scripts twice: values such as the current time are not pinned."""
    pairs = zip(*(preview.printed(project, "upgrade", plan) for _ in range(2)), strict=True)
    return tuple(
        Pinned(one.revision.id, one.revision.message, tuple(map(preview.shown, texts)), _digest(texts))
        if (texts := one.statements) is not None and texts == other.statements
        else Pinned(one.revision.id, one.revision.message, None, "")
        for one, other in pairs
    )  # fmt: skip


def text(plan: Plan) -> str:
    """Return the text of the file of a plan."""
    return json.dumps({"kind": KIND, **asdict(plan)}, indent=2, ensure_ascii=False) + "\n"


def _again(env_option: str, why: str) -> str:
    return f"invoke review{env_option} --plan plan.json   ({why})"


def load(path: Path, env_option: str) -> Plan:
    """Read the file of a plan.

    Args:
        path: The file.
        env_option: Names the environment in advice.

    Raises:
        ExpectedError: It cannot be read, or is no plan.
    """
    again = _again(env_option, "writes one")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        cause = error.strerror or str(error)
        raise ExpectedError(f"{path} cannot be read", cause=cause, hint=again) from error
    except ValueError as error:
        raise ExpectedError(f"{path} is no JSON", cause=str(error), hint=again) from error
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind != KIND:
        cause = f"its kind is {kind!r} instead of {KIND!r}" if kind else "it has no kind of a plan"
        what = f"{path} is no plan that this version of postgres-database has written"
        raise ExpectedError(what, cause=cause, hint=again)
    try:
        return _plan(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        cause = f"a value is missing or of another type: {error}"
        raise ExpectedError(f"{path} is a damaged plan", cause=cause, hint=again) from error


def _plan(data: Mapping[str, Any]) -> Plan:
    found = data["state"]
    return Plan(
        _text(data["target"]),
        _text(data["verdict"]),
        State(_texts(found["before"]), int(found["server"]), _by_name(found["schema"])),
        tuple(
            Pinned(
                _text(each["revision"]),
                _text(each["message"]),
                None if each["statements"] is None else _texts(each["statements"]),
                _text(each["digest"]),
            )
            for each in data["revisions"]
        ),
        _by_name(data["files"]),
        {
            digest: (float(low), float(high))
            for digest, (low, high) in data.get("estimates", {}).items()  # earlier plans have none
        },
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _texts(values: Sequence[object]) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{values!r} is no list")
    return tuple(map(_text, values))


def _by_name(values: Mapping[str, object]) -> Mapping[str, str]:
    return {name: _text(value) for name, value in values.items()}


def require_files(project: Project, plan: Plan, env_option: str) -> tuple[Revision, ...]:
    """Return the revisions of a plan whose scripts are as they were.

    Args:
        project: Has the scripts.
        plan: What was reviewed.
        env_option: Names the environment in advice.

    Raises:
        ExpectedError: One is not, or is missing; or another file that they need.
    """
    gone = [each for each in plan.revisions if each.revision not in project.history]
    differing = [f"revision {each.revision} is not in the history" for each in gone]
    now = {name: reads.digest(project.root / name) for name in plan.files}
    differing += _differences(plan.files, now)
    _require("the scripts are not as they were when they were reviewed", differing, env_option)
    return tuple(project.history[each.revision] for each in plan.revisions)


def require_state(project: Project, target: Database, before: Sequence[str], plan: Plan) -> None:
    """Raise ExpectedError if a target, or what scripts would run there, is not as it was when that was reviewed.

    Args:
        project: Has the scripts.
        target: Where they are to run; only read.
        before: Its revisions.
        plan: What was reviewed.
    """
    differing = []
    was, found = plan.state, state(project, target, before)
    if found.server != was.server:
        differing.append(f"its server is PostgreSQL {found.server}, and was {was.server}")
    if found.before != was.before:
        at, then = (", ".join(each.before) or "base" for each in (found, was))
        differing.append(f"it is at the revision {at}, and was at {then}")
    else:  # else it follows that the schema differs
        differing += _differences(was.schema, found.schema)
    revisions = [project.history[each.revision] for each in plan.revisions]
    differing += [
        f"revision {was.revision} would run other statements"
        for was, now in zip(plan.revisions, _pinned(project, revisions), strict=True)
        if was.digest and was.digest != now.digest
    ]
    if differing and plan.target != str(target.dsn):
        differing.append(f"the plan was made for {plan.target}")
    _require(f"{target.dsn} is not as it was when it was reviewed", differing, target.env_option)


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            said = "is new" if name not in before else "was changed"
            yield f"{name} {said if now.get(name) else 'is missing'}"


def _require(what: str, differing: Sequence[str], env_option: str) -> None:
    if not differing:
        return
    left = len(differing) - SHOWN
    lines = [*differing[:SHOWN], *([f"and {left} more"] if left > 0 else [])]
    raise ExpectedError(
        f"{what}; nothing was run",
        cause="\n".join(lines),
        hint=_again(env_option, "reviews what is there now"),
    )

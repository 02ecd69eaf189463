"""The revision graph as a plain ordered value; pure."""

import ast
import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from postgres_database.errors import ExpectedError

ONLINE = re.compile(r"\bautocommit_block\b|\bop\.(?:online|backfill)\(")
MERGE, ALL_HEADS = 'invoke merge --msg "Merge the heads"', "invoke upgrade --target heads"
ONE_HEAD = f"{MERGE}   (or invoke rebase, which puts yours on top of the other; or {ALL_HEADS}, if they are to stay)"
"""What to type next where one head is needed."""
DOC = re.compile(rb'"""([^"\\\r]*)"""[ \t]*\n')
"""How most scripts begin."""
SHORTEST = 3  # characters of an id that may stand for it


@dataclass(frozen=True)
class Revision:
    """One script."""

    id: str
    message: str
    path: Path
    parents: tuple[str, ...] = ()
    """What it follows: its down revisions."""
    dependencies: tuple[str, ...] = ()
    """What else must be applied before, on other branches."""
    labels: frozenset[str] = frozenset()
    roles: tuple[str, ...] = ()
    """Roles that the script names in grants or policies (`roles = (...)` in the script)."""

    tablespaces: tuple[str, ...] = ()
    """Tablespaces that the script names."""

    digest: str = ""
    """What `script_texts.digests` returned when the script was read."""

    objects: tuple[str, ...] = ()
    """Objects besides tables that came from the models (`objects = (...)` in the script)."""

    replaces: tuple[str, ...] = ()
    """Digests of the scripts that had this id before a squash (`replaces = (...)` in the script)."""

    def __str__(self) -> str:
        """Name the revision for people."""
        return f"{self.id}  {self.message}"

    @cached_property
    def text(self) -> str:
        """The script."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def online(self) -> bool:
        """Whether it does something outside the transaction that stamps it."""
        return ONLINE.search(self.text) is not None

    @property
    def needed(self) -> tuple[str, ...]:
        """All revisions that must be applied before."""
        return self.parents + self.dependencies


@dataclass(frozen=True)
class History:
    """All revisions, each after its parents."""

    revisions: tuple[Revision, ...] = ()
    heads: tuple[str, ...] = ()
    _by_id: dict[str, Revision] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the revisions."""
        object.__setattr__(self, "_by_id", {revision.id: revision for revision in self.revisions})

    def __getitem__(self, revision_id: str) -> Revision:
        """Return the revision with exactly this id."""
        return self._by_id[revision_id]

    def __contains__(self, revision_id: object) -> bool:
        """Tell whether there is a revision with exactly this id."""
        return revision_id in self._by_id

    @property
    def head(self) -> str:
        """The one head, or `base` where there is no revision yet.

        Raises:
            ExpectedError: There are several.
        """
        if len(self.heads) > 1:
            raise self._several(ONE_HEAD)
        return self.heads[0] if self.heads else "base"

    @property
    def _stay_apart(self) -> bool:
        """Whether the heads are likely not to be merged: those of several bases, or of branches with labels."""
        beginnings = sum(not revision.parents for revision in self.revisions)
        return beginnings > 1 or any(revision.labels for revision in self.revisions)

    def _several(self, hint: str) -> ExpectedError:
        bases = [revision.id for revision in self.revisions if not revision.parents]
        return ExpectedError(
            f"the history has {len(self.heads)} heads: {', '.join(self.heads)}",
            cause="two scripts follow the same revision, as happens when two branches are merged"
            if len(bases) == 1
            else f"it begins at {len(bases)} revisions: {', '.join(bases)}",
            hint=hint,
        )

    @property
    def objects(self) -> frozenset[str]:
        """Objects besides tables that the models once had: dropped when the models no longer have them."""
        return frozenset(name for revision in self.revisions for name in revision.objects)

    def upto(self, ids: Iterable[str]) -> tuple[Revision, ...]:
        """Return these revisions and all that they need, in order."""
        wanted: set[str] = set()
        waiting = [revision_id for revision_id in ids if revision_id != "base"]
        while waiting:
            revision_id = waiting.pop()
            if revision_id not in wanted:
                wanted.add(revision_id)
                waiting += self[revision_id].needed
        return tuple(revision for revision in self.revisions if revision.id in wanted)

    def following(self, ids: Collection[str]) -> tuple[Revision, ...]:
        """Return these revisions with all that follow them, in order."""
        found: dict[str, Revision] = {}
        for revision in self.revisions:
            if revision.id in ids or not found.keys().isdisjoint(revision.needed):
                found[revision.id] = revision
        return tuple(found.values())

    def between(self, span: str) -> tuple[Revision, ...]:
        """Return the revisions of `from:to`, both included, the newest first; an end that is left out is the last.

        Raises:
            ExpectedError: There is no such revision.
        """
        start, _, end = span.partition(":")
        goal = self.heads if end in ("", "head", "heads") else [self.resolve(end)]
        before = [] if start in ("", "base") else self[self.resolve(start)].needed
        below = {revision.id for revision in self.upto(before)}
        return tuple(one for one in self.upto(goal)[::-1] if one.id not in below)

    def names(self, text: str) -> bool:
        """Tell whether what people type for a revision names one."""
        try:
            self.resolve(text)
        except ExpectedError:
            return False
        return True

    def resolve(self, text: str) -> str:
        """Turn what people type for a revision (`head`, `base`, `x@head`, an id or its beginning) into an id.

        Raises:
            ExpectedError: There is no such revision, or several.
        """
        if text == "base":
            return "base"
        if text in ("head", "heads"):
            if len(self.heads) > 1 and self._stay_apart:
                needed = f"revision and check need one head, which {MERGE} makes"
                raise self._several(f"{ALL_HEADS}   (if they are to stay apart; {needed})")
            return self.head
        matches = [
            revision.id
            for revision in self.revisions
            if revision.id == text
            or text in revision.labels
            or (len(text) >= SHORTEST and revision.id.startswith(text))
        ]
        matches = [text] if text in matches else matches
        if branch := re.fullmatch(r"(.+)@heads?", text):
            member = self.resolve(branch[1])
            matches = [head for head in self.heads if member in self._line(self.revisions, head)]
        if len(matches) != 1:
            head = f"the head is {', '.join(self.heads) or 'base: there is no script yet'}"
            near = difflib.get_close_matches(text, [*self._by_id, "head", "base"], n=1)
            meant = "".join(f"; did you mean {self._by_id.get(name, name)}?" for name in near)
            raise ExpectedError(
                f"there is no revision {text!r}"
                if not matches
                else f"{text!r} is {'the beginning of ' * (not branch)}several revisions",
                cause=", ".join(matches) or head + meant,
                hint="invoke history",
            )
        return matches[0]

    def pending(self, current: Collection[str], target: str) -> tuple[Revision, ...]:
        """Return what an upgrade runs, in order, to reach `target` (also `+2`: two steps further)."""
        applied = {revision.id for revision in self.upto(current)}
        steps = re.fullmatch(r"\+(\d+)", target)
        goal = self.heads if steps or target == "heads" else [self.resolve(target)]
        missing = tuple(revision for revision in self.upto(goal) if revision.id not in applied)
        if steps:
            if len(missing) < int(steps[1]):
                raise ExpectedError(
                    f"there are not {steps[1]} revisions above {', '.join(current) or 'base'}",
                    cause=f"pending: {len(missing)}",
                    hint="invoke upgrade",
                )
            missing = missing[: int(steps[1])]
        return missing

    def undone(self, current: Collection[str], target: str) -> tuple[tuple[Revision, ...], str]:
        """Return what a downgrade to `target` undoes, in order, and the revision it ends at.

        Args:
            current: Where the database stands.
            target: A revision, `base`, `-1`: one step back, or `x@base`: the whole branch of a revision or label.
        """
        applied = self.upto(current)
        if steps := re.fullmatch(r"-(\d+)", target):
            return self._steps_back(applied, int(steps[1]))
        if branch := re.fullmatch(r"(\w+)@base", target):
            return self._branch(applied, self.resolve(branch[1])), target
        if (goal := self.resolve(target)) == "base":
            return applied[::-1], goal
        if goal not in {revision.id for revision in applied}:
            raise ExpectedError(
                f"{goal} is not applied, so there is no way down to it",
                cause=f"the database is at {', '.join(current) or 'base'}",
                hint=f"invoke upgrade --target {goal}",
            )
        return _undone(
            applied, {revision.id for revision in applied if goal in revision.parents}
        ), goal

    def _branch(self, applied: tuple[Revision, ...], member: str) -> tuple[Revision, ...]:
        """Return what a downgrade of the whole branch of a revision undoes."""
        line = self._line(applied, member)
        return _undone(
            applied,
            {revision.id for revision in applied if revision.id in line and not revision.parents},
        )

    @staticmethod
    def _line(revisions: Sequence[Revision], member: str) -> set[str]:
        """Return a revision and all that it follows; not what it only depends on."""
        line = {member}
        for revision in revisions[::-1]:
            line.update(revision.parents if revision.id in line else ())
        return line

    def _steps_back(
        self, applied: tuple[Revision, ...], steps: int
    ) -> tuple[tuple[Revision, ...], str]:
        undone: list[Revision] = []
        for _ in range(steps):
            heads = tips(applied)
            if not heads:
                raise ExpectedError(
                    f"there are not {steps} revisions to undo",
                    cause=f"after {len(undone)} steps the database is at base",
                    hint="invoke current",
                )
            if len(heads) != 1:
                raise _ambiguous(steps, f"after {len(undone)} steps", heads)
            undone.append(self[heads[0]])
            applied = tuple(revision for revision in applied if revision.id != heads[0])
        left = tips(applied)
        goals = [*left, "base"] if not undone else [i for i in left if i in undone[-1].parents]
        if left and not goals:  # only a dependency leads there, and Alembic goes down by parents
            raise _ambiguous(steps, "then", left, f"{undone[-1].id}@base")
        return tuple(undone), (goals or ["base"])[0]


def _undone(applied: tuple[Revision, ...], first: set[str]) -> tuple[Revision, ...]:
    """Return these revisions and all that need any of them, in the order of a downgrade."""
    undone = {*first}
    for revision in applied:
        undone.update([revision.id] if undone.intersection(revision.needed) else [])
    return tuple(revision for revision in applied[::-1] if revision.id in undone)


def _ambiguous(steps: int, when: str, heads: Sequence[str], goal: str = "…") -> ExpectedError:
    return ExpectedError(
        f"{steps} steps back from here is ambiguous",
        cause=f"{when} the database is at {' and '.join(heads) or 'base'}",
        hint=f"invoke downgrade --target={goal}   (invoke history shows the revisions)",
    )


def cluster_names(revisions: Iterable[Revision]) -> tuple[set[str], set[str]]:
    """Return the roles and the tablespaces that scripts name: a server has them, not a database."""
    revisions = tuple(revisions)
    roles = {name for revision in revisions for name in revision.roles}
    return roles, {name for revision in revisions for name in revision.tablespaces}


def tips(revisions: Iterable[Revision]) -> tuple[str, ...]:
    """Return the revisions that no other of these needs."""
    revisions = tuple(revisions)
    inner = {parent for revision in revisions for parent in revision.needed}
    return tuple(revision.id for revision in revisions if revision.id not in inner)


def revision(script: Any, digest: str, dependencies: tuple[str, ...]) -> Revision:
    """Return a script that Alembic has read as a value.

    Args:
        script: Alembic's `Script`.
        digest: What `script_texts.digests` returns for it.
        dependencies: The revisions that its `depends_on` names.
    """
    return Revision(
        id=script.revision,
        message=script.doc,
        path=Path(script.path),
        digest=digest,
        parents=as_tuple(script.down_revision),
        dependencies=dependencies,
        labels=frozenset(as_tuple(getattr(script.module, "branch_labels", None))),
        roles=_said(script.module, "roles"),
        tablespaces=_said(script.module, "tablespaces"),
        objects=_said(script.module, "objects"),
        replaces=_said(script.module, "replaces"),
    )


def message(script: bytes) -> str:
    """Return the message that the text of a script begins with, as Alembic has it."""
    plain = DOC.match(script)
    doc = plain[1].decode() if plain else ast.get_docstring(ast.parse(script), clean=False) or ""
    return doc.strip().split("\n\n")[0]


def as_tuple(value: Any) -> tuple[str, ...]:
    """Return the names that Alembic has as None, a text, or several."""
    return (value,) if isinstance(value, str) else tuple(value or ())


def _said(module: Any, name: str) -> tuple[str, ...]:
    """Return what a script lists under a name; one by hand may mean something else by it."""
    value = getattr(module, name, ())
    names = value if isinstance(value, (tuple, list)) else ()
    return tuple(item for item in names if isinstance(item, str))

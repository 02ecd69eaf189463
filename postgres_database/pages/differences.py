"""Objects of a schema before and after, line by line; pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from postgres_database.schema.snapshot import Difference, Snapshot

AROUND = 3  # equal lines before and after those that differ


@dataclass(frozen=True)
class Changed:
    """An object that is new, gone or changed."""

    name: str
    what: str
    """`new`, `gone` or `changed`."""
    lines: tuple[tuple[str, str], ...]
    """Each with its sign: `+`, `-`, nothing where it is in both, `…` where equal lines are left out."""


def between(before: Snapshot, after: Snapshot) -> list[Changed]:
    """Return the objects that differ, each with its lines."""
    return [_changed(each) for each in before.difference(after)]


def _changed(difference: Difference) -> Changed:
    what = (
        "changed" if difference.left and difference.right else "gone" if difference.left else "new"
    )
    left, right = difference.left.splitlines(), difference.right.splitlines()
    return Changed(str(difference.key), what, tuple(_lines(left, right)))


def _lines(left: list[str], right: list[str]) -> Iterator[tuple[str, str]]:
    old, new = ([line.rstrip(",") for line in side] for side in (left, right))
    if old == new:
        old, new = left, right
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    end = 0
    for group in matcher.get_grouped_opcodes(AROUND):
        if group[0][1] > end:
            yield "…", ""
        for tag, first, last, start, stop in group:
            if tag == "equal":
                yield from (("", line) for line in right[start:stop])
            else:
                yield from (("-", line) for line in left[first:last])
                yield from (("+", line) for line in right[start:stop])
        end = group[-1][2]
    if end < len(left):
        yield "…", ""

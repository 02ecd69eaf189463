"""Lines that the results of several commands share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from postgres_database.console.terminal import OUT, say

if TYPE_CHECKING:
    from postgres_database.schema.snapshot import Difference, Key

SHOWN_KEPT = 5
SHORT = 4
"""Lines of a definition that is shown whole, even if the other side has most of them, too."""


def show_table(
    titles: Sequence[str], rows: Sequence[tuple[Sequence[str], str]], beneath: Collection[str] = ()
) -> None:
    """Show rows in columns.

    Args:
        titles: Of the columns.
        rows: The cells of each, and its style.
        beneath: The titles of columns that stand beneath each row if the terminal is too narrow for all.
    """
    columns = [*zip(titles, *(cells for cells, _ in rows), strict=True)]
    widths = [max(map(_width, column)) for column in columns]
    narrow = sum(widths) + 2 * len(widths) > OUT.width
    apart = [at for at, title in enumerate(titles) if narrow and title in beneath]

    def line(cells: Sequence[str]) -> str:
        padded = (
            f"{cell}{' ' * (w - _width(cell))}" for cell, w in zip(cells, widths, strict=True)
        )
        return "  ".join(cell for at, cell in enumerate(padded) if at not in apart)

    say(line(titles), "bold")
    for cells, style in rows:
        say(line(cells), style)
        if apart:
            say("  " + "  ".join(cells[at] for at in apart), style)


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - few tables need it

    return cell_len(text)


def places(revisions: Sequence[str]) -> str:
    """Name the revisions that a database is at."""
    return ", ".join(revisions) or "base"


def look_at(text: str) -> None:
    """Show what a human must look at."""
    indented = text.strip().replace("\n", "\n          ")
    say(f"look at   {indented}", style="yellow")


def show_text(name: str, text: str) -> None:
    """Show a text of several lines under its name."""
    body = text.strip().replace("\n", "\n              ") or "(none)"
    say(f"  {name + ':':<11} {body}", style="dim")


def show_objects(title: str, differences: Iterable[Difference], left: str, right: str) -> None:
    """Show objects that differ, with their texts on both sides; of long ones, the lines that differ."""
    for difference in differences:
        look_at(f"{title}: {difference.key}")
        texts = unlike(difference.left, difference.right)
        for name, text in zip((left, right), texts, strict=True):
            show_text(name, text)


def unlike(left: str, right: str) -> tuple[str, str]:
    """Return two texts without the lines that both have, in place of which `…` stands; short ones whole."""
    sides = left.splitlines(), right.splitlines()
    if not all(sides) or max(map(len, sides)) <= SHORT:
        return left, right
    shown: tuple[list[str], list[str]] = ([], [])
    for same, *places in SequenceMatcher(None, *sides, autojunk=False).get_opcodes():
        ends = (places[0], places[1]), (places[2], places[3])
        for lines, kept, (start, end) in zip(sides, shown, ends, strict=True):
            kept.extend(["…"] if same == "equal" else lines[start:end])
    return "\n".join(shown[0]), "\n".join(shown[1])


def show_kept(kept: Sequence[Key]) -> None:
    """Show which objects stay though the models do not know them."""
    if kept:
        say(f"kept      {len(kept)} objects that the models do not know: {some(kept)}", "dim")


def some(names: Sequence[object]) -> str:
    """Name the first of several things."""
    return ", ".join([*map(str, names[:SHOWN_KEPT]), *(["…"] if names[SHOWN_KEPT:] else [])])

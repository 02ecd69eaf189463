"""Lines that the results of several commands share."""

from collections.abc import Iterable, Sequence

from postgres_database.console.terminal import say
from postgres_database.schema.snapshot import Difference, Key

SHOWN_KEPT = 5


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
    """Show objects that differ, with their texts on both sides."""
    for difference in differences:
        look_at(f"{title}: {difference.key}")
        for name, text in ((left, difference.left), (right, difference.right)):
            show_text(name, text)


def show_kept(kept: Sequence[Key]) -> None:
    """Show which objects stay though the models do not know them."""
    if kept:
        say(f"kept      {len(kept)} objects that the models do not know: {some(kept)}", "dim")


def some(names: Sequence[object]) -> str:
    """Name the first of several things."""
    return ", ".join([*map(str, names[:SHOWN_KEPT]), *(["…"] if names[SHOWN_KEPT:] else [])])

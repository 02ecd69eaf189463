"""The picture in docs/performance.md: how long each tool takes, over the number of revisions."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mako.template import Template

from benchmarks import upgrade
from benchmarks.pairs import PLAIN

TEMPLATE = Path(__file__).with_suffix(".svg.mako")
WIDTH, HEIGHT = 500, 360  # pixels of a panel
LEFT, RIGHT, TOP, BOTTOM = 56, 150, 44, 34  # around its curves
APART = 18  # pixels from one name to the next
TICKS = [mantissa * 10.0**power for power in range(-3, 4) for mantissa in (1, 2, 5)]
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Curve:
    """A tool."""

    tool: str
    points: str
    """For `polyline`."""
    end: float
    """Where the last of them is, from the top."""
    label: float
    """Where its name is."""


@dataclass(frozen=True)
class Panel:
    """How long some work takes."""

    title: str
    curves: tuple[Curve, ...]
    columns: tuple[tuple[float, str], ...]
    """The places and labels of numbers of revisions."""
    lines: tuple[tuple[float, str], ...]
    """The places and labels of seconds."""


def by_tool(rows: Rows, work: str) -> dict[str, Mapping[str, Any]]:
    """Return the rows of a work beside plain Alembic."""
    return {row["tool"]: row for row in rows if (row["work"], row["other"]) == (work, PLAIN)}


def _seconds(rows: Rows, work: str) -> dict[str, list[float]]:
    """Return how long each tool takes for a work, by the number of revisions."""
    sizes = [by_tool(rows, upgrade.named(work, size)) for size in upgrade.SIZES]
    taken = {
        tool: [size[tool]["seconds"] for size in sizes]
        for tool in sizes[0]
        if tool != upgrade.ALONE.name
    }
    plain = [next(iter(size.values()))["other_seconds"] for size in sizes]
    return taken | {PLAIN: plain}


def _apart(places: Iterable[float], lowest: float) -> list[float]:
    """Return places, from above, moved down and then up until none is too near to the next."""
    down: list[float] = []
    for place in places:
        down.append(max(place, down[-1] + APART) if down else place)
    up = [min(down[-1], lowest)]
    for place in reversed(down[:-1]):
        up.append(min(place, up[-1] - APART))
    return up[::-1]


def panel(rows: Rows, work: str) -> Panel:
    """Return the curves of a work, from the slowest tool to the fastest."""
    taken = _seconds(rows, work)
    every = [seconds for each in taken.values() for seconds in each]
    ticks = [tick for tick in TICKS if min(every) / 2.5 < tick < max(every) * 2.5]

    def across(size: float) -> float:
        low, high = math.log(upgrade.SIZES[0]), math.log(upgrade.SIZES[-1])
        return round(LEFT + (math.log(size) - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    def upward(seconds: float) -> float:
        low, high = math.log(ticks[0]), math.log(ticks[-1])
        share = (math.log(seconds) - low) / (high - low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    ends = sorted((upward(seconds[-1]), tool) for tool, seconds in taken.items())
    labels = _apart([end for end, _ in ends], HEIGHT - BOTTOM)
    drawn = tuple(
        Curve(
            tool,
            " ".join(
                f"{across(size)},{upward(seconds)}"
                for size, seconds in zip(upgrade.SIZES, taken[tool], strict=True)
            ),
            end,
            label,
        )
        for (end, tool), label in zip(ends, labels, strict=True)
    )
    return Panel(
        work,
        drawn,
        tuple((across(size), f"{size:,}") for size in upgrade.SIZES),
        tuple((upward(tick), f"{tick:g} s") for tick in ticks),
    )


def drawn(rows: Rows) -> str:
    """Return the picture of results."""
    panels = [panel(rows, work) for work in (upgrade.NOTHING, upgrade.EMPTY)]
    template = Template(filename=str(TEMPLATE), default_filters=["h"])  # noqa: S702 - it escapes
    return str(
        template.render(
            panels=panels,
            width=WIDTH,
            height=HEIGHT,
            left=LEFT,
            right=WIDTH - RIGHT,
            top=TOP,
            bottom=HEIGHT - BOTTOM,
        )
    )

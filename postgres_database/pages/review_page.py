"""A review → one page of HTML that needs nothing else: pictures, findings, differences, SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mako.lookup import TemplateLookup

from postgres_database.history.graph import Revision
from postgres_database.pages import diagram, differences, timeline
from postgres_database.pages.diagram import Diagram
from postgres_database.pages.differences import Changed
from postgres_database.pages.timeline import Picture
from postgres_database.preflight import preview
from postgres_database.reviewing.findings import ERROR, LEVELS, WARNING, Finding, open_at
from postgres_database.reviewing.statements import Measured
from postgres_database.sql.names import Name
from postgres_database.workflows.review import Review

FOLDER = Path(__file__).parent
TEMPLATE = "review.html.mako"


@dataclass(frozen=True)
class Part:
    """A revision with its statements."""

    revision: Revision
    file: str
    first: int
    """The number of its first statement."""
    statements: Sequence[Measured]
    pictures: Sequence[Picture]
    stopped: Finding | None
    """Why it fails; None if it does not."""

    @property
    def quiet(self) -> bool:
        """Whether it has statements, and no picture shows anything of them."""
        return bool(self.statements) and not any(picture.rows for picture in self.pictures)


@dataclass(frozen=True)
class Page:
    """What the template of a review shows."""

    review: Review

    @property
    def level(self) -> str:
        """The gravest level of the findings that count; `safe` if there is none above a note."""
        counting = open_at(self.review.findings, WARNING)
        return ERROR if open_at(counting, ERROR) else WARNING if counting else "safe"

    @property
    def open(self) -> list[Finding]:
        """The findings that count, the gravest first."""
        found = [each for each in self.review.findings if not each.accepted]
        return sorted(found, key=lambda each: -LEVELS.index(each.level))

    @property
    def accepted(self) -> list[Finding]:
        """The findings that comments of the scripts accept."""
        return [each for each in self.review.findings if each.accepted]

    @property
    def counts(self) -> list[tuple[int, str]]:
        """How many findings there are of each level, in words."""
        levels = [each.level for each in self.open]
        found = [(levels.count(level), level) for level in reversed(LEVELS)]
        return [(count, f"{level}{'s' * (count != 1)}") for count, level in found if count]

    @cached_property
    def parts(self) -> list[Part]:
        """The revisions."""
        parts, first, review = [], 1, self.review
        for revision in review.plan:
            mine = [each for each in review.statements if each.revision.id == revision.id]
            drawn = timeline.pictures(mine, review.sizes, first)
            failures = (each for each in review.findings if each.rule == "fails")
            stopped = next((each for each in failures if each.revision == revision.id), None)
            file = review.files[revision.id]
            parts.append(Part(revision, file, first, mine, drawn, stopped))
            first += len(mine)
        return parts

    @property
    def quiet(self) -> list[Part]:
        """The revisions of which there is nothing to draw, though others have pictures."""
        return [part for part in self.parts if part.quiet] if self.drawn else []

    @property
    def drawn(self) -> bool:
        """Whether a picture shows anything."""
        return any(picture.rows for part in self.parts for picture in part.pictures)

    @property
    def modes(self) -> list[tuple[str, str, str]]:
        """The lock modes of the pictures: what stands for each in them, its name, and what it blocks."""
        found = timeline.used([picture for part in self.parts for picture in part.pictures])
        return [
            (timeline.SHORT[mode], mode.removesuffix("Lock"), timeline.blocks(mode))
            for mode in found
        ]

    @property
    def changes(self) -> list[Changed]:
        """The objects that the scripts change."""
        if not self.review.sides:
            return []
        before, after = self.review.sides
        return differences.between(before.snapshot, after.snapshot)

    @cached_property
    def diagram(self) -> Diagram | None:
        """The tables that the scripts change, or that others wait for."""
        if not self.review.sides:
            return None
        before, after = self.review.sides
        names = diagram.touched(before.catalog, after.catalog)
        for measured in self.review.statements:
            relations = {*measured.locked, *measured.changed}
            names |= {Name(*each.place) for each in relations}
        drawn = diagram.draw(before.catalog, after.catalog, names)
        return drawn if drawn.boxes else None

    @staticmethod
    def effects(measured: Measured) -> list[str]:
        """What a statement takes, rewrites, reads and changes, a line each."""
        taken = [lock for lock in measured.taken if lock.relation.kind not in timeline.ASIDE]
        lines = [
            f"takes {lock}, which blocks {timeline.blocks(lock.mode)}"
            for lock in taken
            if lock.mode != timeline.READS
        ]
        lines += [f"rewrites {each}" for each in measured.rewritten]
        lines += [f"reads {each} from end to end" for each in measured.scanned]
        lines += [
            f"changes {rows:,} made-up rows of {each}" for each, rows in measured.changed.items()
        ]
        lines += [str(measured.estimate)] if measured.estimate else []
        return lines


def as_html(review: Review) -> str:
    """Return a review as a page."""
    lookup = TemplateLookup([str(FOLDER)], default_filters=["h"], strict_undefined=True)
    text = lookup.get_template(TEMPLATE).render(
        page=Page(review), review=review, sql=preview.without_values, timeline=timeline
    )
    return str(text)

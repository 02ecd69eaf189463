"""Tables as boxes, foreign keys as lines around them: the places in a picture; pure.

Boxes stand in columns, a table to the right of those that it references. A line runs only in the gutters between
columns and in lanes above all boxes, so that nothing lies on top of a box, whatever the tables.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from postgres_database.pages.texts import fitted, width
from postgres_database.schema.catalog import Catalog, Constraint, Table
from postgres_database.sql.names import Name
from postgres_database.sql.syntax import referenced

WIDTH, HEAD, LINE = 248, 30, 19  # pixels of a box
EDGE, LANE, GAP = 12, 9, 26  # pixels around boxes and between lines
LETTERS = 29  # of a line
SHOWN = 14  # columns of a table
LEVELS = 12  # of tables that reference each other
APART = 1_000_000  # the level of tables without foreign keys: behind all others
ACROSS = 4  # columns of boxes, if the tables do not reference each other
LOWEST = 420  # pixels
BRIEF = {
    "public.": "",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "character varying": "varchar",
    "double precision": "float8",
}
"""What types are called where there is little room."""


@dataclass(frozen=True)
class Line:
    """A column of a table."""

    name: str
    type: str
    key: str
    """`PK`, `FK` or nothing."""
    what: str
    """`new`, `gone`, `changed` or `same`."""

    @property
    def shown_type(self) -> str:
        """The type, in the room beside the name."""
        said = self.type
        for long, short in BRIEF.items():
            said = said.removeprefix(long) if not short else said.replace(long, short)
        return fitted(said, max(6, LETTERS - 6 - width(self.shown)))

    @property
    def shown(self) -> str:
        """The name, in the room that it has."""
        return fitted(self.name, 18)


@dataclass(frozen=True)
class Box:
    """A table."""

    table: Name
    what: str
    lines: tuple[Line, ...]
    more: int
    """Columns that are left out."""
    x: int = 0
    y: int = 0

    @property
    def height(self) -> int:
        """The height."""
        return HEAD + LINE * (len(self.lines) + bool(self.more)) + 6

    @property
    def shown(self) -> str:
        """The name, in the room that it has."""
        return fitted(str(self.table), 24)

    def line_y(self, column: str) -> int:
        """Return the middle of the line of a column; of the name of the table if it is left out."""
        for number, line in enumerate(self.lines):
            if line.name == column:
                return self.y + HEAD + LINE * number + LINE // 2 + 2
        return self.y + HEAD // 2


@dataclass(frozen=True)
class Edge:
    """A foreign key."""

    child: Name
    parent: Name
    column: str
    name: str
    what: str


@dataclass(frozen=True)
class Path:
    """The line of a foreign key, from its column to the table that it references."""

    edge: Edge
    points: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Diagram:
    """Boxes and lines."""

    boxes: tuple[Box, ...]
    paths: tuple[Path, ...]
    width: int
    height: int


def touched(before: Catalog, after: Catalog) -> set[Name]:
    """Return the tables that are new, gone or changed."""
    names = before.tables.keys() | after.tables.keys()
    return {name for name in names if before.tables.get(name) != after.tables.get(name)}


def draw(before: Catalog, after: Catalog, names: Iterable[Name]) -> Diagram:
    """Return the diagram of some tables, as they are after the scripts; those that are gone, as they were."""
    sides = {
        name: (before.tables.get(name), after.tables.get(name))
        for name in sorted(names)
        if name in before.tables or name in after.tables
    }
    edges = [edge for name, (old, new) in sides.items() for edge in _edges(name, old, new)]
    edges = [edge for edge in edges if edge.parent in sides]
    boxes = {name: _box(name, old, new) for name, (old, new) in sides.items()}
    return _placed(_columns(boxes, edges), edges)


def _box(name: Name, old: Table | None, new: Table | None) -> Box:
    table = new or old
    assert table is not None  # noqa: S101 - for mypy
    keys = {
        column: {"p": "PK", "f": "FK"}[each.kind]
        for each in sorted(table.constraints.values(), key=lambda each: each.kind)
        if each.kind in "pf"
        for column in each.columns
    }
    was, now = (dict(side.columns) if side else {} for side in (old, new))
    both = old is not None and new is not None
    lines = [
        Line(
            column.name,
            column.type,
            keys.get(column.name, ""),
            _state(was.get(column.name), now.get(column.name)) if both else "same",
        )
        for column in (was | now).values()
    ]
    rank = sorted(lines, key=lambda each: (each.what == "same", not each.key))
    kept = {each.name for each in rank[:SHOWN]}
    shown = tuple(each for each in lines if each.name in kept)
    return Box(name, _state(old, new), shown, len(lines) - len(shown))


def _state(old: object | None, new: object | None) -> str:
    return "new" if old is None else "gone" if new is None else "same" if old == new else "changed"


def _edges(name: Name, old: Table | None, new: Table | None) -> Iterator[Edge]:
    was, now = (_foreign(side) for side in (old, new))
    both = old is not None and new is not None
    for key, constraint in (was | now).items():
        what = _state(was.get(key), now.get(key)) if both else "same"
        parent = Name.read(referenced(constraint.definition))
        yield Edge(name, parent, constraint.columns[0], key, what)


def _foreign(table: Table | None) -> dict[str, Constraint]:
    found = table.constraints if table else {}
    return {name: each for name, each in found.items() if each.kind == "f"}


def _columns(boxes: Mapping[Name, Box], edges: Sequence[Edge]) -> list[list[Box]]:
    """Return the boxes column by column, none of which is much higher than the others."""
    linked = {name for edge in edges for name in (edge.child, edge.parent)}
    level = {name: 0 if name in linked else APART for name in boxes}
    for _ in range(LEVELS):  # where tables reference each other in a circle, it would never end
        for edge in edges:
            if edge.child != edge.parent:
                level[edge.child] = max(level[edge.child], level[edge.parent] + 1)
    highest = max(LOWEST, sum(box.height + GAP for box in boxes.values()) // ACROSS)
    columns: list[list[Box]] = []
    for number in sorted(set(level.values())):
        column: list[Box] = []
        for name, box in boxes.items():
            if level[name] != number:
                continue
            if column and sum(each.height + GAP for each in column) + box.height > highest:
                columns.append(column)
                column = []
            column.append(box)
        columns.append(column)
    return columns


def _placed(columns: Sequence[Sequence[Box]], edges: Sequence[Edge]) -> Diagram:
    """Give each box and each line its place."""
    at = {box.table: number for number, column in enumerate(columns) for box in column}
    lanes: Counter[int] = Counter()
    lane: dict[tuple[int, int], int] = {}
    above: dict[int, int] = {}
    for number, edge in enumerate(edges):
        gutters = {at[edge.child], at[edge.parent] + 1}
        for gutter in gutters:
            lane[number, gutter] = lanes[gutter]
            lanes[gutter] += 1
        if len(gutters) > 1:
            above[number] = EDGE + LANE * len(above)
    top = EDGE + LANE * len(above) + (EDGE if above else 0)
    x, starts, placed = 0, {}, {}
    for number, column in enumerate(columns):
        starts[number] = x
        x += _gutter(lanes[number])
        y = top
        for box in column:
            placed[box.table] = Box(box.table, box.what, box.lines, box.more, x, y)
            y += box.height + GAP
        x += WIDTH
    starts[len(columns)] = x
    paths = []
    for number, edge in enumerate(edges):
        child, parent = placed[edge.child], placed[edge.parent]
        first, last = (
            starts[gutter] + EDGE + LANE * lane[number, gutter]
            for gutter in (at[edge.child], at[edge.parent] + 1)
        )
        from_, to = child.line_y(edge.column), parent.y + HEAD // 2
        points = [(child.x, from_), (first, from_)]
        if number in above:
            points += [(first, above[number]), (last, above[number])]
        points += [(last, to), (parent.x + WIDTH, to)]
        paths.append(Path(edge, tuple(points)))
    height = max((box.y + box.height for box in placed.values()), default=0) + EDGE
    return Diagram(tuple(placed.values()), tuple(paths), x + _gutter(lanes[len(columns)]), height)


def _gutter(lanes: int) -> int:
    return 2 * EDGE + LANE * max(lanes - 1, 0) + (EDGE if lanes else 0)

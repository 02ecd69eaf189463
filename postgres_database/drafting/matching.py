"""What was dropped and added at once was perhaps renamed. Pure: no database, no terminal.

Nothing is renamed on a guess: a likely rename is one that somebody confirms, by a flag, in the
model, or when asked. As long as one is undecided, nothing goes on.
"""

import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from itertools import product
from typing import Any

from postgres_database.drafting import likeness
from postgres_database.drafting.renames import Rename, one_by_one
from postgres_database.errors import ExpectedError
from postgres_database.history import project_models
from postgres_database.history.project_models import Models
from postgres_database.running.listener import SILENT
from postgres_database.schema.catalog import Catalog, Column, Table
from postgres_database.sql.names import Name

Choose = Callable[[str], bool | None]

LIKELY = 0.5
"""A pair of this score is asked about."""
HINT = "renamed_from"


@dataclass(frozen=True)
class Wishes:
    """What was said about renames, and about drops."""

    flags: tuple[str, ...] = ()
    """What `--rename` was given: `table.column:new`, `old:new`."""
    none: bool = False
    """Whether everything else was dropped and added."""
    hints: Mapping[tuple[Name, str], str] = field(default_factory=dict)
    """What the models say: the old name by table and column; the column is empty for the table's own."""
    choose: Choose = SILENT.choose
    """Answers a question; None without a terminal."""
    drop_adopted: bool = False
    """Whether tables that an adopted database brought may be dropped without a question."""


def hints(models: Models) -> dict[tuple[Name, str], str]:
    """Collect the old names that tables and columns say in `info={"renamed_from": …}`."""
    found = {}
    for table in project_models.tables(models):
        name = Name.of(table.schema, table.name)
        for column, info in (("", table.info), *((str(c.name), c.info) for c in table.columns)):
            if HINT in info:
                found[name, column] = str(info[HINT])
    return found


def find(before: Catalog, goal: Catalog, wishes: Wishes) -> tuple[Rename, ...]:
    """Return what was renamed, in an order in which that can be done.

    Raises:
        ExpectedError: A flag names nothing that can be renamed, or a likely rename is undecided.
    """
    finder = _Finder(before, goal, wishes)
    finder.schemas()
    finder.types()
    finder.tables()
    finder.sequences()
    finder.insides()
    finder.require_decided()
    return (*_new_schemas(before, finder.found), *finder.found)


def _new_schemas(before: Catalog, found: Iterable[Rename]) -> Iterator[Rename]:
    """Return the schemas that must be made for what moves there."""
    there = {*before.schemas, "", *(each.new.name for each in found if each.kind == "schema")}
    moved = {each.new.schema for each in found if each.old.schema != each.new.schema}
    return (Rename("schema", Name("", ""), Name("", schema)) for schema in sorted(moved - there))


class _Finder:
    """Goes from the outer names to the inner ones, and remembers what is decided."""

    def __init__(self, before: Catalog, goal: Catalog, wishes: Wishes) -> None:
        self.before = before
        self.goal = goal
        self.wishes = wishes
        self.hints = wishes.hints
        self.found: list[Rename] = []
        self.undecided: list[Rename] = []
        self.possible: list[str] = []
        self.flags = dict.fromkeys(wishes.flags, False)
        self.schema_names: dict[str, str] = {}
        self.former: dict[Name, Name] = {}
        self.type_texts: dict[str, str] = {}

    def schemas(self) -> None:
        """Find schemas that hold the same tables under another name."""
        here, goal = _by_schema(self.before), _by_schema(self.goal)
        chosen = self._decide(
            lambda old, new: Rename("schema", Name("", old), Name("", new)),
            here, goal, lambda old, new: likeness.overlap(here[old], goal[new]),
        )  # fmt: skip
        self.schema_names = {each.old.name: each.new.name for each in chosen}

    def types(self) -> None:
        """Find types of the same make."""
        here, goal = self._moved(self.before.types), self.goal.types
        used = _used(self.before)

        def score(old: Name, new: Name) -> float:
            return likeness.type_score(here[old], goal[new]) if here[old].sql in used else 0.0

        chosen = self._decide(partial(Rename, "type"), here, goal, score)
        self.types_here = self._renamed(here, goal, chosen)
        self.type_texts = {type_.sql: goal[name].sql for name, type_ in self.types_here.items()}

    def tables(self) -> None:
        """Find tables with like columns."""
        here = {n: t for n, t in self._moved(self.before.tables).items() if not t.partition}
        goal = self.goal.tables
        wanted = [
            Rename("table", old, new)
            for (new, column), hint in self.hints.items()
            for old in (() if column else here)
            if new in goal and hint in {old.name, str(old), ".".join(old)}
        ]
        chosen = self._decide(
            partial(Rename, "table"), here, goal,
            lambda old, new: self._table_score(here[old], goal[new]), wanted,
        )  # fmt: skip
        self.tables_here = self._renamed(here, goal, chosen)

    def sequences(self) -> None:
        """Find sequences with the same options."""
        here, goal = self._moved(self.before.sequences), self.goal.sequences
        self._decide(
            partial(Rename, "sequence"), here, goal, lambda old, new: float(here[old] == goal[new])
        )

    def insides(self) -> None:
        """Find columns, values and attributes that were renamed in what stayed or was renamed."""
        for name, table in self.tables_here.items():
            here, goal = _local(table), _local(self.goal.tables[name])
            self._inside("column", name, here, goal, self._column_score)
        for name, type_ in self.types_here.items():
            goal_type = self.goal.types[name]
            labels = {label: place for place, label in enumerate(type_.labels)}
            goal_labels = {label: place for place, label in enumerate(goal_type.labels)}
            self._inside("value", name, labels, goal_labels, likeness.value_score)
            self._inside(
                "attribute", name, type_.attributes, goal_type.attributes, self._attribute_score
            )

    def require_decided(self) -> None:
        """Raise ExpectedError if something is open, or if a flag was of no use."""
        if unused := [flag for flag, used in self.flags.items() if not used]:
            near = get_close_matches(unused[0], self.possible, n=3, cutoff=0.3) or self.possible[:3]
            raise ExpectedError(
                f"there is nothing to rename as {', '.join(unused)}",
                cause="models and history have no such pair of an old and a new name",
                hint=f"invoke revision --msg '…' {' '.join(map(_option, near))}"
                "   (table.column:new, old:new, type.value:new; names have up to 63 bytes)",
            )
        if self.undecided:
            flags = "\n".join(map(_option, self.undecided))
            best: list[Rename] = []
            for each in self.undecided:
                best += [each] if _claimed(best).isdisjoint(_claimed([each])) else []
            raise ExpectedError(
                "was something renamed? nothing was written, because a name that is dropped and added"
                " loses its rows",
                cause=f"there is no terminal to ask on; these are likely:\n{flags}",
                hint=f"invoke revision --msg '…' {' '.join(map(_option, best))}"
                "   (what was renamed; with --no-renames the rest is dropped and added)",
            )

    def _inside(
        self,
        kind: str,
        place: Name,
        here: Mapping[str, Any],
        goal: Mapping[str, Any],
        score: Callable[[str, Any, str, Any], float],
    ) -> None:
        def rename(old: str, new: str) -> Rename:
            return Rename(kind, Name(place.schema, old), Name(place.schema, new), place)

        wanted = [
            rename(old, new)
            for (table, new), old in self.hints.items()
            if kind == "column" and table == place and old in here and new in goal
        ]
        self._decide(rename, here, goal, lambda o, n: score(o, here[o], n, goal[n]), wanted)

    def _decide(
        self,
        rename: Callable[[Any, Any], Rename],
        here: Collection[Any],
        goal: Collection[Any],
        score: Callable[[Any, Any], float],
        wanted: Iterable[Rename] = (),
    ) -> list[Rename]:
        """Choose by flag, by hint, and by asking about what is likely.

        Args:
            rename: Makes a rename of two names.
            here: The names that there are.
            goal: The names that there ought to be.
            score: How likely a pair of names is one thing's.
            wanted: What the models say.
        """
        pairs = {rename(old, new): score(old, new) for old, new in _pairs(here, goal)}
        self.possible += map(str, pairs)
        taken = {rename(name, name).old for name in here}
        chosen = self._flagged(rename, here, goal, taken)
        likely = [each for each, likeness in pairs.items() if likeness >= LIKELY]
        likely.sort(key=lambda each: (-pairs[each], str(each)))
        moved = [each for each in likely if each.old.name == each.new.name]  # to another schema
        moving = _claimed(moved)
        likely = moved + [each for each in likely if moving.isdisjoint(_claimed([each]))]
        meant = [each for each in wanted if each.new not in taken]  # else it is done already
        claimed = _claimed(chosen)
        for each in (*meant, *likely):
            if not claimed.isdisjoint(_claimed([each])):
                continue
            if each in meant or self._confirmed(each):
                chosen.append(each)
                claimed |= _claimed([each])
        self.found += one_by_one(chosen, taken)
        return chosen

    def _flagged(
        self,
        rename: Callable[[Any, Any], Rename],
        here: Collection[Any],
        goal: Collection[Any],
        taken: Collection[Name],
    ) -> list[Rename]:
        """Return what flags ask for. A name that is taken can be given if it becomes free as well."""
        flags = [flag for flag, used in self.flags.items() if not used]
        pairs = product(_mentioned(here, flags), _mentioned(goal, flags)) if flags else ()
        named = {each: flag for pair in pairs if (flag := self._flag(each := rename(*pair)))}
        left = {each.old for each in named}
        chosen = [each for each in named if each.new not in taken or each.new in left]
        self.flags |= {named[each]: True for each in chosen}
        return chosen

    def _confirmed(self, rename: Rename) -> bool:
        if self.wishes.none:
            return False
        answer = self.wishes.choose(rename.question)
        if answer is None:
            self.undecided.append(rename)
        return bool(answer)

    def _flag(self, rename: Rename) -> str:
        """Return the flag that means this rename."""
        spellings = rename.spellings(self.former)
        return next((flag for flag in self.flags if flag in spellings), "")

    def _moved(self, things: Mapping[Name, Any]) -> dict[Name, Any]:
        """Return what there is under the new names of schemas."""
        schemas = self.schema_names
        return {Name(schemas.get(n.schema, n.schema), n.name): each for n, each in things.items()}

    def _renamed(
        self, here: Mapping[Name, Any], goal: Iterable[Name], chosen: Iterable[Rename]
    ) -> dict[Name, Any]:
        """Return what stays, by its new name."""
        old = {each.new: each.old for each in chosen}
        self.former |= old
        gone = set(old.values()) - old.keys()
        names = {name: old.get(name, name) for name in goal if name not in gone or name in old}
        return {name: here[former] for name, former in names.items() if former in here}

    def _type(self, text: str) -> str:
        """Return the text of a type under the type's new name."""
        bare = text.removesuffix("[]")
        return self.type_texts.get(bare, bare) + text[len(bare) :]

    def _table_score(self, here: Table, goal: Table) -> float:
        """Compare shapes: columns with the same name, with the same type, or both."""
        names = here.columns.keys() & goal.columns.keys()
        same = sum(
            1.0 if self._type(here.columns[name].type) == goal.columns[name].type else 0.75
            for name in names
        )
        left, right = (
            Counter(self._type(c.type) for n, c in table.columns.items() if n not in names)
            for table in (here, goal)
        )
        same += 0.5 * (left & right).total()
        columns = len(here.columns) + len(goal.columns)
        alike = (
            2 * same / columns
            if columns
            else float(likeness.similar(here.name.name, goal.name.name))
        )
        return alike + (0.1 if here.name.name == goal.name.name else 0)

    def _column_score(self, old: str, here: Column, new: str, goal: Column) -> float:
        if bool(here.generated) != bool(goal.generated):
            return 0.0
        if self._type(here.type) == goal.type:
            return 0.9 + 0.1 * likeness.ratio(old, new)
        if likeness.family(self._type(here.type)) == likeness.family(goal.type):
            return 0.6 + 0.1 * likeness.ratio(old, new)
        return 0.5 if likeness.similar(old, new) else 0.0

    def _attribute_score(self, old: str, here: str, new: str, goal: str) -> float:
        return 0.9 if self._type(here) == goal else 0.5 if likeness.similar(old, new) else 0.0


def _option(rename: object) -> str:
    return f"--rename {shlex.quote(str(rename))}"


def _pairs(here: Collection[Any], goal: Collection[Any]) -> Iterator[tuple[Any, Any]]:
    """Return every pair of a name that went and one that came."""
    return product(
        [name for name in here if name not in goal], [name for name in goal if name not in here]
    )


def _claimed(renamed: Iterable[Rename]) -> set[tuple[str, Name]]:
    """Return the old and the new names of renames: each can have one of either only once."""
    return {claim for each in renamed for claim in (("old", each.old), ("new", each.new))}


def _mentioned(names: Iterable[Any], flags: Collection[str]) -> list[Any]:
    """Return the names that any flag has in it."""
    bare = ((name, name.name if isinstance(name, Name) else name) for name in names)
    return [name for name, text in bare if any(text in flag for flag in flags)]


def _local(table: Table) -> dict[str, Column]:
    return {name: column for name, column in table.columns.items() if not column.inherited}


def _used(catalog: Catalog) -> set[str]:
    """Return the types that columns have: only those have values."""
    columns = (column for table in catalog.tables.values() for column in table.columns.values())
    return {column.type.removesuffix("[]") for column in columns}


def _by_schema(catalog: Catalog) -> dict[str, set[str]]:
    names = [*catalog.tables, *catalog.types, *catalog.sequences]
    return {schema: {n.name for n in names if n.schema == schema} for schema in catalog.schemas}

"""Which of the names dropped and added at once were renamed. Pure: no database, no terminal.

Nothing is renamed on a guess: a likely rename must be confirmed, by a flag, by a hint in the model, or by the answer
to a question. An undecided one is an error.
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
"""The lowest score of a pair that is asked about."""
HINT = "renamed_from"
"""The key in `info` of a table or column under which the models give its old name."""


@dataclass(frozen=True)
class Decisions:
    """What the user decides about renames and drops."""

    flags: tuple[str, ...] = ()
    """The values of `--rename`: `table.column:new`, `old:new`."""
    no_renames: bool = False
    """Whether likely pairs are taken as dropped and added, without a question (`--no-renames`)."""
    hints: Mapping[tuple[Name, str], str] = field(default_factory=dict)
    """The old names that the models give, by table and column; the column is empty for a table's own."""
    choose: Choose = SILENT.choose
    """Asks the user a question; returns None if there is no terminal."""
    drop_adopted: bool = False
    """Whether tables that came with an adopted database may be dropped without a question."""


def hints(models: Models) -> dict[tuple[Name, str], str]:
    """Return the old names in `info={"renamed_from": …}` of tables and columns, as `Decisions.hints` has them."""
    old_names = {}
    for table in project_models.tables(models):
        name = Name.of(table.schema, table.name)
        for column, info in (("", table.info), *((str(c.name), c.info) for c in table.columns)):
            if HINT in info:
                old_names[name, column] = str(info[HINT])
    return old_names


def find(before: Catalog, goal: Catalog, decisions: Decisions) -> tuple[Rename, ...]:
    """Return the renames from `before` to `goal`, in an executable order, after the schemas to create for them.

    Raises:
        ExpectedError: A flag names nothing that can be renamed, or a likely rename is undecided.
    """
    finder = _Finder(before, goal, decisions)
    finder.schemas()
    finder.types()
    finder.tables()
    finder.sequences()
    finder.insides()
    finder.require_decided()
    return (*_new_schemas(before, finder.renames), *finder.renames)


def _new_schemas(before: Catalog, renames: Iterable[Rename]) -> Iterator[Rename]:
    """Return the schemas to create first: those into which something moves."""
    existing = {*before.schemas, "", *(each.new.name for each in renames if each.kind == "schema")}
    moved = {each.new.schema for each in renames if each.old.schema != each.new.schema}
    return (Rename("schema", Name("", ""), Name("", schema)) for schema in sorted(moved - existing))


class _Finder:
    """Decides about outer names before inner ones, which are compared under the outer ones' new names."""

    def __init__(self, before: Catalog, goal: Catalog, decisions: Decisions) -> None:
        self.before = before
        self.goal = goal
        self.decisions = decisions
        self.renames: list[Rename] = []
        self.undecided: list[Rename] = []
        self.possible: list[str] = []
        self.flags = dict.fromkeys(decisions.flags, False)
        self.schema_names: dict[str, str] = {}
        self.former: dict[Name, Name] = {}
        self.type_texts: dict[str, str] = {}

    def schemas(self) -> None:
        """Decide which schemas were renamed: those with the same tables, types and sequences."""
        here, goal = _by_schema(self.before), _by_schema(self.goal)
        chosen = self._decide(
            lambda old, new: Rename("schema", Name("", old), Name("", new)),
            here, goal, lambda old, new: likeness.overlap(here[old], goal[new]),
        )  # fmt: skip
        self.schema_names = {each.old.name: each.new.name for each in chosen}

    def types(self) -> None:
        """Decide which types were renamed: those that are made of the same."""
        here, goal = self._moved(self.before.types), self.goal.types
        used = _used(self.before)

        def score(old: Name, new: Name) -> float:
            return likeness.type_score(here[old], goal[new]) if here[old].sql in used else 0.0

        chosen = self._decide(partial(Rename, "type"), here, goal, score)
        self.types_here = self._renamed(here, goal, chosen)
        self.type_texts = {type_.sql: goal[name].sql for name, type_ in self.types_here.items()}

    def tables(self) -> None:
        """Decide which tables were renamed: those with similar columns."""
        goal, tables = self.goal.tables, self._moved(self.before.tables).items()
        here = {n: t for n, t in tables if not t.partition or Name.read(t.parents[0]) in goal}
        wanted = [
            Rename("table", old, new)
            for (new, column), hint in self.decisions.hints.items()
            for old in (() if column else here)
            if new in goal and hint in {old.name, str(old), ".".join(old)}
        ]
        chosen = self._decide(
            partial(Rename, "table"), here, goal,
            lambda old, new: self._table_score(here[old], goal[new]), wanted,
        )  # fmt: skip
        self.tables_here = self._renamed(here, goal, chosen)

    def sequences(self) -> None:
        """Decide which sequences were renamed: those with the same options."""
        here, goal = self._moved(self.before.sequences), self.goal.sequences
        self._decide(
            partial(Rename, "sequence"), here, goal, lambda old, new: float(here[old] == goal[new])
        )

    def insides(self) -> None:
        """Decide about columns, values and attributes, in tables and types that stayed or were renamed."""
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
        """Raise ExpectedError if a likely rename is undecided, or if a flag matches no rename."""
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
            for (table, new), old in self.decisions.hints.items()
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
        """Choose renames by flags, then by hints, then by asking about likely pairs; each name is used once.

        Args:
            rename: Makes a rename from an old and a new name.
            here: The present names.
            goal: The names at the goal.
            score: How likely an old and a new name are one thing's, from 0.0 to 1.0.
            wanted: The renames of the models' hints.
        """
        pairs = {rename(old, new): score(old, new) for old, new in _pairs(here, goal)}
        self.possible += map(str, pairs)
        taken = {rename(name, name).old for name in here}
        chosen = self._flagged(rename, here, goal, taken)
        likely = [each for each in pairs if pairs[each] >= LIKELY]
        likely.sort(key=lambda each: (-pairs[each], str(each)))
        moved = [each for each in likely if each.old.name == each.new.name]  # to another schema
        moving = _claimed(moved)
        likely = moved + [each for each in likely if moving.isdisjoint(_claimed([each]))]
        hinted = [each for each in wanted if each.new not in taken]  # else an earlier script did it
        claimed = _claimed(chosen)
        for each in (*hinted, *likely):
            if not claimed.isdisjoint(_claimed([each])):
                continue
            if each in hinted or self._confirmed(each):
                chosen.append(each)
                claimed |= _claimed([each])
        self.renames += one_by_one(chosen, taken)
        return chosen

    def _flagged(
        self,
        rename: Callable[[Any, Any], Rename],
        here: Collection[Any],
        goal: Collection[Any],
        taken: Collection[Name],
    ) -> list[Rename]:
        """Return the renames of flags; their new names must be free, or become free by another of them."""
        flags = [flag for flag, used in self.flags.items() if not used]
        pairs = product(_mentioned(here, flags), _mentioned(goal, flags)) if flags else ()
        named = {each: flag for pair in pairs if (flag := self._flag(each := rename(*pair)))}
        left = {each.old for each in named}
        chosen = [each for each in named if each.new not in taken or each.new in left]
        self.flags |= {named[each]: True for each in chosen}
        return chosen

    def _confirmed(self, rename: Rename) -> bool:
        if self.decisions.no_renames:
            return False
        answer = self.decisions.choose(rename.question)
        if answer is None:
            self.undecided.append(rename)
        return bool(answer)

    def _flag(self, rename: Rename) -> str:
        """Return the flag that means this rename; empty if none does."""
        spellings = rename.spellings(self.former)
        return next((flag for flag in self.flags if flag in spellings), "")

    def _moved(self, things: Mapping[Name, Any]) -> dict[Name, Any]:
        """Return things by their names, with the new names of schemas."""
        schemas = self.schema_names
        return {Name(schemas.get(n.schema, n.schema), n.name): each for n, each in things.items()}

    def _renamed(
        self, here: Mapping[Name, Any], goal: Iterable[Name], chosen: Iterable[Rename]
    ) -> dict[Name, Any]:
        """Return what stays or is renamed, by its name at the goal."""
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
        """Compare columns: the same name and type count 1, the name alone 0.75, the type alone 0.5."""
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
    """Return every pair of a dropped and an added name."""
    return product(
        [name for name in here if name not in goal], [name for name in goal if name not in here]
    )


def _claimed(renamed: Iterable[Rename]) -> set[tuple[str, Name]]:
    """Return the old and the new names of renames, none of which another rename may use."""
    return {claim for each in renamed for claim in (("old", each.old), ("new", each.new))}


def _mentioned(names: Iterable[Any], flags: Collection[str]) -> list[Any]:
    """Return the names that occur in a flag."""
    bare = ((name, name.name if isinstance(name, Name) else name) for name in names)
    return [name for name, text in bare if any(text in flag for flag in flags)]


def _local(table: Table) -> dict[str, Column]:
    return {name: column for name, column in table.columns.items() if not column.inherited}


def _used(catalog: Catalog) -> set[str]:
    """Return the types of columns: the other types hold no values that a rename would keep."""
    columns = (column for table in catalog.tables.values() for column in table.columns.values())
    return {column.type.removesuffix("[]") for column in columns}


def _by_schema(catalog: Catalog) -> dict[str, set[str]]:
    names = [*catalog.tables, *catalog.types, *catalog.sequences]
    return {schema: {n.name for n in names if n.schema == schema} for schema in catalog.schemas}

"""Keys and indexes that are replaced: the new one is built under a temporary name, then swapped in. Pure.

A swap is one operation of several statements: the builds, beside live traffic, then the exchange in one transaction
(`forms.parse_swap`). So one of the two always exists, and an interrupted run can be repeated.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from alembic.operations import MigrateOperation

from postgres_database.history.operations import RunSql
from postgres_database.history.project_models import Models
from postgres_database.online import dropped, enforced, forms
from postgres_database.online.dropped import Dropped
from postgres_database.online.forms import Statement
from postgres_database.online.steps import text
from postgres_database.schema.catalog import Catalog
from postgres_database.sql.names import NAME, Name, bare, identifier

PRIMARY = "PRIMARY KEY"
GONE = re.compile(
    rf"^DROP (?:FUNCTION|AGGREGATE|OPERATOR|TYPE|DOMAIN|COLLATION) (?:IF EXISTS )?({NAME})",
    re.MULTILINE,
)
BUILT = ("index", "key")
"""Forms of statements (`forms.Statement.form`) that build an index."""
HARMLESS = ("not null", "constraint", "validate", *BUILT)
"""Forms of statements that may come before or after a swap alike."""
RULES = ("CONSTR_CHECK", "CONSTR_FOREIGN")
"""Types of constraints without an index."""
APART = ("AT_DropNotNull", "AT_SetNotNull", "AT_ColumnDefault")
"""Actions of ALTER TABLE on one column that do not concern indexes of other columns."""


@dataclass(frozen=True)
class Swap:
    """Operations that together replace keys or indexes; given by positions in a list, in ascending order."""

    at: int
    """The position at which the whole swap may be done."""
    drops: tuple[int, ...]
    """Drops of keys or indexes, and of foreign keys that depend on them."""
    makes: tuple[int, ...]
    """What creates their replacements, and the foreign keys again."""
    text: str
    """The statements that do all of it."""
    validates: str = ""
    """The statements that validate the foreign keys afterwards."""

    @property
    def places(self) -> tuple[int, ...]:
        """The positions of all of them, in ascending order."""
        return tuple(sorted((*self.drops, *self.makes)))


def find(
    ops: Sequence[MigrateOperation], models: Models, before: Catalog, goal: Catalog
) -> list[Swap]:
    """Return the swaps among operations; no operation belongs to two.

    Args:
        ops: The operations.
        models: Their naming convention names constraints.
        before: The catalog before the operations, with the new names of what was renamed.
        goal: The catalog after them.
    """
    texts = [text(op, models) for op in ops]
    listed = _List(texts, before, goal)
    groups: dict[int, tuple[set[int], set[int]]] = {}
    for make, drop in listed.pairs():
        drops, makes = {drop}, {make}
        for known in {id(each): each for each in groups.values()}.values():
            if known[0] & drops or known[1] & makes:
                drops, makes = drops | known[0], makes | known[1]
        groups |= dict.fromkeys((*drops, *makes), (drops, makes))
    whole = {id(each): each for each in groups.values()}.values()
    swaps: list[Swap] = []
    for each in whole:
        swap = listed.swap(*map(sorted, each))
        taken = {place for known in swaps for place in known.places}
        swaps += [swap] if swap and taken.isdisjoint(swap.places) else []
    return swaps


def applied(
    ops: Sequence[MigrateOperation], models: Models, before: Catalog, goal: Catalog
) -> list[MigrateOperation]:
    """Return operations in which those of a swap are replaced by one, and by one that validates, if that is needed."""
    result: list[list[MigrateOperation]] = [[op] for op in ops]
    for swap in find(ops, models, before, goal):
        for place in swap.places:
            result[place] = []
        validates = [RunSql(swap.validates)] if swap.validates else []
        result[swap.at] = [RunSql(swap.text), *validates]
    return [op for part in result for op in part]


class _List:
    """Operations as SQL text, as drops and as statements of a known form, by their positions."""

    def __init__(self, texts: Sequence[str], before: Catalog, goal: Catalog) -> None:
        self._texts = texts
        self._before = before
        self._goal = goal
        self._drops = [dropped.read(each, before) for each in texts]
        self._forms = [forms.parse(each) for each in texts]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield positions of two operations: one creates a key or index, an earlier one drops what it replaces."""
        for make, new in enumerate(self._forms):
            for drop, old in enumerate(self._drops[:make]):
                replaces = new and old and new.form in BUILT and self._replaces(new, old)
                if replaces and not self._uses_what_goes(drop, make):
                    yield make, drop

    def _uses_what_goes(self, drop: int, make: int) -> bool:
        """Tell whether a function or type that an index may use is dropped after the old one and before the new one."""
        gone = [
            match[1]
            for place in range(drop + 1, make)
            for match in GONE.finditer(self._texts[place])
        ]
        return any(bare(name.rpartition(".")[2]) in self._texts[make] for name in gone)

    def swap(self, drops: list[int], makes: list[int]) -> Swap | None:
        """Return the swap of some drops for some makes; None if they cannot be done at one position."""
        if (at := self._place(drops, makes)) is None:
            return None
        keys = {
            (old.table, old.name): place
            for place, old in enumerate(self._drops[: makes[-1]])
            if old and place not in drops and self._depends_on(old, drops)
        }
        again = {
            place: new
            for place, new in enumerate(self._forms)
            if new and new.form == "constraint" and (Name.read(new.table), bare(new.name)) in keys
        }
        if any(self._is_partitioned(new) for new in again.values()):
            return None  # before PostgreSQL 18 its foreign keys cannot be NOT VALID
        names = {(Name.read(new.table), bare(new.name)) for new in again.values()}
        gone_keys = sorted(place for name, place in keys.items() if name in names)
        builds, puts = zip(*(self._made(place) for place in makes), strict=True)
        pointing = [f"{each.sql.removesuffix(' NOT VALID')} NOT VALID;" for each in again.values()]
        validates = [
            f"ALTER TABLE {each.table} VALIDATE CONSTRAINT {each.name};"
            for each in again.values()
            if not each.sql.endswith(" NOT VALID")
        ]
        gone = [self._gone(place) for place in (*gone_keys, *drops)]
        statements = _joined([*builds, *gone, *puts, *pointing])
        places = tuple(sorted((*gone_keys, *drops))), tuple(sorted((*makes, *again)))
        return Swap(at, *places, "\n".join(statements), "\n".join(validates))

    def _place(self, drops: Sequence[int], makes: Sequence[int]) -> int | None:
        """Return the position at which a swap may be done; None if a statement between needs one half of it done."""
        pairs = [
            (drop, make, new)
            for drop in drops
            for make in makes
            if drop < make and (new := self._forms[make])
        ]
        if all(self._early(*each) for each in pairs):
            return drops[0]
        return makes[-1] if all(self._late(*each) for each in pairs) else None

    def _replaces(self, new: Statement, old: Dropped) -> bool:
        """Tell whether a new key or index replaces a dropped one: it has its name, or makes the same unique."""
        table, name = Name.read(new.table), bare(new.name)
        same_name = new.form == "index" and not old.is_constraint and old.name == name
        if old.table not in self._before.tables:  # of a materialized view
            view = table not in self._before.tables and table.schema == old.table.schema
            return same_name and view
        if table != old.table or table not in self._goal.tables:
            return False
        ends = self._before.tables[table], self._goal.tables[table]
        if (
            ends[1].kind == "p"
        ):  # an index does not become a key there (PostgreSQL manual, ALTER TABLE)
            return same_name and not new.only
        if ends[1].kind != "r" or (new.unique and enforced.has_in_common(*ends, old.name, name)):
            return ends[1].kind == "r"
        key = ends[0].constraints.get(old.name)
        if old.is_constraint:
            return new.kind == PRIMARY and key is not None and key.kind == "p"
        return same_name

    def _depends_on(self, rule: Dropped, drops: Sequence[int]) -> bool:
        """Tell whether a foreign key refers to one of the dropped keys."""
        pointed = dropped.points_to(rule, self._before)
        return pointed is not None and any(
            old.table == pointed[0] and dropped.columns(old, self._before) == pointed[1]
            for place in drops
            if (old := self._drops[place])
        )

    def _late(self, drop: int, make: int, new: Statement) -> bool:
        """Tell whether both may be done at the later position: nothing between needs the drop to be done."""
        table = Name.read(new.table)
        filled = {
            bare(form.name)
            for form in self._forms[:make]
            if form and form.form == "not null" and Name.read(form.table) == table
        }
        return self._has_values(new, filled) and all(
            self._is_harmless(place) for place in self._between(drop, make, table)
        )

    def _early(self, drop: int, make: int, new: Statement) -> bool:
        """Tell whether both may be done at the earlier position: nothing between concerns the new one's columns."""
        columns = {*map(bare, new.columns)}
        between = self._between(drop, make, Name.read(new.table))
        return self._has_values(new, set()) and all(
            self._is_harmless(place) or (columns and self._is_apart(place, columns))
            for place in between
        )

    def _has_values(self, new: Statement, filled: set[str]) -> bool:
        """Tell whether a primary key's columns are NOT NULL by then; else adding it reads the table under a lock."""
        if new.kind != PRIMARY:
            return True
        known = self._before.tables[Name.read(new.table)].columns
        return all(
            name in filled or (name in known and known[name].not_null)
            for name in map(bare, new.columns)
        )

    def _between(self, drop: int, make: int, table: Name) -> list[int]:
        return [place for place in range(drop + 1, make) if table.name in self._texts[place]]

    def _is_harmless(self, place: int) -> bool:
        form = self._forms[place]
        if (form and form.form in HARMLESS) or self._drops[place]:
            return True
        node = dropped.statement(self._texts[place])
        actions = node.cmds if node and node.tag == "AlterTableStmt" else []
        return bool(actions) and all(
            each.subtype == "AT_DropConstraint"
            or (each.subtype == "AT_AddConstraint" and each.definition.contype in RULES)
            for each in actions
        )

    def _is_apart(self, place: int, columns: set[str]) -> bool:
        node = dropped.statement(self._texts[place])
        if node is None or node.tag == "SelectStmt":  # such as setval
            return node is not None
        actions = node.cmds if node.tag == "AlterTableStmt" else []
        return bool(actions) and all(
            each.subtype in APART and each.name not in columns for each in actions
        )

    def _is_partitioned(self, new: Statement) -> bool:
        table = self._goal.tables.get(Name.read(new.table))
        return table is None or bool(table.partitioned_by)

    def _made(self, place: int) -> tuple[str, str]:
        new = self._forms[place]
        if new is None:
            raise ValueError(self._texts[place])
        return _statements(new, Name.read(new.table))

    def _gone(self, place: int) -> str:
        old = self._drops[place]
        if old is None:
            raise ValueError(self._texts[place])
        if old.is_constraint:
            return f"ALTER TABLE {old.table.sql} DROP CONSTRAINT {identifier(old.name)};"
        return f"DROP INDEX {Name(old.table.schema, old.name).sql};"


def _joined(statements: Sequence[str]) -> list[str]:
    """Merge the drop of a constraint and an ADD CONSTRAINT on the same table, if it comes next, into one statement."""
    result: list[str] = []
    for each in statements:
        start = "ALTER TABLE "
        table, _, action = each.removeprefix(start).partition(" ADD CONSTRAINT ")
        before = result[-1] if result else ""
        if action and before.startswith(f"{start}{table} DROP CONSTRAINT "):
            result[-1] = f"{before.removesuffix(';')}, ADD CONSTRAINT {action}"
        else:
            result.append(each)
    return result


def _statements(new: Statement, table: Name) -> tuple[str, str]:
    """Return what builds an index under a temporary name, and what renames it or makes it the key's."""
    temporary = f"{bare(new.name)}_new"
    if len(temporary.encode()) > forms.LONGEST_NAME:
        temporary = f"{sha256(temporary.encode()).hexdigest()[:16]}_new"
    body = new.index if new.form == "key" else new.body
    unique = "UNIQUE " * new.unique
    build = f"CREATE {unique}INDEX {identifier(temporary)} ON {table.sql} {body};"
    rename = f"ALTER INDEX {Name(table.schema, temporary).sql} RENAME TO {new.name};"
    if new.form != "key":
        return build, rename
    return build, forms.using_index(new, table.sql, identifier(temporary)) + ";"

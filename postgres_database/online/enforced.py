"""Finds constraints that hold before and after a change, but not in a state between. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from postgres_database.schema.catalog import Catalog, Constraint, Table
from postgres_database.sql import rules, syntax
from postgres_database.sql.names import IDENTIFIER, Name, bare, identifier
from postgres_database.sql.rules import NotNull, Unique

NOT_NULL = re.compile(rf"CHECK \(+{IDENTIFIER} IS NOT NULL\)")
NOT_VALID, NOT_ENFORCED = " NOT VALID", " NOT ENFORCED"
INHERITED = ("f", "c")
"""The kinds of constraints that a partition has from its parent without an index of its own."""
KEYS = ("p", "u", "x")
NOT_KEYS = ("f", "c", "x")
"""The kinds of constraints that are compared by definition; keys are also compared by what they imply."""


@dataclass(frozen=True)
class Gap:
    """A constraint that is not enforced in between, though it is before and after the change."""

    table: Name
    """The table, or the domain."""
    name: str
    """The name of the constraint or index; of NOT NULL, the column."""
    kind: str
    """As in pg_constraint.contype; also i for a unique index, n for NOT NULL, and d for a rule of a domain."""
    adds: str = ""
    """The statement that adds it; empty for NOT NULL, for a domain and for what a table has from its parent."""
    not_valid: bool = False
    """Whether that statement adds it NOT VALID, without a scan."""

    def __str__(self) -> str:
        """Return it as the rest of a sentence."""
        return f"{self.name} of {'domain' if self.kind == 'd' else 'table'} {self.table} is not enforced"


def gaps(before: Catalog, goal: Catalog, now: Catalog) -> list[Gap]:
    """Return the constraints that a state in the middle of a change does not enforce, though both its ends do.

    Args:
        before: The catalog before the change, with the names that tables and columns have after it.
        goal: The catalog after the change.
        now: The catalog of the state. Tables and columns that it does not have under the names of the goal are
            skipped.
    """
    found: dict[tuple[Name, str], Gap] = {}
    for name, last in goal.tables.items():
        first, table = before.tables.get(name), now.tables.get(name)
        if not (first and table and last.kind in {"r", "p"}):
            continue
        ends = _whole(first, before), _whole(last, goal)
        here = _whole(table, now)
        if here in ends:
            continue
        for gap in (*_values(*ends, here), *_rules(*ends, here), *_keys(*ends, here)):
            own = gap.name in last.constraints or gap.name in last.indexes
            found[name, gap.name] = gap if own else replace(gap, adds="", not_valid=False)
    return [*found.values(), *_domains(before, goal, now)]


def _whole(table: Table, catalog: Catalog) -> Table:
    """Return a table with what it has from its parents, too: their rules, and its parts of their keys and indexes."""
    constraints: dict[str, Constraint] = {}
    for parent in [catalog.tables.get(Name.read(each)) for each in table.parents]:
        if parent:
            above = _whole(parent, catalog).constraints
            constraints |= {name: rule for name, rule in above.items() if rule.kind in INHERITED}
    keys = {name: each for name, each in table.attached.items() if isinstance(each, Constraint)}
    indexes = {name: each for name, each in table.attached.items() if isinstance(each, str)}
    return replace(
        table,
        constraints={**constraints, **keys, **table.constraints},
        indexes={**indexes, **table.indexes},
    )


def _values(first: Table, last: Table, now: Table) -> Iterator[Gap]:
    for name in sorted((_filled(first) & _filled(last) & now.columns.keys()) - _filled(now)):
        yield Gap(last.name, name, "n")


def _filled(table: Table) -> set[str]:
    """Return the columns that are NOT NULL, by themselves or by a CHECK."""
    checks = [
        each
        for each in table.constraints.values()
        if each.kind == "c" and _enforces(each) and NOT_NULL.search(each.definition)
    ]
    rules_ = [rule for each in checks for rule in _read(each) if isinstance(rule, NotNull)]
    names = {name for name, column in table.columns.items() if column.not_null}
    names |= {
        name for each in table.constraints.values() if each.kind == "n" for name in each.columns
    }
    return names | {bare(rule.column) for rule in rules_}


def _domains(before: Catalog, goal: Catalog, now: Catalog) -> Iterator[Gap]:
    for name, last in goal.types.items():
        first, here = before.types.get(name), now.types.get(name)
        if last.kind != "d" or not first or not here:
            continue
        if first.not_null and last.not_null and not here.not_null:
            yield Gap(name, "NOT NULL", "d")
        for rule, text in last.constraints.items():
            held = [
                rule in each.constraints or text in each.constraints.values()
                for each in (first, here)
            ]
            if held == [True, False]:
                yield Gap(name, rule, "d")


def _rules(first: Table, last: Table, now: Table) -> Iterator[Gap]:
    for rule in last.constraints.values():
        held = (_holds(rule, first), _holds(rule, now))
        by_definition = rule.kind in NOT_KEYS or not _columns(rule)
        if by_definition and _enforces(rule) and held == (True, False):
            add = f"ALTER TABLE {last.name.sql} ADD CONSTRAINT {identifier(rule.name)} {rule.definition}"
            not_valid = rule.kind == "c" or (rule.kind == "f" and not last.partitioned_by)
            later = NOT_VALID if not_valid and not rule.definition.endswith(NOT_VALID) else ""
            yield Gap(last.name, rule.name, rule.kind, f"{add}{later};", not_valid=not_valid)


def _holds(rule: Constraint, table: Table) -> bool:
    """Tell whether a table enforces an equivalent constraint."""
    return any(
        each.kind == rule.kind and _enforces(each) and _alike(each, rule)
        for each in table.constraints.values()
    )


def _alike(one: Constraint, other: Constraint) -> bool:
    if one.name == other.name:
        return True
    if one.kind == "f":
        return sorted(one.columns) == sorted(other.columns)
    return one.definition.removesuffix(NOT_VALID) == other.definition.removesuffix(NOT_VALID)


def _enforces(rule: Constraint) -> bool:
    return not rule.definition.endswith(NOT_ENFORCED)


def _keys(first: Table, last: Table, now: Table) -> Iterator[Gap]:
    """Yield the keys of the goal for which the state has no substitute.

    What a key before the change and a key of the goal both imply holds at both ends, so some key of the state must
    imply it, too.
    """
    held, present = [*_unique(first).values()], [*_unique(now).values()]
    for name, key in _unique(last).items():
        common = [each for old in held if (each := _common(old, key))]
        if all(any(_implies(each, want) for each in present) for want in common):
            continue
        rule = last.constraints.get(name)
        if rule:
            add = (
                f"ALTER TABLE {last.name.sql} ADD CONSTRAINT {identifier(name)} {rule.definition};"
            )
            yield Gap(last.name, name, rule.kind, add)
        else:
            yield Gap(last.name, name, "i", f"{last.indexes[name]};")


def has_in_common(first: Table, last: Table, old: str, new: str) -> bool:
    """Tell whether two keys both imply that some rows are unique.

    Args:
        first: The table with the old one.
        last: The table with the new one.
        old: The name of the constraint or index there.
        new: The name of the constraint or index there.
    """
    before, after = _unique(first).get(old), _unique(last).get(new)
    return bool(before and after and _common(before, after))


def _unique(table: Table) -> dict[str, Unique]:
    """Return the keys and unique indexes of a table by name."""
    found = {name: each for name, rule in table.constraints.items() for each in _columns(rule)}
    for name, text in table.indexes.items():
        node = syntax.read(text)
        if node.unique:
            found[name] = rules.index(node)
    return found


def _columns(rule: Constraint) -> list[Unique]:
    """Return the columns that a constraint makes unique; empty if it is no key, or compares not only by equality."""
    return [each for each in _read(rule) if isinstance(each, Unique)] if rule.kind in KEYS else []


def _read(rule: Constraint) -> list[rules.Rule]:
    node = syntax.read_constraint(rule.definition)
    if rule.kind != "x":
        return rules.constraint(node)
    elements = [(each.items[0], syntax.words(each.items[1].items)) for each in node.exclusions]
    if any(operator != ["="] for _, operator in elements):
        return []
    where = node.where_clause.sql() if node.where_clause else ""
    return [Unique(tuple(rules.element(each) for each, _ in elements), where)]


def _common(one: Unique, other: Unique) -> Unique | None:
    """Return the weaker key that each of two keys implies; None if neither has all columns of the other.

    Two partial indexes both imply that the rows in both are unique: then the condition has one of theirs in each line.
    """
    wider, narrower = sorted((one, other), key=lambda key: len({*key.elements}), reverse=True)
    if not {*narrower.elements} <= {*wider.elements}:
        return None
    where = "\n".join(sorted({one.where, other.where} - {""}))
    return Unique(wider.elements, where, one.nulls_equal and other.nulls_equal)


def _implies(one: Unique, other: Unique) -> bool:
    return (
        {*one.elements} <= {*other.elements}
        and one.where in {"", other.where, *other.where.split("\n")}
        and (one.nulls_equal or not other.nulls_equal)
    )

"""Finds constraints that hold before and after a change, but not in a state between. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from postgres_database.schema.catalog import Catalog, Constraint, Table
from postgres_database.sql import rules, syntax
from postgres_database.sql.names import Name, identifier
from postgres_database.sql.rules import Unique

NOT_VALID, NOT_ENFORCED = " NOT VALID", " NOT ENFORCED"
ALIKE = ("f", "c", "x")
"""The kinds of constraints that are compared as they stand; keys are compared by what they imply."""


@dataclass(frozen=True)
class Gap:
    """A constraint that is not enforced in between, though it is before and after the change."""

    table: Name
    name: str
    """Of the constraint or index, or the column that must have a value."""
    kind: str
    """As in pg_constraint; i for a unique index, n for NOT NULL."""
    adds: str = ""
    """The statement that enforces it; there is none for a value."""
    soft: bool = False
    """Whether it leaves existing rows unchecked."""

    def __str__(self) -> str:
        """Say what it is."""
        return f"{self.name} of table {self.table} is not enforced"


def gaps(before: Catalog, goal: Catalog, now: Catalog) -> list[Gap]:
    """Return what a state between two others does not enforce, though both do.

    Args:
        before: Where the way begins, with the names of afterwards.
        goal: Where it ends.
        now: The state. Tables and columns that it does not have under these names are left out.
    """
    found: list[Gap] = []
    for name, last in goal.tables.items():
        first, table = before.tables.get(name), now.tables.get(name)
        if first and table and last.kind in {"r", "p"} and not last.partition:
            found += [
                *_values(first, last, table),
                *_rules(first, last, table),
                *_keys(first, last, table),
            ]
    return found


def _values(first: Table, last: Table, now: Table) -> Iterator[Gap]:
    for name, column in now.columns.items():
        ends = first.columns.get(name), last.columns.get(name)
        if column.not_null or not all(end and end.not_null for end in ends):
            continue
        filled = f"({identifier(name)} IS NOT NULL)"
        if not any(filled in rule.definition for rule in now.constraints.values()):
            yield Gap(last.name, name, "n")


def _rules(first: Table, last: Table, now: Table) -> Iterator[Gap]:
    for rule in last.constraints.values():
        held = (_holds(rule, first), _holds(rule, now))
        as_it_stands = rule.kind in ALIKE or not _columns(rule)
        if as_it_stands and _enforces(rule) and held == (True, False):
            add = f"ALTER TABLE {last.name.sql} ADD CONSTRAINT {identifier(rule.name)} {rule.definition}"
            soft = rule.kind == "c" or (rule.kind == "f" and not last.partitioned_by)
            later = NOT_VALID if soft and not rule.definition.endswith(NOT_VALID) else ""
            yield Gap(last.name, rule.name, rule.kind, f"{add}{later};", soft=soft)


def _holds(rule: Constraint, table: Table) -> bool:
    """Tell whether a table has this rule, in whatever form."""
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
    """Yield the keys of the goal that have in common with one of the start what no key of the state implies."""
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
    """Tell whether there are rows of which two keys say the same.

    Args:
        first: The table with the old one.
        last: The table with the new one.
        old: The name of a constraint or index.
        new: The same.
    """
    before, after = _unique(first).get(old), _unique(last).get(new)
    return bool(before and after and _common(before, after))


def _unique(table: Table) -> dict[str, Unique]:
    """Return what is unique in a table, by the names of its keys and unique indexes."""
    found = {name: each for name, rule in table.constraints.items() for each in _columns(rule)}
    for name, text in table.indexes.items():
        node = syntax.read(text)
        if node.unique:
            found[name] = rules.index(node)
    return found


def _columns(rule: Constraint) -> list[Unique]:
    """Return what a constraint says to be unique; nothing where it does not compare by equality alone."""
    found = (
        rules.constraint(syntax.read_constraint(rule.definition)) if rule.kind in {"p", "u"} else []
    )
    return [each for each in found if isinstance(each, Unique)]


def _common(one: Unique, other: Unique) -> Unique | None:
    """Return what either of two keys implies; None if they are of different columns.

    Of two partial indexes that is: rows are unique that both are about. Its condition has one of them in each line.
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

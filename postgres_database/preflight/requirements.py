"""What pending statements ask of the rows that are in a target now, and which of them they drop. Pure: no database.

Reports only what today's rows must meet. Skips tables and columns that an earlier pending statement created, altered
or wrote, because their rows will be others by then.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import ClassVar

from postgres_database.sql import rules
from postgres_database.sql.grammar import (
    ACTIONS,
    CALLS,
    DELETES,
    DOMAIN_ACTIONS,
    HARMLESS,
    STATEMENTS,
    WRITES,
)
from postgres_database.sql.names import Name, identifier, unquoted
from postgres_database.sql.rules import Check, ForeignKey, NoRows, NotNull, Rule, Stored
from postgres_database.sql.tokens import outline, parentheses, split, without_literals

TRICKY = {"set_config", "query_to_xml", "lo_import", "lo_unlink"}
"""Functions of PostgreSQL itself after which nothing is certain."""
Key = tuple[str, ...]
"""The parts of a name."""


@dataclass(frozen=True)
class Requirement:
    """What a statement asks of rows."""

    table: str
    """As SQL names it in the target; the name of a domain for its values."""
    rule: Rule | Stored
    only: bool = False
    """Whether rows of tables that inherit from it are left out."""
    domain: bool = False
    written: frozenset[str] = frozenset()
    """Tables whose rows change before; those of other tables may change with them."""
    altered: frozenset[str] = frozenset()
    """Tables that are changed before."""
    calls: frozenset[str] = frozenset()
    """Functions that are called before."""
    changed: frozenset[str] = frozenset()
    """Columns of the table, types and functions that are changed before."""


@dataclass(frozen=True)
class Loss:
    """Rows or values that a statement drops."""

    kind: str
    """`table`, `column`, `schema`, or `rows` for those that it empties or deletes from."""
    name: str
    column: str = ""
    anywhere: bool = False
    """Whether the table may be in any schema, because the search path was changed before."""


@dataclass
class Reading:
    """What is known of a target while one statement after the other is read."""

    requirements: list[Requirement] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    blind: bool = False
    """Whether anything may have happened to any row."""
    indirect: bool = False
    """Whether there are new triggers, rules or views, by which a statement writes elsewhere."""
    made: defaultdict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    """Tables, by their names without a schema, that the target does not have, or does not have any more."""
    moved: dict[Key, str] = field(default_factory=dict)
    """What renamed tables are called in the target."""
    schemas: dict[str, str] = field(default_factory=dict)
    """What renamed schemas are called in the target."""
    elsewhere: bool = False
    """Whether names may lead elsewhere than at the beginning of the script."""
    changed: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Columns and constraints, by table, that are not as they were."""
    defined: set[str] = field(default_factory=set)
    """Types and functions that are not as they were."""
    empty: set[Key] = field(default_factory=set)
    """New columns without a value in any row."""
    believed: dict[Key, list[Rule]] = field(default_factory=dict)
    """New constraints that are to be validated."""
    written: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)

    def read(self, statements: Sequence[str] | None) -> tuple[list[Requirement], list[Loss]]:
        """Return what the statements of a script ask for, and what they drop; None if they are unknown."""
        self.requirements, self.losses, self.elsewhere = [], [], False
        for statement in statements or ():
            self._statement(statement)
        self.blind |= statements is None
        return self.requirements, self.losses

    def _statement(self, sql: str) -> None:
        for pattern, kind in STATEMENTS:
            if found := pattern.match(sql):
                self._statements[kind](self, found)
                return
        self.blind |= HARMLESS.match(sql) is None

    def _ask(self, table: str, rule: Rule | Stored, *, only: bool) -> None:
        target = self._known(table)
        if target is None or self.blind or self._is_unclear(target, rule):
            return
        if isinstance(rule, ForeignKey):
            other = self._known(rule.table)
            if other is None or self._is_written(other) or names(rule.others, self.changed[other]):
                return
            rule = replace(rule, table=other)
        self.requirements.append(self._demand(target, rule, only=only))

    def _demand(
        self, name: str, rule: Rule | Stored, *, only: bool = False, domain: bool = False
    ) -> Requirement:
        changed = self._columns(name) | self.defined
        seen = map(frozenset, (self.written, self.altered, self.calls, changed))
        return Requirement(name, rule, only, domain, *seen)

    def _known(self, table: str) -> str | None:
        """Return what a table is called in the target; None if it is not there as it will be."""
        key = unquoted(table)
        for other, name in self.moved.items():
            if _same(other, key):
                return name
        return None if any(_same(other, key) for other in self.made.get(key[-1], ())) else table

    def _is_written(self, table: str) -> bool:
        return any(_same(unquoted(other), unquoted(table)) for other in self.written)

    def _is_unclear(self, table: str, rule: Rule | Stored) -> bool:
        """Tell whether rows may be others, or a rule names what is not as it was."""
        if isinstance(rule, NoRows):  # which the new column is not meant to be
            return self._is_written(table) or names([rule.type], self.defined)
        changed = self._columns(table) | self.defined
        return self._is_written(table) or names(texts(rule), changed)

    def _columns(self, table: str) -> set[str]:
        key = unquoted(table)
        tables = [names for other, names in self.changed.items() if _same(unquoted(other), key)]
        return set().union(*tables)

    def _write(self, sql: str) -> None:
        """Take note of what a query changes, also deep in it, and of what it calls."""
        text = without_literals(sql)
        tables = WRITES.findall(text)
        calls = {unquoted(name)[-1] for name in CALLS.findall(text)}
        self.elsewhere |= "set_config" in calls
        self.blind |= bool(calls & (TRICKY | self.defined)) or (self.indirect and bool(tables))
        self.calls |= calls
        self.written |= {known for table in tables if (known := self._known(table))}
        for table in DELETES.findall(text):
            self._lose("rows", table)

    def _lose(self, kind: str, table: str, column: str = "") -> None:
        known = self._known(table)
        if known is None or (column and unquoted(column)[0] in self._columns(known)):
            return
        *schema, name = unquoted(known)
        if schema and schema[0] in self.schemas:
            known = Name(self.schemas[schema[0]], name).sql
        self.losses.append(Loss(kind, known, column, self.elsewhere and not schema))

    def _make(self, found: re.Match[str]) -> None:
        if "AS" in outline(found.string).split():
            self._write(found.string)
        self._forget(found["name"])

    def _forget(self, table: str) -> None:
        key = unquoted(table)
        self.altered.add(self._known(table) or table)
        self.moved = {other: name for other, name in self.moved.items() if not _same(other, key)}
        self.made[key[-1]].add(key)

    def _move(self, found: re.Match[str]) -> None:
        known, new = self._known(found["name"]), unquoted(found["new"])
        *schema, name = unquoted(found["name"])
        key = (*new, name) if found["what"].upper() == "SET SCHEMA" else (*schema, *new)
        self._forget(found["name"])
        if known:
            self.moved[key] = known
        else:
            self.made[key[-1]].add(key)

    def _drop(self, found: re.Match[str]) -> None:
        """Dropping a partition takes rows from its parent."""
        for table in rules.columns(found["names"]):
            if found["kind"].upper() == "TABLE":
                self._lose("table", table)
            self.written.add(self._known(table) or table)
            self._forget(table)

    def _drop_schema(self, found: re.Match[str]) -> None:
        for name in rules.columns(found["names"]):
            (bare,) = unquoted(name)
            renamed = self.schemas.get(bare)
            self.losses.append(Loss("schema", identifier(renamed) if renamed else name))
        self.blind = True

    def _move_schema(self, found: re.Match[str]) -> None:
        (old,), (new,) = unquoted(found["name"]), unquoted(found["new"])
        self.schemas[new] = self.schemas.pop(old, old)
        self.blind = True

    def _lead_elsewhere(self, _found: re.Match[str]) -> None:
        self.blind = self.elsewhere = True

    def _truncate(self, found: re.Match[str]) -> None:
        for table in rules.columns(found["names"]):
            self._lose("rows", table)
            self.written.add(self._known(table) or table)
        self.blind |= "CASCADE" in outline(found.string).split()

    def _query(self, found: re.Match[str]) -> None:
        self._write(found.string)

    def _indirect(self, _found: re.Match[str]) -> None:
        self.indirect = True

    def _define(self, found: re.Match[str]) -> None:
        """A type or function is another one now."""
        for name in rules.columns(found["names"]):
            self.defined.add(unquoted(name)[-1])

    def _index(self, found: re.Match[str]) -> None:
        sql, table = found.string, found["name"]
        if inside := parentheses(sql, found.end() - 1):
            schema, dot, _ = table.rpartition(".")
            unless = f"{schema}{dot}{found['index']}" if found["unless"] else ""
            rule = rules.index(sql[slice(*inside)], sql[inside[1] + 1 :], unless)
            self._ask(table, rule, only=bool(found["only"]))

    def _domain(self, found: re.Match[str]) -> None:
        name = found["name"]
        for pattern, kind in DOMAIN_ACTIONS:
            if act := pattern.match(found["action"]):
                for rule in self._actions[kind](self, name, act):
                    if not (self.blind or names([name, *texts(rule)], self.defined)):
                        self.requirements.append(self._demand(name, rule, domain=True))
                return
        self.defined.add(unquoted(name)[-1])

    def _table(self, found: re.Match[str]) -> None:
        acts = [
            (turn, kind, act)
            for action in split(found["actions"], ",")
            for turn, pattern, kind in ACTIONS
            if (act := pattern.match(action.strip()))
        ]
        for _, kind, act in sorted(acts, key=itemgetter(0)):
            for rule in self._actions[kind](self, found["name"], act):
                self._ask(found["name"], rule, only=bool(found["only"]))
            if column := act.groupdict().get("column"):
                self._change(found["name"], column)
        self.altered.add(self._known(found["name"]) or found["name"])

    def _change(self, table: str, column: str) -> None:
        if known := self._known(table):
            self.changed[known].update(unquoted(column))

    def _drop_column(self, table: str, act: re.Match[str]) -> list[Rule]:
        self._lose("column", table, act["column"])
        self.empty.discard(_key(table, act["column"]))
        return []

    def _drop_constraint(self, table: str, act: re.Match[str]) -> list[Rule]:
        self.believed.pop(_key(table, act["name"]), None)
        self._change(table, act["name"])
        return []

    def _cast(self, _table: str, act: re.Match[str]) -> list[Rule]:
        return [rules.cast(act["column"], act["rest"])]

    def _add_column(self, table: str, act: re.Match[str]) -> list[Rule]:
        known = self._known(table)
        if known and unquoted(act["column"])[0] in self._columns(known):
            return []  # one of that name was dropped or renamed
        if not rules.is_filled(act["rest"]):
            self.empty.add(_key(table, act["column"]))
        return rules.new_column(act["column"], act["rest"])

    def _not_null(self, table: str, act: re.Match[str]) -> list[Rule]:
        is_empty = _key(table, act["of"]) in self.empty
        return [NoRows(act["of"], "") if is_empty else NotNull(act["of"])]

    def _add_constraint(self, table: str, act: re.Match[str]) -> list[Rule]:
        asked = rules.constraint(act["rest"])
        if not rules.believed(act["rest"]):
            return asked
        self.believed[_key(table, act["name"] or "")] = asked
        return []

    def _validate(self, table: str, act: re.Match[str]) -> Sequence[Rule | Stored]:
        return self.believed.get(_key(table, act["name"]), [Stored(act["name"])])

    def _rename(self, table: str, act: re.Match[str]) -> list[Rule]:
        self._change(table, act["old"])
        self._change(table, act["new"])
        return []

    def _separate(self, table: str, act: re.Match[str]) -> list[Rule]:
        """A parent has fewer rows from now on."""
        self.written |= {self._known(name) or name for name in (table, act["name"])}
        return []

    def _no_null(self, _domain: str, _act: re.Match[str]) -> list[Rule]:
        return [Check("VALUE IS NOT NULL")]

    def _nothing(self, _table: str, _act: re.Match[str]) -> list[Rule]:
        return []

    _statements: ClassVar[Mapping[str, Callable[["Reading", re.Match[str]], None]]] = {
        "move": _move, "table": _table, "domain": _domain, "index": _index, "make": _make, "drop": _drop,
        "drop_schema": _drop_schema, "move_schema": _move_schema, "lead_elsewhere": _lead_elsewhere,
        "truncate": _truncate, "indirect": _indirect, "define": _define, "query": _query,
    }  # fmt: skip
    _actions: ClassVar[Mapping[str, Callable[["Reading", str, re.Match[str]], Sequence[Rule | Stored]]]] = {
        "drop_constraint": _drop_constraint, "drop_column": _drop_column, "cast": _cast, "add_column": _add_column,
        "nothing": _nothing, "not_null": _not_null, "add_constraint": _add_constraint, "validate": _validate,
        "rename": _rename, "separate": _separate, "no_null": _no_null,
    }  # fmt: skip


def _same(one: Key, other: Key) -> bool:
    """Tell whether two names may be the same; one without a schema may be in any."""
    return one[-1] == other[-1] and (len(one) == 1 or len(other) == 1 or one == other)


def _key(table: str, name: str) -> Key:
    return (*unquoted(table), *unquoted(name))


def texts(rule: Rule | Stored) -> list[str]:
    """Return the names and expressions of a rule."""
    parts = [[part] if isinstance(part, str) else part for part in vars(rule).values()]
    return [text for part in parts if not isinstance(part, bool) for text in part]


def names(sql: Iterable[str], changed: set[str] | frozenset[str]) -> bool:
    """Tell whether some SQL names something of this."""
    return any(not changed.isdisjoint(unquoted(without_literals(text))) for text in sql)

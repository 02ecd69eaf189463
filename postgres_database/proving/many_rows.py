"""Gives tables of a scratch database as many rows as it takes to measure time.

The few rows of `made_up_rows` are multiplied. Columns of common types get values that depend on the number of the row,
as wide and as different as the statistics of the target say; the others repeat the values of the few rows.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg2

from postgres_database.proving import made_up_rows
from postgres_database.proving.constraints import (
    Judge,
    RowColumn,
    RowRule,
    RowTable,
    name_in_sql,
)
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name, literal

LARGEST = 2_147_483_647
WIDEST = 1800
"""Bytes of a text: wider ones would be stored beside the table (PostgreSQL manual, "TOAST")."""
WIDTH = 16
"""Bytes of a text of which nothing is known."""
SHORT = 12
"""Below that, the first digits of a hash would repeat too often."""
DIGITS = 15
LIMITED = re.compile(r"\((\d+)(?:,(\d+))?\)$")
# By the name of a type; {n} is the number from which the value is made.
NUMBERED = {
    "int2": "mod({n}, 32767)",
    "int4": "{n}",
    "int8": "{n}",
    "oid": "{n}",
    "float4": "{n}",
    "float8": "{n}",
    "money": "{n}::numeric",
    "bool": "mod({n}, 2) = 0",
    "uuid": "md5({n}::text)",
    "date": "date '2000-01-01' + mod({n}, 100000)::int",
    "timestamp": "timestamp '2000-01-01' + {n} * interval '1 second'",
    "timestamptz": "timestamptz '2000-01-01' + {n} * interval '1 second'",
    "time": "time '00:00' + {n} * interval '1 second'",
    "interval": "{n} * interval '1 second'",
    "inet": "inet '10.0.0.0' + mod({n}, 16000000)",
}


class Spread(NamedTuple):
    """What statistics say of the values of a column (PostgreSQL manual, "pg_stats")."""

    nulls: float = 0.0
    """The share of NULLs."""
    width: int = 0
    """Bytes of a value; 0: not known."""
    distinct: float = -1.0
    """How many different values there are; negative: as a share of the rows."""
    ordered: bool = False
    """Whether the rows lie in the order of the values."""


Spreads = Mapping[tuple[str, str, str], Spread]
"""(schema, table, column) → the spread of its values."""


class Filled(NamedTuple):
    """A table with its rows."""

    rows: int
    bytes: int
    """With its indexes and large values."""


@dataclass(frozen=True)
class Filling:
    """Which rows tables get."""

    wanted: Mapping[Name, int]
    """Table → how many."""
    spreads: Spreads
    alike: bool = False
    """Whether only columns that must differ get a value for each row, because constraints may refuse such values."""


def fill(database: Database, goal: Database, filling: Filling) -> Mapping[Name, Filled]:
    """Give tables of a scratch database many rows.

    Args:
        database: A scratch database that has few rows or none.
        goal: A scratch database with the constraints that the rows are to satisfy as well; it is not changed.
        filling: Which rows.

    Returns:
        What each wanted table has now.

    Raises:
        psycopg2.Error: A table refuses the rows, or stays empty.
    """
    made_up_rows.fill(database, goal)
    with (
        goal.connect(usual_path=True) as there,
        database.connect(usual_path=True) as here,
        here.begin(),
    ):
        ours, theirs = Judge(here), Judge(there)
        ours.take_partitions(set(filling.wanted))
        there.rollback()
        for name in _order(ours, filling.wanted):
            _Multiplying(ours, theirs, name, filling).run()
        found = {name: _filled(ours, name) for name in filling.wanted}
    with database.connect(usual_path=True, autocommit=True) as connection:
        connection.connection.cursor().execute("ANALYZE")
    return found


def _order(side: Judge, wanted: Iterable[Name]) -> Iterator[Name]:
    """Yield tables, the referenced ones first, unless foreign keys form a cycle."""
    left = set(wanted)
    while left:
        needed = {
            name: {rule.target for rule in side.rules[name] if rule.kind == "f"} & left - {name}
            for name in left
        }
        name = min(left, key=lambda each: (len(needed[each]), each))
        left.remove(name)
        yield name


def _filled(side: Judge, name: Name) -> Filled:
    table = side.tables[name]
    size = literal(table.sql)
    ((rows, bytes_),) = side.run(
        f"SELECT count(*), pg_total_relation_size({size}::regclass) FROM {table.rows}"  # noqa: S608 - quoted
    )
    if not rows:
        raise psycopg2.DataError(f"no row could be made up for {name}")
    return Filled(rows, bytes_)


class _Multiplying:
    """A table that gets many rows."""

    def __init__(self, side: Judge, goal: Judge, name: Name, filling: Filling) -> None:
        if name not in side.tables:
            raise psycopg2.DataError(f"{name} is no table whose rows could be made up")
        self.side, self.name, self.filling = side, name, filling
        self.table = side.tables[name]
        self.rows = filling.wanted[name]
        own = side.rules[name]
        known = {rule.name for rule in own}
        # By the names of before: of a renamed table the later rules are not known, and a script may refuse its rows.
        later = [rule for rule in goal.rules[name] if {*rule.columns} <= self.table.columns.keys()]
        self.rules = [*own, *(rule for rule in later if rule.name not in known)]
        self.unique = {column for rule in self.rules if rule.kind == "u" for column in rule.columns}
        later_checks = {rule.name for rule in self.rules} - known
        self.fixed = {
            column
            for rule in self.rules
            if rule.kind in "bx" or (rule.kind == "c" and rule.name in later_checks)
            for column in rule.columns
        }
        self.checked = {
            column
            for rule in own
            if rule.kind == "c"
            for column in rule.columns or self.table.columns
        }
        theirs = goal.tables.get(name)
        self.required = {
            column.name
            for table in (self.table, theirs)
            if table
            for column in table.columns.values()
            if not column.nullable
        }

    def run(self) -> None:
        """Insert the rows; triggers do not fire, and foreign keys are checked at the end, all at once."""
        table, side = self.table, self.side
        keys = [rule for rule in side.rules[self.name] if rule.kind == "f" and table.kind == "r"]
        with side.without_triggers(table):
            kept = []
            for key in keys:
                with suppress(psycopg2.Error):  # of a partition it belongs to the table above
                    side.run(f"ALTER TABLE {table.sql} DROP CONSTRAINT {name_in_sql(key.name)}")
                    kept.append(key)
            self._try()
            for key in kept:
                text = key.text.replace("%", "%%")
                side.run(f"ALTER TABLE {table.sql} ADD CONSTRAINT {name_in_sql(key.name)} {text}")

    def _try(self) -> None:
        """Insert the rows with as many different values as the constraints accept."""
        everything = {*self.table.columns}
        ways = (
            [everything]
            if self.filling.alike
            else [self.fixed, self.fixed | self.checked, everything]
        )
        for way in ways[:-1]:
            with suppress(psycopg2.IntegrityError, psycopg2.DataError):
                self.side.run(self._insert(way))
                return
        self.side.run(self._insert(ways[-1]))

    def _insert(self, fixed: Collection[str]) -> str:
        """Return the statement; columns in `fixed` repeat the values of the few rows, unless they are unique."""
        values, joins = {}, []
        for place, column in enumerate(self.table.columns.values()):
            if not column.generated:
                value = self._value(column, place + 1, fixed)
                values[column.name] = value or f"f.{name_in_sql(column.name)}"
        if fixed != {*self.table.columns}:
            passed = 1
            for number, (key, target) in enumerate(self._keys()):
                ((count,),) = self.side.run(f"SELECT count(*) FROM {target.rows}")  # noqa: S608 - quoted
                among = f"g.i / {passed}"
                if self.unique & {
                    *key.columns
                }:  # each combination once, if there are several such keys
                    passed *= max(count, 1)
                else:
                    among = _scattered(number + 1)
                joins.append(_join(key, target, f"k{number}", f"mod({among}, {max(count, 1)})"))
                for own, other in zip(key.columns, key.target_columns, strict=True):
                    if own in values:
                        values[own] = f"k{number}.{name_in_sql(other)}"
        few = f"SELECT row_number() OVER () - 1 AS place, count(*) OVER () AS number, t.* FROM {self.table.rows} AS t"  # noqa: S608
        begin = f"INSERT INTO {self.table.sql} ({', '.join(map(name_in_sql, values))}) OVERRIDING SYSTEM VALUE"
        numbers = f"generate_series(4, {self.rows}) AS g (i)"  # the few rows have the first numbers
        return (
            f"WITH few AS MATERIALIZED ({few}) {begin} SELECT {', '.join(values.values())} FROM {numbers}"  # noqa: S608 - quoted
            f" JOIN few AS f ON f.place = mod(g.i, (SELECT max(number) FROM few)) {' '.join(joins)}"
            " ORDER BY g.i ON CONFLICT DO NOTHING"
        )

    def _keys(self) -> Iterator[tuple[RowRule, RowTable]]:
        for rule in self.rules:
            target = self.side.tables.get(rule.target)
            if rule.kind == "f" and target and rule.target != self.name and rule.columns:
                yield rule, target

    def _value(self, column: RowColumn, place: int, fixed: Collection[str]) -> str | None:
        """Return SQL for the value of a column in row `g.i`; None: that of one of the few rows."""
        unique = column.name in self.unique or column.counted
        if not unique and column.name in fixed:
            return None
        spread = self.filling.spreads.get((*self.name, column.name), Spread())
        distinct = spread.distinct if spread.distinct >= 1 else -spread.distinct * self.rows
        number, distinct = "g.i", max(int(distinct), 1)
        if not unique and spread.ordered:
            number = f"(g.i * {distinct} / {self.rows})"
        elif not unique:
            number = f"mod({_scattered(place)}, {distinct})"
        value = _typed(column, self.side.types, spread.width, number)
        if value and spread.nulls and not unique and column.name not in self.required:
            share = int(spread.nulls * 1000)
            value = f"CASE WHEN mod({_scattered(place + 1000)}, 1000) >= {share} THEN {value} END"
        return value


def _join(key: RowRule, target: RowTable, alias: str, place: str) -> str:
    """Join the row of a referenced table at a place."""
    columns = ", ".join(name_in_sql(column) for column in key.target_columns)
    rows = f"SELECT row_number() OVER () - 1 AS place, {columns} FROM {target.rows}"  # noqa: S608 - quoted
    return f"LEFT JOIN ({rows}) AS {alias} ON {alias}.place = {place}"


def _scattered(seed: int) -> str:
    """Return SQL for a number that depends on the row as if by chance."""
    return f"(hashint8extended(g.i, {seed}) & {LARGEST})"


def _typed(column: RowColumn, types: Mapping[int, Any], width: int, number: str) -> str | None:
    """Return SQL for a value of a column that a number decides; None if its type has none."""
    kind, name, labels, inner, checks = types[column.type_oid]
    limits = LIMITED.search(column.type)
    if kind == "d" and not checks and inner[0] in types:
        kind, name, labels, *_ = types[inner[0]]
        limits = None
    value = NUMBERED.get(name)
    if kind == "e" and labels:
        words = ", ".join(map(literal, labels)).replace("%", "%%")
        value = f"(ARRAY[{words}])[1 + mod({{n}}, {len(labels)})::int]"
    elif name == "numeric":
        digits = min(int(limits[1]) - int(limits[2] or 0), DIGITS) if limits else DIGITS
        value = f"mod({{n}}::numeric, {10 ** max(digits, 0)})"
    elif name in {"json", "jsonb"}:
        value = f"json_build_object('n', {{n}}, 't', {_text(max(width - 20, WIDTH))})"
    elif name == "bytea":
        value = f"decode({_text(2 * (width or WIDTH), even=True)}, 'hex')"
    elif kind == "S":
        value = _text(min(width or WIDTH, int(limits[1]) if limits else WIDEST))
    return value and f"({value.replace('{n}', number)})::{column.type.replace('%', '%%')}"


def _text(width: int, *, even: bool = False) -> str:
    """Return SQL for a text of about so many bytes."""
    width = max(min(width, WIDEST), 1)
    width += width % 2 if even else 0
    if width < SHORT and not even:
        return f"right(lpad({{n}}::text, {width}, '0'), {width})"
    return f"left(repeat(md5({{n}}::text), {width // 32 + 1}), {width})"

"""Fills the tables of a scratch database with a few rows, before a script runs there.

Rows are found by trial: each is inserted into the scratch database and into the database of the models (the goal). If
one of them rejects it, the columns of the violated constraint get other values, and it is tried again.
"""

import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from itertools import chain, cycle

import psycopg2

from postgres_database.proving.constraints import (
    UNDEFINED,
    Judge,
    RowColumn,
    RowRule,
    name_in_sql,
)
from postgres_database.proving.values import literals
from postgres_database.schema.alter import JSON
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name, identifier

Pair = tuple[str | None, str | None]
"""A value as text, in the database and in the goal, where the column may have another type."""

Row = dict[str, Pair]
"""The values of a row, by the names of the columns."""

Slot = tuple[Sequence[str], Sequence[tuple[Pair, ...]]]
"""Columns that get their values together, such as those of a foreign key, and the options for them; NULL comes last."""

Refused = tuple[Row, Judge, psycopg2.Error]
"""A row, the database that rejects it, and the error."""

NULL: Pair = (None, None)
ROWS = 3
"""Rows of a table; the last one has NULL in every column that accepts it."""
TRIES = 60
"""Attempts for one row."""


def fill(
    database: Database, goal: Database, only: Collection[Name] | None = None
) -> tuple[str, ...]:
    """Insert a few rows into the tables of a scratch database.

    Args:
        database: The database to fill.
        goal: A scratch database from the models. If possible, the rows also satisfy its constraints on tables and
            columns that both have. It is not changed.
        only: Into which tables; these must include those that they reference. None: all.

    Returns:
        A line for each table that stays empty, with the error of the server.
    """
    with (
        goal.connect(usual_path=True) as there,  # nothing is committed there
        database.connect(usual_path=True) as here,
        here.begin(),
    ):
        filling = _Filling(Judge(here, only), Judge(there, only))
        refusals = {name: filling.fill(name) for name in filling.order()}
        filling.here.draw(ROWS)
    return tuple(
        f"table {schema}.{table}: {database.words(error).partition(chr(10))[0]}"
        for (schema, table), error in refusals.items()
        if error
    )


class _Filling:
    """The rows so far, and the two databases in which they are tried."""

    def __init__(self, here: Judge, goal: Judge) -> None:
        self.here = here
        self.goal = goal
        for side, other in ((here, goal), (goal, here)):
            side.take_partitions(set(other.tables) - set(side.tables))
        self.rows: dict[Name, list[Row]] = {name: [] for name in here.tables}
        self.refused: set[Name] = set()
        """Tables with rows that only the database accepts: the goal gets no more rows of them."""
        for number, name in enumerate(self.rows):
            if name in goal.tables:
                self._free_goal(name, f"postgres_database_{number}")

    def _free_goal(self, name: Name, partition: str) -> None:
        """Drop new columns of the goal that need a value, and add partitions for rows without one."""
        table = self.goal.tables[name]
        changes = [
            f"ALTER TABLE {table.sql} DROP COLUMN {name_in_sql(column.name)} CASCADE"
            for column in table.columns.values()
            if column.name not in self.here.tables[name].columns and column.needed
        ]
        if table.kind == "p":
            part = f"CREATE TABLE {name_in_sql(name[0])}.{partition} PARTITION OF {table.sql}"
            changes += [f"{part} DEFAULT", f"{part} FOR VALUES WITH (MODULUS 1, REMAINDER 0)"]
        self._change_goal(changes)

    def _refuse(self, name: Name) -> None:
        """Insert no more rows of a table into the goal, and drop the goal's foreign keys that reference it."""
        self.refused.add(name)
        self._change_goal(
            f"ALTER TABLE {self.goal.tables[owner].sql} DROP CONSTRAINT {name_in_sql(rule.name)}"
            for owner, rules in self.goal.rules.items()
            for rule in rules
            if rule.kind == "f" and rule.target == name and owner in self.goal.tables
        )

    def _change_goal(self, changes: Iterable[str]) -> None:
        for change in changes:
            with suppress(psycopg2.Error):
                self.goal.run(change)

    def order(self) -> Iterator[Name]:
        """Yield the tables; referenced ones first, unless foreign keys form a cycle."""
        needed: dict[Name, set[Name]] = {}
        users: dict[Name, set[Name]] = {name: set() for name in self.rows}
        left: dict[Name, tuple[int, int]] = {}
        for name in self.rows:
            keys = [key for key in self._foreign_keys(name) if key.target != name]
            needed[name] = {
                key.target
                for key in keys
                if not any(self._nullable(name, column) for column in key.columns)
            }
            left[name] = len(needed[name]), len({key.target for key in keys})
            for key in keys:
                users[key.target].add(name)
        waiting = sorted((*numbers, name) for name, numbers in left.items())
        while waiting:
            needs, wants, name = heappop(waiting)
            if left.get(name) == (needs, wants):  # else it waits with smaller numbers as well
                del left[name]
                for other in users[name] & left.keys():
                    left[other] = left[other][0] - (name in needed[other]), left[other][1] - 1
                    heappush(waiting, (*left[other], other))
                yield name

    def fill(self, name: Name) -> psycopg2.Error | None:
        """Fill a table; return the error if it stays empty."""
        table = self.here.tables[name]
        query = f"SELECT {table.texts} FROM {table.rows} LIMIT {ROWS}"  # noqa: S608 - names are quoted
        try:
            present = self.here.run(query)  # from scripts of the history
        except psycopg2.Error as error:
            return error
        for (texts,) in present:
            row = {column: (text, text) for column, text in zip(table.columns, texts, strict=True)}
            self.rows[name].append(row)
            try:
                self._insert_into_goal(name, row)
            except psycopg2.Error:
                self._refuse(name)
        refusal = self._add_all(name)
        if refusal and str(refusal.pgcode).startswith(UNDEFINED):
            with self.here.without_triggers(table):  # one of them uses an old name
                refusal = self._add_all(name)
        return refusal

    def _add_all(self, name: Name) -> psycopg2.Error | None:
        """Add rows until there are ROWS; return the error if there is none."""
        plain = [*self._plain_slots(name)]
        refusal = None
        for place in range(len(self.rows[name]), ROWS):
            refusal = self._add(name, place, [*plain, *self._key_slots(name)])
        return None if self.rows[name] else refusal

    def _add(self, name: Name, place: int, slots: Sequence[Slot]) -> psycopg2.Error | None:
        """Add a row that both databases accept, or else the database alone; return the error if it accepts none."""
        tried = self._tried(name, place, slots)
        if tried is None:
            return None
        for row, side, _ in tried:
            if side is self.goal:
                self._refuse(name)
                refusal = self._put(name, row)
                return refusal[1] if refusal else None
        return tried[-1][2]

    def _tried(self, name: Name, place: int, slots: Sequence[Slot]) -> list[Refused] | None:
        """Try rows until both databases accept one.

        Returns:
            None if they do; otherwise the rows that one of them rejects, the latest one last.
        """
        choice = [_start(options, place) for _, options in slots]
        owner = {column: n for n, (columns, _) in enumerate(slots) for column in columns}
        chance = random.Random(f"{name} {place}")  # noqa: S311 - rows are the same each time
        others = [cycle(range(len(options))) for _, options in slots]
        tried: dict[tuple[int, ...], Refused] = {}
        for attempt in range(TRIES):
            # In the second half begin with NULLs: perhaps only one of many columns may have a value.
            if attempt == TRIES // 2:
                choice = [_start(options, ROWS - 1) for _, options in slots]
            if tuple(choice) not in tried:
                row = _row(slots, choice)
                refusal = self._put(name, row)
                if not refusal:
                    return None
                tried[tuple(choice)] = row, *refusal
            latest = tried[tuple(choice)]
            _, side, error = latest
            blamed = {owner[column] for column in side.blamed(name, error) if column in owner}
            several = [n for n in sorted({*owner.values()}) if len(slots[n][1]) > 1]
            free = [n for n in several if n in blamed] or several
            if not free:
                break
            n = chance.choice(free)
            choice[n] = next(others[n]) if len(free) == 1 else chance.randrange(len(slots[n][1]))
        return [*tried.values(), latest]

    def _put(self, name: Name, row: Row) -> tuple[Judge, psycopg2.Error] | None:
        """Insert a row into both databases; return the one that rejects it, and the error."""
        side = self.here
        try:
            stored = side.insert(
                side.tables[name], {column: own for column, (own, _) in row.items()}
            )
            whole = {
                column: row[column] if column in row and row[column][0] == text else (text, text)
                for column, text in zip(side.tables[name].columns, stored, strict=True)
            }
            side = self.goal
            self._insert_into_goal(name, whole)
        except psycopg2.Error as error:
            self.here.undo()
            return side, error
        self.rows[name].append(whole)
        return None

    def _insert_into_goal(self, name: Name, row: Row) -> None:
        table = self.goal.tables.get(name)
        if table and name not in self.refused:
            ours = [column for column in table.columns.values() if column.name in row]
            self.goal.insert(
                table, {column.name: row[column.name][1] for column in ours if not column.generated}
            )

    def _plain_slots(self, name: Name) -> Iterator[Slot]:
        """Yield a slot for each column whose values do not come from a sequence or a generation expression."""
        for column in self.here.tables[name].columns.values():
            if column.settable and not column.counted:
                options = [*self._pairs(name, column), *[NULL] * self._nullable(name, column.name)]
                if options or not column.default:
                    yield [column.name], [(pair,) for pair in options or [NULL]]

    def _key_slots(self, name: Name) -> Iterator[Slot]:
        """Yield a slot for each foreign key, with the keys of the referenced table's rows."""
        for key in self._foreign_keys(name):
            parents = self.rows[key.target]
            columns = [
                (column, target, self._nullable(name, column))
                for column, target in zip(key.columns, key.target_columns, strict=True)
                if self.here.tables[name].columns[column].settable
            ]
            if not parents:
                columns = [
                    (column, target, nullable) for column, target, nullable in columns if nullable
                ]
            options = [tuple(parent[target] for _, target, _ in columns) for parent in parents]
            if any(nullable for *_, nullable in columns):
                options.append(
                    tuple(
                        NULL if nullable else parents[0][target] for _, target, nullable in columns
                    )
                )
            if columns:
                yield [column for column, *_ in columns], options

    def _pairs(self, name: Name, column: RowColumn) -> Iterable[Pair]:
        """Return values that the types of both databases accept; if there are none, pairs that each one accepts."""
        there = (
            self.goal.tables[name].columns.get(column.name) if name in self.goal.tables else None
        )
        side = self.goal if there else self.here
        there = there or column
        rules = [
            rule.text
            for rule in (*side.rules[name], *self.here.rules[name])
            if rule.kind in "cbx" and (column.name in rule.columns or not rule.columns)
        ]
        rules += [
            each.default
            for tables in (side.tables, self.here.tables)
            for each in tables[name].columns.values()
            if each.generated and identifier(column.name) in each.default
        ]
        hints = [column.type, column.default, there.type, there.default, *rules]
        sql = " ".join(dict.fromkeys(hints))
        texts = dict.fromkeys(literals(self.here.types, column.type_oid, sql))
        wanted = dict.fromkeys([*literals(side.types, there.type_oid, sql), *texts])
        read = [text for text in side.cast(there.type, wanted) if text is not None]
        if column.type in JSON and there.type.endswith("[]"):
            return [(side.as_json(there.type, text), text) for text in read]
        ours = self.here.cast(column.type, read)
        both = {own: (own, text) for own, text in zip(ours, read, strict=True) if own is not None}
        if both:
            return both.values()
        own = [text for text in self.here.cast(column.type, texts) if text is not None]
        return zip(own, read or own, strict=False)

    def _foreign_keys(self, name: Name) -> Iterable[RowRule]:
        """Return the foreign keys of a table, in either database, whose columns the database has."""
        tables = self.here.tables
        return {
            (*rule.columns, rule.target, *rule.target_columns): rule
            for side in (self.goal, self.here)
            for rule in side.rules[name]
            if rule.kind == "f"
            and rule.target in self.rows
            and tables[rule.target].columns.keys() >= {*rule.target_columns}
            and tables[name].columns.keys() >= {*rule.columns}
        }.values()

    def _nullable(self, name: Name, column: str) -> bool:
        """Tell whether a column may be NULL in both databases."""
        tables = [side.tables[name] for side in (self.here, self.goal) if name in side.tables]
        return all(table.columns[column].nullable for table in tables if column in table.columns)


def _start(options: Sequence[tuple[Pair, ...]], place: int) -> int:
    """Return the index of the first option to try: another one for each row, NULL for the last row."""
    last = len(options) - 1
    filled = last if NULL in options[last] else last + 1
    return last if not filled or (place == ROWS - 1 and filled == last) else place % filled


def _row(slots: Sequence[Slot], choice: Sequence[int]) -> Row:
    """Return the chosen values by column; for a column in several slots, that of the last slot."""
    chosen = [
        zip(columns, options[n], strict=True)
        for (columns, options), n in zip(slots, choice, strict=True)
    ]
    return dict(chain.from_iterable(chosen))

"""Rows of a target that stand in the way of pending statements, and rows that these throw away: asked, not changed."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import psycopg2
import sqlalchemy as sa

from postgres_database import demands, losses, rules
from postgres_database.connection import Database
from postgres_database.demands import Demand, Loss
from postgres_database.errors import ExpectedError
from postgres_database.history import Revision
from postgres_database.rules import Cast, Check, ForeignKey, NoRows, NotNull, Rule, Stored, Unique
from postgres_database.tokens import unquoted

SHOWN = 5  # keys of rows that are told
WIDTH = 60  # characters of a key
PATIENCE = "5s"
"""How long a question waits for a lock."""
UNKNOWN = ("42", "22", "0A", "P0")
"""Classes of errors by which a question has no answer beforehand, such as a type that is made by a pending script."""
FORBIDDEN = "42501"
TABLE = """
    SELECT c.oid, c.relkind::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
           CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname,
           (SELECT array_agg(quote_ident(a.attname) ORDER BY k.place)
            FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place), pg_attribute a
            WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.number
              AND k.place <= i.indnkeyatts)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass(%s) AND c.relkind IN ('r', 'p')
"""
DEFINITION = """
    SELECT pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = %s AND conname = %s AND NOT convalidated
"""
TYPE = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s AND attname = %s AND attnum > 0"
# PL/pgSQL assigns as ALTER TABLE does: by a cast on assignment. Whatever that raises, the row stands in the way.
CASTS = """
    DO $postgres_database$
    DECLARE
        row_ {table}%ROWTYPE; value_ {type}; count_ bigint := 0; keys_ text[] := '{{}}'; key_ text;
    BEGIN
        FOR row_ IN SELECT * FROM {only}{table} LOOP
            BEGIN
                value_ := (SELECT {expression} FROM (SELECT (row_).*) AS one_);
            EXCEPTION WHEN OTHERS THEN
                count_ := count_ + 1;
                IF count_ <= {shown} THEN
                    SELECT {key} INTO key_ FROM (SELECT (row_).*) AS one_;
                    keys_ := keys_ || key_;
                END IF;
            END;
        END LOOP;
        PERFORM set_config('postgres_database.count', count_::text, true),
                set_config('postgres_database.keys', to_json(keys_)::text, true);
    END $postgres_database$
"""
COUNTED = """
    SELECT current_setting('postgres_database.count')::bigint,
           ARRAY(SELECT json_array_elements_text(current_setting('postgres_database.keys')::json))
"""

Steps = Sequence[tuple[Revision, Sequence[str] | None]]


@dataclass(frozen=True)
class Table:
    """A table of the target."""

    oid: int
    kind: str
    sql: str
    name: str
    """For people."""
    keys: Sequence[str] | None

    @property
    def only(self) -> str:
        """What keeps the rows of children out, of which some rules know nothing."""
        return "" if self.kind == "p" else "ONLY "

    @property
    def keyed(self) -> str:
        """What a query of bad rows selects: a key for people, and what to sort by."""
        columns = "".join(f", {key} AS k{place}_" for place, key in enumerate(self.keys or ()))
        return f"{self.key} AS key_{columns}"

    @property
    def key(self) -> str:
        """SQL for what people know a row by."""
        if not self.keys:
            return "'?'"
        names, values = (
            ", ".join(self.keys),
            ", ".join(f"coalesce({key}::text, 'NULL')" for key in self.keys),
        )
        label = names if len(self.keys) == 1 else f"({names})"
        joined = (
            f"concat_ws(', ', {values})"
            if len(self.keys) == 1
            else f"'(' || concat_ws(', ', {values}) || ')'"
        )
        return f"'{_text(label)} = ' || {joined}"


def refuse(database: Database, connection: sa.Connection, steps: Steps, verb: str) -> list[str]:
    """Ask whether rows stand in the way of pending statements; return what could not be asked, a line each.

    Args:
        database: The target, for words.
        connection: To it, outside of a transaction.
        steps: What is pending.
        verb: `upgrade` or `downgrade`.

    Raises:
        ExpectedError: Some do; nothing was changed.
    """
    asking = _Asking(database, connection)
    found = asking.obstacles(demands.demands(steps))
    if not found:
        return asking.unasked
    revisions = dict.fromkeys(demand.revision for demand, _ in found)
    names = ", ".join(map(str, revisions))
    option = database.env_option
    raise ExpectedError(
        f"rows of {database.dsn} stand in the way of {names}; nothing was changed",
        cause="\n".join(line for _, line in found),
        hint=f"invoke psql{option}   (mend the rows, then invoke {verb}{option} again; or"
        " --skip-row-checks)",
    )


def lost(database: Database, connection: sa.Connection, steps: Steps) -> list[str]:
    """Say in a line each which rows and values pending statements throw away, counted."""
    return _Asking(database, connection).losses(demands.losses(steps))


class _Asking:
    """Questions to a target, all in one transaction that only reads."""

    def __init__(self, database: Database, connection: sa.Connection) -> None:
        self._database = database
        self._connection = connection
        self.unasked: list[str] = []

    def obstacles(self, asked: Sequence[Demand]) -> list[tuple[Demand, str]]:
        """Return what rows do not meet, and say how many they are and which."""
        found = []
        with self._reading() as cursor:
            for demand in asked:
                table = self._table(cursor, demand.table)
                lines = (
                    self._answer(cursor, table, rule)
                    for rule in self._rules(cursor, table, demand.rule)
                    if table
                )
                found += [(demand, line) for line in lines if line]
        return found

    def losses(self, thrown: Sequence[Loss]) -> list[str]:
        """Say how many rows or values are thrown away."""
        lines = []
        with self._reading() as cursor:
            for loss in thrown:
                table = self._table(cursor, loss.table)
                condition = f"{loss.column} IS NOT NULL" if loss.column else "true"
                only = table.only if table else ""
                query = f"SELECT count(*) FROM {only}{table.sql if table else ''} WHERE {condition}"  # noqa: S608
                rows = self._rows(cursor, query) if table else None
                if table and rows and rows[0][0]:
                    lines.append(_loss(loss, table, rows[0][0]))
        return lines

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        with self._connection.begin() as transaction:
            cursor = self._connection.connection.cursor()
            cursor.execute(f"SET TRANSACTION READ ONLY; SET LOCAL lock_timeout = '{PATIENCE}'")
            yield cursor
            transaction.rollback()

    def _rows(self, cursor: Any, query: str, *values: object) -> list[tuple[Any, ...]] | None:
        """Return the rows of a query; None if the server has no answer to it beforehand."""
        cursor.execute("SAVEPOINT question")
        try:
            cursor.execute(query, values or None)
            rows = [*cursor.fetchall()] if cursor.description else []
        except psycopg2.Error as error:
            cursor.execute("ROLLBACK TO question")
            if error.pgcode == FORBIDDEN or not str(error.pgcode).startswith(UNKNOWN):
                line = self._database.words(error).partition("\n")[0]
                self.unasked.append(f"not asked beforehand: {line}")
            return None
        return rows

    def _table(self, cursor: Any, name: str) -> Table | None:
        rows = self._rows(cursor, TABLE, name)
        return Table(*rows[0]) if rows else None

    def _rules(self, cursor: Any, table: Table | None, rule: Rule | Stored) -> Sequence[Rule]:
        """Return what is to be asked; of a constraint that is there, what it says."""
        if table is None or not isinstance(rule, Stored):
            return [] if isinstance(rule, Stored) else [rule]
        rows = self._rows(cursor, DEFINITION, table.oid, unquoted(rule.name)[-1])
        return [
            each
            for (text,) in rows or ()
            for each in rules.constraint(text.removesuffix(" NOT VALID"))
        ]

    def _answer(self, cursor: Any, table: Table, rule: Rule) -> str:
        """Say how many rows do not meet a rule, and which; empty if all do."""
        count, keys = (
            self._cast(cursor, table, rule)
            if isinstance(rule, Cast)
            else self._ask(cursor, table, rule)
        )
        if not count:
            return ""
        one, several = rule.said()
        shown = [shorten(key, WIDTH, placeholder=" …") for key in keys if key != "?"]
        names = [shown[0], *(key.partition(" = ")[2] for key in shown[1:])] if shown else []
        more = ", …" if names and count > len(names) else ""
        which = f": {', '.join(names)}{more}" if names else ""
        rows = "1 row" if count == 1 else f"{count:,} rows"
        return f"{rows} of {table.name} {one if count == 1 else several}{which}"

    def _ask(self, cursor: Any, table: Table, rule: Rule) -> tuple[int, Sequence[str]]:
        source = self._source(cursor, table, rule)
        if source is None:
            return 0, ()
        rows = self._rows(cursor, f"SELECT count(*) FROM {source}")  # noqa: S608
        if not rows or not rows[0][0]:
            return 0, ()
        order = ", ".join(f"k{number}_" for number in range(len(table.keys or ()))) or "1"
        query = f"SELECT key_ FROM {source} ORDER BY {order} LIMIT {SHOWN}"  # noqa: S608
        keys = self._rows(cursor, query)
        return rows[0][0], [key for (key,) in keys or ()]

    def _source(self, cursor: Any, table: Table, rule: Rule) -> str | None:
        """Return a query for the keys of the rows that do not meet a rule."""
        only = table.only
        match rule:
            case NoRows():
                if self._rows(cursor, TYPE, table.oid, unquoted(rule.column)[-1]):
                    return None  # a run that was interrupted has added it
                condition = "true"
            case NotNull():
                only, condition = "", f"{rule.column} IS NULL"
            case Check():
                only, condition = ("" if rule.inherited else table.only), f"NOT ({rule.expression})"
            case Unique():
                if rule.unless and self._rows(cursor, "SELECT to_regclass(%s)", rule.unless) != [
                    (None,)
                ]:
                    return None
                return _doubles(table, rule)
            case ForeignKey():
                return self._orphans(cursor, table, rule)
            case _:
                return None
        return f"(SELECT {table.keyed} FROM {only}{table.sql} WHERE {condition}) AS bad_"  # noqa: S608

    def _orphans(self, cursor: Any, table: Table, rule: ForeignKey) -> str | None:
        other = self._table(cursor, rule.table)
        others = rule.others or (other.keys if other else None)
        if other is None or not others or len(others) != len(rule.columns):
            return None
        equal = " AND ".join(
            f"there_.{b} = row_.{a}" for a, b in zip(rule.columns, others, strict=True)
        )
        given = [f"row_.{column} IS NOT NULL" for column in rule.columns]
        missing = f"NOT EXISTS (SELECT FROM {other.sql} AS there_ WHERE {equal})"
        all_given, any_given = " AND ".join(given), " OR ".join(given)
        bad = f"({all_given}) AND {missing}"
        if rule.full:
            bad = f"({any_given}) AND (NOT ({all_given}) OR {missing})"
        among = f"{table.only}{table.sql} AS row_ WHERE {bad}"
        return f"(SELECT {table.keyed} FROM {among}) AS bad_"  # noqa: S608

    def _cast(self, cursor: Any, table: Table, rule: Cast) -> tuple[int, Sequence[str]]:
        old = self._rows(cursor, TYPE, table.oid, unquoted(rule.column)[-1])
        name, size = re.fullmatch(r"([^(]*)(.*)", rule.type, re.DOTALL).groups()  # type: ignore[union-attr]
        new = self._rows(cursor, "SELECT to_regtype(%s)::text", name)
        if not (old and new and new[0][0]):
            return 0, ()
        if not rule.using and not losses.cast(old[0][0], f"{new[0][0]}{size}"):
            return 0, ()  # every value fits
        block = CASTS.format(
            table=table.sql, type=rule.type, only=table.only, expression=rule.using or rule.column,
            key=table.key, shown=SHOWN,
        )  # fmt: skip
        if self._rows(cursor, block) is None:
            return 0, ()
        ((count, keys),) = self._rows(cursor, COUNTED) or [(0, ())]
        return count, keys


def _doubles(table: Table, rule: Unique) -> str:
    """Return a query for the keys of rows that are equal to others."""
    parts = ", ".join(rule.elements)
    conditions = [f"({rule.where})"] if rule.where else []
    if not rule.nulls_equal:
        conditions += [f"({element}) IS NOT NULL" for element in rule.elements]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    among = f"{table.only}{table.sql}{where}"
    counted = f"SELECT {table.keyed}, count(*) OVER (PARTITION BY {parts}) AS count_ FROM {among}"  # noqa: S608
    return f"(SELECT * FROM ({counted}) AS all_ WHERE count_ > 1) AS bad_"  # noqa: S608


def _loss(loss: Loss, table: Table, count: int) -> str:
    rows = "1 row" if count == 1 else f"{count:,} rows"
    if loss.column:
        return f"the values of {table.name}.{loss.column} in {rows} are dropped"
    if loss.deleted:
        return f"rows of {table.name} are deleted; it has {rows}"
    return f"{rows} of {table.name} {'is' if count == 1 else 'are'} dropped"


def _text(name: str) -> str:
    return name.replace("'", "''")

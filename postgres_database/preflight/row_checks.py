"""Which rows of a target violate requirements of pending scripts; checked in a read-only transaction."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import psycopg2
import sqlalchemy as sa

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.preflight import losses, row_queries
from postgres_database.preflight.dropping import mentions
from postgres_database.preflight.preview import Printed
from postgres_database.preflight.requirements import Requirement, StatementReader, texts
from postgres_database.preflight.row_queries import Rows
from postgres_database.preflight.trusted import untrusted
from postgres_database.running.listener import Listener
from postgres_database.server.connection import Database, cancelled_by_ctrl_c
from postgres_database.server.transactions import asked, oid_of
from postgres_database.sql import rules, syntax
from postgres_database.sql.names import unquoted
from postgres_database.sql.rules import Cast, Check, ForeignKey, NoRows, Rule, Stored, Unique
from postgres_database.sql.syntax import UnreadableError

UNDEFINED = ("42P01", "42703", "42883", "42704", "3F000")
"""SQLSTATEs: an object that a query names does not exist yet, so its rows cannot be checked."""
LOCK_NOT_AVAILABLE = "55P03"

TABLES, WITH_VIEWS = ["r", "p"], ["r", "p", "m"]


@dataclass(frozen=True)
class Violation:
    """Rows that violate a requirement of a revision."""

    revision: Revision
    count: int
    table: str
    said: str
    """The predicate of the message, such as `have no value in a`."""
    keys: str
    """The keys of up to five of them, as text."""

    def __str__(self) -> str:
        """Return the message, in one line."""
        rows = "1 row" if self.count == 1 else f"{self.count:,} rows"
        return f"{rows} of {self.table} {self.said}: {self.keys}"


class UntrustedError(Exception):
    """A query would call code of a role that is not trusted; the message says which."""


def violations(database: Database, steps: Iterable[Printed], listener: Listener) -> list[Violation]:
    """Find the rows of a target that violate what revisions require.

    Args:
        database: The target.
        steps: The statements of the revisions, in order.
        listener: Gets a note for each requirement that could not be checked.

    Raises:
        ExpectedError: The transaction fails.
    """
    reading = StatementReader()
    asked = [(step.revision, reading.read(step.statements)[0]) for step in steps]
    if not any(requirements for _, requirements in asked):
        return []
    with read_only_session(database) as session:
        found = (
            violation
            for revision, requirements in asked
            for requirement in requirements
            for violation in session.violations(revision, requirement, listener)
        )
        return [*dict.fromkeys(found)]


def require_no_violations(database: Database, found: Sequence[Violation]) -> None:
    """Raise ExpectedError with all violations, if there are any."""
    if not found:
        return
    revisions = [*dict.fromkeys(violation.revision for violation in found)]
    several = len(revisions) > 1
    what = f"{len(revisions)} revisions" if several else f"revision {revisions[0]}"
    raise ExpectedError(
        f"rows of {database.dsn} violate requirements of {what}; nothing was changed",
        cause="\n".join(
            f"{violation.revision.id}: {violation}" if several else str(violation)
            for violation in found
        ),
        hint=f"invoke psql{database.env_option}   (correct these rows, then run the same command again;"
        " --skip-row-checks skips this check)",
    )


@contextmanager
def read_only_session(database: Database) -> Iterator["ReadOnlySession"]:
    """Open a read-only transaction that waits at most five seconds for a lock.

    It is set up by SET LOCAL, because a pooler in front of the server may reject connection options.

    Raises:
        ExpectedError: A query fails outside of `trying`.
    """
    with (
        database.connect(usual_path=True) as connection,  # expressions are the scripts'
        connection.begin(),
        cancelled_by_ctrl_c(connection.connection.driver_connection),
    ):
        session = ReadOnlySession(database, connection)
        try:
            session.run(row_queries.BEGIN)
            yield session
        except psycopg2.Error as error:
            raise ExpectedError(
                f"the rows of {database.dsn} cannot be read; nothing was changed",
                cause=database.words(error),
                hint=f"invoke status{database.env_option}",
            ) from error


@dataclass(frozen=True)
class ReadOnlySession:
    """Queries in a read-only transaction. Opened by `read_only_session`."""

    database: Database
    connection: sa.Connection

    def run(self, query: str, values: dict[str, Any] | None = None) -> list[Any]:
        """Run a query with the search path of scripts; % is a placeholder only if there are values."""
        with closing(self.connection.connection.cursor()) as cursor:
            cursor.execute(query, values)
            return [*cursor.fetchall()] if cursor.description else []

    def ask(self, query: str, values: dict[str, Any]) -> list[Any]:
        """Run a query about the catalog, with only pg_catalog on the search path."""
        with closing(self.connection.connection.cursor()) as cursor:
            return asked(cursor, query, values)

    def oid(self, name: str, kind: str = "class") -> int | None:
        """Return the OID of what a name in a script means; None if it does not exist."""
        with closing(self.connection.connection.cursor()) as cursor:
            return oid_of(cursor, name, kind)

    @cached_property
    def schemas(self) -> list[str]:
        """The search path of scripts."""
        ((path,),) = self.run("SELECT pg_catalog.current_schemas(true)::pg_catalog.text[]")
        return [*path]

    def require_trust(self, what: str, sql: str, tables: Sequence[Rows]) -> None:
        """Raise UntrustedError if a query may call code of a role that is not trusted; see `trusted`."""
        more = f"{row_queries.counted('')} {row_queries.listed('', tables[0])} {row_queries.CAST_RESULT}"
        oids = [table.oid for table in tables]
        if found := untrusted(self.ask, self.schemas, f"{sql} {more}", oids):
            raise UntrustedError(f"{what} may call {'; '.join(found)}")

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Run the block in a savepoint; an error is raised again, and the transaction can go on."""
        self.run("SAVEPOINT query")
        try:
            yield
        except (psycopg2.Error, UntrustedError):
            self.run("ROLLBACK TO SAVEPOINT query")
            raise
        self.run("RELEASE SAVEPOINT query")

    def violations(
        self, revision: Revision, requirement: Requirement, listener: Listener
    ) -> list[Violation]:
        """Find the rows that violate a requirement; none where an earlier statement may change them.

        Args:
            revision: Whose requirement it is.
            requirement: What its rows must satisfy.
            listener: Gets a note if that cannot be checked.
        """
        try:
            with self.trying():
                return [*self._violations(revision, requirement)]
        except UntrustedError as error:
            listener.note(
                f"rows of {requirement.table} are not checked for revision {revision.id}: {error}"
            )
            return []
        except psycopg2.Error as error:
            if error.pgcode in UNDEFINED:
                return []
            why = self.why(error)
        except UnreadableError as error:
            why = str(error)
        listener.note(
            f"not known whether rows of {requirement.table} violate requirements of revision {revision.id}: {why}"
        )
        return []

    def why(self, error: psycopg2.Error) -> str:
        """Return why a query failed, without values of rows, which the server quotes in errors about data."""
        if error.pgcode == LOCK_NOT_AVAILABLE:
            return "another session has locked the table for more than 5 s"
        if (error.pgcode or "")[:2] in {"22", "23", "P0"}:
            return "an expression fails on one of them"
        return self.database.words(error).partition("\n")[0]

    def _violations(self, revision: Revision, requirement: Requirement) -> Iterator[Violation]:
        for rule in self._rules(requirement):
            whole = replace(requirement, rule=rule)
            for table, query in (
                self._of_domain(whole) if requirement.domain else self._of_table(whole)
            ):
                others = [self.table(rule.table)] if isinstance(rule, ForeignKey) else []
                self.require_trust(rules.KINDS[type(rule)], query, [table, *filter(None, others)])
                count, keys = self._run_check(table, rule, query)
                if count:
                    said = rule.violation()[count > 1]
                    yield Violation(
                        revision, count, table.name, said, row_queries.shown(table, count, keys)
                    )

    def _rules(self, requirement: Requirement) -> list[Rule]:
        """Return the rules of a requirement; those of a stored constraint from its definition in the target."""
        if not isinstance(requirement.rule, Stored):
            return [requirement.rule]
        oid = self.oid(requirement.table, "type" if requirement.domain else "class")
        values = {
            "oid": oid,
            "domain": requirement.domain,
            "name": unquoted(requirement.rule.name)[0],
        }
        printed = [
            definition
            for (constraint,) in self.ask(row_queries.DEFINITION, values)
            for (definition,) in self.run(row_queries.PRINTED, {"oid": constraint})
        ]
        result = [
            rule
            for definition in printed
            for rule in rules.constraint(syntax.read_constraint(definition))
        ]
        return [rule for rule in result if not mentions(texts(rule), requirement.changed)]

    def table(self, name: str, kinds: Sequence[str] = TABLES) -> Rows | None:
        """Return a table of the target; None if it does not exist."""
        rows = self.ask(row_queries.NAMED, {"oid": self.oid(name), "kinds": [*kinds]})
        return next((_rows(row) for row in rows), None)

    def _of_table(self, requirement: Requirement) -> Iterator[tuple[Rows, str]]:
        rule = requirement.rule
        table = self.table(requirement.table, WITH_VIEWS if isinstance(rule, Unique) else TABLES)
        other = self.table(rule.table) if isinstance(rule, ForeignKey) else None
        if table is None or (isinstance(rule, ForeignKey) and not _references_columns(rule, other)):
            return
        if self._is_uncertain(requirement, [each.oid for each in (table, other) if each]):
            return
        if isinstance(rule, Cast):
            if not self._needs_no_check(rule, table):
                yield table, row_queries.casts(rule, table, only=requirement.only)
        elif not isinstance(rule, Stored) and self._applies(rule, table):
            yield table, row_queries.violating(rule, table, other, only=requirement.only)

    def _of_domain(self, requirement: Requirement) -> Iterator[tuple[Rows, str]]:
        domain = {"oid": self.oid(requirement.table, "type")}
        altered = [self.oid(name) for name in requirement.altered]
        for name, column in self.ask(row_queries.COLUMNS_OF_DOMAIN, domain):
            table = self.table(name, WITH_VIEWS)
            if table is None or table.oid in altered:
                continue
            if isinstance(requirement.rule, Check) and not self._is_uncertain(
                requirement, [table.oid]
            ):
                yield table, row_queries.of_domain(requirement.rule.expression, table, column)

    def _is_uncertain(self, requirement: Requirement, tables: list[int]) -> bool:
        """Tell whether an earlier statement may change rows of these tables, also through triggers or cascades."""
        written = [self.oid(name) for name in requirement.written]
        values = {"written": written, "calls": [*requirement.calls], "tables": tables}
        ((uncertain,),) = self.ask(row_queries.UNCERTAIN, values)
        return bool(uncertain)

    def _applies(self, rule: Rule, table: Rows) -> bool:
        """Tell whether a rule applies: not if the index or column exists, or the type of a new column has a default."""
        if isinstance(rule, Unique) and rule.existing_index:
            return self.oid(rule.existing_index) is None
        if isinstance(rule, NoRows):
            there = self.column(table, rule.column, rule.type)
            type_ = {"type": self.oid(rule.type or "int", "type")}
            return not there and self.ask(row_queries.HAS_DEFAULT, type_) == [(False,)]
        return True

    def tables_named(self, name: str) -> list[Rows]:
        """Return the tables that have the last part of a name, in any schema."""
        wanted = {"name": unquoted(name)[-1], "kinds": TABLES}
        return [*map(_rows, self.ask(row_queries.ANYWHERE, wanted))]

    def column(self, table: Rows, column: str, type_: str) -> list[Any]:
        """Return the column's type and the type named `type_`, as one row; no row if the column does not exist."""
        bare = re.sub(r" ?\([^)]*\)", "", type_) or "text"
        values = {"table": table.oid, "column": unquoted(column)[0]}
        return self.ask(row_queries.COLUMN, values | {"type": self.oid(bare, "type")})

    def _needs_no_check(self, rule: Cast, table: Rows) -> bool:
        """Tell whether the cast cannot fail for any value, or cannot be checked because a type is unknown."""
        for here, goal in self.column(table, rule.column, rule.type):
            if goal is None:
                return True
            sizes = "".join(re.findall(r"\([^)]*\)", rule.type))
            is_plain = rule.using in {"", f"{rule.column}::{rule.type}"}
            is_short = not sizes and goal.startswith(("character", "bit")) and "varying" not in goal
            return is_plain and not is_short and not losses.cast_loss(here, goal + sizes)
        return True

    def _run_check(self, table: Rows, rule: Rule, query: str) -> tuple[int, list[list[str]]]:
        """Return the number of rows that violate the rule, and the keys of some."""
        if isinstance(rule, Cast):
            self.run(row_queries.cast_statement(query))
            ((tried,),) = self.run(row_queries.CAST_RESULT)
            return tried["count"], tried["keys"]
        ((count,),) = self.run(row_queries.counted(query))
        listed = self.run(row_queries.listed(query, table)) if count else []
        return count, [keys for (keys,) in listed]


def _rows(row: Sequence[Any]) -> Rows:
    oid, name, bare, kind, key, is_primary = row
    return Rows(oid, name, bare, kind, tuple(key), is_primary)


def _references_columns(rule: ForeignKey, other: Rows | None) -> bool:
    """Tell whether a foreign key has as many columns as it references."""
    if other is None or not (rule.referenced or other.is_primary):
        return False
    return len(rule.columns) == len(rule.referenced or other.key)

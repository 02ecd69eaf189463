"""What only a superuser may run, on a connection that has no such rights.

A statement that is refused, such as CREATE EXTENSION, is run once more by a role that is a superuser, which the session
may act as for no longer than that; but only if its kind is one that calls no function of users.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2.errors import InsufficientPrivilege, InvalidFunctionDefinition
from psycopg2.extensions import cursor as PlainCursor  # noqa: N812 - a class

from postgres_database.connection import quoted
from postgres_database.errors import ExpectedError
from postgres_database.tokens import IDENTIFIER, statements, unquoted

REFUSED = InsufficientPrivilege, InvalidFunctionDefinition
"""The second one says that only a superuser may make an aggregate of internal values."""
SAVEPOINT = "postgres_database_rights"
# Kinds of statements that a role may be refused and that call no function of users. Not among them: aggregates with an
# initial value, which the type reads, and conversions, which are tried when they are made.
WORD = r"(?:OR REPLACE |TRUSTED |PROCEDURAL )*"
KIND = (
    r"EXTENSION|EVENT TRIGGER|LANGUAGE|FOREIGN DATA WRAPPER|SERVER|USER MAPPING|FUNCTION|PROCEDURE|ROUTINE|OPERATOR"
    r"|CAST|TYPE|ACCESS METHOD|TEXT SEARCH|TRANSFORM|ROLE|USER|GROUP|PUBLICATION|DEFAULT PRIVILEGES"
)
ELEVATED = (
    rf"(?:CREATE|ALTER|DROP) {WORD}(?:{KIND})\b|COMMENT ON\b|GRANT\b|REVOKE\b|SECURITY LABEL\b"
    r"|SET (?:LOCAL |SESSION )?SESSION_REPLICATION_ROLE\b|CREATE (?:OR REPLACE )?AGGREGATE (?![^;]*INITCOND)"
)
# Whose an object is, is no part of a schema here: what the owner of all may not give away, it keeps.
GIVEN_AWAY = rf"ALTER [^;]*? OWNER TO {IDENTIFIER}$|SET (?:LOCAL |SESSION )?ROLE\b"
SESSION_USER = r"(?:SET (?:LOCAL |SESSION )?|RESET )SESSION AUTHORIZATION\b|DISCARD ALL\b"
FLAGS = re.IGNORECASE | re.MULTILINE
MAY_BE_REFUSED = re.compile(
    rf"(?:^|;)\s*(?:{ELEVATED}|{SESSION_USER}|SET (?:LOCAL |SESSION )?ROLE\b)|\bOWNER TO\b".replace(
        " ", r"\s+"
    ),
    FLAGS,
)
IS_ELEVATED, IS_GIVEN_AWAY, IS_SESSION_USER = (
    re.compile(pattern, FLAGS) for pattern in (ELEVATED, GIVEN_AWAY, SESSION_USER)
)
TRANSACTION = re.compile(r"\s*(?:SAVEPOINT|RELEASE|ROLLBACK|COMMIT|BEGIN)\b", re.IGNORECASE)
# What calls functions whatever the statement is: event triggers, and what reads the options of foreign servers.
CALLS = """
    SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtenabled <> 'D')
        OR EXISTS (SELECT FROM pg_foreign_data_wrapper w JOIN pg_proc p ON p.oid = w.fdwvalidator
                   JOIN pg_language l ON l.oid = p.prolang WHERE l.lanname NOT IN ('c', 'internal'))
"""
SHARED = (
    r"CREATE (?:ROLE|USER|GROUP)\b(?! MAPPING)|(?:CREATE|ALTER|DROP|COMMENT ON) EVENT TRIGGER\b"
)
"""Statements that fire no event triggers."""
OWNED = """
    SELECT i.type, i.identity
    FROM pg_shdepend d CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) AS i
    WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = to_regrole(quote_ident(%s)) AND d.deptype = 'o'
      AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND i.type IN ('function', 'procedure', 'aggregate', 'type', 'composite type', 'server')
      AND NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = d.objid AND NOT t.typisdefined)
      AND NOT EXISTS (SELECT FROM pg_depend e
                      WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype IN ('e', 'i'))
"""
HEAR = f"SAVEPOINT {SAVEPOINT}; LOCK TABLE pg_catalog.pg_ts_parser IN ACCESS SHARE MODE; ROLLBACK TO {SAVEPOINT};"
"""A transaction hears what others did to roles when it takes a lock that it does not have."""


@dataclass(frozen=True)
class Lift:
    """How a session becomes a superuser for a statement."""

    owner: str
    """The role that it acts as otherwise, which owns everything."""
    superuser: str
    lifted: Callable[[], AbstractContextManager[None]]
    """Lets the session be able to act as the superuser meanwhile."""
    include: Callable[[Iterable[str], Iterable[str]], None]
    """Lets the owner act as roles, and use tablespaces, if they are harmless."""

    def cursor(self) -> type[PlainCursor]:
        """Return the class of cursors that run statements in this way."""
        return type("Cursor", (_Cursor,), {"lift": self})


class _Cursor(PlainCursor):
    """Runs what it is given as the owner of all; what only a superuser may do and calls nothing, as one."""

    lift: Lift

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name
        """Run SQL; see `cursor.execute` of psycopg2."""
        text = query if isinstance(query, str) else self.mogrify(query, vars).decode()
        if TRANSACTION.match(text) or not MAY_BE_REFUSED.search(text):
            super().execute(query, vars)
            return
        text = self.mogrify(query, vars).decode()
        if not IS_SESSION_USER.search(text):
            try:
                with self._trying():
                    super().execute(text)
            except REFUSED:
                pass
            else:
                return
        for statement in statements(text):
            self._one(statement)

    @contextmanager
    def _trying(self) -> Iterator[None]:
        """Go on in the transaction after an error."""
        if self.connection.autocommit:
            yield
            return
        with PlainCursor(self.connection) as aside:
            aside.execute(f"SAVEPOINT {SAVEPOINT}")
            try:
                yield
            except psycopg2.Error:
                aside.execute(f"ROLLBACK TO {SAVEPOINT}; RELEASE {SAVEPOINT}")
                raise
            aside.execute(f"RELEASE {SAVEPOINT}")

    def _one(self, statement: str) -> None:
        if changes := IS_SESSION_USER.match(statement):
            if changes[0].upper() == "DISCARD ALL":
                super().execute(statement)
            name = statement[changes.end() :].strip()
            statement = "RESET ROLE" if name.upper() in {"", "DEFAULT"} else f"SET ROLE {name}"
        try:
            with self._trying():
                super().execute(statement)
        except REFUSED:
            if IS_GIVEN_AWAY.match(statement):
                self._give_away(statement)
                return
            if not IS_ELEVATED.match(statement) or self._calls(statement):
                raise
            self._as_superuser(statement)
            for kind, identity in self._superusers():
                self._as_superuser(
                    f"ALTER {kind.upper().removeprefix('COMPOSITE ')} {identity} OWNER TO {quoted(self.lift.owner)}"
                )

    def _give_away(self, statement: str) -> None:
        """Act as a role, or let it own something, if it is one that may do no more than the owner of all."""
        self.lift.include([unquoted(re.split(r"\s", statement)[-1].strip("'"))[-1]], [])
        with PlainCursor(self.connection) as aside:
            aside.execute(HEAR if not self.connection.autocommit else "SELECT")
        with suppress(*REFUSED), self._trying():
            super().execute(statement)

    def _calls(self, statement: str) -> bool:
        """Tell whether any statement may call a function of users."""
        return not re.match(SHARED, statement, re.IGNORECASE) and self._asked(CALLS) == [(True,)]

    def _superusers(self) -> list[Any]:
        """Return what the superuser made and need not own."""
        return self._asked(OWNED, [self.lift.superuser])

    def _asked(self, query: str, values: Any = None) -> list[Any]:
        """Ask the catalogs, past everything that a search path may put in their way."""
        query = f"SET LOCAL search_path = pg_catalog, pg_temp; {query}"
        with PlainCursor(self.connection) as aside:
            if self.connection.autocommit:
                aside.execute(query, values)
                return [*aside.fetchall()]
            aside.execute(f"SAVEPOINT {SAVEPOINT}; {query}", values)
            rows = [*aside.fetchall()]
            aside.execute(f"ROLLBACK TO {SAVEPOINT}; RELEASE {SAVEPOINT}")
            return rows

    def _as_superuser(self, statement: str) -> None:
        role, inside = quoted(self.lift.superuser), not self.connection.autocommit
        # The text is a transaction, or a part of one, so the role is as before whether it fails or not.
        hear = HEAR if inside else ""
        with PlainCursor(self.connection) as aside:
            aside.execute("SHOW role")
            ((before,),) = aside.fetchall()
            with self.lift.lifted():
                super().execute(
                    f"{hear} SET LOCAL ROLE {role};\n{statement};\nSET LOCAL ROLE {quoted(before)}"
                )
            if not inside:
                return  # the next transaction hears of it before it does anything
            aside.execute(hear)
            try:
                aside.execute(f"SET LOCAL ROLE {role}")
            except InsufficientPrivilege:
                aside.execute(f"ROLLBACK TO {SAVEPOINT}; RELEASE {SAVEPOINT}")
                return
            aside.execute(f"ROLLBACK TO {SAVEPOINT}")
        raise ExpectedError(
            "a scratch database keeps the rights of a superuser",
            cause=f"something there holds a lock on pg_ts_parser\n{statement}",
            hint="invoke check   (once no function of the schema locks that catalog)",
        )

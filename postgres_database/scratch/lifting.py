"""What only a superuser may run, on a connection that has no such rights.

A statement that is refused, such as CREATE EXTENSION, is run once more by a role that is a superuser, which the session
may act as for no longer than that; but only if its kind is one that calls no function of users.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2.errors import InsufficientPrivilege, InvalidFunctionDefinition
from psycopg2.extensions import cursor as PlainCursor  # noqa: N812 - a class

from postgres_database.errors import ExpectedError
from postgres_database.sql.names import IDENTIFIER, NAME, quoted, unquoted
from postgres_database.sql.syntax import statements

REFUSED = InsufficientPrivilege, InvalidFunctionDefinition
"""The second one says that only a superuser may make an aggregate of internal values."""
SAVEPOINT = "postgres_database_rights"
# Kinds of statements that a role may be refused and that call no function of users. Not among them: aggregates with an
# initial value, which the type reads, conversions, which are tried when they are made, and bounds of partitions.
WORD = r"(?:OR REPLACE |TRUSTED |PROCEDURAL )*"
KIND = (
    r"EXTENSION|EVENT TRIGGER|LANGUAGE|FOREIGN DATA WRAPPER|SERVER|USER MAPPING|FUNCTION|PROCEDURE|ROUTINE|OPERATOR"
    r"|CAST|TYPE|ACCESS METHOD|TEXT SEARCH|TRANSFORM|ROLE|USER|GROUP|PUBLICATION|DEFAULT PRIVILEGES"
)
ELEVATED = (
    rf"(?:CREATE|ALTER|DROP) {WORD}(?:{KIND})\b|COMMENT ON\b|GRANT\b|REVOKE\b|SECURITY LABEL\b"
    r"|SET (?:LOCAL |SESSION )?SESSION_REPLICATION_ROLE\b|CREATE (?:OR REPLACE )?AGGREGATE (?![^;]*INITCOND)"
    r"|CREATE FOREIGN TABLE (?![^;]*PARTITION OF)"
)
GRANTS = re.compile(r"^\s*(?:GRANT|REVOKE)\b", re.IGNORECASE | re.MULTILINE)
OWNED = rf"ALTER [^;]*? OWNER TO {IDENTIFIER}$"
ROLE = r"SET (?:LOCAL |SESSION )?ROLE\b"
BLOCK = r"DO\b"
MAKES = re.compile(
    rf"((?:\bBEGIN|\bTHEN|\bELSE|;)\s+)CREATE\s+(?:ROLE|USER|GROUP)\s+(?!MAPPING\b)({IDENTIFIER})[^;]*;",
    re.IGNORECASE,
)
"""In a block; it would be refused to whoever may make no roles even if the role is there."""
VALIDATED = re.compile(
    rf"(?P<create>CREATE FOREIGN DATA WRAPPER (?P<name>{IDENTIFIER})(?: HANDLER {NAME})?)"
    rf" VALIDATOR (?P<validator>{NAME})(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
SESSION_USER = r"(?:SET (?:LOCAL |SESSION )?|RESET )SESSION AUTHORIZATION\b|DISCARD ALL\b"
FLAGS = re.IGNORECASE | re.MULTILINE
MAY_BE_REFUSED = re.compile(
    rf"(?:^|;)\s*(?:{ELEVATED}|{SESSION_USER}|{ROLE}|{BLOCK})|\bOWNER TO\b".replace(" ", r"\s+"),
    FLAGS,
)
IS_ELEVATED, IS_OWNED, IS_ROLE, IS_BLOCK, IS_SESSION_USER = (
    re.compile(pattern, FLAGS) for pattern in (ELEVATED, OWNED, ROLE, BLOCK, SESSION_USER)
)
TRANSACTION = re.compile(r"\s*(?:SAVEPOINT|RELEASE|ROLLBACK|COMMIT|BEGIN)\b", re.IGNORECASE)
TRIGGERS = "SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtenabled <> 'D')"
"""Whether any statement calls something, whatever it is."""
VALIDATORS = """
    SELECT quote_ident(w.fdwname), format('%%I.%%I', n.nspname, p.proname)
    FROM pg_foreign_data_wrapper w
    JOIN pg_proc p ON p.oid = w.fdwvalidator
    JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_language l ON l.oid = p.prolang
    WHERE l.lanname NOT IN ('c', 'internal') AND %s
"""
"""The functions that are called when options of foreign servers are set."""
SHARED = (
    r"CREATE (?:ROLE|USER|GROUP)\b(?! MAPPING)|(?:CREATE|ALTER|DROP|COMMENT ON) EVENT TRIGGER\b"
)
"""Statements that fire no event triggers."""
MADE = """
    SELECT i.type, i.identity
    FROM pg_shdepend d CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) AS i
    WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = to_regrole(quote_ident(%s)) AND d.deptype = 'o'
      AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND i.type IN ('function', 'procedure', 'aggregate', 'type', 'composite type', 'server', 'foreign table')
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
    user: str
    """The role whose part it plays in scripts: that of the DSN."""
    superuser: str
    lifted: Callable[[], AbstractContextManager[None]]
    """Lets the session be able to act as the superuser meanwhile."""
    provide: Callable[[Iterable[str]], None]
    """Makes roles that are missing, and lets the owner act as those that are harmless."""

    def cursor(self) -> type[PlainCursor]:
        """Return the class of cursors that run statements in this way."""
        return type("Cursor", (_Cursor,), {"lift": self})


class _NotGrantedError(InsufficientPrivilege):
    """Nothing was granted or revoked."""


def _roles(statement: str) -> list[str]:
    """Return the roles that a statement may be refused for: to own, to act as, or to make in a block."""
    if IS_BLOCK.match(statement):
        return [unquoted(name)[-1] for _, name in MAKES.findall(statement)]
    if IS_OWNED.match(statement) or IS_ROLE.match(statement):
        return [unquoted(statement.rsplit(" ", 1)[-1].strip("'"))[-1]]
    return []


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
                    self._run(text)
            except REFUSED:
                pass
            else:
                return
        for statement in statements(text):
            self._one(statement)

    def _run(self, text: str) -> None:
        """Run a text; whoever may not grant or revoke what it says gets no error, but a warning."""
        del self.connection.notices[:]
        super().execute(text)
        if self.connection.notices and GRANTS.search(text):
            raise _NotGrantedError(self.connection.notices[-1].strip())

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
                self._run(statement)
        except REFUSED:
            if roles := _roles(statement):
                self._with_roles(statement, roles)
                return
            if not IS_ELEVATED.match(statement) or not self._reads() or self._calls(statement):
                raise
            self._as_superuser(self._unchecked(statement))
            for kind, identity in self._superusers():
                self._as_superuser(
                    f"ALTER {kind.upper().removeprefix('COMPOSITE ')} {identity} OWNER TO {quoted(self.lift.owner)}"
                )

    def _with_roles(self, statement: str, roles: Sequence[str]) -> None:
        """Run a statement once more when there are the roles that it names, and may be acted as."""
        if IS_ROLE.match(statement) and self.lift.user in roles:
            super().execute("RESET ROLE")
            return
        self.lift.provide(roles)
        if not self.connection.autocommit:
            with PlainCursor(self.connection) as aside:
                aside.execute(HEAR)
        try:
            with self._trying():
                super().execute(MAKES.sub(r"\1NULL;", statement))
        except REFUSED:
            if not IS_OWNED.match(statement):  # whose something is, is compared nowhere
                raise

    def _reads(self) -> bool:
        """Tell whether the server takes the text of a statement for the one statement that was read in it."""
        status = self.connection.get_parameter_status
        return (status("standard_conforming_strings"), status("client_encoding")) == ("on", "UTF8")

    def _calls(self, statement: str) -> bool:
        """Tell whether a statement of a harmless kind calls functions of users all the same."""
        shared = re.match(SHARED, statement, re.IGNORECASE)
        return not shared and self._asked(TRIGGERS) == [(True,)]

    def _unchecked(self, statement: str) -> str:
        """Return a statement with others around it that keep it from calling what checks options."""
        kind = statement.split(" ", 2)[1]
        if kind.upper() == "FOREIGN" and (made := VALIDATED.fullmatch(statement)):
            plain = f"{made['create']}{made['rest']}"
            return (
                f"{plain}; ALTER FOREIGN DATA WRAPPER {made['name']} VALIDATOR {made['validator']}"
            )
        if kind.upper() not in {"FOREIGN", "SERVER", "USER"}:
            return statement
        wrappers = self._asked(VALIDATORS, [True])
        alter = "ALTER FOREIGN DATA WRAPPER"
        before = [f"{alter} {name} NO VALIDATOR" for name, _ in wrappers]
        after = [f"{alter} {name} VALIDATOR {validator}" for name, validator in wrappers]
        return "; ".join([*before, statement, *after])

    def _superusers(self) -> list[Any]:
        """Return what the superuser made and need not own."""
        return self._asked(MADE, [self.lift.superuser])

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

"""Runs single statements as a superuser for a session that is none.

If the server rejects a statement such as CREATE EXTENSION for lack of rights, it is run again as a superuser role, in
which the session's role is a member only for that statement. This is done only for kinds of statements that call no
function of users.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2.errors import InsufficientPrivilege, InvalidFunctionDefinition
from psycopg2.extensions import TRANSACTION_STATUS_IDLE as IDLE
from psycopg2.extensions import cursor as PlainCursor  # noqa: N812 - a class

from postgres_database.errors import ExpectedError
from postgres_database.sql.names import IDENTIFIER, NAME, quoted, unquoted
from postgres_database.sql.syntax import statements

REFUSED = InsufficientPrivilege, InvalidFunctionDefinition
"""The errors for lack of rights; the second one is that of an aggregate with the state type `internal`."""
SAVEPOINT = "postgres_database_rights"
# Kinds of statements that may need a superuser and call no function of users. These do call one, so they are left out:
# aggregates with INITCOND (the input function of the type), CREATE CONVERSION (tests the function), partition bounds.
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
"""CREATE ROLE in a DO block: rejected without CREATEROLE, even if the role exists."""
VALIDATED = re.compile(
    rf"(?P<create>CREATE FOREIGN DATA WRAPPER (?P<name>{IDENTIFIER})(?: HANDLER {NAME})?)"
    rf" VALIDATOR (?P<validator>{NAME})(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
SESSION_USER = r"(?:SET (?:LOCAL |SESSION )?|RESET )SESSION AUTHORIZATION\b|DISCARD ALL\b"
FLAGS = re.IGNORECASE | re.MULTILINE
# ALTER DOMAIN … DROP CONSTRAINT is among them for another reason: the server leaves its invalidation messages until the
# next change of a catalog, and refuses that in a savepoint ("cannot start a subtransaction when there are unprocessed
# inval messages"), unless a savepoint of the statement's own is released first.
MAY_BE_REFUSED = re.compile(
    rf"(?:^|;)\s*(?:{ELEVATED}|{SESSION_USER}|{ROLE}|{BLOCK}|ALTER DOMAIN\b)|\bOWNER TO\b".replace(
        " ", r"\s+"
    ),
    FLAGS,
)
IS_ELEVATED, IS_OWNED, IS_ROLE, IS_BLOCK, IS_SESSION_USER = (
    re.compile(pattern, FLAGS) for pattern in (ELEVATED, OWNED, ROLE, BLOCK, SESSION_USER)
)
DEFAULTS = re.compile(
    rf"(\bDEFAULT\s+PRIVILEGES\s+FOR\s+(?:ROLE|USER)\s+)({IDENTIFIER}(?:\s*,\s*{IDENTIFIER})*)",
    FLAGS,
)
"""ALTER DEFAULT PRIVILEGES with its roles in the second group."""
TRANSACTION = re.compile(r"\s*(?:SAVEPOINT|RELEASE|ROLLBACK|COMMIT|BEGIN)\b", re.IGNORECASE)
TRIGGERS = "SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtenabled <> 'D')"
"""Whether event triggers are enabled: then a statement of any kind may call functions of users."""
VALIDATORS = """
    SELECT quote_ident(w.fdwname), format('%%I.%%I', n.nspname, p.proname)
    FROM pg_foreign_data_wrapper w
    JOIN pg_proc p ON p.oid = w.fdwvalidator
    JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_language l ON l.oid = p.prolang
    WHERE l.lanname NOT IN ('c', 'internal') AND %s
"""
"""Foreign data wrappers with a validator that a user may have written: it is called when options are set."""
SHARED = (
    r"CREATE (?:ROLE|USER|GROUP)\b(?! MAPPING)|(?:CREATE|ALTER|DROP|COMMENT ON) EVENT TRIGGER\b"
)
"""Statements that fire no event triggers: those on objects of the whole cluster, and on event triggers."""
# What the superuser role owns in this database, of kinds that another role may own; without parts of extensions.
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
LOCK = "LOCK TABLE pg_catalog.pg_ts_parser IN ACCESS SHARE MODE"
REFRESH_ROLES = f"SAVEPOINT {SAVEPOINT}; {LOCK}; ROLLBACK TO {SAVEPOINT};"
"""Makes a transaction see GRANTs and REVOKEs of role membership by other sessions: it processes invalidation messages
when it acquires a lock that it does not hold yet."""


@dataclass(frozen=True)
class Elevation:
    """The roles of a session, and how it becomes a superuser for one statement."""

    owner: str
    """The current role of the session, which owns everything in the database."""
    user: str
    """The role of the DSN: a script that sets it as its role, or its default privileges, gets the owner instead."""
    superuser: str
    elevated: Callable[[], AbstractContextManager[None]]
    """Makes the session's role a member of the superuser role within the block."""
    provide: Callable[[Iterable[str]], None]
    """Creates missing roles, and makes the owner a member of those without rights elsewhere."""

    def cursor(self) -> type[PlainCursor]:
        """Return a psycopg2 cursor class that runs statements in this way."""
        return type("Cursor", (_Cursor,), {"elevation": self})


class _NotGrantedError(InsufficientPrivilege):
    """A GRANT or REVOKE that had no effect: PostgreSQL only warns about it."""


def _roles(statement: str) -> list[str]:
    """Return the roles whose absence may be why a statement fails: of OWNER TO, SET ROLE, or a DO block."""
    if IS_BLOCK.match(statement):
        return [unquoted(name)[-1] for _, name in MAKES.findall(statement)]
    if IS_OWNED.match(statement) or IS_ROLE.match(statement):
        return [unquoted(statement.rsplit(" ", 1)[-1].strip("'"))[-1]]
    return []


class _Cursor(PlainCursor):
    """Runs statements as the owner, and as the superuser role if they need one and call no function of users."""

    elevation: Elevation

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name
        """Run SQL; see `cursor.execute` of psycopg2."""
        text = query if isinstance(query, str) else self.mogrify(query, vars).decode()
        if TRANSACTION.match(text) or not MAY_BE_REFUSED.search(text):
            super().execute(query, vars)
            return
        text = DEFAULTS.sub(self._by_owner, self.mogrify(query, vars).decode())
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

    def _by_owner(self, found: re.Match[str]) -> str:
        """Name the owner in place of the role of the DSN: a dump prints the one as the other."""
        elevation = self.elevation
        roles = [
            quoted(elevation.owner) if unquoted(role)[-1] == elevation.user else role
            for role in re.findall(IDENTIFIER, found[2])
        ]
        return found[1] + ", ".join(roles)

    def _run(self, text: str) -> None:
        """Run a text.

        Raises:
            psycopg2.Error: It fails, or a GRANT or REVOKE in it raised a warning for lack of rights.
        """
        del self.connection.notices[:]
        super().execute(text)
        if self.connection.notices and GRANTS.search(text):
            raise _NotGrantedError(self.connection.notices[-1].strip())

    @property
    def _inside(self) -> bool:
        """Whether a statement is part of a transaction, which in autocommit someone has begun by BEGIN."""
        connection = self.connection
        return not connection.autocommit or connection.info.transaction_status != IDLE

    @contextmanager
    def _trying(self) -> Iterator[None]:
        """Run the block in a savepoint, so that the transaction survives an error."""
        if not self._inside:
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
            owner = quoted(self.elevation.owner)
            for type_, identity in self._superusers():
                kind = type_.upper().removeprefix("COMPOSITE ")
                self._as_superuser(f"ALTER {kind} {identity} OWNER TO {owner}")

    def _with_roles(self, statement: str, roles: Sequence[str]) -> None:
        """Run a statement again after its roles are created, and the owner is a member of them."""
        if IS_ROLE.match(statement) and self.elevation.user in roles:
            super().execute("RESET ROLE")
            return
        self.elevation.provide(roles)
        if self._inside:
            with PlainCursor(self.connection) as aside:
                aside.execute(REFRESH_ROLES)
        try:
            with self._trying():
                super().execute(MAKES.sub(r"\1NULL;", statement))
        except REFUSED:
            if not IS_OWNED.match(statement):  # owners are not compared
                raise

    def _reads(self) -> bool:
        """Tell whether the server splits a text into the same statements as the parser here, whatever it contains."""
        status = self.connection.get_parameter_status
        return (status("standard_conforming_strings"), status("client_encoding")) == ("on", "UTF8")

    def _calls(self, statement: str) -> bool:
        """Tell whether a statement of these kinds calls functions of users nevertheless, in event triggers."""
        shared = re.match(SHARED, statement, re.IGNORECASE)
        return not shared and self._asked(TRIGGERS) == [(True,)]

    def _unchecked(self, statement: str) -> str:
        """Return a statement together with others that disable the validators of foreign data wrappers meanwhile."""
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
        """Return kind and identity of the objects that the superuser role owns and need not own."""
        return self._asked(MADE, [self.elevation.superuser])

    def _asked(self, query: str, values: Any = None) -> list[Any]:
        """Query the catalog, with nothing but pg_catalog on the search path, and leave the transaction as it was."""
        query = f"SET LOCAL search_path = pg_catalog, pg_temp; {query}"
        with PlainCursor(self.connection) as aside:
            if not self._inside:
                aside.execute(query, values)
                return [*aside.fetchall()]
            aside.execute(f"SAVEPOINT {SAVEPOINT}; {query}", values)
            rows = [*aside.fetchall()]
            aside.execute(f"ROLLBACK TO {SAVEPOINT}; RELEASE {SAVEPOINT}")
            return rows

    def _as_superuser(self, statement: str) -> None:
        role, inside = quoted(self.elevation.superuser), self._inside
        # The text is a transaction, or a part of one, so the role is as before whether it fails or not.
        refresh = REFRESH_ROLES if inside else ""
        with PlainCursor(self.connection) as aside:
            aside.execute("SHOW role")
            ((before,),) = aside.fetchall()
            with self.elevation.elevated():
                super().execute(
                    f"{refresh} SET LOCAL ROLE {role};\n{statement};\nSET LOCAL ROLE {quoted(before)}"
                )
            if not inside:
                return  # the next transaction sees the REVOKE at its beginning
            aside.execute(refresh)
            try:
                aside.execute(f"SET LOCAL ROLE {role}")
            except InsufficientPrivilege:
                aside.execute(f"ROLLBACK TO {SAVEPOINT}; RELEASE {SAVEPOINT}")
                return
            aside.execute(f"ROLLBACK TO {SAVEPOINT}")
        raise ExpectedError(
            "the session of a scratch database still has the rights of a superuser",
            cause=f"it holds a lock on pg_ts_parser, so it does not see the REVOKE\n{statement}",
            hint="invoke check   (once no function of the schema locks that catalog)",
        )

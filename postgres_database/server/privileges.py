"""A privilege that is missing → the command by which a role that may grant it does so."""

import re
import shlex

from postgres_database.server.connection import Database
from postgres_database.sql.names import identifier

KIND = (
    "foreign table|foreign server|foreign-data wrapper|materialized view|"
    "large object|event trigger|statistics object|[a-z]+"
)
DENIED = re.compile(rf"permission denied for (?P<kind>{KIND}) (?P<name>\S.*)")
OWNED = re.compile(rf"must be owner of (?P<kind>{KIND}) (?P<name>\S.*)")
OTHER = re.compile(r"permission denied to (?P<what>.+)")
RELATION = (
    "SELECT quote_ident(nspname) || '.' || quote_ident(relname), relowner FROM pg_class"
    " JOIN pg_namespace n ON n.oid = relnamespace WHERE relname = %s AND nspname !~ '^pg_|^information_schema$'"
)
OF_OURS = "table, as SQL"
ROUTINE = "SELECT oid::regprocedure::text, proowner FROM pg_proc WHERE proname = %s"
FOUND = {
    **dict.fromkeys(
        ("table", "view", "materialized view", "foreign table", "sequence", "index"), RELATION
    ),
    **dict.fromkeys(("function", "procedure", "routine", "aggregate"), ROUTINE),
    OF_OURS: "SELECT oid::regclass::text, relowner FROM pg_class WHERE oid = to_regclass(%s)",
    "schema": "SELECT quote_ident(nspname), nspowner FROM pg_namespace WHERE nspname = %s",
    "database": "SELECT quote_ident(datname), datdba FROM pg_database WHERE datname = %s",
    "type": "SELECT oid::regtype::text, typowner FROM pg_type WHERE oid = to_regtype(%s)",
    "language": "SELECT quote_ident(lanname), lanowner FROM pg_language WHERE lanname = %s",
    "foreign server": "SELECT quote_ident(srvname), srvowner FROM pg_foreign_server WHERE srvname = %s",
    "foreign-data wrapper": "SELECT quote_ident(fdwname), fdwowner FROM pg_foreign_data_wrapper WHERE fdwname = %s",
    "tablespace": "SELECT quote_ident(spcname), spcowner FROM pg_tablespace WHERE spcname = %s",
}
"""By the kind of object in the server's words, its names as SQL and its owner, by the name in the server's words."""
GRANTS = {
    **dict.fromkeys(("table", "view", "materialized view", "foreign table"), "ALL ON"),
    "sequence": "ALL ON SEQUENCE",
    "function": "EXECUTE ON FUNCTION",
    "procedure": "EXECUTE ON PROCEDURE",
    # Since PostgreSQL 15 only its owner may create in public (release notes of 15).
    "schema": "USAGE, CREATE ON SCHEMA",
    "database": "CREATE ON DATABASE",
    "type": "USAGE ON TYPE",
    "language": "USAGE ON LANGUAGE",
    "foreign server": "USAGE ON FOREIGN SERVER",
    "foreign-data wrapper": "USAGE ON FOREIGN DATA WRAPPER",
    "tablespace": "CREATE ON TABLESPACE",
}
"""What an upgrade may need, by the kind of object."""
BOOTSTRAP = 10
"""The superuser that initdb makes: who stands in for an owner that is not known."""
GRANTORS = f"""
    WITH found (shown, owner) AS ({{found}}), owner (oid) AS (
        SELECT CASE WHEN count(DISTINCT owner) = 1 THEN min(owner::oid::bigint) ELSE {BOOTSTRAP} END::oid FROM found)
    SELECT quote_ident(current_user), (SELECT string_agg(shown, ', ' ORDER BY shown) FROM found),
        pg_get_userbyid(owner.oid), pg_has_role(owner.oid, 'USAGE'), (
            SELECT rolname FROM pg_roles r
            WHERE rolcanlogin AND rolname <> current_user AND pg_has_role(r.oid, owner.oid, 'USAGE')
            ORDER BY r.oid <> owner.oid, rolsuper, rolname LIMIT 1)
    FROM owner
"""  # noqa: S608 - constants
"""The user, the objects, their owner, whether the user may do what that may, and who else may and can connect."""
NOT_KNOWN = "SELECT NULL::text, NULL::oid WHERE %s IS NULL"


class Grantor:
    """Who may grant on objects of a database, and how they are called there.

    Raises:
        ExpectedError: It does not let us in.
    """

    def __init__(self, database: Database, kind: str = "", name: str = "") -> None:
        """Find the objects of a kind by the name in the server's words; without them a superuser grants."""
        query = GRANTORS.format(found=FOUND.get(kind, NOT_KNOWN))
        with database.connect() as connection, connection.begin():
            row = connection.exec_driver_sql(query, (name,)).one()
        self.database = database
        self.user, shown, self.owner, self.is_user, self.login = row
        self.objects = shown or identifier(name)
        self.is_found = shown is not None

    def runs(self, statement: str, note: str = "") -> str:
        """Return the command by which the grantor runs a statement, and a note behind it."""
        command = f"invoke psql{self.database.env_option}"
        who = ""
        if not self.is_user:
            role = self.login or self.owner
            command += f" --user {shlex.quote(role)}"
            may = "owns that" if self.is_found and role == self.owner else "may grant that"
            who = f"{role} {may}; psql asks for its password"
        notes = "; ".join(filter(None, (who, note)))
        return f"{command} --command {shlex.quote(statement)}" + (f"   ({notes})" if notes else "")


def to_read(table: str, said: str, database: Database) -> str:
    """Return what to type next for a command that only reads a table and may not.

    Args:
        table: Schema and name, as SQL.
        said: The server's words.
        database: Where it is.
    """
    more = "that is enough to read; an upgrade needs a role that owns the tables"
    denied = DENIED.search(said)
    if denied and denied["kind"] == "schema":
        grantor = Grantor(database, "schema", denied["name"].strip())
        return grantor.runs(f"GRANT USAGE ON SCHEMA {grantor.objects} TO {grantor.user}", more)
    grantor = Grantor(database, OF_OURS, table)
    return grantor.runs(f"GRANT SELECT ON {table} TO {grantor.user}", more)


def advice(said: str, database: Database) -> str:
    """Return what to type next, by the server's words; empty if they name no privilege.

    Raises:
        ExpectedError: The database lets us in no more.
    """
    if denied := DENIED.search(said):
        kind, name = denied["kind"], denied["name"].strip()
        if kind in GRANTS:
            grantor = Grantor(database, kind, name)
            return grantor.runs(f"GRANT {GRANTS[kind]} {grantor.objects} TO {grantor.user}")
        needed = f"a role that may use {kind} {name}, or a superuser has done it"
    elif owned := OWNED.search(said):
        kind, name = owned["kind"], owned["name"].strip()
        grantor = Grantor(database, kind, name)
        named = f"{grantor.owner}, the" if grantor.is_found else "the"
        needed = f"{named} owner of {kind} {name}, or a member of that role"
    elif other := OTHER.search(said):
        needed = f"a role that may {other['what'].strip()}, or a superuser has done it"
    else:
        return ""
    return f"invoke status{database.env_option}   (once the DSN names {needed})"

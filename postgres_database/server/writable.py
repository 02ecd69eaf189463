"""Whether a database can be written: a standby cannot, nor one that a setting makes read-only."""

import sqlalchemy as sa

from postgres_database.errors import ExpectedError
from postgres_database.server.connection import Database
from postgres_database.sql.names import identifier

STATE = sa.text("""
    SELECT current_setting('transaction_read_only'), pg_is_in_recovery(), session_user,
           (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only')
""")
RESETS = {
    "database": "ALTER DATABASE {database} RESET {setting}",
    "user": "ALTER ROLE {user} RESET {setting}",
    "database user": "ALTER ROLE {user} IN DATABASE {database} RESET {setting}",
}
"""What ends that a setting comes from there (PostgreSQL manual, pg_settings)."""
SETTING = "default_transaction_read_only"


def require_writable(database: Database, connection: sa.Connection) -> None:
    """Raise ExpectedError if the database is read-only."""
    with connection.begin():
        read_only, standby, user, source = connection.execute(STATE).one()
    if read_only != "on":
        return
    cause = "it is a standby"
    hint = database.until(
        "it names the primary; with several hosts, add target_session_attrs=read-write"
    )
    if not standby:
        names = {"user": identifier(user), "database": identifier(database.dsn.database)}
        cause = f"{SETTING} is on; where it is set: {source}"
        hint = database.until(f"its options do not set {SETTING}")
        if reset := RESETS.get(source, "").format(**names, setting=SETTING):
            sql = f"BEGIN READ WRITE; {reset}; COMMIT"
            hint = (
                f"invoke psql{database.env_option} --command '{sql}'   (as its owner or a superuser; or the DSN names"
                " a role that may write)"
            )
        elif source == "configuration file":
            hint = (
                f"invoke status{database.env_option}   (once its configuration lets it be written: a provider sets that"
                " where a disk is full)"
            )
    raise ExpectedError(f"{database.dsn} is read-only", cause=cause, hint=hint)

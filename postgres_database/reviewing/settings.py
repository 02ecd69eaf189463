"""The settings by which the same statement does one thing here and another there, given to a scratch database."""

from collections.abc import Mapping

from postgres_database.server.connection import Database
from postgres_database.sql.names import literal, quoted

NAMES = (
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "standard_conforming_strings",
    "default_text_search_config",
    "xmloption",
    "array_nulls",
)
WORST: Mapping[str, str] = {"TimeZone": "Asia/Kolkata"}
"""Without a target: outside of UTC, timestamp → timestamptz rewrites the table (manual, ALTER TABLE, "Notes")."""


def of_target(database: Database) -> Mapping[str, str]:
    """Return the settings of a target."""
    with database.connect() as connection:
        return {
            name: str(connection.exec_driver_sql("SELECT current_setting(%s)", (name,)).scalar())
            for name in NAMES
        }


def give(database: Database, settings: Mapping[str, str]) -> None:
    """Let each later session of a scratch database have settings."""
    name = quoted(database.dsn.database)
    with database.connect(autocommit=True) as connection:
        for setting, value in settings.items():
            text = f"ALTER DATABASE {name} SET {setting} TO {literal(value)}".replace("%", "%%")
            connection.exec_driver_sql(text)


def server_of(database: Database) -> str:
    """Return the version of the server of a database."""
    with database.connect() as connection:
        return str(connection.exec_driver_sql("SHOW server_version").scalar_one())

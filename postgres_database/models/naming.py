"""Where the naming convention was; it is the tool's now."""

from postgres_database.naming import NAMING_CONVENTION

__all__ = ["NAMING_CONVENTION"]

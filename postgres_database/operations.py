"""Where scripts that earlier versions wrote find what they import; new scripts find all on `op`."""

from postgres_database.history.operations import SqlType

__all__ = ["SqlType"]

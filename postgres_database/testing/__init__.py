"""For the tests of a project, in pytest: what any history must hold, and a database at its head for each test.

    histories  what any history must hold
    stock      databases at head, made before they are asked for
    fixtures   the fixtures of pytest that hand them out

Works on scratch databases only; no target is read. docs/testing.md shows how it is used.
"""

from postgres_database.testing.fixtures import database_at_head, database_with_rows
from postgres_database.testing.histories import Schema
from postgres_database.testing.stock import DatabaseAtHead

__all__ = ["DatabaseAtHead", "Schema", "database_at_head", "database_with_rows"]

"""The schema: what the database should be.

A new module of models is imported here, or its tables are in no script.
"""

from postgres_database.models import computation, projects, storage, users
from postgres_database.models.base import Base

__all__ = ["Base", "computation", "metadata", "projects", "storage", "users"]

metadata = Base.metadata

"""The models of the checkout that tests type commands into."""

from . import storage, users
from .base import Base

__all__ = ["metadata", "storage", "users"]

metadata = Base.metadata

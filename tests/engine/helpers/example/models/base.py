"""What all models stand on."""

from sqlalchemy import MetaData, Text
from sqlalchemy.orm import DeclarativeBase

from postgres_database.naming import NAMING_CONVENTION


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {str: Text}  # noqa: RUF012 - as SQLAlchemy wants it

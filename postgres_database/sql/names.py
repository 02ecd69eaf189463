"""Names and literals: written into SQL, and read out of it; pure."""

import re
from typing import NamedTuple

from sqlalchemy.dialects import postgresql

IDENTIFIER = r'(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)'
QUALIFIED = rf"{IDENTIFIER}\.{IDENTIFIER}"
NAME = rf"{IDENTIFIER}(?:\.{IDENTIFIER})?"
DEFAULT_SCHEMA = "public"
"""Where models without a schema have their tables, as in a database of PostgreSQL's own making."""
PREPARER = postgresql.dialect(paramstyle="named").identifier_preparer  # type: ignore[no-untyped-call]


def quoted(name: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def identifier(name: str) -> str:
    """Return an identifier as it stands in SQL that people read: in quotes only if it needs them."""
    return PREPARER.quote(name)


def literal(text: str) -> str:
    """Return a string for SQL (PostgreSQL manual, "String Constants")."""
    escaped = text.replace("'", "''")
    return f"E'{escaped}'".replace("\\", "\\\\") if "\\" in text else f"'{escaped}'"


def unquoted(sql: str) -> tuple[str, ...]:
    """Return the parts of a name, as PostgreSQL has them after reading it."""
    return tuple(
        part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()
        for part in re.findall(IDENTIFIER, sql)
    )


def bare(sql: str) -> str:
    """Return the last part of a name, as the catalog has it."""
    return unquoted(sql)[-1]


class Name(NamedTuple):
    """The name of something in a schema."""

    schema: str
    name: str

    @classmethod
    def of(cls, schema: str | None, name: str) -> "Name":
        """Return a name as SQLAlchemy and Alembic say it: without the default schema."""
        return cls(str(schema or DEFAULT_SCHEMA), str(name))

    @classmethod
    def read(cls, sql: str) -> "Name":
        """Return a name that SQL writes, in the default schema if it says none."""
        return cls(*[DEFAULT_SCHEMA, *unquoted(sql)][-2:])

    @property
    def sql(self) -> str:
        """Return the name for SQL."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    def __str__(self) -> str:
        """Return the name for people, who leave out `public`."""
        return self.name if self.schema == DEFAULT_SCHEMA else f"{self.schema}.{self.name}"

    @property
    def given_schema(self) -> str | None:
        """Return the schema as SQLAlchemy and Alembic take it: None for the default one."""
        return None if self.schema == DEFAULT_SCHEMA else self.schema

"""Names and literals: written into SQL, and read out of it; pure."""

import re
from functools import cache
from typing import Any, NamedTuple

IDENTIFIER = r'(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)'
QUALIFIED = rf"{IDENTIFIER}\.{IDENTIFIER}"
NAME = rf"{IDENTIFIER}(?:\.{IDENTIFIER})?"
NOT_NULL = re.compile(r"_not_null\d*$")
LONGEST = 63
"""The most bytes of a name."""
DEFAULT_SCHEMA = "public"
"""The schema of tables for which models name none."""


def quoted(name: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def identifier(name: str) -> str:
    """Quote an identifier for SQL only if it needs quotes."""
    return str(_preparer().quote(name)) if name else quoted(name)


@cache
def _preparer() -> Any:
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - most names are always quoted

    return postgresql.dialect(paramstyle="named").identifier_preparer  # type: ignore[no-untyped-call]


def literal(text: str) -> str:
    """Return a string constant for SQL, escaped (PostgreSQL manual, "String Constants")."""
    escaped = text.replace("'", "''")
    return f"E'{escaped}'".replace("\\", "\\\\") if "\\" in text else f"'{escaped}'"


def unquoted(sql: str) -> tuple[str, ...]:
    """Return the parts of a dotted name in SQL as the catalog stores them: unquoted, otherwise folded to lower case."""
    return tuple(
        part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()
        for part in re.findall(IDENTIFIER, sql)
    )


def bare(sql: str) -> str:
    """Return the last part of a dotted name in SQL as the catalog stores it."""
    return unquoted(sql)[-1]


def is_own_not_null(table: str, column: str, name: str) -> bool:
    """Tell whether PostgreSQL itself may have given this name to a NOT NULL constraint (`makeObjectName`, indexcmds.c).

    In a name that would be too long, it cuts those of the table and the column; one that is taken gets a number.
    """
    stem = NOT_NULL.sub("", name)
    places = (place for place, mark in enumerate(stem) if mark == "_")
    cut = (
        len(name.encode()) > LONGEST - 4
        and any(  # a character has up to four bytes
            table.startswith(stem[:place]) and column.startswith(stem[place + 1 :])
            for place in places
        )
    )
    return stem != name and (stem == f"{table}_{column}" or cut)


class Name(NamedTuple):
    """The name of an object, with its schema; both as the catalog stores them."""

    schema: str
    name: str

    @classmethod
    def of(cls, schema: str | None, name: str) -> "Name":
        """Return the name from a schema and name as SQLAlchemy and Alembic give them: None is the default schema."""
        return cls(str(schema or DEFAULT_SCHEMA), str(name))

    @classmethod
    def read(cls, sql: str) -> "Name":
        """Parse a name in SQL; without a schema it is in the default one."""
        return cls(*[DEFAULT_SCHEMA, *unquoted(sql)][-2:])

    @property
    def sql(self) -> str:
        """The qualified name, quoted for SQL where needed."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    def __str__(self) -> str:
        """Return the name for messages: without the default schema."""
        return self.name if self.schema == DEFAULT_SCHEMA else f"{self.schema}.{self.name}"

    @property
    def given_schema(self) -> str | None:
        """The schema as SQLAlchemy and Alembic take it: None for the default one."""
        return None if self.schema == DEFAULT_SCHEMA else self.schema

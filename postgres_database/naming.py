"""The names that PostgreSQL itself gives to constraints and indexes.

A database that was online before it had scripts carries the names that PostgreSQL chose. The
naming convention chooses the same ones, so that models and database agree without a rename. Its
rules are those of PostgreSQL's indexcmds.c, pg_constraint.c, heap.c and parse_target.c.

PostgreSQL reads a whole CREATE TABLE before it names anything; SQLAlchemy names a constraint as
soon as its table has it. So a CHECK has to stand behind the columns that it mentions.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import takewhile
from string import ascii_lowercase, ascii_uppercase
from typing import Any, cast

from sqlalchemy import (
    CheckConstraint,
    ClauseElement,
    Column,
    ColumnElement,
    Constraint,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.schema import AddConstraint

NAME_BYTES = 63
LABELS: dict[type[Constraint | Index], str] = {
    PrimaryKeyConstraint: "pkey",
    UniqueConstraint: "key",
    ForeignKeyConstraint: "fkey",
    CheckConstraint: "check",
    ExcludeConstraint: "excl",
    Index: "idx",
}
BACKED_BY_INDEX = (PrimaryKeyConstraint, UniqueConstraint, ExcludeConstraint)

# The paramstyle of psycopg2 would double every %.
DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
WORD = r"[^\W\d][\w$]*"
TOKEN = re.compile(
    rf"""[eE]'(?:[^'\\]|\\.|'')*'|'[^']*'|"(?:[^"]|"")*"|{WORD}|\d[\w.]*|::|\S""", re.DOTALL
)
ASCII_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
# Functions and types that PostgreSQL calls otherwise than SQL does.
INTERNAL_NAMES = {
    "trim": "btrim", "bigint": "int8", "boolean": "bool", "char": "bpchar", "character": "bpchar",
    "character varying": "varchar", "decimal": "numeric", "double precision": "float8",
    "float": "float8", "int": "int4", "integer": "int4", "real": "float4", "smallint": "int2",
    "timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp",
}  # fmt: skip


def postgresql_name(item: Constraint | Index, table: Table) -> str:
    """Return the name that PostgreSQL gives to a constraint or an index that has none."""
    label = next(label for kind, label in LABELS.items() if isinstance(item, kind))
    addition = "_".join(_parts(item, table))
    name, taken, number = _join(table.name, addition, label), _taken(item, table), 0
    while name in taken:
        number += 1
        name = _join(table.name, addition, f"{label}{number}")
    return name


def _join(table: str, addition: str, label: str) -> str:
    """Join the parts; beyond 63 bytes the longer of the first two gives way, byte by byte."""
    parts = [part for part in (_clip(table), addition) if part]
    sizes = [len(part.encode()) for part in parts]
    while sum(sizes) + len(sizes) + len(label) > NAME_BYTES:
        sizes[0 if sizes[0] > sum(sizes[1:]) else -1] -= 1
    return "_".join([*map(_clip, parts, sizes), label])


@cache
def _clip(name: str, size: int = NAME_BYTES) -> str:
    """Cut a name to a number of bytes, never within a character."""
    return name.encode()[:size].decode(errors="ignore")


def _taken(item: Constraint | Index, table: Table) -> set[str]:
    """Return the names in the schema that the item must not have.

    A relation differs from all relations and a constraint from all constraints; a constraint that
    stands on an index is both.
    """
    taken, ours = set(), _clip(table.name, 24)
    for other in table.metadata.tables.values():
        # Of its table's name a name keeps 24 bytes at least, so few tables need a closer look.
        theirs = _clip(other.name, 24)
        if other.schema != table.schema or not (ours.startswith(theirs) or theirs.startswith(ours)):
            continue
        if isinstance(item, (Index, *BACKED_BY_INDEX)):
            taken.add(_clip(other.name))
            taken.update(str(index.name) for index in other.indexes if index is not item)
        at_columns = (constraint for column in other.columns for constraint in column.constraints)
        for constraint in (*other.constraints, *at_columns):
            shared = not isinstance(item, Index) or isinstance(constraint, BACKED_BY_INDEX)
            if shared and constraint is not item:
                taken.add(str(constraint.name))
    return taken


def _parts(item: Constraint | Index, table: Table) -> list[str]:
    """Return what stands for the columns between the table's name and the label."""
    match item:
        case PrimaryKeyConstraint():
            return []
        case CheckConstraint():
            mentioned = set(_mentioned(_tokens(item.sqltext), table))
            return list(mentioned) if len(mentioned) == 1 else []
        case ForeignKeyConstraint():
            return [_clip(key.parent.name) for key in item.elements]
        case ExcludeConstraint():
            names = list(_excluded(_tokens(AddConstraint(item, isolate_from_table=False))))
        case Index():
            keys = cast("Sequence[ColumnElement[Any]]", item.expressions)
            names = [_primary(_tokens(key.self_group()))[0] for key in keys]
        case UniqueConstraint():
            names = [column.name for column in item.columns]
    include: list[str | Column[Any]] = item.dialect_options["postgresql"].get("include") or []
    names += [column if isinstance(column, str) else column.name for column in include]
    return _numbered([_clip(name or "expr") for name in names])


def _numbered(names: Sequence[str]) -> list[str]:
    """Number names that come again, as PostgreSQL does for the columns of an index."""
    unique: list[str] = []
    for name in names:
        numbered = (_clip(name, NAME_BYTES - len(f"{n}")) + f"{n}" for n in range(1, len(names)))
        unique.append(next(free for free in (name, *numbered) if free not in unique))
    return unique


def _tokens(clause: ClauseElement) -> list[str]:
    """Write a clause as DDL has it and take it apart."""
    how = {"include_table": False, "literal_binds": True}
    return TOKEN.findall(str(clause.compile(dialect=DIALECT, compile_kwargs=how)))


def _identifier(token: str) -> str | None:
    """Return the name that a token is, if it is one."""
    if token[0] == '"':
        return _clip(token[1:-1].replace('""', '"'))
    return _clip(token.translate(ASCII_LOWER)) if re.fullmatch(WORD, token) else None


def _mentioned(tokens: list[str], table: Table) -> Iterator[str]:
    """Find the columns in a CHECK: their names, unless used for a function, table or type."""
    columns = {_clip(column.name) for column in table.columns}
    for before, token, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        name = _identifier(token)
        if name in columns and before not in {"::", "AS"} and after[:1] not in {"(", ".", "'"}:
            yield str(name)


def _excluded(tokens: list[str]) -> Iterator[str | None]:
    """Find the elements in ALTER TABLE … ADD EXCLUDE USING … (<element> WITH <operator>, …)."""
    rest = tokens[tokens.index("EXCLUDE") + 3 :]
    while rest[0] != ")":
        name, rest = _primary(rest[1:])
        yield name
        while rest[0] not in {",", ")"}:
            rest = rest[_end(rest) :]


def _end(tokens: list[str]) -> int:
    """Return where the first token ends; with all that it encloses, if it is a parenthesis."""
    depth = 0
    for end, token in enumerate(tokens, 1):
        depth += (token in {"(", "["}) - (token in {")", "]"})
        if depth <= 0:
            return end
    return len(tokens)


def _primary(tokens: list[str]) -> tuple[str | None, list[str]]:
    """Name the column, call or parenthesis that comes first, and return what follows it."""
    end = _end(tokens)
    if tokens[0] == "(":
        return _expression(tokens[1 : end - 1]), tokens[end:]
    while tokens[end : end + 1] == ["."]:
        end += 2
    name, rest = _identifier(tokens[end - 1]), tokens[end:]
    if name and rest[:1] == ["("]:
        inside, rest = rest[1 : _end(rest) - 1], rest[_end(rest) :]
        if name == "cast":
            at = max(at for at, token in enumerate(inside) if token.upper() == "AS")
            return _expression(["(", *inside[:at], ")", "::", *inside[at + 1 :]]), rest
        name = INTERNAL_NAMES.get(name, name)
    return name, rest


def _expression(tokens: list[str]) -> str | None:
    """Name an expression after its column, its function or else the type that it is cast to."""
    name, rest = _primary(tokens)
    type_name = None
    while rest:
        match [token.upper() for token in rest[:3]]:
            case ["[", *_]:
                rest = rest[_end(rest) :]
            case ["COLLATE", *_]:
                rest = _primary(rest[1:])[1]
            case ["AT", "TIME", "ZONE"]:
                name, rest = "timezone", _primary(rest[3:])[1]
            case ["::", *_]:
                kind = list(takewhile(lambda t: t.upper() not in {"::", "AT", "COLLATE"}, rest[1:]))
                words = [token for token in kind if not re.match(r"[\d().,[\]]", token)]
                phrase = " ".join(words).lower()
                if phrase not in INTERNAL_NAMES and len(words) > 1 + kind.count("."):
                    return None  # an operator follows
                type_name = INTERNAL_NAMES.get(phrase, _identifier(words[-1]))
                rest = rest[1 + len(kind) :]
            case _:
                return None
    return name or type_name


NAMING_CONVENTION: dict[Any, Any] = {
    **dict.fromkeys(("pk", "uq", "fk", "ck", "ix", ExcludeConstraint), "%(postgresql)s"),
    "postgresql": postgresql_name,
}
"""For `MetaData(naming_convention=…)`: names for whatever has none."""

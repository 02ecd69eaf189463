"""Statements that have a form that is safe beside live traffic, taken apart. Pure: no database."""

import re
from dataclasses import dataclass
from hashlib import sha256

from postgres_database.sql import rules
from postgres_database.sql.names import IDENTIFIER, NAME, bare, identifier
from postgres_database.sql.tokens import split

TABLE = rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(?P<table>{NAME})\s+"
FORMS = {
    "index": rf"CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"(?P<name>{IDENTIFIER})\s+ON\s+(?:ONLY\s+)?(?P<table>{NAME})\s*(?P<body>(?:USING\b|\().*)",
    "drop index": rf"DROP\s+INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+EXISTS\s+)?(?P<name>{NAME})",
    "key": rf"{TABLE}ADD\s+CONSTRAINT\s+(?P<name>{IDENTIFIER})\s+(?P<kind>UNIQUE|PRIMARY\s+KEY)\b(?P<body>.*)",
    "rule": rf"{TABLE}ADD\s+CONSTRAINT\s+(?P<name>{IDENTIFIER})\s+(?P<body>(?P<kind>FOREIGN\s+KEY|CHECK)\b.*)",
    "not null": rf"{TABLE}ALTER\s+(?:COLUMN\s+)?(?P<name>{IDENTIFIER})\s+SET\s+NOT\s+NULL",
    "validate": rf"{TABLE}VALIDATE\s+CONSTRAINT\s+(?P<name>{IDENTIFIER})",
    "value": rf"ALTER\s+TYPE\s+{NAME}\s+ADD\s+VALUE\s+(?!IF\s+NOT\s+EXISTS)(?P<body>.*)",
}
KEY = re.compile(
    r"\s*(?P<nulls>NULLS\s+(?:NOT\s+)?DISTINCT\s*)?(?P<columns>\([^()]*\))(?P<include>\s*INCLUDE\s*\([^()]*\))?"
    r"(?P<end>(?:\s+(?:NOT\s+)?DEFERRABLE)?(?:\s+INITIALLY\s+\w+)?)\s*",
    re.IGNORECASE,
)
LONGEST_NAME = 63  # bytes: PostgreSQL manual, "Identifiers and Key Words"
CONCURRENTLY = re.compile(
    r"(?:CREATE\s+(?:UNIQUE\s+)?|DROP\s+)INDEX\s+CONCURRENTLY\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Statement:
    """A statement that has a safe form."""

    form: str
    """A key of FORMS."""
    sql: str
    table: str = ""
    name: str = ""
    """Of the index, constraint or column, as it stands in the statement."""
    kind: str = ""
    body: str = ""
    unique: bool = False

    @property
    def concurrent(self) -> bool:
        """Whether it says CONCURRENTLY itself."""
        return CONCURRENTLY.match(self.sql) is not None


def parse(sql: str) -> Statement | None:
    """Take a statement apart; None if no form of it is safer than the one it has."""
    text = sql.strip().rstrip(";").rstrip()
    for form, pattern in FORMS.items():
        match = re.fullmatch(pattern, text, re.IGNORECASE | re.DOTALL)
        if match is None:
            continue
        parts = {name: part or "" for name, part in match.groupdict().items()}
        unique = bool(parts.pop("unique", "")) or form == "key"
        kind = " ".join(parts.pop("kind", "").upper().split())
        found = Statement(form, text, kind=kind, unique=unique, **parts)
        return found if _is_whole(found) else None
    return None


def _is_whole(found: Statement) -> bool:
    """Tell whether the statement does just one thing that we know."""
    if found.form == "key":
        parts = KEY.fullmatch(found.body)
        return parts is not None and not rules.overlaps(parts["columns"][1:-1])
    if found.form == "rule":
        return len(split(found.body, ",")) == 1 and not rules.believed(found.body)
    return True


def key_body(statement: Statement) -> str:
    """Return what stands behind the table in the index of a key."""
    parts = KEY.fullmatch(statement.body)
    if parts is None:
        return statement.body
    nulls = (parts["nulls"] or "").strip()
    return " ".join(filter(None, [parts["columns"], (parts["include"] or "").strip(), nulls]))


def key_columns(statement: Statement) -> tuple[str, ...]:
    """Return the columns of a key, as they stand there."""
    parts = KEY.fullmatch(statement.body)
    return rules.columns(parts["columns"][1:-1]) if parts else ()


def using_index(statement: Statement, table: str = "", index: str = "") -> str:
    """Return what makes an index a key: that of the same name, unless another is named."""
    parts = KEY.fullmatch(statement.body)
    end = parts["end"] if parts else ""
    add = f"ALTER TABLE {table or statement.table} ADD CONSTRAINT {statement.name}"
    return f"{add} {statement.kind} USING INDEX {index or statement.name}{end}"


def filled(table: str, column: str) -> str:
    """Return the name of the check that a column is filled, which stands until it is NOT NULL."""
    name = f"{bare(table)}_{bare(column)}_is_filled"
    if len(name.encode()) > LONGEST_NAME:
        name = f"{sha256(name.encode()).hexdigest()[:16]}_is_filled"
    return identifier(name)


def offline(statement: Statement) -> list[str]:
    """Return the safe form without a look at the database, for people who run it by hand."""
    table, name = statement.table, statement.name
    alter = f"ALTER TABLE {table}"
    build = (
        f"CREATE {'UNIQUE ' * statement.unique}INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table}"
    )
    rule = filled(table, name) if statement.form == "not null" else name
    validate = f"{alter} VALIDATE CONSTRAINT {rule}"
    check = f"{alter} ADD CONSTRAINT {rule} CHECK ({name} IS NOT NULL) NOT VALID"
    return {
        "index": [f"{build} {statement.body}"],
        "drop index": [f"DROP INDEX CONCURRENTLY IF EXISTS {name}"],
        "key": [f"{build} {key_body(statement)}", using_index(statement)],
        "rule": [f"{statement.sql} NOT VALID", validate],
        "not null": [check, validate, statement.sql, f"{alter} DROP CONSTRAINT {rule}"],
        "validate": [statement.sql],
        "value": [f"{statement.sql.removesuffix(statement.body)}IF NOT EXISTS {statement.body}"],
    }[statement.form]

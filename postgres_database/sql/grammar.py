"""Which statements change rows, or what rows must be, by their text. Pure: no database.

PostgreSQL manual, "SQL Commands". Statements stand on one line outside quotes, as `tokens.statements` returns them.
"""

import re

from postgres_database.sql.names import IDENTIFIER

NAME = rf"{IDENTIFIER}(?: ?\. ?{IDENTIFIER})?"
FLAGS = re.IGNORECASE | re.DOTALL
# Statements that neither change rows nor what rows must be, by their beginning.
HARMLESS = re.compile(
    r"(?:COMMENT|GRANT|REVOKE|ANALY[ZS]E|VACUUM|REINDEX|CLUSTER|LOCK|SECURITY LABEL|RESET|SHOW|NOTIFY|BEGIN|START"
    r"|COMMIT|SAVEPOINT|RELEASE|CREATE SCHEMA(?!.* CREATE )|DROP (?:VIEW|TRIGGER|RULE|EVENT TRIGGER)"
    r"|SET (?!.*\b(?:DATESTYLE|INTERVALSTYLE|TIMEZONE|SEARCH_PATH|SCHEMA|ROLE|AUTHORIZATION|ZONE)\b)"
    r"|ALTER (?:VIEW|TRIGGER|RULE|MATERIALIZED VIEW|FOREIGN TABLE)"
    r"|(?:CREATE|ALTER|DROP) (?:INDEX|(?:TEMP |TEMPORARY |UNLOGGED )?SEQUENCE|POLICY|STATISTICS|PUBLICATION|ROLE|USER"
    r"|GROUP|SERVER|FOREIGN DATA|TEXT SEARCH|ACCESS METHOD|TABLESPACE|DATABASE|DEFAULT PRIVILEGES))\b",
    FLAGS,
)
WRITES = re.compile(
    rf"\b(?:INTO|UPDATE(?: ONLY)?|DELETE FROM(?: ONLY)?|COPY|REFRESH MATERIALIZED VIEW(?: CONCURRENTLY)?) ({NAME})",
    FLAGS,
)
DELETES = re.compile(rf"\bDELETE FROM (?:ONLY )?({NAME})", FLAGS)
CALLS = re.compile(rf"({NAME}) ?\(")


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, FLAGS)


TABLE = rf"ALTER TABLE (?:IF EXISTS )?(?P<only>ONLY )?(?P<name>{NAME})(?: ?\*)? "
NAMES = rf"(?P<names>{NAME}(?: ?, ?{NAME})*)"
RULE = r"(?:CHECK|UNIQUE|PRIMARY KEY|FOREIGN KEY|EXCLUDE|NOT NULL)\b"
ADD_RULE = rf"ADD (?:CONSTRAINT (?P<name>{IDENTIFIER}) )?(?P<rest>{RULE}.*)"
VALIDATE = rf"VALIDATE CONSTRAINT (?P<name>{IDENTIFIER})"


# What a statement is, by its beginning.
STATEMENTS: list[tuple[re.Pattern[str], str]] = [
    (_compiled(rf"{TABLE}(?P<what>RENAME TO|SET SCHEMA) (?P<new>{IDENTIFIER})"), "move"),
    (_compiled(rf"{TABLE}(?P<actions>.*)"), "table"),
    (_compiled(rf"ALTER DOMAIN (?P<name>{NAME}) (?P<action>.*)"), "domain"),
    (
        _compiled(
            rf"CREATE UNIQUE INDEX (?:CONCURRENTLY )?(?P<unless>IF NOT EXISTS )?(?:(?!ON )(?P<index>{IDENTIFIER}) )?"
            rf"ON (?P<only>ONLY )?(?P<name>{NAME})(?: USING {IDENTIFIER})? ?\("
        ),
        "index",
    ),
    (
        _compiled(
            r"CREATE (?:(?:GLOBAL |LOCAL )?(?:TEMP|TEMPORARY|UNLOGGED|FOREIGN) )?(?:TABLE|MATERIALIZED VIEW)"
            rf" (?:IF NOT EXISTS )?(?P<name>{NAME})"
        ),
        "make",
    ),
    (
        _compiled(rf"DROP (?P<kind>TABLE|FOREIGN TABLE|MATERIALIZED VIEW) (?:IF EXISTS )?{NAMES}"),
        "drop",
    ),
    (_compiled(rf"DROP SCHEMA (?:IF EXISTS )?{NAMES}"), "drop_schema"),
    (
        _compiled(rf"ALTER SCHEMA (?P<name>{IDENTIFIER}) RENAME TO (?P<new>{IDENTIFIER})"),
        "move_schema",
    ),
    (
        _compiled(
            r"SET (?:(?:SESSION|LOCAL) )?(?:SEARCH_PATH|SCHEMA|ROLE|SESSION AUTHORIZATION|AUTHORIZATION)\b"
        ),
        "lead_elsewhere",
    ),
    (_compiled(rf"TRUNCATE (?:TABLE )?(?:ONLY )?{NAMES}"), "truncate"),
    (
        _compiled(
            r"CREATE (?:OR REPLACE )?(?:TEMP |TEMPORARY |RECURSIVE |CONSTRAINT |EVENT )*(?:VIEW|TRIGGER|RULE)\b"
        ),
        "indirect",
    ),
    (
        _compiled(
            r"(?:(?:CREATE|ALTER|DROP) (?:OR REPLACE )?(?:FUNCTION|PROCEDURE|AGGREGATE|ROUTINE|TYPE|DOMAIN|COLLATION)"
            rf"|(?:CREATE|DROP) EXTENSION) (?:IF (?:NOT )?EXISTS )?{NAMES}"
        ),
        "define",
    ),
    (
        _compiled(r"(?:WITH|INSERT|UPDATE|DELETE|MERGE|SELECT|VALUES|COPY|REFRESH|EXPLAIN)\b"),
        "query",
    ),
]
# What an action of ALTER TABLE is, and when PostgreSQL does it: first it drops, then it changes types, then it adds.
ACTIONS: list[tuple[int, re.Pattern[str], str]] = [
    (turn, _compiled(pattern), act)
    for turn, pattern, act in (
        (0, rf"DROP CONSTRAINT (?:IF EXISTS )?(?P<name>{IDENTIFIER})", "drop_constraint"),
        (
            0,
            rf"DROP (?:COLUMN )?(?:IF EXISTS )?(?!CONSTRAINT )(?P<column>{IDENTIFIER})",
            "drop_column",
        ),
        (
            1,
            rf"ALTER (?:COLUMN )?(?P<column>{IDENTIFIER}) (?:SET DATA )?TYPE (?P<rest>.*)",
            "cast",
        ),
        (
            2,
            rf"ADD (?!CONSTRAINT |{RULE})(?:COLUMN )?(?:IF NOT EXISTS )?(?P<column>{IDENTIFIER}) (?P<rest>.*)",
            "add_column",
        ),
        (2, rf"ALTER (?:COLUMN )?(?P<column>{IDENTIFIER}) SET EXPRESSION", "nothing"),
        (3, rf"ALTER (?:COLUMN )?(?P<of>{IDENTIFIER}) SET NOT NULL", "not_null"),
        (3, ADD_RULE, "add_constraint"),
        (3, VALIDATE, "validate"),
        (
            3,
            rf"RENAME (?:COLUMN |CONSTRAINT )?(?P<old>{IDENTIFIER}) TO (?P<new>{IDENTIFIER})",
            "rename",
        ),
        (3, rf"(?:DETACH PARTITION|NO INHERIT) (?P<name>{NAME})", "separate"),
    )
]
DOMAIN_ACTIONS: list[tuple[re.Pattern[str], str]] = [
    (_compiled("SET NOT NULL"), "no_null"),
    (_compiled(ADD_RULE), "add_constraint"),
    (_compiled(VALIDATE), "validate"),
]

"""Whether a query on a target would run code of an untrusted role: functions, operators, casts, checks of domains.

A function runs with the rights of its caller and can use them for anything; neither SET ROLE nor a read-only
transaction prevents that. So a query is only run if everything that it would call belongs to a superuser, or to a
member of the session user's role, who has these rights anyway. What those functions call in turn is not checked.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from postgres_database.sql.names import unquoted
from postgres_database.sql.tokens import TOKEN

Ask = Callable[[str, dict[str, Any]], list[Any]]
"""Runs a query about the catalog, with nothing but pg_catalog on the search path."""

# Functions of PostgreSQL that execute a text as SQL, or read one as a value of any type.
TEXTS = re.compile(
    r".*_to_xml(?:schema|_and_xmlschema)?|ts_stat|ts_rewrite|pg_input_\w+|(?:domain|record|array|range|multirange)_(?:in|recv)"
)
OPERATOR = re.compile(r"[-+*/<>=~!@#%^&|`?]+")
# Operators that syntax uses without naming them: IN, BETWEEN, LIKE, CASE, DISTINCT, …
IMPLIED = ("=", "<>", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~", "||", "+", "-")
# Planning a query evaluates what is constant in the expressions of all indexes, constraints, statistics and partition
# keys of a table, and reading it evaluates virtual columns: so all of these count, of partitions and children, too.
FUNCTIONS = """
    WITH RECURSIVE tables (oid) AS (
        SELECT unnest(%(tables)s::oid[])
        UNION
        SELECT CASE i.inhparent WHEN t.oid THEN i.inhrelid ELSE i.inhparent END
        FROM tables t JOIN pg_inherits i ON t.oid IN (i.inhparent, i.inhrelid)
    ), reachable (oid) AS (
        SELECT oid FROM pg_namespace
        WHERE nspname = ANY (%(schemas)s::text[]) OR nspname = ANY (%(names)s::text[])
    ), holders (classid, objid) AS (
        SELECT 'pg_class'::regclass, oid FROM tables
        UNION ALL
        SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i JOIN tables t ON i.indrelid = t.oid
        UNION ALL
        SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c JOIN tables t ON c.conrelid = t.oid
        UNION ALL
        SELECT 'pg_statistic_ext'::regclass, s.oid FROM pg_statistic_ext s JOIN tables t ON s.stxrelid = t.oid
        UNION ALL
        SELECT 'pg_attrdef'::regclass, d.oid
        FROM pg_attrdef d
        JOIN tables t ON d.adrelid = t.oid
        JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated = 'v'
    ), named (oid) AS (
        SELECT oid FROM pg_type
        WHERE typname = ANY (%(names)s::text[]) AND typnamespace IN (SELECT oid FROM reachable)
        UNION
        SELECT part FROM named n CROSS JOIN LATERAL (
            SELECT unnest(ARRAY[t.typelem, t.typbasetype]) FROM pg_type t WHERE t.oid = n.oid
            UNION ALL
            SELECT a.atttypid FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0
            WHERE t.oid = n.oid
        ) AS parts (part)
        WHERE part <> 0
    ), used (classid, objid) AS (
        SELECT d.refclassid, d.refobjid FROM holders h JOIN pg_depend d USING (classid, objid)
        UNION
        SELECT d.refclassid, d.refobjid
        FROM pg_constraint c
        JOIN named n ON c.contypid = n.oid
        JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = c.oid
    ), types (oid) AS (
        SELECT oid FROM (
            SELECT a.atttypid FROM pg_attribute a JOIN tables t ON a.attrelid = t.oid WHERE a.attnum > 0
            UNION ALL SELECT objid FROM used WHERE classid = 'pg_type'::regclass
            UNION ALL SELECT oid FROM named
        ) AS first (oid)
        UNION
        SELECT part FROM types y CROSS JOIN LATERAL (
            SELECT unnest(ARRAY[t.typelem, t.typbasetype]) FROM pg_type t WHERE t.oid = y.oid
            UNION ALL
            SELECT rngsubtype FROM pg_range WHERE y.oid IN (rngtypid, rngmultitypid)
            UNION ALL
            SELECT a.atttypid FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0
            WHERE t.oid = y.oid
        ) AS parts (part)
        WHERE part <> 0
    ), functions (oid) AS (
        SELECT objid FROM used WHERE classid = 'pg_proc'::regclass
        UNION
        SELECT o.oprcode FROM used u JOIN pg_operator o ON o.oid = u.objid WHERE u.classid = 'pg_operator'::regclass
        UNION
        SELECT p.amproc
        FROM used u JOIN pg_opclass c ON c.oid = u.objid JOIN pg_amproc p ON p.amprocfamily = c.opcfamily
        WHERE u.classid = 'pg_opclass'::regclass
        UNION
        SELECT oid FROM pg_proc
        WHERE proname = ANY (%(calls)s::text[]) AND pronamespace IN (SELECT oid FROM reachable)
        UNION
        SELECT oprcode FROM pg_operator
        WHERE oprname = ANY (%(operators)s::text[]) AND oprnamespace IN (SELECT oid FROM reachable)
        UNION
        SELECT castfunc FROM pg_cast
        WHERE castsource IN (SELECT oid FROM types)
          AND (casttarget = 'text'::regtype OR casttarget IN (SELECT oid FROM types))
        UNION
        SELECT unnest(ARRAY[t.typinput, t.typoutput, t.typmodin, t.typmodout]::oid[])
        FROM pg_type t JOIN types y ON t.oid = y.oid
        UNION
        SELECT unnest(ARRAY[r.rngcanonical, r.rngsubdiff]::oid[]) FROM pg_range r JOIN types y ON r.rngtypid = y.oid
        UNION
        SELECT p.amproc FROM pg_amproc p JOIN types y ON y.oid IN (p.amproclefttype, p.amprocrighttype)
        UNION
        SELECT oprcode FROM pg_amop a JOIN pg_operator o ON o.oid = a.amopopr
        WHERE a.amoplefttype IN (SELECT oid FROM types)
    )
    SELECT p.oid::regprocedure::text || ', which belongs to ' || pg_get_userbyid(p.proowner)
    FROM functions f JOIN pg_proc p ON p.oid = f.oid
    WHERE NOT pg_has_role(p.proowner, session_user, 'MEMBER')
    UNION ALL
    SELECT 'the server of ' || c.oid::regclass::text || ', a foreign table'
    FROM tables t JOIN pg_class c ON c.oid = t.oid WHERE c.relkind = 'f'
    ORDER BY 1
"""


def untrusted(ask: Ask, schemas: Sequence[str], sql: str, tables: Sequence[int]) -> list[str]:
    """Return the untrusted code that a query may call: a description and the owner of each, for a message.

    The query is not parsed, so its result includes too much rather than too little: a name counts as every function
    of that name on the search path, whatever its arguments.

    Args:
        ask: Runs a query about the catalog.
        schemas: The search path of the query.
        sql: The query, or the inside of a DO block.
        tables: The OIDs of the tables that it reads.
    """
    names, calls, operators = (sorted({*found}) for found in _named(sql))
    unread = [f"{call}(), which runs any text" for call in calls if TEXTS.fullmatch(call)]
    if re.search(r"\bU&[\"']", sql, re.IGNORECASE):
        unread.append("something that is named by U&")
    values = {"names": names, "calls": calls, "operators": operators}
    found = ask(FUNCTIONS, values | {"schemas": [*schemas], "tables": [*tables]})
    return [*unread, *(each for (each,) in found)]


def _named(sql: str) -> tuple[list[str], list[str], set[str]]:
    """Return the names in a query, those that may be functions (`f(a)`, `a.f`), and the operators."""
    names, calls, operators = [], [], set(IMPLIED)
    end = 0
    for start, stop, name in [*_pieces(sql), (len(sql), len(sql), "")]:
        for symbol in OPERATOR.findall(sql[end:start]):
            operators |= {symbol[:length] for length in range(1, len(symbol) + 1)}
        end = stop
        if name:
            names.append(name)
            if sql[stop:].lstrip().startswith("(") or sql[:start].rstrip().endswith("."):
                calls.append(name)
    return names, calls, operators


def _pieces(sql: str) -> Iterator[tuple[int, int, str]]:
    """Yield start and end of each name, quoted text and comment, and the name itself; otherwise an empty string."""
    for token in TOKEN.finditer(sql):
        if not token["mark"]:
            is_name = token["word"] or token[0].startswith('"')
            yield token.start(), token.end(), unquoted(token[0])[0] if is_name else ""

"""Functions, operators and views that shadow PostgreSQL's own, as an attacker may create them in the schema public."""

import re
from itertools import product

from conftest import ROOT
from servers import test_server

from postgres_database.server.connection import Database
from postgres_database.sql.names import quoted

SOURCES = "\n".join(path.read_text() for path in (ROOT / "postgres_database").rglob("*.py"))
# The functions that our sources call, and two that SQLAlchemy calls.
NAMES = {*re.findall(r"\b([a-z_0-9]+)\(", SOURCES), "version", "pg_table_is_visible"}
BETTER = [
    {
        "text": "varchar",
        "oid": "regclass",
        "any": "text",
        "anyelement": "text",
        "bigint": "integer",
    },
    {"text": "name", "oid": "regtype", "any": "name", "anyelement": "name", "anyarray": "text[]"},
    {"text": '"char"', "oid": "integer", "any": "oid", "anyelement": "oid", "anyarray": "oid[]"},
    {"any": "integer", "anyelement": "integer", "anyarray": "name[]", "integer": "smallint"},
    {"any": "bigint", "anyelement": "boolean", "anyarray": "smallint[]", "integer": "bigint"},
]
"""Types of arguments that fit a call better than those of PostgreSQL's own function, which they replace."""
OPERANDS = [
    *(
        "text",
        "varchar",
        "name",
        '"char"',
        "oid",
        "regclass",
        "regnamespace",
        "smallint",
        "integer",
        "bigint",
    ),
    *("boolean", "timestamptz", "interval", "oid[]", "text[]", "name[]"),
]
OPERATORS = ["=", "<>", "<", "<=", ">", ">=", "||", "~", "!~", "~~", "+", "-", "->>"]
RELATIONS = ["pg_class", "pg_namespace", "pg_attribute", "pg_type", "pg_locks", "pg_stat_activity", "pg_settings",
             "pg_constraint", "pg_index", "pg_depend", "pg_roles", "pg_database", "pg_extension"]  # fmt: skip
FUNCTIONS = """
    SELECT p.proname, array(SELECT replace(format_type(t, NULL), '"any"', 'any')
                            FROM unnest(p.proargtypes::oid[]) AS t),
           format_type(p.prorettype, NULL)
    FROM pg_proc p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.pronargs < 4 AND p.proname = ANY (%s)
"""
MAKE = """
    DO $make$
    DECLARE statement_ text;
    BEGIN
        FOREACH statement_ IN ARRAY %s LOOP
            BEGIN
                EXECUTE statement_;
            EXCEPTION WHEN OTHERS THEN
                NULL;
            END;
        END LOOP;
    END
    $make$
"""
# Makes them members of an extension, which a dump leaves out: dumping them would take long.
HIDE = """
    SET allow_system_table_mods = on;
    INSERT INTO pg_depend
    SELECT classid, oid, 0, 'pg_extension'::regclass, (SELECT oid FROM pg_extension WHERE extname = 'plpgsql'), 0, 'e'
    FROM (SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace::oid
          UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
          WHERE oprnamespace = 'public'::regnamespace::oid
          UNION ALL SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace = 'public'::regnamespace::oid
         ) AS made (classid, oid)
"""


def shadow(database: Database, mark: str) -> None:
    """Create shadows in the schema public; each writes the mark into the server's log when it is called.

    Their owner is a new role without privileges, whose name is the mark.
    """
    with database.connect(usual_path=True) as connection, connection.begin():
        cursor = connection.connection.cursor()
        cursor.execute(FUNCTIONS, ([*NAMES],))
        statements = [
            _function(name, types, result, mark)
            for name, arguments, result in cursor.fetchall()
            for types in _variants(arguments)
        ]
        for left, right in product(OPERANDS, repeat=2):
            statements += [
                _function(f"shadow_{result}", [left, right], result, mark)
                for result in ("boolean", "text")
            ]
            for name in OPERATORS:
                body = "shadow_text" if name in {"||", "->>"} else "shadow_boolean"
                statements.append(
                    f"CREATE OPERATOR public.{name} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = public.{body})"
                )
        statements += [_function("shadow", [], "boolean", mark)]
        for name in RELATIONS:
            statements.append(
                f"CREATE VIEW public.{name} AS SELECT * FROM pg_catalog.{name} WHERE public.shadow() IS NOT NULL"
            )
        cursor.execute(
            f"CREATE ROLE {mark}; GRANT ALL ON SCHEMA public TO {mark}; SET LOCAL ROLE {mark}"
        )
        cursor.execute(MAKE, (statements,))
        cursor.execute(f"RESET ROLE; REVOKE ALL ON SCHEMA public FROM {mark}")
        cursor.execute(HIDE)


def _variants(arguments: list[str]) -> list[list[str]]:
    """Return the argument types themselves, and those with one or all of them replaced by better fitting ones."""
    mapped = [[better.get(each, each) for each in arguments] for better in BETTER]
    one = [
        [better.get(each, each) if place == at else each for place, each in enumerate(arguments)]
        for better in BETTER
        for at in range(len(arguments))
    ]
    return [*map(list, dict.fromkeys(map(tuple, [arguments, *mapped, *one])))]


def _function(name: str, types: list[str], result: str, mark: str) -> str:
    line = f"{mark} {name}({', '.join(types)})"
    return (
        f"CREATE FUNCTION public.{quoted(name)}({', '.join(types)}) RETURNS {result} LANGUAGE plpgsql"
        f" AS $$ BEGIN RAISE LOG '%', '{line}'; RETURN NULL; END $$"
    )


def called(mark: str) -> set[str]:
    """Return the shadows that were called so far, by the server's log."""
    return set(re.findall(rf"{mark} (.*)", test_server().log.read_text(errors="replace")))

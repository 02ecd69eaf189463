"""A database in which somebody has put functions, operators and views in the place of PostgreSQL's own."""

import re
from itertools import product

from conftest import ROOT, test_server

from postgres_database.server.connection import Database
from postgres_database.sql.names import quoted

SOURCES = "\n".join(path.read_text() for path in (ROOT / "postgres_database").rglob("*.py"))
# What SQLAlchemy, Alembic and psycopg2 call.
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
"""Types of arguments that fit a call better than those that a function of PostgreSQL's own has."""
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
# So a dump does not have them, which would take its time.
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
    """Put shadows into the schema public; each writes the mark into the log of the server when it is called.

    They belong to a role that nobody trusts, which the mark names.
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
    mapped = [[better.get(each, each) for each in arguments] for better in BETTER]
    one = [
        [better.get(each, each) if place == at else each for place, each in enumerate(arguments)]
        for better in BETTER
        for at in range(len(arguments))
    ]
    return [*map(list, dict.fromkeys(map(tuple, [arguments, *mapped, *one])))]


def _function(name: str, types: list[str], result: str, mark: str) -> str:
    said = f"{mark} {name}({', '.join(types)})"
    return (
        f"CREATE FUNCTION public.{quoted(name)}({', '.join(types)}) RETURNS {result} LANGUAGE plpgsql"
        f" AS $$ BEGIN RAISE LOG '%', '{said}'; RETURN NULL; END $$"
    )


def called(mark: str) -> set[str]:
    """Return which shadows were called so far."""
    return set(re.findall(rf"{mark} (.*)", test_server().log.read_text(errors="replace")))

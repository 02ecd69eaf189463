"""Snapshots against pg_catalog: what is a difference, what is none, and what text survives a dump."""

import re
import secrets
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Project, needs_version, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.running import runner
from postgres_database.schema import dump, snapshot
from postgres_database.schema.snapshot import Key
from postgres_database.scratch import databases
from postgres_database.server.connection import Database
from postgres_database.sql.names import quoted
from postgres_database.workflows import drift

ROLES = ("snap_a", "snap_b", "snap_c")
TABLESPACE = "snap_fast"

HEADER = "--\n-- Name: x; Type: TABLE; Schema: y; Owner: -\n--\n"
TRAILER = "--\n-- PostgreSQL database dump complete\n--\n"
SETTINGS = "SET default_tablespace = '';\n\nSET default_table_access_method = heap2;\n\n"
NASTY = (
    "100% %% %s %(x)s :name ::text :'x' {} {0} {x!r} \"\"\" ''' $$ $1 $tag$ \\ \\n \\' ; ( [ ) --x /* */"
    " \r\n \r \n \t \v \f \x85 \u2028 \u2029 \xa0 ü 名 😀 \\restrict"
)

# What the catalog says of everything that the pairs below touch, without oids, owners and the order of
# columns: it knows nothing of pg_dump, and so judges whether two schemas are the same.
JUDGE = """
    SELECT 'relation', c.oid::regclass, relkind, relpersistence, relrowsecurity, relforcerowsecurity,
           relreplident, pg_get_partkeydef(c.oid), pg_get_expr(relpartbound, c.oid), spcname, amname,
           (SELECT array_agg(o ORDER BY o) FROM unnest(reloptions) o),
           CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
           (SELECT array_agg(inhparent::regclass ORDER BY inhseqno) FROM pg_inherits
            WHERE inhrelid = c.oid)
    FROM pg_class c
    LEFT JOIN pg_tablespace s ON s.oid = reltablespace LEFT JOIN pg_am m ON m.oid = relam
    WHERE relnamespace IN (SELECT oid FROM ours)
;;  SELECT 'column', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
           attidentity, attgenerated, attstattarget, attstorage, attcompression,
           ARRAY(SELECT o FROM unnest(attoptions) o WHERE NOT starts_with(o, 'pg_')),
           attcollation::regcollation, pg_get_expr(adbin, adrelid),
           CASE WHEN relkind IN ('v', 'c') THEN attnum END
    FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace IN (SELECT oid FROM ours) AND attnum > 0 AND NOT attisdropped
;;  SELECT 'constraint', conname, conrelid::regclass, contypid::regtype, convalidated, connoinherit,
           regexp_replace(pg_get_constraintdef(c.oid), ' WITH \\(.*?\\)', '')
    FROM pg_constraint c WHERE connamespace IN (SELECT oid FROM ours) AND contype <> 'n'
;;  SELECT 'index', regexp_replace(pg_get_indexdef(indexrelid), ' WITH \\(.*?\\)', ''),
           indisclustered, indisreplident, indisprimary, indisunique
    FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace IN (SELECT oid FROM ours)
;;  SELECT 'function', p.oid::regprocedure, prokind,
           CASE WHEN prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
           (SELECT row(aggtransfn, agginitval) FROM pg_aggregate WHERE aggfnoid = p.oid)
    FROM pg_proc p WHERE pronamespace IN (SELECT oid FROM ours)
;;  SELECT 'grant', what, grantor::regrole, grantee::regrole, privilege_type, is_grantable
    FROM (SELECT 'r' || c.oid::regclass AS what, coalesce(relacl, acldefault(
              CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) AS acl
          FROM pg_class c WHERE relnamespace IN (SELECT oid FROM ours)
          UNION ALL SELECT 'a' || attrelid::regclass || attname, attacl
          FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
          WHERE relnamespace IN (SELECT oid FROM ours)
          UNION ALL SELECT 'f' || p.oid::regprocedure, coalesce(proacl, acldefault('f', proowner))
          FROM pg_proc p WHERE pronamespace IN (SELECT oid FROM ours)
          UNION ALL SELECT 't' || t.oid::regtype, coalesce(typacl, acldefault('T', typowner))
          FROM pg_type t WHERE typnamespace IN (SELECT oid FROM ours)
          UNION ALL SELECT 'n' || nspname, coalesce(nspacl, acldefault('n', nspowner)) FROM ours
          WHERE nspname <> 'public'
          UNION ALL SELECT 'd' || defaclrole::regrole || coalesce(nspname, '')
              || defaclobjtype::text, defaclacl
          FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace
         ) x, aclexplode(acl)
;;  SELECT 'comment', pg_describe_object(classoid, objoid, objsubid), description
    FROM pg_description
    WHERE objoid >= 16384
    OR (classoid = 'pg_namespace'::regclass AND objoid = 'public'::regnamespace)
;;  SELECT 'trigger', pg_get_triggerdef(t.oid), tgenabled FROM pg_trigger t WHERE NOT tgisinternal
;;  SELECT 'event trigger', evtname, evtevent, evtfoid::regproc, evtenabled, evttags
    FROM pg_event_trigger
;;  SELECT 'policy', polname, polrelid::regclass, polcmd, polpermissive, polroles::regrole[],
           pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
    FROM pg_policy
;;  SELECT 'rule', pg_get_ruledef(r.oid), ev_enabled FROM pg_rewrite r WHERE r.oid >= 16384
;;  SELECT 'type', t.oid::regtype, typtype, format_type(typbasetype, typtypmod), typnotnull,
           typdefault,
           (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)
    FROM pg_type t WHERE typnamespace IN (SELECT oid FROM ours) AND typarray <> 0
;;  SELECT 'operator', o.oid::regoperator, oprleft::regtype, oprright::regtype, oprcode
    FROM pg_operator o WHERE oprnamespace IN (SELECT oid FROM ours)
;;  SELECT 'sequence', seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqmax,
           seqmin, seqcache, seqcycle,
           (SELECT row(refobjid::regclass, attname, deptype) FROM pg_depend
            JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
            WHERE classid = 'pg_class'::regclass AND objid = seqrelid AND refobjsubid > 0)
    FROM pg_sequence
;;  SELECT 'statistics', pg_get_statisticsobjdef(s.oid), stxstattarget FROM pg_statistic_ext s
;;  SELECT 'cast', castsource::regtype, casttarget::regtype, castfunc::regproc, castcontext
    FROM pg_cast c WHERE c.oid >= 16384
;;  SELECT 'publication', pubname, puballtables, pubinsert, pubdelete,
           (SELECT array_agg(row(prrelid::regclass, pg_get_expr(prqual, prrelid)))
            FROM pg_publication_rel WHERE prpubid = p.oid)
    FROM pg_publication p
;;  SELECT 'foreign', srvname, srvoptions,
           (SELECT array_agg(row(ftrelid::regclass, ftoptions)) FROM pg_foreign_table
            WHERE ftserver = s.oid)
    FROM pg_foreign_server s
;;  SELECT 'schema', nspname FROM ours
"""
OURS = (
    "CREATE TEMPORARY VIEW ours AS SELECT * FROM pg_namespace"
    " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
)


def judge(database: Database) -> list[str]:
    """Return what the catalog holds, a line each."""
    lines = []
    with database.connect(usual_path=True) as connection, connection.begin():
        cursor = connection.connection.cursor()
        cursor.execute(OURS)
        cursor.execute("SET LOCAL search_path = pg_temp; SET LOCAL quote_all_identifiers = off")
        cursor.execute("SET LOCAL standard_conforming_strings = on")
        for query in JUDGE.split(";;"):
            cursor.execute(query)
            lines += [str(row) for row in cursor.fetchall()]
    return sorted(lines)


class Pair(NamedTuple):
    """Two schemas: SQL for both, and SQL for the one and the other."""

    name: str
    both: str
    one: str
    other: str
    alone: bool = False
    """Whether it needs databases of its own, because it is about more than what is in a schema."""


def swapped(text: str, first: str, second: str) -> tuple[str, str]:
    """Return a text with both marks replaced, in the one order and in the other."""
    return (
        text.replace("<1>", first).replace("<2>", second),
        text.replace("<1>", second).replace("<2>", first),
    )


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def function(body: str, name: str = "f") -> str:
    """Return a function with this body."""
    return f"CREATE FUNCTION {name}() RETURNS text LANGUAGE sql AS {literal(body)};"


AM = "CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;"
ODD_DEFAULTS = (
    "'a, b'", "'a;'", "'(['", "'a\nb'", "'it''s'", "'$$a$$'", r"E'back\\slash\''", "'-- no comment'",
    literal(HEADER), "'/*'", "'\"'", "ARRAY['x,y', 'z)']",
)  # fmt: skip
ODD_COLUMNS = [f"c{number} text DEFAULT {text}" for number, text in enumerate(ODD_DEFAULTS[:-1])]
ODD_COLUMNS.append(f"arrays text[] DEFAULT {ODD_DEFAULTS[-1]}")
ODD_COLUMNS += [
    '"a, ""b"", (c" int CHECK ("a, ""b"", (c" IN (1, 2))',
    "n numeric(10, 2) DEFAULT 1.5",
    "g text GENERATED ALWAYS AS (CASE WHEN n > 1 THEN 'a,' ELSE ';b' END) STORED",
]

SAME = [
    Pair(
        "name of a NOT NULL constraint",
        "",
        "CREATE TABLE t (a int CONSTRAINT x NOT NULL, b int DEFAULT 1 CONSTRAINT v NOT NULL);",
        "CREATE TABLE t (a int NOT NULL, b int DEFAULT 1 NOT NULL);",
    ),
    Pair("column order", "", "CREATE TABLE t (a int, b text);", "CREATE TABLE t (b text, a int);"),
    Pair(
        "column order with odd defaults",
        "",
        f"CREATE TABLE t ({', '.join(ODD_COLUMNS)});",
        f"CREATE TABLE t ({', '.join(ODD_COLUMNS[::-1])});",
    ),
    Pair(
        "a dropped column",
        "",
        "CREATE TABLE t (a int, gone int, b int); ALTER TABLE t DROP gone;",
        "CREATE TABLE t (a int, b int);",
    ),
    Pair(
        "order of constraints in a table",
        "",
        "CREATE TABLE t (a int, CONSTRAINT x CHECK (a > 0), CONSTRAINT y CHECK (a < 9));",
        "CREATE TABLE t (a int, CONSTRAINT y CHECK (a < 9), CONSTRAINT x CHECK (a > 0));",
    ),
    Pair(
        "order of objects",
        "",
        "CREATE TABLE t (); CREATE TABLE u (); CREATE VIEW v AS SELECT 1 AS x;" + function("1"),
        function("1") + "CREATE VIEW v AS SELECT 1 AS x; CREATE TABLE u (); CREATE TABLE t ();",
    ),
    Pair(
        "grants in another order",
        "CREATE TABLE t (a int, b int);",
        "GRANT SELECT ON t TO snap_a; GRANT SELECT, INSERT ON t TO snap_b; GRANT ALL ON t TO PUBLIC;",
        "GRANT ALL ON t TO PUBLIC; GRANT INSERT, SELECT ON t TO snap_b; GRANT SELECT ON t TO snap_a;",
    ),
    Pair(
        "grants in one or two statements",
        "CREATE TABLE t (a int, b int);",
        "GRANT SELECT, UPDATE (a, b), INSERT (b) ON t TO snap_a, snap_b;",
        "GRANT INSERT (b), UPDATE (b) ON t TO snap_b; GRANT UPDATE (a), SELECT ON t TO snap_b;"
        "GRANT INSERT (b), SELECT, UPDATE (b), UPDATE (a) ON t TO snap_a;",
    ),
    Pair(
        "default privileges in another order",
        "",
        "ALTER DEFAULT PRIVILEGES FOR ROLE snap_a GRANT SELECT ON TABLES TO snap_b;"
        "ALTER DEFAULT PRIVILEGES FOR ROLE snap_a GRANT INSERT ON TABLES TO snap_c;",
        "ALTER DEFAULT PRIVILEGES FOR ROLE snap_a GRANT INSERT ON TABLES TO snap_c;"
        "ALTER DEFAULT PRIVILEGES FOR ROLE snap_a GRANT SELECT ON TABLES TO snap_b;",
        alone=True,
    ),
    Pair(
        "statistics and storage of columns in another order",
        "",
        "CREATE TABLE t (a text, b text); ALTER TABLE t ALTER a SET STATISTICS 10, ALTER b SET STATISTICS 20,"
        " ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE MAIN;",
        "CREATE TABLE t (b text, a text); ALTER TABLE t ALTER b SET STORAGE MAIN, ALTER a SET STORAGE EXTERNAL,"
        " ALTER b SET STATISTICS 20, ALTER a SET STATISTICS 10;",
    ),
    Pair(
        "options of a table in another order",
        "CREATE TABLE t (a int);",
        "ALTER TABLE t SET (fillfactor = 70, autovacuum_enabled = off);",
        "ALTER TABLE t SET (autovacuum_enabled = off, fillfactor = 70);",
    ),
    Pair(
        "options of an index and a view in another order",
        "CREATE TABLE t (a int);",
        "CREATE INDEX i ON t (a) WITH (fillfactor = 70, deduplicate_items = off);"
        "CREATE VIEW v WITH (security_barrier, security_invoker) AS SELECT a FROM t;",
        "CREATE INDEX i ON t (a) WITH (deduplicate_items = off, fillfactor = 70);"
        "CREATE VIEW v WITH (security_invoker, security_barrier) AS SELECT a FROM t;",
    ),
    Pair(
        "comments in another order",
        "CREATE TABLE t (a int);",
        "COMMENT ON TABLE t IS 'x'; COMMENT ON COLUMN t.a IS 'y';",
        "COMMENT ON COLUMN t.a IS 'y'; COMMENT ON TABLE t IS 'x';",
    ),
    Pair(
        "access methods of tables made in another order",
        AM,
        "CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE b (); CREATE TABLE c () USING heap2;"
        "CREATE TABLE a () USING heap2; CREATE VIEW v AS SELECT 1 AS x;",
        "CREATE VIEW v AS SELECT 1 AS x; CREATE TABLE a () USING heap2; CREATE TABLE c () USING heap2;"
        "CREATE TABLE b (); CREATE TABLE p (a int) PARTITION BY RANGE (a);",
        alone=True,
    ),
    Pair("owner of the schema public", "", "", "ALTER SCHEMA public OWNER TO snap_a;", alone=True),
    Pair(
        "settings of a database that change how it prints",
        r"CREATE TABLE t (a text DEFAULT E'b\\s', b text DEFAULT '$x$'); COMMENT ON TABLE t IS E'b\\s';"
        + function("SELECT '\\'"),
        "",
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %1$I SET standard_conforming_strings = off;"
        "ALTER DATABASE %1$I SET quote_all_identifiers = on; ALTER DATABASE %1$I SET search_path = x;"
        "ALTER DATABASE %1$I SET intervalstyle = iso_8601; ALTER DATABASE %1$I SET extra_float_digits = 0',"
        " current_database()); END$$;",
        alone=True,
    ),
]

OPERATORS = """
    CREATE FUNCTION f(int, int) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION f(text, text) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION g(int, int) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION g(text, text) RETURNS int LANGUAGE sql AS 'SELECT 1';
"""
PARTED = "CREATE TABLE p (a int, b int) PARTITION BY RANGE (a);"
TRIGGER = (
    "CREATE TABLE t (a int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    "CREATE TRIGGER r BEFORE UPDATE ON t FOR EACH ROW "
)
FOREIGN = "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"

DIFFERENT = [
    Pair(
        "arms of CASE in a CHECK",
        "",
        *swapped(
            "CREATE TABLE t (a int CHECK (CASE <1> <2> ELSE false END));",
            "WHEN a > 0 THEN a < 9",
            "WHEN a < 5 THEN a > 1",
        ),
    ),
    *(
        Pair(
            f"a line of a body: {name}",
            "",
            *swapped(function("SELECT 'x'\n<1>\n<2>;\n"), line, "||''y''"),
        )
        for name, line in {
            "SET": "--\nSET x = 1;",
            "comment": "-- a comment",
            "SET default_tablespace": "--\nSET default_tablespace = x;",
            "restrict": "\\restrict x",
        }.items()
    ),
    Pair(
        "a setting inside a body",
        "",
        function("SELECT 1;\nSET default_tablespace = '';\n"),
        function("SELECT 1;\n"),
    ),
    Pair("a comment at the end of a body", "", function("SELECT 1 -- x\n"), function("SELECT 1\n")),
    Pair("an empty line in a body", "", function("SELECT 1\n"), function("SELECT 1\n\n")),
    Pair("CRLF in a body", "", function("SELECT\r\n1"), function("SELECT\n1")),
    Pair(
        "overloads",
        "",
        *swapped(
            "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS '<1>';"
            "CREATE FUNCTION f(text) RETURNS int LANGUAGE sql AS '<2>';",
            "SELECT 1",
            "SELECT 2",
        ),
    ),
    Pair(
        "operators of one name",
        OPERATORS,
        *swapped(
            "CREATE OPERATOR === (FUNCTION = <1>, LEFTARG = int, RIGHTARG = int);"
            "CREATE OPERATOR === (FUNCTION = <2>, LEFTARG = text, RIGHTARG = text);",
            "f",
            "g",
        ),
    ),
    *(
        Pair(
            f"an operator beside that of {there}",
            OPERATORS
            + f"CREATE OPERATOR === (FUNCTION = f, LEFTARG = {there}, RIGHTARG = {there});",
            "",
            f"CREATE OPERATOR === (FUNCTION = f, LEFTARG = {new}, RIGHTARG = {new});",
        )
        for there, new in [("int", "text"), ("text", "int")]
    ),
    Pair(
        "default privileges of two roles",
        "",
        *swapped(
            "ALTER DEFAULT PRIVILEGES FOR ROLE snap_a GRANT <1> ON TABLES TO snap_c;"
            "ALTER DEFAULT PRIVILEGES FOR ROLE snap_b GRANT <2> ON TABLES TO snap_c;",
            "SELECT",
            "INSERT",
        ),
        alone=True,
    ),
    Pair(
        "who granted what",
        "CREATE TABLE t (); GRANT SELECT, INSERT ON t TO snap_a, snap_b WITH GRANT OPTION;",
        *swapped(
            "SET ROLE snap_a; GRANT <1> ON t TO snap_c; SET ROLE snap_b; GRANT <2> ON t TO snap_c; RESET ROLE;",
            "SELECT",
            "INSERT",
        ),
        alone=True,
    ),
    Pair(
        "grant option",
        "CREATE TABLE t ();",
        "GRANT SELECT ON t TO snap_a;",
        "GRANT SELECT ON t TO snap_a WITH GRANT OPTION;",
    ),
    Pair(
        "grants on columns",
        "CREATE TABLE t (a int, b int);",
        "GRANT SELECT (a), UPDATE (b) ON t TO snap_a;",
        "GRANT SELECT (b), UPDATE (a) ON t TO snap_a;",
    ),
    Pair("revoked from everybody", function("1"), "", "REVOKE ALL ON FUNCTION f FROM PUBLIC;"),
    *(
        Pair(
            f"default {one} and {other}",
            "",
            f"CREATE TABLE t (a text DEFAULT {one}, b int);",
            f"CREATE TABLE t (a text DEFAULT {other}, b int);",
        )
        for one, other in [
            ("'a, b'", "'b, a'"),
            ("'a\nb'", "'b\na'"),
            ("'a); b'", "'b); a'"),
            ("'a;\nb;'", "'b;\na;'"),
            ("'$$a$$'", "'$$b$$'"),
            ("'it''s'", "'it''''s'"),
            (r"E'\\'", r"E'\\\\'"),
            (r"E'a\\'", "'a'''"),
            ("'-- a'", "'-- b'"),
            ("' a'", "'a'"),
        ]
    ),
    *(
        Pair(
            f"behind a {name} inside a {place}",
            "CREATE TABLE t (a text, b text);",
            text.replace("<>", fake + "a"),
            text.replace("<>", fake + "b"),
        )
        for name, fake in {
            "header": HEADER,
            "header with settings": SETTINGS + HEADER,
            "trailer": TRAILER,
            "literal header": f"$$'{HEADER}'$$\"",
        }.items()
        for place, text in {
            "body": "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $body$SELECT $x$<>$x$$body$;",
            "comment": "COMMENT ON TABLE t IS $body$<>$body$;",
            "default": "ALTER TABLE t ALTER a SET DEFAULT $body$<>$body$;",
        }.items()
    ),
    Pair(
        "behind a header inside a name",
        "",
        f"CREATE TABLE {quoted(HEADER)} (a int); CREATE TABLE z (a int);",
        f"CREATE TABLE {quoted(HEADER)} (a int); CREATE TABLE z (b int);",
    ),
    Pair(
        "a name that looks like a header's end",
        'CREATE TABLE "x" (a int);',
        'CREATE TABLE "x; Type: VIEW; Schema: y; Owner: -" (a int);',
        'CREATE TABLE "x; Type: VIEW; Schema: y; Owner: -" (b int);',
    ),
    Pair(
        "a schema with a semicolon",
        'CREATE SCHEMA "a; b"; CREATE SCHEMA ";"; CREATE SCHEMA "s; Owner: -; Tablespace: x";',
        *swapped(
            'CREATE TABLE "a; b".t (<1> int); CREATE TABLE ";".t (<2> int);'
            'CREATE TABLE "s; Owner: -; Tablespace: x".t (<2> int);',
            "a",
            "b",
        ),
        alone=True,
    ),
    Pair(
        "the 63rd byte of a name",
        "",
        f'CREATE TABLE "{"ä" * 31}a" ();',
        f'CREATE TABLE "{"ä" * 31}b" ();',
    ),
    Pair(
        "a function with a parsed body",
        "CREATE TABLE t (a int, b int);",
        *swapped(
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC"
            " UPDATE t SET a = 1, b = (SELECT '; --' IS NULL)::int; <1>; <2>; END;",
            "DELETE FROM t",
            "INSERT INTO t VALUES (1, 2)",
        ),
    ),
    Pair("unlogged", "", "CREATE TABLE t ();", "CREATE UNLOGGED TABLE t ();"),
    Pair(
        "value of an option",
        "",
        "CREATE TABLE t () WITH (fillfactor = 70);",
        "CREATE TABLE t () WITH (fillfactor = 80);",
    ),
    Pair(
        "option or default",
        "CREATE TABLE t (a int);",
        "CREATE INDEX i ON t (a) WITH (fillfactor = 90);",
        "CREATE INDEX i ON t (a);",
    ),
    Pair(
        "tablespace",
        "",
        "CREATE TABLE t ();",
        f"CREATE TABLE t () TABLESPACE {TABLESPACE};",
        alone=True,
    ),
    Pair(
        "tablespace of an index",
        "CREATE TABLE t (a int);",
        "CREATE INDEX i ON t (a);",
        f"CREATE INDEX i ON t (a) TABLESPACE {TABLESPACE};",
    ),
    Pair("access method", AM, "CREATE TABLE t ();", "CREATE TABLE t () USING heap2;", alone=True),
    Pair(
        "access method of one of two",
        AM,
        "CREATE TABLE t () USING heap2; CREATE TABLE u () USING heap2;",
        "CREATE TABLE t () USING heap2; CREATE TABLE u ();",
        alone=True,
    ),
    Pair(
        "access method of a materialized view",
        AM,
        "CREATE MATERIALIZED VIEW t AS SELECT 1 AS x;",
        "CREATE MATERIALIZED VIEW t USING heap2 AS SELECT 1 AS x;",
        alone=True,
    ),
    Pair(
        "comment on a schema",
        "",
        "COMMENT ON SCHEMA public IS 'x';",
        "COMMENT ON SCHEMA public IS NULL;",
        alone=True,
    ),
    Pair("a schema", "", "", "CREATE SCHEMA s;", alone=True),
    Pair(
        "order of enum labels",
        "",
        "CREATE TYPE e AS ENUM ('a', 'b');",
        "CREATE TYPE e AS ENUM ('b', 'a');",
    ),
    Pair(
        "order of a type's attributes",
        "",
        "CREATE TYPE e AS (a int, b int);",
        "CREATE TYPE e AS (b int, a int);",
    ),
    Pair(
        "order of a view's columns",
        "",
        "CREATE VIEW v AS SELECT 1 AS a, 2 AS b;",
        "CREATE VIEW v AS SELECT 2 AS b, 1 AS a;",
    ),
    Pair(
        "an option of a view",
        "",
        "CREATE VIEW v AS SELECT 1 AS a;",
        "CREATE VIEW v WITH (security_invoker) AS SELECT 1 AS a;",
    ),
    Pair(
        "identity",
        "",
        "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY);",
        "CREATE TABLE t (a int GENERATED BY DEFAULT AS IDENTITY);",
    ),
    Pair(
        "serial or identity",
        "",
        "CREATE TABLE t (a serial);",
        "CREATE TABLE t (a int GENERATED BY DEFAULT AS IDENTITY);",
    ),
    Pair(
        "owner of a sequence",
        "CREATE TABLE t (a int, b int); CREATE SEQUENCE s;",
        "ALTER SEQUENCE s OWNED BY t.a;",
        "ALTER SEQUENCE s OWNED BY t.b;",
    ),
    Pair("type of a sequence", "", "CREATE SEQUENCE s;", "CREATE SEQUENCE s AS int;"),
    Pair(
        "expression of a generated column",
        "",
        "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a + 1) STORED);",
        "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (1 + a) STORED);",
    ),
    Pair("collation", "", "CREATE TABLE t (a text);", 'CREATE TABLE t (a text COLLATE "POSIX");'),
    Pair(
        "constraint not valid",
        "CREATE TABLE t (a int);",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0);",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;",
    ),
    Pair(
        "deferrable constraint",
        "CREATE TABLE t (a int);",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a);",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a) DEFERRABLE;",
    ),
    Pair(
        "columns of a primary key",
        "CREATE TABLE t (a int NOT NULL, b int NOT NULL);",
        "ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY (a, b);",
        "ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY (b, a);",
    ),
    Pair(
        "predicate of an index",
        "CREATE TABLE t (a int);",
        "CREATE INDEX i ON t (a) WHERE a > 0;",
        "CREATE INDEX i ON t (a) WHERE a >= 0;",
    ),
    Pair(
        "INCLUDE of an index",
        "CREATE TABLE t (a int, b int);",
        "CREATE INDEX i ON t (a, b);",
        "CREATE INDEX i ON t (a) INCLUDE (b);",
    ),
    Pair(
        "clustered",
        "CREATE TABLE t (a int); CREATE INDEX i ON t (a);",
        "",
        "ALTER TABLE t CLUSTER ON i;",
    ),
    Pair("replica identity", "CREATE TABLE t ();", "", "ALTER TABLE t REPLICA IDENTITY FULL;"),
    Pair(
        "row security forced",
        "CREATE TABLE t (); ALTER TABLE t ENABLE ROW LEVEL SECURITY;",
        "",
        "ALTER TABLE t FORCE ROW LEVEL SECURITY;",
    ),
    Pair(
        "a policy",
        "CREATE TABLE t (a int);",
        "CREATE POLICY p ON t TO snap_a, snap_b USING (a > 0);",
        "CREATE POLICY p ON t TO snap_a, snap_c USING (a > 0);",
    ),
    Pair(
        "trigger disabled",
        TRIGGER + "EXECUTE FUNCTION f();",
        "",
        "ALTER TABLE t DISABLE TRIGGER r;",
    ),
    Pair(
        "arguments of a trigger",
        "",
        TRIGGER + r"EXECUTE FUNCTION f(E'a\\', 'b');",
        TRIGGER + r"EXECUTE FUNCTION f(E'a\\'', ''b');",
    ),
    Pair(
        "condition of a trigger",
        "",
        TRIGGER + "WHEN (old.a > 0) EXECUTE FUNCTION f();",
        TRIGGER + "WHEN (new.a > 0) EXECUTE FUNCTION f();",
    ),
    Pair(
        "statistics of a column",
        "CREATE TABLE t (a int, b int);",
        "ALTER TABLE t ALTER a SET STATISTICS 10;",
        "ALTER TABLE t ALTER b SET STATISTICS 10;",
    ),
    Pair(
        "extended statistics",
        "CREATE TABLE t (a int, b int);",
        "CREATE STATISTICS s (ndistinct) ON a, b FROM t;",
        "CREATE STATISTICS s (dependencies) ON a, b FROM t;",
    ),
    Pair(
        "partition bounds",
        PARTED,
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (8);",
    ),
    Pair("partition key", "", PARTED, PARTED.replace("(a);", "(b);")),
    Pair(
        "attached or not",
        PARTED + "CREATE TABLE p1 (a int, b int);",
        "",
        "ALTER TABLE p ATTACH PARTITION p1 DEFAULT;",
    ),
    Pair(
        "order of parents",
        "CREATE TABLE a (x int); CREATE TABLE b (x int);",
        "CREATE TABLE t () INHERITS (a, b);",
        "CREATE TABLE t () INHERITS (b, a);",
    ),
    Pair(
        "a domain's constraint",
        "",
        "CREATE DOMAIN d AS int CONSTRAINT c CHECK (VALUE > 0);",
        "CREATE DOMAIN d AS int CONSTRAINT c CHECK (VALUE > 1);",
    ),
    Pair(
        "an aggregate",
        "",
        "CREATE AGGREGATE g (int) (SFUNC = int4larger, STYPE = int, INITCOND = '0');",
        "CREATE AGGREGATE g (int) (SFUNC = int4smaller, STYPE = int, INITCOND = '0');",
    ),
    Pair(
        "a cast",
        "CREATE TYPE e AS ENUM ('a'); CREATE FUNCTION f(e) RETURNS int LANGUAGE sql AS 'SELECT 1';",
        "CREATE CAST (e AS int) WITH FUNCTION f(e);",
        "CREATE CAST (e AS int) WITH FUNCTION f(e) AS IMPLICIT;",
        alone=True,
    ),
    Pair(
        "a rule",
        "CREATE TABLE t (a int);",
        "CREATE RULE r AS ON UPDATE TO t DO INSTEAD NOTHING;",
        "CREATE RULE r AS ON UPDATE TO t DO ALSO (NOTIFY x; NOTIFY y);",
    ),
    Pair(
        "an event trigger",
        "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';",
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f();",
        "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f();",
        alone=True,
    ),
    Pair(
        "a publication",
        "CREATE TABLE t (a int);",
        "CREATE PUBLICATION p FOR TABLE t WHERE (a > 0) WITH (publish = 'insert');",
        "CREATE PUBLICATION p FOR TABLE t WHERE (a > 1) WITH (publish = 'insert');",
        alone=True,
    ),
    Pair(
        "options of a foreign table",
        FOREIGN,
        r"CREATE FOREIGN TABLE t (a int, b int) SERVER s OPTIONS (x E'a\\, b', y ')');",
        r"CREATE FOREIGN TABLE t (b int, a int) SERVER s OPTIONS (x E'b\\, a', y ')');",
        alone=True,
    ),
    Pair(
        "settings of a function",
        "",
        function("SELECT 1") + "ALTER FUNCTION f SET search_path = a, b;",
        function("SELECT 1") + "ALTER FUNCTION f SET search_path = b, a;",
    ),
]

MakeDatabase = Callable[..., Database]
Verdict = tuple[list[str], list[str], list[snapshot.Difference]]
"""What the catalog says of the one and the other, and how their snapshots differ."""


@contextmanager
def maker(server: Database) -> Iterator[MakeDatabase]:
    """Make databases by SQL; all are dropped at the end."""
    names: list[str] = []

    def make(*sql: str, options: str = "") -> Database:
        names.append(f"test_{secrets.token_hex(6)}")
        with server.connect(autocommit=True) as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {names[-1]} TEMPLATE template0 {options}")
        made = Database(server.dsn.with_parts(dbname=names[-1]), "test")
        run_sql(made, "SET check_function_bodies = off", *(each for each in sql if each))
        return made

    yield make
    with server.connect(autocommit=True) as connection:
        for name in names:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def server(server: Database) -> Database:
    """The test server, with roles and a tablespace."""
    with server.connect(autocommit=True) as connection:
        connection.exec_driver_sql("SELECT pg_advisory_lock(2)")
        query = "SELECT rolname FROM pg_roles UNION SELECT spcname FROM pg_tablespace"
        there = connection.exec_driver_sql(query).scalars().all()
        for role in set(ROLES).difference(there):
            connection.exec_driver_sql(f"CREATE ROLE {role}")
        if TABLESPACE not in there:
            connection.exec_driver_sql("SET allow_in_place_tablespaces = on")
            connection.exec_driver_sql(f"CREATE TABLESPACE {TABLESPACE} LOCATION ''")
    return server


@pytest.fixture
def make(server: Database) -> Iterator[MakeDatabase]:
    """Make databases by SQL."""
    with maker(server) as make:
        yield make


def place(pair: Pair) -> str:
    """Return the schema of a pair that is not alone."""
    return f"pair_{[*SAME, *DIFFERENT].index(pair)}_"


def by_place(lines: list[str]) -> dict[str, list[str]]:
    """Sort lines of the judge by the schema of the pair that they speak of."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        if match := re.search(r"pair_\d+_", line):
            found[match[0]].append(line.replace(match[0], ""))
    return found


@pytest.fixture(scope="module")
def verdicts(server: Database) -> dict[str, Verdict]:
    """All pairs that need no database of their own, each in a schema of two databases."""
    together = [pair for pair in (*SAME, *DIFFERENT) if not pair.alone]
    with maker(server) as make:
        one, other = (
            make(
                *(
                    f"CREATE SCHEMA {place(pair)}; SET search_path = {place(pair)}; {pair.both}{sql}"
                    for pair in together
                    for sql in [pair.other if side else pair.one]
                )
            )
            for side in (False, True)
        )
        judged = [by_place(judge(each)) for each in (one, other)]
        differences = snapshot.take(one).difference(snapshot.take(other))
        assert {each.key.schema for each in differences} <= {place(pair) for pair in together}
        return {
            place(pair): (
                judged[0][place(pair)],
                judged[1][place(pair)],
                [each for each in differences if each.key.schema == place(pair)],
            )
            for pair in together
        }


def look(pair: Pair, verdicts: dict[str, Verdict], make: MakeDatabase) -> Verdict:
    """Return what catalog and snapshot say of a pair."""
    if not pair.alone:
        return verdicts[place(pair)]
    one, other = make(pair.both, pair.one), make(pair.both, pair.other)
    differences = snapshot.take(one).difference(snapshot.take(other))
    return judge(one), judge(other), [*differences]


def pair_id(pair: Pair) -> str:
    """Name a pair in one line."""
    return pair.name.replace("\n", " ")


@pytest.mark.parametrize("pair", SAME, ids=pair_id)
def test_no_difference(verdicts: dict[str, Verdict], make: MakeDatabase, pair: Pair) -> None:
    """Schemas that differ in an order without meaning have equal snapshots, and the catalog agrees."""
    one, other, differences = look(pair, verdicts, make)

    assert one
    assert one == other, "the pair is not what its name says"
    assert [each for each in differences if each.key.kind != "DATABASE SETTING"] == []


@pytest.mark.parametrize("pair", DIFFERENT, ids=pair_id)
def test_difference(verdicts: dict[str, Verdict], make: MakeDatabase, pair: Pair) -> None:
    """Schemas that the catalog tells apart have different snapshots."""
    one, other, differences = look(pair, verdicts, make)

    assert one != other, "the pair is not what its name says"
    assert differences
    assert all(each.left != each.right for each in differences)


@pytest.mark.long
@pytest.mark.parametrize("pair", [pair for pair in DIFFERENT if pair.alone], ids=pair_id)
def test_a_real_difference_survives_the_restore(
    make: MakeDatabase, project: Project, pair: Pair
) -> None:
    """`compare` calls equal what is, and different what is, also after it has restored both."""
    one, other = make(pair.both, pair.one), make(pair.both, pair.other)
    with databases.session(*project.settings) as session:
        for database in (one, other):
            drift.provide(database, session)
        assert snapshot.compare(one, other, session.empty)


def test_nothing_looks_like_a_header_but_headers(make: MakeDatabase) -> None:
    """Every object is found under its own name, whatever names and texts look like."""
    odd = 'x; Type: VIEW; Schema: y; Owner: -; Tablespace: "z"'
    made = make(
        f"CREATE TABLE {quoted(odd)} ()",
        f"CREATE TABLE {quoted(HEADER)} ()",
        'CREATE SCHEMA "a; b"',
        'CREATE VIEW "a; b"."v\n\r; Type: TABLE" AS SELECT 1 AS x',
        function(SETTINGS + HEADER + TRAILER + "$$ $_$ '", "f"),
        f"COMMENT ON FUNCTION f() IS {literal(HEADER + TRAILER)}",
    )

    assert set(snapshot.take(made).objects) == {
        Key("TABLE", "public", odd),
        Key("TABLE", "public", HEADER.replace("\n", " ")),
        Key("SCHEMA", "-", "a; b"),
        Key("VIEW", "a; b", "v  ; Type: TABLE"),
        Key("FUNCTION", "public", "f()"),
        Key("COMMENT", "public", "FUNCTION f()"),
    }


def test_only_what_differs_is_named(make: MakeDatabase) -> None:
    """A difference names the object and shows both texts; what one side lacks is empty there."""
    one = make("CREATE TABLE t (a int)", "CREATE TABLE gone ()", "CREATE TABLE same ()")
    other = make("CREATE TABLE t (b int)", "CREATE SCHEMA s", "CREATE TABLE same ()")

    differences = snapshot.take(one).difference(snapshot.take(other))

    assert [(str(each.key), bool(each.left), bool(each.right)) for each in differences] == [
        ("SCHEMA s", False, True),
        ("TABLE gone", True, False),
        ("TABLE t", True, True),
    ]
    assert "a integer" in differences[-1].left
    assert "b integer" in differences[-1].right


def test_the_version_table_is_no_part_of_a_schema(make: MakeDatabase) -> None:
    """Neither Alembic's table nor what hangs on it is in a snapshot; one of another application's is."""
    parts = (
        'CREATE TABLE "{0}".alembic_version (version_num varchar(32) PRIMARY KEY);'
        'COMMENT ON TABLE "{0}".alembic_version IS \'x\'; GRANT SELECT ON "{0}".alembic_version TO snap_a;'
    )
    made = make("CREATE SCHEMA other", parts.format("public"), parts.format("other"))

    kinds = ("TABLE", "CONSTRAINT", "COMMENT", "ACL")
    found = snapshot.take(made).objects
    assert {(key.kind, key.schema) for key in found} == {
        ("SCHEMA", "-"),
        *((kind, "other") for kind in kinds),
    }


RESPELLED = """
    CREATE TABLE t (
        a varchar(9) CONSTRAINT c CHECK (a IN ('x', 'y')),
        b varchar(9) DEFAULT (CASE WHEN now() IS NULL THEN 'x'::varchar ELSE 'y' END),
        d varchar(9) GENERATED ALWAYS AS (CASE WHEN a IN ('x', 'y') THEN 'z' END) STORED
    );
    CREATE DOMAIN dom AS varchar CHECK (VALUE IN ('x', 'y'));
    CREATE INDEX i ON t (a) WHERE a IN ('x', 'y');
    CREATE VIEW v AS SELECT a FROM t WHERE a IN ('x', 'y') UNION ALL SELECT NULL;
    ALTER TABLE t ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON t USING (a IN ('x', 'y'));
"""


def test_what_postgresql_spells_anew_is_no_difference(make: MakeDatabase, project: Project) -> None:
    """A restored copy prints some expressions in other words; `compare` sees through that."""
    original = make(RESPELLED)
    copy = make(dump.restorable(dump.take(original)))
    assert snapshot.take(original).difference(snapshot.take(copy))  # otherwise this shows nothing

    with databases.session(*project.settings) as session:
        assert snapshot.compare(original, copy, session.empty) == ()
        assert snapshot.compare(copy, original, session.empty) == ()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("ALTER TABLE t DROP CONSTRAINT c, ADD CONSTRAINT c CHECK (a IN ('x', 'z'))", "TABLE t"),
        ("ALTER TABLE t ALTER b SET DEFAULT 'z'", "TABLE t"),
        ("DROP INDEX i; CREATE INDEX i ON t (a) WHERE a IN ('x', 'z')", "INDEX i"),
        ("DROP POLICY p ON t; CREATE POLICY p ON t USING (a IN ('x', 'z'))", "POLICY t p"),
        ("DROP VIEW v; CREATE VIEW v AS SELECT a FROM t WHERE a IN ('x', 'z')", "VIEW v"),
    ],
)
def test_a_real_difference_in_what_is_spelled_anew(
    make: MakeDatabase, project: Project, change: str, key: str
) -> None:
    """The one object that really differs is found among those that are only spelled otherwise."""
    original = make(RESPELLED)
    copy = make(dump.restorable(dump.take(original)), change)

    with databases.session(*project.settings) as session:
        assert [str(each.key) for each in snapshot.compare(original, copy, session.empty)] == [key]


def test_a_schema_that_cannot_be_restored(make: MakeDatabase, project: Project) -> None:
    """What PostgreSQL cannot restore is an expected error with its words."""
    broken = make(
        "CREATE TABLE t (a int)",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE OR REPLACE VIEW v AS SELECT a FROM v",
    )
    with (
        databases.session(*project.settings) as session,
        pytest.raises(ExpectedError, match="cannot restore") as caught,
    ):
        snapshot.compare(broken, make(), session.empty)

    assert "does not exist" in caught.value.cause or "infinite recursion" in caught.value.cause


NAME = quoted(NASTY[:30] + "\r\n\u2028ü;'\"\\")
TEXT = literal(NASTY)
NASTY_SCHEMA = f"""
    CREATE SCHEMA {NAME};
    CREATE TABLE {NAME}.{NAME} ({NAME} text DEFAULT {TEXT}, CONSTRAINT {NAME} CHECK ({NAME} <> {TEXT}));
    COMMENT ON TABLE {NAME}.{NAME} IS {TEXT};
    CREATE TYPE mood AS ENUM ({literal(NASTY[:40])}, {literal(NASTY[-40:])});
    CREATE VIEW v AS SELECT {TEXT} AS {NAME};
    CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS {literal(f"BEGIN -- {NASTY}")};
    CREATE FUNCTION g(a text DEFAULT {TEXT}) RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT {TEXT} AS x; END;
    CREATE TABLE t (a text);
    CREATE INDEX i ON t ((a || {TEXT})) WHERE a LIKE 'x%';
    CREATE POLICY {NAME} ON t USING (a = {TEXT});
"""


def test_a_baseline_holds_every_byte(make: MakeDatabase, project: Project) -> None:
    """A schema with every text that others break comes out of `execute_file` byte for byte."""
    made = make(NASTY_SCHEMA)
    dumped = dump.take(made)
    assert all(character in dumped for character in NASTY)
    path = project.script(
        "a1",
        upgrade="import postgres_database.operations\n"
        'op.execute_file(__file__.removesuffix("py") + "sql")\n'
        "op.create_table('t2', sa.Column('x', sa.Integer))",
    )
    path.with_suffix(".sql").write_bytes(dump.restorable(dumped).encode())

    with databases.session(*project.settings) as session:
        rebuilt = session.at(project.settings.project, ["a1"])
        assert run_sql(rebuilt, "SELECT count(*) FROM public.t2") == [(0,)]
        run_sql(rebuilt, "DROP TABLE t2")
        assert dump.take(rebuilt) == dumped


def test_the_offline_script_holds_every_byte(make: MakeDatabase, project: Project) -> None:
    """Printed as SQL, the same file makes the same schema when it is run elsewhere."""
    made = make(NASTY_SCHEMA)
    dumped = dump.take(made)
    path = project.script(
        "a1",
        upgrade="import postgres_database.operations\n"
        'op.execute_file(__file__.removesuffix("py") + "sql")',
    )
    path.with_suffix(".sql").write_bytes(dump.restorable(dumped).encode())

    printed = runner.offline(project.settings.project, "upgrade", "base", "a1")

    assert dump.take(make(printed)) == dumped


@pytest.mark.parametrize("first", ["tablespace", "access method"])
def test_restorable_keeps_what_stands_before_the_first_object(
    make: MakeDatabase, first: str
) -> None:
    """Settings that pg_dump makes before its first header are restored, too."""
    sql = {
        "tablespace": f"CREATE TABLE t () TABLESPACE {TABLESPACE}; CREATE TABLE u ()",
        "access method": AM + "CREATE TABLE t () USING heap2; CREATE TABLE u ()",
    }
    made = make(sql[first])

    copy = make(dump.restorable(dump.take(made)))

    assert judge(copy) == judge(made)


def test_restorable_leaves_no_setting_behind(make: MakeDatabase) -> None:
    """What runs after a restored dump in the same session finds the settings as they were."""
    made = make(
        AM,
        f"CREATE TABLE t () USING heap2 TABLESPACE {TABLESPACE}",
        r"CREATE VIEW v AS SELECT E'\\'",
    )
    names = "'search_path', 'standard_conforming_strings', 'check_function_bodies', 'xmloption', 'row_security'"
    query = (
        "SELECT name, setting FROM pg_settings WHERE name LIKE 'default\\_ta%' OR name LIKE '%timeout'"
        f" OR name IN ({names}, 'client_encoding', 'client_min_messages')"
    )
    target = make()
    with target.connect(usual_path=True) as connection, connection.begin():
        cursor = connection.connection.cursor()
        cursor.execute(query)
        expected = cursor.fetchall()
        cursor.execute(dump.restorable(dump.take(made)))
        cursor.execute(query)
        assert cursor.fetchall() == expected


def test_an_empty_schema_is_restorable(make: MakeDatabase) -> None:
    """Also of an empty database there is a baseline that runs."""
    text = dump.restorable(dump.take(make()))
    assert snapshot.take(make(text)).objects == {}


def test_the_dump_reads_only(
    server: Database, make: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pg_dump runs in a session that cannot write, also with options of one's own."""
    needs_version(server, 17, "event triggers on login")
    made = make(
        "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_setting('application_name') = 'pg_dump' THEN"
        " RAISE EXCEPTION 'read only: % after %', current_setting('default_transaction_read_only'),"
        " current_setting('statement_timeout'); END IF; END $$",
        "CREATE EVENT TRIGGER e ON login EXECUTE FUNCTION f()",
    )
    own = "-c default_transaction_read_only=off -c statement_timeout=60s"
    monkeypatch.setenv("PGOPTIONS", own)

    for database in (made, replace(made, dsn=made.dsn.with_parts(options=own))):
        with pytest.raises(ExpectedError) as caught:
            dump.take(database)
        assert "read only: on after 1min" in caught.value.cause


def test_text_outside_every_encoding(make: MakeDatabase) -> None:
    """A SQL_ASCII database may hold bytes that are no text: an expected error says so."""
    made = make(
        "CREATE TABLE t ()",
        "DO $$BEGIN EXECUTE 'COMMENT ON TABLE t IS ' || quote_literal('caf' || chr(233)); END$$",
        options="ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'",
    )
    with pytest.raises(ExpectedError) as caught:
        snapshot.take(made)

    assert 'invalid byte sequence for encoding "UTF8": 0xe9' in caught.value.cause
    assert caught.value.hint.startswith("PGCLIENTENCODING=SQL_ASCII invoke psql")


def test_other_encodings(make: MakeDatabase) -> None:
    """A schema is the same text in whatever encoding the database keeps it."""
    sql = "CREATE TABLE \"tïtre\" (a text DEFAULT 'é€')"
    latin = make(sql, options="ENCODING 'LATIN9' LOCALE_PROVIDER libc LOCALE 'C'")

    assert snapshot.take(latin) == snapshot.take(make(sql))


def test_a_file_that_is_no_utf8_is_told(project: Project) -> None:
    """An SQL file that somebody saved in another encoding fails by name, and makes nothing."""
    path: Path = project.script(
        "a1",
        upgrade=textwrap.dedent(
            """
            import postgres_database.operations
            op.execute_file(__file__.removesuffix("py") + "sql")
            """
        ),
    )
    path.with_suffix(".sql").write_bytes(b"SELECT 'caf\xe9'")

    with (
        pytest.raises(ExpectedError, match="a1") as caught,
        databases.session(*project.settings) as session,
    ):
        session.at(project.settings.project, ["a1"])

    assert "utf-8" in caught.value.cause


SET_DATABASE = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {}', current_database()); END $$"


@pytest.mark.parametrize(
    ("both", "one", "key"),
    [
        (
            "CREATE TABLE t (a int); CREATE INDEX i ON t (a);",
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass;",
            Key("INDEX", "public", "i"),
        ),
        (
            "CREATE EXTENSION hstore VERSION '1.4';",
            "ALTER EXTENSION hstore UPDATE",
            Key("EXTENSION", "-", "hstore"),
        ),
        (
            "",
            SET_DATABASE.format("work_mem = ''64MB''"),
            Key("DATABASE SETTING", "-", "work_mem"),
        ),
    ],
    ids=["invalid index", "version of an extension", "setting of the database"],
)
def test_what_a_dump_leaves_out(make: MakeDatabase, both: str, one: str, key: Key) -> None:
    """Two databases of which pg_dump prints the same, or too little, differ in their snapshots."""
    differences = snapshot.take(make(both, one)).difference(snapshot.take(make(both)))
    assert [difference.key for difference in differences] == [key]


def test_settings_of_the_application_are_not_shown(make: MakeDatabase) -> None:
    """A setting with a dot in its name may be a secret: it is compared, and not printed."""
    one, other = (
        snapshot.take(make(SET_DATABASE.format(f"app.key = ''{value}''")))
        for value in ("a=secret", "another secret")
    )
    (difference,) = one.difference(other)
    assert difference.key == Key("DATABASE SETTING", "-", "app.key")
    assert "secret" not in difference.left + difference.right

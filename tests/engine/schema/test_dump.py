"""pg_dump's text: what of it is masked, and what is said when there is none."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import adopt
from conftest import Project, fresh, run_sql
from servers import OTHER_PROGRAMS

from postgres_database.errors import ExpectedError
from postgres_database.schema import catalog, dump, masks
from postgres_database.server import programs
from postgres_database.server.connection import Database
from postgres_database.workflows import check

OLD_PROGRAMS = Path("/usr/lib/postgresql/15/bin")

# Options as they are given, and as they are dumped; what is no secret stays.
OPTIONS = {
    "password": ("SERVER", "host 'h', password 's3cr3t'", "host 'h', password '***'"),
    "key": ("SERVER", "aws_secret_access_key 's3cr3t'", "aws_secret_access_key '***'"),
    "token": ("SERVER", "api_token 's3cr3t'", "api_token '***'"),
    "URL": ("SERVER", "url 'https://me:s3/c@r3t@h/x?a=1'", None),
    "URL, plain": ("SERVER", "url 'https://me:s3cr3t@h/x'", "url 'https://me:***@h/x'"),
    "connection": (
        "SERVER",
        "connection 'a=1;Password=s3cr3t;b=2'",
        "connection 'a=1;Password=***",
    ),
    "quotes": ("SERVER", "password 's3cr3t''s, )'", "password '***'"),
    "switch": ("SERVER", "password_required 'false'", "password_required 'false'"),
    "file": ("SERVER", "passfile '/etc/pass'", "passfile '/etc/pass'"),
    "author": ("SERVER", "author 'me', key 'id'", "author 'me', key 'id'"),
    "user": ("USER MAPPING", "\"user\" 'me', pin 's3cr3t'", "\"user\" 'me'"),
    "mapping": ("USER MAPPING", "anything 's3cr3t'", "anything '***'"),
    "wrapper": ("FOREIGN DATA WRAPPER", "secret 's3cr3t'", "secret '***'"),
    "table": ("FOREIGN TABLE", "password 's3cr3t', name 'x'", "name 'x'"),
}


@pytest.fixture
def made(server: Database) -> Iterator[Database]:
    """An empty database."""
    with fresh(server) as database:
        yield database


@pytest.mark.parametrize(("kind", "given", "dumped"), OPTIONS.values(), ids=OPTIONS)
def test_secrets_are_masked(made: Database, kind: str, given: str, dumped: str | None) -> None:
    """A dump holds no secret of foreign servers, users and tables; it can be restored, and says the same again."""

    def options(of: str) -> str:
        return f"OPTIONS ({given})" if of == kind else ""

    run_sql(
        made,
        f"CREATE FOREIGN DATA WRAPPER w {options('FOREIGN DATA WRAPPER')}",
        f"CREATE SERVER s FOREIGN DATA WRAPPER w {options('SERVER')}",
        f"CREATE USER MAPPING FOR PUBLIC SERVER s {options('USER MAPPING')}",
        f"CREATE FOREIGN TABLE t (x int DEFAULT 1) SERVER s {options('FOREIGN TABLE')}",
        "CREATE TABLE plain (password text DEFAULT 'OPTIONS (password ''s3cr3t-of-a-table'')')",
    )
    text = dump.take(made)
    assert text.count("s3cr3t") == 1  # the table's
    assert "r3t@h" not in text
    assert dumped is None or dumped in " ".join(text.split())
    assert masks.is_masked(text) == ("***" in text)
    run_sql(made, "DROP FOREIGN DATA WRAPPER w CASCADE; DROP TABLE plain")
    dump.restore(text, made)
    assert dump.take(made) == text


def keep_for_itself(
    database: Database, option: str, *, columns: bool = True, tables: bool = True
) -> None:
    """Let the server keep an option of its own before those of every column and relation, as some minor releases do."""
    theirs = (
        "(SELECT oid FROM pg_class WHERE oid >= 16384 AND relkind NOT IN ('i', 'I', 'S')"
        " AND relnamespace::regnamespace::text <> 'information_schema')"
    )
    if columns:
        run_sql(
            database,
            f"UPDATE pg_attribute SET attoptions = array_prepend('{option}=' || attrelid, attoptions)"
            f" WHERE attrelid IN {theirs} AND attnum > 0 AND NOT attisdropped",
        )
    if tables:
        run_sql(
            database,
            f"UPDATE pg_class SET reloptions = array_prepend('{option}=' || oid, reloptions)"
            f" WHERE oid IN {theirs}",
        )


KEPT = r"""
CREATE SCHEMA s;
CREATE TABLE s."Na""me
 (x;" (id int PRIMARY KEY, "c;(
    d" text DEFAULT ' SET (pg_attver=1);', b int,
    UNIQUE (b) WITH (fillfactor = 70)) WITH (fillfactor = 80, autovacuum_enabled = off, toast.autovacuum_enabled = off);
ALTER TABLE s."Na""me
 (x;" ALTER "c;(
    d" SET (n_distinct = 5, n_distinct_inherited = 7);
ALTER TABLE s."Na""me
 (x;" ALTER b SET STATISTICS 7;
CREATE TYPE s.both AS (a int, b text);
CREATE FOREIGN DATA WRAPPER w;
CREATE SERVER far FOREIGN DATA WRAPPER w;
CREATE FOREIGN TABLE s.far (a int OPTIONS (pg_attver '3'), b text) SERVER far OPTIONS (pg_x 'y');
CREATE FUNCTION s.set(pg_a int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT pg_a';
CREATE VIEW s.plain AS SELECT s.set(pg_a => 1) AS a;
CREATE VIEW s.safe WITH (security_barrier = true) AS SELECT 1 AS a;
CREATE MATERIALIZED VIEW s.counted WITH (fillfactor = 70) AS SELECT s.set(pg_a => 1) AS a;
CREATE TABLE s.parted (a int, b int) PARTITION BY RANGE (a);
CREATE TABLE s.part PARTITION OF s.parted FOR VALUES FROM (1) TO (2);
CREATE TABLE s.child () INHERITS (s."Na""me
 (x;");
CREATE INDEX i ON s.part (b, (a + b)) WITH (fillfactor = 60);
CREATE FUNCTION s.f() RETURNS text LANGUAGE sql AS $$
    ALTER TABLE ONLY s.part ALTER COLUMN a SET (pg_attver=3);
    CREATE TABLE x (a int) WITH (pg_x='1');
    SELECT 1 $$;
COMMENT ON TABLE s.part IS 'ALTER TABLE ONLY s.part ALTER COLUMN a SET (pg_attver=3); WITH (pg_x=''1'')';
"""


@pytest.mark.parametrize("option", ["pg_attver", "pg_Two words"])
def test_what_a_server_keeps_for_itself_is_left_out(made: Database, option: str) -> None:
    """Options that begin with pg_ are no part of a schema, wherever they stand; text that looks like them stays."""
    run_sql(made, KEPT)
    text, parts = dump.take(made), catalog.take(made)
    keep_for_itself(made, option)
    assert catalog.take(made) == parts
    run_sql(
        made,
        "UPDATE pg_class SET reloptions = '{pg_x=1}' WHERE relkind = 'i' AND reloptions IS NULL",
    )
    assert option in "".join(
        subprocess.run(
            [programs.BINARIES / "pg_dump", "--schema-only"],
            env=made.dsn.child_environment(),
            capture_output=True,
            check=True,
        ).stdout.decode()
    )
    assert dump.take(made) == text
    assert text.count("pg_attver") == 5  # as users wrote them


@pytest.mark.long
@pytest.mark.parametrize("noted", ["columns", "tables"])
def test_what_a_later_release_keeps_is_named_once(project: Project, noted: str) -> None:
    """An option of every column or table, whatever its name, is no difference: it is named, and stops nothing."""
    column, table = (noted == each for each in ("columns", "tables"))
    run_sql(
        project.database,
        "CREATE TABLE a (x int, y int); CREATE TABLE b (x int PRIMARY KEY); CREATE VIEW v AS TABLE a",
    )
    keep_for_itself(project.database, "srv_note", columns=column, tables=table)
    adopted = adopt(project.settings, project.database, "adopted", lambda *_: True)
    said = f"the option srv_note of every one of {3 if column else 2} {noted}, which a server keeps for itself"
    assert [note for note in adopted.notes if "srv_note" in note] == [f"not in the script: {said}"]
    assert adopted.path
    assert "srv_note" not in adopted.path.with_suffix(".sql").read_text()
    target = check.compare(*project.settings, project.database).target
    assert target
    assert (target.drifts.objects, target.drifts.notes) == ((), (said,))


def test_an_option_that_another_server_refuses(made: Database) -> None:
    """An option of one column may be a user's: it stays, and where it is refused one reads how many have it."""
    run_sql(
        made,
        "CREATE TABLE a (x int, y int); CREATE TABLE b (x int, y int)",
        "UPDATE pg_attribute SET attoptions = '{srv_x=1}' WHERE attname = 'x' AND attrelid >= 16384",
    )
    text = dump.take(made)
    assert dump.omissions(text) == ()
    run_sql(made, "DROP TABLE a, b")
    with pytest.raises(ExpectedError, match=r"its own dump of TABLE a\n") as caught:
        dump.restore(text, made)
    assert (
        "2 objects of the dump have the option srv_x, which this server does not know"
        in caught.value.cause
    )


def test_a_server_that_is_newer(server: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump of an older major version refuses; the error says where a newer one comes from."""
    if OTHER_PROGRAMS or not OLD_PROGRAMS.exists():
        pytest.skip(f"an older pg_dump: {OLD_PROGRAMS} is missing, or the server is as old")
    monkeypatch.setattr(programs, "BINARIES", OLD_PROGRAMS)
    with pytest.raises(ExpectedError, match="cannot be dumped") as caught:
        dump.take(server)
    assert "server version mismatch" in caught.value.cause
    assert caught.value.hint.startswith("make lock ARGS=--upgrade")


def test_more_tables_than_locks(
    made: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where pg_dump gets no lock for each table the advice is about locks; the list of tables is not printed whole."""
    said = 'pg_dump: error: query failed: ERROR:  out of shared memory\nHINT:  increase "max_locks_per_transaction"'
    listed = ", ".join(f"public.t{number}" for number in range(5000))
    (tmp_path / "pg_dump").write_text(
        f"#!/bin/sh\ncat >&2 <<'E'\n{said}\npg_dump: detail: Query was: LOCK TABLE {listed}\nE\nexit 1\n"
    )
    (tmp_path / "pg_dump").chmod(0o755)
    monkeypatch.setattr(programs, "BINARIES", tmp_path)
    with pytest.raises(ExpectedError) as caught:
        dump.take(made)
    assert "LOCK TABLE public.t0, public.t1" in caught.value.cause
    assert len(caught.value.cause) < 1000
    assert "--command 'ALTER SYSTEM SET max_locks_per_transaction = " in caught.value.hint


def test_table_that_is_locked(made: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dump waits only briefly for a lock; the advice is to try again, not to ask for privileges."""
    run_sql(made, "CREATE TABLE t (x int)")
    monkeypatch.setattr(dump, "LOCK_WAIT", "50ms")
    started = time.monotonic()
    with made.connect(usual_path=True) as connection, connection.begin():
        connection.exec_driver_sql("LOCK TABLE t")
        with pytest.raises(ExpectedError) as caught:
            dump.take(made)
    assert time.monotonic() - started < 20
    assert "LOCK TABLE public.t" in caught.value.cause
    assert caught.value.hint.startswith("the same command again")


def test_what_cannot_be_restored_is_named(made: Database) -> None:
    """The object is named by which a dump cannot be restored; the database stays empty."""
    text = dump.take(made).replace(
        "--\n-- PostgreSQL database dump complete",
        "--\n-- Name: good; Type: TABLE; Schema: public; Owner: -\n--\n\nCREATE TABLE public.good ();\n\n\n"
        "--\n-- Name: bad; Type: VIEW; Schema: audit; Owner: -\n--\n\nCREATE VIEW audit.bad AS SELECT 1;\n\n\n"
        "--\n-- PostgreSQL database dump complete",
    )
    with pytest.raises(ExpectedError, match=r"its own dump of VIEW audit\.bad") as caught:
        dump.restore(text, made)
    assert 'schema "audit" does not exist' in caught.value.cause
    assert run_sql(made, "SELECT to_regclass('good')") == [(None,)]

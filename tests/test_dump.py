"""pg_dump's text: what of it is masked, and what is said when there is none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import OTHER_PROGRAMS, fresh, run_sql

from postgres_database import binaries, dump
from postgres_database.connection import Database
from postgres_database.errors import ExpectedError

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
    text = dump.dump(made)
    assert text.count("s3cr3t") == 1  # the table's
    assert "r3t@h" not in text
    assert dumped is None or dumped in " ".join(text.split())
    assert dump.is_masked(text) == ("***" in text)
    run_sql(made, "DROP FOREIGN DATA WRAPPER w CASCADE; DROP TABLE plain")
    dump.restore(text, made)
    assert dump.dump(made) == text


def test_a_server_that_is_newer(server: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump of an older major version refuses; the error says where a newer one comes from."""
    if OTHER_PROGRAMS or not OLD_PROGRAMS.exists():
        pytest.skip(f"an older pg_dump: {OLD_PROGRAMS} is missing, or the server is as old")
    monkeypatch.setattr(binaries, "BINARIES", OLD_PROGRAMS)
    with pytest.raises(ExpectedError, match="cannot be dumped") as caught:
        dump.dump(server)
    assert "server version mismatch" in caught.value.cause
    assert caught.value.hint.startswith("make lock ARGS=--upgrade")


def test_a_table_that_somebody_locks(made: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice for a lock in the way is to try again, not to ask for privileges."""
    run_sql(made, "CREATE TABLE t (x int)")
    monkeypatch.setattr(dump, "LOCK_WAIT", "50ms")
    with made.connect() as connection, connection.begin():
        connection.exec_driver_sql("LOCK TABLE t")
        with pytest.raises(ExpectedError) as caught:
            dump.dump(made)
    assert caught.value.hint.startswith("the same command again")


def test_what_cannot_be_restored_is_named(made: Database) -> None:
    """The object is named by which a dump cannot be restored; the database stays empty."""
    text = dump.dump(made).replace(
        "--\n-- PostgreSQL database dump complete",
        "--\n-- Name: good; Type: TABLE; Schema: public; Owner: -\n--\n\nCREATE TABLE public.good ();\n\n\n"
        "--\n-- Name: bad; Type: VIEW; Schema: audit; Owner: -\n--\n\nCREATE VIEW audit.bad AS SELECT 1;\n\n\n"
        "--\n-- PostgreSQL database dump complete",
    )
    with pytest.raises(ExpectedError, match=r"its own dump of VIEW audit\.bad") as caught:
        dump.restore(text, made)
    assert 'schema "audit" does not exist' in caught.value.cause
    assert run_sql(made, "SELECT to_regclass('good')") == [(None,)]

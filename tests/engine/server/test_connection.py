"""Connections on a real server, and what people are told when there is none."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from checkouts import Checkout, as_text
from conftest import PASSWORD, run_sql
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from postgres_database import tasks
from postgres_database.commands.command import Command
from postgres_database.errors import ExpectedError
from postgres_database.server.connection import Database, cancelled_by_ctrl_c
from postgres_database.server.dsn import Dsn
from postgres_database.server.environment import Environment
from postgres_database.server.programs import BINARIES, encrypting
from postgres_database.server.transactions import limit_waits
from postgres_database.sql.names import quoted

BIN = Path(sys.executable).parent  # where `invoke` is
COMMANDS = {name for name in dir(tasks) if isinstance(getattr(tasks, name), Command)}


def app(port: int | str, **parts: str) -> Database:
    """Return the database of the role `app`, over TCP and with a password."""
    dsn = {"host": "127.0.0.1", "port": f"{port}", "user": "app", "password": PASSWORD}
    return Database(Dsn({**dsn, "dbname": "postgres", **parts}), "x", "from .env.x", " --env x")


def refused(database: Database) -> ExpectedError:
    """Return the error of a connection that fails; it is three lines without a secret."""
    with pytest.raises(ExpectedError) as caught, database.connect(usual_path=True):
        pass
    error = caught.value
    assert re.fullmatch(
        r"error: .+\ncause: .+\ntry:   (?:invoke \w+|\$\{EDITOR:-vi\} \.env\.x) .*", str(error)
    ), str(error)
    assert set(re.findall(r"invoke (\w+)", error.hint)) <= COMMANDS
    assert "psycopg2" not in error.cause  # the server's words, without the driver's
    password = database.dsn.parts.get("password", "")
    assert not password or password not in error.cause
    return error


def test_a_target_is_named_with_its_source() -> None:
    """The line that names a target says where its DSN comes from, where that is known."""
    database = app(5432)
    assert str(database) == "x  app@127.0.0.1:5432/postgres  (from .env.x)"
    assert str(replace(database, source="")) == "x  app@127.0.0.1:5432/postgres"


def test_the_right_password_connects(port: int) -> None:
    """A password full of special characters reaches the server as it is, for us and for psql."""
    database = app(port)
    with database.connect(usual_path=True) as connection:
        assert connection.scalar(sa.text("SELECT current_user")) == "app"
    assert psql(database, "SELECT current_user") == "app"


def psql(database: Database, command: str) -> str:
    """Return what psql answers, which gets the DSN by its environment alone."""
    done = subprocess.run(
        [BINARIES / "psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--command={command}"],
        env=database.dsn.child_environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("password", ["wrong", "p@ss/w%rd#$2", "a", "password", "%", "'", "app"])
def test_a_wrong_password(port: int, password: str) -> None:
    """A wrong password is told as that, also one that is a word of the message itself."""
    error = refused(app(port, password=password))
    assert error.what == f"cannot connect to app@127.0.0.1:{port}/postgres"
    assert error.hint == (
        "${EDITOR:-vi} .env.x   (until user and password are right, and it has not expired: VALID UNTIL of the role;"
        " then the same command again)"
    )


@hypothesis_settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
@example("127.0.0.1")
def test_no_password_is_in_any_error(port: int, password: str) -> None:
    """What is told of a refusal does not depend on the password, but for words it shares."""
    expected = refused(app(port, password="wrong, of course"))
    error = refused(app(port, password=password))
    assert (error.what, error.hint) == (expected.what, expected.hint)
    assert error.cause == Dsn({"password": password}).scrub(expected.cause)


def test_a_missing_password(port: int) -> None:
    """Without a password it is told that there is none."""
    error = refused(app(port, password="", passfile="/dev/null"))
    assert "there is a password" in error.hint


def test_a_closed_port() -> None:
    """Where nothing listens, host and port are what must be right; libpq's two lines are one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    error = refused(app(closed))
    assert "Connection refused" in error.cause
    assert "host and port are right" in error.hint


def test_a_host_that_has_no_address() -> None:
    """A host name that cannot be resolved is told as that."""
    assert "the host name is right" in refused(app(1, host="db.invalid")).hint


ANSWERS = {
    "a web server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a mail server": b"220 mail.example.com ESMTP\r\n",
    "a server that says no to TLS and then speaks its own language": b"N+OK hello\r\n",
    "a server that hangs up": b"",
}


@pytest.fixture
def stranger(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server that is no PostgreSQL and answers what the test says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                with contextlib.suppress(ConnectionError):
                    try:
                        client, _ = listener.accept()
                    except OSError:
                        return
                    with client:
                        client.recv(8)
                        client.sendall(request.param)

        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.skipif(sys.platform != "linux", reason="only there the programs get another libpq")
@pytest.mark.parametrize("stranger", [b"N"], indirect=True)
def test_programs_speak_tls(stranger: int) -> None:
    """What must be encrypted is, also between pg_dump and a server; this one has no TLS."""
    environ = encrypting(app(stranger, sslmode="require").dsn.child_environment())
    done = subprocess.run(
        [BINARIES / "pg_dump"], env=environ, capture_output=True, text=True, check=False
    )
    assert "server does not support SSL, but SSL was required" in done.stderr


@pytest.mark.parametrize("stranger", ANSWERS.values(), ids=ANSWERS, indirect=True)
def test_something_else_on_the_port(stranger: int) -> None:
    """What answers and is no PostgreSQL is told in three lines, and the port is doubted."""
    assert "port" in refused(app(stranger)).hint


def test_a_pool_that_has_no_transactions() -> None:
    """A pool in statement mode is told as one, and not by its host and port."""
    said = Exception("FATAL: transaction blocks not allowed in statement pooling mode")
    assert "a pool in session mode" in app(1)._refused(said).hint


# A server's own words, as it says them before it lets anybody in, and what must be put right.
FATAL = {
    b'too many connections for role "app"': "fewer are connected, or ALTER ROLE … CONNECTION LIMIT … has raised it",
    b'too many connections for database "shop"': (
        "fewer are connected, or ALTER DATABASE … CONNECTION LIMIT … has raised it"
    ),
    b"sorry, too many clients already": "fewer are connected, or max_connections of the server is greater",
    b"remaining connection slots are reserved for roles with the SUPERUSER attribute": (
        "fewer are connected, or max_connections of the server is greater"
    ),
    b"the database system is starting up": "the server has started; nothing is wrong with the DSN",
    b"the database system is shutting down": "the server has started; nothing is wrong with the DSN",
    b'permission denied for database "shop"': "its owner has said GRANT CONNECT ON DATABASE … TO …",
    b'password authentication failed for user "app"': (
        "user and password are right, and it has not expired: VALID UNTIL of the role"
    ),
    b'role "app" does not exist': "the user exists and may log in",
    b'role "app" is not permitted to log in': "the user may log in: ALTER ROLE … LOGIN",
    b'Peer authentication failed for user "app"': (
        "its user is that of this machine, or host=localhost lets a password count"
    ),
    b'no pg_hba.conf entry for host "10.0.0.1"': "the server lets this user in",
}


@pytest.mark.parametrize(
    ("stranger", "wrong"),
    [
        (b"E\0\0\0" + bytes([len(said) + 19]) + b"SFATAL\0C28000\0M" + said + b"\0\0", wrong)
        for said, wrong in FATAL.items()
    ],
    ids=map(bytes.decode, FATAL),
    indirect=["stranger"],
)
def test_a_server_that_refuses(stranger: int, wrong: str) -> None:
    """What a server says about a user is not taken for a wrong host or port."""
    assert f" {wrong};" in refused(app(stranger, sslmode="disable")).hint


def test_every_host_is_told(port: int) -> None:
    """With several hosts each failure has a line of its own, and the first that works is taken."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    several = app(f"{closed},{port}", host="127.0.0.1,127.0.0.1")
    with several.connect(usual_path=True) as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1
    wrong = replace(several, dsn=several.dsn.with_parts(password="wrong"))
    with pytest.raises(ExpectedError) as caught, wrong.connect(usual_path=True):
        pass
    first, second = caught.value.cause.splitlines()
    assert "Connection refused" in first
    assert "authentication failed" in second


@pytest.mark.long
@pytest.mark.parametrize("name", ["it's $HOME `id`", 'Qu"ote größer', "--x%20;c"])
def test_the_hint_for_an_unknown_database_works(
    checkout: Checkout, server: Database, name: str
) -> None:
    """The command that the error names, typed into a shell, creates the database."""
    checkout.env_file("x", POSTGRES_DSN=f"'{single(as_text(server.dsn.with_parts(dbname=name)))}'")
    missing = Database(server.dsn.with_parts(dbname=name), "x", "from .env.x", " --env x")
    error = refused(missing)
    try:
        done = checkout.run("bash", "-c", error.hint, PATH=f"{BIN}:{os.environ['PATH']}")
        assert done.returncode == 0, done.stderr
        with missing.connect(usual_path=True) as connection:
            assert connection.scalar(sa.text("SELECT current_database()")) == name
        assert checkout.invoke("current", "--env", "x").returncode == 0
    finally:
        with server.connect(autocommit=True) as connection:
            drop = f"DROP DATABASE IF EXISTS {quoted(name)}"
            connection.exec_driver_sql(drop.replace("%", "%%"))


def single(text: str) -> str:
    """Escape a value for single quotes in an env file."""
    return text.replace("\\", "\\\\").replace("'", "\\'")


def test_the_hint_for_a_scratch_server_leaves_the_target_alone(server: Database) -> None:
    """Where the scratch server is missing, no command on the target is advised."""
    scratch = Database(server.dsn.with_parts(dbname="no such"), "scratch", "from SCRATCH_DSN")
    error = refused(scratch)
    assert error.hint == (
        "invoke check   (once it names a database that exists and lets in, such as postgres;"
        " the DSN comes from SCRATCH_DSN)"
    )


# Variables of libpq that lead to another server than the DSN says.
STRAY = {
    "PGHOSTADDR": {"PGHOSTADDR": "127.0.0.1", "PGPORT": "1"},
    "PGHOST": {"PGHOST": "/nowhere", "PGPORT": "1", "PGDATABASE": "nowhere", "PGUSER": "nobody"},
    "PGSERVICE": {"PGSERVICE": "stray"},
    "PGSERVICE with an address": {"PGSERVICE": "stray_address"},
}


@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY)
def test_the_process_environment_leads_nowhere_else(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stray: dict[str, str]
) -> None:
    """A database whose DSN names host and database is reached, by us and by pg_dump and psql, whatever
    the variables of libpq say.
    """
    (tmp_path / "services").write_text(
        "[stray]\nhost=/nowhere\nport=1\ndbname=nowhere\nuser=nobody\n"
        "[stray_address]\nhostaddr=127.0.0.1\nport=1\ndbname=nowhere\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    for name, value in stray.items():
        monkeypatch.setenv(name, value)
    with database.connect(usual_path=True) as connection:
        assert connection.scalar(sa.text("SELECT current_database()")) == database.dsn.database
    assert psql(database, "SELECT current_database()") == database.dsn.database


def test_absent_parts_stay_libpqs(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a DSN leaves out is found by libpq, for us and for child processes alike."""
    parts = dict(database.dsn.parts)
    monkeypatch.setenv("PGHOST", parts.pop("host"))
    monkeypatch.setenv("PGDATABASE", parts.pop("dbname"))
    monkeypatch.setenv("PGAPPNAME", "of the desk")
    absent = replace(database, dsn=Dsn(parts))
    query = "SELECT current_database() || ' ' || current_setting('application_name')"
    expected = f"{database.dsn.database} of the desk"
    with absent.connect(usual_path=True) as connection:
        assert connection.scalar(sa.text(query)) == expected
    assert psql(absent, query) == expected


def test_secrets_stay_out_of_engine_and_connection(port: int) -> None:
    """Neither engine, URL, pool, connection nor a driver's connection shows the password."""
    database = app(port)
    engine = database.engine
    with database.connect(usual_path=True) as connection:
        driver = connection.connection.dbapi_connection
        things = [database, engine, engine.url, engine.pool, engine.dialect, connection, driver]
        shown = [f"{thing} {thing!r}" for thing in things]
        shown.append(engine.url.render_as_string(hide_password=False))
    assert not [text for text in shown if PASSWORD in text or "p%40ss" in text]


def test_a_pool_keeps_nothing_open(server: Database, database: Database) -> None:
    """When a connection is closed the server has none left, so that its database can be dropped."""
    with database.connect(usual_path=True) as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1
    with server.connect(autocommit=True) as connection:
        connection.exec_driver_sql(f"DROP DATABASE {database.dsn.database}")


@pytest.mark.parametrize("name", ["plain", 'a"b', "A b", "%", "größer", "'"])
def test_quoted_identifiers(database: Database, name: str) -> None:
    """A quoted identifier names exactly what it was made from."""
    create = f"CREATE TABLE {quoted(name)} ()".replace("%", "%%")
    with database.connect(usual_path=True) as connection, connection.begin():
        connection.exec_driver_sql(create)
        found = connection.scalar(
            sa.text("SELECT relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384")
        )
    assert found == name


# --- limits of time ------------------------------------------------------------------------------


@pytest.fixture
def limits(environment: Environment) -> Environment:
    """Settings with time limits that a test can wait for."""
    return replace(environment, lock_timeout=50, statement_timeout=7000)


@pytest.fixture
def environment(tmp_path: Path, database: Database) -> Environment:
    """Settings of a repository whose target is the test's database."""
    return Environment(tmp_path, "", "from the test", database.dsn)


def timeouts(connection: sa.Connection) -> tuple[str, str]:
    """Return the limits that hold now."""
    cursor = connection.connection.cursor()
    cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
    lock, statement = cursor.fetchall()[0]
    return lock, statement


def test_limits_hold_in_every_transaction_and_end_with_it(
    database: Database, limits: Environment
) -> None:
    """Each transaction begins with the limits, whatever was committed, rolled back or set before."""
    with database.connect(usual_path=True) as connection:
        limit_waits(connection, limits)
        for end in ("commit", "rollback"):
            with connection.begin() as transaction:
                assert timeouts(connection) == ("50ms", "7s")
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                getattr(transaction, end)()
        connection.execute(sa.text("SELECT 1"))  # a transaction that begins by itself
        assert timeouts(connection) == ("50ms", "7s")
        connection.rollback()
        connection.execution_options(isolation_level="AUTOCOMMIT")
        assert timeouts(connection) == ("0", "0")


def test_limits_that_are_not_set(database: Database, environment: Environment) -> None:
    """LOCK_TIMEOUT=0 waits for ever; without STATEMENT_TIMEOUT what the role or the DSN says holds."""
    for limit in ("lock_timeout", "statement_timeout"):
        run_sql(database, f"ALTER DATABASE {database.dsn.database} SET {limit} = '5s'")
    with database.connect(usual_path=True) as connection:
        limit_waits(connection, replace(environment, lock_timeout=0, statement_timeout=0))
        with connection.begin():
            assert timeouts(connection) == ("0", "5s")


@contextlib.contextmanager
def locked(database: Database) -> Iterator[sa.Connection]:
    """Hold a lock on the table t that every change of it waits for."""
    with database.connect(usual_path=True) as holder:
        transaction = holder.begin()
        holder.exec_driver_sql("LOCK TABLE t IN ROW EXCLUSIVE MODE")
        yield holder
        if transaction.is_active:
            transaction.rollback()


def test_a_transaction_gives_up_waiting_for_a_lock(database: Database, limits: Environment) -> None:
    """In a transaction DDL gives up after LOCK_TIMEOUT, so that it does not stop all who come later."""
    run_sql(database, "CREATE TABLE t (id int)")
    with locked(database), database.connect(usual_path=True) as connection:
        limit_waits(connection, limits)
        with pytest.raises(OperationalError) as caught, connection.begin():
            connection.exec_driver_sql("ALTER TABLE t ADD COLUMN x int")
    assert isinstance(caught.value.orig, psycopg2.errors.LockNotAvailable)


def test_a_concurrent_index_waits_as_long_as_it_takes(
    database: Database, limits: Environment
) -> None:
    """In an autocommit block no limit holds: CREATE INDEX CONCURRENTLY waits and the index is valid."""
    run_sql(database, "CREATE TABLE t (id int)")
    built = threading.Event()

    def build(connection: sa.Connection) -> None:
        context = MigrationContext.configure(connection)
        with context.begin_transaction():
            assert timeouts(connection) == ("50ms", "7s")
            with context.autocommit_block():
                Operations(context).create_index("t_idx", "t", ["id"], postgresql_concurrently=True)
            assert timeouts(connection) == ("50ms", "7s")
        built.set()

    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND query LIKE 'CREATE INDEX CONCURRENTLY%'"
        " AND query_start < clock_timestamp() - interval '150 ms'"
        " AND datname = current_database()"
    )
    with locked(database) as holder, database.connect(usual_path=True) as connection:
        limit_waits(connection, limits)
        thread = threading.Thread(target=build, args=[connection])
        thread.start()
        while thread.is_alive() and run_sql(database, waits) == [(0,)]:
            pass
        assert thread.is_alive()
        holder.rollback()
        thread.join()
    assert built.is_set()
    assert run_sql(database, "SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass") == [
        (True,)
    ]


@pytest.mark.parametrize(
    ("number", "seconds", "cancelled"), [(signal.SIGINT, 60, True), (signal.SIGWINCH, 0.3, False)]
)
def test_signals_while_a_statement_runs(
    database: Database,
    number: signal.Signals,
    seconds: float,
    cancelled: bool,  # noqa: FBT001
) -> None:
    """Ctrl-C ends the statement that the server is at; a terminal that changes its size does not."""
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND datname = "
    )

    def send() -> None:
        while run_sql(database, running + "current_database()") == [(0,)]:
            pass
        os.kill(os.getpid(), number)

    before = signal.signal(number, lambda *_: None)
    sender = threading.Thread(target=send)
    try:
        with (
            database.connect(usual_path=True) as connection,
            cancelled_by_ctrl_c(connection.connection.driver_connection),
        ):
            sender.start()
            ended = pytest.raises(OperationalError, match="canceling statement")
            with ended if cancelled else contextlib.nullcontext():
                connection.exec_driver_sql(f"SELECT pg_sleep({seconds})")
            sender.join()
    finally:
        signal.signal(number, before)
    assert signal.set_wakeup_fd(-1) == -1


def test_a_database_that_accepts_no_connections(server: Database, database: Database) -> None:
    """The command that the error names lets the database accept connections again."""
    name = database.dsn.database
    with server.connect(autocommit=True) as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    error = refused(database)
    sql = f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'
    assert error.hint == f"invoke psql --database postgres --command '{sql}'"
    with server.connect(autocommit=True) as connection:
        connection.exec_driver_sql(sql)
    with database.connect():
        pass


def test_template0_is_not_opened(server: Database) -> None:
    """PostgreSQL keeps template0 as it is: a DSN that names it is the mistake."""
    template = Database(server.dsn.with_parts(dbname="template0"), "x", "from .env.x", " --env x")
    assert refused(template).hint.startswith(
        "${EDITOR:-vi} .env.x   (until it names a database that exists"
    )

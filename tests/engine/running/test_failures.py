"""What is said when a command ends in the middle: the right cause, and what to type next."""

import errno
import importlib
import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from answers import yes
from commands import adopt, down, mark, up
from conftest import Project, run_sql

from postgres_database.commands import command as command_module
from postgres_database.errors import ExpectedError
from postgres_database.history import staged
from postgres_database.running import runner
from postgres_database.workflows import check, status

KILL = "op.get_bind().exec_driver_sql('SELECT pg_terminate_backend(pg_backend_pid())')\n"
KILL_OTHERS = "op.execute('SELECT pg_terminate_backend(pg_backend_pid())')\n"


def failed(project: Project) -> ExpectedError:
    with pytest.raises(ExpectedError) as caught:
        up(project.settings, project.database, confirm=yes)
    return caught.value


def test_a_function_of_the_database_that_refuses(project: Project) -> None:
    """What an event trigger raises is not taken for a fault of the script alone."""
    run_sql(
        project.database,
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not you'; END$$",
        "CREATE EVENT TRIGGER no ON ddl_command_start WHEN TAG IN ('CREATE SCHEMA') EXECUTE FUNCTION no()",
    )
    project.script("aaaa", "", "op.execute('CREATE SCHEMA a')")
    error = failed(project)
    assert "not you" in error.cause
    assert "event trigger" in error.hint


@pytest.mark.parametrize("sql", ["SELECT 1 WHERE 'ab' LIKE 'a%'", "SELECT format('%I', 'a')"])
def test_a_percent_sign_that_another_driver_takes(project: Project, sql: str) -> None:
    """What runs with asyncpg, but not with psycopg2, is told with what runs with both."""
    statement = f'op.get_bind().exec_driver_sql("{sql}")'
    path = project.script("aaaa", "", statement)
    error = failed(project)
    assert "psycopg2 reads a % in exec_driver_sql as the place of a value" in error.hint
    path.write_text(path.read_text().replace(statement, f'op.get_bind().execute(sa.text("{sql}"))'))
    up(project.settings, project.database, confirm=yes)


def test_connection_that_is_lost_between_scripts(project: Project) -> None:
    """What the server ends while no script runs is no statement that it refused."""

    def lose() -> None:
        with runner.open_runner(project.settings.project, project.database) as run:
            with run.connection.begin():
                pid = run.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            run_sql(project.database, f"SELECT pg_terminate_backend({pid})")
            run.current()

    with pytest.raises(ExpectedError, match="the connection was lost") as caught:
        lose()
    assert "the server answers again" in caught.value.cause
    assert caught.value.hint.startswith("invoke status")


@pytest.mark.parametrize(
    "script",
    [
        KILL,
        KILL_OTHERS,
        f"with op.online():\n    op.execute('CREATE TABLE a ()')\n    {KILL}",
        f"with op.online():\n    {KILL_OTHERS}",
        "try:\n    " + KILL + "except Exception:\n    pass\nop.execute('SELECT 1')\n",
        "op.run_sql('SELECT pg_terminate_backend(pg_backend_pid())')",
        "op.backfill('t', {'n': 'pg_terminate_backend(pg_backend_pid())::int'})",
    ],
    ids=str,
)
def test_lost_connection_is_told_in_the_words_of_the_server(project: Project, script: str) -> None:
    """After a lost connection the cause is what the server said, and nobody finds the connection closed."""
    project.script(
        "aaaa",
        "",
        "op.execute('CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1)')",
    )
    project.script("bbbb", "aaaa", script)
    error = failed(project)
    assert "bbbb" in error.what
    assert "the connection was lost" in error.what
    said = (
        "the script closed it, or caught" if "except" in script else "server closed the connection"
    )
    assert error.cause.startswith((said, "terminating connection"))
    assert "the server answers again" in error.cause
    assert error.hint.startswith("invoke upgrade   (with what else")
    project.script("bbbb", "aaaa")
    up(project.settings, project.database, confirm=yes)


def test_listener_of_the_application_is_named(project: Project) -> None:
    """What an application hears of SQLAlchemy's events, and fails, is told by its file and line."""
    project.script("aaaa", "", "op.execute('SELECT 42 AS hear')")
    (project.root / "ears.py").write_text(
        "def hear(connection, cursor, statement, *_):\n"
        "    if 'AS hear' in statement:\n"
        "        raise LookupError('no tenant')\n"
    )
    ears = importlib.import_module("ears")
    sa.event.listen(sa.Engine, "before_cursor_execute", ears.hear)
    try:
        error = failed(project)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", ears.hear)
    assert error.cause == "LookupError: no tenant\n(in ears.py, line 3)"
    assert error.hint == "invoke upgrade   (once ears.py is mended)"


def test_listener_that_fails_at_a_connection(project: Project) -> None:
    """So it is where a connection is made."""

    def greet(*_: object) -> None:
        raise LookupError("no tenant")

    sa.event.listen(sa.Engine, "connect", greet)
    try:
        error = failed(project)
    finally:
        sa.event.remove(sa.Engine, "connect", greet)
    assert "an event listener of the models failed" in error.what
    assert re.match(r"LookupError: no tenant\n\(in .*test_failures\.py, line \d+\)", error.cause)


def test_script_that_is_gone_is_told_with_who_ran_it(project: Project) -> None:
    """Whoever meets a revision without a script reads who ran it, and when, from the log."""
    project.script("aaaa", "", "op.execute('CREATE TABLE t ()')")
    gone = project.script("bbbb", "aaaa")
    settings, database = project.settings, project.database
    up(settings, database, confirm=yes)
    ((who, host),) = run_sql(
        database, "SELECT who, host FROM alembic_version_log WHERE revision = 'bbbb'"
    )
    gone.unlink()
    settings = project.settings  # reads the scripts anew
    told = f"bbbb was run by {who} on {host}, 2"
    assert told in failed(project).cause
    assert "-Sbbbb" in failed(project).hint
    for command in (
        lambda: down(settings, database, confirm=yes),
        lambda: mark(settings, database, "aaaa", confirm=yes),
        lambda: check.compare(*settings, database),
        lambda: adopt(settings, database, "x", yes),
    ):
        with pytest.raises(ExpectedError) as caught:
            command()
        assert told in caught.value.cause
    assert told in status._look(*settings).fault
    run_sql(database, "DELETE FROM alembic_version_log")
    assert "the log of the database does not say" in failed(project).cause


def test_disk_that_cannot_be_written() -> None:
    """A read-only or full disk is told in three lines, with the file."""
    error = command_module._unwritable(
        OSError(30, "Read-only file system", "/srv/app/migration/x.py")
    )
    assert str(error).startswith(
        "error: /srv/app/migration/x.py cannot be written\ncause: Read-only file system\ntry:   df -h /srv/app/migr"
    )


def test_full_disk_is_named(tmp_path: Path) -> None:
    """What has no room is the folder that a script was copied to, which may be a disk of its own."""
    full = tmp_path / "versions"
    for filename, named in ((None, tmp_path), (str(full / "x.py.new"), full)):
        files = ("x.py", None, filename) if filename else ()
        error = OSError(errno.ENOSPC, "No space left on device", *files)
        with pytest.raises(ExpectedError) as caught, staged.explained(tmp_path):
            raise error
        assert caught.value.hint.startswith(f"df -h {named}; ls -la {named}   (")


@pytest.mark.parametrize(
    ("script", "advice"),
    {
        "try:\n    op.execute('SELECT 1 / 0')\nexcept Exception:\n    pass": "after a statement had failed",
        "op.execute('CREATE TYPE k AS ENUM ()')": "create_type=False",
    }.items(),
)
def test_faults_of_a_script_on_a_scratch_database(
    project: Project, script: str, advice: str
) -> None:
    """An error that a script has caught, and a type that another one made, are told as what they are."""
    project.script("aaaa", "", "op.execute('CREATE TYPE k AS ENUM ()')")
    project.script("bbbb", "aaaa", f"{script}\nop.execute('SELECT 1')")
    with pytest.raises(ExpectedError) as caught:
        check.compare(*project.settings)
    assert advice in caught.value.hint

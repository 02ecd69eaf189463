"""Where every environment stands."""

import re
import secrets
from contextlib import ExitStack
from dataclasses import replace
from threading import current_thread, main_thread
from typing import Any

import pytest
from answers import yes
from checkouts import as_text
from commands import up
from conftest import Project, fresh, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.running import log, runner
from postgres_database.running.listener import SILENT
from postgres_database.server import embedded, environment
from postgres_database.server.connection import Database
from postgres_database.server.environment import Environment
from postgres_database.workflows import status

CREATE = "op.create_table('t', sa.Column('id', sa.Integer, primary_key=True))"


def test_status_of_every_environment(project: Project) -> None:
    """Each environment is a row: where it stands, what is pending, or why nobody knows."""
    project.script("aaaa", "", CREATE)
    project.script("bbbb", "aaaa")
    dsn, server = as_text(project.database.dsn), as_text(project.scratch)
    for name, line in {
        "good": f"POSTGRES_DSN={dsn}\nSCRATCH_DSN={server}",
        "unproved": f"POSTGRES_DSN={dsn}\nSCRATCH_DSN=host=/nowhere user=x dbname=y",
        "gone": f"POSTGRES_DSN=host=/nowhere user=x dbname=y\nSCRATCH_DSN={server}",
        "odd": "POSTGRES_DSN=mysql://x",
        "empty": "PROTECTED=1",
    }.items():
        (project.root / f".env.{name}").write_text(line + "\n")
    up(project.settings, project.database, target="aaaa", confirm=yes)
    found = status.collect(project.settings.project, [*environment.env_files(project.root)])
    rows = {row.environment: row for row in found}
    assert sorted(rows) == ["empty", "gone", "good", "odd", "unproved"]
    assert rows["good"].revision == ("aaaa",)
    assert rows["good"].pending == ("bbbb  Message of bbbb",)
    assert rows["good"].version.partition(".")[0].isdigit()
    assert rows["good"].drift == ()
    assert rows["unproved"].revision == ("aaaa",)
    assert rows["unproved"].drift is None
    assert "/nowhere" in rows["unproved"].drift_fault
    assert "/nowhere" in rows["gone"].fault
    assert "must start with postgresql://" in rows["odd"].fault
    assert "has no POSTGRES_DSN" in rows["empty"].fault


def test_servers_are_started_before_anything_is_parallel(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root starts a server as another account, which its whole process is meanwhile: no thread may work then."""
    project.script("aaaa")
    for name in "one", "two":
        project.env_file(name)
    main: list[tuple[str, bool]] = []
    for kind in "target", "scratch_server":
        start = getattr(embedded, kind)

        def started(
            environment: Environment, *more: Any, kind: str = kind, start: Any = start
        ) -> Any:
            main.append((f"{kind} {environment.label}", current_thread() is main_thread()))
            return start(environment, *more)

        monkeypatch.setattr(embedded, kind, started)
    status.collect(project.settings.project, ["one", "two"])
    first = dict(reversed(main))
    assert first == dict.fromkeys(first, True)
    assert len(first) == 4


@pytest.mark.long
def test_status_tells_drift_in_parallel(project: Project, server: Database) -> None:
    """Several environments are compared at the same time, each with the revision that it is at."""
    for number, name in enumerate(["aaaa", "bbbb", "cccc"]):
        parent = ["", "aaaa", "bbbb"][number]
        project.script(name, parent, f"op.execute('CREATE TABLE t{number} (x int)')")
    with ExitStack() as stack:
        for number, revision in enumerate(["aaaa", "bbbb", "cccc", "aaaa", "bbbb", "cccc"]):
            database = stack.enter_context(fresh(server))
            up(project.settings, database, target=revision, confirm=yes)
            if number % 2:
                run_sql(database, "ALTER TABLE t0 ADD odd int")
            project.env_file(f"e{number}", database)
        rows = status.collect(project.settings.project, [f"e{number}" for number in range(6)])
    assert [row.drift for row in rows] == [(), ("TABLE t0",)] * 3
    assert [len(row.pending) for row in rows] == [2, 1, 0, 2, 1, 0]


def test_status_of_an_unknown_revision(project: Project) -> None:
    """A database at a revision of somebody else's is told as such."""
    project.script("aaaa", "", CREATE)
    up(project.settings, project.database, confirm=yes)
    run_sql(project.database, "UPDATE alembic_version SET version_num = 'other'")
    project.env_file("x")
    (row,) = status.collect(project.settings.project, ["x"])
    assert "is at revision other, which is not among the scripts" in row.fault
    assert "does not say who has run other" in row.fault


def test_status_of_a_run_that_goes_on_and_of_one_that_failed(project: Project) -> None:
    """Who runs what since when is shown, and what was interrupted or failed; nothing after it is done, or stamped."""
    project.script("aaaa", "", CREATE)
    project.script("bbbb", "aaaa", "op.execute('SELECT 1 / (SELECT count(*) FROM t)')")
    project.env_file("x")

    def status_now() -> status.EnvironmentStatus:
        (row,) = status.collect(project.settings.project, ["x"])
        return row

    with pytest.raises(ExpectedError):
        up(project.settings, project.database, confirm=yes)
    assert re.match(r"upgrade of revision bbbb failed, begun 20\d\d-.* by .* at ", status_now().run)
    run_sql(project.database, "UPDATE alembic_version_log SET outcome = 'running'")
    assert "upgrade of revision bbbb was interrupted, begun" in status_now().run
    with runner.open_runner(project.settings.project, project.database) as run:
        run.stamp(["bbbb"])  # such as baseline-existing, which the error of the upgrade has named
        assert status_now().run == ""
        run.stamp(["aaaa"])
    with (
        runner.open_runner(project.settings.project, project.database) as run,
        run.alone(SILENT, None),
    ):
        assert re.match(r"upgrade of revision bbbb runs since .*: pid \d+ ", status_now().run)
    run_sql(project.database, "INSERT INTO t VALUES (1)")
    up(project.settings, project.database, confirm=yes)
    assert status_now().run == ""


def test_status_for_a_role_that_may_not_read_the_log(project: Project) -> None:
    """A role for monitoring sees where a database stands; what it may not read is said, and is no traceback."""
    project.script("aaaa", "", CREATE)
    project.script("bbbb", "aaaa")
    up(project.settings, project.database, target="aaaa", confirm=yes)
    role = f"reader_{secrets.token_hex(4)}"
    run_sql(project.database, f"CREATE ROLE {role}", f"GRANT SELECT ON alembic_version TO {role}")
    limited = replace(
        project.database, dsn=project.database.dsn.with_parts(options=f"-c role={role}")
    )
    project.env_file("x", limited)
    try:
        (row,) = status.collect(project.settings.project, ["x"])
        with pytest.raises(ExpectedError, match="cannot be read") as caught:
            log.read(limited)
    finally:
        run_sql(project.database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert row.revision == ("aaaa",)
    assert row.pending == ("bbbb  Message of bbbb",)
    assert row.run == (
        "whether a run is unfinished is not known: permission denied for table alembic_version_log"
    )
    assert "GRANT SELECT ON public.alembic_version_log" in caught.value.hint
    assert not row.clean

"""Scripts that are edited after they ran on a database are named."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from answers import yes
from checkouts import as_text
from commands import down, mark, up
from conftest import Project, run_sql

from postgres_database.running import log
from postgres_database.workflows import check, status

EARLIER = "ALTER TABLE alembic_version_log DROP COLUMN digest"


def edited(project: Project) -> list[str]:
    """Return which scripts `status` and `check` name, which are the same."""
    project.env_file("x")
    (row,) = status.collect(project.settings.project, ["x"])
    checked = check.compare_target(*project.settings, project.database)
    assert checked.target
    assert row.edited == checked.target.edited
    assert checked.clean == (not row.edited) >= row.clean
    return [each.revision.id for each in row.edited]


def edit(script: Path) -> None:
    """Change a script in what no schema shows."""
    script.write_text(script.read_text() + "\n# edited\n")


@pytest.fixture
def ran(three: Project) -> Project:
    """A target at the second of three revisions."""
    up(three.settings, three.database, target="bbbb", confirm=yes)
    return three


@pytest.mark.long
def test_scripts_that_were_edited_after_they_ran(ran: Project) -> None:
    """They are named until what ran is put back, or is undone, or a stamp says that what is written is right."""
    assert edited(ran) == []
    edit(ran.versions / "cccc.py")  # has not run
    assert edited(ran) == []
    before = (ran.versions / "aaaa.py").read_text()
    edit(ran.versions / "aaaa.py")
    edit(ran.versions / "bbbb.py")
    assert edited(ran) == ["aaaa", "bbbb"]
    (ran.versions / "aaaa.py").write_text(before)
    assert edited(ran) == ["bbbb"]
    down(ran.settings, ran.database, confirm=yes)
    assert edited(ran) == []
    up(ran.settings, ran.database, confirm=yes)
    assert edited(ran) == []
    edit(ran.versions / "bbbb.py")
    edit(ran.versions / "cccc.py")
    assert edited(ran) == ["bbbb", "cccc"]
    mark(ran.settings, ran.database, "cccc", confirm=yes)
    assert edited(ran) == []
    assert [entry.outcome for entry in log.read(ran.database)] == ["done"] * 5


@pytest.mark.long
def test_scripts_that_plain_alembic_ran_again(
    ran: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the log says of a revision no longer counts once plain Alembic has run it."""
    monkeypatch.chdir(ran.root)
    monkeypatch.setenv("POSTGRES_DSN", as_text(ran.database.dsn))
    config = Config("alembic.ini")
    edit(ran.versions / "aaaa.py")
    command.downgrade(config, "-1")
    edit(ran.versions / "bbbb.py")
    command.upgrade(config, "+1")
    assert edited(ran) == ["aaaa"]


@pytest.mark.long
def test_logs_of_earlier_versions(ran: Project) -> None:
    """Of what ran before the log had digests nothing is said; the next upgrade adds the column."""
    run_sql(ran.database, EARLIER)
    edit(ran.versions / "aaaa.py")
    assert edited(ran) == []
    mark(ran.settings, ran.database, "bbbb", confirm=yes)
    up(ran.settings, ran.database, confirm=yes)
    edit(ran.versions / "cccc.py")
    assert edited(ran) == ["cccc"]
    run_sql(
        ran.database,
        "INSERT INTO alembic_version_log (revision, direction, who, host, tool, outcome)"
        " VALUES ('cccc', 'upgrade', 'me', 'here', '0.1.0', 'done')",
    )
    assert edited(ran) == []


def test_log_that_lacks_the_column_and_belongs_to_others(role: str, ran: Project) -> None:
    """Who may write the log and not alter it upgrades as before, and is told what is not kept."""
    run_sql(
        ran.database,
        EARLIER,
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"ALTER TABLE t OWNER TO {role}",
    )
    limited = replace(ran.database, dsn=ran.database.dsn.with_parts(options=f"-c role={role}"))
    notes: list[str] = []
    up(ran.settings, limited, confirm=yes, on_note=notes.append)
    assert "must be owner of table alembic_version_log" in notes[0]
    assert "ALTER TABLE public.alembic_version_log ADD COLUMN digest text" in notes[0]
    assert edited(ran) == []
    run_sql(ran.database, f"DROP OWNED BY {role}")


@pytest.mark.long
def test_log_that_lacks_the_column_while_it_is_dumped(ran: Project) -> None:
    """A dump, which may take hours, does not keep an upgrade waiting for the column."""
    run_sql(ran.database, EARLIER)
    notes: list[str] = []
    with ran.database.connect() as dump, dump.begin(), closing(dump.connection.cursor()) as cursor:
        cursor.execute("LOCK TABLE public.alembic_version_log IN ACCESS SHARE MODE")
        up(ran.settings, ran.database, confirm=yes, on_note=notes.append)
    assert "lock timeout" in notes[0]
    assert edited(ran) == []

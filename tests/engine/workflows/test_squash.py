"""One revision in place of many, equal to them, and databases that have run only some of them."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack

import pytest
from alembic import command
from alembic.config import Config
from answers import yes
from checkouts import as_text
from commands import adopt, down, mark, printed, up
from conftest import Project, fresh, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.running import runner
from postgres_database.server.connection import Database
from postgres_database.workflows import baseline, check, review, squash, status
from postgres_database.workflows.squash import SquashResult

FIRST = r"""
op.execute("CREATE TYPE kind AS ENUM ('a', 'b')")
op.execute("CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
op.execute("CREATE TABLE p (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k kind)")
op.execute("ALTER TABLE p ADD seven int GENERATED ALWAYS AS (7) STORED")
op.execute("CREATE TABLE c (id serial PRIMARY KEY, p int REFERENCES p, note text)")
"""
ROWS = r"""
op.run_sql("INSERT INTO c (note) VALUES ('-- Name: x; it''s' || chr(10) || '%s :b \\\\ ä')")
op.execute("INSERT INTO p (k) VALUES ('a'), ('b'); UPDATE c SET p = 2; DELETE FROM p WHERE id = 1")
op.execute("CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM c")
op.execute("CREATE TRIGGER loud BEFORE INSERT ON c FOR EACH ROW EXECUTE FUNCTION loud()")
"""
STATE = """
    SELECT (SELECT json_agg(c) FROM c)::text, (SELECT json_agg(p) FROM p)::text, (SELECT n FROM m),
           (SELECT last_value FROM c_id_seq), (SELECT last_value FROM p_id_seq),
           to_regclass('late') IS NOT NULL, (SELECT string_agg(version_num, ',') FROM alembic_version)
"""


@pytest.fixture
def long(project: Project) -> Project:
    """A history of four revisions, which make objects and rows."""
    project.script(
        "aaaa", "", FIRST, "op.execute('DROP TABLE c, p; DROP FUNCTION loud; DROP TYPE kind')"
    )
    project.script(
        "bbbb", "aaaa", "op.execute('ALTER TABLE c ADD late int')", "op.drop_column('c', 'late')"
    )
    project.script(
        "cccc", "bbbb", ROWS, "op.execute('DROP TRIGGER loud ON c; DROP MATERIALIZED VIEW m')"
    )
    project.script(
        "dddd", "cccc", "op.execute('CREATE TABLE late (x int)')", "op.drop_table('late')"
    )
    return project


def put(project: Project, target: str = "cccc") -> SquashResult:
    return squash.perform(*project.settings, target)


def files(project: Project) -> set[str]:
    home = project.root / "migration"
    paths = (path for path in home.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(home)) for path in paths if path.suffix in {".py", ".sql"}} - {
        "env.py"
    }


def look(project: Project, database: Database) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Return where a database stands, what is pending and whether `check` and `status` find nothing else."""
    project.env_file("x", database)
    (row,) = status.collect(project.settings.project, ["x"])
    checked = check.compare_target(*project.settings, database)
    assert checked.target
    assert (checked.target.revision, checked.target.pending) == (row.revision, row.pending)
    return row.revision, tuple(each[:4] for each in row.pending), checked.clean and not row.drift


@pytest.mark.long
def test_databases_at_every_revision_end_equal(long: Project, server: Database) -> None:
    """Wherever a database stands, it is valid after the squash, and one upgrade brings it to the same end."""
    with ExitStack() as stack:
        places = ["base", "aaaa", "bbbb", "cccc", "dddd"]
        databases = {place: stack.enter_context(fresh(server)) for place in places}
        for place in places[1:]:
            up(long.settings, databases[place], place, confirm=yes)
        result = put(long)
        assert [each.id for each in result.replaced] == ["aaaa", "bbbb", "cccc"]
        assert result.rows == (("public.c", 1), ("public.p", 1))
        assert files(long) == {
            *("versions/cccc.py", "versions/cccc.sql", "versions/dddd.py"),
            *(f"squashed-cccc/{name}.py" for name in ("aaaa", "bbbb", "cccc")),
        }
        pending = {
            "aaaa": ("bbbb", "cccc", "dddd"),
            "bbbb": ("cccc", "dddd"),
            "cccc": ("dddd",),
            "dddd": (),
        }
        for place, ids in pending.items():
            assert look(long, databases[place]) == ((place,), ids, True)
        shown = up(long.settings, databases["aaaa"], confirm=yes, dry_run=True)
        assert [each.id for each in shown.plan] == ["bbbb", "cccc", "dddd"]
        assert shown.steps[0].statements == ("ALTER TABLE c ADD late int",)
        for database in databases.values():
            assert up(long.settings, database, confirm=yes).at_head
            assert look(long, database) == (("dddd",), (), True)
        states = [run_sql(database, STATE) for database in databases.values()]
        assert states == states[:1] * 5
        shutil.rmtree(long.root / "migration" / "squashed-cccc")  # no database needs it any more
        for database in databases.values():
            assert look(long, database) == (("dddd",), (), True)


@pytest.mark.long
def test_database_in_the_middle(long: Project) -> None:
    """It goes up step by step and down again by what is kept; what would need more says that it must be upgraded."""
    settings = long.settings
    up(settings, long.database, "aaaa", confirm=yes)
    put(long)
    with pytest.raises(ExpectedError, match="aaaa, which a squash has replaced") as caught:
        review.perform(*long.settings, long.database)
    assert caught.value.hint.startswith("invoke upgrade --dry-run ")
    adopted = baseline.adopt(*long.settings, long.database, "x")
    assert (adopted.revision, adopted.pending) == ("aaaa", True)
    assert up(long.settings, long.database, "+1", confirm=yes).after == ("bbbb",)
    assert down(long.settings, long.database, confirm=yes).after == ("aaaa",)
    assert up(long.settings, long.database, "bbb", confirm=yes).after == ("bbbb",)
    assert up(long.settings, long.database, "+2", confirm=yes).after == ("dddd",)
    with pytest.raises(ExpectedError, match="what was squashed is not undone at once"):
        down(long.settings, long.database, "base", confirm=yes)
    with pytest.raises(ExpectedError, match="no way down to bbbb, which a squash has replaced"):
        down(long.settings, long.database, "bbbb", confirm=yes)
    assert look(long, long.database) == (("dddd",), (), True)


@pytest.mark.long
def test_stamps_in_the_middle(long: Project) -> None:
    """Revisions that were replaced are stamped and found like others, with and without an old stamp."""
    up(long.settings, long.database, "bbbb", confirm=yes)
    put(long)

    def at() -> list[tuple[object, ...]]:
        return run_sql(long.database, "SELECT version_num FROM alembic_version")

    for target in ("aaaa", "dddd", "bbb", "cccc", "base", "bbbb", "head"):
        goal = mark(long.settings, long.database, target, confirm=yes)
        assert at() == ([] if target == "base" else [(goal,)])
    asked: list[str] = []

    def found(question: str, details: Sequence[str]) -> bool:
        asked.extend([question, *details])
        return True

    for statement in (
        "UPDATE alembic_version SET version_num = 'dddd'",
        "DROP TABLE alembic_version",
    ):
        run_sql(long.database, statement)
        adopted = adopt(long.settings, long.database, "x", found)
        assert (adopted.revision, adopted.pending) == ("bbbb", True)
        assert at() == [("bbbb",)]
    assert "stamped as dddd, which it is not; it is" in asked


@pytest.mark.long
def test_sql_from_the_middle(long: Project, server: Database) -> None:
    """What `--sql` prints for a database in the middle leads it where an upgrade does, from an offline range, too."""
    up(long.settings, long.database, "aaaa", confirm=yes)
    with fresh(server) as other:
        up(long.settings, other, "aaaa", confirm=yes)
        put(long)
        whole = printed(long.settings, lambda: long.database, "upgrade", "head")
        assert printed(long.settings, lambda: long.database, "upgrade", "aaaa:dddd") == whole
        back = printed(long.settings, lambda: long.database, "downgrade", "bbbb:aaaa")
        for sql in (printed(long.settings, lambda: other, "upgrade", "+1"), back, whole):
            run_sql(other, sql)
        up(long.settings, long.database, confirm=yes)
        assert run_sql(other, STATE) == run_sql(long.database, STATE)
    with pytest.raises(ExpectedError, match="no way down to aaaa, which a squash has replaced"):
        printed(long.settings, lambda: long.database, "downgrade", "dddd:aaaa")


@pytest.mark.long
def test_squash_of_what_was_squashed(long: Project, server: Database) -> None:
    """A database that stands before both goes through both, and each is compared with what ran."""
    with fresh(server) as first, fresh(server) as second:
        up(long.settings, first, "aaaa", confirm=yes)
        put(long, "bbbb")
        up(long.settings, second, "cccc", confirm=yes)
        put(long, "dddd")
        assert files(long) >= {
            "versions/dddd.py",
            "squashed-dddd/bbbb.sql",
            "squashed-bbbb/aaaa.py",
        }
        assert look(long, first) == (("aaaa",), ("bbbb", "cccc", "dddd"), True)
        for database in (first, second):
            assert up(long.settings, database, confirm=yes).after == ("dddd",)
            assert look(long, database) == (("dddd",), (), True)


@pytest.mark.long
def test_plain_alembic_after_a_squash(long: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database at the last revision that was replaced goes on with plain Alembic, too; so does an empty one."""
    up(long.settings, long.database, "cccc", confirm=yes)
    put(long)
    monkeypatch.chdir(long.root)
    monkeypatch.setenv("POSTGRES_DSN", as_text(long.database.dsn))
    command.upgrade(Config("alembic.ini"), "head")
    with runner.open_runner(long.settings.project, long.database) as run:
        assert run.current() == ("dddd",)


LABEL = "branch_labels = ('x',)\n"


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "target", "why"),
    [
        ("", "aaaa", "up to aaaa there are 1 revisions"),
        ("revision = 'eeee'\ndown_revision = 'aaaa'\n", "cccc", "which would stay, follows aaaa"),
        ("revision = 'eeee'\ndown_revision = 'dddd'\n" + LABEL, "eeee", "has the label x"),
        (
            "revision = 'eeee'\ndown_revision = None\ndepends_on = 'bbbb'\n",
            "cccc",
            "which would stay, follows bbbb",
        ),
        (
            "revision = 'eeee'\ndown_revision = ('dddd', 'ffff')\n",
            "eeee",
            "and not the one before it alone",
        ),
    ],
)
def test_history_that_is_no_line(long: Project, script: str, target: str, why: str) -> None:
    """Branches, labels and dependencies are named, and nothing is changed."""
    if script:
        moves = "def upgrade(): pass\ndef downgrade(): pass\n"
        (long.versions / "eeee.py").write_text(script + moves)
        if "ffff" in script:
            long.script("ffff")
    before = files(long)
    with pytest.raises(ExpectedError) as caught:
        put(long, target)
    assert why in caught.value.cause
    assert files(long) == before


@pytest.mark.long
@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("INSERT INTO c (note) SELECT 'x' FROM generate_series(1, 1001)", "leave 1001 rows"),
        ("CREATE ROLE {role}", ""),
    ],
)
def test_what_a_script_cannot_carry(role: str, project: Project, statement: str, why: str) -> None:
    """Too many rows are refused; what no dump of a schema holds is said."""
    project.script("aaaa", "", FIRST)
    statement = f"ALTER TABLE c OWNER TO {role}" if not why else statement
    project.script(
        "bbbb", "aaaa", f"# {statement}\nop.execute({statement if why else 'SELECT 1'!r})"
    )
    before = files(project)
    if why:
        with pytest.raises(ExpectedError, match=why):
            put(project, "head")
        assert files(project) == before
    else:
        (note,) = put(project, "head").notes
        assert "OWNER TO in bbbb" in note


@pytest.mark.long
def test_files_that_scripts_name(long: Project) -> None:
    """What a script opens goes along, and stays where others may open it."""
    (long.versions / "rows.sql").write_text("CREATE TABLE more (x int)")
    long.script(
        "bbbb",
        "aaaa",
        "op.execute_file(__file__.replace('bbbb.py', 'rows.sql'))",
        "op.drop_table('more')",
    )
    up(long.settings, long.database, "aaaa", confirm=yes)
    put(long)
    assert files(long) >= {"versions/rows.sql", "squashed-cccc/rows.sql"}
    up(long.settings, long.database, confirm=yes)
    assert look(long, long.database) == (("dddd",), (), True)

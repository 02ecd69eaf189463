"""No name that somebody has put on the search path is found by a query of ours."""

import secrets
from collections.abc import Iterator

import pytest
from answers import yes
from commands import adopt, down, mark, up
from conftest import Project, fresh, run_sql
from shadows import called, shadow

from postgres_database.reviewing import rehearsal
from postgres_database.running import log, runner
from postgres_database.server import transactions
from postgres_database.server.connection import Database
from postgres_database.workflows import check, review, status

PATHS = {
    "shadows that fit better": "public",
    "shadows that are found first": "public, pg_catalog",
}
ONLINE = """
with op.online():
    op.create_index("i", "t", ["a"])
    op.create_foreign_key("f", "t", "other", ["other"], ["id"])
    op.alter_column("t", "a", nullable=False)
    op.backfill("t", {"b": "'x'"})
"""


REVIEWED = """
with op.get_context().autocommit_block():
    op.execute("SET search_path = public, pg_catalog")
    op.execute("CREATE INDEX CONCURRENTLY r ON public.t (b)")
op.execute("SET LOCAL search_path = public, pg_catalog")
op.execute("UPDATE t SET b = b")
"""
"""Where `review` asks its questions, the script has set the path itself."""
MODELS = """
other = sa.Table("other", metadata, sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("t", sa.Integer, sa.ForeignKey("u.id", name="g")))
t = sa.Table("t", metadata, sa.Column("id", sa.String(9), primary_key=True), sa.Column("a", sa.Text, nullable=False),
    sa.Column("b", sa.Text, nullable=False), sa.Column("other", sa.Integer, sa.ForeignKey("other.id", name="f")),
    sa.UniqueConstraint("a", "b", name="k"), sa.Index("i", "a"))
u = sa.Table("u", metadata, sa.Column("id", sa.Integer, primary_key=True))
"""


@pytest.fixture(scope="module")
def shadowed(server: Database) -> Iterator[tuple[Database, str]]:
    """A database with shadows, and the mark that they leave in the log of the server."""
    mark = f"shadow{secrets.token_hex(4)}"
    with fresh(server) as made:
        shadow(made, mark)
        yield made, mark


@pytest.fixture(params=[*PATHS.values()], ids=[*PATHS])
def trapped(
    request: pytest.FixtureRequest,
    project: Project,
    shadowed: tuple[Database, str],
    server: Database,
) -> Project:
    """A project whose target is a copy of the database with shadows, with a history."""
    original, name = shadowed[0].dsn.database, project.database.dsn.database
    with server.connect(autocommit=True) as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name}")
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {original}")
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET search_path = {request.param}")
    project.models(MODELS)
    project.script(
        "aaaa",
        upgrade='op.create_table("other", sa.Column("id", sa.Integer, primary_key=True), sa.Column("t", sa.Integer))\n'
        'op.create_table("t", sa.Column("id", sa.String(9), primary_key=True), sa.Column("a", sa.Text),'
        ' sa.Column("b", sa.Text), sa.Column("other", sa.Integer))\n'
        'op.create_table("u", sa.Column("id", sa.Integer, primary_key=True))\n'
        "op.execute(\"INSERT INTO t VALUES ('1', 'a', NULL, NULL), ('2', 'b', NULL, NULL)\")\n"
        'op.execute("INSERT INTO u VALUES (1); INSERT INTO other VALUES (1, 1), (2, NULL)")',
        downgrade='op.drop_table("u")\nop.drop_table("t")\nop.drop_table("other")',
    )
    project.script("bbbb", "aaaa", upgrade=ONLINE)
    project.script(
        "cccc",
        "bbbb",
        upgrade='op.alter_column("t", "b", nullable=False)\nop.create_unique_constraint("k", "t", ["a", "b"])\n'
        'op.create_foreign_key("g", "other", "u", ["t"], ["id"])',
        downgrade='op.drop_constraint("g", "other")\nop.drop_column("t", "b")',
    )
    return project


@pytest.mark.long
def test_no_command_calls_what_shadows_a_name(
    trapped: Project, shadowed: tuple[Database, str]
) -> None:
    """Whatever a role has put into a schema on the path, whoever runs a command does not call it."""
    settings, target = trapped.settings, trapped.database
    sign = shadowed[1]
    before = called(sign)

    def nothing_called(after: str) -> None:
        assert called(sign) == before, after

    up(settings, target, dry_run=True, confirm=yes)
    nothing_called("upgrade --dry-run")
    up(settings, target, target="bbbb", confirm=yes)
    nothing_called("upgrade of online scripts")
    up(settings, target, confirm=yes)
    nothing_called("upgrade")
    assert log.read(target)[-1].outcome == "done"
    nothing_called("history --env")
    with runner.open_runner(settings.project, target) as run:
        assert run.current() == ("cccc",)
    nothing_called("current")
    assert check.compare(*settings, target).clean
    nothing_called("check")
    trapped.env_file("x", target)
    (row,) = status.collect(settings.project, ["x"])
    assert (row.fault, row.drift_fault) == ("", "")
    nothing_called("status")
    trapped.script("dddd", "cccc", upgrade=REVIEWED, downgrade='op.drop_index("r")')
    assert review.perform(*trapped.settings, target).statements
    nothing_called("review")
    project = trapped.settings.project
    # The copy that a review makes of a target has its functions, too.
    found = rehearsal.measure(project, target, project.history.pending(("cccc",), "head"))
    assert [each.sql.partition(" ")[0] for each in found.statements] == ["CREATE", "UPDATE"]
    nothing_called("measuring")
    down(trapped.settings, target, target="cccc", confirm=yes)
    (trapped.versions / "dddd.py").unlink()
    mark(settings, target, "cccc", purge=True, confirm=yes)
    nothing_called("stamp")
    down(settings, target, target="aaaa", confirm=yes)
    nothing_called("downgrade")
    run_sql(target, "DROP TABLE alembic_version")
    adopt(settings, target, "Init", yes)
    nothing_called("baseline-existing")


def test_a_question_about_the_catalog_is_not_compiled(database: Database) -> None:
    """JIT takes seconds for each question about the catalog; a script has it as before."""
    jit = "SELECT pg_catalog.current_setting('jit')"
    with database.connect(usual_path=True) as connection, connection.begin():
        cursor = connection.connection.cursor()
        cursor.execute("SET LOCAL jit = on")
        assert transactions.asked(cursor, jit) == [("off",)]
        cursor.execute(jit)
        assert cursor.fetchall() == [("on",)]

"""What people mistype or do not know: the error names the right cause and the right next step."""

import shlex
from pathlib import Path

import pytest
from answers import yes
from commands import up
from conftest import PASSWORD, Project, changed, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.running import runner
from postgres_database.server import environment
from postgres_database.server.connection import Database


def test_an_environment_that_is_misspelt(tmp_path: Path) -> None:
    """The name of an environment that has a file is suggested, if it is near."""
    for name in ("production", "staging"):
        (tmp_path / f".env.{name}").touch()
    with pytest.raises(ExpectedError) as caught:
        environment.load("prodcution", root=tmp_path, environ={})
    assert caught.value.hint.startswith("the same command with --env production ")
    with pytest.raises(ExpectedError) as caught:
        environment.load("qa", root=tmp_path, environ={})
    assert caught.value.hint.startswith("cp .env.example .env.qa ")


@pytest.mark.parametrize("name", ["show", "edit"])
def test_a_revision_that_is_misspelt(project: Project, name: str) -> None:
    """Every command that takes a revision says that there is none, and which is near; no script is blamed."""
    project.script("d92233541b7a")
    for call in (
        lambda: runner.alembic(project.settings.project, name, "d92233451b7a"),
        lambda: runner.alembic(project.settings.project, "history", rev_range="d92233451b7a:head"),
        lambda: project.settings.project.history.pending([], "d92233451b7a"),
    ):
        with pytest.raises(ExpectedError, match="there is no revision 'd92233451b7a'") as caught:
            call()
        assert "did you mean d92233541b7a  Message of d92233541b7a?" in caught.value.cause
    with pytest.raises(ExpectedError, match="invoke history cannot do that"):
        runner.alembic(project.settings.project, "history", rev_range="head")


CONFLICT = "x = (\n<<<<<<< HEAD\n    1\n=======\n    2\n>>>>>>> theirs\n)\n"


def test_a_script_with_the_markers_of_a_merge_conflict(project: Project) -> None:
    """File and line of the first marker are named, and that git is to be asked."""
    path = project.script("aaaa")
    path.write_text(path.read_text() + CONFLICT)
    line = path.read_text().splitlines().index("<<<<<<< HEAD") + 1
    with pytest.raises(ExpectedError) as caught:
        _ = project.settings.project.history
    assert caught.value.what == (
        f"migration/versions/aaaa.py, line {line} has the markers of a merge conflict"
    )
    assert caught.value.hint.startswith("git status")


@pytest.mark.parametrize(
    ("text", "cause", "hint"),
    [
        (CONFLICT, "line 5: git could not merge it", "git status"),
        ("def (", "line 4: invalid syntax", "python -c"),
    ],
)
def test_models_that_are_no_python(project: Project, text: str, cause: str, hint: str) -> None:
    """File and line of models that cannot be compiled are named."""
    project.models(text)
    module = project.settings.project.target_metadata.partition(":")[0]
    with pytest.raises(ExpectedError) as caught:
        project.settings.project.models()
    assert caught.value.cause.startswith(f"{module}.py, {cause}")
    assert caught.value.hint.startswith(hint)


def test_a_role_that_may_not_create(project: Project) -> None:
    """The statement that the error names, run by the owner of the schema, lets the same command succeed."""
    run_sql(project.database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # as it is since 15
    project.script("aaaa", upgrade="op.execute('CREATE TABLE t (x int)')")
    app = Database(
        project.database.dsn.with_parts(user="app", password=PASSWORD), "app", "from a test"
    )
    ours = changed(project.settings, target=app.dsn)
    with pytest.raises(ExpectedError) as caught:
        up(ours, app, confirm=yes)
    assert "permission denied for schema public" in caught.value.cause
    command = shlex.split(caught.value.hint.partition("   (")[0])
    assert command[-1] == "GRANT USAGE, CREATE ON SCHEMA public TO app"
    run_sql(project.database, command[-1])
    assert up(ours, app, confirm=yes).after == ("aaaa",)

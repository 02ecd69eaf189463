"""My revisions on top of the other head, proved there, instead of a revision that merges."""

import re
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from answers import yes
from checkouts import as_text
from commands import up
from conftest import Project, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.history import script_files
from postgres_database.workflows import rebase
from postgres_database.workflows.rebase import RebaseResult

TABLE = "op.create_table('t', sa.Column('id', sa.Integer, primary_key=True))"
MODELS = """
sa.Table('t', metadata, sa.Column('id', sa.Integer, primary_key=True),
         sa.Column('theirs', sa.Integer), sa.Column('mine', sa.Integer), sa.Column('too', sa.Integer))
"""


def git(project: Project, *arguments: str) -> None:
    identity = ["-c", "user.name=me", "-c", "user.email=me@x", "-c", "init.defaultBranch=main"]
    subprocess.run(
        ["git", *identity, *arguments], cwd=project.root, check=True, capture_output=True
    )


def add(project: Project, revision: str, parent: str, column: str = "") -> Path:
    """Write a script that adds a column."""
    column = column or revision
    return project.script(
        revision,
        parent,
        f"op.add_column('t', sa.Column('{column}', sa.Integer))",
        f"op.drop_column('t', '{column}')",
    )


@pytest.fixture
def two(project: Project) -> Project:
    """A repository in which main was merged into a branch: two heads, one of which main has not."""
    git(project, "init")
    (project.root / ".gitignore").write_text(".env*\n__pycache__\n")
    project.script("init", "", TABLE, "op.drop_table('t')")
    git(project, "add", "--all")
    git(project, "commit", "-m", "one")
    git(project, "checkout", "-b", "feature")
    add(project, "mine", "init")
    add(project, "too", "mine")
    git(project, "add", "--all")
    git(project, "commit", "-m", "mine")
    git(project, "checkout", "main")
    add(project, "theirs", "init")
    git(project, "add", "--all")
    git(project, "commit", "-m", "theirs")
    git(project, "checkout", "feature")
    git(project, "merge", "main")
    project.models(MODELS)
    return project


def put(project: Project, revision: str = "") -> RebaseResult:
    return rebase.perform(*project.settings, revision)


def texts(project: Project) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in (project.root / "migration").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_what_main_has_not_follows_what_it_has(two: Project) -> None:
    """The first of mine follows the other head, the others follow it as before; nothing else is changed."""
    before = texts(two)
    result = put(two)
    assert [each.id for each in result.moved] == ["mine", "too"]
    assert (result.onto.id, result.branch, result.notes) == ("theirs", "main", ())
    assert result.moved[0].parents == ("theirs",)
    changed = before["mine.py"].replace(b"down_revision = 'init'", b"down_revision = 'theirs'")
    assert texts(two) == {**before, "mine.py": changed}
    assert two.settings.project.history.heads == ("too",)
    up(two.settings, two.database, confirm=yes)


@pytest.mark.long
def test_first_revision_that_is_named(two: Project) -> None:
    """With --revision git is not asked, and either side may move."""
    assert [each.id for each in put(two, "theirs").moved] == ["theirs"]
    assert two.settings.project.history.heads == ("theirs",)


@pytest.mark.long
def test_script_that_fails_after_the_others(two: Project) -> None:
    """Where both add the same column, the server's words say so, and nothing is changed."""
    add(two, "mine", "init", "theirs")
    before = texts(two)
    with pytest.raises(ExpectedError, match="mine  Message of mine fails after theirs") as caught:
        put(two)
    assert 'column "theirs" of relation "t" already exists' in caught.value.cause
    assert ".staged" not in caught.value.cause
    assert caught.value.hint.startswith("invoke edit --target mine")
    assert texts(two) == before


@pytest.mark.long
def test_script_that_does_not_lead_to_the_models(two: Project) -> None:
    """What differs from the models only because of the new order changes nothing."""
    order = [each.id for each in two.settings.project.history.revisions]
    first, other = sorted(("mine", "theirs"), key=order.index)
    upgrade = f"ALTER TABLE t DROP IF EXISTS {other}, ADD {first} int"
    downgrade = f"ALTER TABLE t DROP {first}, ADD {other} int"
    two.script(first, "init", f"op.execute('{upgrade}')", f"op.execute('{downgrade}')")
    before = texts(two)
    with pytest.raises(ExpectedError, match="does not lead to the models") as caught:
        put(two, first)
    assert "TABLE t" in caught.value.cause
    assert texts(two) == before


@pytest.mark.long
def test_models_that_are_ahead(two: Project) -> None:
    """What the models lack or have besides is no fault of the new order, and is said."""
    two.models(MODELS.replace("'too'", "'next'"))
    (note,) = put(two).notes
    assert note == "the models differ from the history, as they did before, in TABLE t"


@pytest.mark.long
def test_database_that_has_run_it(two: Project) -> None:
    """The database of any environment that has run mine is named, with the command that undoes it there."""
    text = f"POSTGRES_DSN={as_text(two.database.dsn)}\n"
    (two.root / ".env.away").write_text("POSTGRES_DSN=host=/nowhere user=x dbname=y\n")
    up(two.settings, two.database, "mine", confirm=yes)
    with pytest.raises(ExpectedError, match="default has run mine already") as caught:
        put(two)
    assert caught.value.hint.startswith("invoke downgrade --target init ")
    (two.root / ".env.dev").write_text(text)
    with pytest.raises(ExpectedError, match="has run mine already"):
        put(two)
    run_sql(two.database, "DELETE FROM alembic_version; DROP TABLE t")
    (note,) = put(two).notes
    assert "whether away has run mine is not known: " in note


def refused(project: Project, *, revision: str = "") -> tuple[str, str]:
    before = texts(project)
    with pytest.raises(ExpectedError) as caught:
        put(project, revision)
    assert texts(project) == before
    return caught.value.what, caught.value.cause + caught.value.hint


@pytest.mark.long
def test_what_is_not_clear(two: Project) -> None:
    """Where git cannot say which revisions are mine, or it is not one line, the first one must be named."""
    git(two, "checkout", "main")
    git(two, "branch", "-D", "feature")
    what, why = refused(two)
    assert what == "there is nothing to rebase"
    add(two, "mine", "init")
    what, why = refused(two)
    assert "which revisions are yours is not known" in what
    assert "the current branch is main" in why
    git(two, "checkout", "-b", "other")
    add(two, "too", "init")
    what, why = refused(two)
    assert "main has none of these" in why
    assert "mine  Message of mine\ntoo  " in why
    what, why = refused(two, revision="mine")
    assert "has the heads theirs, too" in why
    (two.versions / "too.py").unlink()
    git(two, "add", "--all")
    git(two, "commit", "-m", "mine")
    git(two, "branch", "-f", "main")
    assert "main has all of them already" in refused(two)[1]
    what, why = refused(two, revision="init")
    assert "both heads follow it" in why


@pytest.mark.long
def test_without_git(two: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without git, and outside of its repositories, the error says how to go on."""
    monkeypatch.setenv("PATH", "/nowhere")
    what, why = refused(two)
    assert "git cannot be run" in what
    assert "invoke rebase --revision …" in why
    monkeypatch.undo()
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert "not a git repository" in refused(two)[1]
    assert put(two, "mine").onto.id == "theirs"


@pytest.mark.long
def test_name_that_holds_an_order(two: Project) -> None:
    """A script whose name holds its date gets a later one, with the SQL file of its name."""
    for name, date in (("mine", "2020_01_02_0304"), ("theirs", "2020_01_03_0304")):
        (two.versions / f"{name}.py").rename(two.versions / f"{date}-{name}_message.py")
    (two.versions / "2020_01_02_0304-mine_message.sql").write_text("SELECT 1;")
    put(two, "mine")
    names = [re.sub("20[3-9]\\d|202[1-9]", "<year>", name) for name in two.scripts()]
    assert "2020_01_02_0304-mine_message.py" not in names
    assert [re.sub("[0-9_]{11}-", "-", name) for name in names if "mine" in name] == [
        "<year>-mine_message.py",
        "<year>-mine_message.sql",
    ]


HEAD = b'"""Message\r\n\r\nRevises: base \xc3\xa4\r\nCreated: x\r\n"""\r\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            HEAD + b"down_revision = 'a'",
            HEAD.replace(b"base \xc3\xa4", b"b") + b"down_revision = 'b'",
        ),
        (b"down_revision: str | None = None  # x\n", b'down_revision: str | None = "b"  # x\n'),
        (b"\xef\xbb\xbfdown_revision='a'", b"\xef\xbb\xbfdown_revision='b'"),
        (
            b'x = 1; down_revision = "a"\nRevises = 2\n',
            b'x = 1; down_revision = "b"\nRevises = 2\n',
        ),
        (b"down_revision = (\n    'a',\n)\n", b'down_revision = "b"\n'),
        (b"down_revision = other", None),
        (b"pass", None),
        (b"down_revision = 'a'\ndown_revision = 'a'", None),
    ],
)
def test_text_of_a_script_that_follows_another(before: bytes, after: bytes | None) -> None:
    """Only the literal of down_revision and the line of the docstring change; what is computed is refused."""
    if after is None:
        with pytest.raises(ValueError, match="is not given once, as a literal"):
            script_files.followed(before, "b")
    else:
        assert script_files.followed(before, "b") == after


@pytest.mark.parametrize(
    ("template", "before", "after"),
    [
        ("%(rev)s_%(slug)s", "a_b.py", "a_b.py"),
        ("%(year)d_%(month).2d-%(rev)s_%(slug)s", "2020_01-a_b_c.py", "2026_03-a_b_c.py"),
        ("%(epoch)d_%(rev)s", "17_a.py", "{epoch}_a.py"),
        ("%(year)d_%(rev)s", "by_hand.py", "by_hand.py"),
        ("%(year)d%(month)02d%(day)02d_%(slug)s", "20200102_x.py", "20260304_x.py"),
    ],
)
def test_names_by_the_template(template: str, before: str, after: str) -> None:
    """What the template says of the date is written anew; a name that is not by it is kept."""
    when = datetime(2026, 3, 4, 5, 6).astimezone()
    assert script_files.renamed(before, template, when) == after.format(epoch=int(when.timestamp()))

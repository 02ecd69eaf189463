"""Headers are read without executing a script, and only where Alembic would say the same."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Project

from postgres_database.errors import ExpectedError
from postgres_database.history import script_texts, staged
from postgres_database.history.project import Project as Repository

TAIL = "\n\ndef upgrade():\n    pass\n\n\ndef downgrade():\n    pass\n"
A = '"""First"""\n\nrevision = "aaaa"\ndown_revision = None\n'
B = '"""Second\n\nMore of it.\n"""\n\nrevision = "bbbb"\ndown_revision = "aaaa"\n'
ALEMBICS = '''"""Add t

Revision ID: bbbb
Revises: aaaa
Create Date: 2026-01-01 12:00:00

"""

# revision identifiers, used by Alembic.
revision: str = "bbbb"
down_revision: str | None = 'aaaa'  # it follows
branch_labels = None
depends_on = None
'''

PLAIN = {
    "as Alembic writes it": ALEMBICS,
    "line ends of Windows": ALEMBICS.replace("\n", "\r\n"),
    "a mark of UTF-8": "\ufeff" + ALEMBICS,
    "no docstring": B.partition('"""\n\n')[2],
    "the first line": 'revision = "bbbb"\ndown_revision = "aaaa"\n',
    "words in a text": '"""Drop revision 1"""\nrevision = "bbbb"\ndown_revision = "aaaa"\n',
    "a header in a text": B + 'X = """\nrevision = "zzzz"\n"""\n',
    "a header in a docstring": '"""Like\n\nrevision = "zzzz"\n"""\n' + B,
    "a local name": B + "\n\ndef more():\n    revision = 1\n    return revision\n",
    "a value from the header": B + 'NAME = f"x_{revision}"\n',
    "an import of more": "from alembic import op, context\nimport sqlalchemy as sa\n" + B,
    "a line goes on": 'revision = \\\n    "bbbb"\ndown_revision = "aaaa"\n',
    "two on a line": 'revision = "bbbb"; down_revision = "aaaa"\n',
    "other order": 'down_revision = "aaaa"\nrevision = "bbbb"\n',
}
"""A second script that is plain."""
ODD = {
    "a tuple": B.replace('"aaaa"', '("aaaa",)'),
    "a computed value": B.replace('"aaaa"', '"aa" + "aa"'),
    "assigned twice": B + 'down_revision = "aaaa"\n',
    "assigned in a condition": B + 'if True:\n    down_revision = "aaaa"\n',
    "unpacked": 'revision, down_revision = "bbbb", "aaaa"\n',
    "two names": 'revision = x = "bbbb"\ndown_revision = "aaaa"\n',
    "set by globals": B + 'globals()["revision"] = "cccc"\n',
    "set by exec": 'exec(\'revision = "bbbb"; down_revision = "aaaa"\')\n',
    "a star": B + "from os.path import *\n",
    "a function changes it": B
    + "\n\ndef f():\n    global revision\n    revision = 'cccc'\n\n\nf()\n",
    "an import has the name": B + "import os as depends_on\n",
    "a label": B + 'branch_labels = "x"\n',
    "labels": B + 'branch_labels = ("x",)\n',
    "a dependency": B + 'depends_on = "aaaa"\n',
    "no header": "",
    "a name instead of a header": "x = 1\n",
    "no parent given": 'revision = "bbbb"\n',
    "a missing parent": B.replace("aaaa", "zzzz"),
    "an empty parent": B.replace('"aaaa"', '""'),
    "its own parent": B.replace("aaaa", "bbbb"),
    "a second first one": B.replace('"aaaa"', "None"),
    "the same revision": A,
    "a symbol": B.replace("bbbb", "head"),
    "a dash": B.replace("bbbb", "bb-bb"),
    "a syntax error": B + "def (\n",
    "a syntax error in a function": B + "def f():\n    x = = 1\n",
    "a merge conflict": "<<<<<<< HEAD\n" + B + "=======\n>>>>>>> other\n",
    "no UTF-8": B + "x = '\udce9'\n",
    "a zero byte": B + "\0",
    "a loop": B.replace("aaaa", "cccc"),
}
"""A second script of which only Alembic can tell."""


def written(root: Path, second: str, name: str = "b.py") -> Repository:
    versions = root / "migration" / "versions"
    (versions / "a.py").write_text(A + TAIL)
    (versions / name).write_bytes((second + TAIL).encode(errors="surrogateescape"))
    if "cccc" in second:
        (versions / "c.py").write_text('revision = "cccc"\ndown_revision = "bbbb"\n' + TAIL)
    return Repository(root)


def as_alembic(repository: Repository) -> None:
    """Fail unless the line is what Alembic says."""
    line, history = repository.line, repository.history
    assert line
    assert history.heads == (line.head,)
    assert [revision.id for revision in history.revisions] == [*line.scripts]
    for revision in history.revisions:
        found = line.revision(revision.id)
        assert found == replace(revision, digest="", roles=(), tablespaces=(), objects=())


@pytest.mark.parametrize("second", PLAIN.values(), ids=PLAIN)
def test_a_plain_history_is_a_line(project: Project, second: str) -> None:
    """Revisions, their order, messages, parents and paths are those that Alembic finds."""
    as_alembic(written(project.root, second))


@pytest.mark.parametrize("second", ODD.values(), ids=ODD)
def test_of_others_only_alembic_can_tell(project: Project, second: str) -> None:
    """Where anything is unusual, the usual way answers, or says what is wrong."""
    assert written(project.root, second).line is None


def _settings(**options: str) -> Callable[[Path], None]:
    lines = "".join(f"{name} = {value}\n" for name, value in options.items())

    def change(root: Path) -> None:
        ini = root / "alembic.ini"
        ini.write_text(ini.read_text().replace("[alembic]\n", f"[alembic]\n{lines}", 1))

    return change


def _without(name: str, **options: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        ini = root / "alembic.ini"
        lines = ini.read_text().splitlines(keepends=True)
        ini.write_text("".join(line for line in lines if not line.startswith(name)))
        _settings(**options)(root)

    return change


def _file(name: str, text: str = "") -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / "migration" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return change


def _linked(root: Path) -> None:
    script = root / "migration" / "versions" / "b.py"
    script.rename(root / "elsewhere.py")
    script.symlink_to(root / "elsewhere.py")


def _moved(root: Path) -> None:
    (root / "migration" / "versions").rename(root / "scripts")
    _settings(version_locations="%(here)s/scripts")(root)


STILL = {
    "a file that is no script": _file("versions/rows.sql"),
    "a hidden copy": _file("versions/.#b.py", "<"),
    "a package": _file("versions/__init__.py", "<"),
    "a folder without scripts": _file("versions/rows/a.csv"),
    "a squashed history": _file("squashed-bbbb/x.py", B.replace("bbbb", "zzzz")),
    "a link": _linked,
    "another folder": _moved,
}
NOT = {
    "a folder with scripts": _file("versions/old/c.py", "x"),
    "scripts that are being published": _file(f"{staged.DONE}/moves", "[]"),
    "subfolders": _settings(recursive_version_locations="true"),
    "compiled scripts": _settings(sourceless="true"),
    "locations without a separator": _without(
        "path_separator", version_locations="%(here)s/migration/versions"
    ),
    "no location": _without("script_location"),
    "a package as location": _without("script_location", script_location="x:y"),
    "an unknown variable": _without("script_location", script_location="%(there)s/migration"),
    "no folder": _settings(version_locations="%(here)s/none"),
    "settings that cannot be read": _settings(x="1\n[alembic]"),
}


@pytest.mark.parametrize("change", STILL.values(), ids=STILL)
def test_other_files_do_not_matter(project: Project, change: Callable[[Path], None]) -> None:
    """What Alembic does not read, or finds elsewhere, leaves a plain history plain."""
    written(project.root, B)
    change(project.root)
    as_alembic(Repository(project.root))


@pytest.mark.parametrize("change", NOT.values(), ids=NOT)
def test_other_places_do(project: Project, change: Callable[[Path], None]) -> None:
    """Settings and files by which Alembic may read other scripts are left to Alembic."""
    written(project.root, B)
    change(project.root)
    assert Repository(project.root).line is None


def test_an_edit_is_seen_at_once(project: Project) -> None:
    """Also one of the same size, within the same second as the file was compiled: the text itself is read."""
    repository = written(project.root, B)
    assert repository.line
    path = project.versions / "b.py"
    compiled = path.stat()
    path.write_text(path.read_text().replace("bbbb", "cccc"))
    os.utime(path, ns=(compiled.st_atime_ns, compiled.st_mtime_ns))
    line = repository.anew().line
    assert line
    assert line.head == "cccc"


def swapped(versions: Path) -> None:
    """Let each of two scripts have the text of the other, and its size and time."""
    first, second = versions / "a.py", versions / "b.py"
    texts = first.read_text().ljust(400, "#"), second.read_text().ljust(400, "#")
    for path, text in zip((second, first), texts, strict=True):
        path.write_text(text)
        os.utime(path, ns=(0, 0))


def replaced(versions: Path) -> None:
    """Put another file in the place of a script, as git does, of the same size and time."""
    path, new = versions / "b.py", versions / "new"
    new.write_text(path.read_text().replace("bbbb", "cccc"))
    stat = path.stat()
    os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new.replace(path)


def edited(versions: Path) -> None:
    """Change a script and keep its size and time."""
    path = versions / "b.py"
    stat = path.stat()
    path.write_text(path.read_text().replace("bbbb", "cccc"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "an edit": (edited, "cccc"),
    "another file": (replaced, "cccc"),
    "a swap": (swapped, "bbbb"),
    "a new script": (
        lambda folder: (folder / "c.py").write_text(
            B.replace("aaaa", "bbbb", 1).replace('"bbbb"', '"cccc"', 1)
        ),
        "cccc",
    ),
    "a script less": (lambda folder: (folder / "b.py").unlink(), "aaaa"),
    "a damaged index": (
        lambda folder: (folder / "__pycache__" / script_texts.INDEX).write_text("{"),
        "bbbb",
    ),
    "an index of something else": (
        lambda folder: (folder / "__pycache__" / script_texts.INDEX).write_text('["", []]'),
        "bbbb",
    ),
    "no index": (
        lambda folder: (folder / "__pycache__" / script_texts.INDEX).unlink(),
        "bbbb",
    ),
}


@pytest.fixture
def indexed(project: Project, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Two scripts whose headers are in the index."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(script_texts, "SETTLED", 0)
    repository = written(project.root, B)
    assert repository.line
    assert (project.versions / "__pycache__" / script_texts.INDEX).exists()
    return repository


def test_what_is_in_the_index_is_not_read_again(
    indexed: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers are read once, as long as the files are as they were, and texts only where they are needed."""
    monkeypatch.setattr(script_texts, "_read", None)
    line = indexed.anew().line
    assert line
    assert [*line.scripts] == ["aaaa", "bbbb"]


@pytest.mark.parametrize("change", CHANGES)
def test_the_index_says_what_the_files_say(indexed: Repository, change: str) -> None:
    """Any change is seen at once, also one that leaves size and time as they were; the index may be deleted."""
    run, head = CHANGES[change]
    run(indexed.root / "migration" / "versions")
    for _ in "changed", "indexed again":
        line = indexed.anew().line
        assert line
        assert line.head == head


def test_what_was_just_written_is_not_in_the_index(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time may be the same after the next change; nor is anything where Python may write no compiled files."""
    index = project.versions / "__pycache__" / script_texts.INDEX
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert written(project.root, B).line
    assert not index.exists()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert written(project.root, B).line
    assert not index.exists() or "aaaa" not in index.read_text()


def test_a_history_without_scripts_is_none(project: Project) -> None:
    """There is no last revision."""
    assert Repository(project.root).line is None


def test_nothing_of_a_script_runs(project: Project) -> None:
    """What a script would do when it is imported is not done."""
    written(project.root, B + "raise SystemExit\n")
    assert project.settings.project.line
    with pytest.raises(ExpectedError, match=r"b\.py"):
        _ = project.settings.project.history

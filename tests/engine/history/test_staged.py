"""Scripts appear whole and proved, or not at all; one that is not proved does not look as if it were."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from answers import yes
from commands import Heard, up
from conftest import Project, Settings, run_sql

from postgres_database.drafting.trial import render
from postgres_database.errors import ExpectedError
from postgres_database.history import script_files, staged
from postgres_database.history.operations import Note, Online
from postgres_database.proving.proof import Prover
from postgres_database.workflows import check, revision

USERS = "sa.Table('users', metadata, sa.Column('id', sa.Integer, primary_key=True), sa.Column('n', sa.{type}){more})\n"
ONE = USERS.format(type="Integer", more="")
TWO = USERS.format(type="Integer", more=", sa.Column('m', sa.Text, index=True)")
"""A change that becomes two scripts."""
LOST = USERS.format(type="Date", more="")
"""A change that no script makes with rows."""


def files(project: Project) -> dict[str, bytes]:
    """Return every file under migration/, but for what Python compiled."""
    folder = project.versions.parent
    paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def before(project: Project) -> Project:
    """A project with one script, whose models have changed."""
    project.models(ONE)
    assert revision.write(*project.settings, "Init").proved
    project.models(TWO)
    return project


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
ENDS: dict[str, tuple[object, str, int, BaseException]] = {
    "no room for the second script": (ScriptDirectory, "generate_revision", 2, FULL),
    "interrupted in the proof": (Prover, "prove", 1, KeyboardInterrupt()),
    "killed by an error in the proof": (Prover, "prove", 1, RuntimeError("unforeseen")),
    "no room in the place of the first": (shutil, "copyfile", 1, FULL),
    "no room in the place of the second": (shutil, "copyfile", 2, FULL),
    "interrupted between the places": (shutil, "copyfile", 2, KeyboardInterrupt()),
}


def failing(monkeypatch: pytest.MonkeyPatch, end: tuple[object, str, int, BaseException]) -> None:
    """Let the n-th call of a function fail."""
    owner, name, count, error = end
    calls: list[object] = []
    plain: Callable[..., object] = getattr(owner, name)

    def wrapped(*args: object, **options: object) -> object:
        calls.append(args)
        if len(calls) == count:
            raise error
        return plain(*args, **options)

    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.long
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_revision_that_ends_early_leaves_the_repository_as_it_was(
    before: Project,
    monkeypatch: pytest.MonkeyPatch,
    end: tuple[object, str, int, BaseException],
) -> None:
    """Whatever ends it, no file is left; a full disk is told in its own words."""
    there = files(before)
    with monkeypatch.context() as patched:
        failing(patched, end)
        wanted = ExpectedError if end[3] is FULL else type(end[3])
        with pytest.raises(wanted) as caught:
            revision.write(*before.settings, "More")
    if isinstance(caught.value, ExpectedError):
        assert "No space left" in caught.value.cause
    assert files(before) == there
    result = revision.write(*before.settings, "More")
    assert result.proved
    assert result.then


@pytest.mark.parametrize("at", range(8))
def test_killed_at_any_moment_all_or_none_are_there(tmp_path: Path, at: int) -> None:
    """Killed before any call to the operating system, the next command finds all files of a revision or none."""
    versions = tmp_path / "versions"
    versions.mkdir()
    names = ["a.sql", "a.py", "b.py"]
    child = os.fork()
    if not child:
        _publish_until(tmp_path, names, at)
    _, status = os.waitpid(child, 0)
    staged.finish(tmp_path)
    with staged.folder(tmp_path, pytest.fail):
        pass
    found = {path.name: path.read_text() for path in versions.iterdir()}
    assert found in ({}, {name: name for name in names})
    assert [path.name for path in tmp_path.iterdir()] == ["versions"]
    assert os.WIFSIGNALED(status) is (at < 7)


def _publish_until(home: Path, names: list[str], at: int) -> None:
    calls: list[object] = []

    def counted(plain: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object) -> object:
            if len(calls) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            calls.append(args)
            return plain(*args)

        return wrapped

    try:
        with staged.folder(home, pytest.fail) as folder:
            for name in names:
                (folder / name).write_text(name)
            shutil.copyfile = counted(shutil.copyfile)  # type: ignore[assignment]
            Path.rename = counted(Path.rename)  # type: ignore[method-assign,assignment]
            Path.replace = counted(Path.replace)  # type: ignore[method-assign,assignment]
            places = [(folder / name, home / "versions" / name) for name in names]
            staged.publish(folder, places)
    finally:
        os._exit(0)


def test_what_a_killed_command_left_is_removed_or_finished(
    before: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts that were not proved go; those that were on their way arrive with whatever reads the history next."""
    folder = before.versions.parent / staged.OPEN
    folder.mkdir()
    (folder / "broken.py").write_text("revision = 'broken'\ndef (")
    (only,) = before.settings.project.history.revisions
    with script_files.staging(before.settings.project, pytest.fail) as aside:
        head = aside.history.heads
        _, written = script_files.write(aside, "On its way", head)
        monkeypatch.setattr(Path, "replace", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            script_files.publish(written, head)
        monkeypatch.undo()
    assert [each.id for each in before.settings.project.history.revisions][:-1] == [only.id]
    assert len(before.scripts()) == 2
    assert [*before.versions.parent.glob(".*")] == []


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_two_commands_in_one_checkout_follow_each_other(before: Project) -> None:
    """The second waits, says so, and finds what the first has written."""
    first = script_files.staging(before.settings.project, pytest.fail)
    aside = first.__enter__()
    head = aside.history.heads
    _, written = script_files.write(aside, "First", head)
    waited: list[str] = []

    def go_on(who: str) -> None:
        waited.append(who)
        script_files.publish(written, head)
        first.__exit__(None, None, None)

    second = revision.write(*before.settings, "Second", empty=True, listener=Heard(on_wait=go_on))
    scripts = before.settings.project.history
    assert waited == ["another command that writes scripts in this checkout"]
    assert len(scripts.heads) == 1
    assert scripts[second.revision].parents != head


def test_history_that_changed_meanwhile_is_not_written_on(before: Project) -> None:
    """A script of another tool or branch that came meanwhile is no reason for two heads."""
    with script_files.staging(before.settings.project, pytest.fail) as aside:
        head = aside.history.heads
        _, written = script_files.write(aside, "Late", head)
        before.script("other", *head)
        with pytest.raises(ExpectedError, match="changed meanwhile; nothing was written"):
            script_files.publish(written, head)
    assert before.settings.project.history.heads == ("other",)


WRITERS: dict[str, Callable[[Settings], object]] = {
    "empty": lambda settings: revision.write(*settings, "Empty", empty=True),
    "merge": lambda settings: script_files.merge(
        settings.project, "Merge", ["aaaa", "bbbb"], pytest.fail
    ),
}


@pytest.mark.parametrize("command", WRITERS)
def test_script_that_is_no_python_is_not_written(project: Project, command: str) -> None:
    """A template that makes none leaves nothing behind, for an empty script and for a merge."""
    project.script("aaaa")
    if command == "merge":
        project.script("bbbb")
    template = project.versions.parent / "script.py.mako"
    template.write_text(template.read_text() + "\ndef (\n")
    there = files(project)
    with pytest.raises(ExpectedError, match="cannot be read"):
        WRITERS[command](project.settings)
    assert files(project) == there


def test_new_scripts_go_where_the_head_is(project: Project) -> None:
    """Of several folders of scripts it is that of the head."""
    other = project.root / "other"
    other.mkdir()
    project.script("aaaa").rename(other / "aaaa.py")
    ini = project.root / "alembic.ini"
    places = f"version_locations = {project.versions}{os.pathsep}{other}\n"
    ini.write_text(ini.read_text().replace("[alembic]\n", f"[alembic]\n{places}"))
    result = revision.write(*project.settings, "Next", empty=True)
    assert result.path is not None
    assert result.path.parent == other


@pytest.mark.long
def test_unproved_script_does_not_look_like_a_proved_one(project: Project) -> None:
    """Until its author removes the error, nothing runs it, and neither `revision` nor `check` says that all is well."""
    project.models(ONE)
    assert revision.write(*project.settings, "Init").proved
    up(project.settings, project.database, confirm=yes)
    project.models(LOST)
    result = revision.write(*project.settings, "To dates", sql=True)
    assert not result.proved
    assert result.path is not None
    assert result.sql == ""
    for command in (
        lambda: revision.write(*project.settings, "Again"),
        lambda: check.compare(*project.settings),
        lambda: up(project.settings, project.database, confirm=yes),
    ):
        with pytest.raises(ExpectedError) as caught:
            command()
        assert "this revision is not proved" in str(caught.value)
    assert run_sql(project.database, "SELECT count(*) FROM alembic_version") == [(1,)]
    text = result.path.read_text()
    start, end = text.index("    op.refuse("), text.index("    )\n") + len("    )\n")
    assert "invalid input syntax for type date" in text[start:end]
    result.path.write_text(text[:start] + text[end:])
    assert check.compare(*project.settings).agree


def test_block_of_comments_is_a_block() -> None:
    """What is left of a block without operations is Python nevertheless."""
    body = render(Online([Note("nothing is left to do")]))
    compile(f"def upgrade():\n    {body}\n", "script", "exec")

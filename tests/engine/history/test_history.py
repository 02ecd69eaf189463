"""The revision graph: what an upgrade runs and a downgrade undoes, and what scripts that do not fit say."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import alembic.script.revision as reference
import pytest
from conftest import Project
from hypothesis import assume, example, given
from hypothesis import strategies as st

from postgres_database.errors import ExpectedError
from postgres_database.history import script_errors, script_texts
from postgres_database.history.graph import History, Revision, tips
from postgres_database.running import runner

Graph = dict[str, tuple[str, str]]
"""For each revision its parents and its dependencies, both separated by blanks."""


def build(graph: Graph) -> History:
    """Return a graph as a history; the order is the one it is written in."""
    revisions = tuple(
        Revision(
            name,
            f"Message of {name}",
            Path(f"{name}.py"),
            tuple(parents.split()),
            tuple(needed.split()),
        )
        for name, (parents, needed) in graph.items()
    )
    inner = {parent for revision in revisions for parent in revision.parents}
    return History(revisions, tuple(sorted(set(graph) - inner)))


LINE: Graph = {"aaaa": ("", ""), "bbbb": ("aaaa", ""), "cccc": ("bbbb", ""), "dddd": ("cccc", "")}
FORK: Graph = {"aaaa": ("", ""), "bbbb": ("aaaa", ""), "cccc": ("aaaa", "")}
MERGED: Graph = {**FORK, "dddd": ("bbbb cccc", ""), "eeee": ("dddd", "")}
# Two lines of their own; the second needs the first one's end.
APART: Graph = {"aaaa": ("", ""), "bbbb": ("aaaa", ""), "xxxx": ("", ""), "yyyy": ("xxxx", "bbbb")}
NONE: Graph = {}


def ids(revisions: tuple[Revision, ...]) -> str:
    return " ".join(revision.id for revision in revisions)


# graph, where the database stands, target → what is run
UPGRADES: dict[str, tuple[Graph, str, str, str]] = {
    "all": (LINE, "", "head", "aaaa bbbb cccc dddd"),
    "the rest": (LINE, "bbbb", "head", "cccc dddd"),
    "to a revision": (LINE, "aaaa", "cccc", "bbbb cccc"),
    "to the beginning of an id": (LINE, "aaaa", "ccc", "bbbb cccc"),
    "already there": (LINE, "dddd", "head", ""),
    "already beyond": (LINE, "dddd", "bbbb", ""),
    "base": (LINE, "bbbb", "base", ""),
    "one step": (LINE, "bbbb", "+1", "cccc"),
    "all steps": (LINE, "", "+4", "aaaa bbbb cccc dddd"),
    "no script": (NONE, "", "head", ""),
    "a branch": (FORK, "", "cccc", "aaaa cccc"),
    "the other branch": (FORK, "bbbb", "cccc", "cccc"),
    "all heads": (FORK, "bbbb", "heads", "cccc"),
    "the head of a branch": (FORK, "bbbb", "cccc@head", "cccc"),
    "the head of a line": (APART, "", "aaaa@head", "aaaa bbbb"),
    "through a merge": (MERGED, "bbbb", "head", "cccc dddd eeee"),
    "through a merge from both": (MERGED, "bbbb cccc", "head", "dddd eeee"),
    "steps through a merge": (MERGED, "bbbb", "+2", "cccc dddd"),
    "with what it needs": (APART, "", "yyyy", "aaaa bbbb xxxx yyyy"),
    "what is needed is there": (APART, "bbbb", "yyyy", "xxxx yyyy"),
    "implied by a dependency": (APART, "yyyy", "heads", ""),
}


@pytest.mark.parametrize(("graph", "current", "target", "run"), UPGRADES.values(), ids=UPGRADES)
def test_what_an_upgrade_runs(graph: Graph, current: str, target: str, run: str) -> None:
    """An upgrade runs all that its target stands on and is not applied, each after its parents."""
    assert ids(build(graph).pending(current.split(), target)) == run


# graph, where the database stands, target → what is undone, where that ends
DOWNGRADES: dict[str, tuple[Graph, str, str, str, str]] = {
    "one step": (LINE, "cccc", "-1", "cccc", "bbbb"),
    "several steps": (LINE, "dddd", "-3", "dddd cccc bbbb", "aaaa"),
    "all steps": (LINE, "bbbb", "-2", "bbbb aaaa", "base"),
    "to a revision": (LINE, "dddd", "bbbb", "dddd cccc", "bbbb"),
    "to the beginning of an id": (LINE, "dddd", "bbb", "dddd cccc", "bbbb"),
    "to base": (LINE, "cccc", "base", "cccc bbbb aaaa", "base"),
    "already there": (LINE, "bbbb", "bbbb", "", "bbbb"),
    "nothing is applied": (LINE, "", "base", "", "base"),
    "no step": (LINE, "cccc", "-0", "", "cccc"),
    "below a fork": (FORK, "bbbb cccc", "aaaa", "cccc bbbb", "aaaa"),
    "a fork to base": (FORK, "bbbb cccc", "base", "cccc bbbb aaaa", "base"),
    "a merge": (MERGED, "dddd", "-1", "dddd", "bbbb"),
    "to one side of a merge": (MERGED, "eeee", "cccc", "eeee dddd", "cccc"),
    "below a merge": (MERGED, "eeee", "aaaa", "eeee dddd cccc bbbb", "aaaa"),
    "what needs it goes, too": (APART, "yyyy", "aaaa", "yyyy bbbb", "aaaa"),
    "what only needs the target stays": (APART, "yyyy", "bbbb", "", "bbbb"),
    "a step that a dependency is left of": (APART, "yyyy", "-1", "yyyy", "xxxx"),
}


@pytest.mark.parametrize(
    ("graph", "current", "target", "undone", "end"), DOWNGRADES.values(), ids=DOWNGRADES
)
def test_what_a_downgrade_undoes(
    graph: Graph, current: str, target: str, undone: str, end: str
) -> None:
    """A downgrade undoes what follows its target and what needs any of that, newest first."""
    revisions, goal = build(graph).undone(current.split(), target)
    assert (ids(revisions), goal) == (undone, end)


def refused(call: Callable[[], object]) -> ExpectedError:
    """Return the error that a call ends with; it says what to type next."""
    with pytest.raises(ExpectedError) as caught:
        call()
    assert re.match(r"(invoke|git) ", caught.value.hint)
    return caught.value


@dataclass
class Refusal:
    """A question without an answer."""

    graph: Graph
    current: str
    target: str
    words: str
    hint: str = "invoke history"


UPGRADE_REFUSALS = {
    "unknown": Refusal(LINE, "", "zzzz", "there is no revision 'zzzz'.* head is dddd"),
    "unknown without scripts": Refusal(NONE, "", "zzzz", "base: there is no script yet"),
    "too short": Refusal(LINE, "", "aa", "there is no revision 'aa'"),
    "the end of an id": Refusal({"abcd": ("", "")}, "", "bcd", "there is no revision"),
    "empty": Refusal(LINE, "", "", "there is no revision ''"),
    "pattern": Refusal(LINE, "", "a...", "there is no revision"),
    "several beginnings": Refusal(
        {"abc1": ("", ""), "abc2": ("abc1", "")}, "", "abc", "beginning of several.*abc1, abc2"
    ),
    "several heads of a line": Refusal(FORK, "", "aaaa@head", "several revisions.*bbbb, cccc"),
    "no head of a line": Refusal(LINE, "", "zzzz@head", "there is no revision 'zzzz'"),
    "several heads": Refusal(FORK, "", "head", "2 heads: bbbb, cccc", "invoke merge --msg"),
    "too many steps": Refusal(LINE, "cccc", "+2", "not 2 revisions above cccc", "invoke upgrade"),
    "a step too much from nothing": Refusal(NONE, "", "+1", "above base", "invoke upgrade"),
    "down by steps": Refusal(LINE, "cccc", "-1", "there is no revision '-1'"),
}
DOWNGRADE_REFUSALS = {
    "not applied": Refusal(
        LINE, "bbbb", "cccc", "cccc is not applied.*at bbbb", "invoke upgrade --target cccc"
    ),
    "another branch": Refusal(
        FORK, "bbbb", "cccc", "cccc is not applied", "invoke upgrade --target cccc"
    ),
    "nothing is applied": Refusal(
        LINE, "", "aaaa", "aaaa is not applied.*at base", "invoke upgrade"
    ),
    "unknown": Refusal(LINE, "bbbb", "zzzz", "there is no revision 'zzzz'"),
    "too many steps": Refusal(
        LINE, "bbbb", "-3", "after 2 steps the database is at base", "invoke current"
    ),
    "a step from a fork": Refusal(FORK, "bbbb cccc", "-1", "at bbbb and cccc", "invoke downgrade"),
    "steps through a merge": Refusal(MERGED, "dddd", "-2", "at bbbb and cccc", "invoke downgrade"),
    "a step that ends at a dependency": Refusal(
        {"aaaa": ("", ""), "xxxx": ("", "aaaa")},
        "xxxx",
        "-1",
        "is ambiguous",
        "invoke downgrade --target=xxxx@base ",
    ),
    "up by steps": Refusal(LINE, "cccc", "+1", r"there is no revision '\+1'"),
}


@pytest.mark.parametrize("case", UPGRADE_REFUSALS.values(), ids=UPGRADE_REFUSALS)
def test_upgrades_that_are_refused(case: Refusal) -> None:
    """A target that is no one place above the database is an error that says what to type."""
    error = refused(lambda: build(case.graph).pending(case.current.split(), case.target))
    assert re.search(case.words, str(error), re.DOTALL)
    assert error.hint.startswith(case.hint)


@pytest.mark.parametrize("case", DOWNGRADE_REFUSALS.values(), ids=DOWNGRADE_REFUSALS)
def test_downgrades_that_are_refused(case: Refusal) -> None:
    """A target that is no one place below the database is an error that says what to type."""
    error = refused(lambda: build(case.graph).undone(case.current.split(), case.target))
    assert re.search(case.words, str(error), re.DOTALL)
    assert error.hint.startswith(case.hint)


@pytest.mark.parametrize(
    ("target", "undone"),
    {
        "xxxx@base": "yyyy xxxx",
        "yyyy@base": "yyyy xxxx",
        "aaaa@base": "yyyy xxxx bbbb aaaa",
    }.items(),
)
def test_branch_that_is_undone_as_a_whole(target: str, undone: str) -> None:
    """The branch of a revision goes down to where it begins, with all that needs it, and others stay."""
    graph = {"aaaa": ("", ""), "bbbb": ("aaaa", ""), "xxxx": ("", "aaaa"), "yyyy": ("xxxx", "")}
    plan, _goal = build(graph).undone(["bbbb", "yyyy"], target)
    assert sorted(each.id for each in plan) == sorted(undone.split())


def test_an_id_that_another_begins_with() -> None:
    """A whole id means itself, also where others begin with it."""
    scripts = build({"abcd": ("", ""), "abcdef": ("abcd", "")})
    assert scripts.resolve("abcd") == "abcd"
    assert scripts.resolve("abcde") == "abcdef"


def test_head_of_nothing_is_base() -> None:
    """Where there is no script the head is base, and an upgrade has nothing to do."""
    assert build(NONE).head == build(NONE).resolve("head") == "base"


# --- against Alembic ---------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, reference.RevisionMap]:
    """Draw a graph with forks, merges, lines of their own and dependencies; Alembic's map beside it."""
    names = [f"r{number:03}" for number in range(draw(st.integers(1, 8)))]
    graph: Graph = {}
    for name in names:
        earlier = (
            st.lists(st.sampled_from(list(graph)), unique=True, max_size=2)
            if graph
            else st.just([])
        )
        parents = draw(earlier)
        needed = [one for one in draw(earlier) if one not in parents] if draw(st.booleans()) else []
        graph[name] = (" ".join(parents), " ".join(needed))
    order = draw(st.permutations(names))
    found = alembics(graph, order)
    walked = found.iterate_revisions("heads", "base", inclusive=True, assert_relative_length=False)
    return {one.revision: graph[one.revision] for one in [*walked][::-1] if one}, found


def alembics(graph: Graph, order: list[str]) -> reference.RevisionMap:
    """Return a graph as Alembic has it; `order` is that of the files."""
    return reference.RevisionMap(
        lambda: iter(
            reference.Revision(
                name, tuple(graph[name][0].split()) or None, tuple(graph[name][1].split()) or None
            )
            for name in order
        )
    )


needing = example((APART, alembics(APART, list(APART))), {3}, 1)
graph_and_choices = given(graphs(), st.sets(st.integers(0, 7)), st.integers(0, 8))


@given(graphs())
def test_alembics_order_is_ours(drawn: tuple[Graph, reference.RevisionMap]) -> None:
    """Alembic's walk, from which `read` takes its order, has each revision after all that it needs."""
    graph, found = drawn
    scripts = build(graph)
    places = {name: place for place, name in enumerate(graph)}
    assert all(places[one] < places[each.id] for each in scripts.revisions for one in each.needed)
    assert scripts.heads == tuple(sorted(found.heads))


@graph_and_choices
@needing
def test_upgrades_are_alembics(
    drawn: tuple[Graph, reference.RevisionMap], applied: set[int], target: int
) -> None:
    """For every graph, place and target an upgrade is planned to run exactly what Alembic runs."""
    graph, found = drawn
    scripts, names = build(graph), list(graph)
    current = tips(scripts.upto([names[number] for number in applied if number < len(names)]))
    goal = names[target] if target < len(names) else "heads"
    run = found.iterate_revisions(goal, current or "base", implicit_base=True)
    plan = [revision.id for revision in scripts.pending(current, goal)]
    assert sorted(plan) == sorted(one.revision for one in run if one)
    assert plan == sorted(plan, key=names.index)


@graph_and_choices
@needing
def test_downgrades_are_alembics(
    drawn: tuple[Graph, reference.RevisionMap], applied: set[int], target: int
) -> None:
    """For every graph, place and target a downgrade is planned to undo exactly what Alembic undoes."""
    graph, found = drawn
    scripts, names = build(graph), list(graph)
    current = tips(scripts.upto([names[number] for number in applied if number < len(names)]))
    goal = names[target] if target < len(names) else "base"
    try:
        steps = found.iterate_revisions(current or "base", goal, select_for_downgrade=True)
        undone = sorted(one.revision for one in steps if one)
    except reference.RangeNotAncestorError:
        undone = []
    try:
        plan, end = scripts.undone(current, goal)
    except ExpectedError:
        assert not undone
    else:
        assert sorted(revision.id for revision in plan) == undone
        assert end == goal
        assert [revision.id for revision in plan] == sorted(undone, key=names.index, reverse=True)


@graph_and_choices
def test_steps_down_are_alembics(
    drawn: tuple[Graph, reference.RevisionMap], applied: set[int], target: int
) -> None:
    """Steps back are refused, or end at a target by which Alembic undoes exactly those steps."""
    graph, found = drawn
    scripts, names = build(graph), list(graph)
    current = tips(scripts.upto([names[number] for number in applied if number < len(names)]))
    try:
        plan, end = scripts.undone(current, f"-{target}")
    except ExpectedError:
        return
    assert len(plan) == target
    assume(plan)
    steps = found.iterate_revisions(current, end, select_for_downgrade=True)
    assert [one.revision for one in steps if one] == [revision.id for revision in plan]


# --- scripts -----------------------------------------------------------------------------------


def test_scripts_are_read(project: Project) -> None:
    """A history has the revisions with their messages, parents, dependencies, labels and roles."""
    project.script("aaaa")
    project.script("bbbb", "aaaa")
    path = project.script("cccc", "aaaa")
    path.write_text(path.read_text() + "\nbranch_labels = 'side'\nroles = ('reader', 'writer')\n")
    project.script("dddd", "cccc")
    path = project.script("eeee", "bbbb,dddd")
    path.write_text(path.read_text().replace("Message of eeee", "größer 100% [bold] 'x'\n\nmore"))
    path = project.script("ffff", "bbbb")
    path.write_text(path.read_text() + "\ndepends_on = 'side'\n")
    scripts = project.settings.project.history
    assert scripts.heads == ("eeee", "ffff")
    assert replace(scripts["cccc"], digest="") == Revision(
        "cccc",
        "Message of cccc",
        project.versions / "cccc.py",
        ("aaaa",),
        (),
        frozenset({"side"}),
        ("reader", "writer"),
    )
    assert scripts["eeee"].parents == ("bbbb", "dddd")
    assert str(scripts["eeee"]) == "eeee  größer 100% [bold] 'x'"
    assert scripts["ffff"].dependencies == ("cccc",)
    assert scripts.resolve("side") == "cccc"
    assert "cccc" in scripts
    assert "ccc" not in scripts
    assert [revision.id for revision in scripts.upto(["ffff"])][-1] == "ffff"


def test_what_an_editor_leaves_behind_is_no_script(project: Project) -> None:
    """A link to nowhere, which Emacs makes while a script is being edited, is not read."""
    project.script("aaaa")
    (project.versions / ".#aaaa.py").symlink_to("somebody@somewhere.1")
    assert project.settings.project.history.heads == ("aaaa",)


def test_names_of_a_script_that_mean_something_else(project: Project) -> None:
    """A script by hand may have a table of its own under the name `roles`."""
    script = project.script("aaaa")
    script.write_text(script.read_text() + "\nroles = sa.table('roles')\nobjects = 'none'\n")
    (revision,) = project.settings.project.history.revisions
    assert (revision.roles, revision.objects) == ((), ())


def test_other_files_are_no_scripts(project: Project) -> None:
    """SQL beside a script, files of editors and folders are no revisions, and SQL may hold anything."""
    project.script("aaaa").with_suffix(".sql").write_text("revision = 'bbbb'; (")
    for name in (".#aaaa.py", "aaaa.py~", ".aaaa.py.swp", ".gitkeep", "notes.txt"):
        (project.versions / name).write_text("revision = 'cccc'\ndef (")
    (project.versions / "folder").mkdir()
    assert [revision.id for revision in project.settings.project.history.revisions] == ["aaaa"]


# What stands in the script bbbb, which follows aaaa → what is said.
BROKEN = {
    "syntax error": ("revision = 'bbbb'\ndef upgrade(:\n", "versions/bbbb.py, line 2", "SyntaxError"),
    "indentation": ("revision = 'bbbb'\n  x = 1\n", "versions/bbbb.py, line 2", "IndentationError"),
    "missing module": ("\n\nimport no_such_module\n", "versions/bbbb.py, line 3", "no_such_module"),
    "missing name": ("from alembic import no_such_name\n", "versions/bbbb.py, line 1", "no_such_name"),
    "error": ("def f():\n    return 1 / 0\n\nf()\n", "versions/bbbb.py, line 2", "ZeroDivisionError"),
    "KeyError": ("revision = {}['aaaa']\n", "versions/bbbb.py, line 1", "KeyError"),
    "no down_revision": ("revision = 'bbbb'\n", "versions/bbbb.py", "down_revision"),
    "no revision": ("'''A module of helpers.'''\n", "versions/bbbb.py", "down_revision"),
    "missing parent": ("revision = 'bbbb'\ndown_revision = 'zzzz'\n", "versions/bbbb.py, line 2", "revision zzzz"),
    "one missing parent of two": (
        "revision = 'bbbb'\ndown_revision = (\n    'aaaa',\n    \"zzzz\",\n)\n",
        "versions/bbbb.py, line 4",
        "revision zzzz",
    ),
    "missing dependency": (
        "revision = 'bbbb'\ndown_revision = 'aaaa'\ndepends_on = 'zzzz'\n",
        "versions/bbbb.py, line 3",
        "revision zzzz",
    ),
    "a parent without a name": (
        "revision = 'bbbb'\ndown_revision = ''\n",
        "versions/bbbb.py, line 2",
        "follows none has None",
    ),
    "an id that is there": (
        "revision: str = 'aaaa'\ndown_revision = None\n",
        "versions/aaaa.py, line 6\n       migration/versions/bbbb.py, line 1",
        "two scripts are revision aaaa",
    ),
    "its own parent": ("revision = 'bbbb'\ndown_revision = 'bbbb'\n", "bbbb", "loop"),
    "a character that ids cannot have": ("revision = 'b@b'\ndown_revision = 'aaaa'\n", "b@b", "not allowed"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "place", "words"), BROKEN.values(), ids=BROKEN)
@pytest.mark.filterwarnings("default::UserWarning")  # as people run it
def test_broken_scripts(project: Project, text: str, place: str, words: str) -> None:
    """A script that cannot be read, or does not fit, is an error with its file and line, once mended read."""
    project.script("aaaa")
    (project.versions / "bbbb.py").write_text(text)
    error = refused(lambda: project.settings.project.history)
    assert place in str(error)
    assert words in str(error)
    project.script("bbbb", "aaaa")
    assert ids(project.settings.project.history.revisions) == "aaaa bbbb"


def test_a_circle_of_scripts(project: Project) -> None:
    """Scripts that follow each other in a circle are an error that names them."""
    project.script("aaaa", "bbbb")
    project.script("bbbb", "aaaa")
    assert "aaaa, bbbb" in refused(lambda: project.settings.project.history).cause


def test_scripts_that_are_not_set_up(project: Project) -> None:
    """Without alembic.ini or migration/ it is said how to get them back."""
    shutil.rmtree(project.root / "migration")
    assert refused(lambda: project.settings.project.history).hint == "invoke init"
    (project.root / "alembic.ini").unlink()
    assert refused(lambda: project.settings.project.history).hint == "git checkout alembic.ini"


@pytest.mark.parametrize("name", ["db", "src/shop/alembic"])
def test_scripts_in_another_folder_are_named(project: Project, name: str) -> None:
    """Wherever alembic.ini says that the scripts are, an error names file and line."""
    (project.root / name).parent.mkdir(parents=True, exist_ok=True)
    (project.root / "migration").rename(project.root / name)
    project.versions = project.root / name / "versions"
    ini = project.root / "alembic.ini"
    ini.write_text(ini.read_text().replace("%(here)s/migration", f"%(here)s/{name}"))
    project.script("aaaa").write_text("revision = 'aaaa'\ndown_revision = None\n1 / 0\n")
    error = refused(lambda: project.settings.project.history)
    assert error.what == f"{name}/versions/aaaa.py, line 3 cannot be read"
    project.script("aaaa", "gone")
    error = refused(lambda: project.settings.project.history)
    assert error.cause == f"it is named in {name}/versions/aaaa.py, line 7"


@pytest.mark.parametrize(
    "error",
    [KeyError("aaa"), KeyError(), UserWarning("aaaa"), ValueError("aaaa"), ExpectedError("aaaa")],
    ids=repr,
)
def test_other_errors_pass(project: Project, error: Exception) -> None:
    """An error that does not come from a script is not taken for one, so that it can be found."""
    project.script("aaaa")
    with (
        pytest.raises(type(error)) as caught,
        script_errors.explained(project.settings.project.folders),
    ):
        raise error
    assert caught.value is error


def test_fingerprints(project: Project) -> None:
    """Hashes change with a script, its SQL or what else the schema depends on, from that script on."""
    first, second = project.script("aaaa"), project.script("bbbb", "aaaa")

    def hashes(*more: str) -> list[str]:
        revisions = project.settings.project.history.revisions
        return script_texts.fingerprints(((each.id, each.path) for each in revisions), *more)

    before = hashes()
    assert len({*before}) == 3
    assert hashes() == before
    assert not {*before} & {*hashes("another version")}
    second.with_suffix(".sql").write_text("SELECT 1")
    changed = hashes()
    assert [old == new for old, new in zip(before, changed, strict=True)] == [True, True, False]
    first.write_text(first.read_text() + "\n")
    assert [old == new for old, new in zip(changed, hashes(), strict=True)] == [True, False, False]
    before = hashes()
    second.write_text(second.read_text() + "# x")
    second.with_suffix(".sql").write_text("y")
    moved = hashes()
    second.write_text(second.read_text().removesuffix("x"))
    second.with_suffix(".sql").write_text("xy")
    assert len({before[-1], moved[-1], hashes()[-1]}) == 3


def test_scripts_in_subfolders_are_not_overlooked(project: Project) -> None:
    """A script that follows one that is read, and that Alembic does not read, is named; old ones put away are not."""
    project.script("aaaa")
    old = project.versions / "old"
    old.mkdir()
    project.script("zzzz", "yyyy").rename(old / "zzzz.py")
    assert project.settings.project.history.head == "aaaa"
    project.script("bbbb", "aaaa").rename(old / "bbbb.py")
    with pytest.raises(ExpectedError, match="scripts in subfolders are not read") as caught:
        _ = project.settings.project.history
    assert caught.value.cause == "migration/versions/old/bbbb.py is revision bbbb"
    ini = project.root / "alembic.ini"
    setting = "recursive_version_locations = true"
    assert setting in caught.value.hint
    (old / "zzzz.py").unlink()
    ini.write_text(ini.read_text().replace("[alembic]\n", f"[alembic]\n{setting}\n"))
    assert project.settings.project.history.head == "bbbb"


def test_histories_in_several_subfolders(project: Project) -> None:
    """Where each folder may be a history of its own, as one for each kind of server, one of them may be chosen."""
    for name in ("postgresql", "sqlite"):
        (project.versions / name).mkdir()
        project.script(name).rename(project.versions / name / f"{name}.py")
    with pytest.raises(ExpectedError, match="scripts in subfolders are not read") as caught:
        _ = project.settings.project.history
    _, advised = caught.value.hint.removesuffix(", those of one folder)").split("; ")
    ini = project.root / "alembic.ini"
    ini.write_text(ini.read_text().replace("[alembic]\n", f"[alembic]\n{advised}\n"))
    assert project.settings.project.history.head == "postgresql"


def test_several_bases_are_told_apart_from_branches(project: Project) -> None:
    """Two histories side by side are no accident of a merge; both ways to go on are named."""
    project.script("aaaa")
    path = project.script("bbbb")
    path.write_text(path.read_text().replace("down_revision", 'depends_on = "aaaa"\ndown_revision'))
    assert project.settings.project.history.head == "bbbb"
    project.script("cccc", "aaaa")
    history = project.settings.project.history
    with pytest.raises(ExpectedError, match="2 heads") as caught:
        history.resolve("head")
    assert "it begins at 2 revisions: aaaa, bbbb" in caught.value.cause
    assert caught.value.hint.startswith("invoke upgrade --target heads ")
    with pytest.raises(ExpectedError, match="2 heads") as caught:
        _ = history.head
    assert caught.value.hint.startswith("invoke merge ")


@pytest.mark.parametrize(("name", "argument"), [("show", "current"), ("history", "current:head")])
def test_alembic_is_not_asked_for_the_current_revision(
    project: Project, name: str, argument: str
) -> None:
    """What asks a database is not run where env.py would choose which."""
    with pytest.raises(ExpectedError, match="does not know which revision"):
        runner.alembic(project.settings.project, name, argument)


@pytest.mark.parametrize(
    ("graph", "span", "expected"),
    [
        (LINE, "", "dddd cccc bbbb aaaa"),
        (LINE, "bbbb:cccc", "cccc bbbb"),
        (LINE, "bbbb:", "dddd cccc bbbb"),
        (LINE, ":bbb", "bbbb aaaa"),
        (LINE, "base:head", "dddd cccc bbbb aaaa"),
        (MERGED, "dddd:", "eeee dddd"),
        (FORK, "bbbb:", "cccc bbbb"),
        (NONE, "", ""),
    ],
)
def test_revisions_between_two(graph: Graph, span: str, expected: str) -> None:
    """Both ends belong to a range, the newest comes first, and nothing that an end needs is left in."""
    assert ids(build(graph).between(span)) == expected


def test_range_of_a_revision_that_is_not_there() -> None:
    """A misspelt end is an error, not an empty list."""
    with pytest.raises(ExpectedError, match="there is no revision"):
        build(LINE).between("bbbbb:")

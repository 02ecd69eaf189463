"""The page of a review: true, whole in a browser of any width, and safe whatever tables are called."""

import html
import json
import os
import re
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import browser
import hazards
import pytest
from checkouts import Checkout
from commands import up
from conftest import ROOT, Project, needs_version
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_database.console import review_report, show_review
from postgres_database.history.graph import Revision
from postgres_database.pages import diagram, differences, review_page, texts, timeline
from postgres_database.reviewing import source
from postgres_database.reviewing.findings import Finding
from postgres_database.reviewing.statements import Lock, Measured, Relation
from postgres_database.schema.catalog import Catalog, Column, Constraint, Table
from postgres_database.schema.comparison import Side
from postgres_database.schema.snapshot import Key, Snapshot
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name
from postgres_database.workflows import review
from postgres_database.workflows.review import Review

EXAMPLE = ROOT / "docs" / "review-example.html"
SHOWN_TARGET = "app@db.example.com:5432/platform"
SHIPPED = [*(ROOT / "migration" / "versions").glob("*d92233541b7a*")]

NASTY = Relation("public", "<b>\"x\" & 'y' 🚀</b>", "table")
LONG = Relation("sales", "w" * 63, "table")
SCRIPT = Path(__file__)


def measured(sql: str, transaction: int, *held: Lock, **more: Any) -> Measured:
    """Return a statement that holds locks."""
    return Measured(
        revision(),
        3,
        3,
        sql,
        0.01,
        online=False,
        safely=False,
        transaction=transaction,
        taken=held,
        held=held,
        **more,
    )


def revision() -> Revision:
    return Revision("one", f"Message {NASTY}", SCRIPT)


def many() -> list[Measured]:
    """Return 300 statements over 60 tables, each in a transaction of its own."""
    tables = [Relation("public", f"table_{number}", "table") for number in range(60)]
    return [
        measured(
            f"ALTER TABLE {tables[each % 60]}", each, Lock(tables[each % 60], "AccessExclusiveLock")
        )
        for each in range(300)
    ]


def hostile() -> Review:
    """Return a review of what a page has trouble with: names like HTML, long ones, much of everything."""
    lock, other = Lock(NASTY, "AccessExclusiveLock"), Lock(LONG, "ShareLock")
    sql = f"CREATE FUNCTION f() RETURNS text AS $$ {'x' * 100_000} </script><b> $$"
    statements = [
        measured(sql, 1, lock, other, rewritten=(NASTY,), scanned=(LONG,), changed={NASTY: 3}),
        *many(),
    ]
    finding = Finding(
        "table-rewrite",
        "error",
        f"{NASTY} is rewritten",
        "one",
        str(SCRIPT),
        3,
        str(NASTY),
        sql,
        f"<b>{LONG}",
        "</pre><b>",
    )
    names = [Name(*each.place) for each in (NASTY, LONG)]
    links = [(child, child // 3) for child in range(60)]
    before, after = catalog_of(0, []), catalog_of(60, links, names)
    key = Key("TABLE", "public", NASTY.name)
    sides = Side(Snapshot({}), before), Side(Snapshot({key: (f"CREATE {NASTY} {LONG}",)}), after)
    files = {"one": str(SCRIPT)}
    found = finding, replace(finding, accepted="<b>because</b>")
    return Review("<b>@db", "18.6", (), (revision(),), files, tuple(statements), found, sides=sides)


def catalog_of(
    tables: int, links: Sequence[tuple[int, int]], names: Sequence[Name] = ()
) -> Catalog:
    """Return tables with foreign keys from one to another."""
    called = [*names, *(Name("public", f"t{number}") for number in range(len(names), tables))]
    made = {}
    for number, name in enumerate(called):
        keys = {
            f"fk{parent}": Constraint(
                f"fk{parent}",
                "f",
                f"FOREIGN KEY (c{parent}) REFERENCES {called[parent].sql}(id)",
                (f"c{parent}",),
            )
            for child, parent in links
            if child == number
        }
        columns = {each: column(each) for each in ("id", *(f"c{key[2:]}" for key in keys))}
        made[name] = Table(
            name, kind="r", partition=False, partitioned_by="", parents=(), logged=True, options=(), access_method="",
            tablespace="", replica_identity="", clustered="", row_security=False, forced=False, of_type="",
            columns=columns, constraints=keys,
        )  # fmt: skip
    return Catalog(("public",), made, {}, {})


def column(name: str) -> Column:
    return Column(
        name, "timestamp with time zone", collation="", default="", generated="", identity="", not_null=False,
        sequence="", serial=False, options="", storage="", compression="", statistics=0, attributes=(), inherited=False,
    )  # fmt: skip


@pytest.fixture
def migrated(project: Project) -> Project:
    """A target with rows at the end of the shipped history."""
    if not SHIPPED:
        pytest.skip("the page shows the history that is shipped")
    for path in (ROOT / "migration" / "versions").glob("20*.py"):
        shutil.copy(path, project.versions)
    up(project.settings, project.database)
    hazards.fill(project.database)
    return project


@pytest.fixture
def example(migrated: Project) -> Review:
    """The review of a script with hazards on top of it."""
    hazards.write(migrated.versions)
    return review.perform(*migrated.settings, migrated.database, drawing=True)


def settled(page: str) -> str:
    """Return a page without what differs from run to run."""
    page = re.sub(r"\d+\.\d{3} s on", "0.001 s on", page)
    page = re.sub(r"stimated time: [^<]*? for", "stimated time: less than 1 s for", page)
    page = re.sub(r"measured on PostgreSQL [\d.]+[^<]*", "measured on PostgreSQL 18.6", page)
    return re.sub(r"target [^<]*; sizes", f"target {SHOWN_TARGET}; sizes", page)


def test_page_of_the_example(server: Database, example: Review) -> None:
    """docs/review-example.html is what a review prints; WRITE_EXAMPLE=1 writes it and its picture anew."""
    needs_version(server, 18, "the page as it is in the documentation")
    page = settled(review_page.as_html(example))
    if os.environ.get("WRITE_EXAMPLE"):
        EXAMPLE.write_text(page)
        browser.picture(EXAMPLE, EXAMPLE.with_name("review.png"), 1100, 760)
    assert page == EXAMPLE.read_text()


@pytest.mark.long
def test_what_the_page_says_to_write_turns_it_green(migrated: Project) -> None:
    """Each statement with a finding is replaced with the code that the page shows instead of it."""
    path = hazards.write(migrated.versions)
    before = review.perform(*migrated.settings, migrated.database)
    text = path.read_text()
    for finding in before.findings:
        if not finding.accepted:
            old, new = source.statement(hazards.SCRIPT, finding.line), finding.fix
            text = text.replace(textwrap.indent(old, "    "), textwrap.indent(new, "    "))
    path.write_text(text)
    after = review.perform(*migrated.settings, migrated.database)
    assert [review_page.Page(each).level for each in (before, after)] == ["error", "safe"]
    assert after.verdict == review.SAFE


@pytest.mark.long
def test_the_browser_shows_it_whole(tmp_path: Path) -> None:
    """Nothing overflows a phone, nothing is wrong in the console, and a name of a table is never part of the page."""
    browser.needs_browser()
    page = review_page.as_html(hostile())
    (tmp_path / "page.html").write_text(page)
    shown, console = browser.dumped(tmp_path / "page.html")
    assert not console
    assert "<b>" not in shown
    assert not re.search(r"<(rect|line|polyline)[^>]*>(?!</\1>|<title>)", shown)  # each is closed
    assert len(re.findall('<rect class="bar-', shown)) == 302
    tables = re.findall(r'<text class="name table"[^>]*><title>([^<]*)</title>', shown)
    assert [html.unescape(each) for each in tables[:2]] == [str(NASTY), str(LONG)]
    for width in (375, 1200):
        content, window = browser.widths(page, tmp_path, width)
        assert content <= window <= width


@pytest.mark.long
def test_command_writes_the_page(checkout: Checkout) -> None:
    """It is written beside what is for a program, and only stderr says so."""
    done = checkout.invoke("review", "--from", "base", "--json", "--html")
    assert json.loads(done.stdout)["revisions"]
    assert "review.html" in done.stderr
    page = (checkout.root / "review.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "No statement does more to a table from before the scripts" in page


def test_what_a_page_leaves_out() -> None:
    """Revisions without pictures are listed together, and a legend explains only what is drawn."""
    revisions = [Revision(f"r{number}", "step", SCRIPT) for number in range(3)]
    loud = measured("ALTER TABLE t", 1, Lock(NASTY, "AccessExclusiveLock"))
    statements = (loud, measured("CREATE TABLE a ()", 2), measured("CREATE TABLE b ()", 3))
    mine = [replace(each, revision=on) for each, on in zip(statements, revisions, strict=True)]
    files = {revision.id: "a.py" for revision in revisions}
    page = review_page.as_html(Review("", "18.6", (), tuple(revisions), files, tuple(mine)))
    assert re.findall(r"<h3>(r\d)", page) == ["r0"]
    assert re.findall(r"<li>(r\d)  step</li>", page) == ["r1", "r2"]
    assert "every row is written anew" not in page
    assert "from end to end</li>" not in page


def test_page_of_a_script_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """It says after which statement nothing is known, and proposes no comment that accepts that, like a terminal."""
    finding = Finding("fails", "error", "no such column", "one", "a.py", 9)
    statements = (measured("ALTER TABLE t", 1, Lock(NASTY, "AccessExclusiveLock")),)
    files = {"one": "a.py"}
    failing = Review("", "18.6", (), (revision(),), files, statements, (finding,))
    page = review_page.as_html(failing)
    assert "It fails at line 9: no such column. What would come after that is not known." in page
    assert "accept fails because" not in page
    show_review.review(failing)
    assert "accept" not in capsys.readouterr().out


def test_sarif_names_files_by_uris() -> None:
    """A blank in a path is no part of a URI (RFC 3986)."""
    finding = Finding("fails", "error", "no", "one", "my scripts/ä.py", 9)
    failing = Review("", "18.6", (), (revision(),), {"one": "a.py"}, (), (finding,))
    (result,) = json.loads(review_report.as_sarif(failing))["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "my%20scripts/%C3%A4.py"


def test_page_needs_nothing_else() -> None:
    """It has no script and loads nothing."""
    page = review_page.as_html(hostile())
    assert not re.search(r"<script|<link|<img|@import|url\((?!#)|\bsrc=|https?://", page)


def test_many_statements_are_several_pictures() -> None:
    """300 statements over 60 tables: each picture has some statements, and only the tables that these lock."""
    found = timeline.pictures(many())
    assert [len(each.columns) for each in found[:-1]] == [timeline.COLUMNS] * (len(found) - 1)
    assert sum(len(each.columns) for each in found) == 300
    assert all(len(each.rows) <= timeline.COLUMNS for each in found)
    assert all(bar.x + bar.width <= each.width for each in found for bar in each.bars)


def test_bars_end_with_their_transaction() -> None:
    """A lock is held to the end of its transaction, a stronger one of the same table follows it, and none goes on."""
    weak, strong = Lock(NASTY, "RowExclusiveLock"), Lock(NASTY, "AccessExclusiveLock")
    found = timeline.pictures(
        [
            measured("UPDATE a", 1, weak),
            measured("ALTER TABLE a", 1, weak, strong),
            measured("CREATE TABLE b", 1, weak, strong),
            measured("UPDATE a", 2, weak),
        ]
    )[0]
    assert [(bar.first, bar.last, bar.mode, bar.look) for bar in found.bars] == [
        (0, 0, "RowExclusiveLock", "nothing"),
        (1, 2, "AccessExclusiveLock", "all"),
        (3, 3, "RowExclusiveLock", "nothing"),
    ]
    assert [(band.first, band.last, band.label) for band in found.bands] == [
        (0, 2, "one transaction"),
        (3, 3, "alone"),
    ]


def test_a_transaction_that_several_pictures_show_is_never_called_alone() -> None:
    """Its last statement may be the only one of it in a picture."""
    lock = Lock(NASTY, "AccessExclusiveLock")
    found = timeline.pictures([measured("ALTER TABLE a", 1, lock)] * (timeline.COLUMNS + 1))
    assert [band.label for each in found for band in each.bands] == ["one transaction", ""]


def test_locks_of_mere_reading_are_left_out() -> None:
    """A query locks tables so that others may do what they like."""
    (found,) = timeline.pictures([measured("SELECT 1", 1, Lock(NASTY, "AccessShareLock"))])
    assert (found.rows, found.bars) == ((), ())


def test_every_lock_mode_has_words() -> None:
    """What a lock blocks is what the manual says of its mode (13.3.1)."""
    assert {mode: timeline.blocks(mode) for mode in timeline.MODES} == {
        "AccessShareLock": "nothing",
        "RowShareLock": "nothing",
        "RowExclusiveLock": "nothing",
        "ShareUpdateExclusiveLock": "nothing",
        "ShareLock": "writes",
        "ShareRowExclusiveLock": "writes",
        "ExclusiveLock": "writes",
        "AccessExclusiveLock": "reads and writes",
    }


@pytest.mark.parametrize(
    ("text", "room", "shown"),
    [
        ("orders", 6, "orders"),
        ("customer_orders_2026", 11, "custo…_2026"),
        ("🚀🚀🚀🚀", 5, "🚀…🚀"),
        ("a\n b", 9, "a b"),
    ],
)
def test_names_are_cut_in_the_middle(text: str, room: int, shown: str) -> None:
    """Names that do not fit keep both ends, and never take more room than there is."""
    assert texts.fitted(text, room) == shown
    assert texts.width(shown) <= room


@settings(max_examples=60)
@given(
    tables=st.integers(1, 25),
    links=st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=40),
)
def test_nothing_lies_on_a_table(tables: int, links: list[tuple[int, int]]) -> None:
    """Whatever references what, boxes do not overlap, and no line runs across one."""
    after = catalog_of(tables, [(child % tables, parent % tables) for child, parent in links])
    drawn = diagram.draw(Catalog((), {}, {}, {}), after, after.tables)
    assert len(drawn.boxes) == tables
    assert len(drawn.paths) == len({(c % tables, p % tables) for c, p in links})
    rooms = [(each.x, each.y, each.x + diagram.WIDTH, each.y + each.height) for each in drawn.boxes]
    lines = [pair for path in drawn.paths for pair in pairwise(path.points)]
    for number, room in enumerate(rooms):
        assert not any(_meet(room, other) for other in rooms[number + 1 :])
        assert not any(_meet(room, _around(*line)) for line in lines)
        assert 0 <= room[0] < room[2] <= drawn.width
        assert 0 <= room[1] < room[3] <= drawn.height
    assert all(x == to_x or y == to_y for (x, y), (to_x, to_y) in lines)


def _around(first: tuple[int, int], last: tuple[int, int]) -> tuple[int, int, int, int]:
    (a, b), (c, d) = first, last
    return min(a, c), min(b, d), max(a, c), max(b, d)


def _meet(one: tuple[int, int, int, int], two: tuple[int, int, int, int]) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def test_a_comma_is_no_difference() -> None:
    """A column that became the last one of its table is not shown as another one."""
    key = Key("TABLE", "public", "t")
    before = Snapshot({key: ("CREATE TABLE t (\n    a int,\n    b int\n);",)})
    after = Snapshot({key: ("CREATE TABLE t (\n    a int\n);",)})
    (found,) = differences.between(before, after)
    assert found.lines == (
        ("", "CREATE TABLE t ("),
        ("", "    a int"),
        ("-", "    b int"),
        ("", ");"),
    )


COLORS = re.findall(
    r"--([\w-]+): (#\w{6})", CSS := (review_page.FOLDER / "review.css.mako").read_text()
)
PAIRS = [
    *((f"on-{each}", each) for each in ("error", "warning", "safe", "note", "plus", "minus")),
    *((text, back) for text in ("text", "soft", "link") for back in ("page", "card", "band")),
    ("text", "note"), ("soft", "plus"), ("soft", "minus"), ("text", "plus"), ("text", "minus"),
]  # fmt: skip


@pytest.mark.parametrize("theme", range(3))
def test_texts_are_readable(theme: int) -> None:
    """Every text has a contrast of at least 4.5 to what is behind it (WCAG 2.2, 1.4.3 AA): light, dark, printed."""
    blocks = CSS.split(":root {")[1:]
    colors = dict(re.findall(r"--([\w-]+): (#\w{6});", blocks[theme].partition("}")[0]))
    for text, back in PAIRS:
        assert _contrast(colors[text], colors[back]) >= 4.5, (text, back)


def _contrast(one: str, two: str) -> float:
    light, dark = sorted(map(_luminance, (one, two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    ]
    return sum(share * each for share, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

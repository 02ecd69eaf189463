"""Documentation is a promise: its commands are run in their order, and print what it says (`helpers/pages.py`)."""

import re
from pathlib import Path

import pytest
import session_picture
from checkouts import Checkout
from conftest import ROOT
from pages import require_true

PAGES = [
    "README.md",
    "docs/when-it-goes-wrong.md",
    "docs/branches.md",
    "docs/squashing.md",
    "docs/going-back.md",
    "docs/data.md",
]
SHIPPED = [*(ROOT / "migration" / "versions").glob("*d92233541b7a*")]
SHOWN_ROOT = "/home/you/postgres-database"


@pytest.mark.long
@pytest.mark.timeout(
    300
)  # a page is a session of some minutes on a machine that does other work, too
@pytest.mark.skipif(not SHIPPED, reason="the pages show the history that is shipped")
@pytest.mark.parametrize("page", PAGES)
def test_pages_print_what_they_say(newcomer: Checkout, page: str) -> None:
    """Every console block of a page runs as it stands there and prints what stands there."""
    require_true(ROOT / page, newcomer, {str(newcomer.root): SHOWN_ROOT})


@pytest.mark.parametrize(
    "page", [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), ROOT / ".ci" / "run"]
)
def test_tests_that_pages_name_are_there(page: Path) -> None:
    """Every folder, file and function of tests that a page names exists."""
    text = page.read_text()
    for path, function in re.findall(
        r"(tests/(?:engine|schema)\b[\w/]*(?:\.py)?)(?:::(\w+))?", text
    ):
        assert (ROOT / path).exists(), path
        assert f"def {function}(" in (ROOT / path).read_text() if function else True, function
    for name in re.findall(r"`(test_\w+\.py)`", text):
        assert [*(ROOT / "tests").rglob(name)], name


def test_the_picture_shows_what_the_page_says() -> None:
    """The picture of a terminal in README.md has the lines of its console blocks."""
    assert session_picture.PICTURE.read_text() == session_picture.drawn(), (
        "python tests/engine/helpers/session_picture.py draws it again"
    )

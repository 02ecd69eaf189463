"""Documentation is a promise: its commands are run in their order, and print what it says.

UPDATE_DOCS=1 writes what they print into the pages. A comment before a block says what is run first,
unseen (`setup`), or that the block's first lines are about .venv, which a test has already (`first`).
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
from checkouts import Checkout
from conftest import ROOT

PAGES = ["README.md", "docs/when-it-goes-wrong.md"]
BLOCK = re.compile(
    r"(?P<note><!-- (?P<when>first|setup): (?P<run>[^\n]*) -->\n)?```(?P<kind>console|diff)\n(?P<text>.*?)```",
    re.DOTALL,
)
SHIPPED = [*(ROOT / "migration" / "versions").glob("*d92233541b7a*")]
SHOWN_ROOT = "/home/you/postgres-database"

# What differs from run to run, and what stands for it in the comparison.
VARIABLE = {
    r"\d{4}_\d\d_\d\d_\d{4}": "<date>",
    r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])": "<revision>",
    r"\d+\.\d\d s\b": "<seconds>",
    r"\d+ [kM]B\b": "<size>",
    r"\b\d\d\.\d+\b": "<version>",
    r"postgres@\S+/main": "postgres@<socket>",
    r"[ \t]+": " ",
}


def normal(text: str) -> str:
    """Replace what differs from run to run."""
    for pattern, name in VARIABLE.items():
        text = re.sub(pattern, name, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@pytest.mark.long
@pytest.mark.timeout(
    300
)  # a page is a session of some minutes on a machine that does other work, too
@pytest.mark.skipif(not SHIPPED, reason="the pages show the history that is shipped")
@pytest.mark.parametrize("page", PAGES)
def test_pages_print_what_they_say(newcomer: Checkout, page: str) -> None:
    """Every console block of a page runs as it stands there and prints what stands there."""
    path = ROOT / page
    text = path.read_text()
    real = BLOCK.sub(lambda block: run_block(newcomer, block), text)
    if os.environ.get("UPDATE_DOCS"):
        path.write_text(real)
    assert normal(real) == normal(text)


def run_block(checkout: Checkout, block: re.Match[str]) -> str:
    """Run a block and return it with what its commands print."""
    if block["kind"] == "diff":
        subprocess.run(
            ["git", "apply"], input=block["text"], text=True, cwd=checkout.root, check=True
        )
        return block[0]
    if block["when"] == "setup":
        checkout.run("sh", "-c", block["run"])
    lines = []
    for command in re.findall(r"^\$ (.*)$", block["text"], re.MULTILINE):
        done = checkout.run("sh", "-c", f"{{ {command}\n}} 2>&1")
        output = done.stdout.replace(str(checkout.root), SHOWN_ROOT)
        lines += [f"$ {command}", *([output.rstrip()] if output.strip() else [])]
    if block["when"] == "first":
        venv = r"^(?:building|installing into) .venv.*$"
        lines[1:1] = re.findall(venv, block["text"], re.MULTILINE)
    return f"{block['note'] or ''}```console\n" + "\n".join(lines) + "\n```"


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

"""The README is a promise: its commands are run in their order, and print what it says.

UPDATE_README=1 writes what they print into the README instead.
"""

import os
import re
import subprocess

from conftest import Checkout

from postgres_database.settings import ROOT

README = ROOT / "README.md"
BLOCK = re.compile(
    r"(?P<first><!-- first: [^\n]*\n)?```(?P<kind>console|diff)\n(?P<text>.*?)```", re.DOTALL
)
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


def test_readme_prints_what_it_says(newcomer: Checkout) -> None:
    """Every console block of the README runs as it stands there and prints what stands there."""
    text = README.read_text()
    real = BLOCK.sub(lambda block: run_block(newcomer, block), text)
    if os.environ.get("UPDATE_README"):
        README.write_text(real)
    assert normal(real) == normal(text)


def run_block(checkout: Checkout, block: re.Match[str]) -> str:
    """Run a block and return it with what its commands print."""
    if block["kind"] == "diff":
        subprocess.run(
            ["git", "apply"], input=block["text"], text=True, cwd=checkout.root, check=True
        )
        return block[0]
    lines = []
    for command in re.findall(r"^\$ (.*)$", block["text"], re.MULTILINE):
        done = checkout.run("sh", "-c", f"{command} 2>&1")
        # A revision's id is not known before it is made: later commands see what the README shows.
        output = done.stdout.replace(str(checkout.root), SHOWN_ROOT)
        lines += [f"$ {command}", *([output.rstrip()] if output.strip() else [])]
    if block["first"]:  # .venv is there already in the test
        lines[1:1] = re.findall(
            r"^(?:building|installing into) .venv.*$", block["text"], re.MULTILINE
        )
    return f"{block['first'] or ''}```console\n" + "\n".join(lines) + "\n```"

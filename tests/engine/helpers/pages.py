"""Pages whose console blocks are run in their order, and print what stands there.

UPDATE_DOCS=1 writes what they print into the pages. A comment before a block says what is run first,
unseen (`setup`), or that the block's first lines are about .venv, which a test has already (`first`).
"""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

BLOCK = re.compile(
    r"(?P<note><!-- (?P<when>first|setup): (?P<run>[^\n]*) -->\n)?```(?P<kind>console|diff)\n(?P<text>.*?)```",
    re.DOTALL,
)

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


class Terminal(Protocol):
    """Where commands are typed."""

    root: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program at the root."""


def without_progress(text: str) -> str:
    """Leave out the lines of work that takes long, as it does on a machine that does other work, too."""
    return re.sub(r"^ +\S.*: \d+ s so far\n", "", text, flags=re.MULTILINE)


def normal(text: str) -> str:
    """Replace what differs from run to run."""
    for pattern, name in VARIABLE.items():
        text = re.sub(pattern, name, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def require_true(path: Path, terminal: Terminal, shown: Mapping[str, str]) -> None:
    """Run a page, whose output shows other names: the keys of `shown` are what is printed."""
    text = path.read_text()
    real = BLOCK.sub(lambda block: run_block(terminal, block, shown), text)
    if os.environ.get("UPDATE_DOCS"):
        path.write_text(real)
    assert normal(real) == normal(text)


def run_block(terminal: Terminal, block: re.Match[str], shown: Mapping[str, str]) -> str:
    """Run a block and return it with what its commands print."""
    if block["kind"] == "diff":
        subprocess.run(
            ["git", "apply"], input=block["text"], text=True, cwd=terminal.root, check=True
        )
        return block[0]
    if block["when"] == "setup":
        terminal.run("sh", "-c", block["run"])
    lines = []
    for command in re.findall(r"^\$ (.*)$", block["text"], re.MULTILINE):
        done = terminal.run("sh", "-c", f"{{ {command}\n}} 2>&1")
        output = without_progress(done.stdout)
        for printed, name in shown.items():
            output = output.replace(printed, name)
        lines += [f"$ {command}", *([output.rstrip()] if output.strip() else [])]
    if block["when"] == "first":
        venv = r"^(?:building|installing into) .venv.*$"
        lines[1:1] = re.findall(venv, block["text"], re.MULTILINE)
    return f"{block['note'] or ''}```console\n" + "\n".join(lines) + "\n```"

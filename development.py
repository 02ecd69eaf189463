"""The commands for people who work on this repository; the engine that is installed has none of them."""

import subprocess
import sys
from pathlib import Path

from invoke import Context, Exit

from postgres_database.tasks import command

QUICK = "not slow and (first or not long)"
"""What runs in some minutes on two cores; CI runs a third of `long and not first` each day, too."""


@command(help={"slow": "also the slow tests", "only": "an expression of pytest -k"})
def test(c: Context, slow: bool = False, only: str = "") -> None:
    """Run the tests on a PostgreSQL of their own; of long ones with several cases the first."""
    arguments = [*([] if slow else ["-m", QUICK]), *(["-k", only] if only else [])]
    _tool("pytest", *arguments)


@command()
def test_slow(c: Context) -> None:
    """Run the slow tests: kill -9 at every statement, fifty rounds of five runners."""
    _tool("pytest", "-m", "slow")


@command()
def lint(c: Context) -> None:
    """Check the code: ruff, its formatter, mypy --strict."""
    _tool("ruff", "check", ".")
    _tool("ruff", "format", "--check", ".")
    _tool("mypy")


@command(
    help={
        "rounds": "how often each command is measured (default 9)",
        "json": "also write the figures to this file",
        "write": "also write them into docs/performance.md, with its picture",
    }
)
def bench(c: Context, rounds: str = "", json: str = "", write: bool = False) -> None:
    """Count what the parser reads, and measure the commands beside plain Alembic and other tools."""
    options = {"--rounds": rounds, "--json": json}
    given = [f"{name}={value}" for name, value in options.items() if value]
    _tool("benchmarks.parser")
    _tool("benchmarks.databases")
    _tool("benchmarks.performance", *given, *(["--write"] if write else []))


@command()
def bench_peers(c: Context) -> None:
    """Install the other tools that `bench` measures into .peers, from PyPI and npm."""
    _tool("benchmarks.peers")


@command()
def bench_faults(c: Context) -> None:
    """Measure what live traffic notices of an upgrade, and what a crash costs; takes some minutes."""
    _tool("benchmarks.faults")


def _tool(name: str, *arguments: str) -> None:
    repository = Path(__file__).resolve().parent
    done = subprocess.run([sys.executable, "-m", name, *arguments], check=False, cwd=repository)
    if done.returncode:
        raise Exit(code=done.returncode)

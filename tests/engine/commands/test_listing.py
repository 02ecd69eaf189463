"""The list of the commands, and what a shell completes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import Checkout
from invoke import Collection

import postgres_database.tasks
import tasks
from postgres_database.commands import completion, listing

COMMANDS = Collection.from_module(tasks)
HEAD = "d92233541b7a"


def test_every_command_is_in_one_group() -> None:
    """Of the engine each command is in a group, and in one; what else a project has is of its repository."""
    grouped = [name for group in listing.GROUPS.values() for name in group]
    ours = Collection.from_module(postgres_database.tasks).task_names
    assert sorted(grouped) == sorted(ours)


def test_list_has_every_command_once_in_lines_of_80_columns() -> None:
    """What is printed is readable on the smallest terminal."""
    lines = listing.grouped(COMMANDS).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line != line.rstrip()] == []
    names = [match[1] for line in lines if (match := re.match(r"  ([a-z-]+)", line))]
    assert sorted(names) == sorted(COMMANDS.task_names)


@pytest.mark.parametrize("typed", [[], ["--list"], ["-l"]])
def test_invoke_prints_it(checkout: Checkout, typed: list[str]) -> None:
    """`invoke` and `invoke --list` are grouped; what Invoke alone can do with other options is left to it."""
    assert checkout.invoke(*typed).stdout == listing.grouped(COMMANDS)
    if typed:
        assert checkout.invoke(*typed, "--list-format=json").stdout.startswith("{")


def test_installed_program_prints_it(checkout: Checkout) -> None:
    """`postgres-database --list` and its help have the groups, too."""
    code = "import sys; sys.argv[0] = 'postgres-database'; from postgres_database.tasks import main; main()"
    ours = listing.grouped(Collection.from_module(postgres_database.tasks))
    for options in ((), ("--list",), ("--help",)):
        assert checkout.run(sys.executable, "-c", code, *options).stdout.endswith(ours)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("invoke upgrade --env", ["production", "test"]),
        ("invoke upgrade --env pro", ["production", "test"]),
        ("invoke upgrade --env = pro", ["production", "test"]),
        ("invoke upgrade --env=", ["production", "test"]),
        ("invoke upgrade --target", ["head", "base"]),
        ("invoke upgrade --env test --yes", []),
        ("invoke upg", []),
        ("invoke", []),
    ],
)
def test_values_of_options(tmp_path: Path, line: str, values: list[str]) -> None:
    """Environments and revisions are completed, all else is left to Invoke."""
    for name in ("production", "test", "example"):
        (tmp_path / f".env.{name}").touch()
    assert completion.values(line, tmp_path) == values


@pytest.mark.parametrize(
    ("typed", "reply"),
    [
        ("upgrade --env pro", "production"),
        ("upgrade --target d9", HEAD),
        ("upgrade --skip", "--skip-row-checks"),
        ("basel", "baseline-existing"),
    ],
)
def test_bash_completes(checkout: Checkout, typed: str, reply: str) -> None:
    """The script that Invoke prints for bash completes commands, options, environments and revisions."""
    (checkout.root / ".env.production").touch()
    invoke = checkout.root / "bin" / "invoke"
    invoke.parent.mkdir(exist_ok=True)
    invoke.write_text(f'#!/bin/sh\nexec {sys.executable} -m invoke "$@"\n')
    invoke.chmod(0o755)
    script = f"""
        eval "$(invoke --print-completion-script bash)"
        COMP_WORDS=(invoke {typed})
        _complete_invoke invoke {typed.rsplit(maxsplit=1)[-1]}
        echo "${{COMPREPLY[@]}}"
    """
    environ = {"PATH": f"{invoke.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=checkout.root,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [reply], done.stderr

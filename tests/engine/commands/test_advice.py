"""What to type next is spelled as whoever reads it types it."""

import ast
import re
from collections.abc import Iterator

import pytest
from checkouts import Checkout, as_text, ready_venv
from conftest import ROOT
from invoke import Collection, Context

import postgres_database.tasks
from postgres_database.commands import advice
from postgres_database.commands.advice import WITHOUT_ENVIRONMENT, as_typed, for_environment
from postgres_database.commands.command import command
from postgres_database.server.connection import Database

# what is written → with make, with the installed program
SPELLINGS = {
    "invoke check   (a note)": ("make check   (a note)", "postgres-database check   (a note)"),
    "invoke upgrade --env production": (
        "make upgrade ENV=production", "postgres-database upgrade --env production",
    ),
    "next: invoke revision --msg '…', review it, then invoke upgrade --env x": (
        "next: make revision MSG='…', review it, then make upgrade ENV=x",
        "next: postgres-database revision --msg '…', review it, then postgres-database upgrade --env x",
    ),
    "invoke stamp --env x --purge --target base; then": (
        "make stamp ENV=x TARGET=base ARGS=--purge; then",
        "postgres-database stamp --env x --purge --target base; then",
    ),
    "invoke upgrade --target=-1 --dry-run --yes   (a note)": (
        "make upgrade TARGET=-1 ARGS='--dry-run --yes'   (a note)",
        "postgres-database upgrade --target=-1 --dry-run --yes   (a note)",
    ),
    "invoke psql --env x --command 'GRANT CREATE ON SCHEMA s TO …'": (
        "make psql ENV=x ARGS=\"--command 'GRANT CREATE ON SCHEMA s TO …'\"",
        "postgres-database psql --env x --command 'GRANT CREATE ON SCHEMA s TO …'",
    ),
    """invoke psql --command 'ALTER ROLE "$" LOGIN'""": (
        """invoke psql --command 'ALTER ROLE "$" LOGIN'""",
        """postgres-database psql --command 'ALTER ROLE "$" LOGIN'""",
    ),
    "invoke psql --command 'GRANT app TO `id`'": (
        "invoke psql --command 'GRANT app TO `id`'",
        "postgres-database psql --command 'GRANT app TO `id`'",
    ),
    "invoke upgrade --help": ("make upgrade ARGS=--help", "postgres-database upgrade --help"),
    "invoke --list": ("make help", "postgres-database --list"),
    "the same command with --env production   (did you mean that?)": (
        "the same command with ENV=production   (did you mean that?)",
        "the same command with --env production   (did you mean that?)",
    ),
    "no command in it: --env x": ("no command in it: --env x", "no command in it: --env x"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("invoke upgrade", "invoke upgrade --env x"),
        ("invoke upgrade --target=-1   (a note)", "invoke upgrade --env x --target=-1   (a note)"),
        (
            """invoke merge --msg "Merge"   (or invoke upgrade --target heads, if they are to stay)""",
            """invoke merge --msg "Merge"   (or invoke upgrade --env x --target heads, if they are to stay)""",
        ),
        ("invoke psql --command 'SELECT 1'", "invoke psql --env x --command 'SELECT 1'"),
        ("invoke status --env y; invoke history", "invoke status --env y; invoke history"),
        ("invoke upgrade --all-envs", "invoke upgrade --all-envs"),
        ("git pull   (no --env)", "git pull   (no --env)"),
        ("env -u ENV invoke review --from a1", "env -u ENV invoke review --from a1"),
    ],
)
def test_advice_is_for_the_environment_that_was_typed(text: str, named: str) -> None:
    """What is typed next never works on another database than what was typed first."""
    assert for_environment(text, "x") == named
    assert for_environment(text, "") == text


def test_commands_without_environment() -> None:
    """They are exactly those without --env, and `history`, which does something else with it."""
    commands = Collection.from_module(postgres_database.tasks).to_contexts()
    without = {each.name for each in commands if "env" not in each.args}
    assert {*WITHOUT_ENVIRONMENT} == {*without, "history"}


@pytest.mark.parametrize("text", SPELLINGS)
def test_spellings(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Invoke's form stays for invoke, and becomes that of make or of the program for those who type these."""
    monkeypatch.delenv(advice.CALLER, raising=False)
    monkeypatch.setattr("sys.argv", ["invoke"])
    assert as_typed(text) == text
    monkeypatch.setattr("sys.argv", ["/usr/bin/postgres-database"])
    assert as_typed(text) == SPELLINGS[text][1]
    monkeypatch.setenv(advice.CALLER, "make")
    assert as_typed(text) == SPELLINGS[text][0]


@pytest.mark.long
def test_make_gives_advice_for_make(checkout: Checkout, database: Database) -> None:
    """What make says to type next works when it is typed."""
    ready_venv(checkout)
    checkout.env_file("", POSTGRES_DSN=as_text(database.dsn))
    failed = checkout.run("make", "downgrade", "TARGET=nowhere")
    assert failed.returncode
    assert "try:   make history" in failed.stderr, failed.stderr
    checkout.env_file("x", POSTGRES_DSN="host=/nowhere dbname=x")
    assert checkout.run("make", "status", "ENV=x").returncode == 0


def test_next_steps_are_for_the_environment_that_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command says is for its environment, and what is said after it for none."""
    said: list[str] = []

    @command()
    def probe(_: Context, env: str = "") -> None:  # noqa: ARG001 - an option
        said.append(as_typed("next: invoke upgrade"))

    monkeypatch.delenv("ENV", raising=False)
    probe(Context(), env="x")
    probe(Context())
    assert [*said, as_typed("invoke check")] == [
        "next: invoke upgrade --env x",
        "next: invoke upgrade",
        "invoke check",
    ]


def written_texts() -> Iterator[tuple[str, str]]:
    """Yield the texts of the sources, each with its place.

    What is filled in behind a space or = is X; behind a word, as in `invoke upgrade{env_option}`, it is an option or
    nothing.
    """
    for path in sorted((ROOT / "postgres_database").rglob("*.py")):
        nodes = [*ast.walk(ast.parse(path.read_text()))]
        filled = [node for node in nodes if isinstance(node, ast.JoinedStr)]
        parts = {part for node in filled for part in node.values}
        for node in filled:
            text = ""
            for part in node.values:
                text += (
                    str(part.value)
                    if isinstance(part, ast.Constant)
                    else "X" * text.endswith((" ", "="))
                )
            yield f"{path.name}:{node.lineno}", text
        for other in nodes:
            if isinstance(other, ast.Constant) and other not in parts:
                yield f"{path.name}:{other.lineno}", str(other.value)


def test_written_advice_has_options_that_are_there() -> None:
    """Each command in a text of ours is one, has each option, and a value only behind an option that takes one."""
    known = {
        each.name: each for each in Collection.from_module(postgres_database.tasks).to_contexts()
    }
    wrong = []
    for place, text in written_texts():
        for found in advice.COMMAND.finditer(text):
            options = known[found["command"]].flags if found["command"] in known else {}
            if found["options"] and found.end() == len(text):  # a value is put behind it
                continue
            for option in re.finditer(advice.OPTION, found["options"]):
                argument = options.get(f"--{option['name']}")
                right = argument and argument.takes_value is bool(option["value"])
                if not right and option["name"] != "help":
                    wrong.append(f"{place}: {found[0]}")
    assert "\n".join(wrong) == ""

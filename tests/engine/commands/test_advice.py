"""What to type next is spelled as whoever reads it types it."""

import pytest
from checkouts import Checkout, ready_venv
from invoke import Collection, Context

import postgres_database.tasks
from postgres_database.commands import advice
from postgres_database.commands.advice import WITHOUT_ENVIRONMENT, as_typed, for_environment
from postgres_database.commands.command import command

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
    "invoke upgrade --target=-1 --dry-run --yes   (and what else you typed)": (
        "make upgrade TARGET=-1 ARGS='--dry-run --yes'   (and what else you typed)",
        "postgres-database upgrade --target=-1 --dry-run --yes   (and what else you typed)",
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
def test_make_gives_advice_for_make(checkout: Checkout) -> None:
    """What make says to type next works when it is typed."""
    ready_venv(checkout)
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

"""What was typed behind `invoke` and is not understood: the error says what to type instead."""

import shlex
from pathlib import Path

import pytest
from checkouts import Checkout
from invoke import Collection

import tasks
from postgres_database.commands import command_line
from postgres_database.errors import ExpectedError


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("upgrade production", "invoke upgrade --env production"),
        ("upgrade staging", "invoke upgrade --env staging"),
        ("upgrade env=production", "invoke upgrade --env production"),
        ("upgrade ENV=production", "invoke upgrade --env production"),
        ("--env production upgrade", "invoke upgrade --env production   (options come after"),
        ("upgrade -env production", "invoke upgrade --env production"),
        ("upgrade -e production", "invoke upgrade --env production"),
        ("upgrade --production", "invoke upgrade --env production"),
        ("upgrade --evn production", "invoke upgrade --env production"),
        ("upgrade --env production --env staging", "invoke upgrade --env staging"),
        ("upgrade test", "invoke upgrade --env test"),
        ("test upgrade", "invoke upgrade --env test"),
        ("upgrade --env=", "invoke upgrade --env production"),
        ("upgrade --env ''", "invoke upgrade --env production"),
        ("upgrade --env", "invoke upgrade --help"),
        ("upgrade +1", "invoke upgrade --target=+1"),
        ("downgrade -1", "invoke downgrade --target=-1"),
        ("upgrade TARGT=+1", "invoke upgrade --target=+1"),
        ("upgrade --dry_run", "invoke upgrade --dry-run"),
        ("upgrade --yes=1", "invoke upgrade --yes   (--yes takes no value)"),
        ("revision 'Added column'", "invoke revision --msg 'Added column'"),
        ("upgrade -- production", "invoke upgrade --env production"),
        ("upgrade -- --env production", "invoke upgrade --env production"),
        ("upgrade -- +1", "invoke upgrade --target=+1"),
        ("upgarde", "invoke upgrade"),
        ("qqq", "invoke --list"),
        ("check --env x --target-onl", "invoke check --env x --target-only"),
        ("check --tarjet-only --env x --jsn", "invoke check --target-only --env x --json"),
        ("upgrade --evn=production --yes", "invoke upgrade --env production --yes"),
        ("upgrade production --wait 30s", "invoke upgrade --env production --wait 30s"),
        ("--yes upgrade --env x", "invoke upgrade --yes --env x   (options come after"),
        ("downgrade --env x -1 --yes", "invoke downgrade --env x --target=-1 --yes"),
        ("upgarde --env x", "invoke upgrade --env x"),
        ("status --env test upgarde --dyr-run", "invoke status --env test upgrade --dry-run"),
        ("upgrade --yes test --sql", "invoke upgrade --yes --env test --sql"),
        ("test upgrade --yes", "invoke upgrade --env test --yes"),
        ("upgrade --env= --yes", "invoke upgrade --env production --yes"),
        ("upgrade --env production --env staging --yes", "invoke upgrade --env staging --yes   (-"),
        ("revision --msg A new column --env x", "invoke revision --msg 'A new column' --env x"),
        ("revision --rename a.b:c --no-rename", "invoke revision --rename a.b:c --no-renames"),
        ("psql --env x 'SELECT 1'", "invoke psql --env x --command 'SELECT 1'"),
        ("psql --env x select", "invoke psql --help"),
    ],
)
def test_what_invoke_does_not_understand_names_what_was_meant(
    tmp_path: Path, typed: str, right: str
) -> None:
    """A word too many or a misspelt option ends the command before anything runs."""
    for name in ("production", "test"):
        (tmp_path / f".env.{name}").touch()
    with pytest.raises(ExpectedError) as caught:
        command_line.require_understood(shlex.split(typed), Collection.from_module(tasks), tmp_path)
    assert caught.value.what.endswith("; nothing was run")
    assert caught.value.hint.startswith(right)


@pytest.mark.parametrize(
    "typed",
    ["", "--list", "upgrade --help", "--help upgrade", "upgrade --env production --yes",
     "upgrade --target -1", "upgrade status", "--complete -- upgrade pro", "test --only x"],
)  # fmt: skip
def test_what_invoke_understands_is_left_to_it(tmp_path: Path, typed: str) -> None:
    """Several commands, help and the completion of a shell are no misspelling."""
    (tmp_path / ".env.test").touch()
    command_line.require_understood(typed.split(), Collection.from_module(tasks), tmp_path)


def test_the_environment_of_the_variable_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ENV names, as make sets it, is part of the command that is proposed."""
    monkeypatch.setenv("ENV", "production")
    with pytest.raises(ExpectedError) as caught:
        command_line.require_understood(
            ["upgrade", "--dry_run"], Collection.from_module(tasks), tmp_path
        )
    assert caught.value.hint == "invoke upgrade --dry-run --env production"


def test_an_address_is_not_shown(tmp_path: Path) -> None:
    """A DSN in the wrong place does not get into a log."""
    typed = ["upgrade", "POSTGRES_DSN=postgresql://app:hush@db/shop"]
    with pytest.raises(ExpectedError) as caught:
        command_line.require_understood(typed, Collection.from_module(tasks), tmp_path)
    assert "hush" not in str(caught.value)


def test_invoke_answers_with_it(checkout: Checkout) -> None:
    """The program itself says it, in three lines at most."""
    done = checkout.invoke("upgrade", "production")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: invoke upgrade has no argument or command production; nothing was run",
        "try:   invoke upgrade --env production",
    ]


def test_help_still_explains_every_option(checkout: Checkout) -> None:
    """What was read to understand the words is there for --help."""
    assert "environment: reads .env.NAME" in checkout.invoke("upgrade", "--help").stdout

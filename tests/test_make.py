"""make: the same commands for people who type make."""

import ast
import re

import pytest
from conftest import Checkout, ready_venv
from invoke import Collection

import tasks
from postgres_database.settings import ROOT


def test_make_has_every_command() -> None:
    """A command that invoke has can be typed after make, and the other way round."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    listed = re.findall(r"^(?:DEV_)?TASKS := (.*)$", text, re.MULTILINE)
    names = set(Collection.from_module(tasks).task_names)
    aliases = {
        alias for found in Collection.from_module(tasks).task_names.values() for alias in found
    }
    assert {word for line in listed for word in line.split()} == names | aliases


@pytest.mark.parametrize("where", ["command line", "environment"])
@pytest.mark.parametrize(
    "message",
    [
        'it\'s "so"',
        "`id` $(id) $$HOME ${x}",
        "100% #1 größer 日本",
        "--no-such-option",
        "a; b && c | d > e",
        "C:\\new\\x",
    ],
)
def test_message_arrives_intact(checkout: Checkout, message: str, where: str) -> None:
    """MSG arrives in the script as it was typed, through make, sh and invoke."""
    ready_venv(checkout)
    if where == "environment":
        done = checkout.run("make", "revision", "ARGS=--empty", MSG=message)
    else:
        done = checkout.run("make", "revision", f"MSG={message}", "ARGS=--empty")
    assert done.returncode == 0, done.stderr
    shipped = {path.name for path in (ROOT / "migration" / "versions").glob("*.py")}
    versions = (checkout.root / "migration" / "versions").glob("*.py")
    (script,) = [path for path in versions if path.name not in shipped]
    docstring = ast.get_docstring(ast.parse(script.read_text()), clean=False)
    assert str(docstring).startswith(f"{message}\n\nRevision: ")


def test_wrong_python_is_told(checkout: Checkout) -> None:
    """A Python that is missing or too old is one line that says what to type."""
    done = checkout.run("make", "status", "PYTHON=no-such-python")
    assert done.returncode == 2
    assert re.search(r"^error: .*no-such-python.*PYTHON=", done.stderr, re.MULTILINE)


def test_exit_code_of_a_failure(checkout: Checkout) -> None:
    """make shows the three lines of an error and fails."""
    ready_venv(checkout)
    done = checkout.run("make", "upgrade", "ENV=nowhere")
    assert done.returncode == 2
    assert "error: the environment 'nowhere' has no file .env.nowhere" in done.stderr

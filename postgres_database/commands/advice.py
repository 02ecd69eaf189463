"""What to type next: for people who type make, invoke, or the installed program.

Errors and results spell commands for invoke, such as `invoke upgrade --env production --yes   (a note)`: the one form
in which other rooms write advice. Here it becomes what works where it was typed.
"""

import os
import re
import sys
from contextvars import ContextVar
from pathlib import Path

ENVIRONMENT = ContextVar("ENVIRONMENT", default="")
"""The name of the environment that the command which runs was given."""
TYPED = ContextVar("TYPED", default="the same command with")
"""The command line that runs, to which an option can be added."""
CALLER = "POSTGRES_DATABASE_CALLER"
"""The variable by which the Makefile says that make was typed."""
PROGRAM = "postgres-database"
LIST = "invoke --list"
VALUE = r"""'[^']*'|"[^"]*"|[^\s();,:]+"""
SAME = "the same command with"
OPTION = rf" --(?P<name>[a-z-]+)(?:(?:=| (?![-(]))(?P<value>{VALUE}))?"
UNNAMED = re.sub(r"\?P<\w+>", "?:", OPTION)
COMMAND = re.compile(rf"\binvoke (?P<command>[a-z]+(?:-[a-z]+)*)(?P<options>(?:{UNNAMED})*)")
ACTIVE = re.compile(r'["$`\\!]')
"""What a shell acts on within double quotes (bash manual, "Double Quotes")."""
WITHOUT_ENVIRONMENT = {
    "init", "history", "heads", "branches", "show", "edit", "merge", "start", "stop",
}  # fmt: skip
"""The commands that do the same for each environment; `history` says something else with one."""
WITHOUT_ONE = "env -u ENV "
"""What stands before a command that works on no environment, although a variable may name one."""
VARIABLES = {"env": "ENV", "msg": "MSG", "target": "TARGET"}
"""The options that make takes as variables; all others go into ARGS."""


def as_typed(text: str) -> str:
    """Return a text with its commands as its reader types them, for the same environment."""
    text = for_environment(text, ENVIRONMENT.get())
    if os.environ.get(CALLER) == "make":
        text = text.replace(LIST, "make help").replace(f"{SAME} --env ", f"{SAME} ENV=")
        return COMMAND.sub(_for_make, text)
    if Path(sys.argv[0]).name.startswith(PROGRAM):
        text = text.replace(LIST, f"{PROGRAM} --list")
        return COMMAND.sub(lambda match: PROGRAM + match[0].removeprefix("invoke"), text)
    return text


def for_environment(text: str, name: str) -> str:
    """Return a text whose commands work on this environment, where they name none and what they do depends on one."""

    def added(match: re.Match[str]) -> str:
        named = re.search(r" --(?:env|all-envs)\b", match["options"])
        without = text.endswith(WITHOUT_ONE, 0, match.start())
        if named or without or match["command"] in WITHOUT_ENVIRONMENT or not name:
            return match[0]
        return f"invoke {match['command']} --env {name}{match['options']}"

    return COMMAND.sub(added, text)


def _for_make(match: re.Match[str]) -> str:
    words, others = [f"make {match['command']}"], []
    for option in re.finditer(OPTION, match["options"]):
        name, value = option["name"], option["value"] or ""
        if value and name in VARIABLES:
            words.append(f"{VARIABLES[name]}={value}")
        else:
            others.append(option[0].strip())
    if others:
        arguments = " ".join(others)
        mark = '"' if "'" in arguments else "'"
        if mark == '"' and ACTIVE.search(arguments):
            return match[0]  # invoke works, too, and in its quotes nothing is active
        words.append(f"ARGS={mark}{arguments}{mark}" if " " in arguments else f"ARGS={arguments}")
    return " ".join(words)

"""What Invoke would not understand on a command line → an error that says what was probably meant."""

import ast
import difflib
import re
import shlex
from collections.abc import Collection as Names
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from invoke import Argument, Collection, ParseError, Parser, ParserContext, ParseResult, Program

from postgres_database.errors import ExpectedError

UNKNOWN = re.compile(r"No idea what (.+) is!")
VALUE = re.compile(r"Flag <Argument: (\S+?)[ >].*!")
REVISION = re.compile(r"[+-]\d+|head|heads|base|[0-9a-f]{6,}")
NOTHING = "nothing was run"


def require_understood(typed: Sequence[str], commands: Collection, root: Path) -> None:
    """Raise ExpectedError, before anything runs, if Invoke would not understand what was typed.

    It also refuses what Invoke understands differently: the name of an environment that is also a command, --env
    without a name, and words behind `--`, which no command reads.
    """
    core, called = _parsed(typed, commands, root)
    takes_env = any("env" in command.args for command in called)
    if takes_env and core.remainder and not core[0].args["complete"].value:
        words = [word for word in typed if word != "--"]
        require_understood(words, commands, root)
        raise ExpectedError(
            f"words behind -- are read by no command; {NOTHING}",
            hint=f"invoke {' '.join(shlex.quote(_shown(word)) for word in words)}",
        )
    _require_one_meaning(called, root)


def _require_one_meaning(called: Sequence[ParserContext], root: Path) -> None:
    """Raise ExpectedError if Invoke would take the name of an environment for a command, or --env without a name."""
    names = [command.name or "" for command in called]
    if names[1:] and (both := set(names) & _environments(root)):
        name = both.pop()
        other = next((command for command in names if command != name), name)
        raise ExpectedError(
            f"{name} is a command and an environment; {NOTHING}",
            hint=f"invoke {other} --env {name}   (or one command after the other)",
        )
    for command in called:
        env = command.args.get("env")
        if env and env.got_value and not env.value:
            raise ExpectedError(
                f"--env has no name; {NOTHING}",
                hint=f"invoke {command.name} --env production   (or without --env for the default)",
            )


def _parsed(
    typed: Sequence[str], commands: Collection, root: Path
) -> tuple[ParseResult, list[ParserContext]]:
    """Return Invoke's own options and the commands as Invoke reads them; raise ExpectedError where it cannot."""
    helps = [(task, {**task.help}) for task in commands.tasks.values()]
    contexts = {context.name or "": context for context in commands.to_contexts()}
    for task, texts in helps:  # Invoke takes them away while it reads them
        task.help = texts
    initial = Program(namespace=None).initial_context
    try:
        core = Parser(initial=initial, ignore_unknown=True).parse_argv([*typed])
        parsed = Parser(contexts=contexts.values(), initial=initial).parse_argv(core.unparsed)
    except ParseError as error:
        raise _meant(typed, contexts, error, _environments(root)) from error
    return core, parsed[1:]


def _environments(root: Path) -> set[str]:
    from postgres_database.server import environment  # noqa: PLC0415 - it takes longer than all else here

    return {*environment.env_files(root)}


def _meant(
    typed: Sequence[str],
    contexts: dict[str, ParserContext],
    error: ParseError,
    environments: Names[str],
) -> ExpectedError:
    """Return an error that says what to type instead."""
    command = error.context.name if error.context and error.context.name else ""
    command = command or next((word for word in typed if word in contexts), "")
    help_ = f"invoke {command} --help" if command else "invoke --list"
    if not (unknown := UNKNOWN.fullmatch(str(error))):
        what = VALUE.sub(r"--\1 needs a value", str(error))
        return ExpectedError(f"{what}; {NOTHING}", hint=help_)
    word = str(ast.literal_eval(unknown[1]))
    context = contexts.get(command)
    hint = _hint(word, typed, context, environments) if context else ""
    if not hint and (near := difflib.get_close_matches(word, contexts, n=1)):
        hint = f"invoke {near[0]}"
    kind = "option" if word.startswith("-") else "argument or command"
    return ExpectedError(
        f"invoke{f' {command}' if command else ''} has no {kind} {_shown(word)}; {NOTHING}",
        hint=hint or help_,
    )


def _shown(word: str) -> str:
    """Return a word as it may be printed: one with an address in it may hold a password."""
    key, equals, value = word.partition("=")
    return f"{key if equals else ''}{equals}…" if re.search("[@:]", value or key) else word


def _hint(word: str, typed: Sequence[str], context: ParserContext, environments: Names[str]) -> str:
    """Return the command as it was probably meant; empty if that is not clear."""
    name = next((word for word in typed if word in environments), "…")
    find = _instead_of_option if word.startswith("-") else _instead_of_word
    meant, value, note = next(find(word, typed, context.flags, environments), ("", "", ""))
    if not meant:
        return ""
    if context.flags[meant].takes_value:
        separator = "=" if meant == "--target" else " "
        meant += f"{separator}{value}" if value else f" {name if meant == '--env' else '…'}"
    return f"invoke {context.name} {meant}{f'   ({note})' if note else ''}"


def _instead_of_option(
    word: str, typed: Sequence[str], options: Names[str], environments: Names[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield the option that an unknown one probably meant, its value if known, and a note; the likeliest first."""
    # To Invoke -env is -e -n -v.
    whole = next((text for text in typed if re.match(r"-\w\w", text)), word).partition("=")[0]
    key = word.partition("=")[0]
    if "--target" in options and REVISION.fullmatch(whole):
        yield "--target", whole, ""
    if f"-{whole}" in options:
        yield f"-{whole}", "", ""
    if key in options:
        yield key, "", "options come after the command"
    if "--env" in options and key.strip("-") in environments:
        yield "--env", key.strip("-"), ""
    yield from ((near, "", "") for near in _near(key, options))


def _instead_of_word(
    word: str, typed: Sequence[str], options: Mapping[str, Argument], _environments: Names[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield the option that an unknown word probably meant; see `_instead_of_option`."""
    before = typed[typed.index(word) - 1] if word in typed else ""
    for flag, option in options.items():
        if not option.takes_value and (flag == before or f"{flag}={word}" in typed):
            yield flag, "", f"{flag} takes no value"
    key, equals, value = _shown(word).partition("=")
    if equals:
        yield from ((near, shlex.quote(value), "") for near in _near(key, options))
    if "--target" in options and REVISION.fullmatch(word):
        yield "--target", word, ""
    if "--msg" in options and " " in word:
        yield "--msg", shlex.quote(word), ""
    if "--env" in options and re.fullmatch(r"[a-z0-9_-]+", word):
        yield "--env", word, ""


def _near(word: str, options: Names[str]) -> list[str]:
    long = f"--{word.strip('-').lower()}".replace("_", "-")
    return difflib.get_close_matches(long, options, n=1)

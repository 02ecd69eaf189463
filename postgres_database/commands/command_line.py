"""What Invoke would not understand on a command line → an error that says what was probably meant."""

import ast
import difflib
import os
import re
import shlex
from collections.abc import Collection as Names
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from invoke import Argument, Collection, ParseError, Parser, ParserContext, ParseResult, Program

from postgres_database.errors import ExpectedError

UNKNOWN = re.compile(r"No idea what (.+) is!")
VALUE = re.compile(r"Flag <Argument: (\S+?)[ >].*!")
REVISION = re.compile(r"[+-]\d+|head|heads|base|[0-9a-f]{6,}")
NOTHING = "nothing was run"
SECRET = re.compile(r"@|://|passw", re.IGNORECASE)
"""What words hold in which there may be a password."""
SURE = 0.8
"""How like a command a word must be to be taken for it where it may be the name of an environment."""


def require_understood(typed: Sequence[str], commands: Collection, root: Path) -> ParseResult:
    """Return Invoke's own options; raise ExpectedError, before anything runs, where it would not understand the rest.

    It also refuses what Invoke understands differently: the name of an environment that is also a command, --env
    without a name, and words behind `--`, which no command reads.
    """
    reader = _Reader(commands, root)
    try:
        core, *called = reader.read(typed)
    except ParseError as error:
        raise reader.meant(typed, error) from error
    takes_env = any("env" in command.args for command in called)
    if takes_env and core.remainder and not core[0].args["complete"].value:
        words = [word for word in typed if word != "--"]
        require_understood(words, commands, root)
        raise ExpectedError(
            f"words behind -- are read by no command; {NOTHING}", hint=spelled(words)
        )
    reader.require_one_meaning(typed, called)
    return core


@dataclass(frozen=True)
class _Meant:
    """An option that a word probably meant."""

    option: str
    value: str = ""
    """Its value, if the word says it."""
    note: str = ""
    example: str = "…"
    """A value for where none was typed."""


class _Reader:
    """Reads command lines as Invoke does."""

    def __init__(self, commands: Collection, root: Path) -> None:
        helps = [(task, {**task.help}) for task in commands.tasks.values()]
        self.contexts = {context.name or "": context for context in commands.to_contexts()}
        for task, texts in helps:  # Invoke takes them away while it reads them
            task.help = texts
        self.root = root

    def read(self, typed: Sequence[str]) -> tuple[ParseResult, *tuple[ParserContext, ...]]:
        """Return Invoke's own options, and the commands with theirs; raise ParseError as Invoke does."""
        initial = Program(namespace=None).initial_context
        core = Parser(initial=initial, ignore_unknown=True).parse_argv([*typed])
        parser = Parser(contexts=self.contexts.values(), initial=initial)
        return core, *parser.parse_argv(core.unparsed)[1:]

    def environments(self) -> set[str]:
        """Return the environments that have a file."""
        from postgres_database.server import environment  # noqa: PLC0415 - it takes longer than all else here

        return {*environment.env_files(self.root)}

    def require_one_meaning(self, typed: Sequence[str], called: Sequence[ParserContext]) -> None:
        """Raise ExpectedError if the name of an environment would be taken for a command, or --env has no name."""
        names = [command.name or "" for command in called]
        if names[1:] and (both := set(names) & self.environments()):
            name = both.pop()
            others = [*typed]
            others.remove(name)
            at = next((at for at, word in enumerate(others) if word in self.contexts), 0) + 1
            raise ExpectedError(
                f"{name} is a command and an environment; {NOTHING}",
                hint=spelled([*others[:at], "--env", name, *others[at:]])
                + "   (or one command after the other)",
            )
        for command in called:
            env = command.args.get("env")
            if env and env.got_value and not env.value:
                text = re.sub(r" --env(=| '')(?=\s|$)", " --env production", spelled(typed))
                raise ExpectedError(
                    f"--env has no name; {NOTHING}",
                    hint=f"{text}   (or without --env for the default)",
                )

    def meant(self, typed: Sequence[str], error: ParseError) -> ExpectedError:
        """Return an error that says what to type instead of all that was typed."""
        command = self.command(typed, error)
        help_ = f"invoke {command} --help" if command else "invoke --list"
        if not (unknown := UNKNOWN.fullmatch(str(error))):
            what = VALUE.sub(r"--\1 needs a value", str(error))
            return ExpectedError(f"{what}; {NOTHING}", hint=help_)
        word = str(ast.literal_eval(unknown[1]))
        kind = "option" if word.startswith("-") else "argument or command"
        return ExpectedError(
            f"invoke{f' {command}' if command else ''} has no {kind} {_shown(word)}; {NOTHING}",
            hint=self.corrected(typed, error) or help_,
        )

    def command(self, typed: Sequence[str], error: ParseError) -> str:
        """Return the command in which an error is, or to which the words before the first one belong."""
        name = error.context.name if error.context else ""
        return name or next((word for word in typed if word in self.contexts), "")

    def corrected(self, typed: Sequence[str], error: ParseError) -> str:
        """Return the command line with each word that is not understood as it was probably meant; else nothing."""
        words, notes, left = [*typed], [], error
        for _ in typed:
            if not (unknown := UNKNOWN.fullmatch(str(left))):
                return ""
            word = str(ast.literal_eval(unknown[1]))
            command = self.command(words, left)
            at = next((at for at, text in enumerate(words) if _holds(text, word)), -1)
            if at < 0:
                return ""
            if not (changed := self.changed(words, at, word, command)):
                return ""
            words, note = changed
            notes += [note] if note else []
            try:
                _, *called = self.read(words)
            except ParseError as next_error:
                left = next_error
                continue
            if (name := os.environ.get("ENV", "")) and any(
                "env" in one.args and not one.args["env"].value for one in called
            ):
                words += ["--env", name]
            return spelled(words) + (f"   ({'; '.join(notes)})" if notes else "")
        return ""

    def changed(
        self, words: list[str], at: int, word: str, command: str
    ) -> tuple[list[str], str] | None:
        """Return the words with the one at a place as it was probably meant, and a note; None if that is not clear."""
        near = difflib.get_close_matches(word, self.contexts, n=1, cutoff=SURE if command else 0.6)
        environments = self.environments()
        if near and word not in environments and not REVISION.fullmatch(word):
            return [*words[:at], near[0], *words[at + 1 :]], ""
        if not command:
            return None
        first = self.command(words, ParseError(""))
        if command in environments and command != first:  # an environment that is also a command
            at = words.index(command)
            return [*words[:at], "--env", command, *words[at + 1 :]], ""
        if joined := _joined(words, at, environments):
            return joined, "a text with blanks needs quotes"
        options = self.contexts[command].flags
        find = _instead_of_option if word.startswith("-") else _instead_of_word
        meant = next(find(words, at, word, options, environments), None)
        if not meant:
            return None
        if environments and meant.option == "--env":
            meant = replace(meant, example=min(environments))
        return _replaced(words, at, meant, options[meant.option], command)


def _replaced(
    words: list[str], at: int, meant: _Meant, option: Argument, command: str
) -> tuple[list[str], str]:
    """Return the words with an option in place of the one that meant it, and a note."""
    token, before, after = words[at], words[:at], words[at + 1 :]
    value = meant.value or token.partition("=")[2]
    if option.takes_value and not value:
        follows = after[:1] if "=" not in token and not "".join(after[:1]).startswith("-") else []
        (value,), after = follows or [meant.example], after[len(follows) :]
    new = _pair(meant.option, value) if option.takes_value else [meant.option]
    if meant.option == "--env" and before[-1:] == ["-e"]:  # which is Invoke's --echo
        before.pop()
    note, others = meant.note, len(before + after)
    before = _without(before, meant.option, takes_value=option.takes_value)
    after = _without(after, meant.option, takes_value=option.takes_value)
    if option.takes_value and len(before + after) < others:
        note = f"{meant.option} takes one value"
    if command not in before and command in after:  # options come after their command
        place = after.index(command) + 1
        return [*before, *after[:place], *new, *after[place:]], note
    return [*before, *new, *after], note


def _holds(text: str, word: str) -> bool:
    """Tell whether a word in which Invoke sees an unknown one is that: to Invoke -env is -e -n -v, and --a=b is two."""
    head, _, value = text.partition("=")
    letters = re.fullmatch(r"-\w\w+", text) and re.fullmatch(r"-\w", word) and word[1] in text
    return word in {text, head} or bool(letters) or (text.startswith("--") and value == word)


def _pair(option: str, value: str) -> list[str]:
    return [f"{option}={value}"] if option == "--target" else [option, value]


def _without(words: list[str], option: str, *, takes_value: bool) -> list[str]:
    """Return words without an option that is there already, and its value."""
    kept, skipped = [], False
    for word in words:
        if not skipped and not word.startswith(f"{option}=") and word != option:
            kept.append(word)
        skipped = takes_value and word == option
    return kept


def _joined(words: list[str], at: int, environments: Names[str]) -> list[str]:
    """Return words in which a message without quotes is one; nothing if there is none before this place."""
    end = at
    while words[end:] and not words[end].startswith("-") and "=" not in words[end]:
        end += 1
    start = at - 1
    is_message = words[start - 1 : start] == ["--msg"] or words[start : start + 1] == ["--msg="]
    if not is_message or end == at or words[at] in environments:
        return []
    return [*words[:start], " ".join(words[start:end]), *words[end:]]


def spelled(words: Sequence[str]) -> str:
    """Return a command line as it is typed, without what may be secret."""
    shown = ["…" if SECRET.search(word) else word for word in words]
    return " ".join(["invoke", *(word if word == "…" else _quoted(word) for word in shown)])


def _quoted(word: str) -> str:
    option, equals, value = word.partition("=")
    if equals and re.fullmatch(r"--[a-z-]+", option):
        return f"{option}={shlex.quote(value) if value else ''}"
    return word if word.endswith("…") else shlex.quote(word)


def _shown(word: str) -> str:
    """Return a word as it may be printed: one with an address in it may hold a password."""
    key, equals, value = word.partition("=")
    secret = re.search("[@:]|passw", value or key, re.IGNORECASE)
    return f"{key if equals else ''}{equals}…" if secret else word


def _instead_of_option(
    words: Sequence[str],
    at: int,
    word: str,
    options: Mapping[str, Argument],
    environments: Names[str],
) -> Iterator[_Meant]:
    """Yield the options that an unknown one probably meant, the likeliest first."""
    whole = words[at].partition("=")[0]
    key = word.partition("=")[0]
    if "--target" in options and REVISION.fullmatch(whole):
        yield _Meant("--target", whole)
    if f"-{whole}" in options:
        yield _Meant(f"-{whole}")
    if key in options:
        yield _Meant(key, note="options come after the command")
    if "--env" in options and key.strip("-") in environments:
        yield _Meant("--env", key.strip("-"))
    yield from map(_Meant, _near(key, options))


def _instead_of_word(
    words: Sequence[str],
    at: int,
    word: str,
    options: Mapping[str, Argument],
    environments: Names[str],
) -> Iterator[_Meant]:
    """Yield the options that an unknown word probably meant; see `_instead_of_option`."""
    before = words[at - 1] if at else ""
    for flag, option in options.items():
        if not option.takes_value and (flag == before or words[at] == f"{flag}={word}"):
            yield _Meant(flag, note=f"{flag} takes no value")
    key, equals, value = word.partition("=")
    if equals:
        yield from (_Meant(near, value) for near in _near(key, options))
    if "--target" in options and REVISION.fullmatch(word):
        yield _Meant("--target", word)
    if "--msg" in options and " " in word:
        yield _Meant("--msg", word)
    if "--command" in options and " " in word:
        yield _Meant("--command", word)
    named = [text for text in words if re.match("--env(=|$)", text)]
    fits = word in environments or not named or before in {*named} or words[at] in named
    if "--env" in options and fits and re.fullmatch(r"[a-z0-9_-]+", word):
        yield _Meant("--env", word)


def _near(word: str, options: Names[str]) -> list[str]:
    long = f"--{word.strip('-').lower()}".replace("_", "-")
    return difflib.get_close_matches(long, options, n=1)

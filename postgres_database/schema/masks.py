"""Mask the secrets in a dump. Pure."""

import re
from collections.abc import Iterator

from postgres_database.schema.sections import split_dump
from postgres_database.sql.tokens import TOKEN

WITH_OPTIONS = ("USER MAPPING", "SERVER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE")
MAY_HOLD_SECRETS = re.compile(rf"^CREATE (?:{'|'.join(WITH_OPTIONS)}) ".encode(), re.MULTILINE)
"""How objects of these kinds begin."""
MASK = "***"
SECRET = re.compile(
    r"pass(?!file)|pwd|secret|token|credential|signature|jwt|bearer|(?:^|_)auth(?:$|_|oriz)|headers?$"
    r"|(?:conn|connection)_?str|(?:^|_)dsn$|[a-z]_?key$",
    re.IGNORECASE,
)
PUBLIC = ("user", "username")
"""What a user mapping may say; only its wrapper knows which of the other options are secret."""
SWITCHES = ("true", "false", "on", "off", "yes", "no", "0", "1")
INNER_SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(://[^/\s':]*:)[^\s']*(@)",  # in a URL
        r"((?:password|passwd|pwd|secret|token|[a-z]key)['\"]*\s*[=:]\s*)(?:''[^']*''|[^\s'&;]+)()",
        r"((?:bearer|basic)\s+)[^\s'\"]+()",  # in a header
        r"((?:-u|--user)[ =]\S*?:)[^\s'\"]+()",  # of curl
        r"(\b\w+/)[^/@\s']+(@)",  # of Oracle
    )
)
"""A secret inside a value: what stands before it, and behind."""


def is_masked(text: str) -> bool:
    """Tell whether a dump had secrets."""
    return any(
        MASK in section.body[start:stop]
        for section in split_dump(text)
        if section.kind in WITH_OPTIONS
        for _, start, stop in _options(section.body)
    )


def masked(kind: str, body: str) -> str:
    """Replace the secrets that the options of a foreign server, table or user hold."""
    if kind not in WITH_OPTIONS:
        return body
    cut, pieces = 0, []
    for name, start, stop in _options(body):
        value = body[start:stop]
        bare = value.removeprefix("E").strip("'")
        public = name in PUBLIC if kind == "USER MAPPING" else not SECRET.search(name)
        if bare.lower() not in SWITCHES:
            value = _without_inner_secrets(value) if public else f"'{MASK}'"
        pieces += [body[cut:start], value]
        cut = stop
    return "".join([*pieces, body[cut:]])


def _options(body: str) -> Iterator[tuple[str, int, int]]:
    """Yield the name of each option in OPTIONS (…) and where its value begins and ends."""
    opened, before, name = False, "", ""
    for token in TOKEN.finditer(body):
        text = token[0]
        if not opened:
            opened = before == "OPTIONS" and text == "("
            before, name = text, ""
        elif text == ")":
            opened = False
        elif name and text.endswith("'"):
            yield name, token.start(), token.end()
            name = ""
        elif text != ",":
            name = text.strip('"')


def _without_inner_secrets(value: str) -> str:
    for pattern in INNER_SECRETS:
        value = pattern.sub(rf"\g<1>{MASK}\g<2>", value)
    return value

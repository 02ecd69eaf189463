"""Secrets that users wrote into functions, views, defaults, comments and the like of a database. Pure.

What counts is a secret that stands there as a literal: a column `password`, or `password = crypt(…)`, is none.
The secret itself is never returned. It cannot be masked: what a function says is what it does.
"""

import re
from collections.abc import Iterator

from postgres_database.schema.masks import MASK
from postgres_database.schema.sections import Section, split_dump
from postgres_database.sql.tokens import TOKEN

OPEN, CLOSE = "\x01", "\x02"
"""In the place of the quotes around a text, so that no pattern takes its end for its beginning."""
NAME = (
    r"(?<![\w.])(?:[\w.]{0,60}?(?:password|passwd|passphrase|pwd|secret|token|credentials?)|pass|pw"
    r"|[\w.]{0,60}?(?:api|access|secret|private|account|signing|encryption|shared)[_-]?key)"
)
"""What a secret is called; longer names, such as token_type, are called otherwise."""
LITERAL = rf"(?:E|U&)?{OPEN}(?P<value>[^{CLOSE}]+){CLOSE}"
ARGUMENT = rf"(?:{OPEN}[^{CLOSE}]*{CLOSE}|[^(),;]|\([^()]*\))*,\s*"
CAST = r"(?:::[\w ]+)?"
TYPE = (
    r"(?:\s+(?:CONSTANT\s+)?(?:text|bytea|name|jsonb?|citext|uuid|bpchar|character\s+varying|varchar|character|char)"
    r"(?:\(\d+\))?(?:\s+COLLATE\s+[\w.\"]+)?(?:\s+NOT\s+NULL)?)?"
)
# By how they are written; what has a value is a secret only if that is no placeholder.
ANYWHERE = {
    "a private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY",
    "a URL with a password": (
        r"""\b[a-z][\w+.-]{0,20}://[^\s/'"@:]{0,100}:(?!\d+/)(?P<value>[^\s'"@]{1,200})@"""
    ),
    "a token": (
        r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}\b|gh[oprsu]_\w{20}|github_pat_\w{20}|glpat-[\w-]{15}|xox[abeprs]-[\w-]{10}"
        r"|[rs]k_live_\w{10}|sk-[\w-]{20}|AIza[\w-]{30}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}|SG\.[\w-]{16,}\.)"
        r"|\bhooks\.slack\.com/services/\w+/\w+/\w{8}|\bdiscord(?:app)?\.com/api/webhooks/\d+/[\w-]{8}"
    ),
    "a Bearer token": r"""\bbearer\s+(?P<value>(?=[^\s'"]*\d|[^\s'"]{20})[^\s'"]{5,})""",
    "a password for HTTP": (
        r"""authorization\W+basic\s+(?P<value>[^\s'"]+)"""
        r"""|(?:\s-u|--user)[ =][^\s:'"]+:(?P<user>[^\s'"]+)"""
    ),
}
IN_CODE = {
    "a password of a role": rf"\bpassword\s+{LITERAL}",
    "a secret as a literal": (
        rf"{NAME}[\"{CLOSE}]?{CAST}\)?{CAST}{TYPE}\s*(?::=|=>?|\bTO\b|\bDEFAULT\b)\s*\(?{LITERAL}"
    ),
    "a secret as an argument": (
        rf"\b(?:set_config|http_header|jsonb?_build_object|hstore)\s*\(\s*{OPEN}{NAME}{CLOSE}{CAST}\s*,\s*{LITERAL}"
    ),
    "a key as an argument": rf"\b(?:pgp_sym_\w+|hmac|encrypt|decrypt)\s*\({ARGUMENT}{LITERAL}",
}
IN_TEXT = {
    "a connection string with a password": (
        rf"{NAME}=(?:'(?P<quoted>[^']+)'|(?P<value>[^\s'\";&,)(]+)(?!\())"
        rf"|\b(?:host(?:addr)?|dbname|user|port)\s*=.{{0,300}}?{NAME}\s+=\s*(?P<after>[^\s'\";]+)"
        rf"|{NAME}\s+=\s*(?P<before>[^\s'\";]+).{{0,300}}?\b(?:host(?:addr)?|dbname|user|port)\s*="
    ),
    "a password": (
        rf"(?:{NAME}[\"']?\s*[:=]\s*[\"'](?P<quoted>[^\"']+)[\"']"
        rf"|{NAME}\s*:\s*(?P<value>(?=\S*[a-z])(?=\S*\d)\S{{5,}}))"
    ),
}
PLACEHOLDER = re.compile(
    r"%.*|\$.*|\{.*|<.*|:\w+|\W*|\*+\W*|x+|\?|null|none|true|false|yes|no|on|off|required|(?:new|old|excluded)\..*",
    re.IGNORECASE | re.DOTALL,
)
"""No secret: what is filled in elsewhere, or says that there is none."""
STATEMENT = re.compile(
    r"\s*(?:SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|CREATE|ALTER|DROP|GRANT|SET|DO|CALL|COPY|BEGIN|DECLARE)\b",
    re.IGNORECASE,
)
ROUTINES = ("FUNCTION", "PROCEDURE")
LANGUAGE = re.compile(r"\bLANGUAGE (\w+)")
INNER = {"sql": "sql", "plpgsql": "sql", "plsh": ""}
"""What a body is, by its language: SQL, or a text such as a shell's; otherwise code of another language."""


def find(text: str) -> tuple[str, ...]:
    """Return in which objects of a dump secrets stand, and what they are: a line each, without the secrets."""
    lines = (
        f"{section}: {what}"
        for section in split_dump(text)
        for what in dict.fromkeys(_found(section))
    )
    return tuple(dict.fromkeys(lines))


def _found(section: Section) -> Iterator[str]:
    yield from _matches(ANYWHERE, section.body)
    if section.kind not in ROUTINES:
        yield from _in_code(section.body)
        return
    language = LANGUAGE.search(section.body)
    yield from _in_code(section.body, INNER.get(language[1] if language else "sql", "other"))


def _in_code(code: str, inner: str = "", *, other: bool = False) -> Iterator[str]:
    """Yield what secrets code holds: in it, and in the texts that it has.

    Args:
        code: Statements, or a piece of them.
        inner: What texts in it may be: `sql`, such as a body or what is executed, or code of an `other` language.
        other: Whether the code is of another language, in which "…" is a text.
    """
    yield from _matches(IN_CODE, TOKEN.sub(lambda token: _opened(token, other=other), code))
    for token in TOKEN.finditer(code):
        if token["comment"]:
            yield from _matches(IN_TEXT, token[0])
        elif _is_text(token, other=other):
            inside = _inside(token)
            if inner and (token["dollar"] or (not other and STATEMENT.match(inside))):
                yield from _in_code(inside, "sql" * (inner == "sql"), other=inner == "other")
            else:
                yield from _matches(IN_TEXT, inside)


def _is_text(token: re.Match[str], *, other: bool) -> bool:
    return bool(token["quoted"]) and (other or not token[0].startswith('"'))


def _opened(token: re.Match[str], *, other: bool) -> str:
    """Return a token with brackets of ours in the place of its quotes, and nothing of a comment."""
    if token["comment"]:
        return " "
    return f"{OPEN}{_inside(token)}{CLOSE}" if _is_text(token, other=other) else token[0]


def _inside(token: re.Match[str]) -> str:
    if tag := token["dollar"]:
        return token[0][len(tag) : -len(tag)]
    return token[0].lstrip("eE")[1:-1].replace("''", "'")


def _matches(patterns: dict[str, str], text: str) -> Iterator[str]:
    for what, pattern in patterns.items():
        for match in re.finditer(pattern, text, re.IGNORECASE | re.DOTALL):
            values = [value for value in match.groupdict().values() if value]
            if not values or not (values[0] == MASK or PLACEHOLDER.fullmatch(values[0])):
                yield what
                break

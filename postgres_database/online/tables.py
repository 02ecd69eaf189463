"""A table as the catalog has it, and how the server prints and names what would be made on it."""

import re
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any, Self

from postgres_database.errors import ExpectedError
from postgres_database.online.forms import Statement
from postgres_database.running.autocommit import Autocommit
from postgres_database.server.transactions import asked
from postgres_database.sql.names import IDENTIFIER, NAME, identifier

TABLE = """
    SELECT c.oid, c.relkind::text, c.relname, n.nspname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s
"""
CHILDREN = """
    SELECT c.oid, c.relkind::text, c.relname, n.nspname
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE i.inhparent = %s ORDER BY 4, 3
"""
RELATION = """
    SELECT coalesce(i.indrelid, 0), coalesce(i.indisvalid AND i.indisready, false),
           coalesce(pg_get_indexdef(i.indexrelid), ''), k.conname IS NOT NULL
    FROM pg_class c
    LEFT JOIN pg_index i ON i.indexrelid = c.oid
    LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype IN ('p', 'u', 'x')
    WHERE c.relname = %s AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = %s)
"""
CONSTRAINT = "SELECT convalidated, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s AND conname = %s"
LOOSE = """
    SELECT c.relname, pg_get_indexdef(i.indexrelid)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = %s AND i.indisvalid AND NOT c.relispartition ORDER BY 1
"""
LOOSE_KEYS = """
    SELECT k.conname, pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conindid
    WHERE k.conrelid = %s AND k.contype IN ('p', 'u') AND NOT c.relispartition ORDER BY 1
"""
MOST_NAMES = 20
"""How many names of equal indexes of one partition are looked at."""
SKETCH = "postgres_database_sketch"
NEWEST = """
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = to_regclass(%s) ORDER BY c.oid DESC LIMIT 1
"""
DEFINITION = "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = to_regclass(%s)"
LATEST = """
    SELECT pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = to_regclass(%s) AND contype IN ('p', 'u', 'c', 'f') ORDER BY oid DESC LIMIT 1
"""


class Table:
    """A table, a partition or a materialised view."""

    def __init__(self, session: Autocommit, oid: int, kind: str, name: str, schema: str) -> None:
        """Use what TABLE and CHILDREN return."""
        self.session = session
        self.oid = oid
        self.kind = kind
        self.parted = kind == "p"
        self.name = identifier(name)
        self.schema = identifier(schema)
        self.sql = f"{self.schema}.{self.name}"

    def children(self) -> Iterator[Self]:
        """Yield the partitions, but not theirs."""
        for row in self.session.rows(CHILDREN, self.oid) if self.parted else ():
            yield type(self)(self.session, *row)

    def _leaves(self) -> Iterator[Self]:
        for child in self.children():
            yield from child._leaves() if child.parted else [child]  # noqa: SLF001 - of the same class

    def has_foreign_partitions(self) -> bool:
        """Tell whether rows of it are on another server."""
        return self.kind == "f" or any(each.has_foreign_partitions() for each in self.children())

    def part_name(self, wanted: Statement) -> str:
        """Return how PostgreSQL would name the part of an index on this partition, if no such part is loose."""
        meant = self.definition_of(wanted)
        loose = LOOSE if wanted.form == "index" else LOOSE_KEYS
        for name, text in self.session.rows(loose, self.oid):
            if definition(text) == meant:
                return identifier(name)
        index = self.definition_of(as_index(wanted))
        with closing(
            self._names(wanted)
        ) as names:  # a transaction, in which no definition can be asked for
            return identifier(next(name for name in names if self._is_free(name, meant, index)))

    def earlier_names(self, wanted: Statement, name: str) -> list[str]:
        """Return the names that PostgreSQL would have given to a part of an index if they were free; best first."""
        with closing(self._names(wanted)) as names:
            tried = [*islice(names, MOST_NAMES)]
        return tried[: tried.index(name)] if name in tried else []

    def _is_free(self, name: str, meant: str, index: str) -> bool:
        """Tell whether a name may be given, or was given to the same by a run that was interrupted."""
        found = self.relation(name)
        if found is None:
            return True
        keys = [text for _, text in self.session.rows(CONSTRAINT, self.oid, name)]
        if keys:
            return keys == [meant]
        return bool(found[0] == self.oid) and definition(found[2]) == index

    def _names(self, wanted: Statement) -> Generator[str]:
        """Yield the names that PostgreSQL would choose for an index, the first one first."""
        with self.session.transaction(end="ROLLBACK") as cursor:
            sketch = f"pg_temp.{self.name}"
            cursor.execute(f"CREATE TEMP TABLE {self.name} (LIKE {self.sql})")
            add = _adding(wanted, sketch)
            cursor.execute(add)
            while True:
                ((name,),) = asked(cursor, NEWEST, (sketch,))
                yield name
                if wanted.kind == "PRIMARY KEY":  # there can be no second one
                    cursor.execute(
                        f"ALTER INDEX pg_temp.{identifier(name)} RENAME TO {identifier(name + '1')}"
                    )
                else:
                    cursor.execute(add)

    def relation(self, name: str) -> tuple[Any, ...] | None:
        """Return what has a name in the schema of the table, as RELATION does."""
        return next(iter(self.session.rows(RELATION, name, self.oid)), None)

    def definition_of(self, wanted: Statement) -> str:
        """Return a definition as the server prints it: it is made on a sketch of the table, and undone."""
        foreign = wanted.kind == "FOREIGN KEY"
        table = next(self._leaves(), self) if foreign else self
        with self.session.transaction(end="ROLLBACK") as cursor:
            sketch = table.sql
            if not foreign:  # a temporary table may not refer to others
                sketch = f"pg_temp.{SKETCH}"
                cursor.execute(f"CREATE TEMP TABLE {SKETCH} (LIKE {self.sql})")
            cursor.execute(
                _adding(wanted, sketch) + (" NOT VALID" if foreign and not table.parted else "")
            )
            if wanted.form == "index":
                ((text,),) = asked(cursor, DEFINITION, (sketch,))
                return definition(text)
            ((text,),) = asked(cursor, LATEST, (sketch,))
            return str(text).removesuffix(" NOT VALID")

    def other(self, name: str, text: str) -> ExpectedError:
        """Return the error for a name that something else has."""
        return ExpectedError(
            f"{self.schema}.{name} is there already, and is another one",
            cause=text or "it is no index",
            hint="invoke psql   (rename or drop it, or give another name in the script)",
        )


def as_index(wanted: Statement) -> Statement:
    """Return the index that a key stands on."""
    if wanted.form == "index":
        return wanted
    return replace(wanted, form="index", kind="", body=wanted.index, unique=True)


def _adding(wanted: Statement, table: str) -> str:
    """Return the statement that adds an index or constraint under a name of the server's choice."""
    if wanted.form == "index":
        return f"CREATE {'UNIQUE ' if wanted.unique else ''}INDEX ON {table} {wanted.body}"
    kind = f"{wanted.kind}" if wanted.form == "key" else ""
    return f"ALTER TABLE {table} ADD {kind}{wanted.body}"


def definition(text: str) -> str:
    """Return what an index is, without its name and table."""
    return re.sub(rf"^(CREATE (?:UNIQUE )?INDEX) {IDENTIFIER} ON (?:ONLY )?{NAME}", r"\1", text)

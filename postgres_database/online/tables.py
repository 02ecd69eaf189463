"""A table in the catalog, and how the server would name and print an index or constraint on it.

Whether an existing index or constraint is the wanted one is decided by comparing the definitions that PostgreSQL
prints. That of the wanted one is printed for a sketch: an empty temporary copy of the table, in a transaction that is
rolled back.
"""

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
# Its table, whether it is a valid index, its definition, whether it belongs to a key or exclusion constraint, whether
# it is part of an index of a partitioned table.
RELATION = """
    SELECT coalesce(i.indrelid, 0), coalesce(i.indisvalid AND i.indisready, false),
           coalesce(pg_get_indexdef(i.indexrelid), ''), k.conname IS NOT NULL, c.relispartition
    FROM pg_class c
    LEFT JOIN pg_index i ON i.indexrelid = c.oid
    LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype IN ('p', 'u', 'x')
    WHERE c.relname = %s AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = %s)
"""
# A check that a table only inherits becomes its own when it is added (PostgreSQL manual, ALTER TABLE, "INHERIT").
CONSTRAINT = """
    SELECT k.convalidated, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE k.conrelid = %s AND k.conname = %s AND (k.conislocal OR k.contype <> 'c' OR c.relispartition)
"""
# Of a partition: those that are part of no index of the partitioned table yet, and may become one.
UNATTACHED_INDEXES = """
    SELECT c.relname, pg_get_indexdef(i.indexrelid)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = %s AND i.indisvalid AND NOT c.relispartition ORDER BY 1
"""
UNATTACHED_KEYS = """
    SELECT k.conname, pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conindid
    WHERE k.conrelid = %s AND k.contype IN ('p', 'u') AND NOT c.relispartition ORDER BY 1
"""
MOST_NAMES = 20
"""How many of the names that PostgreSQL would choose are tried."""
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
        """Take a row of TABLE or CHILDREN."""
        self.session = session
        self.oid = oid
        self.kind = kind
        self.partitioned = kind == "p"
        self.name = identifier(name)
        self.schema = identifier(schema)
        self.sql = f"{self.schema}.{self.name}"

    def children(self) -> Iterator[Self]:
        """Yield the direct partitions."""
        for row in self.session.rows(CHILDREN, self.oid) if self.partitioned else ():
            yield type(self)(self.session, *row)

    def _leaves(self) -> Iterator[Self]:
        for child in self.children():
            yield from child._leaves() if child.partitioned else [child]  # noqa: SLF001 - of the same class

    def has_foreign_partitions(self) -> bool:
        """Tell whether the table or one of its partitions is a foreign table."""
        return self.kind == "f" or any(each.has_foreign_partitions() for each in self.children())

    def part_name(self, wanted: Statement) -> str:
        """Return the name, for SQL, of this partition's part of an index or key of the partitioned table.

        That is the name of an equal index or key that is not attached yet, or else the name that PostgreSQL would
        choose.
        """
        if equal := self.equal_part(wanted):
            return equal
        meant = self.definition_of(wanted)
        index = self.definition_of(as_index(wanted))
        with closing(self._names(wanted)) as names:  # an open transaction: no further sketch in it
            return identifier(next(name for name in names if self._is_free(name, meant, index)))

    def equal_part(self, wanted: Statement) -> str:
        """Return the name, for SQL, of an equal index or key that is not attached yet; empty if there is none.

        The index may belong to a key of the partition's own, as for CREATE INDEX.
        """
        meant = self.definition_of(wanted)
        unattached = UNATTACHED_INDEXES if wanted.form == "index" else UNATTACHED_KEYS
        rows = self.session.rows(unattached, self.oid)
        return next((identifier(name) for name, text in rows if definition(text) == meant), "")

    def earlier_names(self, wanted: Statement, name: str) -> list[str]:
        """Return the names that PostgreSQL would prefer to this one for a part of an index, the first choice first."""
        with closing(self._names(wanted)) as names:
            tried = [*islice(names, MOST_NAMES)]
        return tried[: tried.index(name)] if name in tried else []

    def _is_free(self, name: str, meant: str, index: str) -> bool:
        """Tell whether a name is free, or belongs to the wanted object itself: made by an interrupted run."""
        found = self.relation(name)
        if found is None:
            return True
        if found[4]:
            return False
        keys = [text for _, text in self.session.rows(CONSTRAINT, self.oid, name)]
        if keys:
            return keys == [meant]
        return bool(found[0] == self.oid) and definition(found[2]) == index

    def _names(self, wanted: Statement) -> Generator[str]:
        """Yield the names that PostgreSQL would choose for an index, its first choice first.

        Each further equal index on a sketch of the same name gets the next one.
        """
        with self.session.transaction(end="ROLLBACK") as cursor:
            sketch = f"pg_temp.{self.name}"
            cursor.execute(f"CREATE TEMP TABLE {self.name} (LIKE {self.sql})")
            add = _add_statement(wanted, sketch)
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
        """Return the row of RELATION for a name in the schema of the table; None if the name is free."""
        return next(iter(self.session.rows(RELATION, name, self.oid)), None)

    def definition_of(self, wanted: Statement) -> str:
        """Return the definition of an index or constraint as the server would print it.

        Raises:
            psycopg2.Error: The server rejects it.
        """
        foreign = wanted.kind == "FOREIGN KEY"
        table = next(self._leaves(), self) if foreign else self
        with self.session.transaction(end="ROLLBACK") as cursor:
            sketch = table.sql
            if not foreign:  # a temporary table may not reference a permanent one
                sketch = f"pg_temp.{SKETCH}"
                cursor.execute(f"CREATE TEMP TABLE {SKETCH} (LIKE {self.sql})")
            cursor.execute(
                _add_statement(wanted, sketch)
                + (" NOT VALID" if foreign and not table.partitioned else "")
            )
            if wanted.form == "index":
                ((text,),) = asked(cursor, DEFINITION, (sketch,))
                return definition(text)
            ((text,),) = asked(cursor, LATEST, (sketch,))
            return str(text).removesuffix(" NOT VALID")

    def name_taken(self, name: str, text: str) -> ExpectedError:
        """Return the error for a name that an object of another definition has; `text` is that definition."""
        return ExpectedError(
            f"{self.schema}.{name} exists already with another definition",
            cause=text or "it is not an index",
            hint="invoke psql   (rename or drop it, or give another name in the script)",
        )


def as_index(wanted: Statement) -> Statement:
    """Return the CREATE UNIQUE INDEX for a key; an index is returned as it is."""
    if wanted.form == "index":
        return wanted
    return replace(wanted, form="index", kind="", body=wanted.index, unique=True)


def _add_statement(wanted: Statement, table: str) -> str:
    """Return the statement that adds an index or constraint whose name the server chooses."""
    if wanted.form == "index":
        return f"CREATE {'UNIQUE ' if wanted.unique else ''}INDEX ON {table} {wanted.body}"
    kind = wanted.kind if wanted.form == "key" else ""
    return f"ALTER TABLE {table} ADD {kind}{wanted.body}"


def definition(text: str) -> str:
    """Return the text of pg_get_indexdef without the name and the table."""
    return re.sub(rf"^(CREATE (?:UNIQUE )?INDEX) {IDENTIFIER} ON (?:ONLY )?{NAME}", r"\1", text)

"""Statements beside live traffic: each in a form that blocks nobody for long and may be run again.

What would scan or rebuild a table under a lock that keeps readers or writers out is done in steps that do not
(PostgreSQL manual, CREATE INDEX "Building Indexes Concurrently", ALTER TABLE "Notes"). Every step looks at the
catalog first: what is done is skipped, what is half done under the same definition is finished or made anew,
and another thing under the same name is left alone and refused.
"""

import re
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import psycopg2
from psycopg2.errors import OperationalError, QueryCanceled

from postgres_database import forms
from postgres_database.autocommit import Autocommit
from postgres_database.connection import identifier
from postgres_database.errors import ExpectedError
from postgres_database.forms import NAME, Statement, bare
from postgres_database.tokens import IDENTIFIER

NOT_NULLS = 180000
"""The version since which NOT NULL is a constraint, and a partitioned table's foreign key may be NOT VALID."""
TABLE = """
    SELECT c.oid, c.relkind::text, c.relname, n.nspname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)
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
ATTACHED = """
    SELECT c.relname
    FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass(%s) AND x.indrelid = %s
"""
NOT_NULL = """
    SELECT a.attnotnull AND coalesce(n.convalidated, true), n.conname
    FROM pg_attribute a
    LEFT JOIN pg_constraint n ON n.contype = 'n' AND n.conrelid = a.attrelid AND n.conkey = ARRAY[a.attnum]
    WHERE a.attrelid = %s AND a.attname = %s
"""
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
INDEX = "SELECT c.relkind::text FROM pg_class c WHERE c.oid = to_regclass(%s)"


def run(session: Autocommit, statement: Statement) -> None:
    """Run the safe form of a statement, as far as that is not done yet.

    Raises:
        ExpectedError: Something else has the name.
        psycopg2.Error: What the server says; an index that could not be built is dropped again.
    """
    if statement.form == "drop index":
        _drop_index(session, statement)
    elif statement.form == "value":
        session.execute(forms.offline(statement)[0])
    elif statement.form == "validate":
        session.patiently(statement.sql)
    else:
        found = session.rows(TABLE, statement.table)
        table = Table(session, *found[0]) if found else None
        if table is None or table.has_foreign_partitions():  # the server says it best
            session.execute(statement.sql)
        else:
            table.make(statement)


def _drop_index(session: Autocommit, statement: Statement) -> None:
    for (kind,) in session.rows(INDEX, statement.name):
        if kind == "i":
            session.patiently(forms.offline(statement)[0])
        else:  # of a partitioned table: PostgreSQL does not drop it concurrently
            session.execute(statement.sql)


class Table:
    """A table, and what is done to it."""

    def __init__(self, session: Autocommit, oid: int, kind: str, name: str, schema: str) -> None:
        """Use what TABLE and CHILDREN return."""
        self.session = session
        self.oid = oid
        self.kind = kind
        self.parted = kind == "p"
        self.name = identifier(name)
        self.schema = identifier(schema)
        self.sql = f"{self.schema}.{self.name}"

    def children(self) -> Iterator["Table"]:
        """Yield the partitions, but not theirs."""
        for row in self.session.rows(CHILDREN, self.oid) if self.parted else ():
            yield Table(self.session, *row)

    def has_foreign_partitions(self) -> bool:
        """Tell whether rows of it are on another server."""
        return self.kind == "f" or any(each.has_foreign_partitions() for each in self.children())

    def make(self, wanted: Statement) -> None:
        """Make an index or constraint, or a column NOT NULL."""
        match wanted.form:
            case "index":
                self.index(wanted)
            case "key":
                self.key(wanted)
            case "rule":
                self.rule(wanted)
            case _:
                self.not_null(wanted.name)

    def index(self, wanted: Statement) -> None:
        """Make an index concurrently; that of a partitioned table from those of its partitions."""
        if not self.parted and self._has_index(wanted):
            return
        unique = "UNIQUE " if wanted.unique else ""
        if not self.parted:
            self._build(
                f"CREATE {unique}INDEX CONCURRENTLY {wanted.name} ON {self.sql} {wanted.body}",
                f"{self.schema}.{wanted.name}",
            )
            return
        if not self._has_index(wanted) and not self._relation(bare(wanted.name)):
            self.session.execute(
                f"CREATE {unique}INDEX {wanted.name} ON ONLY {self.sql} {wanted.body}"
            )
        self._attach(wanted)

    def key(self, wanted: Statement) -> None:
        """Make a unique constraint or primary key by way of an index; columns of the latter are NOT NULL first."""
        if wanted.kind == "PRIMARY KEY" and not self._relation(bare(wanted.name)):
            for column in forms.key_columns(wanted):
                self.not_null(column)
        made = self._has_constraint(wanted)
        if not made and self.parted:
            self.session.execute(
                f"ALTER TABLE ONLY {self.sql} ADD CONSTRAINT {wanted.name} {wanted.kind}{wanted.body}"
            )
        elif not made:
            self.index(_as_index(wanted))
            self.session.execute(forms.using_index(replace(wanted, table=self.sql)))
        if self.parted:
            self._attach(wanted)

    def rule(self, wanted: Statement) -> None:
        """Make a foreign key or check that new rows obey, then look at those that are there."""
        there = self._has_constraint(wanted)
        add = f"ALTER TABLE {self.sql} ADD CONSTRAINT {wanted.name} {wanted.body}"
        if self.parted and wanted.kind == "FOREIGN KEY" and self.session.version < NOT_NULLS:
            if not there:
                for child in self.children():
                    child.rule(wanted)
                self.session.execute(add)  # finds those of the partitions
            return
        if not there:
            self.session.execute(f"{add} NOT VALID")
        self._validate(wanted.name)

    def not_null(self, column: str) -> None:
        """Make a column NOT NULL by way of a constraint that is validated beside live traffic."""
        alter = f"ALTER TABLE {self.sql}"
        known = self.session.rows(NOT_NULL, self.oid, bare(column))
        if not known:
            self.session.execute(f"{alter} ALTER COLUMN {column} SET NOT NULL")
            return
        done, name = known[0]
        if self.session.version >= NOT_NULLS:
            if not done and name is None:
                self.session.execute(f"{alter} ADD NOT NULL {column} NOT VALID")
                name = self.session.rows(NOT_NULL, self.oid, bare(column))[0][1]
            if not done:
                self._validate(identifier(name))
            return
        rule = forms.filled(self.sql, column)
        if not done:
            self.rule(
                Statement("rule", "", self.sql, rule, "CHECK", f"CHECK ({column} IS NOT NULL)")
            )
            self.session.execute(f"{alter} ALTER COLUMN {column} SET NOT NULL")
        if self.session.rows(CONSTRAINT, self.oid, bare(rule)):
            self.session.execute(f"{alter} DROP CONSTRAINT {rule}")

    def _validate(self, name: str) -> None:
        found = self.session.rows(CONSTRAINT, self.oid, bare(name))
        if found and not found[0][0]:
            self.session.patiently(f"ALTER TABLE {self.sql} VALIDATE CONSTRAINT {name}")

    def _build(self, sql: str, name: str) -> None:
        """Build an index; one that cannot be built leaves nothing behind, unless the session ends."""
        try:
            self.session.patiently(sql)
        except (QueryCanceled, OperationalError):
            raise
        except psycopg2.Error:
            with suppress(psycopg2.Error):
                self.session.patiently(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            raise

    def _attach(self, wanted: Statement) -> None:
        """Make the parts of an index on the partitions, and put them together."""
        whole = f"{self.schema}.{wanted.name}"
        for child in self.children():
            attached = self.session.rows(ATTACHED, whole, child.oid)
            name = identifier(attached[0][0]) if attached else child.part_name(wanted)
            part = replace(wanted, name=name)
            if attached and not child.parted:
                continue
            child.key(part) if wanted.form == "key" else child.index(part)
            if not attached:
                self.session.execute(f"ALTER INDEX {whole} ATTACH PARTITION {child.schema}.{name}")

    def part_name(self, wanted: Statement) -> str:
        """Return how PostgreSQL would name the part of an index on this partition, if no such part is loose."""
        if wanted.form == "index":
            definition = self._wanted(wanted)
            for name, text in self.session.rows(LOOSE, self.oid):
                if _definition(text) == definition:
                    return identifier(name)
        with closing(self._names(wanted)) as names:
            return identifier(next(name for name in names if self._is_free(name, wanted)))

    def _is_free(self, name: str, wanted: Statement) -> bool:
        """Tell whether a name may be given, or was given to the same by a run that was interrupted."""
        found = self._relation(name)
        if found is None:
            return True
        index = _as_index(wanted)
        keys = [text for _, text in self.session.rows(CONSTRAINT, self.oid, name)]
        if keys:
            return wanted.form == "key" and keys == [self._wanted(wanted)]
        return bool(found[0] == self.oid) and _definition(found[2]) == self._wanted(index)

    def _names(self, wanted: Statement) -> Generator[str]:
        """Yield the names that PostgreSQL would choose for an index, the first one first."""
        with self.session.transaction("ROLLBACK") as cursor:
            sketch = f"pg_temp.{self.name}"
            cursor.execute(f"CREATE TEMP TABLE {self.name} (LIKE {self.sql})")
            add = _adding(wanted, sketch)
            cursor.execute(add)
            while True:
                cursor.execute(NEWEST, (sketch,))
                (name,) = cursor.fetchone()
                yield name
                if wanted.kind == "PRIMARY KEY":  # there can be no second one
                    cursor.execute(
                        f"ALTER INDEX pg_temp.{identifier(name)} RENAME TO {identifier(name + '1')}"
                    )
                else:
                    cursor.execute(add)

    def _relation(self, name: str) -> tuple[Any, ...] | None:
        return next(iter(self.session.rows(RELATION, name, self.oid)), None)

    def _has_index(self, wanted: Statement) -> bool:
        """Tell whether an index is there and valid; what is left of one that is the same is dropped."""
        found = self._relation(bare(wanted.name))
        if found is None:
            return False
        table, valid, text, is_key = found
        if table != self.oid or is_key or _definition(text) != self._wanted(wanted):
            raise self._other(wanted.name, text)
        if not valid and not self.parted:
            self.session.patiently(f"DROP INDEX CONCURRENTLY {self.schema}.{wanted.name}")
        return bool(valid)

    def _has_constraint(self, wanted: Statement) -> bool:
        """Tell whether a constraint is there, valid or not."""
        for _, text in self.session.rows(CONSTRAINT, self.oid, bare(wanted.name)):
            if text.removesuffix(" NOT VALID") != self._wanted(wanted):
                raise self._other(wanted.name, text)
            return True
        return False

    def _wanted(self, wanted: Statement) -> str:
        """Return a definition as the server prints it: it is made on a sketch of the table, and undone."""
        foreign = wanted.kind == "FOREIGN KEY"
        table = next(self._leaves(), self) if foreign else self
        with self.session.transaction("ROLLBACK") as cursor:
            sketch = table.sql
            if not foreign:  # a temporary table may not refer to others
                sketch = f"pg_temp.{SKETCH}"
                cursor.execute(f"CREATE TEMP TABLE {SKETCH} (LIKE {self.sql})")
            cursor.execute(
                _adding(wanted, sketch) + (" NOT VALID" if foreign and not table.parted else "")
            )
            if wanted.form == "index":
                cursor.execute(DEFINITION, (sketch,))
                return _definition(cursor.fetchone()[0])
            cursor.execute(LATEST, (sketch,))
            return str(cursor.fetchone()[0]).removesuffix(" NOT VALID")

    def _leaves(self) -> Iterator["Table"]:
        for child in self.children():
            yield from child._leaves() if child.parted else [child]  # noqa: SLF001 - of the same class

    def _other(self, name: str, text: str) -> ExpectedError:
        return ExpectedError(
            f"{self.schema}.{name} is there already, and is another one",
            cause=text or "it is no index",
            hint="invoke psql   (rename or drop it, or give another name in the script)",
        )


def _as_index(wanted: Statement) -> Statement:
    """Return the index that a key stands on."""
    if wanted.form == "index":
        return wanted
    return replace(wanted, form="index", kind="", body=forms.key_body(wanted), unique=True)


def _adding(wanted: Statement, table: str) -> str:
    """Return the statement that adds an index or constraint under a name of the server's choice."""
    if wanted.form == "index":
        return f"CREATE {'UNIQUE ' if wanted.unique else ''}INDEX ON {table} {wanted.body}"
    kind = f"{wanted.kind}" if wanted.form == "key" else ""
    return f"ALTER TABLE {table} ADD {kind}{wanted.body}"


def _definition(text: str) -> str:
    """Return what an index is, without its name and table."""
    return re.sub(rf"^(CREATE (?:UNIQUE )?INDEX) {IDENTIFIER} ON (?:ONLY )?{NAME}", r"\1", text)

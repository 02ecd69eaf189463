"""Runs statements beside live traffic: each in a form that holds strong locks only briefly and can be run again.

A statement that would scan or rebuild a table while readers or writers are locked out is divided into steps that do not
(PostgreSQL manual, CREATE INDEX "Building Indexes Concurrently", ALTER TABLE "Notes"). Every step reads the catalog
first: a finished step is skipped; an unfinished object of the same definition is completed or built anew; an object
of the same name and another definition is an error.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg2
from psycopg2.errors import OperationalError, QueryCanceled

from postgres_database.online import forms
from postgres_database.online.forms import Statement
from postgres_database.online.tables import CONSTRAINT, TABLE, Table, as_index, definition
from postgres_database.running.autocommit import Autocommit
from postgres_database.sql.names import bare, identifier

VERSION_18 = 180000
"""Since this version NOT NULL is a constraint, and a foreign key of a partitioned table may be NOT VALID."""
NOTHING = "SELECT"
"""A statement without an effect."""
ATTACHED = """
    SELECT c.relname
    FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = %s AND x.indrelid = %s
"""
NOT_NULL = """
    SELECT a.attnotnull AND coalesce(n.convalidated, true), n.conname
    FROM pg_attribute a
    LEFT JOIN pg_constraint n ON n.contype = 'n' AND n.conrelid = a.attrelid AND n.conkey = ARRAY[a.attnum]
    WHERE a.attrelid = %s AND a.attname = %s
"""
FOREIGN_KEYS = """
    SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s AND contype = 'f' AND convalidated
"""
INDEX = "SELECT c.relkind::text FROM pg_class c WHERE c.oid = %s"


def run(session: Autocommit, statement: Statement) -> None:
    """Run the steps of a statement's safe form that are not finished yet.

    Raises:
        ExpectedError: Another object has the name.
        psycopg2.Error: The server rejects a step; an index that could not be built is dropped again.
    """
    if statement.form == "drop index":
        _drop_index(session, statement)
    elif statement.form == "value":
        session.execute(forms.offline(statement)[0])
    elif statement.form == "validate":
        session.without_time_limits(statement.sql)
    else:
        found = session.rows(TABLE, session.find(statement.table))
        table = LiveTable(session, *found[0]) if found else None
        if table is None or table.has_foreign_partitions():
            # the server raises the error, or has no safe form
            session.execute(statement.sql)
        else:
            table.make(statement)


def _drop_index(session: Autocommit, statement: Statement) -> None:
    for (kind,) in session.rows(INDEX, session.find(statement.name)):
        if kind == "i":
            session.without_time_limits(forms.offline(statement)[0])
        else:  # PostgreSQL cannot drop an index of a partitioned table concurrently
            session.execute(statement.sql)


class LiveTable(Table):
    """A table to which indexes and constraints are added beside live traffic."""

    def make(self, wanted: Statement) -> None:
        """Add an index, key or constraint, or make a column NOT NULL."""
        match wanted.form:
            case "index":
                self.add_index(wanted)
            case "key":
                self.add_key(wanted)
            case "constraint":
                self.add_constraint(wanted)
            case _:
                self.set_not_null(wanted.name)

    def add_index(self, wanted: Statement) -> None:
        """Create an index concurrently; of a partitioned table, on each partition, and attach these."""
        if not self.partitioned and self._has_index(wanted):
            return
        unique = "UNIQUE " if wanted.unique else ""
        if not self.partitioned:
            self._build(
                f"CREATE {unique}INDEX CONCURRENTLY {wanted.name} ON {self.sql} {wanted.body}",
                f"{self.schema}.{wanted.name}",
            )
            return
        new = not self._has_index(wanted) and not self.relation(bare(wanted.name))
        if new:
            self.session.execute(
                f"CREATE {unique}INDEX {wanted.name} ON ONLY {self.sql} {wanted.body}"
            )
        if wanted.only:
            return
        self._attach(wanted, f"DROP INDEX {self.schema}.{wanted.name}" if new else NOTHING)

    def add_key(self, wanted: Statement) -> None:
        """Add a unique constraint or primary key by an index that is built before; first make its columns NOT NULL."""
        if wanted.kind == "PRIMARY KEY" and not self.relation(bare(wanted.name)):
            for column in wanted.columns:
                self.set_not_null(column)
        new = not self._has_constraint(wanted)
        if not self.partitioned:
            if new:
                self.add_index(as_index(wanted))
                self.session.execute(forms.using_index(replace(wanted, table=self.sql)))
            return
        if new:
            self.session.execute(
                f"ALTER TABLE ONLY {self.sql} ADD CONSTRAINT {wanted.name} {wanted.kind}{wanted.body}"
            )
        drop = f"ALTER TABLE {self.sql} DROP CONSTRAINT {wanted.name}"
        self._attach(wanted, drop if new else NOTHING)

    def add_constraint(self, wanted: Statement) -> None:
        """Add a foreign key or check as NOT VALID, then validate it."""
        exists = self._has_constraint(wanted)
        add = f"ALTER TABLE {self.sql} ADD CONSTRAINT {wanted.name} {wanted.body}"
        if self.partitioned and wanted.kind == "FOREIGN KEY" and self.session.version < VERSION_18:
            if not exists:
                self._add_to_partitions(wanted)
                self.session.execute(add)  # finds the valid ones of the partitions: no scan
            return
        if not exists:
            self.session.execute(f"{add} NOT VALID")
        self._validate(wanted.name, new=not exists)

    def _add_to_partitions(self, wanted: Statement) -> None:
        meant = self.definition_of(wanted)
        # The parent takes over an equal foreign key of any name.
        parts = [
            each
            for each in self.children()
            if (meant,) not in self.session.rows(FOREIGN_KEYS, each.oid)
        ]
        drops = [
            f"ALTER TABLE {each.sql} DROP CONSTRAINT IF EXISTS {wanted.name}"
            for each in parts
            if not each._has_constraint(wanted)  # noqa: SLF001 - of the same class
        ]
        with self._undone_by(self.session.execute, "; ".join(drops) or NOTHING):
            for each in parts:
                each.add_constraint(wanted)

    def set_not_null(self, column: str) -> None:
        """Make a column NOT NULL by a constraint that is added NOT VALID and then validated.

        Before PostgreSQL 18 that is a temporary CHECK, which spares SET NOT NULL its scan (PostgreSQL manual,
        ALTER TABLE, "SET NOT NULL").
        """
        alter = f"ALTER TABLE {self.sql}"
        known = self.session.rows(NOT_NULL, self.oid, bare(column))
        if not known:
            self.session.execute(f"{alter} ALTER COLUMN {column} SET NOT NULL")
            return
        done, name = known[0]
        if self.session.version >= VERSION_18:
            new = not done and name is None
            if new:
                self.session.execute(f"{alter} ADD NOT NULL {column} NOT VALID")
                name = self.session.rows(NOT_NULL, self.oid, bare(column))[0][1]
            if not done:
                self._validate(identifier(name), new=new)
            return
        check = forms.not_null_check(self.sql, column)
        if not done:
            body = f"CHECK ({column} IS NOT NULL)"
            self.add_constraint(Statement("constraint", "", self.sql, check, "CHECK", body))
            self.session.execute(f"{alter} ALTER COLUMN {column} SET NOT NULL")
        if self.session.rows(CONSTRAINT, self.oid, bare(check)):
            self.session.execute(f"{alter} DROP CONSTRAINT {check}")

    def _validate(self, name: str, *, new: bool) -> None:
        """Validate a constraint; drop a new one again if rows violate it."""
        found = self.session.rows(CONSTRAINT, self.oid, bare(name))
        if found and not found[0][0]:
            alter = f"ALTER TABLE {self.sql}"
            undo = f"{alter} DROP CONSTRAINT {name}" if new else NOTHING
            with self._undone_by(self.session.execute, undo):
                self.session.without_time_limits(f"{alter} VALIDATE CONSTRAINT {name}")

    def _build(self, sql: str, name: str) -> None:
        """Build an index; drop it again if rows violate it."""
        drop = f"DROP INDEX CONCURRENTLY IF EXISTS {name}"
        with self._undone_by(self.session.without_time_limits, drop):
            self.session.without_time_limits(sql)

    @contextmanager
    def _undone_by(self, run: Callable[[str], None], undo: str) -> Iterator[None]:
        """Run `undo` if the block fails, but not if it was cancelled or disconnected: the next run resumes there."""
        try:
            yield
        except (QueryCanceled, OperationalError):
            raise
        except psycopg2.Error:
            with suppress(psycopg2.Error):
                run(undo)
            raise

    def _attach(self, wanted: Statement, undo: str) -> None:
        """Create the index or key on each partition, and attach it to that of the partitioned table."""
        whole = f"{self.schema}.{wanted.name}"
        with self._undone_by(self.session.execute, undo):
            for child in self.children():
                attached = self.session.rows(ATTACHED, self.session.find(whole), child.oid)
                if attached and not child.partitioned:
                    continue
                equal = "" if attached else child.equal_part(wanted)
                name = identifier(attached[0][0]) if attached else equal or child.part_name(wanted)
                if child.partitioned or not equal:
                    child.make(replace(wanted, name=name))
                if not attached:
                    part = f"{child.schema}.{name}"
                    self.session.execute(f"ALTER INDEX {whole} ATTACH PARTITION {part}")

    def _has_index(self, wanted: Statement) -> bool:
        """Tell whether a valid index exists; an invalid one of the same definition is dropped."""
        found = self.relation(bare(wanted.name))
        if found is None:
            return False
        table, valid, text, is_key, _ = found
        if table != self.oid or is_key or definition(text) != self.definition_of(wanted):
            raise self.name_taken(wanted.name, text)
        if not valid and not self.partitioned:
            self.session.without_time_limits(f"DROP INDEX CONCURRENTLY {self.schema}.{wanted.name}")
        return bool(valid)

    def _has_constraint(self, wanted: Statement) -> bool:
        """Tell whether the constraint exists, valid or not."""
        for _, text in self.session.rows(CONSTRAINT, self.oid, bare(wanted.name)):
            if text.removesuffix(" NOT VALID") != self.definition_of(wanted):
                raise self.name_taken(wanted.name, text)
            return True
        return False

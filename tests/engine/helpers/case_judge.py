"""Judges what `revision` writes for a case, independently of the product.

It does not rely on the command's own proof: it upgrades and downgrades a database with rows, and compares it with the
models through `witness`, which reads the system catalogs.
"""

import importlib
import secrets
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
import witness
from case_table import HEAD, Case, Claim, create_all
from commands import down, up
from conftest import Project
from witness import Catalog

from postgres_database.errors import ExpectedError
from postgres_database.history import project_models
from postgres_database.schema import catalog, comparison, snapshot
from postgres_database.schema.comparison import Comparison, Side
from postgres_database.schema.snapshot import Snapshot
from postgres_database.server.connection import Database
from postgres_database.workflows import revision

# Writes a query of the number of rows for each table. Partitions count by themselves: they may be attached or detached.
COUNTS = """
    SELECT format('SELECT %L, count(*) FROM ONLY %s', oid::regclass, oid::regclass)
    FROM pg_class WHERE relkind = 'r' AND oid >= 16384 AND relname <> 'alembic_version_log'
"""
PARTED = """
    SELECT c.oid::regclass::text, pg_partition_root(c.oid)::regclass::text FROM pg_class c
    WHERE c.relispartition AND c.relkind = 'r'
"""
ORDERS = """
    SELECT c.oid, c.oid::regclass::text, array_agg(a.attname::text ORDER BY a.attnum)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'f') AND c.oid >= 16384 GROUP BY c.oid
"""
Orders = dict[int, tuple[str, list[str]]]
"""The name of each table, and its columns in their order, by its OID."""
# Cases that run at the same time may create the same role.
CREATE_ROLE = """
    DO $$ BEGIN
        CREATE ROLE {} NOLOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
    END $$
"""
NOT_NULL = '"contype": "n"'
"""What is in the definition of a NOT NULL constraint in `witness`."""
PARTS = ("COLUMN ", "CONSTRAINT ", "INDEX ", "COMMENT ")
"""Kinds of objects in `witness` that are parts of tables."""
Outcome = Literal["right", "named", "wrong"]


@dataclass(frozen=True)
class Verdict:
    """The outcome of a case: right as expected, named (the tool said what it could not do), or wrong."""

    outcome: Outcome
    claim: Claim | None
    faults: tuple[str, ...]
    """What is not as expected, in a line each."""
    said: str
    """What the command said: cautions, names of objects, the error."""


def judge(case: Case, server: Database) -> Verdict:
    """Run a case on databases of its own, and return the verdict."""
    with _stage(server, case.roles) as stage:
        trial = _Trial(case, *stage)
        try:
            trial.play()
        except ExpectedError as error:
            trial.faults.append(f"a command failed: {error}")
        except Exception:  # noqa: BLE001 - a traceback is a fault of the case
            trial.faults.append(traceback.format_exc())
        return trial.verdict()


@contextmanager
def _stage(
    server: Database, roles: Iterable[str]
) -> Iterator[tuple[Project, sa.Connection, Database]]:
    """Yield a project, a connection to its empty target, and an empty database for the models' schema."""
    names = [f"{part}_{secrets.token_hex(6)}" for part in ("target", "models")]
    target, models = (Database(server.dsn.with_parts(dbname=name), "case") for name in names)
    with server.connect(autocommit=True) as connection, tempfile.TemporaryDirectory() as folder:
        for name in names:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0")
        for role in roles:
            connection.exec_driver_sql(CREATE_ROLE.format(role))
        sys.path.insert(0, folder)
        try:
            with target.connect(usual_path=True) as here:
                yield Project(Path(folder), server, target), here, models
        finally:
            sys.path.remove(folder)
            for name in names:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


class _Trial:
    """One run of a case, and the faults found in it."""

    def __init__(self, case: Case, project: Project, here: sa.Connection, models: Database) -> None:
        self.case = case
        self.project = project
        self.target = project.database
        self.here = here
        self.models = models
        self.claim: Claim | None = None
        self.said = ""
        self.scripts = 1
        self.faults: list[str] = []
        self.before = self.goal = Snapshot({})
        self.by_hand: set[str] = set()
        self.orders: Orders = {}
        """Those of the models."""

    def play(self) -> None:
        """Let the command write the next script, and check its claim."""
        self._start()
        before = witness.read(self.here)
        self._load(self.case.after)
        self.claim = self._claim()
        if self.claim == "refused":
            return
        metadata = self._load(self.case.after)  # anew: the command may have changed its metadata
        with self.models.connect(autocommit=True, usual_path=True) as there:
            create_all(there, metadata)
            there.commit()
            goal = witness.read(there)
            self.orders = _orders(there)
        self._compare_witnesses(before, goal)
        if self.claim == "nothing":
            self._equal("models", before, goal)
        elif self.claim == "proved":
            self._follow(before, goal)

    def _start(self) -> None:
        """Bring the target to `before`, by a script that runs `create_all`.

        Like a script that the product writes, it lists the objects that came from the models (`objects`): these are
        dropped where the models lose them.
        """
        if self.case.before:
            self._load(self.case.before)
            module = self.project.settings.project.target_metadata.partition(":")[0]
            make = f"case_table.create_all(op.get_bind(), {module}.metadata)"
            script = self.project.script(
                "before",
                upgrade=f"import {module}, case_table\n"
                f"with op.get_context().autocommit_block():\n    {make}",
            )
            self._upgrade()
            self.before = snapshot.take(self.target)
            objects = tuple(str(key) for key in self.before.objects if key.kind != "TABLE")
            with script.open("a") as file:
                file.write(f"\n\nobjects = {objects!r}\n")
        if self.case.by_hand:
            known = witness.read(self.here)
            parent = "before" if self.case.before else ""
            self.project.script("by_hand", parent, f"op.run_sql({self.case.by_hand!r})")
            self._upgrade()
            self.before = snapshot.take(self.target)
            self.by_hand = witness.read(self.here).keys() - known.keys()
        if self.case.rows:
            self._query(self.case.rows)

    def _load(self, body: str) -> sa.MetaData:
        self.project.models(HEAD + body)
        importlib.invalidate_caches()
        return project_models.each_metadata(self.project.settings.project.models())[0]

    def _compare_witnesses(self, before: Catalog, goal: Catalog) -> None:
        """Require that the snapshots differ exactly if the system catalogs do."""
        self.goal = snapshot.take(self.models)
        seen = self.before.difference(self.goal)
        real = [line for line in witness.difference(before, goal) if NOT_NULL not in line]
        if bool(seen) != bool(real):
            self.faults.append(f"snapshot and catalogs disagree: {seen} / {real}")

    def _claim(self) -> Claim:
        """Let the command write the next script, and return what it claims."""
        scripts = self.project.scripts()
        try:
            result = revision.write(
                *self.project.settings,
                "After",
                rename=self.case.rename,
                no_renames=self.case.no_renames,
            )
        except ExpectedError as error:
            self.said = str(error)
            if self.project.scripts() != scripts:
                self.faults.append("refused, but a script was written")
            return "refused"
        self.scripts = 2 if result.then else 1
        differing = [each.key for each in (*result.not_upgraded, *result.not_downgraded)]
        names = map(str, (*differing, *result.kept))
        self.said = "\n".join(
            [*result.cautions, *names, *result.lost, *result.broken, result.failure]
        )
        if not result.proved or result.unfilled:
            return "named"
        return "proved" if result.path else "nothing"

    def _follow(self, before: Catalog, goal: Catalog) -> None:
        """Run the script on the target with its rows, up, down and up; then the next revision must be empty."""
        counts, old = self._counts(), _orders(self.here)
        roots = {str(part): str(root) for part, root in self._query(PARTED)}
        if self.case.stops:
            self._require_row_checks_stop(before)
            self._stopped("upgrade", partial(self._upgrade, skip_row_checks=True), self.case.stops)
            if self.scripts == 1:
                self._equal_to_all("stopped", witness.read(self.here), before)
            self._rows("stopped", counts, {})
            return
        self._upgrade()
        self._equal("upgrade", witness.read(self.here), goal)
        self._require_order("upgrade", old, self.orders)
        up = _orders(self.here)
        self._keeps_partitions(counts, roots)
        lasting = self._rows("upgrade", counts, self.case.rows_after)
        if self.case.stops_back:
            stops = self.case.stops_back
            self._stopped("downgrade", partial(self._downgrade, skip_row_checks=True), stops)
        else:
            self._downgrade()
            self._equal_to_all("downgrade", witness.read(self.here), before)
            self._require_order("downgrade", up, old)
            self._rows("downgrade", lasting, self.case.rows_back)
            self._upgrade()
        self._equal("upgrade again", witness.read(self.here), goal)
        self._require_nothing_to_do()

    def _require_nothing_to_do(self) -> None:
        """Require that the next revision would be empty: target and models are equal."""
        settings, here = self.project.settings, comparison.side(self.target)
        goal = Side(self.goal, catalog.take(self.models))
        compared = Comparison(settings.project.scope, here, goal, settings.project.history.objects)
        if objects := compared.differences.objects:
            self.faults.append(f"the next revision is not empty: {objects}")

    def _stopped(self, when: str, run: Callable[[], None], words: str) -> None:
        """Run what must fail with these words as its cause."""
        try:
            run()
        except ExpectedError as error:
            # Before PostgreSQL 18 a temporary CHECK constraint fails in place of NOT NULL.
            filled = words == "contains null values" and "_is_filled" in error.cause
            if words not in error.cause and not filled:
                self.faults.append(f"{when}: stopped, but not by {words!r}: {error.cause}")
        else:
            self.faults.append(f"{when}: not stopped by {words!r}")

    def _downgrade(self, *, skip_row_checks: bool = False) -> None:
        settings, steps = self.project.settings, f"-{self.scripts}"
        down(settings, self.target, target=steps, confirm=_yes, skip_row_checks=skip_row_checks)

    def _upgrade(self, *, skip_row_checks: bool = False) -> None:
        up(self.project.settings, self.target, confirm=_yes, skip_row_checks=skip_row_checks)

    def _require_row_checks_stop(self, before: Catalog) -> None:
        """Require that the upgrade fails, and changes nothing if it is the checks of rows beforehand that fail."""
        try:
            self._upgrade()
        except ExpectedError as error:
            if " violate requirements of " in error.what:
                self._equal_to_all("row checks", witness.read(self.here), before)
        else:
            self.faults.append("upgrade: not stopped")

    def _equal(self, when: str, here: Catalog, goal: Catalog) -> None:
        """Require that everything is as the models make it, and that objects made by hand are kept."""
        kept = here.keys() - goal.keys() if self.by_hand else set()
        if len(_objects(kept)) < len(_objects(self.by_hand - goal.keys())):
            self.faults.append(f"{when}: of {self.by_hand} only {kept} is left")
        managed = {identity: text for identity, text in here.items() if identity not in kept}
        self._equal_to_all(when, managed, goal)

    def _equal_to_all(self, when: str, here: Catalog, goal: Catalog) -> None:
        lines = witness.difference(here, goal)
        if not self.case.rename:  # only then a name of NOT NULL, which no model knows, is to follow
            lines = [line for line in lines if NOT_NULL not in line]
        self.faults += [f"{when}: {line}" for line in lines]

    def _require_order(self, when: str, before: Orders, wanted: Orders) -> None:
        """Require that the tables that a script made have their columns in order; others keep the order they had."""
        orders = dict(wanted.values())
        for oid, (table, columns) in _orders(self.here).items():
            if oid not in before and columns != orders.get(table, columns):
                self.faults.append(f"{when}: {table} has columns {columns}, not {orders[table]}")

    def _counts(self) -> dict[str, object]:
        """Return the number of rows of each table."""
        query = " UNION ALL ".join(str(query) for (query,) in self._query(COUNTS))
        return {str(table): count for table, count in self._query(query)} if query else {}

    def _keeps_partitions(self, before: dict[str, object], roots: dict[str, str]) -> None:
        """A partition with rows goes with its table, or never."""
        renamed = {rename.partition(":")[0] for rename in self.case.rename}
        for part in roots.keys() - self._counts().keys() - renamed:
            if before[part] and self._query(f"SELECT to_regclass('{roots[part]}')")[0][0]:
                self.faults.append(f"upgrade: {part} is gone with {before[part]} rows")

    def _query(self, sql: str) -> list[tuple[object, ...]]:
        """Run SQL on the target, without parameters, and return the rows of its last statement."""
        with self.here.begin():
            cursor = self.here.connection.cursor()
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def _rows(
        self, when: str, before: dict[str, object], wanted: dict[str, list[list[object]]]
    ) -> dict[str, object]:
        """Require the same numbers of rows and the wanted ones; return the counts of tables that still exist."""
        now = self._counts()
        renamed = {rename.rpartition(":")[2] for rename in self.case.rename}
        for table in (before.keys() & now.keys()) - renamed:
            if now[table] != before[table]:
                self.faults.append(
                    f"{when}: {table} has {now[table]} rows instead of {before[table]}"
                )
        for query, rows in wanted.items():
            if (found := _texts(self._query(query))) != _texts(rows):
                self.faults.append(f"{when}: {query} returns {found} instead of {_texts(rows)}")
        return {table: count for table, count in before.items() if table in now}

    def verdict(self) -> Verdict:
        """Return the verdict on the claim, by the faults found and by what the case expects."""
        expected = self.case.expect
        missing = [f"it does not say {text!r}" for text in self.case.says if text not in self.said]
        faults = self.faults + missing
        outcome: Outcome = "wrong"
        if not faults and self.claim in ("named", "refused") and expected in ("proved", "named"):
            outcome = "named"
        elif not faults and self.claim == expected:
            outcome = "right"
        if self.claim != expected:
            faults.append(f"{self.claim} instead of {expected}")
        return Verdict(outcome, self.claim, tuple(faults), self.said)


def _objects(identities: Iterable[str]) -> list[str]:
    """Leave out parts of tables: the models own these, even if they were made by hand."""
    return [identity for identity in identities if not identity.startswith(PARTS)]


def _orders(connection: sa.Connection) -> Orders:
    """Return the columns of each table in their order."""
    with connection.begin():
        rows = connection.exec_driver_sql(ORDERS)
        return {int(oid): (str(table), [*columns]) for oid, table, columns in rows}


def _texts(rows: Iterable[Sequence[object]]) -> list[list[str]]:
    return [["NULL" if value is None else str(value) for value in row] for row in rows]


def _yes(*_: object) -> bool:
    return True

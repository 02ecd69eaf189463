"""Changes tried on a scratch database; those that work are recorded in the order in which they worked.

So the dependencies between changes need not be known: what fails is tried again after the others, and at last once
more after its dependents are dropped, which a later comparison finds missing and recreates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import render_python_code
from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import AlterColumnOp, UpgradeOps
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import postgresql

from postgres_database.drafting.objects import Subject
from postgres_database.history.operations import CastColumn, Note, RunSql, render_item
from postgres_database.history.project_models import Models
from postgres_database.schema.snapshot import Key
from postgres_database.server.connection import Database
from postgres_database.server.transactions import asked
from postgres_database.sql.names import identifier
from postgres_database.sql.tokens import printed_unchanged

Way = Sequence[MigrateOperation]
"""Operations that make a change, all of them or none."""


@dataclass(frozen=True)
class Change:
    """Something to do, in the first of several ways that works."""

    ways: Sequence[Way]
    subject: Subject | None = None
    key: Key | None = None
    """The object that is created, changed or dropped."""
    default: tuple[str, str, str] | None = None
    """A table, a column and its default as the server prints it: a way that leads to another default does not work."""
    unchecked: bool = False
    """Whether it creates a function whose body is not checked."""

    @property
    def retyped(self) -> str:
        """The table of a column that gets another type; empty for another change."""
        if not self.subject or self.subject.kind != "column":
            return ""
        ops = [op for way in self.ways for op in way]
        is_type = any(
            isinstance(op, CastColumn)
            or (isinstance(op, AlterColumnOp) and op.modify_type is not None)
            or (isinstance(op, RunSql) and " TYPE " in op.text)
            for op in ops
        )
        return self.subject.sql if is_type else ""


def as_way(statements: Iterable[str]) -> Way:
    """Return statements as the operations of a script."""
    return [RunSql(printed_unchanged(statement)) for statement in statements]


SUBJECTS = {
    "column": """
        SELECT 'pg_class'::regclass, attrelid, attnum::int FROM pg_attribute WHERE attrelid IN (
            WITH RECURSIVE t (oid) AS (
                SELECT to_regclass(%s)::oid UNION SELECT inhrelid FROM pg_inherits JOIN t ON inhparent = t.oid
            ) SELECT oid FROM t) AND attname = %s""",  # children have it, too
    "constraint": "SELECT 'pg_constraint'::regclass, oid, 0 FROM pg_constraint"
    " WHERE conrelid = to_regclass(%s) AND conname = %s",
    "relation": "SELECT 'pg_class'::regclass, to_regclass(%s)::oid, length(%s)",
    "type": "SELECT 'pg_type'::regclass, to_regtype(%s)::oid, length(%s)",
    "function": "SELECT 'pg_proc'::regclass, to_regprocedure(%s)::oid, length(%s)",
    "operator": "SELECT 'pg_operator'::regclass, to_regoperator(%s)::oid, length(%s)",
    "operator class": "SELECT 'pg_opclass'::regclass, c.oid, 0 FROM pg_opclass c JOIN pg_am m ON m.oid = c.opcmethod"
    " WHERE format('%%I.%%I', c.opcnamespace::regnamespace, c.opcname) = %s AND m.amname = %s",
}

DEFAULT = """
    SELECT coalesce(pg_get_expr(d.adbin, d.adrelid), '')
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = to_regclass(%s) AND a.attname = %s
"""

VALIDATOR = """
    SELECT format('SELECT %%s(%%s)', l.lanvalidator::regproc, p.oid)
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.oid = to_regprocedure(%s) AND l.lanvalidator <> 0
"""
"""The statement that checks the body of a function, as CREATE FUNCTION does (PostgreSQL manual, CREATE LANGUAGE)."""

# What depends on an object (PostgreSQL manual, "pg_depend"), by deptype: normal (n) and internal (i) dependents block a
# drop. Automatic ones (a) are dropped with it; of these, generated columns are listed, and those indexes and
# constraints of a column whose kind is in the last parameter: their expressions may not fit another type.
# In place of a view's rule the view is listed, in place of a default expression its generated column, and in place of
# the index of a constraint that constraint. A domain depends
# on a function by its default alone, and what depends on the domain is not concerned. What partitions and children
# inherit goes with their parent's; what they have by themselves as well comes after it.
DEPENDENTS = """
    WITH RECURSIVE used (classid, objid, objsubid, depth, internal, by_default) AS (
        SELECT *, false, false FROM ({subject}) AS s (classid, objid, objsubid), (VALUES (0)) AS v (depth)
        UNION
        SELECT x.classid, x.objid, x.objsubid, used.depth + 1, d.deptype = 'i' AND r.oid IS NULL,
               (d.refclassid, d.classid) = ('pg_proc'::regclass, 'pg_type'::regclass)
        FROM used
        JOIN pg_depend d ON d.refclassid = used.classid AND d.refobjid = used.objid
             AND (used.objsubid = 0 OR d.refobjsubid = used.objsubid)
        LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.rulename = '_RETURN'
        LEFT JOIN pg_constraint k ON d.classid = 'pg_class'::regclass AND k.conindid = d.objid
             AND k.contype IN ('p', 'u', 'x')
             AND (used.classid, used.objid) <> ('pg_constraint'::regclass, k.oid)  -- foreign keys depend on its index
        LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
        LEFT JOIN pg_attribute g ON g.attgenerated <> '' AND (g.attrelid, g.attnum) = (
            coalesce(f.adrelid, d.objid), coalesce(f.adnum, d.objsubid))
            AND d.classid IN ('pg_attrdef'::regclass, 'pg_class'::regclass)
        CROSS JOIN LATERAL (SELECT
            CASE WHEN k.oid > 0 THEN 'pg_constraint'::regclass WHEN r.oid IS NULL AND g.attnum IS NULL THEN d.classid
                 ELSE 'pg_class'::regclass END,
            coalesce(r.ev_class, g.attrelid, k.oid, d.objid),
            CASE WHEN r.oid IS NULL THEN coalesce(g.attnum, d.objsubid) ELSE 0 END
        ) AS x (classid, objid, objsubid)
        WHERE (d.deptype IN ('n', 'i') OR g.attnum IS NOT NULL
               OR (used.depth = 0 AND used.objsubid > 0 AND d.objsubid = 0
                   AND coalesce((SELECT n.contype::text FROM pg_constraint n
                                 WHERE d.classid = 'pg_constraint'::regclass AND n.oid = d.objid), 'i') = ANY (%s)
                   AND d.classid IN ('pg_class'::regclass, 'pg_constraint'::regclass)))
          AND used.depth < 20 AND NOT used.by_default
          AND (x.classid, x.objid, x.objsubid) <> (used.classid, used.objid, used.objsubid)
    )
    SELECT CASE WHEN u.by_default THEN 'domain default' ELSE i.type END, i.identity, a.object_names || a.object_args
    FROM (SELECT classid, objid, objsubid, max(depth) AS depth, bool_and(by_default) AS by_default FROM used
          WHERE depth > 0 AND NOT internal GROUP BY 1, 2, 3) AS u
    CROSS JOIN LATERAL pg_identify_object(u.classid, u.objid, u.objsubid) AS i
    CROSS JOIN LATERAL pg_identify_object_as_address(u.classid, u.objid, u.objsubid) AS a
    LEFT JOIN pg_attribute g ON i.type = 'table column' AND g.attrelid = u.objid AND g.attnum = u.objsubid
    LEFT JOIN pg_constraint n ON u.classid = 'pg_constraint'::regclass AND n.oid = u.objid
    LEFT JOIN pg_class p ON u.classid = 'pg_class'::regclass AND p.oid = u.objid AND p.relkind IN ('i', 'I')
    LEFT JOIN pg_trigger t ON u.classid = 'pg_trigger'::regclass AND t.oid = u.objid
    WHERE (i.type <> 'table column' OR g.attgenerated <> '')
      AND coalesce(n.conislocal OR n.coninhcount = 0, g.attislocal OR g.attinhcount = 0,
                   NOT p.relispartition, t.tgparentid = 0, true)
    ORDER BY u.depth DESC, u.by_default, coalesce(n.coninhcount, g.attinhcount, 0) > 0, i.identity
"""

AUTOMATIC = ("", "f", "fci", "fcipux")
"""Kinds of a column's constraints (`pg_constraint.contype`), i for indexes, dropped in addition: one after another is
tried, the kinds that seldom block a change come last."""

# Kinds of dependents without rows that pg_identify_object names as DROP takes them; the next ones need ALTER TABLE.
DROPPED = ("view", "materialized view", "index", "policy", "trigger", "rule", "function", "procedure",
           "aggregate", "statistics object")  # fmt: skip
IN_TABLES = {
    "table constraint": "DROP CONSTRAINT",
    "default value": "ALTER COLUMN {} DROP DEFAULT",
    "table column": "DROP COLUMN",
}


class Trial:
    """A scratch database and the changes that worked on it."""

    def __init__(self, database: Database, models: Models | None = None) -> None:
        """Begin without changes; Alembic's operations name constraints by the naming convention of the models."""
        self.database = database
        self._models = models
        self.applied: list[tuple[Change, Way]] = []
        """What worked, in its order; a way includes the drops of dependents that it needed."""

    @property
    def done(self) -> list[MigrateOperation]:
        """The operations of the changes that worked, in their order."""
        return [operation for _, way in self.applied for operation in way]

    def apply(self, changes: Iterable[Change], *, force: bool = False) -> bool:
        """Apply the changes that work, and return whether any did; the others are left out without an error.

        Args:
            changes: In the order in which they should be tried.
            force: Drop what depends on the subject of a change that does not work otherwise.
        """
        before, waiting = len(self.applied), list(changes)
        if not waiting:
            return False
        with self.database.connect(usual_path=True) as connection, connection.begin():
            first = self._retyped_together(connection, waiting) if force else []
            others = [each for each in waiting if not any(each is one for one in first)]
            waiting = [*first, *self._rounds(connection, others, force=False)]
            if force and waiting:
                self._rounds(connection, waiting, force=True)
        return len(self.applied) > before

    def _retyped_together(self, connection: sa.Connection, changes: list[Change]) -> list[Change]:
        """Return the changes of types of each table in which dependents block some: these first, the others at once.

        So they can become one statement, which rewrites the table once.
        """
        tables: dict[str, list[Change]] = {}
        for each in changes:
            tables.setdefault(each.retyped, []).append(each)
        tables.pop("", None)
        found: list[Change] = []
        for group in tables.values():
            works = [len(group) > 1 and self._would_work(connection, each) for each in group]
            if any(works) and not all(works):
                order = sorted(zip(works, range(len(group)), strict=True))
                found += [group[place] for _, place in order]
        return found

    def _would_work(self, connection: sa.Connection, change: Change) -> bool:
        savepoint = connection.begin_nested()
        works = any(self._works(connection, way, change) for way in change.ways if way)
        savepoint.rollback()
        return works

    def _rounds(
        self, connection: sa.Connection, waiting: list[Change], *, force: bool
    ) -> list[Change]:
        """Try changes again as long as one of them works; return those that do not."""
        progress = True
        while waiting and progress:
            failed = [each for each in waiting if not self._apply(connection, each, force=force)]
            progress = len(failed) < len(waiting)
            waiting = failed
        return waiting

    def _apply(self, connection: sa.Connection, change: Change, *, force: bool) -> bool:
        for way in filter(None, change.ways):
            if self._works(connection, way, change):
                self.applied.append((change, way))
                return True
            if not force or not change.subject:
                continue
            for automatic in AUTOMATIC:
                found = self._drops_of_dependents(connection, change.subject, automatic)
                drops = [each for each in found if each not in way]
                if drops and self._works(connection, [*drops, *way], change):
                    self.applied.append((change, [*drops, *way]))
                    return True
        return False

    def _works(self, connection: sa.Connection, way: Way, change: Change) -> bool:
        """Run operations as a script will; undo all if one fails, or if the default is not the change's."""
        savepoint = connection.begin_nested()
        try:
            for operation in way:
                run(connection, operation, self._models)
            works = change.default is None or self._has_default(connection, *change.default)
        except Exception:  # noqa: BLE001 - whatever a script may raise
            works = False
        savepoint.commit() if works else savepoint.rollback()
        return works

    def invalid_bodies(self) -> list[str]:
        """Return what is wrong with the functions that were created without a check of their bodies, a line each."""
        found = []
        subjects = [each.subject.sql for each, _ in self.applied if each.unchecked and each.subject]
        with self.database.connect(usual_path=True) as connection, connection.begin():
            for function in subjects:
                for (statement,) in asked(connection.connection.cursor(), VALIDATOR, (function,)):
                    savepoint = connection.begin_nested()
                    try:
                        connection.exec_driver_sql(statement.replace("%", "%%"))
                    except sa.exc.DBAPIError as error:
                        reason = str(error.orig).partition("\n")[0]
                        found.append(f"the body of the function {function} is not valid: {reason}")
                    savepoint.rollback()
        return found

    def _has_default(
        self, connection: sa.Connection, table: str, column: str, default: str
    ) -> bool:
        rows = asked(connection.connection.cursor(), DEFAULT, (table, column))
        return rows == [(default,)]

    def _drops_of_dependents(
        self, connection: sa.Connection, subject: Subject, automatic: str
    ) -> list[RunSql]:
        """Return statements that drop everything that depends on a subject, the farthest dependents first.

        Args:
            connection: To the scratch database.
            subject: What is to be changed.
            automatic: The kinds of a column's constraints and indexes to drop as well: one of AUTOMATIC.
        """
        cursor = connection.connection.cursor()
        query = DEPENDENTS.format(subject=SUBJECTS[subject.kind])
        # With an empty search_path, pg_identify_object qualifies every name.
        rows = asked(cursor, query, (subject.sql, subject.part, [*automatic]))
        drops = []
        for kind, identity, names in rows:
            if kind == "domain constraint":
                drops.append(
                    RunSql(f"ALTER DOMAIN {names[0]} DROP CONSTRAINT {identifier(names[1])};")
                )
            elif kind == "domain default":
                drops.append(RunSql(f"ALTER DOMAIN {identity} DROP DEFAULT;"))
            elif kind == "publication relation":
                *table, publication = map(identifier, names)
                drops.append(
                    RunSql(f"ALTER PUBLICATION {publication} DROP TABLE {'.'.join(table)};")
                )
            elif kind in DROPPED:
                drop = kind.upper().removesuffix(" OBJECT")
                drops.append(RunSql(f"DROP {drop} IF EXISTS {identity};"))
            elif clause := IN_TABLES.get(kind):
                *place, part = map(identifier, names)
                clause = clause.format(part) if "{}" in clause else f"{clause} IF EXISTS {part}"
                drops.append(RunSql(f"ALTER TABLE {'.'.join(place)} {clause};"))
        return drops


def run(connection: sa.Connection, operation: MigrateOperation, models: Models | None) -> None:
    """Run an operation as a script will: rendered to Python, with the naming convention of the models."""
    context = MigrationContext.configure(connection, opts={"target_metadata": models})
    if isinstance(operation, RunSql):  # rendering changes nothing
        Operations(context).invoke(operation)
        return
    body = render(operation)
    namespace: dict[str, Any] = {
        "op": Operations(context),
        "sa": sa,
        "postgresql": postgresql,
    }
    exec(f"def run():\n    {body}\nrun()", namespace)  # noqa: S102 - it is the script


def render(*operations: MigrateOperation) -> str:
    """Return the Python lines of operations in a script, indented by four spaces but for the first."""
    # The paramstyle of psycopg2 would double every %.
    context = MigrationContext.configure(
        dialect_name="postgresql", dialect_opts={"paramstyle": "named"}
    )
    ops = UpgradeOps(list(operations))
    text = render_python_code(ops, render_item=render_item, migration_context=context)
    return f"{text}\n    pass" if all(isinstance(each, Note) for each in operations) else text

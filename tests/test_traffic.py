"""Ordinary changes of a table with rows: what revision writes for them keeps nobody waiting, measured at the server."""

import dataclasses
import json
import os
import re
from collections.abc import Sequence

import faults
import psycopg2.extensions
import pytest
from conftest import Project, run_sql

from postgres_database import revision

BASE = """
orgs = sa.Table("orgs", metadata, sa.Column("id", sa.Integer, primary_key=True))
users = sa.Table(
    "users", metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.Text),
    sa.Column("age", sa.Integer),
    sa.Column("name", sa.String(20)),
    sa.Column("org", sa.Integer),
    sa.Column("mood", sa.Enum("sad", "ok", name="mood")),
    sa.Index("ix_old", "age"),
)
"""
ROWS = """
INSERT INTO orgs SELECT generate_series(1, 20);
INSERT INTO users SELECT i, 'e' || i, i, 'n' || i, i % 20 + 1, 'ok' FROM generate_series(1, 500) i;
"""
CHANGES = {
    "column": 'users.append_column(sa.Column("x", sa.Text))',
    "column with a default": 'users.append_column(sa.Column("x", sa.Integer, nullable=False, server_default="7"))',
    "column with a changing default": """
users.append_column(sa.Column("x", sa.Uuid, nullable=False, server_default=sa.text("gen_random_uuid()")))""",
    "column that must be filled": 'users.append_column(sa.Column("x", sa.Text, nullable=False))',
    "serial": 'users.append_column(sa.Column("x", sa.Integer, sa.Sequence("users_x_seq"), nullable=False,'
    " server_default=sa.Sequence('users_x_seq').next_value()))",
    "index": 'sa.Index("ix", users.c.email)',
    "unique index of an expression": 'sa.Index("ix", sa.func.lower(users.c.email), unique=True)',
    "no index": "users.indexes.clear()",
    "unique": 'users.append_constraint(sa.UniqueConstraint("email", name="uq"))',
    "foreign key": 'users.append_constraint(sa.ForeignKeyConstraint(["org"], ["orgs.id"], name="fk"))',
    "check": 'users.append_constraint(sa.CheckConstraint("age > 0", name="ck"))',
    "not null": "users.c.name.nullable = False",
    "longer text": "users.c.name.type = sa.String(50)",
    "text": "users.c.name.type = sa.Text()",
    "default": 'users.c.name.server_default = sa.DefaultClause("nobody")',
    "value": 'users.c.mood.type = sa.Enum("sad", "ok", "happy", name="mood")',
    "table that refers to it": """
sa.Table("notes", metadata, sa.Column("id", sa.Integer, primary_key=True),
         sa.Column("user", sa.Integer, sa.ForeignKey("users.id"), index=True))""",
    "several at once": """
column = sa.Column("x", sa.Integer, sa.ForeignKey("orgs.id"), index=True, nullable=False, server_default="1")
users.append_column(column)
users.c.email.nullable = False""",
}
INTRANS = psycopg2.extensions.TRANSACTION_STATUS_INTRANS
BLOCKING = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
LOOK = """
    SELECT c.relname, c.relfilenode, coalesce(s.seq_scan, 0), EXISTS (
        SELECT FROM pg_locks l WHERE l.relation = c.oid AND l.pid = pg_backend_pid() AND l.mode = ANY (%s))
    FROM pg_class c
    LEFT JOIN pg_stat_xact_user_tables s ON s.relid = c.oid
    WHERE c.relname IN ('users', 'orgs')
"""
ALONE = re.compile(
    r"\s*(?:CREATE (?:UNIQUE )?INDEX CONCURRENTLY|DROP INDEX CONCURRENTLY|ALTER TABLE \S+ VALIDATE)\b"
)
"""What runs outside of a transaction, under a lock that lets rows be read and written."""


def measured(project: Project) -> list[list[object]]:
    """Upgrade in a child, and return which tables it scanned or rewrote under a lock that keeps others out."""
    query = "SELECT relname, relfilenode FROM pg_class WHERE relname IN ('users', 'orgs')"
    files = {name: file for name, file in run_sql(project.database, query)}  # noqa: C416 - types
    reader, writer = os.pipe()
    found: list[object] = []
    before: dict[
        str, int
    ] = {}  # what was counted but is not reported yet, also by transactions before

    def look(cursor: faults.Counted, _number: int, sql: str) -> None:
        inside = cursor.connection.info.transaction_status == INTRANS
        plain = cursor.connection.cursor(cursor_factory=psycopg2.extensions.cursor)
        plain.execute(LOOK, (list(BLOCKING),))
        for name, file, scans, blocking in plain.fetchall():
            if inside and blocking and scans > before.get(name, 0):
                found.append([name, "scanned", sql])
            if file != files[name]:
                found.append([name, "rewritten", sql])
            before[name], files[name] = scans, file
        if not (inside or ALONE.match(sql)) and re.match(r"\s*(?:CREATE|DROP|ALTER)\b", sql):
            found.append(["", "outside of a transaction", sql])

    def work() -> None:
        faults.watched(after=look)
        faults.upgraded(project)
        os.write(writer, json.dumps(found).encode())

    assert faults.run_child(work) == faults.OK
    os.close(writer)
    with os.fdopen(reader) as pipe:
        return list(json.loads(pipe.read()))


def changed(project: Project, change: str) -> Sequence[str]:
    """Bring a target with rows to the first models, change these, and let the scripts be written."""
    project.models(BASE)
    module = project.settings.target_metadata.partition(":")[0]
    create = f"from {module} import metadata\nmetadata.create_all(op.get_bind())"
    project.script("before", upgrade=create, downgrade=create.replace("create_all", "drop_all"))
    faults.upgraded(project)
    run_sql(project.database, ROWS)
    project.models(f"{BASE}\n{change}\n")
    result = revision.revision(project.settings, "After")
    assert result.proved, result
    for path in filter(None, (result.path, result.then)):
        path.write_text(path.read_text().replace("'x': None", "'x': \"'filled'\""))
    return result.cautions


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_nobody_is_kept_waiting(project: Project, change: str) -> None:
    """Nothing reads a table from end to end, or writes it anew, under a lock that keeps readers or writers out."""
    changed(project, change)
    assert measured(project) == []


def test_type_that_rewrites_is_announced(project: Project) -> None:
    """A change of type that rewrites the table is told, with the way to do it in steps in the script."""
    cautions = changed(project, "users.c.age.type = sa.BigInteger()")
    assert "users is rewritten while nobody can read or write it" in cautions
    script = "".join(path.read_text() for path in project.versions.glob("*after*.py"))
    assert "add a second column" in script
    assert ["users", "rewritten"] in [found[:2] for found in measured(project)]


def test_online_can_be_turned_off(project: Project) -> None:
    """With `online = false` one script is written, as plain Alembic writes it."""
    project.settings = dataclasses.replace(project.settings, online=False)
    changed(project, CHANGES["several at once"])
    texts = [path.read_text() for path in project.versions.glob("*after*.py")]
    assert len(texts) == 1
    assert "op.online" not in texts[0]

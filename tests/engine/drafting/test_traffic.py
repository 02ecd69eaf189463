"""Scripts for ordinary changes of a table with rows scan and rewrite nothing under a lock that keeps others out."""

import json
import os
import re
from collections.abc import Sequence

import conftest
import faults
import psycopg2.extensions
import pytest
import sqlalchemy as sa
from conftest import Project, run_sql
from ordinary_changes import BASE, CHANGES, ROWS

from postgres_database.drafting import online_blocks
from postgres_database.history.operations import RunSql
from postgres_database.workflows import revision

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
"""Statements outside of a transaction whose lock lets others read and write rows."""


def measured(project: Project) -> list[list[object]]:
    """Upgrade in a child; return table, kind and statement of each rewrite, and of each scan under such a lock."""
    query = "SELECT relname, relfilenode FROM pg_class WHERE relname IN ('users', 'orgs')"
    files = {name: file for name, file in run_sql(project.database, query)}  # noqa: C416 - types
    reader, writer = os.pipe()
    found: list[object] = []
    before: dict[
        str, int
    ] = {}  # pg_stat_xact_* also counts earlier transactions, until they are reported

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


def changed(project: Project, change: str, rows: int = 500) -> Sequence[str]:
    """Bring a target with rows to BASE, change the models, and write the scripts; return the cautions."""
    project.models(BASE)
    module = project.settings.project.target_metadata.partition(":")[0]
    create = f"from {module} import metadata\nmetadata.create_all(op.get_bind())"
    project.script("before", upgrade=create, downgrade=create.replace("create_all", "drop_all"))
    faults.upgraded(project)
    run_sql(project.database, ROWS.format(rows=rows))
    project.models(f"{BASE}\n{change}\n")
    result = revision.write(*project.settings, "After")
    assert result.proved, result
    for path in filter(None, (result.path, result.then)):
        path.write_text(path.read_text().replace("'x': None", "'x': \"'filled'\""))
    return result.cautions


MILLION = pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])


@pytest.mark.long
@pytest.mark.parametrize("rows", [500, MILLION])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_ordinary_change_blocks_no_traffic(project: Project, change: str, rows: int) -> None:
    """No statement scans or rewrites a table under a lock that keeps readers or writers out."""
    changed(project, change, rows)
    assert measured(project) == []


def test_type_that_rewrites_is_announced(project: Project) -> None:
    """A change of type that rewrites the table is a caution, and the script says how to do it in steps."""
    cautions = changed(project, "users.c.age.type = sa.BigInteger()")
    assert "users is rewritten while others cannot read or write it" in cautions
    script = "".join(path.read_text() for path in project.versions.glob("*after*.py"))
    assert "add a second column" in script
    assert ["users", "rewritten"] in [seen[:2] for seen in measured(project)]


def test_unknown_effects_count_as_blocking(project: Project) -> None:
    """A statement that fails while it is measured counts as blocking; a line says that its effects are unknown."""
    failing = [RunSql("SELECT 1 / 0")]
    ((_, effects),) = online_blocks.measure(project.database, failing, sa.MetaData(), set())
    assert effects.blocking
    assert effects.lines() == ["what others wait for is not known: division by zero"]


def test_online_can_be_turned_off(project: Project) -> None:
    """With `online = false` one script is written, as plain Alembic writes it."""
    project.settings = conftest.changed(project.settings, online=False)
    changed(project, CHANGES["several at once"])
    texts = [path.read_text() for path in project.versions.glob("*after*.py")]
    assert len(texts) == 1
    assert "op.online" not in texts[0]


WIDENED = """
for column in (users.c.age, users.c.score, users.c.level):
    column.type = sa.BigInteger()
"""
VIEW = """
sa.event.listen(metadata, "after_create", sa.DDL("CREATE VIEW v AS SELECT score FROM users"))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("direction", "more"), [("upgrade", ""), ("downgrade", ""), ("upgrade", VIEW)]
)
def test_columns_of_one_table_are_rewritten_at_once(
    project: Project, direction: str, more: str
) -> None:
    """Changes of type that rewrite a table are one statement under one comment, also where a view blocks one."""
    columns = "sa.Column('score', sa.Integer), sa.Column('level', sa.Integer)"
    base = f"{BASE}{more}\nfor column in ({columns}):\n    users.append_column(column)\n"
    project.models(base)
    assert revision.write(*project.settings, "Before").proved
    project.models(base + WIDENED)
    result = revision.write(*project.settings, "After")
    assert result.proved, result
    assert result.path
    body = result.path.read_text().partition(f"def {direction}")[2].partition("\ndef ")[0]
    assert body.count("ALTER TABLE") == 1
    assert body.count("ALTER COLUMN") == 3
    assert "op.alter_column" not in body
    assert body.count("Others can neither read nor write users") == 1
    assert body.index("neither read") < body.index("ALTER TABLE")


PARTIAL = "\nsa.Index('ix_named', users.c.name, postgresql_where=users.c.name == 'ok')\n"


def test_a_rewrite_takes_the_drop_of_its_index_along(project: Project) -> None:
    """The first script drops an index that the new type does not fit, and rewrites; the second one only builds it."""
    project.models(BASE + PARTIAL)
    assert revision.write(*project.settings, "Before").proved
    project.models(f"{BASE}\nusers.c.name.type = users.c.mood.type\n{PARTIAL}")
    result = revision.write(*project.settings, "After")
    assert result.proved, result
    first, second = (path.read_text() for path in (result.path, result.then) if path)
    assert first.index("DROP INDEX") < first.index("op.alter_column")
    assert "op.online" not in first.partition("def downgrade")[0]
    assert "op.alter_column" not in second
    assert "op.create_index('ix_named'" in second

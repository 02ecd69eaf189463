"""Statements of pending scripts for which live traffic would wait are found on a scratch database."""

from dataclasses import replace

import pytest
from commands import Heard, up
from conftest import PASSWORD, Project, changed, run_sql

from postgres_database.reviewing import cautions
from postgres_database.reviewing.sizes import Size, Sizes
from postgres_database.scratch import databases
from postgres_database.server import dsn
from postgres_database.workflows import check, upgrade
from postgres_database.workflows.upgrade import Move

TABLES = "op.execute('CREATE TABLE a (id int PRIMARY KEY, n int, t text); CREATE TABLE b (id int)')"
MANY = "for n in range(8):\n    op.execute(f'{} TABLE c{{n}}{}')"
ROWS = "INSERT INTO a SELECT i, i, 'x' FROM generate_series(1, 9) i", "INSERT INTO b VALUES (1)"
READ, REWRITTEN = "is read from end to end while", "is rewritten while"
STATEMENTS = {
    "index": ("op.create_index('i', 'a', ['n'])", f"a {READ} it cannot be written; in op.online()"),
    "check": ("op.create_check_constraint('c', 'a', 'n > 0')", f"a {READ} it cannot be read or written"),
    "not null": ("op.alter_column('a', 'n', nullable=False)", f"a {READ}"),
    "type": ("op.execute('ALTER TABLE a ALTER n TYPE bigint')", f"a {REWRITTEN} it cannot be read"),
    "volatile default": ("op.execute('ALTER TABLE a ADD r float DEFAULT random()')", REWRITTEN),
    "in a loop": (
        "for n in range(3):\n    op.execute(f'UPDATE a SET n = {n}')",
        "rows that it changes stay locked until the script ends",
    ),
    "every row": ("op.execute('UPDATE a SET n = 1')", "rows that it changes stay locked until the script ends"),
    "no index": ("op.execute('DELETE FROM a WHERE n = 3')", "rows that it changes stay locked"),
    "validated at once": (
        "op.execute('ALTER TABLE a ADD CONSTRAINT c CHECK (n > 0) NOT VALID; ALTER TABLE a VALIDATE CONSTRAINT c')",
        f"VALIDATE CONSTRAINT c: a {READ}",
    ),
    "lock": (
        "op.execute('LOCK TABLE b IN SHARE MODE'); op.execute('UPDATE a SET n = 1')",
        f"UPDATE a SET n = …: a {READ} b cannot be written",
    ),
    "many locks": (
        f"{MANY.format('LOCK', '')}\nop.execute('UPDATE a SET n = 1')",
        f"a {READ} c0, c1, c2, c3, c4 and 3 others cannot be read or written",
    ),
    "column of another table": (
        "op.add_column('b', sa.Column('x', sa.Integer)); op.execute('UPDATE a SET n = 1')",
        f"a {READ} b cannot be read or written",
    ),
    "block": ("op.execute('DO $$BEGIN CREATE INDEX i ON a (n); END$$')", READ),
    "function": (
        "op.execute('CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$UPDATE a SET n = 1$$; SELECT f()')",
        "SELECT f(): a is read from end to end, and rows",
    ),
    "several tables": (
        "op.execute('LOCK TABLE a, b; SELECT n FROM a UNION ALL SELECT id FROM b')",
        "are read from end to end while they cannot be read or written",
    ),
    "vacuum": (
        "with op.get_context().autocommit_block():\n    op.execute('VACUUM FULL a')",
        f"a {REWRITTEN} it cannot be read",
    ),
    "by itself": (
        "with op.get_context().autocommit_block():\n    op.execute('CREATE INDEX i ON a (n)')",
        f"a {READ}",
    ),
    "rewritten online": ("with op.online():\n    op.execute('ALTER TABLE a ALTER n TYPE bigint')", REWRITTEN),
    "renamed": ("op.rename_table('a', 'z'); op.create_index('i', 'z', ['n'])", "a is read"),
    "fails": ("raise ValueError('of ours')", "is not known: ValueError"),
}  # fmt: skip
HARMLESS = {
    "column": "op.add_column('a', sa.Column('x', sa.Integer))",
    "by the key": "op.execute('UPDATE a SET n = 1 WHERE id = 3')",
    "inserted": "op.execute('INSERT INTO a VALUES (100, 1)')",
    "its own table": "op.create_table('c', sa.Column('n', sa.Integer)); op.create_index('i', 'c', ['n'])",
    "empty": "op.execute('DELETE FROM b'); op.execute('TRUNCATE a')",
    "concurrently": "with op.online():\n    op.create_index('i', 'a', ['n'])",
    "in steps": "with op.online():\n    op.alter_column('a', 'n', nullable=False)",
    "in batches": "with op.online():\n    op.backfill('a', {'n': 'n + 1'})",
    "only read": "op.get_bind().execute(sa.text('SELECT * FROM a'))",
}


@pytest.fixture
def pending(project: Project) -> Project:
    """A target at a revision that created two tables."""
    project.script(
        "one", "", f"{TABLES}\n{MANY.format('CREATE', ' ()')}", "op.execute('DROP TABLE a, b')"
    )
    up(project.settings, project.database)
    return project


def measured(project: Project, sizes: Sizes | None = None) -> list[str]:
    """Measure the pending script."""
    history = project.settings.project.history
    with databases.session(*project.settings) as session:
        plan = history.pending(("one",), "head")
        return cautions.find(session, project.settings.project, ("one",), plan, sizes=sizes)


def test_blocking_statements_are_reported(pending: Project) -> None:
    """A statement that scans or rewrites a locked table is reported with its line, the tables, and the effect."""
    wrong = {}
    for name, (statement, words) in STATEMENTS.items():
        path = pending.script("two", "one", statement)
        lines = measured(pending)
        place = f"{path.relative_to(pending.root)}, line " if name != "fails" else ""
        if len(lines) != 1 or words not in lines[0] or place not in lines[0]:
            wrong[name] = lines
    assert not wrong


def test_other_statements_are_not_reported(pending: Project) -> None:
    """Short locks, safe forms, new tables and tables that are empty in the target cause no caution."""
    wrong = {}
    for name, statement in HARMLESS.items():
        pending.script("two", "one", statement)
        if lines := measured(pending, {("public", "a"): Size(9)}):
            wrong[name] = lines
    assert not wrong


def test_dry_run_and_check_report_rows_of_the_target(pending: Project) -> None:
    """`upgrade --dry-run` and `check` report the estimated rows of the target, and no tables that are empty there."""
    pending.script(
        "two", "one", "op.create_index('i', 'a', ['n']); op.create_index('j', 'b', ['id'])"
    )
    settings = pending.settings
    dry = Move(dry_run=True)
    assert not upgrade.perform(*settings, pending.database, dry).cautions
    run_sql(pending.database, ROWS[0], "ANALYZE a")
    (line,) = upgrade.perform(*settings, pending.database, dry).cautions
    assert "CREATE INDEX i ON a (n): a (about 9 rows) is read" in line
    pending.models("sa.Table('a', metadata, sa.Column('id', sa.Integer, primary_key=True))")
    assert check.compare(*pending.settings, pending.database).cautions == (line,)
    assert len(check.compare(*pending.settings).cautions) == 2


@pytest.mark.long
def test_unmeasured_scripts_are_reported(pending: Project) -> None:
    """A dry run neither waits for a locked table nor needs a scratch server, but reports what it cannot measure."""
    pending.script("two", "one", "op.create_index('i', 'a', ['n'])")
    run_sql(pending.database, ROWS[0])
    notes: list[str] = []
    settings, heard = pending.settings, Heard(on_note=notes.append)
    with pending.database.connect(usual_path=True) as other, other.begin():
        other.exec_driver_sql("LOCK TABLE a")
        result = upgrade.perform(*settings, pending.database, Move(dry_run=True), heard)
    assert not result.cautions
    assert "is not measured" in notes[-1]
    assert "lock timeout" in notes[-1]
    nowhere = changed(settings, scratch=dsn.parse("postgresql://u@127.0.0.1:1/x"))
    assert not upgrade.perform(*nowhere, pending.database, Move(dry_run=True), heard).cautions
    assert "is not measured: cannot connect to u@127.0.0.1:1/x" in notes[-1]


def test_sizes_need_no_right_on_tables(pending: Project) -> None:
    """The number of rows is read from the catalog: the role needs no right on the table."""
    pending.script("two", "one", "op.create_index('i', 'a', ['n'])")
    run_sql(pending.database, ROWS[0], "GRANT SELECT ON alembic_version TO app")
    as_app = replace(
        pending.database, dsn=pending.database.dsn.with_parts(user="app", password=PASSWORD)
    )
    (line,) = upgrade.perform(*pending.settings, as_app, Move(dry_run=True)).cautions
    assert "a is read from end to end" in line

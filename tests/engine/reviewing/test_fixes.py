"""What to write instead of a statement, as code for the script; pure."""

from pathlib import Path

import pytest

from postgres_database.history.graph import Revision
from postgres_database.reviewing import fixes
from postgres_database.reviewing.statements import Lock, Measured, Relation

ONLINE = "with op.online():\n    "
FIXES = {
    "CREATE INDEX i ON t (n)": f"{ONLINE}op.execute('CREATE INDEX i ON t (n)')",
    "ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0)": (
        f"{ONLINE}op.execute('ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0)')"
    ),
    "ALTER TABLE s.t ADD u uuid DEFAULT gen_random_uuid()": (
        "op.execute('ALTER TABLE s.t ADD COLUMN u uuid')\n"
        "op.execute('ALTER TABLE s.t ALTER COLUMN u SET DEFAULT gen_random_uuid()')\n"
        f"{ONLINE}op.backfill('t', {{'u': 'gen_random_uuid()'}}, schema='s')"
    ),
    'ALTER TABLE "T" ADD COLUMN "X" int NOT NULL': (
        'op.execute(\'ALTER TABLE "T" ADD COLUMN "X" int\')\n'
        f"{ONLINE}op.backfill('T', {{'X': '…'}})  # what the rows that are there get\n"
        '    op.execute(\'ALTER TABLE "T" ALTER COLUMN "X" SET NOT NULL\')'
    ),
    "ALTER TABLE t ALTER n TYPE bigint USING n * 2": (
        "# in steps over several releases: a new column, which the application writes, too,"
        " before readers move to it\n"
        "op.execute('ALTER TABLE t ADD COLUMN n_new bigint')\n"
        f"{ONLINE}op.backfill('t', {{'n_new': 'n * 2'}})\n"
        "# a later revision, when no reader uses n: drop it and rename n_new"
    ),
    "ALTER TABLE t ADD EXCLUDE USING gist (r WITH &&)": fixes.QUIET,
    "VACUUM FULL t": fixes.SHRINK,
    "no SQL": fixes.QUIET,
    "UPDATE t SET (a, b) = (1, 2)": f"{fixes.APART.format('t', 'read or written')}\n{fixes.BATCHES}",
}


@pytest.mark.parametrize("sql", FIXES)
def test_code_instead_of_a_statement(sql: str) -> None:
    """A statement with a safe form gets code that can stand in its place; any other gets advice."""
    lock = Lock(Relation("public", "t", "table"), "AccessExclusiveLock")
    revision = Revision("one", "", Path("one.py"))
    measured = Measured(
        revision, 1, 1, sql, 0, online=False, safely=False, transaction=1, held=(lock,)
    )
    assert fixes.for_wait(measured, "") == FIXES[sql]

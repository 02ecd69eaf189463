"""What to write instead of a statement, as code for the script; pure."""

from pathlib import Path

import pytest

from postgres_database.history.graph import Revision
from postgres_database.reviewing import fixes
from postgres_database.reviewing.statements import Lock, Measured, Relation

ONLINE = "with op.online():\n    "
NAMED = "with op.online():  # with a name, so that it can be run again\n    "
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
    "ALTER TABLE t ADD CHECK (n > 0)": f"{NAMED}op.execute('ALTER TABLE t ADD CONSTRAINT t_n_check CHECK (n > 0)')",
    "ALTER TABLE s.t ADD UNIQUE (a, b)": (
        f"{NAMED}op.execute('ALTER TABLE s.t ADD CONSTRAINT t_a_b_key UNIQUE (a, b)')"
    ),
    "CREATE UNIQUE INDEX ON ONLY s.t USING btree (lower(a), b) WHERE b > 0": (
        f"{NAMED}op.execute('CREATE UNIQUE INDEX t_expr_b_idx ON ONLY s.t USING btree (lower(a), b) WHERE b > 0')"
    ),
    "REINDEX TABLE s.t": (
        "with op.get_context().autocommit_block():\n    op.execute('REINDEX TABLE CONCURRENTLY s.t')"
    ),
    "REINDEX DATABASE d": fixes.QUIET,
    "REFRESH MATERIALIZED VIEW m": (
        "# readers do not wait for it; it needs a unique index on columns of all rows\n"
        "op.execute('REFRESH MATERIALIZED VIEW CONCURRENTLY m')"
    ),
    "ALTER TABLE s.t ADD k bigserial": (
        "op.execute('ALTER TABLE s.t ADD COLUMN k bigint')\n"
        "op.execute('CREATE SEQUENCE s.t_k_seq AS bigint OWNED BY s.t.k')\n"
        "op.execute(\"ALTER TABLE s.t ALTER COLUMN k SET DEFAULT nextval('s.t_k_seq')\")\n"
        f"{ONLINE}op.backfill('t', {{'k': \"nextval('s.t_k_seq')\"}}, schema='s')\n"
        "    op.execute('ALTER TABLE s.t ALTER COLUMN k SET NOT NULL')"
    ),
    "ALTER TABLE t ADD c timestamptz NOT NULL DEFAULT clock_timestamp() UNIQUE": (
        "op.execute('ALTER TABLE t ADD COLUMN c timestamptz')\n"
        "op.execute('ALTER TABLE t ALTER COLUMN c SET DEFAULT clock_timestamp()')\n"
        f"{ONLINE}op.backfill('t', {{'c': 'clock_timestamp()'}})\n"
        "    op.execute('ALTER TABLE t ALTER COLUMN c SET NOT NULL')\n"
        "    op.execute('ALTER TABLE t ADD CONSTRAINT t_c_key UNIQUE (c)')"
    ),
    "ALTER TABLE t ADD c int GENERATED ALWAYS AS (n * 2) STORED": fixes.QUIET,
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

"""What is enforced before and after a revision is enforced at every moment between."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from answers import yes
from commands import down, up
from conftest import Project, run_sql

from postgres_database.drafting import online_blocks, stages
from postgres_database.proving.proof import Prover
from postgres_database.running import context
from postgres_database.running.autocommit import Autocommit
from postgres_database.workflows import revision

OWNER = """
sa.Table('person', metadata, sa.Column('id', sa.Integer, primary_key=True))
sa.Table('pet', metadata, sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('owner', sa.ForeignKey('person.id'{rule}, name='owner')))
"""
KEYS = """
from sqlalchemy.dialects.postgresql import ExcludeConstraint
sa.Table('person', metadata, sa.Column('id', sa.Integer, primary_key=True))
sa.Table('t', metadata, sa.Column('id', sa.Integer, autoincrement=False), sa.Column('a', sa.Integer, nullable=False),
    sa.Column('b', sa.Integer), sa.Column('c', sa.Integer), sa.Column('d', sa.Integer), {rules})
sa.Table('u', metadata, sa.Column('t', sa.Integer, sa.ForeignKey('t.id', name='u_t')))
"""
BEFORE = """
    sa.PrimaryKeyConstraint('id', name='pk'), sa.UniqueConstraint('b', name='b_key'),
    sa.CheckConstraint('c > 0', name='c_check'), sa.Index('c_index', 'c', unique=True),
    sa.Index('d_index', 'd', unique=True, postgresql_where='d > 0'),
    ExcludeConstraint(('a', '='), name='a_excluded', using='btree')
"""
AFTER = """
    sa.PrimaryKeyConstraint('id', 'a', name='pk'), sa.UniqueConstraint('id', name='id_key'),
    sa.UniqueConstraint('b', name='b_key', deferrable=True), sa.CheckConstraint('c > -1', name='c_check'),
    sa.Index('c_index', 'c', unique=True, postgresql_include=['b']),
    sa.Index('d_index', 'd', unique=True, postgresql_where='d > -5'),
    ExcludeConstraint(('a', '='), name='a_excluded', using='btree', where='b IS NULL OR a > -9')
"""
BREAKING = (
    "INSERT INTO t VALUES (1, 2, 2, 2)",
    "INSERT INTO t VALUES (2, 2, 1, 2)",
    "INSERT INTO t VALUES (2, 2, 2, 1)",
    "INSERT INTO t VALUES (2, 2, 2, -5)",
    "INSERT INTO t VALUES (2, 1, 2, 2)",
    "INSERT INTO t VALUES (NULL, 2, 2, 2)",
    "INSERT INTO t VALUES (2, 2, 2, 2, 1)",
    "INSERT INTO u VALUES (7)",
)


@contextmanager
def tried_between(
    project: Project, monkeypatch: pytest.MonkeyPatch, statements: tuple[str, ...]
) -> Iterator[list[str]]:
    """Try statements before each statement that commits by itself; yield the list of those that are accepted."""
    accepted: list[str] = []
    original = Autocommit.__init__

    def between() -> None:
        for statement in statements:
            try:
                run_sql(project.database, statement, "SELECT 1 / 0")
            except psycopg2.errors.DivisionByZero:
                accepted.append(statement)
            except psycopg2.IntegrityError:
                pass

    def watched(self: Autocommit, connection: sa.Connection) -> None:
        context.of(connection).between = between
        original(self, connection)

    with monkeypatch.context() as patched:
        patched.setattr(Autocommit, "__init__", watched)
        yield accepted
        between()


@pytest.mark.long
def test_changed_constraints_are_enforced_at_every_moment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that violates both the old and the new constraint is refused between all statements, up and down."""
    project.models(KEYS.format(rules=BEFORE))
    assert revision.write(*project.settings, "Init").proved
    up(project.settings, project.database, confirm=yes)
    run_sql(project.database, "INSERT INTO t VALUES (1, 1, 1, 1, 1)", "INSERT INTO u VALUES (1)")
    project.models(KEYS.format(rules=AFTER))
    result = revision.write(*project.settings, "Other rules")
    assert result.proved, result
    steps = 2 if result.then else 1
    with tried_between(project, monkeypatch, BREAKING) as accepted:
        up(project.settings, project.database, target="+1", confirm=yes)
    assert accepted == []
    with tried_between(project, monkeypatch, BREAKING) as accepted:
        up(project.settings, project.database, confirm=yes)
    assert accepted == []
    for _ in range(steps):
        with tried_between(project, monkeypatch, BREAKING) as accepted:
            down(project.settings, project.database, target="-1", confirm=yes)
        assert accepted == []


FILLED = """
sa.Table('t', metadata, sa.Column('id', sa.Integer, nullable=False, primary_key={key}, autoincrement=False), {columns},
    {new} postgresql_partition_by={by})
for statement in {made}:
    sa.event.listen(metadata, 'after_create', sa.DDL(statement))
"""
UUID = "sa.Column('u', sa.Uuid, server_default=sa.text('gen_random_uuid()'), nullable=False),"
PARTITION = "CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)"
OWN = "ALTER TABLE t1 ADD CONSTRAINT c "
PLAIN = "sa.Column('a', sa.Integer)"
# The columns and rules before and after, those of a partition, and a row that breaks both.
OTHERWISE = {
    "CHECK to NOT NULL": (
        f"{PLAIN}, sa.CheckConstraint('a IS NOT NULL', name='c')",
        "sa.Column('a', sa.Integer, nullable=False)",
        None,
        "INSERT INTO t VALUES (2, NULL)",
    ),
    "EXCLUDE to UNIQUE": (
        f"{PLAIN}, postgresql.ExcludeConstraint(('a', '='), name='c', using='btree')",
        f"{PLAIN}, sa.UniqueConstraint('a', name='c')",
        None,
        "INSERT INTO t VALUES (2, 1)",
    ),
    "CHECK of a partition": (
        PLAIN,
        PLAIN,
        (f"{OWN} CHECK (a > 0)", f"{OWN} CHECK (a > -1)"),
        "INSERT INTO t VALUES (1, -5)",
    ),
    "key of a partition": (
        PLAIN,
        f"{PLAIN}, sa.UniqueConstraint('id', 'a', name='c')",
        (f"{OWN} UNIQUE (id, a)", "SELECT"),
        "INSERT INTO t VALUES (1, 1)",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("case", OTHERWISE)
def test_rule_in_another_form_is_enforced_at_every_moment(
    project: Project, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """A rule that both ends imply in different forms is enforced between all statements, also beside a backfill."""
    *ends, own, breaking = OTHERWISE[case]
    for place, (columns, new) in enumerate(zip(ends, ("", UUID), strict=True)):
        made = (PARTITION, own[place]) if own else ()
        by = "'LIST (id)'" if own else None
        facts = {"columns": columns, "new": new, "made": made, "by": by, "key": not own}
        project.models("from sqlalchemy.dialects import postgresql\n" + FILLED.format(**facts))
        result = revision.write(*project.settings, "Rules")
        assert result.proved, result
        if not place:
            up(project.settings, project.database, confirm=yes)
            run_sql(project.database, "INSERT INTO t VALUES (1, 1)")
    steps = 2 if result.then else 1
    for run, target in [(up, "+1")] * steps + [(down, "-1")] * steps:
        with tried_between(project, monkeypatch, (breaking,)) as accepted:
            run(project.settings, project.database, target=target, confirm=yes)
        assert accepted == []


@pytest.mark.long
def test_changed_foreign_key_refuses_orphans_between_its_scripts(project: Project) -> None:
    """The first of two scripts ends with the new foreign key, which the second one validates."""
    project.models(OWNER.format(rule=""))
    assert revision.write(*project.settings, "Init").proved
    project.models(OWNER.format(rule=", ondelete='CASCADE'"))
    result = revision.write(*project.settings, "Cascade")
    assert result.proved
    assert result.path is not None
    assert result.then is not None
    assert "NOT VALID" in result.path.read_text()
    assert "VALIDATE CONSTRAINT" in result.then.read_text().partition("def downgrade")[0]
    up(project.settings, project.database, target="+2", confirm=yes)
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        run_sql(project.database, "INSERT INTO pet VALUES (1, 1)")
    up(project.settings, project.database, confirm=yes)
    assert revision.write(*project.settings, "Again").path is None


@pytest.mark.long
def test_key_that_changes_is_built_beside_live_traffic(project: Project) -> None:
    """The index of the new key is built first, under a temporary name; only the swap needs a lock, for a moment."""
    project.models(
        KEYS.format(rules="sa.PrimaryKeyConstraint('id'), sa.UniqueConstraint('b', name='k')")
    )
    assert revision.write(*project.settings, "Init").proved
    up(project.settings, project.database, confirm=yes)
    rules = "sa.PrimaryKeyConstraint('id'), sa.UniqueConstraint('b', name='k', deferrable=True)"
    project.models(KEYS.format(rules=rules))
    result = revision.write(*project.settings, "Deferrable")
    assert result.proved
    assert result.path is not None
    for part in result.path.read_text().split("def ")[1:]:
        build, _, swap = part.partition("with op.online():\n")[2].partition("ALTER TABLE")
        assert "CREATE UNIQUE INDEX k_new ON" in build
        assert "DROP CONSTRAINT k, ADD CONSTRAINT k UNIQUE USING INDEX k_new" in swap
    up(project.settings, project.database, confirm=yes)
    assert revision.write(*project.settings, "Again").path is None


@pytest.mark.long
def test_scripts_become_one_if_a_constraint_is_missing_between_them(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof names what is not enforced between two scripts; one transactional script is written instead."""
    project.models(OWNER.format(rule=""))
    assert revision.write(*project.settings, "Init").proved
    project.models(OWNER.format(rule=", ondelete='CASCADE'"))
    for module in (stages, online_blocks):
        blind = type("Blind", (), {"gaps": staticmethod(lambda *_: [])})
        monkeypatch.setattr(module, "enforced", blind)
    unguarded: list[tuple[str, ...]] = []
    prove = Prover.prove

    def heard(self: Prover, *arguments: Any) -> Any:
        proof = prove(self, *arguments)
        unguarded.append(proof.unguarded)
        return proof

    monkeypatch.setattr(Prover, "prove", heard)
    result = revision.write(*project.settings, "Cascade")
    assert unguarded == [("owner of table pet is not enforced",), ()]
    assert result.proved
    assert result.then is None
    assert revision.TOGETHER in result.cautions
    assert len(project.scripts()) == 2

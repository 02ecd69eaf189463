"""Which changes of keys and indexes are done online, and which need not be."""

import pytest
from answers import yes
from commands import up
from conftest import Project

from postgres_database.workflows import revision

BEFORE = """
sa.Table('t', metadata, sa.Column('id', sa.Integer, primary_key=True), sa.Column('a', sa.Integer), sa.Index('ix', 'a'))
sa.Table('e', metadata, sa.Column('id', sa.Integer, nullable=False), postgresql_partition_by='LIST (id)')
"""
AFTER = """
sa.Table('t', metadata, sa.Column('id', sa.Integer, primary_key=True), sa.Column('a', sa.Integer),
    sa.Index('ix', 'a', 'id'))
sa.Table('e', metadata, sa.Column('id', sa.Integer, sa.ForeignKey('t.id', name='e_t'), nullable=False),
    sa.UniqueConstraint('id', name='u'), postgresql_partition_by='LIST (id)')
sa.Table('n', metadata, sa.Column('id', sa.Integer), sa.Index('n_ix', 'id'))
"""


@pytest.mark.long
def test_index_exists_at_every_moment(project: Project) -> None:
    """An index is swapped for its replacement; a partitioned table without partitions counts as having rows."""
    project.models(BEFORE)
    first = revision.write(*project.settings, "Init")
    assert first.proved
    assert first.path
    assert "op.online()" not in first.path.read_text()
    up(project.settings, project.database, confirm=yes)
    project.models(AFTER)
    result = revision.write(*project.settings, "Next")
    assert result.proved
    assert result.path
    assert result.then
    transaction, online = result.path.read_text(), result.then.read_text()
    assert "op.online()" not in transaction
    assert "n_ix" in transaction
    up_online = online.partition("def downgrade")[0].partition("with op.online():")[2]
    build, swap = up_online.index("CREATE INDEX ix_new"), up_online.index("DROP INDEX public.ix;")
    assert build < swap < up_online.index("RENAME TO ix;")
    assert "create_foreign_key('e_t'" in up_online
    assert "create_unique_constraint('u'" in up_online


SETTINGS = """
sa.Table('t', metadata, sa.Column('id', sa.Integer, primary_key=True), sa.Column('a', sa.Integer, nullable=False),
    sa.Index('u', {}, unique=True))
sa.event.listen(metadata, 'after_create', sa.DDL('ALTER TABLE t REPLICA IDENTITY USING INDEX u'))
sa.event.listen(metadata, 'after_create', sa.DDL('ALTER TABLE t CLUSTER ON u'))
"""


@pytest.mark.long
def test_no_script_without_effect(project: Project) -> None:
    """Settings of an index that is swapped are made with it, not in a script before, where nothing changes."""
    project.models(SETTINGS.format("'a'"))
    revision.write(*project.settings, "Init")
    up(project.settings, project.database, confirm=yes)
    project.models(SETTINGS.format("'a', 'id'"))
    result = revision.write(*project.settings, "Next")
    assert result.proved
    assert result.path
    assert not result.then
    assert "CREATE UNIQUE INDEX u_new" in result.path.read_text()

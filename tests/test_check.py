"""Whether models and history agree, and where every environment stands."""

from conftest import Project, as_text, run_sql

from postgres_database import check, history, settings, upgrade

TABLE = "sa.Table('t', metadata, sa.Column('id', sa.Integer, primary_key=True))"
CREATE = "op.create_table('t', sa.Column('id', sa.Integer, primary_key=True))"


def yes(_question: str, _details: object) -> bool:
    return True


def test_models_and_history_that_agree(project: Project) -> None:
    """Models that the history leads to are clean, and nothing is said of them."""
    project.models(TABLE)
    project.script("aaaa", "", CREATE)
    result = check.check(project.settings)
    assert result.clean
    assert result.heads == ("aaaa",)


def test_models_that_are_ahead(project: Project) -> None:
    """A change of the models without a script is found, whatever the target holds."""
    run_sql(project.database, "CREATE TABLE t (id int PRIMARY KEY)")
    project.models(TABLE)
    result = check.check(project.settings)
    assert not result.clean
    assert result.differences is not None
    assert result.differences.detected == ("add table t",)
    assert "TABLE t" in [str(item.key) for item in result.differences.objects]


def test_difference_that_alembic_does_not_see(project: Project) -> None:
    """A constraint with another expression is found, though Alembic has no words for it."""
    project.models(TABLE[:-1] + ", sa.CheckConstraint('id > 1'))")
    project.script("aaaa", "", CREATE[:-1] + ", sa.CheckConstraint('id > 0', name='t_id_check'))")
    result = check.check(project.settings)
    assert result.differences is not None
    assert result.differences.detected == ()
    assert [str(item.key) for item in result.differences.objects] == ["TABLE t"]


def test_several_heads_are_told(project: Project) -> None:
    """With several heads there is nothing to compare with: they are named."""
    project.models(TABLE)
    project.script("aaaa")
    project.script("bbbb")
    result = check.check(project.settings)
    assert not result.clean
    assert result.heads == ("aaaa", "bbbb")


def test_status_of_every_environment(project: Project) -> None:
    """Each environment is a row: where it stands, what is pending, or why nobody knows."""
    project.script("aaaa", "", CREATE)
    project.script("bbbb", "aaaa")
    dsn = as_text(project.database.dsn)
    for name, line in {
        "good": f"POSTGRES_DSN={dsn}",
        "gone": "POSTGRES_DSN=host=/nowhere user=x dbname=y",
        "odd": "POSTGRES_DSN=mysql://x",
        "empty": "PROTECTED=1",
    }.items():
        (project.root / f".env.{name}").write_text(line + "\n")
    upgrade.upgrade(project.settings, project.database, target="aaaa", confirm=yes)
    scripts = history.read(project.settings)
    found = check.status(scripts, [*settings.env_files(project.root)], project.root)
    rows = {row.environment: row for row in found}
    assert sorted(rows) == ["empty", "gone", "good", "odd"]
    assert rows["good"].revision == ("aaaa",)
    assert rows["good"].pending == ("bbbb  Message of bbbb",)
    assert rows["good"].version.partition(".")[0].isdigit()
    assert "/nowhere" in rows["gone"].fault
    assert "must start with postgresql://" in rows["odd"].fault
    assert "has no POSTGRES_DSN" in rows["empty"].fault


def test_status_of_an_unknown_revision(project: Project) -> None:
    """A database at a revision of somebody else's is told as such."""
    project.script("aaaa", "", CREATE)
    upgrade.upgrade(project.settings, project.database, confirm=yes)
    run_sql(project.database, "UPDATE alembic_version SET version_num = 'other'")
    (project.root / ".env.x").write_text(f"POSTGRES_DSN={as_text(project.database.dsn)}\n")
    (row,) = check.status(history.read(project.settings), ["x"], project.root)
    assert row.fault == "revision other is not in migration/versions"

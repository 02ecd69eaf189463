"""Where every environment stands."""

from conftest import Project, as_text, run_sql

from postgres_database import history, settings, status, upgrade

CREATE = "op.create_table('t', sa.Column('id', sa.Integer, primary_key=True))"


def yes(_question: str, _details: object) -> bool:
    return True


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
    found = status.status(scripts, [*settings.env_files(project.root)], project.root)
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
    (row,) = status.status(history.read(project.settings), ["x"], project.root)
    assert row.fault == "revision other is not in migration/versions"

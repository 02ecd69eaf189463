"""Upgrade and downgrade of a target."""

import pytest
from conftest import Project, run_sql

from postgres_database import upgrade
from postgres_database.errors import ExpectedError


def yes(_question: str, _details: object) -> bool:
    return True


def test_smoke(project: Project) -> None:
    """Every revision is applied in order."""
    project.script(
        "aaaa", "", "op.execute('CREATE TABLE t (id int)')", "op.execute('DROP TABLE t')"
    )
    project.script(
        "bbbb",
        "aaaa",
        "op.execute('ALTER TABLE t ADD x int')",
        "op.execute('ALTER TABLE t DROP x')",
    )
    result = upgrade.upgrade(project.settings, project.database, confirm=yes)
    assert result.after == ("bbbb",)
    run_sql(project.database, "INSERT INTO t VALUES (1, 2)")
    result = upgrade.downgrade(project.settings, project.database, confirm=yes)
    assert result.after == ("aaaa",)

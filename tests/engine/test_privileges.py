"""docs/privileges.md is enough: its role migrates, and its application reads and writes."""

import re
import secrets
from collections.abc import Callable
from dataclasses import replace

import psycopg2
import pytest
from commands import up
from conftest import PASSWORD, ROOT, Project, Settings, changed, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.running import log
from postgres_database.server.connection import Database
from postgres_database.server.version_table import VersionTable
from postgres_database.workflows import check, review

BLOCK = re.compile(r"```sql\n(.*?)```", re.DOTALL)
UPGRADE = """
op.execute('CREATE SCHEMA more')
op.create_table('t', sa.Column('id', sa.Integer, sa.Identity(), primary_key=True), sa.Column('n', sa.Integer))
with op.online():
    op.create_index('i', 't', ['n'])
    op.backfill('t', {'n': '1'})
"""


def test_statements_of_the_page_are_enough(project: Project, server: Database) -> None:
    """With exactly these statements scripts are run by one role, and rows are written by the other."""
    page = (ROOT / "docs" / "privileges.md").read_text(encoding="utf-8")
    mark = secrets.token_hex(4)
    names = {name: f"{name}_{mark}" for name in ("migrator", "app", "shop")}
    found = BLOCK.search(page)
    assert found
    text = re.sub(r"\b(migrator|app|shop)\b", lambda match: names[match[0]], found[1])
    outside, inside = text.split(f"\\c {names['shop']}")
    maintenance = replace(server, cursor=None)
    with maintenance.connect(autocommit=True) as connection:
        for statement in outside.split(";\n")[:-1]:
            connection.exec_driver_sql(statement)
        # Those who are in this group log in to the server of the tests by a password.
        connection.exec_driver_sql(f"GRANT logins TO {names['app']}, {names['migrator']}")
    shop = replace(server, dsn=server.dsn.with_parts(dbname=names["shop"]))
    try:
        run_sql(shop, inside)
        migrator, app = (
            replace(shop, dsn=shop.dsn.with_parts(user=names[who], password="…"))
            for who in ("migrator", "app")
        )
        project.script("one", "", UPGRADE, "op.drop_table('t'); op.execute('DROP SCHEMA more')")
        up(project.settings, migrator)
        assert run_sql(app, "INSERT INTO t (n) VALUES (2) RETURNING id, n") == [(1, 2)]
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run_sql(app, "CREATE TABLE mine ()")
    finally:
        with maintenance.connect(autocommit=True) as connection:
            connection.exec_driver_sql(f"DROP DATABASE {names['shop']} WITH (FORCE)")
            connection.exec_driver_sql(f"DROP ROLE {names['app']}, {names['migrator']}")


READING: dict[str, Callable[[Settings, Database], object]] = {
    "check": lambda settings, reader: check.compare_target(*settings, reader),
    "review": lambda settings, reader: review.perform(*settings, reader),
    "dry run": lambda settings, reader: up(settings, reader, dry_run=True),
    "history": lambda _, reader: log.read(reader),
}


def test_role_that_only_reads(role: str, project: Project) -> None:
    """Commands that only read ask for no more than rights to read, and each GRANT that they name is right."""
    project.script("one", "", "op.execute('CREATE TABLE t (x int)')")
    project.script("two", "one", "op.execute('ALTER TABLE t ADD y int')")
    settings = changed(project.settings, versions=VersionTable(schema="apart"))
    owner = replace(project.database, versions=settings.project.versions)
    up(settings, owner, "one")
    run_sql(owner, f"ALTER ROLE {role} PASSWORD '{PASSWORD}'; GRANT logins TO {role}")
    reader = replace(owner, dsn=owner.dsn.with_parts(user=role, password=PASSWORD))
    granted = []
    for name, read in READING.items():
        for _ in range(4):
            try:
                read(settings, reader)
            except ExpectedError as error:
                (grant,) = re.findall(r"invoke psql --user \S+ --command '(GRANT .*)'", error.hint)
                granted.append(grant)
                run_sql(owner, grant)
            else:
                break
        else:
            pytest.fail(f"{name} still asks after {granted}")
    assert granted == [
        f"GRANT USAGE ON SCHEMA apart TO {role}",
        f"GRANT SELECT ON apart.alembic_version TO {role}",
        f"GRANT pg_read_all_data TO {role}",
    ]

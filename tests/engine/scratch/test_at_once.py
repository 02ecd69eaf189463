"""What another command does on the scratch server between two statements of one."""

import secrets
import time
from collections.abc import Iterable, Iterator
from threading import Thread

import pytest
import sqlalchemy as sa
from conftest import Project, changed, run_sql

from postgres_database.scratch import databases
from postgres_database.scratch.databases import PREFIX
from postgres_database.server import cluster
from postgres_database.server.connection import Database

WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'GRANT%{}%'"


@pytest.fixture
def name(server: Database) -> Iterator[str]:
    """A name for a role and a tablespace, which are dropped."""
    name = f"{PREFIX}{secrets.token_hex(6)}"  # by such a one the test server lets us in
    yield name
    with server.connect(autocommit=True) as connection:
        connection.exec_driver_sql(f"DROP TABLESPACE IF EXISTS {name}")
        connection.exec_driver_sql(f"DROP ROLE IF EXISTS {name}")


def test_a_role_that_another_command_creates(
    project: Project, server: Database, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles and tablespaces that were missing a moment ago are there, and that is no error."""
    find = cluster._missing
    made = {
        "pg_roles": f"CREATE ROLE {name}",
        "pg_tablespace": f"CREATE TABLESPACE {name} LOCATION ''",
    }

    def missing(connection: sa.Connection, names: Iterable[str], query: str) -> list[str]:
        found = find(connection, names, query)
        with server.connect(autocommit=True) as other:
            other.exec_driver_sql("SET allow_in_place_tablespaces = on")
            other.exec_driver_sql(made[query.rpartition(" ")[2]])
        return found

    monkeypatch.setattr(cluster, "_missing", missing)
    with databases.session(*project.settings) as session:
        session.provide([name], [name])
    assert run_sql(server, f"SELECT rolcanlogin FROM pg_roles WHERE rolname = '{name}'") == [
        (False,)
    ]


def test_a_template_whose_drop_was_interrupted(project: Project, server: Database) -> None:
    """The server may be stopped while a command drops a template: what is left of it is dropped, and made again."""
    project.script("aaaa", "", "op.execute('CREATE TABLE t (id int)')")
    project.script("bbbb", "aaaa", "op.execute('CREATE TABLE u (id int)')")
    here, environment = project.settings
    for ids in (["aaaa"], ["aaaa"], ["bbbb"]):
        with databases.session(here, environment) as session:
            assert run_sql(session.at(here, ids), "SELECT to_regclass('t') IS NOT NULL") == [
                (True,)
            ]
            names = [*session._templates.names()]
        run_sql(
            server,
            f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = ANY (ARRAY{names})",
        )


def test_connections_that_other_commands_have(
    project: Project, server: Database, name: str
) -> None:
    """Where no second connection is to be had, a session drops its databases all the same."""
    run_sql(server, f"CREATE ROLE {name} LOGIN CREATEDB CONNECTION LIMIT 1")
    settings = changed(project.settings, scratch=server.dsn.with_parts(user=name))
    with databases.session(*settings) as session:
        made = [session.empty().dsn.database for _ in range(3)]
    assert not run_sql(server, f"SELECT FROM pg_database WHERE datname = ANY (ARRAY{made})")


def test_a_membership_that_another_command_grants(
    project: Project, server: Database, name: str
) -> None:
    """The owner of scratch databases becomes a member of a role once; two commands may need it at once."""
    run_sql(server, f"CREATE ROLE {name}")
    errors: list[Exception] = []
    with databases.session(*project.settings) as session:

        def provide() -> None:
            try:
                session.rights.provide([name])
            except Exception as error:  # noqa: BLE001 - the test shows it
                errors.append(error)

        beside = Thread(target=provide)
        with server.connect() as other, other.begin():
            other.exec_driver_sql(f"GRANT {name} TO {session.rights.owner}")
            beside.start()
            while not run_sql(server, WAITING.format(name)):
                time.sleep(0.01)
        beside.join()
    assert errors == []

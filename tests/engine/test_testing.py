"""What every history must hold: the team's tests pass where it holds, and say what does not."""

import sys
from typing import Any

import pytest
from checkouts import Checkout, as_text
from conftest import Project, run_sql

from postgres_database.server.connection import Database
from postgres_database.testing import Schema

TABLE = "op.execute('CREATE TABLE t (id int PRIMARY KEY)')"
DROP = "op.drop_table('t')"
SHOP = '''
"""Models of a shop."""

import sqlalchemy as sa

from postgres_database.naming import NAMING_CONVENTION

metadata = sa.MetaData(naming_convention=NAMING_CONVENTION)
sa.Table("orders", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer, unique=True))
'''


def fresh(checkout: Checkout, _database: Database) -> None:
    """Models of one's own and the first script of them."""
    (checkout.root / "shop.py").write_text(SHOP)
    ini = checkout.root / "alembic.ini"
    ini.write_text(ini.read_text().replace("postgres_database.models:metadata", "shop:metadata"))
    done(checkout, "init", "--fresh", "--yes")
    done(checkout, "revision", "--msg", "Init tables")


def adopted(checkout: Checkout, database: Database) -> None:
    """A database that is online, whose scripts are lost."""
    checkout.env_file("online", POSTGRES_DSN=as_text(database.dsn))
    done(checkout, "upgrade", "--env", "online")
    run_sql(database, "INSERT INTO file_meta_data VALUES ('a')", "DROP TABLE alembic_version")
    done(checkout, "init", "--fresh", "--yes")
    done(checkout, "baseline-existing", "--env", "online")


def done(checkout: Checkout, *command: str) -> None:
    ran = checkout.invoke(*command)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_tests_of_the_team_pass_in_the_clone_as_it_is(clone: Checkout) -> None:
    """What is shipped holds what any history must hold."""
    tests_of_the_team_pass(clone)


@pytest.mark.long
@pytest.mark.parametrize("begin", [fresh, adopted])
def test_tests_of_the_team_pass(checkout: Checkout, database: Database, begin: Any) -> None:
    """With a history of one's own, and after an adoption."""
    begin(checkout, database)
    tests_of_the_team_pass(checkout)


def tests_of_the_team_pass(checkout: Checkout) -> None:
    ran = checkout.run(sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/schema")
    assert ran.returncode == 0, ran.stdout
    scripts = [*(checkout.root / "migration" / "versions").glob("*.py")]
    assert f"{len(scripts) + 3} passed" in ran.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    ("upgrade", "downgrade", "said"),
    [
        (TABLE, DROP, ""),
        (TABLE, "op.refuse('no way back')", ""),
        ("op.execute('ALTER TABLE u ADD n int NOT NULL')", "op.drop_column('u', 'n')", ""),
        (TABLE, "pass", "after the downgrade: TABLE t is"),
        ("op.execute('DROP TABLE nowhere')", "pass", 'table "nowhere" does not exist'),
        (
            "op.execute('CREATE TABLE IF NOT EXISTS t (id int)')",
            "op.execute('CREATE TABLE w (id int)')",
            "after the downgrade: TABLE t is",
        ),
        (TABLE, "op.execute('DROP TABLE nowhere')", 'table "nowhere" does not exist'),
    ],
)
def test_script_must_lead_there_and_back(
    project: Project, upgrade: str, downgrade: str, said: str
) -> None:
    """What fails, or is left over, is said; a script may refuse to be undone."""
    project.script("aaaa", "", "op.execute('CREATE TABLE u (id int)')", "op.drop_table('u')")
    project.script("bbbb", "aaaa", upgrade, downgrade)
    schema = Schema(*project.settings)
    first, second = schema.revisions
    assert schema.there_and_back(first) == ()
    faults = schema.there_and_back(second)
    assert any(said in fault for fault in faults) if said else faults == ()


def test_models_must_be_what_the_scripts_make(project: Project) -> None:
    """Each object that differs is named; several heads are no history to compare with."""
    project.models("sa.Table('t', metadata, sa.Column('id', sa.Integer))")
    assert Schema(*project.settings).differences() == ("TABLE t",)
    project.script("aaaa", "", "op.execute('CREATE TABLE t (id int)')", DROP)
    assert Schema(*project.settings).differences() == ()
    project.script("bbbb", "aaaa")
    project.script("cccc", "aaaa")
    assert Schema(*project.settings).differences() == ("there are 2 heads",)
    assert Schema(*project.settings).heads == ("bbbb", "cccc")


@pytest.mark.parametrize(
    ("convention", "expected"),
    [
        ("{}", ()),
        ("{'pk': 'pk_%(table_name)s'}", ("t: CheckConstraint",)),
        ("{'pk': 'pk_%(table_name)s', 'ck': 'ck_%(table_name)s'}", ()),
    ],
)
def test_constraints_have_names(
    project: Project, convention: str, expected: tuple[str, ...]
) -> None:
    """Where the models have a convention, nothing is left without a name."""
    project.models(f"""
        metadata = sa.MetaData(naming_convention={convention})
        sa.Table("t", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.CheckConstraint("id > 0"))
    """)
    assert Schema(*project.settings).anonymous() == expected

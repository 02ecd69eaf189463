"""Rows are made up only in tables whose rows a drafted script may meet, where that is certain."""

from collections.abc import Iterator

import pytest
from conftest import fresh, run_sql

from postgres_database.proving import affected, made_up_rows
from postgres_database.schema import comparison
from postgres_database.schema.comparison import Comparison
from postgres_database.schema.scope import EVERYTHING
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name

SHOP = """
    CREATE TABLE land (id int PRIMARY KEY);
    CREATE TABLE town (id int PRIMARY KEY, land int NOT NULL REFERENCES land);
    CREATE TABLE shop (id int PRIMARY KEY, town int REFERENCES town);
    CREATE TABLE sale (id int PRIMARY KEY, shop int REFERENCES shop, kind int REFERENCES town);
    CREATE TABLE item (id int PRIMARY KEY, sale int REFERENCES sale);
    CREATE TABLE apart (id serial PRIMARY KEY, note text);
    CREATE TABLE "Away; from" (id int PRIMARY KEY, "A part" int REFERENCES apart);
    CREATE TABLE logbook (id int) PARTITION BY LIST (id);
    CREATE TABLE logbook_1 PARTITION OF logbook FOR VALUES IN (1);
    CREATE TABLE older (id int);
    CREATE TABLE younger (more int) INHERITS (older);
    CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql RETURN $1 * 2;
    CREATE FUNCTION same(int, int) RETURNS bool IMMUTABLE LANGUAGE sql RETURN $1 = $2;
    CREATE FUNCTION of_town(town) RETURNS int IMMUTABLE LANGUAGE sql RETURN $1.id;
    CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
"""
MET: dict[str, tuple[str, set[str] | None]] = {
    "column": ("ALTER TABLE land ADD note text", {"land", "town"}),
    "middle": ("ALTER TABLE shop ALTER town TYPE bigint", {"land", "town", "shop", "sale"}),
    "leaf": ("ALTER TABLE item ADD CHECK (id > 0)", {"land", "town", "shop", "sale", "item"}),
    "index": ("CREATE INDEX ON apart (note)", {"apart", "Away; from"}),
    "key named like a key": (
        'ALTER TABLE item ADD "its REFERENCES public.apart" int REFERENCES land',
        {"land", "town", "shop", "sale", "item"},
    ),
    "quoted": ('COMMENT ON TABLE "Away; from" IS $$; x$$', {"apart", "Away; from"}),
    "new key": ("ALTER TABLE apart ADD land int REFERENCES land", {"land", "apart", "Away; from"}),
    "new table": ("CREATE TABLE extra (id int, town int REFERENCES town)", {"land", "town", "extra"}),
    "dropped": ('DROP TABLE "Away; from"', {"apart", "Away; from"}),
    "owned sequence": ("ALTER TABLE apart ADD n serial", {"apart", "Away; from"}),
    "free sequence": ("CREATE SEQUENCE free", None),
    "type": ("CREATE TYPE mood AS ENUM ('sad')", None),
    "view": ("CREATE VIEW seen AS SELECT id FROM land", None),
    "partitioned": ("ALTER TABLE logbook ADD note text", None),
    "partition": ("ALTER TABLE logbook_1 ADD CHECK (id > 0)", None),
    "parent": ("ALTER TABLE older ADD note text", None),
    "child": ("ALTER TABLE younger ADD note text", None),
    "function of ours": ("ALTER TABLE apart ADD CHECK (twice(id) > 0)", None),
    "function by name": ("ALTER TABLE apart ADD n int DEFAULT public.twice(2)", None),
    "trigger": ("CREATE TRIGGER t BEFORE INSERT ON apart FOR EACH ROW EXECUTE FUNCTION noted()", None),
    "rule": ("CREATE RULE r AS ON DELETE TO apart DO INSTEAD NOTHING", None),
}  # fmt: skip


@pytest.fixture
def goal(server: Database) -> Iterator[Database]:
    """Another fresh empty database."""
    with fresh(server) as made:
        yield made


def met(database: Database, goal: Database) -> frozenset[Name] | None:
    """Return which tables a script from one database to the other may meet the rows of."""
    left, right = comparison.sides(database, goal)
    return affected.tables(Comparison(EVERYTHING, left, right, ()))


@pytest.mark.parametrize(("change", "tables"), MET.values(), ids=MET)
def test_tables_that_are_met(
    database: Database, goal: Database, change: str, tables: set[str] | None
) -> None:
    """Those of the difference, what references them and what rows need; any where something else may run."""
    run_sql(database, SHOP)
    run_sql(goal, SHOP, change)
    found = met(database, goal)
    assert found == (None if tables is None else {Name("public", table) for table in tables})


@pytest.mark.parametrize(
    ("there", "reach"),
    [
        ("CREATE TRIGGER t AFTER UPDATE ON sale FOR EACH ROW EXECUTE FUNCTION noted()", "any"),
        ("CREATE TRIGGER t AFTER UPDATE ON item FOR EACH ROW EXECUTE FUNCTION noted()", "some"),
        ("ALTER TABLE shop ADD CHECK (twice(id) > 0)", "any"),
        ("ALTER TABLE item ADD CHECK (twice(id) > 0)", "some"),
        ("CREATE CAST (town AS int) WITH FUNCTION of_town(town)", "any"),
        ("CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = same)", "any"),
        ("CREATE DOMAIN even AS int CHECK (twice(VALUE) > 0); ALTER TABLE item ADD e even", "any"),
    ],
)
def test_what_runs_already(database: Database, goal: Database, there: str, reach: str) -> None:
    """A trigger of a table that is met, or a function that a changed one calls, may do anything."""
    for side in (database, goal):
        run_sql(side, SHOP, there)
    run_sql(goal, "ALTER TABLE shop ADD note text")
    assert ("any" if met(database, goal) is None else "some") == reach


def test_rows_of_these_tables_only(database: Database, goal: Database) -> None:
    """Where the tables are known no other gets rows, and those of the history stay."""
    run_sql(database, SHOP, "INSERT INTO apart (note) VALUES ('of a script')")
    run_sql(goal, SHOP, "ALTER TABLE shop ADD note text")
    assert made_up_rows.fill(database, goal, met(database, goal)) == ()
    rows = {
        table: run_sql(database, f"SELECT count(*) FROM {table}")[0][0]
        for table in ("land", "town", "shop", "sale", "item", "apart", "older")
    }
    expected = {"land": 3, "town": 3, "shop": 3, "sale": 3, "item": 0, "apart": 1, "older": 0}
    assert rows == expected

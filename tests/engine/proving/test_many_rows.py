"""Tables of a scratch database get many rows, whatever their constraints are."""

from conftest import fresh, run_sql

from postgres_database.proving import many_rows
from postgres_database.proving.many_rows import Filling, Spread
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name

ROWS = 500
SCHEMA = """
    CREATE TYPE mood AS ENUM ('good', 'bad %');
    CREATE DOMAIN code AS varchar(8);
    CREATE TABLE shops (id int PRIMARY KEY, name text NOT NULL UNIQUE, above int REFERENCES shops);
    CREATE TABLE orders (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop int NOT NULL REFERENCES shops,
        amount numeric(6,2) NOT NULL,
        mood mood NOT NULL, made timestamptz NOT NULL DEFAULT now(), day date NOT NULL, note varchar(40), code code,
        data jsonb, key uuid NOT NULL UNIQUE, bytes bytea, flag bool, tags text[],
        twice numeric GENERATED ALWAYS AS (amount * 2) STORED,
        CHECK (amount > 0), CHECK (code ~ '^[A-C]{3}$')
    );
    CREATE TABLE tags (id int PRIMARY KEY, name text);
    CREATE TABLE tagged (
        "order%" bigint REFERENCES orders,
        tag int REFERENCES tags DEFERRABLE INITIALLY DEFERRED,
        PRIMARY KEY ("order%", tag)
    );
    CREATE TABLE days (day date NOT NULL, n int) PARTITION BY RANGE (day);
    CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2020-01-01') TO ('2030-01-01');
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
        IF NEW.id > 100 THEN RAISE 'too many'; END IF; RETURN NEW; END$$;
    CREATE TRIGGER few BEFORE INSERT ON tags FOR EACH ROW EXECUTE FUNCTION refuse();
"""
TABLES = ("shops", "orders", "tags", "tagged", "days_1")
RULES = """
    SELECT conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid >= 16384 ORDER BY conname
"""


def test_constraints_are_kept(server: Database, database: Database) -> None:
    """Each table gets its rows, as the statistics say, and the schema is as before."""
    run_sql(database, SCHEMA)
    before = run_sql(database, RULES)
    wanted = dict.fromkeys((Name("public", table) for table in TABLES), ROWS)
    spreads = {
        ("public", "orders", "note"): Spread(nulls=0.5, width=20, distinct=7),
        ("public", "orders", "made"): Spread(ordered=True),
    }
    with fresh(server) as goal:
        run_sql(goal, SCHEMA)
        found = many_rows.fill(database, goal, Filling(wanted, spreads))
    assert {name.name: filled.rows for name, filled in found.items()} == dict.fromkeys(TABLES, ROWS)
    assert run_sql(database, RULES) == before
    ((notes, nulls, width, shops, ordered),) = run_sql(
        database,
        "SELECT count(DISTINCT note), count(*) FILTER (WHERE note IS NULL), max(length(note)), count(DISTINCT shop),"
        " bool_and(made > before)"
        " FROM (SELECT *, lag(made) OVER (ORDER BY id) AS before FROM orders WHERE id > 10) AS o",
    )
    assert notes == 7
    assert ROWS * 0.4 < int(str(nulls)) < ROWS * 0.6
    assert width == 20
    assert int(str(shops)) > ROWS / 2
    assert ordered

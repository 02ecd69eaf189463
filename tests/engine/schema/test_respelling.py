"""What is the same in two spellings, and what only looks so."""

import re
from collections.abc import Iterator

import pytest
from conftest import Project, fresh, run_sql

from postgres_database.schema import comparison
from postgres_database.schema.catalog import Catalog
from postgres_database.schema.comparison import Side
from postgres_database.schema.respelling import respell
from postgres_database.schema.snapshot import Key, Snapshot
from postgres_database.scratch import databases
from postgres_database.server.connection import Database

TABLE = "CREATE TABLE t (a varchar(9), CONSTRAINT c CHECK ({}))"
MODEL = TABLE.format("a IN ('x', 'y')")
RESTORED = TABLE.format("a::text = ANY (ARRAY['x'::varchar::text, 'y'::varchar::text])")


@pytest.fixture
def other(server: Database) -> Iterator[Database]:
    """Another fresh empty database."""
    with fresh(server) as made:
        yield made


@pytest.mark.parametrize(
    ("sql", "differing"),
    [(RESTORED, 0), (TABLE.format("a IN ('x', 'z')"), 1)],
    ids=["spelling", "value"],
)
def test_spelling_is_no_difference(
    project: Project, other: Database, sql: str, differing: int
) -> None:
    """What two restored copies print alike is the same; what they do not is another thing."""
    run_sql(project.database, MODEL)
    run_sql(other, sql)
    left, right = comparison.side(project.database), comparison.side(other)
    assert left.snapshot.difference(right.snapshot)
    with databases.session(*project.settings) as session:
        respelled = respell(right, left, (project.database, other), session.empty)
    assert len(left.snapshot.difference(respelled.snapshot)) == differing
    assert (left.catalog.tables != respelled.catalog.tables) == differing


NESTED = """
    CREATE DOMAIN d AS int CHECK ({0});
    CREATE TABLE t (value int, b boolean, c boolean GENERATED ALWAYS AS ({0}) STORED, e boolean DEFAULT ({1}),
        CONSTRAINT k CHECK ({0}), CONSTRAINT x EXCLUDE (b WITH =) WHERE ({0}));
    CREATE INDEX i ON t (value, ({0})) WHERE {0};
    CREATE POLICY p ON t USING ({0}) WITH CHECK ({0});
    CREATE VIEW v AS SELECT {0} AS x, CASE WHEN {0} THEN 1 END, count(*) FILTER (WHERE {0}) OVER w
        FROM t JOIN (SELECT 1 AS y) AS s ON ({0}) WHERE {0}
        WINDOW w AS (ORDER BY value ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);
    CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW WHEN ({2}) EXECUTE FUNCTION suppress_redundant_updates_trigger();
"""
GROUPED = (
    "((value > 0) AND ((value < 9) AND (value <> 3 AND value <> 4)))"
    " OR (value = 20 OR (value = 30 OR value IS NULL))"
)
UNGROUPED = "value > 0 AND value < 9 AND value <> 3 AND value <> 4 OR value = 20 OR value = 30 OR value IS NULL"
OTHERWISE = "value > 0 AND (value < 9 OR value <> 3 AND value <> 4 OR value = 20 OR value = 30 OR value IS NULL)"


def nested(text: str) -> str:
    """Make every kind of object that has an expression from one."""
    without, row = re.sub("value IS NULL", "false", text), re.sub("value", "NEW.value", text)
    return NESTED.format(text, re.sub("value", "7", without), row)


def test_grouping_is_no_difference(project: Project, other: Database) -> None:
    """AND in AND and OR in OR need no parentheses, in whatever object; AND in OR and OR in AND do."""
    run_sql(project.database, nested(GROUPED))
    run_sql(other, nested(UNGROUPED))
    left, right = comparison.side(project.database), comparison.side(other)
    assert left == right
    run_sql(other, "DROP TABLE t CASCADE", "DROP DOMAIN d", nested(OTHERWISE))
    differing = left.snapshot.difference(comparison.side(other).snapshot)
    kinds = {each.key.kind for each in differing}
    assert kinds == {"DOMAIN", "TABLE", "CONSTRAINT", "INDEX", "POLICY", "VIEW", "TRIGGER"}


def test_version_of_an_extension_is_no_spelling(project: Project, other: Database) -> None:
    """A copy has the server's own version: it says nothing of the versions of the originals."""
    run_sql(project.database, "CREATE EXTENSION hstore VERSION '1.4'", MODEL)
    run_sql(other, "CREATE EXTENSION hstore VERSION '1.5'", RESTORED)
    left, right = comparison.side(project.database), comparison.side(other)
    with databases.session(*project.settings) as session:
        respelled = respell(right, left, (project.database, other), session.empty)
    (difference,) = left.snapshot.difference(respelled.snapshot)
    assert difference.key == Key("EXTENSION", "-", "hstore")


def test_what_no_copy_has_is_not_the_same(project: Project, other: Database) -> None:
    """An object that is in neither restored copy proves nothing: its texts still differ."""
    key = Key("VIEW", "public", "v")
    left, right = (
        Side(Snapshot({key: (text,)}), Catalog((), {}, {}, {})) for text in ("one", "another")
    )
    with databases.session(*project.settings) as session:
        assert respell(right, left, (project.database, other), session.empty) == right

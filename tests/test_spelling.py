"""What is the same in two spellings, and what only looks so."""

from collections.abc import Iterator

import pytest
from conftest import Project, fresh, run_sql

from postgres_database import comparison, scratch
from postgres_database.catalog import Catalog
from postgres_database.comparison import Side
from postgres_database.connection import Database
from postgres_database.snapshot import Key, Snapshot
from postgres_database.spelling import in_words_of

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
    with scratch.session(project.settings) as session:
        respelled = in_words_of(left, right, (project.database, other), session)
    assert len(left.snapshot.difference(respelled.snapshot)) == differing
    assert (left.catalog.tables != respelled.catalog.tables) == differing


def test_version_of_an_extension_is_no_spelling(project: Project, other: Database) -> None:
    """A copy has the server's own version: it says nothing of the versions of the originals."""
    run_sql(project.database, "CREATE EXTENSION hstore VERSION '1.4'", MODEL)
    run_sql(other, "CREATE EXTENSION hstore VERSION '1.5'", RESTORED)
    left, right = comparison.side(project.database), comparison.side(other)
    with scratch.session(project.settings) as session:
        respelled = in_words_of(left, right, (project.database, other), session)
    (difference,) = left.snapshot.difference(respelled.snapshot)
    assert difference.key == Key("EXTENSION", "-", "hstore")


def test_what_no_copy_has_is_not_the_same(project: Project, other: Database) -> None:
    """An object that is in neither restored copy proves nothing: its texts still differ."""
    key = Key("VIEW", "public", "v")
    left, right = (
        Side(Snapshot({key: (text,)}), Catalog((), {}, {}, {})) for text in ("one", "another")
    )
    with scratch.session(project.settings) as session:
        assert in_words_of(left, right, (project.database, other), session) == right

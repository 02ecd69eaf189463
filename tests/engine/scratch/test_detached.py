"""Rows of partitions that are attached or detached are not lost."""

import pytest
from conftest import run_sql

from postgres_database.proving import contents, lost_rows
from postgres_database.server.connection import Database

PARTITIONED = """
    CREATE TABLE e (day int, a text) PARTITION BY LIST (day);
    CREATE TABLE e1 PARTITION OF e FOR VALUES IN (1);
    CREATE TABLE e2 (day int, a text);
    INSERT INTO e VALUES (1, 'x'), (1, NULL);
    INSERT INTO e2 VALUES (2, 'y')
"""
ATTACH = "ALTER TABLE e ATTACH PARTITION e2 FOR VALUES IN (2)"
DETACH = "ALTER TABLE e DETACH PARTITION e1"


@pytest.mark.parametrize(
    ("statements", "lost"),
    [
        ([DETACH], ()),
        ([ATTACH], ()),
        ([DETACH, ATTACH], ()),
        ([DETACH, "DELETE FROM e1 WHERE a = 'x'"], ("1 of 2 rows of table public.e",)),
        ([DETACH, "UPDATE e1 SET a = 'z' WHERE a = 'x'"], ("values of column public.e.a",)),
        ([DETACH, "DROP TABLE e1"], ("2 of 2 rows of table public.e",)),
    ],
)
def test_rows_of_partitions(
    database: Database, statements: list[str], lost: tuple[str, ...]
) -> None:
    """Rows of a table count as kept if they are in a partition that was detached from it, or attached to it."""
    run_sql(database, PARTITIONED)
    before = contents.take(database)
    run_sql(database, *statements)
    assert lost_rows.compare(before, contents.take(database)).lost == lost

"""What is enforced before and after a change, but not in a state between them, is found."""

import pytest
from conftest import fresh, run_sql

from postgres_database.online import enforced
from postgres_database.schema import catalog
from postgres_database.server.connection import Database

TABLE = "CREATE TABLE {t} (id int NOT NULL, a int{0}, b int)"
PARTED = """CREATE TABLE {t} (id int NOT NULL, a int{0}) PARTITION BY LIST (id);
    CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES IN (1)"""
DOMAIN = "CREATE DOMAIN {t} AS int {0}"

TO_1 = "ALTER TABLE {t}_1 ADD CONSTRAINT {t}_c "
# What is made; what more there is before, between and after; what is not enforced between.
CASES: dict[str, tuple[str, str, str, str, list[str]]] = {
    "CHECK": (TABLE, ", CONSTRAINT c CHECK (a > 0)", "", ", CONSTRAINT c CHECK (a > 1)", ["c"]),
    "CHECK renamed": (
        TABLE, ", CONSTRAINT c CHECK (a > 0)", "", ", CONSTRAINT d CHECK (a > 0)", ["d"],
    ),
    "another CHECK": (
        TABLE, ", CONSTRAINT c CHECK (a > 0)", "", ", CONSTRAINT d CHECK (a > 1)", [],
    ),
    "NOT NULL": (TABLE, " NOT NULL", "", " NOT NULL", ["a"]),
    "CHECK to NOT NULL": (TABLE, " CHECK (a IS NOT NULL)", "", " NOT NULL", ["a"]),
    "NOT NULL to CHECK": (TABLE, " NOT NULL", "", " CHECK (a IS NOT NULL)", ["a"]),
    "NOT NULL by CHECK": (TABLE, " NOT NULL", " CHECK (a IS NOT NULL)", " NOT NULL", []),
    "UNIQUE": (TABLE, " UNIQUE", "", " UNIQUE DEFERRABLE", ["{t}_a_key"]),
    "UNIQUE to EXCLUDE": (
        TABLE, " UNIQUE", "", ", CONSTRAINT {t}_x EXCLUDE USING btree (a WITH =)", ["{t}_x"],
    ),
    "EXCLUDE to UNIQUE": (
        TABLE, ", CONSTRAINT {t}_x EXCLUDE USING btree (a WITH =)", "", " UNIQUE", ["{t}_a_key"],
    ),
    "EXCLUDE by more than equality": (
        TABLE, ", EXCLUDE USING gist (int4range(a, b) WITH &&)", "", " UNIQUE", [],
    ),
    "of a partition": (
        PARTED + ";{1}", TO_1 + "CHECK (a > 0)", "", TO_1 + "CHECK (a > 1)", ["{t}_c"],
    ),
    "of a partition, then of the parent": (
        PARTED + ";{1}", TO_1 + "CHECK (a > 0)", "",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (a > 0)", ["{t}_c"],
    ),
    "of the parent, then of a partition": (
        PARTED + ";{1}", "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (a > 0)", "",
        TO_1 + "CHECK (a > 0)", ["{t}_c"],
    ),
    "key of a partition, then of the parent": (
        PARTED + ";{1}", TO_1 + "UNIQUE (id, a)", "",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_u UNIQUE (id, a)", ["{t}_1_id_a_key"],
    ),
    "key of a partition, now of the parent": (
        PARTED + ";{1}", TO_1 + "UNIQUE (id, a)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_u UNIQUE (id, a)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_u UNIQUE (id, a)", [],
    ),
    "domain": (DOMAIN, "CONSTRAINT c CHECK (VALUE > 0)", "", "CONSTRAINT c CHECK (VALUE > 1)", ["c"]),
    "NOT NULL of a domain": (DOMAIN, "NOT NULL", "", "NOT NULL", ["NOT NULL"]),
}  # fmt: skip
GAPS = dict[str, list[str]]


@pytest.fixture(scope="module")
def found(server: Database) -> GAPS:
    """What is not enforced between, by the name of the table or domain of each case."""
    states = []
    for state in range(3):
        with fresh(server) as database:
            for number, (made, before, between, after, _) in enumerate(CASES.values()):
                table = f"t{number}"
                more = (before, after, between)[state].format(t=table)
                run_sql(database, made.format("" if "{1}" in made else more, more, t=table))
            states.append(catalog.take(database))
    names: GAPS = {}
    for gap in enforced.gaps(*states):
        names.setdefault(gap.table.name.removesuffix("_1"), []).append(gap.name)
    return names


@pytest.mark.parametrize("case", CASES)
def test_gaps(found: GAPS, case: str) -> None:
    """A rule is missing if both ends imply it, in whatever form, and the state between does not."""
    table = f"t{[*CASES].index(case)}"
    assert found.get(table, []) == [name.format(t=table) for name in CASES[case][4]]

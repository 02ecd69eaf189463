"""Which names were renamed, by flags, by hints in models and by answers; and which pairs are asked about."""

import pytest
import sqlalchemy as sa
from catalogs import catalog

from postgres_database.drafting import matching
from postgres_database.drafting.matching import Decisions
from postgres_database.drafting.renames import Rename, one_by_one
from postgres_database.drafting.renames import statement as statement_of
from postgres_database.errors import ExpectedError
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name

USERS = {"id": "integer", "email": "text", "age": "integer"}
CASES = {
    "nothing": ({"t": USERS}, {"t": USERS}, []),
    "column of the same type": (
        {"t": USERS},
        {"t": {"id": "integer", "mail": "text", "age": "integer"}},
        ["t.email:mail"],
    ),
    "column of a like type": (
        {"t": USERS},
        {"t": {"id": "integer", "email": "text", "years": "bigint"}},
        ["t.age:years"],
    ),
    "column of another type and name": (
        {"t": USERS},
        {"t": {"id": "integer", "email": "text", "born": "date"}},
        [],
    ),
    "column of another type and a like name": (
        {"t": USERS},
        {"t": {"id": "integer", "email": "text", "age_in_words": "text"}},
        ["t.age:age_in_words"],
    ),
    "table": ({"t": USERS}, {"u": USERS}, ["t:u"]),
    "table of another shape": ({"t": USERS}, {"u": {"x": "date", "y": "uuid", "z": "bytea"}}, []),
    "tables of one shape in another schema": (
        {"t": USERS, "u": USERS},
        {"s.t": USERS, "s.u": USERS},
        ["t:s.t", "u:s.u"],
    ),
    "table in another schema": ({"t": USERS}, {"s.t": USERS}, ["t:s.t"]),
    "schema": ({"a.t": USERS, "a.u": USERS}, {"b.t": USERS, "b.u": USERS}, ["a:b"]),
}


@pytest.mark.parametrize("case", CASES)
def test_likely_renames_are_asked_about(case: str) -> None:
    """Exactly the likely renames are asked about; "yes" renames, "no" drops and adds."""
    before, goal, expected = CASES[case]
    asked: list[str] = []

    def yes(question: str) -> bool:
        asked.append(question)
        return True

    renames = matching.find(catalog(before), catalog(goal), Decisions(choose=yes))
    assert [str(each) for each in renames if each.old.name] == expected
    assert len(asked) == len(expected)
    assert not matching.find(catalog(before), catalog(goal), Decisions(choose=lambda _: False))


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][2]])
def test_undecided_rename_is_an_error(case: str) -> None:
    """Without a terminal a likely rename is an error, whose cause has the flags that decide it."""
    before, goal, expected = CASES[case]
    with pytest.raises(ExpectedError) as caught:
        matching.find(catalog(before), catalog(goal), Decisions())
    assert [f"--rename {flag}" in caught.value.cause for flag in expected] == [True] * len(expected)
    renames = matching.find(catalog(before), catalog(goal), Decisions(flags=tuple(expected)))
    assert [str(each) for each in renames if each.old.name] == expected
    assert not matching.find(catalog(before), catalog(goal), Decisions(no_renames=True))


def test_columns_exchange_their_names() -> None:
    """Two columns exchange their names by way of a third name."""
    both = catalog({"t": {"a": "text", "b": "text"}})
    found = matching.find(both, both, Decisions(flags=("t.a:b", "t.b:a")))
    assert [str(each) for each in found] == ["t.a:a_renamed", "t.b:a", "t.a_renamed:b"]


def test_rename_to_a_name_in_use_is_left_out() -> None:
    """A rename to a name that stays in use is left out; the other renames are not."""
    names = [Name("public", name) for name in ("a", "b", "c", "k")]
    a, b, c, k = names
    wanted = [Rename("index", a, k), Rename("index", b, c), Rename("index", c, b)]
    assert [str(each) for each in one_by_one(wanted, names)] == [
        "b:b_renamed",
        "c:b",
        "b_renamed:c",
    ]


@pytest.mark.parametrize("flag", ["t.nothing:mail", "email:mail", "t.email:age", "", "t.email"])
def test_flag_that_matches_no_rename_is_an_error(flag: str) -> None:
    """A flag that matches no pair of a dropped and an added name is an error with the nearest pairs."""
    goal = catalog({"t": {"id": "integer", "mail": "text", "age": "integer"}})
    with pytest.raises(ExpectedError, match="nothing to rename") as caught:
        matching.find(catalog({"t": USERS}), goal, Decisions(flags=(flag,), no_renames=True))
    assert "--rename t.email:mail" in caught.value.hint


def test_values_of_enums() -> None:
    """A value of an enum can be renamed by a flag; the question names the type and both values."""
    before = catalog({"t": {"m": "public.mood"}}, mood=("happy", "sad"))
    goal = catalog({"t": {"m": "public.mood"}}, mood=("happy", "gloomy"))
    found = matching.find(before, goal, Decisions(flags=("mood.sad:gloomy",)))
    assert [each.question for each in found] == ["Was value mood.sad renamed to gloomy?"]


def test_hint_is_applied_once() -> None:
    """A hint in a model renames until the new name exists; then it may stay in the model."""
    goal = catalog({"t": {"id": "integer", "mail": "text", "age": "integer"}})
    decisions = Decisions(hints={(Name("public", "t"), "mail"): "email"})
    assert [str(each) for each in matching.find(catalog({"t": USERS}), goal, decisions)] == [
        "t.email:mail"
    ]
    assert matching.find(goal, goal, decisions) == ()


def test_not_null_names_are_left_where_postgresql_cannot_change_them(database: Database) -> None:
    """The SQL runs on any table: where no constraint has the name, and where a partition's has another one."""
    rename = Rename(
        "not null", Name("public", "t_a_not_null"), Name("public", "b"), Name("public", "t")
    )
    names = sa.text(
        "SELECT conname FROM pg_constraint WHERE conname IN ('t_a_not_null', 'p_a_not_null', 'b')"
    )
    with database.connect(autocommit=True, usual_path=True) as connection:
        for statement in (
            "CREATE TABLE t (a int NOT NULL) PARTITION BY LIST (a)",
            "CREATE TABLE p (a int NOT NULL)",
            "ALTER TABLE t ATTACH PARTITION p DEFAULT",
        ):
            connection.exec_driver_sql(statement)
        before = [*connection.execute(names)]
        connection.connection.cursor().execute(statement_of(rename))
        assert [*connection.execute(names)] == before
        connection.exec_driver_sql("DROP TABLE p")
        connection.connection.cursor().execute(statement_of(rename))
        assert [*connection.execute(names).scalars()] == (["b"] if before else [])

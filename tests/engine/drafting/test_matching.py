"""What was renamed, as flags, models and people say; and what is asked about."""

import pytest
from catalogs import catalog

from postgres_database.drafting import matching
from postgres_database.drafting.matching import Decisions
from postgres_database.drafting.renames import Rename, one_by_one
from postgres_database.errors import ExpectedError
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
    """A likely rename is asked about, and only that; whoever says yes gets it, whoever says no does not."""
    before, goal, expected = CASES[case]
    asked: list[str] = []

    def yes(question: str) -> bool:
        asked.append(question)
        return True

    found = matching.find(catalog(before), catalog(goal), Decisions(choose=yes))
    assert [str(each) for each in found if each.old.name] == expected
    assert len(asked) == len(expected)
    assert not matching.find(catalog(before), catalog(goal), Decisions(choose=lambda _: False))


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][2]])
def test_undecided_renames_stop_everything(case: str) -> None:
    """Without a terminal a likely rename is an error with the flags that decide it; each of them does."""
    before, goal, expected = CASES[case]
    with pytest.raises(ExpectedError) as caught:
        matching.find(catalog(before), catalog(goal), Decisions())
    assert [f"--rename {flag}" in caught.value.cause for flag in expected] == [True] * len(expected)
    found = matching.find(catalog(before), catalog(goal), Decisions(flags=tuple(expected)))
    assert [str(each) for each in found if each.old.name] == expected
    assert not matching.find(catalog(before), catalog(goal), Decisions(no_renames=True))


def test_columns_change_places() -> None:
    """Two columns that exchange their names go by way of a third one."""
    both = catalog({"t": {"a": "text", "b": "text"}})
    found = matching.find(both, both, Decisions(flags=("t.a:b", "t.b:a")))
    assert [str(each) for each in found] == ["t.a:a_renamed", "t.b:a", "t.a_renamed:b"]


def test_what_keeps_its_name_is_in_nobodys_way() -> None:
    """A rename to a name that something keeps is left out; others change places all the same."""
    names = [Name("public", name) for name in ("a", "b", "c", "k")]
    a, b, c, k = names
    wanted = [Rename("index", a, k), Rename("index", b, c), Rename("index", c, b)]
    assert [str(each) for each in one_by_one(wanted, names)] == [
        "b:b_renamed",
        "c:b",
        "b_renamed:c",
    ]


@pytest.mark.parametrize("flag", ["t.nothing:mail", "email:mail", "t.email:age", "", "t.email"])
def test_flag_that_means_nothing_is_refused(flag: str) -> None:
    """A flag for which there is no pair of names is an error that shows the nearest pairs."""
    goal = catalog({"t": {"id": "integer", "mail": "text", "age": "integer"}})
    with pytest.raises(ExpectedError, match="nothing to rename") as caught:
        matching.find(catalog({"t": USERS}), goal, Decisions(flags=(flag,), no_renames=True))
    assert "--rename t.email:mail" in caught.value.hint


def test_values_of_enums() -> None:
    """A value that another takes the place of was perhaps renamed."""
    before = catalog({"t": {"m": "public.mood"}}, mood=("happy", "sad"))
    goal = catalog({"t": {"m": "public.mood"}}, mood=("happy", "gloomy"))
    found = matching.find(before, goal, Decisions(flags=("mood.sad:gloomy",)))
    assert [each.question for each in found] == ["Was value mood.sad renamed to gloomy?"]


def test_hint_counts_once() -> None:
    """What a model says is done as long as the new name is not there."""
    goal = catalog({"t": {"id": "integer", "mail": "text", "age": "integer"}})
    decisions = Decisions(hints={(Name("public", "t"), "mail"): "email"})
    assert [str(each) for each in matching.find(catalog({"t": USERS}), goal, decisions)] == [
        "t.email:mail"
    ]
    assert matching.find(goal, goal, decisions) == ()

"""How alike names, types and values of enums are; a table without a database."""

from typing import Any

import pytest

from postgres_database.drafting import likeness
from postgres_database.schema.catalog import Type
from postgres_database.sql.names import Name


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("email", "mail", True),
        ("email", "e_mail", True),
        ("Email", "email", True),
        ("user_id", "user", True),
        ("age", "years", False),
        ("id", "did_it", False),
        ("name", "nickname", True),
    ],
)
def test_names(old: str, new: str, *, expected: bool) -> None:
    """Two names are alike if they share most letters, or if one contains the other."""
    assert likeness.similar(old, new) is likeness.similar(new, old) is expected


@pytest.mark.parametrize(
    ("type_", "family"),
    [
        ("smallint", "number"),
        ("numeric(5,2)", "number"),
        ("character varying(3)", "text"),
        ("name", "text"),
        ("timestamp with time zone", "time"),
        ("json", "json"),
        ("jsonb[]", "json[]"),
        ("uuid", "uuid"),
        ("bit(3)", "bit"),
    ],
)
def test_family(type_: str, family: str) -> None:
    """Types that are often changed into one another are one family; arrays are a family of their own."""
    assert likeness.family(type_) == family


@pytest.mark.parametrize(
    ("here", "goal", "score"),
    [
        ({"kind": "e", "labels": ("x", "y")}, {"kind": "e", "labels": ("y", "z")}, 0.5),
        ({"kind": "e", "labels": ("x",)}, {"kind": "e", "labels": ("x",)}, 1.0),
        ({"kind": "e"}, {"kind": "e"}, 0.0),
        ({"kind": "e", "labels": ("x",)}, {"kind": "d", "shape": "text"}, 0.0),
        ({"kind": "d", "shape": "text"}, {"kind": "d", "shape": "text"}, 1.0),
        ({"kind": "d", "shape": "text"}, {"kind": "d", "shape": "integer"}, 0.0),
        ({"kind": "c", "attributes": {"a": "text"}}, {"kind": "c", "attributes": {"a": "integer"}}, 1.0),
    ],
)  # fmt: skip
def test_types(here: dict[str, Any], goal: dict[str, Any], score: float) -> None:
    """Types are as alike as what they are made of."""
    left, right = (
        Type(Name("public", name), sql=name, **each) for name, each in (("a", here), ("b", goal))
    )
    assert likeness.type_score(left, right) == score


def test_values() -> None:
    """Two values of an enum are likely the same if their positions are equal or their labels are alike."""
    assert (
        likeness.value_score("x", 0, "why", 0)
        == likeness.value_score("cancelled", 0, "canceled", 3)
        > 0
    )
    assert likeness.value_score("x", 0, "why", 1) == 0

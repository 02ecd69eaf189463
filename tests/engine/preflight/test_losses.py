"""What rows lose by a change, or refuse, said beforehand: by values alone."""

from dataclasses import replace
from typing import Any

import pytest
from catalogs import catalog, column, table

from postgres_database.preflight import losses
from postgres_database.schema.catalog import Constraint, Type
from postgres_database.sql.names import Name

T = Name("public", "t")
EMPTY = catalog({})


@pytest.mark.parametrize(
    ("here", "goal", "said"),
    [
        ("integer", "bigint", ""),
        ("bigint", "integer", "what does not fit is refused"),
        ("character varying(5)", "character varying(9)", ""),
        ("character varying(9)", "character varying(5)", "longer values are refused"),
        ("integer", "text", ""),
        ("integer", "character varying(2)", "longer values are refused"),
        ("numeric(5,2)", "numeric(7,2)", ""),
        ("numeric(5,2)", "numeric(7,1)", "values are rounded, and those that do not fit are refused"),
        ("double precision", "integer", "values are rounded, and those that do not fit are refused"),
        ("text", "text[]", "each becomes the only element of an array"),
        ("timestamp with time zone", "date", "the time of day is lost"),
        ("timestamp with time zone", "timestamp without time zone", "they are read in the time zone of the session"),
        ("json", "jsonb", "the order of keys and keys that are there twice are lost"),
        ("text", "integer", "what does not fit is refused"),
    ],
)  # fmt: skip
def test_cast(here: str, goal: str, said: str) -> None:
    """A cast to a type that holds every value loses nothing."""
    assert losses.cast_loss(here, goal) == said


@pytest.mark.parametrize(
    ("here", "goal", "settings"),
    [
        ("integer", "text", set()),
        ("text", "text[]", set()),
        ("timestamp with time zone", "date", {"TimeZone"}),
        ("date", "timestamp with time zone", {"TimeZone"}),
        ("timestamp without time zone", "date", set()),
        ("timestamp(3) with time zone", "text", {"DateStyle", "TimeZone"}),
        ("character varying(9)[]", "date[]", {"DateStyle"}),
        ("text", "interval", {"IntervalStyle"}),
        ("interval", "text", {"IntervalStyle"}),
        ("money", "numeric(10,2)", {"lc_monetary"}),
        ("bytea", "text", {"bytea_output"}),
        ("text", "bytea", set()),
        ("double precision", "text", {"extra_float_digits"}),
        ("regclass", "text", {"search_path"}),
    ],
)
def test_cast_that_depends_on_settings(here: str, goal: str, settings: set[str]) -> None:
    """Values that settings of a session decide are a caution: a scratch database has other settings."""
    assert losses.cast_settings(here, goal) == settings
    before, after = ({"t": {"a": each}} for each in (here, goal))
    said = losses.find_losses(catalog(before), catalog(after))
    assert all(name in "".join(said) for name in settings)


@pytest.mark.parametrize(
    ("expression", "settings"),
    [
        ("CHECK (a > 0)", []),
        ("CHECK ((to_tsvector(a) @@ to_tsquery('x'::text)))", ["default_text_search_config"]),
        ("CHECK ((to_tsvector('simple'::regconfig, a) @@ q))", []),
        ("to_tsvector('english'::regconfig, 'a'::text)", []),
        ("plainto_tsquery('a b'::text)", ["default_text_search_config"]),
        ("CHECK ((my_to_tsvector(a) IS NOT NULL))", []),
        ("CHECK (((a)::timestamp with time zone < now()))", ["TimeZone"]),
        ("CHECK ((a < '2026-01-01 00:00:00+00'::timestamp with time zone))", []),
        ("CHECK (((a)::money > '1'::money))", ["lc_monetary"]),
    ],
)
def test_expression_that_depends_on_settings(expression: str, settings: list[str]) -> None:
    """Which rows break a CHECK, and what a default gives, may depend on settings of the session: that is said."""
    before = replace(EMPTY, tables={T: table(T, {"a": "integer"})})
    check = replace(table(T, {"a": "integer"}), **rule("c", expression))
    new = replace(table(T, {}), columns={"b": column("b", "text", default=expression)})
    for goal in (check, new):
        said = "".join(losses.find_losses(before, replace(EMPTY, tables={T: goal})))
        assert [name for name in losses.DECIDED_BY if name in said] == settings


def rule(kind: str, definition: str, *columns: str) -> dict[str, Any]:
    return {"constraints": {"r": Constraint("r", kind, definition, columns)}}


TABLES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "nothing": ({}, {}, []),
    "check": ({}, rule("c", "CHECK (a > 0)"), ["r on t fails on rows that break it"]),
    "check that looks at no row": ({}, rule("c", "CHECK (a > 0) NOT VALID"), []),
    "key": ({}, rule("u", "UNIQUE (a)", "a"), ["r on t fails on rows that are equal"]),
    "wider key": (rule("p", "PRIMARY KEY (a)", "a"), rule("u", "UNIQUE (a, b)", "a", "b"), []),
    "foreign key": (
        {},
        rule("f", "FOREIGN KEY (a) …"),
        ["r on t fails on rows that point to nothing"],
    ),
    "unique index": (
        {},
        {"indexes": {"i": "CREATE UNIQUE INDEX i …"}},
        ["i on t fails on rows that are equal"],
    ),
    "index": ({}, {"indexes": {"i": "CREATE INDEX i …"}}, []),
    "foreign table": ({"kind": "f"}, {"kind": "f", **rule("c", "CHECK (a > 0)")}, []),
    "column gone": ({}, {"columns": {}}, ["the values of column t.a are dropped"]),
    "not null": (
        {},
        {"columns": {"a": column("a", "integer", not_null=True)}},
        ["column t.a becomes NOT NULL: fails on rows without a value"],
    ),
    "new column": (
        {"columns": {}},
        {"columns": {"a": column("a", "integer", not_null=True)}},
        ["column t.a is NOT NULL without a default: fails on rows"],
    ),
    "new column with a default": (
        {"columns": {}},
        {"columns": {"a": column("a", "integer", not_null=True, default="1")}},
        [],
    ),
    "index of a partitioned table": (
        {
            "partitioned_by": "LIST (a)",
            "indexes": {"i": "CREATE INDEX i …"},
            **rule("u", "UNIQUE (a)"),
        },
        {"partitioned_by": "LIST (a)"},
        [
            "i on t goes with its parts, also those that partitions had before it took them in",
            "r on t goes with its parts, also those that partitions had before it took them in",
        ],
    ),
    "index of a plain table": ({"indexes": {"i": "CREATE INDEX i …"}}, {}, []),
    "rule of a partitioned table": (
        {"partitioned_by": "LIST (a)", **rule("c", "CHECK (a > 0)")},
        {"partitioned_by": "LIST (a)"},
        [],
    ),
    "generated": (
        {},
        {"columns": {"a": column("a", "integer", generated="s")}},
        ["the values of column t.a are replaced by generated ones"],
    ),
}


@pytest.mark.parametrize(("here", "goal", "lines"), TABLES.values(), ids=TABLES)
def test_table(here: dict[str, Any], goal: dict[str, Any], lines: list[str]) -> None:
    """Each loss, and each rule that rows may violate, is a line."""
    before, after = (
        replace(EMPTY, tables={T: replace(table(T, {"a": "integer"}), **special)})
        for special in (here, goal)
    )
    assert losses.find_losses(before, after) == tuple(lines)


def test_filled_column_becomes_not_null() -> None:
    """A column that has a value in every row becomes NOT NULL without a message."""
    before = replace(EMPTY, tables={T: table(T, {"a": "integer"})})
    filled = replace(table(T, {}), columns={"a": column("a", "integer", not_null=True)})
    assert losses.find_losses(before, replace(EMPTY, tables={T: filled}), {(T, "a")}) == ()


def test_dropped_table() -> None:
    """The rows of a table are dropped with it."""
    before = replace(EMPTY, tables={T: table(T, {"a": "integer"})})
    assert losses.find_losses(before, EMPTY) == ("the rows of table t are dropped",)


@pytest.mark.parametrize(
    ("here", "goal", "line"),
    [
        ({"labels": ("x", "y")}, {"labels": ("x",)}, "type k loses the value 'y': fails on rows that have it"),
        ({"attributes": {"a": "text"}}, {}, "the values of attribute k.a are dropped"),
        ({}, {"constraints": {"c": "CHECK (VALUE > 0)"}}, "c of domain k fails on rows that break it"),
        ({}, {"not_null": True}, "domain k becomes NOT NULL: fails on rows without a value"),
    ],
)  # fmt: skip
def test_type(here: dict[str, Any], goal: dict[str, Any], line: str) -> None:
    """A type loses labels and attributes, and may fail on rows that violate its new constraints."""
    name = Name("public", "k")
    before, after = (
        replace(EMPTY, types={name: Type(name, "", "public.k", **each)}) for each in (here, goal)
    )
    assert losses.find_losses(before, after) == (line,)

"""The naming convention against PostgreSQL's own names."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.schema import CreateIndex, CreateTable, SchemaItem

from postgres_database.naming import NAMING_CONVENTION

# A case is some tables: for each name what makes its columns, constraints and indexes, anew for
# each of the two databases that are compared.
Items = list[SchemaItem]
Tables = dict[str, Callable[[], Items]]


def integers(*names: str) -> Items:
    return [sa.Column(name, sa.Integer) for name in names]


def texts(*names: str) -> Items:
    return [sa.Column(name, sa.Text) for name in names]


def unique(*names: str, include: list[str] | None = None) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*names, postgresql_include=include)


def checks(*conditions: str) -> Items:
    return [sa.CheckConstraint(condition) for condition in conditions]


def index(*keys: str | sa.ColumnElement[Any], **options: Any) -> sa.Index:
    expressions = (sa.text(key) if isinstance(key, str) else key for key in keys)
    return sa.Index(None, *expressions, **options)


def parent(*names: str) -> Items:
    return [*integers(*names), sa.UniqueConstraint(*names)]


a, b, c = (sa.column(name, sa.Text) for name in "abc")
f, u, n = (sa.column(name, sa.Integer) for name in "fun")
data = sa.column("data", pg.JSONB)

CASES: dict[str, Tables] = {
    "primary key": {"t": lambda: [sa.Column("id", sa.BigInteger, primary_key=True)]},
    "primary key of two columns": {
        "t": lambda: [*integers("a", "b"), sa.PrimaryKeyConstraint("b", "a")]
    },
    "unique": {"t": lambda: [sa.Column("a", sa.Integer, unique=True)]},
    "unique of several columns": {"t": lambda: [*integers("a", "b", "c"), unique("c", "a")]},
    "unique with included columns": {
        "t": lambda: [*integers("a", "b", "c"), unique("a", include=["c", "b"])]
    },
    "two uniques that read the same": {
        "t": lambda: [*integers("a_b", "c", "a", "b_c"), unique("a_b", "c"), unique("a", "b_c")]
    },
    "two uniques that are the same": {
        "t": lambda: [*integers("a", "b"), unique("a"), unique("b"), unique("a")]
    },
    "foreign key": {
        "p": lambda: parent("id"),
        "t": lambda: [sa.Column("p_id", sa.Integer, sa.ForeignKey("p.id"))],
    },
    "foreign key of two columns": {
        "p": lambda: parent("x", "y"),
        "t": lambda: [*integers("a", "b"), sa.ForeignKeyConstraint(["b", "a"], ["p.x", "p.y"])],
    },
    "two foreign keys of one column": {
        "p": lambda: parent("id"),
        "q": lambda: parent("id"),
        "t": lambda: [sa.Column("a", sa.Integer, sa.ForeignKey("p.id"), sa.ForeignKey("q.id"))],
    },
    "foreign key to its own table": {
        "t": lambda: [
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("parent_id", sa.Integer, sa.ForeignKey("t.id")),
        ]
    },
    "check of one column": {"t": lambda: [*integers("a", "b"), *checks("a > 0 AND a < 9")]},
    "check of two columns": {"t": lambda: [*integers("a", "b"), *checks("a < b")]},
    "check of no column": {"t": lambda: [*integers("a"), *checks("1 < 2")]},
    "check at its column": {
        "t": lambda: [sa.Column("a", sa.Integer, sa.CheckConstraint("a > 0")), *checks("a < 9")]
    },
    "check at another column": {
        "t": lambda: [*integers("a"), sa.Column("b", sa.Integer, sa.CheckConstraint("a > 0"))]
    },
    "three checks of one column": {
        "t": lambda: [*integers("a"), *checks("a > 0", "a < 9", "a <> 5")]
    },
    "two checks of two columns": {"t": lambda: [*integers("a", "b"), *checks("a < b", "b > a")]},
    "check with a name of its own": {
        "t": lambda: [
            *integers("a"),
            sa.CheckConstraint("a <> 5", name="t_a_check"),
            *checks("a > 0"),
        ]
    },
    "check written in Python": {
        "t": lambda: [*integers("a", "B b"), sa.CheckConstraint(sa.column("B b") % 2 == 0)]
    },
    "check of an enumeration": {
        "t": lambda: [
            sa.Column("kind", sa.Enum("x", "y", native_enum=False, create_constraint=True))
        ]
    },
    "column named within a literal": {
        "t": lambda: [
            *texts("a", "b", "c"),
            *checks("a <> 'b'", "a <> 'it''s b'", r"a <> E'it\'s b or c'", "a = 'b' OR c = 'b'"),
        ]
    },
    "column named like a function": {
        "t": lambda: [*texts("name", "length"), *checks("length(name) > 1", "length <> ''")]
    },
    "column named like a type": {
        "t": lambda: [
            *texts("a", "date"),
            *checks("a::date > '2020-01-01'", "CAST(a AS date) > date '2021-01-01'", "date > ''"),
        ]
    },
    "column behind the name of its table": {"t": lambda: [*integers("a", "t"), *checks("t.a > 0")]},
    "column in capitals": {
        "t": lambda: [*integers("a", "A", "b"), *checks('"A" > 0', "A > 0", '"A" > B', "B > 0")]
    },
    "column with a quotation mark": {"t": lambda: [*integers('a"b', "a"), *checks('"a""b" > 0')]},
    "check with a percent sign": {"t": lambda: [*integers("a", "b"), *checks("a % 2 = 0")]},
    "index": {"t": lambda: [*integers("a", "b"), index("b")]},
    "index of a column": {"t": lambda: [sa.Column("a", sa.Integer, index=True)]},
    "unique index": {"t": lambda: [sa.Column("a", sa.Integer, index=True, unique=True)]},
    "index of several columns": {"t": lambda: [*integers("a", "b", "c"), index("c", "a")]},
    "partial index": {
        "t": lambda: [*integers("a", "b"), index("a", postgresql_where=sa.text("b > 0"))]
    },
    "three indexes of one column": {
        "t": lambda: [
            *integers("a"),
            index("a"),
            index("a", postgresql_using="hash"),
            index("a DESC"),
        ]
    },
    "index with included columns": {
        "t": lambda: [*integers("a", "b", "c"), index("a", postgresql_include=["c", "b"])]
    },
    "index with options of its keys": {
        "t": lambda: [
            *texts("a", "b", "c"),
            index("a DESC NULLS LAST", 'b COLLATE "C" text_pattern_ops', "lower(c) varchar_ops"),
            index(a.desc(), b.collate("C").asc(), sa.func.lower(c)),
        ]
    },
    "index of functions": {
        "t": lambda: [
            *texts("a", "b"),
            index("lower(a)"),
            index("lower(a)", "upper(b)", "b"),
            index("lower(a)", "lower(b)", "lower(a || b)", "a", "a"),
            index("pg_catalog.lower(b)"),
            index("coalesce(a, b)", "nullif(a, b)", "greatest(a, b)", "trim(a)"),
            index(sa.func.coalesce(a, "x"), sa.func.trim(a)),
            index("(lower(a))", "(extract(year FROM timestamp '2020-01-01') + length(a))"),
        ]
    },
    "index of expressions": {
        "t": lambda: [
            *texts("a", "b"),
            *integers("n"),
            index("(a || b)"),
            index("(a || b)", "a", "(b || a)"),
            index(n + 1),
            index("(lower(a) || b)"),
            index("(n % 2)", "(-n)", "(n IS NULL)", "(NOT n > 1)", "(1 + n)"),
            index('(a COLLATE "C")', "((b))", "(ARRAY[a, b])"),
        ]
    },
    "index of casts": {
        "t": lambda: [
            *texts("a", "b"),
            *integers("n"),
            sa.Column("data", pg.JSONB),
            sa.Column("moment", sa.DateTime(timezone=True)),
            index("(n::text)", "(lower(a)::varchar(20))", "CAST(n AS bigint)"),
            index("((a || b)::varchar(20))", "((n + 1)::bigint::double precision)"),
            index("(n::text || a)", "((a || b)::text = 'x')", "(a::text IS NULL)"),
            index('((a || b)::text COLLATE "C")', "((ARRAY[a] || b)::varchar(9)[])"),
            index("((data ->> 'x')::integer)", "((data ->> 'y')::boolean)", "(data['x'])"),
            index(sa.cast(data["x"].astext, sa.Integer), sa.cast(data["y"].astext, sa.String(20))),
            index("((moment AT TIME ZONE 'UTC')::date)", "(timezone('UTC', moment)::date)"),
        ]
    },
    "exclusion": {
        "t": lambda: [
            sa.Column("a", pg.INT4RANGE),
            *integers("f", "u"),
            pg.ExcludeConstraint(("a", "&&")),
            pg.ExcludeConstraint((sa.text("int4range(f, u)"), "&&"), (a, "&&")),
            pg.ExcludeConstraint(
                (sa.func.int4range(f, u, "[]"), "&&"),
                where=sa.text("f > 0"),
            ),
            pg.ExcludeConstraint((sa.text("(a * int4range(1, 2))"), "&&")),
        ]
    },
    "tables and columns that read the same": {
        "a": lambda: [*integers("b_c"), *checks("b_c > 0"), unique("b_c"), index("b_c")],
        "a_b": lambda: [*integers("c"), *checks("c > 0"), unique("c"), index("c")],
    },
    "table with the name of an index": {
        "t_a_idx": lambda: integers("a"),
        "t_a_key": lambda: integers("a"),
        "t_a_check": lambda: integers("a"),
        "t": lambda: [*integers("a"), index("a"), unique("a"), *checks("a > 0")],
    },
    "check with the name of an index": {
        "t": lambda: [
            *integers("a"),
            sa.CheckConstraint("a > 0", name="t_a_idx"),
            sa.CheckConstraint("a > 1", name="t_a_key"),
            index("a"),
            unique("a"),
        ]
    },
    "table named like a keyword": {
        "exclude": lambda: [
            sa.Column("order", pg.INT4RANGE),
            pg.ExcludeConstraint(("order", "&&")),
        ],
        "User": lambda: [*integers("Id"), unique("Id"), index('"Id"')],
    },
}


def one_of_each(table: str, first: str, second: str) -> Tables:
    """Return a table that has, of every kind, one on each and one on both of its columns."""

    def items() -> Items:
        x, y = sa.Column(first, sa.Integer, primary_key=True), sa.Column(second, sa.Integer)
        return [
            x,
            y,
            unique(second),
            unique(first, second),
            sa.ForeignKeyConstraint([y], [x]),
            sa.ForeignKeyConstraint([y, x], [y, x]),
            sa.CheckConstraint(x > 0),
            sa.CheckConstraint(x < 9),
            sa.CheckConstraint(x < y),
            index(x),
            index(y, x),
            index(y, x, sa.func.abs(x), sa.func.abs(y), x + y, unique=True),
        ]

    return {table: items}


LETTERS = {1: "t", 2: "é", 3: "日", 4: "𝄞"}  # by the bytes that they take
LONG = [
    *(("t" * size, "a", "b") for size in (52, 53, 54, 55, 56, 57, 58, 59, 61, 63)),
    *(("t", "a" * size, "b") for size in (52, 53, 54, 55, 56, 57, 58, 59, 61, 63, 64, 80)),
    *(("t" * size, "a" * size, "b" * size) for size in (19, 26, 27, 28, 29, 30, 40, 63)),
    *(("t" * 25, "a" * size, "b" * 5) for size in (25, 26, 27, 28, 29, 30, 31, 32, 33, 34)),
    *((f"t{x * 30}", f"aa{x * 14}", f"b{x * 9}") for x in LETTERS.values()),
    *((x * 7, x * 11, x * 13) for x in LETTERS.values()),
    ("日" * 21, "é" * 31, "t日" * 15),
    ("日" * 21 + "t", "aé" * 21, "b"),
]
NAMES = st.text(st.sampled_from("at_é日𝄞A \"'%():."), min_size=1, max_size=40).filter(
    lambda name: "_" < name < "\U0010ffff"
)


def catalog(connection: sa.Connection) -> list[tuple[str, str]]:
    """Return what is in the public schema, each with its name."""
    return [
        (row.name, row.what)
        for row in connection.execute(
            sa.text("""
                SELECT conname AS name, conrelid::regclass || pg_get_constraintdef(oid) AS what
                FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
                UNION ALL
                SELECT relname, regexp_replace(pg_get_indexdef(oid), 'INDEX .* ON ', 'INDEX ON ')
                FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'i'
                ORDER BY name, what
            """)
        )
    ]


def named_by_convention(engine: sa.Engine, tables: Tables) -> list[tuple[str, str]]:
    models = sa.MetaData(naming_convention=NAMING_CONVENTION)
    for name, items in tables.items():
        table = sa.Table(name, models, *items())
        assert all(each.name is not None for each in table.constraints)  # or PostgreSQL names it
    with engine.connect() as connection:  # and nothing is committed
        models.create_all(connection)
        return catalog(connection)


def named_by_postgresql(engine: sa.Engine, tables: Tables) -> list[tuple[str, str]]:
    models = sa.MetaData(naming_convention={"ix": "anonymous"})
    with engine.connect() as connection:
        for name, function in tables.items():
            items = function()
            table = sa.Table(name, models, *items)
            connection.execute(CreateTable(table))
            in_order = [item for item in items if isinstance(item, sa.Index)] or table.indexes
            for each in in_order:
                named = str(CreateIndex(each).compile(connection))
                connection.exec_driver_sql(named.replace("INDEX anonymous ON", "INDEX ON", 1))
        return catalog(connection)


@pytest.mark.parametrize("case", CASES)
def test_convention_gives_the_names_of_postgresql(engine: sa.Engine, case: str) -> None:
    """What the convention names is named as by PostgreSQL when the SQL gives no names."""
    expected = named_by_postgresql(engine, CASES[case])
    assert named_by_convention(engine, CASES[case]) == expected
    assert expected


@pytest.mark.long
def test_long_names_are_cut_as_by_postgresql(engine: sa.Engine) -> None:
    """A name of more than 63 bytes loses the same bytes as in PostgreSQL, in any alphabet."""
    for names in LONG:
        tables = one_of_each(*names)
        assert named_by_convention(engine, tables) == named_by_postgresql(engine, tables), names


@pytest.mark.long
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(table=NAMES, columns=st.lists(NAMES, min_size=2, max_size=2, unique=True))
def test_any_names_give_the_names_of_postgresql(
    engine: sa.Engine, table: str, columns: list[str]
) -> None:
    """Whatever a table and its columns are called, the names are PostgreSQL's."""
    tables = one_of_each(table, *columns)
    assert named_by_convention(engine, tables) == named_by_postgresql(engine, tables)

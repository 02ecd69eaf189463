"""Columns added with a default: existing rows get the default of the models at once."""

from dataclasses import replace

import pytest
import sqlalchemy as sa
from answers import yes
from commands import up
from conftest import Project, run_sql

from postgres_database.drafting import draft, objects, stages, trial
from postgres_database.history import project_models
from postgres_database.history.operations import RunSql
from postgres_database.workflows import revision

BEFORE = "sa.Table('note', metadata, sa.Column('id', sa.Integer, primary_key=True))\n"
AFTER = """
from sqlalchemy.dialects import postgresql
DEFAULTS = {defaults}
sa.Table('note', metadata, sa.Column('id', sa.Integer, primary_key=True),
    *(sa.Column(f"c{{number}}", type_, server_default=default, nullable=number % 2 == 0)
      for number, (type_, default) in enumerate(DEFAULTS)))
"""
DEFAULTS = r"""[
    (sa.String, "say 'hi'"), (sa.String, "'"), (sa.String, "''"), (sa.String, "'quoted'"), (sa.String, ""),
    (sa.String, "it's"), (sa.String(9), "'x"), (sa.Text, "a\\b"), (sa.Text, "\\"), (sa.Text, "\\'"),
    (sa.Text, "a\nb\tc"),
    (sa.Text, "100%"), (sa.Text, "%(x)s %s"), (sa.Text, ":x"), (sa.Text, "a :x"), (sa.Text, "E'x'"), (sa.Text, "NULL"),
    (sa.Text, 'in "quotes"'), (sa.Text, "größer; 日本"), (sa.Text, "{}"), (sa.Text, "nextval('x')"), (sa.Text, "\\:x"),
    (sa.Text, sa.text("' \\:x'")), (sa.Text, sa.text("'50%'")), (sa.Text, sa.text("E'a\\\\\\\\b\\n'")),
    (sa.Text, sa.text("'a;b'::text")), (sa.Text, sa.text("NULL::text")), (sa.Text, sa.text("$$it's$$")),
    (sa.Text, sa.func.lower("A \\:b'%")), (sa.Text, sa.literal("x'y\\z% :w")), (sa.Text, sa.cast("a'b", sa.Text)),
    (sa.Text, sa.text("'it''s'")), (sa.Text, sa.func.repeat("'", 2)), (sa.Text, sa.text("upper('x') || ' :y'")),
    (sa.Integer, "7"), (sa.Integer, sa.text("5 % 3")), (sa.Integer, sa.text("'3'::int")), (sa.Boolean, sa.true()),
    (sa.Boolean, "false"), (sa.Numeric(5, 2), "1.5"), (sa.Date, "2026-01-31"), (sa.Date, sa.text("'2026-01-31'")),
    (sa.Interval, "1 day"), (sa.Uuid, "00000000-0000-0000-0000-000000000001"), (sa.LargeBinary, "\\x00ff"),
    (sa.JSON, '{"a": "it\'s :x"}'), (postgresql.JSONB, sa.text("'{\"a\": 1}'::jsonb")), (postgresql.JSONB, "[]"),
    (postgresql.ARRAY(sa.Text), "{}"), (postgresql.ARRAY(sa.Text), sa.text("ARRAY['a', 'b''c']::text[]")),
    (postgresql.ARRAY(sa.Integer), sa.literal([1, 2], postgresql.ARRAY(sa.Integer))),
    (sa.Enum("it's", "b", name="mood"), "it's"), (sa.Enum("it's", "b", name="mood"), sa.text("'b'::mood")),
    (sa.DateTime(timezone=True), sa.func.now()), (sa.Float, sa.text("random()")), (sa.CHAR(3), "'a'"),
]"""


@pytest.mark.long
def test_existing_rows_get_the_default_of_the_models(project: Project) -> None:
    """However a default is written, an existing row has what a new row gets, by one statement for each column."""
    project.models(BEFORE)
    assert revision.write(*project.settings, "Init").proved
    up(project.settings, project.database, confirm=yes)
    run_sql(project.database, "INSERT INTO note VALUES (1)")
    project.models(AFTER.format(defaults=DEFAULTS))
    result = revision.write(*project.settings, "Defaults")
    assert result.proved, result
    up(project.settings, project.database, confirm=yes)
    run_sql(project.database, "INSERT INTO note VALUES (2)")
    first, second = run_sql(project.database, "SELECT to_jsonb(note) - 'id' FROM note ORDER BY id")
    different = {
        key: (value, second[0][key])  # type: ignore[index]
        for key, value in first[0].items()  # type: ignore[attr-defined]
        if value != second[0][key]  # type: ignore[index]
    }
    models = project.settings.project.models()
    columns = project_models.tables(models)[0].columns
    varying = [c.name for c in columns if isinstance(c.type, (sa.DateTime, sa.Float))]
    assert sorted(different) == sorted(varying)
    text = "".join(path.read_text() for path in project.versions.glob("*defaults*"))
    assert text.count("SET DEFAULT") == len(varying) - 1  # varying ones are filled in batches
    assert revision.write(*project.settings, "Again").path is None


def test_default_that_is_a_member_of_an_enum(project: Project) -> None:
    """It is written as its value, so that Alembic's operation creates the table."""
    project.models("""
        import enum
        class Mood(str, enum.Enum):
            GOOD = "it's good"
        sa.Table('note', metadata, sa.Column('id', sa.Integer, primary_key=True),
                 sa.Column('mood', sa.Text, server_default=Mood.GOOD))
    """)
    assert revision.write(*project.settings, "Init").proved
    text = "".join(path.read_text() for path in project.versions.glob("*init*"))
    assert "op.create_table('note'" in text
    assert "CREATE TABLE" not in text


@pytest.mark.long
def test_proof_compares_the_values_that_rows_get(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a column is added with a wrong default that is corrected only afterwards, the proof fails and names it."""
    project.models(BEFORE)
    assert revision.write(*project.settings, "Init").proved
    apply = trial.Trial.apply

    def wrong(self: trial.Trial, changes: object, **options: bool) -> None:
        apply(self, changes, **options)  # type: ignore[arg-type]
        for place, (change, way) in enumerate(self.applied):
            if change.default and len(way) == 1:
                added = RunSql("ALTER TABLE note ADD COLUMN c0 varchar DEFAULT 'wrong';")
                right = RunSql("ALTER TABLE note ALTER COLUMN c0 SET DEFAULT 'right';")
                self.applied[place] = change, [added, right]

    monkeypatch.setattr(trial.Trial, "apply", wrong)
    project.models(AFTER.format(defaults="[(sa.String, 'right')]"))
    result = revision.write(*project.settings, "Wrong")
    assert not result.proved
    assert "the default of column note.c0" in result.lost[0]


COUNTED = "sa.Table('note', metadata, sa.Column('id', sa.Integer, primary_key=True), sa.Column('{name}', sa.{type}))"
BAD_STEPS = {
    "row": ("DELETE FROM note WHERE id = 2", "1 of 3 rows of table public.note"),
    "value": ("UPDATE note SET id = id + 9", "values of column public.note.id"),
    "other rows": (
        "UPDATE note SET {n} = (SELECT o.{n} FROM note o WHERE o.id = 3 - note.id) WHERE id < 3",
        "values of table public.note: they are in other rows",
    ),
    "cast": (
        "UPDATE note SET {n} = {n}::int + 1",
        "values of column public.note.n: not what a cast to {} gives",
    ),
    "sequence": (
        "SELECT setval('note_id_seq', 1)",
        "the value of sequence public.note_id_seq: it gives numbers that were given before",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("way", ["upgrade", "downgrade"])
@pytest.mark.parametrize("case", BAD_STEPS)
def test_proof_compares_rows_and_sequences_in_both_directions(
    project: Project, monkeypatch: pytest.MonkeyPatch, case: str, way: str
) -> None:
    """What either direction does to rows that keep their table, column or sequence is a fault, which is named."""
    bad, line = BAD_STEPS[case]
    project.models(COUNTED.format(name="m", type="Integer"))
    assert revision.write(*project.settings, "Init").proved
    divide = stages.divide

    def wrong(origin: stages.Origin, drafted: draft.Draft) -> stages.Stages:
        divided = divide(origin, drafted)
        last = divided.stages[-1]
        statement = RunSql(bad.format(n="m" if way == "downgrade" else "n"))
        ways = {"upgrade": last.upgrade, "downgrade": last.downgrade}
        ways[way] = [*ways[way], statement]
        return replace(divided, stages=(*divided.stages[:-1], stages.Stage(**ways, end=last.end)))

    monkeypatch.setattr(stages, "divide", wrong)
    project.models(COUNTED.format(name="n", type="Text"))
    result = revision.write(*project.settings, "Wrong", rename=["note.m:n"])
    assert not result.proved
    where = "in the downgrade, " if way == "downgrade" else ""
    assert where + line.format("integer" if where else "text") in result.lost


@pytest.mark.long
def test_proof_says_which_values_it_does_not_compare(project: Project) -> None:
    """Values of a composite type that gets other attributes are not compared, which is said."""
    models = """
        from sqlalchemy import event
        from sqlalchemy.types import UserDefinedType
        class Pair(UserDefinedType):
            def get_col_spec(self, **_): return 'pair'
        event.listen(metadata, 'before_create', sa.DDL("CREATE TYPE pair AS ({})"))
        sa.Table('note', metadata, sa.Column('id', sa.Integer, primary_key=True), sa.Column('p', Pair))
    """
    project.models(models.format("a int"))
    assert revision.write(*project.settings, "Init").proved
    project.models(models.format("a int, b int"))
    result = revision.write(*project.settings, "Wider")
    assert result.proved, result
    assert result.not_shown == (
        "values of column public.note.p: the attributes of pair are others than before",
    )


@pytest.mark.long
@pytest.mark.parametrize("gone", [False, True], ids=["upgrade", "downgrade"])
def test_proof_compares_the_order_of_columns(
    project: Project, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    """A table that a script makes with its columns in another order is a fault, which is named."""
    with_parcel = (
        BEFORE
        + "MADE = 'CREATE TABLE parcel (id int, depot int, count int) PARTITION BY LIST (id)'\n"
    )
    with_parcel += "sa.event.listen(metadata, 'after_create', sa.DDL(MADE))\n"
    project.models(with_parcel if gone else BEFORE)
    assert revision.write(*project.settings, "Init").proved
    monkeypatch.setattr(objects, "_in_column_order", lambda _table, body, _columns: body)
    project.models(BEFORE if gone else with_parcel)
    result = revision.write(*project.settings, "Wrong")
    assert not result.proved
    assert result.misplaced == (
        "table parcel has the columns count, depot, id instead of id, depot, count",
    )

"""Scripts that are written from the models, and what is said of them."""

import ast

import pytest
import sqlalchemy as sa
from answers import yes
from commands import Heard, up
from conftest import Project, changed, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.running import runner
from postgres_database.workflows import revision

USERS = """
users = sa.Table(
    "users", metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("email", sa.Text, unique=True),
)
"""
ORDERS = """
sa.Table(
    "orders", metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("user_id", sa.ForeignKey("users.id"), index=True, nullable=False),
)
"""

UNREFERABLE = """
sa.Table("p", metadata, sa.Column("x", sa.Text))
sa.Table("c", metadata, sa.Column("x", sa.ForeignKey("p.x")))
"""


def test_first_revision_and_the_next(project: Project) -> None:
    """Each script leads from the history to the models; a third call finds nothing to do."""
    project.models(USERS)
    first = revision.write(*project.settings, "Init tables")
    project.models(USERS + ORDERS)
    second = revision.write(*project.settings, "Add orders")
    nothing = revision.write(*project.settings, "Nothing")
    assert (first.proved, second.proved, nothing.proved) == (True, True, True)
    assert second.detected == ("add table orders", "add index orders_user_id_idx on orders")
    assert nothing.path is None
    assert len(project.scripts()) == 2
    up(project.settings, project.database, confirm=yes)
    assert run_sql(project.database, "SELECT to_regclass('orders_user_id_idx') IS NOT NULL") == [
        (True,)
    ]


def test_models_that_a_script_changes_when_it_is_imported(project: Project) -> None:
    """The models are what they are before any script is imported, with a template of the history and without."""
    project.models(USERS)
    path = revision.write(*project.settings, "Init tables").path
    module, metadata = (
        project.settings.project.target_metadata[:-9],
        project.settings.project.models(),
    )
    assert path
    assert isinstance(metadata, sa.MetaData)
    late = 'sa.Table("late", metadata, sa.Column("x", sa.Integer))'
    path.write_text(f"{path.read_text()}\n\nfrom {module} import metadata\n\n{late}\n")
    for _ in range(2):
        assert revision.write(*project.settings, "Nothing").path is None
        metadata.remove(metadata.tables["late"])


def test_target_is_not_looked_at(project: Project) -> None:
    """A development database that drifted, or is not there, cannot leak into a script."""
    run_sql(project.database, "CREATE TABLE users (id int)", "CREATE TABLE left_over (x int)")
    project.models(USERS)
    result = revision.write(*project.settings, "Init tables")
    assert result.detected == ("add table users",)
    assert result.proved


@pytest.mark.parametrize("message", ["", "   ", "\n"])
def test_empty_message_is_refused(project: Project, message: str) -> None:
    """Without a message nothing is written."""
    project.models(USERS)
    with pytest.raises(ExpectedError, match="needs a message"):
        revision.write(*project.settings, message)
    assert project.scripts() == []


@pytest.mark.parametrize(
    "message",
    [
        'it\'s "quoted"',
        '"""triple"""',
        'ends with a quote"',
        "C:\\new\\table\\",
        "100% of $HOME `id` $(id) ${x}",
        "größer 日本語 🎉",
        "## % if mako: ${1/0} <%doc>",
        "--msg",
        "two\nlines",
    ],
)
def test_message_arrives_intact(project: Project, message: str) -> None:
    """Whatever the message holds, the script says it literally and can be read."""
    result = revision.write(*project.settings, message, empty=True)
    assert result.path is not None
    docstring = ast.get_docstring(ast.parse(result.path.read_text()), clean=False)
    assert docstring is not None
    assert docstring.startswith(f"{message}\n\nRevision: {result.revision}")


def test_file_name_is_dated(project: Project) -> None:
    """A script is called by date, revision and message, so that files sort by age."""
    result = revision.write(*project.settings, "Added column: to file_meta_data!", empty=True)
    assert result.path is not None
    assert result.path.name[16:] == f"{result.revision}_added_column_to_file_meta_data.py"
    assert result.path.name[:16].replace("_", "").replace("-", "").isdigit()


def test_several_heads_are_refused(project: Project) -> None:
    """With several heads nothing is written; the error names the merge command."""
    project.script("aaaa")
    project.script("bbbb")
    project.models(USERS)
    for empty in (False, True):
        with pytest.raises(ExpectedError, match="2 heads: aaaa, bbbb") as caught:
            revision.write(*project.settings, "Third", empty=empty)
        assert caught.value.hint.startswith("invoke merge")
    assert len(project.scripts()) == 2


@pytest.mark.parametrize(
    ("models", "what"),
    [
        ("raise RuntimeError('no models today')", "no models today"),
        ("import a_module_that_does_not_exist", "a_module_that_does_not_exist"),
        ("sa.Table('t', metadata, sa.Column('x', sa.ForeignKey('nowhere.id')))", "nowhere"),
        (
            UNREFERABLE,
            "(in CREATE TABLE c ( x",
        ),
        ("sa.event.listen(metadata, 'after_create', lambda *_, **__: 1 / 0)", "ZeroDivisionError"),
    ],
    ids=["raises", "import", "foreign key", "statement", "event"],
)
def test_broken_models_write_nothing(project: Project, models: str, what: str) -> None:
    """Models that cannot be loaded or created are an error with their own words, and no file."""
    project.models(models)
    with pytest.raises(ExpectedError) as caught:
        revision.write(*project.settings, "Broken")
    assert what in caught.value.cause
    assert project.scripts() == []


def test_broken_history_writes_nothing(project: Project) -> None:
    """A history that does not run on a scratch database is told before anything is written."""
    project.script("aaaa", "", "op.execute('SELECT no_such_function()')")
    project.models(USERS)
    with pytest.raises(ExpectedError, match="aaaa") as caught:
        revision.write(*project.settings, "Next")
    assert "no_such_function" in caught.value.cause
    assert project.scripts() == ["aaaa.py"]


def test_interrupted_revision_leaves_no_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the script is tried removes it again."""
    project.models(USERS)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "open_runner", interrupt)
    with pytest.raises(KeyboardInterrupt):
        revision.write(*project.settings, "Interrupted")
    assert project.scripts() == []


def test_models_may_ask_who_they_are_made_as(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """What models run in events finds user and database in the URL of the engine."""
    url = "connection.engine.url"
    ask = f"lambda _, connection, **__: print({url}.username, {url}.database)"
    project.models(f"sa.event.listen(metadata, 'before_create', {ask})\n{USERS}")
    assert revision.write(*project.settings, "Init tables").proved
    assert capsys.readouterr().err.startswith("postgres postgres_database_scratch_")


def test_script_that_changes_the_models_is_no_difference(project: Project) -> None:
    """A script may import the models and add to them: they are what they were before."""
    project.models(USERS)
    assert revision.write(*project.settings, "Init tables").proved
    module = project.settings.project.target_metadata.partition(":")[0]
    head = project.settings.project.history.head
    script = project.script("later", head)
    users = f"{module}.metadata.tables['users']"
    rule = "sa.CheckConstraint('id > 0', name='positive')"
    script.write_text(f"import {module}\n{script.read_text()}\n{users}.append_constraint({rule})\n")
    assert revision.write(*project.settings, "Nothing").path is None


@pytest.mark.long
def test_constraint_spelled_otherwise_is_renamed(project: Project) -> None:
    """Where only the spelling of a CHECK differs, it follows its table and is not made again."""
    table = "sa.Table('{0}', metadata, sa.Column('a', sa.String(9)){1})"
    project.models(table.format("runs", ""))
    assert revision.write(*project.settings, "Init tables").proved
    spelled = (
        "(((a)::text = ANY ((ARRAY['x'::character varying, 'y'::character varying])::text[])))"
    )
    add = f"op.run_sql({f'ALTER TABLE runs ADD CONSTRAINT runs_a_check CHECK {spelled}'!r})"
    project.script("by_hand", project.settings.project.history.head, add)
    rule = ", sa.CheckConstraint(\"a IN ('x', 'y')\", name=sa.schema.conv('jobs_a_check'))"
    project.models(table.format("jobs", rule))
    result = revision.write(*project.settings, "Rename", rename=["runs:jobs"])
    assert result.proved
    assert not result.cautions
    assert result.path
    assert "DROP CONSTRAINT" not in result.path.read_text()


@pytest.mark.long
def test_parts_that_statements_make_stay(project: Project) -> None:
    """Alembic knows neither a key nor a comment that a statement of the models makes; it is not made again."""
    table = 'sa.Table("t", metadata, sa.Column("id", sa.Integer), sa.Column("a", sa.Integer))'
    listen = "sa.event.listen(metadata, 'after_create', sa.DDL({!r}))"
    key = "ALTER TABLE t ADD CONSTRAINT t_pkey PRIMARY KEY (id); COMMENT ON COLUMN t.a IS 'x'"
    pointing = "CREATE TABLE r (t_id int REFERENCES t (id))"
    models = "\n".join([table, *map(listen.format, (key, pointing))])
    project.models(models)
    assert revision.write(*project.settings, "First").proved
    project.models(models.replace("(id);", "(id) WITH (fillfactor=70);"))
    result = revision.write(*project.settings, "Second")
    assert result.proved
    assert result.path
    lines = [line.strip() for line in result.path.read_text().splitlines()]
    assert [line for line in lines if line.startswith(("op.", "with "))] == [
        """op.run_sql("ALTER INDEX public.t_pkey SET (fillfactor = '70');")""",
        "op.run_sql('ALTER INDEX public.t_pkey RESET (fillfactor);')",
    ]


@pytest.mark.long
def test_view_goes_with_what_was_given_to_it_by_hand(project: Project) -> None:
    """Grants and comments of an object that the models lose are no obstacle, and are brought back."""
    make = "CREATE VIEW v AS SELECT id FROM users"
    listen = f"sa.event.listen(metadata, 'after_create', sa.DDL({make!r}))"
    project.models(USERS + listen)
    assert revision.write(*project.settings, "Init tables").proved
    given = (
        "GRANT SELECT ON v TO PUBLIC; COMMENT ON COLUMN v.id IS 'one'; COMMENT ON VIEW v IS 'two'"
    )
    project.script("by_hand", project.settings.project.history.head, f"op.run_sql({given!r})")
    project.models(USERS)
    result = revision.write(*project.settings, "Without the view")
    assert result.proved
    assert result.kept == ()


def test_what_models_print_is_no_result(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the application prints when it is imported goes to stderr: stdout may be JSON."""
    project.models("print('hello')\n" + USERS)
    assert revision.write(*project.settings, "Init tables").proved
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "hello\n")


@pytest.mark.long
def test_what_nobody_can_write_is_named(project: Project) -> None:
    """An object that the script does not make is named with both texts, beside what it makes."""
    log = "sa.Table('log', metadata, sa.Column('day', sa.Date), postgresql_partition_by='{} (day)')"
    project.models(USERS + log.format("LIST"))
    assert revision.write(*project.settings, "With a log").proved
    project.models(USERS + ORDERS + log.format("RANGE"))
    result = revision.write(*project.settings, "With another key")
    assert not result.proved
    assert result.path
    assert [str(difference.key) for difference in result.not_upgraded] == ["TABLE log"]
    assert "BY LIST (day)" in result.not_upgraded[0].left
    assert "BY RANGE (day)" in result.not_upgraded[0].right


@pytest.mark.long
def test_script_that_fails_on_rows_is_kept_and_told(project: Project) -> None:
    """A script that rows refuse stays for its author, with the server's words."""
    project.models(USERS.replace("sa.Text, unique=True", "sa.Integer"))
    revision.write(*project.settings, "Init tables")
    project.models(USERS.replace("sa.Text, unique=True", "sa.Date"))
    result = revision.write(*project.settings, "Integer to date")
    assert not result.proved
    assert "invalid input syntax for type date" in result.failure
    assert result.path
    assert all(".staged" not in text for text in (result.failure, result.path.read_text()))
    assert f"(in {result.path.relative_to(project.root)}, line " in result.failure
    assert result.cautions == (
        "the values of column users.email are cast to date: what does not fit is refused",
        "users is rewritten while others cannot read or write it",
    )
    assert len(project.scripts()) == 2


@pytest.mark.long
def test_losses_are_told(project: Project) -> None:
    """Dropped columns and tables are told as what they lose, also in the script."""
    project.models(USERS + ORDERS)
    revision.write(*project.settings, "Init tables")
    project.models(USERS.replace('"email"', '"mail"'))
    result = revision.write(*project.settings, "No rename", no_renames=True)
    assert set(result.cautions) == {
        "the rows of table orders are dropped",
        "the values of column users.email are dropped",
        "users_mail_key on users fails on rows that are equal",
    }
    assert result.path
    assert "    # the rows of table orders are dropped\n" in result.path.read_text()


@pytest.mark.long
@pytest.mark.parametrize(
    ("old", "new", "caution"),
    [
        (
            "unique=True),",
            "unique=True), sa.Column('x', sa.Text, nullable=False),",
            "column users.x becomes NOT NULL",
        ),
        ("sa.Text, unique", "sa.Text, nullable=False, unique", "becomes NOT NULL"),
        (
            "sa.Text, unique=True",
            "sa.Text, index=True, unique=True",
            "users_email_idx on users fails",
        ),
        (
            "unique=True),",
            "unique=True), sa.Column('x', sa.Text, nullable=False, server_default=''),",
            "",
        ),
        (
            "unique=True),",
            "unique=True), sa.Column('x', sa.UUID, nullable=False, server_default=sa.func.gen_random_uuid()),",
            "",
        ),
    ],
    ids=["new column", "set not null", "unique index", "default", "default of each row"],
)
def test_rows_that_may_be_in_the_way_are_told(
    project: Project, old: str, new: str, caution: str
) -> None:
    """What can fail on a table with rows is told, and what rows get is asked where nobody knows."""
    project.models(USERS)
    revision.write(*project.settings, "Init tables")
    project.models(USERS.replace(old, new))
    result = revision.write(*project.settings, "Next")
    assert result.proved
    assert result.unfilled is ("users.x" in caution)
    assert caution in " ".join(result.cautions)
    assert bool(result.cautions) is bool(caution)


@pytest.mark.long
def test_what_the_models_do_not_know_is_kept(project: Project) -> None:
    """Views, functions and partitions that only the history has are left alone, and named."""
    project.models(USERS)
    revision.write(*project.settings, "Init tables")
    head = project.settings.project.history.head
    project.script(
        "by_hand",
        head,
        """
        op.execute("CREATE VIEW v AS SELECT id FROM users")
        op.execute("CREATE TABLE log (day date) PARTITION BY LIST (day)")
        op.execute("CREATE TABLE log_2026 PARTITION OF log FOR VALUES IN ('2026-01-01')")
        """,
    )
    log = (
        "sa.Table('log', metadata, sa.Column('day', sa.Date), postgresql_partition_by='LIST (day)')"
    )
    project.models(USERS + log)
    nothing = revision.write(*project.settings, "Nothing")
    assert nothing.path is None
    assert [str(key) for key in nothing.kept] == [
        "TABLE log_2026",
        "VIEW v",
    ]
    project.models(USERS + ORDERS + log)
    result = revision.write(*project.settings, "Add orders")
    assert result.proved
    assert result.detected == ("add table orders", "add index orders_user_id_idx on orders")


ADOPTED = {
    "row security": (
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (o = current_user)",
        "ALTER TABLE t SET (fillfactor = 50)",
    ),
    "forced": (
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY",
        "",
    ),
    "a type under a function": ("CREATE FUNCTION f(d) RETURNS int LANGUAGE sql AS 'SELECT 1'", ""),
    "a type under a view": ("CREATE VIEW v AS SELECT 1::d AS x", ""),
}
"""What the models do not know, and what of the table they do not want."""


@pytest.mark.long
@pytest.mark.parametrize(("kept", "changed"), ADOPTED.values(), ids=ADOPTED)
def test_what_the_models_do_not_know_is_kept_on_their_tables(
    project: Project, kept: str, changed: str
) -> None:
    """Row security stays on where the models only know the table; so does a type that something stands on."""
    made = "CREATE DOMAIN d AS int; CREATE TABLE t (id int PRIMARY KEY, o text, x d)"
    project.script("aaaa", "", f'op.execute("""{made}; {kept}; {changed}""")')
    columns = '"id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("o", sa.Text)'
    project.models(
        f'sa.Table("t", metadata, sa.Column({columns}, sa.Column("x", sa.Integer), sa.Column("new", sa.Text))'
    )
    result = revision.write(*project.settings, "Next")
    assert result.proved
    assert result.path
    assert "ROW LEVEL" not in result.path.read_text()
    assert revision.write(*project.settings, "Again").path is None


@pytest.mark.parametrize(
    "column",
    [
        'sa.Column("x", sa.JSON, server_default="{}")',
        """sa.Column("x", sa.Text, server_default="it's")""",
        'sa.Column("x", sa.Float, server_default=sa.text("random() * 2"))',
        'sa.Column("x", sa.DateTime(timezone=True), server_default=sa.func.now())',
        'sa.Column("x", sa.Text, server_default=sa.null())',
        """sa.Column("x", sa.Text), sa.CheckConstraint("x IN ('a', 'b')")""",
        'sa.Column("x", sa.Integer, sa.Computed("id * 2"))',
    ],
    ids=["json", "quote", "volatile", "now", "null", "check", "computed"],
)
@pytest.mark.filterwarnings("ignore:Computed column")  # before PostgreSQL 18 it is a stored one
def test_second_revision_finds_nothing(project: Project, column: str) -> None:
    """What was written once is no difference the second time, however it is spelled."""
    project.models(
        f'sa.Table("t", metadata, sa.Column("id", sa.Integer, primary_key=True), {column})'
    )
    assert revision.write(*project.settings, "First").proved
    assert revision.write(*project.settings, "Second").path is None


@pytest.mark.long
def test_default_that_changed_is_written(project: Project) -> None:
    """A new server default is seen and written, also on a column of a type without equality."""
    project.models(USERS.replace("sa.Text, unique=True", "sa.JSON, server_default='{}'"))
    revision.write(*project.settings, "Init tables")
    project.models(USERS.replace("sa.Text, unique=True", "sa.JSON, server_default='[]'"))
    result = revision.write(*project.settings, "Another default")
    assert result.proved
    assert len(result.detected) == 1


def test_sql_of_the_new_script(project: Project) -> None:
    """The new script can be had as SQL, from its parent to itself."""
    project.models(USERS)
    result = revision.write(*project.settings, "Init tables", sql=True)
    assert "CREATE TABLE users" in result.sql
    assert f"VALUES ('{result.revision}')" in result.sql


@pytest.mark.long
def test_likely_rename_writes_nothing(project: Project) -> None:
    """Without an answer nothing is written; the error has the option that decides it."""
    project.models(USERS)
    revision.write(*project.settings, "Init tables")
    project.models(USERS.replace('"email"', '"mail"'))
    with pytest.raises(ExpectedError, match="renamed") as caught:
        revision.write(*project.settings, "Rename")
    assert "--rename users.email:mail" in caught.value.hint
    assert len(project.scripts()) == 1
    questions: list[str] = []

    def ask(question: str) -> bool:
        questions.append(question)
        return True

    result = revision.write(*project.settings, "Rename", listener=Heard(choose=ask))
    assert questions == ["Was column users.email renamed to mail?"]
    assert result.proved
    assert result.renamed == (
        "column users.email:mail",
        "constraint users.users_email_key:users_mail_key",
    )
    assert revision.write(*project.settings, "Nothing").path is None


@pytest.mark.long
def test_what_is_excluded_is_left_alone(project: Project) -> None:
    """Objects that alembic.ini excludes are no difference, on either side."""
    serial = ORDERS.replace("sa.BigInteger, sa.Identity()", "sa.Integer")
    project.models(USERS + serial)
    assert revision.write(*project.settings, "Init tables").proved
    project.models(USERS)
    project.settings = changed(project.settings, exclude=("orders", "log*"))
    assert revision.write(*project.settings, "Nothing").path is None
    project.models(USERS + "sa.Table('log_2', metadata, sa.Column('x', sa.Text))")
    assert revision.write(*project.settings, "Nothing").path is None
    project.models(USERS.replace("sa.Text", "sa.String(9)"))
    result = revision.write(*project.settings, "Shorter")
    assert result.proved
    assert "orders" not in " ".join(result.detected)


def test_models_stay_as_they_are(project: Project) -> None:
    """Neither names that PostgreSQL gives, nor how an index is made here, stay with the models."""
    project.models(
        """
        columns = sa.Column("a", sa.Integer, primary_key=True), sa.Column("b", sa.Integer, unique=True)
        metadata.naming_convention = {}
        sa.Table("plain", metadata, *columns, sa.Index("i", "b", postgresql_concurrently=True))
        """
    )
    models = project.settings.project.models()
    assert isinstance(models, sa.MetaData)

    assert revision.write(*project.settings, "plain").proved

    table = models.tables["plain"]
    assert [each.name for each in table.constraints] == [None, None]
    assert [each.dialect_options["postgresql"]["concurrently"] for each in table.indexes] == [True]

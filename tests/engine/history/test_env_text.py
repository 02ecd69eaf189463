"""An env.py of somebody else, read as text: its models, its options, and the lines that it lacks."""

import ast
import textwrap
from difflib import ndiff
from pathlib import Path

import alembic
import pytest

from postgres_database.history import env_text

ALEMBICS = Path(alembic.__file__).parent / "templates"
MODULES = {"shop", "shop.db", "shop.db.models"}


@pytest.mark.parametrize(
    ("text", "models"),
    [
        ("from shop.db.models import Base\ntarget_metadata = Base.metadata", "shop.db.models:Base.metadata"),
        ("from shop.db.models import Base as B\ntarget_metadata = B.metadata", "shop.db.models:Base.metadata"),
        ("from shop.db.models import metadata\ntarget_metadata = metadata", "shop.db.models:metadata"),
        ("from shop.db import models\ntarget_metadata = models.Base.metadata", "shop.db.models:Base.metadata"),
        ("import shop.db.models\ntarget_metadata = shop.db.models.Base.metadata", "shop.db.models:Base.metadata"),
        ("import shop.db.models as m\ntarget_metadata = m.Base.metadata", "shop.db.models:Base.metadata"),
        ("from sqlmodel import SQLModel\ntarget_metadata = SQLModel.metadata", "sqlmodel:SQLModel.metadata"),
        ("from shop.db.models import A, B\ntarget_metadata = [A.metadata, B.metadata]", ""),
        ("from shop import db\ndef f():\n    all = db.m\n    configure(target_metadata=all)", ""),
        ("from shop import db\ndef f():\n    all = db.m\n    c.configure(target_metadata=all)", "shop.db:m"),
        ("from shop import db\nc.configure(target_metadata=db.B.metadata)", "shop.db:B.metadata"),
        ("from shop import db\nc.configure(target_metadata=db.A.m)\nc.configure(target_metadata=db.B.m)", ""),
        ("target_metadata = sa.MetaData()", ""),
        ("target_metadata = None", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_whose_models_it_hands_to_alembic(text: str, models: str) -> None:
    """An import and an attribute of it are found; anything else is left to who knows."""
    assert env_text.models(text, MODULES.__contains__) == models


@pytest.mark.parametrize(
    ("text", "models"),
    [
        ("for t in db.more:\n    target_metadata._add_table(t.name, None, t)", ""),
        ("for t in db.more:\n    t.to_metadata(target_metadata)", ""),
        ("for t in db.more:\n    t.tometadata(metadata=db.metadata)", ""),
        ("target_metadata.naming_convention = {}", ""),
        ("def f():\n    target_metadata.clear()", "shop.db:metadata"),
        (
            "if target_metadata.tables:\n    print(target_metadata.tables.keys())",
            "shop.db:metadata",
        ),
    ],
)
def test_models_that_it_adds_to_have_no_name(text: str, models: str) -> None:
    """Where env.py puts tables into its models, or changes them, their name alone would stand for other ones."""
    text = f"from shop import db\ntarget_metadata = db.metadata\n{text}"
    assert env_text.models(text, MODULES.__contains__) == models


@pytest.mark.parametrize(
    ("text", "name", "carried"),
    [
        ("context.configure(include_object=mine)", "include_object", False),
        ("context.configure(include_name=lambda *_: True)", "include_name", False),
        ("options = {'render_item': mine}", "render_item", False),
        ("options['process_revision_directives'] = mine", "process_revision_directives", False),
        ("tenant = context.get_x_argument(as_dictionary=True)", "get_x_argument", False),
        ("names = config.get_main_option('databases', '')", "databases", False),
        ("for each in tenants:\n    context.run_migrations()", "run_migrations in a loop", False),
        ("from flask import current_app\nengine = current_app.engine", "current_app", False),
        ("register_entities([f])", "register_entities", False),
        ("context.configure(version_table='mine')", "version_table", True),
        ("context.configure(version_table_schema='mine')", "version_table_schema", True),
        ("context.configure(include_schemas=True)", "include_schemas", True),
        ("context.configure(compare_type=True)", "compare_type", True),
        ("target_metadata = MetaData(naming_convention=names)", "naming_convention", True),
    ],
)
def test_options_are_named_with_their_line(text: str, name: str, carried: bool) -> None:  # noqa: FBT001
    """What our commands carry and what they do not is told, each once, and where."""
    lines = text.count("\n") + 3
    whole = f"import x\n\n{text}\n{text}\n"
    (option,) = env_text.options(whole, whole)
    assert (option.name, option.line, option.honoured) == (name, lines, carried)


def test_what_is_no_option_is_not_named() -> None:
    """A function of such a name, a loop without scripts, and what everybody writes are no options."""
    text = (
        "def include_object(): ...\nfor x in y:\n    z()\ncontext.configure(connection=c, url=u)\n"
    )
    assert env_text.options(text, text) == []


BY_ITSELF = """
from alembic import context

def online():
    with engine() as connection:
        def mine(*_): ...
        context.configure(connection=connection, process_revision_directives=mine, compare_type=True, **more())
        with context.begin_transaction():
            context.run_migrations()

if context.is_offline_mode():
    offline()
{end}
"""
OURS = 'elif (connection := context.config.attributes.get("connection")) is not None:\n'


def added(text: str) -> list[str]:
    """Return the lines that an env.py gets, without those that make op.online known."""
    new = env_text.with_connection(text)
    assert new is not None
    ast.parse(new)
    assert env_text.with_connection(new) == new
    lines = [line[2:] for line in ndiff(text.splitlines(), new.splitlines()) if line[0] in "+-?"]
    lines = [line for line in lines if line.strip()]
    assert lines.pop(0) == "from postgres_database import alembic_env"
    lines.remove("alembic_env.register()  # op.online and op.backfill")
    return lines


FLASK = """
from flask import current_app
from alembic import context

url = current_app.config["URL"]

if context.is_offline_mode():
    offline()
else:
    with engine() as connection:
        context.configure(connection=connection)
        context.run_migrations()
"""


def test_an_application_of_flask_is_made() -> None:
    """Where the current application is asked for, it is made first, unless there is one."""
    assert added(FLASK)[:6] == [
        "import os",
        "from flask import has_app_context",
        "from flask.cli import ScriptInfo",
        "if not has_app_context():  # which only `flask db` pushes",
        '    ScriptInfo(os.environ.get("FLASK_APP")).load_app().app_context().push()',
        OURS.strip(),
    ]
    new = env_text.with_connection(FLASK)
    assert new
    assert [each.honoured for each in env_text.options(FLASK, new)] == [True]
    made = FLASK.replace("url =", "create_app().app_context().push()\nurl =")
    assert added(made)[0] == OURS.strip()


def test_a_condition_around_gets_a_branch_inside() -> None:
    """Where `if context.is_offline_mode()` stands in another block, so does the branch."""
    plain = FLASK.replace("current_app", "app")
    start = plain.index("if context")
    nested = f"{plain[:start]}if context:\n" + textwrap.indent(plain[start:], "    ")
    assert added(nested) == [f"    {line}" for line in added(plain)]


@pytest.mark.parametrize("name", ["generic", "async", "pyproject", "pyproject_async"])
def test_the_templates_of_alembic_get_a_branch(name: str) -> None:
    """What `alembic init` made gets the lines once, and only those."""
    lines = added((ALEMBICS / name / "env.py").read_text())
    assert lines[0] == OURS.strip()
    assert lines[1] in {"    do_run_migrations(connection)", "    context.configure("}


@pytest.mark.parametrize(
    "end", ["else:\n    online()", "elif online_too:\n    online()\nelse:\n    pass"]
)
def test_its_options_are_taken_over(end: str) -> None:
    """The branch gives Alembic what env.py gives it, but for what only exists where it connects by itself."""
    assert added(BY_ITSELF.format(end=end)) == [
        OURS.strip(),
        "    context.configure(",
        "        connection=connection,",
        "        compare_type=True,",
        "        **more(),",
        "    )",
        "    with context.begin_transaction():",
        "        context.run_migrations()",
    ]


ONLY_ONLINE = """
from alembic import context

def online():
    with engine() as connection:
        context.configure(connection=connection)
        context.run_migrations()

online()  # always
"""
BY_OPTIONS = """
from alembic import context

def scripts(connection):
    options = {"connection": connection}
    context.configure(**options)
    context.run_migrations()

def online():
    with engine() as connection:
        scripts(connection)

if context.is_offline_mode():
    offline()
else:
    online()
"""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            ONLY_ONLINE,
            [
                OURS.strip().removeprefix("el"),
                "    context.configure(",
                "        connection=connection,",
                "    )",
                "    with context.begin_transaction():",
                "        context.run_migrations()",
                "else:",
            ],
        ),
        (BY_OPTIONS, [OURS.strip(), "    scripts(connection)"]),
    ],
)
def test_other_shapes_that_are_known(text: str, lines: list[str]) -> None:
    """One that never prints, and one whose options are put together first, get the branch, too."""
    assert [line for line in added(text) if "always" not in line and "+" not in line] == lines


@pytest.mark.parametrize(
    "text",
    [
        "from alembic import context\nonline()\n",
        "from alembic import context\nif context.is_offline_mode():\n    offline()\n",
        "from alembic import context\nif context.is_offline_mode():\n    a()\nelse:\n    b()\n",
    ],
)
def test_a_shape_that_is_not_known_is_left(text: str) -> None:
    """Where it is not certain which lines belong where, none are written."""
    assert env_text.with_connection(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "connection = config.attributes.get('connection')\n",
        "connection = context.config.attributes['connection']\n",
    ],
)
def test_one_that_shares_its_connection_gets_the_operations_only(text: str) -> None:
    """Alembic's recipe for that is known; ours does all, and gets nothing."""
    assert added(f"from alembic import context\n{text}") == []
    ours = (Path(__file__).parents[3] / "migration" / "env.py").read_text()
    assert env_text.with_connection(ours) == ours

"""What the scripts of a plan run, told without a target."""

import re
import time
from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from conftest import Project

from postgres_database.preflight.preview import Printed, printed

NO_TEXT = "NULL" if sa.__version__.startswith("2.0.") else "NULL::VARCHAR"
"""How SQLAlchemy prints a text that is not known."""


def of(project: Project, upgrade: str) -> Printed:
    """Return the statements of a script with this upgrade."""
    project.script("aaaa", "", upgrade)
    (step,) = printed(
        project.settings.project, "upgrade", project.settings.project.history.revisions
    )
    return step


@pytest.mark.parametrize(
    ("body", "statements", "online"),
    [
        ("pass", [], False),
        (
            "op.execute('CREATE TABLE t (a int); -- one; two\\nDROP TABLE t')",
            ["CREATE TABLE t (a int)", "DROP TABLE t"],
            False,
        ),
        (
            "op.add_column('t', sa.Column('Größe', sa.Integer(), nullable=False), schema='s')",
            ['ALTER TABLE s.t ADD COLUMN "Größe" INTEGER NOT NULL'],
            False,
        ),
        (
            "op.bulk_insert(sa.table('t', sa.column('a', sa.Text)), [{'a': '100% :x; it\\'s'}])",
            ["INSERT INTO t (a) VALUES ('100% :x; it''s')"],
            False,
        ),
        (
            """
            op.execute('CREATE TABLE t (a int)')
            with op.get_context().autocommit_block():
                op.create_index('i', 't', ['a'], postgresql_concurrently=True)
            """,
            ["CREATE TABLE t (a int)", "CREATE INDEX CONCURRENTLY i ON t (a)"],
            True,
        ),
        ("print('hello'); op.drop_table('t')", ["DROP TABLE t"], False),
        ("[row for row in op.get_bind().execute(sa.text('SELECT 1'))]", None, False),
        ("if not op.get_context().as_sql:\n    op.execute('DELETE FROM t')", None, False),
        ("op.get_bind().execute(sa.text('DELETE FROM t'))", ["DELETE FROM t"], False),
        (
            """
            t = sa.table('t', sa.column('a', sa.Text))
            op.get_bind().execute(t.update().where(t.c.a == ':b'), {'a': 'x'})
            op.execute('SELECT 1')
            """,
            [f"UPDATE t SET a={NO_TEXT} WHERE t.a = ':b'", "SELECT 1"],
            False,
        ),
        (
            "with op.get_context().autocommit_block():\n    op.get_bind().exec_driver_sql('x')",
            None,
            True,
        ),
    ],
)
def test_statements_of_a_script(
    project: Project, body: str, statements: Sequence[str] | None, *, online: bool
) -> None:
    """The statements of a script are those that it runs; if only a run shows them, they are unknown."""
    step = of(project, body)
    assert step.statements == (None if statements is None else tuple(statements))
    assert step.online == online


READS = "the script reads rows"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("op.get_bind().execute(sa.text('SELECT 1')).fetchall()", READS),
        ("if op.get_bind().execute(sa.text('SELECT 1')):\n    op.drop_table('t')", READS),
        ("try:\n    len([*op.get_bind().execute(sa.text('SELECT 1'))])\nexcept Exception:\n    pass", READS),
        ("[a for a in op.get_context().connection.execute(sa.text('SELECT 1'))]", READS),
        ("op.get_bind().scalar(sa.text('SELECT 1'))", "AttributeError: 'MockConnection' object has"),
        ("sa.inspect(op.get_bind()).has_table('t')", "NoInspectionAvailable: "),
        ("from sqlalchemy.orm import Session as S\nS(op.get_bind()).scalars(sa.text('SELECT 1'))", "AttributeError"),
        ("op.bulk_insert(sa.table('t', sa.column('a', sa.JSON)), [{'a': {}}])", "CompileError: No literal"),
        ("op.get_context().is_offline_mode() or undefined_name()", "AttributeError"),
        ("if op.get_context().as_sql:\n    pass", "the script asks whether it is printed"),
    ],
)  # fmt: skip
def test_what_only_a_run_shows(project: Project, body: str, reason: str) -> None:
    """The statements of a script that needs a database are unknown; the plan says why, and the script may run."""
    step = of(project, body)
    assert (step.statements, step.refusal) == (None, None)
    assert [*step.lines()][1].startswith(f"  statements that only a run shows: {reason}")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            "op.creat_index('i')",
            "AttributeError: module 'alembic.op' has no attribute 'creat_index'",
        ),
        ("op.create_index('i')", "TypeError: create_index() missing 2 required"),
        ("op.create_index('i', 't', ['a'], uniq=True)", "TypeError: Additional arguments"),
        ("op.add_column('t', 'x')", "AttributeError: 'str' object has no attribute 'table'"),
        (
            "with op.get_context().autocommit_block():\n        undefined_name()",
            "NameError: name 'undefined_name'",
        ),
        (
            "op.execute('SELECT 1')\nraise NotImplementedError('no way back')",
            "NotImplementedError: no way back",
        ),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("op.get_bind().dialect.name == 'postgresql' and undefined_name()", "NameError"),
    ],
)
def test_script_that_is_broken(project: Project, body: str, error: str) -> None:
    """A script that is certain to fail is an error with file and line before anything runs."""
    step = of(project, body)
    first, what, cause, where = step.lines()
    assert what == "  error: revision aaaa  Message of aaaa cannot run; nothing was changed"
    assert cause.startswith(f"    {error}")
    assert re.fullmatch(r"    \(in migration/versions/aaaa.py, line 1[12]\)", where)
    assert first.startswith("aaaa")


def test_statements_that_the_parser_does_not_read(project: Project) -> None:
    """The lines name each statement that the parser rejects, also after the statements that are shown."""
    body = "\n".join(
        [*("op.execute('SELECT 1')" for _ in range(13)), "op.execute('SOMETHING NEW')"]
    )
    *_, more, what, statement = of(project, body).lines()
    assert (more, statement) == ("  … and 2 more", "    SOMETHING NEW")
    assert what.endswith('PostgreSQL\'s parser rejects: syntax error at or near "SOMETHING"')


def test_each_revision_has_its_own(project: Project) -> None:
    """Each revision has its own statements, also across branches and merges, and in a downgrade."""
    project.script("aaaa", "", "op.execute('SELECT 1')", "op.execute('SELECT -1')")
    project.script("bbbb", "aaaa", "op.execute('SELECT 2')", "undefined_name()")
    project.script("cccc", "aaaa", "op.execute('SELECT 3')", "op.execute('SELECT -3')")
    project.script("dddd", "bbbb,cccc", "pass", "op.execute('SELECT -4')")
    revisions = project.settings.project.history.revisions
    up = {
        step.revision.id: step.statements
        for step in printed(project.settings.project, "upgrade", revisions)
    }
    assert up == {
        "aaaa": ("SELECT 1",),
        "bbbb": ("SELECT 2",),
        "cccc": ("SELECT 3",),
        "dddd": (),
    }
    down = printed(project.settings.project, "downgrade", revisions[::-1])
    assert [step.revision.id for step in down][-1] == "aaaa"
    assert {step.revision.id: step.statements for step in down} == {
        "aaaa": ("SELECT -1",),
        "bbbb": None,
        "cccc": ("SELECT -3",),
        "dddd": ("SELECT -4",),
    }


def test_environment_that_cannot_be_printed(project: Project) -> None:
    """If env.py itself needs a database, all statements are unknown, and nothing fails."""
    env = project.root / "migration" / "env.py"
    env.write_text("raise RuntimeError\n")
    assert of(project, "op.execute('SELECT 1')").statements is None


def test_large_baseline_is_read_quickly(project: Project) -> None:
    """Thousands of statements of a baseline are split within seconds, and bodies of functions stay whole."""
    function = (
        "CREATE FUNCTION f{}() RETURNS void LANGUAGE plpgsql AS $_$ BEGIN; -- x\n\tEND; $_$;\n"
    )
    text = "".join(f"-- Name: {n}\n\n" + function.format(n) for n in range(5000))
    (project.versions / "big.sql").write_text(text)
    started = time.monotonic()
    step = of(project, f"op.execute_file({str(project.versions / 'big.sql')!r})")
    assert time.monotonic() - started < 30
    assert step.statements is not None
    assert len(step.statements) == 5000
    assert step.statements[0] == function.format(0).strip().removesuffix(";")


def test_lines_are_short_and_hold_no_values(project: Project) -> None:
    """A plan shows at most twelve statements, each in a line, without values of rows or passwords."""
    lines = [
        *of(
            project,
            """
            op.execute("UPDATE users SET name = 'secret', age = 4711 WHERE \\"e mail\\" = $$secret$$")
            op.execute("ALTER TABLE users ADD CHECK (kind IN ('a', 'b')), ADD c varchar(20)")
            op.execute("CREATE USER MAPPING FOR app SERVER s OPTIONS (password 'secret')")
            op.execute("CREATE VIEW v AS SELECT " + ", ".join(map(str, range(100))))
            for n in range(48):
                op.execute(f"DROP TABLE t{n}")
            """,
        ).lines()
    ]
    assert lines[:4] == [
        "aaaa  Message of aaaa  (transactional)",
        '  UPDATE users SET name = …, age = … WHERE "e mail" = …',
        "  ALTER TABLE users ADD CHECK (kind IN ('a', 'b')), ADD c varchar(20)",
        "  CREATE USER MAPPING FOR app SERVER s OPTIONS (password …)",
    ]
    assert lines[4].endswith(" …")
    assert max(map(len, lines)) < 130
    assert lines[-2:] == ["  DROP TABLE t7", "  … and 40 more"]

"""What every command prints, and how it ends, in the order of a project's life."""

import errno
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import psycopg2
import pytest
from checkouts import as_text
from conftest import ROOT, Project, run_sql
from invoke import Collection, Context, Exit
from sqlalchemy.exc import DBAPIError

import postgres_database.tasks
from postgres_database.console import terminal
from postgres_database.errors import ExpectedError
from postgres_database.schema.snapshot import Difference, Key
from postgres_database.workflows import revision, written_models

COMMANDS = Collection.from_module(postgres_database.tasks).tasks
NOT_HERE = {"psql", "edit", "start", "stop"}
"""They hand over to another program, or start one."""
X = {"env": "x"}
ALL = X | {"msg": "Message"}
MODELS = """
    sa.Table("t", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
    long = "a_name_so_long_that_no_other_fits_beside_it"
    sa.Table(long, metadata, sa.Column("id", sa.Integer, primary_key=True, comment="one \\n\\n two  "))
"""
DRIFT = "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$\n\n SELECT 1   \n\n$$; DROP TABLE t"
AGAIN = "DROP FUNCTION f; CREATE TABLE t (id serial PRIMARY KEY, n int); INSERT INTO t VALUES (1)"
REQUIRED = "op.alter_column('t', 'n', nullable=False)"

Prepare = Callable[[Project, pytest.MonkeyPatch], object]


def sql(text: str) -> Prepare:
    """Change the target."""
    return lambda project, _: run_sql(project.database, text)


def script(name: str, *bodies: str) -> Prepare:
    """Write a script that follows the first one."""

    def write(project: Project, _: pytest.MonkeyPatch) -> None:
        first = (project.versions / project.scripts()[0]).read_text()
        project.script(name, re.findall(r"^revision = '(\w+)'", first, re.MULTILINE)[0], *bodies)

    return write


def without_settings(project: Project, _: pytest.MonkeyPatch) -> None:
    """Let alembic.ini be that of plain Alembic."""
    ini = project.root / "alembic.ini"
    ini.write_text(ini.read_text().partition("[postgres_database]")[0])


def changed(module: Any, **values: object) -> Prepare:
    """Let a workflow return a result that differs in this."""

    def patch(_: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        write = module.write
        monkeypatch.setattr(
            module, "write", lambda *given, **named: replace(write(*given, **named), **values)
        )

    return patch


LIFE: tuple[tuple[Prepare | None, str, dict[str, Any], int], ...] = (
    (without_settings, "init", {}, 2),
    (None, "init", {"yes": True, "models": "shop.models:metadata"}, 0),
    (None, "revision", X, 1),
    (changed(revision, failure="one\n\ntwo"), "revision", ALL, 2),
    (None, "revision", ALL, 0),
    (None, "check", {}, 0),
    (None, "upgrade", X | {"target": "zzzz"}, 1),
    (None, "upgrade", X | {"dry_run": True}, 0),
    (None, "status", X, 0),
    (None, "status", X | {"exit_code": True}, 2),
    (None, "upgrade", X, 0),
    (None, "upgrade", X, 0),
    (None, "status", X | {"exit_code": True}, 0),
    (None, "current", X, 0),
    (None, "history", {}, 0),
    (None, "history", {"verbose": True}, 0),
    (None, "history", X, 0),
    (None, "heads", {"verbose": True}, 0),
    (None, "branches", {"verbose": True}, 0),
    (None, "show", {}, 0),
    (None, "check", X, 0),
    (None, "models", X, 0),
    (changed(written_models, unlike=(Difference(Key("TABLE", "s", "t"), "", "a\n\nb"),)), "models", X, 2),
    (None, "baseline-existing", X, 0),
    (None, "stamp", X, 0),
    (sql(DRIFT), "check", X, 2),
    (None, "status", X, 0),
    (None, "stamp", X, 1),
    (None, "baseline-existing", X, 2),
    (sql(AGAIN), "review", X, 0),
    (script("eeee", REQUIRED, REQUIRED), "upgrade", X | {"dry_run": True}, 2),
    (None, "review", X, 2),
    (None, "review", X | {"markdown": True}, 2),
    (None, "upgrade", X, 1),
    (sql("UPDATE t SET n = 1"), "upgrade", X, 0),
    (sql("ALTER TABLE t ALTER n DROP NOT NULL; UPDATE t SET n = NULL"), "downgrade", X | {"dry_run": True}, 2),
    (None, "downgrade", X, 1),
    (script("ffff"), "upgrade", X, 1),
    (None, "branches", {}, 0),
    (None, "rebase", X, 1),
    (None, "squash", X, 1),
    (None, "merge", {"msg": "Both"}, 0),
)  # fmt: skip
"""What happens before, a command with its options, and its exit code."""
EXIT_CODES = (
    (ROOT / "docs" / "json.md").read_text().partition("## Exit codes")[2].partition("\n\nA ")[0]
)
DOCUMENTED = re.findall(
    r"^\| (\d+) \| (?:`([a-z-]+)[^`]*`|every command) \|", EXIT_CODES, re.MULTILINE
)
"""Each exit code with the command that ends so; empty for every command."""
LOST = psycopg2.OperationalError("server closed the connection unexpectedly")
FAILURES = ExpectedError("x"), OSError(errno.ENOSPC, "full"), LOST, DBAPIError("SELECT", (), LOST)
ENDS: dict[str, tuple[BaseException | None, ...]] = {
    "0": (None,),
    "1": FAILURES,
    "130": (KeyboardInterrupt(),),
}
"""Each exit code of every command, and what its body raises then."""


@pytest.fixture
def life(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without scripts, whose environment x has an empty database."""
    project.models(MODELS)
    metadata = f"TARGET_METADATA={project.settings.project.target_metadata}"
    (project.root / ".env.x").write_text(
        f"POSTGRES_DSN={as_text(project.database.dsn)}\nSCRATCH_DSN={as_text(project.scratch)}\n"
    )
    (project.root / ".env.x").chmod(0o600)
    monkeypatch.setenv("SCRATCH_DSN", as_text(project.scratch))
    monkeypatch.setenv(*metadata.split("=", 1))
    monkeypatch.chdir(project.root)
    shutil.copy(ROOT / ".env.example", project.root)
    return project


def test_outputs_and_exit_codes(
    life: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No line ends with blanks, colour is for terminals, `status` fits 80 columns, and json.md says how each ends."""
    monkeypatch.setattr(terminal, "WIDTH", 80)
    wrong: list[object] = []
    ended: set[tuple[str, int]] = set()
    for prepare, name, options, expected in LIFE:
        with monkeypatch.context() as patch:
            if prepare:
                prepare(life, patch)
            code, said = 0, ""
            try:
                COMMANDS[name](Context(), **options)
            except Exit as end:
                code, said = end.code, end.message or ""
        shown = said + "".join(capsys.readouterr())
        ended.add((name, code))
        if code != expected:
            wrong.append((name, options, code, shown))
        wrong += [(name, line) for line in shown.split("\n") if line != line.rstrip()]
        wrong += [(name, line) for line in shown.split("\n") if "\x1b" in line]
        if name == "status":
            wrong += [(name, line) for line in shown.split("\n")[:4] if len(line) > 80]
    assert not wrong, "\n".join(map(str, wrong))
    documented = {(name, int(code)) for code, name in DOCUMENTED if name}
    assert {end for end in ended if end[1] not in {0, 1}} == documented
    assert {name for name, _ in ended} == {*COMMANDS} - NOT_HERE


def test_the_table_of_exit_codes_has_nothing_else() -> None:
    """json.md says once how every command ends, and each row is read by a test."""
    assert sorted(code for code, name in DOCUMENTED if not name) == sorted(ENDS)
    assert len(DOCUMENTED) == EXIT_CODES.count("\n| ") - 2  # the heads


def test_how_every_command_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Done is 0, a failure 1, an interruption 130, whichever command it is."""
    monkeypatch.chdir(ROOT)

    def ending(name: str, end: BaseException | None) -> int:
        monkeypatch.setattr(COMMANDS[name], "body", Mock(side_effect=end, __name__=name))
        try:
            COMMANDS[name](Context())
        except Exit as caught:
            return caught.code
        return 0

    wrong = [
        (name, end)
        for name in COMMANDS
        for code, ends in ENDS.items()
        for end in ends
        if ending(name, end) != int(code)
    ]
    assert not wrong

"""What people see and are asked."""

import io
import os
import re
import subprocess
import sys
import termios
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import sqlalchemy as sa
from checkouts import Checkout, as_text
from conftest import ROOT
from rich.console import Console

from postgres_database.commands import command
from postgres_database.console import show, show_init, show_standing, show_state, terminal
from postgres_database.errors import ExpectedError
from postgres_database.history.env_text import Option
from postgres_database.history.graph import Revision
from postgres_database.preflight.drops import Dropped
from postgres_database.preflight.preview import Printed
from postgres_database.preflight.row_checks import Violation
from postgres_database.running.listener import Step
from postgres_database.running.log import Edited
from postgres_database.schema.comparison import Differences
from postgres_database.schema.snapshot import Difference, Key
from postgres_database.server.connection import Database
from postgres_database.server.dsn import Dsn
from postgres_database.server.environment import Environment
from postgres_database.server.version_table import ALEMBICS
from postgres_database.workflows.adoption import BaselineResult
from postgres_database.workflows.check import CheckResult, TargetCheck
from postgres_database.workflows.init import InitResult
from postgres_database.workflows.rebase import RebaseResult
from postgres_database.workflows.revision import RevisionResult
from postgres_database.workflows.squash import SquashResult
from postgres_database.workflows.stamp import Match
from postgres_database.workflows.standing import Drift, Drifts, UpgradeResult
from postgres_database.workflows.status import EnvironmentStatus

RAN = datetime(2026, 1, 2, 12).astimezone()
SHOP = Dsn({"user": "app", "host": "db", "dbname": "shop"})
PLAIN = Environment(Path(), "x", "from .env.x", SHOP)
PROTECTED = replace(PLAIN, protected=True)


@contextmanager
def at_a_terminal(monkeypatch: pytest.MonkeyPatch, typed: str) -> Iterator[list[str]]:
    """Put a pseudo-terminal, on which this is typed, in the place of stdin and stdout.

    Afterwards the list has what was to be seen.
    """
    master, slave = _typed_on(typed)
    shown: list[str] = []
    with (
        monkeypatch.context() as patch,
        os.fdopen(slave) as stdin,
        os.fdopen(os.dup(slave), "w") as stdout,
    ):
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(sys, "stdout", stdout)
        yield shown
    shown.append(_rest(master))


def _typed_on(text: str) -> tuple[int, int]:
    """Open a terminal on which this is typed, unseen: when it is echoed is left to chance."""
    master, slave = os.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    os.write(master, text.encode())
    return master, slave


def _rest(master: int) -> str:
    """Return all that was shown on a terminal, once its other end is closed."""
    shown = b""
    with os.fdopen(master, "rb", buffering=0) as reader, suppress(OSError):
        while data := reader.read(65536):
            shown += data
    return shown.decode().replace("\r\n", "\n")


CTRL_D = "\x04"
UNNAMED = replace(PROTECTED, target=Dsn({"host": "db"}))
EMBEDDED = replace(PROTECTED, target=None)
ANSWERS = {
    "y": (PLAIN, "y\n", True),
    "yes": (PLAIN, "yes\n", True),
    "with blanks, in capitals": (PLAIN, " Yes \n", True),
    "no": (PLAIN, "n\n", False),
    "return": (PLAIN, "\n", False),
    "another word": (PLAIN, "yep\n", False),
    "end of input": (PLAIN, CTRL_D, False),
    "name of the database, unprotected": (PLAIN, "shop\n", False),
    "name": (PROTECTED, "shop\n", True),
    "name with a blank": (PROTECTED, "shop \n", True),
    "yes, protected": (PROTECTED, "yes\n", False),
    "return, protected": (PROTECTED, "\n", False),
    "beginning of the name": (PROTECTED, "sho\n", False),
    "name in capitals": (PROTECTED, "SHOP\n", False),
    "end of input, protected": (PROTECTED, CTRL_D, False),
    "return where the DSN names no database": (UNNAMED, "\n", False),
    "login where the DSN names no database": (UNNAMED, "ada\n", True),
    "yes on the embedded server": (EMBEDDED, "y\n", False),
    "name on the embedded server": (EMBEDDED, "postgres_database\n", True),
}


@pytest.mark.parametrize(("settings", "typed", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_answers(
    monkeypatch: pytest.MonkeyPatch,
    settings: Environment,
    typed: str,
    answer: bool,  # noqa: FBT001
) -> None:
    """Only y or yes is a yes, in a protected environment only its database's name; all else is no."""
    monkeypatch.setenv("LOGNAME", "ada")
    with at_a_terminal(monkeypatch, typed) as seen:
        confirm = terminal.Terminal(settings).confirm
        assert confirm("stamp [bold] %s :x:", ["aaaa  [red] 100%", "bbbb"]) is answer
    (shown,) = seen
    assert "  aaaa  [red] 100%\n  bbbb\nstamp [bold] %s :x:?" in shown
    assert ("type the name of the database" in shown) is settings.protected
    assert ("? [y/N] " in shown) is not settings.protected


def test_yes_answers_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """--yes is the answer also in a protected environment: the plan is shown and nothing is asked."""
    with at_a_terminal(monkeypatch, "") as seen:
        assert terminal.Terminal(PROTECTED, yes=True).confirm("stamp", ["aaaa"])
    assert seen == ["  aaaa\n"]


@pytest.mark.parametrize("absent", ["stdin", "stdout"])
@pytest.mark.parametrize("settings", [PLAIN, PROTECTED], ids=["plain", "protected"])
def test_without_a_terminal_nobody_is_asked(
    monkeypatch: pytest.MonkeyPatch, settings: Environment, absent: str
) -> None:
    """Where input or output is no terminal, --yes is required, whatever is on the input."""
    with at_a_terminal(monkeypatch, "yes\n"), Path(os.devnull).open("r+") as nothing:
        monkeypatch.setattr(sys, absent, nothing)
        with pytest.raises(ExpectedError) as caught:
            terminal.Terminal(settings).confirm("stamp app@db", [])
    assert caught.value.what == "confirmation needed to stamp app@db"
    assert caught.value.hint == "the same command with --yes"
    assert ("PROTECTED=1" in caught.value.cause) is settings.protected


def on_a_terminal(
    checkout: Checkout, typed: str, *arguments: str, **environ: str
) -> tuple[int, str]:
    """Run a command on a pseudo-terminal of its own; return its exit code and what is to be seen."""
    master, slave = _typed_on(typed)
    with subprocess.Popen(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=checkout.root,
        env=checkout.environ | {"TERM": "xterm-256color"} | environ,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        os.close(slave)
        shown = _rest(master)
    return process.returncode, shown


@pytest.mark.parametrize(
    ("typed", "removed"), [("y\n", True), ("\n", False), (CTRL_D, False)], ids=repr
)
def test_a_command_that_asks(checkout: Checkout, typed: str, removed: bool) -> None:  # noqa: FBT001
    """On a real terminal the choice of answers is to be seen, and no answer changes nothing."""
    code, shown = on_a_terminal(checkout, typed, "init", "--fresh")
    assert "[y/N]" in shown
    assert "Traceback" not in shown
    assert code == (0 if removed else 1)
    assert ("nothing was changed" in shown) is not removed
    assert bool(list((checkout.root / "migration" / "versions").glob("*.py"))) is not removed


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
    ids=str,
)
def test_colours(
    checkout: Checkout,
    database: Database,
    environ: dict[str, str],
    coloured: bool,  # noqa: FBT001
) -> None:
    """A terminal gets colours; with NO_COLOR, or where it has none, not a single control sequence."""
    checkout.env_file("x", POSTGRES_DSN=as_text(database.dsn))
    code, shown = on_a_terminal(checkout, "", "current", "--env", "x", **environ)
    assert code == 0
    assert ("\x1b[" in shown) is coloured
    assert f"x  {database.dsn}  (from .env.x)" in re.sub(r"\x1b\[[0-9;]*m", "", shown)


# --- what is shown, is shown as it is -----------------------------------------------------------

ODD = [
    "[bold]x[/bold]",
    "[/]",
    "[y/N] [link=http:x]",
    "%s %(x)d 100%",
    "{x} {} {0}",
    ":smile: :warning:",
    "\\[x]",
    "größer 🔑",
    "1.5 'quoted' \"x\" True http:x/?a=b",
    "long " + "word " * 100 + "end",
]


def shows(text: str) -> dict[str, Callable[[], None]]:
    """Return a call of every function that shows something, with this text wherever text can be."""
    revision = Revision("aaaa", text, Path("x.py"))
    difference = Difference(Key("TABLE", "public", text), text, f"first\n{text}")
    values: dict[Any, Any] = {
        str: text,
        int: 1,
        float: 0.5,
        bool: True,
        Path: Path(text),
        Path | None: Path("x.py"),
        tuple[str, ...]: (text,),
        tuple[str, ...] | None: (text,),
        tuple[Key, ...]: (difference.key,),
        tuple[Revision, ...]: (revision,),
        tuple[Edited, ...]: (Edited(revision, RAN),),
        tuple[Difference, ...]: (difference,),
        tuple[Violation, ...]: (Violation(revision, 1, text, text, text),),
        tuple[Dropped, ...]: (Dropped(text, table=True),),
        tuple[Printed, ...]: (Printed(revision, None, online=False),),
    }

    def filled(kind: Any, **given: Any) -> Any:
        types = get_type_hints(kind, localns=globals())
        rest = {name: values[types[name]] for name in types if name not in given}
        return kind(**given, **rest)

    comparison = filled(Differences)
    listener = terminal.Terminal(PLAIN)
    return {
        "say": lambda: terminal.say(text, "green"),
        "raw": lambda: terminal.raw(text),
        "warn": lambda: terminal.warn(replace(PLAIN, warnings=(text,))),
        "init": lambda: show_init.show(InitResult((Path(text),), (Path(text),))),
        "plan": lambda: show_standing.plan(filled(UpgradeResult), "upgrade"),
        "progress": lambda: listener.step(Step(revision, 0.1)),
        "upgrade": lambda: show_standing.upgrade(filled(UpgradeResult, before=()), "upgrade"),
        "revision": lambda: show.revision(filled(RevisionResult)),
        "by hand": lambda: show.revision(filled(RevisionResult, path=None)),
        "waiting": lambda: listener.wait(text),
        "note": lambda: listener.note(text),
        "check": lambda: show_state.check(CheckResult(("a",), comparison)),
        "heads": lambda: show_state.check(CheckResult((text, "b"), None)),
        "status": lambda: show_state.status([filled(EnvironmentStatus, fault="")], [text]),
        "fault": lambda: show_state.status([filled(EnvironmentStatus)], []),
        "current": lambda: show_standing.current([revision], []),
        "baseline": lambda: show.baseline(
            filled(BaselineResult, match=None, unlike_models=(Key("VIEW", "s", text),)),
            replace(PLAIN, name=text),
        ),
        "servers": lambda: show.servers([("running", text)]),
    }


TABLES = {"status", "fault"}
SHOWN = [
    (name, text) for name in shows("") for text in ODD if name not in TABLES or len(text) < 100
]


@pytest.mark.parametrize(("name", "text"), SHOWN, ids=lambda text: text[:20])
def test_texts_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    """Names and messages come through literally: nothing is marked up, formatted, replaced or wrapped."""
    shows("QQ")[name]()
    plain = "".join(capsys.readouterr())
    shows(text)[name]()
    shown = "".join(capsys.readouterr())
    assert plain.count("QQ") >= 1
    if name in TABLES:
        assert _squeezed(shown) == _squeezed(plain.replace("QQ", text))
    else:
        assert shown.splitlines() == plain.replace("QQ", text).splitlines()


def _squeezed(table: str) -> list[list[str]]:
    """Return the words of each row, without the blanks between columns."""
    return [line.split() for line in table.splitlines()]


def test_what_a_terminal_cannot_show(checkout: Checkout) -> None:
    """A character that the output cannot hold is shown as its escape, not as a traceback."""
    done = checkout.invoke("init", PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 0, done.stderr
    assert '--msg "\\u2026"' in done.stdout


def test_warnings_leave_stdout_to_results(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings go to stderr, so that what a program reads is not disturbed."""
    terminal.warn(replace(PLAIN, warnings=("one", "two")))
    assert capsys.readouterr() == ("", "warning: one\nwarning: two\n")


def test_warnings_of_libraries_are_notes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a library or the models warn of is a line on stderr, once, without Python's file and source."""
    monkeypatch.delenv("DEBUG", raising=False)
    with command.noted_warnings():
        warnings.simplefilter("always")
        for _ in range(2):
            warnings.warn_explicit("of two\n  lines", sa.exc.SAWarning, "/lib/a.py", 1)
        warnings.warn_explicit("old", DeprecationWarning, str(Path.cwd() / "models" / "b.py"), 7)
    assert capsys.readouterr() == (
        "",
        "note: of two lines   (SAWarning)\nnote: old   (DeprecationWarning, models/b.py line 7)\n",
    )


def test_lines_to_look_at_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    """The further lines of what is to be looked at begin where the first one does."""
    show.revision(RevisionResult(path=Path.cwd() / "a.py", failure="one\ntwo\n"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["look at   on a scratch database: one", "          two"]


@pytest.mark.parametrize("quiet", [True, False])
def test_the_first_line_names_the_target(capsys: pytest.CaptureFixture[str], quiet: bool) -> None:  # noqa: FBT001
    """The line that names the target is on stdout, or on stderr where stdout is for a program."""
    database = terminal.open_target(PLAIN, ALEMBICS, quiet=quiet)
    shown = capsys.readouterr()
    assert database.dsn == SHOP
    line = "x  app@db:5432/shop  (from .env.x)\n"
    assert shown == (("", line) if quiet else (line, ""))


def rows(*environments: EnvironmentStatus) -> Sequence[EnvironmentStatus]:
    return environments


def test_status_ends_with_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    """For each environment that is behind, status ends with the command that brings it to head."""
    show_state.status(
        rows(
            EnvironmentStatus(
                "x", revision=("aaaa",), pending=("b", "c"), drift=(), env_option=" --env x"
            ),
            EnvironmentStatus("default", pending=("aaaa",), drift_fault="no\n  scratch"),
            EnvironmentStatus("done", drift=("TABLE t", "VIEW v")),
            EnvironmentStatus("edited", revision=("aaaa",), drift=(), edited=(Edited(A, RAN),)),
            EnvironmentStatus("e", drift=(), edited=(Edited(A, RAN),), env_option=" --env e"),
            EnvironmentStatus(
                "standby",
                pending=("aaaa",),
                drift=(),
                read_only="it is a standby",
                hint="vi .env.standby",
            ),
            EnvironmentStatus(
                "broken",
                pending=("aaaa",),
                fault="no\n  route",
                hint="invoke psql   (once it runs)",
                env_option=" --env broken",
            ),
        ),
        ["cccc"],
    )
    shown = capsys.readouterr().out.splitlines()
    assert [line.split() for line in shown[1:4]] == [
        ["x", "aaaa", "2", "none"],
        ["default", "base", "1", "see", "below"],
        ["done", "base", "none", "2", "objects"],
    ]
    assert shown[7].startswith("broken ")
    assert shown[8:] == [
        "head: cccc",
        "default: no scratch",
        "edited: script aaaa m was edited after it ran on 2026-01-02 12:00: what ran is not what is written",
        "e: script aaaa m was edited after it ran on 2026-01-02 12:00: what ran is not what is written",
        "standby: what is pending cannot be run there: it is a standby",
        "broken: no route",
        "next: invoke upgrade --env x",
        "next: invoke upgrade",
        "next: invoke baseline-existing",
        "next: invoke stamp --target aaaa   (if what is written is right; else put back what ran)",
        "next: invoke check --env e",
        "next: vi .env.standby",
        "next: invoke psql --env broken   (once it runs)",
    ]


def test_status_of_several_heads_ends_with_merge(capsys: pytest.CaptureFixture[str]) -> None:
    """While there are several heads nothing can be upgraded: what to type is merge."""
    show_state.status(rows(EnvironmentStatus("default", pending=("b",))), ["aaaa", "bbbb"])
    shown = capsys.readouterr().out.splitlines()
    assert shown[2] == "head: aaaa, bbbb"
    assert [line.partition("   ")[0] for line in shown[3:]] == [
        'next: invoke merge --msg "Merge the heads"'
    ]


A, B = (Revision(name, "m", Path("x.py")) for name in ("aaaa", "bbbb"))
HERE = Path(ROOT, "migration", "versions", "x.py")
OTHER = Difference(Key("VIEW", "public", "v"), "", "CREATE VIEW v AS\nSELECT 1;")
DRIFT = Drift(OTHER.key, "CREATE VIEW v", "", ("CREATE VIEW v AS\nSELECT 1;",))
TARGET = TargetCheck("x", "app@db:5432/shop", ("aaaa",), (), Drifts(), " --env x")
KEPT = tuple(Key("VIEW", "s", f"v{number}") for number in range(6))

LINES: dict[str, tuple[Callable[[], None], list[str]]] = {
    "init": (
        lambda: show_init.show(InitResult((Path("a"),), (Path("b"), Path("c")))),
        ["removed  2 scripts", "created  a", "next: invoke revision"],
    ),
    "init again": (
        lambda: show_init.show(InitResult()),
        ["everything is already set up", "next: invoke revision"],
    ),
    "init in an application": (
        lambda: show_init.show(
            InitResult(
                left=(Path("alembic.ini"),),
                by_hand=("tasks.py   (so)",),
                options=(
                    Option("include_object", 7, honoured=False, note="not asked: …"),
                    Option("version_table", 9, honoured=True, note=""),
                ),
            )
        ),
        [
            "look at  include_object  (migration/env.py, line 7): not asked: …",
            "honoured version_table  (migration/env.py, line 9)",
            "left     alembic.ini   (see the difference above)",
            "by hand  tasks.py   (so)",
            "next: invoke init --yes",
        ],
    ),
    "plan": (
        lambda: show_standing.plan(
            UpgradeResult(
                ("0000",),
                (A, B),
                ("0000",),
                at_head=False,
                steps=(Printed(A, ("DROP TABLE t",), online=False), Printed(B, None, online=True)),
                violations=(Violation(A, 1200, "s.u", "are equal in (a)", "id = 1, 2, …"),),
                dropped=(Dropped("2 rows of s.t are dropped", table=True),),
            ),
            "upgrade",
        ),
        [
            "at 0000",
            "  would upgrade  aaaa  m  (transactional)",
            "    DROP TABLE t",
            "  would upgrade  bbbb  m  (online)",
            "    statements that only a run shows",
            "look at   2 rows of s.t are dropped",
            "look at   1,200 rows of s.u are equal in (a): id = 1, 2, …",
        ],
    ),
    "no plan": (
        lambda: show_standing.plan(UpgradeResult((), (), (), at_head=False), "downgrade"),
        ["at base", "already at base; nothing to downgrade"],
    ),
    "revision, proved": (
        lambda: show.revision(
            RevisionResult(
                path=HERE, detected=("a",), completed=("b",), cautions=("c",), kept=KEPT, sql="d;"
            )
        ),
        [
            "detected  a",
            "completed b",
            "wrote     migration/versions/x.py",
            "look at   c",
            "kept      6 objects that the models do not know: VIEW s.v0, ",
            "proved    up, down and up again",
            "next: review the script",
            "d;",
        ],
    ),
    "revision, not proved": (
        lambda: show.revision(
            RevisionResult(path=HERE, failure="f", not_upgraded=(OTHER,), not_downgraded=(OTHER,))
        ),
        [
            "wrote     migration/versions/x.py",
            "look at   on a scratch database: f",
            "look at   the upgrade does not make: VIEW v",
            "  history:    (none)",
            "  models:     CREATE VIEW v AS",
            "              SELECT 1;",
            "look at   the downgrade does not bring back: VIEW v",
            "  after:      (none)",
            "  before:     CREATE VIEW v AS",
            "              SELECT 1;",
            "next: mend the script, remove the error from its upgrade(), then invoke check",
        ],
    ),
    "revision, by hand": (
        lambda: show.revision(RevisionResult(not_upgraded=(OTHER,))),
        [
            "look at   the upgrade does not make: VIEW v",
            "  history:    (none)",
            "  models:     CREATE VIEW v AS",
            "              SELECT 1;",
            "nothing written",
            "next: invoke revision --empty",
        ],
    ),
    "revision, empty": (
        lambda: show.revision(RevisionResult(path=HERE, tried=False)),
        ["wrote     migration/versions/x.py", "next: write upgrade() and downgrade()"],
    ),
    "baseline, equal": (
        lambda: show.baseline(BaselineResult("aaaa", HERE, 7, unlike_models=()), PLAIN),
        [
            "wrote     migration/versions/x.py",
            "wrote     migration/versions/x.sql",
            "proved    an empty database upgraded with it has the same 7 objects",
            "stamped   aaaa",
            "models and database agree",
        ],
    ),
    "baseline, models differ": (
        lambda: show.baseline(
            BaselineResult("aaaa", HERE, 7, KEPT[:1], ("a",), unlike_models=KEPT), PLAIN
        ),
        [
            "wrote     migration/versions/x.py",
            "wrote     migration/versions/x.sql",
            "proved    an empty database upgraded with it has the same 7 objects",
            "same      VIEW s.v0: equal, but PostgreSQL prints it otherwise",
            "stamped   aaaa",
            "look at   a",
            "look at   the models differ from the database in 6 objects: VIEW s.v0, VIEW s.v1,",
            "next: invoke revision --msg '…', review it, then invoke upgrade --env x",
        ],
    ),
    "baseline, models broken": (
        lambda: show.baseline(BaselineResult("aaaa", HERE, 7), PLAIN),
        [
            "wrote     migration/versions/x.py",
            "wrote     migration/versions/x.sql",
            "proved    ",
            "stamped   aaaa",
            "next: invoke models --env x --into models.py   (writes the models of this database;",
        ],
    ),
    "baseline, found": (
        lambda: show.baseline(
            BaselineResult("aaaa", None, 7, match=Match(("aaaa",), Drifts()), pending=True), PLAIN
        ),
        [
            "proved    the database has the same 7 objects as revision aaaa",
            "stamped   aaaa",
            "next: invoke upgrade --env x",
        ],
    ),
    "baseline, not found": (
        lambda: show.baseline(
            BaselineResult("", None, 7, match=Match((), Drifts((DRIFT,) * 21))), PLAIN
        ),
        [
            "look at   the database is no revision of this history; base comes nearest",
            *[
                "look at   VIEW v is missing",
                "  history:    CREATE VIEW v",
                "  target:     (none)",
            ]
            * 20,
            "  and 1 more",
            "nothing was written",
            "next: if the database is right: ",
            "next: if they have nothing to do with each other: ",
        ],
    ),
    "baseline, near two revisions": (
        lambda: show.baseline(
            BaselineResult("", None, 7, match=Match(("aaaa", "bbbb"), Drifts((DRIFT,)))), PLAIN
        ),
        [
            "look at   the database is no revision of this history; aaaa, bbbb comes nearest",
            "look at   VIEW v is missing",
            "  history:    CREATE VIEW v",
            "  target:     (none)",
            "nothing was written",
            "next: if the database is right: ",
            "next: if the history is right: invoke stamp --env x --target aaaa, invoke stamp --env x --target bbbb,",
            "next: if they have nothing to do with each other: ",
        ],
    ),
    "check, drift": (
        lambda: show_state.check(
            CheckResult(
                ("aaaa",), Differences(()), replace(TARGET, drifts=Drifts((DRIFT,)), pending=("b",))
            )
        ),
        [
            "x  app@db:5432/shop",
            "look at   drift from revision aaaa: VIEW v",
            "  history:    CREATE VIEW v",
            "  target:     (none)",
            "  repair:     CREATE VIEW v AS",
            "              SELECT 1;",
            "pending   1: invoke upgrade --env x",
            "next: invoke psql --env x",
            "next: if pending revisions make what was changed by hand: invoke baseline-existing --env x ",
        ],
    ),
    "check, edited": (
        lambda: show_state.check(
            CheckResult(
                ("aaaa",),
                Differences(()),
                replace(TARGET, edited=(Edited(A, RAN),) * 6, unread="no"),
            )
        ),
        [
            *[
                "look at   script aaaa  m was edited after it ran on 2026-01-02",
                "          (git log -p -- ",
            ]
            * 5,
            "look at   and 1 more scripts were edited",
            "look at   no",
            "next: put back what ran, and write what is to change into a new revision; or, if what",
        ],
    ),
    "rebase": (
        lambda: show.rebase(
            RebaseResult((A, B), B, "main", ("whether x has run it is not known",))
        ),
        [
            "look at   whether x has run it is not known",
            "yours     what main has not",
            "moved     ",
            "moved     ",
            "proved    aaaa follows bbbb  m: up, down and up again",
            "next: git add",
        ],
    ),
    "squash": (
        lambda: show.squash(SquashResult(A, (A, B), Path("kept"), 3, (("public.t", 2),), ("odd",))),
        [
            "look at   odd",
            "wrote     ",
            "wrote     ",
            "rows      public.t: 2",
            "kept      2 scripts in kept, for databases in the middle",
            "proved    a database made by aaaa has the same 3 objects and the same rows",
            "next: invoke check",
        ],
    ),
    "check, not adopted": (
        lambda: show_state.check(
            CheckResult(
                ("aaaa",), Differences(()), replace(TARGET, revision=(), drifts=Drifts((DRIFT,)))
            )
        ),
        [
            "x  app@db:5432/shop",
            "look at   no revision is stamped, but the database has 1 object",
            "next: invoke baseline-existing --env x",
        ],
    ),
}


@pytest.mark.parametrize(("tell", "lines"), LINES.values(), ids=LINES)
def test_what_is_shown(
    capsys: pytest.CaptureFixture[str], tell: Callable[[], None], lines: list[str]
) -> None:
    """All that was done and found is shown, a line each, and at the end what comes next."""
    tell()
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == len(lines), shown
    assert [
        line for line, start in zip(shown, lines, strict=True) if not line.startswith(start)
    ] == []


def test_nothing_to_do_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing was to be done, one line says where the target stands; `check` is silent for cron."""
    show_standing.upgrade(UpgradeResult(("aaaa",), (), ("aaaa",), at_head=True), "upgrade")
    show_state.check(CheckResult(("aaaa",), Differences(())))
    show.revision(RevisionResult())
    show_standing.current([], [])
    assert capsys.readouterr().out.splitlines() == [
        "already at head: aaaa; nothing to upgrade",
        "nothing to do: models and history agree",
        "base: no revision is applied",
    ]


def test_long_work_is_shown_while_it_lasts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal a line comes now and then, with the number of the revision; short work says nothing."""
    monkeypatch.setattr(terminal, "OFTEN", 0.1)
    listener = terminal.Terminal(PLAIN)
    revisions = [Revision(name, "Slow", Path("x.py")) for name in ("aaaa", "bbbb")]
    listener.plan(revisions)
    with listener.at_work("quick"):
        pass
    assert capsys.readouterr().err == ""
    listener.step(Step(revisions[0], 0.1))
    with listener.at_work(str(revisions[1])):
        shown = ""
        while "so far" not in shown:
            shown += capsys.readouterr().err
    assert "[2/2]  bbbb  Slow: 0 s so far" in shown
    capsys.readouterr()
    listener.step(Step(revisions[1], 0.1))
    assert capsys.readouterr().out == "  [2/2]  bbbb  Slow  0.10 s\n"


@pytest.mark.parametrize("there", [True, False], ids=["terminal", "cron"])
def test_who_watches_sees_that_something_is_done(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    there: bool,  # noqa: FBT001
) -> None:
    """What check and status do is shown on a terminal once it takes long, and never where nobody watches."""
    monkeypatch.setattr(terminal, "SOON", 0.01)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: there)
    console = Console(file=sys.stderr, force_terminal=there)
    monkeypatch.setattr(terminal.ERR, "console", console)
    shown = ""
    with terminal.watched("compare"):
        time.sleep(0.1)
        while there and "compare: 0 s so far" not in shown:
            shown += capsys.readouterr().err
    assert there or capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["stdin", "stdout"])
def test_closed_streams_are_no_terminal(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Where a shell or a service has closed a stream nothing is asked."""
    closed = io.StringIO()
    closed.close()
    for stream in None, closed:
        monkeypatch.setattr(sys, name, stream)
        assert terminal.Terminal(Environment(Path())).choose("sure?") is None


@pytest.mark.parametrize(("closed", "shown"), [(">&-", ""), ("2>&-", "Rev"), ("<&-", "Rev")])
def test_a_command_whose_stream_is_closed(closed: str, shown: str) -> None:
    """What would be written there goes nowhere; the command does its work."""
    command = ["sh", "-c", f"{sys.executable} -m invoke heads --verbose {closed}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(shown)


def test_a_reader_that_goes_ends_no_command() -> None:
    """What `head` no longer reads goes nowhere: no traceback, and the work goes on to its end."""
    text = (
        "import sys; from postgres_database.console import terminal as t;"
        " t.say('one'); t.say('two'); t.raw('{}'); sys.stderr.write('done'); sys.exit(2)"
    )
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (2, b"done")


def test_a_note_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be looked at for each of many statements is said once in a command."""
    listener = terminal.Terminal(Environment(Path()))
    for text in "no rights", "no rows", "no rights":
        listener.note(text)
    assert capsys.readouterr().err == "note: no rights\nnote: no rows\n"

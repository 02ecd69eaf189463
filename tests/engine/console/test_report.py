"""Results for other programs: the keys are a promise."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from postgres_database.console import report, review_report
from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.preflight.drops import Dropped
from postgres_database.preflight.preview import Printed
from postgres_database.preflight.row_checks import Violation
from postgres_database.running.log import Edited, Entry
from postgres_database.schema.comparison import Differences
from postgres_database.schema.snapshot import Difference, Key
from postgres_database.workflows.adoption import BaselineResult
from postgres_database.workflows.check import CheckResult, TargetCheck
from postgres_database.workflows.rebase import RebaseResult
from postgres_database.workflows.review import Review
from postgres_database.workflows.revision import RevisionResult
from postgres_database.workflows.squash import SquashResult
from postgres_database.workflows.stamp import Match
from postgres_database.workflows.standing import Drift, Drifts, UpgradeResult
from postgres_database.workflows.status import EnvironmentStatus
from postgres_database.workflows.written_models import ModelsResult

ODD = 'größer "x"\n\\ [bold] %s \u2028'
CHANGED = Difference(Key("TABLE", "public", ODD), "left", ODD)
ADDED = Difference(Key("VIEW", "other", "v"), "", "right")
KEY = {"kind": "TABLE", "schema": "public", "name": ODD}
VIEW = {"kind": "VIEW", "schema": "other", "name": "v"}

NOTHING: dict[str, Any] = {
    "path": None,
    "then": None,
    "revision": None,
    "unfilled": False,
    "renamed": [],
    "detected": [],
    "completed": [],
    "cautions": [],
    "proved": True,
    "failure": None,
    "lost": [],
    "not_shown": [],
    "broken": [],
    "misplaced": [],
    "unguarded": [],
    "empty_tables": [],
    "not_upgraded": [],
    "not_downgraded": [],
    "kept": [],
    "sql": None,
}
REVISION = Revision("aaaa", ODD, Path(__file__), ("base0",))
SAID = {
    "revision": "aaaa",
    "message": ODD,
    "path": __file__,
    "down_revision": ["base0"],
    "online": False,
}
REFUSED = ExpectedError(ODD)
STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

STATUS = {
    "environment": "x",
    "target": "app@db:5432/shop",
    "version": "",
    "size": "",
    "revision": ["aaaa"],
    "pending": [ODD],
    "run": "",
    "read_only": "",
    "drift": None,
    "edited": [{**SAID, "ran": "2026-01-02T03:04:05+00:00"}],
    "not_compared": [],
    "drift_fault": "",
    "fault": "",
}

REPORTS: dict[str, tuple[str, dict[str, Any]]] = {
    "revision, nothing to do": (report.revision_json(RevisionResult()), NOTHING),
    "revision": (
        report.revision_json(
            RevisionResult(
                path=Path("a/b.py"),
                then=Path("a/c.py"),
                revision="b",
                unfilled=True,
                renamed=("column t.a:b",),
                detected=(ODD,),
                completed=("CREATE",),
                cautions=("lost",),
                failure=ODD,
                lost=("rows",),
                broken=("UPDATE",),
                empty=(ODD,),
                not_upgraded=(CHANGED,),
                not_downgraded=(ADDED,),
                kept=(ADDED.key,),
                sql="SQL",
            )
        ),
        {
            "path": "a/b.py",
            "then": "a/c.py",
            "revision": "b",
            "unfilled": True,
            "renamed": ["column t.a:b"],
            "detected": [ODD],
            "completed": ["CREATE"],
            "cautions": ["lost"],
            "proved": False,
            "failure": ODD,
            "lost": ["rows"],
            "not_shown": [],
            "broken": ["UPDATE"],
            "misplaced": [],
            "unguarded": [],
            "empty_tables": [ODD],
            "not_upgraded": [{**KEY, "history": "left", "models": ODD}],
            "not_downgraded": [{**VIEW, "after": None, "before": "right"}],
            "kept": ["VIEW other.v"],
            "sql": "SQL",
        },
    ),
    "revision, not tried": (
        report.revision_json(RevisionResult(tried=False)),
        {**NOTHING, "proved": None},
    ),
    "check, clean": (
        report.check_json(CheckResult(("a",), Differences(()))),
        {
            "clean": True,
            "heads": ["a"],
            "models": None,
            "detected": [],
            "objects": [],
            "cautions": [],
            "target": None,
        },
    ),
    "check, several heads": (
        report.check_json(CheckResult(("a", "b"), None)),
        {
            "clean": False,
            "heads": ["a", "b"],
            "models": None,
            "detected": [],
            "objects": [],
            "cautions": [],
            "target": None,
        },
    ),
    "check, differences": (
        report.check_json(
            CheckResult(("a",), Differences((CHANGED, ADDED), detected=(ODD,)), cautions=(ODD,))
        ),
        {
            "clean": False,
            "heads": ["a"],
            "models": None,
            "detected": [ODD],
            "objects": [
                {**KEY, "history": "left", "models": ODD},
                {**VIEW, "history": None, "models": "right"},
            ],
            "cautions": [ODD],
            "target": None,
        },
    ),
    "check, drift": (
        report.check_json(
            CheckResult(
                ("a",),
                Differences(()),
                TargetCheck(
                    "x",
                    "app@db:5432/shop",
                    ("a",),
                    (),
                    Drifts(
                        (Drift(ADDED.key, "left", "", (ODD,)),),
                        (ODD,),
                        ("rows",),
                        (),
                        (CHANGED.key,),
                        (ODD,),
                    ),
                    " --env x",
                    (Edited(REVISION, STARTED),),
                    ODD,
                ),
            )
        ),
        {
            "clean": False,
            "heads": ["a"],
            "models": None,
            "detected": [],
            "objects": [],
            "cautions": [],
            "target": {
                "environment": "x",
                "target": "app@db:5432/shop",
                "revision": ["a"],
                "pending": [],
                "drift": [
                    {**VIEW, "history": "left", "target": None, "repair": [ODD], "repaired": True}
                ],
                "edited": [{**SAID, "ran": "2026-01-02T03:04:05+00:00"}],
                "unread": ODD,
                "repair": [ODD],
                "losses": ["rows"],
                "kept": [f"TABLE {ODD}"],
                "not_compared": [ODD],
            },
        },
    ),
    "upgrade, nothing to do": (
        report.upgrade_json(UpgradeResult(("a",), (), ("a",), at_head=True), "app@db:5432/shop"),
        {
            "target": "app@db:5432/shop",
            "before": ["a"],
            "after": ["a"],
            "at_head": True,
            "seconds": 0,
            "plan": [],
            "violations": [],
            "dropped": [],
            "cautions": [],
            "restored": False,
        },
    ),
    "upgrade, dry run": (
        report.upgrade_json(
            UpgradeResult(
                (),
                (REVISION,),
                (),
                at_head=False,
                steps=(Printed(REVISION, (ODD,), online=False, refusal=REFUSED),),
                violations=(Violation(REVISION, 2, ODD, "is wrong", "id = 1"),),
                dropped=(Dropped(ODD, table=True),),
                cautions=(ODD,),
                seconds=1.23456,
            ),
            "app@db:5432/shop",
        ),
        {
            "target": "app@db:5432/shop",
            "before": [],
            "after": [],
            "at_head": False,
            "seconds": 1.235,
            "plan": [{**SAID, "statements": [ODD], "refusal": str(REFUSED)}],
            "violations": [
                {
                    "revision": "aaaa",
                    "table": ODD,
                    "rows": 2,
                    "text": f"2 rows of {ODD} is wrong: id = 1",
                }
            ],
            "dropped": [ODD],
            "cautions": [ODD],
            "restored": False,
        },
    ),
    "baseline-existing": (
        report.baseline_json(
            BaselineResult(
                "aaaa", Path("a/b.py"), 7, (ADDED.key,), (ODD,), unlike_models=(CHANGED.key,)
            ),
            "app@db:5432/shop",
            RevisionResult(),
        ),
        {
            "target": "app@db:5432/shop",
            "revision": "aaaa",
            "path": "a/b.py",
            "objects": 7,
            "respelled": ["VIEW other.v"],
            "notes": [ODD],
            "match": None,
            "pending": False,
            "unlike_models": [f"TABLE {ODD}"],
            "written": NOTHING,
        },
    ),
    "baseline-existing, no revision": (
        report.baseline_json(
            BaselineResult("", match=Match(("a",), Drifts((Drift(ADDED.key, "left", "", ()),)))),
            "app@db:5432/shop",
            None,
        ),
        {
            "target": "app@db:5432/shop",
            "revision": None,
            "path": None,
            "objects": 0,
            "respelled": [],
            "notes": [],
            "match": {
                "revision": ["a"],
                "drift": [{**VIEW, "history": "left", "target": None}],
            },
            "pending": False,
            "unlike_models": None,
            "written": None,
        },
    ),
    "models": (
        report.models_json(
            ModelsResult(ODD, Path("a/b.py"), 3, 1, (CHANGED,), (("VIEW", 2),), (ODD,))
        ),
        {
            "path": "a/b.py",
            "text": ODD,
            "tables": 3,
            "statements": 1,
            "proved": False,
            "objects": [{**KEY, "target": "left", "models": ODD}],
            "kept": {"VIEW": 2},
            "notes": [ODD],
        },
    ),
    "current": (
        report.current_json([REVISION], ["aaaa"], "app@db:5432/shop"),
        {"target": "app@db:5432/shop", "revisions": [SAID], "at_head": True},
    ),
    "history": (report.history_json([REVISION]), {"revisions": [SAID]}),
    "history of a target": (
        report.log_json(
            [Entry("aaaa", "upgrade", STARTED, None, "me", "here", "1.0", ODD, "f00")],
            {"f00": (1, 2)},
        ),
        {
            "runs": [
                {
                    "revision": "aaaa",
                    "direction": "upgrade",
                    "started": "2026-01-02T03:04:05+00:00",
                    "seconds": None,
                    "who": "me",
                    "host": "here",
                    "tool": "1.0",
                    "outcome": ODD,
                    "digest": "f00",
                    "estimate": {"low": 1, "high": 2},
                }
            ]
        },
    ),
    "rebase": (
        report.rebase_json(RebaseResult((REVISION,), REVISION, "main", (ODD,))),
        {"moved": [SAID], "onto": SAID, "branch": "main", "notes": [ODD]},
    ),
    "review": (
        review_report.as_json(Review("", "18.6", (), ())),
        {
            "verdict": "nothing to review",
            "target": None,
            "server": "18.6",
            "before": [],
            "revisions": [],
            "statements": [],
            "findings": [],
        },
    ),
    "squash": (
        report.squash_json(
            SquashResult(REVISION, (REVISION,), Path("kept"), 3, ((ODD, 2),), (ODD,))
        ),
        {
            "revision": SAID,
            "replaced": ["aaaa"],
            "kept": "kept",
            "objects": 3,
            "rows": {ODD: 2},
            "notes": [ODD],
        },
    ),
    "status, no environment": (report.status_json([]), {"environments": []}),
    "status": (
        report.status_json(
            [
                EnvironmentStatus(
                    "x",
                    "app@db:5432/shop",
                    revision=("aaaa",),
                    pending=(ODD,),
                    edited=(Edited(REVISION, STARTED),),
                )
            ]
        ),
        {"environments": [STATUS]},
    ),
}


@pytest.mark.parametrize(("text", "value"), REPORTS.values(), ids=REPORTS)
def test_reports(text: str, value: dict[str, Any]) -> None:
    """A report is one JSON object that always has all of its keys, and holds any text unchanged."""
    assert json.loads(text) == value
    assert "größer" in text or "größer" not in str(value)


def test_page_has_every_key() -> None:
    """docs/json.md names the keys of each command, and no other."""
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    sections = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    for name, (text, _) in REPORTS.items():
        command = name.partition(",")[0]
        section = sections["upgrade and downgrade" if command == "upgrade" else command]
        cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        assert {key for cell in cells for key in re.findall(r"`(\w+)`", cell)} == {
            *json.loads(text)
        }, name

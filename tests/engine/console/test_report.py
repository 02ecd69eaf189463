"""Results for other programs: the keys are a promise."""

import json
from pathlib import Path
from typing import Any

import pytest

from postgres_database.console import report
from postgres_database.schema.comparison import Differences
from postgres_database.schema.snapshot import Difference, Key
from postgres_database.workflows.check import CheckResult, TargetCheck
from postgres_database.workflows.drift import Drift, Drifts
from postgres_database.workflows.revision import RevisionResult
from postgres_database.workflows.status import EnvironmentStatus

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
    "broken": [],
    "unguarded": [],
    "empty_tables": [],
    "not_upgraded": [],
    "not_downgraded": [],
    "kept": [],
    "sql": None,
}
STATUS = {
    "environment": "x",
    "target": "app@db:5432/shop",
    "version": "",
    "size": "",
    "revision": ["aaaa"],
    "pending": [ODD],
    "drift": None,
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
            "broken": ["UPDATE"],
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
                "repair": [ODD],
                "losses": ["rows"],
                "kept": [f"TABLE {ODD}"],
                "not_compared": [ODD],
            },
        },
    ),
    "status, no environment": (report.status_json([]), {"environments": []}),
    "status": (
        report.status_json(
            [EnvironmentStatus("x", "app@db:5432/shop", revision=("aaaa",), pending=(ODD,))]
        ),
        {"environments": [STATUS]},
    ),
}


@pytest.mark.parametrize(("text", "value"), REPORTS.values(), ids=REPORTS)
def test_reports(text: str, value: dict[str, Any]) -> None:
    """A report is one JSON object that always has all of its keys, and holds any text unchanged."""
    assert json.loads(text) == value
    assert "größer" in text or "größer" not in str(value)

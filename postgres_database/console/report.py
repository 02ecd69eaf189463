"""Results as data for other programs. Pure functions; the keys are a promise."""

import json
from collections.abc import Iterable
from typing import Any

from postgres_database.schema.snapshot import Difference
from postgres_database.workflows.check import CheckResult, TargetCheck
from postgres_database.workflows.revision import RevisionResult
from postgres_database.workflows.status import EnvironmentStatus


def revision_json(result: RevisionResult) -> str:
    """Return the outcome of `revision` as one JSON object."""
    return _json(
        {
            "path": str(result.path) if result.path else None,
            "then": str(result.then) if result.then else None,
            "revision": result.revision or None,
            "unfilled": result.unfilled,
            "renamed": result.renamed,
            "detected": result.detected,
            "completed": result.completed,
            "cautions": result.cautions,
            "proved": result.proved if result.tried else None,
            "failure": result.failure or None,
            "lost": result.lost,
            "broken": result.broken,
            "unguarded": result.unguarded,
            "empty_tables": result.empty,
            "not_upgraded": _objects(result.not_upgraded, "history", "models"),
            "kept": [str(key) for key in result.kept],
            "sql": result.sql or None,
            "not_downgraded": _objects(result.not_downgraded, "after", "before"),
        }
    )


def check_json(result: CheckResult) -> str:
    """Return the outcome of `check` as one JSON object."""
    differences = result.differences
    return _json(
        {
            "clean": result.clean,
            "heads": result.heads,
            "models": result.unfit or None,
            "detected": differences.detected if differences else [],
            "objects": _objects(differences.objects if differences else (), "history", "models"),
            "cautions": result.cautions,
            "target": _target(result.target) if result.target else None,
        }
    )


def _target(checked: TargetCheck) -> dict[str, Any]:
    return {
        "environment": checked.environment,
        "target": checked.target,
        "revision": checked.revision,
        "pending": checked.pending,
        "drift": [
            {
                **vars(drift.key),
                "history": drift.history or None,
                "target": drift.target or None,
                "repair": drift.repair,
                "repaired": drift.key not in checked.drifts.unrepaired,
            }
            for drift in checked.drifts.objects
        ],
        "repair": checked.drifts.repair,
        "losses": checked.drifts.losses,
        "kept": [str(key) for key in checked.drifts.kept],
        "not_compared": checked.drifts.notes,
    }


def status_json(environments: Iterable[EnvironmentStatus]) -> str:
    """Return the outcome of `status` as one JSON object."""
    rows = [dict(vars(environment)) for environment in environments]
    for row in rows:
        del row["env_option"]  # for people who type
    return _json({"environments": rows})


def _objects(differences: Iterable[Difference], left: str, right: str) -> list[dict[str, Any]]:
    return [
        {**vars(difference.key), left: difference.left or None, right: difference.right or None}
        for difference in differences
    ]


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)

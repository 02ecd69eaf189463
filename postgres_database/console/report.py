"""Results as data for other programs. Pure functions; the keys are a promise (docs/json.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from postgres_database.history.graph import Revision

if TYPE_CHECKING:
    from postgres_database.reviewing.durations import Ranges
    from postgres_database.running.log import Edited, Entry
    from postgres_database.schema.snapshot import Difference
    from postgres_database.workflows.adoption import BaselineResult
    from postgres_database.workflows.check import CheckResult, TargetCheck
    from postgres_database.workflows.rebase import RebaseResult
    from postgres_database.workflows.revision import RevisionResult
    from postgres_database.workflows.squash import SquashResult
    from postgres_database.workflows.standing import UpgradeResult
    from postgres_database.workflows.status import EnvironmentStatus
    from postgres_database.workflows.written_models import ModelsResult


def upgrade_json(result: UpgradeResult, target: str) -> str:
    """Return the outcome of `upgrade` or `downgrade`, or of its dry run, as one JSON object."""
    printed = {step.revision.id: step for step in result.steps}
    plan = []
    for each in result.plan:
        step = printed.get(each.id)
        statements = step.statements if step else None
        refusal = str(step.refusal) if step and step.refusal else None
        plan.append({**_revision(each), "statements": statements, "refusal": refusal})
    return _json(
        {
            "target": target,
            "before": result.before,
            "after": result.after,
            "at_head": result.at_head,
            "seconds": round(result.seconds, 3),
            "restored": result.restored,
            "plan": plan,
            "violations": [
                {
                    "revision": each.revision.id,
                    "table": each.table,
                    "rows": each.count,
                    "text": str(each),
                }
                for each in result.violations
            ],
            "dropped": [str(each) for each in result.dropped],
            "cautions": result.cautions,
        }
    )


def current_json(at: Iterable[Revision], heads: Sequence[str], target: str) -> str:
    """Return where a target stands as one JSON object."""
    revisions = [*map(_revision, at)]
    at_head = {each["revision"] for each in revisions} == {*heads}
    return _json({"target": target, "revisions": revisions, "at_head": at_head})


def history_json(revisions: Iterable[Revision]) -> str:
    """Return revisions as one JSON object."""
    return _json({"revisions": [_revision(each) for each in revisions]})


def log_json(entries: Sequence[Entry], estimates: Ranges) -> str:
    """Return what was run on a target, the newest first, as one JSON object; with what reviews had estimated."""
    from postgres_database.reviewing import durations  # noqa: PLC0415 - much besides

    rows = [
        {
            **vars(entry),
            "started": entry.started.isoformat(),
            "estimate": dict(zip(("low", "high"), found, strict=True)) if found else None,
        }
        for entry in reversed(entries)
        for found in [durations.of_run(entry, estimates)]
    ]
    return _json({"runs": rows})


def baseline_json(result: BaselineResult, target: str, written: RevisionResult | None) -> str:
    """Return the outcome of `baseline-existing` as one JSON object.

    Args:
        result: What was adopted.
        target: The database.
        written: The revision that `--with-models` wrote.
    """
    match = result.match
    drifts = match.drifts.objects if match else ()
    nearest = {
        "revision": match.state,
        "drift": [
            {**vars(each.key), "history": each.history or None, "target": each.target or None}
            for each in drifts
        ],
    } if match else None  # fmt: skip
    unlike = result.unlike_models
    return _json(
        {
            "target": target,
            "revision": result.revision or None,
            "path": str(result.path) if result.path else None,
            "objects": result.objects,
            "respelled": [str(key) for key in result.respelled],
            "notes": result.notes,
            "match": nearest,
            "pending": result.pending,
            "unlike_models": None if unlike is None else [str(key) for key in unlike],
            "written": _written(written) if written else None,
        }
    )


def models_json(result: ModelsResult) -> str:
    """Return the outcome of `models` as one JSON object."""
    return _json(
        {
            "path": str(result.path) if result.path else None,
            "text": result.text,
            "tables": result.tables,
            "statements": result.statements,
            "proved": not result.unlike,
            "objects": _objects(result.unlike, "target", "models"),
            "kept": dict(result.kept),
            "notes": result.notes,
        }
    )


def _revision(revision: Revision) -> dict[str, Any]:
    return {
        "revision": revision.id,
        "message": revision.message,
        "path": str(revision.path),
        "down_revision": revision.parents,
        "online": revision.online,
    }


def revision_json(result: RevisionResult) -> str:
    """Return the outcome of `revision` as one JSON object."""
    return _json(_written(result))


def _written(result: RevisionResult) -> dict[str, Any]:
    return {
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
        "not_shown": result.not_shown,
        "broken": result.broken,
        "misplaced": result.misplaced,
        "unguarded": result.unguarded,
        "empty_tables": result.empty,
        "not_upgraded": _objects(result.not_upgraded, "history", "models"),
        "kept": [str(key) for key in result.kept],
        "sql": result.sql or None,
        "not_downgraded": _objects(result.not_downgraded, "after", "before"),
    }


def rebase_json(result: RebaseResult) -> str:
    """Return the outcome of `rebase` as one JSON object."""
    return _json(
        {
            "moved": [_revision(each) for each in result.moved],
            "onto": _revision(result.onto),
            "branch": result.branch or None,
            "notes": result.notes,
        }
    )


def squash_json(result: SquashResult) -> str:
    """Return the outcome of `squash` as one JSON object."""
    return _json(
        {
            "revision": _revision(result.revision),
            "replaced": [each.id for each in result.replaced],
            "kept": str(result.kept),
            "objects": result.objects,
            "rows": dict(result.rows),
            "notes": result.notes,
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
        "edited": _edited(checked.edited),
        "unread": checked.unread or None,
        "repair": checked.drifts.repair,
        "losses": checked.drifts.losses,
        "kept": [str(key) for key in checked.drifts.kept],
        "not_compared": checked.drifts.notes,
    }


def status_json(environments: Iterable[EnvironmentStatus]) -> str:
    """Return the outcome of `status` as one JSON object."""
    rows = [dict(vars(environment)) for environment in environments]
    for row in rows:
        del row["env_option"], row["hint"]  # for people who type
        row["edited"] = _edited(row["edited"])
    return _json({"environments": rows})


def _edited(scripts: Iterable[Edited]) -> list[dict[str, Any]]:
    return [{**_revision(each.revision), "ran": each.ran.isoformat()} for each in scripts]


def _objects(differences: Iterable[Difference], left: str, right: str) -> list[dict[str, Any]]:
    return [
        {**vars(difference.key), left: difference.left or None, right: difference.right or None}
        for difference in differences
    ]


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)

"""A review as JSON, as SARIF and as Markdown. Pure; the keys are a promise (docs/json.md)."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from postgres_database import __version__
from postgres_database.preflight import preview
from postgres_database.reviewing.findings import Finding
from postgres_database.reviewing.statements import Estimate, Measured, strongest
from postgres_database.workflows.review import Review

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
SIGNS = {"error": "🔴", "warning": "🟡", "note": "⚪"}


def as_json(review: Review) -> str:
    """Return a review as one JSON object."""
    value = {
        "verdict": review.verdict,
        "target": review.target or None,
        "server": review.server,
        "before": review.before,
        "revisions": [
            {
                "revision": each.id,
                "message": each.message,
                "path": str(each.path),
                "down_revision": each.parents,
                "online": each.online,
            }
            for each in review.plan
        ],
        "statements": [
            _statement(each, review.files[each.revision.id]) for each in review.statements
        ],
        "findings": [_finding(each) for each in review.findings],
    }
    return json.dumps(value, indent=2, ensure_ascii=False)


def _statement(measured: Measured, file: str) -> dict[str, Any]:
    return {
        "revision": measured.revision.id,
        "file": file,
        "line": measured.line,
        "sql": preview.shown(measured.sql),
        "seconds": round(measured.seconds, 4),
        "online": measured.online,
        "transaction": measured.transaction,
        "locks": [
            {
                "mode": lock.mode,
                "object": str(lock.relation),
                "kind": lock.relation.kind,
                "blocks_reads": lock.blocks_reads,
                "blocks_writes": lock.blocks_writes,
            }
            for lock in measured.taken
        ],
        "rewritten": [str(each) for each in measured.rewritten],
        "scanned": [str(each) for each in measured.scanned],
        "rows_changed": {str(table): rows for table, rows in measured.changed.items()},
        "estimate": _estimate(measured.estimate) if measured.estimate else None,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "low": None if estimate.why else round(estimate.low, 3),
        "high": None if estimate.why else round(estimate.high, 3),
        "table": estimate.table or None,
        "rows": estimate.rows or None,
        "why": estimate.why or None,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "level": finding.level,
        "what": finding.what,
        "why": finding.why,
        "revision": finding.revision or None,
        "file": finding.file or None,
        "line": finding.line or None,
        "object": finding.object or None,
        "sql": finding.sql or None,
        "evidence": finding.evidence or None,
        "estimate": finding.estimate or None,
        "fix": finding.fix or None,
        "accepted": finding.accepted or None,
    }


def as_sarif(review: Review) -> str:
    """Return the findings in the format of code scanners (SARIF 2.1.0, OASIS standard)."""
    reasons = {each.rule: each.why for each in review.findings}
    used = [*reasons]
    rules = [{"id": rule, "shortDescription": {"text": why}} for rule, why in reasons.items()]
    driver = {"name": "postgres-database", "version": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "results": [_result(each, used) for each in review.findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _result(finding: Finding, used: Sequence[str]) -> dict[str, Any]:
    more = "".join(f"\n{each}" for each in (finding.evidence, finding.estimate) if each)
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": used.index(finding.rule),
        "level": finding.level,
        "message": {"text": f"{finding.what}{more}"},
    }
    if finding.file:
        place: dict[str, Any] = {"artifactLocation": {"uri": quote(finding.file)}}
        if finding.line:
            place["region"] = {"startLine": finding.line}
        result["locations"] = [{"physicalLocation": place}]
    if finding.accepted:
        result["suppressions"] = [{"kind": "inSource", "justification": finding.accepted}]
    return result


def as_markdown(review: Review) -> str:
    """Return a review for a comment in a pull request."""
    where = f" of `{review.target}`" if review.target else ""
    lines = [
        f"### Review of {len(review.plan)} revision{'s' * (len(review.plan) != 1)}{where}",
        "",
        f"**{_escaped(review.verdict)}**",
        "",
    ]
    found = [each for each in review.findings if not each.accepted]
    if found:
        lines += ["| | finding | where | what |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {SIGNS[each.level]} {each.level} | `{each.rule}` | {_escaped(each.place)} | {_escaped(each.what)} |"
            for each in found
        ]
        lines.append("")
    for each in found:
        if each.fix:
            evidence = [f"Measured: {_escaped(each.evidence)}", ""] if each.evidence else []
            evidence += [_escaped(each.estimate).capitalize(), ""] if each.estimate else []
            title = f"{_escaped(each.place)}: what to write instead"
            lines += ["<details>", f"<summary>{title}</summary>", "", *evidence]
            lines += ["```python", each.fix, "```", "", "</details>", ""]
    lines += [
        f"- accepted: `{each.rule}` at {_escaped(each.place)}, because {_escaped(each.accepted)}"
        for each in review.findings
        if each.accepted
    ]
    lines += _table(review)
    return "\n".join(lines).rstrip() + "\n"


def _table(review: Review) -> list[str]:
    if not review.statements:
        return []
    rows = [
        f"| {_escaped(review.files[each.revision.id])}:{each.line} | `{_code(each.sql)}` | {_effects(each)} |"
        for each in review.statements
    ]
    head = ["| where | statement | locks and reads |", "| --- | --- | --- |"]
    title = f"{len(rows)} statement{'s' * (len(rows) != 1)}, measured on PostgreSQL {review.server}"
    return ["<details>", f"<summary>{title}</summary>", "", *head, *rows, "", "</details>"]


def _effects(measured: Measured) -> str:
    said = [str(lock) for lock in strongest(measured.taken)]
    said += [f"rewrites {each}" for each in measured.rewritten]
    said += [f"reads {each}" for each in measured.scanned]
    said += [str(measured.estimate)] if measured.estimate else []
    return _escaped(", ".join(said))


def _code(sql: str) -> str:
    return preview.shown(sql).replace("`", "").replace("|", "\\|")


def _escaped(text: str) -> str:
    """Return text for a cell of a table: in one line, without what Markdown acts on."""
    flat = " ".join(text.split())
    for sign in "\\|<>*_":
        flat = flat.replace(sign, f"\\{sign}")
    return flat

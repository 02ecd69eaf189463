"""A review → lines on the terminal: the verdict first, then the revisions with their statements, then the findings."""

import os
from collections.abc import Iterable
from pathlib import Path
from textwrap import shorten

from postgres_database.console.terminal import ERR, OUT, advise, raw, say
from postgres_database.preflight import preview
from postgres_database.reviewing.findings import ERROR, WARNING, Finding, open_at
from postgres_database.reviewing.statements import Measured, names, strongest
from postgres_database.workflows.review import Review

STYLES = {"error": "red", "warning": "yellow", "note": "dim"}
SHOWN = 20  # statements of a revision
WIDTH = 90  # characters of a statement


def review(result: Review) -> None:
    """Show a review."""
    open_ = open_at(result.findings, WARNING)
    style = STYLES[ERROR] if open_at(open_, ERROR) else STYLES[WARNING] if open_ else "green"
    say(f"verdict   {result.verdict}", style=style)
    if not result.plan:
        advise("next: invoke review --from …   (the revision after which the scripts begin)")
    for revision in result.plan:
        say(f"revision  {revision}  ({'online' if revision.online else 'transactional'})")
        mine = [each for each in result.statements if each.revision == revision]
        for measured in mine[:SHOWN]:
            say(f"  line {measured.line:<4} {_statement(measured)}", style="dim")
        if more := len(mine) - SHOWN:
            say(f"  … and {more} more", style="dim") if more > 0 else None
    for finding in sorted(result.findings, key=lambda each: bool(each.accepted)):
        _show(finding)
    if annotations := os.environ.get("GITHUB_ACTIONS") == "true":
        for line in annotated(result.findings):
            raw(line)
    if open_ and not annotations:
        edit = (
            f"invoke edit --target {open_[0].revision}" if open_[0].revision else "invoke history"
        )
        accept = "".join(
            f"   (or accept a finding there: # review: accept {each.rule} because …)"
            for each in [each for each in open_ if each.acceptable][:1]
        )
        advise(f"next: {edit}{accept}")


def _statement(measured: Measured) -> str:
    effects = [str(lock).replace("Lock on", "") for lock in strongest(measured.taken)]
    effects += [f"rewrites {names(measured.rewritten)}"] if measured.rewritten else []
    effects += [f"reads {names(measured.scanned)}"] if measured.scanned else []
    effects += [str(measured.estimate)] if measured.estimate else []
    said = f"   [{'; '.join(effects)}]" if effects else ""
    return f"{shorten(preview.shown(measured.sql), WIDTH, placeholder=' …')}{said}"


def _show(finding: Finding) -> None:
    if finding.accepted:
        say(f"accepted  {finding.rule}  {finding.place}: {finding.what}", style="dim")
        say(f"          because {finding.accepted}", style="dim")
        return
    line = f", line {finding.line}" if finding.line else ""
    place = f"  in revision {finding.revision}{line}" if finding.revision else ""
    say(f"{finding.level:<9} {finding.rule}{place}", style=STYLES[finding.level])
    for line in finding.what.splitlines():
        say(f"          {line}")
    if finding.sql:
        say(f"          {shorten(finding.sql, WIDTH, placeholder=' …')}", style="dim")
    if finding.evidence:
        say(f"          measured: {finding.evidence}", style="dim")
    if finding.estimate:
        say(f"          {finding.estimate}", style="dim")
    if finding.fix:
        say("          instead:", style="dim")
        for line in finding.fix.splitlines():
            advise(f"            {line}")


def annotated(findings: Iterable[Finding]) -> Iterable[str]:
    """Yield a line for each finding with which GitHub marks the line of the script ("Workflow commands")."""
    for each in findings:
        if not each.accepted:
            level = "notice" if each.level == "note" else each.level
            place = f" file={each.file},line={max(each.line, 1)}," if each.file else " "
            text = each.what.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
            yield f"::{level}{place}title={each.rule}::{text}"


def write(path: Path, text: str, *, quiet: bool = False) -> None:
    """Write a page to a file, and say so; to stderr if stdout is for a program."""
    path.write_text(text, encoding="utf-8")
    (ERR if quiet else OUT).print(f"wrote     {os.path.relpath(path)}")

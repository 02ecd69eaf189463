"""What could go wrong with the statements of a rehearsal on a target, judged by the sizes of its tables. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten

from postgres_database.history.graph import Revision
from postgres_database.preflight import preview
from postgres_database.reviewing import fixes, source
from postgres_database.reviewing.deployed import Deployed
from postgres_database.reviewing.sizes import UNKNOWN, Size, Sizes
from postgres_database.reviewing.statements import (
    CHANGES,
    Measured,
    Rehearsal,
    Relation,
    names,
    strongest,
)

ERROR, WARNING, NOTE = "error", "warning", "note"
LEVELS = (NOTE, WARNING, ERROR)
"""From the least to the gravest."""
WIDTH = 70  # characters of a statement
NAMED = 5  # tables for which others wait; the evidence names all
LINE = re.compile(r"\n?\(in [^\n]*, line (?P<line>\d+)\)")
"""Where a script failed, in the cause of its error."""
RULES = {
    "table-rewrite": "A table is rewritten while other sessions wait for it, for a time that grows with its rows.",
    "table-scan": "A table is read from end to end while other sessions wait for it or for another one.",
    "row-locks": "Rows that a transaction changes stay locked until it ends: whoever wants to change them waits.",
    "old-code": "Code that is still running uses what is gone, or inserts rows without a value that is now needed.",
    "drops-data": "Rows or values are dropped; a downgrade does not bring them back.",
    "violation": "Rows of the target break what a statement requires, so that it would fail.",
    "fails": "The script fails.",
    "fails-on-rows": "The script fails on rows that were made up, though not on empty tables.",
    "fails-without-rows": "The script fails on empty tables, such as in a new database.",
    "irreversible": "The downgrade does not lead back to the schema of before.",
    "drift": "The target is not what its revision says; the scripts were measured on a copy of it as it is.",
    "not-reviewed": "Something could not be looked at; that it is harmless is not known.",
    "no-reason": "A comment accepts findings without saying why; it accepts nothing.",
}
"""The rules, each with its reason; the names are a promise (docs/review.md)."""


@dataclass(frozen=True)
class Finding:
    """Something that could go wrong."""

    rule: str
    level: str
    """`error`, `warning` or `note`."""
    what: str
    """What happens, to which object."""
    revision: str = ""
    file: str = ""
    line: int = 0
    """The line in the script; 0: the script as a whole."""
    object: str = ""
    sql: str = ""
    """The statement, without values of rows."""
    evidence: str = ""
    """What was measured or read."""
    fix: str = ""
    """What to write instead: code for this script, or advice."""
    accepted: str = ""
    """The reason by which the author of the script accepts it; empty if it is not accepted."""
    estimate: str = ""
    """How long the statement would take on the target; empty if that is not known."""

    @property
    def why(self) -> str:
        """Why that matters."""
        return RULES.get(
            self.rule, "squawk, a linter of SQL, has this rule: https://squawkhq.com/docs/rules."
        )

    @property
    def acceptable(self) -> bool:
        """Whether a comment in a script may be proposed that accepts it: not for a script that cannot run."""
        return bool(self.revision) and self.rule not in {"no-reason", "fails"}

    @property
    def place(self) -> str:
        """The file with its line."""
        return f"{self.file}, line {self.line}" if self.line else self.file

    def caution(self) -> str:
        """Return the finding in one line."""
        more = ""
        if self.rule == "row-locks":
            more = "; op.backfill does it in batches"
        elif self.fix.startswith("with op.online():"):
            more = "; in op.online() it is safe beside live traffic"
        statement = f": {shorten(self.sql, WIDTH, placeholder=' …')}" if self.sql else ""
        return f"{self.place}{statement}: {self.what}{more}"


def waits(rehearsal: Rehearsal, sizes: Sizes | None, name: Callable[[Path], str]) -> list[Finding]:
    """Return the statements for which other sessions would wait as long as a table is scanned or rewritten.

    A lock is held until its transaction ends (PostgreSQL manual, "Explicit Locking"). So while a statement scans or
    rewrites a table, others wait for every table that this statement or an earlier one has locked.

    Args:
        rehearsal: What the statements did.
        sizes: The tables of the target with rows; None: every table may be large.
        name: The name of a file for people.
    """
    found = [finding for measured in rehearsal.statements for finding in _waits(measured, sizes)]
    return _placed(found, name)


def _placed(
    found: Iterable[tuple[Measured, Finding]], name: Callable[[Path], str]
) -> list[Finding]:
    """Add to findings where they are; a loop runs the same statement many times, which is said once."""
    placed = [
        replace(
            finding,
            revision=measured.revision.id,
            file=name(measured.revision.path),
            line=measured.line,
            sql=preview.shown(measured.sql),
        )
        for measured, finding in found
    ]
    return [*{(each.rule, each.place, each.sql, each.what): each for each in placed}.values()]


def _waits(measured: Measured, sizes: Sizes | None) -> Iterator[tuple[Measured, Finding]]:
    read = {
        relation: "rewritten" if relation in measured.rewritten else "read from end to end"
        for relation in dict.fromkeys((*measured.rewritten, *measured.scanned))
        if size_of(relation, sizes)
    }
    locked = measured.locked
    script = measured.revision.text
    said, level = _said(read, sizes), _level(read, sizes)
    if read and locked:
        denied = "read or written" if measured.readers_wait else "written"
        same = {*read} == {*locked}
        held = ("they" if read.keys() - {locked[0]} else "it") if same else _some(locked)
        rule = "table-rewrite" if "rewritten" in read.values() else "table-scan"
        yield (
            measured,
            Finding(
                rule,
                level,
                f"{said} while {held} cannot be {denied}",
                object=str(next(iter(read))),
                evidence=evidence(measured),
                estimate=str(measured.estimate or ""),
                fix=fixes.for_wait(measured, script),
            ),
        )
        return
    changing = {
        relation for relation, mode in measured.held if mode == CHANGES and relation.kind == "table"
    }
    changed = {each: did for each, did in read.items() if each in changing}
    changed |= {each: "changed row by row" for each in measured.one_by_one if size_of(each, sizes)}
    if changed and not measured.safely:
        said = _said(changed, sizes)
        yield (
            measured,
            Finding(
                "row-locks",
                _level(changed, sizes),
                f"{said}, and rows that it changes stay locked until the script ends",
                object=str(next(iter(changed))),
                evidence=evidence(measured),
                estimate=str(measured.estimate or ""),
                fix=fixes.BATCHES if measured.one_by_one else fixes.for_changes(measured),
            ),
        )


def _some(relations: Sequence[Relation]) -> str:
    """Name relations, of many only the first."""
    others = len(relations) - NAMED
    if others <= 1:
        return names(relations)
    return f"{', '.join(sorted(map(str, relations))[:NAMED])} and {others} others"


def _said(effects: Mapping[Relation, str], sizes: Sizes | None) -> str:
    """Say what is done to tables: those with the same effect together."""
    parts = []
    for did in dict.fromkeys(effects.values()):
        tables = [counted(each, sizes) for each, effect in effects.items() if effect == did]
        parts.append(f"{', '.join(tables)} {'are' if tables[1:] else 'is'} {did}")
    return " and ".join(parts)


def size_of(relation: Relation, sizes: Sizes | None) -> Size | None:
    """Return the size of a table of the target; None if it is empty."""
    return UNKNOWN if sizes is None else sizes.get(relation.place)


def counted(relation: Relation, sizes: Sizes | None) -> str:
    """Return the name of a table, with its number of rows if there is an estimate."""
    size = size_of(relation, sizes)
    return f"{relation} ({size})" if size and str(size) else str(relation)


def _level(relations: Iterable[Relation], sizes: Sizes | None) -> str:
    found = [size_of(relation, sizes) for relation in relations]
    return ERROR if any(size and size.large for size in found) else WARNING


def evidence(measured: Measured) -> str:
    """Return in words what was measured of a statement."""
    taken, held = strongest(measured.taken), strongest(measured.held)
    earlier = [lock for lock in held if lock not in taken]
    parts = [f"takes {', '.join(map(str, taken))}"] if taken else []
    parts += [f"rewrites {names(measured.rewritten)}"] if measured.rewritten else []
    parts += [f"reads {names(measured.scanned)} from end to end"] if measured.scanned else []
    parts += (
        [f"changes each row of {names(measured.one_by_one)} by itself"]
        if measured.one_by_one
        else []
    )
    parts += (
        [f"earlier statements of the transaction hold {', '.join(map(str, earlier))}"]
        if earlier
        else []
    )
    return "; ".join(parts)


def broken(
    rehearsal: Rehearsal, name: Callable[[Path], str], deployed: Deployed | None
) -> list[Finding]:
    """Return the statements that code from before them would trip over.

    Args:
        rehearsal: What the statements did.
        name: The name of a file for people.
        deployed: The models of the code that runs; None: nothing is known of it.
    """
    found = []
    for measured in rehearsal.statements:
        for change in measured.broken:
            column = change.column if change.what in {"dropped", "renamed"} else ""
            used = deployed.use(*change.relation.place, column) if deployed else None
            if used is False or change.relation.kind == "sequence":
                continue
            finding = Finding(
                "old-code",
                NOTE if change.what == "filled" else ERROR if used else WARNING,
                str(change),
                object=".".join(filter(None, [str(change.relation), change.column])),
                evidence=deployed.evidence
                if deployed
                else "read from the catalog before and after",
                fix=FIXES[change.what],
            )
            found.append((measured, finding))
    return _placed(found, name)


FIXES = {
    "dropped": "# first deploy code that does not use it; then run this, in a revision of its own",
    "renamed": "# add the new name beside the old one, let the application write both, and drop the old one later",
    "filled": "# deploy code that always gives a value before this runs",
    "required": "# give it a server_default, or deploy code that gives a value before this runs",
}


def failure(
    rehearsal: Rehearsal, name: Callable[[Path], str], rule: str = "fails", level: str = ERROR
) -> list[Finding]:
    """Return the finding of a script that failed."""
    if not (revision := rehearsal.failed) or not (error := rehearsal.failure):
        return []
    found = LINE.search(error.cause)
    what = LINE.sub("", error.cause).strip() or error.what
    finding = of_script(rule, level, what, revision, name)
    return [replace(finding, line=int(found["line"])) if found else finding]


def of_script(  # noqa: PLR0913, PLR0917 - the parts of a finding
    rule: str,
    level: str,
    what: str,
    revision: Revision,
    name: Callable[[Path], str],
    fix: str = "",
) -> Finding:
    """Return a finding about a script as a whole."""
    return Finding(rule, level, what, revision.id, name(revision.path), fix=fix)


def other_server(server: str, theirs: str, first: Revision) -> list[Finding]:
    """Say that the target's server is of another major version than the one on which was measured."""
    if server.partition(".")[0] == theirs.partition(".")[0]:
        return []
    what = f"measured on PostgreSQL {server}, but the target is {theirs}: its locks and rewrites may be others"
    fix = "# SCRATCH_DSN names a server of the target's version"
    return [Finding("not-reviewed", NOTE, what, first.id, fix=fix)]


def accepted(
    found: Iterable[Finding], plan: Sequence[Revision], name: Callable[[Path], str]
) -> list[Finding]:
    """Mark the findings that comments of the scripts accept, and add one for each comment without a reason."""
    comments = {revision.id: source.acceptances(revision.text) for revision in plan}
    marked = [
        replace(finding, accepted=next(reasons, ""))
        for finding in found
        for reasons in [
            (
                each.reason
                for each in comments.get(finding.revision, ())
                if each.covers(finding.rule, finding.line)
            )
        ]
    ]
    for revision in plan:
        for comment in comments[revision.id]:
            unknown = comment.rule not in RULES and not comment.rule.startswith("squawk:")
            if comment.reason and not unknown:
                continue
            what = (
                f"there is no rule {comment.rule}: {', '.join(sorted(RULES))}"
                if unknown
                else f"the comment that accepts {comment.rule} gives no reason"
            )
            fix = f"# review: accept {comment.rule if not unknown else 'RULE'} because …"
            finding = of_script("no-reason", WARNING, what, revision, name, fix)
            marked.append(replace(finding, line=comment.line))
    return marked


def open_at(found: Iterable[Finding], level: str) -> list[Finding]:
    """Return the findings of a level or a graver one that are not accepted."""
    graver = LEVELS[LEVELS.index(level) :]
    return [each for each in found if each.level in graver and not each.accepted]

"""squawk, a linter of SQL that may be installed: what it says of the statements that were run, beside what they did."""

import json
import os
import re
import shutil
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from postgres_database.preflight import preview
from postgres_database.reviewing import findings
from postgres_database.reviewing.deployed import Deployed
from postgres_database.reviewing.findings import NOTE, WARNING, Finding
from postgres_database.reviewing.statements import Measured

OURS = ("require-lock-timeout", "require-statement-timeout")
"""Rules about what the commands themselves set for each session."""
SYNTAX = "syntax-error"
WAITS = {
    "adding-field-with-default",
    "adding-foreign-key-constraint",
    "adding-not-nullable-field",
    "adding-serial-primary-key-field",
    "ban-alter-domain-with-add-constraint",
    "changing-column-type",
    "constraint-missing-not-valid",
    "disallowed-unique-constraint",
    "require-concurrent-index-creation",
    "require-concurrent-index-deletion",
}
"""Rules that say that others wait."""
CLIENTS = {
    "adding-required-field",
    "ban-drop-column",
    "ban-drop-table",
    "renaming-column",
    "renaming-table",
}
"""Rules that say that code that still runs trips over it."""
REPEATED = {
    **dict.fromkeys(WAITS, ("table-scan", "table-rewrite")),
    **dict.fromkeys(CLIENTS, ("old-code",)),
}
"""Rule → rules of ours that say the same."""


def program() -> str | None:
    """Return where squawk is: beside the interpreter, or on the PATH; None if it is not installed."""
    places = [str(Path(sys.executable).parent), *os.get_exec_path()]
    return shutil.which("squawk", path=os.pathsep.join(places))


def find(  # noqa: PLR0913 - the statements, and what they are judged by
    statements: Sequence[Measured],
    ours: Sequence[Finding],
    deployed: Deployed | None,
    *,
    server: str,
    root: Path,
    name: Callable[[Path], str],
) -> list[Finding]:
    """Return what squawk says of statements; what the measurement contradicts is a note.

    Without squawk there is nothing. What one of our findings about the same line says as well is left out.

    Args:
        statements: What was run, with what it did.
        ours: Our findings.
        deployed: The models of the code that runs, if they were asked for.
        server: The version of the server of the target.
        root: Of the project; its .squawk.toml counts.
        name: The name of a file for people.
    """
    if not (squawk := program()):
        return []
    version = re.match(r"[\d.]*", server)
    command = [squawk, "--reporter=json", f"--pg-version={version[0] if version else server}"]
    scripts = [[*each] for _, each in groupby(statements, lambda measured: measured.revision)]
    try:
        said = [*_of_scripts(command, root, scripts)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"squawk cannot be run: {error}"
        each = (
            findings.of_script("not-reviewed", NOTE, what, script[0].revision, name)
            for script in scripts
        )
        return [*dict.fromkeys(each)]
    judged = (_finding(measured, one, ours, deployed, name) for measured, one in said)
    return [*dict.fromkeys(finding for finding in judged if finding)]


def _of_scripts(
    command: Sequence[str], root: Path, scripts: Sequence[Sequence[Measured]]
) -> Iterator[tuple[Measured, dict[str, Any]]]:
    """Yield what squawk says of the statements of scripts, of each as it was run: in a transaction, or alone.

    It always gets all statements of a script, because what is new is known by those before. If it cannot read one, it
    says nothing of the others, so it gets them once more without that.
    """
    for alone in (False, True):
        mode = "--no-assume-in-transaction" if alone else "--assume-in-transaction"
        some = [script for script in scripts if any(each.online == alone for each in script)]
        said = [*_said([*command, mode], root, some)]
        unread = {id(measured) for measured, one in said if one["rule_name"] == SYNTAX}
        readable = [[each for each in script if id(each) not in unread] for script in some]
        again = [left for left, script in zip(readable, some, strict=True) if left != script]
        for measured, one in (*said, *_said([*command, mode], root, again)):
            if measured.online == alone and one["rule_name"] not in OURS:
                yield measured, one


def _said(
    command: Sequence[str], root: Path, scripts: Sequence[Sequence[Measured]]
) -> Iterator[tuple[Measured, dict[str, Any]]]:
    """Yield what squawk says of statements; each script is a file."""
    files: dict[str, tuple[Sequence[Measured], list[int]]] = {}
    with TemporaryDirectory() as folder:
        for number, script in enumerate(filter(None, scripts)):
            texts = [f"{measured.sql.strip().rstrip(';')}\n;\n" for measured in script]
            file = Path(folder) / f"{number}.sql"
            file.write_text("".join(texts), encoding="utf-8")
            files[str(file)] = script, [0, *accumulate(text.count("\n") for text in texts)]
        if not files:
            return
        done = subprocess.run(
            [*command, *files],
            cwd=root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
    if not done.stdout.strip():
        raise ValueError(done.stderr.strip() or f"it ended with {done.returncode}")
    for one in json.loads(done.stdout):
        script, lines = files[one["file"]]
        place = bisect_right(lines, int(one["line"])) - 1
        yield script[min(place, len(script) - 1)], one


def _finding(
    measured: Measured,
    said: dict[str, Any],
    ours: Iterable[Finding],
    deployed: Deployed | None,
    name: Callable[[Path], str],
) -> Finding | None:
    rule = str(said["rule_name"])
    if measured.safely and rule == "prefer-robust-stmts":
        return None  # steps of op.online() can run again
    file = name(measured.revision.path)
    here = [each for each in ours if (each.file, each.line) == (file, measured.line)]
    if any(each.rule in REPEATED.get(rule, ()) for each in here):
        return None
    evidence = ""
    if rule in WAITS:
        did = findings.evidence(measured) or "it takes no lock that others wait for"
        evidence = (
            f"contradicts squawk: no table with rows is read or rewritten while others wait ({did})"
        )
    elif rule in CLIENTS:
        known = f", or the models of {deployed.ref} do not use it" if deployed else ""
        evidence = f"contradicts squawk: nothing from before is missing then{known}"
    style = rule.startswith(("prefer-", "ban-char")) or rule == SYNTAX
    return Finding(
        f"squawk:{rule}",
        NOTE if evidence or style else WARNING,
        f"squawk says: {said['message']}",
        measured.revision.id,
        file,
        measured.line,
        sql=preview.shown(measured.sql),
        evidence=evidence,
        fix="\n".join(f"# {line}" for line in str(said.get("help") or "").splitlines()),
    )

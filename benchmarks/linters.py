"""The linters of Alembic scripts on PyPI beside `review`, on the same scripts: the table in docs/review.md; needs PyPI.

The scripts are the first eight hazards and three decoys of the tests (tests/engine/reviewing/test_findings.py). squawk
reads SQL, so it gets what Alembic's offline mode prints of a script. What is about style or time limits does not count.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from textwrap import indent

from postgres_database.history.project import Project
from postgres_database.reviewing import findings, rehearsal
from postgres_database.running import runner
from postgres_database.scratch import databases
from postgres_database.server.embedded import EmbeddedServer
from postgres_database.server.environment import Environment

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "tests" / "engine" / "reviewing" / "test_findings.py"
TOOLS = ("alembic-guard", "lockcheck", "squawk-cli")
NO_MATTER = ("prefer-", "require-lock-timeout", "require-statement-timeout")
HAZARDS, DECOYS = 8, 3


def corpus() -> dict[str, object]:
    """Return the constants of the test."""
    return {
        target.id: ast.literal_eval(node.value)
        for node in ast.parse(CORPUS.read_text()).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in {"TABLES", "HELPER", "HAZARDS", "DECOYS"}
    }


def write(root: Path, name: str, parent: str, upgrade: str, helper: str = "") -> Path:
    """Write a script."""
    path = root / "migration" / "versions" / f"{name}.py"
    path.write_text(
        f"import sqlalchemy as sa\nfrom alembic import op\n\nrevision = {name!r}\n"
        f"down_revision = {parent or None!r}\n{helper}\n\ndef upgrade():\n{indent(upgrade.strip(), '    ')}\n\n\n"
        "def downgrade():\n    pass\n"
    )
    return path


def said(command: list[str | Path], text: str | None = None) -> str:
    """Return what a program prints."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1}:
        sys.exit(f"{command[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def flags(programs: Path, script: Path, project: Project) -> list[bool]:
    """Return whether each linter has a finding about a script."""
    guard = json.loads(said([programs / "alembic-guard", "--format", "json", script]))
    found = guard if isinstance(guard, list) else guard.get("findings", guard.get("violations"))
    lock = said([programs / "lockcheck", script])
    sql = runner.offline(project, "upgrade", "one", "two")
    options = ["--reporter=json", "--pg-version=18.0"]  # offline mode prints BEGIN and COMMIT
    squawk = json.loads(said([programs / "squawk", *options], sql))
    mine = [each for each in squawk if not each["rule_name"].startswith(NO_MATTER)]
    return [bool(found), re.search(r"\bLC\d{3}\b", lock) is not None, bool(mine)]


def main() -> None:
    """Print the table."""
    known = corpus()
    with tempfile.TemporaryDirectory(prefix="pgdb-linters-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        venv.create(home / "venv", with_pip=True)
        programs = home / "venv" / "bin"
        subprocess.run([programs / "pip", "install", "--quiet", *TOOLS], check=True)
        root = home / "project"
        root.mkdir()
        shutil.copy(ROOT / "alembic.ini", root)
        shutil.copytree(
            ROOT / "migration", root / "migration", ignore=shutil.ignore_patterns("20*")
        )
        write(root, "one", "", str(known["TABLES"]))
        server = EmbeddedServer(home / "server", durable=False)
        try:
            table(known, root, programs, Environment(root, scratch=server.ensure_running()))
        finally:
            server.stop()


def table(known: dict[str, object], root: Path, programs: Path, environment: Environment) -> None:
    """Print what each says of each script."""
    hazards, decoys = known["HAZARDS"], known["DECOYS"]
    assert isinstance(hazards, dict)  # noqa: S101 - for mypy
    assert isinstance(decoys, dict)  # noqa: S101
    cases = [("hazard", name, code) for name, (code, *_) in [*hazards.items()][:HAZARDS]]
    cases += [("decoy", name, code) for name, code in [*decoys.items()][:DECOYS]]
    print("| script | | alembic-guard | lockcheck | squawk | `review` |\n" + "| --- " * 6 + "|")
    right = [0] * 4
    with databases.session(Project(root), environment) as session:
        for kind, name, code in cases:
            helper = str(known["HELPER"]) if name == "helper" else ""
            script = write(root, "two", "one", code, helper)
            project = Project(root)
            plan = project.history.pending(("one",), "head")
            measured = rehearsal.measure(project, session.at(project, ("one",)), plan)
            ours = findings.waits(measured, None, project.folders.name)
            flagged = [*flags(programs, script, project), bool(ours)]
            right = [
                count + (each == (kind == "hazard"))
                for count, each in zip(right, flagged, strict=True)
            ]
            shown = " | ".join("finding" if each else "-" for each in flagged)
            print(f"| {name} | {kind} | {shown} |")
    print("| **right** | | " + " | ".join(f"{count} of {len(cases)}" for count in right) + " |")


if __name__ == "__main__":
    main()

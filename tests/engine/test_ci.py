"""The workflow for GitHub, and what docs/ci.md shows for GitLab: their steps do what the page says."""

import os
import re
import subprocess

import pytest
from checkouts import Checkout, as_text, ready_venv
from conftest import ROOT, run_sql

from postgres_database.server.connection import Database

WORKFLOW = (ROOT / ".github" / "workflows" / "database.yml").read_text()
STEPS = [line.strip("'") for line in re.findall(r"^\s+(?:- )?run: (.+)$", WORKFLOW, re.MULTILINE)]
(STAGING,) = (step for step in STEPS if "ENV=staging" in step)
(REVIEW,) = (step for step in STEPS if "make review" in step)
(COMMENT,) = (step for step in STEPS if "gh pr" in step)
PAGE = (ROOT / "docs" / "ci.md").read_text()


@pytest.fixture
def runner(checkout: Checkout, role: str, database: Database) -> Checkout:
    """A checkout whose target is a fresh database, on which the role of the commands may only read."""
    ready_venv(checkout)
    run_sql(database, f"GRANT pg_read_all_data TO {role}")
    checkout.environ["POSTGRES_DSN"] = as_text(database.dsn.with_parts(options=f"-c role={role}"))
    checkout.environ["PYTEST_ADDOPTS"] = "-n 0"
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "one"]):
        git(checkout, *arguments)
    git(checkout, "checkout", "-qb", "mine")
    programs = checkout.root.parent / "programs"
    programs.mkdir()
    (programs / "gh").write_text('#!/bin/sh\necho "gh $*"\n')
    (programs / "gh").chmod(0o755)
    checkout.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    checkout.environ |= {"NUMBER": "7", "REPO": "us/schema"}
    return checkout


def git(checkout: Checkout, *arguments: str) -> None:
    """Run git in a checkout."""
    who = "-c", "user.name=x", "-c", "user.email=x@example.org"
    subprocess.run(["git", *who, *arguments], cwd=checkout.root, check=True)


@pytest.mark.long
def test_steps_pass(runner: Checkout) -> None:
    """Each step passes where models and history agree, and the last ones print what would run."""
    for step in STEPS:
        ran = runner.run("bash", "-e", "-c", step)
        assert ran.returncode == 0, (step, ran.stdout, ran.stderr)
        if "--dry-run" in step:
            assert "CREATE TABLE file_meta_data" in ran.stdout
        assert "gh pr" not in ran.stdout  # there is nothing to review
    without = runner.run("bash", "-e", "-c", STAGING, POSTGRES_DSN="")
    assert (without.returncode, without.stdout, without.stderr) == (0, "", "")


@pytest.mark.long
def test_steps_fail(runner: Checkout) -> None:
    """A model without a script fails one step, a downgrade that leaves something behind another."""
    storage = runner.root / "postgres_database" / "models" / "storage.py"
    before = storage.read_text()
    storage.write_text(f"{before}    size: Mapped[int | None]\n")
    ran = runner.run("bash", "-e", "-c", STEPS[1])
    assert (ran.returncode, "file_meta_data" in ran.stdout) == (2, True)
    storage.write_text(before)
    script = runner.root / "migration" / "versions" / "added_column_to_file_meta_data.py"
    script.write_text(
        re.sub(r"(def downgrade.*?:\n).*", r"\1    pass\n", script.read_text(), flags=re.DOTALL)
    )
    ran = runner.run("bash", "-e", "-c", STEPS[2])
    assert ran.returncode == 1
    assert "after the downgrade: TABLE file_meta_data is" in ran.stdout


@pytest.mark.long
def test_a_review_is_shown(runner: Checkout) -> None:
    """A new script that lets others wait fails the step of the review, and the comment shows why."""
    versions = runner.root / "migration" / "versions"
    scripts = [path.read_text() for path in versions.glob("*.py")]
    ids = [
        re.findall(r"^(revision|down_revision)\b.*= \"(\w+)\"", text, re.MULTILINE)
        for text in scripts
    ]
    known = {name for found in ids for kind, name in found if kind == "revision"}
    (head,) = known - {name for found in ids for kind, name in found if kind == "down_revision"}
    (versions / "new.py").write_text(
        f'"""New"""\n\nfrom alembic import op\n\nrevision = "new1"\ndown_revision = "{head}"\n\n\n'
        'def upgrade() -> None:\n    op.create_index("i", "file_meta_data", ["entity_tag"])\n\n\n'
        'def downgrade() -> None:\n    op.drop_index("i", "file_meta_data")\n'
    )
    ran = runner.run("bash", "-e", "-c", REVIEW, GITHUB_ACTIONS="true")
    assert ran.returncode == 2, (ran.stdout, ran.stderr)
    assert "::error file=migration/versions/new.py,line=10" in ran.stdout
    assert "table-scan" in (runner.root / "review.md").read_text()
    ran = runner.run("bash", "-e", "-c", COMMENT)
    assert (
        ran.stdout
        == "gh pr comment 7 --repo us/schema --edit-last --create-if-none --body-file review.md\n"
    )


def test_page_names_the_steps() -> None:
    """The table of the page and the file for GitLab have the steps of the workflow."""
    commands = [step.rpartition("|| ")[2] for step in STEPS]
    assert re.findall(r"^\| `(.*?)` \|", PAGE, re.MULTILINE) == commands
    at_gitlab = [step for step in STEPS if step not in (STAGING, COMMENT)]
    assert re.findall(r"^    - (.*)$", PAGE, re.MULTILINE) == at_gitlab

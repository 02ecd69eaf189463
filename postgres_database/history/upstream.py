"""Which scripts the branch has on which a team meets, as git knows it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from postgres_database.errors import ExpectedError
from postgres_database.history.script_errors import Folders

NAMES = ("main", "master")
HINT = "invoke rebase --revision …   (the first of your revisions; invoke history shows them)"


@dataclass(frozen=True)
class Upstream:
    """The branch on which a team meets, as far as it was fetched."""

    branch: str
    scripts: frozenset[Path]
    """Its files in the folders of the scripts."""


def find_upstream(folders: Folders) -> Upstream:
    """Find the branch: what `origin/HEAD` names, else `main` or `master` of the remote, else of this repository.

    Raises:
        ExpectedError: git is missing, this is no repository of it, or it has no such branch besides the current one.
    """
    top = _git(folders.root, "rev-parse", "--show-toplevel")
    branch = _branch(folders.root)
    listed = _git(
        folders.root,
        "ls-tree",
        "-r",
        "-z",
        "--full-name",
        "--name-only",
        branch,
        "--",
        *map(str, folders.versions),
    )
    names = filter(None, listed.split("\0"))
    return Upstream(branch, frozenset(Path(top, name).resolve() for name in names))


def _branch(root: Path) -> str:
    remotes = _git(root, "remote").split()
    remote = "origin" if "origin" in remotes else remotes[0] if len(remotes) == 1 else ""
    current = _git(root, "rev-parse", "--abbrev-ref", "HEAD")
    remote_names = [f"{remote}/{name}" for name in ("HEAD", *NAMES)] if remote else []
    for name in (*remote_names, *(name for name in NAMES if name != current)):
        there = ("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if _git(root, *there, required=False):
            return _git(root, "rev-parse", "--abbrev-ref", name)
    raise ExpectedError(
        "which revisions are yours is not known",
        cause=f"the current branch is {current}, and no other is {' or '.join(NAMES)}, here or at a remote",
        hint=HINT,
    )


def _git(root: Path, *arguments: str, required: bool = True) -> str:
    """Return what git prints; nothing if it fails and is not required not to."""
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 - the git that people type
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ExpectedError(
            "which revisions are yours is not known: git cannot be run", cause=str(error), hint=HINT
        ) from error
    if done.returncode and required:
        raise ExpectedError(
            "which revisions are yours is not known",
            cause=done.stderr.strip() or f"git {arguments[0]} ended with {done.returncode}",
            hint=HINT,
        )
    return "" if done.returncode else done.stdout.strip("\n")

"""git, and which scripts the branch has on which a team meets."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from postgres_database.errors import ExpectedError
from postgres_database.history.script_errors import Folders

NAMES = ("main", "master")
UNKNOWN = "which revisions are yours is not known"


@dataclass(frozen=True)
class Upstream:
    """The branch on which a team meets, as far as it was fetched."""

    branch: str
    scripts: frozenset[Path]
    """Its files in the folders of the scripts."""


def find_upstream(folders: Folders, hint: str) -> Upstream:
    """Find the branch: what `origin/HEAD` names, else `main` or `master` of the remote, else of this repository.

    Args:
        folders: Where the scripts are.
        hint: What to type if it is not found.

    Raises:
        ExpectedError: git is missing, this is no repository of it, or it has no such branch besides the current one.
    """
    git = _Repository(folders.root, UNKNOWN, hint)
    branch = git.branch()
    listed = git.read(
        "ls-tree",
        "-r",
        "-z",
        "--full-name",
        "--name-only",
        branch,
        "--",
        *map(str, folders.versions),
    )
    return Upstream(branch, git.files(listed))


def changed(folders: Folders, hint: str) -> frozenset[Path]:
    """Return the files in the folders of the scripts that differ from where the branch was left, also uncommitted ones.

    On that branch itself, without a remote, these are the uncommitted ones.

    Raises:
        ExpectedError: As `find_upstream` does.
    """
    git = _Repository(folders.root, UNKNOWN, hint)
    base = "HEAD" if git.on_the_branch() else git.read("merge-base", "HEAD", git.branch())
    where = "--", *map(str, folders.versions)
    listed = [
        git.read("diff", "--name-only", "-z", base, *where),
        git.read("ls-files", "--others", "--exclude-standard", "--full-name", "-z", *where),
    ]
    return git.files("\0".join(listed))


@dataclass(frozen=True)
class Git:
    """The repository of a folder."""

    root: Path
    what: str
    """What is not known if git does not answer."""
    hint: str
    """What to type then."""

    def read(
        self, *arguments: str, required: bool = True, environ: Mapping[str, str] | None = None
    ) -> str:
        """Return what git prints; nothing if it fails and is not required not to.

        Args:
            arguments: Those of git.
            required: Whether a failure is an error.
            environ: Variables besides those of this process.

        Raises:
            ExpectedError: git is missing, or it failed and was required not to.
        """
        try:
            done = subprocess.run(
                ["git", *arguments],  # noqa: S607 - the git that people type
                cwd=self.root,
                env={**os.environ, **(environ or {})},
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            what = f"{self.what}: git cannot be run"
            raise ExpectedError(what, cause=str(error), hint=self.hint) from error
        if done.returncode and required:
            cause = done.stderr.strip() or f"git {arguments[0]} ended with {done.returncode}"
            raise ExpectedError(self.what, cause=cause, hint=self.hint)
        return "" if done.returncode else done.stdout.strip("\n")


class _Repository(Git):
    """The repository of the scripts."""

    def files(self, listed: str) -> frozenset[Path]:
        """Return the files that git lists from the top of the repository, with NUL between them."""
        top = self.read("rev-parse", "--show-toplevel")
        return frozenset(Path(top, name).resolve() for name in listed.split("\0") if name)

    def on_the_branch(self) -> bool:
        """Tell whether there is no remote, and the current branch is the one on which a team meets."""
        return not self.read("remote") and self._current() in NAMES

    def _current(self) -> str:
        return self.read("rev-parse", "--abbrev-ref", "HEAD")

    def branch(self) -> str:
        """Return the branch on which a team meets."""
        remotes = self.read("remote").split()
        remote = "origin" if "origin" in remotes else remotes[0] if len(remotes) == 1 else ""
        current = self._current()
        remote_names = [f"{remote}/{name}" for name in ("HEAD", *NAMES)] if remote else []
        for name in (*remote_names, *(name for name in NAMES if name != current)):
            there = ("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
            if self.read(*there, required=False):
                return self.read("rev-parse", "--abbrev-ref", name)
        raise ExpectedError(
            self.what,
            cause=f"the current branch is {current}, and no other is {' or '.join(NAMES)}, here or at a remote",
            hint=self.hint,
        )

"""The tables and columns of the models of a git ref: what the code knows that runs until the next one is deployed."""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from postgres_database.errors import ExpectedError
from postgres_database.history import project as projects
from postgres_database.history.project import Project
from postgres_database.history.upstream import Git

# Runs in the checkout, whose engine may be another version: it imports nothing of ours.
PROGRAM = """
import contextlib, functools, importlib, json, sys
name, first, last = sys.argv[1:]
sys.path = [*json.loads(first), *sys.path, *json.loads(last)]
module, _, attribute = name.partition(":")
with contextlib.redirect_stdout(sys.stderr):
    value = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
several = value if isinstance(value, (list, tuple)) else [value]
tables = [table for each in several for table in getattr(each, "metadata", each).tables.values()]
found = [[each.schema, each.name, [column.name for column in each.columns]] for each in tables]
files = [vars(each).get("__file__") for each in [*sys.modules.values()] if hasattr(each, "__dict__")]
print(json.dumps([found, [file for file in files if isinstance(file, str)]]))
"""
Tables = Mapping[tuple[str | None, str], frozenset[str]]
"""(schema, name) of each table → its columns; the schema is None where the models do not say it."""


@dataclass(frozen=True)
class Deployed:
    """The models of a git ref."""

    ref: str
    tables: Tables
    fault: str = ""
    """Why they are not known; then they may know everything."""

    def use(self, schema: str, name: str, column: str = "") -> bool:
        """Tell whether they know a table, or a column of it; without a schema a table may be in any."""
        if self.fault:
            return True
        known = [
            self.tables[place] for place in ((schema, name), (None, name)) if place in self.tables
        ]
        return any(not column or column in columns for columns in known)

    @property
    def evidence(self) -> str:
        """What is said of what they use."""
        if self.fault:
            return f"whether the models of {self.ref} use it is not known"
        return f"the models of {self.ref} use it"


def read(project: Project, ref: str, target_metadata: str = "") -> Deployed:
    """Import the models of a git ref in another process, from files of their own.

    The repository is only read: its index, branches and worktrees stay as they are.

    Args:
        project: A folder of the repository.
        ref: A branch, a tag or a commit.
        target_metadata: The name of the models, if an environment gives it; else the alembic.ini of the ref does.

    Raises:
        ExpectedError: There is no such ref, or git cannot be run.
    """
    again = "invoke review --deployed origin/main"
    git = Git(project.root, f"what runs at {ref} is not known", again)
    top = Path(git.read("rev-parse", "--show-toplevel"))
    commit = ref and git.read(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", required=False
    )
    if not commit:
        raise ExpectedError(
            f"git knows no commit {ref!r}",
            cause=f"looked in {top} for a branch, a tag or a commit of that name",
            hint="git fetch --all --tags   (then the same command again; git branch --all and git tag show the names)",
        )
    with tempfile.TemporaryDirectory(prefix="deployed-") as folder:
        files = Path(folder).resolve() / "files"
        index = {"GIT_INDEX_FILE": str(Path(folder).resolve() / "index")}
        whole = Git(top, git.what, again)
        whole.read("read-tree", commit, environ=index)
        whole.read("checkout-index", "--all", f"--prefix={files}{os.sep}", environ=index)
        try:
            tables = _tables(files, top.resolve(), project.root, target_metadata)
        except ExpectedError as error:
            cause = error.cause.replace(f"{files}{os.sep}", "")
            return Deployed(ref, {}, f"{error.what}: {cause}")
    return Deployed(ref, tables)


def _tables(files: Path, top: Path, root: Path, target_metadata: str) -> Tables:
    """Import the models of a checkout of the repository whose files are at `top`."""
    home = files / root.resolve().relative_to(top)
    if not (home / "alembic.ini").is_file():
        raise ExpectedError("there is no alembic.ini at its root", cause=str(home))
    deployed = projects.load(home, target_metadata)
    named = deployed.target_metadata
    places = deployed.alembic_config().get_prepend_sys_paths_list() or []
    paths = [Path(place).resolve() for place in sys.path if place]
    first = [home / place for place in places] + [files / place for place in _inside(paths, top)]
    last = [path for path in paths if not path.is_relative_to(top)]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM,
            named,
            *(json.dumps([*map(str, each)]) for each in (first, last)),
        ],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not done.stdout.strip():
        said = done.stderr.strip().splitlines() or [f"Python ended with {done.returncode}"]
        raise ExpectedError(f"its models {named} cannot be imported", cause=said[-1])
    tables, loaded = json.loads(done.stdout.splitlines()[-1])
    other = [path for path in map(Path, loaded) if not path.is_relative_to(files)]
    if mixed := [*_inside(other, top)]:
        cause = f"Python takes {mixed[0]} from {top}, not from the ref"
        raise ExpectedError(f"its models {named} cannot be imported alone", cause=cause)
    return {(schema, name): frozenset(columns) for schema, name, columns in tables}


def _inside(paths: Iterable[Path], top: Path) -> Iterator[Path]:
    """Yield the paths that are in the repository, from its top, but for those of installed packages."""
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")]
    for path in (each.resolve() for each in paths):
        if path.is_relative_to(top) and not any(path.is_relative_to(each) for each in installed):
            yield path.relative_to(top)

"""The revision graph, read once from the scripts into a plain ordered value."""

import argparse
import hashlib
import io
import re
import traceback
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from postgres_database.errors import ExpectedError
from postgres_database.settings import Settings


@dataclass(frozen=True)
class Revision:
    """One script."""

    id: str
    message: str
    path: Path
    parents: tuple[str, ...] = ()
    """What must be applied before: down revisions and dependencies."""
    labels: frozenset[str] = frozenset()
    roles: tuple[str, ...] = ()
    """Roles that the script names in grants or policies (`roles = (...)` in the script)."""

    def __str__(self) -> str:
        """Name the revision for people."""
        return f"{self.id}  {self.message}"


@dataclass(frozen=True)
class History:
    """All revisions, each after its parents."""

    revisions: tuple[Revision, ...] = ()
    heads: tuple[str, ...] = ()
    _by_id: dict[str, Revision] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the revisions."""
        object.__setattr__(self, "_by_id", {revision.id: revision for revision in self.revisions})

    def __getitem__(self, revision_id: str) -> Revision:
        """Return the revision with exactly this id."""
        return self._by_id[revision_id]

    def __contains__(self, revision_id: object) -> bool:
        """Tell whether there is a revision with exactly this id."""
        return revision_id in self._by_id

    @property
    def head(self) -> str:
        """The one head, or `base` where there is no revision yet.

        Raises:
            ExpectedError: There are several.
        """
        if len(self.heads) > 1:
            raise ExpectedError(
                f"the history has {len(self.heads)} heads: {', '.join(self.heads)}",
                cause="two scripts follow the same revision, as happens when two branches are merged",
                hint='invoke merge --msg "Merge the heads"',
            )
        return self.heads[0] if self.heads else "base"

    def upto(self, ids: Iterable[str]) -> tuple[Revision, ...]:
        """Return these revisions and all that they stand on, in order."""
        wanted: set[str] = set()
        waiting = [revision_id for revision_id in ids if revision_id != "base"]
        while waiting:
            revision_id = waiting.pop()
            if revision_id not in wanted:
                wanted.add(revision_id)
                waiting += self[revision_id].parents
        return tuple(revision for revision in self.revisions if revision.id in wanted)

    def resolve(self, text: str) -> str:
        """Turn what people type for a revision (`head`, `base`, an id or its beginning) into an id.

        Raises:
            ExpectedError: There is no such revision, or several.
        """
        if text == "base":
            return "base"
        if text in ("head", "heads"):
            return self.head
        found = [
            revision.id
            for revision in self.revisions
            if revision.id == text
            or text in revision.labels
            or (len(text) > 2 and revision.id.startswith(text))
        ]
        found = [text] if text in found else found
        if len(found) != 1:
            raise ExpectedError(
                f"there is no revision {text!r}"
                if not found
                else f"{text!r} is the beginning of several revisions",
                cause=", ".join(found)
                or f"the head is {', '.join(self.heads) or 'base: there is no script yet'}",
                hint="invoke history",
            )
        return found[0]

    def pending(self, current: Collection[str], target: str) -> tuple[Revision, ...]:
        """Return what an upgrade runs, in order, to reach `target` (also `+2`: two steps further)."""
        self.require(current)
        applied = {revision.id for revision in self.upto(current)}
        steps = re.fullmatch(r"\+(\d+)", target)
        goal = self.heads if steps or target == "heads" else [self.resolve(target)]
        missing = tuple(revision for revision in self.upto(goal) if revision.id not in applied)
        if steps:
            if len(missing) < int(steps[1]):
                raise ExpectedError(
                    f"there are not {steps[1]} revisions above {', '.join(current) or 'base'}",
                    cause=f"pending: {len(missing)}",
                    hint="invoke upgrade",
                )
            missing = missing[: int(steps[1])]
        return missing

    def undone(self, current: Collection[str], target: str) -> tuple[tuple[Revision, ...], str]:
        """Return what a downgrade to `target` undoes, in order, and the revision it ends at.

        Args:
            current: Where the database stands.
            target: A revision, `base`, or `-1`: one step back.
        """
        self.require(current)
        applied = self.upto(current)
        if steps := re.fullmatch(r"-(\d+)", target):
            return self._steps_back(applied, int(steps[1]))
        goal = self.resolve(target)
        if goal == "base":
            return applied[::-1], goal
        if goal not in {revision.id for revision in applied}:
            raise ExpectedError(
                f"{goal} is not applied, so there is no way down to it",
                cause=f"the database is at {', '.join(current) or 'base'}",
                hint=f"invoke upgrade --target {goal}",
            )
        return tuple(
            revision
            for revision in applied[::-1]
            if revision.id != goal and self[goal] in self.upto([revision.id])
        ), goal

    def _steps_back(
        self, applied: tuple[Revision, ...], steps: int
    ) -> tuple[tuple[Revision, ...], str]:
        undone: list[Revision] = []
        for _ in range(steps):
            heads = tips(applied)
            if len(heads) != 1:
                raise ExpectedError(
                    f"{steps} steps back from here is not one place",
                    cause=f"after {len(undone)} steps the database is at {' and '.join(heads) or 'base'}",
                    hint="invoke downgrade --target=…   (name the revision; invoke history shows them)",
                )
            undone.append(self[heads[0]])
            applied = tuple(revision for revision in applied if revision.id != heads[0])
        return tuple(undone), next(iter(tips(applied)), "base")

    def require(self, current: Collection[str]) -> None:
        """Raise ExpectedError if a database is at a revision that is not among the scripts."""
        unknown = sorted(set(current) - set(self._by_id))
        if unknown:
            raise ExpectedError(
                f"the database is at revision {', '.join(unknown)}, which is not in migration/versions",
                cause="it was upgraded with a script that this checkout does not have",
                hint="git pull   (or switch to the branch that has the script)",
            )


def tips(revisions: Iterable[Revision]) -> tuple[str, ...]:
    """Return the revisions that no other of these stands on."""
    revisions = tuple(revisions)
    inner = {parent for revision in revisions for parent in revision.parents}
    return tuple(revision.id for revision in revisions if revision.id not in inner)


def fingerprints(revisions: Iterable[Revision], *more: str) -> list[str]:
    """Return a hash for none, one, two, … of these scripts with the SQL files beside them.

    Same hash, same schema. `more` is what else the schema depends on.
    """
    digest = hashlib.sha256("\0".join(more).encode())
    hashes = [digest.hexdigest()[:32]]
    for revision in revisions:
        digest.update(f"\0{revision.id}\0".encode())
        for path in (revision.path, revision.path.with_suffix(".sql")):
            digest.update(path.read_bytes() if path.exists() else b"")
        hashes.append(digest.hexdigest()[:32])
    return hashes


def alembic_config(settings: Settings, **attributes: Any) -> Config:
    """Return Alembic's configuration for this repository.

    Args:
        settings: Whose alembic.ini is read.
        attributes: What `migration/env.py` is to find in `config.attributes`.
    """
    ini = settings.root / "alembic.ini"
    if not ini.exists():
        raise ExpectedError(
            "there is no alembic.ini", cause=f"looked for {ini}", hint="git checkout alembic.ini"
        )
    quiet = argparse.Namespace(quiet=True, x=None)  # what Alembic would say, our commands say
    config = Config(ini, stdout=io.StringIO(), cmd_opts=quiet)
    config.attributes.update(attributes, settings=settings)
    return config


def read(settings: Settings) -> History:
    """Read the scripts.

    Raises:
        ExpectedError: A script cannot be read, or the scripts do not fit together.
    """
    with script_errors(settings):
        directory = ScriptDirectory.from_config(alembic_config(settings))
        scripts = list(directory.walk_revisions())[::-1]
        return History(
            tuple(
                Revision(
                    id=script.revision,
                    message=script.doc,
                    path=Path(script.path),
                    parents=tuple(
                        sorted({*_as_tuple(script.down_revision), *_as_tuple(script.dependencies)})
                    ),
                    labels=frozenset(script.branch_labels),
                    roles=tuple(getattr(script.module, "roles", ())),
                )
                for script in scripts
            ),
            tuple(sorted(directory.get_heads())),
        )


def _as_tuple(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


@contextmanager
def script_errors(settings: Settings) -> Iterator[None]:
    """Turn what goes wrong while scripts are read into an ExpectedError that names the place."""
    try:
        yield
    except (CommandError, RevisionError) as error:
        missing = not (settings.root / "migration" / "env.py").exists()
        raise ExpectedError(
            "the scripts under migration/ cannot be read",
            cause=str(error),
            hint="invoke init" if missing else "invoke history",
        ) from error
    except ExpectedError:
        raise
    except Exception as error:
        place = script_place(error, settings.root)
        if not place:
            raise
        raise ExpectedError(
            f"{place} cannot be read",
            cause=f"{type(error).__name__}: {error}",
            hint="invoke history   (once the script is mended)",
        ) from error


def script_place(error: BaseException, root: Path) -> str:
    """Return the file and line of a script under migration/ where an error arose, or nothing."""
    versions = root / "migration"
    if (
        isinstance(error, SyntaxError)
        and error.filename
        and Path(error.filename).is_relative_to(versions)
    ):
        return f"{Path(error.filename).relative_to(root)}, line {error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(versions) and path.name != "env.py":
            return f"{path.relative_to(root)}, line {frame.lineno}"
    return ""

"""What a template of the history was made of, and what was found out of it: the comment of its database."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from postgres_database.errors import ExpectedError
from postgres_database.history import reads
from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.scratch import plain


@dataclass(frozen=True)
class Equal:
    """Models that make the schema of a template, besides what the history has and they do not manage."""

    seal: str
    """A hash of all that this depends on besides the template (`recording.Recording.key`), and of `kept`."""
    kept: tuple[tuple[str, str, str], ...]
    """Kind, schema and name of what they do not manage."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What plain models depend on (`plain.everything`); empty for any others."""
    around: str = ""
    """A hash of what plain models depend on besides their files and the template (`known.around`), and of `kept`."""

    @classmethod
    def of(
        cls,
        key: str,
        kept: tuple[tuple[str, str, str], ...],
        files: Mapping[str, str],
        around: str,
    ) -> Equal:
        """Seal what was found out."""
        return cls(cls.sealed(key, kept), kept, files, cls.sealed(around, kept))

    @staticmethod
    def sealed(key: str, kept: tuple[tuple[str, str, str], ...]) -> str:
        """Return a hash of what this depends on and of what was found out."""
        return sha256(f"{key} {kept!r}".encode()).hexdigest()


@dataclass(frozen=True)
class Recipe:
    """What scripts read besides themselves and their SQL files, and how they named constraints."""

    files: Mapping[str, str]
    """Path from the root of the repository → digest of the file or folder."""
    convention: str = ""
    """A hash of the naming convention of the models; empty if no script used it."""
    steady: bool = True
    """Whether no file changed between its reading and the digest."""
    used: str = ""
    """The last day on which a command used the database, as YYYY-MM-DD; empty if that is not known."""
    dumped: str = ""
    """The server's version, and a hash of what a dump prints (`dump.Dump.digest`); empty if that is not known."""
    equal: Equal | None = None
    plain: Mapping[str, str] = field(default_factory=dict)
    """What the convention depends on (`plain.facts`); empty where only the models tell."""

    def text(self) -> str:
        """Return the text for the comment of a database; `parse` reads it."""
        equal = self.equal and [*vars(self.equal).values()]
        return json.dumps([
            self.files, self.convention, self.used, self.dumped, equal, self.plain,
        ])  # fmt: skip

    def is_current(self, project: Project) -> bool:
        """Tell whether the files and the naming convention are unchanged."""
        same = all(
            reads.digest(project.root / name) == digest for name, digest in self.files.items()
        )
        # Models that were found equal to the history named its constraints.
        models = (self.plain, self.equal.files) if self.equal else (self.plain,)
        return same and (
            not self.convention
            or any(plain.hold(each, project) for each in models)
            or self.convention == _fingerprint(_naming(project))
        )

    def with_more(self, other: Recipe) -> Recipe:
        """Return the recipe of a database whose later scripts have another recipe."""
        return Recipe(
            {**self.files, **other.files},
            other.convention or self.convention,
            self.steady and other.steady,
            plain=other.plain or self.plain,
        )


def parse(text: str | None) -> Recipe | None:
    """Read the comment of a database; None if it is no text of a recipe."""
    try:
        said = [*json.loads(text or "")]
        more: tuple[Any, ...] = ("", "", None, {})[len(said) - 2 :]  # earlier versions wrote less
        files, convention, used, dumped, equal, facts = [*said, *more][:6]
        same = _equal(*equal) if equal else None
        kept = str(used), str(dumped), same, dict(facts)
        return Recipe(dict(files), str(convention), True, *kept)  # noqa: FBT003 - steady
    except (LookupError, TypeError, ValueError):
        return None


def _equal(
    seal: str,
    kept: Iterable[Iterable[str]],
    files: Mapping[str, str] | None = None,
    around: str = "",
) -> Equal:
    return Equal(str(seal), tuple((a, b, c) for a, b, c in kept), dict(files or {}), str(around))


def of(project: Project, revisions: Iterable[Revision], models: object) -> Recipe:
    """Return the recipe of scripts that were run in this process.

    Args:
        project: Has the scripts, and the models that name their constraints.
        revisions: The scripts that were run.
        models: Alembic's `target_metadata`, as env.py gave it to them.
    """
    from postgres_database.history.project_models import Deferred

    ours = isinstance(models, Deferred) or _is_named(project, models)
    asked = models.asked if isinstance(models, Deferred) else ours
    naming = _naming(project) if asked else {}
    functions = [inspect.getsourcefile(each) for each in naming.values() if callable(each)]
    sources = [Path(name) for name in functions if name]
    env = Path(project.scripts.dir) / "env.py"
    needed, steady = reads.closure([*(revision.path for revision in revisions), *sources])
    # If env.py imports the models, of their files only the naming convention matters to a script.
    more, also = reads.closure([env], leave=_sources(project) if ours else ())
    return Recipe(
        {
            os.path.relpath(path, project.root): reads.digest(path)
            for path in sorted({env, *sources, *needed, *more})
        },
        _fingerprint(naming) if asked else "",
        steady and also,
        plain=plain.facts(project),
    )


def _is_named(project: Project, models: object) -> bool:
    """Tell whether these are the models of the project."""
    try:
        several = tuple(models) if isinstance(models, list) else models
        return several == project.models()
    except ExpectedError:
        return False


def _sources(project: Project) -> list[Path]:
    """Return the loaded files of the module or package of the models."""
    name = project.target_metadata.partition(":")[0]
    modules = [
        module
        for each, module in [*sys.modules.items()]
        if each == name or each.startswith(f"{name}.")
    ]
    return [Path(file) for module in modules if (file := reads.file_of(module))]


def _naming(project: Project) -> Mapping[str, Any]:
    project.find_modules()
    return getattr(project.deferred, "naming_convention", {})


def _fingerprint(naming: Mapping[str, Any]) -> str:
    """Return a hash of a naming convention; of its functions, only the names: `Recipe.files` has their files."""
    items = sorted(
        f"{key!r}: {getattr(value, '__qualname__', repr(value))}" for key, value in naming.items()
    )
    return sha256("\0".join(items).encode()).hexdigest()[:32]

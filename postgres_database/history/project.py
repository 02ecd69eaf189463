"""The repository that a command works in: its settings in alembic.ini, its scripts and its models, each read once."""

from __future__ import annotations

import argparse
import configparser
import io
import os
import re
import sys
from collections.abc import Collection, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postgres_database.errors import ExpectedError
from postgres_database.history import graph, reads, script_errors, script_texts, staged
from postgres_database.history.graph import History, Revision, tips
from postgres_database.history.script_errors import Folders
from postgres_database.history.script_texts import Line
from postgres_database.schema.scope import EVERYTHING, Scope
from postgres_database.server import version_table
from postgres_database.server.environment import FALSE, METADATA, TRUE
from postgres_database.server.version_table import ALEMBICS, VersionTable

if TYPE_CHECKING:  # a command that has nothing to do does without it
    from alembic.config import Config
    from alembic.script import Script, ScriptDirectory

    from postgres_database.history.project_models import Deferred, Models

SECTION = "postgres_database"
OPTIONS = ("include_schemas", "exclude", "online", *version_table.OPTIONS)
"""What stands under SECTION in alembic.ini, besides target_metadata."""
KEPT = "squashed-"
"""How the names of folders begin, beside those of the scripts, whose scripts a squash has replaced."""
SHIPPED_MODELS = "postgres_database.models:metadata"


@dataclass(frozen=True)
class Project:
    """A repository. Its scripts are read once, when they are first needed.

    After a script was written, go on with `having_written()` or `anew()`.
    """

    root: Path
    """Where alembic.ini is."""
    target_metadata: str = SHIPPED_MODELS
    """The name of the models: package.module:name."""
    scope: Scope = EVERYTHING
    """Which schemas and objects it manages."""
    online: bool = True
    """Whether scripts are written so that live traffic does not notice them."""
    versions: VersionTable = ALEMBICS
    """Where databases keep their revision."""
    staged: Path | None = None
    """A folder of scripts that are not proved yet, and are read besides those of the history."""
    places: tuple[Path, ...] = ()
    """The folders that are read instead of those of alembic.ini: a copy, with other scripts."""

    @property
    def aside(self) -> Path:
        """The folder `staged`, in a block of `script_files.staging`."""
        if self.staged is None:
            raise ValueError(self)
        return self.staged

    def anew(self) -> Project:
        """Return the same project; its scripts have changed and are read again."""
        return replace(self)

    def having_written(self, script: Script) -> Project:
        """Return the project with a script that Alembic has just written and read; the others are not read again."""
        path = Path(script.path)
        revision = self._revision(script, script_texts.digests([path])[path])
        revisions = (*self.history.revisions, revision)
        project = replace(self)
        known = History(revisions, tuple(sorted(tips(revisions))))
        vars(project).update(scripts=self.scripts, history=known)
        return project

    def models(self) -> Models:
        """Import the models, from where `prepend_sys_path` in alembic.ini says.

        Raises:
            ExpectedError: They cannot be imported, are no MetaData, or two of them have the same table.
        """
        from postgres_database.history import project_models

        self.find_modules()
        return project_models.load(self.root, self.target_metadata)

    def find_modules(self) -> None:
        """Let Python find modules where `prepend_sys_path` in alembic.ini says."""
        place = script_texts.module_place(self.root)
        places = [place] if place else self.alembic_config().get_prepend_sys_paths_list() or []
        reads.find_modules([str(self.root / place) for place in places])

    @property
    def deferred(self) -> Deferred:
        """What stands for the models where scripts run."""
        from postgres_database.history.project_models import Deferred

        return Deferred(self.root, self.target_metadata)

    def alembic_config(self, **attributes: Any) -> Config:
        """Return Alembic's configuration for this repository.

        Args:
            attributes: What `migration/env.py` is to find in `config.attributes` besides the project and the models.

        Raises:
            ExpectedError: There is no alembic.ini.
        """
        from alembic.config import Config

        ini, toml = (self.root / name for name in ("alembic.ini", "pyproject.toml"))
        if not ini.exists():
            raise ExpectedError(
                "there is no alembic.ini",
                cause=f"looked for {ini}",
                hint="git checkout alembic.ini",
            )
        quiet = argparse.Namespace(quiet=True, x=None)  # our commands say what Alembic would
        config = Config(ini, toml_file=toml, stdout=io.StringIO(), cmd_opts=quiet)
        config.attributes.update(attributes, project=self, target_metadata=self.deferred)
        return config

    @cached_property
    def folders(self) -> Folders:
        """Where alembic.ini says that the scripts are."""
        config = self.alembic_config()
        home = self.root / (config.get_alembic_option("script_location") or "migration")
        versions = config.get_version_locations_list() or [str(home / "versions")]
        return Folders(self.root, home, tuple(self.root / folder for folder in versions))

    @cached_property
    def scripts(self) -> ScriptDirectory:
        """The scripts as Alembic has them: it would import every script again for each step."""
        from alembic.script import ScriptDirectory

        directory = ScriptDirectory.from_config(self.alembic_config())
        staged.finish(Path(directory.dir))
        if self.places:
            directory.version_locations = [*map(str, self.places)]
        elif self.staged:
            directory.version_locations = [*map(str, self.folders.versions), str(self.staged)]
        return directory

    @cached_property
    def line(self) -> Line | None:
        """The scripts as a line, none executed; None where only `history` tells whether and how they fit together."""
        return None if self.staged or self.places else script_texts.read_line(self.root)

    @cached_property
    def history(self) -> History:
        """The scripts as a value.

        Raises:
            ExpectedError: A script cannot be read, or the scripts do not fit together.
        """
        with (
            script_errors.explained(self.folders),
            redirect_stdout(sys.stderr),
        ):  # stdout is for results
            read = list(self.scripts.walk_revisions())[::-1]
            script_errors.require_all_read(self.folders, read)
            digested = script_texts.digests(Path(script.path) for script in read)
            revisions = tuple(self._revision(each, digested[Path(each.path)]) for each in read)
            # Alembic calls that a head, too, which another branch depends on; a database is never stamped with both.
            return History(revisions, tuple(sorted(tips(revisions))))

    @property
    def ends(self) -> Mapping[str, Path]:
        """The script of each head; where the scripts are a line none is executed.

        Raises:
            ExpectedError: As `history` does.
        """
        if line := self.line:
            return {line.head: Path(line.scripts[line.head])}
        return {head: self.history[head].path for head in self.history.heads}

    def kept_in(self, revision_id: str) -> Path:
        """Return the folder of the scripts that a squash has replaced by this revision, whether it is there or not.

        It is as deep as that of the scripts: what they open by a path from their own is where it was.
        """
        return self.folders.home / f"{KEPT}{revision_id}"

    @cached_property
    def kept(self) -> tuple[Project, ...]:
        """The histories that squashes have replaced, each up to the revision that stands for it."""
        return tuple(
            replace(self, places=(folder,), staged=None)
            for folder in sorted(self.folders.home.glob(f"{KEPT}*"))
            if folder.is_dir()
        )

    def route(self, current: Collection[str]) -> tuple[Project, ...]:
        """Return the projects whose scripts lead a database at these revisions to the end, one after the other.

        This one is the last; there are others only where the database is at a revision that a squash has replaced.
        """
        if all(each in self.history for each in current):
            return (self,)
        for before in self.kept:
            stands = all(each in before.history for each in current)
            if stands and {*current} != {*before.history.heads}:
                return (before, *self.route(before.history.heads))
        return (self,)

    def having(self, revision: str) -> Project:
        """Return this project, or the one of the scripts that a squash has replaced, whichever has a revision.

        This one, if it is in several or in none.
        """
        every = (each for each in (self, *self.kept) if each.history.names(revision))
        return next(every, self)

    def legs(self, current: tuple[str, ...], target: str) -> tuple[Leg, ...]:
        """Return what an upgrade runs to reach `target` (see `History.pending`), by the projects of `route`.

        Raises:
            ExpectedError: There is no such revision.
        """
        *kept, last = self.route(current)
        steps = re.fullmatch(r"\+(\d+)", target)
        left = int(steps[1]) if steps else 0
        legs: list[Leg] = []
        for before in kept:
            named = not steps and not last.history.names(target) and before.history.names(target)
            plan = before.history.pending(current, target if named else "heads")
            plan = plan[:left] if steps else plan
            legs.append(Leg(before, current, plan))
            left -= len(plan)
            if named or (steps and not left):
                return tuple(legs)
            current = before.history.heads
        plan = last.history.pending(current, f"+{left}" if steps else target)
        return (*legs, Leg(last, current, plan))

    def undone(self, current: Collection[str], target: str) -> tuple[tuple[Revision, ...], str]:
        """Return what a downgrade undoes, and the revision that it ends at; see `History.undone`.

        Raises:
            ExpectedError: The target is no revision that is applied, or one that a squash has replaced.
        """
        kept = self.having(target)
        if kept is not self:
            stands = ", ".join(kept.history.heads)
            raise ExpectedError(
                f"there is no way down to {target}, which a squash has replaced",
                cause=f"{stands} stands for all revisions up to it, and is not undone in steps",
                hint=f"invoke downgrade --target {stands}   (which is as far down as it goes)",
            )
        return self.history.undone(current, target)

    def _revision(self, script: Any, digest: str) -> Revision:
        needed = graph.as_tuple(script.dependencies)
        found = (revision for name in needed for revision in self.scripts.get_revisions(name))
        return graph.revision(script, digest, tuple(each.revision for each in found))


@dataclass(frozen=True)
class Leg:
    """A part of the way of a database to the end of the history."""

    project: Project
    """Has the scripts."""
    before: tuple[str, ...]
    """Where it begins."""
    plan: tuple[Revision, ...]


def load(root: Path, target_metadata: str = "", environ: Mapping[str, str] = os.environ) -> Project:
    """Read what alembic.ini says of a repository.

    Args:
        root: The repository.
        target_metadata: The name of the models, if an environment gives it; else TARGET_METADATA or alembic.ini does.
        environ: The process environment.

    Raises:
        ExpectedError: alembic.ini or TARGET_METADATA is not usable; all faults are reported at once.
    """
    reader = _Reader(root)
    given = target_metadata or environ.get("TARGET_METADATA", "").strip()
    project = Project(
        root,
        reader.target_metadata(given),
        Scope(reader.words("include_schemas"), reader.words("exclude")),
        reader.switch("online"),
        reader.version_table(),
    )
    if reader.faults:
        raise ExpectedError(
            "the settings of this repository are not usable",
            cause="\n".join(reader.faults),
            hint="${EDITOR:-vi} alembic.ini   (every setting is explained in it)",
        )
    return project


class _Reader:
    """Reads alembic.ini, and collects faults, so that all are reported at once."""

    def __init__(self, root: Path) -> None:
        self.faults: list[str] = []
        self._root = root
        self._ini = configparser.ConfigParser(interpolation=None)
        try:
            self._ini.read(root / "alembic.ini", encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            words = str(error).partition("\n")[0]  # what follows quotes the file
            self.faults.append(f"alembic.ini cannot be read: {words}")
        self.faults += [
            f"alembic.ini: {option} stands under [alembic]; it is read under [{SECTION}] only"
            for option in OPTIONS
            if self._ini.has_option("alembic", option) and not self._ini.has_option(SECTION, option)
        ]

    def target_metadata(self, given: str) -> str:
        value = given or self._ini.get(SECTION, "target_metadata", fallback=SHIPPED_MODELS)
        if not METADATA.fullmatch(value):
            where = "TARGET_METADATA" if given else "alembic.ini: target_metadata"
            self.faults.append(f"{where}: {value!r} is not of the form package.module:name")
        return value

    def words(self, option: str) -> tuple[str, ...]:
        """Read a list: words between commas, blanks or line ends."""
        return tuple(self._ini.get(SECTION, option, fallback="").replace(",", " ").split())

    def version_table(self) -> VersionTable:
        try:
            return version_table.read(self._ini, self._root)
        except ValueError as error:
            self.faults.append(str(error))
            return ALEMBICS

    def switch(self, option: str) -> bool:
        """Read what is on unless alembic.ini says otherwise."""
        value = self._ini.get(SECTION, option, fallback="true").strip().lower()
        if value not in TRUE + FALSE:
            self.faults.append(f"alembic.ini: {option} = {value!r} is neither true nor false")
        return value in TRUE

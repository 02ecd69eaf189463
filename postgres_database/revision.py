"""Write the next script from the models, and prove it on scratch databases that hold rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alembic.operations import MigrateOperation

from postgres_database import (
    catalog,
    comparison,
    contents,
    history,
    matching,
    probe,
    renames,
    rows,
    runner,
    scratch,
    script,
)
from postgres_database.comparison import Frame, Side
from postgres_database.connection import Database
from postgres_database.draft import Draft, draft
from postgres_database.errors import ExpectedError
from postgres_database.history import History
from postgres_database.matching import Ask, Wishes
from postgres_database.operations import Refuse, imports
from postgres_database.renames import Rename
from postgres_database.scratch import Scratch
from postgres_database.settings import Settings
from postgres_database.snapshot import Difference, Key
from postgres_database.spelling import in_words_of
from postgres_database.trial import render


@dataclass(frozen=True)
class RevisionResult:
    """What was written, and what a human must still look at."""

    path: Path | None = None
    """The script; None where none was written."""
    revision: str = ""
    renamed: tuple[str, ...] = ()
    """What got another name, a line each."""
    detected: tuple[str, ...] = ()
    """What Alembic found and wrote, a line each."""
    completed: tuple[str, ...] = ()
    """What was written besides, from PostgreSQL's own text: the first lines of the statements."""
    cautions: tuple[str, ...] = ()
    """What the script throws away and what rows may stand in its way, a line each."""
    failure: str = ""
    """Why the script does not run on a scratch database."""
    not_upgraded: tuple[Difference, ...] = ()
    """Objects that after the upgrade still differ from the models."""
    not_downgraded: tuple[Difference, ...] = ()
    """Objects that the downgrade does not bring back."""
    lost: tuple[str, ...] = ()
    """Rows and values that are gone after the upgrade, though their table and column are there."""
    broken: tuple[str, ...] = ()
    """What could be done to rows before, and now a trigger or rule refuses, because it names what is gone."""
    empty: tuple[str, ...] = ()
    """Tables for which no rows could be made up, with the reason."""
    kept: tuple[Key, ...] = ()
    """Objects that only the history has and that stay: views, functions, partitions, …"""
    tried: bool = True
    """Whether the script was run at all: an empty one is not."""
    sql: str = ""
    """The script as SQL, if it was asked for."""

    @property
    def proved(self) -> bool:
        """Whether the script leads to the models, back, and there again, loses no row and breaks no trigger."""
        differing = self.not_upgraded or self.not_downgraded
        return not (self.failure or differing or self.lost or self.broken)


def revision(  # noqa: PLR0913 - each is an option
    settings: Settings,
    message: str,
    *,
    empty: bool = False,
    sql: bool = False,
    rename: Sequence[str] = (),
    no_renames: bool = False,
    ask: Ask | None = None,
) -> RevisionResult:
    """Write a script that brings the history to the models; no target is needed or touched.

    Args:
        settings: Where the models and the scratch server are.
        message: What the script is for.
        empty: Write a script without content, to be filled by hand.
        sql: Return the script as SQL, too.
        rename: What was renamed: `table.column:new`, `old:new`, `type.value:new`.
        no_renames: What else was dropped and added is no rename.
        ask: Asked about each likely rename; None where nobody can answer.

    Raises:
        ExpectedError: Nothing was written.
    """
    if not message.strip():
        raise ExpectedError(
            "a revision needs a message",
            hint="invoke revision --msg 'Added column to file_meta_data'   (make revision MSG='…')",
        )
    if empty:
        head = history.read(settings).head
        written = script.write(settings, message, head)
        result = RevisionResult(Path(written.path), written.revision, tried=False)
        return _with_sql(settings, head, result, wanted=sql)
    metadata = scratch.load_metadata(settings)
    with scratch.session(settings) as session:
        from_models = session.from_models(
            metadata
        )  # before a script is imported, which may change them
        before = history.read(settings)
        head = before.head
        at_head = session.at(before, before.heads)
        left, models = comparison.sides(at_head, from_models)
        right = in_words_of(left, models, (at_head, from_models), session)
        whole = Frame(settings, left, right, before.objects)
        if not whole.comparison.objects and not rename:
            return RevisionResult(kept=whole.comparison.kept)
        wishes = Wishes(tuple(rename), no_renames, matching.hints(metadata), ask)
        renamed = _rename(at_head, whole, wishes)
        frame = whole
        if renamed:
            left_over = {f"SCHEMA {each.old.schema}" for each in renamed}
            owned = before.objects | left_over
            left = comparison.side(at_head)
            right = in_words_of(left, models, (at_head, from_models), session)
            frame = Frame(settings, left, right, owned)
        trial = session.clone(at_head)
        rows.remove(
            trial
        )  # what does not fit the models stands in the way of the proof, not of the draft
        unfilled = rows.fill(at_head, from_models)
        held = contents.take(at_head)
        _run_sql(at_head, [renames.statement(each.inverse) for each in reversed(renamed)])
        work = _Work(
            settings, session, before, message, frame, whole, renamed, from_models, held,
            probe.refusals(at_head),
        )  # fmt: skip
        try:
            result = work.finish(draft(trial, whole, frame, renamed, metadata), at_head)
        except BaseException:
            work.discard()
            raise
        result = replace(result, empty=unfilled)
        return _with_sql(settings, head, result, wanted=sql)


def _rename(at_head: Database, frame: Frame, wishes: Wishes) -> tuple[Rename, ...]:
    """Give new names on a scratch database, also to what follows them; return what was done."""
    goal = frame.models.catalog
    done = matching.find(frame.before.catalog, goal, wishes)
    _run_sql(at_head, map(renames.statement, done))
    following = renames.followers(catalog.take(at_head), goal)
    _run_sql(at_head, map(renames.statement, following))
    return (*done, *following)


def _run_sql(database: Database, statements: Any) -> None:
    with database.connect() as connection, connection.begin():
        cursor = connection.connection.cursor()
        for statement in statements:
            cursor.execute(statement)


@dataclass
class _Work:
    """A script in the making."""

    settings: Settings
    session: Scratch
    history: History
    message: str
    frame: Frame
    whole: Frame
    renamed: tuple[Rename, ...]
    from_models: Database
    held: contents.Contents
    refusals: probe.Refusals
    path: Path | None = None
    revision: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def finish(self, drafted: Draft, at_head: Database) -> RevisionResult:
        """Write the script and prove it.

        Args:
            drafted: What it does between renames.
            at_head: A scratch database at head that holds rows.
        """
        kept = self.frame.comparison.kept
        if not drafted.upgrade:
            return RevisionResult(not_upgraded=self.frame.comparison.objects, kept=kept)
        self.facts = {
            "renamed": tuple(f"{each.kind} {each}" for each in self.renamed if each.old.name),
            "detected": drafted.detected,
            "completed": drafted.completed,
            "cautions": drafted.cautions,
            "kept": kept,
        }
        up, down = drafted.upgrade, drafted.downgrade
        self._write(up, down)
        self._prove(at_head)
        if self.facts.get("not_downgraded"):
            names = ", ".join(str(each.key) for each in self.facts["not_downgraded"])
            self.discard()
            self._write(up, [Refuse("this revision cannot be undone", names), *down])
        return RevisionResult(path=self.path, revision=self.revision, **self.facts)

    def _write(self, up: Sequence[MigrateOperation], down: Sequence[MigrateOperation]) -> None:
        bodies = render(*up), render(*down)
        with self.from_models.connect() as connection:
            roles = set(connection.execute(runner.ROLES).scalars())
        known = {role for each in self.history.revisions for role in each.roles}
        written = script.write(
            self.settings,
            self.message,
            self.history.head,
            revision=self.revision,
            upgrade=bodies[0],
            downgrade=bodies[1],
            imports=imports("".join(bodies)),
            roles=sorted(roles - known),
            objects=self.frame.new_objects(),
        )
        self.path, self.revision = Path(written.path), written.revision

    def _prove(self, at_head: Database) -> None:
        """Run the script on rows; where they stand in the way, say so and run it without."""
        if len(history.read(self.settings).heads) > 1:
            self._caution("another script was written meanwhile: invoke merge joins the heads")
        failed = self._walk(at_head, self.held)
        if failed is None:
            return
        stage, words = failed
        if stage == "upgrade":
            self.facts["failure"] = words
        else:
            self._caution(f"with rows it cannot be undone: {words}")
        if again := self._walk(self._bare(), None):
            self.facts["failure"] = again[1]

    def _walk(self, database: Database, held: contents.Contents | None) -> tuple[str, str] | None:
        """Upgrade, compare with the models, downgrade, compare with before, upgrade again.

        Args:
            database: A scratch database at head.
            held: The rows that it holds, under their new names.

        Returns:
            Which step failed, and why; None if none did.
        """
        plan = (history.read(self.settings)[self.revision],)
        steps: list[tuple[str, Callable[[runner.Runner], None]]] = [
            ("upgrade", lambda run: run.upgrade(plan)),
            ("downgrade", lambda run: run.downgrade(plan, self.history.head)),
            ("upgrade again", lambda run: run.upgrade(plan)),
        ]
        for stage, step in steps:
            try:
                with runner.open_runner(self.settings, database) as run:
                    step(run)
            except ExpectedError as error:
                return stage, f"{error.what}\n{error.cause}"
            if stage == "upgrade":
                self.facts["not_upgraded"] = self._differing(
                    database, self.frame, self.frame.goal, lambda: self.from_models
                )
                if held:
                    self.facts["lost"] = held.lost(contents.take(database))
                    refused = probe.refusals(database)
                    self.facts["broken"] = probe.broken(self.refusals, refused, database)
            elif stage == "downgrade":
                self.facts["not_downgraded"] = self._differing(
                    database, self.whole, self.whole.before, self._bare
                )
        return None

    def _differing(
        self, database: Database, frame: Frame, goal: Side, like: Callable[[], Database]
    ) -> tuple[Difference, ...]:
        """Return what of a database is not as it ought to be, whatever the spelling.

        Args:
            database: What is looked at.
            frame: The comparison that the goal belongs to.
            goal: What it ought to be.
            like: Makes a database that is so, for the case that there is a doubt.
        """
        there = frame.seen(comparison.side(database))
        if not (differing := frame.unlike(there, goal)):
            return ()
        respelled = in_words_of(there, goal, (database, like()), self.session)
        left = {each.key for each in there.snapshot.difference(respelled.snapshot)}
        return tuple(each for each in differing if each.key in left)

    def _bare(self) -> Database:
        """Make a database at head without rows."""
        return self.session.at(self.history, self.history.heads)

    def _caution(self, line: str) -> None:
        self.facts["cautions"] += (line,)

    def discard(self) -> None:
        """Leave no script behind."""
        if self.path:
            self.path.unlink(missing_ok=True)


def _with_sql(
    settings: Settings, head: str, result: RevisionResult, *, wanted: bool
) -> RevisionResult:
    if not wanted or result.path is None:
        return result
    return replace(result, sql=runner.offline(settings, "upgrade", head, result.revision))

"""The operations of a script: Alembic's, and what they leave to do, as they work on a scratch database."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alembic.operations import MigrateOperation
from alembic.operations.ops import AlterColumnOp, ModifyTableOps, RenameTableOp

from postgres_database.drafting import (
    autogenerate,
    changes,
    inheritance,
    objects,
    renames,
    sequences,
    type_changes,
)
from postgres_database.drafting.changes import Parts
from postgres_database.drafting.renames import Rename
from postgres_database.drafting.trial import Change, Trial, render
from postgres_database.history.operations import Note, Outside, RunSql
from postgres_database.history.project_models import Models
from postgres_database.preflight.losses import Columns, find_losses
from postgres_database.schema import comparison
from postgres_database.schema.catalog import Catalog
from postgres_database.schema.comparison import Comparison, Side
from postgres_database.schema.snapshot import Snapshot
from postgres_database.server.connection import Database
from postgres_database.sql.names import identifier

ADDED = re.compile(r" ADD VALUE (?:IF NOT EXISTS )?E?'((?:[^']|'')*)'")
"""The label that a statement adds to an enum."""


@dataclass(frozen=True)
class Draft:
    """What a script does, both ways."""

    upgrade: Sequence[MigrateOperation]
    downgrade: Sequence[MigrateOperation]
    detected: tuple[str, ...]
    completed: tuple[str, ...]
    cautions: tuple[str, ...]
    back: Sequence[MigrateOperation]
    """What Alembic would do to undo it."""


def find_operations(  # noqa: PLR0913
    trial: Database,
    whole: Comparison,
    compared: Comparison,
    renamed: Sequence[Rename],
    models: Models,
    *,
    filled: Columns = frozenset(),
) -> Draft:
    """Find the operations from the history to the models and back.

    Args:
        trial: A scratch database at head, after renames; it ends as it was before them.
        whole: The comparison before renames.
        compared: The comparison after them.
        renamed: What got another name.
        models: The models.
        filled: Columns that have a value in every row before any of that.
    """
    found = autogenerate.operations(trial, compared, models)
    up = Trial(trial, models)
    bring(up, compared, _flat(found.upgrade.ops), changes.parts(models))
    back = _flat(found.downgrade.ops)
    diffs = found.upgrade.as_diffs()
    ends = compared.before.catalog, compared.goal.catalog
    cautions = find_losses(*ends, filled)
    return Draft(
        [*notes(cautions), *map(_named, renamed), *_values_first(up.done), *_analyses(*ends)],
        undo(trial, whole, compared, renamed, back, models=models),
        autogenerate.describe(diffs),
        tuple(op.text.partition("\n")[0] for op in up.done if isinstance(op, RunSql)),
        cautions,
        back,
    )


def undo(  # noqa: PLR0913
    trial: Database,
    whole: Comparison,
    compared: Comparison,
    renamed: Sequence[Rename],
    ops: Sequence[MigrateOperation],
    *,
    models: Models,
) -> list[MigrateOperation]:
    """Find the operations back to the history.

    Args:
        trial: A scratch database at the goal of `compared`; it ends as the history makes it.
        whole: The comparison before renames.
        compared: The comparison after them.
        renamed: What got another name.
        ops: What Alembic would do; what does not work is left out.
        models: The models.
    """
    down = Trial(trial, models)
    bring(down, compared, ops, {}, back=True)
    ends = compared.goal.catalog, compared.before.catalog
    down.apply(
        Change([[op]]) for op in _analyses(*ends)
    )  # which have the names of before the renames
    for each in reversed(renamed):
        down.apply([Change([[_named(each.inverse)]])])
    if renamed:  # what names things in a text, such as a function's body
        _finish(down, whole, whole.before, {})
    return [*notes(find_losses(*ends)), *_values_first(down.done)]


def _named(rename: Rename) -> MigrateOperation:
    """Return Alembic's operation for a rename, if it has one."""
    old, new = rename.old, rename.new
    if rename.kind == "column" and (table := rename.inside):
        return AlterColumnOp(table.name, old.name, schema=table.given_schema, modify_name=new.name)
    if rename.kind == "table" and old.schema == new.schema:
        return RenameTableOp(old.name, new.name, schema=old.given_schema)
    return RunSql(renames.statement(rename))


def bring(
    trial: Trial,
    compared: Comparison,
    ops: Sequence[MigrateOperation],
    parts: Parts,
    *,
    back: bool = False,
) -> None:
    """Bring a scratch database to the other side: what must go, what is needed, Alembic's, the rest."""
    here, goal = (compared.goal, compared.before) if back else (compared.before, compared.goal)
    gone = objects.missing(goal.snapshot, here.snapshot)
    new = objects.missing(here.snapshot, goal.snapshot)
    early = [key for key in reversed(gone) if key.kind in objects.ON_TABLES]
    trial.apply(changes.drop(key, here.snapshot) for key in early)
    trial.apply(sequences.released(here, goal))
    trial.apply(inheritance.moved(here.catalog, goal.catalog))
    needed = [key for key in new if key.kind in objects.EARLY and not changes.is_owned(key, goal)]
    trial.apply(changes.create(key, goal.snapshot) for key in needed)
    trial.apply(type_changes.added_values(here, goal))
    trial.apply((changes.from_alembic(op, here, goal) for op in ops), force=True)
    trial.apply(sequences.continued(here, goal))
    _finish(trial, compared, goal, parts)


def _finish(trial: Trial, compared: Comparison, goal: Side, parts: Parts) -> None:
    """Apply changes until the database equals the goal or a state comes a second time."""
    reached: list[Snapshot] = []
    present = compared.seen(comparison.side(trial.database))
    while compared.unlike(present, goal) and present.snapshot not in reached:
        reached.append(present.snapshot)
        done = len(trial.applied)
        trial.apply(changes.remaining(trial, present, goal, parts), force=True)
        present = compared.seen(comparison.side(trial.database))
        if present.snapshot in reached:
            del trial.applied[done:]  # only the spelling differs, or no way is known
            if trial.apply(changes.unchecked(present, goal)):
                present = compared.seen(comparison.side(trial.database))
                continue
            if parts:  # what Alembic makes of the model is not what the model makes
                parts = {}
                reached.remove(present.snapshot)


def _flat(ops: Iterable[MigrateOperation]) -> list[MigrateOperation]:
    return [
        each for op in ops for each in (_flat(op.ops) if isinstance(op, ModifyTableOps) else [op])
    ]


def _values_first(done: Sequence[MigrateOperation]) -> list[MigrateOperation]:
    """Add the values of enums outside the transaction if something in it uses them.

    A new value cannot be used in the transaction that adds it (PostgreSQL manual, ALTER TYPE, "Notes").
    """
    adds = [op for op in done if isinstance(op, RunSql) and " ADD VALUE " in op.text]
    others = [op for op in done if op not in adds]
    text = "".join(render(op) for op in others)
    labels = [label for op in adds for label in ADDED.findall(op.text)]
    # In Python a label is not spelled as in SQL: what is within its quotes is looked for.
    spellings = [(label, repr(label.replace("''", "'"))[1:-1]) for label in labels]
    if not any(each in text for spelling in spellings for each in spelling):
        return list(done)
    again = [
        RunSql(line.replace(" ADD VALUE ", " ADD VALUE IF NOT EXISTS "))
        for op in adds
        for line in op.text.splitlines()
    ]
    return [Outside(again), *others]


def _analyses(here: Catalog, goal: Catalog) -> list[MigrateOperation]:
    """Return what counts the values of columns anew whose statistics go with a change of type or collation."""
    found: list[MigrateOperation] = []
    for name in here.tables.keys() & goal.tables.keys():
        old, new = here.tables[name].columns, goal.tables[name].columns
        changed = [
            identifier(column)
            for column in old.keys() & new.keys()
            if (old[column].type, old[column].collation)
            != (new[column].type, new[column].collation)
        ]
        if changed and goal.tables[name].kind != "f":
            found.append(RunSql(f"ANALYZE {name.sql} ({', '.join(sorted(changed))});"))
    return found


def notes(lines: Sequence[str]) -> list[Note]:
    """Return a comment of some lines, if there are any."""
    return [Note("\n".join(lines))] if lines else []

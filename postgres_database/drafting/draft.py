"""The operations of a script: Alembic's, then what they leave undone, each tried on a scratch database."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from alembic.operations import MigrateOperation
from alembic.operations.ops import AlterColumnOp, DropIndexOp, ModifyTableOps, RenameTableOp

from postgres_database.drafting import (
    autogenerate,
    changes,
    objects,
    preserved,
    renames,
    type_changes,
)
from postgres_database.drafting.changes import Parts
from postgres_database.drafting.renames import Rename
from postgres_database.drafting.trial import Change, Trial, as_way, render
from postgres_database.history.operations import Note, Outside, RunSql
from postgres_database.history.project_models import Models
from postgres_database.preflight.losses import Columns, find_losses
from postgres_database.schema import alter
from postgres_database.schema.catalog import Catalog
from postgres_database.schema.comparison import Comparison, Side
from postgres_database.schema.snapshot import Snapshot
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name, identifier

ADDED_LABEL = re.compile(r" ADD VALUE (?:IF NOT EXISTS )?E?'((?:[^']|'')*)'")
"""The label that a statement adds to an enum, in its first group."""


@dataclass(frozen=True)
class Draft:
    """The operations of a script, up and down."""

    upgrade: Sequence[MigrateOperation]
    downgrade: Sequence[MigrateOperation]
    detected: tuple[str, ...]
    """Alembic's descriptions of the differences, in a line each."""
    completed: tuple[str, ...]
    """The first lines of the SQL that was added to Alembic's operations."""
    cautions: tuple[str, ...]
    """What the upgrade loses, which rows it refuses, and which bodies of functions are not valid, in a line each."""
    alembic_downgrade: Sequence[MigrateOperation]
    """Alembic's own operations for the downgrade, untried."""


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
        trial: A scratch database at head, with the renames done; afterwards it is at head, without them.
        whole: The comparison before the renames.
        compared: The comparison after them.
        renamed: The renames, in their order.
        models: The models.
        filled: Columns that have a value in every row before the operations.
    """
    found = autogenerate.operations(trial, compared, models)
    up = Trial(trial, models)
    reached = reach_goal(up, compared, _flat(found.upgrade.ops), changes.parts(models))
    invalid = up.invalid_bodies()
    back = _flat(found.downgrade.ops)
    diffs = found.upgrade.as_diffs()
    said = cautions(compared.before, compared.goal, filled)
    return Draft(
        [
            *notes(said),
            *_as_operations(renamed),
            *_values_first(up.done),
            *_analyses(compared.before.catalog, reached.catalog),
        ],
        undo(trial, whole, compared, renamed, back, models=models),
        autogenerate.describe(diffs),
        tuple(op.text.partition("\n")[0] for op in up.done if isinstance(op, RunSql)),
        (*said, *invalid),
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
    """Find the operations of the downgrade.

    Args:
        trial: A scratch database at the goal of `compared`; afterwards it is at head.
        whole: The comparison before the renames.
        compared: The comparison after them.
        renamed: The renames, in the order of the upgrade.
        ops: Alembic's operations; those that do not work are left out.
        models: The models.
    """
    down = Trial(trial, models)
    reached = reach_goal(down, compared, ops, {}, back=True)
    # Before the renames are undone: the statements have the new names.
    analyses = _analyses(compared.goal.catalog, reached.catalog)
    down.apply(Change([[op]]) for op in analyses)
    undone = _as_operations([rename.inverse for rename in reversed(renamed)])
    down.apply(Change([[op]]) for op in undone)
    if renamed:  # texts that name the renamed, such as the bodies of functions
        _finish(down, whole, whole.before, {})
    return [*notes(cautions(compared.goal, compared.before)), *_values_first(down.done)]


def _as_operations(renamed: Sequence[Rename]) -> list[MigrateOperation]:
    """Return the operations of renames; the NOT NULL constraints of a table are one."""
    ops: list[MigrateOperation] = []
    for table, group in groupby(renamed, lambda each: each.kind == "not null" and each.inside):
        if table:
            ops.append(RunSql(renames.not_null_names(table, [*group])))
        else:
            ops += map(_as_operation, group)
    return ops


def _as_operation(rename: Rename) -> MigrateOperation:
    """Return a rename as Alembic's operation, or as SQL where Alembic has none."""
    old, new = rename.old, rename.new
    if rename.kind == "column" and (table := rename.inside):
        return AlterColumnOp(table.name, old.name, schema=table.given_schema, modify_name=new.name)
    if rename.kind == "table" and old.schema == new.schema:
        return RenameTableOp(old.name, new.name, schema=old.given_schema)
    return RunSql(renames.statement(rename))


def reach_goal(
    trial: Trial,
    compared: Comparison,
    ops: Sequence[MigrateOperation],
    parts: Parts,
    *,
    back: bool = False,
) -> Side:
    """Apply changes that bring a scratch database from one side of a comparison to the other; return what it is then.

    In this order: drop what depends on tables, create and recreate what tables depend on, apply Alembic's operations,
    then the changes for what still differs. What remains different in the end is for the caller to find.

    Args:
        trial: The scratch database; it records the changes.
        compared: The comparison.
        ops: Alembic's operations.
        parts: The models' constraints and indexes, as `changes.parts` returns them.
        back: Whether to go from the goal to the state before.
    """
    here, goal = (compared.goal, compared.before) if back else (compared.before, compared.goal)
    gone = objects.missing(goal.snapshot, here.snapshot)
    new = objects.missing(here.snapshot, goal.snapshot)
    dependents = [key for key in reversed(gone) if key.kind in objects.ON_TABLES]
    trial.apply(changes.drop(key, here.snapshot) for key in dependents)
    trial.apply(preserved.released_sequences(here, goal))
    trial.apply(_released_identities(here.catalog, goal.catalog))
    trial.apply(preserved.moved_columns(here.catalog, goal.catalog))
    needed = [key for key in new if key.kind in objects.EARLY and not changes.is_owned(key, goal)]
    trial.apply(changes.create(key, goal) for key in needed)
    trial.apply(type_changes.other_signatures(here, goal), force=True)
    trial.apply(type_changes.added_values(here, goal))
    trial.apply(preserved.parts_of_parents(here, goal))
    own = [op for op in ops if not _goes_with_table(op, goal.catalog)]
    trial.apply((changes.from_alembic(op, here, goal) for op in own), force=True)
    trial.apply(preserved.continued_sequences(here, goal))
    reached = _finish(trial, compared, goal, parts)
    trial.apply(preserved.nullable_keys(here.catalog, goal.catalog))
    return reached


def _released_identities(here: Catalog, goal: Catalog) -> Iterator[Change]:
    """Yield the changes of replica identities that are no index any longer: dropping it would leave a table without."""
    for name in here.tables.keys() & goal.tables.keys():
        old, new = (each.tables[name].replica_identity for each in (here, goal))
        if old.startswith("i") and new in alter.REPLICA:
            usual = f"ALTER TABLE {name.sql} REPLICA IDENTITY {alter.REPLICA[new]};"
            yield Change([as_way([usual])])


def _goes_with_table(op: MigrateOperation, goal: Catalog) -> bool:
    """Tell whether an operation drops an index whose table is dropped, too: a foreign key may need it until then."""
    return isinstance(op, DropIndexOp) and Name.of(op.schema, str(op.table_name)) not in goal.tables


def _finish(trial: Trial, compared: Comparison, goal: Side, parts: Parts) -> Side:
    """Apply changes until the goal is reached, or a state for the second time; return the last one."""
    reached: list[tuple[Snapshot, Snapshot]] = []
    present = compared.look(trial.database, goal)
    while compared.unlike(present, goal) and _state(present) not in reached:
        reached.append(_state(present))
        before = len(trial.applied)
        trial.apply(changes.remaining(trial, present, goal, parts), force=True)
        present = compared.look(trial.database, goal)
        if _state(present) in reached:
            del trial.applied[before:]  # they end in a state that was reached before
            if trial.apply(changes.unchecked(present, goal)):
                present = compared.look(trial.database, goal)
                continue
            if parts:  # Alembic's operation may create another constraint or index than the models do: use SQL
                parts = {}
                reached.remove(_state(present))
    return present


def _state(side: Side) -> tuple[Snapshot, Snapshot]:
    return side.snapshot, side.hidden


def _flat(ops: Iterable[MigrateOperation]) -> list[MigrateOperation]:
    return [
        each for op in ops for each in (_flat(op.ops) if isinstance(op, ModifyTableOps) else [op])
    ]


def _values_first(done: Sequence[MigrateOperation]) -> list[MigrateOperation]:
    """Move the statements that add values to enums before the transaction, if another operation uses these values.

    A new value cannot be used in the transaction that adds it (PostgreSQL manual, ALTER TYPE, "Notes").
    """
    adds = [op for op in done if isinstance(op, RunSql) and " ADD VALUE " in op.text]
    others = [op for op in done if op not in adds]
    text = "".join(render(op) for op in others)
    labels = [label for op in adds for label in ADDED_LABEL.findall(op.text)]
    # Operations are Python text, SQL among it: a label is looked for in both spellings.
    spellings = [(label, repr(label.replace("''", "'"))[1:-1]) for label in labels]
    if not any(each in text for spelling in spellings for each in spelling):
        return list(done)
    repeatable = [
        RunSql(line.replace(" ADD VALUE ", " ADD VALUE IF NOT EXISTS "))
        for op in adds
        for line in op.text.splitlines()
    ]
    return [Outside(repeatable), *others]


def _analyses(here: Catalog, goal: Catalog) -> list[MigrateOperation]:
    """Return ANALYZE for columns whose statistics are lost, because their type or collation changes."""
    analyses: list[MigrateOperation] = []
    for name in here.tables.keys() & goal.tables.keys():
        old, new = here.tables[name].columns, goal.tables[name].columns
        changed = [
            identifier(column)
            for column in old.keys() & new.keys()
            if (old[column].type, old[column].collation)
            != (new[column].type, new[column].collation)
        ]
        # ANALYZE of a partitioned table reads its partitions, too.
        if changed and goal.tables[name].kind != "f" and not goal.tables[name].partition:
            analyses.append(RunSql(f"ANALYZE {name.sql} ({', '.join(sorted(changed))});"))
    return analyses


def cautions(here: Side, goal: Side, filled: Columns = frozenset()) -> tuple[str, ...]:
    """Return what a script loses, which rows it refuses, and what stays with old results, in a line each.

    Args:
        here: The side before the script.
        goal: The side after it.
        filled: Columns that have a value in every row before it.
    """
    losses = find_losses(here.catalog, goal.catalog, filled)
    return (*losses, *type_changes.kept_results(here, goal))


def notes(lines: Sequence[str]) -> list[Note]:
    """Return lines as one comment of a script; no comment if there are none."""
    return [Note("\n".join(lines))] if lines else []

"""A draft as one or two scripts: a transactional one and an online one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from alembic.operations import MigrateOperation
from alembic.operations.ops import AlterColumnOp

from postgres_database.drafting import autogenerate, draft, online_blocks
from postgres_database.drafting.draft import Draft
from postgres_database.drafting.fills import Fills
from postgres_database.drafting.online_blocks import Ends, Measured, Operations, Tables
from postgres_database.drafting.renames import Rename
from postgres_database.drafting.trial import Change, Trial
from postgres_database.history.operations import Note, Outside, RunSql
from postgres_database.history.project import Project
from postgres_database.history.project_models import Models
from postgres_database.online import dropped, enforced, swaps
from postgres_database.online.steps import text
from postgres_database.proving.effects import Effects
from postgres_database.schema import catalog, comparison
from postgres_database.schema.comparison import Comparison, Side
from postgres_database.scratch.databases import Scratch
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name

SETTINGS = ("AT_ClusterOn", "AT_DropCluster", "AT_ReplicaIdentity", "AT_SetStatistics")
"""Actions of ALTER TABLE that can be repeated and do not touch rows."""


@dataclass(frozen=True)
class Stage:
    """The operations of one script."""

    upgrade: Operations
    downgrade: Operations
    end: Side | None = None
    """The schema after it; None if it is the models'."""


@dataclass(frozen=True)
class Stages:
    """A draft as stages, in the order in which they are run."""

    stages: tuple[Stage, ...]
    cautions: tuple[str, ...] = ()
    """What is lost, which rows are refused, and what others wait for, in a line each."""
    unfilled: bool = False
    """Whether an expression for new columns is missing in a script, which fails on rows until a person writes it."""


@dataclass(frozen=True)
class Origin:
    """What a draft was made from."""

    session: Scratch
    project: Project
    trial: Database
    """The scratch database that the draft was tried on: at head, without made-up rows."""
    whole: Comparison
    """The comparison before the renames."""
    compared: Comparison
    """The comparison after them."""
    renamed: Sequence[Rename]
    models: Models

    @property
    def ends(self) -> Ends:
        """The catalogs after the renames and at the goal."""
        return self.compared.before.catalog, self.compared.goal.catalog

    @property
    def existing(self) -> Tables:
        """The tables that may have rows, also partitions that the models do not know."""
        kept = [key for key in self.compared.differences.kept if key.kind == "TABLE"]
        names = [(name.schema, name.name) for name in self.ends[0].tables]
        return {*names, *((key.schema, key.name) for key in kept)}

    def new(self) -> Database:
        """Make a scratch database at head; its only rows are those that the history inserts."""
        return self.session.at_head(self.project)


def whole(drafted: Draft, *cautions: str) -> Stages:
    """Return a draft as one stage, with `cautions` about what others will wait for as a comment."""
    stage = Stage([*draft.notes(cautions), *drafted.upgrade], drafted.downgrade)
    return Stages((stage,), (*drafted.cautions, *cautions))


def divide(origin: Origin, drafted: Draft) -> Stages:
    """Divide a draft into one or two stages: what a transaction can hold, then what is done online.

    Each operation is run on a scratch database and measured. It is done online if it scans or rewrites a table that
    may have rows, while others wait, and if there is a form for it that does not.
    """
    models, ends = origin.models, origin.ends
    notes = [op for op in drafted.upgrade if isinstance(op, Note)]
    ops = [op for op in drafted.upgrade if op not in notes]
    pairs = swaps.find(ops, models, *ends)
    held = [ops[place] for each in pairs for place in each.drops]
    held += dropped.beside_new_keys(ops, models, *ends)
    measured, online = _measured(origin, ops, held)
    fills = Fills(ends[1], origin.existing)
    first, cautions = _first_stage(measured, fills, models)
    if first and (online or fills.any):
        reached = origin.new()
        first = _tried(reached, first, models)
        swapped = [ops[place] for each in pairs for place in each.places]
        first += _enforced_again(reached, ends, models, swapped, cautions)
        if two := _split_transactional_and_online(origin, drafted, (reached, first), fills):
            return replace(two, cautions=(*two.cautions, *cautions))
    up = first or online_blocks.group(origin.new(), online, models, ends)
    down = online_blocks.group(origin.trial, drafted.downgrade, models, (ends[1], ends[0]))
    return Stages((Stage([*notes, *up], down),), (*drafted.cautions, *cautions))


def _measured(
    origin: Origin, ops: Operations, held: Operations
) -> tuple[list[Measured], list[MigrateOperation]]:
    """Return the operations of the transaction with their effects, and those to be done online.

    Args:
        origin: What the draft was made from; the operations are run on its scratch database.
        ops: The operations.
        held: Drops that are done online with what replaces the dropped.
    """
    models, ends = origin.models, origin.ends
    tables = origin.existing | _lasting_views(ops, origin.compared.before, models)
    needed: list[MigrateOperation] = []

    def is_online(op: MigrateOperation, effects: Effects) -> bool:
        safe = online_blocks.has_safe_form(op, models, effects, ends)
        return (safe or _is_one(op, held)) and not _is_one(op, needed)

    whole = [*online_blocks.measure(origin.trial, ops, models, tables)]
    measured = whole
    online = [op for op, effects in whole if is_online(op, effects)]
    while online and len(online) < len(ops):
        # What is done online may have hidden effects of the others, which therefore run once more without it.
        before = {id(op): effects for op, effects in whole if not _is_one(op, online)}
        others = [op for op in ops if id(op) in before]
        again = [*online_blocks.measure(origin.new(), others, models, tables)]
        drops = _needed_drops(
            [op for op, effects in again if effects.unknown], before, online, origin
        )
        if drops:
            needed += drops
            online = [op for op, effects in whole if is_online(op, effects)]
            continue
        measured = [(op, before[id(op)] if effects.unknown else effects) for op, effects in again]
        online += [op for op, effects in measured if is_online(op, effects)]
        break
    return [each for each in measured if not _is_one(each[0], online)], online


def _is_one(op: MigrateOperation, ops: Operations) -> bool:
    return any(op is each for each in ops)


def _needed_drops(
    failed: Operations, before: Mapping[int, Effects], online: Operations, origin: Origin
) -> list[MigrateOperation]:
    """Return the online drops of indexes of the tables that an operation rewrites, and without them cannot."""
    rewritten = {table for op in failed for table in before[id(op)].rewritten}
    read = [(op, dropped.read(text(op, origin.models), origin.ends[0])) for op in online]
    return [
        op
        for op, old in read
        if old and not old.is_constraint and (old.table.schema, old.table.name) in rewritten
    ]


def _first_stage(
    measured: Sequence[Measured], fills: Fills, models: Models
) -> tuple[list[MigrateOperation], list[str]]:
    """Return the operations of the first stage, and what they make others wait for.

    Columns that the second stage fills are added without values. Operations in sequence that rewrite one table become
    one statement.
    """
    first: list[MigrateOperation] = []
    cautions: list[str] = []
    rewriting: list[MigrateOperation] = []
    for op, effects in measured:
        unfilled = fills.instead(op, effects)
        if (
            rewriting
            and unfilled is None
            and (joined := online_blocks.joined([*rewriting, op], models))
        ):
            first[-1] = joined
            rewriting.append(op)
            continue
        if unfilled is None and effects.blocking:
            cautions += effects.lines()
            first += [Note(line) for line in effects.scans()]
            first += online_blocks.rewrite_notes(effects)
        first += unfilled or [op]
        rewriting = [op] if unfilled is None and effects.rewritten else []
    return first, cautions


def _lasting_views(ops: Operations, before: Side, models: Models) -> Tables:
    """Return the materialized views that keep their rows: those that the operations do not drop."""
    drops = [each for op in ops if "DROP MATERIALIZED VIEW " in (each := text(op, models))]
    keys = [key for key in before.snapshot.objects if key.kind == "MATERIALIZED VIEW"]
    return {(key.schema, key.name) for key in keys if not any(key.name in each for each in drops)}


def _enforced_again(
    database: Database,
    ends: Ends,
    models: Models,
    swapped: Operations,
    cautions: list[str],
) -> list[MigrateOperation]:
    """Return operations that recreate what the first stage drops, though it is enforced before and after both stages.

    Args:
        database: A scratch database after the first stage; the operations are run there.
        ends: The catalogs before the first stage and after the second.
        models: Their naming convention names constraints.
        swapped: The operations of swaps, left to the second stage unless a recreated foreign key needs the new keys.
        cautions: Lines about what others will wait for are added.
    """
    made, existing = [], {(name.schema, name.name) for name in ends[0].tables}
    for needed in ([], swapped):
        gaps = enforced.gaps(*ends, catalog.take(database))
        # A foreign key comes after the key that it points to.
        adds = [
            RunSql(each.adds)
            for each in sorted(gaps, key=lambda each: each.kind == "f")
            if each.adds
        ]
        if not adds:
            break
        waits: list[str] = []
        for op, effects in online_blocks.measure(database, needed, models, existing):
            made.append(op)
            waits += effects.lines()
        made += _tried(database, adds, models)
        waits += [
            f"{each.table} is read from end to end while others cannot write it"
            for each in gaps
            if not each.not_valid
        ]
        cautions += [line for line in dict.fromkeys(waits) if line not in cautions]
    return made


def _split_transactional_and_online(
    origin: Origin, drafted: Draft, first: tuple[Database, Operations], fills: Fills
) -> Stages | None:
    """Draft the second, online stage from what the first one leaves to do, and the downgrade of each.

    Returns one stage if the first changes nothing, and None if nothing is left for the second.

    Args:
        origin: What the draft was made from.
        drafted: The draft.
        first: A scratch database after the first stage, and its operations.
        fills: The new columns that the second stage fills.
    """
    (database, done), models = first, origin.models
    middle = comparison.side(database)
    left = origin.compared.between(middle, origin.compared.models)
    clone = origin.session.clone(database)
    second = draft.find_operations(clone, left, left, (), models, filled=fills.known)
    up = [*fills.operations(), *_unwrapped(second.upgrade)]
    if all(isinstance(each, Note) for each in up):
        return None
    compared = origin.compared.between(origin.compared.before, middle)
    lost = draft.cautions(compared.before, compared.goal)
    back = [op for op in drafted.alembic_downgrade if not _changes_nothing(op, compared)]
    undo = draft.undo(
        origin.session.clone(database), origin.whole, compared, origin.renamed, back, models=models
    )
    ends = origin.ends
    ends_back = ends[1], ends[0]
    up = online_blocks.group(clone, up, models, ends, online=True)
    down = online_blocks.group(clone, _unwrapped(second.downgrade), models, ends_back, online=True)
    undone = online_blocks.group(database, undo, models, ends_back)
    changes = left.before != origin.compared.before or not all(
        _only_sets(op, models) for op in done
    )
    if not changes:
        return Stages((Stage(up, down),), second.cautions, bool(fills.unknown))
    stages = (Stage([*draft.notes(lost), *done], undone, end=middle), Stage(up, down))
    return Stages(stages, (*lost, *second.cautions), bool(fills.unknown))


def _only_sets(op: MigrateOperation, models: Models) -> bool:
    """Tell whether an operation does no more than set what a schema shows: without a difference it does nothing."""
    node = None if isinstance(op, Note) else dropped.statement(text(op, models))
    if node is None or node.tag != "AlterTableStmt":
        return isinstance(op, Note) or (
            node is not None and node.tag in ("CommentStmt", "VacuumStmt")
        )
    return all(each.subtype in SETTINGS for each in node.cmds)


def _tried(database: Database, ops: Operations, models: Models) -> list[MigrateOperation]:
    """Run operations, and return those that work."""
    outside = [op for op in ops if isinstance(op, Outside)]
    for op in outside:
        online_blocks.run_outside(database, op, models)
    trial = Trial(database, models)
    trial.apply(Change([[op]]) for op in ops if op not in outside)
    return [*outside, *trial.done]


def _changes_nothing(op: MigrateOperation, compared: Comparison) -> bool:
    """Tell whether an operation changes a column, index or constraint that is equal on both sides of a comparison."""
    if not isinstance(op, AlterColumnOp):
        return autogenerate.is_same(op, compared.before.catalog, compared.goal.catalog)
    name = Name.of(op.schema, op.table_name)
    here, goal = (each.catalog.tables.get(name) for each in (compared.before, compared.goal))
    columns = [each.columns.get(op.column_name) if each else None for each in (here, goal)]
    return columns[0] == columns[1]


def _unwrapped(ops: Operations) -> list[MigrateOperation]:
    return [each for op in ops for each in (op.statements if isinstance(op, Outside) else [op])]

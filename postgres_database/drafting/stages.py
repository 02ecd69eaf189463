"""A draft as scripts: what a transaction may hold, and what is done beside live traffic.

Every operation is run on a scratch database and measured: what scans or rewrites a table that may have rows, while
others wait, goes into an online revision of its own, if there is a form that is safe.
"""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import sqlalchemy as sa
from alembic.operations import MigrateOperation
from alembic.operations.ops import AddColumnOp, AlterColumnOp

from postgres_database.drafting import autogenerate, draft, moments, swaps
from postgres_database.drafting.draft import Draft
from postgres_database.drafting.renames import Rename
from postgres_database.drafting.trial import Change, Trial
from postgres_database.history.operations import FillColumns, Note, Outside, RunSql
from postgres_database.history.project import Project
from postgres_database.history.project_models import Models
from postgres_database.online import dropped
from postgres_database.online.steps import text
from postgres_database.preflight.losses import find_losses
from postgres_database.schema import alter, catalog, comparison
from postgres_database.schema.catalog import Catalog, Column
from postgres_database.schema.comparison import Comparison, Side
from postgres_database.scratch import enforced
from postgres_database.scratch.databases import Scratch
from postgres_database.scratch.effects import Effects, names
from postgres_database.server.connection import Database
from postgres_database.sql.names import IDENTIFIER, NAME, QUALIFIED, Name, bare, identifier
from postgres_database.sql.syntax import statements

Tables = AbstractSet[tuple[str, str]]
"""Schemas and names."""
Operations = Sequence[MigrateOperation]

ADD_COLUMN = re.compile(
    rf"ALTER TABLE (?P<table>{QUALIFIED}) ADD COLUMN (?P<column>{IDENTIFIER}) .*;$",
    re.DOTALL,
)
ALTER_COLUMN = re.compile(
    rf"ALTER TABLE (?P<table>{NAME})\s+(?P<change>ALTER COLUMN .*?);?\s*$", re.DOTALL
)
IN_STEPS = """Others can neither read nor write {table} while this rewrites it. Where that takes too long, do it in
steps, each a revision of its own: add a second column; let the application, or a trigger, write both; give the rows
their values by op.backfill; let the application read the new column; drop the old one."""
FILL_IN = """What do the rows that are there get? Put a SQL expression in the place of None, such as "'none'" or
"lower(name)"; the application must give new rows a value before this is run.
Where the table is empty, None may stay."""


@dataclass(frozen=True)
class Stage:
    """What becomes one script."""

    upgrade: Operations
    downgrade: Operations
    end: Side | None = None
    """What a database is after it; None: what the models say."""


@dataclass(frozen=True)
class Stages:
    """A draft in stages."""

    stages: tuple[Stage, ...]
    cautions: tuple[str, ...] = ()
    """What rows lose or refuse, and what others will wait for."""
    unfilled: bool = False
    """Whether a script does not run on rows before somebody says what they get."""


@dataclass(frozen=True)
class Origin:
    """What a draft was made from."""

    session: Scratch
    project: Project
    trial: Database
    """The scratch database that it was found on: at head, without rows that were made up."""
    whole: Comparison
    compared: Comparison
    renamed: Sequence[Rename]
    models: Models

    def new(self) -> Database:
        """Make a scratch database at head without rows but those of the history."""
        return self.session.at_head(self.project)


def whole(drafted: Draft, *cautions: str) -> Stages:
    """Leave a draft in one piece; say with it what others will wait for."""
    stage = Stage([*draft.notes(cautions), *drafted.upgrade], drafted.downgrade)
    return Stages((stage,), (*drafted.cautions, *cautions))


def divide(origin: Origin, drafted: Draft) -> Stages:
    """Divide a draft into one or two stages, each in forms that live traffic does not notice."""
    database, models = origin.trial, origin.models
    there = {(name.schema, name.name) for name in origin.compared.before.catalog.tables}
    fills = _Fills(origin.compared.goal.catalog, there)
    notes = [op for op in drafted.upgrade if isinstance(op, Note)]
    ops = [op for op in drafted.upgrade if op not in notes]
    first: list[MigrateOperation] = []
    cautions: list[str] = []
    rewriting: list[MigrateOperation] = []
    ends = origin.compared.before.catalog, origin.compared.goal.catalog
    views = _lasting_views(ops, origin.compared.before, models)
    pairs = swaps.find(ops, models, *ends)
    held = [ops[place] for each in pairs for place in each.drops]
    held += dropped.beside_new_keys(ops, models, *ends)

    def is_later(op: MigrateOperation, effects: Effects) -> bool:
        safe = moments.has_safe_form(op, models, effects, ends)
        return safe or any(op is each for each in held)

    found = [*moments.measure(database, ops, models, there | views)]
    later = [op for op, effects in found if is_later(op, effects)]
    if later and len(later) < len(ops):  # what they did may hide what another would do without them
        rest = {id(op): effects for op, effects in found if not is_later(op, effects)}
        alone = [op for op in ops if id(op) in rest]
        measured = [*moments.measure(origin.new(), alone, models, there | views)]
        found = [(op, rest[id(op)] if effects.unknown else effects) for op, effects in measured]
        later += [op for op, effects in found if is_later(op, effects)]
    for op, effects in found:
        if any(op is each for each in later):
            continue
        gentle = fills.instead(op, effects)
        if rewriting and gentle is None and (joined := _joined([*rewriting, op], models)):
            first[-1] = joined
            rewriting.append(op)
            continue
        if gentle is None and effects.blocking:
            cautions += effects.lines()
            first += [Note(line) for line in effects.scans()]
            first += [Note(IN_STEPS.format(table=name)) for name in names(effects.rewritten)]
        first += gentle or [op]
        rewriting = [op] if gentle is None and effects.rewritten else []
    if first and (later or fills.any):
        reached = origin.new()
        first = _tried(reached, first, models)
        swapped = [ops[place] for each in pairs for place in each.places]
        first += _kept(reached, ends, models, swapped, cautions)
        if two := _split_transactional_and_online(origin, drafted, (reached, first), fills):
            return replace(two, cautions=(*two.cautions, *cautions))
    one = first or moments.blocks(origin.new(), later, models, ends)
    back = moments.blocks(database, drafted.downgrade, models, (ends[1], ends[0]))
    return Stages((Stage([*notes, *one], back),), (*drafted.cautions, *cautions))


def _lasting_views(ops: Operations, before: Side, models: Models) -> Tables:
    """Return the materialized views whose rows were there before: not those that are dropped and made again."""
    drops = [each for op in ops if "DROP MATERIALIZED VIEW " in (each := text(op, models))]
    keys = [key for key in before.snapshot.objects if key.kind == "MATERIALIZED VIEW"]
    return {(key.schema, key.name) for key in keys if not any(key.name in each for each in drops)}


def _joined(ops: Operations, models: Models) -> RunSql | None:
    """Return changes of columns of one table as one statement, by which it is rewritten once; None if they are not."""
    found = [ALTER_COLUMN.match(each) for op in ops for each in statements(text(op, models))]
    matches = [each for each in found if each]
    tables = {Name.read(each["table"]).sql for each in matches}
    if len(tables) != 1 or len(matches) < len(found):
        return None
    changes = ",\n    ".join(each["change"] for each in matches)
    return RunSql(f"ALTER TABLE {tables.pop()}\n    {changes};")


def _kept(
    database: Database,
    ends: moments.Ends,
    models: Models,
    held: Operations,
    cautions: list[str],
) -> list[MigrateOperation]:
    """Make again what a stage must not end without: what is enforced before it and after the next one.

    Args:
        database: A scratch database after the stage.
        ends: What is enforced at both.
        models: They say how constraints are named.
        held: What swaps keys in the next stage; in this one, if a foreign key needs the new ones.
        cautions: What others will wait for is added.
    """
    made, there = [], {(name.schema, name.name) for name in ends[0].tables}
    for needed in ([], held):
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
        for op, effects in moments.measure(database, needed, models, there):
            made.append(op)
            waits += effects.lines()
        made += _tried(database, adds, models)
        waits += [
            f"{each.table} is read from end to end while others cannot write it"
            for each in gaps
            if not each.soft
        ]
        cautions += [line for line in dict.fromkeys(waits) if line not in cautions]
    return made


def _split_transactional_and_online(
    origin: Origin, drafted: Draft, first: tuple[Database, Operations], fills: "_Fills"
) -> Stages | None:
    """Split a draft: the first stage is what a transaction can hold, the second what is left, done online.

    None if a transaction can hold all of it.

    Args:
        origin: What the draft was made from.
        drafted: The draft.
        first: The first stage, and a scratch database after it.
        fills: What the rows of new columns get in the second.
    """
    (database, done), models = first, origin.models
    middle = comparison.side(database)
    left = origin.compared.between(middle, origin.compared.models)
    clone = origin.session.clone(database)
    second = draft.find_operations(clone, left, left, (), models, filled=fills.known)
    up = [*fills.operations(), *_flat(second.upgrade)]
    if all(isinstance(each, Note) for each in up):
        return None
    compared = origin.compared.between(origin.compared.before, middle)
    lost = find_losses(compared.before.catalog, compared.goal.catalog)
    back = [op for op in drafted.back if not _changes_nothing(op, compared)]
    undo = draft.undo(
        origin.session.clone(database), origin.whole, compared, origin.renamed, back, models=models
    )
    ends = origin.compared.before.catalog, origin.compared.goal.catalog
    ends_back = ends[1], ends[0]
    up = moments.blocks(clone, up, models, ends, online=True)
    down = moments.blocks(clone, _flat(second.downgrade), models, ends_back, online=True)
    undone = moments.blocks(database, undo, models, ends_back)
    if all(isinstance(each, Note) for each in done):
        return Stages((Stage(up, down),), second.cautions, bool(fills.unknown))
    stages = (Stage([*draft.notes(lost), *done], undone, end=middle), Stage(up, down))
    return Stages(stages, (*lost, *second.cautions), bool(fills.unknown))


def _tried(database: Database, ops: Operations, models: Models) -> list[MigrateOperation]:
    """Run what can be run, and return it."""
    outside = [op for op in ops if isinstance(op, Outside)]
    for op in outside:
        moments.run_outside(database, op, models)
    trial = Trial(database, models)
    trial.apply(Change([[op]]) for op in ops if op not in outside)
    return [*outside, *trial.done]


def _changes_nothing(op: MigrateOperation, compared: Comparison) -> bool:
    """Tell whether a change of a column, an index or a constraint is none between the two sides of a comparison."""
    if not isinstance(op, AlterColumnOp):
        return autogenerate.is_same(op, compared.before.catalog, compared.goal.catalog)
    name = Name.of(op.schema, op.table_name)
    here, goal = (each.catalog.tables.get(name) for each in (compared.before, compared.goal))
    columns = [each.columns.get(op.column_name) if each else None for each in (here, goal)]
    return columns[0] == columns[1]


def _flat(ops: Operations) -> list[MigrateOperation]:
    return [each for op in ops for each in (op.statements if isinstance(op, Outside) else [op])]


class _Fills:
    """New columns that rows cannot get at once: they are nullable first, and are filled in the second stage."""

    def __init__(self, goal: Catalog, there: Tables) -> None:
        self._goal = goal
        self._there = there
        self.unknown: dict[Name, list[str]] = {}
        """What only those who know the rows can say."""
        self._found: list[FillColumns] = []
        self.known: set[tuple[Name, str]] = set()
        """What is filled by the default of the column."""

    def instead(self, op: MigrateOperation, effects: Effects) -> list[MigrateOperation] | None:
        """Return what adds a column without a value for the rows that are there; None if it is well as it is."""
        name, column = self._added(op)
        if name not in self._there or column is None or column.generated or column.identity:
            return None
        if not (effects.rewritten or effects.unknown if column.default else column.not_null):
            return None
        empty = replace(column, not_null=False, default="", serial=False, sequence="")
        add: MigrateOperation = RunSql(alter.add_column(name, empty))
        if isinstance(op, AddColumnOp):
            plain = sa.Column(op.column.name, op.column.type, comment=op.column.comment)
            add = AddColumnOp(op.table_name, plain, schema=op.schema)
        item = identifier(column.name)
        if not column.default:
            self.unknown.setdefault(name, []).append(column.name)
            return [add]
        self.known.add((name, column.name))
        values = {column.name: column.default}
        self._found.append(
            FillColumns(name.name, values, where=f"{item} IS NULL", schema=name.given_schema)
        )
        alter_table = f"ALTER TABLE {name.sql} ALTER COLUMN {item}"
        owned = f"CREATE SEQUENCE {column.sequence} AS {column.type} OWNED BY {name.sql}.{item};"
        there = isinstance(op, RunSql) and "nextval(" in op.text
        numbers = [RunSql(owned)] if column.serial and not there else []
        return [add, *numbers, RunSql(f"{alter_table} SET DEFAULT {column.default};")]

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.unknown or self._found)

    def operations(self) -> list[MigrateOperation]:
        """Return what fills the columns."""
        asked: list[MigrateOperation] = []
        for name, columns in self.unknown.items():
            asked += [
                Note(FILL_IN),
                FillColumns(
                    name.name,
                    dict.fromkeys(columns),
                    where=" OR ".join(f"{identifier(column)} IS NULL" for column in columns),
                    schema=name.given_schema,
                ),
            ]
        return [*asked, *self._found]

    def _added(self, op: MigrateOperation) -> tuple[Name, Column | None]:
        """Return the column that an operation adds, as the models have it, and its table."""
        name, column = Name("", ""), ""
        if isinstance(op, AddColumnOp):
            name, column = Name.of(op.schema, op.table_name), op.column.name
        elif isinstance(op, RunSql) and (match := ADD_COLUMN.match(op.text)):
            name, column = Name.read(match["table"]), bare(match["column"])
        table = self._goal.tables.get(name)
        return name, table.columns.get(column) if table else None

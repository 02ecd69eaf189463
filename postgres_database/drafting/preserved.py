"""What outlives a change: values of columns that move between a parent and its children, sequences, and indexes. Pure.

An index or key of a partitioned table takes in what a partition has of the same kind (PostgreSQL manual, ALTER TABLE,
"ATTACH PARTITION"); what a partition lacks is created, under a name of PostgreSQL's choice. Both are renamed to what
they are to be called, so that no index is built again for a name.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain

from postgres_database.drafting import objects, renames
from postgres_database.drafting.renames import Rename
from postgres_database.drafting.trial import Change, as_way
from postgres_database.schema import alter, numbering
from postgres_database.schema.catalog import Catalog, Constraint, Table
from postgres_database.schema.comparison import Side
from postgres_database.schema.partitions import ancestors, owner, parents_first
from postgres_database.schema.snapshot import Key
from postgres_database.sql.names import IDENTIFIER, NAME, Name, identifier

ATTACH = re.compile(rf"ALTER INDEX (?P<whole>{NAME}) ATTACH PARTITION (?P<part>{NAME})")
NAMED = re.compile(rf"\b(INDEX|ADD CONSTRAINT) {IDENTIFIER} ")
NOT_INHERITED = ") NO INHERIT"
"""What follows the expression of a check that children do not inherit."""


@dataclass(frozen=True)
class Part:
    """An index, or a constraint with one."""

    key: Key
    name: Name
    table: Name
    definition: str
    """Without its name."""
    whole: Name | None
    """The index of the parent that it is a part of."""


def moved_columns(here: Catalog, goal: Catalog) -> Iterator[Change]:
    """Yield the changes that move columns from parents to children or back, with their values.

    To a child: `ALTER TABLE ONLY parent DROP COLUMN` leaves the column in the children (PostgreSQL manual, ALTER TABLE,
    "DROP COLUMN"). To a parent: a column that a child defines itself would merge with the parent's but stay the
    child's own; therefore it is renamed, its values are copied to the inherited column, and it is dropped.
    """
    for name in here.tables.keys() & goal.tables.keys():
        old, new = here.tables[name], goal.tables[name]
        if old.kind != "r":
            continue
        for column in old.columns.keys() - new.columns.keys():
            if any(
                not each.columns[column].inherited for each in _children(name, column, here, goal)
            ):
                yield Change(
                    [as_way([f"ALTER TABLE ONLY {name.sql} DROP COLUMN {identifier(column)};"])]
                )
        for column in new.columns.keys() - old.columns.keys():
            children = [
                each
                for each in _children(name, column, here, goal)
                if each.columns[column].inherited
                and not here.tables[each.name].columns[column].inherited
            ]
            if children:
                yield Change([as_way(_to_parent(new, column, children))])


def _children(parent: Name, column: str, here: Catalog, goal: Catalog) -> list[Table]:
    """Return the goal's tables that inherit from `parent` and have `column`, both here and at the goal."""
    return [
        table
        for name, table in goal.tables.items()
        if name in here.tables
        and all(column in each.tables[name].columns for each in (here, goal))
        and all(parent in map(Name.read, each.tables[name].parents) for each in (here, goal))
    ]


def _to_parent(parent: Table, column: str, children: list[Table]) -> Iterator[str]:
    item, aside = identifier(column), identifier(f"{column[:50]}_own")
    for child in children:
        yield f"ALTER TABLE {child.name.sql} RENAME COLUMN {item} TO {aside};"
    yield alter.add_column(parent.name, replace(parent.columns[column], not_null=False))
    for child in children:
        yield f"UPDATE ONLY {child.name.sql} SET {item} = {aside};"  # noqa: S608 - the names are quoted
        yield f"ALTER TABLE {child.name.sql} DROP COLUMN {aside};"


def shared_checks(here: Side, goal: Side) -> dict[tuple[Name, str], Change | None]:
    """Return the changes of checks that a table and others that inherit from it both define, by table and name.

    A check cannot be dropped while a parent has it, nor be added to a parent while a child has another of its name.
    Therefore the new one comes under another name, before the old ones go. The change of all is that of the parent.
    """
    old, new = here.catalog.tables, goal.catalog.tables
    order = [each for each in parents_first(goal.catalog) if each in old]
    found: dict[tuple[Name, str], Change | None] = {}
    above = {each: ancestors(each, here.catalog) for each in order}
    parents = {each for line in above.values() for each in line}
    for parent in [each for each in order if each in parents]:
        below = [each for each in order if parent in above[each]]
        for name, rule in new[parent].constraints.items():
            heirs = [each for each in below if name in old[each].constraints]
            places = [parent, *heirs]
            if (
                rule.kind == "c"
                and heirs
                and name in old[parent].constraints
                and not any(
                    NOT_INHERITED in each[parent].constraints[name].definition
                    for each in (old, new)
                )
                and any(
                    old[each].constraints[name] != new[each].constraints.get(name)
                    for each in places
                )
                and not alter.only_validates(old[parent], new[parent], name)
            ):
                found[parent, name] = _together(rule, places, new)
                found |= dict.fromkeys([(each, name) for each in heirs])
    return found


def _together(rule: Constraint, places: list[Name], tables: Mapping[Name, Table]) -> Change:
    name, aside = identifier(rule.name), identifier(f"{rule.name[:50]}_new")
    parent, *heirs = places
    add = "ALTER TABLE {} ADD CONSTRAINT {} {};"
    return Change([as_way([
        add.format(parent.sql, aside, rule.definition),
        *(f"ALTER TABLE {each.sql} DROP CONSTRAINT {name};" for each in places),
        f"ALTER TABLE {parent.sql} RENAME CONSTRAINT {aside} TO {name};",
        *(
            add.format(each.sql, name, rule.definition)
            for each in heirs
            if rule.name in tables[each].constraints
        ),
    ])])  # fmt: skip


def valid_below(here: Side, goal: Side) -> Iterator[Change]:
    """Yield the changes that validate, for children, checks that stay NOT VALID for a parent."""
    old, new = here.catalog.tables, goal.catalog.tables
    for name in [each for each in new if each in old and old[each].unvalidated]:
        above = [new[each].constraints for each in ancestors(name, goal.catalog) if each in new]
        for rule in sorted({*old[name].unvalidated} - {*new[name].unvalidated}):
            if any(each[rule].definition.endswith(" NOT VALID") for each in above if rule in each):
                validate = f"ALTER TABLE {name.sql} VALIDATE CONSTRAINT {identifier(rule)};"
                yield Change([as_way([validate])])


def released_sequences(here: Side, goal: Side) -> Iterator[Change]:
    """Yield the changes that detach sequences from owning columns, where the goal keeps the sequence but not its owner.

    A sequence is dropped with the column that owns it (PostgreSQL manual, CREATE SEQUENCE, "OWNED BY").
    """
    wanted = goal.snapshot.objects
    for key, bodies in here.snapshot.objects.items():
        if key.kind == "SEQUENCE OWNED BY" and _stays(key, goal) and wanted.get(key) != bodies:
            free = f"ALTER SEQUENCE {Name(key.schema, key.name).sql} OWNED BY NONE;"
            yield Change([as_way(wanted.get(key, [])), as_way([free])], key=key)


def _stays(owned: Key, goal: Side) -> bool:
    body = goal.snapshot.objects.get(Key("SEQUENCE", owned.schema, owned.name), [""])[0]
    return body.startswith("CREATE ")


def continued_sequences(here: Side, goal: Side) -> Iterator[Change]:
    """Yield the changes that start new sequences after the numbers already in their columns."""
    for name in goal.catalog.sequences:
        key = Key("SEQUENCE", *name)
        if key in here.snapshot.objects or key not in goal.snapshot.objects:
            continue
        columns, before = [], {}
        for table_name, table in goal.catalog.tables.items():
            old = here.catalog.tables.get(table_name)
            for column in table.columns.values():
                drawn = numbering.drawn_from(column)
                if not (old and drawn and column.name in old.columns and Name.read(drawn) == name):
                    continue
                columns.append((table_name, column))
                if earlier := numbering.drawn_from(old.columns[column.name]):
                    before[earlier] = True
        if columns:
            options = goal.snapshot.objects[key][0]
            yield Change([as_way([numbering.count_on(name.sql, options, columns, [*before])])])


def comes_with_column(key: Key, here: Side, goal: Side) -> bool:
    """Tell whether a change of the owning column also ends or begins this ownership of a sequence."""
    sequence = Name(key.schema, key.name)
    if key not in goal.snapshot.objects:
        return sequence not in goal.catalog.sequences
    if key in here.snapshot.objects:
        return False
    if here.snapshot.objects.get(Key("SEQUENCE", *sequence), [""])[0].startswith("CREATE "):
        return False
    return any(
        column.serial
        and Name.read(column.sequence) == sequence
        and column.name in here.catalog.tables[name].columns
        and not here.catalog.tables[name].columns[column.name].serial
        for name in here.catalog.tables.keys() & goal.catalog.tables.keys()
        for column in goal.catalog.tables[name].columns.values()
    )


def parts_of_parents(here: Side, goal: Side) -> Iterator[Change]:
    """Yield what gives indexes and foreign keys of partitions the names that they have as parts of others."""
    present = _parts(here)
    for each in renames.one_by_one(_indexes(here, goal), present):
        yield Change([as_way([renames.statement(each)])], key=Key("INDEX", *each.new))
    for each in _foreign_keys(here, goal):
        yield Change([as_way([renames.statement(each)])])


def nullable_keys(here: Catalog, goal: Catalog) -> Iterator[Change]:
    """Yield the changes that make columns of old primary keys nullable in the partitions, too.

    A key that was built beside live traffic was added to each partition, whose NOT NULL is then its own: it stays when
    the partitioned table becomes nullable.
    """
    for name in [each for each in goal.tables if each in here.tables]:
        old, new = here.tables[name], goal.tables[name]
        above = [here.tables[each] for each in map(Name.read, old.parents) if each in here.tables]
        keys = (_key(each, here) for each in above if old.partition and new.partition)
        for column in chain.from_iterable(keys):
            if column in new.columns and not new.columns[column].not_null:
                text = f"ALTER TABLE {name.sql} ALTER COLUMN {identifier(column)} DROP NOT NULL;"
                yield Change([as_way([text])])


def _key(table: Table, catalog: Catalog) -> tuple[str, ...]:
    """Return the columns of the primary key that a table has of its own or as a partition."""
    own = (each.columns for each in table.constraints.values() if each.kind == "p")
    above = (catalog.tables.get(Name.read(each)) for each in table.parents)
    return next(chain(own, (_key(each, catalog) for each in above if each)), ())


def without_parts(here: Side, goal: Side) -> Iterator[Change]:
    """Yield what drops an index of which a part is to be none: PostgreSQL has no other way. It is made again."""
    wanted = _parts(goal)
    kept = {(part.table, part.whole) for part in wanted.values()}
    for part in _parts(here).values():
        whole = wanted.get(part.whole) if part.whole else None
        in_table = Key("TABLE ATTACH", *part.table) in goal.snapshot.objects
        if (
            whole
            and in_table
            and (part.table, whole.name) not in kept
            and whole.key.kind == "INDEX"
        ):
            yield Change([as_way([f"DROP INDEX {whole.name.sql};"])], key=whole.key)


def own_keys(here: Side, goal: Side) -> Iterator[Key]:
    """Yield new keys and unique constraints of partitions that are to be parts of indexes of their parents.

    Attaching a partition takes them in if they are there first; it makes an index beside them otherwise.
    """
    wanted = _parts(goal)
    for part in wanted.values():
        new = part.key not in here.snapshot.objects and part.key in goal.snapshot.objects
        if new and _is_own_key(part, wanted):
            yield part.key


def _is_own_key(part: Part, wanted: dict[Name, Part]) -> bool:
    """Tell whether a part is a constraint of the partition alone: its parent has no more than an index."""
    whole = wanted.get(part.whole) if part.whole else None
    return bool(whole and (part.key.kind, whole.key.kind) == ("CONSTRAINT", "INDEX"))


def coming_with_wholes(here: Side, goal: Side) -> set[Key]:
    """Return the indexes and keys of partitions that are made with their parent's, or by attaching the partition."""
    present, wanted = _parts(here), _parts(goal)
    is_complete = cache(partial(objects.is_complete, goal=goal.snapshot))
    found = set()
    for part in wanted.values():
        whole = wanted.get(part.whole) if part.whole else None
        attached = Key("TABLE ATTACH", *part.table) in here.snapshot.objects
        if whole is None or (whole.name in present and attached) or _is_own_key(part, wanted):
            continue
        if whole.key.kind != "INDEX" or is_complete(whole.key):
            found.add(part.key)
    return found


def _parts(side: Side) -> dict[Name, Part]:
    found = {**side.snapshot.objects, **side.hidden.objects}
    wholes = {
        Name.read(match["part"]): Name.read(match["whole"])
        for key, texts in found.items()
        if key.kind == "INDEX ATTACH" and (match := ATTACH.match(texts[0]))
    }
    parts: dict[Name, Part] = {}
    for key, texts in found.items():
        table = owner(texts[0]) if key.kind in {"INDEX", "CONSTRAINT"} else None
        if table is None:
            continue
        name = key.name.removeprefix(f"{table.name} ") if key.kind == "CONSTRAINT" else key.name
        text = NAMED.sub(r"\1 ", texts[0].partition(";")[0], count=1)
        full = Name(key.schema, name)
        parts[full] = Part(key, full, table, text, wholes.get(full))
    return parts


def _indexes(here: Side, goal: Side) -> Iterator[Rename]:
    """Yield what on the second side is part of another index, under another name than on the first."""
    present, wanted = _parts(here), _parts(goal)
    # What stays as it is comes last, because that must be made again.
    free = sorted(present.values(), key=lambda part: (part.name in wanted, part.name))
    for part in wanted.values():
        taken = present.get(part.name)
        if part.whole is None or (taken and taken.whole in {None, part.whole}):
            continue
        for old in free:
            alike = (old.table, old.definition) == (part.table, part.definition)
            other = wanted[old.name].whole if old.name in wanted else None
            stays = other is not None and old.whole in {None, other}
            if alike and not stays and old.whole in {None, part.whole}:
                free.remove(old)
                if taken:  # they change names
                    aside = Name(part.name.schema, f"{part.name.name[:50]}_aside")
                    yield Rename("index", part.name, aside)
                yield Rename("index", old.name, part.name)
                break


def _foreign_keys(here: Side, goal: Side) -> Iterator[Rename]:
    """Yield foreign keys of partitions which new ones of their parents take in."""
    old, new = here.catalog.tables, goal.catalog.tables
    for name in old.keys() & new.keys():
        parent = Name.read(new[name].parents[0]) if new[name].partition else None
        if parent is None or parent not in old or parent not in new:
            continue
        mine = [each for each in old[name].constraints.values() if each.kind == "f"]
        for rule in new[parent].constraints.values():
            if rule.name in {*old[parent].constraints, *old[name].constraints}:
                continue
            for each in mine:
                if each.definition == rule.definition and each.name not in new[name].constraints:
                    before, after = (Name(name.schema, one.name) for one in (each, rule))
                    yield Rename("constraint", before, after, name)
                    break

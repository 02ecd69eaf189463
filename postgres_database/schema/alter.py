"""From what a table or type is to what it should be: ALTER statements. Pure: no database.

Which of several ways works depends on server and data; a change therefore is a list of ways, the
gentlest first, to be tried in turn. PostgreSQL manual, ALTER TABLE, ALTER TYPE, ALTER DOMAIN.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from postgres_database.schema.catalog import Column, Constraint, Table, Type
from postgres_database.schema.numbering import IDENTITY, begun_anew, renumbered
from postgres_database.sql.names import Name, identifier, literal

Statements = Sequence[str]
"""Statements that together make one change."""

STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}
COMPRESSION = {"": "default", "p": "pglz", "l": "lz4"}
SERIAL = {"smallint": "smallserial", "integer": "serial", "bigint": "bigserial"}
GENERATED = {"s": "STORED", "v": "VIRTUAL"}
REPLICA = {"d": "DEFAULT", "n": "NOTHING", "f": "FULL"}
NUMBERS = {"smallint", "integer", "bigint", "numeric", "real", "double precision"}
JSON = {"json", "jsonb"}
ELEMENTS_OF = "pg_temp.elements_of"
ELEMENTS = f"""CREATE OR REPLACE FUNCTION {ELEMENTS_OF}(jsonb) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT
    AS 'SELECT array(SELECT jsonb_array_elements_text($1))';"""
"""USING takes no query: PostgreSQL manual, ALTER TABLE, "SET DATA TYPE"."""
UNBOUNDED = {"character": "bpchar", "bit": "bit varying"}
"""Types that mean another length when theirs is left out."""
SEQUENCE_OPTION = re.compile(r"START WITH|INCREMENT BY|MINVALUE|MAXVALUE|CACHE|CYCLE")


def table_changes(here: Table, goal: Table) -> Iterator[tuple[str, list[Statements]]]:
    """Yield what changes a table: the column or constraint that is concerned, and the ways.

    What cannot be changed in a table that exists, such as how it is partitioned, is left out.
    """
    table = goal.name.sql
    if here.partition or not goal.partition:  # else its parent, where it goes back to, wants them
        lasting = {
            name
            for name, each in here.constraints.items()
            if each == goal.attached.get(name) or _becomes_valid(each, goal)
        }
        yield from _constraint_drops(table, [*here.constraints.keys() - lasting], goal)
    for name in here.columns.keys() - goal.columns.keys():
        yield name, [[f"ALTER TABLE {table} DROP COLUMN {identifier(name)};"]]
    for name, column in goal.columns.items():
        if name not in here.columns:
            yield name, added_column(goal.name, column)
        elif here.columns[name] != column:
            for ways in _column(goal.name, here.columns[name], column):
                yield name, ways
    yield from _constraint_adds(table, here, goal)
    for statement in _settings(here, goal):
        yield "", [[f"ALTER TABLE {table} {statement};"]]


def _becomes_valid(constraint: Constraint, goal: Table) -> bool:
    """Tell whether SET NOT NULL validates a constraint (PostgreSQL manual, ALTER TABLE, "SET NOT NULL")."""
    columns = (goal.columns.get(name) for name in constraint.columns)
    is_unvalidated = constraint.kind == "n" and constraint.definition.endswith(" NOT VALID")
    return is_unvalidated and all(each and each.not_null for each in columns)


def added_column(table: Name, column: Column) -> list[Statements]:
    """Return the ways to add a column; a serial may get the numbers of a sequence that is there."""
    drawing = [[add_column(table, replace(column, serial=False))]] if column.serial else []
    return [*drawing, [add_column(table, column)]]


def add_column(table: Name, column: Column) -> str:
    """Return the statement that adds a column; a serial numbers the rows that are there."""
    return f"ALTER TABLE {table.sql} ADD COLUMN {column_definition(column)};"


def column_definition(column: Column) -> str:
    """Return what stands in CREATE TABLE for a column."""
    parts = [identifier(column.name), SERIAL[column.type] if column.serial else _typed(column)]
    if column.generated:
        parts.append(f"GENERATED ALWAYS AS ({column.default}) {GENERATED[column.generated]}")
    elif column.default and not column.serial:
        parts.append(f"DEFAULT {column.default}")
    if column.identity:
        parts.append(f"GENERATED {IDENTITY[column.identity]} AS IDENTITY ({column.options})")
    if column.not_null:
        parts.append("NOT NULL")
    return " ".join(parts)


def casts(column: str, here: str, goal: str) -> list[str]:
    """Return expressions that may turn a column's values into another type, the most natural first.

    The empty one is PostgreSQL's own cast on assignment. No expression has the length of the goal: an
    explicit cast would cut values off that an assignment refuses (PostgreSQL manual, "Character Types").
    ELEMENTS must have been run for those that name its function.
    """
    bare = re.sub(r"\(.*?\)", "", goal)
    bare = UNBOUNDED.get(bare, bare)
    found = [""]
    if goal.endswith("[]") and here in JSON:
        whole = bare.removesuffix("[]") in JSON  # elements as text would be read anew
        return [""] if whole else [f"{ELEMENTS_OF}({column}::jsonb)::{bare}"]
    if here.endswith("[]") and goal in JSON:
        return [f"to_jsonb({column})" + "::json" * (goal == "json")]
    if goal.endswith("[]") and not here.endswith("[]"):
        item = f"ARRAY[{column}]::{bare}"
        return [f"CASE WHEN {column} IS NOT NULL THEN {item} END", "", f"{column}::{bare}"]
    if bare == "boolean" and re.sub(r"\(.*?\)", "", here) in NUMBERS:
        found.append(f"{column} <> 0")
    if here == "boolean" and bare in NUMBERS:
        found.append(f"{column}::integer::{bare}")
    return [*found, f"{column}::{bare}", f"{column}::text::{bare}"]


def needed_by(cast: str) -> Statements:
    """Return what must be run before an expression of `casts`."""
    return [ELEMENTS] if ELEMENTS_OF in cast else []


def _typed(column: Column) -> str:
    return column.type + (f" COLLATE {column.collation}" if column.collation else "")


def _column(table: Name, here: Column, goal: Column) -> Iterator[list[Statements]]:
    column = f"ALTER TABLE {table.sql} ALTER COLUMN {identifier(goal.name)}"
    generation = here.generated, here.default, goal.generated, goal.default
    if (here.generated or goal.generated) and generation[:2] != generation[2:]:
        yield _generation(table, here, goal)
        return
    if _typed(here) != _typed(goal):
        yield _type(column, here, goal)
    if (bool(here.identity), here.serial) != (bool(goal.identity), goal.serial):
        yield [list(renumbered(table, here, goal))]
        return
    if (here.identity, here.options) != (goal.identity, goal.options):
        options = SEQUENCE_OPTION.sub(lambda found: f"SET {found[0]}", goal.options)
        cycle = "" if "CYCLE" in goal.options else " SET NO CYCLE"
        change = f"{column} SET GENERATED {IDENTITY[goal.identity]} {options}{cycle};"
        yield [[change], [*begun_anew(here.sequence, goal.options), change]]
    if here.default != goal.default and not goal.generated:
        yield [[f"{column} {_default(goal)};"]]
    if here.not_null != goal.not_null:
        yield [[f"{column} {'SET' if goal.not_null else 'DROP'} NOT NULL;"]]
    for clause in _storage(here, goal):
        yield [[f"{column} {clause};"]]


def _storage(here: Column, goal: Column) -> Iterator[str]:
    if here.type == goal.type and here.storage != goal.storage:
        yield f"SET STORAGE {STORAGE[goal.storage]}"
    if here.compression != goal.compression:
        yield f"SET COMPRESSION {COMPRESSION[goal.compression]}"
    if here.statistics != goal.statistics:
        yield f"SET STATISTICS {goal.statistics}"
    yield from _options(here.attributes, goal.attributes)


def _default(goal: Column) -> str:
    return f"SET DEFAULT {goal.default}" if goal.default else "DROP DEFAULT"


def _type(column: str, here: Column, goal: Column) -> list[Statements]:
    """A default that cannot be cast is dropped first and set again."""
    name = identifier(goal.name)
    changes = [
        [*needed_by(cast), f"{column} TYPE {_typed(goal)}{f' USING {cast}' if cast else ''};"]
        for cast in casts(name, here.type, goal.type)
    ]
    ways: list[Statements] = [*changes]
    if here.default and not here.generated and not here.serial:
        ways += [[f"{column} DROP DEFAULT;", *change] for change in changes]
    return ways


def _generation(table: Name, here: Column, goal: Column) -> list[Statements]:
    """Generated values can be made anew; values that are no longer generated are to stay."""
    name = identifier(goal.name)
    alter = f"ALTER TABLE {table.sql}"
    again = [f"{alter} DROP COLUMN {name};", f"{alter} ADD COLUMN {column_definition(goal)};"]
    if goal.generated:  # not SET EXPRESSION: scripts run on servers before 17 as well
        return [again]
    aside = identifier(f"{goal.name[:50]}_generated")
    copy = [
        f"{alter} RENAME COLUMN {name} TO {aside};",
        f"{alter} ADD COLUMN {name} {_typed(here)};",
        f"UPDATE {table.sql} SET {name} = {aside};",  # noqa: S608 - of quoted names
        f"{alter} DROP COLUMN {aside};",
    ]
    return [[f"{alter} ALTER COLUMN {name} DROP EXPRESSION;"], copy]


def _constraint_drops(
    table: str, here: Iterable[str], goal: Table
) -> Iterator[tuple[str, list[Statements]]]:
    for name in here:
        if name not in goal.constraints:
            yield name, [[f"ALTER TABLE {table} DROP CONSTRAINT {identifier(name)};"]]


def _constraint_adds(
    table: str, here: Table, goal: Table
) -> Iterator[tuple[str, list[Statements]]]:
    for name, constraint in goal.constraints.items():
        add = f"ALTER TABLE {table} ADD CONSTRAINT {identifier(name)} {constraint.clause};"
        drop = f"ALTER TABLE {table} DROP CONSTRAINT {identifier(name)};"
        old = here.constraints.get(name)
        if old is None:
            yield name, [[add]]
        elif old != constraint:
            validate = f"ALTER TABLE {table} VALIDATE CONSTRAINT {identifier(name)};"
            swap = f"{drop.removesuffix(';')}, ADD CONSTRAINT {identifier(name)} {constraint.definition};"
            if only_validates(here, goal, name):
                yield name, [[validate]]
            elif _only_stores_otherwise(here, goal, name):
                index = Name(goal.name.schema, name).sql
                settings = _options(old.options, constraint.options)
                in_place = [f"ALTER INDEX {index} {each};" for each in settings]
                yield name, [in_place, [drop, add]]  # not of a partitioned table
            else:  # what does not look at rows is one statement, so that the rule holds at every moment
                yield name, [[swap] if constraint.definition.endswith("NOT VALID") else [drop, add]]


def is_in_place(here: Table, goal: Table, name: str) -> bool:
    """Tell whether a constraint that changes stays the same one."""
    return only_validates(here, goal, name) or _only_stores_otherwise(here, goal, name)


def _only_stores_otherwise(here: Table, goal: Table, name: str) -> bool:
    """Tell whether nothing but the storage parameters of a key differs."""
    old, new = here.constraints.get(name), goal.constraints.get(name)
    return bool(old and new and old != new and replace(old, options=new.options) == new)


def only_validates(here: Table, goal: Table, name: str) -> bool:
    """Tell whether all that a constraint lacks is that it is validated."""
    ends = here.constraints.get(name), goal.constraints.get(name)
    return bool(ends[0] and ends[1] and ends[0].definition == f"{ends[1].definition} NOT VALID")


def _settings(here: Table, goal: Table) -> Iterator[str]:
    """Yield the actions of ALTER TABLE for everything but columns and constraints."""
    yield from _table_storage(here, goal)
    if not (here.partition or goal.partition):
        # In this order: a column that no parent has for a moment would be the table's own from then on.
        yield from (f"INHERIT {name}" for name in goal.parents if name not in here.parents)
        yield from (f"NO INHERIT {name}" for name in here.parents if name not in goal.parents)
    if here.of_type != goal.of_type:
        yield f"OF {goal.of_type}" if goal.of_type else "NOT OF"
    yield from _index_settings(here, goal)
    if here.row_security != goal.row_security:
        yield f"{'ENABLE' if goal.row_security else 'DISABLE'} ROW LEVEL SECURITY"
    if here.forced != goal.forced:
        yield f"{'FORCE' if goal.forced else 'NO FORCE'} ROW LEVEL SECURITY"


def _table_storage(here: Table, goal: Table) -> Iterator[str]:
    if here.logged != goal.logged:
        yield "SET LOGGED" if goal.logged else "SET UNLOGGED"
    yield from _options(here.options, goal.options)
    if here.access_method != goal.access_method and here.kind == goal.kind:
        yield f"SET ACCESS METHOD {identifier(goal.access_method)}"
    if here.tablespace != goal.tablespace:
        yield f"SET TABLESPACE {identifier(goal.tablespace or 'pg_default')}"


def _index_settings(here: Table, goal: Table) -> Iterator[str]:
    """Yield the settings of a table that name one of its indexes."""
    if here.replica_identity != goal.replica_identity:
        kind, index = goal.replica_identity[0], goal.replica_identity[1:]
        yield f"REPLICA IDENTITY {REPLICA.get(kind) or f'USING INDEX {index}'}"
    if here.clustered != goal.clustered:
        yield f"CLUSTER ON {goal.clustered}" if goal.clustered else "SET WITHOUT CLUSTER"


def _options(here: Sequence[str], goal: Sequence[str]) -> Iterator[str]:
    """Compare settings of the form name=value."""
    old, new = (dict(option.split("=", 1) for option in options) for options in (here, goal))
    if changed := [f"{name} = {literal(new[name])}" for name in new if old.get(name) != new[name]]:
        yield f"SET ({', '.join(changed)})"
    if gone := [name for name in old if name not in new]:
        yield f"RESET ({', '.join(gone)})"


def type_changes(here: Type, goal: Type) -> list[Statements]:
    """Return the ways to change a type in place; none if it can only be replaced."""
    if here.kind != goal.kind:
        return []
    if goal.kind == "e":
        return [way] if (way := _added_values(here, goal)) else []
    if goal.kind == "d" and here.shape == goal.shape:
        return [list(_domain(here, goal))]
    if goal.kind == "c" and (statements := list(_attributes(here, goal))):
        return [statements]
    return []


def _added_values(here: Type, goal: Type) -> Statements:
    """Add values where they belong, if nothing else is to be done."""
    if [label for label in goal.labels if label in here.labels] != [*here.labels]:
        return []
    first = literal(here.labels[0]) if here.labels else ""
    places = [
        f" AFTER {literal(goal.labels[place - 1])}"
        if place
        else f" BEFORE {first}"
        if first
        else ""
        for place in range(len(goal.labels))
    ]
    return [
        f"ALTER TYPE {goal.name.sql} ADD VALUE {literal(label)}{places[place]};"
        for place, label in enumerate(goal.labels)
        if label not in here.labels
    ]


def _domain(here: Type, goal: Type) -> Iterator[str]:
    domain = f"ALTER DOMAIN {goal.name.sql}"
    lasting = {
        name
        for name, text in here.constraints.items()
        if goal.constraints.get(name) in (text, text.removesuffix(" NOT VALID"))
    }
    for name, text in here.constraints.items():
        if name not in lasting:
            yield f"{domain} DROP CONSTRAINT {identifier(name)};"
        elif goal.constraints[name] != text:
            yield f"{domain} VALIDATE CONSTRAINT {identifier(name)};"
    if here.default != goal.default:
        yield f"{domain} {f'SET DEFAULT {goal.default}' if goal.default else 'DROP DEFAULT'};"
    if here.not_null != goal.not_null:
        yield f"{domain} {'SET' if goal.not_null else 'DROP'} NOT NULL;"
    for name, text in goal.constraints.items():
        if name not in lasting:
            yield f"{domain} ADD CONSTRAINT {identifier(name)} {text};"


def _attributes(here: Type, goal: Type) -> Iterator[str]:
    type_ = f"ALTER TYPE {goal.name.sql}"
    for name in here.attributes.keys() - goal.attributes.keys():
        yield f"{type_} DROP ATTRIBUTE {identifier(name)} CASCADE;"
    for name, text in goal.attributes.items():
        if name not in here.attributes:
            yield f"{type_} ADD ATTRIBUTE {identifier(name)} {text} CASCADE;"
        elif here.attributes[name] != text:
            yield f"{type_} ALTER ATTRIBUTE {identifier(name)} TYPE {text} CASCADE;"

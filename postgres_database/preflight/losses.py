"""What a change of a schema does to rows: the values that it loses, and the rows on which it may fail. Pure."""

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from postgres_database.schema.alter import JSON
from postgres_database.schema.catalog import Catalog, Column, Constraint, Table, Type
from postgres_database.sql.names import Name

Columns = AbstractSet[tuple[Name, str]]
"""(table, column) pairs."""

BOUNDLESS = {"text", "character varying"}
TEXTS = {*BOUNDLESS, "character"}
ROUNDED = {"numeric", "real", "double precision"}
WIDER = {
    "smallint": ("integer", "bigint", "numeric"),
    "integer": ("bigint", "numeric", "double precision"),
    "bigint": ("numeric",),
    "real": ("double precision",),
    "character": ("character varying",),
}
"""Type → types that hold all of its values."""
LOSSES = {
    ("timestamp", "timestamp"): "they are read in the time zone of the session",
    ("timestamp", "date"): "the time of day is lost",
    ("timestamp", "time"): "the day is lost",
    ("json", "jsonb"): "the order of keys and keys that are there twice are lost",
}
"""What other casts do, by the first words of both types."""
ZONED = ("timestamp with time zone", "time with time zone")
UNZONED = ("timestamp without time zone", "time without time zone", "date")
TIMESTAMPS = {"timestamp with time zone", "timestamp without time zone"}
"""Of these LOSSES says it."""
WRITTEN_BY = {
    "bytea": "bytea_output",
    "real": "extra_float_digits",
    "double precision": "extra_float_digits",
}
"""Type → the setting that decides how it is written as text."""
READ_BY = {
    "date": "DateStyle",
    "timestamp with time zone": "DateStyle",
    "timestamp without time zone": "DateStyle",
    "interval": "IntervalStyle",
    "xml": "xmloption",
}
"""Type → the setting that decides how it is read from text and written."""
DECIDED_BY = {
    "default_text_search_config": re.compile(
        r"\b(?:(?:to|json_to|jsonb_to)_tsvector|(?:to|plainto|phraseto|websearch_to)_tsquery|ts_headline)"
        r"\((?!'[^']*'::regconfig)"
    ),
    "TimeZone": re.compile(r"\)::(?:timestamp|time)(?:\(\d\))? with time zone"),
    "lc_monetary": re.compile(r"\)::money\b"),
}
"""Setting → what depends on it in an expression as the server prints it."""
UNIQUE = ("p", "u")
NULLS = "NULLS NOT DISTINCT"
BREAKS = {
    "c": "break it",
    "f": "point to nothing",
    "n": "have no value",
    "p": "are equal",
    "u": "are equal",
    "x": "exclude each other",
}


def find_losses(before: Catalog, goal: Catalog, filled: Columns = frozenset()) -> tuple[str, ...]:
    """Return a message for each kind of value that a change loses, and for each rule on which it may fail.

    Args:
        before: The schema before the change.
        goal: The schema after it.
        filled: Columns that have a value in every row when the change runs.
    """
    lines = [
        f"the rows of table {name} are dropped"
        for name, table in before.tables.items()
        if name not in goal.tables and _has_rows(table)
    ]
    for name, table in goal.tables.items():
        if name in before.tables and before.tables[name] != table and _has_rows(table):
            lines += _table(before.tables[name], table, filled)
    for type_name, type_ in goal.types.items():
        if type_name in before.types:
            lines += _type(before.types[type_name], type_)
    return tuple(lines)


def _has_rows(table: Table) -> bool:
    """Tell whether a table holds rows of its own: a foreign table does not, and a partition's count for its parent."""
    return not table.partition and table.kind != "f"


def _table(here: Table, goal: Table, filled: Columns) -> Iterator[str]:
    for name, column in here.columns.items():
        if name not in goal.columns and not column.generated:
            yield f"the values of column {goal.name}.{name} are dropped"
    for name, column in goal.columns.items():
        has_values = (goal.name, name) in filled
        yield from _column(
            f"{goal.name}.{name}", here.columns.get(name), column, has_values=has_values
        )
    for name, constraint in goal.constraints.items():
        old = here.constraints.get(name)
        believed = constraint.definition.endswith(("NOT VALID", "NOT ENFORCED"))
        changed = old is None or old.definition != constraint.definition
        if (
            constraint.kind in BREAKS
            and changed
            and not (believed or _is_implied(constraint, here))
        ):
            broken = f"{name} on {goal.name} fails on rows that {BREAKS[constraint.kind]}"
            yield broken + _which(constraint.definition)
    for name, definition in goal.indexes.items():
        if definition.startswith("CREATE UNIQUE") and here.indexes.get(name) != definition:
            yield f"{name} on {goal.name} fails on rows that are equal"
    if here.partitioned_by and goal.partitioned_by:
        keys = {name for name, rule in here.constraints.items() if rule.kind in UNIQUE}
        for name in sorted((keys | {*here.indexes}) - {*goal.constraints, *goal.indexes}):
            yield f"{name} on {goal.name} goes with its parts, also those that partitions had before it took them in"


def _is_implied(rule: Constraint, here: Table) -> bool:
    """Tell whether an existing key on some of the columns already makes rows unique."""
    return rule.kind in UNIQUE and any(
        each.kind in UNIQUE and {*each.columns} <= {*rule.columns} and NULLS not in rule.definition
        for each in here.constraints.values()
    )


def _column(name: str, here: Column | None, goal: Column, *, has_values: bool) -> Iterator[str]:
    if here is None:
        if goal.not_null and not (goal.default or goal.identity or goal.generated):
            yield f"column {name} is NOT NULL without a default: fails on rows"
        if settings := " and ".join(expression_settings(goal.default)):
            yield f"the values of column {name} depend on {settings} of the session"
        return
    if goal.generated and not here.generated:
        yield f"the values of column {name} are replaced by generated ones"
        return
    loss = cast_loss(here.type, goal.type) if here.type != goal.type else ""
    settings = " and ".join(sorted(cast_settings(here.type, goal.type)))
    depends = f"the result depends on {settings} of the session" if settings else ""
    if says := "; ".join(filter(None, (loss, depends))):
        yield f"the values of column {name} are cast to {goal.type}: {says}"
    if goal.not_null and not (here.not_null or has_values):
        yield f"column {name} becomes NOT NULL: fails on rows without a value"


def _type(here: Type, goal: Type) -> Iterator[str]:
    if here.kind != goal.kind:
        yield f"the values of type {goal.name} are cast to one of another kind: what does not fit is refused"
        return
    for label in here.labels:
        if label not in goal.labels:
            yield f"type {goal.name} loses the value {label!r}: fails on rows that have it"
    for attribute in here.attributes:
        if attribute not in goal.attributes:
            yield f"the values of attribute {goal.name}.{attribute} are dropped"
    for name, definition in goal.constraints.items():
        if here.constraints.get(name) != definition and not definition.endswith("NOT VALID"):
            yield f"{name} of domain {goal.name} fails on rows that break it{_which(definition)}"
    if goal.not_null and not here.not_null:
        yield f"domain {goal.name} becomes NOT NULL: fails on rows without a value"


def _which(definition: str) -> str:
    """Return what decides which rows break a rule, as the rest of a message; empty if only the rows do."""
    settings = " and ".join(expression_settings(definition))
    return f": which ones depends on {settings} of the session" if settings else ""


def expression_settings(expression: str) -> list[str]:
    """Return the settings that an expression depends on; those of text search have one if none is named in it.

    A scratch database has other settings than the target. PostgreSQL manual, "Text Search Functions and Operators".
    """
    return [setting for setting, pattern in DECIDED_BY.items() if pattern.search(expression)]


def cast_settings(here: str, goal: str) -> set[str]:
    """Return the settings that a cast depends on (PostgreSQL manual, "Client Connection Defaults").

    A scratch database has other settings than the target, so its rows do not show what these do.
    """
    old, new = (re.sub(r"\(.*?\)|\[\]", "", text).strip() for text in (here, goal))
    pair = {old, new}
    found: set[str] = set()
    if old == new:
        return found
    if "money" in pair:
        found.add("lc_monetary")
    if len(pair & {*ZONED, *UNZONED}) == 2 and pair & {*ZONED} and pair != TIMESTAMPS:  # noqa: PLR2004
        found.add("TimeZone")
    if not pair & TEXTS:
        return found
    (other,) = pair - TEXTS or {new}
    if other in ZONED:
        found.add("TimeZone")
    if new in TEXTS:
        found |= {WRITTEN_BY[other]} if other in WRITTEN_BY else set()
    found |= {READ_BY[other]} if other in READ_BY else set()
    return found | ({"search_path"} if other.startswith("reg") else set())


def cast_loss(here: str, goal: str) -> str:
    """Return what a cast between two types may lose or reject, as a phrase for a message; empty if nothing."""
    old, new = (re.sub(r"\(.*?\)", "", text).strip() for text in (here, goal))
    sizes, new_sizes = ([int(n) for n in re.findall(r"\d+", text)] for text in (here, goal))
    fits = not new_sizes or (bool(sizes) and sizes <= new_sizes and sizes[1:] == new_sizes[1:])
    if (fits and (old == new or new in WIDER.get(old, ()))) or (new in BOUNDLESS and not new_sizes):
        return ""
    if new.endswith("[]") and not old.endswith("[]") and old not in JSON:
        return "each becomes the only element of an array"
    if new in TEXTS:
        return "longer values are refused"
    if old in ROUNDED and new in {*ROUNDED, *WIDER["smallint"]}:
        return "values are rounded, and those that do not fit are refused"
    kinds = old.split()[0], new.split()[0]
    return LOSSES.get(kinds if old != new else ("", ""), "what does not fit is refused")

"""How alike two names, types and shapes are: from 0.0 to 1.0. Pure."""

import re
from collections.abc import Collection
from difflib import SequenceMatcher

from postgres_database.schema.catalog import Type

SIMILAR = 0.6
"""From this `ratio` on, two names are likely an old and a new name of one thing."""
FAMILIES = {
    "number": r"smallint|integer|bigint|numeric|real|double precision|money",
    "text": r"text|character|bpchar|citext|name\b",
    "time": r"timestamp|date\b|time\b",
    "json": r"jsonb?",
}
"""Types whose columns are often changed into one another: a name, and the beginnings of the types' names."""


def overlap(left: Collection[str], right: Collection[str]) -> float:
    """Return which share of two sets is common to both (the Dice coefficient)."""
    both = len(set(left) & set(right))
    return 2 * both / (len(left) + len(right)) if both else 0.0


def type_score(here: Type, goal: Type) -> float:
    """Compare two types by their kind and by what defines them: labels, attributes or the base type."""
    if here.kind != goal.kind:
        return 0.0
    if here.kind == "e":
        return overlap(here.labels, goal.labels)
    if here.kind == "c":
        return overlap(here.attributes, goal.attributes)
    return float(here.shape == goal.shape)


def value_score(old: str, here: int, new: str, goal: int) -> float:
    """Compare two values of an enum by their labels (`old`, `new`) and positions (`here`, `goal`)."""
    return 0.6 if here == goal or similar(old, new) else 0.0


def family(type_: str) -> str:
    """Return the name in FAMILIES of a type, or its own name without modifiers; that of an array ends with `[]`."""
    bare = type_.removesuffix("[]")
    known = next((name for name, pattern in FAMILIES.items() if re.match(pattern, bare)), "")
    return (known or bare.partition("(")[0]) + type_[len(bare) :]


def ratio(old: str, new: str) -> float:
    """Return how alike two names are, letter by letter."""
    return SequenceMatcher(None, old.lower(), new.lower()).ratio()


def similar(old: str, new: str) -> bool:
    """Tell whether two names are alike, or one contains the other."""
    short, long = sorted((old.lower(), new.lower()), key=len)
    return ratio(old, new) >= SIMILAR or (len(short) > 2 and short in long)  # noqa: PLR2004

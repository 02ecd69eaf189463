"""How alike two names, types and shapes are: from 0.0 to 1.0. Pure."""

import re
from collections.abc import Collection
from difflib import SequenceMatcher

from postgres_database.schema.catalog import Type

SIMILAR = 0.6
"""Names that share so much are likely one thing's, whatever its type."""
FAMILIES = {
    "number": r"smallint|integer|bigint|numeric|real|double precision|money",
    "text": r"text|character|bpchar|citext|name\b",
    "time": r"timestamp|date\b|time\b",
    "json": r"jsonb?",
}


def overlap(left: Collection[str], right: Collection[str]) -> float:
    """Return how much of two sets both have."""
    both = len(set(left) & set(right))
    return 2 * both / (len(left) + len(right)) if both else 0.0


def type_score(here: Type, goal: Type) -> float:
    """Compare types by what they are made of."""
    if here.kind != goal.kind:
        return 0.0
    if here.kind == "e":
        return overlap(here.labels, goal.labels)
    if here.kind == "c":
        return overlap(here.attributes, goal.attributes)
    return float(here.shape == goal.shape)


def value_score(old: str, here: int, new: str, goal: int) -> float:
    """Compare values of an enum by their names and their places."""
    return 0.6 if here == goal or similar(old, new) else 0.0


def family(type_: str) -> str:
    """Return what kind of values a type has, for types that are often exchanged for another."""
    bare = type_.removesuffix("[]")
    found = next((name for name, pattern in FAMILIES.items() if re.match(pattern, bare)), "")
    return (found or bare.partition("(")[0]) + type_[len(bare) :]


def ratio(old: str, new: str) -> float:
    """Return how much two names have in common."""
    return SequenceMatcher(None, old.lower(), new.lower()).ratio()


def similar(old: str, new: str) -> bool:
    """Tell whether two names are likely one thing's."""
    short, long = sorted((old.lower(), new.lower()), key=len)
    return ratio(old, new) >= SIMILAR or (len(short) > 2 and short in long)  # noqa: PLR2004

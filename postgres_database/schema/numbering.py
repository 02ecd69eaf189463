"""How a column is numbered: by a serial, an identity or another sequence, and how that changes. Pure: no database.

A sequence that takes the place of another one counts on from there, and never below a number that a row has:
what was given out once is not given out again.
"""

import re
from collections.abc import Iterator, Sequence

from postgres_database.schema.catalog import Column
from postgres_database.sql.names import Name, identifier, literal

IDENTITY = {"a": "ALWAYS", "d": "BY DEFAULT"}
NUMBERS = {"smallint", "integer", "bigint"}
DRAWN = re.compile(r"nextval\('(?P<name>(?:[^']|'')+)'::regclass\)")
"""A default that draws from a sequence, as the server prints it."""
OPTION = re.compile(r"(?<!NO )(START WITH|INCREMENT BY|MINVALUE|MAXVALUE) (-?\d+)")
TYPE = re.compile(r"\bAS (?:smallint|integer|bigint)\b")


def drawn_from(column: Column) -> str:
    """Return the sequence that numbers a column, for SQL; empty if none does."""
    if column.identity:
        return column.sequence
    match = DRAWN.search("" if column.generated else column.default)
    return match["name"].replace("''", "'") if match else ""


def count_on(
    sequence: str, options: str, columns: Sequence[tuple[Name, Column]], before: Sequence[str]
) -> str:
    """Return the statement that lets a sequence count on, if it would begin with a number that was given out.

    Args:
        sequence: The sequence, for SQL.
        options: How it counts, as CREATE SEQUENCE says it.
        columns: What it numbers, as far as there are rows.
        before: Other sequences that numbered these.
    """
    start = re.search(r"START WITH (-?\d+)", options)
    down = "INCREMENT BY -" in options
    last, reaches = ("min", "<=") if down else ("max", ">=")
    numbers = [
        f"SELECT {last}({identifier(column.name)}) AS last FROM {table.sql}"  # noqa: S608 - of quoted names
        for table, column in columns
        if column.type in NUMBERS
    ]
    numbers += [f"SELECT last_value AS last FROM {each} WHERE is_called" for each in before]  # noqa: S608
    united = " UNION ALL ".join(numbers)
    first = int(start[1]) if start else -1 if down else 1
    return (
        f"SELECT setval({literal(sequence)}, {last}(last)) FROM ({united}) AS numbers"  # noqa: S608
        f" HAVING {last}(last) {reaches} {first};"
    )


def begun_anew(sequence: str, options: str) -> Iterator[str]:
    """Yield what lets a sequence begin with its new start, if its number is before all that it may give out.

    Where its number is beyond them, ALTER SEQUENCE is refused and the numbers stay.

    Args:
        sequence: The sequence, for SQL.
        options: How it is to count, as CREATE SEQUENCE says it.
    """
    values = dict(OPTION.findall(options))
    down = values.get("INCREMENT BY", "").startswith("-")
    near, far, before = ("MAXVALUE", "MINVALUE", ">") if down else ("MINVALUE", "MAXVALUE", "<")
    first = values.get(near, "-1" if down else "1")
    type_ = TYPE.search(options)
    limit = f"{far} {values[far]}" if far in values else f"NO {far}"
    yield f"ALTER SEQUENCE {sequence} {f'{type_[0]} ' if type_ else ''}{limit};"
    yield (
        f"SELECT setval({literal(sequence)}, {values.get('START WITH', first)}, false)"  # noqa: S608
        f" FROM {sequence} WHERE last_value {before} {first};"
    )


def renumbered(table: Name, here: Column, goal: Column) -> Iterator[str]:
    """Yield what changes a column between plain, serial and identity.

    All but NOT NULL is one text: between two, a row would come without a number.
    """
    if goal.not_null and not here.not_null:
        yield f"ALTER TABLE {table.sql} ALTER COLUMN {identifier(goal.name)} SET NOT NULL;"
    yield "\n".join(_steps(table, here, goal))


def _steps(table: Name, here: Column, goal: Column) -> Iterator[str]:
    column = f"ALTER TABLE {table.sql} ALTER COLUMN {identifier(goal.name)}"
    old, new = drawn_from(here), drawn_from(goal)
    present = [each for each in dict.fromkeys((here.sequence, old)) if each]
    makes = _makes(here, goal)
    takes_name = makes and new in present
    lost = here.serial and here.sequence not in {new, goal.sequence}
    dropped = new if takes_name else here.sequence if lost else ""
    undefaulted = not here.identity and here.default and (dropped or not goal.default)
    if undefaulted:
        yield f"{column} DROP DEFAULT;"
    name = made = Name.read(new) if new else table
    if takes_name:
        made = Name(name.schema, f"{name.name[:50]}_new")
    if makes:
        yield _made(column, made, goal)
    if makes or goal.serial:
        yield count_on(made.sql, goal.options, [(table, goal)], present)
    if here.identity and not goal.identity:
        yield f"{column} DROP IDENTITY;"
    elif dropped:
        yield f"DROP SEQUENCE {dropped};"
    if makes:
        yield from _put(made, name, f"{table.sql}.{identifier(goal.name)}" if goal.serial else "")
    if goal.default and (undefaulted or here.default != goal.default):
        yield f"{column} SET DEFAULT {goal.default};"


def _makes(here: Column, goal: Column) -> bool:
    """Tell whether a column gets a sequence that is not there."""
    if goal.identity:
        return not here.identity
    if goal.serial:
        return bool(here.identity) or here.sequence != goal.sequence
    return bool(here.identity) and drawn_from(goal) == here.sequence


def _made(column: str, sequence: Name, goal: Column) -> str:
    if not goal.identity:
        return f"CREATE SEQUENCE {sequence.sql} AS {goal.type};"
    options = f"SEQUENCE NAME {sequence.sql} {goal.options}"
    return f"{column} ADD GENERATED {IDENTITY[goal.identity]} AS IDENTITY ({options});"


def _put(sequence: Name, name: Name, owner: str) -> Iterator[str]:
    if sequence != name:
        yield f"ALTER SEQUENCE {sequence.sql} RENAME TO {identifier(name.name)};"
    if owner:
        yield f"ALTER SEQUENCE {name.sql} OWNED BY {owner};"

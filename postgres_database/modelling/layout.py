"""Python source text: string literals, calls over one or several lines, names. Pure."""

import keyword
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

WIDTH = 100
"""Columns of a line."""
INDENT = "    "
BIND = re.compile(r"(?<![:\w\\]):(?=[\w$])")
"""A colon that `sa.text` would take for the start of a parameter (SQLAlchemy, `sqlalchemy.text`)."""
ESCAPED = re.compile(r"\\(?=:[\w$]*(?![:\w$]))")
"""A backslash that `sa.text` would take for the escape of a colon."""
TAKEN = frozenset((*keyword.kwlist, *keyword.softkwlist, "Any", "Base", "DeclarativeBase", "Decimal",
                   "Mapped", "SqlType", "datetime", "mapped_column", "bool", "bytes", "dict", "float", "int", "list",
                   "metadata", "postgresql", "registry", "sa", "str", "type_annotation_map", "uuid"))  # fmt: skip
"""Names that the module uses itself, or that SQLAlchemy reserves in a declarative class."""


@dataclass(frozen=True)
class Call:
    """A call, or a tuple, as source text."""

    function: str
    """What is called; empty for a tuple."""
    arguments: list[Any] = field(default_factory=list)
    """Source text, or calls."""
    named: dict[str, Any] = field(default_factory=dict)

    def prefixed(self) -> list[tuple[str, Any]]:
        """Return all arguments, each after its prefix: `name=`, or nothing if it is positional."""
        return [("", each) for each in self.arguments] + [
            (f"{name}=", each) for name, each in self.named.items()
        ]


def text(value: str) -> str:
    """Return a string literal."""
    return f'"{"".join(map(_character, value))}"'


def _character(one: str) -> str:
    """Return a character as it is written between double quotes."""
    if one == '"':
        return '\\"'
    plain = one.isprintable() and one != "\\"
    return one if plain else one.encode("unicode_escape").decode("ascii")


def strings(values: Iterable[str]) -> str:
    """Return a list of string literals."""
    return f"[{', '.join(map(text, values))}]"


def mapping(values: dict[str, str]) -> str:
    """Return a dict of source texts by their names."""
    return "{" + ", ".join(f"{text(name)}: {value}" for name, value in values.items()) + "}"


def escaped(sql: str) -> str:
    """Return SQL for `sa.text`, its colons escaped, so that none starts a parameter."""
    return BIND.sub(r"\\:", ESCAPED.sub(r"\\\\", sql))


def sql_text(sql: str) -> str:
    """Return the call of `sa.text` that renders as this SQL, unchanged."""
    return f"sa.text({text(escaped(sql))})"


def laid_out(value: Any, before: str = "", depth: int = 0) -> str:
    """Return a value as source text: on one line if it fits, otherwise with one argument per line.

    Args:
        value: Source text, or a call.
        before: What precedes it on its line.
        depth: How many times its line is indented.
    """
    if not isinstance(value, Call):
        return f"{before}{value}"
    line = f"{before}{_inline(value)}"
    if len(line) + depth * len(INDENT) < WIDTH or not value.prefixed():
        return line
    inner = INDENT * (depth + 1)
    lines = [f"{inner}{laid_out(each, name, depth + 1)}," for name, each in value.prefixed()]
    return "\n".join([f"{before}{value.function}(", *lines, f"{INDENT * depth})"])


def _inline(value: Any) -> str:
    if not isinstance(value, Call):
        return str(value)
    inside = ", ".join(f"{name}{_inline(each)}" for name, each in value.prefixed())
    single = not value.function and len(value.arguments) == 1
    return f"{value.function}({inside}{',' if single else ''})"


def attribute(name: str, taken: Collection[str]) -> str:
    """Return the name of the class attribute for a column: the column's own, if that is valid and not taken."""
    base = re.sub(r"\W", "_", name).lstrip("_") or "column"
    return _free(f"column_{base}" if base[0].isdigit() else base, taken)


def class_name(name: str, taken: Collection[str]) -> str:
    """Return the name of the class for a table, or of the variable for a type, which is not taken."""
    words = re.split(r"[\W_]+", name)
    base = "".join(word[:1].upper() + word[1:] for word in words) or "Table"
    return _free(f"Table{base}" if base[0].isdigit() else base, taken)


def _free(name: str, taken: Collection[str]) -> str:
    while name in TAKEN or name in taken:
        name += "_"
    return name

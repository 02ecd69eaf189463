"""Python as it is laid out: texts, calls, names. Pure."""

import keyword
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

WIDTH = 100
INDENT = "    "
BIND = re.compile(r"(?<![:\w\\]):(?=[\w$])")
"""What `sa.text` would take for a parameter (SQLAlchemy, "text", on colons)."""
ESCAPED = re.compile(r"\\(?=:[\w$]*(?![:\w$]))")
"""A backslash that `sa.text` would take for the escape of a colon."""
TAKEN = frozenset((*keyword.kwlist, *keyword.softkwlist, "Any", "Base", "DeclarativeBase", "Decimal",
                   "Mapped", "SqlType", "datetime", "mapped_column", "bool", "bytes", "dict", "float", "int", "list",
                   "metadata", "postgresql", "registry", "sa", "str", "type_annotation_map", "uuid"))  # fmt: skip
"""What a name in the module must not hide, and what SQLAlchemy keeps for itself in a class."""


@dataclass(frozen=True)
class Call:
    """A call, a list or a tuple: what stands before the brackets and in them."""

    function: str
    """Empty: a tuple."""
    arguments: list[Any] = field(default_factory=list)
    """Python as text, or calls."""
    named: dict[str, Any] = field(default_factory=dict)

    def parts(self) -> list[tuple[str, Any]]:
        """Return what stands between the brackets: what is before each value, and the value."""
        return [("", each) for each in self.arguments] + [
            (f"{name}=", each) for name, each in self.named.items()
        ]


def text(value: str) -> str:
    """Return a string of Python."""
    return f'"{"".join(map(_character, value))}"'


def _character(one: str) -> str:
    """Return a character as it stands between double quotes."""
    if one == '"':
        return '\\"'
    plain = one.isprintable() and one != "\\"
    return one if plain else one.encode("unicode_escape").decode("ascii")


def strings(values: Iterable[str]) -> str:
    """Return a list of strings of Python."""
    return f"[{', '.join(map(text, values))}]"


def mapping(values: dict[str, str]) -> str:
    """Return a dict of Python."""
    return "{" + ", ".join(f"{text(name)}: {value}" for name, value in values.items()) + "}"


def escaped(sql: str) -> str:
    """Return SQL in which `sa.text` finds no parameter."""
    return BIND.sub(r"\\:", ESCAPED.sub(r"\\\\", sql))


def sql_text(sql: str) -> str:
    """Return SQL as an expression of SQLAlchemy, word by word."""
    return f"sa.text({text(escaped(sql))})"


def laid_out(value: Any, before: str = "", depth: int = 0) -> str:
    """Return a value as text: on one line if it fits, else an argument a line.

    Args:
        value: Text, or a call.
        before: What stands before it on its line.
        depth: How far its line is indented.
    """
    if not isinstance(value, Call):
        return f"{before}{value}"
    line = f"{before}{_inline(value)}"
    if len(line) + depth * len(INDENT) < WIDTH or not value.parts():
        return line
    inner = INDENT * (depth + 1)
    lines = [f"{inner}{laid_out(each, name, depth + 1)}," for name, each in value.parts()]
    return "\n".join([f"{before}{value.function}(", *lines, f"{INDENT * depth})"])


def _inline(value: Any) -> str:
    if not isinstance(value, Call):
        return str(value)
    inside = ", ".join(f"{name}{_inline(each)}" for name, each in value.parts())
    single = not value.function and len(value.arguments) == 1
    return f"{value.function}({inside}{',' if single else ''})"


def attribute(name: str, taken: Collection[str]) -> str:
    """Return the attribute of a class for a column: its name, if Python and SQLAlchemy take that."""
    base = re.sub(r"\W", "_", name).lstrip("_") or "column"
    return _free(f"column_{base}" if base[0].isdigit() else base, taken)


def class_name(name: str, taken: Collection[str]) -> str:
    """Return the name of a class or variable for a table or a type."""
    words = re.split(r"[\W_]+", name)
    base = "".join(word[:1].upper() + word[1:] for word in words) or "Table"
    return _free(f"Table{base}" if base[0].isdigit() else base, taken)


def _free(name: str, taken: Collection[str]) -> str:
    while name in TAKEN or name in taken:
        name += "_"
    return name

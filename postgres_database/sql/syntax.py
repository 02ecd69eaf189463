"""Statements as PostgreSQL's own parser reads them, by libpg_query. Pure: no database.

The only module that knows the library; it is loaded with the first text, because that takes longer than most commands.
Everybody else sees `Node`s. A text that the parser does not read is unknown: `read` raises an error, and only
`statements` goes on, to show where such a text would be cut.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

from postgres_database.sql.names import identifier
from postgres_database.sql.tokens import without_literals

COMMENTS = ("--", "/*")
NESTING = re.compile(
    r"[\w)\]…\"]\s*[-+*/<>=~!@#%^&|?]+|\b(?:UNION|INTERSECT|EXCEPT)\b", re.IGNORECASE
)
MOST_NESTED = 10_000
"""Operators of a statement: the library crashes on some times as many, which PostgreSQL refuses, too."""


class UnreadableError(Exception):
    """A text is not SQL to PostgreSQL's parser, or it reads no such text; why, in its words."""


class Node:
    """A node of a parse tree, with its tag; its fields are those of `parsenodes.h` in PostgreSQL's source."""

    __slots__ = ("_message", "tag")

    def __init__(self, message: Any) -> None:
        """Take what the library returns."""
        self._message = _library().unwrap_node(message)
        self.tag: str = self._message.DESCRIPTOR.name

    def __getattr__(self, field: str) -> Any:
        """Return a field: a value, the name of one in an enum, a node, None, or a list of nodes."""
        about = self._message.DESCRIPTOR.fields_by_name.get(field)
        if about is None:
            raise AttributeError(f"{self.tag} has no {field}")
        value = getattr(self._message, field)
        if about.enum_type:
            return about.enum_type.values_by_number[value].name
        if not about.message_type:
            return value
        if isinstance(value, Iterable):
            return [Node(each) for each in value]
        return Node(value) if self._message.HasField(field) else None

    @property
    def definition(self) -> Any:
        """The field `def`, which is a word of Python."""
        return self.__getattr__("def")

    def find(self, *tags: str) -> "Iterator[Node]":
        """Yield the nodes with some tags in this one, however deep, itself included; outer ones first."""
        for _, message in _library().walk(self._message):
            if message.DESCRIPTOR.name in tags:
                yield Node(message)

    def sql(self) -> str:
        """Return the text of an expression or a type, with its names in quotes where they need them."""
        frame = _library().parse("SELECT NULL::int")
        cast = frame.stmts[0].stmt.select_stmt.target_list[0].res_target.val
        if self.tag == "TypeName":
            cast.type_cast.type_name.CopyFrom(self._message)
        else:
            field = next(
                each for each in cast.DESCRIPTOR.fields if each.message_type.name == self.tag
            )
            getattr(cast, field.name).CopyFrom(self._message)
        try:
            text: str = _library().deparse(frame).removeprefix("SELECT ")
        except _library().PgQueryError as error:
            raise UnreadableError(str(error)) from error
        return text.removeprefix("NULL::") if self.tag == "TypeName" else text


@cache
def _library() -> Any:
    import postgast  # noqa: PLC0415 - see above

    return postgast


def read(sql: str) -> Node:
    """Return a statement as a tree.

    Raises:
        UnreadableError: It is not one statement that the parser reads.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - see above

    if len(sql) > MOST_NESTED and len(NESTING.findall(without_literals(sql))) > MOST_NESTED:
        raise UnreadableError("it is nested too deeply")
    try:
        (statement,) = _library().parse(_text(sql)).stmts
    except _library().PgQueryError as error:
        raise UnreadableError(str(error)) from error
    except DecodeError as error:
        raise UnreadableError("it is nested too deeply") from error
    except ValueError as error:
        raise UnreadableError("it is not one statement") from error
    return Node(statement.stmt)


def read_constraint(definition: str) -> Node:
    """Return a constraint, such as `CHECK (a > 0) NOT VALID`, as a tree; see `read`."""
    node: Node = read(f"ALTER TABLE t ADD {definition}").cmds[0].definition
    return node


def name(node: Node) -> str:
    """Return the name of a table as SQL has it: that of a RangeVar."""
    return dotted(part for part in (node.schemaname, node.relname) if part)


def dotted(parts: Iterable[str]) -> str:
    """Return a name from its parts."""
    return ".".join(map(identifier, parts))


def words(nodes: Iterable[Node]) -> list[str]:
    """Return the strings of String nodes."""
    return [node.sval for node in nodes]


def statements(text: str) -> list[str]:
    """Split SQL into its statements, without comments, each on one line outside quotes.

    They are cut where the parser ends them. What it does not read is cut at each semicolon outside quotes and
    parentheses instead; but the body of a function that is not quoted (BEGIN ATOMIC … END) stays whole if it is read.
    """
    library = _library()
    try:
        pieces = library.split(_text(text))
    except UnreadableError:
        pieces = [text]
    except library.PgQueryError:
        pieces = _cut(text)
    return [line for line in map(_flat, pieces) if line]


def _cut(text: str) -> list[str]:
    data = text.encode()
    ends, depth = [-1], 0
    try:
        for word, start, _ in _tokens(text):
            depth += (word in "([") - (word in ")]")
            if word == ";" and depth <= 0:
                ends.append(start)
                depth = 0
    except _library().PgQueryError:  # such as a quote that is not closed
        return [text]
    pieces = [data[end + 1 : stop].decode() for end, stop in pairwise([*ends, len(data)])]
    found: list[str] = []
    while pieces:
        atomic = re.search(r"\bATOMIC\b", pieces[0], re.IGNORECASE)
        wholes = (
            count for count in range(1, len(pieces) + 1) if _is_read(";".join(pieces[:count]))
        )
        count = next(wholes, 1) if atomic else 1
        found.append(";".join(pieces[:count]))
        pieces = pieces[count:]
    return found


def _is_read(sql: str) -> bool:
    try:
        read(sql)
    except UnreadableError:
        return False
    return True


def _text(text: str) -> str:
    """Return a text; raise UnreadableError for one that the library would read in part only, or not at all."""
    if "\0" in text:
        raise UnreadableError("it contains a null character")
    try:
        text.encode()
    except UnicodeError as error:
        raise UnreadableError(str(error)) from error
    return text


def _tokens(sql: str) -> Iterator[tuple[str, int, int]]:
    """Yield the tokens of a text with where they begin and end, in bytes; no comments."""
    data = sql.encode()
    for token in _library().scan(sql).tokens:
        word = data[token.start : token.end].decode()
        if not word.startswith(COMMENTS):
            yield word, token.start, token.end


def _flat(sql: str) -> str:
    """Return SQL without comments and with one space wherever there is space outside quotes."""
    try:
        tokens = [*_tokens(_text(sql))]
    except (UnreadableError, _library().PgQueryError):
        return sql.strip()
    pieces, last = [], None
    for word, start, end in tokens:
        pieces += [word] if last in {None, start} else [" ", word]
        last = end
    return "".join(pieces)


def after_name(sql: str, location: int) -> str:
    """Return what follows a name.

    Args:
        sql: A statement.
        location: Where the name, or the word CONSTRAINT before it, begins, in bytes, as nodes have it.
    """
    tokens = [token for token in _tokens(sql) if token[1] >= location]
    place = 2 if tokens[0][0].upper() == "CONSTRAINT" else 1
    while tokens[place][0] == ".":
        place += 2
    place += tokens[place][0] == "*"
    return sql.encode()[tokens[place][1] :].decode()

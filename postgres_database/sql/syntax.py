"""Statements as PostgreSQL's own parser reads them, by libpg_query. Pure: no database.

The only module that imports the library (`postgast`); it does so at the first use, because the import takes longer than
most commands. Other modules see `Node`s. Text that the parser rejects raises UnreadableError from `read`;
`statements` splits it by its tokens instead.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

from postgres_database.sql.names import identifier
from postgres_database.sql.tokens import without_literals

COMMENTS = ("--", "/*")
NESTING = re.compile(
    r"[\w)\]…\"]\s*[-+*/<>=~!@#%^&|?]+|\b(?:UNION|INTERSECT|EXCEPT)\b", re.IGNORECASE
)
KEPT = 10_000
"""Foreign keys that are not parsed again."""
MOST_NESTED = 10_000
"""Most operators in a statement. The library crashes at a few times this number; PostgreSQL rejects as many, too."""


class UnreadableError(Exception):
    """PostgreSQL's parser rejects the text, or the text cannot be given to it; the message is the reason."""


class Node:
    """A node of a parse tree, with its tag; its fields are those of `parsenodes.h` in PostgreSQL's source."""

    __slots__ = ("_message", "tag")

    def __init__(self, message: Any) -> None:
        """Wrap a protobuf message of the library."""
        self._message = _library().unwrap_node(message)
        self.tag: str = self._message.DESCRIPTOR.name

    def __getattr__(self, field: str) -> Any:
        """Return a field: a scalar, the name of an enum value, a node, None for an unset node, or a list of nodes."""
        descriptor = self._message.DESCRIPTOR.fields_by_name.get(field)
        if descriptor is None:
            raise AttributeError(f"{self.tag} has no {field}")
        value = getattr(self._message, field)
        if descriptor.enum_type:
            return descriptor.enum_type.values_by_number[value].name
        if not descriptor.message_type:
            return value
        if isinstance(value, Iterable):
            return [Node(each) for each in value]
        return Node(value) if self._message.HasField(field) else None

    @property
    def definition(self) -> Any:
        """The field `def`, which is a keyword in Python."""
        return self.__getattr__("def")

    def find(self, *tags: str) -> "Iterator[Node]":
        """Yield this node and all nodes below it that have one of the tags; outer nodes first."""
        for _, message in _library().walk(self._message):
            if message.DESCRIPTOR.name in tags:
                yield Node(message)

    def sql(self) -> str:
        """Return the SQL of an expression or a type, with names quoted where needed.

        Raises:
            UnreadableError: The library cannot write it.
        """
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
    """Parse one statement.

    Raises:
        UnreadableError: The text is not exactly one statement that the parser accepts.
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
    """Parse a table constraint, such as `CHECK (a > 0) NOT VALID`; raises as `read` does."""
    node: Node = read(f"ALTER TABLE t ADD {definition}").cmds[0].definition
    return node


@lru_cache(maxsize=KEPT)
def referenced(definition: str) -> str:
    """Return the table that a foreign key references, quoted for SQL where needed; raises as `read` does."""
    return name(read_constraint(definition).pktable)


def name(node: Node) -> str:
    """Return the name of the table in a RangeVar, quoted for SQL where needed."""
    return dotted(part for part in (node.schemaname, node.relname) if part)


def dotted(parts: Iterable[str]) -> str:
    """Join the parts of a name by dots, quoted for SQL where needed."""
    return ".".join(map(identifier, parts))


def words(nodes: Iterable[Node]) -> list[str]:
    """Return the strings of String nodes."""
    return [node.sval for node in nodes]


def statements(text: str) -> list[str]:
    """Split SQL into its statements. Comments are removed, and white space outside quotes becomes one space.

    The parser decides where statements end. Text that it rejects is split at each semicolon outside quotes and
    parentheses instead; a function with an unquoted body (BEGIN ATOMIC … END) stays whole if the parser accepts it.
    Text that cannot be split, such as one with an unclosed quote, is returned in one piece.
    """
    library = _library()
    try:
        pieces = library.split(_text(text))
    except UnreadableError:
        pieces = [text]
    except library.PgQueryError:
        pieces = _split_by_tokens(text)
    return [line for line in map(_on_one_line, pieces) if line]


def _split_by_tokens(text: str) -> list[str]:
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
    result: list[str] = []
    while pieces:
        is_atomic = re.search(r"\bATOMIC\b", pieces[0], re.IGNORECASE)
        lengths = (
            length
            for length in range(1, len(pieces) + 1)
            if _is_statement(";".join(pieces[:length]))
        )
        length = next(lengths, 1) if is_atomic else 1
        result.append(";".join(pieces[:length]))
        pieces = pieces[length:]
    return result


def _is_statement(sql: str) -> bool:
    try:
        read(sql)
    except UnreadableError:
        return False
    return True


def _text(text: str) -> str:
    """Return the text, or raise UnreadableError if the library would truncate it or cannot take it."""
    if "\0" in text:
        raise UnreadableError("it contains a null character")
    try:
        text.encode()
    except UnicodeError as error:
        raise UnreadableError(str(error)) from error
    return text


def _tokens(sql: str) -> Iterator[tuple[str, int, int]]:
    """Yield each token except comments with its start and end, in bytes."""
    data = sql.encode()
    for token in _library().scan(sql).tokens:
        word = data[token.start : token.end].decode()
        if not word.startswith(COMMENTS):
            yield word, token.start, token.end


def _on_one_line(sql: str) -> str:
    """Return SQL without comments and with white space outside quotes replaced by one space."""
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
    """Return the text that follows a name in a statement.

    Args:
        sql: A statement.
        location: Where the name, or the keyword CONSTRAINT before it, begins: the byte offset from a node.
    """
    tokens = [token for token in _tokens(sql) if token[1] >= location]
    place = 2 if tokens[0][0].upper() == "CONSTRAINT" else 1
    while tokens[place][0] == ".":
        place += 2
    place += tokens[place][0] == "*"
    return sql.encode()[tokens[place][1] :].decode()

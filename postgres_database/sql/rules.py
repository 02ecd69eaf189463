"""From a constraint, an index or a column to what it asks of rows. Pure: no database.

PostgreSQL manual, ALTER TABLE, CREATE INDEX. Names and expressions are text for SQL.
"""

from dataclasses import dataclass
from textwrap import shorten

from postgres_database.sql import syntax
from postgres_database.sql.names import identifier
from postgres_database.sql.syntax import Node

FILLED = {"CONSTR_DEFAULT", "CONSTR_IDENTITY", "CONSTR_GENERATED"}
"""What gives a new column its values."""
NEEDED = {"CONSTR_NOTNULL", "CONSTR_PRIMARY"}
SERIAL = {"smallserial", "serial", "bigserial", "serial2", "serial4", "serial8"}
SHOWN = 80  # characters of an expression


@dataclass(frozen=True)
class NotNull:
    """Every row has a value."""

    column: str

    def said(self) -> tuple[str, str]:
        """Return what is wrong with a row, and with several."""
        return f"has no value in {self.column}", f"have no value in {self.column}"


@dataclass(frozen=True)
class Check:
    """An expression is not false."""

    expression: str
    inherited: bool = True

    def said(self) -> tuple[str, str]:
        """Return what is wrong with a row, and with several."""
        text = f"CHECK ({shorten(self.expression, SHOWN, placeholder=' …')})"
        return f"breaks {text}", f"break {text}"


@dataclass(frozen=True)
class Unique:
    """No two rows are equal."""

    elements: tuple[str, ...]
    where: str = ""
    nulls_equal: bool = False
    unless: str = ""
    """An index that, if it is there, makes the statement do nothing."""

    def said(self) -> tuple[str, str]:
        """Return what is wrong with a row, and with several."""
        where = f" WHERE {shorten(self.where, SHOWN, placeholder=' …')}" if self.where else ""
        text = f"equal in ({', '.join(self.elements)}){where}"
        return f"is {text}", f"are {text}"


@dataclass(frozen=True)
class ForeignKey:
    """What a row points to is there."""

    columns: tuple[str, ...]
    table: str
    others: tuple[str, ...] = ()
    """Columns there; none for the primary key."""
    full: bool = False

    def said(self) -> tuple[str, str]:
        """Return what is wrong with a row, and with several."""
        text = f"to nothing in {self.table} by ({', '.join(self.columns)})"
        return f"points {text}", f"point {text}"


@dataclass(frozen=True)
class Cast:
    """Values become another type."""

    column: str
    type: str
    using: str = ""

    def said(self) -> tuple[str, str]:
        """Return what is wrong with a row, and with several."""
        text = f"a value in {self.column} that does not become {self.type}"
        return f"holds {text}", f"hold {text}"


@dataclass(frozen=True)
class NoRows:
    """There is no row, because a new column is to have a value and gets none."""

    column: str
    type: str

    def said(self) -> tuple[str, str]:
        """Return what is wrong with a row, and with several."""
        text = f"no value for the new column {self.column}, which is NOT NULL without a default"
        return f"has {text}", f"have {text}"


@dataclass(frozen=True)
class Stored:
    """A constraint that is there, and not validated, holds."""

    name: str


KINDS = {
    NotNull: "NOT NULL",
    Check: "CHECK",
    Unique: "UNIQUE",
    ForeignKey: "FOREIGN KEY",
    Cast: "TYPE",
    NoRows: "NOT NULL",
}
"""What people call a rule."""
Rule = NotNull | Check | Unique | ForeignKey | Cast | NoRows


def constraint(node: Node) -> list[Rule]:
    """Return what a constraint asks of rows, once it is validated.

    Raises:
        UnreadableError: An expression cannot be written down.
    """
    names = columns(node.keys)
    found: list[Rule] = []
    match node.contype:
        case "CONSTR_NOTNULL":
            found = [NotNull(*names)]
        case "CONSTR_CHECK":
            filled = "" if node.is_no_inherit else _filled(node.raw_expr)
            check = Check(node.raw_expr.sql(), inherited=not node.is_no_inherit)
            found = [NotNull(filled) if filled else check]
        case "CONSTR_UNIQUE" | "CONSTR_PRIMARY" if names and not node.without_overlaps:
            found = [Unique(names, nulls_equal=node.nulls_not_distinct)]
            if node.contype == "CONSTR_PRIMARY":
                found = [*map(NotNull, names), *found]
        case "CONSTR_FOREIGN" if not node.fk_with_period:
            others, full = columns(node.pk_attrs), node.fk_matchtype == "f"
            found = [ForeignKey(columns(node.fk_attrs), syntax.name(node.pktable), others, full)]
    return found


def _filled(expression: Node) -> str:
    """Return the column of which an expression says that it has a value, and no more; else nothing."""
    if expression.tag != "NullTest" or expression.nulltesttype != "IS_NOT_NULL":
        return ""
    fields = expression.arg.fields if expression.arg.tag == "ColumnRef" else []
    return columns(fields)[0] if len(fields) == 1 and fields[0].tag == "String" else ""


def columns(nodes: list[Node]) -> tuple[str, ...]:
    """Return the columns of a list, for SQL."""
    return tuple(map(identifier, syntax.words(nodes)))


def index(node: Node, unless: str = "") -> Unique:
    """Return what a unique index asks of rows.

    Args:
        node: An IndexStmt.
        unless: The name of an index that makes the statement do nothing.
    """
    where = node.where_clause.sql() if node.where_clause else ""
    return Unique(tuple(map(_element, node.index_params)), where, node.nulls_not_distinct, unless)


def _element(node: Node) -> str:
    """Return an element of an index without what only concerns its order."""
    text = identifier(node.name) if node.name else node.expr.sql()
    if node.expr and node.expr.tag != "FuncCall":
        text = f"({text})"
    collation = syntax.dotted(syntax.words(node.collation))
    return f"{text} COLLATE {collation}" if collation else text


def new_column(node: Node) -> list[Rule]:
    """Return what a new column asks of rows."""
    needed = any(each.contype in NEEDED for each in node.constraints)
    return (
        [NoRows(identifier(node.colname), node.type_name.sql())]
        if needed and not is_filled(node)
        else []
    )


def is_filled(node: Node) -> bool:
    """Tell whether a new column gets values by itself."""
    given = (each for each in node.constraints if each.contype in FILLED)
    return node.type_name.names[-1].sval in SERIAL or any(
        each.contype != "CONSTR_DEFAULT"
        or not (each.raw_expr.tag == "A_Const" and each.raw_expr.isnull)
        for each in given
    )

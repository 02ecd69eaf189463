"""Reads from a constraint, an index or a column the rules that rows must satisfy. Pure: no database.

PostgreSQL manual, ALTER TABLE, CREATE INDEX. Names and expressions in a rule are SQL text, quoted where needed.
"""

from dataclasses import dataclass
from textwrap import shorten

from postgres_database.sql import syntax
from postgres_database.sql.names import identifier
from postgres_database.sql.syntax import Node

FILLED = {"CONSTR_DEFAULT", "CONSTR_IDENTITY", "CONSTR_GENERATED"}
"""Clauses of a new column that give it values in existing rows."""
NOT_NULL = {"CONSTR_NOTNULL", "CONSTR_PRIMARY"}
SERIAL = {"smallserial", "serial", "bigserial", "serial2", "serial4", "serial8"}
LONGEST_SHOWN = 80  # characters of an expression in a message


@dataclass(frozen=True)
class NotNull:
    """Every row has a value in the column."""

    column: str
    inherited: bool = True
    """False for a constraint with NO INHERIT."""

    def violation(self) -> tuple[str, str]:
        """Return the predicate of a message about violating rows: for one row, for several."""
        return f"has no value in {self.column}", f"have no value in {self.column}"


@dataclass(frozen=True)
class Check:
    """The expression is true or NULL."""

    expression: str
    inherited: bool = True
    """False for a constraint with NO INHERIT."""

    def violation(self) -> tuple[str, str]:
        """Return the predicate of a message about violating rows: for one row, for several."""
        text = f"CHECK ({shorten(self.expression, LONGEST_SHOWN, placeholder=' …')})"
        return f"breaks {text}", f"break {text}"


@dataclass(frozen=True)
class Unique:
    """No two rows are equal in all elements."""

    elements: tuple[str, ...]
    """Columns or expressions."""
    where: str = ""
    """The condition of a partial index; empty: all rows."""
    nulls_equal: bool = False
    """True for NULLS NOT DISTINCT."""
    existing_index: str = ""
    """From IF NOT EXISTS: if an index of this name exists, the statement does nothing. Empty without that clause."""

    def violation(self) -> tuple[str, str]:
        """Return the predicate of a message about violating rows: for one row, for several."""
        where = (
            f" WHERE {shorten(self.where, LONGEST_SHOWN, placeholder=' …')}" if self.where else ""
        )
        text = f"equal in ({', '.join(self.elements)}){where}"
        return f"is {text}", f"are {text}"


@dataclass(frozen=True)
class ForeignKey:
    """The row that each row references exists."""

    columns: tuple[str, ...]
    table: str
    """The referenced table."""
    referenced: tuple[str, ...] = ()
    """Its columns; empty: its primary key."""
    full: bool = False
    """True for MATCH FULL."""

    def violation(self) -> tuple[str, str]:
        """Return the predicate of a message about violating rows: for one row, for several."""
        text = f"to nothing in {self.table} by ({', '.join(self.columns)})"
        return f"points {text}", f"point {text}"


@dataclass(frozen=True)
class Cast:
    """Every value of the column can be cast to the type."""

    column: str
    type: str
    using: str = ""
    """The expression of USING; empty: a plain cast."""

    def violation(self) -> tuple[str, str]:
        """Return the predicate of a message about violating rows: for one row, for several."""
        text = f"a value in {self.column} that does not become {self.type}"
        return f"holds {text}", f"hold {text}"


@dataclass(frozen=True)
class NoRows:
    """The table has no rows: a new column is NOT NULL, and nothing gives it values."""

    column: str
    type: str

    def violation(self) -> tuple[str, str]:
        """Return the predicate of a message about violating rows: for one row, for several."""
        text = f"no value for the new column {self.column}, which is NOT NULL without a default"
        return f"has {text}", f"have {text}"


@dataclass(frozen=True)
class Stored:
    """Rows satisfy a NOT VALID constraint of the target, whose definition only the target knows."""

    name: str


KINDS = {
    NotNull: "NOT NULL",
    Check: "CHECK",
    Unique: "UNIQUE",
    ForeignKey: "FOREIGN KEY",
    Cast: "TYPE",
    NoRows: "NOT NULL",
}
"""The SQL term for each kind of rule."""
Rule = NotNull | Check | Unique | ForeignKey | Cast | NoRows


def constraint(node: Node) -> list[Rule]:
    """Return the rules that rows must satisfy when a constraint is validated.

    Args:
        node: A Constraint. One with WITHOUT OVERLAPS or PERIOD, and an exclusion constraint, gives no rules.

    Raises:
        UnreadableError: An expression cannot be written as SQL.
    """
    names = columns(node.keys)
    result: list[Rule] = []
    match node.contype:
        case "CONSTR_NOTNULL":
            result = [NotNull(names[0], inherited=not node.is_no_inherit)]
        case "CONSTR_CHECK":
            column = "" if node.is_no_inherit else _not_null_column(node.raw_expr)
            check = Check(node.raw_expr.sql(), inherited=not node.is_no_inherit)
            result = [NotNull(column) if column else check]
        case "CONSTR_UNIQUE" | "CONSTR_PRIMARY" if names and not node.without_overlaps:
            result = [Unique(names, nulls_equal=node.nulls_not_distinct)]
            if node.contype == "CONSTR_PRIMARY":
                result = [*map(NotNull, names), *result]
        case "CONSTR_FOREIGN" if not node.fk_with_period:
            referenced, full = columns(node.pk_attrs), node.fk_matchtype == "f"
            table = syntax.name(node.pktable)
            result = [ForeignKey(columns(node.fk_attrs), table, referenced, full)]
    return result


def _not_null_column(expression: Node) -> str:
    """Return the column if an expression is `column IS NOT NULL`; otherwise an empty string."""
    if expression.tag != "NullTest" or expression.nulltesttype != "IS_NOT_NULL":
        return ""
    fields = expression.arg.fields if expression.arg.tag == "ColumnRef" else []
    return columns(fields)[0] if len(fields) == 1 and fields[0].tag == "String" else ""


def columns(nodes: list[Node]) -> tuple[str, ...]:
    """Return the names in a list of String nodes, quoted for SQL where needed."""
    return tuple(map(identifier, syntax.words(nodes)))


def index(node: Node, existing_index: str = "") -> Unique:
    """Return the rule that rows must satisfy when a unique index is built.

    Args:
        node: An IndexStmt.
        existing_index: See `Unique`.

    Raises:
        UnreadableError: An expression cannot be written as SQL.
    """
    where = node.where_clause.sql() if node.where_clause else ""
    elements = tuple(map(element, node.index_params))
    return Unique(elements, where, node.nulls_not_distinct, existing_index)


def element(node: Node) -> str:
    """Return an element of an index as SQL, without sort order and operator class."""
    text = identifier(node.name) if node.name else node.expr.sql()
    if node.expr and node.expr.tag != "FuncCall":
        text = f"({text})"
    collation = syntax.dotted(syntax.words(node.collation))
    return f"{text} COLLATE {collation}" if collation else text


def new_column(node: Node) -> list[Rule]:
    """Return the rules that rows must satisfy when a column is added: NoRows if it is NOT NULL without values."""
    not_null = any(constraint.contype in NOT_NULL for constraint in node.constraints)
    if not not_null or is_filled(node):
        return []
    return [NoRows(identifier(node.colname), node.type_name.sql())]


def is_filled(node: Node) -> bool:
    """Tell whether existing rows get values in a new column: it is serial, identity, generated or has a default."""
    clauses = (clause for clause in node.constraints if clause.contype in FILLED)
    return node.type_name.names[-1].sval in SERIAL or any(
        clause.contype != "CONSTR_DEFAULT"
        or not (clause.raw_expr.tag == "A_Const" and clause.raw_expr.isnull)
        for clause in clauses
    )

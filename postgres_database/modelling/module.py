"""Tables → the text of a module of models. Pure.

A table becomes a declarative class or, on request, a `Table`. One without a primary key is always a `Table`, because no
class can be mapped to it (SQLAlchemy, "ORM Mapped Class Overview").
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from postgres_database.modelling import column_types, layout, parts
from postgres_database.modelling.described import Comments
from postgres_database.modelling.layout import Call
from postgres_database.schema.catalog import Catalog, Table
from postgres_database.schema.numbering import drawn_from
from postgres_database.sql.names import Name

HEAD = '''"""The tables of the database, as PostgreSQL has them."""

'''
IMPORTS = {
    "datetime.": "import datetime",
    "uuid.": "import uuid",
    "Decimal": "from decimal import Decimal",
    "Any": "from typing import Any",
}
LIBRARY = {
    "sa.": "import sqlalchemy as sa",
    "postgresql.": "from sqlalchemy.dialects import postgresql",
    "mapped_column(": "from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column",
}
BASE = '''class Base(DeclarativeBase):
    """What all models share."""


metadata = Base.metadata
'''
TABLES = "metadata = sa.MetaData()\n"
SQL_TYPE = '''

class SqlType(sa.types.UserDefinedType[Any]):
    """A type by its name in PostgreSQL, for which SQLAlchemy has no class."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        """Name the type."""
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        """Return the type as CREATE TABLE has it."""
        return self.name.replace("%", "%%")  # the driver takes one for a parameter
'''


@dataclass(frozen=True)
class Contents:
    """What a module is written from."""

    catalog: Catalog
    comments: Comments
    tables: Collection[Name]
    """The tables that are written."""
    as_tables: bool = False
    """Whether every table becomes a `Table`."""
    own_types: bool = True
    """Whether the module defines enums and domains; otherwise columns only name them, and the history creates them."""
    omitted: Collection[tuple[Name, str]] = ()
    """Constraints, indexes and columns' defaults that are not declared, as `completed.unlike` returns them."""
    statements: Mapping[Name, Sequence[str]] = field(default_factory=dict)
    """By table, the statements that run after CREATE TABLE."""


def written(contents: Contents) -> str:
    """Return the text of the module."""
    tables = [contents.catalog.tables[name] for name in sorted(contents.tables)]
    used = {column_types.bare(column.type) for table in tables for column in table.columns.values()}
    types_used = used if contents.own_types else set()
    writer = _Writer(contents, column_types.shared_types(contents.catalog, types_used))
    body = "".join(writer.table(table) for table in tables) + writer.events(tables)
    mapped = "(Base)" in body
    types = "".join(
        f"\n{layout.laid_out(call, f'{writer.shared.names[sql]} = ')}\n"
        for sql, call in writer.shared.definitions.items()
    )
    rest = (BASE if mapped else TABLES) + (SQL_TYPE if "SqlType(" in body else "")
    rest += (types and f"\n{types}") + body
    uses = rest + ("mapped_column(" if mapped else "")
    imports = ["\n".join(line for sign, line in each.items() if sign in uses) + "\n\n"
               for each in (IMPORTS, LIBRARY)]  # fmt: skip
    gap = "\n" if mapped else ""
    return HEAD + "".join(each for each in imports if each.strip()) + gap + rest


class _Writer:
    """Writes tables one after another, each under a name not used before in the module."""

    def __init__(self, contents: Contents, shared: column_types.Shared) -> None:
        self._contents = contents
        self.shared = shared
        self._taken = set(shared.names.values())
        self._names: dict[Name, str] = {}

    def table(self, table: Table) -> str:
        """Return a table as a class, or as a Table."""
        mapped = not self._contents.as_tables and parts.has_key(table)
        schema = table.name.given_schema or ""
        name = layout.class_name(table.name.name, ())
        if name in self._taken:
            name = layout.class_name(f"{schema} {table.name.name}", self._taken)
        if not mapped:
            name = layout.attribute(f"{name[:1].lower()}{name[1:]}_table", self._taken)
        self._taken.add(name)
        self._names[table.name] = name if not mapped else f"{name}.__table__"
        columns = self._columns(table, mapped=mapped)
        settings = parts.settings(table, self._contents.comments.get((table.name, "")))
        if not mapped:
            arguments = [layout.text(table.name.name), "metadata", *columns, *self._rules(table)]
            call = Call("sa.Table", arguments, {**settings})
            return f"\n{layout.laid_out(call, f'{name} = ')}\n"
        arguments = [*self._rules(table), *([layout.mapping(settings)] if settings else [])]
        lines = [f"__tablename__ = {layout.text(table.name.name)}"]
        if arguments == [layout.mapping(settings)]:
            lines.append(f"__table_args__ = {arguments[0]}")
        elif arguments:
            lines.append(layout.laid_out(Call("", arguments), "__table_args__ = ", 1))
        inner = layout.INDENT
        text = "".join(f"{inner}{line}\n" for line in lines)
        return f"\n\nclass {name}(Base):\n{text}\n" + "".join(
            f"{inner}{each}\n" for each in columns
        )

    def _columns(self, table: Table, *, mapped: bool) -> list[object]:
        """Return columns: lines of a class, or arguments of a Table."""
        columns: list[object] = []
        taken = {*self._taken}
        for column in table.columns.values():
            spelled = column_types.spelled(column.type, column.collation, self.shared)
            comment = self._contents.comments.get((table.name, column.name))
            plain = (table.name, column.name) in self._contents.omitted
            each = parts.column(table, column, spelled, comment, plain=plain)
            python = "int" if column.serial else spelled.python
            if not mapped:
                if column.not_null:
                    each.named["nullable"] = "False"
                columns.append(Call("sa.Column", each.arguments, each.named))
                continue
            if python == "Any":
                each.named["nullable"] = str(not column.not_null)
            optional = "" if column.not_null or python == "Any" else " | None"
            name = layout.attribute(column.name, taken)
            taken.add(name)
            call = Call("mapped_column", each.arguments, each.named)
            columns.append(layout.laid_out(call, f"{name}: Mapped[{python}{optional}] = ", 1))
        return columns

    def _rules(self, table: Table) -> list[object]:
        """Return the constraints and indexes that SQLAlchemy can express and that are not omitted."""
        constraints = (
            parts.constraint(each, self._contents.tables)
            for each in table.constraints.values()
            if (table.name, each.name) not in self._contents.omitted
            and not (each.kind == "p" and parts.usual_key(table))
        )
        indexes = (
            parts.index(each)
            for name, each in table.indexes.items()
            if (table.name, name) not in self._contents.omitted
        )
        return [each for each in chain(constraints, indexes) if each is not None]

    def events(self, tables: Sequence[Table]) -> str:
        """Return what follows the tables: dependencies that order their creation, and statements after CREATE TABLE."""
        owners = {
            column.sequence: table.name
            for table in tables
            for column in table.columns.values()
            if column.sequence
        }
        lines = []
        for table in tables:
            here = self._names[table.name]
            drawn = (owners.get(drawn_from(column)) for column in table.columns.values())
            statements = self._contents.statements.get(table.name, ())
            referred = parts.FOREIGN.findall("\n".join(statements))
            first = {*map(Name.read, [*table.parents, *referred]), *filter(None, drawn)}
            first.discard(table.name)
            lines += [
                f"{here}.add_is_dependent_on({self._names[name]})"
                for name in sorted(first & self._names.keys())
            ]
            for statement in statements:
                sql = statement.removesuffix(";").replace("%", "%%")
                ddl = Call("sa.DDL", [layout.text(sql)])
                lines.append(
                    layout.laid_out(Call("sa.event.listen", [here, '"after_create"', ddl]))
                )
        return "\n\n" * bool(lines) + "".join(f"{line}\n" for line in lines)

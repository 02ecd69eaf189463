"""New columns whose values the online stage writes in batches, not the statement that adds them. Pure."""

import re
from dataclasses import replace

import sqlalchemy as sa
from alembic.operations import MigrateOperation
from alembic.operations.ops import AddColumnOp

from postgres_database.drafting.online_blocks import Tables
from postgres_database.history.operations import FillColumns, Note, RunSql
from postgres_database.proving.effects import Effects
from postgres_database.schema import alter
from postgres_database.schema.catalog import Catalog, Column
from postgres_database.sql.names import IDENTIFIER, QUALIFIED, Name, bare, identifier

ADD_COLUMN = re.compile(
    rf"ALTER TABLE (?P<table>{QUALIFIED}) ADD COLUMN (?P<column>{IDENTIFIER}) .*;$",
    re.DOTALL,
)
FILL_IN = """What do existing rows get? Put a SQL expression in the place of None, such as "'none'" or
"lower(name)"; the application must give new rows a value before this is run.
If the table is empty, None may stay."""


class Fills:
    """New columns that the first stage adds nullable and without values, and the second stage fills in batches."""

    def __init__(self, goal: Catalog, existing: Tables) -> None:
        self._goal = goal
        self._existing = existing
        self.unknown: dict[Name, list[str]] = {}
        """By table, the columns whose values a person must give, by an expression in the script."""
        self._by_default: list[FillColumns] = []
        self.known: set[tuple[Name, str]] = set()
        """Tables and columns that are filled with the column's default."""

    def instead(self, op: MigrateOperation, effects: Effects) -> list[MigrateOperation] | None:
        """Return what adds the column of `op` without values; None if `op` adds none, or adds one without a rewrite."""
        name, column = self._added(op)
        if name not in self._existing or column is None or column.generated or column.identity:
            return None
        if not (effects.rewritten or effects.unknown if column.default else column.not_null):
            return None
        empty = replace(column, not_null=False, default="", serial=False, sequence="")
        add: MigrateOperation = RunSql(alter.add_column(name, empty))
        if isinstance(op, AddColumnOp):
            plain = sa.Column(op.column.name, op.column.type, comment=op.column.comment)
            add = AddColumnOp(op.table_name, plain, schema=op.schema)
        item = identifier(column.name)
        if not column.default:
            self.unknown.setdefault(name, []).append(column.name)
            return [add]
        self.known.add((name, column.name))
        values = {column.name: column.default}
        self._by_default.append(
            FillColumns(name.name, values, where=f"{item} IS NULL", schema=name.given_schema)
        )
        alter_table = f"ALTER TABLE {name.sql} ALTER COLUMN {item}"
        owned = f"CREATE SEQUENCE {column.sequence} AS {column.type} OWNED BY {name.sql}.{item};"
        has_sequence = isinstance(op, RunSql) and "nextval(" in op.text
        sequence = [RunSql(owned)] if column.serial and not has_sequence else []
        return [add, *sequence, RunSql(f"{alter_table} SET DEFAULT {column.default};")]

    @property
    def any(self) -> bool:
        """Whether any column is to be filled."""
        return bool(self.unknown or self._by_default)

    def operations(self) -> list[MigrateOperation]:
        """Return the operations of the second stage that fill the columns, first those whose expression is missing."""
        unknown: list[MigrateOperation] = []
        for name, columns in self.unknown.items():
            unknown += [
                Note(FILL_IN),
                FillColumns(
                    name.name,
                    dict.fromkeys(columns),
                    where=" OR ".join(f"{identifier(column)} IS NULL" for column in columns),
                    schema=name.given_schema,
                ),
            ]
        return [*unknown, *self._by_default]

    def _added(self, op: MigrateOperation) -> tuple[Name, Column | None]:
        """Return the table to which an operation adds a column, and the column at the goal; None if it adds none."""
        name, column = Name("", ""), ""
        if isinstance(op, AddColumnOp):
            name, column = Name.of(op.schema, op.table_name), op.column.name
        elif isinstance(op, RunSql) and (match := ADD_COLUMN.match(op.text)):
            name, column = Name.read(match["table"]), bare(match["column"])
        table = self._goal.tables.get(name)
        return name, table.columns.get(column) if table else None

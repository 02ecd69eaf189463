"""Operations of our own for revision scripts. Importing this module registers them with Alembic."""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from alembic.autogenerate import render_op_text, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import AlterColumnOp, RenameTableOp
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from postgres_database.errors import ExpectedError
from postgres_database.server import transactions
from postgres_database.sql.tokens import ended, is_empty

DIALECT = "postgresql."
DIALECT_IMPORT = "from sqlalchemy.dialects import postgresql"
"""What a script must import if types of PostgreSQL stand in it."""
PARAMETER = re.compile(r"(?<=\\):[\w$]*(?![:\w$])|(?<![:\w\\]):[\w$]+(?![:\w$])")
"""What `sa.text` takes for a parameter, or for one that is escaped (SQLAlchemy documentation, `text()`)."""


class SqlType(UserDefinedType[Any]):
    """A type by its name in PostgreSQL: of an extension, a domain, a class of the application."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        """Name the type, with its schema and its arguments."""
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        """Return the name; SQLAlchemy asks for it."""
        return self.name


@Operations.register_operation("execute_file")
@dataclass(eq=False)
class ExecuteFile(MigrateOperation):
    """Run a file of SQL statements, byte for byte."""

    path: Path

    @classmethod
    def execute_file(cls, operations: Operations, path: str | Path) -> None:
        """Run the SQL file at `path`.

        `op.execute` would take `:name` in a function's body for a parameter, and offline it would
        turn tabs into spaces. This does neither, and gives % no meaning.
        """
        operations.invoke(cls(Path(path)))


@Operations.register_operation("run_sql")
@dataclass(eq=False)
class RunSql(MigrateOperation):
    """Run SQL exactly as it stands in the script."""

    text: str

    @classmethod
    def run_sql(cls, operations: Operations, text: str) -> None:
        """Run SQL, in which `:name` and % mean nothing; otherwise like `op.execute`."""
        operations.invoke(cls(text))


@Operations.register_operation("online")
@dataclass(eq=False)
class Online(MigrateOperation):
    """A block of operations beside live traffic, each in a form that blocks others only for a moment."""

    steps: Sequence[MigrateOperation] = ()
    """The operations, where a script is to be written; in a script they stand in the block."""

    @classmethod
    def online(cls, operations: Operations) -> AbstractContextManager[None]:
        """Return a block whose operations commit one by one, outside the transaction of the script.

        An index is built CONCURRENTLY, a constraint is added NOT VALID and then validated, a key uses an index, and
        NOT NULL a check. What an interrupted run has done is not done again.
        """
        block: AbstractContextManager[None] = operations.invoke(cls())
        return block


UNFILLED = "unfilled"
"""The option of a context that prints: it is called with a table and the error where a backfill has no expression."""


@Operations.register_operation("backfill")
@dataclass(eq=False)
class FillColumns(MigrateOperation):
    """Change the rows of a table in short transactions, one after the other."""

    table_name: str
    values: Mapping[str, str | None]
    _: KW_ONLY
    where: str = ""
    schema: str | None = None
    milliseconds: int = 100

    @classmethod
    def backfill(  # noqa: PLR0913 - each is an option
        cls,
        operations: Operations,
        table_name: str,
        values: Mapping[str, str | None],
        *,
        where: str = "",
        schema: str | None = None,
        milliseconds: int = 100,
    ) -> None:
        """Give columns new values in all rows, batch by batch in the order of a key.

        Args:
            operations: Alembic hands them over.
            table_name: The table; without a primary key or unique index on NOT NULL columns, `where` is required.
            values: A SQL expression for each column; None must be replaced by hand and refuses to run.
            where: Which rows; all if empty.
            schema: Of the table, if it is not the default one.
            milliseconds: How long a batch may take.
        """
        operations.invoke(
            cls(table_name, values, where=where, schema=schema, milliseconds=milliseconds)
        )


class CastColumn(AlterColumnOp):
    """`op.alter_column` with `postgresql_using`, which Alembic runs but does not render."""

    def __init__(self, plain: AlterColumnOp, using: str) -> None:
        """Change the type as another operation does, with a USING expression."""
        super().__init__(
            plain.table_name,
            plain.column_name,
            schema=plain.schema,
            existing_type=plain.existing_type,
            modify_type=plain.modify_type,
            postgresql_using=using,
        )


@dataclass(eq=False)
class Outside(MigrateOperation):
    """SQL outside the transaction, committed at once (PostgreSQL manual, ALTER TYPE, "Notes").

    It must stand first in a script, and may run again after a failure.
    """

    statements: Sequence[RunSql]


@dataclass(eq=False)
class Note(MigrateOperation):
    """A comment in the script."""

    text: str


class RefusedError(ExpectedError):
    """The error of `op.refuse`."""


@Operations.register_operation("refuse")
class Refuse(MigrateOperation):
    """An end with an error."""

    def __init__(self, what: str, cause: str, hint: str = "invoke current") -> None:
        """Make the error."""
        self.error = RefusedError(what, cause=cause, hint=hint)

    @classmethod
    def refuse(
        cls, operations: Operations, what: str, *, cause: str = "", hint: str = "invoke current"
    ) -> None:
        """End the script with an error; nothing of it stays.

        Args:
            operations: Alembic hands them over.
            what: What is refused.
            cause: Why.
            hint: What to type next.

        Raises:
            RefusedError: Always.
        """
        operations.invoke(cls(what, cause, hint))


@Operations.register_operation("sql_type")
class NameType(MigrateOperation):
    """A type by its name; not a change of the database."""

    @classmethod
    def sql_type(cls, operations: Operations, name: str) -> SqlType:  # noqa: ARG003 - Alembic hands them over
        """Return the type of a column that PostgreSQL calls by this name, with its schema and its arguments."""
        return SqlType(name)


@Operations.implementation_for(ExecuteFile)
def execute_file(operations: Operations, operation: ExecuteFile) -> None:
    """Run the file."""
    _run(operations, operation.path.read_bytes().decode())


@Operations.implementation_for(RunSql)
def run_sql(operations: Operations, operation: RunSql) -> None:
    """Run the text."""
    _run(operations, operation.text)


def _run(operations: Operations, text: str) -> None:
    context = operations.get_context()
    if context.as_sql:
        context.impl.static_output(ended(text))
    elif not is_empty(text):
        transactions.run_text(operations.get_bind(), text)


@Operations.implementation_for(Refuse)
def refuse(_operations: Operations, operation: Refuse) -> None:
    """End with the error."""
    raise operation.error


@renderers.dispatch_for(RenameTableOp)
def _render_rename(_autogen: AutogenContext, operation: RenameTableOp) -> str:
    schema = f", schema={operation.schema!r}" if operation.schema else ""
    return f"op.rename_table({operation.table_name!r}, {operation.new_table_name!r}{schema})"


@renderers.dispatch_for(RunSql)
def _render_sql(_autogen: AutogenContext, operation: RunSql) -> str:
    """Render a literal for each line: Alembic would indent the lines within one."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", operation.text)
    if len(lines) == 1:
        return f"op.run_sql({lines[0]!r})"
    return "op.run_sql(\n" + "".join(f"    {line!r}\n" for line in lines) + ")"


@renderers.dispatch_for(CastColumn)
def _render_cast(autogen: AutogenContext, operation: CastColumn) -> str:
    using = operation.kw["postgresql_using"]
    plain = AlterColumnOp(
        operation.table_name,
        operation.column_name,
        schema=operation.schema,
        existing_type=operation.existing_type,
        modify_type=operation.modify_type,
    )
    text = render_op_text(autogen, plain).removesuffix(")")
    return f"{text},\n           postgresql_using={using!r})"


@renderers.dispatch_for(Outside)
def _render_outside(autogen: AutogenContext, operation: Outside) -> str:
    body = (
        _render_sql(autogen, statement).replace("\n", "\n    ")
        for statement in operation.statements
    )
    return "\n    ".join(["with op.get_context().autocommit_block():", *body])


@renderers.dispatch_for(Online)
def _render_online(autogen: AutogenContext, operation: Online) -> str:
    body = [line for step in operation.steps for line in render_op_text(autogen, step).split("\n")]
    if all(isinstance(step, Note) for step in operation.steps):
        body.append("pass")
    return "\n    ".join(["with op.online():", *body])


@renderers.dispatch_for(FillColumns)
def _render_backfill(_autogen: AutogenContext, operation: FillColumns) -> str:
    schema = f", schema={operation.schema!r}" if operation.schema else ""
    where = f", where={operation.where!r}" if operation.where else ""
    return f"op.backfill({operation.table_name!r}, {dict(operation.values)!r}{where}{schema})"


@renderers.dispatch_for(Note)
def _render_note(_autogen: AutogenContext, operation: Note) -> str:
    return "\n".join(f"# {line}" for line in operation.text.splitlines())


@renderers.dispatch_for(Refuse)
def _render_refusal(_autogen: AutogenContext, operation: Refuse) -> str:
    error = operation.error
    return (
        f"op.refuse(\n    {error.what!r},\n    cause={error.cause!r},\n    hint={error.hint!r},\n)"
    )


def imports(body: str) -> list[str]:
    """Return what a script must import besides `sa` and `op` for what stands in it."""
    return [DIALECT_IMPORT] if DIALECT in body else []


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write types and defaults so that a script stands by itself (Alembic documentation, `render_item`).

    An enum does not create its type, which has a statement of its own: Alembic would create it with
    the first table, not for a new column, and never drop it. What is no class of SQLAlchemy is
    written as PostgreSQL calls it, so that the application may change or drop its class.
    """
    if kind == "server_default" and isinstance(item, sa.DefaultClause):
        return _default(item.arg)
    if kind != "type" or not isinstance(item, TypeEngine):
        return False
    if isinstance(item, TypeDecorator) and not _is_known(item):
        return _rendered(item.load_dialect_impl(postgresql.dialect()), autogen)  # type: ignore[no-untyped-call]
    if isinstance(item, sa.Enum) and item.native_enum and item.name:
        values = "".join(f"{value!r}, " for value in item.enums)
        schema = f"schema={item.schema!r}, " if item.schema else ""
        return f"postgresql.ENUM({values}name={str(item.name)!r}, {schema}create_type=False)"
    if isinstance(item, postgresql.DOMAIN) or not _is_known(item):
        return f"op.sql_type({item.compile(dialect=postgresql.dialect())!r})"  # type: ignore[no-untyped-call]
    return False


def _default(value: Any) -> str:
    """Write a default as it is: Alembic takes a quote off either end of a text, and leaves parameters in SQL."""
    if isinstance(value, str):  # also a member of an enum that is one
        return repr(str.__str__(value))
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    options = {"literal_binds": True, "include_table": False}
    text = str(value.compile(dialect=dialect, compile_kwargs=options))
    escaped = PARAMETER.sub(lambda match: f"\\{match[0]}", text)
    return f"sa.text({escaped!r})"


def _is_known(item: TypeEngine[Any]) -> bool:
    """Tell whether scripts can name the class of a type: `dialect.type_descriptor` returns some of the driver's own."""
    kind = type(item)
    own = kind.__module__.startswith(postgresql.__name__) and not hasattr(postgresql, kind.__name__)
    return kind.__module__.startswith("sqlalchemy.") and not own


def _rendered(item: TypeEngine[Any], autogen: AutogenContext) -> str | Literal[False]:
    """Render the type that a class of the application is made of."""
    rendered = render_item("type", item, autogen)
    if rendered is not False:
        return rendered
    column = sa.Column("x", item)
    text = render_op_text(autogen, AlterColumnOp("t", "x", modify_type=column.type))
    return re.sub(r"^.*?type_=|\)$", "", text, flags=re.DOTALL)

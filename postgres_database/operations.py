"""Operations of our own for revision scripts. Importing this module registers them with Alembic."""

import re
from pathlib import Path

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations


@Operations.register_operation("execute_file")
class ExecuteFile(MigrateOperation):
    """Run a file of SQL statements, byte for byte."""

    def __init__(self, path: Path) -> None:
        """Remember the file."""
        self.path = path

    @classmethod
    def execute_file(cls, operations: Operations, path: str | Path) -> None:
        """Run the SQL file at `path`.

        `op.execute` would take `:name` in a function's body for a parameter, and offline it would
        turn tabs into spaces. This does neither, and gives % no meaning.
        """
        operations.invoke(cls(Path(path)))


@Operations.register_operation("run_sql")
class RunSql(MigrateOperation):
    """Run SQL exactly as it stands in the script."""

    def __init__(self, text: str) -> None:
        """Remember the text."""
        self.text = text

    @classmethod
    def run_sql(cls, operations: Operations, text: str) -> None:
        """Run SQL, in which `:name` and % mean nothing; otherwise like `op.execute`."""
        operations.invoke(cls(text))


@Operations.implementation_for(ExecuteFile)
def _execute_file(operations: Operations, operation: ExecuteFile) -> None:
    _run(operations, operation.path.read_bytes().decode())


@Operations.implementation_for(RunSql)
def _run_sql(operations: Operations, operation: RunSql) -> None:
    _run(operations, operation.text)


def _run(operations: Operations, text: str) -> None:
    context = operations.get_context()
    if context.as_sql:
        context.impl.static_output(text)
    else:
        operations.get_bind().connection.cursor().execute(text)


@renderers.dispatch_for(RunSql)
def _render(_autogen: AutogenContext, operation: RunSql) -> str:
    """Write a literal for each line: Alembic indents what it renders, also inside a literal."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", operation.text)
    if len(lines) == 1:
        return f"op.run_sql({lines[0]!r})"
    return "op.run_sql(\n" + "".join(f"    {line!r}\n" for line in lines) + ")"

"""Operations of our own for revision scripts. Importing this module registers them with Alembic."""

from pathlib import Path

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


@Operations.implementation_for(ExecuteFile)
def _execute_file(operations: Operations, operation: ExecuteFile) -> None:
    context = operations.get_context()
    text = operation.path.read_bytes().decode()
    if context.as_sql:
        context.impl.static_output(text)
        return
    operations.get_bind().connection.cursor().execute(text)

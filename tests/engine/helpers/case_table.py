"""Changes of models as files: `cases/<group>/<name>.toml`.

Each holds the models before and after, the rows of before, and the expected outcome.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.util import OrderedSet

FOLDER = Path(__file__).parent / "cases"
HEAD = '''
from sqlalchemy.dialects import postgresql

def made(*statements):
    """Run statements after the tables are created."""
    _listen("after_create", statements)

def made_early(*statements):
    """Run statements before the tables are created."""
    _listen("before_create", statements)

def _listen(event, statements):
    for statement in statements:
        sa.event.listen(metadata, event, sa.DDL(statement.replace("%", "%%")))

'''
Claim = Literal["proved", "nothing", "named", "refused"]


@dataclass(frozen=True)
class Case:
    """One change of the models."""

    group: str
    name: str
    rule: str
    """What the case shows, in one sentence."""
    after: str
    """The body of the models' module, after HEAD and the imports of `Project.models`."""
    expect: Claim
    """Proved: a proved script. Nothing: no difference. Named: a script to finish by hand. Refused: an error."""
    before: str = ""
    since: int = 0
    """The oldest version of PostgreSQL that knows what the models say."""
    rows: str = ""
    """SQL that inserts the rows, run at `before`."""
    by_hand: str = ""
    """SQL of a script between `before` and `after`: objects that are not in the models and must be kept."""
    roles: Sequence[str] = ()
    """Roles that are created if they do not exist."""
    rename: Sequence[str] = ()
    no_renames: bool = False
    stops: str = ""
    """The server's words with which the upgrade must fail because of the rows; nothing may be lost."""
    stops_back: str = ""
    """The same for the downgrade."""
    says: Sequence[str] = ()
    """Texts that the result must contain: cautions, names of objects, the server's words, the error."""
    rows_after: dict[str, list[list[object]]] = field(default_factory=dict)
    """Queries after the upgrade and what they return, compared as text."""
    rows_back: dict[str, list[list[object]]] = field(default_factory=dict)
    """The same after the downgrade."""

    def __str__(self) -> str:
        """Return the id of the test of the case."""
        return f"{self.group}/{self.name}"


def load() -> list[Case]:
    """Read all cases."""
    return [
        Case(group=path.parent.name, name=path.stem, **tomllib.loads(path.read_text()))
        for path in sorted(FOLDER.glob("*/*.toml"))
    ]


def create_all(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Run `create_all`, after creating the schemas of the tables.

    Indexes are made in the order of their names: PostgreSQL names their parts on partitions by it.
    The connection must be in autocommit: CREATE INDEX CONCURRENTLY cannot run in a transaction.
    """
    for schema in {table.schema for table in metadata.tables.values()} - {None}:
        connection.execute(sa.schema.CreateSchema(str(schema), if_not_exists=True))
    for table in metadata.tables.values():
        table.indexes = OrderedSet(sorted(table.indexes, key=lambda each: str(each.name)))
    metadata.create_all(connection)

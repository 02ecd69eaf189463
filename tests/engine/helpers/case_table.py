"""Changes of models as files: `cases/<group>/<name>.toml`.

Each holds models before and after, the rows that are there, and what ought to come out.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

FOLDER = Path(__file__).parent / "cases"
HEAD = '''
from sqlalchemy.dialects import postgresql

def made(*statements):
    """Run statements when the tables are there."""
    _listen("after_create", statements)

def made_early(*statements):
    """Run statements before the tables are made."""
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
    """What the case holds, in one sentence."""
    after: str
    """The body of the models' module; HEAD and `Project.models` say what is there."""
    expect: Claim
    """Proved: a script. Nothing: no difference. Named: a script that needs a hand. Refused: an error."""
    before: str = ""
    rows: str = ""
    """SQL that is run at `before`."""
    by_hand: str = ""
    """SQL of a script between the two, for what the models do not know and the script must keep."""
    roles: Sequence[str] = ()
    """Roles that must be there."""
    rename: Sequence[str] = ()
    no_renames: bool = False
    stops: str = ""
    """What the server says where the rows are in the way: the upgrade fails, and nothing is lost."""
    stops_back: str = ""
    """The same for the downgrade."""
    says: Sequence[str] = ()
    """What the result must say: cautions, names of objects, the server's words, the error."""
    rows_after: dict[str, list[list[object]]] = field(default_factory=dict)
    """Queries after the upgrade and what they return, compared as text."""
    rows_back: dict[str, list[list[object]]] = field(default_factory=dict)
    """The same after the downgrade."""

    def __str__(self) -> str:
        """Name the case."""
        return f"{self.group}/{self.name}"


def load() -> list[Case]:
    """Read all cases."""
    return [
        Case(group=path.parent.name, name=path.stem, **tomllib.loads(path.read_text()))
        for path in sorted(FOLDER.glob("*/*.toml"))
    ]


def create_all(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Make what the models make, and the schemas that their tables are in.

    Outside a transaction, because that is where CREATE INDEX CONCURRENTLY runs.
    """
    for schema in {table.schema for table in metadata.tables.values()} - {None}:
        connection.execute(sa.schema.CreateSchema(str(schema), if_not_exists=True))
    metadata.create_all(connection)

"""What rows and values of a target pending scripts drop: counted, read-only."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import shorten

import psycopg2

from postgres_database.preflight import row_queries
from postgres_database.preflight.preview import Printed
from postgres_database.preflight.requirements import Loss, Reading
from postgres_database.preflight.row_checks import Look, UntrustedError, looking
from postgres_database.preflight.row_queries import Rows
from postgres_database.server.connection import Database
from postgres_database.sql.tokens import without_literals

WIDTH = 60  # characters of a statement
DROPS = re.compile(r"\bdrop_table\b|\bDROP\s+(?:TABLE|SCHEMA|OWNED)\b", re.IGNORECASE)
KNOWN = re.compile(r"CREATE|COMMENT|DROP (?:TABLE|SCHEMA)", re.IGNORECASE)
"""Statements that drop what they name, or nothing."""


@dataclass(frozen=True)
class Dropped:
    """Rows or values that revisions drop from a target."""

    text: str
    """What and how many, for people."""
    table: bool
    """Whether a table goes with its rows."""

    def __str__(self) -> str:
        """Return the text."""
        return self.text


def dropped(
    database: Database, steps: Sequence[Printed], *, counted: bool = True
) -> tuple[Dropped, ...]:
    """Return what rows and values revisions drop from a target; uncounted also what may have none."""
    reading = Reading()
    read = [loss for step in steps for loss in reading.read(step.statements)[1]]
    found = dict.fromkeys(read)
    if not (found and counted):
        lines = [(loss, _uncounted(loss)) for loss in found]
    else:
        with looking(database) as look:
            lines = [(loss, line) for loss in found for line in _said(look, loss)]
    return (
        *(Dropped(line, loss.kind in {"table", "schema"}) for loss, line in lines),
        *(Dropped(line, table=True) for step in steps for line in _unknown(step)),
    )


def _unknown(step: Printed) -> Iterator[str]:
    """Yield what may drop tables, though only running it shows that."""
    if step.statements is None and DROPS.search(step.source):
        yield f"revision {step.revision.id} may drop tables with their rows: only running it shows that"
    for statement in step.statements or ():
        if DROPS.search(statement) and not KNOWN.match(statement):
            text = shorten(without_literals(statement), WIDTH, placeholder=" …")
            yield f"tables may be dropped with their rows by {text}"


def _said(look: Look, loss: Loss) -> list[str]:
    """Say how many rows or values are lost; nothing if there are none."""
    try:
        with look.trying():
            return [line for table in _tables(look, loss) for line in _counted(look, table, loss)]
    except UntrustedError as error:
        return [f"{_uncounted(loss)}   (not counted: {error})"]
    except psycopg2.Error as error:
        return [f"{_uncounted(loss)}   (not counted: {look.why(error)})"]


def _tables(look: Look, loss: Loss) -> list[Rows]:
    """Return the tables that may be meant."""
    if loss.anywhere:
        return look.anywhere(loss.name)
    if loss.kind == "schema":
        return look.in_schema(loss.name)
    return [table for table in [look.table(loss.name)] if table]


def _counted(look: Look, table: Rows, loss: Loss) -> Iterator[str]:
    if loss.column and not look.column(table, loss.column, ""):
        return
    query = row_queries.filled(table, loss.column)
    look.require_trust("counting", query, [table])
    ((count,),) = look.run(query)
    rows = "1 row" if count == 1 else f"{count:,} rows"
    if not count:
        return
    if loss.column:
        yield f"values of {table.name}.{loss.column} in {rows} are dropped"
    elif loss.kind == "rows":
        yield f"rows of {table.name} are deleted; it has {count:,} now"
    elif loss.anywhere:
        yield f"{rows} of {table.name} may be dropped: a statement before it changes where names lead"
    else:
        yield f"{rows} of {table.name} {'is' if count == 1 else 'are'} dropped"


def _uncounted(loss: Loss) -> str:
    if loss.column:
        return f"values of {loss.name}.{loss.column} are dropped"
    place = f"schema {loss.name}" if loss.kind == "schema" else loss.name
    return f"rows of {place} are {'deleted' if loss.kind == 'rows' else 'dropped'}"

"""What the tables of a scratch database hold, and whether it is still there after a script."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import psycopg2

from postgres_database.connection import Database
from postgres_database.fillable import Name, Session, name_in_sql


@dataclass(frozen=True)
class Contents:
    """What the tables of a database hold: enough to tell whether a row or a value was lost."""

    tables: Mapping[Name, tuple[int, Mapping[str, tuple[str, int, str | None]]]]
    """How many rows there are; of each column its type, how many values, and a digest of them."""

    def lost(self, after: "Contents") -> tuple[str, ...]:
        """Name rows and values that are gone or changed, a line for each table or column.

        Args:
            after: What the same database holds now. What it does not have at all was dropped or
                renamed, and is not named here; a value of a column that has another type now may
                look different, but must be there.
        """
        lines = []
        for (schema, table), (rows, columns) in self.tables.items():
            rows_now, columns_now = after.tables.get((schema, table), (rows, {}))
            if rows_now < rows:
                lines.append(f"{rows - rows_now} of {rows} rows of table {schema}.{table}")
            elif rows_now > rows:
                lines.append(
                    f"the number of rows of table {schema}.{table}: {rows}, now {rows_now}"
                )
            for column, before in columns.items() if rows_now == rows else ():
                now = columns_now.get(column, before)
                if now[1] != before[1] or (now[0] == before[0] and now != before):
                    some = f"{before[1] - now[1]} of {before[1]} " if now[1] < before[1] else ""
                    lines.append(f"{some}values of column {schema}.{table}.{column}")
        return tuple(lines)


def take(database: Database) -> Contents:
    """Look at all rows of a database; a table that cannot be read is left out."""
    found = {}
    with database.connect() as connection, connection.begin():
        session = Session(connection)
        for name, table in session.tables.items():
            columns = [column for column in table.columns.values() if not column.generated]
            texts = [f"{name_in_sql(column.name)}::text" for column in columns]
            counts = ", ".join(f"count({text})" for text in texts)
            # A sum does not depend on the order, and the collation "C" tells all texts apart.
            sums = ", ".join(f'sum(hashtextextended({text} COLLATE "C", 0))' for text in texts)
            query = f"SELECT count(*), ARRAY[{counts}]::bigint[], ARRAY[{sums}]::text[] FROM {table.rows}"  # noqa: S608
            with suppress(psycopg2.Error):
                ((rows, filled, digests),) = session.run(query)
                found[name] = (
                    rows,
                    {
                        column.name: (" ".join([column.type, *column.attributes]), *facts)
                        for column, *facts in zip(columns, filled, digests, strict=True)
                    },
                )
    return Contents(found)

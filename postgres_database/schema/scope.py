"""Which schemas and objects a project manages."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from postgres_database.sql.names import quoted

# What pg_dump must lock and the user cannot read.
UNREADABLE = """
    SELECT n.nspname, array_agg(c.relname::text ORDER BY 1),
           EXISTS (SELECT FROM pg_extension e WHERE e.extnamespace = n.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND n.nspname !~ '^pg_'
      AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
    GROUP BY n.oid, n.nspname ORDER BY 1
"""


@dataclass(frozen=True)
class Scope:
    """What of a database the commands compare and write; the rest is left alone."""

    include_schemas: tuple[str, ...] = ()
    """The schemas; empty: all."""
    exclude: tuple[str, ...] = ()
    """Patterns of objects that are not, such as `audit.*`."""

    def includes(self, schema: str, *names: str) -> bool:
        """Tell whether a schema, or what has one of these names in it, is managed by this project."""
        if self.include_schemas and schema not in self.include_schemas:
            return False
        spelled = [schema] if not names else [text for n in names for text in (f"{schema}.{n}", n)]
        return not any(fnmatchcase(text, pattern) for pattern in self.exclude for text in spelled)

    def manages(self, kind: str, schema: str, name: str) -> bool:
        """Tell whether an object of a snapshot is managed by this project."""
        if kind == "SCHEMA":
            return self.includes(name)
        of_table = name.partition(" ")[0]  # constraints, triggers and others begin with its name
        return schema == "-" or self.includes(schema, name, name.partition("(")[0], of_table)

    def unreadable(self, cursor: Any) -> Iterator[tuple[str, str]]:
        """Yield what is excluded and would stop pg_dump: its argument, and what people read of it.

        What can be read stays, because what is included may need it, and so does a schema that an extension is in.
        """
        cursor.execute(UNREADABLE)
        for schema, tables, has_extension in cursor.fetchall():
            place, why = quoted(schema), "excluded, and not readable for this user"
            if not self.includes(schema) and not has_extension:
                yield f"--exclude-schema={place}", f"the schema {schema}: {why}"
            elif not self.includes(schema) or not self.includes(schema, ""):
                yield (
                    f"--exclude-table={place}.*",
                    f"the tables and views of the schema {schema}: {why}",
                )
            else:
                for name in tables:
                    if not self.includes(schema, name):
                        yield (
                            f"--exclude-table={place}.{quoted(name)}",
                            f"the table {schema}.{name}: {why}",
                        )


EVERYTHING = Scope()
"""The default."""

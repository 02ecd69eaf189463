"""Which schemas and objects a project manages."""

from dataclasses import dataclass
from fnmatch import fnmatchcase


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


EVERYTHING = Scope()
"""The default."""

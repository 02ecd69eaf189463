"""The table in which Alembic keeps which revision a database is; what its name is, and where it stands."""

import ast
from dataclasses import dataclass

NAME, SCHEMA = OPTIONS = ("version_table", "version_table_schema")
"""As Alembic calls them (Alembic documentation, `EnvironmentContext.configure`)."""


@dataclass(frozen=True)
class VersionTable:
    """The version table of a project."""

    name: str = "alembic_version"
    schema: str = ""
    """Empty: found by the search path, or made in its first schema."""

    @property
    def log(self) -> str:
        """The name of the table of what was run, which is beside it."""
        return f"{self.name}_log"


ALEMBICS = VersionTable()
"""Where nothing else is said."""


def given(text: str) -> dict[str, str]:
    """Return which of the OPTIONS an env.py gives to Alembic.

    Raises:
        ValueError: It gives one that is neither a text nor a name that stands for one; its words are the option.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError:  # which whoever runs it is told
        return {}
    constants = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = {}
    for node in ast.walk(tree):
        pairs: list[tuple[object, ast.expr]] = []
        if isinstance(node, ast.Call):
            pairs = [(each.arg, each.value) for each in node.keywords]
        elif isinstance(node, ast.Dict):
            keys = (key.value if isinstance(key, ast.Constant) else None for key in node.keys)
            pairs = [*zip(keys, node.values, strict=True)]
        for option, value in pairs:
            if option in OPTIONS:
                meant = constants.get(value.id, value) if isinstance(value, ast.Name) else value
                if not isinstance(meant, ast.Constant):
                    raise ValueError(option)
                found[str(option)] = str(meant.value or "")
    return found

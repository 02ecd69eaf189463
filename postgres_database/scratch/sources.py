"""Whether the source of a module uses nothing whose value its text does not say: it is read, not run.

It says so only of what it knows. Each rule may call harmless sources unknown; none may do the opposite.
"""

import ast
import sys
from collections.abc import Iterator

LIBRARIES = frozenset((
    "__future__", "abc", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools",
    "itertools", "math", "numbers", "operator", "re", "sqlalchemy", "string", "textwrap", "types", "typing",
    "typing_extensions", "uuid",
))  # fmt: skip
"""What such sources import besides each other."""
BEHIND = (sys.stdlib_module_names | {"testing", "util"}) - LIBRARIES - {
    "array", "asyncio", "inspect", "select", "time",
}  # fmt: skip
"""What they do not use of LIBRARIES: modules that these have imported. The exceptions are names of their own."""
BUILTINS = frozenset((
    "breakpoint", "compile", "delattr", "eval", "exec", "getattr", "globals", "input", "locals", "open", "setattr",
    "vars",
))  # fmt: skip
"""What they do not use of Python: it asks for more than the files."""
DUNDERS = frozenset((
    "__all__", "__annotations__", "__bases__", "__class__", "__doc__", "__eq__", "__init__", "__init_subclass__",
    "__mapper__", "__mapper_args__", "__members__", "__module__", "__mro__", "__name__", "__new__", "__qualname__",
    "__repr__", "__str__", "__table__", "__table_args__", "__tablename__",
))  # fmt: skip
"""The only names with underscores at both ends that they ask for."""
MOMENTS = frozenset((
    "getnode", "now", "today", "utcnow", "uuid1", "uuid4", "uuid6", "uuid7", "uuid8",
))  # fmt: skip
"""What is another value each time: it may only be what a row gets."""
ASKING = MOMENTS | frozenset((
    "_os", "_sys", "argv", "astimezone", "async_engine_from_config", "attrgetter", "bltns", "builtins",
    "create_async_engine", "create_engine", "create_pool_from_url", "engine_from_config", "environ", "fromtimestamp",
    "getenv", "methodcaller", "os", "sys",
))  # fmt: skip
"""What they do not use of what they import."""
OF_TABLES = frozenset((
    "base_columns", "constraints", "foreign_key_constraints", "foreign_keys", "indexes", "mappers", "proxy_set",
))  # fmt: skip
"""Attributes that are sets in SQLAlchemy, whose order is another one each time."""
COLUMNS = frozenset(("Column", "mapped_column"))
OF_ROWS = frozenset(("default", "insert_default", "onupdate"))
"""Arguments of a column that are not in its definition (SQLAlchemy documentation, "Column INSERT/UPDATE Defaults").

As attributes they are not used: so they would come into it.
"""
SETS = frozenset(("frozenset", "set"))
"""What is only used as a type: `Mapped[set[str]]`."""
UNORDERED = frozenset(("hash", "id"))
"""What they do not call, nor hand over to order something: it is another number each time."""
VIEWS = frozenset(("items", "keys"))
"""Methods of a mapping of whose results operators make sets."""
IN_ORDER = frozenset((
    "all", "any", "dict", "enumerate", "len", "list", "max", "min", "sorted", "sum", "tuple", "zip",
))  # fmt: skip
"""Functions that make no set of what they are given."""


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the modules that a source imports; not what it imports by its place in its package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)


def asks_nothing(tree: ast.Module) -> bool:
    """Tell whether a source uses nothing whose value its text does not say; `func.now()` is a text of SQL."""
    return not any(map(_Source(tree).asks, ast.walk(tree)))


class _Source:
    """The nodes of a source, each of which may ask for something."""

    def __init__(self, tree: ast.Module) -> None:
        nodes = [*ast.walk(tree)]
        self._libraries = {
            _given(alias): _top(module or alias.name)
            for node in nodes
            for alias, module in _libraries(node)
        }
        others = {name for node in nodes for name in _others(node)}
        gone = self._libraries.keys() if "*" in others else others  # a star may give any name
        self._sure = {name: self._libraries[name] for name in self._libraries.keys() - gone}
        self._harmless = {each for node in nodes for each in self._harmless_in(node)}

    def asks(self, node: ast.AST) -> bool:
        """Tell whether a node asks for something."""
        if node in self._harmless:
            return False
        if isinstance(node, ast.Name):
            asking = node.id in BUILTINS | ASKING | SETS or _is_hidden(node.id)
            return asking and isinstance(node.ctx, ast.Load)
        if isinstance(node, ast.Attribute):
            return self._is_asking(node)
        if isinstance(node, ast.Call):
            keys = [each.value for each in node.keywords if each.arg == "key"]
            used = (node.func, *keys, *(node.args if _name(node.func) == "map" else ()))
            local_time = _last(node.func) == "timestamp" and not node.args
            return bool(UNORDERED & {*map(_name, used)}) or local_time or _is_view(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            return any(map(_imports_asking, node.names)) or any(
                BEHIND.intersection(f"{module}.{alias.name}".split("."))
                for alias, module in _libraries(node)
            )
        # A pattern asks for attributes.
        return isinstance(node, ast.Set | ast.SetComp | ast.MatchClass)

    def _is_asking(self, node: ast.Attribute) -> bool:
        if self._is_of_sqlalchemy(node.value) and _last(node.value) == "func":
            return False
        # What another module has imported, or changes.
        behind = node.attr in BEHIND or not isinstance(node.ctx, ast.Load)
        if behind and _root(node) in self._libraries:
            return True
        return node.attr in ASKING | OF_TABLES | OF_ROWS or _is_hidden(node.attr)

    def _is_of_sqlalchemy(self, node: ast.expr) -> bool:
        """Tell whether a name leads into SQLAlchemy, and nothing else has this name."""
        return self._sure.get(_root(node)) == "sqlalchemy"

    def _harmless_in(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield nodes that ask for nothing where they are: types, what is gone through in order, what rows get."""
        for kind in ("annotation", "returns"):
            parts = [*ast.walk(getattr(node, kind, None) or ast.Pass())]
            if not any(isinstance(each, ast.Call) for each in parts):
                yield from (
                    each for each in parts if isinstance(each, ast.Name) and each.id in SETS
                )
        if isinstance(node, ast.For | ast.comprehension):
            yield from filter(_is_view, [node.iter])
        if isinstance(node, ast.Call):
            yield from filter(_is_view, node.args if _name(node.func) in IN_ORDER else ())
            of_column = _last(node.func) in COLUMNS and self._is_of_sqlalchemy(node.func)
            for keyword in node.keywords:
                if of_column and keyword.arg in OF_ROWS and _is_for_rows(keyword.value):
                    yield from ast.walk(keyword.value)
                elif keyword.arg == "collection_class":  # of a relationship
                    yield keyword.value


def _libraries(node: ast.AST) -> Iterator[tuple[ast.alias, str]]:
    """Yield what a node imports of LIBRARIES, each with its module; that is empty for `import a.b`."""
    if isinstance(node, ast.Import):
        yield from ((each, "") for each in node.names if _top(each.name) in LIBRARIES)
    elif (
        isinstance(node, ast.ImportFrom) and not node.level and _top(str(node.module)) in LIBRARIES
    ):
        yield from ((each, str(node.module)) for each in node.names)


def _others(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node gives to anything that is not of LIBRARIES, and the star."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        known = [alias for alias, _ in _libraries(node)]
        yield from (_given(each) for each in node.names if each not in known or each.name == "*")
    elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif not isinstance(node, ast.alias | ast.keyword):
        names = (getattr(node, field, None) for field in ("arg", "name", "rest"))
        yield from (name for name in names if isinstance(name, str))


def _given(imported: ast.alias) -> str:
    return imported.asname or _top(imported.name)


def _top(module: str) -> str:
    return module.partition(".")[0]


def _imports_asking(imported: ast.alias) -> bool:
    """Tell whether an import asks, or gives what does another name; what is used by its own name is seen there."""
    parts = {*imported.name.split(".")}
    return bool(parts & (ASKING - MOMENTS) or (imported.asname and parts & MOMENTS))


def _is_for_rows(value: ast.expr) -> bool:
    """Tell whether this is a function, or a moment; a `Sequence` would be in the definition."""
    if isinstance(value, ast.Call):
        return _last(value.func) in MOMENTS | {"partial"}
    return isinstance(value, ast.Name | ast.Attribute | ast.Lambda)


def _is_view(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _last(node.func) in VIEWS


def _is_hidden(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name not in DUNDERS


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _last(node: ast.expr) -> str:
    """Return the last part of `a.b`."""
    return node.attr if isinstance(node, ast.Attribute) else _name(node)


def _root(node: ast.expr) -> str:
    """Return the first part of `a.b`; empty if it is no name."""
    return _root(node.value) if isinstance(node, ast.Attribute) else _name(node)

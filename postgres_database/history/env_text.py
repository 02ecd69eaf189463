"""An existing `env.py`, read without running it: its models, its options, the lines that it lacks; pure."""

import ast
import builtins
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeGuard

NO_MODELS = {*sys.stdlib_module_names, "alembic", "sqlalchemy", "postgres_database"}
"""Packages that an env.py imports for something else than models."""
NOT_HONOURED = {
    "include_object": "not asked: include_schemas and exclude in alembic.ini say what is left alone",
    "include_name": "not asked: include_schemas and exclude in alembic.ini say what is left alone",
    "render_item": "not asked: types are written as SQLAlchemy prints them, or by op.sql_type",
    "process_revision_directives": "not asked: a script that would be empty is not written anyway",
    "get_x_argument": "empty: there is no -x; a setting comes from the process environment",
    "upgrade_token": "there is one database: give each a folder with an alembic.ini of its own",
    "databases": "there is one database: give each a folder with an alembic.ini of its own",
    "run_migrations in a loop": "there is one database: give each a folder with an alembic.ini of its own",
    "register_entities": "not compared: let DDL events of the models make these objects",
}
"""Options of Alembic that our commands do not honour, and what to do instead."""
HONOURED = {
    "version_table": "",
    "version_table_schema": "",
    "include_schemas": "all schemas are compared, unless alembic.ini says which",
    "compare_type": "types are always compared",
    "compare_server_default": "defaults are always compared",
    "naming_convention": "",
    "current_app": "the application that `flask` finds: by FLASK_APP, in wsgi.py or in app.py",
}
"""Options that they honour."""
NO_APPLICATION = {"current_app": "there is no application: let env.py make and push one"}
"""What holds instead where env.py makes none."""
REGISTER = (
    ["from postgres_database import alembic_env\n"],
    ["alembic_env.register()  # op.online and op.backfill\n"],
)
"""An import and a statement that an env.py needs."""
PUSH = (
    ["import os\n", "from flask import has_app_context\n", "from flask.cli import ScriptInfo\n"],
    [
        "if not has_app_context():  # which only `flask db` pushes\n",
        '    ScriptInfo(os.environ.get("FLASK_APP")).load_app().app_context().push()\n',
    ],
)
"""The same where it asks Flask for the current application (Flask documentation, `flask.cli.ScriptInfo`)."""


@dataclass(frozen=True)
class Option:
    """An option that an env.py gives to Alembic."""

    name: str
    line: int
    honoured: bool
    note: str


def options(text: str, changed: str) -> list[Option]:
    """Return the options that an env.py gives to Alembic, each once, in the order of the file.

    Args:
        text: The file as it is.
        changed: The file as it will be.
    """
    lines: dict[str, int] = {}
    for name, line in sorted(_mentioned(ast.parse(text)), key=lambda mention: mention[1]):
        lines.setdefault(name, line)
    lacking = NO_APPLICATION if _lacks_application(ast.parse(changed)) else {}
    notes = NOT_HONOURED | HONOURED | lacking
    return [
        Option(name, line, name in HONOURED.keys() - lacking, notes[name])
        for name, line in lines.items()
        if name in notes
    ]


def _mentioned(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg=str(name)):
                yield name, node.lineno
            case ast.Dict(keys=keys):
                yield from (
                    (str(key.value), key.lineno) for key in keys if isinstance(key, ast.Constant)
                )
            case ast.Subscript(slice=ast.Constant(value=str(name)), ctx=ast.Store()):
                yield name, node.lineno
            case (
                ast.Attribute(attr="get_x_argument" as name)
                | ast.Name(id="current_app" as name)
                | ast.Call(func=ast.Name(id="register_entities" as name))
            ):
                yield name, node.lineno
            case ast.Call(
                func=ast.Attribute(attr="get_main_option"),
                args=[ast.Constant(value="databases"), *_],
            ):
                yield "databases", node.lineno
            case ast.For():
                for call in _all_calls(node, "run_migrations"):
                    yield "run_migrations in a loop", call.lineno


def models(text: str, is_module: Callable[[str], bool]) -> str:
    """Return the models that an env.py hands to Alembic, as package.module:name; empty if that is not clear.

    `is_module` tells whether a dotted name is a module of the repository.
    """
    tree = ast.parse(text)
    dotted = _assigned(tree.body, "target_metadata") or _handed_over(tree)
    if not all(part.isidentifier() for part in dotted.split(".")):
        return ""  # a list, a call, None
    if any(_adds_to(node, dotted) for node in _nodes_of_module(tree)):
        return ""  # the name alone would have fewer tables
    first, _, rest = dotted.partition(".")
    for node in tree.body:
        for alias in node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
            if isinstance(node, ast.ImportFrom) and (alias.asname or alias.name) == first:
                return _named(f"{node.module}", f"{alias.name}.{rest}".strip("."), is_module)
            if isinstance(node, ast.Import) and alias.asname == first and rest:
                return _named(alias.name, rest, is_module)
            if isinstance(node, ast.Import) and dotted.startswith(f"{alias.name}."):
                return _named(alias.name, dotted.removeprefix(f"{alias.name}."), is_module)
    return ""


def imported(text: str) -> list[str]:
    """Return the modules that an env.py imports, for their models perhaps: `a.b`, or `a:b` for `from a import b`.

    Those of Python, Alembic, SQLAlchemy and ours are left out, and what stands in a function or a condition.
    """
    try:
        body = ast.parse(text).body
    except SyntaxError:  # reported when it is run
        return []
    found = []
    for node in body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [alias.name for alias in node.names if alias.name != "*"]
            found += [node.module, *(f"{node.module}:{name}" for name in names)]
    return [name for name in found if re.split("[.:]", name)[0] not in NO_MODELS]


def _assigned(body: Iterable[ast.AST], name: str) -> str:
    """Return the expression that statements assign to a name last; empty if they assign none."""
    values = [
        ast.unparse(node.value)
        for node in body
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets)
    ]
    return values[-1] if values else ""


def _handed_over(tree: ast.Module) -> str:
    """Return the one expression that calls of `context.configure` hand over as models; empty if there is none."""
    handed = {
        ast.unparse(keyword.value)
        for call in _all_calls(tree, "configure")
        for keyword in call.keywords
        if keyword.arg == "target_metadata"
    }
    (one,) = handed if len(handed) == 1 else ("",)
    return _assigned(ast.walk(tree), one) or one


def _nodes_of_module(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported: all but the bodies of its functions."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _nodes_of_module(node)


def _adds_to(node: ast.AST, models: str) -> bool:
    """Tell whether this changes what `target_metadata` stands for: a call of its method, or one that is given it."""
    match node:
        case (
            ast.Attribute(value=owner, ctx=ast.Store())
            | ast.Expr(value=ast.Call(func=ast.Attribute(value=owner)))
        ):
            given = [owner]
        case ast.Call(func=ast.Attribute(attr="to_metadata" | "tometadata")):
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
        case _:
            return False
    return any(ast.unparse(each) in {"target_metadata", models} for each in given)


def _named(module: str, name: str, is_module: Callable[[str], bool]) -> str:
    first, _, rest = name.partition(".")
    inner = f"{module}.{first}"
    return _named(inner, rest, is_module) if rest and is_module(inner) else f"{module}:{name}"


def with_connection(text: str) -> str | None:
    """Return an env.py with the lines that let our commands run scripts on their own connection.

    They are those of the Alembic cookbook, "Sharing a Connection across one or more programmatic … commands", one
    that registers `op.online`, and for Flask those that make the application.

    Returns:
        The text as it is if nothing is lacking; None if the place for the lines is not found.
    """
    tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    if not any(map(_takes_connection, ast.walk(tree))):
        branch = _branch(tree, text)
        if not branch or not _insert(tree, lines, branch):
            return None
    lacking = [] if any(map(_imports_ours, ast.walk(tree))) else [REGISTER]
    lacking += [PUSH] if _lacks_application(tree) else []
    if lacking:
        last = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))][-1]
        imports, statements = map(chain.from_iterable, zip(*lacking, strict=True))
        lines[last.end_lineno : last.end_lineno] = [*imports, "\n", *statements]
    return "".join(lines)


def _insert(tree: ast.Module, lines: list[str], branch: list[str]) -> bool:
    """Insert a branch that runs the scripts on a connection; return whether the place for it was found."""
    asks = _all_calls(tree, "is_offline_mode")
    conditions = [node for node in _nodes_of_module(tree) if isinstance(node, ast.If)]
    offline = [node for node in conditions if node.test in asks and node.orelse]
    called = (call for name in ("configure", "run_migrations") for call in _all_calls(tree, name))
    context = ast.unparse(next(called).func).rpartition(".")[0]
    given = f'(connection := {context}.config.attributes.get("connection")) is not None'
    if offline:
        indent = " " * offline[-1].col_offset
        ends = (f"{indent}else", f"{indent}elif")
        at = next(
            n for n in range(offline[-1].orelse[0].lineno - 1, 0, -1) if lines[n].startswith(ends)
        )
        lines[at:at] = [f"{indent}{line}" for line in (f"elif {given}:\n", *branch)]
        return True
    match tree.body[-1]:
        case ast.Expr(value=ast.Call(func=ast.Name())) as last if not asks:  # such as online()
            others = [f"    {line}" for line in lines[last.lineno - 1 :]]
            lines[last.lineno - 1 :] = [f"if {given}:\n", *branch, "else:\n", *others]
            return True
    return False


def _lacks_application(tree: ast.Module) -> bool:
    """Tell whether this asks for the current application of Flask and makes none."""
    nodes = [*ast.walk(tree)]
    asks = any(isinstance(each, ast.Name) and each.id == "current_app" for each in nodes)
    return asks and not any(_calls(each, "app_context") for each in nodes)


def _imports_ours(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and "alembic_env" in {
        alias.name for alias in node.names
    }


def _takes_connection(node: ast.AST) -> bool:
    """Tell whether this reads a connection from `config.attributes`, or calls `alembic_env.run`."""
    match node:
        case (
            ast.Call(
                func=ast.Attribute(attr="get", value=ast.Attribute(attr="attributes")),
                args=[ast.Constant(value="connection"), *_],
            )
            | ast.Subscript(
                value=ast.Attribute(attr="attributes"), slice=ast.Constant(value="connection")
            )
        ):
            return True
    return _calls(node, "run") and ast.unparse(node).startswith("alembic_env.")


def _branch(tree: ast.Module, text: str) -> list[str]:
    """Return the lines that run the scripts on `connection`, as this env.py runs them on its own."""
    call, given = next(_configured(tree), (None, None))
    if call is None or given is None:
        given_all = [
            f"    {node.name}(connection)\n"
            for node in tree.body
            if isinstance(node, ast.FunctionDef)
            and [parameter.arg for parameter in node.args.args] == ["connection"]
            and _all_calls(node, "run_migrations")
        ]
        return given_all[:1]
    around = _function_around(tree, call)
    parameters = [parameter.arg for parameter in around.args.args] if around else []
    if around and [ast.unparse(given)] == parameters and around in tree.body:
        return [f"    {around.name}(connection)\n"]
    local = _bound(around) if around else set()
    others = [
        ast.get_source_segment(text, keyword) or ""
        for keyword in call.keywords
        if keyword.arg != "connection" and not _names(keyword.value) & local
    ]
    context = ast.unparse(call.func).removesuffix(".configure")
    return [
        f"    {context}.configure(\n",
        *(f"        {argument},\n" for argument in ["connection=connection", *others]),
        "    )\n",
        f"    with {context}.begin_transaction():\n",
        f"        {context}.run_migrations()\n",
    ]


def _configured(tree: ast.Module) -> Iterator[tuple[ast.Call, ast.expr]]:
    """Yield the calls of `context.configure` that are given a connection, and the connection."""
    for call in _all_calls(tree, "configure"):
        yield from (
            (call, keyword.value) for keyword in call.keywords if keyword.arg == "connection"
        )


def _function_around(tree: ast.Module, call: ast.Call) -> ast.FunctionDef | None:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return next((function for function in functions if call in ast.walk(function)), None)


def _calls(node: ast.AST, name: str) -> TypeGuard[ast.Call]:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == name
    )


def _all_calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if _calls(node, name)]


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)} - {*dir(builtins)}


def _bound(function: ast.FunctionDef) -> set[str]:
    """Return the names that are local to a function."""
    bound = {inner.arg for inner in ast.walk(function) if isinstance(inner, ast.arg)}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef) and node is not function:
            bound.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {alias.asname or alias.name for alias in node.names}
    return bound

"""Columns, constraints and indexes → SQLAlchemy calls. Pure.

SQL expressions are written exactly as PostgreSQL prints them. What SQLAlchemy cannot express is None here; it
becomes a statement that runs after CREATE TABLE.
"""

import re
from collections.abc import Collection, Mapping

from postgres_database.modelling import layout
from postgres_database.modelling.column_types import Spelled
from postgres_database.modelling.layout import Call
from postgres_database.schema.catalog import Column, Constraint, Table
from postgres_database.sql.names import IDENTIFIER, QUALIFIED, Name, bare, unquoted
from postgres_database.sql.tokens import parentheses, split

SERIAL = {"smallint": "smallserial", "integer": "serial", "bigint": "bigserial"}
PERCENT = "%"
"""psycopg2 takes it for a parameter in texts that SQLAlchemy passes on unchanged; there it must be doubled."""
LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}
OPTION = re.compile(r"(START WITH|INCREMENT BY|MINVALUE|MAXVALUE|CACHE) (-?\d+)")
WORDS = {
    "START WITH": "start",
    "INCREMENT BY": "increment",
    "MINVALUE": "minvalue",
    "MAXVALUE": "maxvalue",
    "CACHE": "cache",
}
INDEX = re.compile(
    rf"CREATE (?P<unique>UNIQUE )?INDEX (?P<name>{IDENTIFIER}) ON (?:ONLY )?{QUALIFIED} USING (?P<method>\w+) "
)
FOREIGN = re.compile(rf" REFERENCES (?P<table>{QUALIFIED})")
AFTER = re.compile(
    r"(?: MATCH (?P<match>\w+))?(?: ON UPDATE (?P<onupdate>CASCADE|RESTRICT|SET NULL|SET DEFAULT))?"
    r"(?: ON DELETE (?P<ondelete>(?:CASCADE|RESTRICT|SET NULL|SET DEFAULT)(?: \([^)]*\))?))?"
    r"(?P<deferrable> DEFERRABLE)?(?: INITIALLY (?P<initially>DEFERRED))?"
)
KEY = re.compile(
    r"(?:PRIMARY KEY|UNIQUE)(?P<same> NULLS NOT DISTINCT)? (?=\()|EXCLUDE USING (?P<using>\w+) (?=\()"
)


def column(
    table: Table, part: Column, spelled: Spelled, comment: str | None, *, plain: bool
) -> Call:
    """Return the arguments of a column, the same for `sa.Column` and `mapped_column`; a plain one has no default."""
    call = Call("", [layout.text(part.name), spelled.sqlalchemy])
    key = primary_key(table)
    if part.serial and part.name not in key:
        call.arguments[1] = f"SqlType({layout.text(SERIAL[part.type])})"
    if part.generated:
        persisted = part.generated == "s"
        expression = layout.text(layout.escaped(_bare(part.default)))
        call.arguments.append(Call("sa.Computed", [expression], {"persisted": str(persisted)}))
    elif part.identity:
        call.arguments.append(_identity(part))
    elif part.default and not (part.serial or plain):
        call.named["server_default"] = layout.sql_text(part.default)
    if part.name in key:
        call.named.update(_in_key(table, part))
    if comment is not None:
        call.named["comment"] = layout.text(comment)
    if part.inherited:  # CREATE TABLE must not name what comes from the parent
        call.named["system"] = "True"
    return call


def _in_key(table: Table, part: Column) -> dict[str, str]:
    """Return the arguments of a column in the primary key; `autoincrement` says whether it is a serial."""
    named = {"primary_key": "True"} if usual_key(table) else {}
    if part.serial:
        named["autoincrement"] = "True"
    elif part.type in SERIAL and not part.identity:
        named["autoincrement"] = "False"
    return named


def primary_key(table: Table) -> tuple[str, ...]:
    """Return the columns of the primary key of a table; none if it has no primary key."""
    keys = [each.columns for each in table.constraints.values() if each.kind == "p"]
    return keys[0] if keys else ()


def has_key(table: Table) -> bool:
    """Tell whether a table has a primary key that SQLAlchemy can express."""
    return any(each.kind == "p" and _key(each) for each in table.constraints.values())


def usual_key(table: Table) -> bool:
    """Tell whether `primary_key=True` on the columns is enough: default name, no options, the table's order.

    SQLAlchemy puts a serial column first.
    """
    order = [name for name in table.columns if name in primary_key(table)]
    return any(
        each.kind == "p"
        and each.name == f"{table.name.name}_pkey"
        and each.definition == f"PRIMARY KEY {_after_word(each.definition)}"
        and list(each.columns) == order
        and not any(table.columns[name].serial for name in order[1:])
        for each in table.constraints.values()
    )


def _after_word(definition: str) -> str:
    """Return the first parentheses of a definition, with what they enclose."""
    span = parentheses(definition)
    return definition[span[0] - 1 : span[1] + 1] if span else ""


def _identity(part: Column) -> Call:
    options = {name: int(value) for name, value in OPTION.findall(part.options)}
    down = options.get("INCREMENT BY", 1) < 0
    largest = LARGEST.get(part.type, 0)
    usual = {
        "INCREMENT BY": 1,
        "MINVALUE": -largest - 1 if down else 1,
        "MAXVALUE": -1 if down else largest,
        "CACHE": 1,
    }
    first = options.get("MAXVALUE" if down else "MINVALUE")
    named = {"always": "True"} if part.identity == "a" else {}
    for name, value in options.items():
        if value != usual.get(name, first):
            named[WORDS[name]] = str(value)
    if part.options.removesuffix(")").endswith("CYCLE"):
        named["cycle"] = "True"
    return Call("sa.Identity", [], named)


def constraint(part: Constraint, tables: Collection[Name]) -> Call | None:
    """Return a constraint; None if SQLAlchemy cannot express it.

    Args:
        part: The constraint.
        tables: The tables of the module; a foreign key to another table is a statement.
    """
    if part.kind == "c":
        return _check(part)
    if part.kind == "f":
        return _foreign_key(part, tables)
    return None if part.kind == "n" else _key(part)


def _check(part: Constraint) -> Call | None:
    span = parentheses(part.definition)
    if span is None or part.definition[span[1] :] != ")":  # NOT VALID, NO INHERIT, NOT ENFORCED
        return None
    inside = layout.text(layout.escaped(_bare(part.definition[slice(*span)])))
    return Call("sa.CheckConstraint", [inside], {"name": layout.text(part.name)})


def _key(part: Constraint) -> Call | None:
    start, span = KEY.match(part.definition), parentheses(part.definition)
    if start is None or span is None or "WITHOUT OVERLAPS" in part.definition:
        return None
    inside, rest = part.definition[slice(*span)], part.definition[span[1] + 1 :]
    named: dict[str, str] = {"name": layout.text(part.name)}
    if part.kind == "x":
        elements = []
        for each in split(inside, ","):
            what, _, operator = each.strip().rpartition(" WITH ")
            elements.append(f"({layout.sql_text(what)}, {layout.text(operator)})")
        named["using"] = layout.text(start["using"])
        if rest.startswith(" WHERE (") and (where := parentheses(rest)):
            named["where"] = layout.sql_text(_bare(rest[slice(*where)]))
            rest = rest[where[1] + 1 :]
        call = Call("postgresql.ExcludeConstraint", [*elements], named)
    else:
        kind = "sa.PrimaryKeyConstraint" if part.kind == "p" else "sa.UniqueConstraint"
        call = Call(kind, [*map(layout.text, part.columns)], named)
        if start["same"]:
            named["postgresql_nulls_not_distinct"] = "True"
        rest = _included(rest, named)
    return call if _after(rest, named) else None


def _included(rest: str, named: dict[str, str]) -> str:
    """Add INCLUDE (…) to `named`, if `rest` begins with it; return what follows."""
    if not rest.startswith(" INCLUDE (") or not (span := parentheses(rest)):
        return rest
    named["postgresql_include"] = layout.strings(
        bare(each) for each in split(rest[slice(*span)], ",")
    )
    return rest[span[1] + 1 :]


def _after(rest: str, named: dict[str, str]) -> bool:
    """Add MATCH, ON UPDATE, ON DELETE and DEFERRABLE to `named`; tell whether `rest` holds nothing else."""
    match = AFTER.fullmatch(rest)
    for name, value in (match.groupdict() if match else {}).items():
        if value:
            named[name] = "True" if name == "deferrable" else layout.text(value)
    return match is not None


def _foreign_key(part: Constraint, tables: Collection[Name]) -> Call | None:
    span = parentheses(part.definition)
    match = FOREIGN.match(part.definition, span[1] + 1) if span else None
    target = parentheses(part.definition, match.end()) if match else None
    if match is None or target is None or ", PERIOD " in part.definition:
        return None
    table = Name.read(match["table"])
    names = [bare(each) for each in split(part.definition[slice(*target)], ",")]
    if table not in tables or any("." in name for name in (*table, *names)):
        return None
    place = f"{table.given_schema}.{table.name}" if table.given_schema else table.name
    named: dict[str, str] = {"name": layout.text(part.name)}
    arguments = [layout.strings(part.columns), layout.strings(f"{place}.{name}" for name in names)]
    call = Call("sa.ForeignKeyConstraint", arguments, named)
    return call if _after(part.definition[target[1] + 1 :], named) else None


def index(definition: str) -> Call | None:
    """Return an index, given by its CREATE INDEX; None if SQLAlchemy cannot express it."""
    match = INDEX.match(definition)
    span = parentheses(definition, match.end()) if match else None
    if match is None or span is None:
        return None
    keys = [
        layout.text(unquoted(each)[0])
        if re.fullmatch(IDENTIFIER, each.strip())
        else layout.sql_text(each.strip())
        for each in split(definition[slice(*span)], ",")
    ]
    named: dict[str, str] = {}
    if match["unique"]:
        named["unique"] = "True"
    if match["method"] != "btree":
        named["postgresql_using"] = layout.text(match["method"])
    rest = _included(definition[span[1] + 1 :], named)
    if rest.startswith(" NULLS NOT DISTINCT"):
        named["postgresql_nulls_not_distinct"] = "True"
        rest = rest.removeprefix(" NULLS NOT DISTINCT")
    if rest.startswith(" WITH (") and (inside := parentheses(rest)):
        named["postgresql_with"] = options(split(rest[slice(*inside)], ","))
        rest = rest[inside[1] + 1 :]
    if rest.startswith(" WHERE "):
        named["postgresql_where"] = layout.sql_text(_bare(rest.removeprefix(" WHERE ")))
        rest = ""
    return None if rest else Call("sa.Index", [layout.text(bare(match["name"])), *keys], named)


def options(settings: Collection[str]) -> str:
    """Return the dict of storage parameters, which are given as `fillfactor=70`."""
    pairs = (each.strip().split("=", 1) for each in settings)
    return layout.mapping({name: layout.text(value.strip("'")) for name, value in pairs})


def settings(table: Table, comment: str | None) -> dict[str, str]:
    """Return the named arguments of a table: schema, comment, partitioning, storage parameters and parents."""
    possible: Mapping[str, str] = {
        "schema": layout.text(table.name.schema) if table.name.given_schema else "",
        "comment": layout.text(comment) if comment is not None else "",
        "prefixes": "" if table.logged else '["UNLOGGED"]',
        "postgresql_partition_by": layout.text(table.partitioned_by.replace(PERCENT, PERCENT * 2))
        if table.partitioned_by
        else "",
        "postgresql_with": options(table.options) if table.options else "",
        "postgresql_inherits": ", ".join(
            f"sa.sql.quoted_name({layout.text(parent.replace(PERCENT, PERCENT * 2))}, quote=False)"
            for parent in table.parents
        ),
    }
    present = {name: value for name, value in possible.items() if value}
    if table.parents:
        present["postgresql_inherits"] = f"({present['postgresql_inherits']},)"
    return present


def _bare(sql: str) -> str:
    """Remove parentheses around the whole expression."""
    text = sql.strip()
    inside = text.startswith("(") and parentheses(text) == (1, len(text) - 1)
    return text[1:-1] if inside else text

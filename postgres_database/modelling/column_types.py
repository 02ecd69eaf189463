"""The type of a column → what SQLAlchemy calls it, and what it is in Python. Pure.

A type that SQLAlchemy has no class for is named as PostgreSQL names it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from postgres_database.modelling import layout
from postgres_database.modelling.layout import Call
from postgres_database.schema.catalog import Catalog, Type
from postgres_database.sql.names import QUALIFIED, unquoted

PLAIN = {
    "smallint": ("sa.SmallInteger()", "int"),
    "integer": ("sa.Integer()", "int"),
    "bigint": ("sa.BigInteger()", "int"),
    "boolean": ("sa.Boolean()", "bool"),
    "text": ("sa.Text()", "str"),
    "character varying": ("sa.String()", "str"),
    "numeric": ("sa.Numeric()", "Decimal"),
    "real": ("sa.REAL()", "float"),
    "double precision": ("sa.Double()", "float"),
    "date": ("sa.Date()", "datetime.date"),
    "timestamp without time zone": ("sa.DateTime()", "datetime.datetime"),
    "timestamp with time zone": ("sa.DateTime(timezone=True)", "datetime.datetime"),
    "time without time zone": ("sa.Time()", "datetime.time"),
    "time with time zone": ("sa.Time(timezone=True)", "datetime.time"),
    "interval": ("sa.Interval()", "datetime.timedelta"),
    "uuid": ("sa.Uuid()", "uuid.UUID"),
    "bytea": ("sa.LargeBinary()", "bytes"),
    "json": ("postgresql.JSON()", "Any"),
    "jsonb": ("postgresql.JSONB()", "Any"),
    "inet": ("postgresql.INET()", "Any"),
    "cidr": ("postgresql.CIDR()", "Any"),
    "macaddr": ("postgresql.MACADDR()", "str"),
    "macaddr8": ("postgresql.MACADDR8()", "str"),
    "money": ("postgresql.MONEY()", "str"),
    "oid": ("postgresql.OID()", "int"),
    "tsvector": ("postgresql.TSVECTOR()", "str"),
    "tsquery": ("postgresql.TSQUERY()", "str"),
    "public.citext": ("postgresql.CITEXT()", "str"),
    "public.hstore": ("postgresql.HSTORE()", "dict[str, str | None]"),
    **{
        f"{name}{kind}": (f"postgresql.{name.upper()}{kind.upper()}()", "Any")
        for name in ("int4", "int8", "num", "ts", "tstz", "date")
        for kind in ("range", "multirange")
    },
}
LIMITED = {
    "character varying": ("sa.String({})", "str"),
    "character": ("sa.CHAR({})", "str"),
    "numeric": ("sa.Numeric({})", "Decimal"),
    "bit": ("postgresql.BIT({})", "str"),
    "bit varying": ("postgresql.BIT({}, varying=True)", "str"),
    "timestamp without time zone": ("postgresql.TIMESTAMP(precision={})", "datetime.datetime"),
    "timestamp with time zone": (
        "postgresql.TIMESTAMP(timezone=True, precision={})",
        "datetime.datetime",
    ),
    "time without time zone": ("postgresql.TIME(precision={})", "datetime.time"),
    "time with time zone": ("postgresql.TIME(timezone=True, precision={})", "datetime.time"),
    "interval": ("postgresql.INTERVAL(precision={})", "datetime.timedelta"),
}
"""With what stands in parentheses: a length, precision and scale."""
LIMITS = re.compile(r"\((-?\d+(?:,-?\d+)?)\)")
COLLATED = {"text", "character varying", "character"}
CHECK = re.compile(r"CHECK \((.*)\)", re.DOTALL)


@dataclass(frozen=True)
class Spelled:
    """A type in Python."""

    sqlalchemy: str
    python: str


@dataclass(frozen=True)
class Shared:
    """The types that the module defines once, by the name that columns have them under."""

    names: Mapping[str, str]
    """The variable of each."""
    definitions: Mapping[str, Call]
    python: Mapping[str, str]


def spelled(type_: str, collation: str, shared: Shared) -> Spelled:
    """Return a type.

    Args:
        type_: As PostgreSQL prints it.
        collation: Of the column, if it is not the type's own, for SQL.
        shared: Enums and domains.
    """
    item = type_.removesuffix("[]")
    base, limits = LIMITS.sub("", item), LIMITS.search(item)
    if collation:
        return _collated(type_, base, limits[1] if limits else "", collation)
    if item in shared.names:
        found = shared.names[item], shared.python[item]
    elif limits:
        form, python = LIMITED.get(base, ("", "Any"))
        found = form.format(limits[1].replace(",", ", ")), python
    else:
        found = PLAIN.get(item, ("", "Any"))
    if not found[0]:
        return _named(type_)
    if item == type_:
        return Spelled(*found)
    return Spelled(f"postgresql.ARRAY({found[0]})", f"list[{found[1]}]")


def _named(type_: str) -> Spelled:
    return Spelled(f"SqlType({layout.text(type_)})", "Any")


def _collated(type_: str, base: str, limit: str, collation: str) -> Spelled:
    schema_and_name = unquoted(collation)
    if base not in COLLATED or type_.endswith("[]") or len(schema_and_name) > 1:
        return _named(f"{type_} COLLATE {collation}")
    kind = {"text": "Text", "character": "CHAR"}.get(base, "String")
    arguments = [*filter(None, [limit]), f"collation={layout.text(schema_and_name[-1])}"]
    return Spelled(f"sa.{kind}({', '.join(arguments)})", "str")


def shared_types(catalog: Catalog, used: set[str]) -> Shared:
    """Return enums and domains that columns have, as far as SQLAlchemy can say them.

    A domain with several checks, or over a type that is no plain one, is only named: it is the history's. So is what
    another type of the history stands on, which could not be made before it.
    """
    under = {
        bare(part)
        for type_ in catalog.types.values()
        for part in (type_.shape, *type_.attributes.values())
    }
    names: dict[str, str] = {}
    definitions, python = {}, {}
    nothing = Shared({}, {}, {})
    for type_ in catalog.types.values():
        if type_.sql not in used - under:
            continue
        if type_.kind == "e" and type_.labels:
            said: Call | None = Call("postgresql.ENUM", [*map(layout.text, type_.labels)])
            kind = "str"
        else:
            said, kind = _domain(type_, nothing) if type_.kind == "d" else (None, "")
        if said is None:
            continue
        said.named["name"] = layout.text(type_.name.name)
        if type_.name.given_schema:
            said.named["schema"] = layout.text(type_.name.schema)
        said.named["metadata"] = "metadata"
        variable = layout.class_name(f"{type_.name.name}_type", names.values())
        names[type_.sql], definitions[type_.sql], python[type_.sql] = variable, said, kind
    return Shared(names, definitions, python)


def _domain(type_: Type, nothing: Shared) -> tuple[Call | None, str]:
    base = spelled(type_.shape, "", nothing)
    checks = [*type_.constraints.items()]
    match = CHECK.fullmatch(checks[0][1]) if checks else None
    if len(checks) > 1 or bool(checks) != bool(match) or base.sqlalchemy.startswith("SqlType"):
        return None, ""
    said = Call("postgresql.DOMAIN", [])
    said.named["data_type"] = base.sqlalchemy
    if type_.default:
        said.named["default"] = layout.sql_text(type_.default)
    if type_.not_null:
        said.named["not_null"] = "True"
    if match:
        if checks[0][0] != f"{type_.name.name}_check":
            if type_.not_null:  # SQLAlchemy would give the name to NOT NULL
                return None, ""
            said.named["constraint_name"] = layout.text(checks[0][0])
        said.named["check"] = layout.sql_text(match[1])
    return said, base.python


def bare(type_: str) -> str:
    """Return a type without its length and without its being an array."""
    return re.sub(rf"^({QUALIFIED})\(.*\)", r"\1", type_.removesuffix("[]"))

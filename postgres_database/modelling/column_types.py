"""The type of a column → its SQLAlchemy and its Python type. Pure.

A type without a class in SQLAlchemy becomes `SqlType("its name in PostgreSQL")`, a class of the written module.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from postgres_database.modelling import layout
from postgres_database.modelling.layout import Call
from postgres_database.schema.catalog import Catalog, Type
from postgres_database.sql.names import QUALIFIED, unquoted

# A type as PostgreSQL prints it: its SQLAlchemy and its Python type.
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
"""The same for types with a modifier: a length, a precision, or precision and scale."""
LIMITS = re.compile(r"\((-?\d+(?:,-?\d+)?)\)")
COLLATED = {"text", "character varying", "character"}
"""Types whose SQLAlchemy class takes a collation."""
CHECK = re.compile(r"CHECK \((.*)\)", re.DOTALL)


@dataclass(frozen=True)
class Spelled:
    """A column's type in a module of models."""

    sqlalchemy: str
    """An expression, such as `sa.String(9)`."""
    python: str
    """An annotation, such as `str`."""


@dataclass(frozen=True)
class Shared:
    """The enums and domains that the module defines as variables, by the name of the type in SQL."""

    names: Mapping[str, str]
    """Their variables."""
    definitions: Mapping[str, Call]
    python: Mapping[str, str]
    """Their Python types."""


def spelled(type_: str, collation: str, shared: Shared) -> Spelled:
    """Return the type of a column as a module of models has it.

    Args:
        type_: The type as PostgreSQL prints it.
        collation: The column's collation as in SQL; empty if it is the type's own.
        shared: The enums and domains that the module defines.
    """
    item = type_.removesuffix("[]")
    base, limits = LIMITS.sub("", item), LIMITS.search(item)
    if collation:
        return _collated(type_, base, limits[1] if limits else "", collation)
    if item in shared.names:
        result = Spelled(shared.names[item], shared.python[item])
    elif limits:
        form, python = LIMITED.get(base, ("", "Any"))
        result = Spelled(form.format(limits[1].replace(",", ", ")), python)
    else:
        result = Spelled(*PLAIN.get(item, ("", "Any")))
    if not result.sqlalchemy:
        return _named(type_)
    if item == type_:
        return result
    return Spelled(f"postgresql.ARRAY({result.sqlalchemy})", f"list[{result.python}]")


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
    """Return the enums and domains in use that the module can define; the history creates the others.

    The history creates domains with several checks, domains over types unknown to SQLAlchemy, and types of which
    another type is made, because the history creates that one before the models' types.
    """
    components = {
        bare(part)
        for type_ in catalog.types.values()
        for part in (type_.shape, *type_.attributes.values())
    }
    names: dict[str, str] = {}
    definitions, python = {}, {}
    for type_ in catalog.types.values():
        if type_.sql not in used - components:
            continue
        if type_.kind == "e" and type_.labels:
            call: Call | None = Call("postgresql.ENUM", [*map(layout.text, type_.labels)])
            kind = "str"
        else:
            call, kind = _domain(type_) if type_.kind == "d" else (None, "")
        if call is None:
            continue
        call.named["name"] = layout.text(type_.name.name)
        if type_.name.given_schema:
            call.named["schema"] = layout.text(type_.name.schema)
        call.named["metadata"] = "metadata"
        variable = layout.class_name(f"{type_.name.name}_type", names.values())
        names[type_.sql], definitions[type_.sql], python[type_.sql] = variable, call, kind
    return Shared(names, definitions, python)


def _domain(type_: Type) -> tuple[Call | None, str]:
    """Return the definition of a domain and its Python type; None if SQLAlchemy cannot express the domain."""
    base = spelled(type_.shape, "", Shared({}, {}, {}))
    checks = [*type_.constraints.items()]
    match = CHECK.fullmatch(checks[0][1]) if checks else None
    if len(checks) > 1 or bool(checks) != bool(match) or base.sqlalchemy.startswith("SqlType"):
        return None, ""
    call = Call("postgresql.DOMAIN", [])
    call.named["data_type"] = base.sqlalchemy
    if type_.default:
        call.named["default"] = layout.sql_text(type_.default)
    if type_.not_null:
        call.named["not_null"] = "True"
    if match:
        if checks[0][0] != f"{type_.name.name}_check":
            if type_.not_null:  # SQLAlchemy would give the name to NOT NULL
                return None, ""
            call.named["constraint_name"] = layout.text(checks[0][0])
        call.named["check"] = layout.sql_text(match[1])
    return call, base.python


def bare(type_: str) -> str:
    """Return a type without its modifier; of an array, the type of its elements."""
    return re.sub(rf"^({QUALIFIED})\(.*\)", r"\1", type_.removesuffix("[]"))

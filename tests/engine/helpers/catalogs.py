"""Catalogs of tables and enums made from a few words, without a database."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from postgres_database.schema.catalog import Catalog, Column, Table, Type
from postgres_database.sql.names import Name


def column(name: str, type_: str, **special: Any) -> Column:
    """Return a column with a name and a type; `special` sets other fields."""
    plain = Column(name, type_, "", "", "", "", False, "", False, "", "x", "", -1, (), False)  # noqa: FBT003
    return replace(plain, **special)


def table(name: Name, columns: Mapping[str, str]) -> Table:
    """Return a plain table."""
    made = {each: column(each, type_) for each, type_ in columns.items()}
    return Table(name, "r", False, "", (), True, (), "heap", "", "d", "", False, False, "", made)  # noqa: FBT003


def catalog(tables: Mapping[str, Mapping[str, str]], **enums: tuple[str, ...]) -> Catalog:
    """Return a catalog of tables and enums, by names with or without a schema."""
    names = {text: Name(*(("public." + text).split(".")[-2:])) for text in tables}
    types = {
        Name("public", name): Type(Name("public", name), "e", f"public.{name}", labels)
        for name, labels in enums.items()
    }
    schemas = {"public", *(name.schema for name in names.values())}
    return Catalog(
        tuple(sorted(schemas)),
        {name: table(name, tables[text]) for text, name in names.items()},
        types,
        {},
    )  # fmt: skip

"""Which table an object of a dump belongs to, which tables inherit from which, and what the models do not know of it.

Pure: no database.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from postgres_database.schema.catalog import Catalog, Column, Table
from postgres_database.schema.sections import KEPT_CHUNKS
from postgres_database.schema.snapshot import Key, Snapshot
from postgres_database.sql.names import QUALIFIED, Name

OWNER = re.compile(
    rf"CREATE (?:UNLOGGED |FOREIGN )*TABLE (?P<table>{QUALIFIED})"
    rf"|ALTER (?:FOREIGN )?TABLE (?:ONLY )?(?P<altered>{QUALIFIED})"
    rf"|CREATE (?:UNIQUE )?INDEX .*? ON (?:ONLY )?(?P<indexed>{QUALIFIED}) USING"
    rf"|COMMENT ON (?:TABLE|COLUMN) (?P<commented>{QUALIFIED})"
    rf"|COMMENT ON (?:CONSTRAINT|TRIGGER|POLICY|RULE) .*? ON (?P<partly>{QUALIFIED}) IS"
    rf"|CREATE (?:CONSTRAINT )?TRIGGER .*? ON (?P<triggering>{QUALIFIED}) "
    rf"|CREATE POLICY .*? ON (?P<secured>{QUALIFIED})"
    rf"|CREATE RULE .*? TO (?P<ruled>{QUALIFIED})"
    rf"|CREATE STATISTICS .*? FROM (?P<measured>{QUALIFIED});"
    rf"|(?:GRANT|REVOKE) [^;]*? ON TABLE (?P<granted>{QUALIFIED}) ",
    re.DOTALL,
)
OTHERS = frozenset((
    "schema_migrations", "ar_internal_metadata", "flyway_schema_history", "databasechangelog",
    "databasechangeloglock", "django_migrations", "_prisma_migrations", "goose_db_version",
    "knex_migrations", "knex_migrations_lock", "_sqlx_migrations", "__diesel_schema_migrations",
    "__EFMigrationsHistory", "SequelizeMeta", "pgmigrations", "doctrine_migration_versions",
    "mikro_orm_migrations", "atlas_schema_revisions", "spatial_ref_sys", "alembic_version",
))  # fmt: skip
"""Tables of other migration tools, and of another application's Alembic: one's own version table is in no dump."""
PLACE = re.compile(
    rf"ALTER TABLE ONLY (?P<parent>{QUALIFIED}) ATTACH PARTITION {QUALIFIED} (?P<bound>.*)",
    re.DOTALL,
)
INDEXED = ("INDEX", "CONSTRAINT", "FK CONSTRAINT")


def kept(left: Catalog, right: Catalog) -> set[Name]:
    """Return the tables that are kept though the models do not know them, with the partitions of these."""

    def is_kept(name: Name) -> bool:
        table = left.tables.get(name)
        if table is None or name in right.tables:
            return False
        parent = Name.read(table.parents[0]) if table.partition else None
        return name.name in OTHERS or (
            parent is not None and (parent in right.tables or is_kept(parent))
        )

    return {name for name in left.tables if is_kept(name)}


def renamed(left: Snapshot, right: Snapshot) -> set[Name]:
    """Return the partitions of the left side whose bounds another partition has on the right: there is room for one."""
    places = [
        {
            (match["parent"], match["bound"]): Name(key.schema, key.name)
            for key, texts in side.objects.items()
            if key.kind == "TABLE ATTACH" and (match := PLACE.match(texts[0]))
        }
        for side in (left, right)
    ]
    return {name for place, name in places[0].items() if places[1].get(place, name) != name}


def parts(
    names: Collection[Name], objects: Mapping[Key, tuple[str, ...]]
) -> dict[Key, tuple[str, ...]]:
    """Return the indexes and constraints of tables, and what attaches these to others.

    Args:
        names: The tables.
        objects: Where they are looked for.
    """
    found = {
        key: texts
        for key, texts in objects.items()
        if key.kind in INDEXED and owner(texts[0]) in names
    }
    own = {
        (key.schema, key.name.removeprefix(f"{table.name} "))
        for key, texts in found.items()
        if (table := owner(texts[0]))
    }
    return found | {
        key: texts
        for key, texts in objects.items()
        if key.kind == "INDEX ATTACH" and (key.schema, key.name) in own
    }


def indexes(tables: Iterable[Table], keys: Iterable[Key]) -> set[str]:
    """Return the names of the indexes of tables, also of those that constraints have."""
    names = {key.name for key in keys if key.kind == "INDEX"}
    rules = [key.name for key in keys if key.kind == "CONSTRAINT"]
    for table in tables:
        start = f"{table.name.name} "
        names |= {rule.removeprefix(start) for rule in rules if rule.startswith(start)}
    return names


@lru_cache(maxsize=KEPT_CHUNKS)
def owner(text: str) -> Name | None:
    """Return the table that a statement of a dump makes or belongs to, if it is of one."""
    match = OWNER.match(text)
    return Name.read(next(filter(None, match.groups()))) if match else None


def parents_first(catalog: Catalog) -> list[Name]:
    """Return the tables in an order in which what children inherit comes with their parents'."""

    def generation(name: Name) -> int:
        table = catalog.tables.get(name)
        parents = map(Name.read, table.parents) if table else ()
        return max((generation(each) + 1 for each in parents), default=0)

    return sorted(catalog.tables, key=generation)


def ancestors(name: Name, catalog: Catalog) -> set[Name]:
    """Return the tables from which a table inherits, directly or not."""
    table = catalog.tables.get(name)
    parents = {Name.read(each) for each in table.parents} if table else set()
    return parents.union(*(ancestors(each, catalog) for each in parents))


def without_parents(name: Name, here: Catalog, goal: Catalog) -> Table:
    """Return the goal's table as it is to be before its parents change.

    SET and DROP NOT NULL of a parent hold for its children as well (PostgreSQL manual, ALTER TABLE, "Description"); a
    child's own would make the constraint its own, which then stays when the parent's goes.
    """
    table = goal.tables[name]
    above = [each for each in ancestors(name, goal) if each in here.tables and each in goal.tables]

    def is_parents(column: Column) -> bool:
        pairs = [
            [each.tables[parent].columns.get(column.name) for each in (here, goal)]
            for parent in above
        ]
        return any(
            old and new and old.not_null != new.not_null == column.not_null for old, new in pairs
        )

    before = here.tables[name].columns
    columns = {
        part: replace(column, not_null=before[part].not_null)
        if part in before and column.inherited and is_parents(column)
        else column
        for part, column in table.columns.items()
    }
    return replace(table, columns=columns)

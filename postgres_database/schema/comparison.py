"""Models against history: which objects differ, and which of them the models manage."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from postgres_database.schema import catalog, partitions, snapshot
from postgres_database.schema.catalog import Catalog, Table
from postgres_database.schema.partitions import owner
from postgres_database.schema.scope import Scope
from postgres_database.schema.snapshot import Difference, Key, Snapshot
from postgres_database.server.connection import Database
from postgres_database.sql.names import Name

ALEMBIC_KINDS = ("TABLE", "DEFAULT", "INDEX")
"""The kinds that Alembic drops when the models do not know them; besides constraints and comments on tables."""

FORCED = re.compile(r"\n+ALTER TABLE [^;]* FORCE ROW LEVEL SECURITY;")
"""What a dump prints with a table, though the rest of row security is an object of its own."""
RELATIONS = ("VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE")
PARTS = ("TABLE", "COLUMN")
ATTACHED = ("TABLE ATTACH", "INDEX ATTACH")
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Side:
    """A database as it is compared."""

    snapshot: Snapshot
    catalog: Catalog
    hidden: Snapshot = field(default_factory=lambda: Snapshot({}))
    """Indexes and constraints of partitions that the models do not know: to be there again after a downgrade."""


@dataclass(frozen=True)
class Differences:
    """What must change in the history's schema (left) to be the models' (right)."""

    objects: tuple[Difference, ...]
    """Objects whose definitions differ, as PostgreSQL prints them. Empty: nothing to do."""
    kept: tuple[Key, ...] = ()
    """Objects that only the history has and that stay: views, functions, … of scripts by hand."""
    detected: tuple[str, ...] = ()
    """What Alembic finds, a line each."""


def side(database: Database) -> Side:
    """Read a database."""
    return sides(database)[0]


def sides(*databases: Database) -> tuple[Side, ...]:
    """Read databases in parallel: most of the time is spent waiting for pg_dump and the server."""
    with ThreadPoolExecutor() as pool:
        snapshots = [pool.submit(snapshot.take, each) for each in databases]
        catalogs = [pool.submit(catalog.take, each) for each in databases]
        pairs = zip(snapshots, catalogs, strict=True)
        return tuple(Side(objects.result(), parts.result()) for objects, parts in pairs)


class Comparison:
    """Two schemas, limited to what this project manages.

    Models often do not know everything. What only the history has is therefore kept, unless it once
    came from the models or belongs to a table of theirs. Out of sight are partitions, which another
    process may make, the tables of other tools, and what `alembic.ini` excludes.
    """

    def __init__(self, scope: Scope, left: Side, right: Side, owned: Collection[str]) -> None:
        """Compare two sides.

        Args:
            scope: Which schemas are included and what is excluded.
            left: What the history makes.
            right: What the models make.
            owned: The objects that once came from the models, as `History.objects` has them.
        """
        self._scope = scope
        self._owned = owned
        self._partitions = partitions.kept(left.catalog, right.catalog) - partitions.renamed(
            left.snapshot, right.snapshot
        )
        self.before = self.seen(left)
        self.models = _as_secure(self.seen(right), self.before, owned)
        here, there = ({*each.catalog.tables} for each in (self.before, self.models))
        by_hand = {  # no Alembic and no SQLAlchemy knows foreign tables
            name
            for name in here - there
            if self.before.catalog.tables[name].kind == "f"
            and str(Key("FOREIGN TABLE", *name)) not in owned
        }
        here -= by_hand
        self._tables = here | there
        self._kinds = {key.kind for key in self.before.snapshot.objects}
        self._dropped = here - there
        self._standalone = left.catalog.sequences.keys() | right.catalog.sequences.keys()
        hidden = [
            Key("TABLE", *name) for name in sorted(self._partitions) if self._scope.includes(*name)
        ]
        self.differences = self._compare(hidden)
        self.goal = _joined(self.models, self.before, self.differences.kept)
        pairs = (left, self.before), (right, self.models)
        self._leaves_out = any(
            whole.snapshot.objects.keys() - seen.snapshot.objects.keys() for whole, seen in pairs
        )

    def between(self, left: Side, right: Side) -> "Comparison":
        """Return the same comparison of two other sides, such as one that is on the way."""
        return Comparison(self._scope, left, right, self._owned)

    def look(self, database: Database, goal: Side) -> Side:
        """Read a database that should be what a goal of this comparison is; return its managed part.

        Where nothing is out of sight and the snapshot is that of the goal, so is the catalog, which is not read then.
        """
        if self._leaves_out:
            return self.seen(side(database))
        found = snapshot.take(database)
        if found == goal.snapshot:
            return goal
        return self.seen(Side(found, catalog.take(database)))

    def seen(self, whole: Side) -> Side:
        """Return the managed part of a database that is one of the two, or between them."""
        parts = whole.catalog
        hidden = [table for name, table in parts.tables.items() if not self._sees(name)]
        objects = whole.snapshot.objects
        seen = self._objects_seen(objects, hidden)
        return Side(
            Snapshot(seen),
            Catalog(
                tuple(name for name in parts.schemas if self._scope.includes(name)),
                self._seen(parts.tables),
                self._seen(parts.types),
                self._seen(parts.sequences),
            ),
            Snapshot(
                {**whole.hidden.objects, **self._hidden(objects.keys() - seen.keys(), objects)}
            ),
        )

    def _hidden(
        self, keys: Iterable[Key], objects: Mapping[Key, tuple[str, ...]]
    ) -> dict[Key, tuple[str, ...]]:
        names = {name for name in self._partitions if self._scope.includes(*name)}
        return partitions.parts(names, {key: objects[key] for key in keys})

    def _seen(self, things: Mapping[Name, Thing]) -> dict[Name, Thing]:
        return {name: thing for name, thing in things.items() if self._sees(name)}

    def _objects_seen(
        self, objects: Mapping[Key, tuple[str, ...]], hidden: Sequence[Table]
    ) -> dict[Key, tuple[str, ...]]:
        """Leave out what belongs to hidden tables, or attaches them or their indexes."""
        owners = {table.name for table in hidden}
        sequences = {
            Name.read(column.sequence)
            for table in hidden
            for column in table.columns.values()
            if column.sequence
        }
        seen = {
            key: texts
            for key, texts in objects.items()
            if owner(texts[0]) not in owners
            and Name(key.schema, key.name) not in sequences
            and self._sees_object(key)
        }
        gone = objects.keys() - seen.keys()
        attached = {table.name.name for table in hidden} | partitions.indexes(hidden, gone)
        return {
            key: texts
            for key, texts in seen.items()
            if key.kind not in ATTACHED or key.name not in attached
        }

    def unlike(self, side: Side, goal: Side) -> tuple[Difference, ...]:
        """Return in what a side differs from a goal of this comparison.

        What only the history has may be printed otherwise when a type under it has changed.
        """
        kept = self.differences.kept if goal is self.goal else ()
        found = tuple(
            each
            for each in side.snapshot.difference(goal.snapshot)
            if not (each.left and each.right and each.key in kept)
        )
        return (*found, *side.hidden.difference(goal.hidden)) if goal.hidden.objects else found

    def new_objects(self) -> tuple[str, ...]:
        """Return what the models have besides tables and their parts, and no script lists yet."""
        return tuple(
            str(key)
            for key, (body, *_) in self.models.snapshot.objects.items()
            if str(key) not in self._owned and not self._is_part_of_table(key, body)
        )

    def _compare(self, hidden: Collection[Key]) -> Differences:
        objects, kept = [], []
        for difference in self.before.snapshot.difference(self.models.snapshot):
            if difference.right or self._is_models(difference.key, difference.left):
                objects.append(difference)
            else:
                kept.append(difference.key)
        inhabited = {key.schema for key in kept}
        stay = [
            each
            for each in objects
            if each.key.kind == "SCHEMA" and not each.right and each.key.name in inhabited
        ]
        return Differences(
            tuple(each for each in objects if each not in stay),
            (*hidden, *kept, *(each.key for each in stay)),
        )

    def _is_models(self, key: Key, text: str) -> bool:
        """Tell whether an object that only the history has is to be dropped."""
        if str(key) in self._owned or self._is_part_of_table(key, text):
            return True
        tables = self.before.catalog.tables
        if key.kind in {"COMMENT", "ACL"} and (about := self._about(key)):
            gone = about not in self.models.snapshot.objects
            return gone and self._is_models(about, self.before.snapshot.objects[about][0])
        if key.kind in {"TYPE", "DOMAIN"}:
            type_ = self.before.catalog.types.get(Name(key.schema, key.name))
            columns = (column for table in tables.values() for column in table.columns.values())
            used = {column.type.removesuffix("[]") for column in columns}
            return type_ is not None and type_.sql in used and not self._stays_under(key, type_.sql)
        if key.kind == "SCHEMA":
            return any(name.schema == key.name for name in tables)
        return owner(text) in self._dropped

    def _stays_under(self, key: Key, name: str) -> bool:
        """Tell whether an object that stays, such as a function of a script by hand, needs a type."""
        needs = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)")
        return any(
            needs.search("\n".join(texts)) and not self._is_models(other, texts[0])
            for other, texts in self.before.snapshot.objects.items()
            if other not in self.models.snapshot.objects
            and other != key
            and other.kind not in {"COMMENT", "ACL"}
        )

    def _about(self, key: Key) -> Key | None:
        """Return the object that a comment or a grant goes with; a dump calls every relation a table."""
        objects = self.before.snapshot.objects
        for kind in {each for each in self._kinds if key.name.startswith(f"{each} ")}:
            about = Key(kind, key.schema, key.name.removeprefix(f"{kind} "))
            if about in objects:
                return about
        kind, _, name = key.name.partition(" ")
        relation = name.rpartition(".")[0] if kind == "COLUMN" else name
        found = (Key(each, key.schema, relation) for each in RELATIONS)
        return next((each for each in found if each in objects), None) if kind in PARTS else None

    def _is_part_of_table(self, key: Key, text: str) -> bool:
        """Tell whether Alembic itself would know this: a table of the models, or a part of it."""
        if key.kind in {"SEQUENCE", "SEQUENCE OWNED BY"}:
            return Name(key.schema, key.name) not in self._standalone
        alembics = key.kind in ALEMBIC_KINDS or key.kind.endswith("CONSTRAINT")
        alembics |= text.startswith(("COMMENT ON TABLE", "COMMENT ON COLUMN"))
        return alembics and owner(text) in self._tables

    def _sees(self, name: Name) -> bool:
        return name not in self._partitions and self._scope.includes(*name)

    def _sees_object(self, key: Key) -> bool:
        if key.kind == "DATABASE SETTING":  # a scratch database is a copy, which has none
            return False
        return self._scope.manages(key.kind, key.schema, key.name)


def _joined(models: Side, history: Side, kept: Collection[Key]) -> Side:
    """Return what the models make together with what stays."""
    kept = [key for key in kept if key in history.snapshot.objects]
    names = {Name(key.schema, key.name) for key in kept}
    foreign = {Name(key.schema, key.name) for key in kept if key.kind == "FOREIGN TABLE"}
    left, right = history.catalog, models.catalog
    return Side(
        Snapshot(
            {**models.snapshot.objects, **{key: history.snapshot.objects[key] for key in kept}}
        ),
        Catalog(
            right.schemas,
            {**{name: left.tables[name] for name in foreign}, **right.tables},
            {**{name: left.types[name] for name in names & left.types.keys()}, **right.types},
            {**{n: left.sequences[n] for n in names & left.sequences.keys()}, **right.sequences},
        ),
    )


def _as_secure(models: Side, history: Side, owned: Collection[str]) -> Side:
    """Return the models, with the row security that only the history gives to their tables."""
    objects, tables = {**models.snapshot.objects}, {**models.catalog.tables}
    for name in models.catalog.tables.keys() & history.catalog.tables.keys():
        key, table = Key("ROW SECURITY", *name), Key("TABLE", *name)
        old = history.snapshot.objects
        if key not in old or key in objects or str(key) in owned or table not in objects:
            continue
        force = "".join(FORCED.findall("\n".join(old.get(table, ()))))
        body, *rest = objects[table]
        objects[table] = (body + force, *rest)
        here = history.catalog.tables[name]
        tables[name] = replace(tables[name], row_security=True, forced=here.forced)
    return Side(Snapshot(objects), replace(models.catalog, tables=tables))

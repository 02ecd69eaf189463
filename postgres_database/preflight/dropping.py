"""What pending statements rename, make and drop, and what it is called in a target. Pure: no database.

A name without a schema may be in any: what may be the same is taken for the same.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from postgres_database.sql import syntax
from postgres_database.sql.names import Name, identifier, unquoted
from postgres_database.sql.syntax import Node
from postgres_database.sql.tokens import without_literals

OTHERS = {
    "VIEW", "TRIGGER", "RULE", "EVENT_TRIGGER", "INDEX", "SEQUENCE", "POLICY", "STATISTIC_EXT", "PUBLICATION",
    "FOREIGN_SERVER", "FDW", "TSCONFIGURATION", "TSDICTIONARY", "TSPARSER", "TSTEMPLATE", "ACCESS_METHOD",
}  # fmt: skip
"""Kinds of objects of which neither rows nor what rows must be depend."""
DEFINED = {
    "FUNCTION",
    "PROCEDURE",
    "AGGREGATE",
    "ROUTINE",
    "TYPE",
    "DOMAIN",
    "COLLATION",
    "EXTENSION",
}
TABLES = {"TABLE", "FOREIGN_TABLE", "MATVIEW"}
KINDS = {
    "DOMAIN": "type", "FDW": "foreign-data wrapper", "FOREIGN_SERVER": "server", "MATVIEW": "materialized view",
    "OPCLASS": "operator class", "OPFAMILY": "operator family", "ROUTINE": "function",
    "STATISTIC_EXT": "statistics object", "TSCONFIGURATION": "text search configuration",
    "TSDICTIONARY": "text search dictionary",
    "TSPARSER": "text search parser", "TSTEMPLATE": "text search template",
}  # fmt: skip
"""What pg_get_object_address calls them, where it is not their name."""
IN_NO_SCHEMA = {
    "extension",
    "schema",
    "role",
    "language",
    "server",
    "foreign-data wrapper",
    "access method",
}
OF_COLUMNS = {"type", "collation", "extension", "schema", "role"}
"""Objects on which a column no longer depends once it has another type."""
Key = tuple[str, ...]
"""The parts of a name."""


@dataclass(frozen=True)
class Loss:
    """Rows or values that a statement drops."""

    kind: str
    """`table`, `column`, `rows` for those that it empties or deletes from; or a kind of object (PostgreSQL manual,
    pg_get_object_address): what depends on it falls with it."""
    name: str
    column: str = ""
    anywhere: bool = False
    """Whether the name may be that of others, too, because the search path was changed before."""
    address: tuple[Key, Key] | None = None
    """Of that object, as pg_get_object_address takes it."""
    spared: frozenset[tuple[str, str]] = frozenset()
    """Tables and columns that no longer depend on it by then; no column for all of a table."""


@dataclass
class Names:
    """What is known of tables, columns and other objects of a target while one statement after the other is read."""

    losses: list[Loss] = field(default_factory=list)
    blind: bool = False
    """Whether anything may have happened to any row."""
    made: defaultdict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    """Tables, by their names without a schema, that the target does not have, or does not have any more."""
    moved: dict[Key, str] = field(default_factory=dict)
    """What renamed tables are called in the target."""
    schemas: dict[str, str] = field(default_factory=dict)
    """What renamed schemas are called in the target."""
    elsewhere: bool = False
    """Whether names may lead elsewhere than at the beginning of the script."""
    changed: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Columns and constraints, by table, that are not as they were."""
    casts: dict[tuple[str, str], str] = field(default_factory=dict)
    """The new types of columns of the target; nothing for those that are dropped, and of tables that are."""
    kept: set[tuple[str, str]] = field(default_factory=set)
    """Columns that statements add unless they are there."""
    called: dict[tuple[str, str], str] = field(default_factory=dict)
    """What renamed columns are called in the target."""
    defined: set[str] = field(default_factory=set)
    """Types and functions that are not as they were."""
    renamed: dict[Key, list[str]] = field(default_factory=dict)
    """What other objects, by their kinds and new names, are called in the target."""
    joined: defaultdict[Key, list[str]] = field(default_factory=lambda: defaultdict(list))
    """New partitions and children, by their parents."""
    reassigned: set[str] = field(default_factory=set)
    """Roles that own nothing any more."""
    written: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)

    def _known(self, table: str) -> str | None:
        """Return what a table is called in the target; None if it is not there as it will be."""
        key = unquoted(table)
        for other, name in self.moved.items():
            if _same(other, key):
                return name
        return None if any(_same(other, key) for other in self.made.get(key[-1], ())) else table

    def _is_written(self, table: str) -> bool:
        return any(_same(unquoted(other), unquoted(table)) for other in self.written)

    def _columns(self, table: str) -> set[str]:
        key = unquoted(table)
        tables = [names for other, names in self.changed.items() if _same(unquoted(other), key)]
        return set().union(*tables)

    def _change(self, table: str, name: str) -> None:
        if known := self._known(table):
            self.changed[known].add(name)

    def _lose(self, kind: str, table: str, column: str = "") -> None:
        known = self._known(table)
        if known is None:
            return
        was = self.called.get((known, column), column)
        changed = bool(column) and unquoted(column)[0] in self._columns(known)
        is_there = was != column or self.casts.get((known, column)) or (known, column) in self.kept
        if changed and not is_there:
            return  # it is one of the scripts' own
        *schema, name = unquoted(known)
        if schema and schema[0] in self.schemas:
            known = Name(self.schemas[schema[0]], name).sql
        self.losses.append(Loss(kind, known, was, self.elsewhere and not schema))

    def _fall(self, kind: str, shown: str, parts: Iterable[str], arguments: Key = ()) -> None:
        """Take note that all goes that depends on an object: its columns and tables are found on the target."""
        dropped = {unquoted(shown)[-1]} if kind in OF_COLUMNS else set()
        falling = {at for at, type_ in self.casts.items() if names([type_], dropped)}
        for table, column in sorted(falling):
            self._lose("column", table, column)
        spared = {at for at, type_ in self.casts.items() if dropped or not type_} - falling
        first, *others = parts
        if others:
            first = self.schemas.get(first, first)
        anywhere = self.elsewhere and kind not in IN_NO_SCHEMA and len(unquoted(shown)) == 1
        address = ((first, *others), arguments)
        self.losses.append(Loss(kind, shown, "", anywhere, address, frozenset(spared)))

    def _create(self, table: str, *, unless_there: bool) -> None:
        """Take note that a table is new, or that it may be the target's own."""
        if unless_there:
            self.written.add(self._known(table) or table)
        else:
            self._forget(table)

    def _forget(self, table: str) -> None:
        key = unquoted(table)
        self.altered.add(self._known(table) or table)
        self.moved = {other: name for other, name in self.moved.items() if not _same(other, key)}
        self.made[key[-1]].add(key)

    def rename(self, node: Node) -> None:
        """Read ALTER … RENAME."""
        kind = node.rename_type.removeprefix("OBJECT_")
        if kind == "SCHEMA":
            self.schemas[node.newname] = self.schemas.pop(node.subname, node.subname)
            self.blind = True
        elif node.relation and kind in TABLES:
            self._move(syntax.name(node.relation), new=node.newname)
        elif node.relation and kind in {"COLUMN", "TABCONSTRAINT"}:
            table = syntax.name(node.relation)
            for name in (node.subname, node.newname):
                self._change(table, name)
            if (known := self._known(table)) and kind == "COLUMN":
                was = identifier(node.subname)
                self.called[known, identifier(node.newname)] = self.called.pop((known, was), was)
        elif node.relation and kind == "ATTRIBUTE":
            self.defined.add(node.relation.relname)
        elif node.object and kind not in OTHERS:  # else a role, a database
            old = parts_of(node.object)
            self._rename_other(kind, old, [*old[:-1], node.newname])

    def set_schema(self, node: Node) -> None:
        """Read ALTER … SET SCHEMA."""
        kind = node.object_type.removeprefix("OBJECT_")
        if kind in TABLES:
            self._move(syntax.name(node.relation), schema=node.newschema)
        elif kind not in OTHERS:
            old = parts_of(node.object)
            self._rename_other(kind, old, [node.newschema, old[-1]])

    def _rename_other(self, kind: str, old: list[str], new: list[str]) -> None:
        self.defined |= {old[-1], new[-1]}
        was = self.renamed.pop((_kind(kind), *old), old)
        self.renamed[_kind(kind), *new] = was

    def _move(self, table: str, *, new: str = "", schema: str = "") -> None:
        known = self._known(table)
        *old, name = unquoted(table)
        key = (*([schema] if schema else old), new or name)
        self._forget(table)
        if known:
            self.moved[key] = known
        else:
            self.made[key[-1]].add(key)

    def drop(self, node: Node) -> None:
        """Read DROP, but for roles and the like; dropping a partition takes rows from its parent."""
        kind = node.remove_type.removeprefix("OBJECT_")
        for each in node.objects:
            parts = parts_of(each)
            shown = syntax.dotted(parts)
            if kind == "TABLE":
                for table in (shown, *self.joined.pop(unquoted(shown), ())):
                    self._lose("table", table)
            if node.behavior == "DROP_CASCADE" or kind in {"EXTENSION", "SCHEMA"}:
                self._depending(kind, each, parts)
            if kind in TABLES:
                known = self._known(shown) or shown
                self.casts[known, ""] = ""
                self.written.add(known)
                self._forget(shown)
            elif kind in DEFINED:
                self.defined.add(parts[-1])
        self.blind |= kind not in TABLES | DEFINED | OTHERS

    def _depending(self, kind: str, node: Node, parts: list[str]) -> None:
        """Take note that what depends on an object falls with it."""
        word = _kind(kind)
        parts = self.renamed.get((word, *parts), parts)
        shown, arguments = syntax.dotted(parts), Key()
        if kind in TABLES:
            known = self._known(shown)
            if known is None:
                return
            parts, shown = [*unquoted(known)], known
        elif kind == "SCHEMA":
            parts = [self.schemas.get(parts[0], parts[0])]
            shown = syntax.dotted(parts)
        elif node.tag == "TypeName":
            first, *others = parts
            parts = [syntax.dotted([self.schemas.get(first, first) if others else first, *others])]
        elif node.tag == "ObjectWithArgs":
            word = "any function" if node.args_unspecified else word
            arguments = tuple(
                each.sql() if each.tag == "TypeName" else "none" for each in node.objargs
            )
        self._fall(word, shown, parts, arguments)

    def drop_constraint(self, table: str, node: Node) -> None:
        """Read DROP CONSTRAINT of ALTER TABLE."""
        known = self._known(table)
        if known and node.behavior == "DROP_CASCADE":
            shown = f"constraint {identifier(node.name)} of {known}"
            self._fall("table constraint", shown, [*unquoted(known), node.name])

    def drop_column(self, table: str, node: Node) -> None:
        """Read DROP COLUMN of ALTER TABLE."""
        name, known = identifier(node.name), self._known(table)
        self._lose("column", table, name)
        if known and node.behavior == "DROP_CASCADE":
            self._fall("table column", f"{known}.{name}", [*unquoted(known), node.name])
        if known:
            self.casts[known, name] = ""

    def drop_owned(self, node: Node) -> None:
        """Read DROP OWNED."""
        for role in node.roles:
            if role.rolename not in self.reassigned:
                self._fall("role", role.rolename or "this role", [role.rolename])
        self.blind = True

    def reassign(self, node: Node) -> None:
        """Read REASSIGN OWNED."""
        self.reassigned |= {role.rolename for role in node.roles}
        self.blind = True


def _kind(kind: str) -> str:
    return KINDS.get(kind, kind.lower().replace("_", " "))


def _same(one: Key, other: Key) -> bool:
    """Tell whether two names may be the same; one without a schema may be in any."""
    return one[-1] == other[-1] and (len(one) == 1 or len(other) == 1 or one == other)


def names(sql: Iterable[str], changed: set[str] | frozenset[str]) -> bool:
    """Tell whether some SQL names something of this."""
    return any(not changed.isdisjoint(unquoted(without_literals(text))) for text in sql)


def parts_of(node: Node) -> list[str]:
    """Return the parts of a name, whatever node holds it."""
    match node.tag:
        case "String":
            return [node.sval]
        case "TypeName":
            return syntax.words(node.names)
        case "ObjectWithArgs":
            return syntax.words(node.objname)
    return [part for each in node.items for part in parts_of(each)]

"""Follows renames through pending statements, and collects what they drop, by its name in the target. Pure.

The search path is unknown here: a name without a schema is treated as equal to one in any schema.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from postgres_database.sql import syntax
from postgres_database.sql.names import Name, identifier, unquoted
from postgres_database.sql.syntax import Node
from postgres_database.sql.tokens import without_literals

IRRELEVANT = {
    "VIEW", "TRIGGER", "RULE", "EVENT_TRIGGER", "INDEX", "SEQUENCE", "POLICY", "STATISTIC_EXT", "PUBLICATION",
    "FOREIGN_SERVER", "FDW", "TSCONFIGURATION", "TSDICTIONARY", "TSPARSER", "TSTEMPLATE", "ACCESS_METHOD",
}  # fmt: skip
"""Kinds of objects that hold no rows and put no requirement on rows."""
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
"""The type that pg_get_object_address expects, where it is not the parser's word in lower case."""
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
"""Kinds of objects on which a column no longer depends after ALTER COLUMN TYPE."""
NameParts = tuple[str, ...]
"""The parts of a dotted name, as the catalog stores them."""


@dataclass(frozen=True)
class Loss:
    """Rows or values that a statement drops."""

    kind: str
    """`table`, `column`, `rows` of a table (DELETE, TRUNCATE); or, with an address, a kind of object as
    pg_get_object_address names it: then the loss is all that depends on the object (CASCADE)."""
    name: str
    column: str = ""
    any_schema: bool = False
    """Whether the table may be in any schema, because an earlier statement changes the search path."""
    address: tuple[NameParts, NameParts] | None = None
    """Name and arguments of the object, as pg_get_object_address takes them."""
    spared: frozenset[tuple[str, str]] = frozenset()
    """Tables and columns that no longer depend on it when it is dropped; an empty column is the whole table."""


@dataclass
class TargetNames:
    """Tracks what each name in the scripts is called in the target, while statements are read in order."""

    losses: list[Loss] = field(default_factory=list)
    rows_uncertain: bool = False
    """Whether an earlier statement may have changed any row of any table."""
    created: defaultdict[str, set[NameParts]] = field(default_factory=lambda: defaultdict(set))
    """Names of tables that the target does not have, or that no longer mean its table; by their last part."""
    renamed_tables: dict[NameParts, str] = field(default_factory=dict)
    """New name → name in the target."""
    renamed_schemas: dict[str, str] = field(default_factory=dict)
    """New name → name in the target."""
    names_uncertain: bool = False
    """Whether an earlier statement of the script changed how names are resolved, such as the search path."""
    changed: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Table → columns and constraints that were added, dropped, renamed or altered."""
    new_types: dict[tuple[str, str], str] = field(default_factory=dict)
    """(table, column) → new type; an empty type if the column is dropped, an empty column if the table is."""
    maybe_added: set[tuple[str, str]] = field(default_factory=set)
    """Columns from ADD COLUMN IF NOT EXISTS: they may be those of the target."""
    renamed_columns: dict[tuple[str, str], str] = field(default_factory=dict)
    """(table, new name) → name in the target."""
    redefined: set[str] = field(default_factory=set)
    """Types and functions that were created, altered, renamed or dropped."""
    renamed_objects: dict[NameParts, list[str]] = field(default_factory=dict)
    """(kind, *new name) → name in the target, for objects other than tables, columns and schemas."""
    children: defaultdict[NameParts, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Parent → tables that were attached to it or that inherit from it now."""
    reassigned: set[str] = field(default_factory=set)
    """Roles that own nothing after REASSIGN OWNED."""
    written: set[str] = field(default_factory=set)
    """Tables whose rows may have changed."""
    altered: set[str] = field(default_factory=set)
    """Tables that were altered, renamed or dropped."""
    calls: set[str] = field(default_factory=set)
    """Functions that were called."""

    def _target_name(self, table: str) -> str | None:
        """Return the name of a table in the target; None if the scripts create it."""
        key = unquoted(table)
        for other, name in self.renamed_tables.items():
            if _may_be_same(other, key):
                return name
        return (
            None
            if any(_may_be_same(other, key) for other in self.created.get(key[-1], ()))
            else table
        )

    def _is_written(self, table: str) -> bool:
        return any(_may_be_same(unquoted(other), unquoted(table)) for other in self.written)

    def _columns(self, table: str) -> set[str]:
        key = unquoted(table)
        tables = [
            names for other, names in self.changed.items() if _may_be_same(unquoted(other), key)
        ]
        return set().union(*tables)

    def _change(self, table: str, name: str) -> None:
        if known := self._target_name(table):
            self.changed[known].add(name)

    def _add_loss(self, kind: str, table: str, column: str = "") -> None:
        known = self._target_name(table)
        if known is None:
            return
        was = self.renamed_columns.get((known, column), column)
        changed = bool(column) and unquoted(column)[0] in self._columns(known)
        is_there = (
            was != column
            or self.new_types.get((known, column))
            or (known, column) in self.maybe_added
        )
        if changed and not is_there:
            return  # the scripts added it
        *schema, name = unquoted(known)
        if schema and schema[0] in self.renamed_schemas:
            known = Name(self.renamed_schemas[schema[0]], name).sql
        self.losses.append(Loss(kind, known, was, self.names_uncertain and not schema))

    def _add_cascade(
        self, kind: str, shown: str, parts: Iterable[str], arguments: NameParts = ()
    ) -> None:
        """Add the loss of all that depends on an object; the dependent tables and columns are looked up later."""
        dropped = {unquoted(shown)[-1]} if kind in OF_COLUMNS else set()
        falling = {at for at, type_ in self.new_types.items() if mentions([type_], dropped)}
        for table, column in sorted(falling):
            self._add_loss("column", table, column)
        spared = {at for at, type_ in self.new_types.items() if dropped or not type_} - falling
        first, *others = parts
        if others:
            first = self.renamed_schemas.get(first, first)
        any_schema = self.names_uncertain and kind not in IN_NO_SCHEMA and len(unquoted(shown)) == 1
        address = ((first, *others), arguments)
        self.losses.append(Loss(kind, shown, "", any_schema, address, frozenset(spared)))

    def _create(self, table: str, *, if_not_exists: bool) -> None:
        """Record that a table is new; with IF NOT EXISTS it may be the target's, with other rows."""
        if if_not_exists:
            self.written.add(self._target_name(table) or table)
        else:
            self._forget(table)

    def _forget(self, table: str) -> None:
        key = unquoted(table)
        self.altered.add(self._target_name(table) or table)
        self.renamed_tables = {
            other: name
            for other, name in self.renamed_tables.items()
            if not _may_be_same(other, key)
        }
        self.created[key[-1]].add(key)

    def rename(self, node: Node) -> None:
        """Read ALTER … RENAME."""
        kind = node.rename_type.removeprefix("OBJECT_")
        if kind == "SCHEMA":
            self.renamed_schemas[node.newname] = self.renamed_schemas.pop(
                node.subname, node.subname
            )
            self.rows_uncertain = True
        elif node.relation and kind in TABLES:
            self._move(syntax.name(node.relation), new=node.newname)
        elif node.relation and kind in {"COLUMN", "TABCONSTRAINT"}:
            table = syntax.name(node.relation)
            for name in (node.subname, node.newname):
                self._change(table, name)
            if (known := self._target_name(table)) and kind == "COLUMN":
                was = identifier(node.subname)
                self.renamed_columns[known, identifier(node.newname)] = self.renamed_columns.pop(
                    (known, was), was
                )
        elif node.relation and kind == "ATTRIBUTE":
            self.redefined.add(node.relation.relname)
        elif node.object and kind not in IRRELEVANT:  # else a role, a database
            old = parts_of(node.object)
            self._rename_other(kind, old, [*old[:-1], node.newname])

    def set_schema(self, node: Node) -> None:
        """Read ALTER … SET SCHEMA."""
        kind = node.object_type.removeprefix("OBJECT_")
        if kind in TABLES:
            self._move(syntax.name(node.relation), schema=node.newschema)
        elif kind not in IRRELEVANT:
            old = parts_of(node.object)
            self._rename_other(kind, old, [node.newschema, old[-1]])

    def _rename_other(self, kind: str, old: list[str], new: list[str]) -> None:
        self.redefined |= {old[-1], new[-1]}
        was = self.renamed_objects.pop((_kind(kind), *old), old)
        self.renamed_objects[_kind(kind), *new] = was

    def _move(self, table: str, *, new: str = "", schema: str = "") -> None:
        known = self._target_name(table)
        *old, name = unquoted(table)
        key = (*([schema] if schema else old), new or name)
        self._forget(table)
        if known:
            self.renamed_tables[key] = known
        else:
            self.created[key[-1]].add(key)

    def drop(self, node: Node) -> None:
        """Read DROP of objects in a database; dropping a partition takes rows from its parent."""
        kind = node.remove_type.removeprefix("OBJECT_")
        for each in node.objects:
            parts = parts_of(each)
            shown = syntax.dotted(parts)
            if kind == "TABLE":
                for table in (shown, *self.children.pop(unquoted(shown), ())):
                    self._add_loss("table", table)
            if node.behavior == "DROP_CASCADE" or kind in {"EXTENSION", "SCHEMA"}:
                self._cascade(kind, each, parts)
            if kind in TABLES:
                known = self._target_name(shown) or shown
                self.new_types[known, ""] = ""
                self.written.add(known)
                self._forget(shown)
            elif kind in DEFINED:
                self.redefined.add(parts[-1])
        self.rows_uncertain |= kind not in TABLES | DEFINED | IRRELEVANT

    def _cascade(self, kind: str, node: Node, parts: list[str]) -> None:
        """Add the loss of all that depends on an object that DROP names."""
        word = _kind(kind)
        parts = self.renamed_objects.get((word, *parts), parts)
        shown, arguments = syntax.dotted(parts), NameParts()
        if kind in TABLES:
            known = self._target_name(shown)
            if known is None:
                return
            parts, shown = [*unquoted(known)], known
        elif kind == "SCHEMA":
            parts = [self.renamed_schemas.get(parts[0], parts[0])]
            shown = syntax.dotted(parts)
        elif node.tag == "TypeName":
            first, *others = parts
            parts = [
                syntax.dotted(
                    [self.renamed_schemas.get(first, first) if others else first, *others]
                )
            ]
        elif node.tag == "ObjectWithArgs":
            word = "any function" if node.args_unspecified else word
            arguments = tuple(
                each.sql() if each.tag == "TypeName" else "none" for each in node.objargs
            )
        self._add_cascade(word, shown, parts, arguments)

    def drop_constraint(self, table: str, node: Node) -> None:
        """Read DROP CONSTRAINT of ALTER TABLE."""
        known = self._target_name(table)
        if known and node.behavior == "DROP_CASCADE":
            shown = f"constraint {identifier(node.name)} of {known}"
            self._add_cascade("table constraint", shown, [*unquoted(known), node.name])

    def drop_column(self, table: str, node: Node) -> None:
        """Read DROP COLUMN of ALTER TABLE."""
        name, known = identifier(node.name), self._target_name(table)
        self._add_loss("column", table, name)
        if known and node.behavior == "DROP_CASCADE":
            self._add_cascade("table column", f"{known}.{name}", [*unquoted(known), node.name])
        if known:
            self.new_types[known, name] = ""

    def drop_owned(self, node: Node) -> None:
        """Read DROP OWNED."""
        for role in node.roles:
            if role.rolename not in self.reassigned:
                self._add_cascade("role", role.rolename or "this role", [role.rolename])
        self.rows_uncertain = True

    def reassign(self, node: Node) -> None:
        """Read REASSIGN OWNED."""
        self.reassigned |= {role.rolename for role in node.roles}
        self.rows_uncertain = True


def _kind(kind: str) -> str:
    return KINDS.get(kind, kind.lower().replace("_", " "))


def _may_be_same(one: NameParts, other: NameParts) -> bool:
    """Tell whether two names may mean the same object; a name without a schema may be in any."""
    return one[-1] == other[-1] and (len(one) == 1 or len(other) == 1 or one == other)


def mentions(sql: Iterable[str], changed: set[str] | frozenset[str]) -> bool:
    """Tell whether SQL contains one of the names as an identifier."""
    return any(not changed.isdisjoint(unquoted(without_literals(text))) for text in sql)


def parts_of(node: Node) -> list[str]:
    """Return the parts of the name in a node: a String, TypeName, ObjectWithArgs or List."""
    match node.tag:
        case "String":
            return [node.sval]
        case "TypeName":
            return syntax.words(node.names)
        case "ObjectWithArgs":
            return syntax.words(node.objname)
    return [part for each in node.items for part in parts_of(each)]

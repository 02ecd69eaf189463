"""What pending statements ask of the rows that are in a target now, and which of them they drop. Pure: no database.

Reports only what today's rows must meet. Skips tables and columns that an earlier pending statement created, altered
or wrote, because their rows will be others by then.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from postgres_database.preflight.dropping import (
    DEFINED,
    OTHERS,
    Key,
    Loss,
    Names,
    names,
    parts_of,
)
from postgres_database.sql import rules, syntax
from postgres_database.sql.names import identifier, unquoted
from postgres_database.sql.rules import Cast, Check, ForeignKey, NoRows, NotNull, Rule, Stored
from postgres_database.sql.syntax import Node, UnreadableError

TRICKY = {"set_config", "query_to_xml", "lo_import", "lo_unlink"}
"""Functions of PostgreSQL itself after which nothing is certain."""
ELSEWHERE = {"search_path", "role", "session_authorization", ""}
"""Settings that say where names lead, all of them among them."""
READ_BY = {"datestyle", "intervalstyle", "timezone", "standard_conforming_strings"}
"""Settings that say how values and statements are read."""
HARMLESS = {
    "AlterDatabaseSetStmt", "AlterDatabaseStmt", "AlterDefaultPrivilegesStmt", "AlterFdwStmt",
    "AlterForeignServerStmt", "AlterObjectDependsStmt", "AlterOwnerStmt", "AlterPolicyStmt", "AlterPublicationStmt",
    "AlterRoleSetStmt", "AlterRoleStmt", "AlterSeqStmt", "AlterStatsStmt", "AlterTSConfigurationStmt",
    "AlterTSDictionaryStmt", "AlterTableSpaceOptionsStmt", "AlterUserMappingStmt", "CheckPointStmt", "ClosePortalStmt",
    "ClusterStmt", "CommentStmt", "ConstraintsSetStmt", "CreateAmStmt", "CreateFdwStmt", "CreateForeignServerStmt",
    "CreatePolicyStmt", "CreatePublicationStmt", "CreateRoleStmt", "CreateSeqStmt", "CreateStatsStmt",
    "CreateTableSpaceStmt", "CreateUserMappingStmt", "CreatedbStmt", "DeallocateStmt", "DropRoleStmt",
    "DropTableSpaceStmt", "DropUserMappingStmt", "DropdbStmt", "FetchStmt", "GrantRoleStmt", "GrantStmt", "ListenStmt",
    "LockStmt", "NotifyStmt", "PrepareStmt", "ReindexStmt", "SecLabelStmt", "UnlistenStmt", "VacuumStmt",
    "VariableShowStmt",
}  # fmt: skip
"""Statements that neither change rows nor what rows must be (PostgreSQL manual, "SQL Commands")."""
RUN = (
    "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CopyStmt", "RefreshMatViewStmt", "IntoClause", "FuncCall",
)  # fmt: skip
"""What a query does beside reading, however deep in it."""
ROLLBACKS = {"TRANS_STMT_ROLLBACK", "TRANS_STMT_ROLLBACK_TO", "TRANS_STMT_ROLLBACK_PREPARED"}
# When ALTER TABLE does an action: first it drops, then it changes types, then it adds, then come all others.
TURNS = {
    "AT_DropConstraint": 0,
    "AT_DropColumn": 0,
    "AT_AlterColumnType": 1,
    "AT_AddColumn": 2,
    "AT_SetExpression": 2,
}
LAST = 3


@dataclass(frozen=True)
class Requirement:
    """What a statement asks of rows."""

    table: str
    """As SQL names it in the target; the name of a domain for its values."""
    rule: Rule | Stored
    only: bool = False
    """Whether rows of tables that inherit from it are left out."""
    domain: bool = False
    written: frozenset[str] = frozenset()
    """Tables whose rows change before; those of other tables may change with them."""
    altered: frozenset[str] = frozenset()
    """Tables that are changed before."""
    calls: frozenset[str] = frozenset()
    """Functions that are called before."""
    changed: frozenset[str] = frozenset()
    """Columns of the table, types and functions that are changed before."""


@dataclass
class Reading(Names):
    """What statements ask for, while one after the other is read."""

    requirements: list[Requirement] = field(default_factory=list)
    indirect: bool = False
    """Whether there are new triggers, rules or views, by which a statement writes elsewhere."""
    empty: set[Key] = field(default_factory=set)
    """New columns without a value in any row."""
    believed: dict[Key, list[Rule]] = field(default_factory=dict)
    """New constraints that are to be validated."""

    def read(self, statements: Sequence[str] | None) -> tuple[list[Requirement], list[Loss]]:
        """Return what the statements of a script ask for, and what they drop; None if they are unknown."""
        self.requirements, self.losses, self.elsewhere = [], [], False
        for statement in statements or ():
            try:
                self._statement(syntax.read(statement))
            except UnreadableError:
                self.blind = True
        self.blind |= statements is None
        return self.requirements, self.losses

    def _statement(self, node: Node) -> None:
        if reader := self._statements.get(node.tag):
            reader(self, node)
        else:
            self.blind |= node.tag not in HARMLESS

    def _ask(self, table: str, rule: Rule | Stored, *, only: bool) -> None:
        target = self._known(table)
        if target is None or self.blind or self._is_unclear(target, rule):
            return
        if isinstance(rule, ForeignKey):
            other = self._known(rule.table)
            if (
                other is None
                or self._is_written(other)
                or names(rule.referenced, self.changed[other])
            ):
                return
            rule = replace(rule, table=other)
        self.requirements.append(self._demand(target, rule, only=only))

    def _demand(
        self, name: str, rule: Rule | Stored, *, only: bool = False, domain: bool = False
    ) -> Requirement:
        changed = self._columns(name) | self.defined
        seen = map(frozenset, (self.written, self.altered, self.calls, changed))
        return Requirement(name, rule, only, domain, *seen)

    def _is_unclear(self, table: str, rule: Rule | Stored) -> bool:
        """Tell whether rows may be others, or a rule names what is not as it was."""
        if isinstance(rule, NoRows):  # which the new column is not meant to be
            return self._is_written(table) or names([rule.type], self.defined)
        changed = self._columns(table) | self.defined
        return self._is_written(table) or names(texts(rule), changed)

    def _query(self, node: Node) -> None:
        """Take note of what a statement changes, also deep in it, and of what it calls."""
        tables, calls = [], set()
        for each in node.find(*RUN):
            match each.tag:
                case "FuncCall":
                    calls.add(syntax.words(each.funcname)[-1])
                case "IntoClause":
                    unless = getattr(node, "if_not_exists", False)
                    self._create(syntax.name(each.rel), unless_there=unless)
                case "CopyStmt" if not each.is_from:
                    pass
                case _:
                    tables.append(syntax.name(each.relation))
                    if _deletes(each):
                        self._lose("rows", tables[-1])
        self.calls |= calls
        self.elsewhere |= "set_config" in calls
        self.blind |= bool(calls & (TRICKY | self.defined)) or (self.indirect and bool(tables))
        self.written |= {known for table in tables if (known := self._known(table))}

    def _explain(self, node: Node) -> None:
        if any(option.defname == "analyze" for option in node.options):
            self._statement(node.query)

    def _make(self, node: Node) -> None:
        table = node if node.tag == "CreateStmt" else node.base_stmt
        self._create(syntax.name(table.relation), unless_there=table.if_not_exists)

    def _make_schema(self, node: Node) -> None:
        self.blind |= bool(node.schema_elts)

    def _set(self, node: Node) -> None:
        self.blind |= node.name in READ_BY
        if node.name in ELSEWHERE:
            self.blind = self.elsewhere = True

    def _transaction(self, node: Node) -> None:
        self.blind |= node.kind in ROLLBACKS

    def _truncate(self, node: Node) -> None:
        for each in node.relations:
            table = syntax.name(each)
            self._lose("rows", table)
            self.written.add(self._known(table) or table)
        self.blind |= node.behavior == "DROP_CASCADE"

    def _indirect(self, _node: Node) -> None:
        self.indirect = True

    def _define(self, node: Node) -> None:
        """A type or function is another one now."""
        fields = ("domainname", "funcname", "defnames", "type_name")
        name = next(name for each in fields if (name := getattr(node, each, None)))
        self.defined.add(syntax.words(name)[-1])

    def _alter_function(self, node: Node) -> None:
        self.defined |= {*parts_of(node.func)[-1:]}

    def _make_extension(self, node: Node) -> None:
        self.defined.add(node.extname)

    def _make_composite(self, node: Node) -> None:
        self.defined.add(node.typevar.relname)

    def _make_other(self, node: Node) -> None:
        kind = node.kind.removeprefix("OBJECT_")
        self.blind |= kind not in DEFINED | OTHERS
        if kind in DEFINED:
            self._define(node)

    def _index(self, node: Node) -> None:
        if node.unique:
            table = node.relation
            there = syntax.dotted(filter(None, [table.schemaname, node.idxname]))
            rule = rules.index(node, there if node.if_not_exists else "")
            self._ask(syntax.name(table), rule, only=not table.inh)
        self._query(node)

    def _domain(self, node: Node) -> None:
        name = syntax.dotted(syntax.words(node.type_name))
        act = self._domain_actions.get(node.subtype)
        if act is None:
            self.defined.add(unquoted(name)[-1])
        for rule in act(self, name, node) if act else ():
            if not (self.blind or names([name, *texts(rule)], self.defined)):
                self.requirements.append(self._demand(name, rule, domain=True))
        self._query(node)

    def _table(self, node: Node) -> None:
        table = syntax.name(node.relation)
        if node.objtype == "OBJECT_TYPE":
            self.defined.add(node.relation.relname)
        if node.objtype != "OBJECT_TABLE":
            return
        for action in sorted(node.cmds, key=lambda each: TURNS.get(each.subtype, LAST)):
            act = self._actions.get(action.subtype)
            for rule in act(self, table, action) if act else ():
                self._ask(table, rule, only=not node.relation.inh)
            if action.subtype in TURNS:
                self._change(table, action.name or action.definition.colname)
        self.altered.add(self._known(table) or table)
        self._query(node)

    def _drop_constraint(self, table: str, node: Node) -> list[Rule]:
        self.believed.pop((*unquoted(table), node.name), None)
        self.drop_constraint(table, node)
        return []

    def _drop_column(self, table: str, node: Node) -> list[Rule]:
        self.empty.discard((*unquoted(table), node.name))
        self.drop_column(table, node)
        return []

    def _cast(self, table: str, node: Node) -> list[Rule]:
        name, using = identifier(node.name), node.definition.raw_default
        rule = Cast(name, node.definition.type_name.sql(), using.sql() if using else "")
        if known := self._known(table):
            self.casts[known, name] = rule.type
        return [rule]

    def _add_column(self, table: str, node: Node) -> list[Rule]:
        column, known = node.definition, self._known(table)
        if known and node.missing_ok:
            self.kept.add((known, identifier(column.colname)))
        if known and column.colname in self._columns(known):
            return []  # one of that name was dropped or renamed
        if not rules.is_filled(column):
            self.empty.add((*unquoted(table), column.colname))
        return rules.new_column(column)

    def _not_null(self, table: str, node: Node) -> list[Rule]:
        name = identifier(node.name)
        is_empty = (*unquoted(table), node.name) in self.empty
        return [NoRows(name, "") if is_empty else NotNull(name)]

    def _add_constraint(self, table: str, node: Node) -> list[Rule]:
        asked = rules.constraint(node.definition)
        if not node.definition.skip_validation:
            return asked
        self.believed[(*unquoted(table), node.definition.conname)] = asked
        return []

    def _validate(self, table: str, node: Node) -> Sequence[Rule | Stored]:
        key = (*unquoted(table), node.name)
        return self.believed.get(key, [Stored(identifier(node.name))])

    def _no_null(self, _domain: str, _node: Node) -> list[Rule]:
        return [Check("value IS NOT NULL")]

    def _separate(self, table: str, node: Node) -> list[Rule]:
        """A parent has other rows from now on; what joins it falls with it."""
        part = node.definition
        other = syntax.name(part.name if part.tag == "PartitionCmd" else part)
        self.written |= {self._known(name) or name for name in (table, other)}
        if node.subtype in {"AT_AttachPartition", "AT_AddInherit"}:
            self.joined[unquoted(table)].append(other)
        elif other in self.joined[unquoted(table)]:
            self.joined[unquoted(table)].remove(other)
        return []

    _statements: ClassVar[Mapping[str, Callable[["Reading", Node], None]]] = {
        "AlterDomainStmt": _domain, "AlterEnumStmt": _define, "AlterFunctionStmt": _alter_function,
        "AlterObjectSchemaStmt": Names.set_schema, "AlterTableStmt": _table, "AlterTypeStmt": _define,
        "CompositeTypeStmt": _make_composite, "CopyStmt": _query, "CreateDomainStmt": _define,
        "CreateEnumStmt": _define, "CreateEventTrigStmt": _indirect, "CreateExtensionStmt": _make_extension,
        "CreateForeignTableStmt": _make, "CreateFunctionStmt": _define, "CreateRangeStmt": _define,
        "CreateSchemaStmt": _make_schema, "CreateStmt": _make, "CreateTableAsStmt": _query, "CreateTrigStmt": _indirect,
        "DeclareCursorStmt": _query, "DefineStmt": _make_other, "DeleteStmt": _query, "DropOwnedStmt": Names.drop_owned,
        "DropStmt": Names.drop, "ExplainStmt": _explain, "IndexStmt": _index, "InsertStmt": _query, "MergeStmt": _query,
        "ReassignOwnedStmt": Names.reassign, "RefreshMatViewStmt": _query, "RenameStmt": Names.rename,
        "RuleStmt": _indirect, "SelectStmt": _query, "TransactionStmt": _transaction, "TruncateStmt": _truncate,
        "UpdateStmt": _query, "VariableSetStmt": _set, "ViewStmt": _indirect,
    }  # fmt: skip
    _actions: ClassVar[Mapping[str, Callable[["Reading", str, Node], Sequence[Rule | Stored]]]] = {
        "AT_AddColumn": _add_column, "AT_AddConstraint": _add_constraint, "AT_AddInherit": _separate,
        "AT_AlterColumnType": _cast, "AT_AttachPartition": _separate, "AT_DetachPartition": _separate,
        "AT_DropColumn": _drop_column, "AT_DropConstraint": _drop_constraint, "AT_DropInherit": _separate,
        "AT_SetNotNull": _not_null, "AT_ValidateConstraint": _validate,
    }  # fmt: skip
    _domain_actions: ClassVar[Mapping[str, Callable[["Reading", str, Node], Sequence[Rule | Stored]]]] = {
        "C": _add_constraint, "O": _no_null, "V": _validate,
    }  # fmt: skip


def texts(rule: Rule | Stored) -> list[str]:
    """Return the names and expressions of a rule."""
    parts = [[part] if isinstance(part, str) else part for part in vars(rule).values()]
    return [text for part in parts if not isinstance(part, bool) for text in part]


def _deletes(node: Node) -> bool:
    return node.tag == "DeleteStmt" or (
        node.tag == "MergeStmt"
        and any(each.command_type == "CMD_DELETE" for each in node.merge_when_clauses)
    )

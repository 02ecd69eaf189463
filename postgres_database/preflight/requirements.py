"""What pending statements require of the rows that a target has now, and which of them they drop. Pure: no database.

Skips tables and columns that an earlier pending statement created, altered or wrote: when the requirement takes
effect, their rows may differ from those of now.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from postgres_database.preflight.dropping import (
    DEFINED,
    IRRELEVANT,
    Loss,
    NameParts,
    TargetNames,
    mentions,
    parts_of,
)
from postgres_database.sql import rules, syntax
from postgres_database.sql.names import identifier, unquoted
from postgres_database.sql.rules import Cast, Check, ForeignKey, NoRows, NotNull, Rule, Stored
from postgres_database.sql.syntax import Node, UnreadableError

UNPREDICTABLE = {"set_config", "query_to_xml", "lo_import", "lo_unlink"}
"""Functions of PostgreSQL that may change settings or rows in a way that their call does not show."""
NAME_SETTINGS = {"search_path", "role", "session_authorization", ""}
"""Settings that decide which object a name means; empty: RESET ALL."""
INPUT_SETTINGS = {"datestyle", "intervalstyle", "timezone", "standard_conforming_strings"}
"""Settings that decide how literals are read."""
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
"""Statements that neither change rows nor require anything of them (PostgreSQL manual, "SQL Commands")."""
WRITES = (
    "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CopyStmt", "RefreshMatViewStmt", "IntoClause", "FuncCall",
)  # fmt: skip
"""Nodes, at any depth of a query, by which it may do more than read."""
ROLLBACKS = {"TRANS_STMT_ROLLBACK", "TRANS_STMT_ROLLBACK_TO", "TRANS_STMT_ROLLBACK_PREPARED"}
# ALTER TABLE executes its actions in passes, whatever their order in the statement (AT_PASS_… in PostgreSQL's source,
# tablecmds.c): drop, alter type, add column, set expression, then all others.
ORDER = {
    "AT_DropConstraint": 0,
    "AT_DropColumn": 0,
    "AT_AlterColumnType": 1,
    "AT_AddColumn": 2,
    "AT_SetExpression": 2,
}
ORDER_OF_OTHERS = 3


@dataclass(frozen=True)
class Requirement:
    """What a pending statement requires of the rows of a table, or of the values of a domain."""

    table: str
    """Its name in the target, for SQL; the name of the domain if `domain`."""
    rule: Rule | Stored
    only: bool = False
    """Whether the rule does not reach tables that inherit from it (ALTER TABLE ONLY)."""
    domain: bool = False
    written: frozenset[str] = frozenset()
    """Tables whose rows an earlier statement may change; triggers and cascades may change those of others."""
    altered: frozenset[str] = frozenset()
    """Tables that an earlier statement alters."""
    calls: frozenset[str] = frozenset()
    """Functions that an earlier statement calls."""
    changed: frozenset[str] = frozenset()
    """Columns of the table, types and functions that an earlier statement changes."""


@dataclass
class StatementReader(TargetNames):
    """Collects requirements and losses while statements are read in order; one reader for all scripts of a plan."""

    requirements: list[Requirement] = field(default_factory=list)
    indirect: bool = False
    """Whether the scripts created triggers, rules or views, through which a statement may write to other tables."""
    null_columns: set[NameParts] = field(default_factory=set)
    """New columns that are NULL in every row."""
    not_valid: dict[NameParts, list[Rule]] = field(default_factory=dict)
    """New constraints that were added NOT VALID, with their rules."""

    def read(self, statements: Sequence[str] | None) -> tuple[list[Requirement], list[Loss]]:
        """Return the requirements and losses of a script.

        Args:
            statements: Those of the script; None if they are unknown: then later scripts have no requirements either.
        """
        self.requirements, self.losses, self.names_uncertain = [], [], False
        for statement in statements or ():
            try:
                self._statement(syntax.read(statement))
            except UnreadableError:
                self.rows_uncertain = True
        self.rows_uncertain |= statements is None
        return self.requirements, self.losses

    def _statement(self, node: Node) -> None:
        if reader := self._statements.get(node.tag):
            reader(self, node)
        else:
            self.rows_uncertain |= node.tag not in HARMLESS

    def _require(self, table: str, rule: Rule | Stored, *, only: bool) -> None:
        target = self._target_name(table)
        if target is None or self.rows_uncertain or self._is_unclear(target, rule):
            return
        if isinstance(rule, ForeignKey):
            other = self._target_name(rule.table)
            if (
                other is None
                or self._is_written(other)
                or mentions(rule.referenced, self.changed[other])
            ):
                return
            rule = replace(rule, table=other)
        self.requirements.append(self._requirement(target, rule, only=only))

    def _requirement(
        self, name: str, rule: Rule | Stored, *, only: bool = False, domain: bool = False
    ) -> Requirement:
        changed = self._columns(name) | self.redefined
        seen = map(frozenset, (self.written, self.altered, self.calls, changed))
        return Requirement(name, rule, only, domain, *seen)

    def _is_unclear(self, table: str, rule: Rule | Stored) -> bool:
        """Tell whether an earlier statement may change the rows, or something that the rule names."""
        if isinstance(rule, NoRows):  # its column is new, so that it counts as changed
            return self._is_written(table) or mentions([rule.type], self.redefined)
        changed = self._columns(table) | self.redefined
        return self._is_written(table) or mentions(texts(rule), changed)

    def _query(self, node: Node) -> None:
        """Record the tables that a statement writes, also in its CTEs, and the functions that it calls."""
        tables, calls = [], set()
        for each in node.find(*WRITES):
            match each.tag:
                case "FuncCall":
                    calls.add(syntax.words(each.funcname)[-1])
                case "IntoClause":
                    unless = getattr(node, "if_not_exists", False)
                    self._create(syntax.name(each.rel), if_not_exists=unless)
                case "CopyStmt" if not each.is_from:
                    pass
                case _:
                    tables.append(syntax.name(each.relation))
                    if _deletes(each):
                        self._add_loss("rows", tables[-1])
        self.calls |= calls
        self.names_uncertain |= "set_config" in calls
        self.rows_uncertain |= bool(calls & (UNPREDICTABLE | self.redefined)) or (
            self.indirect and bool(tables)
        )
        self.written |= {known for table in tables if (known := self._target_name(table))}

    def _explain(self, node: Node) -> None:
        if any(option.defname == "analyze" for option in node.options):
            self._statement(node.query)

    def _create_table(self, node: Node) -> None:
        table = node if node.tag == "CreateStmt" else node.base_stmt
        self._create(syntax.name(table.relation), if_not_exists=table.if_not_exists)

    def _create_schema(self, node: Node) -> None:
        self.rows_uncertain |= bool(node.schema_elts)

    def _set(self, node: Node) -> None:
        self.rows_uncertain |= node.name in INPUT_SETTINGS
        if node.name in NAME_SETTINGS:
            self.rows_uncertain = self.names_uncertain = True

    def _transaction(self, node: Node) -> None:
        self.rows_uncertain |= node.kind in ROLLBACKS

    def _truncate(self, node: Node) -> None:
        for each in node.relations:
            table = syntax.name(each)
            self._add_loss("rows", table)
            self.written.add(self._target_name(table) or table)
        self.rows_uncertain |= node.behavior == "DROP_CASCADE"

    def _indirect(self, _node: Node) -> None:
        self.indirect = True

    def _define(self, node: Node) -> None:
        """Record that a type or function was created or altered."""
        fields = ("domainname", "funcname", "defnames", "type_name")
        name = next(name for each in fields if (name := getattr(node, each, None)))
        self.redefined.add(syntax.words(name)[-1])

    def _alter_function(self, node: Node) -> None:
        self.redefined |= {*parts_of(node.func)[-1:]}

    def _create_extension(self, node: Node) -> None:
        self.redefined.add(node.extname)

    def _create_composite(self, node: Node) -> None:
        self.redefined.add(node.typevar.relname)

    def _create_other(self, node: Node) -> None:
        kind = node.kind.removeprefix("OBJECT_")
        self.rows_uncertain |= kind not in DEFINED | IRRELEVANT
        if kind in DEFINED:
            self._define(node)

    def _index(self, node: Node) -> None:
        if node.unique:
            table = node.relation
            there = syntax.dotted(filter(None, [table.schemaname, node.idxname]))
            rule = rules.index(node, there if node.if_not_exists else "")
            self._require(syntax.name(table), rule, only=not table.inh)
        self._query(node)

    def _domain(self, node: Node) -> None:
        name = syntax.dotted(syntax.words(node.type_name))
        act = self._domain_actions.get(node.subtype)
        if act is None:
            self.redefined.add(unquoted(name)[-1])
        for rule in act(self, name, node) if act else ():
            if not (self.rows_uncertain or mentions([name, *texts(rule)], self.redefined)):
                self.requirements.append(self._requirement(name, rule, domain=True))
        self._query(node)

    def _table(self, node: Node) -> None:
        table = syntax.name(node.relation)
        if node.objtype == "OBJECT_TYPE":
            self.redefined.add(node.relation.relname)
        if node.objtype != "OBJECT_TABLE":
            return
        for action in sorted(node.cmds, key=lambda each: ORDER.get(each.subtype, ORDER_OF_OTHERS)):
            act = self._actions.get(action.subtype)
            for rule in act(self, table, action) if act else ():
                self._require(table, rule, only=not node.relation.inh)
            if action.subtype in ORDER:
                self._change(table, action.name or action.definition.colname)
        self.altered.add(self._target_name(table) or table)
        self._query(node)

    def _drop_constraint(self, table: str, node: Node) -> list[Rule]:
        self.not_valid.pop((*unquoted(table), node.name), None)
        self.drop_constraint(table, node)
        return []

    def _drop_column(self, table: str, node: Node) -> list[Rule]:
        self.null_columns.discard((*unquoted(table), node.name))
        self.drop_column(table, node)
        return []

    def _cast(self, table: str, node: Node) -> list[Rule]:
        name, using = identifier(node.name), node.definition.raw_default
        rule = Cast(name, node.definition.type_name.sql(), using.sql() if using else "")
        if known := self._target_name(table):
            self.new_types[known, name] = rule.type
        return [rule]

    def _add_column(self, table: str, node: Node) -> list[Rule]:
        column, known = node.definition, self._target_name(table)
        if known and node.missing_ok:
            self.maybe_added.add((known, identifier(column.colname)))
        if known and column.colname in self._columns(known):
            return []  # a column of that name was dropped or renamed
        if not rules.is_filled(column):
            self.null_columns.add((*unquoted(table), column.colname))
        return rules.new_column(column)

    def _not_null(self, table: str, node: Node) -> list[Rule]:
        name = identifier(node.name)
        is_empty = (*unquoted(table), node.name) in self.null_columns
        return [NoRows(name, "") if is_empty else NotNull(name)]

    def _add_constraint(self, table: str, node: Node) -> list[Rule]:
        asked = rules.constraint(node.definition)
        if not node.definition.skip_validation:
            return asked
        self.not_valid[(*unquoted(table), node.definition.conname)] = asked
        return []

    def _validate(self, table: str, node: Node) -> Sequence[Rule | Stored]:
        key = (*unquoted(table), node.name)
        return self.not_valid.get(key, [Stored(identifier(node.name))])

    def _domain_not_null(self, _domain: str, _node: Node) -> list[Rule]:
        return [Check("value IS NOT NULL")]

    def _inherit(self, table: str, node: Node) -> list[Rule]:
        """Record that a parent has other rows now, and that its new children are dropped with it."""
        part = node.definition
        other = syntax.name(part.name if part.tag == "PartitionCmd" else part)
        self.written |= {self._target_name(name) or name for name in (table, other)}
        if node.subtype in {"AT_AttachPartition", "AT_AddInherit"}:
            self.children[unquoted(table)].append(other)
        elif other in self.children[unquoted(table)]:
            self.children[unquoted(table)].remove(other)
        return []

    _statements: ClassVar[Mapping[str, Callable[["StatementReader", Node], None]]] = {
        "AlterDomainStmt": _domain, "AlterEnumStmt": _define, "AlterFunctionStmt": _alter_function,
        "AlterObjectSchemaStmt": TargetNames.set_schema, "AlterTableStmt": _table, "AlterTypeStmt": _define,
        "CompositeTypeStmt": _create_composite, "CopyStmt": _query, "CreateDomainStmt": _define,
        "CreateEnumStmt": _define, "CreateEventTrigStmt": _indirect, "CreateExtensionStmt": _create_extension,
        "CreateForeignTableStmt": _create_table, "CreateFunctionStmt": _define, "CreateRangeStmt": _define,
        "CreateSchemaStmt": _create_schema, "CreateStmt": _create_table, "CreateTableAsStmt": _query,
        "CreateTrigStmt": _indirect, "DeclareCursorStmt": _query, "DefineStmt": _create_other, "DeleteStmt": _query,
        "DropOwnedStmt": TargetNames.drop_owned, "DropStmt": TargetNames.drop, "ExplainStmt": _explain,
        "IndexStmt": _index, "InsertStmt": _query, "MergeStmt": _query, "ReassignOwnedStmt": TargetNames.reassign,
        "RefreshMatViewStmt": _query, "RenameStmt": TargetNames.rename, "RuleStmt": _indirect, "SelectStmt": _query,
        "TransactionStmt": _transaction, "TruncateStmt": _truncate, "UpdateStmt": _query, "VariableSetStmt": _set,
        "ViewStmt": _indirect,
    }  # fmt: skip
    _actions: ClassVar[Mapping[str, Callable[["StatementReader", str, Node], Sequence[Rule | Stored]]]] = {
        "AT_AddColumn": _add_column, "AT_AddConstraint": _add_constraint, "AT_AddInherit": _inherit,
        "AT_AlterColumnType": _cast, "AT_AttachPartition": _inherit, "AT_DetachPartition": _inherit,
        "AT_DropColumn": _drop_column, "AT_DropConstraint": _drop_constraint, "AT_DropInherit": _inherit,
        "AT_SetNotNull": _not_null, "AT_ValidateConstraint": _validate,
    }  # fmt: skip
    _domain_actions: ClassVar[Mapping[str, Callable[["StatementReader", str, Node], Sequence[Rule | Stored]]]] = {
        "C": _add_constraint, "O": _domain_not_null, "V": _validate,
    }  # fmt: skip


def texts(rule: Rule | Stored) -> list[str]:
    """Return all SQL in a rule: names and expressions."""
    parts = [[part] if isinstance(part, str) else part for part in vars(rule).values()]
    return [text for part in parts if not isinstance(part, bool) for text in part]


def _deletes(node: Node) -> bool:
    return node.tag == "DeleteStmt" or (
        node.tag == "MergeStmt"
        and any(each.command_type == "CMD_DELETE" for each in node.merge_when_clauses)
    )

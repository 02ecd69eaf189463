"""What pending statements ask of the rows that a target has now, and which rows they throw away. Pure: no database.

What cannot be known beforehand is left out: what a statement before has made, renamed or written. So a demand that
rows do not meet is certain to fail.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from postgres_database import rules
from postgres_database.history import Revision
from postgres_database.rules import Cast, ForeignKey, NoRows, NotNull, Rule, Stored, Unique
from postgres_database.tokens import IDENTIFIER, parentheses, split, unquoted

NAME = rf"{IDENTIFIER}(?: ?\. ?{IDENTIFIER})?"
FLAGS = re.IGNORECASE | re.DOTALL
ALTER_TABLE = re.compile(
    rf"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?(?P<table>{NAME})(?: ?\*)? (?P<actions>.*)", FLAGS
)
UNIQUE_INDEX = re.compile(
    rf"CREATE UNIQUE INDEX (?:CONCURRENTLY )?(?P<unless>IF NOT EXISTS )?(?P<name>{IDENTIFIER} )?ON"
    rf" (?P<only>ONLY )?(?P<table>{NAME}) ?(?:USING {IDENTIFIER} ?)?(?P<rest>\(.*)",
    FLAGS,
)
MADE = re.compile(
    rf"CREATE (?:(?:GLOBAL|LOCAL) )?(?:TEMP(?:ORARY)? |UNLOGGED |FOREIGN )?TABLE (?:IF NOT EXISTS )?(?P<table>{NAME})",
    FLAGS,
)
GONE = re.compile(rf"DROP TABLE (?:IF EXISTS )?(?P<tables>{NAME}(?: ?, ?{NAME})*)", FLAGS)
UPDATE = re.compile(
    rf"UPDATE (?:ONLY )?(?P<table>{NAME})(?: ?\*)?(?: (?:AS )?(?!SET\b){IDENTIFIER})? SET (?P<rest>.*)",  # noqa: S608
    FLAGS,
)
INSERT = re.compile(rf"INSERT INTO (?P<table>{NAME})|COPY (?P<copied>{NAME})", FLAGS)
DELETE = re.compile(rf"(?:DELETE FROM|TRUNCATE(?: TABLE)?) (?:ONLY )?(?P<table>{NAME})", FLAGS)
HARMLESS = re.compile(
    r"(?:ALTER|CREATE|DROP|COMMENT|GRANT|REVOKE|SET|RESET|ANALYZE|VACUUM|REINDEX|LOCK|REFRESH|CLUSTER|SECURITY|NOTIFY)\b"
    r"|SELECT (?:pg_catalog\.)?(?:set_config|setval)\b",
    FLAGS,
)
"""What changes no row that is asked for."""
ADDED = re.compile(
    rf"ADD (?:COLUMN )?(?:IF NOT EXISTS )?(?P<column>{IDENTIFIER}) (?P<rest>.*)", FLAGS
)
ALTERED = re.compile(rf"ALTER (?:COLUMN )?(?P<column>{IDENTIFIER}) (?P<rest>.*)", FLAGS)
CONSTRAINT = re.compile(
    rf"ADD (?:CONSTRAINT (?P<name>{IDENTIFIER}) )?"
    r"(?P<rest>(?:CHECK|UNIQUE|PRIMARY KEY|FOREIGN KEY|NOT NULL|EXCLUDE)\b.*)",
    FLAGS,
)
VALIDATED = re.compile(rf"VALIDATE CONSTRAINT (?P<name>{IDENTIFIER})", FLAGS)
DROPPED = re.compile(
    rf"DROP (?!CONSTRAINT\b)(?:COLUMN )?(?:IF EXISTS )?(?P<column>{IDENTIFIER})", FLAGS
)
TYPED = re.compile(r"(?:SET DATA )?TYPE (?P<rest>.*)", FLAGS)


@dataclass(frozen=True)
class Demand:
    """What a revision asks of the rows of a table."""

    revision: Revision
    table: str
    """As it stands in the statement."""
    rule: Rule | Stored


@dataclass(frozen=True)
class Loss:
    """Rows that are thrown away, or the values of a column."""

    table: str
    column: str = ""
    deleted: bool = False
    """Whether only a run can tell which."""


@dataclass
class _Known:
    """What the statements so far have changed."""

    made: set[str] = field(default_factory=set)
    """Tables by their last name, without quotes."""
    columns: set[tuple[str, str]] = field(default_factory=set)
    """Columns that have other values now, also by their last name."""
    believed: dict[tuple[str, str], list[Rule]] = field(default_factory=dict)
    """Constraints that are NOT VALID, by table and name."""
    uncertain: bool = False
    """Whether any row may be another one."""


def demands(steps: Iterable[tuple[Revision, Sequence[str] | None]]) -> list[Demand]:
    """Return what statements ask of rows, in their order.

    Args:
        steps: The statements of each revision; None where only a run can tell them.
    """
    known = _Known()
    found: list[Demand] = []
    for revision, statements in steps:
        if statements is None:
            break  # nobody knows what comes after
        for statement in chain.from_iterable(map(_single, statements)):
            for table, rule in _asked(statement, known):
                if _is_certain(table, rule, known):
                    found.append(Demand(revision, table, rule))
            _learn(statement, known)
    return [*dict.fromkeys(found)]


def losses(steps: Iterable[tuple[Revision, Sequence[str] | None]]) -> list[Loss]:
    """Return which rows and values statements throw away, those aside that they have made themselves."""
    known = _Known()
    found: list[Loss] = []
    for _, statements in steps:
        for statement in chain.from_iterable(map(_single, statements or ())):
            found += [each for each in _lost(statement) if _last(each.table) not in known.made]
            _learn(statement, known)
    return [*dict.fromkeys(found)]


def _single(statement: str) -> list[str]:
    """Return a statement for each action of an ALTER TABLE."""
    if altered := ALTER_TABLE.match(statement):
        table = altered["table"]
        return [f"ALTER TABLE {table} {part.strip()}" for part in split(altered["actions"], ",")]
    return [statement]


def _action(statement: str) -> tuple[str, str]:
    """Return the table of an ALTER TABLE and what is done to it; both empty if it is none."""
    altered = ALTER_TABLE.match(statement)
    return (altered["table"], altered["actions"]) if altered else ("", "")


def _asked(statement: str, known: _Known) -> Iterator[tuple[str, Rule | Stored]]:
    """Yield what a statement asks, with the table as it is named."""
    table, action = _action(statement)
    if index := UNIQUE_INDEX.match(statement):
        inside = parentheses(index["rest"])
        if inside and not index["only"]:
            content, rest = index["rest"][slice(*inside)], index["rest"][inside[1] + 1 :]
            unless = (index["name"] or "").strip() if index["unless"] else ""
            yield index["table"], rules.index(content, rest, unless)
    elif constraint := CONSTRAINT.match(action):
        asked = rules.constraint(constraint["rest"])
        if not rules.believed(constraint["rest"]):
            yield from ((table, rule) for rule in asked)
        elif constraint["name"]:
            known.believed[_last(table), _last(constraint["name"])] = asked
    elif validated := VALIDATED.match(action):
        key = _last(table), _last(validated["name"])
        stored: list[Rule | Stored] = [Stored(validated["name"])]
        yield from ((table, rule) for rule in known.believed.get(key, stored))
    elif added := ADDED.match(action):
        yield from ((table, rule) for rule in rules.new_column(added["column"], added["rest"]))
    elif altered := ALTERED.match(action):
        yield from ((table, rule) for rule in _of_column(altered["column"], altered["rest"]))


def _of_column(column: str, change: str) -> Iterator[Rule]:
    if change.strip().upper() == "SET NOT NULL":
        yield NotNull(column)
    elif typed := TYPED.match(change):
        yield rules.cast(column, typed["rest"])


def _is_certain(table: str, rule: Rule | Stored, known: _Known) -> bool:
    """Tell whether the rows that are asked for are those of now."""
    name = _last(table)
    if known.uncertain or name in known.made:
        return False
    match rule:
        case NoRows():
            return True
        case NotNull() | Cast():
            columns: Sequence[str] = (rule.column,)
        case Unique() if not rule.where and all(re.fullmatch(NAME, each) for each in rule.elements):
            columns = rule.elements
        case ForeignKey():
            other = _last(rule.table)
            if other in known.made or any(table == other for table, _ in known.columns):
                return False
            columns = rule.columns
        case _:  # any column may be named in an expression
            return all(table != name for table, _ in known.columns)
    return all((name, part) not in known.columns for part in (*map(_last, columns), "*"))


def _learn(statement: str, known: _Known) -> None:
    """Remember what a statement changes."""
    table, action = _action(statement)
    if action:
        _learn_action(_last(table), action, known)
    elif made := MADE.match(statement):
        known.made.add(_last(made["table"]))
    elif gone := GONE.match(statement):
        known.made |= {_last(name) for name in split(gone["tables"], ",")}
    elif update := UPDATE.match(statement):
        sets = [re.match(rf" ?({IDENTIFIER}) ?=", part) for part in split(update["rest"], ",")]
        known.columns |= {
            (_last(update["table"]), _last(each[1]) if each else "*") for each in sets
        }
    elif inserted := INSERT.match(statement):
        known.columns.add((_last(inserted["table"] or inserted["copied"]), "*"))
    elif not HARMLESS.match(statement):
        known.uncertain = True


def _learn_action(table: str, action: str, known: _Known) -> None:
    altered = ALTERED.match(action)
    if action.upper().startswith(("RENAME", "SET SCHEMA", "ATTACH", "DETACH", "INHERIT")):
        known.made |= {table, _last(action.rpartition(" ")[2])}
    elif CONSTRAINT.match(action):
        return
    elif column := ADDED.match(action) or DROPPED.match(action):
        known.columns.add((table, _last(column["column"])))
    elif altered and TYPED.match(altered["rest"]):
        known.columns.add((table, _last(altered["column"])))


def _lost(statement: str) -> Iterator[Loss]:
    table, action = _action(statement)
    if gone := GONE.match(statement):
        yield from (Loss(name.strip()) for name in split(gone["tables"], ","))
    elif deleted := DELETE.match(statement):
        yield Loss(deleted["table"], deleted=True)
    elif dropped := DROPPED.match(action):
        yield Loss(table, dropped["column"])


def _last(name: str) -> str:
    """Return the last part of a name without quotes; empty if it is none."""
    return (unquoted(name) or ("",))[-1]

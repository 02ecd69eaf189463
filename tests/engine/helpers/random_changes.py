"""Random models and changes of them: a Hypothesis strategy for a `Case`.

A `Schema` is plain data, which `models` writes as the body of a module. An edit changes a schema in place, or does
nothing where the schema has nothing to edit.
"""

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from case_table import Case
from hypothesis import strategies as st


class Kind(NamedTuple):
    """A type of columns, with expressions for it."""

    default: str
    """SQL; it passes the check."""
    check: str
    """SQL with {} for the column."""
    value: str
    """SQL with {n} for the number of the row; it passes the check."""
    others: Collection[str] = ()
    """Types to which a column of this type is changed."""


KINDS = {
    "sa.Integer": Kind("7", "{} > 0", "{n}", ("sa.BigInteger", "sa.Numeric(10, 2)", "sa.Text")),
    "sa.BigInteger": Kind("5", "{} BETWEEN 1 AND 9", "{n}", ("sa.Integer", "sa.String(20)")),
    "sa.Numeric(10, 2)": Kind("1.50", "{} <> 99", "{n}.5", ("sa.Integer", "sa.Numeric")),
    "sa.Numeric": Kind("random()", "{} >= 0", "{n}.5", ("sa.Numeric(10, 2)",)),
    "sa.Text": Kind("'it''s 100 %s'", "{} <> ''", "'{n}'", ("sa.Integer", "postgresql.JSONB")),
    "sa.String(20)": Kind("'1'", "{} IN ('1', '2', '3')", "'{n}'", ("sa.Text", "sa.String(40)")),
    "sa.String(40)": Kind("'x' || '%'", "length({}) > 0", "'{n}'", ("sa.String(20)", "sa.Boolean")),
    "sa.Boolean": Kind("true", "{} IS NOT NULL", "true", ("sa.Integer", "sa.Text")),
    "sa.Date": Kind("CURRENT_DATE", "{} > '2000-01-01'", "'2026-01-0{n}'", ("sa.DateTime",)),
    "sa.DateTime": Kind("now()", "{} > '2000-01-01'", "'2026-01-0{n}'", ("sa.Date", "sa.Text")),
    "postgresql.JSONB": Kind("'[]'", "jsonb_typeof({}) = 'array'", "'[{n}]'", ("sa.Text",)),
    "postgresql.ARRAY(sa.Text)": Kind("'{a,b}'", "cardinality({}) < 5", "'{{{n}}}'", ("sa.Text",)),
    "postgresql.UUID": Kind("gen_random_uuid()", "{} IS NOT NULL", "gen_random_uuid()"),
}
KEYS = {
    "serial": "sa.Integer",
    "bigserial": "sa.BigInteger",
    "plain": "sa.Integer, autoincrement=False",
    "identity": "sa.Integer, sa.Identity()",
    "always": "sa.BigInteger, sa.Identity(always=True, increment=2)",
}
"""Types of primary keys."""
EXTRAS = {
    "trigger": "CREATE TRIGGER {0} BEFORE UPDATE ON {1} FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "policy": "CREATE POLICY {0} ON {1} USING (id > 0)",
    "statistics": "CREATE STATISTICS {0} ON (id + 1), (id - 1) FROM {1}",
    "rule": "CREATE RULE {0} AS ON DELETE TO {1} DO ALSO NOTIFY gone",
}
"""Objects of a table, {1}, that the models create by a statement; {0} is the name."""
VARIANTS = {
    "plain": "",
    "expression": "",
    "hash": ", postgresql_using='hash'",
    "where": ", postgresql_where=sa.text('id > 5')",
    "fillfactor": ", postgresql_with={'fillfactor': 70}",
    "include": ", postgresql_include=['id']",
}
"""Arguments of indexes."""
TEXTS = st.sampled_from(["", "it's", 'a "b"', "%s :x {} $$", "two\nlines", "\\"])
WORDS = st.sampled_from(["a", "b", "Größe", "user", "two words", "camelCase", "q\\'s", "x" * 50])


@dataclass
class Column:
    """A column, with the default of its kind or without one."""

    kind: str
    nullable: bool
    default: bool
    comment: str = ""


@dataclass
class Table:
    """A table with a primary key `id`."""

    columns: dict[str, Column]
    indexes: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Their column, and their key in VARIANTS."""
    uniques: dict[str, str] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    extras: dict[str, str] = field(default_factory=dict)
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Foreign keys of `id`: the table that they refer to, and ON DELETE."""
    comment: str = ""
    key: str = "serial"

    @property
    def parts(self) -> list[dict[str, Any]]:
        """Indexes and constraints."""
        return [self.indexes, self.uniques, self.checks, self.keys]


@dataclass
class Schema:
    """Tables, types, views and functions of models."""

    tables: dict[str, Table] = field(default_factory=dict)
    enums: dict[str, list[str]] = field(default_factory=dict)
    views: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """Their table, and their columns besides `id`."""
    materialised: set[str] = field(default_factory=set)
    """The views that are materialized."""
    functions: dict[str, int] = field(default_factory=dict)
    """The number that they return."""
    renamed: list[str] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """All names in use: tables, views, types and indexes share one namespace."""
        parts = {name for table in self.tables.values() for part in table.parts for name in part}
        extras = {name for table in self.tables.values() for name in table.extras}
        return {*self.tables, *self.enums, *self.views, *self.functions, *parts, *extras}


def models(schema: Schema) -> str:
    """Return a schema as the body of a module."""
    enums = {name: f"enum_{place}" for place, name in enumerate(schema.enums)}
    lines = [
        f"{enums[name]} = sa.Enum(*{labels!r}, name={name!r}, metadata=metadata)"
        for name, labels in schema.enums.items()
    ]
    lines += [_table(name, table, enums) for name, table in schema.tables.items()]
    statements = [
        EXTRAS[kind].format(_quoted(extra), _quoted(name))
        for name, table in schema.tables.items()
        for extra, kind in table.extras.items()
    ]
    for name, (table, columns) in schema.views.items():
        listed = ", ".join(map(_quoted, ("id", *columns)))
        kind = "MATERIALIZED VIEW" if name in schema.materialised else "VIEW"
        statements.append(f"CREATE {kind} {_quoted(name)} AS SELECT {listed} FROM {_quoted(table)}")
    statements += [
        f"CREATE FUNCTION {_quoted(name)}() RETURNS integer LANGUAGE sql AS 'SELECT {number}'"
        for name, number in schema.functions.items()
    ]
    return "\n".join([*lines, *(f"made({statement!r})" for statement in statements)])


def _table(name: str, table: Table, enums: dict[str, str]) -> str:
    items = [repr(name), "metadata", f"sa.Column('id', {KEYS[table.key]}, primary_key=True)"]
    for column, facts in table.columns.items():
        default = f"sa.text({KINDS[facts.kind].default!r})" if facts.default else None
        items.append(
            f"sa.Column({column!r}, {enums.get(facts.kind, facts.kind)}, nullable={facts.nullable},"
            f" server_default={default}, comment={facts.comment or None!r})"
        )
    for part, (column, variant) in table.indexes.items():
        what = (
            f"sa.text({f'({_quoted(column)} IS NULL)'!r})"
            if variant == "expression"
            else repr(column)
        )
        items.append(f"sa.Index({part!r}, {what}{VARIANTS[variant]})")
    items += [f"sa.UniqueConstraint({c!r}, name={part!r})" for part, c in table.uniques.items()]
    for part, column in table.checks.items():
        check = KINDS[table.columns[column].kind].check.format(_quoted(column))
        items.append(f"sa.CheckConstraint({check!r}, name=sa.schema.conv({part!r}))")
    for part, (target, rule) in table.keys.items():
        items.append(
            f"sa.ForeignKeyConstraint(['id'], [metadata.tables[{target!r}].c.id], name={part!r},"
            f" ondelete={rule!r})"
        )
    return f"sa.Table({', '.join(items)}, comment={table.comment or None!r})"


def rows(schema: Schema) -> str:
    """Return SQL that inserts three rows into each table."""
    statements = []
    for name, table in schema.tables.items():
        columns = ", ".join(map(_quoted, ("id", *table.columns)))
        for n in (1, 2, 3):
            values = [str(n)]
            for column in table.columns.values():
                if labels := schema.enums.get(column.kind):
                    values.append("'" + labels[0].replace("'", "''") + "'")
                else:
                    values.append(KINDS[column.kind].value.format(n=n))
            statements.append(
                f"INSERT INTO {_quoted(name)} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({', '.join(values)});"
            )
    return "\n".join(statements)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _new(draw: st.DrawFn, prefix: str, taken: Collection[str]) -> str:
    name = prefix + draw(WORDS)
    while name in taken:
        name += "+"
    return name


def _one(draw: st.DrawFn, names: Collection[str]) -> str:
    return draw(st.sampled_from(sorted(names)))


def _column(draw: st.DrawFn, schema: Schema) -> Column:
    """Draw a column; one that is NOT NULL has a default."""
    kind = _one(draw, {*KINDS, *schema.enums})
    default = kind in KINDS and draw(st.booleans())
    return Column(kind, nullable=not default or draw(st.booleans()), default=default)


def add_table(draw: st.DrawFn, schema: Schema) -> None:
    columns: dict[str, Column] = {}
    for _ in range(draw(st.integers(1, 4))):
        columns[_new(draw, "", columns)] = _column(draw, schema)
    schema.tables[_new(draw, "t ", schema.names)] = Table(columns)


def drop_table(draw: st.DrawFn, schema: Schema) -> None:
    gone = _one(draw, schema.tables)
    if len(schema.tables) > 1:
        del schema.tables[gone]
        schema.views = {view: of for view, of in schema.views.items() if of[0] != gone}
        for table in schema.tables.values():
            table.keys = {key: to for key, to in table.keys.items() if to[0] != gone}


def rename_table(draw: st.DrawFn, schema: Schema) -> None:
    old, new = _one(draw, schema.tables), "renamed"
    schema.tables = {new if name == old else name: of for name, of in schema.tables.items()}
    schema.views = {
        view: (new if of == old else of, columns) for view, (of, columns) in schema.views.items()
    }
    for table in schema.tables.values():
        table.keys = {
            key: (new if to == old else to, rule) for key, (to, rule) in table.keys.items()
        }
    schema.renamed.append(f"{old}:{new}")


def add_column(draw: st.DrawFn, schema: Schema) -> None:
    columns = schema.tables[_one(draw, schema.tables)].columns
    columns[_new(draw, "", columns)] = _column(draw, schema)


def drop_column(draw: st.DrawFn, schema: Schema) -> None:
    name = _one(draw, schema.tables)
    table = schema.tables[name]
    gone = _one(draw, table.columns)
    if len(table.columns) > 1:
        del table.columns[gone]
        table.indexes = {part: of for part, of in table.indexes.items() if of[0] != gone}
        table.uniques = {part: of for part, of in table.uniques.items() if of != gone}
        table.checks = {part: of for part, of in table.checks.items() if of != gone}
        for view, (of, columns) in schema.views.items():
            kept = [column for column in columns if (of, column) != (name, gone)]
            schema.views[view] = of, kept


def rename_column(draw: st.DrawFn, schema: Schema) -> None:
    name = _one(draw, schema.tables)
    table = schema.tables[name]
    old, new = _one(draw, table.columns), "renamed"

    def now(column: str) -> str:
        return new if column == old else column

    table.columns = {now(column): facts for column, facts in table.columns.items()}
    table.indexes = {part: (now(of), how) for part, (of, how) in table.indexes.items()}
    table.uniques = {part: now(of) for part, of in table.uniques.items()}
    table.checks = {part: now(of) for part, of in table.checks.items()}
    for view, (of, columns) in schema.views.items():
        schema.views[view] = of, [now(each) if of == name else each for each in columns]
    schema.renamed.append(f"{name}.{old}:{new}")


def change_type(draw: st.DrawFn, schema: Schema) -> None:
    columns = schema.tables[_one(draw, schema.tables)].columns
    name = _one(draw, columns)
    if columns[name].kind in KINDS and (others := KINDS[columns[name].kind].others):
        columns[name] = replace(columns[name], kind=_one(draw, others))


def change_nullable(draw: st.DrawFn, schema: Schema) -> None:
    columns = schema.tables[_one(draw, schema.tables)].columns
    name = _one(draw, columns)
    columns[name] = replace(columns[name], nullable=not columns[name].nullable)


def change_default(draw: st.DrawFn, schema: Schema) -> None:
    columns = schema.tables[_one(draw, schema.tables)].columns
    name = _one(draw, columns)
    if columns[name].kind in KINDS:
        columns[name] = replace(columns[name], default=not columns[name].default)


def change_comment(draw: st.DrawFn, schema: Schema) -> None:
    table = schema.tables[_one(draw, schema.tables)]
    if draw(st.booleans()):
        table.comment = draw(TEXTS)
    else:
        name = _one(draw, table.columns)
        table.columns[name] = replace(table.columns[name], comment=draw(TEXTS))


def add_index(draw: st.DrawFn, schema: Schema) -> None:
    table = schema.tables[_one(draw, schema.tables)]
    name = _new(draw, "ix ", schema.names)
    table.indexes[name] = _one(draw, table.columns), _one(draw, VARIANTS)


def change_index(draw: st.DrawFn, schema: Schema) -> None:
    indexes = schema.tables[_one(draw, schema.tables)].indexes
    if indexes:
        name = _one(draw, indexes)
        indexes[name] = indexes[name][0], _one(draw, VARIANTS)


def add_unique(draw: st.DrawFn, schema: Schema) -> None:
    table = schema.tables[_one(draw, schema.tables)]
    name = _one(draw, table.columns)
    if table.columns[name].kind not in {"sa.Boolean", *schema.enums}:
        table.uniques[_new(draw, "uq ", schema.names)] = name


def add_check(draw: st.DrawFn, schema: Schema) -> None:
    table = schema.tables[_one(draw, schema.tables)]
    name = _one(draw, table.columns)
    if table.columns[name].kind in KINDS:
        table.checks[_new(draw, "ck ", schema.names)] = name


def add_key(draw: st.DrawFn, schema: Schema) -> None:
    """Add a foreign key to an earlier table, so that references form no cycle."""
    names = list(schema.tables)
    if len(names) > 1:
        place = draw(st.integers(1, len(names) - 1))
        target = draw(st.sampled_from(names[:place]))
        rule = _one(draw, {"CASCADE", "RESTRICT", "NO ACTION"})
        schema.tables[names[place]].keys[_new(draw, "fk ", schema.names)] = target, rule


def _parts(draw: st.DrawFn, schema: Schema) -> dict[str, Any]:
    parts = [part for table in schema.tables.values() for part in table.parts if part]
    return draw(st.sampled_from(parts)) if parts else {}


def drop_part(draw: st.DrawFn, schema: Schema) -> None:
    if part := _parts(draw, schema):
        del part[_one(draw, part)]


def rename_part(draw: st.DrawFn, schema: Schema) -> None:
    if part := _parts(draw, schema):
        old = _one(draw, part)
        part[_new(draw, "", schema.names)] = part.pop(old)


def add_view(draw: st.DrawFn, schema: Schema) -> None:
    table = _one(draw, schema.tables)
    names = st.sampled_from(sorted(schema.tables[table].columns))
    name = _new(draw, "v ", schema.names)
    schema.views[name] = table, draw(st.lists(names, unique=True))
    materialised = draw(st.booleans())
    if materialised:
        schema.materialised.add(name)


def change_view(draw: st.DrawFn, schema: Schema) -> None:
    if schema.views:
        name = _one(draw, schema.views)
        table, _ = schema.views[name]
        names = st.sampled_from(sorted(schema.tables[table].columns))
        schema.views[name] = table, draw(st.lists(names, unique=True))


def change_key(draw: st.DrawFn, schema: Schema) -> None:
    schema.tables[_one(draw, schema.tables)].key = _one(draw, KEYS)


def add_extra(draw: st.DrawFn, schema: Schema) -> None:
    table = schema.tables[_one(draw, schema.tables)]
    table.extras[_new(draw, "x ", schema.names)] = _one(draw, EXTRAS)


def drop_extra(draw: st.DrawFn, schema: Schema) -> None:
    extras = schema.tables[_one(draw, schema.tables)].extras
    if extras:
        del extras[_one(draw, extras)]


def set_function(draw: st.DrawFn, schema: Schema) -> None:
    """Create a function, or change what one returns."""
    another = draw(st.booleans())
    if schema.functions and not another:
        schema.functions[_one(draw, schema.functions)] += 1
    else:
        schema.functions[_new(draw, "f ", schema.names)] = 1


def drop_function(draw: st.DrawFn, schema: Schema) -> None:
    if schema.functions:
        del schema.functions[_one(draw, schema.functions)]


def drop_view(draw: st.DrawFn, schema: Schema) -> None:
    if schema.views:
        del schema.views[_one(draw, schema.views)]


def add_enum(draw: st.DrawFn, schema: Schema) -> None:
    labels = st.lists(st.sampled_from(["sad", "ok", "it's", "Happy"]), min_size=1, unique=True)
    schema.enums[_new(draw, "e ", schema.names)] = draw(labels)


def add_label(draw: st.DrawFn, schema: Schema) -> None:
    if schema.enums:
        labels = schema.enums[_one(draw, schema.enums)]
        labels.insert(draw(st.integers(0, len(labels))), f"new {len(labels)}")


def drop_label(draw: st.DrawFn, schema: Schema) -> None:
    if schema.enums and len(labels := schema.enums[_one(draw, schema.enums)]) > 1:
        labels.pop()


Edit = Callable[[st.DrawFn, Schema], None]
FURNISH: list[Edit] = [
    add_index, add_unique, add_check, add_key, add_view, add_extra, set_function, change_comment,
    change_key,
]  # fmt: skip
RENAMES: list[Edit] = [rename_table, rename_column]
RISKY: list[Edit] = [change_type, drop_label, drop_table]
"""Edits that may fail because of rows, or whose downgrade may."""
EDITS: list[Edit] = [
    *FURNISH, *RISKY, add_table, add_column, drop_column, change_nullable, change_default, change_index,
    drop_part, rename_part, change_view, drop_view, drop_extra, drop_function, add_enum, add_label,
]  # fmt: skip


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw models and up to three edits of them. Only the first may be a rename: a flag gives it by final names."""
    before = Schema()
    for _ in range(draw(st.integers(0, 2))):
        add_enum(draw, before)
    for _ in range(draw(st.integers(1, 3))):
        add_table(draw, before)
    for edit in draw(st.lists(st.sampled_from(FURNISH), max_size=5)):
        edit(draw, before)
    after = copy.deepcopy(before)
    first = draw(st.sampled_from([*EDITS, *RENAMES]))
    edits = [first, *draw(st.lists(st.sampled_from(EDITS), max_size=2))]
    for edit in edits:
        edit(draw, after)
    safe = len(edits) == 1 and first not in RISKY
    return Case(
        group="random",
        name=", ".join(edit.__name__ for edit in edits),
        rule="Any change is proved, or what is left to do is named.",
        before=models(before),
        after=models(after),
        rows=rows(before) if safe else "",
        rename=after.renamed,
        no_renames=True,
        expect="proved",
    )

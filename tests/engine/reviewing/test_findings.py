"""What is judged harmful on a large table, and what is not, however it is written in the script."""

import pytest
from conftest import Project

from postgres_database.reviewing import findings, rehearsal, source
from postgres_database.scratch import databases

TABLES = """
op.execute('''
    CREATE TABLE orders (id int PRIMARY KEY, n int, note varchar(10), shop int);
    CREATE TABLE shops (id int PRIMARY KEY, name text NOT NULL);
    ALTER TABLE orders ADD CONSTRAINT filled CHECK (n IS NOT NULL);
    INSERT INTO shops VALUES (1, 'one'), (2, 'two');
    CREATE VIEW named AS SELECT id, name FROM shops;
    CREATE MATERIALIZED VIEW counts AS SELECT shop, count(*) FROM orders GROUP BY shop;
    CREATE UNIQUE INDEX counts_shop ON counts (shop);
''')
"""
HELPER = "\n\ndef index(table):\n    op.create_index('i', table, ['n'])\n"
HAZARDS = {
    "helper": ("index('orders')", "table-scan", "orders"),
    "sql of an index": ("op.execute(sa.text('CREATE INDEX i ON orders (n)'))", "table-scan", "orders"),
    "f-string": ("c = 'n'\nop.execute(f'ALTER TABLE orders ALTER {c} TYPE bigint')", "table-rewrite", "orders"),
    "loop": (
        "for c in ['n']:\n    op.alter_column('orders', c, type_=sa.BigInteger())",
        "table-rewrite",
        "orders",
    ),
    "block": ("op.execute('DO $$BEGIN ALTER TABLE orders ALTER n TYPE bigint; END$$')", "table-rewrite", "orders"),
    "volatile default": (
        "op.get_bind().execute(sa.text('ALTER TABLE orders ADD u uuid DEFAULT gen_random_uuid()'))",
        "table-rewrite",
        "orders",
    ),
    "all rows": ("op.execute('UPDATE orders SET n = n + 1')", "row-locks", "orders"),
    "validated in the transaction": (
        (
            "for do in 'ADD CONSTRAINT c CHECK (n > 0) NOT VALID', 'VALIDATE CONSTRAINT c':\n"
            "    op.execute('ALTER TABLE orders ' + do)"
        ),
        "table-scan",
        "orders",
    ),
    "column dropped": ("op.drop_column('orders', 'note')", "old-code", "orders.note"),
    "column renamed": ("op.alter_column('orders', 'note', new_column_name='said')", "old-code", "orders.note"),
    "table renamed": ("op.rename_table('shops', 'stores')", "old-code", "shops"),
    "column of a view": (
        "op.execute('DROP VIEW named; CREATE VIEW named AS SELECT id FROM shops')",
        "old-code",
        "named.name",
    ),
    "view renamed": ("op.execute('ALTER VIEW named RENAME TO said')", "old-code", "named"),
    "column of a view renamed": ("op.execute('ALTER VIEW named RENAME name TO said')", "old-code", "named.name"),
    "another table by the name": (
        "op.rename_table('orders', 'old'); op.execute('CREATE TABLE orders (id int, n int, shop int)')",
        "old-code",
        "orders.note",
    ),
    "row by row": (
        (
            "shops = op.get_bind().execute(sa.text('SELECT id FROM shops')).scalars().all()\n"
            "for shop in shops:\n"
            "    op.get_bind().execute(sa.text('UPDATE shops SET name = upper(name) WHERE id = :id'), {'id': shop})"
        ),
        "row-locks",
        "shops",
    ),
    "refreshed": ("op.execute('REFRESH MATERIALIZED VIEW counts')", "table-rewrite", "counts"),
    "value needed": (
        "for do in 'ADD x int NOT NULL DEFAULT 1', 'ALTER x DROP DEFAULT':\n    op.execute('ALTER TABLE shops ' + do)",
        "old-code",
        "shops.x",
    ),
}  # fmt: skip
DECOYS = {
    "not null after a check": "op.alter_column('orders', 'n', nullable=False)",
    "wider": "op.alter_column('orders', 'note', type_=sa.String(50))",
    "foreign key not valid": "op.execute('ALTER TABLE orders ADD FOREIGN KEY (shop) REFERENCES shops NOT VALID')",
    "nullable column": "op.add_column('orders', sa.Column('x', sa.Integer))",
    "online": "with op.online():\n    op.create_index('i', 'orders', ['n'])",
    "refreshed beside readers": "op.execute('REFRESH MATERIALIZED VIEW CONCURRENTLY counts')",
    "one of the rows": "for n in 1, 7, 8:\n    op.execute(f\"UPDATE shops SET name = 'one' WHERE id = {n}\")",
    "view made again": (
        "op.execute('DROP VIEW named; CREATE VIEW named AS SELECT id, name, 1 AS more FROM shops')"
    ),
    "given again": (
        "op.drop_column('orders', 'note'); op.add_column('orders', sa.Column('note', sa.String(10)))"
    ),
}


def test_hazards_are_reported_and_decoys_are_not(project: Project) -> None:
    """What a statement does is reported once, with its table, however it is written; what is harmless is not."""
    project.script("one", "", TABLES)
    wanted = {name: (upgrade, [(rule, what)]) for name, (upgrade, rule, what) in HAZARDS.items()}
    wanted |= {name: (upgrade, []) for name, upgrade in DECOYS.items()}
    wrong = {}
    with databases.session(*project.settings) as session:
        for name, (upgrade, expected) in wanted.items():
            path = project.script("two", "one", upgrade)
            path.write_text(
                path.read_text().replace("\n\n\ndef upgrade", f"{HELPER}\n\ndef upgrade")
            )
            here = project.settings.project
            plan = here.history.pending(("one",), "head")
            measured = rehearsal.measure(here, session.at(here, ("one",)), plan)
            names = here.folders.name
            found = [
                *findings.waits(measured, None, names),
                *findings.broken(measured, names, None),
                *findings.failure(measured, names),
            ]
            if [(each.rule, each.object) for each in found] != expected:
                wrong[name] = found
    assert not wrong


SCRIPT = '''
# review: accept old-code because of all
def helper(x):
    a(x)
    # review: accept table-scan because of this one
    # REVIEW: accept table-rewrite because of another
    b(
        x,
    )
    c(x)  # review: accept row-locks because beside
    text = """
    # review: accept drops-data because it is text
    """
    # review: accept violation
'''
COVERED = {
    ("old-code", 4): True,
    ("table-scan", 4): False,
    ("table-scan", 7): True,
    ("table-scan", 8): True,
    ("table-scan", 10): False,
    ("table-rewrite", 7): True,
    ("row-locks", 10): True,
    ("row-locks", 7): False,
    ("drops-data", 11): False,
    ("violation", 14): False,
}


@pytest.mark.parametrize(("rule", "line"), COVERED)
def test_comments_cover_one_statement(rule: str, line: int) -> None:
    """A comment accepts one rule in the statement beside or below it, outside of functions in the whole script."""
    comments = source.acceptances(SCRIPT)
    assert any(each.covers(rule, line) for each in comments) is COVERED[rule, line]

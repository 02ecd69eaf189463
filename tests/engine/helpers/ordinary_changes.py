"""Models of two tables with rows, and ordinary changes of them."""

BASE = """
orgs = sa.Table("orgs", metadata, sa.Column("id", sa.Integer, primary_key=True))
users = sa.Table(
    "users", metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.Text),
    sa.Column("age", sa.Integer),
    sa.Column("name", sa.String(20)),
    sa.Column("org", sa.Integer),
    sa.Column("mood", sa.Enum("sad", "ok", name="mood")),
    sa.Index("ix_old", "age"),
)
"""
# The number of users is a parameter.
ROWS = """
INSERT INTO orgs SELECT generate_series(1, 20);
INSERT INTO users SELECT i, 'e' || i, i, 'n' || i, i % 20 + 1, 'ok' FROM generate_series(1, {rows}) i;
"""
CHANGES = {
    "column": 'users.append_column(sa.Column("x", sa.Text))',
    "column with a default": 'users.append_column(sa.Column("x", sa.Integer, nullable=False, server_default="7"))',
    "column with a changing default": """
users.append_column(sa.Column("x", sa.Uuid, nullable=False, server_default=sa.text("gen_random_uuid()")))""",
    "column that must be filled": 'users.append_column(sa.Column("x", sa.Text, nullable=False))',
    "serial": 'users.append_column(sa.Column("x", sa.Integer, sa.Sequence("users_x_seq"), nullable=False,'
    " server_default=sa.Sequence('users_x_seq').next_value()))",
    "index": 'sa.Index("ix", users.c.email)',
    "unique index of an expression": 'sa.Index("ix", sa.func.lower(users.c.email), unique=True)',
    "no index": "users.indexes.clear()",
    "unique": 'users.append_constraint(sa.UniqueConstraint("email", name="uq"))',
    "foreign key": 'users.append_constraint(sa.ForeignKeyConstraint(["org"], ["orgs.id"], name="fk"))',
    "check": 'users.append_constraint(sa.CheckConstraint("age > 0", name="ck"))',
    "not null": "users.c.name.nullable = False",
    "longer text": "users.c.name.type = sa.String(50)",
    "text": "users.c.name.type = sa.Text()",
    "default": 'users.c.name.server_default = sa.DefaultClause("nobody")',
    "value": 'users.c.mood.type = sa.Enum("sad", "ok", "happy", name="mood")',
    "table that refers to it": """
sa.Table("notes", metadata, sa.Column("id", sa.Integer, primary_key=True),
         sa.Column("user", sa.Integer, sa.ForeignKey("users.id"), index=True))""",
    "several at once": """
column = sa.Column("x", sa.Integer, sa.ForeignKey("orgs.id"), index=True, nullable=False, server_default="1")
users.append_column(column)
users.c.email.nullable = False""",
}

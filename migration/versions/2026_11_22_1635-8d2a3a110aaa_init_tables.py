"""Init tables

Revision: 8d2a3a110aaa
Revises: base
Created: 2026-11-22 16:35:05.735707
"""

import sqlalchemy as sa
from alembic import op

revision = "8d2a3a110aaa"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "comp_pipeline",
        sa.Column("project_id", sa.Text(), nullable=False, comment="As projects.uuid"),
        sa.Column(
            "dag_adjacency_list",
            sa.JSON(),
            nullable=False,
            comment="For each node the nodes that need its outputs",
        ),
        sa.Column(
            "state",
            sa.Text(),
            server_default="UNKNOWN",
            nullable=False,
            comment="UNKNOWN, PENDING, RUNNING, SUCCESS or FAILED",
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("comp_pipeline_pkey")),
        comment="Computations, one for each project that was ever run",
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "type",
            sa.Enum("TEMPLATE", "STANDARD", name="project_type"),
            server_default="STANDARD",
            nullable=False,
            comment="A TEMPLATE is copied, never run",
        ),
        sa.Column(
            "uuid",
            sa.Text(),
            nullable=False,
            comment="The project's name in URLs and in other services",
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("thumbnail", sa.Text(), nullable=True, comment="URL of the preview image"),
        sa.Column("prj_owner", sa.Text(), nullable=True, comment="E-mail address of the owner"),
        sa.Column(
            "creation_date",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "last_change_date",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "workbench",
            sa.JSON(),
            nullable=False,
            comment="Nodes of the pipeline by their uuid, with inputs, outputs and position",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("projects_pkey")),
        sa.UniqueConstraint("uuid", name=op.f("projects_uuid_key")),
        comment="Studies of users, and the templates they start from",
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column(
            "password_hash",
            sa.Text(),
            nullable=False,
            comment="Salted hash, never the password itself",
        ),
        sa.Column(
            "status",
            sa.Enum("CONFIRMATION_PENDING", "ACTIVE", "BANNED", name="user_status"),
            server_default="CONFIRMATION_PENDING",
            nullable=False,
            comment="Only ACTIVE users may log in",
        ),
        sa.Column(
            "role",
            sa.Enum("ANONYMOUS", "GUEST", "USER", "TESTER", name="user_role"),
            server_default="USER",
            nullable=False,
            comment="What the user may do; ANONYMOUS and GUEST accounts are temporary",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "created_ip", sa.Text(), nullable=True, comment="Address that the account came from"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
        sa.UniqueConstraint("email", name=op.f("users_email_key")),
        comment="Accounts of the platform",
    )
    op.create_table(
        "comp_tasks",
        sa.Column("task_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column(
            "node_id",
            sa.Text(),
            nullable=False,
            comment="Uuid of the node in the project's workbench",
        ),
        sa.Column("job_id", sa.Text(), nullable=True, comment="Identifier in the job queue"),
        sa.Column(
            "internal_id",
            sa.BigInteger(),
            nullable=True,
            comment="Position of the node in the order of execution",
        ),
        sa.Column("schema", sa.JSON(), nullable=True, comment="What inputs and outputs there are"),
        sa.Column("inputs", sa.JSON(), nullable=True, comment="Values by the name of the port"),
        sa.Column("outputs", sa.JSON(), nullable=True, comment="Values by the name of the port"),
        sa.Column("image", sa.JSON(), nullable=True, comment="Name and tag of the container image"),
        sa.Column(
            "state",
            sa.Text(),
            server_default="UNKNOWN",
            nullable=False,
            comment="UNKNOWN, PENDING, RUNNING, SUCCESS or FAILED",
        ),
        sa.Column(
            "submit",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it came into the queue",
        ),
        sa.Column(
            "start", sa.DateTime(timezone=True), nullable=True, comment="When a worker took it"
        ),
        sa.Column(
            "end", sa.DateTime(timezone=True), nullable=True, comment="When the worker had finished"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["comp_pipeline.project_id"], name=op.f("comp_tasks_project_id_fkey")
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("comp_tasks_pkey")),
        sa.UniqueConstraint(
            "project_id", "node_id", name=op.f("comp_tasks_project_id_node_id_key")
        ),
        comment="Nodes of the computations; new outputs are announced by NOTIFY",
    )
    op.create_table(
        "confirmations",
        sa.Column("code", sa.Text(), nullable=False, comment="Secret part of the link"),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "action",
            sa.Enum(
                "REGISTRATION",
                "RESET_PASSWORD",
                "CHANGE_EMAIL",
                "INVITATION",
                name="confirmation_action",
            ),
            nullable=False,
            comment="What happens when the code comes back",
        ),
        sa.Column(
            "data",
            sa.Text(),
            nullable=True,
            comment="What the action needs, such as the new e-mail address",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("confirmations_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("code", name=op.f("confirmations_pkey")),
        comment="Codes that were sent to users and have not come back yet",
    )
    op.create_index(op.f("confirmations_user_id_idx"), "confirmations", ["user_id"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "token_service",
            sa.Text(),
            nullable=False,
            comment="Name of the service that accepts the token",
        ),
        sa.Column(
            "token_data",
            sa.JSON(),
            nullable=False,
            comment="Key and secret, in the form that the service wants",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("tokens_user_id_fkey")),
        sa.PrimaryKeyConstraint("token_id", name=op.f("tokens_pkey")),
        comment="Credentials of users for external services",
    )
    op.create_index(op.f("tokens_user_id_idx"), "tokens", ["user_id"], unique=False)
    op.create_table(
        "user_to_projects",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("user_to_projects_project_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("user_to_projects_user_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("user_to_projects_pkey")),
        sa.UniqueConstraint(
            "user_id", "project_id", name=op.f("user_to_projects_user_id_project_id_key")
        ),
        comment="Which user may open which project",
    )
    op.create_index(
        op.f("user_to_projects_project_id_idx"), "user_to_projects", ["project_id"], unique=False
    )
    # Autogenerate does not see functions and triggers; this is what the models create.
    op.execute(
        """
        CREATE FUNCTION notify_comp_tasks_outputs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(
        'comp_tasks_outputs',
        json_build_object(
            'task_id', NEW.task_id, 'project_id', NEW.project_id, 'node_id', NEW.node_id
        )::text
    );
    RETURN NULL;
END;
$$
        """
    )
    op.execute(
        """
        CREATE TRIGGER notify_comp_tasks_outputs AFTER UPDATE ON comp_tasks FOR EACH ROW
        WHEN (OLD.outputs::text IS DISTINCT FROM NEW.outputs::text)
        EXECUTE FUNCTION notify_comp_tasks_outputs()
        """
    )


def downgrade() -> None:
    op.drop_index(op.f("user_to_projects_project_id_idx"), table_name="user_to_projects")
    op.drop_table("user_to_projects")
    op.drop_index(op.f("tokens_user_id_idx"), table_name="tokens")
    op.drop_table("tokens")
    op.drop_index(op.f("confirmations_user_id_idx"), table_name="confirmations")
    op.drop_table("confirmations")
    op.drop_table("comp_tasks")
    op.drop_table("users")
    op.drop_table("projects")
    op.drop_table("comp_pipeline")
    op.execute("DROP FUNCTION notify_comp_tasks_outputs()")
    # Types stay behind when the tables that use them go.
    for name in ("confirmation_action", "project_type", "user_role", "user_status"):
        op.execute(f"DROP TYPE {name}")

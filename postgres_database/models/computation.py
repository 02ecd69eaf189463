"""What the platform computes: pipelines and their tasks."""

from datetime import datetime
from typing import Any

from sqlalchemy import DDL, JSON, BigInteger, ForeignKey, Identity, UniqueConstraint, event
from sqlalchemy.orm import Mapped, mapped_column

from postgres_database.models.base import Base

# LISTEN on it to hear of new outputs; the payload is {"task_id", "project_id", "node_id"}.
OUTPUTS_CHANNEL = "comp_tasks_outputs"

STATES = "UNKNOWN, PENDING, RUNNING, SUCCESS or FAILED"


class CompPipeline(Base):
    """The computation of one project."""

    __tablename__ = "comp_pipeline"
    __table_args__ = ({"comment": "Computations, one for each project that was ever run"},)

    project_id: Mapped[str] = mapped_column(primary_key=True, comment="As projects.uuid")
    dag_adjacency_list: Mapped[dict[str, Any]] = mapped_column(
        JSON, comment="For each node the nodes that need its outputs"
    )
    state: Mapped[str] = mapped_column(server_default="UNKNOWN", comment=STATES)


class CompTask(Base):
    """One node of a pipeline, to be run by a worker."""

    __tablename__ = "comp_tasks"
    __table_args__ = (
        UniqueConstraint("project_id", "node_id"),
        {"comment": "Nodes of the computations; new outputs are announced by NOTIFY"},
    )

    task_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("comp_pipeline.project_id"))
    node_id: Mapped[str] = mapped_column(comment="Uuid of the node in the project's workbench")
    job_id: Mapped[str | None] = mapped_column(comment="Identifier in the job queue")
    internal_id: Mapped[int | None] = mapped_column(
        BigInteger, comment="Position of the node in the order of execution"
    )
    schema: Mapped[Any | None] = mapped_column(JSON, comment="What inputs and outputs there are")
    inputs: Mapped[Any | None] = mapped_column(JSON, comment="Values by the name of the port")
    outputs: Mapped[Any | None] = mapped_column(JSON, comment="Values by the name of the port")
    image: Mapped[Any | None] = mapped_column(JSON, comment="Name and tag of the container image")
    state: Mapped[str] = mapped_column(server_default="UNKNOWN", comment=STATES)
    submit: Mapped[datetime | None] = mapped_column(comment="When it came into the queue")
    start: Mapped[datetime | None] = mapped_column(comment="When a worker took it")
    end: Mapped[datetime | None] = mapped_column(comment="When the worker had finished")


CREATE_FUNCTION = f"""\
CREATE FUNCTION notify_comp_tasks_outputs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(
        '{OUTPUTS_CHANNEL}',
        json_build_object(
            'task_id', NEW.task_id, 'project_id', NEW.project_id, 'node_id', NEW.node_id
        )::text
    );
    RETURN NULL;
END;
$$"""
# The type json has no equality: texts are compared.
CREATE_TRIGGER = """\
CREATE TRIGGER notify_comp_tasks_outputs AFTER UPDATE ON comp_tasks FOR EACH ROW
WHEN (OLD.outputs::text IS DISTINCT FROM NEW.outputs::text)
EXECUTE FUNCTION notify_comp_tasks_outputs()"""

for moment, statement in (
    ("after_create", CREATE_FUNCTION),
    ("after_create", CREATE_TRIGGER),
    ("after_drop", "DROP FUNCTION notify_comp_tasks_outputs()"),
):
    event.listen(CompTask.__table__, moment, DDL(statement))  # type: ignore[no-untyped-call]

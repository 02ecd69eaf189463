"""What users work on."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Enum, ForeignKey, Identity, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from postgres_database.models.base import Base


class ProjectType(StrEnum):
    """Is it worked on, or copied from?"""

    TEMPLATE = "TEMPLATE"
    STANDARD = "STANDARD"


class Project(Base):
    """A study: a pipeline of services and how it looks on the workbench."""

    __tablename__ = "projects"
    __table_args__ = ({"comment": "Studies of users, and the templates they start from"},)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    type: Mapped[ProjectType] = mapped_column(
        Enum(ProjectType, name="project_type"),
        server_default=ProjectType.STANDARD,
        comment="A TEMPLATE is copied, never run",
    )
    uuid: Mapped[str] = mapped_column(
        unique=True, comment="The project's name in URLs and in other services"
    )
    name: Mapped[str]
    description: Mapped[str | None]
    thumbnail: Mapped[str | None] = mapped_column(comment="URL of the preview image")
    prj_owner: Mapped[str | None] = mapped_column(comment="E-mail address of the owner")
    creation_date: Mapped[datetime] = mapped_column(server_default=func.now())
    last_change_date: Mapped[datetime] = mapped_column(server_default=func.now())
    workbench: Mapped[dict[str, Any]] = mapped_column(
        JSON, comment="Nodes of the pipeline by their uuid, with inputs, outputs and position"
    )


class UserToProject(Base):
    """Which user may open which project."""

    __tablename__ = "user_to_projects"
    __table_args__ = (
        UniqueConstraint("user_id", "project_id"),
        {"comment": "Which user may open which project"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), index=True)

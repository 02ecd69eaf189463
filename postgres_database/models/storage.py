"""Which files there are, and where."""

from datetime import datetime

from sqlalchemy import BigInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from postgres_database.models.base import Base


class FileMetaData(Base):
    """One file at one storage location.

    There are no foreign keys: the storage service also lists files of other platforms.
    """

    __tablename__ = "file_meta_data"
    __table_args__ = ({"comment": "Files known to the storage service"},)

    file_uuid: Mapped[str] = mapped_column(
        primary_key=True, comment="Path of the file within its location"
    )
    location_id: Mapped[str] = mapped_column(comment="Number of the storage location")
    location: Mapped[str] = mapped_column(comment="Name of the storage location")
    bucket_name: Mapped[str] = mapped_column(comment="Bucket of the object store")
    object_name: Mapped[str] = mapped_column(comment="Key of the object in its bucket")
    project_id: Mapped[str | None] = mapped_column(comment="Uuid of the project, as projects.uuid")
    project_name: Mapped[str | None]
    node_id: Mapped[str | None] = mapped_column(comment="Uuid of the node that wrote the file")
    node_name: Mapped[str | None]
    file_name: Mapped[str | None]
    user_id: Mapped[int | None] = mapped_column(BigInteger, comment="The owner, as users.id")
    user_name: Mapped[str | None]
    file_id: Mapped[str | None] = mapped_column(comment="Identifier of the file at its location")
    raw_file_path: Mapped[str | None] = mapped_column(comment="Path as the location writes it")
    display_file_path: Mapped[str | None] = mapped_column(comment="Path as users see it")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_modified: Mapped[datetime] = mapped_column(server_default=func.now())
    file_size: Mapped[int | None] = mapped_column(BigInteger, comment="Bytes")
    entity_tag: Mapped[str | None] = mapped_column(
        comment="Checksum of the content as the object store reports it (ETag)"
    )

"""Files."""

from sqlalchemy.orm import Mapped, mapped_column

from .base import Base


class FileMetaData(Base):
    __tablename__ = "file_meta_data"
    file_uuid: Mapped[str] = mapped_column(primary_key=True)
    entity_tag: Mapped[str | None]

"""Who uses the platform, and what lets them in."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Enum, ForeignKey, Identity, func
from sqlalchemy.orm import Mapped, mapped_column

from postgres_database.models.base import Base


class UserStatus(StrEnum):
    """May this user log in?"""

    CONFIRMATION_PENDING = "CONFIRMATION_PENDING"
    ACTIVE = "ACTIVE"
    BANNED = "BANNED"


class UserRole(StrEnum):
    """What may this user do? From least to most."""

    ANONYMOUS = "ANONYMOUS"
    GUEST = "GUEST"
    USER = "USER"
    TESTER = "TESTER"


class ConfirmationAction(StrEnum):
    """What does the code of a confirmation confirm?"""

    REGISTRATION = "REGISTRATION"
    RESET_PASSWORD = "RESET_PASSWORD"  # noqa: S105 - a name, no password
    CHANGE_EMAIL = "CHANGE_EMAIL"
    INVITATION = "INVITATION"


class User(Base):
    """Someone with an account."""

    __tablename__ = "users"
    __table_args__ = ({"comment": "Accounts of the platform"},)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str]
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str] = mapped_column(comment="Salted hash, never the password itself")
    status: Mapped[UserStatus] = mapped_column(
        Enum(UserStatus, name="user_status"),
        server_default=UserStatus.CONFIRMATION_PENDING,
        comment="Only ACTIVE users may log in",
    )
    role: Mapped[UserRole] = mapped_column(
        Enum(UserRole, name="user_role"),
        server_default=UserRole.USER,
        comment="What the user may do; ANONYMOUS and GUEST accounts are temporary",
    )
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_ip: Mapped[str | None] = mapped_column(comment="Address that the account came from")


class Token(Base):
    """A credential of a user for a service outside the platform."""

    __tablename__ = "tokens"
    __table_args__ = ({"comment": "Credentials of users for external services"},)

    token_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    token_service: Mapped[str] = mapped_column(comment="Name of the service that accepts the token")
    token_data: Mapped[dict[str, Any]] = mapped_column(
        JSON, comment="Key and secret, in the form that the service wants"
    )


class Confirmation(Base):
    """A code sent by e-mail, waiting to come back."""

    __tablename__ = "confirmations"
    __table_args__ = ({"comment": "Codes that were sent to users and have not come back yet"},)

    code: Mapped[str] = mapped_column(primary_key=True, comment="Secret part of the link")
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    action: Mapped[ConfirmationAction] = mapped_column(
        Enum(ConfirmationAction, name="confirmation_action"),
        comment="What happens when the code comes back",
    )
    data: Mapped[str | None] = mapped_column(
        comment="What the action needs, such as the new e-mail address"
    )
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

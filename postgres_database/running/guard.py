"""The transaction of a script: only the runner ends it, together with its stamp.

A script that commits by itself would be half done when it fails, and its first half done twice by the next run. So SQL
that controls the transaction is refused before it runs. What bypasses SQLAlchemy is noticed by a savepoint, which is
gone once its transaction has ended, by whatever (PostgreSQL manual, "SAVEPOINT").
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg2
import sqlalchemy as sa
from psycopg2.extensions import STATUS_BEGIN, STATUS_IN_TRANSACTION, TRANSACTION_STATUS_IDLE
from sqlalchemy.exc import InvalidRequestError

from postgres_database.errors import ExpectedError
from postgres_database.history.graph import Revision
from postgres_database.server import transactions
from postgres_database.sql.syntax import UnreadableError, read, statements

WITHIN = ("SAVEPOINT", "RELEASE", "ROLLBACK_TO", "COMMIT_PREPARED", "ROLLBACK_PREPARED")
"""Kinds of statements about transactions that neither begin nor end that of a script."""
MAYBE = re.compile(r"\b(?:BEGIN|START|COMMIT|END|ABORT|ROLLBACK|PREPARE)\b", re.IGNORECASE)
SAVEPOINT = "SAVEPOINT postgres_database_script"
GONE = ("3B001", "25P01")
"""SQLSTATE of a savepoint that is not there, in another transaction or outside of any."""
ISOLATES = re.compile(r"\bISOLATION\b|\bSET\s+TRANSACTION\b|\btransaction_\w+", re.IGNORECASE)
"""What a script may only set before the first query of its transaction, and not behind a savepoint."""
COMMIT, ROLLBACK = "commit() of its connection", "rollback() of its connection"


def require_no_control(sql: str) -> None:
    """Raise ExpectedError, before it runs, if some SQL of a script begins or ends a transaction."""
    if not MAYBE.search(sql):  # the usual case, without parsing
        return
    for statement in statements(sql):
        with suppress(UnreadableError):  # then it does not run, either
            node = read(statement)
            kind = node.kind.removeprefix("TRANS_STMT_") if node.tag == "TransactionStmt" else ""
            if kind and kind not in WITHIN:
                more = " TRANSACTION" if kind in {"START", "PREPARE"} else ""
                raise _refusal(statement.split(" ")[0].upper() + more)


def _refusal(what: str) -> ExpectedError:
    return ExpectedError(
        f"a script must not run {what}: its transaction ends with its stamp",
        cause="what it commits before its stamp would be done again after a failure",
        hint="invoke edit   (leave that out; what must be committed by itself goes into `with op.online():`,"
        " where each operation is a transaction of its own)",
    )


class Guard:
    """Watches the transaction of a script. What the script runs in autocommit mode is not its business."""

    def __init__(self, connection: sa.Connection) -> None:
        """Watch nothing yet: `listening` begins that, and `script` within it."""
        self._connection = connection
        self._driver: Any = connection.connection.driver_connection
        self._running = self._online = self._marked = self._markable = False
        self._fault: ExpectedError | None = None
        self.ended = False
        """Whether a script has ended its transaction by itself: what it committed stays."""

    @property
    def lost(self) -> bool:
        """Whether the connection is lost."""
        return bool(self._driver.closed)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen for the begin and end of transactions, before listeners that are added within the block."""
        hooks: dict[str, Callable[..., None]] = {
            "begin": self._begins,
            "commit": self._commits,
            "rollback": self._rolls_back,
            "before_cursor_execute": self._executes,
        }
        with ExitStack() as stack:
            for name, hook in hooks.items():
                sa.event.listen(self._connection, name, hook)
                stack.callback(sa.event.remove, self._connection, name, hook)
            yield

    def expect(self, revision: Revision) -> None:
        """Prepare for the script of a revision, before its transaction is begun, if that is not the one of env.py."""
        self._online, self._fault, self._marked = revision.online, None, False
        self._markable = not ISOLATES.search(revision.text)
        transactions.enter(self._connection, SAVEPOINT if self._markable else "")

    @contextmanager
    def script(self) -> Iterator[None]:
        """Run the script that is expected in the block, in a transaction that is begun already.

        Raises:
            ExpectedError: It ends its transaction by itself; it must not be stamped.
        """
        self._running = True
        try:
            with transactions.scripted(self._connection, self._finish):
                self._mark()
                yield
        except InvalidRequestError as error:  # SQLAlchemy knows that the transaction has ended
            self._look_back()
            if self._fault and not self._connection.closed:
                raise self._fault from error
            raise
        except BaseException:
            self._look_back()
            raise
        finally:
            self._running = False

    def _finish(self, last: str) -> None:
        if self._fault:
            raise self._fault
        self._release(last)

    def _executes(self, _connection: sa.Connection, _cursor: object, sql: str, *_: object) -> None:
        if self._running:
            require_no_control(sql)

    def _begins(self, connection: sa.Connection) -> None:
        self._marked = bool(connection.info.get(transactions.FIRST)) and not self._driver.autocommit
        if not self._running:
            return
        if self._driver.autocommit:  # it was the beginning of this block that has committed
            self._fault = None
        elif self._fault:
            raise self._fault
        else:
            self._mark()

    def _commits(self, _connection: sa.Connection) -> None:
        if not self._running or self._driver.autocommit:
            return
        refusal = _refusal(COMMIT)
        if not self._online:
            self._driver.rollback()  # SQLAlchemy believes that the transaction has ended
            self._marked = False
            self._fault = refusal
            raise refusal
        self._release()
        self._fault = refusal

    def _rolls_back(self, _connection: sa.Connection) -> None:
        """Allow it: it may be how the script answers an error, which is then the one to report."""
        if self._running and not self._driver.autocommit:
            self._marked = False
            self._fault = _refusal(ROLLBACK)

    def _mark(self) -> None:
        if self._markable and not self._marked and not self._driver.autocommit:
            self._run(SAVEPOINT)
            self._marked = True

    def _release(self, *before: str) -> None:
        """Run statements; raise ExpectedError if the transaction is another one than that which was begun."""
        gone = self._is_idle
        statements = [*before, *([f"RELEASE {SAVEPOINT}"] if self._marked else [])]
        if statements and not gone:
            try:
                self._run("; ".join(statements))
            except psycopg2.Error as error:
                if self.lost or not self._marked or error.pgcode not in GONE:
                    raise
                gone = True
        self._marked = False
        if gone:
            self.ended = True
            self._driver.rollback()
            self._fault = ExpectedError(
                "the script has ended its transaction by itself",
                cause="it ran COMMIT, ROLLBACK or the like in a way that is not seen beforehand",
            )
            raise self._fault

    def _look_back(self) -> None:
        """Notice, after a failure, whether the transaction is still the one that was begun; roll it back."""
        if self.lost or self._driver.autocommit:
            return
        self.ended = self.ended or self._is_idle
        if self._marked and not self.ended:
            try:
                self._run(f"ROLLBACK TO {SAVEPOINT}")
            except psycopg2.Error as error:
                self.ended = error.pgcode in GONE
        self._marked = False
        if not self.lost:
            self._driver.rollback()

    @property
    def _is_idle(self) -> bool:
        """Whether the server is in no transaction, where the driver is in one."""
        inside = self._driver.status in (STATUS_BEGIN, STATUS_IN_TRANSACTION)
        return inside and self._driver.get_transaction_status() == TRANSACTION_STATUS_IDLE

    def _run(self, sql: str) -> None:
        with self._driver.cursor() as cursor:
            cursor.execute(sql)

"""The state of a session: what is set in it later, as by a script, is undone before the next one begins.

So the result does not depend on how many revisions were pending. DISCARD ALL would do more: it gives back the lock that
keeps other runners out (PostgreSQL manual, DISCARD).
"""

import re
from contextlib import closing
from typing import Any

import sqlalchemy as sa

from postgres_database.server.transactions import LIMITS, SAFELY, at_once, filled

# Every name is qualified, so that no search path matters. Within a transaction, SET LOCAL counts as set, too.
STATE = """
    SELECT session_user, pg_catalog.current_setting('role'),
           coalesce((SELECT pg_catalog.json_object_agg(s.name, s.setting) FROM pg_catalog.pg_settings AS s
                     WHERE s.source OPERATOR(pg_catalog.=) 'session'
                       AND s.setting OPERATOR(pg_catalog.<>) coalesce(s.reset_val, '')), '{}')
"""
CUSTOM = "SELECT pg_catalog.current_setting(%s, true)"
CLEAR = (
    "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; CLOSE ALL; DEALLOCATE ALL; UNLISTEN *;"
    " DISCARD TEMP; DISCARD SEQUENCES"
)
SET = "pg_catalog.set_config(%s, %s, false)"
OF_TRANSACTIONS = ("search_path", "lock_timeout", "statement_timeout")
"""What every transaction of ours sets for itself."""
NAMED = re.compile(
    r"(?:\bSET\s+(?:SESSION\s+)?|\bset_config\s*\(\s*')\"?([a-z_]\w*\.\w+)", re.IGNORECASE
)
"""A custom setting, which no catalog lists."""


class Session:
    """A session, and its state when the first script began, after `env.py`."""

    def __init__(self, connection: sa.Connection) -> None:
        """Listen to what `env.py` says; `keep` ends that."""
        self._connection = connection
        self._names: set[str] = set()
        self._restoring = ""
        sa.event.listen(connection, "before_cursor_execute", self._hear)

    def _hear(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self._names.update(NAMED.findall(statement))

    def keep(self) -> None:
        """Remember the state of the session; outside of a transaction if possible."""
        if self._restoring:
            return
        self.close()
        driver: Any = self._connection.connection.driver_connection
        inside = self._connection.in_transaction()
        if not inside:
            driver.autocommit = True
        try:
            with closing(driver.cursor()) as cursor:
                cursor.execute(STATE)
                user, role, settings = cursor.fetchone()
                for name in self._names:
                    cursor.execute(CUSTOM, (name,))
                    settings[name] = cursor.fetchone()[0] or ""
        finally:
            if not inside:
                driver.autocommit = False
        if inside:
            settings = {name: settings[name] for name in settings if name not in OF_TRANSACTIONS}
        settings |= {"session_authorization": user, "role": role}
        values = [each for pair in settings.items() for each in pair]
        restored = f"SELECT {', '.join([SET] * len(settings))}"
        with closing(driver.cursor()) as cursor:
            self._restoring = f"{CLEAR}; {filled(cursor, restored, values)}"

    def restoring(self) -> str:
        """Return the statements that bring the session back to what it was, in a transaction of ours."""
        return "; ".join([self._restoring, *self._connection.info.get(LIMITS, []), SAFELY])

    def restore(self) -> None:
        """Bring the session back to what it was, in no transaction."""
        if self._restoring:
            at_once(self._connection, self._restoring)

    def close(self) -> None:
        """Listen no longer."""
        if sa.event.contains(self._connection, "before_cursor_execute", self._hear):
            sa.event.remove(self._connection, "before_cursor_execute", self._hear)

"""The server of a test run, which is the embedded one or that of another PostgreSQL."""

import os
import shutil
from pathlib import Path

from postgres_database.server import programs
from postgres_database.server.embedded import CHEAP, CONFIGURATION, SUPERUSER, EmbeddedServer

HOME_VARIABLE = "POSTGRES_DATABASE_TEST_HOME"
OTHER_PROGRAMS = os.environ.get("TEST_POSTGRES_BIN", "")
"""Where the programs of another PostgreSQL are, if the tests are to run on its server."""

CHEAP["max_prepared_transactions"] = "4"  # by default there are none


class OtherServer(EmbeddedServer):
    """A server of another PostgreSQL, whose initdb may be too old for what the embedded one's gets."""

    @property
    def binaries(self) -> Path:
        """The programs, or their copy."""
        programs = Path(OTHER_PROGRAMS)
        copy = self.home.parent / "programs" / programs.name
        return copy if copy.exists() else programs

    def make_reachable(self) -> None:
        """Copy the programs if the server's account cannot reach them."""
        if not programs.reaches(self.account, self.binaries / "postgres"):
            shutil.copytree(self.binaries.parent, self.home.parent / "programs", symlinks=True)

    def _initialise(self) -> None:
        options = "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"
        self._run("initdb", "--pgdata=data", f"--username={SUPERUSER}", *options)
        settings = (CONFIGURATION | CHEAP).items()
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings)


def cheap_server(home: Path) -> EmbeddedServer:
    """Return the server to test with that lives in this directory."""
    return (OtherServer if OTHER_PROGRAMS else EmbeddedServer)(home, durable=False)


def test_server() -> EmbeddedServer:
    """Return the server of this test run, which all workers share."""
    return cheap_server(Path(os.environ[HOME_VARIABLE]) / "server")

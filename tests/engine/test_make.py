"""make: the same commands for people who type make."""

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from checkouts import Checkout, ready_venv
from conftest import ROOT
from invoke import Collection

import tasks
from postgres_database.server.environment import KEYS


def test_make_has_every_command() -> None:
    """A command that invoke has can be typed after make, and the other way round."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    listed = re.findall(r"^(?:DEV_)?TASKS := (.*)$", text, re.MULTILINE)
    names = set(Collection.from_module(tasks).task_names)
    aliases = {
        alias for found in Collection.from_module(tasks).task_names.values() for alias in found
    }
    assert {word for line in listed for word in line.split()} == names | aliases


@pytest.mark.long
@pytest.mark.parametrize("where", ["command line", "environment"])
@pytest.mark.parametrize(
    "message",
    [
        'it\'s "so"',
        "`id` $(id) $$HOME ${x}",
        "100% #1 größer 日本",
        "--no-such-option",
        "a; b && c | d > e",
        "C:\\new\\x",
    ],
)
def test_message_arrives_intact(checkout: Checkout, message: str, where: str) -> None:
    """MSG arrives in the script as it was typed, through make, sh and invoke."""
    ready_venv(checkout)
    versions = checkout.root / "migration" / "versions"
    before = {*versions.glob("*.py")}
    if where == "environment":
        done = checkout.run("make", "revision", "ARGS=--empty", MSG=message)
    else:
        done = checkout.run("make", "revision", f"MSG={message}", "ARGS=--empty")
    assert done.returncode == 0, done.stderr
    (script,) = {*versions.glob("*.py")} - before
    docstring = ast.get_docstring(ast.parse(script.read_text()), clean=False)
    assert str(docstring).startswith(f"{message}\n\nRevision: ")


def test_wrong_python_is_told(checkout: Checkout) -> None:
    """A Python that is missing or too old is one line that says what to type."""
    old = checkout.root / "old-python"
    old.write_text("#!/bin/sh\necho 3.9.2; exit 1\n")
    old.chmod(0o755)
    for python, found in (("no-such-python", "missing"), (str(old), "3.9.2")):
        done = checkout.run("make", "status", f"PYTHON={python}")
        assert done.returncode == 2
        pattern = rf"^error: .*{python} is {found}; try: make status PYTHON=(\S+)$"
        (advised,) = re.findall(pattern, done.stderr, re.MULTILINE)
        new = "import sys; sys.exit(sys.version_info < (3, 11))"
        subprocess.run([advised, "-c", new], check=True)


def test_where_there_is_no_python(checkout: Checkout) -> None:
    """What to install is said, where no interpreter can be named."""
    programs = checkout.root / "programs"
    programs.mkdir()
    for name in ("ls", "make", "mkdir", "touch", "env"):
        (programs / name).symlink_to(str(shutil.which(name)))
    done = checkout.run("make", "status", PATH=str(programs))
    assert "python3 is missing; try: apt install python3.11 python3.11-venv" in done.stderr


def test_exit_code_of_a_failure(checkout: Checkout) -> None:
    """make shows the three lines of an error and fails."""
    ready_venv(checkout)
    done = checkout.run("make", "upgrade", "ENV=nowhere")
    assert done.returncode == 2
    assert "error: the environment 'nowhere' has no file .env.nowhere" in done.stderr


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Makefile, whose .venv only writes down what it is called with."""
    root = tmp_path_factory.mktemp("make")
    for name in ("Makefile", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, root)
    (root / ".env.test").touch()
    _stub(root / ".venv" / "bin" / "python")
    (root / ".venv" / ".installed").touch()
    (root / ".venv" / ".installed-dev").touch()
    return root


def _stub(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/bin/sh\necho "RUN env=$ENV $*"\n')
    path.chmod(0o755)


def _make(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"]}
    command = ["make", *arguments]
    return subprocess.run(
        command, cwd=root, env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("upgrade production", "make upgrade ENV=production "),
        ("production upgrade", "make upgrade ENV=production "),
        ("upgrade --env production", "make upgrade ENV=production "),
        ("upgrade -- --env production", "make upgrade ENV=production "),
        ("upgrade -n production", "make upgrade ENV=production "),
        ("upgrade --env", "make upgrade ENV="),
        ("-e upgrade", "make upgrade ENV="),
        ("upgrade +1", "make upgrade TARGET=+1 "),
        ("downgrade -- -1", "make downgrade TARGET=-1 "),
        ("downgrade -- --yes", "make downgrade ARGS=--yes "),
        ("upgrade .env.production", "make upgrade ENV=production "),
        ("upgrade migration", "make upgrade ENV=migration "),
        ("upgarde", "make help"),
        ("upgrade env=production", "make upgrade ENV=production"),
        ("upgrade ENVIRONMENT=production", "make upgrade ENV=production"),
        ("upgrade TARGT=+1", "make upgrade TARGET=+1"),
        ("revision MSg=more", "make revision MSG=more"),
        ("revision add a column", "make revision MSG='add a column' "),
        ("migrate -m more ENV=test", "make migrate MSG=more ENV=test "),
        ("revision ask a@b", "make revision MSG=… "),
        ("revision --env production", "make revision ENV=production "),
        ("revision -- --env production", "make revision ENV=production "),
        ("revision test", "make revision ENV=test "),
        ("upgrade yes=1", "make upgrade ARGS='--…'"),
        ("upgrade ENV=", "make upgrade "),
        ("downgrade TARGET=", "make downgrade "),
        ("upgrade test", "make upgrade ENV=test "),
        ("upgrade VENV=", "VENV=.venv-database"),
        ("upgrade ENV=production TARGT=+1", "make upgrade TARGET=+1 ENV=production "),
        ("upgrade production ARGS=--yes", "make upgrade ENV=production ARGS=--yes "),
        ("upgrade -- --env production --yes", "make upgrade ENV=production ARGS=--yes "),
        ("upgrade ENV=test ARGS=--yes -- --sql", "make upgrade ENV=test ARGS='--yes --sql' "),
        ("upgrade ENV=test TARGET=", "make upgrade ENV=test   (without TARGET"),
        ("upgarde ENV=test", "make help ENV=test "),
        ("upgrade ENV=test Env=test", "make upgrade ENV=test "),
    ],
)
def test_a_word_that_make_does_not_know_ends_it_before_anything_runs(
    counted: Path, typed: str, right: str
) -> None:
    """A misspelt name of an environment must not leave the default target to be changed."""
    done = _make(counted, *typed.split())
    assert done.returncode == 2
    assert not done.stdout
    assert "nothing was run; try: " in done.stderr
    assert right in done.stderr


@pytest.mark.parametrize(
    "typed",
    [
        "upgrade",
        "upgrade status ENV=production",
        "test",
        "stop DEBUG=1",
        "upgrade PGUSER=x POSTGRES_DSN=y",
        "-k -s --no-print-directory --output-sync=target -j4 upgrade",
    ],
)
def test_make_runs_what_it_knows(counted: Path, typed: str) -> None:
    """Several commands, options of make and variables that commands read are no misspelling."""
    done = _make(counted, *typed.split())
    assert done.returncode == 0, done.stderr
    assert "RUN env=" in done.stdout


@pytest.mark.parametrize("typed", ["ENV=test", "ENV+=test", "--eval=ENV=test"])
def test_every_way_to_set_env_reaches_the_command(counted: Path, typed: str) -> None:
    """A way to set ENV that make takes never leaves the default target to be changed."""
    assert "RUN env=test" in _make(counted, "upgrade", typed).stdout


def test_a_variable_that_looks_like_a_secret_is_not_shown(counted: Path) -> None:
    """A DSN under a misspelt name does not get into a log."""
    done = _make(counted, "upgrade", "ENV_DSN=postgresql://app:hush@db/shop")
    assert "hush" not in done.stdout + done.stderr


def test_make_takes_every_setting() -> None:
    """Whatever an env file may say can also stand behind make."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    (listed,) = re.findall(r"^VARIABLES := (.*)$", text, re.MULTILINE)
    assert set(KEYS) <= set(listed.split())


@pytest.mark.parametrize("command", ["install", "upgrade", "lock", "clean"])
def test_make_leaves_alone_a_venv_that_it_did_not_make(counted: Path, command: str) -> None:
    """Only what make made is built anew or removed; the advice names another folder."""
    mine = counted / "mine"
    _stub(mine / "bin" / "python")
    (mine / "notes.txt").write_text("a day's work")
    done = _make(counted, command, "VENV=mine", f"PYTHON={_fake_python(counted)}")
    assert (mine / "notes.txt").read_text() == "a day's work"
    assert not (mine / "lock").exists()
    if command == "clean":
        assert "mine was not made by make and stays" in done.stdout
    else:
        assert done.returncode == 2
        assert f"try: make {command} VENV=.venv-database, or mv mine mine.old" in done.stderr


@pytest.mark.parametrize("broken", ["venv", "pip"])
def test_an_installation_that_failed_is_repaired(counted: Path, broken: str) -> None:
    """A folder of make's own is known from its first moment, and removed by make clean."""
    python = _fake_python(counted)
    fail = counted / f"no-{broken}"
    fail.touch()
    arguments = ("upgrade", "VENV=ours", f"PYTHON={python}")
    done = _make(counted, *arguments)
    assert done.returncode == 2
    advice = {
        "venv": "try: apt install python3.11-venv",
        "pip": f"try: make upgrade VENV=ours PYTHON={python}\n",
    }
    assert advice[broken] in done.stderr
    (counted / "ours" / "left_over").touch()
    fail.unlink()
    done = _make(counted, *arguments)
    assert done.returncode == 0, done.stderr
    assert "RUN env= -m invoke upgrade" in done.stdout
    assert not (counted / "ours" / "left_over").exists()
    assert _make(counted, "clean", "VENV=ours").returncode == 0
    assert not (counted / "ours").exists()


def test_packages_of_the_models_are_installed_beside_the_lock(counted: Path) -> None:
    """What requirements-models.txt names is installed, at the versions of the lock; again when it changes."""
    own, log = counted / "requirements-models.txt", counted / "models" / "pip.log"
    arguments = ("upgrade", "VENV=models", f"PYTHON={_fake_python(counted)}")
    own.write_text("geoalchemy2\n")
    try:
        assert _make(counted, *arguments).returncode == 0
        assert "-r requirements-models.txt -c models/locked.txt" in log.read_text()
        locked = (counted / "models" / "locked.txt").read_text()
        assert re.search(r"^alembic==[\d.]+$", locked, re.MULTILINE)
        assert "hash" not in locked
        assert "installing" not in _make(counted, *arguments).stdout
        os.utime(own, (2**31, 2**31))
        assert "installing" in _make(counted, *arguments).stdout
    finally:
        own.unlink()


def _fake_python(root: Path) -> Path:
    """Write a Python that makes a .venv of stubs; the files no-venv and no-pip let it fail."""
    path = root / "fake-python"
    path.write_text(f"""#!/bin/sh
[ "$1" = -m ] || {{ echo 3.11.0; exit; }}
mkdir -p "$3/bin"
[ ! -e {root}/no-venv ] || exit 1
cat > "$3/bin/python" <<'END'
#!/bin/sh
case "$*" in "-m pip install"*) [ ! -e {root}/no-pip ] || exit 1;; esac
echo "RUN env=$ENV $*"
END
chmod +x "$3/bin/python"
""")
    path.chmod(0o755)
    return path

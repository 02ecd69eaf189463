"""The settings contract: environment, file and process, read into one value or told as faults."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from checkouts import as_text
from conftest import PASSWORD
from hypothesis import example, given
from hypothesis import strategies as st

from postgres_database.errors import ExpectedError
from postgres_database.history import project
from postgres_database.server import environment as settings
from postgres_database.server.connection import Database
from postgres_database.server.dsn import Dsn
from postgres_database.server.environment import Environment

A, B = "postgresql://app@a:1/one", "postgresql://app@b:2/two"
SHOWN_A, SHOWN_B = "app@a:1/one", "app@b:2/two"

Write = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a repository that has no settings yet."""
    return tmp_path


@pytest.fixture
def write(root: Path) -> Write:
    """Write the env file of an environment; only its owner can read it."""

    def write(name: str, text: str | bytes, mode: int = 0o600) -> Path:
        path = root / (f".env.{name}" if name else ".env")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def faults(root: Path, name: str = "", **environ: str) -> ExpectedError:
    """Return the error that loading ends with."""
    with pytest.raises(ExpectedError) as caught:
        settings.load(name, root=root, environ=environ)
    return caught.value


# name on the command line, files, process environment → target, environment, source
CHOICES: dict[str, tuple[str, dict[str, str], dict[str, str], str, str, str]] = {
    "nothing": ("", {}, {}, "None", "", "no DSN given: the embedded server"),
    "file": ("", {"": A}, {}, SHOWN_A, "", "from .env"),
    "process": ("", {}, {"POSTGRES_DSN": A}, SHOWN_A, "", "from POSTGRES_DSN in the process environment"),
    "synonym in the process": (
        "", {}, {"DATABASE_URL": A}, SHOWN_A, "", "from DATABASE_URL in the process environment",
    ),
    "process beats the file": (
        "", {"": A}, {"POSTGRES_DSN": B}, SHOWN_B, "", "from POSTGRES_DSN in the process environment",
    ),
    "a synonym beats the file": (
        "", {"": A}, {"DATABASE_URL": B}, SHOWN_B, "", "from DATABASE_URL in the process environment",
    ),
    "an empty variable is none": ("", {"": A}, {"POSTGRES_DSN": " "}, SHOWN_A, "", "from .env"),
    "named": ("x", {"": B, "x": A, "y": B}, {}, SHOWN_A, "x", "from .env.x"),
    "named by ENV": ("", {"": B, "x": A}, {"ENV": "x"}, SHOWN_A, "x", "from .env.x"),
    "--env beats ENV": ("x", {"x": A, "y": B}, {"ENV": "y"}, SHOWN_A, "x", "from .env.x"),
    "an empty ENV is none": ("", {"": A}, {"ENV": ""}, SHOWN_A, "", "from .env"),
    "named and without a file": (
        "x", {"": B}, {"POSTGRES_DSN": A}, SHOWN_A, "x", "from POSTGRES_DSN in the process environment",
    ),
    "named, file and process agree": (
        "x", {"x": A}, {"POSTGRES_DSN": A}, SHOWN_A, "x", "from POSTGRES_DSN in the process environment",
    ),
    "named, both mean the same": (
        "x",
        {"x": A},
        {"DATABASE_URL": "host=a port=1 dbname=one user=app"},
        SHOWN_A,
        "x",
        "from DATABASE_URL in the process environment",
    ),
    "PGHOST": ("", {}, {"PGHOST": "a"}, "", "", "from PGHOST in the process environment"),
    "PGHOSTADDR": ("", {}, {"PGHOSTADDR": "::1"}, "", "", "from PGHOSTADDR in the process environment"),
    "PGHOST and a file": ("", {"": A}, {"PGHOST": "b"}, SHOWN_A, "", "from .env"),
    "PGHOST and a file without a DSN": (
        "x", {"x": ""}, {"PGHOST": "b"}, "", "x", "from PGHOST in the process environment",
    ),
    "other variables of libpq are no target": (
        "", {}, {"PGDATABASE": "a", "PGUSER": "b", "PGPORT": "1"}, "None", "", "no DSN given: the embedded server",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "files", "environ", "target", "environment", "source"), CHOICES.values(), ids=CHOICES
)
def test_where_the_target_comes_from(
    root: Path,
    write: Write,
    name: str,
    files: dict[str, str],
    environ: dict[str, str],
    target: str,
    environment: str,
    source: str,
) -> None:
    """--env beats ENV, the process beats the file, a named environment reads its own file alone."""
    for key, text in files.items():
        write(key, f"POSTGRES_DSN={text}\n" if text else "")
    loaded = settings.load(name, root=root, environ=environ)
    if target:
        assert str(loaded.target) == target
    else:
        assert loaded.target == Dsn({})
    assert (loaded.name, loaded.source, loaded.warnings) == (environment, source, ())


def test_nothing_cascades(root: Path, write: Write) -> None:
    """What a named environment leaves out is the default, not what .env says."""
    write("", f"POSTGRES_DSN={A}\nPROTECTED=1\nLOCK_TIMEOUT=9s\n")
    write("x", f"DATABASE_URL={B}\n")
    loaded = settings.load("x", root=root, environ={})
    assert (str(loaded.target), loaded.protected, loaded.lock_timeout) == (SHOWN_B, False, 1000)


def test_a_named_environment_is_not_redirected(root: Path, write: Write) -> None:
    """A stray DSN in the process environment stops a named environment, naming both and the way out."""
    write("production", f"POSTGRES_DSN={A}\n")
    for key in ("POSTGRES_DSN", "DATABASE_URL"):
        said = str(faults(root, "production", **{key: B}))
        assert f"{key} in the process environment ({SHOWN_B})" in said
        assert f"POSTGRES_DSN in .env.production ({SHOWN_A})" in said
        assert f"unset {key}" in said


def test_a_difference_in_the_password_alone_is_named(root: Path, write: Write) -> None:
    """Two DSNs that look the same when shown are told apart by what differs, not by its value."""
    write("x", "POSTGRES_DSN=postgresql://app:QXZ@a/one\n")
    said = str(faults(root, "x", POSTGRES_DSN="postgresql://app:ZXQ@a/one"))
    assert "differ in password" in said
    assert "QXZ" not in said
    assert "ZXQ" not in said


def test_synonyms_that_differ(root: Path, write: Write) -> None:
    """POSTGRES_DSN and DATABASE_URL may both be set where they mean the same; else it is a fault."""
    write("", f"POSTGRES_DSN={A}\nDATABASE_URL={B}\n")
    assert "differ in .env;" in str(faults(root))
    assert "differ in the process environment;" in str(faults(root, POSTGRES_DSN=B, DATABASE_URL=A))
    write(
        "", f"POSTGRES_DSN={A}\nDATABASE_URL={A.replace('postgresql:', 'postgresql+psycopg2:')}\n"
    )
    assert str(settings.load(root=root, environ={}).target) == SHOWN_A


def test_a_named_environment_needs_its_file(root: Path, write: Write) -> None:
    """Without a file and without a DSN a named environment is an error that lists the files there are."""
    write("", f"POSTGRES_DSN={A}\n")
    write("example", "")
    assert "none yet" in str(faults(root, "production", PGHOST="a"))
    write("staging", "")
    write("local", "")
    error = faults(root, "production", POSTGRES_DSN=" ")
    assert ".env.production" in error.what
    assert error.cause == "environments with a file: local, staging"
    assert error.hint.startswith("cp .env.example .env.production ")


@pytest.mark.parametrize("line", ["", "POSTGRES_DSN=", "DATABASE_URL='' # later"])
def test_a_named_environment_without_a_dsn_is_not_the_embedded_server(
    root: Path, write: Write, line: str
) -> None:
    """A named environment whose file says no DSN is a fault: it never falls back to another database."""
    write("", f"POSTGRES_DSN={A}\n")
    write("x", f"PROTECTED=1\n{line}\n")
    assert ".env.x has no POSTGRES_DSN" in str(faults(root, "x"))


@pytest.mark.parametrize("name", ["../x", "x/y", "X", "a b", "/root/.shrc", ".", "x\n", "example"])
def test_names_of_environments(root: Path, name: str) -> None:
    """A name with anything but a-z, 0-9, _ and - is refused; for ENV it is said where it comes from."""
    assert "is not a name of an environment" in faults(root, name).what
    error = faults(root, ENV=name)
    assert "ENV, which shells use" in error.cause
    assert error.hint.startswith("unset ENV")


@pytest.mark.parametrize(
    "name",
    [
        "STAGING",
        "staging ",
        ".env.staging",
        "env.staging",
        "./.env.staging",
        "/app/.env.Staging",
        "Stagging",
    ],
)
def test_a_name_that_is_almost_right_is_corrected(root: Path, write: Write, name: str) -> None:
    """The advice never leads to the default target when an environment was meant."""
    write("staging", f"POSTGRES_DSN={A}\n")
    assert (
        faults(root, name).hint
        == faults(root, ENV=name).hint
        == "the same command with --env staging"
    )


KNOWN_SERVICE = "[prod]\nhost=a\nport=1\nuser=app\ndbname=one\npassword=QXZ\n"


@pytest.mark.parametrize("environ", [{"PGSERVICE": "prod"}, {"POSTGRES_DSN": "service=prod"}])
def test_a_service_is_the_target(root: Path, environ: dict[str, str]) -> None:
    """A service, of the DSN or of PGSERVICE, is shown as the database that it stands for."""
    (root / "services").write_text(KNOWN_SERVICE)
    loaded = settings.load(root=root, environ=environ | {"PGSERVICEFILE": str(root / "services")})
    assert str(loaded.target) == SHOWN_A


@pytest.mark.parametrize(
    "environ",
    [
        {"PGSERVICE": "nope"},
        {"POSTGRES_DSN": "service=nope"},
        {"SCRATCH_DSN": "service=nope"},
        {"POSTGRES_DSN": A, "PGSERVICE": "nope"},
    ],
)
def test_an_unknown_service_is_a_fault(root: Path, environ: dict[str, str]) -> None:
    """A service that is in no file is told before anything connects."""
    environ |= {"PGSERVICEFILE": str(root / "services")}
    assert "service nope is in none of" in str(faults(root, **environ))


# A value as it stands in an env file, and what is read from it.
LITERAL = {
    "percent": ("postgresql://app:p%25w@a:1/one", "p%w"),
    "hash": ("postgresql://app:p#w@a:1/one", "p#w"),
    "hash at the beginning": ("postgresql://app:#w@a:1/one", "#w"),
    "dollar": ("postgresql://app:$HOME${PATH}$1@a:1/one", "$HOME${PATH}$1"),
    "dollar in quotes": ("'postgresql://app:${HOME}@a:1/one'", "${HOME}"),
    "dollar in double quotes": ('"postgresql://app:${HOME}@a:1/one"', "${HOME}"),
    "blank": ("postgresql://app:p w@a:1/one", "p w"),
    "blank and hash in quotes": ("'postgresql://app:p #w@a:1/one'", "p #w"),
    "comment behind": ("postgresql://app:pw@a:1/one # the first", "pw"),
    "comment behind quotes": ("'postgresql://app:pw@a:1/one' # the first", "pw"),
    "backslash": ("postgresql://app:p\\nw@a:1/one", "p\\nw"),
    "backslash in quotes": ("'postgresql://app:p\\nw@a:1/one'", "p\\nw"),
    "quote": ("postgresql://app:p'\"w@a:1/one", "p'\"w"),
    "double quote in quotes": ("'postgresql://app:p\"w@a:1/one'", 'p"w'),
    "key=value": ("host=a port=1 dbname=one user=app password='p w#'", "p w#"),
    "key=value in double quotes": ("\"host=a port=1 dbname=one user=app password='p #w'\"", "p #w"),
    "equals": ("postgresql://app:p=w@a:1/one", "p=w"),
    "non-ASCII": ("postgresql://app:пароль🔑@a:1/one", "пароль🔑"),
    "all": (f"postgresql://app:{quote(PASSWORD, safe='')}@a:1/one", PASSWORD),
}  # fmt: skip


@pytest.mark.parametrize(("text", "password"), LITERAL.values(), ids=LITERAL)
@pytest.mark.parametrize(
    "line",
    ["POSTGRES_DSN={}\n", "POSTGRES_DSN = {}", "export DATABASE_URL={}\r\nPROTECTED=0\r\n"],
    ids=["plain", "blanks, no end", "export, CRLF"],
)
def test_values_of_a_file_are_literal(
    root: Path, write: Write, line: str, text: str, password: str
) -> None:
    """Nothing in a value is expanded, and passwords arrive with or without quotes around the DSN."""
    write("", line.format(text))
    loaded = settings.load(root=root, environ={"HOME": "/expanded"})
    assert loaded.target
    assert loaded.target.parts["password"] == password
    assert str(loaded.target) == SHOWN_A


COMPOSE = """
POSTGRES_USER=shop
POSTGRES_PASSWORD=s3cret
POSTGRES_SERVER=db
POSTGRES_PORT=5432
POSTGRES_DB=shop
{}
PROJECT_NAME='Shop'
STACK_NAME=shop
DOMAIN=localhost
ENVIRONMENT=local
SECRET_KEY=changethis
FIRST_SUPERUSER=admin@example.com
FIRST_SUPERUSER_PASSWORD=changethis
BACKEND_CORS_ORIGINS="http://localhost,http://localhost:5173"
SMTP_HOST=mail
SMTP_PORT=587
SMTP_TLS=True
REDIS_URL=redis://cache:6379/0
SENTRY_DSN=https://key@sentry.example.com/1
TEST_DATABASE_URL=postgresql://app@localhost/test
LOG_LEVEL=info
DEBUG=true
DOCKER_IMAGE_BACKEND=backend
AWS_REGION=eu-central-1
"""
"""The file of an application that Docker Compose reads, too."""


def test_env_file_of_an_application(root: Path, write: Write) -> None:
    """Settings of the application are no business of the commands, whatever the driver of its DSN is."""
    write("", COMPOSE.format("DATABASE_URL=postgresql+asyncpg://shop:s3cret@db:5432/shop"))
    loaded = settings.load(root=root, environ={})
    assert str(loaded.target) == "shop@db:5432/shop"
    assert not loaded.warnings


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql+asyncpg://${POSTGRES_USER}:${POSTGRES_PASSWORD}@${POSTGRES_SERVER}:${POSTGRES_PORT}/${POSTGRES_DB}",
        "postgresql://shop:${POSTGRES_PASSWORD}@db/shop",
        "postgresql://shop@db:${SHELL_PORT:-5432}/shop",
        "host=db user=shop password=${POSTGRES_PASSWORD}",
        "$POSTGRES_URL",
    ],
)
def test_reference_to_another_setting_is_a_fault(root: Path, write: Write, dsn: str) -> None:
    """What Docker Compose would replace is not taken for a password, and the message says so."""
    write("", COMPOSE.format(f"DATABASE_URL={dsn}"))
    with pytest.raises(ExpectedError) as raised:
        settings.load(root=root, environ={})
    assert raised.value.cause.startswith("DATABASE_URL in .env: ${")
    assert (
        "is not replaced, as Docker Compose or a shell does it: write the value itself"
        in raised.value.cause
    )
    assert "did you mean" not in raised.value.cause


passwords = st.text(
    st.one_of(
        st.sampled_from("@:/?#[]%&=+$ '\"\\\t{}"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    min_size=1,
)


@pytest.fixture(scope="module")
def desk() -> Iterator[Path]:
    """A root that many examples share."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@given(passwords.filter(lambda password: "\r" not in password))  # a text file has \n
@example(PASSWORD)
@example("\\")
@example("' #")
def test_any_password_survives_the_file(desk: Path, password: str) -> None:
    """A password of any characters comes out of an env file as it was, encoded or quoted."""
    parts = {"user": "app", "password": password, "host": "a", "port": "1", "dbname": "one"}
    uri = f"postgresql://app:{quote(password, safe='')}@a:1/one"
    pairs = as_text(Dsn(parts)).replace("\\", "\\\\").replace("'", "\\'")
    path = desk / ".env"
    for text in (uri, f"'{uri}'", f'"{uri}"', f"'{pairs}'"):
        path.write_text(f"POSTGRES_DSN={text}\n", encoding="utf-8")
        path.chmod(0o600)
        assert settings.load(root=desk, environ={}).target == Dsn(parts)


@given(passwords)
@example("a")
@example("None")
def test_secrets_are_in_no_text_of_the_settings(desk: Path, password: str) -> None:
    """What is shown of settings, databases and engines does not depend on the passwords in them."""

    def shown(secret: str) -> list[str]:
        text = f"postgresql://app:{quote(secret, safe='')}@a:1/one?sslpassword={quote(secret, safe='')}"
        loaded = settings.load(
            root=desk / "none",
            environ={"POSTGRES_DSN": text, "SCRATCH_DSN": text.replace("@a", "@b")},
        )
        assert loaded.target
        database = Database(loaded.target, loaded.label, loaded.source)
        engine = database.engine
        values = [
            loaded,
            loaded.target,
            loaded.scratch,
            loaded.warnings,
            database,
            engine,
            engine.url,
        ]
        urls = [engine.url.render_as_string(hide_password=False)]
        return [str(value) for value in values] + [repr(value) for value in values] + urls

    assert shown(password) == shown("another")


@given(passwords)
@example("Q@X/Z")
def test_secrets_are_in_no_fault(desk: Path, password: str) -> None:
    """Faults in settings do not depend on the passwords in them, whichever way they are wrong."""

    def said(secret: str) -> str:
        encoded = quote(secret, safe="")
        good = f"postgresql://app:{encoded}@a:1/one"
        (desk / ".env.faulty").write_text(f"POSTGRES_DSN={good}\n")
        (desk / ".env.faulty").chmod(0o600)
        error = faults(
            desk,
            "faulty",
            POSTGRES_DSN=good.replace("@a", "@b"),
            DATABASE_URL=good.replace("1/one", "port/one"),
            SCRATCH_DSN=f"{good}?no_such_option={encoded}",
            PROTECTED="perhaps",
        )
        return f"{error} {error!r}"

    assert said(password) == said("another")


UNREADABLE_LINES = {
    "text behind the quotes": ('POSTGRES_DSN="postgresql://app:QX"Z@a/one"\n', 1),
    "open quote": ("\n\nPROTECTED=1\nPOSTGRES_DSN='postgresql://app:QXZ@a/one\n", 4),
    "a DSN without its key": ("PROTECTED=1\npostgresql://app:QXZ@a/one\n", 2),
    "a DSN with parameters and without its key": ("postgresql://app:QXZ@a/one?x=1\n", 1),
    "a value in two lines": (f"POSTGRES_DSN={A}\n\nQXZ@a/one\n", 3),
    "a key without a value": ("\n\nPOSTGRES_DSN\n", 3),
    "a key of several words": ("QXZ password=1\n", 1),
    "colon for equals": ("POSTGRES_DSN: postgresql://app:QXZ@a/one\n", 1),
}


@pytest.mark.parametrize(("text", "line"), UNREADABLE_LINES.values(), ids=UNREADABLE_LINES)
def test_a_line_that_cannot_be_read_is_a_fault(
    root: Path, write: Write, text: str, line: int
) -> None:
    """A line that is no KEY=value is told by its number, never skipped, and never quoted."""
    write("", text)
    error = faults(root)
    assert f".env, line {line} is not KEY=value" in error.cause
    assert not set("QXZ") & set(str(error))


UNKNOWN = {
    "typo": ("PROTECTD", "PROTECTED"),
    "lower case": ("lock_timeout", "LOCK_TIMEOUT"),
    "plural": ("LOCK_TIMEOUTS", "LOCK_TIMEOUT"),
    "near another": ("STATEMENT_TIME_OUT", "STATEMENT_TIMEOUT"),
    "the application's": ("FAVOURITE_COLOUR", ""),
    "the application's, and near one": ("POSTGRES_DB", ""),
    "the application's, too": ("POSTGRES_PASSWORD", ""),
}


@pytest.mark.parametrize(("key", "meant"), UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_settings(root: Path, write: Write, key: str, meant: str) -> None:
    """A key that is nearly a setting that is not given is a warning without its value; others are not ours."""
    write("x", f"POSTGRES_DSN={A}\n{key}=QXZ\n")
    loaded = settings.load("x", root=root, environ={"FAVOURITE_FOOD": "QXZ"})
    warning = f".env.x: unknown setting {key}; did you mean {meant}?"
    assert loaded.warnings == ((warning,) if meant else ())


def test_all_faults_at_once(root: Path, write: Write) -> None:
    """Everything that is wrong is told in one error, wherever it stands."""
    write(
        "x",
        "POSTGRES_DSN=mysql://a\nDATABASE_URL=postgresql://a:b\nPROTECTED=maybe\n"
        "LOCK_TIMEOUT=soon\nSCRATCH_DSN=x\nTARGET_METADATA=models\nwhat is this\n",
    )
    error = faults(root, "x", STATEMENT_TIMEOUT="-1")
    for words in (
        "POSTGRES_DSN in .env.x: it must start with postgresql://",
        "DATABASE_URL in .env.x: ",
        "PROTECTED in .env.x: 'maybe'",
        "LOCK_TIMEOUT in .env.x: 'soon'",
        "STATEMENT_TIMEOUT in the process environment: '-1'",
        "SCRATCH_DSN in .env.x: ",
        "TARGET_METADATA: 'models'",
        ".env.x, line 7",
    ):
        assert words in error.cause
    assert len(error.cause.splitlines()) == 8
    assert error.hint.startswith("${EDITOR:-vi} .env.x ")


def test_a_fault_beside_a_conflict(root: Path, write: Write) -> None:
    """A DSN that cannot be read is told as that, also where the other one is right."""
    write("x", "POSTGRES_DSN=mysql://a\n")
    error = faults(root, "x", POSTGRES_DSN=A)
    assert error.cause.startswith("POSTGRES_DSN in .env.x: it must start with")
    error = faults(root, "y", POSTGRES_DSN="mysql://a")
    assert error.what == "the settings of y are not usable"
    assert error.cause.startswith("POSTGRES_DSN in the process environment: it must start with")
    assert len(error.cause.splitlines()) == 1
    assert error.hint.startswith("env | sort ")


TIMES = {
    "500ms": 500, "500": 500, "2s": 2000, "2 s": 2000, "1min": 60_000, "3h": 10_800_000, "0": 0,
    " 7s ": 7000, "2147483647": 2_147_483_647, "": 1000,
}  # fmt: skip


@pytest.mark.parametrize(("text", "time"), TIMES.items(), ids=repr)
def test_times(root: Path, text: str, time: int) -> None:
    """A time is a number with ms, s, min or h, as PostgreSQL has it; without a unit milliseconds."""
    assert settings.load(root=root, environ={"LOCK_TIMEOUT": text}).lock_timeout == time


@pytest.mark.parametrize(
    "text", ["-1", "1.5s", "1d", "1S", "s", "٣s", "2147483648", "999h", "9" * 5000]
)
def test_what_is_no_time(root: Path, text: str) -> None:
    """A time that PostgreSQL would not take is a fault before anything runs."""
    assert "LOCK_TIMEOUT in the process environment" in faults(root, LOCK_TIMEOUT=text).cause


@pytest.mark.parametrize(
    ("text", "protected"),
    [
        ("1", True),
        ("TRUE", True),
        ("yes", True),
        ("on", True),
        ("0", False),
        ("No", False),
        ("", True),
    ],
)
def test_flags(root: Path, write: Write, text: str, protected: bool) -> None:  # noqa: FBT001
    """PROTECTED of the process beats the file, but an empty variable takes no protection away."""
    write("", "PROTECTED=1\n")
    assert settings.load(root=root, environ={"PROTECTED": text}).protected is protected


def test_the_process_beats_the_file_for_every_setting(root: Path, write: Write) -> None:
    """Each setting may be given in the file, and the process environment beats it."""
    write(
        "x",
        f"POSTGRES_DSN={A}\nPROTECTED=1\nLOCK_TIMEOUT=1\nSTATEMENT_TIMEOUT=1\n"
        f"SCRATCH_DSN={A}\nTARGET_METADATA=a:b\n",
    )
    loaded = settings.load("x", root=root, environ={})
    a = loaded.target
    expected = Environment(root, "x", "from .env.x", a, True, 1, 1, scratch=a, models="a:b")  # noqa: FBT003
    assert loaded == expected
    environ = {
        "PROTECTED": "0",
        "LOCK_TIMEOUT": "2",
        "STATEMENT_TIMEOUT": "2",
        "SCRATCH_DSN": B,
        "TARGET_METADATA": "c:d.e",
    }
    loaded = settings.load("x", root=root, environ=environ)
    assert (loaded.protected, loaded.lock_timeout, loaded.statement_timeout) == (False, 2, 2)
    assert (str(loaded.scratch), loaded.models) == (SHOWN_B, "c:d.e")


def test_whose_models_these_are(root: Path) -> None:
    """TARGET_METADATA is by default what alembic.ini says, in which % stands for itself."""
    environ = {"TARGET_METADATA": "c:d"}
    shipped = project.load(root, environ={}).target_metadata
    assert shipped == "postgres_database.models:metadata"
    (root / "alembic.ini").write_text(
        "[alembic]\nfile_template = %%(rev)s\nurl = 50%\n[postgres_database]\ntarget_metadata = shop:Base\n"
    )
    assert project.load(root, environ={}).target_metadata == "shop:Base"
    assert project.load(root, environ=environ).target_metadata == "c:d"
    assert project.load(root, "a:b", environ).target_metadata == "a:b"


def test_a_broken_alembic_ini(root: Path) -> None:
    """An alembic.ini that cannot be read is a fault, which does not quote it."""
    (root / "alembic.ini").write_text("sqlalchemy.url = postgresql://app:QXZ@a/one\n")
    with pytest.raises(ExpectedError) as caught:
        project.load(root, environ={})
    assert "alembic.ini cannot be read" in caught.value.cause
    assert "QXZ" not in str(caught.value)


def test_what_alembic_ini_says(root: Path) -> None:
    """What is wrong in alembic.ini is told all at once; what needs no database does not read an environment."""
    (root / ".env").write_text("POSTGRES_DSN=http://nonsense\n")
    (root / "alembic.ini").write_text(
        "[postgres_database]\ninclude_schemas = a, b\nexclude =\n  a.x*\n  c\nonline = no\n"
    )
    read = project.load(root, environ={})
    assert (read.scope.include_schemas, read.scope.exclude) == (("a", "b"), ("a.x*", "c"))
    assert not read.online
    (root / "alembic.ini").write_text("[postgres_database]\ntarget_metadata = x\nonline = maybe\n")
    with pytest.raises(ExpectedError) as caught:
        project.load(root, environ={})
    assert caught.value.cause.splitlines() == [
        "alembic.ini: target_metadata: 'x' is not of the form package.module:name",
        "alembic.ini: online = 'maybe' is neither true nor false",
    ]
    (root / "alembic.ini").write_text(
        "[alembic]\nexclude = x\nonline = no\n[postgres_database]\nonline = no\n"
    )
    with pytest.raises(ExpectedError) as caught:
        project.load(root, environ={})
    assert caught.value.cause.splitlines() == [
        "alembic.ini: exclude stands under [alembic]; it is read under [postgres_database] only",
    ]


def test_byte_order_mark(root: Path, write: Write) -> None:
    """A file that an editor of Windows has saved is read like any other."""
    write("", f"POSTGRES_DSN={A}\r\nPROTECTED=1\r\n".encode("utf-8-sig"))
    loaded = settings.load(root=root, environ={})
    assert (str(loaded.target), loaded.protected, loaded.warnings) == (SHOWN_A, True, ())


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_than_utf_8(root: Path, write: Write, encoding: str) -> None:
    """A file in another encoding is an error that quotes none of it; what it says to type makes it UTF-8."""
    write("x", "PROTECTED=1\nPOSTGRES_DSN=postgresql://app:Qé@a/one\n".encode(encoding))
    error = faults(root, "x")
    assert error.what == ".env.x cannot be read"
    assert error.cause == f"line {1 if encoding == 'utf-16' else 2} is not UTF-8"
    assert error.__cause__ is None
    subprocess.run(["sh", "-c", error.hint.partition("   ")[0]], check=True, cwd=root)
    (root / ".env.x").chmod(0o600)
    target = settings.load("x", root=root, environ={}).target
    assert target is not None
    assert target.parts["password"] == "Qé"


@pytest.mark.parametrize("key", ["POSTGRES_DSN", "SCRATCH_DSN"])
def test_a_setting_that_is_there_twice(root: Path, write: Write, key: str) -> None:
    """Which of two values was meant is not guessed; the same value twice, and other keys twice, are fine."""
    same = f"POSTGRES_DSN={A}\nSCRATCH_DSN={A}\nCOLOUR=red\nCOLOUR=blue\nPOSTGRES_DSN={A}\n"
    write("x", same)
    assert str(settings.load("x", root=root, environ={}).target) == SHOWN_A
    write("x", f"{same}{key}={B}\n")
    assert f".env.x says {key} twice" in faults(root, "x").cause


@pytest.mark.parametrize("name", ["", "x"])
def test_a_pipe_is_not_taken_for_a_missing_file(root: Path, name: str) -> None:
    """What a password manager puts in the place of the file is an error: nothing else is the target, no one waits."""
    os.mkfifo(root / (f".env.{name}" if name else ".env"))
    assert "is a named pipe" in faults(root, name).what


@pytest.mark.parametrize("name", ["", "production"])
def test_a_folder_in_the_place_of_the_file(root: Path, name: str) -> None:
    """What is to be typed moves it away, so that the file has its place."""
    path = root / (f".env.{name}" if name else ".env")
    path.mkdir()
    (root / ".env.example").touch()
    error = faults(root, name)
    assert "is a folder" in error.what
    subprocess.run(["/bin/sh", "-c", error.hint.partition("   (")[0]], cwd=root, check=True)
    assert path.is_file()


def test_a_file_that_we_may_not_read(write: Write) -> None:
    """A file that we may not read is an error, not a missing file, and nothing else is the target."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        path = write("", f"POSTGRES_DSN={A}\n").rename(root / ".env")
        root.chmod(0o755)
        path.chmod(0o000)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            error = faults(root)
        finally:
            os.seteuid(user)
    assert error.what == ".env cannot be read"
    assert "Permission denied" in error.cause


READABLE = {
    "a password": (f"POSTGRES_DSN={A.replace('app', 'app:pw')}", 0o640, True),
    "a password, for others": (f"POSTGRES_DSN={A.replace('app', 'app:pw')}", 0o604, True),
    "a password of the scratch server": (f"POSTGRES_DSN={A}\nSCRATCH_DSN=password=pw", 0o644, True),
    "a passphrase": (f"POSTGRES_DSN={A}?sslpassword=pw", 0o644, True),
    "no password": (f"POSTGRES_DSN={A}", 0o644, False),
    "nobody else": (f"POSTGRES_DSN={A.replace('app', 'app:pw')}", 0o600, False),
    "others may only write": (f"POSTGRES_DSN={A.replace('app', 'app:pw')}", 0o622, False),
}


@pytest.mark.parametrize(("text", "mode", "warned"), READABLE.values(), ids=READABLE)
def test_a_password_that_others_can_read(
    root: Path,
    write: Write,
    text: str,
    mode: int,
    warned: bool,  # noqa: FBT001
) -> None:
    """A file with a password that group or others can read is a warning with the chmod to type."""
    write("x", text, mode)
    warnings = settings.load("x", root=root, environ={}).warnings
    assert len(warnings) == warned
    assert not warned or "chmod 600 .env.x" in warnings[0]


def test_the_process_environment_is_never_changed(
    root: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading reads the process environment and leaves it as it is, whatever the file says."""
    monkeypatch.setenv("LOCK_TIMEOUT", "3s")
    write("x", f"POSTGRES_DSN={A}\nPATH=/nowhere\nLOCK_TIMEOUT=1\nNEW=1\n")
    before = dict(os.environ)
    loaded = settings.load("x", root=root)
    assert dict(os.environ) == before
    assert loaded.lock_timeout == 3000


def test_names_that_people_see(root: Path, write: Write) -> None:
    """An environment is called by its name; without one it is the default or the embedded server."""
    write("x", f"POSTGRES_DSN={A}\n")
    named = settings.load("x", root=root, environ={})
    default = settings.load(root=root, environ={"POSTGRES_DSN": A})
    embedded = settings.load(root=root, environ={})
    assert [named.label, default.label, embedded.label] == ["x", "default", "embedded"]
    assert [named.env_option, default.env_option] == [" --env x", ""]


def test_environments_that_have_a_file(root: Path, write: Write) -> None:
    """The environments of a repository are its env files, without the example and folders."""
    for name in ("staging", "production", "example", ""):
        write(name, "")
    (root / ".env.folder").mkdir()
    assert list(settings.env_files(root)) == ["production", "staging"]

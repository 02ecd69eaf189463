"""Data source names: what is read from them, and what is never shown of them."""

import os
import re
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

import pytest
from checkouts import as_text
from conftest import PASSWORD
from hypothesis import example, given
from hypothesis import strategies as st

from postgres_database.errors import ExpectedError
from postgres_database.server import dsn
from postgres_database.server.dsn import PG_VARIABLES, Dsn

PARTS = {"user": "app", "password": "secret", "host": "db", "port": "6543", "dbname": "shop"}
SPECIAL = "@:/?#[]%&=+$ '\"\\"
# Letters that are in no message of ours: where one appears, a piece of the password does.
LETTERS = "QXZЖ"
passwords = st.text(
    st.one_of(
        st.sampled_from(SPECIAL + LETTERS),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    min_size=1,
)
adversarial = st.text(st.sampled_from(SPECIAL + LETTERS + "15"), min_size=1)

FORMS = {
    "postgresql://": ("postgresql://app:secret@db:6543/shop", PARTS),
    "postgres://": ("postgres://app:secret@db:6543/shop", PARTS),
    "driver of SQLAlchemy": ("postgresql+psycopg2://app:secret@db:6543/shop", PARTS),
    "key=value": ("host=db port=6543 dbname=shop user=app password=secret", PARTS),
    "key = 'value'": ("host = 'db' port= 6543 dbname='shop' user=app password ='secret'", PARTS),
    "blanks around": ("  postgresql://app:secret@db:6543/shop \n", PARTS),
    "parts as parameters": (
        "postgresql:///?host=db&port=6543&dbname=shop&user=app&password=secret",
        PARTS,
    ),
    "nothing": ("postgresql://", {}),
    "only a database": ("dbname=shop", {"dbname": "shop"}),
    "service": ("service=prod", {"service": "prod"}),
    "service as parameter": ("postgresql://?service=prod", {"service": "prod"}),
    "several hosts": (
        "postgresql://h1:1,h2:2,h3/shop?target_session_attrs=read-write",
        {
            "host": "h1,h2,h3",
            "port": "1,2,",
            "dbname": "shop",
            "target_session_attrs": "read-write",
        },
    ),
    "IPv6": ("postgresql://[::1]:5433/shop", {"host": "::1", "port": "5433", "dbname": "shop"}),
    "socket directory": ("postgresql://%2Frun%2Fpg/shop", {"host": "/run/pg", "dbname": "shop"}),
    "socket in a parameter": (
        "postgresql:///shop?host=/run/p@g",
        {"host": "/run/p@g", "dbname": "shop"},
    ),
    "abstract socket": ("postgresql://%40pg/shop", {"host": "@pg", "dbname": "shop"}),
    "user of Azure": (
        "postgresql://app%40srv@db/shop",
        {"user": "app@srv", "host": "db", "dbname": "shop"},
    ),
    "at sign in a parameter": (
        "postgresql://db/shop?user=app@srv",
        {"user": "app@srv", "host": "db", "dbname": "shop"},
    ),
    "at sign in the database": (
        "postgresql://db/shop%40home",
        {"host": "db", "dbname": "shop@home"},
    ),
    "password with ://": ("host=db password=a://b@c/d", {"host": "db", "password": "a://b@c/d"}),
}


@pytest.mark.parametrize(("text", "parts"), FORMS.values(), ids=FORMS)
def test_every_form_of_libpq(text: str, parts: dict[str, str]) -> None:
    """Every form that libpq takes is read, as libpq reads it, and nothing is added."""
    assert dict(dsn.parse(text).parts) == parts


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "pg8000"])
def test_another_driver_is_ignored(driver: str) -> None:
    """The driver of a DSN for another program is no matter: it works."""
    assert dsn.parse(f"postgresql+{driver}://app:secret@db:6543/shop") == Dsn(PARTS)


@given(passwords)
@example(PASSWORD)
@example(SPECIAL)
def test_any_password_encoded_or_quoted(password: str) -> None:
    """A password of any characters arrives intact, percent-encoded in a URI or quoted in key=value."""
    texts = [
        f"postgresql://app:{quote(password, safe='')}@db:6543/shop",
        f"postgresql+psycopg2://db:6543/shop?user=app&password={quote(password, safe='')}",
        as_text(Dsn({**PARTS, "password": password})),
    ]
    for text in texts:
        assert dsn.parse(text).parts == {**PARTS, "password": password}


BAD = {
    "slash": "postgresql://app:QX/Z@db/shop",
    "slash after digits": "postgresql://app:12/QXZ@db/shop",
    "at": "postgresql://app:Q@XZ@db/shop",
    "at and slash": "postgresql://app:Q@X/Z@db/shop",
    "at and colon": "postgresql://app:Q@X:Z@db/shop",
    "at and question mark": "postgresql://app:Q@X?Z@db/shop",
    "question mark and at": "postgresql://app:Q?X@Z@db/shop",
    "parameter": "postgresql://app:Q@X?Z=Q@db/shop",
    "percent": "postgresql://app:QX%ZZ@db/shop",
    "percent and quotes": 'postgresql://app:Q"X"Z%ZZ@db/shop',
    "zero byte": "postgresql://app:Q%00X@db/shop",
    "real zero byte": "host=db password=Q\0X",
    "not UTF-8": "postgresql://app:Q\udce9X@db/shop",
    "percent-encoded, but not as UTF-8": "postgresql://app:QX%E9@db/shop",
    "bracket": "postgresql://app:Q@[X@db/shop",
    "two brackets": "postgresql://app:Q@[X]Z@db/shop",
    "blank": "host=db password=Q XZ",
    "blank and key": "host=db password=Q XZ=1",
    "quotes": "host=db password='Q' XZ",
    "open quote": "host=db password='QXZ",
    "port": "host=db password=Q port=XZ",
    "other database": "mysql://app:QXZ@db/shop",
    "upper case": "POSTGRESQL://app:QXZ@db/shop",
    "no DSN at all": "QXZ",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_wrong_is_told_without_quoting(text: str) -> None:
    """A DSN that cannot be read is refused, never half understood, and no message quotes any of it."""
    with pytest.raises(ValueError, match=r".") as caught:
        dsn.parse(text)
    shown = f"{caught.value!r} {caught.value.__cause__!r}"
    assert not set(shown) & {*LETTERS, "\udce9"}
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "text", ["shop", "db.example.com:5432/shop", "app@db/shop", BAD["other database"]]
)
def test_what_is_no_form_of_libpq_is_told_how_it_starts(text: str) -> None:
    """A host or a name alone is not taken for pairs whose quotes are wrong."""
    with pytest.raises(ValueError, match="must start with postgresql://"):
        dsn.parse(text)


@pytest.mark.parametrize(
    "text", [BAD["slash"], BAD["at"], BAD["percent"], BAD["at and question mark"]]
)
def test_advice_for_a_password_that_must_be_encoded(text: str) -> None:
    """Where a URI is misread, the error says how to percent-encode the password."""
    with pytest.raises(ValueError, match=r"percent-encode.*@ is %40.*python3 -c"):
        dsn.parse(text)


def read(text: str) -> Dsn | str:
    """Return what a text means, or the message of its refusal."""
    try:
        return dsn.parse(text)
    except ValueError as error:
        return str(error)


@given(adversarial)
@example("Q@X/Z")
@example("1/X?Q")
def test_an_unencoded_password_leads_nowhere_else(password: str) -> None:
    """A URI with any password as it is either means what it seems to mean, or is refused."""
    found = read(f"postgresql://app:{password}@db:6543/shop")
    if isinstance(found, str):
        assert not set(found) & set(LETTERS)
    else:
        assert found.parts == PARTS | {"password": unquote(password)}


@given(adversarial)
def test_an_unquoted_password_is_never_quoted_back(password: str) -> None:
    """Whatever an unquoted password does to key=value pairs, no message repeats a piece of it."""
    found = read(f"host=db password={password}")
    assert not isinstance(found, str) or not set(found) & set(LETTERS)


SHOWN = {
    "all parts": (PARTS, "app@db:6543/shop"),
    "no port": ({"user": "app", "host": "db", "dbname": "shop"}, "app@db:5432/shop"),
    "no database": ({"user": "app", "host": "db"}, "app@db:5432/app"),
    "no host": ({"user": "app", "dbname": "shop"}, "app@[local]:5432/shop"),
    "socket": ({"user": "app", "host": "/run/pg", "dbname": "shop"}, "app@/run/pg:5432/shop"),
    "address": ({"user": "app", "hostaddr": "10.0.0.1"}, "app@10.0.0.1:5432/app"),
    "IPv6": ({"user": "app", "host": "::1", "dbname": "shop"}, "app@[::1]:5432/shop"),
    "hosts with ports": (
        {"user": "app", "host": "a,b", "port": "1,", "dbname": "shop"},
        "app@a:1,b:5432/shop",
    ),
    "hosts with one port": (
        {"user": "app", "host": "a,b", "port": "1", "dbname": "shop"},
        "app@a:1,b:1/shop",
    ),
}


@pytest.mark.parametrize(("parts", "text"), SHOWN.values(), ids=SHOWN)
def test_how_a_target_is_shown(parts: dict[str, str], text: str) -> None:
    """A target is user@host:port/database, each as libpq would fill it in."""
    assert str(Dsn(parts)) == text


def test_a_place_is_the_same_for_every_user() -> None:
    """One role reviews, another one upgrades: what is kept of a database is found by both."""
    one, other = (dsn.parse(f"host=db user={user} dbname=shop") for user in ("app", "admin@db"))
    assert one.place == other.place == "db:5432/shop"


def test_absent_parts_are_shown_as_libpq_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a DSN leaves out comes from the variables of libpq; what it says beats them."""
    for name, value in {
        "PGHOST": "db",
        "PGPORT": "6543",
        "PGUSER": "app",
        "PGDATABASE": "shop",
    }.items():
        monkeypatch.setenv(name, value)
    assert str(Dsn({})) == "app@db:6543/shop"
    assert str(Dsn({"host": "other", "dbname": "own"})) == "app@other:6543/own"


def test_the_database_is_never_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no database and no user in the DSN its name is the login's, as libpq has it; never empty."""
    monkeypatch.setenv("LOGNAME", "ada")
    assert Dsn({"host": "db"}).database == "ada"
    assert str(Dsn({"host": "db"})) == "ada@db:5432/ada"


@given(passwords)
def test_secrets_are_in_no_text_of_a_dsn(password: str) -> None:
    """What is shown of a DSN does not depend on its secrets."""

    def shown(secret: str) -> list[str]:
        parsed = Dsn(PARTS | dict.fromkeys(dsn.SECRET_PARTS, secret))
        return [str(parsed), repr(parsed), repr([parsed]), f"{parsed}", parsed.database]

    assert shown(password) == shown("another")


@given(passwords.filter(lambda password: not set(password) & set("<>")))
@example("%")
@example("%25")
@example("a b+c")
def test_messages_are_scrubbed(password: str) -> None:
    """A driver's message loses a secret in each spelling: raw, and percent-encoded in any way."""
    encoded = "".join(f"%{byte:02x}" for byte in password.encode())
    spellings = [quote(password), quote(password, safe=""), quote_plus(password), encoded]
    lower = [re.sub("%..", lambda match: match[0].lower(), spelling) for spelling in spellings]
    for part in dsn.SECRET_PARTS:
        for spelling in [password, *spellings, *lower]:
            assert Dsn({part: password}).scrub(f"<{spelling}>") == "<***>"


def test_messages_are_scrubbed_of_the_environments_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PGPASSWORD is a secret, too, and the longer of two secrets goes first."""
    monkeypatch.setenv("PGPASSWORD", "abcdef")
    assert Dsn({"password": "abc"}).scrub("abcdef abc ABC") == "*** *** ***"


def test_an_absent_secret_scrubs_nothing() -> None:
    """Without a password, or with an empty one, a message stays as it is."""
    assert Dsn({"password": ""}).scrub("no password supplied") == "no password supplied"


def test_the_child_is_told_by_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process gets each part by its variable, beside all else that is in the environment."""
    monkeypatch.setenv("PGDATABASE", "stray")
    monkeypatch.setenv("PGSSLMODE", "require")
    before = dict(os.environ)
    environment = Dsn({**PARTS, "keepalives": "1"}).child_environment()
    assert os.environ == before
    assert {
        PG_VARIABLES[name]: value for name, value in PARTS.items()
    }.items() <= environment.items()
    assert environment["PGSSLMODE"] == "require"
    assert environment["PGCONNECT_TIMEOUT"] == dsn.CONNECT_TIMEOUT
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "3")
    assert Dsn(PARTS).child_environment()["PGCONNECT_TIMEOUT"] == "3"
    chosen = Dsn({"connect_timeout": "4"})
    assert chosen.child_environment()["PGCONNECT_TIMEOUT"] == "4"
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("part", ["sslpassword", "oauth_client_secret"])
def test_a_secret_without_a_variable_is_not_handed_on(part: str) -> None:
    """A secret that could reach a child process only by its arguments is refused."""
    with pytest.raises(ExpectedError) as caught:
        Dsn({**PARTS, part: "QXZ"}).child_environment()
    assert part in str(caught.value)
    assert "QXZ" not in f"{caught.value!r}"


SERVICES = """
# the databases of this desk
[other]
host=nowhere

[prod]
host=db
 port=6543
dbname=shop
user=app
password=a=b c
dbname=second

[prod2]
host=nowhere
"""
PROD = {"host": "db", "port": "6543", "dbname": "shop", "user": "app", "password": "a=b c"}


@pytest.fixture
def services(tmp_path: Path) -> Path:
    """A file with services."""
    path = tmp_path / "services"
    path.write_text(SERVICES)
    return path


def test_a_service_is_read_as_libpq_reads_it(services: Path) -> None:
    """A service stands for its lines: the first of each key, to the next service."""
    assert dsn.with_service(Dsn({"service": "prod"}), {"PGSERVICEFILE": str(services)}) == Dsn(PROD)
    assert dsn.with_service(Dsn({}), {"PGSERVICEFILE": str(services), "PGSERVICE": "prod"}) == Dsn(
        PROD
    )


def test_what_a_dsn_says_beats_its_service(services: Path) -> None:
    """A part of the DSN beats the one of its service, and an address goes with its host."""
    services.write_text(SERVICES.replace("[prod]\n", "[prod]\nhostaddr=10.0.0.1\n"))
    environ = {"PGSERVICEFILE": str(services)}
    found = dsn.with_service(Dsn({"service": "prod", "dbname": "own", "host": "near"}), environ)
    assert found == Dsn(PROD | {"dbname": "own", "host": "near"})


def test_where_services_are_looked_for(services: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service is looked for in the home directory, then in the system's."""
    monkeypatch.setenv("HOME", str(services.parent))
    (services.parent / ".pg_service.conf").write_text("[mine]\nhost=home\n")
    (services.parent / "pg_service.conf").write_text("[mine]\nhost=system\n[all]\nhost=system\n")
    environ = {"PGSYSCONFDIR": str(services.parent)}
    assert dsn.with_service(Dsn({"service": "mine"}), environ) == Dsn({"host": "home"})
    assert dsn.with_service(Dsn({"service": "all"}), environ) == Dsn({"host": "system"})


FAULTY = {
    "no such service": ("[other]\nhost=x\n", "service prod is in none of"),
    "no file": (None, "service prod is in none of"),
    "line without =": ("[prod]\nhost=db\nQXZ\n", "line 3 is not key=value"),
    "service of a service": ("[prod]\nservice=other\n", "line 2 is not key=value"),
    "not UTF-8": ("[prod]\npassword=QXZ\udce9\n", "services cannot be read"),
    "LDAP": ("[prod]\nldap://server/dc=x\n", "line 2 is not key=value"),
}


@pytest.mark.parametrize(("text", "message"), FAULTY.values(), ids=FAULTY)
def test_faults_of_services(services: Path, text: str | None, message: str) -> None:
    """A service that cannot be read is an error that names the file and line, not what is in it."""
    if text is None:
        services.unlink()
    else:
        services.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=message) as caught:
        dsn.with_service(Dsn({"service": "prod"}), {"PGSERVICEFILE": str(services)})
    assert str(services) in str(caught.value)
    assert "QXZ" not in f"{caught.value!r}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresql+asyncpg://u@h/d?ssl=require", "ssl is not a parameter of libpq, write sslmode=require"),
        ("postgresql://u@h/d?schema=shop", "schema is not a parameter of libpq, write options=-c%20s"),
        ("host=h currentSchema=x", "currentSchema is not a parameter of libpq, write options="),
        ("postgresql://h/d?pgbouncer=1&pool_size=1", "pgbouncer is not a parameter of libpq, leave it out; pool_size"),
        ("host=h user=u database=d", "database is not a parameter of libpq, write dbname=…"),
        ("jdbc:postgresql://h/d?user=u", "it must start with postgresql://"),
    ],
)  # fmt: skip
def test_parameters_of_frameworks_are_refused_by_name(text: str, said: str) -> None:
    """What drivers and frameworks write into a URL is named with the spelling of libpq."""
    with pytest.raises(ValueError, match=re.escape(said)):
        dsn.parse(text)


@pytest.mark.parametrize(
    "text", ["postgresql://app:QXZ@db:abc/shop", "host=db port=abc", "postgresql://db:x/y"]
)
def test_port_that_is_no_number(text: str) -> None:
    """Nobody is sent to encode a password that is right."""
    with pytest.raises(ValueError, match=r"^the port is not a number$"):
        dsn.parse(text)


def test_another_role(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another role gets neither the password of the first nor the role that the options set."""
    monkeypatch.setenv("PGPASSWORD", "of the first")
    first = dsn.parse("postgresql://first:secret@h/d?options=-c%20role%3Dx")
    variables = first.of_role("second").child_environment()
    assert [variables[name] for name in ("PGUSER", "PGPASSWORD", "PGOPTIONS")] == [
        "second",
        "",
        "-c role=x -c role=none",
    ]
    assert "options" not in dsn.parse("postgresql://first@h/d").of_role("second").parts

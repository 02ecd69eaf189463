"""Data source names: parsed once, by libpq, and shown without what is secret in them."""

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from psycopg2.extensions import parse_dsn

from postgres_database.errors import ExpectedError

SECRET_PARTS = ("password", "sslpassword", "oauth_client_secret")

# The variable of each connection parameter: PostgreSQL manual, "libpq: Environment Variables".
PG_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "require_auth": "PGREQUIREAUTH",
    "channel_binding": "PGCHANNELBINDING",
    "service": "PGSERVICE",
    "options": "PGOPTIONS",
    "application_name": "PGAPPNAME",
    "sslmode": "PGSSLMODE",
    "requiressl": "PGREQUIRESSL",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslcompression": "PGSSLCOMPRESSION",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcertmode": "PGSSLCERTMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslsni": "PGSSLSNI",
    "requirepeer": "PGREQUIREPEER",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "min_protocol_version": "PGMINPROTOCOLVERSION",
    "max_protocol_version": "PGMAXPROTOCOLVERSION",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "gsslib": "PGGSSLIB",
    "gssdelegation": "PGGSSDELEGATION",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "client_encoding": "PGCLIENTENCODING",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
}

SEARCH_PATH = "options=-c%20search_path%3D…   (in key=value pairs: options='-c search_path=…')"
FOREIGN = {
    "ssl": "sslmode=require",
    "ssl_mode": "sslmode=require",
    "sslaccept": "sslmode=require",
    "tls": "sslmode=require",
    "ssl_ca": "sslrootcert=…",
    "sslca": "sslrootcert=…",
    "ssl_cert": "sslcert=…",
    "ssl_key": "sslkey=…",
    "schema": SEARCH_PATH,
    "currentschema": SEARCH_PATH,
    "search_path": SEARCH_PATH,
    "server_settings": SEARCH_PATH.replace("search_path", "name"),
    "timeout": "connect_timeout=…",
    "connection_timeout": "connect_timeout=…",
    "connecttimeout": "connect_timeout=…",
    "command_timeout": "STATEMENT_TIMEOUT in the env file",
    "statement_timeout": "STATEMENT_TIMEOUT in the env file",
    "charset": "client_encoding=…",
    "encoding": "client_encoding=…",
    "database": "dbname=…",
    "username": "user=…",
    "hostname": "host=…",
    "pass": "password=…",
    **dict.fromkeys(
        (
            "driver", "echo", "pgbouncer", "connection_limit", "pool", "pool_timeout", "pool_size", "pool_recycle",
            "pool_pre_ping", "max_overflow", "conn_max_age", "prepared_statement_cache_size", "statement_cache_size",
            "prepare_threshold", "sslfactory", "socket_timeout", "async_fallback",
        ),
        "",
    ),
}  # fmt: skip
"""Parameters of asyncpg, JDBC, Prisma, Django, Rails and others, by what libpq calls them; empty: it has none."""

SYSTEM = "/etc/postgresql-common"  # where the libpq of psycopg2-binary looks last
CONNECT_TIMEOUT = "10"
"""Seconds, unless the DSN or PGCONNECT_TIMEOUT says otherwise."""
ENCODE_HINT = (
    "percent-encode user and password (@ is %40, / is %2F, : is %3A, % is %25):"
    " python3 -c 'from getpass import getpass; from urllib.parse import quote;"
    ' print(quote(getpass(), safe=""))\''
)
QUOTE_HINT = "a value with spaces or quotes is written '…', with \\' for ' and \\\\ for \\ in it"


@dataclass(frozen=True)
class Dsn:
    """Connection parameters as libpq names them; what is absent is left to libpq."""

    parts: Mapping[str, str] = field(repr=False)

    def __str__(self) -> str:
        """Name the database as user@host:port/database, from parts that never held a secret."""
        user = self._part("user") or _login_name()
        hosts = (self._part("host") or self._part("hostaddr") or "[local]").split(",")
        ports = (self._part("port") or "5432").split(",")
        if len(ports) < len(hosts):
            ports *= len(hosts)
        where = ",".join(
            (f"[{host}]" if host.count(":") > 1 else host) + f":{port or 5432}"
            for host, port in zip(hosts, ports, strict=False)
        )
        return f"{user}@{where}/{self.database}"

    @property
    def place(self) -> str:
        """Server and database, whoever asks."""
        return str(self).rpartition("@")[2]

    @property
    def database(self) -> str:
        """The database's name as far as it is known before connecting."""
        return self._part("dbname") or self._part("user") or _login_name()

    def _part(self, name: str) -> str:
        return self.parts.get(name) or os.environ.get(PG_VARIABLES[name], "")

    def with_parts(self, **parts: str) -> "Dsn":
        """Return a copy with these parts replaced."""
        return Dsn({**self.parts, **parts})

    def of_role(self, name: str) -> "Dsn":
        """Return a copy for another role. Its password is not known; an empty one takes the place of PGPASSWORD.

        A role that the options set is set no more: of two settings the last one counts.
        """
        options = self._part("options")
        unset = {"options": f"{options} -c role=none"} if options else {}
        return self.with_parts(user=name, password="", **unset)

    def parameters(self) -> dict[str, str]:
        """Return the parts for libpq, without PGHOSTADDR, which would override their host."""
        return {**({"hostaddr": ""} if "host" in self.parts else {}), **self.parts}

    def child_environment(self) -> dict[str, str]:
        """Return the environment for a child process such as pg_dump: this one, plus the parts.

        The environment of a process is readable by its owner alone, its arguments by everybody.
        """
        unsafe = sorted(set(self.parts) & {"sslpassword", "oauth_client_secret"})
        if unsafe:
            raise ExpectedError(
                f"{unsafe[0]} cannot be handed to pg_dump or psql without showing it to other users",
                hint="use a key file without a passphrase that only you can read (chmod 600)",
            )
        given = {
            PG_VARIABLES[name]: value
            for name, value in self.parameters().items()
            if name in PG_VARIABLES
        }
        # A service overrides all other variables; here it is among the parts, see `with_service`.
        inherited = {key: value for key, value in os.environ.items() if key != "PGSERVICE"}
        return {"PGCONNECT_TIMEOUT": CONNECT_TIMEOUT} | inherited | given

    def scrub(self, text: str) -> str:
        """Return `text`, usually a driver's message, without any spelling of a secret."""
        secrets = {self.parts.get(name, "") for name in SECRET_PARTS}
        for secret in sorted(secrets | {os.environ.get("PGPASSWORD", "")}, key=len, reverse=True):
            if secret:
                text = re.sub(_spellings(secret), "***", text, flags=re.IGNORECASE)
        return text


def _spellings(secret: str) -> str:
    """Return a pattern for a text in which any character may be percent-encoded."""
    return "".join(
        f"(?:{_encoded(character)}|{'[ +]' if character == ' ' else re.escape(character)})"
        for character in secret
    )


def _encoded(character: str) -> str:
    return "".join(f"%{byte:02x}" for byte in character.encode(errors="surrogateescape"))


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        return f"uid {os.getuid()}"


def parse(text: str) -> Dsn:
    """Parse any form that libpq takes, and SQLAlchemy's `postgresql+driver://`, whatever the driver: ours is psycopg2.

    Raises:
        ValueError: The text is no DSN. The message repeats no part of it, because any part may be
            a piece of a password in which a special character was not encoded.
    """
    text = re.sub(r"^postgres(?:ql)?\+\w+://", "postgresql://", text.strip())
    is_uri = re.match(r"postgres(ql)?://", text) is not None
    if not is_uri and ("=" not in text or re.match(r"(?:jdbc:)?[a-zA-Z][\w+.-]*://", text)):
        raise ValueError("it must start with postgresql:// (or be key=value pairs)")
    if "\0" in text:
        raise ValueError("there is a zero byte in it")
    try:
        parts = parse_dsn(text)
    except UnicodeError:
        raise ValueError("it is not UTF-8") from None
    except psycopg2.ProgrammingError as error:
        if foreign := _of_frameworks(text):
            raise ValueError(foreign) from None
        words = re.sub(r'".*"', '"…"', str(error), flags=re.DOTALL).strip()
        hint = ENCODE_HINT if is_uri else QUOTE_HINT
        raise ValueError(f"{words.removeprefix('invalid dsn: ')}; {hint}") from None
    numeric = re.fullmatch(r"[0-9,]*", parts.get("port", ""))
    # libpq ends user and password at the first @, and both may be absent.
    address = re.sub(r"^[^@/]*@", "", text.partition("://")[2]).partition("?")[0]
    if is_uri and "@" in address:
        raise ValueError(
            f"user or password hold a character that is read as part of the address; {ENCODE_HINT}"
        )
    if not numeric:
        raise ValueError("the port is not a number")
    return Dsn(parts)


def _of_frameworks(text: str) -> str:
    """Name the parameters of a DSN that only other drivers and frameworks have, with libpq's spelling."""
    given = re.findall(r"(?:[?&]|(?:^|\s))([A-Za-z_]+)\s*=", text)
    wrong = {name: FOREIGN[name.lower()] for name in given if name.lower() in FOREIGN}
    return "; ".join(
        f"{name} is not a parameter of libpq" + (f", write {right}" if right else ", leave it out")
        for name, right in wrong.items()
    )


def with_service(dsn: Dsn, environ: Mapping[str, str] = os.environ) -> Dsn:
    """Return a DSN that has the parts of its service, or of PGSERVICE, instead of the name.

    By its name it would override the host and database in the variables of a child process.
    PostgreSQL manual, "The Connection Service File".

    Raises:
        ValueError: There is no such service.
    """
    name = dsn.parts.get("service") or environ.get("PGSERVICE", "")
    if not name:
        return dsn
    personal = environ.get("PGSERVICEFILE") or Path.home() / ".pg_service.conf"
    files = [Path(personal), Path(environ.get("PGSYSCONFDIR") or SYSTEM) / "pg_service.conf"]
    service = next((parts for file in files if (parts := _service(name, file)) is not None), None)
    if service is None:
        raise ValueError(f"the service {name} is in none of {', '.join(map(str, files))}")
    if "host" in dsn.parts:
        service.pop("hostaddr", None)
    explicit = {key: value for key, value in dsn.parts.items() if key != "service"}
    return Dsn(service | explicit)


def _service(name: str, file: Path) -> dict[str, str] | None:
    """Return the parts of a service, or None where the file has no such service."""
    if not file.is_file():
        return None
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        raise ValueError(f"{file} cannot be read") from None
    parts: dict[str, str] | None = None
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line.startswith("["):
            if parts is not None:
                break
            parts = {} if line == f"[{name}]" else None
        elif parts is not None and line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            if not equals or key == "service" or key.startswith("ldap"):
                raise ValueError(f"{file}, line {number} is not key=value")
            parts.setdefault(key, value)
    return parts

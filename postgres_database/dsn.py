"""Data source names: parsed once, by libpq, and shown without what is secret in them."""

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

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

ENCODE_HINT = (
    "percent-encode user and password (@ is %40, / is %2F, : is %3A, % is %25):"
    " python3 -c 'from getpass import getpass; from urllib.parse import quote;"
    ' print(quote(getpass(), safe=""))\''
)


@dataclass(frozen=True)
class Dsn:
    """Connection parameters as libpq names them; what is absent is left to libpq."""

    parts: Mapping[str, str] = field(repr=False)

    def __str__(self) -> str:
        """Name the database as user@host:port/database, from parts that never held a secret."""
        if service := self.parts.get("service"):
            shown = [
                f"{part}={self.parts[part]}" for part in ("host", "dbname") if part in self.parts
            ]
            return " ".join([f"service={service}", *shown])
        user = self._part("user") or _login_name()
        hosts = (self._part("host") or self._part("hostaddr") or "[local]").split(",")
        ports = (self._part("port") or "5432").split(",")
        if len(ports) < len(hosts):
            ports *= len(hosts)
        where = ",".join(f"{host}:{port or 5432}" for host, port in zip(hosts, ports, strict=False))
        return f"{user}@{where}/{self.database or user}"

    @property
    def database(self) -> str:
        """The database's name as far as it is known before connecting."""
        return self._part("dbname") or self._part("user")

    def _part(self, name: str) -> str:
        return self.parts.get(name) or os.environ.get(PG_VARIABLES[name], "")

    def with_parts(self, **parts: str) -> "Dsn":
        """Return a copy with these parts replaced."""
        return Dsn({**self.parts, **parts})

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
            PG_VARIABLES[name]: value for name, value in self.parts.items() if name in PG_VARIABLES
        }
        return {**os.environ, **given}

    def scrub(self, text: str) -> str:
        """Return `text`, usually a driver's message, without any spelling of a secret."""
        secrets = [self.parts.get(name, "") for name in SECRET_PARTS] + [
            os.environ.get("PGPASSWORD", "")
        ]
        spellings = {
            spelling
            for secret in secrets
            if secret
            for spelling in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret))
        }
        for spelling in sorted(spellings, key=len, reverse=True):
            text = re.sub(re.escape(spelling), "***", text, flags=re.IGNORECASE)
        return text


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        return f"uid {os.getuid()}"


def parse(text: str) -> tuple[Dsn, list[str]]:
    """Parse any form that libpq takes, and SQLAlchemy's `postgresql+driver://`.

    Returns:
        The DSN, and warnings about what was ignored in it.

    Raises:
        ValueError: The text is no DSN. The message repeats no part of it, because any part may be
            a piece of a password in which a special character was not encoded.
    """
    warnings = []
    text = text.strip()
    if match := re.match(r"(postgres(?:ql)?)\+(\w+)://", text):
        if match[2] != "psycopg2":
            warnings.append(f"the driver +{match[2]} of the DSN is ignored: psycopg2 is used")
        text = "postgresql://" + text[match.end() :]
    is_uri = re.match(r"postgres(ql)?://", text) is not None
    if not is_uri and re.match(r"[a-zA-Z][\w+.-]*://", text):
        message = "it must start with postgresql:// (or be key=value pairs)"
        raise ValueError(message)
    try:
        parts = parse_dsn(text)
    except psycopg2.ProgrammingError as error:
        words = re.sub(r'"[^"]*"?', '"…"', str(error)).strip()
        raise ValueError(f"{words}; {ENCODE_HINT}" if is_uri and "%" in text else words) from None
    ports = parts.get("port", "")
    misread = (
        "@" in parts.get("host", "")
        or not re.fullmatch(r"[\d,]*", ports)
        or ("@" in parts.get("dbname", "") and "@" in text.split("://", 1)[-1].partition("/")[2])
    )
    if is_uri and misread:
        message = (
            f"user or password hold a character that is read as part of the address; {ENCODE_HINT}"
        )
        raise ValueError(message)
    if not re.fullmatch(r"[\d,]*", ports):
        message = "the port is no number"
        raise ValueError(message)
    return Dsn(parts), warnings

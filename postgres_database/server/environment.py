"""Where a command works: the environment's name, its file and the process, read into one value."""

import codecs
import difflib
import io
import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from postgres_database.errors import ExpectedError
from postgres_database.server import dsn
from postgres_database.server.dsn import SECRET_PARTS, Dsn

DSN_KEYS = ("POSTGRES_DSN", "DATABASE_URL")
KEYS = (
    *DSN_KEYS,
    "PROTECTED",
    "LOCK_TIMEOUT",
    "STATEMENT_TIMEOUT",
    "SCRATCH_DSN",
    "TARGET_METADATA",
)
METADATA = re.compile(r"[\w.]+:[\w.]+")
"""How models are named: package.module:name."""
REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*)|^\$([A-Za-z_]\w*)$")
"""How env files of Docker Compose refer to another variable, and how a shell does."""
REPLACED = (
    "${{{}}} in it is not replaced, as Docker Compose or a shell does it: write the value itself"
)
MISSPELT = 0.75  # how like a setting a key must be
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
PROCESS = "the process environment"
LIBPQ_TARGET = ("PGHOST", "PGHOSTADDR", "PGSERVICE")

TRUE, FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
MILLISECONDS = {"": 1, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
LONGEST = 2**31 - 1  # milliseconds that PostgreSQL can count, 24 days


@dataclass(frozen=True)
class Environment:
    """Where a command works, and how carefully: read once and never changed."""

    root: Path
    """The repository: where alembic.ini and the env files are."""
    name: str = ""
    """The name that was asked for, or empty."""
    source: str = ""
    """Where the DSN was found, in words."""
    target: Dsn | None = None
    """None stands for the embedded server."""
    protected: bool = False
    lock_timeout: int = 1000
    """Milliseconds that blocking DDL may wait for a lock; 0 is for ever."""
    statement_timeout: int = 0
    """Milliseconds that a statement may take; 0 leaves what the server or the DSN says."""
    scratch: Dsn | None = None
    """Where scratch databases are; None stands for the embedded server."""
    models: str = ""
    """TARGET_METADATA, which overrides alembic.ini; or empty."""
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def label(self) -> str:
        """The name that people see for this environment."""
        return self.name or ("default" if self.target else "embedded")

    @property
    def env_option(self) -> str:
        """What to add to a command so that it works on the same environment."""
        return f" --env {self.name}" if self.name else ""


def env_files(root: Path) -> dict[str, Path]:
    """Return the environments that have a file, by name."""
    return {
        path.name.removeprefix(".env."): path
        for path in sorted(root.glob(".env.*"))
        if path.is_file() and path.name != ".env.example"
    }


def load(
    environment: str = "", *, root: Path, environ: Mapping[str, str] = os.environ
) -> Environment:
    """Read an environment.

    Args:
        environment: The name from the command line; empty means the variable ENV, or none.
        root: The repository.
        environ: The process environment; it is read, never changed.

    Raises:
        ExpectedError: Something in the settings is wrong; all faults are reported at once.
    """
    name = environment or environ.get("ENV", "")
    _require_name(name, root, given=bool(environment))
    path = root / (f".env.{name}" if name else ".env")
    in_process = {key: value for key in KEYS if (value := environ.get(key, "").strip())}
    if path.is_dir():
        raise ExpectedError(
            f"{path.name} is a folder, and settings are read from a file",
            cause="container engines make a folder where the file that they are to mount is missing",
            hint=f"mv {path.name} {path.name}.folder && cp .env.example {path.name}   (then set POSTGRES_DSN in it)",
        )
    if path.is_fifo():
        raise ExpectedError(
            f"{path.name} is a named pipe, which is not read",
            cause="it gives what it holds once, and without a writer never",
            hint=f"ls -l {path}   (make it a file, or let what writes into it set POSTGRES_DSN in the"
            " process environment)",
        )
    if name and not path.is_file() and not any(key in in_process for key in DSN_KEYS):
        known = env_files(root)
        close = difflib.get_close_matches(name, known, n=1)
        copy = f"cp .env.example {path.name}"
        raise ExpectedError(
            f"the environment {name!r} has no file {path.name}",
            cause=f"environments with a file: {', '.join(known) or 'none yet'}",
            hint=f"the same command with --env {close[0]}   (did you mean that? if not: {copy})"
            if close
            else f"{copy}   (then set POSTGRES_DSN in it)",
        )
    return _Reader(root, name, path, in_process, environ).read()


def _require_name(name: str, root: Path, *, given: bool) -> None:
    """Raise ExpectedError if this names no environment; `given`: on the command line, not by the variable ENV."""
    if name and (name == "example" or not re.fullmatch(r"[a-z0-9_-]+", name)):
        # a path, the name of the file, or upper case
        plain = name.strip().lower().rpartition("/")[2].removeprefix(".").removeprefix("env.")
        known = env_files(root)
        right = next(
            iter(difflib.get_close_matches(plain, known, n=1)),
            given and next(iter(known), "production"),
        )
        raise ExpectedError(
            f"{name!r} is not a name of an environment",
            cause="names are made of a-z, 0-9, _ and -"
            + ("" if right else "; this one is ENV, which shells use for a file of theirs"),
            hint=f"the same command with --env {right}"
            if right
            else "unset ENV   (or name the environment by --env)",
        )


def milliseconds(text: str) -> int | None:
    """Return a time such as `500ms`, `2s` or `1min` in milliseconds; None if it is none, or too long for PostgreSQL."""
    match = re.fullmatch(r"([0-9]{1,15})\s*(ms|s|min|h)?", text)
    time = int(match[1]) * MILLISECONDS[match[2] or ""] if match else LONGEST + 1
    return time if time <= LONGEST else None


class _Reader:
    """Collects values and faults, so that all faults are reported at once."""

    def __init__(
        self,
        root: Path,
        name: str,
        path: Path,
        in_process: Mapping[str, str],
        environ: Mapping[str, str],
    ) -> None:
        self.root = root
        self.name = name
        self.path = path
        self.environ = environ
        self.in_process = in_process
        self.faults: list[str] = []
        self.warnings: list[str] = []
        self.in_file = self._read_file()

    def read(self) -> Environment:
        target, source = self._target()
        scratch = self._dsn(self._origin("SCRATCH_DSN"), self._value("SCRATCH_DSN"))
        environment = Environment(
            root=self.root,
            name=self.name,
            source=source,
            target=target,
            protected=self._flag("PROTECTED"),
            lock_timeout=self._milliseconds("LOCK_TIMEOUT", "1s"),
            statement_timeout=self._milliseconds("STATEMENT_TIMEOUT", "0"),
            scratch=scratch,
            models=self._models(),
            warnings=tuple(self.warnings),
        )
        if self.faults:
            editor = f"${{EDITOR:-vi}} {self.path.name}" if self.path.is_file() else "env | sort"
            raise ExpectedError(
                f"the settings of {self.name or 'the default environment'} are not usable",
                cause="\n".join([*self.faults, *self.warnings]),
                hint=f"{editor}   (every setting is explained in .env.example)",
            )
        return environment

    def _read_file(self) -> dict[str, str]:
        """Read the file with the parser of python-dotenv; what it would skip is a fault.

        No fault quotes the file: a piece of a password may stand wherever something is wrong.
        """
        if not self.path.is_file():
            return {}

        from dotenv.parser import parse_stream  # noqa: PLC0415 - only a file needs it

        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            code = "utf-16" if error.object[:2] in UTF_16 else "windows-1252"
            name, number = self.path.name, error.object[: error.start].count(b"\n") + 1
            raise ExpectedError(
                f"{name} cannot be read",
                cause=f"line {number} is not UTF-8",
                hint=f"iconv -f {code} -t utf-8 {name} > {name}.new && mv {name}.new {name}"
                f"   (if it is {code}; then chmod 600 {name})",
            ) from None  # its text quotes the file
        except OSError as error:
            raise ExpectedError(
                f"{self.path.name} cannot be read",
                cause=str(error),
                hint=f"ls -l {self.path}   (you must be allowed to read it)",
            ) from error
        read: dict[str, str] = {}
        for line in parse_stream(io.StringIO(text)):
            if line.key and line.value is not None and line.key.isidentifier():
                value = line.value.strip()
                if line.key in KEYS and read.setdefault(line.key, value) != value:
                    self.faults.append(f"{self.path.name} says {line.key} twice; keep one of them")
                read[line.key] = value
            elif line.key or line.error:
                written = line.original.string
                blank = written[: len(written) - len(written.lstrip())].count("\n")
                self.faults.append(
                    f"{self.path.name}, line {line.original.line + blank} is not KEY=value"
                    " or KEY='value'"
                )
        self._warn_if_misspelt(read)
        return {key: value for key, value in read.items() if value}

    def _warn_if_misspelt(self, keys: Collection[str]) -> None:
        """Warn of keys that look like a setting; an application keeps settings of its own in the file, too."""
        given = {*keys, *self.in_process}
        lacking = {*KEYS} - given - ({*DSN_KEYS} if given & {*DSN_KEYS} else set())
        for key in (key for key in keys if key not in KEYS):
            for meant in difflib.get_close_matches(key.upper(), lacking, n=1, cutoff=MISSPELT):
                warning = f"{self.path.name}: unknown setting {key}; did you mean {meant}?"
                self.warnings.append(warning)

    def _value(self, key: str) -> str:
        return self.in_process.get(key, self.in_file.get(key, ""))

    def _origin(self, key: str) -> str:
        return f"{key} in {PROCESS if key in self.in_process else self.path.name}"

    def _target(self) -> tuple[Dsn | None, str]:
        """Choose the DSN: the process overrides the file, but may not redirect a named environment."""
        in_process, from_process = self._layer(self.in_process, PROCESS)
        if in_process and not self.name:
            return in_process, f"from {from_process}"
        in_file, from_file = self._layer(self.in_file, self.path.name)
        if in_process and in_file and in_process != in_file:
            self.faults.append(
                f"{from_process} ({in_process}) contradicts {from_file} ({in_file});"
                f" they differ in {_differing(in_process, in_file)};"
                f" unset {from_process.partition(' ')[0]} or make them equal"
            )
        if in_process:
            return in_process, f"from {from_process}"
        if in_file:
            return in_file, f"from {self.path.name}"
        if named := [key for key in LIBPQ_TARGET if self.environ.get(key)]:
            return self._with_service(
                f"{named[0]} in {PROCESS}", Dsn({})
            ), f"from {named[0]} in {PROCESS}"
        if self.name and not (from_process or from_file):
            self.faults.append(f"{self.path.name} has no POSTGRES_DSN")
        return None, "no DSN given: the embedded server"

    def _layer(self, values: Mapping[str, str], where: str) -> tuple[Dsn | None, str]:
        """Return the DSN of the process or the file, and its origin in words."""
        given = [f"{key} in {where}" for key in DSN_KEYS if key in values]
        dsns = [self._dsn(f"{key} in {where}", values[key]) for key in DSN_KEYS if key in values]
        if None not in dsns and dsns[1:] and dsns[0] != dsns[1]:
            self.faults.append(f"POSTGRES_DSN and DATABASE_URL differ in {where}; keep one of them")
        return (dsns or [None])[0], (given or [""])[0]

    def _dsn(self, origin: str, text: str) -> Dsn | None:
        if not text:
            return None
        names = [braced or alone for braced, alone in REFERENCE.findall(text)]
        try:
            parsed = dsn.parse(text)
        except ValueError as error:
            self.faults.append(f"{origin}: {REPLACED.format(names[0]) if names else error}")
            return None
        if meant := [name for name in names if name in self.in_file]:  # else it may be a password
            self.faults.append(f"{origin}: {REPLACED.format(meant[0])}")
            return None
        if origin.endswith(f" in {self.path.name}"):
            self._warn_if_readable_by_others(parsed)
        return self._with_service(origin, parsed)

    def _with_service(self, origin: str, parsed: Dsn) -> Dsn | None:
        try:
            return dsn.with_service(parsed, self.environ)
        except ValueError as error:
            self.faults.append(f"{origin}: {error}")
            return None

    def _warn_if_readable_by_others(self, parsed: Dsn) -> None:
        secret = any(part in parsed.parts for part in SECRET_PARTS)
        if secret and self.path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            warning = (
                f"{self.path.name} holds a password and others can read it:"
                f" chmod 600 {self.path.name}"
            )
            self.warnings += [warning] if warning not in self.warnings else []

    def _flag(self, key: str) -> bool:
        value = self._value(key).lower()
        if value not in TRUE + FALSE:
            self.faults.append(f"{self._origin(key)}: {value!r} is neither 1 nor 0")
        return value in TRUE

    def _milliseconds(self, key: str, default: str) -> int:
        value = self._value(key) or default
        time = milliseconds(value)
        if time is None:
            self.faults.append(
                f"{self._origin(key)}: {value!r} is not a duration such as 500ms, 2s or 1min"
            )
        return time or 0

    def _models(self) -> str:
        value = self._value("TARGET_METADATA")
        if value and not METADATA.fullmatch(value):
            self.faults.append(f"TARGET_METADATA: {value!r} is not of the form package.module:name")
        return value


def _differing(one: Dsn, other: Dsn) -> str:
    names = one.parts.keys() | other.parts.keys()
    return ", ".join(sorted(n for n in names if one.parts.get(n) != other.parts.get(n)))

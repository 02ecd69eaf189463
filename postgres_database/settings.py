"""What a command works on: the environment's name, its file and the process, read into one value."""

import configparser
import difflib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from postgres_database import dsn
from postgres_database.dsn import Dsn
from postgres_database.errors import ExpectedError

ROOT = Path(__file__).resolve().parent.parent

DSN_KEYS = ("POSTGRES_DSN", "DATABASE_URL")
KEYS = (
    *DSN_KEYS,
    "PROTECTED",
    "LOCK_TIMEOUT",
    "STATEMENT_TIMEOUT",
    "SCRATCH_DSN",
    "TARGET_METADATA",
)
LIBPQ_TARGET = ("PGHOST", "PGHOSTADDR", "PGSERVICE")

TRUE, FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
MILLISECONDS = {"": 1, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}


@dataclass(frozen=True)
class Settings:
    """One environment, read once and never changed."""

    root: Path
    """The repository: where alembic.ini and the env files are."""
    environment: str
    """The name that was asked for, or empty."""
    source: str
    """Where the DSN was found, in words."""
    target: Dsn | None
    """None stands for the embedded server."""
    target_metadata: str
    """Whose models these are: package.module:name."""
    protected: bool = False
    lock_timeout: int = 1000
    """Milliseconds that blocking DDL may wait for a lock; 0 is for ever."""
    statement_timeout: int = 0
    """Milliseconds that a statement may take; 0 is for ever."""
    scratch: Dsn | None = None
    """The server for scratch databases; None stands for the embedded one."""
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def label(self) -> str:
        """The name that people see for this environment."""
        return self.environment or ("default" if self.target else "embedded")

    @property
    def env_option(self) -> str:
        """What to add to a command so that it works on the same environment."""
        return f" --env {self.environment}" if self.environment else ""


def env_files(root: Path = ROOT) -> dict[str, Path]:
    """Return the environments that have a file, by name."""
    return {
        path.name.removeprefix(".env."): path
        for path in sorted(root.glob(".env.*"))
        if path.is_file() and path.name != ".env.example"
    }


def load(
    environment: str = "", *, root: Path = ROOT, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Read the settings of an environment.

    Args:
        environment: The name from the command line; empty means the variable ENV, or none.
        root: The repository.
        environ: The process environment; it is read, never changed.

    Raises:
        ExpectedError: Something in the settings is wrong; all faults are told at once.
    """
    name = environment or environ.get("ENV", "")
    if name and not re.fullmatch(r"[a-z0-9_-]+", name):
        raise ExpectedError(
            f"{name!r} is no name of an environment",
            cause="names are made of a-z, 0-9, _ and -"
            + ("" if environment else "; this one comes from the variable ENV"),
            hint="--env production"
            if environment
            else "unset ENV   (or name the environment by --env)",
        )
    path = root / (f".env.{name}" if name else ".env")
    in_process = {key: environ[key] for key in KEYS if key in environ}
    if name and not path.is_file() and not any(in_process.get(key) for key in DSN_KEYS):
        known = ", ".join(env_files(root)) or "none yet"
        raise ExpectedError(
            f"the environment {name!r} has no file {path.name}",
            cause=f"environments with a file: {known}",
            hint=f"cp .env.example {path.name}   (then set POSTGRES_DSN in it)",
        )
    return _Reader(root, name, path, in_process, environ).read()


class _Reader:
    """Collects values and faults, so that all faults can be told at once."""

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

    def read(self) -> Settings:
        target, source = self._target()
        scratch = self._dsn("SCRATCH_DSN", self._value("SCRATCH_DSN"))
        settings = Settings(
            root=self.root,
            environment=self.name,
            source=source,
            target=target,
            target_metadata=self._target_metadata(),
            protected=self._flag("PROTECTED"),
            lock_timeout=self._milliseconds("LOCK_TIMEOUT", "1s"),
            statement_timeout=self._milliseconds("STATEMENT_TIMEOUT", "0"),
            scratch=scratch,
            warnings=tuple(self.warnings),
        )
        if self.faults:
            raise ExpectedError(
                f"the settings of {self.name or 'the default environment'} are not usable",
                cause="\n".join(self.faults),
                hint=f"edit {self.path.name}   (every setting is explained in .env.example)",
            )
        return settings

    def _read_file(self) -> dict[str, str]:
        if not self.path.is_file():
            return {}
        try:
            read = dotenv_values(self.path, interpolate=False)
        except (OSError, UnicodeDecodeError) as error:
            raise ExpectedError(
                f"{self.path.name} cannot be read",
                cause=str(error),
                hint=f"ls -l {self.path}   (it must be a UTF-8 text that you may read)",
            ) from error
        for key in read:
            if key not in KEYS:
                near = difflib.get_close_matches(key, KEYS, n=1)
                meant = f"; did you mean {near[0]}?" if near else ""
                self.warnings.append(f"{self.path.name}: unknown setting {key}{meant}")
        return {key: value for key, value in read.items() if key in KEYS and value is not None}

    def _value(self, key: str) -> str:
        return self.in_process.get(key, self.in_file.get(key, "")).strip()

    def _origin(self, key: str) -> str:
        return (
            f"{key} in the process environment"
            if key in self.in_process
            else f"{key} in {self.path.name}"
        )

    def _target(self) -> tuple[Dsn | None, str]:
        """Choose the DSN: the process beats the file, but may not redirect a named environment."""
        process_key, process_dsn = self._layer(self.in_process, "the process environment")
        file_key, file_dsn = self._layer(self.in_file, self.path.name)
        if self.name and process_dsn and file_dsn and process_dsn != file_dsn:
            self.faults.append(
                f"{process_key} in the process environment ({self._shown(process_dsn)}) contradicts"
                f" {file_key} in {self.path.name} ({self._shown(file_dsn)}); unset {process_key}"
                " or make them equal"
            )
            return None, ""
        if process_dsn:
            return self._dsn(
                process_key, process_dsn
            ), f"from {process_key} in the process environment"
        if file_dsn:
            target = self._dsn(file_key, file_dsn)
            self._warn_if_readable_by_others(target)
            return target, f"from {self.path.name}"
        if named := [key for key in LIBPQ_TARGET if self.environ.get(key)]:
            return Dsn({}), f"from {named[0]} in the process environment"
        if self.name:
            self.faults.append(f"{self.path.name} has no POSTGRES_DSN")
        return None, "no DSN given: the embedded server"

    def _layer(self, values: Mapping[str, str], where: str) -> tuple[str, str]:
        """Return the DSN of one layer and the key that holds it."""
        found = [(key, values[key].strip()) for key in DSN_KEYS if values.get(key, "").strip()]
        if len({value for _, value in found}) > 1:
            self.faults.append(f"POSTGRES_DSN and DATABASE_URL differ in {where}; keep one of them")
        return found[0] if found else ("POSTGRES_DSN", "")

    def _dsn(self, key: str, text: str) -> Dsn | None:
        if not text:
            return None
        try:
            parsed, warnings = dsn.parse(text)
        except ValueError as error:
            self.faults.append(f"{self._origin(key)}: {error}")
            return None
        self.warnings += [f"{self._origin(key)}: {warning}" for warning in warnings]
        return parsed

    def _shown(self, text: str) -> str:
        try:
            return str(dsn.parse(text)[0])
        except ValueError:
            return "not readable"

    def _warn_if_readable_by_others(self, target: Dsn | None) -> None:
        others = stat.S_IRGRP | stat.S_IROTH
        if target and "password" in target.parts and self.path.stat().st_mode & others:
            self.warnings.append(
                f"{self.path.name} holds a password and others can read it: chmod 600 {self.path.name}"
            )

    def _flag(self, key: str) -> bool:
        value = self._value(key).lower()
        if value not in TRUE + FALSE:
            self.faults.append(f"{self._origin(key)}: {value!r} is neither 1 nor 0")
        return value in TRUE

    def _milliseconds(self, key: str, default: str) -> int:
        value = self._value(key) or default
        match = re.fullmatch(r"(\d+)\s*(ms|s|min|h)?", value)
        if not match:
            self.faults.append(
                f"{self._origin(key)}: {value!r} is no time such as 500ms, 2s or 1min"
            )
            return 0
        return int(match[1]) * MILLISECONDS[match[2] or ""]

    def _target_metadata(self) -> str:
        value = self._value("TARGET_METADATA") or _default_metadata(self.root)
        if not re.fullmatch(r"[\w.]+:[\w.]+", value):
            self.faults.append(f"TARGET_METADATA: {value!r} is not of the form package.module:name")
        return value


def _default_metadata(root: Path) -> str:
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(root / "alembic.ini", encoding="utf-8")
    return ini.get(
        "postgres_database", "target_metadata", fallback="postgres_database.models:metadata"
    )

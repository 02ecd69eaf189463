"""The versions of libraries without which nothing works; this imports none of them."""

import re
from importlib.metadata import PackageNotFoundError, version

from postgres_database.errors import ExpectedError

NEEDED = {"alembic": "1.20", "sqlalchemy": "2.1"}
"""The oldest that will do, as in pyproject.toml."""


def check() -> None:
    """Raise ExpectedError if a library is missing or too old."""
    faults = [fault for name, least in NEEDED.items() if (fault := _fault(name, least))]
    if faults:
        wanted = " ".join(f"'{name}>={least}'" for name, least in NEEDED.items())
        raise ExpectedError(
            "the libraries that are installed are not those that are needed",
            cause="\n".join(faults),
            hint=f"python -m pip install {wanted}   (or make install)",
        )


def _fault(name: str, least: str) -> str:
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"{name} is not installed; {least} or later is needed"
    return f"{name} is {found}; {least} or later is needed" if _parts(found) < _parts(least) else ""


def _parts(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)[:2]]

"""A project says for which engine it was set up; one that does not fit is refused before anything runs."""

import re
from pathlib import Path

import pytest
from checkouts import Checkout
from conftest import ROOT

from postgres_database import __version__
from postgres_database.errors import ExpectedError
from postgres_database.history import library_versions


def test_the_version_stands_in_three_places() -> None:
    """The package, the engine and the alembic.ini that new projects get say the same."""
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f"\nengine = {library_versions.ENGINE}\n" in (ROOT / "alembic.ini").read_text()


@pytest.mark.parametrize(
    ("engine", "what_next"),
    [
        ("", None),
        ("engine = 0.1", None),
        ("engine = 0.0", r"\$\{EDITOR:-vi\} alembic\.ini   \(engine = 0\.1, once .*'postgres-database==0\.0\.\*'\)"),
        ("engine = 0.10", r"python -m pip install 'postgres-database==0\.10\.\*'   \(in a clone: git pull\)"),
        ("engine = 1.0", r"python -m pip install 'postgres-database==1\.0\.\*'   \(in a clone: git pull\)"),
    ],
)  # fmt: skip
def test_an_engine_that_does_not_fit(tmp_path: Path, engine: str, what_next: str | None) -> None:
    """A project that needs another one says how to get it; one that says nothing is not asked."""
    (tmp_path / "alembic.ini").write_text(f"[postgres_database]\n{engine}\n")
    if what_next is None:
        library_versions.require_engine(tmp_path / "alembic.ini")
        return
    with pytest.raises(ExpectedError, match="do not fit together") as caught:
        library_versions.require_engine(tmp_path / "alembic.ini")
    assert re.fullmatch(what_next, caught.value.hint)


def test_every_command_asks(checkout: Checkout) -> None:
    """Also one that needs nothing else of the engine."""
    ini = checkout.root / "alembic.ini"
    ini.write_text(ini.read_text().replace("engine = 0.1", "engine = 7.0"))
    done = checkout.invoke("stop")
    assert done.returncode == 1
    assert "cause: alembic.ini says engine = 7.0, the engine is 0.1.0" in done.stderr

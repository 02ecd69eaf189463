"""Libraries that are too old are told at once, by their names."""

import re
import tomllib

import pytest
from conftest import ROOT

from postgres_database.errors import ExpectedError
from postgres_database.history import library_versions


def test_what_is_installed_will_do() -> None:
    """With the libraries of the lock file nothing is said."""
    library_versions.require_libraries()


def test_the_oldest_versions_are_those_of_the_package() -> None:
    """What is refused as too old is what the package does not accept."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        dependencies = tomllib.load(file)["project"]["dependencies"]
    bounds = dict(re.findall(r"^(\w+)>=([\d.]+),<", "\n".join(dependencies), re.MULTILINE))
    assert {name: bounds[name] for name in library_versions.NEEDED} == library_versions.NEEDED


def test_what_is_too_old_or_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """All faults are told in one error, with what to type."""
    found = {"alembic": "1.13.2", "sqlalchemy": "2.0.41rc1"}
    monkeypatch.setattr(library_versions, "version", found.__getitem__)
    with pytest.raises(ExpectedError) as caught:
        library_versions.require_libraries()
    assert caught.value.cause == "alembic is 1.13.2; 1.20 or later is needed"
    assert "pip install 'alembic>=1.20'" in caught.value.hint
    monkeypatch.undo()
    with pytest.raises(ExpectedError) as caught:
        library_versions.require_libraries({"no-such-library": "1.0"})
    assert caught.value.cause == "no-such-library is not installed; 1.0 or later is needed"

"""The root of a project: the nearest folder upward that has an alembic.ini, and never where the engine lies."""

import sys
from pathlib import Path

import pytest
from checkouts import Checkout

from postgres_database.server import root

COMMAND = (
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'postgres-database'; from postgres_database import tasks; tasks.main()",
)
"""The console script of the package, which needs no tasks.py."""


@pytest.mark.parametrize(
    ("start", "found"), [("", "."), ("src/deep", "."), ("src/inner/deep", "src/inner")]
)
def test_the_nearest_folder_with_an_alembic_ini(tmp_path: Path, start: str, found: str) -> None:
    """The search goes upward and ends at the first one; a folder of that name is none."""
    (tmp_path / "src" / "inner" / "deep").mkdir(parents=True)
    (tmp_path / "src" / "deep" / "alembic.ini").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "src" / "inner"):
        (folder / "alembic.ini").touch()
    assert root.find(tmp_path / start) == tmp_path / found


@pytest.mark.long
def test_a_command_works_from_a_subfolder(checkout: Checkout) -> None:
    """Whoever stands in a folder of the project works on the project, by either program."""
    relative = (checkout.root / "alembic.ini").read_text().replace("%(here)s/", "")
    (checkout.root / "alembic.ini").write_text(relative.replace("%(here)s", "."))
    folder = "postgres_database/models"
    for command in ((sys.executable, "-m", "invoke"), COMMAND):
        done = checkout.run(*command, "check", folder=folder, PYTHONPATH=str(checkout.root))
        assert (done.returncode, done.stderr) == (0, "")
        heads = checkout.run(*command, "heads", folder=folder, PYTHONPATH=str(checkout.root))
        assert heads.stdout.startswith("d92233541b7a")
    assert not [*(checkout.root / folder).glob(".*")]


def test_a_folder_of_no_project(tmp_path: Path, checkout: Checkout) -> None:
    """Where no folder upward has an alembic.ini, nothing is made, and the error says what to type."""
    (tmp_path / "elsewhere").mkdir()
    done = checkout.run(
        *COMMAND, "start", folder=str(tmp_path / "elsewhere"), PYTHONPATH=str(checkout.root)
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: this folder belongs to no project",
        f"cause: neither {tmp_path}/elsewhere nor a folder above it has an alembic.ini",
        "try:   postgres-database init   (or cd into the repository, or git checkout alembic.ini)",
    ]
    assert not [*(tmp_path / "elsewhere").iterdir()]

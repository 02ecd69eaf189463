"""docs/containers.md: what its Dockerfile copies suffices, and what it says of replicas and exit codes holds."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import Checkout, as_text
from conftest import ROOT, run_sql

from postgres_database.server.connection import Database

PAGE = (ROOT / "docs" / "containers.md").read_text()
DOCKERFILE = [
    line.partition(" ")[::2]
    for line in re.findall(r"```dockerfile\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()
]


def words(instruction: str) -> list[str]:
    return [each for name, text in DOCKERFILE if name == instruction for each in json.loads(text)]


class Image:
    """What the Dockerfile makes of a checkout; its libraries are those of the test."""

    def __init__(self, root: Path, context: Path, database: Database, scratch: Database) -> None:
        self.root = root
        self.environ = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/nonexistent",
            "POSTGRES_DSN": as_text(database.dsn),
            "SCRATCH_DSN": as_text(scratch.dsn),
        }
        root.mkdir()
        for name, text in DOCKERFILE:
            if name == "COPY":
                *sources, place = text.split()
                for source in sources:
                    if (context / source).is_dir():
                        shutil.copytree(context / source, root / place)
                    else:
                        shutil.copy(context / source, root / place)
            if name == "ENV":
                self.environ |= dict(re.findall(r"(\w+)=(\S+)", text))

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start a container of it: the entry point with these arguments, or with those of CMD."""
        _, *command = words("ENTRYPOINT")
        return subprocess.Popen(
            [sys.executable, *command, *(arguments or words("CMD"))],
            cwd=self.root,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Run a container; return its exit code and what it printed."""
        started = self.start(*arguments, **environ)
        out, err = started.communicate()
        return started.returncode, out, err


@pytest.fixture
def image(checkout: Checkout, database: Database, server: Database, tmp_path: Path) -> Image:
    return Image(tmp_path / "image", checkout.root, database, server)


def files(image: Image) -> set[Path]:
    return {*image.root.rglob("*")}


@pytest.mark.long
def test_replicas_upgrade_at_once(image: Image, database: Database) -> None:
    """One works, the others wait and end with 0; no file is written."""
    before = files(image)
    replicas = [image.start() for _ in range(3)]
    ends = [(*replica.communicate(), replica.returncode) for replica in replicas]
    assert [code for *_, code in ends] == [0, 0, 0], ends
    assert sum("now at head: " in out for out, *_ in ends) == 1, ends
    assert run_sql(database, "SELECT version_num FROM alembic_version") == [("d92233541b7a",)]
    for command in ("current", "history", "status"):
        assert image.run(command)[0] == 0
    assert image.run("downgrade", "--yes")[0] == 0
    assert files(image) == before


@pytest.mark.long
def test_exit_codes(image: Image) -> None:
    """1 without a confirmation that is needed, and where an older image meets a newer database; 0 for --yes."""
    code, _, said = image.run(PROTECTED="1")
    assert (code, "--yes" in said) == (1, True)
    assert image.run("upgrade", "--yes", PROTECTED="1")[0] == 0
    for script in (image.root / "migration" / "versions").glob("*d92233541b7a*"):
        script.unlink()
    (image.root / "migration" / "versions" / "added_column_to_file_meta_data.py").unlink(
        missing_ok=True
    )
    code, _, said = image.run()
    assert code == 1
    assert "d92233541b7a, which is not among the scripts" in said


def test_libraries_are_those_of_the_lock() -> None:
    """The image installs as make does."""
    (run,) = [text for name, text in DOCKERFILE if name == "RUN"]
    makefile = " ".join((ROOT / "Makefile").read_text().replace("\\\n", " ").split())
    flags = "--require-hashes --only-binary :all:"
    assert run == f"python -m pip install {flags} -r requirements.lock"
    assert flags in makefile

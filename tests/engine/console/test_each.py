"""One command on many environments."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from postgres_database.console import each

PROGRAM = """
import pathlib, sys, time
name = sys.argv[-1]
pathlib.Path(name).touch()
while name == "second" and not pathlib.Path("interrupted").exists():
    time.sleep(0.01)
print("first line", "last line", sep="\\n")
print("note of", name, file=sys.stderr)
sys.exit({"differs": 2, "fails": 1}.get(name, 0))
"""


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that leaves a file for each environment that it works on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(each, "_program", lambda: [sys.executable, "-c", PROGRAM])


@pytest.mark.parametrize(
    ("names", "code"),
    [(["a", "b"], 0), (["a", "differs"], 2), (["fails", "differs", "b"], 1)],
)
@pytest.mark.parametrize("whole", [False, True])
def test_each_gets_a_line_and_nothing_is_lost(
    capsys: pytest.CaptureFixture[str], names: list[str], code: int, *, whole: bool
) -> None:
    """The worst end is the exit code; what a command says on stderr is shown, also of one that ended well."""
    assert each.run(names, [], 2, whole=whole) == code
    shown = capsys.readouterr()
    width = max(map(len, names))
    end = "" if whole else "last line"
    lines = shown.out.splitlines()
    for name in names:
        assert f"{name:<{width}}  {'failed' if name == 'fails' else end}".rstrip() in lines
        assert f"note of {name}" in shown.err
    assert ("first line" in shown.out) is whole


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an interruption no other environment is begun."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    class Pool(ThreadPoolExecutor):
        def shutdown(self, *_: object, **options: bool) -> None:
            super().shutdown(wait=False, **options)
            Path("interrupted").touch()
            super().shutdown()

    monkeypatch.setattr(each, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(each, "say", interrupt)
    with pytest.raises(KeyboardInterrupt):
        each.run(["first", "second", "third", "fourth"], [], 1, whole=False)
    assert not Path("third").exists()

"""A script is another one when its text is, or that of a file that it names."""

from pathlib import Path

import pytest

from postgres_database.history import script_texts

SCRIPT = '"""Init"""\n\ndef upgrade():\n    op.execute_file(HERE / "rows.sql")\n'
TEXTS = {"a.py": SCRIPT, "rows.sql": "SELECT 1;\n", "a.sql": "SELECT 2;\n", "b.sql": "SELECT 3;\n"}


def written(folder: Path, texts: dict[str, bytes]) -> str:
    """Return the digest of the script a.py among these files."""
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_bytes(text)
    return script_texts.digests([folder / "a.py"])[folder / "a.py"]


@pytest.mark.parametrize(
    ("name", "text", "same"),
    [
        ("a.py", SCRIPT.replace("\n", "\r\n"), True),
        ("a.py", SCRIPT.replace("\n", "\r"), True),
        ("a.py", f"\ufeff{SCRIPT}", True),
        ("a.py", SCRIPT.replace(":\n", ": \t\n"), True),
        ("a.py", SCRIPT.rstrip("\n"), True),
        ("a.py", f"{SCRIPT}\n \n", True),
        ("rows.sql", "SELECT 1;\r\n", True),
        ("b.sql", "SELECT 4;", True),
        ("a.py", SCRIPT.replace("Init", "Begin"), False),
        ("a.py", SCRIPT.replace("    ", "  "), False),
        ("a.py", SCRIPT.replace("\n\n", "\n"), False),
        ("rows.sql", "SELECT 4;\n", False),
        ("a.sql", "SELECT 4;\n", False),
    ],
)
def test_what_counts_of_a_script(tmp_path: Path, name: str, text: str, *, same: bool) -> None:
    """What git and editors change by themselves does not count; any other change does."""
    texts = {file: content.encode() for file, content in TEXTS.items()}
    before = written(tmp_path / "before", texts)
    assert (written(tmp_path / "after", {**texts, name: text.encode()}) == before) == same


def test_digest_of_a_plain_script(tmp_path: Path) -> None:
    """Without other files it is what sha256sum prints."""
    digest = written(tmp_path / "x", {"a.py": b"pass\n"})
    assert digest == "9f56e761d79bfdb34304a012586cb04d16b435ef6130091a97702e559260a2f2"

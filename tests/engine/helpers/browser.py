"""Debian's chromium without a window: what a page looks like to people, and what its console says."""

import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--allow-file-access-from-files",
    "--enable-logging=stderr",
)
SECONDS = 60
MEASURE = """
<style>iframe { width: %dpx; height: 700px; border: 0 }</style><iframe src="page.html"></iframe><script>
window.onload = () => {
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  document.title = [root.scrollWidth, root.clientWidth].join(" ");
};
</script>
"""


def needs_browser() -> None:
    """Skip where there is no browser."""
    if not PROGRAM:
        pytest.skip("chromium is not installed (apt-get install chromium)")


def _run(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    with TemporaryDirectory() as home:
        return subprocess.run(
            [str(PROGRAM), *OPTIONS, f"--user-data-dir={home}", *options, page.as_uri()],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )


def dumped(page: Path) -> tuple[str, list[str]]:
    """Return the elements of a page as the browser understood it, and the lines of its console."""
    done = _run(page, "--dump-dom")
    return done.stdout, re.findall(r"CONSOLE.*", done.stderr)


def widths(text: str, folder: Path, width: int) -> tuple[int, int]:
    """Return how wide the content of a page is in a window, and how wide that shows it: equal if nothing overflows."""
    (folder / "page.html").write_text(text)
    around = folder / "around.html"
    around.write_text(MEASURE % width)
    title = re.search(r"<title>(\d+) (\d+)</title>", dumped(around)[0])
    assert title, "the page was not measured"
    return int(title[1]), int(title[2])


def picture(page: Path, place: Path, width: int, height: int) -> None:
    """Write a picture of a page as PNG."""
    _run(page, f"--screenshot={place}", f"--window-size={width},{height}", "--hide-scrollbars")

"""The picture of a terminal session in README.md, drawn from the console blocks that stand there.

`python tests/engine/helpers/session_picture.py` draws it again.
"""

import re
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[3]
PICTURE = ROOT / "docs" / "session.svg"
COMMANDS = ("make upgrade", "invoke revision", "invoke upgrade")
"""The beginnings of the commands that are shown; of each the first one."""
LINE, MARGIN, BAR = 20, 20, 34  # pixels
WIDTH = 900
WIDEST = 104  # characters
COLOURS = {"$": "#7ee787", "now at": "#3fb950", "proved": "#3fb950", "next:": "#d2a8ff"}
"""The beginning of a line → its colour."""
FONT = "font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
PLAIN = "#c9d1d9"


def lines() -> list[str]:
    """Return the lines of the session: the first block of each command, up to its next command."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    sessions = [
        part
        for block in blocks
        for part in re.findall(r"^\$ .*\n(?:[^$].*\n)*", block, re.MULTILINE)
    ]
    shown = [next(each for each in sessions if each.startswith(f"$ {word}")) for word in COMMANDS]
    return "\n".join(each for each in shown).splitlines()


def drawn() -> str:
    """Return the picture."""
    rows = lines()
    height = BAR + MARGIN + LINE * len(rows)
    texts = []
    for number, row in enumerate(rows):
        colour = next((c for start, c in COLOURS.items() if row.startswith(start)), PLAIN)
        text = row if len(row) <= WIDEST else f"{row[: WIDEST - 2]} …"
        shown = escape(text).replace(" ", "&#160;")
        y = BAR + MARGIN + LINE * number
        texts.append(f'<text x="{MARGIN}" y="{y}" fill="{colour}">{shown}</text>')
    dots = "".join(
        f'<circle cx="{MARGIN + 18 * n}" cy="17" r="6" fill="{colour}"/>'
        for n, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    said = f"{', '.join(COMMANDS)} in a terminal"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{said}">',
            f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#0d1117"/>',
            dots,
            f'<g style="{FONT}; font-size: 13.5px">',
            *texts,
            "</g>",
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(drawn())

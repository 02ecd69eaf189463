"""Texts cut to the room that they have in a picture; pure."""

from unicodedata import combining, east_asian_width


def width(text: str) -> int:
    """Return how many columns of a monospaced font a text takes: emoji and East Asian letters take two."""
    return sum(_width(letter) for letter in text)


def _width(letter: str) -> int:
    return 0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1


def fitted(text: str, room: int) -> str:
    """Return a text in one line; where it is wider than its room, the middle is left out.

    Names often differ at their ends only.
    """
    flat = " ".join(text.split())
    if width(flat) <= room:
        return flat
    head = _start(flat, (room - 1) // 2)
    tail = _start(flat[::-1], room - 1 - width(head))[::-1]
    return f"{head}…{tail}"


def _start(text: str, room: int) -> str:
    taken = 0
    for place, letter in enumerate(text):
        taken += _width(letter)
        if taken > room:
            return text[:place]
    return text

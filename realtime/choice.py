"""Which people count: the least score of a person, and the one who is followed (--select)."""

from __future__ import annotations

from realtime.errors import UsageError

MIN_SCORE = 0.33
"""Least score of a person, unless asked for otherwise: the least with which the bundled networks
find nobody on the pictures of COCO's val part that show none (engines/weights/README.md)."""

NOBODY_ELSE = ("largest", "center")
EVERYBODY = "none"


def parse_choice(text: str) -> str | int:
    """'none', 'largest', 'center' or the id that a text gives. Raises UsageError."""
    word = text.strip().lower()
    if word in (EVERYBODY, *NOBODY_ELSE):
        return word
    if word.isascii() and word.isdigit() and int(word) >= 1:
        return int(word)
    raise UsageError(f"--select {text}: expected largest, center, none or an id from 1")

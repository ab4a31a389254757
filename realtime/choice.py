"""Which people count: the least score of a person, and the one who is followed (--select)."""

from __future__ import annotations

from realtime.errors import UsageError

MIN_SCORE = 0.3
"""Least score of a person, unless asked for otherwise. How many people the bundled networks find
with it, and how many of them are false, is in engines/weights/README.md."""

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

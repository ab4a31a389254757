"""Which person is followed (--select)."""

from __future__ import annotations

from realtime.errors import UsageError

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

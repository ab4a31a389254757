"""What somebody probably meant who mistyped something."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def near(name: str, names: Iterable[str], cutoff: float = 0.7) -> str:
    """The name that looks most like this one, also in other letters' case; empty when none does.
    cutoff: 1 for equal names, 0 for any; see difflib."""
    by_small = {other.casefold(): other for other in names}
    found = difflib.get_close_matches(name.casefold(), by_small, 1, cutoff)
    return by_small[found[0]] if found else ""


def camera_number(text: str) -> int | None:
    """The number in "0" or "/dev/video0"; None for anything else."""
    match = re.fullmatch(r"(?:/dev/video)?([0-9]{1,4})", text)
    return int(match[1]) if match else None

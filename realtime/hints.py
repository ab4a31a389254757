"""What somebody probably meant who mistyped something."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

SYNONYMS = {
    "--camera": "--device", "--cam": "--device", "--webcam": "--device",
    "-i": "--input", "--video": "--input", "--source": "--input", "--image": "--input",
    "-o": "--output", "--out": "--output", "--save": "--output",
    "--csv": "--data", "--npz": "--data", "--mat": "--data", "--trc": "--data",
    "--model": "--pose", "--weights": "--pose", "--gpu": "--compute",
}  # fmt: skip
"""Options as other programs call them, where the names here do not look like them."""


def flag_meant(word: str, flags: Sequence[str]) -> str:
    """The one of these options that an unknown one was probably meant to be; else empty."""
    name = word.partition("=")[0].replace("_", "-")
    other = SYNONYMS.get(name, "")
    return other if other in flags else near(name, flags)


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

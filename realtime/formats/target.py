"""What --data asks for: a format and a place. Loads nothing heavy, for the command line."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from realtime.errors import UsageError
from realtime.hints import near

Format = Literal["jsonl", "json", "csv", "csv-wide", "npz", "mat", "coco", "openpose", "trc"]
FORMATS: tuple[str, ...] = get_args(Format)
SUFFIXES = {
    ".jsonl": "jsonl", ".json": "json", ".csv": "csv", ".npz": "npz", ".mat": "mat", ".trc": "trc",
}  # fmt: skip
ALLOWED = (
    f"expected a name ending in {', '.join(SUFFIXES)}, or csv-wide:FILE, coco:FILE, openpose:FOLDER"
)
OFFERED = (
    f"poses as {', '.join(SUFFIXES)}, or as FORMAT:FILE, where FORMAT is {', '.join(FORMATS[:-1])}"
    f" or {FORMATS[-1]} (openpose:FOLDER)"
)
"""For the help of an option that takes targets."""


@dataclass(frozen=True, slots=True)
class Target:
    """One --data: a format of FORMATS and where it goes."""

    format: str
    path: Path


def parse_target(text: str, option: str = "--data") -> Target:
    """[FORMAT:]FILE as --data takes it; a folder is for OpenPose. Raises UsageError."""
    name, rest = divided(text)
    path = Path(rest)
    if not name:
        _check_no_format(text, option)
        folder = text.endswith(("/", "\\")) or _is_folder(path)
        name = "openpose" if folder else SUFFIXES.get(path.suffix.lower(), "")
    if not name or not path.name.strip():
        raise UsageError(f"{option} {text}: {ALLOWED}")
    return Target(name, path)


def with_format(text: str, format_: str) -> str:
    """The same target with this format where the text names none before a colon. Raises
    UsageError."""
    if divided(text)[0]:
        return text
    _check_no_format(text, "--data")
    return f"{format_}:{text}"


def divided(text: str) -> tuple[str, str]:
    """The format before the colon, "" where there is none, and the rest."""
    name, colon, rest = text.partition(":")
    return (name.lower(), rest) if colon and name.lower() in FORMATS else ("", text)


def _check_no_format(text: str, option: str) -> None:
    """Raise UsageError for a word before a colon, which was meant as a format, unless there is a
    file of that whole name. A single letter is a drive of Windows."""
    word = re.match("([A-Za-z][A-Za-z_-]+):", text)
    if word and not os.path.lexists(text):
        found = near(word[1], FORMATS)
        meant = f"did you mean {found}?" if found else ALLOWED
        raise UsageError(f"{option} {text}: unknown format {word[1]}; {meant}")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False

"""What --data asks for: a format and a place. Loads nothing heavy, for the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from realtime.errors import UsageError

FORMATS = ("jsonl", "json", "csv", "csv-wide", "npz", "mat", "coco", "openpose", "trc")
SUFFIXES = {
    ".jsonl": "jsonl", ".json": "json", ".csv": "csv", ".npz": "npz", ".mat": "mat", ".trc": "trc",
}  # fmt: skip
ALLOWED = (
    f"expected a name ending in {', '.join(SUFFIXES)}, or csv-wide:FILE, coco:FILE, openpose:FOLDER"
)


@dataclass(frozen=True, slots=True)
class Target:
    """One --data: a format of FORMATS and where it goes."""

    format: str
    path: Path


def parse_target(text: str, option: str = "--data") -> Target:
    """[FORMAT:]FILE as --data takes it; a folder is for OpenPose. Raises UsageError."""
    name, colon, rest = text.partition(":")
    if not (colon and name.lower() in FORMATS):
        name, rest = "", text
    path = Path(rest)
    if not name:
        folder = text.endswith(("/", "\\")) or _is_folder(path)
        name = "openpose" if folder else SUFFIXES.get(path.suffix.lower(), "")
    if not name or not path.name.strip():
        raise UsageError(f"{option} {text}: {ALLOWED}")
    return Target(name.lower(), path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False

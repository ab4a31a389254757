"""Inputs that do not exist: what was probably meant."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from realtime.errors import InputError, UsageError
from realtime.hints import camera_number, near
from realtime.sources.container import shown

CAMERA_WORDS = ("webcam", "camera", "cam", "usb")
LISTED = 10_000
"""Names of a folder that are compared with a missing one, at most."""


def check_input(name: str) -> bool:
    """Whether the path exists; False for a pattern with * or ?. Raises UsageError or InputError
    for anything else that does not exist, saying what may have been meant."""
    if not name.strip():
        raise UsageError("--input is empty; give a video, URL, folder, glob, image or demo")
    number = camera_number(name)
    try:
        Path(name).stat()
    except (OSError, ValueError) as error:
        reason = error
    else:
        if number is None or name.isdigit():
            return True
        raise UsageError(f"--input {name}: for a camera use --device {number}")
    if number is not None or name.lower() in CAMERA_WORDS:
        raise UsageError(f"--input {name}: no such file; for a camera use --device {number or 0}")
    _check_no_address(name)
    if any(sign in name for sign in "*?"):
        return False
    raise InputError(f"{shown(name)}: {_missing(Path(name), reason)}")


def _check_no_address(name: str) -> None:
    """Raise InputError for what was meant as an address; without its end, which may hold a
    password."""
    if match := re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]+):/", name):
        scheme = match[1]
        raise InputError(f"{scheme}:/...: no such file; an address is written {scheme}://HOST/...")
    drive = re.match(r"[A-Za-z]:\\", name)
    if not drive and (match := re.fullmatch(r"[^/@]+:[^/@]*(@.*)", name)):
        raise InputError(f"...{shown(match[1])}: no such file; an address begins with rtsp://")


def _missing(path: Path, error: Exception) -> str:
    """Why a path cannot be opened, and the name of its folder that is most like it."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOENT, errno.ENOTDIR):
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if path.is_symlink():
        return "is a link to nothing"
    try:
        with os.scandir(path.parent) as entries:
            names = [Path(entry.name) for entry, _ in zip(entries, range(LISTED))]
    except OSError:
        return f"no such file; there is no folder {shown(path.parent)}"
    stem = near(path.stem, {other.stem for other in names})
    if found := near(path.name, [other.name for other in names if other.stem == stem], 0.0):
        return f"no such file; did you mean {shown(path.with_name(found))}?"
    return "no such file or folder"

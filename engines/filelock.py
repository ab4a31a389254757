"""Files that one process holds at a time; the system takes them back when that process ends."""

from __future__ import annotations

import errno
import sys
from typing import IO

TAKEN = BlockingIOError, PermissionError
"""Raised where another one holds the file; the second one on Windows."""


def take(handle: IO[bytes]) -> None:
    """Hold an open file until it is closed. Raises one of TAKEN, or another OSError where files
    cannot be held."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def wait_for(handle: IO[bytes]) -> None:
    """As take, but waits for whoever holds the file; signals are handled meanwhile."""
    if sys.platform == "win32":
        import msvcrt

        while True:
            try:
                msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)
                break
            except OSError as error:  # it gives up after ten seconds
                if error.errno != errno.EDEADLK:
                    raise
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)

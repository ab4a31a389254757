"""Files that are there whole or not at all, also after a crash or on a full disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, sleep

from realtime.errors import OutputError

PARTIAL = ".part"
SHARED = os.name != "nt"
"""Whether a file that somebody has open can be replaced."""
PATIENCE = 1.0
"""Seconds that replacing a file is tried where not."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an OSError into OutputError, one line that names path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written: {reason}; what was there is kept") from error


def write(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on the disk. Raises OSError."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        sync(file.fileno())


def sync(file: int) -> None:
    """Have the disk take what was written to this descriptor. Raises OSError, but not where the
    file system knows no such thing."""
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can say so."""
    if os.name == "nt":  # folders cannot be opened there
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        sync(number)
    finally:
        os.close(number)


def move(partial: Path, path: Path) -> None:
    """Give partial the name of path, which goes. On Windows that cannot be while a reader or a
    virus scanner has one of them open, which does not last. Raises OSError."""
    end = perf_counter() + PATIENCE
    while True:
        try:
            partial.replace(path)
            return
        except PermissionError:
            if SHARED or perf_counter() > end:
                raise
            sleep(PATIENCE / 50)


def replace(path: Path, data: bytes) -> None:
    """Put data in the place of path, which holds the old or the new content at any moment.

    Raises OutputError.
    """
    replace_by(path, lambda partial: write(partial, data))


def replace_by(path: Path, make: Callable[[Path], None]) -> None:
    """Like replace, of a file that make(temporary path) writes itself. Raises OutputError."""
    partial = path.with_name(path.name + PARTIAL)
    with writing(path):
        try:
            make(partial)
            move(partial, path)
            sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)

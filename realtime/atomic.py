"""Files that are there whole or not at all, also after a crash or on a full disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from realtime.errors import OutputError

PARTIAL = ".part"


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
            partial.replace(path)
            sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)

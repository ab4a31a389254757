"""Output files: checked before anything is written, under their final names from the start.

The rules. An existing file is replaced only on request, and then renamed to NAME.bak, which is
removed when the run ends cleanly (Run.complete) and otherwise stays, and that is said; it stays as
well when it has changed meanwhile, because another run is writing it. A NAME.bak that is already
there belongs to an earlier run that did not end; it is never touched, the next free of NAME.bak2,
NAME.bak3, ... is taken instead. A link is replaced as a link: what it points to stays as it is.
Folders, pipes, devices and links to nothing are refused. A run that wrote nothing leaves everything
as it was.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from math import inf
from pathlib import Path
from time import monotonic

from realtime.atomic import sync
from realtime.errors import OutputError, UsageError

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks at what the disk has left."""
LONGEST_NAME = 255 - len("..part")
"""Bytes: what is put together at the end gets this around its name meanwhile."""


def check_not_input(output: Path, inputs: Sequence[Path]) -> None:
    """Raise UsageError when output is one of the inputs, also by way of a link."""
    for source in inputs:
        try:
            same = output.samefile(source)
        except (OSError, ValueError):  # one of them does not exist or is no name
            continue
        if same:
            raise UsageError(f"{output}: this is the input {source}; give the output another name")


def check_names(outputs: Sequence[Path]) -> None:
    """Raise UsageError when two outputs are the same file."""
    if len(set(map(_absolute, outputs))) < len(outputs):
        names = ", ".join(sorted(map(str, outputs)))
        raise UsageError(f"two outputs have the same name: {names}")


def _absolute(path: Path) -> Path:
    """A link to a folder is that folder, one to a file is replaced itself."""
    try:
        return path.resolve() if path.is_dir() else path.parent.resolve() / path.name
    except OSError:  # the current folder is gone
        return path


def check_writable(path: Path, overwrite: bool) -> None:
    """Raise OutputError when a file cannot be created here; writes nothing."""
    try:
        mode: int | None = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = None
    except OSError as error:
        raise OutputError(f"{path}: cannot be created: {error.strerror}") from error
    if mode is not None:
        _check_existing(path, mode, overwrite)
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise OutputError(f"{path}: the name is too long, at most {LONGEST_NAME} bytes; shorten it")
    folder = path.parent
    if not folder.exists():
        raise OutputError(f"{path}: there is no folder {folder}; create it first")
    if not folder.is_dir():
        raise OutputError(f"{path}: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: no permission to create files in {folder}")


def _check_existing(path: Path, mode: int, overwrite: bool) -> None:
    if stat.S_ISLNK(mode) and not path.exists():
        raise OutputError(f"{path}: is a link to nothing; remove it or give another name")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give the name of a file")
    if not path.is_file():
        raise OutputError(f"{path}: is not an ordinary file; give another name")
    if not overwrite:
        raise OutputError(f"{path}: exists; use --overwrite to replace it")


class OutputFile:
    """A file created at once, unbuffered: what write() was given is out of this process.

    Ended by one of commit(), keep() and discard(); further calls do nothing. backup is where the
    old file waits, None when there was none. Raises OutputError.
    """

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        check_writable(path, overwrite)
        self.path = path
        self.backup = set_aside(path) if path.exists() else None
        self._old = _state(self.backup)
        try:
            self.raw = path.open("xb", buffering=0)
        except OSError as error:
            self._restore()
            raise OutputError(f"{path}: cannot be created: {error.strerror}") from error
        state = self._stat()
        self._links = state.st_nlink if state else 0  # 0: the file system does not count them

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of data at the file's position. Raises OSError."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.raw.write(rest) or 0 :]

    @property
    def size(self) -> int:
        """Bytes in the file; 0 where the disk does not answer any more."""
        state = self._stat()
        return state.st_size if state else 0

    @property
    def gone(self) -> bool:
        """Whether somebody has removed the file, or its folder or disk, which writing may not
        notice."""
        state = None if self.raw.closed else self._stat()
        return not self.raw.closed and (state is None or state.st_nlink == 0 < self._links)

    def _stat(self) -> os.stat_result | None:
        with suppress(OSError):
            return os.fstat(self.raw.fileno())
        return None

    def removed(self, lost: int) -> OutputError:
        """The error of a file that is gone, with so many frames."""
        text = "was removed while it was written and is lost; let it be until the run has ended"
        return OutputError(f"{self.path}: {text}", lost)

    def cut(self, size: int) -> None:
        """Drop what lies behind the first size bytes, if the disk still answers."""
        with suppress(OSError):
            self.raw.truncate(size)
            self.raw.seek(size)

    def commit(self) -> None:
        """The file is good: the old one goes."""
        self._end()
        if self.backup and _state(self.backup) not in (None, self._old):
            logger.warning("%s: was written to meanwhile, by another run? It is kept", self.backup)
        elif self.backup:
            self.backup.unlink(missing_ok=True)
        self.backup = None

    def keep(self) -> None:
        """The run failed or was broken off: this file and the old one stay."""
        self._end()
        if self.backup:
            tell_kept(self.path, self.backup)
            self.backup = None

    def discard(self) -> None:
        """Nothing was written: the file goes, the old one comes back."""
        if self.gone:  # what has its name now is somebody else's
            self.keep()
        elif not self.raw.closed:
            self.raw.close()
            self.path.unlink(missing_ok=True)
            self._restore()

    def _end(self) -> None:
        """Close; what was written survives a power cut from here on. Raises OutputError."""
        if self.raw.closed:
            return
        try:
            with self.raw:
                sync(self.raw.fileno())
        except OSError as error:
            text = f"{self.path}: the disk did not take all of it: {error.strerror}"
            raise OutputError(text) from error

    def _restore(self) -> None:
        if self.backup:
            self.backup.rename(self.path)
            self.backup = None


def _state(path: Path | None) -> tuple[int, int] | None:
    """What changes when somebody writes to a file; None without one."""
    try:
        found = path.stat() if path else None
    except OSError:
        found = None
    return (found.st_size, found.st_mtime_ns) if found else None


class Room:
    """What the disk of a folder has left, looked at every second. least: bytes that must be left,
    0 for no limit."""

    def __init__(self, folder: Path, least: int, clock: Callable[[], float] = monotonic) -> None:
        self._folder, self._least, self._clock = folder, least, clock
        self._looked = -inf

    def lacking(self) -> str:
        """What is wrong when there is less; "" while there is not, and between two looks."""
        now = self._clock()
        if not self._least or now - self._looked < LOOK_EVERY:
            return ""
        self._looked = now
        free = free_bytes(self._folder)
        if free is None or free >= self._least:
            return ""
        return f"the disk has {free >> 20} MiB left (--min-free {self._least >> 20})"


def free_bytes(folder: Path) -> int | None:
    """Bytes the disk of this folder has left for us; None where that cannot be told."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def tell_kept(path: Path, old: Path) -> None:
    """Say where the old file or folder is that waits beside a new one that is not whole."""
    logger.warning("%s: ends early; what was there before is kept as %s", path, old)


def set_aside(path: Path) -> Path:
    """Rename the file to the first free backup name, and return that."""
    names = (
        path.with_name(f"{path.name}.bak{number if number > 1 else ''}") for number in count(1)
    )
    backup = next(name for name in names if not os.path.lexists(name))
    try:
        return path.rename(backup)
    except OSError as error:
        raise OutputError(f"{path}: cannot be renamed to {backup}: {error.strerror}") from error

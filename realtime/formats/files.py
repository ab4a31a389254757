"""How the formats reach the disk.

Formats that are lines (JSON Lines, CSV) are written under their final name as the run goes, so
that they can be read after a kill. The others are collected in nameless temporary files beside
the output, so that memory does not grow with the length of the run; the output itself appears, as
a whole, when the run ends, and not at all when the process is killed. That may take minutes after
hours: whoever ends the run waits for as long as it gets on.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.atomic import move, sync
from realtime.errors import OutputError
from realtime.records import PosedFrame
from realtime.sinks.base import Keeps
from realtime.sinks.outfile import (
    LOOK_EVERY,
    OutputFile,
    check_writable,
    free_bytes,
    set_aside,
    tell_kept,
)

SMALL, SPARE = 2**20, 2**23
"""Bytes: below the first, what is collected finds room; so much more than that is kept free."""


class LineFile:
    """A file that grows by whole pieces, one for each frame; see OutputFile. Raises OutputError."""

    def __init__(self, path: Path, overwrite: bool) -> None:
        self._file = OutputFile(path, overwrite)
        self._pieces = 0

    def write(self, data: bytes) -> None:
        """Append all of data or nothing."""
        file = self._file
        if file.gone:
            raise self._removed()
        size = file.size
        try:
            file.write(data)
        except OSError as error:
            file.cut(size)  # no half line
            raise OutputError(
                f"{file.path}: cannot write more after {size} bytes: {error.strerror}"
            ) from error
        self._pieces += 1

    def close(self, clean: bool = True) -> None:
        gone = self._file.gone
        if not self._pieces:
            self._file.discard()
        elif clean and not gone:
            self._file.commit()
        else:
            self._file.keep()
        if gone and self._pieces:
            raise self._removed()

    def _removed(self) -> OutputError:
        lost, self._pieces = self._pieces, 0
        return self._file.removed(lost)


class Spool:
    """A nameless temporary file beside the output. Raises OutputError when it cannot be made."""

    def __init__(self, output: Path) -> None:
        try:
            self._file: Any = tempfile.TemporaryFile(  # noqa: SIM115
                dir=output.parent, buffering=0
            )
        except OSError as error:
            text = f"{output}: no temporary file beside it: {error.strerror}"
            raise OutputError(text) from error
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append all of data. Raises OSError."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self.size += len(data)

    def cut(self, size: int) -> None:
        """Drop what lies behind the first size bytes, if the disk still answers."""
        with suppress(OSError):
            self._file.truncate(size)
            self._file.seek(size)
        self.size = size

    def copy_to(self, out: BinaryIO) -> None:
        self._file.seek(0)
        shutil.copyfileobj(self._file, out, 2**20)

    def lines(self) -> Iterator[bytes]:
        """What was written, line by line."""
        with open(os.dup(self._file.fileno()), "rb") as file:  # noqa: PTH123
            file.seek(0)
            yield from file

    def rows(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """What was written, as an array on the disk."""
        if not self.size:
            return np.zeros(0, dtype)
        return np.memmap(self._file, dtype, "r", shape=(self.size // dtype.itemsize,))

    def close(self) -> None:
        self._file.close()


class Form(Protocol):
    """One format that is put together at the end."""

    @property
    def spools(self) -> tuple[Spool, ...]: ...

    def add(self, item: PosedFrame) -> None:
        """Keep a frame in the spools. Raises OSError."""

    def finish(self, out: BinaryIO) -> list[str]:
        """Write the file; notes for the report. Raises OSError, ValueError when it cannot hold
        that much."""


class _Growing(io.BufferedWriter):
    """A new file that says of each piece that it got on."""

    PIECE = 2**20

    def __init__(self, path: Path, alive: Callable[[], None]) -> None:
        super().__init__(io.FileIO(path, "w"))
        self._alive = alive

    def write(self, data: Any) -> int:
        whole = memoryview(data).cast("B")
        for start in range(0, len(whole), self.PIECE):
            super().write(whole[start : start + self.PIECE])
            self._alive()
        return len(whole)


class SpooledSink:
    """A sink for a form; see the module's text. alive: told of progress while the file is put
    together, with True before waiting for the disk. Raises OutputError."""

    wants_picture = False
    keeps: Keeps = "file"
    alive: Callable[[bool], None] = staticmethod(lambda waits: None)

    def __init__(self, name: str, path: Path, form: Form, overwrite: bool) -> None:
        self.name, self.notes = name, list[str]()
        self._path, self._form, self._overwrite = path, form, overwrite
        self._frames = 0
        self._looked = monotonic()
        self._closed = False

    def write(self, item: PosedFrame) -> None:
        sizes = [spool.size for spool in self._form.spools]
        self._check_room(sum(sizes))
        try:
            self._form.add(item)
        except OSError as error:
            for spool, size in zip(self._form.spools, sizes, strict=True):
                spool.cut(size)
            text = f"{self._path}: cannot collect more after {self._frames} frames"
            raise OutputError(f"{text}: {error.strerror}") from error
        self._frames += 1

    def _check_room(self, size: int) -> None:
        """Stop while the disk still has room for the file that so many bytes will become."""
        now = monotonic()
        if size < SMALL or now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        free = free_bytes(self._path.parent)
        if free is not None and free < size + SPARE:
            text = f"{self._path}: cannot collect more after {self._frames} frames"
            raise OutputError(f"{text}: the {free >> 20} MiB left are needed to write the file")

    def close(self, clean: bool = True) -> None:
        """Put the file together from what was collected, also after an error."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._frames:
                self._finish(clean)
        finally:
            for spool in self._form.spools:
                spool.close()

    def _finish(self, clean: bool) -> None:
        part = self._path.with_name(f".{self._path.name}.part")
        try:
            with _Growing(part, lambda: self.alive(False)) as out:
                self.notes += self._form.finish(out)
                out.flush()
                self.alive(True)
                sync(out.fileno())
                self.alive(False)
            if os.path.lexists(self._path) and not (clean and self._overwrite):
                self._keep(set_aside(self._path), clean)
            move(part, self._path)
        except (OSError, ValueError) as error:
            part.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"{self._path}: cannot be written: {reason}", self._frames) from error

    def _keep(self, old: Path, clean: bool) -> None:
        """Say where the old file is: that of a run that ends early, or one that came meanwhile."""
        if clean:
            self.notes.append(f"{self._path}: the old file is {old}")
        else:
            tell_kept(self._path, old)


def spools(path: Path, overwrite: bool, count: int = 1) -> tuple[Spool, ...]:
    """Temporary files for an output that can be written later. Raises OutputError."""
    check_writable(path, overwrite)
    return tuple(Spool(path) for _ in range(count))

"""A folder of results: many files of one kind, one after the other."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from itertools import count
from pathlib import Path

from realtime.atomic import move
from realtime.errors import OutputError
from realtime.sinks.outfile import tell_kept

PART = ".part"
"""What a file is called until it is whole; a killed run leaves one."""
LONGEST = 200
"""Bytes of a plain name: number, ending and 255 at most."""


class ResultFolder:
    """Takes files whose names end in ending; each appears as a whole.

    The folder is made when missing. One with files is refused; with overwrite, one that holds
    nothing but files with this ending waits as FOLDER.bak until the run has ended cleanly. files:
    how many were written. Raises OutputError.
    """

    def __init__(self, folder: Path, ending: str, overwrite: bool) -> None:
        self.folder, self.files = folder, 0
        self._ending, self._closed = ending, False
        _check(folder, ending, overwrite)
        try:
            (folder / PART).unlink(missing_ok=True)
            self._backup = _set_aside(folder) if folder.exists() and any(folder.iterdir()) else None
            self._made = not folder.exists()
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error

    def write(self, stem: str, data: bytes) -> None:
        """Add STEM + ending. Raises OutputError."""
        path = self.folder / f"{stem}{self._ending}"
        part = self.folder / PART
        try:
            part.write_bytes(data)
            move(part, path)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
        self.files += 1

    def close(self, clean: bool = True) -> None:
        """Let the old folder go after a clean run; without a file all is as it was before. What
        others have put into one of them meanwhile (.DS_Store) stays there."""
        if self._closed:
            return
        self._closed = True
        if not self.files:
            self._undo()
        elif self._backup and not clean:
            tell_kept(self.folder, self._backup)
        elif self._backup:
            with suppress(OSError):  # which says that it is not empty, or gone already
                for path in files_in(self._backup, self._ending):
                    path.unlink(missing_ok=True)
                self._backup.rmdir()

    def _undo(self) -> None:
        try:
            if self._made:
                self.folder.rmdir()
            if self._backup:
                self._backup.rename(self.folder)
        except OSError:
            if self._backup:
                tell_kept(self.folder, self._backup)


def files_in(folder: Path, ending: str) -> list[Path]:
    """The files of a folder whose names end so, in their order."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(ending))


def plain(name: str) -> str:
    """A name for files: letters, digits, point, dash and underscore."""
    text = re.sub(r"[^\w.-]+", "_", name).strip("._") or "poses"
    return os.fsencode(text)[:LONGEST].decode(errors="ignore")


def _check(folder: Path, ending: str, overwrite: bool) -> None:
    try:
        names = [path.name for path in folder.iterdir() if path.name != PART]
    except FileNotFoundError:
        if not folder.parent.is_dir():
            text = f"{folder}: there is no folder {folder.parent}; create it first"
            raise OutputError(text) from None
        names = []
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used as a folder: {error.strerror}") from error
    if names and folder.is_symlink():
        raise OutputError(f"{folder}: is a link to a folder with files; give another name")
    if any(not name.endswith(ending) for name in names):
        raise OutputError(f"{folder}: holds other files; give a new folder")
    if names and not overwrite:
        raise OutputError(f"{folder}: holds results already; use --overwrite to replace them")


def _set_aside(folder: Path) -> Path:
    names = (folder.with_name(f"{folder.name}.bak{n if n > 1 else ''}") for n in count(1))
    return folder.rename(next(name for name in names if not name.exists()))

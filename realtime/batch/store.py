"""Where results go: a folder of this machine (or NFS), or a place that fsspec knows by a URL."""

from __future__ import annotations

import errno
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from realtime import atomic
from realtime.errors import InputError, ModelError, OutputError
from realtime.masking import mask_credentials

INSTALL = 'pip install "posestream[cluster]"'
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS)


def is_url(text: str) -> bool:
    """Whether a place is for fsspec: s3://..., memory://..., file://..."""
    return "://" in text


def url_to_fs(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it. Raises ModelError without the library
    that it takes, InputError for an address that means nothing."""
    try:
        import fsspec

        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        text = f"{mask_credentials(url)}: {error}; {INSTALL}, and what fsspec asks for"
        raise ModelError(text) from error
    except Exception as error:  # each kind of place has its own
        raise InputError(f"{mask_credentials(url)}: {error}") from error
    return fs, str(path)


class Store(Protocol):
    """Small files by name ("sub/walk.mp4.jsonl"). A file is there whole or not at all."""

    def read(self, name: str) -> bytes | None:
        """What a file holds, None when it is not there. Raises OutputError."""

    def write(self, name: str, data: bytes) -> None:
        """Put data under a name, in the place of what was there. Raises OutputError."""

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""

    def remove(self, name: str) -> None:
        """Delete a file, if it is there. Raises OutputError."""


def open_store(out: str) -> Store:
    """The place for results; folders are made as needed. Raises OutputError."""
    return UrlStore(out) if is_url(out) else LocalStore(Path(out))


class LocalStore:
    """A folder. See Store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._make(folder)

    def read(self, name: str) -> bytes | None:
        path = self._folder / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"{path}: cannot be read: {error.strerror}") from error

    def write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        self._make(path.parent)
        atomic.replace(path, data)

    def has(self, name: str) -> bool:
        return (self._folder / name).is_file()

    def remove(self, name: str) -> None:
        path = self._folder / name
        if not path.exists():
            return
        with atomic.writing(path):
            path.unlink()
            if path.parent != self._folder and not any(path.parent.iterdir()):
                path.parent.rmdir()

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error


class UrlStore:
    """A place of fsspec: written under another name and renamed. See Store."""

    def __init__(self, url: str) -> None:
        self._fs, root = url_to_fs(url)
        self._root = PurePosixPath(root)

    def read(self, name: str) -> bytes | None:
        try:
            data: bytes = self._fs.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise OutputError(f"{self._path(name)}: cannot be read: {error}") from error
        return data

    def write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        try:
            self._fs.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
            self._fs.pipe_file(path + atomic.PARTIAL, data)
            self._fs.mv(path + atomic.PARTIAL, path)
        except Exception as error:  # each kind of place has its own
            raise OutputError(f"{path}: cannot be written: {error}") from error

    def has(self, name: str) -> bool:
        return bool(self._fs.isfile(self._path(name)))

    def remove(self, name: str) -> None:
        try:
            self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            pass
        except Exception as error:
            raise OutputError(f"{self._path(name)}: cannot be removed: {error}") from error

    def _path(self, name: str) -> str:
        return str(self._root / name)

"""Fetches public weights into the cache: download, verify, convert, and only then keep."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import TextIO

from engines import importers
from engines.cache import cache_dir, direct, locked, matches, open_cached, store, unwritable
from engines.download import Wanted, discard, fetch
from engines.identify import describe, read
from engines.published import PUBLISHED, Published
from realtime.errors import ModelError
from realtime.hints import near


def known(name: str) -> Published:
    """The published weights of that name. Raises ModelError, with what may have been meant."""
    if name in PUBLISHED:
        return PUBLISHED[name]
    meant = near(name, PUBLISHED)
    raise ModelError(
        f"no weights called {name!r}; "
        + (f"did you mean {meant}?" if meant else "posestream-engines list names them")
    )


def pull(entry: Published, timeout: float = 30.0) -> tuple[Path, bool]:
    """The cached file, and whether it was fetched now; weights that are there and unchanged are
    not fetched again.

    Raises ModelError; the cache is then as before, except that the beginning of a download that
    broke off may be kept to go on with.
    """
    importers.check_installed(entry)
    folder = cache_dir()
    with locked(folder):
        try:
            return open_cached(entry).path, False
        except ModelError:
            pass  # not there or changed: that is what pull is for
        part = folder / f"{entry.name}.part"
        bar = Bar(entry.name, sys.stderr)
        try:
            fetch(Wanted(entry.name, entry.url, entry.size, entry.exact), part, bar, timeout)
        finally:
            bar.close()
        try:
            return _keep(entry, part), True
        except OSError as error:
            raise unwritable(folder, error) from error
        finally:
            discard(part)


def _keep(entry: Published, part: Path) -> Path:
    """Move a whole download to its place in the cache. Raises ModelError or OSError."""
    data = importers.unpacked(entry, part) if entry.member else part.read_bytes()
    if not matches(data, entry.digest):
        raise ModelError(_mismatch(entry, data))
    if direct(entry):
        describe(part, data)
        return store(entry, part, ".onnx")
    if entry.member:
        part.write_bytes(data)
    made = part.with_name(f"{entry.name}.import.part")
    try:
        suffix = importers.convert(entry, part, made)
        describe(made, read(made))
        return store(entry, made, suffix)
    finally:
        made.unlink(missing_ok=True)


def _mismatch(entry: Published, data: bytes) -> str:
    kind = entry.digest.partition(":")[0].upper()
    what = "a web page" if data[:512].lstrip()[:1] == b"<" else "not the published file"
    if data.startswith(b"version https://git-lfs"):
        what = "only a pointer to the file"
    return (
        f"{entry.name}: what came from {entry.url} is {what} (its {kind} is another one); not kept"
    )


class Bar:
    """Rewrites one line of a terminal, at most five times a second; silent elsewhere."""

    WIDTH = 30

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name, self._stream = name, stream
        self._enabled = stream.isatty()
        self._start, self._first, self._next = perf_counter(), -1, 0.0

    def __call__(self, there: int, total: int | None) -> None:
        """there of total bytes are here; total is None when not known."""
        now = perf_counter()
        if self._first < 0:
            self._start, self._first = now, there
        if self._enabled and now >= self._next:
            self._next = now + 0.2
            self._stream.write("\r\x1b[K" + self.line(there, total, now - self._start))
            self._stream.flush()

    def line(self, there: int, total: int | None, seconds: float) -> str:
        """For example "pose-resnet18-coco [####....] 12.1 of 57.0 MB, 3.4 MB/s"."""
        rate = (there - max(self._first, 0)) / 1e6 / seconds if seconds > 0 else 0.0
        if not total:
            return f"{self._name} {there / 1e6:.1f} MB, {rate:.1f} MB/s"
        filled = min(self.WIDTH, self.WIDTH * there // total)
        bar = "#" * filled + "." * (self.WIDTH - filled)
        return f"{self._name} [{bar}] {there / 1e6:.1f} of {total / 1e6:.1f} MB, {rate:.1f} MB/s"

    def close(self) -> None:
        if self._enabled:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._enabled = False

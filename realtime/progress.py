"""A progress line with the time left, for people at a terminal."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from time import perf_counter

from realtime.console import CLEAR


class Progress:
    """Rewrites one line on standard error, at most five times a second; silent elsewhere.

    total: how many frames will come, None when not known.
    """

    WIDTH = 30

    def __init__(self, total: int | None, enabled: bool) -> None:
        self._total = total
        self._enabled = enabled and sys.stderr.isatty()
        self._start = perf_counter()
        self._next = 0.0
        self._part = self._from = 0

    def update(self, done: int, part: int = 0) -> None:
        """done: the place in the source. part: changes when somebody has sought in it."""
        now = perf_counter()
        if part != self._part:
            self._part, self._from, self._start = part, done, now
        if self._enabled and now >= self._next:
            self._next = now + 0.2
            sys.stderr.write(CLEAR + on_one_line(self.line(done, now - self._start)))
            sys.stderr.flush()

    def line(self, done: int, seconds: float) -> str:
        """For example "[######........] 120/300  58.1 fps  3 s left"."""
        rate = (done - self._from) / seconds if seconds > 0 else 0.0
        if not self._total:
            return f"{done} frames  {rate:.1f} fps"
        filled = min(self.WIDTH, self.WIDTH * done // self._total)
        bar = "#" * filled + "." * (self.WIDTH - filled)
        left = f"{duration(max(0, self._total - done) / rate)} left" if rate else ""
        return f"[{bar}] {done}/{self._total}  {rate:.1f} fps  {left}"

    def clear(self) -> None:
        """Take the line away, for others to be written."""
        if self._enabled:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()

    def close(self) -> None:
        self.clear()
        self._enabled = False


def duration(seconds: float) -> str:
    """For people: 48 s, 12 min, 7.5 h."""
    if seconds < 99:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def on_one_line(text: str) -> str:
    """As much of it as the terminal at standard error has room for: what it breaks into two lines
    cannot be taken away again."""
    with suppress(OSError):
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
        return text[: columns - 1] if columns > 1 else text
    return text

"""What people see of a batch: a line while it runs, a table at its end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from realtime.batch.items import Item
from realtime.progress import duration, on_one_line
from realtime.sources.container import shown

LISTED = 40
"""Files up to which the table has a row for each; beyond, only for those that failed or are
damaged."""
EVERY = 10.0
"""Seconds between two lines where standard error is no terminal."""


@dataclass(slots=True)
class File:
    """How it is with one input. share: of it that is done, 0..1. frames: that are ready, some
    perhaps from an earlier run. worked: frames of this run, in so many seconds of workers. damage:
    what was wrong with it though it was read. error: why it failed."""

    item: Item
    state: str = "waiting"
    share: float = 0.0
    frames: int = 0
    worked: int = 0
    segments: int = 1
    seconds: float = 0.0
    damage: str = ""
    error: str = ""
    code: int = 0


@dataclass(slots=True)
class Progress:
    """Tells on standard error how far a batch is."""

    files: Sequence[File]
    quiet: bool = False
    _began: float = field(default_factory=monotonic)
    _next: float = 0.0
    _drawn: bool = False

    def update(self, workers: int, coming: int) -> None:
        """Draw the line anew, now and then. coming: workers that have not begun."""
        terminal, now = sys.stderr.isatty(), monotonic()
        if self.quiet or now < self._next:
            return
        if not terminal and not self._next:  # nothing to tell yet
            self._next = now + EVERY
            return
        self._next = now + (0.5 if terminal else EVERY)
        line = self.line(now - self._began, workers, coming)
        sys.stderr.write(f"\r\x1b[K{on_one_line(line)}" if terminal else f"posestream: {line}\n")
        sys.stderr.flush()
        self._drawn = terminal

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.quiet:
            return
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            self._drawn = False
        print(f"posestream: {text}", file=sys.stderr, flush=True)

    def line(self, seconds: float, workers: int, coming: int = 0) -> str:
        """For example "12/100 files, 1 failed, 5430 frames, 61.2 fps, 4 workers, 12 min left"; the
        time left is by bytes, since the frames of files still to come are not known."""
        states = Counter(file.state for file in self.files)
        todo = [file for file in self.files if file.state != "skipped"]
        frames = sum(file.worked for file in todo)
        ready = sum(file.item.size * file.share for file in todo)
        left = sum(file.item.size for file in todo) - ready
        parts = [f"{states['done'] + states['skipped']}/{len(self.files)} files"]
        parts += [f"{states['failed']} failed"] * bool(states["failed"])
        parts += [f"{frames} frames", f"{frames / max(seconds, 1e-9):.1f} fps"]
        parts.append(f"{workers} worker{'s' * (workers != 1)}")
        parts += [f"{coming} to begin"] * bool(coming)
        if ready:
            parts.append(f"{duration(left / ready * seconds)} left")
        return ", ".join(parts)

    def close(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def table(self) -> list[str]:
        """The end of a batch, line by line."""
        few = len(self.files) <= LISTED
        rows = [file for file in self.files if few or file.error or file.damage]
        lines = _columns([_row(file) for file in rows])
        states = Counter(file.state for file in self.files)
        seconds = monotonic() - self._began
        frames = sum(file.worked for file in self.files)
        counts = ", ".join(f"{states[s]} {s}" for s in _STATES if states[s])
        left = states["waiting"] + states["running"]
        rate = f"{frames / seconds:.1f} fps" if frames else "nothing to do"
        if left:
            rate = "stopped; the same command goes on"
        return [*lines, f"{counts}; {frames} frames in {duration(seconds)}, {rate}"]


_STATES = ("done", "skipped", "failed", "waiting", "running")
_HEAD = ("file", "state", "frames", "segments", "fps of a worker", "")


def _row(file: File) -> tuple[str, ...]:
    rate = f"{file.worked / file.seconds:.1f}" if file.worked and file.seconds else ""
    counts = (str(file.frames or ""), str(file.segments)) if file.state == "done" else ("", "")
    return (shown(file.item.name), file.state, *counts, rate, file.error or file.damage)


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    table = [_HEAD, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEAD))]
    return [
        "  ".join(
            cell.rjust(width) if 2 <= column <= 4 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in table
    ]

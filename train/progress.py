"""How far a training run is, on standard error."""

from __future__ import annotations

import sys
from collections import deque
from time import perf_counter

from realtime.progress import on_one_line

QUIET = 30.0
"""Seconds between lines where standard error is no terminal."""
REDRAW = 0.5
WIDTH = 12
SPAN = 60.0
"""Seconds over which speed is measured."""


class Progress:
    """One line that is redrawn on a terminal; elsewhere a line now and then.

    steps: of the whole run; in_epoch: of one epoch; samples: of one step; done: steps done before.
    """

    def __init__(self, steps: int, in_epoch: int, samples: int, done: int, enabled: bool) -> None:
        self._steps, self._in_epoch, self._samples = steps, in_epoch, samples
        self._enabled = enabled
        self._terminal = sys.stderr.isatty()
        self._seen = deque([(perf_counter(), done)])
        self._next = perf_counter() + (REDRAW if self._terminal else QUIET)

    def due(self) -> bool:
        """Whether show() should be called: its numbers may cost a wait for the GPU."""
        return self._enabled and perf_counter() >= self._next

    def show(self, step: int, loss: dict[str, float], rate: float) -> None:
        """step: steps done in the run; loss: means over the epoch, by name."""
        now = perf_counter()
        self._seen.append((now, step))
        while len(self._seen) > 2 and now - self._seen[0][0] > SPAN:
            self._seen.popleft()
        self._next = now + (REDRAW if self._terminal else QUIET)
        text = self.line(step, loss, rate, self._speed())
        sys.stderr.write(f"\r\x1b[K{on_one_line(text)}" if self._terminal else f"{text}\n")
        sys.stderr.flush()

    def line(self, step: int, loss: dict[str, float], rate: float, speed: float) -> str:
        """For example "epoch 3 [####....] 120/400  2 h 05 left  31.0/s  loss 0.12  rate 0.001".

        speed: steps a second.
        """
        inside = (step - 1) % self._in_epoch + 1 if step else 0
        bar = "#" * (WIDTH * inside // self._in_epoch)
        parts = "  ".join(f"{name} {value:.4g}" for name, value in loss.items())
        left = readable((self._steps - step) / speed) if speed else "?"
        return (
            f"epoch {max(step - 1, 0) // self._in_epoch + 1} [{bar:.<{WIDTH}}] "
            f"{inside}/{self._in_epoch}  {left} left  {speed * self._samples:.1f}/s  {parts}  "
            f"rate {rate:.3g}"
        )

    def pause(self) -> None:
        """Other work begins: the line goes, and the time until resume() counts for no speed."""
        if self._enabled and self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def resume(self, step: int) -> None:
        self._seen.clear()
        self._seen.append((perf_counter(), step))

    def _speed(self) -> float:
        (start, first), (end, last) = self._seen[0], self._seen[-1]
        return (last - first) / (end - start) if end > start else 0.0


def readable(seconds: float) -> str:
    """A duration as people say it, for example 2 h 05, 12 min or 40 s."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d}"

"""Meters: every stage is timed, its errors are named, and a hung one is seen."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from time import perf_counter
from typing import ParamSpec, TypeVar

from realtime.errors import PosestreamError, StageError
from realtime.faults import Fault
from realtime.records import Frame

P = ParamSpec("P")
T = TypeVar("T")


class Meter:
    """Counts what one stage does. Written by the stage's thread, read by the main thread.

    frames and seconds are totals; busy_since is perf_counter() when the present call began, None
    between calls. thread names the thread the stage runs in.
    """

    def __init__(self, name: str, thread: str, fault: Fault | None = None) -> None:
        self.name = name
        self.thread = thread
        self.frames = 0
        self.seconds = 0.0
        self.busy_since: float | None = None
        self._fault = fault

    @contextmanager
    def on(self, frames: Sequence[int], begun: bool = False) -> Generator[None, None, None]:
        """Measure work on these frames; raises StageError naming stage and frame on failure.

        begun: the work is only begun here and is measured, and counted, once more when it ends.
        """
        start = self.busy_since = perf_counter()
        try:
            if self._fault and not begun:
                self._fault.trip(self.name, frames)
            yield
        except PosestreamError:
            raise
        except Exception as error:
            text = f"stage {self.name!r} failed{_where(frames, error)}"
            raise StageError(text, self.name) from error
        finally:
            self.busy_since = None
            self.seconds += perf_counter() - start
            self.frames += 0 if begun else len(frames)

    def measured(self, work: Callable[P, T], frames: Sequence[int]) -> Callable[P, T]:
        """work, measured whenever it is called, as a part of what is counted elsewhere."""

        def part(*given: P.args, **named: P.kwargs) -> T:
            with self.on(frames, begun=True):
                return work(*given, **named)

        return part

    def alive(self, waits: bool = False) -> None:
        """The present call gets on: it counts as hung only when nothing comes from now on. waits:
        for the disk, however long that takes; it counts as hung only after the next alive()."""
        self.busy_since = None if waits else perf_counter()

    def rested(self, seconds: float) -> None:
        """So much of the present call was waiting for a frame to be due, and no work."""
        self.seconds -= seconds

    def over(self, frames: Generator[Frame, None, None]) -> Generator[Frame, None, None]:
        """Measure a generator of frames: the time it takes to make each one."""
        number = 0
        with closing(frames):
            while True:
                with self.on([number]):
                    frame = next(frames, None)
                if frame is None:
                    self.frames -= 1  # the look for one more, which found the end
                    return
                number = frame.index + 1
                yield frame


def _where(frames: Sequence[int], error: Exception) -> str:
    """ " on frame 7: reason"; for a batch its first and last frame, unless the error knows."""
    reason = str(error) or type(error).__name__
    known = getattr(error, "frame", None)
    if known is not None or len(frames) == 1:
        return f" on frame {frames[0] if known is None else known}: {reason}"
    return f" on frames {frames[0]} to {frames[-1]}: {reason}" if frames else f": {reason}"


class Watchdog:
    """Sees a stage that hangs: one that stays in one call for more than limit seconds.

    Waiting counts only while somebody looks. After a gap between two looks (the process was
    stopped with Ctrl-Z, the display froze) every stage gets its full time again.
    """

    GAP = 1.0

    def __init__(self, limit: float, clock: Callable[[], float] = perf_counter) -> None:
        self.limit = limit
        self._clock = clock
        self._looked = self._excused = clock()

    def look(self, meters: Sequence[Meter]) -> Meter | None:
        """The stage that hangs, if any; to be called much more often than every GAP seconds."""
        now = self._clock()
        if now - self._looked > self.GAP:
            self._excused = now
        self._looked = now
        for meter in meters:
            since = meter.busy_since
            if since is not None and now - max(since, self._excused) > self.limit:
                return meter
        return None

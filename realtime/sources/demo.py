"""The demo scene as a source: no camera and no file needed."""

from __future__ import annotations

from collections.abc import Callable, Generator
from fractions import Fraction
from math import ceil
from threading import Event
from time import perf_counter

from realtime.errors import UsageError
from realtime.records import Frame
from realtime.scene import Scene
from realtime.sources.base import SourceInfo, Span
from realtime.sources.span import ALIKE, check_span, said
from realtime.status import NEVER, STALL_AFTER, SourceStatus

FRAMES = 300
RATE = 30
SIZE_WH = (1280, 720)
WHOLE = Span()


def open_demo(seed: int = 0, span: Span = WHOLE, live: bool = False) -> DemoSource:
    """The scene of this seed, 300 frames of 1280x720 at 30 frames per second.

    live paces it like a camera. Raises UsageError for a negative seed and for a span that cannot
    be or that holds no frame.
    """
    if seed < 0:
        raise UsageError(f"--seed {seed}: give 0 or more")
    _indices(FRAMES, RATE, span)  # before the work of painting
    return DemoSource(Scene(seed, FRAMES, SIZE_WH, RATE), span, live)


class DemoSource:
    """See Source. scene is what the comparison with the truth asks.

    Frame.index is the frame of the scene. Frame.time is index / 30, or when live the seconds
    since the first frame, which is given at once; frame n follows no earlier than n / 30 seconds
    later. clock is monotonic seconds; wait sleeps like Event.wait (True: closed meanwhile).
    """

    def __init__(
        self,
        scene: Scene,
        span: Span = WHOLE,
        live: bool = False,
        clock: Callable[[], float] = perf_counter,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self.scene = scene
        self._closed = Event()
        self._clock = clock
        self._wait = wait or self._closed.wait
        self._indices = _indices(len(scene), scene.rate, span)
        first = self._indices[0]
        self.info = SourceInfo(
            name="demo",
            kind="demo",
            live=live,
            frames=len(self._indices),
            rate=scene.rate,
            size_wh=scene.size_wh,
            time_base=1 / Fraction(scene.rate),
            start=0.0 if live else first / scene.rate,
        )
        self.status = SourceStatus(STALL_AFTER if live else NEVER)

    def close(self) -> None:
        """End frames() before its next frame."""
        self._closed.set()

    def frames(self) -> Generator[Frame, None, None]:
        """Every frame of the span once, in order."""
        try:
            yield from self._paced() if self.info.live else self._as_fast_as_it_can()
        finally:
            self.status.ended()

    def _as_fast_as_it_can(self) -> Generator[Frame, None, None]:
        for index in self._indices:
            if self._closed.is_set():
                return
            yield self._frame(index, index / self.scene.rate)

    def _paced(self) -> Generator[Frame, None, None]:
        start: float | None = None
        for index in self._indices:
            if start is not None:
                due = start + (index - self._indices[0]) / self.scene.rate
                while (early := due - self._clock()) > 0:
                    if self._wait(early):
                        return
            if self._closed.is_set():
                return
            start = self._clock() if start is None else start
            yield self._frame(index, self._clock() - start)

    def _frame(self, index: int, time: float) -> Frame:
        grabbed = perf_counter()
        image = self.scene.image(index)
        self.status.frame()
        return Frame(index, time, image, self.info.name, grabbed)


def _indices(count: int, rate: float, span: Span) -> range:
    """The frames, of so many, that span asks for. Raises UsageError when there is none."""
    check_span(span)
    first = _index(span.start, rate)
    last = count if span.end is None else min(count, _index(span.end, rate))
    indices = range(first, last, span.stride)
    if not indices:
        given = [f"--start {said(span.start)}"] if span.start else []
        given += [f"--end {said(span.end)}"] if span.end is not None else []
        raise UsageError(
            f"{', '.join(given)}: no frame of the demo scene, "
            f"which has {count} frames ({count / rate:g} s); choose within it"
        )
    return indices


def _index(limit: int | float, rate: float) -> int:
    """The first frame at or after a limit: a frame number (int) or seconds (float)."""
    return limit if isinstance(limit, int) else ceil((limit - ALIKE) * rate)

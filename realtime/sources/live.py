"""One sequence of frames over any number of connections: what a camera and a stream share."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from contextlib import closing
from threading import Event
from time import perf_counter
from typing import NamedTuple

from realtime.errors import SourceLost
from realtime.records import Frame, Image
from realtime.sources.base import SourceInfo, Span
from realtime.sources.span import reached
from realtime.sources.waiting import Backoff
from realtime.status import SourceStatus

LOG_EVERY = 60.0
"""Seconds after which the same trouble is logged again."""

logger = logging.getLogger(__name__)


class Picture(NamedTuple):
    """uint8 (H, W, 3) BGR, its timestamp in seconds of the sender's clock, if there is one, and the
    width of its pixels by their height."""

    image: Image
    stamp: float | None
    aspect: float = 1.0


class Broken(Exception):
    """A connection ended or could not be made. The text says why, without credentials.

    down: nobody answers (server not up, camera unplugged). Asking again costs nothing, so the
    wait stays short (waiting.DOWN_WAIT) and the picture is back soon after the source is.
    unusable: what comes is damaged, or something else than video.
    """

    def __init__(self, reason: str, down: bool = False, unusable: bool = False) -> None:
        super().__init__(reason)
        self.down = down
        self.unusable = unusable


class Timeline:
    """Frame.time of a live source: seconds since its first frame, strictly increasing.

    The arrival of a frame is the truth (by perf_counter: before Python 3.13 the monotonic clock of
    Windows goes in steps of 16 ms), but packets arrive in bursts. Where the sender gives
    timestamps, the distance of two frames is theirs: a frame is placed at its timestamp plus an
    offset that follows the arrivals slowly (DRIFT of the error per frame, which absorbs clocks that
    run at different speeds). When both disagree by more than SLACK seconds (a jump, a pause, a new
    connection), the arrival counts and the offset is new. Timestamps that fall behind little by
    little, again and again (a camera that counts 30 frames a second and sends 5), are not used any
    more until the next connection.

    A server may begin with what it has kept since the last keyframe, all at once: the first frame
    is then older than its arrival. How much, the frames of the next SETTLED seconds tell by coming
    earlier than expected: zero moves back by that, by BACKLOG seconds at most.
    """

    SLACK, DRIFT, STEP = 0.5, 0.02, 0.001
    SETTLED, BACKLOG = 5.0, 10.0
    SLOW, SOON = 3, 100  # so often, so few frames apart: timestamps that run slow

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._start: float | None = None  # zero, on the clock
        self._first = 0.0  # when the first frame came
        self._last = -self.STEP
        self.restart()

    def restart(self) -> None:
        """A new connection: its timestamps have nothing to do with the old ones."""
        self._zero_is_free = self._start is None
        self._offset: float | None = None
        self._before = 0.0  # the offset that the frame before would have had
        self._frames = 0  # since the offset is new
        self._slow = 0

    def passed(self) -> float:
        """Seconds since the first frame; 0 before it."""
        return 0.0 if self._start is None else self._clock() - self._start

    def at(self, stamp: float | None) -> float:
        """The time of the frame that has just arrived with this timestamp in seconds."""
        now = self._clock()
        if self._start is None:
            self._start = self._first = now
        if stamp is not None and self._slow < self.SLOW:
            if self._zero_is_free and self._offset is not None:
                self._start = self._moved(self._start, stamp + self._offset, now)
            time = self._placed(stamp, now - self._start)
        else:
            time = now - self._start
        self._last = max(time, self._last + self.STEP)
        return self._last

    def _moved(self, start: float, expected: float, now: float) -> float:
        """Where zero is by a frame that comes now and was expected at that time."""
        self._zero_is_free = now - self._first <= self.SETTLED
        moved = now - expected
        early = 0 < start - moved < self.SLACK and self._first - moved <= self.BACKLOG
        return moved if early and self._zero_is_free else start

    def _placed(self, stamp: float, arrival: float) -> float:
        offset = arrival - stamp
        self._frames += 1
        if self._offset is None or abs(offset - self._offset) > self.SLACK:
            self._note_break(offset)
            self._offset = offset
        self._before = offset
        placed = stamp + self._offset
        self._offset += self.DRIFT * (arrival - placed)
        return placed

    def _note_break(self, offset: float) -> None:
        """Count the times that the timestamps fell behind without a jump."""
        crept = self._offset is not None and 0 < offset - self._before < self.SLACK
        again = self._slow if self._frames <= self.SOON else 0
        self._slow = again + 1 if crept else 0
        self._frames = 0


class LiveSource:
    """A Source that is opened again, with growing waits, whenever it breaks.

    connect makes one connection and yields its pictures; it raises Broken when that fails or ends,
    closes in a ``finally`` what it opened, and looks at the event it gets: set means leave.
    put_away is called by close() for what connect has not taken yet.
    max_reconnects limits the attempts in a row that gave no frame; None is no limit.
    wait sleeps like Event.wait (True: closed meanwhile); clock is monotonic seconds.
    """

    def __init__(
        self,
        info: SourceInfo,
        status: SourceStatus,
        connect: Callable[[Event], Generator[Picture, None, None]],
        *,
        put_away: Callable[[], None] = lambda: None,
        span: Span | None = None,
        max_reconnects: int | None = None,
        clock: Callable[[], float] = perf_counter,
        wait: Callable[[float], bool] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.info = info
        self.status = status
        self._connect = connect
        self._put_away = put_away
        self._span = span or Span()
        self._max_reconnects = max_reconnects
        self._clock = clock
        self._closed = Event()
        self._wait = wait or self._closed.wait
        self._backoff = backoff or Backoff()
        self._timeline = Timeline(clock)
        self._index = 0
        self._logged: tuple[str, float] = ("", 0.0)

    def close(self) -> None:
        """Ask frames() to leave; returns at once, also while a driver blocks it."""
        self._closed.set()
        self._put_away()

    def frames(self) -> Generator[Frame, None, None]:
        """Frames for ever, until close() or the end of the span. Seconds of the span count from
        the first frame, also while the source is away.

        Raises SourceLost after max_reconnects attempts in a row without a frame.
        """
        try:
            yield from within(self._everything(), self._span)
        finally:
            self.status.ended()

    def _everything(self) -> Generator[Frame, None, None]:
        while self._remaining > 0 and not self._closed.is_set():
            try:
                yield from self._connection()
            except Broken as broken:
                self._pause(broken)

    @property
    def _remaining(self) -> float:
        """Seconds to the end of the span, which comes also while there are no frames."""
        end = self._span.end
        return end - self._timeline.passed() if isinstance(end, float) else math.inf

    def _connection(self) -> Generator[Frame, None, None]:
        self._timeline.restart()
        with closing(self._connect(self._closed)) as pictures:
            for image, stamp, aspect in pictures:
                if self._closed.is_set():
                    return
                self._arrived()
                time, index = self._timeline.at(stamp), self._index
                self._index += 1
                yield Frame(index, time, image, self.info.name, perf_counter(), aspect=aspect)
        raise Broken("the source ended")  # a live one has no end

    def _arrived(self) -> None:
        if self._backoff.attempts:
            logger.warning("%s: frames again", self.info.name)
        self._backoff.reset()
        self._logged = ("", 0.0)
        self.status.frame()

    def _pause(self, broken: Broken) -> None:
        """Say what is wrong and wait before the next attempt, or give up."""
        reason, attempts = str(broken), self._backoff.attempts
        if self._closed.is_set():
            return
        if self._max_reconnects is not None and attempts >= self._max_reconnects:
            self._give_up(reason, self._max_reconnects)
        if attempts == 0 and self._index > 0:
            self.status.reconnecting(reason)
        else:
            self.status.connecting(reason)
        seconds = self._backoff.next(broken.down)
        self._log(reason, seconds)
        self._wait(min(seconds, max(0.0, self._remaining)))

    def _give_up(self, reason: str, limit: int) -> None:
        self.status.lost(reason)
        raise SourceLost(
            f"{self.info.name}: {reason}; not back after {limit} attempts (--max-reconnects)"
        )

    def _log(self, reason: str, seconds: float) -> None:
        """One line per kind of trouble and minute: a source may be away for days."""
        logged, when = self._logged
        if reason != logged or self._clock() - when > LOG_EVERY:
            self._logged = (reason, self._clock())
            never = "" if self._index else " (Ctrl-C ends)"  # a mistyped address is never there
            text = "%s: %s; trying again in %.0f s%s"
            logger.warning(text, self.info.name, reason, seconds, never)


def within(frames: Generator[Frame, None, None], span: Span) -> Generator[Frame, None, None]:
    """The frames of a live source that span asks for; int limits count frames, floats seconds."""
    with closing(frames):
        kept = 0
        for frame in frames:
            if reached(span.end, frame.index, frame.time):
                return
            if not reached(span.start, frame.index, frame.time):
                continue
            if kept % span.stride == 0:
                yield frame
            kept += 1

"""Notices that a stream is decoded more slowly than it comes."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

WAITED = 0.005
"""Seconds in one read after which what it gives is new: nothing else was there to be read."""

LATE = 2.0
"""Seconds that pictures may lag behind the quickest of their connection."""

BUSY = 1.0
"""Seconds without a read that waited after which there is more to read than can be decoded."""


class Backlog:
    """Which packets of one connection to pass over, so that pictures stay new.

    A camera whose pictures take longer to decode than from one to the next fills the buffers of
    the network, and what is seen gets older and older. Then all that waits there is passed over,
    and what comes until the next keyframe, since nothing before it can be decoded.

    passed: packets that were passed over.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.passed = 0
        self._clock = clock
        self._least: float | None = None  # from timestamp to arrival
        self._waited = clock()  # when a read waited last
        self._passing = False

    def passes_over(self, stamp: float | None, waited: float, keyframe: bool) -> bool:
        """Whether not to decode the packet with this timestamp, which has just been read within
        waited seconds."""
        now = self._clock()
        if waited >= WAITED:
            self._waited = now
        if self._passing:
            self._passing = not (keyframe and now - self._waited < BUSY)
        else:
            self._passing = self._is_late(now, stamp) and now - self._waited > BUSY
        self.passed += self._passing
        return self._passing

    def _is_late(self, now: float, stamp: float | None) -> bool:
        if stamp is None:
            return False
        delay = now - stamp
        self._least = delay if self._least is None else min(self._least, delay)
        return delay - self._least > LATE

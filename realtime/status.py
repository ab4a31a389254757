"""The state of a source, in one place: connecting, live, stalled, lost or ended."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Literal

State = Literal["connecting", "live", "stalled", "lost", "ended"]

STALL_AFTER = 3.0
"""Seconds without a frame after which a live source counts as stalled (goal: seen within 5 s)."""
NEVER = float("inf")
"""For what waits for nobody but this program: a file is not read while somebody has paused it."""


class SourceStatus:
    """Written by the grabbing thread, read by the main thread; tested with a fake clock.

    connecting: there was no frame yet. live: frames come. stalled: frames came, now there is none
    for stall_after seconds, or the connection broke and is being made again. lost and ended are
    final. clock returns seconds and never goes backwards.
    """

    def __init__(
        self, stall_after: float = STALL_AFTER, clock: Callable[[], float] = monotonic
    ) -> None:
        self.stall_after = stall_after
        self.reconnects = 0  # connections that broke after frames had come
        self.bad_packets = 0
        self.notes: list[str] = []  # one-line remarks for the report, in order
        self.damage = ""  # the first remark about input that could not be used
        self._clock = clock
        self._lock = Lock()
        self._state: State = "connecting"
        self._since = clock()  # of the last frame, or of the start while there is none
        self._asked = -NEVER  # when the frame to come was asked for, where the source says so
        self._worked = self._since
        self._seen = False
        self._detail = ""

    def connecting(self, detail: str = "") -> None:
        """The source is being opened; the time without a frame goes on counting."""
        with self._lock:
            self._enter("stalled" if self._seen else "connecting", detail)

    def frame(self) -> None:
        """A frame arrived."""
        with self._lock:
            self._seen, self._since = True, self._clock()
            self._enter("live")

    def rests(self) -> None:
        """Nobody asks for a frame, because this program has enough: that is no stall."""
        self._asked = NEVER

    def asked(self) -> None:
        """The next frame is asked for; the source has stall_after seconds from now."""
        self._asked = self._clock()

    def reconnecting(self, detail: str) -> None:
        """The connection broke and is being made again; detail says why."""
        with self._lock:
            self.reconnects += 1
        self.connecting(detail)

    def lost(self, detail: str) -> None:
        """The source did not come back within its limit."""
        with self._lock:
            self._enter("lost", detail)

    def ended(self) -> None:
        """The source has no more frames, or was closed."""
        with self._lock:
            self._enter("ended")

    def works(self) -> None:
        """The source reads what is not asked for, on the way to what is: it does not hang."""
        self._worked = self._clock()

    @property
    def idle_for(self) -> float:
        """Seconds since works() was called, or since the start."""
        return self._clock() - self._worked

    def again(self) -> None:
        """The source is read once more, from another place; also after its end."""
        with self._lock:
            if self._state == "ended":
                self._state, self._since = "live", self._clock()

    def note(self, line: str, damage: bool = False) -> None:
        """Keep a remark for the report; the same line is kept once.

        damage: a part of the input could not be used, which --strict makes an error.
        """
        with self._lock:
            self.damage = self.damage or (line if damage else "")
            if line not in self.notes:
                self.notes.append(line)

    def _enter(self, state: State, detail: str = "") -> None:
        if self._state not in ("lost", "ended"):
            self._state, self._detail = state, detail

    @property
    def silent_for(self) -> float:
        """Seconds since the last frame, or since the start when there was none."""
        with self._lock:
            return self._clock() - self._since

    @property
    def state(self) -> State:
        """The state now: live becomes stalled by itself after stall_after seconds."""
        with self._lock:
            waited = self._clock() - max(self._since, self._asked)
            if self._state == "live" and waited > self.stall_after:
                return "stalled"
            return self._state

    @property
    def detail(self) -> str:
        """What the source itself says is wrong; empty when it says nothing."""
        with self._lock:
            return self._detail

    def describe(self) -> str:
        """For people: "live", "stalled 7 s", "connecting 3 s: connection refused"."""
        state, silent = self.state, self.silent_for
        with self._lock:
            detail = f": {self._detail}" if self._detail else ""
        return state if state in ("live", "ended") else f"{state} {silent:.0f} s{detail}"

"""The live window: newest picture, state of the source, keys. Main thread only."""

from __future__ import annotations

import logging
from time import perf_counter

from realtime.records import Image, PosedFrame
from realtime.render import draw_state
from realtime.sinks.window import Window
from realtime.sources.base import Source
from realtime.stop import Stop

logger = logging.getLogger(__name__)

QUIT_KEYS = ("q", "esc", "closed")
REDRAW = 0.5
"""Seconds between redraws of the state while no frame comes."""


class Screen:
    """Shows finished frames. paced: not faster than their own times (a file being watched).
    alone: there is no other output, so the run ends when the display goes away."""

    def __init__(self, window: Window, source: Source, paced: bool, alone: bool = False) -> None:
        self.shown = 0
        self._window, self._source, self._paced, self._alone = window, source, paced, alone
        self._zero: float | None = None  # perf_counter() at Frame.time 0
        self._picture: Image | None = None
        self._drawn = 0.0
        self._lost = False

    def early(self, item: PosedFrame) -> float:
        """Seconds until this frame is due; 0 or less when it is."""
        if not self._paced:
            return 0.0
        now = perf_counter()
        if self._zero is None or now - (self._zero + item.frame.time) > 0.5:
            self._zero = now - item.frame.time  # the first one, or far behind: start anew
        return self._zero + item.frame.time - now

    def show(self, item: PosedFrame) -> None:
        if item.picture is not None and not self._lost:
            self._picture = item.picture
            self._window.show(item.picture)
            self._drawn = perf_counter()
            self.shown += 1

    def look_after(self, stop: Stop) -> None:
        """Handle keys and a closed window; draw the source's state when it is not live."""
        key = self._window.pump()
        if key == "lost" and not self._lost:
            self._lost = True
            if self._alone:
                stop.ask("display lost")
            then = "nothing else to do, so the run ends" if self._alone else "going on without it"
            logger.warning("the display went away; %s", then)
        if key in QUIT_KEYS:
            stop.ask("window closed" if key == "closed" else f"key {key}")
        now = perf_counter()
        if now - self._drawn > REDRAW and self._source.status.state not in ("live", "ended"):
            self._window.show(draw_state(self._picture, self._source.status.describe()))
            self._drawn = now

    def close(self) -> None:
        self._window.close()

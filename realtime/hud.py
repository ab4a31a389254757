"""What is written on live pictures: speed, latency, drops, the state of the source."""

from __future__ import annotations

from collections import deque
from time import perf_counter

from realtime.ledger import Ledger
from realtime.records import Image, PosedFrame
from realtime.render import Overlay, Style, draw
from realtime.sources.base import Source

WINDOW = 30
"""Frames over which the shown fps is measured."""


class Hud:
    """Draws posed frames; live ones with figures, files without, so that two runs are alike."""

    def __init__(self, ledger: Ledger, source: Source, style: Style, recording: bool) -> None:
        self._ledger, self._source, self._style = ledger, source, style
        self._recording = recording
        self._ends: deque[float] = deque(maxlen=WINDOW)

    def draw(self, item: PosedFrame) -> Image:
        overlay = self._overlay(item) if self._ledger.live else None
        return draw(item.frame, item.poses, self._style, overlay)

    def _overlay(self, item: PosedFrame) -> Overlay:
        now = perf_counter()
        self._ends.append(now)
        span = now - self._ends[0]
        return Overlay(
            fps=(len(self._ends) - 1) / span if span > 0 else None,
            latency_ms=1e3 * (now - item.frame.grabbed) if item.frame.grabbed else None,
            dropped=self._ledger.stale(),
            state=self._source.status.describe(),
            recording=self._recording,
        )

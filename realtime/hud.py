"""What is written on live pictures: speed, latency, drops, the state of the source."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

from realtime.halves import captioned_pair
from realtime.ledger import Ledger
from realtime.records import Image, PosedFrame, Poses
from realtime.render import Overlay, Style, draw
from realtime.sources.base import Source

WINDOW = 30
"""Frames over which the shown fps is measured."""


class Hud:
    """Draws posed frames; live ones with figures, files without, so that two runs are alike.

    style and recording are asked for each picture, and captions, what to write over the two
    halves, where there are other people to compare with.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: Source,
        style: Callable[[], Style],
        recording: Callable[[], bool],
        captions: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._ledger, self._source, self._style = ledger, source, style
        self._recording, self._captions = recording, captions
        self._last_open = (-1, -1)  # part and number of the last frame drawn with faces to be seen
        self._ends: deque[float] = deque(maxlen=WINDOW)

    def draw(self, item: PosedFrame) -> Image:
        style = self._style()
        if not style.private:
            self._last_open = _place(item)
        return self._draw(item, style, self._overlay(item) if self._ledger.live else None)

    def checked(self, item: PosedFrame) -> PosedFrame:
        """The frame, drawn again when that was done before faces were to be hidden."""
        was_open = item.picture is not None and _place(item) <= self._last_open
        return self.again(item) if was_open and self._style().private else item

    def again(self, item: PosedFrame) -> PosedFrame:
        """The frame drawn anew in the present style, without figures: they were of that moment."""
        return replace(item, picture=self._draw(item, self._style(), None))

    def _draw(self, item: PosedFrame, style: Style, overlay: Overlay | None) -> Image:
        people = item.poses if item.drawn is None else item.drawn
        picture = self._half(item, people, style, overlay)
        if item.other is None:
            return picture
        other = self._half(replace(item, heat=None), item.other, style, None)
        return captioned_pair([picture, other], self._captions())

    def _half(self, item: PosedFrame, poses: Poses, style: Style, overlay: Overlay | None) -> Image:
        return draw(item.frame, poses, style, overlay, item.heads, item.heat)

    def _overlay(self, item: PosedFrame) -> Overlay:
        now = perf_counter()
        self._ends.append(now)
        span = now - self._ends[0]
        return Overlay(
            fps=(len(self._ends) - 1) / span if span > 0 else None,
            latency_ms=1e3 * (now - item.frame.grabbed) if item.frame.grabbed else None,
            dropped=self._ledger.stale(),
            state=self._source.status.describe(),
            recording=self._recording(),
        )


def _place(item: PosedFrame) -> tuple[int, int]:
    """What grows from frame to frame, also when somebody seeks back."""
    return item.frame.part, item.frame.index

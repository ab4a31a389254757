"""The live window: newest picture, state of the source, keys. Main thread only."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from realtime.controls import action_of, usable
from realtime.desk import Desk
from realtime.help_card import with_help, with_note
from realtime.ledger import SinkCount
from realtime.records import Frame, Image, PosedFrame
from realtime.render import draw_state
from realtime.shape import seen
from realtime.sinks.window import Window
from realtime.sources.base import Source
from realtime.stop import Stop

logger = logging.getLogger(__name__)

REDRAW = 0.5
"""Seconds between redraws of the state while no frame comes."""

LOST = "the display went away while a window was drawn; use --headless"
"""The end of a run with outputs when the window toolkit takes the process down with the display."""


class Display(Protocol):
    """What shows a run's frames: a window of its own (Screen), or a part of one (grid.Tile).

    count: of the frames it has shown, and of those it has not, by reason. early: seconds until a
    frame is due, 0 or less when it is.
    """

    count: SinkCount

    def early(self, item: PosedFrame) -> float: ...

    def show(self, item: PosedFrame) -> None: ...

    def skip(self, why: str) -> None:
        """Count a frame that is not to be shown."""
        ...

    def look_after(self, stop: Stop) -> None:
        """Handle what came in since, and draw what has changed; called many times a second."""
        ...

    def close(self) -> None: ...


class Pace:
    """When frames of a file are due, by their own times. longest: seconds a frame is waited for at
    most."""

    def __init__(self, longest: float = math.inf) -> None:
        self._longest = longest
        self._part = 0
        self._zero: float | None = None  # perf_counter() at Frame.time 0

    def early(self, frame: Frame) -> float:
        """Seconds until this frame is due; 0 or less when it is."""
        now = perf_counter()
        early = 0.0 if self._zero is None else self._zero + frame.time - now
        first = self._zero is None or frame.part != self._part
        if first or early < -0.5:  # the first one, also after a jump, or far behind: start anew
            early = 0.0
        early = min(early, self._longest)
        self._zero, self._part = now + early - frame.time, frame.part
        return early


def obey(key: str | None, stop: Stop, ask: Callable[[str], None]) -> None:
    """What a key of a window asks for; "closed" is the window's own."""
    action = action_of(key)
    if key == "closed" or action == "quit":
        stop.ask("window closed" if key == "closed" else f"key {key}")
    elif action:
        ask(action)


def say_lost(stop: Stop, alone: bool) -> None:
    """The display is gone; when nothing else is made of the frames the run ends."""
    if alone:
        stop.ask("display lost")
    then = "nothing else to do, so the run ends" if alone else "going on without it"
    logger.warning("the display went away; %s", then)


class Screen:
    """Shows finished frames. paced: not faster than their own times (a file being watched).
    alone: there is no other output, so the run ends when the display goes away."""

    def __init__(
        self, window: Window, source: Source, desk: Desk, paced: bool, alone: bool = False
    ) -> None:
        self.count = SinkCount()
        self._window, self._source, self._paced, self._alone = window, source, paced, alone
        self._desk = desk
        self._written: tuple[str, bool, int] = ("", False, 0)  # over the picture now
        self._pace = Pace()
        self._picture: Image | None = None
        self._drawn = 0.0
        self._lost = False

    def early(self, item: PosedFrame) -> float:
        """Seconds until this frame is due; 0 or less when it is."""
        return self._pace.early(item.frame) if self._paced else 0.0

    def show(self, item: PosedFrame) -> None:
        if item.picture is None or self._lost:
            self.skip("lost" if self._lost else "no_picture")
        else:
            self._put(seen(item))
            self.count.frames += 1

    def skip(self, why: str) -> None:
        """See Display."""
        self.count.dropped[f"window.{why}"] += 1

    def _put(self, picture: Image) -> None:
        """Show a picture, with what there is to be said over it."""
        self._picture = picture
        self._written = self._to_write()
        if self._desk.help:
            picture = with_help(picture, usable(self._desk.can_record, self._desk.has_file))
        if self._desk.note:
            picture = with_note(picture, self._desk.note)
        self._window.show(picture)
        self._drawn = perf_counter()

    def _to_write(self) -> tuple[str, bool, int]:
        return self._desk.note, self._desk.help, id(self._desk.item)

    def look_after(self, stop: Stop) -> None:
        """Handle keys and a closed window; draw the source's state when it is not live."""
        key = self._window.pump()
        if key == "lost" and not self._lost:
            self._lost = True
            say_lost(stop, self._alone)
        obey(key, stop, self._desk.ask)
        self._desk.work()
        self._window.fill_screen(self._desk.fullscreen)
        if self._to_write() != self._written and not self._lost:
            self._refresh()
        now = perf_counter()
        if now - self._drawn > REDRAW and self._source.status.state not in ("live", "ended"):
            state = draw_state(self._picture, self._source.status.describe())
            self._window.show(state, card=self._picture is None)
            self._drawn = now

    def _refresh(self) -> None:
        """Draw again because what is to be said, or how people are drawn, has changed."""
        if self._desk.item and self._desk.item.picture is not None:
            self._put(seen(self._desk.item))

    def close(self) -> None:
        self._window.close()

"""One window for several sources: the newest picture of each, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import perf_counter

import numpy as np

from realtime.controls import usable
from realtime.desk import Desk
from realtime.draw import LIGHT
from realtime.help_card import with_help, with_note
from realtime.hud import fitted
from realtime.records import Image, PosedFrame
from realtime.render import draw_state
from realtime.screen import Pace, obey, say_lost
from realtime.sinks.window import Window
from realtime.sources.base import Source
from realtime.stop import Stop
from realtime.text import shortened, write

SIZE_WH = 1280, 720
"""Of the whole window, in pixels."""
BETWEEN = 1 / 30
"""Seconds between two drawings at least: more a screen does not show."""
LETTERS = 11
"""Height of the capital letters of the names, in pixels."""


class Tile:
    """The place of one source in the window; see screen.Display. The run's own thread gives it
    frames, and the main thread asks for its picture."""

    def __init__(self, name: str, source: Source, desk: Desk, paced: bool) -> None:
        self.shown = 0
        self.name, self.desk = name, desk
        self._source, self._paced, self._pace = source, paced, Pace()
        self._picture: Image | None = None
        self._closed = False

    def early(self, item: PosedFrame) -> float:
        """See Display."""
        return self._pace.early(item.frame) if self._paced else 0.0

    def show(self, item: PosedFrame) -> None:
        """See Display."""
        if item.picture is not None:
            self._picture = item.picture
            self.shown += 1

    def look_after(self, stop: Stop) -> None:
        """See Display; a change of style draws the frame on show again."""
        self.desk.work()
        if self.desk.item is not None and self.desk.item.picture is not None:
            self._picture = self.desk.item.picture

    def close(self) -> None:
        """The last picture stays, dimmed."""
        self._closed = True

    def picture(self) -> Image:
        """What to show now, with the state of the source when it gives no frames."""
        picture, state = self._picture, self._source.status.state
        if self._closed:
            return draw_state(picture, "ended")
        if picture is None or state not in ("live", "ended"):
            return draw_state(picture, self._source.status.describe())
        return with_note(picture, self.desk.note) if self.desk.note else picture


class Grid:
    """The window of several tiles. Main thread only. alone: nothing else is made of the frames, so
    the run ends when the display goes away. Raises OSError when there is none."""

    def __init__(self, title: str, tiles: Sequence[Tile], alone: bool) -> None:
        self._tiles, self._alone = tiles, alone
        self._window = Window(title)
        self._drawn, self._lost = 0.0, False

    def look_after(self, stop: Stop) -> None:
        """Handle keys, which are for all sources, and a closed window; draw when it is time."""
        key = self._window.pump()
        if key == "lost" and not self._lost:
            self._lost = True
            say_lost(stop, self._alone)
        obey(key, stop, self._ask)
        self._window.fill_screen(self._tiles[0].desk.fullscreen)
        now = perf_counter()
        if now - self._drawn >= BETWEEN and not self._lost:
            self._drawn = now
            self._window.show(self._drawing())

    def close(self) -> None:
        """Take the window away."""
        self._window.close()

    def _ask(self, action: str) -> None:
        for tile in self._tiles:
            tile.desk.ask(action)

    def _drawing(self) -> Image:
        whole = side_by_side([(tile.name, tile.picture()) for tile in self._tiles])
        if not self._tiles[0].desk.help:
            return whole
        desks = [tile.desk for tile in self._tiles]
        keys = usable(any(d.can_record for d in desks), any(d.has_file for d in desks))
        return with_help(whole, keys)


def side_by_side(pictures: Sequence[tuple[str, Image]]) -> Image:
    """Named pictures (H, W, 3) BGR of any sizes in one of SIZE_WH, in rows from the top left, each
    as large as its cell allows."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    wide, tall = SIZE_WH[0] // columns, SIZE_WH[1] // rows
    whole = np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
    for n, (name, picture) in enumerate(pictures):
        x, y = n % columns * wide, n // columns * tall
        cell = whole[y : y + tall, x : x + wide]
        cell[:] = fitted(picture, (wide, tall))
        at = LETTERS, tall - 3 * LETTERS
        write(cell, shortened(name, LETTERS, wide - 2 * LETTERS), at, LETTERS, LIGHT)
    return whole

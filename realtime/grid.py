"""Several sources in one picture, in a window or a page: the newest of each, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from realtime.controls import usable
from realtime.desk import Desk
from realtime.draw import LIGHT, Style
from realtime.help_card import with_help, with_note
from realtime.ledger import SinkCount
from realtime.records import Image, PosedFrame
from realtime.render import draw_state
from realtime.screen import Pace, obey, say_lost
from realtime.shape import fitted, true_shape
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


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a tile shows at one moment. picture: None while there is none that may be shown. state:
    what is written over it, dimmed, "" over a live one. private: whether it hides faces. aspect:
    width of a pixel of the picture by its height."""

    style: Callable[[], Style]
    picture: Image | None
    state: str
    note: str
    private: bool
    aspect: float = 1.0

    @property
    def key(self) -> tuple[int, str, str]:
        """The same for two looks, both still held, that show the same."""
        return id(self.picture), self.state, self.note

    def fit(self) -> bool:
        """Whether it may be shown: not when faces have come to be hidden since."""
        return self.private or not self.style().private

    def draw(self, notes: bool = True) -> Image:
        """Its picture (H, W, 3) BGR."""
        picture = None if self.picture is None else true_shape(self.picture, self.aspect)
        if self.state or picture is None:
            return draw_state(picture, self.state)
        return with_note(picture, self.note) if notes and self.note else picture


class Tile:
    """The place of one source in a picture of several; see screen.Display. The run's own thread
    gives it frames; any other asks how it looks.

    saw: told each frame that is shown. closed: the run has ended; its last picture stays, dimmed,
    and whoever has waited for it goes on calling look_after(), for changes of style.
    """

    def __init__(self, name: str, source: Source, desk: Desk, paced: bool) -> None:
        self.count = SinkCount()
        self.name, self.desk, self.source = name, desk, source
        self.saw: Callable[[PosedFrame], None] = lambda item: None
        self._paced, self._pace = paced, Pace()
        self._now: tuple[PosedFrame | None, bool] = None, True  # on show, and whether private
        self.closed = self.unseen = False

    def early(self, item: PosedFrame) -> float:
        """See Display."""
        return self._pace.early(item.frame) if self._paced else 0.0

    def show(self, item: PosedFrame) -> None:
        """See Display."""
        if item.picture is None or self.unseen:
            self.skip("lost" if self.unseen else "no_picture")
            return
        self._keep(item)
        self.count.frames += 1
        self.saw(item)

    def skip(self, why: str) -> None:
        """See Display."""
        self.count.dropped[f"window.{why}"] += 1

    def look_after(self, stop: Stop) -> None:
        """See Display; a change of style draws the frame on show again."""
        self.desk.work()
        if self.desk.item is not None and self.desk.item.picture is not None:
            self._keep(self.desk.item)

    def close(self) -> None:
        """See Display."""
        self.closed = True

    @property
    def item(self) -> PosedFrame | None:
        """The frame on show."""
        return self._now[0]

    def look(self) -> Look:
        """What to show now, with the state of the source when it gives no frames."""
        item, private = self._now
        style, state = self.desk.style, self.source.status.state
        hidden = style.private and not private  # it is being drawn again
        picture = item.picture if item else None
        if hidden and picture is not None:
            picture = np.zeros_like(picture)
        text = ""
        if self.closed:
            text = "ended"
        elif hidden:
            text = "hiding faces"
        elif state not in ("live", "ended"):
            text = self.source.status.describe()
        elif picture is None:
            text = "starting"
        private, aspect = private or hidden, item.frame.aspect if item else 1.0
        return Look(lambda: self.desk.style, picture, text, self.desk.note, private, aspect)

    def _keep(self, item: PosedFrame) -> None:
        """It is as the desk's style asks: the run sees to that in the same thread."""
        self._now = item, self.desk.style.private


class Grid:
    """The window of several tiles. Main thread only. alone: nothing else is made of the frames, so
    the run ends when the display goes away. served: a page shows the tiles as well. Raises OSError
    when there is no display."""

    def __init__(self, title: str, tiles: Sequence[Tile], alone: bool, served: bool) -> None:
        self._tiles, self._alone, self._served = tiles, alone, served
        self._window = Window(title)
        self._drawn, self._lost = 0.0, False

    def look_after(self, stop: Stop) -> None:
        """Handle keys, which are for all sources, and a closed window; draw when it is time."""
        key = self._window.pump()
        if key == "lost" and not self._lost:
            self._lost = True
            for tile in self._tiles:
                tile.unseen = not self._served
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
        whole = side_by_side([(tile.name, tile.look().draw()) for tile in self._tiles])
        if not self._tiles[0].desk.help:
            return whole
        desks = [tile.desk for tile in self._tiles]
        keys = usable(any(d.can_record for d in desks), any(d.has_file for d in desks))
        return with_help(whole, keys)


def cells(count: int) -> tuple[int, int]:
    """Columns and rows for so many pictures."""
    columns = math.ceil(math.sqrt(count))
    return columns, math.ceil(count / columns)


def side_by_side(pictures: Sequence[tuple[str, Image]]) -> Image:
    """Named pictures (H, W, 3) BGR of any sizes in one of SIZE_WH, in rows from the top left, each
    as large as its cell allows."""
    columns, rows = cells(len(pictures))
    wide, tall = SIZE_WH[0] // columns, SIZE_WH[1] // rows
    whole = np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
    for n, (name, picture) in enumerate(pictures):
        x, y = n % columns * wide, n // columns * tall
        cell = whole[y : y + tall, x : x + wide]
        cell[:] = fitted(picture, (wide, tall))
        at = LETTERS, tall - 3 * LETTERS
        write(cell, shortened(name, LETTERS, wide - 2 * LETTERS), at, LETTERS, LIGHT)
    return whole

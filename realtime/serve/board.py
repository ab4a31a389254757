"""What a page shows and offers: pictures, numbers and buttons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

from realtime.records import PosedFrame
from realtime.serve.buttons import Buttons
from realtime.serve.figures import Figures
from realtime.serve.newest import Newest, Shot
from realtime.shape import seen

Choice = Callable[[], int]
"""Which of several sources a viewer looks at now, from 1; any other number stands for all."""


class Board(Protocol):
    """begin() comes first; everything is called in the server's thread."""

    def begin(self, loop: asyncio.AbstractEventLoop) -> None: ...

    async def after(self, last: Shot | None, choice: Choice) -> Shot:
        """The newest shot that may be shown, as soon as it is another one than that."""
        ...

    async def still(self, choice: Choice) -> Shot | None:
        """The newest shot, to be kept; None when there is none yet."""
        ...

    def told(self) -> dict[str, Any]:
        """Plain JSON values: the numbers, the buttons and what there is to say at the picture."""
        ...

    def press(self, name: str) -> None:
        """Have what a button says done soon."""
        ...


class OneBoard:
    """The board of one source. put() in any thread."""

    def __init__(self, figures: Figures, buttons: Buttons) -> None:
        self._figures, self._buttons = figures, buttons
        self._newest = Newest(self._draw_again)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._newest.begin(loop)

    def put(self, item: PosedFrame, private: bool) -> None:
        """Make this the newest frame; private: whether it hides faces."""
        if shot := self._shot(item, private):
            self._newest.put(shot)

    async def after(self, last: Shot | None, choice: Choice) -> Shot:
        return await self._newest.after(last)

    async def still(self, choice: Choice) -> Shot | None:
        self._draw_again()
        shot = self._newest.shot
        return shot if shot and shot.fit() else None

    def told(self) -> dict[str, Any]:
        self._draw_again()
        note = {"note": self._buttons.note()}
        return {**self._figures.told(), "buttons": self._buttons.told(), **note}

    def press(self, name: str) -> None:
        self._buttons.press(name)

    def _draw_again(self) -> None:
        """No other frame may come for long; what is on show follows the buttons all the same."""
        item, age = self._figures.item, perf_counter() - self._figures.since
        shot, private = self._newest.shot, self._buttons.private
        must = shot is not None and not shot.fit()
        if item and (again := self._buttons.redrawn(item, age, must)):
            self._figures.item = again
            if shot := self._shot(again, private):
                self._newest.show(shot)

    def _shot(self, item: PosedFrame, private: bool) -> Shot | None:
        if item.picture is None:
            return None
        frame = item.frame
        return Shot(
            seen(item), frame.index, frame.grabbed, lambda: private or not self._buttons.private
        )

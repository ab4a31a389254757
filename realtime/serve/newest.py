"""The newest picture, for any number of viewers: encoded once, and only when one asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock

import cv2
import numpy as np

from realtime.records import Image

QUALITY = 80
"""Of the JPEG pictures: at 1280x720 some 100 kB, without visible blocks around thin limbs."""
WIDEST = 1280
"""Pixels across; wider pictures are sent smaller, the screenshot is not."""
AGAIN = 0.25
"""Seconds without a picture after which the one before may have to be drawn again."""


class Shot:
    """One picture. index: of its frame; grabbed: perf_counter() when the frame was read, 0 when
    that is not known; fit: whether it may still be shown, or hides too little by now."""

    def __init__(
        self, picture: Image, index: int, grabbed: float, fit: Callable[[], bool] = lambda: True
    ) -> None:
        self.picture, self.index, self.grabbed, self.fit = picture, index, grabbed, fit
        self._coded: asyncio.Future[bytes] | None = None

    async def jpeg(self, hands: ThreadPoolExecutor) -> bytes:
        """Its JPEG, made by the first who asks; only in the event loop's thread."""
        if self._coded is None:
            loop = asyncio.get_running_loop()
            self._coded = loop.run_in_executor(hands, to_jpeg, self.picture)
        return await asyncio.shield(self._coded)


class Newest:
    """Holds one Shot: a new one replaces it. put() in any thread, the rest in the loop's.

    again: called now and then while somebody waits; it may show() a picture drawn anew.
    """

    def __init__(self, again: Callable[[], None] = lambda: None) -> None:
        self.shot: Shot | None = None
        self._again = again
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next: Shot | None = None
        self._lock = Lock()
        self._changed = asyncio.Event()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop in which viewers will ask; before put()."""
        self._loop = loop

    def put(self, shot: Shot) -> None:
        """Does not wait; pictures that come faster than the loop turns replace each other."""
        assert self._loop is not None
        with self._lock:
            waiting = self._next is not None
            self._next = shot
        if not waiting:
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._lock:
            shot, self._next = self._next, None
        if shot is not None:
            self.show(shot)

    def show(self, shot: Shot) -> None:
        """put() for the loop's own thread."""
        self.shot = shot
        self._changed.set()
        self._changed = asyncio.Event()

    async def after(self, last: Shot | None) -> Shot:
        """The newest shot, as soon as it is another one than that."""
        while self.shot is None or self.shot is last or not self.shot.fit():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), AGAIN)
            self._again()
        return self.shot


def to_jpeg(picture: Image) -> bytes:
    """picture uint8 (H, W, 3) BGR, at most WIDEST pixels wide, as a JPEG file."""
    height, width = picture.shape[:2]
    if width > WIDEST:
        size = WIDEST, max(1, round(height * WIDEST / width))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return _encoded(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def to_png(picture: Image) -> bytes:
    """picture uint8 (H, W, 3) BGR in its full size as a PNG file."""
    return _encoded(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])


def _encoded(kind: str, picture: Image, options: list[int]) -> bytes:
    done, data = cv2.imencode(kind, picture, options)
    if not done:  # OpenCV raises for what it does not take; this is its only other way to say so
        raise ValueError(f"{kind}: a picture of shape {picture.shape} cannot be encoded")
    return data.tobytes()

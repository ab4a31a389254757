"""The newest picture, for any number of viewers: encoded once, and only when one asks for it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import cv2
import numpy as np

from realtime.records import Image, PosedFrame

QUALITY = 80
"""Of the JPEG pictures: at 1280x720 some 100 kB, without visible blocks around thin limbs."""
WIDEST = 1280
"""Pixels across; wider pictures are sent smaller, the screenshot is not."""


class Shot:
    """One picture. index: of its frame; grabbed: perf_counter() when the frame was read;
    serial: counts pictures from 1."""

    def __init__(self, picture: Image, index: int, grabbed: float, serial: int) -> None:
        self.picture, self.index, self.grabbed, self.serial = picture, index, grabbed, serial
        self._coded: asyncio.Future[bytes] | None = None

    async def jpeg(self, hands: ThreadPoolExecutor) -> bytes:
        """Its JPEG, made by the first who asks; only in the event loop's thread."""
        if self._coded is None:
            loop = asyncio.get_running_loop()
            self._coded = loop.run_in_executor(hands, to_jpeg, self.picture)
        return await asyncio.shield(self._coded)


class Newest:
    """Holds one Shot: a new one replaces it. put() in any thread, the rest in the loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.shot: Shot | None = None
        self._loop = loop
        self._next: PosedFrame | None = None
        self._lock = Lock()
        self._changed = asyncio.Event()
        self._serial = 0

    def put(self, item: PosedFrame) -> None:
        """Does not wait; pictures that come faster than the loop turns replace each other."""
        with self._lock:
            waiting = self._next is not None
            self._next = item
        if not waiting:
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._lock:
            item, self._next = self._next, None
        if item is not None:
            self.show(item)

    def show(self, item: PosedFrame) -> None:
        """put() for the loop's own thread."""
        if item.picture is None:
            return
        self._serial += 1
        self.shot = Shot(item.picture, item.frame.index, item.frame.grabbed, self._serial)
        self._changed.set()
        self._changed = asyncio.Event()

    async def after(self, serial: int) -> Shot:
        """The newest shot as soon as it is newer than that one."""
        while self.shot is None or self.shot.serial <= serial:
            await self._changed.wait()
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

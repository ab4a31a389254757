"""One webcam through OpenCV: opening it in a mode, what the driver granted, reading a picture."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from time import perf_counter
from typing import Any, Protocol

# Seconds that V4L2 waits for a picture, 10 by default. It must be less than OPEN_WITHIN, so that a
# camera that opens and then gives nothing is told from one that does not open. A longer value than
# this would only delay that a camera that is hung up is opened again.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "5")

import cv2
import numpy as np

from realtime.records import Image
from realtime.sources.devices import Devices
from realtime.sources.waiting import within_seconds

OPEN_WITHIN = 10.0
"""Seconds a camera may take to open and give its first picture."""

OLDEST = 60.0
"""Seconds that a picture may have waited in the driver."""

PAUSE = 0.05
"""Seconds between two reads while there is no picture."""

DEFAULT_SIZE, DEFAULT_RATE = (1280, 720), 30.0

if "OPENCV_LOG_LEVEL" not in os.environ:  # what does not open is told here in one line
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CameraMode:
    """What to ask a camera for: width and height in pixels, frames per second."""

    size_wh: tuple[int, int] | None = None
    rate: float | None = None


class Capture(Protocol):
    """The part of cv2.VideoCapture that is used."""

    def isOpened(self) -> bool: ...
    def read(self) -> tuple[bool, Any]: ...
    def set(self, what: int, value: float) -> bool: ...
    def get(self, what: int) -> float: ...
    def release(self) -> None: ...


OpenCapture = Callable[[int, int], Capture]
"""Number of the camera and number of the backend -> capture, perhaps not open."""


def backends() -> list[int]:
    """The OpenCV backends to try on this system, best first."""
    if sys.platform == "win32":
        return [cv2.CAP_DSHOW, cv2.CAP_MSMF]
    return [cv2.CAP_AVFOUNDATION if sys.platform == "darwin" else cv2.CAP_V4L2]


@dataclass(frozen=True, slots=True)
class Opened:
    """An open camera that has given a picture, and the mode it granted."""

    capture: Capture
    backend: str
    size_wh: tuple[int, int]
    rate: float | None  # None: the driver does not say, or says something unbelievable
    code: str  # of the pixel format, "MJPG"
    seconds: float  # that opening took

    def mode(self) -> str:
        rate = "unknown" if self.rate is None else f"{self.rate:g}"
        return f"{by(self.size_wh)} at {rate} fps {self.code} ({self.backend})"


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens cameras in one mode; what it depends on can be replaced in tests."""

    mode: CameraMode = CameraMode()
    capture: OpenCapture = cv2.VideoCapture
    devices: Devices = field(default_factory=Devices)
    clock: Callable[[], float] = perf_counter
    within: float = OPEN_WITHIN

    @property
    def wanted(self) -> tuple[tuple[int, int], float]:
        return self.mode.size_wh or DEFAULT_SIZE, self.mode.rate or DEFAULT_RATE

    def open(self, number: int) -> Opened | None:
        """The camera, or None when no backend gives a picture. May block in the driver."""
        for backend in backends():
            start = self.clock()
            capture = self.capture(number, backend)
            if capture.isOpened():
                self._ask(capture)
                _leave_coded(capture, backend)
                image = _first_picture(capture, self.clock, self.within)
                if image is not None:
                    return self._granted(capture, backend, image, self.clock() - start)
            capture.release()
        return None

    def open_in_time(self, number: int) -> Opened | None:
        """As open, in a thread of its own. Raises TimeoutError when the driver does not answer."""
        return within_seconds(self.within, lambda: self.open(number), release)

    def _ask(self, capture: Capture) -> None:
        """The order matters: a driver offers sizes per pixel format, and rates per size."""
        size_wh, rate = self.wanted
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size_wh[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size_wh[1])
        capture.set(cv2.CAP_PROP_FPS, rate)

    def _granted(self, capture: Capture, backend: int, image: Image, seconds: float) -> Opened:
        rate = capture.get(cv2.CAP_PROP_FPS)
        return Opened(
            capture,
            cv2.videoio_registry.getBackendName(backend),
            (image.shape[1], image.shape[0]),
            rate if 1.0 <= rate <= 240.0 else None,
            _code(capture.get(cv2.CAP_PROP_FOURCC)),
            seconds,
        )


def release(opened: Opened | None) -> None:
    if opened is not None:
        opened.capture.release()


def by(size_wh: tuple[int, int]) -> str:
    return f"{size_wh[0]}x{size_wh[1]}"


def _code(number: float) -> str:
    """The four letters of a pixel format, "?" where a backend gives something else."""
    code = int(number).to_bytes(4, "little", signed=number < 0) if abs(number) < 2**31 else b""
    return code.decode("ascii") if code.isalnum() and code.isascii() else "?"


def _leave_coded(capture: Capture, backend: int) -> None:
    """Get JPEGs as they are: for one that it cannot decode, V4L2 gives the picture before again."""
    if backend == cv2.CAP_V4L2 and _code(capture.get(cv2.CAP_PROP_FOURCC)) in ("MJPG", "JPEG"):
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)


def _bgr(ok: bool, image: Any) -> Image | None:
    """What read() returned as uint8 (H, W, 3), None when that is no picture."""
    if not ok or image is None or not image.size or image.dtype != np.uint8:
        return None
    if image.ndim == 2 and image.shape[0] == 1:  # a JPEG, see _leave_coded
        image = cv2.imdecode(image, cv2.IMREAD_COLOR)
        return None if image is None else np.asarray(image, np.uint8)
    if image.ndim == 2:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.asarray(image) if image.ndim == 3 and image.shape[2] == 3 else None


def read_picture(capture: Capture) -> Image | None:
    try:
        return _bgr(*capture.read())
    except cv2.error as error:
        logger.debug("camera read: %s", error)
        return None


def taken_at(capture: Capture, now: float) -> float | None:
    """When the picture read last was taken, in seconds of the clock that says now, which on Linux
    is the one of V4L2; None where the driver does not say or goes by another clock."""
    if not sys.platform.startswith("linux"):  # 0, or from the camera's start
        return None
    stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    return stamp if 0.0 <= now - stamp < OLDEST else None


def _first_picture(capture: Capture, clock: Callable[[], float], within: float) -> Image | None:
    """A driver may open a camera that another program uses; only a picture proves it works."""
    end = clock() + within / 2
    pause = Event()
    while (image := read_picture(capture)) is None and clock() < end:
        pause.wait(PAUSE)
    return image

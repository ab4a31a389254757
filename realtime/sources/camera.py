"""Webcams: opening one, reading it for ever, coming back after a pull, listing them.

Nothing here waits for a driver longer than it says: opening runs in a thread of its own, and a
blocked read is left behind by close().
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator
from threading import Event

from realtime.errors import InputError
from realtime.records import Image
from realtime.sources.base import Source, SourceInfo, Span
from realtime.sources.capture import (
    PAUSE,
    CameraMode,
    Capture,
    Opened,
    Opener,
    by,
    read_picture,
    release,
    taken_at,
)
from realtime.sources.devices import Devices, listed
from realtime.sources.live import Broken, LiveSource, Picture
from realtime.sources.picture_watch import PictureWatch
from realtime.sources.span import check_span
from realtime.sources.waiting import Backoff, Handover
from realtime.status import SourceStatus

SILENT_FOR = 2.0
"""Seconds without a picture after which an open camera is opened again."""

INSTEAD = "or try --input demo"
PERMISSION = {
    "darwin": ": allow this terminal in System Settings, Privacy & Security, Camera, and run again",
    "win32": ": let desktop apps use it in Settings, Privacy, Camera",
}
"""Where users allow cameras. macOS asks at the first try, which fails."""

__all__ = ["CameraMode", "Opener", "list_cameras", "open_camera"]

logger = logging.getLogger(__name__)


class Camera:
    """The connections of one camera, the first of which exists already."""

    def __init__(self, number: int, opener: Opener, first: Opened) -> None:
        self._number = number
        self._opener = opener
        self._first = Handover(first)
        self._name = (opener.devices.found() or {}).get(number, "")
        self.title = f"camera {number} ({self._name})" if self._name else f"camera {number}"
        self.status = SourceStatus(clock=opener.clock)
        self._watch = PictureWatch(opener.clock)
        self._note_mode(first)

    def put_away(self) -> None:
        """Release the first connection if nobody reads it."""
        release(self._first.take())

    def connect(self, closed: Event) -> Generator[Picture, None, None]:
        """Pictures until the camera gives none for SILENT_FOR seconds, then Broken."""
        opened = self._first.take() or self._reopened()
        try:
            yield from self._pictures(opened.capture, closed)
        finally:
            opened.capture.release()

    def _pictures(self, capture: Capture, closed: Event) -> Generator[Picture, None, None]:
        began = last = self._opener.clock()
        failed = 0
        while not closed.is_set():
            image = read_picture(capture)
            if image is not None:
                self.status.bad_packets += failed
                taken = taken_at(capture, self._opener.clock())
                if taken is None or taken >= began:  # others waited while the networks loaded
                    self._look_at(image)
                    yield Picture(image, taken)
                last, failed = self._opener.clock(), 0
            elif self._opener.clock() - last > SILENT_FOR:
                raise Broken("the camera gives no picture; is it plugged in?", down=True)
            else:
                failed += 1
                closed.wait(PAUSE)

    def _look_at(self, image: Image) -> None:
        warning = self._watch.see(image)
        if warning and f"{self.title}: {warning}" not in self.status.notes:
            logger.warning("%s: %s", self.title, warning)
            self.status.note(f"{self.title}: {warning}")

    def _reopened(self) -> Opened:
        number = self._where()
        if number is None:
            raise Broken("the camera is gone; plug it in again", down=True)
        opened = self._opener.open(number)
        if opened is None:
            raise Broken("the camera does not open", down=True)
        self._number = number
        self._note_mode(opened)
        return opened

    def _where(self) -> int | None:
        """The number of the camera now: after a pull it may come back under another one."""
        found = self._opener.devices.found()
        if found is None or found.get(self._number) == self._name:
            return self._number
        return next((n for n, name in found.items() if name == self._name and name), None)

    def _note_mode(self, opened: Opened) -> None:
        size_wh, rate = self._opener.wanted
        asked = f"{by(size_wh)} at {rate:g} fps MJPG"
        self.status.note(f"{self.title}: asked for {asked}, granted {opened.mode()}")


def open_camera(
    index: int,
    mode: CameraMode | None = None,
    *,
    span: Span | None = None,
    max_reconnects: int | None = None,
    opener: Opener | None = None,
    backoff: Backoff | None = None,
) -> Source:
    """Open a webcam within about 10 s. mode None asks for 1280x720 at 30 frames per second.

    The source is live, comes back by itself and ends with the span, if that ends; see
    realtime.sources.live.
    max_reconnects limits the attempts in a row to get it back, then frames() raises SourceLost;
    None is no limit. Raises InputError when there is no such camera, it is in use, or may not be
    opened, UsageError for a span that cannot be.
    """
    span = span or Span()
    check_span(span)
    opener = opener or Opener(mode or CameraMode())
    found = opener.devices.found()
    if found is not None and index not in found:
        raise InputError(f"no camera {index} (found: {listed(found)}); plug one in, {INSTEAD}")
    if not opener.devices.usable(index):
        node = opener.devices.node(index)
        raise InputError(
            f"no permission to open {node}; add yourself to the group video (sudo usermod -aG video"
            f" $USER) and log in again, {INSTEAD}"
        )
    opened = _opened(index, opener, found)
    camera = Camera(index, opener, opened)
    info = SourceInfo(camera.title, "camera", live=True, rate=opened.rate, size_wh=opened.size_wh)
    return LiveSource(
        info,
        camera.status,
        camera.connect,
        put_away=camera.put_away,
        span=span,
        max_reconnects=max_reconnects,
        clock=opener.clock,
        backoff=backoff,
    )


def _opened(index: int, opener: Opener, found: dict[int, str] | None) -> Opened:
    try:
        opened = opener.open_in_time(index)
    except TimeoutError:
        raise InputError(
            f"camera {index} does not answer within {opener.within:g} s; unplug it and plug it in "
            f"again, {INSTEAD}"
        ) from None
    if opened is None and found is None:
        where = PERMISSION.get(sys.platform, "")
        raise InputError(
            f"no camera {index}, it is in use, or not allowed{where} (found: {listed(None)});"
            f" {INSTEAD}"
        )
    if opened is None and opener.devices.busy(index):
        users = opener.devices.users(index)
        raise InputError(f"camera {index} is in use by {users}; close that program, {INSTEAD}")
    if opened is None:
        raise InputError(
            f"camera {index} gives no picture; unplug it and plug it in again, {INSTEAD}"
        )
    return opened


def list_cameras(opener: Opener | None = None) -> str:
    """A table of the cameras here: number, name, backend, granted mode, measured rate, time to
    open; "no camera found" when there is none. Opens each for about a second."""
    opener = opener or Opener()
    found = opener.devices.found()
    rows = [
        _row(n, (found or {}).get(n, ""), opener) for n in (range(5) if found is None else found)
    ]
    rows = [row for row in rows if row[-1] or found is not None]
    if not rows:
        return "no camera found"
    head = ("number", "name", "backend", "granted", "measured", "opened in")
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in (head, *rows))
    return "\n".join(lines)


def _row(number: int, name: str, opener: Opener) -> tuple[str, ...]:
    try:
        opened = opener.open_in_time(number)
    except TimeoutError:
        return str(number), name, "", "does not answer", "", f"> {opener.within:g} s"
    if opened is None:
        return str(number), name, "", _why_not(number, opener.devices), "", ""
    rate = _measured(opened.capture, opener.clock)
    opened.capture.release()
    granted = f"{by(opened.size_wh)} {opened.code} " + (
        f"{opened.rate:g} fps" if opened.rate else ""
    )
    return str(number), name, opened.backend, granted, f"{rate:.1f} fps", f"{opened.seconds:.1f} s"


def _why_not(number: int, devices: Devices) -> str:
    if not devices.usable(number):
        return "no permission"
    return "in use" if devices.busy(number) else "gives no picture"


def _measured(capture: Capture, clock: Callable[[], float], seconds: float = 1.0) -> float:
    """Pictures per second over about a second."""
    start, count = clock(), 0
    while (elapsed := clock() - start) < seconds:
        count += read_picture(capture) is not None
    return count / elapsed

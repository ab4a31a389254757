"""A camera without hardware: cv2.VideoCapture's interface over a script of faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np

from realtime.sources.devices import Devices
from realtime.sources.waiting import Backoff


class FakeClock:
    """Seconds that pass only when told, or on sleep."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> bool:
        self.now += seconds
        return False


class Soon(Backoff):
    """Counts attempts and waits a tenth of a second."""

    def next(self, down: bool = False) -> float:
        super().next(down)
        return 0.1


@dataclass
class FakeCamera:
    """What the captures of one camera share. Called with (number, backend) it opens a capture.

    present: whether opening works. silent_from: reads from this one on return (False, None).
    block_at: this read waits for unblock. open_for: seconds that opening takes (real time).
    image: number of the read -> picture. obeys: whether set() has an effect.
    """

    present: bool = True
    silent_from: float = float("inf")
    block_at: float = float("inf")
    open_for: float = 0.0
    obeys: bool = True
    image: Callable[[int], Any] = lambda n: np.full((48, 64, 3), 40 + n % 200, np.uint8)
    on_read: Callable[[int], None] = lambda n: None
    unblock: Event = field(default_factory=Event)
    blocked: Event = field(default_factory=Event)
    reads: int = 0
    opens: list[tuple[int, int]] = field(default_factory=list)
    asked: list[tuple[int, float]] = field(default_factory=list)
    released: int = 0

    def __call__(self, number: int, backend: int) -> FakeCapture:
        self.opens.append((number, backend))
        if self.open_for:
            self.unblock.wait(self.open_for)
        return FakeCapture(self)


class FakeCapture:
    """One connection of a FakeCamera; grants 64x48 at 25 frames per second, YUYV, by itself."""

    def __init__(self, camera: FakeCamera) -> None:
        self._camera = camera
        self._open = camera.present
        self._mode = {
            cv2.CAP_PROP_FPS: 25.0,
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")),
        }

    def isOpened(self) -> bool:
        return self._open

    def read(self) -> tuple[bool, Any]:
        camera, number = self._camera, self._camera.reads
        camera.reads += 1
        camera.on_read(number)
        if number == camera.block_at:
            camera.blocked.set()
            camera.unblock.wait(10)
        if not self._open or number >= camera.silent_from:
            return False, None
        return True, camera.image(number)

    def set(self, what: int, value: float) -> bool:
        self._camera.asked.append((what, value))
        if self._camera.obeys:
            self._mode[what] = float(value)
        return self._camera.obeys

    def get(self, what: int) -> float:
        return self._mode.get(what, 0.0)

    def release(self) -> None:
        self._camera.released += self._open
        self._open = False


def linux_devices(folder: Path, cameras: dict[int, str]) -> Devices:
    """The files by which Linux shows these cameras (number -> name), made anew below folder."""
    devices = Devices(folder / "dev", folder / "class", known=True)
    devices.dev.mkdir(exist_ok=True)
    for old in devices.dev.glob("video*"):
        old.unlink()
    for number, name in cameras.items():
        devices.node(number).touch()
        about = devices.names / f"video{number}"
        about.mkdir(parents=True, exist_ok=True)
        (about / "name").write_text(name + "\n")
        (about / "index").write_text("0\n")
    return devices

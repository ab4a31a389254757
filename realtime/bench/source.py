"""What a benchmark measures with: pictures of the demo scene, and who is in them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf
from threading import Event
from time import perf_counter

import numpy as np

from engines.base import Network
from realtime.detect import Detector
from realtime.records import Detections, Float, Frame, Image
from realtime.scene import Scene
from realtime.scene.cast import MOST
from realtime.sources.base import SourceInfo
from realtime.status import SourceStatus

SIZE_WH = (1280, 720)
RATE = 30.0
PICTURES = 16
"""Of one clip, 2.6 MiB each; shown forth and back, so that everybody moves without a jump."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Pictures uint8 (720, 1280, 3) BGR and the boxes float32 (N, 4) of the people in each, in
    frame pixels."""

    pictures: tuple[Image, ...]
    boxes_xyxy: tuple[Float, ...]

    def at(self, number: int) -> int:
        """Which picture frame number (from 0) of the endless clip shows: 0 1 2 3 2 1 0 1 ..."""
        last = len(self.pictures) - 1
        step = number % max(2 * last, 1)
        return min(step, 2 * last - step)

    @property
    def people(self) -> float:
        """Mean number of people in a picture."""
        return sum(map(len, self.boxes_xyxy)) / len(self.boxes_xyxy)


def make_clip(seed: int, people: int, pictures: int = PICTURES) -> Clip:
    """A clip with so many people (0 to 12) in view all the time: more than one scene holds are in
    two of them, side by side."""
    if people <= MOST:
        return _of_scene(Scene(seed, pictures, SIZE_WH, RATE, people), pictures)
    half_wh = SIZE_WH[0] // 2, SIZE_WH[1]
    left, right = (
        _of_scene(Scene(seed + n, pictures, half_wh, RATE, count), pictures)
        for n, count in enumerate((people // 2, people - people // 2))
    )
    moved = [boxes + np.array([half_wh[0], 0] * 2, np.float32) for boxes in right.boxes_xyxy]
    return Clip(
        tuple(map(np.hstack, zip(left.pictures, right.pictures, strict=True))),
        tuple(map(np.concatenate, zip(left.boxes_xyxy, moved, strict=True))),
    )


def _of_scene(scene: Scene, pictures: int) -> Clip:
    images = tuple(scene.image(n) for n in range(pictures))
    return Clip(images, tuple(scene.truth(n).boxes_xyxy for n in range(pictures)))


@dataclass(frozen=True, slots=True)
class Length:
    """How long to measure: so many seconds and so many frames, whichever takes longer, but no
    longer than most seconds."""

    seconds: float = 0.0
    frames: int = 0
    most: float = inf

    def over(self, seconds: float, frames: int) -> bool:
        enough = seconds >= self.seconds and frames >= self.frames
        return frames > 0 and (enough or seconds >= self.most)


class ClipSource:
    """See Source. A clip again and again: at full speed like a file, or live like a camera.

    Live, frame n is there (n + phase) / 30 seconds after the first call, however late the thread
    wakes up: Frame.grabbed is that moment, so that latency counts the delay. clock returns
    seconds.
    """

    def __init__(
        self,
        clip: Clip,
        length: Length,
        live: bool = False,
        phase: float = 0.0,
        name: str = "bench",
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.clip = clip
        self.info = SourceInfo(name, "camera" if live else "file", live, rate=RATE, size_wh=SIZE_WH)
        self.status = SourceStatus()
        self._length, self._phase, self._clock = length, phase, clock
        self._closed = Event()

    def close(self) -> None:
        """End frames() before its next frame."""
        self._closed.set()

    def frames(self) -> Generator[Frame, None, None]:
        """Frames until the length is reached or close()."""
        began = self._clock()
        try:
            for number in count():
                due = (number + self._phase) / RATE if self.info.live else self._clock() - began
                if self._length.over(due, number) or not self._reached(began + due):
                    return
                self.status.frame()
                time = due if self.info.live else number / RATE
                image = self.clip.pictures[self.clip.at(number)]
                yield Frame(number, time, image, self.info.name, began + due)
        finally:
            self.status.ended()

    def _reached(self, moment: float) -> bool:
        """Wait for a moment of the clock; False when closed."""
        while (early := moment - self._clock()) > 0:
            if self._closed.wait(early):
                break
        return not self._closed.is_set()


class KnownDetector(Detector):
    """Runs its network on every frame and then gives the people who really are in the clip: the
    work is that of any frame with so many people, whatever the network makes of drawn ones."""

    def __init__(self, network: Network, min_score: float, clip: Clip) -> None:
        super().__init__(network, min_score)
        self._clip = clip

    def __call__(self, frames: Sequence[Frame], share: float = 1.0) -> list[Detections]:
        super().__call__(frames, share)
        boxes = [self._clip.boxes_xyxy[self._clip.at(frame.index)] for frame in frames]
        return [Detections(here, np.full(len(here), 0.9, np.float32)) for here in boxes]

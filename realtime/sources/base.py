"""What a source is: something with a description, a state and a generator of frames."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

from realtime.records import Frame
from realtime.status import SourceStatus

Kind = Literal["camera", "file", "url", "images", "demo"]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known once a source is open.

    name: for people and reports; passwords masked.
    live: the newest frame wins; otherwise every frame is processed once, in order.
    independent: unrelated images: no tracking, detection on each, sizes may differ.
    frames: how many frames will come, None when not known; a container may be wrong about it.
    rate: nominal frames per second, None when not known or not believable (outside 1..240).
    size_wh: size of the upright picture, None when not known before the first frame.
    path: the local file, for its audio and so that no output overwrites it.
    time_base: seconds of one tick of the source's timestamps.
    start: Frame.time of the first frame when only a part is read (--start); 0 for the whole.
    """

    name: str
    kind: Kind
    live: bool = False
    independent: bool = False
    frames: int | None = None
    rate: float | None = None
    size_wh: tuple[int, int] | None = None
    path: Path | None = None
    time_base: Fraction | None = None
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a source to read. start and end are frame numbers (int) or seconds (float);
    end is exclusive; every stride-th frame is kept, counted from the first one kept."""

    start: int | float = 0
    end: int | float | None = None
    stride: int = 1


class Source(Protocol):
    """Opened by its constructor function (which raises InputError), read by one thread.

    frames() may block in a driver; close() may be called from another thread, twice, and must not
    wait for a blocked read.
    """

    info: SourceInfo
    status: SourceStatus

    def frames(self) -> Generator[Frame, None, None]: ...

    def close(self) -> None: ...

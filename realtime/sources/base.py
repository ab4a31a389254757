"""What a source is: something with a description, a state and a generator of frames."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

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


@runtime_checkable
class Seekable(Source, Protocol):
    """A source that can be read again from another place. can_seek: whether that is so for this
    one: a FIFO can be read only once."""

    can_seek: bool

    def seek(self, seconds: float) -> int:
        """Let the next frames() begin with the first frame of the span that is not before this
        time, on the clock of Frame.time; with the last one when there is none.

        A frames() under way ends before its next frame; its thread must have ended before frames()
        is called again. For the main thread. Returns the Frame.part of the frames to come.
        """
        ...

    @property
    def length(self) -> float | None:
        """Seconds that the span lasts, as far as the container can be believed."""
        ...

    def place(self, index: int) -> int:
        """How many frames of the span come before the one of this Frame.index."""
        ...

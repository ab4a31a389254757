"""The annotated video: H.264 in mp4, every frame at its own time."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from itertools import count
from pathlib import Path
from time import monotonic

from realtime.errors import OutputError, UsageError
from realtime.records import Frame, Image, PosedFrame
from realtime.shape import fitted
from realtime.sinks.base import Keeps
from realtime.sinks.encode import DEFAULT_CRF, find_encoder
from realtime.sinks.mp4 import Mp4, mp4_tick
from realtime.sinks.outfile import OutputFile, Room

NOMINAL_RATE = 30.0
"""Frames per second assumed when the source does not know its rate."""
EARLY_START, LATE_START = -1.0, 10.0
"""Seconds; a recording whose first frame is earlier or later starts with it, instead of with frames
that have no time in an mp4, or with nothing to see (transport streams and clips cut without care
start at any time)."""


class Recorder:
    """Writes rendered pictures to path with the times of their frames.

    The file is there, empty, once this is constructed; without a frame it goes again. Recorded
    times are Frame.time - start, exact to the source's tick (time_base; 1/90000 s without one).
    start None means the time of the first frame, for a source of which only a part is read.
    rate only sets how long a single frame lasts. audio_from: the file whose sound goes along.
    A picture of another size, or one that comes hours later, starts the next file: NAME_2.mp4,
    NAME_3.mp4, whose times start at 0 again; a name that is taken is passed over, also with
    overwrite. one_size: pictures of any size are fitted to that of the first one instead.
    segment: seconds after which the next file begins anyway; 0 for never. crf: 0 best to
    51 smallest. min_free: bytes that the disk must have left, looked at
    every second; 0 for no limit.

    Raises UsageError for a bad crf, OutputError when the file cannot be created or grow, or the
    disk has less than min_free; what has been written then plays.
    """

    name = "record"
    wants_picture = True
    keeps: Keeps = "frames"

    def __init__(
        self,
        path: Path,
        *,
        overwrite: bool = False,
        crf: int = DEFAULT_CRF,
        rate: float | None,
        time_base: Fraction | None,
        audio_from: Path | None = None,
        start: float | None = 0.0,
        one_size: bool = False,
        segment: float = 0.0,
        min_free: int = 0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if not 0 <= crf <= 51:
            raise UsageError(f"crf {crf}: expected 0 (best) to 51 (smallest)")
        self.notes: list[str] = []
        self._path, self._crf = path, crf
        self._rate, self._tick = rate or NOMINAL_RATE, mp4_tick(time_base)
        self._audio_from = audio_from
        self._start, self._segment = start, segment
        self._began = 0.0  # when the first frame of this part was
        self._part: Mp4 | None = None
        self._one_size = one_size
        self._room = Room(path.parent, min_free, clock)
        self._check_room()
        self._encoder = find_encoder(crf)
        if self._encoder != "libx264":
            self.notes.append(f"{path}: recorded with {self._encoder}: no libx264 here")
        self._parts = 1
        if segment and overwrite and path.is_file():  # segments of earlier runs stay
            self._file = self._next_file()
            self.notes.append(f"{path}: is there; the recording begins in {self._file.path}")
        else:
            self._file = OutputFile(path, overwrite)
        self._first, self._ended_seconds = self._file.path, 0.0  # the latter of earlier parts
        self._done: list[OutputFile] = []  # earlier parts that are not settled
        self._failed = False
        self._closed = False
        self._cut_at: float | None = None

    def write(self, item: PosedFrame) -> None:
        """Append item.picture, which must be there. Nothing more is written after an error."""
        if item.picture is None:
            raise ValueError("a recorded frame needs its picture")
        if self._failed:
            return
        try:
            self._check_room()
            self._write(self._sized(item.picture), item.frame)
        except OutputError:
            self._failed = True
            raise

    @property
    def ends(self) -> tuple[Path, Path] | None:
        """The first and the last file; None while none has frames."""
        return (self._first, self._file.path) if self._part else None

    @property
    def seconds(self) -> float:
        """How long all files together play."""
        return self._ended_seconds + (self._part.seconds if self._part else 0.0)

    def cut(self, time: float) -> None:
        """Begin the next file with the frame of this time; called by another thread."""
        self._cut_at = time

    def _write(self, picture: Image, frame: Frame) -> None:
        time = frame.time
        zero = self._zero(time)
        cut = self._cut_at is not None and time >= self._cut_at
        if cut:
            self._cut_at = None
        if self._part is None:
            self._part, self._began = self._open(picture, frame.aspect, zero), time
        elif cut or self._full(time) or not self._part.fits(picture, time - zero):
            self._roll(picture, frame)
            zero = time
        self._part.write(picture, time - zero)

    def _sized(self, picture: Image) -> Image:
        """The picture as it is recorded."""
        if not self._one_size:
            return picture
        if self._part:
            return fitted(picture, self._part.picture_wh)
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        self.notes.append(f"{self._path}: every image has the size of the first one, {size}")
        return picture

    def _full(self, time: float) -> bool:
        """Whether a frame of this time belongs to the next segment."""
        return bool(self._segment) and time - self._began > self._segment - 0.5 / self._rate

    def _check_room(self) -> None:
        """Raise OutputError, with the file finished, when the disk is nearly full."""
        lacking = self._room.lacking()
        if not lacking:
            return
        if self._part:
            self._part.close()
        rest = "what is there plays" if self._part else "free some, or give a smaller --min-free"
        raise OutputError(f"{self._path}: recording stopped, {lacking}; {rest}")

    def _zero(self, time: float) -> float:
        """What second 0 of the recording is in the source; time is that of the frame to write."""
        if self._start is None:
            self._start = time
        elif self._part is None and not EARLY_START <= time - self._start <= LATE_START:
            self.notes.append(f"{self._path}: second 0 is {time:.3f} s of the source")
            self._start = time
        return self._start

    def _open(self, picture: Image, aspect: float, zero: float) -> Mp4:
        return Mp4(
            self._file,
            (picture.shape[1], picture.shape[0]),
            self._tick,
            self._rate,
            self._crf,
            self._encoder,
            self.notes,
            self._audio_from,
            zero,
            aspect,
        )

    def _roll(self, picture: Image, frame: Frame) -> None:
        """End this file and go on in the next one."""
        time = frame.time
        if self._part:
            self._part.close()
            self._ended_seconds += self._part.seconds
        self._settle()
        following = self._next_file()
        self._done.append(self._file)
        self._file = following
        self._parts += 1
        self._start = time
        self._part, self._began = self._open(picture, frame.aspect, time), time
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        self.notes.append(
            f"{self._file.path}: the recording goes on here from {time:.3f} s, {size}"
        )

    def _settle(self) -> None:
        """Close the part before the last, which the disk has by now, so that waiting for it takes
        no time. One that took the place of an old file waits for the end of the run."""
        ready = [file for file in self._done if not file.backup]
        self._done = [file for file in self._done if file.backup]
        for file in ready:
            file.commit()

    def _next_file(self) -> OutputFile:
        """The next free one of NAME_2.mp4, NAME_3.mp4, ...: one that is there may be the input, and
        that it would be replaced could not be known before."""
        stem, suffix = self._path.stem, self._path.suffix
        names = (self._path.with_name(f"{stem}_{n}{suffix}") for n in count(self._parts + 1))
        return OutputFile(next(name for name in names if not os.path.lexists(name)))

    def close(self, clean: bool = True) -> None:
        """Finish the file. Without clean the old file of an overwriting run stays as NAME.bak."""
        if self._closed:
            return
        self._closed = True
        clean = clean and not self._failed
        try:
            if self._part and not self._failed:
                self._part.close()
        except OutputError:
            self._failed, clean = True, False
            raise
        finally:
            self._end_files(clean)

    def _end_files(self, clean: bool) -> None:
        for file in [*self._done, self._file]:
            if not file.size:
                file.discard()
            elif clean:
                file.commit()
            else:
                file.keep()

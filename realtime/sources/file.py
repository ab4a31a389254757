"""Video files: every frame once, in order, upright, with the container's own timestamps."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any

import av

from realtime.errors import InputError
from realtime.records import Frame
from realtime.sources.base import Source, SourceInfo, Span
from realtime.sources.container import (
    LIMITS,
    NO_PICTURES,
    has_true_stamps,
    is_regular,
    note_other_videos,
    open_container,
    open_pipe,
    pixel_aspect,
    shown,
    video_stream,
)
from realtime.sources.cut import has_index_last, is_cut, is_torn
from realtime.sources.decode_fast import FRAME_THREADED, FastDecoder
from realtime.sources.decode_video import (
    Decoder,
    FrameClock,
    Upright,
    decoded,
    orientation,
)
from realtime.sources.seek import Entry, entry_before
from realtime.sources.span import ALIKE, check_span, described, reached, total_frames
from realtime.status import NEVER, STALL_AFTER, SourceStatus

READ_ERRORS = 10
"""Read errors in a row after which a file is taken to end; one damaged index entry gives one."""

PROBE_PACKETS = 300

NO_FRAME = "no frame of it can be decoded: it is damaged, or its pictures exceed 64 megapixels"
INDEX_LAST = (
    "its index is at the end, from where a pipe cannot go back to the pictures; give the file"
    " itself, or one made by ffmpeg -i FILE -c copy -movflags +faststart OUT.mp4"
)


def open_file(path: Path, span: Span) -> Source:
    """A video file, looked into but not kept open.

    Seconds in span are on the clock of Frame.time, the container's timestamps. A FIFO or device
    is opened only by frames(), since that may wait for its writer. Raises InputError when there
    is no video to read, UsageError for a span that cannot be.
    """
    check_span(span)
    info = SourceInfo(shown(path.name), "file", path=path)
    if not is_regular(path):
        return FileSource(path, span, info)
    with open_container(path) as container:
        stream = video_stream(container, shown(path))
        info = described(info, container, stream, span)
        first = _first_frame(container, stream, path)
    if first is not None:
        wide, high = first.width, first.height
        info = replace(info, size_wh=(high, wide) if orientation(first)[0] else (wide, high))
    return FileSource(path, span, info)


Chosen = tuple[int, float, av.VideoFrame]
"""A frame's number, its time and itself."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one frames() gives: the frames from a time on; number: how many parts were before."""

    number: int = 0
    begin: float = float("-inf")


class FileSource:
    """See Seekable. info.start is exact from the first frame on; until then it is 0."""

    def __init__(self, path: Path, span: Span, info: SourceInfo) -> None:
        self.info = info
        self._path = path
        self._regular = self.can_seek = is_regular(path)
        self._head = bytearray()  # the first bytes of a pipe
        self.status = SourceStatus(NEVER if self._regular else STALL_AFTER)
        self._part = _Part()
        self._first: int | None = None  # number of the first frame of the span, once it is known
        self._span = span
        self._closed = Event()
        self._upright = Upright()

    def close(self) -> None:
        """End frames() before its next frame; the file is closed by the thread that reads it."""
        self._closed.set()

    def seek(self, seconds: float) -> int:
        """See Seekable."""
        self._part = _Part(self._part.number + 1, seconds - ALIKE)
        return self._part.number

    @property
    def length(self) -> float | None:
        """See Seekable."""
        if not (self.info.frames and self.info.rate):
            return None
        return self.info.frames * self._span.stride / self.info.rate

    def place(self, index: int) -> int:
        """See Seekable."""
        return (index - (self._first or 0)) // self._span.stride

    def frames(self) -> Generator[Frame, None, None]:
        """The frames of the span, after seek() those from there on. Raises InputError when there is
        none to give."""
        part, given = self._part, 0
        if part.number:
            self.status.again()
        with closing(self._wanted(part)) as wanted, self._quiet_when_closed():
            for index, time, picture in wanted:
                grabbed = perf_counter()
                image = self._upright.usable(picture, self.status)
                if image is not None:
                    given += 1
                    self.status.frame()
                    name, aspect = self.info.name, self._upright.aspect
                    yield Frame(index, time, image, name, grabbed, part.number, aspect)
        if self._part is not part:
            return
        self.status.ended()
        if not given and not self._closed.is_set():
            raise InputError(f"{shown(self._path)}: {self._why_nothing()}")

    def _wanted(self, part: _Part) -> Generator[Chosen, None, None]:
        """The frames of a part; where it begins behind the last one, that one."""
        later = self._first is not None and part.begin > self.info.start
        found = (yield from self._chosen(part, part.begin)) if later else False
        if not found:
            yield from self._chosen(part, self._span.start)

    def _goes_on(self, part: _Part) -> bool:
        """Whether this part is still wanted; called for all that is read on the way to it."""
        self.status.works()
        return not self._closed.is_set() and self._part is part

    def _chosen(self, part: _Part, start: int | float) -> Generator[Chosen, None, bool]:
        """_wanted(), decoded from a keyframe on that is not after start; whether there were any or
        nobody wants them any more."""
        clock = FrameClock(self.info.rate, self.status, self.info.name)
        last: Chosen | None = None
        begun = False
        with closing(self._numbered(part, start)) as numbered:
            for index, picture in numbered:
                time = clock.time(picture)
                if not self._goes_on(part):
                    return True
                if reached(self._span.end, index, time):
                    break
                if not self._in_span(index, time):
                    continue
                last = index, time, picture
                if time >= part.begin:
                    begun = True
                    yield last
        if last is not None and not begun:
            yield last
        return last is not None

    def _in_span(self, index: int, time: float) -> bool:
        """Whether this frame, not behind the end, is one of the span; the first one is noted."""
        if self._first is None:
            if not reached(self._span.start, index, time):
                return False
            self._first = index
            self.info = replace(self.info, start=time if self._span.start else 0.0)
        return index >= self._first and (index - self._first) % self._span.stride == 0

    @contextmanager
    def _quiet_when_closed(self) -> Generator[None, None, None]:
        """A wait for a writer that close() has ended is not an error."""
        try:
            yield
        except InputError:
            if not self._closed.is_set():
                raise

    def _why_nothing(self) -> str:
        if self.status.bad_packets or self._span == Span(stride=self._span.stride):
            return NO_FRAME
        return "no frame between --start and --end; see its length, or leave them out"

    def _numbered(
        self, part: _Part, start: int | float
    ) -> Generator[tuple[int, av.VideoFrame], None, None]:
        """Frames with their numbers from the beginning of the file, from a keyframe on that is
        not after start."""
        entry = None
        if self._regular:
            entry = entry_before(self._path, start, lambda: self._goes_on(part))
        if entry is not None:
            found = False
            with closing(self._read(entry)) as frames:
                for index, picture in enumerate(frames, entry.index):
                    found = True
                    yield index, picture
            if found:
                return
        with closing(self._read(None)) as frames:
            yield from enumerate(frames)

    def _read(self, entry: Entry | None) -> Generator[av.VideoFrame, None, None]:
        """Decode from the beginning, or from entry on; nothing when seeking leads behind it."""
        with ExitStack() as stack:
            container = stack.enter_context(self._open())
            size = self._size(container)
            stream = video_stream(container, shown(self._path))
            note_other_videos(container, self.info.name, self.status)
            self._upright = Upright(pixel_aspect(stream))
            if not self._regular:
                self.info = described(self.info, container, stream, self._span)
            if entry is not None and not _sought(container, stream, entry):
                return
            decoder = self._decoder(container, stream, stack)
            frames = decoded(container, stream, self.status, READ_ERRORS, decoder)
            stack.enter_context(closing(frames))  # before the container closes
            count, early = entry.index if entry else 0, False
            try:
                for frame in frames if entry is None else _from_entry(frames, entry):
                    count += 1
                    yield frame
            except av.error.FFmpegError:
                early = True
            if not count and not self.status.bad_packets and has_index_last(bytes(self._head)):
                raise InputError(f"{shown(self._path)}: {INDEX_LAST}")
            if entry is None or count > entry.index:
                early = early or self._size(container) < size
                total = total_frames(container, stream, self.info.rate)
                if count < total:  # else flagged where recordings were joined, which is no damage
                    self.status.bad_packets += decoder.flagged
                self._note_damage(container, count, total, early)

    def _open(self) -> AbstractContextManager[Any]:
        """The container. Raises InputError."""
        if self._regular:
            return open_container(self._path)
        self.status.connecting("waiting for a writer")
        return open_pipe(self._path, self._closed.is_set, self._head)

    def _decoder(self, container: Any, stream: Any, stack: ExitStack) -> Decoder:
        """Several threads where damage can be repaired by decoding once more (decode_fast)."""

        def spare() -> av.VideoCodecContext:
            again = video_stream(stack.enter_context(self._open()), shown(self._path))
            again.codec_context.options = LIMITS
            return again.codec_context

        stream.codec_context.options = LIMITS
        stamped = has_true_stamps(container)
        if self._regular and stamped and stream.codec_context.name in FRAME_THREADED:
            return FastDecoder(stream.codec_context, self.status, spare)
        return Decoder(stream.codec_context, self.status)

    def _size(self, container: Any) -> int:
        """Bytes of the open file at this moment, also when its name is gone; 0 of a pipe."""
        return container.size if self._regular else 0

    def _holds(self, test: Callable[[Path], bool], container: Any) -> bool:
        """What test says of the file; False of a pipe, and when the name is gone or another's."""
        try:
            same = self._regular and self._path.stat().st_size == container.size
            return same and test(self._path)
        except OSError:
            return False

    def _note_damage(self, container: Any, count: int, declared: int, early: bool) -> None:
        """Say once how much of a damaged file there was; called at its end."""
        bad = self.status.bad_packets
        cut = early or self._holds(is_cut, container)
        torn = not cut and count < declared and self._holds(is_torn, container)
        if not (bad or torn) and (not cut or count == declared):
            return
        frames = f"{count} of {declared} frames" if declared > count else f"{count} frames"
        reasons = [f"{bad} damaged packets"] * bool(bad)
        reasons += ["the file is cut short"] * cut + ["a part of it cannot be read"] * torn
        self.status.note(f"{self.info.name}: {frames}; {', '.join(reasons)}", damage=True)


def _sought(container: Any, stream: Any, entry: Entry) -> bool:
    try:
        container.seek(entry.pts, stream=stream)
    except av.error.FFmpegError:
        return False
    return True


def _from_entry(frames: Iterator[av.VideoFrame], entry: Entry) -> Iterator[av.VideoFrame]:
    """The frames from the one with the entry's timestamp on; none when it does not come."""
    found = False
    for frame in frames:
        if not found and frame.pts is not None and frame.pts < entry.pts:
            continue
        if not found and frame.pts != entry.pts:
            return
        found = True
        yield frame


def _first_frame(container: Any, stream: Any, path: Path) -> av.VideoFrame | None:
    """The first frame, None when it does not come soon. Raises InputError without any frame."""
    reason = NO_FRAME if stream.frames or is_cut(path) else NO_PICTURES
    stream.codec_context.options = LIMITS
    decoder = Decoder(stream.codec_context, SourceStatus())
    try:
        for number, packet in enumerate(container.demux(stream)):
            if packet.size:  # the last one is empty, it ends the stream
                reason = NO_FRAME
            for frame in decoder.decode(packet):
                return frame
            if number >= PROBE_PACKETS:
                return None
    except av.error.FFmpegError:
        reason = NO_FRAME
    raise InputError(f"{shown(path)}: {reason}")

"""A video file on a web server: every frame once, in order, and then the end."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from threading import Event
from time import perf_counter
from typing import Any

import av
import av.container

from realtime.errors import InputError, SourceLost
from realtime.records import Frame
from realtime.sources.base import SourceInfo, Span
from realtime.sources.container import LIMITS, note_other_videos, pixel_aspect, video_stream
from realtime.sources.decode_video import DAMAGE, FrameClock, Upright, decoded
from realtime.sources.live import Broken, within
from realtime.sources.network import UNREACHED, Timeouts, broken_by
from realtime.sources.span import believable
from realtime.sources.waiting import Handover
from realtime.status import SourceStatus

ENDLESS = ("mpjpeg", "hls", "dash")
"""Formats of live streams: cameras may invent a size, and of a playlist it is that of the list."""

INDEX_LAST = (
    "its index is at the end, and this server cannot go back to the pictures (no byte ranges);"
    " download it first"
)


def is_file(container: av.container.InputContainer) -> bool:
    """Whether what a web server sends has an end: its size is known, and its duration where the
    size alone says nothing. Many files have none (raw H.264, WebM of browsers, MPEG-TS). Of servers
    that do not know the size, what has an index of its frames."""
    if any(stream.frames > 0 for stream in container.streams.video):
        return True
    known = bool(container.duration and container.duration > 0)
    return container.size > 0 and (known or container.format.name not in ENDLESS)


class UrlFile:
    """Reads an open container once, from its beginning. See Source."""

    def __init__(
        self, container: av.container.InputContainer, name: str, span: Span, timeouts: Timeouts
    ) -> None:
        """Takes over the container. Raises InputError, closing it, when it holds no video."""
        self.status = SourceStatus(stall_after=timeouts.read)
        self._timeouts = timeouts
        self._span = span
        self._closed = Event()
        self._container = Handover(container)
        try:
            stream: Any = video_stream(container, name)
        except InputError:
            container.close()
            raise
        note_other_videos(container, name, self.status)
        self._upright = Upright(pixel_aspect(stream))
        self._declared: int = stream.frames
        self._has_index = "mov" in container.format.name
        self.info = SourceInfo(
            name,
            "url",
            frames=stream.frames if stream.frames > 0 and span == Span() else None,
            rate=believable(stream.average_rate),
            time_base=stream.time_base,
        )

    def close(self) -> None:
        """End frames() before its next frame; returns at once."""
        self._closed.set()
        container = self._container.take()
        if container is not None:
            container.close()

    def frames(self) -> Generator[Frame, None, None]:
        """The frames of the span. Raises SourceLost when the server stops in the middle, InputError
        when there is no frame to give."""
        container = self._container.take()
        if container is None:
            return
        number = 0
        try:
            with (
                closing(container),
                closing(within(self._decoded(container), self._span)) as frames,
            ):
                for number, frame in enumerate(frames, 1):
                    if number == 1 and self._span.start:
                        self.info = replace(self.info, start=frame.time)
                    self.status.frame()
                    self.status.rests()
                    yield frame
                    self.status.asked()
        finally:
            self.status.ended()
        if number == 0 and not self._closed.is_set():
            raise InputError(f"{self.info.name}: {self._why_nothing()}")

    def _why_nothing(self) -> str:
        if self._span.start or self._span.end:
            return "no frame between --start and --end; see its length, or leave them out"
        return "no frame of it can be decoded: it is damaged"

    def _decoded(self, container: av.container.InputContainer) -> Generator[Frame, None, None]:
        stream: Any = video_stream(container, self.info.name)
        stream.codec_context.options = LIMITS
        clock = FrameClock(self.info.rate, self.status, self.info.name)
        count, early = 0, False
        try:
            with closing(decoded(container, stream, self.status)) as pictures:
                for picture in pictures:
                    if self._closed.is_set():
                        return
                    time, index, count = clock.time(picture), count, count + 1
                    yield from self._frame(index, time, picture)
        except DAMAGE as error:
            early = not 0 < self._declared <= count  # the end, where the server knows no size
            if early:
                self._ended_early(broken_by(error, self._timeouts), count)
        self._note_damage(count, early)

    def _ended_early(self, broken: Broken, count: int) -> None:
        """A server that stops is lost; a damaged file gives what it holds."""
        if broken.unusable:
            return  # said by _note_damage
        if not count and self._has_index and str(broken) == UNREACHED:
            raise InputError(f"{self.info.name}: {INDEX_LAST}")
        self.status.lost(str(broken))
        raise SourceLost(f"{self.info.name}: {broken}; lost after {count} frames, try again")

    def _note_damage(self, count: int, early: bool) -> None:
        """Say once how much of a damaged or cut file there was. Fewer frames than declared are no
        damage by themselves: an edit list leaves out what was trimmed."""
        bad, declared = self.status.bad_packets, self._declared
        if bad or early:
            frames = f"{count} of {declared} frames" if count < declared else f"{count} frames"
            packets = f"; {bad} damaged packets" if bad else ""
            self.status.note(f"{self.info.name}: {frames}{packets}", damage=True)

    def _frame(
        self, index: int, time: float, picture: av.VideoFrame
    ) -> Generator[Frame, None, None]:
        """The frame with its pixels, or nothing when they cannot be converted."""
        grabbed = perf_counter()
        image = self._upright.usable(picture, self.status)
        if image is None:
            return
        yield Frame(index, time, image, self.info.name, grabbed, aspect=self._upright.aspect)

"""One connection to a live stream after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from threading import Event
from time import monotonic
from typing import Any

import av
import av.container

from realtime.errors import InputError
from realtime.sources.backlog import WAITED, Backlog
from realtime.sources.container import LIMITS, pixel_aspect, video_stream
from realtime.sources.decode_video import DAMAGE, Decoder, Upright
from realtime.sources.live import Broken, Picture
from realtime.sources.network import (
    LIVE_OPTIONS,
    Timeouts,
    broken_by,
    is_web,
    no_data,
    open_address,
)
from realtime.sources.url_file import is_file
from realtime.sources.waiting import Handover
from realtime.status import SourceStatus

NO_PICTURE = 15.0
"""Seconds of data without a picture after which a connection is given up. Surveillance cameras
send a keyframe, from which a picture can be built, only every 10 s."""

CHANGED = 2.0
"""The same where keyframes come meanwhile, more than one: the sender has changed to another codec
than that of this connection's decoder."""

IN_ORDER = ("h264", "hevc")
"""Decoders that keep the order of frames with low_delay. Those of MPEG-1, 2 and 4 then give
B-frames in the order in which they are sent."""

UNSTAMPED = 0x80  # AVFMT_NOTIMESTAMPS
"""Of formats without times (web cameras that send JPEGs): FFmpeg numbers their pictures as if there
were 25 a second, however many there are."""

OLD = 0.5
"""Seconds that a connection may wait for its reader before what has come meanwhile is too old."""

CATCH_UP = 3.0
"""Seconds at most that old pictures are passed over for."""

TOO_SLOW = (
    "comes faster than it can be decoded here; some of it is passed over so that the rest is new"
    " (give a smaller stream of the camera)"
)

LATE_FILE = (
    "is a file, not a stream, and its server did not answer at once; run it again, so that each of"
    " its frames is read once"
)

logger = logging.getLogger(__name__)

Container = av.container.InputContainer


class Stream:
    """The connections to one address; ahead is the first one where it exists already."""

    def __init__(
        self,
        url: str,
        name: str,
        timeouts: Timeouts,
        ahead: Container | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.status = SourceStatus(clock=clock)
        self._url = url
        self._name = name
        self._timeouts = timeouts
        self._ahead = Handover(ahead)
        self._clock = clock
        self._first = ahead is None  # the next connection, of which nobody knows what it leads to
        self._opened = clock()

    def put_away(self) -> None:
        """Close the first connection if nobody reads it."""
        container = self._ahead.take()
        if container is not None:
            container.close()

    def connect(self, closed: Event) -> Generator[Picture, None, None]:
        """Pictures of one connection until it breaks, then Broken. Raises InputError when the first
        one leads to a file."""
        container = self._ahead.take()
        # It was open while the networks were loaded.
        old = container is not None and self._clock() - self._opened > OLD
        if container is None:
            container = open_address(self._url, self._timeouts, LIVE_OPTIONS)
        first, self._first = self._first, False
        try:
            if first and is_web(self._url) and is_file(container):
                raise InputError(f"{self._name}: {LATE_FILE}")
            yield from self._pictures(container, closed, old)
        finally:
            container.close()

    def _pictures(
        self, container: Container, closed: Event, old: bool
    ) -> Generator[Picture, None, None]:
        """The pictures of an open connection; old: not those that wait there to be read."""
        stream = self._prepared(container)
        decoder = Decoder(stream.codec_context, self.status)
        self._upright = Upright(pixel_aspect(stream))
        self._stamped = not container.format.flags & UNSTAMPED
        backlog = Backlog(self._clock)
        began = last = self._clock()
        keyframes = 0  # since the last picture
        with closing(self._packets(container, stream)) as packets:
            for packet, waited in packets:
                old = old and waited < WAITED and self._clock() - began < CATCH_UP
                if backlog.passes_over(seconds_of(packet), waited, packet.is_keyframe):
                    self._say_too_slow()
                else:
                    self.status.bad_packets += packet.is_corrupt  # something was lost on the way
                    keyframes += packet.is_keyframe
                    for frame in decoder.decode(packet):
                        if not old:
                            yield from self._picture(frame)
                        last, keyframes = self._clock(), 0
                if closed.is_set():
                    return
                most = CHANGED if keyframes > 1 else NO_PICTURE
                if self._clock() - last > most:
                    raise Broken(f"data comes, but no picture for {most:g} s")

    def _packets(
        self, container: Container, stream: Any
    ) -> Generator[tuple[Any, float], None, None]:
        """What is read and the seconds that took, until it ends or there is nothing for the read
        timeout: then Broken."""
        demuxed: Any = container.demux(stream)  # a generator, typed as an iterator
        with closing(demuxed) as packets:
            while True:
                start = self._clock()
                try:
                    packet = next(packets, None)
                except DAMAGE as error:
                    raise broken_by(error, self._timeouts) from None
                if packet is None:
                    raise Broken("the sender closed the connection", down=True)
                waited = self._clock() - start
                if waited > self._timeouts.read:
                    # At a timeout FFmpeg first gives the last packet, which it had held back until
                    # the next begins, and would then wait as long again.
                    raise no_data(self._timeouts)
                yield packet, waited

    def _prepared(self, container: Container) -> Any:
        """The video stream, set up for the shortest delay."""
        try:
            stream: Any = video_stream(container, self._name)
        except InputError as error:
            raise Broken(str(error).removeprefix(f"{self._name}: ")) from None
        for other in container.streams:
            if other is not stream:
                # Reading passes over it, so that only pictures count as a sign of life.
                other.discard = av.stream.Discard.all
        stream.codec_context.options = LIMITS
        stream.codec_context.thread_type = "SLICE"  # frame threads hold frames back
        if stream.codec_context.name in IN_ORDER:
            stream.codec_context.flags |= av.codec.context.Flags.low_delay
        return stream

    def _say_too_slow(self) -> None:
        line = f"{self._name}: {TOO_SLOW}"
        if line not in self.status.notes:
            logger.warning("%s", line)
            self.status.note(line)

    def _picture(self, frame: av.VideoFrame) -> Generator[Picture, None, None]:
        """The picture with its timestamp and shape, or nothing when it cannot be converted."""
        image = self._upright.usable(frame, self.status)
        if image is None:
            return
        yield Picture(image, seconds_of(frame) if self._stamped else None, self._upright.aspect)


def seconds_of(thing: av.VideoFrame | av.Packet[Any]) -> float | None:
    """The timestamp of a frame or packet, if it has one."""
    if thing.pts is None or thing.time_base is None:
        return None
    return float(thing.pts * thing.time_base)

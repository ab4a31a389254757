"""Decoding with PyAV that survives damage, and pictures as the viewer should see them."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import closing
from typing import Any

import av
import av.error
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from realtime.records import Image
from realtime.status import SourceStatus

TOLERANT: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
)
"""Arguments of av.open: titles that are not UTF-8 are no error, as always since PyAV 19."""

MAX_PIXELS = 64_000_000
"""Pictures with more pixels are refused before they are decoded (0.2 GB as BGR)."""

DAMAGE = (av.error.FFmpegError, UnicodeDecodeError, AttributeError, IndexError, MemoryError)
"""What PyAV raises on damaged input, found by fuzzing; FFmpegError covers read errors too."""

BELIEVABLE_GAP = 86400.0
"""Seconds; a longer jump between two frames of a file is a damaged timestamp."""

NEAR = 2e-6
"""Seconds; frames nearer to each other than this are at one moment: results have microseconds."""

HASTY = ("mpeg4",)
"""Decoders that begin anywhere, with garbage; the others wait for a keyframe by themselves."""

LATE_STREAMS = 100
"""Errors in a row at the end of what has streams that were not there at the beginning. The next try
ends well, unless more have appeared, and containers are opened with a limit of 64."""


class Upright:
    """Turns the frames of one stream into pictures as a player shows them.

    aspect: width of a pixel of these pictures by its height; made with that of the stored ones.

    Rotation and mirroring of the display matrix are applied, in quarter turns. The colour matrix
    and range of the stream are used, untagged streams count as BT.601; alpha is dropped, 10 and
    16 bit are reduced to 8. The matrix is looked up again when rotation or size change, not for
    every frame: PyAV's side data keeps its frame alive until the next garbage collection.
    """

    def __init__(self, aspect: float = 1.0) -> None:
        self.aspect = self._stored = aspect
        self._known: tuple[int, int, int] | None = None
        self._orientation = (False, 1, 1)
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Image:
        """uint8 (H, W, 3) BGR, contiguous, not shared with frame. Raises one of DAMAGE when it
        cannot be converted."""
        key = (frame.rotation, frame.width, frame.height)
        if key != self._known:
            self._known, self._orientation = key, orientation(frame)
            self.aspect = 1 / self._stored if self._orientation[0] else self._stored
        image: Any = self._reformatter.reformat(frame, format="bgr24").to_ndarray()
        swap, sign_x, sign_y = self._orientation
        if swap:
            image = cv2.transpose(image)
        if (sign_x, sign_y) != (1, 1):
            image = cv2.flip(image, {(-1, 1): 1, (1, -1): 0, (-1, -1): -1}[sign_x, sign_y])
        return np.ascontiguousarray(image, np.uint8)

    def usable(self, frame: av.VideoFrame, status: SourceStatus) -> Image | None:
        """The picture, or None, counted in status.bad_packets, when it cannot be converted."""
        try:
            return self(frame)
        except DAMAGE:
            status.bad_packets += 1
            return None


def orientation(frame: av.VideoFrame) -> tuple[bool, int, int]:
    """How to show the frame: swap x and y first, then the signs (1 or -1) of x and of y.

    FFmpeg's display matrix (libavutil/display.h) is a, b, u, c, d, v, x, y, w and maps a stored
    point (p, q) to (a p + c q, b p + d q). Only the signs of its larger diagonal are used; the
    translation follows from the picture's size.
    """
    try:
        data: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV cannot name some newer kind of side data: rotation must do
        turns = round(-frame.rotation / 90) % 4  # clockwise
        return turns % 2 == 1, -1 if turns in (1, 2) else 1, -1 if turns in (2, 3) else 1
    matrix = np.frombuffer(bytes(data), np.int32) if data is not None else ()
    if len(matrix) != 9:
        return False, 1, 1
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, -1 if c < 0 else 1, -1 if b < 0 else 1
    return False, -1 if a < 0 else 1, -1 if d < 0 else 1


def decoded(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    status: SourceStatus,
    read_errors: int = 0,
    decoder: Decoder | None = None,
) -> Generator[av.VideoFrame, None, None]:
    """The frames of a stream in order of presentation, from where the container stands.

    A packet that cannot be decoded is skipped and counted in status.bad_packets. An error in
    reading (I/O, timeout, damaged index) is tried again at the next packet until it came more
    than read_errors times in a row; then the decoder is emptied and the av.error.FFmpegError
    raised. The caller closes the container.
    """
    decoder = decoder or Decoder(stream.codec_context, status)
    frames = _read(container, stream, read_errors, decoder)
    return _in_order(frames) if container.format.name == "avi" else frames


def _in_order(frames: Generator[av.VideoFrame, None, None]) -> Generator[av.VideoFrame, None, None]:
    """The frames of an AVI file, which has no timestamps: those that FFmpeg makes up are wrong for
    H.264 with B-frames. Frames come in order, at the dts of the packets that push them out; the
    last ones, without a packet, a tick apart."""
    last: int | None = None
    shift = 0
    with closing(frames):
        for frame in frames:
            if last is None:
                last = frame.pts or 0
                shift = last - (last if frame.dts is None else frame.dts)
            else:
                last = max(last + 1, 0 if frame.dts is None else frame.dts + shift)
            frame.pts = last
            yield frame


def _read(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    read_errors: int,
    decoder: Decoder,
) -> Generator[av.VideoFrame, None, None]:
    failures = 0
    while True:
        try:
            for packet in container.demux(stream):
                failures = 0
                yield from decoder.decode(packet)
            return
        except av.error.FFmpegError:
            failures += 1
            if failures > read_errors:
                yield from decoder.decode(None)
                raise
        except IndexError as error:  # PyAV at the end, when a stream has appeared on the way
            failures += 1
            if failures > LATE_STREAMS:
                raise av.error.InvalidDataError(errno.EINVAL, "too many streams") from error


class Decoder:
    """Decodes packets one by one; damage is counted in status.bad_packets, never raised.

    flagged: packets of which FFmpeg says that something is missing, in or before them (MPEG-TS).
    """

    def __init__(self, context: av.VideoCodecContext, status: SourceStatus) -> None:
        self._context = context
        self._status = status
        self._begun = context.name not in HASTY
        self.flagged = 0

    def decode(self, packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
        """The frames that are ready now; None as packet empties the decoder at the end. What comes
        before the first keyframe cannot be decoded and counts as damage."""
        if packet is not None and packet.size:
            self.flagged += packet.is_corrupt
            self._begun = self._begun or packet.is_keyframe
            if not self._begun:
                self._status.bad_packets += 1
                return []
        try:
            return self._context.decode(packet)
        except av.error.EOFError:  # already emptied
            return []
        except DAMAGE:
            self._status.bad_packets += 1
        try:
            repaired = mended(packet, self._context) if packet is not None else None
            return self._context.decode(repaired) if repaired is not None else []
        except DAMAGE:
            return []


def mended(packet: av.Packet[Any], context: av.VideoCodecContext) -> av.Packet[Any] | None:
    """A damaged H.264 or HEVC packet with its unit lengths repaired; None for other streams.

    In mp4 and Matroska every unit follows its length in 4 bytes (ISO/IEC 14496-15); FFmpeg
    rejects the whole packet for one wrong length, although most of the picture is there. A
    length that cannot be true becomes that of the rest of the packet.
    """
    if context.name not in ("h264", "hevc") or (context.extradata or b"\0")[0] != 1:
        return None
    data, units, start = bytes(packet), [], 0
    while start + 4 < len(data):
        size = int.from_bytes(data[start : start + 4], "big")
        rest = data[start + 4 :]
        unit = rest[:size] if 0 < size <= len(rest) else rest
        units.append(len(unit).to_bytes(4, "big") + unit)
        start += 4 + len(unit)
    whole = b"".join(units)
    # of its own memory, which has the room at the end that decoders read beyond the last byte
    repaired: av.Packet[Any] = av.Packet(len(whole))
    repaired.update(whole)
    repaired.pts, repaired.dts, repaired.time_base = packet.pts, packet.dts, packet.time_base
    return repaired


class FrameClock:
    """Turns the timestamps of a file into seconds that strictly increase.

    Believable timestamps pass unchanged. A missing or backward one becomes the previous time
    plus the nominal duration, and the spacing after a jump back is kept; said once.
    """

    def __init__(self, rate: float | None, status: SourceStatus, name: str) -> None:
        self._step = 1 / (rate or 30.0)
        self._status = status
        self._name = name
        self._last: float | None = None
        self._offset = 0.0

    def time(self, frame: av.VideoFrame) -> float:
        """Seconds of this frame, later than those of all frames before."""
        stamp = None
        if frame.pts is not None and frame.time_base:
            stamp = float(frame.pts * frame.time_base)
        self._last = self._first(stamp) if self._last is None else self._next(stamp, self._last)
        return self._last

    def _first(self, stamp: float | None) -> float:
        # Beyond 1e10 seconds a float has no room left for the time between two frames.
        return stamp if stamp is not None and abs(stamp) < 1e10 else 0.0

    def _next(self, stamp: float | None, last: float) -> float:
        if stamp is not None and last + NEAR < stamp < last + BELIEVABLE_GAP:
            self._offset = 0.0
            return stamp
        self._status.note(f"{self._name}: timestamps missing or not increasing; replaced")
        if stamp is None:
            return last + self._step
        if last + NEAR < stamp + self._offset < last + BELIEVABLE_GAP:
            return stamp + self._offset
        if last - self._step < stamp <= last + NEAR:  # a double: leave room for the next one
            return last + self._step / 2
        self._offset = last + self._step - stamp
        return last + self._step

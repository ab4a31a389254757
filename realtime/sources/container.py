"""Opening local video files: what is allowed, and what to say when it cannot be read."""

from __future__ import annotations

import os
import re
import select
import stat
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import av
import av.container

from realtime.errors import InputError
from realtime.sources.cut import boxes
from realtime.sources.decode_video import DAMAGE, MAX_PIXELS, TOLERANT
from realtime.status import SourceStatus

DEMUXERS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,flv,asf,ogg,gif,apng,mjpeg,nut,"
    "mxf,yuv4mpegpipe"
)
"""FFmpeg's names of the formats that hold pictures themselves. Playlists (concat, hls, dash, sdp)
and name patterns (image2), which open other files, are not among them: FFmpeg checks the probed
format against this list before it reads on."""

LIMITS = {"max_pixels": str(MAX_PIXELS)}
"""Options of every decoder: a larger picture is an error before it is decoded."""

STREAMS = {
    "max_streams": "64",
    # A transport stream whose tables give the video another PID goes on: as a stream of its own
    # nobody would read it, and PyAV would look for the old one for ever.
    "merge_pmt_versions": "1",
}
"""Options of every container, from wherever it comes."""

OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file", **STREAMS, **LIMITS}

STANDARD_INPUT = None if os.name == "nt" else "/dev/stdin"

HEAD = 4096
"""Bytes of the beginning of a pipe that are kept, at least."""

NO_PICTURES = "holds no pictures, its recorder wrote none; record it again or give another file"

_PLAYLIST = re.compile(
    rb"\s*(#EXTM3U|ffconcat version|\[playlist\]|v=0\s|(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?"
    rb"<(MPD|SmoothStreamingMedia|playlist|asx)\b)",
    re.IGNORECASE | re.DOTALL,
)


def shown(path: Path | str) -> str:
    """A path for messages and records: on one line and valid UTF-8, whatever it holds; standard
    input as it is asked for."""
    if str(path) == STANDARD_INPUT:
        return "-"
    odd = ("Cc", "Cs", "Zl", "Zp")  # control characters, undecodable bytes, line separators
    return "".join("?" if unicodedata.category(c) in odd else c for c in str(path))


def is_regular(path: Path) -> bool:
    """False for a FIFO or a device, which may block for ever when opened or read."""
    try:
        return stat.S_ISREG(path.stat().st_mode) or stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):  # missing: said by check_readable
        return True


def check_readable(path: Path) -> bytes:
    """The first bytes of a regular file. Raises InputError when it cannot be read."""
    name = shown(path)
    if path.is_dir():
        raise InputError(f"{name}: is a folder; give a video file, or a folder of images")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except PermissionError:
        raise InputError(f"{name}: no permission to read it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name}: cannot be read: {reason}") from error
    if not head:
        raise InputError(f"{name}: is empty (0 bytes)")
    if _PLAYLIST.match(head):
        raise InputError(f"{name}: is a playlist that names other files; give the video itself")
    return head


def pixel_aspect(stream: av.VideoStream) -> float:
    """Width of a pixel by its height, as stored; 1 where it is not known."""
    return float(stream.sample_aspect_ratio or 1)  # None or 0


def open_container(path: Path) -> av.container.InputContainer:
    """Open a regular file; the caller closes it. Raises InputError saying what is wrong."""
    head = check_readable(path)
    try:
        # With "file:" in front no part of the name is taken for a protocol or a pattern.
        container: av.container.InputContainer = av.open(
            f"file:{path}", "r", options=OPTIONS, **TOLERANT
        )
    except DAMAGE as error:
        raise InputError(f"{shown(path)}: {_what_is_wrong(path, head, error)}") from error
    if not container.streams:
        container.close()
        raise InputError(f"{shown(path)}: {_what_is_wrong(path, head)}")
    return container


@contextmanager
def open_pipe(
    path: Path, stopped: Callable[[], bool], head: bytearray
) -> Iterator[av.container.InputContainer]:
    """A FIFO or a device, read in order; head gets its first bytes. Waits for its writer until
    stopped(). Raises InputError."""
    with ExitStack() as stack:
        try:
            pipe = stack.enter_context(closing(Pipe(path, stopped, head)))
            container = av.open(pipe, "r", options=OPTIONS, **TOLERANT)
        except (*DAMAGE, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            hint = "send MPEG-TS or Matroska (mp4 only with its index in front)"
            raise InputError(f"{shown(path)}: no video in it: {reason}; {hint}") from error
        yield stack.enter_context(container)


class Pipe:
    """A FIFO or device as a file whose read() ends soon after stopped() has become true.

    FFmpeg itself would wait for ever for the writer and ignore its own timeouts.
    """

    def __init__(self, path: Path, stopped: Callable[[], bool], head: bytearray) -> None:
        """Raises OSError when it cannot be opened; does not wait for a writer."""
        self.name = str(path)
        self._stopped, self._head = stopped, head
        if str(path) == STANDARD_INPUT:  # a socket (Node.js), or another user's, cannot be opened
            self._fd = os.dup(0)
        else:
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))

    def read(self, size: int) -> bytes:
        while not self._stopped():
            if select.select([self._fd], [], [], 0.1)[0]:
                try:
                    data = os.read(self._fd, size)
                except BlockingIOError:
                    continue
                if len(self._head) < HEAD:
                    self._head += data
                return data
        return b""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def video_stream(container: Any, name: str) -> av.VideoStream:
    """The first video stream that is not a cover picture. Raises InputError."""
    streams = _videos(container)
    if any(s.disposition & av.stream.Disposition.dependent for s in streams):
        raise InputError(f"{name}: is a picture made of tiles (HEIC); convert it to JPEG or PNG")
    films = [s for s in streams if not _is_cover(s)]
    if not films:
        # Of RTSP, what is no video is not asked for, and not known.
        others = ", ".join(sorted({s.type for s in container.streams})) or "sound or data"
        only = "only a cover picture" if streams else f"only {others}"
        raise InputError(f"{name}: no video stream in it, {only}; give one with pictures")
    usable = [s for s in films if s.codec_context is not None]
    if not usable:
        raise InputError(f"{name}: its video codec is not supported; convert it to H.264")
    stream: av.VideoStream = usable[0]
    if stream.width * stream.height > MAX_PIXELS:
        raise InputError(
            f"{name}: {stream.width}x{stream.height} pixels are more than the limit of"
            f" {MAX_PIXELS // 1_000_000} megapixels; scale it down first"
        )
    return stream


def note_other_videos(container: Any, name: str, status: SourceStatus) -> None:
    """Say that there are more video streams than the one of video_stream()."""
    count = sum(not _is_cover(stream) for stream in _videos(container))
    if count > 1:
        status.note(f"{name}: {count} video streams in it, of which the first is read")


def has_true_stamps(container: Any) -> bool:
    """Whether the format stores a timestamp of presentation with every packet."""
    return bool({"mov", "matroska"} & set(container.format.name.split(",")))


def _videos(container: Any) -> list[Any]:
    return [stream for stream in container.streams if stream.type == "video"]


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _what_is_wrong(path: Path, head: bytes, error: BaseException | None = None) -> str:
    """Why FFmpeg could not open a file, and what to do."""
    if found := boxes(path):
        size = path.stat().st_size
        kinds = {kind for kind, start, length in found if start + length <= size}
        if not kinds & {b"moov", b"moof"}:
            return (
                "not finished by its recorder or cut (no index); record or copy it again, or"
                " repair it with a tool such as untrunc"
            )
        # a box of data has a head of 8 or 16 bytes
        if not any(kind == b"mdat" and length > 16 for kind, _, length in found):
            return NO_PICTURES
        return "its index is damaged; copy it again, or repair it with a tool such as untrunc"
    if isinstance(error, MemoryError):
        return "needs more memory than there is to be opened"
    return "not a video that can be read (mp4, mov, mkv, webm, avi, ts, gif and others are)"

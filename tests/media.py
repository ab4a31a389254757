"""Makes small real videos for tests: healthy, odd and damaged ones.

Pictures carry their number as 16 black or white columns, so that loss, order and doubles can be
read back from the pixels, also after compression.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
SIZE_WH = (64, 48)
QUARTERS = np.array([[[200, 40, 40], [40, 200, 40]], [[40, 40, 200], [220, 220, 220]]], np.uint8)


def barcode(number: int, size_wh: tuple[int, int] = SIZE_WH) -> Picture:
    """uint8 (H, W, 3): bit i of number is column block i of 16, black or white."""
    width, height = size_wh
    bits = (number >> (np.arange(width) * 16 // width)) & 1
    row = np.where(bits, 235, 20).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, width, 3)))


def number_in(picture: Picture) -> int:
    """The number that barcode() drew."""
    row = picture.astype(float).mean((0, 2))
    blocks = [part.mean() > 128 for part in np.array_split(row, 16)]
    return sum(1 << i for i, on in enumerate(blocks) if on)


def quarters(number: int = 0, size_wh: tuple[int, int] = SIZE_WH) -> Picture:
    """uint8 (H, W, 3) BGR with blue, green, red and white quarters, rows first."""
    width, height = size_wh
    rows = QUARTERS.repeat(-(-height // 2), 0)[:height]
    return np.ascontiguousarray(rows.repeat(-(-width // 2), 1)[:, :width])


def video(
    path: Path,
    frames: int = 30,
    size_wh: tuple[int, int] = SIZE_WH,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: int = 30,
    stamps: Sequence[int] | None = None,
    picture: Callable[[int, tuple[int, int]], Picture] = barcode,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    audio: str = "",
    change: Callable[[Any], None] = lambda stream: None,
) -> Path:
    """Write a video and return its path.

    stamps: time of each frame in milliseconds, for a variable frame rate. audio: "first" or
    "after" for a silent track whose stream comes before or after the video, "only" for no video.
    change: of the video stream before the first picture.
    """
    with av.open(str(path), "w", options=container_options or {}) as out:
        sound = out.add_stream("aac", rate=48000) if audio in ("first", "only") else None
        if audio != "only":
            stream = _video_stream(out, codec, pix_fmt, size_wh, rate, bool(stamps), options)
            change(stream)
        if audio == "after":
            sound = out.add_stream("aac", rate=48000)
        if audio != "only":
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(picture(number, size_wh), format="bgr24")
                frame.pts = stamps[number] if stamps else number
                frame.time_base = Fraction(1, 1000) if stamps else Fraction(1, rate)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        if sound is not None:
            _silence(out, sound, max(1, frames * 48000 // rate // 1024))
    return path


def _video_stream(
    out: Any,
    codec: str,
    pix_fmt: str,
    size_wh: tuple[int, int],
    rate: int,
    milliseconds: bool,
    options: dict[str, str] | None,
) -> Any:
    stream = out.add_stream(codec, rate=rate, options=options or {})
    stream.width, stream.height = size_wh
    stream.pix_fmt = pix_fmt
    if milliseconds:
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
    return stream


def _silence(out: Any, sound: Any, blocks: int) -> None:
    for block in range(blocks):
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = 48000, block * 1024
        out.mux(sound.encode(frame))
    out.mux(sound.encode(None))


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Set the display matrix of the first track of an mp4 or mov file, in units of 1: a stored
    point (p, q) is shown at (a p + c q, b p + d q) (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    one = 1 << 16
    data[start : start + 36] = struct.pack(
        ">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30
    )
    path.write_bytes(data)
    return path


def heic(path: Path, side: int = 64) -> Path:
    """A picture of 2x2 tiles, each an HEVC picture of its own, as phones store them (ISO/IEC
    23008-12, 6.6.2.3, derived image of type grid)."""

    def box(kind: bytes, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return struct.pack(">I", 8 + len(body)) + kind + body

    def full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
        return box(kind, struct.pack(">I", version << 24 | flags), *parts)

    def size(wide: int) -> bytes:
        return full(b"ispe", 0, 0, struct.pack(">II", wide, wide))

    film = video(
        path.with_suffix(".mp4"),
        4,
        (side, side),
        "libx265",
        options={"x265-params": "log-level=none:keyint=1"},
    )
    with av.open(str(film)) as container:
        settings = bytes(container.streams.video[0].codec_context.extradata or b"")
        tiles = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    film.unlink()
    grid = struct.pack(">4B2H", 0, 0, 1, 1, 2 * side, 2 * side)
    entries = [full(b"infe", 2, 1, struct.pack(">HH", n, 0), b"hvc1\0") for n in range(1, 5)]
    entries.append(full(b"infe", 2, 0, struct.pack(">HH", 5, 0), b"grid\0"))
    tiles_of = full(b"iref", 0, 0, box(b"dimg", struct.pack(">6H", 5, 4, 1, 2, 3, 4)))
    kinds = box(b"ipco", box(b"hvcC", settings), size(side), size(2 * side))
    each = [struct.pack(">HBBB", n, 2, 0x81, 2) for n in range(1, 5)]
    of_items = full(b"ipma", 0, 0, struct.pack(">I", 5), *each, struct.pack(">HBB", 5, 1, 3))

    def head(start: int) -> bytes:
        places, at = [], start
        for number, tile in enumerate(tiles, 1):
            places.append(struct.pack(">4H2I", number, 0, 0, 1, at, len(tile)))
            at += len(tile)
        places.append(struct.pack(">4H2I", 5, 1, 0, 1, 0, len(grid)))
        return box(b"ftyp", b"heic", bytes(4), b"mif1heic") + full(
            b"meta", 0, 0,
            full(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)),
            full(b"pitm", 0, 0, struct.pack(">H", 5)),
            full(b"iloc", 1, 0, struct.pack(">BBH", 0x44, 0, 5), *places),
            full(b"iinf", 0, 0, struct.pack(">H", 5), *entries),
            tiles_of, box(b"iprp", kinds, of_items), box(b"idat", grid),
        )  # fmt: skip

    path.write_bytes(head(len(head(0)) + 8) + box(b"mdat", *tiles))
    return path


def cut(path: Path, share: float) -> Path:
    """Keep only the first share (0..1) of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def corrupt(path: Path, damaged: float, first: float = 0.0, last: float = 1.0) -> Path:
    """Overwrite a share of the bytes between first and last (shares) of an mp4's media data."""
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    size = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    rng = random.Random(1)
    for _ in range(int(size * damaged)):
        place = start + int(size * first) + rng.randrange(int(size * (last - first)))
        data[place] = rng.randrange(256)
    path.write_bytes(data)
    return path


def joined(path: Path, *parts: Path) -> Path:
    """Transport streams one after the other: sizes and timestamps jump."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def naive_count(path: Path) -> int:
    """Frames that an ordinary loop gets before its first error."""
    count = 0
    try:
        with av.open(str(path)) as container:
            for _ in container.decode(video=0):
                count += 1
    except av.error.FFmpegError:
        pass
    return count

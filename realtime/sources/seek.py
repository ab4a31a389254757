"""Where decoding may start so that frames keep the numbers they have from the beginning."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from realtime.sources.container import has_true_stamps, open_container, video_stream

WORTH_IT = 250
"""Frames; to decode fewer and throw them away costs less than looking for a keyframe."""

REORDER = 64
"""Packets; more than any codec sends a frame before or after its place in the presentation."""

_CODECS = ("h264", "hevc", "vp9", "av1", "mjpeg")  # where every packet gives one frame


@dataclass(frozen=True, slots=True)
class Entry:
    """A keyframe: its timestamp in the stream's time base, and its number from the beginning."""

    pts: int
    index: int


def entry_before(
    path: Path, start: int | float, wanted: Callable[[], bool] = lambda: True
) -> Entry | None:
    """The last keyframe not after start (a frame number, or seconds when float) of a file.

    Found by reading the packets up to there without decoding, which is some hundred times
    faster. None when decoding from the beginning is as good, or when the numbers of frames
    cannot be told from packets alone: timestamps missing, doubled or cut by an edit list.
    wanted is asked at each packet; once nobody wants to know any more the answer is None. Raises
    InputError when the file cannot be opened.
    """
    if not start or (isinstance(start, int) and start < WORTH_IT):
        return None
    with open_container(path) as container:
        stream: Any = video_stream(container, path.name)
        limit = start if isinstance(start, int) else math.floor(start / stream.time_base)
        by_number = isinstance(start, int)
        found = _scan(container, stream, limit, by_number, wanted)
    if found is None:
        return None
    fitting = [e for e in found.entries if (e.index if by_number else e.pts) <= limit]
    return fitting[-1] if fitting and fitting[-1].index >= WORTH_IT else None


@dataclass(frozen=True, slots=True)
class Packets:
    """What the packets of a file tell. stamps: int64 (N,) the timestamps of its frames in the
    order of presentation. entries: its keyframes in that order."""

    stamps: NDArray[np.int64]
    entries: list[Entry]


def all_entries(path: Path) -> Packets | None:
    """All keyframes from which decoding may start, by reading the whole file without decoding;
    None as in entry_before. Raises InputError when the file cannot be opened."""
    with open_container(path) as container:
        return _scan(container, video_stream(container, path.name), None, True)


def _scan(
    container: Any,
    stream: Any,
    limit: int | None,
    by_number: bool,
    wanted: Callable[[], bool] = lambda: True,
) -> Packets | None:
    """The packets up to limit, a frame number or a timestamp, and some more; None where frames
    cannot be numbered by them."""
    if not has_true_stamps(container) or stream.codec_context.name not in _CODECS:
        return None
    stamps, keys, beyond = array("q"), array("q"), 0
    try:
        for packet in container.demux(stream):
            if packet.size == 0:  # the end
                break
            if packet.pts is None or packet.is_discard or packet.is_corrupt or not wanted():
                return None
            stamps.append(packet.pts)
            if packet.is_keyframe and _starts_anew(stream, packet):
                keys.append(packet.pts)
            if limit is not None:
                beyond += len(stamps) > limit if by_number else packet.pts > limit
            if beyond > REORDER:
                break
    except av.error.FFmpegError:
        return None
    return _numbered(stamps, keys)


def _numbered(stamps: array[int], keys: array[int]) -> Packets | None:
    """The keyframes with their numbers among stamps (in order of the file)."""
    ordered = np.sort(np.array(stamps, np.int64))
    # What comes before the first keyframe may never give frames, and doubles not always.
    if not keys or keys[0] != stamps[0] or keys[0] != ordered[0] or (np.diff(ordered) == 0).any():
        return None
    pts = np.sort(np.array(keys, np.int64))
    numbers = np.searchsorted(ordered, pts)
    return Packets(ordered, [Entry(int(p), int(n)) for p, n in zip(pts, numbers)])


def _starts_anew(stream: Any, packet: Any) -> bool:
    """Whether nothing after this keyframe needs a frame before it. In H.264 a container may also
    mark recovery points, where the picture is right only some frames later: only IDR counts."""
    if stream.codec_context.name != "h264":
        return True
    return 5 in _unit_types(bytes(packet), (stream.codec_context.extradata or b"\0")[0] == 1)


def _unit_types(data: bytes, with_lengths: bool) -> set[int]:
    """The H.264 unit types in a packet (ITU-T H.264, table 7-1)."""
    if not with_lengths:
        return {part[0] & 31 for part in data.split(b"\0\0\1")[1:] if part}
    types, start = set(), 0
    while start + 4 < len(data):
        types.add(data[start + 4] & 31)
        start += 4 + max(1, int.from_bytes(data[start : start + 4], "big"))
    return types

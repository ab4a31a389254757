"""Decoding in several threads as long as the file is sound."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import av

from realtime.errors import InputError
from realtime.sources.decode_video import DAMAGE, Decoder
from realtime.status import SourceStatus

FRAME_THREADED = ("h264", "hevc", "vp9")
THREADS = min(4, os.cpu_count() or 1)
KEEP = 32  # packets; more than the frames any decoder holds back (16) plus THREADS
KEEP_AT_MOST = 600


class FastDecoder(Decoder):
    """Frame threads until the first damage, then one thread for the rest.

    With frame threads a damaged packet costs its neighbours, and what is concealed depends on
    timing. So the last packets are remembered, and at the first flaw they are decoded again,
    from a keyframe, by a decoder with one thread: what comes out is what one thread alone would
    have given, in every run.
    """

    def __init__(
        self,
        context: av.VideoCodecContext,
        status: SourceStatus,
        spare: Callable[[], av.VideoCodecContext],
    ) -> None:
        """spare makes a decoder of the same stream, not opened yet; InputError where it cannot."""
        super().__init__(context, status)
        context.thread_type, context.thread_count = "FRAME", THREADS
        self._spare = spare
        self._steady: Decoder | None = None
        self._recent: list[av.Packet[Any] | None] = []
        self._last: int | None = None  # pts of the newest frame that came out
        self._owed = 0  # packets that have not given a frame yet

    def decode(self, packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
        if self._steady:
            return self._steady.decode(packet)
        self._remember(packet)
        try:
            frames = self._context.decode(packet)
        except av.error.EOFError:
            return []
        except DAMAGE:
            return self._decode_again()
        ending = packet is None or packet.size == 0
        self._owed += (not ending) - len(frames)
        if any(frame.is_corrupt for frame in frames) or (ending and self._owed > 0):
            return self._decode_again()  # at the end threads lose frames without an error
        self._last = next((f.pts for f in reversed(frames) if f.pts is not None), self._last)
        return frames

    def _remember(self, packet: av.Packet[Any] | None) -> None:
        recent = self._recent
        recent.append(packet)
        if packet is not None and packet.is_keyframe:
            starts = [i for i, p in enumerate(recent[:-KEEP]) if p is not None and p.is_keyframe]
            del recent[: starts[-1] if starts else 0]
        del recent[:-KEEP_AT_MOST]

    def _decode_again(self) -> list[av.VideoFrame]:
        recent, self._recent = self._recent, []
        try:
            context = self._spare()
        except InputError:  # the file is gone meanwhile: without its neighbours
            self._status.bad_packets += 1
            self._steady = Decoder(self._context, self._status)
            return []
        context.thread_type, context.thread_count = "NONE", 1
        self._steady = Decoder(context, self._status)
        frames = [frame for packet in recent for frame in self._steady.decode(packet)]
        last = self._last
        return [f for f in frames if last is None or f.pts is None or f.pts > last]

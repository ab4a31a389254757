"""Which part of a source is wanted, and how many frames that will be."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import av

from realtime.errors import UsageError
from realtime.sources.base import SourceInfo, Span

ALIKE = 1e-6
"""Seconds by which a time, computed or read in data, may miss a frame and still mean it."""


def check_span(span: Span) -> None:
    """Raise UsageError unless span can hold a frame."""
    if not (math.isfinite(span.start) and span.start >= 0):
        raise UsageError(f"--start {said(span.start)}: give a frame number or seconds, 0 or more")
    if span.end is not None and not (math.isfinite(span.end) and span.end > 0):
        raise UsageError(f"--end {said(span.end)}: give a frame number or seconds, more than 0")
    comparable = isinstance(span.start, int) == isinstance(span.end, int) or not span.start
    if span.end is not None and comparable and span.end <= span.start:
        raise UsageError(f"--end {said(span.end)} is not after --start {said(span.start)}")
    if span.stride < 1:
        raise UsageError(f"--stride {span.stride}: give 1 or more")


def said(limit: int | float) -> str:
    """A limit as it is given: a frame number, or seconds with s."""
    return str(limit) if isinstance(limit, int) else f"{limit:.12g}s"


def reached(limit: int | float | None, index: int, time: float) -> bool:
    """Whether a frame is at or after a limit in frames (int) or seconds (float)."""
    if limit is None:
        return False
    return index >= limit if isinstance(limit, int) else time >= limit - ALIKE


def described(info: SourceInfo, container: Any, stream: Any, span: Span) -> SourceInfo:
    """info with what the container says, where that can be true."""
    rate = next((r for r in map(believable, (stream.average_rate, stream.guessed_rate)) if r), None)
    total = total_frames(container, stream, rate)
    origin = float(stream.start_time * stream.time_base) if stream.start_time else 0.0
    frames = _count(span, total, rate, origin) if total > 0 else None
    return replace(info, rate=rate, frames=frames, time_base=stream.time_base)


def believable(rate: Any) -> float | None:
    """Frames per second when they can be true."""
    return float(rate) if rate and 1 <= rate <= 240 else None


def total_frames(container: Any, stream: Any, rate: float | None) -> int:
    """How many frames the container has by its own account, 0 when it does not say."""
    if stream.frames > 0:
        return int(stream.frames)
    seconds = 0.0
    if stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration:
        seconds = container.duration / av.time_base
    return max(0, round(seconds * (rate or 0)))


def _count(span: Span, total: int, rate: float | None, origin: float) -> int | None:
    """How many of total frames the span holds; estimated by the rate where it is in seconds."""

    def number(limit: int | float) -> int | None:
        if isinstance(limit, int):
            return min(limit, total)
        return min(max(math.ceil((limit - origin) * rate - 1e-6), 0), total) if rate else None

    start, end = number(span.start), number(total if span.end is None else span.end)
    if start is None or end is None:
        return None
    return max(0, math.ceil((end - start) / span.stride))

"""Streams and files behind an address: rtsp, rtmp, http, tcp, udp, rtp, srt."""

from __future__ import annotations

import av.container

from realtime.errors import InputError
from realtime.masking import mask_credentials
from realtime.sources.base import Source, SourceInfo, Span
from realtime.sources.live import Broken, LiveSource
from realtime.sources.network import (
    LIVE_OPTIONS,
    Timeouts,
    check_address,
    is_web,
    open_address,
    scheme_of,
)
from realtime.sources.span import check_span
from realtime.sources.stream import Stream
from realtime.sources.url_file import UrlFile, is_file
from realtime.sources.waiting import Backoff, within_seconds

FILE_TIMEOUTS = Timeouts(read=8.0)
"""For web servers: a file may pause longer than a camera; below the 10 s of the watchdog."""


def is_url(text: str) -> bool:
    """Whether an input is an address ("scheme://...") rather than a path."""
    return bool(scheme_of(text))


def open_url(
    url: str,
    span: Span | None = None,
    wait: bool = True,
    max_reconnects: int | None = None,
    *,
    timeouts: Timeouts | None = None,
    backoff: Backoff | None = None,
) -> Source:
    """The source behind an address; user and password are masked in all it says.

    http and https: what has a size and a duration is a file, read once and not live. Anything
    else is live: opened by frames(), again and again when it breaks or is not there yet;
    max_reconnects limits the attempts in a row without a frame (SourceLost), None is no limit.
    wait False opens it now. span counts frames (int) or seconds (float) from the first frame.

    Raises InputError for an address that cannot work, for a web page or playlist, and, with wait
    False, when the stream is not there.
    """
    span = span or Span()
    check_span(span)
    check_address(url)
    name = mask_credentials(url)
    ahead = None
    web = is_web(url)
    if web or not wait:
        ahead = _opened_now(url, name, wait, timeouts or (FILE_TIMEOUTS if web else Timeouts()))
    if ahead is not None and web and is_file(ahead):
        return UrlFile(ahead, name, span, timeouts or FILE_TIMEOUTS)
    stream = Stream(url, name, timeouts or Timeouts(), ahead)
    return LiveSource(
        SourceInfo(name, "url", live=True),
        stream.status,
        stream.connect,
        put_away=stream.put_away,
        span=span,
        max_reconnects=max_reconnects,
        backoff=backoff,
    )


def _opened_now(
    url: str, name: str, wait: bool, timeouts: Timeouts
) -> av.container.InputContainer | None:
    """The open container, or None when waiting for it makes sense and is allowed.

    In a thread of its own, so that signals are looked at meanwhile and a host name that is not
    resolved does not hold up the program.
    """
    options = {} if is_web(url) else LIVE_OPTIONS
    limit = 2 * timeouts.open + 1
    try:
        return within_seconds(limit, lambda: open_address(url, timeouts, options), _close)
    except TimeoutError:
        broken = Broken(f"no answer for {limit:g} s", down=True)
    except Broken as error:
        broken = error
    if broken.unusable:
        raise InputError(f"{name}: {broken}")
    if not wait:
        raise InputError(f"{name}: {broken}; start it first, or leave out --no-wait to wait for it")
    return None


def _close(container: av.container.InputContainer) -> None:
    container.close()

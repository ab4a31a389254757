"""Opening addresses with PyAV: what is allowed, how long it may take, what went wrong.

PyAV's errors carry the address with its password: they never leave this module, not as a cause
either.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

import av
import av.container
import av.error

from realtime.errors import InputError
from realtime.masking import mask_credentials
from realtime.sources.container import DEMUXERS, STREAMS
from realtime.sources.decode_video import DAMAGE, TOLERANT
from realtime.sources.live import Broken

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "tcp", "udp", "rtp", "srt")

OPTIONS = {
    # Neither local files nor what reads them (concat, subfile, pipe, data), also by redirection.
    "protocol_whitelist": "rtsp,rtp,rtmp,rtmps,http,https,httpproxy,tcp,udp,tls,srt",
    "format_whitelist": f"{DEMUXERS},rtsp,rtp,mpjpeg,live_flv",
    **STREAMS,
    "rtsp_transport": "tcp+udp",
    "rtsp_flags": "prefer_tcp",  # UDP loses packets without saying so, but some cameras have no TCP
    "allowed_media_types": "video",  # RTSP: do not send the sound at all
    "overrun_nonfatal": "1",  # UDP: a full buffer loses pictures, not the connection
    "reconnect": "1",  # HTTP: take up a file where the connection broke
}

LIVE_OPTIONS = {
    # Begin as soon as the size is known, not after measuring the rate for seconds. What has been
    # read until then is kept (no "nobuffer"): it holds the keyframe that all waits for.
    "fpsprobesize": "0",
    "analyzeduration": "2000000",  # microseconds of the stream, at most
}

UNREACHED = "cannot be reached, or broke off"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. open counts twice: for the connection, then for recognising the streams."""

    open: float = 4.0
    read: float = 3.0


def scheme_of(text: str) -> str:
    """The scheme of an address in lower case, "" for anything else (a path, "demo")."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else ""


def is_web(url: str) -> bool:
    """Whether there may be a file behind an address, not only a live stream."""
    return scheme_of(url) in ("http", "https")


def check_address(url: str) -> None:
    """Raise InputError for an address that can never work."""
    name, scheme = mask_credentials(url), scheme_of(url)
    if scheme == "file":
        raise InputError(f"{name}: give a file by its path, without file://")
    if scheme not in SCHEMES:
        known = ", ".join(SCHEMES)
        raise InputError(f"{name}: {scheme}:// is not a stream that can be read; use {known}")
    if re.search(r"\s", url):
        raise InputError(f"{scheme}://...: there is a blank in the address; write it as %20")
    if re.match(r"[^/?#@\[]*:[^/?#@]*[^0-9/?#@][^/?#@]*[/?#].*@", url[len(scheme) + 3 :]):
        raise InputError(f"{name}: write / ? # in a password as %2F %3F %23")
    place = url[len(scheme) + 3 :].rpartition("@")[2]
    if not re.match(r"[^/?]", place) and scheme not in ("udp", "rtp"):
        raise InputError(f"{name}: no host in it; write {scheme}://HOST/...")
    if scheme in ("tcp", "udp", "rtp", "srt") and not re.search(r":\d+(/|\?|$)", place):
        raise InputError(f"{name}: no port in it; write {scheme}://HOST:PORT")
    if place.partition("?")[0].lower().endswith((".m3u8", ".m3u", ".mpd")):
        raise InputError(f"{name}: is a playlist (HLS, DASH); give the stream itself")


def open_address(
    url: str, timeouts: Timeouts, options: dict[str, str]
) -> av.container.InputContainer:
    """A container, which the caller closes. Raises Broken, or InputError for what this build of
    PyAV cannot do."""
    start = monotonic()
    scheme = scheme_of(url)  # in small letters, as FFmpeg wants it
    try:
        container: av.container.InputContainer = av.open(
            scheme + url[len(scheme) :],
            options={**OPTIONS, **options},
            timeout=(timeouts.open, timeouts.read),
            **TOLERANT,
        )
        return container
    except av.error.ProtocolNotFoundError:
        name = mask_credentials(url)
        raise InputError(
            f"{name}: this build of PyAV has no {scheme}; send the stream another way"
        ) from None
    except DAMAGE as error:
        if monotonic() - start > 0.95 * timeouts.open:  # RTSP calls its timeout invalid data
            raise Broken(f"no answer for {timeouts.open:g} s", down=True) from None
        if scheme == "rtp" and isinstance(error, av.error.InvalidDataError):
            raise Broken("only MPEG-TS can be read from rtp:// (H.264 alone: by RTSP)") from None
        broken = broken_by(error, timeouts)
        if str(broken) == UNREACHED and not _is_known(url):
            raise Broken("its host is not known: a typo, or no network", down=True) from None
        raise broken from None


def _is_known(url: str) -> bool:
    """Whether the name of the host has an address, or there is none; FFmpeg does not tell."""
    try:
        host = urlsplit(url).hostname
        return not host or bool(socket.getaddrinfo(host, None))
    except (OSError, ValueError):
        return False


def no_data(timeouts: Timeouts) -> Broken:
    return Broken(f"no data for {timeouts.read:g} s", down=True)


def broken_by(error: BaseException, timeouts: Timeouts) -> Broken:
    """What one of DAMAGE means, without the address in it."""
    if not isinstance(error, av.error.FFmpegError):  # PyAV's own, on damaged data
        return Broken("what comes is damaged", unusable=True)
    if isinstance(error, av.error.EOFError):
        return Broken("the sender closed the connection", down=True)
    if isinstance(error, av.error.ExitError):
        return no_data(timeouts)
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return Broken(f"{_said(error)}; check user and password")
    if isinstance(error, av.error.HTTPNotFoundError):
        return Broken(f"{_said(error)}; check the path of the address")
    if isinstance(error, av.error.ArgumentError):
        return Broken(
            "not a video, or a playlist or redirection that is not followed", unusable=True
        )
    if isinstance(error, av.error.InvalidDataError):
        return Broken("what comes is not a video stream", unusable=True)
    if isinstance(error, OSError):
        return Broken(_said(error), down=True)
    return Broken(_said(error))


def _said(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or type(error).__name__
    if text == "Input/output error":  # all that FFmpeg says for a host without an address
        return UNREACHED
    return f"{text[0].lower()}{text[1:]}"

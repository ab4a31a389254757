"""Which video encoder there is, and how it is set up."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np

from realtime.errors import OutputError
from realtime.sinks.yuv import to_yuv420

DEFAULT_CRF = 22
"""With these settings the luma PSNR is at least 38 dB on any picture, white noise included
(measured: 39.7 dB there, 43.7 to 47.4 dB on five real clips)."""

BIG_PICTURE = 1920 * 1088
"""Pixels above which the encoder gets a second thread."""


def _x264(crf: int) -> dict[str, str]:
    # No B frames and no look-ahead (zerolatency), so that a frame is on disk at once. One
    # quantiser everywhere instead of a guess at what viewers notice (which costs a sixth of the
    # encoder's time), and small coefficients are kept instead of looked for (a tenth).
    return {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "qp": str(crf),
        "x264-params": "no-dct-decimate=1",
    }


def _mpeg4(crf: int) -> dict[str, str]:
    # The quantiser step of H.264 doubles every 6 and is 1 at 4; that of MPEG-4 is 2 * qscale. It
    # has to be finer for the same error, as this encoder rounds small values away (measured).
    quantiser = min(31, max(1, round(2 ** ((crf - 4) / 6) / 3.5)))
    return {"qmin": str(quantiser), "qmax": str(quantiser)}


def _other(crf: int) -> dict[str, str]:
    return {"qmin": str(crf), "qmax": str(crf)}


ENCODERS: dict[str, Callable[[int], dict[str, str]]] = {
    "libx264": _x264,
    "libopenh264": _other,
    "h264_videotoolbox": _other,
    "h264_mf": _other,
    "mpeg4": _mpeg4,
}
"""Encoders in order of preference with their options for a quality; only libx264 keeps the
promised quality for certain."""


def find_encoder(crf: int) -> str:
    """The first encoder that really encodes a picture here. Raises OutputError."""
    for name in ENCODERS:
        if name in av.codecs_available and _works(name, crf):
            return name
    raise OutputError(f"recording: PyAV has none of the encoders {', '.join(ENCODERS)}")


def _works(name: str, crf: int) -> bool:
    picture = to_yuv420(np.zeros((128, 128, 3), np.uint8))
    try:
        context: Any = av.CodecContext.create(name, "w")
        set_up(context, name, (128, 128), 30.0, crf)
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = 0
        return bool([*context.encode(frame), *context.encode(None)])
    except (av.error.FFmpegError, ValueError):
        return False


def set_up(
    context: av.VideoCodecContext, name: str, size_wh: tuple[int, int], rate: float, crf: int
) -> None:
    """Prepare an encoder for pictures of an even size that arrive in order.

    It counts frames; their real times are written by the container. Colours are tagged as what
    to_yuv420 makes: BT.601 matrix, limited range, with the primaries and the transfer curve of
    BT.709, which cameras and screens share.
    """
    frames_per_second = Fraction(rate).limit_denominator(1001)
    context.width, context.height = size_wh
    context.pix_fmt = "yuv420p"
    context.framerate = frames_per_second
    context.time_base = 1 / frames_per_second
    context.colorspace, context.color_range = 6, 1
    context.color_primaries, context.color_trc = 1, 1
    context.max_b_frames = 0
    context.thread_count = 2 if size_wh[0] * size_wh[1] > BIG_PICTURE else 1
    context.options = ENCODERS[name](crf)

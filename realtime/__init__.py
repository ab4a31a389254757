"""People's poses from a camera, a video, a stream or a folder; see realtime.api."""

import os
from typing import TYPE_CHECKING, Any

# Windows' Media Foundation takes minutes to open some cameras with hardware transforms on. OpenCV
# reads this when it is loaded, which any module of ours may do.
os.environ.setdefault("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")

if TYPE_CHECKING:
    from realtime.api import Stream, load, run, stream

__all__ = ["Stream", "load", "run", "stream"]


def __getattr__(name: str) -> Any:
    """Load the Python interface when it is first asked for."""
    if name in __all__:
        from realtime import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

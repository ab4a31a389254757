"""Not dying with a library: cv2's window toolkit (Qt) calls C's exit() when the display goes away
within one of its calls, which would take the recording along."""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

_kept: list[Any] = []  # C keeps only the addresses


def on_exit(action: Callable[[], int]) -> None:
    """Call action when something ends this process by C's exit(), and leave with the exit code it
    returns; on Linux only. From now on the process itself must leave by os._exit, because C would
    call an interpreter that is gone (see guarded): an exception nobody catches gets exit code 1."""
    if not sys.platform.startswith("linux"):
        return
    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: os._exit(action()))
    _kept.append(callback)
    atexit.register(os._exit, 1)
    ctypes.CDLL(None)["__cxa_atexit"](callback, None, None)


def guarded() -> bool:
    """Whether on_exit was called in this process."""
    return bool(_kept)

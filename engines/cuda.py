"""Whether there is an NVIDIA GPU, asked of the driver itself: no large library is imported."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


@cache
def count() -> int:
    """How many CUDA devices this process may use; 0 without a driver.

    Forks after the call cannot use CUDA (the driver is then initialised here).
    """
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError:
        return 0
    number = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(number)):
        return 0
    return number.value


def driver() -> str:
    """The driver's version: the newest CUDA it serves and, on Linux, its own number."""
    version = ctypes.c_int(0)
    try:
        ctypes.CDLL(LIBRARY).cuDriverGetVersion(ctypes.byref(version))
    except OSError:
        return "none"
    try:
        own = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        own = ""
    return f"{version.value} {own}".strip()

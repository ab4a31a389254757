"""Keeps OpenVINO from leaving a thread with a signal stack that is gone.

On CPUs with AMX it gives the thread that loads its CPU plugin a signal stack of its own, and puts
back the one before when that goes. Of two networks that go in the order in which they came, the
second puts back the stack of the first, which is freed; Python's handlers run on it, and the next
signal is a segmentation fault (seen with OpenVINO 2026.4.1).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """stack_t of sigaltstack(2)."""

    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """This thread has the same signal stack afterwards as before. Does nothing but on Linux."""
    if LIBC is None:
        yield
        return
    before = _Stack()
    LIBC.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        LIBC.sigaltstack(ctypes.byref(before), None)

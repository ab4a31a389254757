"""Why and when a run ends early: keys, signals, a closed window."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Callable
from threading import Thread
from time import monotonic
from types import FrameType

SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
]
"""SIGBREAK is Ctrl-Break on Windows, where no other one can be sent to a process by another."""
PATIENCE = 5.0
"""Seconds the main thread gets to end after a signal, before the process is ended around it."""
LOOK = 0.1
"""Seconds between two looks whether it is still busy with what must not be lost."""


class Stopped(BaseException):
    """A signal came while nothing was running yet: leave at once, with exit_code."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class Stop:
    """Set by a signal handler or a key, looked at by the main loop.

    Until started is set, a signal raises Stopped in the main thread, because what is going on
    (opening, loading) has no loop that could look. A second SIGINT leaves at once; the recording is
    playable at any moment.

    Python handles signals only between two of its instructions. While the main thread is inside a
    library that does not return (a frozen display, a model that loads for a minute), a thread sees
    the signal and ends the process after PATIENCE seconds, or so long after assembles() was last
    true: files are put together. rescue is called first and must not block.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.exit_code = 0
        self.started = False
        self.rescue: Callable[[], None] = lambda: None
        self.assembles: Callable[[], bool] = lambda: False
        self._mouth: socket.socket | None = None

    def install(self) -> None:
        """Handle SIGNALS until release(); call from the main thread."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        Thread(target=self._guard, args=(ear,), name="signals", daemon=True).start()

    def release(self) -> None:
        """The process is about to end by itself; further signals change nothing, also while the
        interpreter takes itself down, when it would give them their usual effect again."""
        self.started = True
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if self._mouth:
            signal.set_wakeup_fd(-1)
            self._mouth.close()

    def ask(self, reason: str, exit_code: int = 0) -> None:
        """End the run; the first reason counts."""
        if not self.reason:
            self.reason, self.exit_code = reason, exit_code

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.reason and number == signal.SIGINT:
            os._exit(130)
        self.ask(signal.Signals(number).name, _code(number))
        if not self.started:
            raise Stopped(self.reason, self.exit_code)

    def _guard(self, ear: socket.socket) -> None:
        with ear:
            first = ear.recv(1)
            deadline = monotonic() + PATIENCE
            while first:
                ear.settimeout(LOOK)
                try:
                    if not ear.recv(1):
                        return  # released
                except TimeoutError:
                    pass
                if self.assembles():
                    deadline = monotonic() + PATIENCE
                elif monotonic() > deadline:
                    break
        if first:
            faulthandler.dump_traceback(file=2, all_threads=True)
            text = f"stuck for {PATIENCE:g} s after {signal.Signals(first[0]).name}; leaving"
            print(f"posestream: WARNING: {text}", file=sys.stderr)
            self.rescue()
            os._exit(_code(first[0]))


def _code(number: int) -> int:
    return 130 if number == signal.SIGINT else 0

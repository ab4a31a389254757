"""Why and when a run ends early: keys, signals, a closed window."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from time import monotonic
from types import FrameType

from realtime.start import heeded

PATIENCE = 5.0
"""Seconds the main thread gets to end after a signal, before the process is ended around it."""
ECHO = 0.2
"""Seconds within which a signal that comes again is the same one: what started this process and got
Ctrl-C as well may pass it on."""
WRITES = 30.0
"""Seconds that one small file may take, before the same."""
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
    playable at any moment. A second SIGTERM does not: scripts send it again until a process is
    gone, and do not mean its data to be lost.

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
        self._asked_at = 0.0
        self._heeded: list[int] = []
        self._mouth: socket.socket | None = None

    def install(self) -> None:
        """Handle signals until release(); call from the main thread."""
        self._heeded = heeded()
        for number in self._heeded:
            signal.signal(number, self._on_signal)
        ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        Thread(target=self._guard, args=(ear,), name="signals", daemon=True).start()

    def release(self) -> None:
        """The process is about to end by itself; further signals change nothing, also while the
        interpreter takes itself down, when it would give them their usual effect again."""
        self.started = True
        for number in self._heeded:
            signal.signal(number, signal.SIG_IGN)
        if self._mouth:
            signal.set_wakeup_fd(-1)
            self._mouth.close()

    def ask(self, reason: str, exit_code: int = 0) -> None:
        """End the run; the first reason counts."""
        if not self.reason:
            self.reason, self.exit_code = reason, exit_code
            self._asked_at = monotonic()

    @contextmanager
    def writes(self) -> Iterator[None]:
        """Meanwhile one small file is written, for which a slow disk gets WRITES seconds."""
        before, until = self.assembles, monotonic() + WRITES
        self.assembles = lambda: monotonic() < until
        try:
            yield
        finally:
            self.assembles = before

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.reason and number == signal.SIGINT:
            if self.reason == "SIGINT" and monotonic() - self._asked_at < ECHO:
                return
            os._exit(130)
        self.ask(signal.Signals(number).name, _code(number))
        if not self.started:
            raise Stopped(self.reason, self.exit_code)

    def _guard(self, ear: socket.socket) -> None:
        with ear:
            first = ear.recv(1)
            began = monotonic()
            deadline = began + PATIENCE
            while first:
                ear.settimeout(LOOK)
                try:
                    again = ear.recv(1)
                    if not again:
                        return  # released
                    echo = again == first and monotonic() - began < ECHO
                    if again[0] == signal.SIGINT and not echo:
                        os._exit(130)
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

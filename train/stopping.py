"""Signals end a training run between two steps, so that it can be saved as it stands."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType, TracebackType
from typing import Any

from realtime.start import heeded
from realtime.stop import ECHO


class Stopped(BaseException):
    """Leave the work at hand: somebody asked. No error, so that no handler of errors takes it."""


class Stop:
    """Whether the run was asked to end, by whom, and the exit code that this gives.

    Use as a context in the main thread. The first signal is remembered; inside waiting() it raises
    Stopped at once, because that work (waiting for data, measuring) may take long and changes
    nothing that is saved. A second SIGINT leaves the process at once.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.exit_code = 0
        self._waiting = False
        self._asked_at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        for number in heeded():
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ask(self, reason: str, exit_code: int = 0) -> None:
        """End the run at the next step; the first reason counts."""
        if not self.reason:
            self.reason, self.exit_code = reason, exit_code
            self._asked_at = monotonic()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Work that may be abandoned: raises Stopped when asked before or during it."""
        self._waiting = True
        try:
            if self.reason:
                raise Stopped(self.reason)
            yield
        finally:
            self._waiting = False

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.reason and number == signal.SIGINT:
            if self.reason == "SIGINT" and monotonic() - self._asked_at < ECHO:
                return
            os._exit(128 + number)
        self.ask(signal.Signals(number).name, 130 if number == signal.SIGINT else 0)
        if self._waiting:
            raise Stopped(self.reason)

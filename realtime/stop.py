"""Why and when a run ends early: keys, signals, a closed window."""

from __future__ import annotations

import os
import signal
from types import FrameType

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Stopped(BaseException):
    """A signal came while nothing was running yet: leave at once."""


class Stop:
    """Set by a signal handler or a key, looked at by the main loop.

    Until started is set, a signal raises Stopped in the main thread, because what is going on
    (opening, loading) has no loop that could look. A second SIGINT leaves at once; the recording is
    playable at any moment.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.exit_code = 0
        self.started = False

    def install(self) -> None:
        """Handle SIGINT, SIGTERM and SIGHUP; call from the main thread."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def ask(self, reason: str, exit_code: int = 0) -> None:
        """End the run; the first reason counts."""
        if not self.reason:
            self.reason, self.exit_code = reason, exit_code

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        code = 130 if number == signal.SIGINT else 0
        if self.reason and number == signal.SIGINT:
            os._exit(130)
        self.ask(signal.Signals(number).name, code)
        if not self.started:
            raise Stopped(self.reason)

"""The beginning of the programs, while their modules are loaded: Ctrl-C ends them there as later,
without a traceback. Also what the installed commands start."""

from __future__ import annotations

import os
import signal
from types import FrameType

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""SIGBREAK is Ctrl-Break on Windows, where no other one can be sent to a process by another."""


def quietly(run: bool = False) -> None:
    """Call first of all. run: as signals end a run, of which nothing is open yet."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # scripts ignore it for &
    for number in heeded() if run else [signal.SIGINT] * ours:
        signal.signal(number, _leave)


def heeded() -> list[int]:
    """The signals that end a run. nohup has a process ignore that its terminal goes."""
    there = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    hangup = getattr(signal, "SIGHUP", None)
    return [n for n in there if n != hangup or signal.getsignal(n) != signal.SIG_IGN]


def _leave(number: int, _: FrameType | None) -> None:
    os._exit(130 if number == signal.SIGINT else 0)


def begun() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def posestream() -> int:
    quietly(run=True)
    from run_camera import main

    return main()


def batch() -> int:
    quietly()
    from realtime.batch.__main__ import main

    return main()


def clean() -> int:
    quietly()
    from realtime.clean import main

    return main()


def report() -> int:
    quietly()
    from realtime.report.__main__ import main

    return main()


def train() -> int:
    quietly()
    from train.__main__ import main

    return main()


def engines() -> int:
    quietly()
    from engines.__main__ import main

    return main()

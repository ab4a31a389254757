"""How long to wait: between two attempts, and for something that may never come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from random import random
from threading import Lock, Thread
from typing import Generic, TypeVar

A = TypeVar("A")

FIRST_WAIT, LONGEST_WAIT, DOWN_WAIT = 1.0, 30.0, 5.0
"""Seconds between two attempts: the first, the longest, and the longest while nobody answers."""


OPENING = "open source"
"""Name of the threads of within_seconds."""


def still_opening() -> bool:
    """Whether a thread is still stuck in a driver or library. Python's own end would tear it down
    there, which C++ answers by aborting the process: leave with os._exit instead."""
    return any(thread.name == OPENING for thread in threading.enumerate())


class Handover(Generic[A]):
    """Something opened ahead of its use: either the reader takes it or close() puts it away."""

    def __init__(self, thing: A | None = None) -> None:
        self._thing = thing
        self._lock = Lock()

    def take(self) -> A | None:
        """The thing for whoever asks first, None for all others."""
        with self._lock:
            thing, self._thing = self._thing, None
            return thing


class Backoff:
    """Waits between attempts: FIRST_WAIT doubling to LONGEST_WAIT, each shortened by up to a fifth
    at random, so that many readers of one server do not come back at the same moment."""

    def __init__(self, random: Callable[[], float] = random) -> None:
        self.attempts = 0  # since the last success
        self._random = random

    def next(self, down: bool = False) -> float:
        """Count one failed attempt and return the seconds to wait before the next."""
        wait = min(FIRST_WAIT * 2.0 ** min(self.attempts, 30), DOWN_WAIT if down else LONGEST_WAIT)
        self.attempts += 1
        return wait * (1.0 - 0.2 * self._random())

    def reset(self) -> None:
        self.attempts = 0


def within_seconds(seconds: float, work: Callable[[], A], undo: Callable[[A], None]) -> A:
    """work() in a daemon thread. Raises what work raises, TimeoutError after seconds.

    A result that comes too late is given to undo, in that thread.
    """
    future: Future[A] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            future.set_exception(error)

    def put_away(late: Future[A]) -> None:
        if late.exception() is None:
            undo(late.result())

    Thread(target=run, name=OPENING, daemon=True).start()
    try:
        return future.result(seconds)
    except WaitedTooLong:
        future.add_done_callback(put_away)
        raise TimeoutError(f"not done within {seconds:g} s") from None

"""Iterators that run in threads of their own, joined by bounded edges.

The only file that knows threads. A stage is a plain function of one item. A thread boundary is
one call to Crew.in_thread. Everything else is an ordinary generator, so the same stages run
without threads in a test.
"""

from __future__ import annotations

import atexit
import logging
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from threading import Condition, Thread, current_thread
from time import perf_counter
from typing import Any, Generic, Literal, TypeVar
from weakref import WeakSet

from realtime.errors import PosestreamError, StageError

A = TypeVar("A")
B = TypeVar("B")
WhenFull = Literal["wait", "drop_oldest"]

EXIT_LIMIT = 10.0
"""Seconds for which the end of Python waits for threads that were left behind."""

logger = logging.getLogger(__name__)


@dataclass
class EdgeStats:
    """What passed over an edge; waits are total seconds."""

    passed: int = 0
    dropped: int = 0
    put_wait: float = 0.0  # producer held up: the stage after the edge is the slow one
    take_wait: float = 0.0  # consumer held up: the stage before the edge is the slow one


class Edge(Generic[A]):
    """A bounded queue between one producer thread and one consumer thread.

    when_full is "wait" (back-pressure: nothing is lost) or "drop_oldest" (freshness: the consumer
    always gets the newest items).
    """

    def __init__(self, capacity: int, when_full: WhenFull = "wait") -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self.stats = EdgeStats()
        self._capacity = capacity
        self._when_full = when_full
        self._items: deque[A] = deque()
        self._changed = Condition()
        self._ended = False  # the producer will put no more
        self._abandoned = False  # the consumer will take no more

    def put(self, item: A, timeout: float | None = None) -> bool:
        """Add an item; False when the consumer has gone or there was no room within timeout."""
        start = perf_counter()
        with self._changed:
            if self._when_full == "drop_oldest" and len(self._items) == self._capacity:
                self._items.popleft()
                self.stats.dropped += 1
            room = self._changed.wait_for(
                lambda: self._abandoned or len(self._items) < self._capacity, timeout
            )
            self.stats.put_wait += perf_counter() - start
            if room and not self._abandoned:
                self._items.append(item)
                self._changed.notify_all()
            return room and not self._abandoned

    def take(self, at_most: int = 1, timeout: float | None = None) -> list[A] | None:
        """Wait for one item, then take what else is ready, up to at_most.

        Empty when the producer has ended, None when nothing came within timeout seconds.
        """
        start = perf_counter()
        with self._changed:
            came = self._changed.wait_for(lambda: self._items or self._ended, timeout)
            self.stats.take_wait += perf_counter() - start
            if not came:
                return None
            taken = [self._items.popleft() for _ in range(min(at_most, len(self._items)))]
            self.stats.passed += len(taken)
            self._changed.notify_all()
            return taken

    def end(self) -> None:
        """Called by the producer when it will put no more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Called by the consumer when it will take no more; releases a waiting producer."""
        with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()


_started: WeakSet[Thread] = WeakSet()


@atexit.register
def _wait_for_all() -> None:
    """What was left behind may still compute: a thread that comes back from a library written in
    C++ while Python ends aborts the process. One that never does cannot."""
    deadline = perf_counter() + EXIT_LIMIT
    for thread in tuple(_started):
        thread.join(max(0.0, deadline - perf_counter()))


class Crew:
    """The threads of one run. Joining them shares one deadline, so that one thread blocked in a
    driver cannot hold up the end of the run for longer than that."""

    def __init__(self) -> None:
        self._threads: list[Thread] = []
        self._edges: list[Edge[Any]] = []

    def start(self, name: str, work: Callable[[], None]) -> Thread:
        """Run work in a daemon thread called name."""
        thread = Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        _started.add(thread)
        thread.start()
        return thread

    def join(self, within: float) -> tuple[str, ...]:
        """Give up every edge, then wait at most within seconds for all threads.

        Returns the names of those left behind: only threads that do not come back from what they
        call, because one that waits at an edge is released.
        """
        for edge in self._edges:
            edge.abandon()
            edge.end()
        deadline = perf_counter() + within
        for thread in self._threads:
            if thread is not current_thread():
                thread.join(max(0.0, deadline - perf_counter()))
        return tuple(thread.name for thread in self._threads if thread.is_alive())

    def in_thread(
        self,
        name: str,
        source: Generator[A, None, None],
        edge: Edge[A],
        at_most: int = 1,
        tick: float | None = None,
    ) -> Generator[list[A], None, None]:
        """Iterate source in a thread called name; yield its items in lists of 1 to at_most.

        With tick, an empty list is yielded whenever nothing came for that many seconds, so that
        the consumer can look after other things. The thread starts at once. Closing the
        generator abandons the edge, which unwinds the source in its own thread; join() waits.
        Raises, after all earlier items, what the source raised: PosestreamError as it is, any
        other exception as StageError.
        """
        failure: list[BaseException] = []

        def produce() -> None:
            try:
                with closing(source):
                    for item in source:
                        if not edge.put(item):
                            return
            except BaseException as error:
                failure.append(error)
                logger.debug("stage %r failed", name, exc_info=True)  # else lost after an early end
            finally:
                edge.end()

        self._edges.append(edge)
        self.start(name, produce)
        return _consume(name, edge, failure, at_most, tick)


def _consume(
    name: str, edge: Edge[A], failure: list[BaseException], at_most: int, tick: float | None
) -> Generator[list[A], None, None]:
    try:
        while (items := edge.take(at_most, tick)) != []:
            yield items or []
    finally:
        edge.abandon()
    for error in failure:
        if isinstance(error, PosestreamError):
            raise error  # already says where and what
        raise StageError(f"stage {name!r} failed: {error}") from error


def each(stage: Callable[[A], B], items: Generator[A, None, None]) -> Generator[B, None, None]:
    """Apply a stage to every item; closes items when closed, which the built-in map does not."""
    with closing(items):
        for item in items:
            yield stage(item)


def flat(batches: Generator[list[A], None, None]) -> Generator[A, None, None]:
    """The items of every list, one by one."""
    with closing(batches):
        for batch in batches:
            yield from batch


def grouped(items: Generator[A, None, None], size: int) -> Generator[list[A], None, None]:
    """Lists of exactly size items, the last one shorter: the same groups in every run."""
    with closing(items):
        group: list[A] = []
        for item in items:
            group.append(item)
            if len(group) == size:
                yield group
                group = []
        if group:
            yield group

"""What a sink is: a named place that takes posed frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

from realtime.records import PosedFrame

Keeps = Literal["frames", "file", "picture", "nothing"]
"""What a sink has of the frames it took: each of them; none before close() has put its file
together, which is waited for; the picture of one; nothing, so that it may be left behind."""


class Sink(Protocol):
    """Created before any model is loaded (raising OutputError when that is impossible), then
    used by one thread.

    write() raises OutputError when the place cannot take more (disk full). close() finalises:
    it is called once or more, also after an error, and keeps everything written so far. clean
    says that the run ended as it should; only then is the old file of an overwriting run removed.
    keeps: see Keeps. notes: one-line messages for the report, in order.
    """

    name: str  # "record", "json": used in the report
    wants_picture: bool
    keeps: Keeps
    notes: list[str]

    def write(self, item: PosedFrame) -> None: ...

    def close(self, clean: bool = True) -> None: ...


@runtime_checkable
class Assembling(Sink, Protocol):
    """A sink that keeps a file. alive: to be told by close() that it gets on, with True before
    waiting for the disk."""

    alive: Callable[[bool], None]

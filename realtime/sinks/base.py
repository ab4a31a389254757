"""What a sink is: a named place that takes posed frames."""

from __future__ import annotations

from typing import Protocol

from realtime.records import PosedFrame


class Sink(Protocol):
    """Created before any model is loaded (raising OutputError when that is impossible), then
    used by one thread.

    write() raises OutputError when the place cannot take more (disk full). close() finalises:
    it is called once or twice, also after an error, and keeps everything written so far.
    """

    name: str  # "record", "json": used in the report
    wants_picture: bool

    def write(self, item: PosedFrame) -> None: ...

    def close(self) -> None: ...

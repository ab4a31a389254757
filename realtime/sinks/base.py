"""What a sink is: a named place that takes posed frames."""

from __future__ import annotations

from typing import Protocol

from realtime.records import PosedFrame


class Sink(Protocol):
    """Created before any model is loaded (raising OutputError when that is impossible), then
    used by one thread.

    write() raises OutputError when the place cannot take more (disk full). close() finalises:
    it is called once or more, also after an error, and keeps everything written so far. clean
    says that the run ended as it should; only then is the old file of an overwriting run removed.
    notes: one-line messages for the report, in order.
    """

    name: str  # "record", "json": used in the report
    wants_picture: bool
    notes: list[str]

    def write(self, item: PosedFrame) -> None: ...

    def close(self, clean: bool = True) -> None: ...

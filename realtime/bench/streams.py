"""Many live cameras at once in one process: does this machine carry them?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from threading import Event
from time import process_time
from typing import Any

from realtime.bench.line import Line
from realtime.flow import Crew
from realtime.ledger import bottleneck, rss_mb, stage_table
from realtime.loop import STOP_LIMIT
from realtime.pipeline import TICK
from realtime.stages import Meter


class Streams:
    """Live lines that run side by side, each in threads of its own.

    cpu: seconds of all cores while they ran. memory: MiB of the process at most meanwhile, None
    where unknown. left_behind: names of threads that did not end in time.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.cpu = 0.0
        self.memory: float | None = None
        self.left_behind: tuple[str, ...] = ()
        self._crew = Crew()
        self._ended: list[BaseException | None] = []
        self._changed = Event()

    def run(self) -> None:
        """Run all to their ends; the first error ends them all. Raises PosestreamError."""
        began = process_time()
        try:
            for n, line in enumerate(self.lines, 1):
                self._crew.start(f"stream {n}", partial(self.one, line))
            while len(self._ended) < len(self.lines) and not any(self._ended):
                self._changed.wait(TICK)
                self._changed.clear()
                self.memory = max((self.memory or 0.0, rss_mb() or 0.0)) or None
            self.cpu = process_time() - began
        finally:
            for line in self.lines:
                line.source.close()
            self.left_behind = self._crew.join(STOP_LIMIT)
        for error in self._ended:
            if error is not None:
                raise error

    def one(self, line: Line) -> None:
        """Run one line in the present thread and note how it ended."""
        failure: BaseException | None = None
        try:
            line.run(self._crew)
        except BaseException as error:  # noqa: BLE001 - run() raises it in the main thread
            failure = error
        self._ended.append(failure)
        self._changed.set()

    @property
    def wall(self) -> float:
        """Seconds of the line that took the longest."""
        return max(line.ledger.wall for line in self.lines)

    @property
    def carried(self) -> bool:
        """Whether every frame of every camera was worked on."""
        return all(line.ledger.delivered and not line.dropped for line in self.lines)

    def rows(self) -> list[dict[str, Any]]:
        """What each stream reached."""
        return [_row(n, line) for n, line in enumerate(self.lines, 1)]

    def stages(self) -> dict[str, Any]:
        """See Line.stages, of all lines together: a share of 1 is one thread of every line."""
        table: dict[str, Any] = stage_table(self._meters(), {}, self.wall * len(self.lines))
        return table

    def bottleneck(self) -> str:
        """The name of the slowest stage, "source" when the lines wait for frames."""
        return bottleneck(self._meters(), self.wall * len(self.lines), live=True)

    def _meters(self) -> list[Meter]:
        """One meter for each stage with the sums of all lines."""
        sums = []
        for name, first in self.lines[0].pipeline.meters.items():
            meters = [line.pipeline.meters[name] for line in self.lines]
            total = Meter(name, first.thread)
            total.frames = sum(meter.frames for meter in meters)
            total.seconds = sum(meter.seconds for meter in meters)
            sums.append(total)
        return sums


def _row(number: int, line: Line) -> dict[str, Any]:
    ledger = line.ledger
    p50, p95 = (ledger.latency.get(percent) for percent in (50, 95))
    return {
        "stream": number,
        "fps": round(ledger.fps, 2),
        "frames_captured": ledger.captured,
        "frames_finished": ledger.delivered,
        "dropped": line.dropped,
        "latency_p50_ms": None if p50 is None else round(1e3 * p50, 1),
        "latency_p95_ms": None if p95 is None else round(1e3 * p95, 1),
        "poses": round(ledger.people / max(ledger.delivered, 1), 2),
    }

"""Where every frame went, how long it took, and which stage was the slow one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from mmap import PAGESIZE
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from realtime.flow import Edge
from realtime.stages import Meter

ALARM = 30
"""Frames in a row in which nobody's joints are numbers, after which something is wrong."""


class Percentiles:
    """Percentiles of many durations in constant memory: a histogram with bins 2 % wide.

    Durations are seconds from 0.1 ms to 1000 s; the error is at most half a bin.
    """

    LOW, RATIO, BINS = 1e-4, 1.02, 815

    def __init__(self) -> None:
        self._counts = np.zeros(self.BINS, np.int64)

    def add(self, seconds: float) -> None:
        bin_ = int(np.log(max(seconds, self.LOW) / self.LOW) / np.log(self.RATIO))
        self._counts[min(bin_, self.BINS - 1)] += 1

    def get(self, percent: float) -> float | None:
        """Seconds that percent of the durations do not exceed; None when there are none."""
        total = int(self._counts.sum())
        if not total:
            return None
        bin_ = int(np.searchsorted(np.cumsum(self._counts), total * percent / 100))
        return float(self.LOW * self.RATIO ** (bin_ + 0.5))


@dataclass
class SinkCount:
    """Frames one sink took, and those it did not get, by reason."""

    frames: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


class Ledger:
    """Every captured frame is delivered, dropped with a reason, or failed; checked for each sink.

    sought: frames that were under way when somebody sought in the source, and were left out.

    captured is written by the grabbing thread, latency by the rendering thread, the rest by the
    main thread and each sink's own.
    """

    def __init__(self, live: bool) -> None:
        self.live = live
        self.captured = 0
        self.delivered = 0
        self.failed = 0
        self.failed_people = 0
        self.people = 0
        self.sought = 0
        self.first_grab: float | None = None
        self.last_delivery: float | None = None
        self.latency = Percentiles()
        self.delivery = SinkCount()  # the main thread itself, for runs without file sinks
        self.sinks: Mapping[str, SinkCount] = {}
        self.window: SinkCount | None = None
        self._edges: Mapping[str, Edge[Any]] = {}
        self._blind = 0

    def watch(
        self,
        edges: Mapping[str, Edge[Any]],
        sinks: Mapping[str, SinkCount],
        window: SinkCount | None = None,
    ) -> None:
        """Where the frames go; edges is filled when the run starts. window: of what is shown, where
        something is; apart from the others, since what a paused window leaves out is not lost."""
        self._edges, self.sinks, self.window = edges, sinks, window

    def stale(self) -> int:
        """Frames of a live source overtaken by newer ones before anything was done with them."""
        return self._edges["grab"].stats.dropped if "grab" in self._edges else 0

    def dropped(self) -> int:
        """Frames dropped so far: before the sinks, and by the sink that dropped most."""
        sinks = (sum(list(count.dropped.values())) for count in list(self.sinks.values()))
        return self.stale() + max(sinks, default=0)

    @property
    def blind(self) -> bool:
        """Whether the last ALARM frames with people had none whose joints were numbers."""
        return self._blind >= ALARM

    def capture(self) -> None:
        """A frame left the source."""
        self.captured += 1
        if self.first_grab is None:
            self.first_grab = perf_counter()

    def render(self, grabbed: float) -> None:
        """A frame's picture is done; grabbed is perf_counter() when it was read."""
        if self.live:
            self.latency.add(perf_counter() - grabbed)

    def leave_out(self) -> None:
        """Somebody has sought: what was captured and not delivered by then is left out. To be
        called while nothing is under way."""
        self.sought = self.captured - self.delivered - self.failed

    def deliver(self, people: int, failed_people: int) -> None:
        """A frame with so many people, and so many left out, reached the end of the pipeline."""
        self.delivered += 1
        self.delivery.frames += 1
        self.people += people
        self.failed_people += failed_people
        self.last_delivery = perf_counter()
        if people or failed_people:
            self._blind = 0 if people else self._blind + 1

    @property
    def fps(self) -> float:
        """Frames delivered per second between the first grab and the last delivery."""
        if self.first_grab is None or self.last_delivery is None:
            return 0.0
        return self.delivered / max(self.last_delivery - self.first_grab, 1e-6)

    @property
    def wall(self) -> float:
        """Seconds from the first grab to the last delivery."""
        if self.first_grab is None or self.last_delivery is None:
            return 0.0
        return self.last_delivery - self.first_grab

    def settle(self, upstream: Mapping[str, int], ended: bool) -> list[str]:
        """Account for every frame at each sink; the lines that do not add up (a bug each).

        upstream: frames dropped before the sinks, by reason. ended: the source came to its end,
        so nothing may be under way; otherwise frames under way were given up at the stop and are
        counted as stop.unfinished.
        """
        wrong = []
        window = {"the window": self.window} if self.window else {}
        for name, count in {**self.sinks, **window, "the main loop": self.delivery}.items():
            missing = self.captured - count.frames - self.failed
            missing -= sum(upstream.values()) + sum(count.dropped.values())
            if missing > 0 and not ended:
                count.dropped["stop.unfinished"] += missing
            elif missing:
                wrong.append(
                    f"{self.captured} frames captured, but {name} accounts for "
                    f"{self.captured - missing}"
                )
        return wrong


def bottleneck(meters: Sequence[Meter], wall: float, live: bool) -> str:
    """The name of the stage that limits the speed; "source" when the program waits for frames.

    The busiest thread is the slow one; within it the stage that takes the longest. Reading a
    live source is waiting, not work.
    """
    work = [m for m in meters if not (live and m.name == "grab")]
    threads: Counter[str] = Counter()
    for meter in work:
        threads[meter.thread] += meter.seconds  # type: ignore[assignment]
    if not threads or wall <= 0:
        return "none"
    thread, busy = max(threads.items(), key=lambda pair: pair[1])
    if live and busy < 0.85 * wall:
        return "source"
    return max((m for m in work if m.thread == thread), key=lambda m: m.seconds).name


def stage_table(meters: Sequence[Meter], edges: Mapping[str, Edge[Any]], wall: float) -> Any:
    """For the report: per stage its frames, seconds, ms_per_frame, share of the wall time, and
    the waits of the edge after it."""
    table = {}
    for meter in meters:
        row: dict[str, Any] = {
            "thread": meter.thread,
            "frames": meter.frames,
            "seconds": round(meter.seconds, 4),
            "ms_per_frame": round(1e3 * meter.seconds / max(meter.frames, 1), 3),
            "share": round(meter.seconds / wall, 4) if wall > 0 else None,
        }
        if meter.name in edges:
            stats = edges[meter.name].stats
            row["put_wait_s"] = round(stats.put_wait, 4)
            row["take_wait_s"] = round(stats.take_wait, 4)
        table[meter.name] = row
    return table


def rss_mb() -> float | None:
    """Resident memory of this process in MiB now; its peak on macOS; None where unknown."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return round(pages * PAGESIZE / 2**20, 1)
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20, 1)

"""One measured pipeline: the stages and threads of a real run, with nothing kept of it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from time import perf_counter, process_time
from typing import Any

from engines.base import Network
from realtime.bench.source import ClipSource, KnownDetector
from realtime.errors import StageError
from realtime.faults import Fault
from realtime.flow import Crew
from realtime.hud import Hud
from realtime.ledger import Ledger, bottleneck, stage_table
from realtime.loop import HANG_LIMIT, STOP_LIMIT
from realtime.opening import pipeline_options, style_of
from realtime.pipeline import Pipeline, batch_size
from realtime.settings import Settings
from realtime.stages import Watchdog


@dataclass(frozen=True, slots=True)
class Networks:
    """Two networks that may be called by several threads, and the least score of a box."""

    detector: Network
    pose: Network
    min_score: float


class Line:
    """A pipeline on a clip, drawing every frame as a run with a video output would.

    ledger: what happened to the frames. cpu: seconds of all cores the process used meanwhile.
    """

    def __init__(
        self, settings: Settings, source: ClipSource, networks: Networks, fault: Fault | None
    ) -> None:
        self.source = source
        self.ledger = Ledger(source.info.live)
        self.cpu = 0.0
        style = style_of(settings)
        hud = Hud(self.ledger, source, lambda: style, lambda: False)
        options = replace(pipeline_options(settings), min_score=0.0)
        detector = KnownDetector(networks.detector, networks.min_score, source.clip)
        self.pipeline = Pipeline(
            source, detector, networks.pose, hud.draw, self.ledger, options, fault
        )
        self.pipeline.wants_heat = lambda: style.heatmap
        self.ledger.watch(self.pipeline.edges, {})
        self._batch = 1 if source.info.live else batch_size(source.info, options.batch)
        self._ends: list[float] = []

    def run(self, crew: Crew) -> None:
        """Run to the end of the source in this thread. Raises PosestreamError; a stage that hangs
        counts as failed."""
        watchdog = Watchdog(HANG_LIMIT)
        began = process_time()
        with closing(self.pipeline.frames(crew)) as finished:
            for items in finished:
                for item in items:
                    self.ledger.deliver(len(item.poses), item.failed)
                    self._ends.append(perf_counter())
                if stuck := watchdog.look(self._watched()):
                    text = f"stage {stuck.name!r} hangs: no result for {HANG_LIMIT:.0f} s"
                    raise StageError(text, stuck.name)
        self.cpu = process_time() - began

    def run_alone(self) -> tuple[str, ...]:
        """Run with a crew of its own; the names of threads that did not end in time."""
        crew = Crew()
        try:
            self.run(crew)
        finally:
            self.source.close()
            left = crew.join(STOP_LIMIT)
        return left

    def _watched(self) -> list[Any]:
        """The meters whose silence means a hang: a live source may wait for its frames."""
        meters = self.pipeline.meters.values()
        return [m for m in meters if not (self.ledger.live and m.name == "grab")]

    @property
    def fps(self) -> float:
        """Frames a second; at full speed without the first two batches, during which the stages
        have nothing to do yet, and the last one, where that leaves three or more."""
        ends = self._ends
        if not self.ledger.live and len(ends) >= 6 * self._batch:
            ends = ends[2 * self._batch - 1 : -self._batch]
            return (len(ends) - 1) / max(ends[-1] - ends[0], 1e-6)
        return self.ledger.fps

    @property
    def dropped(self) -> int:
        return self.ledger.stale() if self.ledger.live else 0

    def stages(self) -> dict[str, Any]:
        """Per stage what the report of a run says: thread, ms_per_frame, share of the time."""
        meters = list(self.pipeline.meters.values())
        table: dict[str, Any] = stage_table(meters, self.pipeline.edges, self.ledger.wall)
        return table

    def bottleneck(self) -> str:
        """The name of the slowest stage; see ledger.bottleneck."""
        meters = list(self.pipeline.meters.values())
        return bottleneck(meters, self.ledger.wall, self.ledger.live)

"""The numbers beside the picture: how fast, how late, what was lost, who is seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from realtime.defaults import MIN_JOINT_SCORE
from realtime.ledger import Ledger
from realtime.outputs import SinkWorker
from realtime.pipeline import Pipeline
from realtime.records import PosedFrame, Poses
from realtime.sources.base import Seekable, Source

EVERY = 0.25
"""Seconds between two tellings."""
SPAN = 8
"""Tellings over which rates and times are taken: steady at low rates too."""
RECENT = 100
"""Pictures over which the latency is told."""
MOST = 50
"""People in the table."""


class Figures:
    """Followed from the start of the run. saw() in the sink's thread, told() in the server's.

    Rates and times per frame are those of the last SPAN tellings; a new one is made at most every
    EVERY seconds, for all viewers.
    """

    def __init__(self, min_joint_score: float = MIN_JOINT_SCORE) -> None:
        self._min_joint_score = min_joint_score
        self._run: tuple[Pipeline, Ledger, Source, Sequence[SinkWorker]] | None = None
        self._ages: deque[float] = deque(maxlen=RECENT)
        self.item: PosedFrame | None = None  # the newest
        self.since = 0.0  # perf_counter() when it came
        self._past: deque[_Totals] = deque([_Totals(perf_counter(), 0, 0, {})], maxlen=SPAN)
        self._told: dict[str, Any] = {"state": "starting", "people": []}

    def follow(
        self, pipeline: Pipeline, ledger: Ledger, source: Source, others: Sequence[SinkWorker]
    ) -> None:
        """What to tell about from now on; others are the other sinks."""
        self._run = pipeline, ledger, source, others

    def saw(self, item: PosedFrame) -> None:
        """This picture is now the newest."""
        now = perf_counter()
        if item.frame.grabbed:
            self._ages.append(now - item.frame.grabbed)
        self.item, self.since = item, now

    def told(self) -> dict[str, Any]:
        """Plain JSON values; those not known yet are null."""
        now = perf_counter()
        if self._run and now - self._past[-1].time >= EVERY * 0.9:
            self._told = self._tell(now, *self._run)
        return self._told

    def _tell(
        self,
        now: float,
        pipeline: Pipeline,
        ledger: Ledger,
        source: Source,
        others: Sequence[SinkWorker],
    ) -> dict[str, Any]:
        work = [m for m in pipeline.meters.values() if not (ledger.live and m.name == "grab")]
        stages = {m.name: (m.seconds, m.frames) for m in work}
        totals = _Totals(now, ledger.delivered, ledger.dropped(), stages)
        before = self._past[0]
        self._past.append(totals)
        seconds = now - before.time
        item, ages = self.item, list(self._ages)
        state = source.status.describe()
        return {
            "state": "live" if state == "ended" else state,  # what was read is still worked on
            "source": source.info.name,
            "live": ledger.live,
            "fps": round((totals.frames - before.frames) / seconds, 1),
            "latency_ms": _ms(ages, 50) if ledger.live else None,
            "latency_p95_ms": _ms(ages, 95) if ledger.live else None,
            "frames": ledger.delivered,
            "of": source.info.frames,
            **_position(source, item),
            "dropped": totals.dropped,
            "dropped_per_s": round((totals.dropped - before.dropped) / seconds, 1),
            "failed": ledger.failed,
            "reconnects": source.status.reconnects,
            "stages": {m.name: _per_frame(m.name, totals, before) for m in work},
            "outputs": {worker.sink.name: _output(worker) for worker in others},
            "people": self._people(item.poses) if item else [],
        }

    def _people(self, poses: Poses) -> list[dict[str, Any]]:
        """The surest first."""
        order = np.argsort(-poses.scores, kind="stable")[:MOST].tolist()
        shown = (poses.joint_scores >= self._min_joint_score).sum(1)
        return [
            {
                "id": int(poses.ids[n]) if poses.ids[n] >= 0 else None,
                "score": round(float(poses.scores[n]), 3),
                "joints": int(shown[n]),
            }
            for n in order
        ]


def _position(source: Source, item: PosedFrame | None) -> dict[str, float | None]:
    """at_s, length_s: where in a video file this frame is; null for other sources."""
    if item is None or not (isinstance(source, Seekable) and source.can_seek):
        return {"at_s": None, "length_s": None}
    at, length = item.frame.time - source.info.start, source.length
    return {"at_s": round(at, 3), "length_s": None if length is None else round(length, 3)}


@dataclass(frozen=True, slots=True)
class _Totals:
    """So far, at a time; stages: seconds and frames of each."""

    time: float
    frames: int
    dropped: int
    stages: dict[str, tuple[float, int]]


def _per_frame(name: str, totals: _Totals, before: _Totals) -> float | None:
    """Milliseconds a frame since then; None when the stage has done none."""
    seconds, frames = totals.stages[name]
    seconds_then, frames_then = before.stages.get(name, (0.0, 0))
    if frames <= frames_then:
        return None
    return round(1e3 * (seconds - seconds_then) / (frames - frames_then), 2)


def _ms(seconds: list[float], percent: float) -> float | None:
    return round(1e3 * float(np.percentile(seconds, percent)), 1) if seconds else None


def _output(worker: SinkWorker) -> dict[str, Any]:
    return {
        "frames": worker.count.frames,
        "dropped": sum(list(worker.count.dropped.values())),
        "error": str(worker.error) if worker.error else None,
    }

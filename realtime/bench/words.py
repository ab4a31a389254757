"""The bottleneck in plain words: what is slow, how one sees it, and what to try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from realtime.settings import Settings

FULL = 0.9
"""Share of all cores from which they are the limit, whatever thread they work for."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was busy: share of the time for each stage (with its thread, as in the report of a
    run), the share of all cores that this process used (0..1), how many cores there are."""

    stages: Mapping[str, Mapping[str, Any]]
    cores_used: float
    cores: int

    def thread_share(self, stage: str) -> float:
        """Share of the time that the thread of a stage works."""
        thread = self.stages[stage]["thread"]
        rows = (row for row in self.stages.values() if row["thread"] == thread)
        return sum(float(row["share"] or 0) for row in rows)


def found(stage: str, load: Load, dropped: bool = False) -> str:
    """What limits the speed, for the name that ledger.bottleneck gives; dropped: frames were."""
    if stage == "none":
        return "none, nothing was measured"
    cores = f"the {load.cores} cores are {100 * load.cores_used:.0f} % busy"
    if stage == "source":
        bursts = "; drops come at moments when something else is busy" if dropped else ""
        return f"none, the stages wait for frames; {cores}{bursts}"
    thread, own = load.thread_share(stage), float(load.stages[stage]["share"] or 0)
    told = f"{stage}, {100 * own:.0f} % of the time"
    if thread - own > 0.1:
        told += f", its thread works {100 * thread:.0f} %"
    if load.cores_used >= FULL:
        return f"{told}; {cores}: less work in any stage helps"
    return f"{told}; {cores}"


def advice(stage: str, settings: Settings, precision: Mapping[str, str]) -> list[str]:
    """What to try, the largest gain first; precision: of each network, by its task."""
    if stage in ("detect", "pose"):
        return _network_advice(stage, settings, precision)
    tries = {
        "grab": "a nearer disk or a smaller picture (--camera-size): frames come too slowly",
        "crop": "a smaller picture (--camera-size), a higher --detector-score",
        "decode": "" if settings.decode == "argmax" else "--decode argmax, a little less exact",
        "track": "a higher --detector-score, so that fewer people are followed",
        "render": "data only (--json or --data with --headless): nothing is drawn then",
    }
    return [tries[stage]] if tries.get(stage) else []


def _network_advice(stage: str, settings: Settings, precision: Mapping[str, str]) -> list[str]:
    tries = []
    if stage == "detect" and settings.detect_every is None:
        tries.append("--detect-every 5: boxes between are worked out")
    if stage == "pose" and precision.get("pose") != "int8":
        tries.append("a pose network with int8 ranges (posestream-engines calibrate)")
    if not settings.compute.startswith(("cuda", "gpu")):
        tries.append("a GPU (--compute cuda)")
    lighter = "detector" if stage == "detect" else "pose network"
    tries.append(f"a lighter {lighter} (posestream-engines list)")
    return tries

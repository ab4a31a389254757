"""Measures the networks alone, whole pipelines with more and more people, and live cameras."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from datetime import datetime, timezone
from statistics import median
from typing import Any, cast

import numpy as np

from engines.base import Network, takes_narrow
from engines.build_command import BATCHES, RUNS, call_seconds, noise
from engines.shared import MOST as MOST_AT_ONCE
from engines.shared import Shared
from realtime.bench.line import Line, Networks
from realtime.bench.machine import Others, cores, processor
from realtime.bench.source import RATE, SIZE_WH, Clip, ClipSource, Length, make_clip
from realtime.bench.streams import Streams
from realtime.bench.table import Telling, plain_table, streams_table
from realtime.bench.words import Load, advice, found
from realtime.decode import Method
from realtime.faults import parse_fault
from realtime.geometry import narrow_columns
from realtime.inputs import check_no_input
from realtime.ledger import rss_mb
from realtime.opening import check_report, load_networks
from realtime.pipeline import batch_size
from realtime.records import Image
from realtime.run_report import model, write_report
from realtime.schedule import EVERY
from realtime.settings import Settings
from realtime.sources.base import SourceInfo
from realtime.version import VERSION

PEOPLE = (0, 1, 2, 4, 6, 10)
"""People in the picture, one measurement each."""
SECONDS, STREAM_SECONDS = 4.0, 10.0
"""Of one such measurement, and of one of --streams."""
SLOW = 2
"""So many times longer where frames are slow to come."""
CROPS = 8
"""Crops of a call that tells what the pose network makes alone."""
STREAM_PEOPLE = 1
"""People before each camera of --streams."""
SCHEMA = 1


def run(settings: Settings) -> tuple[str, bool]:
    """Measure what was asked for: the table, and whether the process must leave by os._exit
    because a thread did not end. Writes --report. Raises PosestreamError."""
    check_no_input([settings.report], (), settings.networks)
    check_report(settings)
    others = Others()
    with Telling(not settings.quiet) as tell:
        bench = Bench(settings, tell)
        report = bench.head()
        report |= bench.plain() if settings.streams is None else bench.live(settings.streams)
        bench.close()
    report["others_used"] = others.share()
    if settings.report:
        write_report(settings.report, report, settings.overwrite)
    table = plain_table(report) if settings.streams is None else streams_table(report)
    return table, bool(bench.left_behind)


class Bench:
    """The networks of a run, loaded once, and what can be measured with them.

    left_behind: names of threads that did not end in time.
    """

    def __init__(self, settings: Settings, tell: Telling) -> None:
        self.left_behind: tuple[str, ...] = ()
        self._settings, self._tell = settings, tell
        self._began = datetime.now(timezone.utc)
        self._fault = parse_fault(os.environ.get("POSESTREAM_FAULT", ""))
        tell("loading the networks")
        self._nets = self._load(settings, shared=True)
        shared = [Shared(network, users=1) for network in self._nets]
        self._networks = Networks(shared[0], shared[1], settings.detector_score)
        self._own: Networks | None = None
        if not settings.streams:  # a run on a file has its networks in another form
            own = self._load(replace(settings, quiet=True))
            self._own = Networks(*own, settings.detector_score)

    def _load(self, settings: Settings, shared: bool = False) -> tuple[Network, Network]:
        info = SourceInfo("bench", "file", size_wh=SIZE_WH)
        detector, pose = load_networks(settings, info, shared)
        return detector.network, pose

    def close(self) -> None:
        """Close the networks, unless a thread may still be in one."""
        if not self.left_behind:
            own = (self._own.detector, self._own.pose) if self._own else ()
            for network in (*self._nets, *own):
                network.close()

    def head(self) -> dict[str, Any]:
        """What the figures belong to."""
        return {
            "schema_version": SCHEMA,
            "version": VERSION,
            "start_utc": self._began.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "machine": {
                "cores": cores(),
                "processor": processor(),
                "system": f"{platform.system()} {platform.machine()}",
            },
            "size_wh": list(SIZE_WH),
            "detect_every": self._settings.detect_every or (1 if self._settings.streams else EVERY),
            "models": {network.spec.task: model(network) for network in self._nets},
        }

    def plain(self) -> dict[str, Any]:
        """The networks alone, then whole pipelines at full speed with more and more people."""
        networks = [self._alone(network) for network in self._nets]
        rows = [self._with_people(people) for people in PEOPLE]
        return {
            "networks": networks,
            "people": rows,
            "reached": reached(networks[-1]["crops_per_s"], rows[-1]),
            "cost": _cost(rows),
            "bottleneck": self._bottleneck(rows[-1]),
        }

    def live(self, count: int) -> dict[str, Any]:
        """So many cameras at once."""
        self._tell("warming up")
        clip = make_clip(self._settings.seed, STREAM_PEOPLE)
        for network in self._nets:
            most = min(count * STREAM_PEOPLE, MOST_AT_ONCE)
            warm_up(network, most, cast(Method, self._settings.decode))
        before = rss_mb()
        self._tell(f"{count} cameras")
        lines = [self._camera(clip, n, count) for n in range(count)]
        streams = Streams(lines)
        streams.run()
        self.left_behind += streams.left_behind
        return {"streams": self._streams(streams, before)}

    def _streams(self, streams: Streams, before: float | None) -> dict[str, Any]:
        frames = sum(line.ledger.delivered for line in streams.lines)
        row = {
            "count": len(streams.lines),
            "people": STREAM_PEOPLE,
            "rate": RATE,
            "seconds": round(streams.wall, 2),
            "carried": streams.carried,
            "core_ms_per_frame": round(1e3 * streams.cpu / max(frames, 1), 2),
            "cores_used": _share(streams.cpu, streams.wall),
            "memory_before_mb": before,
            "memory_mb": streams.memory,
            "rows": streams.rows(),
            "stages": streams.stages(),
            "bottleneck": streams.bottleneck(),
        }
        return {**row, "limit": self._bottleneck(row)}

    def _camera(self, clip: Clip, number: int, count: int) -> Line:
        """One of the cameras, whose frames come at moments of their own."""
        length = _length(self._settings, STREAM_SECONDS, 1)
        source = ClipSource(clip, length, live=True, phase=number / count, name=f"camera {number}")
        return Line(self._settings, source, self._networks, self._fault)

    def _with_people(self, people: int) -> dict[str, Any]:
        """A pipeline at full speed with so many people in the picture, once to warm up."""
        assert self._own
        self._tell(f"{people} people, the pictures")
        clip = make_clip(self._settings.seed, people)
        batch = batch_size(ClipSource(clip, Length()).info, self._settings.batch)
        self._tell(f"{people} people")
        warm_up = Length(frames=2 * batch, most=1.0)
        for length in (warm_up, _length(self._settings, SECONDS, 6 * batch)):
            line = Line(self._settings, ClipSource(clip, length), self._own, self._fault)
            self.left_behind += line.run_alone()
        frames, crops = line.ledger.delivered, line.pipeline.crops
        return {
            "people": people,
            "people_in_view": round(clip.people, 3),
            "poses": round(line.ledger.people / frames, 3),
            "crops": {kind: round(count / frames, 3) for kind, count in crops.items()},
            "frames": frames,
            "fps": round(line.fps, 2),
            "ms_per_frame": round(1e3 / line.fps, 3),
            "core_ms_per_frame": round(1e3 * line.cpu / frames, 3),
            "cores_used": _share(line.cpu, line.ledger.wall),
            "stages": line.stages(),
            "bottleneck": line.bottleneck(),
        }

    def _bottleneck(self, row: dict[str, Any]) -> dict[str, Any]:
        """The bottleneck of a measurement, in words."""
        load = Load(row["stages"], row["cores_used"], cores())
        precision: dict[str, str] = {network.spec.task: network.precision for network in self._nets}
        return {
            "people": row["people"],
            "stage": row["bottleneck"],
            "text": found(row["bottleneck"], load, not row.get("carried", True)),
            "try": advice(row["bottleneck"], self._settings, precision),
        }

    def _alone(self, network: Network) -> dict[str, Any]:
        """Median ms of one network by itself, a call and a picture, for each of BATCHES."""
        self._tell(f"{network.spec.name} alone")
        spec = network.spec
        calls = {size: _call_ms(network, noise(spec, size), RUNS) for size in BATCHES}
        return {
            "task": spec.task,
            "name": spec.name,
            "ms_per_call": {str(size): round(ms, 3) for size, ms in calls.items()},
            "ms_per_picture": {str(size): round(ms / size, 3) for size, ms in calls.items()},
            "crops_per_s": crops_per_s(network) if spec.task == "pose" else None,
        }


def warm_up(network: Network, most: int, method: Method) -> None:
    """Let a network prepare for 1 to so many pictures in a call, or people where it cuts them out
    itself: live runs must not wait for it in the middle."""
    picture = noise(network.spec, 1)[0]
    for size in range(1, most + 1):
        network(noise(network.spec, size))
        if locate := getattr(network, "locate", None):
            as_it_is = np.eye(2, 3, dtype=np.float32)[None].repeat(size, 0)
            locate([picture], as_it_is, np.zeros(size, np.int64), method)


def _call_ms(network: Network, batch: Image, calls: int) -> float:
    """Median ms of a call."""
    network(batch)  # the first call of a size prepares
    return 1e3 * median(call_seconds(network, batch) for _ in range(calls))


def crops_per_s(pose: Network) -> dict[str, float]:
    """Crops a second that a pose network makes alone, CROPS at once, of each kind; those of a
    network that takes no narrow ones are all whole."""
    crops = noise(pose.spec, CROPS)
    kinds = {"whole": crops}
    if takes_narrow(pose):
        kinds["narrow"] = crops[:, :, narrow_columns(pose.spec.input_wh)].copy()
    return {
        kind: round(1e3 * CROPS / _call_ms(pose, some, 3 * RUNS), 1) for kind, some in kinds.items()
    }


def reached(alone: dict[str, float], row: dict[str, Any]) -> dict[str, float]:
    """Crops a second of a run (its fps, and its crops of each kind a frame), those that the network
    makes alone of as many of each kind, and the share of the two."""
    crops = {kind: count for kind, count in row["crops"].items() if count}
    made = row["fps"] * sum(crops.values())
    ms = sum(1e3 * count / alone[kind] for kind, count in crops.items())
    most = 1e3 * sum(crops.values()) / ms if ms else 0.0
    share = made / most if most else 0.0
    return {"crops_per_s": round(made, 1), "alone": round(most, 1), "share": round(share, 4)}


def _length(settings: Settings, seconds: float, least: int) -> Length:
    """How long to measure: --end as frames or seconds, else so many seconds and frames."""
    end = settings.span.end
    if isinstance(end, int):
        return Length(frames=end)
    seconds = end or seconds
    return Length(seconds, least, SLOW * seconds)


def _cost(rows: list[dict[str, Any]]) -> dict[str, float]:
    """What a frame with nobody costs and what each person adds, as least squares fit them: ms at
    full speed, and ms of cores."""
    people = [row["people_in_view"] for row in rows]
    costs = {}
    for name in ("ms", "core_ms"):
        slope, base = np.polyfit(people, [row[f"{name}_per_frame"] for row in rows], 1)
        costs[f"{name}_per_person"] = round(float(slope), 3)
        costs[f"{name}_nobody"] = round(float(base), 3)
    return costs


def _share(cpu: float, wall: float) -> float:
    """Of all cores."""
    return round(cpu / max(wall * cores(), 1e-6), 4)

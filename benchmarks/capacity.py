"""How many machines so many cameras take, from what --bench measured; see docs/capacity.md.

usage: python benchmarks/capacity.py BENCH.json LIVE.json --read MS [--people 2] [--fps 15]
           [--mbit 4] [--memory MIB] [--load 0.7] [--pose-bytes 475]

Reports of one such machine: BENCH.json of `python run_camera.py --bench --report BENCH.json`,
LIVE.json of `python run_camera.py --bench --streams 1 --report LIVE.json`.
Prints the plan for 10, 1,000 and 100,000 cameras.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path

CAMERAS = (10, 1_000, 100_000)
DAY = 86_400


@dataclass(frozen=True)
class Camera:
    """What one camera asks for. core_ms_one: of a live frame with one person in view.
    core_ms_person: of each more of them. core_ms_read: of reading a frame. people: in view on
    average. fps: frames a second. mbit: of its video stream a second. memory_mb: of one more
    camera, None where not known. pose_bytes: of one person in one frame, as kept."""

    core_ms_one: float
    core_ms_person: float
    core_ms_read: float
    people: float
    fps: float
    mbit: float
    memory_mb: float | None
    pose_bytes: float

    @property
    def cores(self) -> float:
        frame = self.core_ms_one + (self.people - 1) * self.core_ms_person + self.core_ms_read
        return self.fps * frame / 1e3

    @property
    def pose_mbit(self) -> float:
        return self.pose_bytes * self.people * self.fps * 8 / 1e6


@dataclass(frozen=True)
class Plan:
    """For so many cameras: machines, cores; MiB of each machine, None where not known; Gbit/s in;
    TB a day of video and of poses."""

    cameras: int
    on_one: int
    machines: int
    memory_mb: float | None
    network_gbit: float
    video_tb: float
    poses_tb: float


def plan(camera: Camera, cores: int, load: float, cameras: int) -> Plan:
    """Machines of so many cores for so many cameras, none of them busier than load (0..1).

    Raises ValueError when one machine does not carry one camera.
    """
    on_one = floor(load * cores / camera.cores)
    if on_one < 1:
        raise ValueError(
            f"one camera takes {camera.cores:.2f} cores, more than {load:g} of {cores}: "
            "fewer fps, a faster machine or a GPU"
        )
    return Plan(
        cameras,
        on_one,
        ceil(cameras / on_one),
        None if camera.memory_mb is None else min(on_one, cameras) * camera.memory_mb,
        cameras * camera.mbit / 1e3,
        cameras * camera.mbit * DAY / 8 / 1e6,
        cameras * camera.pose_mbit * DAY / 8 / 1e6,
    )


def main() -> None:
    options = _parser().parse_args()
    files = options.report, options.live
    report, live = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    try:
        one, person = live["streams"]["core_ms_per_frame"], report["cost"]["core_ms_per_person"]
    except KeyError:
        text = "give the report of --bench, then that of --bench --streams 1"
        raise SystemExit(f"capacity.py: {text}") from None
    cores = report["machine"]["cores"]
    camera = Camera(
        one, person, options.read, options.people, options.fps, options.mbit, options.memory,
        options.pose_bytes,
    )  # fmt: skip
    print(f"one camera: {camera.cores:.3f} cores, {camera.pose_mbit:.3f} Mbit/s of poses")
    print(
        "| cameras | on one machine | machines | MiB of each | Gbit/s in | video TB/day | poses |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for count in CAMERAS:
        try:
            p = plan(camera, cores, options.load, count)
        except ValueError as error:
            raise SystemExit(f"capacity.py: {error}") from None
        memory = "-" if p.memory_mb is None else f"{p.memory_mb:.0f}"
        print(
            f"| {p.cameras:,} | {p.on_one} | {p.machines:,} | {memory} "
            f"| {p.network_gbit:.2f} | {p.video_tb:.2f} | {p.poses_tb:.3f} |"
        )


def _parser() -> argparse.ArgumentParser:
    text = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(description=text)
    add = parser.add_argument
    add("report", type=Path, help="of run_camera.py --bench --report")
    add("live", type=Path, help="of run_camera.py --bench --streams 1 --report")
    add("--read", type=float, required=True, help="core-ms to read a frame, and write what is kept")
    add("--people", type=float, default=2.0, help="in view on average (default 2)")
    add("--fps", type=float, default=15.0, help="frames a second (default 15)")
    add("--mbit", type=float, default=4.0, help="Mbit/s of a camera's video (default 4)")
    add("--memory", type=float, help="MiB of one more camera, as --bench --streams says")
    add("--load", type=float, default=0.7, help="share of the cores to plan for (default 0.7)")
    add("--pose-bytes", type=float, default=475.0, help="of a person in a frame (default JSON)")
    return parser


if __name__ == "__main__":
    main()

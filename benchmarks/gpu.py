"""How many people a second the pose network and the whole pipeline take on a GPU.

usage: python benchmarks/gpu.py [--compute cuda] [--pose FILE] [--seconds 2]

Two tables of one run. The first, by batch size, people a second: crops in and heatmaps out through
memory (plain); pictures in and joints out, all on the device (located), with CUDA graphs where it
is a GPU and without. The second: frames a second of the whole pipeline with 1, 10 and 50 people
in view, 1280x720, detector on every third frame, without reading and writing, and its slowest
stage. --compute cpu runs all of it without a GPU; the figures mean little then.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from engines.base import ModelSpec  # noqa: E402
from engines.load import load  # noqa: E402
from engines.torch import TorchNetwork  # noqa: E402
from engines.torch_locate import BUCKETS, Locate  # noqa: E402
from realtime.bench.line import Line, Networks  # noqa: E402
from realtime.bench.source import SIZE_WH, Clip, ClipSource, Length, make_clip  # noqa: E402
from realtime.cli import parse  # noqa: E402
from realtime.crop import places  # noqa: E402
from realtime.opening import load_networks  # noqa: E402
from realtime.records import Detections  # noqa: E402
from realtime.sources.base import SourceInfo  # noqa: E402

PEOPLE = (1, 10, 50)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--compute", default="cuda")
    parser.add_argument("--pose", type=Path, default=ROOT / "engines/weights/pose.onnx")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    given = parser.parse_args()
    network = load(given.pose, "pose", "torch", compute=given.compute)
    assert isinstance(network, TorchNetwork)
    print(f"{network.spec.name}, torch, {network.precision}, {network.device}: people a second")
    _by_batch(network, given.seconds)
    _whole(given)
    return 0


def _by_batch(network: TorchNetwork, seconds: float) -> None:
    ways = {"located": _locate(network, graphs=False)}
    if network.locate:
        ways["with graphs"] = _locate(network, graphs=True)
    print("| batch | plain | " + " | ".join(ways) + " |\n" + "|---" * (2 + len(ways)) + "|")
    clip = make_clip(0, 6, pictures=1)
    width, height = network.spec.input_wh
    for size in BUCKETS:
        crops = np.random.default_rng(0).integers(0, 256, (size, height, width, 3), np.uint8)
        asked = _asked(clip, size, network.spec)
        rates = [_rate(network, (crops,), size, seconds)]
        rates += [_rate(way, asked, size, seconds) for way in ways.values()]
        print(f"| {size} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |", flush=True)


def _locate(network: TorchNetwork, graphs: bool) -> Locate:
    return Locate(network.spec, network._heatmaps, network._place, graphs)


def _asked(clip: Clip, size: int, spec: ModelSpec) -> tuple[Any, ...]:
    """So many people in one picture, as Locate is asked."""
    boxes = np.resize(clip.boxes_xyxy[0], (size, 4))
    found = Detections(boxes, np.ones(size, np.float32))
    return (list(clip.pictures), *places([found], spec.input_wh, spec.padding), "udp")


def _rate(call: Callable[..., object], asked: tuple[Any, ...], size: int, seconds: float) -> float:
    """People a second, after calls that prepare."""
    for _ in range(3):
        call(*asked)
    began, calls = perf_counter(), 0
    while perf_counter() - began < seconds:
        call(*asked)
        calls += 1
    return calls * size / (perf_counter() - began)


def _whole(given: argparse.Namespace) -> None:
    asked = ["--engine", "torch", "--compute", given.compute, "--pose", str(given.pose)]
    settings = parse(["--bench", *asked])
    detector, pose = load_networks(settings, SourceInfo("bench", "camera", size_wh=SIZE_WH))
    networks = Networks(detector.network, pose, detector.min_score)
    print("\n| people in view | frames a second | people a second | slowest |\n|---|---|---|---|")
    for people in PEOPLE:
        clip = make_clip(settings.seed, min(people, 10))
        boxes = tuple(np.concatenate([b] * (people // min(people, 10))) for b in clip.boxes_xyxy)
        clip = Clip(clip.pictures, boxes)
        for length in (Length(frames=16, most=1.0), Length(given.seconds, 16, 10 * given.seconds)):
            line = Line(settings, ClipSource(clip, length), networks, None)
            line.run_alone()
        posed = line.fps * line.ledger.people / line.ledger.delivered
        print(f"| {people} | {line.fps:.1f} | {posed:,.0f} | {line.bottleneck()} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())

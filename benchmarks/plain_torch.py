"""The pose network as the engines run it by default, against PyTorch as it comes.

usage: python benchmarks/plain_torch.py [FILE] [--batch 8] [--rounds 20]

As it comes: float32, eval mode, inference_mode, float pictures (B, 3, H, W) made beforehand. The
rows after it are the ways that cost nothing but knowing them: channels last, and that with folded
batch normalisations, which is what `python -m engines bench` compares with. All on the threads that
they choose themselves, in turns; medians, milliseconds a picture.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from engines.load import load  # noqa: E402
from engines.torch_nets import folded  # noqa: E402
from train.trained_network import network_of  # noqa: E402
from train.weights import load_weights  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "engines/weights/pose.onnx")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    ours = load(given.file, "pose")
    width, height = ours.spec.input_wh
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (given.batch, height, width, 3), np.uint8)
    runs = {"torch f32 as it comes": _torch(given.file, crops)}
    runs["channels last"] = _torch(given.file, crops, torch.channels_last)
    runs["and folded"] = _torch(given.file, crops, torch.channels_last, folded)
    runs[f"ours, {ours.engine} {ours.precision}"] = lambda: ours(crops)
    taken = _in_turns(runs, given.rounds)
    first = statistics.median(taken["torch f32 as it comes"])
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{name:24} {1e3 * median / given.batch:7.2f} ms {first / median:6.2f}x")
    return 0


def _torch(
    file: Path, crops: Any, layout: Any = torch.contiguous_format, change: Any = None
) -> Callable[[], Any]:
    """A run of the network in a memory format, changed by change."""
    weights, known = load_weights(file)
    net = deepcopy(network_of(weights, known, file).net).eval()
    net = (change(net) if change else net).to(memory_format=layout)
    pictures = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    pictures = pictures.contiguous(memory_format=layout)

    def run() -> Any:
        with torch.inference_mode():
            return net(pictures)

    return run


def _in_turns(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()  # what ran before has emptied the caches
            start = perf_counter()
            run()
            taken[name].append(perf_counter() - start)
    return taken


if __name__ == "__main__":
    sys.exit(main())

"""The pose network as it runs by default, against PyTorch as it comes.

usage: python benchmarks/plain_torch.py [FILE] [--batch 8] [--rounds 20]

As it comes: float32, eval mode, inference_mode, float pictures (B, 3, H, W) made beforehand.
`python -m engines bench` compares with more: channels last, folded batch normalisations, pictures
prepared each time. All on the threads that they choose themselves, in turns, each twice of which
the second counts; medians, milliseconds a picture. Ours is measured a batch at a time, as for live
sources, and several at a time, as for files.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

BATCHES = 4  # begun in a row for the figure of files

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from engines.base import Network  # noqa: E402
from engines.build_command import noise  # noqa: E402
from engines.load import load  # noqa: E402
from realtime.pipeline import STREAMS  # noqa: E402
from train.trained_network import network_of  # noqa: E402
from train.weights import load_weights  # noqa: E402


def several(network: Network, crops: NDArray[np.uint8]) -> None:
    """BATCHES, each begun before those before it are waited for."""
    if not network.begin:
        raise SystemExit(f"{network.engine} takes one batch at a time")
    for begun in [network.begin(crops) for _ in range(BATCHES)]:
        begun.outputs()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "engines/weights/pose.onnx")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    ours = load(given.file, "pose")
    ahead = load(given.file, "pose", streams=STREAMS)
    plain = network_of(*load_weights(given.file), given.file).eval().net
    crops = noise(ours.spec, given.batch)
    pictures = (torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255).contiguous()
    name = f"{ours.engine} {ours.precision}"
    runs: dict[str, tuple[Callable[[], object], int]] = {
        "torch f32 as it comes": (lambda: plain(pictures), 1),
        f"{name}, live": (lambda: ours(crops), 1),
        f"{name}, files": (lambda: several(ahead, crops), BATCHES),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for _ in range(given.rounds):
            for name, (run, batches) in runs.items():
                run()  # what ran before has emptied the caches
                start = perf_counter()
                run()
                taken[name].append(1e3 * (perf_counter() - start) / (batches * given.batch))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    first = next(iter(medians.values()))
    for name, ms in medians.items():
        print(f"{name:24} {ms:7.2f} ms {first / ms:6.2f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())

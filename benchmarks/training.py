"""How near training comes to what the network alone would learn from.

usage: python benchmarks/training.py [FILE.json[,IMAGES]] [--rounds 3] [--steps 12] [--batch 32]
    [--device auto] [--threads N] [--workers N] [--teacher FILE] [--optimiser adamw|muon]

In turn, steps of the pose network from one batch that is there already, and steps from samples as
they are made for training; prints images a second of each round and of the medians, and their
ratio. Without a file the demo scene is rendered, as JPEG.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from train.arithmetic import reproducible
from train.batches import Batches, default_workers
from train.config import Config
from train.demo_data import write_set
from train.learner import Learner
from train.parallel import team
from train.pose import PoseTask
from train.task import Batch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", metavar="FILE.json[,IMAGES]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="of a round")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--teacher", default="")
    parser.add_argument("--optimiser", default="adamw")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        data = given.data or str(write_set(Path(folder), 100, 3, (640, 480), suffix="jpg"))
        config = Config(
            "pose", data=(data,), batch=given.batch, teacher=given.teacher,
            optimiser=given.optimiser,
        )  # fmt: skip
        measure(config, given)
    return 0


def measure(config: Config, given: argparse.Namespace) -> None:
    """Print the table."""
    task = PoseTask(config)
    with team(given.device) as crew, reproducible(crew.device):
        batches = Batches(task, config.batch, crew, given.workers)
        learner = Learner(task, config, crew, 10**6)
        made = endless(batches)
        one = next(made)
        print(
            f"{learner.weights / 1e6:.1f} M weights, {learner.precision} on {crew.device}, ", end=""
        )
        print(f"{torch.get_num_threads()} threads, {given.workers} workers")
        print("| round | the network, images/s | training, images/s |")
        print("|---|---|---|")
        alone, whole = [], []
        for number in range(given.rounds):
            alone.append(speed(learner, (one for _ in range(given.steps + 2)), config.batch))
            whole.append(speed(learner, (next(made) for _ in range(given.steps + 2)), config.batch))
            print(f"| {number + 1} | {alone[-1]:.1f} | {whole[-1]:.1f} |", flush=True)
        print(f"| median | {median(alone):.1f} | {median(whole):.1f} |")
        print(f"training has {median(whole) / median(alone):.0%} of the speed of the network")
        batches.close()


def endless(batches: Batches) -> Iterator[Batch]:
    """The batches of one epoch after the other."""
    epoch = 0
    while True:
        yield from batches.epoch(epoch, 0)
        epoch += 1


def speed(learner: Learner, batches: Iterator[Batch], size: int) -> float:
    """Images a second of all batches but the first two, which fill or empty what is ahead."""
    learner.learn(0, next(batches))
    learner.learn(1, next(batches))
    finished()
    began, steps = time.perf_counter(), 0
    for step, batch in enumerate(batches, 2):
        learner.learn(step, batch)
        steps += 1
    finished()
    return steps * size / (time.perf_counter() - began)


def finished() -> None:
    """Wait for a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())

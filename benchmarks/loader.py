"""How many training samples a second one processor core makes.

usage: python benchmarks/loader.py [FILE.json[,IMAGES]] [--samples 2000] [--input-wh 192x256]

Prints a table of milliseconds of processor time a sample, and samples a second on one core: images
decoded only, crops for measuring, crops for training, and those from images that are in memory.
Without a file the demo scene is rendered, as JPEG.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from train.augment import mixed_order, pose_sample
from train.coco import DataSet, open_set
from train.config import Config
from train.demo_data import write_set
from train.images import NO_CACHE, ImageCache, read_image

MEMORY = 4 << 30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", metavar="FILE.json[,IMAGES]")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--input-wh", default="192x256")
    given = parser.parse_args()
    width, height = (int(n) for n in given.input_wh.split("x"))
    config = Config("pose", input_wh=(width, height))
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        text = given.data or str(write_set(Path(folder), 100, 3, (640, 480), suffix="jpg"))
        measure(open_set(text).with_joints(1), config, given.samples)
    return 0


def measure(data: DataSet, config: Config, samples: int) -> None:
    """Print the table."""
    people, order = data.people, mixed_order([len(data.people)], [1.0], 0, 0)
    chosen = [int(n) for n in np.resize(order, samples)]
    distinct, memory = list(dict.fromkeys(chosen)), ImageCache(MEMORY)
    print(f"{data.name}: {samples} samples of {len(distinct)} people")
    print("| what | ms a sample | samples a second and core |")
    print("|---|---|---|")

    def sample(index: int, train: bool, images: ImageCache) -> None:
        pose_sample(people[index], config, np.random.default_rng((0, 0, index)), train, images)

    row("image decoded", chosen, lambda n: read_image(people[n].image))
    row("crop for measuring", chosen, lambda n: sample(n, False, NO_CACHE))
    row("crop for training", chosen, lambda n: sample(n, True, NO_CACHE))
    for n in distinct:
        sample(n, True, memory)
    row("the same, images in memory", chosen, lambda n: sample(n, True, memory))


def row(name: str, chosen: list[int], work: Callable[[int], object]) -> None:
    """Time work on every index, after a few to warm up, and print it."""
    for index in chosen[:20]:
        work(index)
    began = time.process_time()
    for index in chosen:
        work(index)
    each = (time.process_time() - began) / len(chosen)
    print(f"| {name} | {each * 1000:.2f} | {1 / each:.0f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())

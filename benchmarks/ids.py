"""How well ids stay with their people: IDF1 and MOTA on the demo scene, by py-motmetrics.

usage: python benchmarks/ids.py [--seeds 0,1,2,3] [--end 300] [--network]

Without --network the tracker is given the true people with the faults of a network put in, for
each seed at 30 and at 7.5 frames a second; with it, the whole program runs on the scene with the
tiny networks, and its own ids are scored. Needs motmetrics (https://github.com/cheind/py-motmetrics).

What is counted: truth and poses are paired by boxes of an IoU of at least 0.3, as in
realtime/demo_score.py (the MOTChallenge takes 0.5); people who are hardly seen, which are those
that it does not ask for, are neither asked for nor is a pose on them false. A
person hidden for a while and seen again has to have the id from before. IDF1: Ristani et al. 2016,
arXiv:1609.01775; MOTA: Bernardin and Stiefelhagen 2008.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import motmetrics
import numpy as np
from scipy.optimize import linear_sum_assignment

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from realtime import geometry, stream
from realtime.demo_score import LEAST_HEIGHT, LEAST_SEEN
from realtime.records import Poses
from realtime.scene import Scene, Truth
from realtime.track import Tracker

OVERLAP = 0.3
SIZE_WH = (320, 180)
RATE = 30
Item = tuple[float, Poses, Truth]


@dataclass(frozen=True)
class Score:
    """idf1 and mota as shares (mota may be negative); counts over all frames."""

    idf1: float
    mota: float
    switches: int
    misses: int
    false: int
    people: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2,3")
    parser.add_argument("--end", type=int, default=300, help="frames of each scene")
    parser.add_argument("--network", action="store_true")
    given = parser.parse_args()
    print("| case | people | IDF1 | MOTA | switches | misses | false | µs a frame |")
    print("|---|---|---|---|---|---|---|---|")
    for seed in map(int, given.seeds.split(",")):
        if given.network:
            show(f"seed {seed}, networks", score(*found_by_networks(seed, given.end)), 0)
            continue
        for every in (1, 4):
            items = made_up(seed, given.end)[::every]
            row(f"seed {seed}, truth with faults, {RATE / every:g} fps", items, SIZE_WH)
    return 0


def row(name: str, items: list[Item], size_wh: tuple[int, int]) -> None:
    """Track and print a line of the table."""
    began = perf_counter()
    tracked = follow(items)
    cost = 1e6 * (perf_counter() - began) / max(len(items), 1)
    show(name, score(tracked, size_wh), cost)


def show(name: str, s: Score, cost: float) -> None:
    """Print a line of the table."""
    print(
        f"| {name} | {s.people} | {s.idf1:.4f} | {s.mota:.4f} | {s.switches} | {s.misses} |"
        f" {s.false} | {cost:.0f} |",
        flush=True,
    )


def follow(items: Iterable[Item], tracker: Tracker | None = None) -> list[Item]:
    """The same with the ids of a tracker."""
    tracker = tracker or Tracker()
    return [(time, tracker.update(poses, time), truth) for time, poses, truth in items]


def found_by_networks(seed: int, end: int) -> tuple[list[Item], tuple[int, int]]:
    """What the program finds in a demo scene with its tiny networks, and the picture's size."""
    with stream("demo", seed=seed, end=end, smooth="off") as run:
        size_wh = run.info.size_wh
        scene = Scene(seed, end, size_wh, RATE)
        items = [(item.frame.time, item.poses, scene.truth(item.frame.index)) for item in run]
    return items, size_wh


def made_up(seed: int, end: int) -> list[Item]:
    """The true people as a network of middling quality would find them: joints off by 1.5 % of
    the person's size (hidden ones by 10 %, with low scores) and boxes by 3 %, one in ten missed at
    random, nobody found of whom less than a quarter is seen, one pose on nobody in ten frames, all
    in random order."""
    rng = np.random.default_rng([seed, 5])
    scene = Scene(seed, end, SIZE_WH, RATE)
    items = []
    for index in range(end):
        truth = scene.truth(index)
        poses = _with_faults(truth, rng)
        found = (truth.visible_share > 0.25) & (rng.random(len(truth)) > 0.1)
        items.append((index / RATE, poses[rng.permutation(np.flatnonzero(found))], truth))
    for at in np.flatnonzero(rng.random(end) < 0.1):
        time, poses, truth = items[at]
        items[at] = time, _with_ghost(poses, rng), truth
    return items


def _with_faults(truth: Truth, rng: np.random.Generator) -> Poses:
    size = (truth.boxes_xyxy[:, 2:] - truth.boxes_xyxy[:, :2]).max(1, initial=0)[:, None]
    noise = np.where(truth.visible, 0.015, 0.1) * size
    joints = truth.joints_xy + rng.normal(0, 1, truth.joints_xy.shape) * noise[..., None]
    boxes = truth.boxes_xyxy + rng.normal(0, 0.03, truth.boxes_xyxy.shape) * size
    scores = np.where(truth.visible, 0.8, 0.3) * rng.uniform(0.6, 1, truth.visible.shape)
    return Poses(
        joints.astype(np.float32),
        scores.astype(np.float32),
        boxes.astype(np.float32),
        scores.mean(1).astype(np.float32),
        np.full(len(truth), -1, np.int64),
    )


def _with_ghost(poses: Poses, rng: np.random.Generator) -> Poses:
    """One more pose, somewhere in the picture."""
    size = rng.uniform(0.2, 0.8) * SIZE_WH[1]
    low = rng.uniform(0, 1, 2) * (np.array(SIZE_WH) - size)
    joints = low + size * rng.uniform(0, 1, (1, 17, 2))
    box = np.concatenate([low, low + size])[None]
    low_scores = rng.uniform(0.1, 0.5, (1, 17))
    ghost = (joints, low_scores, box, low_scores.mean(1))
    parts = (poses.joints_xy, poses.joint_scores, poses.boxes_xyxy, poses.scores)
    both = [np.concatenate([a, b.astype(np.float32)]) for a, b in zip(parts, ghost)]
    return Poses(*both, np.full(len(poses) + 1, -1, np.int64))


def score(items: Iterable[Item], size_wh: tuple[int, int]) -> Score:
    """Compare the ids of poses with the true people, frame by frame."""
    seen = motmetrics.MOTAccumulator(auto_id=True)
    for _, poses, truth in items:
        truth, poses = _counted(truth, poses, size_wh)
        overlap = geometry.iou(truth.boxes_xyxy, poses.boxes_xyxy).astype(np.float64)
        apart = np.where(overlap >= OVERLAP, 1 - overlap, np.nan)
        seen.update(truth.ids.tolist(), poses.ids.tolist(), apart)
    names = ("idf1", "mota", "num_switches", "num_misses", "num_false_positives", "num_objects")
    found = motmetrics.metrics.create().compute(seen, metrics=names, return_dataframe=False)
    idf1, mota, *counts = (found[name] for name in names)
    return Score(float(idf1), float(mota), *map(int, counts))


def _counted(truth: Truth, poses: Poses, size_wh: tuple[int, int]) -> tuple[Truth, Poses]:
    """The people who are asked for, and the poses but those on the other people."""
    height = truth.boxes_xyxy[:, 3] - truth.boxes_xyxy[:, 1]
    asked = (height >= LEAST_HEIGHT * size_wh[1]) & (truth.visible_share >= LEAST_SEEN)
    overlap = geometry.iou(truth.boxes_xyxy, poses.boxes_xyxy)
    rows, columns = linear_sum_assignment(np.where(overlap >= OVERLAP, overlap, 0), maximize=True)
    excused = columns[~asked[rows] & (overlap[rows, columns] >= OVERLAP)]
    kept = np.setdiff1d(np.arange(len(poses)), excused)
    columns_of = ("joints_xy", "visible", "boxes_xyxy", "ids", "visible_share")
    return replace(truth, **{name: getattr(truth, name)[asked] for name in columns_of}), poses[kept]


if __name__ == "__main__":
    sys.exit(main())

"""How well swapped sides are found: precision and recall of realtime/swaps.py on the demo scene.

usage: python benchmarks/swaps.py [--seeds 0,1,2,3] [--draws 2] [--end 300] [--noise 0,0.5,1,2]
       [--rate 30]

The true people of each scene, as a perfect network would find them, get noise on every joint: its
standard deviation is a share of the person's size (longer side of the box), three times as much
at hidden joints. In 5 % of everybody's frames, in runs of 1 to 10, left and right are swapped: in
one half of the runs of the whole person, in the other of the legs. They begin in sight, or
anywhere: that somebody is swapped when first seen, also after a while, cannot be told before the
sides change, and then the frames after may as well be those swapped.

Upper body and legs of every person in every frame count on their own. Precision: how many of those
changed were swapped; recall: how many of those swapped were changed; and both for the scene where
they are lowest. Without swaps: how many were changed. The draws differ in swaps and noise. With
another rate the same seconds have so many frames each; swaps and what is between them last as long.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from realtime.records import Poses
from realtime.skeleton import JOINT_COUNT, JOINTS, MIRROR
from realtime.swaps import SwapRepair
from tests.demo_truth import RATE, noisy, perfect

LEGS = np.array([name.endswith(("hip", "knee", "ankle")) for name in JOINTS])
UPPER = ~LEGS & (np.arange(JOINT_COUNT) != MIRROR)
SHARE = 0.05  # of the frames of everybody
LONGEST = 10  # frames of a swap
APART = 15  # frames between two swaps of a person
BEFORE = 5  # frames in which a person was there before a swap
Frames = Sequence[Poses]
Swaps = dict[tuple[int, int], bool]
"""For frame and id: whether the whole person is swapped, else the legs are."""
Counts = NDArray[np.int64]
"""Halves of people (upper body, legs) in frames: rightly changed, wrongly changed, missed."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2,3", help="scenes")
    parser.add_argument("--draws", type=int, default=2, help="of swaps and noise in each scene")
    parser.add_argument("--end", type=int, default=300, help="frames of each scene")
    parser.add_argument("--noise", default="0,0.5,1,2", help="percent of a person's size")
    parser.add_argument("--rate", type=float, default=RATE, help="frames a second")
    given = parser.parse_args()
    scenes = scenes_of([int(seed) for seed in given.seeds.split(",")], given.end, given.rate)
    print("| noise | swaps begin | swapped | precision | lowest | recall | lowest |")
    print("|---|---|---|---|---|---|---|")
    for percent in given.noise.split(","):
        for where in ("in sight", "anywhere", "never"):
            name, noise = f"{percent} % | {where}", float(percent) / 100
            row(name, scenes, given.draws, noise, where, given.rate)
    return 0


def scenes_of(seeds: Sequence[int], end: int, rate: float = RATE) -> list[Frames]:
    """As long as end frames at RATE."""
    return [perfect(seed, round(end * rate / RATE), rate) for seed in seeds]


def row(
    name: str, scenes: Sequence[Frames], draws: int, noise: float, where: str, rate: float
) -> None:
    """Measure and print a line of the table."""
    found = np.array([sum(count(s, d, noise, where, rate) for d in range(draws)) for s in scenes])
    right, wrong, missed = found.sum(0)
    told = " | ".join(_all_and_lowest(found, at) for at in (1, 2))
    if where == "never":
        told = f"{wrong} changed | | |"
    print(f"| {name} | {right + missed} | {told} |", flush=True)


def _all_and_lowest(found: Counts, faults: int) -> str:
    """Precision (faults 1) or recall (faults 2) over all scenes (S, 3), and of the lowest one."""
    right, wrong = np.vstack([found.sum(0), found]).T[[0, faults]]
    share = right / np.maximum(right + wrong, 1)
    return f"{share[0]:.3f} | {share[1:].min():.3f}"


def count(frames: Frames, draw: int, noise: float, where: str, rate: float = RATE) -> Counts:
    """Put swaps in, repair them, and compare. noise: share of a person's size. where swaps begin:
    in sight, anywhere or never."""
    rng, repair = np.random.default_rng(draw), SwapRepair()
    swaps = plan(frames, rng, where == "in sight", rate) if where != "never" else {}
    result = np.zeros(3, np.int64)
    for f, poses in enumerate(frames):
        given = with_swaps(noisy(poses, rng, noise), f, swaps)
        changed = (repair(given, f / rate).joints_xy != given.joints_xy).any(2)
        for number, row in zip(poses.ids.tolist(), changed, strict=True):
            told = row[UPPER].any(), row[LEGS].any()
            true = swaps.get((f, number), False), (f, number) in swaps
            for ours, theirs in zip(told, true, strict=True):
                result += [ours and theirs, ours and not theirs, theirs and not ours]
    return result


def plan(frames: Frames, rng: np.random.Generator, in_sight: bool, rate: float) -> Swaps:
    """SHARE of the frames of everybody, in runs of 1 to LONGEST frames APART or more; one half of
    the runs the whole person, the other the legs. in_sight: only while a person is seen without a
    gap, and has been for BEFORE frames. These are frames at RATE."""
    longest, apart, before = (max(1, round(n * rate / RATE)) for n in (LONGEST, APART, BEFORE))
    swaps: Swaps = {}
    for number in sorted({int(i) for poses in frames for i in poses.ids}):
        there = [f for f, poses in enumerate(frames) if number in poses.ids]
        taken: set[int] = set()
        done = 0
        for _ in range(200):
            length = int(rng.integers(1, longest + 1))
            if done >= SHARE * len(there) or len(there) <= length + before + 1:
                break
            start = int(rng.integers(before, len(there) - length))
            run = there[start : start + length]
            steady = run[-1] - there[start - before] == length - 1 + before
            if (steady or not in_sight) and taken.isdisjoint(range(run[0], run[-1] + 1)):
                swaps |= dict.fromkeys(((f, number) for f in run), bool(rng.integers(2)))
                taken |= set(range(run[0] - apart, run[-1] + apart + 1))
                done += length
    return swaps


def with_swaps(poses: Poses, frame: int, swaps: Swaps) -> Poses:
    """The people of this frame with the swaps of the plan."""
    own = np.arange(JOINT_COUNT)
    order = np.tile(own, (len(poses), 1))
    for k, number in enumerate(poses.ids.tolist()):
        if (frame, number) in swaps:
            order[k] = MIRROR if swaps[frame, number] else np.where(LEGS, MIRROR, own)
    rows = np.arange(len(poses))[:, None]
    joints, scores = poses.joints_xy[rows, order], poses.joint_scores[rows, order]
    return replace(poses, joints_xy=joints, joint_scores=scores)


if __name__ == "__main__":
    sys.exit(main())

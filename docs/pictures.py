"""Makes pictures of the README from the demo scene: docs/explain.jpg, window.jpg, steady.png.

usage: python docs/pictures.py (needs matplotlib: pip install '.[train]')
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import matplotlib

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

from realtime import load  # noqa: E402
from realtime.controls import usable  # noqa: E402
from realtime.grid import side_by_side  # noqa: E402
from realtime.help_card import with_help  # noqa: E402
from realtime.offline import Cleaning, clean  # noqa: E402
from realtime.records import Poses  # noqa: E402
from realtime.skeleton import JOINTS, MIRROR  # noqa: E402
from realtime.smooth import Smoother  # noqa: E402
from realtime.swaps import SwapRepair  # noqa: E402

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]
SHOULDER = JOINTS.index("left_shoulder")
ANKLES = [JOINTS.index(f"{side}_ankle") for side in ("left", "right")]
STILL = slice(85, 150)
"""Of the samples of the person longest in view: standing still."""
LAST = 170
"""Frame of the scenes in the window."""
SWAPPED = range(72, 79)
"""Frames in which the sides of everybody are exchanged."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        explained(Path(folder))
        window(Path(folder))
        steady(Path(folder))


def run(*options: object) -> None:
    command = [sys.executable, str(HERE.parent / "run_camera.py"), "--input", "demo", "--headless"]
    subprocess.run([*command, "--quiet", *map(str, options)], check=True)


def explained(folder: Path) -> None:
    """The five pictures of --explain in one."""
    run("--explain", folder / "steps", "--explain-frame", 100)
    steps = [cv2.imread(str(path)) for path in sorted((folder / "steps").iterdir())]
    half = [cv2.resize(s, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for s in steps]
    left, right = cv2.vconcat(half[:2] + half[3:4]), cv2.vconcat([half[2], half[4]])
    tall = max(len(left), len(right))
    sides = [
        cv2.copyMakeBorder(side, 0, tall - len(side), 0, 0, cv2.BORDER_REPLICATE)
        for side in (left, right)
    ]
    cv2.imwrite(str(HERE / "explain.jpg"), cv2.hconcat(sides), JPEG)


def window(folder: Path) -> None:
    """The window of four sources, with the help."""
    named = []
    for seed, options in enumerate(([], ["--select", "largest"], ["--blur-faces"], ["--angles"])):
        film = folder / f"{seed}.mp4"
        run("--seed", seed, "--start", 140, "--end", LAST + 1, "--output", film, *options)
        video = cv2.VideoCapture(str(film))
        video.set(cv2.CAP_PROP_POS_FRAMES, LAST - 140)
        named.append((" ".join(["demo", *options]), video.read()[1]))
    keys = usable(True, True)
    whole = cv2.hconcat([side_by_side(named), with_help(named[0][1], keys)])
    whole = cv2.resize(whole, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(HERE / "window.jpg"), whole, JPEG)


def steady(folder: Path) -> None:
    """Ids over crossings, a joint of somebody who stands still, sides exchanged and repaired."""
    run("--json", folder / "a.jsonl", "--end", 180)
    frames = load(folder / "a.jsonl")
    figure, (ids, still, sides) = plt.subplots(1, 3, figsize=(12.8, 3.4), layout="constrained")
    for number, (times, poses) in enumerate(tracks(frames), 1):
        middle = [p.boxes_xyxy[0, ::2].mean() for p in poses]
        ids.plot(times, middle, ".", ms=3, label=f"id {number}")
    ids.set(title="Ids over crossings", xlabel="s", ylabel="middle of the box, x in pixels")
    ids.legend(fontsize=7, ncols=2)
    times, poses = max(tracks(frames), key=lambda track: len(track[0]))
    draw_still(still, frames, times, poses)
    draw_sides(sides, times, poses)
    figure.savefig(HERE / "steady.png", dpi=100)


def draw_still(axes: Any, frames: list[Any], times: list[float], poses: list[Poses]) -> None:
    """A shoulder as found, smoothed live, and filtered afterwards."""
    number, smooth = int(poses[0].ids[0]), Smoother()
    low = clean(frames, Cleaning(butterworth=3.0))
    after = [f.poses.joints_xy[f.poses.ids == number][:, SHOULDER, 1] for f in low]
    lines = {
        "as found": ([p.joints_xy[0, SHOULDER, 1] for p in poses], "0.65"),
        "One-Euro, live": (
            [smooth(p, t).joints_xy[0, SHOULDER, 1] for t, p in zip(times, poses)], "C0",
        ),
        "Butterworth 3 Hz, afterwards": ([y[0] for y in after if len(y)], "C3"),
    }  # fmt: skip
    for label, (values, colour) in lines.items():
        axes.plot(times[STILL], values[STILL], color=colour, label=label, lw=1.4)
    axes.set(title="A shoulder of somebody who stands", xlabel="s", ylabel="y in pixels")
    axes.legend(fontsize=7)


def draw_sides(axes: Any, times: list[float], poses: list[Poses]) -> None:
    """Both ankles with sides exchanged in some frames, before and after --fix-swaps."""
    repair = SwapRepair()
    for n, (time, pose) in enumerate(zip(times, poses)):
        wrong = turned(pose) if n in SWAPPED else pose
        right = repair(wrong, time)
        for ankle, colour in zip(ANKLES, ("#0072B2", "#D55E00")):
            given, kept = (p.joints_xy[0, ankle, 0] for p in (wrong, right))
            axes.plot(time, given, "o", mfc="none", mec=colour, ms=7, alpha=0.6)
            axes.plot(time, kept, ".", color=colour, ms=5)
    axes.set_xlim(times[SWAPPED[0] - 12], times[SWAPPED[-1] + 12])
    middle = poses[SWAPPED[0]].joints_xy[0, ANKLES, 0].mean()
    axes.set_ylim(middle - 60, middle + 60)
    axes.set(
        title="Left (blue) and right ankle", xlabel="s: rings as found, dots after --fix-swaps"
    )


def tracks(frames: list[Any]) -> Iterator[tuple[list[float], list[Poses]]]:
    """Times and poses of everybody, one after the other."""
    for number in sorted({int(i) for f in frames for i in f.poses.ids}):
        mine = [(f.time, f.poses[f.poses.ids == number]) for f in frames]
        kept = [(time, pose) for time, pose in mine if len(pose)]
        yield [time for time, _ in kept], [pose for _, pose in kept]


def turned(pose: Poses) -> Poses:
    """The same person with left and right exchanged."""
    return replace(
        pose, joints_xy=pose.joints_xy[:, MIRROR], joint_scores=pose.joint_scores[:, MIRROR]
    )


if __name__ == "__main__":
    main()

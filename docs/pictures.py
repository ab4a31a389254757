"""Makes the pictures of the README from the demo scene.

usage: python docs/pictures.py [NAME...] (demo, overlays, compare, explain, window, steady, data,
report, page; without a name all; needs matplotlib, pandas and Chromium: pip install '.[all]')
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import matplotlib
import numpy as np
import pandas

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from browser import Tab, chromium  # noqa: E402

from realtime import load  # noqa: E402
from realtime.controls import usable  # noqa: E402
from realtime.grid import side_by_side  # noqa: E402
from realtime.help_card import with_help  # noqa: E402
from realtime.offline import Cleaning, clean  # noqa: E402
from realtime.records import Image, Poses  # noqa: E402
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
LOOKED_AT = 10
"""Seconds after which the page is looked at: 300 frames are 10 s, and loading takes its time."""
ANGLES_HIGH = 600
"""Pixels of the page of a run, from its angles on."""
SWAPPED = range(72, 79)
"""Frames in which the sides of everybody are exchanged."""


def main() -> None:
    made: dict[str, Callable[[Path], None]] = {
        "demo": demo, "overlays": overlays, "compare": compared, "explain": explained,
        "window": window, "steady": steady, "data": plotted, "report": reported, "page": page,
    }  # fmt: skip
    for name in sys.argv[1:] or made:
        with tempfile.TemporaryDirectory() as folder:
            made[name](Path(folder))


def command(*options: object) -> list[str]:
    start = [sys.executable, str(HERE.parent / "run_camera.py"), "--input", "demo", "--headless"]
    return [*start, "--quiet", *map(str, options)]


def run(*options: object) -> None:
    subprocess.run(command(*options), check=True)


def frame(folder: Path, number: int, *options: object) -> Image:
    """A frame (720, W, 3) of the demo as the program annotates it, BGR; 30 frames lead to it, so
    that people have their ids."""
    film = folder / "film.mp4"
    run("--start", number - 30, "--end", number + 1, "--output", film, "--overwrite", *options)
    with av.open(str(film)) as video:
        *_, last = video.decode(video=0)
    return last.to_ndarray(format="bgr24")


def save(name: str, picture: Image, width: int) -> None:
    height = round(width * picture.shape[0] / picture.shape[1])
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(HERE / name), small, JPEG)


def demo(folder: Path) -> None:
    """What the first run shows."""
    save("demo.jpg", frame(folder, 160), 960)


def overlays(folder: Path) -> None:
    """Four ways to draw the same frame."""
    ways = (
        ["--overlay", "heatmap"], ["--overlay", "black", "--angles"],
        ["--blur-faces"], ["--overlay", "boxes"],
    )  # fmt: skip
    named = [(" ".join(way), frame(folder, 150, *way)) for way in ways]
    save("overlays.jpg", side_by_side(named), 1280)


def compared(folder: Path) -> None:
    """Two pose networks."""
    save("compare.jpg", frame(folder, 105, "--compare", "engines/weights/pose.onnx"), 1400)


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
        picture = frame(folder, LAST, "--seed", seed, *options)
        named.append((" ".join(["demo", *options]), picture))
    keys = usable(True, True)
    whole = cv2.hconcat([side_by_side(named), with_help(named[0][1], keys)])
    save("window.jpg", whole, 1280)


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


def plotted(folder: Path) -> None:
    """The example of the README: wrists of everybody, by pandas."""
    run("--data", folder / "walk.csv")
    walk = pandas.read_csv(folder / "walk.csv")
    wrists = walk[(walk.joint == "right_wrist") & (walk.joint_score > 0.3)]
    table = wrists.pivot(index="time", columns="id", values="y")
    axes = table[table.count().nlargest(4).index].plot(figsize=(12.8, 3), xlabel="s", lw=1.5)
    axes.set(ylabel="right wrist, y in pixels", ylim=(520, 180))
    axes.figure.savefig(HERE / "data.png", dpi=100, bbox_inches="tight")


def reported(folder: Path) -> None:
    """Part of the page of a run, with joint angles."""
    run("--json", folder / "walk.jsonl", "--angles", "--report", folder / "run.json")
    made = [sys.executable, "-m", "realtime.report", str(folder / "walk.jsonl")]
    told = ["--run-report", str(folder / "run.json"), "--out", str(folder / "walk.html")]
    subprocess.run([*made, *told], check=True, cwd=HERE.parent, stdout=subprocess.DEVNULL)
    with chromium(folder / "profile") as browser:
        tab = browser.tab()
        tab.size(1000, 3000)
        tab.open((folder / "walk.html").as_uri())
        whole = seen(tab)
        tops = tab.value(
            "[...document.querySelectorAll('h2')].map(h => [h.innerText, h.offsetTop - 10])"
        )
    places = dict(tops)
    who, where = places["Who is there when"], places["Where they go"]
    angles = next(top for title, top in tops if title.startswith("Joint angles"))
    parts = cv2.vconcat([whole[who:where], whole[angles : angles + ANGLES_HIGH]])
    cv2.imwrite(str(HERE / "report.png"), parts, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def page(folder: Path) -> None:
    """The page in the browser."""
    running = subprocess.Popen(command("--live", "--serve", 8138))
    try:
        with chromium(folder / "profile") as browser:
            tab = browser.tab()
            tab.size(1200, 800)
            time.sleep(5)
            tab.open("http://127.0.0.1:8138/")
            time.sleep(LOOKED_AT - 5)
            save("page.jpg", seen(tab), 1200)
    finally:
        running.terminate()
        running.wait()


def seen(tab: Tab) -> Image:
    """What the tab shows, BGR."""
    return cv2.imdecode(np.frombuffer(tab.picture(), np.uint8), cv2.IMREAD_COLOR)


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
    for n, (at, pose) in enumerate(zip(times, poses)):
        wrong = turned(pose) if n in SWAPPED else pose
        right = repair(wrong, at)
        for ankle, colour in zip(ANKLES, ("#0072B2", "#D55E00")):
            given, kept = (p.joints_xy[0, ankle, 0] for p in (wrong, right))
            axes.plot(at, given, "o", mfc="none", mec=colour, ms=7, alpha=0.6)
            axes.plot(at, kept, ".", color=colour, ms=5)
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

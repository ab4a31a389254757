"""How far results of other settings are from those of exact ones, on the same clips.

usage: python benchmarks/agreement.py CLIP... [--options "--detect-every 3"] [--options ...]

Exact is float32 with the detector on every frame. Printed for the defaults and for each --options,
over the frames of all clips: the share of frames with the same number of people, and the mean OKS
of the people paired in them (COCO's sigmas; area: half the box; the joints
whose exact score is 0.3 or more). More options for all runs,
exact ones too: --all "--detector FILE --pose FILE".
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from realtime import geometry, load  # noqa: E402
from realtime.assignment import assign  # noqa: E402
from realtime.records import Poses  # noqa: E402
from realtime.similarity import BODY_SHARE, oks  # noqa: E402

EXACT = "--precision f32 --detect-every 1"
SURE = 0.3
"""Score from which a joint of the exact result counts."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--options", action="append", default=[])
    parser.add_argument("--all", default="")
    given = parser.parse_args()
    print("| clip | options | frames | people a frame | same number | mean OKS |")
    print("|---|---|---|---|---|---|")
    total: dict[str, list[tuple[bool, list[float]]]] = {}
    for clip in given.clips:
        exact = run(clip, f"{EXACT} {given.all}")
        for options in ["", *given.options]:
            found = run(clip, f"{options} {given.all}")
            frames = [compared(*pair) for pair in zip(exact, found, strict=True)]
            total.setdefault(options, []).extend(frames)
            print(row(clip.stem, options, frames, sum(map(len, exact))), flush=True)
    for options, frames in total.items():
        print(row("all", options, frames))
    return 0


def run(clip: Path, options: str) -> list[Poses]:
    """What the command line finds in each frame."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "poses.jsonl"
        command = [
            sys.executable, str(ROOT / "run_camera.py"), "--input", str(clip), "--headless",
            "--quiet", "--json", str(data), *options.split(),
        ]  # fmt: skip
        subprocess.run(command, check=True)
        return [frame.poses for frame in load(data)]


def compared(exact: Poses, found: Poses) -> tuple[bool, list[float]]:
    """Whether there are as many people, and the OKS of those who are in both."""
    areas = BODY_SHARE * geometry.areas(exact.boxes_xyxy)
    sure = (exact.joint_scores >= SURE)[:, None]
    alike = oks(exact.joints_xy, found.joints_xy, areas, sure)
    rows, columns = assign(alike, 0.1)
    return len(exact) == len(found), alike[rows, columns].tolist()


def row(
    name: str, options: str, frames: list[tuple[bool, list[float]]], people: int | None = None
) -> str:
    """One line of the table."""
    same = sum(one for one, _ in frames) / len(frames)
    values = [value for _, some in frames for value in some]
    mean = f"{sum(values) / len(values):.4f}" if values else "-"
    mine = "" if people is None else f"{people / len(frames):.2f}"
    label = options or "defaults"
    return f"| {name} | {label} | {len(frames)} | {mine} | {100 * same:.1f} % | {mean} |"


if __name__ == "__main__":
    sys.exit(main())

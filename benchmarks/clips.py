"""Runs the command line over a folder of clips and checks what came out.

usage: python benchmarks/clips.py FOLDER --detector FILE --pose FILE [--detector-score 0.4]

Prints a table: frames in the clip, frames out, people a frame, the same with the reference (the
detector alone, run frame by frame through ONNX Runtime and cv2, where onnxruntime is installed),
and the largest difference between a recorded timestamp and the source's, in ticks of the source.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm")
RTMDET_MEAN = np.float32([103.53, 116.28, 123.675])
RTMDET_STD = np.float32([57.375, 57.12, 58.395])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--pose", type=Path, required=True)
    parser.add_argument("--detector-score", default="0.4")
    given = parser.parse_args()
    print("| clip | frames | out | people a frame | reference | worst time, ticks |")
    print("|---|---|---|---|---|---|")
    for clip in sorted(p for p in given.folder.iterdir() if p.suffix in SUFFIXES):
        print(row(clip, given), flush=True)
    return 0


def row(clip: Path, given: argparse.Namespace) -> str:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        video, data = Path(folder) / "out.mp4", Path(folder) / "out.jsonl"
        command = [
            sys.executable, str(ROOT / "run_camera.py"), "--input", str(clip), "--headless",
            "--detector", str(given.detector), "--pose", str(given.pose), "--min-score", "0",
            "--precision", "f32", "--detect-every", "1", "--bridge", "0",
            "--detector-score", given.detector_score, "--output", str(video),
            "--json", str(data), "--quiet",
        ]  # fmt: skip
        subprocess.run(command, check=True)
        people = [len(json.loads(line)["people"]) for line in data.read_text("utf-8").splitlines()]
        source, tick = times(clip)
        recorded, _ = times(video)
    worst = max(abs(a - b) for a, b in zip(source, recorded)) / tick
    theirs = reference(clip, given.detector, float(given.detector_score))
    other = "" if theirs is None else f"{theirs:.3f}"
    mean = sum(people) / max(len(people), 1)
    return f"| {clip.name} | {len(source)} | {len(recorded)} | {mean:.3f} | {other} | {worst:.2f} |"


def times(path: Path) -> tuple[list[float], float]:
    """The time of every frame, and of one tick, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        tick = float(stream.time_base)
        return [frame.pts * tick for frame in container.decode(stream)], tick


def reference(clip: Path, detector: Path, least: float) -> float | None:
    """People a frame by RTMDet alone; None for other detectors or without onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(detector))
    if [output.name for output in session.get_outputs()] != ["dets", "labels"]:
        return None
    capture, counts = cv2.VideoCapture(str(clip)), []
    while True:
        ok, image = capture.read()
        if not ok:
            return sum(counts) / max(len(counts), 1)
        scale = min(320 / image.shape[0], 320 / image.shape[1])
        small = cv2.resize(image, (int(image.shape[1] * scale), int(image.shape[0] * scale)))
        padded = np.full((320, 320, 3), 114, np.uint8)
        padded[: small.shape[0], : small.shape[1]] = small
        pixels = ((padded.astype(np.float32) - RTMDET_MEAN) / RTMDET_STD).transpose(2, 0, 1)[None]
        found = session.run(None, {"input": pixels})[0][0]
        counts.append(int((found[:, 4] > least).sum()))


if __name__ == "__main__":
    sys.exit(main())

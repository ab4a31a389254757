"""Throughput of batches: several workers with one core each against one worker with one core.

usage: python benchmarks/batch.py [--workers 2] [--clips 8] [--frames 300] [--size 960x540]

Makes clips of the demo scene and runs python -m realtime.batch on them with the tiny networks, or
those given, first with one worker, then with --workers. Time counts from the moment when all
workers have begun until the last result is written; so Ray's own start is left out, the loading of
networks, which is part of every file, is not. Each worker is bound to one core (Linux). Run it on a
machine that does nothing else.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from time import time

import av
import cv2

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from realtime.sources.base import Span  # noqa: E402
from realtime.sources.demo import open_demo  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--size", default="960x540")
    for task in ("detector", "pose"):
        parser.add_argument(f"--{task}", default=str(ROOT / "tests" / "data" / f"tiny_{task}.onnx"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        first = film(folder / "in" / "0.mp4", given)
        for number in range(1, given.clips):
            (folder / "in" / f"{number}.mp4").write_bytes(first.read_bytes())
        rates = {n: rate(folder, n, given) for n in (1, given.workers)}
    print("| workers of one core | frames a second | times one worker |")
    print("|---|---|---|")
    for workers, value in rates.items():
        print(f"| {workers} | {value:.1f} | {value / rates[1]:.2f} |")
    return 0


def film(path: Path, given: argparse.Namespace) -> Path:
    """A clip of the demo scene, which has 300 frames, forth and back."""
    width, height = map(int, given.size.split("x"))
    scene = open_demo(1, Span(0, min(given.frames, 300)), False)
    pictures = [cv2.resize(f.image, (width, height)) for f in scene.frames()]
    pictures += pictures[::-1]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(given.frames):
            picture = pictures[number % len(pictures)]
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def rate(folder: Path, workers: int, given: argparse.Namespace) -> float:
    """Frames a second of a batch of all clips."""
    command = [
        sys.executable, "-m", "realtime.batch", f"{folder}/in/*.mp4", "--out",
        f"{folder}/out{workers}", "--workers", str(workers), "--cores-each", "1",
        "--detector", given.detector, "--pose", given.pose,
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr and process.stdout
        begun = 0
        while begun < workers:
            line = process.stderr.readline()
            begun += ", pid " in line
            print(line.strip(), file=sys.stderr)
        began = time()
        print("".join(process.stdout.readlines()), file=sys.stderr)
    if process.returncode:
        raise SystemExit(process.returncode)
    ended = max(path.stat().st_mtime for path in (folder / f"out{workers}").glob("*.jsonl"))
    return given.clips * given.frames / (ended - began)


if __name__ == "__main__":
    sys.exit(main())

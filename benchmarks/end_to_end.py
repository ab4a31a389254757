"""A video file in, an annotated video out: this program against other ways, on the same clip.

usage: python benchmarks/end_to_end.py CLIP [WHICH...] [--repeat 3] [--detector FILE --pose FILE]

WHICH (default: ours loop):
  ours       python run_camera.py --input CLIP --output o.mp4 --json o.jsonl, default settings
  whole      ours in f32, for comparing the pipeline alone
  other      ours as it is in another checkout (--other FOLDER), with the same network files
  pinned     ours on one core: what all stages cost where none waits for another
  network    the pose network of ours alone, 8 crops at once; its "fps" are crops
  loop       the plain way with the same two networks in PyTorch: cv2.VideoCapture, detector, pose
             network on one box after the other, cv2 drawing, cv2.VideoWriter
  boxes      the same loop with the networks on the engine and in the precision of ours
  yolo       Ultralytics yolo26n-pose exported to OpenVINO, predict(stream=True, save=True); its
             speed needs no trained weights (pip install ultralytics)
  mediapipe  MediaPipe Pose full, one person, cv2 in and out (pip install mediapipe==0.10.21, which
             wants a Python and a numpy of its own: give --python)

Each runs in a process of its own, all of them in turn, --repeat times. Printed are medians: frames
a second and CPU milliseconds a frame, without loading networks, and the ratio to the first; with
ours and other, the ratio of their CPU time; with ours and pinned, how much is reached of the speed
that the core-milliseconds on one core allow on all of them; with ours and network, how much of the
network's own rate. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
WHICH = ("ours", "whole", "other", "pinned", "network", "loop", "boxes", "yolo", "mediapipe")
SCORE = 0.3


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("which", nargs="*", choices=(*WHICH, []), default=["ours", "loop"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--python", default=sys.executable, help="for the peers")
    parser.add_argument("--detector", default=str(ROOT / "engines/weights/detector.onnx"))
    parser.add_argument("--pose", default=str(ROOT / "engines/weights/pose.onnx"))
    parser.add_argument("--other", type=Path, default=ROOT, help="checkout for 'other'")
    parser.add_argument("--alone", action="store_true", help="run one, in this process")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(_run(given.which[0], given)))
        return 0
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in given.which}
    for _ in range(given.repeat):
        for name in given.which:
            rows[name].append(_separate(name, given))
    middle = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in rows.items()
    }
    first = middle[given.which[0]]["fps"]
    print(f"| which | fps | {given.which[0]} is faster by | CPU ms a frame | people a frame |")
    print("|---|---|---|---|---|")
    for name, row in middle.items():
        ratio = first / row["fps"]
        print(
            f"| {name} | {row['fps']:.1f} | {ratio:.2f} | {row['cpu']:.1f} | {row['people']:.2f} |"
        )
    print("".join(_shares(middle)), end="")
    return 0


def _shares(rows: dict[str, dict[str, float]]) -> list[str]:
    """How near ours comes to what its parts allow."""
    lines, ours, cores = [], rows.get("ours"), len(os.sched_getaffinity(0))
    if ours and "other" in rows:
        lines.append(f"CPU time against the other: {ours['cpu'] / rows['other']['cpu']:.3f}\n")
    if ours and "pinned" in rows:
        allowed = 1e3 * cores / rows["pinned"]["cpu"]
        share = ours["fps"] / allowed
        lines.append(f"pipelining: {share:.0%} of the {allowed:.1f} fps that {cores} cores allow\n")
    if ours and "network" in rows:
        from realtime.bench.measure import reached

        alone = {"whole": rows["network"]["fps"], "narrow": rows["network"].get("narrow", 0.0)}
        crops = {kind: ours[kind] for kind in alone}
        told = reached(alone, {"fps": ours["fps"], "crops": crops})
        lines.append(
            f"{sum(crops.values()):.2f} crops a frame, {crops['narrow']:.2f} of them narrow:"
            f" {told['crops_per_s']:.0f} a second, {told['share']:.1%} of the"
            f" {told['alone']:.0f} that the network makes alone\n"
        )
    return lines


def _separate(name: str, given: argparse.Namespace) -> dict[str, float]:
    """One run in a process of its own."""
    peer = name in ("yolo", "mediapipe")
    done = subprocess.run(
        [
            given.python if peer else sys.executable, __file__, str(given.clip), name, "--alone",
            "--detector", given.detector, "--pose", given.pose, "--other", str(given.other),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {result}", file=sys.stderr, flush=True)
    return result


def _run(name: str, given: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        if name == "pinned":
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        if name in ("ours", "whole", "other", "pinned"):
            root = given.other if name == "other" else ROOT
            return _ours(given, out, root, ["--precision", "f32"] if name == "whole" else [])
        if name == "network":
            return _network(given)
        if name == "loop":
            return _cv2_loop(given.clip, out, _plain(*_in_torch(given)))
        if name == "boxes":
            return _cv2_loop(given.clip, out, _plain(*_as_ours(given)))
        if name == "mediapipe":
            return _cv2_loop(given.clip, out, _mediapipe())
        return _yolo(given.clip, out)


def _cpu(who: int = resource.RUSAGE_SELF) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _ours(given: argparse.Namespace, out: Path, root: Path, more: list[str]) -> dict[str, float]:
    """The command line; what one frame takes is taken off as the cost of starting."""

    def run(*options: str) -> tuple[dict[str, Any], float]:
        before = _cpu(resource.RUSAGE_CHILDREN)
        command = [
            sys.executable, str(root / "run_camera.py"), "--input", str(given.clip), "--headless",
            "--quiet", "--overwrite", "--output", str(out / "o.mp4"),
            "--json", str(out / "o.jsonl"), "--report", str(out / "r.json"),
            "--detector", given.detector, "--pose", given.pose, *more, *options,
        ]  # fmt: skip
        subprocess.run(command, check=True)
        return json.loads((out / "r.json").read_text()), _cpu(resource.RUSAGE_CHILDREN) - before

    _, start = run("--end", "1")
    told, whole = run()
    frames = told["frames_captured"]
    cpu = 1e3 * (whole - start) / (frames - 1)
    # Crops are people looked at, of whom some are left out; commits before 2026-12 do not count.
    crops = {kind: count / frames for kind, count in told.get("crops", {}).items()}
    return {"fps": told["fps"], "cpu": cpu, "people": told["people"] / frames, **crops}


def _network(given: argparse.Namespace) -> dict[str, float]:
    """Crops a second of the pose network as the command line opens it: whole ones as "fps", and
    narrow ones where it takes such; CPU milliseconds for a crop of all of them."""
    from engines.load import load
    from realtime.bench.measure import CROPS, RUNS, crops_per_s

    network = load(Path(given.pose), "pose")
    used = _cpu()
    whole, *narrow = crops_per_s(network).values()
    cpu = 1e3 * (_cpu() - used) / ((3 * RUNS + 1) * CROPS * (1 + len(narrow)))
    return {"fps": whole, "cpu": cpu, "people": 1.0, **dict(zip(["narrow"], narrow))}


def _cv2_loop(clip: Path, out: Path, work: Callable[[Any], int]) -> dict[str, float]:
    """Read, work, write, one frame after the other; work draws into the frame."""
    import cv2

    video = cv2.VideoCapture(str(clip))
    work(video.read()[1])  # the first call is slow everywhere
    video = cv2.VideoCapture(str(clip))
    rate = video.get(cv2.CAP_PROP_FPS)
    size = tuple(int(video.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(out / "o.mp4"), code, rate, size)
    frames = people = 0
    start, used = perf_counter(), _cpu()
    while True:
        more, image = video.read()
        if not more:
            break
        people += work(image)
        writer.write(image)
        frames += 1
    writer.release()
    seconds = perf_counter() - start
    return {
        "fps": frames / seconds,
        "cpu": 1e3 * (_cpu() - used) / frames,
        "people": people / frames,
    }


def _as_ours(given: argparse.Namespace) -> tuple[Any, Any]:
    """Detector network and pose network as the command line opens them."""
    from engines.load import load

    return load(Path(given.detector), "detector"), load(Path(given.pose), "pose")


def _in_torch(given: argparse.Namespace) -> tuple[Any, Any]:
    """Detector network and pose network in PyTorch, float32 as it comes."""
    import torch

    from engines.base import Options
    from engines.load import load
    from realtime.errors import PosestreamError
    from train.trained_network import TrainedNetwork

    torch.set_num_threads(2)
    try:
        detector: Any = TrainedNetwork(Path(given.detector), "detector", Options())
    except PosestreamError as error:  # a public one, which is no network of ours
        print(f"{error}; through ONNX Runtime", file=sys.stderr)
        detector = load(Path(given.detector), "detector", engine="onnxruntime")
    return detector, load(Path(given.pose), "pose", engine="torch", precision="f32")


def _plain(network: Any, pose: Any) -> Callable[[Any], int]:
    """One frame after the other, one box at a time."""
    import cv2
    import numpy as np

    from realtime import geometry
    from realtime.crop import cut
    from realtime.detect import Detector
    from realtime.records import Detections, Frame
    from realtime.skeleton import LIMBS

    detector = Detector(network, SCORE)

    def work(image: Any) -> int:
        frame = Frame(0, 0.0, image.copy())
        found = detector([frame])[0]
        for n in range(len(found)):
            one = Detections(found.boxes_xyxy[n : n + 1], found.scores[n : n + 1])
            crops = cut([frame], [one], pose.spec.input_wh, pose.spec.padding)
            maps = pose(crops.pixels)[0][0]
            peaks = maps.reshape(len(maps), -1).argmax(1)
            cells = np.stack([peaks % maps.shape[2], peaks // maps.shape[2]], 1)
            points = ((cells + 0.5) * 4 - 0.5).astype(np.float32)
            joints = geometry.apply(crops.crop_to_frame[0], points).round().astype(int).tolist()
            for a, b in LIMBS:
                cv2.line(image, joints[a], joints[b], (0, 255, 0), 2)
            for joint in joints:
                cv2.circle(image, joint, 4, (0, 0, 255), -1)
        return len(found)

    return work


def _mediapipe() -> Callable[[Any], int]:
    import mediapipe

    pose = mediapipe.solutions.pose
    network, draw = pose.Pose(model_complexity=1), mediapipe.solutions.drawing_utils

    def work(image: Any) -> int:
        found = network.process(image[:, :, ::-1].copy())
        if found.pose_landmarks:
            draw.draw_landmarks(image, found.pose_landmarks, pose.POSE_CONNECTIONS)
        return int(found.pose_landmarks is not None)

    return work


def _yolo(clip: Path, out: Path) -> dict[str, float]:
    os.environ["YOLO_OFFLINE"] = "true"
    clip = clip.resolve()
    os.chdir(out)
    from ultralytics import YOLO

    options: dict[str, Any] = {"imgsz": (384, 640), "verbose": False}
    exported = YOLO("yolo26n-pose.yaml", task="pose").export(format="openvino", **options)
    model = YOLO(exported, task="pose")
    next(iter(model.predict(clip, stream=True, save=False, **options)))
    start, used = perf_counter(), _cpu()
    found = [
        len(result.boxes)
        for result in model.predict(clip, stream=True, save=True, project=str(out), **options)
    ]
    frames, seconds = len(found), perf_counter() - start
    return {
        "fps": frames / seconds,
        "cpu": 1e3 * (_cpu() - used) / frames,
        "people": sum(found) / frames,
    }


if __name__ == "__main__":
    sys.exit(main())

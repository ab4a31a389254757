"""How well the tiny networks do on renders they were not trained on. Needs OpenVINO, not torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime import geometry
from realtime.records import Float, Image
from realtime.scene import Scene
from train.tiny_data import (
    DETECTOR_WH,
    HIDDEN_PEAK,
    PADDING,
    POSE_WH,
    Render,
    move_boxes,
    render,
    target_peaks,
)

Network = Callable[[NDArray[np.uint8]], list[Float]]

CUT = 0.4
"""Score from which a person or a joint counts as found."""


def load(path: Path) -> Network:
    """The network of an ONNX file on the CPU in float32: uint8 (B, H, W, 3) to its outputs."""
    import openvino as ov

    core = ov.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2}
    compiled = core.compile_model(core.read_model(str(path)), "CPU", options)

    def run(batch: NDArray[np.uint8]) -> list[Float]:
        result = compiled(batch)
        return [np.array(result[n]) for n in range(len(compiled.outputs))]

    return run


# ---- detector -----------------------------------------------------------------------------------


def detect(network: Network, image: Image, cut: float = CUT) -> tuple[Float, Float]:
    """Boxes (N, 4) in frame pixels and scores (N,) of the peaks from cut upwards."""
    affine = geometry.letterbox((image.shape[1], image.shape[0]), DETECTOR_WH)
    small = cv2.warpAffine(image, affine, DETECTOR_WH, flags=cv2.INTER_LINEAR, borderValue=PADDING)
    centres, sizes = network(small[None].astype(np.uint8))
    boxes, scores = peaks(centres[0, 0], sizes[0], cut)
    return move_boxes(geometry.invert(affine), boxes), scores


def peaks(centres: Float, sizes: Float, cut: float) -> tuple[Float, Float]:
    """Boxes (N, 4) in network pixels and scores of the 3x3 maxima of centres (h, w)."""
    highest = cv2.dilate(centres, np.ones((3, 3), np.uint8))
    i, j = np.nonzero((centres == highest) & (centres >= cut))
    stride = DETECTOR_WH[0] // centres.shape[1]
    at = np.stack([j, i, j, i], 1) * stride + (stride - 1) / 2
    boxes = at + sizes[:, i, j].T * np.array([-1, -1, 1, 1])
    return boxes.astype(np.float32), centres[i, j]


@dataclass(frozen=True, slots=True)
class DetectorReport:
    """frames and empty: how many frames with and without people. people: to be found, that is
    visible_share >= 0.6 and height >= 60 px at 720p. false, false_empty: boxes on nobody."""

    frames: int
    people: int
    recall: float
    false: float
    empty: int
    false_empty: int


def detector_report(network: Network, scenes: Iterable[Scene], each: int) -> DetectorReport:
    """Recall at IoU 0.5 and false boxes per frame at CUT on each frames of every scene.

    A box is false unless it has IoU 0.5 with a person nobody else claims, however hidden.
    """
    people = found = false = frames = false_empty = 0
    for scene in scenes:
        for index in spread(scene, each):
            truth = render(scene, index)
            boxes, _ = detect(network, truth.image)
            hits = _hits(boxes, truth.boxes_xyxy)
            asked = asked_for(truth)
            people, found = people + int(asked.sum()), found + int((hits & asked).sum())
            false, frames = false + len(boxes) - int(hits.sum()), frames + 1
            false_empty += len(detect(network, scene.image(index, people=False))[0])
    return DetectorReport(
        frames, people, found / max(people, 1), false / max(frames, 1), frames, false_empty
    )


def asked_for(truth: Render) -> NDArray[np.bool_]:
    """Who (N,) must be found: visible_share >= 0.6, at least a twelfth of the frame high."""
    height = truth.boxes_xyxy[:, 3] - truth.boxes_xyxy[:, 1]
    enough: NDArray[np.bool_] = (truth.visible_share >= 0.6) & (height >= truth.image.shape[0] / 12)
    return enough


def _hits(boxes_xyxy: Float, truth_xyxy: Float) -> NDArray[np.bool_]:
    """Which true boxes (N,) have a box of their own at IoU 0.5; the best pairs first."""
    overlap = geometry.iou(boxes_xyxy, truth_xyxy)
    hits = np.zeros(len(truth_xyxy), bool)
    while overlap.size and overlap.max() >= 0.5:
        box, person = np.unravel_index(overlap.argmax(), overlap.shape)
        hits[person] = True
        overlap[box], overlap[:, person] = 0, 0
    return hits


# ---- pose ---------------------------------------------------------------------------------------


def estimate(network: Network, image: Image, boxes_xyxy: Float) -> tuple[Float, Float]:
    """Joints (N, 17, 2) in frame pixels and scores (N, 17) of the people in boxes (N, 4)."""
    affines = geometry.boxes_to_crop(geometry.crop_boxes(boxes_xyxy, POSE_WH), POSE_WH)
    crops = [
        cv2.warpAffine(image, a, POSE_WH, flags=cv2.INTER_LINEAR, borderValue=PADDING)
        for a in affines
    ]
    if not crops:
        return np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32)
    cells, scores = summits(network(np.stack(crops).astype(np.uint8))[0])
    stride = POSE_WH[0] // 48
    return geometry.apply(geometry.invert(affines), (cells + 0.5) * stride - 0.5), scores


def summits(heatmaps: Float) -> tuple[Float, Float]:
    """Highest points (N, K, 2) in cells, refined, and their heights (N, K).

    The refinement is a parabola through the logarithm of three cells, exact for a Gaussian.
    """
    n, k, height, width = heatmaps.shape
    flat = heatmaps.reshape(n * k, height, width)
    best = flat.reshape(n * k, -1).argmax(1)
    y, x, each = best // width, best % width, np.arange(n * k)
    log = np.log(np.maximum(np.pad(flat, ((0, 0), (1, 1), (1, 1)), mode="edge"), 1e-6))
    middle = log[each, y + 1, x + 1]
    shift = []
    for dy, dx in ((0, 1), (1, 0)):
        before, after = log[each, y + 1 - dy, x + 1 - dx], log[each, y + 1 + dy, x + 1 + dx]
        curve = np.maximum(2 * middle - before - after, 1e-6)
        shift.append(np.clip((after - before) / (2 * curve), -0.5, 0.5))
    cells = np.stack([x + shift[0], y + shift[1]], 1).astype(np.float32)
    return cells.reshape(n, k, 2), flat[each, y, x].reshape(n, k)


@dataclass(frozen=True, slots=True)
class PoseReport:
    """people: as DetectorReport's. error: mean distance in pixels of the visible joints, scaled
    to 720p; error_90: 90 % are nearer. kept: share of the visible joints that score at least CUT.
    own_kept: the same of joints behind the own body. hidden_dropped: share of the joints behind
    somebody else, on the far side of the head or outside the frame that score less."""

    people: int
    error: float
    error_90: float
    kept: float
    own_kept: float
    hidden_dropped: float


def pose_report(network: Network, scenes: Iterable[Scene], each: int) -> PoseReport:
    """Errors with true boxes on each frames of every scene."""
    errors: list[Float] = []
    scores: list[Float] = []
    wanted: list[Float] = []
    for scene in scenes:
        for index in spread(scene, each):
            truth = render(scene, index)
            asked = asked_for(truth)
            joints, score = estimate(network, truth.image, truth.boxes_xyxy[asked])
            distance = np.linalg.norm(joints - truth.joints_xy[asked], axis=2)
            errors.append(distance * 720 / truth.image.shape[0])
            scores.append(score)
            wanted += [target_peaks(truth, n)[None] for n in np.flatnonzero(asked).tolist()]
    error, score, peak = np.concatenate(errors), np.concatenate(scores), np.concatenate(wanted)
    return PoseReport(
        len(error),
        float(error[peak == 1].mean()),
        float(np.percentile(error[peak == 1], 90)),
        float((score[peak == 1] >= CUT).mean()),
        float((score[(peak > HIDDEN_PEAK) & (peak < 1)] >= CUT).mean()),
        float((score[peak <= HIDDEN_PEAK] < CUT).mean()),
    )


# ---- command ------------------------------------------------------------------------------------


def spread(scene: Scene, each: int) -> list[int]:
    """each frame indices over the whole scene."""
    return [int(n) for n in np.linspace(0, scene.frames - 1, each)]


def report(folder: Path, seeds: Iterable[int] = range(10), each: int = 12) -> dict[str, Any]:
    """Both reports of the two files in folder, at 720p, as JSON values."""
    scenes = [Scene(seed, 600, (1280, 720), 30.0) for seed in seeds]
    detector = detector_report(load(folder / "tiny_detector.onnx"), scenes, each)
    pose = pose_report(load(folder / "tiny_pose.onnx"), scenes, each)
    return {"detector": asdict(detector), "pose": asdict(pose)}


def show(folder: Path) -> str:
    """The report of folder as indented JSON, four digits."""
    values = json.loads(json.dumps(report(folder)), parse_float=lambda text: round(float(text), 4))
    return json.dumps(values, indent=2)

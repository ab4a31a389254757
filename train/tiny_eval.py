"""How well the tiny networks do on scenes they were not trained on.

Runs the stages of the product (engines, detect, crop, decode) and needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.base import Network
from engines.load import load
from realtime import geometry
from realtime.crop import cut
from realtime.decode import DEFAULT_METHOD, decode
from realtime.detect import Detector
from realtime.errors import ModelError
from realtime.pose import estimate
from realtime.records import Detections, Float, Frame, Image
from realtime.scene import Scene
from train.tiny_data import HIDDEN_PEAK, Render, render, target_peaks

CUT = 0.4
"""Score from which a person or a joint counts as found."""


def spread(scene: Scene, each: int) -> list[int]:
    """each frame indices over the whole scene."""
    return [int(n) for n in np.linspace(0, scene.frames - 1, each)]


def asked_for(truth: Render) -> NDArray[np.bool_]:
    """Who (N,) must be found: visible_share >= 0.6, at least a twelfth of the frame high."""
    height = truth.boxes_xyxy[:, 3] - truth.boxes_xyxy[:, 1]
    enough: NDArray[np.bool_] = (truth.visible_share >= 0.6) & (height >= truth.image.shape[0] / 12)
    return enough


# ---- detector -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DetectorReport:
    """frames: with people, and as many without. people: asked for in all of them. recall: share
    of them found. false: boxes on nobody per frame; false_empty: boxes in all empty frames."""

    frames: int
    people: int
    recall: float
    false: float
    false_empty: int


def detector_report(network: Network, scenes: Iterable[Scene], each: int) -> DetectorReport:
    """What is found from score CUT upwards in each frames of every scene.

    A person is found by a box with IoU 0.5, one box for one person. A box that found nobody is
    false, unless half of it lies in the box of somebody who is not asked for.
    """
    detector = Detector(network, CUT)
    people = found = false = frames = false_empty = 0
    for scene in scenes:
        for index in spread(scene, each):
            truth, empty = render(scene, index), scene.image(index, people=False)
            here, there = detector([Frame(0, 0.0, truth.image), Frame(1, 0.0, empty)])
            asked = asked_for(truth)
            hits, wrong = _compare(here.boxes_xyxy, truth.boxes_xyxy, asked)
            people, found = people + int(asked.sum()), found + int((hits & asked).sum())
            false, frames, false_empty = false + wrong, frames + 1, false_empty + len(there)
    return DetectorReport(
        frames, people, found / max(people, 1), false / max(frames, 1), false_empty
    )


def _compare(
    boxes_xyxy: Float, truth_xyxy: Float, asked: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], int]:
    """Which true boxes (N,) were found, best pairs first, and how many boxes are false."""
    overlap = geometry.iou(boxes_xyxy, truth_xyxy)
    hits, used = np.zeros(len(truth_xyxy), bool), np.zeros(len(boxes_xyxy), bool)
    while overlap.size and overlap.max() >= 0.5:
        box, person = np.unravel_index(overlap.argmax(), overlap.shape)
        hits[person] = used[box] = True
        overlap[box], overlap[:, person] = 0, 0
    alone, others = boxes_xyxy[~used], truth_xyxy[~asked]
    excused = (geometry.within(alone, others) >= 0.5).any(1)
    return hits, int((~excused).sum())


# ---- pose ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PoseReport:
    """people: asked for. error: mean distance in pixels of their visible joints, scaled to 720p;
    error_90: 90 % are nearer. kept: share of the visible joints that score at least CUT;
    own_kept: the same of joints behind the own body. hidden_dropped: share of the joints behind
    something else, on the far side of the head or outside the frame that score less."""

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
            joints, score = joints_in(network, truth.image, truth.boxes_xyxy[asked])
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


def joints_in(network: Network, image: Image, boxes_xyxy: Float) -> tuple[Float, Float]:
    """Joints (N, 17, 2) in frame pixels and scores (N, 17) of the people in boxes (N, 4)."""
    spec = network.spec
    people = Detections(boxes_xyxy, np.ones(len(boxes_xyxy), np.float32))
    crops = cut([Frame(0, 0.0, image)], [people], spec.input_wh, spec.padding)
    heatmaps = estimate(network, crops)
    joints, scores = decode(heatmaps, DEFAULT_METHOD, spec.grid, spec.input_wh, spec.sigma)
    return geometry.apply(crops.crop_to_frame, joints), scores


# ---- command ------------------------------------------------------------------------------------


def show(folder: Path, seeds: Iterable[int] = range(10), each: int = 12) -> str:
    """Both reports of the files in folder that are there, at 720p, as indented JSON.

    Raises ModelError where neither is.
    """
    scenes = [Scene(seed, 600, (1280, 720), 30.0) for seed in seeds]
    reports = {}
    if (path := folder / "tiny_detector.onnx").exists():
        report = detector_report(load(path, "detector", precision="f32"), scenes, each)
        reports["detector"] = asdict(report)
    if (path := folder / "tiny_pose.onnx").exists():
        reports["pose"] = asdict(pose_report(load(path, "pose", precision="f32"), scenes, each))
    if not reports:
        raise ModelError(
            f"{folder}: holds neither tiny_detector.onnx nor tiny_pose.onnx; --out writes them"
        )
    rounded = json.loads(json.dumps(reports), parse_float=lambda text: round(float(text), 4))
    return json.dumps(rounded, indent=2)

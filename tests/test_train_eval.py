"""How networks and the pipeline are measured, against pycocotools by hand and by-hand numbers."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from coco_files import content, write
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("pycocotools")
from commandline import run as run_camera
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from engines.base import Grid, Network
from engines.load import load
from realtime import geometry, similarity
from realtime.decode import METHODS
from realtime.errors import InputError, ModelError, OutOfMemory, UsageError
from realtime.records import Detections, Float, Frame, PosedFrame, Poses
from realtime.sinks.jsonl import JsonLines
from realtime.skeleton import MIRROR, OKS_SIGMAS
from train import coco, coco_ap, degrade, demo_data, eval_pose, pck
from train.__main__ import main
from train.eval_detector import curve, detector_numbers, find_people, numbers_of
from train.eval_pose import (
    DEFAULT_WAY,
    Labels,
    Read,
    Way,
    ap_of,
    pose_numbers,
    read_poses,
    true_boxes,
)
from train.eval_results import read_results, results_numbers
from train.evaluate import open_model
from train.measured import Running, spread

DATA = Path(__file__).parent / "data"
SIZE_WH = (64, 48)
SIGMAS = OKS_SIGMAS.astype(np.float64)


def by_hand(truth: Any, results: list[Any], kind: str, smallest: float = 0.0) -> COCOeval:
    """pycocotools as its own demo uses it."""
    with contextlib.redirect_stdout(io.StringIO()):
        have = COCO(str(truth)) if isinstance(truth, Path) else COCO()
        if not isinstance(truth, Path):
            have.dataset = truth
            have.createIndex()
        measure = COCOeval(have, have.loadRes(results), kind)
        if smallest:
            measure.params.areaRng = [[smallest, 1e10]]
            measure.params.areaRngLbl = ["all"]
        measure.evaluate()
        measure.accumulate()
        if not smallest:
            measure.summarize()
    return measure


def crowd_scene(rng: np.random.Generator, images: int = 12) -> dict[str, Any]:
    """People of all sizes, some labelled in part or not at all, some in crowds, some pictures
    empty."""
    values = content(images)
    values["annotations"] = []
    for image in range(images):
        for _ in range(int(rng.integers(0, 5)) if image else 3):
            size = rng.uniform(6, 46, 2)
            low = rng.uniform(0, np.array(SIZE_WH) - size)
            joints = np.c_[low + rng.uniform(0, 1, (17, 2)) * size, rng.integers(0, 3, 17)]
            joints[joints[:, 2] == 0] = 0
            if rng.random() < 0.2:
                joints[:] = 0  # a box alone
            values["annotations"].append(
                {
                    "id": len(values["annotations"]) + 1,
                    "image_id": image + 1,
                    "category_id": 1,
                    "iscrowd": int(rng.random() < 0.1),
                    "bbox": [*low.round(2).tolist(), *size.round(2).tolist()],
                    "area": float(round(size.prod() * 6, 2)),
                    "keypoints": joints.ravel().tolist(),
                    "num_keypoints": int((joints[:, 2] > 0).sum()),
                }
            )
    return values


def guesses(rng: np.random.Generator, values: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Pose and box results near the labels, with some missing and some made up."""
    poses, boxes = [], []
    for entry in values["annotations"] * 2:
        if rng.random() < 0.3:
            continue
        image = entry["image_id"] if rng.random() < 0.8 else int(rng.integers(1, 13))
        joints = np.reshape(entry["keypoints"], (17, 3)) + rng.normal(0, 2, (17, 3))
        box = np.array(entry["bbox"]) + rng.normal(0, 3, 4)
        box[2:] = np.maximum(box[2:], 2)
        same = {"image_id": image, "category_id": 1, "score": float(rng.random())}
        poses.append({**same, "keypoints": joints.ravel().tolist()})
        boxes.append({**same, "bbox": box.tolist()})
    return poses, boxes


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An annotation file with the images of crowd_scene."""
    return write(tmp_path_factory.mktemp("crowd"), crowd_scene(np.random.default_rng(3)))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of the demo scene."""
    return demo_data.write_set(tmp_path_factory.mktemp("demo"), 6, None, (640, 480), seed=1)


@pytest.fixture(scope="module")
def pose() -> Network:
    return load(DATA / "tiny_pose.onnx", "pose", "openvino", "f32")


@pytest.fixture(scope="module")
def detector() -> Network:
    return load(DATA / "tiny_detector.onnx", "detector", "openvino", "f32")


def as_poses(joints: Float, scores: Any, boxes: Float | None = None) -> Poses:
    count = len(joints)
    return Poses(
        joints.astype(np.float32),
        np.ones((count, 17), np.float32),
        np.zeros((count, 4), np.float32) if boxes is None else boxes.astype(np.float32),
        np.array(scores, np.float32).reshape(count),
        np.full(count, -1, np.int64),
    )


# ---- AP -----------------------------------------------------------------------------------------


def test_keypoint_ap_is_that_of_pycocotools_on_the_file(scene: Path) -> None:
    results, _ = guesses(np.random.default_rng(0), json.loads(scene.read_text()))
    pictures = coco.open_set(str(scene)).pictures
    truth = coco_ap.ground_truth(pictures)
    before = copy.deepcopy(truth)
    numbers = coco_ap.keypoint_ap(truth, results)
    wanted = by_hand(scene, results, "keypoints").stats
    np.testing.assert_allclose(list(numbers.values()), wanted[:6], atol=1e-9)
    assert list(numbers) == ["AP", "AP50", "AP75", "APM", "APL", "AR"]
    assert 0.1 < numbers["AP"] < 0.9
    assert truth == before


@pytest.mark.parametrize("smallest", [0.0, 400.0])
def test_box_ap_is_that_of_pycocotools_on_the_file(scene: Path, smallest: float) -> None:
    _, results = guesses(np.random.default_rng(1), json.loads(scene.read_text()))
    truth = coco_ap.ground_truth(coco.open_set(str(scene)).pictures)
    numbers = coco_ap.box_ap(truth, results, smallest)
    measure = by_hand(scene, results, "bbox", smallest)
    precision = measure.eval["precision"][:, :, 0, 0, 2]
    wanted = [precision.mean(), precision[0].mean(), precision[5].mean()]
    wanted.append(measure.eval["recall"][:, 0, 0, 2].mean())
    np.testing.assert_allclose(list(numbers.values()), wanted, atol=1e-6)
    assert 0.05 < numbers["AP"] < 0.9


def test_ap_of_perfect_and_of_shifted_people(tmp_path: Path) -> None:
    """Every joint moved to a similarity of 0.72: five of the ten thresholds are passed."""
    pictures = coco.open_set(str(write(tmp_path, content(3)))).pictures
    truth = coco_ap.ground_truth(pictures)
    ids = [picture.image_id for picture in pictures]
    labels = Labels.of(pictures)
    far = np.sqrt(-2 * math.log(0.72) * 900.5) * 2 * SIGMAS
    for away, wanted in ((0.0, (1.0, 1.0, 1.0)), (far, (0.5, 1.0, 0.0))):
        joints = labels.joints[..., :2].astype(np.float64)
        joints[..., 1] += away
        poses = [as_poses(one[None], 0.5) for one in joints]
        numbers = coco_ap.keypoint_ap(truth, coco_ap.pose_results(ids, poses))
        got = numbers["AP"], numbers["AP50"], numbers["AP75"]
        assert got == pytest.approx(wanted, abs=1e-9)
        assert math.isnan(numbers["APL"])  # nobody is larger than 96x96


def test_of_two_poses_of_one_person_the_pipeline_keeps_one(tmp_path: Path) -> None:
    """So does the measure of its detector, in whose boxes everybody may be found twice."""
    pictures = coco.open_set(str(write(tmp_path, content(3)))).pictures
    joints = Labels.of(pictures).joints[..., :2].astype(np.float64)
    boxes = np.float32([[0, 0, 60, 40]] * 2)
    twice = [
        as_poses(np.stack([one, one]), [0.8 - 0.2 * n, 0.9 - 0.2 * n], boxes)
        for n, one in enumerate(joints)
    ]
    read = Read(joints, np.ones(joints.shape[:2]), twice)
    assert ap_of(pictures, read)["AP"] < ap_of(pictures, read, suppressed=True)["AP"] == 1


def test_nobody_in_a_crowd_is_asked_for(tmp_path: Path) -> None:
    values = content(3)
    values["annotations"][1]["iscrowd"] = 1
    pictures = coco.open_set(str(write(tmp_path, values))).pictures
    assert [len(found) for found in true_boxes(pictures)] == [1, 0, 1]
    assert len(Labels.of(pictures).areas) == 2


def test_sets_that_count_from_one_do_not_become_one(tmp_path: Path) -> None:
    """Perfect people of two sets whose pictures have the same ids."""
    files = [write(tmp_path / name, content(3)) for name in "ab"]
    pictures = [picture for file in files for picture in coco.open_set(str(file)).pictures]
    labels = Labels.of(pictures)
    poses = [as_poses(one[None, :, :2].astype(np.float64), 0.5) for one in labels.joints]
    assert len({p.image_id for p in pictures}) < len(pictures) == len(poses)
    read = Read(labels.joints[..., :2], labels.joints[..., 2], poses)
    assert ap_of(pictures, read)["AP"] == 1.0
    boxes = [Detections(p.boxes_xyxy, np.ones(len(p), np.float32)) for p in poses]
    own = [replace(picture, image_id=n) for n, picture in enumerate(pictures)]
    assert numbers_of(pictures, boxes) == numbers_of(own, boxes)


def test_ap_of_nothing_found_and_of_nobody_there(tmp_path: Path) -> None:
    pictures = coco.open_set(str(write(tmp_path, content(2)))).pictures
    assert coco_ap.keypoint_ap(coco_ap.ground_truth(pictures), [])["AP"] == 0
    values = content(2)
    values["annotations"] = []
    empty = coco_ap.ground_truth(coco.open_set(str(write(tmp_path, values))).pictures)
    assert math.isnan(coco_ap.box_ap(empty, [])["AP"])


def test_boxes_go_back_to_the_convention_of_the_file(scene: Path) -> None:
    data = coco.open_set(str(scene))
    found = [
        Detections(
            np.array([p.box_xyxy for p in picture.people], np.float32).reshape(-1, 4),
            np.ones(len(picture.people), np.float32),
        )
        for picture in data.pictures
    ]
    results = coco_ap.box_results([picture.image_id for picture in data.pictures], found)
    given_boxes = [entry["bbox"] for entry in json.loads(scene.read_text())["annotations"]]
    np.testing.assert_allclose([r["bbox"] for r in results], given_boxes, atol=1e-4)


# ---- single joints ------------------------------------------------------------------------------


def person(shoulder_to_hip: float = 50.0) -> Float:
    """Labels of one person, all joints at (100, 100) but the right hip."""
    labels = np.full((1, 17, 3), 100, np.float32)
    labels[..., 2] = 2
    labels[0, 12, :2] = 100 + 0.6 * shoulder_to_hip, 100 + 0.8 * shoulder_to_hip
    return labels


def test_pck_by_hand() -> None:
    labels = person(50.0)  # right within 10 pixels
    joints = labels[..., :2].copy()
    joints[0, 0, 0] += 10
    joints[0, 1, 1] -= 10.1
    joints[0, 2] += 8, 6.1
    joints[0, 3] = np.nan
    labels[0, 4, 2] = 0
    joints[0, 4] = 0, 0
    assert pck.torso_sizes(labels) == pytest.approx([50], abs=1e-4)
    assert pck.pck(joints, labels) == pytest.approx(13 / 16)
    each = pck.by_joint(joints, labels, np.float32([2500]))
    assert [joint.pck for joint in each[:4]] == [1, 0, 0, 0]
    assert each[0].error == pytest.approx(0.2) and each[3].similarity == 0
    assert each[4].labelled == 0 and math.isnan(each[4].pck)
    assert each[0].similarity == pytest.approx(math.exp(-100 / (2 * 2500 * 0.052**2)), rel=1e-5)


def test_what_scores_are_worth_by_hand() -> None:
    labels = person(50.0)
    labels[0, 16, 2] = 0  # not labelled: counts nowhere
    joints, scores = labels[..., :2].copy(), np.full((1, 17), 0.55, np.float32)
    scores[0, :6] = 0.1, 0.19, np.nan, -0.2, 0.9, 1.3
    joints[0, [0, 2, 5, 7, 16]] += 1000
    parts = {part.least: part for part in pck.by_score(joints, scores, labels, np.float32([2500]))}
    assert {least: part.labelled for least, part in parts.items() if part.labelled} == {
        0.0: 2, 0.1: 2, 0.5: 10, 0.9: 2,
    }  # fmt: skip
    assert (parts[0.0].right, parts[0.1].right, parts[0.5].right, parts[0.9].right) == (
        0.5, 0.5, 0.9, 0.5,
    )  # fmt: skip
    assert math.isnan(parts[0.3].right)


def test_torso_is_the_other_diagonal_or_nothing() -> None:
    labels = np.concatenate([person(50), person(50), person(50)])
    labels[1:, 12, 2] = 0  # the right hip
    labels[1, 11, :2] = 100, 130
    labels[2, 11, 2] = 0
    np.testing.assert_allclose(pck.torso_sizes(labels), [50, 30, np.nan], atol=1e-4)
    good, counts = pck.right(labels[..., :2], labels)
    assert not counts[2].any() and good[0].all()
    assert math.isnan(pck.pck(labels[2:, :, :2], labels[2:]))


def test_mean_oks_is_that_of_pycocotools_and_of_the_tracker(scene: Path) -> None:
    values = json.loads(scene.read_text())
    values["annotations"] = [
        {**entry, "iscrowd": 0} for entry in values["annotations"] if entry["num_keypoints"]
    ]
    rng = np.random.default_rng(2)
    labels = np.array([e["keypoints"] for e in values["annotations"]]).reshape(-1, 17, 3)
    joints = labels[..., :2] + rng.normal(0, 2, labels[..., :2].shape)
    areas = np.array([entry["area"] for entry in values["annotations"]])
    results, wanted = [], []
    for n, entry in enumerate(values["annotations"]):
        entry["image_id"] = n + 1
        flat = np.c_[joints[n], np.ones(17)].ravel().tolist()
        results.append({"image_id": n + 1, "category_id": 1, "keypoints": flat, "score": 1.0})
    values["images"] = [{"id": n + 1} for n in range(len(labels))]
    measure = by_hand(values, results, "keypoints")
    wanted = [float(measure.ious[n + 1, 1][0, 0]) for n in range(len(labels))]
    single = labels.astype(np.float32), joints.astype(np.float32), areas.astype(np.float32)
    got = pck.mean_oks(single[1], single[0], single[2])
    assert got == pytest.approx(np.mean(wanted), abs=1e-5)
    seen = (single[0][:, None, :, 2] > 0).astype(np.float32)
    alike = similarity.oks(single[0][..., :2], single[1], single[2], seen)
    assert got == pytest.approx(float(alike.diagonal().mean()), abs=1e-5)


# ---- worse pictures -----------------------------------------------------------------------------


def test_worse_pictures_are_the_same_in_every_run() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    before = image.copy()
    for change in degrade.CHANGES.values():
        first = change(image, 7)
        np.testing.assert_array_equal(first, change(image, 7))
        assert first.dtype == np.uint8 and first.shape == image.shape
        assert (first != change(image, 8)).mean() > 0.5
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("level", [0, 64, 128, 200])
def test_darkening_and_noise_are_what_they_say(level: int) -> None:
    image = np.full((200, 200, 3), level, np.uint8)
    dark = degrade.darkened(image, 0).astype(np.float64)
    centre = 255 * (level / 255) ** 2.5
    if centre > 30:  # else the noise is cut at 0
        assert dark.mean() == pytest.approx(centre, abs=0.2)
        assert dark.std() == pytest.approx(8, abs=0.15)
    assert (dark.mean() < level) or level == 0
    if 60 < level < 190:
        noise = degrade.noisy(image, 0).astype(np.float64)
        assert noise.mean() == pytest.approx(level, abs=0.3)
        assert noise.std() == pytest.approx(20, abs=0.3)


# ---- reading poses ------------------------------------------------------------------------------


def pooled(batch: NDArray[np.uint8]) -> Float:
    """A network that shows the mean of 4x4 blocks, joint k times k + 1."""
    count, height, width, _ = batch.shape
    blocks = batch[..., 0].reshape(count, height // 4, 4, width // 4, 4).mean((2, 4)) / 255
    return (blocks[:, None] * np.arange(1, 18)[:, None, None]).astype(np.float32)


def crops_of(pixels: NDArray[np.uint8]) -> Any:
    count = len(pixels)
    affine = np.tile(np.float32([[1, 0, 0], [0, 1, 0]]), (count, 1, 1))
    return eval_pose.Crops(pixels, affine, np.zeros(count, np.int64), np.zeros(count, bool))


def test_mirrored_heatmaps_swap_left_and_right() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 24, 3), np.uint8)
    before = pixels.copy()
    network = Running(pooled, "pose", (24, 32))
    back = eval_pose.mirrored_heatmaps(network, crops_of(pixels))
    np.testing.assert_allclose(back, pooled(pixels)[:, MIRROR], rtol=1e-6)
    np.testing.assert_array_equal(pixels, before)


def drawn(grid: Grid, x: float, mirrored: bool) -> Float:
    """Heatmaps (1, 17, 8, 12) of a 48x32 crop with all joints at (x, 15), as trained on a grid."""
    x = 47 - x if mirrored else x
    cell = {"pixel_centre": (x + 0.5) / 4 - 0.5, "corner": x / 4, "udp": x * 11 / 47}[grid]
    one = np.exp(-((np.arange(12) - cell) ** 2) / 8)
    rows = np.exp(-((np.arange(8) - 3.6) ** 2) / 8)
    return np.tile(np.outer(rows, one).astype(np.float32), (1, 17, 1, 1))


@pytest.mark.parametrize("grid, off", [("pixel_centre", 1e-3), ("udp", 1e-3), ("corner", 1.01)])
@pytest.mark.parametrize("x", [14.0, 17.3, 25.9])
def test_mirrored_heatmaps_lie_on_the_plain_ones(grid: Grid, off: float, x: float) -> None:
    crop = crops_of(np.zeros((1, 32, 48, 3), np.uint8))
    network = Running(lambda batch: drawn(grid, x, True), "pose", (48, 32), grid)
    back = eval_pose.mirrored_heatmaps(network, crop)
    for method in ("dark", "udp"):
        joints, _ = eval_pose.decode(back, method, grid, (48, 32))
        assert np.abs(joints[..., 0] - x).max() <= off + 0.02


def brute_force(maps: Float, box: Float, quarter: bool) -> NDArray[np.float64]:
    """Joints (17, 2) in picture pixels by plain loops in float64 (Simple Baselines' decoding),
    through the padded box that the crop shows."""
    _, height, width = maps.shape
    x0, y0, x1, y1 = box.astype(np.float64)
    wide = max(x1 - x0, (y1 - y0) * 48 / 64) * 1.25
    scale = wide / 48
    joints = []
    for plane in maps.astype(np.float64):
        y, x = divmod(int(plane.argmax()), width)
        u, v = float(x), float(y)
        if quarter and 0 < x < width - 1 and 0 < y < height - 1:
            u += 0.25 * np.sign(plane[y, x + 1] - plane[y, x - 1])
            v += 0.25 * np.sign(plane[y + 1, x] - plane[y - 1, x])
        crop = np.array([(u + 0.5) * 4 - 0.5, (v + 0.5) * 4 - 0.5])
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        joints.append(centre + (crop - [23.5, 31.5]) * scale)
    return np.array(joints)


def test_poses_are_those_of_a_brute_force_decoder(scene: Path) -> None:
    maps = np.random.default_rng(5).random((200, 17, 16, 12)).astype(np.float32)
    count = iter(range(100))

    def network(batch: NDArray[np.uint8]) -> Float:
        return np.stack([maps[next(count)] for _ in batch])

    pictures = coco.open_set(str(scene)).pictures
    boxes = true_boxes(pictures)
    ways = Way("argmax", False), Way("quarter", False)
    read = read_poses(Running(network, "pose", (48, 64)), pictures, boxes, ways)
    together = np.concatenate([found.boxes_xyxy for found in boxes])
    assert len(together) > 10
    for way in ways:
        wanted = [brute_force(maps[n], b, way == ways[1]) for n, b in enumerate(together)]
        np.testing.assert_allclose(read[way].joints_xy, wanted, atol=2e-3)
        found = np.concatenate([poses.joints_xy for poses in read[way].poses])
        np.testing.assert_array_equal(found, read[way].joints_xy)
    assert [len(found) for found in boxes] == [len(found) for found in read[ways[0]].poses]


@pytest.mark.parametrize("limit", [{"TOGETHER": 2}, {"HELD_BYTES": 1}], ids=["crops", "bytes"])
def test_groups_do_not_matter(
    demo: Path, pose: Network, limit: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = coco.open_set(str(demo)).pictures
    ways = tuple(Way(method, True) for method in METHODS)
    told: list[int] = []
    at_once = read_poses(pose, pictures, true_boxes(pictures), ways, progress=told.append)
    assert told == [len(pictures)]
    for name, value in limit.items():
        monkeypatch.setattr(eval_pose, name, value)
    split = read_poses(pose, pictures, true_boxes(pictures), ways, progress=told.append)
    assert len(told) > 3 and told[-1] == len(pictures)
    for way in ways:
        np.testing.assert_allclose(split[way].joints_xy, at_once[way].joints_xy, atol=0.05)
        assert [len(p) for p in split[way].poses] == [len(p) for p in at_once[way].poses]


def test_a_joint_that_is_not_finite_is_wrong(demo: Path, pose: Network) -> None:
    def broken(batch: NDArray[np.uint8]) -> Float:
        maps = pose(batch)[0].copy()
        maps[:, 4] = np.nan
        return maps

    people = coco.open_set(str(demo)).people
    numbers = pose_numbers(broken, people, input_wh=(192, 256))
    whole = pose_numbers(lambda b: pose(b)[0], people, input_wh=(192, 256))
    assert numbers["AP"] == 0 and whole["AP"] > 0.5
    assert 0.85 * whole["oks"] < numbers["oks"] < whole["oks"]
    assert numbers["pck"] < whole["pck"]


def test_pose_numbers_take_a_part_and_do_without_pycocotools(
    demo: Path, pose: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = coco.open_set(str(demo)).people
    counted = []

    def run(batch: NDArray[np.uint8]) -> Float:
        counted.append(len(batch))
        return pose(batch)[0]

    numbers = pose_numbers(run, people, input_wh=(192, 256), limit=3)
    assert sum(counted) == 3 and numbers["oks"] > 0.8
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert set(pose_numbers(run, people, input_wh=(192, 256), limit=3)) == {"oks", "pck"}


def test_spread() -> None:
    assert spread(range(10), None) == list(range(10)) == spread(range(10), 12)
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread([], 3) == []


# ---- detector -----------------------------------------------------------------------------------


def matched_by_coco(measure: COCOeval, images: int) -> tuple[list[float], list[bool], int]:
    """Scores and hits of the boxes that count, best first, and the people asked for."""
    rows, people = [], 0
    for entry in measure.evalImgs:
        if entry is None:
            continue
        people += int((1 - np.array(entry["gtIgnore"])).sum())
        for score, match, ignored in zip(
            entry["dtScores"], entry["dtMatches"][0], entry["dtIgnore"][0]
        ):
            if not ignored:
                rows.append((-score, bool(match)))
    rows.sort(key=lambda row: row[0])
    return [-score for score, _ in rows], [hit for _, hit in rows], people


@given(st.integers(0, 10_000), st.sampled_from([0.0, 300.0]))
@settings(max_examples=30)
def test_boxes_are_matched_as_coco_does(seed: int, smallest: float) -> None:
    rng = np.random.default_rng(seed)
    values = crowd_scene(rng)
    _, results = guesses(rng, values)
    pictures = coco._pictures(values, Path())
    found = []
    for picture in pictures:
        mine = [r for r in results if r["image_id"] == picture.image_id]
        mine.sort(key=lambda r: -r["score"])
        boxes = geometry.from_coco_boxes(np.reshape([r["bbox"] for r in mine], (-1, 4)))
        found.append(Detections(boxes, np.array([r["score"] for r in mine], np.float32)))
    shape = curve(pictures, found, smallest)
    measure = by_hand(coco_ap.ground_truth(pictures), results, "bbox", smallest or 1e-9)
    scores, hits, people = matched_by_coco(measure, len(pictures))
    assert shape.people == people
    np.testing.assert_allclose(shape.scores, scores, rtol=1e-6)
    np.testing.assert_array_equal(shape.hits, np.cumsum(hits))
    np.testing.assert_array_equal(shape.false, np.cumsum(~np.array(hits, bool)))


def test_false_people_at_equal_recall_by_hand(tmp_path: Path) -> None:
    """Five people on five pictures and two empty pictures; scores from 0.9 down."""
    values = content(7)
    values["annotations"] = values["annotations"][:5]
    pictures = coco.open_set(str(write(tmp_path, values))).pictures
    right, wrong = pictures[0].people[0].box_xyxy, np.float32([0, 0, 9, 9])

    def boxes(*pairs: tuple[float, bool]) -> Detections:
        rows = np.array([right if hit else wrong for _, hit in pairs], np.float32)
        return Detections(rows.reshape(-1, 4), np.array([s for s, _ in pairs], np.float32))

    found = [
        boxes((0.9, True), (0.65, False)),
        boxes((0.8, True)),
        boxes((0.6, True), (0.5, True)),  # the second finds nobody: a double
        boxes((0.4, True)),
        boxes(),
        boxes((0.7, False), (0.3, False)),
        boxes((0.55, False)),
    ]
    shape = curve(pictures, found)
    assert shape.at_recall(0.6) == pytest.approx((0.6, 2 / 7, 1 / 2))
    assert shape.at_recall(0.7) == pytest.approx((0.4, 4 / 7, 2 / 2))
    assert all(map(math.isnan, shape.at_recall(0.9)))
    assert shape.recall == 0.8
    assert [shape.empty_at(s) for s in (0.2, 0.3, 0.56, 0.7, 0.71)] == [3, 3, 1, 1, 0]
    f1, score = shape.best_f1()
    assert (f1, score) == pytest.approx((2 * 4 / (5 + 8), 0.4))
    numbers = numbers_of(pictures, found)
    assert numbers["false60"] == pytest.approx(2 / 7) and numbers["recall"] == 0.8
    nothing = curve(pictures, [boxes()] * 7)
    assert nothing.recall == 0 and nothing.empty_at(0.1) == 0 and nothing.best_f1()[0] == 0


def test_detector_numbers_are_those_of_the_pipeline(
    demo: Path, detector: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the whole input, as a network in training has it."""
    monkeypatch.setattr(detector, "size_step", 0)
    pictures = coco.open_set(str(demo)).pictures
    numbers = detector_numbers(lambda b: detector(b), pictures, input_wh=(320, 192))
    found = find_people(detector, pictures)
    wanted = numbers_of(pictures, found)
    assert numbers["AP50"] == wanted["AP50"] > 0.7
    assert numbers["recall"] == wanted["recall"] > 0.7
    assert "AP50_large" in numbers and not any(map(math.isnan, numbers.values()))


def test_pictures_in_which_somebody_has_no_label_do_not_tell_of_false_people(
    demo: Path, detector: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector, "size_step", 0)
    whole = coco.open_set(str(demo)).pictures[:2]
    partly = [replace(picture, people=(), complete=False) for picture in whole]
    numbers = [
        detector_numbers(lambda b: detector(b), pictures, input_wh=(320, 192))
        for pictures in (whole, [*whole, *partly])
    ]
    assert numbers[0] == numbers[1]


# ---- whole pipeline -----------------------------------------------------------------------------


def write_lines(file: Path, pictures: Any, poses: Any) -> Path:
    sink = JsonLines(file, overwrite=True, with_file=True)
    for n, (picture, found) in enumerate(zip(pictures, poses)):
        image = np.zeros((2, 2, 3), np.uint8)
        sink.write(PosedFrame(Frame(n, 0.0, image, picture.path.name), found))
    sink.close()
    return file


def true_poses(pictures: Any) -> Iterator[Poses]:
    for picture in pictures:
        people = [p for p in picture.people if p.labelled and not p.crowd]
        joints = np.array([p.joints[:, :2] for p in people], np.float32).reshape(-1, 17, 2)
        boxes = np.array([p.box_xyxy for p in people], np.float32).reshape(-1, 4)
        yield as_poses(joints, np.full(len(people), 0.9), boxes)


def test_results_of_the_truth_are_perfect(demo: Path, tmp_path: Path) -> None:
    pictures = coco.open_set(str(demo)).pictures
    poses = list(true_poses(pictures))
    empty = [n for n, picture in enumerate(pictures) if not picture.people]
    file = write_lines(tmp_path / "poses.jsonl", pictures, poses)
    read = read_results(file, pictures)
    for got, wanted in zip(read, poses):
        np.testing.assert_allclose(got.joints_xy, wanted.joints_xy, atol=0.006)
    numbers = results_numbers(pictures, read, 0.2)
    assert numbers["AP"] == pytest.approx(1) and numbers["box_AP50"] == pytest.approx(1)
    assert numbers["false_people"] == 0 and numbers["empty_pictures"] == len(empty)
    assert read_results(file, pictures[::2])[1].scores.tolist() == read[2].scores.tolist()


def test_false_people_are_counted_on_empty_pictures(tmp_path: Path) -> None:
    values = content(3)
    values["annotations"] = values["annotations"][:1]
    pictures = coco.open_set(str(write(tmp_path, values))).pictures
    made_up = as_poses(np.zeros((3, 17, 2)), [0.1, 0.3, 0.5])
    file = write_lines(tmp_path / "p.jsonl", pictures, [made_up] * 3)
    numbers = results_numbers(pictures, read_results(file, pictures), 0.3)
    assert (numbers["false_people"], numbers["empty_pictures"]) == (4, 2)


PERSON = {"id": 0, "score": 0.5, "box": [0, 0, 9, 9], "keypoints": [[1, 2, 0.5]] * 17}


@pytest.mark.parametrize(
    "lines, said",
    [
        (["000"], "2 of 3 images have no line, 001.png first"),
        (["000", "001", "000"], "line 3: a second line of 000.png"),
        (['{"frame": 0, "people": []}'], "'file' is missing"),
        (["{nonsense"], "line 1: not a line"),
        (["["], "line 1: not a line of run_camera.py --json, but of COCO results"),
        (['[{"image_id": 1}]'], "give the file of --json"),
        ([{"people": [{**PERSON, "keypoints": [[1, 2, 3]] * 16}]}], "line 1: not a line"),
        ([{"people": [{**PERSON, "score": float("nan")}]}], "not finite"),
        ([{"people": [{**PERSON, "box": "none"}]}], "line 1: not a line"),
        ([{"people": 5}], "line 1: not a line"),
    ],
)
def test_results_that_are_wrong(tmp_path: Path, lines: list[Any], said: str) -> None:
    pictures = coco.open_set(str(write(tmp_path, content(3)))).pictures
    rows = []
    for line in lines:
        if isinstance(line, dict):
            line = json.dumps({"file": "000.png", **line})
        elif len(line) == 3:
            line = json.dumps({"file": f"{line}.png", "people": [PERSON]})
        rows.append(line)
    file = tmp_path / "poses.jsonl"
    file.write_text("\n".join(rows) + "\n")
    with pytest.raises(InputError, match=said) as error:
        read_results(file, pictures)
    assert "\n" not in str(error.value) and str(file) in str(error.value)


# ---- the command --------------------------------------------------------------------------------


def tiny(*tasks: str) -> list[str]:
    return [
        item
        for task in tasks or ("pose", "detector")
        for item in (f"--{task}", str(DATA / f"tiny_{task}.onnx"))
    ]


def test_one_table_of_a_pose_network(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "numbers.json"
    arguments = ["eval", *tiny(), "--precision", "f32", "--data", str(demo), "--limit", "3"]
    assert main([*arguments, "--json", str(file)]) == 0
    text = capsys.readouterr().out
    (report,) = json.loads(file.read_text())["sets"]
    kinds = {(row["boxes"], row["flip"], row["decode"]) for row in report["rows"]}
    assert kinds == {(b, f, m) for b in ("labelled", "detector") for f in (0, 1) for m in METHODS}
    for row in report["rows"]:
        assert row["AP"] > (0.5 if row["boxes"] == "labelled" else 0.3)
        assert f"{row['AP']:.3f}" in text
    assert [joint["name"] for joint in report["joints"]][:2] == ["nose", "left_eye"]
    assert sum(joint["labelled"] for joint in report["joints"]) > 50
    assert sum(part["labelled"] for part in report["scores"]) == sum(
        joint["labelled"] for joint in report["joints"]
    )
    high = [part["right"] for part in report["scores"] if part["least"] >= 0.7]
    assert min(high) > 0.7 and "what scores are worth" in text
    worse = {(row["boxes"], row["picture"]): row["loss"] for row in report["worse"]}
    assert len(worse) == 4 and worse["labelled", "darkened"] > 0
    assert "openvino, f32" in text and "joint" in text


def test_quick_and_limit(demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "numbers.json"
    arguments = ["eval", *tiny("pose"), "--data", str(demo), str(demo), "--quick", "--limit", "3"]
    assert main([*arguments, "--json", str(file)]) == 0
    first, second = json.loads(file.read_text())["sets"]
    assert first == second and first["pictures"] == 3 and len(first["rows"]) == 4
    assert first["worse"] == []
    assert capsys.readouterr().err == ""


def test_table_of_a_detector(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "numbers.json"
    assert main(["eval", *tiny("detector"), "--data", str(demo), "--json", str(file)]) == 0
    (report,) = json.loads(file.read_text())["sets"]
    assert [(row["picture"], row["people"]) for row in report["rows"]] == [
        (p, k) for p in ("as they are", "darkened") for k in ("all", "over 32x32")
    ]
    assert report["rows"][0]["AP50"] > 0.7 and set(report["empty"][0]) >= {"0.2", "0.5"}
    assert "false60" in capsys.readouterr().out


def test_pipeline_to_ap_through_both_command_lines(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "poses.jsonl"
    result = run_camera("--input", demo.parent / "images", "--headless", "--json", out, *tiny())
    assert result.code == 0, result.err
    file = tmp_path / "numbers.json"
    arguments = ["eval", "--results", str(out), "--data", str(demo), "--json", str(file)]
    assert main(arguments) == 0
    (report,) = json.loads(file.read_text())["sets"]
    assert report["AP"] > 0.4 and report["box_AP50"] > 0.6
    assert f"{report['AP']:.3f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (["--data", "{demo}"], 2, "give --pose"),
        (["--pose", "x.onnx", "--results", "y", "--data", "{demo}"], 2, "alone"),
        (["--pose", "x.onnx", "--data", "{demo}", "--limit", "0"], 2, "at least 1"),
        (["--pose", "missing.onnx", "--data", "{demo}"], 5, "missing.onnx"),
        (["--pose", "{detector}", "--data", "{demo}"], 5, "detector"),
        (["--pose", "{pose}", "--engine", "nn", "--data", "{demo}"], 2, "engine 'nn'"),
        (["--pose", "{pose}", "--data", "missing.json"], 3, "missing.json"),
        (["--pose", "{pose}", "--data", "{demo}", "--json", "{demo}/x/y.json"], 4, "y.json"),
        (["--results", "missing.jsonl", "--data", "{demo}"], 3, "missing.jsonl"),
        (["--detector", "{detector}", "--data", "{single}"], 2, "everybody is labelled"),
        (["--pose", "{pose}", "--data", "{boxes}"], 2, "nobody in it has labelled joints"),
        (["--pose", "{pose}", "--data", "{size}"], 3, "is 64x48, its data set says 60x48"),
        (["--pose", "{pose}", "--data", "{gone}"], 3, "1 of the 2 images that are needed cannot"),
        (["--detector", "{detector}", "--data", "{gone}"], 3, "1 of the 2 images that are needed"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    code: int,
    said: str,
    demo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    single, boxes, size = content(2), content(2), content(2)
    single["info"] = {"complete": False}
    for entry in boxes["annotations"]:
        entry["keypoints"] = []
    size["images"][1]["width"] = 60
    files = {"demo": demo, "pose": DATA / "tiny_pose.onnx", "detector": DATA / "tiny_detector.onnx"}
    for name, values in (("single", single), ("boxes", boxes), ("gone", content(2))):
        files[name] = write(tmp_path / name, values)
    files["size"] = write(tmp_path / "size", content(2))
    files["size"].write_text(json.dumps(size))
    (tmp_path / "gone" / "001.png").unlink()
    assert main(["eval", *(text.format(**files) for text in arguments)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_without_pycocotools_it_says_so(
    demo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert main(["eval", *tiny("pose"), "--data", str(demo)]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install pycocotools" in line


def test_results_are_measured_without_the_pipeline() -> None:
    code = (
        "import sys, train.evaluate, train.eval_measure, train.eval_tables, train.eval_results\n"
        "print([m for m in ('realtime.pipeline', 'torch', 'av', 'openvino', 'pycocotools')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- networks of a training ---------------------------------------------------------------------


def test_a_training_is_measured_like_its_file(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from train.config import Config
    from train.detector_net import PersonDetector
    from train.pose_net import PoseNet

    torch.set_num_threads(1)
    torch.manual_seed(0)
    cases = (("pose", PoseNet(), (64, 64)), ("detector", PersonDetector(), (96, 64)))
    for task, net, input_wh in cases:
        folder = tmp_path / task
        folder.mkdir()
        about = {"config": Config(task, input_wh=input_wh).to_json()}
        save_file(net.state_dict(), folder / "best.safetensors", about)
        batch = np.random.default_rng(0).integers(0, 256, (3, *input_wh[::-1], 3), np.uint8)
        with torch.inference_mode():
            wanted = net.eval()(torch.from_numpy(batch))
        options = eval_options("--precision", "f32")
        network = open_model(str(folder), task, options)
        outputs = network(batch)
        for got, want in zip(outputs, [wanted] if task == "pose" else wanted):
            np.testing.assert_allclose(got, want.numpy(), atol=1e-4, rtol=1e-4)
        with pytest.raises(UsageError, match="torch only"):
            open_model(str(folder), task, eval_options("--engine", "openvino"))
    low = open_model(str(folder / "best.safetensors"), "detector", eval_options())
    assert low.spec.input_wh == (96, 64) and low.precision == "f32"
    arguments = ["eval", "--pose", str(tmp_path / "pose"), "--data", str(demo), "--quick"]
    assert main([*arguments, "--limit", "2", "--precision", "bf16"]) == 0
    assert "torch, bf16, cpu" in capsys.readouterr().out
    assert main(["eval", "--pose", str(tmp_path / "detector"), "--data", str(demo)]) == 5
    assert "give it with --detector" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_and_one_that_is_full_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from train.config import Config
    from train.pose_net import PoseNet

    about = {"config": Config("pose", input_wh=(64, 64)).to_json()}
    save_file(PoseNet().state_dict(), tmp_path / "best.safetensors", about)
    with monkeypatch.context() as patched:
        patched.setattr("torch.cuda.is_available", lambda: True)
        patched.setattr("torch.cuda.device_count", lambda: 1)
        with pytest.raises(ModelError, match=r"^compute cuda:7: this machine has 1 GPU\(s\)$"):
            open_model(str(tmp_path), "pose", eval_options("--compute", "cuda:7"))
    network: Any = open_model(str(tmp_path), "pose", eval_options("--compute", "cpu"))

    def full(_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    network._net = full
    with pytest.raises(OutOfMemory, match="GPU memory is full"):
        network(np.zeros((1, 64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    "wrong",
    [("--engine", "foo"), ("--precision", "foo"), ("--compute", "foo"), ("--threads", "0")],
)
def test_wrong_options_are_told_alike_of_files_and_trainings(
    wrong: tuple[str, str], tmp_path: Path
) -> None:
    told = []
    for model in (DATA / "tiny_pose.onnx", tmp_path):
        with pytest.raises(UsageError) as caught:
            open_model(str(model), "pose", eval_options(*wrong))
        told.append(str(caught.value))
    assert told[0] == told[1]


def eval_options(*arguments: str) -> Any:
    import argparse

    from train import evaluate

    parser = argparse.ArgumentParser()
    evaluate.add_command(parser.add_subparsers())
    return parser.parse_args(["eval", "--data", "x", *arguments])


def test_image_reading_is_that_of_training(demo: Path) -> None:
    from train.measured import open_frame

    picture = coco.open_set(str(demo)).pictures[0]
    frame = open_frame(picture, 3)
    np.testing.assert_array_equal(frame.image, cv2.imread(str(picture.path)))
    dark = open_frame(picture, 3, degrade.darkened).image
    np.testing.assert_array_equal(dark, degrade.darkened(frame.image, picture.image_id))


def test_default_way() -> None:
    assert Way("udp", False) == DEFAULT_WAY

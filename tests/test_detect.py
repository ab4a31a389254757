"""Detection with public fakes: maps drawn from known people, decoded back to them."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.base import Arrays, Format, ModelSpec
from engines.load import load
from realtime import geometry
from realtime.detect import (
    GREY,
    MAX_IOU,
    Detector,
    decode_nanodet,
    letterboxed,
    peaks,
    suppressed,
)
from realtime.records import Float, Frame

SHARED = Path(os.environ.get("POSESTREAM_SHARED", Path(__file__).parents[2] / "shared"))
INPUT_WH = (320, 192)


class FakeNetwork:
    """Gives what answer makes of the pictures; counts its calls."""

    engine, precision, device = "fake", "f32", "cpu"

    def __init__(self, answer: Callable[[int], Arrays], spec_format: Format) -> None:
        self.spec = ModelSpec("fake", "detector", spec_format, INPUT_WH, Path("fake"), "")
        self.calls: list[np.ndarray] = []
        self._answer = answer

    def __call__(self, batch: np.ndarray) -> Arrays:
        self.calls.append(batch.copy())
        return [np.stack(arrays) for arrays in zip(*(self._answer(n) for n in range(len(batch))))]

    def close(self) -> None: ...


def frames_of(*sizes_wh: tuple[int, int]) -> list[Frame]:
    return [Frame(n, 0.0, np.full((h, w, 3), 50, np.uint8)) for n, (w, h) in enumerate(sizes_wh)]


def as_centers(boxes: Float, scores: Sequence[float], stride: int = 4) -> Arrays:
    """The maps a perfect "centers" network gives for boxes in input pixels."""
    shape = INPUT_WH[1] // stride, INPUT_WH[0] // stride
    centers, sizes = np.zeros((1, *shape), np.float32), np.zeros((4, *shape), np.float32)
    for (x0, y0, x1, y1), score in zip(boxes, scores):
        i = min(max(int(((y0 + y1) / 2 + 0.5) / stride), 0), shape[0] - 1)
        j = min(max(int(((x0 + x1) / 2 + 0.5) / stride), 0), shape[1] - 1)
        x, y = (j + 0.5) * stride - 0.5, (i + 0.5) * stride - 0.5
        centers[0, i, j], sizes[:, i, j] = score, (x - x0, y - y0, x1 - x, y1 - y)
    return [centers, sizes]


def as_yolox(boxes: Float, scores: Sequence[float], kind: int = 0) -> Arrays:
    """Raw YOLOX output for boxes in input pixels, in the cells of stride 16."""
    counts = [(INPUT_WH[0] // s) * (INPUT_WH[1] // s) for s in (8, 16, 32)]
    raw = np.zeros((sum(counts), 85), np.float32)
    for (x0, y0, x1, y1), score in zip(boxes + 0.5, scores):
        column, row = int((x0 + x1) / 2 // 16), int((y0 + y1) / 2 // 16)
        cell = raw[counts[0] + row * (INPUT_WH[0] // 16) + column]
        cell[:2] = (x0 + x1) / 32 - column, (y0 + y1) / 32 - row
        cell[2:4] = np.log([(x1 - x0) / 16, (y1 - y0) / 16])
        cell[4], cell[5 + kind] = score, 1
    return [raw]


def as_rtmdet(boxes: Float, scores: Sequence[float]) -> Arrays:
    return [np.concatenate([boxes + 0.5, np.array(scores, np.float32)[:, None]], 1)]


def as_nanodet(boxes: Float, scores: Sequence[float], kind: int = 0) -> Arrays:
    """NanoDet's output for boxes in input pixels, in the cells of stride 16, whose sides are not
    longer than 7 cells; scores and sides of the three strides in turns."""
    outputs: Arrays = []
    for stride in (8, 16, 32):
        count = (INPUT_WH[0] // stride) * (INPUT_WH[1] // stride)
        outputs += [np.zeros((count, 80), np.float32), np.full((count, 32), -30, np.float32)]
    for (x0, y0, x1, y1), score in zip(boxes, scores):
        column, row = int((x0 + x1 + 1) / 2 // 16), int((y0 + y1 + 1) / 2 // 16)
        x, y = (column + 0.5) * 16 - 0.5, (row + 0.5) * 16 - 0.5
        cell = row * (INPUT_WH[0] // 16) + column
        outputs[2][cell, kind] = score
        for side, distance in enumerate((x - x0, y - y0, x1 - x, y1 - y)):
            low, part = divmod(distance / 16, 1)  # the mean of two neighbouring bins
            bins = outputs[3][cell, 8 * side + int(low) :][:2]
            bins[:] = np.log(np.maximum([1 - part, part], 1e-12))
    return outputs


DRAWN = {"centers": as_centers, "yolox": as_yolox, "rtmdet": as_rtmdet, "nanodet": as_nanodet}
TRUTH = np.array([[20, 30, 90, 150], [150, 40, 200, 170], [210.5, 10.25, 300, 99]], np.float32)


@pytest.mark.parametrize("spec_format", DRAWN)
@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(40, 900), st.integers(40, 900)))
def test_boxes_come_back_in_frame_pixels(spec_format, frame_wh):
    to_input = geometry.letterbox(frame_wh, INPUT_WH)
    to_frame = geometry.invert(to_input)
    truth = geometry.apply(to_frame, TRUTH.reshape(-1, 2)).reshape(-1, 4)
    truth = geometry.clip_boxes(truth, frame_wh)
    visible = (truth[:, 2:] > truth[:, :2]).all(1)
    network = FakeNetwork(lambda n: DRAWN[spec_format](TRUTH, (0.5, 0.9, 0.7)), spec_format)
    (found,) = Detector(network)(frames_of(frame_wh))
    order = [n for n in (1, 2, 0) if visible[n]]
    assert np.allclose(found.scores, np.array([0.5, 0.9, 0.7])[order])
    assert (
        np.abs(found.boxes_xyxy - truth[order]).max(initial=0) < 0.01 * max(frame_wh) / 100 + 0.01
    )


def test_yolox_ignores_other_classes():
    network = FakeNetwork(lambda n: as_yolox(TRUTH, (0.9, 0.9, 0.9), kind=16), "yolox")
    assert len(Detector(network)(frames_of((320, 192)))[0]) == 0


def test_nanodet_ignores_other_classes():
    network = FakeNetwork(lambda n: as_nanodet(TRUTH, (0.9, 0.9, 0.9), kind=16), "nanodet")
    assert len(Detector(network)(frames_of((320, 192)))[0]) == 0


def nanodet_by_hand(outputs: Arrays, input_wh: tuple[int, int]) -> list[tuple[float, ...]]:
    """x0 y0 x1 y1 score of every cell, one number at a time, after RangiLyu/nanodet: points are
    (column + 0.5) * stride from the corner of the first pixel."""
    found = []
    for level, stride in enumerate((8, 16, 32)):
        scores, sides = outputs[2 * level], outputs[2 * level + 1]
        for row in range(input_wh[1] // stride):
            for column in range(input_wh[0] // stride):
                cell = row * (input_wh[0] // stride) + column
                distances = []
                for side in range(4):
                    weights = [math.exp(v) for v in sides[cell, 8 * side : 8 * side + 8]]
                    mean = sum(n * w for n, w in enumerate(weights)) / sum(weights)
                    distances.append(mean * stride)
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                left, top, right, bottom = distances
                box = (x - left - 0.5, y - top - 0.5, x + right - 0.5, y + bottom - 0.5)
                found.append((*box, float(scores[cell, 0])))
    return found


@pytest.mark.parametrize("input_wh", [(64, 96), (416, 416)])
@pytest.mark.parametrize("order", ["in turns", "scores first", "backwards"])
def test_nanodet_equals_its_definition(input_wh, order):
    rng, outputs = np.random.default_rng(3), []
    for stride in (8, 16, 32):
        count = (input_wh[0] // stride) * (input_wh[1] // stride)
        outputs += [rng.random((count, 80), np.float32), rng.normal(0, 3, (count, 32))]
    outputs = [array.astype(np.float32) for array in outputs]
    expected = [row for row in nanodet_by_hand(outputs, input_wh) if row[4] >= 0.97]
    expected_boxes = np.array([row[:4] for row in expected], np.float32).reshape(-1, 4)
    given = {
        "in turns": outputs, "scores first": outputs[::2] + outputs[1::2],
        "backwards": outputs[::-1],
    }[order]  # fmt: skip
    boxes, scores = decode_nanodet(given, input_wh, 0.97)
    wanted, wanted_scores = suppressed(
        expected_boxes, np.array([row[4] for row in expected], np.float32)
    )
    assert len(wanted) > 1
    assert np.allclose(scores, wanted_scores, atol=1e-6)
    assert np.abs(boxes - wanted).max() < 1e-3


def test_batch_equals_one_by_one_with_other_sizes():
    frames = frames_of((320, 192), (640, 200), (100, 500))

    def answer(n: int) -> Arrays:
        return as_centers(TRUTH + n, (0.5, 0.9, 0.7))

    together = Detector(FakeNetwork(answer, "centers"))(frames)
    for n, frame in enumerate(frames):
        (alone,) = Detector(FakeNetwork(lambda _, n=n: answer(n), "centers"))([frame])
        assert (alone.boxes_xyxy == together[n].boxes_xyxy).all()
        assert (alone.scores == together[n].scores).all()


def test_no_frames_make_no_call():
    network = FakeNetwork(lambda n: as_rtmdet(TRUTH, (1, 1, 1)), "rtmdet")
    assert Detector(network)([]) == []
    assert network.calls == []


def test_nobody_is_an_ordinary_answer():
    network = FakeNetwork(lambda n: [np.zeros((0, 5), np.float32)], "rtmdet")
    assert [len(found) for found in Detector(network)(frames_of((64, 64), (1, 1)))] == [0, 0]


@pytest.mark.parametrize(("most", "crowded"), [(3, False), (2, True)])
def test_a_frame_is_crowded_by_more_people_than_it_may_have(most, crowded):
    boxes = np.float32([[20, 20, 60, 120], [90, 20, 130, 120], [160, 20, 200, 120]])
    network = FakeNetwork(lambda n: as_centers(boxes, [0.7, 0.9, 0.8]), "centers")
    detector = Detector(network, max_people=most)
    (found,) = detector(frames_of(INPUT_WH))
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.7][:most])
    assert detector.crowded == crowded


def test_unusable_boxes_are_dropped():
    bad = [
        (np.nan, 0, 10, 10, 0.9), (0, 0, np.inf, 10, 0.9), (0, 0, 10, 10, np.nan),
        (30, 0, 10, 10, 0.9), (10, 10, 10, 50, 0.9), (-90, -90, -10, -10, 0.9),
        (400, 0, 500, 90, 0.9), (0, 0, 10, 10, 0.39), (0, 0, 10, 10, -np.inf),
    ]  # fmt: skip
    good = [(-20, 5, 50, 60, 7.5), (10, 10, 1e9, 60, 0.41)]
    network = FakeNetwork(lambda n: [np.array(bad + good, np.float32)], "rtmdet")
    (found,) = Detector(network, 0.4)(frames_of((320, 192)))
    assert np.allclose(found.scores, [1.0, 0.41])
    expected = [[0, 4.5, 49.5, 59.5], [9.5, 9.5, 319, 59.5]]
    assert np.allclose(found.boxes_xyxy, expected, atol=0.01)


def test_a_crowd_is_told_of_the_frames_it_was_in():
    third = iter((0.7, 0.1, 0.1, 0.7))
    network = FakeNetwork(lambda n: as_rtmdet(TRUTH, (0.9, 0.8, next(third))), "rtmdet")
    detect, told = Detector(network, max_people=2), []
    for count in (2, 1, 1):
        found = detect(frames_of(*[(320, 192)] * count))
        assert [len(people) for people in found] == [2] * count
        told.append(detect.crowded)
    assert told == [True, False, True]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(DRAWN)))
def test_any_output_gives_valid_people(seed, spec_format):
    rng = np.random.default_rng(seed)
    shapes = {"centers": [(1, 48, 80), (4, 48, 80)], "yolox": [(1260, 85)], "rtmdet": [(1000, 5)]}
    shapes["nanodet"] = [(count, columns) for count in (960, 240, 60) for columns in (80, 32)]
    strange = np.array([np.nan, np.inf, -np.inf, 1e38, -1e38, 0], np.float32)

    def answer(n: int) -> Arrays:
        arrays = [rng.normal(0, 50, shape).astype(np.float32) for shape in shapes[spec_format]]
        for array in arrays:
            hit = rng.random(array.shape) < 0.1
            array[hit] = rng.choice(strange, hit.sum())
        return arrays

    (found,) = Detector(FakeNetwork(answer, spec_format), max_people=7)(frames_of((300, 200)))
    assert len(found) <= 7
    assert np.isfinite(found.boxes_xyxy).all()
    assert (found.boxes_xyxy[:, 2:] > found.boxes_xyxy[:, :2]).all()
    assert (found.boxes_xyxy >= 0).all() and (found.boxes_xyxy <= [299, 199] * 2).all()
    assert (np.diff(found.scores) <= 0).all()
    assert ((found.scores >= 0.3) & (found.scores <= 1)).all()


def test_letterbox_scales_by_the_pixel_centre_rule():
    frame = frames_of((640, 200))[0]
    image = frame.image.copy()
    image[:, :, 0] = (np.arange(640) / 640 * 250).astype(np.uint8)[None]
    (picture,) = letterboxed([replace(frame, image=image)], INPUT_WH)
    x = (np.arange(320) + 0.5) * 2 - 0.5
    assert np.abs(picture[:100, :, 0].astype(float) - x / 640 * 250).max() < 1.5
    assert (picture[102:] == GREY).all()
    assert (picture[:99, :, 1] == 50).all()


def test_letterbox_agrees_with_a_resize():
    image = np.random.default_rng(1).integers(0, 256, (384, 640, 3), np.uint8)
    smooth = cv2.GaussianBlur(image, (0, 0), 3)
    (picture,) = letterboxed([Frame(0, 0.0, smooth)], INPUT_WH)
    expected = cv2.resize(smooth, INPUT_WH, interpolation=cv2.INTER_LINEAR)
    assert np.abs(picture.astype(int) - expected).max() <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_suppression_agrees_with_the_plain_loop(seed, count):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 30, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 40, (count, 2))], 1).astype(np.float32)
    scores = rng.random(count).astype(np.float32)
    kept: list[int] = []
    for n in sorted(range(count), key=lambda n: -scores[n]):
        if all(geometry.iou(boxes[[n]], boxes[[k]])[0, 0] <= MAX_IOU for k in kept):
            kept.append(n)
    found_boxes, found_scores = suppressed(boxes, scores)
    assert (found_boxes == boxes[kept]).all()
    assert (found_scores == scores[kept]).all()


def test_peaks_agree_with_the_plain_loop():
    scores = np.random.default_rng(2).integers(0, 9, (14, 11)).astype(np.float32)
    found = peaks(scores)
    for i in range(14):
        for j in range(11):
            around = scores[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            assert found[i, j] == (scores[i, j] == around.max())


def first_picture(clip: Path) -> Frame:
    capture = cv2.VideoCapture(str(clip))
    ok, image = capture.read()
    capture.release()
    assert ok
    return Frame(0, 0.0, image)


def test_two_public_detectors_agree_on_a_real_person():
    weights = SHARED / "weights"
    clip = SHARED / "clips" / "sam_guitar_upperbody.mp4"
    if not (weights.is_dir() and clip.is_file()):
        pytest.skip("no shared weights and clips")
    frame = first_picture(clip)
    best = []
    for name in ("detector_rtmdet_nano_person.onnx", "detector_yolox_nano.onnx"):
        detector = Detector(load(weights / name, "detector", precision="f32"))
        (found,) = detector([frame])
        assert len(found) and found.scores[0] > 0.6
        best.append(found.boxes_xyxy[:1])
    assert geometry.iou(best[0], best[1])[0, 0] > 0.8

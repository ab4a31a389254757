"""Decoding against maps with known peaks and against a plain float64 loop."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime import geometry
from realtime.crop import cut, places
from realtime.decode import DEFAULT_METHOD, MAX_SHIFT, METHODS, decode, to_poses
from realtime.records import Crops, Detections, Frame

MAP_WH, CROP_WH, SIGMA = (48, 64), (192, 256), 2.0
GRIDS = ("pixel_centre", "corner", "udp")


def gaussians(cells: np.ndarray, amplitude: float = 1.0, noise: float = 0.0, seed: int = 0):
    """Maps (N, h, w) with the peak at cells (N, 2)."""
    x = np.exp(-((np.arange(MAP_WH[0]) - cells[:, :1]) ** 2) / (2 * SIGMA**2))
    y = np.exp(-((np.arange(MAP_WH[1]) - cells[:, 1:]) ** 2) / (2 * SIGMA**2))
    maps = amplitude * y[:, :, None] * x[:, None, :]
    if noise:
        maps += noise * np.random.default_rng(seed).standard_normal(maps.shape)
    return maps.astype(np.float32)


def in_cells(maps: np.ndarray, method: str, sigma: float = SIGMA) -> np.ndarray:
    """Decoded joints (N, 2) in cells."""
    points, _ = decode(maps[:, None], method, "corner", MAP_WH, sigma)
    return points[:, 0]


def inner_cells(count: int) -> np.ndarray:
    return np.random.default_rng(3).uniform((6, 6), (41, 57), (count, 2))


def border_cells(count: int) -> np.ndarray:
    """Peaks between the middle of the outermost cell and three cells inside it."""
    rng = np.random.default_rng(4)
    cells, depth = inner_cells(count), rng.uniform(0, 3, count)
    axis, far = rng.integers(0, 2, count), rng.integers(0, 2, count)
    size = np.array(MAP_WH)[axis]
    cells[np.arange(count), axis] = np.where(far, size - 1 - depth, depth)
    return cells


@pytest.mark.parametrize(
    "case, cells, options, limits",
    [
        ("clean", inner_cells(500), {}, (0.40, 0.20, 0.001, 0.001)),
        ("noise", inner_cells(500), {"noise": 0.02}, (0.43, 0.24, 0.025, 0.025)),
        ("weak", inner_cells(500), {"noise": 0.05, "amplitude": 0.5}, (0.72, 0.56, 0.12, 0.12)),
        ("border", border_cells(500), {}, (0.40, 0.25, 0.001, 0.001)),
        ("border noise", border_cells(500), {"noise": 0.02}, (0.43, 0.28, 0.08, 0.055)),
    ],
)
def test_mean_error_of_every_method(case, cells, options, limits):
    maps = gaussians(cells, **options)
    for method, limit in zip(METHODS, limits):
        error = np.linalg.norm(in_cells(maps, method) - cells, axis=1).mean()
        assert error < limit, f"{case}: {method} is off by {error:.3f} cells"


def plain_smooth(heat: np.ndarray, x: int, y: int, room: tuple[int, int]) -> float:
    """The Gaussian-weighted mean of heat around (x, y), by its definition."""
    total = weight = 0.0
    for dy in range(-room[1], room[1] + 1):
        for dx in range(-room[0], room[0] + 1):
            w = math.exp(-(dx * dx + dy * dy) / (2 * SIGMA**2))
            total, weight = total + w * float(heat[y + dy, x + dx]), weight + w
    return total / weight


def plain_decode(heat: np.ndarray, method: str) -> tuple[float, float]:
    """One joint in cells, by the words of the docstrings, in float64 and without vectors."""
    height, width = heat.shape
    py, px = divmod(int(heat.argmax()), width)
    if method == "argmax":
        return px, py
    if method == "quarter":
        if not (0 < px < width - 1 and 0 < py < height - 1):
            return px, py
        right, left, low, up = (
            heat[py, px + 1],
            heat[py, px - 1],
            heat[py + 1, px],
            heat[py - 1, px],
        )
        return px + 0.25 * np.sign(right - left), py + 0.25 * np.sign(low - up)
    reach = 2 if method == "dark" else 1
    cx = min(max(px, reach), width - 1 - reach)
    cy = min(max(py, reach), height - 1 - reach)
    radius = math.ceil(2.5 * SIGMA)
    room = (
        min(cx - reach, width - 1 - cx - reach, radius),
        min(cy - reach, height - 1 - cy - reach, radius),
    )
    near = {
        (dx, dy): plain_smooth(heat, cx + dx, cy + dy, room)
        for dx in range(-reach, reach + 1)
        for dy in range(-reach, reach + 1)
    }
    top = max(near.values())
    log = {key: math.log(max(value / top, 1e-3)) for key, value in near.items()}
    slope = [(log[1, 0] - log[-1, 0]) / 2, (log[0, 1] - log[0, -1]) / 2]
    r = reach
    xx = (log[r, 0] + log[-r, 0] - 2 * log[0, 0]) / r**2
    yy = (log[0, r] + log[0, -r] - 2 * log[0, 0]) / r**2
    xy = (log[1, 1] - log[1, -1] - log[-1, 1] + log[-1, -1]) / 4
    hessian = np.array([[xx, xy], [xy, yy]])
    if np.linalg.eigvalsh(hessian).max() >= 0 or np.linalg.det(hessian) <= 1e-9:
        return px, py
    step = -np.linalg.solve(hessian, slope)
    x, y = np.clip(step + [cx - px, cy - py], -MAX_SHIFT, MAX_SHIFT)
    return px + x, py + y


@pytest.mark.parametrize("method", METHODS)
def test_agrees_with_the_plain_loop(method):
    cells = np.concatenate([inner_cells(8), border_cells(12), [[0, 0], [47, 63], [-1, 30]]])
    maps = np.concatenate([gaussians(cells), gaussians(cells, 0.4, 0.05)])
    maps = np.concatenate([maps, np.random.default_rng(5).random((4, 64, 48)).astype(np.float32)])
    expected = np.array([plain_decode(heat.astype(np.float64), method) for heat in maps])
    assert np.abs(in_cells(maps, method) - expected).max() < 1e-3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 0.3, -0.5, 1e30, -1e30])
def test_constant_maps_give_the_first_cell(method, value):
    maps = np.full((2, 17, 64, 48), value, np.float32)
    points, scores = decode(maps, method, "pixel_centre", CROP_WH)
    assert np.allclose(points, 1.5)
    assert np.allclose(scores, min(max(value, 0), 1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("whole", [True, False])
def test_maps_that_are_not_finite_give_no_joint(method, bad, whole):
    maps = np.random.default_rng(6).random((3, 17, 64, 48)).astype(np.float32)
    good = decode(maps, method, "udp", CROP_WH)
    maps[1, 4][... if whole else (5, 9)] = bad
    points, scores = decode(maps, method, "udp", CROP_WH)
    hit = np.zeros((3, 17), bool)
    hit[1, 4] = True
    assert (np.isnan(points).all(2) == hit).all() and (np.isnan(scores) == hit).all()
    assert (points[~hit] == good[0][~hit]).all() and (scores[~hit] == good[1][~hit]).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(0, 17, 1, 1), (0, 17, 64, 48), (2, 17, 1, 1), (2, 17, 2, 7)])
def test_no_people_and_tiny_maps(method, shape):
    points, scores = decode(np.zeros(shape, np.float32), method, "udp", CROP_WH)
    assert points.shape == (*shape[:2], 2) and points.dtype == np.float32
    assert scores.shape == shape[:2] and scores.dtype == np.float32
    assert np.isfinite(points).all()


def test_grids_place_cells_by_their_rule():
    cells = np.array([[10.0, 20.0]])
    expected = {"pixel_centre": (41.5, 81.5), "corner": (40, 80), "udp": (40.638, 80.952)}
    for grid in GRIDS:
        points, _ = decode(gaussians(cells)[:, None], "udp", grid, CROP_WH)
        assert np.allclose(points[0, 0], expected[grid], atol=0.01), grid


@pytest.mark.parametrize("method", METHODS)
def test_batch_equals_one_by_one_and_changes_nothing(method):
    maps = np.random.default_rng(7).random((5, 17, 64, 48)).astype(np.float32)
    before = maps.copy()
    points, scores = decode(maps, method, "corner", CROP_WH)
    for n in range(5):
        one_points, one_scores = decode(maps[n : n + 1], method, "corner", CROP_WH)
        assert (one_points[0] == points[n]).all() and (one_scores[0] == scores[n]).all()
    assert (maps == before).all()


def people(boxes: np.ndarray) -> Detections:
    scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
    return Detections(np.asarray(boxes, np.float32).reshape(-1, 4), scores)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.floats(0, 600), st.floats(0, 400)),
    st.tuples(st.floats(0.5, 600), st.floats(0.5, 400)),
    st.sampled_from(GRIDS),
    st.sampled_from(["udp", "dark"]),
    st.integers(0, 1000),
)
def test_from_box_to_crop_to_joint_and_back(corner, size, grid, method, seed):
    """Joints anywhere in the crop come back within half a cell, whatever the box."""
    frame = Frame(0, 0.0, np.zeros((480, 640, 3), np.uint8))
    box = (*corner, corner[0] + size[0], corner[1] + size[1])
    detections = [people(np.array([box]))]
    crops = cut([frame], detections, CROP_WH, 1.25)
    cells = np.random.default_rng(seed).uniform((-0.5, -0.5), (47.5, 63.5), (17, 2))
    rule = {
        "pixel_centre": (cells + 0.5) * 4 - 0.5,
        "corner": cells * 4,
        "udp": cells * [191 / 47, 255 / 63],
    }
    joints = geometry.apply(crops.crop_to_frame[0], rule[grid].astype(np.float32))
    points, scores = decode(gaussians(cells)[None], method, grid, CROP_WH, SIGMA)
    (poses,), (failed,) = to_poses(points, scores, crops.crop_to_frame, detections)
    cell = 4 * float(crops.crop_to_frame[0, 0, 0])
    assert failed == 0
    assert np.linalg.norm(poses.joints_xy[0] - joints, axis=1).max() <= 0.05 * cell + 1e-3
    assert poses.joint_scores.min() > 0.7


def example(count: int = 6) -> tuple[np.ndarray, np.ndarray, Crops, list[Detections]]:
    """Joints of people in frames 0 and 2 of three."""
    rng = np.random.default_rng(8)
    low = rng.uniform(0, 200, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(20, 200, (count, 2))], 1)
    detections = [people(boxes[:2]), people(boxes[:0]), people(boxes[2:])]
    frames = [Frame(n, 0.0, np.zeros((300, 300, 3), np.uint8)) for n in range(3)]
    points = rng.uniform(0, 190, (count, 17, 2)).astype(np.float32)
    scores = rng.uniform(0, 1, (count, 17)).astype(np.float32)
    return points, scores, cut(frames, detections, CROP_WH, 1.25), detections


def test_poses_know_their_frame_box_and_score():
    points, scores, crops, detections = example()
    poses, failed = to_poses(points, scores, crops.crop_to_frame, detections)
    assert [len(p) for p in poses] == [2, 0, 4] and failed == [0, 0, 0]
    assert (poses[2].boxes_xyxy == detections[2].boxes_xyxy).all()
    mean = np.average(scores[3], weights=scores[3])
    assert poses[2].scores[1] == pytest.approx(math.sqrt(detections[2].scores[1]) * mean)
    expected = geometry.apply(crops.crop_to_frame[3], points[3])
    assert (poses[2].joints_xy[1] == expected).all()
    assert (poses[2].ids == -1).all()


def test_people_are_cut_out_by_the_wider_box_and_have_their_own():
    points, scores, crops, detections = example()
    grown = np.array([-9, -9, 9, 9], np.float32)
    wider = [replace(found, wider_xyxy=found.boxes_xyxy + grown) for found in detections]
    to_crop, _ = places(wider, CROP_WH, 1.25)
    as_large = [people(found.boxes_xyxy + grown) for found in detections]
    np.testing.assert_array_equal(to_crop, places(as_large, CROP_WH, 1.25)[0])
    poses, _ = to_poses(points, scores, crops.crop_to_frame, wider)
    np.testing.assert_array_equal(poses[2].boxes_xyxy, detections[2].boxes_xyxy)
    np.testing.assert_array_equal(poses[2][1:].search_xyxy, wider[2].search_xyxy[1:])


def test_the_score_of_a_person_is_that_of_the_joints_that_are_there():
    """Joints that are not seen take little away, doubt about those that are takes much."""
    points, scores, crops, detections = example()
    box = np.sqrt(np.concatenate([found.scores for found in detections]))

    def of(seen: float, unseen: float) -> np.ndarray:
        joints = np.full_like(scores, seen)
        joints[:, 11:] = unseen
        poses, _ = to_poses(points, joints, crops.crop_to_frame, detections)
        return np.concatenate([p.scores for p in poses]) / box

    assert of(0.8, 0.8) == pytest.approx(0.8)
    assert (of(0.8, 0.1) > 0.75).all() and (of(0.8, 0.1) < 0.8).all()
    assert of(0.8, 0.0) == pytest.approx(0.8)
    assert of(0.2, 0.2) == pytest.approx(0.2)
    assert not of(0.0, 0.0).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["point", "score"])
def test_people_that_are_not_finite_are_left_out_and_counted(bad, where):
    points, scores, crops, detections = example()
    (points if where == "point" else scores)[3, 5] = bad
    poses, failed = to_poses(points, scores, crops.crop_to_frame, detections)
    assert [len(p) for p in poses] == [2, 0, 3] and failed == [0, 0, 1]
    kept = np.delete(detections[2].boxes_xyxy, 1, 0)
    assert (poses[2].boxes_xyxy == kept).all()
    assert all(np.isfinite(a).all() for p in poses for a in (p.joints_xy, p.joint_scores, p.scores))


def test_nobody_gives_empty_poses():
    points, scores, crops, detections = example(0)
    poses, failed = to_poses(points, scores, crops.crop_to_frame, detections)
    assert [len(p) for p in poses] == [0, 0, 0] and failed == [0, 0, 0]


def test_the_default_is_a_method():
    assert DEFAULT_METHOD in METHODS

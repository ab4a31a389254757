"""Object keypoint similarity and the suppression of duplicates."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from realtime.records import Poses
from realtime.similarity import BODY_SHARE, SAME_PERSON, oks, suppress
from realtime.skeleton import OKS_SIGMAS

steady = settings(deadline=None, derandomize=True)  # shared machines, the same every time
COORDINATES = st.floats(-2000, 4000, width=32)
JOINTS = arrays(np.float32, st.tuples(st.integers(0, 4), st.just(17), st.just(2)),
                elements=COORDINATES)  # fmt: skip


def people(joints_xy, joint_scores=None, scores=None, boxes=None):
    joints_xy = np.asarray(joints_xy, np.float32)
    count = len(joints_xy)
    if joint_scores is None:
        joint_scores = np.full((count, 17), 0.9, np.float32)
    if boxes is None:
        boxes = np.concatenate([joints_xy.min(1) - 5, joints_xy.max(1) + 5], 1)
    if scores is None:
        scores = np.linspace(0.9, 0.5, count)
    return Poses(joints_xy, np.asarray(joint_scores, np.float32), np.asarray(boxes, np.float32),
                 np.asarray(scores, np.float32), np.full(count, -1, np.int64))  # fmt: skip


def figure(x=100.0, y=100.0, height=200.0, seed=7):
    """Joints (17, 2) scattered like a standing person's."""
    spread = np.random.default_rng(seed).uniform(-0.5, 0.5, (17, 2)) * [0.4 * height, height]
    return (np.array([x, y]) + spread).astype(np.float32)


def plain_oks(a, b, area, weights):
    """One pair, written out as on the COCO page."""
    total = sum(weights)
    if total == 0:
        return 0.0
    value = 0.0
    for j in range(17):
        d2 = sum((float(a[j][c]) - float(b[j][c])) ** 2 for c in (0, 1))
        k = 2 * float(OKS_SIGMAS[j])
        value += weights[j] * np.exp(-d2 / (2 * area * k**2))
    return value / total


def test_oks_equals_the_formula_written_out():
    rng = np.random.default_rng(1)
    a = rng.uniform(0, 300, (3, 17, 2)).astype(np.float32)
    b = np.concatenate([a[:2] + rng.normal(0, 8, (2, 17, 2)), a]).astype(np.float32)
    areas = np.array([5000, 300, 20000], np.float32)
    weights = rng.uniform(0, 1, (3, 5, 17)).astype(np.float32)
    weights[1, 2] = 0
    got = oks(a, b, areas, weights)
    assert got.shape == (3, 5) and got.dtype == np.float32
    for n, m in itertools.product(range(3), range(5)):
        assert got[n, m] == pytest.approx(plain_oks(a[n], b[m], areas[n], weights[n, m]), abs=1e-5)


def test_oks_equals_pycocotools():
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(2)
    truth = [figure(seed=i) for i in range(4)]
    found = [t + rng.normal(0, 6, (17, 2)) for t in truth] + [figure()]
    seen = rng.integers(0, 3, (4, 17))
    seen[:, 0] = 2  # COCO has another rule for people without any label
    areas = rng.uniform(4000, 9000, 4)
    evaluation = cocoeval.COCOeval(iouType="keypoints")
    evaluation.params.imgIds, evaluation.params.catIds = [1], [1]
    for i, (xy, v, area) in enumerate(zip(truth, seen, areas)):
        evaluation._gts[1, 1].append(
            {"keypoints": np.c_[xy, v].ravel().tolist(), "area": area, "bbox": [0, 0, 1, 1],
             "id": i, "ignore": 0}
        )  # fmt: skip
    for i, xy in enumerate(found):
        keypoints = np.c_[xy, np.ones(17)].ravel().tolist()
        evaluation._dts[1, 1].append({"keypoints": keypoints, "score": 1 - i / 10, "id": i})
    expected = evaluation.computeOks(1, 1).T  # ours has the labelled people in rows
    got = oks(np.array(truth, np.float32), np.array(found, np.float32),
              areas.astype(np.float32), (seen[:, None] > 0).astype(np.float32))  # fmt: skip
    np.testing.assert_allclose(got, expected, atol=1e-4)


@steady
@given(JOINTS, JOINTS, st.floats(0, 1e6))
def test_oks_stays_within_0_and_1_and_is_1_for_itself(a, b, area):
    areas = np.full(len(a), area, np.float32)
    got = oks(a, b, areas)
    assert got.shape == (len(a), len(b))
    assert ((got >= 0) & (got <= 1 + 1e-6)).all()
    np.testing.assert_allclose(np.diag(oks(a, a, areas)), 1, atol=1e-6)


def test_oks_ignores_joints_without_weight_and_is_0_without_any():
    a = figure()[None]
    b = a.copy()
    b[0, 3] += 500
    area = np.array([8000], np.float32)
    weights = np.ones((1, 1, 17), np.float32)
    weights[..., 3] = 0
    assert oks(a, b, area, weights)[0, 0] == pytest.approx(1)
    assert oks(a, b, area)[0, 0] == pytest.approx(16 / 17, abs=1e-3)
    assert oks(a, a, area, weights * 0)[0, 0] == 0


def test_blur_widens_the_tolerance():
    a = figure()[None]
    b = a + 30
    area = np.array([8000], np.float32)
    sharp, blurred = oks(a, b, area), oks(a, b, area, blur=np.array([30.0]))
    assert blurred[0, 0] > sharp[0, 0] + 0.2
    assert oks(a, a, area, blur=np.array([30.0]))[0, 0] == pytest.approx(1)


def test_suppress_keeps_the_better_of_two_poses_of_one_person():
    one = figure()
    near = one + np.random.default_rng(3).normal(0, 1.5, one.shape)
    far = figure(x=400)
    assert suppress(people([near, one, far], scores=[0.5, 0.8, 0.6])).tolist() == [
        False,
        True,
        True,
    ]
    assert suppress(people([one, one], scores=[0.7, 0.7])).tolist() == [True, False]


def test_suppress_finds_a_box_around_half_of_a_person():
    """The half box sees the upper joints; what it guesses for the legs has low scores."""
    whole = figure()
    rng = np.random.default_rng(4)
    half = whole + rng.normal(0, 1, whole.shape).astype(np.float32)
    half[11:] = rng.uniform(80, 120, (6, 2))
    sure = np.full((2, 17), 0.8, np.float32)
    sure[1, 11:] = 0.05
    boxes = np.array([[60, 0, 140, 200], [60, 0, 140, 110]], np.float32)
    assert suppress(people([whole, half], sure, [0.9, 0.6], boxes)).tolist() == [True, False]


@pytest.mark.parametrize("aside", [8, 12, 20, 60])
def test_suppress_keeps_two_people_side_by_side(aside):
    """The same posture, a twenty-fifth of the height apart or more: two people."""
    one = figure(height=200)
    assert suppress(people([one, one + np.float32([aside, 0])])).all()


def test_suppress_chains_only_from_people_who_are_kept():
    """b is like a, c is like b but not like a: b goes, c stays."""
    a = figure()
    box = np.concatenate([a.min(0) - 5, a.max(0) + 5])[None]
    body = BODY_SHARE * np.prod(box[:, 2:] - box[:, :2], 1)
    alike = [oks(a[None], (a + d)[None], body)[0, 0] for d in np.float32([0, 4, 8])]
    assert alike[1] > SAME_PERSON > alike[2]
    poses = people([a, a + 4, a + 8], boxes=np.repeat(box, 3, 0))
    assert suppress(poses).tolist() == [True, False, True]


def test_suppress_of_nobody_and_of_people_without_any_sure_joint():
    assert suppress(Poses.empty()).shape == (0,)
    same = np.repeat(figure()[None], 2, 0)
    assert suppress(people(same, np.zeros((2, 17)))).all()


@steady
@given(JOINTS, st.data())
def test_suppress_keeps_the_best_and_leaves_no_duplicate(joints, data):
    scores = data.draw(arrays(np.float32, len(joints), elements=st.floats(0, 1, width=32)))
    poses = people(joints, scores=scores)
    keep = suppress(poses)
    assert keep.shape == (len(joints),) and keep.dtype == np.bool_
    if len(joints):
        assert keep[np.argmax(scores)]
    assert suppress(poses[keep]).all()

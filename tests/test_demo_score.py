"""The comparison of found people with the truth of the demo scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from realtime.demo_score import DemoScore
from realtime.records import Poses
from realtime.scene import Truth


class FakeScene:
    """A scene with this truth in every frame."""

    size_wh = 1280, 720

    def __init__(self, truth: Truth) -> None:
        self._truth = truth

    def truth(self, index: int) -> Truth:
        return self._truth


def people(*boxes: tuple[float, float, float, float], share: float = 1.0) -> Truth:
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(boxes_xyxy)
    rng = np.random.default_rng(7)
    joints = boxes_xyxy[:, None, :2] + rng.random((count, 17, 2), np.float32) * 30
    return Truth(
        joints.astype(np.float32),
        np.ones((count, 17), bool),
        boxes_xyxy,
        np.arange(count),
        np.full(count, share, np.float32),
    )


def as_found(truth: Truth, shift: float = 0.0, score: float = 0.9) -> Poses:
    count = len(truth)
    return Poses(
        truth.joints_xy + np.array([shift, 0], np.float32),
        np.full((count, 17), score, np.float32),
        truth.boxes_xyxy.copy(),
        np.full(count, 0.9, np.float32),
        np.arange(count),
    )


def score(truth: Truth, *found: Poses) -> dict[str, float]:
    result = DemoScore(FakeScene(truth))  # type: ignore[arg-type]
    for index, poses in enumerate(found):
        result.add(index, poses)
    return result.result()


TWO = people((100, 100, 200, 400), (600, 200, 660, 380))


def test_perfect() -> None:
    result = score(TWO, as_found(TWO), as_found(TWO))
    assert result == {"mean_error_px": 0, "found": 1, "false": 0, "people": 4, "unsure": 0}


def test_the_order_of_the_poses_does_not_matter() -> None:
    result = score(TWO, as_found(TWO)[::-1])
    assert result["mean_error_px"] == 0 and result["found"] == 1


def test_the_error_is_a_distance_in_pixels() -> None:
    assert score(TWO, as_found(TWO, shift=3.5))["mean_error_px"] == pytest.approx(3.5, abs=1e-4)


def test_nobody_found() -> None:
    result = score(TWO, Poses.empty())
    assert result["found"] == 0 and result["mean_error_px"] is None and result["people"] == 2


def test_who_follows_one_misses_nobody_else() -> None:
    one = DemoScore(FakeScene(TWO), everybody=False)  # type: ignore[arg-type]
    one.add(0, as_found(TWO)[:1])
    assert one.result()["found"] is None and one.result()["mean_error_px"] == 0


def test_nobody_there() -> None:
    nobody = people()
    assert score(nobody, Poses.empty()) == {
        "mean_error_px": None, "found": 1.0, "false": 0, "people": 0, "unsure": 0.0,
    }  # fmt: skip
    assert score(nobody, as_found(TWO))["false"] == 2


def test_one_person_is_found_by_one_pose_only() -> None:
    both = as_found(TWO)
    result = score(TWO, both[np.array([0, 0])])
    assert result["found"] == 0.5 and result["false"] == 1


def test_a_pose_beside_a_person_is_false() -> None:
    found = as_found(TWO)
    found.boxes_xyxy[0] += 80
    result = score(TWO, found)
    assert result["found"] == 0.5 and result["false"] == 1


@pytest.mark.parametrize(
    "unasked",
    [people((100, 100, 200, 400), share=0.49), people((100, 100, 120, 139))],
    ids=["hidden", "small"],
)
def test_people_not_asked_for_are_neither_missed_nor_false(unasked: Truth) -> None:
    for found in (as_found(unasked), Poses.empty()):
        result = score(unasked, found)
        assert result["people"] == result["false"] == 0 and result["mean_error_px"] is None
    part = as_found(unasked)
    part.boxes_xyxy[0, 3] = part.boxes_xyxy[0, 1] + 10  # what is seen of them: overlap below 0.3
    assert score(unasked, part)["false"] == 0


def test_the_smallest_asked_for_depends_on_the_picture() -> None:
    small = people((100, 100, 120, 139))
    scene = FakeScene(small)
    scene.size_wh = 640, 360
    result = DemoScore(scene)  # type: ignore[arg-type]
    result.add(0, as_found(small))
    assert result.result()["people"] == 1


def test_joints_not_claimed_do_not_hide() -> None:
    found = as_found(TWO)
    found.joint_scores[0, :5] = 0.19
    found.joints_xy[0, :5] += 1000
    result = score(TWO, found)
    assert result["mean_error_px"] == 0 and result["unsure"] == pytest.approx(5 / 34)


def test_hidden_joints_are_not_compared() -> None:
    visible = TWO.visible.copy()
    visible[0, 3] = False
    found = as_found(TWO)
    found.joints_xy[0, 3] += 1000
    result = score(replace(TWO, visible=visible), found)
    assert result["mean_error_px"] == 0 and result["unsure"] == 0


def test_sums_over_frames_weigh_every_joint_alike() -> None:
    result = score(TWO, as_found(TWO, 2.0), as_found(TWO, 4.0), Poses.empty())
    assert result["mean_error_px"] == pytest.approx(3.0, abs=1e-4)
    assert result["found"] == pytest.approx(4 / 6)

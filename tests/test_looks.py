"""What people wear, and that it keeps ids apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from realtime.looks import differences, looks
from realtime.records import Float, Image, Poses
from realtime.skeleton import JOINT_COUNT
from realtime.track import Tracker

RED, BLUE, GREEN = (30, 30, 200), (200, 60, 30), (40, 160, 40)
SIZE_WH = 320, 240
STANDING = np.array(
    [(0, -70), (3, -73), (-3, -73), (6, -70), (-6, -70), (15, -50), (-15, -50)]
    + [(20, -30), (-20, -30), (20, -10), (-20, -10), (10, 0), (-10, 0)]
    + [(11, 40), (-11, 40), (11, 80), (-11, 80)],
    np.float32,
)  # fmt: skip
"""Joints about the middle of the hips, in pixels."""


def people(*places: tuple[float, float], score: float = 0.9) -> Poses:
    joints = np.array([STANDING + place for place in places], np.float32).reshape(-1, 17, 2)
    boxes = np.concatenate([joints.min(1, initial=1e4) - 8, joints.max(1, initial=-1e4) + 8], 1)
    count = len(joints)
    scores = np.full((count, JOINT_COUNT), score, np.float32)
    ones = np.full(count, 0.9, np.float32)
    return Poses(joints, scores, boxes.astype(np.float32), ones, np.full(count, -1, np.int64))


def picture(poses: Poses, *clothes: tuple[tuple[int, int, int], tuple[int, int, int]]) -> Image:
    """Shirts and trousers on noise, each person over those before."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (SIZE_WH[1], SIZE_WH[0], 3)).astype(np.uint8)
    for joints, (shirt, trousers) in zip(poses.joints_xy, clothes):
        for hip, knee in ((11, 13), (12, 14)):
            a, b = joints[hip].astype(int).tolist(), joints[knee].astype(int).tolist()
            cv2.line(image, a, b, trousers, 12)
        cv2.fillConvexPoly(image, joints[[5, 6, 12, 11]].astype(np.int32), shirt)
    return image


def lab(colour: tuple[int, int, int]) -> Float:
    plain = np.array([[colour]], np.float32) / 255
    found = cv2.cvtColor(plain, cv2.COLOR_BGR2LAB)[0, 0] * np.array([0.5, 1, 1], np.float32)
    return np.asarray(found, np.float32)


def test_colours_of_shirt_and_trousers() -> None:
    poses = people((80, 120), (220, 120))
    found = looks(picture(poses, (RED, BLUE), (GREEN, RED)), poses)
    for n, clothes in enumerate(((RED, BLUE), (GREEN, RED))):
        for part, colour in enumerate(clothes):
            np.testing.assert_allclose(found[n, part], lab(colour), atol=1)
    assert looks(np.zeros((9, 9, 3), np.uint8), Poses.empty()).shape == (0, 2, 3)


def test_what_is_not_seen_is_not_known() -> None:
    """Unsure joints, and somebody nearer in front; the one in front is known."""
    unsure = people((80, 120), score=0.1)
    assert np.isnan(looks(picture(unsure, (RED, BLUE)), unsure)).all()
    both = people((100, 110), (105, 120))
    found = looks(picture(both, (RED, BLUE), (GREEN, RED)), both)
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


def test_people_partly_outside_of_the_picture() -> None:
    poses = people((0, 235), (319, 3), (-500, 900))
    assert np.isfinite(looks(picture(poses, (RED, BLUE), (RED, BLUE), (RED, BLUE)), poses)).all()


def test_differences_are_small_in_other_light_and_large_in_other_clothes() -> None:
    poses = people((80, 120))
    image = picture(poses, (RED, BLUE))
    mine = looks(image, poses)
    darker = looks(cv2.convertScaleAbs(image, alpha=0.75).astype(np.uint8), poses)
    other = looks(picture(poses, (GREEN, RED)), poses)
    assert differences(mine, mine)[0, 0] == 0
    assert differences(mine, darker)[0, 0] < 2 < 10 < differences(mine, other)[0, 0]
    nothing = np.full_like(mine, np.nan)
    assert differences(mine, nothing)[0, 0] == 0
    half = np.where(np.arange(2)[None, :, None] == 0, mine, np.nan).astype(np.float32)
    assert differences(half, other)[0, 0] > 10
    assert differences(mine[:0], other).shape == (0, 1)


@pytest.mark.parametrize("hidden", [1.5, 2.5])
def test_two_who_change_places_while_they_are_hidden_keep_their_ids(hidden: float) -> None:
    """By place alone each would be taken for the other."""
    left, right = (120, 120), (190, 120)
    told = {}
    for known in (True, False):
        tracker = Tracker()
        for n in range(20):
            poses = people(left, right)
            seen = looks(picture(poses, (RED, BLUE), (GREEN, RED)), poses) if known else None
            before = tracker.update(poses, n / 30, seen).ids.tolist()
        poses = people(left, right)
        seen = looks(picture(poses, (GREEN, RED), (RED, BLUE)), poses) if known else None
        after = tracker.update(poses, 19 / 30 + hidden, seen).ids.tolist()
        told[known] = after == before[::-1]
    assert told[True] and not told[False]


def test_a_change_of_light_alone_does_not_change_an_id() -> None:
    tracker = Tracker()
    ids = set()
    for n in range(30):
        poses = people((100 + 2 * n, 120))
        image = picture(poses, (RED, BLUE))
        bright = cv2.convertScaleAbs(image, alpha=0.35 if n >= 15 else 1.0)
        seen = looks(np.asarray(bright, np.uint8), poses)
        ids.update(tracker.update(poses, n / 30, seen).ids.tolist())
    assert ids == {1}

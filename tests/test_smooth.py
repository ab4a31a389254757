"""Smoothing: how much steadier, how much later, and when it starts afresh."""

from __future__ import annotations

import numpy as np
import pytest
from demo_truth import RATE, noisy, perfect, sizes

from realtime.records import Poses
from realtime.smooth import MAX_GAP, OneEuro, Smoother

NOISE = 0.01  # of a person's size: 3 pixels for somebody 300 pixels tall


def one(x: float, number: int = 1) -> Poses:
    """A person 100 pixels tall with every joint at x, 50."""
    joints = np.full((1, 17, 2), [x, 50], np.float32)
    box = np.array([[x - 20, 0, x + 20, 100]], np.float32)
    ones = np.ones((1, 17), np.float32)
    return Poses(joints, ones, box, ones[:, 0], np.array([number]))


def test_the_jitter_of_a_still_person_is_at_most_half() -> None:
    """People of the demo scene frozen in frame 60 for 4 seconds, with noise; jitter is the root
    mean square of the movement of visible joints from frame to frame, after half a second. The
    spread around the true place is at most 65 %."""
    still, rng, smooth = perfect(0)[60], np.random.default_rng(0), Smoother()
    raw = [noisy(still, rng, NOISE) for _ in range(120)]
    out = [smooth(poses, i / RATE) for i, poses in enumerate(raw)]
    visible = still.joint_scores > 0.5
    before, after = (
        np.array([poses.joints_xy[visible] for poses in all_[15:]]) for all_ in (raw, out)
    )
    jitter = [np.sqrt((np.diff(x, axis=0) ** 2).mean()) for x in (before, after)]
    assert jitter[1] <= 0.5 * jitter[0]  # measured 0.34
    spread = [np.sqrt(((x - still.joints_xy[visible]) ** 2).mean()) for x in (before, after)]
    assert spread[1] <= 0.65 * spread[0]  # measured 0.55


def moving() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Times (T,), true and smoothed joints (T, 17, 2), in sizes, of everybody who is there for two
    seconds at a stretch."""
    frames, rng, smooth = perfect(0), np.random.default_rng(1), Smoother()
    out = [smooth(noisy(poses, rng, NOISE), i / RATE) for i, poses in enumerate(frames)]
    tracks = []
    for number in {int(i) for poses in frames for i in poses.ids}:
        there = [i for i, poses in enumerate(frames) if number in poses.ids]
        for run in np.split(there, np.flatnonzero(np.diff(there) > 1) + 1):
            if len(run) < 60:
                continue
            rows = [frames[i].ids.tolist().index(number) for i in run]
            size = np.median([sizes(frames[i])[k] for i, k in zip(run, rows)])
            true = np.array([frames[i].joints_xy[k] for i, k in zip(run, rows)])
            found = np.array([out[i].joints_xy[k] for i, k in zip(run, rows)])
            tracks.append((run / RATE, true / size, found / size))
    return tracks


def test_the_lag_is_less_than_a_frame() -> None:
    """The delay by which the truth fits the smoothed joints best (least squares over all joints of
    everybody who is there for two seconds at a stretch; the truth is read between frames by linear
    interpolation), at 30 frames a second, where a frame is 33 ms. For all together and for each
    person."""
    delays = np.arange(0, 0.1, 0.002)
    tracks = moving()
    assert len(tracks) > 2
    misfits = [
        [
            sum(
                float(((found[6:, j, c] - np.interp(t[6:] - d, t, true[:, j, c])) ** 2).sum())
                for j in range(17)
                for c in range(2)
            )
            for d in delays
        ]
        for t, true, found in tracks
    ]
    assert delays[np.argmin(np.sum(misfits, 0))] < 0.02  # measured 12 ms
    assert delays[np.argmin(misfits, 1)].max() < 1 / RATE  # measured 20 ms


def test_real_time_counts() -> None:
    """A step is followed the same way after the same time, whatever the frame rate (a filter of
    first order depends on the number of frames a little)."""
    reached = []
    for rate in (15, 30, 60):
        smooth = Smoother(OneEuro(beta=0))
        smooth(one(0), 0.0)
        for i in range(1, rate // 5 + 1):
            last = smooth(one(100), i / rate)
        reached.append(float(last.joints_xy[0, 0, 0]))
    assert max(reached) - min(reached) < 12 and 50 < min(reached) < max(reached) < 80


def test_what_comes_back_starts_afresh() -> None:
    smooth = Smoother()
    smooth(one(0), 0.0)
    assert 0 < smooth(one(50), 0.1).joints_xy[0, 0, 0] < 50
    smooth(Poses.empty(), 0.2)
    assert smooth(one(80), 0.3).joints_xy[0, 0, 0] < 80  # a short gap is bridged
    smooth(Poses.empty(), 0.4)
    assert smooth(one(500), 0.31 + MAX_GAP).joints_xy[0, 0, 0] == 500
    assert smooth(one(7), 0.1).joints_xy[0, 0, 0] == 7  # time went back
    assert smooth(one(9, 2), 0.2).joints_xy[0, 0, 0] == 9  # somebody else


@pytest.mark.parametrize("distance", [0.2, 0.3, 0.5, 1.0])
def test_frames_far_apart_are_smoothed_a_little(distance: float) -> None:
    """Someone who stands still at four or fewer frames a second trembles less, too; nobody is held
    back who goes on from there."""
    rng, smooth = np.random.default_rng(0), Smoother()
    raw = [float(x) for x in rng.normal(100, 1, 60)]
    out = [float(smooth(one(x), i * distance).joints_xy[0, 0, 0]) for i, x in enumerate(raw)]
    assert np.std(np.diff(out)) < 0.96 * np.std(np.diff(raw))
    assert smooth(one(200), 60 * distance).joints_xy[0, 0, 0] == pytest.approx(200, abs=3)


def test_people_without_ids_and_nobody_stay_as_they_are() -> None:
    smooth = Smoother()
    for i, x in enumerate((0.0, 50.0, 10.0)):
        found = smooth(one(x, -1), i / 30)
        assert (found.joints_xy[..., 0] == x).all()
    assert len(smooth(Poses.empty(), 1.0)) == 0


def test_boxes_are_smoothed_as_joints_are() -> None:
    smooth = Smoother()
    smooth(one(0), 0.0)
    found = smooth(one(50), 0.1)
    x = float(found.joints_xy[0, 0, 0])
    assert 0 < x < 50 and found.boxes_xyxy[0] == pytest.approx([x - 20, 0, x + 20, 100], abs=1e-3)


def test_order_and_company_do_not_matter() -> None:
    """Each person is smoothed as if alone, and nothing of what came in is changed."""
    rng = np.random.default_rng(2)
    frames = [noisy(poses, rng, NOISE) for poses in perfect(0)[:40]]
    together = Smoother()
    alone = {number: Smoother() for poses in frames for number in poses.ids.tolist()}
    for i, poses in enumerate(frames):
        copy = poses.joints_xy.copy()
        order = rng.permutation(len(poses))
        found = together(poses[order], i / RATE)
        assert found.ids.tolist() == poses.ids[order].tolist()
        assert np.array_equal(poses.joints_xy, copy)
        for number, smooth in alone.items():
            single = smooth(poses[poses.ids == number], i / RATE)
            if number not in poses.ids:
                continue
            k = found.ids.tolist().index(number)
            assert single.joints_xy[0] == pytest.approx(found.joints_xy[k], abs=1e-4)
            assert single.boxes_xyxy[0] == pytest.approx(found.boxes_xyxy[k], abs=1e-4)

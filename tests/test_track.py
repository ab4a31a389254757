"""Ids that stay with their people: crossings, misses, dropped frames; and predicted boxes."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from realtime.geometry import crop_boxes, iou
from realtime.records import Detections, Poses
from realtime.track import FRAMES, MAX_AGE, UNKNOWN, Tracker

SIZE_WH = (1280, 720)

# A standing person seen from the side: x from the middle, y from the top, in body heights; and
# how far each joint swings forward with the step of its side.
STANDING = np.array(
    [[.03, .08], [.02, .065], [.02, .065], [-.02, .075], [-.02, .075], [.02, .18], [-.02, .18],
     [.03, .34], [-.03, .34], [.04, .48], [-.04, .48], [.02, .5], [-.02, .5], [.02, .74],
     [-.02, .74], [0, .95], [0, .95]]
)  # fmt: skip
SWING = np.array(
    [0, 0, 0, 0, 0, 0, 0, -.06, .06, -.13, .13, 0, 0, .06, -.06, .15, -.15]
)  # fmt: skip


class Walker:
    """A person of `height` pixels at x + v * t (pixels, seconds), 1.8 steps a second."""

    def __init__(self, x, v, height=240.0, top=200.0, phase=0.0, bob=0.0):
        self.x, self.v, self.height, self.top = x, v, height, top
        self.phase, self.bob = phase, bob

    def joints(self, t):
        swing = np.sin(2 * np.pi * 0.9 * t + self.phase) * SWING
        facing = 1 if self.v >= 0 else -1
        x = facing * (STANDING[:, 0] + swing)
        middle = self.x + self.v * t, self.top + self.bob * np.sin(4 * t)
        return np.stack([x, STANDING[:, 1]], 1) * self.height + middle


def box_around(joints, height):
    low, high = joints.min(0), joints.max(0)
    return np.concatenate([low - [0.05 * height, 0.08 * height], high + 0.05 * height])


def observed(walkers, t, rng, noise=1.0, visible=None):
    """Poses and who they are (indices), in random order."""
    who = rng.permutation([i for i in range(len(walkers)) if visible is None or visible(i, t)])
    joints = [walkers[i].joints(t) + rng.normal(0, noise, (17, 2)) for i in who]
    boxes = [
        box_around(j, walkers[i].height) + rng.normal(0, noise, 4) for i, j in zip(who, joints)
    ]
    return poses_of(joints, boxes), who


def poses_of(joints, boxes, joint_score=0.7):
    count = len(joints)
    return Poses(
        np.array(joints, np.float32).reshape(count, 17, 2),
        np.full((count, 17), joint_score, np.float32),
        np.array(boxes, np.float32).reshape(count, 4),
        np.full(count, 0.8, np.float32),
        np.full(count, -1, np.int64),
    )


def detections_of(boxes, scores=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.full(len(boxes), 0.8) if scores is None else scores
    return Detections(boxes, np.array(scores, np.float32))


def follow(walkers, times, noise=1.0, visible=None, seed=0):
    """(person, id) of everybody in every frame."""
    rng = np.random.default_rng(seed)
    tracker = Tracker()
    pairs = []
    for t in times:
        poses, who = observed(walkers, t, rng, noise, visible)
        pairs.append(list(zip(who.tolist(), tracker.update(poses, t).ids.tolist())))
    return pairs


def switches(pairs):
    """How often a person has another id than the time before."""
    last, count = {}, 0
    for frame in pairs:
        for person, identity in frame:
            count += last.get(person, identity) != identity
            last[person] = identity
    return count


def idf1(pairs):
    """Ristani et al. 2016: the one-to-one pairing of people and ids that explains most
    appearances; every appearance here has a true position, so only the ids can be wrong."""
    together = Counter(pair for frame in pairs for pair in frame)
    people = sorted({person for person, _ in together})
    ids = sorted({identity for _, identity in together})
    table = np.array([[together[p, i] for i in ids] for p in people])
    rows, columns = linear_sum_assignment(-table)
    return table[rows, columns].sum() / table.sum()


def times(seconds, rate, keep=None):
    steps = range(int(seconds * rate))
    return [n / rate for n in steps if keep is None or keep(n)]


CROSSING = [Walker(200, 150), Walker(900, -150, phase=2)]
GROUP = [Walker(100, 140), Walker(1100, -170, phase=1), Walker(500, 0, phase=2),
         Walker(150, 230, top=215), Walker(760, -60, height=215, top=190)]  # fmt: skip


def test_the_measure_itself():
    """A swap half way: two switches, and half of the appearances are explained."""
    swapped = [[(0, 1), (1, 2)]] * 10 + [[(0, 2), (1, 1)]] * 10
    assert switches(swapped) == 2 and idf1(swapped) == 0.5
    assert switches(swapped[:10]) == 0 and idf1(swapped[:10]) == 1


@pytest.mark.parametrize("rate", [60, 30, 15, 10, 6])
@pytest.mark.parametrize("walkers", [CROSSING, GROUP], ids=["crossing", "group"])
def test_no_switch_when_people_cross(walkers, rate):
    for seed in range(2):
        pairs = follow(walkers, times(5, rate), seed=seed)
        assert switches(pairs) == 0 and idf1(pairs) == 1


def test_no_switch_with_noise_of_a_real_network():
    """4 pixels on a person of 240: about the error of a network of AP 0.7."""
    pairs = follow(GROUP, times(5, 30), noise=4.0)
    assert switches(pairs) == 0 and idf1(pairs) == 1


def test_no_switch_when_live_frames_drop():
    """Of 30 frames a second, random two thirds are lost, and once half a second at a stretch."""
    dropped = np.random.default_rng(5).random(200) < 0.66
    for walkers in (CROSSING, GROUP):
        kept = times(5, 30, lambda n: not dropped[n] and not 40 <= n < 55)
        pairs = follow(walkers, kept)
        assert switches(pairs) == 0


def test_the_person_behind_is_missed_and_gets_the_id_back():
    """In a crossing the hidden one is not found while the boxes overlap, here for 0.7 s."""

    def visible(person, t):
        return person == 0 or abs(CROSSING[0].x + 150 * t - (CROSSING[1].x - 150 * t)) > 100

    pairs = follow(CROSSING, times(5, 30), visible=visible)
    hidden = sum(len(frame) == 1 for frame in pairs)
    assert 15 <= hidden <= 25
    assert switches(pairs) == 0 and idf1(pairs) == 1


def test_random_misses():
    """One appearance in five is missing."""
    holes = np.random.default_rng(3).random((10, 200)) < 0.2
    pairs = follow(GROUP, times(5, 30), visible=lambda i, t: not holes[i, round(t * 30)])
    assert switches(pairs) == 0


@pytest.mark.parametrize(("away", "same"), [(MAX_AGE - 0.1, True), (MAX_AGE + 0.1, False)])
def test_an_id_lives_for_seconds_of_time(away, same):
    """Whatever the number of frames, of somebody who was there for half a second."""
    joints = Walker(300, 0).joints(0)
    poses = poses_of([joints], [box_around(joints, 240)])
    for rate in (5, 30, 200):
        tracker = Tracker()
        tracker.update(poses, 0.0)
        tracker.update(poses, 0.5)
        for t in times(away, rate)[1:]:
            assert len(tracker.update(Poses.empty(), 0.5 + t)) == 0
        assert (tracker.update(poses, 0.5 + away).ids[0] == 1) == same


@pytest.mark.parametrize(("away", "same"), [(UNKNOWN - 0.05, True), (UNKNOWN + 0.05, False)])
def test_an_id_of_one_frame_is_forgotten_soon(away, same):
    """Wrong people, who are seen shortly, must not become real ones."""
    joints = Walker(300, 0).joints(0)
    poses = poses_of([joints], [box_around(joints, 240)])
    tracker = Tracker()
    tracker.update(poses, 0.0)
    for n in range(1, 6):
        tracker.update(Poses.empty(), away * n / 6)
    assert (tracker.update(poses, away).ids[0] == 1) == same


def test_few_frames_a_second_do_not_make_people_unknown():
    joints = Walker(300, 0).joints(0)
    poses = poses_of([joints], [box_around(joints, 240)])
    tracker = Tracker()
    for t in (0.0, 0.8, 1.6, 2.4):
        assert tracker.update(poses, t).ids.tolist() == [1]


@pytest.mark.parametrize("distance", [1.0, 1.5, 3.5, 30.0])
def test_a_time_lapse_keeps_ids(distance):
    """Three people who stand and three who go a few steps between two frames."""
    still = [Walker(150, 0, height=100), Walker(600, 0, height=200), Walker(1000, 0)]
    assert switches(follow(still, [n * distance for n in range(12)])) == 0
    slow = [Walker(200, 25 / distance), Walker(700, -20 / distance), Walker(1100, -30 / distance)]
    assert switches(follow(slow, [n * distance for n in range(12)])) == 0


@pytest.mark.parametrize(("rate", "same"), [(30, False), (0.25, True)])
def test_a_stall_is_no_time_lapse(rate, same):
    """Four seconds without a frame are longer than an id lives, unless frames are as far apart."""
    joints = Walker(300, 0).joints(0)
    poses = poses_of([joints], [box_around(joints, 240)])
    tracker = Tracker()
    for n in range(3):
        tracker.update(poses, n / rate)
    assert (tracker.update(poses, 2 / rate + 4).ids[0] == 1) == same


@pytest.mark.parametrize(("missed", "same"), [(FRAMES, True), (FRAMES + 1, False)])
def test_a_time_lapse_forgets_whom_it_misses_for_some_frames(missed, same):
    joints = Walker(300, 0).joints(0)
    poses = poses_of([joints], [box_around(joints, 240)])
    tracker = Tracker()
    for n in range(5):
        tracker.update(poses, 10.0 * n)
    for n in range(missed):
        tracker.update(Poses.empty(), 50.0 + 10 * n)
    assert (tracker.update(poses, 50.0 + 10 * missed).ids[0] == 1) == same


def test_people_who_are_not_sure_do_not_lead_a_track_astray():
    """Half hidden, somebody is found a little off by those who are not sure, then rightly."""
    tracker, walker = Tracker(least=0.3), Walker(300, -120)
    for t in times(1, 30):
        joints = walker.joints(t)
        tracker.update(poses_of([joints], [box_around(joints, 240)]), t)
    for n in range(1, 7):
        joints = walker.joints(1) + [40 + 10 * n, 0]  # on, with somebody who goes the other way
        weak = poses_of([joints], [box_around(joints, 240)])
        weak.scores[:] = 0.2
        tracker.update(weak, t + n / 30)
    joints = walker.joints(t + 0.25)
    poses = poses_of([joints], [box_around(joints, 240)])
    assert tracker.update(poses, t + 0.25).ids.tolist() == [1]


def test_ids_count_from_1_and_are_never_used_again():
    tracker = Tracker()
    given = []
    for n in range(5):
        top = 1000 * n
        joints = [Walker(200, 0, top=top).joints(0), Walker(700, 0, top=top).joints(0)]
        poses = poses_of(joints, [box_around(j, 240) for j in joints])
        given += tracker.update(poses, 10.0 * n).ids.tolist()
    assert given == list(range(1, 11))


def test_a_source_that_starts_over_ends_the_tracks_but_a_small_step_back_does_not():
    joints = Walker(200, 0).joints(0)
    poses = poses_of([joints], [box_around(joints, 240)])
    tracker = Tracker()
    assert [int(tracker.update(poses, t).ids[0]) for t in (50, 50.1, 50.06, 50.2)] == [1, 1, 1, 1]
    assert tracker.update(poses, 0.0).ids[0] == 2
    assert tracker.update(poses, 0.1).ids[0] == 2


def test_a_fast_runner_is_one_person_from_the_second_frame():
    """Four body heights a second (7 m/s) at 20 frames a second: a fifth of the height a frame."""
    pairs = follow([Walker(50, 960)], times(1.2, 20))
    assert switches(pairs) == 0


def test_people_without_sure_joints_are_followed_by_their_boxes():
    rng = np.random.default_rng(0)
    tracker = Tracker()
    for t in times(2, 30):
        poses, who = observed(CROSSING[:1], t, rng)
        unsure = poses_of(rng.uniform(0, 700, (1, 17, 2)), poses.boxes_xyxy, joint_score=0.0)
        assert tracker.update(unsure, t).ids.tolist() == [1]


def live(walkers, rate, seconds, every, score=None, seed=0):
    """Drive the tracker as a live run does, the detector on every `every`-th frame; yields the
    time, the true boxes, the boxes used, and the tracker."""
    rng = np.random.default_rng(seed)
    tracker = Tracker()
    for n, t in enumerate(times(seconds, rate)):
        truth = [w.joints(t) for w in walkers]
        true_boxes = np.array([box_around(j, w.height) for j, w in zip(truth, walkers)])
        if n % every == 0:
            found = last = detections_of(true_boxes)
        else:
            found = tracker.predicted(t, SIZE_WH, last)
        yield t, true_boxes, found.search_xyxy, tracker
        joints = [j + rng.normal(0, 2, (17, 2)) for j in truth]
        poses = replace(poses_of(joints, found.boxes_xyxy), wider_xyxy=found.wider_xyxy)
        if score is not None:
            poses.joint_scores[:] = score(n)
        tracker.update(poses, t)


@pytest.mark.parametrize("every", [5, 150])
def test_predicted_boxes_follow_a_walking_person(every):
    """They neither shrink nor drift: also with the only detection in the first frame. What
    counts is the crop; the box of a walking person gets twice as wide and narrow again."""
    overlaps = []
    for _, true, used, _ in live([Walker(150, 180, bob=20)], 30, 5, every):
        crops = [crop_boxes(boxes.astype(np.float32), (192, 256)) for boxes in (true, used)]
        overlaps.append(iou(*crops)[0, 0])
    assert min(overlaps) > 0.85 and np.mean(overlaps) > 0.92


def test_predicted_boxes_keep_joints_that_fade():
    """The legs are not seen for a second: the box keeps its height, so they can be found again."""

    def score(n):
        scores = np.full(17, 0.7)
        scores[11:] = 0.05 if 10 < n < 40 else 0.7
        return scores

    for _, true, used, _ in live([Walker(150, 100)], 30, 3, every=90, score=score):
        assert used[0, 3] > true[0, 3] - 15 and used[0, 1] < true[0, 1] + 15


def one_standing():
    """A tracker that has just been given a detected person, the person's joints and detection."""
    joints = Walker(300, 0).joints(0)
    tracker = Tracker()
    tracker.update(poses_of([joints], [box_around(joints, 240)]), 0.0)
    return tracker, joints, detections_of([box_around(joints, 240)])


def test_predicted_boxes_hold_an_arm_that_is_raised():
    tracker, joints, last = one_standing()
    for n in range(1, 20):
        raised = joints.copy()
        raised[9] = joints[5] + [60 * np.sin(n / 12), -80 * np.sin(n / 12)]
        found = tracker.predicted(n / 30, SIZE_WH, last)
        own, used = found.boxes_xyxy[0], found.search_xyxy[0]
        poses = replace(poses_of([raised], [own]), wider_xyxy=used[None])
        np.testing.assert_array_equal(tracker.update(poses, n / 30).boxes_xyxy[0], own)
    assert used[0] <= raised[9, 0] <= used[2] and used[1] <= raised[9, 1]
    assert used[3] >= joints[:, 1].max()
    assert own[1] > used[1]


def test_a_wrong_joint_cannot_make_the_box_run_away():
    tracker, joints, last = one_standing()
    for n in range(1, 60):
        used = tracker.predicted(n / 30, SIZE_WH, last).search_xyxy[0]
        wrong = joints.copy()
        wrong[9] = used[2:] + 30  # always just outside
        tracker.update(poses_of([wrong], [used]), n / 30)
        assert used[2] - used[0] < 2.5 * 240 and used[3] - used[1] < 2 * 240


def test_predicted_detections_are_sorted_and_keep_the_scores_of_the_detection():
    """Also over many frames, although the poses weigh them with their joints every time."""
    joints = [Walker(x, 0).joints(0) for x in (500, 800, 200)]
    last = detections_of([box_around(j, 240) for j in joints], [0.9, 0.7, 0.5])
    tracker = Tracker()
    found = last
    for n in range(8):
        poses = poses_of(joints, found.boxes_xyxy)
        poses.scores[:] = found.scores * 0.6
        assert tracker.update(poses, n / 30).ids.tolist() == [1, 2, 3]
        found = tracker.predicted((n + 1) / 30, SIZE_WH, last)
        np.testing.assert_array_equal(found.scores, last.scores)
        assert (np.abs(found.boxes_xyxy - last.boxes_xyxy) < 15).all()


def test_boxes_worked_out_ahead_are_not_taken_for_detected_ones():
    """The detector is ahead of the tracker by some frames."""
    tracker, joints = Tracker(), Walker(400, 0).joints(0)
    box, ahead = box_around(joints, 240), (0.1, 0.2)
    tracker.update(poses_of([joints], [box]), 0.0)
    for t in ahead:
        assert len(tracker.predicted(t, SIZE_WH, detections_of([box]))) == 1
    for t in ahead:
        tracker.update(poses_of([joints], [box + [-60, -60, 60, 60]]), t)
    then = tracker.predicted(0.3, SIZE_WH, detections_of([box]))
    np.testing.assert_allclose(then.boxes_xyxy, [box], atol=1)


def test_nobody_is_predicted_out_of_the_picture_or_after_a_stall():
    tracker = Tracker()
    rng = np.random.default_rng(0)
    walkers = [Walker(600, 0), Walker(1150, 400)]
    for t in times(0.3, 30):
        poses, _ = observed(walkers, t, rng)
        tracker.update(poses, t)
    last = detections_of(poses.boxes_xyxy)
    assert len(tracker.predicted(t + 0.03, SIZE_WH, last)) == 2
    left = tracker.predicted(t + 0.4, SIZE_WH, last)
    assert len(left) == 1 and left.boxes_xyxy[0, 0] < 640
    assert (left.boxes_xyxy >= 0).all()
    assert len(tracker.predicted(t + 0.6, SIZE_WH, last)) == 0


def test_nobody_is_predicted_who_was_not_in_the_last_frame():
    tracker = Tracker()
    rng = np.random.default_rng(0)
    poses, _ = observed(CROSSING, 0.0, rng)
    last = detections_of(poses.boxes_xyxy)
    tracker.update(poses, 0.0)
    assert len(tracker.predicted(0.03, SIZE_WH, last)) == 2
    tracker.update(observed(CROSSING, 0.03, rng, visible=lambda i, t: i == 0)[0], 0.03)
    assert len(tracker.predicted(0.06, SIZE_WH, last)) == 1
    assert len(tracker.predicted(0.06, SIZE_WH, Detections.empty())) == 0


def test_lost_when_somebody_is_missing_and_only_once():
    tracker = Tracker()
    rng = np.random.default_rng(0)
    seen = []
    for n in range(6):
        visible = None if n != 3 and n != 4 else (lambda i, t: i == 0)
        tracker.update(observed(CROSSING, n / 30, rng, visible=visible)[0], n / 30)
        seen.append(tracker.lost)
    assert seen == [False, False, False, True, False, False]


def test_lost_when_the_joints_fade_in_a_predicted_box_until_detected_again():
    tracker, joints, last = one_standing()  # joint scores 0.7
    box = last.boxes_xyxy
    assert not tracker.lost
    for t, score, lost in ((0.1, 0.5, False), (0.2, 0.3, True)):
        tracker.predicted(t, SIZE_WH, last)
        tracker.update(poses_of([joints], box, score), t)
        assert tracker.lost == lost
    tracker.update(poses_of([joints], box, 0.3), 0.3)  # a detection: it is just a dim person
    assert not tracker.lost
    tracker.predicted(0.4, SIZE_WH, last)
    tracker.update(poses_of([joints], box, 0.28), 0.4)
    assert not tracker.lost


@st.composite
def any_frame(draw):
    """Up to five people, some of them identical, some without size or joints."""
    count = draw(st.integers(0, 5))
    seeds = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    joints, boxes, joint_scores = [], [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        joints.append(rng.uniform(-100, 900, 2) + rng.uniform(0, 200, (17, 2)) * (seed > 0))
        boxes.append(np.concatenate([joints[-1].min(0), joints[-1].max(0)]))
        joint_scores.append(rng.uniform(0, 1, 17) * (seed != 2))
    poses = poses_of(joints, boxes)
    poses.joint_scores[:] = np.array(joint_scores).reshape(count, 17)
    step = draw(st.sampled_from([0.0, 1e-9, 1 / 30, 0.4, 5.0, -0.01, -30.0]))
    return poses, step, draw(st.booleans())


@settings(deadline=None, derandomize=True)
@given(st.lists(any_frame(), max_size=8))
def test_any_frames_in_any_order(frames):
    tracker = Tracker()
    t, highest, last_seen, ts = 0.0, 0, {}, []
    for poses, step, predict in frames:
        t += step
        if predict:
            found = tracker.predicted(t, SIZE_WH, detections_of([[0, 0, 99, 99], [9, 9, 9, 9]]))
            assert np.isfinite(found.boxes_xyxy).all()
            assert (np.diff(found.scores) <= 0).all()
        before = [np.copy(part) for part in _parts(poses)]
        tracked = tracker.update(poses, t)
        ids = tracked.ids.tolist()
        for part, old in zip(_parts(poses), before):
            np.testing.assert_array_equal(part, old)
        for part, old in zip(_parts(tracked)[:4], before):
            np.testing.assert_array_equal(part, old)
        assert len(set(ids)) == len(ids) and all(i >= 1 for i in ids)
        new = [i for i in ids if i not in last_seen]
        assert new == list(range(highest + 1, highest + 1 + len(new)))
        known_from = min([t - MAX_AGE, *ts[-FRAMES - 1 :]])
        assert all(last_seen[i] >= known_from for i in ids if i in last_seen)
        ts.append(t)
        highest += len(new)
        last_seen.update(dict.fromkeys(ids, t))


def _parts(poses):
    return poses.joints_xy, poses.joint_scores, poses.boxes_xyxy, poses.scores, poses.ids

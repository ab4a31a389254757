"""Ids on the demo scene's truth by a published measure; who is followed; the tracker's limits."""

import importlib.util
import json
import sys
from pathlib import Path
from time import process_time

import cv2
import demo_truth
import numpy as np
import pytest
from commandline import demo
from hypothesis import given, settings
from hypothesis import strategies as st
from test_track import CROSSING, GROUP, Walker, box_around, observed, poses_of, times

from realtime.choice import EVERYBODY, parse_choice
from realtime.cli import parse
from realtime.errors import UsageError
from realtime.follow import Follower, Sought
from realtime.kalman import Motion
from realtime.opening import open_source
from realtime.over_time import OverTime
from realtime.records import Poses
from realtime.scene import Scene
from realtime.track import UNKNOWN, Tracker

SIZE_WH = (1280, 720)


def benchmark():
    """benchmarks/ids.py as a module."""
    pytest.importorskip("motmetrics", reason="the measure of ids is that of motmetrics")
    path = Path(__file__).resolve().parent.parent / "benchmarks" / "ids.py"
    spec = importlib.util.spec_from_file_location("benchmark_ids", path)
    module = sys.modules["benchmark_ids"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ids_of_the_demo_scene_by_motmetrics():
    """The true people as a good network finds them, for 3 s with six people who cross: IDF1."""
    measure = benchmark()
    scene = Scene(0, 100, demo_truth.SIZE_WH, demo_truth.RATE)
    rng = np.random.default_rng(1)
    items = []
    for index in range(len(scene)):
        truth = scene.truth(index)
        scores = np.where(truth.visible, 0.9, 0.4).astype(np.float32)
        ids = np.full(len(truth), -1, np.int64)
        poses = Poses(truth.joints_xy, scores, truth.boxes_xyxy, scores.mean(1), ids)
        poses = demo_truth.noisy(poses, rng, 0.01)[truth.visible_share > 0.25]
        items.append((index / scene.rate, poses[rng.permutation(len(poses))], truth))
    result = measure.score(measure.follow(items), demo_truth.SIZE_WH)
    assert result.people > 200
    assert result.idf1 >= 0.95 and result.mota >= 0.95
    anonymous = [(t, p.with_ids(np.arange(len(p)) + 100 * n), q)
                 for n, (t, p, q) in enumerate(items)]  # fmt: skip
    assert measure.score(anonymous, demo_truth.SIZE_WH).idf1 < 0.1


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 1000))
def test_the_order_of_the_people_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    one, other = Tracker(), Tracker()
    for t in times(1.0, 15):
        poses, _ = observed(GROUP, t, rng)
        order = rng.permutation(len(poses)) if t else np.arange(len(poses))
        ids = one.update(poses, t).ids
        assert other.update(poses[order], t).ids.tolist() == ids[order].tolist()


@pytest.mark.parametrize("away", [0.3, 1.0, 2.0])
def test_somebody_who_walks_on_behind_something_keeps_the_id(away):
    """A walker at 100 pixels a second, hidden for some time, beside somebody who stands."""
    tracker, rng = Tracker(), np.random.default_rng(0)
    walkers = [Walker(200, 100), Walker(900, 0, top=230)]
    for t in times(4, 30):
        hidden = 1.0 < t < 1.0 + away
        poses, who = observed(walkers, t, rng, visible=lambda i, t, h=hidden: i == 1 or not h)
        ids = dict(zip(who.tolist(), tracker.update(poses, t).ids.tolist(), strict=True))
        if t == 0:
            first = ids
        assert all(first[person] == ids[person] for person in ids)


def test_somebody_of_another_size_at_the_same_place_is_somebody_else():
    tracker = Tracker()
    near, far = Walker(300, 0, height=400, top=100), Walker(300, 0, height=110, top=220)
    for t, walker in ((0.0, near), (0.1, near), (1.5, far)):
        joints = walker.joints(t)
        ids = tracker.update(poses_of([joints], [box_around(joints, walker.height)]), t).ids
        if t == 0.1:
            tracker.update(Poses.empty(), 0.2)
    assert ids.tolist() == [2]


def test_who_is_left_out_does_not_stand_for_somebody_else():
    tracker = Tracker(least=0.5)
    for n in range(10):
        joints = [Walker(800, 0).joints(0), Walker(300, 200).joints(n / 10)]
        poses = poses_of(joints, [box_around(j, 240) for j in joints])
        poses.scores[:] = 0.4, 0.8
        found = tracker.update(poses, n / 10)
        assert found.ids.tolist() == [1]
        np.testing.assert_array_equal(found.joints_xy, poses.joints_xy[1:])


def test_the_one_in_the_middle_of_the_picture_is_followed_of_two_the_lower_id():
    boxes = np.float32([[0, 0, 100, 100], [250, 180, 350, 280], [540, 380, 639, 479]])
    poses = poses_of(np.zeros((3, 17, 2)), boxes).with_ids(np.array([1, 7, 3]))
    assert Follower("center")(poses, poses.ids, (640, 480)).ids.tolist() == [7]
    poses.boxes_xyxy[2] = poses.boxes_xyxy[1]
    for choice in ("center", "largest"):
        order = poses[[1, 2, 0]].with_ids(np.array([7, 3, 1]))
        order.boxes_xyxy[2] = [0, 0, 9, 9]
        assert Follower(choice)(order, order.ids, (640, 480)).ids.tolist() == [3]


def test_who_is_not_sure_may_be_known_but_is_never_new():
    joints = [Walker(300, 0).joints(0), Walker(800, 0).joints(0)]
    poses = poses_of(joints, [box_around(j, 240) for j in joints])
    tracker = Tracker(least=0.5)
    poses.scores[:] = 0.8, 0.4
    for t in (-0.5, 0.0):
        assert tracker.update(poses, t).ids.tolist() == [1]
    poses.scores[:] = 0.3, 0.4
    again = tracker.update(poses, 0.03)
    assert again.ids.tolist() == [1] and tracker.lost  # not confirmed: nothing is learned from it
    np.testing.assert_array_equal(again.joints_xy, poses.joints_xy[:1])
    assert len(tracker.update(poses[1:], 0.06)) == 0
    assert len(tracker.update(poses[:1], 1.0)) == 0  # too long ago to be believed
    poses.scores[:] = 0.8, 0.8
    assert tracker.update(poses, 1.1).ids.tolist() == [1, 2]


def test_a_thousand_people_take_bounded_time():
    """About 1,000 x 1,000 comparisons of 17 joints a frame: seconds at most, not minutes."""
    rng = np.random.default_rng(0)
    walkers = [Walker(rng.uniform(0, 9000), 0, top=rng.uniform(0, 9000)) for _ in range(1000)]
    joints = [walker.joints(0) for walker in walkers]
    poses = poses_of(joints, [box_around(j, 240) for j in joints])
    tracker, began = Tracker(), process_time()
    for n in range(2):
        ids = tracker.update(poses, n / 30).ids
    assert process_time() - began < 20
    assert ids.tolist() == list(range(1, 1001))


def test_the_filter_finds_the_velocity_and_its_doubt_grows_with_time():
    size, speed = np.array([100.0]), np.array([[120.0, -40.0]])
    motion = Motion.start(size)
    for _ in range(60):
        motion = motion.ahead(np.array([1 / 30]), size).measured(speed / 30, size)
    np.testing.assert_allclose(motion.velocity, speed, rtol=0.02)
    spreads = [motion.ahead(np.array([t]), size).spread[0] for t in (0.0, 0.1, 1.0, 3.0)]
    assert spreads == sorted(spreads) and spreads[0] < 5 < spreads[2]
    whole = motion.ahead(np.array([0.7]), size)
    halves = motion.ahead(np.array([0.3]), size).ahead(np.array([0.4]), size)
    np.testing.assert_allclose(whole.covariance, halves.covariance)
    np.testing.assert_allclose(whole.off, halves.off)


def people(*rows):
    """Poses of (id, x of the middle, size); all at the height of the middle of the picture."""
    boxes = [[x - s / 2, 360 - s / 2, x + s / 2, 360 + s / 2] for _, x, s in rows]
    poses = poses_of(np.zeros((len(rows), 17, 2)), boxes)
    return poses.with_ids(np.array([row[0] for row in rows], np.int64).reshape(-1))


@pytest.mark.parametrize(("rank", "first"), [("largest", 7), ("center", 3)])
def test_the_follower_stays_with_whom_it_chose(rank, first):
    follow = Follower(rank)
    start = people((3, 650, 100), (7, 200, 200))
    assert follow(Poses.empty(), Poses.empty().ids, SIZE_WH).ids.tolist() == []
    assert follow(start, start.ids, SIZE_WH).ids.tolist() == [first]
    better = people((3, 650, 100), (7, 200, 200), (9, 640, 500))
    assert follow(better, better.ids, SIZE_WH).ids.tolist() == [first]
    others = better[better.ids != first]
    assert len(follow(others, better.ids, SIZE_WH)) == 0
    assert follow(better, better.ids, SIZE_WH).ids.tolist() == [first]
    assert len(follow(Poses.empty(), others.ids, SIZE_WH)) == 0
    assert follow(others, others.ids, SIZE_WH).ids.tolist() == [9]
    assert follow(start, start.ids, SIZE_WH).ids.tolist() == [first]  # the source starts over


def test_somebody_is_chosen_anew_when_the_tracker_forgets_the_id():
    """A box that was large and wrong in one frame is forgotten long before a person would be."""
    tracker, follow, nobody = Tracker(), Follower("largest"), []
    for n in range(60):
        walker = Walker(300, 0) if n else Walker(900, 0, height=600, top=50)
        joints = walker.joints(0)
        poses = tracker.update(poses_of([joints], [box_around(joints, walker.height)]), n / 30)
        nobody += [n / 30] if len(follow(poses, tracker.known_ids, SIZE_WH)) == 0 else []
    assert nobody and max(nobody) <= UNKNOWN


@pytest.mark.parametrize("distance", [1 / 30, 5.0])
def test_who_is_followed_is_waited_for_as_long_as_the_tracker_does(distance):
    """Also in a time lapse, where each frame is longer ago than ids last at usual rates."""
    tracker, follow = Tracker(), Follower("largest")
    joints = [Walker(300, 0, height=300).joints(0), Walker(900, 0, height=200).joints(0)]
    both = poses_of(joints, [box_around(joints[0], 300), box_around(joints[1], 200)])
    other = both[1:]
    seen = [both] * 20 + [other] * 2 + [both] * 3
    ids = []
    for n, poses in enumerate(seen):
        poses = tracker.update(poses, n * distance)
        ids += [follow(poses, tracker.known_ids, SIZE_WH).ids.tolist()]
    assert ids == [[1]] * 20 + [[]] * 2 + [[1]] * 3


def test_an_id_is_followed_alone():
    follow = Follower(3)
    both = people((3, 650, 100), (7, 200, 200))
    ids = [follow(p, p.ids, SIZE_WH).ids.tolist() for p in (both, both[1:])]
    assert ids == [[3], []]
    follow = Follower("largest")
    assert follow(both[:1], both.ids, SIZE_WH).ids.tolist() == [3]


def test_an_id_that_was_never_seen_is_told():
    sought = Sought(99)
    assert sought.note == "id 99 was never seen; nobody had one"
    for ids in ([3, 1], [], [-1], [2, 1]):
        sought.look(np.array(ids, np.int64))
    assert sought.note == "id 99 was never seen; ids were 1, 2, 3"
    sought.look(np.setdiff1d(np.arange(200), [99]))
    assert sought.note.endswith(" 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...")
    sought.look(np.array([4, 99]))
    sought.look(np.array([4]))
    assert sought.note == Sought("largest").note == ""


def test_a_run_says_when_nobody_has_the_id_and_misses_nobody_else(tmp_path):
    path = tmp_path / "r.json"
    result = demo("--select", "99", "--end", "3", "--report", path)
    assert result.code == 0 and "note: id 99 was never seen; ids were 1, 2" in result.err
    assert "mean error" not in result.err and "of people found" not in result.err
    assert json.loads(path.read_text())["demo"]["found"] is None
    result = demo("--select", "1", "--end", "3", "--report", path, "--overwrite")
    assert result.code == 0 and "never seen" not in result.err
    assert "demo: mean error" in result.err and "of people found" not in result.err


@pytest.mark.parametrize("text", ["0", "-1", "biggest", "", "1.5", "²"])
def test_what_cannot_be_selected(text):
    with pytest.raises(UsageError, match="--select .*largest, center, none or an id"):
        parse_choice(text)
    assert [parse_choice(t) for t in ("Largest", "12", "none")] == ["largest", 12, "none"]


def test_the_command_line_takes_select(tmp_path):
    assert parse([]).select == "none"
    assert parse(["--select", "center"]).select == "center"
    config = tmp_path / "run.toml"
    config.write_text("select = 4\n", "utf-8")
    assert parse(["--config", str(config)]).select == "4"
    with pytest.raises(UsageError, match="expected largest"):
        parse(["--select", "tallest"])


@pytest.mark.parametrize("name", ["frames", "frames/*.png", "frames/a.png"])
def test_nobody_is_followed_through_independent_images(tmp_path, monkeypatch, name):
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "a.png"), np.full((48, 64, 3), 90, np.uint8))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--select largest: independent .* add --sequence"):
        open_source(parse(["--input", name, "--select", "largest"]))
    for more in (["--select", "largest", "--sequence"], ["--select", "none"]):
        assert open_source(parse(["--input", name, *more])).info.frames == 1


@pytest.mark.parametrize(("independent", "count"), [(True, 1), (False, 2)])
def test_whoever_is_half_as_sure_is_for_the_tracker_only(independent, count):
    """It leaves those out whom it does not know; nobody does that in independent images."""
    joints = [Walker(x, 0).joints(0) for x in (300, 800)]
    poses = poses_of(joints, [box_around(one, 240) for one in joints])
    poses.scores[:] = 0.8, 0.2
    over_time = OverTime(0.3, False, EVERYBODY, False, independent)
    assert len(over_time.sure(poses)) == count


def test_two_people_who_cross_are_followed_as_one():
    """The one chosen before the crossing is the one after it."""
    tracker, rng = Tracker(), np.random.default_rng(0)
    follow, seen = Follower("largest"), set()
    for t in times(5, 30):
        poses, who = observed(CROSSING, t, rng)
        one = follow(tracker.update(poses, t), tracker.known_ids, SIZE_WH)
        assert len(one) == 1
        seen.add(int(who[(poses.boxes_xyxy == one.boxes_xyxy).all(1)][0]))
    assert len(seen) == 1

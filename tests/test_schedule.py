"""When the detector runs: ahead on key frames of files, and between the tracker's boxes live."""

import inspect
import weakref
from itertools import cycle, pairwise
from threading import Timer

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import InputError
from realtime.flow import Edge
from realtime.geometry import crop_boxes, iou
from realtime.pipeline import lateness
from realtime.records import Detections, Frame, Poses
from realtime.schedule import LiveSchedule, detect_sparsely, interpolated
from realtime.track import Tracker

SIZE_WH = (640, 480)
steady = settings(deadline=None, derandomize=True)  # shared machines, the same every time


def picture():
    return np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8)


def boxes_of(*people):
    """Detections from (x0, y0, x1, y1, score), sorted."""
    rows = np.array(sorted(people, key=lambda row: -row[4]), np.float32).reshape(-1, 5)
    return Detections(rows[:, :4].copy(), rows[:, 4].copy())


def walker(x, v, score=0.9, top=100.0, wide=80.0, high=200.0):
    """time -> one person's row, walking at v pixels per second."""
    return lambda t: (x + v * t, top, x + wide + v * t, top + high, score)


class Detector:
    """Finds the people of a script exactly, and remembers what it was asked."""

    def __init__(self, *people):
        self.people = people
        self.calls = []

    def __call__(self, frames):
        assert len(frames) > 0
        self.calls.append([frame.index for frame in frames])
        return [self.at(frame.time) for frame in frames]

    def at(self, t):
        rows = [person(t) for person in self.people]
        return boxes_of(*(row for row in rows if row is not None))

    @property
    def seen(self):
        return sorted(index for call in self.calls for index in call)


class Film:
    """A generator of frames that tells how many are alive and whether it was closed."""

    def __init__(self, count, rate=30.0, times=None):
        self.times = [n / rate for n in range(count)] if times is None else times
        self.read, self.closed = 0, False
        self._images = []

    def frames(self):
        try:
            for n, t in enumerate(self.times):
                image = picture()
                self._images.append(weakref.ref(image))
                self.read = n + 1
                yield Frame(n, t, image)
        finally:
            self.closed = True

    @property
    def alive(self):
        """How many frames somebody still holds."""
        return sum(image() is not None for image in self._images)


def run(film, detector, every, batch):
    return list(detect_sparsely(film.frames(), detector, every, batch))


PASSING = walker(50, 90), walker(500, -60, 0.7), walker(300, 0, 0.8, top=30)


@steady
@given(st.integers(0, 40), st.integers(1, 12), st.integers(1, 9))
def test_every_frame_once_in_order_in_full_batches(count, every, batch):
    film, detector = Film(count), Detector(*PASSING)
    groups = run(film, detector, every, batch)
    indices = [frame.index for group in groups for frame, _ in group]
    assert indices == list(range(count)) and film.closed
    assert all(len(group) == batch for group in groups[:-1])
    assert all(1 <= len(group) <= batch for group in groups)
    assert all(len(call) <= batch for call in detector.calls)
    ends = {*list(range(count))[-1:]}
    # nobody comes or goes: nothing else is needed
    assert {*range(0, count, every)} | ends >= set(detector.seen)
    assert {*range(0, count, 2 * every if every > 1 else 1)} | ends <= set(detector.seen)


@steady
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 9), st.integers(0, 40))
def test_it_holds_only_so_many_frames(count, every, batch, stop):
    """Never more than 4 * every + batch, those just delivered included."""
    film = Film(count)
    delivered = 0
    groups = detect_sparsely(film.frames(), Detector(*PASSING), every, batch)
    for group in groups:
        delivered += len(group)
        assert film.read - delivered <= 4 * every + batch
        assert film.alive <= 4 * every + batch
        del group
        if delivered >= stop:
            break
    groups.close()
    assert film.closed


def test_two_runs_are_the_same_and_do_not_depend_on_the_batch():
    def all_boxes(batch):
        groups = run(Film(37), Detector(*PASSING), 5, batch)
        return [(f.index, d.boxes_xyxy.tobytes(), d.scores.tobytes()) for g in groups for f, d in g]

    assert all_boxes(8) == all_boxes(8) == all_boxes(1) == all_boxes(100)


def test_several_key_frames_share_a_call():
    detector = Detector(*PASSING)
    run(Film(41), detector, 2, 8)
    assert len(detector.seen) == 21 and len(detector.calls) <= 12


@pytest.mark.parametrize(
    "speed, seen",
    [(0, [0, 10, 20, 30, 33]), (24, [0, 10, 20, 30, 33]), (36, [0, 5, 10, 15, 20, 25, 30, 33])],
)
def test_while_everybody_keeps_still_half_as_often_is_enough(speed, seen):
    """One stands still, the other is 80 pixels wide and walks 8 or 12 in ten frames, which leaves
    an IoU of 0.82 or 0.74."""
    detector = Detector(walker(50, 0), walker(300, speed))
    run(Film(34), detector, 5, 4)
    assert detector.seen == seen


def test_every_frame_is_plain_batched_detection():
    detector = Detector(*PASSING)
    groups = run(Film(10), detector, 1, 4)
    assert detector.calls == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for frame, found in groups[1]:
        np.testing.assert_array_equal(found.boxes_xyxy, detector.at(frame.time).boxes_xyxy)


@pytest.mark.parametrize("every", [2, 5, 10])
def test_boxes_between_hold_the_people(every):
    """The box is the true one; it lies in that where the person is looked for, and the crop cut
    for that is hardly larger."""
    detector = Detector(*PASSING)
    for group in run(Film(41), detector, every, 8):
        for frame, found in group:
            true, made = detector.at(frame.time).boxes_xyxy, found.search_xyxy
            np.testing.assert_allclose(found.boxes_xyxy, true, atol=1e-3)
            assert (made[:, :2] <= true[:, :2] + 1e-3).all()
            assert (made[:, 2:] >= true[:, 2:] - 1e-3).all()
            crops = crop_boxes(true, (192, 256)), crop_boxes(made, (192, 256))
            assert np.diag(iou(*crops)).min() > 0.8
            np.testing.assert_array_equal(found.scores, detector.at(frame.time).scores)
            if frame.index % every == 0:
                np.testing.assert_array_equal(made, true)


def test_interpolation_follows_time_not_the_frame_count():
    """Variable frame rate: the frames between come late."""
    person = walker(100, 300)
    film = Film(5, times=[0.0, 0.30, 0.32, 0.34, 0.4])
    [(_, first), *between, (_, last)] = run(film, Detector(person), 4, 8)[0]
    for frame, found in between:
        middle = found.boxes_xyxy[0, ::2].mean()
        assert middle == pytest.approx(140 + 300 * frame.time, abs=0.01)
    assert last.boxes_xyxy[0, 0] == pytest.approx(220)


def test_a_person_seen_at_one_end_only_is_detected_on_every_frame_between():
    def comes(t):  # from frame 13 on
        return walker(400, 0)(t) if t > 12.5 / 30 else None

    detector = Detector(walker(50, 60), comes)
    groups = run(Film(31), detector, 5, 4)
    assert detector.seen == [0, 5, 10, 11, 12, 13, 14, 15, 20, 25, 30]
    counts = [len(found) for group in groups for _, found in group]
    assert counts == [1] * 13 + [2] * 18


def test_a_person_who_is_replaced_by_another_is_not_stretched_between_them():
    def left(t):
        return walker(50, 0)(t) if t < 0.1 else None

    def right(t):
        return walker(500, 0)(t) if t >= 0.1 else None

    detector = Detector(left, right)
    groups = run(Film(11), detector, 5, 8)
    assert set(range(6)) <= set(detector.seen)
    for frame, found in (pair for group in groups for pair in group):
        place = 50 if frame.time < 0.1 else 500
        assert found.boxes_xyxy[0, 0] == pytest.approx(place, abs=3), frame.index


def test_a_runner_whose_boxes_do_not_overlap_is_interpolated_when_alone():
    fast = walker(20, 700, wide=90)  # 117 pixels from key frame to key frame
    alone = Detector(fast)
    run(Film(21), alone, 5, 8)
    assert alone.seen == [0, 5, 10, 15, 20]
    two = Detector(fast, walker(140, 700, wide=90))  # each takes the other's place
    groups = run(Film(21), two, 5, 8)
    for frame, found in (pair for group in groups for pair in group):
        true = two.at(frame.time).boxes_xyxy
        assert iou(true, found.search_xyxy).max(1).min() > 0.6, frame.index


def test_a_change_of_size_of_the_picture_is_not_interpolated():
    small = Frame(5, 0.2, np.zeros((240, 320, 3), np.uint8))
    found = boxes_of((10, 10, 50, 90, 0.9))
    assert interpolated((Frame(0, 0.0, picture()), found), (small, found), [0.1]) is None


def test_scores_are_the_lower_ones_and_sorted():
    first = Frame(0, 0.0, picture()), boxes_of((0, 0, 50, 99, 0.9), (200, 0, 250, 99, 0.8))
    last = Frame(2, 0.2, picture()), boxes_of((0, 0, 50, 99, 0.3), (200, 0, 250, 99, 0.7))
    [middle] = interpolated(first, last, [0.1])
    assert middle.scores.tolist() == pytest.approx([0.7, 0.3])
    assert middle.boxes_xyxy[0].tolist() == [200, 0, 250, 99]
    assert middle.search_xyxy[0, 0] == pytest.approx(200 - 0.02 * np.sqrt(50 * 99), abs=1e-3)


def test_key_frames_at_the_same_time_and_nobody_at_all():
    at_once = Film(9, times=[1.0] * 9)
    assert sum(len(group) for group in run(at_once, Detector(*PASSING), 4, 3)) == 9
    empty = Detector()
    groups = run(Film(9), empty, 4, 3)
    assert [len(found) for group in groups for _, found in group] == [0] * 9
    assert empty.seen == [0, 8]


@steady
@given(st.data())
def test_any_boxes(data):
    """Whatever is detected: interpolated boxes are in the picture, finite and sorted."""
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    count = data.draw(st.integers(0, 4))
    corner = rng.uniform(0, 400, (count, 2))
    a = np.concatenate([corner, corner + rng.uniform(0, 80, (count, 2))], 1)
    b = np.clip(a + rng.normal(0, data.draw(st.sampled_from([0, 5, 50])), a.shape), 0, 479)
    ends = [
        (Frame(n, t, picture()), boxes_of(*np.c_[boxes, rng.uniform(0, 1, count)]))
        for n, t, boxes in ((0, 0.0, a), (5, 0.2, b))
    ]
    made = interpolated(ends[0], ends[1], [0.05, 0.1, 0.15])
    for found in made or []:
        assert len(found) == count and (np.diff(found.scores) <= 0).all()
        for boxes in (found.boxes_xyxy, found.search_xyxy):
            assert (boxes >= 0).all() and np.isfinite(boxes).all()
            assert (boxes <= np.array([639, 479, 639, 479])).all()


@steady
@given(
    st.lists(st.lists(st.floats(0.0625, 1.0, width=32), max_size=3), min_size=1, max_size=30),
    st.integers(1, 6),
    st.integers(1, 9),
)
def test_where_a_score_is_in_doubt_the_detector_runs_on_every_frame(scores, every, batch):
    """People who stand side by side, each frame with scores of its own, the least being 0.4."""

    def detector(frames):
        found.extend(frame.index for frame in frames)
        return [
            boxes_of(*((100 * n, 100, 100 * n + 80, 300, s) for n, s in enumerate(scores[f.index])))
            for f in frames
        ]

    found = []
    film = Film(len(scores))
    groups = list(detect_sparsely(film.frames(), detector, every, batch, 0.4))
    results = [people for group in groups for _, people in group]
    keys = sorted({*range(0, len(scores), every), len(scores) - 1} & {*found})
    for first, last in pairwise(keys):
        ends = scores[first] + scores[last]
        low, high = np.float32(0.93 * 0.4), np.float32(1.125 * 0.4)
        sure = not any(low < np.float32(score) < high for score in ends)
        if not sure:
            assert set(range(first, last + 1)) <= set(found)
    for n, people in enumerate(results):
        assert (people.scores >= np.float32(0.4)).all()
        if n in found:
            assert len(people) == sum(np.float32(score) >= np.float32(0.4) for score in scores[n])


@pytest.mark.parametrize("every", [1, 4])
def test_it_closes_the_frames_when_closed_early_or_when_detection_fails(every):
    film = Film(50)
    groups = detect_sparsely(film.frames(), Detector(*PASSING), every, 4)
    assert inspect.isgenerator(groups)
    next(groups)
    groups.close()
    assert film.closed

    def broken(frames):
        raise RuntimeError("no detector")

    film = Film(50)
    with pytest.raises(RuntimeError, match="no detector"):
        next(detect_sparsely(film.frames(), broken, every, 4))
    assert film.closed


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("count", [0, 3, 22])
def test_an_error_of_the_source_comes_after_all_frames_before_it(every, count):
    def cut():
        yield from Film(count).frames()
        raise InputError("a.mp4: damaged")

    got = []
    with pytest.raises(InputError, match="damaged"):
        for group in detect_sparsely(cut(), Detector(*PASSING), every, 4):
            got += [frame.index for frame, _ in group]
    assert got == list(range(count))


@pytest.mark.parametrize(("every", "batch"), [(0, 4), (4, 0)])
def test_numbers_below_one_are_refused_at_once(every, batch):
    with pytest.raises(ValueError, match="at least 1"):
        detect_sparsely(Film(3).frames(), Detector(), every, batch)
    with pytest.raises(ValueError, match="at least 1"):
        LiveSchedule(Detector(), Tracker(), 0)


def test_a_detector_that_answers_too_little_is_an_error():
    for every in (1, 3):
        with pytest.raises(ValueError):
            list(detect_sparsely(Film(9).frames(), lambda frames: [], every, 4))


# Live


def pose_in(boxes, score=0.8):
    """A person in every box, the joints at fixed places in it."""
    places = np.random.default_rng(0).uniform(0.1, 0.9, (17, 2))
    corners, sizes = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
    count = len(boxes)
    return Poses(
        (corners + places * sizes).astype(np.float32),
        np.full((count, 17), score, np.float32),
        boxes,
        np.full(count, score, np.float32),
        np.full(count, -1, np.int64),
    )


def live(detector, every, count, rate=30.0, score=lambda n: 0.8, late=lambda: False):
    """Run frames through a schedule with a pose network that finds the true people wherever a
    box touches them; the ids per frame."""
    tracker = Tracker()
    schedule = LiveSchedule(detector, tracker, every, late=late)
    ids = []
    for n in range(count):
        frame = Frame(n, n / rate, picture())
        boxes = schedule(frame)
        true = detector.at(frame.time).boxes_xyxy
        touched = iou(boxes.boxes_xyxy, true)
        who = touched.argmax(1) if len(true) else np.zeros(0, int)
        hit = touched.max(1, initial=0) > 0.2
        poses = pose_in(true[who[hit]], score(n)) if len(true) else Poses.empty()
        poses = Poses(poses.joints_xy, poses.joint_scores, boxes.boxes_xyxy[hit][: len(poses)],
                      poses.scores, poses.ids)  # fmt: skip
        ids.append(tracker.update(poses, frame.time).ids.tolist())
    return ids


def test_live_detects_on_every_nth_frame_and_keeps_the_ids_between():
    detector = Detector(*PASSING)
    ids = live(detector, 5, 23)
    assert detector.seen == [0, 5, 10, 15, 20]
    assert all(sorted(frame) == [1, 2, 3] for frame in ids)


def test_live_with_every_frame_always_detects():
    detector = Detector(*PASSING)
    live(detector, 1, 7)
    assert detector.seen == list(range(7))


def test_live_frames_that_come_late_do_without_the_detector_two_in_a_row():
    detector = Detector(*PASSING)
    ids = live(detector, 1, 10, late=lambda: True)
    assert detector.seen == [0, 3, 6, 9]
    assert all(sorted(frame) == [1, 2, 3] for frame in ids)
    in_turn = cycle([False, True])
    live(again := Detector(*PASSING), 1, 6, late=lambda: next(in_turn))
    assert again.seen == [0, 2, 4]
    live(seldom := Detector(*PASSING), 5, 11, late=lambda: True)
    assert seldom.seen == [0, 5, 10]


def test_a_late_frame_with_nobody_is_looked_at():
    detector = Detector(lambda t: None)
    live(detector, 1, 5, late=lambda: True)
    assert detector.seen == list(range(5))


def test_a_frame_is_late_that_had_to_wait_for_the_one_before():
    edge = Edge(1, "drop_oldest")
    late = lateness(edge)
    edge.put("at once")
    edge.take()
    assert late()
    Timer(0.05, edge.put, ["waited for"]).start()
    edge.take()
    assert not late()
    edge.put("at once")
    edge.take()
    assert late()


def test_live_detects_on_every_frame_while_nobody_is_there():
    detector = Detector(lambda t: walker(200, 0)(t) if t > 0.31 else None)
    ids = live(detector, 5, 20)
    assert detector.seen == [*range(11), 15]
    assert [len(frame) for frame in ids] == [0] * 10 + [1] * 10


def test_live_detects_at_once_when_somebody_is_lost():
    """Frame 7 does not confirm the person; frame 8 detects; the count starts again from there."""
    detector = Detector(walker(200, 30))
    live(detector, 5, 20, score=lambda n: 0.2 if n == 7 else 0.8)
    assert detector.seen == [0, 5, 8, 13, 18]


def test_live_detects_again_when_somebody_leaves():
    def leaves(t):
        return walker(300, 40)(t) if t < 0.38 else None

    detector = Detector(walker(50, 20), leaves)
    ids = live(detector, 10, 18)
    assert detector.seen[:3] == [0, 10, 13]
    assert [len(frame) for frame in ids] == [2] * 12 + [1] * 6


def test_live_boxes_keep_the_scores_of_the_detector():
    """A person's score is the detector's times the joints', in all frames alike."""
    detector = Detector(walker(200, 10, score=0.6))
    tracker = Tracker()
    schedule = LiveSchedule(detector, tracker, 10)
    for n in range(10):
        found = schedule(Frame(n, n / 30, picture()))
        assert found.scores.tolist() == pytest.approx([0.6])
        poses = pose_in(found.boxes_xyxy)
        poses.scores[:] = found.scores * 0.5
        tracker.update(poses, n / 30)
    assert detector.seen == [0]


def test_live_detects_after_a_stall():
    detector = Detector(walker(200, 10))
    tracker = Tracker()
    schedule = LiveSchedule(detector, tracker, 100)
    for n, t in enumerate((0.0, 0.1, 0.2, 3.0)):
        tracker.update(pose_in(schedule(Frame(n, t, picture())).boxes_xyxy), t)
    assert detector.seen == [0, 3]

"""The demo scene: what it shows, the truth about it, and the source that gives its frames."""

from __future__ import annotations

from fractions import Fraction
from math import pi

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from realtime.errors import UsageError
from realtime.scene import Scene, Truth
from realtime.scene.body import GESTURES, Build
from realtime.scene.cast import BLOCK, MOST, camera, cast
from realtime.scene.motion import Leg, Mover
from realtime.scene.paint import overlap, paste
from realtime.sources.base import Span
from realtime.sources.demo import FRAMES, DemoSource, open_demo

SMALL = 320, 180
BUILD = Build(1.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(0, 300, SMALL)


@pytest.fixture(scope="module")
def film(scene: Scene) -> dict[int, Truth]:
    """The truth of every third frame of the demo that a user sees first."""
    return {index: scene.truth(index) for index in range(0, len(scene), 3)}


# ---- pictures -----------------------------------------------------------------------------------


def test_the_same_bytes_in_any_order_and_from_any_scene_of_the_seed() -> None:
    one, other = Scene(3, 300, SMALL), Scene(3, 300, SMALL)
    first = {index: one.image(index) for index in (5, 80, 81)}
    for index in (81, 5, 80, 5):
        assert np.array_equal(first[index], other.image(index))
        assert np.array_equal(first[index], one.image(index))
    assert not np.array_equal(first[80], first[81])
    assert not np.array_equal(first[80], Scene(4, 300, SMALL).image(80))


def test_a_frame_does_not_depend_on_the_length_of_the_film() -> None:
    assert np.array_equal(Scene(2, 100, SMALL).image(99), Scene(2, 900, SMALL).image(99))


@pytest.mark.parametrize("size_wh", [(1280, 720), (640, 480), (360, 640), (97, 65)])
def test_every_size(size_wh: tuple[int, int]) -> None:
    scene = Scene(1, 120, size_wh)
    image, truth = scene.image(100), scene.truth(100)
    assert image.shape == (size_wh[1], size_wh[0], 3) and image.dtype == np.uint8
    assert truth.joints_xy.shape == (len(truth), 17, 2)
    assert image.std() > 15


def test_a_smaller_picture_shows_the_same() -> None:
    large, small = (Scene(6, 200, size).truth(120) for size in ((1280, 720), SMALL))
    assert np.array_equal(large.ids, small.ids) and len(large) > 1
    np.testing.assert_allclose((large.joints_xy + 0.5) / 4 - 0.5, small.joints_xy, atol=0.01)


def test_callers_may_draw_on_a_picture(scene: Scene) -> None:
    before = scene.image(60)
    scene.image(60)[:] = 0
    scene.image(60, people=False)[:] = 0
    assert np.array_equal(scene.image(60), before)


def test_without_people_nothing_of_them_is_left(scene: Scene) -> None:
    nobody = Scene(0, 300, SMALL, people=0)
    assert len(nobody.truth(150)) == 0
    assert np.array_equal(scene.image(150, people=False), nobody.image(150))
    assert np.array_equal(scene.image(150, people=False), nobody.image(150, people=False))
    assert not np.array_equal(scene.image(150), nobody.image(150))


def test_an_empty_moment_is_the_place_alone(scene: Scene, film: dict[int, Truth]) -> None:
    empty = max(index for index in film if len(film[index]) == 0)
    assert np.array_equal(scene.image(empty), scene.image(empty, people=False))


def test_noise_changes_from_frame_to_frame_and_has_no_mean(scene: Scene) -> None:
    one, other = (scene.image(index, people=False).astype(int) for index in (10, 11))
    assert 1.0 < (one - other).std() < 20
    assert abs((one - other).mean()) < 0.2


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"frames": -1}, {"size_wh": (16, 180)}, {"rate": 0.0}, {"people": 7}],
)
def test_values_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected seed"):
        Scene(**wrong)  # type: ignore[arg-type]


def test_frames_out_of_range(scene: Scene) -> None:
    for index in (-1, 300):
        with pytest.raises(IndexError):
            scene.image(index)
        with pytest.raises(IndexError):
            scene.truth(index)


# ---- truth --------------------------------------------------------------------------------------


def test_the_demo_shows_from_nobody_to_six(film: dict[int, Truth]) -> None:
    assert {len(truth) for truth in film.values()} == set(range(MOST + 1))


def test_the_truth_is_well_formed(film: dict[int, Truth]) -> None:
    for truth in film.values():
        assert truth.joints_xy.dtype == truth.boxes_xyxy.dtype == np.float32
        assert truth.visible.dtype == bool and truth.ids.dtype == np.int64
        assert (np.diff(truth.ids) > 0).all()
        assert ((truth.visible_share > 0) & (truth.visible_share <= 1)).all()
        assert (truth.boxes_xyxy[:, :2] >= 0).all()
        assert (truth.boxes_xyxy[:, 2:] <= np.array(SMALL) - 1).all()
        assert (truth.boxes_xyxy[:, 2:] >= truth.boxes_xyxy[:, :2]).all()


def test_visible_joints_are_in_the_box_and_hidden_people_have_few(film: dict[int, Truth]) -> None:
    seen = np.concatenate([truth.visible.sum(1) for truth in film.values()])
    share = np.concatenate([truth.visible_share for truth in film.values()])
    for truth in film.values():
        low, high = truth.boxes_xyxy[:, None, :2] - 0.51, truth.boxes_xyxy[:, None, 2:] + 0.51
        inside = ((truth.joints_xy >= low) & (truth.joints_xy <= high)).all(2)
        assert inside[truth.visible].all()
    assert seen[share > 0.9].mean() > 9
    assert (share < 0.2).any() and seen[share < 0.2].mean() < 3


def test_people_move_smoothly_and_keep_their_ids(film: dict[int, Truth]) -> None:
    truths = list(film.values())
    for before, after in zip(truths, truths[1:]):
        _, a, b = np.intersect1d(before.ids, after.ids, return_indices=True)
        steps = np.linalg.norm(after.joints_xy[b] - before.joints_xy[a], axis=2)
        assert (steps < 0.12 * SMALL[0]).all()


def test_asking_late_gives_the_same_truth(film: dict[int, Truth]) -> None:
    fresh = Scene(0, 300, SMALL)
    fresh.image(250)
    assert np.array_equal(fresh.truth(42).joints_xy, film[42].joints_xy)
    assert np.array_equal(fresh.truth(42).visible, film[42].visible)


@pytest.mark.parametrize("seed", range(1, 7))
def test_visible_joints_and_boxes_lie_on_drawn_people(seed: int) -> None:
    """The noise of both pictures is the same, so they differ only where people or shadows are."""
    scene = Scene(seed, 300, (640, 360), people=1)
    checked = hit = 0
    for index in (10, 130, 250):
        truth = scene.truth(index)
        assert len(truth) == 1
        change = cv2.absdiff(scene.image(index), scene.image(index, people=False)).max(2)
        change = cv2.dilate(change, np.ones((3, 3), np.uint8))
        x, y = np.rint(truth.joints_xy[truth.visible]).astype(int).T
        checked, hit = checked + len(x), hit + int((change[y, x] > 12).sum())
        x0, y0, x1, y1 = truth.boxes_xyxy[0].astype(int)
        drawn = np.flatnonzero((change > 40)[y0 : y1 + 1, x0 : x1 + 1].any(1))
        if truth.visible_share[0] > 0.95:
            assert drawn[0] < 0.1 * (y1 - y0) and drawn[-1] > 0.85 * (y1 - y0)
    assert checked > 15 and hit > 0.93 * checked


@pytest.mark.parametrize("seed", range(4))
def test_poses_do_not_jump_where_a_walk_becomes_a_stop(seed: int) -> None:
    for mover in cast(seed, 0, camera(seed, (1280, 720)), None):
        for leg in mover.legs[1:]:
            before, after = (
                mover.points(leg.t0 + step) + (mover.place(leg.t0 + step)[0], 0, 0)
                for step in (-1e-4, 1e-4)
            )
            assert np.abs(after - before).max() < 0.01


def test_somebody_in_front_hides_joints() -> None:
    """Among many crossings some joints of the one behind are hidden and come back."""
    scene = Scene(5, 300, SMALL)
    hidden = [truth.visible[:, 13:] for truth in map(scene.truth, range(60, 200, 10)) if len(truth)]
    shares = np.concatenate([row.mean(1) for row in hidden])
    assert (shares == 0).any() and (shares == 1).any()


# ---- bodies and paths ---------------------------------------------------------------------------


def standing(heading: float, gesture: str = "stand") -> Mover:
    return Mover(0, BUILD, (Leg(0.0, 10.0, (0.0, 5.0), (0.0, 5.0), gesture, heading),), 0.0)


@given(st.floats(-pi, pi), st.floats(1, 9), st.sampled_from(GESTURES))
@settings(max_examples=60, deadline=None)
def test_left_is_left_at_every_heading(heading: float, time: float, gesture: str) -> None:
    """The left side is to the right of the picture for a person who faces the camera, to the left
    from behind, and far away for one who walks to the right of the picture."""
    body = standing(heading, gesture).points(time)
    for left, right in ((5, 6), (11, 12)):
        across = body[left] - body[right]
        wide = np.linalg.norm(across)
        assert across[0] == pytest.approx(wide * np.cos(heading), abs=1e-6)
        assert across[2] == pytest.approx(-wide * np.sin(heading), abs=1e-6)


@given(st.floats(0, 9.9), st.sampled_from(GESTURES))
@settings(max_examples=60, deadline=None)
def test_bones_keep_their_length_and_feet_stay_on_the_ground(time: float, gesture: str) -> None:
    rest, body = standing(0.3).points(0.0), standing(0.3, gesture).points(time)
    for a, b in ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16)):
        length = np.linalg.norm(rest[a] - rest[b])
        assert np.linalg.norm(body[a] - body[b]) == pytest.approx(length, rel=1e-6)
    assert 0 <= body[:, 1].min() < 0.06
    assert body[:, 1].max() < 1.5 * BUILD.height


def test_the_waving_hand_is_up_and_is_the_right_one() -> None:
    body = standing(0.0, "wave").points(4.0)
    assert body[10, 1] > body[0, 1] > body[9, 1]
    assert body[10, 0] < body[6, 0] < body[5, 0]


def test_a_walker_faces_where_they_go() -> None:
    right = Mover(0, BUILD, (Leg(0.0, 4.0, (-3.0, 5.0), (3.0, 5.0)),), 0.0)
    body = right.points(2.0)
    assert body[0, 0] > max(body[3, 0], body[4, 0])
    assert body[6, 2] > body[5, 2]


@given(st.integers(0, 10_000), st.integers(0, 3), st.sampled_from([None, 0, 1, 6]))
@settings(max_examples=40, deadline=None)
def test_a_cast_comes_in_time_and_leaves_an_empty_picture(
    seed: int, block: int, people: int | None
) -> None:
    view = camera(seed, (1280, 720))
    movers = cast(seed, block, view, people)
    start, end = block * BLOCK, (block + 1) * BLOCK
    assert len(movers) <= MOST and len({mover.ident for mover in movers}) == len(movers)
    for mover in movers:
        assert all(a.t1 == b.t0 and a.end == b.start for a, b in zip(mover.legs, mover.legs[1:]))
        assert all(leg.t1 > leg.t0 for leg in mover.legs)
        if people is None:
            assert mover.legs[-1].t1 <= end and (block == 0 or mover.legs[0].t0 >= start)
        else:
            assert mover.present(start) and mover.present(end - 1e-3)
    assert people is None or len(movers) == people


# ---- painting -----------------------------------------------------------------------------------


@given(st.integers(-30, 30), st.integers(-30, 30))
def test_paste_is_cut_at_the_border(x: int, y: int) -> None:
    canvas = np.zeros((20, 24, 3), np.uint8)
    paste(canvas, np.full((7, 9, 4), 255, np.uint8), x, y)
    expected = np.zeros((20, 24), bool)
    expected[max(y, 0) : max(y + 7, 0), max(x, 0) : max(x + 9, 0)] = True
    assert np.array_equal(canvas[..., 0] == 255, expected)
    below, above = overlap(canvas, np.zeros((7, 9)), (x, y))
    assert below.shape[:2] == above.shape


# ---- source -------------------------------------------------------------------------------------


def test_the_source_gives_the_film() -> None:
    source = open_demo(seed=2, span=Span(start=3, end=1.0, stride=10))
    assert source.info.kind == "demo" and not source.info.live
    assert (source.info.rate, source.info.time_base) == (30, Fraction(1, 30))
    frames = list(source.frames())
    assert [frame.index for frame in frames] == [3, 13, 23]
    assert [frame.time for frame in frames] == pytest.approx([0.1, 13 / 30, 23 / 30])
    assert source.info.frames == 3 and source.info.start == pytest.approx(0.1)
    assert frames[0].size_wh == source.info.size_wh == (1280, 720)
    assert np.array_equal(frames[1].image, source.scene.image(13))
    assert source.status.state == "ended"


@given(
    st.one_of(st.integers(0, 400), st.floats(0, 12)),
    st.one_of(st.none(), st.integers(1, 400), st.floats(0.01, 12)),
    st.integers(1, 50),
)
@settings(deadline=None)
def test_spans(start: int | float, end: int | float | None, stride: int) -> None:
    def position(index: int, like: int | float | None) -> int | float:
        return index if isinstance(like, int) else index / 30 + 1e-9

    # Seconds as near to a frame as rounding may bring them can mean that frame or the next.
    assume(isinstance(start, int) or not start or abs(start * 30 - round(start * 30)) > 1e-3)

    kept = [
        index
        for index in range(FRAMES)
        if position(index, start) >= start and (end is None or position(index, end) < end - 1e-5)
    ]
    span = Span(start, end, stride)
    if not kept[::stride]:
        with pytest.raises(UsageError):
            DemoSource(TINY, span)
    elif end is None or abs(end * 30 - round(end * 30)) > 1e-3 or isinstance(end, int):
        assert DemoSource(TINY, span).info.frames == len(kept[::stride])


TINY = Scene(0, FRAMES, (64, 36), people=0)


@pytest.mark.parametrize("span", [Span(300), Span(5, 5), Span(-1), Span(0, 4, 0), Span(11.0)])
def test_spans_that_cannot_be(span: Span) -> None:
    with pytest.raises(UsageError):
        open_demo(0, span)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="--seed"):
        open_demo(-1)


class Clock:
    """Seconds that pass only by waiting, a little more than asked for, and by work."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds + 0.001
        return False


def test_live_frames_keep_the_pace_and_none_is_left_out() -> None:
    clock = Clock()
    source = DemoSource(TINY, Span(30, 40), True, clock, clock.wait)
    assert source.info.live and source.info.start == 0
    times = []
    for frame in source.frames():
        times.append(frame.time)
        if frame.index == 34:
            clock.now += 0.1  # the reader is slow once: three frames late, then on time again
    due = np.arange(10) / 30
    assert times[0] == 0 and len(times) == 10
    assert (np.array(times) >= due - 1e-9).all()
    assert times[-1] == pytest.approx(due[-1], abs=0.005)
    assert times[5] == pytest.approx(due[4] + 0.1, abs=0.005)


def test_close_ends_the_frames() -> None:
    source = DemoSource(TINY)
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


def test_close_ends_a_wait() -> None:
    source = DemoSource(TINY, live=True, wait=lambda seconds: True)
    assert len(list(source.frames())) == 1

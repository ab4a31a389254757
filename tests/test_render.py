"""What people see: properties of the drawn pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from realtime.draw import YELLOW
from realtime.overlay import draw_overlay
from realtime.records import Frame, Poses
from realtime.render import Overlay, Style, draw, draw_state
from realtime.skeleton import JOINTS, LEFT, MIRROR, RIGHT
from realtime.strokes import clip_segments
from realtime.text import ascii_text, shortened, text_size, wrapped, write

# A person of height 1 facing the camera, its left on the right hand side of the picture.
STANDING = np.array(
    [(0, .08), (.03, .06), (-.03, .06), (.06, .07), (-.06, .07), (.12, .2), (-.12, .2), (.2, .36),
     (-.2, .36), (.24, .5), (-.24, .5), (.09, .52), (-.09, .52), (.1, .75), (-.1, .75), (.1, .96),
     (-.1, .96)], np.float32,
)  # fmt: skip


def person(
    x: float = 320, top: float = 100, height: float = 300, score: float = 0.9, person_id: int = -1
) -> Poses:
    """One standing person whose middle is at x."""
    joints = STANDING * height + np.array([x, top], np.float32)
    box = np.array([[x - 0.27 * height, top, x + 0.27 * height, top + height]], np.float32)
    scores = np.full((1, len(JOINTS)), score, np.float32)
    sure = np.full(1, score, np.float32)
    return Poses(joints[None], scores, box, sure, np.array([person_id], np.int64))


def only(poses: Poses, joints: tuple[int, ...]) -> Poses:
    """The same people with all joints but these at score 0."""
    scores = np.zeros_like(poses.joint_scores)
    scores[:, joints] = poses.joint_scores[:, joints]
    return Poses(poses.joints_xy, scores, poses.boxes_xyxy, poses.scores, poses.ids)


def together(*people: Poses) -> Poses:
    fields = ("joints_xy", "joint_scores", "boxes_xyxy", "scores", "ids")
    return Poses(*(np.concatenate([getattr(p, name) for p in people]) for name in fields))


def frame(size_wh: tuple[int, int] = (640, 480), seed: int = 0) -> Frame:
    """A smooth coloured picture, different at every place."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return Frame(0, 0.0, np.asarray(cv2.resize(small, size_wh, interpolation=cv2.INTER_CUBIC)))


def grey_frame(level: int, size_wh: tuple[int, int] = (640, 480)) -> Frame:
    return Frame(0, 0.0, np.full((size_wh[1], size_wh[0], 3), level, np.uint8))


def changed(frame: Frame, picture: np.ndarray) -> np.ndarray:
    return (picture != frame.image).any(-1)


def test_the_frame_and_the_poses_are_not_changed() -> None:
    one, poses = frame(), together(person(person_id=3), person(500, 20, 150, person_id=0))
    image, joints, boxes = one.image.copy(), poses.joints_xy.copy(), poses.boxes_xyxy.copy()
    for style in (Style(), Style(mirror=True, show_boxes=True)):
        picture = draw(one, poses, style, Overlay(30, 20, 1, "stalled 7 s", True))
        assert changed(one, picture).any()
        assert picture.flags.writeable and not np.shares_memory(picture, one.image)
    np.testing.assert_array_equal(one.image, image)
    np.testing.assert_array_equal(poses.joints_xy, joints)
    np.testing.assert_array_equal(poses.boxes_xyxy, boxes)


def test_nobody_is_the_plain_frame() -> None:
    one = frame()
    np.testing.assert_array_equal(draw(one, Poses.empty(), Style(show_boxes=True)), one.image)
    flipped = draw(one, Poses.empty(), Style(mirror=True))
    np.testing.assert_array_equal(flipped, one.image[:, ::-1])
    np.testing.assert_array_equal(draw(one, Poses.empty(), Style(), Overlay()), one.image)


def test_drawing_twice_gives_the_same_bytes() -> None:
    poses = together(person(person_id=3), person(500, 20, 150, person_id=12))
    first = draw(frame(), poses, Style(), Overlay(29.97, 31.4, 5))
    np.testing.assert_array_equal(first, draw(frame(), poses, Style(), Overlay(29.97, 31.4, 5)))


def test_every_shown_joint_and_limb_is_drawn_where_it_is() -> None:
    poses = person(height=400, top=40)
    mask = changed(grey_frame(128), draw(grey_frame(128), poses, Style()))
    for x, y in np.rint(poses.joints_xy[0]).astype(int):
        assert mask[y, x]
    upper_arm = np.rint(poses.joints_xy[0, [5, 7]].mean(0)).astype(int)
    assert mask[upper_arm[1], upper_arm[0]]


@pytest.mark.parametrize("height", [60, 120, 400])
def test_left_and_right_differ_without_colour(height: int) -> None:
    """Mean grey of what is brighter than the outline, at full and at the lowest confidence."""

    def grey(joints: tuple[int, ...], score: float) -> float:
        poses = only(person(height=height, top=40, score=score), joints)
        picture = cv2.cvtColor(draw(grey_frame(0), poses, Style()), cv2.COLOR_BGR2GRAY)
        return float(np.percentile(picture[picture > 40], 80))

    lefts = [grey(LEFT, score) for score in (0.3, 1.0)]
    rights = [grey(RIGHT, score) for score in (0.3, 1.0)]
    assert min(lefts) > max(rights) + 5


def test_left_and_right_differ_in_shape_when_there_is_room() -> None:
    """Right joints are rings and right limbs have a core; left ones are solid."""
    poses = person(height=440, top=20)
    picture = cv2.cvtColor(draw(grey_frame(255), poses, Style()), cv2.COLOR_BGR2GRAY)

    def at(joints: list[int]) -> int:
        x, y = np.rint(poses.joints_xy[0, joints].mean(0)).astype(int)
        return int(picture[y, x])

    for left in (7, 9, 13, 15):
        assert at([left]) > 120 and at([int(MIRROR[left])]) < 60
    assert at([13, 15]) > 120 and at([14, 16]) < 60


def test_two_people_have_labels_and_tints_of_their_own() -> None:
    one = grey_frame(0)
    pictures = [draw(one, person(person_id=n), Style()) for n in (0, 1)]
    assert (pictures[0] != pictures[1]).any()
    without = draw(one, person(person_id=-1), Style())
    label = changed(Frame(0, 0.0, without), draw(one, person(person_id=2), Style()))
    rows, columns = np.nonzero(label)  # id 2 is white, as nobody is: only the label differs
    assert rows.max() < 100 + 0.1 * 300 and abs(columns.mean() - 320) < 10


@pytest.mark.parametrize("x,top", [(320, -10), (5, 100), (635, 100), (320, 460), (2, -20)])
def test_the_whole_label_is_inside_the_picture(x: float, top: float) -> None:
    poses, wide = person(x, top), grey_frame(0, (640, 480))
    named = person(x, top, person_id=88888882)  # white, as nobody is: 88888882 % 4 == 2
    label = changed(Frame(0, 0.0, draw(wide, poses, Style())), draw(wide, named, Style()))
    inside = person(320, 100), person(320, 100, person_id=88888882)
    whole = changed(
        *(Frame(0, 0.0, draw(wide, inside[0], Style())), draw(wide, inside[1], Style()))
    )
    size = [np.ptp(np.nonzero(mask), axis=1) for mask in (label, whole)]
    assert abs(size[0] - size[1]).max() <= 4  # a joint below it may hide a few pixels


def test_labels_of_people_on_top_of_each_other_do_not_overlap() -> None:
    one = grey_frame(0)
    people = [person(x, 150, person_id=n) for x, n in ((320, 2), (322, 6), (324, 10))]
    bare = draw(one, together(*(person(x, 150) for x in (320, 322, 324))), Style())
    mask = changed(Frame(0, 0.0, bare), draw(one, together(*people), Style()))
    single = changed(
        Frame(0, 0.0, draw(one, person(320, 150), Style())), draw(one, people[0], Style())
    )
    rows = np.ptp(np.nonzero(mask)[0]), np.ptp(np.nonzero(single)[0])
    assert rows[0] > 2.5 * rows[1]


@pytest.mark.parametrize("threshold", [0.3, 0.6])
def test_joints_are_hidden_by_their_score(threshold: float) -> None:
    one, style = grey_frame(128), Style(min_joint_score=threshold)
    hidden = person(score=threshold - 0.01)
    np.testing.assert_array_equal(draw(one, hidden, style), one.image)
    assert changed(one, draw(one, person(score=threshold), style)).any()


def test_a_hidden_joint_hides_its_limbs_only() -> None:
    poses = person(height=400, top=40)
    poses.joint_scores[0, 9] = 0.1  # left wrist
    mask = changed(grey_frame(128), draw(grey_frame(128), poses, Style()))
    wrist_x, wrist_y = np.rint(poses.joints_xy[0, 9]).astype(int)
    elbow_x, elbow_y = np.rint(poses.joints_xy[0, 7]).astype(int)
    assert not mask[wrist_y - 8 : wrist_y + 9, wrist_x - 8 : wrist_x + 9].any()
    assert mask[elbow_y, elbow_x]


def test_a_sure_joint_at_the_corner_0_0_is_drawn() -> None:
    poses = only(person(), (9,))
    poses.joints_xy[0, 9] = 0
    assert changed(grey_frame(128), draw(grey_frame(128), poses, Style()))[0, 0]


def test_values_that_are_not_finite_are_never_drawn() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        poses = person(height=400, top=40)
        poses.joints_xy[0, 9], poses.joint_scores[0, 10] = bad, np.nan
        expected = only(person(height=400, top=40), tuple({*range(17)} - {9, 10}))
        np.testing.assert_array_equal(
            draw(grey_frame(128), poses, Style()), draw(grey_frame(128), expected, Style())
        )


def test_surer_joints_are_drawn_stronger() -> None:
    def ink(score: float) -> float:
        poses = person(height=400, top=40, score=score)
        return float(draw(grey_frame(0), poses, Style()).astype(float).sum())

    inks = [ink(score) for score in (0.3, 0.5, 0.8)]
    assert inks[0] * 1.2 < inks[1] and inks[1] * 1.2 < inks[2]


def test_strokes_grow_with_the_person() -> None:
    def thickness(height: float) -> int:
        poses = only(person(height=height, top=20), (13, 15))  # the left shin, upright
        mask = changed(
            grey_frame(128, (1200, 1100)), draw(grey_frame(128, (1200, 1100)), poses, Style())
        )
        middle = round(float(poses.joints_xy[0, [13, 15], 1].mean()))
        return int(mask[middle].sum())

    widths = [thickness(height) for height in (20, 200, 500, 1000)]
    assert widths[0] >= 3 and widths == sorted(set(widths))
    assert widths[-1] < 1000 / 30


@pytest.mark.parametrize("width", [640, 641])
def test_mirror_is_the_flipped_drawing(width: int) -> None:
    """Without text. Both are rounded to 1/16 pixel, so the same but for anti-aliasing."""
    one, poses = frame((width, 480)), together(person(200.25, 30, 401), person(500.25, 220.5, 150))
    style = Style(mirror=True, show_boxes=True)
    seen = draw(one, poses, style).astype(int)
    flipped = np.fliplr(draw(one, poses, Style(show_boxes=True))).astype(int)
    difference = abs(seen - flipped).max(-1)
    assert difference.mean() < 0.3 and (difference > 64).mean() < 1e-3
    assert (seen != np.fliplr(one.image)).any()


def test_mirror_keeps_the_persons_own_left_in_colour() -> None:
    poses = person(160)  # left of the middle; in the mirror right of it
    picture = draw(grey_frame(128), only(poses, LEFT), Style(mirror=True))
    rows, columns = np.nonzero(changed(grey_frame(128), picture))
    assert columns.min() > 320 and len(rows)
    x, y = 639 - round(float(poses.joints_xy[0, 9, 0])), round(float(poses.joints_xy[0, 9, 1]))
    blue, _, red = picture[y, x].astype(int)
    assert blue > red + 50  # sky blue, the colour of the left
    assert x < 639 - 160  # and it moved to the other side of the person


def test_mirror_keeps_text_readable() -> None:
    plain = draw(grey_frame(0), Poses.empty(), Style(), Overlay(30.0, 20.0, state="lost"))
    seen = draw(grey_frame(0), Poses.empty(), Style(mirror=True), Overlay(30.0, 20.0, state="lost"))
    np.testing.assert_array_equal(seen, plain)

    def label(mirror: bool) -> np.ndarray:
        style = Style(mirror=mirror)
        bare = Frame(0, 0.0, draw(grey_frame(0), person(319.5), style))
        named = draw(grey_frame(0), person(319.5, person_id=2222), style)  # 2222 % 4 == 2: white
        return changed(bare, named)

    np.testing.assert_array_equal(label(True), label(False))  # the person is in the middle


def test_boxes_only_when_asked_for() -> None:
    poses, one = person(), grey_frame(128)
    x0, y0, x1, y1 = np.rint(poses.boxes_xyxy[0]).astype(int)
    without = changed(one, draw(one, poses, Style()))
    with_boxes = changed(one, draw(one, poses, Style(show_boxes=True)))
    assert not without[y1, x0] and with_boxes[y1, x0] and with_boxes[y0 : y1 + 1, x1].all()


coordinates = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None)
@given(
    joints=arrays(np.float32, (2, 17, 2), elements=coordinates),
    boxes=arrays(np.float32, (2, 4), elements=coordinates),
    size_wh=st.sampled_from([(1, 1), (2, 7), (64, 48), (8000, 50), (50, 3000)]),
    mirror=st.booleans(),
)
def test_any_coordinates_on_any_picture(
    joints: np.ndarray, boxes: np.ndarray, size_wh: tuple[int, int], mirror: bool
) -> None:
    ones = np.ones((2, 17), np.float32)
    poses = Poses(joints, ones, boxes, ones[:, 0].copy(), np.array([0, 10**12], np.int64))
    picture = draw(
        grey_frame(9, size_wh),
        poses,
        Style(mirror=mirror, show_boxes=True),
        Overlay(1e9, 1e9, 10**9, "lost 9 s: " + "gone " * 30, True),
    )
    assert picture.shape == (size_wh[1], size_wh[0], 3) and picture.dtype == np.uint8


@pytest.mark.parametrize("ends", [(7, 9), (9, 7)])
def test_a_limb_that_leaves_the_picture_keeps_its_direction(ends: tuple[int, int]) -> None:
    """From a joint in the picture to one ten million pixels away at 45 degrees."""
    poses = only(person(height=300), (7, 9))
    poses.joints_xy[0, ends] = [(100, 100), (1e7, 1e7)]
    mask = changed(grey_frame(128), draw(grey_frame(128), poses, Style()))
    rows, columns = np.nonzero(mask)
    assert mask[479, 479] and abs(rows - columns).max() < 12


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4), st.integers(1, 2000))
def test_clipped_segments_lie_inside_and_lose_nothing(ends: list[float], size: int) -> None:
    start, end = np.array([ends[:2]]), np.array([ends[2:]])
    t0, t1 = clip_segments(start, end, 5.0, (size, 40))
    low, high = -5.0, np.array([size, 40]) + 5.0
    samples = np.linspace(0, 1, 41)[:, None]
    points = start + samples * (end - start)
    inside = ((points >= low) & (points <= high)).all(1)
    kept = (samples[:, 0] >= t0 - 1e-9) & (samples[:, 0] <= t1 + 1e-9)
    assert not (inside & ~kept).any()
    if t0 <= t1:
        cut = np.concatenate([start + t0 * (end - start), start + t1 * (end - start)])
        assert (cut >= low - 1e-3).all() and (cut <= high + 1e-3).all()


def test_a_hundred_people() -> None:
    people = [person(20 + 12 * n % 600, 10 + 37 * n % 300, 40 + n, person_id=n) for n in range(100)]
    picture = draw(frame(), together(*people), Style(show_boxes=True))
    assert changed(frame(), picture).mean() > 0.2


def test_a_small_person_stays_visible_over_a_large_one() -> None:
    large, small = person(320, 20, 440), only(person(320, 200, 60), LEFT)
    small.joints_xy[:] += large.joints_xy[0, 14] - small.joints_xy[0, 9]  # wrist on right knee
    for order in ((large, small), (small, large)):
        picture = draw(grey_frame(128), together(*order), Style())
        x, y = np.rint(small.joints_xy[0, 9]).astype(int)
        blue, _, red = picture[y, x].astype(int)
        assert blue > red + 50


@pytest.mark.parametrize("height,across", [(25, 2), (100, 3), (450, 12)])
def test_a_limb_has_a_dark_outline_on_both_sides(height: float, across: int) -> None:
    poses = only(person(320, 10, height), (13, 15))  # the left shin, upright
    picture = draw(grey_frame(255), poses, Style())
    y = round(float(poses.joints_xy[0, [13, 15], 1].mean()))
    grey = cv2.cvtColor(picture[y : y + 1], cv2.COLOR_BGR2GRAY)[0]
    dark, blue = (
        np.nonzero(grey < 110)[0],
        np.nonzero(picture[y, :, 0] > picture[y, :, 2] + 70.0)[0],
    )
    assert dark.min() < blue.min() and blue.max() < dark.max() and len(blue) <= across


def overlay_mask(overlay: Overlay, size_wh: tuple[int, int] = (640, 480)) -> np.ndarray:
    picture = grey_frame(128, size_wh).image.copy()
    draw_overlay(picture, overlay)
    return (picture != 128).any(-1)


def test_each_part_of_the_overlay_has_its_place() -> None:
    top_left = overlay_mask(Overlay(fps=30.0, latency_ms=20.0))
    assert top_left[:40, :220].any() and not top_left[40:].any()
    dropped = overlay_mask(Overlay(dropped=3))
    assert dropped[:60, :220].any() and not (dropped & top_left).any()
    recording = overlay_mask(Overlay(recording=True))
    assert recording[:40, 540:].any() and not recording[:, :540].any()
    for state in ("live", "ended"):  # the last frames of a recording are frames as others
        assert not overlay_mask(Overlay(dropped=0, state=state)).any()


def test_a_state_that_is_not_live_is_larger_than_the_numbers() -> None:
    def height(overlay: Overlay) -> int:
        rows = np.nonzero(overlay_mask(overlay).any(1))[0]
        return int(np.ptp(rows)) + 1

    assert height(Overlay(state="stalled 7 s")) > 1.5 * height(Overlay(fps=30.0))


def test_text_grows_with_the_picture() -> None:
    small, large = (overlay_mask(Overlay(fps=30.0), size) for size in ((640, 480), (1920, 1440)))
    assert 6 < large.sum() / small.sum() < 14


@pytest.mark.parametrize("background", [0, 255])
def test_text_and_skeleton_are_seen_on_any_background(background: int) -> None:
    one = grey_frame(background)
    picture = draw(one, person(person_id=1), Style(), Overlay(fps=30.0))
    difference = abs(picture.astype(int) - background).max(-1)
    assert (difference[:40, :150] > 100).sum() > 100
    assert (difference[90:] > 100).sum() > 500


def test_state_picture_dims_the_last_one() -> None:
    last = frame().image
    before = last.copy()
    shown = draw_state(last, "stalled 7 s")
    np.testing.assert_array_equal(last, before)
    assert shown.shape == last.shape and shown[:80].mean() < 0.5 * last[:80].mean()
    assert (shown[180:300].max(-1) > 200).any()
    assert (shown != draw_state(last, "stalled 8 s")).any()


def test_a_long_reason_does_not_push_the_state_out_of_the_picture() -> None:
    dark = np.zeros((100, 178, 3), np.uint8)
    reason = "rtsp://camera.example.org:554/stream1: " + "no route to that host; " * 9
    alone, with_reason = (draw_state(dark, text) for text in ("stalled 7 s", f"stalled: {reason}"))
    first = (with_reason == YELLOW).all(2).any(1).nonzero()[0]
    assert first[0] >= 2 and len(first) == len((alone == YELLOW).all(2).any(1).nonzero()[0])


@pytest.mark.parametrize("size_wh", [(1, 1), (50, 20), (720, 1280), (8000, 50)])
def test_state_card_before_the_first_picture(size_wh: tuple[int, int]) -> None:
    card = draw_state(None, "connecting 3 s: connection refused by the camera", size_wh)
    assert card.shape == (size_wh[1], size_wh[0], 3) and card.dtype == np.uint8
    blank = draw_state(None, "", size_wh)
    assert size_wh == (1, 1) or (card != blank).any()
    assert (blank == blank[0, 0]).all()


@pytest.mark.parametrize(
    "text,plain",
    [
        ("ready 45 ms", "ready 45 ms"),
        ("Caf\u00e9 \u2013 Gr\u00f6\u00dfe", "Cafe - Grosse"),
        ("kamera \u9023\u63a5\u5931\u6557 lost", "kamera ... lost"),
        ("\u043d\u0435\u0442", "..."),
        ("two\nlines\tand  more ", "two lines and more"),
        ("20 \u00b5s \u2192 \U0001f600", "20 us -> ..."),
        ("", ""),
    ],
)
def test_text_becomes_ascii_and_shows_what_is_missing(text: str, plain: str) -> None:
    assert ascii_text(text) == plain


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_any_text_can_be_written(text: str) -> None:
    assert all(" " <= letter <= "~" for letter in ascii_text(text))
    picture = np.full((40, 60, 3), 128, np.uint8)
    for xy in ((-5, -5), (0, 0), (55, 30), (500, 5)):
        write(picture, text, xy, 12, (255, 255, 255))


@pytest.mark.parametrize("height", [8, 9, 12, 16, 23, 40])
@pytest.mark.parametrize("text", ["8", "REC", "29.9 fps (j|g)", "STALLED 7 s"])
def test_letters_fit_into_their_size_and_have_their_height(text: str, height: int) -> None:
    wide, high = text_size(text, height)
    picture = np.full((high + 20, wide + 20, 3), 128, np.uint8)
    write(picture, text, (10, 10), height, (255, 255, 255))
    rows, columns = np.nonzero((picture != 128).any(-1))
    assert rows.min() > 10 and rows.max() < 9 + high
    assert columns.min() > 10 and columns.max() < 9 + wide
    if text == "REC":
        bright = np.nonzero((picture > 200).all(-1))[0]
        assert abs(np.ptp(bright) + 1 - height) <= max(3, 0.25 * height)


def test_long_text_is_shortened_and_wrapped_to_its_room() -> None:
    text = "the camera does not answer at rtsp://camera.example.org:554/a/very/long/address"
    short = shortened(text, 12, 200)
    assert short.endswith("...") and text.startswith(short[:-3])
    assert 150 < text_size(short, 12)[0] <= 200
    assert shortened("fine", 12, 200) == "fine" and shortened(text, 12, 3) == ""
    lines = wrapped(text, 12, 200)
    assert len(lines) > 2 and all(text_size(line, 12)[0] <= 200 for line in lines)
    assert " ".join(wrapped(text, 12, 2000)) == text

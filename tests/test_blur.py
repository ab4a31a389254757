"""No face gets out: checked against the true heads of the demo scene, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from commandline import ROOT, demo, lines
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scene_heads import Mask, head_pixels, owned

from realtime.api import Stream
from realtime.blur import KEPT, NOBODY, Heads, cover, heads_of
from realtime.cli import settings_of
from realtime.draw import Style
from realtime.errors import UsageError
from realtime.records import Detections, Frame, Image, Poses
from realtime.render import draw
from realtime.scene import Scene
from realtime.schedule import LiveSchedule
from realtime.track import Tracker

SIZE_WH = (640, 360)
RATE = 10.0  # people move far between frames
FRAMES = 36
SHOWN = 6
"""Visible joints from which a person is given to the blur at all."""


@lru_cache(1)
def filmed() -> tuple[Scene, list[tuple[Image, Mask]]]:
    """The scene, its truth known already, and its frames with the pixels that show a head."""
    return head_pixels(3, range(FRAMES), SIZE_WH, RATE)


def network(rng: np.random.Generator, scene: Scene, n: int, faults: set[str]) -> Poses:
    """What a network with these faults makes of frame n: everybody of whom enough is seen, with
    noise; sometimes sure of no joint of the face, or of none at all, and sometimes blind."""
    truth = scene.truth(n)
    joints = truth.joints_xy + rng.normal(0, 1, truth.joints_xy.shape)
    scores = np.where(truth.visible, 0.8, 0.3)
    boxes = truth.boxes_xyxy + rng.normal(0, 1.5, truth.boxes_xyxy.shape)
    if "unsure" in faults and n % 3:
        scores[:, :5] = rng.uniform(0, 0.45, scores[:, :5].shape)
        joints[:, :5] += rng.normal(0, 8, joints[:, :5].shape)  # and wrong
    if "poor" in faults and n % 2:
        scores[:] = 0.05
    poses = Poses(
        joints.astype(np.float32),
        scores.astype(np.float32),
        boxes.astype(np.float32),
        scores.mean(1).astype(np.float32),
        truth.ids,
    )
    return poses[truth.visible.sum(1) >= SHOWN]


def survivors(
    faults: set[str], style: Style, seen_every: int = 1
) -> Iterator[tuple[int, int, int]]:
    """For each frame and person found within the last second: how many raw pixels of the head are
    in the picture, and how many the head has."""
    rng, memory = np.random.default_rng(5), Heads()
    scene, frames = filmed()
    last: dict[int, float] = {}
    for n, (image, head) in enumerate(frames):
        time = n / RATE
        truth = scene.truth(n)
        poses = network(rng, scene, n, faults)
        if n % seen_every:
            poses = poses[np.zeros(len(poses), bool)]
        last.update({int(i): time for i in poses.ids})
        heads = memory.update(heads_of(poses, NOBODY), time, SIZE_WH)
        noise = image.copy()
        noise[head] = rng.integers(0, 256, (int(head.sum()), 3))
        raw = np.ones(head.shape, bool)
        for one in (image, noise):  # a pixel that follows the picture in both is a raw one
            ground = one[:, ::-1] if style.mirror else one
            seen = draw(Frame(n, time, one), poses, style, heads=heads)
            same = (seen == ground).all(2)
            raw &= same[:, ::-1] if style.mirror else same
        masks = owned(head, truth.joints_xy, truth.boxes_xyxy)
        for person, mask in zip(truth.ids.tolist(), masks, strict=True):
            if time - last.get(person, -9) <= KEPT and mask.any():
                yield n, int((raw & mask).sum()), int(mask.sum())


@pytest.mark.parametrize(
    ("faults", "seen_every"),
    [((), 1), (("unsure",), 1), (("poor",), 1), ((), 5), (("unsure", "poor"), 9)],
)
def test_no_raw_pixel_of_a_head_gets_out(faults: tuple[str, ...], seen_every: int) -> None:
    """Also while the network is unsure, and in the frames between those in which anybody is
    found (every 9th at 10 frames per second: 0.8 s without any)."""
    found = list(survivors(set(faults), Style(blur_faces=True), seen_every))
    assert len(found) > 40 and sum(size for _, _, size in found) > 5000
    assert [(n, raw) for n, raw, _ in found if raw] == []


def test_nor_in_a_mirror_or_on_black() -> None:
    for style in (Style(blur_faces=True, mirror=True), Style(black=True)):
        assert not [n for n, raw, _ in survivors(set(), style, 4) if raw]


def test_the_check_itself_sees_raw_pixels() -> None:
    found = list(survivors(set(), Style()))
    assert sum(raw for _, raw, _ in found) > 0.5 * sum(size for _, _, size in found)


def test_a_recorded_video_shows_no_head(tmp_path: Path) -> None:
    """The real networks, the real encoder: whoever was found has no face in the video, however
    rarely the detector was to run."""
    video, data = tmp_path / "d.mp4", tmp_path / "d.jsonl"
    result = demo(
        "--output", video, "--json", data, "--blur-faces", "--detect-every", "4", "--end", "6",
        "--min-joint-score", "1",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert hidden_heads(pictures_of(video), lines(data)) >= 6


def test_nor_does_one_that_follows_somebody_else(tmp_path: Path) -> None:
    """With --select the others are not drawn, and have no face all the same."""
    video, data, all_data = (tmp_path / name for name in ("d.mp4", "d.jsonl", "all.jsonl"))
    asked = ("--blur-faces", "--end", "6", "--min-joint-score", "1")
    assert demo("--json", all_data, *asked).code == 0
    result = demo("--output", video, "--json", data, "--select", "largest", *asked)
    assert result.code == 0, result.err
    assert [len(record["people"]) for record in lines(data)] == [1] * 6
    assert hidden_heads(pictures_of(video), lines(all_data)) >= 6 + 6  # not the one alone


def test_nor_does_either_half_of_a_comparison(tmp_path: Path) -> None:
    video, data = tmp_path / "d.mp4", tmp_path / "d.jsonl"
    result = demo(
        "--output", video, "--json", data, "--blur-faces", "--end", "6", "--min-joint-score", "1",
        "--compare", ROOT / "tests" / "data" / "tiny_pose.onnx",
    )  # fmt: skip
    assert result.code == 0, result.err
    whole = pictures_of(video)
    for half in (slice(None, 1280), slice(-1280, None)):
        assert hidden_heads([picture[-720:, half] for picture in whole], lines(data)) >= 6


def pictures_of(video: Path) -> list[Image]:
    with av.open(str(video)) as container:
        return [f.to_ndarray(format="bgr24") for f in container.decode(video=0)]


def hidden_heads(pictures: list[Image], records: list[dict[str, Any]]) -> int:
    """Pictures of the first frames of the demo scene in which whoever is in their records has no
    face; how many were looked at."""
    scene, frames = head_pixels(0, range(len(pictures)), (1280, 720), 30.0)
    checked = 0
    for n, (image, head) in enumerate(frames):
        truth, people = scene.truth(n), records[n]["people"]
        masks = owned(head, truth.joints_xy, truth.boxes_xyxy)
        for mask, joints in zip(masks, truth.joints_xy, strict=True):
            found = any(
                np.hypot(*(np.array(p["keypoints"])[:5, :2].mean(0) - joints[:5].mean(0))) < 12
                for p in people
            )
            if found and mask.sum() > 300:
                checked += 1
                raw, seen = (fine(p, mask) for p in (image, pictures[n]))
                assert seen < 0.35 * raw, (n, seen, raw)
    return checked


def fine(picture: Image, mask: Mask) -> float:
    """How much neighbouring pixels of a part differ, on average."""
    grey = picture.astype(float).mean(2)
    across = np.abs(np.diff(grey, axis=1))[mask[:, 1:] & mask[:, :-1]].mean()
    down = np.abs(np.diff(grey, axis=0))[mask[1:] & mask[:-1]].mean()
    return float(across + down)


def one_person(scores: float, joints: float = 50.0) -> Poses:
    return Poses(
        np.full((1, 17, 2), joints, np.float32),
        np.full((1, 17), scores, np.float32),
        np.array([[40, 20, 80, 220]], np.float32),
        np.array([0.5], np.float32),
        np.array([-1], np.int64),
    )


def holds(outer: np.ndarray, inner: tuple[float, ...]) -> bool:
    return bool((outer[:2] <= inner[:2]).all() and (outer[2:] >= inner[2:]).all())


UPPER, WHOLE = (40, 20, 80, 60), (40, 20, 80, 220)


def test_all_of_those_of_whom_nothing_is_sure_is_covered() -> None:
    for score in (0.0, 0.3, np.nan):
        assert holds(heads_of(one_person(score), NOBODY)[0], WHOLE)
    assert holds(heads_of(one_person(0.9, np.nan), NOBODY)[0], WHOLE)
    assert holds(heads_of(Poses.empty(), one_person(0).boxes_xyxy)[0], WHOLE)
    assert not holds(heads_of(one_person(0.9), NOBODY)[0], UPPER)
    assert heads_of(Poses.empty(), NOBODY).shape == (0, 4)
    person = one_person(0)
    wider = replace(person, boxes_xyxy=person.boxes_xyxy / 2, wider_xyxy=person.boxes_xyxy)
    assert holds(heads_of(wider, NOBODY)[0], WHOLE)  # a box worked out: where the person may be


def turned_away(shoulders_y: float, score: float = 0.9) -> Poses:
    """Somebody whose face is not seen, with shoulders at this height in the box."""
    person = one_person(0.05)
    person.joint_scores[0, 5:7] = score
    person.joints_xy[0, 5:7] = [(50, shoulders_y), (70, shoulders_y)]
    return person


def test_the_upper_fifth_is_enough_where_the_head_is_known_to_be_up() -> None:
    (head,) = heads_of(turned_away(70), NOBODY)
    assert holds(head, UPPER) and head[3] < 90


@pytest.mark.parametrize("person", [turned_away(180), turned_away(70, 0.4)])
def test_somebody_who_may_stand_on_the_hands_is_covered_as_a_whole(person: Poses) -> None:
    assert holds(heads_of(person, NOBODY)[0], WHOLE)


def crowd(
    members: int = 8, at: float = 0.3, score: float = 0.9, wide: float = 10, own: float = 0.29
) -> Poses:
    """A box of 400 x 300 pixels whose pose has the score own, and people in it, beside each other
    from the share ``at`` of its width to its right side."""
    x = np.linspace(400 * at, 360, members)
    small = np.stack([x, np.full(members, 120.0), x + wide, np.full(members, 220.0)], 1)
    boxes = np.concatenate([[[0, 0, 400, 300]], small]).astype(np.float32)
    scores = np.array([own, *[score] * members], np.float32)
    joints = np.tile(boxes[:, None, :2] + 10, (1, 17, 1))
    joint_scores = np.tile(scores[:, None], (1, 17))
    return Poses(joints, joint_scores, boxes, scores, np.full(members + 1, -1))


def test_a_crowd_that_is_taken_for_one_person_is_not_covered_as_one() -> None:
    people = crowd()
    heads = heads_of(people, NOBODY)
    assert len(heads) == 8 and np.array_equal(heads, heads_of(people[1:], NOBODY))


@pytest.mark.parametrize(
    "people",
    [
        crowd(members=7),
        crowd(at=0.76),  # somebody may stand beside them
        crowd(score=0.29),  # somebody else's clothes?
        crowd(wide=70),  # children?
    ],
)
def test_somebody_among_others_is_covered_as_a_whole(people: Poses) -> None:
    heads = heads_of(people, NOBODY)
    assert len(heads) == len(people) and holds(heads[0], (0, 0, 400, 300))
    assert len(heads_of(crowd(own=0.9), NOBODY)) == 9  # whose face is known


def test_a_face_in_a_poor_pose_is_not_believed() -> None:
    """Networks see faces at the feet of people who are upside down."""
    person = one_person(0.6)
    person.joint_scores[0, 5:] = 0.2
    assert not holds(heads_of(person, NOBODY)[0], WHOLE)
    person.scores[:] = 0.25
    assert holds(heads_of(person, NOBODY)[0], WHOLE)


def test_a_guess_outside_of_the_upper_fifth_is_covered_as_well() -> None:
    """Somebody who bends down, in a bad light."""
    bent = turned_away(70)
    bent.joint_scores[0, :5] = 0.3
    bent.joints_xy[0, :5] = (90, 180)
    assert holds(heads_of(bent, NOBODY)[0], (40, 20, 95, 185))


def test_a_head_is_remembered_for_a_second_and_not_longer() -> None:
    memory, head = Heads(), np.array([[100, 100, 140, 140]], np.float32)
    for n in range(5):
        memory.update(head + np.float32(10 * n), n * 0.1, SIZE_WH)  # 100 pixels a second
    for time in (0.5, 0.9, 1.39):
        (kept,) = memory.update(NOBODY, time, SIZE_WH)
        there = 100 * time
        assert holds(kept, (100 + there, 100 + there, 140 + there, 140 + there))  # it walked on
        assert holds(kept, (140, 140, 180, 180))  # it stopped
    assert len(memory.update(NOBODY, 1.41, SIZE_WH)) == 0


def test_a_head_stays_covered_when_the_picture_changes_its_size() -> None:
    memory, head = Heads(), np.array([[400, 100, 440, 140]], np.float32)
    for n in range(3):
        memory.update(head + np.float32(10 * n), n * 0.1, (640, 480))
    (kept,) = memory.update(NOBODY, 0.3, (320, 120))
    assert holds(kept, (210, 30, 230, 40)) and kept[2] < 250  # half as wide, a quarter as high


def test_another_head_does_not_take_the_place_of_one_that_is_gone() -> None:
    memory = Heads()
    two = np.array([[100, 100, 140, 140], [180, 100, 220, 140]], np.float32)
    memory.update(two, 0.0, SIZE_WH)
    memory.update(two, 0.1, SIZE_WH)
    kept = memory.update(two[1:], 0.2, SIZE_WH)
    assert len(kept) == 2 and any(holds(k, (100, 100, 140, 140)) for k in kept)


def test_a_source_that_starts_over_keeps_what_was_just_seen() -> None:
    memory, head = Heads(), np.array([[100, 100, 140, 140]], np.float32)
    memory.update(head, 20.0, SIZE_WH)
    assert len(memory.update(NOBODY, 19.5, SIZE_WH)) == 1
    assert len(memory.update(NOBODY, 0.0, SIZE_WH)) == 0


numbers = st.floats(width=32)


@given(
    arrays(np.float32, (3, 17, 2), elements=numbers),
    arrays(np.float32, (3, 17), elements=numbers),
    arrays(np.float32, (3, 4), elements=st.floats(-2000, 2000, width=32)),
    st.sampled_from([(1, 1), (5, 90), (64, 48)]),
)
def test_any_numbers_on_any_picture(
    joints: np.ndarray, scores: np.ndarray, boxes: np.ndarray, size_wh: tuple[int, int]
) -> None:
    ones = np.ones(3, np.float32)
    heads = heads_of(Poses(joints, scores, boxes, ones, np.arange(3)), boxes)
    assert heads.shape == (6, 4) and np.isfinite(heads).all()
    memory = Heads()
    for time in (0.0, 0.0, 0.5, -0.2):
        heads = memory.update(heads[:3], time, SIZE_WH)
        assert np.isfinite(heads).all()
    picture = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    cover(picture, heads)


@pytest.mark.parametrize("heads", [None, np.array([[-50, -50, 900, 900]], np.float32)])
def test_what_is_covered_has_no_detail(heads: np.ndarray | None) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    raw = picture.copy()
    cover(picture, heads)
    everything = np.zeros(picture.shape[:2], bool)
    everything[80:160, 110:210] = True
    assert fine(picture, everything) < 0.1 * fine(raw, everything)


def test_a_frame_nobody_looked_at_is_covered_as_a_whole() -> None:
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    seen = draw(Frame(0, 0.0, image), Poses.empty(), Style(blur_faces=True), heads=None)
    assert (seen == image).all(2).mean() < 0.001


def test_with_the_blur_on_every_live_frame_is_searched() -> None:
    """Else somebody who comes in would be seen until the next detection."""
    calls: list[int] = []

    def detect(frames: object) -> list[Detections]:
        calls.append(1)
        box = np.array([[10, 10, 30, 60]], np.float32)
        return [Detections(box, np.ones(1, np.float32))]

    tracker, blurred = Tracker(), False
    schedule = LiveSchedule(detect, tracker, 5, lambda: blurred)
    for n in range(20):
        blurred = n >= 10
        found = schedule(Frame(n, n / 30, np.zeros((80, 80, 3), np.uint8)))
        joints = np.full((1, 17, 2), 20, np.float32)
        scores = np.full((1, 17), 0.9, np.float32)
        ids = np.array([-1], np.int64)
        tracker.update(Poses(joints, scores, found.boxes_xyxy, found.scores, ids), n / 30)
    assert len(calls) == 2 + 10


def test_a_stream_that_gives_raw_frames_refuses_to_promise() -> None:
    with pytest.raises(UsageError, match="raw frames"):
        Stream(settings_of(input="demo", blur_faces=True))

"""Joint angles: numbers, and where they are written."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_formats_files import people

from realtime import angle_marks, render
from realtime.angles import ANGLES, AT_JOINT, joint_angles
from realtime.formats.registry import About, open_data
from realtime.formats.target import Target
from realtime.records import Float, Frame, Image, PosedFrame, Poses
from realtime.render import Style, draw
from realtime.skeleton import JOINTS, MIRROR
from realtime.text import text_size


def standing(**moved: tuple[float, float]) -> Poses:
    """Somebody 200 pixels tall who faces us with hanging arms; joints moved as said."""
    places: dict[str, tuple[float, float]] = {
        "nose": (100, 30), "eye": (5, -3), "ear": (9, 0), "shoulder": (20, 60), "elbow": (20, 100),
        "wrist": (20, 140), "hip": (20, 130), "knee": (20, 180), "ankle": (20, 225),
    }  # fmt: skip
    joints = np.zeros((1, 17, 2), np.float32)
    for j, name in enumerate(JOINTS):
        side, _, part = name.partition("_")
        x, y = places[part or name]
        joints[0, j] = (x, y) if not part else (100 + (x if side == "left" else -x), y)
        joints[0, j] = moved.get(name, joints[0, j].tolist())
    box = np.array([[70, 20, 130, 230]], np.float32)
    ones = np.ones((1, 17), np.float32)
    return Poses(joints, ones, box, ones[:, 0], np.array([1]))


def angle(poses: Poses, name: str) -> float:
    return float(joint_angles(poses)[0, ANGLES.index(name)])


def test_angles_of_a_person_who_stands_upright() -> None:
    poses = standing()
    for side in ("left", "right"):
        assert angle(poses, f"{side}_knee") == pytest.approx(180)
        assert angle(poses, f"{side}_hip") == pytest.approx(180)
        assert angle(poses, f"{side}_elbow") == pytest.approx(180)
        assert angle(poses, f"{side}_shoulder") == pytest.approx(0, abs=1e-3)
    bent = standing(left_wrist=(160, 100), right_elbow=(40, 60), right_ankle=(35, 180))
    assert angle(bent, "left_elbow") == pytest.approx(90)
    assert angle(bent, "right_shoulder") == pytest.approx(90)
    assert angle(bent, "right_knee") == pytest.approx(90)


def test_pixels_that_are_no_squares_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those of the true shape, also in what is written."""
    true = standing(left_wrist=(150, 130))
    squeezed = replace(true, joints_xy=true.joints_xy / np.array([2, 1], np.float32))
    expected = joint_angles(true)
    np.testing.assert_allclose(joint_angles(squeezed, aspect=2.0), expected, atol=1e-3)
    frame = Frame(0, 0.0, np.zeros((240, 200, 3), np.uint8), aspect=2.0)
    kinds = ("jsonl", "csv", "csv-wide", "npz")
    targets = [Target(kind, tmp_path / kind) for kind in kinds]
    with ExitStack() as cleanup:
        about = About("a", angles=True)
        for sink in open_data(targets, about, overwrite=False, cleanup=cleanup):
            sink.write(PosedFrame(frame, squeezed))
            sink.close()
    [person] = json.loads((tmp_path / "jsonl").read_text())["people"]
    assert list(person["angles"].values()) == pytest.approx(expected[0], abs=0.06)
    wide = (tmp_path / "csv-wide").read_text().split("\n")[1].split(",")[-len(ANGLES) :]
    assert [float(cell) for cell in wide] == pytest.approx(expected[0], abs=0.06)
    tidy = [line.rpartition(",")[2] for line in (tmp_path / "csv").read_text().split("\n")[1:18]]
    assert [float(tidy[joint]) for joint in AT_JOINT] == pytest.approx(expected[0], abs=0.06)
    assert np.load(tmp_path / "npz")["angles"] == pytest.approx(expected, abs=1e-3)
    drawn: list[Float] = []
    monkeypatch.setattr(render, "draw_angles", lambda *args: drawn.append(args[-1]))
    draw(frame, squeezed, Style(show_angles=True))
    assert drawn[0] == pytest.approx(expected, abs=1e-3)


@given(st.integers(0, 2**32 - 1), st.floats(0, 360), st.floats(0.1, 10), st.floats(-1e3, 1e3))
def test_turning_growing_and_moving_change_nothing_and_a_mirror_swaps_sides(
    seed: int, degrees: float, scale: float, shift: float
) -> None:
    poses = people(np.random.default_rng(seed), [1, 2])
    poses.joint_scores[:] = 1
    angles = joint_angles(poses)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = scale * poses.joints_xy @ np.array([[c, -s], [s, c]]) + shift
    ones = poses.joint_scores, poses.boxes_xyxy, poses.scores, poses.ids
    assert joint_angles(Poses(turned.astype(np.float32), *ones)) == pytest.approx(angles, abs=0.5)
    mirrored = np.ascontiguousarray((poses.joints_xy * [-1, 1])[:, MIRROR]).astype(np.float32)
    found = joint_angles(Poses(mirrored, *ones))
    assert found[:, ::2] == pytest.approx(angles[:, 1::2], abs=0.01)
    assert ((angles >= 0) & (angles <= 180)).all()


def test_what_is_not_known_is_nan() -> None:
    poses = standing(left_knee=(120.0, 130.0))  # on the hip
    poses.joint_scores[0, JOINTS.index("right_wrist")] = 0.2
    unknown = {name for name, a in zip(ANGLES, joint_angles(poses)[0]) if np.isnan(a)}
    assert unknown == {"left_knee", "left_hip", "right_elbow"}
    assert joint_angles(Poses.empty()).shape == (0, 8)
    assert [JOINTS[j] for j in AT_JOINT] == list(ANGLES)


@pytest.mark.parametrize("mirror", [False, True])
def test_they_are_written_beside_the_joints_when_asked_for(mirror: bool) -> None:
    frame = Frame(0, 0.0, np.full((250, 220, 3), 90, np.uint8))
    poses = standing(left_wrist=(160, 100))
    plain = draw(frame, poses, Style(mirror=mirror))
    marked = draw(frame, poses, Style(mirror=mirror, show_angles=True))
    changed = (plain != marked).any(2)
    for joint in AT_JOINT:
        x, y = poses.joints_xy[0, joint].tolist()
        x = 219 - x if mirror else x
        near = changed[round(y) - 10 : round(y) + 10, max(round(x) - 40, 0) : round(x) + 40]
        assert near.any(), JOINTS[joint]
    poses.joint_scores[:] = 0.1
    nothing = draw(frame, poses, Style(show_angles=True))
    assert np.array_equal(nothing, draw(frame, poses, Style()))


def test_no_number_is_on_another_one_of_somebody_at_the_border(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seen from the side, where both elbows, hips and knees are at one height."""
    written: list[tuple[int, int, int, int]] = []

    def write(picture: Image, text: str, xy: tuple[int, int], height: int, _: object) -> None:
        written.append((*xy, *text_size(text, height)))

    monkeypatch.setattr(angle_marks, "write", write)
    aside = standing()
    aside.joints_xy[..., 0] = np.where(aside.joints_xy[..., 0] > 100, 197, 190)
    draw(Frame(0, 0.0, np.zeros((250, 200, 3), np.uint8)), aside, Style(show_angles=True))
    assert len(written) == len(AT_JOINT)
    for n, (x, y, wide, high) in enumerate(written):
        for x2, y2, wide2, high2 in written[:n]:
            assert x >= x2 + wide2 or x2 >= x + wide or y >= y2 + high2 or y2 >= y + high


def test_numbers_at_the_border_are_whole_and_those_of_4k_as_large_as_ids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[tuple[int, int, int, int, int]] = []

    def write(picture: Image, text: str, xy: tuple[int, int], height: int, _: object) -> None:
        written.append((*xy, *text_size(text, height), height))

    monkeypatch.setattr(angle_marks, "write", write)
    at_border = standing(right_elbow=(2, 100), left_elbow=(198, 4), right_knee=(70, 248))
    draw(Frame(0, 0.0, np.zeros((250, 200, 3), np.uint8)), at_border, Style(show_angles=True))
    assert len(written) == len(AT_JOINT)
    for x, y, wide, high, _ in written:
        assert 0 <= x <= 200 - wide and 0 <= y <= 250 - high
    assert written[1][0] > 2  # beside the joint, not on it
    written.clear()
    one = standing()
    large = replace(one, joints_xy=8 * one.joints_xy, boxes_xyxy=8 * one.boxes_xyxy)
    draw(Frame(0, 0.0, np.zeros((2160, 3840, 3), np.uint8)), large, Style(show_angles=True))
    assert {height for *_, height in written} == {47}

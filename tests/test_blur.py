"""No face gets out: checked against the true heads of the demo scene, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import pytest
from commandline import demo
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from realtime.blur import KEPT, NOBODY, Heads, cover, heads_of
from realtime.draw import Style
from realtime.records import Frame, Image, Poses
from realtime.render import draw
from realtime.scene import Scene
from realtime.scene.easel import Easel

SIZE_WH = (640, 360)
RATE = 10.0  # people move far between frames
FRAMES = 36
SHOWN = 6
"""Visible joints from which a person is given to the blur at all."""


@lru_cache(1)
def filmed() -> list[tuple[Image, np.ndarray]]:
    """The demo scene's frames and which of their pixels show a head (H, W): those that change when
    the heads are not painted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Easel, "head", lambda *_: None)
        headless = Scene(3, FRAMES, SIZE_WH, RATE)
        without = [headless.image(n).copy() for n in range(FRAMES)]
    scene = Scene(3, FRAMES, SIZE_WH, RATE)
    found = []
    for n in range(FRAMES):
        changes = np.abs(scene.image(n).astype(int) - without[n]).max(2) > 16
        found.append((scene.image(n), changes))
    return found


def truths() -> Scene:
    filmed()
    scene = Scene(3, FRAMES, SIZE_WH, RATE)
    return scene


def face_of(joints_xy: np.ndarray) -> np.ndarray:
    return np.asarray(joints_xy[:5].mean(0))


def owned(head: np.ndarray, faces: np.ndarray, tall: np.ndarray) -> list[np.ndarray]:
    """The pixels of head (H, W) that belong to each person: those nearest to their face."""
    rows, columns = np.nonzero(head)
    apart = np.hypot(columns[:, None] - faces[:, 0], rows[:, None] - faces[:, 1])
    nearest = apart.argmin(1)
    near = apart[np.arange(len(rows)), nearest] < 0.15 * tall[nearest]
    return [np.stack([rows, columns], 1)[near & (nearest == n)] for n in range(len(faces))]


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
    rng, scene, memory = np.random.default_rng(5), truths(), Heads()
    last: dict[int, float] = {}
    for n, (image, head) in enumerate(filmed()):
        time = n / RATE
        scene.image(n)
        truth = scene.truth(n)
        poses = network(rng, scene, n, faults)
        if n % seen_every:
            poses = poses[np.zeros(len(poses), bool)]
        last.update({int(i): time for i in poses.ids})
        heads = memory.update(heads_of(poses, NOBODY), time)
        noise = image.copy()
        noise[head] = rng.integers(0, 256, (int(head.sum()), 3))
        raw = np.ones(head.shape, bool)
        for one in (image, noise):  # a pixel that follows the picture in both is a raw one
            ground = one[:, ::-1] if style.mirror else one
            seen = draw(Frame(n, time, one), poses, style, heads=heads)
            same = (seen == ground).all(2)
            raw &= same[:, ::-1] if style.mirror else same
        faces = np.array([face_of(j) for j in truth.joints_xy]).reshape(-1, 2)
        tall = truth.boxes_xyxy[:, 3] - truth.boxes_xyxy[:, 1]
        for person, pixels in zip(truth.ids.tolist(), owned(head, faces, tall), strict=True):
            if time - last.get(person, -9) <= KEPT and len(pixels):
                yield n, int(raw[pixels[:, 0], pixels[:, 1]].sum()), len(pixels)


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

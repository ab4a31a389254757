"""The picture people see: a frame with its people, and what to show while no frame comes.

How skeletons look and why is said in realtime/draw.py, how text looks in realtime/text.py.
Drawing knows nothing about estimating: it hides joints by their score and nothing else.
"""

from __future__ import annotations

import cv2
import numpy as np

from realtime.angle_marks import draw_angles
from realtime.angles import joint_angles
from realtime.blur import cover
from realtime.draw import Style, draw_boxes, draw_skeletons
from realtime.heat import draw_heat
from realtime.overlay import Overlay, draw_card, draw_ids, draw_overlay
from realtime.records import Float, Frame, Heat, Image, Poses
from realtime.strokes import place

__all__ = ["Overlay", "Style", "draw", "draw_state"]

DIMMED = 0.35  # brightness of the old picture behind a message
CARD_GREY = 32  # of the background when there is no picture yet


def draw(
    frame: Frame,
    poses: Poses,
    style: Style,
    overlay: Overlay | None = None,
    heads: Float | None = None,
    heat: Heat | None = None,
) -> Image:
    """A new picture (H, W, 3) BGR: the frame with its people, ids and, if given, the overlay.

    poses are in the frame's own pixels, also when style.mirror flips the picture. Joints may lie
    anywhere; the frame is not changed. The same input gives the same bytes (with one version of
    OpenCV), so recordings are drawn without an overlay.
    heads: what style.blur_faces covers, (H, 4) in frame pixels; None covers the whole picture.
    heat: what style.heatmap shows; without it the skeletons.
    """
    picture = _ground(frame.image, style, heads)
    if heat is not None and style.heatmap:
        draw_heat(picture, heat, style.mirror)
    if len(poses):
        people = place(poses, frame.size_wh, style.min_joint_score, style.mirror)
        if style.show_boxes:
            draw_boxes(picture, people, poses.ids)
        if heat is None or not style.heatmap:
            draw_skeletons(picture, people, poses.ids)
        if style.show_angles:
            degrees = joint_angles(poses, style.min_joint_score, frame.aspect)
            draw_angles(picture, people, poses, degrees)
        draw_ids(picture, people, poses.ids)
    if overlay is not None:
        draw_overlay(picture, overlay)
    return picture


def draw_state(picture: Image | None, state: str, size_wh: tuple[int, int] = (640, 360)) -> Image:
    """A new picture for while no frame comes: the last one dimmed, or a dark card, with state.

    picture: as draw() returned it, (H, W, 3) BGR, not changed; None before the first frame, and
    then the card has size_wh. state: "stalled 7 s" or "connecting 3 s: connection refused"; what
    follows ": " is written smaller.
    """
    if picture is None:
        card = np.full((size_wh[1], size_wh[0], 3), CARD_GREY, np.uint8)
    else:
        card = np.asarray(cv2.convertScaleAbs(picture, alpha=DIMMED), np.uint8)
    draw_card(card, state)
    return card


def _ground(image: Image, style: Style, heads: Float | None) -> Image:
    """A new picture of what people are drawn on."""
    if style.black:
        return np.zeros_like(image)
    if style.blur_faces:
        covered = image.copy()
        cover(covered, heads)
        return _flipped(covered) if style.mirror else covered
    return _flipped(image) if style.mirror else image.copy()


def _flipped(image: Image) -> Image:
    return np.asarray(cv2.flip(image, 1), np.uint8)

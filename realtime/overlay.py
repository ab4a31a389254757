"""What is written on a picture, in place: ids, the live numbers, the state of the source."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtime.draw import LIGHT, YELLOW, tint
from realtime.records import Image
from realtime.strokes import FACE_JOINTS, Array, Visible
from realtime.text import RIM, shortened, text_size, wrapped, write

SMALLEST = 9  # height in pixels of the smallest readable capital letter
RED = (60, 60, 235)  # BGR
HEAD_ABOVE_EYES = 0.1  # of the person's size: hair and a little air

Box = tuple[int, int, int, int]  # x, y, width, height


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is written on a live picture besides the people; by default nothing.

    fps: pictures per second; latency_ms: age of this one in milliseconds.
    dropped: frames left out so far, written only when above 0.
    state: of the source (SourceStatus.describe()), written large unless "", "live" or "ended":
        its last frames are still to be worked on then.
    recording: a red dot at the top right.
    """

    fps: float | None = None
    latency_ms: float | None = None
    dropped: int = 0
    state: str = ""
    recording: bool = False


def letter_height(picture: Image, share: float) -> int:
    """Height in pixels of capitals: a share of the picture's shorter side, never too small."""
    shorter = int(min(picture.shape[:2]))
    return max(SMALLEST, round(shorter * share))


def draw_ids(picture: Image, people: Visible, ids: Array) -> None:
    """The id of everybody who has one, above the head, inside the picture, beside each other.

    Older ids choose their place first, so a newcomer moves nobody's label.
    """
    largest = letter_height(picture, 1 / 36)
    taken: list[Box] = []
    labelled = np.flatnonzero((ids >= 0) & _in_view(people, picture))
    for n in sorted(labelled.tolist(), key=lambda n: int(ids[n])):
        text, size = str(ids[n]), float(people.sizes[n])
        height = min(max(round(size / 16), SMALLEST), largest)
        wide, high = text_size(text, height)
        x, y = _head_top(people.joints_xy[n], people.shown[n], size)
        place = free_place((round(x - wide / 2), round(y - high), wide, high), taken, picture)
        taken.append(place)
        write(picture, text, place[:2], height, tint(int(ids[n])))


def _in_view(people: Visible, picture: Image) -> Array:
    """Who (N,) has a shown joint inside the picture."""
    xy, size_wh = people.joints_xy, (picture.shape[1], picture.shape[0])
    inside = ((xy >= 0) & (xy < size_wh)).all(-1)
    return np.asarray((inside & people.shown).any(-1))


def free_place(wanted: Box, taken: list[Box], picture: Image) -> Box:
    """wanted moved into the picture, then up or down past other labels if there is a free place
    within three lines."""
    x, y, wide, high = wanted
    x = max(min(x, picture.shape[1] - wide), 0)
    lines = [max(min(y + k * high, picture.shape[0] - high), 0) for k in (0, -1, 1, -2, 2, -3, 3)]
    free = (line for line in lines if not _touches((x, line, wide, high), taken))
    return x, next(free, lines[0]), wide, high


def _touches(box: Box, taken: list[Box]) -> bool:
    x, y, wide, high = box
    return any(
        x < x2 + wide2 and x2 < x + wide and y < y2 + high2 and y2 < y + high
        for x2, y2, wide2, high2 in taken
    )


def _head_top(joints_xy: Array, shown: Array, size: float) -> tuple[float, float]:
    """A point just above the head, or above the highest joint when no face joint is shown."""
    face = joints_xy[:FACE_JOINTS][shown[:FACE_JOINTS]]
    if len(face):
        return float(face[:, 0].mean()), float(face[:, 1].min()) - HEAD_ABOVE_EYES * size
    x, y = joints_xy[shown][joints_xy[shown][:, 1].argmin()]
    return float(x), float(y) - HEAD_ABOVE_EYES / 2 * size


def draw_overlay(picture: Image, overlay: Overlay) -> None:
    """The numbers at the top left, the state below them."""
    height = letter_height(picture, 1 / 42)
    edge, line = height // 2, round(height * 1.7)
    numbers = []
    if overlay.fps is not None:
        numbers.append(f"{overlay.fps:.1f} fps")
    if overlay.latency_ms is not None:
        numbers.append(f"{overlay.latency_ms:.0f} ms")
    x = edge
    for number in numbers:
        write(picture, number, (x, edge), height, LIGHT)
        x += text_size(number, height)[0] + height // 2
    if overlay.dropped > 0:
        write(picture, f"{overlay.dropped} dropped", (edge, edge + line), height, YELLOW)
    if overlay.recording:
        _draw_recording(picture, height, edge)
    if overlay.state not in ("", "live", "ended"):
        _draw_state_line(picture, overlay.state, edge + 2 * line)


def _draw_recording(picture: Image, height: int, edge: int) -> None:
    wide, high = text_size("REC", height)
    x = picture.shape[1] - edge - wide
    middle, radius = (x - round(height * 0.7), edge + high // 2 + height // 5), round(height * 0.45)
    cv2.circle(picture, middle, radius + 2, RIM, -1, cv2.LINE_AA)
    cv2.circle(picture, middle, radius, RED, -1, cv2.LINE_AA)
    write(picture, "REC", (x, edge), height, LIGHT)


def _draw_state_line(picture: Image, state: str, y: int) -> None:
    height = letter_height(picture, 1 / 20)
    text = shortened(headline(state), height, picture.shape[1])
    write(picture, text, ((picture.shape[1] - text_size(text, height)[0]) // 2, y), height, YELLOW)


def headline(state: str) -> str:
    """ "stalled 7 s" as "STALLED 7 s": the first word in capitals."""
    word, space, rest = state.partition(" ")
    return word.upper() + space + rest


def draw_card(picture: Image, state: str) -> None:
    """state in the middle of the picture: what is before ": " large, the rest small below."""
    title, _, detail = state.partition(": ")
    large, small = letter_height(picture, 1 / 14), letter_height(picture, 1 / 28)
    room = round(picture.shape[1] * 0.92)
    lines = [(line, large, YELLOW) for line in wrapped(headline(title), large, room)]
    lines += [(line, small, LIGHT) for line in wrapped(detail, small, room)]
    y = max(0, picture.shape[0] - sum(round(height * 1.8) for _, height, _ in lines)) // 2
    for line, height, colour in lines:
        x = (picture.shape[1] - text_size(line, height)[0]) // 2
        write(picture, line, (x, y), height, colour)
        y += round(height * 1.8)

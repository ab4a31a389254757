"""How good a person detector is: AP, and what it takes nobody for somebody at equal recall."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.base import Network
from realtime import geometry
from realtime.detect import Detector
from realtime.errors import UsageError
from realtime.records import Detections, Float
from train import coco_ap
from train.coco import Picture
from train.coco_ap import SMALL
from train.degrade import Change
from train.images import check_there
from train.measured import Run, Running, open_frame, spread

TOGETHER = 8
"""Pictures in one call of the network."""
LEAST = 0.01
"""Boxes that score less are not looked at: AP needs the long tail, and its end changes nothing."""
PER_PICTURE = 100
"""Boxes of one picture, as COCO's AP counts."""
MATCH = 0.5
"""A box finds a person with this IoU."""
RECALLS = (0.6, 0.7)
SCORES = (0.2, 0.3, 0.4, 0.5)
"""At which false people on pictures without people are counted."""

Bool = NDArray[np.bool_]


def measurable(pictures: Sequence[Picture], limit: int | None, given: str) -> list[Picture]:
    """Those on which a detector can be measured: everybody in them is labelled.

    limit: so many at most, evenly over all. given: how they were, for the message. Raises
    UsageError where nobody is in them.
    """
    chosen = _whole(pictures, limit)
    if not any(picture.people for picture in chosen):
        text = "a detector is measured on pictures where everybody is labelled"
        raise UsageError(f"{given}: {text}")
    return chosen


def _whole(pictures: Sequence[Picture], limit: int | None) -> list[Picture]:
    return spread([picture for picture in pictures if picture.complete], limit)


def find_people(
    network: Network,
    pictures: Sequence[Picture],
    min_score: float = LEAST,
    max_people: int = PER_PICTURE,
    change: Change | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Detections]:
    """The people of each picture, by the pipeline's own realtime.detect.

    change: of the pictures, see train.degrade. progress is told how many pictures are done.
    Raises InputError, of images that are missing before the first is looked at; ModelError.
    """
    check_there(picture.path for picture in pictures)
    detector = Detector(network, min_score, max_people)
    found: list[Detections] = []
    for start in range(0, len(pictures), TOGETHER):
        group = pictures[start : start + TOGETHER]
        found += detector([open_frame(p, start + n, change) for n, p in enumerate(group)])
        progress(len(found))
    return found


# ---- matching -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Curve:
    """Boxes from the best down. scores (D,); hits and false: how many of the first n + 1 found
    somebody and nobody; empty: how many lie in pictures without people. people: asked for.
    images, empty_images: how many of them there are."""

    scores: Float
    hits: NDArray[np.int64]
    false: NDArray[np.int64]
    empty: NDArray[np.int64]
    people: int
    images: int
    empty_images: int

    @property
    def recall(self) -> float:
        """Share of the people that are found at all."""
        return int(self.hits[-1]) / max(self.people, 1) if len(self.hits) else 0.0

    def at_recall(self, recall: float) -> tuple[float, float, float]:
        """The score from which this share of the people is found, and with it false people per
        picture and per picture without people; NaN where it is not reached."""
        n = int(np.searchsorted(self.hits, math.ceil(recall * self.people - 1e-9)))
        if n >= len(self.hits) or not self.people:
            return math.nan, math.nan, math.nan
        return float(self.scores[n]), self._per_image(n), self._per_empty(n)

    def empty_at(self, score: float) -> int:
        """How many boxes with at least this score lie in pictures without people."""
        n = int(np.searchsorted(-self.scores, -np.float32(score), side="right"))
        return int(self.empty[n - 1]) if n else 0

    def best_f1(self) -> tuple[float, float]:
        """The largest F1 and the score from which it is reached; (0, NaN) for no hit."""
        f1 = 2 * self.hits / np.maximum(self.people + self.hits + self.false, 1)
        if not len(f1) or f1.max() <= 0:
            return 0.0, math.nan
        n = int(f1.argmax())
        return float(f1[n]), float(self.scores[n])

    def _per_image(self, n: int) -> float:
        return int(self.false[n]) / max(self.images, 1)

    def _per_empty(self, n: int) -> float:
        return int(self.empty[n]) / self.empty_images if self.empty_images else math.nan


def curve(pictures: Sequence[Picture], found: Sequence[Detections], smallest: float = 0.0) -> Curve:
    """What the boxes found of the people of at least an area in square pixels.

    The matching is COCO's (pycocotools, COCOeval.evaluateImg) at an IoU of MATCH: from the best
    box down, each takes the free person it overlaps most. Boxes on somebody smaller or, for half
    of their area, in a crowd, and unmatched ones smaller than that count neither way.
    """
    matched = [
        (*_match(picture, boxes, smallest), np.full(len(boxes), not picture.people), boxes.scores)
        for picture, boxes in zip(pictures, found)
    ]
    hits, counts, empty, scores = (
        np.concatenate([np.zeros(0, kind), *(part[n] for part in matched)])
        for n, kind in enumerate((bool, bool, bool, np.float32))
    )
    order = np.argsort(-scores, kind="stable")
    order = order[counts[order]]
    return Curve(
        scores[order].astype(np.float32),
        hits[order].cumsum(),
        (~hits[order].astype(bool)).cumsum(),
        empty[order].cumsum(),
        sum(int((~ignored).sum()) for _, _, ignored in _labels(pictures, smallest)),
        len(pictures),
        sum(not picture.people for picture in pictures),
    )


def _labels(pictures: Sequence[Picture], smallest: float) -> Iterator[tuple[Float, Bool, Bool]]:
    """Boxes (N, 4) of each picture, which are crowds (N,), and which are not asked for (N,); the
    ones that are come first."""
    for picture in pictures:
        people = sorted(picture.people, key=lambda person: person.crowd or person.area < smallest)
        boxes = np.array([person.box_xyxy for person in people], np.float32).reshape(-1, 4)
        crowd = np.array([person.crowd for person in people], bool)
        small = np.array([person.area < smallest for person in people], bool)
        yield boxes, crowd, crowd | small


def _match(picture: Picture, found: Detections, smallest: float) -> tuple[Bool, Bool]:
    """Which boxes (D,), best first, found somebody, and which count at all."""
    boxes, crowd, ignored = next(_labels([picture], smallest))
    overlap = _overlaps(found.boxes_xyxy, boxes, crowd)
    free = np.ones(len(boxes), bool)
    hits = np.zeros(len(found), bool)
    counts = geometry.areas(found.boxes_xyxy) >= smallest
    for n in range(len(found)):
        passing = free & (overlap[n] >= MATCH)
        for kind in (~ignored, ignored):  # somebody asked for before anybody else
            if (passing & kind).any():
                person = int(np.where(passing & kind, overlap[n], -1).argmax())
                free[person] = crowd[person]  # a crowd takes any number of boxes
                hits[n] = counts[n] = not ignored[person]
                break
    return hits, counts


def _overlaps(found: Float, boxes: Float, crowd: Bool) -> Float:
    """IoU (D, N); with a crowd the share of the box that lies in it, as COCO has it."""
    result: Float = np.where(crowd, geometry.within(found, boxes), geometry.iou(found, boxes))
    return result


# ---- numbers ------------------------------------------------------------------------------------


def numbers_of(
    pictures: Sequence[Picture], found: Sequence[Detections], smallest: float = 0.0
) -> dict[str, float]:
    """Of people of at least an area: recall with all boxes, f1 and f1_score (best F1 and its
    score), and for 60 and 70 % recall score60, false60 (per picture) and empty60 (per picture
    without people); AP, AP50, AP75, AR where pycocotools is installed. NaN: cannot be said."""
    numbers: dict[str, float] = {}
    if coco_ap.available():
        pictures = coco_ap.numbered(pictures)
        results = coco_ap.box_results([p.image_id for p in pictures], found)
        numbers.update(coco_ap.box_ap(coco_ap.ground_truth(pictures), results, smallest))
    shape = curve(pictures, found, smallest)
    numbers["recall"] = shape.recall
    numbers["f1"], numbers["f1_score"] = shape.best_f1()
    for recall in RECALLS:
        of = f"{100 * recall:.0f}"
        names = f"score{of}", f"false{of}", f"empty{of}"
        numbers.update(zip(names, shape.at_recall(recall)))
    return numbers


def detector_numbers(
    run: Run,
    pictures: Sequence[Picture],
    *,
    input_wh: tuple[int, int],
    limit: int | None = None,
) -> dict[str, float]:
    """How good the person-centre maps of run are, for use after an epoch.

    run: uint8 (B, H, W, 3) BGR to (centers, sizes) as realtime.detect.decode_centers takes them.
    pictures: those in which not everybody is labelled are left out. limit: measure on so many at
    most, evenly over all. The names are those of numbers_of, for people over 32x32 pixels with
    "_large" at the end; what cannot be said is left out.
    """
    whole = _whole(pictures, limit)
    found = find_people(Running(run, "detector", input_wh), whole)
    numbers = numbers_of(whole, found)
    large = numbers_of(whole, found, SMALL)
    numbers.update({f"{name}_large": value for name, value in large.items()})
    return {name: value for name, value in numbers.items() if not math.isnan(value)}

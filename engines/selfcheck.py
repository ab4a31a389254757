"""Whether a network finds the same joints, or boxes, in a fast form as in float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from engines.base import ModelSpec, Network
from realtime import geometry
from realtime.crop import cut, places
from realtime.decode import DEFAULT_METHOD, decode
from realtime.detect import Detector
from realtime.pose import Locator
from realtime.records import Detections, Float, Frame
from realtime.scene import Scene
from realtime.similarity import BODY_SHARE, oks

SURE = 0.3
"""Joints that the reference scores lower are not compared."""
MOST_PX = 0.5
LEAST_OKS = 0.99
SURE_BOX, LEAST_BOX = 0.3, 0.2
"""A box of the first score or more is compared; the other form must give it the second or more, so
that boxes at the edge of being one do not count."""
SAME_BOX = 0.75
"""Least IoU of the boxes of one person."""
LEAST_SHARE = 0.9
"""Of the boxes of one form that the other finds as well."""
CROPS = 32
BATCH = 8
SCENE_WH = (960, 540)
STEP = 7
"""Frames of the demo scene from one that crops are taken of to the next."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """joints: how many were compared. p95_px: 95 % of them are no farther apart, in crop pixels.
    mean_oks: over the crops with such joints."""

    joints: int
    p95_px: float
    mean_oks: float

    @property
    def good(self) -> bool:
        """Whether a fast form may stand in for the reference."""
        return self.joints > 0 and self.p95_px <= MOST_PX and self.mean_oks >= LEAST_OKS

    def __str__(self) -> str:
        if not self.joints:
            return "no joint is sure, so there is nothing to compare"
        return (
            f"{self.joints} joints, 95 % within {self.p95_px:.2f} px, mean OKS {self.mean_oks:.4f}"
        )


def compare(reference: Float, candidate: Float, spec: ModelSpec) -> Agreement:
    """Compare the joints of two stacks of heatmaps (M, 17, h, w) of the same crops.

    A crop with a joint that is not finite in candidate has OKS 0 and the distance infinity.
    """
    true_xy, scores = _decoded(reference, spec)
    return _compared(true_xy, scores, _decoded(candidate, spec)[0], spec)


def _decoded(heatmaps: Float, spec: ModelSpec) -> tuple[Float, Float]:
    return decode(heatmaps, DEFAULT_METHOD, spec.grid, spec.input_wh, spec.sigma)


def _compared(true_xy: Float, scores: Float, found_xy: Float, spec: ModelSpec) -> Agreement:
    """Joints (M, 17, 2) in crop pixels against others; scores (M, 17) are of the first."""
    sure = scores >= SURE
    apart = np.linalg.norm(found_xy - true_xy, axis=2)
    apart = np.where(np.isfinite(apart), apart, np.inf)
    kept = apart[sure]
    if not len(kept):
        return Agreement(0, 0.0, 1.0)
    area = np.array([BODY_SHARE * np.prod(spec.input_wh) / spec.padding**2], np.float32)
    found_xy = np.nan_to_num(found_xy, nan=1e6)
    alike = [
        float(oks(true_xy[n : n + 1], found_xy[n : n + 1], area, sure[n])[0, 0])
        for n in np.flatnonzero(sure.any(1))
    ]
    p95 = float(np.percentile(kept, 95, method="higher"))
    return Agreement(len(kept), p95, float(np.mean(alike)))


def agreement(reference: Network, candidate: Network, crops: NDArray[np.uint8]) -> Agreement:
    """Compare two networks on crops uint8 (M, H, W, 3). Raises ModelError."""
    maps = [_heatmaps(network, crops) for network in (reference, candidate)]
    return compare(maps[0], maps[1], reference.spec)


def located(network: Network, locate: Locator) -> Agreement:
    """Compare the joints that a network finds in crops of the demo scene with those that locate
    finds in its pictures. Raises what they raise."""
    frames, people, count = [], [], 0
    for frame, found in _demo_frames():
        frames.append(frame)
        people.append(found)
        count += len(found)
        if count >= CROPS:
            break
    spec = network.spec
    crops = cut(frames, people, spec.input_wh, spec.padding)
    true_xy, scores = _decoded(_heatmaps(network, crops.pixels), spec)
    pictures = [frame.image for frame in frames]
    found_xy, _ = locate(pictures, *places(people, spec.input_wh, spec.padding), DEFAULT_METHOD)
    return _compared(true_xy, scores, found_xy, spec)


def boxes_agreement(
    reference: Network, candidate: Network, pictures: Sequence[NDArray[np.uint8]]
) -> tuple[int, float]:
    """How many boxes one or the other detector finds in pictures (H, W, 3) of their input's size,
    and the share of these that the other finds there as well. Raises ModelError."""
    frames = [Frame(n, 0.0, picture) for n, picture in enumerate(pictures)]
    ours, theirs = (
        [Detector(net, LEAST_BOX)([frame])[0] for frame in frames] for net in (reference, candidate)
    )
    pairs = [*zip(ours, theirs, strict=True), *zip(theirs, ours, strict=True)]
    sure = [(a[a.scores >= SURE_BOX], b) for a, b in pairs]
    count = sum(len(a) for a, _ in sure)
    both = sum(
        int((geometry.iou(a.boxes_xyxy, b.boxes_xyxy).max(1, initial=0) >= SAME_BOX).sum())
        for a, b in sure
    )
    return count, both / max(count, 1)


def _heatmaps(network: Network, crops: NDArray[np.uint8]) -> Float:
    return np.concatenate(
        [network(crops[at : at + BATCH])[0] for at in range(0, max(len(crops), 1), BATCH)]
    )


def doubt(reference: Network, candidate: Network) -> str:
    """What speaks against candidate in the place of reference, by people of the demo scene; empty
    where nothing does, also where reference sees nobody there. Raises ModelError."""
    spec = reference.spec
    if spec.task == "pose":
        crops = demo_crops(spec, BATCH)
        exact, fast = (_heatmaps(network, crops) for network in (reference, candidate))
        if not np.isfinite(fast).all():
            return "its outputs are not finite"
        found = compare(exact, fast, spec)
        return str(found) if found.joints and not found.good else ""
    pictures = [frame.image for frame, _ in islice(_demo_frames(), BATCH)]
    count, share = boxes_agreement(reference, candidate, pictures)
    return f"{share:.0%} of {count} boxes are the same" if count and share < LEAST_SHARE else ""


def demo_crops(spec: ModelSpec, count: int = CROPS) -> NDArray[np.uint8]:
    """People of the demo scene as the network expects them, uint8 (count, H, W, 3), always the
    same."""
    crops: list[NDArray[np.uint8]] = []
    for frame, people in _demo_frames():
        crops.extend(cut([frame], [people], spec.input_wh, spec.padding).pixels)
        if len(crops) >= count:
            break
    return np.stack(crops[:count])


def _demo_frames() -> Iterator[tuple[Frame, Detections]]:
    seed = 0
    while True:
        scene = Scene(seed, 300, SCENE_WH)
        for index in range(0, len(scene), STEP):
            truth = scene.truth(index)
            seen = truth.boxes_xyxy[truth.visible_share > 0.5]
            ones = np.ones(len(seen), np.float32)
            yield Frame(index, 0.0, scene.image(index), "demo"), Detections(seen, ones)
        seed += 1

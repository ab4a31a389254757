"""How far single joints are from their labels: similarity, error and PCK of each joint, and what
their scores say of it.

All functions take joints (N, 17, 2) that belong to labels (N, 17, 3) one by one, [x, y, v] with
v > 0 where labelled, in pixels of the same picture. A joint that is not finite is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.records import Float
from realtime.skeleton import JOINTS, OKS_SIGMAS

SHARE = 0.2
"""PCK@0.2: a joint is right within this share of the torso."""
TORSOS = ((5, 12), (6, 11))
"""The torso's size is the distance from the left shoulder to the right hip (a diagonal of the torso
since Sapp and Taskar, MODEC, CVPR 2013); where one of the two is not labelled, the other diagonal.
People with neither do not count."""

RIGHT = 0.5
"""A joint with at least this similarity is right by by_score."""
BOUNDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of scores that are counted together; above the last there is no bound."""

Bool = NDArray[np.bool_]
Double = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class JointErrors:
    """Of one joint over all people. labelled: how many labels. similarity: mean share of OKS.
    error: median distance as a share of the root of the person's area. pck: share of the labels
    within SHARE of the torso. NaN where nothing is labelled."""

    name: str
    labelled: int
    similarity: float
    error: float
    pck: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Of joints with a score from least to the next of BOUNDS. labelled: how many labels. right:
    the share of them with a similarity of at least RIGHT; NaN where nothing is labelled."""

    least: float
    labelled: int
    right: float


def distances(joints_xy: Float, labels: Float) -> Double:
    """Pixels (N, 17) from joint to label; infinite where the joint is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        apart = joints_xy.astype(np.float64) - labels[..., :2]
    away: Double = np.hypot(apart[..., 0], apart[..., 1])
    return np.where(np.isfinite(away), away, np.inf)


def similarities(joints_xy: Float, labels: Float, areas: Float) -> Double:
    """Each joint's share (N, 17) of OKS, exp(-d^2 / (2 area (2 sigma)^2)), labelled or not.

    areas: (N,) as annotated. The formula of pycocotools, COCOeval.computeOks.
    """
    variance = (2 * OKS_SIGMAS.astype(np.float64)) ** 2 * areas.astype(np.float64)[:, None]
    result: Double = np.exp(-(distances(joints_xy, labels) ** 2) / (2 * variance + 1e-12))
    return result


def mean_oks(joints_xy: Float, labels: Float, areas: Float) -> float:
    """Mean object keypoint similarity of the people with a label; NaN for none."""
    labelled = labels[..., 2] > 0
    asked = labelled.any(1)
    each = np.where(labelled, similarities(joints_xy, labels, areas), 0)[asked]
    return float((each.sum(1) / labelled[asked].sum(1)).mean()) if asked.any() else float("nan")


def torso_sizes(labels: Float) -> Double:
    """Size (N,) of the torso in pixels, see TORSOS; NaN where it is not labelled, or no larger
    than a pixel."""
    sizes = np.full(len(labels), np.nan)
    for shoulder, hip in TORSOS:
        both = np.isnan(sizes) & (labels[:, shoulder, 2] > 0) & (labels[:, hip, 2] > 0)
        span = labels[both, shoulder, :2].astype(np.float64) - labels[both, hip, :2]
        sizes[both] = np.hypot(span[:, 0], span[:, 1])
    return np.where(sizes > 1, sizes, np.nan)


def right(joints_xy: Float, labels: Float, share: float = SHARE) -> tuple[Bool, Bool]:
    """Which joints (N, 17) are within a share of the torso, and which count at all."""
    torso = torso_sizes(labels)
    counts = (labels[..., 2] > 0) & np.isfinite(torso)[:, None]
    near = distances(joints_xy, labels) <= share * np.nan_to_num(torso)[:, None]
    return near & counts, counts


def pck(joints_xy: Float, labels: Float, share: float = SHARE) -> float:
    """Share of the labels that are right, over all joints and people; NaN for none."""
    good, counts = right(joints_xy, labels, share)
    return float(good.sum() / counts.sum()) if counts.any() else float("nan")


def by_joint(joints_xy: Float, labels: Float, areas: Float) -> list[JointErrors]:
    """The errors of the 17 joints, in order."""
    labelled = labels[..., 2] > 0
    similar = similarities(joints_xy, labels, areas)
    relative = distances(joints_xy, labels) / np.sqrt(np.maximum(areas, 1.0))[:, None]
    good, counts = right(joints_xy, labels)
    return [
        JointErrors(
            name,
            int(labelled[:, n].sum()),
            _mean(similar[labelled[:, n], n]),
            float(np.median(relative[labelled[:, n], n])) if labelled[:, n].any() else np.nan,
            _mean(good[counts[:, n], n]),
        )
        for n, name in enumerate(JOINTS)
    ]


def by_score(joints_xy: Float, scores: Float, labels: Float, areas: Float) -> list[Reliability]:
    """How often joints of a score (N, 17) are right, for each of BOUNDS; scores that are not finite
    or below 0 count as 0."""
    near = similarities(joints_xy, labels, areas) >= RIGHT
    known = np.maximum(np.nan_to_num(scores), 0).astype(np.float32)
    part = np.searchsorted(np.array(BOUNDS, np.float32), known, side="right") - 1
    part = np.where(labels[..., 2] > 0, part, -1)
    return [
        Reliability(least, int((part == n).sum()), _mean(near[part == n]))
        for n, least in enumerate(BOUNDS)
    ]


def _mean(values: NDArray[np.generic]) -> float:
    return float(np.mean(values.astype(np.float64))) if values.size else float("nan")

"""What train.evaluate measures of a pose network, a detector and the whole pipeline on one set.

All return plain dictionaries, which --json writes and train.eval_tables shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engines.base import Network
from realtime.decode import METHODS
from realtime.errors import UsageError
from realtime.records import Detections
from train import eval_detector, eval_results, pck
from train.coco import DataSet, Picture
from train.coco_ap import SMALL
from train.degrade import CHANGES
from train.eval_pose import ALL_WAYS, DEFAULT_WAY, Labels, Way, ap_of, read_poses, true_boxes
from train.measured import progress, spread

Json = dict[str, Any]
Row = dict[str, Any]

LEAST = 0.05
"""Score from which boxes of a detector are given to the pose network."""
BOXES = 20
"""And how many of one picture: COCO's AP of poses counts no more."""
PCK = f"PCK@{pck.SHARE}"


# ---- pose ---------------------------------------------------------------------------------------


def measure_pose(
    network: Network, detector: Network | None, data: DataSet, quick: bool, limit: int | None
) -> Json:
    """Everything about a pose network on one set.

    quick: only labelled boxes, no mirrored crops, no worse pictures. limit: pictures, evenly over
    all. Boxes of the detector are left out where not everybody is labelled.
    """
    pictures = spread(data.pictures, limit)
    labels = Labels.of(pictures)
    if not len(labels.areas):
        raise UsageError(f"--data {data.name}: nobody in it has labelled joints")
    whole = all(picture.complete for picture in pictures)
    ways = tuple(Way(method, False) for method in METHODS) if quick else ALL_WAYS
    report: Json = {
        "set": data.name,
        "pictures": len(pictures),
        "people": len(labels.areas),
        "rows": [],
        "worse": [],
        "left_out": "" if whole or not detector else "detector boxes: not everybody is labelled",
    }
    for kind in ("labelled", "detector")[: 1 + (whole and detector is not None)]:
        finder = detector if kind == "detector" else None
        rows, of_joints = _rows(network, finder, pictures, labels, ways)
        report["rows"] += [{"boxes": kind, **row} for row in rows]
        report |= of_joints
        if not quick:
            now = next(row["AP"] for row in rows if row["way"] == DEFAULT_WAY)
            for row in _worse(network, finder, pictures, labels, now):
                report["worse"].append({"boxes": kind, **row})
    for row in report["rows"] + report["worse"]:
        way = row.pop("way", DEFAULT_WAY)
        row["flip"], row["decode"] = way.flip, way.method
    return report


def _boxes(
    detector: Network | None, pictures: Sequence[Picture], change: str | None
) -> list[Detections]:
    if detector is None:
        return true_boxes(pictures)
    with progress(len(pictures)) as told:
        return eval_detector.find_people(
            detector, pictures, LEAST, BOXES, CHANGES[change] if change else None, told
        )


def _rows(
    network: Network,
    detector: Network | None,
    pictures: Sequence[Picture],
    labels: Labels,
    ways: Sequence[Way],
    change: str | None = None,
) -> tuple[list[Row], Json]:
    """A row for each way, and in labelled boxes the errors by joint and by score."""
    boxes = _boxes(detector, pictures, change)
    with progress(len(pictures)) as told:
        worse = CHANGES[change] if change else None
        read = read_poses(network, pictures, boxes, ways, worse, told)
    rows: list[Row] = []
    for way in ways:
        row: Row = {"way": way, **ap_of(pictures, read[way], detector is not None)}
        if detector is None:
            joints = read[way].joints_xy
            row["OKS"] = pck.mean_oks(joints, labels.joints, labels.areas)
            row[PCK] = pck.pck(joints, labels.joints)
        rows.append(row)
    if detector or DEFAULT_WAY not in read:
        return rows, {}
    joints, scores = read[DEFAULT_WAY].joints_xy, read[DEFAULT_WAY].scores
    errors = pck.by_joint(joints, labels.joints, labels.areas)
    reliability = pck.by_score(joints, scores, labels.joints, labels.areas)
    return rows, {"joints": list(map(asdict, errors)), "scores": list(map(asdict, reliability))}


def _worse(
    network: Network,
    detector: Network | None,
    pictures: Sequence[Picture],
    labels: Labels,
    now: float,
) -> Iterator[Row]:
    """A row for each kind of worse pictures, with the AP that is lost against now."""
    for change in CHANGES:
        (row,), _ = _rows(network, detector, pictures, labels, (DEFAULT_WAY,), change)
        yield {"picture": change, **row, "loss": now - row["AP"]}


# ---- detector -----------------------------------------------------------------------------------


def measure_detector(network: Network, data: DataSet, quick: bool, limit: int | None) -> Json:
    """Everything about a person detector on one set, of the pictures where everybody is labelled.

    quick: not on darkened pictures. limit: pictures, evenly over all.
    """
    pictures = eval_detector.measurable(data.pictures, limit, f"--data {data.name}")
    report: Json = {
        "set": data.name,
        "pictures": len(pictures),
        "empty_pictures": sum(not picture.people for picture in pictures),
        "rows": [],
        "empty": [],
    }
    for kind in ("as they are",) if quick else ("as they are", "darkened"):
        with progress(len(pictures)) as told:
            change = CHANGES.get(kind)
            found = eval_detector.find_people(network, pictures, change=change, progress=told)
        for people, smallest in (("all", 0.0), ("over 32x32", SMALL)):
            numbers = eval_detector.numbers_of(pictures, found, smallest)
            report["rows"].append({"picture": kind, "people": people, **numbers})
        shape = eval_detector.curve(pictures, found)
        counts = {str(score): shape.empty_at(score) for score in eval_detector.SCORES}
        report["empty"].append({"picture": kind, **counts})
    return report


# ---- whole pipeline -----------------------------------------------------------------------------


def measure_results(file: Path, data: DataSet, min_score: float, limit: int | None) -> Json:
    """What run_camera wrote, against one set; see eval_results."""
    pictures = spread(data.pictures, limit)
    found = eval_results.read_results(file, pictures)
    numbers = eval_results.results_numbers(pictures, found, min_score)
    return {"set": data.name, "pictures": len(pictures), "min_score": min_score, **numbers}

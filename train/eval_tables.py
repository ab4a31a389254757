"""The tables of what train.eval_measure found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from train import eval_detector
from train.coco_ap import KEYPOINT_NAMES
from train.degrade import DARK_SIGMA, GAMMA, NOISE_SIGMA
from train.eval_measure import PCK, Json, Row
from train.eval_pose import DEFAULT_WAY
from train.pck import RIGHT

WORSE = (
    f"darkened: gamma {GAMMA}, then noise of sigma {DARK_SIGMA:g}; "
    f"noisy: noise of sigma {NOISE_SIGMA:g}"
)
DETECTOR_NAMES = (
    "AP", "AP50", "AP75", "AR", "recall", "f1", "f1_score", "false60", "empty60", "false70",
    "empty70",
)  # fmt: skip


def show_pose(report: Json) -> str:
    """The tables of measure_pose."""
    names = (*KEYPOINT_NAMES, "OKS", PCK)
    head = "{set}: {pictures} pictures, {people} people with joints".format(**report)
    parts = [head, _table(("boxes", "flip", "decode", *names), report["rows"])]
    if report["left_out"]:
        parts.append(report["left_out"])
    if report["worse"]:
        columns = ("boxes", "picture", *names, "loss")
        parts.append(f"{WORSE}; no flip, {DEFAULT_WAY.method}\n" + _table(columns, report["worse"]))
    titles = {"name": "joint", "similarity": "OKS", "error": "error/size", "pck": PCK}
    rows = [{titles.get(k, k): v for k, v in joint.items()} for joint in report["joints"]]
    parts.append(
        f"labelled boxes, no flip, {DEFAULT_WAY.method}; error: median, size: root of the area; "
        "torso: left shoulder to right hip\n"
        + _table(("joint", "labelled", "OKS", "error/size", PCK), rows)
    )
    bounds = [f"{part['least']:.1f}" for part in report["scores"]]
    counts, shares = (
        {"score from": title, **{b: part[name] for b, part in zip(bounds, report["scores"])}}
        for title, name in (("labelled", "labelled"), ("right", "right"))
    )
    parts.append(
        f"what scores are worth: share of joints with an OKS of {RIGHT} and more\n"
        + _table(("score from", *bounds), [counts, shares])
    )
    return "\n\n".join(parts)


def show_detector(report: Json) -> str:
    """The tables of measure_detector."""
    head = "{set}: {pictures} pictures, {empty_pictures} of them without people".format(**report)
    legend = (
        "false60: false people a picture at 60 % recall, empty60: on pictures without people; "
        "f1_score: score of the best F1"
    )
    rows = _table(("picture", "people", *DETECTOR_NAMES), report["rows"])
    scores = _table(("picture", *map(str, eval_detector.SCORES)), report["empty"])
    title = "boxes on the pictures without people, by least score"
    return f"{head}\n\n{rows}\n{legend}\n\n{title}\n{scores}"


def show_results(report: Json) -> str:
    """The tables of measure_results."""
    names = (*KEYPOINT_NAMES, "box_AP", "box_AP50", "box_AP50_large")
    head = "{set}: {pictures} pictures".format(**report)
    false = "people of score {} and more on {} pictures without people: {}".format(
        report["min_score"], int(report["empty_pictures"]), int(report["false_people"])
    )
    return f"{head}\n\n{_table(names, [report])}\n{false}"


def _table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Rows under their columns; numbers to the right, what is not there or NaN as "-"."""
    lines = [list(columns), *([_cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    words = [any(isinstance(row.get(name), str) for row in rows) for name in columns]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(line, widths, words)
        ).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)

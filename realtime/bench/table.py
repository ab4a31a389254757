"""What a benchmark prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

SHOWN = ("grab", "detect", "crop", "pose", "decode", "track", "render")

DISTURBED = 0.1
"""Share of the cores that others may use before the figures are called doubtful."""


class Telling:
    """One line on standard error that says what is being measured; silent where nobody looks."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled and sys.stderr.isatty()

    def __enter__(self) -> Telling:
        return self

    def __exit__(self, *_: object) -> None:
        self._write("")

    def __call__(self, text: str) -> None:
        self._write(f"measuring: {text}")

    def _write(self, text: str) -> None:
        if self._enabled:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of right-aligned columns, as wide as they need; the first column is left-aligned."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    wide = [max(len(row[n]) for row in cells) for n in range(len(head))]
    return [
        "  ".join(
            cell.ljust(wide[n]) if n == 0 else cell.rjust(wide[n]) for n, cell in enumerate(row)
        ).rstrip()
        for row in cells
    ]


def plain_table(report: dict[str, Any]) -> str:
    """The table of --bench."""
    lines = _head(report)
    lines.append(
        "Pictures made beforehand, at full speed through detection, pose, tracking and drawing;"
    )
    lines.append("reading a video and writing files come on top. Stages: % of the time they work.")
    names = [name for name in SHOWN if name != "grab" or _grabs(report["people"])]
    head = ["people", "fps", "ms/frame", "core-ms", "cores", *names, "slowest"]
    rows = [_people_row(row, names) for row in report["people"]]
    cost, limit = report["cost"], report["bottleneck"]
    lines += ["", *table(head, rows), ""]
    lines.append(
        f"each person: {cost['ms_per_person']:.2f} ms a frame ({cost['core_ms_per_person']:.2f}"
        f" core-ms); a frame with nobody: {cost['ms_nobody']:.2f} ms"
        f" ({cost['core_ms_nobody']:.2f} core-ms)"
    )
    lines.append(_reached(report["reached"], limit["people"]))
    lines += _limit(limit, f"with {limit['people']} people")
    lines += ["", *_networks(report["networks"])]
    return "\n".join(lines + _others(report["others_used"]))


def _reached(told: dict[str, float], people: int) -> str:
    return (
        f"with {people} people: {told['crops_per_s']:.0f} crops a second,"
        f" {100 * told['share']:.0f} % of the {told['alone']:.0f} that the pose network makes alone"
    )


def streams_table(report: dict[str, Any]) -> str:
    """The table of --bench --streams."""
    told = report["streams"]
    lines = _head(report)
    lines.append(
        f"Live cameras: {told['count']}, each {told['rate']:.0f} fps with {told['people']} person,"
        f" for {told['seconds']:.1f} s; pictures made beforehand,"
    )
    lines.append("one process, networks shared; reading real cameras and outputs come on top.")
    head = ["stream", "fps", "frames", "dropped", "latency ms p50", "p95"]
    keys = ("stream", "fps", "frames_captured", "dropped", "latency_p50_ms", "latency_p95_ms")
    rows = [[_figure(row[key]) for key in keys] for row in told["rows"]]
    lines += ["", *table(head, rows), "", _carried(told)]
    lines.append(
        f"CPU: {told['core_ms_per_frame']:.1f} core-ms a frame,"
        f" {100 * told['cores_used']:.0f} % of {report['machine']['cores']} cores"
    )
    lines.append(_memory(told))
    lines += _limit(told["limit"], "of all streams")
    return "\n".join(lines + _others(report["others_used"]))


def _head(report: dict[str, Any]) -> list[str]:
    machine, (width, height) = report["machine"], report["size_wh"]
    models = ", ".join(
        f"{task} {m['name']} ({m['engine']} {m['precision']}, {m['device']})"
        for task, m in report["models"].items()
    )
    return [
        f"posestream {report['version']} on {machine['cores']} cores, {machine['processor']}",
        f"{models}; {width}x{height}, --detect-every {report['detect_every']}",
    ]


def _grabs(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether taking the pictures out of memory took any time, which it should not."""
    return any((row["stages"]["grab"]["share"] or 0) >= 0.005 for row in rows)


def _people_row(row: dict[str, Any], stages: Sequence[str]) -> list[str]:
    shares = [f"{100 * (row['stages'][name]['share'] or 0):.0f}%" for name in stages]
    return [
        str(row["people"]), f"{row['fps']:.1f}", f"{row['ms_per_frame']:.2f}",
        f"{row['core_ms_per_frame']:.2f}", f"{100 * row['cores_used']:.0f}%", *shares,
        row["bottleneck"],
    ]  # fmt: skip


def _others(share: float | None) -> list[str]:
    """A word about a machine that was not ours alone."""
    if share is None or share < DISTURBED:
        return []
    text = f"other programs used {100 * share:.0f} % of these cores meanwhile"
    return [f"careful: {text}; without them it is faster"]


def _limit(limit: dict[str, Any], where: str) -> list[str]:
    return [f"bottleneck {where}: {limit['text']}", *(f"  try {line}" for line in limit["try"])]


def _networks(rows: Sequence[dict[str, Any]]) -> list[str]:
    head = ["network alone", "ms a call of 1", "ms a call of 8", "ms a picture of 8"]
    return table(
        head,
        [
            [
                f"{row['task']} {row['name']}",
                f"{row['ms_per_call']['1']:.2f}",
                f"{row['ms_per_call']['8']:.2f}",
                f"{row['ms_per_picture']['8']:.2f}",
            ]
            for row in rows
        ],
    )


def _carried(told: dict[str, Any]) -> str:
    dropped = sum(row["dropped"] for row in told["rows"])
    if told["carried"]:
        return f"carried: yes, {told['count']} of {told['count']} streams without a dropped frame"
    frames = sum(row["frames_captured"] for row in told["rows"])
    return f"carried: no, {dropped} of {frames} frames dropped"


def _memory(told: dict[str, Any]) -> str:
    before, most = told["memory_before_mb"], told["memory_mb"]
    if before is None or most is None:
        return "memory: not known on this system"
    each = max(0.0, most - before) / told["count"]
    return f"memory: {most:.0f} MiB in all, of which {each:.1f} MiB for each stream"


def _figure(value: object) -> str:
    return "-" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)

"""The parts of the page that show the people: each takes a Recording and gives HTML."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import numpy as np

from realtime.angles import ANGLES, joint_angles
from realtime.report import charts
from realtime.report.charts import Axis, Curve
from realtime.report.recording import (
    Person,
    Reals,
    Recording,
    gap_limit,
    hip_centres,
    stretches,
)
from realtime.skeleton import JOINTS

COLOURED = 8
"""People with a colour of their own; the others are grey."""
ROWS = 30
"""People in the timeline."""
ANGLED = 4
"""People whose joint angles are shown."""
TRAILS = 40
"""People whose ways are shown."""


def colour(rank: int) -> str:
    """The class of the person so many are seen longer than."""
    return f"p{rank}" if rank < COLOURED else "rest"


def across(recording: Recording) -> Axis:
    x = recording.x
    low, high = (float(x[0]), float(x[-1])) if len(x) else (0.0, 1.0)
    return charts.time_axis(low, high, recording.timed)


def told(recording: Recording, x: float) -> str:
    """A place in time, for people."""
    if not recording.timed:
        return f"frame {x:.0f}"
    return charts.moment(x, 0.1 if recording.span < 60 else 1)


def lasting(recording: Recording, length: float) -> str:
    """A length of time, for people."""
    if not recording.timed:
        return f"{length:.0f} frames"
    return f"{length:.2g} s" if length < 10 else charts.moment(length)


def timeline(recording: Recording) -> str:
    """Who is there when, and how many."""
    axis, limit = across(recording), gap_limit(recording, charts.POINTS)
    half = recording.step
    shown = sorted(enumerate(recording.people[:ROWS]), key=lambda pair: int(pair[1].rows[0]))
    rows = [(_name(p), colour(n), stretches(recording.x[p.rows], limit)) for n, p in shown]
    more = len(recording.people) - ROWS
    note = f"The {ROWS} seen longest; {more} more ids are not shown." if more > 0 else ""
    parts = []
    if rows:
        parts.append(
            charts.bars(
                "Ids: who is there when", axis, rows, lambda x: told(recording, x), half, note
            )
        )
    counts = recording.counts.astype(np.float64)
    up = charts.value_axis(float(counts.max(initial=1)), whole=True)
    curve = Curve("people", "plain", recording.x, counts)
    parts.append(charts.plot("People in the frame", axis, up, [curve], limit, tall=110, key=False))
    return "".join(parts)


def trails(recording: Recording, least_score: float, size_wh: tuple[int, int] | None) -> str:
    """The way of everybody's hips over the picture."""
    shown = [*recording.people[:TRAILS], recording.unnumbered]
    centres = [hip_centres(person.poses, least_score).astype(np.float64) for person in shown]
    wide, high = size_wh or _extent(recording)
    limit = gap_limit(recording, charts.POINTS)
    parts = [
        _trail(recording, person, n, centre, limit)
        for n, (person, centre) in enumerate(zip(shown, centres, strict=True))
    ]
    size = "that of the picture" if size_wh else "as far as people were found"
    note = (
        f"Middle of the hips, where one of them is sure. The field is {wide} x {high} pixels,"
        f" {size}. A ring is where somebody was seen first, a dot where last."
    )
    body = (
        f'<svg class="trails" viewBox="{_view(wide, high, centres)}" role="img"'
        f' aria-label="Trajectories"><rect class="field" width="{wide}" height="{high}"/>'
        f"{''.join(reversed(parts))}</svg>"
    )
    return charts.figure("Trajectories", body, charts.legend(_names(recording)), note)


def _extent(recording: Recording) -> tuple[int, int]:
    """Width and height that hold nearly all boxes."""
    far = np.percentile(recording.everybody.boxes_xyxy[:, 2:], 99.5, 0)
    wide, high = (max(1, int(np.ceil(side))) for side in far)
    return wide, high


def _view(wide: int, high: int, centres: list[Reals]) -> str:
    """The part of the plane that is shown: the picture, and hips outside of it."""
    points = np.concatenate(centres)
    points = points[np.isfinite(points).all(1)]
    low, far = points.min(0, initial=0), np.maximum(points, 0).max(0, initial=0)
    far = np.maximum(far, (wide, high))
    edge = 0.015 * float((far - low).max())
    origin, size = low - edge, far - low + 2 * edge
    return " ".join(f"{value:.1f}" for value in (*origin.tolist(), *size.tolist()))


def _trail(recording: Recording, person: Person, rank: int, centre: Reals, limit: float) -> str:
    known = np.isfinite(centre).all(1)
    points, x = centre[known], recording.x[person.rows[known]]
    if not len(points):
        return ""
    css = colour(rank) if person.number >= 0 else "rest"
    if person.number < 0:
        kept = np.linspace(0, len(points) - 1, min(len(points), charts.POINTS)).astype(np.int64)
        breaks = np.ones(len(kept), np.bool_)
    else:
        # every so-maniest point: the ways cross themselves, so lowest and highest mean nothing
        every = -(-len(points) // charts.POINTS)
        kept = np.unique(np.append(np.arange(0, len(points), every), len(points) - 1))
        breaks = np.diff(np.cumsum(np.diff(x, prepend=x[0]) > limit)[kept], prepend=0) > 0
    data = charts.path(points[kept, 0], points[kept, 1], breaks)
    title = f"<title>{escape(_name(person))}</title>"
    line = f'<path class="line {css}" d="{data}">{title}</path>'
    if person.number < 0:
        return line
    ends = "".join(
        f'<path class="{kind} {css}" d="M{a:.1f} {b:.1f}h0"/>'
        for kind, (a, b) in zip(("begin", "middle", "end"), points[[0, 0, -1]].tolist())
    )
    return line + ends


def _name(person: Person) -> str:
    return f"id {person.number}" if person.number >= 0 else "without an id"


def _names(recording: Recording) -> list[tuple[str, str]]:
    """What the colours mean."""
    coloured = sorted(enumerate(recording.people[:COLOURED]), key=lambda pair: pair[1].number)
    names = [(_name(p), colour(n)) for n, p in coloured]
    if len(recording.people) > COLOURED or len(recording.unnumbered.rows):
        names.append(("others", "rest"))
    return names


def angles(recording: Recording, least_score: float) -> str:
    """The joint angles of those seen longest, each over the time they are there."""
    limit = gap_limit(recording, charts.POINTS)
    up = Axis(0, 180, [(v, f"{v}\N{DEGREE SIGN}") for v in (0, 45, 90, 135, 180)])
    parts = [charts.legend((side, side) for side in ("left", "right"))]
    for person in recording.people[:ANGLED]:
        degrees = joint_angles(person.poses, least_score).astype(np.float64)
        x = recording.x[person.rows]
        axis = charts.time_axis(float(x[0]), float(x[-1]), recording.timed)
        parts.append(f'<h3>{_name(person)}</h3><div class="four">')
        for pair in range(0, len(ANGLES), 2):
            curves = [
                Curve(ANGLES[k].replace("_", " "), side, x, degrees[:, k])
                for k, side in ((pair, "left"), (pair + 1, "right"))
            ]
            note = "; ".join(_range(curve) for curve in curves)
            title = ANGLES[pair].removeprefix("left_").capitalize()
            parts.append(
                charts.plot(title, axis, up, curves, limit, tall=130, note=note, key=False)
            )
        parts.append("</div>")
    return "".join(parts)


def _range(curve: Curve) -> str:
    """In words: from where to where an angle goes, and how often it is known."""
    known = curve.y[np.isfinite(curve.y)]
    side = curve.name.partition(" ")[0]
    if not len(known):
        return f"{side} never sure"
    low, high = np.percentile(known, (5, 95))
    share = 100 * len(known) / len(curve.y)
    return f"{side} {low:.0f} to {high:.0f}\N{DEGREE SIGN}, sure in {share:.0f} %"


def visibility(recording: Recording, least_score: float) -> str:
    """How many joints are sure over time, and which."""
    curves = _averaged(recording, lambda p: 100 * (p.poses.joint_scores >= least_score).mean(1))
    up = Axis(0, 100, [(v, f"{v} %") for v in (0, 25, 50, 75, 100)])
    return _over_time("Sure joints", recording, curves, up)


def confidence(recording: Recording) -> str:
    """How sure each person as a whole is, over time."""
    curves = _averaged(recording, lambda p: p.poses.scores.astype(np.float64))
    up = Axis(0, 1, [(v, f"{v:g}") for v in (0, 0.25, 0.5, 0.75, 1)])
    return _over_time("Score of the person", recording, curves, up)


def _averaged(recording: Recording, value: Callable[[Person], Reals]) -> list[Curve]:
    """Curves of means of value(person) (n,), for everybody with a colour."""
    people = recording.people[:COLOURED] or [recording.unnumbered]
    width = _width(recording)
    return [
        Curve(
            _name(person), colour(n), *charts.means(recording.x[person.rows], value(person), width)
        )
        for n, person in sorted(enumerate(people), key=lambda pair: pair[1].number)
    ]


def _width(recording: Recording) -> float:
    """Of the parts that means are over."""
    return max(recording.step, recording.span / charts.MEANS)


def _over_time(title: str, recording: Recording, curves: list[Curve], up: Axis) -> str:
    width = _width(recording)
    note = []
    if width > 1.5 * recording.step:
        note.append(f"Means over {lasting(recording, width)}.")
    if len(recording.people) > COLOURED:
        note.append(f"The {COLOURED} people seen longest.")
    return charts.plot(title, across(recording), up, curves, 2.1 * width, note=" ".join(note))


def joints(recording: Recording, least_score: float) -> str:
    """The table of joints: left beside right."""
    scores = recording.everybody.joint_scores
    sure, mean = (scores >= least_score).mean(0), scores.mean(0, dtype=np.float64)

    def cells(joint: int, css: str) -> list[str]:
        return [charts.meter(sure[joint], f"{100 * sure[joint]:.0f} %", css), f"{mean[joint]:.2f}"]

    rows = [["nose", *cells(0, ""), "", ""]]
    for joint in range(1, len(JOINTS), 2):
        name = JOINTS[joint].removeprefix("left_")
        rows.append([name, *cells(joint, "left"), *cells(joint + 1, "right")])
    head = ("Joint", "Left, sure", "score", "Right, sure", "score")
    note = "Sure: the share of all people in all frames. Score: the mean. Sides are the person's."
    return charts.figure("Joints", charts.table(head, rows), "", note)

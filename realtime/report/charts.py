"""Charts as HTML: lines and bars are SVG that stretches with the page, all text is HTML beside it.

So lines and letters keep their size on a telephone and on paper, and the colours are those of the
style sheet, in light and dark. There are no scripts. In plots x and y are shares of the plot,
y from the top, in thousandths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from realtime.report.recording import Reals

POINTS = 2000
"""Of a curve at most."""
MEANS = 400
"""Of a curve of means at most."""


@dataclass(frozen=True, slots=True)
class Axis:
    """From low to high; ticks are (value, text)."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]

    def at(self, values: Reals) -> Reals:
        """Values as thousandths of the way from low to high."""
        return (values - self.low) * (1000 / (self.high - self.low))

    def share(self, value: float) -> float:
        """A value as percent of the way."""
        return 100 * (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Curve:
    """name: for people; css: its class; x rising, y nan where not known."""

    name: str
    css: str
    x: Reals
    y: Reals


def time_axis(low: float, high: float, timed: bool) -> Axis:
    """Of seconds, or of frame numbers; at least 1 wide for frames, 0.1 for seconds."""
    high = max(high, low + (0.1 if timed else 1))
    if not timed:
        step = max(1, nice((high - low) / 5))
        return Axis(low, high, _ticks(low, high, step, lambda v: f"{v:.0f}"))
    rough = (high - low) / 5
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)
    step = next((s for s in steps if s >= rough), nice(rough)) if rough > 0.5 else nice(rough)
    return Axis(low, high, _ticks(low, high, step, lambda v: moment(v, step)))


def value_axis(high: float, whole: bool = False) -> Axis:
    """From 0 to at least high, with two to four ticks above 0."""
    step = nice(max(high, 1e-3) / 4)
    step = max(1.0, step) if whole else step
    top = max(step * math.ceil(high / step - 1e-9), step)
    return Axis(0, top, _ticks(0, top, step, lambda v: f"{v:.6g}"))


def nice(step: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= step * (1 - 1e-9))


def moment(seconds: float, step: float = 1) -> str:
    """Seconds as 0.2 s, 0:05 or 1:00:05; step: the distance to others beside it."""
    if step < 1:
        return f"{seconds:.{max(0, -math.floor(math.log10(step)))}f} s"
    whole = round(seconds)
    hours, rest = divmod(abs(whole), 3600)
    sign = "-" if whole < 0 else ""
    clock = f"{hours}:{rest // 60:02d}" if hours else f"{rest // 60}"
    return f"{sign}{clock}:{rest % 60:02d}"


def _ticks(
    low: float, high: float, step: float, text: Callable[[float], str]
) -> list[tuple[float, str]]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(n * step, text(n * step)) for n in range(first, min(last, first + 20) + 1)]


def thinned(x: Reals, y: Reals, points: int = POINTS) -> NDArray[np.int64]:
    """Places of at most points samples that keep the shape: the lowest and highest y of equal
    parts of x. x (n,) rising, y (n,) finite."""
    if len(x) <= points:
        return np.arange(len(x))
    parts = points // 2
    part = np.minimum((x - x[0]) * (parts / max(x[-1] - x[0], 1e-12)), parts - 1).astype(np.int64)
    order = np.lexsort((y, part))
    starts = np.flatnonzero(np.diff(part[order], prepend=-1))
    ends = np.append(starts[1:], len(x)) - 1
    return np.unique(np.concatenate([order[starts], order[ends]]))


def means(x: Reals, y: Reals, width: float) -> tuple[Reals, Reals]:
    """Means of y over parts of x of this width, at the mean x of each; nan is left out."""
    known = np.isfinite(y)
    x, y = x[known], y[known]
    if not len(x):
        return x, y
    _, part = np.unique(np.floor((x - x[0]) / width + 1e-9), return_inverse=True)
    count = np.bincount(part)
    return np.bincount(part, x) / count, np.bincount(part, y) / count


def path(x: Reals, y: Reals, breaks: NDArray[np.bool_]) -> str:
    """SVG path data through points (n,) in thousandths; breaks (n,): no line to that point. A
    point alone is a line of no length, which round ends make a dot."""
    breaks = breaks.copy()
    breaks[:1] = True
    alone = breaks & np.append(breaks[1:], True)
    return "".join(
        f"{'M' if new else 'L'}{a:.1f} {b:.1f}{'h0' if single else ''}"
        for a, b, new, single in zip(x.tolist(), y.tolist(), breaks, alone, strict=True)
    )


def plot(
    title: str,
    across: Axis,
    up: Axis,
    curves: Iterable[Curve],
    gap: float,
    *,
    tall: int = 180,
    note: str = "",
    key: bool = True,
) -> str:
    """A figure of curves over time; those more than gap apart in x are not joined. tall: of the
    plot, in pixels. key: the names of the curves below."""
    curves = list(curves)
    lines = "".join(_line(curve, across, up, gap) for curve in curves)
    names = legend((curve.name, curve.css) for curve in curves) if key else ""
    return figure(title, _framed(title, across, up, lines, tall), names, note)


def _line(curve: Curve, across: Axis, up: Axis, gap: float) -> str:
    known = np.isfinite(curve.y)
    x, y = curve.x[known], curve.y[known]
    if not len(x):
        return ""
    stretch = np.cumsum(np.diff(x, prepend=x[0]) > gap)
    kept = thinned(x, y)
    breaks = np.diff(stretch[kept], prepend=0) > 0
    data = path(across.at(x[kept]), 1000 - np.clip(up.at(y[kept]), 0, 1000), breaks)
    return f'<path class="line {curve.css}" d="{data}"><title>{escape(curve.name)}</title></path>'


def bars(
    title: str,
    across: Axis,
    rows: Sequence[tuple[str, str, Sequence[tuple[float, float]]]],
    text: Callable[[float], str],
    least: float,
    note: str = "",
) -> str:
    """A figure with a row for each (name, class, stretches of x): when it is there. text writes an
    x; least: the length of the shortest bar, in x."""
    parts, names = [], []
    for n, (name, css, stretches) in enumerate(rows):
        top = 1000 * n / len(rows)
        names.append(f'<span style="top:{100 * (n + 0.5) / len(rows):.2f}%">{escape(name)}</span>')
        for first, last in stretches:
            left = 10 * across.share(first)
            end = min(10 * across.share(max(last, first + least)), 1000)
            wide = max(end - left, 1.5)
            parts.append(
                f'<rect class="bar {css}" x="{left:.1f}" y="{top + 180 / len(rows):.1f}"'
                f' width="{wide:.1f}" height="{640 / len(rows):.1f}"><title>{escape(name)}: '
                f"{escape(text(first))} to {escape(text(last))}</title></rect>"
            )
    frame = Axis(0, 1, [])
    body = _framed(title, across, frame, "".join(parts), 22 * len(rows) + 4, "".join(names))
    return figure(title, body, "", note)


def _framed(title: str, across: Axis, up: Axis, inner: str, tall: int, left: str = "") -> str:
    """The plot with its lines and the text beside it."""
    grid = "".join(f"M0 {1000 - 10 * up.share(v):.1f}h1000" for v, _ in up.ticks)
    grid += "".join(f"M{10 * across.share(v):.1f} 0v1000" for v, _ in across.ticks)
    left += "".join(
        f'<span style="top:{100 - up.share(v):.2f}%">{escape(text)}</span>' for v, text in up.ticks
    )
    below = "".join(
        f'<span style="left:{across.share(v):.2f}%">{escape(text)}</span>'
        for v, text in across.ticks
    )
    return (
        f'<div class="plot" style="height:{tall}px"><div class="up">{left}</div>'
        f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(title)}"><path class="grid" d="{grid}"/>{inner}</svg>'
        f'<div class="across">{below}</div></div>'
    )


def figure(title: str, body: str, names: str = "", note: str = "") -> str:
    """A card; body and names are HTML, the others text."""
    said = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<figure><figcaption>{escape(title)}</figcaption>{body}{names}{said}</figure>"


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """The names of curves, each with the colour of its class."""
    items = "".join(f'<li><i class="{css}"></i>{escape(name)}</li>' for name, css in entries)
    return f'<ul class="key">{items}</ul>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; head is text, cells are HTML."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def meter(share: float, text: str, css: str = "") -> str:
    """A bar from 0 to 1 with a text beside it, for a cell of a table."""
    wide = 100 * min(max(share, 0), 1)
    return (
        f'<div class="meter"><div><i class="{css}" style="width:{wide:.1f}%"></i></div>'
        f"<b>{escape(text)}</b></div>"
    )

"""What a training run reached, epoch by epoch: log.csv, curves.png, sheet.png and TensorBoard.

matplotlib and tensorboard are used where they are installed.
"""

from __future__ import annotations

import csv
import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime import atomic
from realtime.errors import OutputError

log = logging.getLogger("train")

FIRST = ("epoch", "samples", "seconds", "rate", "loss")
Row = dict[str, float]


class Curves:
    """The rows of DIR/log.csv and the pictures made of them.

    epoch, samples seen and seconds of training are counted from the start of the run.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self.rows: list[Row] = []
        self._board = _tensorboard(out / "tensorboard")
        self._plots = _has_matplotlib()

    def go_on_from(self, epochs: int) -> None:
        """Read the log of the first epochs of this run; what it did after them is forgotten.

        Raises OutputError when the log cannot be read.
        """
        path = self._out / "log.csv"
        if not path.exists():
            return
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = [
                    {k: _number(v) for k, v in row.items() if v} for row in csv.DictReader(file)
                ]
            self.rows = [row for row in rows if row["epoch"] <= epochs]
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise OutputError(f"{path}: not the log of this run ({error}); move it away") from None

    def add(self, row: Row) -> None:
        """One more row. Raises OutputError where TensorBoard could not write those before."""
        self.rows.append(row)
        if self._board:
            with atomic.writing(self._out / "tensorboard"):
                for name, value in row.items():
                    self._board.add_scalar(name, value, int(row["samples"]))

    def write(self) -> None:
        """Put the log on the disk. Raises OutputError."""
        atomic.replace(self._out / "log.csv", as_csv(self.rows).encode())
        if self._board:
            with atomic.writing(self._out / "tensorboard"):
                self._board.flush()

    def draw(self, sheet: NDArray[np.uint8] | None) -> None:
        """Draw the curves; put a picture sheet (H, W, 3) BGR beside them. Raises OutputError."""
        if sheet is not None:
            atomic.replace(self._out / "sheet.png", cv2.imencode(".png", sheet)[1].tobytes())
        if self._plots:
            atomic.replace(self._out / "curves.png", plot(self.rows))

    def close(self) -> None:
        if self._board:
            with atomic.writing(self._out / "tensorboard"):
                self._board.close()


@contextmanager
def told_once() -> Iterator[None]:
    """TensorBoard writes in a thread of its own; what fails there is raised by the next call, and
    not told as a traceback beside."""
    before = threading.excepthook

    def hook(failed: Any) -> None:
        theirs = type(failed.thread).__module__.startswith("tensorboard.")
        if not (theirs and isinstance(failed.exc_value, OSError)):
            before(failed)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def as_csv(rows: list[Row]) -> str:
    """Rows as a table with a line of names; a value that a row lacks is empty."""
    columns = [*FIRST, *sorted({name for row in rows for name in row} - set(FIRST))]
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def plot(rows: list[Row]) -> bytes:
    """Every number over the epochs, as PNG: the losses together, each measured number by itself."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    losses, measured = _kinds(rows)
    panels: list[list[str]] = [losses, ["rate"], *([name] for name in measured)]
    across = 3
    down = -(-len(panels) // across)
    figure = Figure(figsize=(4.2 * across, 3 * down), dpi=100, layout="constrained")
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(down, across, number + 1)
        for name in panel:
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            axes.plot(*zip(*points), marker="." if len(points) < 40 else "", label=name)
        axes.set_title(panel[0] if len(panel) == 1 else "loss", fontsize=10)
        axes.set_xlabel("epoch", fontsize=8)
        axes.grid(alpha=0.3)
        if len(panel) > 1:
            axes.legend(fontsize=8)
    data = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(data)
    return data.getvalue()


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)


def _kinds(rows: list[Row]) -> tuple[list[str], list[str]]:
    """The names of the losses and those of the measured numbers."""
    found = sorted({name for row in rows for name in row} - set(FIRST))
    return ["loss", *(n for n in found if n.startswith("loss "))], [
        n for n in found if not n.startswith("loss ")
    ]


def _has_matplotlib() -> bool:
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        log.info("curves.png is left out: matplotlib is not installed")
        return False
    return True


def _tensorboard(folder: Path) -> Any:
    """A writer of TensorBoard events, None where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own imports
            from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("TensorBoard events are left out: tensorboard is not installed")
        return None
    with atomic.writing(folder):
        return SummaryWriter(str(folder))

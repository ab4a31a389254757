"""One annotated picture of a run (--screenshot)."""

from __future__ import annotations

from pathlib import Path

import cv2

from realtime import atomic
from realtime.records import PosedFrame
from realtime.shape import seen
from realtime.sinks.base import Keeps
from realtime.sinks.outfile import check_writable


class Screenshot:
    """Saves the picture of the first frame with somebody in it as soon as it is there, or that of
    the last one when nobody is ever seen. PNG; appears as a whole. Raises OutputError."""

    name, wants_picture = "screenshot", True
    keeps: Keeps = "picture"

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        check_writable(path, overwrite)
        self.notes: list[str] = []
        self._path, self._overwrite = path, overwrite
        self._last: PosedFrame | None = None
        self._saved = False

    def write(self, item: PosedFrame) -> None:
        if self._saved:
            return
        self._last = item
        if len(item.poses) or (item.other is not None and len(item.other)):
            self._save(item, "")

    def close(self, clean: bool = True) -> None:
        if self._last is not None and not self._saved:
            self._save(self._last, ", where nobody is seen")

    def _save(self, item: PosedFrame, more: str) -> None:
        """Nothing is replaced that has come to be there since the beginning."""
        self._saved = True
        check_writable(self._path, self._overwrite)
        atomic.replace(self._path, cv2.imencode(".png", seen(item))[1].tobytes())
        self._last = None
        self.notes.append(f"{self._path} shows frame {item.frame.index}{more}")

"""The annotated pictures of a run as files (--pictures): of images, and of a film's frames."""

from __future__ import annotations

from pathlib import Path

import cv2

from realtime.errors import OutputError
from realtime.records import PosedFrame
from realtime.shape import seen
from realtime.sinks.base import Keeps
from realtime.sinks.folder import ResultFolder, plain
from realtime.sinks.outfile import Room

ENDING = "_poses.jpg"
QUALITY = 92
"""Of JPEG, 0 to 100."""


class Pictures:
    """Writes NAME_poses.jpg for each image, NAME_000000_poses.jpg and so on for each frame of
    anything else; the number is that of the frame, also behind a name that comes a second time.

    See ResultFolder. stem: NAME; None for images, whose own names are used. min_free: bytes that
    the disk must have left, looked at every second; 0 for no limit. Raises OutputError.
    """

    name, wants_picture = "pictures", True
    keeps: Keeps = "frames"

    def __init__(
        self, folder: Path, *, overwrite: bool, stem: str | None, min_free: int = 0
    ) -> None:
        self.notes: list[str] = []
        self._stem, self._room = stem, Room(folder, min_free)
        self._taken: set[str] = set()
        self._results = ResultFolder(folder, ENDING, overwrite)

    def write(self, item: PosedFrame) -> None:
        if lacking := self._room.lacking():
            raise OutputError(f"{self._results.folder}: pictures stopped, {lacking}")
        data = cv2.imencode(".jpg", seen(item), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        self._results.write(self._name(item), data.tobytes())

    def close(self, clean: bool = True) -> None:
        self._results.close(clean)

    def _name(self, item: PosedFrame) -> str:
        if self._stem is not None:
            return f"{plain(self._stem)}_{item.frame.index:06d}"
        name = plain(Path(item.frame.source).stem)
        while name.casefold() in self._taken:
            name = f"{name}_{item.frame.index:06d}"
        self._taken.add(name.casefold())
        return name

"""Carries out what keys, and other controls, ask for."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Protocol

import cv2

from realtime.controls import JUMPS, KEYS, changed, told
from realtime.draw import Style
from realtime.records import Image, PosedFrame
from realtime.shape import seen
from realtime.sources.base import Seekable
from realtime.stop import Stop

logger = logging.getLogger(__name__)

TOLD_FOR = 2.0
"""Seconds for which a note stays on screen."""
ACTIONS = frozenset(key.action for key in KEYS)


class Recording(Protocol):
    """What the desk needs of the recorder."""

    def cut(self, time: float) -> None: ...


class Desk:
    """The state of the controls of one run. ask() may be called by any thread and style and the
    switches read by any; the rest belongs to the main thread.

    style: how pictures are drawn from now on. help, fullscreen: whether they are on.
    recording: whether the video gets frames. item: the frame on show.
    pictures: screenshots are named PICTURES_frame000123.png; a bare name is put into the current
        folder. recorder: the video, None without one. live: a camera cannot wait.
    file: the source if it can be sought in. writing: results are kept, with every frame once, so
        that nobody may seek. jumping: somebody wants to, and jump() is due. part: Frame.part of
        the newest frames; those with another one are out of date.
    """

    def __init__(
        self,
        style: Style,
        stop: Stop,
        *,
        live: bool,
        pictures: Path = Path("posestream"),
        recorder: Recording | None = None,
        file: Seekable | None = None,
        writing: bool = False,
        fullscreen: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.style = style
        self.paused = self.help = False
        self.fullscreen = fullscreen
        self.recording = recorder is not None
        self.jumping = False
        self.part = 0
        self.item: PosedFrame | None = None
        self.redraw: Callable[[PosedFrame], PosedFrame] = lambda item: item
        self.checked: Callable[[PosedFrame], PosedFrame] = lambda item: item
        self._stop, self._live, self._pictures, self._recorder = stop, live, pictures, recorder
        self._clock = clock
        self._file, self._writing = file, writing
        self._goal: float | None = None  # where the next frame on show is to be from, in seconds
        self._asked: deque[str] = deque()
        self._steps = 0
        self._cut = False
        self._note, self._until = "", 0.0

    @property
    def can_record(self) -> bool:
        """Whether there is a video to be switched off and on."""
        return self._recorder is not None

    @property
    def has_file(self) -> bool:
        """Whether the source is a file that can be sought in, if nothing is written."""
        return self._file is not None

    @property
    def note(self) -> str:
        """What to say on screen now; "" for nothing."""
        if self._clock() < self._until:
            return self._note
        return "paused" if self.paused else ""

    def ask(self, action: str) -> None:
        """Have an action of realtime.controls.KEYS done soon. Raises ValueError for another."""
        if action not in ACTIONS:
            raise ValueError(f"action {action!r}: expected one of {', '.join(sorted(ACTIONS))}")
        self._asked.append(action)

    def work(self) -> None:
        """Do what was asked for since."""
        while self._asked:
            self._do(self._asked.popleft())

    @property
    def _still(self) -> bool:
        """Whether the picture on show is to stay; the first one comes in any case."""
        return self.paused and not self._steps and self.item is not None

    def holds(self) -> bool:
        """Whether the next frame of a file has to wait."""
        return self._still and not self._live

    def show(self, item: PosedFrame) -> bool:
        """Whether to show this frame, as the newest one; not so while a camera is paused."""
        if self._still:
            return False
        self._steps = max(0, self._steps - 1)
        self.item, self._goal = item, None
        return True

    def records(self, item: PosedFrame) -> bool:
        """Whether the video gets this frame."""
        if self._cut and self.recording and self._recorder:
            self._cut = False
            self._recorder.cut(item.frame.time)
        return self.recording

    def jump(self) -> None:
        """Let the source go on where it was asked for; for what that means see Seekable."""
        assert self._file is not None and self._goal is not None
        self.jumping = False
        self.part = self._file.seek(self._goal)

    def _do(self, action: str) -> None:
        if action == "quit":
            self._stop.ask("quit asked for")
        elif action == "help":
            self.help = not self.help
        elif action == "fullscreen":
            self.fullscreen = not self.fullscreen
        elif action == "pause":
            self.paused, self._steps = not self.paused, 0
            self._tell("" if self.paused else "going on")
        elif action == "step":
            self.paused, self._steps = True, 1
        elif action == "record":
            self._switch_recording()
        elif action == "screenshot":
            self._save()
        elif action in JUMPS:
            self._seek(JUMPS[action])
        else:
            self.style = changed(self.style, action)
            self._tell(told(self.style, action))
            if self.item:
                self.item = self.redraw(self.item)
            if action == "overlay" and self.style.heatmap and self.paused:
                self._find_heat()

    def _find_heat(self) -> None:
        """The heatmaps of a frame that stands still: they are kept only when they are shown, so
        the frame has to be worked on once more; where that cannot be they come with the next."""
        coming = self._goal is not None  # a frame that may be without, whatever is on show
        if self.item is None or (self.item.heat is not None and not coming):
            return
        if self._file is None or self._writing:
            self._tell("heatmap: from the next frame on")
        else:
            self._goal = self.item.frame.time if self._goal is None else self._goal
            self.jumping, self._steps = True, 1

    def _seek(self, by: float) -> None:
        """Ask for a jump by so many seconds, from where the one before leads to if it is on."""
        if self._file is None:
            self._tell("only a video file can be sought in")
        elif self._writing:
            self._tell("no seeking: results are being written")
        elif self.item is None:
            self._tell("no picture yet")
        else:
            now = self.item.frame.time if self._goal is None else self._goal
            self._goal = max(self._file.info.start, now + by)
            self.jumping, self._steps = True, int(self.paused)
            self._tell(_moment(self._goal - self._file.info.start, self._file.length))

    def _tell(self, note: str) -> None:
        self._note, self._until = note, self._clock() + (TOLD_FOR if note else 0)

    def _switch_recording(self) -> None:
        if self._recorder is None:
            self._tell("no recording: start with --output FILE.mp4")
            return
        self.recording = not self.recording
        self._cut = self.recording
        self._tell("recording on, into a new file" if self.recording else "recording off")

    def _save(self) -> None:
        """The picture on show as PNG; what went wrong is said, and the run goes on."""
        if self.item is None or self.item.picture is None:
            self._tell("no picture yet")
            return
        name = f"{self._pictures.stem}_frame{self.item.frame.index:06d}"
        try:
            path = write_png(self._pictures.with_name(f"{name}.png"), seen(self.item))
        except OSError as error:
            self._tell(f"not saved: {error.strerror or error}")
            logger.warning("screenshot %s.png: %s", name, error.strerror or error)
        else:
            self._tell(f"saved {path.name}")
            logger.info("saved %s", path)


def _moment(seconds: float, whole: float | None) -> str:
    """ "0:07 of 1:00"."""
    if whole is None:
        return _minutes(seconds)
    return f"{_minutes(min(seconds, whole))} of {_minutes(whole)}"


def _minutes(seconds: float) -> str:
    """61.5 as "1:01"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def write_png(path: Path, picture: Image) -> Path:
    """Write a picture (H, W, 3) BGR under this name or, where that is taken, NAME_2.png and so on;
    the path. Never replaces anything. Raises OSError, and then leaves no file."""
    data = cv2.imencode(".png", picture)[1].tobytes()
    for number in count(1):
        free = path.with_name(f"{path.stem}_{number}{path.suffix}") if number > 1 else path
        try:
            file = free.open("xb")
        except FileExistsError:
            continue
        try:
            with file:
                file.write(data)
        except OSError:
            free.unlink(missing_ok=True)
            raise
        return free
    raise AssertionError  # count() does not end

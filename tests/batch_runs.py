"""Batches as a user runs them, on clips of the demo scene, and the results of one machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import media
import numpy as np
import pytest
from numpy.typing import NDArray

from realtime import api
from realtime.formats.registry import load
from realtime.formats.rows import LoadedFrame
from realtime.sources.base import Span
from realtime.sources.demo import open_demo

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = {
    task: str(ROOT / "tests" / "data" / f"tiny_{task}.onnx") for task in ("detector", "pose")
}
LONG, SHORT, BORDER = 380, 30, 250
SHORTS = 3


class Batch:
    """A batch in a process of its own, with two workers of a core each. env: goes to its
    environment. err: its lines so far."""

    def __init__(self, *arguments: object, **env: str) -> None:
        command = [sys.executable, "-m", "realtime.batch", *map(str, arguments)]
        command += ["--workers", "2", "--cores-each", "1"]
        command += [x for task, path in NETWORKS.items() for x in (f"--{task}", path)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.err: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.err.append(line)

    def until(self, done: Callable[[], Any], within: float = 150) -> Any:
        """What done() gives, once that is something."""
        deadline = time.monotonic() + within
        while not (found := done()):
            assert time.monotonic() < deadline and self.process.poll() is None, self.err
            time.sleep(0.02)
        return found

    def pid(self, worker: int) -> int:
        """Of a worker, when it has begun."""

        def find() -> int:
            found = re.search(rf"worker {worker}: .*pid (\d+)", "".join(self.err))
            return int(found[1]) if found else 0

        return int(self.until(find))

    def end(self) -> str:
        """Wait; what it printed."""
        assert self.process.stdout
        with self.process:
            out = self.process.stdout.read()
        self._reader.join()
        assert "Traceback" not in "".join(self.err)
        return out


def scene_pictures(count: int) -> list[NDArray[np.uint8]]:
    """Small pictures of the demo scene."""
    return [
        np.asarray(cv2.resize(f.image, (480, 270), interpolation=cv2.INTER_AREA), np.uint8)
        for f in open_demo(1, Span(100, 100 + count), False).frames()
    ]


def film(path: Path, frames: int, pictures: list[NDArray[np.uint8]], shift: int = 0) -> Path:
    """People who walk forth and back."""

    def picture(number: int, _: tuple[int, int]) -> NDArray[np.uint8]:
        place = (number + shift) % (2 * len(pictures))
        return pictures[min(place, 2 * len(pictures) - 1 - place)]

    options = {"g": "50", "bf": "2", "preset": "ultrafast", "sc_threshold": "0"}
    return media.video(path, frames, (480, 270), picture=picture, options=options)


def make_clips(folder: Path) -> Path:
    """x/long.mp4, which --segment 8 cuts at BORDER, and SHORTS short ones; the folder."""
    pictures = scene_pictures(40)
    (folder / "x").mkdir(parents=True)
    film(folder / "x" / "long.mp4", LONG, pictures)
    for number in range(SHORTS):
        film(folder / f"{number}.mp4", SHORT, pictures, 10 * number)
    return folder


def alone(path: Path, folder: Path) -> list[LoadedFrame]:
    """The result on one machine."""
    data = folder / f"{path.stem}.npz"
    api.run(path, data=data, detect_every=1, bridge=0, smooth="off", compute="cpu", **NETWORKS)  # type: ignore[arg-type]
    return load(data)


def same(ours: list[LoadedFrame], theirs: list[LoadedFrame]) -> None:
    """Every frame once, the same people within half a pixel."""
    assert [f.frame for f in ours] == [f.frame for f in theirs] == list(range(len(theirs)))
    for our, their in zip(ours, theirs, strict=True):
        assert our.time == pytest.approx(their.time, abs=1e-6)
        assert len(our.poses) == len(their.poses)
        assert np.abs(our.poses.joints_xy - their.poses.joints_xy).max(initial=0) < 0.5


def pairs(ours: list[LoadedFrame], theirs: list[LoadedFrame]) -> set[tuple[int, int]]:
    """Which id of theirs each of ours stands for."""
    both = [zip(a.poses.ids, b.poses.ids, strict=True) for a, b in zip(ours, theirs, strict=True)]
    return {(int(a), int(b)) for frame in both for a, b in frame}

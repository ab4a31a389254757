"""Cameras without hardware for the real command line: v4l2_camera.c, built and steered."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import Picture

SOURCE = Path(__file__).with_suffix(".c")
Mode = tuple[str, tuple[int, int], int]
"""Pixel format, size, frames per second."""
SMALL: tuple[Mode, ...] = (("YUYV", (320, 240), 30), ("MJPG", (320, 240), 30))


def library(folder: Path) -> Path:
    """Build the library to preload; skips the test where that is not possible."""
    if not sys.platform.startswith("linux"):
        pytest.skip("V4L2 is of Linux")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler")
    path = folder / "v4l2_camera.so"
    flags = [
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Wno-missing-field-initializers",
        "-Werror",
    ]
    subprocess.run([compiler, *flags, "-o", path, SOURCE, "-pthread", "-ldl"], check=True)
    return path


def film(
    folder: Path,
    modes: Sequence[Mode],
    picture: Callable[[int, tuple[int, int]], Picture],
    count: int,
) -> None:
    """What cameras show in these modes: picture(number, size) for number below count."""
    for code, size_wh, _ in modes:
        coded = (encoded(picture(n, size_wh), code) for n in range(count))
        path = folder / f"{code}-{size_wh[0]}x{size_wh[1]}"
        path.write_bytes(b"".join(len(one).to_bytes(4, "little") + one for one in coded))


class Cameras:
    """The cameras that programs with env see: those plugged in here, and no others."""

    def __init__(self, library: Path, folder: Path, films: Path) -> None:
        self._folder = folder
        for name in ("dev", "sys", "lock"):
            (folder / name).mkdir(parents=True)
        (folder / "pictures").symlink_to(films)
        self.env = {"LD_PRELOAD": str(library), "POSESTREAM_TEST_CAMERAS": str(folder)}

    def plug(
        self, number: int, *words: str, modes: Sequence[Mode] = SMALL, name: str = "HD Webcam"
    ) -> None:
        """Plug a camera in, or change how it behaves; words: see the C file."""
        about = self._folder / "sys" / f"video{number}"
        about.mkdir(exist_ok=True)
        (about / "name").write_text(name + "\n")
        (about / "index").write_text("0\n")
        lines = [f"{code} {w}x{h} {rate}" for code, (w, h), rate in modes]
        draft = self._folder / f"draft{number}"
        draft.write_text("\n".join((*lines, *words)))
        draft.replace(self._node(number))  # at once: it may be in use

    def pull(self, number: int) -> None:
        self._node(number).unlink()
        shutil.rmtree(self._folder / "sys" / f"video{number}")

    @contextmanager
    def used(self, number: int) -> Generator[None, None, None]:
        """Another program uses the camera meanwhile."""
        with (self._folder / "lock" / f"video{number}").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield

    def log(self) -> list[str]:
        """What programs have asked the cameras for: "video0 S_FMT MJPG 640x480"."""
        path = self._folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    def _node(self, number: int) -> Path:
        return self._folder / "dev" / f"video{number}"


def encoded(picture: Picture, code: str) -> bytes:
    """A BGR picture as a camera sends it: MJPG or YUYV (BT.601, 16..235)."""
    if code == "MJPG":
        return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_YUY2)).tobytes()

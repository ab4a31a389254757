"""Cameras through the real command line, our camera source and OpenCV's V4L2 code, down to the
system calls, which v4l2_camera.c answers as the driver of a webcam does."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from commandline import Result, finish, lines, start, times
from media import Picture, barcode, number_in
from v4l2_camera import SMALL, Cameras, film, library
from xserver import needs_x, press

BIG = [("MJPG", (640, 480), 15)]
PICTURES = 128
"""What a camera films before it begins again."""
DATA = Path(__file__).parent / "data"
TINY = (
    "--detector", DATA / "tiny_detector.onnx", "--pose", DATA / "tiny_pose.onnx",
    "--detect-every", 30, "--threads", 1,  # the networks have nothing to find here
)  # fmt: skip
COLOURS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [220, 220, 220]], np.uint8)


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    film(folder, [*SMALL, *BIG], coloured_card, PICTURES)
    return folder


@pytest.fixture
def cameras(preloaded: Path, films: Path, tmp_path: Path) -> Cameras:
    return Cameras(preloaded, tmp_path / "cameras", films)


def coloured_card(number: int, size_wh: tuple[int, int]) -> Picture:
    """Blue, green, red and white side by side, and the number of the picture below."""
    width, height = size_wh
    bars = np.broadcast_to(COLOURS.repeat(width // 4, 0), (height // 2, width, 3))
    return np.concatenate([bars, barcode(number, (width, height // 2))])


def on(cameras: Cameras, *arguments: object) -> subprocess.Popen[str]:
    return start("--headless", *TINY, *arguments, **cameras.env)


def recorded(path: Path) -> list[Picture]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def numbers(pictures: list[Picture]) -> list[int]:
    """Of the pictures in what the camera has filmed, counted on where it began again."""
    seen = [number_in(picture[-picture.shape[0] // 3 :]) for picture in pictures]
    steps = [(b - a) % PICTURES for a, b in pairwise(seen)]
    return list(accumulate(steps, initial=seen[0]))


def colours(picture: Picture) -> Any:
    """Of the four bars, BGR, below what is written on live pictures."""
    height, width = picture.shape[:2]
    rows = picture[height * 2 // 5 : height * 9 // 20].astype(float).mean(0)
    return np.array([bar[5:-5].mean(0) for bar in rows.reshape(4, width // 4, 3)])


def test_two_cameras_at_once(cameras: Cameras, tmp_path: Path) -> None:
    """One has the mode asked for and damaged pictures, the other has its own mode only."""
    big, small = BIG[0][1], SMALL[0][1]
    modes = [("YUYV", small, 15), ("YUYV", big, 10), ("MJPG", small, 30), ("MJPG", big, 30), *BIG]
    cameras.plug(0, "damaged 5", modes=modes)
    cameras.plug(1, modes=SMALL[:1], name="Capture Card")
    wish = ["--camera-size", "640x480", "--camera-fps", 15, "--end", 40]
    outputs = ["--json", tmp_path / "p.jsonl", "--report", tmp_path / "r.json"]
    outputs += ["--output", tmp_path / "o.mp4"]
    result = finish(on(cameras, "--device", 0, "--device", 1, *wish, *outputs))
    assert result.code == 0, result.err
    first = run_of(tmp_path, 1, "camera 0 (HD Webcam)", "640x480 at 15 fps MJPG (V4L2)", 15)
    assert first["bad_packets"] >= 5
    second = run_of(tmp_path, 2, "camera 1 (Capture Card)", "320x240 at 30 fps YUYV (V4L2)", 30)
    assert second["bad_packets"] == 0
    log = [line.removeprefix("video0 ") for line in cameras.log() if line.startswith("video0")]
    wishes = [line for line in log if line.startswith(("S_FMT MJPG", "S_PARM"))]
    assert wishes[-2:] == ["S_FMT MJPG 640x480", "S_PARM 15"]
    assert log[-2:] == ["STREAMON MJPG 640x480 15", "close"]  # one connection, put away


def run_of(folder: Path, which: int, name: str, granted: str, rate: int) -> dict[str, Any]:
    """The report of one of several cameras, after a look at what it gave."""
    report: dict[str, Any] = json.loads((folder / f"r-{which}.json").read_text())
    assert report["source"] == name and report["frames_captured"] == 40 and report["ended"]
    assert report["notes"] == [f"{name}: asked for 640x480 at 15 fps MJPG, granted {granted}"]
    kept = [line["frame"] for line in lines(folder / f"p-{which}.jsonl")]
    assert in_order(kept) and len(kept) + report["dropped"].get("grab.stale", 0) == 40
    pictures, seconds = recorded(folder / f"o-{which}.mp4"), times(folder / f"o-{which}.mp4")
    assert in_order(numbers(pictures)) and in_order(seconds), numbers(pictures)  # none twice
    late = np.array(seconds) - np.array(numbers(pictures)) / rate
    assert np.abs(late - np.median(late)).max() < 0.1, late  # it plays at its true speed
    assert np.abs(colours(pictures[-1]) - COLOURS).max() < 8
    return report


def in_order(values: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(values))


@needs_x
def test_a_key_ends_a_window_without_pictures(
    cameras: Cameras, tmp_path: Path, display: str
) -> None:
    cameras.plug(0)
    run = Watched(cameras, tmp_path, DISPLAY=display)
    run.films_on(within=60)
    cameras.plug(0, "stalled")
    time.sleep(1)  # now it waits for the driver
    result = run.ends(lambda: press(display, "q"))
    assert result.code == 0 and in_order(times(run.video)), result.err
    assert " 0 shown" not in result.err and "0 poses" in result.err


def test_what_goes_wrong(preloaded: Path, films: Path, tmp_path: Path) -> None:
    """Mostly waits, so all at the same time."""
    stories = (stalled_pulled_and_plugged_in_elsewhere, pulled_for_good, not_opened, listed)
    with ThreadPoolExecutor() as pool:
        told = []
        for story in stories:
            folder = tmp_path / story.__name__
            told.append(pool.submit(story, Cameras(preloaded, folder / "cameras", films), folder))
    for each in told:
        each.result()


def listed(cameras: Cameras, _: Path) -> None:
    """The list of cameras says what each can do, or why not."""
    cameras.plug(0, "slow 2")
    cameras.plug(1, "denied", name="Secret Camera")
    cameras.plug(2, name="Other Camera")
    with cameras.used(2):
        result = finish(start("--list-cameras", **cameras.env))
    assert result.code == 0 and result.err == ""
    _, *rows = (line.split("  ") for line in result.out.splitlines())
    cells = [[cell.strip() for cell in row if cell] for row in rows]
    (number, name, backend, granted, measured, seconds), *others = cells
    assert (number, name, backend, granted) == ("0", "HD Webcam", "V4L2", "320x240 MJPG 30 fps")
    assert 5 < float(measured.removesuffix(" fps")) < 40 and 2 <= float(seconds[:-2]) < 10
    assert others == [["1", "Secret Camera", "no permission"], ["2", "Other Camera", "in use"]]


def not_opened(cameras: Cameras, _: Path) -> None:
    """What does not open is told in one line."""
    cameras.plug(0, "denied")
    cameras.plug(1)
    cameras.plug(2, "stalled")
    cameras.plug(3, "slow 60")
    says = {
        0: "no permission to open /dev/video0; add yourself to the group video (sudo usermod",
        1: "camera 1 is in use by another program; close that program, or try",
        2: "camera 2 gives no picture; unplug it and plug it in again, or try",
        3: "camera 3 does not answer within 10 s; unplug it",
    }
    with cameras.used(1):
        runs = {number: on(cameras, "--device", number) for number in says}
        for number, words in says.items():
            result = finish(runs[number])
            assert result.code == 3 and len(result.err.splitlines()) == 1, result.err
            assert result.err.startswith(f"posestream: error: {words}"), result.err


class Watched:
    """A run with a status file, a log and a recording, while cameras are pulled and plugged in."""

    def __init__(self, cameras: Cameras, folder: Path, *arguments: object, **env: str) -> None:
        self.video = folder / "o.mp4"
        self._log, self._status = folder / "log.txt", folder / "s.json"
        outputs = ["--output", self.video, "--log-file", self._log, "--status-file", self._status]
        asked = ["--device", 0, *TINY, *outputs, *arguments]
        self.process = start(*asked, **cameras.env, **env)

    def captured(self) -> int:
        if not self._status.exists():
            return 0
        return json.loads(self._status.read_text())["frames_captured"] or 0  # null at first

    def films_on(self, within: float) -> None:
        before = self.captured()
        self._until(lambda: self.captured() > before + 10, within, "no frames")

    def says(self, words: str, within: float) -> None:
        self._until(lambda: words in self._log.read_text(), within, f"does not say {words!r}")

    def ends(self, how: Callable[[], None]) -> Result:
        """What comes of it, in time."""
        began = time.monotonic()
        how()
        result = finish(self.process)
        assert time.monotonic() - began < 3 + SLACK
        return result

    def _until(self, condition: Callable[[], bool], within: float, otherwise: str) -> None:
        deadline = time.monotonic() + within
        while not condition():
            log = self._log.read_text() if self._log.exists() else ""
            assert self.process.poll() is None and time.monotonic() < deadline, (otherwise, log)
            time.sleep(0.05)


SLACK = 5.0
"""Seconds that a loaded machine and the status file, written once a second, may take besides."""


def stalled_pulled_and_plugged_in_elsewhere(cameras: Cameras, folder: Path) -> None:
    """Then interrupted while it waits for the driver."""
    cameras.plug(0)
    run = Watched(cameras, folder, "--headless")
    run.films_on(within=60)
    cameras.plug(0, "stalled")
    run.says("camera 0 (HD Webcam): stalled 5 s; waiting", within=5 + SLACK)
    cameras.plug(0)
    run.films_on(within=10 + SLACK)
    cameras.pull(0)
    run.says("the camera is gone; plug it in again; trying again", within=5 + SLACK)
    cameras.plug(1)
    run.films_on(within=10 + SLACK)
    cameras.plug(1, "stalled")
    time.sleep(1)
    result = run.ends(lambda: run.process.send_signal(signal.SIGINT))
    assert result.code == 130 and "1 reconnects" in result.err, result.err
    assert len(seconds := times(run.video)) > 10 and in_order(seconds)
    wishes = [line for line in cameras.log() if "S_FMT MJPG" in line]
    assert wishes[1::2] == ["video0 S_FMT MJPG 1280x720", "video1 S_FMT MJPG 1280x720"]


def pulled_for_good(cameras: Cameras, folder: Path) -> None:
    """A camera that does not come back is given up when told so."""
    cameras.plug(0)
    run = Watched(cameras, folder, "--max-reconnects", 1, "--quiet", "--headless")
    run.films_on(within=60)
    cameras.pull(0)
    result = finish(run.process)
    assert result.code == 6
    assert result.errors == [
        "posestream: error: camera 0 (HD Webcam): the camera is gone; plug it in again; not back"
        " after 1 attempts (--max-reconnects)"
    ]
    assert recorded(run.video)

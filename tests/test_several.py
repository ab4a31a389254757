"""Several sources at once, through the real command line."""

from __future__ import annotations

import json
import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from commandline import finish, lines, run, start, times
from media import barcode, cut, number_in, video
from xserver import needs_x, press, x_server

from engines.base import ModelSpec
from realtime import opening, several
from realtime.cli import parse
from realtime.desk import Desk
from realtime.draw import Style
from realtime.errors import OutOfMemory
from realtime.grid import SIZE_WH, Grid, Tile, side_by_side
from realtime.records import Frame, PosedFrame, Poses
from realtime.sources.base import SourceInfo
from realtime.sources.demo import open_demo
from realtime.stop import Stop


def report(path: Path) -> dict[str, Any]:
    told = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(told, dict) and told["ledger_errors"] == []
    return told


def clip(path: Path, frames: int = 30) -> Path:
    return video(path, frames)


def test_each_source_has_its_outputs_and_the_results_of_a_run_alone(tmp_path: Path) -> None:
    """Two scenes of different networks and a file without people; every frame exactly once."""
    walk = clip(tmp_path / "walk.mp4")
    result = run(
        "--input", "demo", "--input", walk, "--end", 24, "--headless",
        "--output", tmp_path / "out.mp4", "--json", tmp_path / "p.jsonl",
        "--data", f"csv-wide:{tmp_path / 'wide.csv'}", "--report", tmp_path / "r.json",
        "--status-file", tmp_path / "s.json",
    )  # fmt: skip
    assert (
        result.code == 0 and "source 1, demo:" in result.err and "source 2, walk.mp4:" in result.err
    )
    alone = run(
        "--input", "demo", "--end", 24, "--headless", "--quiet", "--json", tmp_path / "alone.jsonl"
    )
    assert alone.code == 0 and not (tmp_path / "out.mp4").exists()
    for n in (1, 2):
        told = report(tmp_path / f"r-{n}.json")
        assert told["frames_captured"] == told["frames_written"] == 24
        assert [row["frame"] for row in lines(tmp_path / f"p-{n}.jsonl")] == list(range(24))
        assert len(times(tmp_path / f"out-{n}.mp4")) == 24
        assert (tmp_path / f"wide-{n}.csv").stat().st_size > 0
        status = json.loads((tmp_path / f"s-{n}.json").read_text())
        assert (status["state"], status["exit_code"]) == ("done", 0)
    for one, other in zip(lines(tmp_path / "p-1.jsonl"), lines(tmp_path / "alone.jsonl")):
        assert len(one["people"]) == len(other["people"])
        for mine, theirs in zip(one["people"], other["people"]):
            assert mine["id"] == theirs["id"]
            np.testing.assert_allclose(mine["keypoints"], theirs["keypoints"], atol=0.5)


class _Room:
    """A network of a device with room for two pictures; it waits until it may begin."""

    engine = precision = device = why = ""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec, self.may_begin, self.sizes = spec, Event(), list[int]()

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        assert self.may_begin.wait(10)
        self.sizes.append(len(batch))
        if len(batch) > 2:
            raise OutOfMemory("full")
        return [batch.sum((1, 2, 3), dtype=np.float32)]


def test_sources_whose_common_batch_is_too_large_all_go_on(monkeypatch: Any) -> None:
    """Each asks for one picture, for which there is room."""
    made: list[_Room] = []

    def load(spec: ModelSpec, *_: Any, **__: Any) -> _Room:
        made.append(_Room(spec))
        return made[-1]

    monkeypatch.setattr(opening, "load", load)
    parts = several.divided(parse([*("--input", "a.mp4") * 4, "--quiet"]))
    networks, info = several._Networks(parts), SourceInfo("a", "file", size_wh=(64, 48))
    poses: list[Any] = [networks.load(part, info)[1] for part in parts]
    shared, (_, room) = poses[0], made
    width, height = room.spec.input_wh
    found: dict[int, list[np.ndarray]] = {}

    def ask(value: int) -> None:
        found[value] = poses[value](np.full((1, height, width, 3), value, np.uint8))

    threads = [Thread(target=ask, args=(value,), daemon=True) for value in range(4)]
    threads[0].start()
    while not shared._turn.locked() or shared._waiting:
        time.sleep(0.001)
    for thread in threads[1:]:
        thread.start()
    while len(shared._waiting) < 3:
        time.sleep(0.001)
    room.may_begin.set()
    for thread in threads:
        thread.join(10)
    assert room.sizes == [1, 3, 2, 1]
    sums = {value: out[0].tolist() for value, out in found.items()}
    assert sums == {value: [3.0 * width * height * value] for value in range(4)}


def test_a_source_that_cannot_be_opened_ends_all_before_they_begin(tmp_path: Path) -> None:
    result = run(
        "--input", "demo", "--input", tmp_path / "none.mp4", "--headless", "--output",
        tmp_path / "out.mp4",
    )  # fmt: skip
    assert result.code == 3 and len(result.errors) == 1 and "none.mp4" in result.errors[0]
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    broken = cut(clip(tmp_path / "whole.mkv", 60), 0.5)
    good = clip(tmp_path / "good.mp4", 60)
    result = run(
        "--input", broken, "--input", good, "--strict", "--headless", "--live", "--json",
        tmp_path / "p.jsonl",
    )  # fmt: skip
    assert result.code == 3 and len(result.errors) == 1, result.err
    assert result.err.count("--live: nothing is done to a video file; ") == 1
    assert 0 < len(lines(tmp_path / "p-1.jsonl")) < 60
    assert len(lines(tmp_path / "p-2.jsonl")) == 60


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_finishes_every_output(tmp_path: Path, number: int, code: int) -> None:
    process = start(
        "--input", "demo", "--input", "demo", "--live", "--headless", "--output",
        tmp_path / "out.mp4", "--report", tmp_path / "r.json",
    )  # fmt: skip
    videos = [tmp_path / "out-1.mp4", tmp_path / "out-2.mp4"]
    deadline = time.monotonic() + 40
    while not all(path.exists() and path.stat().st_size > 20_000 for path in videos):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    asked = time.monotonic()
    process.send_signal(number)
    result = finish(process, 20)
    assert result.code == code and time.monotonic() - asked < 6
    for n, path in enumerate(videos, 1):
        assert len(times(path)) == report(tmp_path / f"r-{n}.json")["frames_written"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "0", "--device", "0"], "same camera twice"),
        (["--input", "-", "--input", "-"], "standard input twice"),
        (["--input", "demo", "--device", "0", "--json", "-"], "--json - takes one source"),
        (["--input", "demo", "--input", "x", "--explain", "y"], "--explain takes one source"),
    ],
)
def test_what_several_sources_cannot_have(options: list[str], words: str) -> None:
    result = run(*options)
    assert result.code == 2 and len(result.errors) == 1 and words in result.errors[0]


@pytest.mark.parametrize(("count", "cells"), [(1, (1, 1)), (2, (2, 1)), (3, (2, 2)), (5, (3, 2))])
def test_pictures_side_by_side(count: int, cells: tuple[int, int]) -> None:
    """Each is in its own cell, whole and in proportion, and named."""
    pictures = [(f"camera {n}", barcode(n + 1)) for n in range(count)]
    whole = side_by_side(pictures)
    assert whole.shape == (SIZE_WH[1], SIZE_WH[0], 3)
    wide, tall = SIZE_WH[0] // cells[0], SIZE_WH[1] // cells[1]
    for n, (_, picture) in enumerate(pictures):
        x, y = n % cells[0] * wide, n // cells[0] * tall
        cell = whole[y : y + tall, x : x + wide]
        scale = min(wide / picture.shape[1], tall / picture.shape[0])
        size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
        left, top = (wide - size[0]) // 2, (tall - size[1]) // 2
        assert number_in(cell[top : top + size[1], left : left + size[0]]) == n + 1


def test_every_output_has_the_number_of_its_source() -> None:
    """All but the log, which is one for all."""
    words = "--output a.mp4 --json b.jsonl --data c.csv --screenshot d.png --pictures e"
    told = "--report f.json --status-file g.json --log-file h.txt"
    settings = parse(f"--input x --input y {words} {told}".split())
    first, second = (set(part.outputs) for part in several.divided(settings))
    assert len(first) == len(second) == 8 == len(settings.outputs)
    assert first & second == {settings.log_file}


@pytest.mark.parametrize(
    ("option", "made", "way"),
    [
        ("--output", "out.mp4", "file"),
        ("--json", "out.jsonl", "file"),
        ("--data", "csv-wide:out.csv", "file"),
        ("--data", "openpose:out", "file"),
        ("--report", "out.json", "file"),
        ("--status-file", "out.json", "file"),
        ("--output", "out.mp4", "link"),
        ("--output", "out.mp4", "folder"),
        ("--output", "out.mp4", "pattern"),
    ],
)
def test_no_output_with_a_number_is_an_input_of_any_source(
    tmp_path: Path, option: str, made: str, way: str
) -> None:
    """Whichever of them has that number; told before anything is opened, the missing one too."""
    form, colon, name = made.rpartition(":")
    taken, image = tmp_path / f"out-2{Path(name).suffix}", tmp_path / "images" / "1.png"
    image.parent.mkdir()
    cv2.imwrite(str(image), barcode(1))
    source = {"file": taken, "link": image, "folder": image.parent, "pattern": "ima*/*.png"}[way]
    if way == "file":
        clip(tmp_path / "v.mp4", 3).rename(taken)
    else:
        taken.symlink_to(image)
    before = taken.read_bytes()
    result = run(
        "--input", tmp_path / source, "--input", tmp_path / "none.mp4", "--headless",
        option, f"{form}{colon}{tmp_path / name}", "--overwrite",
    )  # fmt: skip
    assert result.code == 2 and len(result.errors) == 1, result.err
    assert "this is the input" in result.errors[0] and taken.name in result.errors[0]
    assert taken.read_bytes() == before and len(list(tmp_path.iterdir())) == 2


@needs_x
def test_the_window_shows_all_and_its_keys_are_for_all(tmp_path: Path) -> None:
    """Also with a page beside it."""
    serve = ("--serve", 0) if find_spec("aiohttp") else ()
    with x_server() as display:
        process = start(
            "--input", "demo", "--input", "demo", "--live", "--show", *serve, "--output",
            tmp_path / "out.mp4", "--report", tmp_path / "r.json", DISPLAY=display,
        )  # fmt: skip
        while not (tmp_path / "out-2.mp4").exists() and process.poll() is None:
            time.sleep(0.1)
        time.sleep(1)  # cv2 makes the window anew for its first picture
        press(display, "h", "r")
        time.sleep(2)  # for frames to come also where the machine is busy
        press(display, "space")
        time.sleep(1)
        press(display, "space", "r", "s", "q")
        result = finish(process)
    assert result.code == 0, result.err
    assert ("the page is at" in result.err) == bool(serve)
    for n in (1, 2):
        told = report(tmp_path / f"r-{n}.json")
        assert told["frames_shown"] > 0 and told["dropped"]["record.off"] > 0
        shown = told["sinks"]["window"]
        assert shown["dropped"]["window.paused"] > 0
        before = told["dropped"].get("grab.stale", 0)
        there = shown["frames"] + sum(shown["dropped"].values())
        assert told["frames_captured"] == there + before + told["failed"]
        assert len(list(tmp_path.glob(f"out-{n}_frame*.png"))) == 1


class LostWindow:
    """The window of a display that goes away at once."""

    def __init__(self, title: str) -> None:
        """Nothing to open."""

    def pump(self) -> str:
        return "lost"

    def fill_screen(self, on: bool) -> None:
        """There is no screen."""

    def show(self, picture: object, card: bool = False) -> None:
        raise AssertionError("there is no display")


def test_a_window_that_does_not_open_leaves_the_end_of_the_process_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The guard ends the process with 1 unless the run leaves by os._exit, as with a window."""

    def no_display(*_: object) -> None:
        raise OSError("no display")

    guards: list[object] = []
    monkeypatch.setattr(several, "Grid", no_display)
    monkeypatch.setattr(several, "on_exit", guards.append)
    member: Any = SimpleNamespace(tile=object(), in_window=True, job=SimpleNamespace(workers=[]))
    assert several._open_grid([member], False, Stop()) is None and guards == []


@pytest.mark.parametrize("served", [False, True])
def test_what_nobody_can_see_is_not_counted_as_shown(
    served: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.grid.Window", LostWindow)
    picture = np.zeros((90, 160, 3), np.uint8)
    item = PosedFrame(Frame(0, 0.0, picture), Poses.empty(), picture=picture)
    stop = Stop()
    tile = Tile("1", open_demo(), Desk(Style(), stop, live=True), paced=False)
    grid = Grid("posestream", [tile], alone=not served, served=served)
    tile.show(item)
    grid.look_after(stop)
    tile.show(item)
    assert tile.count.frames == 1 + served
    assert dict(tile.count.dropped) == ({} if served else {"window.lost": 1})
    assert stop.reason == ("" if served else "display lost")

"""Keys: what they are called, what they do to a run, and that none of it loses a frame."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from commandline import ROOT, demo, finish, times
from xserver import needs_x, press

from realtime import desk as desk_module
from realtime.cli import parse, settings_of
from realtime.controls import (
    JUMPS,
    KEYS,
    OVERLAYS,
    action_of,
    changed,
    help_text,
    markdown,
    overlay_of,
    told,
    usable,
    with_overlay,
)
from realtime.desk import ACTIONS, TOLD_FOR, Desk, write_png
from realtime.draw import Style
from realtime.errors import UsageError
from realtime.help_card import with_help, with_note
from realtime.hud import Hud
from realtime.job import Job
from realtime.ledger import Ledger
from realtime.opening import load_networks, open_source
from realtime.options import build_parser
from realtime.records import Frame, PosedFrame, Poses
from realtime.screen import Screen
from realtime.sinks.base import Keeps
from realtime.sinks.record import Recorder
from realtime.sinks.window import key_name
from realtime.sources.base import SourceInfo
from realtime.status import SourceStatus
from realtime.stop import Stop


class Source:
    """A source that is only asked for its state."""

    info = SourceInfo("fake", "file")

    def __init__(self) -> None:
        self.status = SourceStatus()

    def frames(self) -> Generator[Frame, None, None]:
        yield from ()

    def close(self) -> None:
        """Nothing to close."""


class Window:
    """Remembers what it was shown; keys are put into its list."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.pictures: list[np.ndarray] = []
        self.full: list[bool] = []

    def show(self, picture: np.ndarray, card: bool = False) -> None:
        self.pictures.append(picture)

    def pump(self) -> str | None:
        return self.keys.pop(0) if self.keys else None

    def fill_screen(self, on: bool) -> None:
        if on != (self.full[-1] if self.full else False):
            self.full.append(on)

    def close(self) -> None:
        """Nothing to close."""


class Recording:
    def __init__(self) -> None:
        self.cuts: list[float] = []

    def cut(self, time: float) -> None:
        self.cuts.append(time)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def item(index: int, level: int = 90) -> PosedFrame:
    image = np.full((60, 80, 3), level, np.uint8)
    image[::2] += 60  # fine lines, which a blur takes away
    return PosedFrame(
        Frame(index, index / 30, image), Poses.empty(), heads=np.zeros((0, 4), np.float32)
    )


def desk(**options: object) -> tuple[Desk, Stop, Clock]:
    stop, clock = Stop(), Clock()
    given = {"live": False, "clock": clock, **options}
    return Desk(Style(), stop, **given), stop, clock  # type: ignore[arg-type]


def do(one: Desk, *actions: str) -> None:
    for action in actions:
        one.ask(action)
    one.work()


def test_the_table_is_sound() -> None:
    names = [name for key in KEYS for name in key.keys]
    assert len(names) == len(set(names))
    for key in KEYS:
        assert action_of(key.keys[0]) == key.action
        assert all(key_name(ord(name)) == name for name in key.keys if len(name) == 1)
    for code, name in ((0xFF51, "left"), (0x10FF53, "right"), (0x240000, "home"), (0xF702, "left")):
        assert key_name(code) == name and action_of(name) in JUMPS
    assert key_name(0xFFBE) is None and key_name(0x100071) == "q"  # F1; q with Num Lock
    assert action_of("x") is None and action_of(None) is None
    flags = {flag for action in build_parser()._actions for flag in action.option_strings}
    assert {key.flag for key in KEYS if key.flag} <= flags
    without = {key.action for key in KEYS if not key.flag}
    assert without == {"help", "quit", "pause", "step"}  # what means nothing before there is a run


def test_the_help_names_every_key_everywhere() -> None:
    table, readme, usage = help_text(), markdown(), build_parser().format_help()
    for key in KEYS:
        assert key.text in table and key.text in usage
        assert all(f"`{name}`" in readme for name in key.shown.split(", "))
    assert len({row.count("|") for row in readme.splitlines()}) == 1
    assert "record" not in [key.action for key in usable(False)]
    assert not {key.action for key in usable(True, False)} & JUMPS.keys()
    assert usable(True) == KEYS
    assert readme in (ROOT / "README.md").read_text(encoding="utf-8")


def test_overlays_go_round_and_are_flags() -> None:
    style, seen = Style(), []
    for _ in OVERLAYS:
        seen.append(overlay_of(style))
        style = changed(style, "overlay")
    assert tuple(seen) == OVERLAYS and style == Style()
    assert parse(["--overlay", "black"]).overlay == "black"
    assert overlay_of(with_overlay(Style(mirror=True), "boxes")) == "boxes"
    with pytest.raises(ValueError, match="expected one of"):
        with_overlay(Style(), "cubes")


def test_the_least_score_moves_in_steps_and_stays_in_its_range() -> None:
    style = changed(Style(0.3), "raise")
    assert style.min_joint_score == 0.35 and told(style, "raise") == "joints from 0.35"
    for _ in range(40):
        style = changed(style, "raise")
    assert style.min_joint_score == 1.0
    for _ in range(40):
        style = changed(style, "lower")
    assert style.min_joint_score == 0.0


def test_switches_switch_back() -> None:
    for action in ("mirror", "blur"):
        assert changed(Style(), action) != Style()
        assert changed(changed(Style(), action), action) == Style()
    assert changed(Style(), "pause") == Style()


def test_every_action_does_something() -> None:
    for action in sorted(ACTIONS):
        one, stop, _ = desk(recorder=Recording())

        def state(one: Desk = one, stop: Stop = stop) -> object:
            switches = one.paused, one.help, one.fullscreen, one.recording, one.note
            return one.style, switches, stop.reason

        before = state()
        do(one, action)
        assert state() != before, action
    with pytest.raises(ValueError, match="expected one of"):
        one.ask("fly")


def test_a_paused_file_waits_and_steps_frame_by_frame() -> None:
    one, _, _ = desk()
    assert one.show(item(0)) and not one.holds()
    do(one, "pause")
    assert one.holds() and one.note == "paused"
    do(one, "step")
    assert not one.holds() and one.show(item(1)) and one.holds()
    do(one, "pause")
    assert not one.holds() and one.show(item(2))


def test_whoever_pauses_before_the_first_frame_sees_it() -> None:
    for live in (False, True):
        one, _, _ = desk(live=live)
        do(one, "pause")
        assert not one.holds() and one.show(item(0))
        assert one.holds() != live and not one.show(item(1))


def test_a_paused_camera_goes_on_unseen() -> None:
    one, _, _ = desk(live=True)
    one.show(item(0))
    do(one, "pause")
    assert not one.holds() and not one.show(item(1)) and not one.show(item(2))
    do(one, "step")
    assert one.show(item(3)) and not one.show(item(4))
    assert one.item and one.item.frame.index == 3


def test_recording_off_and_on_begins_a_new_file() -> None:
    recorder = Recording()
    one, _, _ = desk(recorder=recorder)
    assert one.records(item(0))
    do(one, "record")
    assert not one.records(item(1)) and recorder.cuts == []
    do(one, "record")
    assert one.records(item(30)) and one.records(item(31)) and recorder.cuts == [1.0]
    none, _, _ = desk()
    do(none, "record")
    assert "--output" in none.note and not none.recording


def test_notes_go_after_a_while() -> None:
    one, _, clock = desk()
    do(one, "mirror")
    assert one.note == "mirror"
    clock.now = TOLD_FOR + 0.1
    assert one.note == ""


def test_screenshots_are_named_by_frame_and_replace_nothing(tmp_path: Path) -> None:
    one, _, _ = desk(pictures=tmp_path / "walk.mp4")
    do(one, "screenshot")
    assert one.note == "no picture yet"
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    one.show(replace(item(123), picture=picture))
    do(one, "screenshot", "screenshot", "screenshot")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"walk_frame000123{n}.png" for n in ("", "_2", "_3")]
    for name in names:
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / name)), picture)
    assert one.note == "saved walk_frame000123_3.png"


def test_a_screenshot_that_cannot_be_saved_is_told(tmp_path: Path) -> None:
    one, stop, _ = desk(pictures=tmp_path / "gone" / "walk.mp4")
    one.show(replace(item(0), picture=item(0).frame.image.copy()))
    do(one, "screenshot")
    assert one.note.startswith("not saved: No such file") and not stop.reason


def test_a_full_disk_leaves_no_half_screenshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing to end."""

        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

    def create(path: Path, _: str) -> Full:
        path.touch()
        return Full()

    monkeypatch.setattr(desk_module.Path, "open", create)
    with pytest.raises(OSError, match="No space left"):
        write_png(tmp_path / "a.png", item(0).frame.image)
    assert not (tmp_path / "a.png").exists()


class Got:
    """A sink that keeps what it is given."""

    name, wants_picture = "got", True
    keeps: Keeps = "frames"

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.items: list[PosedFrame] = []

    def write(self, item: PosedFrame) -> None:
        self.items.append(item)

    def close(self, clean: bool = True) -> None:
        pass


@pytest.mark.parametrize("smooth", ["display", "data"])
def test_drawn_anew_a_skeleton_stays_where_it_is(smooth: str) -> None:
    """Smoothed or not, as it was in the picture on show."""
    settings = settings_of(input="demo", start=60, end=66, smooth=smooth, quiet=True)
    got = Got()
    source = open_source(settings)
    with closing(source):
        job = Job(settings, Stop(), source, [got], *load_networks(settings, source.info), None)
        job.run(0.0)
    last = got.items[-1]
    assert last.drawn is not None and (last.drawn.joints_xy != last.poses.joints_xy).any()
    assert np.array_equal(job.desk.redraw(last).picture, last.picture)


def test_no_frame_drawn_before_the_blur_gets_out_after_it() -> None:
    """Frames under way when the key is pressed are drawn again."""
    one, _, _ = desk()
    hud = Hud(Ledger(False), Source(), lambda: one.style, lambda: False)
    under_way = [replace(item(n), picture=hud.draw(item(n))) for n in (0, 1)]
    unknown = replace(under_way[1], heads=None)  # nobody looked for heads: all is covered
    assert hud.checked(under_way[0]) is under_way[0]
    do(one, "blur")
    raw = item(1).frame.image
    safe = hud.checked(unknown).picture
    assert safe is not None and not (safe == raw).all(2).any()
    later = replace(item(2), picture=hud.draw(item(2)))
    assert hud.checked(later) is later  # drawn with the blur already
    do(one, "blur", "overlay", "overlay", "overlay")
    black = hud.checked(replace(item(2), picture=hud.draw(item(2)))).picture
    assert overlay_of(one.style) == "black" and black is not None and not black.any()


def test_a_run_may_begin_in_full_screen() -> None:
    one, stop, _ = desk(fullscreen=True)
    shown, window = screen(one)
    shown.look_after(stop)
    assert window.full == [True]
    do(one, "fullscreen")
    shown.look_after(stop)
    assert window.full == [True, False]
    with pytest.raises(UsageError, match="--headless excludes --show and --fullscreen"):
        parse(["--fullscreen", "--headless"])


def screen(one: Desk) -> tuple[Screen, Window]:
    window = Window()
    return Screen(window, Source(), one, paced=False), window  # type: ignore[arg-type]


def test_the_window_shows_help_and_notes_over_the_picture_only() -> None:
    one, stop, clock = desk()
    shown, window = screen(one)
    frame = replace(item(0), picture=item(0).frame.image.copy())
    before = frame.picture.copy() if frame.picture is not None else None
    one.show(frame)
    shown.show(frame)
    assert window.pictures[-1] is frame.picture  # nothing to say: not even a copy
    window.keys = ["h"]
    shown.look_after(stop)
    assert window.pictures[-1].shape[0] >= 400  # enlarged to be read
    count = len(window.pictures)
    shown.look_after(stop)
    assert len(window.pictures) == count  # nothing new, nothing drawn
    window.keys = ["h", "m"]
    shown.look_after(stop)
    shown.look_after(stop)
    assert window.pictures[-1].shape == (60, 80, 3)
    assert (window.pictures[-1] != frame.picture).any()
    clock.now = 9
    shown.look_after(stop)
    np.testing.assert_array_equal(window.pictures[-1], before)
    np.testing.assert_array_equal(frame.picture, before)


def test_the_picture_of_a_paused_run_follows_the_keys() -> None:
    one, stop, clock = desk()
    hud = Hud(Ledger(False), Source(), lambda: one.style, lambda: False)
    one.redraw = hud.again
    shown, window = screen(one)
    frame = replace(item(0), picture=hud.draw(item(0)), heads=None)
    one.show(frame)
    shown.show(frame)
    window.keys = ["space", "b"]
    shown.look_after(stop)
    shown.look_after(stop)
    clock.now = 9
    shown.look_after(stop)
    above = window.pictures[-1][:30]  # the note "paused" is at the bottom
    assert not (above == frame.frame.image[:30]).all(2).any()
    window.keys = ["f", "q"]
    shown.look_after(stop)
    shown.look_after(stop)
    assert window.full == [True] and stop.reason == "key q"


@pytest.mark.parametrize("size_wh", [(64, 48), (320, 180), (360, 640), (1280, 720), (1, 1)])
def test_help_and_notes_fit_any_picture(size_wh: tuple[int, int]) -> None:
    picture = np.full((size_wh[1], size_wh[0], 3), 100, np.uint8)
    helped = with_help(picture, KEYS)
    assert min(helped.shape[:2]) >= 400
    noted = with_note(picture, "saved walk_frame000123.png")
    assert noted.shape == (picture.shape if size_wh[0] > 300 else helped.shape)
    assert (picture == 100).all()


def test_a_note_is_whole_on_a_tiny_picture() -> None:
    """The longest one there is; two that differ at their ends only look different."""
    tiny = np.full((100, 178, 3), 100, np.uint8)
    notes = [f"no recording: start with --output FILE.mp{n}" for n in (3, 4)]
    seen = [with_note(tiny, note) for note in notes]
    assert (seen[0] != seen[1]).any()
    assert (with_note(tiny, "paused")).shape == tiny.shape
    slit = np.zeros((4000, 1, 3), np.uint8)
    assert max(with_note(slit, notes[0]).shape) <= 8192  # no gigabytes


def test_the_whole_help_is_readable_at_any_usual_size() -> None:
    """Every line of the help has ink: nothing lies outside of the picture."""
    for size_wh in ((320, 240), (640, 360), (1920, 1080)):
        black = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
        rows = (with_help(black, KEYS).max(2) > 120).any(1)
        lines = int((np.diff(rows.astype(int)) == 1).sum())
        assert lines >= len(KEYS) + 1  # a title above; a minus is a line as well


# The whole program, in a window on an X server of its own.


@needs_x
def test_keys_in_a_real_window(display: str, tmp_path: Path) -> None:
    """A camera-like run: recording off and on makes two files, screenshots are saved, every frame
    is accounted for."""
    video, report = tmp_path / "d.mp4", tmp_path / "r.json"
    env = {**os.environ, "DISPLAY": display, "PYTHONUTF8": "1"}
    env.pop("XAUTHORITY", None)
    command = [sys.executable, str(ROOT / "run_camera.py"), "--input", "demo", "--live", "--show"]
    command += ["--output", str(video), "--report", str(report), "--seed", "4"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=tmp_path
    )
    wait_for(lambda: video.exists() and video.stat().st_size > 1000)
    press(display, "r", "h", "r")
    wait_for((tmp_path / "d_2.mp4").exists)
    press(display, "b", "f")
    while not list(tmp_path.glob("d_frame*.png")):  # a busy machine loses keys
        press(display, "s")
    press(display, "q")
    result = finish(process)
    assert result.code == 0, result.err
    told = json.loads(report.read_text())
    assert len(times(video)) + len(times(tmp_path / "d_2.mp4")) == told["frames_written"]
    assert told["dropped"]["record.off"] > 0
    assert told["frames_captured"] == told["frames_written"] + sum(told["dropped"].values())


def wait_for(condition: object, within: float = 60) -> None:
    assert callable(condition)
    deadline = time.perf_counter() + within
    while not condition():
        assert time.perf_counter() < deadline, "waited too long"
        time.sleep(0.05)


def test_overlay_black_shows_no_picture(tmp_path: Path) -> None:
    video = tmp_path / "d.mp4"
    assert demo("--output", video, "--overlay", "black", "--end", "2").code == 0
    ok, picture = cv2.VideoCapture(str(video)).read()
    assert ok and (picture.max(2) < 40).mean() > 0.95 and picture.max() > 120


def test_a_recording_that_was_off_goes_on_in_a_new_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.mp4", rate=30.0, time_base=None)
    for n in (0, 1, 2, 30, 31):
        if n == 30:
            recorder.cut(1.0)
        recorder.write(replace(item(n), picture=item(n).frame.image.copy()))
    recorder.close()
    assert times(tmp_path / "a.mp4") == pytest.approx([0, 1 / 30, 2 / 30], abs=1e-4)
    assert times(tmp_path / "a_2.mp4") == pytest.approx([0, 1 / 30], abs=1e-4)
    assert "from 1.000 s" in recorder.notes[0]

"""Seeking in video files: the right frame exactly, nothing of before, and no other source moves."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import media
import numpy as np
import pytest
from browser import chromium, find_chromium, reading
from commandline import ROOT, finish, lines, start
from hypothesis import given
from hypothesis import strategies as st
from test_run import tiny
from xserver import needs_x, press

from realtime.cli import parse
from realtime.desk import Desk
from realtime.draw import Style
from realtime.hud import Hud
from realtime.job import open_job
from realtime.ledger import Ledger
from realtime.progress import Progress
from realtime.records import Frame, Image, PosedFrame, Poses
from realtime.screen import Pace, Screen
from realtime.sources import seek as seeking
from realtime.sources.base import Seekable, Source, Span
from realtime.sources.demo import open_demo
from realtime.sources.file import FileSource, open_file
from realtime.status import SourceStatus
from realtime.stop import Stop

RATE, FRAMES = 30, 600
ALL = Span()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 seconds with B-frames, a keyframe every 40 frames; each frame shows its number."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return media.video(path, FRAMES, rate=RATE, options={"g": "40", "bf": "3"})


def opened(path: Path, span: Span = ALL) -> FileSource:
    source = open_file(path, span)
    assert isinstance(source, FileSource) and isinstance(source, Seekable)
    return source


def first_after(source: FileSource, seconds: float, count: int = 1) -> list[Frame]:
    """The first frames after a jump; each shows the number it has."""
    part = source.seek(seconds)
    frames = source.frames()
    got = [frame for frame, _ in zip(frames, range(count))]
    frames.close()
    assert [media.number_in(frame.image) for frame in got] == [frame.index for frame in got]
    assert {frame.part for frame in got} == {part}
    return got


@given(number=st.integers(0, FRAMES - 1), by=st.sampled_from([-1e-9, 0.0, 1e-9]))
def test_the_frame_of_a_time_is_found_exactly(film: Path, number: int, by: float) -> None:
    source = opened(film)
    (frame,) = first_after(source, number / RATE + by)
    assert frame.index == number and frame.time == pytest.approx(number / RATE)


def test_between_two_frames_the_next_one_comes(film: Path) -> None:
    assert [f.index for f in first_after(opened(film), 17.01, 3)] == [511, 512, 513]


def test_far_seeks_do_not_decode_what_is_before(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(film)
    next(source.frames())
    entries = []

    def entry_before(path: Path, start: int | float, *more: Any) -> seeking.Entry | None:
        entries.append(seeking.entry_before(path, start, *more))
        return entries[-1]

    monkeypatch.setattr("realtime.sources.file.entry_before", entry_before)
    assert first_after(source, 19.0)[0].index == 570
    assert entries[0] is not None and 500 < entries[0].index <= 570


@pytest.mark.parametrize("beyond", [20.0, 1e9])
def test_beyond_the_end_is_the_last_frame(film: Path, beyond: float) -> None:
    source = opened(film)
    next(source.frames())
    assert [f.index for f in first_after(source, beyond, 5)] == [FRAMES - 1]
    assert source.status.state == "ended"
    assert first_after(source, 1.0)[0].index == 30 and source.status.state == "live"


@pytest.mark.parametrize("before", [-1e9, -0.1, 0.0])
def test_before_the_beginning_is_the_first_frame(film: Path, before: float) -> None:
    assert [f.index for f in first_after(opened(film), before, 2)] == [0, 1]


@pytest.mark.parametrize("start", [100, 100 / RATE])
def test_a_span_stays_what_it_is(film: Path, start: int | float) -> None:
    source = opened(film, Span(start, 500, 7))
    assert next(source.frames()).index == 100
    assert source.info.start == pytest.approx(100 / RATE)
    got = first_after(source, 10.0, 1000)
    assert [f.index for f in got] == [i for i in range(100, 500, 7) if i >= 300]
    assert source.place(got[0].index) == 29 and source.length == pytest.approx(400 / RATE, abs=0.2)
    assert first_after(source, 0.0)[0].index == 100
    assert [f.index for f in first_after(source, 19.0, 9)] == [499]


def test_a_wide_stride_has_a_last_frame_as_well(film: Path) -> None:
    source = opened(film, Span(stride=250))
    next(source.frames())
    assert [f.index for f in first_after(source, 19.0, 9)] == [500]


def test_formats_without_a_way_in_are_read_from_the_beginning(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a.avi", 90, codec="mpeg4")
    source = opened(path)
    (first,) = first_after(source, 0.0)
    assert first_after(source, first.time + 2.0)[0].index == 60


def test_a_seek_ends_the_reading_under_way(film: Path) -> None:
    source = opened(film)
    frames = source.frames()
    next(frames)
    source.seek(5.0)
    assert list(frames) == []
    assert source.status.state == "live"


def test_a_pipe_cannot_seek(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not opened(tmp_path / "pipe").can_seek
    assert not isinstance(open_demo(), Seekable)


def test_an_ended_source_goes_on_and_a_lost_one_does_not() -> None:
    status = SourceStatus()
    status.frame()
    status.ended()
    status.again()
    assert status.state == "live"
    status.lost("gone")
    status.again()
    assert status.state == "lost"


def test_the_pace_starts_anew_after_a_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("realtime.screen.perf_counter", lambda: now[0])
    image = np.zeros((2, 2, 3), np.uint8)

    def early(pace: Pace, time: float, part: int = 0) -> float:
        return pace.early(Frame(0, time, image, part=part))

    pace, short = Pace(), Pace(1.0)
    assert early(pace, 5.0) == 0 and early(pace, 5.5) == 0.5 and early(pace, 65.0) == 60.0
    now[0] += 0.25
    assert early(pace, 5.5) == 0.25
    assert early(pace, 65.0, 1) == 0 and early(pace, 65.5, 1) == 0.5
    assert early(pace, 1.0, 2) == 0 and early(pace, 1.5, 2) == 0.5
    now[0] += 1.0
    assert early(pace, 1.75, 2) == -0.25
    assert early(pace, 1.25, 2) == 0  # far behind
    assert early(pace, 1.5, 2) == 0.25
    assert early(short, 0.0) == 0 and early(short, 60.0) == 1.0 and early(short, 60.5) == 1.5 - 0.5


# --- a whole run ------------------------------------------------------------------------------

Script = Generator["str | None", None, None]


class Window:
    """A window without a display: the keys come from a script, which may look at the run."""

    def __init__(self) -> None:
        self.keys: Script = iter(())  # type: ignore[assignment]
        self.pictures = 0

    def show(self, picture: Image, card: bool = False) -> None:
        self.pictures += 1

    def pump(self) -> str | None:
        return next(self.keys, None)

    def fill_screen(self, on: bool) -> None:
        """There is no screen."""

    def close(self) -> None:
        """Nothing to close."""


class Player:
    """A run on a file with the bundled networks of the demo scene, in this process."""

    def __init__(
        self, path: object, monkeypatch: pytest.MonkeyPatch, *more: object, paced: bool = True
    ) -> None:
        monkeypatch.setattr("realtime.job.wants_window", lambda *_: True)
        arguments = ["--input", path, "--quiet", "--batch", "4", *tiny(), *more]
        self.settings, self.stop = parse([str(one) for one in arguments]), Stop()
        self.window, self._paced = Window(), paced
        self._cleanup = ExitStack()
        self.job = open_job(self.settings, self.stop, self._cleanup, show=self._show)
        self.desk = self.job.desk
        self.seen: list[tuple[int, int]] = []  # part and number of the frames on show

    def _show(self, source: Source, desk: Desk, paced: bool, alone: bool) -> Screen:
        return Screen(self.window, source, desk, self._paced, alone)  # type: ignore[arg-type]

    def play(self, script: Script) -> dict[str, Any]:
        """Run until the script or the file ends; the report."""

        def watched() -> Script:
            yield from script
            self.stop.ask("script")

        self.window.keys = watched()
        show = self.desk.show

        def look(item: PosedFrame) -> bool:
            shown = show(item)
            if shown:
                assert number_at(item) == item.frame.index
                self.seen.append((item.frame.part, item.frame.index))
            return shown

        self.desk.show = look  # type: ignore[method-assign]
        with self._cleanup:
            assert self.job.run(0.0) is None
        assert not self.job.whole.left_behind
        report = self.job.report(datetime.now(timezone.utc), self.job.whole.ended)
        assert report["ledger_errors"] == []
        lost = sum(report["dropped"].values())
        assert report["frames_captured"] == self.job.ledger.delivered + lost
        window = report["sinks"]["window"]
        assert window["frames"] == report["frames_shown"] == len(self.seen)
        missed = window["dropped"]
        if not self.job.whole.ended:  # those under way when the run was stopped, counted apart
            missed = {why: n for why, n in missed.items() if why != "stop.unfinished"}
        assert set(missed) <= {"window.skipped"}
        return report

    def until(self, condition: Callable[[], bool], within: float = 20) -> Script:
        """No key until something is so."""
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, (self.seen, self.desk.note)
            yield None

    def until_part(self, part: int, frames: int = 1) -> Script:
        """No key until so many frames of a part were shown."""
        yield from self.until(lambda: [one for one, _ in self.seen].count(part) >= frames)

    def of_part(self, part: int) -> list[int]:
        return [index for one, index in self.seen if one == part]


def number_at(item: PosedFrame) -> int:
    return media.number_in(item.frame.image)


def test_ahead_back_and_home(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player(film, monkeypatch)

    def script() -> Script:
        yield from player.until_part(0, 5)
        for part, key in enumerate(("right", "right", "left", "home"), 1):
            at.append(player.seen[-1][1])
            yield key
            assert player.desk.note == f"0:{notes[part - 1]:02} of 0:20"
            yield from player.until_part(part, 4)

    at: list[int] = []
    notes = [5, 10, 5, 0]
    report = player.play(script())
    for part, by in enumerate((150, 150, -150), 1):
        got = player.of_part(part)
        assert got == list(range(at[part - 1] + by, at[part - 1] + by + len(got)))
    assert player.of_part(4)[:4] == [0, 1, 2, 3]
    assert [part for part, _ in player.seen] == sorted(part for part, _ in player.seen)
    assert report["dropped"]["seek.left_out"] > 0 and not report["ended"]


def test_beyond_the_end_the_last_frame_is_shown_and_the_run_ends(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = Player(film, monkeypatch)

    def script() -> Script:
        yield from player.until_part(0, 2)
        yield from ["right"] * 9
        yield from player.until(lambda: False)

    report = player.play(script())
    assert player.seen[-1][1] == FRAMES - 1 and report["ended"]
    assert player.stop.reason == ""


def test_a_paused_file_shows_the_frame_it_was_sent_to_and_stays(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = Player(film, monkeypatch)

    def script() -> Script:
        yield from player.until_part(0, 3)
        yield "space"
        at.append(player.seen[-1][1])
        yield "right"
        yield from player.until_part(1)
        end = time.monotonic() + 0.4
        yield from player.until(lambda: time.monotonic() > end)
        yield "."
        yield from player.until_part(1, 2)
        yield from ["right"] * 7  # to the end, and back from there
        yield from player.until(lambda: player.seen[-1][1] == FRAMES - 1)
        yield "left"
        yield from player.until(lambda: player.seen[-1][1] == FRAMES - 151)

    at: list[int] = []
    player.play(script())
    assert player.of_part(1) == [at[0] + 150, at[0] + 151]
    assert player.desk.paused


def test_a_frame_that_waits_when_somebody_jumps_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was delivered, but the window has not shown it."""
    film = media.video(tmp_path / "slow.mp4", 60, rate=5)
    player = Player(film, monkeypatch)
    screen = player.job.screen
    assert screen is not None
    early, show, wait = screen.early, screen.show, [0.0]

    def waits(item: PosedFrame) -> float:
        wait[0] = early(item)
        return wait[0]

    def shows(item: PosedFrame) -> None:
        wait[0] = 0.0
        show(item)

    monkeypatch.setattr(screen, "early", waits)
    monkeypatch.setattr(screen, "show", shows)

    def script() -> Script:
        for part in range(2):
            yield from player.until_part(part, 2)
            yield from player.until(lambda: wait[0] > 0)
            wait[0] = 0.0
            yield "right"
        yield from player.until(lambda: False)

    report = player.play(script())
    assert report["ended"]
    assert report["sinks"]["window"]["dropped"] == {"window.skipped": 2}


def test_near_the_end_when_all_is_read_seeking_still_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = Player(media.video(tmp_path / "short.mp4", 12), monkeypatch)

    def script() -> Script:
        yield from player.until(lambda: player.job.source.status.state == "ended")
        yield from player.until(lambda: player.seen[-1:] >= [(0, 8)])
        yield "home"
        yield from player.until_part(1, 12)

    report = player.play(script())
    assert player.of_part(1) == list(range(12)) and report["frames_shown"] >= 20


def test_a_long_way_to_a_frame_is_no_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A format without keyframes to begin at: what is before has to be decoded."""
    in_span = FileSource._in_span

    def slowly(source: FileSource, index: int, moment: float) -> bool:
        time.sleep(0.01)
        return in_span(source, index, moment)

    monkeypatch.setattr(FileSource, "_in_span", slowly)
    monkeypatch.setattr("realtime.loop.HANG_LIMIT", 0.6)
    player = Player(media.video(tmp_path / "a.avi", 190, codec="mpeg4"), monkeypatch)

    def script() -> Script:
        yield from player.until_part(0, 3)
        yield "right"
        yield from player.until_part(1, 3)

    player.play(script())
    assert player.of_part(1)[0] > 150


def test_a_search_that_nobody_waits_for_ends(film: Path) -> None:
    asked = []
    assert seeking.entry_before(film, 500, lambda: len(asked.append(1) or asked) < 20) is None  # type: ignore[func-returns-value]
    assert len(asked) == 20


def test_people_are_new_after_a_jump(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player(film, monkeypatch, "--fix-swaps", "--select", "largest")
    pipeline, known = player.job.pipeline, []

    def parts() -> list[object]:
        people = pipeline._people
        return [people.tracker, people._follow, people._repair, people._smoother, pipeline._heads]

    def script() -> Script:
        yield from player.until_part(0, 2)
        known.append(parts())
        yield "right"
        yield from player.until_part(1, 2)
        known.append(parts())

    player.play(script())
    assert all(a is not None and a is not b for a, b in zip(*known))


@pytest.mark.parametrize(("choice", "told"), [("5", True), ("largest", False)])
def test_no_id_is_used_again_after_a_jump(
    film: Path, monkeypatch: pytest.MonkeyPatch, choice: str, told: bool
) -> None:
    """Whoever had the number to follow would be somebody else there: everybody is shown."""
    player = Player(film, monkeypatch, "--select", choice)
    pipeline = player.job.pipeline

    def script() -> Script:
        yield from player.until_part(0, 2)
        pipeline._people.tracker.next_id = 9  # as after eight people
        yield "right"
        yield from player.until_part(1, 2)

    report = player.play(script())
    assert pipeline._people.tracker.next_id == 9
    assert (pipeline._people._follow is None) == told
    note = "--select 5: ids are new after seeking, everybody is shown"
    assert (note in report["notes"]) == told


def test_many_fast_seeks_leave_nothing(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player(film, monkeypatch)
    used: list[tuple[int, int, int]] = []

    def use() -> tuple[int, int, int]:
        gc.collect()
        things = sum(type(one) in (Frame, FileSource) for one in gc.get_objects())
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), things

    def script() -> Script:
        yield from player.until_part(0, 3)
        for turn in range(20):
            yield ("right", "right", "left", "home")[turn % 4]
            if turn % 5 == 4:
                yield from player.until_part(player.desk.part, 3)
                used.append(use())

    player.play(script())
    assert player.desk.part >= 8
    threads, files, things = zip(*used)
    assert max(threads) - min(threads) <= 1 and max(files) - min(files) <= 2, used
    assert max(things) <= 60, used


def test_no_seeking_while_results_are_written(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "d.jsonl"
    player = Player(film, monkeypatch, "--json", data, "--end", "40")

    def script() -> Script:
        yield from player.until_part(0, 3)
        yield "right"
        assert player.desk.note == "no seeking: results are being written"
        yield from player.until(lambda: False)

    report = player.play(script())
    assert report["ended"] and [line["frame"] for line in lines(data)] == list(range(40))


def test_what_is_no_file_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player("demo", monkeypatch, "--live")

    def script() -> Script:
        yield from player.until(lambda: player.desk.item is not None)
        yield "left"
        assert player.desk.note == "only a video file can be sought in"

    monkeypatch.setattr("test_seek.number_at", lambda item: item.frame.index)
    player.play(script())
    assert {part for part, _ in player.seen} == {0}


def test_the_progress_line_tells_the_place() -> None:
    progress = Progress(600, enabled=False)
    progress.update(30)
    assert " 30/600  30.0 fps  19 s left" in progress.line(30, 1.0)
    progress.update(301, part=1)
    assert " 331/600  30.0 fps  9 s left" in progress.line(331, 1.0)
    assert progress.line(302, 3.0).endswith("15 min left")


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2


@pytest.mark.parametrize(("columns", "longest"), [(20, 19), (0, 99)])
def test_the_progress_line_takes_one_line(
    monkeypatch: pytest.MonkeyPatch, columns: int, longest: int
) -> None:
    """One that the terminal breaks could not be taken away, and the next came below it."""
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((columns, 24)))
    Progress(600, enabled=True).update(300)
    line = terminal.getvalue().removeprefix("\r\x1b[K")
    assert line.startswith("[###############") and 19 <= len(line) <= longest
    assert columns or " 300/600 " in line  # whose width nobody knows


def test_faces_hidden_after_a_seek_back_hide_frames_drawn_before() -> None:
    """Numbers of frames fall at a seek; what was drawn open must be drawn again all the same."""
    style = [Style()]
    hud = Hud(Ledger(False), open_demo(), lambda: style[0], lambda: False)

    def drawn(index: int, part: int) -> PosedFrame:
        image = np.full((40, 60, 3), 90, np.uint8)
        image[::2] += 90
        item = PosedFrame(Frame(index, 0.0, image, part=part), Poses.empty())
        return replace(item, picture=hud.draw(item))

    drawn(500, 0)
    back = drawn(20, 1)
    style[0] = Style(blur_faces=True)
    hidden = hud.checked(back)
    assert hidden.picture is not None and (hidden.picture != back.picture).any()
    later = drawn(21, 1)
    assert hud.checked(later) is later


# --- in a real window ---------------------------------------------------------------------------


@needs_x
def test_in_a_real_window(display: str, tmp_path: Path) -> None:
    """The codes that the window's toolkit gives for the arrow keys, which are no letters."""
    path = media.video(tmp_path / "film.mp4", 900, (320, 240), options={"g": "60", "bf": "3"})
    arguments = ["--input", path, "--show", "--report", tmp_path / "r.json", *tiny()]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_camera.py"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DISPLAY": display, "PYTHONUTF8": "1"},
        cwd=tmp_path,
    )

    def saved(key: str, least: int, most: int) -> Path:
        """A screenshot of a frame in this range; a busy machine loses keys."""
        for _ in range(40):
            press(display, key, "s")
            for one in sorted(tmp_path.glob("*.png")):
                if least <= int(one.stem.split("frame")[1][:6]) <= most:
                    return one
        raise AssertionError(list(tmp_path.glob("*.png")))

    press(display, "space")
    ahead, home = saved("Right", 300, 899), saved("Home", 0, 0)
    back = saved("Left", 0, 0)  # no letter: it does not quit
    press(display, "q")
    assert finish(process).code == 0
    for one in (ahead, home, back):
        number = media.number_in(cv2.imread(str(one))[-40:])
        assert number == int(one.stem.split("frame")[1][:6])
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report["dropped"]["seek.left_out"] > 0 and report["ledger_errors"] == []


# --- in a real browser --------------------------------------------------------------------------

BITS, FIELD = 12, 40


def numbered(number: int, size_wh: tuple[int, int]) -> Image:
    """A picture whose number can be read in the page: fields along the bottom, and columns above
    as in the other films."""
    picture = media.barcode(number, size_wh)
    picture[-FIELD:] = 20
    for bit in range(BITS):
        level = 235 * (number >> (BITS - 1 - bit) & 1)
        picture[-FIELD:, bit * FIELD : (bit + 1) * FIELD] = level
    return picture


SHOWN = "read.length && read.at(-1)[1] === shown.index && shown.index"
"""The number of the picture in the page: as its pixels tell it, and as the program says."""


@pytest.mark.skipif(not find_chromium(), reason="no Chromium is installed")
def test_on_the_page(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason='needs pip install "posestream[serve]"')
    from test_serve import url_of

    path = media.video(
        tmp_path / "film.mp4", 1200, (640, 360), picture=numbered, options={"g": "60", "bf": "3"}
    )
    with chromium(tmp_path / "profile") as browser:  # first: the film takes only 40 s
        tab = browser.tab()
        tab.size(1000, 1000)
        process = start("--input", path, "--headless", "--serve", "0", *tiny())
        tab.open(url_of(process))
        tab.wait("shown.index > 3", within=60)
        tab.value(reading("picture", BITS, FIELD))
        tab.wait("document.querySelector('#buttons [aria-keyshortcuts=Space]') !== null")
        tab.press(" ")
        tab.wait("document.getElementById('message').textContent === 'paused'")
        time.sleep(0.5)  # for the few pictures that were on their way
        at = tab.wait(SHOWN)
        tab.press("ArrowRight")
        tab.wait(f"{SHOWN} === {at + 150}")
        tab.wait("document.getElementById('message').textContent.endsWith(' of 0:40')")
        label = "[...document.querySelectorAll('#buttons button')].find((b) => b.textContent"
        tab.value(f"{label}.startsWith('Back 5 s')).click()")
        tab.wait(f"{SHOWN} === {at}")
        tab.press("Home")
        tab.wait("read.at(-1)[1] === 0 && shown.index === 0")
        tab.wait("document.getElementById('counts').textContent.startsWith('0:00 of 0:40')")
        tab.press(" ")
        tab.wait("shown.index > 5")
        assert tab.errors == []
        process.terminate()
        assert finish(process).code == 0

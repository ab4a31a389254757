"""The page of several sources: the real command line, a real server, a real browser."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from browser import Tab, chromium, find_chromium
from commandline import finish, lines, run, start, times
from media import barcode, number_in, video

from realtime.desk import Desk
from realtime.draw import Style
from realtime.grid import SIZE_WH, Tile
from realtime.ledger import Ledger
from realtime.records import Frame, PosedFrame, Poses
from realtime.sources.base import SourceInfo, Span
from realtime.sources.file import open_file
from realtime.stages import Meter
from realtime.status import SourceStatus
from realtime.stop import Stop

aiohttp = pytest.importorskip("aiohttp", reason='needs pip install "posestream[serve]"')

from test_serve import get, parts, url_of  # noqa: E402

from realtime.serve import wall  # noqa: E402
from realtime.serve.address import Address, listen  # noqa: E402
from realtime.serve.wall import Wall, WallPage, together  # noqa: E402

SMALL_WH = 320, 240
RAW, COVERED = 200, 60


class Person:
    """A source that a test plays: its frames are RAW, or COVERED where faces are hidden."""

    def __init__(self, number: int, stop: Stop) -> None:
        self.desk = Desk(Style(), stop, live=True)
        self.desk.redraw = lambda item: self._drawn(item.frame.index)
        self.ledger = Ledger(live=True)
        source = SimpleNamespace(info=SourceInfo(f"cam{number}", "camera"), status=SourceStatus())
        self.tile = Tile(f"{number}  cam{number}", source, self.desk, paced=False)
        self.status = source.status

    def _drawn(self, index: int) -> PosedFrame:
        value = COVERED if self.desk.style.private else RAW
        picture = np.full((SMALL_WH[1], SMALL_WH[0], 3), value, np.uint8)
        frame = Frame(index, index / 25, np.zeros_like(picture), "x", time.perf_counter())
        return PosedFrame(frame, some_people(index % 3), picture=picture)

    def step(self, index: int) -> None:
        """What a run does in its thread for each frame."""
        self.desk.work()
        item = self._drawn(index)
        self.status.frame()
        self.ledger.deliver(len(item.poses), 0)
        if self.desk.show(item):
            self.tile.show(item)
        self.tile.look_after(Stop())

    @property
    def part(self) -> Any:
        return self.tile, SimpleNamespace(meters={"pose": Meter("pose", "x")}), self.ledger, ()


def some_people(count: int) -> Poses:
    joints = np.full((count, 17, 2), 50, np.float32)
    return Poses(
        joints,
        np.full((count, 17), 0.9, np.float32),
        np.full((count, 4), 60, np.float32),
        np.full(count, 0.8, np.float32),
        np.arange(count),
    )


@pytest.fixture
def stop() -> Stop:
    return Stop()


@pytest.fixture
def cameras(stop: Stop) -> list[Person]:
    return [Person(number, stop) for number in (1, 2, 3)]


@pytest.fixture
def page(stop: Stop, cameras: list[Person]) -> Iterator[WallPage]:
    page = WallPage("0", stop, 0.3)
    page.follow([camera.part for camera in cameras])
    yield page
    page.close()
    page.close()


class Playing:
    """Plays cameras at 25 frames a second; slowest: the longest a run had to wait for its tile."""

    def __init__(self, cameras: list[Person]) -> None:
        self.slowest = 0.0
        self._cameras, self._end = cameras, threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        index = 0
        while not self._end.wait(0.04):
            before = time.perf_counter()
            for camera in self._cameras:
                camera.step(index)
            self.slowest = max(self.slowest, time.perf_counter() - before)
            index += 1

    def __enter__(self) -> Playing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


async def converse(
    url: str, say: list[dict[str, Any]], until: Callable[[np.ndarray | None, dict[str, Any]], bool]
) -> None:
    """Say these and look at pictures and numbers, answering, until that is true of the newest."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url + "live") as ws:
        for message in say:
            await ws.send_json(message)
        picture, told = None, {}
        end = time.monotonic() + 30
        while not until(picture, told):
            assert time.monotonic() < end, told
            message = await ws.receive(timeout=30)
            if message.type is aiohttp.WSMsgType.BINARY:
                picture = decoded(message.data[16:])
                await ws.send_json({"seen": struct.unpack("<I", message.data[:4])[0]})
            else:
                told = json.loads(message.data)


def test_the_grid_one_source_and_the_numbers_of_each(page: WallPage, cameras: list[Person]) -> None:
    url = page.server.url
    heard: list[dict[str, Any]] = []

    def whole(picture: np.ndarray | None, told: dict[str, Any]) -> bool:
        heard.append(told)
        return picture is not None and len(told.get("people", ())) > 3 and told["fps"] > 10

    with Playing(cameras):
        asyncio.run(converse(url, [], whole))
        second = [{"source": 2}]
        small = lambda picture, _: picture is not None and picture.shape[:2] == SMALL_WH[::-1]  # noqa: E731
        asyncio.run(converse(url, second, small))
        for nonsense in (99, -1, "x", None, 2.0, [2]):
            large = lambda p, _: p is not None and p.shape[:2] == SIZE_WH[::-1]  # noqa: E731
            asyncio.run(converse(url, [{"source": nonsense}], large))
        with get(f"{url}stream.mjpg?source=3") as stream:
            assert all(image.shape[:2] == SMALL_WH[::-1] for image in parts(stream, 3))
        with get(f"{url}screenshot.png?source=1") as answer:
            assert decoded(answer.read()).shape[:2] == SMALL_WH[::-1]
        with get(f"{url}screenshot.png") as answer:
            assert decoded(answer.read()).shape[:2] == SIZE_WH[::-1]
    told = heard[-1]
    assert [one["name"] for one in told["sources"]] == ["1 cam1", "2 cam2", "3 cam3"]
    assert told["source"] == "3 sources" and told["state"] == "live" and told["live"]
    assert told["frames"] == sum(one["frames"] for one in told["sources"])
    assert {person["source"] for person in told["people"]} == {"1 cam1", "2 cam2", "3 cam3"}
    assert "quit" in [button["name"] for button in told["buttons"]]


def test_buttons_are_for_all_sources(page: WallPage, cameras: list[Person], stop: Stop) -> None:
    press = [{"do": "mirror"}, {"do": "raise"}, {"do": "explode"}]
    with Playing(cameras):
        asyncio.run(converse(page.server.url, press, lambda _, told: bool(told)))
        deadline = time.monotonic() + 10
        while not all(camera.desk.style.mirror for camera in cameras):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert {camera.desk.style.min_joint_score for camera in cameras} == {0.35}
    asyncio.run(converse(page.server.url, [{"do": "quit"}], lambda *_: bool(stop.reason)))
    assert stop.reason == "page"


def test_pause_is_each_viewers_own_for_cameras_unless_a_window_has_paused_them(
    page: WallPage, cameras: list[Person]
) -> None:
    names = lambda: [button["name"] for button in page._wall.told()["buttons"]]  # noqa: E731
    assert "pause" not in names()
    cameras[1].desk.ask("pause")
    cameras[1].desk.work()
    assert "pause" in names()


def test_no_picture_with_faces_once_they_are_to_be_hidden(
    stop: Stop, cameras: list[Person]
) -> None:
    """Whatever the moment: before the run has drawn its frame again there is black in its place."""
    board = Wall(stop, 0.3)
    board.follow([camera.part for camera in cameras])
    for camera in cameras:
        camera.step(0)

    async def brightest(source: int) -> tuple[int, int]:
        shown = await board.after(None, lambda: source)
        kept = await board.still(lambda: source)
        assert kept is not None and shown.fit() and kept.fit()
        return int(shown.picture[60:80].max()), int(kept.picture[60:80].max())

    async def story() -> None:
        assert await brightest(2) == (RAW, RAW)
        before = await board.after(None, lambda: 2), await board.after(None, lambda: 0)
        cameras[1].desk.style = replace(Style(), blur_faces=True)  # and nothing drawn yet
        assert not any(shot.fit() for shot in before)
        assert await brightest(2) == (0, 0)
        assert await brightest(1) == (RAW, RAW)
        cameras[1].tile.look_after(stop)
        cameras[1].step(1)
        for _ in range(100):  # what was composed before may be given once more: black
            shown, kept = await brightest(2)
            assert shown in (0, COVERED) and kept in (0, COVERED)
            if (shown, kept) == (COVERED, COVERED):
                break
            await asyncio.sleep(0.02)
        assert (shown, kept) == (COVERED, COVERED)

    asyncio.run(story())


def test_a_picture_that_is_overtaken_by_the_blur_is_not_sent(
    page: WallPage, cameras: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faces are to be hidden while a picture with them is being encoded for a viewer."""
    real = wall.Shot.jpeg

    async def slow(shot: wall.Shot, hands: Any) -> bytes:
        data = await real(shot, hands)
        for camera in cameras:
            if not camera.desk.style.private:
                camera.desk.ask("blur")
                camera.step(1)
        return data

    monkeypatch.setattr(wall.Shot, "jpeg", slow)
    for camera in cameras:
        camera.step(0)
    with get(f"{page.server.url}stream.mjpg?source=1") as stream:
        assert abs(int(parts(stream, 1)[0][60:80].max()) - COVERED) < 4


def test_a_source_that_has_ended_follows_the_buttons(cameras: list[Person], stop: Stop) -> None:
    camera = cameras[0]
    camera.step(0)
    camera.tile.close()
    board = Wall(stop, 0.3)
    board.follow([camera.part, cameras[1].part])
    board.press("blur")
    camera.tile.look_after(stop)  # what the main thread does once the run has ended
    shot = asyncio.run(board.after(None, lambda: 1))
    assert 0 < shot.picture[:40].max() <= COVERED


def test_nothing_is_drawn_while_nobody_looks_and_nobody_is_slowed(
    page: WallPage, cameras: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    real = wall.side_by_side
    monkeypatch.setattr(wall, "side_by_side", lambda given: drawn.append(1) or real(given))
    deaf = socket.create_connection(("127.0.0.1", page.server.address.port))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with deaf, Playing(cameras) as playing:
        time.sleep(0.3)
        assert not drawn
        deaf.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        time.sleep(0.3)
        url = f"{page.server.url}stream.mjpg"
        with get(url) as one, get(url) as two:
            assert len(parts(one, 10)) == len(parts(two, 10)) == 10
    assert playing.slowest < 0.5


def test_the_numbers_of_all_are_sums_and_those_of_the_slowest() -> None:
    one = {
        "name": "1 a", "state": "live", "live": True, "fps": 20.0, "latency_ms": 30.0,
        "latency_p95_ms": 40.0, "frames": 10, "of": None, "dropped": 1, "dropped_per_s": 0.5,
        "failed": 0, "reconnects": 2, "stages": {"pose": 10.0, "track": None}, "outputs": {},
        "people": [{"id": 1}],
    }  # fmt: skip
    other = {
        **one, "name": "2 b", "state": "stalled 7 s: no route", "fps": 10.0, "latency_ms": None,
        "stages": {"pose": 40.0, "track": None}, "outputs": {"record": {"frames": 3}}, "people": [],
    }  # fmt: skip
    told = together([one, other])
    assert (told["fps"], told["frames"], told["dropped_per_s"], told["reconnects"]) == (
        30,
        20,
        1,
        4,
    )
    assert (told["latency_ms"], told["of"]) == (30, None)
    assert told["state"] == "1 live, 1 stalled"
    assert told["stages"] == {"pose": 20.0, "track": None}
    assert told["outputs"] == {"2 b record": {"frames": 3}}
    assert told["people"] == [{"source": "1 a", "id": 1}]
    json.dumps(told, allow_nan=False)


def test_a_file_that_is_paused_is_not_stalled(tmp_path: Path) -> None:
    source = open_file(video(tmp_path / "a.mp4", 5), Span())
    with closing(source.frames()) as frames:
        next(frames)
        source.status._clock = lambda: time.monotonic() + 1000
        assert source.status.describe() == "live"


def test_a_taken_port_and_a_missing_input_are_one_line_each(tmp_path: Path) -> None:
    with listen(Address("127.0.0.1", 0))[0] as taken:
        port = taken.getsockname()[1]
        result = run("--input", "demo", "--input", "demo", "--headless", "--serve", port)
    assert result.code == 4 and len(result.errors) == 1 and "cannot listen" in result.errors[0]
    result = run("--input", "demo", "--input", tmp_path / "no.mp4", "--headless", "--serve", 0)
    assert result.code == 3 and len(result.err.splitlines()) == 1 and "no.mp4" in result.err


@pytest.mark.skipif(not find_chromium(), reason="no Chromium is installed")
def test_files_and_a_camera_in_a_real_browser(tmp_path: Path) -> None:
    """Two files that end and a live scene that goes on, recorded, watched on a phone."""
    with chromium(tmp_path / "profile") as browser:
        for n in (1, 2):
            video(
                tmp_path / f"{n}.mp4", 20, SMALL_WH, picture=lambda _, size, n=n: barcode(n, size)
            )
        process = start(
            "--input", tmp_path / "1.mp4", "--input", tmp_path / "2.mp4", "--input", "demo",
            "--live", "--headless", "--output", tmp_path / "out.mp4", "--json",
            tmp_path / "p.jsonl", "--report", tmp_path / "r.json", "--serve", 0,
        )  # fmt: skip
        tab = browser.tab()
        tab.size(390, 844, 2, phone=True)
        url = url_of(process)
        tab.open(url)
        tab.wait("shown.index >= 0 && document.querySelectorAll('#sources li').length === 4", 60)
        words = tab.value("[...document.querySelectorAll('#sources span')].map(e => e.textContent)")
        assert words == ["All", "1 1.mp4", "2 2.mp4", "3 demo"]
        tab.wait(
            "document.querySelectorAll('#sources small')[2].textContent.startsWith('ended')", 60
        )
        tab.wait("document.querySelector('#people th')?.textContent === '3 demo'", 60)
        assert tab.value("document.documentElement.scrollWidth") <= 390
        look(tab, url)
        tab.press("r")
        tab.wait("actions.find((one) => one.name === 'record').on === false")
        stop_by_hand(tab)
        result = finish(process)
        assert result.code == 0, result.err
        assert tab.errors == []
    for n in (1, 2, 3):
        told = json.loads((tmp_path / f"r-{n}.json").read_text(encoding="utf-8"))
        assert told["ledger_errors"] == []
        assert len(times(tmp_path / f"out-{n}.mp4")) == told["sinks"]["record"]["frames"] > 0
        assert len(lines(tmp_path / f"p-{n}.jsonl")) == told["sinks"]["json"]["frames"]
        assert n == 3 or told["frames_written"] == 20


def look(tab: Tab, url: str) -> None:
    """Choose a source by a finger and by a key, and see that a button reaches all."""
    before = tab.value("shown.serial")
    box = tab.value("(({x, y, width}) => [x, y, width])(picture.getBoundingClientRect())")
    for kind in ("mousePressed", "mouseReleased"):
        tab(
            "Input.dispatchMouseEvent", type=kind, x=box[0] + 0.75 * box[2], y=box[1] + 20,
            button="left", clickCount=1,
        )  # fmt: skip
    tab.wait(f"choice === 2 && shown.serial > {before} && picture.width === {SMALL_WH[0]}")
    assert tab.value("document.getElementById('source').textContent") == "2 2.mp4"
    tab.press("m")
    tab.wait("actions.find((one) => one.name === 'mirror').on")
    with get(f"{url}screenshot.png?source=2") as answer:  # of the run that has ended
        dimmed = decoded(answer.read())[:20].astype(int) * 2.8
    assert number_in(dimmed[:, ::-1]) == number_in(barcode(2))
    tab.press("3")
    tab.wait("choice === 3 && picture.width === 1280")
    tab.press("0")
    tab.wait("choice === 0 && document.getElementById('source').textContent === '3 sources'")


def stop_by_hand(tab: Tab) -> None:
    tab.press("q")
    tab.wait("document.getElementById('confirm').open")
    tab.press("Tab")
    tab.press("Enter")

"""The page in the browser (--serve): the real command line, a real server, a real browser."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPResponse, IncompleteRead
from itertools import count
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pytest
from browser import chromium, find_chromium, reading
from commandline import ROOT, Result, finish, run, start

from realtime.desk import Desk
from realtime.draw import Style
from realtime.errors import OutputError, UsageError
from realtime.flow import Crew
from realtime.ledger import Ledger
from realtime.outputs import SinkWorker
from realtime.records import Frame, PosedFrame, Poses
from realtime.serve.address import Address, listen, parse_address
from realtime.stages import Meter
from realtime.stop import Stop

aiohttp = pytest.importorskip("aiohttp", reason='needs pip install "posestream[serve]"')

from realtime.serve.board import OneBoard  # noqa: E402
from realtime.serve.buttons import STILL, Buttons  # noqa: E402
from realtime.serve.figures import Figures  # noqa: E402
from realtime.serve.newest import Newest, Shot, to_jpeg, to_png  # noqa: E402
from realtime.serve.page import Page  # noqa: E402
from realtime.serve.server import Server  # noqa: E402

RATE = 25
BITS, FIELD = 12, 40


def posed(number: int, size_wh: tuple[int, int] = (640, 360)) -> PosedFrame:
    """A frame whose picture has its number as black and white fields along the bottom."""
    image = np.full((size_wh[1], size_wh[0], 3), 90, np.uint8)
    for bit in range(BITS):
        image[-FIELD:, bit * FIELD : (bit + 1) * FIELD] = 255 * (number >> (BITS - 1 - bit) & 1)
    frame = Frame(number, number / RATE, image, "test", time.perf_counter())
    return PosedFrame(frame, Poses.empty(), picture=image)


class Feed:
    """Gives a page numbered frames at RATE from a thread; slowest: the longest write() took."""

    def __init__(self, page: Page) -> None:
        self.given: dict[int, float] = {}
        self.slowest = 0.0
        self._page, self._end = page, threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        number = 0
        while not self._end.wait(1 / RATE):
            item = posed(number)
            self.given[number] = time.time()
            before = time.perf_counter()
            self._page.write(item)
            self.slowest = max(self.slowest, time.perf_counter() - before)
            number += 1

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)


@pytest.fixture
def stop() -> Stop:
    return Stop()


@pytest.fixture
def page(stop: Stop) -> Iterator[Page]:
    page = Page("0", stop, paced=False, min_joint_score=0.3)
    yield page
    page.close()
    page.close()


@pytest.fixture
def guarded(stop: Stop) -> Iterator[Page]:
    """A page that other machines could reach."""
    page = Page("0.0.0.0:0", stop, paced=False, min_joint_score=0.3)
    yield page
    page.close()


def local(page: Page, path: str = "") -> str:
    return f"http://127.0.0.1:{page.address.port}/{path}"


def get(url: str, **headers: str) -> HTTPResponse:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib.request.urlopen(urllib.request.Request(url, headers=names), timeout=20)


def refused(url: str, **headers: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as error:
        get(url, **headers)
    with error.value as answer:
        assert len(answer.read().splitlines()) == 1
        return answer.code


def parts(response: HTTPResponse, count: int) -> list[np.ndarray]:
    """The first pictures of a Motion JPEG answer."""
    found = []
    while len(found) < count:
        line = response.readline()
        assert line
        if line.startswith(b"Content-Length"):
            response.readline()
            data = response.read(int(line.split()[1]))
            found.append(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    return found


def number_of(image: np.ndarray) -> int:
    middle = image[-FIELD // 2, FIELD // 2 : BITS * FIELD : FIELD, 0] > 127
    return int("".join(str(int(bit)) for bit in middle), 2)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8080", Address("127.0.0.1", 8080)),
        ("0.0.0.0", Address("0.0.0.0", 8000)),
        ("box.local:81", Address("box.local", 81)),
        ("[::1]:9000", Address("::1", 9000)),
        ("[::]", Address("::", 8000)),
    ],
)
def test_an_address_is_read_and_written(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize("text", ["", ":", ":80", "a:b", "70000", "host:", "http://host", "::1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected PORT, HOST or HOST:PORT"):
        parse_address(text)


def test_only_this_machine_needs_no_token() -> None:
    assert all(parse_address(text).loopback for text in ("80", "localhost", "[::1]", "127.9.9.9"))
    assert not any(parse_address(text).loopback for text in ("0.0.0.0", "[::]", "10.0.0.1", "box"))


def test_a_taken_port_is_told() -> None:
    taken, address = listen(Address("127.0.0.1", 0))
    with taken, pytest.raises(OutputError, match=f"{address}: cannot listen: .* another port"):
        listen(address)


@pytest.mark.parametrize("host", ["abc.invalid", "192.0.2.7"])
def test_a_host_that_is_not_here_is_told(host: str) -> None:
    with pytest.raises(OutputError, match=f"--serve {host}:8000: .* an address of this machine"):
        listen(parse_address(host))


def test_the_page_and_its_policy(page: Page) -> None:
    for path in ("", "page.js", "page.css", "icon.svg"):
        with get(local(page, path)) as answer:
            text = answer.read().decode()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"(src|href)=\"(?!/)|url\(|@import|style=\"|onclick=\"", text)
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace('"https:"', "")
    assert refused(local(page, "secret")) == 404


def test_names_and_sites_that_are_not_ours_are_refused(page: Page) -> None:
    url = local(page)
    for name in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""):
        assert refused(url, Host=name) == 421
    for name in ("localhost:1", "127.0.0.1", "[::1]:8000"):
        get(url, Host=name).close()
    assert refused(url + "live", Origin="http://evil.example") == 403
    assert refused(url + "live", Origin="null") == 403
    assert refused(url + "stream.mjpg", Sec_Fetch_Site="cross-site") == 403
    get(url, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").close()  # a link to it


def test_a_token_is_needed_from_elsewhere(guarded: Page, capsys: pytest.CaptureFixture) -> None:
    assert len(guarded.token) >= 20
    assert guarded.url.endswith(f":{guarded.address.port}/?token={guarded.token}")
    guarded.write(posed(5))
    for path in ("", "page.js", "live", "stream.mjpg", "screenshot.png"):
        assert refused(local(guarded, path)) == 401
        assert refused(local(guarded, f"{path}?token={guarded.token[:-1]}")) == 401
        assert refused(local(guarded, f"{path}?token=%C3%A4")) == 401
    with get(local(guarded, f"screenshot.png?token={guarded.token}")) as answer:
        assert answer.status == 200


def test_any_bytes_as_a_token_are_refused(guarded: Page, caplog: pytest.LogCaptureFixture) -> None:
    port = guarded.address.port
    with socket.create_connection(("127.0.0.1", port), 20) as line:
        cookie = b"Cookie: posestream-%d=\xff\xfe" % port
        line.sendall(b"GET / HTTP/1.0\r\nHost: 127.0.0.1:%d\r\n%b\r\n\r\n" % (port, cookie))
        assert b" 401 " in line.recv(4096).partition(b"\r\n")[0]
    assert not caplog.records


def test_nothing_is_said_at_the_end_of_a_run_that_is_watched(
    page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even when a picture comes just before."""
    watching: set[int] = set()

    def watch(number: int) -> None:
        with get(local(page, "stream.mjpg")) as answer, suppress(IncompleteRead):
            while answer.read1():
                watching.add(number)

    viewers = [threading.Thread(target=watch, args=(number,)) for number in range(3)]
    for viewer in viewers:
        viewer.start()
    numbers = iter(range(400))
    while len(watching) < 3 and (number := next(numbers, None)) is not None:
        page.write(posed(number))
        time.sleep(0.05)
    page.write(posed(400))
    page.close()
    for viewer in viewers:
        viewer.join(20)
    assert len(watching) == 3 and not caplog.records


NO_HEADER = b"GET / HTTP/1.1\r\nno header\r\n\r\n"
TOO_LONG = b"GET /%b HTTP/1.1\r\n\r\n" % (9000 * b"a")
ASKED = b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("sent", [NO_HEADER, TOO_LONG])
def test_what_is_no_request_is_refused_without_a_word(
    page: Page, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    with called(page.address) as line:
        line.sendall(sent)
        head = line.recv(4096)
    assert b" 400 " in head.partition(b"\r\n")[0] and b"Server: posestream\r\n" in head
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]


@pytest.mark.parametrize("path", ["stream.mjpg", "live"])
def test_pictures_are_for_those_who_get_them(page: Page, path: str) -> None:
    page.write(posed(5))
    request = urllib.request.Request(local(page, path), method="HEAD")
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=20)
    with error.value as answer:
        assert answer.code == 405


def called(address: Address) -> socket.socket:
    return socket.create_connection(("127.0.0.1", address.port), 20)


@contextmanager
def serving(stop: Stop, most: int, patience: float) -> Iterator[tuple[Server, OneBoard]]:
    board = OneBoard(Figures(), Buttons(stop))
    server = Server("127.0.0.1:0", board, most, patience)
    try:
        yield server, board
    finally:
        server.close()


def test_connections_beyond_the_most_are_turned_away(stop: Stop) -> None:
    """Else whoever opens a thousand leaves none of what a process may open to the recording."""

    def answer() -> bytes:
        with called(server.address) as line, suppress(ConnectionError):
            line.sendall(ASKED)
            return line.recv(4096)
        return b""

    with serving(stop, 3, 60) as (server, _), ExitStack() as lines:
        first, *_ = [lines.enter_context(called(server.address)) for _ in range(3)]
        assert not any(answer() for _ in range(5))
        first.sendall(ASKED)
        assert b" 200 " in first.recv(4096)
        first.close()
        until = time.monotonic() + 20
        while not (head := answer()) and time.monotonic() < until:  # it may not be known yet
            time.sleep(0.02)
        assert b" 200 " in head


def test_there_is_room_again_when_a_viewer_has_left(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def room() -> bool:
        try:
            get(local(page, "stream.mjpg")).close()
        except urllib.error.HTTPError as error:
            error.close()
            return False
        return True

    monkeypatch.setattr("realtime.serve.viewers.MOST", 1)
    page.write(posed(0))
    with get(local(page, "stream.mjpg")) as viewer:
        parts(viewer, 1)
        assert not room()
    until = time.monotonic() + 20
    for number in count(1):  # what cannot be sent tells that somebody has left
        page.write(posed(number))
        if room():
            break
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("sent", [b"", ASKED[:40], ASKED])
def test_a_connection_that_asks_for_nothing_is_closed(stop: Stop, sent: bytes) -> None:
    with serving(stop, 9, 0.3) as (server, _), called(server.address) as line:
        line.sendall(sent)
        got = b"".join(iter(lambda: line.recv(4096), b""))
        assert got.startswith(b"HTTP/1.1 200 ") if sent == ASKED else not got


def test_viewers_are_not_closed_for_asking_only_once(stop: Stop) -> None:
    with serving(stop, 9, 0.1) as (server, board), get(server.url + "stream.mjpg") as viewer:
        for number in range(3):
            board.put(posed(number), False)
            assert number_of(parts(viewer, 1)[0]) == number
            time.sleep(0.2)


def test_the_token_leaves_the_address_for_a_cookie(guarded: Page) -> None:
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(Stay)
    with pytest.raises(urllib.error.HTTPError) as error:
        opener.open(local(guarded, f"?token={guarded.token}"), timeout=20)
    with error.value as answer:
        assert (answer.code, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    get(local(guarded), Cookie=cookie.partition(";")[0]).close()


def test_the_screenshot_has_the_full_picture(page: Page) -> None:
    assert refused(local(page, "screenshot.png")) == 503
    item = posed(7, (1920, 1080))
    page.write(item)
    with get(local(page, "screenshot.png")) as answer:
        image = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
        assert "posestream-000007.png" in answer.headers["Content-Disposition"]
    assert np.array_equal(image, item.picture)


def test_wide_pictures_are_sent_smaller() -> None:
    image = cv2.imdecode(
        np.frombuffer(to_jpeg(np.zeros((1000, 4000, 3), np.uint8)), np.uint8), cv2.IMREAD_COLOR
    )
    assert image.shape == (320, 1280, 3)


def test_pictures_are_encoded_once_and_only_for_viewers(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded: list[int] = []

    def count(picture: np.ndarray) -> bytes:
        coded.append(number_of(picture))
        return to_jpeg(picture)

    monkeypatch.setattr("realtime.serve.newest.to_jpeg", count)
    with Feed(page) as feed:
        time.sleep(0.4)
        assert not coded
        with get(local(page, "stream.mjpg")) as one, get(local(page, "stream.mjpg")) as two:
            shown = [[number_of(image) for image in parts(viewer, 6)] for viewer in (one, two)]
    for numbers in shown:
        assert numbers == sorted(set(numbers))
    assert len(coded) == len(set(coded)) and coded[0] > 0
    assert feed.slowest < 0.5


async def _watch(url: str, acks: bool, seconds: float) -> tuple[list[int], list[dict]]:
    """A viewer of the WebSocket: the frame numbers and the figures it gets."""
    numbers, told = [], []
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                message = await ws.receive(timeout=left)
            except asyncio.TimeoutError:
                break
            if message.type is aiohttp.WSMsgType.TEXT:
                told.append(json.loads(message.data))
            elif message.type is aiohttp.WSMsgType.BINARY:
                serial, index, _ = struct.unpack("<IId", message.data[:16])
                image = cv2.imdecode(np.frombuffer(message.data[16:], np.uint8), cv2.IMREAD_COLOR)
                assert number_of(image) == index
                numbers.append(index)
                if acks:
                    await ws.send_json({"seen": serial})
            else:
                break
    return numbers, told


def test_two_viewers_and_one_that_does_not_answer(page: Page) -> None:
    async def all_three() -> list[tuple[list[int], list[dict]]]:
        url = local(page, "live")
        return await asyncio.gather(*(_watch(url, acks, 2) for acks in (True, True, False)))

    with Feed(page) as feed:
        (one, told), (two, _), (lazy, _) = asyncio.run(all_three())
    assert len(one) > 10 and len(two) > 10
    assert one == sorted(set(one)) and two == sorted(set(two))
    assert len(lazy) == 2  # not answered: nothing more is sent, nothing piles up
    assert told[-1]["viewers"] == 3 and told[-1]["screen_ms"] > 0
    assert told[0]["buttons"][0]["name"] == "quit"
    assert feed.slowest < 0.5


def test_a_viewer_that_never_reads_slows_nobody(page: Page) -> None:
    deaf = socket.create_connection(("127.0.0.1", page.address.port))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    with deaf, Feed(page) as feed:
        time.sleep(0.5)
        with get(local(page, "stream.mjpg")) as viewer:
            numbers = [number_of(image) for image in parts(viewer, 20)]
    assert numbers == sorted(set(numbers))
    assert feed.slowest < 0.5


def test_nonsense_ends_the_connection_and_nothing_else(page: Page) -> None:
    async def say(text: str) -> int | None:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(local(page, "live")) as ws:
                await ws.send_str(text)
                while (message := await ws.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
                    pass
                return message.data

    for text in ("nonsense", "[1]", "[" * 900, "x" * 5000):
        assert asyncio.run(say(text)) in (1008, 1009)
    for text in ('{"seen": "a"}', '{"seen": 99}', '{"do": "explode"}', '{"do": []}'):
        with pytest.raises((asyncio.TimeoutError, TimeoutError)):
            asyncio.run(asyncio.wait_for(say(text), 0.4))


def test_the_end_is_told_to_viewers_and_takes_no_time(page: Page) -> None:
    async def wait() -> tuple[int | None, str]:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(local(page, "live")) as ws:
                threading.Timer(0.3, page.close).start()
                while (message := await ws.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
                    pass
                return message.data, message.extra

    assert asyncio.run(wait()) == (1001, "the run has ended")
    before = time.perf_counter()
    page.close()
    assert time.perf_counter() - before < 2


def test_closing_while_the_server_ends(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loop is closed a moment before its thread has ended."""
    page.close()
    monkeypatch.setattr(page._server._thread, "is_alive", lambda: True)
    page.close()


def test_a_watched_file_keeps_its_pace(stop: Stop) -> None:
    page = Page("0", stop, paced=True, min_joint_score=0.3)
    before = time.perf_counter()
    for number in range(11):
        page.write(posed(number))
    took = time.perf_counter() - before
    page.write(posed(100_000))  # a gap of an hour is not waited for
    stop.ask("test")
    page.write(posed(100_025))
    assert took > 0.39
    assert time.perf_counter() - before - took < 2.5
    page.close()


def test_waiting_until_a_frame_is_due_is_no_work(stop: Stop) -> None:
    page = Page("0", stop, paced=True, min_joint_score=0.3)
    worker = SinkWorker(page, Meter("page", "page"), 11)
    desk = Desk(Style(), stop, live=False)
    desk.checked = lambda item: item
    page.follow(None, Ledger(False), None, [worker], desk)  # type: ignore[arg-type]
    crew = Crew()
    worker.start(crew)
    before = time.perf_counter()
    for number in range(11):
        worker.offer(posed(number), 5)
    worker.finish(clean=True)
    assert worker.done(20)
    assert time.perf_counter() - before > 0.39
    assert worker.meter.frames == 11
    assert worker.meter.seconds < 0.2


def test_newest_keeps_only_the_newest() -> None:
    async def work() -> int:
        newest = Newest()
        newest.begin(asyncio.get_running_loop())
        for number in range(100):
            newest.put(Shot(np.zeros((40, 480, 3), np.uint8), number, 0.0))
        return (await newest.after(None)).index

    assert asyncio.run(work()) == 99


def test_buttons_are_what_the_run_offers(stop: Stop) -> None:
    def names(live: bool) -> list[str]:
        buttons = Buttons(stop)
        assert [button["name"] for button in buttons.told()] == ["quit"]
        buttons.follow(Desk(Style(), stop, live=live), live)
        return [button["name"] for button in buttons.told()]

    always = {"quit", "overlay", "blur", "mirror", "raise", "lower"}
    assert set(names(live=True)) == always
    assert set(names(live=False)) == always | {"pause", "step"}  # no file to seek in


def test_buttons_do_what_keys_do_and_no_more(stop: Stop) -> None:
    desk, buttons = Desk(Style(), stop, live=True), Buttons(stop)
    buttons.press("mirror")  # nothing to press yet
    buttons.follow(desk, live=True)
    for name in ("blur", "screenshot", "record", "explode", "pause"):
        buttons.press(name)
    desk.work()
    assert desk.style.blur_faces and not desk.style.mirror and not desk.paused
    assert next(b for b in buttons.told() if b["name"] == "blur")["on"] is True
    buttons.press("quit")
    assert stop.reason == "page"


def test_a_standing_picture_follows_the_buttons(stop: Stop) -> None:
    """Faces blurred while a stream has stalled: the picture on show must not stay as it was."""
    desk, buttons = Desk(Style(), stop, live=True), Buttons(stop)
    drawn = []
    desk.redraw = lambda item: drawn.append(item) or posed(1)
    buttons.follow(desk, live=True)
    shown = posed(0)
    assert buttons.redrawn(shown, 60) is None
    buttons.press("blur")
    desk.work()
    assert buttons.redrawn(shown, STILL / 2) is None  # others come
    again = buttons.redrawn(shown, 60)
    assert again is not None and drawn == [shown]
    assert buttons.redrawn(again, 60) is None
    buttons.press("blur")
    desk.work()
    assert buttons.redrawn(again, 60) is not None


def test_no_picture_with_faces_is_sent_once_they_are_to_be_hidden(stop: Stop) -> None:
    """Also to a plain stream, for which nobody asks for numbers, and while no frame comes."""
    desk, buttons, figures = Desk(Style(), stop, live=True), Buttons(stop), Figures()
    desk.redraw = lambda item: posed(7)
    buttons.follow(desk, live=True)
    board, shown = OneBoard(figures, buttons), posed(3)

    async def story() -> int:
        board.begin(asyncio.get_running_loop())
        figures.saw(shown)
        board.put(shown, private=False)
        before = await board.after(None, lambda: 0)
        assert before.fit() and number_of(before.picture) == 3
        buttons.press("blur")
        desk.work()
        assert not before.fit()
        after = await asyncio.wait_for(board.after(None, lambda: 0), 10)
        assert after.fit()
        return number_of(after.picture)

    assert asyncio.run(story()) == 7


def test_no_screenshot_with_faces_is_sent_once_they_are_to_be_hidden(
    stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where somebody asks for that while it is made."""
    desk, shown = Desk(Style(), stop, live=True), posed(3)
    desk.redraw = lambda item: posed(7)

    def slow(picture: np.ndarray) -> bytes:
        if number_of(picture) == 3:
            board._buttons.press("blur")
            desk.work()
        return to_png(picture)

    monkeypatch.setattr("realtime.serve.viewers.to_png", slow)
    with serving(stop, 9, 60) as (server, board):
        board._buttons.follow(desk, live=True)
        board._figures.saw(shown)
        board.put(shown, private=False)
        with get(server.url + "screenshot.png") as answer:
            image = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
    assert number_of(image) == 7


def url_of(process: subprocess.Popen[str]) -> str:
    """Where a started program says that its page is."""
    assert process.stderr
    for line in process.stderr:
        if found := re.match(r"posestream: the page is at (http://\S+)$", line):
            return found[1]
    raise AssertionError(f"no page: {process.wait()}")


def test_the_command_line_serves_until_a_viewer_stops_it(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    process = start(
        "--input", "demo", "--live", "--headless", "--serve", "0", "--report", report
    )  # fmt: skip
    url = url_of(process)

    async def watch() -> dict:
        async with aiohttp.ClientSession() as session, session.ws_connect(url + "live") as ws:
            seen = 0
            while True:
                message = await ws.receive(timeout=60)
                if message.type is aiohttp.WSMsgType.BINARY:
                    seen += 1
                    await ws.send_json({"seen": struct.unpack("<I", message.data[:4])[0]})
                told = json.loads(message.data) if isinstance(message.data, str) else {}
                if seen > 2 and told.get("screen_ms"):
                    await ws.send_json({"do": "quit"})
                    return told

    told = asyncio.run(watch())
    before = time.perf_counter()
    result: Result = finish(process)
    assert result.code == 0 and time.perf_counter() - before < 20
    assert told["state"] == "live" and told["source"] == "demo" and told["frames"] > 0
    assert set(told["stages"]) == {"detect", "crop", "pose", "decode", "track", "render"}
    assert [button["name"] for button in told["buttons"]][-1] != "record"
    written = json.loads(report.read_text())
    assert written["sinks"]["page"]["frames"] > 0 and written["frames_written"] == 0
    assert not written["ledger_errors"]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((48, 64, 3), 90, np.uint8))
    return tmp_path / "grey.png"


def test_a_taken_port_ends_the_command_line(image: Path) -> None:
    with listen(Address("127.0.0.1", 0))[0] as taken:
        result = run("--input", image, "--headless", "--serve", taken.getsockname()[1])
    assert result.code == 4
    assert len(result.errors) == 1 and "cannot listen" in result.errors[0]


def test_without_the_library_the_command_line_says_what_to_install(
    image: Path, tmp_path: Path
) -> None:
    (tmp_path / "aiohttp.py").write_text("raise ModuleNotFoundError(\"No module 'aiohttp'\")")
    result = run("--input", image, "--headless", "--serve", "0", PYTHONPATH=str(tmp_path))
    assert result.code == 5
    assert len(result.errors) == 1 and 'pip install "posestream[serve]"' in result.errors[0]


def test_the_library_is_not_loaded_without_serve() -> None:
    code = (
        "import sys, realtime.app, realtime.cli\n"
        "realtime.cli.parse(['--input', 'demo'])\n"
        "sys.exit(any(name in sys.modules for name in ('aiohttp', 'asyncio')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


@pytest.mark.skipif(not find_chromium(), reason="no Chromium is installed")
def test_the_picture_is_there_without_scripts(page: Page, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as browser, Feed(page):
        tab = browser.tab()
        tab.size(1000, 800)
        tab("Emulation.setScriptExecutionDisabled", value=True)
        tab("Page.navigate", url=local(page))
        for _ in range(100):
            seen = cv2.imdecode(np.frombuffer(tab.picture(), np.uint8), cv2.IMREAD_COLOR)
            if abs(int(seen[200, 300].mean()) - 90) < 5:
                return
            time.sleep(0.1)
        raise AssertionError(f"no picture: {seen[200, 300]}")


@pytest.mark.skipif(not find_chromium(), reason="no Chromium is installed")
def test_a_browser_without_the_token_is_asked_for_it(guarded: Page, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as browser, Feed(guarded):
        tab = browser.tab()
        tab.size(390, 844, 2, phone=True)
        tab.open(local(guarded, "?token=wrong"))
        assert "is not the token" in tab.value("document.body.innerText")
        tab.open(local(guarded))
        assert "needs its token" in tab.value("document.body.innerText")
        assert tab.value("document.documentElement.scrollWidth") <= 390
        for letter in guarded.token:  # the field has the focus
            tab("Input.insertText", text=letter)
        tab.press("Enter")
        tab.wait("typeof shown !== 'undefined' && shown.index > 0")
        assert tab.value("location.search") == ""
        assert tab.errors == []


@pytest.mark.skipif(not find_chromium(), reason="no Chromium is installed")
def test_in_a_real_browser(page: Page, stop: Stop, tmp_path: Path) -> None:
    """Pictures arrive in time, nothing breaks the page's own policy, the keyboard is enough."""
    with chromium(tmp_path / "profile") as browser, ExitStack() as feeding:
        feed = feeding.enter_context(Feed(page))
        tab = browser.tab()
        tab.size(390, 844, 2, phone=True)
        tab.open(local(page))
        tab.wait("shown.index > 0")
        assert tab.value("document.documentElement.scrollWidth") <= 390
        tab.value(reading("picture", BITS, FIELD))
        tab.wait("read.length > 40")
        read = [(when, number) for when, number in tab.value("read") if number in feed.given]
        ages = [when - 1e3 * feed.given[number] for when, number in read]
        assert min(ages) > 0
        assert median(ages) < 150
        state = "document.getElementById('state')"
        paused = '{...latest, state: "live", buttons: [{ name: "pause", on: true }]}'
        assert tab.value(f"(setView({paused}), {state}.textContent)") == "paused"
        stalled = '{...latest, state: "stalled 7 s"}'
        assert tab.value(f"(setView({stalled}), document.getElementById('told').innerText)") == (
            "stalled"  # once, and not each second
        )
        loud = "aside output, aside [role=status], aside [aria-live]"
        assert tab.value(f"document.querySelectorAll('{loud}').length") == 0  # nor numbers
        tab.press("q")
        tab.wait("document.getElementById('confirm').open")
        tab.press("Enter")  # the harmless answer has the focus
        tab.wait("!document.getElementById('confirm').open")
        assert not stop.reason
        tab.press("q")
        tab.wait("document.getElementById('confirm').open")
        tab.press("Tab")
        tab.press("Enter")
        deadline = time.monotonic() + 10
        while not stop.reason and time.monotonic() < deadline:
            time.sleep(0.05)
        assert stop.reason == "page"
        feeding.close()
        page.close()
        tab.wait("document.getElementById('message').textContent === 'The run has ended'")
        assert tab.value(f"{state}.dataset.kind") == "over"  # which is not bad
        assert tab.errors == []


def ink(chart: str, *names: str) -> str:
    """A script: whether a chart has a line or an area in one of these colours of the page."""
    return f"""(() => {{
      const canvas = document.getElementById("{chart}");
      const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const probe = new OffscreenCanvas(1, 1).getContext("2d");
      const style = getComputedStyle(document.documentElement);
      return {json.dumps(names)}.some((name) => {{
        probe.fillStyle = style.getPropertyValue(`--${{name}}`);
        probe.fillRect(0, 0, 1, 1);
        const wanted = probe.getImageData(0, 0, 1, 1).data;
        let count = 0;
        for (let n = 0; n < data.length; n += 4) {{
          const apart = [0, 1, 2].map((k) => Math.abs(data[n + k] - wanted[k]));
          if (data[n + 3] > 150 && Math.max(...apart) < 12) count += 1;
        }}
        return count > 20;
      }});
    }})()"""


@pytest.mark.skipif(not find_chromium(), reason="no Chromium is installed")
def test_a_run_in_a_real_browser(tmp_path: Path) -> None:
    """Lines in every chart, rows of people, and a key that saves the picture."""
    saved = tmp_path / "saved"
    saved.mkdir()
    process = start("--input", "demo", "--live", "--headless", "--serve", "0")
    with chromium(tmp_path / "profile") as browser:
        allowed = {"behavior": "allow", "downloadPath": str(saved)}
        browser.call("Browser.setDownloadBehavior", allowed)
        tab = browser.tab()
        tab.size(1200, 900)
        tab.open(url_of(process))
        tab.wait("document.querySelectorAll('#people td').length >= 3")  # id, score, joints
        assert re.fullmatch(r"\d+", tab.value("document.querySelector('#people td').textContent"))
        for chart, *colours in (
            ("fps", "a"), ("latency", "a", "b"), ("drops", "b"),
            ("stages", *(f"s{n}" for n in range(7))),
        ):  # fmt: skip
            tab.wait(ink(f"chart-{chart}", *colours))
        tab.press("s")
        deadline = time.monotonic() + 30
        while not (pictures := list(saved.glob("posestream-*.png"))):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert cv2.imread(str(pictures[0])).shape == (720, 1280, 3)
        assert tab.errors == []
        process.terminate()
        assert finish(process).code == 0


@pytest.mark.parametrize("why", [ValueError("no such codec"), OSError("no sockets left")])
def test_a_server_that_does_not_start_says_why_at_once(why: Exception) -> None:
    class Broken:
        def begin(self, loop: asyncio.AbstractEventLoop) -> None:
            raise why

    with pytest.raises(OutputError, match=f"--serve: cannot start: {why}"):
        Server("127.0.0.1:0", Broken())  # type: ignore[arg-type]

"""The window on a real display (Xvfb), and what is done without one."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from realtime.sinks.window import _framework, display_available, fitted, key_name
from realtime.sinks.x11 import XServer

ROOT = Path(__file__).parents[1]
needs_x = pytest.mark.skipif(
    shutil.which("Xvfb") is None or not _framework(), reason="needs Xvfb and a cv2 with windows"
)
needs_qt = pytest.mark.skipif(not _framework().startswith("QT"), reason="only of cv2 with Qt")

PROGRAM = """
import sys, time
import numpy as np
from realtime.sinks.window import Window
window = Window("poses")
deadline = time.monotonic() + 15
picture = np.zeros((600, 800, 3), np.uint8)
picture[:, :, 1] = np.arange(800) % 256
while time.monotonic() < deadline:
    window.show(picture)
    key = window.pump()
    if key:
        print("key", key, flush=True)
    if key in ("q", "esc", "closed", "lost"):
        break
    print("shown", flush=True)
    time.sleep(0.03)
window.show(picture)
print("then", window.pump())
window.close()
window.close()
print("end", flush=True)
"""


class Display:
    """An X server of our own."""

    def __init__(self, *options: str) -> None:
        read, write = os.pipe()
        self.process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x768x24", *options],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with os.fdopen(read) as pipe:
            self.name = f":{pipe.readline().strip()}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def display() -> Iterator[Display]:
    server = Display()
    yield server
    server.kill()


class Program:
    """The program above, running on a display until its window shows pictures."""

    def __init__(self, display: Display) -> None:
        env = {**os.environ, "DISPLAY": display.name}
        env.pop("XAUTHORITY", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout
        for _ in range(10):
            assert self.process.stdout.readline() == "shown\n"

    def end(self) -> tuple[int, list[str]]:
        out, _ = self.process.communicate(timeout=20)
        return self.process.returncode, [line for line in out.splitlines() if line != "shown"]


def xdotool(display: Display, *arguments: str) -> str:
    env = {**os.environ, "DISPLAY": display.name}
    command = ["xdotool", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


@needs_x
@pytest.mark.skipif(shutil.which("xdotool") is None, reason="needs xdotool")
def test_keys_and_the_size_of_the_window(display: Display) -> None:
    program = Program(display)
    (window,) = xdotool(display, "search", "--name", "poses").split()
    assert "Geometry: 800x600" in xdotool(display, "getwindowgeometry", window)
    xdotool(display, "windowfocus", window, "key", "space", "sleep", "0.3", "key", "Escape")
    assert program.end() == (0, ["key space", "key esc", "then None", "end"])


@needs_x
@pytest.mark.skipif(shutil.which("xdotool") is None, reason="needs xdotool")
def test_a_closed_window_is_noticed_and_not_opened_again(display: Display) -> None:
    program = Program(display)
    (window,) = xdotool(display, "search", "--name", "poses").split()
    ask_to_close(display.name, int(window))
    assert program.end() == (0, ["key closed", "then closed", "end"])


def ask_to_close(display: str, window: int) -> None:
    """What a window manager sends when the user closes a window: WM_DELETE_WINDOW (ICCCM 4.2.8)."""
    server = XServer(display)
    connection = server._socket
    connection.setblocking(True)
    atoms = []
    for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"):
        padded = name + bytes(-len(name) % 4)
        connection.sendall(struct.pack("<BxHHxx", 16, 2 + len(padded) // 4, len(name)) + padded)
        atoms.append(struct.unpack_from("<I", connection.recv(32), 8)[0])
    event = struct.pack("<BBHIIII12x", 33, 32, 0, window, atoms[0], atoms[1], 0)
    connection.sendall(struct.pack("<BBHII", 25, 0, 11, window, 0) + event)
    time.sleep(0.2)
    server.close()


FULL = """
import cv2, numpy as np
from realtime.sinks.window import Window
window, picture = Window("full"), np.zeros((600, 800, 3), np.uint8)
def full(on):
    window.fill_screen(on)
    window.pump()
    return int(cv2.getWindowProperty("full", cv2.WND_PROP_FULLSCREEN))
before = full(True)
window.show(picture)
print(before, full(True), full(True), full(False), full(True))
window.close()
"""


@needs_x
def test_the_whole_screen_is_for_pictures(display: Display) -> None:
    """The window fills it once it has a picture, whose size it has otherwise. How large it is then
    is for the window manager, which this display has none of."""
    env = {**os.environ, "DISPLAY": display.name}
    env.pop("XAUTHORITY", None)
    command = [sys.executable, "-c", FULL]
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, capture_output=True, timeout=60)
    assert done.stdout.split() == ["0", "1", "1", "0", "1"], done.stderr


SIZED = """
import cv2, numpy as np
from realtime.sinks.window import Window
window = Window("sized")
def size(wide, high, **more):
    window.show(np.zeros((high, wide, 3), np.uint8), **more)
    for _ in range(20):
        window.pump()
    print(*cv2.getWindowImageRect("sized")[2:])
size(640, 360, card=True)
size(800, 600)
size(640, 360)
window.close()
"""


@needs_x
@needs_qt
def test_the_window_has_the_size_of_the_video_though_it_began_with_a_card(display: Display) -> None:
    env = {**os.environ, "DISPLAY": display.name}
    env.pop("XAUTHORITY", None)
    command = [sys.executable, "-c", SIZED]
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, capture_output=True, timeout=60)
    sizes = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert sizes == [(640, 360), (800, 600), (800, 600)], done.stderr


@needs_x
@needs_qt
def test_a_display_that_dies_is_noticed() -> None:
    # Qt ends the process when the display goes away within one of its calls, so try again then.
    for _ in range(4):
        server = Display()
        program = Program(server)
        server.kill()
        code, output = program.end()
        if code == 0:
            assert output == ["key lost", "then lost", "end"]
            return
        assert code == 1
    pytest.fail("the window never noticed that its display was gone")


@needs_x
def test_a_display_is_available_only_while_its_server_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    server = Display()
    monkeypatch.setenv("DISPLAY", server.name)
    assert display_available()
    connection = XServer(server.name)
    assert connection.size_wh == (1024, 768) and connection.alive()
    assert connection.answers() and connection.answers() and connection.alive()
    server.kill()
    assert not connection.answers() and not connection.alive() and not display_available()
    connection.close()


@needs_x
def test_a_display_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = bytes(range(16))

    def entry(number: bytes, data: bytes) -> bytes:
        fields = (b"host", number, b"MIT-MAGIC-COOKIE-1", data)
        return b"\1\0" + b"".join(struct.pack(">H", len(f)) + f for f in fields)

    for number in range(150, 200):
        (tmp_path / "keys").write_bytes(entry(b"%d" % number, key))
        if not Path(f"/tmp/.X11-unix/X{number}").exists():
            break
    server = subprocess.Popen(
        ["Xvfb", f":{number}", "-auth", str(tmp_path / "keys")], stderr=subprocess.DEVNULL
    )
    try:
        wrong = entry(b"1", key) + entry(b"%d" % number, bytes(16))
        monkeypatch.setenv("XAUTHORITY", str(tmp_path / "mine"))
        (tmp_path / "mine").write_bytes(wrong + entry(b"%d" % number, key))
        deadline = time.monotonic() + 10
        while not answers(f":{number}") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert answers(f":{number}")
        (tmp_path / "mine").write_bytes(wrong + b"\1\0\0")
        assert not answers(f":{number}")
        monkeypatch.setenv("XAUTHORITY", str(tmp_path / "none"))
        assert not answers(f":{number}")
    finally:
        server.kill()
        server.wait()


def answers(display: str) -> bool:
    try:
        XServer(display).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(os.name != "posix" or sys.platform == "darwin", reason="X11 only")
@pytest.mark.parametrize("name", ["", ":98765", "nonsense", "localhost:9999", ":x"])
def test_no_display(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", name)
    assert not display_available()


@pytest.mark.parametrize("answer", [b"", b"\0", b"\1" + bytes(7), b"HTTP/1.1 400 Bad"])
def test_a_port_where_no_x_server_answers(answer: bytes) -> None:
    listener, number = None, 0
    for number in range(300, 400):
        try:
            listener = socket.create_server(("127.0.0.1", 6000 + number))
            break
        except OSError:
            continue
    assert listener is not None

    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(100)
        listener.close()
        connection.sendall(answer)
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert not answers(f"127.0.0.1:{number}")
    thread.join()


def test_large_pictures_fit_the_screen() -> None:
    def size(width: int, height: int) -> tuple[int, int]:
        return fitted(np.zeros((height, width, 3), np.uint8), (1000, 800))

    assert size(640, 480) == (640, 480)
    assert size(3600, 1800) == (900, 450)
    assert size(1080, 1920) == (405, 720)
    assert size(1, 10**5) == (1, 720)
    assert size(178, 100) == (534, 300)


def test_names_of_keys() -> None:
    codes = [-1, 0, 27, ord("q"), ord("Q"), ord(" "), 0x100071, 200]
    names = [None, None, "esc", "q", "q", "space", "q", None]
    assert [key_name(code) for code in codes] == names

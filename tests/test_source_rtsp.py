"""A real RTSP server that stalls, dies and comes back with another picture size."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realtime.records import Frame
from realtime.sources.network import Timeouts
from realtime.sources.url import open_url

PYTHON = Path("/usr/bin/python3")  # GStreamer's bindings belong to the system's Python
SERVER = Path(__file__).with_name("rtsp_server.py")
NEEDS = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
)


def available() -> bool:
    return (
        PYTHON.exists()
        and not subprocess.run([PYTHON, "-c", NEEDS], capture_output=True).returncode
    )


pytestmark = pytest.mark.skipif(not available(), reason="no GStreamer RTSP server on this machine")


class Server:
    """The server's process on a port that stays the same over restarts."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        self.process: subprocess.Popen[str] | None = None

    def up(self, size: str = "160 120 15") -> None:
        command = [str(PYTHON), str(SERVER), str(self.port), *size.split()]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def down(self) -> None:
        if self.process:
            self.process.kill()
            self.process.communicate()
        self.process = None


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.down()


def seconds_until(condition: Callable[[], bool], most: float = 15.0) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < most
        time.sleep(0.05)
    return time.monotonic() - start


def test_stall_death_and_another_size(server: Server) -> None:
    source = open_url(server.url.replace("//", "//me:secret@"), timeouts=Timeouts(4.0, 1.5))
    source.status.stall_after = 1.2
    assert "secret" not in source.info.name
    got: list[Frame] = []
    reader = threading.Thread(target=lambda: got.extend(source.frames()), daemon=True)
    reader.start()
    seconds_until(lambda: "connection refused" in source.status.describe())
    assert source.status.state == "connecting"
    server.up()
    assert seconds_until(lambda: source.status.state == "live") < 10

    server.send(signal.SIGSTOP)
    assert seconds_until(lambda: source.status.state == "stalled") < 3
    server.send(signal.SIGCONT)
    assert seconds_until(lambda: source.status.state == "live") < 10

    server.down()
    assert seconds_until(lambda: source.status.state == "stalled") < 5
    server.up("192 144 15")
    assert seconds_until(lambda: source.status.state == "live") < 10

    source.close()
    reader.join(6)
    assert not reader.is_alive()
    assert {f.size_wh for f in got} == {(160, 120), (192, 144)}
    assert [f.index for f in got] == list(range(len(got)))
    assert all(a.time < b.time for a, b in zip(got, got[1:]))
    assert 1 <= source.status.reconnects <= 3

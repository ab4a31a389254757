"""A real RTSP server that stalls, dies and comes back with another picture size."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import pytest
from rtsp import Server, available

from realtime.records import Frame
from realtime.sources.network import Timeouts
from realtime.sources.url import open_url

pytestmark = pytest.mark.skipif(not available(), reason="no GStreamer RTSP server on this machine")


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


def test_a_camera_that_sends_by_udp_alone(server: Server) -> None:
    server.up("160 120 15 udp")
    source = open_url(server.url, max_reconnects=0)
    frames = source.frames()
    got = [next(frames) for _ in range(20)]
    source.close()
    frames.close()
    assert {f.size_wh for f in got} == {(160, 120)}

"""Streams that stall, die, come late and change, through the real command line; run by name (run).

FAULT_CYCLES and FAULT_PAUSE make the reconnect test longer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import servers
from commandline import Result, finish, lines, start, times
from rtsp import Server, available
from test_run import tiny, wait_for

needs_server = pytest.mark.skipif(not available(), reason="no GStreamer RTSP server here")
SECRET = "geheim"
CYCLES = int(os.environ.get("FAULT_CYCLES", "3"))
PAUSE = float(os.environ.get("FAULT_PAUSE", "5"))
LATE = float(os.environ.get("FAULT_LATE", "1"))
"""Factor on the time limits, for machines that are busy with something else."""


class Watch:
    """A run on a live address with a status file."""

    def __init__(self, folder: Path, address: str, *more: object) -> None:
        self.folder, self.status = folder, folder / "s.json"
        self.process: subprocess.Popen[str] = start(
            "--input", address.replace("://", f"://me:{SECRET}@"), "--headless", *tiny(),
            "--status-file", self.status, "--json", folder / "d.jsonl",
            "--report", folder / "r.json", *more,
        )  # fmt: skip

    def now(self) -> dict[str, Any]:
        try:
            told = json.loads(self.status.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"state": "none", "frames_finished": 0}
        assert isinstance(told, dict)
        return {"frames_finished": 0, **told}

    def seconds_until(self, condition: Callable[[dict[str, Any]], bool], most: float) -> float:
        began = time.monotonic()
        while not condition(self.now()):
            assert self.process.poll() is None, finish(self.process)
            assert time.monotonic() - began < most * LATE, self.now()
            time.sleep(0.1)
        return time.monotonic() - began

    def frames_again(self, most: float) -> float:
        """Seconds until frames come that were not there at the call."""
        before = self.now()["frames_finished"]
        return self.seconds_until(
            lambda told: told["state"] == "live" and told["frames_finished"] > before, most
        )

    def used(self) -> tuple[int, int]:
        """Open files and threads of the process."""
        place = Path(f"/proc/{self.process.pid}")
        return len(list((place / "fd").iterdir())), len(list((place / "task").iterdir()))

    def stop(self, within: float = 3.0) -> Result:
        """End it by SIGTERM; everything it said and wrote is without the password."""
        self.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        result = finish(self.process, within=30)
        assert time.monotonic() - began < within * LATE + 1, result.err
        assert result.code == 0, result.err
        assert SECRET not in result.err
        for path in self.folder.iterdir():
            assert SECRET.encode() not in path.read_bytes(), path
        assert self.now()["state"] == "stopped" and self.now()["exit_code"] == 0
        return result

    def report(self) -> dict[str, Any]:
        told = json.loads((self.folder / "r.json").read_text(encoding="utf-8"))
        assert isinstance(told, dict) and told["ledger_errors"] == []
        return told


@needs_server
def test_a_stall_is_told_and_overcome(tmp_path: Path, server: Server) -> None:
    server.up()
    watch = Watch(tmp_path, server.url)
    watch.frames_again(40)
    server.send(signal.SIGSTOP)
    assert watch.seconds_until(lambda told: told["state"] == "stalled", 5) < 5 * LATE
    time.sleep(15)
    assert watch.now()["quality"] == "none" and watch.now()["stalls_1h"] >= 1
    server.send(signal.SIGCONT)
    watch.frames_again(10)
    result = watch.stop()
    assert "no data for 3 s" in result.err
    moments = [line["time"] for line in lines(tmp_path / "d.jsonl")]
    assert all(a < b for a, b in zip(moments, moments[1:])) and moments[-1] > 15


@needs_server
def test_a_server_that_dies_again_and_again(tmp_path: Path, server: Server) -> None:
    server.up()
    watch = Watch(tmp_path, server.url, "-v")
    watch.frames_again(40)
    took, used = [], []
    for _ in range(CYCLES):
        server.down()
        watch.seconds_until(lambda told: told["state"] == "stalled", 6)
        time.sleep(PAUSE)
        server.up()
        took.append(watch.frames_again(10))
        time.sleep(2)
        used.append(watch.used())
    assert sorted(took)[int(0.95 * (len(took) - 1))] < 10 * LATE
    assert abs(used[-1][0] - used[0][0]) <= 1 and abs(used[-1][1] - used[0][1]) <= 1, used
    result = watch.stop()
    assert watch.report()["reconnects"] == CYCLES
    assert len(result.err.splitlines()) < 12 + 4 * CYCLES


@needs_server
def test_a_server_that_comes_late(tmp_path: Path, server: Server) -> None:
    watch = Watch(tmp_path, server.url)
    watch.seconds_until(lambda told: told["state"] == "connecting", 40)
    time.sleep(15)
    assert watch.now()["frames_finished"] == 0 and "refused" in watch.now()["detail"]
    server.up()
    watch.frames_again(10)
    result = watch.stop()
    assert result.err.count("connection refused") == 1  # said once, not at every attempt
    assert watch.report()["reconnects"] == 0


@needs_server
def test_a_server_that_comes_back_with_another_size(tmp_path: Path, server: Server) -> None:
    server.up("320 240 15")
    watch = Watch(tmp_path, server.url, "--output", tmp_path / "v.mp4")
    watch.frames_again(40)
    time.sleep(2)
    server.down()
    watch.seconds_until(lambda told: told["state"] == "stalled", 6)
    server.up("640 480 15")
    watch.frames_again(12)
    time.sleep(2)
    watch.stop()
    assert "640x480" in " ".join(watch.report()["notes"])
    parts = [len(times(tmp_path / name)) for name in ("v.mp4", "v_2.mp4")]
    assert min(parts) > 0 and sum(parts) == watch.report()["sinks"]["record"]["frames"]


@pytest.mark.parametrize("then", ["stall", "trickle"])
def test_silence_and_trickle(tmp_path: Path, then: servers.Then) -> None:
    with servers.tcp_server(b"", then) as server:
        watch = Watch(tmp_path, server.url)
        watch.seconds_until(lambda told: told["state"] == "connecting" and told["detail"], 60)
        wait_for(lambda: server.accepted >= 2, within=30 * LATE)
        watch.stop()


def test_refusals_are_named_without_secrets(tmp_path: Path) -> None:
    with servers.http_server({}) as server:
        for path, word in (("/status/401", "password"), ("/status/404", "path of the address")):
            folder = tmp_path / path[-3:]
            folder.mkdir()
            watch = Watch(folder, server.url + path)
            watch.seconds_until(lambda told, word=word: word in told.get("detail", ""), 60)
            count = len(server.requests)
            time.sleep(4)
            assert len(server.requests) - count <= 3
            assert word in watch.stop().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_pipe_whose_writer_stalls(tmp_path: Path) -> None:
    data = servers.write_video(tmp_path / "v.ts", 50).read_bytes()
    pipe = tmp_path / "pipe.ts"
    os.mkfifo(pipe)
    process = start("--input", pipe, "--headless", "--json", tmp_path / "d.jsonl", *tiny())
    with pipe.open("wb") as writer:
        writer.write(data[: len(data) * 2 // 3])
        writer.flush()
        result = finish(process, within=60 * LATE)
    assert result.code == 6 and "no data for 10 s" in result.errors[0]
    assert len(lines(tmp_path / "d.jsonl")) > 5


@needs_server
def test_a_stopped_process_goes_on(tmp_path: Path, server: Server) -> None:
    """As with Ctrl-Z or a laptop that sleeps: no false alarm, at most one new connection."""
    server.up()
    watch = Watch(tmp_path, server.url)
    watch.frames_again(40)
    watch.process.send_signal(signal.SIGSTOP)
    time.sleep(float(os.environ.get("FAULT_SLEEP", "20")))
    watch.process.send_signal(signal.SIGCONT)
    watch.frames_again(20)
    watch.stop()
    assert watch.report()["reconnects"] <= 1
    moments = [line["time"] for line in lines(tmp_path / "d.jsonl")]
    assert all(a < b for a, b in zip(moments, moments[1:]))

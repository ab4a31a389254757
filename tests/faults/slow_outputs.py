"""Signals, kills, small disks and connections of the whole program; run by name."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import media
import pytest
import servers
from commandline import ROOT, finish, handles_signals, lines, start, times
from test_run import tiny, wait_for

LATE = float(os.environ.get("FAULT_LATE", "1"))
CODES = {"SIGINT": 130, "SIGTERM": 0, "SIGHUP": 0}
LIVE = ("--input", "demo", "--live", "--headless")


def moment(name: str, folder: Path) -> subprocess.Popen[str]:
    """A run that has come to this moment."""
    video, data = folder / "v.mp4", folder / "d.jsonl"
    outputs = ("--output", video, "--json", data)
    if name == "starting":
        process = start(*LIVE, *outputs)
        wait_for(lambda: handles_signals(process), within=60)
        return process
    if name == "loading":
        process = start(*LIVE, *outputs)
        wait_for(video.exists, within=60)
        return process
    if name == "stalled":
        with servers.tcp_server(servers.write_video(folder / "a.ts", 40).read_bytes()) as server:
            process = start("--input", server.url, "--headless", *tiny(), *outputs)
            wait_for(lambda: data.exists() and data.stat().st_size, within=60)
        time.sleep(4)
        return process
    more = ("--end", "20") if name == "finishing" else ()
    fault = {"full queues": "json:sleep:1@*", "finishing": "record:sleep:1@19"}.get(name, "")
    kind = ("--input", "demo", "--headless") if fault else LIVE
    process = start(*kind, *more, *outputs, POSESTREAM_FAULT=fault)
    wait_for(lambda: data.exists() and data.stat().st_size, within=60)
    time.sleep(1.5)
    return process


MOMENTS = ("starting", "loading", "running", "stalled", "full queues", "finishing")


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("signals", ["SIGINT", "SIGTERM", "SIGHUP", "SIGINT SIGINT"])
def test_signals_at_every_moment(tmp_path: Path, name: str, signals: str) -> None:
    process = moment(name, tmp_path)
    done = process.poll() is not None
    for word in signals.split():
        if process.poll() is None:
            process.send_signal(getattr(signal, word))
            time.sleep(0.2)
    began = time.monotonic()
    result = finish(process, within=20)
    assert time.monotonic() - began < (5 if name == "loading" else 3) * LATE
    wanted = {CODES[signals.split()[0]], 0 if name == "finishing" or done else -1}
    assert result.code in wanted, result.err
    video = tmp_path / "v.mp4"
    if video.exists() and video.stat().st_size:
        assert len(times(video)) > 0
    assert not list(tmp_path.glob(".*part"))


def test_kills_cost_less_than_a_second(tmp_path: Path) -> None:
    """Ten SIGKILLs, at other moments in every run; FAULT_SEED makes them again."""
    seed = int(os.environ.get("FAULT_SEED", str(time.time_ns() % 10**6)))
    rng = random.Random(seed)
    print("seed", seed)
    for turn in range(10):
        video, data = tmp_path / f"{turn}.mp4", tmp_path / f"{turn}.jsonl"
        process = start(*LIVE, "--output", video, "--json", data)
        wait_for(lambda d=data: d.exists() and d.stat().st_size > 0, within=60)
        time.sleep(rng.uniform(0.5, 5))
        process.kill()
        process.communicate()
        said = [json.loads(line) for line in data.read_text().splitlines(True) if line[-1] == "\n"]
        lost = said[-1]["time"] - (times(video)[-1] if video.stat().st_size else 0.0)
        assert lost <= 1.0 * LATE, (turn, lost)


needs_mounts = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0,
    reason="no right to mount a small disk",
)


@needs_mounts
@pytest.mark.parametrize(
    ("floor", "required", "code"), [("0", False, 0), ("0", True, 4), ("215", False, 0)]
)
def test_a_small_disk(tmp_path: Path, floor: str, required: bool, code: int) -> None:
    """A disk in a name space of its own fills up, or comes under the floor."""
    disk, data, told = tmp_path / "disk", tmp_path / "d.jsonl", tmp_path / "r.json"
    disk.mkdir()
    size = "6m" if floor == "0" else "220m"
    mount = f'mount -t tmpfs -o size={size} none "$0"'
    script = mount + ' && "$@"; code=$?; cp "$0"/v.mp4 "$0".mp4; exit $code'
    command = [
        sys.executable, str(ROOT / "run_camera.py"), "--input", "demo", "--headless", "--end",
        "120", "--crf", "1", "--output", str(disk / "v.mp4"), "--json", str(data), "--report",
        str(told), "--min-free", floor, *(["--record-required"] if required else []),
    ]  # fmt: skip
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, str(disk), *command],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "v.mp4: " in done.stderr and ("cannot write more" in done.stderr) == (floor == "0")
    says = json.loads(told.read_text())
    assert says["ledger_errors"] == []
    there = times(tmp_path / "disk.mp4")
    assert 0 < len(there) == says["sinks"]["record"]["frames"]
    assert there == sorted(there)
    if code == 0:
        assert len(lines(data)) == 120


# connections

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


def connections(folder: Path, *arguments: object) -> set[str]:
    """What the command line connects to, sends to or listens on outside of the machine's own
    sockets, as strace tells: ADDRESS:PORT."""
    log = folder / "strace"
    command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,bind,listen", "-o", log]
    done = subprocess.run(
        [*command, sys.executable, ROOT / "run_camera.py", *map(str, arguments)],
        capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = set()
    for line in log.read_text(errors="replace").splitlines():
        port = re.search(r"sin6?_port=htons\((\d+)\)", line)
        host = re.search(r'inet_(?:addr|pton)\((?:AF_INET6, )?"([^"]+)"', line)
        if port and host:
            found.add(f"{host[1]}:{port[1]}")
    return found


@needs_strace
def test_no_connection_but_to_the_source(tmp_path: Path) -> None:
    """Files and the demo scene open none at all, an address only itself."""
    source = media.video(tmp_path / "a.mp4", 5)
    outputs = ("--output", tmp_path / "o.mp4", "--data", f"coco:{tmp_path / 'c.json'}")
    assert connections(tmp_path, "--input", source, "--headless", *tiny(), *outputs) == set()
    assert connections(tmp_path, "--input", "demo", "--end", "3", "--headless") == set()
    with servers.http_server({"/a.mp4": source.read_bytes()}) as server:
        address = f"{server.url}/a.mp4"
        found = connections(tmp_path, "--input", address, "--headless", *tiny())
    assert found == {address.split("/")[2]}

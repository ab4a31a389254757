"""Batches on a cluster of Ray that runs already: two machines, both of them this one."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_runs import LONG, SHORT, SHORTS, Batch, alone, make_clips, same

from realtime.formats.registry import load

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="a cluster needs Ray (posestream[cluster])"
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc"),
]
ENV = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "200",
}


class Machine:
    """One of a cluster: the processes of ray start, and all that they start."""

    def __init__(self, *arguments: str) -> None:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1"]
        ray += ["--object-store-memory", str(80 << 20), "--include-log-monitor", "False"]
        self._process = subprocess.Popen(
            [*ray, *arguments], env={**os.environ, **ENV}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        told = []
        assert self._process.stdout
        for line in self._process.stdout:
            told.append(line)
            if "Ray runtime started" in line:
                return
        raise AssertionError("".join(told))

    def pid(self, name: str) -> int:
        """A process of it, 0 when there is none."""
        for place in Path("/proc").glob("[0-9]*"):
            try:
                program = (place / "cmdline").read_bytes().split(b"\0")[0]
                mine = os.getsid(int(place.name)) == self._process.pid
            except OSError:  # it has ended
                continue
            if mine and program.endswith(f"/{name}".encode()):
                return int(place.name)
        return 0

    def end(self) -> None:
        """End all of its processes."""
        assert self._process.stdout
        self._process.stdout.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        while pid := self.pid("raylet") or self.pid("gcs_server"):
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        self._process.wait()


@pytest.fixture
def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def machines(address: str) -> Iterator[list[Machine]]:
    """The head of a cluster and another machine."""
    folder = tempfile.mkdtemp(prefix="ray-")  # of short name: sockets are made in it
    port = address.rpartition(":")[2]
    head = ["--head", "--port", port, "--temp-dir", folder, "--include-dashboard", "False"]
    begun: list[Machine] = []
    try:
        begun.append(Machine(*head, "--no-monitor"))
        begun.append(Machine("--address", address))
        yield begun
    finally:
        for machine in reversed(begun):
            machine.end()
        shutil.rmtree(folder, ignore_errors=True)


def gone(pids: list[int], within: float = 60) -> bool:
    """Whether these processes end."""
    deadline = time.monotonic() + within
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.timeout(600)
def test_killed_restarted_and_a_machine_lost(
    tmp_path: Path, address: str, machines: list[Machine]
) -> None:
    """The batch is killed and started again, a machine is lost then; results are those of one
    machine, and the cluster is as it was."""
    clips, out = make_clips(tmp_path / "in"), tmp_path / "out"
    wanted = (f"{clips}/**/*.mp4", "--out", out, "--segment", "8", "--ray", address)
    first = Batch(*wanted, **ENV)
    workers = [first.pid(1), first.pid(2)]
    records = out / ".batch"
    first.until(lambda: any('"done"' in p.read_text() for p in records.glob("*.json")))
    first.process.kill()
    first.end()
    assert gone(workers), "the cluster is cleared of what a killed batch leaves"

    second = Batch(*wanted, **ENV)
    workers = [second.pid(1), second.pid(2)]
    os.kill(machines[1].pid("raylet"), signal.SIGKILL)
    table = second.end()
    assert second.process.returncode == 0, (table, second.err)
    assert re.search(r"worker \d: lost", "".join(second.err)), second.err
    assert " skipped" in table and f"{LONG} " in table and " failed" not in table
    assert gone(workers)
    assert machines[0].pid("raylet") and machines[0].pid("gcs_server"), "it runs on"
    for number in range(SHORTS):
        ours = load(out / f"{number}.mp4.jsonl")
        assert len(ours) == SHORT
        same(ours, alone(clips / f"{number}.mp4", tmp_path))
    same(load(out / "x" / "long.mp4.jsonl"), alone(clips / "x" / "long.mp4", tmp_path))

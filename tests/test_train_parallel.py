"""Two processes under torchrun learn what one learns.

With gloo, batch normalisation takes its statistics from each process's share of a batch, so
equality is that of a network without it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch (posestream[train])")
pytest.importorskip("safetensors", reason="training needs safetensors (posestream[train])")

import train_toy as toy  # noqa: E402

from train import checkpoint  # noqa: E402
from train.config import Config  # noqa: E402
from train.loop import Run, train  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SMALL = (
    "--data", "spots", "--val", "spots", "--epochs", "3", "--batch", "6", "--warmup", "5",
    "--rate", "0.01", "--amp", "off", "--device", "cpu", "--threads", "1", "--workers", "0",
)  # fmt: skip
TOY = {"norm": False, "count": 27}


def start(command: list[str], out: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """Start one training command; command is what comes before the script."""
    script = str(ROOT / "tests" / "train_toy.py")
    toy_values = json.dumps({**TOY, "slow": 0.02 if arguments else 0})
    return subprocess.Popen(
        [sys.executable, *command, script, "pose", "--out", str(out), *SMALL, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOY": toy_values, "OMP_NUM_THREADS": "1",
             **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


@pytest.fixture
def port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.timeout(300)  # five interpreters that load torch
def test_two_processes_equal_one(tmp_path: Path, port: str) -> None:
    config = Config(
        "pose", data=("spots",), val=("spots",), epochs=3, batch=6, warmup=5, rate=0.01, amp="off"
    )
    alone = toy.SpotTask(config, norm=False, count=27)
    assert train(alone, config, tmp_path / "one", Run("cpu", 0, 1)) == 0
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    job = start(torchrun, tmp_path / "two")
    said, _ = job.communicate(timeout=200)
    assert job.returncode == 0, said
    assert said.count("pose: ") == 1, "only the first process speaks"
    one, two = checkpoint.newest(tmp_path / "one"), checkpoint.newest(tmp_path / "two")
    assert one and two
    for ours, theirs in ((one.weights, two.weights), (one.ema, two.ema)):
        for name, value in ours.items():
            torch.testing.assert_close(theirs[name], value, rtol=1e-4, atol=1e-6)
    names = {"best.safetensors", "log.csv", "model.onnx", "sheet.png"}
    assert names <= {p.name for p in (tmp_path / "two").iterdir()}
    assert len((tmp_path / "two" / "log.csv").read_text().splitlines()) == 4


@pytest.mark.timeout(300)
def test_a_lost_process_ends_the_job_and_spoils_nothing(tmp_path: Path, port: str) -> None:
    """Without torchrun, which would end the others as well."""
    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    first, second = (
        start([], tmp_path, "--save-every", "0", "--epochs", "500", RANK=rank, **address)
        for rank in ("0", "1")
    )
    deadline = time.monotonic() + 180
    while len(checkpoint.names(tmp_path)) < 2:
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.05)
    second.kill()
    second.communicate()
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 7, said
    lines = [line for line in said.splitlines() if line.startswith("posestream: error: ")]
    assert len(lines) == 1 and "another process of this job was lost" in lines[0]
    assert "Traceback" not in said
    point = checkpoint.newest(tmp_path)
    assert point and all(bool(t.isfinite().all()) for t in point.weights.values())


def process_of(rank: int, port: str) -> int:
    """The process that torchrun has started with this rank, 0 before it has."""
    wanted = {f"RANK={rank}".encode(), f"MASTER_PORT={port}".encode()}
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted <= set(place.read_bytes().split(b"\0")):
                return int(place.parent.name)
        except OSError:  # it has ended, or is somebody else's
            continue
    return 0


@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_torchrun_saves_when_a_process_is_lost(tmp_path: Path, port: str) -> None:
    """No checkpoint was due: what is there was made when the other process was gone."""
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    out = tmp_path / "out"
    job = start(torchrun, out, "--save-every", "1000", "--epochs", "500", "--validate-every", "500")
    assert job.stdout
    with job:
        assert any("weights, float32 on cpu" in line for line in job.stdout)
        time.sleep(2)  # some steps
        assert not checkpoint.names(out)
        os.kill(process_of(1, port), signal.SIGKILL)
        said = job.stdout.read()
    assert job.returncode != 0, said
    assert "saved in epoch" in said or "stopped (SIGTERM) in epoch" in said, said
    point = checkpoint.newest(out)
    assert point, said
    assert all(bool(t.isfinite().all()) for t in point.weights.values())

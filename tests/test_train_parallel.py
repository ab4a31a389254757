"""Two processes under torchrun learn what one learns.

Whole runs are compared with a small network. Of the pose network the gradients of a step are: its
optimiser makes large steps of gradients that are almost zero, and of their rounding.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (posestream[train])")
pytest.importorskip("safetensors", reason="training needs safetensors (posestream[train])")

import train_step  # noqa: E402
import train_toy as toy  # noqa: E402

from realtime.errors import UsageError  # noqa: E402
from train import checkpoint, demo_data  # noqa: E402
from train.config import Config  # noqa: E402
from train.loop import Run, train  # noqa: E402
from train.parallel import Team  # noqa: E402

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


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Labelled people of the demo scene, for --data."""
    folder = tmp_path_factory.mktemp("people")
    return f"{demo_data.write_set(folder, 6, 2, (320, 240), suffix='jpg')},{folder}"


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


@pytest.mark.parametrize("name", ["narrow", "hint_weight"])
def test_what_only_one_process_can_learn_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written; each of them says so."""
    crew = Team(1, 2, torch.device("cpu"))
    monkeypatch.setattr("train.loop.team", lambda device: contextlib.nullcontext(crew))
    config = toy.config(**{name: 0.5})
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}: for one process alone"):
        train(toy.SpotTask(config), config, tmp_path / "out", Run("cpu", 0, 1))
    assert not (tmp_path / "out").exists()


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


def process_of(*values: str, within: float = 150) -> int:
    """The process that has these in its environment, as soon as torchrun has started it."""
    wanted, deadline = {value.encode() for value in values}, time.monotonic() + within
    while time.monotonic() < deadline:
        for place in Path("/proc").glob("[0-9]*/environ"):
            try:
                if wanted <= set(place.read_bytes().split(b"\0")):
                    return int(place.parent.name)
            except OSError:  # it has ended, or is somebody else's
                continue
        time.sleep(0.1)
    raise AssertionError(f"no process with {values}")


def parent(process: int) -> int:
    """Which process has started it."""
    status = Path(f"/proc/{process}/stat").read_text()
    return int(status.rpartition(")")[2].split()[1])


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
        os.kill(process_of("RANK=1", f"MASTER_PORT={port}"), signal.SIGKILL)
        said = job.stdout.read()
    assert job.returncode != 0, said
    assert "saved in epoch" in said or "stopped (SIGTERM) in epoch" in said, said
    point = checkpoint.newest(out)
    assert point, said
    assert all(bool(t.isfinite().all()) for t in point.weights.values())


@pytest.mark.timeout(300)  # two interpreters that load torch
def test_a_step_of_the_pose_network_has_the_gradients_of_one(
    tmp_path: Path, port: str, people: str
) -> None:
    """Its batch normalisation sees the whole batch, and joints that are not labelled, of which one
    share has more than the other, do not count."""
    script = str(ROOT / "tests" / "train_step.py")
    outs = [tmp_path / "one.npz", tmp_path / "two.npz"]
    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    env = {**os.environ, **address, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pair = [
        subprocess.Popen([sys.executable, script, str(outs[1]), people], env={**env, "RANK": rank})
        for rank in ("0", "1")
    ]
    threads = torch.get_num_threads()
    train_step.main(str(outs[0]), people)
    torch.set_num_threads(threads)
    assert [process.wait(timeout=200) for process in pair] == [0, 0]
    found = [dict(np.load(out)) for out in outs]
    one, two = found
    labelled, share = one.pop("labelled"), two.pop("labelled")
    assert labelled[0] != labelled[1] and share.sum() in labelled
    assert len(one) > 100 and one.keys() == two.keys()
    length = {name: float(np.linalg.norm(value)) for name, value in one.items()}
    apart = {n: float(np.linalg.norm(one[n] - two[n])) / (length[n] or 1) for n in one}
    # Sums that almost cancel out: the samples in another order move them by a hundredth as well.
    assert max(apart.values()) < 0.1, max(apart.items(), key=lambda item: item[1])
    assert float(np.median(list(apart.values()))) < 1e-4
    assert max(value for name, value in apart.items() if "running" in name) < 1e-4


@pytest.mark.timeout(400)
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_two_machines_of_which_one_loses_its_process(
    tmp_path: Path, port: str, people: str
) -> None:
    """The real command under a torchrun for each machine, on this one."""
    out = tmp_path / "out"
    torchrun = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1",
        "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", port,
    ]  # fmt: skip
    command = [
        "-m", "train", "pose", "--out", str(out), "--data", people, "--input-wh", "96x128",
        "--batch", "4", "--epochs", "500", "--validate-every", "500", "--save-every", "1000",
        "--threads", "1", "--workers", "0", "--device", "cpu", "--amp", "off",
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    logs = [tmp_path / f"{name}.txt" for name in ("first", "second")]
    machines = []
    for log in logs:
        with log.open("w") as file:
            machines.append(
                subprocess.Popen([*torchrun, *command], env=env, stdout=file, stderr=file)
            )
    try:
        first = process_of("RANK=0", f"TORCHELASTIC_RUN_ID={port}")
        second = process_of("RANK=1", f"TORCHELASTIC_RUN_ID={port}")
        assert {parent(first), parent(second)} == {machine.pid for machine in machines}
        deadline = time.monotonic() + 150
        while not any("weights, float32 on cpu" in log.read_text() for log in logs):
            assert time.monotonic() < deadline and all(m.poll() is None for m in machines)
            time.sleep(0.1)
        time.sleep(3)  # some steps
        assert not checkpoint.names(out)
        os.kill(second, signal.SIGKILL)
        codes = [machine.wait(timeout=150) for machine in machines]
    finally:
        for machine in machines:
            machine.terminate()  # nothing where it has ended
            machine.wait(60)
    told = "".join(log.read_text() for log in logs)
    assert all(codes), told
    point = checkpoint.newest(out)
    assert point, told
    assert all(bool(t.isfinite().all()) for t in point.weights.values())

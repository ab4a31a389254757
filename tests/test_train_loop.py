"""The training loop: exact resume, stopping, what it writes, what it refuses."""

from __future__ import annotations

import contextlib
import csv
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from realtime.errors import InputError, OutOfMemory, OutputError, StageError, UsageError

torch = pytest.importorskip("torch", reason="training needs torch (posestream[train])")
pytest.importorskip("safetensors", reason="training needs safetensors (posestream[train])")

import train_toy as toy  # noqa: E402

from train import checkpoint, memory  # noqa: E402
from train.arithmetic import Watch  # noqa: E402
from train.batches import Batches, default_workers, telling_of_losses  # noqa: E402
from train.checkpoint import Checkpoint  # noqa: E402
from train.config import Config  # noqa: E402
from train.curves import Curves, told_once  # noqa: E402
from train.loop import Run, train  # noqa: E402
from train.muon import orthogonal  # noqa: E402
from train.parallel import Team  # noqa: E402
from train.progress import Progress  # noqa: E402
from train.schedule import Ema, optimiser, rate_at  # noqa: E402

STEPS = 5
"""Of an epoch of 20 samples in batches of 4."""


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Curves and TensorBoard take longer than the toy run; few tests look at them."""
    if "pictures" in request.node.name:
        return
    monkeypatch.setattr("train.curves._has_matplotlib", lambda: False)
    if "events" not in request.node.name:
        monkeypatch.setattr("train.curves._tensorboard", lambda folder: None)


class StopsItself(toy.SpotTask):
    """Sends this process a signal at a loss or a validation, counted from 1."""

    def __init__(
        self, config: Config, at_loss: int = 0, at_measure: int = 0, **values: Any
    ) -> None:
        super().__init__(config, **values)
        self.at_loss, self.at_measure = at_loss, at_measure
        self.number = signal.SIGTERM

    def loss(self, net: Any, batch: Any) -> Any:
        self.at_loss -= 1
        if self.at_loss == 0:
            os.kill(os.getpid(), self.number)
        return super().loss(net, batch)

    def validate(self, net: Any) -> Any:
        self.at_measure -= 1
        if self.at_measure == 0:
            threading.Timer(0.2, os.kill, (os.getpid(), self.number)).start()
            time.sleep(30)
        return super().validate(net)


def _run(task: Any, out: Path, **values: Any) -> int:
    return train(task, task.config, out, Run(**{"device": "cpu", "workers": 0, **values}))


def _end(out: Path) -> Checkpoint:
    point = checkpoint.newest(out)
    assert point
    return point


def _assert_same(one: Any, two: Any, where: str = "") -> None:
    """Equal to the last bit, in all depths; seconds are not compared."""
    assert type(one) is type(two), where
    if isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one.keys() - {"seconds"}:
            _assert_same(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list):
        for index, (a, b) in enumerate(zip(one, two, strict=True)):
            _assert_same(a, b, f"{where}.{index}")
    elif isinstance(one, torch.Tensor):
        assert one.dtype == two.dtype and torch.equal(one, two), where
    else:
        assert one == two, where


def _assert_same_run(one: Path, two: Path) -> None:
    a, b = _end(one), _end(two)
    for part in ("weights", "ema", "state"):
        _assert_same(getattr(a, part), getattr(b, part), part)
    for rows in zip(_rows(one), _rows(two), strict=True):
        for row in rows:
            row.pop("seconds")
        assert rows[0] == rows[1]


def _rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
@pytest.mark.parametrize("stops", [[2 * STEPS], [1, 3, 9], [7]], ids=["edge", "often", "inside"])
def test_an_interrupted_run_ends_with_the_same_bits(
    amp: str, stops: list[int], tmp_path: Path
) -> None:
    config = toy.config(amp=amp)
    assert _run(toy.SpotTask(config), tmp_path / "whole") == 0
    done = 0
    for stop in stops:
        task = StopsItself(config, at_loss=stop - done)
        assert _run(task, tmp_path / "cut") == 0
        at = _end(tmp_path / "cut").state["at"]
        assert STEPS * at["epoch"] + at["position"] == stop
        torch.manual_seed(stop)  # a new process has another state
        done = stop
    assert _run(toy.SpotTask(config), tmp_path / "cut") == 0
    _assert_same_run(tmp_path / "whole", tmp_path / "cut")


class Wide(toy.SpotTask):
    """Its network has convolutions inside, for Muon."""

    def network(self, there: Any = None) -> Any:
        def conv(inputs: int, outputs: int) -> list[Any]:
            return [torch.nn.Conv2d(inputs, outputs, 3, 2, 1), torch.nn.ReLU()]

        net = toy.SpotNet()
        last = torch.nn.Linear(20 * 4, 2)
        net.body = torch.nn.Sequential(*conv(3, 24), *conv(24, 20), *conv(20, 20))
        net.body.extend([torch.nn.Flatten(), last])
        return net


@pytest.mark.parametrize("stop", [STEPS, 7], ids=["edge", "inside"])
def test_muon_goes_on_with_the_same_bits(stop: int, tmp_path: Path) -> None:
    config = toy.config(optimiser="muon", amp="bf16")

    class Stops(StopsItself, Wide):
        pass

    assert _run(Wide(config), tmp_path / "whole") == 0
    assert _run(Stops(config, at_loss=stop), tmp_path / "cut") == 0
    torch.manual_seed(1)
    assert _run(Wide(config), tmp_path / "cut") == 0
    _assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_muon_leaves_first_and_last_layers_to_adamw() -> None:
    net = Wide(toy.config()).network()
    groups = optimiser(net, toy.config(optimiser="muon", weight_decay=0.1)).param_groups
    convolutions = [net.body[2].weight, net.body[4].weight]
    assert [id(p) for p in groups[0]["params"]] == [id(p) for p in convolutions]
    assert [(g["weight_decay"], len(g["params"])) for g in groups[1:]] == [(0.1, 2), (0.0, 4)]


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (24, 24)])
@pytest.mark.parametrize("low", [False, True])
def test_muon_steps_are_orthogonal(
    shape: tuple[int, int], low: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the singular value decomposition: its directions, and about equal sizes; on a CPU
    with instructions for bf16 and on one without."""
    monkeypatch.setattr("train.muon.has_bf16", lambda _: low)
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    change = orthogonal(matrix)
    assert change.dtype == (torch.bfloat16 if low else torch.float32)
    made = u.T @ change.float() @ vh.T
    sizes = made.diagonal()[s > 0.02 * s.norm()]
    assert ((sizes > 0.6) & (sizes < 1.3)).all()
    assert (made - made.diagonal().diag()).abs().max() < 0.05


def test_muon_learns_what_adamw_learns(tmp_path: Path) -> None:
    config = toy.config(epochs=40, batch=20, optimiser="muon", ema=0.9)
    assert _run(Wide(config, count=60), tmp_path, validate_every=20) == 0
    rows = _rows(tmp_path)
    assert float(rows[-1]["loss"]) < 0.2 * float(rows[0]["loss"])
    assert float(rows[-1]["error"]) < 0.12


def test_stopped_while_measuring_it_measures_again(tmp_path: Path) -> None:
    config = toy.config()
    assert _run(toy.SpotTask(config), tmp_path / "whole") == 0
    start = time.monotonic()
    assert _run(StopsItself(config, at_measure=2), tmp_path / "cut") == 0
    assert time.monotonic() - start < 10
    assert checkpoint.names(tmp_path / "cut")[-1] == checkpoint.name_of(1, STEPS)
    assert _run(toy.SpotTask(config), tmp_path / "cut") == 0
    _assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_processes_make_the_same_samples(tmp_path: Path) -> None:
    config = toy.config(epochs=2)
    assert _run(toy.SpotTask(config), tmp_path / "here") == 0
    assert _run(StopsItself(config, at_loss=7), tmp_path / "there", workers=2) == 0
    assert _run(toy.SpotTask(config), tmp_path / "there", workers=1) == 0
    _assert_same_run(tmp_path / "here", tmp_path / "there")


@pytest.mark.parametrize(
    ("meminfo", "limit", "each"),
    [
        ("MemTotal: 9 kB\nMemAvailable:   4096 kB\n", "max\n", 1 << 17),
        ("MemAvailable: 4096 kB\n", "2097152\n", 1 << 16),
        ("MemAvailable: 999999999 kB\n", None, 1 << 30),
        (None, None, 1 << 30),
    ],
)
def test_all_processes_share_a_quarter_of_the_memory(
    meminfo: str | None, limit: str | None, each: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One process that makes samples, in each of eight that torchrun started."""
    for name, text in (("MEMINFO", meminfo), ("CGROUP", limit)):
        monkeypatch.setattr(memory, name, tmp_path / name)
        if text is not None:
            (tmp_path / name).write_text(text)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    task = toy.SpotTask(toy.config())
    batches = Batches(task, 4, Team(0, 1, torch.device("cpu")), 1)
    batches.close()
    assert task.limit_bytes == each


def test_default_workers_are_of_our_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert default_workers() == 7
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert default_workers() == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert default_workers() == 0


class Unreadable(toy.SpotTask):
    def sample(self, epoch: int, index: int) -> Any:
        if index == 9:
            raise InputError("nine.jpg: cannot be read")
        return super().sample(epoch, index)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_picture_is_named(workers: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^nine.jpg: cannot be read$"):
        _run(Unreadable(toy.config()), tmp_path, workers=workers)


class Mortal(toy.SpotTask):
    def sample(self, epoch: int, index: int) -> Any:
        if index == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().sample(epoch, index)


def test_a_killed_sample_process_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="fewer --workers") as error:
        _run(Mortal(toy.config()), tmp_path, workers=1)
    assert "\n" not in str(error.value)


OWNER = """
import sys, time
import torch, train_toy
from train.batches import Batches
from train.parallel import Team

if __name__ == "__main__":
    task = train_toy.SpotTask(train_toy.config())
    batches = Batches(task, 4, Team(0, 1, torch.device("cpu")), 2)
    next(made := batches.epoch(0, 0))
    print(*(child.pid for child in batches._children), flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sample_processes_end_with_a_training_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "owner.py").write_text(OWNER)
    paths = os.pathsep.join([str(Path(toy.__file__).parent), *sys.path])
    owner = subprocess.Popen(
        [sys.executable, tmp_path / "owner.py"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    with owner:
        assert owner.stdout
        workers = [int(pid) for pid in owner.stdout.readline().split()]
        owner.kill()
    assert len(workers) == 2
    end = time.monotonic() + 10
    while left := [pid for pid in workers if Path(f"/proc/{pid}").exists()]:
        if time.monotonic() > end:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            pytest.fail(f"still there: {left}")
        time.sleep(0.05)


def test_a_lost_process_is_known_from_the_thread_that_reads_from_it() -> None:
    with pytest.raises(StageError, match="fewer --workers"), telling_of_losses(set()):
        raise RuntimeError("Pin memory thread exited unexpectedly")


def test_after_a_broken_picture_a_run_goes_on_where_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config = toy.config()
    assert _run(toy.SpotTask(config), tmp_path / "whole") == 0
    with pytest.raises(InputError, match="nine.jpg"):
        _run(Unreadable(config), tmp_path / "cut")
    assert checkpoint.names(tmp_path / "cut") == [checkpoint.name_of(0, 2)]
    assert caplog.messages[-1] == "saved in epoch 1 of 3; run it again to go on"
    assert _run(toy.SpotTask(config), tmp_path / "cut") == 0
    _assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nto"), " (CUDA out of memory. Tried)"),
        (RuntimeError("can't allocate memory: 5 bytes"), " (can't allocate memory: 5 bytes)"),
        (RuntimeError("CUDA error: out of memory\nmore"), " (CUDA error: out of memory)"),
        (MemoryError(), ""),
    ],
)
@pytest.mark.parametrize("where", ["network", "loss"])
def test_full_memory_is_one_line(where: str, error: Exception, says: str, tmp_path: Path) -> None:
    class Large(toy.SpotTask):
        pass

    def fail(*_: Any) -> Any:
        raise error

    setattr(Large, where, fail)
    with pytest.raises(OutOfMemory) as caught:
        _run(Large(toy.config()), tmp_path)
    assert str(caught.value) == f"out of memory{says}; lower --batch"
    assert not checkpoint.names(tmp_path)


def test_other_failures_stay_what_they_are(tmp_path: Path) -> None:
    class Wrong(toy.SpotTask):
        def loss(self, net: Any, batch: Any) -> Any:
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="^shapes differ$"):
        _run(Wrong(toy.config()), tmp_path)


def _hang_up(end: Any, seconds: float) -> None:
    end.close()
    time.sleep(seconds)


@pytest.mark.parametrize(("stays", "error"), [(0.3, StageError), (60, EOFError)])
def test_a_broken_connection_to_a_sample_process_is_told_if_it_is_gone(
    stays: float, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections of a killed process break a moment before its end is seen."""
    monkeypatch.setattr("train.batches.REAPED_S", 10.0 if stays < 1 else 0.1)
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_hang_up, args=(theirs, stays))
    child.start()
    theirs.close()
    try:
        with pytest.raises(error), telling_of_losses({child}):
            ours.recv()
    finally:
        child.kill()
        child.join()


def test_numbers_that_are_not_finite_end_the_run(tmp_path: Path) -> None:
    task = toy.SpotTask(toy.config(), bad=(1, 10))
    with pytest.raises(StageError) as error:
        _run(task, tmp_path)
    assert error.value.exit_code == 7
    text = str(error.value)
    assert text.startswith(
        "the loss or its gradient is nan at epoch 2, step 8 (samples 8, 9, 10, 11"
    )
    assert text.endswith(f"checkpoint {checkpoint.name_of(1, 0)} is from before")
    point = _end(tmp_path)
    assert checkpoint.names(tmp_path) == [checkpoint.name_of(1, 0)]
    assert all(bool(t.isfinite().all()) for t in [*point.weights.values(), *point.ema.values()])


class LateWatch(Watch):
    """As on a GPU: numbers are looked at steps later."""

    def add(self, step: int, value: torch.Tensor) -> None:
        self._late = [*getattr(self, "_late", []), (step, value)]

    def drain(self, left: int = 0) -> None:
        for step, value in self._late:
            super().add(step, value)


def test_the_best_is_finite_where_numbers_come_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.learner.Watch", LateWatch)
    with pytest.raises(StageError, match="is nan at epoch 1, step 5 "):
        _run(toy.SpotTask(toy.config(val=[]), bad=(0, 19)), tmp_path)
    assert not (tmp_path / "best.safetensors").exists()


def test_a_gradient_that_is_not_finite_is_noticed_before_it_is_used(tmp_path: Path) -> None:
    class Steep(toy.SpotTask):
        def loss(self, net: Any, batch: Any) -> Any:
            loss, parts = super().loss(net, batch)
            return loss + 0 * (loss - loss.detach()).abs().sqrt(), parts

    with pytest.raises(StageError, match="is nan at epoch 1, step 1 "):
        _run(Steep(toy.config()), tmp_path, save_every=0)
    assert not checkpoint.names(tmp_path)


def test_minutes_end_a_run_that_can_go_on(tmp_path: Path) -> None:
    config = toy.config()
    assert _run(toy.SpotTask(config), tmp_path / "whole") == 0
    codes = 0
    while not (tmp_path / "cut" / "log.csv").exists() or len(_rows(tmp_path / "cut")) < 3:
        assert _run(toy.SpotTask(config, slow=0.02), tmp_path / "cut", minutes=0.3 / 60) == 0
        codes += 1
    assert codes > 2
    _assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_saved_inside_an_epoch(tmp_path: Path) -> None:
    with pytest.raises(StageError):
        _run(toy.SpotTask(toy.config(), bad=(1, 10)), tmp_path, save_every=0)
    assert checkpoint.names(tmp_path)[-1] == checkpoint.name_of(1, 2)


def test_other_options_are_refused_by_name(tmp_path: Path) -> None:
    assert _run(toy.SpotTask(toy.config(epochs=1)), tmp_path) == 0
    other = toy.SpotTask(toy.config(epochs=2, rate=0.5))
    differ = r"--epochs 2 \(there 1\), --rate 0\.5 \(there 0\.01\); use"
    with pytest.raises(UsageError, match=differ):
        _run(other, tmp_path)
    with pytest.raises(UsageError, match="had 20 samples, now 24"):
        _run(toy.SpotTask(toy.config(epochs=1), count=24), tmp_path)


def test_where_a_run_was_stopped_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also while the model file is written, when no epoch is left."""
    caplog.set_level("INFO")

    class Late(toy.SpotTask):
        def write(self, net: Any, path: str, trained: str) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            super().write(net, path, trained)

    config = toy.config(epochs=2)
    assert _run(StopsItself(config, at_loss=STEPS + 1), tmp_path) == 0
    assert "stopped (SIGTERM) in epoch 2 of 2; run it again" in caplog.text
    assert _run(Late(config), tmp_path) == 0
    assert "stopped (SIGTERM) after the last epoch; run it again" in caplog.text
    assert _run(toy.SpotTask(config), tmp_path) == 0
    assert "; after the last epoch, step 0" in caplog.text and (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(("warmup", "told"), [(5, False), (6, True)])
def test_a_run_that_is_all_warm_up_is_told(
    warmup: int, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert _run(toy.SpotTask(toy.config(epochs=1, warmup=warmup)), tmp_path) == 0
    assert ("--warmup 6: the run has 5 steps" in caplog.text) is told


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    config = toy.config(epochs=1)
    assert _run(toy.SpotTask(config), tmp_path) == 0
    before = (tmp_path / "best.safetensors").read_bytes(), _rows(tmp_path)
    assert _run(toy.SpotTask(config), tmp_path) == 0
    assert ((tmp_path / "best.safetensors").read_bytes(), _rows(tmp_path)) == before


class Peaks(toy.SpotTask):
    """Best after the second of its epochs."""

    def validate(self, net: Any) -> Any:
        found = super().validate(net)
        self.measured = getattr(self, "measured", 0) + 1
        found.numbers["closeness"] = float(self.measured == 2)
        return found


def test_the_best_is_kept_and_exported(tmp_path: Path) -> None:
    from safetensors import safe_open

    assert _run(Peaks(toy.config(epochs=5)), tmp_path) == 0
    kept = [checkpoint.name_of(n, 0) for n in (2, 4, 5)]
    assert checkpoint.names(tmp_path) == kept
    best = checkpoint.read_weights(tmp_path / "best.safetensors")
    _assert_same(best, checkpoint.load(tmp_path / checkpoint.FOLDER / kept[0]).ema)
    with safe_open(str(tmp_path / "best.safetensors"), "pt") as file:
        about = file.metadata()
    assert Config.from_json(about["config"]) == toy.config(epochs=5)
    assert about["epoch"] == "2" and float(about["closeness"]) == 1
    assert (tmp_path / "model.onnx").read_text() == "SpotNet False epoch 2 of 5 on spots"


def test_of_equally_good_ones_the_latest_is_the_best(tmp_path: Path) -> None:
    class Level(toy.SpotTask):
        def validate(self, net: Any) -> Any:
            found = super().validate(net)
            found.numbers["closeness"] = 1.0
            return found

    assert _run(Level(toy.config()), tmp_path) == 0
    _assert_same(checkpoint.read_weights(tmp_path / "best.safetensors"), _end(tmp_path).ema)


def test_without_measuring_the_latest_is_the_best(tmp_path: Path) -> None:
    assert _run(toy.SpotTask(toy.config(val=[])), tmp_path) == 0
    _assert_same(checkpoint.read_weights(tmp_path / "best.safetensors"), _end(tmp_path).ema)
    assert "closeness" not in _rows(tmp_path)[0]


def test_measured_now_and_then(tmp_path: Path) -> None:
    assert _run(toy.SpotTask(toy.config(epochs=5)), tmp_path, validate_every=2) == 0
    assert [bool(row["closeness"]) for row in _rows(tmp_path)] == [False, True, False, True, True]
    assert [row["epoch"] for row in _rows(tmp_path)] == ["1", "2", "3", "4", "5"]


def test_it_learns(tmp_path: Path) -> None:
    config = toy.config(epochs=40, batch=20, schedule="step", ema=0.9)
    assert _run(toy.SpotTask(config, count=60), tmp_path, validate_every=20) == 0
    rows = _rows(tmp_path)
    assert float(rows[-1]["loss"]) < 0.2 * float(rows[0]["loss"])
    assert float(rows[-1]["error"]) < 0.12
    assert float(rows[-1]["rate"]) == pytest.approx(1e-4)


def test_pictures_and_events_of_each_epoch(tmp_path: Path) -> None:
    import cv2

    pytest.importorskip("matplotlib", reason="draws curves with matplotlib")
    pytest.importorskip("tensorboard", reason="writes TensorBoard events")
    assert _run(toy.SpotTask(toy.config(epochs=2)), tmp_path) == 0
    curves = cv2.imread(str(tmp_path / "curves.png"))
    assert curves.shape[0] > 200 and curves.shape[1] > 600
    assert len(np.unique(curves.reshape(-1, 3), axis=0)) > 20, "an empty picture"
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (16, 64, 3)
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"loss x" in events.read_bytes() and b"closeness" in events.read_bytes()


def test_events_that_cannot_be_written_are_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A full disk, for example; the thread that writes them fails later than it was asked to."""
    pytest.importorskip("tensorboard", reason="events need tensorboard")
    curves = Curves(tmp_path)
    shutil.rmtree(tmp_path / "tensorboard")
    with told_once(), pytest.raises(OutputError, match="tensorboard: cannot be written: No such"):
        for n in range(100):  # more than are kept in memory
            curves.add({"epoch": n, "samples": n, "loss": 0.5})
    with contextlib.suppress(OutputError):
        curves.close()
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_not_installed_is_said_and_left_out_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("matplotlib.figure", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    caplog.set_level(logging.INFO, "train")
    assert _run(toy.SpotTask(toy.config(epochs=1)), tmp_path) == 0
    left_out = [r.message for r in caplog.records if "left out" in r.message]
    assert [text.split()[0] for text in left_out] == ["TensorBoard", "curves.png", "model.onnx"]
    assert not (tmp_path / "curves.png").exists() and not (tmp_path / "model.onnx").exists()


def test_a_log_of_something_else_is_refused(tmp_path: Path) -> None:
    config = toy.config(epochs=2)
    assert _run(StopsItself(config, at_loss=7), tmp_path) == 0
    (tmp_path / "log.csv").write_text("what,is\nthis,now\n")
    with pytest.raises(OutputError, match=r"log\.csv: not the log"):
        _run(toy.SpotTask(config), tmp_path)


def test_no_samples_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no samples"):
        _run(toy.SpotTask(toy.config(), count=0), tmp_path)


def test_a_smaller_only_batch_is_used(tmp_path: Path) -> None:
    assert _run(toy.SpotTask(toy.config(batch=32), count=6), tmp_path) == 0
    assert [row["samples"] for row in _rows(tmp_path)] == ["6", "12", "18"]


# ---- its parts ----


@pytest.mark.parametrize(
    ("schedule", "at", "share"),
    [
        ("constant", 999, 1.0), ("cosine", 0, 0.1), ("cosine", 500, 0.51), ("cosine", 1000, 0.02),
        ("step", 649, 1.0), ("step", 650, 0.1), ("step", 900, 0.01), ("step", 4, 0.5),
    ],
)  # fmt: skip
def test_learning_rate(schedule: str, at: int, share: float) -> None:
    config = toy.config(schedule=schedule, rate=2.0, warmup=10)
    assert rate_at(at, 1000, config) == pytest.approx(2 * share)


def test_averaged_weights_follow_the_formula() -> None:
    net = toy.SpotNet()
    ema = Ema(net, 0.5)
    wanted = {k: v.clone().double() for k, v in net.state_dict().items()}
    for step in range(20):
        for tensor in net.state_dict().values():
            tensor.add_(step + 1)
        ema.update(net, step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            whole = not value.is_floating_point()
            wanted[name] = value if whole else decay * wanted[name] + (1 - decay) * value
        for name, value in ema.net.state_dict().items():  # at the end the first are forgotten
            np.testing.assert_allclose(value.numpy(), wanted[name].numpy(), rtol=1e-5)
    assert not ema.net.training


def test_norms_and_biases_do_not_decay() -> None:
    groups = optimiser(toy.SpotNet(), toy.config(weight_decay=0.1)).param_groups
    assert [(g["weight_decay"], len(g["params"])) for g in groups] == [(0.1, 3), (0.0, 5)]


@pytest.mark.parametrize(
    ("count", "samples", "shares"),
    [(1, range(4, 9), [range(4, 9)]), (2, range(4, 9), [range(4, 6), range(6, 8)])],
)
def test_shares_of_a_batch(count: int, samples: range, shares: list[range]) -> None:
    teams = [Team(rank, count, torch.device("cpu")) for rank in range(count)]
    assert [each.share(samples) for each in teams] == shares
    with pytest.raises(UsageError, match="raise --batch"):
        Team(0, 6, torch.device("cpu")).share(samples)


def test_progress_line() -> None:
    progress = Progress(steps=1000, in_epoch=100, samples=32, done=0, enabled=True)
    line = progress.line(250, {"loss": 0.25}, 1e-3, speed=2.0)
    assert line == ("epoch 3 [######......] 50/100  6 min left  64.0/s  loss 0.25  rate 0.001")
    assert progress.line(100, {}, 1e-3, 0.0).startswith("epoch 1 [############] 100/100")


def test_two_signals() -> None:
    """The first is remembered, or ends waiting; a second Ctrl-C ends the process at once."""
    code = (
        "import os, signal, time\n"
        "from train.stopping import Stop, Stopped\n"
        "with Stop() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    assert (stop.reason, stop.exit_code) == ('SIGTERM', 0)\n"
        "    try:\n"
        "        with stop.waiting(): raise SystemExit('not reached')\n"
        "    except Stopped: print('stopped', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(9)\n"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout) == (130, b"stopped\n")

"""The training loop: exact resume, stopping, what it writes, what it refuses."""

from __future__ import annotations

import csv
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch (posestream[train])")
pytest.importorskip("safetensors", reason="training needs safetensors (posestream[train])")

import train_toy as toy  # noqa: E402

from train import checkpoint  # noqa: E402
from train.checkpoint import Checkpoint  # noqa: E402
from train.config import Config  # noqa: E402
from train.loop import Run, train  # noqa: E402

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
    """Curves and TensorBoard take longer than the toy run; one test looks at them."""
    if "pictures" not in request.node.name:
        monkeypatch.setattr("train.curves._has_matplotlib", lambda: False)
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


def test_stopped_while_measuring_it_measures_again(tmp_path: Path) -> None:
    config = toy.config()
    assert _run(toy.SpotTask(config), tmp_path / "whole") == 0
    start = time.monotonic()
    assert _run(StopsItself(config, at_measure=2), tmp_path / "cut") == 0
    assert time.monotonic() - start < 10
    assert checkpoint.names(tmp_path / "cut")[-1] == checkpoint.name_of(1, STEPS)
    assert _run(toy.SpotTask(config), tmp_path / "cut") == 0
    _assert_same_run(tmp_path / "whole", tmp_path / "cut")


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


@pytest.mark.parametrize("amp", ["off", "bf16"])
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

"""Networks that give nonsense, nobody, a crowd, or run out of memory, by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commandline import Result, finish, lines, start, times
from test_run import fails

from realtime.errors import OutOfMemory, UsageError
from realtime.faults import parse_fault
from realtime.halving import Halving

ENDS = {"pose:nan": 36, "detect:crowd:1000": 2, "pose:oom:8": 9}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Result]]:
    """Each fault in a run of its own: its folder and how it ended."""
    started = {}
    for fault, end in ENDS.items():
        folder = tmp_path_factory.mktemp("run")
        outputs = ("--json", folder / "d.jsonl", "--report", folder / "r.json")
        started[fault] = (
            folder,
            start("--input", "demo", "--headless", "--end", end, *outputs, POSESTREAM_FAULT=fault),
        )
    return {fault: (folder, finish(p, 110)) for fault, (folder, p) in started.items()}


def no_constant(name: str) -> None:
    raise AssertionError(name)


@pytest.mark.parametrize("fault", ENDS)
def test_every_run_ends_well_with_numbers_only(
    runs: dict[str, tuple[Path, Result]], fault: str
) -> None:
    folder, result = runs[fault]
    assert result.code == 0, result.err
    text = (folder / "d.jsonl").read_text()
    for line in text.splitlines():
        json.loads(line, parse_constant=no_constant)
    assert len(text.splitlines()) == ENDS[fault]
    told = json.loads((folder / "r.json").read_text())
    assert told["frames_written"] == ENDS[fault] and told["ledger_errors"] == []


def people(folder: Path) -> list[int]:
    return [len(line["people"]) for line in lines(folder / "d.jsonl")]


def test_joints_that_are_no_numbers_are_left_out_counted_and_said(
    runs: dict[str, tuple[Path, Result]],
) -> None:
    folder, result = runs["pose:nan"]
    assert sum(people(folder)) == 0 and "no finite joint in 30 frames" in result.err
    assert json.loads((folder / "r.json").read_text())["failed_people"] > 40


def test_a_thousand_people(runs: dict[str, tuple[Path, Result]]) -> None:
    folder, result = runs["detect:crowd:1000"]
    assert all(count <= 100 for count in people(folder))  # the best ones
    assert result.err.count("more than 100 people in a frame") == 1
    assert json.loads((folder / "r.json").read_text())["rss_mb"] < 2048


def test_full_memory_of_the_gpu_halves_the_batches(runs: dict[str, tuple[Path, Result]]) -> None:
    folder, result = runs["pose:oom:8"]
    assert result.err.count("going on with batches of") == 1, result.err
    assert sum(people(folder)) > 9


def test_without_any_memory_and_death(tmp_path: Path) -> None:
    some = ("--input", "demo", "--headless", "--batch", "2")
    full = start(*some, "--json", tmp_path / "d", POSESTREAM_FAULT="pose:oom:0")
    dead = start(*some, "--output", tmp_path / "v.mp4", POSESTREAM_FAULT="render:die@30")
    fails(finish(full, 110), 5, "GPU memory is full")
    assert finish(dead, 110).code == 99 and len(times(tmp_path / "v.mp4")) > 10


class Small:
    """A network with room for so many pictures; its result is the mean of each."""

    engine, precision, device, why, spec = "e", "p", "d", "w", None

    def __init__(self, room: int) -> None:
        self.room, self.calls = room, list[int]()

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        self.calls.append(len(batch))
        if len(batch) > self.room:
            raise OutOfMemory("full")
        means = batch.mean((1, 2, 3), dtype=np.float32)
        return [means, means * 2]

    def close(self) -> None:
        self.room = -1


def test_halves_give_the_same_and_are_remembered() -> None:
    small = Small(4)
    network = Halving(small)  # type: ignore[arg-type]
    batch = np.arange(7 * 12, dtype=np.uint8).reshape(7, 2, 2, 3)
    for _ in range(2):
        one, two = network(batch)
        assert np.array_equal(one, batch.mean((1, 2, 3))) and np.array_equal(two, one * 2)
    assert small.calls == [7, 4, 3, 4, 3]
    assert len(network(batch[:0])[0]) == 0
    with pytest.raises(OutOfMemory):
        Halving(Small(0))(batch[:1])  # type: ignore[arg-type]
    network.close()
    assert small.room == -1


def test_halves_are_halved_until_they_fit(caplog: pytest.LogCaptureFixture) -> None:
    """Others may use the GPU as well, and more of it later."""
    small = Small(4)
    network = Halving(small)  # type: ignore[arg-type]
    batch = np.arange(7 * 12, dtype=np.uint8).reshape(7, 2, 2, 3)
    wanted = batch.mean((1, 2, 3))
    for room, most in ((4, 4), (1, 1)):
        small.room = room
        assert np.array_equal(network(batch)[0], wanted)
        assert f"going on with batches of {most}" in caplog.text
        small.calls.clear()
        assert np.array_equal(network(batch)[0], wanted) and max(small.calls) == most
    small.room = 0
    with pytest.raises(OutOfMemory):
        network(batch)
    with pytest.raises(OutOfMemory):
        network(batch[:1])


class Lists(Small):
    """Gives as many rows (B, N, 5) as the fullest of its pictures has people: its first byte."""

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        super().__call__(batch)
        counts = batch[:, 0, 0, 0]
        return [(np.arange(max(counts)) < counts[:, None])[..., None].repeat(5, 2).astype("f4")]


def test_halves_with_lists_of_unequal_length() -> None:
    batch = np.zeros((4, 2, 2, 3), np.uint8)
    batch[:, 0, 0, 0] = [1, 0, 3, 2]
    found = Halving(Lists(2))(batch)[0]  # type: ignore[arg-type]
    assert np.array_equal(found, Lists(4)(batch)[0]) and found.shape == (4, 3, 5)


@pytest.mark.parametrize("text", ["render:nan", "pose:crowd:3", "grab:oom", "detect:crowd:x"])
def test_results_are_those_of_networks(text: str) -> None:
    with pytest.raises(UsageError):
        parse_fault(text)

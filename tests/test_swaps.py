"""Left and right swapped on purpose in the demo scene's truth, and found again."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from commandline import demo
from demo_truth import RATE, perfect
from test_angles import standing
from test_smooth import one

from realtime.api import run
from realtime.records import Poses
from realtime.skeleton import JOINTS, MIRROR
from realtime.swaps import SwapRepair

NOISE = 0.005  # of a person's size


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    """benchmarks/swaps.py as a module."""
    path = Path(__file__).resolve().parent.parent / "benchmarks" / "swaps.py"
    spec = importlib.util.spec_from_file_location("benchmark_swaps", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("where", "noise"), [("in sight", NOISE), ("anywhere", NOISE), ("in sight", 2 * NOISE)]
)
def test_swaps_are_found_and_repaired(measure: ModuleType, where: str, noise: float) -> None:
    """benchmarks/swaps.py measures more noise and other scenes."""
    right, wrong, missed = sum(measure.count(perfect(0), n, noise, where) for n in range(3))
    assert right > 100
    assert right / (right + wrong) >= 0.95
    assert right / (right + missed) >= 0.9


@pytest.mark.parametrize("noise", [0.0, NOISE, 2 * NOISE])
def test_without_swaps_nothing_is_changed(measure: ModuleType, noise: float) -> None:
    assert not measure.count(perfect(0), 0, noise, "never").any()
    repair = SwapRepair()
    for f, poses in enumerate(perfect(0)):
        assert repair(poses, f / RATE) is poses
    assert repair.changed == 0


def test_with_few_frames_only_what_is_sure_is_changed(measure: ModuleType) -> None:
    """benchmarks/swaps.py --rate measures more: fewer swaps are undone, but nothing is damaged."""
    scene, rate = perfect(0, 60, 15.0), 15.0
    counts = [measure.count(scene, n, 2 * NOISE, "in sight", rate) for n in range(3)]
    right, wrong, _ = sum(counts)
    assert right > 5 and right / (right + wrong) >= 0.95
    assert not measure.count(scene, 0, 2 * NOISE, "never", rate).any()


@pytest.mark.parametrize(("distances", "told"), [([0.1] * 9, True), ([0.03] * 9 + [9.0], False)])
def test_what_few_frames_keep_from_being_undone_is_said(distances: list[float], told: bool) -> None:
    repair, time = SwapRepair(), 5.0
    repair(one(0.0), time)
    for distance in distances:
        time += distance
        repair(one(0.0), time)
    assert (repair.note != "") == told


def test_a_run_says_when_swaps_stay() -> None:
    data = Path(__file__).parent / "data"
    networks = {task: data / f"tiny_{task}.onnx" for task in ("detector", "pose")}
    report = run("demo", end=15, stride=5, fix_swaps=True, **networks)  # type: ignore[arg-type]
    assert any("few swaps are undone" in note for note in report["notes"])


def test_a_run_without_swaps_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    for name, more in (("a", ()), ("b", ("--fix-swaps",))):
        result = demo("--json", tmp_path / name, "--end", "40", *more)
        assert result.code == 0 and "few swaps" not in result.err, result.err
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_scores_go_along_and_the_input_stays(measure: ModuleType) -> None:
    repair, frames = SwapRepair(), perfect(0)
    for f, poses in enumerate(frames[:40]):
        repair(poses, f / RATE)
    swapped = measure.with_swaps(frames[40], 40, {(40, n): True for n in frames[40].ids.tolist()})
    copy = swapped.joints_xy.copy()
    found = repair(swapped, 40 / RATE)
    assert np.array_equal(swapped.joints_xy, copy)
    k = int(np.argmax((found.joints_xy != swapped.joints_xy).any((1, 2))))
    assert repair.changed >= 1
    part = (found.joints_xy[k] != swapped.joints_xy[k]).any(1)
    assert np.array_equal(found.joints_xy[k][part], frames[40].joints_xy[k][part])
    assert np.array_equal(found.joint_scores[k][part], frames[40].joint_scores[k][part])


@pytest.mark.parametrize("parts", [("upper",), ("lower",), ("upper", "lower")])
def test_arms_and_legs_are_given_back_on_their_own(parts: tuple[str, ...]) -> None:
    """Swapped for eight frames of somebody who faces us and walks; all else stays, to the bit."""
    repair, start = SwapRepair(), standing()
    legs = np.array([name.endswith(("hip", "knee", "ankle")) for name in JOINTS])
    which = np.where(legs, "lower" in parts, "upper" in parts)
    order = np.where(which, MIRROR, np.arange(len(JOINTS)))
    for f in range(30):
        truth = replace(start, joints_xy=start.joints_xy + np.float32([3 * f, 0]))
        seen = replace(truth, joints_xy=truth.joints_xy[:, order]) if 10 <= f < 18 else truth
        assert np.array_equal(repair(seen, f / RATE).joints_xy, truth.joints_xy), f
    assert repair.changed == 8


def test_joints_that_are_not_sure_are_not_looked_at() -> None:
    repair, start = SwapRepair(), standing()
    for f in range(20):
        xy = start.joints_xy[:, MIRROR] if 10 <= f < 14 else start.joints_xy
        seen = replace(start, joints_xy=xy, joint_scores=np.full((1, 17), 0.29, np.float32))
        assert repair(seen, f / RATE) is seen


def test_nobody_strangers_and_gaps() -> None:
    repair = SwapRepair()
    assert len(repair(Poses.empty(), 0.0)) == 0
    for i in range(5):
        stranger = one(float(i), -1)
        assert repair(stranger, i / RATE) is stranger
    rng = np.random.default_rng(0)
    for time in (1.0, 1.03, 5.0, 0.0, 0.0):  # gaps, back in time, twice the same time
        poses = one(50.0)
        poses.joints_xy[:] = rng.uniform(0, 100, (1, 17, 2))
        assert repair(poses, time) is poses or time == 1.03

"""A little of the fuzzing, and the table of cases, in every run of the tests."""

from __future__ import annotations

import ast
import random
import sys
from functools import cache
from pathlib import Path

import fuzz
import mutants
import pytest
from cases import CASES
from commandline import ROOT

TESTS = ROOT / "tests"


@pytest.mark.parametrize(
    ("kind", "count"), [("video", 60), ("options", 120), ("labels", 40), ("weights", 6)]
)
def test_a_little_of_everything(kind: str, count: int, capfd: pytest.CaptureFixture[str]) -> None:
    code = fuzz.main([kind, "--count", str(count), "--seed", "900000"])
    assert code == 0, capfd.readouterr().out


def test_the_same_number_makes_the_same_case(tmp_path: Path) -> None:
    for name, make in (("v", mutants.video), ("l", mutants.labels), ("w", mutants.weights)):
        made = []
        for turn in "ab":
            folder = tmp_path / f"{name}{turn}"
            folder.mkdir()
            made.append(make(folder, random.Random(5)).read_bytes())
        assert made[0] == made[1]


def test_a_finding_is_one(tmp_path: Path) -> None:
    """The judge is no rubber stamp."""
    for code, err in ((7, ""), (2, ""), (2, "a: error: x\nTraceback"), (3, "x: error: geheim")):
        with pytest.raises(fuzz.Finding):
            fuzz._judge("options", tmp_path, set(), code, err)
    fuzz._judge("options", tmp_path, set(), 2, "posestream: error: x")
    (tmp_path / "strange").touch()
    with pytest.raises(fuzz.Finding, match="strange"):
        fuzz._judge("options", tmp_path, set(), 2, "posestream: error: x")


def test_a_child_that_dies_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child = fuzz.Child("video", tmp_path)
    child._command = [sys.executable, "-c", "import os; input(); os.abort()"]
    assert child.ask(1) == (True, "process died: SIGABRT")
    monkeypatch.setattr(fuzz, "WALL_LIMIT", 1)
    child._command = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert child.ask(2) == (True, "hang or code -9")
    child.close()


@pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")
def test_canaries_stay_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As network files of every task, and as weights to import."""
    import run_camera
    from train.__main__ import main as train

    monkeypatch.chdir(tmp_path)
    video = mutants.seeds(tmp_path / "seeds")[0]
    for path in mutants.canaries(tmp_path):
        for task, other in (("pose", "detector"), ("detector", "pose")):
            arguments = ["--input", str(video), "--headless", f"--{task}", str(path)]
            arguments += [f"--{other}", str(mutants.TINY / f"tiny_{other}.onnx")]
            assert run_camera.carry_out(arguments, run_camera.Stop()) == 5, path.name
        if path.suffix == ".pth":
            pytest.importorskip("torch")
            assert train(["import", str(path), "--out", "o.onnx"]) == 5, path.name
        assert not (tmp_path / "sang").exists(), path.name


@cache
def names(file: str) -> set[str]:
    """The test functions of a file below tests/."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_names_tests_that_exist(case: object) -> None:
    assert case.rank in "AB" and case.tests  # type: ignore[attr-defined]
    for test in case.tests:  # type: ignore[attr-defined]
        if test.startswith("fuzz "):
            assert test.split()[1] in ("video", *fuzz.LINES)
            continue
        file, _, name = test.partition("::")
        assert not name or name.partition("[")[0] in names(file), test


def test_every_case_of_the_list_is_there() -> None:
    wanted = {f"F{n:02d}" for n in range(1, 45)} | {f"T{n}" for n in range(1, 10)}
    assert wanted <= {case.name for case in CASES} and len({c.name for c in CASES}) == len(CASES)

"""The command line of training: options, their file, signals, one-line errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from realtime.errors import UsageError
from train.__main__ import _parser, main
from train.config import Config
from train.run_command import make_config

ROOT = Path(__file__).resolve().parent.parent


def parsed(*arguments: object) -> Config:
    return make_config(_parser().parse_args(["pose", "--out", "x", *map(str, arguments)]))


def test_defaults_are_those_of_the_record() -> None:
    assert parsed() == Config("pose")
    detector = _parser().parse_args(["detector", "--out", "x"])
    assert make_config(detector) == Config("detector")


def test_options_of_every_kind() -> None:
    assert parsed(
        "--data", "a.json,pics,2", "--data", "b.json", "--input-wh", "96x128", "--rate", "1e-2",
        "--epochs", 7, "--amp", "off", "--loss", "softmax", "--depth", 50, "--start", "imagenet",
    ) == Config(
        "pose", data=("a.json,pics,2", "b.json"), input_wh=(96, 128), rate=0.01, epochs=7,
        amp="off", loss="softmax", depth=50, start="imagenet",
    )  # fmt: skip


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'rate = 1\nepochs = 3\ninput-wh = "128x96"\ndata = ["a.json"]\nhalf-body = 0.1\n'
    )
    config = parsed("--config", path, "--epochs", 9)
    assert config == Config(
        "pose", rate=1.0, epochs=9, input_wh=(128, 96), data=("a.json",), half_body=0.1
    )
    path.write_text("input_wh = [64, 64]\n")
    assert parsed("--config", path).input_wh == (64, 64)


def test_a_config_goes_through_json() -> None:
    config = Config("detector", data=("a", "b"), rate=0.1 + 0.2, input_wh=(64, 96))
    assert Config.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"epochs": 0}, "--epochs: 0"), ({"epochs": 1.5}, "--epochs: 1.5 is of the wrong type"),
        ({"rate": float("nan")}, "--rate: nan"), ({"rate": "high"}, "--rate: 'high'"),
        ({"half_body": 1.1}, "--half-body: 1.1"), ({"ema": 1}, "--ema: 1.0"),
        ({"input_wh": [100, 96]}, "--input-wh"), ({"input_wh": [64]}, "--input-wh"),
        ({"input_wh": "64x64"}, "wrong type; give [WIDTH, HEIGHT]"),
        ({"data": "a.json"}, "--data: 'a.json' is of the wrong type; give a list of texts"),
        ({"data": [1]}, "--data"), ({"depth": 19}, "--depth: 19; choose 18, 34"),
        ({"amp": "int8"}, "--amp"), ({"batch": True}, "--batch: True"),
        ({"magic": 1, "trick": 2}, "--magic, --trick: no such training option"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as error:
        Config.from_dict({"task": "pose", **values})
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pose"], "--out"),
        (["pose", "--out", "x", "--rat", "1"], "--rat"),
        (["pose", "--out", "x", "--input-wh", "96"], "96"),
        (["pose", "--out", "x", "--workers", "-1"], "must be 0 to 1024"),
        (["pose", "--out", "x", "--minutes", "nan"], "must be 0 to"),
        (["pose", "--out", "x", "--validate-every", "0"], "at least 1"),
        (["pose", "--out", "x", "--device", "tpu"], "tpu"),
        (["pose", "--out", "x", "--config", "absent.toml"], "absent.toml: cannot read"),
        (["detector", "--out", "x", "--blur", "2"], "--blur: 2.0 is not 0 to 1"),
    ],
)
def test_wrong_usage_is_one_line_and_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("posestream: error: ") and said.count("\n") == 1
    assert says in said


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    for text, says in (
        ("rate = \n", "not a TOML"), ("colour-of = 1\n", "--colour-of: no such"),
        ("workers = 2\nout = 'x'\n", "--out, --workers: .* under .what is learnt. in --help"),
        ("rate = 'x'\n", "--rate: 'x' is of the wrong type"), ("epochs = -3\n", "--epochs: -3 is"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(UsageError, match=f"run.toml: .*{says}"):
            parsed("--config", path)
    with pytest.raises(UsageError, match="^--epochs: -4 is"):
        parsed("--config", path, "--epochs", "-4")


def test_the_file_is_not_blamed_for_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("teacher = 'a.onnx'\n")  # whose name --teacher-weight begins with
    with pytest.raises(UsageError, match="^--teacher-weight: -1.0 is"):
        parsed("--config", path, "--teacher-weight", "-1")
    path.write_text("window_wh = [96, 128]\n")
    assert parsed("--config", path, "--input-wh", "96x128").window_wh == (96, 128)
    with pytest.raises(UsageError, match="run.toml: --window-wh: for the detector"):
        parsed("--config", path)


def test_nothing_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="training needs torch (posestream[train])")
    assert main(["resume", str(tmp_path)]) == 2
    assert "no run to resume" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["pose", "detector"])
def test_the_help_says_what_sizes_are_by_default(
    task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([task, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "0x0" not in told and "320x320 for the detector)" in told


def test_help_needs_no_torch() -> None:
    """Whatever command modules there are, none loads heavy libraries to describe itself."""
    code = (
        "import sys; from train.__main__ import _parser; _parser(); "
        "sys.exit(', '.join({'torch', 'av', 'openvino', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_a_reader_that_has_seen_enough_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """posestream-train eval ... | head"""

    def printing(options: Any) -> int:
        raise BrokenPipeError

    dropped: list[bool] = []
    monkeypatch.setattr("train.check._run", printing)
    monkeypatch.setattr("realtime.console.drop_stdout", lambda: dropped.append(True))
    assert main(["check-data", "any.json"]) == 0
    assert dropped == [True]


# ---- the whole command, in a process of its own ----


class Run:
    """The command ``pose`` with the toy task; what it says is in err, line by line."""

    def __init__(self, *arguments: object, **toy: object) -> None:
        pytest.importorskip("torch", reason="training needs torch (posestream[train])")
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "train_toy.py"), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TOY": json.dumps(toy)},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.err: list[str] = []

    def wait_for(self, words: str) -> None:
        assert self.process.stderr
        while not any(words in line for line in self.err):
            line = self.process.stderr.readline()
            assert line, self.err
            self.err.append(line)

    def finish(self, within: float) -> int:
        try:
            _, rest = self.process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.err += rest.splitlines(keepends=True)
        assert "Traceback" not in rest, rest
        return self.process.returncode


SMALL = ("--data", "d", "--val", "v", "--batch", 4, "--device", "cpu", "--threads", 1)


def test_signals_save_while_a_sample_is_slow(tmp_path: Path) -> None:
    first = Run("pose", "--out", tmp_path, *SMALL, "--epochs", 2, "--workers", 1, slow=20)
    first.wait_for("making")
    start = time.monotonic()
    first.process.send_signal(signal.SIGINT)
    assert first.finish(10) == 130
    assert time.monotonic() - start < 10
    assert "stopped (SIGINT) in epoch 1 of 2; run it again to go on" in first.err[-1]
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["00000-000000"]
    second = Run("resume", tmp_path, "--device", "cpu", "--workers", 0, slow_measure=30)
    second.wait_for("measuring")
    second.process.send_signal(signal.SIGTERM)
    assert second.finish(10) == 0
    assert "00000-000005" in [p.name for p in (tmp_path / "checkpoints").iterdir()]

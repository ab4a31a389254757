"""What the command line tells: versions, how it goes, the summary, accounts that do not add up."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from commandline import ROOT, Result, demo, run
from test_run import fails

from engines.load import find_default, find_tiny
from realtime.about import LIBRARIES
from realtime.run_report import summary
from realtime.version import VERSION


def installed(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def test_version_names_everything() -> None:
    result = run("--version")
    assert result.code == 0 and not result.err
    ours, python, *rest = result.out.splitlines()
    assert ours == f"posestream {VERSION}"
    assert python.startswith(f"python {platform.python_version()} ")
    libraries, weights = rest[: len(LIBRARIES)], rest[len(LIBRARIES) :]
    assert libraries == [f"{name} {installed(name)}" for name in LIBRARIES]
    files = [f(task) for task in ("detector", "pose") for f in (find_default, find_tiny)]
    assert weights[::2] == [
        f"weights {p.name} sha256 {hashlib.sha256(p.read_bytes()).hexdigest()}" for p in files if p
    ]
    assert all(line.startswith("  licence ") for line in weights[1::2])


def at_a_terminal(*arguments: str) -> tuple[int, str]:
    """Run on the demo scene with a terminal as standard error; the exit code and what it shows."""
    import pty

    master, slave = pty.openpty()
    command = [sys.executable, str(ROOT / "run_camera.py"), "--input", "demo", "--headless"]
    process = subprocess.Popen([*command, *arguments], stderr=slave)
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 4096):
            shown += piece
    except OSError:  # Linux says so that nobody writes any more
        pass
    finally:
        os.close(master)
    return process.wait(), shown.decode()


@pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
def test_progress_is_for_terminals_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    some = ("--end", "12", "--json", str(tmp_path / "d.jsonl"), "--overwrite")
    code, shown = at_a_terminal(*some)
    assert code == 0
    bar, _, after = shown.rpartition("\r\x1b[K")
    assert "\r\x1b[K[" in bar and "/12  " in bar and " fps  " in bar
    assert after.startswith("12 frames captured, ")  # the line has made room
    assert at_a_terminal(*some, "--quiet") == (0, "")
    monkeypatch.setenv("TERM", "dumb")  # that of an editor
    code, shown = at_a_terminal(*some)
    assert code == 0 and shown.startswith("12 frames captured, ") and "\x1b" not in shown
    piped = demo(*some)
    assert piped.code == 0 and piped.err.startswith("12 frames captured, ")
    assert "\r" not in piped.err and "\x1b" not in piped.err


def test_the_summary_has_12_lines_at_most(tmp_path: Path) -> None:
    outputs: list[object] = ["--output", tmp_path / "v.mp4", "--json", tmp_path / "j.jsonl"]
    for name in ("a.csv", "b.npz", "c.mat", "d.trc", "csv-wide:e.csv", "coco:f.json"):
        kind, _, file = name.rpartition(":")
        outputs += ["--data", f"{kind}{':' * bool(kind)}{tmp_path / file}"]
    result = demo(*outputs, "--end", "12", "--report", tmp_path / "r.json")
    assert result.code == 0, result.err
    assert 4 <= len(result.err.splitlines()) <= 12, result.err
    report = json.loads((tmp_path / "r.json").read_text())
    assert sum(report["crops"].values()) >= report["people"] > 0
    assert len(report["sinks"]) == 8
    assert f"{tmp_path / 'v.mp4'}: 12 frames, 0.4 s" in result.err.splitlines()
    assert result.err.splitlines() == summary(report)


def test_the_worst_summary_has_12_lines_and_ends_with_the_accounts(tmp_path: Path) -> None:
    assert demo("--end", "2", "--quiet", "--report", tmp_path / "r.json").code == 0
    report: dict[str, Any] = json.loads((tmp_path / "r.json").read_text())
    lost = {"frames": 0, "dropped": {"disk full": 2}, "error": "no space"}
    report |= {
        "damage": "cut", "failed": 1, "reconnects": 3, "bad_packets": 4, "failed_people": 5,
        "sinks": {f"output {n}": lost for n in range(9)}, "frames_written": 2,
        "notes": ["cut", "one", "two", "three"], "ledger_errors": ["1 vanished", "2 vanished"],
    }  # fmt: skip
    lines = summary(report)
    assert len(lines) == 12 and lines[1] == "warning: cut" and lines[-1] == "1 vanished"
    report |= {"damage": "", "reconnects": 0, "bad_packets": 0, "sinks": {}, "ledger_errors": []}
    report["notes"] = ["one", "two", "three"]
    assert "1 more note, see --report" in summary(report)
    report["notes"].append("four")
    assert "2 more notes, see --report" in summary(report)


def test_the_summary_names_the_files_of_the_recording(tmp_path: Path) -> None:
    told = tmp_path / "r.json"
    result = demo(
        "--end", "36", "--segment", "1", "--output", tmp_path / "v.mp4", "--report", told
    )  # fmt: skip
    files = [str(tmp_path / name) for name in ("v.mp4", "v_2.mp4")]
    assert f"{files[0]} to {files[-1]}: 36 frames, 1.2 s" in result.err.splitlines()
    assert json.loads(told.read_text())["recording"] == {
        "first": files[0], "last": files[1], "frames": 36, "seconds": 1.2,
    }  # fmt: skip


def test_accounts_that_do_not_add_up_are_exit_7(tmp_path: Path) -> None:
    """No such mistake is known, so one is made: the source counts a frame too many."""
    code = (
        "import sys; from realtime.ledger import Ledger; right = Ledger.settle\n"
        "def settle(self, *rest): self.captured += 1; return right(self, *rest)\n"
        "Ledger.settle = settle\n"
        "from run_camera import main; sys.exit(main())"
    )
    told = tmp_path / "r.json"
    done = subprocess.run(
        [sys.executable, "-c", code, "--input", "demo", "--headless", "--end", "2",
         "--json", str(tmp_path / "d.jsonl"), "--report", str(told)],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    result = Result(done.returncode, done.stdout, done.stderr)
    fails(result, 7, "the ledger does not add up: 3 frames captured, but json accounts for 2")
    assert json.loads(told.read_text())["exit_code"] == 7

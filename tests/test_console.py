"""What the program says, where, and in which order it looks for mistakes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commandline import ROOT, demo, run
from test_run import fails

import run_camera
import train.stopping
from realtime import cli
from realtime.batch.__main__ import _Signals
from realtime.command import Parser
from realtime.stop import Stop


def test_wrong_places_are_told_before_inputs_and_outputs(tmp_path: Path) -> None:
    taken = tmp_path / "taken.mp4"
    taken.write_bytes(b"mine")
    fails(run("--input", "missing.mp4", "--compute", "banana"), 2, "--compute banana")
    fails(run("--input", "demo", "--threads", 0, "--output", taken), 2, "--threads 0")


def test_no_password_is_in_a_traceback(tmp_path: Path) -> None:
    """Libraries name the address as it was given to them."""
    code = f"""
import logging
from pathlib import Path
from realtime.console import set_up_logging
set_up_logging(Path({str(tmp_path / "log")!r}), 2, False)
try:
    raise OSError("cannot open http://me:hush@host/x?access_token=hush&n=1")
except OSError:
    logging.getLogger("posestream").exception("lost")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    for told in (done.stderr, (tmp_path / "log").read_text(encoding="utf-8")):
        assert "Traceback" in told and "***@host/x" in told and "hush" not in told


@pytest.mark.parametrize("terminal", [True, False])
def test_a_message_takes_the_place_of_the_progress_line(terminal: bool) -> None:
    code = f"""
import io, json, logging, sys

class Stream(io.StringIO):
    def isatty(self):
        return {terminal}

from realtime.console import set_up_logging
from realtime.progress import Progress
sys.stderr = Stream()
set_up_logging(None, 0, False)
Progress(300, True).update(30)
logging.getLogger("posestream").warning("slow")
print(json.dumps(sys.stderr.getvalue()))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    *before, told = json.loads(done.stdout).split("\r\x1b[K")
    assert told == "posestream: WARNING: slow\n"
    assert ["30/300" in text for text in before] == ([False, True] if terminal else [])


def test_errors_and_warnings_are_in_the_log_file_also_when_quiet(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    result = run("--input", "missing.mp4", "--quiet", "--log-file", log)
    assert result.code == 3 and len(result.errors) == 1
    assert result.errors[0].removeprefix("posestream: error: ") in log.read_text("utf-8")
    result = demo("--end", 2, "--json", tmp_path / "a.jsonl", "--quiet", "-v", "--log-file", log)
    assert result.code == 0 and result.err == ""
    assert " posestream: INFO: " in log.read_text("utf-8")


ODD = "m\udcffde"
"""The name of a file from a system with another encoding, as Python has it."""
needs_bytes = pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes on Linux")


@needs_bytes
def test_a_name_in_another_encoding_is_in_report_status_and_log(tmp_path: Path) -> None:
    result = demo(
        "--end", 2, "--screenshot", tmp_path / f"{ODD}.png", "--report", tmp_path / "r.json",
        "--status-file", tmp_path / "s.json",
    )  # fmt: skip
    assert result.code == 0 and (tmp_path / f"{ODD}.png").exists()
    report = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert any(ODD in note for note in report["notes"])
    taken = tmp_path / f"{ODD}.csv"
    taken.touch()
    log = tmp_path / "log.txt"
    fails(
        demo("--data", taken, "--status-file", tmp_path / "s.json", "--log-file", log), 4, "exists"
    )
    told = json.loads((tmp_path / "s.json").read_text("utf-8"))
    assert told["state"] == "failed" and ODD in told["error"]
    assert "m\\udcffde.csv: exists" in log.read_text("utf-8")


@pytest.mark.parametrize(
    "code",
    [
        "from realtime.command import exit_code; exit_code(lambda: print('m\\udcffde'))",
        "from engines import __main__ as engines; engines.COMMANDS['list'] = lambda _: print("
        "'m\\udcffde'); engines.main(['list'])",
    ],
)
def test_what_has_no_letters_is_printed_as_escapes(code: str) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "m\\udcffde\n", "")


@pytest.mark.parametrize(
    ("work", "code"), [("print('a')", 0), ("(_ for _ in ()).throw(KeyboardInterrupt)", 130)]
)
def test_a_command_whose_reader_has_gone_or_that_is_stopped_says_nothing(
    work: str, code: int
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = f"from realtime.command import exit_code; raise SystemExit(exit_code(lambda: {work}))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writer)
    assert (done.returncode, done.stderr) == (code, "")


def test_media_foundation_is_told_before_opencv_is_loaded() -> None:
    code = (
        "import os, sys, realtime; assert 'cv2' not in sys.modules; "
        "print(os.environ['OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS'])"
    )
    env = {k: v for k, v in os.environ.items() if k != "OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env, cwd=ROOT
    )
    assert done.stdout.strip() == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="C's exit() is caught on Linux only")
def test_a_mistake_of_ours_has_its_exit_code_also_with_a_window() -> None:
    code = """
import run_camera
from realtime.sinks.exit_guard import on_exit

def fails(*_):
    on_exit(lambda: 4)
    raise KeyError("nobody thought of this")

run_camera.dispatch = fails
raise SystemExit(run_camera.main(["--input", "demo"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 7 and "unexpected KeyError" in done.stderr


def test_a_stop_that_a_library_takes_for_a_missing_library(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """numpy raises ImportError for whatever ends the loading of its C code."""
    stop = Stop()

    def parse(_: object) -> None:
        stop.ask("SIGINT", 130)
        raise ImportError("you should not import numpy from its source directory")

    monkeypatch.setattr(cli, "parse", parse)
    assert run_camera.carry_out([], stop) == 130 and not capsys.readouterr().err


def test_help_that_nobody_takes() -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    Parser().print_help(Gone())


def test_a_mistake_of_ours_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """Not a traceback: those are for --debug."""

    def fails(*_: object) -> int:
        raise KeyError("nobody thought of this")

    monkeypatch.setattr(run_camera, "dispatch", fails)
    assert run_camera.main(["--input", "demo"]) == 7
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("posestream: error: unexpected KeyError: 'nobody thought of this'")


@pytest.mark.parametrize("made", [Stop, train.stopping.Stop, _Signals])
def test_a_signal_that_is_passed_on_twice_is_one(
    made: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C goes to all processes of a terminal; uv run, npm, timeout and others pass it on."""
    now, gone = [100.0], list[int]()
    for name in ("realtime.stop", "train.stopping", "realtime.batch.__main__"):
        monkeypatch.setattr(f"{name}.monotonic", lambda: now[0])
    monkeypatch.setattr(os, "_exit", gone.append)
    stop = made()
    stop.started = True
    stop._on_signal(signal.SIGINT, None)
    now[0] += 0.1
    stop._on_signal(signal.SIGINT, None)
    assert gone == []
    now[0] += 0.2
    stop._on_signal(signal.SIGINT, None)
    assert gone == [130]


def test_a_second_sigterm_does_not_cost_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts send it until the process is gone."""
    gone = list[int]()
    monkeypatch.setattr(os, "_exit", gone.append)
    stop = Stop()
    stop.started = True
    stop._on_signal(signal.SIGTERM, None)
    stop._asked_at -= 60
    stop._on_signal(signal.SIGTERM, None)
    assert gone == []
    stop._on_signal(signal.SIGINT, None)
    assert gone == [130]


SLOW_DISK = """
import sys, os, pathlib, signal, threading
import realtime.stop
from realtime import app
realtime.stop.PATIENCE, realtime.stop.LOOK = 0.2, 0.02
stop = realtime.stop.Stop()
stop.install()
stop.started = True
fsync, done = os.fsync, threading.Event()

def slow(number):
    signal.raise_signal(signal.SIGTERM)  # and the main thread sees no other before this returns
    done.wait(0.6)
    fsync(number)

os.fsync = slow
app.summary = lambda report: ["written"]
from realtime.cli import parse
code = app.conclude(parse(["--input", "demo", "--report", sys.argv[1]]), stop, {"a": 1}, None)
stop.release()
sys.exit(code)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_report_on_a_slow_disk_is_waited_for_after_a_signal(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    done = subprocess.run(
        [sys.executable, "-c", SLOW_DISK, str(path)], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "written\n")
    assert json.loads(path.read_text())["a"] == 1


LOADING = """
import __future__, runpy, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if "realtime.start" in sys.modules:
            signal.raise_signal(signal.SIGINT)  # at the first module that is loaded after it
sys.meta_path.insert(0, Finder())
module, function = sys.argv.pop(), sys.argv.pop()
if function:
    getattr(__import__("realtime.start").start, function)()
else:
    runpy.run_module(module, run_name="__main__")
"""
MODULES = ("run_camera", "realtime.batch", "realtime.clean", "realtime.report", "train", "engines")
COMMANDS = ("posestream", "batch", "clean", "report", "train", "engines")


@pytest.mark.parametrize(
    ("function", "module"), [*(("", m) for m in MODULES), *((c, "") for c in COMMANDS)]
)
def test_ctrl_c_while_a_command_is_loaded_is_no_traceback(function: str, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADING, function, module], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (130, "")


def test_ctrl_c_that_is_not_for_a_command_stays_so() -> None:
    """Of a script's commands with & behind them."""
    code = "signal.signal(signal.SIGINT, signal.SIG_IGN); start.quietly(); start.begun()"
    code += "; signal.raise_signal(signal.SIGINT)"
    code = f"import signal; from realtime import start; {code}"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_run_under_nohup_outlives_its_terminal() -> None:
    code = """
import signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from realtime.start import quietly
from realtime.stop import Stop
quietly(run=True)
stop = Stop()
stop.install()
stop.started = True
signal.raise_signal(signal.SIGHUP)
print(stop.reason)
stop.release()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n")

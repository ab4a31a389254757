"""Runs the real command line in a process of its own, with a hard time limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

_started: list[subprocess.Popen[str]] = []


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The error lines."""
        return [line for line in self.err.splitlines() if line.startswith("posestream: error:")]


def start(*arguments: object, **env: str) -> subprocess.Popen[str]:
    """Start run_camera.py with these arguments; env adds environment variables."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_camera.py"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1", **env},
    )
    _started.append(process)
    return process


def start_python(code: str) -> subprocess.Popen[str]:
    """Start a Python that can import what is here, and wait until it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _started.append(process)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def end_all() -> None:
    """Kill what a failed test has left running; it would disturb others."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
        process.wait()


def finish(process: subprocess.Popen[str], within: float = 60) -> Result:
    """Wait for the process; killed and failed when it takes longer."""
    try:
        out, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still running after {within} s; so far: {err}") from None
    assert "Traceback" not in err, err
    return Result(process.returncode, out, err)


def run(*arguments: object, within: float = 60, **env: str) -> Result:
    return finish(start(*arguments, **env), within)


def demo(*arguments: object, within: float = 60, **env: str) -> Result:
    """Run on the demo scene without a window."""
    return run("--input", "demo", "--headless", *arguments, within=within, **env)


def handles_signals(process: subprocess.Popen[str]) -> bool:
    """Whether the program has begun: until then the interpreter decides what a signal does. Always
    where there is no /proc."""
    try:
        text = Path(f"/proc/{process.pid}/status").read_text()
    except FileNotFoundError:
        return True
    caught = int(next(x for x in text.splitlines() if x.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (signal.SIGHUP - 1) & 1)


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def times(path: Path) -> list[float]:
    """The times of all frames of a video that decode, in seconds."""
    import av  # slow

    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]

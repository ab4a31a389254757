"""Fuzzing: python tests/faults/fuzz.py KIND [--count N] [--seed S] [--whole N] [--keep FOLDER]

KIND: video (damaged videos through the reader), run (the same through the whole program),
options (command lines and configurations), labels (annotation files), weights (model files).

The cases run in process, through the reader or through main(argv), in child processes that are
started again when they die; --whole N further ones run as real command lines. Allowed: a result, or
an error of ours with one line and its exit code. Everything else is a finding: a signal, more than
10 s of CPU time, another exception, a traceback, more than 2 GiB of memory, a canary that sang, a
file where none should be. Findings are printed with the number that makes the case again
(--seed S --count 1) and their files kept. The exit code is 1 when there were any.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mutants  # puts the project on the path
from mutants import ROOT, TINY

CPU_LIMIT, WALL_LIMIT, MEMORY = 10, 120, 2 << 30
NETWORKS = ["--detector", str(TINY / "tiny_detector.onnx"), "--pose", str(TINY / "tiny_pose.onnx")]
Outcome = tuple[str, str]


class Finding(Exception):
    """Something that must not happen."""


def video_case(folder: Path, rng: random.Random) -> str:
    from realtime.errors import InputError
    from realtime.sources.base import Span
    from realtime.sources.file import open_file

    path, last, count = mutants.video(folder, rng), float("-inf"), 0
    try:
        for frame in open_file(path, Span()).frames():
            if not frame.time > last:
                raise Finding(f"time {frame.time} after {last}")
            last, count = frame.time, count + 1
            if count == 2000:
                return "2000 frames"
    except InputError as error:
        _one_line(str(error))
        return "refused"
    return "frames"


def _one_line(text: str) -> None:
    if not text.strip() or "\n" in text:
        raise Finding(f"not one line: {text!r}")


def run_line(folder: Path, rng: random.Random) -> list[str]:
    path = mutants.video(folder, rng)
    return ["--input", path.name, *NETWORKS, "--headless", "--output", "o.mp4", "--json", "o.jsonl"]


def options_line(folder: Path, rng: random.Random) -> list[str]:
    return mutants.arguments(folder, rng)


def labels_line(folder: Path, rng: random.Random) -> list[str]:
    return ["check-data", str(mutants.labels(folder, rng))]


def weights_line(folder: Path, rng: random.Random) -> list[str]:
    path = str(mutants.weights(folder, rng))
    task, other = rng.sample(("pose", "detector"), 2)
    video = str(mutants.seeds(folder.parent / "seeds")[0])
    demo = ["--input", video, "--headless", "--end", "2", "--quiet", f"--{task}", path]
    demo += [f"--{other}", str(TINY / f"tiny_{other}.onnx")]
    more = ["import", path, "--out", "c.onnx"]
    return rng.choice((["engines", "check", path], ["run", *demo], ["train", *more]))


LINES: dict[str, Callable[[Path, random.Random], list[str]]] = {
    "run": run_line, "options": options_line, "labels": labels_line, "weights": weights_line,
}  # fmt: skip
CODES = {"run": {0, 3}, "options": {0, 2, 3, 4}, "labels": {0, 3}, "weights": {0, 2, 3, 5}}
PROGRAMS = {"run": "run_camera", "options": "run_camera", "labels": "train", "weights": ""}
LEAVES = {"o.mp4", "o_2.mp4", "o_3.mp4", "o.jsonl", "c.onnx", "c.toml", "people.json", "w.bin"}
"""Names of files that a case may leave, besides what it was given."""


def main_case(kind: str, folder: Path, rng: random.Random) -> str:
    line = LINES[kind](folder, rng)
    before = {path.name for path in folder.iterdir()}
    program = PROGRAMS[kind] or line.pop(0)
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = _main(program)(line)
    _judge(kind, folder, before, code, err.getvalue(), _asked(folder, line))
    return f"exit {code}"


def _main(program: str) -> Callable[[list[str]], int]:
    if program in ("run", "run_camera"):
        import run_camera

        def left(code: int) -> None:
            raise Finding(f"a thread was left behind, exit code {code}")

        run_camera.leave = left  # type: ignore[assignment]
        return run_camera.main
    module = "train.__main__" if program == "train" else "engines.__main__"
    return __import__(module, fromlist=["main"]).main


def _asked(folder: Path, line: list[str]) -> str:
    """The command line and its configuration, for what only happens on request."""
    config = folder / "c.toml"
    return " ".join(line) + (config.read_text("latin-1") if config.exists() else "")


def _judge(kind: str, folder: Path, before: set[str], code: int, err: str, asked: str = "") -> None:
    """Raise Finding when this is no proper end of a command."""
    if code not in CODES[kind]:
        raise Finding(f"exit code {code}: {err[-300:]}")
    if "Traceback" in err and "debug" not in asked:
        raise Finding(f"traceback: {err[-600:]}")
    if "geheim" in err:
        raise Finding("a password in the messages")
    errors = [line for line in err.splitlines() if ": error:" in line]
    if code and kind in ("run", "options") and len(errors) != 1:
        raise Finding(f"{len(errors)} error lines: {err[-300:]}")
    if (folder / "sang").exists():
        raise Finding("the canary sang")
    new = {path.name for path in folder.iterdir()} - before - LEAVES
    if len(new) > ("status-file" in asked):
        raise Finding(f"new files {sorted(new)}")
    if kind == "run" and (folder / "o.mp4").exists():
        import commandline

        commandline.times(folder / "o.mp4")


def peak_bytes() -> int:
    """The most memory that this process has had."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    # ru_maxrss begins at what the process has that started this one
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def work() -> None:
    """A child: reads numbers, makes and runs the case of each, and answers with a line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    kind, base = sys.argv[2], Path(sys.argv[3])
    warnings.simplefilter("error", ResourceWarning)
    for text in sys.stdin:
        seed = int(text)
        folder = base / f"case{seed}"
        folder.mkdir(parents=True)
        os.chdir(folder)
        rng = random.Random(seed)
        try:
            told = video_case(folder, rng) if kind == "video" else main_case(kind, folder, rng)
            found = False
        except BaseException as error:
            told, found = f"{type(error).__name__}: {error}", True
        peak = peak_bytes()
        if peak > MEMORY and not found:
            told, found = f"{peak >> 20} MiB of memory", True
        os.chdir(base)
        if not found:
            shutil.rmtree(folder)
        print(json.dumps([found, told[:700]]), file=answers, flush=True)


class Child:
    """A worker that is started again when it dies or takes too long."""

    def __init__(self, kind: str, base: Path) -> None:
        self._command = [sys.executable, __file__, "--work", kind, str(base)]
        self._process: subprocess.Popen[str] | None = None

    def ask(self, seed: int) -> tuple[bool, str]:
        process = self._process or self._start()
        self._process, before = process, _cpu(process.pid)
        assert process.stdin and process.stdout
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(f"{seed}\n")
            process.stdin.flush()
        line = self._wait(process, before)
        if line:
            found, told = json.loads(line)
            return bool(found), str(told)
        process.kill()
        with contextlib.suppress(BrokenPipeError):
            process.communicate()
        code, self._process = process.returncode, None
        ended = signal.Signals(-code).name if code < 0 and code != -9 else f"code {code}"
        return True, f"hang or {ended}" if code == -9 else f"process died: {ended}"

    def _start(self) -> subprocess.Popen[str]:
        env = {**os.environ, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=env,
        )  # fmt: skip

    def _wait(self, process: subprocess.Popen[str], before: float) -> str:
        """Its answer, empty when it died or took too long (the first case loads libraries)."""
        import select

        assert process.stdout
        began = time.monotonic()
        while not select.select([process.stdout], [], [], 0.2)[0]:
            slow = _cpu(process.pid) - before > CPU_LIMIT * (3 if before < 1 else 1)
            if slow or time.monotonic() - began > WALL_LIMIT:
                return ""
        return process.stdout.readline()

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _cpu(pid: int) -> float:
    """Seconds of CPU time of a process."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def whole(kind: str, base: Path, seed: int) -> tuple[bool, str]:
    """One case as a real command line."""
    folder = base / f"case{seed}"
    folder.mkdir(parents=True)
    rng = random.Random(seed)
    if kind == "video":
        kind = "run"
    line = LINES[kind](folder, rng)
    before = {path.name for path in folder.iterdir()}
    program = PROGRAMS[kind] or line.pop(0)
    start = [str(ROOT / "run_camera.py")] if program in ("run", "run_camera") else ["-m", program]
    env = {**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)}
    if any("\0" in word for word in line):
        return False, "no command line"
    try:
        done = subprocess.run(
            [sys.executable, *start, *line], cwd=folder, env=env, timeout=WALL_LIMIT,
            capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        if done.returncode < 0:
            raise Finding(f"signal {-done.returncode}: {done.stderr[-300:]}")
        _judge(kind, folder, before, done.returncode, done.stderr, _asked(folder, line))
    except (Finding, subprocess.TimeoutExpired) as error:
        return True, f"{' '.join(line)}: {error}"
    shutil.rmtree(folder)
    return False, f"exit {done.returncode}"


def cases(kind: str, base: Path, seed: int, count: int, wholes: int) -> Iterator[tuple[int, Any]]:
    """The number of each case with (whether it is a finding, what happened)."""
    child = Child(kind, base)
    try:
        for number in range(seed, seed + count):
            yield number, child.ask(number)
    finally:
        child.close()
    for number in range(seed + count, seed + count + wholes):
        yield number, whole(kind, base, number)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("kind", choices=("video", *LINES))
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--whole", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files of findings")
    given = parser.parse_args(argv)
    base = given.keep or Path(tempfile.mkdtemp(prefix="fuzz"))
    base = base.resolve()
    mutants.seeds(base / "seeds")
    told, findings, began = Counter[str](), 0, time.monotonic()
    for number, (found, text) in cases(given.kind, base, given.seed, given.count, given.whole):
        told["finding" if found else text] += 1
        if found:
            findings += 1
            print(f"{given.kind} {number}: {text}", flush=True)
    print(
        f"{given.kind}: {given.count} in process, {given.whole} whole, seed {given.seed},"
        f" {time.monotonic() - began:.0f} s: {dict(told.most_common())}"
    )
    if not given.keep and not findings:
        shutil.rmtree(base)
    return int(findings > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work()
    else:
        sys.exit(main(sys.argv[1:]))

"""Outputs, standard streams, windows, signals and kills through the real command line."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from commandline import (
    ROOT,
    Result,
    finish,
    handles_signals,
    lines,
    run,
    start,
    start_python,
    times,
)
from test_run import fails, tiny, wait_for
from test_sink_window import Display, ask_to_close, needs_x

from realtime.cli import parse
from realtime.errors import ModelError, OutputError
from realtime.job import open_job
from realtime.stop import Stop

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX shells and signals")
DEMO = ("--input", "demo", "--headless")


@pytest.fixture(scope="module")
def display() -> Iterator[Display]:
    server = Display()
    yield server
    server.kill()


@pytest.fixture
def doomed() -> Iterator[Display]:
    """A display of the test's own, to be killed."""
    server = Display()
    yield server
    server.kill()


def xdotool(display: Display, *arguments: str) -> list[str]:
    """The words it prints; none when it finds nothing."""
    env = {**os.environ, "DISPLAY": display.name}
    done = subprocess.run(["xdotool", *arguments], env=env, capture_output=True, text=True)
    return done.stdout.split()


needs_windows = pytest.mark.skipif(
    shutil.which("xdotool") is None or shutil.which("Xvfb") is None, reason="needs Xvfb, xdotool"
)


def report(path: Path) -> dict[str, Any]:
    told = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(told, dict) and told["ledger_errors"] == []
    return told


def shell(script: str, *arguments: object, cwd: Path | None = None, **env: str) -> Result:
    """Run the command line from a shell, as "$@" in script."""
    command = [sys.executable, str(ROOT / "run_camera.py"), *map(str, arguments)]
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        cwd=cwd,
        env={**os.environ, "PYTHONUTF8": "1", **env},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


@posix
@pytest.mark.parametrize(
    ("script", "code", "count"),
    [
        ('"$@" 2>&-', 0, 3),
        ('"$@" 2>/dev/full', 0, 3),
        ('"$@" >&-', 4, 0),
        ('"$@" >/dev/full', 4, 0),
        ('"$@" | head -1', 0, 1),
    ],
)
def test_standard_streams_closed_full_or_abandoned(script: str, code: int, count: int) -> None:
    if "/dev/full" in script and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    frames = "300" if "head" in script else "3"
    result = shell(script, *DEMO, "--json", "-", "--quiet", "--end", frames)
    assert result.code == code and len(result.out.splitlines()) == count
    assert len(result.errors) == (code > 0) and len(result.err.splitlines()) == (code > 0)


@posix
def test_with_all_standard_streams_closed_the_files_are_whole(tmp_path: Path) -> None:
    """A closed stream leaves its number to the next file, into which libraries would print."""
    video, data, told = tmp_path / "v.mp4", tmp_path / "d.jsonl", tmp_path / "r.json"
    result = shell(
        '"$@" <&- >&- 2>&-', *DEMO, "--end", "5", "--output", video, "--json", data,
        "--report", told, "-vv",
    )  # fmt: skip
    assert result.code == 0
    assert len(times(video)) == len(lines(data)) == report(told)["frames_written"] == 5


@posix
def test_answers_nobody_takes() -> None:
    if Path("/dev/full").exists():
        fails(shell('"$@" >/dev/full', "--print-config"), 4, "standard output")
    assert shell('"$@" | true', "--print-config").err == ""
    assert shell('"$@" | true', "--help").err == ""


@posix
def test_a_full_disk_ends_one_output_and_not_the_others(tmp_path: Path) -> None:
    """A limit of 1000 blocks of 512 bytes on every file stands for the disk."""
    video, data, told = tmp_path / "v.mp4", tmp_path / "d.jsonl", tmp_path / "r.json"
    more = (*DEMO, "--end", "45", "--output", video)
    result = shell('ulimit -f 1000; "$@"', *more, "--json", data, "--report", told)
    assert result.code == 0, result.err
    assert f"{video}: cannot write more" in result.err
    there = len(times(video))
    recorded = report(told)["sinks"]["record"]
    assert recorded == {
        "frames": there, "dropped": {"record.failed": 45 - there}, "error": recorded["error"],
        "notes": recorded["notes"],
    }  # fmt: skip
    assert 0 < there < 45 == len(lines(data))
    assert f"record: only {there} of them" in result.err


@posix
def test_a_full_disk_ends_the_run_with_its_last_output(tmp_path: Path) -> None:
    video, told = tmp_path / "v.mp4", tmp_path / "r.json"
    result = shell('ulimit -f 60; "$@"', *DEMO, "--output", video, "--report", told)
    fails(result, 4, f"{video}: cannot write more", "nothing to play")
    assert report(told)["frames_written"] == 0 and report(told)["exit_code"] == 4
    assert not video.exists()


@posix
def test_outputs_that_cannot_be_are_refused_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    model = tmp_path / "tiny.onnx"
    model.write_bytes(Path(tiny()[1]).read_bytes())
    image = tmp_path / "images" / "1.png"
    image.parent.mkdir()
    image.write_bytes(b"precious")
    cases: list[tuple[tuple[object, ...], int, str]] = [
        (("--output", fifo), 4, "not an ordinary file"),
        (("--report", tmp_path / "no" / "r.json"), 4, "create it first"),
        (("--json", model, "--overwrite", "--detector", model), 2, "tiny.onnx"),
        (("--log-file", model, "--detector", model), 2, "tiny.onnx"),
        (("--log-file", image, "--input", image.parent), 2, "1.png"),
        (("--output", tmp_path / f"{'n' * 300}.mp4"), 4, "cannot be created"),
        (("--log-file", tmp_path), 2, "--log-file"),
    ]
    for process, (_, code, word) in [(start(*DEMO, *case[0]), case) for case in cases]:
        fails(finish(process), code, word)
    assert model.stat().st_size > 100_000 and image.read_bytes() == b"precious"
    assert not (tmp_path / "no").exists()


@posix
def test_odd_places_to_start_from(tmp_path: Path) -> None:
    """Relative names, no home, no locale; then a current folder that is gone."""
    (tmp_path / "ü").mkdir()
    env = {"LC_ALL": "C", "HOME": "/nonexistent"}
    some = (*DEMO, "--end", "3", "--quiet")
    result = shell('"$@"', *some, "--output", "ü/測.mp4", "--json", "d.jsonl", cwd=tmp_path, **env)
    assert result.code == 0, result.err
    assert len(times(tmp_path / "ü" / "測.mp4")) == len(lines(tmp_path / "d.jsonl")) == 3
    gone = 'cd "$(mktemp -d)" && rmdir "$PWD" && unset HOME && "$@"'
    assert shell(gone, *some, "--json", tmp_path / "e.jsonl").code == 0
    fails(shell(gone, *some, "--json", "e.jsonl"), 4, "e.jsonl")


@posix
def test_signals_at_random_moments(tmp_path: Path) -> None:
    """While starting, loading and running: quickly gone, the right code, files that play."""
    rng = random.Random(5)
    codes = {signal.SIGINT: 130, signal.SIGTERM: 0, signal.SIGHUP: 0}
    for turn in range(2):
        processes = {
            n: start(*DEMO, "--live", "--output", tmp_path / f"{turn}{n}.mp4") for n in codes
        }
        while not all(handles_signals(process) for process in processes.values()):
            time.sleep(0.05)
        for number, process in processes.items():
            time.sleep(rng.uniform(0.2, 0.4) if turn == 0 else rng.uniform(0.5, 1.5))
            process.send_signal(number)
            result = finish(process, within=30)
            assert result.code == codes[number] and "stuck for" not in result.err
    for video in tmp_path.glob("*.mp4"):
        assert len(times(video)) > 0


@posix
@pytest.mark.parametrize(
    ("number", "live", "kept"),
    [
        (signal.SIGINT, (), True),
        (signal.SIGTERM, (), True),
        (signal.SIGINT, ("--live",), True),
        (signal.SIGTERM, ("--live",), False),
    ],
)
def test_old_files_wait_for_the_end_of_the_source(
    tmp_path: Path, number: int, live: tuple[str, ...], kept: bool
) -> None:
    """Live, for somebody who ends the run; Ctrl-C is never taken for that."""
    video, data, arrays, folder = (tmp_path / name for name in ("v.mp4", "d.jsonl", "a.npz", "p"))
    folder.mkdir()
    for old in (video, data, arrays, folder / "a_keypoints.json"):
        old.write_text("old")
    process = start(
        *DEMO, *live, "--output", video, "--json", data, "--data", arrays,
        "--data", f"openpose:{folder}", "--overwrite", POSESTREAM_FAULT="pose:sleep:0.2@*",
    )  # fmt: skip
    backups = [path.with_name(f"{path.name}.bak") for path in (video, data, arrays, folder)]
    wait_for(lambda: backups[1].exists() and data.exists() and len(lines(data)) > 2)
    process.send_signal(number)
    result = finish(process, within=20)
    assert result.code == (130 if number == signal.SIGINT else 0), result.err
    assert len(times(video)) > 2 and arrays.stat().st_size > 3
    assert {path for path in backups if path.exists()} == set(backups if kept else ())
    told = [line for line in result.err.splitlines() if "ends early" in line]
    assert len(told) == len(backups if kept else ())
    assert all(any(str(path) in line for line in told) for path in backups if kept)


ANSWER = "from realtime.command import exit_code; raise SystemExit(exit_code(lambda: print(1)))"


@posix
@pytest.mark.parametrize(("end", "code"), [(">&-", 0), (">/dev/full", 4)])
@pytest.mark.parametrize("command", [("-m", "engines", "cache"), ("-c", ANSWER)])
def test_answers_of_other_commands_that_go_nowhere(
    command: tuple[str, ...], end: str, code: int
) -> None:
    if "/dev/full" in end and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    done = subprocess.run(
        ["sh", "-c", f'"$@" {end}', "sh", sys.executable, *command],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "No space left" in done.stderr if code else not done.stderr
    assert done.stderr.count("\n") == bool(code)


@posix
def test_a_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    process = start(
        *DEMO, "--output", video, "--json", tmp_path / "d", POSESTREAM_FAULT="json:sleep:30@8"
    )
    wait_for(lambda: (tmp_path / "d").exists() and len(lines(tmp_path / "d")) == 8)
    wait_for(lambda: plays(video))
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    result = finish(process)
    assert result.code == 130 and "left behind" not in result.err
    assert len(times(video)) > 0


def plays(video: Path) -> bool:
    """Whether frames of it can be read already."""
    try:
        return len(times(video)) > 0
    except av.error.FFmpegError:
        return False


STUCK = """
import hashlib, realtime.stop
realtime.stop.PATIENCE = 0.5
stop = realtime.stop.Stop()
stop.install()
stop.rescue = lambda: print("rescued", flush=True)
stop.started = True
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)  # minutes inside a library
"""


@posix
def test_a_signal_ends_a_process_that_is_stuck_in_a_library() -> None:
    process = start_python(STUCK)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "rescued\n")
    assert "stuck for 0.5 s after SIGINT" in err


@posix
def test_a_second_interrupt_leaves_at_once_what_is_stuck_in_a_library() -> None:
    patient = STUCK.replace("PATIENCE = 0.5", "PATIENCE = 60")
    process = subprocess.Popen(
        [sys.executable, "-c", patient], cwd=ROOT, text=True, stdout=subprocess.PIPE
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    wait_for(lambda: process.send_signal(signal.SIGINT) or process.poll() is not None)
    assert process.communicate() == ("", None) and process.returncode == 130


@posix
def test_a_kill_costs_less_than_a_second_of_footage(tmp_path: Path) -> None:
    video, data = tmp_path / "v.mp4", tmp_path / "d.jsonl"
    process = start(*DEMO, "--live", "--output", video, "--json", data)
    wait_for(lambda: data.exists() and data.stat().st_size > 0)
    time.sleep(1.3)
    process.kill()
    process.communicate()
    whole = data.read_text().splitlines()
    assert times(video)[-1] > json.loads(whole[-1])["time"] - 1


def test_a_live_source_under_overload_stays_fresh(tmp_path: Path) -> None:
    told, data = tmp_path / "r.json", tmp_path / "d.jsonl"
    result = run(
        *DEMO, "--live", "--end", "60", "--json", data, "--report", told,
        POSESTREAM_FAULT="pose:sleep:0.2@*",
    )  # fmt: skip
    assert result.code == 0, result.err
    says = report(told)
    assert says["frames_captured"] == 60 == says["frames_written"] + says["dropped"]["grab.stale"]
    assert says["dropped"]["grab.stale"] > 25 and says["bottleneck"] == "pose"
    assert says["latency_ms"]["p99"] < 2500  # 12 s when frames queued up
    moments = [line["time"] for line in lines(data)]
    assert moments == sorted(moments) and moments[-1] > 1.5


def test_without_a_display_the_program_goes_on_without_a_window() -> None:
    bare = run("--input", "demo", "--end", "2", DISPLAY="")
    assert bare.code == 0 and "no display here" in bare.err and "--json" in bare.err
    shown = run("--input", "demo", "--show", "--json", "-", "--end", "2", DISPLAY=":63.0")
    assert shown.code == 0 and len(shown.out.splitlines()) == 2
    assert "no display here" in shown.err


@pytest.mark.parametrize(
    ("asked", "error"),
    [(["--detector", "none.onnx"], ModelError), (["--data", "none/a.csv"], OutputError)],
)
def test_a_run_that_cannot_begin_says_nothing_of_windows(
    asked: list[str],
    error: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("realtime.opening.display_available", lambda: False)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    settings = parse(["--input", str(tmp_path / "a.png"), "--show", *asked])
    with ExitStack() as cleanup, pytest.raises(error, match="none"):
        open_job(settings, Stop(), cleanup)
    assert caplog.messages == []


def test_a_run_that_leaves_nothing_says_so() -> None:
    says = "posestream: WARNING: nothing is kept or shown of this run; --output and --json keep"
    bare = run(*DEMO, "--end", "2")
    assert bare.code == 0 and [says in line for line in bare.err.splitlines()].count(True) == 1
    assert run(*DEMO, "--end", "2", "--quiet").err == ""
    assert "nothing is kept" not in run(*DEMO, "--end", "2", "--json", "-").err
    assert len(run("--input", "no.mp4", "--headless").err.splitlines()) == 1  # no run, no word


@needs_windows
@needs_x
def test_the_window_is_quit_by_key_and_by_closing(tmp_path: Path, display: Display) -> None:
    for way in ("q", "close"):
        video = tmp_path / f"{way}.mp4"
        process = start(
            "--input", "demo", "--live", "--show", "--output", video, DISPLAY=display.name
        )
        wait_for(lambda v=video: v.exists() and v.stat().st_size > 50_000)
        (window,) = xdotool(display, "search", "--name", "posestream")
        if way == "q":
            xdotool(display, "windowfocus", window, "key", "q")
        else:
            ask_to_close(display.name, int(window))
        began = time.perf_counter()
        result = finish(process, within=10)
        assert result.code == 0 and time.perf_counter() - began < 3, result.err
        assert len(times(video)) > 0


@needs_windows
@needs_x
def test_a_display_that_goes_away(tmp_path: Path, doomed: Display) -> None:
    server = doomed
    video = tmp_path / "v.mp4"
    alone = start("--input", "demo", "--live", DISPLAY=server.name)
    recording = start(
        "--input", "demo", "--live", "--show", "--output", video, "--end", "75",
        DISPLAY=server.name,
    )  # fmt: skip
    wait_for(lambda: video.exists() and video.stat().st_size > 50_000)
    wait_for(lambda: len(xdotool(server, "search", "--name", "posestream")) == 2)
    time.sleep(1)
    server.kill()
    began = time.perf_counter()
    ended = finish(alone, within=10)
    assert ended.code == 0 and "nothing else to do" in ended.err
    assert time.perf_counter() - began < 3
    result = finish(recording, within=30)
    if result.code == 0:
        assert "going on without it" in result.err
        assert times(video)[-1] > 2  # to the end of the scene
    else:  # within a call of the window toolkit, which then ends the process
        fails(result, 4, "the display went away")
        assert times(video)

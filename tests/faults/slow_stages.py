"""Stages that hang, crawl or give nonsense, and odd videos, through the whole program; run by name.

FAULT_SECONDS makes the overload longer.
"""

from __future__ import annotations

import json
import os
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest
from camera import camera
from commandline import demo, finish, lines, run, start, times
from test_run import STAGES, fails, tiny

SECONDS = float(os.environ.get("FAULT_SECONDS", "60"))
LATE = float(os.environ.get("FAULT_LATE", "1"))


def report(path: Path) -> dict[str, Any]:
    told = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(told, dict) and told["ledger_errors"] == []
    return told


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "grab"])
def test_any_hanging_stage_is_named(tmp_path: Path, stage: str) -> None:
    video, data = tmp_path / "v.mp4", tmp_path / "d.jsonl"
    process = start(
        "--input", "demo", "--headless", "--output", video, "--json", data, "--batch", "4",
        "--status-file", tmp_path / "s.json", POSESTREAM_FAULT=f"{stage}:hang@42",
    )  # fmt: skip
    assert process.stderr
    while "hangs from here on" not in (line := process.stderr.readline()):
        assert line, "ended before it hung"
    began = time.monotonic()
    result = finish(process, within=90)
    assert result.code == 7 and time.monotonic() - began < 15 * LATE
    assert f"stage '{stage}' hangs" in result.errors[0] and "Thread" in result.err
    assert len(times(video)) >= 8  # the detector runs ahead, and boxes wait for what comes next
    assert json.loads((tmp_path / "s.json").read_text())["state"] == "failed"


def test_a_source_that_hangs_is_lost(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    result = demo("--output", video, "--batch", "4", POSESTREAM_FAULT="grab:hang@20", within=90)
    fails(result, 6, "no data for 10 s")
    assert len(times(video)) >= 8


@pytest.mark.parametrize(
    ("fault", "code"),
    [("pose:inf", 0), ("pose:zero", 0), ("detect:nan", 0), ("detect:inf", 0), ("detect:crowd:0", 0),
     ("detect:crowd:1", 0), ("detect:crowd:100", 0), ("detect:oom:4", 0), ("detect:oom:0", 5)],
)  # fmt: skip
def test_nonsense_from_the_networks(tmp_path: Path, fault: str, code: int) -> None:
    data = tmp_path / "d.jsonl"
    result = demo("--json", data, "--end", "9", POSESTREAM_FAULT=fault, within=200)
    assert result.code == code, result.err
    if code == 0:
        found = [len(line["people"]) for line in lines(data)]
        assert len(found) == 9 and "NaN" not in data.read_text()
        assert (
            max(found) <= 100 and (fault == "detect:oom:4") == (sum(found) > 9) or "crowd" in fault
        )


def test_overload_stays_fresh(tmp_path: Path) -> None:
    """Half a second a frame at 30 fps: the age of what comes out is bounded and does not grow."""
    told = tmp_path / "r.json"
    ages, sizes, zero = [], [], None
    with camera(tmp_path) as address:
        process = start(
            "--input", address, "--headless", *tiny(), "--json", "-", "--quiet", "--report", told,
            "--end", f"{SECONDS:.0f}s", POSESTREAM_FAULT="pose:sleep:0.5@*",
        )  # fmt: skip
        assert process.stdout
        for text in process.stdout:
            now, at = time.monotonic(), float(json.loads(text)["time"])
            zero = now - at if zero is None else zero
            ages.append((at, now - at - zero))
            sizes.append(int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) // 256)
        assert finish(process, within=30).code == 0
    says = report(told)
    assert says["wall_s"] > 0.9 * SECONDS and says["frames_captured"] > 0.9 * 30 * SECONDS
    dropped = sum(says["dropped"].values())
    assert says["frames_captured"] == says["frames_written"] + dropped and dropped > len(ages)
    slowest = max(stage["ms_per_frame"] for stage in says["stages"].values())
    assert says["latency_ms"]["p99"] <= 3 * slowest * LATE, says["stages"]
    later = np.array(ages[len(ages) // 4 :])
    slope = np.polyfit(later[:, 0], later[:, 1], 1)[0]
    assert slope <= 0.001 + 0.5 / SECONDS * LATE, f"{1000 * slope:.2f} ms/s"
    assert sizes[-1] <= 1.05 * sizes[len(sizes) // 4] + 10


def test_a_slow_stage_loses_nothing_of_a_file(tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    result = demo(
        "--json", data, "--end", "150", "--batch", "1", POSESTREAM_FAULT="pose:sleep:0.2@*",
        within=280,
    )  # fmt: skip
    assert result.code == 0, result.err
    assert [line["frame"] for line in lines(data)] == list(range(150))


def test_a_slow_disk_costs_the_recording_only(tmp_path: Path) -> None:
    video, data, told = tmp_path / "v.mp4", tmp_path / "d.jsonl", tmp_path / "r.json"
    result = demo(
        "--live", "--end", "300", "--output", video, "--json", data, "--report", told,
        POSESTREAM_FAULT="record:sleep:0.5@*", within=200,
    )  # fmt: skip
    assert result.code == 0, result.err
    says = report(told)
    record, others = says["sinks"]["record"], says["sinks"]["json"]
    assert record["dropped"]["record.full"] > 0 and "record.full" not in others["dropped"]
    assert others["frames"] + says["dropped"].get("grab.stale", 0) == 300
    assert len(times(video)) == record["frames"] > 20


# odd videos


def through(source: Path, folder: Path, *more: object) -> tuple[Path, list[dict[str, Any]]]:
    """The video and the lines that the whole program makes of a source."""
    folder.mkdir(exist_ok=True)
    result = run(
        "--input", source, "--headless", *tiny(), "--output", folder / "v.mp4", "--json",
        folder / "d.jsonl", "--report", folder / "r.json", *more, within=120,
    )  # fmt: skip
    assert result.code == 0, result.err
    report(folder / "r.json")
    return folder / "v.mp4", lines(folder / "d.jsonl")


def test_recovery_gives_three_times_the_frames_of_naive_reading(tmp_path: Path) -> None:
    """The corruption set: 200 bytes in a fifth of the data, and 2 % of all bytes."""
    plain = naive_sum = ours = 0
    for name, damage in {"mid": (0.02, 0.3, 0.5), "all": (0.02, 0.0, 1.0)}.items():
        source = media.video(
            tmp_path / f"{name}.mp4", 150, (320, 240), options={"g": "15", "preset": "veryfast"}
        )
        media.corrupt(source, *damage)
        naive_sum += media.naive_count(source)
        _, found = through(source, tmp_path / name)
        moments = [line["time"] for line in found]
        assert all(a < b for a, b in zip(moments, moments[1:]))
        ours += len(found)
        plain += 150
        assert report(tmp_path / name / "r.json")["bad_packets"] > 0
    assert ours >= 3 * naive_sum and ours > plain / 2, (ours, naive_sum)


def test_motion_jpeg_with_broken_pictures(tmp_path: Path) -> None:
    source = media.video(tmp_path / "a.avi", 40, codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(source.read_bytes())
    starts = [i for i in range(len(data) - 2) if data[i : i + 3] == b"\xff\xd8\xff"]
    size = min(b - a for a, b in zip(starts, starts[1:])) - 20  # a little less keeps the picture
    for begin in starts[5:40:7]:
        data[begin : begin + size] = bytes(size)
    source.write_bytes(data)
    video, found = through(source, tmp_path / "o")
    assert len(found) == len(times(video)) == 35
    assert report(tmp_path / "o" / "r.json")["bad_packets"] == 5


@pytest.mark.parametrize("size", ["1x1", "2x2", "3x5", "17x9", "641x361", "8000x50"])
def test_sizes_through_the_whole_program(tmp_path: Path, size: str) -> None:
    width, height = map(int, size.split("x"))
    source = media.video(
        tmp_path / "a.mkv", 3, (width, height), codec="ffv1", pix_fmt="bgr0",
        picture=lambda n, wh: np.full((wh[1], wh[0], 3), 90 * n, np.uint8),
    )  # fmt: skip
    video, found = through(source, tmp_path / "o")
    assert len(found) == len(times(video)) == 3
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (width + width % 2, height + height % 2)
        assert stream.time_base and stream.time_base < Fraction(1, 100)

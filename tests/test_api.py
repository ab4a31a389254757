"""The Python interface."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from statistics import median
from types import FunctionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import cv2
import media
import numpy as np
import pytest
from commandline import ROOT

import realtime
from realtime import load, run, stream
from realtime.api import COMMAND_LINE, NOT_STREAMED, RunOptions
from realtime.cli import parse, settings_of
from realtime.errors import InputError, OutputError, PosestreamError, UsageError
from realtime.formats.target import Format
from realtime.ledger import rss_mb
from realtime.options import build_parser, options_of
from realtime.records import PosedFrame
from realtime.scene import Scene
from realtime.settings import Settings

DATA = ROOT / "tests" / "data"
TINY: dict[str, Any] = {
    "detector": DATA / "tiny_detector.onnx",
    "pose": DATA / "tiny_pose.onnx",
    "sequence": True,
}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of the demo scene, from its third second, as a folder of pictures: much sooner
    open than the scene."""
    folder = tmp_path_factory.mktemp("walk")
    scene = Scene(0, 300)
    for index in range(8):
        cv2.imwrite(str(folder / f"{index}.png"), scene.image(60 + index))
    return folder


def test_a_stream_gives_posed_frames() -> None:
    with stream("demo", end=4, batch=2) as items:
        assert items.info.kind == "demo" and items.info.frames == 4
        found = list(items)
        assert list(items) == []
    assert [item.frame.index for item in found] == [0, 1, 2, 3]
    for item in found:
        count = len(item.poses)
        assert count and item.poses.joints_xy.shape == (count, 17, 2)
        assert (item.poses.ids >= 0).all() and item.picture is None


def test_a_stream_and_a_run_find_the_same(tmp_path: Path, film: Path) -> None:
    video, data, told = tmp_path / "v.mp4", tmp_path / "a.npz", tmp_path / "r.json"
    report = run(film, end="0.2s", output=video, data=data, report=told, **TINY)
    assert report["frames_written"] == 6 and report["ledger_errors"] == []
    assert set(report["sinks"]) == {"record", "data.npz"} and report["frames_shown"] == 0
    assert video.stat().st_size > 1000 and told.exists()
    with stream(film, end=6, **TINY) as items:
        for item, loaded in zip(items, load(data), strict=True):
            assert (item.frame.index, item.frame.time) == (loaded.frame, loaded.time)
            assert np.array_equal(item.poses.joints_xy, loaded.poses.joints_xy)
            assert np.array_equal(item.poses.ids, loaded.poses.ids)


def test_what_is_drawn_is_asked_for(tmp_path: Path, film: Path) -> None:
    def first(name: str, **options: Any) -> np.ndarray:
        video = tmp_path / f"{name}.mp4"
        run(film, end=2, output=video, min_joint_score=1.0, **options, **TINY)
        return cv2.VideoCapture(str(video)).read()[1].astype(float)

    plain, mirrored = first("plain"), first("mirrored", mirror=True)
    assert abs(plain[:, ::-1] - mirrored).mean() < 4 < abs(plain - mirrored).mean()
    assert first("black", overlay="black").max() < 60 < plain.max()
    assert (abs(first("hidden", blur_faces=True) - plain).max(2) > 40).sum() > 50
    for option in ({"mirror": True}, {"overlay": "heatmap"}, {"blur_faces": True}, {"crf": 20}):
        with pytest.raises(UsageError, match=f"{next(iter(option))} is for what run"):
            stream(film, **option, **TINY)


def test_what_is_written_or_served_is_for_a_run(film: Path) -> None:
    files: dict[str, Any] = {
        "output": "x.mp4",
        "json": "x.jsonl",
        "data": ["x.csv"],
        "screenshot": "x.png",
    }
    files["pictures"] = "x"
    files |= {"report": "x.json", "status_file": "x.json", "serve": "8000"}
    for name in NOT_STREAMED:
        value = files.get(name, True)
        with pytest.raises(UsageError, match=f"^{name} is for run"):
            stream(film, **{name: value}, **TINY)


@pytest.mark.parametrize("call", [run, stream])
def test_what_is_no_run_is_for_the_command_line(call: Any, film: Path) -> None:
    texts = {"explain": "steps", "log_file": "x.log"}
    for name in COMMAND_LINE:
        with pytest.raises(UsageError, match=f"^{name} is for the command line"):
            call(*([] if name == "bench" else [film]), **{name: texts.get(name, True)})


def test_no_option_is_left_undone_unsaid() -> None:
    """A new option has its place in one of these."""
    nothing_to_do = {"headless", "quiet", "verbose", "debug", "overwrite", "min_free"}
    go_with_others = {"format", "segment", "explain_frame", "streams"}
    known = {"input", "device", *get_type_hints(RunOptions), *NOT_STREAMED, *COMMAND_LINE}
    assert {f.name for f in fields(Settings)} == known | nothing_to_do | go_with_others


def test_options_for_other_kinds_of_source_are_told(
    film: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stream(film, end=1, live=True, **TINY).close()
    run(film, end=1, seed=3, **TINY)
    assert [text.partition(";")[0] for text in caplog.messages] == [
        "--live: nothing is done to images", "--seed: nothing is done to images",
    ]  # fmt: skip


def test_a_damaged_file_is_an_error_of_a_strict_stream(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a.mkv", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    networks = {"detector": TINY["detector"], "pose": TINY["pose"]}
    seen = len(list(stream(path, **networks)))
    items, found = stream(path, strict=True, **networks), 0
    with pytest.raises(InputError, match="a.mkv"):
        for _ in items:
            found += 1
    assert 0 < found == seen < 40


def test_nothing_is_printed(film: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Not even the hint that belongs to the bundled networks."""
    stream(film, end=1).close()
    assert capfd.readouterr() == ("", "")


def test_smoothing_of_the_data_is_asked_for(tmp_path: Path, film: Path) -> None:
    """--smooth data changes the joints, not who is there; by default the data stay as found."""
    found = []
    for name, options in (("a", {}), ("b", {"smooth": "data", "fix_swaps": True})):
        run(film, data=tmp_path / f"{name}.npz", **options, **TINY)
        found.append(load(tmp_path / f"{name}.npz"))
    raw, smooth = found
    assert [f.poses.ids.tolist() for f in raw] == [f.poses.ids.tolist() for f in smooth]
    assert np.array_equal(raw[0].poses.joints_xy, smooth[0].poses.joints_xy)
    assert not np.array_equal(raw[7].poses.joints_xy, smooth[7].poses.joints_xy)
    with stream(film, smooth="all", fix_swaps=True, **TINY) as items:
        last = list(items)[-1]
    assert np.array_equal(last.poses.joints_xy, smooth[7].poses.joints_xy)


STARTS = int(os.environ.get("POSESTREAM_STARTS", "16"))
"""How many starts and stops; the README tells of it."""
GROWTH = 80
"""MiB between the first and the last third of the starts; the allocator's own ups and downs were 43
in a process that had done much else."""


def state() -> tuple[list[str], int]:
    gc.collect()
    if sys.platform == "linux":
        with suppress(AttributeError):  # glibc's: gives back what is free but held
            ctypes.CDLL(None).malloc_trim(0)
    files = Path("/proc/self/fd")
    return (
        sorted(thread.name for thread in threading.enumerate()),
        len(list(files.iterdir())) if files.exists() else 0,
    )


@pytest.mark.timeout(60 + 10 * STARTS)
def test_starts_and_stops_leave_nothing_behind(film: Path) -> None:
    """No thread, no file, no memory."""
    resident = []
    for number in range(STARTS):
        start_and_stop(film, number % 4)
        threads, files = state()
        resident.append(rss_mb() or 0.0)
        if number == 3:
            before = threads, files
    assert threads == before[0] and files <= before[1]
    third = (STARTS - 4) // 3  # the first ones load what stays
    early, late = median(resident[4 : 4 + third]), median(resident[-third:])
    assert late - early < GROWTH, resident


def start_and_stop(film: Path, way: int) -> None:
    """Stopped after one frame, never iterated, dropped within a loop, or stopped by an error."""
    if way == 0:
        with stream(film, **TINY) as items:
            next(items)
    elif way == 1:
        stream(film, **TINY).close()
    elif way == 2:
        for _ in stream(film, **TINY):
            break
    else:
        with pytest.raises(KeyError), stream(film, **TINY) as items:
            raise KeyError(next(items).frame.index)


def test_two_streams_at_once(film: Path) -> None:
    with stream(film, end=3, **TINY) as first, stream(film, start=3, end=6, **TINY) as second:
        pairs = [(a.frame.image, b.frame.image) for a, b in zip(first, second, strict=True)]
    assert len(pairs) == 3 and all((a != b).any() for a, b in pairs)


def test_every_error_is_one_of_ours(tmp_path: Path, film: Path) -> None:
    for kind, arguments, says in (
        (InputError, {"input": tmp_path / "none.mp4"}, "none.mp4: no such file"),
        (UsageError, {"input": "demo", "strid": 2}, "unknown option strid; did you mean stride?"),
        (UsageError, {"input": "demo", "stride": "2"}, "stride = '2': expected a whole number"),
        (UsageError, {"input": "demo", "decode": "best"}, "expected one of argmax"),
        (UsageError, {"input": "demo", "device": 0}, "several sources"),
        (UsageError, {"input": "demo", "data": ["a.xml"]}, "a.xml"),
    ):
        call = run if "data" in arguments else stream
        with pytest.raises(kind, match=re.escape(says)) as caught:
            call(**arguments)
        assert "\n" not in str(caught.value) and isinstance(caught.value, PosestreamError)
    with pytest.raises(OutputError, match="there is no folder"):
        run(film, data=tmp_path / "none" / "a.csv")


def test_a_run_that_fails_keeps_what_it_has(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSESTREAM_FAULT", "pose:raise@4")
    with pytest.raises(PosestreamError, match="stage 'pose' failed on frame 4"):
        run(film, batch=1, data=[tmp_path / "a.npz"], report=tmp_path / "r.json", **TINY)
    assert 1 <= len(load(tmp_path / "a.npz")) <= 4
    assert '"exit_code": 7' in (tmp_path / "r.json").read_text()


def test_options_mean_what_they_mean_on_the_command_line(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    given = settings_of(
        input=folder, start=3, end="4.5s", camera_size="640x480", data=folder / "a.csv"
    )
    words = f"--input {folder} --start 3 --end 4.5s --camera-size 640x480 --data {folder}/a.csv"
    assert given == parse(words.split())
    assert settings_of(input=None, stride=None) == parse([])


def test_numbers_of_numpy_are_numbers() -> None:
    given = {"end": np.int64(3), "stride": np.int32(2), "min_score": np.float32(0.5)}
    assert settings_of(**given) == settings_of(end=3, stride=2, min_score=0.5)


@pytest.mark.parametrize("value", [3.0, np.float32(3)])
def test_seconds_as_a_number_are_told_how_they_are_written(value: Any) -> None:
    with pytest.raises(UsageError, match=r'^end = 3.0: write "3s" for seconds, 3 for a frame'):
        settings_of(end=value)


def test_types_of_options_say_what_the_command_line_takes() -> None:
    options, types = options_of(build_parser()), get_type_hints(RunOptions)
    assert set(types) <= {field.name for field in fields(Settings)}
    for name, hint in types.items():
        if get_origin(hint) is Literal:
            assert set(get_args(hint)) == set(options[name].choices or ()), name
    assert get_args(Format) == tuple(options["format"].choices or ())


def test_a_run_writes_any_suffix_in_the_format_asked_for(tmp_path: Path, film: Path) -> None:
    report = run(film, end=2, data=tmp_path / "a.txt", format="csv", crf=30, **TINY)
    assert set(report["sinks"]) == {"data.csv"}
    assert (tmp_path / "a.txt").read_text().startswith("frame,time,")


def test_the_interface_is_loaded_when_asked_for() -> None:
    """`import realtime` loads nothing; realtime.run stays the function whatever is imported."""
    code = "import sys, realtime; assert not {'numpy', 'cv2', 'av'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    import realtime.app

    assert isinstance(realtime.run, FunctionType) and isinstance(realtime.stream, FunctionType)
    with pytest.raises(AttributeError, match="walk"):
        realtime.walk  # noqa: B018
    assert (ROOT / "realtime" / "py.typed").exists()


def test_the_examples_of_the_readme(tmp_path: Path) -> None:
    """As they stand there, with the demo scene for the video."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(examples) == 2
    for number, example in enumerate(examples):
        folder = tmp_path / str(number)
        folder.mkdir()
        if "read_csv" in example:
            realtime.run("demo", end=5, data=[str(folder / "walk.csv")])
        code = example.replace('"walk.mp4"', '"demo", end=5')
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr


def first(items: realtime.Stream) -> PosedFrame:
    """Typed: checked by mypy."""
    return next(items)

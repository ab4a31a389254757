"""Every kind of input through the real command line: frames, times, sizes, mistakes, streams."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import av
import cv2
import media
import numpy as np
import pytest
import servers
from commandline import ROOT, Result, demo, finish, lines, run, start, times
from rtsp import Server, available
from test_run import fails, tiny, wait_for

from realtime.cli import parse
from realtime.errors import PosestreamError
from realtime.no_use import KINDS, NO_USE, say_what_is_idle
from realtime.opening import open_source
from realtime.settings import Settings
from realtime.sources.base import Kind, SourceInfo, Span
from realtime.sources.demo import open_demo

SECRET = "geheim"


def posed(source: object, folder: Path, *more: object) -> list[object]:
    """Arguments of a run with the tiny networks that writes v.mp4, d.jsonl and r.json to folder."""
    folder.mkdir(exist_ok=True)
    return [
        "--input", source, "--headless", *tiny(), "--output", folder / "v.mp4",
        "--json", folder / "d.jsonl", "--report", folder / "r.json", *more,
    ]  # fmt: skip


def both(*runs: list[object]) -> list[Result]:
    """Run several command lines at the same time."""
    return [finish(process) for process in [start(*arguments) for arguments in runs]]


def report(folder: Path) -> dict[str, Any]:
    told = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert isinstance(told, dict) and told["ledger_errors"] == []
    return told


def sound(path: Path) -> tuple[float, float]:
    """Start and end of the sound of a video in seconds."""
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        assert track.start_time is not None and track.duration and track.time_base
        begin = float(track.start_time * track.time_base)
        return begin, begin + float(track.duration * track.time_base)


VFR = [0, 33, 166, 199, 400, 433, 466, 900, 933, 1000]


@pytest.mark.parametrize(
    "kinds",
    [
        {
            "vfr.mp4": {"stamps": VFR},
            "odd.mkv": {"codec": "ffv1", "pix_fmt": "bgr0", "size_wh": (63, 47), "stamps": VFR},
            "sound first.mov": {"audio": "first"},
        },
        {
            "ten bit.mp4": {"pix_fmt": "yuv420p10le"},
            "alpha.webm": {"codec": "libvpx-vp9", "pix_fmt": "yuva420p"},
            "moving.gif": {"codec": "gif", "pix_fmt": "rgb8", "rate": 25},
        },
    ],
)
def test_every_frame_of_a_video_with_its_own_time(
    tmp_path: Path, kinds: dict[str, dict[str, Any]]
) -> None:
    sources = [media.video(tmp_path / name, 10, **options) for name, options in kinds.items()]
    folders = [tmp_path / source.stem for source in sources]
    results = both(*(posed(s, f) for s, f in zip(sources, folders, strict=True)))
    for source, folder, result in zip(sources, folders, results, strict=True):
        assert result.code == 0, result.err
        expected = times(source)
        assert len(expected) == 10
        assert [line["time"] for line in lines(folder / "d.jsonl")] == pytest.approx(
            expected, abs=1e-6
        )
        assert times(folder / "v.mp4") == pytest.approx(expected, abs=1e-9)
        assert report(folder)["frames_written"] == 10


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of the demo scene: the one thing the tiny networks know."""
    path = tmp_path_factory.mktemp("people") / "upright.mp4"
    made = demo("--output", path, "--end", "20", "--crf", "8")
    assert made.code == 0, made.err
    return path


MATRICES = {
    "90": (0, 1, -1, 0),
    "180": (-1, 0, 0, -1),
    "270": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
}


def stored(picture: media.Picture, turn: str) -> media.Picture:
    """The picture so that the matrix of this turn brings it upright again."""
    if turn == "mirrored":
        return np.ascontiguousarray(picture[:, ::-1])
    return np.ascontiguousarray(np.rot90(picture, {"": 0, "90": 1, "180": 2, "270": 3}[turn]))


def turned(path: Path, frames: list[media.Picture], turn: str) -> Path:
    """The frames, without loss, stored turned."""
    height, width = stored(frames[0], turn).shape[:2]
    media.video(
        path,
        len(frames),
        (width, height),
        pix_fmt="yuv444p",
        picture=lambda number, _: stored(frames[number], turn),
        options={"qp": "0", "preset": "ultrafast"},
    )
    return media.with_matrix(path, *MATRICES[turn]) if turn else path


def test_turned_and_mirrored_videos_give_the_same_people(tmp_path: Path, people: Path) -> None:
    with av.open(str(people)) as container:
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)][::8]
    turns = ("", *MATRICES)
    videos = {turn: turned(tmp_path / f"t{turn}.mp4", frames, turn) for turn in turns}
    results = both(
        *(["--input", videos[turn], "--json", "-", "--quiet", *tiny()] for turn in turns)
    )
    assert all(result.code == 0 for result in results), results
    upright, *others = ([json.loads(x) for x in result.out.splitlines()] for result in results)
    assert sum(len(line["people"]) for line in upright) >= len(frames), "nobody is found"
    for turn, found in zip(MATRICES, others, strict=True):
        for one, other in zip(upright, found, strict=True):
            assert len(one["people"]) == len(other["people"])
            for person, same in zip(one["people"], other["people"], strict=True):
                a, b = np.array(person["keypoints"]), np.array(same["keypoints"])
                assert np.abs(a - b)[a[:, 2] > 0.3, :2].max() < 1.0, turn


def test_two_runs_of_a_video_write_the_same_bytes(people: Path) -> None:
    again = ["--input", people, "--json", "-", "--quiet", "--detect-every", "5", *tiny()]
    one, two = both(again, again)
    assert one.code == two.code == 0, one.err
    assert one.out == two.out and one.out.count("\n") == 20


def test_another_size_in_the_middle_goes_on_in_a_second_file(tmp_path: Path) -> None:
    parts = [
        media.video(tmp_path / "a.ts", 8, (64, 48)), media.video(tmp_path / "b.ts", 7, (96, 64)),
    ]  # fmt: skip
    source = media.joined(tmp_path / "both.ts", *parts)
    result = run(*posed(source, tmp_path / "o"))
    assert result.code == 0, result.err
    first, second = tmp_path / "o" / "v.mp4", tmp_path / "o" / "v_2.mp4"
    assert (len(times(first)), len(times(second))) == (8, 7)
    assert "v_2.mp4" in result.err and len(lines(tmp_path / "o" / "d.jsonl")) == 15


def test_the_second_file_of_a_recording_is_never_the_input(tmp_path: Path) -> None:
    parts = [
        media.video(tmp_path / "a.ts", 4, (64, 48)), media.video(tmp_path / "b.ts", 5, (96, 64)),
    ]  # fmt: skip
    source, output = media.joined(tmp_path / "v_2.mp4", *parts), tmp_path / "v.mp4"
    before = source.read_bytes()
    output.write_text("old")
    result = run("--input", source, "--headless", *tiny(), "--output", output, "--overwrite")
    assert result.code == 0, result.err
    assert source.read_bytes() == before
    assert (len(times(output)), len(times(tmp_path / "v_3.mp4"))) == (4, 5)
    assert "v_3.mp4" in result.err and len(list(tmp_path.iterdir())) == 5


def test_a_damaged_or_cut_video_gives_what_it_holds_and_says_so(tmp_path: Path) -> None:
    options = {"container_options": {"movflags": "faststart"}, "options": {"g": "10"}}
    cut = media.cut(media.video(tmp_path / "cut.mp4", 300, **options), 0.6)  # type: ignore[arg-type]
    bad = media.corrupt(media.video(tmp_path / "bad.mp4", 100, options={"g": "10"}), 0.02, 0.3, 0.6)
    runs = {"cut": posed(cut, tmp_path / "cut"), "bad": posed(bad, tmp_path / "bad")}
    for name, result in zip(runs, both(*runs.values()), strict=True):
        count, declared = len(lines(tmp_path / name / "d.jsonl")), {"cut": 300, "bad": 100}[name]
        assert result.code == 0, result.err
        assert 10 < count < declared
        (warning,) = [line for line in result.err.splitlines() if line.startswith("warning:")]
        assert f"{count} of {declared} frames" in warning
        assert report(tmp_path / name)["damage"] in warning
        assert len(times(tmp_path / name / "v.mp4")) == count
    fails(run(*posed(cut, tmp_path / "strict", "--strict")), 3, "cut.mp4", "--strict")
    assert report(tmp_path / "strict")["exit_code"] == 3


def test_a_part_of_a_video_starts_at_zero_with_its_sound(tmp_path: Path) -> None:
    source = media.video(tmp_path / "v.mp4", 90, audio="after", options={"g": "15"})
    seconds, frames = both(
        posed(source, tmp_path / "s", "--start", "1.01s", "--end", "2s"),
        posed(source, tmp_path / "f", "--start", "31", "--end", "60", "--stride", "3"),
    )
    assert seconds.code == frames.code == 0, seconds.err + frames.err
    for folder, stride in (("s", 1), ("f", 3)):
        numbers = list(range(31, 60, stride))
        got = lines(tmp_path / folder / "d.jsonl")
        assert [line["frame"] for line in got] == numbers
        assert [line["time"] for line in got] == pytest.approx([n / 30 for n in numbers], abs=1e-3)
        video = tmp_path / folder / "v.mp4"
        assert times(video) == pytest.approx([(n - 31) / 30 for n in numbers], abs=1e-4)
        begin, end = sound(video)
        assert -0.06 < begin < 0.03 and abs(end - len(numbers) * stride / 30) < 0.05


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for name, gray in (("f1.png", 10), ("f2.png", 20), ("f10 測試.png", 100)):
        data = cv2.imencode(".png", np.full((48, 64, 3), gray, np.uint8))[1]
        (folder / name).write_bytes(data.tobytes())
    (folder / "f3.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_folders_globs_and_single_images(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "bilder ü")
    whole, single, sequence = both(
        posed(f"{folder}/", tmp_path / "whole"),
        posed(folder / "f10*.png", tmp_path / "single"),
        posed(folder, tmp_path / "sequence", "--sequence", "--start", "1", "--strict"),
    )
    assert whole.code == single.code == 0, whole.err + single.err
    names = [line["file"] for line in lines(tmp_path / "whole" / "d.jsonl")]
    assert names == ["f1.png", "f2.png", "f10 測試.png"]
    assert "f3.jpg" in report(tmp_path / "whole")["damage"] and "f3.jpg" in whole.err
    assert [r["file"] for r in lines(tmp_path / "single" / "d.jsonl")] == ["f10 測試.png"]
    assert len(times(tmp_path / "single" / "v.mp4")) == 1
    fails(sequence, 3, "f3.jpg")
    moments = [(r["frame"], r["time"]) for r in lines(tmp_path / "sequence" / "d.jsonl")]
    assert moments == [(1, 0.033333), (3, 0.1)]
    assert times(tmp_path / "sequence" / "v.mp4") == pytest.approx([0, 2 / 30], abs=1e-4)


def test_people_in_unrelated_images_have_no_ids(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for frame in open_demo(0, Span(60, 90, 10)).frames():
        cv2.imwrite(str(folder / f"{frame.index}.png"), frame.image)
    images, sequence = both(
        posed(folder, tmp_path / "images"), posed(folder, tmp_path / "sequence", "--sequence")
    )
    assert images.code == sequence.code == 0, images.err + sequence.err
    ids = [
        {person["id"] for line in lines(tmp_path / name / "d.jsonl") for person in line["people"]}
        for name in ("images", "sequence")
    ]
    assert ids[0] == {-1} and ids[1] and min(ids[1]) > 0


def test_what_is_done_over_time_is_not_done_to_unrelated_images_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((8, 8, 3), np.uint8))
    asked = ["--input", str(tmp_path), "--headless"]
    for words, told in (
        ("--smooth data", ["--smooth data"]),
        ("--fix-swaps --smooth all", ["--smooth all", "--fix-swaps"]),
        ("--detect-every 5 --bridge 4", ["--detect-every", "--bridge"]),
        ("--smooth off --detect-every 1 --bridge 0", []),
        ("--smooth display", []),
        ("--smooth data --detect-every 5 --bridge 4 --sequence", []),
    ):
        caplog.clear()
        settings = parse([*asked, *words.split()])
        say_what_is_idle(settings, [open_source(settings).info])
        rest = "nothing is done to independent images; add --sequence if they are those of a video"
        assert caplog.messages == [f"{name}: {rest}" for name in told]


@pytest.mark.parametrize(
    ("words", "kinds", "told"),
    [
        ("--live", "file", ["--live: nothing is done to a video file; it is for the demo scene"]),
        (
            "--camera-size 64x48",
            "demo",
            ["--camera-size: nothing is done to the demo scene; it"],
        ),
        (
            "--max-reconnects 0",
            "file",
            ["--max-reconnects: nothing is done to a video file; it"],
        ),
        ("--no-wait --sequence", "camera", ["--sequence: ", "--no-wait: nothing is done to a cam"]),
        ("--seed 1", "file images", ["--seed: nothing is done to a video file and images; it is"]),
        ("--max-reconnects 0", "url", []),
        ("--max-reconnects 3", "web", ["--max-reconnects: nothing is done to a video on a web"]),
        ("--no-wait --strict", "web", []),
        ("--strict", "camera url", ["--strict: nothing is done to live sources; it is for files"]),
        ("--camera-fps 9 --live", "camera demo", []),
        ("--seed 0 --end 5", "file", []),
        ("--bridge 20 --batch 4", "file camera", []),
        ("--bridge 8 --batch 8", "camera", []),
        ("--bridge 0", "camera", []),
        (
            "--bridge 20 --batch 4",
            "camera url",
            [
                "--bridge: nothing is done to live sources; it is",
                "--batch: nothing is done to live",
            ],
        ),
    ],
)
def test_options_for_other_kinds_of_source_are_told(
    words: str, kinds: str, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Where one of several sources takes an option, it is right."""
    live = ("camera", "url")
    infos = [
        SourceInfo("x", cast(Kind, "url" if kind == "web" else kind), kind in live)
        for kind in KINDS
        if kind in kinds.split()
    ]
    say_what_is_idle(parse(words.split()), infos)
    assert [said[: len(text)] for said, text in zip(caplog.messages, told, strict=True)] == told


def test_what_explain_leaves_out_is_told(caplog: pytest.LogCaptureFixture) -> None:
    settings = parse("--explain x --mirror --smooth all --live --blur-faces".split())
    say_what_is_idle(settings, [SourceInfo("x", "file")])
    assert caplog.messages == [
        "--live: nothing is done to a video file; it is for the demo scene",
        "--mirror: nothing is done to the one frame of --explain; it is for runs",
        "--smooth all: nothing is done to the one frame of --explain; it is for runs",
    ]


def test_options_of_pictures_that_nobody_makes_are_told(caplog: pytest.LogCaptureFixture) -> None:
    words = "--mirror --overlay boxes --blur-faces --detect-every 3 --crf 20 --json - --headless"
    settings, infos = parse(words.split()), [SourceInfo("x", "file")]
    say_what_is_idle(settings, infos, pictures=False)
    rest = "nothing is done to a run without pictures; give --output, --pictures, --serve or --show"
    assert caplog.messages == [
        "--crf: nothing is done to a run without a video; give --output FILE.mp4",
        f"--mirror: {rest}",
        f"--overlay boxes: {rest}",
        f"--blur-faces: {rest}",
        "--detect-every: nothing is done to a run with --blur-faces; it looks at every frame",
    ]
    caplog.clear()
    say_what_is_idle(parse("--mirror --blur-faces --crf 20 --output a.mp4".split()), infos)
    assert not caplog.messages


def test_every_option_is_for_all_sources_or_says_for_which_it_is_not() -> None:
    """A new option has its place in one of these."""
    for_all = {
        "data", "report", "status_file", "overwrite", "segment", "record_required", "min_free",
        "min_joint_score", "detector", "pose", "engine", "precision", "compute", "decode",
        "detector_score", "min_score", "bench", "streams", "version", "print_config", "quiet",
        "verbose", "log_file", "debug",
    }  # fmt: skip
    assert {f.name for f in fields(Settings)} == for_all ^ NO_USE.keys()


def test_mistaken_inputs_say_what_may_have_been_meant(tmp_path: Path) -> None:
    media.video(tmp_path / "walk.mp4", 2)
    song = media.video(tmp_path / "song.mp4", audio="only")
    inputs = (tmp_path / "wlak.mp4", song, "0", f"rtsp:/me:{SECRET}@host/cam")
    mistyped, mute, camera, address = both(*(["--input", i, "--headless"] for i in inputs))
    fails(mistyped, 3, "wlak.mp4: no such file; did you mean", "walk.mp4?")
    fails(mute, 3, "song.mp4", "only audio")
    fails(camera, 2, "--device 0")
    fails(address, 3, "rtsp://HOST")
    assert SECRET not in address.err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none/walk.mp4", "there is no folder none"),
        ("a" * 300, "too long"),
        ("a" * 300 + "*", "too long"),
        ("/dev/video71", "--device 71"),
        ("webcam", "--device 0"),
        (" ", "empty"),
        (f"me:{SECRET}@host/cam", "begins with rtsp://"),
        (f"rtsp://me:{SECRET}/x@host/cam", "%2F"),
        (f"rtsp://me:{SECRET} x@host/cam", "%20"),
        (f" rtsp://me:{SECRET}@/cam", "no host"),
    ],
)
def test_inputs_that_cannot_be(name: str, words: str) -> None:
    with pytest.raises(PosestreamError) as caught:
        open_source(parse(["--input", name]))
    assert words in str(caught.value) and SECRET not in str(caught.value)


def test_a_file_on_a_web_server_is_read_once_and_its_password_kept(tmp_path: Path) -> None:
    data = media.video(tmp_path / "v.mp4", 40).read_bytes()
    with servers.http_server({"/v.mp4": data}) as server:
        address = server.url.replace("://", f"://me:{SECRET}@") + f"/v.mp4?token={SECRET}"
        result = run(*posed(address, tmp_path / "o", "-vv", "--log-file", tmp_path / "log"))
    assert result.code == 0, result.err
    assert [line["frame"] for line in lines(tmp_path / "o" / "d.jsonl")] == list(range(40))
    assert len(times(tmp_path / "o" / "v.mp4")) == 40
    assert not report(tmp_path / "o")["live"]
    assert SECRET not in result.err
    for path in (*(tmp_path / "o").iterdir(), tmp_path / "log"):
        assert SECRET.encode() not in path.read_bytes(), path


def test_a_video_on_standard_input(tmp_path: Path) -> None:
    clip = servers.write_video(tmp_path / "clip.ts", 30)
    command = [sys.executable, ROOT / "run_camera.py", *posed("-", tmp_path / "o")]
    ran = subprocess.run(
        [*map(str, command)], input=clip.read_bytes(), capture_output=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert len(lines(tmp_path / "o" / "d.jsonl")) == 30
    assert report(tmp_path / "o")["source"] == "stdin"


def test_a_stream_by_udp(tmp_path: Path) -> None:
    clip = servers.write_video(tmp_path / "clip.ts", 40).read_bytes()
    with servers.udp_sender(clip) as address:
        result = run(*posed(address, tmp_path / "o", "--end", "12"))
    assert result.code == 0, result.err
    told = report(tmp_path / "o")
    assert told["live"] and told["source"] == address
    frames = [line["frame"] for line in lines(tmp_path / "o" / "d.jsonl")]
    assert frames and frames == sorted(set(frames)) and frames[-1] <= 11


def test_a_stream_that_never_comes(tmp_path: Path) -> None:
    with servers.tcp_server(b"", up=False) as server:
        address = server.url.replace("://", f"://me:{SECRET}@")
        now, later = both(
            posed(address, tmp_path / "a", "--no-wait"),
            posed(address, tmp_path / "b", "--max-reconnects", "1"),
        )
    fails(now, 3, "connection refused", "--no-wait")
    fails(later, 6, "connection refused", "--max-reconnects")
    assert report(tmp_path / "b")["exit_code"] == 6
    assert SECRET not in now.err + later.err + (tmp_path / "b" / "r.json").read_text()
    assert not (tmp_path / "b" / "v.mp4").exists()  # nothing came, nothing is left


def test_a_live_stream_is_taken_up_again(tmp_path: Path) -> None:
    data = servers.write_video(tmp_path / "v.ts", 50).read_bytes()
    with servers.tcp_server(data, "close", 2.0) as server:
        process = start(*posed(server.url, tmp_path / "o", "-v"))
        assert process.stderr
        said = list(takewhile(lambda line: "frames again" not in line, process.stderr))
        process.send_signal(signal.SIGTERM)
        result = finish(process, within=20)
    assert result.code == 0, result.err
    assert any("trying again" in line for line in said)
    told = report(tmp_path / "o")
    assert told["live"] and told["reconnects"] >= 1
    assert told["frames_captured"] == told["frames_written"] + sum(told["dropped"].values())
    assert len(times(tmp_path / "o" / "v.mp4")) == told["frames_written"] > 0


@pytest.fixture
def camera() -> Iterator[Server]:
    if not available():
        pytest.skip("needs Debian's python3-gi, gir1.2-gst-rtsp-server-1.0 and GStreamer plugins")
    server = Server()
    server.up()
    yield server
    server.down()


def test_a_camera_on_the_network_stalls_and_the_run_is_stopped(
    tmp_path: Path, camera: Server
) -> None:
    address = camera.url.replace("://", f"://me:{SECRET}@")
    process = start(*posed(address, tmp_path / "o"))
    video = tmp_path / "o" / "v.mp4"
    wait_for(lambda: video.exists() and video.stat().st_size > 5000)
    camera.send(signal.SIGSTOP)
    time.sleep(5)
    process.send_signal(signal.SIGTERM)
    began = time.perf_counter()
    result = finish(process, within=10)
    assert result.code == 0 and time.perf_counter() - began < 3, result.err
    assert "no data for 3 s" in result.err and SECRET not in result.err
    assert len(times(video)) == report(tmp_path / "o")["frames_written"] > 0
    for path in (tmp_path / "o").iterdir():
        assert SECRET.encode() not in path.read_bytes(), path

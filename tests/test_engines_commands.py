"""posestream-engines check, bench, calibrate and build, on small networks."""

import os
import re
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx")
from commandline import demo as run_demo
from networks import pose_file

from engines import build_command, calibrate, calibrate_command, cuda, selfcheck
from engines.__main__ import main
from engines.load import find_tiny, load
from realtime.scene import Scene


@pytest.fixture(scope="module")
def tiny():
    """The tiny pose network and detector, which know the demo scene."""
    pose, detector = find_tiny("pose"), find_tiny("detector")
    if pose is None or detector is None:
        pytest.skip("no tiny networks in this tree")
    return pose, detector


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder of pictures of the demo scene, and what is no picture."""
    folder = tmp_path_factory.mktemp("demo")
    scene = Scene(0, 300, (640, 360), people=6)
    for index in range(0, 300, 13):
        cv2.imwrite(str(folder / f"{index:03}.png"), scene.image(index))
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_calibrate_writes_a_network_that_runs_in_int8(tiny, demo, tmp_path, capsys):
    pose, detector = tiny
    output = tmp_path / "fast.onnx"
    asked = ["calibrate", str(pose), "--images", str(demo), "--output", str(output)]
    asked += ["--detector", str(detector)]
    assert main(asked) == 0, capsys.readouterr().err
    assert "mean OKS 0.99" in (printed := capsys.readouterr().out), printed
    network = load(output, "pose", "openvino")
    assert (network.precision, network.spec.name) == ("int8", "tiny_pose")
    assert list(tmp_path.iterdir()) == [output]
    assert main(asked) == 4
    assert "use --overwrite" in capsys.readouterr().err
    assert main(["check", str(output), "--compute", "cpu", "--engine", "openvino"]) == 0
    printed = capsys.readouterr().out
    assert "engine openvino, int8, cpu" in printed and "chosen because" not in printed
    assert "against float32 on 32 people of the demo scene: " in printed
    assert "mean OKS 0.99" in printed


def test_calibrate_takes_detectors(tiny, demo, tmp_path, capsys, monkeypatch):
    """And measures on pictures that the ranges are not from."""
    used = []

    def noted(function, place):
        def call(*given):
            used.append({picture.tobytes() for picture in given[place]})
            return function(*given)

        return call

    monkeypatch.setattr(calibrate, "calibrated", noted(calibrate.calibrated, 2))
    monkeypatch.setattr(selfcheck, "boxes_agreement", noted(selfcheck.boxes_agreement, 2))
    output = tmp_path / "fast.onnx"
    asked = ["calibrate", str(tiny[1]), "--images", str(demo), "--output", str(output)]
    assert main([*asked, "--people", "23"]) == 0, capsys.readouterr().err
    assert re.search(
        r"(9[7-9]|100)\.\d% of \d+ boxes in both", printed := capsys.readouterr().out
    ), printed
    network = load(output, "detector", "openvino")
    assert (network.precision, network.spec.name) == ("int8", "tiny_detector")
    assert [len(pictures) for pictures in used] == [12, 12] and not used[0] & used[1]


def test_calibrate_refuses_what_it_cannot_measure_or_would_spoil(
    tiny, demo, tmp_path, capsys, monkeypatch
):
    pose, detector = (str(path) for path in tiny)
    output = tmp_path / "fast.onnx"
    ends = ["--output", str(output), "--detector", detector]
    assert main(["calibrate", pose, "--images", str(tmp_path / "none"), *ends]) == 3
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["calibrate", pose, "--images", str(empty), *ends]) == 3
    assert "0 people found, 20 or more" in capsys.readouterr().err
    assert main(["calibrate", detector, "--images", str(empty), *ends]) == 3
    assert "0 pictures found, 20 or more" in capsys.readouterr().err
    for few in ("19", "0", "-3"):
        assert main(["calibrate", pose, "--images", str(demo), *ends, "--people", few]) == 2
        assert f"--people {few}: expected 20 or more" in capsys.readouterr().err
    monkeypatch.setattr(calibrate_command, "LEAST_SHARE", 1.01)
    assert main(["calibrate", detector, "--images", str(demo), *ends]) == 5
    assert "loses too much in int8" in capsys.readouterr().err
    monkeypatch.setattr(calibrate_command, "LEAST_OKS", 1.01)
    assert main(["calibrate", pose, "--images", str(demo), *ends]) == 5
    assert "loses too much in int8" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize("command", ["calibrate", "describe"])
def test_where_nothing_can_be_written_is_told_at_once(tmp_path, capsys, command):
    file = pose_file(tmp_path / "a.onnx")
    given = [command, str(file), *(["--images", str(tmp_path)] if command == "calibrate" else [])]
    there = tmp_path / "there.onnx"
    there.touch()
    for output, part in (
        (tmp_path / "none" / "b.onnx", "there is no folder"),
        (tmp_path, "is a folder"),
        (tmp_path / f"{'b' * 250}.onnx", "the name is too long"),
        (there, "exists; use --overwrite"),
    ):
        assert main([*given, "--output", str(output)]) == 4
        assert part in capsys.readouterr().err
    had = file.read_bytes()
    assert main([*given, "--output", str(file), "--overwrite"]) == 2
    assert "this is the input" in capsys.readouterr().err and file.read_bytes() == had


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
@pytest.mark.parametrize("command", ["calibrate", "describe"])
def test_a_pipe_stays_a_pipe(tmp_path, capsys, command):
    file, pipe = pose_file(tmp_path / "a.onnx"), tmp_path / "pipe"
    os.mkfifo(pipe)
    given = [command, str(file), *(["--images", str(tmp_path)] if command == "calibrate" else [])]
    assert main([*given, "--output", str(pipe), "--overwrite"]) == 4
    assert "is not an ordinary file" in capsys.readouterr().err and pipe.is_fifo()


def test_bench_times_what_is_there_and_names_what_is_not(tmp_path, capsys):
    path = str(pose_file(tmp_path / "a.onnx"))
    assert main(["bench", path, "--rounds", "2", "--compute", "cpu", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.endswith("x")]
    assert ["openvino", "f32", "cpu"] in [row[:3] for row in rows]
    assert rows[0][4] == rows[0][6] == "1.00x"
    assert all(float(number) >= 0 for row in rows for number in (row[3], row[5]))
    assert any(line.startswith("left out: openvino int8 on cpu: ") for line in lines)
    assert main(["bench", path, "--rounds", "0"]) == 2
    capsys.readouterr()
    for wrong in ("0", "1,,2", "8x", "2000"):
        assert main(["bench", path, "--batch", wrong]) == 2
        assert "expected a number from 1 to 1024" in capsys.readouterr().err
    for wrong in ("0", "-1", "2000", "1,8"):
        assert main(["check", path, f"--batch={wrong}"]) == 2
        assert f"{wrong!r}: expected a number from 1 to 1024" in capsys.readouterr().err
    assert main(["bench", path, "--rounds", "1", "--compute", "cpu", "--batch", "3,5,2"]) == 0
    assert "batch 3           batch 5           batch 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        (0, "compute cuda: no NVIDIA GPU found; engine tensorrt needs one"),
        (1, "tensorrt is not installed"),
    ],
)
def test_build_says_what_is_missing(tmp_path, capsys, monkeypatch, gpus, said):
    monkeypatch.setattr(cuda, "count", lambda: gpus)
    monkeypatch.delitem(sys.modules, "engines.tensorrt", raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert main(["build", str(pose_file(tmp_path / "a.onnx"))]) == 5
    printed = capsys.readouterr().err
    assert said in printed and printed.count("\n") == 1


def test_there_is_nothing_to_build_for_a_detector(tiny, capsys):
    assert main(["build", str(tiny[1]), "--compute", "cpu"]) == 5
    told = capsys.readouterr()
    assert "runs pose networks only" in told.err and "ready" not in told.out


def test_people_are_taken_from_all_over_the_folder(tmp_path):
    for n in range(10):
        (tmp_path / f"{n}.jpg").touch()
    (tmp_path / "notes.txt").touch()
    names = [path.name for path in calibrate_command._pictures(tmp_path, 3)]
    assert names == ["0.jpg", "3.jpg", "6.jpg", "9.jpg"]
    (tmp_path / "10.WEBP").touch()
    assert len(calibrate_command._pictures(tmp_path, 100)) == 11


def test_pictures_that_cannot_be_read_are_left_out(tmp_path):
    """Also those that say they are larger than OpenCV takes."""
    cv2.imwrite(str(good := tmp_path / "1.png"), np.full((8, 8, 3), 7, np.uint8))
    data = bytearray(good.read_bytes())
    data[16:24] = struct.pack(">II", 40000, 40000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "2.png").write_bytes(data)
    (tmp_path / "3.png").write_bytes(b"no picture")
    (found,) = calibrate_command._read(tmp_path, 100)
    assert found.shape == (8, 8, 3) and (found == 7).all()


def test_noise_is_always_the_same(tmp_path):
    spec = load(pose_file(tmp_path / "a.onnx"), "pose", "openvino").spec
    assert (build_command.noise(spec, 2) == build_command.noise(spec, 2)).all()
    assert build_command.noise(spec, 2).dtype == np.uint8


def test_errors_are_one_line_without_passwords(capsys):
    for asked in (["check", "https://me:hush@h/a\n\x1b[31m.onnx"], ["pull", "https://me:hush@h/a"]):
        assert main(asked) == 5
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "hush" not in said and "***@h/a" in said
        assert "\x1b" not in said


def test_describe_changes_words_and_no_weights(tiny, tmp_path, capsys):
    pose, detector = tiny
    output = tmp_path / "mine.onnx"
    asked = ["describe", str(pose), "--output", str(output), "--name", "mine", "--accuracy", "0.5"]
    assert main([*asked, "--licence", "CC0"]) == 0, capsys.readouterr().err
    one, other = load(pose, "pose", precision="f32"), load(output, "pose", precision="f32")
    assert (other.spec.name, other.spec.licence) == ("mine", "CC0")
    assert other.spec.input_wh == one.spec.input_wh
    pixels = np.random.default_rng(0).integers(0, 255, (2, 256, 192, 3), np.uint8)
    np.testing.assert_array_equal(one(pixels)[0], other(pixels)[0])
    assert main(asked) == 4
    assert main([*asked[:-1], "7", "--overwrite"]) == 2
    assert "from 0 to 1" in capsys.readouterr().err
    had = output.read_bytes()
    for wrong in ("detector-yolox-nano", "", "x" * 101):
        assert main([*asked[:5], wrong, "--overwrite"]) == 5, wrong
        assert main([*asked[:3], str(tmp_path / "new.onnx"), "--licence", "a\nb"]) == 5
    assert output.read_bytes() == had and not (tmp_path / "new.onnx").exists()
    other_file = tmp_path / "x.onnx"
    other_file.write_bytes(b"no network")
    assert main(["describe", str(other_file), "--output", str(tmp_path / "y.onnx")]) == 5


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (("--engine", "tensorrt"), "needs an NVIDIA GPU, none is found; use --engine auto"),
        (("--engine", "openvino", "--compute", "cuda"), "openvino does not run onnx files on cuda"),
        (("--compute", "cuda:1"), "cuda:1"),
        (("--engine", "torch", "--precision", "int8"), "torch does not have it"),
    ],
)
def test_what_is_asked_for_and_absent_ends_with_5(tmp_path, asked, reason):
    if cuda.count():
        pytest.skip("there is a GPU")
    output = tmp_path / "out.jsonl"
    result = run_demo("--end", 2, "--json", output, *asked)
    assert result.code == 5 and len(result.errors) == 1 and reason in result.errors[0], result.err
    assert not output.exists() or not output.read_bytes()


def test_a_gpu_that_is_not_there_is_one_line():
    if cuda.count():
        pytest.skip("there is a GPU")
    result = run_demo("--end", 2, "--compute", "cuda")
    assert result.code == 5
    said = "posestream: error: compute cuda: no NVIDIA GPU found; use --compute cpu\n"
    assert result.err == said

"""--data and --angles through the real command line."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest
from commandline import demo, finish, lines, start
from media import video as make_video
from test_formats_files import NAMES
from test_run import fails, wait_for

from realtime.angles import ANGLES
from realtime.cli import parse
from realtime.config_file import as_toml
from realtime.errors import UsageError
from realtime.formats.registry import load
from realtime.formats.target import FORMATS
from realtime.opening import open_sinks, open_source
from realtime.options import build_parser


def test_one_run_writes_every_format(tmp_path: Path) -> None:
    data, told = tmp_path / "poses.jsonl", tmp_path / "report.json"
    asked = [w for f in FORMATS for w in ("--data", f"{f}:{tmp_path / NAMES[f]}")]
    result = demo(
        "--end", "12", "--stride", "2", "--json", data, *asked, "--report", told, "--angles"
    )
    assert result.code == 0, result.err
    report = json.loads(told.read_text())
    assert report["ledger_errors"] == []
    assert {name: sink["frames"] for name, sink in report["sinks"].items()} == {
        "json": 6, **{f"data.{f}": 6 for f in FORMATS}
    }  # fmt: skip
    assert data.read_bytes() == (tmp_path / "a.jsonl").read_bytes()
    records = {record["frame"]: record for record in lines(data)}
    assert list(records) == [0, 2, 4, 6, 8, 10] and records[0]["people"]
    assert list(records[0]["people"][0]["angles"]) == list(ANGLES)
    for format_ in FORMATS:
        for frame in load(tmp_path / NAMES[format_]):
            record = records[frame.frame]
            assert frame.time == pytest.approx(record["time"], abs=1e-6)
            if format_ == "trc":
                assert set(frame.poses.ids.tolist()) <= {p["id"] for p in record["people"]}
                continue
            assert frame.poses.ids.tolist() == [person["id"] for person in record["people"]]
            points = [person["keypoints"] for person in record["people"]]
            found = np.concatenate([frame.poses.joints_xy, frame.poses.joint_scores[..., None]], 2)
            assert np.allclose(found, points, 0, 5.2e-3)


def test_a_format_for_any_suffix(tmp_path: Path) -> None:
    """--format is for each file that names none itself, also where the suffix says another one."""
    table, wide, other = (tmp_path / name for name in ("a.txt", "w.dat", "b.json"))
    asked = ("--data", table, "--data", f"csv-wide:{wide}", "--data", other)
    result = demo("--end", "3", "--format", "csv", *asked)
    assert result.code == 0, result.err
    assert table.read_bytes() == other.read_bytes()
    heads = [path.read_text().partition("\n")[0] for path in (table, wide)]
    assert heads[0].endswith(",joint,x,y,joint_score") and heads[1].endswith(",right_ankle_score")
    settings = parse(["--data", "poses", "--data", "C:/a.csv", "--format", "openpose"])
    assert settings.data == ("openpose:poses", "openpose:C:/a.csv")
    fails(demo("--data", table, "--format", "xml"), 2, "--format xml: choose jsonl, json, csv")
    fails(demo("--format", "csv"), 2, "--format csv goes with --data FILE")
    usage = " ".join(build_parser().format_help().split())
    assert f"FORMAT is {', '.join(FORMATS[:-1])} or trc" in usage


def test_a_killed_run_leaves_lines_that_can_be_read_and_nothing_half(tmp_path: Path) -> None:
    asked = [w for f in FORMATS for w in ("--data", f"{f}:{tmp_path / NAMES[f]}")]
    process = start("--input", "demo", "--headless", "--live", *asked)
    first = tmp_path / "a.csv"
    wait_for(lambda: first.exists() and first.stat().st_size > 20_000)
    process.kill()
    finish(process)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["a.csv", "a.jsonl", "poses", "w.csv"]
    for name in left:
        assert len(load(tmp_path / name)) > 3


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    twice = str(tmp_path / "x" / ".." / "a.csv")
    path = str(tmp_path / "a.csv")
    for arguments, says in (
        (("--data", str(tmp_path / "a.xml")), ".jsonl, .json, .csv, .npz, .mat, .trc"),
        (("--data", path, "--data", twice), "same name"),
        (("--json", f"{path}.jsonl", "--data", f"{path}.jsonl"), "same name"),
        (("--data", path, "--data", f"csv-wide:{path}"), "same name"),
    ):
        with pytest.raises(UsageError, match=re.escape(says)) as caught:
            parse(["--input", "demo", *arguments])
        assert "\n" not in str(caught.value)
    fails(demo("--data", tmp_path / "none" / "a.npz"), 4, "there is no folder")
    assert not list(tmp_path.iterdir())


def test_an_output_is_never_the_input(tmp_path: Path) -> None:
    folder, video = tmp_path / "images", tmp_path / "walk.mp4"
    folder.mkdir()
    image = folder / "1.png"
    for path in (image, folder / "2.png"):
        cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    make_video(video, 2)
    (tmp_path / "soft.csv").symlink_to(video)
    (tmp_path / "hard.npz").hardlink_to(video)
    (tmp_path / "image.csv").symlink_to(image)
    cases = [(video, name) for name in (f"csv:{video}", "soft.csv", "hard.npz")]
    for source in (folder, f"{folder}/*.png", tmp_path / "ima*" / "?.png", image):
        cases += [(source, f"csv:{image}"), (source, "image.csv")]
    cases.append((folder, f"openpose:{folder}"))
    for source, name in cases:
        text = name if ":" in name else str(tmp_path / name)
        settings = parse(["--input", str(source), "--data", text, "--overwrite", "--headless"])
        opened = open_source(settings)
        with ExitStack() as cleanup:
            cleanup.callback(opened.close)
            with pytest.raises(UsageError, match="this is the input"):
                open_sinks(settings, opened.info, cleanup)
    assert sorted(path.name for path in folder.iterdir()) == ["1.png", "2.png"]


def test_trc_is_not_of_independent_images(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((8, 8, 3), np.uint8))
    asked = ["--input", str(tmp_path), "--data", str(tmp_path / "a.trc")]
    for more in ([], ["--sequence"]):
        settings = parse([*asked, *more])
        with ExitStack() as cleanup:
            info = open_source(settings).info
            if more:
                assert len(open_sinks(settings, info, cleanup)) == 1
                continue
            with pytest.raises(UsageError, match=r"a\.trc: TRC is for one person.*--sequence"):
                open_sinks(settings, info, cleanup)


def test_a_configuration_names_several(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    files = ["a.csv", "coco:b.json"]
    config.write_text(f"data = {json.dumps(files)}\nangles = true\n")
    settings = parse(["--config", str(config)])
    assert settings.data == ("a.csv", "coco:b.json") and settings.angles
    assert f"data = {json.dumps(files)}" in as_toml(settings)
    config.write_text(f'data = {json.dumps(files)}\nformat = "npz"\n')
    settings = parse(["--config", str(config)])
    assert settings.data == ("npz:a.csv", "coco:b.json")
    config.write_text(as_toml(settings))
    assert parse(["--config", str(config)]) == settings

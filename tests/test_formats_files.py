"""Every data format: what comes back, and what is on the disk while and after a run."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.cli import parse
from realtime.errors import InputError, OutputError, UsageError
from realtime.formats import files
from realtime.formats.documents import coco_id
from realtime.formats.openpose import BODY_25, to_body_25
from realtime.formats.registry import About, _form, load, open_data
from realtime.formats.rows import LoadedFrame
from realtime.formats.target import FORMATS, Target, divided, parse_target
from realtime.records import Frame, PosedFrame, Poses
from realtime.sinks.base import Sink
from realtime.skeleton import JOINTS

NAMES = {
    "jsonl": "a.jsonl", "json": "a.json", "csv": "a.csv", "csv-wide": "w.csv", "npz": "a.npz",
    "mat": "a.mat", "coco": "coco.json", "openpose": "poses", "trc": "a.trc",
}  # fmt: skip
EXACT = ("npz", "mat")
NTSC = Fraction(30000, 1001)
WITHOUT_EMPTY = ("csv", "csv-wide", "coco")


def people(rng: np.random.Generator, ids: list[int]) -> Poses:
    n = len(ids)
    return Poses(
        rng.uniform(-50, 2000, (n, 17, 2)).astype(np.float32),
        rng.uniform(0, 1, (n, 17)).astype(np.float32),
        np.sort(rng.uniform(-5, 2000, (n, 2, 2)), 1).reshape(n, 4).astype(np.float32),
        rng.uniform(0, 1, n).astype(np.float32),
        np.array(ids, np.int64),
    )


def posed(index: int, time: float, poses: Poses, source: str = "") -> PosedFrame:
    return PosedFrame(Frame(index, time, np.zeros((2, 2, 3), np.uint8), source), poses)


def scene(seed: int = 0) -> list[PosedFrame]:
    """Frames with a gap, uneven times, nobody and several people."""
    rng = np.random.default_rng(seed)
    who = {0: [3, 0], 1: [], 2: [0], 5: [3, 7, 0], 6: []}
    return [posed(i, i / 29.97 + 0.001 * (i % 2), people(rng, ids)) for i, ids in who.items()]


def sink(target: Target, about: About | None = None, overwrite: bool = False) -> Sink:
    with ExitStack() as stack:
        about = about or About("walk.mp4")
        (made,) = open_data([target], about, overwrite=overwrite, cleanup=stack)
        stack.pop_all()
    return made


def write(target: Target, items: list[PosedFrame], about: About | None = None) -> list[str]:
    made = sink(target, about)
    for item in items:
        made.write(item)
    made.close()
    made.close()
    return made.notes


def target(folder: Path, format_: str) -> Target:
    return Target(format_, folder / NAMES[format_])


def same(found: LoadedFrame, item: PosedFrame, exact: bool) -> None:
    digits = 0 if exact else 1
    assert found.frame == item.frame.index
    assert abs(found.time - item.frame.time) <= digits * 0.51e-6
    ours, theirs = item.poses, found.poses
    assert theirs.ids.tolist() == ours.ids.tolist()
    for name, off in (("joints_xy", 5.2e-3), ("joint_scores", 5.1e-5), ("scores", 5.1e-5)):
        assert np.allclose(getattr(theirs, name), getattr(ours, name), 0, digits * off), name
    assert np.allclose(theirs.boxes_xyxy, ours.boxes_xyxy, 0, digits * 1.1e-2)


@pytest.mark.parametrize("format_", [name for name in FORMATS if name != "trc"])
def test_what_was_written_comes_back(tmp_path: Path, format_: str) -> None:
    items, to = scene(), target(tmp_path, format_)
    assert write(to, items) == []
    expected = [i for i in items if len(i.poses) or format_ not in WITHOUT_EMPTY]
    found = load(to.path)
    assert len(found) == len(expected)
    for loaded, item in zip(found, expected):
        same(loaded, item, format_ in EXACT)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {to.path.name}  # nothing else stays


@pytest.mark.parametrize("format_", FORMATS)
def test_people_without_frames_and_frames_without_people(tmp_path: Path, format_: str) -> None:
    to = target(tmp_path, format_)
    write(to, [posed(0, 0.0, Poses.empty()), posed(1, 0.04, Poses.empty())])
    found = load(to.path)
    assert [len(frame.poses) for frame in found] == ([] if format_ in WITHOUT_EMPTY else [0, 0])
    to.path.with_name("no").mkdir()
    nothing = target(tmp_path / "no", format_)
    write(nothing, [])
    assert list(nothing.path.parent.iterdir()) == []


@pytest.mark.parametrize("format_", ["csv", "csv-wide", "coco"])
def test_a_table_may_be_sorted_by_person(tmp_path: Path, format_: str) -> None:
    items, to = scene(), target(tmp_path, format_)
    write(to, items)
    if format_ == "coco":
        entries = json.loads(to.path.read_text())
        to.path.write_text(json.dumps(sorted(entries, key=lambda entry: entry["track_id"])))
    else:
        head, *rows = to.path.read_text().splitlines()
        to.path.write_text("\n".join([head, *sorted(rows, key=lambda r: int(r.split(",")[2]))]))
    for loaded, item in zip(load(to.path), [i for i in items if len(i.poses)], strict=True):
        order = np.argsort(item.poses.ids)
        same(loaded, posed(item.frame.index, item.frame.time, item.poses[order]), False)


@pytest.mark.parametrize("later", [0.0, 0.001])
def test_tables_of_two_videos_are_not_one(tmp_path: Path, later: float) -> None:
    """Whose people have the same ids, or whose frames have the same numbers at other times."""
    to = target(tmp_path, "csv")
    rng = np.random.default_rng(0)
    write(to, [posed(i, t + i, people(rng, [1 + 9 * (t > 0)])) for t in (0, later) for i in (3, 4)])
    with pytest.raises(InputError, match="frame 3 is there twice; is this more than one video"):
        load(to.path)


@pytest.mark.parametrize("format_", FORMATS)
def test_times_that_are_not_known(tmp_path: Path, format_: str) -> None:
    """As in files of OpenPose and COCO results of others."""
    to = target(tmp_path, format_)
    items = [posed(n, np.nan, people(np.random.default_rng(n), [2])) for n in range(2)]
    if format_ == "trc":
        made = sink(to)
        with pytest.raises(OutputError, match=r"^a\.trc: frame 0 has no time, which TRC needs"):
            made.write(items[0])
        made.close(clean=False)
        assert list(tmp_path.iterdir()) == []
        return
    write(to, items)
    assert [(frame.frame, np.isnan(frame.time)) for frame in load(to.path)] == [(0, 1), (1, 1)]


@pytest.mark.skipif(os.name != "posix", reason="names are bytes")
@pytest.mark.parametrize("format_", FORMATS)
def test_a_name_that_is_not_utf_8(tmp_path: Path, format_: str) -> None:
    name = "caf\udce9" + ("" if format_ == "openpose" else Path(NAMES[format_]).suffix)
    to = Target(format_, tmp_path / name)
    write(to, scene(), About("caf\udce9.mp4"))
    assert load(to.path)


def test_trc_holds_one_person(tmp_path: Path) -> None:
    items, to = scene(), target(tmp_path, "trc")
    about = About("walk.mp4", least_score=0.3)
    assert write(to, items, about) == ["TRC: person 0 only, 2 others left out"]
    found = load(to.path)
    assert [frame.frame for frame in found] == [0, 1, 2, 5, 6]
    assert [len(frame.poses) for frame in found] == [1, 0, 1, 1, 0]
    for frame, item in zip(found, items):
        assert abs(frame.time - item.frame.time) < 1e-6
        if len(frame.poses):
            assert frame.poses.ids.tolist() == [0]
            person = item.poses[item.poses.ids == 0]
            seen = person.joint_scores >= 0.3
            assert np.array_equal(frame.poses.joint_scores, seen.astype(np.float32))
            assert np.allclose(frame.poses.joints_xy[seen], person.joints_xy[seen], 0, 5.2e-3)
            assert not frame.poses.joints_xy[~seen].any()


@pytest.mark.parametrize(("count", "rate"), [(1, 24.0), (1, None), (11, 24.0)])
def test_the_header_of_trc(tmp_path: Path, count: int, rate: float | None) -> None:
    """Frame numbers and times may begin anywhere; of people seen as long, the lower id."""
    to = target(tmp_path, "trc")
    rng = np.random.default_rng(2)
    items = [posed(7 + i, 1.5 + i / 50, people(rng, [8, 5])) for i in range(count)]
    assert write(to, items, About("a.mp4", rate=rate)) == ["TRC: person 5 only, 1 others left out"]
    names, values = (line.split("\t") for line in to.path.read_text().splitlines()[1:3])
    header = dict(zip(names, values, strict=True))
    wanted = "50.0" if count > 1 else str(rate or 30.0)
    assert header == {
        "DataRate": wanted, "CameraRate": wanted, "NumFrames": str(count), "NumMarkers": "17",
        "Units": "px", "OrigDataRate": wanted, "OrigDataStartFrame": "7",
        "OrigNumFrames": str(count),
    }  # fmt: skip


@pytest.mark.parametrize("height", [None, 1.8])
def test_no_row_of_trc_ends_with_an_empty_cell(tmp_path: Path, height: float | None) -> None:
    """OpenSim refuses those: without the last joint, and without the person."""
    to, lost = target(tmp_path, "trc"), standing(300)
    lost.joint_scores[0, -1] = 0
    items = [posed(0, 0.0, standing(300)), posed(1, 0.1, lost), posed(2, 0.2, Poses.empty())]
    write(to, items, About("walk.mp4", height=height))
    rows = [line.split("\t") for line in to.path.read_text().splitlines()[6:]]
    assert [(len(row), row[-3:-1], row[-1]) for row in rows[2:]] == [(53, ["", ""], "nan")]
    assert len(rows[1]) == 53 and rows[1][-3:] == ["", "", "nan"] and rows[0][-1] == "0"
    if height is None:
        assert [frame.poses.joint_scores.sum() for frame in load(to.path)] == [17, 16, 0]


@pytest.mark.parametrize(("rate", "told"), [(Fraction(30), "30.0"), (NTSC, "29.97")])
def test_the_rate_of_trc_is_that_of_times_that_were_rounded(
    tmp_path: Path, rate: Fraction, told: str
) -> None:
    """As those of every file that realtime.clean reads are."""
    to, rng = target(tmp_path, "trc"), np.random.default_rng(2)
    write(to, [posed(i, round(float(i / rate), 6), people(rng, [1])) for i in range(11)])
    assert to.path.read_text().splitlines()[2].startswith(f"{told}\t{told}\t")


@pytest.mark.parametrize("number", [7, 0, -1])
def test_trc_tells_who_it_holds(tmp_path: Path, number: int) -> None:
    to = target(tmp_path, "trc")
    rng = np.random.default_rng(2)
    write(to, [posed(i, i / 30, people(rng, [number])) for i in range(3)])
    assert [frame.poses.ids.tolist() for frame in load(to.path)] == [[number]] * 3
    first, _, rest = to.path.read_text().partition("\n")
    assert first == f"PathFileType\t4\t(X/Y/Z)\ta.trc\tid {number}"
    to.path.write_text(f"PathFileType\t4\t(X/Y/Z)\tid 5.trc\n{rest}")  # as others write it
    assert [frame.poses.ids.tolist() for frame in load(to.path)] == [[0]] * 3


@pytest.mark.parametrize("format_", FORMATS)
def test_a_person_that_is_not_finite_is_left_out(tmp_path: Path, format_: str) -> None:
    poses = people(np.random.default_rng(1), [4, 5, 6])
    poses.joints_xy[0, 3, 1] = np.nan
    poses.boxes_xyxy[2, 0] = np.inf
    to = target(tmp_path, format_)
    write(to, [posed(0, 0.0, poses)])
    (frame,) = load(to.path)
    assert frame.poses.ids.tolist() == [5]


@pytest.mark.parametrize("format_", FORMATS)
def test_two_runs_give_the_same_results(tmp_path: Path, format_: str) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        to = target(tmp_path / name, format_)
        write(to, scene())
        files = sorted(to.path.iterdir()) if to.path.is_dir() else [to.path]
        found.append([(file.name, file.read_bytes()) for file in files])
    if format_ == "mat":  # its first 116 bytes tell the day it was written on
        found = [[(name, data[116:]) for name, data in files] for files in found]
    if format_ == "npz":  # and so does a zip file
        return
    assert found[0] == found[1]


@pytest.mark.parametrize("format_", ["jsonl", "json", "csv", "npz", "mat", "coco", "openpose"])
def test_images_keep_their_names(tmp_path: Path, format_: str) -> None:
    names = ["Zoë, 走.png", 'b "c".jpg', "000000000139.jpg", "two\nlines.png", "one\rtwo.png"]
    rng = np.random.default_rng(2)
    items = [posed(i, float(i), people(rng, [-1]), name) for i, name in enumerate(names)]
    to = target(tmp_path, format_)
    notes = write(to, items, About("folder", with_file=True))
    found = load(to.path)
    assert [frame.file for frame in found] == names
    if format_ == "coco":
        ids = [entry["image_id"] for entry in json.loads(to.path.read_text("utf-8"))]
        assert ids == [0, 1, 139, 3, 4] and len(notes) == 1


def test_images_of_the_same_number(tmp_path: Path) -> None:
    rng, to = np.random.default_rng(2), target(tmp_path, "coco")
    names = ["007.png", "7.jpg", "8.jpg", "7.png"]
    items = [posed(i, float(i), people(rng, [-1]), name) for i, name in enumerate(names)]
    notes = write(to, items, About("folder", with_file=True))
    assert notes == ["COCO: the image id of 7.jpg and 1 more is that of another image, too"]
    assert [(frame.file, len(frame.poses)) for frame in load(to.path)] == [(n, 1) for n in names]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("000000000139.jpg", 139), ("COCO_val2014_000000000042.jpg", 42), ("7.png", 7),
        ("a_7.png", None), ("frame.png", None), ("1234567890123.jpg", None), ("７.png", None),
    ],
)  # fmt: skip
def test_image_ids(name: str, number: int | None) -> None:
    assert coco_id(name) == number


def test_body_25() -> None:
    poses = people(np.random.default_rng(3), [1, 2])
    body = to_body_25(poses)
    assert body.shape == (2, 25, 3) and len(BODY_25) == 25
    for k, name in enumerate(BODY_25):
        if name in JOINTS:
            j = JOINTS.index(name)
            assert np.array_equal(body[:, k, :2], poses.joints_xy[:, j])
            assert np.array_equal(body[:, k, 2], poses.joint_scores[:, j])
    for k, a, b in ((1, "left_shoulder", "right_shoulder"), (8, "left_hip", "right_hip")):
        i, j = JOINTS.index(a), JOINTS.index(b)
        middle = (poses.joints_xy[:, i] + poses.joints_xy[:, j]) / 2
        assert np.allclose(body[:, k, :2], middle)
        assert np.array_equal(body[:, k, 2], poses.joint_scores[:, [i, j]].min(1))
    assert not body[:, 19:].any()


def test_openpose_files_are_called_as_openpose_calls_them(tmp_path: Path) -> None:
    to = target(tmp_path, "openpose")
    write(to, scene(), About("my walk.final.mp4"))
    assert sorted(path.name for path in to.path.iterdir())[:2] == [
        "my_walk.final_000000000000_keypoints.json",
        "my_walk.final_000000000001_keypoints.json",
    ]


@pytest.mark.parametrize("format_", ["csv", "csv-wide"])
def test_an_angle_that_is_not_known_is_an_empty_cell(tmp_path: Path, format_: str) -> None:
    poses, to = people(np.random.default_rng(5), [1]), target(tmp_path, format_)
    poses.joint_scores[:] = 1
    poses.joint_scores[0, JOINTS.index("right_ankle")] = 0.1
    write(to, [posed(0, 0.0, poses)], About("a.mp4", angles=True))
    head, *rows = (line.split(",") for line in to.path.read_text().splitlines())
    if format_ == "csv":
        cells = {row[head.index("joint")]: row[-1] for row in rows}
    else:
        cells = {name.removesuffix("_angle"): c for name, c in zip(head[-8:], rows[0][-8:])}
    assert cells["right_knee"] == "" and 0 <= float(cells["left_knee"]) <= 180
    assert "nan" not in to.path.read_text()


# On the disk


@pytest.mark.parametrize("format_", FORMATS)
def test_a_run_that_is_killed(tmp_path: Path, format_: str) -> None:
    """Lines and OpenPose files are there as soon as they are written, the others only at the end;
    nothing else is ever beside them."""
    to = target(tmp_path, format_)
    made = sink(to)
    items = scene()
    for item in items[:4]:
        made.write(item)
    there = [path.name for path in tmp_path.iterdir()]
    if format_ in ("jsonl", "csv", "csv-wide", "openpose"):
        assert there == [to.path.name]
        expected = [i for i in items[:4] if len(i.poses) or format_ not in WITHOUT_EMPTY]
        assert [f.frame for f in load(to.path)] == [i.frame.index for i in expected]
    else:
        assert there == []
    made.close(clean=False)
    assert load(to.path)[0].frame == 0


def test_trc_of_people_without_ids_says_whom_it_holds(tmp_path: Path) -> None:
    items = [posed(n, n, people(np.random.default_rng(n), [-1, -1])) for n in range(3)]
    notes = write(target(tmp_path, "trc"), items)
    assert notes == ["TRC: nobody has an id, as in independent images: the first of each frame"]


@pytest.mark.parametrize("format_", ["json", "npz", "csv", "trc"])
@pytest.mark.parametrize("clean", [True, False])
def test_the_old_file_goes_only_when_the_run_was_good(
    tmp_path: Path, format_: str, clean: bool
) -> None:
    to = target(tmp_path, format_)
    to.path.write_text("old")
    with pytest.raises(OutputError, match="exists; use --overwrite"):
        sink(to)
    made = sink(to, overwrite=True)
    made.write(scene()[0])
    made.close(clean)
    assert len(load(to.path)) == 1
    backup = to.path.with_name(to.path.name + ".bak")
    assert backup.exists() is not clean and (clean or backup.read_text() == "old")


def test_a_file_that_appeared_meanwhile_is_not_lost(tmp_path: Path) -> None:
    to = target(tmp_path, "npz")
    made = sink(to)
    made.write(scene()[0])
    to.path.write_text("somebody else's")
    made.close()
    assert len(load(to.path)) == 1
    assert to.path.with_name("a.npz.bak").read_text() == "somebody else's"
    assert "a.npz.bak" in made.notes[0]


@pytest.mark.parametrize("clean", [True, False])
def test_openpose_folders_that_exist(tmp_path: Path, clean: bool) -> None:
    to = target(tmp_path, "openpose")
    write(to, scene())
    with pytest.raises(OutputError, match="holds results already; use --overwrite"):
        sink(to)
    made = sink(to, overwrite=True)
    made.write(scene()[0])
    made.close(clean)
    assert len(list(to.path.iterdir())) == 1
    assert (tmp_path / "poses.bak").exists() is not clean
    sink(to, overwrite=True).close()
    assert len(list(to.path.iterdir())) == 1  # a run without frames changes nothing
    (to.path / "holiday.jpg").write_text("mine")
    with pytest.raises(OutputError, match="holds other files"):
        sink(to, overwrite=True)
    with pytest.raises(OutputError, match="no folder .*none; create it"):
        sink(Target("openpose", tmp_path / "none" / "x"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file: cannot be used as a folder"):
        sink(Target("openpose", tmp_path / "file"))


def test_an_old_folder_that_is_removed_meanwhile_is_no_error(tmp_path: Path) -> None:
    to = target(tmp_path, "openpose")
    write(to, scene())
    made = sink(to, overwrite=True)
    made.write(scene()[0])
    shutil.rmtree(tmp_path / "poses.bak")
    made.close()
    assert [frame.frame for frame in load(to.path)] == [0]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_full_disk(tmp_path: Path, format_: str) -> None:
    """What was taken before stays whole, or is told to be lost."""
    resource = pytest.importorskip("resource")
    to = target(tmp_path, format_)
    made = sink(to)
    rng = np.random.default_rng(4)
    written = lost = 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match=str(to.path)):
            for index in range(300):
                made.write(posed(index, index / 30, people(rng, list(range(30)))))
                written += 1
        made.close(clean=False)
    except OutputError as error:
        lost = error.lost
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    found = load(to.path) if to.path.exists() else []
    assert len(found) == written - lost
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("format_", ["json", "npz", "mat", "coco", "trc"])
def test_collecting_stops_while_there_is_room_for_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    to, rng = target(tmp_path, format_), np.random.default_rng(4)
    free = iter([10**9, 10**9, files.SPARE + 100])
    monkeypatch.setattr(files, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(files, "SMALL", 1)
    monkeypatch.setattr(files, "free_bytes", lambda folder: next(free))
    made = sink(to)
    for index in range(3):  # before the first one nothing is there, and nothing looked at
        made.write(posed(index, index / 30, people(rng, [1])))
    with pytest.raises(OutputError, match="cannot collect more after 3 frames: the 8 MiB left"):
        made.write(posed(3, 0.1, people(rng, [1])))
    made.close(clean=False)
    assert [frame.frame for frame in load(to.path)] == [0, 1, 2]


def test_no_folder_for_it(tmp_path: Path) -> None:
    for format_ in FORMATS:
        with pytest.raises(OutputError, match="there is no folder"):
            sink(target(tmp_path / "none", format_))


# Asking for them


def test_targets(tmp_path: Path) -> None:
    for suffix in ("jsonl", "json", "csv", "npz", "mat", "trc"):
        assert parse_target(f"x/a.{suffix.upper()}") == Target(
            suffix, Path(f"x/a.{suffix.upper()}")
        )
    assert parse_target("coco:a.json") == Target("coco", Path("a.json"))
    assert parse_target("CSV-wide:C:/a.txt") == Target("csv-wide", Path("C:/a.txt"))
    assert (
        parse_target("poses/")
        == parse_target("openpose:poses")
        == Target("openpose", Path("poses"))
    )
    assert parse_target(str(tmp_path)) == Target("openpose", tmp_path)
    assert parse_target("C:/a.csv") == Target("csv", Path("C:/a.csv"))


@pytest.mark.parametrize("text", ["a.xml", "a", "", "csv:", "xml:a", ".csv", "coco", "npz: "])
def test_what_is_no_target_lists_the_formats(text: str) -> None:
    with pytest.raises(UsageError, match=r"--data .*\.jsonl, .*\.trc, .*coco:FILE") as caught:
        parse_target(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("csvwide:x.csv", "unknown format csvwide; did you mean csv-wide?"),
        ("Jsnol:x.jsonl", "unknown format Jsnol; did you mean jsonl?"),
        ("XLSX:y.csv", "unknown format XLSX; expected a name ending in .jsonl, "),
    ],
)
def test_a_mistyped_format_makes_no_file_of_that_name(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=f"^--out {re.escape(f'{text}: {told}')}"):
        parse_target(text, "--out")
    with pytest.raises(UsageError, match=f"^--data {re.escape(f'{text}: {told}')}"):
        parse(["--format", "csv", "--data", text])


def test_a_colon_in_a_name_is_no_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "monday:walk.csv").touch()
    for name in ("monday:walk.csv", "./tuesday:walk.csv", "walk_12:30.csv", "C:walk.csv"):
        assert parse_target(name) == Target("csv", Path(name))
        assert divided(name) == ("", name)


# Reading what others made


@given(st.binary(max_size=300), st.sampled_from(sorted(NAMES.values())))
def test_files_of_anything_are_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("x") / (name if "." in name else "a.json")
    path.write_bytes(data)
    try:
        found = load(path)
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert found == []


@pytest.mark.parametrize("format_", FORMATS)
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, format_: str) -> None:
    """Cut at any place or with a byte changed: an error of ours, or frames."""
    to = target(tmp_path, format_)
    write(to, scene())
    path = sorted(to.path.iterdir())[0] if to.path.is_dir() else to.path
    good, rng = path.read_bytes(), np.random.default_rng(5)
    for _ in range(60):
        cut = int(rng.integers(len(good)))
        data = good[:cut] if rng.random() < 0.5 else good[:cut] + b"!" + good[cut + 1 :]
        path.write_bytes(data)
        try:
            load(to.path)
        except InputError as error:
            assert "\n" not in str(error)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for name, reason in (("none.csv", "No such file"), ("a.xml", "expected a folder or a name")):
        with pytest.raises(InputError, match=reason):
            load(tmp_path / name)
    with pytest.raises(InputError, match="no file ending in _keypoints.json"):
        load(tmp_path)


@pytest.mark.parametrize("format_", [name for name in FORMATS if name != "openpose"])
def test_a_file_of_no_bytes_is_told_and_one_without_frames_gives_none(
    tmp_path: Path, format_: str
) -> None:
    to = target(tmp_path, format_)
    to.path.touch()
    if format_ == "jsonl":  # a run that has not come to its first line
        assert load(to.path) == []
    else:
        with pytest.raises(InputError, match=r"is empty \(0 bytes\); give a file that --data"):
            load(to.path)
    without_frames(to)
    assert load(to.path) == []


def without_frames(to: Target) -> None:
    """Write to a file what its format has before and after its frames."""
    if to.format == "jsonl":
        to.path.write_bytes(b"\n")
    elif to.format in ("csv", "csv-wide"):
        to.path.unlink(missing_ok=True)
        write(to, [posed(0, 0.0, Poses.empty())])
    elif to.format == "trc":
        to.path.unlink(missing_ok=True)
        write(to, [posed(0, 0.0, people(np.random.default_rng(0), [1]))])
        to.path.write_bytes(b"".join(to.path.read_bytes().splitlines(keepends=True)[:5]))
    else:
        form = _form(to, About("walk.mp4"), overwrite=True)
        with to.path.open("wb") as out:
            form.finish(out)
        for spool in form.spools:
            spool.close()


def test_an_npz_that_is_no_archive_is_not_to_be_trusted(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"\n")
    with pytest.raises(InputError, match="no zip archive, or one cut short$"):
        load(path)


def test_openpose_files_of_openpose(tmp_path: Path) -> None:
    """Without ids, times, boxes and scores of people, as OpenPose itself writes them."""
    points = [0.0] * 75
    points[0:3], points[12:15] = [10.0, 20.0, 0.8], [30.0, 60.0, 0.4]  # nose, right wrist
    person = {"person_id": [-1], "pose_keypoints_2d": points, "face_keypoints_2d": []}
    for number in (12, 5):
        path = tmp_path / f"video_{number:012d}_keypoints.json"
        path.write_text(json.dumps({"version": 1.3, "people": [person]}))
    first, second = load(tmp_path)
    assert (first.frame, second.frame) == (5, 12) and np.isnan(first.time)
    poses = first.poses
    assert poses.ids.tolist() == [-1] and poses.boxes_xyxy.tolist() == [[10, 20, 30, 60]]
    assert poses.joints_xy[0, JOINTS.index("right_wrist")].tolist() == [30, 60]
    assert poses.scores[0] == pytest.approx(0.6)


def test_coco_results_of_others(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    points = np.arange(51, dtype=float).tolist()
    path.write_text(
        json.dumps([{"image_id": 9, "category_id": 1, "keypoints": points, "score": 0.5}])
    )
    (frame,) = load(path)
    assert frame.frame == 9 and frame.poses.ids.tolist() == [-1]
    assert frame.poses.boxes_xyxy.tolist() == [[0, 1, 48, 49]]


def test_a_last_line_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    for format_, lost in (("jsonl", 1), ("csv", 0)):
        to = target(tmp_path, format_)
        write(to, [posed(i, i / 30, people(np.random.default_rng(i), [1])) for i in range(3)])
        data = to.path.read_bytes()
        to.path.write_bytes(data[:-20] if lost else data)
        assert len(load(to.path)) == 3 - lost


def test_what_is_no_record_at_all_is_told(tmp_path: Path) -> None:
    for text in ("garbage", "12", '"a"'):
        path = tmp_path / "a.jsonl"
        path.write_text(text)
        with pytest.raises(InputError, match="not a file of poses, or a damaged one"):
            load(path)


def test_an_id_that_is_null_is_nobody_known(tmp_path: Path) -> None:
    to = target(tmp_path, "jsonl")
    write(to, [posed(0, 0.0, people(np.random.default_rng(0), [1]))])
    to.path.write_text(to.path.read_text().replace('"id":1,', '"id":null,'))
    assert load(to.path)[0].poses.ids.tolist() == [-1]


def test_coco_boxes_have_the_edge_of_the_first_pixel_at_0(tmp_path: Path) -> None:
    """As COCO's labels: pixel centres, which is what a box has here, are half a pixel less."""
    to = target(tmp_path, "coco")
    box = np.array([[9.5, 0, 19.5, 4]], np.float32)
    poses = replace(people(np.random.default_rng(0), [1]), boxes_xyxy=box)
    write(to, [posed(0, 0.0, poses)])
    assert json.loads(to.path.read_text())[0]["bbox"] == [10, 0.5, 10, 4]
    assert load(to.path)[0].poses.boxes_xyxy.tolist() == [[9.5, 0, 19.5, 4]]


def test_lines_without_the_last_newline_or_under_another_name(tmp_path: Path) -> None:
    """As editors leave them, and as --json walk.json writes them."""
    to = target(tmp_path, "jsonl")
    write(to, [posed(i, i / 30, people(np.random.default_rng(i), [1])) for i in range(3)])
    data = to.path.read_bytes()
    for count in (1, 2, 3):
        part = b"\n".join(data.split(b"\n")[:count])
        for name in ("b.jsonl", "b.json"):
            (tmp_path / name).write_bytes(part)
            assert len(load(tmp_path / name)) == count


def standing(tall: float) -> Poses:
    """Somebody who is tall pixels tall, on the floor at y = 400."""
    poses = people(np.random.default_rng(0), [2])
    shares = {"ankle": 0.039, "knee": 0.3, "hip": 0.54, "shoulder": 0.789}
    for j, name in enumerate(JOINTS):
        part = name.partition("_")[2]
        poses.joints_xy[0, j] = [100 + 20 * ("left" in name), 400 - tall * shares.get(part, 0.9)]
    poses.joint_scores[:] = 1
    return poses


def test_trc_in_metres(tmp_path: Path) -> None:
    to, about = target(tmp_path, "trc"), About("walk.mp4", height=1.8)
    items = [posed(n, n / 30, standing(300)) for n in range(4)]
    items[2].poses.joint_scores[0, 15] = 0
    notes = write(to, items, about)
    assert notes == [
        "TRC: a pixel is 6 mm by --height 1.8; half of the frames are within 0.0 % of that"
    ]
    lines = to.path.read_text().splitlines()
    head = dict(zip(lines[1].split("\t"), lines[2].split("\t")))
    names, rows = lines[3].split("\t")[2::3], [line.split("\t") for line in lines[5:] if line]
    assert (head["Units"], head["NumFrames"], len(rows)) == ("m", "4", 4)
    k = 2 + 3 * names.index("LAnkle")
    assert [float(v) for v in rows[0][k : k + 3]] == pytest.approx([0.72, 0.0702, 0], abs=1e-4)
    k = 2 + 3 * names.index("RHip")
    assert [float(v) for v in rows[3][k : k + 3]] == pytest.approx([0.6, 0.972, 0], abs=1e-4)
    assert rows[2][2 + 3 * names.index("LAnkle")] == "" and {len(row) for row in rows} == {53}
    with pytest.raises(InputError, match="in m, not in pixels"):
        load(to.path)


def test_trc_in_metres_of_somebody_without_legs(tmp_path: Path) -> None:
    poses = standing(300)
    poses.joint_scores[0, 13:] = 0
    with pytest.raises(OutputError, match="no frame shows shoulder, hip, knee and ankle"):
        write(target(tmp_path, "trc"), [posed(0, 0.0, poses)], About("walk.mp4", height=1.8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_", ["csv", "csv-wide"])
def test_a_table_that_pandas_has_saved(tmp_path: Path, format_: str) -> None:
    """Empty cells for nan, whole numbers as 1.0 where a column had an empty cell once."""
    to = target(tmp_path, format_)
    write(to, [posed(n, np.nan, people(np.random.default_rng(n), [4, 5])) for n in range(2)])
    plain = load(to.path)
    head, *rows = (line.split(",") for line in to.path.read_text().splitlines())
    for row in rows:
        row[:3] = f"{row[0]}.0", "", f"{row[2]}.0"
    rows[0][head.index("x" if format_ == "csv" else "nose_x")] = ""
    to.path.write_text("\n".join(map(",".join, [head, *rows])))
    for found, wanted in zip(load(to.path), plain, strict=True):
        assert found.frame == wanted.frame and np.isnan(found.time)
        assert found.poses.ids.tolist() == [4, 5]
        assert np.array_equal(found.poses.joints_xy[1], wanted.poses.joints_xy[1])
    assert np.isnan(load(to.path)[0].poses.joints_xy[0, 0, 0])
    to.path.write_text(to.path.read_text().replace("4.0", "4.5"))
    with pytest.raises(InputError, match="4.5 is no whole number"):
        load(to.path)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_format_that_is_named_reads_any_suffix(tmp_path: Path, format_: str) -> None:
    to = Target(format_, tmp_path / "poses.txt")
    write(to, scene())
    assert load(to.path, format_)
    if format_ != "openpose":
        with pytest.raises(InputError, match="or a name ending in .jsonl, .*, or FORMAT:FILE"):
            load(to.path)


@pytest.mark.parametrize("format_", ["csv", "csv-wide"])
def test_a_table_that_a_spreadsheet_has_saved(tmp_path: Path, format_: str) -> None:
    """As UTF-8 with a mark before it, and lines that end as on Windows."""
    to = target(tmp_path, format_)
    write(to, scene())
    plain = load(to.path)
    to.path.write_bytes(b"\xef\xbb\xbf" + to.path.read_bytes().replace(b"\n", b"\r\n"))
    for found, wanted in zip(load(to.path), plain, strict=True):
        assert found.time == wanted.time
        assert np.array_equal(found.poses.joints_xy, wanted.poses.joints_xy)

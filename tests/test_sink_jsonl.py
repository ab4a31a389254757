"""JSON Lines and the rules for output files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import OutputError, UsageError
from realtime.formats.documents import Document
from realtime.formats.files import Spool, SpooledSink
from realtime.records import Frame, PosedFrame, Poses
from realtime.sinks.base import Sink
from realtime.sinks.jsonl import JsonLines
from realtime.sinks.outfile import OutputFile, check_names, check_not_input, check_writable
from realtime.sinks.record import Recorder

ROOT = Path(__file__).parents[1]


def people(*values: float) -> Poses:
    """One person per value, with every number made from it."""
    n = len(values)
    v = np.array(values, np.float32)
    return Poses(
        (v[:, None, None] + np.arange(34).reshape(17, 2) / 7).astype(np.float32),
        np.repeat(np.float32(1) / (1 + v[:, None] ** 2), 17, 1),
        (v[:, None] * np.array([1, 2, 3, 4])).astype(np.float32),
        np.full(n, 1 / 3, np.float32),
        np.arange(n),
    )


def posed(index: int, poses: Poses, source: str = "") -> PosedFrame:
    frame = Frame(index, index / 30, np.zeros((2, 2, 3), np.uint8), source)
    return PosedFrame(frame, poses)


def lines(path: Path, *items: PosedFrame, **options: bool) -> list[bytes]:
    sink = JsonLines(path, overwrite=True, **options)
    for item in items:
        sink.write(item)
    sink.close()
    return path.read_bytes().splitlines()


def test_a_line_says_who_is_where(tmp_path: Path) -> None:
    (line,) = lines(tmp_path / "p.jsonl", posed(7, people(100.126, 1.0)))
    record = json.loads(line)
    assert list(record) == ["frame", "time", "people"]
    assert (record["frame"], record["time"]) == (7, 0.233333)
    first, second = record["people"]
    assert list(first) == ["id", "score", "box", "keypoints"]
    assert (first["id"], second["id"], first["score"]) == (0, 1, 0.3333)
    assert first["box"] == [100.13, 200.25, 300.38, 400.5]
    assert len(first["keypoints"]) == 17 and second["keypoints"][1] == [1.29, 1.43, 0.5]
    assert b" " not in line


def test_nobody_is_an_empty_list_and_the_file_is_named_when_asked(tmp_path: Path) -> None:
    name = "Zoë 走.png"
    (line,) = lines(tmp_path / "p.jsonl", posed(0, Poses.empty(), name), with_file=True)
    assert line.decode() == '{"frame":0,"time":0.0,"file":"Zoë 走.png","people":[]}'


def test_a_file_name_that_is_no_text_is_still_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (line,) = lines(tmp_path / "p.jsonl", posed(0, Poses.empty(), name), with_file=True)
    assert json.loads(line)["file"] == name


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["joints_xy", "joint_scores", "boxes_xyxy", "scores"])
def test_a_person_that_is_not_finite_is_left_out(tmp_path: Path, bad: float, field: str) -> None:
    poses = people(1, 2, 3)
    getattr(poses, field)[1, ...] = bad
    (line,) = lines(tmp_path / "p.jsonl", posed(0, poses))
    assert [person["id"] for person in json.loads(line)["people"]] == [0, 2]


@given(st.floats(-1e5, 1e5, width=32))
def test_numbers_are_rounded_and_short(value: float) -> None:
    sink_line = json.dumps(json_of(people(value)))
    record = json.loads(sink_line)["people"][0]
    poses = people(value)
    assert np.allclose(record["box"], poses.boxes_xyxy[0], rtol=0, atol=0.00501)
    points = np.array(record["keypoints"])
    assert np.allclose(points[:, :2], poses.joints_xy[0], rtol=0, atol=0.00501)
    for number in [*record["box"], *points[:, :2].ravel().tolist()]:
        assert len(repr(number).partition(".")[2]) <= 2 and repr(number) != "-0.0"


def json_of(poses: Poses) -> object:
    from realtime.sinks.jsonl import as_record

    return as_record(posed(0, poses))


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    items = [posed(i, people(*np.linspace(0, 99, i))) for i in range(20)]
    assert lines(tmp_path / "a", *items) == lines(tmp_path / "b", *items)


def test_every_line_is_there_at_once(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "p.jsonl")
    for index in range(5):
        sink.write(posed(index, Poses.empty()))
        assert (tmp_path / "p.jsonl").read_bytes().count(b"\n") == index + 1
    sink.close(clean=False)
    assert (tmp_path / "p.jsonl").read_bytes().count(b"\n") == 5


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "p.jsonl")
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match=r"p.jsonl: .* after \d+ bytes: "):
            for index in range(100):
                sink.write(posed(index, people(1)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    sink.close()
    data = (tmp_path / "p.jsonl").read_bytes()
    assert data.endswith(b"\n") and [json.loads(line)["frame"] for line in data.splitlines()]


WRITER = """
import sys
from tests.test_sink_jsonl import JsonLines, people, posed
sink = JsonLines(None)
try:
    for index in range(int(sys.argv[1])):
        sink.write(posed(index, people(1, 2)))
except Exception as error:
    print(type(error).__name__, error.exit_code, error, file=sys.stderr)
sink.close()
"""


def run_writer(count: int, shell: str) -> subprocess.CompletedProcess[str]:
    command = f"\"{sys.executable}\" -c '{WRITER}' {count} {shell}"
    return subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_standard_output() -> None:
    done = run_writer(3, "")
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == [0, 1, 2]
    assert done.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_a_reader_that_leaves_is_told_apart_from_a_full_disk() -> None:
    done = run_writer(2000, "| head -1")
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.splitlines() == [
        "PipeClosed 0 standard output: cannot write more: Broken pipe"
    ]
    done = run_writer(2, ">&-")
    assert "OutputError 4 standard output is closed" in done.stderr or "closed" in done.stderr
    if Path("/dev/full").exists():
        done = run_writer(2, "> /dev/full")
        assert done.stderr.startswith("OutputError 4 standard output: cannot write more: No space")
        assert len(done.stderr.splitlines()) == 1


def test_without_a_frame_everything_is_as_before(tmp_path: Path) -> None:
    JsonLines(tmp_path / "p.jsonl").close()
    assert not list(tmp_path.iterdir())


# The rules for output files


def refused(path: Path, match: str, overwrite: bool = False) -> None:
    for action in (check_writable, OutputFile):
        with pytest.raises(OutputError, match=match) as caught:
            action(path, overwrite)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_what_cannot_be_a_new_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    refused(tmp_path / "old", "exists; use --overwrite")
    for overwrite in (False, True):
        refused(tmp_path / "folder", "is a folder", overwrite)
        refused(tmp_path / "fifo", "not an ordinary file", overwrite)
        refused(tmp_path / "link", "link to nothing", overwrite)
        refused(tmp_path / "loop", "link to nothing", overwrite)
        refused(tmp_path / "none" / "x", "there is no folder", overwrite)
        refused(tmp_path / "old" / "x", "is not a folder", overwrite)
        refused(tmp_path / ("n" * 300), "cannot be created", overwrite)
    assert (tmp_path / "old").read_text() == "old" and len(list(tmp_path.iterdir())) == 5


def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write everywhere")
    refused(tmp_path / "x", "no permission")
    tmp_path.chmod(0o755)


def test_a_read_only_file_system_is_refused() -> None:
    if not Path("/proc/self").exists():
        pytest.skip("needs /proc")
    with pytest.raises(OutputError):
        OutputFile(Path("/proc/self/x"))


def test_the_input_is_never_the_output(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    source.write_text("video")
    (tmp_path / "soft").symlink_to(source)
    (tmp_path / "hard").hardlink_to(source)
    (tmp_path / "other").write_text("x")
    for name in ("in.mp4", "soft", "hard", "./in.mp4"):
        with pytest.raises(UsageError, match="is the input"):
            check_not_input(tmp_path / name, [tmp_path / "none", source])
    check_not_input(tmp_path / "other", [source])
    check_not_input(tmp_path / "new", [source, tmp_path / "none"])


@pytest.mark.skipif(os.name != "posix", reason="links need rights")
def test_a_link_to_a_folder_is_that_folder(tmp_path: Path) -> None:
    """Whose files two outputs would write under one temporary name; one to a file is its own."""
    (tmp_path / "a").mkdir()
    (tmp_path / "file").touch()
    for name, target in (("b", "a"), ("link", "file")):
        (tmp_path / name).symlink_to(target)
    check_names([tmp_path / "file", tmp_path / "link"])
    with pytest.raises(UsageError, match="two outputs have the same name"):
        check_names([tmp_path / "a", tmp_path / "b"])


def test_backups_of_earlier_runs_are_never_lost(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("first")
    for content in (b"second", b"third"):
        file = OutputFile(path, overwrite=True)
        file.write(content)
        file.keep()  # a run that fails
    file = OutputFile(path, overwrite=True)
    file.write(b"fourth")
    file.commit()
    file.discard()
    found = {p.name: p.read_text() for p in tmp_path.iterdir()}
    assert found == {"x": "fourth", "x.bak": "first", "x.bak2": "second"}


def test_a_link_to_nothing_is_somebodys_backup_as_well(tmp_path: Path) -> None:
    path, link = tmp_path / "x", tmp_path / "x.bak"
    path.write_text("old")
    link.symlink_to("elsewhere")
    file = OutputFile(path, overwrite=True)
    file.write(b"new")
    file.keep()
    assert link.is_symlink() and (tmp_path / "x.bak2").read_text() == "old"


def test_the_old_file_is_back_where_no_new_one_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "x"
    path.write_text("old")
    with monkeypatch.context() as patch, pytest.raises(OutputError, match="No space left"):
        patch.setattr(Path, "open", full)
        OutputFile(path, overwrite=True)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x", "old")]


@pytest.mark.skipif(os.name != "posix", reason="open files cannot be renamed")
def test_what_another_run_is_writing_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x"
    first, second = OutputFile(path), OutputFile(path, overwrite=True)
    first.write(b"first")
    second.write(b"second")
    second.commit()
    first.commit()
    assert path.read_text() == "second" and (tmp_path / "x.bak").read_text() == "first"
    assert caplog.messages == [f"{path}.bak: was written to meanwhile, by another run? It is kept"]


def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "x").symlink_to("target")
    file = OutputFile(tmp_path / "x", overwrite=True)
    file.write(b"new")
    file.commit()
    assert (tmp_path / "target").read_text() == "old"
    assert (tmp_path / "x").read_text() == "new" and not (tmp_path / "x").is_symlink()


@pytest.mark.skipif(os.name != "posix", reason="open files cannot be removed")
@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize("video", [False, True])
def test_a_file_that_is_removed_while_it_is_written_is_told(
    tmp_path: Path, video: bool, at_the_end: bool
) -> None:
    """With its frames; the old file waits, and what has the name by now is left alone."""
    path, picture = tmp_path / "x", np.zeros((16, 16, 3), np.uint8)
    path.write_text("old")
    sink: Sink = (
        Recorder(path, overwrite=True, rate=30.0, time_base=None)
        if video
        else JsonLines(path, overwrite=True)
    )
    items = [replace(posed(index, people(1.0)), picture=picture) for index in range(3)]
    for item in items[:2]:
        sink.write(item)
    path.unlink()
    path.write_text("somebody's")
    with pytest.raises(OutputError, match=f"^{path}: was removed while it was written") as caught:
        sink.close() if at_the_end else sink.write(items[2])
    sink.close()
    assert caught.value.lost == 2
    assert path.read_text() == "somebody's" and (tmp_path / "x.bak").read_text() == "old"


def test_a_file_system_that_counts_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OutputFile, "_stat", lambda file: os.stat_result((0o100644, *[0] * 9)))
    sink = JsonLines(tmp_path / "x")
    for index in range(2):
        sink.write(posed(index, people(1.0)))
    sink.close()
    assert len((tmp_path / "x").read_bytes().splitlines()) == 2


@pytest.mark.skipif(os.name != "posix", reason="descriptors as POSIX has them")
@pytest.mark.parametrize("kind", ["lines", "spool", "video"])
def test_a_disk_that_is_pulled_out_ends_one_output(tmp_path: Path, kind: str) -> None:
    """Writing fails, and then so does cutting off half of a frame: that is no other error."""
    path, picture = tmp_path / "x", np.zeros((16, 16, 3), np.uint8)
    sink: Sink
    if kind == "lines":
        sink = JsonLines(path)
        raw = sink._file._file.raw  # type: ignore[union-attr]
    elif kind == "spool":
        spool = Spool(path)
        sink, raw = SpooledSink("x", path, Document(spool, "x", False, False), False), spool._file
    else:
        sink = Recorder(path, rate=2.0, time_base=None)
        raw = sink._file.raw
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, raw.fileno())
    os.close(nothing)
    with pytest.raises(OutputError, match=f"^{path}: cannot"):
        for index in range(9):
            sink.write(replace(posed(index, people(1.0)), picture=picture))
    sink.close(clean=False)

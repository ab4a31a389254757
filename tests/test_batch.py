"""Batches: cutting, joining, keeping book, handing out work; and all of it over real workers."""

from __future__ import annotations

import http.server
import importlib.util
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import media
import numpy as np
import pytest
from batch_runs import (
    BORDER,
    LONG,
    NETWORKS,
    ROOT,
    SHORT,
    SHORTS,
    Batch,
    alone,
    make_clips,
    pairs,
    same,
)

from realtime.batch import claims, cluster, items, join, manifest, progress, store, team, work
from realtime.batch.__main__ import _show_table, hashes, main
from realtime.batch.items import Item
from realtime.batch.join import SUFFIXES, Look
from realtime.batch.options import parse
from realtime.batch.plan import WHOLE, Plan, Segment, plan
from realtime.batch.schedule import Schedule, Wanted
from realtime.batch.work import Failure, JoinTask, Part, PartTask, PlanTask
from realtime.errors import InputError, ModelError, OutputError, StageError, UsageError
from realtime.formats.registry import load
from realtime.formats.rows import LoadedFrame, to_poses
from realtime.sources.base import Span
from realtime.sources.file import open_file

# ---------------------------------------------------------------- plan


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_segments_hold_every_frame_once(tmp_path: Path, name: str) -> None:
    options = {"g": "40", "bf": "2"}
    path = media.video(tmp_path / name, 900, options=options)
    cut = plan(path, 5.0)
    assert cut.rate == 30 and len(cut.segments) > 2
    seen: list[int] = []
    for segment in cut.segments:
        source = open_file(path, Span(segment.first, segment.end))
        frames = list(source.frames())
        assert [f.index for f in frames] == [media.number_in(f.image) for f in frames]
        assert len(frames) == segment.count and frames[0].index == segment.first
        seen += [frame.index for frame in frames]
    assert seen == list(range(900))


def test_odd_stamps_are_cut_between_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    stamps = np.cumsum(rng.choice([20, 33, 41], 700)).tolist()
    path = media.video(tmp_path / "a.mp4", 700, stamps=stamps, options={"g": "50", "bf": "2"})
    seen = []
    for segment in plan(path, 8.0).segments:
        frames = list(open_file(path, Span(segment.first, segment.end)).frames())
        seen += [media.number_in(frame.image) for frame in frames]
    assert seen == list(range(700))


STREAMS = {
    "no index.mkv": ({"codec": "libx264", "container_options": {"live": "1"}}, {"bf": "2"}),
    "fragments.mp4": (
        {"codec": "libx264", "container_options": {"movflags": "frag_keyframe+empty_moov"}},
        {"bf": "2"},
    ),
    "audio.mp4": ({"codec": "libx264", "audio": "first"}, {"bf": "3", "b-pyramid": "normal"}),
    "open.mp4": ({"codec": "libx264"}, {"bf": "3", "x264-params": "open-gop=1:keyint=50"}),
    "open.mkv": ({"codec": "libx265"}, {"x265-params": "open-gop=1:keyint=50:log-level=none"}),
    "vp9.webm": ({"codec": "libvpx-vp9"}, {"deadline": "realtime", "cpu-used": "8"}),
}
"""Files by name: what media.video is given, and the options of its codec."""


@pytest.mark.parametrize("name", STREAMS)
def test_segments_of_other_files_hold_every_frame_once(tmp_path: Path, name: str) -> None:
    given, options = STREAMS[name]
    path = media.video(tmp_path / name, 620, options={"g": "50", **options}, **given)
    cut = plan(path, 6.0)
    if name != "open.mp4":  # its later keyframes are none to begin at
        assert len(cut.segments) > 1
    seen: list[int] = []
    for segment in cut.segments:
        frames = list(open_file(path, Span(segment.first, segment.end)).frames())
        assert [f.index for f in frames] == [media.number_in(f.image) for f in frames]
        seen += [frame.index for frame in frames]
    assert seen == list(range(620))


@pytest.mark.parametrize(("name", "frames"), [("a.mp4", 200), ("a.ts", 640)])
def test_short_files_and_those_without_numbers_stay_whole(
    tmp_path: Path, name: str, frames: int
) -> None:
    path = media.video(tmp_path / name, frames, options={"g": "40"})
    assert plan(path, 5.0).segments == (WHOLE,)


def test_plan_of_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a video"):
        plan(tmp_path / "a.mp4", 60)


# ---------------------------------------------------------------- join


def loaded(number: int, *ids: int, places: Sequence[int] = ()) -> LoadedFrame:
    """People with these ids, each in a place of their own."""
    points = np.full((len(ids), 17, 3), 0.5) + np.arange(17)[:, None]
    boxes = [[100 * n, 0, 100 * n + 20, 20] for n in places or ids]
    return LoadedFrame(number, number / 30, to_poses(points, boxes, [0.9] * len(ids), ids))


def test_ids_go_on_after_the_highest_before() -> None:
    parts = [[loaded(0, 1, 2), loaded(1, 2, 5)], [loaded(2, 1, -1), loaded(3)], [loaded(4, 1)]]
    frames = list(join.joined(parts))
    assert [f.frame for f in frames] == [0, 1, 2, 3, 4]
    assert [f.poses.ids.tolist() for f in frames] == [[1, 2], [2, 5], [6, -1], [], [7]]


def test_who_is_at_a_border_keeps_their_id() -> None:
    parts = [
        [loaded(0, 1, 2, 3), loaded(1, 2, 3, -1, places=(2, 3, 4))],
        [loaded(2, 1, 2, 3, -1, places=(3, 4, 2, 5)), loaded(3, 4, 1, places=(6, 3))],
        [loaded(4, 1, 2, places=(7, 6))],
    ]
    ids = [frame.poses.ids.tolist() for frame in join.joined(parts)]
    # 2 is in place 4, which had no id; 4 comes later
    assert ids == [[1, 2, 3], [2, 3, -1], [3, 5, 2, -1], [7, 3], [8, 7]]


@pytest.mark.parametrize("second", [0, 1])
def test_frames_twice_are_refused(second: int) -> None:
    with pytest.raises(StageError, match="in a join"):
        list(join.joined([[loaded(0), loaded(1)], [loaded(second)]]))


def test_results_read_back_in_every_format(tmp_path: Path) -> None:
    frames = [loaded(0, 1), loaded(1, 1)]
    look = Look(tuple(SUFFIXES))
    files, count = join.written(frames, "a.mp4", 30.0, look, tmp_path)
    assert count == 2 and set(files) == set(SUFFIXES)
    for kind, data in files.items():
        path = tmp_path / f"back{SUFFIXES[kind]}"
        path.write_bytes(data)
        back = load(path)
        assert [f.frame for f in back] == [0, 1], kind
        np.testing.assert_allclose(back[1].poses.joints_xy, frames[1].poses.joints_xy, atol=0.01)
    assert files["trc"].startswith(b"PathFileType\t4\t(X/Y/Z)\ta.mp4.trc\tid ")


# ---------------------------------------------------------------- files and places


def put(path: Path, data: bytes = b"data") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_names_are_those_below_the_fixed_part(tmp_path: Path) -> None:
    for name in ("v/a.mp4", "v/x/y/b.mp4", "v/x/c.txt"):
        put(tmp_path / name)
    found = items.find([f"{tmp_path}/v/**/*.mp4"])
    assert [item.name for item in found] == ["a.mp4", "x/y/b.mp4"]
    assert all(Path(item.where).is_absolute() and item.size == 4 for item in found)
    plain = items.find([str(tmp_path / "v/a.mp4"), str(tmp_path / "v/x/y/b.mp4")])
    assert plain == found


def test_folders_with_the_characters_of_patterns(tmp_path: Path) -> None:
    put(tmp_path / "x[1]" / "y[2]" / "a.mp4"), put(tmp_path / "x1" / "b.mp4")
    for pattern, name in (("x[1]/y[2]/*.mp4", "a.mp4"), ("x[1]/**/*.mp4", "y[2]/a.mp4")):
        assert [item.name for item in items.find([f"{tmp_path}/{pattern}"])] == [name]
    assert [item.name for item in items.find([f"{tmp_path}/[wx]1/*.mp4"])] == ["x1/b.mp4"]


def test_a_link_to_nothing_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    found = items.find([f"{tmp_path}/*.mp4"])
    assert [(item.name, bool(item.mark)) for item in found] == [
        ("a.mp4", True),
        ("gone.mp4", False),
    ]


def test_a_changed_file_has_another_mark(tmp_path: Path) -> None:
    path = put(tmp_path / "a.mp4", bytes(200_000))
    (before,) = items.find([str(path)])
    state = path.stat()
    path.write_bytes(bytes(199_999) + b"1")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    (after,) = items.find([str(path)])
    assert before.mark != after.mark and before.name == after.name


def test_what_cannot_be_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="matches no file"):
        items.find([f"{tmp_path}/*.mp4"])
    with pytest.raises(InputError):
        items.find(["a" * 300 + ".mp4"])
    with pytest.raises(InputError, match="is a folder; give a pattern"):
        items.find([str(tmp_path)])
    put(tmp_path / "walk.mp4")
    with pytest.raises(InputError, match=r"did you mean .*walk\.mp4"):
        items.find([str(tmp_path / "wlak.mp4")])


def test_two_files_of_one_name(tmp_path: Path) -> None:
    put(tmp_path / "v/a.mp4"), put(tmp_path / "w/a.mp4")
    with pytest.raises(UsageError, match="would both have a.mp4"):
        items.find([f"{tmp_path}/v/*.mp4", f"{tmp_path}/w/*.mp4"])


@pytest.fixture
def memory() -> Iterator[str]:
    fsspec = pytest.importorskip("fsspec", reason="URLs need fsspec (posestream[cluster])")
    yield "memory://batch"
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize("kind", ["folder", "file", "memory"])
def test_places_for_results(tmp_path: Path, memory: str, kind: str) -> None:
    where = {"folder": str(tmp_path / "out"), "file": f"file://{tmp_path}/out", "memory": memory}
    place = store.open_store(where[kind])
    assert place.read("x/a.json") is None and not place.has("x/a.json")
    for data in (b"one", b"two"):
        place.write("x/a.json", data)
        assert place.has("x/a.json") and place.read("x/a.json") == data
    place.remove("x/a.json")
    place.remove("x/a.json")
    assert not place.has("x/a.json")
    if kind != "memory":
        assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_a_place_that_takes_nothing(tmp_path: Path) -> None:
    put(tmp_path / "out")
    with pytest.raises(OutputError, match="cannot be made"):
        store.open_store(str(tmp_path / "out"))
    place = store.open_store(f"file://{tmp_path}/out")
    with pytest.raises(OutputError, match="cannot be written"):
        place.write("a.json", b"")


def test_files_behind_a_url_are_fetched_once(tmp_path: Path, memory: str) -> None:
    import fsspec

    for name in ("a.mp4", "b.mp4"):
        fsspec.filesystem("memory").pipe_file(f"/batch/in/{name}", name.encode())
    one, two = items.find([f"{memory}/in/*.mp4"])
    assert (one.name, one.size) == ("a.mp4", 5)
    bench = work.Bench(tmp_path, None)
    path = bench.path(one)
    assert path.read_bytes() == b"a.mp4" and bench.path(one) is path
    assert bench.path(two).read_bytes() == b"b.mp4"
    assert len(list(tmp_path.iterdir())) == 1
    fsspec.filesystem("memory").store.clear()
    with pytest.raises(InputError, match="cannot be fetched"):
        bench.path(one)


def fetched(pattern: str, folder: Path) -> dict[str, bytes]:
    """The files that a URL stands for, as a worker gets them; each is found with its size."""
    found, bench = items.find([pattern]), work.Bench(folder, None)
    got = {item.name: bench.path(item).read_bytes() for item in found}
    assert [item.size for item in found] == [len(data) for data in got.values()]
    return got


@pytest.mark.parametrize("where", ["file://", ""])
def test_files_in_an_archive(tmp_path: Path, where: str) -> None:
    pytest.importorskip("fsspec", reason="URLs need fsspec (posestream[cluster])")
    path = tmp_path / "videos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("in/a.mp4", b"one"), archive.writestr("in/x/b.mp4", b"two and three")
    both = {"a.mp4": b"one", "x/b.mp4": b"two and three"}
    assert fetched(f"zip://in/**/*.mp4::{where}{path}", tmp_path) == both
    assert fetched(f"zip://in/a.mp4::{where}{path}", tmp_path) == {"a.mp4": b"one"}
    (before,) = items.find([f"zip://in/a.mp4::{where}{path}"])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("in/a.mp4", b"two")
    import fsspec

    fsspec.get_filesystem_class("zip").clear_instance_cache()
    (after,) = items.find([f"zip://in/a.mp4::{where}{path}"])
    assert before.mark != after.mark


def test_files_of_a_web_server(tmp_path: Path) -> None:
    """Its list of files does not tell their sizes."""
    pytest.importorskip("fsspec", reason="URLs need fsspec (posestream[cluster])")
    pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")
    put(tmp_path / "in/a.mp4", b"one"), put(tmp_path / "in/b.mp4", b"two and three")
    both = {"a.mp4": b"one", "b.mp4": b"two and three"}
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/in"
        assert fetched(f"{url}/*.mp4", tmp_path) == both
        assert fetched(f"{url}/a.mp4", tmp_path) == {"a.mp4": b"one"}
        (before,) = items.find([f"{url}/a*.mp4"])
        put(tmp_path / "in/a.mp4", b"two")
        (after,) = items.find([f"{url}/a*.mp4"])
        assert before.mark != after.mark
        server.shutdown()


@pytest.mark.parametrize("url", ["nothing://a/*.mp4", "memory://none/*.mp4"])
def test_urls_that_lead_nowhere(url: str) -> None:
    pytest.importorskip("fsspec", reason="URLs need fsspec (posestream[cluster])")
    with pytest.raises(InputError):
        items.find([url])


# ---------------------------------------------------------------- manifest

ITEM = Item("x/a.mp4", "/v/x/a.mp4", 10, "mark")


def book(place: store.Store, overwrite: bool = False, **settings: Any) -> manifest.Manifest:
    return manifest.Manifest(place, {"seconds": 60, **settings}, Look(("jsonl", "csv")), overwrite)


def test_done_is_the_same_input_settings_and_results(tmp_path: Path) -> None:
    place = store.open_store(str(tmp_path))
    mine = book(place)
    assert not mine.is_done(ITEM)
    mine.finish(ITEM, {"jsonl": b"{}\n", "csv": b"x\n"}, {"frames": 1})
    assert mine.is_done(ITEM)
    assert (tmp_path / "x/a.mp4.jsonl").read_bytes() == b"{}\n"
    assert not book(place, weights={"pose": "other"}).is_done(ITEM)
    assert not mine.is_done(Item(ITEM.name, ITEM.where, ITEM.size, "changed"))
    assert not mine.is_done(Item(ITEM.name, ITEM.where, 0, ""))
    mine.check_ours(ITEM)
    (tmp_path / "x/a.mp4.csv").unlink()
    assert not mine.is_done(ITEM)


def test_results_of_others_are_kept(tmp_path: Path) -> None:
    place = store.open_store(str(tmp_path))
    put(tmp_path / "x/a.mp4.csv")
    with pytest.raises(OutputError, match="use --overwrite"):
        book(place).check_ours(ITEM)
    book(place, overwrite=True).check_ours(ITEM)


def test_results_of_other_options_are_ours_as_well(tmp_path: Path) -> None:
    """However often they change."""
    place = store.open_store(str(tmp_path))
    for kind in ("csv", "jsonl", "csv"):
        mine = manifest.Manifest(place, {}, Look((kind,)), False)
        mine.check_ours(ITEM)
        mine.finish(ITEM, {kind: b"x\n"}, {"frames": 1})


def test_results_of_another_video_of_the_same_name_are_kept(tmp_path: Path) -> None:
    """But not those of the same one that was changed, moved, or is named in another way."""
    place = store.open_store(str(tmp_path / "out"))
    put(tmp_path / "day1" / "x" / "a.mp4")
    where = tmp_path / "day1" / "x" / "a.mp4"
    mine = Item(ITEM.name, str(where), 10, "mark")
    book(place).finish(mine, {"jsonl": b"{}\n", "csv": b"x\n"}, {"frames": 1})
    other = Item(ITEM.name, str(tmp_path / "day2" / "x" / "a.mp4"), 10, "other")
    told = f"x/a.mp4.csv: is the result of {where}; use --overwrite or another --out"
    for formats in (("jsonl", "csv"), ("npz",)):
        with pytest.raises(OutputError, match=re.escape(told)):
            manifest.Manifest(place, {}, Look(formats), False).check_ours(other)
    book(place, overwrite=True).check_ours(other)
    book(place, bridge=1).check_ours(Item(ITEM.name, other.where, 10, "mark"))
    around = str(tmp_path / "day1" / "x" / ".." / "x" / "a.mp4")
    book(place).check_ours(Item(ITEM.name, around, 10, "changed"))
    for kind in ("csv", "jsonl"):
        (tmp_path / "out" / "x" / f"a.mp4.{kind}").unlink()
    book(place).check_ours(other)


@pytest.mark.parametrize("outputs", [None, [1], {"csv": 3}])
def test_a_record_without_names_of_results(tmp_path: Path, outputs: object) -> None:
    record = {"outputs": outputs, "written": outputs}
    put(tmp_path / ".batch/x/a.mp4.json", json.dumps(record).encode())
    put(tmp_path / "x/a.mp4.csv")
    with pytest.raises(OutputError, match="use --overwrite"):
        book(store.open_store(str(tmp_path))).check_ours(ITEM)


def test_a_record_that_is_no_record(tmp_path: Path) -> None:
    put(tmp_path / ".batch/x/a.mp4.json", b"{half")
    assert not book(store.open_store(str(tmp_path))).is_done(ITEM)


# ---------------------------------------------------------------- schedule

Answer = Callable[[int, work.Task], Any]


class FakeTeam:
    """Workers that answer at once by a function of their number and the task. room: whether new
    ones, for those that are lost, begin."""

    def __init__(self, answer: Answer, count: int = 2, room: bool = True) -> None:
        self._answer, self._next, self._room = answer, count, room
        self._all, self._idle = list(range(1, count + 1)), list(range(1, count + 1))
        self.never: list[int] = []
        self._events: list[team.Event] = []
        self.given: list[tuple[int, work.Task]] = []

    def idle(self) -> list[int]:
        return list(self._idle)

    def workers(self) -> list[int]:
        return list(self._all)

    def coming(self) -> int:
        return len(self.never)

    def give(self, worker: int, task: work.Task) -> None:
        self._idle.remove(worker)
        self.given.append((worker, task))
        self._events.append(team.Event(worker, self._answer(worker, task)))

    def wait(self, seconds: float) -> list[team.Event]:
        if not self._events:
            return []
        event = self._events.pop(0)
        if isinstance(event.result, team.Lost):
            self._all.remove(event.worker)
            self._next += 1
            self._all.append(self._next)
            (self._idle if self._room else self.never).append(self._next)
        else:
            self._idle.append(event.worker)
        return [event]

    def dismiss(self, worker: int) -> None:
        self._idle.remove(worker)
        self._all.remove(worker)

    def close(self) -> None:
        pass


CUT = (Segment(0, 1.0, 2), Segment(2, None, 2))


def right(worker: int, task: work.Task) -> Any:
    """What a worker gives: files are cut in two when their name says so."""
    if isinstance(task, PlanTask):
        return Plan(30.0, CUT if "long" in task.item.name else (WHOLE,))
    if isinstance(task, PartTask):
        files = {"jsonl": b"whole"} if task.look else None
        return Part(2, True, "", 0.1, str(task.segment.first).encode(), files)
    assert isinstance(task, JoinTask)
    return {"jsonl": b"+".join(task.parts)}, 4


def schedule(
    folder: Path,
    answer: Answer,
    names: str,
    stopped: Callable[[], bool] = lambda: False,
    room: bool = True,
) -> tuple[list[progress.File], FakeTeam]:
    files = [progress.File(Item(n, f"/v/{n}", 10, n)) for n in names.split()]
    place, crew = store.open_store(str(folder)), FakeTeam(answer, room=room)
    look = Look(("jsonl",))
    records = manifest.Manifest(place, {}, look, False)
    wanted = Wanted({}, {}, look)
    told = progress.Progress(files)
    Schedule(crew, place, records, wanted, told, stopped, patience=0.05).run()
    return files, crew


def test_parts_are_joined_in_order(tmp_path: Path) -> None:
    files, _ = schedule(tmp_path, right, "a long.1 long.2")
    assert [f.state for f in files] == ["done"] * 3
    assert (tmp_path / "a.jsonl").read_bytes() == b"whole"
    assert (tmp_path / "long.1.jsonl").read_bytes() == b"0+2"
    assert [p.name for p in (tmp_path / ".batch").iterdir() if p.is_dir()] == []


def test_a_damaged_segment_is_made_anew(tmp_path: Path) -> None:
    """With the rest of its file, which is then worked on whole."""

    def answer(worker: int, task: Any) -> Any:
        if isinstance(task, JoinTask):
            return Failure("join.npz: not a file of poses", 3, lasting=True)
        return right(worker, task)

    files, _ = schedule(tmp_path, answer, "long")
    assert [f.state for f in files] == ["done"]
    assert (tmp_path / "long.jsonl").read_bytes() == b"whole"


def test_a_bad_file_stops_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(worker: int, task: Any) -> Any:
        return Failure("bad: no video", 3, lasting=True) if task.item.name == "bad" else right(
            worker, task
        )  # fmt: skip

    files, crew = schedule(tmp_path, answer, "a bad long")
    assert [(f.state, f.code) for f in files] == [("done", 0), ("failed", 3), ("done", 0)]
    assert sum(task.item.name == "bad" for _, task in crew.given) == 1
    assert capsys.readouterr().err.count("error: bad: no video\n") == 1


def test_tasks_of_lost_workers_are_done_again(tmp_path: Path) -> None:
    def answer(worker: int, task: Any) -> Any:
        return team.Lost("killed") if worker <= 2 and isinstance(task, PartTask) else right(
            worker, task
        )  # fmt: skip

    files, _ = schedule(tmp_path, answer, "a long")
    assert [f.state for f in files] == ["done", "done"]
    assert (tmp_path / "long.jsonl").read_bytes() == b"0+2"


def test_a_file_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    def answer(worker: int, task: Any) -> Any:
        poison = task.item.name == "poison" and isinstance(task, PartTask)
        return team.Lost("killed") if poison else right(worker, task)

    files, crew = schedule(tmp_path, answer, "poison a long")
    assert [f.state for f in files] == ["failed", "done", "done"]
    assert files[0].code == 7 and "its worker was lost" in files[0].error
    tries = [t for _, t in crew.given if isinstance(t, PartTask) and t.item.name == "poison"]
    assert len(tries) == 3


def test_a_worker_with_a_full_disk_gets_no_more_work(tmp_path: Path) -> None:
    def answer(worker: int, task: Any) -> Any:
        full = worker == 1 and isinstance(task, PartTask)
        return Failure("disk full", 4, here=True) if full else right(worker, task)

    files, crew = schedule(tmp_path, answer, "a b c d e f")
    assert [f.state for f in files] == ["done"] * 6
    assert crew.workers() == [2]
    assert sum(worker == 1 and isinstance(task, PartTask) for worker, task in crew.given) == 2


def test_one_worker_is_left_and_has_failed_once(tmp_path: Path) -> None:
    """The machine of the other one is gone, so that nobody takes its place."""
    failed: list[int] = []

    def answer(worker: int, task: Any) -> Any:
        if worker == 1 and isinstance(task, PartTask):
            return team.Lost("its machine is gone")
        if isinstance(task, PartTask) and not failed:
            failed.append(worker)
            return Failure("disk full", 4, here=True)
        return right(worker, task)

    files, crew = schedule(tmp_path, answer, "a", room=False)
    assert [f.state for f in files] == ["done"] and failed == [2]
    assert crew.never == [3]


def test_when_no_worker_can_work(tmp_path: Path) -> None:
    def answer(worker: int, task: Any) -> Any:
        return Failure("no such model", 5, here=True)

    with pytest.raises(ModelError, match="no worker can work: no such model"):
        schedule(tmp_path, answer, "a b c d e")


def test_a_file_with_less_in_it_than_promised_is_done_whole(tmp_path: Path) -> None:
    def answer(worker: int, task: Any) -> Any:
        if isinstance(task, PartTask) and not task.look and task.segment.first:
            return Part(1, False, "a.mp4: 3 of 4 frames", 0.1, b"x")
        return right(worker, task)

    files, _ = schedule(tmp_path, answer, "long")
    assert (files[0].state, files[0].segments) == ("done", 1)
    assert (tmp_path / "long.jsonl").read_bytes() == b"whole"
    assert sorted(p.name for p in (tmp_path / ".batch").iterdir()) == ["long.json"]


def test_segments_of_an_earlier_run_are_not_done_again(tmp_path: Path) -> None:
    def stopped() -> bool:
        return (tmp_path / ".batch/long.parts").exists()

    files, _ = schedule(tmp_path, right, "long", stopped)
    assert files[0].state == "running" and not (tmp_path / "long.jsonl").exists()
    files, crew = schedule(tmp_path, right, "long")
    assert files[0].state == "done" and (tmp_path / "long.jsonl").read_bytes() == b"0+2"
    assert sum(isinstance(task, PartTask) for _, task in crew.given) == 1


def test_a_full_disk_for_the_results_ends_the_batch(tmp_path: Path) -> None:
    put(tmp_path / "x")  # where a folder would have to be
    with pytest.raises(OutputError, match="cannot be made"):
        schedule(tmp_path, right, "x/a b")


# ---------------------------------------------------------------- what people see


def test_the_table_may_have_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code says how the batch went."""

    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    _show_table(progress.Progress([progress.File(ITEM, "skipped")]))


def test_the_line_and_the_table() -> None:
    files = [
        progress.File(ITEM, "done", 1.0, 300, 300, 2, 10.0),
        progress.File(Item("b.mp4", "", 10, ""), "failed", error="b.mp4: no video", code=3),
        progress.File(Item("c.mp4", "", 10, ""), "skipped"),
        progress.File(Item("d.mp4", "", 20, ""), "running"),
    ]
    told = progress.Progress(files)
    assert told.line(10.0, 2) == "2/4 files, 1 failed, 300 frames, 30.0 fps, 2 workers, 30 s left"
    assert "30.0 fps, 1 worker, 2 to begin, " in told.line(10.0, 1, 2)
    lines = told.table()
    assert re.fullmatch(r"x/a.mp4 +done +300 +2 +30.0", lines[1])
    assert lines[2].startswith("b.mp4 ") and lines[2].endswith("b.mp4: no video")
    assert lines[-1].startswith("1 done, 1 skipped, 1 failed, 1 running; 300 frames in ")
    assert lines[-1].endswith("stopped; the same command goes on")
    assert progress.Progress(files[:3]).table()[-1].endswith(" fps")
    assert progress.Progress(files[2:3]).table()[-1].endswith("nothing to do")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("a.mp4", "--out"),
        ("a.mp4 --out r --cores-each 0", "--cores-each 0: expected 1 or more"),
        ("a.mp4 --out r --segment 0", "--segment 0.0: expected 1 second or more"),
        ("a.mp4 --out r --retries -1", "--retries -1"),
        ("a.mp4 --out r --gpus-each -1", "--gpus-each"),
        ("a.mp4 --out r --threads 3", "--cores-each says it"),
        ("a.mp4 --out r --compare x.onnx", "--compare: is for pictures"),
        ("a.mp4 --out r --select largest", "--select: a batch keeps everybody"),
        ("a.mp4 --out r --json x.jsonl", "--json: in a batch, --data jsonl"),
        ("a.mp4 --out r --output x.mp4", "--output: is for videos"),
        ("a.mp4 --out r --headless", "--headless: a batch never opens a window; leave it out"),
        ("a.mp4 --out r --start 3", "--start: a batch works on whole files"),
        ("a.mp4 --out r --report r.json", "--report: is for single runs, not for a batch"),
        ("a.mp4 --out r --outptu x.mp4", "unknown option --outptu; did you mean --out?"),
        ("a.mp4 --out r --workrs 4", "unknown option --workrs; did you mean --workers?"),
        ("a.mp4 --out r --detect_every=4", "did you mean --detect-every?"),
        ("a.mp4 --out r b.mp4", "'b.mp4' stands alone; inputs are given together, before"),
        ("a.mp4 --out r --min-score 2", "--min-score 2"),
        ("a.mp4 --out r --data openpose", "--data openpose: choose jsonl, "),
        ("a.mp4 --out r --ray head", "--ray 'head': expected auto or HOST:PORT"),
        ("a.mp4 --out r --ray 10.0.0.1:99999", "expected auto or HOST:PORT"),
        ("a.mp4 --out r --ray ray://head:10001", "is an address of Ray Client"),
    ],
)
def test_mistakes_are_one_line(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_the_help_has_the_defaults_of_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "next (default 1)" in told and "(default 0: never)" in told


def test_options_go_to_the_pipeline() -> None:
    asked = parse("a.mp4 --out r --detect-every 3 --smooth data --gpus-each 0.5".split())
    assert asked.options == {"detect_every": 3, "bridge": 0, "smooth": "data"}
    assert parse("a.mp4 --out r --min-score 0".split()).options["min_score"] == 0
    usual = {"detect_every": 1, "bridge": 0, "compute": "cpu"}
    assert parse("a.mp4 --out r".split()).options == usual


def test_without_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    put(tmp_path / "a.mp4")
    given = [str(tmp_path / "a.mp4"), "--out", str(tmp_path / "out")]
    given += [x for task, path in NETWORKS.items() for x in (f"--{task}", path)]
    assert main(given) == 5
    assert 'pip install "posestream[cluster]"' in capsys.readouterr().err


@pytest.mark.skipif(claims.fcntl is None, reason="locks of files need fcntl")
def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "0"
    code = (
        "import sys, time; from pathlib import Path; from realtime.batch.claims import claim\n"
        f"print(claim(Path({str(path)!r})), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout and other.stdout.readline() == b"True\n"
        assert not claims.claim(path)
        other.kill()
    assert claims.claim(path)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="binding to cores: Linux only")
def test_workers_have_cores_of_their_own() -> None:
    code = (
        "import os, sys, numpy; from pathlib import Path; from realtime.batch.claims import *\n"
        "mine = bind_cores(1); masks = {tuple(os.sched_getaffinity(int(t.name))) for t in "
        "Path('/proc/self/task').iterdir()}\n"
        "print(len(mine), masks == {mine} or not mine, *mine, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    cores = []
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        for process in (one, other):
            assert process.stdout and process.stdin
            _, bound, *mine = process.stdout.readline().split()
            assert bound == "True"
            cores += mine
        one.stdin.close(), other.stdin.close()  # type: ignore[union-attr]
    assert len(set(cores)) == len(cores)


# ---------------------------------------------------------------- clusters


def test_room_is_that_of_single_machines() -> None:
    def node(cores: float, gpus: float = 0.0, alive: bool = True) -> dict[str, Any]:
        return {"Alive": alive, "Resources": {"CPU": cores, **({"GPU": gpus} if gpus else {})}}

    nodes = [node(3), node(3), node(8, alive=False), {"Alive": True, "Resources": {}}]
    assert cluster.room(nodes, 2, 0) == 2 and cluster.room(nodes, 1, 0) == 6
    assert cluster.room(nodes, 4, 0) == 0 and cluster.room(nodes, 1, 0.5) == 0
    assert cluster.room([node(8, 1), node(2, 4)], 2, 0.5) == 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "no answer: Connection refused"),
        (b"HTTP/1.0 400 Bad\r\n", "not Ray"),
        (b"", "not Ray"),
    ],
)
def test_an_address_where_no_ray_is(answer: bytes | None, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.recv(100)
                line.sendall(answer or b"")

        if answer is None:
            server.close()
        else:
            threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(ModelError, match=message):
            cluster.check_answer(address)


def test_an_address_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ModelError, match="no answer: timed out"):
            cluster.check_answer(address, within=0.2)


def test_a_worker_of_another_version_does_not_begin() -> None:
    with pytest.raises(ModelError, match=r"has posestream .*, not 0\.0"):
        work.Worker(1, False, "0.0", ".")


# ---------------------------------------------------------------- real workers

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="workers need Ray (posestream[cluster])"
)


def test_urls_in_and_out(clips: Path, tmp_path: Path, memory: str) -> None:
    """Real work, by workers in this process: what is found is what is found in a local file."""
    import fsspec

    path = clips / "0.mp4"
    fsspec.filesystem("memory").pipe_file("/batch/in/x/walk.mp4", path.read_bytes())
    files = [progress.File(item) for item in items.find([f"{memory}/in/**/*.mp4"])]
    place, look = store.open_store(f"{memory}/out"), Look(("jsonl", "npz"))
    options = {**NETWORKS, "compute": "cpu", "detect_every": 1, "bridge": 0}
    wanted = Wanted(options, hashes(options), look)
    bench = work.Bench(tmp_path, 1)
    crew = FakeTeam(lambda _, task: work.attempt(task, bench))
    records = manifest.Manifest(place, {}, look, False)
    Schedule(crew, place, records, wanted, progress.Progress(files), lambda: False).run()
    assert (files[0].state, files[0].frames) == ("done", SHORT), files[0].error
    theirs = alone(path, tmp_path)
    for kind in look.formats:
        data = place.read(f"x/walk.mp4.{kind}")
        assert data
        same(load(put(tmp_path / f"back.{kind}", data)), theirs)


def test_other_weights_on_a_worker_are_its_own_fault(clips: Path, tmp_path: Path) -> None:
    options = {**NETWORKS, "compute": "cpu"}
    (item,) = items.find([str(clips / "0.mp4")])
    task = PartTask(item, WHOLE, 30.0, options, {"pose": "other"}, Look())
    found = work.attempt(task, work.Bench(tmp_path, 1))
    assert isinstance(found, Failure) and found.here and "other weights here" in found.text


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("videos"))


@needs_ray
@pytest.mark.timeout(400)
def test_two_workers_one_killed(clips: Path, tmp_path: Path) -> None:
    """Every frame of every clip exactly once, as on one machine; a bad file is told."""
    out = tmp_path / "out"
    put(clips / "bad.mp4", b"poison")
    batch = Batch(f"{clips}/**/*.mp4", "--out", out, "--segment", "8")
    begun = batch.pid(1)
    batch.until(lambda: list(out.glob("*.jsonl")))
    os.kill(begun, signal.SIGKILL)
    table = batch.end()
    (clips / "bad.mp4").unlink()
    assert batch.process.returncode == 3, (table, batch.err)
    err = "".join(batch.err)
    assert "worker 1: lost" in err and "bad.mp4: not a video" in err
    assert (
        re.search(rf"x/long.mp4 +done +{LONG} +2 ", table)
        and f"{SHORTS + 1} done, 1 failed; " in table
    )
    names = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.jsonl"))
    assert names == [*(f"{n}.mp4.jsonl" for n in range(SHORTS)), "x/long.mp4.jsonl"]
    for name in names[:-1]:
        ours, theirs = load(out / name), alone(clips / name.removesuffix(".jsonl"), tmp_path)
        same(ours, theirs)
        assert all(a == b for a, b in pairs(ours, theirs)), "ids of a whole file are its own"
    ours, theirs = load(out / names[-1]), alone(clips / "x" / "long.mp4", tmp_path)
    same(ours, theirs)
    first, second = (
        pairs(ours[part], theirs[part]) for part in (slice(BORDER), slice(BORDER, None))
    )
    assert first and all(a == b for a, b in first)
    highest = max(a for a, _ in first)
    there = set(theirs[BORDER - 1].poses.ids.tolist()) & set(theirs[BORDER].poses.ids.tolist())
    assert there and all(a == b if b in there else a > highest for a, b in second)


@needs_ray
@pytest.mark.timeout(400)
@pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes: Linux only")
def test_restart_in_the_middle_and_a_full_disk(clips: Path, tmp_path: Path) -> None:
    import resource

    out = tmp_path / "out"
    # The long clip is work enough for both, however late the limit below comes.
    wanted = (f"{clips}/**/*.mp4", "--out", out, "--segment", "8")
    first = Batch(*wanted, "--quiet")
    records = out / ".batch"
    done = first.until(lambda: [p for p in records.glob("*.json") if '"done"' in p.read_text()])
    first.process.kill()
    first.end()
    kept = {p.name: (out / p.with_suffix(".jsonl").name).stat().st_mtime_ns for p in done}
    second = Batch(*wanted)
    resource.prlimit(second.pid(1), resource.RLIMIT_FSIZE, (4096, 4096))
    table = second.end()
    assert second.process.returncode == 0, (table, second.err)
    err = "".join(second.err)
    assert "worker 1: " in err and "File too large" in err, err
    assert " skipped" in table and " failed" not in table
    for number in range(SHORTS):
        frames = load(out / f"{number}.mp4.jsonl")
        assert [f.frame for f in frames] == list(range(SHORT))
        told = json.loads((records / f"{number}.mp4.json").read_text())
        assert told["state"] == "done" and told["frames"] == SHORT
    for name, changed in kept.items():
        assert (out / Path(name).with_suffix(".jsonl").name).stat().st_mtime_ns == changed
    assert not list(out.rglob("*.part*"))

"""The status file and the disk's floor: what looks after a run that nobody watches."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import media
import numpy as np
import pytest
from commandline import demo, lines, times
from fake_camera import FakeClock
from test_run import fails

from realtime.cli import parse
from realtime.errors import InputError, OutputError, UsageError
from realtime.ledger import ALARM, Ledger
from realtime.records import Frame, PosedFrame, Poses
from realtime.sinks import outfile
from realtime.sinks.record import Recorder
from realtime.sources.base import SourceInfo
from realtime.status import SourceStatus
from realtime.statusfile import StatusFile
from realtime.stop import Stopped


class FakeSource:
    def __init__(self, live: bool, clock: FakeClock) -> None:
        self.info = SourceInfo("cam", "url" if live else "file", live=live)
        self.status = SourceStatus(clock=clock)


class Watched:
    """A status file with a fake clock, whose thread is told to write by write()."""

    def __init__(self, path: Path, live: bool = True) -> None:
        self.clock = FakeClock()
        self.path, self.source = path, FakeSource(live, self.clock)
        self.ledger = Ledger(live)
        self.file = StatusFile(path, clock=self.clock)
        self.file.follow(self.source, self.ledger, list)  # type: ignore[arg-type]

    def pass_time(self, seconds: int, captured: int = 30, finished: int = 30) -> dict[str, Any]:
        """So many seconds with these frames in each; what the file then says."""
        for _ in range(seconds):
            self.clock.now += 1.0
            for _ in range(captured):
                self.ledger.capture()
                self.source.status.frame()
            for _ in range(finished):
                self.ledger.deliver(2, 0)
            told = self.file._told()
        return told


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "s.json")


def read(path: Path) -> dict[str, Any]:
    told = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(told, dict)
    return told


def test_the_figures_are_those_of_the_last_ten_seconds(watched: Watched) -> None:
    told = watched.pass_time(5)
    assert (told["state"], told["quality"], told["fps"]) == ("live", "good", 30.0)
    told = watched.pass_time(20, captured=30, finished=10)
    assert (told["quality"], told["fps"]) == ("slow", 10.0)
    assert (told["frames_captured"], told["frames_finished"]) == (25 * 30, 5 * 30 + 20 * 10)
    assert told["age_s"] < 5 and told["exit_code"] is None


def test_stalls_reconnects_and_damage_are_counted_for_an_hour(watched: Watched) -> None:
    watched.pass_time(2)
    watched.source.status.reconnecting("no data")
    told = watched.pass_time(1, 0, 0)
    assert (told["state"], told["detail"], told["quality"]) == ("stalled", "no data", "unsteady")
    assert told["reconnects"] == told["reconnects_1h"] == told["stalls_1h"] == 1
    assert watched.pass_time(2, 0, 0)["stalls_1h"] == 1  # the same one still
    assert watched.pass_time(50)["quality"] == "unsteady"
    watched.source.status.bad_packets += 3
    assert watched.pass_time(59)["quality"] == "unsteady"
    told = watched.pass_time(10)
    assert (told["quality"], told["bad_packets"]) == ("good", 3)
    told = watched.pass_time(3600, 1, 1)
    assert (told["reconnects"], told["reconnects_1h"], told["stalls_1h"]) == (1, 0, 0)


@pytest.mark.parametrize("exit_code", [0, 130])
def test_a_stop_before_the_first_frame_has_its_own_exit_code(
    tmp_path: Path, exit_code: int
) -> None:
    path = tmp_path / "s.json"
    with pytest.raises(Stopped), StatusFile(path):
        raise Stopped("SIGTERM", exit_code)
    assert (read(path)["state"], read(path)["exit_code"]) == ("stopped", exit_code)


def test_no_password_is_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    with pytest.raises(OutputError), StatusFile(path):
        raise OutputError("http://user:hush@host/x.jsonl: no such folder")
    assert "hush" not in path.read_text() and "host/x.jsonl" in read(path)["error"]


def test_without_frames_there_is_no_quality(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watched.file._told()["quality"] == "none"
    watched.pass_time(1)
    now = time.perf_counter()
    monkeypatch.setattr("realtime.statusfile.perf_counter", lambda: now + 7)
    told = watched.pass_time(1, 0, 0)
    assert told["quality"] == "none" and 6.9 < told["age_s"] < 7.1


def test_a_network_whose_joints_are_no_numbers_is_blind(watched: Watched) -> None:
    for _ in range(ALARM):
        assert not watched.ledger.blind
        watched.ledger.deliver(0, 0)  # nobody: says nothing
        watched.ledger.deliver(0, 1)
    assert watched.pass_time(1, 1, 0)["quality"] == "blind"
    watched.ledger.deliver(1, 1)
    assert watched.pass_time(1, 1, 0)["quality"] == "good"
    for _ in range(ALARM - 1):
        watched.ledger.deliver(0, 1)
    assert not watched.ledger.blind  # only frames in a row count


def test_a_file_is_running_and_ends(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "s.json", live=False)
    assert watched.pass_time(1)["state"] == "running"
    watched.file.finish(3, False, InputError("a\nb"))
    watched.file.finish(0, True)  # changes nothing
    told = read(watched.path)
    assert (told["state"], told["exit_code"], told["error"]) == ("failed", 3, "a b")


def test_readers_never_see_half_a_file(watched: Watched, tmp_path: Path) -> None:
    def write() -> None:
        for _ in range(300):
            watched.file._try(watched.file._told())

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        assert read(watched.path)["pid"] == os.getpid()
    writer.join()
    watched.file.finish(0, True)
    assert read(watched.path)["state"] == "stopped"
    assert list(tmp_path.iterdir()) == [watched.path]


def test_what_leaves_before_the_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        with StatusFile(tmp_path / "s.json"):
            raise InputError("no such file")
    assert read(tmp_path / "s.json")["exit_code"] == 3


def test_every_field_is_there_from_the_beginning(watched: Watched, tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    with StatusFile(path) as told:
        first = read(path)
        told.finish(3, False, InputError("no such file"))
    whole = watched.pass_time(5)
    for early in (first, read(path)):
        assert list(early) == list(whole)
        assert early["fps"] is None and early["frames_captured"] is None
        assert early["outputs_lost"] == []


def test_only_status_files_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    StatusFile(path).finish(0, True)
    StatusFile(path).finish(0, True)
    mine = tmp_path / "mine.json"
    mine.write_text("precious")
    (tmp_path / "link").symlink_to(mine)
    for wrong in (mine, tmp_path, tmp_path / "link", tmp_path / "no" / "s.json"):
        with pytest.raises(OutputError) as caught:
            StatusFile(wrong)
        assert "\n" not in str(caught.value)
    assert mine.read_text() == "precious"


def test_another_output_is_no_status_file() -> None:
    for flag in ("--output", "--report", "--log-file", "--json"):
        with pytest.raises(UsageError, match="same name"):
            parse(["--input", "demo", flag, "x.mp4", "--status-file", "./x.mp4"])
    with pytest.raises(UsageError, match="min-free"):
        parse(["--min-free", "-1"])


def test_a_run_tells_how_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    result = demo("--end", "12", "--json", tmp_path / "d.jsonl", "--status-file", path)
    assert result.code == 0, result.err
    told = read(path)
    assert (told["state"], told["exit_code"], told["frames_finished"]) == ("done", 0, 12)
    fails(demo("--status-file", path, "--pose", tmp_path / "no.onnx"), 5, "no.onnx")
    told = read(path)
    assert (told["state"], told["exit_code"]) == ("failed", 5) and "no.onnx" in told["error"]
    source = media.video(tmp_path / "v.mp4", 2)
    fails(demo("--status-file", source), 4, "no status file")


def posed(index: int) -> PosedFrame:
    picture = np.full((48, 64, 3), index, np.uint8)
    return PosedFrame(Frame(index, index / 10, picture), Poses.empty(), 0, picture)


def test_recording_stops_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, clock = [9 << 20], FakeClock()
    monkeypatch.setattr(outfile, "free_bytes", lambda folder: free[0])
    with pytest.raises(OutputError, match="9 MiB left .*smaller --min-free"):
        Recorder(tmp_path / "v.mp4", rate=10, time_base=None, min_free=10 << 20)
    assert not list(tmp_path.iterdir())
    recorder = Recorder(tmp_path / "v.mp4", rate=10, time_base=None, min_free=8 << 20, clock=clock)
    for index in range(20):
        recorder.write(posed(index))
    free[0] = 7 << 20
    recorder.write(posed(20))  # looked at once a second
    clock.now += 1
    with pytest.raises(OutputError, match="7 MiB left .*plays"):
        recorder.write(posed(21))
    recorder.close()
    assert len(times(tmp_path / "v.mp4")) == 21


def test_too_little_room_is_refused_before_the_run(tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    most = str(2**30)
    result = demo("--output", tmp_path / "v.mp4", "--json", data, "--end", "3", "--min-free", most)
    fails(result, 4, "v.mp4", "--min-free")
    assert not (tmp_path / "v.mp4").exists() and not data.exists()
    assert demo("--json", data, "--end", "3", "--min-free", most).code == 0
    assert len(lines(data)) == 3

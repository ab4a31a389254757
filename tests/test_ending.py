"""Files that are put together when the run ends get the time they need, and are told if lost."""

from __future__ import annotations

import json
import signal
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from threading import Event
from typing import BinaryIO

import pytest
from commandline import start_python
from test_cli_outputs import posix

from realtime.cli import parse
from realtime.errors import OutputError, PosestreamError
from realtime.formats import files
from realtime.formats.documents import CocoResults
from realtime.job import Job, open_job
from realtime.records import PosedFrame
from realtime.stop import Stop

LIMIT, HUNG = 0.3, 0.6
ADD, FINISH = CocoResults.add, CocoResults.finish


def live(out: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Job, PosestreamError | None]:
    """A live run that is stopped by SIGTERM at its first frame, and the error that ended it."""
    text = ["--input", "demo", "--live", "--headless", "--quiet", "--data", f"coco:{out}"]
    stop = Stop()

    def last(self: CocoResults, item: PosedFrame) -> None:
        ADD(self, item)
        stop.ask("SIGTERM")

    monkeypatch.setattr(CocoResults, "add", last)
    with ExitStack() as cleanup:
        job = open_job(parse(text), stop, cleanup)
        monkeypatch.setattr("realtime.loop.STOP_LIMIT", LIMIT)
        monkeypatch.setattr("realtime.loop.HANG_LIMIT", HUNG)  # not the networks'
        failure = job.run(0.0)
        cleanup.pop_all()
    return job, failure


def slow_disk(number: int) -> None:
    time.sleep(LIMIT + 2 * HUNG)


def slow_pieces(self: CocoResults, out: BinaryIO) -> list[str]:
    """Longer than HUNG; each piece much shorter."""
    for _ in range(10):
        time.sleep(0.15 * HUNG)
        out.write(b" ")
    return FINISH(self, out)


@pytest.mark.parametrize("what", ["disk", "pieces"])
def test_a_stop_waits_for_a_file_that_is_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what == "disk":
        monkeypatch.setattr(files, "sync", slow_disk)
    else:
        monkeypatch.setattr(CocoResults, "finish", slow_pieces)
    job, failure = live(tmp_path / "x.json", monkeypatch)
    assert failure is None and job.lost() == []
    assert "data.coco" not in job.whole.left_behind  # a stage may be, on a busy machine
    assert json.loads((tmp_path / "x.json").read_text())


def test_pieces_that_take_long_together_are_no_hang_at_the_end_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(self: CocoResults, out: BinaryIO) -> list[str]:
        job.whole._watchdog.limit = HUNG  # not the networks'
        return slow_pieces(self, out)

    monkeypatch.setattr(CocoResults, "finish", finish)
    text = ["--input", "demo", "--end", "3", "--headless", "--quiet"]
    with ExitStack() as cleanup:
        job = open_job(parse([*text, "--data", f"coco:{tmp_path / 'x.json'}"]), Stop(), cleanup)
        assert job.run(0.0) is None
    assert (tmp_path / "x.json").exists()


def test_a_file_that_does_not_get_on_counts_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung = Event()

    def hangs(self: CocoResults, out: BinaryIO) -> list[str]:
        hung.wait(20)
        return FINISH(self, out)

    monkeypatch.setattr(CocoResults, "finish", hangs)
    job, failure = live(tmp_path / "x.json", monkeypatch)
    assert isinstance(failure, OutputError) and failure.exit_code == 4
    assert job.lost() == ["data.coco"] and "data.coco" in job.whole.left_behind
    report = job.report(datetime.now(timezone.utc), ended=False)
    assert report["frames_written"] == 0 and report["dropped"]["data.coco.failed"] > 0
    assert report["ledger_errors"] == [] and "did not end" in report["sinks"]["data.coco"]["error"]
    hung.set()


def test_a_file_that_fails_while_the_run_is_stopped_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        time.sleep(0.5 * LIMIT)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    job, failure = live(tmp_path / "x.json", monkeypatch)
    assert isinstance(failure, OutputError) and "No space left" in str(failure)
    assert job.lost() == ["data.coco"]


BUSY = """
import realtime.stop, time
realtime.stop.PATIENCE = 0.6
stop = realtime.stop.Stop()
stop.install()
end = time.monotonic() + 0.8
stop.assembles = lambda: time.monotonic() < end
stop.started = True
print("ready", flush=True)
time.sleep(0.9)
stop.release()
print("done", flush=True)
time.sleep(0.5)
"""


@posix
def test_a_signal_waits_for_files_that_are_put_together() -> None:
    process = start_python(BUSY)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10) == ("done\n", "")

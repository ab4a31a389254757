"""Accounts, percentiles, meters and the fault hook."""

import io
from collections import Counter
from collections.abc import Generator
from mmap import PAGESIZE
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_camera import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import InputError, OutputError, StageError, UsageError
from realtime.faults import parse_fault
from realtime.flow import Crew
from realtime.ledger import Ledger, Percentiles, SinkCount, bottleneck, rss_mb
from realtime.loop import Run
from realtime.outputs import SinkWorker
from realtime.records import Frame, PosedFrame, Poses
from realtime.stages import Meter, Watchdog
from realtime.status import SourceStatus


@given(st.lists(st.floats(1e-3, 100), min_size=1, max_size=200), st.sampled_from([50, 95, 99]))
def test_percentiles_are_within_two_percent(seconds: list[float], percent: int) -> None:
    histogram = Percentiles()
    for value in seconds:
        histogram.add(value)
    exact = float(np.percentile(seconds, percent, method="inverted_cdf"))
    assert histogram.get(percent) == pytest.approx(exact, rel=0.021)


def test_no_durations_no_percentile() -> None:
    assert Percentiles().get(50) is None


def ledger_with(captured: int, written: int, dropped: int = 0) -> tuple[Ledger, SinkCount]:
    ledger, count = Ledger(live=False), SinkCount(frames=written)
    if dropped:
        count.dropped["json.full"] = dropped
    ledger.watch({}, {"json": count})
    for _ in range(captured):
        ledger.capture()
    ledger.delivery.frames = captured
    return ledger, count


def test_frames_that_add_up_are_no_mistake() -> None:
    assert ledger_with(10, 8, dropped=2)[0].settle({}, ended=True) == []


def test_a_frame_that_vanished_is_a_mistake_at_the_end_of_the_source() -> None:
    wrong = ledger_with(10, 9)[0].settle({}, ended=True)
    assert wrong == ["10 frames captured, but json accounts for 9"]


def test_frames_under_way_at_a_stop_are_counted() -> None:
    ledger, count = ledger_with(10, 7)
    assert ledger.settle({}, ended=False) == []
    assert count.dropped == {"stop.unfinished": 3}


def test_what_failed_or_was_dropped_before_the_sinks_is_accounted_for() -> None:
    ledger, count = ledger_with(10, 5, dropped=1)
    ledger.failed, ledger.delivery.frames = 1, 6
    assert ledger.settle({"grab.stale": 2, "seek.left_out": 1}, ended=True) == []
    assert ledger.settle({"grab.stale": 1}, ended=False) == []
    assert count.dropped == {"json.full": 1, "stop.unfinished": 2}


def test_the_window_is_accounted_for_as_well() -> None:
    ledger, window = ledger_with(10, 10)[0], SinkCount(frames=7)
    window.dropped["window.paused"] = 2
    ledger.watch({}, ledger.sinks, window)
    wrong = ["10 frames captured, but the window accounts for 9"]
    assert ledger.settle({}, ended=True) == wrong and ledger.dropped() == 0
    assert ledger.settle({}, ended=False) == [] and window.dropped["stop.unfinished"] == 1


def test_a_frame_counted_twice_is_always_a_mistake() -> None:
    assert ledger_with(10, 11)[0].settle({}, ended=False) != []


def test_the_meter_names_stage_and_frame() -> None:
    meter = Meter("pose", "pose")
    with pytest.raises(StageError, match=r"stage 'pose' failed on frame 7: no luck"):
        with meter.on([7]):
            raise ValueError("no luck")
    with pytest.raises(StageError, match=r"failed on frames 8 to 9: ZeroDivisionError"):
        with meter.on([8, 9]):
            raise ZeroDivisionError
    with pytest.raises(InputError, match="as it is"):
        with meter.on([1]):
            raise InputError("as it is")
    assert meter.busy_since is None


def test_the_meter_counts_frames_of_a_generator() -> None:
    image = np.zeros((2, 2, 3), np.uint8)

    def source() -> Generator[Frame, None, None]:
        for index in (0, 2, 4):
            yield Frame(index, index / 10, image.copy())

    meter = Meter("grab", "grab")
    assert [frame.index for frame in meter.over(source())] == [0, 2, 4]
    assert meter.frames == 3


def test_a_hung_stage_is_found() -> None:
    now = [0.0]
    watchdog = Watchdog(10.0, lambda: now[0])
    slow, idle = Meter("pose", "pose"), Meter("crop", "pose")
    slow.busy_since = 0.0
    for tenth in range(100):
        now[0] = tenth / 10
        assert watchdog.look([idle, slow]) is None
    now[0] = 10.1
    assert watchdog.look([idle, slow]) is slow


def test_a_hang_is_told_where_standard_error_is_no_file(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run: Any = SimpleNamespace(
        _watchdog=SimpleNamespace(look=lambda meters: Meter("pose", "pose"), limit=10.0)
    )
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with pytest.raises(StageError, match="stage 'pose' hangs"):
        Run._check_hangs(run, [])
    assert "test_ledger.py" in capfd.readouterr().err


def test_a_stall_and_its_end_are_told_once_each(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    status = SourceStatus(clock=clock)
    source = SimpleNamespace(status=status, info=SimpleNamespace(name="cam"))
    run: Any = SimpleNamespace(_source=source, _ledger=Ledger(live=True), _stalled=False)
    for _ in range(2):
        for seconds in (0, 5, 1, 0):
            clock.now += seconds
            if not seconds:
                status.frame()
            Run._log_stall(run)
    assert caplog.messages == ["cam: stalled 5 s; waiting", "cam: frames again"] * 2


class Full:
    """A sink for which the disk has no room."""

    name, wants_picture, notes = "json", False, list[str]()

    def __init__(self) -> None:
        self.closed: list[bool] = []

    def write(self, item: PosedFrame) -> None:
        raise OutputError("x.jsonl: no room")

    def close(self, clean: bool = True) -> None:
        self.closed.append(clean)


def test_a_sink_that_has_failed_is_not_closed_as_whole() -> None:
    """Else the old file, which waits beside it, would go."""
    sink = Full()
    worker = SinkWorker(sink, Meter("json", "json"), 4)
    worker.start(Crew())
    frame = Frame(0, 0.0, np.zeros((2, 2, 3), np.uint8))
    assert worker.offer(PosedFrame(frame, Poses.empty()), 20)
    worker.finish(clean=True)
    assert worker.done(20) and sink.closed == [False]
    assert worker.count == SinkCount(0, Counter({"json.failed": 1}))


def test_a_long_call_that_gets_on_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("realtime.stages.perf_counter", lambda: now[0])
    meter, watchdog = Meter("pose", "pose"), Watchdog(10, lambda: now[0])
    with meter.on([1]):
        for _ in range(300):
            now[0] += 0.5
            meter.alive() if now[0] < 200 else None
            found = watchdog.look([meter])
            assert (found is meter) == (now[0] >= 210)
    assert meter.seconds == 150


def test_a_pause_of_the_whole_process_is_no_hang() -> None:
    now = [0.0]
    watchdog = Watchdog(10.0, lambda: now[0])
    slow = Meter("pose", "pose")
    slow.busy_since = 0.0
    after_pause = [3600 + tenth / 10 for tenth in range(100)]
    for moment in [0.0, 0.5, *after_pause]:
        now[0] = moment
        assert watchdog.look([slow]) is None
    now[0] = after_pause[0] + 10.1
    assert watchdog.look([slow]) is slow


def test_the_bottleneck_is_in_the_busiest_thread() -> None:
    meters = [Meter("grab", "grab"), Meter("crop", "pose"), Meter("pose", "pose")]
    for meter, seconds in zip(meters, (5.0, 2.0, 4.0), strict=True):
        meter.seconds = seconds
    assert bottleneck(meters, 6.0, live=False) == "pose"
    assert bottleneck(meters, 60.0, live=False) == "pose"  # nobody waits for a file
    assert bottleneck(meters, 6.2, live=True) == "pose"
    assert bottleneck(meters, 60.0, live=True) == "source"
    assert bottleneck([], 1.0, live=False) == "none"


@pytest.mark.parametrize("text", ["pose", "pose:explode@3", "pose:raise@x", "a:b:c:d@1", "@"])
def test_a_wrong_fault_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="POSESTREAM_FAULT"):
        parse_fault(text)


def test_a_fault_trips_once_on_its_frame() -> None:
    fault = parse_fault("pose:raise@50")
    assert fault is not None and parse_fault("") is None
    fault.trip("pose", [48, 49])
    fault.trip("crop", [50])
    with pytest.raises(RuntimeError, match="POSESTREAM_FAULT"):
        fault.trip("pose", [48, 49, 50])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_is_counted_in_the_pages_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Raspberry Pi 5 has some of 16 KiB."""
    here = rss_mb()
    monkeypatch.setattr("realtime.ledger.PAGESIZE", 4 * PAGESIZE)
    assert here and rss_mb() == pytest.approx(4 * here, rel=0.1)

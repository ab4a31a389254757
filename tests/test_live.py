"""What cameras and streams share: waits, times and the part of a source, over a fake clock."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Generator, Iterable
from threading import Event

import numpy as np
import pytest
from fake_camera import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import SourceLost
from realtime.sources.backlog import LATE, Backlog
from realtime.sources.base import SourceInfo, Span
from realtime.sources.live import Broken, LiveSource, Picture, Timeline
from realtime.sources.waiting import Backoff, Handover, within_seconds
from realtime.status import SourceStatus

IMAGE = np.zeros((4, 6, 3), np.uint8)
Script = Iterable[int | Broken]


class Sender:
    """connect() for a LiveSource: each connection takes the next entry of the script, a number of
    pictures 0.1 s apart and then a break, or a Broken at once."""

    def __init__(self, script: Script, clock: FakeClock, down: bool = False) -> None:
        self.script = iter(script)
        self.clock = clock
        self.down = down
        self.times: list[float] = []  # of the attempts
        self.open = 0

    def __call__(self, closed: Event) -> Generator[Picture, None, None]:
        self.times.append(self.clock())
        entry = next(self.script)
        if isinstance(entry, Broken):
            raise entry
        self.open += 1
        try:
            for _ in range(entry):
                self.clock.now += 0.1
                yield Picture(IMAGE.copy(), None)
            raise Broken("the sender closed the connection", down=self.down)
        finally:
            self.open -= 1


def live(
    sender: Sender,
    clock: FakeClock,
    most: int | None = None,
    span: Span | None = None,
    wait: Callable[[float], bool] | None = None,
) -> LiveSource:
    return LiveSource(
        SourceInfo("cam", "url", live=True),
        SourceStatus(clock=clock),
        sender,
        span=span,
        max_reconnects=most,
        clock=clock,
        wait=wait or clock.sleep,
        backoff=Backoff(random=lambda: 0.0),
    )


def refused() -> Broken:
    return Broken("connection refused", down=True)


def test_waits_double_from_1_to_30_seconds() -> None:
    backoff = Backoff(random=lambda: 0.0)
    assert [backoff.next() for _ in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]
    backoff.reset()
    assert backoff.next() == 1


def test_waits_stay_short_while_nobody_answers() -> None:
    backoff = Backoff(random=lambda: 0.0)
    assert [backoff.next(down=True) for _ in range(6)] == [1, 2, 4, 5, 5, 5]
    assert all(Backoff().next(down=True) <= 1 for _ in range(1000))


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 10_000))
def test_jitter_only_shortens_and_by_a_fifth_at_most(random: float, attempts: int) -> None:
    backoff = Backoff(random=lambda: random)
    backoff.attempts = attempts
    full = min(30.0, 2.0 ** min(attempts, 10))
    assert 0.8 * full <= backoff.next() <= full


def test_a_server_that_comes_up_after_20_s_needs_at_most_8_attempts() -> None:
    clock = FakeClock()
    sender = Sender([*[refused()] * 7, 5], clock)
    source = live(sender, clock)
    frames = source.frames()
    next(frames)
    waited = sender.times[-1] - sender.times[0]
    assert 20 <= waited <= 30 and len(sender.times) == 8
    assert source.status.reconnects == 0 and source.status.state == "live"


def test_frames_go_on_over_connections() -> None:
    clock = FakeClock()
    sender = Sender([3, refused(), 2, 4], clock)
    source = live(sender, clock)
    got = list(itertools.islice(source.frames(), 8))
    assert [f.index for f in got] == list(range(8))
    assert all(a.time < b.time for a, b in zip(got, got[1:]))
    assert got[0].time == 0.0 and got[3].time - got[2].time == pytest.approx(1 + 2 + 0.1)
    assert source.status.reconnects == 2
    assert sender.open <= 1


def test_status_and_log_tell_the_story_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    sender = Sender([1, *[refused()] * 30, 1], clock)
    states = []

    def sleep(seconds: float) -> bool:
        states.append(source.status.describe())
        return clock.sleep(seconds)

    source = live(sender, clock, wait=sleep)
    with caplog.at_level(logging.INFO):
        list(itertools.islice(source.frames(), 2))
    assert states[0].startswith("stalled 0 s: the sender closed")
    assert states[-1] == "stalled 142 s: connection refused"
    lines = [r.message for r in caplog.records]
    assert lines[0] == "cam: the sender closed the connection; trying again in 1 s"
    assert lines[1] == "cam: connection refused; trying again in 2 s"
    assert lines[-1] == "cam: frames again"
    assert {r.levelname for r in caplog.records} == {"WARNING"}  # seen without -v
    assert len(lines) == 2 + 2 + 1  # the same trouble once a minute


def test_of_what_was_never_there_the_log_says_how_to_end(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    sender = Sender([refused(), 1, refused()], clock)
    list(itertools.islice(live(sender, clock).frames(), 1))
    assert caplog.messages[0] == "cam: connection refused; trying again in 1 s (Ctrl-C ends)"


def test_lost_beyond_the_limit_of_attempts_in_a_row() -> None:
    clock = FakeClock()
    sender = Sender([2, refused(), 2, *[refused()] * 9], clock)
    source = live(sender, clock, most=2)
    frames = source.frames()
    assert len(list(itertools.islice(frames, 4))) == 4  # one failure between is within the limit
    with pytest.raises(SourceLost, match="^cam: connection refused; not back after 2 attempts"):
        next(frames)
    assert source.status.state == "lost"


def test_limit_0_gives_up_at_the_first_break() -> None:
    clock = FakeClock()
    with pytest.raises(SourceLost):
        list(live(Sender([2, 2], clock), clock, most=0).frames())


def test_close_ends_the_wait() -> None:
    clock = FakeClock()

    def closed_meanwhile(seconds: float) -> bool:
        source.close()
        return True

    source = live(Sender([1, 1], clock), clock, wait=closed_meanwhile)
    assert len(list(source.frames())) == 1
    assert source.status.state == "ended"


def test_closing_frames_closes_the_connection() -> None:
    clock = FakeClock()
    sender = Sender([5], clock)
    frames = live(sender, clock).frames()
    next(frames)
    assert sender.open == 1
    frames.close()
    assert sender.open == 0


@pytest.mark.parametrize(
    ("span", "kept"),
    [
        (Span(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (Span(3, 6), [3, 4, 5]),
        (Span(2, 9, 3), [2, 5, 8]),
        (Span(0.25, 0.65), [3, 4, 5, 6]),
        (Span(0, 0.05), [0]),
    ],
)
def test_the_part_of_a_live_source(span: Span, kept: list[int]) -> None:
    clock = FakeClock()
    sender = Sender([10, *[refused()]], clock)
    source = live(sender, clock, most=0, span=span)
    indices = []
    try:
        for frame in source.frames():
            indices.append(frame.index)
    except SourceLost:
        assert span.end is None
    assert indices == kept and sender.open == 0


def test_the_end_comes_while_the_source_is_away() -> None:
    clock = FakeClock()
    sender = Sender([20, *[refused()] * 100], clock)
    frames = list(live(sender, clock, span=Span(end=10.0)).frames())
    assert len(frames) == 20 and sender.times[-1] < 110.0 <= clock.now < 110.2


# Frame.time


def times(arrivals: list[float], stamps: list[float | None]) -> list[float]:
    clock = FakeClock()
    timeline = Timeline(clock)
    out = []
    for arrival, stamp in zip(arrivals, stamps):
        clock.now = 100.0 + arrival
        out.append(timeline.at(stamp))
    return out


def test_without_timestamps_the_arrival_counts() -> None:
    assert times([5.0, 5.5, 7.0], [None] * 3) == pytest.approx([0.0, 0.5, 2.0])


def test_bursts_are_spread_by_the_timestamps() -> None:
    stamps: list[float | None] = [1000 + n * 0.04 for n in range(100)]
    arrivals = [0.04 * (n - n % 5) for n in range(100)]  # five frames at a time
    steps = np.diff(times(arrivals, stamps))
    assert steps.min() > 0.03 and steps.max() < 0.05


@pytest.mark.parametrize("backlog", [0.33, 1.0, 4.0])
def test_what_a_server_has_kept_comes_at_its_own_times(backlog: float) -> None:
    stamps: list[float | None] = [n / 25 for n in range(300)]
    arrivals = [max(n / 1000, n / 25 - backlog) for n in range(300)]
    out = times(arrivals, stamps)
    assert np.diff(out) == pytest.approx(0.04, abs=0.002)
    assert out[-1] == pytest.approx(arrivals[-1] + backlog, abs=0.1)


def test_zero_stays_where_it_is_on_later_connections() -> None:
    clock = FakeClock()
    timeline = Timeline(clock)
    timeline.at(0.0)
    timeline.restart()
    for n in range(50):
        timeline.at(n / 25)  # at once
    assert timeline.passed() == 0


def test_a_clock_that_runs_fast_is_followed() -> None:
    stamps: list[float | None] = [n * 0.04 * 1.001 for n in range(100_000)]  # 4 s ahead at the end
    arrivals = [n * 0.04 for n in range(100_000)]
    out = times(arrivals, stamps)
    assert abs(out[-1] - arrivals[-1]) < 0.05
    assert np.diff(out).max() < 0.05  # without a jump


@given(
    st.lists(
        st.tuples(
            st.floats(0, 10),
            st.one_of(st.none(), st.floats(-1e6, 1e6, allow_nan=False)),
        ),
        min_size=2,
        max_size=30,
    )
)
def test_times_strictly_increase_and_stay_near_the_arrival(steps: list) -> None:
    """Wherever zero is by what came first."""
    clock = FakeClock()
    timeline, began, out = Timeline(clock), clock.now + steps[0][0], []
    for step, stamp in steps:
        clock.now += step
        out.append(timeline.at(stamp))
        assert abs(out[-1] - timeline.passed()) < 0.6
        assert -1e-9 < timeline.passed() - (clock.now - began) < Timeline.BACKLOG + 1e-9
    assert out[0] == 0.0
    assert all(a < b for a, b in zip(out, out[1:]))


def test_timestamps_that_run_slow_are_no_longer_believed() -> None:
    arrivals = [n / 5 for n in range(100)]
    out = times(arrivals, [n / 30 for n in range(100)])  # counted as if there were 30 a second
    assert out[15:] == pytest.approx(arrivals[15:])


def test_a_stall_is_no_reason_to_stop_believing_timestamps() -> None:
    stamps: list[float | None] = [n * 0.04 for n in range(600)]
    # Half of the time nothing comes and then all at once; at the end each second one is 10 ms late.
    arrivals = [0.04 * (n if n % 100 > 50 else n - n % 100 + 50) for n in range(500)]
    out = times([*arrivals, *(0.04 * n + 0.01 * (n % 2) for n in range(500, 600))], stamps)
    assert np.diff(out[-50:]) == pytest.approx(0.04, abs=0.002)


def test_a_new_connection_starts_at_its_arrival() -> None:
    clock = FakeClock()
    timeline = Timeline(clock)
    timeline.at(500.0)
    clock.now += 10
    timeline.restart()
    assert timeline.at(499.9) == pytest.approx(10.0)  # without restart: within SLACK of nothing


# Waiting


def test_a_thing_is_handed_over_once() -> None:
    thing = Handover("camera")
    assert (thing.take(), thing.take()) == ("camera", None)


def test_within_seconds_raises_what_the_work_raised() -> None:
    def work() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        within_seconds(5, work, print)
    assert within_seconds(5, lambda: 7, print) == 7


def test_a_late_result_is_put_away() -> None:
    go, gone = Event(), Event()

    def work() -> str:
        go.wait(5)
        return "camera"

    with pytest.raises(TimeoutError):
        within_seconds(0.05, work, lambda late: gone.set() if late == "camera" else None)
    go.set()
    assert gone.wait(5)


# Decoding that is too slow


def late(work: float, frames: int, group: int = 25, rate: float = 25.0) -> list[float]:
    """Ages of the pictures of a stream with a keyframe in each group, which all take work seconds
    to decode; 0.1 ms to read."""
    clock = FakeClock()
    backlog, began, ages = Backlog(clock), clock.now, []
    for n in range(frames):
        waited = max(0.0001, began + n / rate - clock.now)
        clock.now += waited
        if not backlog.passes_over(n / rate, waited, n % group == 0):
            clock.now += work
            ages.append(clock.now - began - n / rate)
    assert len(ages) + backlog.passed == frames
    return ages


def test_what_cannot_be_decoded_in_time_is_passed_over() -> None:
    ages = late(work=0.05, frames=3000)  # 20 a second of 25
    assert max(ages) < LATE + 0.2 and len(ages) > 0.6 * 3000
    assert len([b for a, b in zip(ages, ages[1:]) if b < a - 1]) > 5  # again and again


def test_nothing_is_passed_over_while_decoding_keeps_up() -> None:
    assert len(late(work=0.039, frames=1000)) == 1000


@pytest.mark.parametrize("pause", [1.5, 30.0])
def test_neither_bursts_nor_jumps_of_timestamps_are_lateness(pause: float) -> None:
    clock = FakeClock()
    backlog = Backlog(clock)
    for n in range(400):
        waited = pause if n % 40 == 0 else 0.0001  # forty at once, or jumps back at each restart
        clock.now += waited + 0.01
        assert not backlog.passes_over(n % 200 / 25, waited, n % 40 == 0)

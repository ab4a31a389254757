"""The state of a source over a fake clock."""

from __future__ import annotations

import pytest
from fake_camera import FakeClock

from realtime.status import SourceStatus


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def status(clock: FakeClock) -> SourceStatus:
    return SourceStatus(stall_after=3.0, clock=clock)


def test_connecting_until_the_first_frame(status: SourceStatus, clock: FakeClock) -> None:
    clock.now += 60
    assert status.state == "connecting"
    assert status.describe() == "connecting 60 s"
    status.connecting("connection refused")
    assert status.describe() == "connecting 60 s: connection refused"
    status.frame()
    assert status.state == status.describe() == "live"


def test_live_becomes_stalled_by_itself_and_live_again(
    status: SourceStatus, clock: FakeClock
) -> None:
    status.frame()
    clock.now += 3.0
    assert status.state == "live"
    clock.now += 0.1
    assert status.state == "stalled"
    clock.now += 3.9
    assert status.describe() == "stalled 7 s"
    status.frame()
    assert status.state == "live" and status.silent_for == 0.0


def test_only_a_frame_that_was_asked_for_can_be_late(
    status: SourceStatus, clock: FakeClock
) -> None:
    status.frame()
    status.rests()
    clock.now += 60
    assert status.state == "live" and status.silent_for == 60
    status.asked()
    clock.now += 3.0
    assert status.state == "live"
    clock.now += 0.1
    assert status.state == "stalled"


def test_a_broken_connection_is_stalled_at_once_and_counted(
    status: SourceStatus, clock: FakeClock
) -> None:
    status.frame()
    clock.now += 1
    status.reconnecting("connection closed")
    assert status.state == "stalled" and status.reconnects == 1
    clock.now += 9
    status.connecting("connection refused")
    assert status.describe() == "stalled 10 s: connection refused"
    assert status.reconnects == 1
    status.frame()
    assert status.describe() == "live"


def test_lost_and_ended_are_final(status: SourceStatus, clock: FakeClock) -> None:
    status.frame()
    clock.now += 5
    status.lost("no answer")
    status.ended()
    status.frame()
    status.connecting("late")
    assert status.state == "lost" and status.describe() == "lost 0 s: no answer"


def test_a_source_that_ended_never_stalls(status: SourceStatus, clock: FakeClock) -> None:
    status.frame()
    status.ended()
    clock.now += 60
    assert status.state == status.describe() == "ended"


def test_notes_keep_their_order_and_are_kept_once(status: SourceStatus) -> None:
    for line in ("b", "a", "b"):
        status.note(line)
    assert status.notes == ["b", "a"]

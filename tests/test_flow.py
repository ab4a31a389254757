"""The flow core: order, drops, failures, early ends and deadlines, in many random runs."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import pytest

from realtime.errors import InputError, StageError
from realtime.flow import Crew, Edge, each, flat, grouped


def numbers(
    count: int, closed: list[str], fail_at: int | None = None, delay: float = 0
) -> Generator[int, None, None]:
    try:
        for number in range(count):
            if number == fail_at:
                raise OSError("camera")
            time.sleep(delay)
            yield number
    finally:
        closed.append("source")


def stage(fail_at: int | None, delay: float) -> Callable[[Any], Any]:
    def work(item: Any) -> Any:
        time.sleep(delay)
        first = item[-1] if isinstance(item, list) else item
        if fail_at is not None and first >= fail_at:
            raise ValueError("stage")
        return item

    return work


def chain(
    crew: Crew,
    edges: list[Edge[Any]],
    count: int,
    closed: list[str],
    fails: list[int | None],
    delays: list[float],
    batch: int = 3,
) -> Generator[int, None, None]:
    grab = crew.in_thread("grab", numbers(count, closed, fails[0], delays[0]), edges[0], batch)
    infer = crew.in_thread("infer", each(stage(fails[1], delays[1]), grab), edges[1])
    draw = crew.in_thread("draw", each(stage(fails[2], delays[2]), flat(infer)), edges[2])
    return flat(flat(draw))


def test_everything_arrives_once_and_in_order() -> None:
    crew = Crew()
    edges: list[Edge[Any]] = [Edge(1), Edge(2), Edge(2)]
    assert list(chain(crew, edges, 200, [], [None] * 3, [0] * 3)) == list(range(200))
    assert crew.join(1) == ()


def test_drop_oldest_counts_drops_and_delivers_the_last() -> None:
    edges: list[Edge[Any]] = [Edge(1, "drop_oldest"), Edge(1), Edge(1)]
    out = list(chain(Crew(), edges, 200, [], [None] * 3, [0.0005, 0.004, 0], batch=1))
    stats = edges[0].stats
    assert out == sorted(set(out)) and out[-1] == 199
    assert stats.dropped > 0 and stats.dropped + stats.passed == 200


@pytest.mark.parametrize("seed", range(6))
def test_random_failures_and_breaks_leave_nothing_behind(seed: int) -> None:
    """100 random runs: a stage or the source fails, or the consumer breaks off."""
    chance = random.Random(seed)
    before = threading.active_count()
    for _ in range(100):
        fails: list[int | None] = [None] * 3
        kind, count = chance.randrange(5), chance.choice([0, 1, 5, 40])
        at = chance.randrange(max(1, count))
        if kind < 3:
            fails[kind] = at
        delays = [chance.choice([0, 0, 0, 0.0002]) for _ in range(3)]
        policy = chance.choice(["wait", "drop_oldest"])
        edges: list[Edge[Any]] = [Edge(chance.choice([1, 2, 5]), policy)]
        edges += [Edge(chance.choice([1, 2])), Edge(chance.choice([1, 2]))]
        crew, closed, got, result = Crew(), [], [], "ok"
        run = chain(crew, edges, count, closed, fails, delays, chance.choice([1, 3]))
        try:
            with closing(run):
                for item in run:
                    got.append(item)
                    if kind == 3 and item >= at:
                        result = "break"
                        break
        except StageError as error:
            result = type(error.__cause__).__name__
        assert crew.join(2) == ()
        assert got == sorted(set(got))
        if count and kind < 3 and policy == "wait":
            assert result == ("OSError" if kind == 0 else "ValueError")
        assert closed == ["source"]
        assert threading.active_count() == before


def test_items_before_a_failure_are_delivered() -> None:
    crew = Crew()
    run = flat(crew.in_thread("grab", numbers(10, [], fail_at=7), Edge(2)))
    got = []
    with pytest.raises(StageError, match="stage 'grab' failed: camera"):
        for number in run:
            got.append(number)
    assert got == list(range(7))


def test_our_own_errors_cross_threads_unchanged() -> None:
    def source() -> Generator[int, None, None]:
        yield 1
        raise InputError("walk.mp4: broken")

    crew = Crew()
    inner = flat(crew.in_thread("grab", source(), Edge(1)))
    outer = flat(crew.in_thread("detect", each(lambda n: n, inner), Edge(1)))
    with pytest.raises(InputError, match=r"walk\.mp4"):
        list(outer)


def test_a_source_blocked_in_read_does_not_hold_up_the_end() -> None:
    release = threading.Event()

    def blocked() -> Generator[int, None, None]:
        yield 0
        release.wait()

    crew = Crew()
    grab = flat(crew.in_thread("grab", blocked(), Edge(1)))
    run = flat(crew.in_thread("draw", each(lambda n: n, grab), Edge(1)))
    assert next(run) == 0
    start = time.perf_counter()
    run.close()
    assert crew.join(0.3) == ("grab",)  # "draw" waited for "grab" at the edge: released
    assert time.perf_counter() - start < 1
    release.set()
    assert crew.join(2) == ()


def test_python_ends_after_the_threads_that_were_left_behind() -> None:
    """One that comes back from OpenVINO meanwhile would abort the process."""
    script = """
import time
from realtime.flow import Crew
crew = Crew()
crew.start("slow", lambda: (time.sleep(0.3), print("came back", flush=True)))
assert crew.join(0.0) == ("slow",)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "came back\n")


def test_tick_wakes_the_consumer_when_nothing_comes() -> None:
    release = threading.Event()

    def slow() -> Generator[int, None, None]:
        release.wait()
        yield 1

    crew = Crew()
    run = crew.in_thread("grab", slow(), Edge(1), tick=0.01)
    assert next(run) == []
    release.set()
    assert [items for items in run if items] == [[1]]


def test_put_with_a_timeout_reports_a_full_edge() -> None:
    edge: Edge[int] = Edge(1)
    assert edge.put(1, timeout=0)
    assert not edge.put(2, timeout=0.01)
    assert edge.take() == [1]
    edge.abandon()
    assert not edge.put(3)


def test_take_reports_timeout_and_end_differently() -> None:
    edge: Edge[int] = Edge(1)
    assert edge.take(timeout=0.01) is None
    edge.end()
    assert edge.take() == []


@pytest.mark.parametrize(("count", "size"), [(0, 3), (1, 3), (3, 3), (7, 3), (5, 1)])
def test_grouped_fills_its_groups(count: int, size: int) -> None:
    groups = list(grouped(numbers(count, []), size))
    assert [n for group in groups for n in group] == list(range(count))
    assert all(len(group) == size for group in groups[:-1])


def test_an_edge_needs_room() -> None:
    with pytest.raises(ValueError, match="capacity"):
        Edge(0)

"""Boxes of people whom the detector misses for some frames of a file."""

from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_schedule import PASSING, SIZE_WH, Detector, Film, walker

from realtime import pipeline
from realtime.bridge import KNOWN, bridged
from realtime.cli import settings_of
from realtime.defaults import BRIDGE
from realtime.errors import InputError
from realtime.geometry import iou
from realtime.job import Job
from realtime.opening import load_networks, open_source
from realtime.pipeline import longest_gap
from realtime.records import Frame
from realtime.schedule import detect_sparsely
from realtime.sources.base import SourceInfo
from realtime.stop import Stop

steady = settings(deadline=None, derandomize=True)


def missed(person, *frames):
    """The same person, whom nobody finds in these frames."""
    return lambda t: None if round(t * 30) in frames else person(t)


def run(count, *people, batch=4, times=None):
    """The boxes of every frame, by detection in every frame and a bridge."""
    film = Film(count, times=times)
    groups = bridged(detect_sparsely(film.frames(), Detector(*people), 1, batch), batch, BRIDGE)
    return [item for group in groups for item in group]


@pytest.mark.parametrize("gap", [1, 3, BRIDGE])
def test_a_gap_is_filled_where_the_person_was(gap):
    person = walker(100, 120, 0.8)
    hole = range(10, 10 + gap)
    for frame, found in run(30, missed(person, *hole), walker(450, 0, 0.9)):
        assert len(found) == 2
        assert (np.diff(found.scores) <= 0).all()
        true = np.array([person(frame.time)[:4]], np.float32)
        assert iou(true, found.boxes_xyxy).max() > 0.99
        looked_in = iou(true, found.search_xyxy).max()
        assert looked_in > 0.99 if frame.index not in hole else 0.65 < looked_in < 0.95


def test_the_score_is_the_lower_one():
    def person(t):
        return 100, 100, 180, 300, 0.4 if t > 0.4 else 0.8

    found = [people for _, people in run(20, missed(person, 10, 11, 12))]
    assert [round(float(people.scores[0]), 3) for people in found[9:14]] == [0.8, *[0.4] * 4]


@pytest.mark.parametrize(
    ("case", "people"),
    [
        ("too long", [missed(walker(100, 0), *range(10, 11 + BRIDGE))]),
        ("too new", [missed(walker(100, 0), 0, 1, 3, 4)]),
        ("at the end", [missed(walker(100, 0), *range(24, 30))]),
        ("at the start", [missed(walker(100, 0), *range(6))]),
        ("somewhere else", [lambda t: walker(50 if t < 0.3 else 500, 0)(t) if t > 0.4 or t < 0.3
                            else None]),
        ("behind somebody", [missed(walker(100, 0, 0.5), 10, 11), walker(104, 0, 0.9)]),
    ],
)  # fmt: skip
def test_what_is_no_gap_stays(case, people):
    film, detector = Film(30), Detector(*people)
    alone = [item for group in detect_sparsely(film.frames(), detector, 1, 4) for item in group]
    for (_, found), (_, kept) in zip(run(30, *people), alone, strict=True):
        np.testing.assert_array_equal(found.boxes_xyxy, kept.boxes_xyxy)
        np.testing.assert_array_equal(found.search_xyxy, kept.search_xyxy)


def test_somebody_found_again_and_again_is_known_by_and_by():
    found = run(14, missed(walker(100, 0), *(n for n in range(14) if n % 4)))
    there = [frame.index for frame, people in found if len(people)]
    assert there == [0, 4, *range(4 * (KNOWN - 1), 13)]


@steady
@given(
    st.integers(0, 40), st.integers(1, 6), st.integers(1, 9), st.sets(st.integers(0, 40)),
)  # fmt: skip
def test_every_frame_once_in_order_in_full_batches(count, every, batch, hole):
    film = Film(count)
    people = [missed(PASSING[0], *hole), *PASSING[1:]]
    found = detect_sparsely(film.frames(), Detector(*people), every, batch)
    groups = list(bridged(found, batch, BRIDGE))
    assert [frame.index for group in groups for frame, _ in group] == list(range(count))
    assert all(len(group) == batch for group in groups[:-1])
    assert film.closed
    for group in groups:
        for _, found in group:
            assert len(found) <= len(people)
            assert found.boxes_xyxy.min(initial=0) >= 0


@pytest.mark.parametrize(
    ("size_wh", "wanted", "longest"),
    [
        ((1920, 1080), 0, 0), ((1920, 1080), 20, 20), ((1920, 1080), 100, 86), (None, 100, 86),
        ((7680, 4320), 100, BRIDGE), ((7680, 4320), 3, 3),
    ],
)  # fmt: skip
def test_large_pictures_are_held_for_shorter_gaps(size_wh, wanted, longest):
    assert longest_gap(SourceInfo("a", "file", size_wh=size_wh), wanted) == longest
    assert longest_gap(SourceInfo("a", "images", independent=True, size_wh=size_wh), wanted) == 0


def test_a_shorter_bridge_is_told(monkeypatch):
    monkeypatch.setattr(pipeline, "HELD", 0)
    settings = settings_of(input="demo", end=3, bridge=50, quiet=True)
    with closing(open_source(settings)) as source:
        networks = load_networks(settings, source.info)
        Job(settings, Stop(), source, [], *networks, None).run(0.0)
        assert f"--bridge: at most {BRIDGE}, for the memory of a run" in source.status.notes


def test_it_holds_only_so_many_frames_and_closes():
    film = Film(60)
    groups = bridged(detect_sparsely(film.frames(), Detector(*PASSING), 3, 4), 4, BRIDGE)
    for _ in range(6):
        group = next(groups)
        assert film.alive <= 4 * 3 + 4 + BRIDGE + 4
        del group
    groups.close()
    assert film.closed


def test_a_failure_comes_after_all_frames_before_it():
    def cut():
        for n in range(13):
            yield [(Frame(n, n / 30, np.zeros((*SIZE_WH[::-1], 3), np.uint8)), Detector().at(0))]
        raise InputError("broken")

    seen = []
    with pytest.raises(InputError, match="broken"):
        for group in bridged(cut(), 1, BRIDGE):
            seen += [frame.index for frame, _ in group]
    assert seen == list(range(13))

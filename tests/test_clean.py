"""Cleaning of recorded poses."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_formats_files import posed, same, scene, target, without_frames, write
from test_smooth import one

from realtime.clean import main
from realtime.errors import InputError, UsageError
from realtime.formats.registry import About, load
from realtime.formats.rows import LoadedFrame
from realtime.formats.target import FORMATS, Target
from realtime.offline import SHORTEST, Cleaning, clean, low_pass
from realtime.records import Poses

RATE = 30.0
IMAGES = About("images", with_file=True)


def walk(xs: list[float | None], uneven: bool = False) -> list[LoadedFrame]:
    """A person at each x, nobody where it is None."""
    rng = np.random.default_rng(0)
    shift = rng.uniform(-0.3, 0.3, len(xs)) / RATE * uneven
    return [
        LoadedFrame(i, i / RATE + shift[i], one(x) if x is not None else Poses.empty())
        for i, x in enumerate(xs)
    ]


def places(frames: list[LoadedFrame]) -> list[float | None]:
    return [float(f.poses.joints_xy[0, 0, 0]) if len(f.poses) else None for f in frames]


@pytest.mark.parametrize("uneven", [False, True])
def test_butterworth_keeps_what_is_slow_without_delay(uneven: bool) -> None:
    frames = walk([0.0] * 120, uneven)
    times = np.array([frame.time for frame in frames])
    slow, fast = 50 * np.sin(2 * np.pi * times), 5 * np.sin(2 * np.pi * 12 * times)
    for frame, x in zip(frames, slow + fast):
        frame.poses.joints_xy[..., 0] = 100 + x
    found = np.array(places(clean(frames, Cleaning(butterworth=5))), float) - 100
    assert np.abs(found - slow)[15:-15].max() < 2.5
    assert np.abs(slow + fast - slow)[15:-15].max() > 4


@pytest.mark.parametrize(("rate", "cutoff"), [(60, 1), (60, 6), (30, 6), (30, 14), (240, 12)])
def test_the_cutoff_is_that_of_both_passes(rate: int, cutoff: float) -> None:
    """Half of the power is left there (-3 dB); two passes of a filter with it would leave a quarter
    (Winter, Biomechanics and Motor Control of Human Movement, section 2.2.4)."""
    times = np.arange(40 * rate) / rate
    found = low_pass(times, np.sin(2 * np.pi * cutoff * times + 0.5), cutoff)
    middle = found[10 * rate : 30 * rate]
    assert np.sqrt((middle**2).mean() * 2) == pytest.approx(np.sqrt(0.5), abs=0.003)


def test_frames_that_were_dropped_cost_no_quick_movement() -> None:
    rng = np.random.default_rng(0)
    times = np.delete(np.arange(300) / RATE, rng.choice(np.arange(1, 299), 15, replace=False))
    swing = 50 * np.sin(2 * np.pi * 3 * times)
    found = low_pass(times, swing, 10)
    assert np.sqrt(((found - swing)[10:-10] ** 2).mean()) < 1


def test_short_gaps_are_filled_and_long_ones_are_not() -> None:
    line: list[float | None] = [float(x) for x in range(40)]
    for missing in (5, 6, 7, *range(20, 32)):
        line[missing] = None
    found = places(clean(walk(line), Cleaning(fill=0.2)))
    assert found[5:8] == pytest.approx([5, 6, 7], abs=1e-3)
    assert found[20:32] == [None] * 12
    (filled,) = [f for f in clean(walk(line), Cleaning(fill=0.2)) if f.frame == 6]
    assert filled.poses.ids.tolist() == [1] and filled.poses.scores.tolist() == [1]
    assert filled.poses.boxes_xyxy[0] == pytest.approx([-14, 0, 26, 100], abs=1e-3)


def test_equal_gaps_fare_equally_where_a_file_has_rounded_times() -> None:
    """0.9 s - 0.7 s is a little more than 0.2 s."""
    line: list[float | None] = [0.0 if n % 6 == 0 else None for n in range(121)]
    frames = [f._replace(time=round(f.time, 6)) for f in walk(line)]
    assert places(clean(frames, Cleaning(fill=0.2))) == [0.0] * 121
    assert places(clean(frames, Cleaning(fill=0.19))) == line


def test_a_joint_that_is_not_sure_is_a_gap() -> None:
    frames = walk([float(x) for x in range(20)])
    frames[9].poses.joints_xy[0, 4] = 500
    frames[9].poses.joint_scores[0, 4] = 0.1
    found = clean(frames, Cleaning(fill=0.2))[9].poses
    assert found.joints_xy[0, 4] == pytest.approx([9, 50], abs=1e-3)
    assert found.joint_scores[0, 4] == 1
    kept = clean(frames, Cleaning(median=3))[9].poses
    assert kept.joints_xy[0, 4].tolist() == [500, 500]


def test_median_takes_single_jumps_away() -> None:
    xs: list[float | None] = [10.0] * 20
    xs[0], xs[7], xs[19] = 90.0, 90.0, 10.0
    assert places(clean(walk(xs), Cleaning(median=5)))[1:] == [10] * 19
    assert places(clean(walk(xs[:2]), Cleaning(median=5))) is not None


def test_median_does_not_look_across_a_long_absence() -> None:
    there: list[float | None] = [30.0, 20.0, 10.0]
    frames = walk([*there, *[None] * 30, *[500.0] * 9])
    assert places(clean(frames, Cleaning(median=5)))[:3] == there


def test_cleaning_takes_no_more_for_many_people_one_after_the_other() -> None:
    """An hour has hundreds of ids; none is looked for in frames before and after the person."""
    frames = [LoadedFrame(n, n / RATE, one(float(n), n // 2)) for n in range(400)]
    tracemalloc.start()
    try:
        found = clean(frames, Cleaning(median=3))
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()
    assert places(found) == places(frames)
    assert [f.poses.ids.tolist() for f in found] == [f.poses.ids.tolist() for f in frames]


def test_a_median_leaves_what_moves_evenly_as_it_is() -> None:
    """At the ends as well, and where the window is longer than the recording."""
    for count in range(1, 9):
        xs: list[float | None] = [-3.0 * i for i in range(count)]
        assert places(clean(walk(xs), Cleaning(median=5))) == xs


def test_what_is_filled_in_is_as_sure_as_what_is_around_it() -> None:
    frames = walk([float(x) if x != 5 else None for x in range(10)])
    for frame in frames:
        frame.poses.joint_scores[:] = 0.4 if frame.frame < 5 else 0.8
    unsure = np.full(1, 0.1, np.float32)  # whose box counts all the same
    frames = [f._replace(poses=replace(f.poses, scores=unsure[: len(f.poses)])) for f in frames]
    found = clean(frames, Cleaning(fill=0.1))[5].poses
    assert found.joint_scores[0] == pytest.approx(np.full(17, 0.6))
    assert found.scores.tolist() == pytest.approx([0.1])
    assert found.boxes_xyxy[0] == pytest.approx([-15, 0, 25, 100], abs=1e-3)


def test_swaps_are_undone_and_people_without_ids_stay() -> None:
    frames = walk([100.0] * 30)
    for frame in frames:
        frame.poses.joints_xy[0, ::2, 0] += 40
    original = frames[20].poses.joints_xy.copy()
    swapped = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    frames[20].poses.joints_xy[:] = frames[20].poses.joints_xy[:, swapped]
    found = clean(frames, Cleaning(fix_swaps=True))
    assert np.array_equal(found[20].poses.joints_xy, original)
    strangers = [f._replace(poses=one(float(f.frame % 3), -1)) for f in frames]
    how = Cleaning(fix_swaps=True, median=5, fill=1, butterworth=3)
    assert places(clean(strangers, how)) == places(strangers)


@pytest.mark.parametrize("rate", [2.0, 100.0])
def test_a_stretch_ends_with_a_pause_for_this_frame_rate(rate: float) -> None:
    """Not between the frames of a time lapse, nor where a fast camera drops some."""
    frames = [f._replace(time=f.frame / rate) for f in walk([float(i % 2) for i in range(40)])]
    if rate == 100:
        frames = [f for f in frames if not 20 <= f.frame < 25]
    times = np.array([f.time for f in frames])
    wanted = low_pass(times, np.array(places(frames), float), rate / 10)
    assert places(clean(frames, Cleaning(butterworth=rate / 10))) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("count", [1, 3, SHORTEST - 1])
def test_a_stretch_too_short_for_the_filter_stays(count: int) -> None:
    xs: list[float | None] = [float(7 * i % 5) for i in range(count)]
    assert places(clean(walk([*xs, None]), Cleaning(butterworth=3))) == [*xs, None]


def test_a_stretch_too_slow_for_the_filter_stays_and_is_told() -> None:
    """A camera gives ten frames a second for a while, and somebody is there only then."""
    xs, times = [float(7 * n % 5) for n in range(100)], np.zeros(100)
    times[1:] = np.cumsum([0.1 if 40 <= n < 60 else 1 / RATE for n in range(99)])
    frames = [f._replace(time=float(t)) for f, t in zip(walk(list(xs)), times, strict=True)]
    for n in range(41, 59):
        frames[n] = frames[n]._replace(poses=frames[n].poses[[0, 0]].with_ids(np.array([1, 2])))
    notes = list[str]()
    found = clean(frames, Cleaning(butterworth=6), notes)
    assert [f.poses.joints_xy[1, 0, 0] for f in found[41:59]] == xs[41:59]
    assert np.std([f.poses.joints_xy[0, 0, 0] for f in found]) < 0.7 * np.std(xs)
    assert (
        len(notes) == 1 and "19 of 38 stretches" in notes[0] and "12 frames/s or less" in notes[0]
    )
    with pytest.raises(UsageError, match="--butterworth 13: expected less than half of 21"):
        clean(frames, Cleaning(butterworth=13))


def test_what_cannot_be_filtered_is_said() -> None:
    times = np.arange(20) / RATE
    with pytest.raises(UsageError, match="less than half of 30 frames"):
        low_pass(times, times, 15)
    with pytest.raises(InputError, match="no rising times"):
        clean([f._replace(time=float("nan")) for f in walk([1.0, 2.0])], Cleaning(median=3))
    with pytest.raises(InputError, match="no rising times"):
        clean([f._replace(time=1.0) for f in walk([1.0, 2.0])], Cleaning(median=3))


@pytest.mark.parametrize("format_", [f for f in FORMATS if f != "trc"])
def test_one_format_becomes_another(tmp_path: Path, format_: str) -> None:
    start = target(tmp_path, "npz")
    write(start, scene())
    to = target(tmp_path / "new", format_)
    to.path.parent.mkdir()
    assert main([str(start.path), "--out", f"{format_}:{to.path}"]) == 0
    found = {frame.frame: frame for frame in load(to.path)}
    for item in scene():
        if item.frame.index in found:
            same(found[item.frame.index], item, format_ in ("npz", "mat"))
    assert len(found) >= 3


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = target(tmp_path, "jsonl")
    rng = np.random.default_rng(0)
    shaky = [posed(i, i / RATE, one(100 + float(rng.normal(0, 5)))) for i in range(60)]
    write(start, shaky)
    out = tmp_path / "smooth.csv"
    options = ["--out", str(out), "--butterworth", "3", "--median", "3", "--angles", "--id", "1"]
    assert main([str(start.path), *options]) == 0
    assert np.std([x for x in places(load(out)) if x]) < 3
    assert out.read_text().splitlines()[0].endswith(",angle")
    assert capsys.readouterr().err == ""
    before = out.read_bytes()
    assert main([str(start.path), *options[:-1], "77", "--overwrite"]) == 3
    (told,) = capsys.readouterr().err.splitlines()
    assert f"{start.path}: id 77 was never seen; ids were 1; give another --id, or none" in told
    assert out.read_bytes() == before and sorted(tmp_path.iterdir()) == [start.path, out]
    twice = str(tmp_path / "twice.json")
    for words, code, says in (
        ([str(start.path), "--out", str(out)], 4, "use --overwrite"),
        ([str(start.path), "--out", str(start.path)], 2, "this is the input"),
        ([str(start.path), "--out", "a.xml"], 2, "--out a.xml: expected a name ending in"),
        ([str(start.path), "--out", "a.csv", "--median", "4"], 2, "odd"),
        ([str(start.path), "--out", "a.csv", "--fill", "-1"], 2, "0 or more"),
        ([str(start.path), "--out", "a.csv", "--least-score", "30"], 2, "expected 0 to 1"),
        ([str(start.path), "--out", "a.csv", "--least-score", "nan"], 2, "expected 0 to 1"),
        ([str(start.path), "--out", "a.csv", "--height", "1.8"], 2, "is for TRC"),
        ([str(start.path), "--out", "a.trc", "--height", "180"], 2, "expected metres"),
        ([str(tmp_path / "none.csv"), "--out", "a.csv"], 3, "No such file"),
        ([str(start.path)], 2, "--out"),
        ([str(start.path), "--out", twice, "--out", f"coco:{twice}"], 2, "two outputs have"),
    ):
        assert main(words) == code
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1 and says in err


def test_a_format_before_the_input(tmp_path: Path) -> None:
    start, out = Target("csv", tmp_path / "t.txt"), tmp_path / "o.jsonl"
    write(start, [posed(i, i / RATE, one(100.0)) for i in range(3)])
    assert main([f"CSV:{start.path}", "--out", str(out)]) == 0
    assert len(load(out)) == 3


def test_one_person_names_of_images_and_the_least_score(tmp_path: Path) -> None:
    start, out = target(tmp_path, "jsonl"), tmp_path / "out.jsonl"
    items = scene()
    write(start, [replace(i, frame=replace(i.frame, source="a.png")) for i in items], IMAGES)
    assert main([str(start.path), "--out", str(out), "--id", "3"]) == 0
    assert [f.poses.ids.tolist() for f in load(out)] == [[3], [], [], [3], []]
    assert {f.file for f in load(out)} == {"a.png"}
    trc = tmp_path / "out.trc"
    assert main([str(out), "--out", str(trc), "--least-score", "0.8"]) == 0
    sure = items[0].poses.joint_scores[0] >= 0.8
    assert load(trc)[0].poses.joint_scores[0].tolist() == sure.astype(float).tolist()


@pytest.mark.parametrize("format_", ["csv", "coco"])
def test_a_pause_without_frames_is_a_gap_for_the_filter(tmp_path: Path, format_: str) -> None:
    """CSV and COCO have no frames without people, a stalled camera gives none."""
    there = [n for n in range(200) if not 60 <= n < 135]
    swing = {n: 300 + 50 * float(np.sin(4 * np.pi * n / RATE)) for n in there}
    people = [one(swing[n]) if n in swing else Poses.empty() for n in range(200)]
    start = target(tmp_path, format_)
    write(start, [posed(n, n / RATE, poses) for n, poses in enumerate(people)])
    out = tmp_path / "out.jsonl"
    assert main([str(start.path), "--out", str(out), "--butterworth", "10"]) == 0
    for frame in load(out):
        assert places([frame])[0] == pytest.approx(swing[frame.frame], abs=1)


def test_slow_motion_gets_its_true_times(tmp_path: Path) -> None:
    """Before all else: the filter's cutoff is one of real movement."""
    to = target(tmp_path, "jsonl")
    write(to, [posed(f.frame, f.time, f.poses) for f in walk([float(x) for x in range(60)])])
    out = tmp_path / "o.jsonl"
    asked = [str(to.path), "--out", str(out), "--slow-motion", "8", "--butterworth", "100"]
    assert main(asked) == 0  # more than half of 30 frames a second, less than half of 240
    assert [f.time for f in load(out)] == pytest.approx([i / 240 for i in range(60)], abs=1e-5)
    assert main([*asked[:4], "0", "--overwrite"]) == 2


def test_joints_that_are_no_numbers_are_gaps(tmp_path: Path) -> None:
    """Also where a time is missing (null in JSON)."""
    frames = walk([float(x) for x in range(30)])
    frames[12].poses.joints_xy[0, 3] = np.nan
    (found,) = [f for f in clean(frames, Cleaning(fill=0.3, butterworth=6)) if f.frame == 12]
    assert found.poses.joints_xy[0, 3, 0] == pytest.approx(12, abs=0.2)
    path = tmp_path / "a.jsonl"
    path.write_text('{"frame":0,"time":null,"people":[]}\n', encoding="utf-8")
    assert np.isnan(load(path)[0].time) and main([str(path), "--out", str(tmp_path / "a.csv")]) == 0


@pytest.mark.parametrize("format_", ["jsonl", "csv", "npz"])
def test_a_file_without_frames_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    """Nothing would be written of it."""
    to, out = target(tmp_path, format_), tmp_path / "o.jsonl"
    without_frames(to)
    assert main([str(to.path), "--out", str(out)]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{to.path}: there is no frame in it" in line and not out.exists()


def test_what_cleaning_cannot_do_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames without people are not in CSV, and images have no ids."""
    line = [1.0, 2.0, None, None, 5.0, 6.0]
    out = ["--out", str(tmp_path / "o.jsonl"), "--overwrite", "--fill"]
    for format_, long, said in (("csv", "0.2", "2 frames"), ("csv", "0.05", ""), ("npz", "1", "")):
        to = target(tmp_path, format_)
        to.path.unlink(missing_ok=True)
        write(to, [posed(f.frame, f.time, f.poses) for f in walk(line)])
        assert main([str(to.path), *out, long]) == 0
        told = capsys.readouterr().err
        assert told.startswith(f"posestream: note: {said}") if said else not told
    to.path.unlink()
    write(to, [posed(n, float(n), one(1.0, -1)) for n in range(3)])
    assert main([str(to.path), *out, "1"]) == 0
    assert "nobody has an id" in capsys.readouterr().err


@pytest.mark.parametrize("format_", ["jsonl", "json", "csv", "csv-wide", "npz", "mat"])
@pytest.mark.parametrize("angles", [True, False])
def test_angles_that_are_left_out_are_told(
    format_: str, angles: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to, out = target(tmp_path, format_), ["--overwrite", "--out"]
    write(to, scene(), About("angles", angles=angles))
    assert main([str(to.path), *out, str(tmp_path / "o.csv")]) == 0
    assert ("--angles works them out" in capsys.readouterr().err) == angles
    assert main([str(to.path), *out, str(tmp_path / "o.csv"), "--angles"]) == 0
    assert main([str(to.path), *out, f"coco:{tmp_path / 'c.json'}"]) == 0
    assert "angles" not in capsys.readouterr().err


@pytest.mark.parametrize(("rate", "said"), [(30, False), (10, True)])
def test_swaps_that_stay_are_told(
    rate: int, said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = target(tmp_path, "jsonl")
    write(to, [posed(n, n / rate, one(1.0)) for n in range(9)])
    assert main([str(to.path), "--out", str(tmp_path / "o.csv"), "--fix-swaps"]) == 0
    assert ("few swaps are undone" in capsys.readouterr().err) == said


@pytest.mark.parametrize(("numbers", "said"), [((0, 2, 4, 6), ""), ((0, 2, 4, 10), "2 frames")])
def test_what_a_run_passed_over_is_not_missing(
    numbers: tuple[int, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --stride 2; frames that were dropped are missing there as well."""
    to = target(tmp_path, "jsonl")
    write(to, [posed(n, n / RATE, one(1.0)) for n in numbers])
    assert main([str(to.path), "--out", str(tmp_path / "o.csv"), "--fill", "1"]) == 0
    told = capsys.readouterr().err
    assert told.startswith(f"posestream: note: {said}") if said else not told

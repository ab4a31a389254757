"""--bench: what it measures, what it says, and which options go with it."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commandline import ROOT, finish, run, start

from realtime.bench import machine, measure
from realtime.bench.machine import Others
from realtime.bench.measure import reached
from realtime.bench.source import RATE, Clip, ClipSource, KnownDetector, Length, make_clip
from realtime.bench.table import table
from realtime.bench.words import Load, advice, found
from realtime.cli import parse
from realtime.errors import UsageError
from realtime.records import Frame

TINY = Path(__file__).parent / "data"
NETWORKS = ("--detector", TINY / "tiny_detector.onnx", "--pose", TINY / "tiny_pose.onnx")


def report_of(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def slowed(tmp_path_factory):
    """A plain benchmark of few frames, 0.1 s more in each call for poses: output and report."""
    path = tmp_path_factory.mktemp("bench") / "b.json"
    result = run(
        "--bench", "--end", "8", "--batch", "2", "--report", path, *NETWORKS,
        POSESTREAM_FAULT="pose:sleep:0.1@*",
    )  # fmt: skip
    assert result.code == 0, result.err
    return result.out, report_of(path)


def test_a_slowed_stage_is_the_named_bottleneck(slowed) -> None:
    """Also with nobody in the picture, where that stage has nothing to do."""
    out, report = slowed
    assert report["bottleneck"]["stage"] == "pose"
    assert "bottleneck with 10 people: pose, " in out
    assert "  try a lighter pose network" in out
    for row in report["people"]:
        pose = row["stages"]["pose"]
        assert row["bottleneck"] == "pose" and pose["share"] > 0.5, row
        assert pose["ms_per_frame"] >= 50 and row["ms_per_frame"] >= 45


def test_every_row_has_worked_on_everybody_in_every_frame(slowed) -> None:
    _, report = slowed
    assert [row["people"] for row in report["people"]] == [0, 1, 2, 4, 6, 10]
    for row in report["people"]:
        assert row["frames"] == 8
        assert row["people_in_view"] == pytest.approx(row["people"], abs=0.5)
        # two who stand behind each other may pass for one
        assert row["people_in_view"] - 1 <= row["poses"] <= row["people_in_view"]
        counts = {name: stage["frames"] for name, stage in row["stages"].items()}
        assert 3 <= counts.pop("detect") <= 8  # frames 0, 6, 7, and where they move or it is unsure
        assert set(counts.values()) == {8}
        assert row["fps"] == pytest.approx(1e3 / row["ms_per_frame"], rel=0.01)
        assert 0 < row["cores_used"] <= 1.1 and row["core_ms_per_frame"] > 0


def test_the_table_says_what_the_report_says(slowed) -> None:
    out, report = slowed
    lines = out.splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("people "))
    columns = lines[head].split()
    assert columns[:4] == ["people", "fps", "ms/frame", "core-ms"] and columns[-1] == "slowest"
    for row, line in zip(report["people"], lines[head + 1 :]):
        cells = dict(zip(columns, line.split(), strict=True))
        assert int(cells["people"]) == row["people"]
        assert float(cells["fps"]) == pytest.approx(row["fps"], abs=0.06)
        assert float(cells["core-ms"]) == pytest.approx(row["core_ms_per_frame"], abs=0.006)
        share = 100 * row["stages"]["pose"]["share"]
        assert float(cells["pose"].rstrip("%")) == pytest.approx(share, abs=0.51)
    assert f"each person: {report['cost']['ms_per_person']:.2f} ms a frame" in out
    assert max(map(len, lines)) <= 120


def test_each_network_is_timed_alone(slowed) -> None:
    out, report = slowed
    assert [row["task"] for row in report["networks"]] == ["detector", "pose"]
    for row in report["networks"]:
        one, eight = row["ms_per_call"]["1"], row["ms_per_call"]["8"]
        assert one > 0 and row["ms_per_picture"]["8"] == pytest.approx(eight / 8, abs=1e-3)
        assert f"{row['task']} {row['name']}" in out
    assert report["models"]["pose"]["file"] == "tiny_pose.onnx"
    assert len(report["models"]["pose"]["sha256"]) == 64


def test_a_run_is_compared_with_the_pose_network_alone(slowed) -> None:
    out, report = slowed
    row, told = report["people"][-1], report["reached"]
    crops = sum(row["crops"].values())
    assert row["poses"] <= crops == pytest.approx(row["people_in_view"], abs=0.5)
    assert told["crops_per_s"] == pytest.approx(row["fps"] * crops, rel=0.01)
    assert told["share"] == pytest.approx(told["crops_per_s"] / told["alone"], abs=1e-3)
    assert f"of the {told['alone']:.0f} that the pose network makes alone" in out


def test_what_a_network_makes_of_both_kinds_of_crops() -> None:
    """One whole crop of 10 ms and two narrow ones of 5 ms: 20 ms a frame."""
    row = {"fps": 40, "crops": {"whole": 1.0, "narrow": 2.0}}
    told = reached({"whole": 100.0, "narrow": 200.0}, row)
    assert told == {"crops_per_s": 120.0, "alone": 150.0, "share": 0.8}
    nobody = {"fps": 40, "crops": {"whole": 0.0, "narrow": 0.0}}
    assert reached({"whole": 100.0}, nobody) == {"crops_per_s": 0.0, "alone": 0.0, "share": 0.0}


def test_networks_that_cut_people_out_themselves_are_warm_as_well() -> None:
    """Of each number of people, by the method of the run: a GPU prepares for each."""
    asked, batches = [], []

    class Network:
        spec = SimpleNamespace(input_wh=(4, 6))

        def __call__(self, batch: np.ndarray) -> None:
            batches.append(len(batch))

    measure.warm_up(Network(), 2, "dark")  # type: ignore[arg-type]
    network = Network()
    network.locate = lambda *given: asked.append(given)  # type: ignore[attr-defined]
    measure.warm_up(network, 2, "dark")  # type: ignore[arg-type]
    assert batches == [1, 2, 1, 2]
    for size, (pictures, to_crop, picture_of, method) in enumerate(asked, 1):
        assert [picture.shape for picture in pictures] == [(6, 4, 3)] and method == "dark"
        assert to_crop.shape == (size, 2, 3) and picture_of.tolist() == [0] * size


def test_cost_is_the_line_through_the_rows(slowed) -> None:
    _, report = slowed
    rows, cost = report["people"], report["cost"]
    people = np.array([row["people_in_view"] for row in rows])
    for name in ("ms", "core_ms"):
        costs = np.array([row[f"{name}_per_frame"] for row in rows])
        slope = np.cov(people, costs, bias=True)[0, 1] / np.var(people)
        assert cost[f"{name}_per_person"] == pytest.approx(slope, abs=0.01)
        nobody = costs.mean() - slope * people.mean()
        assert cost[f"{name}_nobody"] == pytest.approx(nobody, abs=0.02)


def test_streams_that_cannot_be_carried_are_told_so(tmp_path: Path) -> None:
    """Decoding takes 0.1 s of each frame, at 30 fps no more than 0.033 s would do."""
    path = tmp_path / "s.json"
    result = run(
        "--bench", "--streams", "2", "--end", "30", "--report", path, *NETWORKS,
        POSESTREAM_FAULT="decode:sleep:0.1@*",
    )  # fmt: skip
    assert result.code == 0, result.err
    told = report_of(path)["streams"]
    assert told["count"] == len(told["rows"]) == 2 and told["carried"] is False
    for row in told["rows"]:
        assert row["frames_captured"] == 30 == row["frames_finished"] + row["dropped"]
        assert row["fps"] < 15 and row["dropped"] >= 15
        assert row["latency_p95_ms"] >= row["latency_p50_ms"] >= 100
        assert row["poses"] == 1.0
    assert told["limit"]["stage"] == "decode" and "carried: no, " in result.out
    assert told["core_ms_per_frame"] > 0 and told["memory_mb"] >= told["memory_before_mb"] > 0
    rows = [line.split() for line in result.out.splitlines() if line[:2] in ("1 ", "2 ")]
    assert [int(cells[3]) for cells in rows] == [row["dropped"] for row in told["rows"]]


def test_a_failing_stage_ends_a_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    result = run(
        "--bench", "--streams", "2", "--end", "30", "--report", path, *NETWORKS,
        POSESTREAM_FAULT="track:raise@*",
    )  # fmt: skip
    assert result.code == 7 and result.out == "" and not path.exists()
    assert len(result.errors) == 1 and "stage 'track' failed on frame" in result.errors[0]


def test_what_there_is_to_say_of_the_networks_is_said_once(monkeypatch) -> None:
    """They are loaded twice: as several runs share them, and as one run on a file has them."""
    quiet = []
    network = SimpleNamespace(spec=None, engine="", precision="", device="", why="")

    def load(settings, *_):
        quiet.append(settings.quiet)
        return SimpleNamespace(network=network), network

    monkeypatch.setattr(measure, "load_networks", load)
    measure.Bench(parse(["--bench"]), measure.Telling(False))
    assert quiet == [False, True]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_a_benchmark() -> None:
    process = start("--bench", "--streams", "1", "--end", "60s", *NETWORKS)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    assert finish(process, within=20).code == 130


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("--input demo", "--input"),
        ("--device 0", "--device"),
        ("--output a.mp4", "--output"),
        ("--json a.jsonl", "--json"),
        ("--data a.csv", "--data"),
        ("--show", "--show"),
        ("--serve", "--serve"),
        ("--status-file a", "--status-file"),
        ("--start 5", "--start"),
        ("--stride 2", "--stride"),
        ("--live", "--live"),
        ("--crf 0", "--crf"),
        ("--max-reconnects 0", "--max-reconnects"),
        ("--min-score 0", "--min-score"),
        ("--list-cameras", "--list-cameras"),
        ("--streams 0", "--streams 0"),
        ("--streams 257", "--streams 257"),
        ("--end 0", "--end 0"),
    ],
)
def test_options_that_mean_nothing_with_bench(options: str, word: str) -> None:
    with pytest.raises(UsageError, match=word) as caught:
        parse(["--bench", *options.split()])
    assert "\n" not in str(caught.value)


def test_streams_alone_is_refused() -> None:
    with pytest.raises(UsageError, match="--streams goes with --bench"):
        parse(["--streams", "2"])


def test_options_that_choose_the_work_go_with_bench() -> None:
    line = "--bench --streams 3 --end 4s --detect-every 5 --engine openvino --precision f32"
    settings = parse([*line.split(), "--compute", "cpu", "--headless", "--overlay", "boxes"])
    assert settings.bench and settings.streams == 3 and settings.span.end == 4.0


def test_a_wrong_combination_is_one_line_and_exit_2() -> None:
    result = run("--bench", "--output", "x.mp4")
    assert result.code == 2 and len(result.errors) == 1 and "--output" in result.errors[0]
    assert not Path("x.mp4").exists()


def test_an_existing_report_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    there = tmp_path / "r.json"
    there.write_text("precious")
    result = run("--bench", "--report", there, "--pose", tmp_path / "no.onnx")
    assert result.code == 4 and "--overwrite" in result.errors[0]
    result = run("--bench", "--report", there, "--pose", there, "--overwrite")
    assert result.code == 2 and "this is the input" in result.errors[0]
    assert there.read_text() == "precious"


def load(cores_used: float = 0.5, **shares: float) -> Load:
    threads = {"crop": "pose", "decode": "pose", "track": "render"}
    stages = {n: {"thread": threads.get(n, n), "share": share} for n, share in shares.items()}
    return Load(stages, cores_used, 4)


def test_the_bottleneck_in_words() -> None:
    assert found("detect", load(detect=0.97, pose=0.3)) == (
        "detect, 97 % of the time; the 4 cores are 50 % busy"
    )
    assert found("pose", load(crop=0.15, pose=0.7, decode=0.1, detect=0.2)) == (
        "pose, 70 % of the time, its thread works 95 %; the 4 cores are 50 % busy"
    )
    assert "less work in any stage helps" in found("pose", load(0.97, pose=0.9))
    assert found("source", load(pose=0.2)) == (
        "none, the stages wait for frames; the 4 cores are 50 % busy"
    )
    assert "moments when something else is busy" in found("source", load(pose=0.2), dropped=True)
    assert found("none", load()) == "none, nothing was measured"


def test_advice_leaves_out_what_is_done_already() -> None:
    plain = parse(["--bench"])
    first = {stage: advice(stage, plain, {"pose": "bf16"}) for stage in ("detect", "pose")}
    assert first["detect"][0].startswith("--detect-every 5")
    assert any("int8" in line for line in first["pose"])
    tuned = parse(["--bench", "--detect-every", "5", "--compute", "cuda", "--decode", "argmax"])
    assert len(advice("detect", tuned, {})) == 1
    assert len(advice("pose", tuned, {"pose": "int8"})) == 1
    assert advice("decode", tuned, {}) == [] != advice("decode", plain, {})
    assert advice("source", plain, {}) == []


def clip_of(count: int) -> Clip:
    pictures = tuple(np.full((720, 1280, 3), n, np.uint8) for n in range(count))
    boxes = tuple(np.full((n, 4), (0, 0, 9, 9), np.float32) for n in range(count))
    return Clip(pictures, boxes)


def test_a_clip_goes_forth_and_back() -> None:
    assert [clip_of(4).at(n) for n in range(9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert [clip_of(1).at(n) for n in range(3)] == [0, 0, 0]
    assert clip_of(4).people == 1.5


def test_the_demo_scene_has_as_many_people_as_asked_for() -> None:
    clip = make_clip(0, 2, pictures=2)
    assert clip.people == 2 and clip.pictures[0].shape == (720, 1280, 3)


def test_more_people_than_a_scene_holds_are_in_two() -> None:
    clip = make_clip(3, 9, pictures=2)
    assert clip.people == pytest.approx(9, abs=0.5) and clip.pictures[1].shape == (720, 1280, 3)
    middle = clip.boxes_xyxy[1][:, ::2].mean(1)
    assert (middle < 640).sum() >= 3 and (middle > 640).sum() >= 4


class Clock:
    """Seconds that pass by a step at each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 100.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_at_full_speed_a_source_lasts_its_time_and_its_frames() -> None:
    def count(length: Length) -> int:
        return len(list(ClipSource(clip_of(3), length, clock=Clock(0.1)).frames()))

    assert count(Length(frames=7)) == 7
    assert count(Length(seconds=0.05, frames=12)) == 12
    assert 3 <= count(Length(seconds=2.0, frames=1)) <= 20
    assert 3 <= count(Length(frames=1000, most=2.0)) <= 20
    assert count(Length()) == 1


def test_a_live_source_gives_frames_at_their_moments() -> None:
    source = ClipSource(clip_of(3), Length(frames=6), live=True, phase=0.5)
    began = time.perf_counter()
    frames = list(source.frames())
    assert [frame.time for frame in frames] == pytest.approx([(n + 0.5) / RATE for n in range(6)])
    assert time.perf_counter() - began >= 5.5 / RATE
    assert np.diff([frame.grabbed for frame in frames]) == pytest.approx([1 / RATE] * 5)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 1, 2, 1, 0, 1]


def test_a_closed_source_ends() -> None:
    source = ClipSource(clip_of(2), Length(seconds=60), live=True)
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    assert list(frames) == [] and source.status.state == "ended"


def test_the_detector_works_and_then_knows_who_is_there() -> None:
    from engines.load import load as load_network

    network = load_network(TINY / "tiny_detector.onnx", "detector")
    calls = []

    class Counting:
        spec = network.spec

        def __call__(self, batch):
            calls.append(len(batch))
            return network(batch)

    clip = clip_of(3)
    detector = KnownDetector(Counting(), 0.4, clip)
    frames = [Frame(n, 0.0, clip.pictures[0]) for n in (0, 2, 3)]
    assert [len(found) for found in detector(frames)] == [0, 2, 1] and calls == [3]


def test_tables_line_up() -> None:
    assert table(["a", "long"], [["xyz", 1], ["x", 12345]]) == [
        "a     long",
        "xyz      1",
        "x    12345",
    ]


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="POSIX")
def test_what_others_use_of_our_cores(tmp_path: Path, monkeypatch) -> None:
    """Two cores of ours; within 10 s they work 12 s, 5 of them for us. Cores that are not ours
    do not count, nor does idling."""
    now = {"perf_counter": 100.0, "process_time": 3.0}
    for name in now:
        monkeypatch.setattr(machine, name, lambda name=name: now[name])
    monkeypatch.setattr(machine, "_own", lambda: {0, 2})
    monkeypatch.setattr(machine, "STAT", tmp_path / "stat")
    hertz = os.sysconf("SC_CLK_TCK")

    def write(first: float, second: float) -> None:
        lines = [f"cpu{n} {round(busy * hertz)} 0 0 99999 0 0 0 0 0 0" for n, busy in
                 ((0, first), (1, 7 * first), (2, second))]  # fmt: skip
        (tmp_path / "stat").write_text("\n".join(["cpu  1 2 3", *lines, "intr 5"]))

    write(20, 30)
    others = Others()
    write(24, 38)
    now.update(perf_counter=110.0, process_time=8.0)
    assert others.share() == pytest.approx((12 - 5) / (10 * 2))


def test_where_the_system_does_not_tell_nobody_knows_of_others(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(machine, "STAT", tmp_path / "none")
    assert Others().share() is None and machine.cores() >= 1 and machine.processor()


def benchmark(name: str):
    """benchmarks/NAME.py as a module."""
    path = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    module = sys.modules[f"benchmark_{name}"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_plan_follows_the_formulas_of_the_page() -> None:
    """c = F (s + p (n - 1) + r) / 1000; k = floor(u C / c)."""
    module = benchmark("capacity")
    camera = module.Camera(15.0, 5.0, 4.0, people=2, fps=15, mbit=4, memory_mb=20, pose_bytes=475)
    assert camera.cores == pytest.approx(0.36)
    plan = module.plan(camera, cores=8, load=0.7, cameras=1000)
    assert (plan.on_one, plan.machines, plan.memory_mb) == (15, 67, 300)
    assert plan.network_gbit == pytest.approx(4.0) and plan.video_tb == pytest.approx(43.2)
    assert plan.poses_tb == pytest.approx(1.2312)
    with pytest.raises(ValueError, match="one camera takes 0.36 cores"):
        module.plan(camera, cores=1, load=0.3, cameras=10)


def test_a_plan_is_made_from_a_report(slowed, tmp_path: Path) -> None:
    _, report = slowed
    report = {**report, "cost": {"core_ms_nobody": 1.0, "core_ms_per_person": 5.0}}
    report["machine"] = {"cores": 8}
    path, live = tmp_path / "b.json", tmp_path / "live.json"
    path.write_text(json.dumps(report))
    live.write_text(json.dumps({"streams": {"core_ms_per_frame": 15.0}}))

    def planned(*arguments):
        command = [sys.executable, ROOT / "benchmarks" / "capacity.py", *arguments, "--read", "4"]
        return subprocess.run(command, capture_output=True, text=True)

    out = planned(path, live).stdout
    assert "| 1,000 | 15 | 67 | - |" in out and "| 100,000 | 15 | 6,667 | - |" in out
    assert "| 1,000 | 15 | 67 | 300 |" in planned(path, live, "--memory", "20").stdout
    assert "give the report of --bench, then" in planned(live, path).stderr


def test_the_second_table_of_a_gpu_is_of_the_given_pose_network(monkeypatch) -> None:
    pytest.importorskip("torch")
    module = benchmark("gpu")

    def opened(settings, _):
        raise LookupError(settings.pose)

    monkeypatch.setattr(module, "load_networks", opened)
    path = TINY / "tiny_pose.onnx"
    with pytest.raises(LookupError) as caught:
        module._whole(SimpleNamespace(compute="cpu", pose=path, seconds=0.1))
    assert Path(caught.value.args[0]) == path

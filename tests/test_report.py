"""The page for reading a run afterwards: real files in, one HTML file out."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import chromium, find_chromium
from commandline import demo
from hypothesis import example, given
from hypothesis import strategies as st

from realtime.clean import main as clean_main
from realtime.errors import InputError
from realtime.formats.rows import LoadedFrame
from realtime.records import Poses
from realtime.report import charts, runfile
from realtime.report.__main__ import main
from realtime.report.recording import hip_centres, recorded, stretches

EVIL = "<script>alert(1)</script>\"'&"


def person(number: int, x: float = 100.0, score: float = 0.9) -> dict[str, Any]:
    rng = np.random.default_rng(number + 2)
    points = np.round(np.column_stack([x + 40 * rng.random((17, 2)), np.full(17, score)]), 3)
    box = [x, 50.0, x + 60, 250.0]
    return {"id": number, "score": score, "box": box, "keypoints": points.tolist()}


def lines_file(path: Path, people: list[list[dict[str, Any]]], rate: float = 30) -> Path:
    """A JSON Lines file with these people frame by frame."""
    records = (
        {"frame": n, "time": round(n / rate, 6), "people": there} for n, there in enumerate(people)
    )
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def report_file(path: Path, **more: Any) -> Path:
    stages = {"pose": {"frames": 9, "ms_per_frame": 12.34, "share": 0.5}}
    said = {"stages": stages, "frames_captured": 9, "source": "walk.mp4", "fps": 25.0}
    path.write_text(json.dumps({**said, **more}), encoding="utf-8")
    return path


class Reader(HTMLParser):
    """The text of a page, its tags, and everything it would fetch; every tag must be closed."""

    VOID = ("meta", "link", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.fetched += [v or "" for name in ("src", "href") if (v := values.get(name))]
        assert not any(name.startswith("on") for name in values)
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data


def made(data: Path, *arguments: object) -> Reader:
    assert main([str(data), "--overwrite", *map(str, arguments)]) == 0
    page = Reader(written(data))
    assert set(page.fetched) <= {"data:,"} and "script" not in page.tags
    return page


def written(data: Path) -> str:
    return data.with_suffix(".html").read_text(encoding="utf-8")


def failed(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main([str(argument) for argument in arguments])
    line = capsys.readouterr().err
    assert line.startswith("posestream: error: ") and line.count("\n") == 1
    return code, line


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a real run, with its report beside it."""
    folder = tmp_path_factory.mktemp("run")
    data = [folder / f"run.{suffix}" for suffix in ("jsonl", "csv", "npz")]
    result = demo(
        "--end", 90, *(word for path in data for word in ("--data", path)),
        "--report", folder / "run.report.json",
    )  # fmt: skip
    assert result.code == 0, result.err
    return data[0]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".npz"])
def test_a_real_run_in_any_format(run: Path, suffix: str) -> None:
    page = made(run.with_suffix(suffix))
    for title in (
        "demo", "What is unsure", "Ids: who is there when", "Trajectories", "Elbow", "Sure joints",
        "Score of the person", "Joints", "Stages", "run.report.json", "1280 x 720 pixels",
    ):  # fmt: skip
        assert title in page.text, title
    if suffix == ".jsonl":
        assert "frames90" in page.text and "frames a second in the file30" in page.text


def test_the_report_is_found_given_or_missing(tmp_path: Path) -> None:
    data = lines_file(tmp_path / "a.jsonl", [[person(1)]] * 9)
    assert "--run-report" in made(data).text
    other = report_file(tmp_path / "report.json", sinks={"json": {"frames": 8}})
    assert "--run-report" in made(data).text  # of a run with another number of frames
    assert "walk.mp4" in made(data, "--run-report", other).text
    report_file(tmp_path / "report.json", sinks={"json": {"frames": 9}})
    assert "walk.mp4" in made(data).text
    (tmp_path / "a.report.json").write_text("[]")
    assert "walk.mp4" in made(data).text  # not a report, so the next name counts


def test_drops_latency_and_remarks_are_told(tmp_path: Path) -> None:
    data = lines_file(tmp_path / "a.jsonl", [[person(1)]] * 9)
    report = report_file(
        tmp_path / "r.json", latency_ms={"p50": 31.0, "p95": 47.6}, bottleneck="pose",
        dropped={"grab.stale": 7}, failed_people=2, damage="cut off",
        notes=["cut off", "rtsp://u:p@h", "x.png shows frame 3", "y.png shows frame 4 late"],
        sinks={"record": {"frames": 4, "dropped": {"record.full": 5}, "error": "disk full"},
               "screenshot": {"frames": 9, "notes": ["x.png shows frame 3"]}},
    )  # fmt: skip
    text = made(data, "--run-report", report).text
    for words in (
        "48 ms", "12.3 ms", "slowest", "dropped 7 of 9 frames", "2 poses are left out",
        "record.full 5, disk full", "://***@h", "y.png shows frame 4 late",
    ):  # fmt: skip
        assert words in text, words
    assert text.count("cut off") == 1 and "u:p" not in text and "x.png" not in text


def test_names_from_files_stay_text(tmp_path: Path) -> None:
    data = lines_file(tmp_path / "<b>x&y.jsonl", [[person(1)]] * 9)
    stages = {EVIL: {"frames": 1, "ms_per_frame": 1}}
    report = report_file(
        tmp_path / "<i>.json", source=EVIL, notes=[EVIL], stages=stages, bottleneck=EVIL,
        models={EVIL: {"name": EVIL}}, dropped={EVIL: 1}, latency_ms={EVIL: 3}, start_utc=EVIL,
        sinks={EVIL: {"frames": 1, "error": EVIL, "dropped": {EVIL: 2}}},
    )  # fmt: skip
    page = made(data, "--run-report", report)
    assert page.text.count(EVIL) >= 10 and "<b>x&y.jsonl" in page.text
    assert not {"b>x", "alert"} & set(page.tags)


@pytest.mark.parametrize(
    ("people", "said"), [([], "no frames in this file"), ([[], []], "Nobody was found")]
)
def test_nothing_to_show_is_said(tmp_path: Path, people: list[Any], said: str) -> None:
    page = made(lines_file(tmp_path / "a.jsonl", people))
    assert said in page.text and "Trajectories" not in page.text
    assert "people (ids)0" in page.text


def test_one_frame_stays_in_its_place(tmp_path: Path) -> None:
    """A single frame has no length: its bar ends where the axis ends, and nothing has gaps."""
    text = made(data := lines_file(tmp_path / "a.jsonl", [[person(1)]])).text
    assert "count as unsure" not in text
    bar = re.search(r'<rect class="bar[^>]* x="([\d.]+)"[^>]* width="([\d.]+)"', written(data))
    assert bar and float(bar[1]) + float(bar[2]) <= 1000
    slightly = [[person(1)]] * 99 + [[person(1, score=0.2)]]
    for frame in slightly[:-1]:
        frame[0]["keypoints"][0][2] = 0.9
    slightly[-1][0]["keypoints"][3:] = slightly[0][0]["keypoints"][3:]
    assert "Less than 1 % of all joints" in made(lines_file(tmp_path / "b.jsonl", slightly)).text


def test_odd_recordings_have_a_page(tmp_path: Path) -> None:
    far = person(4, 100)
    far["keypoints"][3] = [1e30, 5, 0.5]
    for number, people in enumerate(
        [
            [[person(1)]],  # one frame
            [[person(-1), person(-1, 300)], [person(-1)]],  # independent images
            [[person(1), person(1, 300)], [person(1)]],  # one id twice
            [[person(n) for n in range(60)], [person(2, score=0.0)]],  # a crowd
            [[far], [far]],
            [[person(1, 5.0, 0.0)]] * 3,  # never sure
        ]
    ):
        page = made(lines_file(tmp_path / f"{number}.jsonl", people))
        assert "nan" not in page.text.lower() and "What is unsure" in page.text
    assert "30 more ids" in Reader((tmp_path / "3.html").read_text()).text
    assert "without an id" in Reader((tmp_path / "1.html").read_text()).text
    assert "not finite" in Reader((tmp_path / "4.html").read_text()).text


def test_what_is_unsure_is_said(tmp_path: Path) -> None:
    people = [[person(1, score=0.2 if n % 4 else 0.8)] for n in range(40)]
    people += [[person(n)] for n in range(2, 5)]
    data = lines_file(tmp_path / "a.jsonl", people)
    kept = data.read_text().splitlines()
    data.write_text("\n".join(kept[:10] + kept[25:]) + "\n")
    text = made(data).text
    assert "15 frames are between" in text and "0.53 s, after 0.3 s" in text
    assert "4 ids for at most 1 people" in text and "4 ids are seen for less than 1 s" in text
    assert "68 % of all joints" in text  # of 28 frames 19 are unsure


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = lines_file(tmp_path / "a.jsonl", [[person(1)]])
    assert failed(capsys, tmp_path / "none.jsonl")[0] == 3
    assert failed(capsys, tmp_path / "a.txt")[0] == 3
    for number, content in enumerate([b"{}\n", b"\0\xff" * 99 + b"\n", b"[1]\n", b"nonsense\n"]):
        broken = tmp_path / f"broken{number}.jsonl"
        broken.write_bytes(content)
        assert failed(capsys, broken)[0] == 3
        assert not broken.with_suffix(".html").exists()
    for value in ('"x"', "null", "1e300", "[]", "1e999"):
        broken = tmp_path / "number.jsonl"
        broken.write_text(f'{{"frame": {value}, "time": 0, "people": []}}\n')
        code, line = failed(capsys, broken)
        assert code == 3 and "number.jsonl" in line
    assert failed(capsys, data, "--least-score", "2")[0] == 2
    assert failed(capsys, data, "--nonsense")[0] == 2
    assert failed(capsys, data, "--out", data, "--overwrite")[0] == 2
    assert failed(capsys, data, "--out", tmp_path / "no" / "a.html")[0] == 4
    code, line = failed(capsys, data, "--out", tmp_path / "p.pdf")
    assert code == 2 and "p.pdf: expected a name ending in .html" in line
    assert not (tmp_path / "p.pdf").exists()
    assert made(data)
    assert failed(capsys, data)[0] == 4  # there is a page already
    for content in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000):
        broken = tmp_path / "r.json"
        broken.write_bytes(content)
        assert failed(capsys, data, "--overwrite", "--run-report", broken)[0] == 3
    assert failed(capsys, data, "--overwrite", "--run-report", tmp_path / "no.json")[0] == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
KEYS = (
    "stages", "frames_captured", "latency_ms", "sinks", "models", "dropped", "notes", "size_wh",
    "fps", "source", "damage", "ledger_errors", "failed",
)  # fmt: skip


@given(st.fixed_dictionaries(dict.fromkeys(KEYS, JSON)))
@example(dict.fromkeys(KEYS, 10**400))
def test_any_report_can_be_read(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value))
    found = runfile.read(path)
    assert found.captured >= 0 and all(math.isfinite(ms) for ms in found.latency_ms.values())


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(4, 60))
def test_a_thinned_curve_keeps_its_extremes(values: list[float], points: int) -> None:
    y = np.array(values)
    kept = charts.thinned(np.arange(len(y), dtype=np.float64), y, points)
    assert len(kept) <= points and (np.diff(kept) > 0).all()
    assert y[kept].min() == y.min() and y[kept].max() == y.max()


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.booleans())
def test_ticks_lie_on_their_axis(low: float, length: float, timed: bool) -> None:
    axis = charts.time_axis(low, low + length, timed)
    assert 1 <= len(axis.ticks) <= 11 or axis.high - axis.low < 1.5
    assert all(-0.1 <= axis.share(value) <= 100.1 for value, _ in axis.ticks)


def test_gaps_are_not_bridged() -> None:
    x = np.array([0, 0.1, 0.2, 1.0, 1.1, 5.0])
    assert stretches(x, 0.3) == [(0.0, 0.2), (1.0, 1.1), (5.0, 5.0)]
    y = np.array([1, np.nan, 2, 3, 4, 5])
    figure = charts.plot(
        "t",
        charts.time_axis(0, 5, True),
        charts.value_axis(5),
        [charts.Curve("c", "p0", x, y)],
        0.15,
    )
    drawn = re.search(r'class="line p0" d="([^"]*)"', figure)
    assert drawn and re.sub(r"[\d. ]", "", drawn[1]) == "MhMhMLMh"


def test_hips_count_when_they_are_sure() -> None:
    joints, scores = np.zeros((3, 17, 2), np.float32), np.zeros((3, 17), np.float32)
    joints[:, 11], joints[:, 12] = (10, 20), (30, 40)
    scores[0, 11:13], scores[1, 12] = 0.9, 0.9
    box, one = np.zeros((3, 4), np.float32), np.ones(3, np.float32)
    centres = hip_centres(Poses(joints, scores, box, one, np.arange(3)), 0.3)
    np.testing.assert_array_equal(centres, [[20, 30], [30, 40], [np.nan, np.nan]])


def test_times_that_do_not_rise_are_replaced_by_frame_numbers() -> None:
    def of(frames: list[Any], times: list[Any]) -> Any:
        return recorded([LoadedFrame(f, t, Poses.empty()) for f, t in zip(frames, times)])

    assert of([3, 4], [0.5, 1.0]).x.tolist() == [0.5, 1.0]
    nan = float("nan")
    assert of([3, 5], [nan, nan]).x.tolist() == [3, 5] and not of([3, 5], [nan, nan]).timed
    assert of([3, 3], [1.0, 0.0]).x.tolist() == [0, 1]
    with pytest.raises(InputError, match="not a number"):
        of(["a"], [0.0])


def test_a_long_run_makes_a_small_page(tmp_path: Path) -> None:
    """20 minutes of one jittering person and a flickering one: curves are thinned."""
    rng, count = np.random.default_rng(0), 36_000
    base = np.array(person(1)["keypoints"], np.float32)
    loaded = []
    for n in range(count):
        there = 1 + int(n % 3 > 0)
        joints = base[None, :, :2] + rng.normal(0, 3, (there, 17, 2)).astype(np.float32)
        scores = rng.random((there, 17), np.float32)
        box = np.tile(np.array([0, 0, 99, 99], np.float32), (there, 1))
        poses = Poses(joints, scores, box, np.ones(there, np.float32), np.arange(there))
        loaded.append(LoadedFrame(n, n / 30, poses))
    from realtime.report.page import page

    text = page(recorded(loaded), None, tmp_path / "a.jsonl", 0.3)
    assert len(text) < 1_500_000 and "20:00" in text
    longest = max(re.findall(r' d="([^"]*)"', text), key=len)
    assert len(re.findall("[ML]", longest)) <= charts.POINTS + 2


@pytest.mark.skipif(not find_chromium(), reason="no Chromium is installed")
def test_in_a_real_browser(run: Path, tmp_path: Path) -> None:
    """Nothing is fetched, no error, nothing wider than the screen; dark and light differ."""
    evil = report_file(tmp_path / "evil.json", source=EVIL)
    page = tmp_path / "page.html"
    assert main([str(run), "--out", str(page), "--run-report", str(evil)]) == 0
    with chromium(tmp_path / "profile") as browser:
        tab = browser.tab()
        for width, phone in ((1200, False), (360, True)):
            tab.size(width, 800, phone=phone)
            tab.open(page.as_uri())
            assert tab.value("document.documentElement.scrollWidth") <= width
            assert tab.value("document.querySelectorAll('svg').length") > 10
            assert tab.value("performance.getEntriesByType('resource').length") == 0
            assert tab.value("document.querySelector('h1').textContent") == EVIL
            wide = "[...document.querySelectorAll('.plot svg')].map(s => s.clientWidth)"
            assert tab.value(f"Math.min(...{wide})") > 200
        backs = []
        for dark in (False, True):
            tab.dark(dark)
            backs.append(tab.value("getComputedStyle(document.body).backgroundColor"))
        assert backs[0] != backs[1]
        assert not tab.errors


def test_a_folder_named_by_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_file(tmp_path / "a.jsonl", [[person(1)], [person(1)]])
    folder = tmp_path / "poses"
    assert clean_main([str(lines), "--out", f"openpose:{folder}"]) == 0
    monkeypatch.chdir(folder)
    assert main(["."]) == 0 and (tmp_path / "poses.html").exists()
    assert main(["/"]) == 2


def test_a_file_is_named_as_data_names_it(tmp_path: Path) -> None:
    lines = lines_file(tmp_path / "a.jsonl", [[person(1)], [person(1)]])
    coco = f"coco:{tmp_path / 'b.json'}"
    assert clean_main([str(lines), "--out", coco]) == 0
    assert main([coco]) == 0 and (tmp_path / "b.html").exists()
    assert clean_main([coco, "--out", str(tmp_path / "c.csv")]) == 0

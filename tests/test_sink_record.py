"""The recorder: times, quality, colours, sound, kills, full disks."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from realtime.errors import OutputError, UsageError
from realtime.records import Frame, Image, PosedFrame, Poses
from realtime.sinks import encode, outfile
from realtime.sinks.mp4 import FRAGMENT, Mp4, mp4_tick
from realtime.sinks.outfile import OutputFile
from realtime.sinks.record import Recorder
from realtime.sinks.yuv import to_yuv420


def posed(index: int, seconds: float, picture: Image) -> PosedFrame:
    return PosedFrame(Frame(index, seconds, picture), Poses.empty(), 0, picture)


def noise(index: int, wh: tuple[int, int] = (96, 64)) -> Image:
    """A picture that tells its number and does not compress to nothing."""
    picture = np.random.default_rng(index).integers(0, 255, (wh[1], wh[0], 3), np.uint8)
    picture[:16, :16] = index % 256
    return picture


def record(path: Path, times: Iterable[float], **options: object) -> Recorder:
    settings = {"rate": 30.0, "time_base": Fraction(1, 90000), **options}
    recorder = Recorder(path, **settings)  # type: ignore[arg-type]
    for index, seconds in enumerate(times):
        recorder.write(posed(index, seconds, noise(index)))
    recorder.close()
    return recorder


def video(path: Path) -> tuple[list[Fraction], list[av.VideoFrame]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [frame.pts * frame.time_base for frame in frames], frames


def boxes(path: Path) -> list[str]:
    """Names of the top-level boxes of an mp4 (ISO/IEC 14496-12, section 4.2)."""
    data, at, names = path.read_bytes(), 0, []
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        assert size >= 8
        names.append(name.decode())
        at += size
    assert at == len(data)
    return names


def psnr(a: Image, b: Image) -> float:
    error = max(1e-9, np.square(a.astype(float) - b).mean())
    return float(10 * np.log10(255**2 / error))


TIME_BASES = [
    Fraction(1, 15360),
    Fraction(1, 90000),
    Fraction(1, 1000),
    Fraction(1, 30),
    Fraction(1001, 30000),
    Fraction(1, 19200),
    Fraction(1, 1000000),
    None,
]


@pytest.mark.parametrize("time_base", TIME_BASES)
@pytest.mark.parametrize("first", [0, 7])
def test_times_are_those_of_the_source(
    tmp_path: Path, time_base: Fraction | None, first: int
) -> None:
    tick = time_base or Fraction(1, 90000)
    steps = np.random.default_rng(0).integers(1, max(2, int(Fraction(1, 10) / tick)), 20)
    ticks = first + np.concatenate([[0], np.cumsum(steps)])
    record(tmp_path / "v.mp4", [float(int(t) * tick) for t in ticks], time_base=time_base)
    assert video(tmp_path / "v.mp4")[0] == [int(t) * tick for t in ticks]


def test_a_tick_too_fine_for_mp4_becomes_the_usual_one(tmp_path: Path) -> None:
    times = [0.1234567, 0.2, 0.9876543]
    record(tmp_path / "v.mp4", times, time_base=Fraction(1, 10**9))
    got = video(tmp_path / "v.mp4")[0]
    assert np.allclose([float(t) for t in got], times, rtol=0, atol=1 / 90000)


def test_times_that_stand_still_or_go_back_are_moved_by_one_tick(tmp_path: Path) -> None:
    record(tmp_path / "v.mp4", [-0.5, 0.5, 0.5, 0.25, 1.0])
    tick = Fraction(1, 90000)
    half = Fraction(1, 2)
    assert video(tmp_path / "v.mp4")[0] == [0, half, half + tick, half + 2 * tick, 1]


def test_pixels_that_are_no_squares_stay_so(tmp_path: Path) -> None:
    recorder, picture = Recorder(tmp_path / "a.mp4", rate=30, time_base=None), noise(0)
    frame = Frame(0, 0.0, picture, aspect=16 / 11)
    recorder.write(PosedFrame(frame, Poses.empty(), 0, picture))
    recorder.close()
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(16, 11)


def test_a_clean_end_leaves_an_ordinary_seekable_file(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    record(path, [i / 25 for i in range(150)], rate=25.0)
    names = boxes(path)
    assert "moov" in names and "moof" not in names
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.frames == 150 and stream.codec_context.name == "h264"
        assert stream.duration * stream.time_base == 6  # the last frame lasts as long as the others
        assert stream.start_time == 0 and stream.average_rate == 25
        for seconds in (4.5, 1.0, 3.96):
            container.seek(int(seconds / stream.time_base), stream=stream, backward=True)
            frame = next(container.decode(stream))
            assert seconds - 2.05 <= frame.time <= seconds and frame.rotation == 0
    reader = cv2.VideoCapture(str(path))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 150 and reader.get(cv2.CAP_PROP_FPS) == 25


def test_the_last_frame_lasts_as_long_as_the_one_before(tmp_path: Path) -> None:
    record(tmp_path / "v.mp4", [0, 0.5, 1.0])
    record(tmp_path / "one.mp4", [0.0], rate=10.0)
    for name, seconds in (("v.mp4", 1.5), ("one.mp4", 0.1)):
        with av.open(str(tmp_path / name)) as container:
            assert container.duration == round(seconds * 1e6)


def flat(_: int) -> Image:
    return np.full((64, 96, 3), (40, 160, 220), np.uint8)


def shapes(index: int) -> Image:
    """A soft scene with camera noise and thin coloured lines over it, moving."""
    rng = np.random.default_rng(1)
    soft = cv2.GaussianBlur(rng.integers(0, 255, (120, 160, 3), np.uint8), (0, 0), 5)
    grain = np.random.default_rng(index).normal(0, 8, soft.shape)
    picture = np.clip(np.roll(soft, 3 * index, 1) + grain, 0, 255).astype(np.uint8)
    cv2.line(picture, (10 + index, 10), (60, 100), (0, 200, 255), 2, cv2.LINE_AA)
    return picture


@pytest.mark.parametrize("picture_of", [noise, shapes, flat])
@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_quality_is_at_least_38_db(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: str, picture_of: object
) -> None:
    monkeypatch.setattr(encode, "ENCODERS", {encoder: encode.ENCODERS[encoder]})
    recorder = Recorder(tmp_path / "v.mp4", rate=30, time_base=None)
    pictures = [picture_of(i) for i in range(70)]  # type: ignore[operator]
    for index, picture in enumerate(pictures):
        recorder.write(posed(index, index / 30, picture))
    recorder.close()
    assert bool(recorder.notes) == (encoder != "libx264")
    times, frames = video(tmp_path / "v.mp4")
    assert times == [Fraction(i, 30) for i in range(70)]
    height = pictures[0].shape[0]
    for picture, frame in zip(pictures, frames):
        luma = frame.to_ndarray(format="yuv420p")[:height]
        assert psnr(luma, to_yuv420(picture)[:height]) >= 38


def test_crf_decides_the_size(tmp_path: Path) -> None:
    for crf in (10, 22, 40):
        record(tmp_path / f"{crf}.mp4", [i / 30 for i in range(10)], crf=crf)
    sizes = [(tmp_path / f"{crf}.mp4").stat().st_size for crf in (10, 22, 40)]
    assert sizes[0] > 1.3 * sizes[1] > 1.3 * 1.3 * sizes[2]


@pytest.mark.parametrize("crf", [-1, 52])
def test_a_crf_out_of_range_is_refused(tmp_path: Path, crf: int) -> None:
    with pytest.raises(UsageError, match="crf"):
        Recorder(tmp_path / "v.mp4", crf=crf, rate=None, time_base=None)
    assert not list(tmp_path.iterdir())


COLOURS = [
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128),
    (0, 200, 255), (200, 60, 120), (30, 90, 180), (255, 0, 255), (255, 255, 0), (0, 255, 255),
]  # fmt: skip


@pytest.mark.parametrize("size", [64, 256])  # players guess by size where tags are missing
def test_colours_come_back(tmp_path: Path, size: int) -> None:
    picture = np.repeat(np.repeat(np.array(COLOURS, np.uint8).reshape(3, 4, 3), size, 0), size, 1)
    recorder = Recorder(tmp_path / "v.mp4", rate=30, time_base=None)
    for index in range(5):
        recorder.write(posed(index, index / 30, picture))
    recorder.close()
    frame = video(tmp_path / "v.mp4")[1][-1]
    assert (frame.colorspace, frame.color_range) == (6, 1)
    _, seen = cv2.VideoCapture(str(tmp_path / "v.mp4")).read()
    for image in (frame.to_ndarray(format="bgr24"), seen):
        patches = image.reshape(3, size, 4, size, 3)[:, 8:-8, :, 8:-8].mean((1, 3))
        errors = np.abs(patches - np.array(COLOURS).reshape(3, 4, 3))
        assert errors.max() <= 2.1 and errors.mean() <= 0.6


@pytest.mark.parametrize("wh", [(1, 1), (2, 2), (3, 5), (17, 9), (641, 361), (4000, 50)])
def test_odd_sizes_grow_by_a_column_or_row(tmp_path: Path, wh: tuple[int, int]) -> None:
    recorder = Recorder(tmp_path / "v.mp4", rate=30, time_base=None)
    for index in range(3):
        recorder.write(posed(index, index / 30, noise(index, wh)))
    recorder.close()
    _, frames = video(tmp_path / "v.mp4")
    even = (wh[0] + wh[0] % 2, wh[1] + wh[1] % 2)
    assert [(f.width, f.height) for f in frames] == [even] * 3


def test_a_size_no_mp4_can_hold_is_refused_and_earlier_files_stay(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "v.mp4", rate=30, time_base=None)
    recorder.write(posed(0, 0.0, noise(0)))
    with pytest.raises(OutputError, match="v_2.mp4: libx264 takes no pictures of 20000x20"):
        recorder.write(posed(1, 1.0, np.zeros((20, 20000, 3), np.uint8)))
    recorder.write(posed(2, 2.0, noise(2)))
    recorder.close()
    assert video(tmp_path / "v.mp4")[0] == [0] and len(list(tmp_path.iterdir())) == 1


def test_yuv_chroma_is_the_mean_of_four_pixels_and_luma_that_of_cv2() -> None:
    picture = noise(3)
    yuv = to_yuv420(picture)
    assert np.array_equal(yuv[:64], cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)[:64])
    mean = picture.reshape(32, 2, 48, 2, 3).astype(float).mean((1, 3))
    blue = yuv[64:80].reshape(32, 48)
    expected = 128 + mean @ np.array([0.439216, -0.290993, -0.148223])
    assert np.abs(blue - expected).max() <= 1.1


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_size_goes_on_in_the_next_file(tmp_path: Path, overwrite: bool) -> None:
    """Which replaces nothing, not even a link to nothing."""
    (tmp_path / "v_2.mp4").write_text("somebody else's")
    (tmp_path / "v_4.mp4").symlink_to(tmp_path / "none")
    recorder = Recorder(tmp_path / "v.mp4", overwrite=overwrite, rate=30, time_base=None)
    for index in range(30):
        wh = (96, 64) if index < 10 else (64, 96) if index < 20 else (97, 65)
        recorder.write(posed(index, 5 + index / 30, noise(index, wh)))
    recorder.close()
    assert (tmp_path / "v_2.mp4").read_text() == "somebody else's"
    sizes = {"v.mp4": (96, 64), "v_3.mp4": (64, 96), "v_5.mp4": (98, 66)}
    for name, size in sizes.items():
        times, frames = video(tmp_path / name)
        assert {(f.width, f.height) for f in frames} == {size} and len(frames) == 10
        assert times[0] == (5 if name == "v.mp4" else 0)
    assert [note.split(":")[0] for note in recorder.notes] == [
        str(tmp_path / "v_3.mp4"),
        str(tmp_path / "v_5.mp4"),
    ]
    assert "5.333 s, 64x96" in recorder.notes[0]


def segments(path: Path, count: int, first: int = 0) -> Recorder:
    recorder = Recorder(path, overwrite=True, rate=30, time_base=Fraction(1, 90000), segment=2)
    for index in range(count):
        recorder.write(posed(index, 7 + round(index / 30, 6), noise(first + index)))
    return recorder


def test_segments(tmp_path: Path) -> None:
    """Each of as many seconds, without a frame twice or lost; only the last two stay open."""
    recorder = segments(tmp_path / "v.mp4", 250)
    assert len([file for file in recorder._done if not file.raw.closed]) == 1
    recorder.close()
    names = ["v.mp4", "v_2.mp4", "v_3.mp4", "v_4.mp4", "v_5.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    numbers: list[int] = []
    for name in names:
        times, frames = video(tmp_path / name)
        assert times[0] == (7 if name == "v.mp4" else 0)
        assert len(frames) == (10 if name == "v_5.mp4" else 60)
        numbers += [int(f.to_ndarray(format="bgr24")[:16, :16].mean().round()) for f in frames]
    assert np.abs(np.array(numbers) - np.arange(250) % 256).max() <= 4


def test_segments_of_earlier_runs_stay(tmp_path: Path) -> None:
    segments(tmp_path / "v.mp4", 130).close()
    had = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    recorder = segments(tmp_path / "v.mp4", 70, 99)
    recorder.close()
    assert recorder.notes[0].endswith("the recording begins in " + str(tmp_path / "v_4.mp4"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [*sorted(had), "v_4.mp4", "v_5.mp4"]
    assert all((tmp_path / name).read_bytes() == data for name, data in had.items())


def test_the_recording_ends_where_no_next_file_can_be_made(tmp_path: Path) -> None:
    """The disk has gone: what is recorded stays, and closing is no further error."""
    (tmp_path / "disk").mkdir()
    recorder = segments(tmp_path / "disk" / "v.mp4", 60)
    (tmp_path / "disk").rename(tmp_path / "gone")
    with pytest.raises(OutputError, match="there is no folder"):
        recorder.write(posed(60, 9.0, noise(60)))
    recorder.close(clean=False)
    assert [path.name for path in (tmp_path / "gone").iterdir()] == ["v.mp4"]
    assert len(video(tmp_path / "gone" / "v.mp4")[0]) == 60


def test_a_disk_that_did_not_take_an_earlier_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    recorder = segments(tmp_path / "v.mp4", 61)
    with monkeypatch.context() as patch:
        patch.setattr(outfile, "sync", full)
        with pytest.raises(OutputError, match="v.mp4: the disk did not take all of it"):
            recorder.write(posed(61, 11.0, noise(61)))
    recorder.close(clean=False)
    assert len(video(tmp_path / "v.mp4")[0]) == 60


def test_a_pause_too_long_for_an_mp4_goes_on_in_the_next_file(tmp_path: Path) -> None:
    recorder = record(tmp_path / "v.mp4", [0, 1, 30000, 30001])
    assert video(tmp_path / "v.mp4")[0] == [0, 1] and video(tmp_path / "v_2.mp4")[0] == [0, 1]
    assert "30000.000 s" in recorder.notes[0]


@pytest.mark.parametrize("first", [95443.7, -5.0])
def test_a_source_whose_times_start_far_from_zero_is_recorded_from_there(
    tmp_path: Path, first: float
) -> None:
    recorder = record(tmp_path / "v.mp4", [first + i / 25 for i in range(5)])
    assert video(tmp_path / "v.mp4")[0] == [Fraction(i, 25) for i in range(5)]
    assert f"{first:.3f} s" in recorder.notes[0]


@pytest.mark.parametrize("start", [None, 100.0])
def test_a_part_of_a_source_is_recorded_from_zero(tmp_path: Path, start: float | None) -> None:
    recorder = record(tmp_path / "v.mp4", [100 + i / 25 for i in range(5)], start=start)
    assert video(tmp_path / "v.mp4")[0] == [Fraction(i, 25) for i in range(5)]
    assert not recorder.notes


def test_a_day_of_sparse_frames_keeps_its_times(tmp_path: Path) -> None:
    times = [i * 500.25 for i in range(200)]  # 27 hours, beyond 32 bits of ticks
    record(tmp_path / "v.mp4", times)
    assert [float(t) for t in video(tmp_path / "v.mp4")[0]] == times


# The end of a run


def test_without_a_frame_everything_is_as_before(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    recorder = Recorder(path, rate=None, time_base=None)
    assert path.exists()
    recorder.close()
    recorder.close(clean=False)
    assert not list(tmp_path.iterdir())
    path.write_text("old")
    recorder = Recorder(path, overwrite=True, rate=None, time_base=None)
    assert (tmp_path / "v.mp4.bak").read_text() == "old"
    recorder.close(clean=False)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("clean", [True, False])
def test_the_old_file_goes_only_after_a_clean_end(tmp_path: Path, clean: bool) -> None:
    path = tmp_path / "v.mp4"
    path.write_text("old")
    recorder = Recorder(path, overwrite=True, rate=30, time_base=None)
    recorder.write(posed(0, 0.0, noise(0)))
    recorder.close(clean)
    recorder.close()
    assert len(video(path)[0]) == 1
    assert (tmp_path / "v.mp4.bak").exists() == (not clean)


def test_the_old_file_waits_until_the_recording_has_ended_in_others(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_text("old")
    recorder = Recorder(path, overwrite=True, rate=30, time_base=None)
    for index, wh in enumerate([(96, 64), (64, 96), (96, 64)]):
        recorder.write(posed(index, index / 30, noise(index, wh)))
    assert (tmp_path / "v.mp4.bak").read_text() == "old"
    recorder.close()
    names = ["v.mp4", "v_2.mp4", "v_3.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


WRITER = """
import sys, time
from fractions import Fraction
from pathlib import Path
from tests.test_sink_record import noise, posed
from realtime.sinks.record import Recorder
fps, sound = float(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None
recorder = Recorder(Path(sys.argv[1]), rate=30, time_base=None, audio_from=sound)
start, index = time.monotonic(), 0
while True:
    seconds = time.monotonic() - start
    recorder.write(posed(index, seconds, noise(index, (320, 240))))
    print(seconds, flush=True)
    index += 1
    time.sleep(max(0, start + index / fps - time.monotonic()))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize(("fps", "lives", "sound"), [(30, 0.5, 0), (30, 1.9, 0.8), (2, 1.2, 9.0)])
def test_a_kill_costs_less_than_a_second(
    tmp_path: Path, fps: float, lives: float, sound: float
) -> None:
    path = tmp_path / "v.mp4"
    command = [sys.executable, "-c", WRITER, str(path), str(fps)]
    if sound:
        command.append(str(with_sound(tmp_path / "s.mp4", "aac", sound)))
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(lives)
        writer.send_signal(signal.SIGKILL)
        written = [float(line) for line in writer.stdout]
    times, frames = video(path)
    assert "moof" in path.read_bytes().decode("latin1")
    lost = written[-1] - float(times[-1])
    assert -1e-5 <= lost <= 1.0
    assert len(frames) == 1 + sum(seconds <= times[-1] + 1e-5 for seconds in written)


class Logged(OutputFile):
    """Remembers every write."""

    log: list[tuple[int, bytes]]

    def write(self, data: bytes | memoryview) -> None:
        self.log.append((self.raw.tell(), bytes(data)))
        super().write(data)


def logged_video(path: Path, wh: tuple[int, int] = (96, 64)) -> tuple[Logged, Mp4]:
    """A video about to be written, and its file."""
    file = Logged(path)
    file.log = []
    return file, Mp4(file, wh, mp4_tick(None), 30.0, 22, "libx264", [])


def test_the_file_is_empty_until_it_plays(tmp_path: Path) -> None:
    """Wherever a kill comes between two writes."""
    file, part = logged_video(tmp_path / "v.mp4")
    for index in range(12):
        part.write(noise(index), index / 30)
        assert file.size == 0 or len(video(tmp_path / "v.mp4")[0]) > index - 30 * FRAGMENT - 1
    copy = b""
    for at, data in file.log:
        assert at == len(copy)
        copy += data
        (tmp_path / "cut.mp4").write_bytes(copy)
        assert len(video(tmp_path / "cut.mp4")[0]) >= 3
    part.close()
    file.commit()
    assert len(video(tmp_path / "v.mp4")[0]) == 12


def test_a_fragment_is_written_at_once(tmp_path: Path) -> None:
    """However big it is: a kill does not cut it."""
    file, part = logged_video(tmp_path / "v.mp4", (640, 360))
    for index in range(12):
        part.write(noise(index, (640, 360)), index / 30)
    fragments = [data for _, data in file.log]
    part.close()
    file.commit()
    assert len(fragments) == 3 and min(map(len, fragments)) > 100_000
    for data in fragments:
        at = data.index(b"moof") - 4
        moof = int.from_bytes(data[at : at + 4], "big")
        mdat = int.from_bytes(data[at + moof : at + moof + 4], "big")
        assert at + moof + mdat == len(data) and data[at + moof + 4 : at + moof + 8] == b"mdat"


def test_the_file_plays_whatever_write_of_the_end_is_the_last(tmp_path: Path) -> None:
    file, part = logged_video(tmp_path / "v.mp4")
    for index in range(40):
        part.write(noise(index), index / 30)
    before = len(file.log)
    part.close()
    file.commit()
    for count in range(before, len(file.log) + 1):
        copy = bytearray()
        for at, data in file.log[:count]:
            copy[at : at + len(data)] = data
        (tmp_path / "cut.mp4").write_bytes(copy)
        times, _ = video(tmp_path / "cut.mp4")
        assert len(times) >= (40 if count > before + 1 else 40 - 30 * FRAGMENT - 2)
        assert times == [Fraction(i, 30) for i in range(len(times))]
    assert bytes(copy) == (tmp_path / "v.mp4").read_bytes()


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """A limit for the size of files, which acts like a full disk (EFBIG instead of ENOSPC).

    It holds for this whole process, the file that pytest may be reporting into included.
    """
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("missing", [1, 40, 700, 1300, 3000, 30000, 300000])
def test_a_full_disk_keeps_what_is_there(tmp_path: Path, missing: int) -> None:
    times = [i / 30 for i in range(60)]
    record(tmp_path / "whole.mp4", times)
    path, whole = tmp_path / "v.mp4", (tmp_path / "whole.mp4").stat().st_size
    path.write_text("old")
    recorder = Recorder(path, overwrite=True, rate=30, time_base=Fraction(1, 90000))
    limit = whole - missing
    told = rf"^{path}: .* \d+ bytes: .*plays$"
    with small_disk(limit), pytest.raises(OutputError, match=told):
        for index, seconds in enumerate(times):
            recorder.write(posed(index, seconds, noise(index)))
        recorder.close()
    recorder.write(posed(60, 2.0, noise(60)))  # ignored
    recorder.close()
    got, frames = video(path)
    assert got == [Fraction(i, 30) for i in range(len(got))]
    assert path.stat().st_size <= limit and "mfra" not in boxes(path)
    assert len(frames) >= 60 * (limit / whole) - 30 * FRAGMENT - 2
    assert (tmp_path / "v.mp4.bak").read_text() == "old"


def test_a_disk_that_takes_nothing_leaves_no_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "v.mp4", rate=30, time_base=None)
    with small_disk(0), pytest.raises(OutputError, match="after 0 bytes"):
        for index in range(10):
            recorder.write(posed(index, index / 30, noise(index)))
    recorder.close()
    assert not list(tmp_path.iterdir())


# Sound


def with_sound(path: Path, codec: str, seconds: float, rate: int = 44100) -> Path:
    """A video whose sound is a chirp from 200 Hz up, so that every moment sounds different."""
    at = np.arange(int(seconds * rate)) / rate
    chirp = np.sin(2 * np.pi * (200 + 300 * at) * at) * 0.5
    stereo = np.stack([chirp, -chirp]).astype(np.float32)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout="stereo")
        for index in range(int(seconds * 25)):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="bgr24")
            frame.pts = index
            container.mux(picture.encode(frame))
        for first in range(0, len(at), 1024):
            block = np.ascontiguousarray(stereo[:, first : first + 1024])
            part = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            part.sample_rate, part.pts, part.time_base = rate, first, Fraction(1, rate)
            container.mux(sound.encode(part))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))
    return path


def sound_of(path: Path, rate: int = 44100) -> tuple[str, np.ndarray, float]:
    """Codec, left channel with sample 0 at second 0, and its end in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", "stereo", rate)
        out = np.zeros(20 * rate, np.float32)
        end = 0
        for frame in container.decode(stream):
            for part in resampler.resample(frame):
                data = part.to_ndarray()[0]
                first = round(part.pts * part.time_base * rate)
                skip = max(0, -first)
                end = first + len(data)
                out[first + skip : end] = data[skip:]
        return stream.codec_context.name, out[:end], end / rate


CASES = [("aac", "s.mp4"), ("aac", "s.ts"), ("mp2", "s.ts"), ("mp2", "s.mpg"),
         ("pcm_s16le", "s.mov"), ("libmp3lame", "s.mp4"), ("ac3", "s.mp4"),
         ("flac", "s.mp4")]  # fmt: skip


@pytest.mark.parametrize(("codec", "name"), CASES)
@pytest.mark.parametrize("start", [0.0, 1.5])
def test_the_sound_goes_along(tmp_path: Path, codec: str, name: str, start: float) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    source = with_sound(tmp_path / name, codec, 4.0)
    with av.open(str(source)) as container:
        first = (container.start_time or 0) / av.time_base if name.endswith(("ts", "mpg")) else 0.0
    times = [first + start + i / 25 for i in range(40)]
    recorder = record(tmp_path / "v.mp4", times, rate=25.0, audio_from=source, start=first + start)
    assert not recorder.notes and "moof" not in boxes(tmp_path / "v.mp4")
    assert video(tmp_path / "v.mp4")[0] == [Fraction(i, 25) for i in range(40)]
    kept, heard, end = sound_of(tmp_path / "v.mp4")
    original, expected, _ = sound_of_from(source, first + start)
    copied = codec in ("aac", "ac3", "libmp3lame")
    assert kept == (original if copied else "aac")
    assert 1.55 <= end <= 1.66
    middle = slice(4410, int(1.5 * 44100))
    assert np.abs(heard[middle] - expected[middle]).max() < (1e-3 if copied else 0.08)


def sound_of_from(path: Path, start: float) -> tuple[str, np.ndarray, float]:
    name, samples, end = sound_of(path)
    return name, samples[round(start * 44100) :], end - start


def test_a_source_without_sound_or_file_is_recorded_silently(tmp_path: Path) -> None:
    record(tmp_path / "silent.mp4", [0, 0.1, 0.2])
    recorder = record(tmp_path / "v.mp4", [0, 0.1], audio_from=tmp_path / "silent.mp4")
    assert not recorder.notes and len(video(tmp_path / "v.mp4")[0]) == 2
    recorder = record(tmp_path / "w.mp4", [0, 0.1], audio_from=tmp_path / "none.mp4")
    assert "sound left out" in recorder.notes[0] and len(video(tmp_path / "w.mp4")[0]) == 2


def test_damaged_sound_ends_early_and_the_pictures_go_on(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "s.ts", "aac", 3.0)
    data = bytearray(source.read_bytes())
    data[len(data) // 2 :] = os.urandom(len(data) - len(data) // 2)
    source.write_bytes(data)
    record(tmp_path / "v.mp4", [i / 25 for i in range(75)], rate=25.0, audio_from=source)
    assert len(video(tmp_path / "v.mp4")[0]) == 75


def test_sound_that_ends_before_the_pictures_holds_nothing_up(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "s.mp4", "aac", 0.5)
    recorder = Recorder(tmp_path / "v.mp4", rate=30, time_base=None, audio_from=source)
    sizes = []
    for index in range(90):
        recorder.write(posed(index, index / 30, noise(index)))
        sizes.append((tmp_path / "v.mp4").stat().st_size)
    assert all(later > earlier for earlier, later in zip(sizes, sizes[15:]))
    recorder.close()


def test_sound_of_an_unknown_kind_is_left_out(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "s.mp4", "aac", 0.5)
    data = source.read_bytes()
    assert b"mp4a" in data and b"esds" in data
    source.write_bytes(data.replace(b"mp4a", b"zzzz").replace(b"esds", b"free"))
    recorder = record(tmp_path / "v.mp4", [0, 0.1], audio_from=source)
    assert "sound left out" in recorder.notes[0] and len(video(tmp_path / "v.mp4")[0]) == 2

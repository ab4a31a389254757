"""Video files through real codecs: geometry, time, colour, damage, spans and refusals."""

from __future__ import annotations

import ctypes
import io
import itertools
import os
import random
import socket
import threading
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import media
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.errors import InputError, UsageError
from realtime.masking import mask_credentials
from realtime.records import Frame
from realtime.sources import seek
from realtime.sources.base import Source, Span
from realtime.sources.container import HEAD, STANDARD_INPUT, shown, video_stream
from realtime.sources.cut import has_index_last, is_cut, is_torn
from realtime.sources.decode_video import FrameClock, Upright, decoded, mended
from realtime.sources.file import open_file
from realtime.status import SourceStatus


def read(path: Path, span: Span = Span()) -> tuple[list[Frame], Source]:  # noqa: B008
    source = open_file(path, span)
    return list(source.frames()), source


def noise(number: int, size_wh: tuple[int, int]) -> np.ndarray:
    """A picture that takes many bytes."""
    return np.random.default_rng(number).integers(0, 256, (*size_wh[::-1], 3), np.uint8)


def numbers(frames: list[Frame]) -> list[int]:
    return [media.number_in(frame.image) for frame in frames]


# ------------------------------------------------------------------------------- the plain case


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "mpeg4"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx-vp9"),
        ("a.avi", "mjpeg"),
        ("a.ts", "libx264"),
    ],
)
def test_every_frame_once_in_order(tmp_path: Path, name: str, codec: str) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = media.video(tmp_path / name, 40, codec=codec, pix_fmt=pix_fmt)
    frames, source = read(path)
    assert numbers(frames) == list(range(40))
    assert [f.index for f in frames] == list(range(40))
    assert np.allclose(np.diff([f.time for f in frames]), 1 / 30, atol=1.1e-3)
    info = source.info
    assert (info.frames, info.rate, info.size_wh, info.kind) == (40, 30.0, (64, 48), "file")
    assert info.path == path and info.name == name and info.start == 0.0 and not info.live
    assert {f.source for f in frames} == {name}
    assert source.status.notes == [] and source.status.state == "ended"


def test_gif(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a.gif", 12, codec="gif", pix_fmt="rgb8", rate=10)
    frames, _ = read(path)
    assert numbers(frames) == list(range(12))
    assert [round(f.time, 6) for f in frames] == [i / 10 for i in range(12)]


def test_images_are_contiguous_read_only_bgr(tmp_path: Path) -> None:
    (frame, *_), _ = read(media.video(tmp_path / "a.mp4", 2, picture=media.quarters))
    assert frame.image.flags.c_contiguous and not frame.image.flags.writeable
    assert abs(frame.image.astype(int) - media.quarters()).mean() < 6


def test_two_reads_give_the_same_bytes(tmp_path: Path) -> None:
    source = open_file(media.video(tmp_path / "a.mp4", 10), Span())
    first, second = ([f.image.tobytes() for f in source.frames()] for _ in range(2))
    assert first == second and len(first) == 10


# ----------------------------------------------------------------------- rotation and mirroring

ORIENTATIONS = [m for m in itertools.product((-1, 0, 1), repeat=4) if abs(np.linalg.det(
    np.reshape(m, (2, 2)))) == 1 and sum(map(abs, m)) == 2]  # fmt: skip


def shown_by(picture: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """The definition, point by point: (p, q) goes to (a p + c q, b p + d q), moved into view."""
    height, width = picture.shape[:2]
    q, p = np.mgrid[:height, :width]
    x, y = a * p + c * q, b * p + d * q
    x, y = x - x.min(), y - y.min()
    result = np.empty((y.max() + 1, x.max() + 1, 3), np.uint8)
    result[y, x] = picture
    return result


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_orientation(tmp_path: Path, name: str, matrix: tuple[int, int, int, int]) -> None:
    path = media.video(tmp_path / name, 2, size_wh=(96, 48), picture=media.quarters)
    frames, source = read(media.with_matrix(path, *matrix))
    expected = shown_by(media.quarters(0, (96, 48)), *matrix)
    assert source.info.size_wh == frames[0].size_wh == expected.shape[1::-1]
    assert abs(frames[0].image.astype(int) - expected).mean() < 6


@pytest.mark.parametrize(
    ("name", "turned"),
    [("a.mp4", False), ("a.mp4", True), ("a.mkv", False), ("a.ts", False), ("a.avi", False)],
)
def test_pixels_that_are_no_squares_are_told(tmp_path: Path, name: str, turned: bool) -> None:
    def wide(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(2)

    path = media.video(tmp_path / name, 20, size_wh=(96, 48), change=wide)
    if turned:
        media.with_matrix(path, 0, 1, -1, 0)
    frames, _ = read(path)
    assert {frame.aspect for frame in frames} == {0.5 if turned else 2.0}


def test_all_eight_orientations_are_tested() -> None:
    assert len(set(ORIENTATIONS)) == 8


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)])
def test_rotation_agrees_with_opencv(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    path = media.video(tmp_path / "a.mp4", 2, size_wh=(96, 48), picture=media.quarters)
    frames, _ = read(media.with_matrix(path, *matrix))
    capture = cv2.VideoCapture(str(path))
    ok, theirs = capture.read()
    capture.release()
    assert ok and theirs.shape == frames[0].image.shape
    assert abs(frames[0].image.astype(int) - theirs).mean() < 3


# --------------------------------------------------------------------------------------- time


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_variable_rate_keeps_the_containers_timestamps(tmp_path: Path, name: str) -> None:
    stamps = list(itertools.accumulate([0] + [33, 133, 28, 35, 200] * 6))
    frames, source = read(media.video(tmp_path / name, len(stamps), stamps=stamps))
    assert np.allclose([f.time for f in frames], np.array(stamps) / 1000, atol=1e-3)
    assert numbers(frames) == list(range(len(stamps)))
    assert source.status.notes == []


def test_times_go_on_after_a_jump_back(tmp_path: Path) -> None:
    part = media.video(tmp_path / "part.ts", 20)
    frames, source = read(media.joined(tmp_path / "twice.ts", part, part))
    assert numbers(frames) == list(range(20)) * 2
    assert np.allclose(np.diff([f.time for f in frames]), 1 / 30, atol=1e-3)
    assert len(source.status.notes) == 1 and "timestamps" in source.status.notes[0]


def test_frames_of_an_avi_file_are_as_far_apart_as_their_packets(tmp_path: Path) -> None:
    """It has no timestamps, and those that FFmpeg makes up for B-frames jump back and forth."""
    path = media.video(tmp_path / "a.avi", 40, options={"bf": "3"})
    frames, source = read(path)
    assert numbers(frames) == list(range(40)) and source.status.notes == []
    assert np.allclose(np.diff([f.time for f in frames]), 1 / 30)


def test_raw_stream_without_timestamps(tmp_path: Path) -> None:
    frames, source = read(media.video(tmp_path / "a.h264", 20))
    assert numbers(frames) == list(range(20))
    assert (np.diff([f.time for f in frames]) > 0).all()
    assert len(source.status.notes) <= 1


class Stamped:
    """What FrameClock reads of a frame."""

    time_base = Fraction(1, 1000)

    def __init__(self, pts: int | None) -> None:
        self.pts = pts


@given(st.lists(st.none() | st.integers(-(2**62), 2**62) | st.integers(0, 5000), max_size=40))
def test_clock_strictly_increases(stamps: list[int | None]) -> None:
    clock = FrameClock(30.0, SourceStatus(), "x")
    times = [clock.time(Stamped(pts)) for pts in stamps]  # type: ignore[arg-type]
    assert all(a < b for a, b in itertools.pairwise(times))


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=40))
def test_clock_leaves_good_stamps_alone(steps: list[int]) -> None:
    status = SourceStatus()
    clock, stamps = FrameClock(None, status, "x"), list(itertools.accumulate(steps))
    assert [clock.time(Stamped(s)) for s in stamps] == [s / 1000 for s in stamps]  # type: ignore[arg-type]
    assert status.notes == []


def test_clock_recovers_from_a_double_and_a_gap() -> None:
    clock = FrameClock(10.0, SourceStatus(), "x")
    times = [clock.time(Stamped(s)) for s in (0, 100, 100, 200, None, 400)]  # type: ignore[arg-type]
    assert times == pytest.approx([0, 0.1, 0.15, 0.2, 0.3, 0.4])


@given(st.integers(1, 100), st.integers(1, 9))
def test_times_replaced_and_given_differ_in_microseconds(first: int, missing: int) -> None:
    """A replaced time and the stamp after it may be the same but for the last bits."""
    clock, tick = FrameClock(30.0, SourceStatus(), "x"), Fraction(1, 30)
    stamps = [first, *[None] * missing, first + missing, first + missing + 1]
    frames = [Stamped(stamp) for stamp in stamps]
    for frame in frames:
        frame.time_base = tick
    times = [round(clock.time(frame), 6) for frame in frames]  # type: ignore[arg-type]
    assert all(a < b for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("rate", [1000, 600])
def test_unbelievable_rate_is_unknown(tmp_path: Path, rate: int) -> None:
    frames, source = read(media.video(tmp_path / "a.mp4", 20, rate=rate))
    assert source.info.rate is None and source.info.frames == 20
    assert frames[-1].time == pytest.approx(19 / rate, abs=1e-3)


# ------------------------------------------------------------------------- pixel formats, sizes


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv422p"),
        ("a.mp4", "libx264", "yuv444p"),
        ("a.mp4", "libx264", "yuv420p10le"),
        ("a.mp4", "libx264", "yuvj420p"),
        ("a.avi", "mjpeg", "yuvj422p"),
        ("a.mkv", "ffv1", "yuva420p"),
        ("a.mkv", "ffv1", "yuv444p16le"),
        ("a.mkv", "ffv1", "bgr0"),
        ("a.mov", "qtrle", "argb"),
        ("a.avi", "png", "rgb48be"),
    ],
)
def test_colours(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    options = {"qp": "0"} if codec == "libx264" else {}
    path = media.video(
        tmp_path / name, 2, codec=codec, pix_fmt=pix_fmt, picture=media.quarters, options=options
    )
    frames, _ = read(path)
    error = abs(frames[0].image.astype(int) - media.quarters())
    inside = np.ones((48, 64), bool)
    inside[22:26] = inside[:, 29:35] = False  # chroma is coarser than the border of the quarters
    assert error[inside].mean() <= 3


@pytest.mark.parametrize(("codec", "pix_fmt"), [("ffv1", "gray"), ("ffv1", "gray16le")])
def test_gray(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    path = media.video(tmp_path / "a.mkv", 5, codec=codec, pix_fmt=pix_fmt)
    frames, _ = read(path)
    assert numbers(frames) == list(range(5))
    for number, frame in enumerate(frames):
        assert abs(frame.image.astype(int) - media.barcode(number)).mean() <= 3


def test_palette(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a.gif", 2, codec="gif", pix_fmt="bgr8", picture=media.quarters)
    with av.open(str(path)) as container:
        theirs = next(container.decode(video=0)).to_ndarray(format="rgb24")[..., ::-1]
    frames, _ = read(path)
    assert abs(frames[0].image.astype(int) - theirs).mean() <= 3


@pytest.mark.parametrize("size_wh", [(1, 1), (2, 2), (3, 5), (17, 9), (641, 361), (4000, 25)])
def test_odd_sizes(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    path = media.video(tmp_path / "a.mkv", 3, size_wh=size_wh, codec="ffv1", pix_fmt="bgr0")
    frames, source = read(path)
    assert [f.size_wh for f in frames] == [size_wh] * 3 and source.info.size_wh == size_wh
    assert (frames[2].image == media.barcode(2, size_wh)).all()


def test_size_change_is_not_rescaled(tmp_path: Path) -> None:
    small = media.video(tmp_path / "small.ts", 10)
    large = media.video(tmp_path / "large.ts", 10, size_wh=(128, 96))
    frames, _ = read(media.joined(tmp_path / "both.ts", small, large))
    assert [f.size_wh for f in frames] == [(64, 48)] * 10 + [(128, 96)] * 10
    assert numbers(frames) == list(range(10)) * 2


def test_a_transport_stream_goes_on_under_another_pid(tmp_path: Path) -> None:
    """But for the last frame before, which FFmpeg holds back until the end."""
    moved, in_order = {"mpegts_start_pid": "0x200"}, {"bf": "0"}
    a = media.video(tmp_path / "a.ts", 20, options=in_order)
    b = media.video(tmp_path / "b.ts", 20, options=in_order, container_options=moved)
    frames, _ = read(media.joined(tmp_path / "ab.ts", a, b))
    assert numbers(frames)[:39] == [*range(19), *range(20)]


def test_huge_pictures_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a.mov", 1, codec="png", pix_fmt="rgb24")
    data = path.read_bytes()
    large = (12000).to_bytes(2, "big")
    start = data.index(b"png ", data.index(b"stsd")) + 28
    data = data[:start] + large * 2 + data[start + 4 :]
    ihdr = data.index(b"IHDR") + 4
    path.write_bytes(data[:ihdr] + (12000).to_bytes(4, "big") * 2 + data[ihdr + 8 :])
    with pytest.raises(InputError, match="megapixels"):
        open_file(path, Span())


# --------------------------------------------------------------------------------- stream choice


@pytest.mark.parametrize("audio", ["first", "after"])
def test_audio_beside_the_video(tmp_path: Path, audio: str) -> None:
    frames, source = read(media.video(tmp_path / "a.mp4", 20, audio=audio))
    assert numbers(frames) == list(range(20)) and source.info.frames == 20


def test_further_video_streams_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("libx264", rate=30) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for stream in streams:
            frame = av.VideoFrame.from_ndarray(media.barcode(7), format="bgr24")
            out.mux([*stream.encode(frame), *stream.encode(None)])
    frames, source = read(path)
    assert len(frames) == 1 and source.status.damage == ""
    assert source.status.notes == ["a.mkv: 2 video streams in it, of which the first is read"]


def test_audio_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no video stream in it, only audio"):
        open_file(media.video(tmp_path / "a.mp4", audio="only"), Span())


def test_what_has_no_stream_at_all_is_refused() -> None:
    """As RTSP with sound alone is seen, since only video is asked for."""
    with io.BytesIO() as file, av.open(file, "w", format="mp4") as nothing:
        with pytest.raises(InputError, match="^cam: no video stream in it, only sound or data; "):
            video_stream(nothing, "cam")


def test_a_picture_of_tiles_is_refused(tmp_path: Path) -> None:
    """FFmpeg takes each tile for a video, so the first would be taken for all of it."""
    with pytest.raises(InputError, match="HEIC.*JPEG"):
        open_file(media.heic(tmp_path / "photo.heic"), Span())


def test_cover_picture_is_not_a_video(tmp_path: Path) -> None:
    song = media.video(tmp_path / "song.mp4", audio="only")
    ok, cover = cv2.imencode(".png", media.quarters())
    assert ok
    path = tmp_path / "cover.mp4"
    with av.open(str(song)) as source, av.open(str(path), "w") as out:
        sound = out.add_stream_from_template(source.streams.audio[0])
        picture = out.add_stream("png", rate=1)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "rgb24"
        picture.disposition = av.stream.Disposition.attached_pic.value
        packet = av.Packet(cover.tobytes())
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = picture, 0, 0, True
        out.mux(packet)
        for part in source.demux(audio=0):
            if part.dts is not None:
                part.stream = sound
                out.mux(part)
    with pytest.raises(InputError, match="only a cover picture"):
        open_file(path, Span())


# ---------------------------------------------------------------------------------------- damage


def test_damage_in_the_middle_costs_few_frames(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a.mp4", 150, size_wh=(320, 240))
    frames, source = read(media.corrupt(path, 0.012, 0.3, 0.5))
    assert len(frames) >= 135 and media.naive_count(path) < 60
    assert source.status.bad_packets > 0
    assert any(f"{len(frames)} of 150 frames" in note for note in source.status.notes)
    assert all(a.time < b.time for a, b in itertools.pairwise(frames))


def test_what_needs_a_keyframe_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    options = {"g": "20", "bf": "0"}
    path = media.video(tmp_path / "a.ts", 40, codec="mpeg4", options=options)
    path.write_bytes(path.read_bytes()[10 * 188 :])
    frames, source = read(path)
    assert numbers(frames) == list(range(20, 40)) and 10 < source.status.bad_packets < 20


def test_damage_everywhere(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a.mp4", 150, size_wh=(320, 240))
    frames, source = read(media.corrupt(path, 0.02))
    assert len(frames) >= max(60, 3 * media.naive_count(path))
    assert source.status.bad_packets > 5


def test_damage_gives_the_same_bytes_every_time(tmp_path: Path) -> None:
    path = media.corrupt(media.video(tmp_path / "a.mp4", 90, size_wh=(320, 240)), 0.01, 0.5, 0.9)
    runs = [read(path) for _ in range(3)]
    sums = {tuple(hash(f.image.tobytes()) for f in frames) for frames, _ in runs}
    counts = {source.status.bad_packets for _, source in runs}
    assert len(sums) == 1 and len(counts) == 1 and counts != {0}


def test_a_mended_packet_has_room_to_read_on(tmp_path: Path) -> None:
    """Decoders read beyond the last byte: FFmpeg wants 64 zeros there."""
    with av.open(str(media.video(tmp_path / "a.mp4", 5))) as container:
        stream = container.streams.video[0]
        for packet in itertools.islice(container.demux(stream), 5):
            again = mended(packet, stream.codec_context)
            assert again is not None and bytes(again) == bytes(packet)
            assert ctypes.string_at(again.buffer_ptr + again.buffer_size, 64) == bytes(64)


def test_fast_decoding_gives_what_one_thread_gives(tmp_path: Path) -> None:
    path = media.corrupt(media.video(tmp_path / "a.mp4", 90, size_wh=(320, 240)), 0.01, 0.5, 0.9)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        status = SourceStatus()
        plain = [Upright()(frame).tobytes() for frame in decoded(container, stream, status)]
    frames, source = read(path)
    assert [f.image.tobytes() for f in frames] == plain
    assert source.status.bad_packets == status.bad_packets


def test_cut_with_its_index(tmp_path: Path) -> None:
    front = {"movflags": "faststart"}
    path = media.video(tmp_path / "a.mp4", 150, size_wh=(320, 240), container_options=front)
    frames, source = read(media.cut(path, 0.6))
    assert len(frames) >= 60 and numbers(frames)[:-2] == list(range(len(frames) - 2))
    (note,) = source.status.notes
    assert f"a.mp4: {len(frames)} of 150 frames" in note and "cut short" in note


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.webm"])
def test_cut_without_an_index_in_front(tmp_path: Path, name: str) -> None:
    codec = {"a.mkv": "libx264", "a.avi": "mpeg4", "a.webm": "libvpx-vp9"}[name]
    path = media.video(tmp_path / name, 60, size_wh=(160, 120), codec=codec)
    assert not is_cut(path)
    frames, source = read(media.cut(path, 0.6))
    assert 10 < len(frames) < 60 and is_cut(path)
    assert any(f"{len(frames)} of 60 frames" in note for note in source.status.notes)


@pytest.mark.parametrize("name", ["a.nut", "a.y4m"])
def test_what_only_looks_like_a_box_of_mp4_is_not_cut(tmp_path: Path, name: str) -> None:
    codec = {"a.nut": "ffv1", "a.y4m": "wrapped_avframe"}[name]
    path = media.video(tmp_path / name, 10, codec=codec)
    _, source = read(path)
    assert not is_cut(path) and source.status.damage == ""


def test_what_is_missing_within_a_matroska_file_is_told(tmp_path: Path) -> None:
    """FFmpeg goes on with the next cluster that it finds and says nothing."""
    options = {"cluster_time_limit": "300"}
    path = media.video(tmp_path / "a.mkv", 60, options={"g": "5"}, container_options=options)
    data = path.read_bytes()
    _, _, cluster, *_ = data.split(bytes.fromhex("1f43b675"))
    path.write_bytes(data.replace(bytes.fromhex("1f43b675") + cluster, bytes(4 + len(cluster))))
    frames, source = read(path)
    assert 40 < len(frames) < 60 and is_torn(path)
    assert source.status.damage == f"a.mkv: {len(frames)} of 60 frames; a part of it cannot be read"


@pytest.mark.parametrize("options", [{}, {"live": "1"}, {"write_crc32": "1"}])
def test_a_whole_matroska_file_is_not_torn(tmp_path: Path, options: dict[str, str]) -> None:
    path = media.video(tmp_path / "a.mkv", 20, container_options=options, audio="after")
    assert not is_torn(path)


def test_what_is_missing_within_a_transport_stream_is_told(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a.ts", 60, picture=noise, options={"g": "10"})
    data = path.read_bytes()
    middle = len(data) // 188 // 2 * 188
    path.write_bytes(data[:middle] + data[middle + 60 * 188 :])
    frames, source = read(path)
    assert len(frames) < 60 and "a.ts: " in source.status.damage
    _, both = read(media.joined(tmp_path / "b.ts", *[media.video(tmp_path / "c.ts", 20)] * 2))
    assert both.status.damage == ""  # where they meet, FFmpeg thinks that something is missing


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("left", [None, 0.5, 0.0])
def test_a_file_that_goes_or_shrinks_while_it_is_read(
    tmp_path: Path, name: str, left: float | None
) -> None:
    path = media.video(tmp_path / name, 60, picture=noise, options={"g": "10"})
    source = open_file(path, Span())
    frames = source.frames()
    next(frames)
    if left is None:
        path.unlink()
    else:
        os.truncate(path, int(path.stat().st_size * left))
    count = 1 + len(list(frames))
    if left is None:
        assert count == 60 and source.status.notes == []
    else:
        assert count < 60 and f"{count} of 60 frames" in source.status.damage
        assert source.status.damage.endswith("the file is cut short")


def test_no_index(tmp_path: Path) -> None:
    path = media.cut(media.video(tmp_path / "a.mp4", 60), 0.6)
    with pytest.raises(InputError, match="a.mp4: not finished by its recorder.*no index"):
        open_file(path, Span())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is not a video\n" * 50, "not a video"),
        (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00", "no index"),
        (b"ffconcat version 1.0\nfile a.mkv\n", "playlist"),
        (b"#EXTM3U\n#EXTINF:10,\na.ts\n#EXT-X-ENDLIST\n", "playlist"),
        (b'<?xml version="1.0"?>\n<MPD type="static"></MPD>', "playlist"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n", "playlist"),
        (bytes(range(256)) * 20, "not a video"),
    ],
)
def test_not_a_video(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        open_file(path, Span())
    assert "bad.mp4: " in str(caught.value) and "\n" not in str(caught.value)


def test_playlist_does_not_reach_its_neighbour(tmp_path: Path) -> None:
    media.video(tmp_path / "a.mkv", 3)
    path = tmp_path / "list.mp4"
    # A comment in front hides it from our own check; FFmpeg's format list must refuse it.
    path.write_text("ffconcat version 1.0\nfile a.mkv\n")
    from realtime.sources.container import OPTIONS

    with pytest.raises(av.error.FFmpegError):
        av.open(f"file:{path}", options=OPTIONS)
    with av.open(f"file:{path}") as container:  # without the list it would be read
        assert container.format.name == "concat"


def test_missing_folder_and_forbidden(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_file(tmp_path / "none.mp4", Span())
    with pytest.raises(InputError, match="is a folder"):
        open_file(tmp_path, Span())
    path = media.video(tmp_path / "a.mp4", 2)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(InputError, match="no permission"):
        open_file(path, Span())


@pytest.mark.parametrize(
    "name", ["Ünï 動画.mp4", "a:b.mp4", "50%03d.mp4", "-x.mp4", "[a]*.mp4", "new\nline.mp4"]
)
@pytest.mark.skipif(os.name == "nt", reason="such names are not possible on Windows")
def test_odd_names(tmp_path: Path, name: str) -> None:
    made = media.video(tmp_path / "a.mp4", 3)
    path = made.rename(tmp_path / name)
    frames, source = read(path)
    assert numbers(frames) == [0, 1, 2]
    assert "\n" not in source.info.name and source.info.name == shown(name)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["flip", "head", "cut", "zero", "insert"]))
def test_mutated_files_give_frames_or_an_input_error(
    mutants: list[Path], seed: int, kind: str
) -> None:
    rng = random.Random(seed)
    original = rng.choice(mutants)
    data = bytearray(original.read_bytes())
    if kind == "flip":
        for _ in range(rng.choice([1, 4, 16, 64])):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == "head":
        for _ in range(4):
            data[rng.randrange(200)] = rng.randrange(256)
            data[-1 - rng.randrange(min(len(data), 2000))] = rng.randrange(256)
    elif kind == "cut":
        del data[rng.randrange(len(data)) :]
    elif kind == "zero":
        place = rng.randrange(len(data))
        data[place : place + 512] = bytes(len(data[place : place + 512]))
    else:
        place = rng.randrange(len(data))
        data[place:place] = rng.randbytes(64)
    path = original.with_name("mutant" + original.suffix)
    path.write_bytes(data)
    times = []
    try:
        for frame in open_file(path, Span()).frames():
            times.append(frame.time)
    except InputError as error:
        assert "\n" not in str(error)
    assert all(a < b for a, b in itertools.pairwise(times)) and len(times) < 2000


@pytest.fixture(scope="module")
def mutants(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("mutants")
    return [
        media.video(folder / "a.mp4", 30, audio="first"),
        media.video(folder / "a.mkv", 30, stamps=[40 * i for i in range(30)]),
        media.video(folder / "a.ts", 30),
        media.video(folder / "a.mov", 10, codec="qtrle", pix_fmt="argb"),
    ]


# ---------------------------------------------------------------------------------------- spans


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """700 frames with a keyframe every 40, B-frames between."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    return media.video(path, 700, options={"g": "40", "bf": "3", "sc_threshold": "0"})


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span(), range(700)),
        (Span(10, 15), range(10, 15)),
        (Span(end=3), range(3)),
        (Span(stride=100), range(0, 700, 100)),
        (Span(5, None, 2), range(5, 700, 2)),
        (Span(1.0, 2.0), range(30, 60)),
        (Span(1.0, 40), range(30, 40)),
        (Span(690, 5000), range(690, 700)),
        (Span(400, 420), range(400, 420)),
        (Span(399, 402), range(399, 402)),
        (Span(20.01, 20.5, 3), range(601, 615, 3)),
        (Span(20.0, 20.1), range(600, 603)),
    ],
)
def test_spans(long: Path, span: Span, expected: range) -> None:
    frames, source = read(long, span)
    assert [f.index for f in frames] == numbers(frames) == list(expected)
    assert [f.time for f in frames] == pytest.approx([i / 30 for i in expected])
    assert source.info.frames == len(expected)
    assert source.info.start == pytest.approx(expected[0] / 30 if span.start else 0.0)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("start", [420, 13.37, 300, 599])
def test_seeking_gives_the_frames_of_decoding_from_the_start(
    tmp_path: Path, name: str, start: int | float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(5)
    stamps = list(itertools.accumulate(rng.choice([20, 33, 40]) for _ in range(600)))
    path = media.video(
        tmp_path / name, 600, stamps=stamps, options={"g": "60", "bf": "2"}, audio="first"
    )
    entry = seek.entry_before(path, start)
    assert entry is not None and entry.index >= seek.WORTH_IT
    sought, _ = read(path, Span(start))
    monkeypatch.setattr(seek, "WORTH_IT", 10**9)
    decoded_all, _ = read(path, Span(start))
    assert len(sought) > 0
    assert [(f.index, f.time) for f in sought] == [(f.index, f.time) for f in decoded_all]
    assert all((a.image == b.image).all() for a, b in zip(sought, decoded_all))
    assert numbers(sought) == [f.index for f in sought]


def test_a_frame_is_found_by_the_time_that_data_have_of_it(long: Path) -> None:
    """Which is rounded to microseconds."""
    times = [frame.time for frame in read(long)[0]]
    for n in (1, 2, 301):
        (frame, *_), _ = read(long, Span(round(times[n], 6), n + 2))
        (*_, last), _ = read(long, Span(n - 1, round(times[n], 6)))
        assert (frame.index, last.index) == (n, n - 1)


def test_seeking_is_faster_than_decoding(long: Path) -> None:
    entry = seek.entry_before(long, 640)
    assert entry is not None and entry.index == 640  # a keyframe every 40
    assert seek.entry_before(long, 639) == seek.Entry(entry.pts - 40 * 512, 600)


@pytest.mark.parametrize("name", ["a.ts", "a.avi"])
def test_no_seeking_where_numbers_cannot_be_known(tmp_path: Path, name: str) -> None:
    codec = "libx264" if name == "a.ts" else "mpeg4"
    path = media.video(tmp_path / name, 320, codec=codec)
    assert seek.entry_before(path, 300) is None
    frames, _ = read(path, Span(300))
    assert numbers(frames) == [f.index for f in frames] == list(range(300, 320))


def test_span_behind_the_end(long: Path) -> None:
    with pytest.raises(InputError, match="no frame between --start and --end"):
        list(open_file(long, Span(900)).frames())


@pytest.mark.parametrize(
    "span",
    [
        Span(-1), Span(float("nan")), Span(5, 5), Span(2.0, 1.0), Span(0, 0), Span(stride=0),
        Span(0, float("inf")), Span(0, -1.0),
    ],
)  # fmt: skip
def test_impossible_spans(long: Path, span: Span) -> None:
    with pytest.raises(UsageError):
        open_file(long, span)


# ------------------------------------------------------------------------- closing, pipes, rest


def test_closing_ends_the_frames(long: Path) -> None:
    source = open_file(long, Span())
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    assert len(list(frames)) == 0


def test_leaving_early_leaves_nothing_open(long: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    before = len(list(folder.iterdir()))
    for _ in range(5):
        frames = open_file(long, Span(400)).frames()
        next(frames)
        frames.close()
    assert len(list(folder.iterdir())) == before


needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")


@needs_fifo
def test_fifo_without_a_writer_ends_when_closed(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    source = open_file(path, Span())
    assert not source.info.live and source.info.size_wh is None
    got: list[Frame] = []
    thread = threading.Thread(target=lambda: got.extend(source.frames()))
    thread.start()
    time.sleep(0.2)
    assert thread.is_alive() and "waiting for a writer" in source.status.describe()
    source.close()
    thread.join(2)
    assert not thread.is_alive() and got == []


@needs_fifo
def test_fifo(tmp_path: Path) -> None:
    def wide(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(2)

    path, made = tmp_path / "pipe", media.video(tmp_path / "a.mkv", 20, change=wide)
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(made.read_bytes()))
    source = open_file(path, Span())
    writer.start()
    frames = list(source.frames())
    writer.join(2)
    assert numbers(frames) == list(range(20)) and {f.aspect for f in frames} == {2.0}
    assert source.info.rate == 30.0


@needs_fifo
@pytest.mark.parametrize(("front", "says"), [(False, "its index is at the end"), (True, "damaged")])
def test_why_no_frame_comes_out_of_a_pipe(tmp_path: Path, front: bool, says: str) -> None:
    """The index at the end, where it cannot be gone back from; in front of nothing that decodes."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    made = media.video(
        tmp_path / "a.mp4",
        30,
        (160, 120),
        picture=lambda *_: noise,
        options={"qp": "5", "g": "1"},
        container_options={"movflags": "faststart"} if front else {},
    ).read_bytes()
    assert len(made) > 8 * HEAD and has_index_last(made[:HEAD]) is not front
    sent = made[: made.index(b"mdat") + 4] if front else made
    path = tmp_path / "pipe"
    os.mkfifo(path)
    source = open_file(path, Span())

    def write() -> None:
        with suppress(BrokenPipeError):
            path.write_bytes(sent)

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(InputError, match=f"^{path}: .*{says}"):
        list(source.frames())
    writer.join(2)
    assert source.status.notes == []


def test_standard_input_may_be_a_socket(tmp_path: Path) -> None:
    """As that of children of Node.js is."""
    ours, theirs = socket.socketpair()
    before = os.dup(0)
    os.dup2(theirs.fileno(), 0)
    theirs.close()
    try:
        with ours:
            ours.sendall(media.video(tmp_path / "a.mkv", 5).read_bytes())
        frames, _ = read(Path(STANDARD_INPUT or ""))
    finally:
        os.dup2(before, 0)
        os.close(before)
    assert numbers(frames) == list(range(5))


def test_standard_input_is_told_as_it_was_asked_for() -> None:
    assert STANDARD_INPUT is None or shown(Path(STANDARD_INPUT)) == shown("-") == "-"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("rtsp://user:pw@host/a", "rtsp://***@host/a"),
        ("cannot open rtsp://user:p@ss/w:rd@host:554/a: refused", None),
        ("'http://u:p@h' and rtsp://a:b@c", "'http://***@h' and rtsp://***@c"),
        ("http://host/video?user=x&password=secret&n=1", None),
        (
            "http://h/a?access_token=secret&api_key=secret&n=1",
            "http://h/a?access_token=***&api_key=***&n=1",
        ),
        ("http://h/a?user=x&loginpas=secret& X-Amz-Signature=secret&", None),
        ("http://h/a?token=secret&t: refused, http://h/?auth=se: lost", None),
        ("http://h/a?token=se: refused", "http://h/a?token=***: refused"),
        ("srt://h:9000?passphrase=secret&n=1", "srt://h:9000?passphrase=***&n=1"),
        ("rtsp://h/a?authbasic=secret& http://h/a?credentials=secret&", None),
        ("udp://@239.1.1.1:5000?pkt_size=1316", "udp://@239.1.1.1:5000?pkt_size=1316"),
        ("rtsp://host:554/a no secret", "rtsp://host:554/a no secret"),
        (f"--output {Path('rtsp://user:pw@host/a')}", None),
        (f"{Path('C:/me@home/a.mp4')}", str(Path("C:/me@home/a.mp4"))),
    ],
)
def test_credentials_are_masked(text: str, masked: str | None) -> None:
    result = mask_credentials(text)
    assert not any(secret in result for secret in ("pw", "p@ss", "w:rd", "secret&", "u:p", "a:b"))
    assert masked is None or result == masked


@given(st.text(st.characters(blacklist_categories=["Z", "C"]), min_size=1).filter(str.isprintable))
def test_no_password_survives(password: str) -> None:
    secret = f"<{password}>"
    assert secret not in mask_credentials(f"opening rtsp://user:{secret}@host/live failed")


# ----------------------------------------------------------------------------------- real clips


def test_real_clips(shared: Path) -> None:
    squats, _ = read(shared / "clips/tfjs_squats_h264.mp4", Span(0, 3))
    for turn in (90, 180, 270):
        turned, _ = read(shared / f"clips/made_rot{turn}_squats.mp4", Span(0, 3))
        for a, b in zip(squats, turned):
            assert a.time == b.time and a.size_wh == b.size_wh
            assert abs(a.image.astype(int) - b.image).mean() < 4


@pytest.fixture
def shared() -> Path:
    path = Path(os.environ.get("POSESTREAM_SHARED", Path(__file__).parents[2] / "shared"))
    if not (path / "clips").is_dir():
        pytest.skip("the real clips are not here")
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.avi", "sound.mkv"])
def test_a_file_without_pictures_is_not_called_damaged(tmp_path: Path, name: str) -> None:
    """Of a recorder that wrote the beginning and no frame."""
    if name == "sound.mkv":
        path = media.video(tmp_path / name, 0, audio="after")
    else:
        path = tmp_path / name
        with av.open(str(path), "w") as out:
            stream = out.add_stream("mpeg4", rate=30)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            out.start_encoding()
    with pytest.raises(InputError, match="holds no pictures"):
        open_file(path, Span())

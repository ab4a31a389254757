"""Streams and files over loopback servers, with real encoded video."""

from __future__ import annotations

import errno
import io
import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import media
import numpy as np
import pytest
from fake_camera import Soon
from servers import http_server, number_of, picture, rtp_sender, tcp_server, write_video

from realtime.errors import InputError, SourceLost
from realtime.records import Frame
from realtime.sources import backlog, network, stream
from realtime.sources.base import Source, Span
from realtime.sources.network import Timeouts
from realtime.sources.url import is_url, open_url
from realtime.sources.waiting import Backoff

QUICK = Timeouts(open=1.0, read=0.5)
FRAMES = 20  # of the clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "clip.mp4", FRAMES)
    write_video(folder / "slow.mp4", FRAMES, fast=False)
    write_video(folder / "clip.ts", FRAMES)
    write_video(folder / "wide.ts", FRAMES, (96, 64))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def reading(source: Source) -> Iterator[Generator[Frame, None, None]]:
    frames = source.frames()
    try:
        yield frames
    finally:
        source.close()
        frames.close()


def live(url: str, most: int | None = None, timeouts: Timeouts = QUICK, **more: object) -> Source:
    return open_url(url, max_reconnects=most, timeouts=timeouts, backoff=Soon(), **more)  # type: ignore[arg-type]


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


# Addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://cam/1", True),
        ("HTTP://host/a.mp4", True),
        ("srt://host:1", True),
        ("file:///etc/passwd", True),
        ("walk.mp4", False),
        ("C:/videos/walk.mp4", False),
        (r"C:\videos\walk.mp4", False),
        ("a folder/with://odd name", False),
        ("demo", False),
        ("", False),
    ],
)
def test_is_url(text: str, expected: bool) -> None:
    assert is_url(text) is expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///etc/passwd", "by its path"),
        ("ftp://host/a.mp4", "ftp:// is not a stream"),
        ("concat://a.mp4|b.mp4", "concat:// is not a stream"),
        ("rtsp:///cam", "no host"),
        ("tcp://host", "no port"),
        ("rtp://239.1.1.1", "no port"),
        ("tcp://u:p@host/x", "no port"),
        ("http://host/live/index.m3u8?x=1", "playlist"),
        ("https://host/a.MPD", "playlist"),
    ],
)
def test_addresses_that_cannot_work(url: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_url(url)


def test_a_host_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg says Input/output error, of this and of much else."""

    def opened(*_: Any, **__: Any) -> None:
        raise av.error.FFmpegError(errno.EIO, "Input/output error")

    def no_address(*_: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(av, "open", opened)
    monkeypatch.setattr(network.socket, "getaddrinfo", lambda *_: ["an address"])
    with pytest.raises(InputError, match="cannot be reached, or broke off"):
        open_url("rtsp://me:secret@camra.invalid/x", wait=False)
    monkeypatch.setattr(network.socket, "getaddrinfo", no_address)
    with pytest.raises(InputError, match="its host is not known: a typo, or no network") as caught:
        open_url("rtsp://me:secret@camra.invalid/x", wait=False)
    assert "secret" not in str(caught.value)


def test_nothing_is_opened_before_reading_a_live_address(clips: dict[str, bytes]) -> None:
    with tcp_server(clips["clip.ts"]) as server:
        source = live(server.url)
        assert (
            source.info.live and source.info.kind == "url" and source.status.state == "connecting"
        )
        source.close()
        assert server.accepted == 0


# Live


def test_an_end_is_a_disconnect_and_frames_go_on(clips: dict[str, bytes]) -> None:
    with tcp_server(clips["clip.ts"]) as server, reading(live(server.url)) as frames:
        got = list(itertools.islice(frames, 2 * FRAMES + 1))
    assert [f.index for f in got] == list(range(2 * FRAMES + 1))
    one = [n % 16 for n in range(FRAMES)]
    assert [number_of(f.image) for f in got] == [*one, *one, 0]
    assert server.accepted == 3
    assert got[0].time == 0.0 and all(a.time < b.time for a, b in zip(got, got[1:]))


def test_a_stall_is_seen_and_overcome(clips: dict[str, bytes]) -> None:
    with tcp_server(clips["clip.ts"], "stall", 0.8) as server:
        server.plan = [(clips["clip.ts"], "stall"), (b"", "stall")]
        source = live(server.url, timeouts=Timeouts(open=0.4, read=0.8))
        source.status.stall_after = 0.3
        got: list[Frame] = []
        reader = threading.Thread(target=lambda: got.extend(source.frames()), daemon=True)
        reader.start()
        for state in ("live", "stalled", "live"):
            assert until(lambda s=state: source.status.state == s), source.status.describe()
        assert source.status.reconnects == 1 and server.accepted == 3
        source.close()
        reader.join(5)
    steps = np.diff([f.time for f in got])
    assert steps.min() > 0 and 1.0 < steps.max() < 4.0  # the gap is in the times


@pytest.mark.parametrize("then", ["reset", "trickle", "close"])
def test_broken_connections_are_made_again(clips: dict[str, bytes], then: str) -> None:
    with tcp_server(clips["clip.ts"], then, 0.1) as server, reading(live(server.url)) as frames:
        got = list(itertools.islice(frames, FRAMES + 5))
        assert server.accepted == 2 and len(got) == FRAMES + 5


def test_garbage_is_survived(clips: dict[str, bytes]) -> None:
    noise = np.random.default_rng(0).bytes(50_000)
    with tcp_server(clips["clip.ts"], seconds=0.1) as server:
        server.plan = [(noise, "close"), (clips["clip.ts"][:6000] + noise, "close")]
        with reading(live(server.url)) as frames:
            got = list(itertools.islice(frames, FRAMES + 2))
        assert server.accepted >= 3 and len(got) == FRAMES + 2


def test_what_is_lost_on_the_way_is_counted(clips: dict[str, bytes]) -> None:
    """By UDP: decoders make up for it without a word."""
    data = clips["clip.ts"]
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    ours = [n for n, packet in enumerate(packets) if packet[1] & 31 == 1 and packet[2] == 0]  # PID
    del packets[ours[len(ours) // 2]]
    with tcp_server(b"".join(packets)) as server:
        source = live(server.url)
        with reading(source) as frames:
            assert len(list(itertools.islice(frames, FRAMES - 3))) == FRAMES - 3
        assert source.status.bad_packets == 1


def test_another_size_after_reconnecting(clips: dict[str, bytes]) -> None:
    with tcp_server(clips["wide.ts"], seconds=0.1) as server:
        server.plan = [(clips["clip.ts"], "close")]
        with reading(live(server.url)) as frames:
            got = list(itertools.islice(frames, FRAMES + 3))
    assert {f.size_wh for f in got} == {(64, 48), (96, 64)}


def test_the_video_of_a_transport_stream_gets_another_pid(
    tmp_path: Path, clips: dict[str, bytes]
) -> None:
    """FFmpeg holds the last frame before back, like the last of all."""
    moved = write_video(tmp_path / "moved.ts", FRAMES, mux={"mpegts_start_pid": "0x200"})
    with tcp_server(clips["clip.ts"] + moved.read_bytes(), "stall", 0.1) as server:
        with reading(live(server.url)) as frames:
            got = [number_of(f.image) for f in itertools.islice(frames, 2 * FRAMES - 3)]
    assert got == [n % 16 for n in (*range(FRAMES - 1), *range(FRAMES - 2))]


def test_another_codec_is_noticed(
    tmp_path: Path, clips: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same PID, where it reaches the decoder of before."""
    monkeypatch.setattr(stream, "CHANGED", 0.2)
    options = {"x265-params": "bframes=0:keyint=5:log-level=none"}
    wide = media.video(tmp_path / "wide.ts", 50, (96, 64), "libx265", options=options).read_bytes()
    with tcp_server(wide, "stall", 0.8) as server:
        server.plan = [(clips["clip.ts"] + wide, "stall")]
        source = live(server.url, timeouts=Timeouts(1.0, 3.0))
        with reading(source) as frames:
            start = time.monotonic()
            assert next(frames).size_wh == (64, 48)
            assert {f.size_wh for f in itertools.islice(frames, FRAMES)} == {(64, 48), (96, 64)}
            assert time.monotonic() - start < 2.5 and source.status.reconnects == 1


def test_a_server_that_comes_up_later_is_waited_for(clips: dict[str, bytes]) -> None:
    with tcp_server(clips["clip.ts"], up=False) as server:
        source = live(server.url)
        with reading(source) as frames:
            threading.Timer(0.6, server.up).start()
            first = next(frames)
        assert first.index == 0 and first.time == 0.0 and source.status.reconnects == 0


def test_a_file_whose_server_comes_up_later_is_not_read_for_ever(clips: dict[str, bytes]) -> None:
    with http_server({}) as server:
        source = live(f"{server.url}/clip.mp4")
        server.files["/clip.mp4"] = clips["clip.mp4"]
        with (
            reading(source) as frames,
            pytest.raises(InputError, match=r"clip.mp4: is a file, not"),
        ):
            next(frames)


def test_a_server_that_goes_and_comes_back(clips: dict[str, bytes]) -> None:
    with tcp_server(clips["clip.ts"] * 50, seconds=25) as server:
        source = live(server.url)
        with reading(source) as frames:
            next(frames)
            server.down()
            threading.Timer(0.5, server.up).start()
            start = time.monotonic()
            while source.status.reconnects == 0 or source.status.state != "live":
                next(frames)
            assert time.monotonic() - start < 5


def test_without_waiting_the_first_failure_is_an_input_error(clips: dict[str, bytes]) -> None:
    with tcp_server(clips["clip.ts"], up=False) as server:
        start = time.monotonic()
        with pytest.raises(InputError, match="connection refused; start it first, .*--no-wait"):
            open_url(server.url, wait=False)
        assert time.monotonic() - start < 2
        server.up()
        with reading(open_url(server.url, wait=False)) as frames:
            assert number_of(next(frames).image) == 0
            assert server.accepted == 1  # the connection made for looking is the one read


def test_a_silent_server_is_no_server_without_waiting() -> None:
    with tcp_server(b"", "stall") as server:
        with pytest.raises(InputError, match="no answer for 0.5 s"):
            open_url(server.url, wait=False, timeouts=Timeouts(0.5, 0.5))


def test_lost_beyond_the_limit(clips: dict[str, bytes]) -> None:
    with tcp_server(clips["clip.ts"], seconds=0.1) as server:
        source = live(server.url, most=2)
        with reading(source) as frames, pytest.raises(SourceLost, match="connection refused"):
            next(frames)
            server.down()
            list(frames)
        assert source.status.state == "lost"


def test_close_ends_the_wait_at_once() -> None:
    with tcp_server(b"", up=False) as server:
        source = open_url(server.url)
        reader = threading.Thread(target=lambda: list(source.frames()), daemon=True)
        reader.start()
        assert until(lambda: "refused" in source.status.describe())
        start = time.monotonic()
        source.close()
        reader.join(5)
        assert not reader.is_alive() and time.monotonic() - start < 0.5
        assert source.status.state == "ended"


def test_close_returns_while_the_reader_is_blocked(clips: dict[str, bytes]) -> None:
    with tcp_server(clips["clip.ts"], "stall", 0.1) as server:
        source = open_url(server.url, timeouts=Timeouts(1.0, 1.5))
        reader = threading.Thread(target=lambda: list(source.frames()), daemon=True)
        reader.start()
        assert until(lambda: source.status.state == "live")
        time.sleep(0.3)
        start = time.monotonic()
        source.close()
        source.close()
        assert time.monotonic() - start < 0.2
        reader.join(5)  # the read timeout frees it
        assert not reader.is_alive()


def test_the_part_of_a_stream(clips: dict[str, bytes]) -> None:
    with tcp_server(clips["clip.ts"], seconds=0.1) as server:
        source = live(server.url, span=Span(3, 12, 4))
        assert [f.index for f in source.frames()] == [3, 7, 11]


def test_reconnecting_leaks_nothing(clips: dict[str, bytes]) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files are counted in /proc")

    def resources() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    with tcp_server(clips["clip.ts"], seconds=0.0) as server:
        with reading(live(server.url)) as frames:
            list(itertools.islice(frames, 2 * FRAMES))
            before = resources()
            list(itertools.islice(frames, 15 * FRAMES))
            assert until(lambda: abs(resources()[0] - before[0]) <= 2)
        assert server.accepted >= 17
    assert until(lambda: resources()[1] <= before[1])


def test_sound_alone_is_no_sign_of_life(tmp_path: Path) -> None:
    path = tmp_path / "sound.ts"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"tune": "zerolatency", "g": "5"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("mp2", rate=48000, layout="mono")
        for n in range(200):  # the picture stops after 10 frames, the sound goes on for 8 s
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), "s16", "mono")
            samples.sample_rate, samples.pts = 48000, n * 1920
            out.mux(sound.encode(samples))
            if n < 10:
                frame = av.VideoFrame.from_ndarray(picture(n, (64, 48)), format="bgr24")
                frame.pts = n
                out.mux(video.encode(frame))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))
    with tcp_server(path.read_bytes(), "stall", 3.0) as server:
        source = live(server.url, most=0, timeouts=Timeouts(1.0, 1.0))
        start = time.monotonic()
        with reading(source) as frames, pytest.raises(SourceLost, match="no data for 1 s"):
            list(frames)
        assert time.monotonic() - start < 2.5  # not after the sound


def widened(path: Path) -> bytes:
    """A film whose pixels are one and a half times as wide as high."""

    def wide(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)

    return media.video(path, 20, size_wh=(96, 48), change=wide).read_bytes()


def test_pixels_of_a_stream_that_are_no_squares_are_told(tmp_path: Path) -> None:
    with tcp_server(widened(tmp_path / "a.ts")) as server, reading(live(server.url)) as frames:
        assert next(frames).aspect == 1.5


# Web servers


def test_pixels_that_are_no_squares_are_told(tmp_path: Path) -> None:
    with http_server({"/a.mp4": widened(tmp_path / "a.mp4")}) as server:
        with reading(open_url(f"{server.url}/a.mp4")) as frames:
            assert {frame.aspect for frame in frames} == {1.5}


def test_a_file_on_a_web_server_is_read_once(clips: dict[str, bytes]) -> None:
    with http_server({"/clip.mp4": clips["clip.mp4"]}) as server:
        source = open_url(f"{server.url}/clip.mp4")
        got = list(source.frames())
        source.close()
        assert not source.info.live and source.info.frames == FRAMES
        assert source.info.rate == 25.0 and source.status.state == "ended"
        assert [number_of(f.image) for f in got] == [n % 16 for n in range(FRAMES)]
        assert [f.time for f in got] == pytest.approx([n / 25 for n in range(FRAMES)])
        assert source.status.notes == [] and source.status.reconnects == 0


def test_a_paused_file_is_not_stalled_but_a_silent_server_is(clips: dict[str, bytes]) -> None:
    data = clips["clip.mp4"]
    with http_server({"/clip.mp4": data}) as server:
        server.cut = [len(data) * 9 // 10] * 50
        server.then_stall = True
        source = open_url(f"{server.url}/clip.mp4", timeouts=QUICK)
        source.status.stall_after = 0.1
        with closing(source.frames()) as frames:
            next(frames)
            time.sleep(0.2)
            assert source.status.state == "live"
            rest = threading.Thread(target=lambda: pytest.raises(SourceLost, list, frames))
            rest.start()
            assert until(lambda: source.status.state == "stalled")
            rest.join(5)


def test_a_file_with_its_index_at_the_end(clips: dict[str, bytes]) -> None:
    with http_server({"/slow.mp4": clips["slow.mp4"]}) as server:
        assert len(list(open_url(f"{server.url}/slow.mp4", wait=False).frames())) == FRAMES
    at = clips["slow.mp4"].index(b"moov") - 4  # farther from the pictures than what is buffered
    empty = (1 << 20).to_bytes(4, "big") + b"free" + bytes((1 << 20) - 8)
    data = clips["slow.mp4"][:at] + empty + clips["slow.mp4"][at:]
    with http_server({"/slow.mp4": data}, ranges=False) as server:
        with pytest.raises(InputError, match="its index is at the end, and this server"):
            list(open_url(f"{server.url}/slow.mp4").frames())


def test_the_part_of_a_file(clips: dict[str, bytes]) -> None:
    with http_server({"/clip.mp4": clips["clip.mp4"]}) as server:
        source = open_url(f"{server.url}/clip.mp4", Span(0.2, 0.6, 3))
        got = list(source.frames())
        assert [f.index for f in got] == [5, 8, 11, 14]
        assert source.info.start == pytest.approx(0.2)


def test_a_file_goes_on_after_a_broken_connection(clips: dict[str, bytes]) -> None:
    data = clips["clip.mp4"]
    with http_server({"/clip.mp4": data}) as server:
        server.cut = [len(data) // 2]
        assert len(list(open_url(f"{server.url}/clip.mp4").frames())) == FRAMES
        assert len(server.requests) >= 2


@pytest.mark.parametrize("name", ["a.h264", "a.mjpeg", "a.ts", "a.flv", "a.webm"])
def test_a_file_without_a_known_duration_is_one(tmp_path: Path, name: str) -> None:
    """Of a server that cannot jump, so that it is not found at the end either."""
    codec = {"a.mjpeg": "mjpeg", "a.webm": "libvpx"}.get(name, "libx264")
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = {"live": "1"} if name == "a.webm" else {}
    path = media.video(tmp_path / name, 20, codec=codec, pix_fmt=pixels, container_options=options)
    with http_server({f"/{name}": path.read_bytes()}, ranges=False) as server:
        source = open_url(f"{server.url}/{name}")
        assert not source.info.live
        assert len(list(source.frames())) == 20 and not source.status.damage


def test_a_file_whose_size_the_server_does_not_know(clips: dict[str, bytes]) -> None:
    with http_server({"/clip.mp4": clips["clip.mp4"]}, live=True) as server:
        source = open_url(f"{server.url}/clip.mp4")
        assert not source.info.live
        with reading(source) as frames:
            assert len(list(frames)) == FRAMES
    with http_server({"/cam": growing(FRAMES)}, live=True) as server:
        source = open_url(f"{server.url}/cam")
        assert source.info.live  # a camera that sends an mp4 without an end
        source.close()


def growing(count: int) -> bytes:
    """An mp4 as it is sent while it is made: in fragments, without a duration."""
    with io.BytesIO() as file:
        moved = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        with av.open(file, "w", format="mp4", options=moved) as out:
            stream = out.add_stream("libx264", rate=25, options={"g": "5"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for n in range(count):
                frame = av.VideoFrame.from_ndarray(picture(n, (64, 48)), format="bgr24")
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        return file.getvalue()


def test_frames_that_an_edit_list_leaves_out_are_no_damage(tmp_path: Path) -> None:
    """Those before where somebody trimmed a film, after a keyframe."""
    path = media.video(tmp_path / "a.mp4", 40, options={"g": "40", "bf": "0"})
    data = path.read_bytes()
    at = data.index(b"elst") + 4 + 4 + 4 + 4  # version, count, duration: then the first time shown
    assert int.from_bytes(data[at : at + 4], "big") == 0
    ticks = av.open(str(path)).streams.video[0].time_base.denominator
    data = data[:at] + (ticks // 3).to_bytes(4, "big") + data[at + 4 :]
    with http_server({"/a.mp4": data}) as server:
        source = open_url(f"{server.url}/a.mp4")
        count = len(list(source.frames()))
        assert source.info.frames == 40 and count == 30 and source.status.notes == []


def test_a_cut_file_gives_what_is_there_and_says_so(clips: dict[str, bytes]) -> None:
    data = clips["clip.mp4"][: len(clips["clip.mp4"]) * 2 // 3]
    with http_server({"/clip.mp4": data}) as server:
        source = open_url(f"{server.url}/clip.mp4")
        count = len(list(source.frames()))
        assert 3 < count < FRAMES
        (note,) = source.status.notes
        assert note.startswith(f"{server.url}/clip.mp4: {count} of {FRAMES} frames")


def test_a_part_beyond_the_end_is_an_error(clips: dict[str, bytes]) -> None:
    with http_server({"/clip.mp4": clips["clip.mp4"]}) as server:
        with pytest.raises(InputError, match="no frame between --start and --end"):
            list(open_url(f"{server.url}/clip.mp4", Span(1000)).frames())


def test_a_server_that_stops_in_the_middle_of_a_file(clips: dict[str, bytes]) -> None:
    data = clips["clip.mp4"]
    with http_server({"/clip.mp4": data}) as server:
        server.cut = [len(data) // 2] * 50
        server.then_stall = True
        source = open_url(f"{server.url}/clip.mp4", timeouts=QUICK)
        with pytest.raises(SourceLost, match="no data for 0.5 s; lost after [0-9]+ frames"):
            list(source.frames())
        assert source.status.state == "lost"


def test_closing_an_unread_file_closes_its_connection(clips: dict[str, bytes]) -> None:
    with http_server({"/clip.mp4": clips["clip.mp4"]}) as server:
        source = open_url(f"{server.url}/clip.mp4")
        source.close()
        source.close()
        assert list(source.frames()) == []


def test_without_a_length_it_is_live(clips: dict[str, bytes]) -> None:
    with http_server({"/cam": clips["clip.ts"]}, live=True) as server:
        source = open_url(f"{server.url}/cam", backoff=Soon())
        assert source.info.live
        with reading(source) as frames:
            assert len(list(itertools.islice(frames, FRAMES + 5))) == FRAMES + 5
        assert source.status.reconnects == 1


def jpegs(count: int) -> bytes:
    """What a web camera sends: JPEGs, one part of the answer each."""
    parts = []
    for n in range(count):
        jpeg = cv2.imencode(".jpg", picture(n, (64, 48)))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        parts.append(head.encode() + jpeg + b"\r\n")
    return b"".join(parts)


def test_a_web_camera_that_sends_jpegs() -> None:
    with http_server({"/cam.mjpeg": jpegs(FRAMES)}, live=True) as server:
        with reading(open_url(f"{server.url}/cam.mjpeg", backoff=Soon())) as frames:
            got = list(itertools.islice(frames, FRAMES + 2))
    assert [number_of(f.image) for f in got[: FRAMES - 2]] == [n % 16 for n in range(FRAMES - 2)]


def test_times_of_a_web_camera_are_those_of_its_pictures() -> None:
    with http_server({"/cam.mjpeg": jpegs(40)}, live=True) as server:  # in half a second
        with reading(open_url(f"{server.url}/cam.mjpeg", backoff=Soon())) as frames:
            got = [(frame.time, time.monotonic()) for frame in itertools.islice(frames, 38)]
    (first, began), (last, ended) = got[0], got[-1]
    assert last - first == pytest.approx(ended - began, abs=0.1)  # not as if there were 25 a second


@pytest.mark.parametrize(("payload", "says"), [(33, ""), (96, "only MPEG-TS can be read")])
def test_rtp_without_a_description(clips: dict[str, bytes], payload: int, says: str) -> None:
    with rtp_sender(clips["clip.ts"], payload) as address:
        with reading(live(address, most=2, timeouts=Timeouts(2.0, 1.0))) as frames:
            if not says:
                assert next(frames).size_wh == (64, 48)
                return
            with pytest.raises(SourceLost, match=says):
                next(frames)


def test_what_came_before_it_was_read_is_too_old(clips: dict[str, bytes]) -> None:
    with tcp_server(clips["clip.ts"], "stall", 1.6) as server:
        source = live(server.url, wait=False)
        time.sleep(1.0)  # the networks are loaded
        with reading(source) as frames:
            first = next(frames)
    assert number_of(first.image) > FRAMES // 3 and first.index == 0 and first.time == 0


def test_what_comes_faster_than_it_is_decoded_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "LATE", 0.4)
    monkeypatch.setattr(backlog, "BUSY", 0.3)
    clip = write_video(tmp_path / "clip.ts", 60).read_bytes()
    with tcp_server(clip, "stall", 2.4) as server:
        source, numbers = live(server.url), []
        with reading(source) as frames:
            began = time.monotonic()
            while time.monotonic() < began + 2.3:
                numbers.append(number_of(next(frames).image))
                time.sleep(0.1)  # in the place of a picture that takes so long to decode
    assert any("comes faster than it can be decoded" in note for note in source.status.notes)
    steps = np.diff(numbers) % 16
    assert (steps > 1).any() and np.median(steps) == 1


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4", "libx264", "libx265"])
def test_frames_that_are_sent_in_another_order(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "b.ts"
    options = {"bf": "2", "b_strategy": "0", "q": "2"}
    options |= {"x265-params": "bframes=2:b-adapt=0:log-level=none"} if codec == "libx265" else {}
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(15):
            frame = av.VideoFrame.from_ndarray(picture(n, (64, 48)), format="bgr24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with tcp_server(path.read_bytes(), "stall", 0.6) as server:
        with reading(live(server.url)) as frames:
            got = [number_of(f.image) for f in itertools.islice(frames, 10)]
    assert got == sorted(set(got))


@pytest.mark.parametrize(
    ("path", "says"), [("/status/401", "401"), ("/nothing", "404"), ("/status/503", "5XX")]
)
def test_refusals_are_named_and_asked_again_slowly(path: str, says: str) -> None:
    with http_server({}) as server:
        backoff = Backoff(random=lambda: 0.0)
        source = open_url(server.url.replace("//", "//me:secret@") + path, backoff=backoff)
        reader = threading.Thread(target=lambda: list(source.frames()), daemon=True)
        reader.start()
        assert until(lambda: says in source.status.describe())
        source.close()
        reader.join(5)
        assert [backoff.next() for _ in range(5)][-1] == 30.0  # not the 5 s of a silent server
        with pytest.raises(InputError, match=says):
            open_url(server.url + path, wait=False)


def test_what_is_no_video_is_an_error_even_when_waiting(tmp_path: Path) -> None:
    secret = write_video(tmp_path / "secret.ts", 5)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n"
    files = {
        "/list": playlist.encode(),
        "/list.txt": f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        "/page": b"<html><body>" + b"sign in " * 500 + b"</body></html>",
    }
    with http_server(files) as server:
        server.location = secret.as_uri()
        for path in (*files, "/redirect/"):
            with pytest.raises(InputError, match="not a video|is not a video stream"):
                open_url(server.url + path)


def test_a_stream_without_pictures(tmp_path: Path) -> None:
    path = tmp_path / "sound.ts"
    with av.open(str(path), "w") as out:
        sound = out.add_stream("mp2", rate=48000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), "s16", "mono")
        samples.sample_rate = 48000
        out.mux(sound.encode(samples))
        out.mux(sound.encode(None))
    with http_server({"/sound.ts": path.read_bytes()}) as server:
        with pytest.raises(InputError, match="no video stream in it, only audio; give one with"):
            open_url(f"{server.url}/sound.ts")
    with tcp_server(path.read_bytes()) as server:
        with reading(live(server.url, most=0)) as frames:
            with pytest.raises(SourceLost, match="no video stream"):
                next(frames)


# Secrets


@pytest.mark.parametrize("secret", ["hunter2", "p@ss/w:rd", "a@b@c"])
def test_passwords_are_nowhere(secret: str, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
    said = []
    with caplog.at_level(logging.DEBUG):
        for url in (f"rtsp://admin:{secret}@{place}/cam", f"tcp://admin:{secret}@{place}"):
            with pytest.raises(InputError) as failed:
                open_url(url, wait=False)
            source = live(url, most=1)
            with pytest.raises(SourceLost) as lost:
                list(source.frames())
            said += [repr(source.info), source.status.describe(), *source.status.notes]
            for error in (failed.value, lost.value):
                said += [str(error), repr(error.__cause__)]
    said += [r.getMessage() + str(r.exc_info) for r in caplog.records]
    assert place in "".join(said)
    assert not any(secret in line or "admin" in line for line in said)

"""Cameras without hardware: a fake capture with scripted faults behind the real source."""

from __future__ import annotations

import itertools
import logging
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pytest
from fake_camera import FakeCamera, FakeClock, Soon, linux_devices

from realtime.errors import InputError, SourceLost, UsageError
from realtime.records import Frame
from realtime.sources.base import Source, Span
from realtime.sources.camera import CameraMode, list_cameras, open_camera
from realtime.sources.capture import Opener, backends
from realtime.sources.devices import Devices
from realtime.sources.picture_watch import PictureWatch

ELSEWHERE = Devices(known=False)  # a system that does not list its cameras


def opener(camera: FakeCamera, devices: Devices = ELSEWHERE, within: float = 10.0) -> Opener:
    return Opener(capture=camera, devices=devices, within=within)


def first(source: Source, count: int) -> list[Frame]:
    frames = source.frames()
    try:
        return list(itertools.islice(frames, count))
    finally:
        frames.close()


def test_frames_are_numbered_and_timed_from_the_first() -> None:
    camera = FakeCamera()
    source = open_camera(0, opener=opener(camera))
    frames = first(source, 5)
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert frames[0].time == 0.0
    assert all(a.time < b.time < 1.0 for a, b in zip(frames, frames[1:]))
    assert frames[0].image[0, 0, 0] == 41  # picture 0 proved that the camera works
    assert source.info.live and source.info.kind == "camera" and source.info.size_wh == (64, 48)
    assert source.status.state == "ended" and camera.released == 1


def test_the_mode_is_asked_format_first_then_size_then_rate() -> None:
    camera = FakeCamera()
    wish = Opener(CameraMode((640, 480), 60.0), camera, ELSEWHERE)
    source = open_camera(0, opener=wish)
    mjpg = cv2.VideoWriter.fourcc(*"MJPG")
    assert camera.asked[:4] == [
        (cv2.CAP_PROP_FOURCC, mjpg),
        (cv2.CAP_PROP_FRAME_WIDTH, 640),
        (cv2.CAP_PROP_FRAME_HEIGHT, 480),
        (cv2.CAP_PROP_FPS, 60.0),
    ]
    assert source.info.rate == 60.0


def test_what_was_not_granted_is_said_in_one_note() -> None:
    source = open_camera(0, opener=opener(FakeCamera(obeys=False)))
    (note,) = source.status.notes
    assert "asked for 1280x720 at 30 fps MJPG, granted 64x48 at 25 fps YUYV" in note
    assert source.info.rate == 25.0


@pytest.mark.parametrize("rate", [0.0, float("nan"), 90_000.0])
def test_an_unbelievable_rate_is_not_known(rate: float) -> None:
    camera = FakeCamera()
    source = open_camera(0, opener=Opener(CameraMode(None, rate or 1e-9), camera, ELSEWHERE))
    assert source.info.rate is None


def test_backends_of_this_system() -> None:
    wanted = {
        "linux": [cv2.CAP_V4L2],
        "darwin": [cv2.CAP_AVFOUNDATION],
        "win32": [cv2.CAP_DSHOW, cv2.CAP_MSMF],
    }
    assert backends() == wanted.get(sys.platform, [cv2.CAP_V4L2])


# Opening that fails


def test_no_such_camera(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^no camera 0 \(found: none\); .*--input demo$"):
        open_camera(0, opener=opener(FakeCamera(), linux_devices(tmp_path, {})))
    devices = linux_devices(tmp_path, {1: "HD Webcam", 3: "Capture Card"})
    with pytest.raises(InputError, match=r"\(found: 1 HD Webcam, 3 Capture Card\)"):
        open_camera(0, opener=opener(FakeCamera(), devices))


@pytest.mark.parametrize("span", [Span(20.0, 10.0), Span(end=0), Span(stride=0)])
def test_a_part_that_cannot_be_is_refused(span: Span) -> None:
    with pytest.raises(UsageError, match="--end|--stride"):
        open_camera(0, span=span)


def test_the_metadata_node_of_a_webcam_is_no_camera(tmp_path: Path) -> None:
    devices = linux_devices(tmp_path, {0: "HD Webcam", 1: "HD Webcam"})
    (devices.names / "video1" / "index").write_text("1\n")
    assert devices.found() == {0: "HD Webcam"}


@pytest.mark.parametrize("camera", [FakeCamera(present=False), FakeCamera(silent_from=0)])
def test_a_camera_that_gives_no_picture(camera: FakeCamera, tmp_path: Path) -> None:
    devices = linux_devices(tmp_path, {0: "HD Webcam"})
    with pytest.raises(InputError, match="camera 0 gives no picture; unplug it"):
        open_camera(0, opener=opener(camera, devices, within=0.3))
    assert camera.released == camera.present


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = linux_devices(tmp_path, {0: "HD Webcam"})
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may open everything
    with pytest.raises(InputError, match=r"no permission to open .*video0; .*group video"):
        open_camera(0, opener=opener(FakeCamera(), devices))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_who_uses_a_camera_is_named(tmp_path: Path) -> None:
    devices = linux_devices(tmp_path, {0: "HD Webcam"})
    assert devices.users(0) == "another program" and not devices.busy(0)
    with devices.node(0).open("r+") as node:
        waits = [sys.executable, "-c", "input()"]
        user = subprocess.Popen(waits, stdin=subprocess.PIPE, stdout=node)
    try:
        assert re.fullmatch(rf"\S+ \(process {user.pid}\)", devices.users(0))
    finally:
        user.communicate(b"\n")


def test_a_driver_that_does_not_answer_is_left_behind() -> None:
    camera = FakeCamera(open_for=10.0)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"does not answer within 0.2 s"):
        open_camera(0, opener=opener(camera, within=0.2))
    assert time.monotonic() - start < 2.0
    camera.unblock.set()  # the driver answers at last: nobody wants the camera any more
    for _ in range(100):
        if camera.released:
            break
        time.sleep(0.02)
    assert camera.released == 1


# Faults while running


def test_close_does_not_wait_for_a_blocked_read() -> None:
    camera = FakeCamera(block_at=4)
    source = open_camera(0, opener=opener(camera))
    got: list[Frame] = []
    reader = Thread(target=lambda: got.extend(source.frames()), daemon=True)
    reader.start()
    assert camera.blocked.wait(5)
    start = time.monotonic()
    source.close()
    source.close()
    assert time.monotonic() - start < 0.5 and camera.released == 0
    camera.unblock.set()
    reader.join(5)
    assert not reader.is_alive()
    assert len(got) == 3 and camera.released == 1  # released by the thread that was blocked


def test_close_before_reading_releases_the_camera() -> None:
    camera = FakeCamera()
    source = open_camera(0, opener=opener(camera))
    source.close()
    assert camera.released == 1
    assert list(source.frames()) == []


def test_a_blocked_read_shows_as_stalled() -> None:
    clock, camera = FakeClock(), FakeCamera(block_at=2)
    source = open_camera(0, opener=replace(opener(camera), clock=clock))
    frames = source.frames()
    next(frames)
    reader = Thread(target=lambda: next(frames, None), daemon=True)
    reader.start()
    assert camera.blocked.wait(5)
    clock.now += 5
    assert source.status.state == "stalled" and source.status.describe() == "stalled 5 s"
    source.close()
    camera.unblock.set()
    reader.join(5)
    assert not reader.is_alive()


def test_single_bad_pictures_are_skipped_and_counted() -> None:
    bad = {2: None, 3: np.zeros((0, 0, 3), np.uint8), 5: np.zeros((4, 4, 2), np.uint8)}
    camera = FakeCamera(image=lambda n: bad.get(n, np.full((48, 64, 3), n, np.uint8)))
    source = open_camera(0, opener=opener(camera))
    frames = first(source, 3)
    assert [int(f.image[0, 0, 0]) for f in frames] == [1, 4, 6]
    assert [f.index for f in frames] == [0, 1, 2]
    assert source.status.bad_packets == 3


def test_grey_cameras_give_bgr() -> None:
    camera = FakeCamera(image=lambda n: np.full((48, 64), 77, np.uint8))
    (frame,) = first(open_camera(0, opener=opener(camera)), 1)
    assert frame.image.shape == (48, 64, 3) and (frame.image == 77).all()


def pulled(tmp_path: Path, back_as: dict[int, str]) -> tuple[FakeCamera, Opener]:
    """A camera that is pulled after its third picture and is listed as back_as from then on."""
    devices = linux_devices(tmp_path, {0: "HD Webcam"})
    clock = FakeClock()
    camera = FakeCamera()

    def on_read(number: int) -> None:
        if number == 3:
            linux_devices(tmp_path, back_as)
        pulled_out = number >= 3 and len(camera.opens) == 1
        camera.silent_from = number if pulled_out else float("inf")
        clock.now += 0.5 if pulled_out else 0.04

    camera.on_read = on_read
    return camera, Opener(capture=camera, devices=devices, clock=clock)


def test_a_camera_that_comes_back_under_another_number_is_found(tmp_path: Path) -> None:
    camera, tools = pulled(tmp_path, {1: "Capture Card", 2: "HD Webcam"})
    source = open_camera(0, opener=tools, backoff=Soon())
    frames = source.frames()
    got = [next(frames) for _ in range(4)]
    assert [number for number, _ in camera.opens] == [0, 2]
    assert [f.index for f in got] == [0, 1, 2, 3]
    assert all(a.time < b.time for a, b in zip(got, got[1:]))
    assert got[3].time - got[1].time > 2.0  # the gap is in the times
    assert source.status.reconnects == 1 and source.status.state == "live"
    frames.close()
    assert camera.released == 2


def test_a_camera_that_stays_away_is_lost_beyond_the_limit(tmp_path: Path) -> None:
    camera, tools = pulled(tmp_path, {})
    source = open_camera(0, max_reconnects=1, opener=tools, backoff=Soon())
    with pytest.raises(SourceLost, match=r"camera 0 \(HD Webcam\): the camera is gone.* 1 attempt"):
        list(source.frames())
    assert source.status.state == "lost" and len(camera.opens) == 1


def test_no_busy_loop_while_there_is_no_picture() -> None:
    camera = FakeCamera(silent_from=3)
    source = open_camera(0, opener=opener(camera))
    reader = Thread(target=lambda: list(source.frames()), daemon=True)
    reader.start()
    cpu, reads = time.process_time(), camera.reads
    time.sleep(1.0)
    assert camera.reads - reads <= 25  # one per PAUSE
    assert time.process_time() - cpu < 0.2
    source.close()
    reader.join(2)
    assert not reader.is_alive()


# Pictures that cannot be true


def watched(images: list[np.ndarray], step: float = 1.0) -> list[str]:
    clock = FakeClock()
    watch = PictureWatch(clock)
    said = []
    for image in images:
        said.append(watch.see(image))
        clock.now += step
    return said


def test_a_frozen_picture_is_noticed_after_five_seconds() -> None:
    still = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    said = watched([still] * 8)
    assert said[:6] == [""] * 6 and "stood still" in said[6]
    assert watched([*[still] * 8, 255 - still])[-1] == ""


def test_a_black_picture_is_noticed_even_with_noise() -> None:
    rng = np.random.default_rng(0)
    said = watched([rng.integers(0, 6, (48, 64, 3), np.uint8) for _ in range(8)])
    assert said[:6] == [""] * 6 and "black picture" in said[6]


def test_a_living_picture_is_never_warned_about() -> None:
    rng = np.random.default_rng(0)
    said = watched([rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(20)])
    assert said == [""] * 20


def test_the_warning_is_logged_and_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    camera = FakeCamera(image=lambda n: np.zeros((48, 64, 3), np.uint8))
    camera.on_read = lambda n: clock.sleep(1.0) and None
    source = open_camera(0, opener=replace(opener(camera), clock=clock))
    with caplog.at_level(logging.WARNING):
        first(source, 12)
    assert [r.message for r in caplog.records] == source.status.notes[1:]
    assert "black picture" in source.status.notes[1] and len(source.status.notes) == 2


# Listing


def test_list_cameras(tmp_path: Path) -> None:
    camera = FakeCamera(obeys=False, on_read=lambda n: time.sleep(0.02))
    table = list_cameras(opener(camera, linux_devices(tmp_path, {2: "HD Webcam"})))
    head, row = table.splitlines()
    assert head.split() == "number name backend granted measured opened in".split()
    assert row.startswith("2       HD Webcam  V4L2") and "64x48 YUYV 25 fps" in row
    assert camera.released == 1
    measured = float(row.split("25 fps")[1].split()[0])
    assert 10.0 < measured < 51.0


def test_list_says_when_there_is_none_or_one_does_not_open(tmp_path: Path) -> None:
    away = FakeCamera(present=False)
    assert list_cameras(opener(away, linux_devices(tmp_path, {}))) == "no camera found"
    assert list_cameras(opener(away)) == "no camera found"
    table = list_cameras(opener(away, linux_devices(tmp_path, {0: "HD Webcam"})))
    assert "gives no picture" in table

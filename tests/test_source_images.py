"""Images: order, orientation, depth, damage, size limits, spans and refusals."""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import media
import numpy as np
import pytest
from commandline import ROOT
from hypothesis import given
from hypothesis import strategies as st

from realtime.api import run
from realtime.errors import InputError, UsageError
from realtime.records import Frame, Image
from realtime.sources.base import Source, Span
from realtime.sources.image_header import has_more, image_size
from realtime.sources.images import is_image, open_images, read_image

WHOLE = Span()


def read(pattern: Path, span: Span = WHOLE, sequence: bool = False) -> tuple[list[Frame], Source]:
    source = open_images(str(pattern), span, sequence)
    return list(source.frames()), source


def write(path: Path, number: int = 0, size_wh: tuple[int, int] = media.SIZE_WH) -> Path:
    path.write_bytes(encoded(path.suffix.lower(), media.barcode(number, size_wh)))
    return path


def encoded(extension: str, picture: np.ndarray, *options: int) -> bytes:
    ok, data = cv2.imencode(extension, picture, list(options))
    assert ok
    return bytes(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """12 images, frame0.png to frame11.png, and things that are no images."""
    for number in range(12):
        write(tmp_path / f"frame{number}.png", number)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "._frame1.png").write_bytes(b"\0\5\x16\7 as macOS leaves them")
    return tmp_path


# ------------------------------------------------------------------- what is read, its order


def test_folder_in_natural_order(folder: Path) -> None:
    frames, source = read(folder)
    assert [f.source for f in frames] == [f"frame{i}.png" for i in range(12)]
    assert [media.number_in(f.image) for f in frames] == [f.index for f in frames]
    info = source.info
    assert (info.kind, info.independent, info.frames, info.live) == ("images", True, 12, False)
    assert (info.rate, info.size_wh, info.path, info.name) == (None, None, None, folder.name)
    assert source.status.notes == [] and source.status.state == "ended"


def test_sequence_is_a_video(folder: Path) -> None:
    frames, source = read(folder, sequence=True)
    assert [f.time for f in frames] == [i / 30 for i in range(12)]
    info = source.info
    assert (info.independent, info.rate, info.size_wh) == (False, 30.0, media.SIZE_WH)


def test_glob(folder: Path) -> None:
    frames, source = read(folder / "frame1*.png")
    assert [f.source for f in frames] == ["frame1.png", "frame10.png", "frame11.png"]
    assert source.info.name == "frame1*.png"
    assert [f.source for f in read(folder / "frame?.p?g")[0]][-1] == "frame9.png"


def test_glob_over_folders(tmp_path: Path) -> None:
    for part in ("b2", "b10", "[x]"):
        (tmp_path / part).mkdir()
        write(tmp_path / part / "a.png")
    frames, _ = read(tmp_path / "b*" / "*.png")
    assert [f.source for f in frames] == ["a.png", "a.png"]
    assert len(read(tmp_path / "[x]" / "*.png")[0]) == 1


def test_one_image(tmp_path: Path) -> None:
    path = write(tmp_path / "photo.JPG", 5, (61, 43))
    (frame,), source = read(path)
    assert frame.size_wh == source.info.size_wh == (61, 43) and frame.source == "photo.JPG"
    assert source.info.path == path and source.info.frames == 1


def test_sizes_may_differ(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 1, (64, 48))
    write(tmp_path / "b.png", 2, (33, 99))
    assert [f.size_wh for f in read(tmp_path)[0]] == [(64, 48), (33, 99)]


@pytest.mark.parametrize("name", ["ünï 動画 🙂.png", "a b.png", "-x.png", "100%d.png", "[1].png"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, 3)
    for pattern in (tmp_path, tmp_path / name):
        (frame,), _ = read(pattern)
        assert frame.source == name and media.number_in(frame.image) == 3


def test_extensions() -> None:
    assert all(
        is_image(Path(f"a.{e}")) for e in ("jpg", "JPEG", "Png", "bmp", "webp", "tif", "tiff")
    )
    assert not any(is_image(Path(name)) for name in ("a.gif", "a.mp4", "a", ".jpg.txt", "jpg"))


# ----------------------------------------------------------------------------------- pixels


def exif(orientation: int, big: bool) -> bytes:
    order = ">" if big else "<"
    entry = struct.pack(order + "HHHIHHI", 1, 0x112, 3, 1, orientation, 0, 0)
    return (b"MM\0*" if big else b"II*\0") + struct.pack(order + "I", 8) + entry


def jpeg_with(orientation: int, big: bool) -> bytes:
    data = encoded(".jpg", media.quarters(0, (96, 48)), cv2.IMWRITE_JPEG_QUALITY, 98)
    block = b"Exif\0\0" + exif(orientation, big)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF 2.32, tag 274: how to show it
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: np.rot90(p),
}


@pytest.mark.parametrize("big", [True, False])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int, big: bool) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_with(orientation, big))
    (frame,), source = read(path)
    expected = TURNS[orientation](media.quarters(0, (96, 48)))
    assert frame.image.shape == expected.shape and source.info.size_wh == frame.size_wh
    assert abs(frame.image.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_16_bit_gray_and_alpha(tmp_path: Path, extension: str) -> None:
    picture = media.quarters()
    deep = picture.astype(np.uint16) * 257
    alpha = np.full((*picture.shape[:2], 1), 90, np.uint8)
    gray = np.ascontiguousarray(picture[..., 0])
    cases = {
        "deep": (deep, picture),
        "gray": (gray, gray[..., None].repeat(3, 2)),
        "gray16": (gray.astype(np.uint16) * 257, gray[..., None].repeat(3, 2)),
        "alpha": (np.concatenate([picture, alpha], 2), picture),
        "alpha16": (np.concatenate([deep, alpha.astype(np.uint16) * 257], 2), picture),
    }
    for name, (stored, expected) in cases.items():
        path = tmp_path / (name + extension)
        path.write_bytes(encoded(extension, stored))
        image = read_image(path)
        assert image.dtype == np.uint8 and image.flags.c_contiguous, name
        assert abs(image.astype(int) - expected).max() <= 1, name


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp", ".webp", ".tif"])
@given(width=st.integers(1, 70), height=st.integers(1, 70))
def test_size_from_the_header(extension: str, width: int, height: int) -> None:
    data = encoded(extension, np.zeros((height, width, 3), np.uint8))
    assert image_size(data) == (width, height)


def test_size_of_the_other_webp_kinds() -> None:
    picture = media.quarters(0, (70, 30))
    lossless = encoded(".webp", picture, cv2.IMWRITE_WEBP_QUALITY, 101)
    lossy = encoded(".webp", picture, cv2.IMWRITE_WEBP_QUALITY, 50)
    assert (lossless[12:16], lossy[12:16]) == (b"VP8L", b"VP8 ")
    sizes = struct.pack("<I", 69)[:3] + struct.pack("<I", 29)[:3]
    extended = b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<II", 10, 0) + sizes
    assert {image_size(data) for data in (lossless, lossy, extended)} == {(70, 30)}


@given(
    st.binary(max_size=60), st.sampled_from([b"\xff\xd8\xff", b"II*\0", b"BM", b"\x89PNG", b"RIFF"])
)
def test_no_header_breaks_the_reader(data: bytes, magic: bytes) -> None:
    size = image_size(magic + data)
    assert size is None or min(size) > 0


# ------------------------------------------------------------------------- what is left out


def tiff(*subfile_types: int) -> bytes:
    """A TIFF file of grey pictures of one pixel, one of each kind (TIFF 6.0, section 8)."""
    data = b"II*\0" + struct.pack("<I", 8)
    for number, kind in enumerate(subfile_types, 1):
        tags = {254: kind, 256: 1, 257: 1, 258: 8, 262: 1, 273: 4, 277: 1, 278: 1, 279: 1}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        after = len(data) + 2 + len(entries) + 4 if number < len(subfile_types) else 0
        data += struct.pack("<H", len(tags)) + entries + struct.pack("<I", after)
    return data


def webp(animated: bool) -> bytes:
    """A picture, and if animated the head of an animation of it, which OpenCV does not decode."""
    body = encoded(".webp", media.quarters())[12:]
    head = b"VP8X" + struct.pack("<IB", 10, 2 * animated) + bytes(3) + b"\x3f\0\0\x2f\0\0"
    return b"RIFF" + struct.pack("<I", 4 + len(head + body)) + b"WEBP" + head + body


def png(animated: bool) -> bytes:
    data = encoded(".png", media.quarters())
    body = b"acTL" + struct.pack(">II", 2, 0)
    chunk = struct.pack(">I", 8) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk * animated + data[33:]


@pytest.mark.parametrize(
    ("data", "more"),
    [
        (tiff(0), False), (tiff(0, 0), True), (tiff(0, 1), False), (tiff(0, 4), False),
        (webp(False), False), (webp(True), True), (png(False), False), (png(True), True),
        (encoded(".jpg", media.quarters()), False), (tiff(0, 0)[:-20], False), (b"II*\0", False),
    ],
)  # fmt: skip
def test_further_pictures_in_a_file_are_seen(data: bytes, more: bool) -> None:
    assert has_more(data) == more


def test_pictures_that_are_left_out_are_told(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(tiff(0, 0))
    for name in ("c.HEIC", "d.gif", "e.txt", "f.mp4"):
        (tmp_path / name).write_bytes(b"...")
    frames, source = read(tmp_path)
    assert len(frames) == 2 and source.status.damage == ""
    left_out, stacks = source.status.notes
    assert left_out == f"{tmp_path.name}: 2 pictures left out, of kinds not read: gif, heic"
    assert stacks.startswith(f"{tmp_path / 'a.tif'} and 1 more: several pictures in one file")


def test_a_tiff_of_floating_point_numbers_is_not_just_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(encoded(".tif", np.zeros((8, 8, 3), np.float32)))
    with pytest.raises(InputError, match="damaged or of floating-point numbers"):
        open_images(str(path), WHOLE)


# ----------------------------------------------------------------------------------- damage


def test_unreadable_images_are_skipped_and_counted(folder: Path) -> None:
    (folder / "frame3.png").write_bytes(b"no image at all")
    (folder / "frame5.png").write_bytes(b"")
    whole = (folder / "frame7.png").read_bytes()
    (folder / "frame7.png").write_bytes(whole[: len(whole) // 2])
    frames, source = read(folder)
    assert [f.index for f in frames] == [0, 1, 2, 4, 6, 8, 9, 10, 11]
    assert source.status.bad_packets == 3 and len(source.status.notes) == 3
    for note, name in zip(source.status.notes, ("frame3", "frame5", "frame7")):
        assert name in note and note.endswith("; skipped") and "\n" not in note


def test_a_link_to_nothing_is_an_image_that_cannot_be_read(folder: Path) -> None:
    (folder / "frame3.png").unlink()
    (folder / "frame3.png").symlink_to("nothing.png")
    frames, source = read(folder)
    assert len(frames) == 11 and source.status.bad_packets == 1
    assert source.status.damage.startswith(str(folder / "frame3.png"))


def test_many_unreadable_images_are_noted_briefly(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.jpg").write_bytes(b"\xff\xd8\xff")
    write(tmp_path / "last.png")
    frames, source = read(tmp_path)
    assert len(frames) == 1 and source.status.bad_packets == 30
    assert len(source.status.notes) == 21 and "10 more" in source.status.notes[-1]


NOISE = encoded(".png", np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8))


@pytest.mark.parametrize(
    "data",
    [NOISE[:-40], NOISE[:-12], NOISE[:-5], NOISE[:999] + bytes([NOISE[999] ^ 1]) + NOISE[1000:]],
)
def test_damaged_image_is_said_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], data: bytes
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png: damaged"):
        open_images(str(path), WHOLE)
    assert capfd.readouterr().err == ""


def test_a_png_with_something_behind_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(NOISE[:-1] + b"?" + b"more")  # nor does a sum without pixels
    assert len(read(tmp_path / "a.png")[0]) == 1


def huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * (width + 1) * height, 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def test_huge_images_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(huge_png(12000, 6000))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(InputError, match="12000x6000 pixels are more than the limit of 64 mega"):
        open_images(str(path), WHOLE)


# ------------------------------------------------------------------------- spans and refusals


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span(3, 6), [3, 4, 5]),
        (Span(1, None, 4), [1, 5, 9]),
        (Span(0, 100), list(range(12))),
        (Span(11), [11]),
    ],
)
@pytest.mark.parametrize("sequence", [True, False])
def test_spans(folder: Path, span: Span, expected: list[int], sequence: bool) -> None:
    frames, source = read(folder, span, sequence)
    assert [f.index for f in frames] == expected and source.info.frames == len(expected)


def test_seconds_of_a_sequence(folder: Path) -> None:
    frames, source = read(folder, Span(0.1, 0.2), sequence=True)
    assert [f.index for f in frames] == [3, 4, 5]
    assert source.info.start == frames[0].time == 0.1
    with pytest.raises(UsageError, match="no seconds"):
        open_images(str(folder), Span(0.1, 0.2))


def test_nothing_to_read(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    for pattern in (empty, empty / "*.png", folder / "notes.txt"):
        with pytest.raises(InputError, match="no images there"):
            open_images(str(pattern), WHOLE)
    with pytest.raises(InputError, match="no such file or folder"):
        open_images(str(empty / "a.png"), WHOLE)
    with pytest.raises(InputError, match="there are 12"):
        open_images(str(folder), Span(12))
    (empty / "a.png").write_bytes(b"x")
    (empty / "b.png").write_bytes(b"x")
    with pytest.raises(InputError, match="none of its 2 images can be read; .*a.png"):
        open_images(str(empty), WHOLE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_fifo_named_like_an_image_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match="no images there"):
        open_images(str(tmp_path), WHOLE)


def test_closing_ends_the_frames(folder: Path) -> None:
    source = open_images(str(folder), WHOLE)
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


def test_a_long_way_to_the_next_image_is_no_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each that cannot be read is skipped, however many there are."""

    def slowly(path: Path, *more: Any) -> Image:
        time.sleep(0.1)
        return read_image(path, *more)

    whole = cv2.imencode(".png", media.quarters())[1].tobytes()
    for index in range(24):
        (tmp_path / f"{index:02}.png").write_bytes(b"x" if 2 < index < 22 else whole)
    monkeypatch.setattr("realtime.sources.images.read_image", slowly)
    monkeypatch.setattr("realtime.loop.HANG_LIMIT", 0.5)
    data = ROOT / "tests" / "data"
    report = run(tmp_path, detector=data / "tiny_detector.onnx", pose=data / "tiny_pose.onnx")
    assert report["frames_captured"] == 5

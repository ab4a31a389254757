"""Pixels that are no squares: what people look at has the true shape, recordings keep theirs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import media
import numpy as np
import pytest
from commandline import run
from test_controls import desk, screen
from test_run import tiny

from realtime.draw import Style
from realtime.grid import Look
from realtime.records import Frame, PosedFrame, Poses
from realtime.shape import true_shape
from realtime.sheet import WIDE
from realtime.stop import Stop


def posed(aspect: float) -> PosedFrame:
    image = np.zeros((48, 64, 3), np.uint8)
    frame = Frame(0, 0.0, image, aspect=aspect)
    return PosedFrame(frame, Poses.empty(), picture=image)


@pytest.mark.parametrize(
    ("aspect", "shape"),
    [
        (1.0, (48, 64)),
        (64 / 45, (48, 91)),
        (0.5, (96, 64)),
        (100.0, (48, 64)),
        (0.0, (48, 64)),
        (65 / 64, (48, 64)),  # 1377:1376 is in files whose pixels are meant to be squares
        (48 / 49, (48, 64)),
    ],
)
def test_a_picture_gets_its_true_shape(aspect: float, shape: tuple[int, int]) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    seen = true_shape(picture, aspect)
    assert seen.shape[:2] == shape and seen.dtype == np.uint8
    assert (seen is picture) == (shape == (48, 64))


def test_window_and_grid_show_the_true_shape() -> None:
    one, _, _ = desk()
    shown, window = screen(one)
    shown.show(posed(2.0))
    assert window.pictures[-1].shape == (48, 128, 3)
    picture = posed(2.0).picture
    for state in ("", "stalled 3 s"):
        look = Look(Style, picture, state, "", private=False, aspect=2.0)
        assert look.draw().shape == (48, 128, 3)


def test_the_page_shows_the_true_shape() -> None:
    pytest.importorskip("aiohttp", reason='needs pip install "posestream[serve]"')
    from realtime.serve.board import OneBoard
    from realtime.serve.buttons import Buttons
    from realtime.serve.figures import Figures

    shot = OneBoard(Figures(), Buttons(Stop()))._shot(posed(0.5), private=False)
    assert shot is not None and shot.picture.shape == (96, 64, 3)


def test_pictures_have_the_true_shape_and_a_recording_keeps_its_own(tmp_path: Path) -> None:
    def wide(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(2)

    film = media.video(tmp_path / "a.mp4", 2, size_wh=(96, 48), change=wide)
    result = run(
        "--input", film, "--headless", "--output", tmp_path / "o.mp4", "--screenshot",
        tmp_path / "s.png", "--pictures", tmp_path / "p", *tiny(),
    )  # fmt: skip
    assert result.code == 0, result.err
    for path in (tmp_path / "s.png", *(tmp_path / "p").iterdir()):
        assert cv2.imread(str(path)).shape == (48, 192, 3)
    with av.open(str(tmp_path / "o.mp4")) as video:
        stream = video.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio) == (96, 48, 2)


def test_explain_shows_whole_frames_in_their_true_shape(tmp_path: Path) -> None:
    """At a score at which the small network takes coloured squares for people."""
    heights = []
    for aspect in (1, 2):

        def shaped(stream: Any, aspect: int = aspect) -> None:
            stream.codec_context.sample_aspect_ratio = Fraction(aspect)

        film = media.video(
            tmp_path / f"{aspect}.mp4", 2, size_wh=(96, 96), picture=media.quarters, change=shaped
        )
        folder = tmp_path / f"how{aspect}"
        result = run(
            "--input",
            film,
            "--headless",
            "--explain",
            folder,
            "--detector-score",
            "0.01",
            "--min-score",
            "0.01",
            *tiny(),
        )
        assert result.code == 0, result.err
        pictures = [cv2.imread(str(path)) for path in sorted(folder.iterdir())]
        heights.append([pictures[n].shape[0] for n in (0, 4)])
    assert [a - b for a, b in zip(*heights)] == [WIDE // 2] * 2

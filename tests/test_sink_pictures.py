"""--pictures: names, what is in them, folders that are there already."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from commandline import demo, run
from test_run import fails

from realtime.errors import OutputError
from realtime.records import Frame, PosedFrame, Poses
from realtime.sinks.folder import PART
from realtime.sinks.pictures import Pictures


def posed(index: int, source: str = "", wh: tuple[int, int] = (64, 48)) -> PosedFrame:
    picture = np.full((wh[1], wh[0], 3), 20 * index, np.uint8)
    return PosedFrame(Frame(index, 0.0, picture, source), Poses.empty(), picture=picture)


def write(folder: Path, items: list[PosedFrame], stem: str | None, overwrite: bool = False) -> None:
    sink = Pictures(folder, overwrite=overwrite, stem=stem)
    for item in items:
        sink.write(item)
    sink.close()
    sink.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_images_keep_their_names_and_frames_have_numbers(tmp_path: Path) -> None:
    sources = ("in/a b.png", "in/c.jpg", "in/c.png", "/x/\u00fc.tif")
    write(tmp_path / "i", [posed(n, name) for n, name in enumerate(sources)], None)
    wanted = ["a_b_poses.jpg", "c_000002_poses.jpg", "c_poses.jpg", "\u00fc_poses.jpg"]
    assert names(tmp_path / "i") == wanted
    sources = ("a.jpg", "a.png", "a_000001.jpg", "A.jpg", "b.jpg", "\u5b57" * 80 + ".jpg")
    write(tmp_path / "e", [posed(n, name) for n, name in enumerate(sources)], None)
    assert len(names(tmp_path / "e")) == len(sources)
    write(tmp_path / "v", [posed(n, "film") for n in (0, 7)], "my film")
    assert names(tmp_path / "v") == ["my_film_000000_poses.jpg", "my_film_000007_poses.jpg"]
    image = cv2.imread(str(tmp_path / "v" / "my_film_000007_poses.jpg"))
    assert image.shape == (48, 64, 3) and abs(image.astype(int) - 140).max() <= 2


def test_nothing_but_results_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    write(folder, [posed(0), posed(1)], "a")
    with pytest.raises(OutputError, match="use --overwrite"):
        write(folder, [], "a")
    write(folder, [posed(2)], "b", overwrite=True)
    assert names(folder) == ["b_000002_poses.jpg"] and names(tmp_path) == ["p"]
    sink = Pictures(folder, overwrite=True, stem="c")
    sink.write(posed(3))
    sink.close(clean=False)
    assert names(tmp_path) == ["p", "p.bak"]
    (folder / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(OutputError, match="holds other files"):
        write(folder, [], "a", overwrite=True)
    with pytest.raises(OutputError, match="there is no folder"):
        write(tmp_path / "none" / "p", [], "a")
    write(tmp_path / "empty", [], "a")
    assert not (tmp_path / "empty").exists()
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", [], "a")
    assert (tmp_path / "empty").exists()


def test_what_others_put_into_the_folders_stays_and_is_no_error(tmp_path: Path) -> None:
    """macOS leaves a .DS_Store in every folder that somebody looks into."""
    folder = tmp_path / "p"
    nothing = Pictures(folder, overwrite=False, stem="a")
    (folder / ".DS_Store").touch()
    nothing.close()
    assert names(folder) == [".DS_Store"]
    (folder / ".DS_Store").unlink()
    write(folder, [posed(0)], "a")
    sink = Pictures(folder, overwrite=True, stem="b")
    (tmp_path / "p.bak" / ".DS_Store").touch()
    sink.write(posed(1))
    sink.close()
    assert names(folder) == ["b_000001_poses.jpg"] and names(tmp_path / "p.bak") == [".DS_Store"]
    nothing = Pictures(folder, overwrite=True, stem="c")
    (folder / ".DS_Store").touch()
    nothing.close(clean=False)
    assert names(tmp_path / "p.bak2") == ["b_000001_poses.jpg"]


def test_what_a_kill_leaves_is_no_obstacle(tmp_path: Path) -> None:
    write(tmp_path / "p", [posed(0)], "a")
    (tmp_path / "p" / PART).write_bytes(b"half")
    write(tmp_path / "p", [posed(1)], "a", overwrite=True)
    assert names(tmp_path / "p") == ["a_000001_poses.jpg"]


def test_the_disk_is_not_filled(tmp_path: Path) -> None:
    sink = Pictures(tmp_path / "p", overwrite=False, stem="a", min_free=1 << 60)
    with pytest.raises(OutputError, match="--min-free"):
        sink.write(posed(0))
    sink.close(clean=False)
    assert not names(tmp_path)


def test_the_command_line(tmp_path: Path) -> None:
    """Pictures as they are drawn, beside other outputs; never into the folder they come from."""
    shown, folder = tmp_path / "s.png", tmp_path / "p"
    result = demo("--start", "2s", "--end", "2.1s", "--pictures", folder, "--screenshot", shown)
    assert result.code == 0, result.err
    assert names(folder) == [f"demo_{n:06d}_poses.jpg" for n in (60, 61, 62)]
    first = cv2.imread(str(folder / "demo_000060_poses.jpg")).astype(int)
    assert abs(first - cv2.imread(str(shown))).mean() < 6
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), first)
    into = run("--input", tmp_path / "in", "--pictures", tmp_path / "in", "--overwrite")
    fails(into, 2, "this is the input")
    assert names(tmp_path / "in") == ["a.png"]


def test_images_keep_their_sizes_and_share_one_video(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, scale in (("a", 1), ("b", 3)):
        image = np.full((42 * scale, 64 * scale, 3), 90, np.uint8)
        cv2.imwrite(str(tmp_path / "in" / f"{name}.png"), image)
    folder, film = tmp_path / "p", tmp_path / "v.mp4"
    result = run("--input", tmp_path / "in", "--pictures", folder, "--output", film)
    assert result.code == 0 and "size of the first one, 64x42" in result.err
    shapes = [cv2.imread(str(folder / f"{name}_poses.jpg")).shape for name in "ab"]
    assert shapes == [(42, 64, 3), (126, 192, 3)]
    with av.open(film) as opened:
        assert [(f.width, f.height) for f in opened.decode(video=0)] == [(64, 42)] * 2

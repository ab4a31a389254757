"""The command check-data: every problem of a data set, one line each."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from coco_files import content, write
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import InputError
from train import check, coco
from train.__main__ import main

Change = Callable[[dict[str, Any]], object]
NAN = float("nan")


def found(file: Path, images: str = "") -> list[str]:
    return list(check.problems(file, images, check.Counts()))


def test_nothing_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-data", str(write(tmp_path, content(3)))]) == 0
    assert capsys.readouterr().out == "3 images, 3 people, 3 with joints, no problem found\n"


def test_problems_are_listed_counted_and_exit_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, values = write(tmp_path / "a", content(1)), content(2)
    bad = write(tmp_path / "b", values)
    (tmp_path / "b/000.png").unlink()
    values["annotations"][0]["bbox"][2] = -1
    values["annotations"][1]["keypoints"][2] = 7
    bad.write_text(json.dumps(values))
    assert main(["check-data", f"{good},,2", f"{bad},{tmp_path / 'b'}"]) == 3
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "3 images, 3 people, 3 with joints, 3 problems found"
    assert len(lines) == 3 and all(line.startswith(f"{bad}: ") for line in lines)
    assert "000.png" in lines[0] and "negative" in lines[1] and "0, 1 or 2" in lines[2]


def test_wrong_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-data"]) == 2
    assert main(["check-data", "a,b,c,d"]) == 2
    assert capsys.readouterr().out == ""


WRONG: list[tuple[Change, str]] = [
    (lambda v: v["images"][0].update(file_name="../x.png"), "leads out of the image folder"),
    (lambda v: v["images"][0].update(file_name="none.png"), "none.png: cannot be read"),
    (lambda v: v["images"][0].update(width=63), "is 64x48 pixels upright, the file says 63x48"),
    (lambda v: v["images"][0].update(width=-1), "not numbers of pixels"),
    (lambda v: v["images"][1].update(file_name="000.png"), "named by 2 images"),
    (lambda v: v["images"].append(dict(v["images"][0], file_name="001.png")), "named by 2 images"),
    (lambda v: v["images"].append([]), "images[2] is not an object"),
    (lambda v: v["annotations"].append([]), "annotations[2] is not an object"),
    (lambda v: v["annotations"][1].update(id=10), "annotation 10: the id is that of an earlier"),
    (lambda v: v["annotations"][1].update(id="10"), "id '10' is not a whole number"),
    (lambda v: v["annotations"][1].update(image_id=9), "is of image 9, which is not in the file"),
    (lambda v: v["annotations"][1].update(iscrowd=2), "iscrowd 2"),
    (lambda v: v["annotations"][1].update(area=-2), "area -2"),
    (lambda v: v["annotations"][1].update(bbox=[1, 2, 0, 4]), "has no size"),
    (lambda v: v["annotations"][1].update(bbox=[1, 2, NAN, 4]), "four finite"),
    (lambda v: v["annotations"][1].update(bbox=[1, 2, 3, 48]), "reaches out of the picture"),
    (lambda v: v["annotations"][1].update(bbox=[-2, 2, 3, 4]), "reaches out of the picture"),
    (lambda v: v["annotations"][1]["keypoints"].append(1), "52 numbers instead of 51"),
    (lambda v: v["annotations"][1]["keypoints"].__setitem__(0, NAN), "not all finite"),
    (lambda v: v["annotations"][1]["keypoints"].__setitem__(0, 65), "1 labelled joint outside"),
    (lambda v: v["annotations"][1]["keypoints"].__setitem__(2, 0.5), "not 0, 1 or 2"),
    (lambda v: v["annotations"][1]["keypoints"].__setitem__(2, 0), "num_keypoints is 17, joints"),
    (lambda v: v["annotations"][1].pop("keypoints"), "there are no keypoints"),
    (lambda v: v.update(categories=[{"id": 1, "name": "dog"}]), "no category named person"),
    (lambda v: v["categories"][0].update(keypoints=["nose"]), "not the 17 of COCO: no left_eye"),
    (lambda v: v["annotations"][1].update(category_id=5), "category_id 5 is not in the list"),
    (lambda v: v["annotations"][1].update(category_id="1"), "category_id '1' is not in the list"),
    (lambda v: v["annotations"][1].update(bbox=[0.1, 0.1, 0.5, 0.5]), "shares of the picture?"),
    (lambda v: v["annotations"][1].update(keypoints=[0, 0, 2] * 17), "17 labelled joints at 0, 0"),
    (lambda v: v.update(images=5), 'no list "images"'),
    (lambda v: v.update(images=[], annotations=[]), "holds no image"),
]


@pytest.mark.parametrize("change, part", WRONG, ids=[part for _, part in WRONG])
def test_each_problem(tmp_path: Path, change: Change, part: str) -> None:
    values = content()
    file = write(tmp_path, values)
    change(values)
    file.write_text(json.dumps(values))
    lines = found(file)
    assert any(part in line for line in lines), lines
    assert len(lines) <= 2, lines


def test_an_unlabelled_joint_may_lie_anywhere(tmp_path: Path) -> None:
    values = content(1)
    values["annotations"][0]["keypoints"][:3] = [-500, 900, 0]
    values["annotations"][0]["num_keypoints"] = 16
    assert found(write(tmp_path, values)) == []


@pytest.mark.parametrize("values", [None, []])
def test_no_keypoints_are_no_problem(tmp_path: Path, values: object) -> None:
    file = content(2)
    file["annotations"][1].update(keypoints=values, num_keypoints=0)
    written = write(tmp_path, file)
    assert found(written) == []
    assert [person.labelled for person in coco.open_set(str(written)).people] == [17, 0]


@pytest.mark.parametrize("values", [0, "", False])
def test_what_only_looks_like_no_keypoints_is_refused(tmp_path: Path, values: object) -> None:
    file = content(2)
    file["annotations"][1].update(keypoints=values, num_keypoints=0)
    written = write(tmp_path, file)
    (line,) = found(written)
    assert "annotation 11: keypoints are no numbers instead of 51" in line
    with pytest.raises(InputError, match="annotation 11: keypoints are no numbers"):
        coco.open_set(str(written))


def test_rounding_at_the_border_is_no_problem(tmp_path: Path) -> None:
    values = content(1)
    values["annotations"][0]["bbox"] = [-0.4, 0, 64.9, 48.3]
    values["annotations"][0]["keypoints"][:2] = [63.8, 47.2]
    assert found(write(tmp_path, values)) == []


def jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


@pytest.mark.parametrize("data", [b"", b"text", jpeg()[:900], jpeg()[:30], b"\x89PNG\r\n\x1a\n"])
def test_broken_images(tmp_path: Path, data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, content(1))
    (tmp_path / "000.png").write_bytes(data)
    assert main(["check-data", str(file)]) == 3
    out = capfd.readouterr().out.splitlines()
    assert len(out) == 2 and "000.png" in out[0]


def test_a_huge_image_is_not_decoded(tmp_path: Path) -> None:
    file = write(tmp_path, content(1))
    data = bytearray((tmp_path / "000.png").read_bytes())
    data[16:24] = (50_000).to_bytes(4, "big") * 2
    (tmp_path / "000.png").write_bytes(data)
    assert "64 megapixels" in found(file)[0]
    with (tmp_path / "000.png").open("wb") as stream:
        stream.truncate(600 << 20)  # sparse
    assert "too large" in found(file)[0]


def test_a_line_stays_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a\nb"
    values = content(1)
    file = write(folder, values)
    values["annotations"][0]["area"] = "x\ny" * 500
    file.write_text(json.dumps(values))
    assert main(["check-data", str(file)]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "a\\nb" in lines[0] and len(lines[0]) < len(str(file)) + 150


@pytest.mark.parametrize("data", [b"", b"\x00" * 99, b"nul", b"[" * 10**5, b'"x"', b"9" * 9999])
def test_no_coco_file_is_one_problem(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(data)
    assert len(found(file)) == 1
    assert len(found(tmp_path / "missing.json")) == 1


# ---- anything -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("fuzz"), content(1)).parent


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a json structure."""
    items = (
        value.items() if isinstance(value, dict)
        else enumerate(value) if isinstance(value, list) else ()
    )  # fmt: skip
    return [path, *(way for key, item in items for way in places(item, (*path, key)))]


PLACES = places(content(1))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([10**400, -1, 0, 1, 1e308, "../x", "000.png", "a\0", "\ud800", 2**63]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
@settings(max_examples=300)
def test_whatever_stands_anywhere_it_is_a_line_or_fine(
    folder: Path, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    values: Any = copy.deepcopy(content(1))
    for way, value in changes:
        values = put(values, way, value)
    file = folder / "people.json"
    file.write_text(json.dumps(values))
    lines = found(file)
    assert all(check.one_line(line).isprintable() for line in lines)
    try:
        data = coco.open_set(str(file))
    except InputError as error:
        assert lines, f"check-data finds nothing, training says {error}"
    else:
        assert all(np.isfinite(p.joints).all() for p in data.people)


def put(values: Any, way: tuple[Any, ...], value: Any) -> Any:
    """values with the place at the end of way replaced, if it is still there."""
    if not way:
        return value
    inner = values
    for key in way[:-1]:
        if not isinstance(inner, (dict, list)) or not has(inner, key):
            return values
        inner = inner[key]
    if isinstance(inner, (dict, list)) and has(inner, way[-1]):
        inner[way[-1]] = value
    return values


def has(inner: Any, key: Any) -> bool:
    return key in inner if isinstance(inner, dict) else isinstance(key, int) and key < len(inner)


@given(st.binary(max_size=60), st.integers(0, 3000))
@settings(max_examples=100)
def test_damaged_bytes_of_the_file(folder: Path, damage: bytes, start: int) -> None:
    data = json.dumps(content(1)).encode()
    start = min(start, len(data))
    file = folder / "people.json"
    file.write_bytes(data[:start] + damage + data[start + len(damage) :])
    for line in found(file):
        assert check.one_line(line).isprintable() and len(line) < 300

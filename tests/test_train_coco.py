"""COCO keypoint files as data sets: coordinates, layouts, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_files import content, write
from hypothesis import given
from hypothesis import strategies as st

from realtime import geometry
from realtime.errors import InputError, PosestreamError, UsageError
from realtime.skeleton import JOINTS
from train import coco

SHARED = Path(os.environ.get("POSESTREAM_SHARED", Path(__file__).parents[2] / "shared"))
PEOPLE = SHARED / "data" / "people"

Change = Callable[[dict[str, Any]], object]


def test_a_set_has_pictures_and_people_in_pixel_centres(tmp_path: Path) -> None:
    values = content()
    values["annotations"][1]["keypoints"][:3] = [7, 8, 0]  # not labelled, whatever stands there
    data = coco.open_set(str(write(tmp_path, values)))
    assert (data.name, data.weight, len(data.pictures)) == ("people", 1.0, 2)
    picture = data.pictures[1]
    assert (picture.path, picture.image_id) == (tmp_path / "001.png", 2)
    assert picture.size_wh == (64, 48) and picture.complete
    (person,) = picture.people
    assert person.image == picture.path and (person.image_id, person.annotation_id) == (2, 11)
    assert person.area == 900.5 and not person.crowd and person.labelled == 16
    np.testing.assert_array_equal(person.box_xyxy, np.float32([3.5, 4.5, 59.5, 44.5]))
    np.testing.assert_array_equal(
        person.joints[:3], np.float32([[0, 0, 0], [8, 8, 2], [11, 10, 1]])
    )
    assert person.joints.shape == (17, 3)
    assert person.joints.dtype == person.box_xyxy.dtype == np.float32


def test_the_whole_picture_as_a_box_spans_it_in_pixel_centres() -> None:
    np.testing.assert_array_equal(
        geometry.from_coco_boxes([0, 0, 64, 48]), [-0.5, -0.5, 63.5, 47.5]
    )


@given(st.lists(st.tuples(*[st.floats(0, 2000)] * 4), max_size=5))
def test_boxes_come_back(boxes: list[tuple[float, ...]]) -> None:
    there = np.array(boxes).reshape(-1, 4)
    np.testing.assert_allclose(
        geometry.to_coco_boxes(geometry.from_coco_boxes(there)), there, atol=1e-3
    )


def test_people_without_joints_and_crowds(tmp_path: Path) -> None:
    values = content(3)
    del values["annotations"][0]["keypoints"], values["annotations"][0]["area"]
    values["annotations"][1]["iscrowd"] = 1
    data = coco.open_set(str(write(tmp_path, values)))
    boxed, crowd, whole = data.people
    assert not boxed.joints.any() and boxed.area == 0.5 * 56 * 40
    assert crowd.crowd and crowd.labelled == 17
    left = data.with_joints(1)
    assert [p.annotation_id for p in left.people] == [whole.annotation_id]
    assert len(left.pictures) == 1 and left.pictures[0].complete
    assert data.with_joints(18).pictures == ()


def test_a_picture_that_loses_people_is_not_complete(tmp_path: Path) -> None:
    values = content(1)
    values["annotations"].append({"id": 99, "image_id": 1, "bbox": [0, 0, 9, 9]})
    picture = coco.open_set(str(write(tmp_path, values))).with_joints(1).pictures[0]
    assert len(picture.people) == 1 and not picture.complete


def test_only_people_are_read(tmp_path: Path) -> None:
    values = content()
    values["categories"] = [{"id": 3, "name": "car"}, {"id": 7, "name": "person"}]
    values["annotations"][0]["category_id"] = 3
    values["annotations"][1]["category_id"] = 7
    data = coco.open_set(str(write(tmp_path, values)))
    assert [p.annotation_id for p in data.people] == [11] and len(data.pictures) == 2


def test_without_categories_one_is_person(tmp_path: Path) -> None:
    values = content()
    del values["categories"]
    values["annotations"][0]["category_id"] = 18
    assert len(coco.open_set(str(write(tmp_path, values))).people) == 1


def test_without_categories_somebody_is_person(tmp_path: Path) -> None:
    values = content()
    del values["categories"]
    for entry in values["annotations"]:
        entry["category_id"] = 0
    with pytest.raises(InputError, match="category_id 1.*first has 0"):
        coco.open_set(str(write(tmp_path, values)))


def test_people_know_the_size_of_their_picture(tmp_path: Path) -> None:
    people = coco.open_set(str(write(tmp_path, content()))).people
    assert [person.size_wh for person in people] == [(64, 48)] * 2


def test_two_categories_of_people(tmp_path: Path) -> None:
    """As Roboflow writes them where a project is called person."""
    values = content()
    values["categories"].insert(0, {"id": 0, "name": "person", "supercategory": "none"})
    values["annotations"][0]["category_id"] = 0
    assert len(coco.open_set(str(write(tmp_path, values))).people) == 2


@pytest.mark.parametrize("name", ["Person", "skeleton"])
def test_joints_are_known_by_their_names(tmp_path: Path, name: str) -> None:
    file = write(tmp_path, content(1))
    (wanted,) = coco.open_set(str(file)).people
    values = content(1)
    names = ["Neck", *(joint.replace("_", " ").title() for joint in reversed(JOINTS))]
    values["categories"] = [{"id": 4, "name": name, "keypoints": names}]
    points = np.reshape(values["annotations"][0]["keypoints"], (17, 3))[::-1]
    keypoints = [99, 99, 2, *points.ravel().tolist()]
    values["annotations"][0].update(category_id=4, keypoints=keypoints, num_keypoints=18)
    (person,) = coco.open_set(str(write(tmp_path, values))).people
    np.testing.assert_array_equal(person.joints, wanted.joints)


def test_names_written_on_windows(tmp_path: Path) -> None:
    values = content(1)
    values["images"][0]["file_name"] = "a/b/x.png"
    file = write(tmp_path, values)
    values["images"][0]["file_name"] = "a\\b\\x.png"
    file.write_text(json.dumps(values))
    assert coco.open_set(str(file)).pictures[0].path == tmp_path / "a/b/x.png"


def test_joints_without_a_box_have_one_around_them(tmp_path: Path) -> None:
    """The joints are at 5..53, 6..38; a tenth of 48 is added, within the picture of 64 x 48."""
    values = content()
    values["annotations"][0]["bbox"] = [0, 0, 0, 0]
    values["annotations"][0].pop("area")
    data = coco.open_set(str(write(tmp_path, values)))
    person = data.people[0]
    np.testing.assert_allclose(person.box_xyxy, [0.2, 1.2, 57.8, 42.8], atol=1e-5)
    assert person.area == pytest.approx(0.5 * 57.6 * 41.6, rel=1e-5)
    assert data.pictures[0].complete and person.asked_for
    assert len(data.with_joints(1).people) == 2


@pytest.mark.parametrize("joints", [[], [0] * 51, [9, 9, 2] + [0] * 48])
def test_somebody_without_a_place_is_somewhere(tmp_path: Path, joints: list[int]) -> None:
    """What is outside of the boxes of this picture is not known to be nobody."""
    values = content()
    values["info"] = {"complete": True}
    values["annotations"][0] |= {"bbox": [0, 0, 0, 0], "keypoints": joints}
    data = coco.open_set(str(write(tmp_path, values)))
    assert [picture.complete for picture in data.pictures] == [False, True]
    assert [person.asked_for for person in data.people] == [False, True]
    assert [person.annotation_id for person in data.with_joints(1).people] == [11]


@pytest.mark.parametrize("crowd, share", [(0, 0.5), (1, 1.0)])
def test_areas_are_those_of_outlines(tmp_path: Path, crowd: int, share: float) -> None:
    values = content(1)
    values["annotations"][0].pop("area")
    values["annotations"][0]["iscrowd"] = crowd
    (person,) = coco.open_set(str(write(tmp_path, values))).people
    assert person.area == share * 56 * 40


@pytest.mark.parametrize("beside", [True, False])
def test_the_ordinary_layout_of_coco(tmp_path: Path, beside: bool) -> None:
    write(tmp_path / "val2017", content())
    folder = tmp_path if beside else tmp_path / "annotations"
    folder.mkdir(exist_ok=True)
    file = folder / "person_keypoints_val2017.json"
    (tmp_path / "val2017" / "people.json").rename(file)
    for text in (f"{file}", f"{file},", f"{file},{tmp_path / 'val2017'}"):
        data = coco.open_set(text)
        assert data.pictures[0].path == tmp_path / "val2017" / "000.png"
        assert data.name == "person_keypoints_val2017"


def test_names_with_sub_folders_and_a_weight(tmp_path: Path) -> None:
    values = content()
    values["images"][0]["file_name"] = "a/b/x.png"
    data = coco.open_set(f"{write(tmp_path, values)},{tmp_path},0.25")
    assert data.pictures[0].path == tmp_path / "a/b/x.png" and data.weight == 0.25


def test_one_person_an_image_is_not_taken_as_everybody(tmp_path: Path) -> None:
    values = content(coco.SINGLE)
    assert not coco.open_set(str(write(tmp_path, values))).pictures[0].complete
    values["info"] = {"complete": True}
    values["images"][3]["complete"] = False
    pictures = coco.open_set(str(write(tmp_path, values))).pictures
    assert [n for n, p in enumerate(pictures) if not p.complete] == [3]


@pytest.mark.parametrize(
    "text", ["", ",x", "a.json,b,1,2", "a.json,b,", "a.json,b,0", "a.json,b,-1", "a.json,b,nan",
             "a.json,b,inf", "a.json,b,two"],
)  # fmt: skip
def test_a_wrong_text_is_a_wrong_option(text: str) -> None:
    with pytest.raises(UsageError, match="FILE.json|weight"):
        coco.open_set(text)


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(PosestreamError) as caught:
        coco.open_set(text)
    assert isinstance(caught.value, InputError)
    assert "\n" not in str(caught.value) and "people.json" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "data, part",
    [(b"", "not JSON"), (b"{", "not JSON"), (b"\xff\xfe\x00", "not JSON"),
     (b"[" * 10**5, "not JSON"), (b"[]", "not a COCO"), (b'{"images": []}', "not a COCO"),
     (b'{"images": {}, "annotations": []}', "not a COCO"),
     (b'{"images": [], "annotations": []}', "holds no image")],
)  # fmt: skip
def test_something_else_than_a_coco_file(tmp_path: Path, data: bytes, part: str) -> None:
    (tmp_path / "people.json").write_bytes(data)
    assert part in refused(tmp_path, str(tmp_path / "people.json"))


def test_a_file_that_is_missing_or_huge(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path, str(tmp_path / "people.json"))
    with (tmp_path / "people.json").open("wb") as stream:
        stream.truncate(coco.MAX_BYTES + 1)  # sparse
    assert "too large" in refused(tmp_path, str(tmp_path / "people.json"))


def test_a_folder_is_answered_with_the_file_that_is_meant(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder; give FILE.json,FOLDER .*train label"):
        coco.open_set(str(tmp_path))


def test_missing_images_are_told_with_the_way_to_name_their_folder(tmp_path: Path) -> None:
    file = write(tmp_path, content())
    (tmp_path / "000.png").unlink()
    assert "FILE.json,FOLDER" in refused(tmp_path, str(file))


NAMES = ["../x.png", "a/../../x.png", "/etc/passwd", "C:/x.png", "C:x.png", "..\\x.png", "\\\\h\\x",
         "", ".", "..", "a\0b", "a\nb", 5, None, ["x"], "x" * 300, "\ud800"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_out_of_the_folder(tmp_path: Path, name: object) -> None:
    values = content()
    file = write(tmp_path, values)
    values["images"][1]["file_name"] = name
    file.write_text(json.dumps(values))
    assert "file_name" in refused(tmp_path, str(file))
    assert coco.name_problem(name)


NAN, HUGE = float("nan"), 10**400
WRONG: list[tuple[Change, str]] = [
    (lambda v: v.update(categories=[]), "no category"),
    (lambda v: v.update(categories=5), "no category"),
    (lambda v: v["categories"][0].update(keypoints=["nose"]), "not the 17"),
    (lambda v: v["categories"][0].update(name="dog", keypoints=[]), "no category.*'dog'"),
    (lambda v: v["annotations"][0].update(category_id=5), "10: category_id 5 is not in the list"),
    (lambda v: v["annotations"][0].update(category_id="1"), "category_id '1' is not in the list"),
    (lambda v: v["annotations"][0].update(iscrowd="0"), "iscrowd '0' is not 0 or 1"),
    (lambda v: v["annotations"][1].update(id="a\nb", area=None), r"annotations\[1\]: area None"),
    (lambda v: v["images"].append(5), r"images\[2\]"),
    (lambda v: v["images"][1].update(id=1), r"images\[1\]: id 1 is that of an earlier image"),
    (lambda v: v["images"][1].update(id="2"), r"images\[1\]: id '2' is not a whole number"),
    (lambda v: v["images"][1].update(id=HUGE), r"images\[1\]"),
    (lambda v: v["images"][1].update(id=[1]), r"images\[1\]"),
    (lambda v: v["images"][0].update(width=0), "width and height"),
    (lambda v: v["images"][0].update(height="48"), "width and height"),
    (lambda v: v["annotations"].append(None), r"annotations\[2\]"),
    (lambda v: v["annotations"][0].update(image_id=77), "annotation 10: is of image 77, which"),
    (lambda v: v["annotations"][0].update(image_id=[1]), "which is not in the file"),
    (lambda v: v["annotations"][0].update(image_id=True), "which is not in the file"),
    (lambda v: v["annotations"][0].update(bbox=[1, 2, 3]), "annotation 10: bbox"),
    (lambda v: v["annotations"][0].update(bbox=[1, 2, NAN, 4]), "bbox"),
    (lambda v: v["annotations"][0].update(bbox=[1, 2, HUGE, 4]), "bbox"),
    (lambda v: v["annotations"][0].update(bbox=[1, 2, -3, 4]), "negative"),
    (lambda v: v["annotations"][0].pop("bbox"), "bbox"),
    (lambda v: v["annotations"][0].update(area="big"), "area"),
    (lambda v: v["annotations"][0].update(area=-2), "area -2 is not a number from 0"),
    (lambda v: v["annotations"][0]["keypoints"].pop(), "50 numbers instead of 51"),
    (lambda v: v["annotations"][0].update(keypoints="x"), "keypoints"),
    (lambda v: v["annotations"][0]["keypoints"].__setitem__(4, NAN), "finite"),
    (lambda v: v["annotations"][0]["keypoints"].__setitem__(4, None), "finite"),
    (lambda v: v["annotations"][0]["keypoints"].__setitem__(5, 3), "0, 1 or 2"),
]


@pytest.mark.parametrize("change, part", WRONG, ids=[part for _, part in WRONG])
def test_wrong_values_are_named(tmp_path: Path, change: Change, part: str) -> None:
    values = content()
    file = write(tmp_path, values)
    change(values)
    file.write_text(json.dumps(values))
    with pytest.raises(InputError, match=part) as caught:
        coco.open_set(str(file))
    assert "check-data" in str(caught.value) and "\n" not in str(caught.value)


def test_the_same_people_as_with_pycocotools(tmp_path: Path) -> None:
    theirs = pytest.importorskip("pycocotools.coco")
    file = write(tmp_path, content(3))
    reference = theirs.COCO(str(file))
    people = coco.open_set(str(file)).people
    assert len(people) == len(reference.anns)
    for person in people:
        annotation = reference.anns[person.annotation_id]
        assert reference.imgs[person.image_id]["file_name"] == person.image.name
        np.testing.assert_allclose(geometry.to_coco_boxes(person.box_xyxy), annotation["bbox"])
        np.testing.assert_allclose(person.joints.ravel(), annotation["keypoints"])


@pytest.mark.skipif(not PEOPLE.is_dir(), reason="the shared people are not there")
@pytest.mark.parametrize(
    "name, images, people, joints", [("coco_val", 416, 1544, 918), ("lspet_val", 498, 498, 498)]
)
def test_a_real_file(tmp_path: Path, name: str, images: int, people: int, joints: int) -> None:
    values = json.loads((PEOPLE / f"{name}.json").read_text())
    first = tmp_path / values["images"][0]["file_name"]
    first.parent.mkdir()
    first.touch()
    data = coco.open_set(f"{PEOPLE / name}.json,{tmp_path}")
    assert (len(data.pictures), len(data.people)) == (images, people)
    assert len(data.with_joints(1).people) == joints

"""The command demo-data: the demo scene as a COCO keypoint set, with its truth."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from realtime.errors import OutputError, UsageError
from realtime.scene import Scene
from train import coco, demo_data, tiny_data
from train.__main__ import main
from train.images import read_image

SMALL = (320, 240)


def test_eight_people_for_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path), "--size", "320x240"]
    assert main(["demo-data", *out, "--images", "4", "--people", "2"]) == 0
    data = coco.open_set(str(tmp_path / "people.json"))
    assert len(data.pictures) == 4 and all(len(p.people) == 2 for p in data.pictures)
    assert all(p.size_wh == SMALL and p.complete for p in data.pictures)
    assert len(data.with_joints(6).people) == 8
    assert main(["check-data", str(tmp_path / "people.json")]) == 0
    assert "4 images, 8 people, 8 with joints, no problem" in capsys.readouterr().out


def test_joints_boxes_and_pixels_are_those_of_the_scene(tmp_path: Path) -> None:
    file = demo_data.write_set(tmp_path, 5, None, SMALL, seed=3)
    pictures = coco.open_set(str(file)).pictures
    seen = 0
    for number, picture in enumerate(pictures):
        place = demo_data.FIRST_SEED * 4 + number // demo_data.EACH
        scene = Scene(place, demo_data.EACH * tiny_data.CAST, SMALL)
        offset = np.random.default_rng(place).integers(0, tiny_data.CAST, demo_data.EACH)
        index = number % demo_data.EACH
        frame = index * tiny_data.CAST + int(offset[index])
        truth = scene.truth(frame)
        np.testing.assert_array_equal(read_image(picture.path), scene.image(frame))
        assert len(picture.people) == len(truth)
        for person, box, joints, visible in zip(
            picture.people, truth.boxes_xyxy, truth.joints_xy, truth.visible
        ):
            np.testing.assert_allclose(person.box_xyxy, box, atol=0.02)
            labelled = person.joints[:, 2] > 0
            np.testing.assert_allclose(person.joints[labelled, :2], joints[labelled], atol=1e-3)
            np.testing.assert_array_equal(person.joints[:, 2] == 2, visible)
            seen += int(labelled.sum())
    assert seen > 50


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        demo_data.write_set(tmp_path / folder, 3, None, SMALL, seed, "jpg")
    names = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert [str(n) for n in names] == [*(f"images/00000{n}.jpg" for n in (1, 2, 3)), "people.json"]
    for name in names:
        mine = (tmp_path / "a" / name).read_bytes()
        assert mine == (tmp_path / "b" / name).read_bytes()
        assert mine != (tmp_path / "c" / name).read_bytes()


def test_hidden_people_and_joints(tmp_path: Path) -> None:
    values = json.loads(demo_data.write_set(tmp_path, 40, None, SMALL, 5, "jpg").read_text())
    people = values["annotations"]
    counted = [np.array(a["keypoints"]).reshape(17, 3)[:, 2] for a in people]
    assert {0, 1, 2} <= {int(v) for vs in counted for v in vs}
    assert any(a["iscrowd"] for a in people) and not all(a["iscrowd"] for a in people)
    for annotation, vs in zip(people, counted):
        assert annotation["num_keypoints"] == int((vs > 0).sum())
        assert not annotation["iscrowd"] or not (vs == 1).any()


def test_sizes_and_numbers_vary_where_nobody_says(tmp_path: Path) -> None:
    values = json.loads(demo_data.write_set(tmp_path, 12, suffix="jpg").read_text())
    assert len({(i["width"], i["height"]) for i in values["images"]}) > 1
    images = [a["image_id"] for a in values["annotations"]]
    assert len({images.count(n) for n in range(1, 13)}) > 2


def test_nobody(tmp_path: Path) -> None:
    data = coco.open_set(str(demo_data.write_set(tmp_path, 2, 0, SMALL)))
    assert len(data.pictures) == 2 and data.people == []
    assert cv2.imread(str(data.pictures[0].path)).std() > 5


@pytest.mark.parametrize(
    "wrong", [["--images", "0"], ["--people", "7"], ["--people", "-1"], ["--seed", "-1"],
              ["--size", "32x32"], ["--size", "wide"], ["--format", "gif"]],
)  # fmt: skip
def test_wrong_options(tmp_path: Path, wrong: list[str]) -> None:
    assert main(["demo-data", "--out", str(tmp_path / "new"), *wrong]) == 2
    assert not (tmp_path / "new").exists()


def test_more_people_than_can_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_data, "CLEAR", 1.01)
    monkeypatch.setattr(demo_data, "TRIES", 8)
    with pytest.raises(UsageError, match="take fewer"):
        demo_data.write_set(tmp_path, 1, 6, SMALL)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        demo_data.write_set(tmp_path / "file", 1, None, SMALL)
    assert main(["demo-data", "--out", str(tmp_path / "file" / "x"), "--images", "1"]) == 4


def test_labels_that_are_there_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "people.json"
    file.write_text("mine")
    command = ["demo-data", "--out", str(tmp_path), "--images", "1", "--size", "64x64"]
    assert main(command) == 4
    assert "exists; use --overwrite" in capsys.readouterr().err and file.read_text() == "mine"
    assert main([*command, "--overwrite"]) == 0
    assert len(coco.open_set(str(file)).pictures) == 1

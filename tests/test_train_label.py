"""The command label: pictures of the demo scene labelled by the networks that know it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from coco_files import content, write

from realtime import geometry
from train import coco, demo_data
from train.__main__ import main

DATA = Path(__file__).parent / "data"
DETECTOR = ["--detector", str(DATA / "tiny_detector.onnx")]
POSE = ["--pose", str(DATA / "tiny_pose.onnx")]


def read(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text())
    assert isinstance(values, dict)
    return values


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    demo_data.write_set(folder, 6, 2, (640, 360), seed=5, suffix="jpg")
    return folder


def label(*arguments: object) -> int:
    return main(["label", *map(str, arguments)])


def test_a_folder_becomes_a_set_that_can_be_learnt(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    assert label(scenes / "images", "--out", out, *DETECTOR, *POSE) == 0
    assert "6 images" in capsys.readouterr().out
    assert main(["check-data", f"{out},{scenes / 'images'}"]) == 0
    truth = coco.open_set(str(scenes / "people.json")).pictures
    found = coco.open_set(f"{out},{scenes / 'images'}").pictures
    assert [p.path for p in found] == [p.path for p in truth]
    hits, errors, count = 0, 0.0, 0
    for true, mine in zip(truth, found):
        assert mine.complete and mine.size_wh == (640, 360)
        boxes = np.array([p.box_xyxy for p in mine.people], np.float32).reshape(-1, 4)
        for person in true.people:
            overlap = geometry.iou(person.box_xyxy[None], boxes)[0]
            if overlap.max(initial=0) < 0.5:
                continue
            hits += 1
            other = mine.people[int(overlap.argmax())]
            known = (other.joints[:, 2] == 2) & (person.joints[:, 2] > 0)
            apart = np.linalg.norm(other.joints[known, :2] - person.joints[known, :2], axis=1)
            errors, count = errors + float(apart.sum()), count + len(apart)
    assert hits >= 9 and count > 80 and errors / count < 12


def test_what_is_in_doubt_is_a_crowd_and_an_unsure_joint_stays_open(
    scenes: Path, tmp_path: Path
) -> None:
    strict, plain = tmp_path / "strict.json", tmp_path / "plain.json"
    assert label(scenes / "images", "--out", plain, *DETECTOR, *POSE) == 0
    high = ["--sure", 1, "--doubt", 0.3]
    assert label(scenes / "images", "--out", strict, *DETECTOR, *POSE, *high) == 0
    people = read(strict)["annotations"]
    assert len(people) > 5 and all(p["iscrowd"] and not p["num_keypoints"] for p in people)
    some = [p for p in read(plain)["annotations"] if not p["iscrowd"]]
    again = ["--overwrite", *DETECTOR]
    assert label(scenes / "images", "--out", strict, *again, *POSE, "--joint", 0.9) == 0
    fewer = [p for p in read(strict)["annotations"] if not p["iscrowd"]]
    assert sum(p["num_keypoints"] for p in fewer) < sum(p["num_keypoints"] for p in some)
    for person in fewer:
        v = person["keypoints"][2::3]
        assert set(v) <= {0, 2} and sum(n == 2 for n in v) == person["num_keypoints"]
    assert label(scenes / "images", "--out", plain, *again) == 0  # boxes alone
    assert all(p["num_keypoints"] == 0 for p in read(plain)["annotations"])


def test_labels_made_by_hand_are_not_replaced(scenes: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_bytes((scenes / "people.json").read_bytes())
    (tmp_path / "link.json").symlink_to(mine)
    had = mine.read_bytes()
    assert label(scenes / "images", "--out", mine, *DETECTOR) == 4
    for out in (mine, tmp_path / "link.json"):
        assert label(f"{mine},{scenes}", "--out", out, "--overwrite", *DETECTOR) == 2
    assert mine.read_bytes() == had


def test_labels_that_are_there_stay_and_nobody_is_labelled_twice(
    scenes: Path, tmp_path: Path
) -> None:
    values = read(scenes / "people.json")
    values["info"]["complete"] = False
    had = [a for a in values["annotations"] if a["image_id"] % 2]
    (tmp_path / "half.json").write_text(json.dumps({**values, "annotations": had}))
    out = tmp_path / "all.json"
    assert label(f"{tmp_path / 'half.json'},{scenes}", "--out", out, *DETECTOR, *POSE) == 0
    before = {p.path: p for p in coco.open_set(f"{tmp_path / 'half.json'},{scenes}").pictures}
    new = 0
    for picture in coco.open_set(f"{out},{scenes}").pictures:
        old = before[picture.path].people
        for person, other in zip(old, picture.people):
            np.testing.assert_allclose(person.box_xyxy, other.box_xyxy, atol=0.02)
            np.testing.assert_allclose(person.joints, other.joints, atol=0.02)
        added = [p for p in picture.people[len(old) :] if not p.crowd]
        boxes = np.array([p.box_xyxy for p in old], np.float32).reshape(-1, 4)
        for person in added:
            assert geometry.iou(person.box_xyxy[None], boxes).max(initial=0) < 0.4
        new += len(added) if not old else 0
    assert new >= 4


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere", *DETECTOR], 3, "nowhere"),
        (["EMPTY", *DETECTOR], 3, "holds no image"),
        (["FOLDER", *DETECTOR, "--doubt", "0.9"], 2, "--doubt 0.9: above --sure 0.5"),
        (["FOLDER", *DETECTOR, "--sure", "2"], 2, "above 0 up to 1"),
        (["FOLDER", "--detector", "none.onnx"], 5, "none.onnx"),
    ],
)
def test_one_line_for_what_cannot_be(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "FOLDER", content(1))
    (tmp_path / "EMPTY").mkdir()
    given = [str(tmp_path / a) if a in ("FOLDER", "EMPTY", "nowhere") else a for a in arguments]
    assert label(*given, "--out", tmp_path / "out.json") == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and words in lines[0]
    assert not (tmp_path / "out.json").exists()


def test_a_damaged_picture_is_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((48, 64, 3), np.uint8))
    assert label(tmp_path, "--out", tmp_path / "out.json", *DETECTOR) == 0
    assert "bad.jpg" in caplog.text and "left out" in caplog.text
    assert [i["file_name"] for i in read(tmp_path / "out.json")["images"]] == ["good.png"]

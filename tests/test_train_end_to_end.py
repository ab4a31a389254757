"""From rendered people to a pose network in every format, through the public command line."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.load import load
from realtime import decode, geometry
from realtime.crop import cut
from realtime.records import Detections, Frame
from train.__main__ import main
from train.coco import open_set
from train.evaluate import open_model

ROOT = Path(__file__).resolve().parent.parent
PLAIN = [f"--{n}=0" for n in ("flip", "scale", "rotate", "shift", "half-body", "colour", "dark",
                              "blur", "occlude", "weight-decay")]  # fmt: skip
pytestmark = pytest.mark.timeout(600)


def train(*arguments: object) -> None:
    """Run ``python -m train`` in a process of its own, with one thread."""
    run = subprocess.run(
        [sys.executable, "-m", "train", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def train_here(*arguments: object) -> None:
    """The same in this process, which has loaded torch."""
    assert main([str(argument) for argument in arguments]) == 0


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data (d), a training of 8 people (run) and its exports (models)."""
    folder = tmp_path_factory.mktemp("learned")
    train_here(
        "demo-data", "--out", folder / "d", "--images", 4, "--people", 2, "--size", "640x360"
    )
    people = folder / "d" / "people.json"
    train(
        "pose", "--out", folder / "run", "--data", people, "--val", people, "--input-wh", "64x96",
        "--batch", 8, "--epochs", 45, "--warmup", 15, "--validate-every", 45, "--threads", 1,
        "--workers", 0, *PLAIN,
    )  # fmt: skip
    train_here("export", folder / "run", "--out", folder / "models", "--name", "eight")
    return folder


def test_eight_people_are_learned(learned: Path) -> None:
    report = learned / "eval.json"
    train_here(
        "eval", "--pose", learned / "run", "--data", learned / "d" / "people.json", "--quick",
        "--json", report,
    )  # fmt: skip
    [measured] = json.loads(report.read_text())["sets"]
    rows = {row["decode"]: row for row in measured["rows"]}
    assert rows["udp"]["AP"] >= 0.95


def test_the_folder_holds_what_people_look_at(learned: Path) -> None:
    run = learned / "run"
    sheet = cv2.imread(str(run / "sheet.png"))
    assert sheet.shape == (2 * 96, 6 * 2 * 64, 3)  # 8 people, crop and heatmap each
    assert sheet.std() > 20
    assert (run / "curves.png").stat().st_size > 5000
    with (run / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 45
    assert losses[-1] < losses[0] / 10


def test_every_format_gives_the_same_joints(learned: Path) -> None:
    models = [learned / "models" / f"eight.{kind}" for kind in ("onnx", "safetensors", "mat")]
    back = learned / "back"
    train_here("export", models[2], "--out", back, "--formats", "safetensors", "--name", "back")
    reference = joints(learned / "run", learned)
    for path in (*models[:2], back / "back.safetensors", learned / "run" / "model.onnx"):
        difference = np.abs(joints(path, learned) - reference).max()
        assert difference < 0.1, path


def joints(model: Path, learned: Path) -> np.ndarray:
    """The joints (8, 17, 2) that a model finds in the labelled boxes, in crop pixels."""
    import argparse

    options = argparse.Namespace(engine="auto", precision="f32", compute="cpu", threads=1)
    plain = model.suffix == ".onnx"
    network = (
        load(model, "pose", precision="f32") if plain else open_model(str(model), "pose", options)
    )
    found = []
    for n, picture in enumerate(open_set(str(learned / "d" / "people.json")).pictures):
        frame = Frame(n, 0.0, cv2.imread(str(picture.path)), "")
        boxes = np.array([p.box_xyxy for p in picture.people], np.float32)
        people = Detections(boxes, np.ones(len(boxes), np.float32))
        crops = cut([frame], [people], network.spec.input_wh, network.spec.padding)
        spec = network.spec
        heatmaps = network(crops.pixels)[0]
        points, _ = decode.decode(heatmaps, "udp", spec.grid, spec.input_wh, spec.sigma)
        found.append(points)
        assert geometry.apply(crops.crop_to_frame, points).shape == (len(boxes), 17, 2)
    network.close()
    return np.concatenate(found)

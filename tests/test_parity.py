"""Every backend that is here gives the same joints as float32 torch, with the bundled networks, on
crops of the demo scene and, where they are at hand, of real videos and photographs."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines import selfcheck
from engines.base import Network, Options, Precision
from engines.identify import identify
from engines.load import find_default, load
from realtime import stream
from realtime.api import RunOptions
from realtime.crop import cut
from realtime.detect import Detector
from realtime.errors import ModelError
from realtime.geometry import from_coco_boxes
from realtime.records import Detections, Frame, Poses
from train.trained_network import TrainedNetwork

CLIPS = [
    f"{name}.mp4"
    for name in (
        "sports2d_dumbbell_demo5", "sports2d_walk_demo4", "sam_guitar_upperbody",
        "tfjs_squats_h264", "pose2sim_multi_cam02", "mmpose_posetrack18_5frames",
    )
]  # fmt: skip
SHARED = Path(os.environ.get("POSESTREAM_SHARED", Path(__file__).parents[2] / "shared"))
FORMS = {
    ("openvino", "f32"): 0.02, ("onnxruntime", "f32"): 0.02, ("torch", "f32"): 0.001,
    ("openvino", "bf16"): 0.25, ("torch", "bf16"): 0.25, ("openvino", "int8"): 1.0,
}  # fmt: skip
"""Engine and precision, and within how many pixels of the 256x192 crop 95 % of the joints that
torch in float32 scores 0.3 or more have to be."""


@cache
def network(engine: str, precision: str) -> Network:
    path = find_default("pose")
    assert path is not None
    if (engine, precision) == ("torch", "bf16"):
        torch = pytest.importorskip("torch")
        from engines.torch import has_bf16

        if not has_bf16(torch.device("cpu")):
            pytest.skip("this CPU has no instructions for bf16: seconds a crop")
    try:
        return load(path, "pose", engine=engine, precision=cast(Precision, precision))
    except ModelError as error:
        pytest.skip(f"{engine} in {precision}: {error}")


@cache
def crops(kind: str) -> NDArray[np.uint8]:
    if kind == "demo":
        return selfcheck.demo_crops(identify(cast(Path, find_default("pose"))), 16)
    if kind == "clips":
        return _of_clips()
    file = SHARED / "data" / "people" / "coco_val.json"
    folder = os.environ.get("POSESTREAM_PEOPLE", "")
    if not file.is_file() or not folder:
        pytest.skip("needs photographs of people: POSESTREAM_PEOPLE, the folder of their images")
    data = json.loads(file.read_text())
    names = {image["id"]: image["file_name"] for image in data["images"]}
    found = []
    for person in [a for a in data["annotations"] if a.get("num_keypoints", 0) > 8][::12][:32]:
        image = cv2.imread(str(Path(folder) / names[person["image_id"]]))
        box = from_coco_boxes(np.array(person["bbox"]))[None]
        frame, one = (
            Frame(0, 0.0, np.asarray(image, np.uint8)),
            Detections(box, np.ones(1, np.float32)),
        )
        found.append(cut([frame], [one], (192, 256), 1.25).pixels)
    return np.concatenate(found)


def _of_clips() -> NDArray[np.uint8]:
    """Crops of the people whom the bundled detector finds in real videos."""
    paths = [path for name in CLIPS if (path := SHARED / "clips" / name).is_file()]
    if not paths:
        pytest.skip(f"needs the videos {', '.join(CLIPS)} in {SHARED / 'clips'}")
    detect = Detector(load(cast(Path, find_default("detector")), "detector"), 0.3)
    found = []
    for path in paths:
        video = cv2.VideoCapture(str(path))
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        for index in range(0, count - 1, max(count // 5, 1)):
            video.set(cv2.CAP_PROP_POS_FRAMES, index)
            frame = Frame(index, 0.0, np.asarray(video.read()[1], np.uint8))
            found.append(cut([frame], detect([frame]), (192, 256), 1.25).pixels)
    return np.concatenate(found)


@pytest.mark.parametrize("kind", ["demo", "clips", "photographs"])
@pytest.mark.parametrize(("engine", "precision"), FORMS)
def test_the_same_joints_as_torch_in_float32(kind: str, engine: str, precision: str) -> None:
    reference = TrainedNetwork(cast(Path, find_default("pose")), "pose", Options())
    told = selfcheck.agreement(reference, network(engine, precision), crops(kind))
    print(f"{kind}, {engine} {precision}: {told}")
    assert told.joints > 100
    assert told.p95_px <= FORMS[engine, precision] and told.mean_oks >= 0.99, str(told)


@pytest.mark.parametrize(("engine", "precision"), FORMS)
def test_batches_of_any_size_are_their_pictures_one_by_one(engine: str, precision: str) -> None:
    """Also those across the edges at which backends change how they compute, an empty one, and
    one that is not in one piece of memory."""
    net, some = network(engine, precision), crops("demo")
    alone = np.concatenate([net(picture[None])[0] for picture in some])
    scale = float(np.abs(alone).max())
    close = 1e-4 if precision == "f32" else 0.02
    for size in (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16):
        maps = net(some[:size])[0]
        assert maps.shape == (size, 17, 64, 48) and maps.dtype == np.float32
        np.testing.assert_allclose(maps, alone[:size], atol=close * scale)
    wide = np.repeat(some[:6], 2, axis=2)[:, :, ::2]
    assert not wide.flags.c_contiguous
    np.testing.assert_allclose(net(wide)[0], alone[:6], atol=close * scale)
    np.testing.assert_allclose(net(some[5:1:-2])[0], alone[5:1:-2], atol=close * scale)


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_a_whole_run_is_the_same_on_every_engine(engine: str) -> None:
    """Not only the networks: boxes, which crops are narrow, how much of the input is used."""
    pytest.importorskip(engine)
    detector, pose = find_default("detector"), find_default("pose")
    assert detector and pose

    def poses(engine: str) -> list[Poses]:
        how = RunOptions(engine=engine, precision="f32", detector=detector, pose=pose)
        with stream("demo", start=120, end=132, smooth="off", **how) as run:
            return [item.poses for item in run]

    ours, theirs = poses("openvino"), poses(engine)
    assert sum(map(len, ours)) > 20
    for one, other in zip(ours, theirs, strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        sure = one.joint_scores >= 0.1
        np.testing.assert_allclose(one.joints_xy[sure], other.joints_xy[sure], atol=0.2)
        np.testing.assert_allclose(one.joint_scores, other.joint_scores, atol=2e-3)

"""The two bundled tiny networks, run through OpenVINO alone, and the code that trains them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.base import Network
from engines.load import load
from realtime import geometry
from realtime.decode import decode
from realtime.defaults import DETECTOR_SCORE
from realtime.detect import Detector, decode_centers
from realtime.records import Frame
from realtime.scene import Scene
from realtime.skeleton import JOINT_COUNT, MIRROR
from train import tiny_data as data
from train import tiny_eval
from train.__main__ import main

FOLDER = Path(__file__).parent / "data"
FILES = {task: FOLDER / f"tiny_{task}.onnx" for task in ("detector", "pose")}
SIZE_WH = (1280, 720)


@pytest.fixture(scope="module")
def detector() -> Network:
    return load(FILES["detector"], "detector", precision="f32")


@pytest.fixture(scope="module")
def pose() -> Network:
    return load(FILES["pose"], "pose", precision="f32")


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [Scene(seed, 600, SIZE_WH, 30.0) for seed in range(5)]


# ---- the files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("task", FILES)
def test_file_is_small_and_describes_itself(task: str) -> None:
    import openvino as ov

    assert FILES[task].stat().st_size <= 1_000_000
    model = ov.Core().read_model(str(FILES[task]))
    spec = json.loads(model.get_rt_info(["framework", "posestream"]).value)
    width, height = spec["input_wh"]
    assert spec.pop("trained")
    assert spec == {
        "name": f"tiny_{task}",
        "task": task,
        "format": {"detector": "centers", "pose": "heatmaps"}[task],
        "input_wh": {"detector": [320, 192], "pose": [192, 256]}[task],
        "nhwc": True,
        "rgb": False,
        "grid": "pixel_centre",
        "sigma": 2.0,
        "licence": "Apache-2.0",
    }
    assert str(model.input().partial_shape) == f"[?,{height},{width},3]"
    names = {"detector": ["centers", "sizes"], "pose": ["heatmaps"]}[task]
    assert [out.any_name for out in model.outputs] == names


@pytest.mark.parametrize("task", FILES)
def test_batch_equals_one_by_one(task: str, request: pytest.FixtureRequest) -> None:
    network = request.getfixturevalue(task)
    width, height = {"detector": data.DETECTOR_WH, "pose": data.POSE_WH}[task]
    batch = np.random.default_rng(0).integers(0, 256, (5, height, width, 3), np.uint8)
    together = network(batch)
    for n in range(5):
        for whole, single in zip(together, network(batch[n : n + 1])):
            np.testing.assert_allclose(whole[n : n + 1], single, rtol=1e-3, atol=1e-4)


def test_outputs_keep_the_contract(detector: Network, pose: Network) -> None:
    centres, sizes = detector(np.full((2, 192, 320, 3), 114, np.uint8))
    (heatmaps,) = pose(np.full((3, 256, 192, 3), 114, np.uint8))
    assert centres.shape == (2, 1, 48, 80)
    assert sizes.shape == (2, 4, 48, 80)
    assert heatmaps.shape == (3, JOINT_COUNT, 64, 48)
    assert sizes.min() > 0
    for chance in (centres, heatmaps):
        assert chance.min() >= 0
        assert chance.max() <= 0.2  # nothing to see on grey


# ---- how good they are --------------------------------------------------------------------------


def test_detector_is_silent_where_nobody_is(detector: Network, scenes: list[Scene]) -> None:
    find = Detector(detector, DETECTOR_SCORE)
    for scene in scenes:
        frames = [Frame(n, 0.0, scene.image(n, people=False)) for n in tiny_eval.spread(scene, 4)]
        assert [len(found) for found in find(frames)] == [0] * 4, scene.seed


def test_detector_finds_people(detector: Network, scenes: list[Scene]) -> None:
    report = tiny_eval.detector_report(detector, scenes, 6)
    assert report.people >= 50
    assert report.recall >= 0.88  # measured 0.904 of 52, 0.920 of 199 in ten scenes
    assert report.false <= 0.1


def test_pose_is_near_the_truth(pose: Network, scenes: list[Scene]) -> None:
    report = tiny_eval.pose_report(pose, scenes, 4)
    assert report.people >= 30
    assert report.error <= 5.0  # measured 4.0 px, 4.1 in ten scenes
    assert report.kept >= 0.9


# ---- targets ------------------------------------------------------------------------------------

edge = st.floats(0, 1, width=32)


@given(x=edge, y=edge, w=edge, h=edge)
@settings(max_examples=60, deadline=None)
def test_detector_targets_give_the_box_back(x: float, y: float, w: float, h: float) -> None:
    size = np.array([8 + 80 * w, 12 + 150 * h])
    low = np.array([x, y]) * (np.array(data.DETECTOR_WH) - 1 - size)
    box = np.concatenate([low, low + size])[None].astype(np.float32)
    inside = np.array([0, 0, 319, 191], np.float32)
    centres, counted, edges, share = data.detector_targets(
        box, np.ones(1, np.float32), inside, data.DETECTOR_WH
    )
    found, _ = decode_centers([centres[None], edges], data.DETECTOR_WH, 0.99)
    assert len(found) == 1
    np.testing.assert_allclose(found, box, atol=0.01)
    assert counted.all()
    assert share.sum() == pytest.approx(1, abs=1e-4)


def test_hidden_people_are_neither_asked_for_nor_forbidden() -> None:
    boxes = np.array([[20, 20, 60, 140], [200, 20, 240, 140]], np.float32)
    inside = np.array([0, 0, 319, 179], np.float32)
    centres, counted, _, share = data.detector_targets(
        boxes, np.array([0.1, 0.9], np.float32), inside, data.DETECTOR_WH
    )
    assert np.argwhere(centres == 1).tolist() == [[20, 55]]
    assert counted[20, 10] == 0
    assert counted[20, 55] == 1
    assert share[:, :40].sum() == 0


@given(seed=st.integers(0, 10**6), joint=st.integers(0, JOINT_COUNT - 1))
@settings(max_examples=40, deadline=None)
def test_augmented_crop_and_heatmap_agree(seed: int, joint: int) -> None:
    """A bright spot at one joint lies in the crop where the heatmap of that joint, or of its
    mirror joint after a flip, has its peak."""
    rng = np.random.default_rng(seed)
    source = _spot(joint, rng)
    sample = data.pose_sample(source, 0, rng)
    joints, scores = decode(sample.heatmaps[None], "udp", "pixel_centre", data.POSE_WH)
    seen = [j for j in (joint, int(MIRROR[joint])) if scores[0, j] > 0.6]
    if not seen:  # the jitter moved it out of the crop
        return
    spot = _brightest(sample.crop)
    assert np.linalg.norm(joints[0, seen] - spot, axis=1).min() < 1.5


def _spot(joint: int, rng: np.random.Generator) -> data.Render:
    """A dark frame, one person whose joint is the only bright spot; the mirror joint is hidden
    far from it."""
    image = np.full((360, 640, 3), 40, np.uint8)
    at = rng.integers([290, 120], [350, 240])
    image[at[1] - 3 : at[1] + 4, at[0] - 3 : at[0] + 4] = 220
    joints = np.full((1, JOINT_COUNT, 2), -50, np.float32)
    joints[0, joint] = at
    return data.Render(
        image,
        joints,
        np.ones((1, JOINT_COUNT), bool),
        np.array([[270, 90, 370, 270]], np.float32),
        np.ones(1, np.float32),
    )


def _brightest(crop: Any) -> Any:
    """Centre of the pixels far above the rest."""
    grey = crop.astype(np.float64).mean(2)
    y, x = np.nonzero(grey > (grey.max() + np.median(grey)) / 2)
    return np.array([x.mean(), y.mean()])


def test_detector_sample_moves_boxes_with_the_picture() -> None:
    """The only bright block of a frame fills the target box of its augmented sample."""
    image = np.full((360, 640, 3), 30, np.uint8)
    image[80:281, 260:341] = 250
    box = np.array([[260, 80, 340, 280]], np.float32)
    joints = np.zeros((1, JOINT_COUNT, 2), np.float32)
    one = np.ones(1, np.float32)
    source = data.Render(image, joints, np.ones((1, JOINT_COUNT), bool), box, one)
    checked = 0
    for seed in range(30):
        sample = data.detector_sample(source, np.random.default_rng(seed))
        found, _ = decode_centers([sample.centres[None], sample.edges], data.DETECTOR_WH, 0.99)
        if len(found) == 0 or found.min() < 2 or found[0, 2] > 317 or found[0, 3] > 189:
            continue  # cut at the border
        grey = sample.image.mean(2)
        y, x = np.nonzero(grey > (grey.max() + 114) / 2)  # above the padding
        block = np.array([[x.min(), y.min(), x.max(), y.max()]], np.float32)
        assert geometry.iou(found, block)[0, 0] > 0.85
        checked += 1
    assert checked >= 10


@given(x=st.floats(0, 191, width=32), y=st.floats(0, 255, width=32))
@settings(max_examples=60, deadline=None)
def test_heatmaps_hold_joints_to_a_tenth_of_a_pixel(x: float, y: float) -> None:
    joints = np.tile(np.array([x, y], np.float32), (JOINT_COUNT, 1))
    maps = data.pose_targets(joints, np.full(JOINT_COUNT, 1.0))
    found, scores = decode(maps[None], "udp", "pixel_centre", data.POSE_WH)
    np.testing.assert_allclose(found[0], joints, atol=0.1)
    assert (scores > 0.9).all()


# ---- training -----------------------------------------------------------------------------------


def _torch() -> Any:
    return pytest.importorskip("torch", reason="training needs torch (posestream[train])")


def _renders() -> list[data.Render]:
    scene = Scene(1000, 60, (640, 360), 30.0)
    return [data.render(scene, index) for index in (10, 40)]


@pytest.mark.parametrize("task", FILES)
def test_steps_lower_the_loss(task: str) -> None:
    torch = _torch()
    from train import tiny, tiny_nets

    torch.manual_seed(0)
    plan = tiny.Plan(small_steps=0, steps=3, batch=4, rate=3e-3, seed=0)
    renders = _renders()
    if task == "detector":
        net, loss_of = tiny_nets.TinyDetector(), tiny.detector_loss
        batch = next(tiny.detector_batches(iter([renders]), plan))
    else:
        net, loss_of = tiny_nets.TinyPose(), tiny.pose_loss
        batch = next(tiny.pose_batches(iter([list(map(tiny.seen, renders))]), plan))
    with torch.no_grad():
        before = loss_of(net, batch).item()
    trained = tiny.train(net, loss_of, iter([batch] * 3), plan)
    with torch.no_grad():
        after = loss_of(net, batch).item()
    assert after < before
    assert trained is net
    assert not net.training


def test_renders_give_way_to_new_ones() -> None:
    _torch()
    from train import tiny

    seen = [list(pool) for pool, _ in zip(tiny.pools(iter(range(6)), 3, 2), range(12))]
    assert seen[0] == seen[1] == [0, 1, 2] and seen[2] == seen[3] == [3, 1, 2]
    assert seen[6] == seen[-1] == [3, 4, 5]


def test_perfect_maps_have_the_lowest_pose_loss() -> None:
    torch = _torch()
    from train import tiny

    plan = tiny.Plan(0, 1, 4, 1e-3, 0)
    crops, heatmaps = next(tiny.pose_batches(iter([list(map(tiny.seen, _renders()))]), plan))

    class Fixed:
        def __init__(self, maps: Any) -> None:
            self.maps = maps

        def logits(self, _: Any) -> Any:
            return torch.logit(self.maps.clamp(1e-6, 1 - 1e-6))

    def loss(maps: Any) -> float:
        return float(tiny.pose_loss(Fixed(maps), (crops, heatmaps)))

    others = heatmaps * 0.9, (heatmaps * 1.1).clamp(max=1), heatmaps.roll(1, 3), heatmaps * 0
    assert loss(heatmaps) < min(map(loss, others))


@pytest.mark.parametrize("task", FILES)
def test_export_keeps_what_the_network_says(task: Any, tmp_path: Path) -> None:
    torch = _torch()
    onnxruntime = pytest.importorskip("onnxruntime", reason="compares with onnxruntime")
    from train import tiny, tiny_nets

    torch.manual_seed(1)
    net = tiny_nets.TinyDetector() if task == "detector" else tiny_nets.TinyPose()
    _unsettle(net)
    path = tmp_path / f"tiny_{task}.onnx"
    tiny.write(net, path, "not trained")
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size <= 1_000_000
    assert _weights(path) == _weights(FILES[task]), "the bundled file is of another network"
    width, height = data.DETECTOR_WH if task == "detector" else data.POSE_WH
    images = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)
    with torch.inference_mode():
        wanted = net.eval()(torch.from_numpy(images))
    wanted = [w.numpy() for w in (wanted if task == "detector" else [wanted])]
    session = onnxruntime.InferenceSession(str(path))
    for got in (load(path, task, precision="f32")(images), session.run(None, {"images": images})):
        for want, have in zip(wanted, got, strict=True):
            np.testing.assert_allclose(have, want, rtol=0.02, atol=0.01)


def _weights(path: Path) -> list[tuple[int, ...]]:
    """The shapes of the convolutions of a model file, in a fixed order."""
    onnx = pytest.importorskip("onnx", reason="reads weights with onnx (posestream[train])")
    tensors = onnx.load(str(path)).graph.initializer
    return sorted(tuple(tensor.dims) for tensor in tensors if len(tensor.dims) == 4)


def _unsettle(net: Any) -> None:
    """Give batch normalisations and heads values a trained network could have."""
    import torch

    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(part.running_var, 0.5, 2)
            torch.nn.init.uniform_(part.weight, 0.7, 1.3)
    torch.nn.init.normal_(net.head.weight, std=0.1)


def test_weights_too_large_for_fp16_are_refused(tmp_path: Path) -> None:
    torch = _torch()
    from train.export import to_onnx

    net = torch.nn.Conv2d(3, 4, 1)
    torch.nn.init.constant_(net.weight, 1e6)
    with pytest.raises(ValueError, match="fp16"):
        to_onnx(net, {}, tmp_path / "net.onnx", torch.zeros(2, 3, 8, 8))
    assert list(tmp_path.iterdir()) == []


def test_batchnorm_that_cannot_be_folded_stays() -> None:
    torch = _torch()
    from train.export import fold_batchnorm

    net = torch.nn.Sequential(
        torch.nn.BatchNorm2d(3), torch.nn.ConvTranspose2d(3, 4, 2, 2), torch.nn.BatchNorm2d(4)
    )
    for part in (net[0], net[2]):
        torch.nn.init.uniform_(part.running_mean, -1, 1)
        torch.nn.init.uniform_(part.running_var, 0.5, 2)
    folded = fold_batchnorm(net)
    kinds = [type(part).__name__ for part in folded.modules()]
    assert kinds.count("BatchNorm2d") == 1
    assert net.training
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(folded(x), net.eval()(x), atol=1e-5, rtol=1e-5)


# ---- command ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["tiny"],
        ["tiny", "--out", "a", "--eval", "b"],
        ["tiny", "--out", "a", "--minutes", "0"],
        ["tiny", "--out", "a", "--what"],
        ["tiny", "--out", "a", "--seed", "-1"],
        ["huge"],
    ],
)
def test_wrong_options_leave_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert said.startswith("posestream: error: ") and said.count("\n") == 1


def test_folders_that_will_not_do_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    for option, folder, code, part in (
        ("--out", file, 4, "cannot be written"),
        ("--eval", tmp_path, 5, "neither tiny_detector.onnx nor"),
    ):
        assert main(["tiny", option, str(folder)]) == code
        said = capsys.readouterr().err
        assert part in said and said.count("\n") == 1

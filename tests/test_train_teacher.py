"""Networks that teach others: what they are asked, and what is learned from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
save_file = pytest.importorskip("safetensors.torch").save_file
from onnx import TensorProto, helper  # noqa: E402
from torch.nn.functional import conv2d  # noqa: E402

from engines import cache  # noqa: E402
from engines.base import Grid  # noqa: E402
from engines.identify import identify  # noqa: E402
from engines.published import PUBLISHED  # noqa: E402
from realtime.decode import decode  # noqa: E402
from realtime.errors import ModelError, UsageError  # noqa: E402
from realtime.skeleton import MIRROR  # noqa: E402
from tests.networks import NET_WH, SIZE_WH, graph_of, pose_file, resnet_file, write  # noqa: E402
from train.config import Config  # noqa: E402
from train.demo_data import write_set  # noqa: E402
from train.detector import DetectorTask  # noqa: E402
from train.detector_net import DetectorTrainer  # noqa: E402
from train.hints import Hints, open_hints  # noqa: E402
from train.learner import Learner  # noqa: E402
from train.parallel import Team  # noqa: E402
from train.pose import PoseTask, agreed  # noqa: E402
from train.pose_net import PoseTrainer  # noqa: E402
from train.schedule import optimiser  # noqa: E402
from train.targets import heatmaps  # noqa: E402
from train.teacher import Teacher  # noqa: E402
from train.weights import begin_from, load_weights, open_start  # noqa: E402

MEAN, STD = (100.0, 110.0, 120.0), (57.0, 56.0, 58.0)
WH = (160, 128)
STRIDES = (8, 16, 32)
WIDE = 24


def rtmdet_file(path: Path, wide: int = WIDE) -> tuple[Path, dict[str, np.ndarray]]:
    """Heads like those of RTMDet on three maps made by one convolution each; with its weights."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(0, 0.2, shape).astype(np.float32)  # noqa: E731
    nodes, ends, weights = [], [], {}
    for level, stride in enumerate(STRIDES):
        weights[f"trunk.{level}"] = draw(wide, 3, stride, stride)
        names = [f"trunk.{level}"]
        nodes.append(
            helper.make_node("Conv", ["input", names[0]], [f"map{level}"], strides=[stride] * 2)
        )
        for head, outputs in (("rtm_cls", 1), ("rtm_reg", 4)):
            weights[f"{head}.{level}.way"] = draw(wide, wide, 1, 1)
            weights[f"bbox_head.{head}.{level}.weight"] = draw(outputs, wide, 1, 1)
            end = f"{head}{level}"
            nodes += [
                helper.make_node("Conv", [f"map{level}", f"{head}.{level}.way"], [f"{end}a"]),
                helper.make_node("Relu", [f"{end}a"], [f"{end}b"]),
                helper.make_node("Conv", [f"{end}b", f"bbox_head.{head}.{level}.weight"], [end]),
            ]
            ends.append((end, TensorProto.FLOAT, [1, outputs, None, None]))
    given = [("input", TensorProto.FLOAT, [1, 3, WH[1], WH[0]])]
    spec = {"name": "teacher", "task": "detector", "format": "rtmdet", "input_wh": WH,
            "batch": 1, "nhwc": False, "rgb": True, "mean": MEAN, "std": STD}  # fmt: skip
    return write(path, graph_of(nodes, given, ends, weights), spec), weights


def by_hand(images: np.ndarray, weights: dict[str, np.ndarray]) -> list[np.ndarray]:
    x = (images[..., ::-1] - np.float32(MEAN)) / np.float32(STD)
    x = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    levels = []
    for level, stride in enumerate(STRIDES):
        trunk = conv2d(x, torch.from_numpy(weights[f"trunk.{level}"]), stride=stride)
        ways = [
            conv2d(trunk, torch.from_numpy(weights[f"{head}.{level}.way"])).relu()
            for head in ("rtm_cls", "rtm_reg")
        ]
        maps = torch.cat([trunk, *ways], 1)
        mean, std = maps.mean((0, 2, 3), keepdim=True), maps.std((0, 2, 3), keepdim=True)
        levels.append(((maps - mean) / std).numpy())
    return levels


def test_the_maps_before_the_heads_come_out_even(tmp_path: Path) -> None:
    """Any batch, though the file says one; RGB and normalised as the file asks."""
    path, weights = rtmdet_file(tmp_path / "a.onnx")
    images = np.random.default_rng(1).integers(0, 256, (3, WH[1], WH[0], 3), np.uint8)
    maps = Hints(path, ["detector"], WH, 1)(torch.from_numpy(images))
    for got, wanted, stride in zip(maps, by_hand(images, weights), STRIDES, strict=True):
        assert got.shape == (3, 3 * WIDE, WH[1] // stride, WH[0] // stride)
        np.testing.assert_allclose(got.numpy(), wanted, atol=0.1)  # bf16 where the CPU has it


def test_other_files_cannot_teach(tmp_path: Path) -> None:
    path, _ = rtmdet_file(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="test-net cannot give hints, only RTMDet detectors$"):
        Hints(pose_file(tmp_path / "pose.onnx"), ["detector"], SIZE_WH, 1)
    with pytest.raises(ModelError, match="built in another way"):  # nothing is enlarged in it
        Hints(pose_file(tmp_path / "pose.onnx"), ["pose"], SIZE_WH, 1)
    model = onnx.load(str(path))
    for node in model.graph.node:
        node.input[:] = [name.replace("rtm_cls", "other") for name in node.input]
    for tensor in model.graph.initializer:
        tensor.name = tensor.name.replace("rtm_cls", "other")
    onnx.save(model, str(path))
    with pytest.raises(ModelError, match="built in another way"):
        Hints(path, ["detector"], WH, 1)


def learned(
    task: DetectorTask | PoseTask, net: torch.nn.Module, steps: int, part: str = "hints"
) -> list[float]:
    """A part of the loss in steps on the same four samples; of heatmaps, without labels."""
    samples = [task.sample(0, n) for n in range(4)]
    batch = {k: torch.from_numpy(np.stack([s[k] for s in samples])) for k in samples[0]}
    if part == "distil":
        batch["visible"] *= 0
    step, losses = optimiser(net, task.config), []
    for _ in range(steps):
        loss, parts = task.loss(net, batch)
        step.zero_grad()
        loss.backward()
        step.step()
        losses.append(float(parts[part].detach()))
    return losses


def test_a_student_learns_what_the_teacher_sees(tmp_path: Path) -> None:
    write_set(tmp_path, images=4, people=2, size_wh=(320, 240), seed=3, suffix="png")
    path, _ = rtmdet_file(tmp_path / "a.onnx")
    config = Config(
        "detector", data=(str(tmp_path / "people.json"),), input_wh=WH, rate=3e-3,
        teacher=str(path), hint_weight=10.0,
    )  # fmt: skip
    task = DetectorTask(config)
    torch.manual_seed(0)
    net = task.network().train()
    losses = learned(task, net, 12)
    assert losses[0] == pytest.approx(1, abs=0.25)  # maps of variance 1 against about nothing
    assert losses[-1] < 0.85 * losses[0]


def test_what_is_only_learned_from_may_be_new(tmp_path: Path) -> None:
    """A bare detector, as the product has it, is a start with or without a teacher."""
    torch.manual_seed(1)
    bare = DetectorTrainer().detector
    save_file(bare.state_dict(), tmp_path / "bare.safetensors")
    net = DetectorTrainer([8, 8, 8])
    new = begin_from(net, open_start(str(tmp_path / "bare.safetensors"), "detector"))
    assert {name.partition(".")[0] for name in new} == {"joints", "hints"}
    for name, value in bare.state_dict().items():
        assert (net.detector.state_dict()[name] == value).all()
    headless = {n: t for n, t in bare.state_dict().items() if not n.startswith("head.")}
    save_file(headless, tmp_path / "headless.safetensors")
    with pytest.raises(ModelError, match="not weights for this network"):
        begin_from(
            DetectorTrainer(), open_start(str(tmp_path / "headless.safetensors"), "detector")
        )


def test_a_pose_network_learns_from_what_another_enlarges(tmp_path: Path) -> None:
    """Strides 32 to 4 of one like itself; what is learned is kept without the heads for it."""
    write_set(tmp_path, images=4, people=2, size_wh=(320, 240), seed=3, suffix="png")
    config = Config(
        "pose", data=(str(tmp_path / "people.json"),), input_wh=NET_WH, rate=3e-3,
        teacher=str(resnet_file(tmp_path / "teacher.onnx")), hint_weight=1.0,
    )  # fmt: skip
    task = PoseTask(config)
    torch.manual_seed(0)
    net = task.network().train()
    assert isinstance(net, PoseTrainer)
    assert [hint.out_channels for hint in net.hints] == [512, 256, 256, 256 + 17]
    losses = learned(task, net, 8)
    assert losses[-1] < 0.9 * losses[0]
    save_file(net.state_dict(), tmp_path / "best.safetensors")
    weights, _ = load_weights(tmp_path / "best.safetensors")
    assert set(weights) == set(net.pose.net.state_dict())
    again = PoseTask(config).network()
    assert begin_from(again, open_start(str(tmp_path / "best.safetensors"), "pose")) == []
    task.write(net.eval(), str(tmp_path / "model.onnx"), "for a test")
    spec = identify(tmp_path / "model.onnx")
    assert (spec.task, spec.input_wh) == ("pose", NET_WH)


def test_a_pose_network_learns_what_a_detector_sees(tmp_path: Path) -> None:
    """Strides 8 to 32, beside the heatmaps of another network."""
    write_set(tmp_path, images=4, people=2, size_wh=(320, 240), seed=3, suffix="png")
    path, _ = rtmdet_file(tmp_path / "a.onnx")
    config = Config(
        "pose", data=(str(tmp_path / "people.json"),), input_wh=NET_WH, rate=3e-3,
        teacher=str(resnet_file(tmp_path / "teacher.onnx")), distil=1.0,
        hints=str(path), hint_weight=1.0,
    )  # fmt: skip
    task = PoseTask(config)
    torch.manual_seed(0)
    net = task.network().train()
    assert isinstance(net, PoseTrainer)
    assert [(h.in_channels, h.out_channels) for h in net.hints] == [
        (256, 3 * WIDE), (256, 3 * WIDE), (512, 3 * WIDE),
    ]  # fmt: skip
    losses = learned(task, net, 8)
    assert losses[-1] < 0.9 * losses[0]


# ---- heatmaps ----------------------------------------------------------------------------------

NAME = "pose-resnet18-coco"
MEANS = np.full((17, 3, 4, 4), 1 / 48 / 255, np.float32)
"""Each heatmap is the picture, four times smaller."""


def blobs(places: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """A white blob at each place (N, 2), in pixels of a picture of its own, uint8 (N, H, W, 3)."""
    x, y = np.meshgrid(np.arange(size_wh[0]), np.arange(size_wh[1]))
    apart = (x - places[:, :1, None]) ** 2 + (y - places[:, 1:, None]) ** 2
    grey = np.exp(-apart / (2 * (size_wh[0] / 6) ** 2)) * 255
    return np.repeat(np.rint(grey)[..., None], 3, 3).astype(np.uint8)


@pytest.mark.parametrize("grid", ["pixel_centre", "corner", "udp"])
@pytest.mark.parametrize("scale", [1, 2])
def test_maps_say_the_places_that_joints_say(tmp_path: Path, grid: Grid, scale: int) -> None:
    """On any grid of the teacher's, for a student's crop of the same size or a larger one."""
    path = pose_file(tmp_path / "a.onnx", weights=MEANS, grid=grid)
    student_wh = SIZE_WH[0] * scale, SIZE_WH[1] * scale
    teacher = Teacher(path, student_wh)
    places = np.array([[20.0, 30.0], [23.7, 26.2], [28.4, 41.9]]) * scale
    crops = torch.from_numpy(blobs(places, student_wh))
    wanted, _ = teacher(crops)
    small = torch.from_numpy(blobs(places / scale, SIZE_WH))
    map_wh = student_wh[0] // 4, student_wh[1] // 4
    maps = teacher._on_grid(small, map_wh)  # one view alone: mirrored, a wrong grid shows twice
    found, _ = decode(maps.numpy(), "udp", "pixel_centre", student_wh, 2.0)
    assert np.abs(found - wanted.numpy()).max() < 0.5 * scale


def test_maps_are_of_both_views_with_sides_exchanged(tmp_path: Path) -> None:
    """The left joints of the plain view are the right ones of the mirrored."""
    weights = MEANS * np.arange(1, 18, dtype=np.float32)[:, None, None, None]
    crops = blobs(np.array([[12.0, 30.0], [31.0, 40.0]]), SIZE_WH)
    maps = Teacher(pose_file(tmp_path / "a.onnx", weights=weights), SIZE_WH).maps(
        torch.from_numpy(crops)
    )
    seen = crops.reshape(2, 16, 4, 12, 4, 3).mean((2, 4, 5)) / 255
    factor = (np.arange(1, 18) + np.arange(1, 18)[list(MIRROR)]) / 2
    wanted = factor[None, :, None, None] * seen[:, None]
    np.testing.assert_allclose(maps.numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_a_label_silences_a_teacher_who_looks_elsewhere() -> None:
    joints = torch.tensor([[[20.0, 30.0]] * 3])
    visible = torch.tensor([[1.0, 1.0, 0.0]])
    target = heatmaps(joints, SIZE_WH, 2.0, visible)
    elsewhere = torch.tensor([[[20.5, 30.0], [40.0, 50.0], [40.0, 50.0]]])
    taught = 0.5 * heatmaps(elsewhere, SIZE_WH, 2.0)
    here, there, unknown = agreed(taught, target, visible)[0].tolist()
    assert here > 0.9 and there < 0.05 and unknown == 1


def test_a_student_learns_the_heatmaps_of_its_teacher(tmp_path: Path) -> None:
    """Joints that nobody labelled, seen in crops that were not made darker."""
    write_set(tmp_path, images=4, people=2, size_wh=(320, 240), seed=3, suffix="png")
    config = Config(
        "pose", data=(str(tmp_path / "people.json"),), input_wh=NET_WH, rate=2e-4, dark=1.0,
        teacher=str(resnet_file(tmp_path / "teacher.onnx")), teacher_weight=0.0, distil=1.0,
    )  # fmt: skip
    task = PoseTask(config)
    sample = task.sample(0, 0)
    assert sample["clean"].mean() > sample["crop"].mean() + 10
    torch.manual_seed(0)
    losses = learned(task, task.network().train(), 15, "distil")
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("how", [{}, {"teacher_weight": 0.0, "distil": 1.0}])
def test_a_teacher_of_crops_of_another_shape_is_refused_at_the_start(
    tmp_path: Path, how: dict[str, float]
) -> None:
    """It would see people squeezed. One of the same shape in another size is none."""
    write_set(tmp_path, images=1, people=1, size_wh=(160, 120), seed=3, suffix="png")
    config = Config(
        "pose", data=(str(tmp_path / "people.json"),), input_wh=NET_WH,
        teacher=str(pose_file(tmp_path / "a.onnx")), **how,
    )  # fmt: skip
    with pytest.raises(UsageError, match="--teacher .*48x64, which have another shape .*64x64"):
        PoseTask(config).network()
    PoseTask(replace(config, input_wh=(96, 128))).network()


def test_a_teacher_is_where_the_network_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the second GPU of a machine for the second process of a run."""
    write_set(tmp_path, images=1, people=1, size_wh=(160, 120), seed=3, suffix="png")
    data, teacher = str(tmp_path / "people.json"), str(pose_file(tmp_path / "a.onnx"))
    config = Config("pose", data=(data,), input_wh=NET_WH, teacher=teacher)
    asked: list[str] = []

    def loading(*_: object, compute: str, **__: object) -> None:
        asked.append(compute)
        raise ModelError("stop")

    monkeypatch.setattr("engines.load.load", loading)
    for place in ("cpu", "cuda:1"):
        with pytest.raises(ModelError, match="stop"):
            Learner(PoseTask(config), config, Team(1, 2, torch.device(place)), 1)
    assert asked == ["cpu", "cuda:1"]


def test_published_names_stand_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of weights that are fetched, as --start, --teacher and --hints."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    config = Config("pose", start=NAME, hints=NAME, hint_weight=1.0, input_wh=NET_WH)
    for use in (
        lambda: open_start(config.start, "pose"),
        lambda: Teacher(Path(NAME), NET_WH),
        lambda: open_hints(config),
    ):
        with pytest.raises(ModelError, match=f"fetch it: posestream-engines pull {NAME}$"):
            use()
    (tmp_path / "cache").mkdir()
    resnet_file(tmp_path / "cache" / "a.part")
    cache.store(PUBLISHED[NAME], tmp_path / "cache" / "a.part", ".onnx")
    assert Teacher(Path(NAME), NET_WH).maps(torch.zeros((1, 64, 64, 3), dtype=torch.uint8)).any()
    assert open_hints(config).strides == [32, 16, 8, 4]
    with pytest.raises(ModelError, match=f"{NAME} is a pose network"):
        open_start(NAME, "detector")


def test_hints_need_a_teacher(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--hint-weight"):
        PoseTask(Config("pose", data=("a.json",), hint_weight=1.0))
    with pytest.raises(UsageError, match="--hints: needs a --hint-weight"):
        PoseTask(Config("pose", data=("a.json",), hints="b.onnx"))
    with pytest.raises(UsageError, match="--distil: needs a --teacher"):
        PoseTask(Config("pose", data=("a.json",), distil=1.0))
    with pytest.raises(UsageError, match="--distil: for a pose network"):
        DetectorTask(Config("detector", data=("a.json",), distil=1.0))
    with pytest.raises(UsageError, match="one needs the other"):
        DetectorTask(Config("detector", data=("a.json",), hints="b.onnx"))
    with pytest.raises(UsageError, match="one needs the other"):
        DetectorTask(Config("detector", data=("a.json",), teacher="b.onnx"))

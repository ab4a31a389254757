"""Fewer channels in the deconvolutions: the same layers in other words, and the best of so many."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='needs pip install "posestream[train]"')
pytest.importorskip("safetensors", reason='needs pip install "posestream[train]"')
pytest.importorskip("onnx", reason='needs pip install "posestream[train]"')

import safetensors.torch  # noqa: E402
from coco_files import content, write  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from pose_files import unsettle  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from engines.load import load  # noqa: E402
from engines.torch_nets import WIDTHS, PoseResNet, widths_of  # noqa: E402
from train.__main__ import main  # noqa: E402
from train.checkpoint import weights_bytes  # noqa: E402
from train.config import Config  # noqa: E402
from train.detector import DetectorTrainer  # noqa: E402
from train.pose import PoseTask  # noqa: E402
from train.pose_net import PoseNet  # noqa: E402
from train.slim import Deconvolution, Final, Layer, eliminated, slimmed  # noqa: E402
from train.weights import load_weights  # noqa: E402

WH = (64, 64)


def crops(count: int, seed: int = 5) -> NDArray[np.uint8]:
    """Coarse noise, of which a random network sees more than of fine noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return coarse.repeat(8, 1).repeat(8, 2)


def deconvolved(maps: Tensor, weight: Tensor) -> Tensor:
    return functional.conv_transpose2d(maps, weight, stride=2, padding=1)


@pytest.mark.parametrize(
    "layer, shape, apply",
    [
        (Final(), (5, 6, 1, 1), functional.conv2d),
        (Deconvolution("deconv.3"), (6, 5, 4, 4), deconvolved),
    ],
    ids=["final", "deconvolution"],
)
def test_matrices_are_the_layer(
    layer: Layer, shape: tuple[int, ...], apply: Callable[[Tensor, Tensor], Tensor]
) -> None:
    maps, weight = torch.randn(3, 6, 7, 4), torch.randn(shape)
    matrices = layer.matrices(weight)
    torch.testing.assert_close(layer.weight(matrices), weight, rtol=0, atol=0)
    parts = [x @ m for x, m in zip(layer.read(maps), matrices, strict=True)]
    wanted, step = apply(maps, weight), len(parts) // 2 or 1
    for n, part in enumerate(parts):
        there = wanted[:, :, n // step :: step, n % step :: step]
        torch.testing.assert_close(part, there.permute(0, 2, 3, 1).flatten(0, 2))


def test_channels_that_others_can_say_go_first() -> None:
    """One is a sum of two others, one is never anything: without them nothing is lost."""
    x = torch.randn(500, 6, generator=torch.Generator().manual_seed(3)).double()
    x[:, 2], x[:, 4] = x[:, 0] - 2 * x[:, 5], 0
    matrix = torch.randn(6, 3, generator=torch.Generator().manual_seed(4)).double()
    kept, (found,) = eliminated([x.T @ x], [matrix], 1, 4)
    assert 4 not in kept and len({0, 2, 5} & {*kept}) == 2
    torch.testing.assert_close(x[:, kept] @ found, x @ matrix, rtol=0, atol=1e-3)


def test_nothing_changes_where_all_stay() -> None:
    square, matrix = torch.eye(6).double(), torch.randn(6, 2).double()
    kept, (found,) = eliminated([square], [matrix], 1, 6)
    assert kept == list(range(6)) and torch.equal(found, matrix)


@pytest.fixture(scope="module")
def net() -> PoseNet:
    torch.manual_seed(5)
    return unsettle(PoseNet()).eval()


def batches() -> list[Tensor]:
    return [torch.from_numpy(crops(16, seed)) for seed in range(4)]


def heatmaps(weights: dict[str, Tensor]) -> Tensor:
    net = PoseNet(widths=widths_of(weights)).eval()
    net.net.load_state_dict(weights)
    with torch.inference_mode():
        return net(torch.from_numpy(crops(8, 9)))


def test_channels_that_nobody_reads_go_without_a_trace(net: PoseNet) -> None:
    weights = {name: tensor.clone() for name, tensor in net.net.state_dict().items()}
    for name in ("deconv.3", "deconv.6"):
        weights[f"{name}.weight"][::16] = 0
    weights["final.weight"][:, ::16] = 0
    full = PoseNet().eval()
    full.net.load_state_dict(weights)
    slim = slimmed(full, (240, 240, 240), batches())
    assert widths_of(slim) == (240, 240, 240)
    wanted = heatmaps(weights)
    assert (heatmaps(slim) - wanted).abs().max() < 0.01 * wanted.abs().max()


def test_more_channels_are_nearer_and_new_weights_nearer_than_the_old(net: PoseNet) -> None:
    wanted = heatmaps(dict(net.net.state_dict()))

    def error(weights: dict[str, Tensor]) -> float:
        return float((heatmaps(weights) - wanted).pow(2).mean() / wanted.var())

    errors = [error(slimmed(net, (256, 256, count), batches())) for count in (224, 128, 64)]
    assert errors[0] < errors[1] < errors[2]
    old = {name: tensor.clone() for name, tensor in net.net.state_dict().items()}
    weakest = old["final.weight"].norm(dim=0).flatten().argsort()[:128]
    old["final.weight"][:, weakest] = 0
    assert errors[1] < error(old) / 2


# ---- the command --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(net: PoseNet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("slim")
    made = {"pose": net, "detector": DetectorTrainer()}
    found = {"people": write(folder, content(70)), "few": write(folder / "few", content(3))}
    for task, network in made.items():
        about = {"config": Config(task, input_wh=WH, padding=1.1).to_json()}
        found[task] = folder / f"{task}.safetensors"
        found[task].write_bytes(weights_bytes(dict(network.state_dict()), about))
    return found


def slim(*arguments: object) -> int:
    return main(["slim", *map(str, arguments)])


def test_the_command_writes_a_network_that_engines_and_trainings_take(
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    outs = [tmp_path / "s.onnx", tmp_path / "s.safetensors"]
    for out in outs:
        given = ("--widths", "256,240,32", "--data", files["people"], "--crops", 64)
        assert slim(files["pose"], *given, "--out", out) == 0
        assert "widths 256,240,32 of 256,256,256" in capsys.readouterr().out
        weights, known = load_weights(out)
        assert widths_of(weights) == (256, 240, 32)
        assert known["input_wh"] == WH and known["padding"] == 1.1
        network = PoseTask(Config("pose", data=(str(files["people"]),), start=str(out))).network()
        assert isinstance(network, PoseNet) and network.widths == (256, 240, 32)
        assert "crops of 1.1 times the box, not 1.25; go on by --padding 1.1" in caplog.text
    x = crops(5)
    found = [
        load(outs[0], "pose", engine, precision="f32")(x)[0]
        for engine in ("openvino", "torch", "onnxruntime")
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-3 * np.abs(found[0]).max())
    assert found[0].shape == (5, 17, 16, 16)


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_the_torch_engine_takes_safetensors_of_any_shape(depth: int, tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = PoseResNet(depth, (64, 48, 32)).eval()
    told = {"name": "slim", "task": "pose", "format": "heatmaps", "input_wh": WH}
    path = tmp_path / "s.safetensors"
    safetensors.torch.save_file(net.state_dict(), path, {"posestream": json.dumps(told)})
    x = crops(2)
    (found,) = load(path, "pose", "torch", precision="f32")(x)
    with torch.inference_mode():
        wanted = net(torch.from_numpy(x).float().permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-3 * np.abs(wanted).max())


@pytest.mark.parametrize(
    "source, change, code, said",
    [
        ("pose", {"--widths": "256,300,64"}, 2, "more than the 256,256,256"),
        ("pose", {"--widths": "256,64"}, 2, "three numbers"),
        ("pose", {"--widths": "256,0,64"}, 2, "three numbers"),
        ("pose", {"--out": "s.pt"}, 2, ".safetensors or .onnx"),
        ("pose", {"--crops": "3"}, 2, "64 or more"),
        ("pose", {"--data": "few"}, 2, "3 people with joints"),
        ("pose", {"--data": "absent.json"}, 3, "absent.json"),
        ("detector", {}, 5, "a detector network"),
        ("people", {}, 5, "people.json"),
    ],
)
def test_what_cannot_be_slimmed_is_refused(
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
    change: dict[str, str],
    code: int,
    said: str,
) -> None:
    given = {"--widths": "256,64,32", "--data": "people", "--out": "s.onnx"} | change
    given["--data"] = str(files.get(given["--data"], given["--data"]))
    given["--out"] = str(tmp_path / given["--out"])
    arguments = [word for pair in given.items() for word in pair]
    try:
        result = slim(files[source], *arguments)
    except SystemExit as error:
        result = error.code  # type: ignore[assignment]
    assert result == code
    err = capsys.readouterr().err
    assert said in err and err.count("\n") <= 2
    assert not list(tmp_path.iterdir())


def test_weights_that_tell_no_widths_have_the_papers() -> None:
    assert widths_of({}) == WIDTHS == widths_of({"deconv.3.weight": torch.zeros(3)})

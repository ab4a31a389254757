"""Public checkpoints become the same network; what could run code is refused and named."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch (posestream[train])")

import torchvision  # noqa: E402
from pose_files import crops, damage, pose_net, unsettle  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from engines.registry import IMAGENET_MEAN, IMAGENET_STD  # noqa: E402
from engines.torch_nets import depth_of  # noqa: E402
from realtime.errors import ModelError  # noqa: E402
from train import safe_pickle  # noqa: E402
from train.__main__ import main  # noqa: E402
from train.importing import canonical, read_public  # noqa: E402
from train.pose_weights import pose_net as network  # noqa: E402
from train.weights import begin_from, load_weights, open_start  # noqa: E402

torch.set_num_threads(1)


def normalised(pixels: Tensor, rgb: bool) -> Tensor:
    """What the other programs give their networks, in float64: (B, 3, H, W)."""
    images = (pixels.flip(3) if rgb else pixels).double()
    mean = torch.tensor(IMAGENET_MEAN, dtype=torch.float64)
    return ((images - mean) / torch.tensor(IMAGENET_STD, dtype=torch.float64)).permute(0, 3, 1, 2)


# ---- the same outputs ---------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "depth"), [("resnet18", 18), ("resnet50b", 50)])
def test_pytorchcv(name: str, depth: int, tmp_path: Path) -> None:
    provider = pytest.importorskip(
        "pytorchcv.model_provider", reason="compares with pytorchcv's own network"
    )
    torch.manual_seed(1)
    theirs = unsettle(
        provider.get_model(f"simplepose_{name}_coco", pretrained=False, return_heatmap=True)
    )
    path = tmp_path / "simplepose.pth"
    torch.save(theirs.state_dict(), path)
    weights, metadata = read_public(path)
    assert metadata["family"] == "pytorchcv" and metadata["grid"] == "corner"
    assert depth_of(weights) == depth
    assert_equal(theirs, weights, metadata, path, rgb=True)


def test_pytorchcv_decodes_on_the_corner_grid() -> None:
    """Its own decoder gives the cells that our quarter offset gives; joints are 4 cells apart."""
    tutti = pytest.importorskip(
        "pytorchcv.models.common.tutti", reason="compares with pytorchcv's own decoder"
    )
    from realtime.decode import decode

    generator = torch.Generator().manual_seed(0)
    heatmaps = torch.rand((2, 17, 16, 12), generator=generator)
    cells = tutti.HeatmapMaxDetBlock()(heatmaps)[..., :2].numpy()
    joints, _ = decode(heatmaps.numpy(), "quarter", "corner", (48, 64))
    assert joints == pytest.approx(cells * 4)


class Microsoft(torchvision.models.ResNet):
    """Names and order of layers as in human-pose-estimation.pytorch, lib/models/pose_resnet.py."""

    def __init__(self, layers: list[int], bias: bool = False) -> None:
        super().__init__(torchvision.models.resnet.BasicBlock, layers)
        channels, parts = self.fc.in_features, []
        del self.avgpool, self.fc
        for inputs in (channels, 256, 256):
            parts += [nn.ConvTranspose2d(inputs, 256, 4, 2, 1, bias=bias)]
            parts += [nn.BatchNorm2d(256), nn.ReLU(inplace=True)]
        self.deconv_layers = nn.Sequential(*parts)
        self.final_layer = nn.Conv2d(256, 17, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        heatmaps: Tensor = self.final_layer(self.deconv_layers(x))
        return heatmaps


@pytest.mark.parametrize(
    ("layers", "depth", "bias"), [([2, 2, 2, 2], 18, True), ([3, 4, 6, 3], 34, False)]
)
def test_microsoft(layers: list[int], depth: int, bias: bool, tmp_path: Path) -> None:
    torch.manual_seed(2)
    theirs = unsettle(Microsoft(layers, bias))
    path = tmp_path / "pose_resnet.pth.tar"
    wrapped = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"epoch": 140, "state_dict": wrapped, "perf": 0.7}, path)
    weights, metadata = read_public(path)
    assert metadata["family"] == "microsoft" and metadata["rgb"] is False
    assert depth_of(weights) == depth
    assert_equal(theirs, weights, metadata, path, rgb=False)


@pytest.mark.parametrize("head", ["keypoint_head.", "head."])
def test_mmpose(head: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = unsettle(Microsoft([2, 2, 2, 2]))
    names = {
        name: (head if name.startswith(("deconv_layers", "final_layer")) else "backbone.") + name
        for name in theirs.state_dict()
    }
    path = tmp_path / "res18_coco_256x192.pth"
    state = {names[name]: tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"meta": {"epoch": 210, "env": "linux"}, "state_dict": state}, path)
    weights, metadata = read_public(path)
    assert metadata["family"] == "mmpose" and metadata["grid"] == "corner"
    assert depth_of(weights) == 18
    assert_equal(theirs, weights, metadata, path, rgb=True)


def assert_equal(theirs: Any, weights: Any, metadata: Any, path: Path, rgb: bool) -> None:
    pixels = crops()
    with torch.inference_mode():
        want = theirs.double()(normalised(pixels, rgb))
        have = network(weights, metadata, path)(pixels)
    assert want.abs().max() > 1e-3
    torch.testing.assert_close(have.double(), want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


def test_imports_to_every_format_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(4)
    theirs = unsettle(Microsoft([2, 2, 2, 2]))
    source = tmp_path / "pose_resnet_18.pth"
    torch.save(theirs.state_dict(), source)
    kinds = ["safetensors", "mat"]
    for kind in kinds:
        out = tmp_path / "out" / f"pose.{kind}"
        assert main(["import", str(source), "--out", str(out), "--input-wh", "64x128"]) == 0
        weights, metadata = load_weights(out)
        assert (metadata["grid"], metadata["sigma"], metadata["rgb"]) == ("corner", 1.0, False)
        assert tuple(metadata["input_wh"]) == (64, 128)
        assert_equal(theirs, weights, metadata, out, rgb=False)
        theirs.float()
    assert capsys.readouterr().out.count("heatmaps differ by 0 of") == len(kinds)
    assert main(["import", str(source), "--out", str(tmp_path / "pose.pth")]) == 2
    assert "name it .onnx, .safetensors or .mat" in capsys.readouterr().err


# ---- other networks -----------------------------------------------------------------------------


def test_other_networks_are_refused_in_one_line(tmp_path: Path) -> None:
    ours = pose_net().net.state_dict()
    cases: dict[str, tuple[Any, str]] = {
        "no dictionary": ([torch.zeros(1)], "holds no dictionary"),
        "numbers": ({"a": 1}, "holds more than named weights"),
        "unknown": ({"stem.weight": torch.zeros(1)}, "unknown network"),
        "half": ({n: t for n, t in ours.items() if "layer3.1" not in n}, "not the weights of"),
        "shape": ({**ours, "deconv.3.weight": torch.zeros(9)}, r"deconv\.3\.weight first"),
        "more": ({**ours, "backbone.se.weight": torch.zeros(9)}, r"backbone\.se\.weight first"),
        "joints": ({**ours, "final.weight": torch.zeros(16, 256, 1, 1)}, "for 16 joints"),
        "nan": ({**ours, "final.bias": torch.full((17,), torch.nan)}, "not finite"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.pth"
        torch.save(content, path)
        with pytest.raises(ModelError, match=message) as caught:
            read_public(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_backbone_alone_is_for_starting_only(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    weights, metadata = read_public(path)
    assert metadata["family"] == "torchvision"
    assert set(weights) == {n for n in pose_net().net.state_dict() if n.startswith("backbone.")}
    assert main(["import", str(path), "--out", str(tmp_path / "pose.onnx")]) == 5


def test_names_no_rule_knows_stay_to_be_found() -> None:
    tensors = {"deconv_layers.0.weight": torch.zeros(2), "extra": torch.zeros(2)}
    assert set(canonical(tensors)[0]) == {"deconv.0.weight", "extra"}


# ---- pickles ------------------------------------------------------------------------------------


class Canary:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (self._folder,)


def evil(folder: Path) -> dict[str, bytes]:
    """Checkpoints that would make a folder, in all forms that exist."""
    canary = Canary(folder)
    forms = {f"pickle{n}": pickle.dumps({"state_dict": canary}, protocol=n) for n in range(6)}
    for form, zipped in (("zip", True), ("legacy", False)):
        path = folder.with_name(form)
        weights = {"a": torch.zeros(2), "b": canary}
        torch.save(weights, path, _use_new_zipfile_serialization=zipped)
        forms[form] = path.read_bytes()
    # The name from the memo and by STACK_GLOBAL: no GLOBAL operation holds it.
    text = [struct.pack("<BB", 0x8C, len(t)) + t for t in (os.mkdir.__module__.encode(), b"mkdir")]
    target = str(folder).encode()
    argument = b"X" + struct.pack("<I", len(target)) + target
    forms["memo"] = (
        b"\x80\x04" + text[0] + b"\x94" + text[1] + b"\x940h\x00h\x01\x93" + argument + b"\x85R."
    )
    return forms


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("evil") / "canary"
    return folder, evil(folder)


def test_the_canary_sings_where_pickles_are_run(forms: tuple[Path, dict[str, bytes]]) -> None:
    canary, contents = forms
    for name in ("pickle0", "pickle4", "memo"):
        pickle.loads(contents[name])  # noqa: S301  # what must never happen, to see that it would
        canary.rmdir()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".onnx", ".mat"])
def test_no_entry_runs_a_pickle(
    suffix: str, forms: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    canary, contents = forms
    net = pose_net()
    out = ["--out", str(tmp_path / "out.safetensors")]
    for name, content in contents.items():
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(content)
        entries: list[Callable[[Any], Any]] = [
            load_weights, read_public, lambda p: begin_from(net, open_start(str(p), "pose"))
        ]  # fmt: skip
        for entry in entries:
            with pytest.raises(ModelError):
                entry(path)
        assert main(["import", str(path), *out]) == 5
        assert main(["export", str(path), *out]) == 5
    assert not canary.exists()


def test_the_refused_global_is_named(
    forms: tuple[Path, dict[str, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{os.mkdir.__module__}.mkdir"
    for form, content in forms[1].items():
        path = tmp_path / form
        path.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            safe_pickle.load(path)
        message = str(caught.value)
        assert "\n" not in message
        assert f"asks for {name};" in message, form
        assert name in safe_pickle.globals_in(content), form
        assert main(["import", str(path), "--out", str(tmp_path / "pose.onnx")]) == 5
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and name in error


def test_what_is_no_tensor_is_named_too(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": {}, "best": np.float64(1)}, path)
    with pytest.raises(ModelError, match=r"asks for numpy\.\S*scalar;"):
        safe_pickle.load(path)
    torch.save(nn.Linear(1, 1), path)
    with pytest.raises(ModelError, match=r"asks for torch\.nn\.modules\.linear\.Linear;"):
        safe_pickle.load(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_plain_checkpoints_are_read(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    content = {"state_dict": nn.Linear(2, 3).state_dict(), "epoch": 3}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    have = safe_pickle.load(path)
    assert have["epoch"] == 3
    assert torch.equal(have["state_dict"]["weight"], content["state_dict"]["weight"])


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_checkpoints_are_one_line(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    torch.save(nn.Linear(20, 30).state_dict(), path, _use_new_zipfile_serialization=zipped)
    for file in damage(path, tmp_path):
        with pytest.raises(ModelError) as caught:
            read_public(file)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="no such file"):
        read_public(tmp_path / "none.pth")


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photos.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.txt", "no pickle")
    with pytest.raises(ModelError, match="not a complete PyTorch checkpoint"):
        safe_pickle.load(path)

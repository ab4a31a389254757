"""Files that a trained network becomes: read back, run by engines, and trained on."""

from __future__ import annotations

import copy
import functools
import hashlib
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (posestream[train])")
pytest.importorskip("safetensors", reason="training needs safetensors (posestream[train])")

import torchvision  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from pose_files import METADATA, crops, damage, pose_net  # noqa: E402
from torch import nn  # noqa: E402

from engines import identify  # noqa: E402
from engines.load import load  # noqa: E402
from engines.registry import NAMES  # noqa: E402
from engines.torch_nets import PoseResNet  # noqa: E402
from realtime.errors import ModelError, UsageError  # noqa: E402
from train import conversion  # noqa: E402
from train.__main__ import main  # noqa: E402
from train.checkpoint import weights_bytes  # noqa: E402
from train.config import Config  # noqa: E402
from train.conversion import network_of, write  # noqa: E402
from train.imagenet import fetch  # noqa: E402
from train.onnx_weights import EPSILON, PARTS, unfold  # noqa: E402
from train.pose_net import PoseNet  # noqa: E402
from train.pose_weights import INPUT, depth_of, renormalised  # noqa: E402
from train.pose_weights import pose_net as network  # noqa: E402
from train.weights import begin_from, load_weights, open_start  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def net() -> PoseNet:
    """One whose first block has a channel that is off: its normalisation cannot be undone."""
    net = pose_net()
    net.net.backbone.layer1[0].bn1.weight.data[3] = 0
    return net


@pytest.fixture(scope="module")
def run(net: PoseNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training."""
    folder = tmp_path_factory.mktemp("run")
    config = Config(task="pose", input_wh=(64, 64), sigma=1.5, padding=1.15)
    about = {"config": config.to_json(), "epoch": "7"}
    (folder / "best.safetensors").write_bytes(weights_bytes(net.state_dict(), about))
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All formats, written by the command line."""
    pytest.importorskip("onnx", reason="writes ONNX (posestream[train])")
    out = tmp_path_factory.mktemp("exported")
    assert main(["export", str(run), "--out", str(out), "--name", "net", "--licence", "MIT"]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["net.mat", "net.onnx", "net.safetensors"]
    return out


def outputs(net: nn.Module) -> Any:
    with torch.inference_mode():
        return net(crops())


# ---- PoseNet ------------------------------------------------------------------------------------


def test_pose_net_normalises_as_the_engines_do(net: PoseNet) -> None:
    pixels = crops()
    rgb = pixels.numpy()[..., ::-1].astype(np.float64)
    images = (rgb - np.array(INPUT["mean"])) / np.array(INPUT["std"])
    tensor = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32))
    with torch.inference_mode():
        torch.testing.assert_close(net(pixels), net.net(tensor), rtol=1e-4, atol=1e-5)
    assert outputs(net).shape == (2, 17, 16, 16)
    assert {name.partition(".")[0] for name in net.state_dict()} == {"net"}


# ---- export -------------------------------------------------------------------------------------


def test_files_describe_themselves(exported: Path) -> None:
    onnx = identify.identify(exported / "net.onnx")
    assert onnx.padding == 1.15
    assert (onnx.name, onnx.input_wh, onnx.sigma, onnx.grid) == (
        "net",
        (64, 64),
        1.5,
        "pixel_centre",
    )
    assert onnx.nhwc and not onnx.rgb and onnx.mean == (0, 0, 0) and onnx.licence == "MIT"
    safe = identify.identify(exported / "net.safetensors")
    assert safe.rgb and (safe.mean, safe.std) == (INPUT["mean"], INPUT["std"])
    assert (exported / "net.onnx").stat().st_size < 31.5e6  # fp16
    for path in exported.iterdir():
        weights, metadata = load_weights(path)
        assert depth_of(weights) == 18
        assert metadata["rgb"] and tuple(metadata["mean"]) == INPUT["mean"]
        assert tuple(metadata["std"]) == INPUT["std"] and metadata["licence"] == "MIT"
        assert metadata["trained"] == "epoch 7"


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_engines_give_the_networks_heatmaps(engine: str, net: PoseNet, exported: Path) -> None:
    pytest.importorskip(engine, reason=f"runs the file by {engine}")
    runner = load(exported / "net.onnx", "pose", engine=engine, precision="f32")
    want = outputs(net).numpy()
    for batch in (1, 2):
        have = runner(crops().numpy()[:batch])[0]
        np.testing.assert_allclose(have, want[:batch], rtol=0, atol=2e-3 * np.abs(want).max())


@pytest.mark.parametrize("kind", ["onnx", "safetensors", "mat"])
def test_weights_come_back_into_the_network(kind: str, net: PoseNet, exported: Path) -> None:
    path = exported / f"net.{kind}"
    back = network(*load_weights(path), path)
    want = outputs(net)
    limit = 2e-3 if kind == "onnx" else 0.0
    torch.testing.assert_close(outputs(back), want, rtol=0, atol=limit * float(want.abs().max()))
    if kind != "onnx":
        state = net.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in back.state_dict().items())


def test_training_goes_on_from_the_onnx_file(net: PoseNet, exported: Path) -> None:
    """Also in training mode, where batch normalisation does not use what was folded."""
    path = exported / "net.onnx"
    back = network(*load_weights(path), path)
    for name, tensor in back.net.named_buffers():
        if name.endswith("running_var") and "layer1.0.bn1" not in name:
            torch.testing.assert_close(tensor, net.net.get_buffer(name))
    pixels = crops(8)
    with torch.no_grad():
        want, have = copy.deepcopy(net).train()(pixels), back.train()(pixels)
    torch.testing.assert_close(have, want, rtol=0, atol=0.03 * float(want.abs().max()))


@pytest.mark.parametrize(("width", "narrow"), [(64, False), (96, True)])
def test_in_a_width_without_narrow_crops_it_has_none(
    width: int, narrow: bool, net: PoseNet, tmp_path: Path
) -> None:
    """Files that said otherwise would be refused."""
    known = {**METADATA, "input_wh": (192, 256), "narrow": True}
    weights = dict(net.net.state_dict())
    source = network_of(weights, known, tmp_path, {"input_wh": (width, 64)})
    assert source.metadata["narrow"] is narrow


def test_a_file_that_would_differ_is_not_written(net: PoseNet, tmp_path: Path) -> None:
    """Weights of another network beside the network they are said to be of."""
    source = network_of(dict(net.net.state_dict()), METADATA, tmp_path, {})
    other = {name: tensor.clone() for name, tensor in source.weights.items()}
    other["final.weight"] *= 1.01
    wrong = conversion.Source(source.net, other, source.metadata)
    with pytest.raises(ModelError, match="not written"):
        write(wrong, tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_weights_too_large_for_fp16_are_one_line(net: PoseNet, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="writes ONNX (posestream[train])")
    weights = {name: tensor.clone() for name, tensor in net.net.state_dict().items()}
    weights["final.bias"][0] = 1e6
    source = network_of(weights, METADATA, tmp_path, {})
    with pytest.raises(ModelError, match="does not fit in fp16"):
        write(source, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_wrong_use_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    (tmp_path / "file").write_bytes(b"")
    cases = [
        ([str(tmp_path), "--out", out], 5, "no best.safetensors in this folder"),
        ([str(tmp_path / "none.onnx"), "--out", out], 5, "no such file"),
        ([str(run), "--out", out, "--formats", "onnx,pickle"], 2, "'pickle'"),
        ([str(run), "--out", out, "--name", "../up"], 2, "letters, digits"),
        ([str(run), "--out", out, "--name", min(NAMES)], 2, "a known file"),
        ([str(run), "--out", out, "--input-wh", "100x100"], 2, "multiples of 32"),
        ([str(run), "--out", out, "--sigma", "0"], 2, "from 0.5 to 32"),
        ([str(run), "--out", out, "--padding", "0.9"], 2, "from 1 to 4"),
        ([str(run), "--out", str(tmp_path / "file" / "out")], 4, "cannot be written"),
    ]
    for arguments, code, message in cases:
        assert main(["export", *arguments]) == code, arguments
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and message in error, error
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", ["onnx", "safetensors", "mat"])
def test_a_file_is_not_exported_onto_itself(
    exported: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for another --padding, in the folder that the file is in."""
    source = exported / f"net.{kind}"
    before = source.read_bytes()
    assert main(["export", str(source), "--out", str(exported), "--padding", "1.1"]) == 2
    assert "this is the input" in capsys.readouterr().err and source.read_bytes() == before


def test_a_detector_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    about = {"config": Config(task="detector").to_json()}
    path.write_bytes(weights_bytes({"head.weight": torch.zeros(3)}, about))
    assert load_weights(path)[0]["head.weight"].shape == (3,)
    weights, metadata = load_weights(tmp_path)
    with pytest.raises(ModelError, match="only pose networks are exported"):
        network_of(weights, metadata, path, {})


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_damaged_files_are_one_line(kind: str, exported: Path, tmp_path: Path) -> None:
    for file in damage(exported / f"net.{kind}", tmp_path):
        with pytest.raises(ModelError) as caught:
            load_weights(file)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_onnx_files_of_others_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="reads ONNX (posestream[train])")
    tiny = Path(__file__).parent / "data" / "tiny_pose.onnx"
    with pytest.raises(ModelError, match="cannot be told apart"):
        load_weights(tiny)


def test_registered_weights_know_their_input(tmp_path: Path) -> None:
    import os

    shared = Path(os.environ.get("POSESTREAM_SHARED", Path(__file__).parents[2] / "shared"))
    path = shared / "weights" / "pose_resnet18_start.safetensors"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    weights, metadata = load_weights(path)
    assert metadata["input_wh"] == (192, 256) and metadata["grid"] == "pixel_centre"
    assert weights["final.weight"].dtype == torch.float32
    network(weights, metadata, path)


def test_commands_are_shown_without_torch() -> None:
    code = (
        "import sys; from train.__main__ import main\n"
        "try: main(['export', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'onnx', 'scipy'} & set(sys.modules)"
    )
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)


# ---- folding ------------------------------------------------------------------------------------


@given(
    st.booleans(),
    st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4),
    st.lists(st.floats(0, 9, width=32), min_size=4, max_size=4),
)
def test_unfolding_undoes_folding(transposed: bool, gamma: list[float], var: list[float]) -> None:
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    torch.manual_seed(0)
    conv: Any = nn.ConvTranspose2d(3, 4, 2, 2, bias=False) if transposed else nn.Conv2d(3, 4, 2)
    norm = nn.BatchNorm2d(4, eps=EPSILON)
    norm.weight.data, norm.running_var = torch.tensor(gamma), torch.tensor(var)
    norm.bias.data, norm.running_mean = torch.randn(4), torch.randn(4)
    images = torch.randn(2, 3, 6, 6)
    fused = fuse_conv_bn_eval(conv.eval(), norm.eval(), transposed)
    before = {part: getattr(norm, part).detach() for part in PARTS}
    kernel, parts = unfold(fused.weight.detach(), fused.bias.detach(), before, transposed)
    again = nn.BatchNorm2d(4, eps=EPSILON).eval()
    again.load_state_dict(parts)
    bare: Any = (
        nn.ConvTranspose2d(3, 4, 2, 2, bias=False) if transposed else nn.Conv2d(3, 4, 2, bias=False)
    )
    bare.weight.data = kernel
    with torch.no_grad():
        want, have = fused(images), again(bare(images))
    torch.testing.assert_close(have, want, rtol=1e-3, atol=1e-3 * max(1, float(want.abs().max())))


# ---- weights to start from ----------------------------------------------------------------------


def test_start_from_any_file(net: PoseNet, run: Path, exported: Path) -> None:
    for path in (run, run / "best.safetensors", *exported.iterdir()):
        fresh = PoseNet()
        assert begin_from(fresh, open_start(str(path), "pose")) == []
        want = outputs(net)
        torch.testing.assert_close(
            outputs(fresh.eval()), want, rtol=0, atol=2e-3 * float(want.abs().max())
        )


def test_options_beside_weights_count_in_a_checkpoint_alone(tmp_path: Path) -> None:
    """Other programs call theirs config.json as well."""
    path, config = tmp_path / "weights.safetensors", tmp_path / "config.json"
    path.write_bytes(weights_bytes({"a": torch.zeros(2)}))
    config.write_text('{"hidden_size": 1}')
    assert load_weights(path)[1] == {}
    (tmp_path / "manifest.json").write_text("{}")
    for wrong in (b'{"hidden_size": 1}', b'{"task": "pose", "rate": -1}', b"[1]", b"\xff", b"{"):
        config.write_bytes(wrong)
        with pytest.raises(ModelError, match=r"weights\.safetensors: the options of its training"):
            load_weights(path)
    config.write_text(Config("pose", input_wh=(96, 128), narrow=0.5).to_json())
    known = load_weights(path)[1]
    assert (known["input_wh"], known["narrow"], known["trained"]) == ((96, 128), True, "")


def test_start_with_another_last_layer_says_so(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    fresh = PoseNet()
    fresh.net.final = nn.Conv2d(256, 5, 1)
    kept = fresh.net.final.weight.detach().clone()
    with caplog.at_level("INFO", logger="train"):
        assert begin_from(fresh, open_start(str(run), "pose")) == [
            "net.final.weight",
            "net.final.bias",
        ]
    assert torch.equal(fresh.net.final.weight, kept)
    assert "new: net.final" in caplog.text and caplog.text.count("\n") == 1


def test_start_refuses_other_networks(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a ResNet18, the network is a ResNet34"):
        begin_from(PoseNet(34), open_start(str(run), "pose"))
    other = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
    with pytest.raises(ModelError, match=r"not weights for this network: 2 tensors .* 0\.weight"):
        begin_from(other, open_start(str(run), "detector"))
    with pytest.raises(ModelError, match="only the pose network has a ResNet"):
        begin_from(other, open_start("imagenet", "detector"))
    with pytest.raises(ModelError, match="no such file"):
        begin_from(other, open_start(str(tmp_path / "none.safetensors"), "detector"))


def test_start_with_a_backbone_of_torchvision(tmp_path: Path) -> None:
    torch.manual_seed(6)
    theirs = torchvision.models.resnet18(weights=None)
    path = tmp_path / "resnet18-0000.pth"
    torch.save(theirs.state_dict(), path)
    net = PoseNet()
    new = begin_from(net, open_start(str(path), "pose"))
    assert {name.split(".")[1] for name in new} == {"deconv", "final"}
    for name, tensor in net.net.backbone.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name])


def test_another_normalisation_is_taken_up_by_the_first_layer(net: PoseNet) -> None:
    """BGR pictures with other means: the same inside the border, where padding is another grey."""
    theirs = {"rgb": False, "mean": (100.0, 110.0, 120.0), "std": (50.0, 60.0, 70.0)}
    weights = dict(net.net.state_dict())
    moved = renormalised(weights, theirs)
    first, second = network(weights, theirs, Path("a")), network(moved, {}, Path("b"))
    pixels = crops(1, 128)
    with torch.inference_mode():
        images = [
            ((pixels.flip(3) if part.rgb else pixels).float() - part.mean) * part.scale
            for part in (first, second)
        ]
        stems = [
            part.net.backbone.bn1(part.net.backbone.conv1(image.permute(0, 3, 1, 2)))
            for part, image in zip((first, second), images)
        ]
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(stems[1][inside], stems[0][inside], rtol=1e-3, atol=1e-3)
    assert renormalised(weights, dict(INPUT)) is weights


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a web server and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_port}", folder
        http_server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_downloads_are_checked_and_kept(server: tuple[str, Path], tmp_path: Path) -> None:
    url, served = server
    data = b"weights"
    name = f"resnet18-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    (served / name).write_bytes(data)
    cache = tmp_path / "cache"
    assert fetch(f"{url}/{name}", cache).read_bytes() == data
    (served / name).unlink()
    assert fetch(f"{url}/{name}", cache).read_bytes() == data  # not asked for again
    (cache / name).write_bytes(b"damaged")
    (served / name).write_bytes(b"something else")
    with pytest.raises(ModelError, match="wrong SHA-256"):
        fetch(f"{url}/{name}", cache)
    (served / name).unlink()
    with pytest.raises(ModelError, match=r"cannot be had .*; put that file into") as caught:
        fetch(f"{url}/{name}", cache)
    assert "\n" not in str(caught.value)


def test_without_a_network_one_line_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="--start FILE") as caught:
        fetch("http://127.0.0.1:9/resnet18-f37072fd.pth", tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_known_names_are_not_used_for_new_files(tmp_path: Path, net: PoseNet) -> None:
    weights = dict(net.net.state_dict())
    known = {**METADATA, "name": "pose-resnet18-start"}
    assert network_of(weights, known, tmp_path, {}).metadata["name"] == "pose-resnet18-64x64"
    with pytest.raises(UsageError):
        network_of(weights, METADATA, tmp_path, {"name": "pose-resnet18-start"})
    json.dumps(network_of(weights, METADATA, tmp_path, {}).metadata)


@pytest.mark.parametrize("depth", [34, 101])
def test_depth_is_told_from_names(depth: int) -> None:
    with torch.device("meta"):
        names = set(PoseResNet(depth).state_dict())
    assert depth_of(names) == depth
    assert depth_of({n for n in names if ".layer3.5." not in n}) is None
    assert depth_of(set()) is None

"""The mean of networks: what it is, what it is read back as, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (posestream[train])")
pytest.importorskip("safetensors", reason="training needs safetensors (posestream[train])")
pytest.importorskip("onnx", reason="model files need onnx (posestream[train])")

from pose_files import crops, unsettle  # noqa: E402
from safetensors import safe_open  # noqa: E402

from engines.base import ModelSpec  # noqa: E402
from engines.identify import identify  # noqa: E402
from engines.load import load  # noqa: E402
from engines.registry import IMAGENET_MEAN  # noqa: E402
from tests.networks import resnet_file  # noqa: E402
from train import written  # noqa: E402
from train.__main__ import main  # noqa: E402
from train.average import mean_weights  # noqa: E402
from train.checkpoint import weights_bytes  # noqa: E402
from train.config import Config  # noqa: E402
from train.detector import DetectorTrainer  # noqa: E402
from train.pose_net import PoseNet  # noqa: E402
from train.weights import load_weights  # noqa: E402

WH = (64, 64)
Networks = dict[str, Path]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    """Best epochs as trainings leave them: poses a, b and c (a deeper one), detectors d and e."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(4)
    made = {
        "a": unsettle(PoseNet()), "b": unsettle(PoseNet()), "c": PoseNet(34),
        "d": DetectorTrainer(), "e": DetectorTrainer(),
    }  # fmt: skip
    for name, net in made.items():
        task = "pose" if name in "abc" else "detector"
        about = {"config": Config(task, input_wh=WH).to_json(), "epoch": "3"}
        weights = dict(net.state_dict())
        if name == "a":
            weights["hints.0.weight"] = torch.zeros(3)
        (folder / f"{name}.safetensors").write_bytes(weights_bytes(weights, about))
    return {name: folder / f"{name}.safetensors" for name in made}


def average(*arguments: object) -> int:
    return main(["average", *map(str, arguments)])


def test_each_weight_is_the_mean_by_shares(networks: Networks, tmp_path: Path) -> None:
    out = tmp_path / "mean.safetensors"
    assert average(networks["a"], networks["b"], "--shares", "3,1", "--out", out) == 0
    a, b, mean = (load_weights(path)[0] for path in (networks["a"], networks["b"], out))
    assert set(mean) == set(a) == set(b)
    for name, tensor in mean.items():
        expected = 0.75 * a[name] + 0.25 * b[name] if tensor.is_floating_point() else a[name]
        torch.testing.assert_close(tensor, expected)
    assert not any(name.startswith("hints.") for name in load_weights(out, whole=True)[0])
    assert load_weights(out)[1]["input_wh"] == WH


def test_a_network_is_its_own_mean_also_as_onnx(networks: Networks, tmp_path: Path) -> None:
    """The engine finds in the ONNX file the heatmaps of the network itself."""
    out = tmp_path / "mean.onnx"
    assert average(networks["a"], networks["a"], "--out", out) == 0
    net = PoseNet()
    weights, _ = load_weights(networks["a"])
    net.net.load_state_dict(weights)
    pixels = crops()
    with torch.inference_mode():
        expected = net.eval()(pixels)
    found = torch.from_numpy(load(out, "pose", precision="f32")(pixels.numpy())[0])
    torch.testing.assert_close(found, expected, atol=2e-3 * float(expected.abs().max()), rtol=0)


def test_what_is_written_says_how_deep_it_is(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with torch.device("meta"):
        deep, plain = PoseNet(34).net.state_dict(), DetectorTrainer().state_dict()
    for task, names, depth in (("pose", deep, 34), ("detector", plain, 18)):
        weights = {name: torch.zeros(1) for name in names}
        about = written.described({"task": task, "input_wh": WH}, path)
        written.write(weights, about, path, "never")
        with safe_open(path, "pt") as file:
            assert Config.from_json(file.metadata()["config"]).depth == depth


def test_another_normalisation_is_brought_into_the_weights(tmp_path: Path) -> None:
    """A file that wants other numbers and colours than ours finds the same as a mean of ours. Its
    grey is ours: the padding, which is that grey, would else be another one at the borders."""
    described = {"rgb": False, "mean": IMAGENET_MEAN[::-1], "std": (70.0, 57.0, 45.0)}
    path, out = resnet_file(tmp_path / "other.onnx", **described), tmp_path / "mean.onnx"
    assert average(path, path, "--out", out) == 0
    assert identify(path).std != identify(out).std
    expected, found = (
        load(each, "pose", precision="f32")(crops().numpy())[0] for each in (path, out)
    )
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


def test_crops_of_another_padding(
    networks: Networks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engines cut as the training did; networks of different crops need a word."""
    about = {"config": Config("pose", input_wh=WH, padding=1.15).to_json()}
    tight = tmp_path / "tight.safetensors"
    tight.write_bytes(weights_bytes(load_weights(networks["a"])[0], about))
    assert identify_mean(tight, tight, out=tmp_path / "one.onnx").padding == 1.15
    assert average(networks["b"], tight, "--out", tmp_path / "none.onnx") == 5
    assert "in its padding; give --padding" in capsys.readouterr().err
    mean = identify_mean(networks["b"], tight, "--padding", 1.2, out=tmp_path / "two.onnx")
    assert mean.padding == 1.2
    assert identify_mean(networks["a"], networks["b"], out=tmp_path / "old.onnx").padding == 1.25


def identify_mean(*arguments: object, out: Path) -> ModelSpec:
    assert average(*arguments, "--out", out) == 0
    return identify(out)


def test_detectors_keep_what_they_learn_with(networks: Networks, tmp_path: Path) -> None:
    """So that a training can begin at the mean; the ONNX file runs."""
    out = tmp_path / "mean.safetensors"
    assert average(networks["d"], networks["e"], "--out", out) == 0
    assert set(load_weights(out, whole=True)[0]) == set(load_weights(networks["d"], whole=True)[0])
    assert average(networks["d"], networks["e"], "--out", out.with_suffix(".onnx")) == 0
    centers, sizes = load(out.with_suffix(".onnx"), "detector")(crops().numpy())
    assert centers.shape[0] == sizes.shape[0] == 2


def test_what_has_no_mean_is_one_line(
    networks: Networks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c, d, _ = networks.values()
    out = ("--out", tmp_path / "mean.safetensors")
    for arguments, code, message in (
        ((a, *out), 2, "two or more"),
        ((a, b, "--shares", "1", *out), 2, "1 shares"),
        ((a, b, "--shares", "1,0", *out), 2, "above 0"),
        ((a, b, "--shares", "1,nan", *out), 2, "above 0"),
        ((a, b, "--out", tmp_path / "mean.pth"), 2, "name it .safetensors or .onnx"),
        ((a, c, *out), 5, f"{c}: unlike {a} in "),
        ((a, d, *out), 5, f"{d}: unlike {a} in its task"),
        ((a, tmp_path / "none.onnx", *out), 5, "none.onnx"),
        ((a, b, "--out", tmp_path / "none" / "m.onnx"), 4, "cannot be written"),
    ):
        try:
            found = average(*arguments)
        except SystemExit as error:  # argparse itself
            found = int(error.code or 0)
        said = capsys.readouterr().err.strip()
        assert found == code and message in said and "\n" not in said, (arguments, said)
    assert not list(tmp_path.iterdir())


def test_no_source_is_replaced(
    networks: Networks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a file that is given nor that of a training whose folder is."""
    file, run = tmp_path / "a.safetensors", tmp_path / "run"
    run.mkdir()
    data = networks["a"].read_bytes()
    for path in (file, run / "best.safetensors"):
        path.write_bytes(data)
    for out in (file, run / "best.safetensors"):
        assert average(file, run, "--out", out) == 2
        assert f"{out}: this is the input" in capsys.readouterr().err
        assert out.read_bytes() == data


def test_shares_are_relative() -> None:
    one, two = {"w": torch.tensor([1.0])}, {"w": torch.tensor([5.0])}
    paths = [Path("a"), Path("b")]
    assert mean_weights([one, two], [10, 30], paths)["w"].item() == 4.0

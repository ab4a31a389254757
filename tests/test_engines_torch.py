"""PyTorch: batch normalisations folded, ONNX files run as modules."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from networks import (
    DESCRIPTION,
    NET_MEAN,
    NET_STD,
    NET_WH,
    by_hand,
    graph_of,
    pictures,
    pose_file,
    resnet,
    resnet_by_hand,
    resnet_file,
    with_output,
    write,
)

from engines import cuda
from engines.base import ModelSpec, Options
from engines.load import find_default, find_tiny, load
from realtime.errors import ModelError

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")


def load_torch(path, **options):
    return load(path, "pose", "torch", compute="cpu", **options)


def trained(seed: int = 0):
    """A pose network whose batch normalisations do something."""
    net = resnet(seed)
    generator = torch.Generator().manual_seed(1)
    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            for tensor in (part.weight.data, part.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (part.bias.data, part.running_mean):
                tensor.uniform_(-0.2, 0.2, generator=generator)
    return net


def test_folding_changes_nothing_but_rounding():
    from engines.torch_nets import folded

    net = trained()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = net(x)
        found = folded(net)(x)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in net.modules())
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_onnx_files_run_as_openvino_runs_them(tmp_path):
    path = resnet_file(tmp_path / "a.onnx")
    x = pictures(9, size_wh=NET_WH)
    network = load_torch(path)
    assert (network.engine, network.precision, network.device) == ("torch", "f32", "cpu")
    whole = network(x)[0]
    scale = np.abs(whole).max()
    assert np.abs(whole - resnet_by_hand(x)).max() < 2e-3 * scale
    other = load(path, "pose", "openvino", precision="f32", threads=1)(x)[0]
    assert np.abs(whole - other).max() < 1e-4 * scale
    for count in (1, 3, 8):
        assert np.abs(network(x[:count])[0] - whole[:count]).max() < 1e-4 * scale
    assert network(x[:0])[0].shape == (0, 17, 16, 16)
    (rough,) = load_torch(path, precision="bf16")(x)
    assert 1e-4 < np.abs(rough - whole).max() / scale < 0.1


@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("nhwc", [False, True])
def test_layout_colour_and_normalisation(tmp_path, rgb, nhwc):
    mean, std = ([0.0] * 3, [1.0] * 3) if nhwc else ([120.0, 110.0, 100.0], [60.0, 55.0, 50.0])
    path = pose_file(tmp_path / "a.onnx", nhwc=nhwc, rgb=rgb, mean=mean, std=std)
    x = pictures(3)
    network, expected = load_torch(path), by_hand(x, mean, std, rgb)
    assert np.abs(network(x)[0] - expected).max() < 1e-4 * np.abs(expected).max()
    turned = x[::2, :, ::-1]
    expected = by_hand(turned, mean, std, rgb)
    assert np.abs(network(turned)[0] - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_file_that_turns_colours_round_itself(tmp_path):
    pose_net = pytest.importorskip("train.pose_net")
    from train.export import to_onnx

    torch.manual_seed(0)
    net, path = pose_net.PoseNet(18, True, NET_MEAN, NET_STD), tmp_path / "a.onnx"
    described = {**DESCRIPTION, "input_wh": NET_WH, "nhwc": True}
    to_onnx(net, described, path, torch.zeros(2, 64, 64, 3, dtype=torch.uint8))
    x = pictures(3, size_wh=NET_WH)
    with torch.inference_mode():
        expected = net.eval()(torch.tensor(x)).numpy()
    assert np.abs(load_torch(path)(x)[0] - expected).max() < 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["UINT8", "INT64", "BOOL"])
def test_a_cast_that_cuts_numbers_is_refused(tmp_path, kind):
    path = with_output(pose_file(tmp_path / "a.onnx"), onnx.TensorProto.DataType.Value(kind))
    with pytest.raises(ModelError, match="engine torch does not run its Cast"):
        load_torch(path)


def test_what_it_does_not_know_is_refused_by_name(tmp_path):
    helper = onnx.helper
    nodes = [helper.make_node("Gelu", ["x"], ["y"])]
    ends = (
        [("x", onnx.TensorProto.FLOAT, ["n", 3, 64, 48])],
        [("y", onnx.TensorProto.FLOAT, ["n", 17, 16, 12])],
    )
    path = write(tmp_path / "a.onnx", graph_of(nodes, *ends, {}), DESCRIPTION)
    with pytest.raises(ModelError, match="engine torch does not run its Gelu") as caught:
        load_torch(path)
    assert "\n" not in str(caught.value)
    model = onnx.load(pose_file(tmp_path / "b.onnx"))
    model.graph.node[-1].attribute.append(helper.make_attribute("pads", [0, 0, 1, 1]))
    described = json.loads(model.metadata_props[0].value)
    path = write(tmp_path / "c.onnx", model.graph, described)
    with pytest.raises(ModelError, match="engine torch does not run its Conv"):
        load_torch(path)
    with pytest.raises(ModelError, match="precision int8: engine torch does not have it"):
        load_torch(tmp_path / "b.onnx", precision="int8")


def changed(change):
    """What turns the bytes of a model into those of another one."""

    def give(data: bytes) -> bytes:
        model = onnx.load_from_string(data)
        change(*model.graph.node[1:], model.graph.initializer[0])
        return model.SerializeToString()

    return give


DAMAGED = {
    "DecodeError": lambda data: data.replace(b"\n\3\x12\1n", b"\x0f\3\x12\1n"),
    "KeyError: 'elsewhere'": changed(lambda turn, conv, w: turn.input.__setitem__(0, "elsewhere")),
    "KeyError: 'perm'": changed(lambda turn, conv, w: turn.ClearField("attribute")),
    "KeyError: 99": changed(lambda turn, conv, w: setattr(w, "data_type", 99)),
    "TypeError": changed(lambda turn, conv, w: conv.input.pop()),
    "AttributeError": changed(lambda turn, conv, w: turn.input.__setitem__(0, "")),
    "ValueError": changed(lambda turn, conv, w: setattr(w, "raw_data", w.raw_data[4:])),
}
"""What PyTorch, or reading for it, raises of a damaged file, and how to damage one so."""


@pytest.mark.parametrize("reason", DAMAGED)
def test_damaged_files_are_refused_in_one_line(tmp_path, reason):
    path = pose_file(tmp_path / "a.onnx")
    path.write_bytes(DAMAGED[reason](path.read_bytes()))
    with pytest.raises(ModelError, match=f"a.onnx: engine torch cannot run it: {reason}") as told:
        load_torch(path)
    assert "\n" not in str(told.value)


def resized(path, factor: float, **options):
    """A pose network that ends in a Resize."""
    model = onnx.load(pose_file(path))
    model.graph.node[-1].output[0] = "small"
    scales = onnx.numpy_helper.from_array(np.float32([1, 1, factor, factor]), "scales")
    model.graph.initializer.append(scales)
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
               "nearest_mode": "floor", **options}  # fmt: skip
    node = onnx.helper.make_node("Resize", ["small", "", "scales"], ["heatmaps"], **options)
    model.graph.node.append(node)
    for dim in model.graph.output[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = int(dim.dim_value * factor)
    return write(path, model.graph, json.loads(model.metadata_props[0].value))


def test_bf16_without_instructions_for_it_is_told(tmp_path, monkeypatch, caplog):
    path = pose_file(tmp_path / "a.onnx")
    for able in (True, False):
        monkeypatch.setattr("engines.torch.has_bf16", lambda _, able=able: able)
        load_torch(path, precision="bf16")
        assert ("bf16: the processor has no instructions" in caplog.text) is not able


def test_enlargement_by_blocks(tmp_path):
    x = pictures(2)
    network = load_torch(resized(tmp_path / "a.onnx", 2), precision="bf16")
    expected = by_hand(x).repeat(2, 2).repeat(2, 3)
    assert np.abs(network(x)[0] - expected).max() < 0.05 * np.abs(expected).max()
    with pytest.raises(ModelError, match="engine torch does not run its Resize"):
        load_torch(resized(tmp_path / "b.onnx", 2, mode="linear"))
    with pytest.raises(ModelError, match="a Resize by"):
        load_torch(resized(tmp_path / "c.onnx", 1.5))


@pytest.mark.parametrize("find", [find_default, find_tiny])
def test_detectors_run_as_openvino_runs_them(find):
    path = find("detector")
    if path is None:
        pytest.skip("no such network in this tree")
    network = load(path, "detector", "torch", compute="cpu", precision="f32")
    x = pictures(3, size_wh=network.spec.input_wh)
    expected = load(path, "detector", "openvino", precision="f32")(x)
    found = network(x)
    assert len(found) == 2
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == theirs.shape
        assert np.abs(mine - theirs).max() < 1e-4 * np.abs(theirs).max()
    for empty, theirs in zip(network(x[:0]), expected, strict=True):
        assert empty.shape == (0, *theirs.shape[1:])


@pytest.fixture
def switches(monkeypatch):
    """PyTorch's switches for cuDNN, TF32 on, where it seems to have a GPU."""
    monkeypatch.setattr(cuda, "count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    return torch.backends.cudnn


def no_gpu(*_):
    raise RuntimeError("no GPU after all")


@pytest.mark.parametrize(
    "precision, compute, tf32",
    [("f32", "cuda", False), ("f16", "cuda", True), ("auto", "cuda", True), ("f32", "cpu", True)],
)
def test_f32_on_a_gpu_is_not_tf32(tmp_path, monkeypatch, switches, precision, compute, tf32):
    """Before the first tensor goes to the GPU."""
    monkeypatch.setattr("engines.torch.Prepared", no_gpu)
    with pytest.raises((ModelError, RuntimeError), match="no GPU after all"):
        load(pose_file(tmp_path / "a.onnx"), "pose", "torch", precision, compute)
    assert switches.allow_tf32 == tf32


@pytest.mark.parametrize("compute, tf32", [("cuda", False), ("cpu", True)])
def test_torchvision_detectors_are_f32_on_a_gpu(monkeypatch, switches, compute, tf32):
    detectors = pytest.importorskip("engines.torch_detectors")
    monkeypatch.setattr(detectors, "network", no_gpu)
    name = "detector-ssdlite-mobilenet"
    spec = ModelSpec(name, "detector", "rtmdet", (320, 320), Path("a.safetensors"), "")
    with pytest.raises(RuntimeError, match="no GPU after all"):
        detectors.TorchDetector(spec, b"", Options("auto", compute))
    assert switches.allow_tf32 == tf32


@pytest.mark.parametrize("precision, tf32", [("auto", False), ("f32", False), ("bf16", True)])
def test_networks_of_a_training_are_f32_on_a_gpu(monkeypatch, switches, precision, tf32):
    trained_network = pytest.importorskip("train.trained_network")
    known = {"input_wh": (192, 256)}
    monkeypatch.setattr(trained_network, "load_weights", lambda path: ({}, known))
    monkeypatch.setattr(trained_network, "network_of", no_gpu)
    with pytest.raises(RuntimeError, match="no GPU after all"):
        trained_network.TrainedNetwork(Path("a"), "pose", Options(precision, "cuda"))
    assert switches.allow_tf32 == tf32


@pytest.mark.parametrize("task", ["pose", "detector"])
@pytest.mark.parametrize("factor", [1.0, 0.2, float("nan")])
def test_half_precision_that_nobody_asked_for_is_compared(monkeypatch, caplog, task, factor):
    """bf16 in the place of f16, and of a GPU; its outputs times a factor."""
    from engines.torch import TorchNetwork

    outputs = TorchNetwork._outputs

    def wrong(self, pixels):
        looks = self.precision == "bf16" and pixels.max() > 0
        return [part * (factor if looks else 1) for part in outputs(self, pixels)]

    monkeypatch.setattr("engines.torch.fastest", lambda device: "bf16")
    monkeypatch.setattr("engines.torch.has_bf16", lambda device: True)
    monkeypatch.setattr(TorchNetwork, "_outputs", wrong)
    network = load(find_tiny(task), task, "torch", compute="cpu")
    whole = task == "pose" and factor == 0.2  # joints are at the same places
    good = factor == 1 or whole
    assert network.precision == ("bf16" if good else "f32")
    assert ("runs in f32, not in bf16: " in caplog.text) is not good
    if factor != factor:
        with pytest.raises(ModelError, match="outputs are not finite in bf16"):
            load(find_tiny(task), task, "torch", "bf16", "cpu")


def test_what_fails_after_a_torchvision_detector_is_one_line(monkeypatch):
    """A GPU tells of an error when something is fetched from it."""
    detectors = pytest.importorskip("engines.torch_detectors")
    monkeypatch.setattr(detectors, "network", lambda *_: torch.nn.Identity())
    monkeypatch.setattr(detectors, "_people", no_gpu)
    spec = ModelSpec("d", "detector", "rtmdet", (32, 32), Path("a.safetensors"), "")
    network = detectors.TorchDetector(spec, b"", Options("auto", "cpu"))
    with pytest.raises(ModelError, match="^d: PyTorch failed: no GPU after all$"):
        network(pictures(1, size_wh=(32, 32)))


def test_bf16_is_asked_of_the_gpu_that_is_used(monkeypatch):
    from engines.torch import has_bf16

    current = [0]

    @contextmanager
    def device(place):
        current.append(place.index)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: current[-1] == 1)
    assert has_bf16(torch.device("cuda:1")) and not has_bf16(torch.device("cuda:0"))

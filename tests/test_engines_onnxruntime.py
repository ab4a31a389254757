"""ONNX Runtime against results computed by hand, by OpenVINO and by plain PyTorch."""

import numpy as np
import pytest
from networks import (
    NET_WH,
    by_hand,
    graph_of,
    onnx,
    pictures,
    pose_file,
    resnet_by_hand,
    resnet_file,
    write,
)

from engines import cuda
from engines.load import find_tiny, load
from realtime.errors import ModelError
from realtime.halving import Halving

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from onnxruntime.capi import onnxruntime_pybind11_state as states


def load_ort(path, **options):
    return load(path, "pose", "onnxruntime", threads=1, **options)


def test_pictures_go_in_as_they_are(tmp_path):
    network = load_ort(pose_file(tmp_path / "a.onnx"))
    x = pictures(3)
    before = x.copy()
    (found,) = network(x)
    assert found.dtype == np.float32 and (x == before).all()
    assert np.abs(found - by_hand(x)).max() < 1e-3
    assert (network.engine, network.precision, network.device) == ("onnxruntime", "f32", "cpu")
    network.close()
    network.close()


@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("nhwc", [False, True])
def test_layout_colour_and_normalisation(tmp_path, rgb, nhwc):
    mean, std = [120.0, 110.0, 100.0], [60.0, 55.0, 50.0]
    if nhwc:
        mean, std = [0.0] * 3, [1.0] * 3  # the file takes uint8
    path = pose_file(tmp_path / "a.onnx", nhwc=nhwc, rgb=rgb, mean=mean, std=std)
    x = pictures(2)
    expected = by_hand(x, mean, std, rgb)
    assert np.abs(load_ort(path)(x)[0] - expected).max() < 1e-4 * np.abs(expected).max()


def test_what_it_refuses_says_why_and_not_where(tmp_path):
    path = pose_file(tmp_path / "a.onnx")
    model = onnx.load(path)
    model.ir_version = 99
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="refuses it: Unsupported model IR version: 99"):
        load_ort(path)
    model.ir_version = 8
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"takes tensor\(double\), not uint8, float or float16"):
        load_ort(path)


def test_a_name_that_is_no_text_is_refused_in_one_line(tmp_path):
    path = pose_file(tmp_path / "a.onnx")
    path.write_bytes(path.read_bytes().replace(b"images", b"imag\xff\xff"))
    with pytest.raises(ModelError, match="ONNX Runtime refuses it: 'utf-8' codec") as caught:
        load_ort(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("says", "full"),
    [
        ("Failed to allocate memory for requested buffer of size 1207959552", True),
        ("CUDA failure 2: out of memory ; GPU=0 ; hostname=x", True),
        ("CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED", False),
    ],
)
def test_a_full_gpu_is_what_halves_batches(tmp_path, monkeypatch, says, full):
    network = load_ort(pose_file(tmp_path / "a.onnx"))
    session = network._session

    class Small:
        def run(self, names, given):
            if any(len(batch) > 2 for batch in given.values()):
                text = f"[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Status Message: {says}"
                raise states.RuntimeException(text)
            return session.run(names, given)

    monkeypatch.setattr(network, "_session", Small())
    x = pictures(4)
    if full:
        assert np.abs(Halving(network)(x)[0] - by_hand(x)).max() < 1e-3
    else:
        with pytest.raises(ModelError, match=says):
            Halving(network)(x)


@pytest.mark.parametrize("fixed", ["n", 1, 4])
def test_batch_equals_one_by_one(tmp_path, fixed):
    network = load_ort(pose_file(tmp_path / "a.onnx", fixed))
    x = pictures(17)
    expected = by_hand(x)
    for count in (1, 3, 8, 9, 17, 0):
        (found,) = network(x[:count])
        assert found.shape == (count, 17, 16, 12)
        assert np.abs(found - expected[:count]).max(initial=0) < 1e-3


def test_results_stay_and_slices_are_taken(tmp_path):
    network = load_ort(pose_file(tmp_path / "a.onnx"))
    x = pictures(6)
    (first,) = network(x[::2])
    kept = first.copy()
    assert np.abs(first - by_hand(x[::2])).max() < 1e-3
    flipped = x[:, :, ::-1]
    assert np.abs(network(flipped)[0] - by_hand(flipped)).max() < 1e-3
    x[:] = 0
    assert (first == kept).all()


def test_the_pose_network_gives_what_torch_and_openvino_give(tmp_path):
    path = resnet_file(tmp_path / "a.onnx")
    x = pictures(17, size_wh=NET_WH)
    expected = resnet_by_hand(x)
    limit = 2e-3 * np.abs(expected).max()  # the file holds the weights in fp16
    network = load_ort(path)
    whole = network(x)[0]
    other = load(path, "pose", "openvino", precision="f32", threads=1)(x)[0]
    assert np.abs(whole - expected).max() < limit
    assert np.abs(whole - other).max() < limit / 20  # the same weights: rounding only
    for count in (1, 3, 8, 9):
        assert np.abs(network(x[:count])[0] - whole[:count]).max() < limit / 20
    assert network(x[:0])[0].shape == (0, 17, 16, 16)
    assert np.abs(network(x[::2])[0] - whole[::2]).max() < limit / 20


def test_what_it_cannot_do_is_refused(tmp_path, monkeypatch):
    from engines.onnxruntime import cuda_available

    path = pose_file(tmp_path / "a.onnx")
    for precision in ("bf16", "f16", "int8"):
        with pytest.raises(ModelError, match=f"{precision}: engine onnxruntime computes in f32"):
            load_ort(path, precision=precision)
    if not cuda_available():
        monkeypatch.setattr(cuda, "count", lambda: 1)
        with pytest.raises(
            ModelError, match=r'no CUDA; pip install "onnxruntime-gpu\[cuda,cudnn\]"'
        ):
            load_ort(path, compute="cuda")


def test_cuda_that_turns_into_the_cpu_is_refused(tmp_path, monkeypatch):
    """ONNX Runtime leaves out a provider it cannot use and goes on: that must not pass."""
    from engines import onnxruntime

    monkeypatch.setattr(cuda, "count", lambda: 1)
    monkeypatch.setattr(onnxruntime, "cuda_available", lambda: True)
    if "CUDAExecutionProvider" in onnxruntime.ort.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(ModelError, match="cannot use CUDAExecutionProvider"):
        with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
            load_ort(pose_file(tmp_path / "a.onnx"), compute="cuda:0")


def test_settings_of_cuda(monkeypatch, capsys):
    """Not all algorithms are tried at each batch size; float32 is float32; CUDA's libraries from
    pip are loaded, about which standard output, where poses may go, says nothing."""
    from engines import onnxruntime

    monkeypatch.setattr(onnxruntime, "cuda_available", lambda: True)
    loaded = []

    def load_libraries():
        loaded.append(print("Failed to load libcufft.so.12"))

    monkeypatch.setattr(onnxruntime.ort, "preload_dlls", load_libraries, raising=False)
    device, providers = onnxruntime._providers("cuda:1")
    wanted = {"device_id": "1", "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    assert device == "cuda:1"
    assert providers == [("CUDAExecutionProvider", wanted), ("CPUExecutionProvider", {})]
    assert loaded and capsys.readouterr() == ("", "")
    monkeypatch.delattr(onnxruntime.ort, "preload_dlls")  # as before 1.21
    assert onnxruntime._providers("cuda:1") == (device, providers)
    assert onnxruntime._providers("cpu") == ("cpu", [("CPUExecutionProvider", {})])


def test_a_file_it_cannot_read_is_one_line(tmp_path):
    import onnx

    model = onnx.load(pose_file(tmp_path / "a.onnx"))
    model.graph.node[-1].op_type = "NoSuchOperator"
    path = write(tmp_path / "b.onnx", model.graph, {**describe(tmp_path / "a.onnx")})
    with pytest.raises(ModelError, match="ONNX Runtime refuses it: .*NoSuchOperator") as caught:
        load_ort(path)
    assert "\n" not in str(caught.value)


def describe(path):
    import json

    from engines import containers

    return json.loads(containers.read(path.read_bytes()).metadata["posestream"])


def test_a_network_without_pictures_is_refused(tmp_path):
    from onnx import TensorProto, helper

    graph = graph_of(
        [helper.make_node("Relu", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", 3])],
        [("y", TensorProto.FLOAT, ["n", 3])],
        {},
    )
    described = describe(pose_file(tmp_path / "a.onnx"))
    with pytest.raises(ModelError, match="does not take one batch of pictures"):
        load_ort(write(tmp_path / "b.onnx", graph, described))


@pytest.mark.parametrize("task", ["detector", "pose"])
def test_the_tiny_networks_give_what_openvino_gives(task):
    path = find_tiny(task)
    if path is None:
        pytest.skip("no tiny networks in this tree")
    ours = load(path, task, "onnxruntime", threads=1)
    other = load(path, task, "openvino", precision="f32", threads=1)
    width, height = ours.spec.input_wh
    x = pictures(3, size_wh=(width, height))
    for a, b in zip(ours(x), other(x), strict=True):
        assert a.shape == b.shape and np.abs(a - b).max() < 1e-4 * max(1, np.abs(b).max())

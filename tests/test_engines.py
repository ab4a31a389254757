"""Model files, real and damaged; networks that compute something one can check by hand."""

import gc
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread
from weakref import WeakSet

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import realtime
from engines import build_command, containers, cuda
from engines import load as load_module
from engines.__main__ import main
from engines.base import Network
from engines.identify import identify
from engines.load import Backend, find_tiny, load
from engines.registry import KNOWN
from realtime.errors import ModelError, OutOfMemory, UsageError
from realtime.halving import Halving
from realtime.pose import estimate
from realtime.records import Crops

onnx = pytest.importorskip("onnx")
from networks import (  # noqa: E402
    DESCRIPTION,
    KERNELS,
    SIZE_WH,
    by_hand,
    graph_of,
    pictures,
    pose_file,
    with_output,
    write,
)
from onnx import TensorProto, helper  # noqa: E402

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("POSESTREAM_SHARED", ROOT.parent / "shared"))


def load_pose(path: Path, **options) -> Network:
    return load(path, "pose", "openvino", precision="f32", threads=1, **options)


# --- what a file is ---------------------------------------------------------------------------


def test_description_in_the_file(tmp_path):
    path = pose_file(tmp_path / "a.onnx", sigma=3, grid="udp", licence="CC0", trained_on="x")
    spec = identify(path)
    assert (spec.name, spec.task, spec.format, spec.input_wh) == tuple(DESCRIPTION.values())
    assert (spec.sigma, spec.grid, spec.licence, spec.nhwc) == (3, "udp", "CC0", True)
    assert (spec.container, spec.verified, spec.path) == ("onnx", False, path)


NOT_MODELS = {
    "empty": (b"", "empty"),
    "text": (b"just some text, not a model at all", "not a"),
    "html": (b"\n <!DOCTYPE html><html>404</html>", "web page"),
    "pickle": (b"\x80\x04\x95\x0f\x00.", "pickle"),
    "zip": (b"PK\x03\x04rest of a .pt file", "pickle"),
    "zeros": (bytes(1000), "not a"),
    "safetensors cut": ((10**6).to_bytes(8, "little") + b'{"a":', "cut short"),
    "safetensors like html": (b" <\0\0\0\0\0\0{", "cut short"),
    "safetensors like pickle": (b"\x80\4\0\0\0\0\0\0{", "cut short"),
    "html with a brace": (b"<style>\n{}</style>", "web page"),
    "safetensors header": ((4).to_bytes(8, "little") + b"{[]}", "damaged"),
    "safetensors list": ((9).to_bytes(8, "little") + b'{"a":[1]}', "damaged"),
    "fields only": (b"\x08\x08\x12\x04test", "not an ONNX"),
}


@pytest.mark.parametrize("name", NOT_MODELS)
def test_other_files_are_refused(tmp_path, name):
    content, reason = NOT_MODELS[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason) as caught:
        identify(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("length", [ord("<"), 0x3C20, 0x80, 0x4B50])
def test_lengths_of_headers_may_look_like_other_files(length):
    header = b"{" + b" " * (length - 2) + b"}"
    assert containers.read(length.to_bytes(8, "little") + header).container == "safetensors"


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        identify(tmp_path / "nothing.onnx")
    with pytest.raises(ModelError, match="not fetched from addresses: download it"):
        identify(Path("https://models.example/pose.onnx"))
    with pytest.raises(ModelError, match="folder"):
        identify(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_what_may_never_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ModelError, match="a pipe or device, not a file"):
            identify(path)


@pytest.mark.parametrize("kind", [TensorProto.BFLOAT16, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_types_of_outputs_are_read_as_what_they_are(tmp_path, kind):
    x = pictures(2)
    (found,) = load_pose(with_output(pose_file(tmp_path / "a.onnx"), kind))(x)
    expected = by_hand(x)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


def test_an_input_that_does_not_hold_pixels_is_refused(tmp_path):
    path = pose_file(tmp_path / "a.onnx")
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT8
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="takes i8, which holds no pixels"):
        load_pose(path)


def test_what_to_run_of_a_training_is_said(tmp_path):
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ModelError, match=r"a folder, not a file; give .*model\.onnx"):
        identify(tmp_path)
    header = b'{"__metadata__":{"config":"{}","epoch":"3"}}'
    (tmp_path / "best.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelError, match=r"weights of a training; give the model\.onnx"):
        identify(tmp_path / "best.safetensors")


def test_unknown_networks_are_refused(tmp_path):
    graph = onnx.load(pose_file(tmp_path / "a.onnx")).graph
    with pytest.raises(ModelError, match="without 'posestream' metadata"):
        identify(write(tmp_path / "b.onnx", graph))


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"task": "hands"}, "task"), ({"format": "yolox"}, "pose with format"),
        ({"input_wh": [48]}, "input_wh"), ({"input_wh": [48.0, 64]}, "input_wh"),
        ({"input_wh": [1, 10**9]}, "input_wh"), ({"sigma": float("nan")}, "sigma"),
        ({"std": [1, 1, 0]}, "std"), ({"batch": 0}, "batch"), ({"rgb": 1}, "rgb"),
        ({"name": "two\nlines"}, "name"), ({"grid": None}, "grid"), ({"task": {}}, "task"),
    ],
)  # fmt: skip
def test_wrong_descriptions_are_refused(tmp_path, change, reason):
    with pytest.raises(ModelError, match=reason) as caught:
        identify(pose_file(tmp_path / "a.onnx", **change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("description", [[], "x", None, {}, {"name": "x"}])
def test_incomplete_descriptions_are_refused(tmp_path, description):
    graph = onnx.load(pose_file(tmp_path / "a.onnx")).graph
    with pytest.raises(ModelError, match="metadata"):
        identify(write(tmp_path / "b.onnx", graph, description))


def test_a_known_name_with_other_content_is_refused(tmp_path):
    with pytest.raises(ModelError, match="damaged or was changed"):
        identify(pose_file(tmp_path / "a.onnx", name=KNOWN[0].spec.name))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("sign", ["both", "location", "entries"])
def test_weights_in_other_files_are_refused(tmp_path, nested, sign):
    model = onnx.load(pose_file(tmp_path / "a.onnx"))
    (tensor,) = model.graph.initializer
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    if sign != "entries":
        tensor.data_location = TensorProto.EXTERNAL
    if sign != "location":
        tensor.external_data.add(key="location", value="weights.bin")
    if nested:
        constant = helper.make_node("Constant", [], ["kernels"], value=tensor)
        del model.graph.initializer[:]
        branch = helper.make_graph([constant], "branch", [], [])
        model.graph.node.insert(0, helper.make_node("If", ["c"], ["d"], then_branch=branch))
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="other files"):
        identify(tmp_path / "b.onnx")


def test_deep_nesting_is_refused():
    payload = b""
    for _ in range(200):  # graph in an attribute of a node of a graph in ...
        for number in (6, 5, 1):
            size, header = len(payload), [number << 3 | 2]
            while size > 127:
                header.append(size & 127 | 128)
                size >>= 7
            payload = bytes([*header, size]) + payload
    size = len(payload)
    data = bytes([7 << 3 | 2, size & 127 | 128, size >> 7]) + payload
    with pytest.raises(ValueError, match="deeply"):
        containers.read(data)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_give_a_spec_or_one_line(tmp_path, data):
    path = tmp_path / "a.onnx"
    content = bytearray(pose_file(path).read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        identify(path)
    except ModelError as error:
        assert "\n" not in str(error)


def shared_weights() -> Path:
    if not (SHARED / "weights").is_dir():
        pytest.skip("no shared weights")
    return SHARED / "weights"


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.spec.name)
def test_known_files(known, tmp_path):
    path = shared_weights() / known.spec.path
    if not path.is_file():
        pytest.skip(f"no {path.name} among the shared weights")
    spec = identify(path)
    assert spec.verified and spec.name == known.spec.name and spec.path == path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / path.name).write_bytes(content)
    with pytest.raises(ModelError):
        identify(tmp_path / path.name)


# --- choosing an engine -----------------------------------------------------------------------


def test_the_wrong_task_is_refused(tmp_path):
    with pytest.raises(ModelError, match="is a pose network; give it with --pose"):
        load(pose_file(tmp_path / "a.onnx"), "detector")


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "magic"},
        {"precision": "f8"},
        {"compute": "tpu"},
        {"compute": "cuda:x"},
        {"threads": 0},
    ],
)
def test_values_that_do_not_exist_are_usage_errors(tmp_path, options):
    with pytest.raises(UsageError):
        load(pose_file(tmp_path / "a.onnx"), "pose", **options)


def test_an_engine_that_cannot_is_refused_not_replaced(tmp_path):
    path = pose_file(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="tensorrt does not run onnx files on cpu; use .* cuda"):
        load(path, "pose", engine="tensorrt", compute="cpu")
    with pytest.raises(ModelError, match="openvino does not run onnx files on cuda; use .* cpu"):
        load(path, "pose", engine="openvino", compute="cuda")


def without(monkeypatch, *names: str) -> None:
    """Make these packages look as if they were not installed."""
    for name in names:
        monkeypatch.delitem(sys.modules, f"engines.{name}", raising=False)
        monkeypatch.setitem(sys.modules, name, None)


def test_an_engine_that_is_not_installed_says_how_to_get_it(tmp_path, monkeypatch):
    path = pose_file(tmp_path / "a.onnx")
    without(monkeypatch, "openvino", "onnxruntime")
    for name in ("openvino", "onnxruntime"):
        with pytest.raises(ModelError, match=rf"{name} is not installed .*; pip install {name}$"):
            load(path, "pose", engine=name)


def test_auto_takes_the_next_engine_and_says_why(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    path, x = pose_file(tmp_path / "a.onnx"), pictures(2)
    network = load(path, "pose", compute="cpu")
    assert (network.engine, network.why) == ("openvino", "the first choice on cpu")
    assert load(path, "pose", engine="openvino").why == ""
    without(monkeypatch, "openvino")
    network = load(path, "pose", compute="cpu")
    assert network.engine == "onnxruntime"
    assert "engine openvino is not installed" in network.why
    assert np.abs(network(x)[0] - by_hand(x)).max() < 1e-3


def test_auto_on_a_gpu_nothing_can_use_goes_on_with_the_cpu(tmp_path, monkeypatch, caplog):
    if cuda.count():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(cuda, "count", lambda: 1)
    without(monkeypatch, "tensorrt")
    network = load(pose_file(tmp_path / "a.onnx"), "pose")
    assert (network.engine, network.device) == ("openvino", "cpu")
    assert "engine tensorrt is not installed" in network.why
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    if importlib.util.find_spec("torch"):
        assert "PyTorch finds no CUDA GPU" in network.why
        assert any("engine torch cannot be used: " in line for line in told)


@pytest.mark.parametrize("where", ["made", "run"])
def test_auto_goes_on_where_a_gpu_engine_breaks(tmp_path, monkeypatch, caplog, where):
    """Not only where it says that it cannot: memory may be full, a plan's first run may fail."""
    path = pose_file(tmp_path / "a.onnx")
    working = load(path, "pose", compute="cpu")

    class Breaks:
        engine, precision, device, spec = "tensorrt", "f16", "cuda:0", working.spec

        def __init__(self, *_: object) -> None:
            if where == "made":
                raise OutOfMemory("GPU memory is full")

        def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
            raise ModelError("TensorRT failed: no reason given")

        def close(self) -> None: ...

    broken = Backend(("onnx",), ("cuda",), Breaks, "")
    monkeypatch.setattr(cuda, "count", lambda: 1)
    monkeypatch.setitem(load_module.BACKENDS, "tensorrt", broken)
    monkeypatch.setitem(load_module.PREFERENCE, "cuda", ("tensorrt",))
    network = load(path, "pose")
    reason = "GPU memory is full" if where == "made" else "TensorRT failed"
    assert (network.engine, network.device) == ("openvino", "cpu")
    assert reason in network.why and f"engine tensorrt cannot be used: {reason}" in caplog.text
    with pytest.raises(ModelError, match=reason):
        load(path, "pose", engine="tensorrt")


def test_an_engine_that_broke_has_let_go_when_the_next_begins(tmp_path, monkeypatch):
    """It may hold most of the GPU's memory, and be referred to by a part of its own."""
    path = pose_file(tmp_path / "a.onnx")
    spec, closed = identify(path), []

    class Breaks:
        def __init__(self, *_: object) -> None:
            self.spec = spec

        def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
            raise OutOfMemory("GPU memory is full")

        def close(self) -> None:
            closed.append(self)

    def make(*given):
        assert closed
        return openvino.make(*given)

    openvino = load_module.BACKENDS["openvino"]
    monkeypatch.setattr(cuda, "count", lambda: 1)
    monkeypatch.setitem(load_module.BACKENDS, "tensorrt", Backend(("onnx",), ("cuda",), Breaks, ""))
    monkeypatch.setitem(load_module.BACKENDS, "openvino", replace(openvino, make=make))
    monkeypatch.setitem(load_module.PREFERENCE, "cuda", ("tensorrt",))
    assert load(path, "pose").engine == "openvino"


HELD = {
    "openvino": ("openvino", "InferRequest"),
    "onnxruntime": ("onnxruntime", "InferenceSession"),
    "torch": ("engines.torch_onnx", "OnnxNet"),
}
"""By engine, what holds the weights of a network."""


@pytest.mark.parametrize("engine", HELD)
def test_networks_go_with_their_run(engine, monkeypatch):
    """Not when Python next looks for cycles, which a run is: each took 60 MB until then."""
    module, name = HELD[engine]
    kind = getattr(pytest.importorskip(module), name)
    first, alive, made = kind.__init__, WeakSet(), []

    def counted(self, *given, **options):
        first(self, *given, **options)
        alive.add(self)
        made.append(name)

    monkeypatch.setattr(kind, "__init__", counted)
    gc.collect()
    gc.disable()
    try:
        realtime.run("demo", end=1, engine=engine, precision="f32", compute="cpu")
        assert len(made) >= 2 and not alive
    finally:
        gc.enable()


@pytest.mark.parametrize("engine", HELD)
def test_a_closed_network_says_so(engine, tmp_path):
    path = pose_file(tmp_path / "a.onnx")
    pytest.importorskip(HELD[engine][0])
    network = load(path, "pose", engine, "f32", "cpu", threads=2, streams=2)
    begin = getattr(network, "begin", None)
    halving = Halving(network)
    for one in (halving, network, halving):
        one.close()
        for count in (2, 0):
            with pytest.raises(ModelError, match="^test-net: is closed$"):
                one(pictures(count))
    assert not halving.locate and not halving.begin
    if begin:
        with pytest.raises(ModelError, match="^test-net: is closed$"):
            begin(pictures(2))


def full(*_) -> None:
    raise MemoryError("Unable to allocate 51.2 GiB")


def test_what_does_not_fit_into_memory_is_one_line(tmp_path, monkeypatch, capsys):
    path = pose_file(tmp_path / "a.onnx")
    monkeypatch.setattr(build_command, "noise", full)
    assert main(["check", str(path)]) == 5
    assert capsys.readouterr().err == (
        "posestream-engines: too little memory; try a smaller --batch\n"
    )
    monkeypatch.setitem(load_module.BACKENDS, "openvino", Backend(("onnx",), ("cpu",), full, ""))
    with pytest.raises(ModelError, match=r"a\.onnx: too large for the memory here"):
        load(path, "pose", "openvino", compute="cpu")


def test_what_is_wrong_with_a_file_is_not_tried_on_every_engine(tmp_path, monkeypatch):
    """A network whose results are not finite is so everywhere."""
    weights = np.full((17, 3, 4, 4), np.inf, np.float32)
    with pytest.raises(ModelError, match="not finite") as caught:
        load(pose_file(tmp_path / "a.onnx", weights=weights), "pose", compute="cpu")
    assert ";" not in str(caught.value)


def test_tensorrt_leaves_a_detector_to_auto(caplog):
    """Also one with a fixed batch, which torch does not run."""
    spec = replace(identify(find_tiny("detector")), batch=1)
    network = load(spec, "detector", engine="tensorrt", compute="cpu")
    assert network.engine == "openvino" and "runs pose networks only" in network.why
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.endswith("runs pose networks only; tiny_detector runs on what auto chooses")


def test_auto_does_not_try_a_detector_on_tensorrt(monkeypatch, caplog):
    def make(*_):
        pytest.fail("no detector is for TensorRT")

    had = load_module.BACKENDS["tensorrt"]
    monkeypatch.setattr(cuda, "count", lambda: 1)
    monkeypatch.setitem(load_module.BACKENDS, "tensorrt", replace(had, make=make))
    monkeypatch.setitem(load_module.PREFERENCE, "cuda", ("tensorrt",))
    network = load(find_tiny("detector"), "detector")
    assert (network.engine, network.device, caplog.text) == ("openvino", "cpu", "")


def test_a_machine_without_a_driver_has_no_gpu(monkeypatch):
    monkeypatch.setattr(cuda, "LIBRARY", "libno-such-driver.so.1")
    assert cuda.count.__wrapped__() == 0
    assert cuda.driver() == "none"


@pytest.mark.parametrize(
    ("count", "compute", "said"),
    [
        (0, "cuda", "no NVIDIA GPU found; use --compute cpu"),
        (0, "cuda:1", "no NVIDIA GPU found; use --compute cpu"),
        (0, "gpu", "no NVIDIA GPU found; use --compute cpu"),
        (2, "cuda:2", "found GPUs up to cuda:1; use one of them"),
    ],
)
def test_a_gpu_asked_for_and_absent_is_refused(tmp_path, monkeypatch, caplog, count, compute, said):
    monkeypatch.setattr(cuda, "count", lambda: count)
    with pytest.raises(ModelError) as caught:
        load(pose_file(tmp_path / "a.onnx"), "pose", compute=compute)
    assert str(caught.value) == f"compute {compute}: {said}"
    assert not caplog.records


def test_a_file_that_changes_after_it_was_identified_is_refused(tmp_path):
    path = pose_file(tmp_path / "a.onnx")
    spec = identify(path)
    pose_file(path, sigma=1)
    with pytest.raises(ModelError, match="changed"):
        load(spec, "pose")


# --- OpenVINO ---------------------------------------------------------------------------------


def test_pictures_go_in_as_they_are(tmp_path):
    network = load_pose(pose_file(tmp_path / "a.onnx"))
    x = pictures(3)
    (found,) = network(x)
    assert found.dtype == np.float32
    assert np.abs(found - by_hand(x)).max() < 1e-3
    assert (network.engine, network.precision, network.device) == ("openvino", "f32", "cpu")
    network.close()
    network.close()


@pytest.mark.parametrize("rgb", [False, True])
def test_layout_colour_and_normalisation_are_done_in_the_graph(tmp_path, rgb):
    mean, std = [120.0, 110.0, 100.0], [60.0, 55.0, 50.0]
    path = pose_file(tmp_path / "a.onnx", nhwc=False, rgb=rgb, mean=mean, std=std)
    x = pictures(2)
    (found,) = load_pose(path)(x)
    assert np.abs(found - by_hand(x, mean, std, rgb)).max() < 1e-4


def test_float_files_without_normalisation_take_uint8_too(tmp_path):
    x = pictures(2)
    (found,) = load_pose(pose_file(tmp_path / "a.onnx", nhwc=False))(x)
    assert np.abs(found - by_hand(x)).max() < 1e-3


@pytest.mark.parametrize("fixed", ["n", 1, 4])
def test_batch_equals_one_by_one(tmp_path, fixed):
    description = {} if fixed == "n" else {"batch": fixed}
    network = load_pose(pose_file(tmp_path / "a.onnx", fixed, **description))
    x = pictures(9)
    for count in (9, 1, 4, 5, 0, 2):
        (found,) = network(x[:count])
        assert found.shape == (count, 17, 16, 12)
        assert np.abs(found - by_hand(x[:count])).max(initial=0) < 1e-3


def test_a_file_of_batch_one_is_opened_for_any(tmp_path):
    network = load_pose(pose_file(tmp_path / "a.onnx", 1))
    x = pictures(3)
    assert np.abs(network(x)[0] - by_hand(x)).max() < 1e-3


def test_results_stay_and_the_input_is_not_changed(tmp_path):
    network = load_pose(pose_file(tmp_path / "a.onnx"))
    x = pictures(2)
    before = x.copy()
    (first,) = network(x)
    kept = first.copy()
    network(pictures(2, seed=9))
    assert (first == kept).all() and (x == before).all()
    x[:] = 0  # the caller may reuse it
    assert (first == kept).all()
    assert np.abs(network(before[:, :, ::-1])[0] - by_hand(before[:, :, ::-1])).max() < 1e-3


def test_lists_of_unequal_length_are_filled_with_nothing(tmp_path):
    """Every pixel whose blue is not zero is a "detection" of score 1."""
    width, height = SIZE_WH
    n = helper.make_node
    nodes = [
        n("Slice", ["images", "zero", "one", "three"], ["blue"]),
        n("NonZero", ["blue"], ["where"]),
        n("Cast", ["where"], ["real"], to=TensorProto.FLOAT),
        n("Transpose", ["real"], ["rows"], perm=[1, 0]),
        n("Pad", ["rows", "column", "score"], ["scored"]),
        n("Unsqueeze", ["scored", "zero"], ["dets"]),
    ]
    weights = {
        "zero": np.array([0]), "one": np.array([1]), "three": np.array([3]),
        "column": np.array([0, 0, 0, 1]), "score": np.float32(1),
    }  # fmt: skip
    graph = graph_of(
        nodes,
        [("images", TensorProto.UINT8, [1, height, width, 3])],
        [("dets", TensorProto.FLOAT, [1, "k", 5])],
        weights,
    )
    description = {**DESCRIPTION, "task": "detector", "format": "rtmdet", "batch": 1, "nhwc": True}
    path = write(tmp_path / "a.onnx", graph, description)
    network = load(path, "detector", "openvino", precision="f32")
    x = np.zeros((3, height, width, 3), np.uint8)
    x[0, 5, [7, 9], 0] = x[2, 6, 8, 0] = 255
    (dets,) = network(x)
    assert dets.shape == (3, 2, 5)
    assert dets[0].tolist() == [[0, 5, 7, 0, 1], [0, 5, 9, 0, 1]]
    assert not dets[1].any()
    assert dets[2].tolist() == [[0, 6, 8, 0, 1], [0, 0, 0, 0, 0]]


def test_precision_is_what_was_asked_for(tmp_path):
    from engines.openvino import ov

    path = pose_file(tmp_path / "a.onnx")
    has_bf16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert load(path, "pose", "openvino").precision == ("bf16" if has_bf16 else "f32")
    if not has_bf16:
        with pytest.raises(ModelError, match="bf16"):
            load(path, "pose", "openvino", precision="bf16")
        return
    x = pictures(2)
    (found,) = load(path, "pose", "openvino", precision="bf16")(x)
    error = np.abs(found - by_hand(x)).max() / np.abs(by_hand(x)).max()
    assert 1e-4 < error < 0.02  # 8 bits of mantissa: near, and not float32


def test_the_wrong_picture_is_refused(tmp_path):
    network = load_pose(pose_file(tmp_path / "a.onnx"))
    for wrong in (pictures(1)[:, :-1], pictures(1)[0], pictures(1).astype(np.float32)):
        with pytest.raises(ModelError, match="expected uint8"):
            network(wrong)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"weights": KERNELS[:5]}, "not those of a heatmaps net"),
        ({"weights": KERNELS * np.float32(np.nan)}, "not finite"),
        ({"input_wh": [48, 48], "batch": 3}, "OpenVINO refuses|not those"),
        ({"task": "detector", "format": "centers"}, "not those of a centers net"),
    ],
)
def test_files_that_do_not_do_what_they_say_are_refused(tmp_path, change, reason):
    path = pose_file(tmp_path / "a.onnx", **change)
    if reason.startswith("OpenVINO"):
        graph = onnx.load(path).graph
        graph.node[-1].op_type = "NoSuchOperator"
        path = write(tmp_path / "b.onnx", graph, {**DESCRIPTION, "nhwc": True})
    with pytest.raises(ModelError, match=reason) as caught:
        load(path, change.get("task", "pose"), "openvino", "f32")
    assert "\n" not in str(caught.value)


def test_a_network_runs_in_another_thread(tmp_path):
    network, x, found = load_pose(pose_file(tmp_path / "a.onnx")), pictures(2), []
    worker = Thread(target=lambda: found.extend(network(x)))
    worker.start()
    worker.join()
    assert np.abs(found[0] - by_hand(x)).max() < 1e-3


def test_nothing_is_reported_or_written_outside(tmp_path):
    path = pose_file(tmp_path / "a.onnx")
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys; from pathlib import Path; from engines.load import load;"
        f"load(Path({str(path)!r}), 'pose', compute='cpu');"
        "assert 'openvino' in sys.modules; print('openvino_telemetry' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "HOME": str(home)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (run.stdout, run.stderr) == ("False\n", "")
    assert list(home.rglob("*")) == []


# --- PyTorch ----------------------------------------------------------------------------------


def test_torch_runs_safetensors(tmp_path):
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    from engines.torch_nets import PoseResNet

    torch.manual_seed(0)
    net = PoseResNet().eval()
    mean, std = (123.0, 116.0, 103.0), (58.0, 57.0, 56.0)
    described = {**DESCRIPTION, "input_wh": [64, 64], "rgb": True, "mean": mean, "std": std}
    metadata = {"posestream": json.dumps(described)}
    weights, path = net.state_dict(), tmp_path / "a.safetensors"
    save_file(weights, path, metadata)
    assert identify(path).container == "safetensors"
    network = load(path, "pose", compute="cpu")
    assert (network.engine, network.precision, network.device) == ("torch", "f32", "cpu")
    x = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    images = torch.tensor((x[..., ::-1] - np.float32(mean)) / np.float32(std)).float()
    with torch.inference_mode():
        expected = net(images.permute(0, 3, 1, 2).contiguous()).numpy()
    (found,) = network(x)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
    assert np.abs(network(x[1:2])[0] - found[1:2]).max() < 1e-3 * np.abs(expected).max()
    assert network(x[:0])[0].shape == (0, 17, 16, 16)
    if not torch.cuda.is_available():
        for compute in ("cuda", "cuda:3", "gpu"):
            with pytest.raises(ModelError, match="no NVIDIA GPU found"):
                load(path, "pose", compute=compute)
    with pytest.raises(ModelError, match="openvino does not run safetensors"):
        load(path, "pose", engine="openvino")
    del weights["final.bias"]
    save_file(weights, path, metadata)
    with pytest.raises(ModelError, match=r"not the weights of a ResNet.* final.bias"):
        load(path, "pose", compute="cpu")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cut short"):
        load(path, "pose", compute="cpu")


# --- the command ------------------------------------------------------------------------------


def test_command_lists_and_checks(tmp_path, capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(known.spec.name in printed and known.spec.sha256 in printed for known in KNOWN)
    path = pose_file(tmp_path / "a.onnx")
    assert main(["check", str(path), "--batch", "2", "--precision", "f32"]) == 0
    printed = capsys.readouterr().out
    assert "test-net" in printed and "not verified" in printed
    assert "openvino, f32, cpu" in printed and "(2, 17, 16, 12)" in printed


@pytest.mark.parametrize(
    "arguments, code",
    [(["check", "nothing.onnx"], 5), (["check"], 2), ([], 2), (["check", "x", "--engine", "y"], 2)],
)
def test_command_errors(arguments, code, capsys):
    assert main(arguments) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1


def test_help_is_no_error(capsys):
    assert main(["--help"]) == 0
    assert "check" in capsys.readouterr().out


# --- crops through a network ------------------------------------------------------------------


class CountingNetwork:
    """Gives the mean of each crop in all maps; remembers the sizes of its batches."""

    def __init__(self, network: Network) -> None:
        self.spec = network.spec
        self.batches: list[int] = []

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        self.batches.append(len(batch))
        means = batch.mean((1, 2, 3), dtype=np.float32)[:, None, None, None]
        return [np.tile(means, (1, 17, 16, 12))]


@pytest.mark.parametrize("count, batches", [(0, []), (1, [1]), (4, [4]), (9, [4, 4, 1])])
def test_crops_run_in_bounded_batches(tmp_path, count, batches):
    network = CountingNetwork(load_pose(pose_file(tmp_path / "a.onnx")))
    x = pictures(count)
    affines = np.zeros((count, 2, 3), np.float32)
    heatmaps = estimate(
        network, Crops(x, affines, np.zeros(count, np.int64), np.zeros(count, bool)), max_batch=4
    )
    assert network.batches == batches
    assert heatmaps.shape[:2] == (count, 17)
    assert np.allclose(heatmaps[:, 3, 0, 0], x.mean((1, 2, 3)))


@pytest.mark.parametrize("task", ["detector", "pose"])
def test_the_tiny_networks_run(task):
    path = find_tiny(task)
    if path is None:
        pytest.skip("no tiny networks in this tree")
    network = load(path, task, "openvino", precision="f32")
    width, height = network.spec.input_wh
    assert all(len(a) == 3 for a in network(np.zeros((3, height, width, 3), np.uint8)))


def test_signals_after_networks_are_gone() -> None:
    """OpenVINO leaves a freed signal stack on CPUs with AMX; see engines/signal_stack.py."""
    code = """
import gc, os, signal
from engines import load as load_module
from engines.load import Backend, find_tiny, load
signal.signal(signal.SIGTERM, lambda number, frame: print("alive", flush=True))
first, second = (load(find_tiny(task), task, "openvino") for task in ("detector", "pose"))
os.kill(os.getpid(), signal.SIGTERM)
del first
gc.collect()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout.split()) == (0, ["alive", "alive"]), done.stderr

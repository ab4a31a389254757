"""TensorRT's builder and parser for real where there is no GPU, through TensorRT-RTX, which has the
same interface; what needs a GPU is skipped without one."""

import gc
import importlib
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from networks import KERNELS, by_hand, graph_of, pictures, pose_file, write

from engines import cuda, plan_cache, selfcheck
from engines.base import Options, Unavailable
from engines.identify import identify
from engines.load import find_default, find_tiny, load
from realtime.errors import ModelError

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from engines import half as half_module  # noqa: E402
from engines.half import half  # noqa: E402


@pytest.fixture(scope="module")
def trt():
    """tensorrt where it is installed, else tensorrt_rtx."""
    try:
        import tensorrt

        return tensorrt
    except ImportError:
        return pytest.importorskip("tensorrt_rtx", reason="neither tensorrt nor tensorrt-rtx")


def float_pose(path, **description):
    """A network of float32 NCHW pictures."""
    return pose_file(path, nhwc=False, **description)


def halved(path) -> bytes:
    return half(identify(path), path.read_bytes())


# --- float16 graphs ---------------------------------------------------------------------------


@pytest.mark.parametrize("nhwc", [False, True])
def test_float16_graphs_compute_the_same(tmp_path, nhwc):
    ort = pytest.importorskip("onnxruntime")
    path = pose_file(tmp_path / "a.onnx", nhwc=nhwc)
    data = halved(path)
    model = onnx.load_from_string(data)
    types = {t.data_type for t in model.graph.initializer}
    ends = {e.type.tensor_type.elem_type for e in (*model.graph.input, *model.graph.output)}
    assert types == {TensorProto.FLOAT16} and ends == {TensorProto.FLOAT}
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = pictures(3)
    images = x.astype(np.float32) if nhwc else x.transpose(0, 3, 1, 2).astype(np.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: images})
    error = np.abs(found - by_hand(x)).max() / np.abs(by_hand(x)).max()
    assert 1e-6 < error < 5e-3


def test_the_bundled_pose_network_has_a_float16_form(trt):
    """Of the demo's crops the same joints as in float32; and TensorRT builds it."""
    ort = pytest.importorskip("onnxruntime")
    from engines.tensorrt_build import Profile, build

    path = find_default("pose")
    data = halved(path)
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    crops = selfcheck.demo_crops(identify(path), 4)
    (found,) = session.run(None, {session.get_inputs()[0].name: crops.astype(np.float32)})
    (expected,) = load(path, "pose", "onnxruntime", precision="f32")(crops)
    assert 0 < np.abs(found - expected).max() < 0.02
    _, counts = build(trt, data, Profile(1, 2, 4))
    assert counts["HALF"] > 50 and counts["FLOAT"] <= 2, counts


def test_stored_float16_weights_stay_float16(tmp_path):
    """Our own files hold float16 weights and casts to float32 behind them."""
    path = float_pose(tmp_path / "a.onnx")
    model = onnx.load(path)
    (tensor,) = model.graph.initializer
    small = numpy_helper.from_array(KERNELS.astype(np.float16), "small")
    tensor.CopyFrom(small)
    cast = helper.make_node("Cast", ["small"], ["kernels"], to=TensorProto.FLOAT)
    model.graph.node.insert(0, cast)
    described = json.loads(model.metadata_props[0].value)
    graph = onnx.load_from_string(halved(write(tmp_path / "b.onnx", model.graph, described))).graph
    to = [helper.get_attribute_value(n.attribute[0]) for n in graph.node if n.op_type == "Cast"]
    assert to.count(TensorProto.FLOAT) == 1  # the output's


def test_graphs_without_a_float16_form_are_refused(tmp_path):
    with pytest.raises(Unavailable, match="no float16 form of its .*Resize"):
        path = find_tiny("pose")
        if path is None:
            pytest.skip("no tiny networks in this tree")
        halved(path)
    with pytest.raises(ModelError, match="kernels does not fit into float16"):
        halved(pose_file(tmp_path / "a.onnx", weights=KERNELS * np.float32(1e9)))
    assert "Resize" not in half_module.UNIFORM


# --- builder ----------------------------------------------------------------------------------


def test_a_plan_is_built_in_float16(trt, tmp_path):
    from engines.tensorrt_build import Profile, build

    plan, counts = build(trt, halved(float_pose(tmp_path / "a.onnx")), Profile(1, 2, 4))
    assert len(plan) > 1000 and isinstance(plan, bytes)
    assert counts["HALF"] >= 2 and counts["FLOAT"] == 1, counts  # the cast of the output
    full, counts = build(trt, float_pose(tmp_path / "b.onnx").read_bytes(), Profile(1, 2, 4))
    assert "HALF" not in counts and full != plan


@pytest.mark.parametrize(
    ("said", "types"),
    [
        (["Row major linear FP16 format", "Two wide channel FP32"], {"HALF": 1, "FLOAT": 1}),
        (["Half", "Half", "Float", "BFloat16"], {"HALF": 2, "FLOAT": 1, "BF16": 1}),
        (["N/A due to dynamic shapes"], {}),
        ([], {}),
    ],
)
def test_the_types_of_a_built_engine_are_read(said, types):
    """As TensorRT 8 and 10 write them; layers may have no outputs, or be names alone."""
    from engines.tensorrt_build import types_in

    layers = [{"Name": "x", "Outputs": [{"Name": "y", "Format/Datatype": one}]} for one in said]
    assert types_in(json.dumps({"Layers": [*layers, {"Name": "z"}, "a layer"]})) == types
    assert types_in("not JSON") == types_in("[]") == types_in("{}") == {}


def test_a_network_that_takes_bytes_is_built_too(trt, tmp_path):
    from engines.tensorrt_build import Profile, build

    _, counts = build(trt, halved(pose_file(tmp_path / "a.onnx")), Profile(1, 2, 4))
    assert set(counts) == {"HALF", "FLOAT"}


def bad_profile(trt, tmp_path):
    from engines.tensorrt_build import Profile, build

    return build(trt, float_pose(tmp_path / "a.onnx").read_bytes(), Profile(4, 2, 1))


def garbage(trt, tmp_path):
    from engines.tensorrt_build import Profile, build

    return build(trt, b"no model at all", Profile())


def unknown_operation(trt, tmp_path):
    from engines.tensorrt_build import Profile, build

    model = onnx.load(float_pose(tmp_path / "a.onnx"))
    model.graph.node[-1].op_type = "NoSuchOperator"
    return build(trt, model.SerializeToString(), Profile())


def two_inputs(trt, tmp_path):
    from engines.tensorrt_build import Profile, build

    ends = [(name, TensorProto.FLOAT, ["n", 3, 8, 8]) for name in ("a", "b", "c")]
    graph = graph_of([helper.make_node("Add", ["a", "b"], ["c"])], ends[:2], ends[2:], {})
    return build(trt, write(tmp_path / "a.onnx", graph).read_bytes(), Profile())


@pytest.mark.timeout(60, method="thread")  # it would hang in native code
def test_what_is_left_of_an_earlier_build_does_not_hold_up_the_next(trt):
    """Python's collector may run whenever TensorRT calls the logger."""
    from engines.tensorrt_build import make_logger, new

    class Collecting(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)

        def log(self, severity, message):
            gc.collect()

    gc.disable()
    try:
        old = SimpleNamespace(builder=new(trt.Builder, make_logger(trt), "make a builder"))
        old.itself = old
        del old
        new(trt.Builder, Collecting(), "make a builder")
    finally:
        gc.enable()


FAULTS = [
    (bad_profile, "refuses batches .*MIN<=OPT<=MAX"),
    (garbage, "cannot read the network: "),
    (unknown_operation, "cannot read the network: .*NoSuchOperator"),
    (two_inputs, "has 2 inputs, expected 1"),
]


@pytest.mark.parametrize("fault, reason", FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_what_cannot_be_built_says_why(trt, tmp_path, fault, reason):
    with pytest.raises(Unavailable, match=reason) as caught:
        fault(trt, tmp_path)
    assert "\n" not in str(caught.value) and "catchCudaError" not in str(caught.value)


def test_a_fixed_batch_is_refused_by_the_profile(trt, tmp_path):
    """A file of batch 1 cannot take 2; TensorRT notices when building."""
    from engines.tensorrt_build import Profile, build

    with pytest.raises(Unavailable, match="TensorRT (cannot build|refuses)"):
        build(trt, pose_file(tmp_path / "a.onnx", 1, nhwc=False).read_bytes(), Profile(1, 2, 4))


# --- the cache of plans -----------------------------------------------------------------------

KEY = {"network": "a" * 64, "gpu": "Some GPU", "tensorrt": "11.4", "profile": {"most": 32}}


def test_a_plan_is_found_again(tmp_path):
    folder = tmp_path / "plans"
    assert plan_cache.load(folder, KEY) is None
    path = plan_cache.store(folder, KEY, b"plan", {"check": "fine"})
    assert plan_cache.load(folder, KEY) == b"plan"
    assert json.loads(path.with_suffix(".json").read_text())["check"] == "fine"
    if os.name == "posix":
        assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".plan"]


@pytest.mark.parametrize("name", KEY)
def test_whatever_differs_is_not_used(tmp_path, name):
    plan_cache.store(tmp_path, KEY, b"plan", {})
    other = {**KEY, name: "other"}
    assert plan_cache.load(tmp_path, other) is None
    plan_cache.store(tmp_path, other, b"new", {})
    assert plan_cache.load(tmp_path, other) == b"new"
    outdated = name in ("tensorrt", "profile")  # the same network and GPU: replaced
    assert (plan_cache.load(tmp_path, KEY) is None) == outdated


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "note", "note list", "no note"])
def test_damage_is_noticed(tmp_path, damage):
    plan = plan_cache.store(tmp_path, KEY, bytes(range(256)) * 20, {})
    note = plan.with_suffix(".json")
    data = bytearray(plan.read_bytes())
    data[3000] ^= 1
    {
        "flip": lambda: plan.write_bytes(data),
        "cut": lambda: plan.write_bytes(data[:-1]),
        "empty": lambda: plan.write_bytes(b""),
        "note": lambda: note.write_text("{"),
        "note list": lambda: note.write_text("[1]"),
        "no note": note.unlink,
    }[damage]()
    assert plan_cache.load(tmp_path, KEY) is None


@pytest.mark.parametrize("name", KEY)
def test_a_refusal_is_remembered_until_something_differs(tmp_path, name):
    plan_cache.store(tmp_path, KEY, b"plan", {})
    assert plan_cache.refusal(tmp_path, KEY) == ""
    plan_cache.refuse(tmp_path, KEY, "other joints", {"check": "bad"})
    assert plan_cache.refusal(tmp_path, KEY) == "other joints"
    assert plan_cache.load(tmp_path, KEY) is None
    assert [path.suffix for path in plan_cache.files(tmp_path)] == [".json"]
    assert plan_cache.refusal(tmp_path, {**KEY, name: "other"}) == ""
    plan_cache.store(tmp_path, KEY, b"new", {})
    assert plan_cache.refusal(tmp_path, KEY) == "" and plan_cache.load(tmp_path, KEY) == b"new"


# --- the engine -------------------------------------------------------------------------------


def test_without_tensorrt_the_way_to_get_it_is_told(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "engines.tensorrt", raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(cuda, "count", lambda: 1)
    path = float_pose(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=r"tensorrt is not installed .*posestream\[tensorrt\]"):
        load(path, "pose", "tensorrt", compute="cuda")


def test_without_a_gpu_no_runtime_is_made(trt, tmp_path, monkeypatch):
    """A Runtime made on a machine without a GPU may end the process."""
    if cuda.count():
        pytest.skip("there is a GPU")
    pytest.importorskip("torch")
    monkeypatch.delitem(sys.modules, "engines.tensorrt", raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setattr(cuda, "count", lambda: 1)
    made = []
    monkeypatch.setattr(trt, "Runtime", made.append)
    with pytest.raises(ModelError, match="no CUDA GPU; use --compute cpu"):
        load(float_pose(tmp_path / "a.onnx"), "pose", "tensorrt", compute="cuda")
    monkeypatch.delitem(sys.modules, "engines.tensorrt", raising=False)
    assert not made


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    """engines.tensorrt with a builder that only counts in ``builds``, and a GPU of driver
    ``driver``, both in the dict; TensorRT itself is left out."""
    torch = pytest.importorskip("torch")
    state = {"builds": 0, "driver": "1"}

    def build(*_):
        state["builds"] += 1
        return b"plan", {}

    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cuda, "count", lambda: 1)
    stub = ModuleType("tensorrt")
    stub.ILogger, stub.__version__, stub.__spec__ = object, "11", ModuleSpec("tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt", stub)
    monkeypatch.delitem(sys.modules, "engines.tensorrt", raising=False)
    module = importlib.import_module("engines.tensorrt")
    monkeypatch.setattr(torch.cuda, "Stream", lambda place: None)
    monkeypatch.setattr(torch.cuda, "device", lambda place: nullcontext())
    monkeypatch.setattr(module, "device_of", lambda compute: torch.device("cpu"))
    monkeypatch.setattr(module, "plan_key", lambda spec, place: {**KEY, "driver": state["driver"]})
    monkeypatch.setattr(module, "build", build)
    monkeypatch.setattr(module, "built", lambda *_: {"HALF": 1})
    network = module.TensorrtNetwork
    state["open"] = network._open
    monkeypatch.setattr(network, "_open", lambda self, plan: True)
    monkeypatch.setattr(network, "_engine", None, raising=False)
    monkeypatch.setattr(network, "_context", None, raising=False)
    monkeypatch.setattr(network, "_check", lambda self: selfcheck.Agreement(9, 3.0, 0.5))
    yield state
    sys.modules.pop("engines.tensorrt", None)


def nothing_made(logger):
    """A class of TensorRT on a GPU that it cannot use; for Python a mistake in the arguments."""
    logger.log(1, "CUDA initialization failure with error: 35")
    raise TypeError("pybind11::init(): factory function returned nullptr")


def test_the_reason_why_there_is_no_builder_or_runtime_is_told(simulated, monkeypatch):
    import torch

    from engines.tensorrt_build import Profile, build, make_logger

    class Logger:
        Severity = SimpleNamespace(WARNING=2)

    stub = SimpleNamespace(ILogger=Logger, Builder=nothing_made)
    with pytest.raises(Unavailable, match="^TensorRT cannot make a builder: CUDA init.* 35$"):
        build(stub, b"", Profile())
    places = []

    def runtime(logger):
        assert places == ["cuda:1"]
        nothing_made(logger)

    monkeypatch.setattr(torch.cuda, "device", lambda place: places.append(place) or nullcontext())
    monkeypatch.setattr(sys.modules["tensorrt"], "Runtime", runtime, raising=False)
    network = SimpleNamespace(_logger=make_logger(stub), _place="cuda:1")
    with pytest.raises(Unavailable, match="^TensorRT cannot make a runtime: CUDA init.* 35$"):
        simulated["open"](network, b"plan")


def test_a_refused_plan_is_not_built_again(tmp_path, simulated, caplog):
    path = float_pose(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="plan is refused: it is not known to .* 3.00 px"):
        load(path, "pose", "tensorrt", compute="cuda")
    with pytest.raises(
        ModelError, match="was refused when it was built: it is not .* 3.00 px.*; use"
    ):
        load(path, "pose", "tensorrt", compute="cuda")
    assert simulated["builds"] == 1
    caplog.clear()
    network = load(path, "pose")
    assert network.engine != "tensorrt" and "was refused when it was built" in network.why
    assert "was refused when it was built" in caplog.text and simulated["builds"] == 1
    simulated["driver"] = "2"
    with pytest.raises(ModelError, match="plan is refused"):
        load(path, "pose", "tensorrt", compute="cuda")
    assert simulated["builds"] == 2


def test_a_check_that_breaks_is_no_refusal(tmp_path, simulated, monkeypatch):
    """Full memory at one start says nothing about the next one."""

    def full(_):
        raise ModelError("GPU memory is full")

    monkeypatch.setattr("engines.tensorrt.TensorrtNetwork._check", full)
    for builds in (1, 2):
        with pytest.raises(ModelError, match="GPU memory is full"):
            load(float_pose(tmp_path / "a.onnx"), "pose", "tensorrt", compute="cuda")
        assert simulated["builds"] == builds


def test_two_runs_at_once_build_one_plan(tmp_path, simulated, monkeypatch):
    module = sys.modules["engines.tensorrt"]
    both = threading.Event()  # the second waits for the first, or builds beside it
    built = module.build

    def build(*given):
        made = built(*given)
        if simulated["builds"] > 1:
            both.set()
        assert both.wait(10)
        return made

    monkeypatch.setattr(module, "build", build)
    monkeypatch.setattr(module, "Locate", lambda *_, **__: None)
    monkeypatch.setattr(module, "trusted", lambda *_: None)
    network = module.TensorrtNetwork
    monkeypatch.setattr(network, "_waits", lambda self: both.set())
    monkeypatch.setattr(network, "_check", lambda self: selfcheck.Agreement(9, 0.1, 1.0))
    path = float_pose(tmp_path / "a.onnx")
    with ThreadPoolExecutor(2) as pool:
        asked = identify(path), path.read_bytes(), Options()
        networks = [pool.submit(network, *asked) for _ in range(2)]
    assert all(made.result().engine == "tensorrt" for made in networks)
    assert simulated["builds"] == 1


def test_a_plan_is_built_where_no_file_can_be_held(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with plan_cache.building(tmp_path / "file" / "plans", KEY, lambda: pytest.fail("waits")):
        pass
    with plan_cache.building(tmp_path, KEY, lambda: pytest.fail("waits")):
        plan_cache.store(tmp_path, KEY, b"plan", {})
    assert [p.suffix for p in plan_cache.files(tmp_path)] == [".json", ".lock", ".plan"]


def test_it_runs_on_a_gpu(tmp_path, monkeypatch):
    if not cuda.count():
        pytest.skip("no CUDA GPU on this machine")
    pytest.importorskip("tensorrt", reason="tensorrt is not installed")
    from networks import NET_WH, resnet_file

    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path))
    path = resnet_file(tmp_path / "a.onnx")
    x = pictures(40, size_wh=NET_WH)
    exact = load(path, "pose", precision="f32", compute="cpu")(x)[0]
    # Random weights find no joints on people, so the comparison with float32 must refuse them.
    for when in ("is refused", "was refused when it was built"):
        with pytest.raises(ModelError, match=f"{when}: it is not known to find"):
            load(path, "pose", "tensorrt", compute="cuda")
    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path / "empty"))
    module = importlib.import_module("engines.tensorrt")
    monkeypatch.setattr(module, "refusal_of", lambda *_: "")
    for _ in range(2):  # built, then from the cache
        network = load(path, "pose", "tensorrt", compute="cuda")
        assert (network.engine, network.precision) == ("tensorrt", "f16")
        for count in (0, 1, 3, 8, 9, 17, 33, 40):
            (found,) = network(x[:count])
            assert found.shape == exact[:count].shape
            assert np.abs(found - exact[:count]).max(initial=0) < 0.02 * np.abs(exact).max()

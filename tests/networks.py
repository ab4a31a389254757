"""Networks for tests: one whose results one can compute by hand, and the real architecture."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from engines import containers  # noqa: E402

SIZE_WH = (48, 64)
DESCRIPTION = {"name": "test-net", "task": "pose", "format": "heatmaps", "input_wh": SIZE_WH}
KERNELS = np.random.default_rng(0).normal(0, 0.02, (17, 3, 4, 4)).astype(np.float32)


def write(path: Path, graph: "onnx.GraphProto", description: object = None) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    if description is not None:
        helper.set_model_props(model, {"posestream": json.dumps(description)})
    path.write_bytes(model.SerializeToString())
    return path


def graph_of(nodes, inputs, outputs, weights):
    def info(name, kind, shape):
        return helper.make_tensor_value_info(name, kind, shape)

    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    return helper.make_graph(
        nodes, "test", [info(*i) for i in inputs], [info(*o) for o in outputs], tensors
    )


def pose_file(path: Path, fixed: int | str = "n", weights=KERNELS, **description) -> Path:
    """Heatmaps are 4x4 blocks of the picture times KERNELS. Its own input is uint8 NHWC, or with
    nhwc=False float32 NCHW; fixed is the batch size of the file."""
    width, height = SIZE_WH
    nhwc = description.setdefault("nhwc", True)
    nodes = [helper.make_node("Conv", ["planes", "kernels"], ["heatmaps"], strides=[4, 4])]
    if nhwc:
        nodes.insert(0, helper.make_node("Cast", ["images"], ["real"], to=TensorProto.FLOAT))
        nodes.insert(1, helper.make_node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]))
        given_input = ("images", TensorProto.UINT8, [fixed, height, width, 3])
    else:
        given_input = ("planes", TensorProto.FLOAT, [fixed, 3, height, width])
    output = ("heatmaps", TensorProto.FLOAT, [fixed, len(weights), height // 4, width // 4])
    graph = graph_of(nodes, [given_input], [output], {"kernels": weights})
    return write(path, graph, {**DESCRIPTION, **description})


def with_output(path: Path, kind: int) -> Path:
    """The file of pose_file, giving another type of number."""
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("Cast", ["heatmaps"], ["cast"], to=kind))
    (result,) = model.graph.output
    result.name, result.type.tensor_type.elem_type = "cast", kind
    path.write_bytes(model.SerializeToString())
    return path


def by_hand(pictures: np.ndarray, mean=0.0, std=1.0, rgb: bool = False) -> np.ndarray:
    """What pose_file computes, in float64."""
    x = pictures[..., ::-1] if rgb else pictures
    x = (x.astype(np.float64) - mean) / std
    blocks = x.reshape(len(x), SIZE_WH[1] // 4, 4, SIZE_WH[0] // 4, 4, 3)
    return np.einsum("nyixjc,kcij->nkyx", blocks, KERNELS.astype(np.float64))


def pictures(count: int, seed: int = 1, size_wh: tuple[int, int] = SIZE_WH) -> np.ndarray:
    shape = (count, size_wh[1], size_wh[0], 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


NET_WH = (64, 64)
NET_MEAN, NET_STD = (123.0, 116.0, 103.0), (58.0, 57.0, 56.0)


def resnet_file(path: Path, seed: int = 0, **description) -> Path:
    """The ResNet18 pose network with random weights for pictures of NET_WH, as training exports
    it. Heatmaps of about 1."""
    path.write_bytes(_exported(seed))
    described = {**DESCRIPTION, "input_wh": NET_WH, "rgb": True, "mean": NET_MEAN, "std": NET_STD}
    texts = {"posestream": json.dumps({**described, **description})}
    path.write_bytes(containers.with_texts(path.read_bytes(), texts))
    return path


@cache
def _exported(seed: int) -> bytes:
    torch = pytest.importorskip("torch")
    export = pytest.importorskip("train.export")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.onnx"
        export.to_onnx(resnet(seed), {}, path, torch.zeros(2, 3, NET_WH[1], NET_WH[0]))
        return path.read_bytes()


def resnet(seed: int = 0):
    """The network of resnet_file, float32."""
    torch = pytest.importorskip("torch")
    from engines.torch_nets import PoseResNet

    torch.manual_seed(seed)
    net = PoseResNet().eval()
    with torch.no_grad():
        net.final.weight *= 10
    return net


def resnet_by_hand(x: np.ndarray, seed: int = 0) -> np.ndarray:
    """What resnet_file computes, float32 by torch's plain operations."""
    torch = pytest.importorskip("torch")
    images = (x[..., ::-1] - np.float32(NET_MEAN)) / np.float32(NET_STD)
    with torch.inference_mode():
        return resnet(seed)(torch.tensor(images).permute(0, 3, 1, 2).contiguous()).numpy()

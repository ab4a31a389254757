"""float32 ONNX graphs turned into float16 ones, for engines that take their precision from the
graph (TensorRT since 10, by its STRONGLY_TYPED networks)."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.base import ModelSpec, Unavailable
from realtime.errors import ModelError

UNIFORM = frozenset(
    "Add AveragePool BatchNormalization Cast Clip Concat Constant Conv ConvTranspose Div "
    "GlobalAveragePool HardSigmoid HardSwish Identity LeakyRelu MaxPool Mul Relu Sigmoid Slice Sub "
    "Transpose".split()
)
"""Operations whose float inputs and outputs all have one type, so that changing all changes
nothing else (the bounds of a Slice are integers, which stay); float16 is enough for each of them in
a convolutional network."""


def half(spec: ModelSpec, data: bytes) -> bytes:
    """The ONNX file data computing in float16. Inputs and outputs are float32, also where the
    file's own input is uint8.

    Raises Unavailable for a graph with other operations than UNIFORM, ModelError where a weight
    does not fit into float16.
    """
    model = onnx.load_from_string(data)
    graph = model.graph
    others = sorted({node.op_type for node in graph.node} - UNIFORM)
    if others:
        raise Unavailable(f"model {spec.path}: no float16 form of its {', '.join(others)[:80]}")
    for tensor in graph.initializer:
        _to_half(spec, tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t"):
                _to_half(spec, attribute.t)
            if node.op_type == "Cast" and attribute.name == "to":
                attribute.i = TensorProto.FLOAT16 if attribute.i == 1 else attribute.i
    _float_ends(graph)
    del graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    whole: bytes = model.SerializeToString()
    return whole


def _to_half(spec: ModelSpec, tensor: onnx.TensorProto) -> None:
    values = numpy_helper.to_array(tensor)
    if values.dtype != np.float32:
        return
    with np.errstate(over="ignore"):  # looked for below
        small = values.astype(np.float16)
    if not np.isfinite(small).all():
        raise ModelError(f"model {spec.path}: {tensor.name} does not fit into float16")
    tensor.CopyFrom(numpy_helper.from_array(small, tensor.name))


def _float_ends(graph: onnx.GraphProto) -> None:
    """Casts between the float32 inputs and outputs and the float16 inside."""
    weights = {tensor.name for tensor in graph.initializer}
    for given in [given for given in graph.input if given.name not in weights]:
        given.type.tensor_type.elem_type = TensorProto.FLOAT
        _rename(graph, given.name, given.name + "_half")
        node = helper.make_node("Cast", [given.name], [given.name + "_half"], to=10)
        graph.node.insert(0, node)
    for result in graph.output:
        result.type.tensor_type.elem_type = TensorProto.FLOAT
        _rename(graph, result.name, result.name + "_half")
        graph.node.append(
            helper.make_node("Cast", [result.name + "_half"], [result.name], to=TensorProto.FLOAT)
        )


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a tensor another name wherever nodes make or take it."""
    for node in graph.node:
        for names in (node.input, node.output):
            for n, name in enumerate(names):
                if name == old:
                    names[n] = new

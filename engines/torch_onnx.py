"""ONNX files of convolutional networks as PyTorch modules: the operations our exporter writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor, nn

from engines.base import ModelSpec, Unavailable

Attributes = dict[str, Any]
Operation = Callable[..., Tensor]
FLOATS = (
    onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
)  # fmt: skip


class OnnxNet(nn.Module):
    """A network of one input; forward takes what the file takes, as float, and gives its outputs.

    Casts become casts to the type of the weights, so that ``to(dtype)`` decides the arithmetic.
    Raises Unavailable for a graph with an operation or an option that is not known here.
    """

    def __init__(self, spec: ModelSpec, data: bytes) -> None:
        super().__init__()
        graph = onnx.load_from_string(data).graph
        fixed = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self._steps: list[tuple[Operation, list[str], str]] = []
        for node in graph.node:
            if node.op_type == "Cast" and node.input[0] in fixed:
                fixed[node.output[0]] = fixed[node.input[0]].astype("float32")
                continue
            self._steps.append(_step(spec, node))
        inputs = [given.name for given in graph.input if given.name not in fixed]
        if len(inputs) != 1:
            raise Unavailable(f"model {spec.path}: engine torch needs one input")
        self._input, self._outputs = inputs[0], [result.name for result in graph.output]
        last = {name: n for n, (_, names, _) in enumerate(self._steps) for name in names if name}
        self._done: list[list[str]] = [[] for _ in self._steps]
        for name, n in last.items():
            if name not in self._outputs:
                self._done[n].append(name)
        self._numbers: dict[str, str] = {}
        self._integers: dict[str, Tensor] = {}
        wanted = {name for _, names, _ in self._steps for name in names}
        # Factors stay on the CPU, where they are looked at.
        factors = {n for node in graph.node if node.op_type == "Resize" for n in node.input[1:]}
        for n, (name, value) in enumerate(fixed.items()):
            if name in wanted - factors and value.dtype.kind == "f":
                tensor = torch.tensor(value, dtype=torch.float32)
                self.register_buffer(f"w{n}", tensor)
                self._numbers[name] = f"w{n}"
            elif name in wanted:
                self._integers[name] = torch.tensor(value)

    def forward(self, images: Tensor) -> list[Tensor]:
        values: dict[str, Any] = {**self._integers, self._input: images, "": None}
        values.update((name, getattr(self, place)) for name, place in self._numbers.items())
        for (operation, names, result), done in zip(self._steps, self._done):
            values[result] = operation(*(values[name] for name in names))
            for name in done:  # else a batch holds five times the memory
                del values[name]
        return [values[name] for name in self._outputs]


def _step(spec: ModelSpec, node: onnx.NodeProto) -> tuple[Operation, list[str], str]:
    make = OPERATIONS.get(node.op_type)
    options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    operation = make(options) if make and len(node.output) == 1 else None
    if operation is None:
        raise Unavailable(f"model {spec.path}: engine torch does not run its {node.op_type}")
    return operation, list(node.input), node.output[0]


def _pads(options: Attributes) -> list[int] | None:
    """The padding of both axes; None where the two sides differ or are left to the shape."""
    pads = list(options.get("pads", [0, 0, 0, 0]))
    plain = options.get("auto_pad", b"NOTSET") == b"NOTSET"
    return pads[:2] if plain and len(pads) == 4 and pads[:2] == pads[2:] else None


def _cast(options: Attributes) -> Operation | None:
    """Nothing: all numbers have the type of the weights already. None where they would be cut."""
    return (lambda x: x) if options["to"] in FLOATS else None


def _conv(options: Attributes) -> Operation | None:
    pads = _pads(options)
    if pads is None:
        return None
    stride, dilation = options.get("strides", [1, 1]), options.get("dilations", [1, 1])
    groups = options.get("group", 1)
    return lambda x, w, b=None: F.conv2d(x, w, b, stride, pads, dilation, groups)


def _deconv(options: Attributes) -> Operation | None:
    pads = _pads(options)
    if pads is None or "output_shape" in options:
        return None
    stride, dilation = options.get("strides", [1, 1]), options.get("dilations", [1, 1])
    extra, groups = options.get("output_padding", [0, 0]), options.get("group", 1)
    return lambda x, w, b=None: F.conv_transpose2d(x, w, b, stride, pads, extra, groups, dilation)


def _max_pool(options: Attributes) -> Operation | None:
    pads = _pads(options)
    if pads is None or options.get("ceil_mode") or set(options.get("dilations", [1])) != {1}:
        return None
    kernel, stride = options["kernel_shape"], options.get("strides", [1, 1])
    return lambda x: F.max_pool2d(x, kernel, stride, pads)


def _slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor) -> Tensor:
    """Slices of which the backward ones take the whole axis, as colours turned round."""
    for start, end, axis, step in zip(*(t.tolist() for t in (starts, ends, axes, steps))):
        size = x.shape[axis]
        if step > 0:
            x = x[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)]
        elif step == -1 and start in (-1, size - 1) and end < -size:
            x = x.flip(axis)
        else:
            raise RuntimeError("a backward Slice of a part")
    return x


def _resize(options: Attributes) -> Operation | None:
    """Enlargement by whole factors in which every pixel becomes a block."""
    whole = options.get("mode", b"nearest") == b"nearest" and (
        options.get("coordinate_transformation_mode") == b"asymmetric"
        and options.get("nearest_mode") == b"floor"
    )
    return _blocks if whole else None


def _blocks(x: Tensor, _: None, scales: Tensor) -> Tensor:
    factors = scales.tolist()
    if factors[:2] != [1, 1] or any(factor != int(factor) for factor in factors):
        raise RuntimeError(f"a Resize by {factors}")
    return F.interpolate(x, scale_factor=factors[2:], mode="nearest")


def _transpose(options: Attributes) -> Operation:
    return lambda x: x.permute(options["perm"])


def _concat(options: Attributes) -> Operation:
    return lambda *parts: torch.cat(parts, options["axis"])


OPERATIONS: dict[str, Callable[[Attributes], Operation | None]] = {
    "Add": lambda _: torch.add,
    "Clip": lambda _: torch.clamp,
    "Cast": _cast,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _deconv,
    "Div": lambda _: torch.div,
    "Exp": lambda _: torch.exp,
    "Identity": lambda _: lambda x: x,
    "MaxPool": _max_pool,
    "Mul": lambda _: torch.mul,
    "Relu": lambda _: torch.relu,
    "Resize": _resize,
    "Sigmoid": lambda _: torch.sigmoid,
    "Slice": lambda _: _slice,
    "Sub": lambda _: torch.sub,
    "Transpose": _transpose,
}

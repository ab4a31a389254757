"""8-bit integer arithmetic in OpenVINO, from a few numbers kept in the model file.

For every tensor that enters a convolution the file holds its range, found once on real pictures.
When it is loaded, FakeQuantize operations with these ranges are put before the convolutions, and
OpenVINO then computes them with integers: activations as 256 steps over the range, weights as
255 steps symmetric around zero for each output channel (Jacob et al., Quantization and Training
of Neural Networks, CVPR 2018, section 2). The weights stay as they are in the file.

An x86 CPU without VNNI adds two products in 16 bits, where large ones are cut off (the instruction
VPMADDUBSW); there weights are given half of their steps, so that none can be.
"""

from __future__ import annotations

import json
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engines.quiet_openvino import ops, ov

METADATA_KEY = "posestream_int8"
STEPS = 256
CHANNELS = {
    "Convolution": (0,),
    "GroupConvolution": (0, 1),
    "ConvolutionBackpropData": (1,),
    "GroupConvolutionBackpropData": (0, 2),
}
"""The operations computed with integers, and the axes of their weights that are output channels."""

LEAST = 1e-30
"""Of a range: its steps are still numbers of float32."""
Ranges = dict[str, tuple[float, float]]
"""Least and greatest value of a tensor, by the tensor's name in the file."""


def parse(text: str) -> Ranges:
    """The ranges written by dump; raises ValueError with a short reason."""
    given = json.loads(text)
    if not isinstance(given, dict) or not given:
        raise ValueError("not a JSON object of ranges")
    for name, pair in given.items():
        numbers = isinstance(pair, list) and all(type(v) in (int, float) for v in pair)
        if not numbers or len(pair) != 2 or not -1e6 < pair[0] <= 0 <= pair[1] < 1e6:
            raise ValueError(f"the range of {name[:60]!r} is {str(pair)[:60]!r}")
        if pair[1] - pair[0] < LEAST:
            raise ValueError(f"the range of {name[:60]!r} is empty")
    return {name: (pair[0], pair[1]) for name, pair in given.items()}


def dump(ranges: Ranges) -> str:
    """Ranges as JSON, to five digits."""
    short = {n: [float(f"{v:.5g}") for v in pair] for n, pair in sorted(ranges.items())}
    return json.dumps(short, separators=(",", ":"))


def tensors(model: ov.Model) -> dict[str, ov.Output]:
    """The tensors to quantise, by name: those that enter convolutions whose weights are in the
    file, taken before a pooling between, and those added to a convolution's result that would
    else be the only ones not quantised around it."""
    found: dict[str, ov.Output] = {}
    for node in _convolutions(model):
        if _weights(node) is not None:
            _note(found, node.input_value(0))
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Add" and all(map(_is_convolved, node.input_values())):
            _note(found, node.input_value(1))
    return found


def _convolutions(model: ov.Model) -> list[ov.Node]:
    return [node for node in model.get_ordered_ops() if node.get_type_name() in CHANNELS]


def _note(found: dict[str, ov.Output], source: ov.Output) -> None:
    origin = _origin(source)
    if names := origin.get_names():
        found[min(names)] = origin


def _origin(source: ov.Output) -> ov.Output:
    """The tensor that a pooling takes: quantised first, the pooling is done with integers."""
    while source.get_node().get_type_name() == "MaxPool":
        source = source.get_node().input_value(0)
    return source


def _is_convolved(source: ov.Output) -> bool:
    """Whether a tensor is the result of a convolution, its bias included."""
    node = source.get_node()
    if node.get_type_name() == "Add" and _is_constant(node.input_value(1)):
        node = node.input_value(0).get_node()
    return str(node.get_type_name()) in CHANNELS


def _is_constant(source: ov.Output) -> bool:
    node = source.get_node()
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    return str(node.get_type_name()) == "Constant"


def insert(model: ov.Model, ranges: Ranges, cut_off: bool = False) -> None:
    """Put the quantisation of these tensors, and of the weights they meet, into model.

    cut_off: whether the sum of two large products is cut off (sums_are_cut_off). Raises ValueError
    where the ranges are not of this network.
    """
    able = tensors(model)
    for name in ranges:
        if name not in able:
            raise ValueError(f"no convolution takes a tensor {name[:60]!r}")
    for node in _convolutions(model):
        if not ranges.keys().isdisjoint(_origin(node.input_value(0)).get_names()):
            _quantise_weights(node, 2.0 if cut_off else 1.0)
    for name, (low, high) in ranges.items():
        source = able[name]
        users = list(source.get_target_inputs())
        ends = with_exact_zero(low, high)
        quantised = _fake(source, np.float32(ends[0]), np.float32(ends[1]), STEPS)
        for user in users:
            user.replace_source_output(quantised.output(0))


def is_used(compiled: ov.CompiledModel) -> bool:
    """Whether a convolution of the compiled network really takes integers."""
    for node in compiled.get_runtime_model().get_ops():
        about = node.get_rt_info()
        kind, number = (about[key].astype(str) for key in ("layerType", "runtimePrecision"))
        if kind in ("Convolution", "Deconvolution") and number in ("u8", "i8"):
            return True
    return False


@cache
def sums_are_cut_off() -> bool:
    """Whether this CPU computes int8 with sums of 16 bits: asked of a convolution of large numbers,
    some 40 ms once in a process."""
    image = ops.parameter([1, 16, 8, 8], np.float32)
    pixels = _fake(image.output(0), np.float32(0), np.float32(STEPS - 1), STEPS)
    most = np.full((16, 1, 1, 1), STEPS // 2 - 1, np.float32)
    kernel = ops.constant(np.tile(most, (1, 16, 1, 1)))
    weights = _fake(kernel.output(0), -most, most, STEPS - 1)
    sums = ops.convolution(pixels, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    net = ov.Core().compile_model(ov.Model([sums], [image], "sums"), "CPU")
    found = net(np.full((1, 16, 8, 8), STEPS - 1, np.float32))[0]
    return bool(found.min() < 0.9 * (STEPS - 1) * most[0, 0, 0, 0] * 16)


def with_exact_zero(low: float, high: float) -> tuple[float, float]:
    """The range moved by less than a step so that 0, the value of the padding, is a step."""
    step = (high - low) / (STEPS - 1)
    zero = round(-low / step)
    return -zero * step, (STEPS - 1 - zero) * step


def _fake(
    source: ov.Output, low: NDArray[np.float32], high: NDArray[np.float32], steps: int
) -> ov.Node:
    ends = [ops.constant(np.asarray(end, np.float32)) for end in (low, high, low, high)]
    return ops.fake_quantize(source, *ends, steps)


def _quantise_weights(node: ov.Node, spread: float) -> None:
    """spread: how many times the largest weight the steps reach."""
    weights = _weights(node)
    if weights is None:
        return
    channels = CHANNELS[node.get_type_name()]
    others = tuple(axis for axis in range(weights.ndim) if axis not in channels)
    most = spread * np.maximum(np.abs(weights).max(others, keepdims=True), 1e-12)
    quantised = _fake(ops.constant(weights).output(0), -most, most, STEPS - 1)
    node.input(1).replace_source_output(quantised.output(0))


def _weights(node: ov.Node) -> NDArray[np.float32] | None:
    """The weights of a convolution as float32, None where they are computed."""
    given = node.input_value(1).get_node()
    while given.get_type_name() == "Convert":
        given = given.input_value(0).get_node()
    if given.get_type_name() != "Constant":
        return None
    values: NDArray[np.float32] = np.array(given.data, np.float32)
    return values

"""The change to colour planes goes to the beginning of a network, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.planar import planes_first
from engines.quiet_openvino import ops, ov

ROOT = Path(__file__).resolve().parent.parent
FILES = ["engines/weights/detector.onnx", "engines/weights/pose.onnx", "tests/data/tiny_pose.onnx"]
MEAN = np.array([103.5, 116.3, 123.7], np.float32)
Step = Callable[[Any], Any]


def constant(*numbers: float) -> Any:
    return ops.constant(np.array(numbers, np.float32))


def flipped(x: Any) -> Any:
    start, stop, step, axis = (ops.constant(np.array([n])) for n in (-1, -(2**62), -1, 3))
    return ops.slice(x, start, stop, step, axis)


def a_model(*steps: Step, width: int = 6) -> ov.Model:
    picture = ops.parameter([-1, 8, width, 3], np.uint8)
    last = picture
    for step in steps:
        last = step(last)
    return ov.Model([last], [picture], "test")


def convert(x: Any) -> Any:
    return ops.convert(x, np.float32)


def planes(x: Any) -> Any:
    return ops.transpose(x, ops.constant(np.array([0, 3, 1, 2])))


def results(model: ov.Model, batch: np.ndarray) -> list[np.ndarray]:
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    request.infer([batch])
    return [np.array(tensor.data) for tensor in request.output_tensors]


def first_of(model: ov.Model) -> list[str]:
    return [t.get_node().get_type_name() for t in model.input(0).get_target_inputs()]


@pytest.mark.parametrize(
    "steps",
    [
        [convert, lambda x: ops.subtract(x, constant(114)), planes],
        [convert, lambda x: ops.subtract(x, constant(*MEAN)), planes],
        [flipped, convert, lambda x: ops.divide(x, constant(*MEAN)), planes],
        [convert, flipped, planes],
    ],
)
def test_moved_and_equal(steps: list[Step]) -> None:
    batch = np.random.default_rng(1).integers(0, 256, (2, 8, 6, 3), np.uint8)
    plain, moved = a_model(*steps), a_model(*steps)
    planes_first(moved)
    assert first_of(moved) == ["Transpose"] and first_of(plain) != ["Transpose"]
    (one,), (two,) = results(plain, batch), results(moved, batch)
    assert one.shape == (2, 3, 8, 6) and np.array_equal(one, two)


@pytest.mark.parametrize(
    "steps",
    [
        [convert, lambda x: ops.subtract(constant(*MEAN), x), planes],  # not x - mean
        [convert, lambda x: ops.relu(x), planes],
        [convert, lambda x: ops.transpose(x, ops.constant(np.array([0, 3, 2, 1])))],
        [convert, lambda x: ops.add(x, ops.constant(np.ones((8, 3, 3), np.float32))), planes],
        [convert, lambda x: ops.add(x, ops.constant(np.ones((3, 1), np.float32))), planes],
        [convert, lambda x: ops.subtract(x, constant(*MEAN))],
        [planes, convert],
    ],
)
def test_left_as_it_is(steps: list[Step]) -> None:
    model = a_model(*steps, width=3)
    before = [node.get_type_name() for node in model.get_ordered_ops()]
    planes_first(model)
    assert [node.get_type_name() for node in model.get_ordered_ops()] == before


@pytest.mark.parametrize("name", FILES)
def test_our_networks_give_the_same_numbers(name: str) -> None:
    core, path = ov.Core(), ROOT / name
    plain, moved = core.read_model(path), core.read_model(path)
    planes_first(moved)
    assert first_of(moved) == ["Transpose"]
    height, width = (d.get_length() for d in list(plain.input(0).get_partial_shape())[1:3])
    batch = np.random.default_rng(2).integers(0, 256, (2, height, width, 3), np.uint8)
    for one, two in zip(results(plain, batch), results(moved, batch), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)

"""Colour planes first: what a network does to its picture before the first convolution.

A network that takes pictures (B, H, W, 3) normalises them and then brings them to (B, 3, H, W).
OpenVINO works slowly along an innermost axis of 3, and swaps colours there in reference code. With
the change of layout first the results are the same, and sooner there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.quiet_openvino import ops, ov

TO_PLANES = [0, 3, 1, 2]
COLOURS = 3
ELEMENTWISE = ("Subtract", "Add", "Multiply", "Divide")


def planes_first(model: ov.Model) -> None:
    """Move the change to (B, 3, H, W) of the one input of model to its beginning, in place; nothing
    where something else than arithmetic with constants lies between."""
    picture = model.input(0)
    steps: list[ov.Node] = []
    node = _only_user(picture)
    while node is not None and _can_move(node):
        steps.append(node)
        node = _only_user(node.output(0))
    if node is None or not steps or not _changes_layout(node):
        return
    users = list(node.output(0).get_target_inputs())
    last = ops.transpose(picture, ops.constant(np.array(TO_PLANES))).output(0)
    for step in steps:
        last = _moved(step, last)
    last.set_names(node.output(0).get_names())  # which int8 looks for
    for user in users:
        user.replace_source_output(last)
    model.validate_nodes_and_infer_types()


def _only_user(source: ov.Output) -> ov.Node | None:
    users = list(source.get_target_inputs())
    return users[0].get_node() if len(users) == 1 else None


def _changes_layout(node: ov.Node) -> bool:
    return node.get_type_name() == "Transpose" and _numbers(node.input_value(1)) == TO_PLANES


def _can_move(node: ov.Node) -> bool:
    kind = node.get_type_name()
    if kind in ELEMENTWISE:  # (x - mean), not (mean - x)
        constant = node.input_value(1).get_node()
        return constant.get_type_name() == "Constant" and _for_colours(constant.get_data())
    return kind == "Convert" or _swaps_colours(node)


def _for_colours(values: NDArray[Any]) -> bool:
    """Whether there is one value, or one for each colour of (B, H, W, 3)."""
    return values.size == 1 or (values.size == COLOURS and values.shape[-1] == COLOURS)


def _swaps_colours(node: ov.Node) -> bool:
    """Whether this is x[..., ::-1]."""
    if node.get_type_name() != "Slice" or node.get_input_size() != 5:
        return False
    start, stop, step, axes = (_numbers(node.input_value(n)) for n in range(1, 5))
    ends = bool(start and stop and (start[0] in (-1, COLOURS - 1) and stop[0] < -COLOURS))
    return ends and step == [-1] and axes in ([3], [-1])


def _numbers(source: ov.Output) -> list[int] | None:
    """What an integer constant holds."""
    node = source.get_node()
    if node.get_type_name() != "Constant":
        return None
    return [int(n) for n in node.get_data().ravel()]


def _moved(step: ov.Node, source: ov.Output) -> ov.Output:
    """A step of (B, H, W, 3) done to (B, 3, H, W)."""
    if step.get_type_name() == "Slice":
        order = ops.constant(np.array([2, 1, 0]))
        return ops.gather(source, order, ops.constant(np.array(1))).output(0)
    step.input(0).replace_source_output(source)
    if step.get_type_name() in ELEMENTWISE:
        value = step.input_value(1).get_node().get_data()
        step.input(1).replace_source_output(ops.constant(value.reshape(-1, 1, 1)).output(0))
    return step.output(0)

"""Write a trained network as one ONNX file that describes itself.

The file holds fp16 weights that are cast to float32 where they are used (backends fold the casts
when they load it, so the arithmetic is float32), and its description under the metadata key
"posestream".
"""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from engines.identify import METADATA_KEY
from realtime import atomic
from train.onnx_weights import STATISTICS_KEY, statistics

OPSET = 18


def to_onnx(
    module: nn.Module,
    spec_json: dict[str, Any],
    path: Path,
    example: Tensor,
    fp16: bool = True,
    outputs: tuple[str, ...] = ("heatmaps",),
    trainable: bool = True,
) -> None:
    """Export module, called with one batch like example, to path; whole or not at all.

    module: any traceable module in eval mode or not; it is not changed.
    spec_json: what engines.base.ModelSpec needs to know; see tests/data/README.md.
    example: (B >= 2, ...) input; the file takes any B. Its input is named "images".
    fp16: store the weights as fp16. outputs: the names in file order. trainable: keep beside the
    graph what train.onnx_weights needs to get trainable weights back (12 bytes a channel).
    Raises ValueError where a weight does not fit in fp16, OutputError.
    """
    model = _trace(fold_batchnorm(module), example, outputs)
    if fp16:
        _store_fp16(model)
    texts = {METADATA_KEY: json.dumps(spec_json, sort_keys=True)}
    if trainable:
        texts[STATISTICS_KEY] = statistics(module, norms_to_fold(fx.symbolic_trace(module)))
    for key, text in texts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    onnx.checker.check_model(model, full_check=True)
    atomic.replace(path, model.SerializeToString(deterministic=True))


def fold_batchnorm(module: nn.Module) -> nn.Module:
    """A copy of module in eval mode whose batch normalisations sit in the convolutions before.

    One whose convolution has a second user stays as it is.
    """
    graph = fx.symbolic_trace(copy.deepcopy(module).eval())
    parts = dict(graph.named_modules())
    for before, node in norms_to_fold(graph):
        name = str(before.target)
        transpose = isinstance(parts[name], nn.ConvTranspose2d)
        fused = fuse_conv_bn_eval(parts[name], parts[str(node.target)], transpose)
        graph.set_submodule(name, fused)
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph


def norms_to_fold(graph: fx.GraphModule) -> list[tuple[fx.Node, fx.Node]]:
    """Each convolution whose only user is a batch normalisation, with that."""
    parts = dict(graph.named_modules())
    found = []
    for node in graph.graph.nodes:
        if node.op != "call_module" or not isinstance(parts[node.target], nn.BatchNorm2d):
            continue
        before = node.args[0]
        layer = parts.get(str(before.target)) if before.op == "call_module" else None
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and len(before.users) == 1:
            found.append((before, node))
    return found


def _trace(module: nn.Module, example: Tensor, outputs: tuple[str, ...]) -> onnx.ModelProto:
    """The float32 ONNX graph of module, its first dimension free."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations; the result is checked
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _forget_origin(model)
    return model


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop names of source files and line numbers, so the same weights give the same bytes."""
    model.doc_string = ""
    model.graph.doc_string = ""
    for part in [*model.graph.node, *model.graph.value_info, *model.graph.initializer]:
        part.doc_string = ""
        del part.metadata_props[:]
    del model.graph.value_info[:]
    del model.functions[:]


def _store_fp16(model: onnx.ModelProto) -> None:
    """Replace every float32 initialiser of more than three elements by fp16 and a Cast."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 4:  # constants, not weights
            continue
        with np.errstate(over="ignore"):  # looked for below
            half = values.astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError(
                f"{tensor.name}: a weight does not fit in fp16; export with fp16=False"
            )
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, name + "_fp16"))
        casts.append(helper.make_node("Cast", [name + "_fp16"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)

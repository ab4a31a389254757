"""The weights in an ONNX file of this package, back as those of a network that can be trained.

The batch normalisations are folded into the convolutions there. What they were lies beside the
graph, so that each can be unfolded: the outputs are those of the file, and training goes on with
the statistics it had.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from engines.identify import METADATA_KEY, describe, read
from realtime.errors import ModelError
from train.pose_weights import COUNTER, INPUT, Metadata, Weights, of_spec, plain

STATISTICS_KEY = "posestream_batchnorm"
EPSILON = 1e-5
"""Of torch.nn.BatchNorm2d, and so of all networks here."""
SMALL = 1e-6
"""A channel scaled by less than this cannot be unfolded."""
PARTS = ("weight", "running_mean", "running_var")


def statistics(net: nn.Module, pairs: Iterable[tuple[Any, Any]]) -> str:
    """What folding loses of the batch normalisations of net, as text.

    pairs: nodes of a convolution and of the normalisation after it, see train.export.
    """
    parts: Weights = {}
    layers: dict[str, str] = {}
    for conv, norm in pairs:
        module = net.get_submodule(norm.target)
        transposed = isinstance(net.get_submodule(conv.target), nn.ConvTranspose2d)
        layers[norm.target] = f"{conv.target} {'transposed' if transposed else 'plain'}"
        for part in PARTS:
            parts[f"{norm.target}.{part}"] = getattr(module, part).detach().float().cpu()
    return base64.b64encode(safetensors.torch.save(parts, {"layers": json.dumps(layers)})).decode()


def read_onnx(path: Path) -> tuple[Weights, Metadata]:
    """The weights of an ONNX file that posestream-train wrote; see train.weights.load_weights."""
    import onnx
    from onnx import numpy_helper

    data = read(path)
    spec = describe(path, data)
    try:
        model = onnx.load_model_from_string(data)
        texts = {entry.key: entry.value for entry in model.metadata_props}
        given = json.loads(texts.get(METADATA_KEY, "{}"))
        tensors = {
            tensor.name.removesuffix("_fp16"): torch.tensor(numpy_helper.to_array(tensor)).float()
            for tensor in model.graph.initializer
        }
        weights = _unfolded(tensors, texts[STATISTICS_KEY]) if STATISTICS_KEY in texts else None
    except Exception as error:  # protobuf, numpy and safetensors fail in many ways
        raise ModelError(f"model {path}: damaged: {str(error)[:100]}") from error
    if weights is None:
        raise ModelError(
            f"model {path}: its weights cannot be told apart; only files that posestream-train "
            "export or a training wrote are read back"
        )
    about = of_spec(spec)
    outside = any(spec.mean) or set(spec.std) != {1.0}  # the engines normalise, not the graph
    known = about if outside else INPUT | given.get("inside", {})
    return weights, {**about, **{n: known[n] for n in INPUT}, "trained": given.get("trained", "")}


def _unfolded(tensors: Weights, text: str) -> Weights:
    """The initialisers of a file as weights by the names of the network."""
    data = base64.b64decode(text)
    before = safetensors.torch.load(data)
    length = int.from_bytes(data[:8], "little")
    layers = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["layers"])
    weights = {name: t for name, t in tensors.items() if "." in name}  # others are constants
    for norm, layer in layers.items():
        conv, _, kind = layer.partition(" ")
        # The exporter leaves out a bias that is all zero.
        bias = weights.pop(f"{conv}.bias", torch.zeros_like(before[f"{norm}.weight"]))
        values = {part: before[f"{norm}.{part}"] for part in PARTS}
        kernel, norms = unfold(weights[f"{conv}.weight"], bias, values, kind == "transposed")
        weights[f"{conv}.weight"] = kernel
        weights |= {f"{norm}.{part}": tensor for part, tensor in norms.items()}
    weights = plain(weights)
    if "final.weight" in weights:
        weights.setdefault("final.bias", torch.zeros(len(weights["final.weight"])))
    return weights


def unfold(
    kernel: Tensor, bias: Tensor, before: Weights, transposed: bool
) -> tuple[Tensor, Weights]:
    """The kernel without bias and the batch normalisation that fold to kernel and bias.

    Folding gives s kernel and beta - s mean with s = gamma / sqrt(var + epsilon) for each output
    channel. Channels where s is almost 0 get s = 1 and mean = 0 instead of what they had.
    """
    gamma, mean, var = (before[part] for part in PARTS)
    dead = (gamma / (var + EPSILON).sqrt()).abs() < SMALL
    mean = torch.where(dead, torch.zeros_like(mean), mean)
    var = torch.where(dead, torch.ones_like(var), var)
    root = (var + EPSILON).sqrt()
    gamma = torch.where(dead, root, gamma)
    scale = gamma / root
    shape = (1, -1, 1, 1) if transposed else (-1, 1, 1, 1)
    norm = {"weight": gamma, "bias": bias + scale * mean, "running_mean": mean, "running_var": var}
    return kernel / scale.view(shape), {**norm, COUNTER: torch.tensor(0)}

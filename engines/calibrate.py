"""Finds the ranges that engines.int8 needs, by running a network on pictures like its own."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from engines import bundled, containers, int8
from engines.base import ModelSpec
from engines.identify import CHECKS, METADATA_KEY
from engines.openvino import with_uint8_input
from engines.quiet_openvino import ov, reason
from realtime.errors import ModelError

PERCENT = 0.01
"""Of a tensor's values in one picture, this share at each end does not widen its range. On 300
crops of COCO and the ResNet18 start weights the mean error of the heatmaps is 0.00093 with it,
0.00114 with the full ranges, 0.00101 with the mean over the pictures of the full ranges."""
SAMPLE = 3
"""Every so many values of a tensor are looked at."""


def calibrated(spec: ModelSpec, data: bytes, pictures: Iterable[NDArray[np.uint8]]) -> bytes:
    """The ONNX file data with the ranges of its tensors on these pictures inside.

    pictures: each uint8 (H, W, 3) BGR of the network's size, some hundred of the kind it will
    see. A file known by its SHA-256 is another file afterwards: one that does not describe itself
    is described, under its name and "-int8"; a bundled one keeps what is known of it. Raises
    ModelError.
    """
    texts = {int8.METADATA_KEY: int8.dump(find_ranges(spec, data, pictures))}
    own = containers.read(data).metadata.get(METADATA_KEY)
    if own is None:
        told = {name: getattr(spec, name) for name in CHECKS}
        texts[METADATA_KEY] = json.dumps({**told, "name": f"{spec.name}-int8"}, sort_keys=True)
    elif better := bundled.known(spec.sha256):
        texts[METADATA_KEY] = json.dumps({**json.loads(own), **better}, sort_keys=True)
    try:
        return containers.with_texts(data, texts)
    except ValueError as error:
        raise ModelError(f"model {spec.path}: {error}") from error


def find_ranges(spec: ModelSpec, data: bytes, pictures: Iterable[NDArray[np.uint8]]) -> int8.Ranges:
    """The ranges of all tensors that int8 quantises, over the pictures. Raises ModelError."""
    core = ov.Core()
    try:
        model = core.read_model(io.BytesIO(data))
        found = int8.tensors(model)
        ranges, inner = _of_inputs(spec, found)
        for tensor in inner.values():
            model.add_outputs([tensor])
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(with_uint8_input(model, spec), "CPU", settings)
        request = compiled.create_infer_request()
        own = len(compiled.outputs) - len(inner)
        for picture in pictures:
            request.infer([np.repeat(picture[None], spec.batch or 1, 0)], share_inputs=True)
            for name, tensor in zip(inner, request.output_tensors[own:]):
                low, high = _ends(tensor.data)
                least, most = ranges.get(name, (0.0, 0.0))
                ranges[name] = min(least, low), max(most, high)
    except RuntimeError as error:
        raise ModelError(f"model {spec.path}: cannot be calibrated: {reason(error)}") from error
    ranges = {name: ends for name, ends in ranges.items() if ends[1] - ends[0] >= int8.LEAST}
    if not ranges:
        raise ModelError(f"model {spec.path}: nothing in it can be computed in int8")
    return ranges


def _of_inputs(
    spec: ModelSpec, found: dict[str, ov.Output]
) -> tuple[int8.Ranges, dict[str, ov.Output]]:
    """The range of the network's own input, known without running it, and the other tensors."""
    ranges, inner = {}, {}
    for name, tensor in found.items():
        if tensor.get_node().get_type_name() == "Parameter":
            ends = [(v - m) / s for m, s in zip(spec.mean, spec.std) for v in (0.0, 255.0)]
            ranges[name] = min(*ends, 0.0), max(*ends, 0.0)
        else:
            inner[name] = tensor
    return ranges, inner


def _ends(values: NDArray[np.float32]) -> tuple[float, float]:
    low, high = np.percentile(values.ravel()[::SAMPLE], (PERCENT, 100 - PERCENT))
    return float(low), float(high)

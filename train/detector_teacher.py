"""A detector that is already good shows what it sees at every place, not only which boxes it keeps.

The student's maps at strides 8, 16 and 32 learn to say what the teacher's say there (Romero et
al., FitNets, 2015), each channel of the teacher brought to mean 0 and variance 1 (Cao et al., PKD,
2022). That is far more than the labels of some thousand pictures tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines.base import ModelSpec
from engines.identify import identify, read
from realtime.errors import ModelError

STRIDES = (8, 16, 32)
HEADS = "bbox_head.rtm_cls", "bbox_head.rtm_reg"
"""The last layers of RTMDet (Lyu et al. 2022), one for each stride: scores and edges."""
CHANNELS = 192
"""Of what is learned from at each stride: what both heads start from, and what each ends with."""


class DetectorTeacher:
    """An RTMDet file as the engines know it (engines.registry), asked about training samples.

    threads: of the CPU. Raises ModelError for another file.
    """

    def __init__(self, path: Path, threads: int) -> None:
        from engines.quiet_openvino import ov

        self._spec = identify(path)
        if self._spec.format != "rtmdet":
            raise ModelError(f"teacher {path}: {self._spec.name} is not an RTMDet person detector")
        core = ov.Core()
        model = core.read_model(_features_alone(self._spec))
        model.reshape({0: [-1, 3, -1, -1]})
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Maps float32 (B, CHANNELS, H / s, W / s) for s of STRIDES, each channel with mean 0 and
        variance 1 over the batch, of pictures uint8 (B, H, W, 3) BGR; on their device."""
        spec = self._spec
        pixels = images.cpu().numpy().astype(np.float32)
        pixels = (pixels[..., ::-1] if spec.rgb else pixels) - np.array(spec.mean, np.float32)
        pixels = np.ascontiguousarray(
            (pixels / np.array(spec.std, np.float32)).transpose(0, 3, 1, 2)
        )
        self._request.infer([pixels], share_inputs=True)
        parts = [np.array(t.data, np.float32) for t in self._request.output_tensors]
        levels = [np.concatenate(parts[i : i + 3], 1) for i in range(0, len(parts), 3)]
        if any(level.shape[1] != CHANNELS for level in levels):
            wide = " and ".join(str(level.shape[1]) for level in levels)
            raise ModelError(f"teacher {spec.path}: {wide} channels, RTMDet-nano has {CHANNELS}")
        return [_even(torch.from_numpy(level)).to(images.device) for level in levels]


def _even(maps: Tensor) -> Tensor:
    mean, variance = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), keepdim=True)
    result: Tensor = (maps - mean) * (variance + 1e-4).rsqrt()
    return result


def _features_alone(spec: ModelSpec) -> bytes:
    """The ONNX model in the file with the maps of all strides as its outputs: for each stride what
    both heads start from, what the scores and what the edges are computed from."""
    import onnx

    model = onnx.load_model_from_string(read(spec.path))
    made = {name: node for node in model.graph.node for name in node.output}
    wanted = []
    for level in range(len(STRIDES)):
        ends = [_input_of(model, f"{head}.{level}.weight") for head in HEADS]
        way = set(_back(ends[0], made))
        wanted += [next(name for name in _back(ends[1], made) if name in way), *ends]
    del model.graph.output[:]
    float32 = onnx.TensorProto.FLOAT
    model.graph.output.extend(onnx.helper.make_tensor_value_info(n, float32, None) for n in wanted)
    return bytes(model.SerializeToString())


def _input_of(model: Any, weight: str) -> str:
    """The tensor that the layer with this weight works on. Raises ModelError."""
    for node in model.graph.node:
        if weight in node.input:
            return str(node.input[0])
    raise ModelError(f"teacher: no layer with the weights {weight}; is it RTMDet from MMDetection?")


def _back(name: str, made: dict[str, Any]) -> Iterable[str]:
    """The tensors from this one back to the input, by the first input of each node."""
    while name in made:
        yield name
        name = made[name].input[0]

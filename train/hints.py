"""A network that is already good shows what it sees on the way to its answer, at every place.

The student's maps at several strides learn to say what the teacher's say there (Romero et al.,
FitNets, 2015), each channel of the teacher brought to mean 0 and variance 1 (Cao et al., PKD,
2022). That is far more than the labels of some thousand pictures tell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from engines.base import Task
from engines.identify import identify, read
from engines.published import PUBLISHED
from realtime.errors import ModelError
from train.config import Config
from train.weights import file_of

Places = list[list[str]]
"""Names of tensors in the teacher's file: those of one stride together, stride after stride."""

RTMDET_LEVELS = 3
RTMDET_HEADS = "bbox_head.rtm_cls", "bbox_head.rtm_reg"
"""The last layers of RTMDet (Lyu et al. 2022), one for each stride: scores and edges."""


class Hints:
    """A teacher's file, asked about training samples.

    path: an RTMDet detector, which shows strides 8, 16 and 32, or a heatmap network with transposed
    convolutions, which shows those before each of them and the last: strides 32, 16, 8 and 4.
    tasks: what it may be. size_wh: of the samples. threads: of the CPU. strides, channels: of the
    maps. Raises ModelError for another file.
    """

    def __init__(
        self, path: Path, tasks: Collection[str], size_wh: tuple[int, int], threads: int
    ) -> None:
        from engines.openvino import with_uint8_input
        from engines.quiet_openvino import ov, reason

        spec = identify(path)
        if spec.task not in tasks or spec.format not in PLACES:
            known = "RTMDet detectors" + " and heatmap networks" * ("pose" in tasks)
            raise ModelError(f"teacher {path}: {spec.name} cannot give hints, only {known}")
        data, places = _with_outputs(path, PLACES[spec.format])
        self._counts = [len(names) for names in places]
        core = ov.Core()
        try:
            model = core.read_model(data)
            model = with_uint8_input(model, replace(spec, input_wh=size_wh, batch=None))
            settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
            self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise ModelError(f"teacher {path}: OpenVINO refuses it: {reason(error)}") from error
        black = torch.zeros((1, size_wh[1], size_wh[0], 3), dtype=torch.uint8)
        levels = self(black)
        self.strides = [size_wh[1] // maps.shape[2] for maps in levels]
        self.channels = [maps.shape[1] for maps in levels]

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Maps float32 (B, C, H / s, W / s), stride after stride, each channel with mean 0 and
        variance 1 over the batch, of pictures uint8 (B, H, W, 3) BGR; on their device."""
        self._request.infer([images.cpu().numpy()], share_inputs=True)
        parts = [np.array(t.data, np.float32) for t in self._request.output_tensors]
        levels = []
        for count in self._counts:
            level, parts = np.concatenate(parts[:count], 1), parts[count:]
            levels.append(_even(torch.from_numpy(level)).to(images.device))
        return levels


def open_hints(config: Config) -> Hints:
    """The hints that a run learns from, for its samples. Raises ModelError."""
    tasks: tuple[Task, ...] = ("detector",) if config.task == "detector" else ("detector", "pose")
    text = config.hints or config.teacher
    known = PUBLISHED.get(text)
    path = file_of(text, known.task if known and known.task in tasks else "detector")
    return Hints(path, tasks, config.sample_wh, torch.get_num_threads())


def hint_loss(hints: Sequence[Tensor], taught: Sequence[Tensor]) -> Tensor:
    """Mean squared error of maps (B, C, h, w) at each stride, averaged over the strides: of all
    processes alike, since their samples have one size."""
    each = [mse_loss(own.float(), theirs) for own, theirs in zip(hints, taught, strict=True)]
    return torch.stack(each).mean()


def _even(maps: Tensor) -> Tensor:
    mean, variance = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), keepdim=True)
    result: Tensor = (maps - mean) * (variance + 1e-4).rsqrt()
    return result


def _with_outputs(path: Path, find: Callable[[Any], Places]) -> tuple[bytes, Places]:
    """The ONNX model in the file with the tensors that find names as its outputs."""
    import onnx

    model = onnx.load_model_from_string(read(path))
    try:
        places = find(model.graph)
    except LookupError as error:
        raise ModelError(f"teacher {path}: is built in another way than those we know") from error
    float32 = onnx.TensorProto.FLOAT
    del model.graph.output[:]
    names = [name for level in places for name in level]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(n, float32, None) for n in names)
    return bytes(model.SerializeToString()), places


def _of_rtmdet(graph: Any) -> Places:
    """For each stride what both heads start from, and what the scores and the edges come from."""
    made = _makers(graph)
    places = []
    for level in range(RTMDET_LEVELS):
        scores, edges = [_input_of(graph, f"{head}.{level}.weight") for head in RTMDET_HEADS]
        way = set(_back(scores, made))
        shared = [name for name in _back(edges, made) if name in way]
        places.append([shared[0], scores, edges])
    return places


def _of_heatmaps(graph: Any) -> Places:
    """What goes into each transposed convolution, and into the last layer beside the heatmaps."""
    made = _makers(graph)
    heatmaps = graph.output[0].name
    way = [made[name] for name in _back(heatmaps, made)]
    inner = [node.input[0] for node in way if node.op_type == "ConvTranspose"]
    if not inner:
        raise LookupError("nothing is enlarged")
    last = [node.input[0] for node in way if node.op_type == "Conv"][0]
    return [[name] for name in reversed(inner)] + [[last, heatmaps]]


PLACES: dict[str, Callable[[Any], Places]] = {"rtmdet": _of_rtmdet, "heatmaps": _of_heatmaps}
"""By the format of the teacher's file (engines.base.ModelSpec)."""


def _makers(graph: Any) -> dict[str, Any]:
    """The node that makes each tensor."""
    return {name: node for node in graph.node for name in node.output}


def _input_of(graph: Any, weight: str) -> str:
    """The tensor that the layer with this weight works on. Raises IndexError."""
    return [str(node.input[0]) for node in graph.node if weight in node.input][0]


def _back(name: str, made: dict[str, Any]) -> Iterable[str]:
    """The tensors from this one back to the input, by the first input of each node."""
    while name in made:
        yield name
        name = made[name].input[0]

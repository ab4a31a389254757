"""Person boxes of torchvision's detectors, through PyTorch on the CPU or a CUDA GPU.

Their suppression of doubles is inside, so they give the format "rtmdet". They run in float32: in
half precision their own arithmetic on boxes would be too coarse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import detection

from engines.base import Arrays, Json, ModelSpec, Options, check_batch, opened
from engines.torch import device_of, whole_float32
from engines.torch_locate import explained
from realtime.errors import ModelError

PERSON = 1
"""Number of people among COCO's classes in torchvision, where 0 is the background."""
MIN_SCORE = 0.05


def _faster_rcnn() -> nn.Module:
    """Scales the shorter side to 320 pixels and the longer one to at most 640."""
    net: nn.Module = detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None
    )
    return net


def _ssdlite() -> nn.Module:
    made = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    # As in Faster R-CNN; with 0.001 suppressing doubles among thousands takes most of the time.
    made.score_thresh = MIN_SCORE
    net: nn.Module = made
    return net


# Without weights=None and weights_backbone=None torchvision would download.
BUILD: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "detector-fasterrcnn-mobilenet": (_faster_rcnn, (576, 320)),
    "detector-ssdlite-mobilenet": (_ssdlite, (320, 320)),
}
"""The networks by their names in engines.published, and input sizes that they do not resize."""


class TorchDetector:
    """A torchvision detector in eval mode. See engines.base.Network.

    Output: ``dets`` (B, N, 5), x0 y0 x1 y1 score of people in the pixels of the input, counting
    from the corner of the first pixel, best first; rows of zeros fill up to the N of the picture
    with most people.
    """

    engine = "torch"
    precision = "f32"
    why = ""

    def __init__(self, spec: ModelSpec, data: bytes, options: Options) -> None:
        if options.precision not in ("auto", "f32"):
            raise ModelError(f"{spec.name}: runs in f32 only; use --precision f32 or auto")
        self.spec = spec
        self._place = device_of(options.compute)
        whole_float32(self._place)
        self.device = str(self._place)
        if self._place.type == "cpu" and options.threads is not None:
            torch.set_num_threads(options.threads)  # of the whole process: torch has no other
        self._net: nn.Module | None = network(spec, data).to(self._place)

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        """See engines.base.Network."""
        check_batch(self.spec, batch)
        net = opened(self._net, self.spec)
        if not len(batch):
            return [np.zeros((0, 0, 5), np.float32)]
        # inference_mode belongs to the thread, so it is entered here
        with explained(self.spec), torch.inference_mode():
            pixels = torch.tensor(batch, device=self._place).flip(3)
            found = net([p.float() / 255 for p in pixels.permute(0, 3, 1, 2)])
            return [_padded([_people(one) for one in found])]

    def close(self) -> None:
        """Let the network go."""
        self._net = None


def _people(found: Mapping[str, Tensor]) -> NDArray[np.float32]:
    """The people (N, 5) among what torchvision found in one picture, best first."""
    kind = found["labels"] == PERSON
    dets = torch.cat([found["boxes"][kind], found["scores"][kind, None]], 1)
    result: NDArray[np.float32] = dets[dets[:, 4].argsort(descending=True)].cpu().numpy()
    return result


def _padded(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    dets = np.zeros((len(parts), max(map(len, parts)), 5), np.float32)
    for row, part in zip(dets, parts):
        row[: len(part)] = part
    return dets


def network(spec: ModelSpec, data: bytes) -> nn.Module:
    """The network that spec names, in eval mode, with exactly the weights in a safetensors file.
    Raises ModelError."""
    if spec.name not in BUILD:
        known = ", ".join(BUILD)
        raise ModelError(f"model {spec.path}: the detectors PyTorch runs here are {known}")
    net = BUILD[spec.name][0]().eval()
    try:
        weights = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise ModelError(f"model {spec.path}: damaged safetensors: {error}") from error
    if wrong := differences(net, weights):
        raise ModelError(f"model {spec.path}: not the weights of {spec.name}: {wrong}")
    net.load_state_dict(weights, strict=False)  # what strict would look for has been looked for
    return net


def differences(net: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """In what weights are not those of net; empty when they are. Counters of training steps are
    in some files and not in others, and mean nothing here."""
    wanted = {n: t for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    wrong = [n for n in wanted if n not in weights or weights[n].shape != wanted[n].shape]
    wrong += [n for n in weights if n not in wanted and not n.endswith("num_batches_tracked")]
    return f"{len(wrong)} tensors differ, {wrong[0]} first" if wrong else ""


def described(name: str, licence: str) -> Json:
    """The description (engines.identify) of the weights of that name."""
    return {
        "name": name,
        "task": "detector",
        "format": "rtmdet",
        "input_wh": BUILD[name][1],
        "licence": licence,
    }

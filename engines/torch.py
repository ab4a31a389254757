"""Networks through PyTorch, on the CPU or a CUDA GPU: our ONNX files, and safetensors weights of
the ResNet18 pose network, whose batch normalisations are folded when they are loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines import selfcheck
from engines.base import Arrays, ModelSpec, Options, Unavailable, check_batch, opened, step_of
from engines.batches import blank, sizes_of
from engines.torch_locate import Locate, explained, trusted
from engines.torch_nets import PoseResNet, depth_of, folded, widths_of
from realtime.errors import ModelError

logger = logging.getLogger(__name__)

CPU_BF16 = ("amx_bf16", "avx512_bf16", "bf16")
"""Names of processor features (x86, ARM) with which bf16 is faster than float32."""
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class TorchNetwork:
    """A module in eval mode. See engines.base.Network.

    locate: from pictures to joints, all on the GPU; None elsewhere, where the CPU cuts crops.
    """

    engine = "torch"
    why = ""

    def __init__(self, spec: ModelSpec, data: bytes, options: Options) -> None:
        self.spec = spec
        device = device_of(options.compute)
        self.device = str(device)
        auto = options.precision == "auto"
        self.precision = fastest(device) if auto else options.precision
        if device.type == "cpu" and options.threads is not None:
            torch.set_num_threads(options.threads)  # of the whole process: torch has no other
        if self.precision not in DTYPES:
            raise Unavailable(f"precision {self.precision}: engine torch does not have it")
        if self.precision == "bf16" and not has_bf16(device):
            logger.warning(
                "precision bf16: the processor has no instructions for it and is slow; "
                "use --precision f32 or --engine openvino"
            )
        self._place, self._dtype = device, DTYPES[self.precision]
        if self.precision == "f32":
            whole_float32(device)
        self._prepared = Prepared(spec, device)
        self.narrow = spec.narrow and device.type == "cpu"  # locate cuts whole crops
        with _doubted(spec):
            net = _onnx(spec, data) if spec.container == "onnx" else folded(_network(spec, data))
            net = net.to(device=device, dtype=self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._net: nn.Module | None = net
            self._empty = [part[:0] for part in self._run(blank(spec, 1))]
            self.size_step = step_of(spec, sizes_of(self._run))
        self.locate: Locate | None = None
        if spec.task == "pose" and device.type == "cuda":
            self.locate = trusted(self, Locate(spec, self._heatmaps, device))

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        """See engines.base.Network."""
        check_batch(self.spec, batch, self.size_step, self.narrow)
        if not len(batch):
            opened(self._net, self.spec)
            return [part.copy() for part in self._empty]
        return self._run(batch)

    def close(self) -> None:
        """Let the network go, and what locates by it: the two refer to each other."""
        self._net = self.locate = None

    def _run(self, batch: NDArray[np.uint8]) -> Arrays:
        # inference_mode belongs to the thread, so it is entered in the thread that calls; so does
        # autocast, within which a teacher is asked.
        own_precision = torch.autocast(self._place.type, enabled=False)
        with explained(self.spec), torch.inference_mode(), own_precision:
            pixels = torch.tensor(np.ascontiguousarray(batch), device=self._place)
            parts = self._outputs(pixels)
            return [part.float().contiguous().cpu().numpy() for part in parts]

    def _outputs(self, pixels: Tensor) -> list[Tensor]:
        """Of pictures (B, H, W, 3) BGR on the device."""
        outputs = opened(self._net, self.spec)(self._prepared(pixels).to(self._dtype))
        return [outputs] if isinstance(outputs, Tensor) else list(outputs)

    def _heatmaps(self, planes: Tensor) -> Tensor:
        """Of crops (B, 3, H, W) BGR on the device."""
        return self._outputs(planes.permute(0, 2, 3, 1))[0].float()


def best(spec: ModelSpec, data: bytes, options: Options) -> TorchNetwork:
    """The network; where no precision is asked for, in f32 if f16 does not find on the GPU what f32
    finds on the CPU. Raises ModelError."""
    network = TorchNetwork(spec, data, options)
    if options.precision != "auto" or network.precision == "f32":
        return network
    try:
        exact = TorchNetwork(spec, data, Options("f32", "cpu", options.threads))
        doubt = selfcheck.doubt(exact, network)
    except BaseException:
        network.close()
        raise
    if not doubt:
        return network
    logger.warning("%s runs in f32, not in %s: %s", spec.name, network.precision, doubt)
    network.close()
    return TorchNetwork(spec, data, replace(options, precision="f32"))


class Prepared:
    """Pictures (B, H, W, 3) BGR on the device as a file's own input, float32: colour order,
    (x - mean) / std, and layout; NCHW is a view of channels last."""

    def __init__(self, spec: ModelSpec, place: torch.device) -> None:
        self._rgb, self._nhwc = spec.rgb, spec.nhwc and spec.container == "onnx"
        self._plain = not any(spec.mean) and set(spec.std) == {1.0}
        self._mean = torch.tensor(spec.mean, device=place)
        self._scale = 1 / torch.tensor(spec.std, device=place)

    def __call__(self, pixels: Tensor) -> Tensor:
        images = (pixels.flip(3) if self._rgb else pixels).float()
        if not self._plain:
            images = (images - self._mean) * self._scale
        return images if self._nhwc else images.permute(0, 3, 1, 2)


@contextmanager
def _doubted(spec: ModelSpec) -> Iterator[None]:
    """Turns what reading a file and its first run raise into one line: ModelError. A damaged one
    can hold anything, and nothing here checks it before it is run, as other engines do."""
    try:
        yield
    except (ModelError, ImportError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ModelError(f"model {spec.path}: engine torch cannot run it: {reason}") from error


def _onnx(spec: ModelSpec, data: bytes) -> nn.Module:
    from engines.torch_onnx import OnnxNet

    if spec.batch is not None:
        raise Unavailable(
            f"model {spec.path}: engine torch needs a file for any batch size; use --engine auto"
        )
    return OnnxNet(spec, data).eval()


def device_of(compute: str) -> torch.device:
    """The device asked for; auto takes the first GPU where there is one."""
    if compute == "cpu" or (compute == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    number = int(compute.partition(":")[2] or 0)
    if not torch.cuda.is_available():
        raise Unavailable(f"compute {compute}: PyTorch finds no CUDA GPU; use --compute cpu")
    if number >= torch.cuda.device_count():
        raise Unavailable(f"compute {compute}: this machine has {torch.cuda.device_count()} GPU(s)")
    return torch.device("cuda", number)


def fastest(device: torch.device) -> str:
    """The precision to try where none is asked for."""
    return "f16" if device.type == "cuda" else "f32"


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster there than float32. Without instructions for it, which is most CPUs
    before 2022, matrix products in bf16 take 25 times as long as in float32."""
    if device.type == "cuda":
        with torch.cuda.device(device):  # the current one is the one it tells of
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in CPU_BF16)


def whole_float32(device: torch.device) -> None:
    """Keep convolutions in float32 from TF32, to which PyTorch lets GPUs round their inputs.

    For the whole process, for good: torch has no switch for one thread, and networks that turned
    it on again after their calls would turn it on in those of others. f16 and bf16 do not use it.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False


def _network(spec: ModelSpec, data: bytes) -> PoseResNet:
    """PoseResNet with exactly the weights in data, float32."""
    if spec.task != "pose":
        raise ModelError(f"model {spec.path}: the torch engine runs pose networks only")
    try:
        weights = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise ModelError(f"model {spec.path}: damaged safetensors: {error}") from error
    net = PoseResNet(depth_of(weights) or 18, widths_of(weights)).eval()
    wanted, given = net.state_dict(), weights
    wrong = [n for n in wanted if n not in given or given[n].shape != wanted[n].shape]
    wrong += [n for n in given if n not in wanted]
    if wrong:
        raise ModelError(
            f"model {spec.path}: not the weights of a ResNet pose network: {len(wrong)} "
            f"tensors differ, {wrong[0]} first"
        )
    net.load_state_dict(weights, strict=True)  # copies, converting to float32
    return net

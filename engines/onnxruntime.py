"""ONNX files through ONNX Runtime, on the CPU or a CUDA GPU: the fallback that runs anywhere.

ONNX Runtime goes on with another provider when the one asked for cannot be used
(https://onnxruntime.ai/docs/execution-providers/); here that is an error.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as states

from engines.base import (
    Arrays,
    ModelSpec,
    Options,
    Unavailable,
    check_batch,
    may_step,
    opened,
    step_of,
)
from engines.batches import blank, in_steps, sizes_of
from engines.containers import with_free_sizes
from realtime.errors import ModelError, OutOfMemory

KINDS: dict[str, type[Any]] = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}
FAILURES = tuple(
    kind for kind in vars(states).values() if isinstance(kind, type) and issubclass(kind, Exception)
) + (RuntimeError, ValueError)
"""What a session raises; its own classes have no base in common but Exception."""
FULL = ("allocate memory", "out of memory")
"""What ONNX Runtime's memory of a device, and CUDA, say when there is no more."""

SOURCE = re.compile(r"/\S+:\d+ [^()]*\(.*?\) (?=[A-Z])")
"""A file, a line and a C++ function, before what it has to say."""
INSTALL = 'pip install "onnxruntime-gpu[cuda,cudnn]"'
"""With CUDA's libraries from pip."""


class OnnxruntimeNetwork:
    """A session with one provider. See engines.base.Network."""

    engine = "onnxruntime"
    why = ""

    def __init__(self, spec: ModelSpec, data: bytes, options: Options) -> None:
        self.spec = spec
        if options.precision not in ("auto", "f32"):
            raise Unavailable(
                f"precision {options.precision}: engine onnxruntime computes in f32; "
                "use --precision f32 or --engine openvino"
            )
        self.precision = "f32"
        self.device, providers = _providers(options.compute)
        self.narrow = spec.narrow and not spec.batch
        try:
            if self.narrow or may_step(spec):
                data = with_free_sizes(data)
            session = ort.InferenceSession(data, _settings(options), providers, enable_fallback=0)
            self._input, self._size, self._convert = _input(session, spec)
        except FAILURES as error:
            raise ModelError(
                f"model {spec.path}: ONNX Runtime refuses it: {_reason(error)}"
            ) from error
        wanted, got = providers[0][0], session.get_providers()
        if got[0] != wanted:
            raise Unavailable(
                f"compute {options.compute}: ONNX Runtime cannot use {wanted} here; where CUDA is "
                f"not installed: {INSTALL}"
            )
        session.disable_fallback()
        self._session: ort.InferenceSession | None = session
        self._empty = [array[:0] for array in self._run(blank(spec, self._size or 1))]
        self.size_step = step_of(spec, sizes_of(self._run))

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        """See engines.base.Network."""
        check_batch(self.spec, batch, self.size_step, self.narrow)
        if not len(batch):
            opened(self._session, self.spec)
            return [array.copy() for array in self._empty]
        return in_steps(batch, self._size, self._run)

    def close(self) -> None:
        """Let the session go."""
        self._session = None

    def _run(self, batch: NDArray[np.uint8]) -> Arrays:
        session = opened(self._session, self.spec)
        try:
            outputs = session.run(None, {self._input: self._convert(batch)})
        except FAILURES as error:
            full = any(words in str(error).lower() for words in FULL)
            kind = OutOfMemory if full else ModelError
            raise kind(f"{self.spec.name}: ONNX Runtime failed: {_reason(error)}") from error
        return [np.asarray(array, np.float32) for array in outputs]


def cuda_available() -> bool:
    """Whether this ONNX Runtime was built with CUDA; a GPU may be missing all the same."""
    return "CUDAExecutionProvider" in ort.get_available_providers()


def _providers(compute: str) -> tuple[str, list[tuple[str, dict[str, str]]]]:
    """Where to run, and the provider for it. CUDA is followed by the CPU for the operations it
    does not have (ONNX Runtime demands that)."""
    cpu: tuple[str, dict[str, str]] = ("CPUExecutionProvider", {})
    if compute in ("auto", "cpu"):
        return "cpu", [cpu]
    if not cuda_available():
        raise Unavailable(
            f"compute {compute}: this ONNX Runtime has no CUDA; {INSTALL} in place of onnxruntime, "
            "or use --compute cpu"
        )
    _find_cuda()
    number = compute.partition(":")[2] or "0"
    gpu = {
        "device_id": number,
        # By default each new batch size waits until all algorithms of each convolution were timed.
        "cudnn_conv_algo_search": "HEURISTIC",
        # By default GPUs round the inputs of float32 convolutions.
        "use_tf32": "0",
    }
    return f"cuda:{number}", [("CUDAExecutionProvider", gpu), cpu]


def _find_cuda() -> None:
    """Load CUDA's libraries from where pip puts them, in which ONNX Runtime does not look by
    itself. Older versions cannot; what is missing is told when the provider is."""
    if load := getattr(ort, "preload_dlls", None):
        with redirect_stdout(io.StringIO()):  # it prints
            load()


def _settings(options: Options) -> ort.SessionOptions:
    settings = ort.SessionOptions()
    settings.log_severity_level = 4  # what matters is raised
    # A thread that waits for work by spinning takes the core from the other stages.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    return settings


def _input(
    session: ort.InferenceSession, spec: ModelSpec
) -> tuple[str, int | None, Callable[[NDArray[np.uint8]], NDArray[Any]]]:
    """The input's name, the batch size it is fixed to, and what turns a batch into it."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise ModelError(f"model {spec.path}: does not take one batch of pictures")
    if (kind := KINDS.get(inputs[0].type)) is None:
        raise ModelError(f"model {spec.path}: takes {inputs[0].type}, not uint8, float or float16")
    size = inputs[0].shape[0]

    def convert(batch: NDArray[np.uint8]) -> NDArray[Any]:
        return to_input(batch, spec, kind)

    return inputs[0].name, size if isinstance(size, int) and size > 0 else None, convert


def to_input(batch: NDArray[np.uint8], spec: ModelSpec, kind: type[Any]) -> NDArray[Any]:
    """uint8 (B, H, W, 3) BGR as the file's own input: layout, colour order, (x - mean) / std."""
    count, height, width, _ = batch.shape
    shape = (count, height, width, 3) if spec.nhwc else (count, 3, height, width)
    whole = np.empty(shape, kind)
    planes = np.moveaxis(whole, 3, 1) if spec.nhwc else whole
    plain = not any(spec.mean) and set(spec.std) == {1.0}
    for n, (mean, std) in enumerate(zip(spec.mean, spec.std)):
        plane = batch[..., 2 - n if spec.rgb else n]
        planes[:, n] = plane if plain else (plane - np.float32(mean)) * np.float32(1 / std)
    return whole


def _reason(error: Exception) -> str:
    """ONNX Runtime's message without its code and where in its source, and on one line."""
    text = SOURCE.sub("", " ".join(str(error).split()))
    return text.rpartition(" : ")[2][:200] or "no reason given"

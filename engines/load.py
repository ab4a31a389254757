"""From a model file to a network that is known to run."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from engines import cuda
from engines.asked import check_place
from engines.base import (
    Arrays,
    Container,
    ModelSpec,
    Network,
    Options,
    Precision,
    Task,
    Unavailable,
)
from engines.identify import identify, read
from realtime.errors import ModelError, UsageError
from realtime.skeleton import JOINT_COUNT

PACKAGE = Path(__file__).parent
PRECISIONS = ("auto", *(name for name in get_args(Precision) if name != "auto"))
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backend:
    """What an engine can run, and how it is made; make imports the engine's packages."""

    containers: tuple[Container, ...]
    devices: tuple[str, ...]
    make: Callable[[ModelSpec, bytes, Options], Network]
    install: str
    tasks: tuple[Task, ...] = ("detector", "pose")

    def runs(self, spec: ModelSpec) -> bool:
        """Whether it has to do with such files and such networks."""
        return spec.container in self.containers and spec.task in self.tasks


def _openvino(spec: ModelSpec, data: bytes, options: Options) -> Network:
    from engines.openvino import OpenvinoNetwork

    return OpenvinoNetwork(spec, data, options)


def _onnxruntime(spec: ModelSpec, data: bytes, options: Options) -> Network:
    from engines.onnxruntime import OnnxruntimeNetwork

    return OnnxruntimeNetwork(spec, data, options)


def _torch(spec: ModelSpec, data: bytes, options: Options) -> Network:
    if spec.task == "detector" and spec.container == "safetensors":
        from engines.torch_detectors import TorchDetector

        return TorchDetector(spec, data, options)
    from engines.torch import best

    return best(spec, data, options)


def _tensorrt(spec: ModelSpec, data: bytes, options: Options) -> Network:
    from engines.tensorrt import TensorrtNetwork

    return TensorrtNetwork(spec, data, options)


BACKENDS = {
    "openvino": Backend(("onnx",), ("cpu",), _openvino, "pip install openvino"),
    "onnxruntime": Backend(("onnx",), ("cpu", "cuda"), _onnxruntime, "pip install onnxruntime"),
    "torch": Backend(
        ("safetensors", "onnx"), ("cpu", "cuda"), _torch, 'pip install "posestream[torch]"'
    ),
    "tensorrt": Backend(
        ("onnx",), ("cuda",), _tensorrt, 'pip install "posestream[tensorrt]"', ("pose",)
    ),
}
PREFERENCE = {
    "cuda": ("tensorrt", "torch", "onnxruntime"),
    "cpu": ("openvino", "onnxruntime", "torch"),
}
"""The engines that --engine auto tries on each kind of device, the fastest first."""


def load(
    model: ModelSpec | Path,
    task: Task,
    engine: str = "auto",
    precision: Precision = "auto",
    compute: str = "auto",
    threads: int | None = None,
    streams: int = 1,
) -> Network:
    """A network that has run on a black picture and on noise with results of the right shape.

    engine, precision and compute are what is asked for ("auto" chooses); the network says what
    it became. Where the engine asked for has no networks of this task, auto chooses, and a line
    says so.
    threads: of the CPU for one call. streams: see Options. Raises UsageError for values that do
    not exist, ModelError where the file, the engine or the device cannot be used.
    """
    check_options(engine, precision, compute, threads)
    spec = model if isinstance(model, ModelSpec) else identify(model)
    if spec.task != task:
        raise ModelError(
            f"model {spec.path}: {spec.name} is a {spec.task} network; give it with --{spec.task} "
            f"and a {task} network with --{task}"
        )
    notes: list[str] = []
    if engine != "auto" and (lacking := lacks(engine, task)):
        logger.warning("%s; %s runs on what auto chooses", lacking, spec.name)
        notes.append(lacking)
        engine = "auto"
    tries = _tries(spec, engine, compute)
    data = read(spec.path)
    if hashlib.sha256(data).hexdigest() != spec.sha256:
        raise ModelError(f"model {spec.path}: changed while it was being opened; start again")
    for name, place in tries:
        try:
            network = _tried(name, spec, data, Options(precision, place, threads, streams))
        except ImportError as error:
            notes.append(f"engine {name} is not installed ({error}); {BACKENDS[name].install}")
        except ModelError as error:
            # On a GPU much can go wrong that says nothing about the file: the CPU is tried as well.
            if not isinstance(error, Unavailable) and (place == "cpu" or len(tries) == 1):
                raise
            notes.append(str(error))
            if len(tries) > 1:
                logger.warning("engine %s cannot be used: %s", name, notes[-1])
        except Exception as error:
            if place == "cpu" and isinstance(error, MemoryError):
                raise ModelError(f"model {spec.path}: too large for the memory here") from error
            if place == "cpu":
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            notes.append(f"engine {name} on {place}: {reason}")
            logger.warning("engine %s cannot be used: %s", name, reason)
        else:
            network.why = _why(network, engine, notes)
            return network
    raise ModelError("; ".join(notes))


def lacks(engine: str, task: Task) -> str:
    """Why an engine has no networks of a task; empty where it has."""
    tasks = BACKENDS[engine].tasks
    return "" if task in tasks else f"engine {engine} runs {' and '.join(tasks)} networks only"


def _tried(name: str, spec: ModelSpec, data: bytes, options: Options) -> Network:
    """A network that has run once. One that cannot is let go: its memory is for the next one."""
    network = BACKENDS[name].make(spec, data, options)
    try:
        _check_outputs(network)
    except BaseException:
        network.close()
        raise
    return network


def _why(network: Network, engine: str, notes: list[str]) -> str:
    """Why this engine, for the log and the report."""
    if engine != "auto":
        return ""
    why = "; ".join(notes) or f"the first choice on {network.device}"
    logger.info("%s runs on %s, %s: %s", network.spec.name, network.engine, network.device, why)
    return why


def check_options(engine: str, precision: str, compute: str, threads: int | None) -> None:
    """Raises UsageError for values of load() that do not exist."""
    if engine != "auto" and engine not in BACKENDS:
        raise UsageError(f"engine {engine!r}: choose auto, {', '.join(BACKENDS)}")
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}: choose {', '.join(PRECISIONS)}")
    check_place(compute, threads)


def _tries(spec: ModelSpec, engine: str, compute: str) -> list[tuple[str, str]]:
    """What to try in turn: engines that run this kind of file, each with a device. One engine
    asked for is the only one. Raises ModelError where there is none."""
    able = [name for name, backend in BACKENDS.items() if backend.runs(spec)]
    if engine != "auto" and engine not in able:
        raise ModelError(
            f"model {spec.path}: engine {engine} does not run {spec.container} files; "
            f"use --engine {' or '.join(able)}"
        )
    places = (["cuda"] if cuda.count() else []) + ["cpu"] if compute == "auto" else [compute]
    tries = [
        (name, place)
        for place in places
        for name in PREFERENCE["cpu" if place == "cpu" else "cuda"]
        if name in able and engine in ("auto", name)
    ]
    if not tries and compute == "auto":
        raise ModelError(f"engine {engine}: needs an NVIDIA GPU, none is found; use --engine auto")
    if not tries:
        raise ModelError(
            f"model {spec.path}: engine {engine} does not run {spec.container} files on {compute}; "
            f"use --compute {' or '.join(BACKENDS[engine].devices)}"
        )
    if compute not in ("auto", "cpu"):
        _check_gpu(engine, compute)
    return tries


def _check_gpu(engine: str, compute: str) -> None:
    """Raise ModelError where this GPU is not there, before each engine says so in its words."""
    count, number = cuda.count(), int(compute.partition(":")[2] or 0)
    if not count:
        other = engine == "auto" or "cpu" in BACKENDS[engine].devices
        advice = "use --compute cpu" if other else f"engine {engine} needs one"
        raise ModelError(f"compute {compute}: no NVIDIA GPU found; {advice}")
    if number >= count:
        raise ModelError(f"compute {compute}: found GPUs up to cuda:{count - 1}; use one of them")


def _check_outputs(network: Network) -> None:
    """Raise ModelError unless a black picture and noise give finite arrays of the format's shape:
    what overflows in low precision does so where there is something to see."""
    spec = network.spec
    width, height = spec.input_wh
    pictures = np.zeros((2, height, width, 3), np.uint8)
    pictures[1] = np.random.default_rng(0).integers(0, 256, pictures[1].shape)
    outputs = network(pictures)
    if not OUTPUTS[spec.format](outputs):
        got = ", ".join(str(array.shape) for array in outputs)
        raise ModelError(f"model {spec.path}: outputs {got} are not those of a {spec.format} net")
    if not all(np.isfinite(array).all() for array in outputs):
        raise ModelError(f"model {spec.path}: its outputs are not finite in {network.precision}")


def _grids(outputs: Arrays, *channels: int) -> bool:
    shapes = [array.shape for array in outputs]
    return (
        [s[:2] for s in shapes] == [(2, c) for c in channels]
        and len({s[2:] for s in shapes}) == 1
        and len(shapes[0]) == 4
        and min(shapes[0]) > 0
    )


def _levels(outputs: Arrays) -> bool:
    """As many (2, N, 80) as (2, N, 32), with the same N."""
    if any(array.ndim != 3 or len(array) != 2 for array in outputs):
        return False
    scores, sides = (sorted(a.shape[1] for a in outputs if a.shape[2] == n) for n in (80, 32))
    return bool(scores) and scores == sides and len(outputs) == 2 * len(scores)


OUTPUTS: dict[str, Callable[[Arrays], bool]] = {
    "heatmaps": lambda a: _grids(a, JOINT_COUNT),
    "centers": lambda a: _grids(a, 1, 4),
    "rtmdet": lambda a: bool(a) and a[0].ndim == 3 and len(a[0]) == 2 and a[0].shape[2] == 5,
    "yolox": lambda a: len(a) == 1 and a[0].ndim == 3 and len(a[0]) == 2 and a[0].shape[2] == 85,
    "nanodet": _levels,
}
"""For each format, whether the outputs for two pictures have its shape."""


def find_default(task: Task) -> Path | None:
    """The bundled network for a task, None when this installation has none."""
    return _first(PACKAGE / "weights" / f"{task}.onnx")


def find_tiny(task: Task) -> Path | None:
    """The tiny test network for a task: in an installed package, or in the source tree."""
    name = f"tiny_{task}.onnx"
    return _first(PACKAGE / "tiny" / name, PACKAGE.parent / "tests" / "data" / name)


def _first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)

"""How a network is run: one small interface, whatever the backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from realtime.errors import ModelError
from realtime.geometry import CROP_PADDING, narrow_width

Task = Literal["detector", "pose"]
Format = Literal["rtmdet", "yolox", "nanodet", "centers", "heatmaps"]
Grid = Literal["pixel_centre", "corner", "udp"]
Container = Literal["onnx", "safetensors"]
Precision = Literal["auto", "f32", "bf16", "f16", "int8"]
Part = TypeVar("Part")
STEP = 64
"""Pictures of networks that see all places alike may be smaller by so many pixels: ours halve them
six times at most."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model file expects and gives; known by its SHA-256 or written in its metadata.

    input_wh: network input in pixels. batch: the batch size the file is fixed to, None for any.
    rgb: the file wants RGB instead of BGR. mean, std: (x - mean) / std per channel in the file's
    own channel order, on 0..255, done inside the graph by the backend; identity where the file
    has its normalisation inside. Frames and crops always arrive as uint8 (B, H, W, 3) BGR.
    nhwc: the file's own input is NHWC (else NCHW).
    grid (pose): where heatmap cell p lies in the crop: "pixel_centre" (p + 0.5) * s - 0.5,
    "corner" p * s, "udp" p * (W - 1) / (w - 1).
    sigma (pose): of the Gaussian targets, in heatmap cells.
    padding (pose): how much larger than the person box the crop is that the network expects.
    narrow (pose): whether it has learned narrow crops as well (realtime.geometry.narrow_columns).
    container: the kind of file. verified: its SHA-256 is that of a known or bundled file.
    """

    name: str
    task: Task
    format: Format
    input_wh: tuple[int, int]
    path: Path
    sha256: str
    batch: int | None = None
    rgb: bool = False
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    nhwc: bool = False
    grid: Grid = "pixel_centre"
    sigma: float = 2.0
    padding: float = CROP_PADDING
    narrow: bool = False
    licence: str = ""
    container: Container = "onnx"
    verified: bool = False


class Unavailable(ModelError):
    """This machine, or this kind of network, is not one the engine can serve; another may."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a network is to run. compute: "auto", "cpu", "gpu", "cuda" or "cuda:N". threads: of
    the CPU for one call, None lets the backend choose. streams: batches that are computed at the
    same time and share the threads, where a network has ``begin``."""

    precision: Precision = "auto"
    compute: str = "auto"
    threads: int | None = None
    streams: int = 1


class Begun(Protocol):
    """A batch that is being computed. ready: whether outputs() need not wait for it."""

    @property
    def ready(self) -> bool: ...

    def outputs(self) -> list[NDArray[np.float32]]:
        """As Network.__call__ of the batch; the same whenever asked. Raises ModelError."""
        ...


Begin = Callable[[NDArray[np.uint8]], Begun]
"""Starts the computation of a batch, which must not change before its outputs are there; waits
where too many are on their way. What networks with Options.streams above 1 may have as ``begin``.
"""


class Network(Protocol):
    """A network ready to run. Not thread-safe: one thread calls one network.

    engine, precision, device: what really runs, for the report. why: why this engine was chosen,
    empty when it was asked for by name.
    """

    spec: ModelSpec
    engine: str
    precision: str
    device: str
    why: str

    def __call__(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Run uint8 (B, H, W, 3) BGR, any B >= 0; the outputs (B, ...) float32 in file order.

        The result of a batch equals the results one by one up to rounding. The caller may reuse
        batch afterwards. Raises ModelError.
        """
        ...

    def close(self) -> None:
        """Let go what it computes with, at once, whoever still refers to the network: a run is a
        cycle of references, which Python may take up late. Calls raise ModelError from then on;
        closing again does nothing."""
        ...


def opened(part: Part | None, spec: ModelSpec) -> Part:
    """What a network computes with. Raises ModelError where close() has let it go."""
    if part is None:
        raise ModelError(f"{spec.name}: is closed")
    return part


def check_batch(
    spec: ModelSpec, batch: NDArray[np.uint8], size_step: int = 0, narrow: bool = False
) -> None:
    """Raise ModelError unless batch is uint8 (B, H, W, 3) of the size the network takes, or of a
    smaller one where there is a step, see size_step_of, or narrow where it takes that, see
    takes_narrow."""
    full = spec.input_wh[::-1]
    least = narrow_width(spec.input_wh)
    if narrow and batch.shape[2:3] == (least,):
        full = full[0], least
    fits = batch.ndim == 4 and batch.shape[3] == 3 and batch.dtype == np.uint8
    if not fits or not all(map(partial(_is_length, size_step), batch.shape[1:3], full)):
        less = f", or multiples of {size_step} below" if size_step else ""
        raise ModelError(
            f"{spec.name}: expected uint8 (B, {full[0]}, {full[1]}, 3){less}, "
            f"got {batch.dtype} {batch.shape}"
        )


def _is_length(step: int, length: int, full: int) -> bool:
    return length == full or bool(step and 0 < length < full and length % step == 0)


def may_step(spec: ModelSpec) -> bool:
    """Whether the network may take smaller pictures, if its file does not forbid it."""
    return spec.format == "centers" and not spec.batch and not any(n % STEP for n in spec.input_wh)


def step_of(spec: ModelSpec, sizes: Callable[[int, int], Sequence[Sequence[int]]]) -> int:
    """STEP where the network takes smaller pictures and its maps are smaller by as much, else 0.

    sizes: the shapes of the outputs for one picture of a width and height; raises where that is no
    size for the network. See size_step_of.
    """

    def cells(width: int, height: int) -> list[tuple[float, float, int]]:
        return [(width / size[3], height / size[2], size[1]) for size in sizes(width, height)]

    try:
        return STEP if may_step(spec) and cells(STEP, STEP) == cells(*spec.input_wh) else 0
    except (RuntimeError, ValueError, IndexError, ModelError):
        return 0


def size_step_of(network: Network) -> int:
    """Pictures may be smaller than spec.input_wh, by whole multiples of this; 0 where they may not.
    What networks may have as ``size_step``."""
    step: int = getattr(network, "size_step", 0)
    return step


def takes_narrow(network: Network) -> bool:
    """Whether crops may be narrow as well, see realtime.geometry.narrow_width. What networks may
    have as ``narrow``."""
    narrow: bool = getattr(network, "narrow", False)
    return narrow


Arrays = list[NDArray[np.float32]]
Json = dict[str, Any]

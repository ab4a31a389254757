"""From pictures to joints on one device: crops, network and peaks, of which only joints come back.

A crop is 147 kB and its heatmaps are 209 kB, its joints 0.2 kB. On a GPU pictures go up through
pinned memory, all work is on one stream of its own, and network and peaks are one CUDA graph for
each of a few batch sizes. These parts have not been executed by their authors, who have no GPU; a
network that has them compares itself with the plain way before it uses them (trusted).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engines import selfcheck
from engines.base import ModelSpec, Network
from engines.torch_decode import Peaks
from realtime import geometry
from realtime.decode import Method, cells_to_crop
from realtime.errors import ModelError, OutOfMemory
from realtime.records import Float, Image
from realtime.skeleton import JOINT_COUNT

BUCKETS = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes of CUDA graphs; what is missing to one is filled with what was there before."""
SLOTS = 3
"""Pinned buffers: while one is filled, others may still be on their way."""

Heatmaps = Callable[[Tensor], Tensor]
logger = logging.getLogger(__name__)


def trusted(network: Network, locate: Locate) -> Locate | None:
    """locate, where it finds the joints that network finds in crops cut by the CPU."""
    name = network.spec.name
    try:
        found = selfcheck.located(network, locate)
    except ModelError as error:
        logger.warning("%s; crops are cut on the CPU", error)
        return None
    except Exception as error:  # noqa: BLE001 - of code that few GPUs have seen
        logger.warning("%s: %s: %s; crops are cut on the CPU", name, type(error).__name__, error)
        return None
    if not found.good:
        doubt = "crops of the GPU are not known to give the same joints, so the CPU cuts"
        logger.warning("%s: %s: %s", name, doubt, found)
        return None
    logger.info("%s: all on the GPU: %s", name, found)
    return locate


@contextmanager
def explained(spec: ModelSpec) -> Iterator[None]:
    """Turns what PyTorch raises into one line: OutOfMemory or ModelError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        advice = "use a smaller batch or --compute cpu"
        raise OutOfMemory(f"{spec.name}: GPU memory is full; {advice}") from error
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"{spec.name}: PyTorch failed: {reason}") from error


@dataclass(frozen=True, slots=True)
class _Sent:
    """What crops are cut from, on the device. pictures: uint8 (H, W, 3) by number. to_grid
    (M, 2, 3): see _to_grid. picture_of (M,): the number of each one's picture, ascending."""

    pictures: dict[int, Tensor]
    to_grid: Tensor
    picture_of: NDArray[np.int64]


class Locate:
    """Finds joints of people in pictures. Not thread-safe.

    heatmaps: pixels float32 (B, 3, H, W) BGR in 0..255 to heatmaps float32 (B, 17, h, w), on place.
    graphs: whether CUDA graphs are made of it. most: crops in one call.
    """

    def __init__(
        self,
        spec: ModelSpec,
        heatmaps: Heatmaps,
        place: torch.device,
        graphs: bool = True,
        most: int = BUCKETS[-1],
    ) -> None:
        self._spec, self._heatmaps, self._place, self._most = spec, heatmaps, place, most
        gpu = place.type == "cuda"
        self._stream = torch.cuda.Stream(place) if gpu else None  # type: ignore[no-untyped-call]
        self._pinned = _Pinned() if gpu else None
        self._graphs: dict[tuple[int, Method], _Graph] = {}
        self._use_graphs = gpu and graphs
        self._peaks: dict[Method, Peaks] = {}
        width, height = spec.input_wh
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        self._x, self._y = (n.reshape(-1, 1).float().to(place) for n in (x, y))

    def __call__(
        self,
        pictures: Sequence[Image],
        to_crop: Float,
        picture_of: NDArray[np.int64],
        method: Method,
    ) -> tuple[Float, Float]:
        """Joints (M, 17, 2) in crop pixels and scores (M, 17), as realtime.decode.decode gives them
        for the crops that realtime.crop.cut makes.

        pictures: uint8 (H, W, 3) BGR of any sizes. to_crop (M, 2, 3): picture to crop, of
        spec.input_wh. picture_of (M,): which picture each belongs to, in ascending order. Raises
        ModelError.
        """
        if not len(to_crop):
            return np.zeros((0, JOINT_COUNT, 2), np.float32), np.zeros((0, JOINT_COUNT), np.float32)
        with explained(self._spec), torch.inference_mode(), self._working():
            sent = self._sent(pictures, geometry.invert(to_crop), picture_of)
            found = None
            while found is None:  # not within the clause, whose exception holds what was computed
                try:
                    found = self._read_all(sent, method)
                except torch.OutOfMemoryError:
                    most = min(self._most, len(to_crop))
                    if most < 2:
                        raise
                    self._most = (most + 1) // 2
                    self._graphs, self._use_graphs = {}, False
                    told = self._spec.name, self._most
                    logger.warning("%s: GPU memory is full; going on with %d at once", *told)
            cells, scores = found
        in_crop = geometry.apply(self._cells_to_crop, cells.reshape(-1, 2))
        return in_crop.reshape(cells.shape), scores

    def _working(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._stream) if self._stream else nullcontext()

    # ---- crops --------------------------------------------------------------------------------

    def _sent(
        self, pictures: Sequence[Image], from_crop: Float, picture_of: NDArray[np.int64]
    ) -> _Sent:
        """The pictures in which somebody is, each once, and where the crops lie in them."""
        sizes = np.array([p.shape[1::-1] for p in pictures], np.float32)[picture_of]
        to_grid = torch.from_numpy(_to_grid(from_crop, sizes)).to(self._place)
        wanted = np.unique(picture_of).tolist()
        return _Sent({n: self._upload(pictures[n]) for n in wanted}, to_grid, picture_of)

    def _cut(self, sent: _Sent, chosen: slice) -> Tensor:
        """Crops float32 (n, 3, H, W) of whole numbers 0..255, black outside of their pictures."""
        to_grid, picture_of = sent.to_grid[chosen], sent.picture_of[chosen]
        parts = []
        for number in np.unique(picture_of).tolist():
            first, end = np.searchsorted(picture_of, (number, number + 1)).tolist()
            parts.append(self._warped(sent.pictures[number], to_grid[first:end]))
        return torch.cat(parts)

    def _warped(self, picture: Tensor, to_grid: Tensor) -> Tensor:
        """Crops (n, 3, H, W) of a picture uint8 (H, W, 3), bilinear and rounded as cv2 does."""
        width, height = self._spec.input_wh
        # Not as a product of matrices, in which a GPU may round to TF32: several pixels.
        across, down, moved = to_grid[:, None].unbind(3)
        grid = (self._x * across + self._y * down + moved).reshape(-1, height, width, 2)
        planes = picture.permute(2, 0, 1).float()[None].expand(len(grid), -1, -1, -1)
        # With align_corners=True cuDNN would copy the expanded picture.
        return F.grid_sample(planes, grid, "bilinear", "zeros", align_corners=False).round()

    def _upload(self, picture: Image) -> Tensor:
        if self._pinned:
            return self._pinned.upload(picture, self._place)
        return torch.tensor(np.ascontiguousarray(picture), device=self._place)

    # ---- joints -------------------------------------------------------------------------------

    def _read_all(self, sent: _Sent, method: Method) -> tuple[Float, Float]:
        """As _read, of any number; no more crops are made at once than go into one call."""
        starts = range(0, len(sent.to_grid), self._most)
        chosen = [slice(at, at + self._most) for at in starts]
        parts = [self._read(self._cut(sent, some), method) for some in chosen]
        cells, scores = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        return cells, scores

    def _read(self, crops: Tensor, method: Method) -> tuple[Tensor, Tensor]:
        """Joints (n, 17, 2) in cells and scores (n, 17)."""
        if method not in self._peaks:
            self._peaks[method] = Peaks(method, self._spec.sigma, self._place)
        graph = self._graph(crops, method) if self._use_graphs else None
        return graph(crops) if graph else self._plain(crops, method)

    def _graph(self, crops: Tensor, method: Method) -> _Graph | None:
        """The one for so many crops; None, from then on, where it cannot be made. What had been
        made of it is free by then, as it is not within the clause that the plain way is tried."""
        size = next(bucket for bucket in BUCKETS if bucket >= len(crops))
        try:
            if (size, method) not in self._graphs:
                self._graphs[size, method] = _Graph(lambda x: self._plain(x, method), crops, size)
        except RuntimeError as error:
            self._use_graphs = False
            reason = str(error).splitlines()[0][:200]
            logger.warning("%s runs without CUDA graphs: %s", self._spec.name, reason)
            return None
        return self._graphs[size, method]

    def _plain(self, crops: Tensor, method: Method) -> tuple[Tensor, Tensor]:
        heatmaps = self._heatmaps(crops)
        map_wh = heatmaps.shape[3], heatmaps.shape[2]
        self._cells_to_crop = cells_to_crop(self._spec.grid, map_wh, self._spec.input_wh)
        return self._peaks[method](heatmaps)


def _to_grid(from_crop: Float, sizes_wh: Float) -> Float:
    """Affines (M, 2, 3) from the pixels of crops to where grid_sample looks in pictures of these
    sizes (M, 2), -1..1 from edge to edge. On the CPU, since a size that goes to the GPU by itself
    waits for all that is on its way there."""
    grid = from_crop * (2 / sizes_wh)[:, :, None]
    grid[:, :, 2] += 1 / sizes_wh - 1
    return grid.astype(np.float32)


_CAPTURE = Lock()
"""Held from the first run of a function until its graph is recorded. PyTorch records one graph at a
time in a process, and waits for the whole GPU before; to wait for a GPU on which another thread is
recording fails, and so does that recording."""


class _Graph:
    """A function of batches of one size as a CUDA graph."""

    def __init__(
        self, run: Callable[[Tensor], tuple[Tensor, Tensor]], like: Tensor, size: int
    ) -> None:
        with _CAPTURE:
            self._input = torch.zeros((size, *like.shape[1:]), device=like.device)
            # Libraries choose their ways and take their memory before the capture.
            for _ in range(3):
                run(self._input)
            self._graph = torch.cuda.CUDAGraph()
            # Other threads go on using the GPU meanwhile. PyTorch's own stream for this is that of
            # the GPU which recorded first.
            stream = torch.cuda.Stream(like.device)  # type: ignore[no-untyped-call]
            # It waits for the GPU before it records.
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._outputs = run(self._input)

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs of a batch of at most the size; copies."""
        self._input[: len(batch)].copy_(batch)
        self._graph.replay()
        cells, scores = self._outputs
        return cells[: len(batch)].clone(), scores[: len(batch)].clone()


class _Pinned:
    """Buffers in pinned memory, used in turn: one is filled while others are on their way."""

    def __init__(self) -> None:
        self._slots: list[tuple[Tensor, torch.cuda.Event] | None] = [None] * SLOTS
        self._next = 0

    def upload(self, picture: Image, place: torch.device) -> Tensor:
        """A picture uint8 (H, W, 3) on the device, after the current stream has come so far."""
        slot = self._slots[self._next]
        if slot is None or slot[0].numel() < picture.size:
            buffer = torch.empty(picture.size, dtype=torch.uint8, pin_memory=True)
            slot = buffer, torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._slots[self._next] = slot
        self._next = (self._next + 1) % SLOTS
        buffer, gone = slot
        gone.synchronize()  # the copy that was made of it before
        held = buffer[: picture.size].view(picture.shape)
        np.copyto(held.numpy(), picture)  # pictures are read-only, which from_numpy warns of
        there = held.to(place, non_blocking=True, copy=True)
        gone.record()
        return there

"""Train the two tiny networks of the demo scene and write them as ONNX files.

They exist so that every demo, example and fault test runs real inference from a file of less than
1 MB. They know the demo scene only; they are no use on photographs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from time import process_time
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from engines.torch import has_bf16
from realtime import atomic
from train import tiny_data as data
from train.detector_loss import box_loss, centre_loss
from train.export import to_onnx
from train.muon import Muon
from train.tiny_nets import TinyDetector, TinyPose

logger = logging.getLogger(__name__)

FIRST_SEED = 1000
"""Of the training scenes; those below are for demos, tests and measurements, never trained on."""
EACH = 5
"""Frames of a scene with people; one more shows nobody."""
POOL = 1800
"""Renders from which samples are drawn. With these alone the detector knows them by heart: it finds
98 % of their people and 92 % of others."""
FRESH = {"detector": 1, "pose": 2}
"""Steps after which the oldest render gives way to a new one."""

Batch = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How one network is trained: first so many steps on small pictures, which cost a third, then
    steps on whole ones. rate: peak of the learning rate; seed: of everything random."""

    small_steps: int
    steps: int
    batch: int
    rate: float
    seed: int


# ---- data ---------------------------------------------------------------------------------------


T = TypeVar("T")


def pools(items: Iterator[T], size: int, every: int) -> Iterator[list[T]]:
    """Endless: the items to draw from in each step, size of them, always the same list. Every so
    many steps the oldest is replaced by the next one while there are more."""
    pool = list(islice(items, size))
    for step in count(1):
        yield pool
        if step % every == 0 and (fresh := next(items, None)) is not None:
            pool[(step // every - 1) % len(pool)] = fresh


def detector_batches(drawn: Iterator[list[data.Render]], plan: Plan) -> Iterator[Batch]:
    """images, centres, counted, edges, share; see tiny_data.DetectorSample."""
    rng = np.random.default_rng(plan.seed)
    for step, renders in enumerate(drawn):
        size_wh = (192, 128) if step < plan.small_steps else data.DETECTOR_WH
        chosen = rng.integers(len(renders), size=plan.batch)
        samples = [data.detector_sample(renders[n], rng, size_wh) for n in chosen]
        yield (
            _stack([s.image for s in samples]),
            _stack([s.centres for s in samples])[:, None],
            _stack([s.counted for s in samples])[:, None],
            _stack([s.edges for s in samples]),
            _stack([s.share for s in samples])[:, None],
        )


def pose_batches(
    drawn: Iterator[list[tuple[data.Render, list[int]]]], plan: Plan
) -> Iterator[Batch]:
    """crops, heatmaps of people of whom enough is seen, which seen() says of each render."""
    rng = np.random.default_rng(plan.seed)
    for step, pool in enumerate(drawn):
        size_wh = (96, 128) if step < plan.small_steps else data.POSE_WH
        people = [(render, n) for render, some in pool for n in some]
        chosen = rng.integers(len(people), size=plan.batch)
        samples = [data.pose_sample(people[n][0], people[n][1], rng, size_wh) for n in chosen]
        yield _stack([s.crop for s in samples]), _stack([s.heatmaps for s in samples])


def seen(render: data.Render) -> tuple[data.Render, list[int]]:
    """A render, and of whom in it enough is seen to learn from."""
    heights = render.boxes_xyxy[:, 3] - render.boxes_xyxy[:, 1]
    return render, np.flatnonzero((render.visible_share >= 0.3) & (heights >= 30)).tolist()


def _stack(arrays: list[Any]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


# ---- losses -------------------------------------------------------------------------------------


def detector_loss(net: TinyDetector, batch: Batch) -> Tensor:
    """Focal loss of the centres (Zhou et al. 2019, eq. 1) and -ln IoU of the sizes."""
    images, centres, counted, edges, share = batch
    logits, sizes = net.logits(images)
    centre = centre_loss(logits[:, 0].float(), centres[:, 0], counted[:, 0])
    return centre + 2 * box_loss(sizes.float(), edges, share[:, 0])


def pose_loss(net: TinyPose, batch: Batch) -> Tensor:
    """Cross-entropy with the heatmaps as probabilities.

    Its minimum is the expected heatmap, as of the squared error, but it does not stall at zero.
    Weights for cells near a joint would move that minimum: broad peaks, high scores everywhere.
    """
    crops, heatmaps = batch
    logits = net.logits(crops).float()
    return 1000 * nn.functional.binary_cross_entropy_with_logits(logits, heatmaps)


# ---- training -----------------------------------------------------------------------------------


def train(
    net: nn.Module, loss_of: Callable[[Any, Batch], Tensor], batches: Iterator[Batch], plan: Plan
) -> nn.Module:
    """Train net in place and return it in eval mode.

    Muon, warm-up, cosine to zero; bf16 arithmetic where that is faster, with float32 weights.
    """
    net.train().to(memory_format=torch.channels_last)
    optimiser = Muon(net, plan.rate, weight_decay=1e-3)
    low = has_bf16(torch.device("cpu"))
    total, steps = 0.0, plan.small_steps + plan.steps
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * _schedule(step, steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = loss_of(net, next(batches))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimiser.step()
        total += loss.item()
        if step % 100 == 0 or step == steps:
            logger.info("step %d/%d loss %.4f", step, steps, total / ((step - 1) % 100 + 1))
            total = 0.0
    return net.eval()


def _schedule(step: int, steps: int) -> float:
    warm = max(1, min(100, steps // 10))
    return min(1.0, step / warm) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


# ---- command ------------------------------------------------------------------------------------

PACE = {"detector": (100, 131.25), "pose": (173, 173)}
"""Small and whole steps of 16 samples for each minute asked for, on one core with bf16, renders
included (worked out from both, not timed together); fixed numbers keep runs repeatable."""
RATE = 1e-2
"""Peak of the learning rate."""


def run(folder: Path, minutes: float, seed: int, names: tuple[str, ...]) -> None:
    """Train "detector", "pose" or both, about so many CPU minutes each; write files to folder."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # A tenth of the time; nothing here reads memory before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with atomic.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        began = process_time()
        renders = data.render_scenes(count(FIRST_SEED), EACH)
        small, whole = (round(minutes * pace) for pace in PACE[name])
        plan = Plan(small, whole, 16, RATE, seed)
        torch.manual_seed(seed)
        if name == "detector":
            batches = detector_batches(pools(renders, POOL, FRESH[name]), plan)
            net = train(TinyDetector(), detector_loss, batches, plan)
        else:
            batches = pose_batches(pools(map(seen, renders), POOL, FRESH[name]), plan)
            net = train(TinyPose(), pose_loss, batches, plan)
        path = folder / f"tiny_{name}.onnx"
        write(net, path, f"demo scene, {small} + {whole} steps of {plan.batch}, seed {seed}")
        logger.info("%s: %.0f CPU s", path, process_time() - began)
    logger.info("in all %.0f CPU s", process_time())


def write(net: nn.Module, path: Path, trained: str) -> None:
    """Write a TinyDetector or TinyPose with its description; trained says on what and how long."""
    detector = isinstance(net, TinyDetector)
    width, height = data.DETECTOR_WH if detector else data.POSE_WH
    spec = {
        "name": path.stem,
        "task": "detector" if detector else "pose",
        "format": "centers" if detector else "heatmaps",
        "input_wh": [width, height],
        "nhwc": True,
        "rgb": False,
        "grid": "pixel_centre",
        "sigma": data.SIGMA,
        "licence": "Apache-2.0",
        "trained": trained,
    }
    example = torch.zeros((2, height, width, 3), dtype=torch.uint8)
    outputs = ("centers", "sizes") if detector else ("heatmaps",)
    to_onnx(net, spec, path, example, outputs=outputs, trainable=False)

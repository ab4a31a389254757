"""The command ``slim``: see train.slim."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realtime.command import whole
from realtime.errors import ModelError, UsageError
from train import written

if TYPE_CHECKING:
    from torch import Tensor

    from engines.torch_nets import Widths

HELP = "a pose network with fewer channels in its deconvolutions, for speed"
CROPS, LEAST_CROPS = 400, 64
BATCH = 16


def add_command(commands: Any) -> None:
    """Add the subcommand slim."""
    parser = commands.add_parser("slim", help=HELP, description=HELP)
    add = parser.add_argument
    add("source", type=Path, metavar="FILE", help="a training's folder or its file")
    add("--out", type=Path, required=True, metavar="FILE", help=".safetensors or .onnx")
    add("--widths", type=_widths, required=True, metavar="A,B,C", help="channels: 256,192,128")
    data = "FILE.json[,IMAGES]: people on whom it should stay as it is; repeatable"
    add("--data", action="append", required=True, metavar="SET", help=data)
    add("--crops", type=_crop_count, default=CROPS, help=f"how many of them (default {CROPS})")
    parser.set_defaults(run=run)


def _widths(text: str) -> Widths:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isdecimal() and 0 < int(part) < 1e5 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}: give three numbers of channels")
    return int(parts[0]), int(parts[1]), int(parts[2])


def _crop_count(text: str) -> int:
    if whole(text) < LEAST_CROPS:
        raise argparse.ArgumentTypeError(f"must be {LEAST_CROPS} or more, got {text}")
    return whole(text)


def run(options: argparse.Namespace) -> int:
    """Write the smaller network; the exit code. Raises PosestreamError."""
    written.check_name(options.out, [options.source])
    from engines.torch_nets import widths_of
    from train.pose_weights import pose_net, renormalised
    from train.slim import slimmed
    from train.weights import load_weights

    weights, known = load_weights(options.source)
    if known.get("task", "pose") != "pose":
        raise ModelError(f"model {options.source}: a {known['task']} network, not a pose network")
    about, had = written.described(known, options.source), widths_of(weights)
    if any(new > old for new, old in zip(options.widths, had)):
        raise UsageError(f"--widths: more than the {_listed(had)} of {options.source}")
    net = pose_net(renormalised(weights, known), {}, options.source)
    slim = slimmed(net, options.widths, _crops(options, about))
    written.write(slim, about, options.out, f"slimmed from {_listed(had)}")
    print(f"{options.out}: widths {_listed(options.widths)} of {_listed(had)}")
    return 0


def _listed(widths: Widths) -> str:
    return ",".join(map(str, widths))


def _crops(options: argparse.Namespace, about: dict[str, Any]) -> Iterator[Tensor]:
    """Batches uint8 (B, H, W, 3) BGR of people spread evenly over the sets. Raises InputError,
    UsageError."""
    import numpy as np
    import torch

    from train.augment import pose_sample
    from train.coco import open_set
    from train.config import Config

    config, rng = Config(**about), np.random.default_rng(0)
    people = [person for text in options.data for person in open_set(text).with_joints(1).people]
    if len(people) < LEAST_CROPS:
        raise UsageError(f"--data: {len(people)} people with joints; give {LEAST_CROPS} or more")
    chosen = np.linspace(0, len(people) - 1, min(options.crops, len(people))).astype(int)
    for start in range(0, len(chosen), BATCH):
        part = [people[n] for n in chosen[start : start + BATCH]]
        crops = [pose_sample(person, config, rng, train=False)["crop"] for person in part]
        yield torch.from_numpy(np.stack(crops))

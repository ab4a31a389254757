"""The command ``average``: the mean of several networks of the same shape, as one network.

Networks learned from the same start in another order, from other data or with another loss mostly
lie in one valley of the loss, and their mean is often better than each of them, at no cost when it
runs (Wortsman et al. 2022, "Model soups", arXiv:2203.05482).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realtime.command import between, number
from realtime.errors import ModelError, UsageError
from train import written

if TYPE_CHECKING:
    from torch import Tensor

    from train.pose_weights import Weights

HELP = "the mean of several networks of the same shape, learned from the same start"


def add_command(commands: Any) -> None:
    """Add the subcommand average."""
    parser = commands.add_parser("average", help=HELP, description=HELP)
    add = parser.add_argument
    add("sources", type=Path, nargs="+", metavar="FILE", help="folders of trainings or their files")
    add("--out", type=Path, required=True, metavar="FILE", help="the mean: .safetensors or .onnx")
    add("--shares", type=_shares, metavar="A,B,...", help="of each in the mean (all the same)")
    add("--padding", type=between(1, 4), help="of its crops, where those of the files differ")
    parser.set_defaults(run=run)


def _shares(text: str) -> list[float]:
    shares = [number(part) for part in text.split(",")]
    if not all(0 < share < 1e6 for share in shares):
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers above 0, as in 2,1")
    return shares


def run(options: argparse.Namespace) -> int:
    """Write the mean; the exit code. Raises PosestreamError."""
    sources, shares = options.sources, options.shares or [1.0] * len(options.sources)
    if len(sources) < 2 or len(shares) != len(sources):
        raise UsageError(f"{len(sources)} networks and {len(shares)} shares; give two or more each")
    written.check_name(options.out, sources)
    from train.pose_weights import renormalised
    from train.weights import load_weights

    loaded = [load_weights(source, whole=True) for source in sources]
    given = {"padding": options.padding} if options.padding else {}
    about = [
        written.described(known, source) | given for (_, known), source in zip(loaded, sources)
    ]
    for other, source in zip(about, sources):
        if strange := [name for name in other if other[name] != about[0][name]]:
            advice = "; give --padding" if strange == ["padding"] else ""
            raise ModelError(f"model {source}: unlike {sources[0]} in its {strange[0]}{advice}")
    pose = about[0]["task"] == "pose"
    networks = [renormalised(weights, known) if pose else weights for weights, known in loaded]
    mean = mean_weights(networks, shares, sources)
    written.write(mean, about[0], options.out, "a mean of networks")
    print(f"{options.out}: the mean of {len(sources)} networks, {len(mean)} tensors")
    return 0


def mean_weights(
    networks: Sequence[Weights], shares: Sequence[float], sources: Sequence[Path]
) -> Weights:
    """The weighted mean, by the names of the first network; sources: their files, for messages.

    Statistics of batch normalisations are averaged as well, counters are the first one's, and what
    is only there to learn and not in all is left out. Raises ModelError where shapes differ.
    """
    from train.weights import bare

    by_bare = [{bare(name): tensor for name, tensor in network.items()} for network in networks]
    shared = set.intersection(*map(set, by_bare))
    for network, source in zip(by_bare, sources):
        shapes = {name: tensor.shape for name, tensor in network.items() if name in shared}
        strange = {name for name in network if name not in shared and not _optional(name)}
        strange |= {name for name, shape in shapes.items() if shape != by_bare[0][name].shape}
        if strange:
            raise ModelError(f"model {source}: unlike {sources[0]} in {min(strange)}, among others")
    return {
        name: _mean([network[bare(name)] for network in by_bare], shares)
        for name in networks[0]
        if bare(name) in shared
    }


def _optional(name: str) -> bool:
    """Whether a network is the same without it: of hints, a detector's joints, a counter."""
    from train.pose_weights import COUNTER, ONLY_TO_LEARN

    return name.startswith((ONLY_TO_LEARN, "joints.")) or name.endswith(COUNTER)


def _mean(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0]
    total = sum(shares)
    return sum((s / total * t for s, t in zip(shares, tensors)), 0 * tensors[0])

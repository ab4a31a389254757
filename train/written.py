"""Pose networks and detectors made of others, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from realtime.errors import ModelError, UsageError
from realtime.geometry import CROP_PADDING

if TYPE_CHECKING:
    from engines.base import Format
    from train.pose_weights import Metadata, Weights

SUFFIXES = (".safetensors", ".onnx")
GRID = "pixel_centre"
"""Where heatmaps of our own trainings lie, see engines.base.ModelSpec."""


def check_name(path: Path, sources: Sequence[Path]) -> None:
    """Raise UsageError unless write() can write such a file, which none of the sources is."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out {path}: name it .safetensors or .onnx")
    check_not_source(path, sources)


def check_not_source(path: Path, sources: Sequence[Path]) -> None:
    """Raise UsageError where a file to be written is one that is read, or what is read of the
    folder of a training."""
    from realtime.sinks.outfile import check_not_input

    check_not_input(path, sources)
    if folders := [source for source in sources if source.is_dir()]:
        from train.weights import IN_FOLDER

        check_not_input(path, [folder / name for folder in folders for name in IN_FOLDER])


def described(known: Metadata, source: Path) -> Metadata:
    """What a network must keep to stay what it is: fields of train.config.Config, from what the
    file says about its weights. Raises ModelError."""
    if "input_wh" not in known:
        raise ModelError(f"model {source}: does not say its input size; give a training or .onnx")
    if known.get("grid", GRID) != GRID:
        raise ModelError(
            f"model {source}: heatmaps on grid {known['grid']}; {GRID} alone is written"
        )
    return {
        "task": known.get("task", "pose"),
        "input_wh": tuple(known["input_wh"]),
        "sigma": known.get("sigma", 2.0),
        "padding": known.get("padding", CROP_PADDING),
        "narrow": float(bool(known.get("narrow"))),
    }


def write(weights: Weights, about: Metadata, path: Path, trained: str) -> None:
    """The file; as ONNX without what is only there to learn. Raises ModelError, OutputError."""
    from engines.torch_nets import depth_of
    from realtime import atomic
    from train import checkpoint, finish
    from train.config import Config
    from train.pose_weights import ONLY_TO_LEARN
    from train.trained_network import network_of

    depth = depth_of(weights)  # which a detector has not
    config = Config(**about) if depth is None else Config(**about, depth=depth)
    if path.suffix.lower() == ".safetensors":
        data = checkpoint.weights_bytes(weights, {"config": config.to_json()})
        atomic.replace(path, data)
        return
    of_use = {name: t for name, t in weights.items() if not name.startswith(ONLY_TO_LEARN)}
    net = network_of(of_use, about, path).eval()
    style: Format = "heatmaps" if config.task == "pose" else "centers"
    atomic.replace_by(path, lambda to: finish.write(net, config, to, style, trained))

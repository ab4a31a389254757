"""Weights from any file this project writes, and the weights a training starts from."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from engines.base import Task
from engines.choose import named
from engines.identify import METADATA_KEY, describe, read
from engines.registry import BY_SHA256
from engines.torch_nets import depth_of
from realtime.errors import ModelError, UsageError
from train.checkpoint import MANIFEST
from train.config import Config
from train.pose_weights import (
    COUNTER,
    ONLY_TO_LEARN,
    Metadata,
    Weights,
    of_spec,
    plain,
    renormalised,
)

logger = logging.getLogger(__name__)

IN_FOLDER = ("best.safetensors", "ema.safetensors")
"""What a training's folder, or one checkpoint of it, is read for."""
PICKLES = (".pth", ".pt", ".tar", ".ckpt")


def load_weights(path: Path, whole: bool = False) -> tuple[Weights, Metadata]:
    """The weights in a file and what the file says about them; see train.pose_weights.

    path: .safetensors, .onnx or .mat as written by this package, or the output folder of a
    training (its best epoch). Weights of another network than the pose network keep their names.
    whole: with those that are only there to learn from a teacher. Raises ModelError for a file that
    is missing, damaged or of another kind.
    """
    path = _in_folder(path) if path.is_dir() else path
    kind = path.suffix.lower()
    if kind == ".onnx":
        from train.onnx_weights import read_onnx

        return read_onnx(path)
    if kind == ".mat":
        from train.mat import read_mat

        return read_mat(path)
    if kind == ".safetensors":
        weights, metadata = read_safetensors(path)
        kept = {n: t for n, t in weights.items() if whole or not n.startswith(ONLY_TO_LEARN)}
        return kept, metadata
    read(path)  # raises for one that is missing
    raise ModelError(
        f"model {path}: weights are read from .safetensors, .onnx and .mat; bring others into one "
        "of these with posestream-train import"
    )


def read_safetensors(path: Path) -> tuple[Weights, Metadata]:
    """See load_weights. The config.json of a checkpoint describes its files; one beside other files
    may be of any program."""
    import safetensors.torch

    from engines import containers

    data = read(path)
    try:
        contents = containers.read(data)
        if contents.container != "safetensors":
            raise ValueError(f"{contents.container}, not safetensors; name it so")
        weights = safetensors.torch.load(data)
    except (ValueError, safetensors.SafetensorError) as error:
        raise ModelError(f"model {path}: {error}") from error
    return plain(weights), _describe(path, data, contents.metadata)


@dataclass(frozen=True, slots=True)
class Start:
    """What a training begins from. text: as it was given; weights: by their bare names, normalised
    as ours are; about: what the file says of them."""

    text: str
    weights: Weights
    about: Metadata


def open_start(text: str, task: Task, depth: int = 18) -> Start:
    """The weights that text names for a network of a task; depth: of a pose network.

    text: "imagenet" for torchvision's ResNet weights, a name (file_of), or a file: of load_weights,
    or a public checkpoint that train.importing knows. Raises ModelError.
    """
    about: Metadata = {}
    if text == "imagenet":
        weights = _imagenet(task, depth)
    else:
        weights, about = _read_any(file_of(text, task))
        weights = renormalised(weights, about) if task == "pose" else weights
    return Start(text, {bare(name): tensor for name, tensor in weights.items()}, about)


def begin_from(net: nn.Module, start: Start) -> list[str]:
    """Put the weights of start into net; the names that keep the values they have.

    Every tensor must be there in its shape; only the last layer may differ, and the head where a
    file holds a backbone alone. Raises ModelError.
    """
    state = net.state_dict()
    own = {bare(name): name for name in state}
    given, depth = start.weights, depth_of(set(own))
    if depth and (other := depth_of(given)) not in (None, depth):
        raise ModelError(f"start {start.text}: a ResNet{other}, the network is a ResNet{depth}")
    fits = {own[n]: t for n, t in given.items() if n in own and state[own[n]].shape == t.shape}
    new = [n for n in state if n not in fits and not n.endswith(COUNTER)]
    _check_start(net, given, new, start.text)
    net.load_state_dict(fits, strict=False)
    logger.info("start: %d tensors from %s, %s", len(fits), start.text, _listed(new))
    return new


def file_of(text: str, task: Task) -> Path:
    """The file that text, its path or a name that posestream-engines lists, stands for. Raises
    ModelError for a name of another task or of weights that are not fetched, or changed since."""
    found = named(task, Path(text))
    return found.path if found else Path(text)


def bare(name: str) -> str:
    """A weight's name without what wrappers put before it: trainers, then PoseNet."""
    return name.removeprefix("detector.").removeprefix("pose.").removeprefix("net.")


def _imagenet(task: Task, depth: int) -> Weights:
    if task != "pose":
        raise ModelError("start imagenet: only the pose network has a ResNet; leave --start out")
    from train.imagenet import imagenet_weights
    from train.importing import canonical

    return canonical(imagenet_weights(depth))[0]


def _read_any(path: Path) -> tuple[Weights, Metadata]:
    if path.suffix.lower() not in PICKLES:
        return load_weights(path, whole=True)
    from train.importing import read_public

    return read_public(path)


def _check_start(net: nn.Module, given: Weights, new: list[str], text: str) -> None:
    """Raise ModelError where more is new than may be."""
    last = bare([name for name, _ in net.named_parameters()][-1].rpartition(".")[0])
    free: tuple[str, ...] = getattr(net, "may_be_new", (f"{last}.",))
    if given and all(name.startswith("backbone.") for name in given):
        free += ("deconv.",)
    if wrong := [name for name in new if not bare(name).startswith(free)]:
        raise ModelError(
            f"start {text}: not weights for this network: {len(wrong)} tensors are missing or of "
            f"another shape, {wrong[0]} first"
        )


def _listed(new: list[str]) -> str:
    layers = dict.fromkeys(name.rpartition(".")[0] for name in new)
    return f"new: {', '.join(layers)}" if new else "the whole network"


def _in_folder(folder: Path) -> Path:
    for name in IN_FOLDER:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"model {folder}: no {IN_FOLDER[0]} in this folder; has its training begun?")


def _describe(path: Path, data: bytes, given: dict[str, str]) -> Metadata:
    """From the file itself, the registry, or the options of the checkpoint that it is part of."""
    found: Metadata = {}
    config = path.parent / "config.json"
    in_checkpoint = config.is_file() and (path.parent / MANIFEST).is_file()
    if "config" in given or in_checkpoint:
        found = _of_config(path, given.get("config") or config.read_bytes())
        found["trained"] = f"epoch {given['epoch']}" if "epoch" in given else ""
    if METADATA_KEY in given or hashlib.sha256(data).hexdigest() in BY_SHA256:
        found |= of_spec(describe(path, data))
        found["trained"] = json.loads(given.get(METADATA_KEY, "{}")).get("trained", "")
    return found


def _of_config(path: Path, text: str | bytes) -> Metadata:
    try:
        config = Config.from_json(text)
    except (ValueError, TypeError, AttributeError, RecursionError, UsageError) as error:
        raise ModelError(f"model {path}: the options of its training: {error}") from error
    names = "task", "input_wh", "sigma", "padding"
    return {**{name: getattr(config, name) for name in names}, "narrow": config.narrow > 0}

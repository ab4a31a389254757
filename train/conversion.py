"""Write the pose network as a model file of any kind, and make sure that it is the same network."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engines.identify import METADATA_KEY, describe
from engines.registry import NAMES
from engines.torch_nets import depth_of
from realtime import atomic
from realtime.decode import DEFAULT_METHOD, decode
from realtime.errors import ModelError, UsageError
from realtime.geometry import CROP_PADDING, may_be_narrow
from train.checkpoint import weights_bytes
from train.pose_net import PoseNet
from train.pose_weights import INPUT, Metadata, Weights, pose_net
from train.weights import load_weights

TOLERANCE = {".onnx": 0.02, ".safetensors": 1e-5, ".mat": 1e-5}
"""Largest difference of a heatmap cell, as a share of the highest one: ONNX weights are fp16."""
SURE = 0.2
"""Joints with a lower score are noise, and so is where they are."""
ENGINES = ("openvino", "onnxruntime")
SEEDS = 4
"""Pictures of the demo scene that the files are tried on."""


@dataclass(frozen=True, slots=True)
class Source:
    """A network with its weights by canonical name, and its description without gaps."""

    net: PoseNet
    weights: Weights
    metadata: Metadata


def network_of(weights: Weights, metadata: Metadata, path: Path, given: Metadata) -> Source:
    """The network in a file. given: what the user says of it, before what the file says: in
    a width that has no narrow crops, it has learned none.

    Raises ModelError for weights of another network, UsageError for a name that is taken.
    """
    if metadata.get("task", "pose") != "pose":
        raise ModelError(
            f"model {path}: a {metadata['task']}; only pose networks are exported, its training "
            "has written it as model.onnx"
        )
    net = pose_net(weights, metadata, path)
    size = given.get("input_wh") or metadata.get("input_wh") or (192, 256)
    standard: Metadata = {
        **INPUT,
        "name": f"pose-resnet{depth_of(weights)}-{size[0]}x{size[1]}",
        "input_wh": size,
        "grid": "pixel_centre",
        "sigma": 2.0 * size[1] / 256 if "family" in metadata else 2.0,
        "padding": CROP_PADDING,
        "narrow": False,
        "licence": "",
        "trained": "",
    }
    known = {name: value for name, value in metadata.items() if name in standard}
    if known.get("name") in NAMES:  # it is another file from now on
        del known["name"]
    complete = {**standard, **known, **given}
    complete["input_wh"] = tuple(complete["input_wh"])  # a list where it was written as JSON
    complete["narrow"] = complete["narrow"] and may_be_narrow(complete["input_wh"])
    name = complete["name"]
    if not re.fullmatch(r"[\w.+-]{1,100}", name, re.ASCII) or name in NAMES or name[0] == ".":
        taken = "is the name of a known file" if name in NAMES else "letters, digits and ._+- only"
        raise UsageError(f"--name {name!r}: {taken}; choose another")
    return Source(net, dict(net.net.state_dict()), complete)


def write(source: Source, path: Path) -> str:
    """Write source as .onnx, .safetensors or .mat, by the suffix; a line about the file.

    The file is read back and run on crops; it is put in its place only if the heatmaps are the
    same. Raises OutputError, or ModelError where the file would be another network.
    """
    kind = path.suffix.lower()
    partial = path.with_name(f".{path.stem}.partial{kind}")
    try:
        with atomic.writing(path):
            _write(source, partial, kind)
        result = compare(source, partial, crops(source.metadata["input_wh"]))
        if not result.heatmaps <= TOLERANCE[kind]:  # also NaN
            raise ModelError(
                f"model {path}: not written: run from the file its heatmaps differ by "
                f"{result.heatmaps:.2g} of the highest value (limit {TOLERANCE[kind]:g})"
            )
        with atomic.writing(path):
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return f"{path}: {path.stat().st_size / 1e6:.1f} MB; {result}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """heatmaps: largest difference as a share of the highest value. joints: how many with a score
    of SURE were compared; moved: the farthest of them in crop pixels. ran: what ran the file."""

    heatmaps: float
    joints: int
    moved: float
    ran: str

    def __str__(self) -> str:
        moved = f", {self.joints} joints by {self.moved:.3f} px" if self.joints else ""
        return f"heatmaps differ by {self.heatmaps:.1g} of the highest value{moved} ({self.ran})"


def compare(source: Source, path: Path, pixels: NDArray[np.uint8]) -> Comparison:
    """A file beside its source on crops uint8 (B, H, W, 3), run by every engine that is here."""
    weights, metadata = load_weights(path)
    runs = {"read back": _heatmaps(pose_net(weights, metadata, path), pixels)}
    if path.suffix == ".onnx":
        runs |= _by_engines(path, pixels)
    wanted = _heatmaps(source.net, pixels)
    top = max(float(np.abs(wanted).max()), 1e-9)
    heatmaps = max(float(np.abs(have - wanted).max()) / top for have in runs.values())
    points, scores = _joints(source, wanted)
    sure = scores >= SURE
    moved = [np.linalg.norm(_joints(source, have)[0] - points, axis=2) for have in runs.values()]
    farthest = float(np.max([m[sure].max(initial=0) for m in moved]))
    return Comparison(heatmaps, int(sure.sum()), farthest, ", ".join(runs))


@functools.lru_cache(1)
def crops(input_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """People of the demo scene as the network gets them, uint8 (B, H, W, 3) BGR, B >= 2."""
    from realtime.crop import cut
    from realtime.records import Detections, Frame
    from realtime.scene import Scene
    from train.tiny_data import render

    renders = [render(Scene(seed, 60, (640, 360), 30.0, 2), 30) for seed in range(SEEDS)]
    frames = [Frame(n, 0.0, picture.image) for n, picture in enumerate(renders)]
    people = [
        Detections(picture.boxes_xyxy, np.ones(len(picture.boxes_xyxy), np.float32))
        for picture in renders
    ]
    pixels: NDArray[np.uint8] = cut(frames, people, input_wh, CROP_PADDING).pixels[:8]
    return pixels


def _write(source: Source, path: Path, kind: str) -> None:
    if kind == ".mat":
        from train.mat import write_mat

        write_mat(path, source.weights, source.metadata)
    elif kind == ".safetensors":
        text = json.dumps(_spec(source.metadata), sort_keys=True)
        path.write_bytes(weights_bytes(source.weights, {METADATA_KEY: text}))
        describe(path, path.read_bytes())
    else:
        _write_onnx(source, path)


def _write_onnx(source: Source, path: Path) -> None:
    try:
        from train.export import to_onnx
    except ImportError as error:
        raise ModelError(f"model {path}: ONNX files need the onnx package ({error})") from error
    spec = _spec(source.metadata)
    # The graph does this itself; it is only kept for who reads the weights back.
    spec["inside"] = {name: spec.pop(name) for name in INPUT}
    width, height = source.metadata["input_wh"]
    example = torch.zeros((2, height, width, 3), dtype=torch.uint8)
    try:
        to_onnx(source.net, {**spec, "nhwc": True, "rgb": False}, path, example)
    except ValueError as error:
        raise ModelError(f"model {path}: {error}") from error


def _spec(metadata: Metadata) -> dict[str, Any]:
    return {**metadata, "task": "pose", "format": "heatmaps"}


def _heatmaps(net: PoseNet, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        result: NDArray[np.float32] = net(torch.from_numpy(pixels)).numpy()
    return result


def _by_engines(path: Path, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    from engines import load

    here = [name for name in ENGINES if name in load.BACKENDS and importlib.util.find_spec(name)]
    return {
        name: load.load(path, "pose", engine=name, precision="f32", compute="cpu")(pixels)[0]
        for name in here
    }


def _joints(source: Source, heatmaps: NDArray[np.float32]) -> tuple[Any, Any]:
    known = source.metadata
    return decode(heatmaps, DEFAULT_METHOD, known["grid"], tuple(known["input_wh"]), known["sigma"])

"""From what others publish to a file that the engines run; PyTorch is needed here, not later for
what becomes ONNX."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from engines.published import Published
from realtime.errors import ModelError

NEEDED = {
    "pytorchcv": ("torch", "torchvision", "onnx", "onnxscript"),
    "torchvision": ("torch", "torchvision", "safetensors"),
}
"""The packages that each importer needs."""
POSE_WH = (192, 256)
UNPACKED = 4
"""A zip archive whose content is more than this many times its bound is no archive of weights."""
DAMAGE = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, ValueError
)  # fmt: skip
"""What reading a damaged zip archive raises."""


def check_installed(entry: Published) -> None:
    """Raise ModelError where a package that importing needs is missing; before anything is
    downloaded."""
    missing = [name for name in NEEDED.get(entry.importer, ()) if find_spec(name) is None]
    if missing:
        raise ModelError(
            f"{entry.name}: to convert it, {', '.join(missing)} must be installed: "
            'pip install "posestream[train]"'
        )


def unpacked(entry: Published, part: Path) -> bytes:
    """The published file in a zip archive. Raises ModelError."""
    try:
        with zipfile.ZipFile(part) as archive:
            info = archive.getinfo(entry.member)
            if info.file_size > UNPACKED * entry.size:
                raise ModelError(f"{entry.name}: {entry.member} in the archive is too large")
            return archive.read(info)
    except KeyError:
        raise ModelError(f"{entry.name}: the archive holds no {entry.member}") from None
    except DAMAGE as error:
        raise ModelError(f"{entry.name}: not a zip archive, or a damaged one") from error


def convert(entry: Published, source: Path, target: Path) -> str:
    """Write what the engines run to target; the suffix such a file has. Raises ModelError."""
    return IMPORTERS[entry.importer](entry, source, target)


def _pytorchcv(entry: Published, source: Path, target: Path) -> str:
    """A checkpoint of the pose network, with pytorchcv's names, as self-contained ONNX."""
    import torch

    from train.export import to_onnx
    from train.importing import read_public
    from train.pose_weights import pose_net

    weights, metadata = read_public(source)
    net = pose_net(weights, metadata, source)
    spec = {
        "name": entry.name,
        "task": "pose",
        "format": "heatmaps",
        "input_wh": POSE_WH,
        "nhwc": True,
        "grid": metadata["grid"],
        "sigma": 2.0,
        "licence": entry.licence,
        "trained_on": entry.measured,
    }
    example = torch.zeros((2, POSE_WH[1], POSE_WH[0], 3), dtype=torch.uint8)
    try:
        to_onnx(net, spec, target, example)
    except ValueError as error:  # a weight that does not fit in fp16
        raise ModelError(f"{entry.name}: cannot be converted: {error}") from error
    return ".onnx"


def _torchvision(entry: Published, source: Path, target: Path) -> str:
    """A state dict of one of torchvision's detectors; it runs with PyTorch."""
    import safetensors.torch

    from engines.torch_detectors import BUILD, described, differences
    from train.safe_pickle import load

    weights = load(source)
    if wrong := differences(BUILD[entry.name][0](), weights):
        raise ModelError(f"{entry.name}: the download holds another network: {wrong}")
    kept = {
        name: tensor.contiguous()
        for name, tensor in weights.items()
        if not name.endswith("num_batches_tracked")
    }
    metadata = {"posestream": json.dumps(described(entry.name, entry.licence))}
    target.write_bytes(safetensors.torch.save(kept, metadata))
    return ".safetensors"


IMPORTERS: dict[str, Callable[[Published, Path, Path], str]] = {
    "pytorchcv": _pytorchcv,
    "torchvision": _torchvision,
}

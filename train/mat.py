"""The pose network as a MAT file for MATLAB and Octave, and back bit for bit.

Level 5, not compressed, no classes and no functions: scipy, Octave and MATLAB read it as it is.
Its variables (after the MathWorks example "Human Pose Estimation with Deep Learning"):

- weights: a struct, one single-precision field for each tensor, its name with "_" for ".";
- names, shapes: cells of the original names and sizes in the same order, for what MATLAB cannot
  say: a dot in a name, a vector, a size that ends in 1;
- SkeletonConnectionMap: 19 x 2, one-based joint numbers; JointNames: a cell of 17;
- InputSize [height width 3], ChannelOrder, Mean, Std (of 0..255), HeatmapGrid, HeatmapSigma,
  CropPadding;
- Depth, Layout and Description, a JSON text of all that is known.

Convolution kernels are (output, input, height, width), those of deconvolutions (input, output,
height, width): permute(w, [3 4 2 1]) gives MATLAB's order for both kinds of layers.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engines.identify import read
from realtime import atomic
from realtime.errors import ModelError
from realtime.skeleton import JOINTS, LIMBS
from train.pose_weights import INPUT, Metadata, Weights, check, plain

MAX_FIELD = 63
"""Letters of a name in MATLAB (namelengthmax)."""
LAYOUT = "convolution: output, input, height, width; deconvolution: input, output, height, width"
READ = ("weights", "names", "shapes", "Description")


def write_mat(path: Path, weights: Weights, metadata: Metadata) -> None:
    """Write the weights of a pose network; whole or not at all.

    metadata: see train.pose_weights, with input_wh, grid, sigma and padding. Raises OutputError;
    ModelError for weights of another network.
    """
    from scipy.io import savemat

    depth = check(weights, path)
    known = {**INPUT, **metadata}
    width, height = known["input_wh"]
    content = {
        "weights": {field_of(name): _column(tensor) for name, tensor in weights.items()},
        "names": _cell(list(weights)),
        "shapes": _cell([np.array([tensor.shape], np.float64) for tensor in weights.values()]),
        "SkeletonConnectionMap": np.array(LIMBS, np.float64) + 1,
        "JointNames": _cell(list(JOINTS)),
        "InputSize": np.array([[height, width, 3]], np.float64),
        "ChannelOrder": "RGB" if known["rgb"] else "BGR",
        "Mean": np.array([known["mean"]], np.float64),
        "Std": np.array([known["std"]], np.float64),
        "HeatmapGrid": known["grid"],
        "HeatmapSigma": float(known["sigma"]),
        "CropPadding": float(known["padding"]),
        "Depth": float(depth),
        "Layout": LAYOUT,
        "Description": json.dumps(known, sort_keys=True),
    }
    assert len(content["weights"]) == len(weights), "two names become one field"

    def save(to: Path) -> None:
        savemat(str(to), content, appendmat=False, long_field_names=True, oned_as="column")

    atomic.replace_by(path, save)


def read_mat(path: Path) -> tuple[Weights, Metadata]:
    """The weights and what is known of them; also from a copy that MATLAB or Octave saved (-v7).

    Raises ModelError for a file that is missing, damaged, of another version or not of write_mat.
    """
    from scipy.io import loadmat

    data = read(path)
    if not data.startswith(b"MATLAB 5.0"):
        later = (
            "in MATLAB's -v7.3 form; save it with -v7" if data[:8] == b"MATLAB 7" else "no MAT file"
        )
        raise ModelError(f"model {path}: {later if data else 'an empty file'}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scipy, on variables it cannot read
            content = loadmat(str(path), appendmat=False, variable_names=list(READ))
        weights, metadata = _tensors(content), json.loads(_text(content["Description"]))
    except Exception as error:  # a damaged file fails in more ways than can be listed
        raise ModelError(
            f"model {path}: damaged, or not written by posestream-train export"
        ) from error
    check(weights, path)
    return weights, metadata


def field_of(name: str) -> str:
    """The field that holds the tensor of this name. Raises ValueError where MATLAB has none."""
    field = name.replace(".", "_")
    if (
        not (field.isidentifier() and field.isascii() and len(field) <= MAX_FIELD)
        or field[0] == "_"
    ):
        raise ValueError(f"{name}: no name in MATLAB")
    return field


def _column(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.numpy()
    return array.reshape(-1, 1) if array.ndim < 2 else array


def _cell(values: list[Any]) -> NDArray[np.object_]:
    cell = np.empty((len(values), 1), object)
    cell[:, 0] = values
    return cell


def _tensors(content: dict[str, Any]) -> Weights:
    struct = content["weights"][0, 0]
    shapes = [tuple(int(n) for n in np.ravel(shape)) for shape in content["shapes"].ravel()]
    weights = {}
    for cell, shape in zip(content["names"].ravel(), shapes, strict=True):
        name = _text(cell)
        array = np.ascontiguousarray(struct[field_of(name)])
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        weights[name] = torch.from_numpy(array.reshape(shape).copy())
    return plain(weights)


def _text(value: Any) -> str:
    return str(np.ravel(value)[0])

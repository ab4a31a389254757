"""Which model a file is: by its SHA-256, else by the description written inside it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

from engines import bundled, containers
from engines.base import Format, Grid, Json, ModelSpec, Task
from engines.registry import BY_SHA256, NAMES
from realtime.errors import ModelError
from realtime.geometry import may_be_narrow

METADATA_KEY = "posestream"
OF_TRAINING = "model.onnx"
"""The file to run in the folder of a training, see train.products."""
MAX_BYTES = 1 << 30
ADDRESS = re.compile(r"[a-z]{2,}:[\\/]")
"""How a path begins that was meant to be an address."""
FORMATS = {"detector": ("rtmdet", "yolox", "nanodet", "centers"), "pose": ("heatmaps",)}


def identify(path: Path) -> ModelSpec:
    """What the model file expects and gives.

    Raises ModelError for a file that is missing, damaged, unknown without a description, or one
    that would need other files or could run code. Nothing in the file is executed.
    """
    return describe(path, read(path))


def read(path: Path) -> bytes:
    """The bytes of a model file; raises ModelError."""
    try:
        if path.is_dir():
            made = path / OF_TRAINING
            hint = f"; give {made}" if made.is_file() else ""
            raise ModelError(f"model {path}: a folder, not a file{hint}")
        size = path.stat().st_size
        if not path.is_file():  # one may never end, or wait for ever
            raise ModelError(f"model {path}: a pipe or device, not a file")
        if size > MAX_BYTES:
            raise ModelError(f"model {path}: larger than {MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except FileNotFoundError:
        hint = "see posestream-engines list"
        if ADDRESS.match(str(path)):
            hint = "models are not fetched from addresses: download it first"
        raise ModelError(f"model {path}: no such file; {hint}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"model {path}: cannot be read: {reason}") from error


def describe(path: Path, data: bytes) -> ModelSpec:
    """The spec of a file with this content; raises ModelError."""
    sha256 = hashlib.sha256(data).hexdigest()
    if known := BY_SHA256.get(sha256):
        return replace(known.spec, path=path)
    try:
        contents = containers.read(data)
    except ValueError as error:
        raise ModelError(f"model {path}: {error}") from error
    if contents.external_data:
        raise ModelError(f"model {path}: keeps weights in other files; export it as one file")
    if METADATA_KEY not in contents.metadata and "config" in contents.metadata:
        raise ModelError(
            f"model {path}: weights of a training; give the {OF_TRAINING} that it wrote, or what "
            "posestream-train export makes of them"
        )
    if METADATA_KEY not in contents.metadata:
        raise ModelError(
            f"model {path}: {contents.container} of an unknown network (SHA-256 {sha256[:16]}...) "
            f"without {METADATA_KEY!r} metadata; use a known file (posestream-engines list) or "
            "one exported by posestream-train"
        )
    try:
        given = _checked(json.loads(contents.metadata[METADATA_KEY]), bundled.known(sha256))
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"model {path}: its {METADATA_KEY!r} metadata is wrong: {error}"
        ) from error
    if given["name"] in NAMES:
        raise ModelError(
            f"model {path}: says it is {given['name']} but its SHA-256 is {sha256[:16]}...; the "
            "file is damaged or was changed, get it again"
        )
    verified = sha256 in bundled.BY_SHA256
    return ModelSpec(
        **given, path=path, sha256=sha256, container=contents.container, verified=verified
    )


def _checked(given: Any, better: Json) -> Json:
    """The fields of ModelSpec in the JSON object, or in what is known better, checked; other keys
    are left out."""
    if not isinstance(given, dict):
        raise ValueError("not a JSON object")
    spec = {name: value for name, value in {**given, **better}.items() if name in CHECKS}
    for name in REQUIRED:
        if name not in spec:
            raise ValueError(f"{name} is missing")
    for name, value in spec.items():
        if isinstance(value, list):
            spec[name] = value = tuple(value)
        if not CHECKS[name](value):
            raise ValueError(f"{name} is {str(value)[:60]!r}")
    if spec.get("narrow") and not may_be_narrow(spec["input_wh"]):
        raise ValueError(f"no narrow crops where {spec['input_wh'][0]} is the width")
    if spec["format"] not in FORMATS[spec["task"]]:
        raise ValueError(f"a {spec['task']} with format {spec['format']}")
    return spec


def _numbers(value: Any, low: float, high: float, count: int) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == count
        and all(type(v) in (int, float) and low <= v <= high for v in value)
    )


def _one_of(allowed: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in get_args(allowed)


REQUIRED = ("name", "task", "format", "input_wh")
CHECKS: dict[str, Callable[[Any], bool]] = {
    "name": lambda v: isinstance(v, str) and 0 < len(v) <= 100 and v.isprintable(),
    "task": _one_of(Task),
    "format": _one_of(Format),
    "input_wh": lambda v: _numbers(v, 16, 4096, 2) and all(type(n) is int for n in v),
    "batch": lambda v: v is None or (type(v) is int and 1 <= v <= 1024),
    "rgb": lambda v: type(v) is bool,
    "nhwc": lambda v: type(v) is bool,
    "mean": lambda v: _numbers(v, -1e4, 1e4, 3),
    "std": lambda v: _numbers(v, 1e-3, 1e4, 3),
    "grid": _one_of(Grid),
    "sigma": lambda v: _numbers((v,), 0.1, 32, 1),
    "padding": lambda v: _numbers((v,), 1, 4, 1),
    "narrow": lambda v: type(v) is bool,
    "licence": lambda v: isinstance(v, str) and len(v) <= 1000 and v.isprintable(),
}
assert set(CHECKS) < {f.name for f in fields(ModelSpec)}

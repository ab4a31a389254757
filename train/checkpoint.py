"""Checkpoints of a training run: folders that are there whole or not at all.

DIR/checkpoints/EPOCH-BATCH/ (epochs done, batches done in the next) holds weights.safetensors, the
network; ema.safetensors, its average; state.pt, optimiser and position, which
torch.load(weights_only=True) reads; config.json; and manifest.json with the SHA-256 of each, so
that damage is noticed.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from realtime import atomic
from realtime.errors import InputError, OutputError
from train.config import Config

FOLDER = "checkpoints"
TEMPORARY = ".partial"
KEPT = 2
NAME = re.compile(r"\d{5,}-\d{6,}")
MANIFEST = "manifest.json"
log = logging.getLogger("train")

Weights = dict[str, Tensor]


class Damaged(Exception):
    """A checkpoint that is not what was written."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that a run needs to go on. Weights are on the CPU; state is plain values and
    tensors."""

    config: Config
    weights: Weights
    ema: Weights
    state: dict[str, Any]


def name_of(epoch: int, position: int) -> str:
    """The name of a checkpoint, position batches into epoch (from 0)."""
    return f"{epoch:05d}-{position:06d}"


def names(out: Path) -> list[str]:
    """The checkpoints of a run, the newest last; whether they are good is not looked at."""
    folder = out / FOLDER
    found = (p.name for p in folder.iterdir()) if folder.is_dir() else ()
    return sorted((n for n in found if NAME.fullmatch(n)), key=_order)


def save(out: Path, name: str, point: Checkpoint, keep: str = "") -> Path:
    """Write a checkpoint; older ones but the last two and keep go. Returns its folder.

    At any moment, also of a crash, the checkpoints that names() lists are whole.
    Raises OutputError; those before are intact then.
    """
    folder = out / FOLDER
    place = folder / name
    if place.exists() and not _faults(place):
        return place  # asked to stop just after it was saved
    with atomic.writing(place):
        clean(out)
        temporary = folder / f"{TEMPORARY}-{name}"
        try:
            temporary.mkdir(parents=True)
            _write_all(temporary, _contents(point))
            shutil.rmtree(place, ignore_errors=True)  # a damaged one
            temporary.replace(place)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        atomic.sync_folder(folder)
    for old in names(out)[:-KEPT]:
        if old not in (keep, name):
            shutil.rmtree(folder / old, ignore_errors=True)
    return place


def clean(out: Path) -> None:
    """Remove what a process that was killed while saving has left."""
    for path in (out / FOLDER).glob(f"{TEMPORARY}-*"):
        shutil.rmtree(path, ignore_errors=True)


def load(folder: Path) -> Checkpoint:
    """Read a checkpoint folder. Raises InputError where it is damaged or of another program."""
    try:
        return _load(folder)
    except Damaged as error:
        raise InputError(f"{folder}: {error}; use the checkpoint before it") from None


def config_in(out: Path) -> Config | None:
    """The options of the run in a folder, None where there is none. Raises UsageError."""
    for name in reversed(names(out)):
        try:
            text = (out / FOLDER / name / "config.json").read_text(encoding="utf-8")
            return Config.from_json(text)
        except (OSError, ValueError):  # damaged; newest() says so
            continue
    return None


def newest(out: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, None where there never was one.

    Warns of each damaged one it passes over. Raises InputError when all are damaged.
    """
    found = names(out)
    for name in reversed(found):
        try:
            return _load(out / FOLDER / name)
        except Damaged as error:
            log.warning("warning: %s: %s; going on from the one before", out / FOLDER / name, error)
    if found:
        raise InputError(f"{out}: none of its checkpoints can be read; start again in a new folder")
    return None


def weights_bytes(weights: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file of weights, which may be on any device and in any memory format."""
    plain = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in weights.items()}
    return safetensors.torch.save(plain, metadata)


def read_weights(path: Path) -> Weights:
    """The weights of a safetensors file of a run. Raises InputError."""
    try:
        return safetensors.torch.load(path.read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _contents(point: Checkpoint) -> dict[str, bytes]:
    state = io.BytesIO()
    torch.save(point.state, state)
    return {
        "weights.safetensors": weights_bytes(point.weights),
        "ema.safetensors": weights_bytes(point.ema),
        "state.pt": state.getvalue(),
        "config.json": point.config.to_json().encode(),
    }


def _write_all(folder: Path, contents: dict[str, bytes]) -> None:
    """The files, their manifest last. Raises OSError."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    for name, data in {**contents, MANIFEST: json.dumps(sums, indent=1).encode()}.items():
        atomic.write(folder / name, data)
    atomic.sync_folder(folder)


def _load(folder: Path) -> Checkpoint:
    if fault := _faults(folder):
        raise Damaged(fault)
    try:
        state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder / 'state.pt'}: refused, not of this program: {reason}") from None
    return Checkpoint(
        Config.from_json((folder / "config.json").read_text(encoding="utf-8")),
        safetensors.torch.load((folder / "weights.safetensors").read_bytes()),
        safetensors.torch.load((folder / "ema.safetensors").read_bytes()),
        state,
    )


def _faults(folder: Path) -> str:
    """What is wrong with a checkpoint, empty where nothing is."""
    try:
        sums = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name, wanted in sums.items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != wanted:
                return f"{name} is damaged"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return f"cannot be read: {error}"
    return ""


def _order(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split("-"))


@contextmanager
def lock(out: Path) -> Iterator[None]:
    """Keep other processes from training into out.

    Raises OutputError where another one does; does nothing where the system has no such locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with atomic.writing(out):
        file = (out / ".lock").open("w")
    with file:
        _take(fcntl, file, out)
        yield


def _take(fcntl: Any, file: Any, out: Path) -> None:
    try:
        # A record lock belongs to this process alone: loader processes do not inherit it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise OutputError(
            f"{out}: another process trains there; wait or use another --out"
        ) from None
    except OSError:  # a network file system without locks
        log.warning("warning: %s: cannot be locked; start no second process on it", out)

"""torchvision's ResNet weights trained on ImageNet, fetched once and checked."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

import torch
import torchvision

from realtime import atomic
from realtime.errors import ModelError
from train import safe_pickle

SECONDS = 20.0
"""Longest silence of the server."""
MAX_BYTES = 1 << 28


def imagenet_weights(depth: int) -> dict[str, torch.Tensor]:
    """The first published weights of a ResNet by torchvision's names.

    They come from torchvision's cache folder, or from the address torchvision names. Raises
    ModelError where they are neither there nor can be had, with what to do.
    """
    entry = torchvision.models.get_weight(f"ResNet{depth}_Weights.IMAGENET1K_V1")
    path = fetch(entry.url, Path(torch.hub.get_dir()) / "checkpoints")
    weights: dict[str, torch.Tensor] = safe_pickle.load(path)
    return weights


def fetch(url: str, folder: Path) -> Path:
    """The file that url ends with, in folder, downloaded where it is not there yet.

    Its name ends with the start of its SHA-256: NAME-HASH.pth. Raises ModelError.
    """
    path = folder / url.rpartition("/")[2]
    wanted = path.stem.rpartition("-")[2]
    if path.is_file() and _sha256(path.read_bytes()).startswith(wanted):
        return path
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            data = answer.read(MAX_BYTES)
    except (OSError, ValueError) as error:  # URLError is an OSError
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = getattr(error, "reason", None) or error
        raise ModelError(
            f"start imagenet: {url} cannot be had ({reason}); put that file into {folder}, give "
            "it with --start FILE, or leave --start out"
        ) from error
    if not _sha256(data).startswith(wanted):
        raise ModelError(f"start imagenet: {url} came damaged (wrong SHA-256); try again")
    with atomic.writing(path):
        folder.mkdir(parents=True, exist_ok=True)
    atomic.replace(path, data)
    return path


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

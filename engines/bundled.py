"""The networks that come with the program: what was shipped, to the last bit, and how good it is.

A file damaged on the disk could still be read, and give wrong people. So their SHA-256 are here,
and are compared before anything in the file is looked at. What a file says of itself was written
before it was measured, so that is here as well.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from engines.base import Json
from realtime.errors import ModelError


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file by its content. name, licence: instead of what it says of itself.

    accuracy: what --pose auto and --detector auto go by, an AP as in engines.published; 0 for
    networks that know the demo scene only. measured: the same in words.
    """

    file: str
    sha256: str
    name: str
    licence: str
    accuracy: float = 0.0
    measured: str = "knows the demo scene only"


LICENCE = "Apache-2.0; data: see engines/weights/LICENSE-WEIGHTS"
_ALL = (
    Shipped(
        "detector.onnx",
        "0c949a59bff3c06d465dab3d3060f747f550d0c6e8f7bb58582292c6e18da9cb",
        "posestream-detector",
        LICENCE,
        0.209,
        "AP of people 0.209, of those over 32x32 pixels 0.322, on 416 pictures of COCO val2017",
    ),
    Shipped(
        "pose.onnx",
        "7ae7e616f74153bbe08f44fa3bde340ce4303094d681e55f01c1c53ed4b753eb",
        "posestream-pose",
        LICENCE,
        0.458,
        "AP 0.458 in labelled boxes of 416 pictures of COCO val2017",
    ),
    Shipped(
        "tiny_detector.onnx",
        "cdf1a9a026eecbdfa6647806d10e572d4d9ae37c6a591e52cabd2a0c6b4cccac",
        "tiny_detector",
        "Apache-2.0",
    ),
    Shipped(
        "tiny_pose.onnx",
        "e0dbd83d15e6e796e5a75fcd8469ba2f1e456d1448c30c956c815aed42d5e512",
        "tiny_pose",
        "Apache-2.0",
    ),
)
"""A new bundled network has to be entered here (tests/test_bundled.py says so)."""
BY_FILE = {shipped.file: shipped for shipped in _ALL}
BY_SHA256 = {shipped.sha256: shipped for shipped in _ALL}


def check(path: Path, data: bytes) -> None:
    """Raise ModelError unless data is what was shipped as the bundled network at path."""
    shipped = BY_FILE.get(path.name)
    actual = hashlib.sha256(data).hexdigest()
    if shipped is None or actual != shipped.sha256:
        expected = f"{shipped.sha256[:16]}..." if shipped else "nothing of this name"
        raise ModelError(
            f"model {path}: damaged or changed: SHA-256 {actual[:16]}..., shipped was {expected};"
            " install posestream again"
        )


def known(sha256: str) -> Json:
    """What counts of a bundled network, whatever it says of itself; nothing of other files."""
    if (shipped := BY_SHA256.get(sha256)) is None:
        return {}
    facts: Json = {"name": shipped.name, "licence": shipped.licence}
    return {**facts, "accuracy": shipped.accuracy} if shipped.accuracy else facts

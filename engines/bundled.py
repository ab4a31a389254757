"""The networks that come with the program are what was shipped, to the last bit.

A file damaged on the disk could still be read, and give wrong people. So their SHA-256 are here,
and are compared before anything in the file is looked at.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from engines.identify import read
from realtime.errors import ModelError

SHA256 = {
    "detector.onnx": "0c949a59bff3c06d465dab3d3060f747f550d0c6e8f7bb58582292c6e18da9cb",
    "pose.onnx": "53c5b574bcf1051333961774e6864e50dd05bbb7db710f6e0f3a5beb7666a2fc",
    "tiny_detector.onnx": "b6f150cacc3de7f154a5da408dd7faa058c54ef8d0847b6ff0f04ff19225e17d",
    "tiny_pose.onnx": "a1ac6d9ac51439888cdf401b8454c03256e2c9126265ec9c9cd386a6625ce53e",
}
"""By file name; a new bundled network has to be entered here (tests/test_bundled.py says so)."""


def checked(path: Path) -> Path:
    """The path of a bundled network. Raises ModelError when it is not what was shipped."""
    expected = SHA256.get(path.name)
    actual = hashlib.sha256(read(path)).hexdigest()
    if actual != expected:
        raise ModelError(
            f"model {path}: damaged or changed: SHA-256 {actual[:16]}..., shipped was"
            f" {(expected or 'nothing of this name')[:16]}...; install posestream again"
        )
    return path

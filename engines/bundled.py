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
    "pose.onnx": "7ae7e616f74153bbe08f44fa3bde340ce4303094d681e55f01c1c53ed4b753eb",
    "tiny_detector.onnx": "cdf1a9a026eecbdfa6647806d10e572d4d9ae37c6a591e52cabd2a0c6b4cccac",
    "tiny_pose.onnx": "e0dbd83d15e6e796e5a75fcd8469ba2f1e456d1448c30c956c815aed42d5e512",
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

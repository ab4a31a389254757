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
    "detector.onnx": "2e3351ccdaeb660e94580908c455c2806d246cbd944fe4a21e4017979a951fc3",
    "pose.onnx": "80f0fc4a1a3bce1d24e32fd78ec9da57db73545a5d3792b6e4bc37a4ff7fc0a6",
    "tiny_detector.onnx": "d1bf924fdc39d52bcd0d64f6cd1e7f17aae5c57c3de9d47ad236450e9f338e71",
    "tiny_pose.onnx": "8d2cd91d7a14843d9a3f34f3ca838f0abf26b9bd22ebe5882bb85daff406b3ff",
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

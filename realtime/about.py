"""What --version prints."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from engines.identify import identify
from engines.load import find_default, find_tiny
from realtime.version import VERSION

LIBRARIES = (
    "numpy", "opencv-python", "av", "scipy", "openvino", "onnxruntime", "torch", "tensorrt",
)  # fmt: skip


def versions() -> str:
    """Our version, Python, the libraries and the hashes of the bundled weights, a line each."""
    lines = [f"posestream {VERSION}", f"python {platform.python_version()} {platform.platform()}"]
    for name in LIBRARIES:
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name} not installed")
    for task in ("detector", "pose"):
        for found in (find_default(task), find_tiny(task)):
            if found:
                spec = identify(found)
                lines.append(f"weights {found.name} sha256 {spec.sha256}")
                lines.append(f"  licence {spec.licence}")
    return "\n".join(lines)

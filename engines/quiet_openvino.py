"""OpenVINO without its telemetry, and in one line: the only place that imports it."""

from __future__ import annotations

import sys

# Importing openvino reports to its maker through this package unless it cannot be found.
_ABSENT = "openvino_telemetry"
if _ABSENT in sys.modules:
    import openvino as ov
else:
    sys.modules[_ABSENT] = None  # type: ignore[assignment]
    try:
        import openvino as ov
    finally:
        del sys.modules[_ABSENT]
from openvino import opset13 as ops  # noqa: E402

__all__ = ["ops", "ov", "reason"]


def reason(error: Exception) -> str:
    """The telling line of OpenVINO's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (telling or lines or ["no reason given"])[-1][:200]

"""OpenVINO without its telemetry: the only place that imports it."""

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

__all__ = ["ops", "ov"]

"""The fault hook of the tests: POSESTREAM_FAULT makes one stage misbehave on one frame.

``stage:action[:seconds]@frame`` with action raise, hang, sleep or die; for example
``pose:raise@50`` or ``render:sleep:0.5@*`` (every frame). Off unless the variable is set.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from realtime.errors import UsageError

STAGES = ("grab", "detect", "crop", "pose", "decode", "track", "render", "record", "json")
ACTIONS = ("raise", "hang", "sleep", "die")


class InjectedFault(RuntimeError):
    """Raised by the action "raise"; frame is the number it was asked for."""

    def __init__(self, frame: int | None) -> None:
        super().__init__("injected by POSESTREAM_FAULT")
        self.frame = frame


@dataclass(frozen=True, slots=True)
class Fault:
    """What to do, where and when; frame None means every frame."""

    stage: str
    action: str
    seconds: float
    frame: int | None

    def trip(self, stage: str, frames: Sequence[int]) -> None:
        """Misbehave when stage is about to work on the chosen frame."""
        if stage != self.stage or (self.frame is not None and self.frame not in frames):
            return
        if self.action == "raise":
            raise InjectedFault(self.frame)
        if self.action == "die":
            os._exit(99)
        time.sleep(self.seconds)


def parse_fault(text: str) -> Fault | None:
    """The fault that POSESTREAM_FAULT asks for; None when empty. Raises UsageError."""
    if not text:
        return None
    try:
        where, _, frame = text.partition("@")
        stage, action, *rest = where.split(":")
        if stage not in STAGES or action not in ACTIONS:
            raise ValueError(text)
        seconds = float(rest[0]) if rest else 1e9 if action == "hang" else 1.0
        return Fault(stage, action, seconds, None if frame in ("", "*") else int(frame))
    except (ValueError, IndexError):
        raise UsageError(
            f"POSESTREAM_FAULT={text}: expected {'|'.join(STAGES)}:{'|'.join(ACTIONS)}"
            "[:SECONDS]@FRAME"
        ) from None

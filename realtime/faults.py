"""The fault hook of the tests: POSESTREAM_FAULT makes one stage misbehave on one frame.

``stage:action[:amount]@frame`` with action raise, hang, sleep (amount: seconds) or die; for example
``pose:raise@50`` or ``render:sleep:0.5@*`` (every frame). The networks can also give wrong results,
in all frames: ``pose:nan``, ``pose:inf``, ``pose:zero``, ``pose:oom:4`` (batches above 4 do not fit
into memory), the same for detect, and ``detect:crowd:1000`` (so many people). Off unless the
variable is set.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from realtime.errors import UsageError

logger = logging.getLogger(__name__)

STAGES = ("grab", "detect", "crop", "pose", "decode", "track", "render", "record", "json")
ACTIONS = ("raise", "hang", "sleep", "die")
RESULTS = ("nan", "inf", "zero", "oom", "crowd")
"""Actions of the stages detect and pose only; see faulty.py."""


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
    amount: float
    frame: int | None

    def trip(self, stage: str, frames: Sequence[int]) -> None:
        """Misbehave when stage is about to work on the chosen frame."""
        if (
            stage != self.stage
            or self.action in RESULTS
            or (self.frame is not None and self.frame not in frames)
        ):
            return
        if self.action == "raise":
            logger.warning("POSESTREAM_FAULT: %s raises", stage)
            raise InjectedFault(self.frame)
        if self.action == "die":
            os._exit(99)
        if self.action == "hang":
            logger.warning("POSESTREAM_FAULT: %s hangs from here on", stage)
        time.sleep(self.amount)


def parse_fault(text: str) -> Fault | None:
    """The fault that POSESTREAM_FAULT asks for; None when empty. Raises UsageError."""
    if not text:
        return None
    try:
        where, _, frame = text.partition("@")
        stage, action, *rest = where.split(":")
        network = stage == "detect" or (stage == "pose" and action != "crowd")
        if stage not in STAGES or action not in ACTIONS + (RESULTS if network else ()):
            raise ValueError(text)
        amount = float(rest[0]) if rest else 1e9 if action == "hang" else 1.0
        return Fault(stage, action, amount, None if frame in ("", "*") else int(frame))
    except (ValueError, IndexError):
        raise UsageError(
            f"POSESTREAM_FAULT={text}: expected {'|'.join(STAGES)}:{'|'.join(ACTIONS)}"
            "[:AMOUNT]@FRAME"
        ) from None

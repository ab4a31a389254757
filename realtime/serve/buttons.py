"""The buttons of the page: what the controls of the run (realtime/desk.py) offer a viewer."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from realtime.controls import JUMPS, KEYS, overlay_of
from realtime.desk import Desk
from realtime.draw import Style
from realtime.records import PosedFrame
from realtime.stop import Stop

LABELS = {
    "pause": "Pause", "step": "Step", "back": "Back 5 s", "ahead": "Ahead 5 s",
    "home": "To the start", "overlay": "Overlay", "blur": "Blur faces", "mirror": "Mirror",
    "raise": "Fewer joints", "lower": "More joints", "record": "Recording", "quit": "Stop",
}  # fmt: skip
"""Screenshot, full screen and help are each viewer's own."""
TIMED = ("pause", "step")
"""Only for files: a camera goes on, a viewer freezes its own picture."""

STILL = 0.1
"""Seconds on show after which a picture may have been the last one."""
LATE = 2.0
"""Seconds for which pictures may come that were drawn before a button was pressed."""


class Buttons:
    """Before follow() there is nothing but the one that ends the run."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._desk: Desk | None = None
        self._live = True
        self._style: Style | None = None
        self._again: PosedFrame | None = None
        self._until = 0.0

    def follow(self, desk: Desk, live: bool) -> None:
        """Offer what this desk does; live: the source cannot wait."""
        self._live, self._style, self._desk = live, desk.style, desk

    def told(self) -> list[dict[str, Any]]:
        """name, label, key and, where there is one, on (a switch), detail (a value) or ask (a
        question to confirm first)."""
        return [
            {"name": key.action, "label": LABELS[key.action], "key": key.keys[0]}
            | self._state(key.action)
            for key in KEYS
            if self._offers(key.action)
        ]

    def note(self) -> str:
        """What there is to say at the picture now."""
        return self._desk.note if self._desk else ""

    def press(self, name: str) -> None:
        """Have it done soon; a button that is not there does nothing."""
        if name == "quit":
            self._stop.ask("page")
        elif self._desk and self._offers(name):
            self._desk.ask(name)

    def redrawn(self, shown: PosedFrame, age: float) -> PosedFrame | None:
        """The frame that the page has shown for age seconds, drawn anew when a button was pressed
        while no other one comes; None when there is no need."""
        if self._desk is None:
            return None
        if self._desk.style is not self._style:
            self._style, self._again = self._desk.style, None
            self._until = perf_counter() + LATE
        if age < STILL or perf_counter() > self._until or shown is self._again:
            return None
        self._again = self._desk.redraw(shown)
        return self._again

    def _offers(self, name: str) -> bool:
        if self._desk is None or name not in LABELS:
            return name == "quit"
        if name in TIMED:
            return not self._live
        if name in JUMPS:
            return self._desk.has_file
        return name != "record" or self._desk.can_record

    def _state(self, name: str) -> dict[str, Any]:
        if name == "quit":
            return {"ask": "End the run? Outputs are finished, and the page with it."}
        if self._desk is None:
            return {}
        style = self._desk.style
        if name == "overlay":
            return {"detail": overlay_of(style)}
        if name == "raise":
            return {"detail": f"from {style.min_joint_score:.2f}"}
        switches = {
            "pause": self._desk.paused,
            "blur": style.blur_faces,
            "mirror": style.mirror,
            "record": self._desk.recording,
        }
        return {"on": switches[name]} if name in switches else {}

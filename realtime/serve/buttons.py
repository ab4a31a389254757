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
    """Before follow() there is nothing but the one that ends the run. Those of several runs act on
    all of them."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._desks: list[Desk] = []
        self._live = True
        self._style: Style | None = None
        self._again: PosedFrame | None = None
        self._until = 0.0

    def follow(self, desk: Desk, live: bool) -> None:
        """Offer what this desk does, too; live: the source cannot wait."""
        self._live, self._style = self._live and live, desk.style
        self._desks.append(desk)

    @property
    def private(self) -> bool:
        """Whether faces are to be hidden in what is drawn from now on."""
        return any(desk.style.private for desk in self._desks)

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
        return next((desk.note for desk in self._desks if desk.note), "")

    def press(self, name: str) -> None:
        """Have it done soon; a button that is not there does nothing."""
        if name == "quit":
            self._stop.ask("page")
        elif self._offers(name):
            for desk in self._desks:
                desk.ask(name)

    def redrawn(self, shown: PosedFrame, age: float, must: bool = False) -> PosedFrame | None:
        """The frame that the page has shown for age seconds, drawn anew when a button was pressed
        while no other one comes; None when there is no need. must: it may not be shown as it is.
        For one run."""
        if not self._desks:
            return None
        desk = self._desks[0]
        if desk.style is not self._style:
            self._style, self._again = desk.style, None
            self._until = perf_counter() + LATE
        due = age >= STILL and perf_counter() <= self._until and shown is not self._again
        if not (due or must):
            return None
        self._again = desk.redraw(shown)
        return self._again

    def _offers(self, name: str) -> bool:
        if not self._desks or name not in LABELS:
            return name == "quit"
        if name in TIMED:  # a window may have paused several cameras
            held = len(self._desks) > 1 and any(desk.paused for desk in self._desks)
            return not self._live or held
        if name in JUMPS:
            return any(desk.has_file for desk in self._desks)
        return name != "record" or any(desk.can_record for desk in self._desks)

    def _state(self, name: str) -> dict[str, Any]:
        if name == "quit":
            return {"ask": "End the run? Outputs are finished, and the page with it."}
        desks = self._desks
        if name == "overlay":
            return {"detail": overlay_of(desks[0].style)}
        if name == "raise":
            return {"detail": f"from {desks[0].style.min_joint_score:.2f}"}
        switches = {
            "pause": any(desk.paused for desk in desks),
            "blur": all(desk.style.blur_faces for desk in desks),
            "mirror": all(desk.style.mirror for desk in desks),
            "record": any(desk.recording for desk in desks),
        }
        return {"on": switches[name]} if name in switches else {}

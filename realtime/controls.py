"""The keys of the window, as data: the help on screen, --help and the README are made from it.

Nothing here does anything; what an action does is said in realtime/desk.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it loads cv2, which the command line does without
    from realtime.draw import Style

JUMPS = {"back": -5.0, "ahead": 5.0, "home": float("-inf")}
"""Seconds by which these controls go through a video file."""
STEP = 0.05
"""By how much one key changes the least score of the joints that are drawn."""
OVERLAYS = ("skeleton", "heatmap", "boxes", "black")
"""What is drawn: skeletons on the picture, heatmaps on it, skeletons with the people's boxes, or
skeletons on black without the picture."""


@dataclass(frozen=True, slots=True)
class Key:
    """One control.

    action: its name, for the page and for tests. keys: as Window.pump() names them.
    shown: the keys as people read them. text: what it does. flag: what does the same from the
    command line, "" where nothing does.
    """

    action: str
    keys: tuple[str, ...]
    shown: str
    text: str
    flag: str = ""


KEYS = (
    Key("help", ("h", "?"), "h", "show or hide this help"),
    Key("quit", ("q", "esc"), "q, Esc", "end the run; outputs are finished"),
    Key("pause", ("space",), "space", "pause or go on; a camera is still recorded"),
    Key("step", (".",), ".", "one frame further, then pause"),
    Key("back", ("left",), "left", "5 s back in a video file", "--start"),
    Key("ahead", ("right",), "right", "5 s ahead in a video file", "--start"),
    Key("home", ("home",), "Home", "to the beginning of a video file", "--start"),
    Key("screenshot", ("s",), "s", "save the picture as PNG", "--screenshot"),
    Key("overlay", ("o",), "o", "skeleton, heatmap, boxes, on black", "--overlay"),
    Key("blur", ("b",), "b", "blur faces or not", "--blur-faces"),
    Key("mirror", ("m",), "m", "flip like a mirror", "--mirror"),
    Key("raise", ("+", "="), "+", "hide more joints: least score up", "--min-joint-score"),
    Key("lower", ("-", "_"), "-", "hide fewer joints: least score down", "--min-joint-score"),
    Key("fullscreen", ("f",), "f", "fill the screen or not", "--fullscreen"),
    Key("record", ("r",), "r", "recording off and on, into a new file", "--output"),
)
"""Every control, in the order of the help."""

_ACTIONS = {name: key.action for key in KEYS for name in key.keys}


def action_of(key: str | None) -> str | None:
    """The action of a key as Window.pump() names it; None for a key that means nothing."""
    return _ACTIONS.get(key) if key else None


def usable(recording: bool, seeking: bool = True) -> tuple[Key, ...]:
    """The controls of a run; recording: whether there is a video to be written; seeking: whether
    the source is a file that can be sought in."""
    missing = {*(() if recording else ("record",)), *(() if seeking else JUMPS)}
    return tuple(key for key in KEYS if key.action not in missing)


def help_text() -> str:
    """The table for --help: one line for each control."""
    wide = max(len(key.shown) for key in KEYS)
    return "\n".join(f"  {key.shown:{wide}}  {key.text}" for key in KEYS)


def markdown() -> str:
    """The table for the README."""
    rows = [(_quoted(key.shown), key.text, f"`{key.flag}`" if key.flag else "") for key in KEYS]
    table = [("key", "what it does", "from the command line"), ("---", "---", "---"), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in table)


def _quoted(shown: str) -> str:
    return ", ".join(f"`{name}`" for name in shown.split(", "))


def overlay_of(style: Style) -> str:
    """Which of OVERLAYS this style is."""
    if style.black:
        return "black"
    return "heatmap" if style.heatmap else "boxes" if style.show_boxes else "skeleton"


def with_overlay(style: Style, overlay: str) -> Style:
    """The style with one of OVERLAYS. Raises ValueError for anything else."""
    if overlay not in OVERLAYS:
        raise ValueError(f"overlay {overlay!r}: expected one of {', '.join(OVERLAYS)}")
    return replace(
        style,
        heatmap=overlay == "heatmap",
        show_boxes=overlay == "boxes",
        black=overlay == "black",
    )


def changed(style: Style, action: str) -> Style:
    """The style after an action; the same one when the action is about something else."""
    if action == "overlay":
        following = OVERLAYS.index(overlay_of(style)) + 1
        return with_overlay(style, OVERLAYS[following % len(OVERLAYS)])
    if action == "blur":
        return replace(style, blur_faces=not style.blur_faces)
    if action == "mirror":
        return replace(style, mirror=not style.mirror)
    if action in ("raise", "lower"):
        steps = round(style.min_joint_score / STEP) + (1 if action == "raise" else -1)
        return replace(style, min_joint_score=round(min(max(steps * STEP, 0.0), 1.0), 2))
    return style


def told(style: Style, action: str) -> str:
    """What to say on screen after an action that changed the style."""
    return {
        "overlay": {
            "skeleton": "skeleton",
            "heatmap": "heatmap",
            "boxes": "skeleton and boxes",
            "black": "skeleton on black",
        }[overlay_of(style)],
        "blur": "faces blurred" if style.blur_faces else "faces not blurred",
        "mirror": "mirror" if style.mirror else "no mirror",
        "raise": f"joints from {style.min_joint_score:.2f}",
        "lower": f"joints from {style.min_joint_score:.2f}",
    }[action]

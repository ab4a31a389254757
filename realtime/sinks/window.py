"""The live window. All calls belong in the main thread."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2

from realtime.records import Image
from realtime.sinks.x11 import XServer

_SCREEN_WH = (1280, 800)
"""Assumed where the screen cannot be asked."""
_SHARE = 0.9
"""How much of the screen a window takes at most."""
_LEAST = 300
"""Pixels of the shorter side of a window below which a small picture is enlarged."""
_NAMES = {27: "esc", 13: "enter", 9: "tab", 8: "backspace", 32: "space"}
_SPECIAL = {
    "left": (0xFF51, 0xFF96, 0x250000, 0xF702),  # X11, X11's keypad, Windows, macOS
    "right": (0xFF53, 0xFF98, 0x270000, 0xF703),
    "home": (0xFF50, 0xFF95, 0x240000, 0xF729),
}
_CODES = {code: name for name, codes in _SPECIAL.items() for code in codes}


def display_available() -> bool:
    """Whether a window can be opened: this cv2 has windows and, on Linux, the display answers."""
    if not _framework():
        return False
    if not _on_x11():
        return True
    try:
        XServer(os.environ.get("DISPLAY", "")).close()
    except OSError:
        return False
    return True


class Window:
    """A window called title, as large as the first picture, enlarged when that is very small, or
    as the screen allows.

    The user may resize it; the picture keeps its proportions. Once the display is lost nothing is
    drawn any more and pump() says so: cv2 would end the process. When the display goes away within
    one of its own calls it still does; see exit_guard.
    Raises OSError when the display is gone.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._server = XServer(os.environ.get("DISPLAY", "")) if _on_x11() else None
        self._shown = self._sized = False
        self._lost = False
        self._closed = False
        self._full = False
        flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
        cv2.namedWindow(title, flags)

    def show(self, picture: Image, card: bool = False) -> None:
        """Draw a picture, uint8 (H, W, 3) BGR; pump() brings it to the screen. card: it says why
        there is no picture yet, so the size of the window is still to come."""
        if not self._usable():
            return
        if not self._shown or not (self._sized or card or self._full):
            cv2.resizeWindow(self._title, fitted(picture, self._screen_wh()))
        self._shown, self._sized = True, self._sized or not card
        cv2.imshow(self._title, picture)

    def pump(self) -> str | None:
        """Handle the window's events for about a millisecond.

        Returns the key pressed ("q", "esc", ...), "closed" when the user closed the window, "lost"
        when the display went away, None otherwise.
        """
        if not self._usable():
            return "lost" if self._lost else "closed"
        code = cv2.waitKeyEx(1)
        if not self._visible():
            # Qt takes its windows away when the display goes, maybe before our connection ends.
            self._lost = self._server is not None and not self._server.answers()
            self._closed = not self._lost
            return "lost" if self._lost else "closed"
        return key_name(code)

    def fill_screen(self, on: bool) -> None:
        """Let the window have the whole screen, or its own size again; not before it has shown a
        picture, whose size is its own."""
        if on == self._full or not self._shown or not self._usable():
            return
        self._full = on
        wanted = cv2.WINDOW_FULLSCREEN if on else cv2.WINDOW_NORMAL
        cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, wanted)

    def close(self) -> None:
        """Take the window away; further calls do nothing."""
        if self._usable():
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)
        self._closed = True
        if self._server:
            self._server.close()
            self._server = None

    def _visible(self) -> bool:
        try:
            return bool(cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1)
        except cv2.error:  # Qt: the last window has been closed
            return False

    def _usable(self) -> bool:
        if self._closed or self._lost:
            return False
        self._lost = self._server is not None and not self._server.alive()
        return not self._lost

    def _screen_wh(self) -> tuple[int, int]:
        return self._server.size_wh if self._server else _SCREEN_WH


def fitted(picture: Image, screen_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a window: those of the picture, a multiple where it is very small,
    reduced until they fit the screen."""
    height, width = picture.shape[:2]
    wanted = max(1, -(-_LEAST // min(height, width)))
    scale = min(wanted, _SHARE * screen_wh[0] / width, _SHARE * screen_wh[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def key_name(code: int) -> str | None:
    """The name of a key as cv2.waitKeyEx gives it: small letters, "esc", "space", "left"; None for
    none and for those that mean nothing here. On X11 the upper half tells Shift, Num Lock and so
    on; on Windows it tells a key without a character."""
    if code < 0:
        return None
    plain = code & 0xFFFF
    if name := _CODES.get(code) or _CODES.get(plain):
        return name
    return _NAMES.get(plain) or (chr(plain).lower() if 32 < plain < 127 else None)


def _framework() -> str:
    """The toolkit cv2 draws windows with; empty in a cv2 without windows."""
    try:
        return str(cv2.currentUIFramework())
    except cv2.error:
        return ""


def _on_x11() -> bool:
    """Whether windows will be on an X display. The published wheels bring Qt for X only; other
    builds take Wayland where it is."""
    if os.name != "posix" or sys.platform == "darwin":
        return False
    plugins = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms"
    only_x11 = plugins.is_dir() and not any(plugins.glob("*wayland*"))
    return only_x11 or not os.environ.get("WAYLAND_DISPLAY")

"""Notices a camera that delivers pictures which cannot be true: always the same, or black."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from time import monotonic

from realtime.records import Image

AFTER = 5.0
"""Seconds of the same or of black pictures before it is said."""

DARK = 8.0
"""Mean grey value (0..255) under which a picture counts as black."""

EVERY = 8
"""Only every 8th row and column is looked at: cheap, and sensor noise still changes it."""


class PictureWatch:
    """see() gets every picture and returns a warning, or "" when there is nothing to say."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._print = -1
        self._same_since = 0.0
        self._dark_since: float | None = None

    def see(self, image: Image) -> str:
        """image: uint8 (H, W, 3); the warning holds for this picture."""
        now, sample = self._clock(), image[::EVERY, ::EVERY]
        fingerprint = zlib.crc32(sample.tobytes())
        if fingerprint != self._print:
            self._print, self._same_since = fingerprint, now
        if sample.mean() >= DARK:
            self._dark_since = None
        elif self._dark_since is None:
            self._dark_since = now
        if self._dark_since is not None and now - self._dark_since > AFTER:
            return f"black picture for more than {AFTER:.0f} s; is the lens covered?"
        if now - self._same_since > AFTER:
            return f"the picture stood still for more than {AFTER:.0f} s; is the camera hung up?"
        return ""

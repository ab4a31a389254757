"""What the operating system knows about its cameras. Only Linux tells without opening them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Devices:
    """The folders in which Linux lists its cameras: device nodes, and their names."""

    dev: Path = Path("/dev")
    names: Path = Path("/sys/class/video4linux")
    known: bool = sys.platform.startswith("linux")

    def found(self) -> dict[int, str] | None:
        """Number and name of every camera; None where the system does not tell.

        A webcam has a second node for metadata; it is told from the picture by its index file.
        """
        if not self.known:
            return None
        numbers = sorted(int(p.name[5:]) for p in self.dev.glob("video*") if p.name[5:].isdigit())
        return {n: self._read(n, "name") for n in numbers if self._read(n, "index") in ("", "0")}

    def node(self, number: int) -> Path:
        return self.dev / f"video{number}"

    def usable(self, number: int) -> bool:
        """Whether this user may open the camera."""
        return not self.known or os.access(self.node(number), os.R_OK | os.W_OK)

    def _read(self, number: int, what: str) -> str:
        path = self.names / f"video{number}" / what
        try:
            return path.read_text(errors="replace").strip()
        except OSError:
            return ""  # a container may have the device without its description


def listed(found: dict[int, str] | None) -> str:
    """For a message: "0 HD Webcam, 2 Capture Card", "none", or where to look."""
    if found is None:
        return "unknown, see --list-cameras"
    return ", ".join(f"{number} {name}".strip() for number, name in found.items()) or "none"

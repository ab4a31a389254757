"""What the operating system knows about its cameras. Only Linux tells without opening them."""

from __future__ import annotations

import errno
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

if sys.platform.startswith("linux"):
    import fcntl

REQUEST_BUFFERS = 0xC0145608
"""VIDIOC_REQBUFS of linux/videodev2.h."""
NO_BUFFERS = struct.pack("5I", 0, 1, 1, 0, 0)
"""Its struct v4l2_requestbuffers: none, for video capture, of mapped memory."""


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

    def busy(self, number: int) -> bool:
        """Whether another program has set the camera up. Only one may: the driver refuses the
        buffers of all others."""
        if not self.known or not sys.platform.startswith("linux"):
            return False
        try:
            camera = os.open(self.node(number), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            return error.errno == errno.EBUSY
        try:
            fcntl.ioctl(camera, REQUEST_BUFFERS, NO_BUFFERS)
        except OSError as error:
            return error.errno == errno.EBUSY
        finally:
            os.close(camera)
        return False

    def users(self, number: int) -> str:
        """Who has the camera open, as far as this user may see it: "zoom (process 4711)"."""
        node, found = self.node(number), []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if any(file.readlink() == node for file in (process / "fd").iterdir()):
                    name = (process / "comm").read_text(errors="replace").strip()
                    found.append(f"{name} (process {process.name})")
            except OSError:
                continue  # somebody else's, or it has just ended
        return ", ".join(found) or "another program"

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

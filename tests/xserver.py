"""An X server without a screen, and keys for the window on it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from realtime.sinks.window import _framework

needs_x = pytest.mark.skipif(
    shutil.which("Xvfb") is None or shutil.which("xdotool") is None or not _framework(),
    reason="needs Xvfb, xdotool and a cv2 with windows",
)


@contextmanager
def x_server(size: str = "1400x900") -> Iterator[str]:
    """Its name for DISPLAY, like ":1"."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size}x24"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            yield f":{pipe.readline().strip()}"
    finally:
        server.kill()
        server.wait()


def press(display: str, *keys: str) -> None:
    """Press keys in the window named posestream, waiting for it to be there."""
    env = {**os.environ, "DISPLAY": display}
    search = ["xdotool", "search", "--sync", "--name", "posestream"]
    found = subprocess.run(search, env=env, capture_output=True, text=True, check=True, timeout=30)
    window = found.stdout.split()[0]
    for key in keys:
        subprocess.run(
            ["xdotool", "windowfocus", window, "key", key, "sleep", "0.25"], env=env, check=True
        )

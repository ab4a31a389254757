"""A real RTSP server in a process of its own; the fixture of it is in conftest.py."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

PYTHON = Path("/usr/bin/python3")  # GStreamer's bindings belong to the system's Python
SERVER = Path(__file__).with_name("rtsp_server.py")
NEEDS = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
)


def available() -> bool:
    return (
        PYTHON.exists()
        and not subprocess.run([PYTHON, "-c", NEEDS], capture_output=True).returncode
    )


class Server:
    """The server's process on a port that stays the same over restarts."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        self.process: subprocess.Popen[str] | None = None

    def up(self, size: str = "160 120 15") -> None:
        command = [str(PYTHON), str(SERVER), str(self.port), *size.split()]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def down(self) -> None:
        if self.process:
            self.process.kill()
            self.process.communicate()
        self.process = None

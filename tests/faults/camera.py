"""A camera that never ends: python camera.py FILE PORT sends the pictures of FILE again and again,
30 a second, as an MPEG transport stream to one client after another on 127.0.0.1:PORT."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import av.error

HERE = Path(__file__).resolve().parent
RATE = 30


def film(path: Path) -> Path:
    """Five seconds of the demo scene, H.264 without B-frames."""
    import media  # both are for the tests, not for the process that sends

    from realtime.scene import Scene

    scene = Scene(0, 5 * RATE, (640, 360), RATE)
    options = {"tune": "zerolatency", "g": str(RATE), "preset": "veryfast"}
    return media.video(
        path, len(scene), (640, 360), picture=lambda n, _: scene.image(n), options=options
    )


@contextmanager
def camera(folder: Path) -> Iterator[str]:
    """The address of one in a process of its own."""
    path = film(folder / "film.mp4")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(HERE / "camera.py"), str(path), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout and process.stdout.readline() == "ready\n"
            yield f"tcp://127.0.0.1:{port}"
        finally:
            process.kill()


def send(path: Path, client: socket.socket) -> None:
    """All pictures, again and again, each at its time; until the client goes."""
    with client.makefile("wb") as file, av.open(str(path)) as source:
        packets = [packet for packet in source.demux(video=0) if packet.size]
        with av.open(file, "w", format="mpegts", options={"flush_packets": "1"}) as out:
            stream = out.add_stream_from_template(source.streams.video[0])
            began, count = time.monotonic(), 0
            while True:
                packet = packets[count % len(packets)]
                packet.stream, packet.time_base = stream, Fraction(1, RATE)
                packet.pts = packet.dts = count
                time.sleep(max(0.0, began + count / RATE - time.monotonic()))
                out.mux(packet)
                file.flush()
                count += 1


def main() -> None:
    path, port = sys.argv[1:]
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        print("ready", flush=True)
        while True:
            client, _ = listener.accept()
            with client, suppress(OSError, av.error.FFmpegError):
                send(Path(path), client)


if __name__ == "__main__":
    main()

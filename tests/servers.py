"""Loopback servers for tests: encoded video over TCP with faults, files over HTTP with ranges."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

Then = Literal["close", "reset", "stall", "trickle"]
STEP = 1316  # bytes: seven packets of an MPEG transport stream, as encoders send them


def picture(number: int, size_wh: tuple[int, int]) -> np.ndarray:
    """A grey picture whose brightness tells its number (0..15), steps of 12 from 40."""
    return np.full((size_wh[1], size_wh[0], 3), 40 + 12 * (number % 16), np.uint8)


def number_of(image: np.ndarray) -> int:
    """The number that picture() put into a decoded image."""
    return round((float(image.mean()) - 40) / 12)


def write_video(
    path: Path,
    frames: int,
    size_wh: tuple[int, int] = (64, 48),
    rate: int = 25,
    fast: bool = True,
    mux: dict[str, str] | None = None,
) -> Path:
    """H.264 without B-frames in the container of the file's suffix; fast: mp4 index in front; mux:
    options of the container."""
    options = {"movflags": "faststart"} if fast and path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options | (mux or {})) as out:
        stream = out.add_stream(
            "libx264", rate=rate, options={"tune": "zerolatency", "g": "10", "preset": "ultrafast"}
        )
        stream.width, stream.height, stream.pix_fmt = *size_wh, "yuv420p"
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(n, size_wh), format="bgr24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@contextmanager
def rtp_sender(data: bytes, payload: int) -> Iterator[str]:
    """As udp_sender, in RTP packets of this kind: 33 is MPEG-TS (RFC 3551)."""
    pieces = [data[at : at + STEP] for at in range(0, len(data), STEP)]
    heads = [struct.pack("!BBHII", 0x80, payload, n, n * 900, 1) for n in range(len(pieces))]
    with udp_sender(pieces=[head + piece for head, piece in zip(heads, pieces)]) as address:
        yield address.replace("udp", "rtp")


@contextmanager
def udp_sender(
    data: bytes = b"", seconds: float = 1.0, pieces: Sequence[bytes] = ()
) -> Iterator[str]:
    """The address that data, or its pieces, is sent to again and again, within so many seconds each
    time."""
    gone = threading.Event()
    pieces = pieces or [data[at : at + STEP] for at in range(0, len(data), STEP)]
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        place = probe.getsockname()

    def send() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as out:
            while True:
                for piece in pieces:
                    if gone.wait(seconds / len(pieces)):
                        return
                    with suppress(ConnectionError):  # nobody listens yet
                        out.sendto(piece, place)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        yield f"udp://127.0.0.1:{place[1]}"
    finally:
        gone.set()
        sender.join()


@dataclass
class TcpServer:
    """Sends data to every client, paced over seconds, then does what then says.

    stall and trickle (one byte each 0.2 s) keep the connection; plan overrides (data, then) for
    the first connections. Starts and stops listening on the same port with up() and down().
    """

    data: bytes
    then: Then = "close"
    seconds: float = 0.5
    plan: list[tuple[bytes, Then]] = field(default_factory=list)
    port: int = 0
    accepted: int = 0

    def __post_init__(self) -> None:
        self._gone = threading.Event()
        self._listener: socket.socket | None = None
        self._clients: list[socket.socket] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def up(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(8)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self) -> None:
        """Refuse new clients and reset the present ones."""
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            self._listener.close()
        self._listener = None
        while self._clients:
            _reset(self._clients.pop())

    def stop(self) -> None:
        self._gone.set()
        self.down()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            data, then = (
                self.plan[self.accepted]
                if self.accepted < len(self.plan)
                else (self.data, self.then)
            )
            self.accepted += 1
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client, data, then), daemon=True).start()

    def _serve(self, client: socket.socket, data: bytes, then: Then) -> None:
        try:
            self._send(client, data)
            if then == "reset":
                _reset(client)
            while then in ("stall", "trickle") and not self._gone.wait(0.2):
                if then == "trickle":
                    client.sendall(b"\0")
        except OSError:
            pass  # the client has left
        finally:
            client.close()

    def _send(self, client: socket.socket, data: bytes) -> None:
        start, steps = time.monotonic(), max(1, len(data) // STEP)
        for step in range(steps + 1):
            client.sendall(data[step * STEP : (step + 1) * STEP])
            due = start + self.seconds * step / steps
            if self._gone.wait(max(0.0, due - time.monotonic())):
                return


def _reset(client: socket.socket) -> None:
    """Close so that the other side sees a reset instead of an end."""
    try:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        return  # closed already
    client.close()


@contextmanager
def tcp_server(
    data: bytes, then: Then = "close", seconds: float = 0.5, *, up: bool = True
) -> Iterator[TcpServer]:
    server = TcpServer(data, then, seconds)
    try:
        if up:
            server.up()
        yield server
    finally:
        server.stop()


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range", "")))
        if self.path.startswith("/redirect/"):
            self.send_response(302)
            self.send_header("Location", self.server.location)
            self.end_headers()
        elif self.path.startswith("/status/"):
            self.send_error(int(self.path.split("/")[2]))
        elif self.server.live:
            self._live(self.server.files[self.path.split("?")[0]])
        elif self.path.split("?")[0] in self.server.files:
            self._file(self.server.files[self.path.split("?")[0]])
        else:
            self.send_error(404)

    def _file(self, data: bytes) -> None:
        first, last = 0, len(data) - 1
        if self.server.ranges and self.headers.get("Range", "").startswith("bytes="):
            a, _, b = self.headers["Range"][6:].partition("-")
            first, last = int(a), int(b) if b else last
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        else:
            self.send_response(200)
        if self.server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        cut = self.server.cut.pop(0) if self.server.cut else last + 1
        self.wfile.write(data[first : min(last + 1, cut)])
        if cut <= last and self.server.then_stall:
            self.server.gone.wait(10)

    def _live(self, data: bytes) -> None:
        """Without a length, as a camera would: the data once, slowly, then the end."""
        self.send_response(200)
        if self.path.endswith(".mjpeg"):
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for start in range(0, len(data), STEP):
            self.wfile.write(data[start : start + STEP])
            time.sleep(0.5 * STEP / len(data))

    def log_message(self, format: str, *args: object) -> None:
        pass


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that leaves early is no error here


@contextmanager
def running(server: Any) -> Iterator[None]:
    """Serves in a thread; its event gone is set at the end, for answers that wait."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.gone.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def http_server(
    files: dict[str, bytes], *, live: bool = False, ranges: bool = True
) -> Iterator[_HttpServer]:
    """Serves files (path -> bytes); url, requests [(path, range)], location of /redirect/, and
    cut: byte positions at which the next answers break off, or with then_stall stop coming."""
    server = _HttpServer(("127.0.0.1", 0), _Handler)
    server.files, server.live, server.ranges = files, live, ranges
    server.requests, server.cut, server.location = [], [], ""
    server.then_stall, server.gone = False, threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    with running(server):
        yield server

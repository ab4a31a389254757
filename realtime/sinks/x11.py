"""Just enough of the X11 protocol to know whether a display is there, and stays there.

cv2's window toolkit (Qt) ends the whole process when the display cannot be opened (abort) or goes
away (exit), so both have to be known before it is called. Formats: X Window System Protocol,
chapter 8 (Connection Setup), and the Xauthority file as in libXau.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from time import sleep

TIMEOUT = 2.0
"""Seconds an X server gets for its answer."""
TRIES, PAUSE = 4, 0.1
"""How often, and after how many seconds, to try again when the server hangs up: it does so for a
moment while it starts anew, as some do whenever their last client has gone."""


_GET_INPUT_FOCUS = struct.pack("<BxH", 43, 1)
"""The smallest request that has a reply."""


class XServer:
    """An open connection to the display; size_wh is that of its screen in pixels.

    Raises OSError when there is no display, it does not answer or lets nobody in.
    """

    def __init__(self, display: str) -> None:
        match = re.fullmatch(r"([^:]*):(\d+)(\.\d+)?", display)
        if not match:
            raise OSError(f"DISPLAY={display!r} is not the name of a display")
        host, number = match[1], int(match[2])
        cookies = [b"", *_cookies(match[2].encode())]
        for tries_left in reversed(range(TRIES)):
            try:
                self._socket, self.size_wh = _enter(host, number, cookies)
                return
            except ConnectionRefusedError:
                raise
            except ConnectionError:
                if not tries_left:
                    raise
            sleep(PAUSE)

    def alive(self) -> bool:
        """Whether the server still holds the connection."""
        try:
            while data := self._socket.recv(4096):  # events nobody asked for
                del data
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def answers(self) -> bool:
        """Ask the server, and whether it answers within TIMEOUT. A server that goes away ends its
        connections one after the other: alive() may be true after another one has ended."""
        if not self.alive():
            return False
        self._socket.settimeout(TIMEOUT)
        try:
            self._socket.sendall(_GET_INPUT_FOCUS)
            return bool(self._socket.recv(1))  # the rest of it is for alive() to drop
        except OSError:
            return False
        finally:
            self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()


def _enter(host: str, number: int, cookies: list[bytes]) -> tuple[socket.socket, tuple[int, int]]:
    """A connection that one of the cookies opens, and the size of the screen."""
    for cookie in cookies:
        connection = _connect(host, number)
        try:
            size_wh = _set_up(connection, cookie)
        except PermissionError:
            connection.close()
        except OSError:
            connection.close()
            raise
        else:
            connection.setblocking(False)
            return connection, size_wh
    raise PermissionError(f"the display {host}:{number} refuses the connection")


def _connect(host: str, number: int) -> socket.socket:
    """A socket to the server, the way libxcb looks for it."""
    if host in ("", "unix"):
        path = f"/tmp/.X11-unix/X{number}"
        for address in ("\0" + path, path):
            unix = socket.socket(socket.AF_UNIX)
            unix.settimeout(TIMEOUT)
            try:
                unix.connect(address)
                return unix
            except OSError:
                unix.close()
    return socket.create_connection((host or "localhost", 6000 + number), TIMEOUT)


def _set_up(connection: socket.socket, cookie: bytes) -> tuple[int, int]:
    """Introduce ourselves; the size of the first screen. PermissionError when refused."""
    name = b"MIT-MAGIC-COOKIE-1" if cookie else b""
    hello = struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(cookie))
    connection.sendall(hello + _padded(name) + _padded(cookie))
    status, length = struct.unpack("<BxHHH", _receive(connection, 8))[::3]
    body = _receive(connection, 4 * length)
    if status != 1:
        raise PermissionError("refused")
    try:
        vendor, formats = struct.unpack_from("<H", body, 16)[0], body[21]
        screen = 32 + len(_padded(bytes(vendor))) + 8 * formats
        width, height = struct.unpack_from("<HH", body, screen + 20)
    except (struct.error, IndexError):
        raise ConnectionError("what answers is no X server") from None
    return width, height


def _receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionResetError("the X server hung up")
        data += more
    return data


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _cookies(number: bytes) -> Iterator[bytes]:
    """The keys to display :number in the user's Xauthority file."""
    path = Path(os.environ.get("XAUTHORITY") or os.path.expanduser("~/.Xauthority"))  # noqa: PTH111
    try:
        data = path.read_bytes()
    except OSError:
        return
    at = 0
    while at + 2 < len(data):
        at += 2  # the family of the address
        fields = []
        for _ in range(4):  # address, number, name, data
            (length,) = struct.unpack_from(">H", data.ljust(at + 2, b"\0"), at)
            fields.append(data[at + 2 : at + 2 + length])
            at += 2 + length
        if fields[1] in (number, b"") and fields[2] == b"MIT-MAGIC-COOKIE-1":
            yield fields[3]

"""Where the page listens: [HOST:]PORT."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from dataclasses import dataclass

from realtime.errors import OutputError, UsageError

HOST, PORT = "127.0.0.1", 8000


@dataclass(frozen=True, slots=True)
class Address:
    """host: a name or an IP address without brackets; port 0 takes any free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it; a name counts only when it is localhost."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def reachable(self) -> str:
        """As a browser takes it: every address of this machine is known by its name."""
        everywhere = self.host in ("0.0.0.0", "::")
        return str(Address(socket.gethostname(), self.port) if everywhere else self)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """8000, HOST or HOST:8000; an IPv6 host in brackets. Raises UsageError."""
    text = text.strip()
    pattern = r"(?P<only>\d+)|(?P<host>\[[^\]]+\]|[^\[\]:/\s]+)(:(?P<port>\d+))?"
    match = re.fullmatch(pattern, text)
    port = int((match and (match["only"] or match["port"])) or PORT)
    if match is None or port > 65535:
        raise UsageError(f"--serve {text}: expected PORT, HOST or HOST:PORT, as in 0.0.0.0:8000")
    return Address((match["host"] or HOST).strip("[]"), port)


def listen(address: Address) -> tuple[socket.socket, Address]:
    """A listening socket and the address it has got. Raises OutputError when it is taken or not
    ours."""
    try:
        family, _, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.create_server(where[:2], family=family)
    except OSError as error:
        reason = re.sub(r" \(while attempting.*", "", error.strerror or str(error))
        raise OutputError(
            f"--serve {address}: cannot listen: {reason}; {_advice(error)}"
        ) from error
    bound.setblocking(False)
    return bound, Address(address.host, bound.getsockname()[1])


def _advice(error: OSError) -> str:
    if error.errno in (errno.EADDRINUSE, errno.EACCES):
        return "give another port"
    return "give the name or an address of this machine, or only a port"

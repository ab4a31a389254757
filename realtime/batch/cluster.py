"""Joining Ray: a cluster that runs already, or one of this machine alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

from realtime.batch.store import INSTALL
from realtime.console import complain
from realtime.errors import ModelError, UsageError
from realtime.home import at_home

ANSWER_WITHIN = 5.0
"""Seconds that the head of a cluster gets to answer. Ray itself would try for minutes."""
JOIN_WITHIN = 90.0
"""Seconds for the rest of joining, of which Ray needs a few."""
STORE_BYTES = 512 << 20
"""Of shared memory for what goes between processes of this machine, at most."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What opens a connection of gRPC, which Ray speaks (RFC 9113, 3.4): then an empty SETTINGS."""
_SETTINGS = 4


def check_address(address: str) -> None:
    """Raise UsageError for what cannot be the address of a cluster."""
    if address == "auto":
        return
    if address.startswith("ray://"):
        raise UsageError(
            f"--ray {address}: is an address of Ray Client; start the batch on a machine of the "
            "cluster, with --ray auto"
        )
    host, _, port = address.rpartition(":")
    if not (host.strip("[]") and port.isdecimal() and 1 <= int(port) <= 65535):
        raise UsageError(f"--ray {address!r}: expected auto or HOST:PORT (often 6379)")


def load(joins: bool) -> Any:
    """The library. joins: a cluster that runs already. Raises ModelError without it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to its makers
    if joins:  # its head is up, see check_answer, and need not be asked 20 times
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "5")
    # A GPU is not hidden from workers without a share of it: they run on the CPU by their options.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ModelError(f"batches need Ray: {INSTALL}") from error
    return ray


def join(ray: Any, address: str | None, cores: int) -> None:
    """Connect to the cluster at an address, or start one of this machine with so many cores.
    Raises ModelError."""
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            sizes = {"num_cpus": cores, "object_store_memory": STORE_BYTES}
            with at_home():  # Ray puts the current folder first on the path of all workers
                ray.init("local", include_dashboard=False, **sizes, **quiet)
        else:
            if there := _resolved(address):
                check_answer(there)
            with _deadline(address), at_home():
                ray.init(address, **quiet)
    # ConnectionError is an OSError
    except (RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        where = address or "on this machine"
        unknown = getattr(ray.exceptions, "AuthenticationError", ConnectionError)  # newer Rays
        hint = ""
        if address and isinstance(error, (ConnectionError, unknown)):  # it answers, see above
            hint = "; is its token known here, with the same RAY_AUTH_MODE?"
        raise ModelError(f"Ray {where}: {one_line(str(error))}{hint}") from error


def one_line(text: str, most: int = 300) -> str:
    """The beginning of a text that has several lines."""
    plain = " ".join(text.split())
    return plain if len(plain) <= most else plain[:most].rsplit(" ", 1)[0] + " ..."


def room(nodes: list[dict[str, Any]], cores: int, gpus: float) -> int:
    """How many workers of so many cores and GPUs the machines of a cluster can have, each on one
    machine. nodes: as ray.nodes() gives them."""
    count = 0
    for node in nodes:
        there = node["Resources"] if node["Alive"] else {}
        fit = int(there.get("CPU", 0) // cores)
        if gpus:
            fit = min(fit, int(there.get("GPU", 0) / gpus + 1e-6))
        count += fit
    return count


def check_answer(address: str, within: float = ANSWER_WITHIN) -> None:
    """Raise ModelError when nothing at HOST:PORT answers as Ray does, in so many seconds."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), within) as line:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return  # only Ray has the keys to ask further
            line.sendall(_PREFACE)
            answer = line.recv(9, socket.MSG_WAITALL)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(
            f"Ray {address}: no answer: {reason}; is the cluster up (ray start --head), is this "
            "the address of its head?"
        ) from error
    if len(answer) < 9 or answer[3] != _SETTINGS:
        raise ModelError(f"Ray {address}: what answers there is not Ray; give the head's HOST:PORT")


def _resolved(address: str) -> str:
    """HOST:PORT as Ray will use it: of the cluster of this machine for auto, the machine's own
    address for 127.0.0.1. Raises what Ray does."""
    try:
        from ray._private.services import canonicalize_bootstrap_address
    except ImportError:  # it is not part of Ray's interface
        return "" if address == "auto" else address
    return str(canonicalize_bootstrap_address(address) or "")


@contextmanager
def _deadline(address: str) -> Iterator[None]:
    """End the process with ModelError's exit code when Ray does not come back from joining: it
    cannot be interrupted."""

    def leave() -> None:
        complain(ModelError(f"Ray {address}: did not let this process join in {JOIN_WITHIN:g} s"))
        os._exit(ModelError.exit_code)

    timer = Timer(JOIN_WITHIN, leave)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

"""python as_windows.py PROGRAM ARGUMENTS: runs a Python program without what Windows does not have.

No substitute for Windows, but what most often keeps a program from running there is so: modules,
functions and signals that are missing, files that cannot be moved or removed while they are open,
names that may not hold some signs, a clock that goes in steps, and an old code page where output is
no console. Libraries are loaded before, since those of Linux need Linux.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import io
import logging.handlers
import multiprocessing.spawn
import os
import platform
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import cv2
import numpy.testing
import openvino.opset13
import scipy.io
import scipy.optimize

LOADED = (av, cv2, numpy, openvino, scipy, logging, multiprocessing, subprocess)
MODULES = "fcntl resource termios tty pty pwd grp posix".split()
FUNCTIONS = set(
    "fork getuid geteuid getpgid killpg setsid sched_getaffinity sched_setaffinity mkfifo uname"
    " nice statvfs sysconf posix_fadvise O_NONBLOCK O_CLOEXEC O_DIRECTORY WNOHANG".split()
)
SIGNALS = "HUP KILL USR1 USR2 CHLD ALRM PIPE QUIT STOP CONT TSTP WINCH".split()
REAL: dict[str, Any] = {name: getattr(os, name) for name in ("replace", "rename", "unlink", "open")}
OPEN, MONOTONIC = io.open, time.monotonic
STEP = 1 / 64
HIDDEN = ("/proc", "/sys")


class Os(types.ModuleType):
    """The module os as a program sees it; libraries that are loaded have the real one."""

    name = "nt"

    def __getattr__(self, name: str) -> Any:
        if name in FUNCTIONS:
            raise AttributeError(f"module 'os' has no attribute {name!r}")
        return getattr(os, name)


class Missing:
    """Finds no module of MODULES."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def in_use(path: str) -> bool:
    path = os.path.realpath(path)
    for number in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            file = str(number.readlink())
            if file == path or file.startswith(path + "/"):
                return True
    with OPEN("/proc/self/maps") as maps:
        return any(line.rstrip().endswith(f" {path}") for line in maps)


def check_name(path: Any) -> None:
    for part in os.fsdecode(path).split("/") if isinstance(path, (str, os.PathLike)) else ():
        if set(part) & set('<>:"|?*') or (part not in (".", "..") and part.endswith((" ", "."))):
            raise OSError(errno.EINVAL, "The filename syntax is incorrect", os.fspath(path))


def moving(name: str) -> Callable[..., Any]:
    def change(*paths: Any, **options: Any) -> Any:
        for path in paths:
            check_name(path)
            if in_use(os.fspath(path)):
                raise PermissionError(
                    errno.EACCES, "It is being used by another process", str(path)
                )
        if name == "rename" and os.path.lexists(paths[1]):
            raise FileExistsError(errno.EEXIST, "It exists already", str(paths[1]))
        return REAL[name](*paths, **options)

    return change


def opening(real: Callable[..., Any]) -> Callable[..., Any]:
    def open_(path: Any, *options: Any, **named: Any) -> Any:
        check_name(path)
        if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(HIDDEN):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        if real is REAL["open"] and Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *options, **named)

    return open_


def pair(*_: Any) -> tuple[socket.socket, socket.socket]:
    """socket.socketpair() as Windows has it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        return one, server.accept()[0]


def pretend() -> None:
    platform.platform(), platform.processor()
    for name in ("replace", "rename", "unlink"):
        setattr(os, name, moving(name))
    os.remove = os.unlink
    os.open = opening(os.open)
    builtins.open = io.open = opening(OPEN)
    for name in SIGNALS:
        delattr(signal, f"SIG{name}")
    for name in ("pthread_sigmask", "alarm", "setitimer", "SIG_BLOCK"):
        delattr(signal, name)
    signal.SIGBREAK = signal.Signals(21)  # type: ignore[attr-defined]
    del socket.AF_UNIX
    socket.socketpair = pair
    tempfile.TemporaryFile = tempfile.NamedTemporaryFile  # type: ignore
    time.monotonic = lambda: MONOTONIC() // STEP * STEP
    console = types.SimpleNamespace(GetStdHandle=lambda _: 0, GetConsoleMode=lambda *_: 0)
    ctypes.windll = types.SimpleNamespace(kernel32=console)  # type: ignore[attr-defined]
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Missing())  # type: ignore[arg-type]
    sys.modules["os"] = Os("os")
    sys.platform = "win32"
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="cp1252")  # type: ignore[union-attr]


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    pretend()
    runpy.run_path(sys.argv[0], run_name="__main__")

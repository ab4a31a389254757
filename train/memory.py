"""How much memory the pictures of a training may take, and what is said where none is left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from realtime.errors import OutOfMemory

MOST = 1 << 30
"""Bytes of decoded pictures kept by each process, at most."""
PART = 4
"""All processes together keep this part of what is available: a quarter."""
FULL = "allocate memory", "out of memory"
"""What torch says of a CPU, and of a GPU outside of its own allocator."""
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup/memory.max")


def share(processes: int) -> int:
    """Bytes of decoded pictures that each of so many processes may keep."""
    there = available()
    return MOST if there is None else min(MOST, there // PART // processes)


def available() -> int | None:
    """Bytes that can be had without swapping (proc(5), MemAvailable), or that a container may have
    where that is less; None where the system does not say."""
    found = re.search(r"^MemAvailable: *(\d+) kB", _text(MEMINFO), re.MULTILINE)
    limit = _text(CGROUP).strip()
    known = [int(found[1]) << 10] if found else []
    known += [int(limit)] if limit.isdecimal() else []  # "max" where there is none
    return min(known, default=None)


@contextmanager
def telling_of_want() -> Iterator[None]:
    """Turns what torch and numpy raise where memory is full into one line, OutOfMemory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).strip()
        full = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not full and not any(words in text.lower() for words in FULL):
            raise
        reason = f" ({text.splitlines()[0][:120]})" if text else ""
        raise OutOfMemory(f"out of memory{reason}; lower --batch") from error


def _text(path: Path) -> str:
    """Of a file that not every system has."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""

"""What may be asked of engines and commands; loads nothing, so that wrong values are told soon."""

from __future__ import annotations

import re

from realtime.errors import UsageError

COMPUTE = re.compile(r"auto|cpu|gpu|cuda(:\d{1,3})?")
MOST_THREADS = 1024


def check_place(compute: str, threads: int | None) -> None:
    """Raises UsageError for a device that cannot exist, and for less than one CPU thread."""
    if not COMPUTE.fullmatch(compute):
        raise UsageError(f"--compute {compute}: choose auto, cpu, gpu, cuda or cuda:N")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"--threads {threads}: expected 1 to {MOST_THREADS}")

"""What belongs to one process of this machine: its cores, its temporary folder.

A claim is a lock on a small file, which the system lifts when the process ends, however it ends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: no cores are bound, nothing is cleared away
    fcntl = None  # type: ignore[assignment]

_PREFIX = "posestream-batch-"


def claim(path: Path) -> bool:
    """Lock a file, made as needed, until this process ends; False when another one has it."""
    if fcntl is None:
        return True
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:  # somebody else's
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        return False
    return True  # left open: closing it would lift the lock


def bind_cores(count: int) -> tuple[int, ...]:
    """Bind this process to so many cores that no other batch worker of this machine has; the
    cores, none where there are not so many or the system cannot."""
    if fcntl is None or not hasattr(os, "sched_setaffinity"):
        return ()
    folder = Path(tempfile.gettempdir()) / "posestream-cores"
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return ()
    mine: list[int] = []
    for core in sorted(os.sched_getaffinity(0)):
        if len(mine) < count and claim(folder / str(core)):
            mine.append(core)
    if len(mine) < count:
        return ()
    for thread in Path("/proc/self/task").iterdir():  # those of libraries are there already
        with suppress(OSError):  # it has just ended
            os.sched_setaffinity(int(thread.name), mine)
    return tuple(mine)


def own_folder() -> Path:
    """A new temporary folder of this process; those of processes that were killed go. Raises
    OSError."""
    root = Path(tempfile.gettempdir())
    for other in root.glob(f"{_PREFIX}*"):
        if fcntl is not None and (other / "lock").exists() and claim(other / "lock"):
            shutil.rmtree(other, ignore_errors=True)
    for _ in range(10):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        if claim(folder / "lock"):  # else somebody took it for one of a dead process just now
            break
    return folder

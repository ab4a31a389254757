"""The machine a benchmark runs on: its cores, and what else keeps them busy meanwhile."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from time import perf_counter, process_time

CPUINFO, STAT = Path("/proc/cpuinfo"), Path("/proc/stat")


def cores() -> int:
    """How many cores this process may use."""
    return len(_own())


def processor() -> str:
    """The name of the processor, as far as the system tells."""
    lines = _lines(CPUINFO)
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Others:
    """What other programs use of our cores from now on."""

    def __init__(self) -> None:
        self._wall, self._cpu, self._busy = perf_counter(), process_time(), busy_seconds()

    def share(self) -> float | None:
        """Of all our cores, 0..1; None where the system does not tell (it does on Linux)."""
        now, before = busy_seconds(), self._busy
        if now is None or before is None or now <= before:
            return None
        other = (now - before) - (process_time() - self._cpu)
        return max(0.0, other / ((perf_counter() - self._wall) * cores()))


def busy_seconds() -> float | None:
    """Seconds that our cores have worked since the system started, for whomever (proc(5),
    /proc/stat: user nice system idle iowait irq softirq steal); None where not known."""
    names = {f"cpu{number}" for number in _own()}
    ticks = 0
    for words in (line.split() for line in _lines(STAT)):
        if words and words[0] in names and len(words) >= 9:
            ticks += sum(int(words[n]) for n in (1, 2, 3, 6, 7, 8))
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else None


def _own() -> set[int]:
    """The numbers of the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _lines(path: Path) -> list[str]:
    """Of a file that not every system has."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []

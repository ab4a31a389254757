"""How a run is doing, as a small file for whoever looks after it (--status-file)."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from threading import Event, Thread
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any

from realtime.atomic import move
from realtime.errors import OutputError, PosestreamError
from realtime.ledger import Ledger
from realtime.masking import mask_credentials
from realtime.sources.base import Source
from realtime.version import VERSION

SCHEMA = 1
EVERY = 1.0
"""Seconds between two writings."""
RECENT = 10.0
"""Seconds over which fps and drops are told."""
UNSTEADY = 60.0
"""Seconds after a stall, a reconnect or a damaged packet for which a source is unsteady."""
HOUR = 3600.0
STALE = 5.0
"""Seconds without a finished frame after which the quality is "none"."""

NUMBERS = (
    "fps", "age_s", "frames_captured", "frames_finished", "frames_dropped", "frames_failed",
    "people", "people_failed", "bad_packets", "reconnects", "reconnects_1h", "stalls_1h",
)  # fmt: skip
STARTING: dict[str, Any] = {
    "state": "starting", "detail": "", "quality": "none", **dict.fromkeys(NUMBERS),
    "outputs_lost": [],
}  # fmt: skip
"""What is told before there is a source."""

logger = logging.getLogger(__name__)


class StatusFile:
    """Rewrites a JSON file every second, as a whole, from a thread of its own.

    Its fields: schema_version, posestream_status (our version), pid, updated (UTC, ISO 8601),
    state, detail, quality, fps (of the last 10 s), age_s (since the last finished frame),
    frames_captured, frames_finished, frames_dropped, frames_failed, people, people_failed,
    bad_packets, reconnects, reconnects_1h, stalls_1h, outputs_lost, exit_code, error. Numbers not
    known yet are null.

    state is starting, then that of the source (connecting, live, stalled, lost; a file is
    "running"), at the end done, stopped or failed; then exit_code is a number. quality is "good";
    "unsteady" within a minute of a stall, a reconnect or a damaged packet; "slow" when a live
    source gives more than twice what is finished; "blind" when no joint has been finite for
    ALARM frames; "none" when no frame was finished for 5 s.

    An existing file is replaced only when it is one of these. Raises OutputError when it cannot be
    written at the beginning; later that is logged once and tried again.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        _check(path)
        self._path, self._clock = path, clock
        self._part = path.with_name(f".{path.name}.part")
        self._source: Source | None = None
        self._ledger: Ledger | None = None
        self._lost: Callable[[], list[str]] = list
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=int(RECENT / EVERY) + 1)
        self._stalls = _Events()
        self._breaks = _Events()
        self._damage = _Events()
        self._was_stalled = False
        self._complained = False
        self._end = Event()
        try:
            self._write(self._told())
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
        self._thread = Thread(target=self._work, name="status file", daemon=True)
        self._thread.start()

    def follow(self, source: Source, ledger: Ledger, lost: Callable[[], list[str]]) -> None:
        """What to tell about from now on; lost gives the names of outputs given up."""
        self._ledger, self._lost, self._source = ledger, lost, source

    def finish(self, exit_code: int, stopped: bool, error: PosestreamError | None = None) -> None:
        """Write the last state; further calls do nothing."""
        if self._end.is_set():
            return
        self._end.set()
        self._thread.join(2 * EVERY)
        told = self._told()
        told["state"] = "failed" if error else "stopped" if stopped else "done"
        told["exit_code"] = exit_code
        told["error"] = mask_credentials(" ".join(str(error).split())) if error else None
        self._try(told)

    def __enter__(self) -> StatusFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """What leaves without finish() has failed, or was stopped while it started."""
        if isinstance(error, PosestreamError):
            self.finish(error.exit_code, False, error)
        elif error is not None:
            self.finish(getattr(error, "exit_code", 7), not isinstance(error, Exception))

    def _work(self) -> None:
        while not self._end.wait(EVERY):
            self._try(self._told())

    def _try(self, told: dict[str, Any]) -> None:
        try:
            self._write(told)
            self._complained = False
        except OSError as error:
            if not self._complained:
                self._complained = True
                logger.warning("%s: cannot be written: %s", self._path, error.strerror)

    def _write(self, told: dict[str, Any]) -> None:
        text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
        self._part.write_text(text, "utf-8", "backslashreplace")
        move(self._part, self._path)

    def _told(self) -> dict[str, Any]:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        head = {
            "schema_version": SCHEMA, "posestream_status": VERSION, "pid": os.getpid(),
            "updated": now.replace("+00:00", "Z"),
        }  # fmt: skip
        tail = {"exit_code": None, "error": None}
        if self._source is None or self._ledger is None:
            return {**head, **STARTING, **tail}
        return {**head, **self._figures(self._source, self._ledger), **tail}

    def _figures(self, source: Source, ledger: Ledger) -> dict[str, Any]:
        status, now = source.status, self._clock()
        state, dropped = status.state, ledger.dropped()
        self._samples.append((now, ledger.captured, ledger.delivered))
        self._stalls.count(now, int(state == "stalled" and not self._was_stalled), adds=True)
        self._breaks.count(now, status.reconnects)
        self._damage.count(now, status.bad_packets)
        self._was_stalled = state == "stalled"
        last = ledger.last_delivery
        age = None if last is None else max(0.0, perf_counter() - last)
        return {
            "state": "running" if state == "live" and not ledger.live else state,
            "detail": status.detail,
            "quality": self._quality(now, age, ledger),
            "fps": self._fps(),
            "age_s": None if age is None else round(age, 3),
            "frames_captured": ledger.captured,
            "frames_finished": ledger.delivered,
            "frames_dropped": dropped,
            "frames_failed": ledger.failed,
            "people": ledger.people,
            "people_failed": ledger.failed_people,
            "bad_packets": status.bad_packets,
            "reconnects": status.reconnects,
            "reconnects_1h": self._breaks.within(now, HOUR),
            "stalls_1h": self._stalls.within(now, HOUR),
            "outputs_lost": self._lost(),
        }

    def _fps(self) -> float | None:
        (first, _, before), (last, _, after) = self._samples[0], self._samples[-1]
        return round((after - before) / (last - first), 2) if last > first else None

    def _quality(self, now: float, age: float | None, ledger: Ledger) -> str:
        if age is None or age > STALE:
            return "none"
        if ledger.blind:
            return "blind"
        captured = self._samples[-1][1] - self._samples[0][1]
        finished = self._samples[-1][2] - self._samples[0][2]
        if ledger.live and captured > 2 * finished + 2:
            return "slow"
        events = (self._stalls, self._breaks, self._damage)
        return "unsteady" if any(e.within(now, UNSTEADY) for e in events) else "good"


class _Events:
    """How often something happened within the last hour, in constant memory: one entry a look."""

    def __init__(self) -> None:
        self._total = 0
        self._seen: deque[tuple[float, int]] = deque(maxlen=int(HOUR / EVERY))

    def count(self, now: float, number: int, adds: bool = False) -> None:
        """number so far, or with adds number more."""
        more = number if adds else number - self._total
        self._total += more
        if more > 0:
            self._seen.append((now, more))

    def within(self, now: float, seconds: float) -> int:
        return sum(more for when, more in self._seen if now - when <= seconds)


def _check(path: Path) -> None:
    """Raise OutputError for what must not be replaced."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise OutputError(f"{path}: is not an ordinary file; give --status-file another name")
    try:
        with path.open("rb") as file:
            head = file.read(200)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from error
    if head and b'"posestream_status"' not in head:
        raise OutputError(f"{path}: exists and is no status file; give another name")

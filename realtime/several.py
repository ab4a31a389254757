"""Several sources at once: a run for each, in threads of its own, with one detector and one pose
network for all of them, one window and one page.

Each run keeps its own edges, drop policy, tracker, outputs and report; what they ask of the
networks at about the same time is one batch (engines.shared). A source that fails is told at once
and does not end the others.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from threading import Thread
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from engines.base import Network
from engines.shared import Shared
from realtime.app import conclude, tell_end, verdict
from realtime.console import complain
from realtime.desk import Desk
from realtime.detect import Detector
from realtime.errors import OutputError, PosestreamError, StageError
from realtime.formats.target import parse_target
from realtime.grid import Grid, Tile
from realtime.job import OpenDisplay, open_job
from realtime.loop import STOP_LIMIT
from realtime.no_use import say_what_is_idle
from realtime.opening import (
    check_outputs,
    load_networks,
    say_what_is_kept,
    wants_window,
)
from realtime.progress import Progress
from realtime.screen import LOST, say_lost
from realtime.settings import Settings
from realtime.sinks.exit_guard import on_exit
from realtime.sources.base import Source, SourceInfo
from realtime.statusfile import StatusFile
from realtime.stop import Stop

if TYPE_CHECKING:  # it needs a library that only --serve needs
    from realtime.serve.wall import Part, WallPage

TICK = 0.01
"""Seconds between two looks at the window and the runs."""
logger = logging.getLogger(__name__)


def run(settings: Settings, stop: Stop) -> tuple[int, bool]:
    """Run all sources to their ends and say what happened. The exit code, that of the first one
    that failed, and whether the process must leave by os._exit.

    Raises PosestreamError when one of them could not begin; then none does.
    """
    parts = divided(settings)
    for part in parts:
        check_outputs(part, settings.input)  # a part knows only its own input
    with ExitStack() as told, ExitStack() as views, ExitStack() as cleanup:
        stop.rescue = cleanup.close
        page = _open_page(settings, stop, views)
        networks = _Networks(parts)
        members = [_Member(n, part, networks, told, cleanup) for n, part in enumerate(parts, 1)]
        say_what_is_kept(settings)
        jobs = [member.job for member in members]
        pictures = any(job.pictures for job in jobs)
        say_what_is_idle(settings, [job.source.info for job in jobs], pictures)
        grid = _open_grid(members, page is not None, stop)
        if grid:
            views.callback(grid.close)
        if page:
            page.follow([member.part for member in members])
        _attend(members, grid, page, stop, settings.quiet)
        cleanup.pop_all()  # the runs have closed them
    codes = [member.code for member in members]
    must_leave = grid is not None or any(member.left_behind for member in members)
    return next(filter(None, codes), 0), must_leave


def divided(settings: Settings) -> list[Settings]:
    """The settings of each source: cameras first, outputs with its number from 1 in their names."""
    sources: list[tuple[tuple[int, ...], tuple[str, ...]]] = []
    sources += [((number,), ()) for number in settings.device]
    sources += [((), (name,)) for name in settings.input]
    return [
        replace(
            settings,
            device=device,
            input=name,
            output=_numbered(settings.output, n),
            json=settings.json and str(_numbered(Path(settings.json), n)),
            data=tuple(_numbered_target(text, n) for text in settings.data),
            screenshot=_numbered(settings.screenshot, n),
            pictures=_numbered(settings.pictures, n),
            report=_numbered(settings.report, n),
            status_file=_numbered(settings.status_file, n),
        )
        for n, (device, name) in enumerate(sources, 1)
    ]


def _numbered(path: Path | None, number: int) -> Path | None:
    """out.mp4 as out-2.mp4."""
    return path and path.with_name(f"{path.stem}-{number}{path.suffix}")


def _numbered_target(text: str, number: int) -> str:
    target = parse_target(text)
    return f"{target.format}:{_numbered(target.path, number)}"


class _Networks:
    """Loads each network once for all sources; those of the demo scene have their own."""

    def __init__(self, parts: Sequence[Settings]) -> None:
        self._users = Counter(part.input == ("demo",) for part in parts)
        self._loaded: dict[bool, tuple[Network, Network]] = {}

    def load(self, settings: Settings, info: SourceInfo) -> tuple[Detector, Network]:
        demo = info.kind == "demo"
        if demo not in self._loaded:
            detector, pose = load_networks(settings, info, shared=True)
            users = self._users[demo]
            self._loaded[demo] = Shared(detector.network, users), Shared(pose, users)
        network, pose = self._loaded[demo]
        return Detector(network, settings.detector_score), pose


class _Member:
    """One of the runs. code: its exit code, None while it goes on."""

    def __init__(
        self,
        number: int,
        settings: Settings,
        networks: _Networks,
        told: ExitStack,
        cleanup: ExitStack,
    ) -> None:
        self.code: int | None = None
        self.stop = Stop()
        self._settings = settings
        self._began, self._utc = perf_counter(), datetime.now(timezone.utc)
        file = settings.status_file
        self._status = told.enter_context(StatusFile(file)) if file else None

        self.tile: Tile | None = None
        self.in_window = False
        silent = Progress(None, enabled=False)
        self.job = open_job(
            settings,
            self.stop,
            cleanup,
            networks.load,
            self._open_tile(number),
            silent,
            self._shown,
        )
        self.name = f"source {number}, {self.job.source.info.name}"
        if self._status:
            self._status.follow(self.job.source, self.job.ledger, self.job.lost)
        self._failure: PosestreamError | None = None
        self._returned = False
        self._thread = Thread(target=self._work, name=f"run of {self.name}", daemon=True)

    def _shown(self, settings: Settings, info: SourceInfo) -> bool:
        """Whether somebody sees its frames."""
        self.in_window = wants_window(settings, info)
        return self.in_window or settings.serve is not None

    def _open_tile(self, number: int) -> OpenDisplay:
        def tile(source: Source, desk: Desk, paced: bool, alone: bool) -> Tile:
            self.tile = Tile(f"{number}  {source.info.name}", source, desk, paced)
            return self.tile

        return tile

    @property
    def part(self) -> Part:
        """What a page shows."""
        assert self.tile is not None
        return self.tile, self.job.pipeline, self.job.ledger, self.job.workers

    def look_after(self) -> None:
        """Do what keys and buttons ask for when the run, which does it otherwise, has ended."""
        if self.tile and self.code is not None and not self.alive:
            self.tile.look_after(self.stop)

    def start(self) -> None:
        """Begin the run in a thread of its own."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def left_behind(self) -> bool:
        """Whether a thread of it does not come back."""
        return self.alive or bool(self.job.whole.left_behind)

    def conclude(self) -> None:
        """Say how it ended."""
        failure = self._failure
        if not self._returned:
            failure = failure or StageError(f"{self.name}: the run broke off, see above")
        ended = failure is None and self.job.whole.ended
        report = self.job.report(self._utc, ended)
        failure = verdict(self._settings, report, failure)
        if self._status:
            tell_end(self._status, self.stop, failure)
        if not self._settings.quiet:
            print(f"{self.name}:", file=sys.stderr)
        self.code = conclude(self._settings, self.stop, report, failure)

    def _work(self) -> None:
        self._failure = self.job.run(startup_s=perf_counter() - self._began)
        self._returned = True


def _open_page(settings: Settings, stop: Stop, views: ExitStack) -> WallPage | None:
    """The page of all sources, if asked for. Raises OutputError and ModelError."""
    if settings.serve is None:
        return None
    from realtime.serve.wall import WallPage

    page = WallPage(settings.serve, stop, settings.min_joint_score)
    views.callback(page.close)
    return page


def _open_grid(members: Sequence[_Member], served: bool, stop: Stop) -> Grid | None:
    """The window, if a source has something to be seen there."""
    tiles = [member.tile for member in members if member.tile and member.in_window]
    if not tiles:
        return None
    alone = not (served or any(member.job.workers for member in members))
    try:
        grid = Grid("posestream", tiles, alone, served)
    except OSError as error:
        logger.warning("no window: %s", error)
        return None
    on_exit(lambda: _display_lost(members, alone, stop))
    return grid


def _attend(
    members: Sequence[_Member],
    grid: Grid | None,
    page: WallPage | None,
    stop: Stop,
    quiet: bool,
) -> None:
    """The main thread while the runs go on: signals, what is seen, progress, and their ends."""

    def rescue() -> None:
        for member in members:
            member.stop.rescue()

    def assembles() -> bool:
        return any(member.stop.assembles() for member in members)

    stop.started, stop.rescue, stop.assembles = True, rescue, assembles
    totals = [member.job.source.info.frames for member in members]
    known = sum(total or 0 for total in totals) if all(totals) else None
    progress = Progress(known, enabled=not quiet)
    for member in members:
        member.start()
    deadline = None
    while any(member.code is None for member in members):
        if stop.reason and deadline is None:
            deadline = perf_counter() + 2 * STOP_LIMIT
            for member in members:
                member.stop.ask(stop.reason, stop.exit_code)
        if deadline is not None and assembles():
            deadline = perf_counter() + 2 * STOP_LIMIT
        late = deadline is not None and perf_counter() > deadline
        for member in members:
            if member.code is None and (late or not member.alive):
                progress.clear()
                member.conclude()
            member.look_after()
        if grid:
            grid.look_after(stop)
        if page:
            page.look_after()
        progress.update(sum(member.job.ledger.delivered for member in members))
        sleep(TICK)
    progress.close()


def _display_lost(members: Sequence[_Member], alone: bool, stop: Stop) -> int:
    """The window toolkit is ending the process; keep what has been recorded. The exit code."""
    for member in members:
        member.stop.rescue()
    if alone:
        say_lost(stop, alone)
        return 0
    complain(OutputError(LOST))
    return OutputError.exit_code

"""The parts of one run: opened in the order in which mistakes are to be told, and put together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from engines import choose
from engines.base import Network
from realtime.choice import EVERYBODY
from realtime.compare import Compare
from realtime.demo_score import DemoScore
from realtime.desk import Desk
from realtime.detect import Detector
from realtime.errors import PosestreamError
from realtime.faults import parse_fault
from realtime.faulty import faulty
from realtime.hud import Hud
from realtime.ledger import Ledger
from realtime.loop import Run
from realtime.opening import (
    check_report,
    load_compared,
    load_networks,
    open_page,
    open_sinks,
    open_source,
    pipeline_options,
    style_of,
    wants_window,
)
from realtime.outputs import SinkWorker
from realtime.pipeline import Pipeline
from realtime.progress import Progress
from realtime.run_report import build_report, model
from realtime.screen import Display, Screen
from realtime.settings import Settings
from realtime.sinks.base import Sink
from realtime.sinks.record import Recorder
from realtime.sinks.window import Window
from realtime.sources.base import Seekable, Source, SourceInfo
from realtime.sources.demo import DemoSource
from realtime.stages import Meter
from realtime.stop import Stop

logger = logging.getLogger(__name__)

LIVE_QUEUE = 30
"""Frames a sink of a live source may lag behind before frames are kept from it (1 s)."""
FILE_QUEUE = 4

OpenDisplay = Callable[[Source, Desk, bool, bool], "Display | None"]
"""From source, desk, paced and alone (see Screen) to what shows the frames."""
Load = Callable[[Settings, SourceInfo], tuple[Detector, Network]]


class Job:
    """The parts of one run, put together. See open_job. pictures: whether some are drawn."""

    def __init__(
        self,
        settings: Settings,
        stop: Stop,
        source: Source,
        sinks: list[Sink],
        detector: Detector,
        pose: Network,
        show: OpenDisplay | None,
        progress: Progress | None = None,
    ) -> None:
        fault = parse_fault(os.environ.get("POSESTREAM_FAULT", ""))
        live = source.info.live
        detector, pose = faulty(detector, pose, fault)
        self.source, self.networks = source, (detector.network, pose)
        self.ledger = Ledger(live)
        results = _results(sinks)
        self.desk = _desk(settings, stop, source, results)
        hud = Hud(
            self.ledger,
            source,
            lambda: self.desk.style,
            lambda: self.desk.recording,
            lambda: self.compare.captions() if self.compare else (),
        )
        self.desk.redraw, self.desk.checked = hud.again, hud.checked
        self.pictures = show is not None or any(sink.wants_picture for sink in sinks)
        drawer = hud.draw if self.pictures else None
        options = pipeline_options(settings, show is not None)
        self.pipeline = Pipeline(source, detector, pose, drawer, self.ledger, options, fault)
        self.compare = None
        if settings.compare:
            other = load_compared(settings, self.pictures)
            first = detector.network if isinstance(other, Detector) else pose
            self.compare = Compare(other, pose, options, source.info)
            self.compare.beside(self.pipeline, first)
        self.pipeline.wants_heat = lambda: self.desk.style.heatmap
        self.pipeline.watchful = lambda: self.desk.style.blur_faces  # nobody comes in unseen
        queue = LIVE_QUEUE if live else FILE_QUEUE
        self.workers = [SinkWorker(s, Meter(s.name, s.name, fault), queue) for s in sinks]
        self.screen = None
        if show:
            self.screen = show(source, self.desk, not live and not results, not results)
        self.ledger.watch(
            self.pipeline.edges,
            {w.sink.name: w.count for w in self.workers},
            self.screen.count if self.screen else None,
        )
        self.score = None
        if isinstance(source, DemoSource):
            self.score = DemoScore(source.scene, everybody=options.select == EVERYBODY)
        self.whole = Run(
            source,
            self.pipeline,
            self.workers,
            self.screen,
            self.desk,
            hud,
            self.ledger,
            stop,
            progress or Progress(source.info.frames, enabled=not settings.quiet and not live),
            self.score,
            settings.record_required,
        )
        self.startup_s = 0.0

    def run(self, startup_s: float) -> PosestreamError | None:
        """Run to the end; the error that ended it, if any."""
        self.startup_s = startup_s
        try:
            self.whole()
        except PosestreamError as error:
            return error
        finally:
            if not self.whole.left_behind:
                for network in (*self.networks, *([self.compare.network] if self.compare else [])):
                    network.close()
        return None

    def lost(self) -> list[str]:
        """Names of the outputs that were given up."""
        return [worker.sink.name for worker in self.workers if worker.error]

    def report(self, utc: datetime, ended: bool) -> dict[str, Any]:
        report = build_report(
            utc, self.startup_s, self.source, self.ledger, self.pipeline, self.workers,
            self.networks, ended,
        )  # fmt: skip
        if self.compare:
            report["models"]["compare"] = model(self.compare.network)
        if self.score:
            report["demo"] = self.score.result()
        report["notes"][:0] = self.pipeline.notes
        return report


def _results(sinks: list[Sink]) -> list[Sink]:
    """Those that want every frame; a screenshot does not."""
    return [sink for sink in sinks if sink.keeps != "picture"]


def _desk(settings: Settings, stop: Stop, source: Source, sinks: list[Sink]) -> Desk:
    """The controls of the run."""
    return Desk(
        style_of(settings),
        stop,
        live=source.info.live,
        pictures=settings.output or Path("posestream"),
        recorder=next((sink for sink in sinks if isinstance(sink, Recorder)), None),
        file=source if isinstance(source, Seekable) and source.can_seek else None,
        writing=any(sink.keeps != "nothing" for sink in sinks),
        fullscreen=settings.fullscreen,
    )


def open_job(
    settings: Settings,
    stop: Stop,
    cleanup: ExitStack,
    load: Load = load_networks,
    show: OpenDisplay | None = None,
    progress: Progress | None = None,
    wanted: Callable[[Settings, SourceInfo], bool] | None = None,
) -> Job:
    """Open everything that one source's run needs; cleanup takes it back if the run does not begin.

    show: opens what shows the frames, on a page too, if wanted() says so; None: a window of its
    own, and a page of its own if asked for. Raises PosestreamError.
    """
    source = open_source(settings)
    cleanup.callback(source.close)
    sinks = open_sinks(settings, source.info, cleanup)
    check_report(settings)
    alone = not _results(sinks)
    page = None if show else open_page(settings, stop, alone, source.info, cleanup)
    sinks += [page] if page else []
    if settings.compare:
        choose.either(settings.compare)  # wrong: told before anything else is
    detector, pose = load(settings, source.info)
    seen = (wanted or wants_window)(settings, source.info)  # may warn, after all errors
    shown = (show or _open_screen) if seen else None
    job = Job(settings, stop, source, sinks, detector, pose, shown, progress)
    if page:
        page.follow(job.pipeline, job.ledger, source, job.workers, job.desk)
    return job


def _open_screen(source: Source, desk: Desk, paced: bool, alone: bool) -> Display | None:
    """The window; None when the display went away since it was looked for."""
    try:
        return Screen(Window(f"posestream - {source.info.name}"), source, desk, paced, alone)
    except OSError as error:
        logger.warning("no window: %s", error)
        return None

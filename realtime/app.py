"""From settings to an exit code: opens everything, runs the pipeline, says what happened."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter
from typing import Any

from engines.base import Network
from realtime.cli import Settings
from realtime.console import complain
from realtime.controls import with_overlay
from realtime.demo_score import DemoScore
from realtime.desk import Desk
from realtime.detect import Detector
from realtime.errors import InputError, OutputError, PosestreamError, StageError
from realtime.faults import parse_fault
from realtime.faulty import faulty
from realtime.halving import Halving
from realtime.hud import Hud
from realtime.ledger import Ledger
from realtime.loop import Run
from realtime.opening import (
    check_report,
    load_networks,
    open_page,
    open_sinks,
    open_source,
    pipeline_options,
    wants_window,
)
from realtime.outputs import SinkWorker
from realtime.pipeline import Pipeline
from realtime.progress import Progress
from realtime.render import Style
from realtime.run_report import build_report, summary, write_report
from realtime.screen import Screen
from realtime.sinks.base import Sink
from realtime.sinks.exit_guard import on_exit
from realtime.sinks.jsonl import PipeClosed
from realtime.sinks.record import Recorder
from realtime.sinks.window import Window
from realtime.sources.base import Source
from realtime.sources.demo import DemoSource
from realtime.stages import Meter
from realtime.statusfile import StatusFile
from realtime.stop import Stop

logger = logging.getLogger(__name__)

LIVE_QUEUE = 30
"""Frames a sink of a live source may lag behind before frames are kept from it (1 s)."""
FILE_QUEUE = 4


def run(settings: Settings, stop: Stop) -> tuple[int, bool]:
    """Carry one run out and say what happened. Its exit code, and whether the process must leave
    by os._exit.

    Raises PosestreamError when the run could not begin.
    """
    report, failure, must_leave = perform(settings, stop)
    return _conclude(settings, stop, report, failure), must_leave


def perform(settings: Settings, stop: Stop) -> tuple[dict[str, Any], PosestreamError | None, bool]:
    """Carry one run out: its report, the error that ended it if any, and whether the process must
    leave by os._exit. Raises PosestreamError when the run could not begin."""
    if settings.status_file is None:
        return _perform(settings, stop, None)
    with StatusFile(settings.status_file) as told:
        report, failure, must_leave = _perform(settings, stop, told)
        if isinstance(failure, PipeClosed):
            told.finish(0, stopped=True)
        code = failure.exit_code if failure else stop.exit_code
        told.finish(code, bool(stop.reason), failure)
        return report, failure, must_leave


def _perform(
    settings: Settings, stop: Stop, told: StatusFile | None
) -> tuple[dict[str, Any], PosestreamError | None, bool]:
    """perform(), telling how it goes."""
    began, utc = perf_counter(), datetime.now(timezone.utc)
    with ExitStack() as cleanup:
        stop.rescue = cleanup.close
        source = open_source(settings)
        cleanup.callback(source.close)
        show = wants_window(settings, source.info)
        sinks = open_sinks(settings, source.info, cleanup)
        check_report(settings)
        page = open_page(settings, stop, not sinks, source.info, cleanup)
        sinks += [page] if page else []
        detector, pose = load_networks(settings, source.info)
        job = _Job(settings, stop, source, sinks, detector, pose, show)
        if told:
            told.follow(source, job.ledger, job.lost)
        if page:
            page.follow(job.pipeline, job.ledger, source, job.workers, job.desk)
        if job.screen:
            on_exit(lambda: _display_lost(settings, stop, job, utc))
        failure = job.run(startup_s=perf_counter() - began)
        report = job.report(utc, ended=failure is None and job.whole.ended)
        cleanup.pop_all()  # the run has closed them; a thread left behind may still hold them
        must_leave = bool(job.whole.left_behind) or job.screen is not None  # see on_exit
        return report, verdict(settings, report, failure), must_leave


class _Job:
    """The parts of one run, put together."""

    def __init__(
        self,
        settings: Settings,
        stop: Stop,
        source: Source,
        sinks: list[Sink],
        detector: Detector,
        pose: Network,
        show: bool,
    ) -> None:
        fault = parse_fault(os.environ.get("POSESTREAM_FAULT", ""))
        live = source.info.live
        detector, pose = faulty(detector, pose, fault)
        detector.network, pose = Halving(detector.network), Halving(pose)
        self.source, self.networks = source, (detector.network, pose)
        self.ledger = Ledger(live)
        style = Style(
            min_joint_score=settings.min_joint_score,
            mirror=settings.mirror,
            show_angles=settings.angles,
            blur_faces=settings.blur_faces,
        )
        recorder = next((sink for sink in sinks if isinstance(sink, Recorder)), None)
        self.desk = Desk(
            with_overlay(style, settings.overlay),
            stop,
            live=live,
            pictures=settings.output or Path("posestream"),
            recorder=recorder,
        )
        hud = Hud(self.ledger, source, lambda: self.desk.style, lambda: self.desk.recording)
        self.desk.redraw, self.desk.checked = hud.again, hud.checked
        pictures = show or any(sink.wants_picture for sink in sinks)
        drawer = hud.draw if pictures else None
        # With a window or a page somebody may switch the blur on at any time.
        heads = settings.blur_faces or show or settings.serve is not None
        options = replace(pipeline_options(settings), find_heads=heads)
        if settings.blur_faces:
            options = replace(options, detect_every=1)
        self.pipeline = Pipeline(source, detector, pose, drawer, self.ledger, options, fault)
        self.pipeline.watchful = lambda: self.desk.style.blur_faces  # nobody comes in unseen
        queue = LIVE_QUEUE if live else FILE_QUEUE
        self.workers = [SinkWorker(s, Meter(s.name, s.name, fault), queue) for s in sinks]
        self.ledger.watch(self.pipeline.edges, {w.sink.name: w.count for w in self.workers})
        self.screen = None
        if show:
            paced = not live and not sinks
            self.screen = _open_screen(source, self.desk, paced=paced, alone=not sinks)
        self.score = DemoScore(source.scene) if isinstance(source, DemoSource) else None
        self.whole = Run(
            source,
            self.pipeline,
            self.workers,
            self.screen,
            self.desk,
            hud,
            self.ledger,
            stop,
            Progress(source.info.frames, enabled=not settings.quiet and not live),
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
                for network in self.networks:
                    network.close()
        return None

    def lost(self) -> list[str]:
        """Names of the outputs that were given up."""
        return [worker.sink.name for worker in self.workers if worker.error]

    def report(self, utc: datetime, ended: bool) -> dict[str, Any]:
        shown = self.screen.shown if self.screen else 0
        report = build_report(
            utc, self.startup_s, self.source, self.ledger, self.pipeline, self.workers,
            self.networks, shown, ended,
        )  # fmt: skip
        if self.score:
            report["demo"] = self.score.result()
        return report


def _open_screen(source: Source, desk: Desk, paced: bool, alone: bool) -> Screen | None:
    """The window; None when the display went away since it was looked for."""
    try:
        return Screen(Window(f"posestream - {source.info.name}"), source, desk, paced, alone)
    except OSError as error:
        logger.warning("no window: %s", error)
        return None


def _display_lost(settings: Settings, stop: Stop, job: _Job, utc: datetime) -> int:
    """The window toolkit is ending the process, so the run has to end here; the exit code."""
    job.whole.break_off()
    failure = None
    if job.workers:
        failure = OutputError("the display went away while a window was drawn; use --headless")
    report = job.report(utc, ended=False)
    return _conclude(settings, stop, report, verdict(settings, report, failure))


def verdict(
    settings: Settings, report: dict[str, Any], failure: PosestreamError | None
) -> PosestreamError | None:
    """The error of a run that came to its end: the one that ended it, or what its report tells."""
    if failure is None and report["ledger_errors"]:
        return StageError(f"the ledger does not add up: {report['ledger_errors'][0]}")
    if failure is None and settings.strict and report["damage"]:
        return InputError(f"{report['damage']} (--strict)")
    return failure


def _conclude(
    settings: Settings, stop: Stop, report: dict[str, Any], failure: PosestreamError | None
) -> int:
    """Write the report, print the summary, and choose the exit code."""
    code = stop.exit_code
    if failure is not None and not isinstance(failure, PipeClosed):
        tell(failure, settings.debug)
        code = failure.exit_code
    if settings.report:
        report["exit_code"] = code
        try:
            write_report(settings.report, report, settings.overwrite)
        except OutputError as error:
            tell(error, settings.debug)
            code = code or error.exit_code
    if not settings.quiet:
        print("\n".join(summary(report)), file=sys.stderr)
    return code


def tell(error: PosestreamError, debug: bool) -> None:
    """One line on standard error; with debug the traceback as well."""
    if debug:
        logger.error("traceback:", exc_info=error)
    complain(error)

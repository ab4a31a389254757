"""From settings to an exit code: opens everything, runs the pipeline, says what happened."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from datetime import datetime, timezone
from time import perf_counter
from typing import Any

from realtime.console import complain
from realtime.errors import InputError, OutputError, PosestreamError, StageError
from realtime.job import Job, open_job
from realtime.no_use import say_what_is_idle
from realtime.opening import say_what_is_kept
from realtime.run_report import summary, write_report
from realtime.screen import LOST, say_lost
from realtime.settings import Settings
from realtime.sinks.exit_guard import on_exit
from realtime.sinks.jsonl import PipeClosed
from realtime.statusfile import StatusFile
from realtime.stop import Stop

logger = logging.getLogger(__name__)


def run(settings: Settings, stop: Stop) -> tuple[int, bool]:
    """Carry one run out and say what happened. Its exit code, and whether the process must leave
    by os._exit.

    Raises PosestreamError when the run could not begin.
    """
    report, failure, must_leave = perform(settings, stop)
    return conclude(settings, stop, report, failure), must_leave


def perform(settings: Settings, stop: Stop) -> tuple[dict[str, Any], PosestreamError | None, bool]:
    """Carry one run out: its report, the error that ended it if any, and whether the process must
    leave by os._exit. Raises PosestreamError when the run could not begin."""
    if settings.status_file is None:
        return _perform(settings, stop, None)
    with StatusFile(settings.status_file) as told:
        report, failure, must_leave = _perform(settings, stop, told)
        tell_end(told, stop, failure)
        return report, failure, must_leave


def tell_end(told: StatusFile, stop: Stop, failure: PosestreamError | None) -> None:
    """Say in the status file how a run ended."""
    if isinstance(failure, PipeClosed):
        told.finish(0, stopped=True)
    code = failure.exit_code if failure else stop.exit_code
    told.finish(code, bool(stop.reason), failure)


def _perform(
    settings: Settings, stop: Stop, told: StatusFile | None
) -> tuple[dict[str, Any], PosestreamError | None, bool]:
    """perform(), telling how it goes."""
    began, utc = perf_counter(), datetime.now(timezone.utc)
    with ExitStack() as cleanup:
        stop.rescue = cleanup.close
        job = open_job(settings, stop, cleanup)
        say_what_is_kept(settings)
        say_what_is_idle(settings, [job.source.info], job.pictures)
        if told:
            told.follow(job.source, job.ledger, job.lost)
        if job.screen:
            on_exit(lambda: _display_lost(settings, stop, job, utc, told))
        failure = job.run(startup_s=perf_counter() - began)
        report = job.report(utc, ended=failure is None and job.whole.ended)
        cleanup.pop_all()  # the run has closed them; a thread left behind may still hold them
        must_leave = bool(job.whole.left_behind) or job.screen is not None  # see on_exit
        return report, verdict(settings, report, failure), must_leave


def _display_lost(
    settings: Settings, stop: Stop, job: Job, utc: datetime, told: StatusFile | None
) -> int:
    """The window toolkit is ending the process, so the run has to end here; the exit code."""
    job.whole.break_off()
    failure = None
    if job.workers:
        failure = OutputError(LOST)
    else:
        say_lost(stop, alone=True)
    report = job.report(utc, ended=False)
    failed = verdict(settings, report, failure)
    if told:
        tell_end(told, stop, failed)
    return conclude(settings, stop, report, failed)


def verdict(
    settings: Settings, report: dict[str, Any], failure: PosestreamError | None
) -> PosestreamError | None:
    """The error of a run that came to its end: the one that ended it, or what its report tells."""
    if failure is None and report["ledger_errors"]:
        return StageError(f"the ledger does not add up: {report['ledger_errors'][0]}")
    if failure is None and settings.strict and report["damage"]:
        return InputError(f"{report['damage']} (--strict)")
    return failure


def conclude(
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
            with stop.writes():
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

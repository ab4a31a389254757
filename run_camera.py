"""People's poses from a camera, a video, a stream or a folder; see --help."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    from realtime.start import quietly

    quietly(run=True)

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from realtime import console
from realtime.errors import ModelError, OutputError, PosestreamError, StageError
from realtime.sinks.exit_guard import guarded
from realtime.sources.waiting import still_opening
from realtime.stop import Stop, Stopped

if TYPE_CHECKING:  # it loads numpy, which takes a while: signals are looked after first
    from realtime.settings import Settings

REINSTALL = "run pip install . again, and in a container install libgl1 and libglib2.0-0"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. Errors are one line on standard error."""
    console.secure()
    stop = Stop()
    try:
        stop.install()
        code = carry_out(argv, stop)
    except Stopped:
        code = stop.exit_code
    finally:
        stop.release()
        console.flush_stdout()
    if still_opening() or guarded():
        leave(code)
    return code


def carry_out(argv: Sequence[str] | None, stop: Stop) -> int:
    """From arguments to the exit code. Raises Stopped when a signal comes before anything runs."""
    debug = False
    try:
        from realtime.cli import parse

        settings = parse(sys.argv[1:] if argv is None else argv)
        debug = settings.debug
        console.set_up_logging(settings.log_file, settings.verbose, settings.quiet)
        return dispatch(settings, stop)
    except ImportError as error:  # a library of ours or of the system is missing
        if stop.reason and not stop.started:  # numpy makes this of a Stopped while it is loaded
            return stop.exit_code
        console.complain(ModelError(f"cannot load a library: {error}; {REINSTALL}"))
        return ModelError.exit_code
    except PosestreamError as error:
        if debug:
            logging.getLogger("posestream").error("traceback:", exc_info=error)
        console.complain(error)
        return error.exit_code
    except Exception as error:  # a mistake of ours; what was open is closed by now
        if debug:
            logging.getLogger("posestream").error("traceback:", exc_info=error)
        what = f"{type(error).__name__}: {error}"
        console.complain(StageError(f"unexpected {what}; run it again with --debug and report it"))
        return StageError.exit_code


def dispatch(settings: Settings, stop: Stop) -> int:
    """Do what was asked for; heavy modules are loaded only now."""
    if settings.print_config:
        from realtime.config_file import as_toml

        return answer(as_toml(settings))
    if settings.version:
        from realtime.about import versions

        return answer(versions())
    if settings.list_cameras:
        from realtime.sources.camera import list_cameras

        return answer(list_cameras())
    if settings.bench:
        from realtime.bench import measure

        table, must_leave = measure.run(settings)
        code = answer(table)
        if must_leave:
            leave(code)
        return code
    if settings.explain:
        from realtime import explain

        explain.run(settings)
        return 0
    if len(settings.device) + len(settings.input) > 1:
        from realtime.several import run
    else:
        from realtime.app import run

    code, must_leave = run(settings, stop)
    if must_leave:
        leave(code)
    return code


def answer(text: str) -> int:
    """Print what was asked for; the exit code. A reader who leaves early is no error. Raises
    OutputError."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        pass
    except OSError as error:
        raise OutputError(f"standard output: cannot be written: {error.strerror}") from error
    return 0


def leave(code: int) -> None:
    """End the process at once: an ordinary end would wait for a thread stuck in a driver, or run
    into what a window toolkit has left."""
    logging.shutdown()
    console.flush_stdout()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())

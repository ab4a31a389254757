"""People's poses from a camera, a video, a stream or a folder; see --help."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

# Windows' Media Foundation takes minutes to open some cameras otherwise; read when cv2 loads.
os.environ.setdefault("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")

from realtime.cli import Settings, as_toml, parse
from realtime.errors import ModelError, PosestreamError, UsageError
from realtime.stop import Stop, Stopped


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. Errors are one line on standard error."""
    debug = False
    stop = Stop()
    stop.install()
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
        debug = settings.debug
        set_up_logging(settings)
        return dispatch(settings, stop)
    except Stopped:
        return stop.exit_code
    except BrokenPipeError:  # the reader of --version or --help has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except PosestreamError as error:
        if debug:
            logging.getLogger("posestream").error("traceback:", exc_info=error)
        print("posestream: error: " + " ".join(str(error).splitlines()), file=sys.stderr)
        return error.exit_code


def dispatch(settings: Settings, stop: Stop) -> int:
    """Do what was asked for; heavy modules are loaded only now."""
    if settings.print_config:
        print(as_toml(settings))
        return 0
    if settings.version:
        from realtime.about import versions

        print(versions())
        return 0
    if settings.list_cameras:
        from realtime.sources.camera import list_cameras

        print(list_cameras())
        return 0
    try:
        from realtime.app import run
    except ImportError as error:  # a library of ours or of the system is missing
        raise ModelError(
            f"cannot load a library: {error}; run pip install . again, and in a container install "
            "libgl1 and libglib2.0-0"
        ) from error
    code, left_behind = run(settings, stop)
    if left_behind:
        leave(code)
    return code


def leave(code: int) -> None:
    """End the process at once: a thread is stuck in a driver and would block an ordinary end."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def set_up_logging(settings: Settings) -> None:
    """Messages to standard error, and into --log-file. Raises UsageError."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if settings.log_file:
        try:
            handlers.append(logging.FileHandler(settings.log_file, encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"--log-file {settings.log_file}: {error.strerror}") from None
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    level = logging.ERROR if settings.quiet else levels[min(settings.verbose, 2)]
    logging.basicConfig(
        level=level, handlers=handlers, format="posestream: %(levelname)s: %(message)s", force=True
    )


if __name__ == "__main__":
    sys.exit(main())

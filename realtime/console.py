"""Standard streams that may be closed, full or without a reader: none of that ends a run."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from realtime.errors import OutputError, UsageError
from realtime.masking import mask_credentials
from realtime.start import begun

FORMAT = "posestream: %(levelname)s: %(message)s"
CLEAR = "\r\x1b[K"
"""Takes away what stands in a terminal's line, such as the progress of a run."""


class _Forgiving(io.RawIOBase):
    """A file that takes everything; what cannot be written is lost. It writes by way of the file
    that Python has opened: that of a Windows console turns UTF-8 into what the console shows."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def write(self, data: Any) -> int:
        try:
            return self._raw.write(data) or 0
        except OSError:
            return len(data)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        """Whether a line can be taken away again; the terminals of some editors are dumb."""
        return bool(self._raw.isatty()) and os.environ.get("TERM") != "dumb"

    def fileno(self) -> int:
        return int(self._raw.fileno())


class _Answers:
    """Standard output for answers: one that takes no more is an OutputError, which is told in a
    line; a reader who has gone stays a BrokenPipeError."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        with _writable():
            return self._file.write(text)

    def flush(self) -> None:
        with _writable():
            self._file.flush()


@contextmanager
def _writable() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: cannot be written: {error.strerror}") from error


def secure() -> None:
    """Call once, first thing; from then on Ctrl-C is a KeyboardInterrupt.

    A closed standard stream leaves its number (0, 1, 2) free, and the next file opened would get
    it together with all that libraries print; so the number is taken. sys.stdout stays None when
    it was closed, because data that somebody asked for must not vanish. A name that it cannot show
    (Windows: what goes to a file or pipe is in an old code page) is escaped.
    """
    begun()
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
        if sys.stdout is sys.__stdout__:
            sys.stdout = cast(TextIO, _Answers(sys.stdout))
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        buffer = getattr(sys.stderr, "buffer", None) or io.FileIO(2, "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            _Forgiving(getattr(buffer, "raw", buffer)),
            encoding=getattr(sys.stderr, "encoding", "utf-8"),
            errors="backslashreplace",
            write_through=True,
        )
        _obey_escapes()


def _obey_escapes() -> None:
    """Have a Windows console carry out the sequence that clears a line instead of showing it."""
    if sys.platform == "win32":
        import ctypes

        mode, console = ctypes.c_uint32(), ctypes.windll.kernel32
        handle = console.GetStdHandle(-12)  # that of standard error
        if console.GetConsoleMode(handle, ctypes.byref(mode)):
            console.SetConsoleMode(handle, mode.value | 4)  # ENABLE_VIRTUAL_TERMINAL_PROCESSING


def drop_stdout() -> None:
    """Send what is still to be written to standard output nowhere, so that the interpreter's own
    flush at its end does not fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def deliver() -> None:
    """Have standard output take all that was printed. Raises OutputError and BrokenPipeError."""
    if sys.stdout:
        sys.stdout.flush()


def flush_stdout() -> None:
    """Flush standard output for the last time; a reader that has gone is no error."""
    try:
        deliver()
    except (OSError, OutputError):
        drop_stdout()


class _Masked(logging.Formatter):
    """Without passwords, also in tracebacks, where libraries name the address they were given."""

    def format(self, record: logging.LogRecord) -> str:
        return mask_credentials(super().format(record))


class _OnScreen(_Masked):
    """At a terminal in a line of its own, where progress may be shown."""

    def format(self, record: logging.LogRecord) -> str:
        return (CLEAR if sys.stderr.isatty() else "") + super().format(record)


class LogFile(logging.FileHandler):
    """A log file that ends, with one line, when it cannot grow."""

    def handleError(self, record: logging.LogRecord) -> None:
        self.setLevel(logging.CRITICAL + 1)
        reason = sys.exc_info()[1]
        print(f"posestream: WARNING: log file {self.baseFilename}: {reason}", file=sys.stderr)


def complain(error: Exception) -> None:
    """An error as the one line that users see; without passwords, also when an address was given
    where none belongs."""
    text = mask_credentials(" ".join(str(error).splitlines()))
    print("posestream: error: " + text, file=sys.stderr)
    record = logging.makeLogRecord(
        {"name": "posestream", "levelno": logging.ERROR, "levelname": "ERROR", "msg": text}
    )
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.handle(record)


def set_up_logging(path: Path | None, verbose: int, quiet: bool) -> None:
    """Messages to standard error, only errors when quiet, and into the file at path, which says
    when each came. Raises UsageError for a file that cannot be written."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    screen = logging.StreamHandler()
    screen.setLevel(logging.ERROR if quiet else level)
    screen.setFormatter(_OnScreen(FORMAT))
    handlers: list[logging.Handler] = [screen]
    if path:
        try:
            file = LogFile(path, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UsageError(f"--log-file {path}: {error.strerror}") from None
        file.setFormatter(_Masked(f"%(asctime)s {FORMAT}"))
        handlers.append(file)
    logging.basicConfig(level=level, handlers=handlers, force=True)

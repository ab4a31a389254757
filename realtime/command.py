"""What all command lines have in common."""

from __future__ import annotations

import argparse
import signal
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from realtime.console import complain, deliver, drop_stdout, flush_stdout, secure
from realtime.errors import PosestreamError, UsageError


class _Plain(argparse.RawDescriptionHelpFormatter):
    """Leaves names with a dash (csv-wide, --fix-swaps) whole."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """Errors as one line (UsageError), no abbreviated options, the epilog as it is written;
    subparsers are of this class as well."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": _Plain, **values})
        self.register("type", int, whole)
        self.register("type", float, number)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """A value that is none of the option's choices, told as all other values that are wrong."""
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[-1] if action.option_strings else action.metavar
            allowed = ", ".join(map(str, action.choices))
            raise UsageError(f"{name or action.dest} {value}: choose {allowed}")

    def _print_message(self, message: str, file: Any = None) -> None:
        """A reader who leaves early is no error; Python 3.10 takes it for one."""
        with suppress(BrokenPipeError):
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")


def whole(text: str) -> int:
    """The value of an option that takes a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None


def number(text: str) -> float:
    """The value of an option that takes a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None


def between(low: float, high: float) -> Callable[[str], float]:
    """The kind of an option that takes a number from low to high."""

    def value(text: str) -> float:
        if not low <= number(text) <= high:
            raise argparse.ArgumentTypeError(f"must be from {low:g} to {high:g}, got {text}")
        return number(text)

    return value


def program(module: str = "") -> str:
    """The name by which this program was started: that of the installed command, of the script, or
    python -m with the module."""
    name = Path(next(iter(sys.argv), "")).name
    as_module = name in ("__main__.py", f"{module.rpartition('.')[2]}.py")
    return f"python -m {module}" if as_module else name


def exit_code(work: Callable[[], None]) -> int:
    """Do the work; 0, or the code of its error, which is told in one line on standard error; 130
    after Ctrl-C. A reader of standard output that has gone is no error."""
    secure()
    try:
        work()
        deliver()
    except PosestreamError as error:
        complain(error)
        return error.exit_code
    except BrokenPipeError:
        drop_stdout()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        flush_stdout()
    return 0

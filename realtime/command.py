"""What all command lines have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from realtime.console import complain
from realtime.errors import PosestreamError, UsageError


class Parser(argparse.ArgumentParser):
    """Errors as one line (UsageError), no abbreviated options, the epilog as it is written;
    subparsers are of this class as well."""

    def __init__(self, **values: Any) -> None:
        plain = argparse.RawDescriptionHelpFormatter
        super().__init__(**{"allow_abbrev": False, "formatter_class": plain, **values})

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")


def exit_code(work: Callable[[], None]) -> int:
    """Do the work; 0, or the code of its error, which is told in one line on standard error."""
    try:
        work()
    except PosestreamError as error:
        complain(error)
        return error.exit_code
    return 0

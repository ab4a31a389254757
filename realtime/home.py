"""Where our packages lie, for other processes of ours that have to find them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent


@contextmanager
def at_home() -> Iterator[None]:
    """Be in ROOT meanwhile. Processes begun there look there first for what they import; where
    the user is may be a train.py or a realtime.py that is not ours."""
    try:
        here = Path.cwd()
        os.chdir(here)  # else there would be no way back
        os.chdir(ROOT)
    except OSError:  # here is gone or closed to us, so nothing is imported from it
        yield
        return
    try:
        yield
    finally:
        os.chdir(here)

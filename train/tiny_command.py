"""The command ``tiny``: the two tiny networks of the demo scene."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from realtime.command import number, whole

TINY = ("detector", "pose")


def add_command(commands: Any) -> None:
    """Add ``tiny`` to the command line."""
    tiny = commands.add_parser("tiny", help="the two tiny networks of the demo scene")
    what = tiny.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="train and write both files to this folder")
    what.add_argument("--eval", type=Path, help="measure the two files in this folder")
    tiny.add_argument("--minutes", type=_minutes, default=10.0, help="CPU minutes for each network")
    tiny.add_argument("--seed", type=_seed, default=0)
    tiny.add_argument("--only", choices=TINY, help="train one of the two")
    tiny.set_defaults(run=_run)


def _minutes(text: str) -> float:
    value = number(text)
    if not 0 < value <= 1e4:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def _seed(text: str) -> int:
    value = whole(text)
    if not 0 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"must be 0 to {2**31 - 1}, got {text}")
    return value


def _run(options: argparse.Namespace) -> int:
    if options.eval:
        from train import tiny_eval

        print(tiny_eval.show(options.eval))
        return 0
    from train import tiny

    names = (options.only,) if options.only else TINY
    tiny.run(options.out, options.minutes, options.seed, names)
    return 0

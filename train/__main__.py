"""``posestream-train``: train networks, measure them, write them as model files."""

from __future__ import annotations

if __name__ == "__main__":
    from realtime.start import quietly

    quietly()

import argparse
import importlib
import logging
import signal
import sys
from collections.abc import Sequence

from realtime import console
from realtime.command import Parser, program
from realtime.errors import ModelError, PosestreamError

COMMANDS = (
    "train.run_command",
    "train.tiny_command",
    "train.check",
    "train.demo_data",
    "train.label",
    "train.evaluate",
    "train.average",
    "train.slim_command",
    "train.convert",
)
"""Modules with add_command(commands), which adds their subcommands: each sets run to a function
from the options to the exit code, and loads heavy libraries only there."""
WHAT = "Train networks, measure them, write them as model files."
INSTALL = "pip install '.[train]' in a clone of the repository (docs/training.md)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit code. Errors are one line on standard error."""
    console.secure()
    try:
        options = _parser().parse_args(argv)
        _set_up_logging()
        code: int = options.run(options)
        console.deliver()
        return code
    except ImportError as error:  # a library that training needs and the pipeline does not
        console.complain(ModelError(f"cannot load a library: {error}; {INSTALL}"))
        return ModelError.exit_code
    except PosestreamError as error:
        console.complain(error)
        return error.exit_code
    except BrokenPipeError:  # the reader, head for example, has seen enough
        console.drop_stdout()
        return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        console.flush_stdout()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=program("train"), description=WHAT)
    commands = parser.add_subparsers(required=True, metavar="command")
    for name in COMMANDS:
        importlib.import_module(name).add_command(commands)
    return parser


def _set_up_logging() -> None:
    """Warnings of all libraries and the news of training, on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("train").setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit(main())

"""posestream-engines: list, fetch, check, time and prepare the networks that can run here."""

from __future__ import annotations

if __name__ == "__main__":
    from realtime.start import quietly

    quietly()

import argparse
import sys
from pathlib import Path
from typing import get_args

from engines import build_command, bundled, cache
from engines.base import Task
from engines.load import find_default, find_tiny
from engines.published import PUBLISHED
from engines.registry import KNOWN
from realtime import console
from realtime.command import Parser, program
from realtime.errors import PosestreamError
from realtime.masking import mask_credentials


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code: 0, 2 wrong usage, 4 something cannot be written, 5 the model
    cannot be used or fetched, 130 stopped by Ctrl-C."""
    console.secure()
    try:
        options = _parser().parse_args(argv)
        COMMANDS[options.command](options)
        console.deliver()
    except SystemExit as stop:  # argparse has printed help
        return int(stop.code or 0)
    except PosestreamError as error:
        text = mask_credentials(" ".join(str(error).splitlines()))
        # Names and servers may hold what terminals obey.
        plain = "".join(letter if letter.isprintable() else "?" for letter in text)
        print(f"posestream-engines: {plain}", file=sys.stderr)
        return error.exit_code
    except MemoryError:
        print("posestream-engines: too little memory; try a smaller --batch", file=sys.stderr)
        return 5
    except BrokenPipeError:  # the reader, head for example, has seen enough
        console.drop_stdout()
    except KeyboardInterrupt:
        print("posestream-engines: stopped", file=sys.stderr)
        return 130
    finally:
        console.flush_stdout()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=program("engines"), description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="bundled, fetched and fetchable networks, and known files")
    pull = commands.add_parser("pull", help="fetch public weights into the cache")
    pull.add_argument("names", nargs="+", metavar="NAME")
    stored = commands.add_parser("cache", help="where fetched weights are, and how large")
    stored.add_argument("--clear", action="store_true", help="delete what pull has fetched")
    build_command.add_commands(commands)
    return parser


def _list(options: argparse.Namespace) -> None:
    for task in get_args(Task):
        _tell_bundled(task, find_default(task))
        print(f"tiny {task}, for tests: {find_tiny(task) or 'none'}")
    print("\nto fetch with: posestream-engines pull NAME, to run with: --pose or --detector NAME")
    for entry in PUBLISHED.values():
        state = "fetched" if cache.is_fetched(entry.name) else "not fetched"
        most = "" if entry.exact else "at most "
        print(f"{entry.name}  {entry.task}  {state}, {most}{entry.size / 1e6:.1f} MB")
        print(f"  {entry.measured}\n  input   {entry.input}\n  licence {entry.licence}")
        print(f"  hash    {entry.digest}\n  from    {entry.url}")
    print("\nfiles known by their content")
    for known in KNOWN:
        spec = known.spec
        print(f"{spec.name}  {spec.task}  {spec.container}  licence {spec.licence}")
        print(f"  file    {spec.path}\n  sha256  {spec.sha256}\n  from    {known.source}")


def _tell_bundled(task: Task, path: Path | None) -> None:
    print(f"bundled {task}: {path or 'none'}")
    if path and (shipped := bundled.BY_FILE.get(path.name)):
        print(f"  {shipped.measured}\n  licence {shipped.licence}\n  sha256  {shipped.sha256}")


def _pull(options: argparse.Namespace) -> None:
    from engines import pull

    for entry in [pull.known(name) for name in options.names]:  # all names before any download
        path, fetched = pull.pull(entry)
        size = path.stat().st_size / 1e6
        print(f"{entry.name}: {path} ({size:.1f} MB){'' if fetched else ', was there already'}")
        print(f"  use it with --{entry.task} {entry.name}; licence: {entry.licence}")


def _cache(options: argparse.Namespace) -> None:
    folder = cache.cache_dir()
    if options.clear:
        count = cache.clear(folder)
        print(f"{folder}: {count} files deleted")
        return
    sizes = cache.sizes(folder)
    print(folder)
    for path, size in sizes.items():
        print(f"  {path.name}  {size / 1e6:.1f} MB")
    print(f"{len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB")


COMMANDS = {"list": _list, "pull": _pull, "cache": _cache, **build_command.COMMANDS}

if __name__ == "__main__":
    raise SystemExit(main())

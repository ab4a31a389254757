"""posestream-engines: list, fetch and check the networks that can run here."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

from engines import cache
from engines.identify import identify
from engines.load import BACKENDS, PRECISIONS, find_default, find_tiny, load
from engines.published import PUBLISHED
from engines.registry import KNOWN
from realtime import console
from realtime.errors import PosestreamError

RUNS = 10


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code: 0, 2 wrong usage, 5 the model cannot be used or fetched,
    130 stopped by Ctrl-C."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed help or the error
        return int(stop.code or 0)
    try:
        COMMANDS[options.command](options)
        sys.stdout.flush()
    except PosestreamError as error:
        print(f"posestream-engines: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader, head for example, has seen enough
        console.drop_stdout()
    except KeyboardInterrupt:
        print("posestream-engines: stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="posestream-engines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="bundled, fetched and fetchable networks, and known files")
    pull = commands.add_parser("pull", help="fetch public weights into the cache")
    pull.add_argument("names", nargs="+", metavar="NAME")
    stored = commands.add_parser("cache", help="where fetched weights are, and how large")
    stored.add_argument("--clear", action="store_true", help="delete what pull has fetched")
    check = commands.add_parser("check", help="identify, load and run one model file")
    check.add_argument("file", type=Path)
    check.add_argument("--engine", choices=("auto", *BACKENDS), default="auto")
    check.add_argument("--precision", choices=PRECISIONS, default="auto")
    check.add_argument("--compute", default="auto", help="auto, cpu, gpu, cuda or cuda:N")
    check.add_argument("--threads", type=int, help="CPU threads of one call")
    check.add_argument("--batch", type=int, default=4, help="pictures in one call (default 4)")
    return parser


def _list(options: argparse.Namespace) -> None:
    for task in ("detector", "pose"):
        print(f"bundled {task}: {find_default(task) or 'none'}")
        print(f"tiny {task}, for tests: {find_tiny(task) or 'none'}")
    print("\nto fetch with: python -m engines pull NAME, to run with: --pose or --detector NAME")
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
    print(folder)
    files = cache.files(folder)
    for path in files:
        print(f"  {path.name}  {path.stat().st_size / 1e6:.1f} MB")
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")


def _check(options: argparse.Namespace) -> None:
    spec = identify(options.file)
    width, height = spec.input_wh
    trust = "known by its SHA-256" if spec.verified else "not verified: described by itself"
    print(f"{spec.name}  {spec.task}  {spec.container}  {trust}")
    start = perf_counter()
    network = load(
        spec, spec.task, options.engine, options.precision, options.compute, options.threads
    )
    loaded = perf_counter() - start
    print(f"engine {network.engine}, {network.precision}, {network.device}, loaded {loaded:.2f} s")
    shape = (max(options.batch, 1), height, width, 3)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    seconds = []
    for _ in range(RUNS):
        start = perf_counter()
        outputs = network(pictures)
        seconds.append(perf_counter() - start)
    print(f"input uint8 {shape} BGR, outputs {', '.join(f'float32 {a.shape}' for a in outputs)}")
    print(f"{1e3 * min(seconds) / shape[0]:.2f} ms a picture (best of {RUNS} calls, noise)")
    network.close()


COMMANDS = {"list": _list, "pull": _pull, "cache": _cache, "check": _check}

if __name__ == "__main__":
    raise SystemExit(main())

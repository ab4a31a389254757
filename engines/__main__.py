"""posestream-engines: list the known models, check that one runs here."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

from engines.identify import identify
from engines.load import BACKENDS, PRECISIONS, find_default, find_tiny, load
from engines.registry import KNOWN
from realtime.errors import PosestreamError

RUNS = 10


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code: 0, 2 wrong usage, 5 the model cannot be used."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed help or the error
        return int(stop.code or 0)
    try:
        if options.command == "list":
            _list()
        else:
            _check(options)
    except PosestreamError as error:
        print(f"posestream-engines: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="posestream-engines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="known model files and bundled networks")
    check = commands.add_parser("check", help="identify, load and run one model file")
    check.add_argument("file", type=Path)
    check.add_argument("--engine", choices=("auto", *BACKENDS), default="auto")
    check.add_argument("--precision", choices=PRECISIONS, default="auto")
    check.add_argument("--compute", default="auto", help="auto, cpu, gpu, cuda or cuda:N")
    check.add_argument("--threads", type=int, help="CPU threads of one call")
    check.add_argument("--batch", type=int, default=4, help="pictures in one call (default 4)")
    return parser


def _list() -> None:
    for known in KNOWN:
        spec = known.spec
        print(f"{spec.name}  {spec.task}  {spec.container}  licence {spec.licence}")
        print(f"  file    {spec.path}\n  sha256  {spec.sha256}\n  from    {known.source}")
    for task in ("detector", "pose"):
        print(f"bundled {task}: {find_default(task) or 'none'}")
        print(f"tiny {task}, for tests: {find_tiny(task) or 'none'}")


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


if __name__ == "__main__":
    raise SystemExit(main())

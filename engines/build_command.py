"""The commands of posestream-engines that run and write networks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import bundled, containers
from engines.base import ModelSpec, Network
from engines.calibrate_command import add_calibrate, calibrate
from engines.choose import either
from engines.identify import METADATA_KEY, identify, read
from engines.identify import describe as described_by
from engines.load import BACKENDS, PRECISIONS, PREFERENCE, lacks, load
from realtime import atomic
from realtime.errors import ModelError, UsageError
from realtime.sinks.outfile import check_not_input, check_writable

RUNS = 10
SLOW = 5
"""Times the slowest float32: what takes longer is left out of bench."""
BATCHES = (1, 8)
GIVEN = "the network: a file, or the name of fetched weights"
MOST_PICTURES = 1024
"""In one call of check and bench."""


def add_commands(commands: Any) -> None:
    """Add the parsers of COMMANDS to argparse's sub-parsers."""
    check = commands.add_parser("check", help="identify, load and run one model file")
    check.add_argument("file", type=Path, help=GIVEN)
    check.add_argument("--engine", choices=("auto", *BACKENDS), default="auto")
    check.add_argument("--precision", choices=PRECISIONS, default="auto")
    check.add_argument("--batch", type=_size, default=4, help="pictures in one call (default 4)")
    bench = commands.add_parser("bench", help="time every engine and precision that runs here")
    bench.add_argument("file", type=Path, help=GIVEN)
    bench.add_argument(
        "--batch", type=_sizes, default=BATCHES, metavar="N[,N...]",
        help=f"pictures in one call (default {','.join(map(str, BATCHES))})",
    )  # fmt: skip
    bench.add_argument("--rounds", type=int, default=RUNS, help=f"of each (default {RUNS})")
    build = commands.add_parser("build", help="make the TensorRT plan of a pose network now")
    build.add_argument("file", type=Path, help=GIVEN)
    for parser in (check, bench, build):
        place = "cuda" if parser is build else "auto"
        parser.add_argument("--compute", default=place, help="auto, cpu, gpu, cuda or cuda:N")
        parser.add_argument("--threads", type=int, help="CPU threads of one call")
    add_calibrate(commands)
    describe = commands.add_parser("describe", help="a copy of our own network, described anew")
    describe.add_argument("file", type=Path, help=f"{GIVEN}; of a training for example")
    describe.add_argument("--output", type=Path, required=True, help="the new file (.onnx)")
    describe.add_argument("--overwrite", action="store_true", help="replace an existing file")
    describe.add_argument("--name", help="what reports call it")
    describe.add_argument("--licence", help="of the weights")
    describe.add_argument("--trained", help="on what, and how long")
    describe.add_argument("--accuracy", type=float, help="its AP, 0 to 1")


def _size(text: str) -> int:
    """A batch size as the command line gives it."""
    size = int(text) if text.isdecimal() else 0
    if not 1 <= size <= MOST_PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 to {MOST_PICTURES}")
    return size


def _sizes(text: str) -> tuple[int, ...]:
    """Batch sizes, as 1,8."""
    return tuple(map(_size, text.split(",")))


def check(options: argparse.Namespace) -> None:
    """Identify, load and run one file; compare a pose network that is not float32 with float32."""
    spec = either(options.file)
    trust = "known by its SHA-256" if spec.verified else "not verified: described by itself"
    print(f"{spec.name}  {spec.task}  {spec.container}  {trust}")
    if shipped := bundled.BY_SHA256.get(spec.sha256):
        print(f"bundled: {shipped.measured}")
    if spec.licence:
        print(f"licence: {spec.licence}")
    start = perf_counter()
    network = load(
        spec, spec.task, options.engine, options.precision, options.compute, options.threads
    )
    loaded = perf_counter() - start
    print(f"engine {network.engine}, {network.precision}, {network.device}, loaded {loaded:.2f} s")
    if network.why:
        print(f"chosen because: {network.why}")
    x = noise(spec, options.batch)
    outputs = network(x)
    print(f"input uint8 {x.shape} BGR, outputs {', '.join(f'float32 {a.shape}' for a in outputs)}")
    best = min(call_seconds(network, x) for _ in range(RUNS))
    print(f"{1e3 * best / len(x):.2f} ms a picture (best of {RUNS} calls, noise)")
    if spec.task == "pose" and network.precision != "f32":
        _compare(spec, network)
    network.close()


def _compare(spec: ModelSpec, network: Network) -> None:
    from engines import selfcheck

    reference = load(spec, "pose", precision="f32", compute="cpu")
    found = selfcheck.agreement(reference, network, selfcheck.demo_crops(spec))
    print(f"against float32 on {selfcheck.CROPS} people of the demo scene: {found}")


def bench(options: argparse.Namespace) -> None:
    """Median milliseconds a picture of all engines and precisions, taken in turns."""
    if options.rounds < 1:
        raise UsageError(f"--rounds {options.rounds}: expected 1 or more")
    spec = either(options.file)
    networks = _all_networks(spec, options.compute, options.threads)
    if not networks:
        raise ModelError(f"model {spec.path}: no engine runs it on {options.compute}")
    inputs = [noise(spec, count) for count in options.batch]
    networks = _quick(networks, inputs)
    times = np.zeros((options.rounds, len(networks), len(inputs)))
    for round_times in times:
        for row, network in zip(round_times, networks):
            row[:] = [call_seconds(network, x) / len(x) for x in inputs]
    print(f"{spec.name}: median ms a picture of {options.rounds} rounds in turns, and times faster")
    head = "".join(f"  {f'batch {count}':>16}" for count in options.batch)
    print(f"{'engine':<12} {'precision':<9} {'device':<7}{head}")
    medians = 1e3 * np.median(times, 0)
    for network, row in zip(networks, medians):
        cells = "".join(f"  {ms:8.2f} {base / ms:6.2f}x" for ms, base in zip(row, medians[0]))
        print(f"{network.engine:<12} {network.precision:<9} {network.device:<7}{cells}")


def _all_networks(spec: ModelSpec, compute: str, threads: int | None) -> list[Network]:
    """Every engine in every precision of its own that can run the file here; a line for each that
    cannot."""
    places = ("cpu", "cuda") if compute == "auto" else (compute,)
    found: dict[tuple[str, str, str], Network] = {}
    for place in places:
        for name in reversed(PREFERENCE["cpu" if place == "cpu" else "cuda"]):
            if not BACKENDS[name].runs(spec):
                continue
            for precision in PRECISIONS[1:]:
                try:
                    network = load(spec, spec.task, name, precision, place, threads)
                except ModelError as error:
                    print(f"left out: {name} {precision} on {place}: {error}")
                else:
                    found[name, network.precision, network.device] = network
    return list(found.values())


def _quick(networks: list[Network], inputs: list[NDArray[np.uint8]]) -> list[Network]:
    """All in float32 and those that are not SLOW times slower, prepared; a line for each other.

    Arithmetic for which a processor has no instructions (bf16, f16) can take a second a picture:
    minutes of rounds for a figure that nobody wants.
    """
    once = {}
    for network in networks:
        for x in inputs:
            network(x)  # the first call of a size prepares
        once[network] = call_seconds(network, inputs[0])
    plain = [seconds for network, seconds in once.items() if network.precision == "f32"]
    most = SLOW * max(plain, default=max(once.values()))
    for network, seconds in once.items():
        if seconds > most:
            name = f"{network.engine} {network.precision} on {network.device}"
            print(f"left out: {name}: {1e3 * seconds / len(inputs[0]):.0f} ms a picture")
            network.close()
    return [network for network, seconds in once.items() if seconds <= most]


def noise(spec: ModelSpec, count: int) -> NDArray[np.uint8]:
    """Pictures as the network takes them, uint8 (count, H, W, 3), always the same."""
    width, height = spec.input_wh
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def call_seconds(network: Network, x: NDArray[np.uint8]) -> float:
    """That one call takes."""
    start = perf_counter()
    network(x)
    return perf_counter() - start


def build(options: argparse.Namespace) -> None:
    """Load with TensorRT, which makes the plan where there is none yet."""
    start = perf_counter()
    spec = either(options.file)
    if lacking := lacks("tensorrt", spec.task):
        raise ModelError(f"model {spec.path}: {lacking}; nothing to build")
    network = load(spec, spec.task, "tensorrt", "auto", options.compute, options.threads)
    took = perf_counter() - start
    print(f"{spec.name}: the TensorRT plan for {network.device} is ready ({took:.1f} s)")


def describe(options: argparse.Namespace) -> None:
    """Write a copy with the given texts in its description; the weights stay bit by bit."""
    spec = either(options.file)
    data = read(spec.path)
    try:
        texts = containers.read(data).metadata
        known = json.loads(texts[METADATA_KEY]) | bundled.known(spec.sha256)
        names = ("name", "licence", "trained", "accuracy")
        known |= {n: v for n in names if (v := getattr(options, n)) is not None}
        data = containers.with_texts(data, {METADATA_KEY: json.dumps(known, sort_keys=True)})
    except (ValueError, KeyError) as error:
        raise ModelError(f"model {spec.path}: not an .onnx file that this project wrote") from error
    if options.accuracy is not None and not 0 <= options.accuracy <= 1:
        raise UsageError(f"--accuracy {options.accuracy}: an AP is from 0 to 1")
    check_not_input(options.output, [spec.path])
    check_writable(options.output, options.overwrite)
    described_by(options.output, data)  # as it will be read: raises before anything is replaced
    atomic.replace(options.output, data)
    print(f"{options.output}: {identify(options.output).name}, {len(data) / 1e6:.1f} MB")


COMMANDS = {
    "check": check,
    "describe": describe,
    "bench": bench,
    "calibrate": calibrate,
    "build": build,
}

"""posestream-engines calibrate: a copy of a network that runs in int8, if it finds the same."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import ModelSpec, Network, Options
from engines.choose import either, named
from engines.identify import read
from engines.load import find_default, load
from realtime import atomic
from realtime.errors import InputError, ModelError, UsageError
from realtime.sinks.outfile import check_not_input, check_writable

Pictures = list[NDArray[np.uint8]]

LEAST_OKS = 0.99
"""Mean similarity to float32, on crops not used for the ranges, of a pose network that may run in
int8. The ResNet18 start weights have 0.9944 on 918 labelled people of COCO and lose 0.0009 AP."""
LEAST_SHARE = 0.97
"""Share of the people that both forms of a detector must find, likewise."""
LEAST_COUNT = 20


def add_calibrate(commands: Any) -> None:
    """Add the parser to argparse's sub-parsers."""
    add = commands.add_parser("calibrate", help="a copy of a network that runs in int8")
    add.add_argument("file", type=Path, help="the network: a file, or the name of fetched weights")
    add.add_argument("--images", type=Path, required=True, help="folder of pictures of people")
    add.add_argument("--output", type=Path, required=True, help="the new file (.onnx)")
    add.add_argument("--overwrite", action="store_true", help="replace an existing file")
    add.add_argument(
        "--detector", type=Path, help="finds the people for a pose network (default: the bundled)"
    )
    add.add_argument(
        "--people", type=int, default=600, help="people, or pictures for a detector (default 600)"
    )


def calibrate(options: argparse.Namespace) -> None:
    """Write a copy with the ranges of its tensors, unless int8 then finds something else."""
    from engines.calibrate import calibrated
    from engines.openvino import OpenvinoNetwork

    if options.people < LEAST_COUNT:
        raise UsageError(f"--people {options.people}: expected {LEAST_COUNT} or more")
    spec = either(options.file)
    if spec.container != "onnx":
        raise ModelError(f"model {spec.path}: calibrate takes an .onnx file")
    check_not_input(options.output, [spec.path, *filter(None, [options.detector])])
    check_writable(options.output, options.overwrite)
    seen = _people(options, spec) if spec.task == "pose" else _whole(options, spec)
    pictures = list(seen)
    if len(pictures) < LEAST_COUNT:
        what = "people" if spec.task == "pose" else "pictures"
        text = f"{options.images}: {len(pictures)} {what} found, {LEAST_COUNT} or more are needed"
        raise InputError(text)
    data = calibrated(spec, read(spec.path), pictures[::2])
    exact = load(spec, spec.task, "openvino", "f32")
    fast = OpenvinoNetwork(spec, data, Options("int8"))
    told, good = (_joints if spec.task == "pose" else _boxes)(exact, fast, pictures[1::2])
    print(f"{len(pictures[::2])} pictures for the ranges; int8 against float32 on others: {told}")
    if not good:
        raise ModelError(f"model {spec.path}: loses too much in int8: {told}")
    atomic.replace(options.output, data)
    print(f"{options.output}: runs in int8 by default and with --precision int8")


def _joints(exact: Network, fast: Network, crops: Pictures) -> tuple[str, bool]:
    from engines import selfcheck

    found = selfcheck.agreement(exact, fast, np.stack(crops))
    return str(found), bool(found.joints) and found.mean_oks >= LEAST_OKS


def _boxes(exact: Network, fast: Network, pictures: Pictures) -> tuple[str, bool]:
    from engines import selfcheck

    count, share = selfcheck.boxes_agreement(exact, fast, pictures)
    return f"{share:.1%} of {count} boxes in both", count > 0 and share >= LEAST_SHARE


def _people(options: argparse.Namespace, spec: ModelSpec) -> Iterator[NDArray[np.uint8]]:
    """Crops of the people in the pictures of the folder, spread over all of it."""
    from realtime.crop import cut
    from realtime.detect import Detector
    from realtime.records import Frame

    asked: Path | None = options.detector
    given = (named("detector", asked) or asked) if asked else find_default("detector")
    if given is None:
        raise ModelError("no detector is bundled yet; give one with --detector FILE.onnx")
    detector = Detector(load(given, "detector"))
    count = 0
    for image in _read(options.images, options.people):
        frame = Frame(0, 0.0, image)
        for crop in cut([frame], detector([frame]), spec.input_wh, spec.padding).pixels:
            count += 1
            yield crop
        if count >= options.people:
            return


def _whole(options: argparse.Namespace, spec: ModelSpec) -> Iterator[NDArray[np.uint8]]:
    """The pictures of the folder in the detector's size."""
    from realtime.detect import letterboxed
    from realtime.records import Frame

    for image in _read(options.images, options.people):
        yield letterboxed([Frame(0, 0.0, image)], spec.input_wh)[0]


def _read(folder: Path, count: int) -> Iterator[NDArray[np.uint8]]:
    """At least count pictures of the folder, evenly spaced by name; all when there are fewer.
    Those that cannot be read are left out."""
    from realtime.sources.images import read_image

    for path in _pictures(folder, count):
        with suppress(InputError):
            yield read_image(path)


def _pictures(folder: Path, count: int) -> list[Path]:
    from realtime.sources.images import EXTENSIONS

    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder of pictures")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    return found[:: max(1, len(found) // max(count, 1))]

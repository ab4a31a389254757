"""The commands ``export`` and ``import``: the pose network from one kind of file to others.

Every file is read back before it counts as written, and run on people of the demo scene beside
the network it was made of.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from realtime.command import between
from realtime.errors import UsageError
from train.written import check_not_source

FORMATS = ("onnx", "safetensors", "mat")
GRIDS = ("corner", "pixel_centre", "udp")


def add_command(commands: Any) -> None:
    """Add ``export`` and ``import`` to the command line."""
    export = commands.add_parser("export", help="write a trained pose network as model files")
    export.add_argument(
        "source", type=Path, help="folder of a training, or .safetensors, .onnx or .mat"
    )
    export.add_argument("--out", type=Path, required=True, help="folder for the files")
    export.add_argument(
        "--formats", type=_formats, default=FORMATS, help=f"of {','.join(FORMATS)} (all of them)"
    )
    _describing(export)
    export.set_defaults(run=_export)
    bring = commands.add_parser("import", help="turn a public checkpoint into a model file")
    bring.add_argument(
        "source", type=Path, help="of pytorchcv simplepose, Microsoft pose_resnet or MMPose"
    )
    bring.add_argument(
        "--out", type=Path, required=True, help="the file: .onnx, .safetensors or .mat"
    )
    bring.add_argument("--grid", choices=GRIDS, help="of its targets (corner; MMPose UDP: udp)")
    _describing(bring)
    bring.set_defaults(run=_import)


def _describing(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--name", help="what the file calls itself (of its source)")
    add("--licence", help="of the weights, for the file's description")
    add("--input-wh", type=_size, help="network input as WxH (as trained)")
    add("--sigma", type=between(0.5, 32), help="of its targets in cells (as trained)")
    add("--padding", type=between(1, 4), help="how much larger crops are than boxes (as trained)")


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if wrong := [name for name in names if name not in FORMATS]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r}; choose of {','.join(FORMATS)}")
    return names


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    width, height = (int(n) for n in found.groups()) if found else (0, 0)
    if any(n % 32 or not 64 <= n <= 2048 for n in (width, height)):
        raise argparse.ArgumentTypeError(f"{text!r}; WxH in multiples of 32 from 64 to 2048")
    return width, height


def _export(options: argparse.Namespace) -> int:
    from realtime import atomic
    from train import conversion
    from train.weights import load_weights

    weights, metadata = load_weights(options.source)
    source = conversion.network_of(weights, metadata, options.source, _given(options))
    files = [options.out / f"{source.metadata['name']}.{kind}" for kind in options.formats]
    for file in files:
        check_not_source(file, [options.source])
    with atomic.writing(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
    for file in files:
        print(conversion.write(source, file))
    return 0


def _import(options: argparse.Namespace) -> int:
    from realtime import atomic
    from train import conversion
    from train.importing import read_public

    if options.out.suffix.lower().removeprefix(".") not in FORMATS:
        raise UsageError(f"--out {options.out}: name it .onnx, .safetensors or .mat")
    check_not_source(options.out, [options.source])
    weights, metadata = read_public(options.source)
    source = conversion.network_of(weights, metadata, options.source, _given(options))
    with atomic.writing(options.out):
        options.out.parent.mkdir(parents=True, exist_ok=True)
    print(conversion.write(source, options.out))
    return 0


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the network."""
    names = ("name", "licence", "input_wh", "sigma", "padding", "grid")
    return {n: v for n in names if (v := getattr(options, n, None)) is not None}

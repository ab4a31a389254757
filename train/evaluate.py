"""``posestream-train eval``: how good a model file, a training or the whole pipeline is."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realtime.command import whole
from realtime.defaults import MIN_SCORE
from realtime.errors import ModelError, OutputError, UsageError

if TYPE_CHECKING:  # loaded when something is measured, so that --help is instant
    from engines.base import Network, Task
    from train.coco import DataSet

HELP = "measure a pose network, a detector, or what run_camera.py wrote, on COCO keypoint files"
MODEL = "model file (.onnx, .safetensors), its name, auto, or the folder of a training"


def add_command(commands: Any) -> None:
    """Add the subcommand eval."""
    parser = commands.add_parser("eval", help=HELP, description=HELP)
    add = parser.add_argument
    add("--pose", metavar="MODEL", help=f"pose network: {MODEL}")
    add("--detector", metavar="MODEL", help="person detector; with --pose, boxes are its as well")
    add("--results", metavar="FILE", type=Path, help="JSON Lines of run_camera.py --json")
    add(
        "--data",
        metavar="FILE.json[,IMAGES]",
        nargs="+",
        action="extend",
        required=True,
        help="labelled people and the folder of their images; several",
    )
    add("--engine", default="auto", metavar="NAME", help="see posestream-engines (default auto)")
    add("--precision", default="auto", metavar="P", help="auto, f32, bf16, f16 or int8")
    add("--compute", default="auto", metavar="DEVICE", help="auto, cpu, gpu, cuda or cuda:N")
    add("--threads", type=int, metavar="N", help="CPU threads of one call")
    add("--quick", action="store_true", help="only pictures as they are, boxes labelled, no flip")
    add("--limit", type=_count, metavar="N", help="at most so many pictures, evenly over all")
    add("--min-score", type=float, default=MIN_SCORE, metavar="S", help="of --results, see there")
    add("--json", type=Path, metavar="FILE", help="write all numbers there as well")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the tables; the exit code. Raises PosestreamError."""
    if bool(options.results) == bool(options.pose or options.detector):
        raise UsageError("give --pose and / or --detector, or --results alone")
    from train import coco, coco_ap
    from train.written import check_not_source

    if options.json:
        read = [coco.split(text)[0] for text in options.data]
        models = [Path(given) for given in (options.pose, options.detector) if given]
        check_not_source(options.json, [*read, *models, *filter(None, [options.results])])
    sets = [coco.open_set(text) for text in options.data]
    if options.json and not options.json.parent.is_dir():
        raise OutputError(f"{options.json}: its folder does not exist")
    if not coco_ap.available():
        raise ModelError("eval needs pycocotools: pip install pycocotools")
    report = _results(options, sets) if options.results else _models(options, sets)
    if options.json:
        _write(options.json, report)
    return 0


def _results(options: argparse.Namespace, sets: list[DataSet]) -> dict[str, Any]:
    from train import eval_measure, eval_tables

    report: dict[str, Any] = {"results": str(options.results), "sets": []}
    for data in sets:
        part = eval_measure.measure_results(options.results, data, options.min_score, options.limit)
        report["sets"].append(part)
        print(f"{options.results}\n\n{eval_tables.show_results(part)}\n", flush=True)
    return report


def _models(options: argparse.Namespace, sets: list[DataSet]) -> dict[str, Any]:
    from train import eval_measure, eval_tables

    pose = open_model(options.pose, "pose", options) if options.pose else None
    detector = open_model(options.detector, "detector", options) if options.detector else None
    models = {"pose": pose, "detector": detector}
    report: dict[str, Any] = {name: _said(net) for name, net in models.items() if net}
    report["sets"] = []
    print("\n".join(f"{name} {text}" for name, text in report.items() if text), "\n", flush=True)
    for data in sets:
        if pose:
            part = eval_measure.measure_pose(pose, detector, data, options.quick, options.limit)
            text = eval_tables.show_pose(part)
        elif detector:
            part = eval_measure.measure_detector(detector, data, options.quick, options.limit)
            text = eval_tables.show_detector(part)
        report["sets"].append(part)
        print(text, "\n", flush=True)
    return report


def open_model(text: str, task: Task, options: argparse.Namespace) -> Network:
    """The network in a model file, through an engine, or in a training, through PyTorch.

    text may be a name as well (posestream-engines list), or auto. Raises UsageError, ModelError.
    """
    from engines.choose import named
    from engines.load import check_options, find_default, load

    path = Path(text)
    model = named(task, path) or (find_default(task) if text == "auto" else path)
    if model is None:
        raise ModelError(f"--{task} auto: no {task} network is bundled or fetched")
    asked = (options.engine, options.precision, options.compute, options.threads)
    if model != path or not _of_training(path):
        return load(model, task, *asked)
    check_options(*asked)
    if options.engine not in ("auto", "torch"):
        raise UsageError(f"--engine {options.engine}: weights of a training run on torch only")
    from engines.base import Options
    from train.trained_network import TrainedNetwork

    return TrainedNetwork(path, task, Options(*asked[1:]))


def _of_training(path: Path) -> bool:
    """Whether these are weights of a training rather than a model file that describes itself."""
    if path.is_dir():
        return True
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return False
    from engines.identify import identify

    try:
        identify(path)
    except ModelError:
        return True  # train.weights says what is wrong, if it does not know it either
    return False


def _said(network: Network) -> str:
    spec = network.spec
    return f"{spec.path}: {spec.name}, {network.engine}, {network.precision}, {network.device}"


def _write(path: Path, report: dict[str, Any]) -> None:
    """The report as JSON, whole or not at all. Raises OutputError."""
    from realtime import atomic

    atomic.replace(path, (json.dumps(_plain(report), indent=1) + "\n").encode())


def _plain(value: Any) -> Any:
    """The value with null for what is not a finite number, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _count(text: str) -> int:
    value = whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value

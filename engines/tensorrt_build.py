"""From an ONNX graph to a TensorRT plan, with what tensorrt 10, 11 and tensorrt_rtx have in
common.

TensorRT reports failures by return values and log lines, seldom by exceptions, so every return
value is looked at and the log is kept.
"""

from __future__ import annotations

import gc
import json
from dataclasses import asdict, dataclass
from typing import Any

from engines.base import Json, Unavailable

WORKSPACE = 1 << 30
WORDS = {
    "bfloat16": "BF16", "bf16": "BF16", "fp16": "HALF", "half": "HALF", "float16": "HALF",
    "fp32": "FLOAT", "float": "FLOAT", "int8": "INT8",
}  # fmt: skip
"""What an engine says of a tensor, and the type that is meant; the first that fits."""
HARMLESS = "catchCudaError"
"""Accompanies every error on a machine without a GPU and says nothing about it."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Batch sizes of a plan: least and most it takes, and the one it is made for."""

    least: int = 1
    best: int = 8
    most: int = 32

    def as_json(self) -> Json:
        return asdict(self)


def make_logger(trt: Any) -> Any:
    """A TensorRT logger whose ``lines`` are the errors and warnings so far."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.WARNING:
                self.lines.append(" ".join(message.split()))

        def reason(self) -> str:
            """The last line that tells something."""
            telling = [line for line in self.lines if HARMLESS not in line]
            return (telling or self.lines or ["no reason given"])[-1][:300]

    return Logger()


def build(trt: Any, onnx_file: bytes, profile: Profile) -> tuple[bytes, dict[str, int]]:
    """A plan for the network in onnx_file, whose one input has a free batch dimension, and how
    many of its layers give each precision ("HALF", "FLOAT", ...).

    trt: the module tensorrt or tensorrt_rtx. Raises Unavailable with TensorRT's own reason.
    """
    logger = make_logger(trt)
    builder = new(trt.Builder, logger, "make a builder")
    flags = trt.NetworkDefinitionCreationFlag
    # Asked for in TensorRT 10, always so in 11: the precision is that of the graph.
    strong = 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0
    network = _made(builder.create_network(strong), logger, "make a network")
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx_file):
        raise Unavailable(f"TensorRT cannot read the network: {_unread(parser, logger)}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else types cannot be read back
    _add_profile(builder, network, config, profile, logger)
    plan = _made(builder.build_serialized_network(network, config), logger, "build the plan")
    return bytes(plan), precisions(network)


def precisions(network: Any) -> dict[str, int]:
    """How many layers of the network give each type."""
    counts: dict[str, int] = {}
    for layer in network:
        if layer.num_outputs:
            name = layer.get_output(0).dtype.name
            counts[name] = counts.get(name, 0) + 1
    return counts


def built(trt: Any, engine: Any, context: Any) -> dict[str, int]:
    """As precisions, of the layers that TensorRT made of the network: what it says of an engine.

    context: with the shape of its input set. Empty where it says nothing.
    """
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    return types_in(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def types_in(information: str) -> dict[str, int]:
    """How many layers give each type by TensorRT's own description of an engine, a JSON object.
    The words are those of 8 ("Row major linear FP16 format") and of 10 ("Half")."""
    try:
        layers = json.loads(information)["Layers"]
    except (ValueError, KeyError, TypeError):
        return {}
    counts: dict[str, int] = {}
    for layer in layers:
        outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
        said = outputs[0].get("Format/Datatype", "").lower() if outputs else ""
        for word, name in WORDS.items():
            if word in said:
                counts[name] = counts.get(name, 0) + 1
                break
    return counts


def _add_profile(builder: Any, network: Any, config: Any, profile: Profile, logger: Any) -> None:
    if network.num_inputs != 1:
        raise Unavailable(f"TensorRT: the network has {network.num_inputs} inputs, expected 1")
    given = network.get_input(0)
    rest = tuple(given.shape)[1:]
    sizes = [(count, *rest) for count in (profile.least, profile.best, profile.most)]
    shapes = builder.create_optimization_profile()
    shapes.set_shape(given.name, *sizes)
    if not shapes or config.add_optimization_profile(shapes) < 0:
        raise Unavailable(f"TensorRT refuses batches {profile}: {logger.reason()}")


def new(kind: Any, logger: Any, what: str) -> Any:
    """An object of a kind that takes nothing but a logger: a builder, a runtime. Raises Unavailable
    with TensorRT's own reason, where Python says "factory function returned nullptr"."""
    # TensorRT tells the logger while it holds a lock, which objects of an earlier build need to be
    # destroyed: the collector must not find any then.
    gc.collect()
    try:
        thing = kind(logger)
    except TypeError:
        thing = None
    return _made(thing, logger, what)


def _made(thing: Any, logger: Any, what: str) -> Any:
    """thing, unless TensorRT gave None instead of making it."""
    if thing is None:
        raise Unavailable(f"TensorRT cannot {what}: {logger.reason()}")
    return thing


def _unread(parser: Any, logger: Any) -> str:
    """The parser's first error and the operation it is about."""
    if not parser.num_errors:
        return str(logger.reason())
    error = parser.get_error(0)
    about = f"{error.node_operator()}: " if error.node_operator() else ""
    return (about + " ".join(error.desc().split()))[:300]

"""ONNX files on the CPU through OpenVINO.

One compiled network with a free batch dimension: a batch size seen for the first time costs
some milliseconds, later ones nothing, and no crop is ever computed as padding.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines import containers, int8
from engines.base import Arrays, Begin, ModelSpec, Options, check_batch, opened, step_of
from engines.batches import blank, in_steps
from engines.openvino_ahead import Ahead
from engines.planar import planes_first
from engines.quiet_openvino import ov, reason
from engines.signal_stack import kept_signal_stack
from realtime.errors import ModelError
from realtime.geometry import narrow_width

CAPABILITY = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
"""Name of each precision in the device's OPTIMIZATION_CAPABILITIES."""

TOO_SMALL = ov.Type.i8, ov.Type.boolean
"""Types that do not hold 0 to 255."""


class OpenvinoNetwork:
    """A compiled network and its one request. See engines.base.Network."""

    engine = "openvino"
    device = "cpu"
    why = ""

    def __init__(self, spec: ModelSpec, data: bytes, options: Options) -> None:
        self.spec = spec
        with kept_signal_stack():  # the first question loads the CPU plugin
            core = ov.Core()
            precision = _precision(core, options)
        ranges = _ranges(spec, data, options)
        settings: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            # A thread bound to a core waits whenever another stage or program has that core.
            "ENABLE_CPU_PINNING": False,
        }
        if options.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = options.threads
        streams = min(options.streams, options.threads or os.cpu_count() or 1)
        if streams > 1:
            del settings["PERFORMANCE_HINT"]
            settings["NUM_STREAMS"] = streams
        try:
            taken, compiled = _compiled(core, spec, data, ranges, settings)
            if ranges and not int8.is_used(compiled):
                if options.precision == "int8":
                    raise ModelError(
                        "precision int8: this CPU does not compute it; use --precision auto"
                    )
                ranges = {}  # rounded as for integers but computed with floats: slow, less exact
                taken, compiled = _compiled(core, spec, data, ranges, settings)
            self._request: ov.InferRequest | None = compiled.create_infer_request()
        except RuntimeError as error:
            raise ModelError(f"model {spec.path}: OpenVINO refuses it: {reason(error)}") from error
        except ValueError as error:
            raise _wrong_ranges(spec, error) from error
        rest = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.precision = "int8" if ranges else rest
        self.size_step, self.narrow = taken
        self._ahead = Ahead(spec, compiled, streams) if streams > 1 and not spec.batch else None
        self.begin: Begin | None = self._ahead
        self._empty = [array[:0] for array in self(blank(spec, 1))]

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        """See engines.base.Network."""
        check_batch(self.spec, batch, self.size_step, self.narrow)
        if not len(batch):
            opened(self._request, self.spec)
            return [array.copy() for array in self._empty]
        return in_steps(batch, self.spec.batch, self._run)

    def close(self) -> None:
        """Wait for what was begun, and let the network go."""
        if self._ahead:
            self._ahead.close()
        self._request = self._ahead = self.begin = None

    def _run(self, batch: NDArray[np.uint8]) -> Arrays:
        request = opened(self._request, self.spec)
        try:
            request.infer([np.ascontiguousarray(batch)], share_inputs=True)
        except RuntimeError as error:
            raise ModelError(f"{self.spec.name}: OpenVINO failed: {reason(error)}") from error
        # np.array copies: the request writes its next results into the same memory.
        return [np.array(t.data, np.float32) for t in request.output_tensors]


class Sizes(NamedTuple):
    """Of pictures that a network takes beside spec.input_wh: see engines.base.size_step_of and
    takes_narrow."""

    step: int
    narrow: bool


def _compiled(
    core: ov.Core,
    spec: ModelSpec,
    data: bytes,
    ranges: int8.Ranges,
    settings: dict[str, object],
) -> tuple[Sizes, ov.CompiledModel]:
    """The network, quantised where there are ranges, and what it takes. Raises RuntimeError, and
    ValueError where the ranges are not of this network."""
    model = core.read_model(io.BytesIO(data))
    planes_first(model)
    if ranges:
        int8.insert(model, ranges, int8.sums_are_cut_off())
    taken = Sizes(step_of(spec, _sizes(model, spec)), spec.narrow and not spec.batch)
    width, height = (taken.step or n for n in spec.input_wh)
    least_wh = narrow_width(spec.input_wh) if taken.narrow else width, height
    return taken, core.compile_model(with_uint8_input(model, spec, least_wh), "CPU", settings)


def _precision(core: ov.Core, options: Options) -> str:
    """The arithmetic to ask for: bf16 where the CPU has it, unless told."""
    has = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if options.precision in ("auto", "int8"):  # of int8 networks, the rest
        return "bf16" if CAPABILITY["bf16"] in has else "f32"
    if CAPABILITY[options.precision] not in has:
        raise ModelError(f"precision {options.precision}: this CPU does not have it; use f32")
    return options.precision


def _ranges(spec: ModelSpec, data: bytes, options: Options) -> int8.Ranges:
    """What int8 needs, from the file; empty where another precision is to be used."""
    if options.precision not in ("auto", "int8"):
        return {}
    text = containers.read(data).metadata.get(int8.METADATA_KEY)
    if text is None:
        if options.precision == "int8":
            raise ModelError(
                f"model {spec.path}: holds no ranges for int8; make a file that does with "
                "posestream-engines calibrate, or use --precision auto"
            )
        return {}
    try:
        return int8.parse(text)
    except (ValueError, RecursionError) as error:
        raise _wrong_ranges(spec, error) from error


def _wrong_ranges(spec: ModelSpec, error: Exception) -> ModelError:
    return ModelError(f"model {spec.path}: its {int8.METADATA_KEY!r} metadata is wrong: {error}")


def _sizes(model: ov.Model, spec: ModelSpec) -> Callable[[int, int], list[list[int]]]:
    """The shapes of the outputs for one picture of a width and height; changes the model."""

    def sizes(width: int, height: int) -> list[list[int]]:
        model.reshape([1, height, width, 3] if spec.nhwc else [1, 3, height, width])
        return [list(output.get_partial_shape().to_shape()) for output in model.outputs]

    return sizes


def with_uint8_input(
    model: ov.Model, spec: ModelSpec, least_wh: tuple[int, int] | None = None
) -> ov.Model:
    """The model with layout, colour order and normalisation of spec in front, so that it takes
    uint8 (B, H, W, 3) BGR, and gives float32; least_wh: from this size on, where smaller ones may
    come as well."""
    if len(model.inputs) != 1 or len(model.input(0).get_partial_shape()) != 4:
        raise ModelError(f"model {spec.path}: does not take one batch of pictures")
    if (kind := model.input(0).get_element_type()) in TOO_SMALL:
        raise ModelError(f"model {spec.path}: takes {kind.get_type_name()}, which holds no pixels")
    batch = spec.batch or -1
    least_wh = least_wh or spec.input_wh
    width, height = (ov.Dimension(low, high) for low, high in zip(least_wh, spec.input_wh))
    model.reshape([batch, height, width, 3] if spec.nhwc else [batch, 3, height, width])
    steps = ov.preprocess.PrePostProcessor(model)
    picture = steps.input(0)
    picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    picture.tensor().set_color_format(ov.preprocess.ColorFormat.BGR)
    picture.model().set_layout(ov.Layout("NHWC" if spec.nhwc else "NCHW"))
    if spec.rgb:
        picture.preprocess().convert_color(ov.preprocess.ColorFormat.RGB)
    if any(spec.mean) or set(spec.std) != {1.0}:
        picture.preprocess().convert_element_type(ov.Type.f32)
        picture.preprocess().mean(list(spec.mean)).scale(list(spec.std))
    for n in range(len(model.outputs)):  # bf16 would be read as f16
        steps.output(n).tensor().set_element_type(ov.Type.f32)
    return steps.build()

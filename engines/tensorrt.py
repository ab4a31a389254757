"""Pose networks in float16 on an NVIDIA GPU through TensorRT.

The plan is made on first use, compared with float32 before it may be used, and kept in the
user's cache. This file has been parsed and its builder been run with TensorRT-RTX; the parts that
need a GPU have not been executed by its authors.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt
import torch
from numpy.typing import NDArray

from engines import cuda, plan_cache, selfcheck
from engines.base import Arrays, Json, ModelSpec, Options, Unavailable, check_batch, opened
from engines.batches import blank, join
from engines.cache import cache_dir
from engines.half import half
from engines.tensorrt_build import Profile, build, built, make_logger, new
from engines.torch import Prepared, device_of
from engines.torch_locate import Locate, explained, trusted
from realtime.errors import ModelError

PROFILE = Profile()
logger = logging.getLogger(__name__)


class TensorrtNetwork:
    """A plan, one execution context and one stream. See engines.base.Network."""

    engine = "tensorrt"
    precision = "f16"
    why = ""

    def __init__(self, spec: ModelSpec, data: bytes, options: Options) -> None:
        self.spec = spec
        if options.precision not in ("auto", "f16"):
            raise Unavailable(f"precision {options.precision}: engine tensorrt computes in f16")
        # Before any Runtime is made: without a GPU TensorRT's may end the process.
        self._place = device_of("cuda" if options.compute == "auto" else options.compute)
        self.device = str(self._place)
        self._prepared = Prepared(spec, self._place)
        self._logger = make_logger(trt)
        self._stream = torch.cuda.Stream(self._place)  # type: ignore[no-untyped-call]
        folder, key = cache_dir() / plan_cache.FOLDER, plan_key(spec, self._place)
        if not self._kept(folder, key):
            with plan_cache.building(folder, key, self._waits):
                if not self._kept(folder, key):  # nobody has built it while this one waited
                    self._make(data, folder, key)
        locate = Locate(spec, self._heatmaps, self._place, graphs=False, most=PROFILE.most)
        self.locate = trusted(self, locate)

    def _kept(self, folder: Path, key: Json) -> bool:
        """Open the plan that is in the cache; whether there is one. Raises Unavailable where it
        was refused."""
        if reason := plan_cache.refusal(folder, key):
            refused = f"{self.spec.name}: the TensorRT plan was refused when it was built"
            raise Unavailable(f"{refused}: {reason}; use --engine torch")
        plan = plan_cache.load(folder, key)
        return plan is not None and self._open(plan)

    def _waits(self) -> None:
        logger.warning("waiting for the TensorRT plan that another run builds")

    def _make(self, data: bytes, folder: Path, key: Json) -> None:
        """Build the plan, look at what it finds, and keep it, or only why it must not be used.
        Raises Unavailable."""
        spec = self.spec
        logger.warning("building the TensorRT plan of %s for %s, once", spec.name, key["gpu"])
        with torch.cuda.device(self._place):  # which a builder takes its GPU from
            plan, counts = build(trt, half(spec, data), PROFILE)
        if not self._open(plan):
            raise Unavailable(f"TensorRT cannot load its own plan: {self._logger.reason()}")
        found = self._check()
        made = built(trt, self._engine, self._context)  # after the check, which has set a shape
        told = {"layers": counts, "built": made, "check": str(found)}
        reason = refusal_of(found, made)
        try:
            if reason:
                plan_cache.refuse(folder, key, reason, told)
            else:
                plan_cache.store(folder, key, plan, told)
        except OSError as error:
            logger.warning("the TensorRT plan cannot be kept in %s: %s", folder, error.strerror)
        if reason:
            raise Unavailable(
                f"{spec.name}: the TensorRT plan is refused: {reason}; use --engine torch"
            )

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        """See engines.base.Network."""
        check_batch(self.spec, batch)
        if not len(batch):
            return [array[:0] for array in self._run(blank(self.spec, 1))]
        most = PROFILE.most
        return join([self._run(batch[at : at + most]) for at in range(0, len(batch), most)])

    def close(self) -> None:
        """Let the engine go, and what locates by it: the two refer to each other."""
        self.locate = self._context = self._engine = self._runtime = None

    def _open(self, plan: bytes) -> bool:
        """Make the engine of a plan and its context; whether that worked. Raises Unavailable where
        there is not even a runtime, whatever the plan."""
        with torch.cuda.device(self._place):  # which a runtime takes its GPU from
            runtime = new(trt.Runtime, self._logger, "make a runtime")
            engine: Any = runtime.deserialize_cuda_engine(plan)
            context: Any = engine.create_execution_context() if engine is not None else None
        if context is None:
            return False
        names = [engine.get_tensor_name(n) for n in range(engine.num_io_tensors)]
        inward = trt.TensorIOMode.INPUT
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == inward]
        self._outputs = [name for name in names if name not in self._inputs]
        self._runtime, self._engine, self._context = runtime, engine, context
        return len(self._inputs) == 1

    def _run(self, batch: NDArray[np.uint8]) -> Arrays:
        with explained(self.spec), torch.inference_mode(), torch.cuda.stream(self._stream):
            pixels = torch.tensor(np.ascontiguousarray(batch), device=self._place)
            images = self._prepared(pixels).contiguous()
            outputs = self._execute(images)
            # .cpu() waits for the stream, so images and outputs outlive the work on them.
            return [output.cpu().numpy() for output in outputs]

    def _execute(self, images: torch.Tensor) -> list[torch.Tensor]:
        context: Any = opened(self._context, self.spec)
        (name,) = self._inputs
        done = context.set_input_shape(name, tuple(images.shape))
        done = done and context.set_tensor_address(name, images.data_ptr())
        outputs = []
        for output in self._outputs:
            shape = tuple(context.get_tensor_shape(output))
            outputs.append(torch.empty(shape, dtype=torch.float32, device=self._place))
            done = done and context.set_tensor_address(output, outputs[-1].data_ptr())
        stream = torch.cuda.current_stream(self._place).cuda_stream
        if not (done and context.execute_async_v3(stream)):
            raise ModelError(f"{self.spec.name}: TensorRT failed: {self._logger.reason()}")
        return outputs

    def _heatmaps(self, planes: torch.Tensor) -> torch.Tensor:
        """Of crops (B, 3, H, W) BGR on the device."""
        return self._execute(self._prepared(planes.permute(0, 2, 3, 1)).contiguous())[0]

    def _check(self) -> selfcheck.Agreement:
        """Compare with float32 on the CPU. Raises ModelError."""
        from engines.load import load

        reference = load(self.spec, "pose", precision="f32", compute="cpu")
        found = selfcheck.agreement(reference, self, selfcheck.demo_crops(self.spec))
        logger.info("TensorRT plan of %s: %s", self.spec.name, found)
        return found


def refusal_of(found: selfcheck.Agreement, made: dict[str, int]) -> str:
    """Why a plan must not be used that agrees so with float32 and has such layers (see built);
    empty where it may be."""
    if not found.good:
        return f"it is not known to find the joints of float32: {found}"
    return f"it is without float16: {made}" if made and "HALF" not in made else ""


def plan_key(spec: ModelSpec, place: torch.device) -> Json:
    """All that a plan depends on."""
    gpu = torch.cuda.get_device_properties(place)
    return {
        "network": spec.sha256,
        "tensorrt": trt.__version__,
        "gpu": gpu.name,
        "compute_capability": [gpu.major, gpu.minor],
        "processors": gpu.multi_processor_count,
        "memory": gpu.total_memory,
        "driver": cuda.driver(),
        "profile": PROFILE.as_json(),
        "flags": ["STRONGLY_TYPED", "f16"],
    }

"""Batches computed at the same time, each on a part of the processor's cores, while others are cut.

One batch on all cores makes each of its layers wait for the core that is last, which is often one
that another stage or program has borrowed; batches of their own wait for nobody.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from engines.base import Arrays, ModelSpec, check_batch, opened
from engines.quiet_openvino import ov, reason
from realtime.errors import ModelError


class Begun:
    """A batch on its way; see engines.base.Begun."""

    def __init__(
        self,
        name: str,
        request: ov.InferRequest,
        batch: NDArray[np.uint8],
        idle: list[ov.InferRequest],
    ) -> None:
        self._name, self._request, self._idle = name, request, idle
        self._arrays: Arrays | None = None
        self._failure = ""
        self._batch = np.ascontiguousarray(batch)  # read while it is computed
        try:
            request.start_async([self._batch], share_inputs=True)
        except RuntimeError as error:
            self._fail(error)

    @property
    def finished(self) -> bool:
        """Whether its request is free for another batch."""
        return self._arrays is not None or bool(self._failure)

    @property
    def ready(self) -> bool:
        try:
            return self.finished or bool(self._request.wait_for(0))
        except RuntimeError:  # which outputs() tells
            return True

    def outputs(self) -> Arrays:
        self.finish()
        if self._failure:
            raise ModelError(self._failure)
        assert self._arrays is not None
        return self._arrays

    def finish(self) -> None:
        """Wait for the outputs and keep them, so that the request is free for another batch."""
        if not self.finished:
            try:
                self._request.wait()
                self._arrays = [np.array(t.data, np.float32) for t in self._request.output_tensors]
                self._idle.append(self._request)
            except RuntimeError as error:
                self._fail(error)

    def _fail(self, error: RuntimeError) -> None:
        self._failure = f"{self._name}: OpenVINO failed: {reason(error)}"
        self._idle.append(self._request)


class Ahead:
    """The requests of a compiled network with so many streams; Network.begin, for one thread."""

    def __init__(self, spec: ModelSpec, compiled: ov.CompiledModel, streams: int) -> None:
        self._spec = spec
        # One more than are computed, so that no stream waits until Python has taken its results.
        self._idle: list[ov.InferRequest] | None = [
            compiled.create_infer_request() for _ in range(streams + 1)
        ]
        self._running: deque[Begun] = deque()

    def __call__(self, batch: NDArray[np.uint8]) -> Begun:
        check_batch(self._spec, batch, narrow=self._spec.narrow)
        idle = opened(self._idle, self._spec)
        while self._running and (self._running[0].finished or not idle):
            self._running.popleft().finish()
        begun = Begun(self._spec.name, idle.pop(), batch, idle)
        self._running.append(begun)
        return begun

    def close(self) -> None:
        """Wait for what is on its way, and let the requests go."""
        while self._running:
            self._running.popleft().finish()
        self._idle = None

"""A second network on the frames of a run, to be seen beside the first (--compare)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engines.base import Network
from realtime.blur import NOBODY, heads_of
from realtime.crop import cut
from realtime.decode import decode, to_poses
from realtime.detect import Detector
from realtime.pipeline import Options, Pipeline, over_time
from realtime.pose import estimate
from realtime.records import Detections, Float, PosedFrame, Poses
from realtime.sources.base import SourceInfo
from realtime.stages import Meter

RECENT = 60
"""Pictures over which the time of a network is measured."""
SMOOTHED = ("display", "all")
"""Where the other people may be smoothed: they are only drawn."""


class Compare:
    """Finds the people of each frame once more, with another detector or another pose network and
    all else alike; they become PosedFrame.other. Called in the thread of the pose stage.

    meters: of the other network ("compare") and of what has to be done around it.
    """

    def __init__(
        self, other: Detector | Network, pose: Network, options: Options, info: SourceInfo
    ) -> None:
        self._detector = other if isinstance(other, Detector) else None
        self._pose = pose if isinstance(other, Detector) else other
        self.network = other.network if isinstance(other, Detector) else other
        self._options, self._info = options, info
        thread = "infer" if info.live else "pose"
        self._own, self._rest = (Meter(name, thread) for name in ("compare", "compare.rest"))
        self.meters = {meter.name: meter for meter in (self._own, self._rest)}
        self._captions: list[tuple[str, _Pace]] = []
        self._part = 0
        self._people = over_time(options, info, SMOOTHED)

    def beside(self, pipeline: Pipeline, first: Network) -> None:
        """Work in this pipeline, beside its network first."""
        pipeline.compare = self
        pipeline.meters.update(self.meters)
        task = "detect" if self._detector else "pose"
        names = [network.spec.name for network in (first, self.network)]
        if names[0] == names[1]:
            names = [network.spec.path.name for network in (first, self.network)]
        paces = (_Pace(pipeline.meters[task]), _Pace(self._own))
        self._captions = list(zip(names, paces, strict=True))

    def captions(self) -> list[str]:
        """What to write over the two pictures: the networks, and how long they take."""
        return [f"{name}{pace.told()}" for name, pace in self._captions]

    def __call__(
        self, posed: list[PosedFrame], detections: Sequence[Detections]
    ) -> list[PosedFrame]:
        """The same frames with their other people."""
        frames, spec = [item.frame for item in posed], self._pose.spec
        numbers = [frame.index for frame in frames]
        if self._detector:
            with self._own.on(numbers):
                detections = self._detector(frames)
        with self._rest.on(numbers):
            crops = cut(frames, detections, spec.input_wh, spec.padding)
        meter, counted = (self._rest, []) if self._detector else (self._own, numbers)
        with meter.on(counted):
            heatmaps = estimate(self._pose, crops, alive=meter.alive)
        with self._rest.on([]):
            method = self._options.method
            points, scores = decode(heatmaps, method, spec.grid, spec.input_wh, spec.sigma)
            people, failed = to_poses(points, scores, crops.crop_to_frame, detections)
            left = [d.search_xyxy if n else NOBODY for d, n in zip(detections, failed, strict=True)]
            return [self._with(*each) for each in zip(posed, people, left, strict=True)]

    def _with(self, item: PosedFrame, poses: Poses, left_xyxy: Float) -> PosedFrame:
        """The frame with its other people, followed and smoothed like the first ones. left_xyxy:
        boxes (N, 4) of people who may be left out of poses."""
        if item.heads is not None:  # whoever only this network finds has a face as well
            heads = np.concatenate([item.heads, heads_of(poses, left_xyxy)])
            item = replace(item, heads=heads)
        if item.frame.part != self._part:  # somebody sought in the file
            self._part = item.frame.part
            self._people = over_time(self._options, self._info, SMOOTHED, self._people)
        known = self._people.known(self._people.sure(poses), item.frame)
        chosen = self._people.chosen(known, item.frame)
        return replace(item, other=self._people.steady(chosen, item.frame))


class _Pace:
    """Milliseconds for a frame that a stage took lately."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._seen: deque[tuple[int, float]] = deque(maxlen=RECENT)

    def told(self) -> str:
        """For people; to be asked for each picture."""
        now = self._meter.frames, self._meter.seconds
        self._seen.append(now)
        before = self._seen[0] if now[0] > self._seen[0][0] else (0, 0.0)
        frames, seconds = now[0] - before[0], now[1] - before[1]
        return f", {1e3 * seconds / frames:.1f} ms a frame" if frames else ""

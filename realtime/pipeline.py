"""The graph of a run: which stages, in which threads, over which edges.

Files: grab | detect | crop, pose, decode | track, render. Live sources: grab | detect, crop, pose,
decode, track | render, so that boxes between detections can follow the newest joints. Each sink
has a thread of its own (outputs.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from engines.base import Network, takes_narrow
from realtime import geometry
from realtime.blur import NOBODY, Heads, heads_of
from realtime.bridge import bridged
from realtime.choice import EVERYBODY
from realtime.crop import Cuts, places, to_cut
from realtime.decode import DEFAULT_METHOD, Method, decode, to_poses
from realtime.defaults import BRIDGE, MIN_SCORE
from realtime.detect import Detector
from realtime.errors import PosestreamError
from realtime.faults import Fault
from realtime.flow import Crew, Edge, each, flat
from realtime.follow import Sought
from realtime.heat import heat_of, heights_of, of_people
from realtime.ledger import Ledger
from realtime.over_time import OverTime
from realtime.pose import Estimate, Locator, begin_of
from realtime.records import Detections, Float, Frame, Heat, Image, PosedFrame, Poses
from realtime.schedule import DOUBT, EVERY, LiveSchedule, detect_sparsely
from realtime.smooth import Where
from realtime.sources.base import Source, SourceInfo
from realtime.stages import Meter

Found = tuple[Frame, Detections]
Everybody = tuple[list[Poses], list[int], list[Heat]]
"""Of each frame the poses, how many were left out, and the heatmaps where they are to be shown."""
Draw = Callable[[PosedFrame], Image]
Again = Callable[[list[PosedFrame], Sequence[Detections]], list[PosedFrame]]

STREAMS = 2
"""Batches of a file's people that the pose network computes at the same time, where it can: what is
quickest for a file. A live frame is sooner there when all cores work on it."""
AHEAD = STREAMS
"""Groups of frames handed to the pose network beside the one whose poses are waited for."""
HELD = 2**29
"""Bytes of a file's frames that may wait for a detection ahead of them."""
PROMPT = 1e-3
"""Seconds of waiting for a live frame below which it was there already: the last one took long."""
TICK = 0.05
"""Seconds after which the main loop wakes when nothing arrives."""


@dataclass(frozen=True, slots=True)
class _Work:
    """Frames that the pose network has; ready: whether everybody() need not wait for it."""

    frames: list[Frame]
    detections: list[Detections]
    ready: Callable[[], bool]
    everybody: Callable[[], Everybody]


@dataclass(frozen=True, slots=True)
class Options:
    """How a run works on its frames; see the command line's help. detect_every: None is what
    detects_every() chooses. bridge: frames that somebody in a file may be missed for."""

    detect_every: int | None = None
    bridge: int = BRIDGE
    method: Method = DEFAULT_METHOD
    min_score: float = MIN_SCORE
    batch: int = 8
    smooth: Where = "off"
    fix_swaps: bool = False
    find_heads: bool = False
    select: str | int = EVERYBODY


class Pipeline:
    """One run's stages. frames() starts the threads; meters and edges tell what they did.

    draw: makes the picture of a posed frame, None when nobody wants pictures.
    """

    def __init__(
        self,
        source: Source,
        detector: Detector,
        pose: Network,
        draw: Draw | None,
        ledger: Ledger,
        options: Options,
        fault: Fault | None = None,
    ) -> None:
        self.edges: dict[str, Edge[Any]] = {}
        self._source, self._detector, self._pose, self._draw = source, detector, pose, draw
        self._ledger, self._options = ledger, options
        self.watchful: Callable[[], bool] = lambda: False  # detect in every live frame
        self.wants_heat: Callable[[], bool] = lambda: False  # whether heatmaps are to be shown
        self.sought = Sought(options.select)
        self.compare: Again | None = None  # a second network, see realtime/compare.py
        self.crops = {"whole": 0, "narrow": 0}  # that the pose network was given, by its thread
        self._smoothed = ("display", "data", "all") if draw else ("data", "all")
        self._heads = Heads()
        self._people = over_time(options, source.info, self._smoothed)
        self._started = False
        live = source.info.live
        threads = {
            "grab": "grab",
            "detect": "infer" if live else "detect",
            "crop": "infer" if live else "pose",
            "pose": "infer" if live else "pose",
            "decode": "infer" if live else "pose",
            "track": "infer" if live else "render",
            "render": "render",
        }
        self.meters = {name: Meter(name, thread, fault) for name, thread in threads.items()}

    @property
    def notes(self) -> list[str]:
        """What to say of the people of the run."""
        return [note for note in (self.sought.note, self._people.note) if note]

    def frames(self, crew: Crew) -> Generator[list[PosedFrame], None, None]:
        """Start the threads; yield lists of finished frames, an empty one every TICK seconds.

        Once more after the source was sought in, when the threads of the time before have ended:
        nothing is known of the frames before, and everybody gets a new id.
        """
        if self._started:
            self._start_afresh()
        self._started = True
        posed = self._live(crew) if self._source.info.live else self._file(crew)
        return crew.in_thread("render", each(self._render, posed), self._edge("render", 1), 1, TICK)

    def _start_afresh(self) -> None:
        """Forget everybody who was seen."""
        self._heads = Heads()
        self._people = over_time(self._options, self._source.info, self._smoothed, self._people)
        if isinstance(self._options.select, int):
            told = f"--select {self._options.select}: ids are new after seeking, everybody is shown"
            self._source.status.note(told)

    def _edge(self, name: str, capacity: int, drop: bool = False) -> Edge[Any]:
        """The edge after stage name; it goes on counting where the one before it stopped."""
        edge: Edge[Any] = Edge(capacity, "drop_oldest" if drop else "wait")
        if name in self.edges:
            edge.stats = self.edges[name].stats
        self.edges[name] = edge
        return edge

    def _captured(self) -> Generator[Frame, None, None]:
        """The source's frames, measured and counted."""
        with closing(self.meters["grab"].over(self._source.frames())) as frames:
            for frame in frames:
                self._ledger.capture()
                yield frame

    def _file(self, crew: Crew) -> Generator[PosedFrame, None, None]:
        batch = batch_size(self._source.info, self._options.batch)
        grabbed = flat(crew.in_thread("grab", self._captured(), self._edge("grab", batch)))
        every = detects_every(self._source.info, self._options.detect_every)
        if every < (self._options.detect_every or 0) and not self._source.info.independent:
            self._source.status.note(f"--detect-every: at most {every}, for the memory of a run")
        share = DOUBT[0] if every > 1 else 1.0

        def detect(frames: Sequence[Frame]) -> list[Detections]:
            return self._detect(frames, share)

        groups = detect_sparsely(grabbed, detect, every, batch, self._detector.min_score)
        longest = longest_gap(self._source.info, self._options.bridge)
        if longest:
            groups = bridged(groups, batch, longest)
            if longest < self._options.bridge:
                self._source.status.note(f"--bridge: at most {longest}, for the memory of a run")
        found = flat(crew.in_thread("detect", groups, self._edge("detect", 1)))
        posed = crew.in_thread("pose", self._posed(found), self._edge("decode", 1))
        frames = flat(flat(posed))
        return frames if self._source.info.independent else each(self._track, frames)

    def _live(self, crew: Crew) -> Generator[PosedFrame, None, None]:
        edge = self._edge("grab", 1, drop=True)
        grabbed = flat(crew.in_thread("grab", self._captured(), edge))
        every = self._options.detect_every
        schedule = LiveSchedule(
            self._detect,
            self._people.tracker,
            detects_every(self._source.info, every),
            lambda: self.watchful(),
            (lambda: False) if every else lateness(edge),
        )

        def infer(frame: Frame) -> PosedFrame:
            return self._track(self._finish(self._begin([(frame, schedule(frame))]))[0])

        return flat(crew.in_thread("infer", each(infer, grabbed), self._edge("track", 1)))

    def _detect(self, frames: Sequence[Frame], share: float = 1.0) -> list[Detections]:
        with self.meters["detect"].on([frame.index for frame in frames]):
            found = self._detector(frames, share)
        if self._detector.crowded:
            most = self._detector.max_people
            self._source.status.note(f"more than {most} people in a frame: the surest were taken")
        return found

    def _posed(
        self, groups: Generator[list[Found], None, None]
    ) -> Generator[list[PosedFrame], None, None]:
        """The poses of each group. Where the network can, it works on some groups while the crops
        of the next are cut. What is raised for a group comes after the poses of those before."""
        begun: deque[_Work] = deque()
        failure: PosestreamError | None = None
        with closing(groups):
            while failure is None:
                try:
                    begun.append(self._begin(next(groups)))
                except StopIteration:
                    break
                except PosestreamError as error:
                    failure = error
                while begun and (len(begun) > AHEAD or begun[0].ready()):
                    yield self._finish(begun.popleft())
            while begun:
                yield self._finish(begun.popleft())
        if failure:
            raise failure

    def _begin(self, group: list[Found]) -> _Work:
        """A group of frames, the people of which share the batches, handed to the network."""
        frames, detections = [frame for frame, _ in group], [found for _, found in group]
        locate = None if self.wants_heat() else getattr(self._pose, "locate", None)
        if locate:
            done = self._located(locate, frames, detections)
            return _Work(frames, detections, lambda: True, lambda: done)
        numbers, spec = [frame.index for frame in frames], self._pose.spec
        crop, pose = self.meters["crop"], self.meters["pose"]
        with crop.on(numbers):
            people = to_cut(frames, detections, spec.input_wh, spec.padding)
        slim = people.slim & takes_narrow(self._pose)
        self._count(len(slim), int(slim.sum()))
        estimate = Estimate(
            pose.measured(begin_of(self._pose), numbers),
            crop.measured(people.crops, numbers),
            slim,
            spec.input_wh,
            alive=pose.alive,
        )
        return _Work(
            frames, detections, lambda: estimate.ready,
            lambda: self._found(numbers, detections, people, estimate),
        )  # fmt: skip

    def _count(self, crops: int, narrow: int) -> None:
        self.crops["whole"] += crops - narrow
        self.crops["narrow"] += narrow

    def _finish(self, work: _Work) -> list[PosedFrame]:
        """The group with its poses."""
        frames, detections = work.frames, work.detections
        poses, failed, heat = work.everybody()
        kept = [self._people.sure(people) for people in poses]
        posed = [PosedFrame(f, p, n) for f, p, n in zip(frames, kept, failed, strict=True)]
        if heat:
            posed = [replace(item, heat=one) for item, one in zip(posed, heat, strict=True)]
        if self._options.find_heads:
            posed = self._with_heads(posed, poses, detections)
        return self.compare(posed, detections) if self.compare else posed

    def _found(
        self,
        numbers: list[int],
        detections: list[Detections],
        people: Cuts,
        estimate: Estimate,
    ) -> Everybody:
        spec, wants_heat = self._pose.spec, self.wants_heat()

        def read(maps: Float) -> tuple[Any, ...]:
            found = decode(maps, self._options.method, spec.grid, spec.input_wh, spec.sigma)
            return (*found, heights_of(maps)) if wants_heat else found

        with self.meters["pose"].on(numbers):
            estimate.wait()
        with self.meters["decode"].on(numbers):
            points, scores, *heights = estimate.read(read)
            poses, failed = to_poses(points, scores, people.crop_to_frame, detections)
        heat = heat_of(heights[0], people, detections, spec.grid) if heights else []
        return poses, failed, heat

    def _located(
        self, locate: Locator, frames: list[Frame], detections: list[Detections]
    ) -> Everybody:
        """As _found, by a network whose device cuts crops and reads heatmaps."""
        numbers, spec = [frame.index for frame in frames], self._pose.spec
        with self.meters["pose"].on(numbers):
            to_crop, frame_of = places(detections, spec.input_wh, spec.padding)
            self._count(len(to_crop), 0)
            pictures = [frame.image for frame in frames]
            points, scores = locate(pictures, to_crop, frame_of, self._options.method)
        with self.meters["decode"].on(numbers):
            poses, failed = to_poses(points, scores, geometry.invert(to_crop), detections)
        return poses, failed, []

    def _with_heads(
        self, posed: list[PosedFrame], poses: list[Poses], detections: list[Detections]
    ) -> list[PosedFrame]:
        """With the heads of everybody who was detected, also of those left out of the poses."""
        left = [d.search_xyxy if item.failed else NOBODY for item, d in zip(posed, detections)]
        heads = [heads_of(people, boxes) for people, boxes in zip(poses, left, strict=True)]
        return [replace(item, heads=found) for item, found in zip(posed, heads, strict=True)]

    def _track(self, item: PosedFrame) -> PosedFrame:
        with self.meters["track"].on([item.frame.index]):
            return replace(item, poses=self._people.known(item.poses, item.frame))

    def _render(self, item: PosedFrame) -> PosedFrame:
        with self.meters["render"].on([item.frame.index]):
            if item.heads is not None and not self._source.info.independent:
                frame = item.frame
                heads = self._heads.update(item.heads, frame.time, frame.size_wh)
                item = replace(item, heads=heads)
            self.sought.look(item.poses.ids)
            item = replace(item, poses=self._people.chosen(item.poses, item.frame))
            if item.heat is not None:
                item = replace(item, heat=of_people(item.heat, item.poses))
            shown, kept = self._steady(item)
            done = kept
            if self._draw:
                done = replace(kept, picture=self._draw(shown), drawn=shown.poses)
        self._ledger.render(item.frame.grabbed)
        return done

    def _steady(self, item: PosedFrame) -> tuple[PosedFrame, PosedFrame]:
        """The frame as it is drawn and as it is given on: either or both are smoothed."""
        smooth = replace(item, poses=self._people.steady(item.poses, item.frame))
        where = self._options.smooth
        return item if where == "data" else smooth, item if where == "display" else smooth


def lateness(edge: Edge[Any]) -> Callable[[], bool]:
    """What tells, asked after each item is taken from an edge, whether it had waited there."""
    waited = edge.stats.take_wait

    def late() -> bool:
        nonlocal waited
        before, waited = waited, edge.stats.take_wait
        return waited - before < PROMPT

    return late


def over_time(
    options: Options, info: SourceInfo, where: Sequence[str], before: OverTime | None = None
) -> OverTime:
    """For the people of a run, smoothed if Options.smooth is one of where. before: what there was
    until the source was sought in; none of its ids is given again, so that nobody has the one to
    follow."""
    smooth = options.smooth in where
    released = before is not None and isinstance(options.select, int)
    select = EVERYBODY if released else options.select
    first_id = before.tracker.next_id if before else 1
    return OverTime(
        options.min_score, options.fix_swaps, select, smooth, info.independent, first_id
    )


def detects_every(info: SourceInfo, wanted: int | None) -> int:
    """The frames from one detection to the next: as wanted; of files EVERY unless told, of live
    sources 1; of independent images always 1.

    Of files at most what HELD bytes of pictures allow: realtime.schedule holds four times as many.
    """
    if info.independent:
        return 1
    if info.live:
        return wanted or 1
    return min(wanted or EVERY, max(EVERY, HELD // (4 * _picture_bytes(info))))


def longest_gap(info: SourceInfo, wanted: int) -> int:
    """The frames of a file for which somebody may be missed: as wanted, of independent images 0.

    At most what HELD bytes of pictures allow, or BRIDGE: realtime.bridge holds as many.
    """
    if info.independent:
        return 0
    return min(wanted, max(BRIDGE, HELD // _picture_bytes(info)))


def batch_size(info: SourceInfo, wanted: int) -> int:
    """Frames in a batch: at most 32 MiB of pictures, so that memory does not depend on their
    size; the same in every run of the same input."""
    if info.size_wh is None:
        return min(wanted, 4)
    return max(1, min(wanted, 2**25 // _picture_bytes(info)))


def _picture_bytes(info: SourceInfo) -> int:
    """Of one frame; as many as one of 1080p where the size is not known."""
    width, height = info.size_wh or (1920, 1080)
    return 3 * width * height

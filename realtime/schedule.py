"""When the detector runs, and which boxes people have on the frames where it does not.

Only boxes are made up between detections: the pose network sees every person in every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from realtime.assignment import assign
from realtime.errors import PosestreamError
from realtime.flow import grouped
from realtime.geometry import areas, clip_boxes, iou
from realtime.records import Detections, Float, Frame
from realtime.track import Tracker

Detect = Callable[[Sequence[Frame]], list[Detections]]
Detected = tuple[Frame, Detections]
Span = tuple[int, int]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

SAME_BOX = 0.3  # least IoU of a person's boxes in two key frames
NEAR = 1.0  # body sizes a person may move between key frames where boxes do not overlap that much
MARGIN = 0.25  # share of its largest edge's movement by which an interpolated box is grown
ALWAYS = 0.02  # share of its size by which it is grown in any case
EVERY = 3  # of files, unless told otherwise
CALM = 0.8
"""Least IoU of everybody's boxes in two key frames for twice the distance to be enough. On five
real clips of 1,160 frames the detector runs on 41 instead of 48 % of them, of one in which somebody
exercises on the spot on 25 instead of 39 %, with the same numbers of people; below 0.8 little is
gained."""
SPARED = 2
"""Live frames in a row, at most, that do without the detector because they come late."""
DOUBT = 0.93, 1.125
"""Scores, in shares of the least one of a person, at which it is in doubt whether a box is there on
the next frame as well. On ten real clips of 2,450 frames there are then as many boxes as when the
detector runs on every frame in 99.9 % of them, and it runs on 53 %; without this range in 99.1 %
and on 46 % (both without CALM). A wider range costs more detections than it finds."""


def detect_sparsely(
    frames: Generator[Frame, None, None], detect: Detect, every: int, batch: int, least: float = 0.0
) -> Generator[list[Detected], None, None]:
    """Every frame once, in order, with its people; the detector runs on key frames only where
    that is enough. For files: nothing depends on time or on later stages, so that two runs give
    the same.

    Key frames are the first, every 2 * ``every``-th after it (counted in frames, not in indices),
    and the last. Between two neighbouring ones the boxes are interpolated if everybody is at both
    ends (see interpolated()), has hardly moved (CALM), and no score is in DOUBT of ``least``.
    Otherwise the frame ``every`` after the first is a key frame as well. Between these the same
    holds, however far people have moved; else the detector runs on every frame between. Boxes below
    least are in no result.

    Yields lists of ``batch`` frames, the last one shorter. Calls detect with at most ``batch``
    frames. Holds at most 4 * every + batch frames. Closes ``frames`` when it ends or is closed.
    A PosestreamError of ``frames`` is raised after all frames that came before it.
    """
    if every < 1 or batch < 1:
        raise ValueError(f"every and batch must be at least 1, got {every} and {batch}")
    failure: list[PosestreamError] = []
    sound = _until_failure(frames, failure)
    if every == 1:
        return _finished(_each(sound, detect, batch), failure, least)
    return _finished(_sparse(sound, detect, every, batch, least), failure, least)


def _until_failure(
    frames: Generator[Frame, None, None], failure: list[PosestreamError]
) -> Generator[Frame, None, None]:
    with closing(frames):
        try:
            yield from frames
        except PosestreamError as error:
            failure.append(error)


def _finished(
    groups: Generator[list[Detected], None, None], failure: list[PosestreamError], least: float
) -> Generator[list[Detected], None, None]:
    """The groups without boxes below least, then the failure."""
    with closing(groups):
        for group in groups:
            yield [(frame, _sure(found, least)) for frame, found in group]
            del group  # before the next one is read
    for error in failure:
        raise error


def _each(
    frames: Generator[Frame, None, None], detect: Detect, batch: int
) -> Generator[list[Detected], None, None]:
    with closing(grouped(frames, batch)) as groups:
        for group in groups:
            yield list(zip(group, detect(group), strict=True))


def _sparse(
    frames: Generator[Frame, None, None], detect: Detect, every: int, batch: int, least: float
) -> Generator[list[Detected], None, None]:
    ready: list[Detected] = []  # fewer than batch whenever more frames are read
    ahead: list[Frame] = []  # from the last key frame on
    known: list[Detections] = []  # of the first of ahead, once there is one
    with closing(frames):
        ended = False
        while not ended:
            room = 4 * every + batch - len(ready) - len(ahead)
            had = len(ahead)
            ahead.extend(islice(frames, room))
            ended = len(ahead) - had < room
            keys = _keys(len(ahead), 2 * every, ended)
            known += _in_batches(detect, [ahead[key] for key in keys[len(known) :]], batch)
            ready += _filled(detect, ahead, keys, known, every, batch, least)
            ahead, known = (ahead[keys[-1] :], known[-1:]) if keys else ([], [])
            if ended:
                ready += zip(ahead, known, strict=True)
            while len(ready) >= batch:
                yield ready[:batch]
                del ready[:batch]
        if ready:
            yield ready


def _keys(count: int, every: int, ended: bool) -> list[int]:
    """Positions of the key frames among count frames of which the first is one."""
    keys = list(range(0, count, every))
    if ended and count and keys[-1] != count - 1:
        keys.append(count - 1)
    return keys


def _in_batches(detect: Detect, frames: list[Frame], batch: int) -> list[Detections]:
    found: list[Detections] = []
    for start in range(0, len(frames), batch):
        part = frames[start : start + batch]
        results = detect(part)
        if len(results) != len(part):
            raise ValueError(f"detect gave {len(results)} results for {len(part)} frames")
        found += results
    return found


def _filled(
    detect: Detect,
    frames: list[Frame],
    keys: list[int],
    known: list[Detections],
    every: int,
    batch: int,
    least: float,
) -> list[Detected]:
    """All frames before the last key frame with their boxes; known are those of the keys."""
    boxes: dict[int, Detections] = dict(zip(keys, known, strict=True))

    def look(at: list[int]) -> None:
        found = _in_batches(detect, [frames[n] for n in at], batch)
        boxes.update(zip(at, found, strict=True))

    def unclear(spans: Iterable[Span], least_iou: float) -> list[Span]:
        """The spans of which nothing is known between the ends; the others get their boxes."""
        left = []
        for first, last in spans:
            between = range(first + 1, last)
            start, end = ((frames[at], _sure(boxes[at], least)) for at in (first, last))
            made = interpolated(start, end, [frames[at].time for at in between], least_iou)
            if made is None or any(_in_doubt(boxes[at], least) for at in (first, last)):
                left.append((first, last))
            else:
                boxes.update(zip(between, made, strict=True))
        return left

    halves = [
        half
        for first, last in unclear(pairwise(keys), CALM)
        for half in pairwise(sorted({first, min(first + every, last), last}))
    ]
    look([last for _, last in halves if last not in boxes])
    look([at for first, last in unclear(halves, 0) for at in range(first + 1, last)])
    return [(frames[at], boxes[at]) for at in range(keys[-1] if keys else 0)]


def _sure(found: Detections, least: float) -> Detections:
    return found[found.scores >= least]


def _in_doubt(found: Detections, least: float) -> bool:
    low, high = DOUBT
    return bool(((found.scores > low * least) & (found.scores < high * least)).any())


def interpolated(
    first: Detected, last: Detected, times: Sequence[float], least_iou: float = 0
) -> list[Detections] | None:
    """Boxes at the given times between two frames; None unless everybody is in both frames, with
    boxes of at least this IoU.

    A box's edges move linearly in Frame.time; its score is the lower one of both ends. See
    part_way() for where the person is looked for.
    """
    (start, a), (end, b) = first, last
    if len(a) != len(b) or start.size_wh != end.size_wh:
        return None
    rows, columns = pairs(a.boxes_xyxy, b.boxes_xyxy)
    if len(rows) < len(a):
        return None
    if (iou(a.boxes_xyxy[rows], b.boxes_xyxy[columns]).diagonal() < least_iou).any():
        return None
    order = np.argsort(-np.minimum(a.scores[rows], b.scores[columns]), kind="stable")
    low, high = a[rows[order]], b[columns[order]]
    span = end.time - start.time
    shares = [(time - start.time) / span if span > 0 else 0.5 for time in times]
    return [part_way(low, high, share, start.size_wh) for share in shares]


def part_way(a: Detections, b: Detections, share: float, size_wh: tuple[int, int]) -> Detections:
    """People at a share 0..1 of the way from a to b, row by row the same, with the lower score.

    They are looked for in a box that is grown on each side by MARGIN of its largest edge's
    movement, because people do not move linearly, and by ALWAYS of its size. Both boxes are cut at
    the border of the picture of size_wh.
    """
    share = min(max(share, 0.0), 1.0)
    wider = _between(a.search_xyxy, b.search_xyxy, share)
    moved = np.abs(b.search_xyxy - a.search_xyxy).max(1)
    grow = MARGIN * moved + ALWAYS * np.sqrt(areas(wider))
    grown = wider + grow[:, None] * np.array([-1, -1, 1, 1], np.float32)
    return Detections(
        clip_boxes(_between(a.boxes_xyxy, b.boxes_xyxy, share), size_wh),
        np.minimum(a.scores, b.scores),
        clip_boxes(grown.astype(np.float32), size_wh),
    )


def _between(a_xyxy: Float, b_xyxy: Float, share: float) -> Float:
    between: Float = a_xyxy + np.float32(share) * (b_xyxy - a_xyxy)
    return between


def pairs(a_xyxy: Float, b_xyxy: Float) -> Pairs:
    """Which box of a is which of b: by IoU; boxes left over (fast people) by distance, if there
    is just one candidate for each."""
    rows, columns = assign(iou(a_xyxy, b_xyxy), SAME_BOX)
    left = np.setdiff1d(np.arange(len(a_xyxy)), rows)
    right = np.setdiff1d(np.arange(len(b_xyxy)), columns)
    near = _near(a_xyxy[left], b_xyxy[right])
    sole = near & (near.sum(1, keepdims=True) == 1) & (near.sum(0, keepdims=True) == 1)
    more_rows, more_columns = np.nonzero(sole)
    return (
        np.concatenate([rows, left[more_rows]]),
        np.concatenate([columns, right[more_columns]]),
    )


def _near(a_xyxy: Float, b_xyxy: Float) -> NDArray[np.bool_]:
    """Pairs (N, M) of boxes of like size (area within a factor of two) whose centres are at most
    NEAR mean sizes apart; a size is the root of an area."""
    centre_a, centre_b = ((box[:, :2] + box[:, 2:]) / 2 for box in (a_xyxy, b_xyxy))
    apart = np.linalg.norm(centre_a[:, None] - centre_b[None], axis=2)
    area_a, area_b = areas(a_xyxy)[:, None], areas(b_xyxy)[None]
    alike = (area_a <= 2 * area_b) & (area_b <= 2 * area_a)
    near: NDArray[np.bool_] = alike & (apart <= NEAR * (np.sqrt(area_a) + np.sqrt(area_b)) / 2)
    return near


class LiveSchedule:
    """Calls the detector on every ``every``-th frame it is given, at once when the tracker lost
    somebody, and on every frame while nobody is there; between, boxes come from the tracker.

    For live sources, where nothing can look ahead. The tracker must have had the poses of a frame
    before the next frame comes here; new people appear at the next detection. Asked for each frame:
    late, whether it may do without the detector, SPARED in a row, so that the next ones are in
    time; always, whether to detect in it whatever else there is.
    """

    def __init__(
        self,
        detect: Detect,
        tracker: Tracker,
        every: int,
        always: Callable[[], bool] = lambda: False,
        late: Callable[[], bool] = lambda: False,
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self._detect = detect
        self._tracker = tracker
        self._every = every
        self._always, self._late = always, late
        self._since = every  # frames since the last detection
        self._found = Detections.empty()  # in that frame

    def __call__(self, frame: Frame) -> Detections:
        """The people of a frame, to find poses in."""
        self._since += 1
        every = max(self._every, SPARED + 1) if self._late() else self._every
        if self._since < every and not self._tracker.lost and not self._always():
            boxes = self._tracker.predicted(frame.time, frame.size_wh, self._found)
            if len(boxes):
                return boxes
        self._since = 0
        self._found = self._detect([frame])[0]
        return self._found

"""How good a pose network is: the heatmaps of everybody, computed once and read in several ways."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.base import Grid, Network
from realtime import geometry, pose
from realtime.crop import cut
from realtime.decode import DEFAULT_METHOD, METHODS, Method, decode, to_poses
from realtime.records import Crops, Detections, Float, Frame, Image, Poses
from realtime.similarity import suppress
from realtime.skeleton import JOINT_COUNT, MIRROR
from train import coco_ap, pck
from train.coco import Person, Picture
from train.degrade import Change
from train.images import check_there
from train.measured import Running, as_pictures, open_frame, spread

TOGETHER = 64
"""Crops whose heatmaps are held at a time; 64 of 17x64x48 are 13 MB."""
HELD_BYTES = 200_000_000
"""Of pictures held at a time, from which on no more are added: photographs have 36 MB each."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way of reading heatmaps. flip: averaged with those of the mirrored crop."""

    method: Method
    flip: bool


ALL_WAYS = tuple(Way(method, flip) for flip in (False, True) for method in METHODS)
DEFAULT_WAY = Way(DEFAULT_METHOD, False)


@dataclass(frozen=True, slots=True)
class Read:
    """What came out, M crops: joints_xy float32 (M, 17, 2) in the pixels of their pictures, NaN
    where not finite, with their scores (M, 17); poses, one for each picture, without those."""

    joints_xy: Float
    scores: Float
    poses: list[Poses]


def read_poses(
    network: Network,
    pictures: Sequence[Picture],
    boxes: Sequence[Detections],
    ways: Sequence[Way] = (DEFAULT_WAY,),
    change: Change | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[Way, Read]:
    """The poses in boxes, one Detections for each picture, read in all ways.

    change: of the pictures, see train.degrade. progress is told how many pictures are done.
    Raises InputError, of images that are missing before the first is looked at; ModelError.
    """
    check_there(picture.path for picture, found in zip(pictures, boxes) if len(found))
    parts: dict[Way, list[Read]] = {way: [] for way in ways}
    done = 0
    for frames, people in _groups(pictures, boxes, change):
        crops = cut(frames, people, network.spec.input_wh, network.spec.padding)
        for way, read in _read_crops(network, crops, people, ways):
            parts[way].append(read)
        done += len(frames)
        progress(done)
    nobody = np.zeros((0, JOINT_COUNT, 2), np.float32)
    return {
        way: Read(
            np.concatenate([nobody, *(part.joints_xy for part in mine)]),
            np.concatenate([nobody[..., 0], *(part.scores for part in mine)]),
            [poses for part in mine for poses in part.poses],
        )
        for way, mine in parts.items()
    }


def _groups(
    pictures: Sequence[Picture], boxes: Sequence[Detections], change: Change | None
) -> Iterator[tuple[list[Frame], list[Detections]]]:
    """Frames with their boxes, TOGETHER crops or a few more at a time, fewer where their pictures
    are large; a picture without a box is not opened, a black one stands for it."""
    frames: list[Frame] = []
    people: list[Detections] = []
    for index, (picture, found) in enumerate(zip(pictures, boxes)):
        nothing = Frame(index, 0.0, np.zeros((1, 1, 3), np.uint8))
        frames.append(open_frame(picture, index, change) if len(found) else nothing)
        people.append(found)
        held = sum(frame.image.nbytes for frame in frames)
        if sum(map(len, people)) >= TOGETHER or held > HELD_BYTES:
            yield frames, people
            frames, people = [], []
    if frames:
        yield frames, people


def _read_crops(
    network: Network, crops: Crops, people: list[Detections], ways: Sequence[Way]
) -> Iterable[tuple[Way, Read]]:
    """The same crops read in all ways."""
    spec = network.spec
    plain = pose.estimate(network, crops)
    both = plain
    if any(way.flip for way in ways):
        both = ((plain + mirrored_heatmaps(network, crops)) / 2).astype(np.float32)
    for way in ways:
        heatmaps = both if way.flip else plain
        points, scores = decode(heatmaps, way.method, spec.grid, spec.input_wh, spec.sigma)
        poses, _ = to_poses(points, scores, crops.crop_to_frame, people)
        with np.errstate(invalid="ignore"):  # what is not finite stays so, and counts as wrong
            yield way, Read(geometry.apply(crops.crop_to_frame, points), scores, poses)


def mirrored_heatmaps(network: Network, crops: Crops) -> Float:
    """Heatmaps (M, 17, h, w) of the mirrored crops, mirrored back: left is left again.

    On the grids "pixel_centre" and "udp" cell x of a mirrored crop is cell w - 1 - x of the crop.
    On "corner" it is cell w - 1 / s - x for cells of s pixels: mirroring the map leaves it s - 1
    of s too far left, and it is moved right by one whole cell, as Simple Baselines does
    (microsoft/human-pose-estimation.pytorch, SHIFT_HEATMAP).
    """
    turned = Crops(np.ascontiguousarray(crops.pixels[:, :, ::-1]), *_rest(crops))
    maps = pose.estimate(network, turned)[:, MIRROR, :, ::-1]
    if network.spec.grid == "corner":
        maps = np.concatenate([maps[..., :1], maps[..., :-1]], -1)
    return np.ascontiguousarray(maps)


def _rest(crops: Crops) -> tuple[Float, NDArray[np.int64], NDArray[np.bool_]]:
    return crops.crop_to_frame, crops.frame_of, crops.slim


# ---- numbers ------------------------------------------------------------------------------------


def asked_for(picture: Picture) -> list[Person]:
    """The people of a picture that a pose network is measured on: labelled ones with a
    box, no crowds."""
    return [person for person in picture.people if person.asked_for]


def true_boxes(pictures: Sequence[Picture]) -> list[Detections]:
    """The labelled boxes of asked_for, score 1, for each picture."""
    return [
        Detections(
            np.array([p.box_xyxy for p in asked], np.float32).reshape(-1, 4),
            np.ones(len(asked), np.float32),
        )
        for asked in map(asked_for, pictures)
    ]


@dataclass(frozen=True, slots=True)
class Labels:
    """Of everybody asked for, picture after picture: joints float32 (M, 17, 3), areas (M,)."""

    joints: Float
    areas: Float

    @staticmethod
    def of(pictures: Sequence[Picture]) -> Labels:
        people = [person for picture in pictures for person in asked_for(picture)]
        return Labels(
            np.array([p.joints for p in people], np.float32).reshape(-1, JOINT_COUNT, 3),
            np.array([p.area for p in people], np.float32),
        )


def ap_of(pictures: Sequence[Picture], read: Read, suppressed: bool = False) -> dict[str, float]:
    """COCO's numbers of what was read in these pictures; see coco_ap.keypoint_ap.

    suppressed: with OKS-NMS before, for boxes of a detector, as the pipeline does.
    """
    pictures = coco_ap.numbered(pictures)
    poses = [found[suppress(found)] for found in read.poses] if suppressed else read.poses
    results = coco_ap.pose_results([picture.image_id for picture in pictures], poses)
    return coco_ap.keypoint_ap(coco_ap.ground_truth(pictures), results)


def pose_numbers(
    run: Callable[[Image], Float],
    people: Sequence[Person],
    *,
    input_wh: tuple[int, int],
    grid: Grid = "pixel_centre",
    sigma: float = 2.0,
    padding: float = geometry.CROP_PADDING,
    narrow: bool = False,
    way: Way = DEFAULT_WAY,
    limit: int | None = None,
) -> dict[str, float]:
    """How good the heatmaps of run are in the labelled boxes of people, for use after an epoch.

    run: uint8 (B, H, W, 3) BGR to heatmaps float32 (B, 17, h, w). limit: measure on so many people
    at most, evenly over all. The names: oks (mean object keypoint similarity), pck (see train.pck;
    left out where nobody's torso is labelled), and, where pycocotools is installed, the AP, AP50,
    AP75, APM, APL, AR of COCO that are defined here.
    """
    wanted = [person for person in people if person.asked_for]
    pictures = as_pictures(spread(wanted, limit))
    network = Running(run, "pose", input_wh, grid, sigma, padding, narrow)
    read = read_poses(network, pictures, true_boxes(pictures), (way,))[way]
    labels = Labels.of(pictures)
    numbers = {
        "oks": pck.mean_oks(read.joints_xy, labels.joints, labels.areas),
        "pck": pck.pck(read.joints_xy, labels.joints),
    }
    if coco_ap.available():
        numbers.update(ap_of(pictures, read))
    return {name: value for name, value in numbers.items() if not math.isnan(value)}

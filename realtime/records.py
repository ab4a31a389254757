"""What flows through the pipeline: frozen structs of arrays, checked once on entry.

N people, M crops, K = 17 joints. Images are BGR uint8; points are (x, y), x right, y down, in
pixels of the upright frame with pixel centres at integers. Nobody in the frame is an ordinary
value of length 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.skeleton import JOINT_COUNT

Float = NDArray[np.float32]
Image = NDArray[np.uint8]


def _check(name: str, array: NDArray[Any], shape: tuple[int | None, ...], dtype: type) -> None:
    """Raise ValueError unless array has this dtype and shape; None stands for any length."""
    fits = array.ndim == len(shape) and all(w in (None, g) for w, g in zip(shape, array.shape))
    if not fits or array.dtype != dtype:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise ValueError(
            f"{name}: expected {np.dtype(dtype)} {wanted}, got {array.dtype} {array.shape}"
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """One upright picture of a source.

    index: number of the frame in its source from 0; gaps show dropped frames.
    time: seconds; live sources count from the first grab (monotonic), files give their pts.
    image: uint8 (H, W, 3) BGR; made read-only.
    source: what the frame came from; for a folder the file name of the image.
    grabbed: time.perf_counter() when the frame was read, for latency.
    part: how many times the source was sought in before (realtime/sources/base.py, Seekable).
    aspect: width of a pixel by its height.
    """

    index: int
    time: float
    image: Image
    source: str = ""
    grabbed: float = 0.0
    part: int = 0
    aspect: float = 1.0

    def __post_init__(self) -> None:
        _check("Frame.image", self.image, (None, None, 3), np.uint8)
        self.image.flags.writeable = False

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True, slots=True)
class Detections:
    """People found in one frame: boxes_xyxy float32 (N, 4) in frame pixels, scores float32 (N,)
    in 0..1, descending.

    wider_xyxy: float32 (N, 4), where somebody may be whose box is not detected but worked out from
    other frames; None where all are detected.
    """

    boxes_xyxy: Float
    scores: Float
    wider_xyxy: Float | None = None

    def __post_init__(self) -> None:
        _check("Detections.boxes_xyxy", self.boxes_xyxy, (None, 4), np.float32)
        _check("Detections.scores", self.scores, (len(self.boxes_xyxy),), np.float32)
        if self.wider_xyxy is not None:
            _check("Detections.wider_xyxy", self.wider_xyxy, self.boxes_xyxy.shape, np.float32)

    @property
    def search_xyxy(self) -> Float:
        """Boxes (N, 4) in which the pose network is to look, and in which everybody is who has to
        be hidden: the person's own one, or the wider one."""
        return self.boxes_xyxy if self.wider_xyxy is None else self.wider_xyxy

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, keep: Any) -> Detections:
        """Those chosen by a boolean mask, an index array or a slice, in that order."""
        wider = None if self.wider_xyxy is None else self.wider_xyxy[keep]
        return Detections(self.boxes_xyxy[keep], self.scores[keep], wider)

    def and_(self, more: Detections) -> Detections:
        """These people and then more of the same frame."""
        return Detections(
            np.concatenate([self.boxes_xyxy, more.boxes_xyxy]),
            np.concatenate([self.scores, more.scores]),
            np.concatenate([self.search_xyxy, more.search_xyxy]),
        )

    @staticmethod
    def empty() -> Detections:
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Crops:
    """Network inputs cut from one or several frames.

    pixels: uint8 (M, H, W, 3) BGR, the layout cv2.warpAffine writes and cv2-made crops have;
        the layout change and the normalisation are part of the network.
    crop_to_frame: float32 (M, 2, 3), maps crop pixels to frame pixels.
    frame_of: int64 (M,), which frame of the batch each crop was cut from.
    slim: bool (M,), whose people are in the middle of their crops, see realtime.crop.SLIM.
    """

    pixels: Image
    crop_to_frame: Float
    frame_of: NDArray[np.int64]
    slim: NDArray[np.bool_]

    def __post_init__(self) -> None:
        count = len(self.pixels)
        _check("Crops.pixels", self.pixels, (count, None, None, 3), np.uint8)
        _check("Crops.crop_to_frame", self.crop_to_frame, (count, 2, 3), np.float32)
        _check("Crops.frame_of", self.frame_of, (count,), np.int64)
        _check("Crops.slim", self.slim, (count,), np.bool_)

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, slots=True)
class Poses:
    """People of one frame.

    joints_xy: float32 (N, 17, 2), frame pixels, COCO order (realtime.skeleton.JOINTS).
    joint_scores: float32 (N, 17), 0..1.
    boxes_xyxy: float32 (N, 4), the unpadded person boxes.
    scores: float32 (N,), how sure the person as a whole is, 0..1.
    ids: int64 (N,), -1 before tracking and for independent images.
    wider_xyxy: as in Detections; for what is not to miss anybody.
    """

    joints_xy: Float
    joint_scores: Float
    boxes_xyxy: Float
    scores: Float
    ids: NDArray[np.int64]
    wider_xyxy: Float | None = None

    def __post_init__(self) -> None:
        count = len(self.joints_xy)
        _check("Poses.joints_xy", self.joints_xy, (count, JOINT_COUNT, 2), np.float32)
        _check("Poses.joint_scores", self.joint_scores, (count, JOINT_COUNT), np.float32)
        _check("Poses.boxes_xyxy", self.boxes_xyxy, (count, 4), np.float32)
        _check("Poses.scores", self.scores, (count,), np.float32)
        _check("Poses.ids", self.ids, (count,), np.int64)
        if self.wider_xyxy is not None:
            _check("Poses.wider_xyxy", self.wider_xyxy, (count, 4), np.float32)

    @property
    def search_xyxy(self) -> Float:
        """As in Detections (N, 4)."""
        return self.boxes_xyxy if self.wider_xyxy is None else self.wider_xyxy

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, keep: Any) -> Poses:
        """The people chosen by a boolean mask, an index array or a slice, in that order."""
        wider = None if self.wider_xyxy is None else self.wider_xyxy[keep]
        return Poses(
            self.joints_xy[keep],
            self.joint_scores[keep],
            self.boxes_xyxy[keep],
            self.scores[keep],
            self.ids[keep],
            wider,
        )

    def with_ids(self, ids: NDArray[np.int64]) -> Poses:
        return replace(self, ids=ids)

    @staticmethod
    def empty() -> Poses:
        return Poses(
            np.zeros((0, JOINT_COUNT, 2), np.float32),
            np.zeros((0, JOINT_COUNT), np.float32),
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int64),
        )


COLUMNS = ("joints_xy", "joint_scores", "boxes_xyxy", "scores", "ids")
"""The fields of Poses that are data; wider_xyxy is for the run alone."""


@dataclass(frozen=True, slots=True)
class Heat:
    """What the pose network saw of N people: maps uint8 (N, h, w), the highest of the 17 heatmaps
    of each in 1/255. map_to_frame: float32 (N, 2, 3), cells to frame pixels. boxes_xyxy: float32
    (N, 4), the boxes the people were detected with."""

    maps: Image
    map_to_frame: Float
    boxes_xyxy: Float

    def __post_init__(self) -> None:
        _check("Heat.maps", self.maps, (None, None, None), np.uint8)
        _check("Heat.map_to_frame", self.map_to_frame, (len(self.maps), 2, 3), np.float32)
        _check("Heat.boxes_xyxy", self.boxes_xyxy, (len(self.maps), 4), np.float32)

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, keep: NDArray[np.bool_]) -> Heat:
        """The people chosen by a boolean mask."""
        return Heat(self.maps[keep], self.map_to_frame[keep], self.boxes_xyxy[keep])


@dataclass(frozen=True, slots=True)
class PosedFrame:
    """A frame with its people.

    failed: people left out because a joint was not finite.
    picture: uint8 (H, W, 3) BGR with the people drawn, None until rendered or when no sink
        wants it.
    drawn: the people as they are in picture, where that may be smoothed otherwise than poses.
    heads: float32 (H, 4), boxes in frame pixels of what hides the faces, also of people who are
        not in poses; None where nobody looked for them.
    heat: None unless somebody wanted to see it when the poses were found.
    other: the people that a second network found, None without one (realtime/compare.py).
    """

    frame: Frame
    poses: Poses
    failed: int = 0
    picture: Image | None = None
    drawn: Poses | None = None
    heads: Float | None = None
    other: Poses | None = None
    heat: Heat | None = None

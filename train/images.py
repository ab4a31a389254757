"""Image files of data sets, decoded; kept in memory where there is room."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from realtime.errors import InputError
from realtime.records import Image
from realtime.sources.image_header import JPEG, image_size
from train.coco_values import UNKNOWN

MAX_BYTES = 512 * 1024 * 1024
MAX_PIXELS = 64_000_000


def is_jpeg(path: Path) -> bool:
    """Whether a file begins as JPEGs do; False where it cannot be read, of which read_image says
    why."""
    try:
        with path.open("rb") as file:
            return file.read(len(JPEG)) == JPEG
    except OSError:
        return False


def read_image(path: Path, half: bool = False) -> Image:
    """BGR uint8 (H, W, 3) of an image file, upright, as the pipeline reads it.

    half: a JPEG of half the size, rounded up (of other files OpenCV rounds down); pixel p of the
    whole is (p + 0.5) / 2 - 0.5 there. Raises InputError where it is missing, broken, or larger
    than 64 megapixels.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: more than {MAX_BYTES >> 20} MiB, too large for an image")
        data = np.fromfile(path, np.uint8)  # unlike cv2.imread: any file name on any system
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    size = image_size(data.data[: 1 << 20].tobytes())
    if size is None:
        raise InputError(f"{path}: not an image that can be read")
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(f"{path}: {size[0]}x{size[1]} pixels; the limit is 64 megapixels")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_2 if half else cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError) as error:
        raise InputError(f"{path}: damaged, cannot be decoded") from error
    if image is None:
        raise InputError(f"{path}: damaged, cannot be decoded")
    return np.asarray(image, np.uint8)


def check_size(path: Path, image: Image, size_wh: tuple[int, int], half: bool = False) -> None:
    """Raise InputError for an image that is not as large as its labels are for, so that they would
    lie elsewhere: made smaller since, or turned as its EXIF says.

    half: it was read so. size_wh: of the whole; UNKNOWN goes with all.
    """
    height, width = image.shape[:2]
    wanted = tuple((n + 1) // 2 for n in size_wh) if half else size_wh
    if size_wh != UNKNOWN and wanted != (width, height):
        halved = " at half the size" * half
        raise InputError(
            f"{path}: is {width}x{height}{halved}, its data set says {size_wh[0]}x{size_wh[1]}; "
            "posestream-train check-data lists all such images"
        )


def check_there(paths: Iterable[Path]) -> None:
    """Raise InputError where images are missing: before hours of work, not in the middle of it.

    Each folder is listed once, which is quick on a network as well.
    """
    asked = set(paths)
    listed = {path for folder in {path.parent for path in asked} for path in _files_in(folder)}
    missing = [path for path in asked - listed if not _is_there(path)]
    if missing:
        count = f"{len(missing)} of the {len(asked)} images that are needed cannot be found"
        raise InputError(f"{min(missing)}: {count}; posestream-train check-data lists them")


def _files_in(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_there(path: Path) -> bool:
    """Also by a name in other letters, where the file system takes it for the same."""
    try:
        return path.is_file()
    except OSError:
        return False


class ImageCache:
    """Decoded images kept in memory until limit_bytes are used; what comes later is read each time.

    Nothing is thrown out again: over epochs in random order that keeps more hits than the latest
    images would. What is read is the same with and without it. Each process has its own.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._kept: dict[tuple[Path, bool], Image] = {}

    def __getstate__(self) -> dict[str, Any]:
        """For another process: empty."""
        return {"limit_bytes": self.limit_bytes, "used_bytes": 0, "_kept": {}}

    def read(self, path: Path, half: bool = False) -> Image:
        """As read_image; the array is read-only."""
        image = self._kept.get((path, half))
        if image is None:
            image = read_image(path, half)
            image.flags.writeable = False
            if self.used_bytes + image.nbytes <= self.limit_bytes:
                self._kept[path, half] = image
                self.used_bytes += image.nbytes
        return image


NO_CACHE = ImageCache(0)

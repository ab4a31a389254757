"""The command ``check-data``: every problem of COCO keypoint files, before training meets them."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtime.errors import InputError
from train import coco
from train.coco_categories import Categories, Layout, categories_of
from train.coco_values import (
    annotation,
    box_problem,
    extent_problems,
    is_id,
    joints_problem,
    name_problem,
    no_joints,
    short,
    size_problem,
)

ROOM = 1.0
"""Pixels that boxes and joints may lie outside of their picture, by rounding."""


def add_command(commands: Any) -> None:
    """Add ``check-data`` to the command line."""
    check = commands.add_parser("check-data", help="list every problem of COCO keypoint files")
    check.add_argument("sets", nargs="+", metavar="FILE.json[,IMAGES[,WEIGHT]]")
    check.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    _quiet()
    counted, found = Counts(), 0
    for text in options.sets:
        file, images, _ = coco.split(text)
        for problem in problems(file, images, counted):
            found += 1
            print(one_line(f"{file}: {problem}"), flush=True)
    what = f"{counted.images} images, {counted.people} people, {counted.with_joints} with joints"
    print(f"{what}, {found or 'no'} problem{'s' if found > 1 else ''} found")
    return InputError.exit_code if found else 0


def _quiet() -> None:
    """OpenCV writes lines of its own for every damaged image; ours say it in one."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def one_line(text: str) -> str:
    """The text with everything escaped that is not printable."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(slots=True)
class Counts:
    """What was looked at."""

    images: int = 0
    people: int = 0
    with_joints: int = 0


def problems(file: Path, images: str, counts: Counts) -> Iterator[str]:
    """Every problem of an annotation file and its images, one line each; adds to counts.

    images: their folder, "" for coco.default_images. Never raises for what is in the files.
    """
    try:
        content = coco.read_json(file)
    except InputError as error:
        yield str(error).removeprefix(f"{file}: ")
        return
    categories: Categories | None = None
    try:
        categories = categories_of(content)
    except InputError as error:
        yield str(error)
    folder = Path(images) if images else coco.default_images(file, content)
    sizes: dict[int, Any] = {}
    yield from _images(content["images"], folder, sizes)
    counts.images += len(content["images"])
    yield from _annotations(content["annotations"], categories, sizes, counts)


# ---- images -------------------------------------------------------------------------------------


def _images(entries: list[Any], folder: Path, sizes: dict[int, Any]) -> Iterator[str]:
    """Problems of the image entries and of the files; puts the usable sizes by id into sizes."""
    if not entries:
        yield "holds no image"
    readable = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            yield f"images[{number}] is not an object"
            continue
        ident = entry.get("id")
        name, size = name_problem(entry.get("file_name")), size_problem(entry)
        if not is_id(ident):
            yield f"images[{number}]: id {short(ident)} is not a whole number"
        elif ident in sizes:
            yield f"images[{number}]: id {ident} is that of an earlier image"
        else:
            sizes[ident] = None if size else (entry["width"], entry["height"])
        yield from (f"images[{number}]: {problem}" for problem in (name, size) if problem)
        if name is None:
            stated = None if size else (entry["width"], entry["height"])
            readable.append((coco.image_path(folder, entry["file_name"]), stated))
    names = Counter(path for path, _ in readable)
    yield from (f"{path}: named by {n} images" for path, n in names.items() if n > 1)
    yield from _files(readable)


def _files(readable: list[tuple[Path, Any]]) -> Iterator[str]:
    """Decodes all files, on all processors (OpenCV lets other threads run)."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for problem in pool.map(_file_problem, readable):
            if problem:
                yield problem
    finally:
        pool.shutdown(cancel_futures=True)


def _file_problem(item: tuple[Path, Any]) -> str | None:
    from train.images import read_image

    path, stated = item
    try:
        height, width = read_image(path).shape[:2]
    except InputError as error:
        return str(error)
    if stated and stated != (width, height):
        return f"{path}: is {width}x{height} pixels upright, the file says {stated[0]}x{stated[1]}"
    return None


# ---- annotations --------------------------------------------------------------------------------


def _annotations(
    entries: list[Any], categories: Categories | None, sizes: dict[int, Any], counts: Counts
) -> Iterator[str]:
    """Problems of the annotations of people; sizes: of the images by id, None where unknown."""
    seen: set[int] = set()
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            yield f"annotations[{number}] is not an object"
            continue
        ident, size = entry.get("id"), None
        where = annotation(number, entry)
        try:
            layout = categories.layout(entry) if categories else Layout()
        except InputError as error:
            yield f"{where}: {error}"
            continue
        if layout is None:
            continue
        counts.people += 1
        if not is_id(ident):
            yield f"{where}: id {short(ident)} is not a whole number"
        elif ident in seen:
            yield f"{where}: the id is that of an earlier annotation"
        else:
            seen.add(ident)
        image = entry.get("image_id")
        if not is_id(image) or image not in sizes:
            yield f"{where}: is of image {short(image)}, which is not in the file"
        else:
            size = sizes[image]
        counts.with_joints += _has_joints(entry.get("keypoints"))
        box = _box(entry.get("bbox"), size)
        found = (*extent_problems(entry), *box, *_joints(entry, size, layout))
        yield from (f"{where}: {problem}" for problem in found)


def _has_joints(values: Any) -> bool:
    """Whether keypoints have one with a label, whatever else is wrong with them."""
    return isinstance(values, list) and any(v in (1, 2) for v in values[2::3])


def _box(box: Any, size: tuple[int, int] | None) -> Iterator[str]:
    problem = box_problem(box)
    if problem:
        yield problem
        return
    if min(box[2:]) == 0:
        yield f"bbox {short(box)} has no size"
    elif max(box) <= 1:
        yield f"bbox {short(box)} is less than a pixel; are these shares of the picture?"
    ends = (box[0] + box[2], box[1] + box[3])
    if size and (min(box[:2]) < -ROOM or any(e > n + ROOM for e, n in zip(ends, size))):
        yield f"bbox {short(box)} reaches out of the picture of {size[0]}x{size[1]}"


def _joints(entry: dict[str, Any], size: tuple[int, int] | None, layout: Layout) -> Iterator[str]:
    values: Any = entry.get("keypoints")
    stated = entry.get("num_keypoints")
    if no_joints(values):
        if stated:
            yield f"num_keypoints is {short(stated)} and there are no keypoints"
        return
    problem = joints_problem(values, layout.count)
    if problem:
        yield problem
        return
    labelled = [(x, y) for x, y, v in zip(values[::3], values[1::3], values[2::3]) if v > 0]
    if stated is not None and stated != len(labelled):
        yield f"num_keypoints is {short(stated)}, joints with v > 0 are {len(labelled)}"
    if (corner := labelled.count((0, 0))) > 1:
        yield f"{corner} labelled joints at 0, 0; joints without a label have v = 0"
    outside = [p for p in labelled if size and not _inside(p, size)]
    if size and outside:
        shown = f"{len(outside)} labelled joint{'s' if len(outside) > 1 else ''}"
        yield f"{shown} outside of the picture of {size[0]}x{size[1]}: {short(outside[0])}"


def _inside(point: tuple[float, float], size: tuple[int, int]) -> bool:
    return all(-ROOM <= c <= n - 1 + ROOM for c, n in zip(point, size))

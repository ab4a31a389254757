"""The command ``demo-data``: renders of the demo scene as a COCO keypoint set with exact truth."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realtime.errors import OutputError, UsageError

if TYPE_CHECKING:
    from train.tiny_data import Render

FILE, FOLDER = "people.json", "images"
EACH = 4
"""Frames of one place, each with other people."""
FIRST_SEED = 1_000_000
"""Scenes of seed 0 start here and of each next seed so many later: not those of --demo."""
TRIES = 400
"""Frames rendered for each that is wanted with a given number of people, at most."""

CLEAR, HARDLY = 0.25, 0.1
"""Shares seen of a person. From CLEAR the hidden joints are labelled too (v = 1), as in COCO where
people could tell their place; below HARDLY they are marked as crowd, which counts neither way."""


def add_command(commands: Any) -> None:
    """Add ``demo-data`` to the command line."""
    demo = commands.add_parser("demo-data", help="renders of the demo scene as a data set")
    demo.add_argument("--out", type=Path, required=True, help=f"folder for {FILE} and {FOLDER}/")
    demo.add_argument("--images", type=int, default=100, help="how many (default 100)")
    demo.add_argument("--people", type=int, help="in each image, 0 to 6; default: it varies")
    demo.add_argument("--size", type=_size, help="of the images as WxH; default: it varies")
    demo.add_argument("--seed", type=int, default=0, help="which scenes")
    demo.add_argument("--format", choices=("png", "jpg"), default="png")
    demo.add_argument("--overwrite", action="store_true", help="replace the set that is there")
    demo.set_defaults(run=_run)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if not match or min(map(int, match.groups())) < 64:
        raise argparse.ArgumentTypeError(f"expected WxH of 64 pixels or more, got {text}")
    return int(match[1]), int(match[2])


def _run(options: argparse.Namespace) -> int:
    if (options.out / FILE).exists() and not options.overwrite:
        raise OutputError(f"{options.out / FILE}: exists; use --overwrite to replace it")
    file = write_set(
        options.out, options.images, options.people, options.size, options.seed, options.format
    )
    print(f"{file}: {options.images} images")
    return 0


def write_set(
    out: Path,
    images: int,
    people: int | None = None,
    size_wh: tuple[int, int] | None = None,
    seed: int = 0,
    suffix: str = "png",
) -> Path:
    """Write so many images and their annotation file, the path of which is returned.

    people: so many in each image, each at least CLEAR seen; None: 0 to 6. The same arguments give
    the same files. The annotation file comes last. Raises UsageError for numbers out of range,
    OutputError for a folder that cannot be written.
    """
    import cv2

    from realtime import atomic
    from train.coco import category

    if images < 1 or seed < 0 or (people is not None and not 0 <= people <= 6):
        raise UsageError("demo-data: --images from 1, --seed from 0, --people 0 to 6")
    with atomic.writing(out):
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, render in zip(range(1, images + 1), _renders(people, size_wh, seed)):
        name = f"{FOLDER}/{number:06d}.{suffix}"
        _, data = cv2.imencode(f".{suffix}", render.image)
        with atomic.writing(out / name):
            (out / name).write_bytes(data.tobytes())
        height, width = render.image.shape[:2]
        entries.append({"id": number, "file_name": name, "width": width, "height": height})
        for person in range(len(render.boxes_xyxy)):
            ident = len(annotations) + 1
            annotations.append({"id": ident, "image_id": number, **_annotation(render, person)})
    content = {
        "info": {"description": f"demo scenes, seed {seed}", "complete": True},
        "categories": [category()],
        "images": entries,
        "annotations": annotations,
    }
    atomic.replace(out / FILE, json.dumps(content).encode())
    return out / FILE


def _renders(people: int | None, size_wh: tuple[int, int] | None, seed: int) -> Iterator[Render]:
    """Frames of scene after scene. Raises UsageError where no more have so many people."""
    import numpy as np

    from realtime.scene import Scene
    from train.tiny_data import CAST, RENDER_SIZES, render

    number, misses = FIRST_SEED * (seed + 1), 0
    while misses < TRIES:
        size = size_wh or RENDER_SIZES[number % len(RENDER_SIZES)]
        scene = Scene(number, EACH * CAST, size, 30.0, people)
        offsets = np.random.default_rng(number).integers(0, CAST, EACH)
        for start, offset in enumerate(offsets.tolist()):
            found = render(scene, start * CAST + offset)
            clear = len(found.visible_share) == people and (found.visible_share >= CLEAR).all()
            misses = 0 if people is None or clear else misses + 1
            if not misses:
                yield found
        number += 1
    raise UsageError(f"--people {people}: no image in {TRIES} shows so many; take fewer or larger")


def _annotation(render: Render, person: int) -> dict[str, Any]:
    """Box, joints and the rest of one person, in the conventions of COCO (train.coco)."""
    import numpy as np

    from realtime.geometry import to_coco_boxes
    from train.coco import FILLED

    joints, share = render.joints_xy[person], float(render.visible_share[person])
    height, width = render.image.shape[:2]
    inside = ((joints >= -0.5) & (joints < np.array([width, height]) - 0.5)).all(1)
    hidden = inside & (share >= CLEAR)
    v = np.where(render.visible[person], 2, np.where(hidden, 1, 0))
    points = np.where(v[:, None] > 0, joints, 0).astype(np.float64).round(4)
    box = to_coco_boxes(render.boxes_xyxy[person])
    size = np.maximum(box[2:], 0.01)  # of a person one pixel wide, between two pixel centres
    return {
        "category_id": 1,
        "iscrowd": int(share < HARDLY or box[2:].min() < 2),
        "bbox": [*box[:2].round(4).tolist(), *size.round(4).tolist()],
        "area": round(float(FILLED * box[2] * box[3]), 2),
        "keypoints": np.column_stack([points, v]).ravel().tolist(),
        "num_keypoints": int((v > 0).sum()),
    }

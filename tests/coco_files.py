"""Small COCO keypoint sets for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from realtime.skeleton import JOINTS

SIZE_WH = (64, 48)


def content(images: int = 2) -> dict[str, Any]:
    """A correct file of so many images with one person each, all 17 joints labelled."""
    joints = [[5.0 + 3 * k, 6.0 + 2 * k, 1 + k % 2] for k in range(17)]
    return {
        "categories": [{"id": 1, "name": "person", "keypoints": list(JOINTS)}],
        "images": [
            {"id": n + 1, "file_name": f"{n:03d}.png", "width": 64, "height": 48}
            for n in range(images)
        ],
        "annotations": [
            {
                "id": 10 + n, "image_id": n + 1, "category_id": 1, "iscrowd": 0,
                "bbox": [4.0, 5.0, 56.0, 40.0], "area": 900.5,
                "keypoints": sum(joints, []), "num_keypoints": 17,
            }
            for n in range(images)
        ],
    }  # fmt: skip


def write(folder: Path, values: Any, name: str = "people.json") -> Path:
    """Write a file of these values and its images (noise) beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for entry in values["images"]:
        path = folder / entry["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        size = entry["height"], entry["width"], 3
        assert cv2.imwrite(str(path), rng.integers(0, 256, size, np.uint8))
    file = folder / name
    file.write_text(json.dumps(values))
    return file

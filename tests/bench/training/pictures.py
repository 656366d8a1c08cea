"""Pictures to measure with: the simulator's parts, which are the same on every machine."""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from simulators.dataset import DatasetPlan, write_dataset

from .report import say

SEED = 7
VARIANTS = 4
JPEG_QUALITY = 92


def rendered(work: Path, count: int) -> Path:
    """A folder with that many JPEG pictures of 640 x 512 and their boxes in ``coco.json``.

    A quarter is rendered; the rest is mirrored, which costs a hundredth and looks like other parts.
    """
    folder = work / f"pictures-{count}"
    if (folder / "coco.json").exists():
        return folder
    say(f"rendering {count} pictures into {folder}")
    plan = DatasetPlan(count=-(-count // VARIANTS), seed=SEED)
    path = write_dataset(folder, plan, processes=len(os.sched_getaffinity(0)))
    document = json.loads(path.read_text())
    path.unlink()
    _mirror(folder / "images", document)
    path.write_text(json.dumps(document))
    return folder


def _mirror(images: Path, document: dict[str, list[dict[str, Any]]]) -> None:
    """Add every picture the other way round, upside down, and both; boxes follow."""
    own: dict[int, list[Any]] = {entry["id"]: [] for entry in document["images"]}
    for box in document["annotations"]:
        own[box["image_id"]].append(box)
    for entry in list(document["images"]):
        image = np.asarray(cv2.imread(str(images / str(entry["file_name"]))), np.uint8)
        height, width = image.shape[:2]
        for code, suffix in ((1, "h"), (0, "v"), (-1, "hv")):
            name = f"{Path(str(entry['file_name'])).stem}-{suffix}"
            number = len(document["images"]) + 1
            quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            cv2.imwrite(str(images / f"{name}.jpg"), cv2.flip(image, code), quality)
            more = {"id": number, "file_name": f"{name}.jpg", "part_id": name}
            document["images"].append(entry | more)
            for box in own[entry["id"]]:
                x, y, box_width, box_height = box["bbox"]
                left = width - x - box_width if code else x
                top = height - y - box_height if code != 1 else y
                bbox = {"bbox": [left, top, box_width, box_height]}
                fresh = {"id": len(document["annotations"]) + 1, "image_id": number}
                document["annotations"].append(box | fresh | bbox)

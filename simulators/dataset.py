"""Rendered parts as a COCO data set on disk."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from simulators.parts import (
    CLASSIC_DEFECTS,
    DEFECTS,
    OBJECTS,
    Kind,
    RenderedPart,
    SceneSettings,
    choose_defects,
    draw_part,
    part_rng,
    render,
)

JPEG_QUALITY = 95
CHUNK = 8


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """Everything that decides the pictures of a data set.

    Attributes:
        count: How many parts, one picture each.
        seed: The same seed gives the same pictures.
        defects: Kinds that may occur.
        defect_rate: Share of parts with at least one defect.
        variants: Looks that occur, evenly.
        max_lamp_ageing: Lamps are anything from new to this old.
        scene: Camera and surroundings.
        prefix: Start of every part id.
    """

    count: int
    seed: int
    defects: tuple[Kind, ...] = CLASSIC_DEFECTS
    defect_rate: float = 0.6
    variants: tuple[str, ...] = ("a", "b")
    max_lamp_ageing: float = 0.3
    scene: SceneSettings = field(default_factory=SceneSettings)
    prefix: str = "R"


def part_id_of(plan: DatasetPlan, index: int) -> str:
    """Identity of the part with this index; never shared between two seeds."""
    return f"{plan.prefix}{plan.seed:04d}-{index:06d}"


def render_indexed(plan: DatasetPlan, index: int) -> RenderedPart:
    """The picture with this index, independent of all others."""
    rng = part_rng(plan.seed, index)
    scene = replace(
        plan.scene,
        variant=plan.variants[int(rng.integers(len(plan.variants)))],
        lamp_ageing=float(rng.uniform(0, plan.max_lamp_ageing)),
    )
    defects = choose_defects(rng, rate=plan.defect_rate, kinds=plan.defects)
    part = draw_part(rng, part_id=part_id_of(plan, index), defects=defects)
    return render(part, scene)


def categories_of(defects: Sequence[Kind]) -> list[dict[str, Any]]:
    """COCO categories: the objects, then the defects in their fixed order."""
    kinds = [*OBJECTS, *(kind for kind in DEFECTS if kind in defects)]
    return [
        {
            "id": number,
            "name": kind.value,
            "supercategory": "object" if kind in OBJECTS else "defect",
        }
        for number, kind in enumerate(kinds, start=1)
    ]


def write_dataset(
    folder: Path,
    plan: DatasetPlan,
    *,
    processes: int = 1,
    on_progress: Callable[[int], None] | None = None,
) -> Path:
    """Render a data set.

    Args:
        folder: Gets ``images/*.jpg`` and ``coco.json``.
        plan: What to render.
        processes: How many pictures at a time.
        on_progress: Told the number of pictures done so far.

    Returns:
        Path of ``coco.json``; it is written last, so that its being there means complete.
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    numbers = {category["name"]: category["id"] for category in categories_of(plan.defects)}
    coco: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": categories_of(plan.defects),
    }
    for done, record in enumerate(_records(images, plan, processes), start=1):
        boxes = record.pop("boxes")
        coco["images"].append({"id": done, **record})
        for name, bbox in boxes:
            coco["annotations"].append(
                {
                    "id": len(coco["annotations"]) + 1,
                    "image_id": done,
                    "category_id": numbers[name],
                    "bbox": list(bbox),
                    "area": round(bbox[2] * bbox[3], 2),
                    "iscrowd": 0,
                }
            )
        if on_progress:
            on_progress(done)
    path = folder / "coco.json"
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(coco), encoding="utf-8")
    unfinished.replace(path)
    return path


def _records(images: Path, plan: DatasetPlan, processes: int) -> Iterator[dict[str, Any]]:
    write = partial(_write_one, images, plan)
    if processes <= 1:
        yield from map(write, range(plan.count))
        return
    # Not fork: the caller may have threads (a progress bar has one).
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as pool:
        yield from pool.map(write, range(plan.count), chunksize=CHUNK)


def _one_thread() -> None:
    cv2.setNumThreads(1)
    os.nice(5)


def _write_one(images: Path, plan: DatasetPlan, index: int) -> dict[str, Any]:
    rendered = render_indexed(plan, index)
    name = f"{rendered.part.part_id}.jpg"
    (images / name).write_bytes(jpeg_bytes(rendered.image))
    return {
        "file_name": name,
        "width": plan.scene.width_px,
        "height": plan.scene.height_px,
        "part_id": rendered.part.part_id,
        "boxes": [(box.category.value, box.bbox) for box in rendered.annotations],
    }


def jpeg_bytes(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """The picture as a JPEG of quality 95."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()

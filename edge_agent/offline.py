"""A model on pictures from files, without a station."""

import time
from pathlib import Path
from typing import Any

from edge_agent.adapters.folder_camera import read_picture
from edge_agent.errors import CameraFault, ConfigurationError, TransientError
from edge_agent.ports import LoadedModel
from models.detector.boxes import bboxes_of


def look_at(path: Path, model: LoadedModel, *, min_score: float | None = None) -> dict[str, Any]:
    """What the model finds in one picture.

    Args:
        path: a picture file.
        model: that looks.
        min_score: for every category; each category's threshold when None.

    Returns:
        ``image``, ``width``, ``height``, ``inference_ms``, ``bundle_id`` and ``detections``, each
        with ``category``, ``score`` and ``bbox`` in COCO order, best first.

    Raises:
        ConfigurationError: the file is not there or no picture.
    """
    try:
        image = read_picture(path, "infer")
    except (TransientError, CameraFault) as error:
        cause = str(error).removeprefix("camera infer: ")
        raise ConfigurationError(f"{cause} (in {path.parent})") from error
    before = time.perf_counter()
    found = model.detector.infer(image)
    inference_ms = (time.perf_counter() - before) * 1000
    names, thresholds = model.detector.categories, model.detector.thresholds
    detections = []
    rows = zip(found.class_ids, found.scores, bboxes_of(found.boxes), strict=True)
    for class_id, score, bbox in rows:
        category = names[class_id]
        limit = thresholds.get(category, 0.5) if min_score is None else min_score
        if score >= limit:
            box = [round(float(value), 1) for value in bbox]
            detections.append({"category": category, "score": round(float(score), 4), "bbox": box})
    return {
        "image": str(path),
        "width": int(image.shape[1]),
        "height": int(image.shape[0]),
        "inference_ms": round(inference_ms, 2),
        "bundle_id": model.ref.bundle_id,
        "detections": detections,
    }

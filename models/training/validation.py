"""Judging the float network while it trains, each rank on its own pictures."""

import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.detector.anchors import anchor_boxes
from models.detector.boxes import Boxes, clip_boxes, decode_boxes
from models.detector.preprocess import resize_to_input
from models.detector.spec import DetectorSpec
from models.training.metrics import Found, Truth
from models.training.training_data import Sample

PICTURES_PER_CALL = 8

Answers = list[tuple[Truth, Found]]


def decode_answers(
    logits: npt.NDArray[np.float32], codes: npt.NDArray[np.float32], spec: DetectorSpec
) -> tuple[Boxes, npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Boxes of one picture from the network's raw answers.

    Args:
        logits: ``(A, C)``.
        codes: ``(A, 4)``.
        spec: of the network.

    Returns:
        Corners in pixels of the input ``(N, 4)``, scores ``(N,)`` falling, class ids ``(N,)``.
    """
    limit = float(np.log(spec.score_floor / (1 - spec.score_floor)))
    anchor_ids, class_ids = np.nonzero(logits > limit)
    scores = 1 / (1 + np.exp(-logits[anchor_ids, class_ids]))
    order = np.argsort(-scores, kind="stable")[: spec.num_candidates]
    anchor_ids, class_ids, scores = anchor_ids[order], class_ids[order], scores[order]
    boxes = decode_boxes(
        codes[anchor_ids],
        anchor_boxes(spec)[anchor_ids],
        center_scale=spec.center_scale,
        size_scale=spec.size_scale,
    )
    # As the exported graph does, before NMS: what lies outside makes no two boxes differ.
    boxes = clip_boxes(boxes, height=spec.input_height, width=spec.input_width)
    if not len(boxes):
        return boxes, scores.astype(np.float32), class_ids
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxesBatched(
        sizes.astype(np.float64).tolist(),
        scores.tolist(),
        class_ids.tolist(),
        spec.score_floor,
        spec.nms_iou,
    )
    best = np.asarray(kept, np.int64).reshape(-1)[: spec.max_detections]
    return boxes[best], scores[best].astype(np.float32), class_ids[best]


def judge_samples(predict: Any, samples: Sequence[Sample], spec: DetectorSpec) -> Answers:  # noqa: ANN401 - a tf.function
    """Run the network over labelled pictures.

    Args:
        predict: takes ``(B, H, W, 3)`` uint8, answers class logits and box codes.
        samples: pictures with labels.
        spec: of the network.
    """
    answers: Answers = []
    for start in range(0, len(samples), PICTURES_PER_CALL):
        chunk = samples[start : start + PICTURES_PER_CALL]
        images = np.stack([resize_to_input(sample.image(), spec) for sample in chunk])
        # A last smaller batch would make TensorFlow trace the network anew.
        padded = np.zeros((PICTURES_PER_CALL, *images.shape[1:]), np.uint8)
        padded[: len(images)] = images
        logits, codes = (np.asarray(output) for output in predict(padded))
        answers += [
            _answer(sample, logits[place], codes[place], spec) for place, sample in enumerate(chunk)
        ]
    return answers


def pack(answers: Answers) -> str:
    """Answers as text, to be sent to the other ranks."""
    return json.dumps(
        [
            {
                "image_id": truth.image_id,
                "boxes": np.round(truth.boxes, 2).tolist(),
                "categories": truth.categories,
                "found_boxes": np.round(found.boxes, 2).tolist(),
                "scores": np.round(found.scores, 4).tolist(),
                "found_categories": found.categories,
            }
            for truth, found in answers
        ]
    )


def unpack(texts: Sequence[str]) -> tuple[list[Truth], list[Found]]:
    """What all ranks found, ordered by picture."""
    rows = sorted((row for text in texts for row in json.loads(text)), key=_by_image)
    truths = [
        Truth(row["image_id"], _array(row["boxes"]), tuple(row["categories"])) for row in rows
    ]
    found = [
        Found(
            row["image_id"],
            _array(row["found_boxes"]),
            np.array(row["scores"], np.float32),
            tuple(row["found_categories"]),
        )
        for row in rows
    ]
    return truths, found


def _by_image(row: dict[str, Any]) -> str:
    return str(row["image_id"])


def _array(rows: list[list[float]]) -> Boxes:
    return np.array(rows, np.float32).reshape(-1, 4)


def _answer(
    sample: Sample,
    logits: npt.NDArray[np.float32],
    codes: npt.NDArray[np.float32],
    spec: DetectorSpec,
) -> tuple[Truth, Found]:
    width, height = sample.size
    to_picture = np.array([width, height, width, height], np.float32)
    boxes, scores, class_ids = decode_answers(logits, codes, spec)
    relative = boxes / np.array(
        [spec.input_width, spec.input_height, spec.input_width, spec.input_height], np.float32
    )
    names = tuple(spec.categories[class_id] for class_id in class_ids)
    labels = tuple(spec.categories[class_id] for class_id in sample.class_ids)
    truth = Truth(sample.image_id, sample.boxes * to_picture, labels)
    inside = np.clip(relative, 0, 1).astype(np.float32) * to_picture
    return truth, Found(sample.image_id, inside, scores, names)

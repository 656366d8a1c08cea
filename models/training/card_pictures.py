"""Pictures for the model card: what the model sees, and what it gets wrong."""

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from models.detector.boxes import Boxes
from models.detector.detections import Detections
from models.detector.preprocess import Image
from models.training.mistakes import Mistake

EXAMPLE_WIDTH_PX = 360
CROP_SIDE_PX = 220
# How much of its surroundings is shown around a box, and the least of the picture that still tells
# a person where it is.
CROP_SIDES = 3.0
MIN_CROP_PX = 96
JPEG_QUALITY = 72
# BGR, readable on dark metal and on white labels alike.
COLOURS = ((80, 200, 0), (255, 160, 0), (200, 80, 200), (0, 80, 255), (0, 180, 255), (60, 60, 230))
LABEL_COLOUR = (80, 200, 0)
FOUND_COLOUR = (255, 160, 0)
MISTAKE_COLOUR = (40, 40, 235)


@dataclass(frozen=True, slots=True)
class Example:
    """A picture for the card with what the model found in it."""

    image: Image
    detections: Detections
    caption: str = ""


@dataclass(frozen=True, slots=True)
class MistakePicture:
    """A mistake with its picture and the other boxes in it, ``(N, 4)`` corners each."""

    mistake: Mistake
    image: Image
    labels: Boxes
    found: Boxes

    @property
    def caption(self) -> str:
        """What went wrong."""
        own = self.mistake
        if own.kind == "false alarm":
            return f"{own.category}, score {own.score:.2f}, meets no label"
        return f"{own.category} missed, " + (
            f"score {own.score:.2f}" if own.score else "no box meets it"
        )


def example_figure(
    example: Example, categories: Sequence[str], thresholds: dict[str, float]
) -> str:
    """An example as an HTML figure, with the boxes that reach their operating points."""
    scale = min(1.0, EXAMPLE_WIDTH_PX / example.image.shape[1])
    canvas = _scaled(example.image, scale)
    found = example.detections
    for box, score, class_id in zip(found.boxes, found.scores, found.class_ids, strict=True):
        name = categories[class_id]
        if score < thresholds.get(name, 0.0):
            continue
        colour = COLOURS[int(class_id) % len(COLOURS)]
        x1, y1, _, _ = _draw(canvas, box * scale, colour, thickness=2)
        place = (x1, max(10, y1 - 3))
        text = f"{name} {score:.2f}"
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)
    return _figure(canvas, example.caption)


def mistake_figure(shown: MistakePicture) -> str:
    """The surroundings of a mistake as an HTML figure."""
    x1, y1, side = crop_window(shown.mistake.box, shown.image.shape)
    window = shown.image[y1 : y1 + side, x1 : x1 + side]
    scale = CROP_SIDE_PX / side
    size = (max(1, round(window.shape[1] * scale)), max(1, round(window.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.asarray(cv2.resize(window, size, interpolation=method), np.uint8)
    origin = np.array([x1, y1, x1, y1], np.float32)
    for boxes, colour in ((shown.labels, LABEL_COLOUR), (shown.found, FOUND_COLOUR)):
        for box in boxes:
            _draw(canvas, (box - origin) * scale, colour, thickness=1)
    wrong = np.array(shown.mistake.box, np.float32)
    _draw(canvas, (wrong - origin) * scale, MISTAKE_COLOUR, thickness=2)
    return _figure(canvas, shown.caption)


def crop_window(
    box: tuple[float, float, float, float], shape: tuple[int, ...]
) -> tuple[int, int, int]:
    """Corner and side of a square around a box that lies inside the picture where it can."""
    height, width = shape[:2]
    x1, y1, x2, y2 = box
    side = max(MIN_CROP_PX, round(max(x2 - x1, y2 - y1) * CROP_SIDES))
    side = min(side, max(height, width))
    left = round((x1 + x2 - side) / 2)
    top = round((y1 + y2 - side) / 2)
    return max(0, min(left, width - side)), max(0, min(top, height - side)), side


def gallery(figures: Iterable[str], *, is_large: bool = False) -> str:
    """Figures side by side."""
    style = "gallery large" if is_large else "gallery"
    return f'<div class="{style}">{"".join(figures)}</div>'


def _scaled(image: Image, scale: float) -> Image:
    if scale >= 1:
        return image.copy()
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _draw(
    canvas: Image, box: Boxes, colour: tuple[int, int, int], *, thickness: int
) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, thickness, cv2.LINE_AA)
    return x1, y1, x2, y2


def _figure(canvas: Image, caption: str) -> str:
    _, encoded = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    data = base64.b64encode(encoded.tobytes()).decode()
    text = html.escape(caption)
    height, width = canvas.shape[:2]
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" width="{width}" height="{height}"'
        f' alt="{text}"><figcaption>{text}</figcaption></figure>'
    )

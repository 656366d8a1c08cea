"""Variations of a training picture that a camera in a plant might have taken."""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.detector.boxes import Boxes, clip_boxes, coverage_matrix
from models.detector.detections import ClassIds
from models.detector.preprocess import Image
from models.training.matching import IGNORED

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class AugmentSettings:
    """How far a picture may be changed; probabilities in ``[0, 1]``.

    Attributes:
        output_size: width and height to scale the result to; None keeps what the crop left.
        window_scale: output pixels for each pixel of the picture, across and down. Given, the
            result is always a window of ``output_size`` at about this scale; None: the whole
            picture, or a crop of it, is scaled to ``output_size``.
        max_zoom: most that a window's scale may differ from ``window_scale``, either way.
        flip_horizontal: whether a mirrored part is still a valid part.
        flip_vertical: the same, upside down.
        quarter_turns: whether a part turned by 90 degrees is.
        crop_probability: of cutting out a part of the picture (without ``window_scale``).
        min_crop_ratio: smallest side of a crop as part of the picture's.
        max_aspect_change: most that a crop may stretch width against height.
        light: largest relative change of brightness; contrast and gamma change half as much.
        colour: largest relative change between the channels.
        blur_probability: of defocus up to `max_blur_px`.
        max_blur_px: standard deviation of the defocus.
        noise_probability: of sensor noise up to `max_noise`.
        max_noise: standard deviation of the noise in grey levels.
    """

    output_size: tuple[int, int] | None = None
    window_scale: tuple[float, float] | None = None
    max_zoom: float = 1.25
    flip_horizontal: bool = True
    flip_vertical: bool = False
    quarter_turns: bool = False
    crop_probability: float = 0.6
    min_crop_ratio: float = 0.5
    max_aspect_change: float = 1.25
    light: float = 0.3
    colour: float = 0.06
    blur_probability: float = 0.15
    max_blur_px: float = 1.2
    noise_probability: float = 0.25
    max_noise: float = 8.0

    def settled(self) -> "AugmentSettings":
        """Variations that leave light, focus, noise and scale as the camera gave them.

        The last steps of a fit see what the cell will see (He et al. 2019, "Data Augmentation
        Revisited").
        """
        return replace(
            self,
            max_zoom=1.0,
            crop_probability=0.0,
            light=0.0,
            colour=0.0,
            blur_probability=0.0,
            noise_probability=0.0,
        )


# A crop must leave each box nearly whole or nearly out: half a bolt is neither a bolt nor none.
IN_COVERAGE = 0.65
OUT_COVERAGE = 0.1
CROP_TRIES = 12
# Most windows are put round a labelled box; the others keep the background honest.
OBJECT_WINDOW_SHARE = 0.8


def augment_sample(
    image: Image,
    boxes: Boxes,
    class_ids: ClassIds,
    rng: Rng,
    settings: AugmentSettings,
) -> tuple[Image, Boxes, ClassIds]:
    """Vary one picture and its boxes; the same generator state gives the same result.

    Args:
        image: ``(H, W, 3)`` BGR; not changed.
        boxes: ``(N, 4)`` corners in pixels.
        class_ids: ``(N,)``.
        rng: source of all chance.
        settings: how far to go.

    Returns:
        The new picture and the boxes that are left in it, in its pixels. A box that a window cut
        in two has the class id `models.training.matching.IGNORED`.
    """
    if settings.window_scale is not None:
        image, boxes, class_ids = _window_at_scale(image, boxes, class_ids, rng, settings)
    elif rng.random() < settings.crop_probability:
        image, boxes, class_ids = _crop(image, boxes, class_ids, rng, settings)
    image, boxes = _flipped(image, boxes, rng, settings)
    if settings.output_size is not None:
        image, boxes = _scaled(image, boxes, settings.output_size)
    return _relit(image, rng, settings), boxes, class_ids


def _window_at_scale(
    image: Image, boxes: Boxes, class_ids: ClassIds, rng: Rng, settings: AugmentSettings
) -> tuple[Image, Boxes, ClassIds]:
    """A window that shows the picture at about the scale at which the cell will see it."""
    height, width = image.shape[:2]
    zoom = settings.max_zoom ** rng.uniform(-1, 1)
    (out_width, out_height), (scale_x, scale_y) = settings.output_size, settings.window_scale  # type: ignore[misc]
    window_width = min(width, max(1, round(out_width / (scale_x * zoom))))
    window_height = min(height, max(1, round(out_height / (scale_y * zoom))))
    target = boxes[rng.integers(len(boxes))] if len(boxes) else None
    if rng.random() >= OBJECT_WINDOW_SHARE:
        target = None
    x1 = _window_start(width, window_width, None if target is None else target[[0, 2]], rng)
    y1 = _window_start(height, window_height, None if target is None else target[[1, 3]], rng)
    window = np.array([[x1, y1, x1 + window_width, y1 + window_height]], np.float32)
    inside = coverage_matrix(boxes, window)[:, 0]
    seen = inside > OUT_COVERAGE
    # What is cut in two is neither there nor not there.
    left = np.where(inside >= IN_COVERAGE, class_ids, IGNORED)[seen]
    moved = clip_boxes(
        boxes[seen] - np.array([x1, y1, x1, y1], np.float32),
        height=window_height,
        width=window_width,
    )
    return image[y1 : y1 + window_height, x1 : x1 + window_width], moved, left


def _window_start(whole: int, window: int, target: npt.NDArray[np.float32] | None, rng: Rng) -> int:
    """Where a window begins on one axis: anywhere, or so that it holds the target."""
    low, high = 0, whole - window
    if target is not None:
        start, end = float(target[0]), float(target[1])
        nearest, farthest = sorted((int(end) - window, int(start)))
        low, high = max(low, min(nearest, high)), min(high, max(farthest, low))
    return int(rng.integers(low, high + 1))


def _crop(
    image: Image, boxes: Boxes, class_ids: ClassIds, rng: Rng, settings: AugmentSettings
) -> tuple[Image, Boxes, ClassIds]:
    """Random window in the manner of SSD (Liu et al. 2016, sec. 2.2)."""
    height, width = image.shape[:2]
    for _ in range(CROP_TRIES):
        x1, y1, x2, y2 = _window(width, height, rng, settings)
        inside = coverage_matrix(boxes, np.array([[x1, y1, x2, y2]], np.float32))[:, 0]
        keep = inside >= IN_COVERAGE
        if (keep | (inside <= OUT_COVERAGE)).all() and (keep.any() or not len(boxes)):
            moved = boxes[keep] - np.array([x1, y1, x1, y1], np.float32)
            window = image[y1:y2, x1:x2]
            return window, clip_boxes(moved, height=y2 - y1, width=x2 - x1), class_ids[keep]
    return image, boxes, class_ids


def _window(
    width: int, height: int, rng: Rng, settings: AugmentSettings
) -> tuple[int, int, int, int]:
    ratio = rng.uniform(settings.min_crop_ratio, 1.0)
    stretch = np.sqrt(settings.max_aspect_change ** rng.uniform(-1, 1))
    crop_width = max(1, round(width * min(1.0, ratio * stretch)))
    crop_height = max(1, round(height * min(1.0, ratio / stretch)))
    x1 = int(rng.integers(width - crop_width + 1))
    y1 = int(rng.integers(height - crop_height + 1))
    return x1, y1, x1 + crop_width, y1 + crop_height


def _scaled(image: Image, boxes: Boxes, size: tuple[int, int]) -> tuple[Image, Boxes]:
    height, width = image.shape[:2]
    if (width, height) == size:
        return image, boxes
    x, y = size[0] / width, size[1] / height
    resized = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return resized, boxes * np.array([x, y, x, y], np.float32)


def _flipped(
    image: Image, boxes: Boxes, rng: Rng, settings: AugmentSettings
) -> tuple[Image, Boxes]:
    if settings.quarter_turns and rng.random() < 0.5:
        image = np.ascontiguousarray(image.transpose(1, 0, 2))
        boxes = boxes[:, [1, 0, 3, 2]]
    height, width = image.shape[:2]
    if settings.flip_horizontal and rng.random() < 0.5:
        image = image[:, ::-1]
        boxes = np.array([width, 0, width, 0], np.float32) + boxes[:, [2, 1, 0, 3]] * np.array(
            [-1, 1, -1, 1], np.float32
        )
    if settings.flip_vertical and rng.random() < 0.5:
        image = image[::-1]
        boxes = np.array([0, height, 0, height], np.float32) + boxes[:, [0, 3, 2, 1]] * np.array(
            [1, -1, 1, -1], np.float32
        )
    return np.ascontiguousarray(image), boxes


def _relit(image: Image, rng: Rng, settings: AugmentSettings) -> Image:
    """Other lamp, other focus, other sensor noise."""
    light = settings.light
    gain = (1 + light * rng.uniform(-1, 1)) * (1 + settings.colour * rng.uniform(-1, 1, 3))
    gamma = np.exp(light / 2 * rng.uniform(-1, 1))
    offset = 255 * light / 4 * rng.uniform(-1, 1)
    levels = np.linspace(0, 1, 256)[:, None] ** gamma
    table = np.rint(np.clip(levels * gain * 255 + offset, 0, 255)).astype(np.uint8)
    changed: npt.NDArray[Any] = cv2.LUT(image, table.reshape(1, 256, 3))
    if rng.random() < settings.blur_probability:
        sigma = rng.uniform(0.3, max(0.3, settings.max_blur_px))
        changed = cv2.GaussianBlur(changed, (0, 0), sigma)
    if rng.random() < settings.noise_probability:
        sigma = rng.uniform(0, settings.max_noise)
        noise = rng.standard_normal(changed.shape, np.float32) * np.float32(sigma)
        changed = np.clip(changed + noise, 0, 255)
    return np.asarray(changed, np.uint8)
